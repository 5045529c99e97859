#include "script_sink.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void script_sink_init(script_sink *script, fuzz_input answers) {
  memset(script, 0, sizeof *script);
  script->answers = answers;
  pthread_mutex_init(&script->mutex, NULL);
  for (int number = 0; number < 2; ++number) script->sinks[number] = (sink_context){script, number};
}

void script_sink_destroy(script_sink *script) {
  free(script->offered.bytes);
  free(script->calls);
  pthread_mutex_destroy(&script->mutex);
}

unsigned char script_sink_byte(uint64_t place) { return (unsigned char)(place * 7 + 3); }

/* ---- Answers --------------------------------------------------------------------------------- */

typedef struct verdict {
  int64_t code; /* below 0: the answer */
  size_t count; /* of bytes, where code is 0; SIZE_MAX: one more than there are */
  bool wakes, probes;
} verdict;

static verdict next_verdict(script_sink *script, size_t offered) {
  verdict made = {0, offered, false, false};
  const unsigned choice = fuzz_byte(&script->answers);
  if (choice < 96) return made;
  if (choice < 160) {
    if (choice - 95 < made.count) made.count = choice - 95;
  } else if (choice < 200) {
    made.code = -EAGAIN;
    made.wakes = script->only_wakes || choice >= 184;
  } else if (choice < 212) {
    made.code = -EINTR;
  } else if (choice < 232) {
    made.code = choice < 224 ? -EIO : -ENOSPC;
  } else if (choice < 240) {
    made.count = 0;
  } else if (choice < 244) {
    made.count = SIZE_MAX;
  } else if (choice < 248) {
    made.code = BW_ESINK;
  } else if (choice < 250) {
    made.code = INT64_MIN;
  } else {
    made.probes = !script->is_quiet;
  }
  return made;
}

static void refuse_wake(void *arg) {
  (void)arg;
  fuzz_fail(__FILE__, __LINE__, "a call that was refused calls nobody");
}
static void refuse_note(void *arg, int code) {
  (void)code;
  refuse_wake(arg);
}

/* Calls of the writer from inside its sink: nothing but what convention 7 of bw.h says. */
static void probe(script_sink *script, sink_call *call) {
  const unsigned char byte = kInnerByte;
  const struct iovec part = {(void *)(uintptr_t)&byte, 1};
  bw_t *bw = script->bw;
  bw_stats_t stats = BW_STATS_INIT;
  const bw_sink_t other = script_sink_ops(0);
  const bw_waker_t waker = {refuse_wake, NULL};
  bw_span_t span = {NULL, 0, 0, NULL};
  bw_t *lane;
  int64_t wrote, written;
  int code;
  switch (call->from % 5) {
    case 0:
      wrote = bw_write(bw, &byte, 1);
      break;
    case 1:
      wrote = bw_writev(bw, &part, 1);
      break;
    case 2:
      wrote = bw_poll_write(bw, &byte, 1, NULL);
      break;
    case 3:
      wrote = bw_append(bw, &byte, 1);
      if (wrote >= 0) wrote = 1;
      break;
    default:
      wrote = -EDEADLK;
      break;
  }
  FUZZ_CHECK(wrote == 1 || wrote == -EDEADLK);
  call->has_inner = wrote == 1;
  FUZZ_SAME(bw_flush(bw), -EDEADLK);
  FUZZ_SAME(bw_sync(bw), -EDEADLK);
  FUZZ_SAME(bw_seek(bw, 0, SEEK_SET), -EDEADLK);
  FUZZ_SAME(bw_start_seek(bw, 0, SEEK_SET), -EDEADLK);
  FUZZ_SAME(bw_tell(bw), -EDEADLK);
  FUZZ_SAME(bw_read(bw, &stats, 1), -EDEADLK);
  FUZZ_SAME(bw_close(bw), -EDEADLK);
  FUZZ_SAME(bw_commit(bw, &span, 0), -EDEADLK);
  FUZZ_SAME(bw_poll_flush(bw, &waker), -EDEADLK);
  FUZZ_SAME(bw_poll_sync(bw, &waker), -EDEADLK);
  FUZZ_SAME(bw_poll_seek(bw, &waker), -EDEADLK);
  FUZZ_SAME(bw_poll_read(bw, &stats, 1, &waker), -EDEADLK);
  FUZZ_SAME(bw_poll_close(bw, &waker), -EDEADLK);
  FUZZ_SAME(bw_unwake(bw, &waker), -EDEADLK);
  FUZZ_SAME(bw_wait(bw, 0, BW_ACCEPTED, 0), -EDEADLK);
  FUZZ_SAME(bw_notify(bw, 0, BW_ACCEPTED, refuse_note, NULL), -EDEADLK);
  FUZZ_SAME(bw_set_sink(bw, &other, NULL), -EDEADLK);
  code = bw_lane(&lane, bw, NULL);
  FUZZ_CHECK(code == -EDEADLK || code == -EINVAL); /* unshared */
  FUZZ_SAME(bw_discard(bw), -EDEADLK);
  FUZZ_SAME(bw_resume(bw), -EDEADLK);
  FUZZ_SAME(bw_unwritten(bw, NULL, NULL), -EDEADLK);
  written = bw_position(bw, BW_WRITTEN);
  FUZZ_CHECK(written >= 0 && bw_position(bw, BW_ACCEPTED) >= written);
  FUZZ_SAME(bw_get_stats(bw, &stats), 0);
  bw_error(bw);
  bw_buffered(bw);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static sink_call *enter(sink_context *context, sink_kind kind) {
  script_sink *script = context->script;
  sink_call *call;
  pthread_mutex_lock(&script->mutex);
  FUZZ_SAME(++script->inside, 1);
  if (script->call_count == script->call_room) {
    script->call_room = script->call_room * 2 + 64;
    script->calls = realloc(script->calls, script->call_room * sizeof *script->calls);
    FUZZ_CHECK(script->calls != NULL);
  }
  call = &script->calls[script->call_count];
  memset(call, 0, sizeof *call);
  call->kind = kind;
  call->from = script->offered.length;
  call->sink = context->number;
  return call;
}

static void inside(script_sink *script, sink_call *call, const verdict *what) {
  if (what->code == -EAGAIN && what->wakes) {
    call->woke = true;
    FUZZ_SAME(bw_wake(script->bw), 0);
  }
  if (what->probes) probe(script, call);
}

static int64_t leave(script_sink *script, sink_call *call, int64_t answer) {
  call->answer = answer;
  ++script->call_count;
  if (script->hook) script->hook(script->hook_arg, call);
  --script->inside;
  pthread_mutex_unlock(&script->mutex);
  return answer;
}

/* The end of a write of what was appended to `offered`. */
static int64_t take(script_sink *script, sink_call *call) {
  const verdict what = next_verdict(script, call->length);
  int64_t answer = what.code, claim = what.code;
  inside(script, call, &what);
  if (what.count == SIZE_MAX) {
    answer = BW_ESINK;
    claim = (int64_t)call->length + 1;
  } else if (what.code == 0) {
    answer = claim = (int64_t)what.count;
    if (script->place <= INT64_MAX - answer) script->place += answer;
    if (script->place > script->size) script->size = script->place;
  } else if (what.code < INT32_MIN) {
    answer = BW_ESINK;
  }
  leave(script, call, answer);
  return claim;
}

static int64_t on_write(void *ctx, const void *data, size_t length) {
  sink_call *call = enter(ctx, kWrite);
  script_sink *script = ((sink_context *)ctx)->script;
  FUZZ_CHECK(length > 0);
  call->length = length;
  fuzz_append(&script->offered, data, length);
  return take(script, call);
}

static int64_t on_writev(void *ctx, const struct iovec *parts, int count) {
  sink_call *call = enter(ctx, kWritev);
  script_sink *script = ((sink_context *)ctx)->script;
  FUZZ_CHECK(count > 0);
  for (int index = 0; index < count; ++index) {
    call->length += parts[index].iov_len;
    fuzz_append(&script->offered, parts[index].iov_base, parts[index].iov_len);
  }
  FUZZ_CHECK(call->length > 0);
  return take(script, call);
}

static int64_t on_seek(void *ctx, int64_t offset, int whence) {
  sink_call *call = enter(ctx, kSeek);
  script_sink *script = ((sink_context *)ctx)->script;
  const verdict what = next_verdict(script, 64);
  const int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? script->place : script->size;
  int64_t answer = what.code;
  call->offset = offset;
  call->whence = whence;
  inside(script, call, &what);
  if (what.count == SIZE_MAX) {
    answer = INT64_MAX - 20;
  } else if (what.code == 0) {
    answer = offset > 0 && base > INT64_MAX - offset ? -EOVERFLOW : base + offset < 0 ? -EINVAL : base + offset;
  }
  if (answer >= 0) script->place = answer;
  leave(script, call, answer < INT32_MIN ? BW_ESINK : answer);
  return answer;
}

static int64_t on_read(void *ctx, void *data, size_t length) {
  sink_call *call = enter(ctx, kRead);
  script_sink *script = ((sink_context *)ctx)->script;
  const verdict what = next_verdict(script, length);
  int64_t answer = what.code, claim = what.code;
  call->length = length;
  call->offset = script->place;
  inside(script, call, &what);
  if (what.count == SIZE_MAX) {
    answer = BW_ESINK;
    claim = (int64_t)length + 1;
  } else if (what.code == 0) {
    for (size_t index = 0; index < what.count; ++index)
      ((unsigned char *)data)[index] = script_sink_byte((uint64_t)script->place + index);
    answer = claim = (int64_t)what.count;
    if (script->place <= INT64_MAX - answer) script->place += answer;
  } else if (what.code < INT32_MIN) {
    answer = BW_ESINK;
  }
  leave(script, call, answer);
  return claim;
}

static int simple(void *ctx, sink_kind kind) {
  sink_call *call = enter(ctx, kind);
  script_sink *script = ((sink_context *)ctx)->script;
  const verdict what = next_verdict(script, 1);
  int answer = what.code < INT32_MIN ? -EPIPE : (int)what.code;
  inside(script, call, &what);
  if (what.count == SIZE_MAX) answer = -EOPNOTSUPP;
  return (int)leave(script, call, answer);
}

static int on_flush(void *ctx) { return simple(ctx, kFlush); }
static int on_sync(void *ctx) { return simple(ctx, kSync); }
static int on_close(void *ctx) { return simple(ctx, kClose); }

bw_sink_t script_sink_ops(unsigned has) {
  bw_sink_t ops = BW_SINK_INIT;
  ops.write = on_write;
  if (has >> kWritev & 1) ops.writev = on_writev;
  if (has >> kFlush & 1) ops.flush = on_flush;
  if (has >> kSeek & 1) ops.seek = on_seek;
  if (has >> kRead & 1) ops.read = on_read;
  if (has >> kSync & 1) ops.sync = on_sync;
  if (has >> kClose & 1) ops.close = on_close;
  return ops;
}
