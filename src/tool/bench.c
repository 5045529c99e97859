#include "bench.h"

#include <bw/bw.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "output.h"
#include "text.h"
#include "watcher.h"

typedef struct bench {
  const arguments *args;
  output out;
  watcher watcher;
  atomic_bool stops; /* the time is up, a signal came, or a thread has failed */
  atomic_uint left;  /* threads that still write */
  int done;          /* eventfd(2): none is left */
  /* Of all threads, once they have ended. */
  uint64_t records;
  double accept_seconds;
  int code;
  histogram commits;
} bench;

typedef struct producer {
  bench *bench;
  bw_t *bw; /* the writer, or a lane of ours */
  pthread_t handle;
  uint32_t thread;
  unsigned char *record;
  uint64_t quota;
  uint64_t records;
  int code;
  histogram commits; /* how long each record took to be durable */
} producer;

/* ---- A thread ------------------------------------------------------------------------------------ */

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A record begins with its thread and its number within the thread, as far as it is long enough. */
static void stamp(producer *self, size_t length) {
  const uint32_t header[] = {self->thread, (uint32_t)self->records};
  memcpy(self->record, header, length < sizeof header ? length : sizeof header);
}

static int write_record(producer *self, size_t length) {
  const int64_t count = bw_write(self->bw, self->record, length);
  if (count == (int64_t)length) return 0;
  return count < 0 ? (int)count : bw_error(self->bw);
}

static int commit_record(producer *self, size_t length) {
  const uint64_t begin = now_ns();
  const int64_t position = bw_append(self->bw, self->record, length);
  if (position < 0) return (int)position;
  const int code = bw_wait(self->bw, position + (int64_t)length, BW_DURABLE, -1);
  if (code == 0) histogram_add(&self->commits, now_ns() - begin);
  return code;
}

static void *produce(void *arg) {
  producer *self = arg;
  bench *all = self->bench;
  const size_t length = (size_t)all->args->record_bytes;
  while (self->records < self->quota && !atomic_load_explicit(&all->stops, memory_order_relaxed)) {
    stamp(self, length);
    self->code = all->args->commits ? commit_record(self, length) : write_record(self, length);
    if (self->code < 0) break;
    ++self->records;
  }
  if (all->args->uses_lanes && self->code == 0) self->code = bw_close(self->bw); /* hands on what is in the lane */
  if (self->code < 0) atomic_store(&all->stops, true);
  if (atomic_fetch_sub(&all->left, 1) == 1) eventfd_write(all->done, 1);
  return NULL;
}

/* ---- All threads --------------------------------------------------------------------------------- */

static int make_producer(bench *self, producer *made, uint32_t thread) {
  const arguments *args = self->args;
  made->bench = self;
  made->thread = thread;
  made->quota = UINT64_MAX;
  if (args->total_bytes > 0) {
    const uint64_t all = (args->total_bytes - 1) / args->record_bytes + 1;
    made->quota = all / args->threads + (thread < all % args->threads);
  }
  made->record = malloc(args->record_bytes);
  if (!made->record) return -ENOMEM;
  memset(made->record, 'a' + (int)(thread % 26), args->record_bytes);
  made->record[args->record_bytes - 1] = '\n';
  made->bw = self->out.bw;
  return args->uses_lanes ? bw_lane(&made->bw, self->out.bw, NULL) : 0;
}

static void wait_for_threads(bench *self) {
  const double seconds = self->args->seconds;
  struct pollfd fds[] = {{self->done, POLLIN, 0}, {self->watcher.stop, POLLIN, 0}};
  while (!atomic_load(&self->stops) && fds[0].revents == 0 && fds[1].revents == 0) {
    const double left = seconds - output_seconds(&self->out);
    if (seconds > 0 && left <= 0) break;
    const double left_ms = left * 1000 + 1;
    poll(fds, 2, seconds <= 0 ? -1 : left_ms < 1e6 ? (int)left_ms : 1000000);
  }
  atomic_store(&self->stops, true);
}

static void run_producers(bench *self, producer *producers) {
  const uint32_t count = self->args->threads;
  uint32_t started = 0;
  while (started < count && self->code == 0) {
    producer *next = &producers[started];
    self->code = -pthread_create(&next->handle, NULL, produce, next);
    if (self->code == 0) ++started;
  }
  if (started < count) atomic_store(&self->stops, true);
  if (self->code == 0) wait_for_threads(self);
  for (uint32_t thread = 0; thread < started; ++thread) {
    producer *ended = &producers[thread];
    pthread_join(ended->handle, NULL);
    self->records += ended->records;
    if (self->code == 0) self->code = ended->code;
    histogram_merge(&self->commits, &ended->commits);
  }
  self->accept_seconds = output_seconds(&self->out);
}

/* NULL, or not all of them: self->code says why. */
static producer *make_producers(bench *self) {
  const uint32_t count = self->args->threads;
  producer *producers = calloc(count, sizeof *producers);
  self->code = producers ? 0 : -ENOMEM;
  for (uint32_t thread = 0; thread < count && self->code == 0; ++thread) {
    self->code = make_producer(self, &producers[thread], thread);
  }
  return producers;
}

static void free_producers(const bench *self, producer *producers) {
  for (uint32_t thread = 0; producers && thread < self->args->threads; ++thread) {
    if (self->args->uses_lanes) bw_free(producers[thread].bw);
    free(producers[thread].record);
  }
  free(producers);
}

/* ---- What came of it ----------------------------------------------------------------------------- */

static double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void say_result(const bench *self, double seconds) {
  const double bytes = (double)(self->records * self->args->record_bytes);
  char rate[kTextBytes], accepted[kTextBytes];
  fprintf(stderr,
          "bw: %s: %" PRIu64 " records of %" PRIu64 " bytes from %u threads%s in %.3f s: %.0f records/s, %s/s (",
          self->out.name, self->records, self->args->record_bytes, self->args->threads,
          self->args->uses_lanes ? " with lanes" : "", seconds, (double)self->records / seconds,
          bytes_as_text(rate, bytes / seconds));
  say_way(&self->out);
  fprintf(stderr, ")\nbw: %s: accepted in %.3f s, %s/s; %.2f CPU seconds\n", self->out.name, self->accept_seconds,
          bytes_as_text(accepted, bytes / self->accept_seconds), cpu_seconds());
  if (self->args->commits) {
    char p50[kTextBytes], p99[kTextBytes], p999[kTextBytes], max[kTextBytes];
    const histogram *times = &self->commits;
    fprintf(stderr, "bw: %s: %.0f commits/s, until durable p50 %s, p99 %s, p99.9 %s, max %s\n", self->out.name,
            (double)times->count / self->accept_seconds, time_as_text(p50, histogram_percentile(times, 0.5)),
            time_as_text(p99, histogram_percentile(times, 0.99)),
            time_as_text(p999, histogram_percentile(times, 0.999)), time_as_text(max, times->max_ns));
  }
}

static bool print_result(const bench *self, double seconds) {
  const histogram *times = &self->commits;
  printf("{\"threads\":%u,\"record_bytes\":%" PRIu64 ",\"records\":%" PRIu64
         ",\"accept_seconds\":%.6f,\"seconds\":%.6f,\"cpu_seconds\":%.6f,",
         self->args->threads, self->args->record_bytes, self->records, self->accept_seconds, seconds, cpu_seconds());
  printf("\"commit\":{\"count\":%" PRIu64 ",\"p50_ns\":%" PRIu64 ",\"p90_ns\":%" PRIu64 ",\"p99_ns\":%" PRIu64
         ",\"p999_ns\":%" PRIu64 ",\"max_ns\":%" PRIu64 "},\"stats\":",
         times->count, histogram_percentile(times, 0.5), histogram_percentile(times, 0.9),
         histogram_percentile(times, 0.99), histogram_percentile(times, 0.999), times->max_ns);
  return print_stats(&self->out) && fputs("}\n", stdout) != EOF && flush_stdout();
}

/* Gives the exit status. */
static int report(bench *self, int signal_number, double seconds) {
  int status = signal_number == 0 ? kExitOk : kExitSignal + signal_number;
  if (self->code < 0) {
    say_lost(&self->out, self->code);
    status = kExitFailed;
  } else if (!self->args->is_quiet) {
    say_result(self, seconds);
  }
  if (self->args->wants_json && !print_result(self, seconds)) status = kExitFailed;
  return status;
}

int run_bench(const arguments *args) {
  static bench self; /* a histogram is too much for a stack */
  self.args = args;
  self.done = eventfd(0, EFD_CLOEXEC);
  atomic_store(&self.left, args->threads);
  if (!open_output(&self.out, args, 0)) return kExitFailed;
  producer *producers = make_producers(&self);
  clock_gettime(CLOCK_MONOTONIC, &self.out.begin); /* nothing was written before */
  const bool is_watched = watcher_begin(&self.watcher, &self.out, !args->is_quiet && isatty(STDERR_FILENO));
  if (is_watched && self.code == 0) run_producers(&self, producers);
  free_producers(&self, producers);
  int status = kExitFailed;
  if (is_watched) {
    const int code = close_output(&self.out, args->syncs && self.code == 0);
    if (self.code == 0) self.code = code;
    const double seconds = output_seconds(&self.out);
    const int signal_number = watcher_end(&self.watcher);
    status = report(&self, signal_number, seconds);
  }
  bw_free(self.out.bw);
  return status;
}
