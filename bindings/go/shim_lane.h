/* Lane (lane.go) in C: a lane, and the rest of its buffer as a window that Go fills. */
#ifndef BWGO_SHIM_LANE_H
#define BWGO_SHIM_LANE_H

#include "shim_file.h"

typedef struct bwgo_lane_t {
  bw_t *bw;
  bw_span_t span; /* open if `length` is not 0 */
} bwgo_lane_t;

/* As bwgo_lane(). */
int bwgo_lane_new(bwgo_lane_t **out, bw_t *parent, bw_options_t options, uintptr_t token);

/* Commits the first `used` bytes of the window and closes it. */
void bwgo_lane_settle(bwgo_lane_t *lane, size_t used);

/* With no window open: bwgo_poll_append(), then opens one if there is room. */
bwgo_answer bwgo_lane_poll_append(bwgo_lane_t *lane, const char *data, size_t length, uintptr_t token);

/* bw_free(). */
bwgo_answer bwgo_lane_free(bwgo_lane_t *lane);

#endif
