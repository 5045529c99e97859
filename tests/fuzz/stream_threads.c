/*
 * Writers with a thread of ours: background ones, and shared inline ones with a linger. When that thread comes to the
 * sink nobody can say; that every byte comes there once, in order, and that the writer never claims too much, is
 * checked after every call. The calls themselves come from one thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "script_sink.h"
#include "stream_fuzz.h"

enum { kWakersMax = 3, kNotesMax = 16, kSpansMax = 6, kPartsMax = 8, kCodesMax = 16, kBytesMax = 1 << 18 };

typedef struct run run;

typedef struct waker {
  run *of;
  int credits, calls;
  bool must_come;
} waker;

typedef struct note {
  run *of;
  int64_t position;
  int level, calls;
} note;

typedef struct span {
  bool is_open;
  size_t from; /* in `stream` */
  bw_span_t span;
} span;

struct run {
  fuzz_input ops;
  script_sink script;
  bw_t *bw, *lane;
  bool is_inline, is_unshared, nonblock;
  uint64_t capacity, buffers, written;
  fuzz_bytes scratch;
  /* What was accepted: stream[0] is at position `base`. `pending`: what the lane has not handed on. */
  fuzz_bytes stream, pending;
  int64_t base, taken;
  size_t seen; /* of script.calls */
  unsigned has;
  int sink, closes;
  span spans[kSpansMax];
  bool is_closed, is_closing, was_cut, is_freeing;
  int codes[kCodesMax], code_count; /* that the sink gave */
  int least_errors, most_errors;
  /* Under script.mutex: what the sink must not be asked now, and why. */
  bool is_releasing, is_held, is_not_ready;
  int grace;
  /* What was told. One call at a time, whatever the thread. */
  pthread_mutex_t told;
  int inside, errors;
  bool pressure, has_gap;
  uint64_t told_written;
  int64_t told_end;
  fuzz_bytes lost;
  waker wakers[kWakersMax];
  note notes[kNotesMax];
  int note_count;
};

/* ---- The sink's side ------------------------------------------------------------------------- */

/* Convention: after an error, or -EAGAIN, a background writer does not write until it is let go of, or woken. */
static void look_at_call(void *arg, const sink_call *call) {
  run *of = arg;
  if (call->kind != kWrite && call->kind != kWritev) {
    if (call->answer == BW_ESINK) of->is_held = !of->is_releasing;
    if (call->woke) of->is_not_ready = false;
    return;
  }
  if (of->is_held) fuzz_fail(__FILE__, __LINE__, "the sink is left alone while an error is held");
  /* A call that had begun when the wake-up came, and reached the sink after it, may be followed by one more; two were
   * seen, rarely. A writer that does not heed the answer goes on and on. */
  if (of->is_not_ready && of->grace-- == 0) fuzz_fail(__FILE__, __LINE__, "the sink is left alone until it is ready");
  if (of->is_releasing) return;
  if (call->answer == -EAGAIN) {
    of->is_not_ready = !of->is_inline && !call->woke;
  } else if (call->answer <= 0 && call->answer != -EINTR) {
    of->is_held = !of->is_inline || call->answer == BW_ESINK;
  }
}

static void release(run *of, bool begins) {
  pthread_mutex_lock(&of->script.mutex);
  of->is_releasing = begins;
  of->is_held = of->is_not_ready = false;
  of->grace = 2;
  pthread_mutex_unlock(&of->script.mutex);
}

static bool has_given(const run *of, int64_t code) {
  for (int index = 0; index < of->code_count; ++index) {
    if (of->codes[index] == code) return true;
  }
  return false;
}

static void keep_code(run *of, const sink_call *call) {
  const bool is_write = call->kind == kWrite || call->kind == kWritev;
  const int code = call->answer == 0 && is_write ? BW_EWRITEZERO : (int)call->answer;
  if (code >= 0) return;
  if (!has_given(of, code)) {
    FUZZ_CHECK(of->code_count < kCodesMax);
    of->codes[of->code_count++] = code;
  }
  if (code == -EAGAIN || (code == -EINTR && call->kind != kSync)) return;
  const bool is_handed_through = is_write && code == BW_EWRITEZERO && of->is_inline; /* by a poll */
  if ((is_write && !is_handed_through) || code == BW_ESINK ||
      (call->kind == kSync && code != -EOPNOTSUPP && code != -EINTR))
    ++of->least_errors;
  ++of->most_errors;
}

static size_t span_start(const run *of) {
  size_t start = of->stream.length;
  for (int index = 0; index < kSpansMax; ++index) {
    if (of->spans[index].is_open && of->spans[index].from < start) start = of->spans[index].from;
  }
  return start;
}

static bool is_span_open(const run *of) {
  for (int index = 0; index < kSpansMax; ++index) {
    if (of->spans[index].is_open) return true;
  }
  return false;
}

/* Of those of a shared writer: bytes that are in the stream, and not accepted. */
static bool has_spans(const run *of) { return span_start(of) < of->stream.length; }

/* Looks at the sink calls since the last look: what they were offered is what comes next in the stream. */
static void look(run *of) {
  pthread_mutex_lock(&of->script.mutex);
  for (; of->seen < of->script.call_count; ++of->seen) {
    const sink_call *call = &of->script.calls[of->seen];
    FUZZ_SAME(call->sink, of->sink);
    FUZZ_CHECK(of->closes == 0);
    keep_code(of, call);
    if (call->kind == kClose && call->answer != -EAGAIN && call->answer != -EINTR) ++of->closes;
    if (call->kind != kWrite && call->kind != kWritev) continue;
    const size_t from = (size_t)(of->taken - of->base);
    FUZZ_CHECK(from + call->length <= span_start(of));
    const unsigned char *offered = of->script.offered.bytes + call->from;
    FUZZ_CHECK(call->length > 0 && memcmp(of->stream.bytes + from, offered, call->length) == 0);
    if (call->answer > 0) of->taken += call->answer;
  }
  pthread_mutex_unlock(&of->script.mutex);
}

static int64_t end_of(const run *of) { return of->base + (int64_t)of->stream.length; }

/* ---- Callbacks ------------------------------------------------------------------------------- */

static void on_event(void *arg, const bw_event_t *event) {
  run *of = arg;
  FUZZ_SAME(__atomic_fetch_add(&of->inside, 1, __ATOMIC_RELAXED), 0);
  pthread_mutex_lock(&of->told);
  switch (event->kind) {
    case BW_EVENT_PRESSURE_ON:
    case BW_EVENT_PRESSURE_OFF:
      FUZZ_SAME(event->kind == BW_EVENT_PRESSURE_ON, !of->pressure);
      of->pressure = !of->pressure;
      break;
    case BW_EVENT_ERROR:
      FUZZ_CHECK(event->code < 0);
      ++of->errors;
      break;
    case BW_EVENT_WRITTEN:
      FUZZ_CHECK(event->length > 0);
      if (event->position != of->told_end) of->has_gap = true;
      of->told_end = event->position + (int64_t)event->length;
      of->told_written += event->length;
      break;
    case BW_EVENT_DURABLE:
      break;
    default:
      FUZZ_SAME(event->kind, BW_EVENT_LOST);
      FUZZ_CHECK(event->length > 0 && event->code < 0);
      fuzz_append(&of->lost, event->data, event->length);
  }
  pthread_mutex_unlock(&of->told);
  __atomic_fetch_sub(&of->inside, 1, __ATOMIC_RELAXED);
}

static void on_wake(void *arg) {
  waker *it = arg;
  pthread_mutex_lock(&it->of->told);
  FUZZ_CHECK(it->credits > 0);
  --it->credits;
  ++it->calls;
  it->must_come = false;
  pthread_mutex_unlock(&it->of->told);
}

static void on_done(void *arg, int code) {
  note *it = arg;
  run *of = it->of;
  const int64_t reached = bw_position(of->bw, it->level);
  pthread_mutex_lock(&of->told);
  FUZZ_SAME(++it->calls, 1);
  FUZZ_CHECK(code <= 0);
  if (code == 0) FUZZ_CHECK(reached >= it->position || of->was_cut);
  if (code == -ECANCELED) FUZZ_CHECK(of->was_cut || of->is_freeing);
  if (code == -ESHUTDOWN) FUZZ_CHECK(of->is_closing || of->is_freeing);
  pthread_mutex_unlock(&of->told);
}

static void lock_told(run *of) { pthread_mutex_lock(&of->told); }
static void unlock_told(run *of) { pthread_mutex_unlock(&of->told); }

/* ---- Choices --------------------------------------------------------------------------------- */

static size_t choose_length(run *of) {
  const unsigned choice = fuzz_byte(&of->ops);
  if (choice < 128) return choice % (of->capacity < 126 ? of->capacity + 2 : 128);
  if (choice < 192) return (size_t)(of->capacity * (1 + choice % 3) - choice % 2);
  return (size_t)(of->capacity * of->buffers - 1 + choice % 3);
}

static const unsigned char *make_bytes(run *of, size_t length) {
  return fuzz_make(&of->scratch, &of->written, length);
}

/* A call that waits would wait for a span that this very thread has open. */
static bool must_poll(const run *of) { return has_spans(of) && !of->nonblock; }

typedef struct poll {
  bw_waker_t room;
  const bw_waker_t *wake;
  waker *it;
  int calls;
} poll;

static poll begin_poll(run *of) {
  poll begun = {{on_wake, NULL}, NULL, NULL, 0};
  const unsigned choice = (unsigned)fuzz_below(&of->ops, kWakersMax + 1);
  if (choice == kWakersMax) return begun;
  begun.it = &of->wakers[choice];
  begun.room.arg = begun.it;
  lock_told(of);
  ++begun.it->credits;
  begun.calls = begun.it->calls;
  unlock_told(of);
  return begun;
}

static const bw_waker_t *wake_of(poll *begun) {
  return begun->it ? &begun->room : NULL;
}

static void end_poll(run *of, const poll *begun, int64_t result) {
  if (begun->it == NULL) return;
  lock_told(of);
  if (result == -EAGAIN) {
    if (begun->it->calls == begun->calls) begun->it->must_come = true;
  } else {
    --begun->it->credits;
    FUZZ_CHECK(begun->it->credits >= 0);
  }
  unlock_told(of);
}

/* Codes that a call may give. `waits`: it would have to, and may not. */
static void check_code(const run *of, int64_t code, bool waits) {
  if (code >= 0 || has_given(of, code)) return;
  if (code == -EAGAIN) {
    FUZZ_CHECK(waits || of->nonblock || of->is_inline);
  } else if (code == -EBUSY) {
    FUZZ_CHECK(is_span_open(of) || of->lane != NULL);
  } else if (code == -ESHUTDOWN) {
    FUZZ_CHECK(of->is_closed);
  } else if (code == -EOVERFLOW) {
    FUZZ_CHECK(end_of(of) > INT64_MAX - kBytesMax);
  } else {
    fuzz_differ(__FILE__, __LINE__, "a code that nobody gave", code, 0);
  }
}

/* ---- Writing --------------------------------------------------------------------------------- */

/* The bytes are in the stream before the call; what was not accepted leaves it again. */
static void settle_write(run *of, size_t before, int64_t accepted) {
  look(of);
  of->stream.length = before + (accepted > 0 ? (size_t)accepted : 0);
  FUZZ_CHECK(of->taken <= end_of(of));
}

static void do_write(run *of, bool is_poll, bool is_list) {
  struct iovec parts[kPartsMax];
  const int count = is_list ? (int)fuzz_below(&of->ops, kPartsMax + 1) : 1;
  size_t lengths[kPartsMax], total = 0;
  int64_t result;
  for (int index = 0; index < count; ++index) total += lengths[index] = choose_length(of);
  const unsigned char *bytes = make_bytes(of, total);
  const size_t before = of->stream.length;
  for (int index = 0; index < count; ++index) {
    parts[index] = (struct iovec){(void *)(uintptr_t)bytes, lengths[index]};
    bytes += lengths[index];
  }
  is_poll = is_poll || must_poll(of);
  if (is_poll) {
    poll begun = begin_poll(of);
    result = is_list ? bw_poll_writev(of->bw, parts, count, wake_of(&begun))
                     : bw_poll_write(of->bw, parts[0].iov_base, total, wake_of(&begun));
    end_poll(of, &begun, result);
  } else {
    result = is_list ? bw_writev(of->bw, parts, count) : bw_write(of->bw, parts[0].iov_base, total);
  }
  FUZZ_CHECK(result <= (int64_t)total);
  fuzz_append(&of->stream, of->scratch.bytes, total);
  settle_write(of, before, result);
  check_code(of, result, is_poll);
  if (result >= 0 && result < (int64_t)total) FUZZ_CHECK(is_poll || of->nonblock || of->code_count > 0);
}

static void do_append(run *of, bool is_poll) {
  const size_t length = choose_length(of), before = of->stream.length;
  const unsigned char *bytes = make_bytes(of, length);
  int64_t result;
  is_poll = is_poll || must_poll(of);
  if (is_poll) {
    poll begun = begin_poll(of);
    result = bw_poll_append(of->bw, bytes, length, wake_of(&begun));
    end_poll(of, &begun, result);
  } else {
    result = bw_append(of->bw, bytes, length);
  }
  fuzz_append(&of->stream, bytes, length);
  settle_write(of, before, result < 0 ? 0 : (int64_t)length);
  if (result >= 0) FUZZ_SAME(result, of->base + (int64_t)before);
  if (result == -EMSGSIZE) {
    FUZZ_CHECK(!of->is_inline && (is_poll || of->nonblock) && length > of->capacity * of->buffers);
  } else {
    check_code(of, result, is_poll);
  }
}

static void do_reserve(run *of) {
  const size_t length = choose_length(of);
  int index = 0, code;
  bw_span_t made;
  while (index < kSpansMax && of->spans[index].is_open) ++index;
  if (index == kSpansMax || must_poll(of)) return;
  code = bw_reserve(of->bw, length, &made);
  if (code == -EINVAL || code == -EMSGSIZE) FUZZ_CHECK(length == 0 || length > of->capacity);
  if (code == 0) {
    FUZZ_CHECK(of->is_unshared ? made.length >= length && made.length <= of->capacity : made.length == length);
    FUZZ_SAME(made.position, end_of(of));
    of->spans[index] = (span){true, of->stream.length, made};
    fuzz_append(&of->stream, make_bytes(of, made.length), made.length);
    if (of->is_unshared) of->stream.length = of->spans[index].from; /* accepted with what is committed */
  }
  look(of);
  if (code != -EINVAL && code != -EMSGSIZE) check_code(of, code, false);
}

static void commit(run *of, int index) {
  span *it = &of->spans[index];
  size_t used = it->span.length;
  if (!it->is_open) return;
  if (of->is_unshared) used = fuzz_below(&of->ops, used + 1);
  const unsigned char *bytes = make_bytes(of, used);
  look(of);
  if (used > 0) memcpy(it->span.data, bytes, used);
  if (of->is_unshared) {
    fuzz_append(&of->stream, bytes, used);
  } else {
    memcpy(of->stream.bytes + it->from, bytes, used);
  }
  it->is_open = false;
  FUZZ_SAME(bw_commit(of->bw, &it->span, used), 0);
  look(of);
}

/* ---- The other calls ------------------------------------------------------------------------- */

typedef int (*blocking_call)(bw_t *bw);
typedef int (*polling_call)(bw_t *bw, const bw_waker_t *wake);

static int call(run *of, blocking_call block, polling_call poll_it) {
  int result;
  if (fuzz_chance(&of->ops, 128) || must_poll(of)) {
    poll begun = begin_poll(of);
    result = poll_it(of->bw, wake_of(&begun));
    end_poll(of, &begun, result);
    look(of);
    if (result != -EAGAIN) check_code(of, result, true);
  } else {
    result = block(of->bw);
    look(of);
    if (result != -EOPNOTSUPP) check_code(of, result, false);
  }
  return result;
}

static int poll_sync_too(bw_t *bw, const bw_waker_t *wake) { return bw_poll_sync(bw, wake); }

static void do_flush(run *of) {
  if (call(of, bw_flush, bw_poll_flush) == 0) FUZZ_SAME(of->taken, end_of(of));
}

static void do_sync(run *of) {
  const unsigned with = of->has;
  int code;
  if (!(with >> kSync & 1)) { /* -EOPNOTSUPP is no code of the sink's */
    if (must_poll(of) || is_span_open(of)) return;
    code = bw_sync(of->bw);
    look(of);
    FUZZ_CHECK(code < 0);
    if (code != -EOPNOTSUPP) check_code(of, code, false);
    return;
  }
  if (call(of, bw_sync, poll_sync_too) != 0) return;
  FUZZ_SAME(of->taken, end_of(of));
  FUZZ_SAME(bw_position(of->bw, BW_DURABLE), end_of(of));
}

static void do_close(run *of) {
  const bool was_closed = of->is_closed;
  int code;
  if (of->lane != NULL) return;
  lock_told(of);
  of->is_closing = true;
  unlock_told(of);
  code = call(of, bw_close, bw_poll_close);
  if (was_closed) FUZZ_SAME(code, 0);
  of->is_closed = of->is_closed || bw_poll_flush(of->bw, NULL) == -ESHUTDOWN;
  look(of);
  if (code == 0) FUZZ_CHECK(of->is_closed);
  if (of->is_closed) FUZZ_SAME(of->taken, end_of(of));
}

static void do_seek(run *of) {
  const int64_t offset = fuzz_chance(&of->ops, 30) ? (int64_t)(fuzz_any(&of->ops) >> 8) : fuzz_byte(&of->ops);
  const int whence = (int)fuzz_below(&of->ops, 3);
  int64_t result;
  if (must_poll(of) || is_span_open(of)) return;
  lock_told(of);
  of->was_cut = true;
  unlock_told(of);
  if (fuzz_chance(&of->ops, 128)) {
    result = bw_seek(of->bw, offset, whence);
  } else if (bw_start_seek(of->bw, offset, whence) == 0) {
    poll begun = begin_poll(of);
    result = bw_poll_seek(of->bw, wake_of(&begun));
    end_poll(of, &begun, result);
    if (result == -EAGAIN) { /* never mind that one: another seek ends it, and moves where it says */
      result = of->nonblock ? -EAGAIN : bw_seek(of->bw, offset, whence);
    }
  } else {
    return;
  }
  look(of);
  if (result < 0) return;
  FUZZ_SAME(of->taken, end_of(of));
  of->stream.length = 0;
  of->base = of->taken = result;
}

static void do_read(run *of) {
  unsigned char data[64];
  const size_t length = fuzz_below(&of->ops, sizeof data);
  const int64_t result = bw_read(of->bw, data, length);
  look(of);
  FUZZ_CHECK(result <= (int64_t)length);
  if (result != -EBADF) check_code(of, result, false);
}

/* Around the end. */
static int64_t choose_position(run *of) {
  const int64_t before = end_of(of) - fuzz_byte(&of->ops) % 32;
  return before > INT64_MAX - 8 ? INT64_MAX : before + 8;
}

static void do_wait(run *of) {
  const int64_t position = choose_position(of);
  const int level = (int)fuzz_below(&of->ops, 3);
  const int code = bw_wait(of->bw, position, level, fuzz_byte(&of->ops) % 64);
  look(of);
  if (code == 0) FUZZ_CHECK(bw_position(of->bw, level) >= position);
  if (code == 0 && level >= BW_WRITTEN) FUZZ_CHECK(of->taken >= position);
  if (code != -ETIMEDOUT && code != -EOPNOTSUPP) check_code(of, code, true);
  if (code == -EBUSY) usleep(100); /* beside an open span nothing waits: our thread gets on meanwhile */
}

static void do_notify(run *of) {
  note *it = &of->notes[of->note_count];
  if (of->note_count == kNotesMax) return;
  *it = (note){.of = of};
  it->position = choose_position(of);
  it->level = (int)fuzz_below(&of->ops, 3);
  if (bw_notify(of->bw, it->position, it->level, on_done, it) == 0) ++of->note_count;
}

static void visit(void *arg, const void *data, size_t length) { fuzz_append(arg, data, length); }

static void do_unwritten(run *of) {
  fuzz_bytes visited = {0};
  int64_t count;
  if (of->nonblock || !has_spans(of)) {
    count = bw_unwritten(of->bw, visit, &visited);
    FUZZ_CHECK(count >= 0);
    FUZZ_SAME(visited.length, count);
    if (!has_spans(of)) {
      FUZZ_CHECK((size_t)count <= of->stream.length);
      FUZZ_CHECK(count == 0 || memcmp(of->stream.bytes + of->stream.length - count, visited.bytes, (size_t)count) == 0);
    }
    free(visited.bytes);
  }
  look(of);
}

static void do_discard(run *of) {
  int64_t count;
  lock_told(of);
  of->was_cut = true;
  unlock_told(of);
  release(of, true);
  count = bw_discard(of->bw);
  look(of);
  release(of, false);
  if (count < 0) {
    FUZZ_CHECK(count == -EAGAIN ? of->nonblock : count == -EBUSY && is_span_open(of));
    return;
  }
  if (of->is_closed) return;
  FUZZ_SAME(count, end_of(of) - of->taken);
  of->stream.length -= (size_t)count;
}

static void do_resume(run *of) {
  int code;
  release(of, true);
  code = bw_resume(of->bw);
  release(of, false);
  look(of);
  if (code != BW_ESINK && code != -EIO) FUZZ_SAME(code, 0);
}

static void do_set_sink(run *of) {
  const unsigned with = fuzz_byte(&of->ops) & ~(1u << kWrite);
  const bw_sink_t sink = script_sink_ops(with);
  int code;
  if (is_span_open(of) && of->is_unshared) {
    FUZZ_SAME(bw_set_sink(of->bw, &sink, &of->script.sinks[!of->sink]), -EBUSY);
    return;
  }
  look(of);
  release(of, true);
  /* Calls of the old one end before; which the next is, the record says: all of one number, then of the other. */
  code = bw_set_sink(of->bw, &sink, &of->script.sinks[!of->sink]);
  pthread_mutex_lock(&of->script.mutex);
  const size_t end = of->script.call_count;
  size_t next = of->seen;
  while (next < end && of->script.calls[next].sink == of->sink) ++next;
  pthread_mutex_unlock(&of->script.mutex);
  if (code == 0) {
    pthread_mutex_lock(&of->script.mutex);
    for (size_t index = of->seen; index < next; ++index) of->script.calls[index].sink = !of->sink;
    pthread_mutex_unlock(&of->script.mutex);
    of->sink = !of->sink;
    of->has = with;
  } else {
    FUZZ_SAME(code, -ESHUTDOWN);
  }
  look(of);
  release(of, false);
}

static void do_wake(run *of) {
  release(of, true);
  FUZZ_SAME(bw_wake(of->bw), 0);
  release(of, false);
  look(of);
}

static void do_unwake(run *of) {
  waker *it = &of->wakers[fuzz_below(&of->ops, kWakersMax)];
  const bw_waker_t taken = {on_wake, it};
  const int code = bw_unwake(of->bw, &taken);
  lock_told(of);
  FUZZ_CHECK(code == 0 || (code == 1 && it->credits > 0));
  FUZZ_CHECK(code == 1 || !it->must_come);
  it->credits = 0;
  it->must_come = false;
  unlock_told(of);
}

/* ---- A lane ---------------------------------------------------------------------------------- */

/* What the parent has more than before the lane handed on. */
static void hand_on(run *of) {
  const int64_t more = bw_tell(of->bw) - end_of(of);
  const size_t before = of->stream.length;
  FUZZ_CHECK(more >= 0 && (size_t)more <= of->pending.length);
  fuzz_append(&of->stream, of->pending.bytes, of->pending.length); /* all of it may have been offered */
  settle_write(of, before, more);
  fuzz_drop(&of->pending, (size_t)more);
}

static void do_lane(run *of, unsigned op) {
  bw_options_t options = BW_OPTIONS_INIT;
  int64_t result = 0;
  size_t length;
  if (of->is_unshared || of->is_closed || must_poll(of)) return;
  if (of->lane == NULL) {
    options.capacity = fuzz_byte(&of->ops) % 24;
    FUZZ_SAME(bw_lane(&of->lane, of->bw, &options), 0);
    return;
  }
  switch (op % 4) {
    case 0:
    case 1:
      length = choose_length(of);
      make_bytes(of, length);
      fuzz_append(&of->pending, of->scratch.bytes, length);
      result = bw_write(of->lane, of->scratch.bytes, length);
      FUZZ_CHECK(result <= (int64_t)length);
      hand_on(of);
      of->pending.length -= length - (result > 0 ? (size_t)result : 0);
      FUZZ_SAME(bw_buffered(of->lane), of->pending.length);
      break;
    case 2:
      result = bw_flush(of->lane);
      hand_on(of);
      FUZZ_SAME(bw_buffered(of->lane), of->pending.length);
      if (result == 0) FUZZ_CHECK(of->pending.length == 0 && of->taken == end_of(of));
      break;
    default:
      bw_free(of->lane);
      of->lane = NULL;
      hand_on(of);
      of->pending.length = 0;
  }
  if (result == -EMSGSIZE) { /* what must stay whole is longer than all of the parent's buffers, and it may not wait */
    FUZZ_CHECK(of->nonblock && !of->is_inline && bw_capacity(of->lane) > of->capacity * of->buffers);
  } else {
    check_code(of, result, false);
  }
}

/* ---- The program ----------------------------------------------------------------------------- */

static void check(run *of) {
  /* Before the look: our thread may get on between the two. */
  const int64_t durable = bw_position(of->bw, BW_DURABLE), written = bw_position(of->bw, BW_WRITTEN);
  const int64_t accepted = bw_position(of->bw, BW_ACCEPTED);
  look(of);
  FUZZ_SAME(bw_tell(of->bw), end_of(of));
  FUZZ_CHECK(written <= of->taken);
  FUZZ_CHECK(durable <= written);
  FUZZ_CHECK(accepted >= written && accepted <= of->base + (int64_t)span_start(of));
  FUZZ_CHECK(bw_buffered(of->bw) <= of->stream.length);
  const int code = bw_error(of->bw);
  look(of);
  FUZZ_CHECK(code == 0 || has_given(of, code));
}

static void step(run *of, unsigned op) {
  switch (op % 24) {
    case 0: case 1: case 2: case 3: do_write(of, op & 64, op & 128); break;
    case 4: case 5: do_append(of, op & 64); break;
    case 6: do_reserve(of); break;
    case 7: commit(of, (int)fuzz_below(&of->ops, kSpansMax)); break;
    case 8: case 9: do_flush(of); break;
    case 10: do_sync(of); break;
    case 11: if (op & 128) do_close(of); break;
    case 12: do_seek(of); break;
    case 13: do_read(of); break;
    case 14: case 15: do_wait(of); break;
    case 16: do_notify(of); break;
    case 17: do_unwritten(of); break;
    case 18: do_discard(of); break;
    case 19: do_resume(of); break;
    case 20: if (op & 128) do_set_sink(of); else do_lane(of, op / 32); break;
    case 21: do_wake(of); break;
    case 22: do_unwake(of); break;
    default: do_lane(of, op / 24); break;
  }
}

/* Nothing is lost without a word: what was not taken was told of. */
static void end(run *of) {
  const bool spans = is_span_open(of);
  if (of->lane != NULL) {
    for (int index = 0; index < kSpansMax; ++index) commit(of, index);
    bw_free(of->lane);
    of->lane = NULL;
    hand_on(of);
  }
  lock_told(of);
  of->is_freeing = true;
  unlock_told(of);
  release(of, true);
  if (of->is_unshared) memset(of->spans, 0, sizeof of->spans);
  bw_free(of->bw);
  look(of);
  if (!spans) {
    const size_t left = (size_t)(end_of(of) - of->taken);
    FUZZ_SAME(of->lost.length, left);
    FUZZ_CHECK(left == 0 || memcmp(of->lost.bytes, of->stream.bytes + of->stream.length - left, left) == 0);
  }
  if (!of->was_cut) FUZZ_CHECK(!of->has_gap && (int64_t)of->told_written == of->taken);
  FUZZ_CHECK(of->errors >= of->least_errors && of->errors <= of->most_errors);
  for (int index = 0; index < kWakersMax; ++index) FUZZ_CHECK(!of->wakers[index].must_come);
  for (int index = 0; index < of->note_count; ++index) FUZZ_SAME(of->notes[index].calls, 1);
  FUZZ_CHECK(of->closes == (int)(of->has >> kClose & 1) || has_given(of, BW_ESINK) || has_given(of, -EAGAIN));
}

void fuzz_threads(fuzz_input *input, bool is_inline) {
  run of = {0};
  bw_options_t options = BW_OPTIONS_INIT;
  const unsigned with = fuzz_byte(input) & ~(1u << kWrite), shape = fuzz_byte(input), more = fuzz_byte(input);
  const bw_sink_t sink = script_sink_ops(with);
  script_sink_init(&of.script, fuzz_split(input, fuzz_byte(input)));
  pthread_mutex_init(&of.told, NULL);
  of.ops = *input;
  for (int index = 0; index < kWakersMax; ++index) of.wakers[index].of = &of;
  of.has = with;
  of.is_inline = is_inline;
  of.nonblock = more & 1;
  of.is_unshared = !is_inline && more & 2;
  of.script.only_wakes = !is_inline && !of.nonblock;
  of.script.is_quiet = true;
  of.script.hook = look_at_call;
  of.script.hook_arg = &of;
  options.flags = of.nonblock ? BW_NONBLOCK : 0;
  options.flags |= (is_inline ? 0 : BW_BACKGROUND) | (of.is_unshared ? BW_UNSHARED : 0);
  options.capacity = shape < 240 ? 1 + shape % 40 : 512;
  options.buffers = 1 + more / 4 % 4;
  if (is_inline || (!of.is_unshared && more & 128)) options.linger_us = 1 + shape % 50;
  options.on_event = on_event;
  options.event_arg = &of;
  of.capacity = options.capacity;
  of.buffers = is_inline ? 1 : options.buffers;
  FUZZ_SAME(bw_new(&of.bw, &sink, &of.script.sinks[0], &options), 0);
  of.script.bw = of.bw;
  while (of.ops.left > 0 && of.written < kBytesMax) {
    step(&of, fuzz_byte(&of.ops));
    check(&of);
  }
  end(&of);
  free(of.stream.bytes);
  free(of.pending.bytes);
  free(of.lost.bytes);
  free(of.scratch.bytes);
  pthread_mutex_destroy(&of.told);
  script_sink_destroy(&of.script);
}
