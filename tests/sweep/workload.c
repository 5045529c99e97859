#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "workload.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "rig.h"

enum { kLanes = 2, kNotes = 4, kGhosts = 3, kTries = 2, kMostRecoveries = 200 };

/* Accepted bytes that are not known to be written. */
typedef struct pending {
  unsigned char bytes[WORKLOAD_MOST];
  int64_t base; /* the position of the first */
  size_t count;
} pending;

typedef struct lane {
  bw_t *bw;
  pending bytes;
  test_events events;
} lane;

/* A sink of callbacks over the target. */
typedef struct sink {
  bool is_faulty;
  bool is_gone; /* another took its place */
  bool knows_offset;
  bool never_wakes;
  bool is_unwoken; /* it said -EAGAIN, and nobody called bw_wake() since */
  int64_t offset;
  int inside;
  int closes; /* for good */
} sink;

static struct run {
  pthread_mutex_t mutex; /* of the sinks, what is synced, and `why` */
  const workload_way *way;
  const workload_target *target;
  enum workload_recovery recovery;
  bw_t *bw;
  test_events events;
  pending bytes;
  unsigned char image[WORKLOAD_MOST]; /* what is written */
  int64_t size;
  int64_t written_total;
  /* Bytes of a file that were discarded, or lost, and may have been written all the same: inside its size. */
  unsigned char ghosts[kGhosts][WORKLOAD_MOST];
  unsigned char ghost_count[WORKLOAD_MOST];
  unsigned char synced[WORKLOAD_MOST]; /* what the target held when a sync succeeded last */
  int64_t synced_size;
  int64_t durable;
  bool durable_is_final; /* a sync failed, and nobody is in a call */
  sink sinks[2];
  bool is_swapped, is_told; /* told: the code of a failed sync */
  bool is_told_by_close;
  bool is_given_up; /* the recovery ends the workload, or a failed sync does */
  lane lanes[kLanes];
  test_waker waker;
  test_note notes[kNotes];
  int64_t note_positions[kNotes];
  int note_levels[kNotes];
  int note_count;
  unsigned piece_number;
  unsigned char piece[WORKLOAD_MOST];
  unsigned char scratch[WORKLOAD_MOST];
  int recoveries, tries;
  int zeroes; /* that a poll has handed through, so that no event tells of them */
  bool is_seek_started, is_over, is_closed, has_failed;
  char *why;
} run = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- Saying what is wrong ---------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static void wrong(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  pthread_mutex_lock(&run.mutex);
  if (!run.has_failed) vsnprintf(run.why, 256, format, arguments);
  run.has_failed = run.is_over = true; /* the first counts */
  pthread_mutex_unlock(&run.mutex);
  va_end(arguments);
}

static bool has_failed(void) {
  pthread_mutex_lock(&run.mutex);
  const bool value = run.has_failed;
  pthread_mutex_unlock(&run.mutex);
  return value;
}

#define CHECK(condition, ...)                 \
  do {                                        \
    if (!(condition)) wrong(__VA_ARGS__);     \
  } while (0)

static bool is_inline(void) { return !run.way->is_file && !(run.way->flags & BW_BACKGROUND); }
static bool is_shared(void) { return !(run.way->flags & BW_UNSHARED); }
static bool is_driven(void) { return run.way->flags & BW_CALLER_DRIVEN; }
/* Only our thread calls the library, so nothing changes between two calls. */
static bool is_quiet(void) { return is_inline() && run.way->linger_us == 0; }

/* ---- The sinks --------------------------------------------------------------------------------- */

static void enter(sink *self, const char *what) {
  pthread_mutex_lock(&run.mutex);
  const bool is_alone = self->inside++ == 0;
  const bool is_gone = self->is_gone, is_closed = self->closes > 0;
  if (!self->knows_offset) self->offset = bw_position(run.bw, BW_WRITTEN);
  self->knows_offset = true;
  pthread_mutex_unlock(&run.mutex);
  CHECK(is_alone, "%s comes while another call is in the sink", what);
  CHECK(!is_gone, "%s comes to the old sink", what);
  CHECK(!is_closed, "%s comes to a closed sink", what);
}

static void leave(sink *self) {
  pthread_mutex_lock(&run.mutex);
  --self->inside;
  pthread_mutex_unlock(&run.mutex);
}

/* FAULT_NONE, or what to answer. Who is not ready says at once that he is again, unless the script is to do so. */
static int fault_of(sink *self, enum fault_kind kind) {
  if (!self->is_faulty) return FAULT_NONE;
  const int answer = fault_next(kind);
  if (answer != -EAGAIN) return answer;
  if (self->never_wakes) {
    pthread_mutex_lock(&run.mutex);
    self->is_unwoken = true;
    pthread_mutex_unlock(&run.mutex);
  } else {
    bw_wake(run.bw);
  }
  return answer;
}

static size_t part_of(int answer, size_t length) {
  return answer == FAULT_SHORT ? (length + 1) / 2 : length;
}

static void take(sink *self, const void *data, size_t length) {
  if (length == 0) return; /* an empty part may have no bytes at all */
  run.target->put(self->offset, data, length);
  self->offset += (int64_t)length;
}

static int64_t on_write(void *ctx, const void *data, size_t length) {
  enter(ctx, "write");
  CHECK(length > 0, "write is offered nothing");
  const int answer = fault_of(ctx, FAULT_WRITE);
  int64_t result = answer;
  if (answer == FAULT_NONE || answer == FAULT_SHORT) {
    result = (int64_t)part_of(answer, length);
    take(ctx, data, (size_t)result);
  }
  leave(ctx);
  return result;
}

static int64_t on_writev(void *ctx, const struct iovec *parts, int count) {
  size_t length = 0;
  for (int i = 0; i < count; ++i) length += parts[i].iov_len;
  enter(ctx, "writev");
  CHECK(length > 0, "writev is offered nothing");
  const int answer = fault_of(ctx, FAULT_WRITE);
  int64_t result = answer;
  if (answer == FAULT_NONE || answer == FAULT_SHORT) {
    size_t left = part_of(answer, length);
    result = (int64_t)left;
    for (int i = 0; left > 0; ++i) {
      const size_t piece = parts[i].iov_len < left ? parts[i].iov_len : left;
      take(ctx, parts[i].iov_base, piece);
      left -= piece;
    }
  }
  leave(ctx);
  return result;
}

static int on_flush(void *ctx) {
  enter(ctx, "flush");
  const int answer = fault_of(ctx, FAULT_FLUSH);
  leave(ctx);
  return answer == FAULT_NONE ? 0 : answer;
}

static int64_t on_seek(void *ctx, int64_t offset, int whence) {
  sink *self = ctx;
  enter(ctx, "seek");
  const int answer = fault_of(ctx, FAULT_SEEK);
  if (answer == FAULT_NONE)
    self->offset = offset + (whence == SEEK_CUR ? self->offset : whence == SEEK_END ? run.target->size() : 0);
  const int64_t result = answer == FAULT_NONE ? self->offset : answer;
  leave(ctx);
  return result;
}

static int on_sync(void *ctx) {
  enter(ctx, "sync");
  const int answer = fault_of(ctx, FAULT_SYNC);
  if (answer == FAULT_NONE) workload_synced();
  leave(ctx);
  return answer == FAULT_NONE ? 0 : answer;
}

static int on_close(void *ctx) {
  sink *self = ctx;
  enter(ctx, "close");
  const int answer = fault_of(ctx, FAULT_CLOSE);
  leave(ctx);
  if (answer != -EAGAIN && answer != -EINTR) ++self->closes;
  return answer == FAULT_NONE ? 0 : answer;
}

bw_sink_t workload_sink(const workload_way *way) {
  bw_sink_t ops = BW_SINK_INIT;
  ops.write = on_write;
  if (!way->is_plain) ops.writev = on_writev;
  ops.flush = on_flush;
  ops.seek = on_seek;
  ops.sync = on_sync;
  ops.close = on_close;
  return ops;
}

void *workload_sink_context(void) { return &run.sinks[0]; }

void workload_synced(void) {
  pthread_mutex_lock(&run.mutex);
  const size_t size = run.target->read(0, run.synced, sizeof run.synced);
  if (size < (size_t)run.synced_size) memset(run.synced + size, 0, (size_t)run.synced_size - size);
  run.synced_size = (int64_t)size;
  pthread_mutex_unlock(&run.mutex);
}

/* ---- What should be there ---------------------------------------------------------------------- */

static void append_bytes(pending *to, const void *bytes, size_t count) {
  if (to->count + count > sizeof to->bytes) {
    wrong("more was accepted than the workload has");
    return;
  }
  memcpy(to->bytes + to->count, bytes, count);
  to->count += count;
}

static void remove_first(pending *from, size_t count) {
  memmove(from->bytes, from->bytes + count, from->count - count);
  from->base += (int64_t)count;
  from->count -= count;
}

static int64_t end_of(const pending *bytes) { return bytes->base + (int64_t)bytes->count; }

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
    wrong("%s: [%" PRId64 ", +%zu) is not all there, only %zu", what, from, count, got);
    return;
  }
  const size_t bad = first_difference(from, run.scratch, bytes, count, with_ghosts);
  CHECK(bad == count, "%s: wrong byte at %" PRId64 " of [%" PRId64 ", +%zu)", what, from + (int64_t)bad, from, count);
}

static void compare_all(const char *what) {
  const int64_t size = run.target->size();
  CHECK(size == run.size, "%s: the target has %" PRId64 " bytes and not %" PRId64, what, size, run.size);
  if (!run.is_over) compare(0, run.image, (size_t)run.size, true, what);
}

/* Everything below `written` is said to be at the target. */
static void settle(int64_t written, const char *what) {
  pending *bytes = &run.bytes;
  if (written < bytes->base || written > end_of(bytes)) {
    wrong("%s: written is %" PRId64 ", not in [%" PRId64 ", %" PRId64 "]", what, written, bytes->base, end_of(bytes));
    return;
  }
  const size_t count = (size_t)(written - bytes->base);
  if (count == 0) return;
  compare(bytes->base, bytes->bytes, count, false, what);
  memcpy(run.image + bytes->base, bytes->bytes, count);
  memset(run.ghost_count + bytes->base, 0, count);
  if (written > run.size) run.size = written;
  run.written_total += (int64_t)count;
  remove_first(bytes, count);
}

/* What is not written is given up. A file may have some of it, but not beyond its size. */
static void give_up_pending(void) {
  pending *bytes = &run.bytes;
  for (size_t i = 0; run.way->is_file && i < bytes->count && bytes->base + (int64_t)i < run.size; ++i) {
    const size_t at = (size_t)bytes->base + i;
    if (run.ghost_count[at] < kGhosts) run.ghosts[run.ghost_count[at]++][at] = bytes->bytes[i];
  }
  bytes->count = 0;
}

static void look_at_durable(int64_t durable, int64_t written) {
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

static bool may_come(int code) {
  const int failed_sync = fault_failed_sync();
  return code == 0 || (failed_sync != 0 && code == failed_sync);
}

/* The codes that the planned fault may lead to. */
static int injected_code = 0;

static bool is_expected(int code) {
  return may_come(code) || (fault_fired() > 0 && injected_code != 0 && code == injected_code);
}

/* "While other threads are inside a call it may be a little behind": ours count too. */
static int64_t await_accepted(int64_t end) {
  int64_t accepted;
  const int64_t until_us = test_now_us() + (is_quiet() ? 0 : TEST_BOUND_S * INT64_C(1000000));
  while ((accepted = bw_position(run.bw, BW_ACCEPTED)) < end && test_now_us() < until_us) sched_yield();
  return accepted;
}

static void look(const char *what) {
  if (run.is_over) return;
  const int64_t durable = bw_position(run.bw, BW_DURABLE); /* the lower one first: they only rise */
  const int64_t written = bw_position(run.bw, BW_WRITTEN);
  const int64_t end = end_of(&run.bytes);
  const int64_t accepted = await_accepted(end);
  CHECK(bw_tell(run.bw) == end, "%s: bw_tell is %" PRId64 " and not %" PRId64, what, bw_tell(run.bw), end);
  CHECK(accepted == end, "%s: accepted is %" PRId64 " and not %" PRId64, what, accepted, end);
  if (!run.is_over) settle(written, what);
  if (!run.is_over) look_at_durable(durable, written);
  if (!run.is_over && is_quiet()) {
    CHECK(bw_buffered(run.bw) == run.bytes.count, "%s: bw_buffered is %zu and not %zu", what, bw_buffered(run.bw),
          run.bytes.count);
  }
  const int held = bw_error(run.bw);
  CHECK(is_expected(held), "%s: it holds %s", what, bw_err_name(held));
}

/* ---- Lanes ------------------------------------------------------------------------------------- */

/* What the lane has handed on is the parent's now. */
static void hand_on(lane *from, size_t count) {
  append_bytes(&run.bytes, from->bytes.bytes, count);
  remove_first(&from->bytes, count);
}

static void look_at_lane(lane *self, const char *what) {
  if (run.is_over) return;
  const int64_t end = end_of(&self->bytes), written = bw_position(self->bw, BW_WRITTEN);
  CHECK(bw_tell(self->bw) == end, "%s: the lane's bw_tell is %" PRId64 " and not %" PRId64, what, bw_tell(self->bw),
        end);
  if (written < self->bytes.base || written > end) {
    wrong("%s: the lane's written is %" PRId64 ", not in [%" PRId64 ", %" PRId64 "]", what, written, self->bytes.base,
          end);
    return;
  }
  hand_on(self, (size_t)(written - self->bytes.base));
  CHECK(bw_position(self->bw, BW_DURABLE) <= written, "%s: the lane's durable is over its written", what);
  look(what);
}

/* The bytes that LOST events told of must be the last ones of `bytes`. Gives how many come before them. */
static size_t before_lost(test_events *events, const pending *bytes, const char *what) {
  const size_t count = test_events_count(events, BW_EVENT_LOST);
  if (count == 0) return bytes->count;
  const int64_t from = test_events_get(events, BW_EVENT_LOST, 0).position;
  if (from < bytes->base || from > end_of(bytes) ||
      !test_events_cover(events, BW_EVENT_LOST, from, end_of(bytes)) ||
      !test_events_lost(events, bytes->bytes + (from - bytes->base), (size_t)(end_of(bytes) - from))) {
    wrong("%s: the bytes told lost from %" PRId64 " on are not those of [%" PRId64 ", %" PRId64 ")", what, from,
          bytes->base, end_of(bytes));
    return 0;
  }
  const int code = test_events_get(events, BW_EVENT_LOST, 0).code;
  CHECK(code != 0 && is_expected(code), "%s: bytes are lost by %s", what, bw_err_name(code));
  return (size_t)(from - bytes->base);
}

static void free_lane(lane *self) {
  if (!self->bw) return;
  bw_free(self->bw);
  self->bw = NULL;
  hand_on(self, before_lost(&self->events, &self->bytes, "freeing a lane"));
  test_events_destroy(&self->events);
  look("freeing a lane");
}

/* ---- Recovery ---------------------------------------------------------------------------------- */

/* A call said -EAGAIN, and its sink is ready: it is worth trying again in a moment. */
static void let_others_work(int64_t begun_us) {
  const int64_t passed_us = test_now_us() - begun_us;
  if (is_driven()) CHECK(bw_poll_events(run.bw) >= 0, "bw_poll_events fails");
  if (passed_us < 1000) {
    sched_yield();
  } else {
    test_pause();
  }
  CHECK(passed_us < TEST_BOUND_S * INT64_C(1000000), "-EAGAIN, and nothing moves");
}

/* A sink that is not ready, and whom nobody has told to be asked again: the fault is to be recovered from. */
static bool is_stuck(void) {
  pthread_mutex_lock(&run.mutex);
  const bool value = run.sinks[0].is_unwoken && !run.is_swapped;
  pthread_mutex_unlock(&run.mutex);
  return value;
}

/* A poll said -EAGAIN: waits for its waker, which comes if the sink is ready. */
static void await_waker(void) {
  for (const int64_t begun_us = test_now_us();
       atomic_load(&run.waker.calls) == 0 && !is_stuck() && !run.is_over;)
    let_others_work(begun_us);
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
  if (is_parent) look(what); /* the rest of what was under way is written now */
  if (run.is_over) return;
  const size_t skip = is_parent && seen.count >= bytes->count ? seen.count - bytes->count : 0;
  CHECK(count == (int64_t)seen.count && (skip == 0 || bw_error(bw) == 0), "%s: bw_unwritten gives %" PRId64 " of %zu",
        what, count, bytes->count);
  CHECK(seen.count - skip == bytes->count && memcmp(seen.bytes + skip, bytes->bytes, bytes->count) == 0,
        "%s: bw_unwritten shows other bytes", what);
  int64_t gone;
  const int held = bw_error(bw);
  for (const int64_t begun_us = test_now_us(); (gone = bw_discard(bw)) == -EAGAIN && !run.is_over;)
    let_others_work(begun_us);
  if (run.is_over) return;
  if (is_parent) {
    settle(bw_position(bw, BW_WRITTEN), what);
    CHECK(gone == (int64_t)bytes->count, "%s: bw_discard gives %" PRId64 " and not %zu", what, gone, bytes->count);
    give_up_pending();
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
    return is_inline() || run.is_swapped;
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
  CHECK(may_come(held), "after bw_set_sink it holds %s", bw_err_name(held));
}

/* A sync has failed: what that means for ever. */
static void check_failed_sync(void) {
  const int code = fault_failed_sync();
  run.is_told = true;
  run.durable = bw_position(run.bw, BW_DURABLE) > run.durable ? bw_position(run.bw, BW_DURABLE) : run.durable;
  run.durable_is_final = true;
  const int64_t next = run.durable + 1;
  CHECK(bw_error(run.bw) == code, "after a failed sync bw_error is %s", bw_err_name(bw_error(run.bw)));
  CHECK(bw_sync(run.bw) == code, "a sync after a failed one does not give its code");
  CHECK(bw_wait(run.bw, next, BW_DURABLE, 1000) == code, "a wait after a failed sync does not give its code");
  CHECK(bw_resume(run.bw) == -EIO, "bw_resume after a failed sync is not -EIO");
  look("after a failed sync");
}

/* A background writer holds the code, and refuses everything with it. */
static void check_held(int code) {
  CHECK(bw_error(run.bw) == code, "after %s bw_error is %s", bw_err_name(code), bw_err_name(bw_error(run.bw)));
  for (int round = 0; round < 2; ++round) {
    int64_t answer = 0;
    for (const int64_t begun_us = test_now_us(); !run.is_over; let_others_work(begun_us)) {
      answer = round ? bw_write(run.bw, run.piece, 1) : bw_flush(run.bw);
      if (answer != -EAGAIN || !(run.way->flags & BW_NONBLOCK)) break; /* our thread is at it for a moment */
    }
    CHECK(run.is_over || answer == code, "%s is held, and a %s gives %" PRId64, bw_err_name(code),
          round ? "write" : "flush", answer);
  }
  for (int i = 0; i < run.note_count; ++i)
    for (const int64_t begun_us = test_now_us(); atomic_load(&run.notes[i].calls) == 0 && !run.is_over;)
      let_others_work(begun_us); /* with the code that is held, if not with 0 */
}

/* A call gave `code`; it may be tried again if this is true. `self`: the lane that was called, or NULL. */
static bool recover(int code, lane *self, const char *what) {
  if (run.is_over) return false;
  CHECK(is_expected(code), "%s gives %s", what, bw_err_name(code));
  CHECK(++run.recoveries < kMostRecoveries, "%s: no end of failures", what);
  if (run.is_over) return false;
  const bool is_sync_failed = fault_failed_sync() != 0 && bw_error(run.bw) == fault_failed_sync();
  if (is_sync_failed && !run.is_told) check_failed_sync();
  const bool is_held = !is_inline() && bw_error(run.bw) != 0 && !run.is_swapped;
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
  look("recovering");
  return !run.is_over;
}

/* ---- The script -------------------------------------------------------------------------------- */

enum action {
  WRITE, WRITEV, APPEND, APPENDV, SPAN, POLL_WRITE, POLL_APPEND,
  FLUSH, POLL_FLUSH, SYNC, POLL_SYNC, WAIT, SETTLE, SEEK, POLL_SEEK, NOTE,
  LANE_WRITE, LANE_APPEND, LANE_FLUSH, LANE_SYNC, LANE_CLOSE, CLOSE
};

typedef struct step {
  enum action action;
  int eighths; /* of the capacity, */
  int more;    /* and so many bytes: a length or a position */
  int which;   /* a lane or a level */
} step;

static const step script[] = {
    {WRITE, 1, 0, 0},          {WRITE, 4, 3, 0},          {WRITEV, 8, -5, 0},        {NOTE, 6, 0, BW_WRITTEN},
    {WRITE, 8, 0, 0},          {APPEND, 2, 0, 0},         {FLUSH, 0, 0, 0},          {APPEND, 32, 7, 0},
    {SPAN, 4, 1, 0},           {POLL_WRITE, 8, 9, 0},     {NOTE, 30, 0, BW_DURABLE}, {SYNC, 0, 0, 0},
    {LANE_WRITE, 2, 1, 0},     {LANE_WRITE, 1, 0, 1},     {WRITE, 24, 1, 0},         {SETTLE, 0, 0, 0},
    {LANE_WRITE, 3, 0, 0},     {WAIT, 0, 0, BW_WRITTEN},  {SEEK, 18, 5, 0},          {WRITE, 4, 0, 0},
    {WRITEV, 16, 3, 0},        {SETTLE, 0, 0, 0},         {POLL_FLUSH, 0, 0, 0},     {LANE_WRITE, 16, 5, 0},
    {NOTE, 60, 0, BW_DURABLE}, {LANE_APPEND, 2, 3, 1},    {LANE_FLUSH, 0, 0, 0},     {POLL_SEEK, 110, 11, 0},
    {APPENDV, 3, 0, 0},        {WAIT, 0, 0, BW_DURABLE},  {LANE_WRITE, 1, 1, 1},     {LANE_SYNC, 0, 0, 1},
    {POLL_APPEND, 3, 1, 0},    {LANE_WRITE, 1, 0, 0},     {SEEK, 96, 0, 0},          {POLL_WRITE, 24, 0, 0},
    {POLL_SYNC, 0, 0, 0},      {WRITE, 8, -1, 0},         {LANE_CLOSE, 0, 0, 0},     {LANE_CLOSE, 0, 0, 1},
    {WRITE, 7, 0, 0},          {CLOSE, 0, 0, 0},
};

/* An append that is longer than all buffers would be refused where nobody may wait. */
static size_t length_of(const step *now) {
  const bool is_too_long = now->action == APPEND && run.way->flags & BW_NONBLOCK && now->eighths > 16;
  return run.way->capacity * (size_t)(is_too_long ? 16 : now->eighths) / 8 + (size_t)now->more;
}

static lane *lane_of(const step *now) {
  lane *self = &run.lanes[now->which];
  if (self->bw || !is_shared()) return is_shared() ? self : NULL;
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

/* The writes that give a count. */
static int64_t write_some(bw_t *bw, enum action action, const unsigned char *data, size_t length) {
  const struct iovec parts[] = {{(void *)(uintptr_t)data, length / 3},
                                {NULL, 0},
                                {(void *)(uintptr_t)(data + length / 3), length - length / 3}};
  const bw_waker_t waker = test_waker_of(&run.waker);
  int64_t at;
  switch (action) {
    case WRITEV: return bw_writev(bw, parts, 3);
    case POLL_WRITE: return bw_poll_write(bw, data, length, &waker);
    case APPEND:
    case LANE_APPEND: at = bw_append(bw, data, length); break;
    case APPENDV: at = bw_appendv(bw, parts, 3); break;
    case POLL_APPEND: at = bw_poll_append(bw, data, length, &waker); break;
    default: return bw_write(bw, data, length);
  }
  if (at < 0) return at;
  const pending *bytes = bw == run.bw ? &run.bytes : bw == run.lanes[0].bw ? &run.lanes[0].bytes : &run.lanes[1].bytes;
  CHECK(at == end_of(bytes), "an append landed at %" PRId64 " and not %" PRId64, at, end_of(bytes));
  return (int64_t)length;
}

static int64_t fill_span(const unsigned char *data, size_t length) {
  bw_span_t span;
  int code = bw_reserve(run.bw, length, &span);
  if (code) return code;
  CHECK(span.position == end_of(&run.bytes), "a span begins at %" PRId64 " and not %" PRId64, span.position,
        end_of(&run.bytes));
  CHECK(is_shared() ? span.length == length : span.length >= length, "a span of %zu is %zu long", length, span.length);
  if (run.is_over) return 0;
  memcpy(span.data, data, length);
  code = bw_commit(run.bw, &span, length);
  CHECK(code == 0, "bw_commit gives %s", bw_err_name(code));
  return (int64_t)length;
}

/* All accepted bytes are at the target. */
static void all_is_written(const char *what) {
  look(what);
  if (run.is_over) return;
  CHECK(run.bytes.count == 0, "%s is done, and %zu bytes are not written", what, run.bytes.count);
  if (!run.is_over) compare_all(what);
}

static void all_is_durable(const char *what) {
  all_is_written(what);
  CHECK(run.is_over || run.durable == end_of(&run.bytes), "%s is done, and only %" PRId64 " of %" PRId64 " is durable",
        what, run.durable, end_of(&run.bytes));
}

static void has_sought(int64_t wanted, int64_t position) {
  CHECK(position == wanted, "a seek to %" PRId64 " gives %" PRId64, wanted, position);
  const int64_t written = bw_position(run.bw, BW_WRITTEN);
  CHECK(written == position, "after a seek written is %" PRId64, written);
  settle(end_of(&run.bytes), "a seek"); /* it flushes */
  run.bytes.base = position;
  if (run.durable > position) run.durable = position;
  look("a seek");
}

/* What fills a buffer of a background or file writer gets written though nobody asks. A code that is held ends it. */
static int await_full_ones(void) {
  const int64_t most = (int64_t)run.way->capacity + (run.way->is_file ? 4096 : 0);
  for (const int64_t begun_us = test_now_us(); !is_inline() && !run.is_over;) {
    const int code = bw_error(run.bw);
    if (code && code != fault_failed_sync()) return code;
    if (bw_position(run.bw, BW_WRITTEN) + most >= end_of(&run.bytes)) break;
    if (is_stuck()) return -EAGAIN;
    let_others_work(begun_us);
  }
  return 0;
}

static int act_on_levels(const step *now) {
  const bw_waker_t waker = test_waker_of(&run.waker);
  const int64_t end = end_of(&run.bytes);
  int64_t position;
  int code = 0;
  switch (now->action) {
    case FLUSH: code = bw_flush(run.bw); break;
    case POLL_FLUSH: code = bw_poll_flush(run.bw, &waker); break;
    case SYNC: code = bw_sync(run.bw); break;
    case POLL_SYNC: code = bw_poll_sync(run.bw, &waker); break;
    case WAIT:
      code = bw_wait(run.bw, end, now->which, run.way->never_wakes ? 1000 : TEST_BOUND_S * 1000000);
      if (code == -ETIMEDOUT && run.way->never_wakes) return -EAGAIN;
      CHECK(code != -ETIMEDOUT, "a wait ends by its bound");
      break;
    case SEEK:
    case POLL_SEEK:
      if (now->action == SEEK) {
        position = bw_seek(run.bw, (int64_t)length_of(now), SEEK_SET);
      } else {
        /* A failed flush keeps it remembered, a failed seek ends it. */
        if (!run.is_seek_started) code = bw_start_seek(run.bw, (int64_t)length_of(now), SEEK_SET);
        const int64_t before = fault_fired_on(FAULT_SEEK);
        position = code ? code : bw_poll_seek(run.bw, &waker);
        run.is_seek_started = before == fault_fired_on(FAULT_SEEK);
      }
      if (position >= 0) has_sought((int64_t)length_of(now), position);
      return position < 0 ? (int)position : 0;
    default: break;
  }
  if (code) return code;
  const bool is_sync = now->action == SYNC || now->action == POLL_SYNC || now->which == BW_DURABLE;
  if (is_sync) {
    all_is_durable("a sync");
  } else {
    all_is_written("a flush");
  }
  return 0;
}

/* True if `now` can never come about: a sync has failed. */
static bool is_in_vain(const step *now, int code) {
  const bool is_sync = now->action == SYNC || now->action == POLL_SYNC || now->action == LANE_SYNC ||
                       (now->action == WAIT && now->which == BW_DURABLE);
  return is_sync && fault_failed_sync() != 0 && code == fault_failed_sync() && bw_error(run.bw) == code;
}

/* One try. 0: the step is done. */
static int64_t try_step(const step *now, lane *self, size_t *done) {
  const size_t length = length_of(now);
  int64_t answer;
  switch (now->action) {
    case WRITE: case WRITEV: case APPEND: case APPENDV: case POLL_WRITE: case POLL_APPEND:
      answer = write_some(run.bw, now->action, run.piece + *done, length - *done);
      break;
    case SPAN: answer = fill_span(run.piece, length); break;
    case LANE_WRITE: case LANE_APPEND:
      answer = write_some(self->bw, now->action, run.piece + *done, length - *done);
      break;
    case LANE_FLUSH: return bw_flush(self->bw);
    case LANE_SYNC: return bw_sync(self->bw);
    case LANE_CLOSE: return bw_close(self->bw);
    case CLOSE: return bw_close(run.bw);
    case SETTLE: return await_full_ones();
    default: return act_on_levels(now);
  }
  if (answer < 0) return answer;
  if (answer == 0 && *done < length) {
    CHECK(now->action == POLL_WRITE && is_inline(), "0 for %zu bytes", length - *done);
    ++run.zeroes;
    return BW_EWRITEZERO; /* the bypassed sink said so */
  }
  CHECK((size_t)answer <= length - *done, "a write of %zu takes %" PRId64, length - *done, answer);
  if (run.is_over) return 0;
  append_bytes(self ? &self->bytes : &run.bytes, run.piece + *done, (size_t)answer);
  *done += (size_t)answer;
  return *done == length ? 0 : 1;
}

static void add_note(const step *now) {
  if (is_quiet() && is_shared()) return; /* it would get a thread */
  const int number = run.note_count++;
  run.note_positions[number] = (int64_t)length_of(now);
  run.note_levels[number] = now->which;
  const int code = bw_notify(run.bw, (int64_t)length_of(now), now->which, test_note_done, &run.notes[number]);
  CHECK(code == 0, "bw_notify gives %s", bw_err_name(code));
}

/* A write that stopped part-way without a code: the next call says why. */
static bool is_short_allowed(enum action action) {
  return fault_fired() > 0 || action == POLL_WRITE || run.way->flags & BW_NONBLOCK;
}

static const char *const names[] = {
    "bw_write",     "bw_writev",       "bw_append",      "bw_appendv",      "a span",        "bw_poll_write",
    "bw_poll_append", "bw_flush",      "bw_poll_flush",  "bw_sync",         "bw_poll_sync",  "bw_wait",
    "a full buffer", "bw_seek",        "bw_poll_seek",   "bw_notify",       "a lane's write", "a lane's append",
    "a lane's flush", "a lane's sync", "a lane's close", "bw_close"};

static bool is_poll(const step *now) {
  return now->action == POLL_WRITE || now->action == POLL_APPEND || now->action == POLL_FLUSH ||
         now->action == POLL_SYNC || now->action == POLL_SEEK;
}

/* Whoever has to wait says so, and what he waits for comes about by itself. */
static void wait_for_others(const step *now, int64_t begun_us) {
  CHECK(is_poll(now) || run.way->flags & BW_NONBLOCK, "%s gives -EAGAIN", names[now->action]);
  if (is_poll(now)) {
    await_waker();
  } else {
    let_others_work(begun_us);
  }
}

enum outcome { DONE, AGAIN, LEFT };

/* bw_close() gave a code. True if the writer is closed all the same: a sync or the sink's `close` has failed. */
static bool is_closed_by(int code) {
  const bool is_sync = code == fault_failed_sync();
  run.is_told_by_close = run.is_told_by_close || is_sync;
  return (is_sync || fault_fired_on(FAULT_CLOSE) > 0) && code != -EAGAIN && is_expected(code) && bw_close(run.bw) == 0;
}

/* A try of the step gave `code`. */
static enum outcome answer_code(const step *now, lane *self, int code, int64_t *begun_us) {
  const char *what = names[now->action];
  if (is_in_vain(now, code)) {
    const bool was_told = run.is_told;
    if (!was_told) check_failed_sync();
    if (was_told || is_inline() || run.is_swapped) return LEFT;
  }
  if (now->action == CLOSE && is_closed_by(code)) return DONE;
  const bool has_others = !is_inline() || (is_poll(now) && !is_quiet() && !run.way->is_descriptor);
  if (code == -EAGAIN && has_others && !is_stuck()) {
    wait_for_others(now, *begun_us);
    return AGAIN;
  }
  CHECK(code != -EINTR || now->action == POLL_WRITE, "%s gives -EINTR", what);
  if (code == -EAGAIN && is_poll(now) && !is_stuck() && !run.way->is_descriptor) await_waker(); /* woken in the sink */
  if (!recover(code, self, what)) return LEFT;
  if (code == -EAGAIN && is_poll(now) && run.way->never_wakes) await_waker(); /* woken just now */
  *begun_us = test_now_us();
  return AGAIN;
}

static enum outcome try_and_look(const step *now, lane *self, size_t *done, int64_t *begun_us) {
  const char *what = names[now->action];
  atomic_store(&run.waker.calls, 0);
  const int64_t answer = try_step(now, self, done);
  if (self) {
    look_at_lane(self, what);
  } else if (now->action != CLOSE || answer != 0) {
    look(what);
  }
  if (run.is_over) return LEFT;
  if (answer < 0) return answer_code(now, self, (int)answer, begun_us);
  if (answer == 0) return DONE;
  CHECK(is_short_allowed(now->action), "%s stops at %zu of %zu", what, *done, length_of(now));
  return AGAIN;
}

static void do_step(const step *now) {
  const bool is_lane = now->action >= LANE_WRITE && now->action <= LANE_CLOSE;
  lane *self = is_lane ? lane_of(now) : NULL;
  if (is_lane && !self) return;
  if (now->action == NOTE) {
    add_note(now);
    return;
  }
  test_pattern(run.piece, length_of(now) <= sizeof run.piece ? length_of(now) : 0, ++run.piece_number);
  run.tries = 0;
  run.is_seek_started = false;
  enum outcome outcome = AGAIN;
  size_t done = 0;
  for (int64_t begun_us = test_now_us(); outcome == AGAIN && !run.is_over;)
    outcome = try_and_look(now, self, &done, &begun_us);
  if (run.is_over || outcome != DONE) return;
  if (now->action == LANE_CLOSE) {
    CHECK(self->bytes.count == 0, "a closed lane keeps %zu bytes", self->bytes.count);
    free_lane(self);
  }
  if (now->action == LANE_FLUSH) all_is_written("a lane's flush");
  if (now->action == CLOSE) run.is_closed = true;
}

/* ---- The end ----------------------------------------------------------------------------------- */

/* What must be true of a writer that was closed. */
static void check_closed(void) {
  const int64_t end = end_of(&run.bytes);
  settle(bw_position(run.bw, BW_WRITTEN), "bw_close");
  CHECK(run.bytes.count == 0, "a closed writer keeps %zu bytes", run.bytes.count);
  CHECK(bw_close(run.bw) == 0, "a closed writer is not closed again");
  const int64_t answer = bw_write(run.bw, run.piece, 1);
  CHECK(answer == -ESHUTDOWN, "a write after bw_close gives %" PRId64, answer);
  CHECK(bw_flush(run.bw) == -ESHUTDOWN, "a flush after bw_close is not -ESHUTDOWN");
  CHECK(run.is_told_by_close || fault_failed_sync() == 0, "bw_close does not give the code of the failed sync");
  const int64_t durable = bw_position(run.bw, BW_DURABLE);
  look_at_durable(durable, end);
  if (run.way->is_file && !run.is_swapped && fault_failed_sync() == 0)
    CHECK(durable == end, "a closed file is durable up to %" PRId64 " of %" PRId64, durable, end);
  if (!run.is_over) compare_all("bw_close");
}

static void close_early(void) {
  for (int i = 0; i < kLanes; ++i) {
    if (!run.lanes[i].bw) continue;
    const int code = bw_close(run.lanes[i].bw);
    CHECK(is_expected(code), "a lane's close gives %s", bw_err_name(code));
    run.is_over = has_failed();
    look_at_lane(&run.lanes[i], "a lane's close");
    free_lane(&run.lanes[i]);
  }
  for (int round = 0; round < 2 && !run.is_closed; ++round) {
    int code;
    for (const int64_t begun_us = test_now_us();
         (code = bw_close(run.bw)) == -EAGAIN && !is_inline() && !is_stuck() && !run.is_over;)
      let_others_work(begun_us);
    CHECK(is_expected(code), "bw_close gives %s", bw_err_name(code));
    run.is_told_by_close = run.is_told_by_close || (code && code == fault_failed_sync());
    /* After a code only another call tells whether it is closed. */
    run.is_closed = code == 0;
  }
}

static void check_notes(void) {
  for (int i = 0; i < run.note_count; ++i) {
    const int code = atomic_load(&run.notes[i].code);
    CHECK(atomic_load(&run.notes[i].calls) == 1, "a note is answered %d times", atomic_load(&run.notes[i].calls));
    CHECK(is_expected(code) || code == -ECANCELED || code == -ESHUTDOWN, "a note is answered with %s",
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
    CHECK(event->code == injected_code, "an event tells of %s", bw_err_name(event->code));
    ++errors;
  }
  CHECK(told == (uint64_t)run.written_total, "events tell of %" PRIu64 " bytes written, not of %" PRId64, told,
        run.written_total);
  int64_t failures =
      fault_fired_on(FAULT_WRITE) + fault_fired_on(FAULT_FLUSH) + fault_fired_on(FAULT_SYNC) - run.zeroes;
  if (injected_code == 0 || fault_is_restarted(injected_code, run.way->is_file)) failures = 0;
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
  run.is_over = has_failed();
  if (run.recovery == WORKLOAD_CLOSE && !run.is_closed && !run.is_over) close_early();
  if (run.is_closed) check_closed();
  if (has_failed()) fault_lift();
  CHECK(run.is_closed || run.is_given_up, "the workload does not come to its end");
  for (int i = 0; i < kLanes; ++i) free_lane(&run.lanes[i]);
  const int64_t fired = fault_fired();
  const bool may_lose = is_quiet() ? bw_error(run.bw) != 0 : fired > 0;
  bw_free(run.bw);
  run.bw = NULL;
  const size_t before = before_lost(&run.events, &run.bytes, "freeing");
  CHECK(before == run.bytes.count || may_lose || fault_fired() > fired, "bytes are lost though nothing fails");
  if (run.is_over) return;
  settle(run.bytes.base + (int64_t)before, "freeing");
  if (run.is_closed) CHECK(run.bytes.count == 0, "a closed writer lost %zu bytes", run.bytes.count);
  give_up_pending();
  if (!run.is_over) compare_all("freeing");
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
  run.is_swapped = run.is_told = run.is_told_by_close = run.is_given_up = run.durable_is_final = false;
  run.is_over = run.is_closed = run.has_failed = false;
  memset(run.notes, 0, sizeof run.notes);
  run.note_count = run.recoveries = run.tries = run.zeroes = 0;
  run.piece_number = 0;
}

bool workload_do(const workload_way *way, const workload_target *target, workload_maker make, enum workload_recovery recovery,
                    int code, char why[256]) {
  bw_options_t options = BW_OPTIONS_INIT;
  begin(way, target, recovery, why);
  injected_code = code;
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
  for (size_t i = 0; i < sizeof script / sizeof script[0] && !run.is_over; ++i) do_step(&script[i]);
  if (run.bw) finish();
  test_events_destroy(&run.events);
  return !has_failed();
}
