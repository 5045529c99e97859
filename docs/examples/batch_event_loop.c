/*
 * Batches in an event loop: a server in another thread takes them and answers later, and the loop never waits for it.
 *
 *   cc batch_event_loop.c $(pkg-config --cflags --libs bw) -pthread && ./a.out
 *
 * The loop sends by the four phases: poll_ready, start_send, poll_flush, poll_close. Where one of them would have to
 * wait it gives -EAGAIN and keeps a waker. The waker comes from whatever thread answers, so all it does is write to an
 * eventfd(2), which epoll(7) watches like any other descriptor. The server compares every item with what it should be.
 */
#define _GNU_SOURCE
#include <bw/bw.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { kItems = 20000, kItemsInBatch = 100 };

/* ---- The server ---------------------------------------------------------------------------------- */

typedef struct server {
  pthread_t handle;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  bw_batch_view_t *batch; /* taken and not looked at; max_in_flight is 1, so there is one at most */
  bool is_over;
  uint64_t next; /* the item that must come next */
  bool is_wrong;
} server;

static void post(server *self, bw_batch_view_t *batch, bool is_over) {
  pthread_mutex_lock(&self->mutex);
  self->batch = batch;
  self->is_over = is_over;
  pthread_cond_signal(&self->changed);
  pthread_mutex_unlock(&self->mutex);
}

/* The sink's callbacks, called by the loop's own thread. */
static int take_batch(void *ctx, bw_batch_view_t *batch) {
  post(ctx, batch, false);
  return BW_BATCH_TAKEN; /* the server answers, maybe before this returns */
}

static int end_server(void *ctx) {
  post(ctx, NULL, true);
  return 0;
}

static bw_batch_view_t *next_batch(server *self) {
  pthread_mutex_lock(&self->mutex);
  while (!self->batch && !self->is_over) pthread_cond_wait(&self->changed, &self->mutex);
  bw_batch_view_t *batch = self->batch;
  self->batch = NULL;
  pthread_mutex_unlock(&self->mutex);
  return batch;
}

static void *serve(void *arg) {
  server *self = arg;
  for (bw_batch_view_t *batch; (batch = next_batch(self)) != NULL;) {
    size_t count;
    const struct iovec *items = bw_batch_items(batch, &count);
    for (size_t index = 0; index < count; ++index, ++self->next) {
      if (memcmp(items[index].iov_base, &self->next, sizeof self->next) != 0) self->is_wrong = true;
    }
    const struct timespec work = {.tv_nsec = 100000};
    nanosleep(&work, NULL);
    if (bw_batch_done(batch, 0, NULL) < 0) self->is_wrong = true; /* frees the batch; wakers are called */
  }
  return NULL;
}

/* ---- The task: sends all items, flushes and closes ----------------------------------------------- */

typedef struct task {
  bw_batch_t *batch;
  bw_waker_t waker;
  enum { kSending, kFlushing, kClosing, kDone } state;
  uint64_t next;    /* to be sent */
  unsigned pending; /* how often a poll said -EAGAIN */
} task;

static void wake_loop(void *arg) {
  const uint64_t one = 1;
  if (write(*(int *)arg, &one, sizeof one) < 0) return; /* it is readable already */
}

/* One step; 0 if the next one may be made at once. */
static int step(task *self) {
  int code;
  if (self->state == kSending) {
    code = bw_batch_poll_ready(self->batch, &self->waker);
    if (code < 0) return code;
    code = bw_batch_start_send(self->batch, &self->next, sizeof self->next);
    if (code == -EAGAIN) return 0; /* the room is gone, and no waker is kept: be ready again */
    if (code == 0 && ++self->next == kItems) self->state = kFlushing;
  } else if (self->state == kFlushing) {
    code = bw_batch_poll_flush(self->batch, &self->waker);
    if (code == 0) self->state = kClosing;
  } else {
    code = bw_batch_poll_close(self->batch, &self->waker);
    if (code == 0) self->state = kDone;
  }
  return code;
}

/* 0 once all is done, or a code. Other descriptors of the loop would be watched beside `event_fd`. */
static int run_loop(int epoll, int event_fd, task *self) {
  struct epoll_event event = {.events = EPOLLIN};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, event_fd, &event) != 0) return -errno;
  while (self->state != kDone) {
    const int code = step(self);
    if (code == 0) continue;
    if (code != -EAGAIN) return code;
    ++self->pending; /* and `waker` will be called */
    if (epoll_wait(epoll, &event, 1, -1) < 0 && errno != EINTR) return -errno;
    uint64_t wakes; /* how often does not matter: another poll tells what there is to do */
    if (read(event_fd, &wakes, sizeof wakes) < 0 && errno != EAGAIN) return -errno;
  }
  return 0;
}

static int send_all(int epoll, int event_fd, server *peer, task *self) {
  bw_batch_sink_t sink = BW_BATCH_SINK_INIT;
  sink.write = take_batch;
  sink.close = end_server;
  bw_batch_options_t options = BW_BATCH_OPTIONS_INIT;
  options.flags = BW_UNSHARED; /* one thread sends and polls; answers may come from any */
  options.max_items = kItemsInBatch;
  options.buffers = 4;
  options.item_size = sizeof self->next;
  int code = bw_batch_new(&self->batch, &sink, peer, &options);
  if (code < 0) return code;
  code = -pthread_create(&peer->handle, NULL, serve, peer);
  const bool is_serving = code == 0;
  if (is_serving) code = run_loop(epoll, event_fd, self);
  bw_batch_free(self->batch); /* calls end_server(), if closing has not */
  if (is_serving && pthread_join(peer->handle, NULL) != 0) code = -EDEADLK;
  return code;
}

int main(void) {
  static server peer = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  int event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (event_fd < 0 || epoll < 0) {
    perror("batch_event_loop");
    return 1;
  }
  task self = {.waker = {wake_loop, &event_fd}};
  const int code = send_all(epoll, event_fd, &peer, &self);
  close(epoll);
  close(event_fd);
  if (code < 0) {
    fprintf(stderr, "batch_event_loop: %s (%s)\n", bw_strerror(code), bw_err_name(code));
    return 1;
  }
  const bool ok = !peer.is_wrong && peer.next == kItems;
  printf("batch_event_loop: %" PRIu64 " items, %u times pending: %s\n", peer.next, self.pending, ok ? "ok" : "WRONG");
  return ok ? 0 : 1;
}
