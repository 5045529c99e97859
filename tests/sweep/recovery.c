#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>

#include "fault.h"
#include "oracle.h"

enum { kTries = 2, kMostRecoveries = 200 };

/* A call said -EAGAIN, and its sink is ready: it is worth trying again in a moment. */
void recovery_let_others_work(int64_t begun_us) {
  const int64_t passed_us = test_now_us() - begun_us;
  if (run_is_driven()) CHECK(bw_poll_events(run.bw) >= 0, "bw_poll_events fails");
  if (passed_us < 1000) {
    sched_yield();
  } else {
    test_pause();
  }
  CHECK(passed_us < TEST_BOUND_S * INT64_C(1000000), "-EAGAIN, and nothing moves");
}

/* A sink that is not ready, and whom nobody has told to be asked again: the fault is to be recovered from. */
bool recovery_is_stuck(void) {
  pthread_mutex_lock(&run.mutex);
  const bool value = run.sinks[0].is_unwoken && !run.is_swapped;
  pthread_mutex_unlock(&run.mutex);
  return value;
}

/* A poll said -EAGAIN: waits for its waker, which comes if the sink is ready. */
void recovery_await_waker(void) {
  for (const int64_t begun_us = test_now_us();
       atomic_load(&run.waker.calls) == 0 && !recovery_is_stuck() && !run.is_over;)
    recovery_let_others_work(begun_us);
}

static void wake(void) {
  pthread_mutex_lock(&run.mutex);
  run.sinks[0].is_unwoken = false;
  pthread_mutex_unlock(&run.mutex);
  bw_wake(run.bw);
}

typedef struct collected {
  unsigned char bytes[WORKLOAD_MOST];
  size_t count;
} collected;

static void collect(void *arg, const void *data, size_t length) {
  collected *all = arg;
  if (all->count + length <= sizeof all->bytes) memcpy(all->bytes + all->count, data, length);
  all->count += length;
}

/* bw_unwritten() and bw_discard() agree with what we know; the bytes are ours again. */
static void discard(bw_t *bw, pending *bytes, const char *what) {
  static collected seen;
  const bool is_parent = bytes == &run.bytes;
  seen.count = 0;
  const int64_t count = bw_unwritten(bw, collect, &seen);
  if (is_parent) oracle_look(what); /* the rest of what was under way is written now */
  if (run.is_over) return;
  const size_t skip = is_parent && seen.count >= bytes->count ? seen.count - bytes->count : 0;
  CHECK(count == (int64_t)seen.count && (skip == 0 || bw_error(bw) == 0), "%s: bw_unwritten gives %" PRId64 " of %zu",
        what, count, bytes->count);
  CHECK(seen.count - skip == bytes->count && memcmp(seen.bytes + skip, bytes->bytes, bytes->count) == 0,
        "%s: bw_unwritten shows other bytes", what);
  int64_t gone;
  const int held = bw_error(bw);
  for (const int64_t begun_us = test_now_us(); (gone = bw_discard(bw)) == -EAGAIN && !run.is_over;)
    recovery_let_others_work(begun_us);
  if (run.is_over) return;
  if (is_parent) {
    oracle_settle(bw_position(bw, BW_WRITTEN), what);
    CHECK(gone == (int64_t)bytes->count, "%s: bw_discard gives %" PRId64 " and not %zu", what, gone, bytes->count);
    oracle_give_up();
  } else {
    CHECK(gone == (int64_t)bytes->count, "%s: bw_discard gives %" PRId64 " and not %zu", what, gone, bytes->count);
    bytes->count = 0;
  }
  CHECK(bw_error(bw) == held, "%s: the held %s becomes %s", what, bw_err_name(held), bw_err_name(bw_error(bw)));
}

/* Whatever is held is let go of. False: it cannot be, for a sync has failed. */
static bool resume(void) {
  const int failed_sync = fault_failed_sync();
  const int code = bw_resume(run.bw);
  if (failed_sync != 0 && run.is_told) {
    CHECK(code == -EIO, "bw_resume after a failed sync gives %s", bw_err_name(code));
    return run_is_inline() || run.is_swapped;
  }
  CHECK(code == 0 || (failed_sync != 0 && code == -EIO), "bw_resume gives %s", bw_err_name(code));
  return code == 0;
}

static void swap_sink(void) {
  const bw_sink_t ops = workload_sink(run.way);
  const int code = bw_set_sink(run.bw, &ops, &run.sinks[1]);
  pthread_mutex_lock(&run.mutex);
  run.sinks[0].is_gone = run.is_swapped = true;
  pthread_mutex_unlock(&run.mutex);
  CHECK(code == 0, "bw_set_sink gives %s", bw_err_name(code));
  const int held = bw_error(run.bw);
  CHECK(oracle_may_come(held), "after bw_set_sink it holds %s", bw_err_name(held));
}

/* A sync has failed: what that means for ever. */
void recovery_check_failed_sync(void) {
  const int code = fault_failed_sync();
  run.is_told = true;
  run.durable = bw_position(run.bw, BW_DURABLE) > run.durable ? bw_position(run.bw, BW_DURABLE) : run.durable;
  run.durable_is_final = true;
  const int64_t next = run.durable + 1;
  CHECK(bw_error(run.bw) == code, "after a failed sync bw_error is %s", bw_err_name(bw_error(run.bw)));
  CHECK(bw_sync(run.bw) == code, "a sync after a failed one does not give its code");
  CHECK(bw_wait(run.bw, next, BW_DURABLE, 1000) == code, "a wait after a failed sync does not give its code");
  CHECK(bw_resume(run.bw) == -EIO, "bw_resume after a failed sync is not -EIO");
  oracle_look("after a failed sync");
}

/* A background writer holds the code, and refuses everything with it. */
static void check_held(int code) {
  CHECK(bw_error(run.bw) == code, "after %s bw_error is %s", bw_err_name(code), bw_err_name(bw_error(run.bw)));
  for (int round = 0; round < 2; ++round) {
    int64_t answer = 0;
    for (const int64_t begun_us = test_now_us(); !run.is_over; recovery_let_others_work(begun_us)) {
      answer = round ? bw_write(run.bw, run.piece, 1) : bw_flush(run.bw);
      if (answer != -EAGAIN || !(run.way->flags & BW_NONBLOCK)) break; /* our thread is at it for a moment */
    }
    CHECK(run.is_over || answer == code, "%s is held, and a %s gives %" PRId64, bw_err_name(code),
          round ? "write" : "flush", answer);
  }
  for (int i = 0; i < run.note_count; ++i)
    for (const int64_t begun_us = test_now_us(); atomic_load(&run.notes[i].calls) == 0 && !run.is_over;) {
      if (run.way->flags & BW_UNSHARED) (void)bw_flush(run.bw); /* told in a call of the owner's that comes after it */
      recovery_let_others_work(begun_us); /* with the code that is held, if not with 0 */
    }
}

/* A call gave `code`; it may be tried again if this is true. `self`: the lane that was called, or NULL. */
bool recovery_try(int code, lane *self, const char *what) {
  if (run.is_over) return false;
  CHECK(oracle_is_expected(code), "%s gives %s", what, bw_err_name(code));
  CHECK(++run.recoveries < kMostRecoveries, "%s: no end of failures", what);
  if (run.is_over) return false;
  const bool is_sync_failed = fault_failed_sync() != 0 && bw_error(run.bw) == fault_failed_sync();
  if (is_sync_failed && !run.is_told) recovery_check_failed_sync();
  const bool is_held = !run_is_inline() && bw_error(run.bw) != 0 && !run.is_swapped;
  if (is_held && !is_sync_failed) check_held(code);
  switch (run.recovery) {
    case WORKLOAD_RETRY:
      if (++run.tries > kTries) fault_lift();
      break;
    case WORKLOAD_SET_SINK:
      CHECK(!run.is_swapped || code == fault_failed_sync(), "%s fails though the sink was replaced", what);
      if (!run.is_swapped) swap_sink();
      return !run.is_over;
    case WORKLOAD_DISCARD:
      if (self) discard(self->bw, &self->bytes, "discarding a lane");
      discard(run.bw, &run.bytes, "discarding");
      fault_lift();
      break;
    default:
      run.is_over = run.is_given_up = true;
      return false;
  }
  if (!run.is_over && !resume()) {
    run.is_over = run.is_given_up = true; /* nothing flows any more */
    return false;
  }
  if (run.way->never_wakes) wake();
  oracle_look("recovering");
  return !run.is_over;
}
