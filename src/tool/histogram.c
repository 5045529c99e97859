#include "histogram.h"

/* Below 16 a class for each value; above, 16 classes from each power of two to the next. */
static unsigned class_of(uint64_t time_ns) {
  if (time_ns < 16) return (unsigned)time_ns;
  const unsigned shift = 63u - (unsigned)__builtin_clzll(time_ns) - 4;
  return 16 * shift + (unsigned)(time_ns >> shift);
}

/* The largest value of a class. */
static uint64_t end_of(unsigned index) {
  if (index < 16) return index;
  const unsigned shift = index / 16 - 1;
  return ((uint64_t)(index - 16 * shift + 1) << shift) - 1;
}

void histogram_add(histogram *self, uint64_t time_ns) {
  ++self->count;
  ++self->classes[class_of(time_ns)];
  if (time_ns > self->max_ns) self->max_ns = time_ns;
}

void histogram_merge(histogram *self, const histogram *other) {
  self->count += other->count;
  for (unsigned index = 0; index < kHistogramClasses; ++index) self->classes[index] += other->classes[index];
  if (other->max_ns > self->max_ns) self->max_ns = other->max_ns;
}

uint64_t histogram_percentile(const histogram *self, double share) {
  const double wanted = share * (double)self->count;
  uint64_t seen = 0;
  for (unsigned index = 0; index < kHistogramClasses; ++index) {
    seen += self->classes[index];
    if (self->classes[index] > 0 && (double)seen >= wanted) {
      return end_of(index) < self->max_ns ? end_of(index) : self->max_ns;
    }
  }
  return self->max_ns;
}
