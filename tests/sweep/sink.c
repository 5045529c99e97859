/* The sinks of callbacks: each call is an operation, which may fail. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdio.h>

#include "fault.h"
#include "run.h"

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
