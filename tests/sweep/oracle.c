#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "oracle.h"

#include <inttypes.h>
#include <sched.h>
#include <string.h>

#include "fault.h"

void workload_synced(void) {
  pthread_mutex_lock(&run.mutex);
  const size_t size = run.target->read(0, run.synced, sizeof run.synced);
  if (size < (size_t)run.synced_size) memset(run.synced + size, 0, (size_t)run.synced_size - size);
  run.synced_size = (int64_t)size;
  pthread_mutex_unlock(&run.mutex);
}

void oracle_append(pending *to, const void *bytes, size_t count) {
  if (to->count + count > sizeof to->bytes) {
    run_wrong("more was accepted than the workload has");
    return;
  }
  memcpy(to->bytes + to->count, bytes, count);
  to->count += count;
}

void oracle_remove_first(pending *from, size_t count) {
  memmove(from->bytes, from->bytes + count, from->count - count);
  from->base += (int64_t)count;
  from->count -= count;
}

int64_t oracle_end(const pending *bytes) { return bytes->base + (int64_t)bytes->count; }

/* Where `seen`, which was at `from`, differs from `bytes` and from the ghosts there: an index, or `count`. */
static size_t first_difference(int64_t from, const unsigned char *seen, const unsigned char *bytes, size_t count,
                               bool with_ghosts) {
  if (memcmp(seen, bytes, count) == 0) return count;
  for (size_t i = 0; i < count; ++i) {
    const size_t at = (size_t)from + i;
    bool is_right = seen[i] == bytes[i];
    for (int ghost = 0; with_ghosts && ghost < run.ghost_count[at]; ++ghost)
      is_right = is_right || seen[i] == run.ghosts[ghost][at];
    if (!is_right) return i;
  }
  return count;
}

/* The target has these bytes there; it may have ghosts instead where they are what is written. */
static void compare(int64_t from, const unsigned char *bytes, size_t count, bool with_ghosts, const char *what) {
  const size_t got = run.target->read(from, run.scratch, count);
  if (got < count) {
    run_wrong("%s: [%" PRId64 ", +%zu) is not all there, only %zu", what, from, count, got);
    return;
  }
  const size_t bad = first_difference(from, run.scratch, bytes, count, with_ghosts);
  CHECK(bad == count, "%s: wrong byte at %" PRId64 " of [%" PRId64 ", +%zu)", what, from + (int64_t)bad, from, count);
}

void oracle_compare_all(const char *what) {
  const int64_t size = run.target->size();
  CHECK(size == run.size, "%s: the target has %" PRId64 " bytes and not %" PRId64, what, size, run.size);
  if (!run.is_over) compare(0, run.image, (size_t)run.size, true, what);
}

/* Everything below `written` is said to be at the target. */
void oracle_settle(int64_t written, const char *what) {
  pending *bytes = &run.bytes;
  if (written < bytes->base || written > oracle_end(bytes)) {
    run_wrong("%s: written is %" PRId64 ", not in [%" PRId64 ", %" PRId64 "]", what, written, bytes->base,
              oracle_end(bytes));
    return;
  }
  const size_t count = (size_t)(written - bytes->base);
  if (count == 0) return;
  compare(bytes->base, bytes->bytes, count, false, what);
  memcpy(run.image + bytes->base, bytes->bytes, count);
  memset(run.ghost_count + bytes->base, 0, count);
  if (written > run.size) run.size = written;
  run.written_total += (int64_t)count;
  oracle_remove_first(bytes, count);
}

/* What is not written is given up. A file may have some of it, but not beyond its size. */
void oracle_give_up(void) {
  pending *bytes = &run.bytes;
  for (size_t i = 0; run.way->is_file && i < bytes->count && bytes->base + (int64_t)i < run.size; ++i) {
    const size_t at = (size_t)bytes->base + i;
    if (run.ghost_count[at] < kGhosts) run.ghosts[run.ghost_count[at]++][at] = bytes->bytes[i];
  }
  bytes->count = 0;
}

void oracle_look_at_durable(int64_t durable, int64_t written) {
  CHECK(durable >= run.durable, "durable goes back from %" PRId64 " to %" PRId64, run.durable, durable);
  CHECK(durable <= written, "durable %" PRId64 " is over written %" PRId64, durable, written);
  if (run.durable_is_final) CHECK(durable == run.durable, "durable moves after a failed sync");
  const int64_t end = durable < run.size ? durable : run.size;
  pthread_mutex_lock(&run.mutex);
  const size_t count = end > run.durable ? (size_t)(end - run.durable) : 0;
  /* What was beyond the end then is zero: there may have been nothing yet, before a hole. */
  const bool is_there = first_difference(run.durable, run.synced + run.durable, run.image + run.durable, count, true) ==
                        count;
  pthread_mutex_unlock(&run.mutex);
  CHECK(is_there, "durable is %" PRId64 ", but no sync succeeded for [%" PRId64 ", %" PRId64 ")", durable, run.durable,
        end);
  run.durable = durable;
}

bool oracle_may_come(int code) {
  const int failed_sync = fault_failed_sync();
  return code == 0 || (failed_sync != 0 && code == failed_sync);
}

bool oracle_is_expected(int code) {
  return oracle_may_come(code) || (fault_fired() > 0 && run.injected_code != 0 && code == run.injected_code);
}

/* "While other threads are inside a call it may be a little behind": ours count too. */
static int64_t await_accepted(int64_t end) {
  int64_t accepted;
  const int64_t until_us = test_now_us() + (run_is_quiet() ? 0 : TEST_BOUND_S * INT64_C(1000000));
  while ((accepted = bw_position(run.bw, BW_ACCEPTED)) < end && test_now_us() < until_us) sched_yield();
  return accepted;
}

void oracle_look(const char *what) {
  if (run.is_over) return;
  const int64_t durable = bw_position(run.bw, BW_DURABLE); /* the lower one first: they only rise */
  const int64_t written = bw_position(run.bw, BW_WRITTEN);
  const int64_t end = oracle_end(&run.bytes);
  const int64_t accepted = await_accepted(end);
  CHECK(bw_tell(run.bw) == end, "%s: bw_tell is %" PRId64 " and not %" PRId64, what, bw_tell(run.bw), end);
  CHECK(accepted == end, "%s: accepted is %" PRId64 " and not %" PRId64, what, accepted, end);
  if (!run.is_over) oracle_settle(written, what);
  if (!run.is_over) oracle_look_at_durable(durable, written);
  if (!run.is_over && run_is_quiet()) {
    CHECK(bw_buffered(run.bw) == run.bytes.count, "%s: bw_buffered is %zu and not %zu", what, bw_buffered(run.bw),
          run.bytes.count);
  }
  const int held = bw_error(run.bw);
  CHECK(oracle_is_expected(held), "%s: it holds %s", what, bw_err_name(held));
}

/* The bytes that LOST events told of must be the last ones of `bytes`. Gives how many come before them. */
size_t oracle_before_lost(test_events *events, const pending *bytes, const char *what) {
  const size_t count = test_events_count(events, BW_EVENT_LOST);
  if (count == 0) return bytes->count;
  const int64_t from = test_events_get(events, BW_EVENT_LOST, 0).position;
  if (from < bytes->base || from > oracle_end(bytes) ||
      !test_events_cover(events, BW_EVENT_LOST, from, oracle_end(bytes)) ||
      !test_events_lost(events, bytes->bytes + (from - bytes->base), (size_t)(oracle_end(bytes) - from))) {
    run_wrong("%s: the bytes told lost from %" PRId64 " on are not those of [%" PRId64 ", %" PRId64 ")", what, from,
          bytes->base, oracle_end(bytes));
    return 0;
  }
  const int code = test_events_get(events, BW_EVENT_LOST, 0).code;
  CHECK(code != 0 && oracle_is_expected(code), "%s: bytes are lost by %s", what, bw_err_name(code));
  return (size_t)(from - bytes->base);
}

/* All accepted bytes are at the target. */
void oracle_all_is_written(const char *what) {
  oracle_look(what);
  if (run.is_over) return;
  CHECK(run.bytes.count == 0, "%s is done, and %zu bytes are not written", what, run.bytes.count);
  if (!run.is_over) oracle_compare_all(what);
}

void oracle_all_is_durable(const char *what) {
  oracle_all_is_written(what);
  CHECK(run.is_over || run.durable == oracle_end(&run.bytes),
        "%s is done, and only %" PRId64 " of %" PRId64 " is durable", what, run.durable, oracle_end(&run.bytes));
}
