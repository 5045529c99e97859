/*
 * Files as handles of an event loop in the manner of libuv: requests with callbacks, and nothing that waits.
 *
 *   cc loop_file.c $(pkg-config --cflags --libs bw) && ./a.out DIRECTORY
 *
 * The first part is a loop of a hundred lines, with poll(2) beneath it: handles that watch a descriptor, and a timer.
 * The second makes a file writer a handle: bw_event_fd() is the descriptor it watches, bw_poll_events() what it does
 * when that is readable. Every write has a request with a callback, as uv_fs_write() has. A loop of your own needs no
 * more than this second part. The third part uses it: two files are written at once while a timer ticks, and in the end
 * every byte is compared.
 */
#define _GNU_SOURCE
#include <bw/bw.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* ---- 1. The loop --------------------------------------------------------------------------------- */

enum { kMaxHandles = 8 };

typedef struct handle handle;
struct handle {
  int fd; /* on_ready is called while it is readable */
  void (*on_ready)(handle *self);
  bool is_due; /* on_ready is called in the next turn in any case */
};

/* Runs as long as it has handles. */
typedef struct loop {
  handle *handles[kMaxHandles];
  int count;
} loop;

static int loop_start(loop *self, handle *one) {
  if (self->count == kMaxHandles) return -ENOBUFS;
  self->handles[self->count++] = one;
  return 0;
}

static int loop_find(const loop *self, const handle *one) {
  int index = 0;
  while (index < self->count && self->handles[index] != one) ++index;
  return index;
}

static void loop_stop(loop *self, const handle *one) {
  const int index = loop_find(self, one);
  if (index < self->count) self->handles[index] = self->handles[--self->count];
}

static int loop_turn(loop *self) {
  struct pollfd fds[kMaxHandles];
  handle *asked[kMaxHandles]; /* a callback may start and stop handles */
  const int count = self->count;
  int timeout = -1;
  for (int index = 0; index < count; ++index) {
    asked[index] = self->handles[index];
    fds[index] = (struct pollfd){asked[index]->fd, POLLIN, 0};
    if (asked[index]->is_due) timeout = 0;
  }
  if (poll(fds, (nfds_t)count, timeout) < 0) return errno == EINTR ? 0 : -errno;
  for (int index = 0; index < count; ++index) {
    if (loop_find(self, asked[index]) == self->count) continue;
    if (fds[index].revents == 0 && !asked[index]->is_due) continue;
    asked[index]->is_due = false;
    asked[index]->on_ready(asked[index]);
  }
  return 0;
}

static int loop_run(loop *self) {
  int code = 0;
  while (self->count > 0 && code == 0) code = loop_turn(self);
  return code;
}

typedef struct loop_timer {
  handle handle; /* first: the loop gives it back */
  uint64_t ticks;
} loop_timer;

static void on_tick(handle *self) {
  uint64_t ticks;
  if (read(self->fd, &ticks, sizeof ticks) == (ssize_t)sizeof ticks) ((loop_timer *)self)->ticks += ticks;
}

static int timer_start(loop *on, loop_timer *self, long interval_ns) {
  const struct itimerspec interval = {{0, interval_ns}, {0, interval_ns}};
  *self = (loop_timer){.handle = {timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), on_tick, false}};
  if (self->handle.fd < 0 || timerfd_settime(self->handle.fd, 0, &interval, NULL) != 0) return -errno;
  return loop_start(on, &self->handle);
}

static void timer_stop(loop *on, loop_timer *self) {
  loop_stop(on, &self->handle);
  close(self->handle.fd);
}

/* ---- 2. A file in it ----------------------------------------------------------------------------- */

typedef struct file {
  handle handle; /* first: the loop gives it back */
  loop *loop;
  bw_t *bw;
  void (*on_room)(struct file *self);             /* after a write that said -EAGAIN */
  void (*on_closed)(struct file *self, int code); /* the last callback */
  bool closes;
} file;

/* Belongs to the file until its callback. */
typedef struct file_request {
  file *file;
  void (*on_end)(struct file_request *self, int code);
} file_request;

static void file_on_room(void *arg) {
  file *self = arg;
  self->on_room(self);
}

static void file_on_request(void *arg, int code) {
  file_request *request = arg;
  request->on_end(request, code);
}

static void file_go_on_closing(file *self) {
  const int code = bw_poll_close(self->bw, NULL);
  if (code == -EAGAIN) return; /* the descriptor tells when to try again */
  loop_stop(self->loop, &self->handle);
  bw_free(self->bw); /* the callbacks that are left come here */
  self->on_closed(self, code);
}

static void file_on_ready(handle *ready) {
  file *self = (file *)ready;
  bw_poll_events(self->bw); /* starts what is due and calls who is to be called */
  if (self->closes) file_go_on_closing(self);
}

static int file_open(loop *on, file *self, const char *path, void (*on_room)(file *)) {
  bw_options_t options = BW_OPTIONS_INIT;
  options.flags = BW_CALLER_DRIVEN;
  options.capacity = 64 * 1024;
  options.buffers = 4;
  options.linger_us = 2000; /* nothing lies in a buffer for longer, so a write that nobody flushes ends too */
  *self = (file){.loop = on, .on_room = on_room};
  const int code = bw_open(&self->bw, path, O_WRONLY | O_CREAT | O_TRUNC, 0644, &options);
  if (code < 0) return code;
  self->handle = (handle){bw_event_fd(self->bw), file_on_ready, false};
  return loop_start(on, &self->handle);
}

/*
 * Copies the bytes; on_end is called once they have come to `level`: BW_WRITTEN or BW_DURABLE. -EAGAIN: all buffers are
 * full, nothing was taken, and on_room will be called.
 */
static int file_write(file *self, file_request *request, const void *data, size_t length, int level) {
  const bw_waker_t waker = {file_on_room, self};
  request->file = self;
  const int64_t position = bw_poll_append(self->bw, data, length, &waker);
  if (position < 0) return (int)position;
  return bw_notify(self->bw, position + (int64_t)length, level, file_on_request, request);
}

/* Writes what is left. The loop lets go of the file before on_closed. */
static void file_close(file *self, void (*on_closed)(file *, int)) {
  self->on_closed = on_closed;
  self->closes = true;
  self->handle.is_due = true; /* not here: bw_free() may not be called in a callback of the writer */
}

/* ---- 3. Two files and a timer -------------------------------------------------------------------- */

enum { kFiles = 2, kLines = 20000, kLineBytes = 48, kDurableEvery = 1000, kTickNs = 200000 };

typedef struct program {
  loop loop;
  loop_timer timer;
  int open_files;
} program;

typedef struct job job;

typedef struct line_request {
  file_request request; /* first: the file gives it back */
  job *job;
  unsigned calls;
} line_request;

/* Writes its lines as fast as the file takes them; every thousandth is to be durable. */
struct job {
  file file; /* first: the file gives it back */
  program *program;
  char name;
  line_request requests[kLines];
  unsigned next;  /* line to be written */
  unsigned ended; /* lines that have come to their level */
  unsigned full;  /* how often there was no room */
  int code;       /* the first that went wrong */
};

static void make_line(char line[kLineBytes + 1], char name, unsigned number) {
  snprintf(line, kLineBytes + 1, "file %c line %10u %024u\n", name, number, number * 2654435761u);
}

/* The last file takes the timer with it, and the loop ends. */
static void job_on_closed(file *closed, int code) {
  job *self = (job *)closed;
  if (self->code == 0) self->code = code;
  if (--self->program->open_files == 0) timer_stop(&self->program->loop, &self->program->timer);
}

static void job_end(job *self, int code) {
  if (self->code == 0) self->code = code;
  if (!self->file.closes) file_close(&self->file, job_on_closed);
}

static void job_on_line(file_request *ended, int code) {
  line_request *line = (line_request *)ended;
  ++line->calls;
  ++line->job->ended;
  if (code < 0 || line->job->ended == kLines) job_end(line->job, code);
}

static void job_go_on(job *self) {
  char line[kLineBytes + 1];
  for (; self->next < kLines && self->code == 0; ++self->next) {
    line_request *next = &self->requests[self->next];
    next->job = self;
    next->request.on_end = job_on_line;
    make_line(line, self->name, self->next);
    const int level = self->next % kDurableEvery == 0 ? BW_DURABLE : BW_WRITTEN;
    const int code = file_write(&self->file, &next->request, line, kLineBytes, level);
    if (code == -EAGAIN) {
      ++self->full;
      return; /* job_on_room() will be called */
    }
    if (code < 0) job_end(self, code);
  }
}

static void job_on_room(file *ready) {
  job_go_on((job *)ready);
}

/* Every line is there, once, and every request was answered once. */
static bool is_right(const job *self, const char *path) {
  char expected[kLineBytes + 1], line[kLineBytes + 1];
  FILE *text = fopen(path, "r");
  bool ok = text != NULL;
  for (unsigned number = 0; number < kLines && ok; ++number) {
    make_line(expected, self->name, number);
    ok = fgets(line, sizeof line, text) && strcmp(line, expected) == 0 && self->requests[number].calls == 1;
  }
  ok = ok && fgetc(text) == EOF;
  if (text) fclose(text);
  return ok;
}

static int job_start(program *all, job *self, char name, const char *path) {
  self->program = all;
  self->name = name;
  const int code = file_open(&all->loop, &self->file, path, job_on_room);
  if (code < 0) return code;
  ++all->open_files;
  job_go_on(self);
  return 0;
}

int main(int argc, char **argv) {
  static job jobs[kFiles];
  static char paths[kFiles][4096];
  program all = {.open_files = 0};
  int code = timer_start(&all.loop, &all.timer, kTickNs);
  for (int index = 0; index < kFiles && code == 0; ++index) {
    const char name = (char)('a' + index);
    snprintf(paths[index], sizeof paths[index], "%s/loop_file.%c.data", argc > 1 ? argv[1] : ".", name);
    code = job_start(&all, &jobs[index], name, paths[index]);
  }
  if (code == 0) code = loop_run(&all.loop);

  bool ok = true;
  for (int index = 0; index < kFiles && code == 0; ++index) {
    code = jobs[index].code;
    ok = ok && is_right(&jobs[index], paths[index]);
  }
  if (code < 0) {
    fprintf(stderr, "loop_file: %s (%s)\n", bw_strerror(code), bw_err_name(code));
    return 1;
  }
  printf("loop_file: %d files, %d lines each, %u times full, %llu ticks meanwhile: %s\n", kFiles, kLines,
         jobs[0].full + jobs[1].full, (unsigned long long)all.timer.ticks, ok ? "ok" : "WRONG");
  return ok ? 0 : 1;
}
