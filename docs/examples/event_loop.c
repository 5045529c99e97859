/*
 * A writer in an event loop: an O_NONBLOCK pipe, epoll(7), and a reader that is slower than we are.
 *
 *   cc event_loop.c $(pkg-config --cflags --libs bw) && ./a.out
 *
 * The polls of the library never wait. Where they would have to, they return -EAGAIN and keep a waker. When epoll says
 * that the pipe has room again, the loop tells the writer so by bw_wake(), and the writer calls the waker, which marks
 * the task as runnable. Meanwhile the loop does other work; here it counts the ticks of a timer. The reader is a child
 * process that compares every byte.
 */
#define _GNU_SOURCE
#include <bw/bw.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  kTotalBytes = 4 << 20,
  kMaxPieceBytes = 12000, /* more than a buffer of 8 KiB: some pieces are copied, some go straight to the pipe */
  kTickMs = 2
};

/* ---- The reader: a child process ----------------------------------------------------------------- */

static unsigned char byte_at(size_t position) {
  return (unsigned char)(position * 2654435761u >> 11);
}

/* The exit status: 0 if exactly the bytes arrived that should. */
static int read_slowly(int fd) {
  static unsigned char bytes[65536];
  size_t position = 0;
  for (;;) {
    const struct timespec pause = {.tv_nsec = 1000000};
    nanosleep(&pause, NULL);
    const ssize_t count = read(fd, bytes, sizeof bytes);
    if (count < 0) return 1;
    if (count == 0) return position == kTotalBytes ? 0 : 1;
    for (ssize_t index = 0; index < count; ++index, ++position) {
      if (position >= kTotalBytes || bytes[index] != byte_at(position)) return 1;
    }
  }
}

/* ---- The task: writes it all, then flushes and closes -------------------------------------------- */

typedef struct task {
  bw_t *bw;
  enum { kWriting, kFlushing, kClosing, kDone } state;
  size_t position;  /* of the next byte to be written */
  bool is_runnable; /* set by the waker */
  unsigned pending; /* how often a poll said -EAGAIN */
  int code;         /* why it ended early */
} task;

/*
 * Called once for each -EAGAIN. This writer has no thread, so the call comes from the loop's own, inside bw_wake().
 * For a writer with a thread (BW_BACKGROUND), it may come from there: set an atomic and write to an eventfd(2).
 */
static void make_runnable(void *arg) {
  task *self = arg;
  self->is_runnable = true;
}

/* One step; true if there is more to do now. */
static bool step(task *self) {
  static unsigned char piece[kMaxPieceBytes];
  const bw_waker_t waker = {make_runnable, self};
  int64_t answer = 0;
  if (self->state == kWriting) {
    size_t length = 1 + self->position * 31 % kMaxPieceBytes;
    if (length > kTotalBytes - self->position) length = kTotalBytes - self->position;
    for (size_t index = 0; index < length; ++index) piece[index] = byte_at(self->position + index);
    answer = bw_poll_write(self->bw, piece, length, &waker); /* may take fewer than `length` */
    if (answer > 0) self->position += (size_t)answer;
    if (self->position == kTotalBytes) self->state = kFlushing;
  } else if (self->state == kFlushing) {
    answer = bw_poll_flush(self->bw, &waker);
    if (answer == 0) self->state = kClosing;
  } else {
    answer = bw_poll_close(self->bw, &waker);
    if (answer == 0) self->state = kDone;
  }
  if (answer == -EAGAIN) {
    ++self->pending; /* and `waker` will be called */
    return false;
  }
  if (answer == -EINTR) return true; /* a signal met the write(2) of a long piece: nothing was taken, try again */
  if (answer < 0) {
    self->code = (int)answer;
    self->state = kDone;
  }
  return self->state != kDone;
}

static void run(task *self) {
  self->is_runnable = false;
  while (step(self)) {
  }
}

/* ---- The loop ------------------------------------------------------------------------------------ */

static int watch(int epoll, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

/* The ticks that the timer made while the task ran; or a code. */
static int64_t run_loop(int epoll, int pipe_fd, int timer, task *self) {
  int64_t ticks = 0;
  run(self);
  while (self->state != kDone) {
    struct epoll_event events[2];
    const int count = epoll_wait(epoll, events, 2, -1);
    if (count < 0 && errno != EINTR) return -errno;
    for (int index = 0; index < count; ++index) {
      if (events[index].data.fd == pipe_fd) {
        bw_wake(self->bw); /* there is room in the pipe, or its reader is gone: the wakers are called */
      } else {
        uint64_t expirations;
        if (read(timer, &expirations, sizeof expirations) == (ssize_t)sizeof expirations) {
          ticks += (int64_t)expirations;
        }
      }
    }
    if (self->is_runnable) run(self);
  }
  return self->code < 0 ? self->code : ticks;
}

/* Writes everything to `pipe_fd`, which stays open. As run_loop(). */
static int64_t write_all(int pipe_fd, task *self) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  const struct itimerspec tick = {{0, kTickMs * 1000000}, {0, kTickMs * 1000000}};
  int64_t answer = epoll < 0 || timer < 0 || timerfd_settime(timer, 0, &tick, NULL) != 0 ? -errno : 0;
  /* EPOLLET: told once when there is room again, not all the time while there is. */
  if (answer == 0) answer = watch(epoll, pipe_fd, EPOLLOUT | EPOLLET);
  if (answer == 0) answer = watch(epoll, timer, EPOLLIN);
  /* NULL: an inline writer. The pipe is O_NONBLOCK, so no call of this one waits. */
  if (answer == 0) answer = bw_fdopen(&self->bw, pipe_fd, NULL);
  if (answer == 0) answer = run_loop(epoll, pipe_fd, timer, self);
  bw_free(self->bw); /* NULL is fine */
  if (timer >= 0) close(timer);
  if (epoll >= 0) close(epoll);
  return answer;
}

int main(void) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0 || fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0) { /* our end only */
    perror("pipe");
    return 1;
  }
  /* Before the writer is made: in the child of a fork it could not be used anyway. */
  const pid_t child = fork();
  if (child < 0) {
    perror("fork");
    return 1;
  }
  if (child == 0) {
    close(ends[1]);
    _exit(read_slowly(ends[0]));
  }
  close(ends[0]);
  task self = {.bw = NULL};
  const int64_t ticks = write_all(ends[1], &self);
  close(ends[1]); /* now the reader sees the end */

  int status = 0;
  const bool is_right = waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (ticks < 0) {
    fprintf(stderr, "event_loop: %s (%s)\n", bw_strerror((int)ticks), bw_err_name((int)ticks));
    return 1;
  }
  const bool ok = is_right && ticks > 0 && self.pending > 0;
  printf("event_loop: %d bytes, %u times pending, %lld ticks meanwhile: %s\n", kTotalBytes, self.pending,
         (long long)ticks, ok ? "ok" : "WRONG");
  return ok ? 0 : 1;
}
