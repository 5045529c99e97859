#define _POSIX_C_SOURCE 200809L
#include "test_sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define AWAIT_SECONDS_MAX 30
#define STORED_BYTES_MAX ((size_t)1 << 30)

static void *grown(void *block, size_t bytes) {
  void *larger = realloc(block, bytes);
  if (larger == NULL) abort();
  return larger;
}

void test_sink_init(test_sink *sink) {
  pthread_condattr_t attributes;
  memset(sink, 0, sizeof *sink);
  for (int kind = 0; kind < TEST_SINK_KINDS; ++kind) sink->forever[kind] = INT64_MIN;
  pthread_mutex_init(&sink->mutex, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&sink->changed, &attributes);
  pthread_condattr_destroy(&attributes);
}

void test_sink_destroy(test_sink *sink) {
  for (int kind = 0; kind < TEST_SINK_KINDS; ++kind) free(sink->script[kind]);
  free(sink->data);
  free(sink->calls);
  pthread_cond_destroy(&sink->changed);
  pthread_mutex_destroy(&sink->mutex);
}

/* Everything below, down to leave(), runs with the mutex held. */

static int64_t next_answer(test_sink *sink, enum test_sink_kind kind, int64_t otherwise) {
  if (sink->script_next[kind] < sink->script_length[kind]) return sink->script[kind][sink->script_next[kind]++];
  return sink->forever[kind] != INT64_MIN ? sink->forever[kind] : otherwise;
}

static void store(test_sink *sink, const char *data, size_t length) {
  size_t begin = (size_t)sink->offset, end = begin + length;
  if (length == 0) return;
  if (end > STORED_BYTES_MAX) { /* Far out: the place moves on, the bytes are not kept. */
    sink->offset += (int64_t)length;
    return;
  }
  if (end > sink->data_capacity) {
    sink->data_capacity = end * 2;
    sink->data = grown(sink->data, sink->data_capacity);
  }
  if (begin > sink->length) memset(sink->data + sink->length, 0, begin - sink->length);
  memcpy(sink->data + begin, data, length);
  sink->offset += (int64_t)length;
  if (end > sink->length) sink->length = end;
}

/* How much of `offered` is really moved when the script says `answer`; *claim becomes what is returned. */
static size_t moved(int64_t answer, size_t offered, int64_t *claim) {
  if (answer == TEST_SINK_OVERCLAIM) {
    *claim = (int64_t)offered + 1;
    return offered;
  }
  *claim = answer < 0 || (uint64_t)answer < offered ? answer : (int64_t)offered;
  return *claim > 0 ? (size_t)*claim : 0;
}

static void record(test_sink *sink, enum test_sink_kind kind, size_t offered, int parts, int64_t answer) {
  if (sink->call_count == sink->calls_capacity) {
    sink->calls_capacity = sink->calls_capacity * 2 + 16;
    sink->calls = grown(sink->calls, sink->calls_capacity * sizeof *sink->calls);
  }
  sink->calls[sink->call_count++] = (test_sink_call){kind, offered, parts, answer, pthread_self()};
}

/* Comes back with the mutex held. */
static void enter(test_sink *sink, enum test_sink_kind kind) {
  void (*hook)(void *, enum test_sink_kind);
  void *hook_arg;
  pthread_mutex_lock(&sink->mutex);
  if (++sink->inside > sink->most_inside) sink->most_inside = sink->inside;
  hook = sink->hook;
  hook_arg = sink->hook_arg;
  pthread_cond_broadcast(&sink->changed);
  if (hook != NULL) {
    pthread_mutex_unlock(&sink->mutex);
    hook(hook_arg, kind);
    pthread_mutex_lock(&sink->mutex);
  }
  while (sink->held) pthread_cond_wait(&sink->changed, &sink->mutex);
}

static int64_t leave(test_sink *sink, enum test_sink_kind kind, size_t offered, int parts, int64_t answer) {
  record(sink, kind, offered, parts, answer);
  --sink->inside;
  pthread_cond_broadcast(&sink->changed);
  pthread_mutex_unlock(&sink->mutex);
  return answer;
}

static int64_t on_write(void *ctx, const void *data, size_t length) {
  test_sink *sink = ctx;
  int64_t claim;
  enter(sink, TEST_SINK_WRITE);
  store(sink, data, moved(next_answer(sink, TEST_SINK_WRITE, TEST_SINK_TAKE_ALL), length, &claim));
  return leave(sink, TEST_SINK_WRITE, length, 0, claim);
}

static int64_t on_writev(void *ctx, const struct iovec *parts, int count) {
  test_sink *sink = ctx;
  size_t offered = 0, left;
  int64_t claim;
  for (int i = 0; i < count; ++i) offered += parts[i].iov_len;
  enter(sink, TEST_SINK_WRITEV);
  left = moved(next_answer(sink, TEST_SINK_WRITEV, TEST_SINK_TAKE_ALL), offered, &claim);
  for (int i = 0; i < count && left > 0; ++i) {
    size_t piece = parts[i].iov_len < left ? parts[i].iov_len : left;
    store(sink, parts[i].iov_base, piece);
    left -= piece;
  }
  return leave(sink, TEST_SINK_WRITEV, offered, count, claim);
}

static int64_t on_seek(void *ctx, int64_t offset, int whence) {
  test_sink *sink = ctx;
  int64_t base, target;
  enter(sink, TEST_SINK_SEEK);
  base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? sink->offset : (int64_t)sink->length;
  if (offset > 0 && base > INT64_MAX - offset) {
    target = -EOVERFLOW;
  } else {
    target = base + offset < 0 ? -EINVAL : base + offset;
  }
  if (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END) target = -EINVAL;
  target = next_answer(sink, TEST_SINK_SEEK, target);
  if (target >= 0) sink->offset = target;
  return leave(sink, TEST_SINK_SEEK, 0, 0, target);
}

static int64_t on_read(void *ctx, void *data, size_t length) {
  test_sink *sink = ctx;
  size_t available, count;
  int64_t claim;
  enter(sink, TEST_SINK_READ);
  available = sink->length > (size_t)sink->offset ? sink->length - (size_t)sink->offset : 0;
  if (available > length) available = length;
  count = moved(next_answer(sink, TEST_SINK_READ, TEST_SINK_TAKE_ALL), available, &claim);
  if (claim > (int64_t)available) claim = (int64_t)length + 1;
  if (count > 0) memcpy(data, sink->data + sink->offset, count);
  sink->offset += (int64_t)count;
  return leave(sink, TEST_SINK_READ, length, 0, claim);
}

static int simple(test_sink *sink, enum test_sink_kind kind) {
  enter(sink, kind);
  return (int)leave(sink, kind, 0, 0, next_answer(sink, kind, 0));
}

static int on_flush(void *ctx) { return simple(ctx, TEST_SINK_FLUSH); }
static int on_sync(void *ctx) { return simple(ctx, TEST_SINK_SYNC); }
static int on_close(void *ctx) { return simple(ctx, TEST_SINK_CLOSE); }

bw_sink_t test_sink_ops(unsigned has) {
  bw_sink_t ops = {0};
  ops.size = sizeof ops;
  ops.write = on_write;
  if (has & TEST_SINK_HAS(TEST_SINK_WRITEV)) ops.writev = on_writev;
  if (has & TEST_SINK_HAS(TEST_SINK_FLUSH)) ops.flush = on_flush;
  if (has & TEST_SINK_HAS(TEST_SINK_SEEK)) ops.seek = on_seek;
  if (has & TEST_SINK_HAS(TEST_SINK_READ)) ops.read = on_read;
  if (has & TEST_SINK_HAS(TEST_SINK_SYNC)) ops.sync = on_sync;
  if (has & TEST_SINK_HAS(TEST_SINK_CLOSE)) ops.close = on_close;
  return ops;
}

void test_sink_script(test_sink *sink, enum test_sink_kind kind, const int64_t *answers, size_t count) {
  size_t length;
  pthread_mutex_lock(&sink->mutex);
  length = sink->script_length[kind];
  sink->script[kind] = grown(sink->script[kind], (length + count + 1) * sizeof *answers);
  memcpy(sink->script[kind] + length, answers, count * sizeof *answers);
  sink->script_length[kind] = length + count;
  pthread_mutex_unlock(&sink->mutex);
}

void test_sink_always(test_sink *sink, enum test_sink_kind kind, int64_t answer) {
  pthread_mutex_lock(&sink->mutex);
  sink->forever[kind] = answer;
  pthread_mutex_unlock(&sink->mutex);
}

static void set_held(test_sink *sink, bool held) {
  pthread_mutex_lock(&sink->mutex);
  sink->held = held;
  pthread_cond_broadcast(&sink->changed);
  pthread_mutex_unlock(&sink->mutex);
}

void test_sink_hold(test_sink *sink) { set_held(sink, true); }
void test_sink_release(test_sink *sink) { set_held(sink, false); }

static size_t count_of(const test_sink *sink, enum test_sink_kind kind) {
  size_t count = 0;
  for (size_t i = 0; i < sink->call_count; ++i) count += sink->calls[i].kind == kind;
  return count;
}

/* Waits until a call is inside (kind KINDS), or until `count` calls of `kind` have ended. */
static bool await(test_sink *sink, enum test_sink_kind kind, size_t count) {
  struct timespec deadline;
  bool reached;
  clock_gettime(CLOCK_MONOTONIC, &deadline);
  deadline.tv_sec += AWAIT_SECONDS_MAX;
  pthread_mutex_lock(&sink->mutex);
  for (;;) {
    reached = kind == TEST_SINK_KINDS ? sink->inside > 0 : count_of(sink, kind) >= count;
    if (reached || pthread_cond_timedwait(&sink->changed, &sink->mutex, &deadline) != 0) break;
  }
  pthread_mutex_unlock(&sink->mutex);
  return reached;
}

bool test_sink_await_inside(test_sink *sink) { return await(sink, TEST_SINK_KINDS, 0); }

bool test_sink_await_calls(test_sink *sink, enum test_sink_kind kind, size_t count) {
  return await(sink, kind, count);
}

size_t test_sink_count(test_sink *sink, enum test_sink_kind kind) {
  size_t count;
  pthread_mutex_lock(&sink->mutex);
  count = count_of(sink, kind);
  pthread_mutex_unlock(&sink->mutex);
  return count;
}

test_sink_call test_sink_last(test_sink *sink, enum test_sink_kind kind) {
  test_sink_call last = {.kind = TEST_SINK_KINDS};
  pthread_mutex_lock(&sink->mutex);
  for (size_t i = sink->call_count; i > 0 && last.kind == TEST_SINK_KINDS; --i) {
    if (sink->calls[i - 1].kind == kind) last = sink->calls[i - 1];
  }
  pthread_mutex_unlock(&sink->mutex);
  return last;
}

bool test_sink_holds(test_sink *sink, const void *bytes, size_t length) {
  bool same;
  pthread_mutex_lock(&sink->mutex);
  same = sink->length == length && (length == 0 || memcmp(sink->data, bytes, length) == 0);
  pthread_mutex_unlock(&sink->mutex);
  return same;
}
