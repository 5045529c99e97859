/*
 * A log of lines: several threads send, and a batcher appends to a file.
 *
 *   cc batch_log.c $(pkg-config --cflags --libs bw) -pthread && ./a.out FILE
 *
 * bw_batch_to_writer() makes a batcher whose sink is a writer. The threads only copy their line into a batch; a thread
 * of the library appends each one, with a newline behind it, whole. `delivered` counts what the writer has accepted.
 * In the end the file is read: every line is there, and those of each thread are in order.
 */
#include <bw/bw.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { kProducers = 4, kLines = 5000 /* of each */, kMaxLineBytes = 80 };

static size_t make_line(char line[kMaxLineBytes], unsigned producer, unsigned number) {
  /* Of different lengths, so that lines which are torn would show. */
  return (size_t)snprintf(line, kMaxLineBytes, "producer %u line %06u %.*s", producer, number, (int)(number % 40),
                          "........................................");
}

/* ---- Writing ------------------------------------------------------------------------------------- */

typedef struct producer {
  pthread_t handle;
  bw_batch_t *log;
  unsigned index;
  int code;
} producer;

static void *send_lines(void *arg) {
  producer *self = arg;
  char line[kMaxLineBytes];
  for (unsigned number = 0; number < kLines && self->code == 0; ++number) {
    const size_t length = make_line(line, self->index, number);
    self->code = bw_batch_send(self->log, line, length); /* waits while all batches are in use */
  }
  return NULL;
}

static int run_producers(bw_batch_t *log) {
  producer producers[kProducers];
  unsigned started = 0;
  int code = 0;
  for (; started < kProducers; ++started) {
    producer *self = &producers[started];
    *self = (producer){.log = log, .index = started};
    code = -pthread_create(&self->handle, NULL, send_lines, self);
    if (code < 0) break;
  }
  for (unsigned index = 0; index < started; ++index) {
    const int join_code = -pthread_join(producers[index].handle, NULL);
    if (code == 0) code = join_code < 0 ? join_code : producers[index].code;
  }
  return code;
}

static void count_delivered(void *arg, const struct iovec *items, size_t count, int code) {
  (void)items;
  if (code == 0) *(uint64_t *)arg += count; /* one call at a time: no atomic is needed */
}

static int write_log(bw_t *file, uint64_t *delivered, bw_batch_stats_t *stats) {
  bw_batch_options_t options = BW_BATCH_OPTIONS_INIT;
  options.flags = BW_BACKGROUND;
  options.linger_us = 5000; /* a line waits at most so long for others */
  options.delivered = count_delivered;
  options.arg = delivered;

  bw_batch_t *log;
  int code = bw_batch_to_writer(&log, file, "\n", &options);
  if (code == 0) code = run_producers(log);
  if (code == 0) code = bw_batch_close(log); /* the writer has all lines; it stays open */
  if (code == 0) code = bw_batch_get_stats(log, stats);
  bw_batch_free(log); /* before its writer; NULL is fine */
  return code == 0 ? bw_close(file) : code; /* a file is durable afterwards */
}

/* ---- Checking ------------------------------------------------------------------------------------ */

/* True if the file holds each line once, and nothing else. */
static bool is_right(const char *path) {
  char line[kMaxLineBytes + 2], expected[kMaxLineBytes];
  unsigned numbers[kProducers] = {0};
  FILE *file = fopen(path, "r");
  if (!file) return false;
  bool ok = true;
  while (ok && fgets(line, sizeof line, file)) {
    unsigned index;
    ok = sscanf(line, "producer %u", &index) == 1 && index < kProducers && numbers[index] < kLines;
    if (!ok) break;
    const size_t length = make_line(expected, index, numbers[index]++);
    ok = strlen(line) == length + 1 && memcmp(line, expected, length) == 0 && line[length] == '\n';
  }
  for (unsigned index = 0; index < kProducers; ++index) ok = ok && numbers[index] == kLines;
  fclose(file);
  return ok;
}

int main(int argc, char **argv) {
  const char *path = argc > 1 ? argv[1] : "batch_log.data";
  uint64_t delivered = 0;
  bw_batch_stats_t stats = BW_BATCH_STATS_INIT;
  bw_t *file;
  int code = bw_open(&file, path, O_WRONLY | O_CREAT | O_TRUNC, 0644, NULL);
  if (code == 0) code = write_log(file, &delivered, &stats);
  bw_free(file);
  if (code < 0) {
    fprintf(stderr, "batch_log: %s (%s)\n", bw_strerror(code), bw_err_name(code));
    return 1;
  }
  const bool ok = is_right(path) && delivered == (uint64_t)kProducers * kLines && stats.total_items == delivered;
  printf("batch_log: %" PRIu64 " lines of %d threads in %" PRIu64 " batches: %s\n", delivered, kProducers,
         stats.total_batches, ok ? "ok" : "WRONG");
  return ok ? 0 : 1;
}
