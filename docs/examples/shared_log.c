/*
 * One log file, written by several threads at once.
 *
 *   cc shared_log.c $(pkg-config --cflags --libs bw) -pthread && ./a.out FILE
 *
 * Three threads commit: they append a line, learn where it stands, and from time to time wait until it would survive a
 * power cut. Threads that wait at the same time share one fdatasync(2). A fourth thread only traces: it writes many
 * lines, needs no position and no waiting, and has a lane, a private buffer that shares nothing with the others until
 * it is full. The program then reads the file and looks whether every line is there, whole, where it should be.
 */
#define _POSIX_C_SOURCE 200809L
#include <bw/bw.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  kCommitters = 3,
  kCommits = 5000, /* lines of each */
  kDurableEvery = 100,
  kTraces = 20000,
  kMaxLineBytes = 64
};

static const char kTraceName[] = "trace";

/* ---- Lines --------------------------------------------------------------------------------------- */

static size_t make_line(char line[kMaxLineBytes], const char *name, unsigned number) {
  /* Of different lengths, so that lines which overlap or are torn would show. */
  return (size_t)snprintf(line, kMaxLineBytes, "%s %06u %.*s\n", name, number, (int)(number % 40),
                          "........................................");
}

/* ---- The threads --------------------------------------------------------------------------------- */

typedef struct committer {
  pthread_t handle;
  bw_t *log;
  char name[16];
  int64_t positions[kCommits]; /* where each line stands */
  int code;
} committer;

static void *commit_lines(void *arg) {
  committer *self = arg;
  char line[kMaxLineBytes];
  for (unsigned number = 0; number < kCommits; ++number) {
    const size_t length = make_line(line, self->name, number);
    const int64_t position = bw_append(self->log, line, length);
    if (position < 0) {
      self->code = (int)position;
      break;
    }
    self->positions[number] = position;
    if ((number + 1) % kDurableEvery != 0) continue;
    /* The end of the line: all that stands before it gets durable with it. -1: for ever. */
    self->code = bw_wait(self->log, position + (int64_t)length, BW_DURABLE, -1);
    if (self->code < 0) break;
  }
  return NULL;
}

typedef struct tracer {
  pthread_t handle;
  bw_t *log;
  int code;
} tracer;

static int trace_lines(bw_t *lane) {
  char line[kMaxLineBytes];
  for (unsigned number = 0; number < kTraces; ++number) {
    const size_t length = make_line(line, kTraceName, number);
    /* Into the lane alone. A line of at most the lane's capacity lands in the log whole. */
    const int64_t position = bw_append(lane, line, length);
    if (position < 0) return (int)position;
  }
  return bw_close(lane); /* hands on what is left; the log stays open */
}

static void *trace(void *arg) {
  tracer *self = arg;
  bw_options_t options = BW_OPTIONS_INIT;
  options.capacity = 16384; /* not set, it would be that of the log */
  bw_t *lane;
  self->code = bw_lane(&lane, self->log, &options);
  if (self->code < 0) return NULL;
  self->code = trace_lines(lane);
  bw_free(lane);
  return NULL;
}

/* ---- Writing ------------------------------------------------------------------------------------- */

static int run_threads(bw_t *log, committer *committers) {
  tracer traces = {.log = log};
  int code = pthread_create(&traces.handle, NULL, trace, &traces);
  if (code != 0) return -code;
  int started = 0;
  for (; started < kCommitters && code == 0; ++started) {
    committer *self = &committers[started];
    self->log = log;
    snprintf(self->name, sizeof self->name, "thread%d", started);
    code = pthread_create(&self->handle, NULL, commit_lines, self);
    if (code != 0) break;
  }
  code = -code;
  for (int index = 0; index < started; ++index) {
    pthread_join(committers[index].handle, NULL);
    if (code == 0) code = committers[index].code;
  }
  pthread_join(traces.handle, NULL);
  return code != 0 ? code : traces.code;
}

static int write_log(int fd, committer *committers, bw_stats_t *stats) {
  bw_options_t options = BW_OPTIONS_INIT;
  options.flags = BW_BACKGROUND; /* a thread of the library calls write(2); ours only copy */
  options.capacity = 256 * 1024;
  options.buffers = 4;
  options.linger_us = 10000; /* a line that nobody waits for is written after 10 ms at the latest */

  bw_t *log;
  int code = bw_fdopen(&log, fd, &options);
  if (code < 0) return code;
  code = run_threads(log, committers);
  if (code == 0) code = bw_sync(log); /* the tracer's lines too */
  if (code == 0) code = bw_get_stats(log, stats);
  if (code == 0) code = bw_close(log);
  bw_free(log);
  return code;
}

/* ---- Checking ------------------------------------------------------------------------------------ */

static char *read_file(int fd, size_t *length) {
  struct stat status;
  if (fstat(fd, &status) != 0) return NULL;
  *length = (size_t)status.st_size;
  char *text = malloc(*length + 1);
  for (size_t done = 0; text && done < *length;) {
    const ssize_t count = pread(fd, text + done, *length - done, (off_t)done);
    if (count <= 0) {
      free(text);
      return NULL;
    }
    done += (size_t)count;
  }
  if (text) text[*length] = '\0';
  return text;
}

/* Each committer's lines stand where bw_append() said. Counts their bytes. */
static bool are_in_place(const committer *self, const char *text, size_t text_length, size_t *bytes) {
  char line[kMaxLineBytes];
  for (unsigned number = 0; number < kCommits; ++number) {
    const size_t length = make_line(line, self->name, number);
    const size_t position = (size_t)self->positions[number];
    if (position > text_length || length > text_length - position) return false;
    if (memcmp(text + position, line, length) != 0) return false;
    *bytes += length;
  }
  return true;
}

/* The tracer's lines are all there, whole and in order, between those of the others. Counts their bytes. */
static bool are_in_order(const char *text, size_t *bytes) {
  char line[kMaxLineBytes];
  unsigned number = 0;
  for (const char *start = text; *start != '\0';) {
    const char *end = strchr(start, '\n');
    if (!end) return false;
    if (strncmp(start, kTraceName, sizeof kTraceName - 1) == 0) {
      const size_t length = make_line(line, kTraceName, number++);
      if ((size_t)(end + 1 - start) != length || memcmp(start, line, length) != 0) return false;
      *bytes += length;
    }
    start = end + 1;
  }
  return number == kTraces;
}

static bool is_right(int fd, const committer *committers, size_t *length) {
  char *text = read_file(fd, length);
  if (!text) return false;
  size_t bytes = 0;
  bool ok = are_in_order(text, &bytes);
  for (int index = 0; index < kCommitters; ++index) ok = ok && are_in_place(&committers[index], text, *length, &bytes);
  free(text);
  return ok && bytes == *length;
}

int main(int argc, char **argv) {
  const char *path = argc > 1 ? argv[1] : "shared_log.data";
  const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    perror(path);
    return 1;
  }
  static committer committers[kCommitters];
  bw_stats_t stats = BW_STATS_INIT;
  const int code = write_log(fd, committers, &stats);
  if (code < 0) {
    fprintf(stderr, "shared_log: %s (%s)\n", bw_strerror(code), bw_err_name(code));
    close(fd);
    return 1;
  }
  size_t length = 0;
  const bool ok = is_right(fd, committers, &length);
  close(fd); /* the writer had a dup of its own */
  printf("shared_log: %d lines, %zu bytes, %" PRIu64 " writes, %" PRIu64 " syncs for %d durable waits: %s\n",
         kCommitters * kCommits + kTraces, length, stats.sink_writes, stats.syncs,
         kCommitters * kCommits / kDurableEvery, ok ? "ok" : "WRONG");
  return ok ? 0 : 1;
}
