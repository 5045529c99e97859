#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "script.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fault.h"
#include "lane.h"
#include "oracle.h"
#include "recovery.h"

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
  CHECK(at == oracle_end(bytes), "an append landed at %" PRId64 " and not %" PRId64, at, oracle_end(bytes));
  return (int64_t)length;
}

static int64_t fill_span(const unsigned char *data, size_t length) {
  bw_span_t span;
  int code = bw_reserve(run.bw, length, &span);
  if (code) return code;
  CHECK(span.position == oracle_end(&run.bytes), "a span begins at %" PRId64 " and not %" PRId64, span.position,
        oracle_end(&run.bytes));
  CHECK(run_is_shared() ? span.length == length : span.length >= length, "a span of %zu is %zu long", length,
        span.length);
  if (run.is_over) return 0;
  memcpy(span.data, data, length);
  code = bw_commit(run.bw, &span, length);
  CHECK(code == 0, "bw_commit gives %s", bw_err_name(code));
  return (int64_t)length;
}

static void has_sought(int64_t wanted, int64_t position) {
  CHECK(position == wanted, "a seek to %" PRId64 " gives %" PRId64, wanted, position);
  const int64_t written = bw_position(run.bw, BW_WRITTEN);
  CHECK(written == position, "after a seek written is %" PRId64, written);
  oracle_settle(oracle_end(&run.bytes), "a seek"); /* it flushes */
  run.bytes.base = position;
  if (run.durable > position) run.durable = position;
  oracle_look("a seek");
}

/* What fills a buffer of a background or file writer gets written though nobody asks. A code that is held ends it. */
static int await_full_ones(void) {
  const int64_t most = (int64_t)run.way->capacity + (run.way->is_file ? 4096 : 0);
  for (const int64_t begun_us = test_now_us(); !run_is_inline() && !run.is_over;) {
    const int code = bw_error(run.bw);
    if (code && code != fault_failed_sync()) return code;
    if (bw_position(run.bw, BW_WRITTEN) + most >= oracle_end(&run.bytes)) break;
    if (recovery_is_stuck()) return -EAGAIN;
    recovery_let_others_work(begun_us);
  }
  return 0;
}

static int act_on_levels(const step *now) {
  const bw_waker_t waker = test_waker_of(&run.waker);
  const int64_t end = oracle_end(&run.bytes);
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
    oracle_all_is_durable("a sync");
  } else {
    oracle_all_is_written("a flush");
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
    CHECK(now->action == POLL_WRITE && run_is_inline(), "0 for %zu bytes", length - *done);
    ++run.zeroes;
    return BW_EWRITEZERO; /* the bypassed sink said so */
  }
  CHECK((size_t)answer <= length - *done, "a write of %zu takes %" PRId64, length - *done, answer);
  if (run.is_over) return 0;
  oracle_append(self ? &self->bytes : &run.bytes, run.piece + *done, (size_t)answer);
  *done += (size_t)answer;
  return *done == length ? 0 : 1;
}

static void add_note(const step *now) {
  if (run_is_quiet() && run_is_shared()) return; /* it would get a thread */
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
    recovery_await_waker();
  } else {
    recovery_let_others_work(begun_us);
  }
}

enum outcome { DONE, AGAIN, LEFT };

/* bw_close() gave a code. True if the writer is closed all the same: a sync or the sink's `close` has failed. */
static bool is_closed_by(int code) {
  const bool is_sync = code == fault_failed_sync();
  run.is_told_by_close = run.is_told_by_close || is_sync;
  const bool is_unsynced = run_is_unsynced(code);
  const bool is_final = is_sync || is_unsynced || fault_fired_on(FAULT_CLOSE) > 0;
  const bool is_closed = is_final && code != -EAGAIN && oracle_is_expected(code) && bw_close(run.bw) == 0;
  run.is_unsynced = run.is_unsynced || (is_unsynced && is_closed);
  return is_closed;
}

/* A try of the step gave `code`. */
static enum outcome answer_code(const step *now, lane *self, int code, int64_t *begun_us) {
  const char *what = names[now->action];
  if (is_in_vain(now, code)) {
    const bool was_told = run.is_told;
    if (!was_told) recovery_check_failed_sync();
    if (was_told || run_is_inline() || run.is_swapped) return LEFT;
  }
  if (now->action == CLOSE && is_closed_by(code)) return DONE;
  const bool has_others = !run_is_inline() || (is_poll(now) && !run_is_quiet() && !run.way->is_descriptor);
  if (code == -EAGAIN && has_others && !recovery_is_stuck()) {
    wait_for_others(now, *begun_us);
    return AGAIN;
  }
  CHECK(code != -EINTR || now->action == POLL_WRITE, "%s gives -EINTR", what);
  const bool is_woken = code == -EAGAIN && is_poll(now) && !run.way->is_descriptor; /* in the sink */
  if (is_woken && !recovery_is_stuck()) recovery_await_waker();
  if (!recovery_try(code, self, what)) return LEFT;
  if (code == -EAGAIN && is_poll(now) && run.way->never_wakes) recovery_await_waker(); /* woken just now */
  *begun_us = test_now_us();
  return AGAIN;
}

static enum outcome try_and_look(const step *now, lane *self, size_t *done, int64_t *begun_us) {
  const char *what = names[now->action];
  atomic_store(&run.waker.calls, 0);
  const int64_t answer = try_step(now, self, done);
  if (self) {
    lane_look(self, what);
  } else if (now->action != CLOSE || answer != 0) {
    oracle_look(what);
  }
  if (run.is_over) return LEFT;
  if (answer < 0) return answer_code(now, self, (int)answer, begun_us);
  if (answer == 0) return DONE;
  CHECK(is_short_allowed(now->action), "%s stops at %zu of %zu", what, *done, length_of(now));
  return AGAIN;
}

static void do_step(const step *now) {
  const bool is_lane = now->action >= LANE_WRITE && now->action <= LANE_CLOSE;
  lane *self = is_lane ? lane_open(now->which) : NULL;
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
    lane_free(self);
  }
  if (now->action == LANE_FLUSH) oracle_all_is_written("a lane's flush");
  if (now->action == CLOSE) run.is_closed = true;
}

void script_play(void) {
  for (size_t i = 0; i < sizeof script / sizeof script[0] && !run.is_over; ++i) do_step(&script[i]);
}
