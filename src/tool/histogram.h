/* Times, counted in classes that are 1/16 wide, so that percentiles are right to 6 %. */
#ifndef BW_TOOL_HISTOGRAM_H
#define BW_TOOL_HISTOGRAM_H

#include <stdint.h>

enum { kHistogramClasses = 16 * 61 };

typedef struct histogram {
  uint64_t count;
  uint64_t max_ns;
  uint64_t classes[kHistogramClasses];
} histogram;

void histogram_add(histogram *self, uint64_t time_ns);
void histogram_merge(histogram *self, const histogram *other);
/* At least `share` (0 to 1) of the times were at most this long. 0 if there are none. */
uint64_t histogram_percentile(const histogram *self, double share);

#endif
