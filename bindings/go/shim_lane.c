#include "shim_lane.h"

#include <stdlib.h>

int bwgo_lane_new(bwgo_lane_t **out, bw_t *parent, bw_options_t options, uintptr_t token) {
  *out = calloc(1, sizeof **out);
  if (!*out) return -ENOMEM;
  const int code = bwgo_lane(&(*out)->bw, parent, options, token);
  if (code < 0) free(*out);
  return code;
}

void bwgo_lane_settle(bwgo_lane_t *lane, size_t used) {
  if (lane->span.length) bw_commit(lane->bw, &lane->span, used);
  lane->span.length = 0;
}

bwgo_answer bwgo_lane_poll_append(bwgo_lane_t *lane, const char *data, size_t length, uintptr_t token) {
  const bwgo_answer answer = bwgo_poll_append(lane->bw, data, length, token);
  /* Not with a full buffer: there a reservation would hand it on, and might wait. */
  if (answer.value >= 0 && bw_buffered(lane->bw) < bw_capacity(lane->bw)) bw_reserve(lane->bw, 1, &lane->span);
  return answer;
}

bwgo_answer bwgo_lane_free(bwgo_lane_t *lane) {
  const bwgo_answer answer = bwgo_free(lane->bw);
  free(lane);
  return answer;
}
