/* A run from its beginning to its end, and what must be true then. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "workload.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "fault.h"
#include "lane.h"
#include "oracle.h"
#include "recovery.h"
#include "script.h"

/* What must be true of a writer that was closed. */
static void check_closed(void) {
  const int64_t end = oracle_end(&run.bytes);
  oracle_settle(bw_position(run.bw, BW_WRITTEN), "bw_close");
  CHECK(run.bytes.count == 0, "a closed writer keeps %zu bytes", run.bytes.count);
  CHECK(bw_close(run.bw) == 0, "a closed writer is not closed again");
  const int64_t answer = bw_write(run.bw, run.piece, 1);
  CHECK(answer == -ESHUTDOWN, "a write after bw_close gives %" PRId64, answer);
  CHECK(bw_flush(run.bw) == -ESHUTDOWN, "a flush after bw_close is not -ESHUTDOWN");
  CHECK(run.is_told_by_close || fault_failed_sync() == 0, "bw_close does not give the code of the failed sync");
  const int64_t durable = bw_position(run.bw, BW_DURABLE);
  oracle_look_at_durable(durable, end);
  if (run.way->is_file && !run.is_swapped && !run.is_unsynced && fault_failed_sync() == 0)
    CHECK(durable == end, "a closed file is durable up to %" PRId64 " of %" PRId64, durable, end);
  if (!run.is_over) oracle_compare_all("bw_close");
}

static void close_early(void) {
  for (int i = 0; i < kLanes; ++i) {
    if (!run.lanes[i].bw) continue;
    const int code = bw_close(run.lanes[i].bw);
    CHECK(oracle_is_expected(code), "a lane's close gives %s", bw_err_name(code));
    run.is_over = run_has_failed();
    lane_look(&run.lanes[i], "a lane's close");
    lane_free(&run.lanes[i]);
  }
  for (int round = 0; round < 2 && !run.is_closed; ++round) {
    int code;
    for (const int64_t begun_us = test_now_us();
         (code = bw_close(run.bw)) == -EAGAIN && !run_is_inline() && !recovery_is_stuck() && !run.is_over;)
      recovery_let_others_work(begun_us);
    CHECK(oracle_is_expected(code), "bw_close gives %s", bw_err_name(code));
    run.is_told_by_close = run.is_told_by_close || (code && code == fault_failed_sync());
    run.is_unsynced = run.is_unsynced || run_is_unsynced(code);
    /* After a code only another call tells whether it is closed. */
    run.is_closed = code == 0;
  }
}

static void check_notes(void) {
  for (int i = 0; i < run.note_count; ++i) {
    const int code = atomic_load(&run.notes[i].code);
    CHECK(atomic_load(&run.notes[i].calls) == 1, "a note is answered %d times", atomic_load(&run.notes[i].calls));
    CHECK(oracle_is_expected(code) || code == -ECANCELED || code == -ESHUTDOWN, "a note is answered with %s",
          bw_err_name(code));
  }
}

static void check_events(void) {
  uint64_t told = 0;
  size_t errors = 0;
  for (size_t i = 0; i < run.events.count; ++i) {
    const test_event *event = &run.events.list[i];
    if (event->kind == BW_EVENT_WRITTEN) told += event->length;
    if (event->kind != BW_EVENT_ERROR) continue;
    CHECK(event->code == run.injected_code, "an event tells of %s", bw_err_name(event->code));
    ++errors;
  }
  CHECK(told == (uint64_t)run.written_total, "events tell of %" PRIu64 " bytes written, not of %" PRId64, told,
        run.written_total);
  const int64_t failures = fault_failures() - run.zeroes;
  CHECK((errors > 0) == (failures > 0), "%zu events for %" PRId64 " failures", errors, failures);
}

static void check_sinks(void) {
  const sink *now = &run.sinks[run.is_swapped];
  const sink *old = &run.sinks[!run.is_swapped];
  CHECK(old->closes == 0, "the sink that was not in use was closed");
  if ((run.way->is_file || run.way->is_descriptor) && !run.is_swapped) return;
  const bool is_refused = fault_fired_on(FAULT_CLOSE) > 0;
  CHECK(now->closes == 1 || (now->closes == 0 && is_refused), "the sink was closed %d times", now->closes);
}

/* Nothing but the first few checks may have failed: then the rest is only tidied up. */
static void finish(void) {
  run.is_over = run_has_failed();
  if (run.recovery == WORKLOAD_CLOSE && !run.is_closed && !run.is_over) close_early();
  if (run.is_closed) check_closed();
  if (run_has_failed()) fault_lift();
  CHECK(run.is_closed || run.is_given_up, "the workload does not come to its end");
  for (int i = 0; i < kLanes; ++i) lane_free(&run.lanes[i]);
  const int64_t fired = fault_fired();
  const bool may_lose = run_is_quiet() ? bw_error(run.bw) != 0 : fired > 0;
  bw_free(run.bw);
  run.bw = NULL;
  const size_t before = oracle_before_lost(&run.events, &run.bytes, "freeing");
  CHECK(before == run.bytes.count || may_lose || fault_fired() > fired, "bytes are lost though nothing fails");
  if (run.is_over) return;
  oracle_settle(run.bytes.base + (int64_t)before, "freeing");
  if (run.is_closed) CHECK(run.bytes.count == 0, "a closed writer lost %zu bytes", run.bytes.count);
  oracle_give_up();
  if (!run.is_over) oracle_compare_all("freeing");
  check_notes();
  check_events();
  check_sinks();
}

static void begin(const workload_way *way, const workload_target *target, enum workload_recovery recovery, char *why) {
  run.way = way;
  run.target = target;
  run.recovery = recovery;
  run.why = why;
  memset(run.image, 0, sizeof run.image);
  memset(run.ghost_count, 0, sizeof run.ghost_count);
  memset(run.synced, 0, (size_t)run.synced_size);
  run.size = run.written_total = run.synced_size = run.durable = 0;
  run.bytes.base = 0;
  run.bytes.count = 0;
  memset(run.sinks, 0, sizeof run.sinks);
  run.sinks[0].is_faulty = run.sinks[0].knows_offset = true;
  run.sinks[0].never_wakes = way->never_wakes;
  run.is_swapped = run.is_told = run.is_told_by_close = run.is_unsynced = false;
  run.is_given_up = run.durable_is_final = false;
  run.is_over = run.is_closed = run.has_failed = false;
  memset(run.notes, 0, sizeof run.notes);
  run.note_count = run.recoveries = run.tries = run.zeroes = 0;
  run.piece_number = 0;
}

bool workload_do(const workload_way *way, const workload_target *target, workload_maker make,
                 enum workload_recovery recovery, int code, char why[256]) {
  bw_options_t options = BW_OPTIONS_INIT;
  begin(way, target, recovery, why);
  run.injected_code = code;
  test_events_init(&run.events);
  options.flags = way->flags;
  options.capacity = way->capacity;
  options.buffers = 3;
  options.engine = way->engine;
  options.linger_us = way->linger_us;
  options.preallocate = way->preallocate;
  options.on_event = test_events_record;
  options.event_arg = &run.events;
  const int made = make(&run.bw, way, &options);
  CHECK(made == 0, "the writer cannot be made: %s", bw_err_name(made));
  script_play();
  if (run.bw) finish();
  test_events_destroy(&run.events);
  return !run_has_failed();
}
