#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "lane.h"

#include <inttypes.h>

#include "oracle.h"

lane *lane_open(int number) {
  lane *self = &run.lanes[number];
  if (self->bw || !run_is_shared()) return run_is_shared() ? self : NULL;
  bw_options_t options = BW_OPTIONS_INIT;
  options.capacity = run.way->capacity / 2;
  test_events_init(&self->events);
  options.on_event = test_events_record;
  options.event_arg = &self->events;
  const int code = bw_lane(&self->bw, run.bw, &options);
  CHECK(code == 0, "bw_lane gives %s", bw_err_name(code));
  self->bytes.base = 0;
  self->bytes.count = 0;
  return code == 0 ? self : NULL;
}

/* What the lane has handed on is the parent's now. */
static void hand_on(lane *from, size_t count) {
  oracle_append(&run.bytes, from->bytes.bytes, count);
  oracle_remove_first(&from->bytes, count);
}

void lane_look(lane *self, const char *what) {
  if (run.is_over) return;
  const int64_t end = oracle_end(&self->bytes), written = bw_position(self->bw, BW_WRITTEN);
  CHECK(bw_tell(self->bw) == end, "%s: the lane's bw_tell is %" PRId64 " and not %" PRId64, what, bw_tell(self->bw),
        end);
  if (written < self->bytes.base || written > end) {
    run_wrong("%s: the lane's written is %" PRId64 ", not in [%" PRId64 ", %" PRId64 "]", what, written,
              self->bytes.base, end);
    return;
  }
  hand_on(self, (size_t)(written - self->bytes.base));
  CHECK(bw_position(self->bw, BW_DURABLE) <= written, "%s: the lane's durable is over its written", what);
  oracle_look(what);
}

void lane_free(lane *self) {
  if (!self->bw) return;
  bw_free(self->bw);
  self->bw = NULL;
  hand_on(self, oracle_before_lost(&self->events, &self->bytes, "freeing a lane"));
  test_events_destroy(&self->events);
  oracle_look("freeing a lane");
}
