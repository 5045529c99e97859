/*
 * Four threads, one file, a million records: the whole way from bw_open() to bw_free().
 *
 *   cc quickstart.c $(pkg-config --cflags --libs bw) -pthread && ./a.out FILE
 *
 * Each thread writes records that say what they are (thread, sequence number, length, checksum) through one shared
 * writer. Nobody locks anything: a bw_write() lands in the file whole, and a thread's records keep their order. The
 * library writes them out by io_uring, past the page cache where it may. The main thread meanwhile shows how far the
 * bytes have come, then reads the file back and verifies all of it.
 */
#define _GNU_SOURCE
#include <bw/bw.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
  kThreads = 4,
  kRecordsPerThread = 250000,
  kRecords = kThreads * kRecordsPerThread,
  kMinRecordBytes = 16,
  kMaxRecordBytes = 200
};

/* ---- A record that can be verified --------------------------------------------------------------- */

typedef struct record_header {
  uint32_t sequence; /* within the thread, from 0 */
  uint16_t length;   /* of the record, with this header */
  uint16_t thread;
  uint64_t checksum; /* of all the rest */
} record_header;

_Static_assert(sizeof(record_header) == kMinRecordBytes, "the shortest record is a header alone");

/* FNV-1a over the fields and the payload. */
static uint64_t checksum_of(const record_header *header, const unsigned char *payload) {
  const uint64_t prime = 1099511628211u;
  uint64_t hash = 14695981039346656037u;
  hash = (hash ^ header->sequence) * prime;
  hash = (hash ^ header->length) * prime;
  hash = (hash ^ header->thread) * prime;
  for (size_t index = 0; index < header->length - sizeof *header; ++index) hash = (hash ^ payload[index]) * prime;
  return hash;
}

/* Writes record `sequence` of a thread to `bytes`, and gives its length. */
static size_t make_record(unsigned char *bytes, uint16_t thread, uint32_t sequence) {
  const uint32_t mixed = (sequence + 1) * 2654435761u ^ thread * 40503u;
  record_header header = {.sequence = sequence, .thread = thread};
  header.length = (uint16_t)(kMinRecordBytes + (mixed >> 8) % (kMaxRecordBytes - kMinRecordBytes + 1));
  unsigned char *payload = bytes + sizeof header;
  const size_t payload_bytes = header.length - sizeof header;
  for (size_t index = 0; index < payload_bytes; ++index) payload[index] = (unsigned char)(mixed + index);
  header.checksum = checksum_of(&header, payload);
  memcpy(bytes, &header, sizeof header);
  return header.length;
}

/* ---- Writing ------------------------------------------------------------------------------------- */

typedef struct producer {
  pthread_t handle;
  bw_t *bw;
  uint16_t thread;
  uint64_t bytes; /* what this thread has written, once it is done */
  int code;       /* why it stopped early; 0: it did not */
} producer;

static atomic_int producers_left = kThreads;

static void *produce(void *arg) {
  producer *self = arg;
  unsigned char record[kMaxRecordBytes];
  for (uint32_t sequence = 0; sequence < kRecordsPerThread && self->code == 0; ++sequence) {
    const size_t length = make_record(record, self->thread, sequence);
    /* Copied before the call returns; waits only while every buffer is full. */
    const int64_t written = bw_write(self->bw, record, length);
    if (written != (int64_t)length) {
      self->code = written < 0 ? (int)written : bw_error(self->bw);
      break;
    }
    self->bytes += length;
  }
  atomic_fetch_sub(&producers_left, 1);
  return NULL;
}

static double seconds_since(const struct timespec *start) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static void sleep_ms(long milliseconds) {
  const struct timespec pause = {.tv_nsec = milliseconds * 1000000};
  nanosleep(&pause, NULL);
}

/* One line: how much, how fast, how far. On a terminal it is drawn over the line before. */
static void show_progress(bw_t *bw, double seconds, bool on_terminal) {
  bw_stats_t stats = BW_STATS_INIT;
  if (bw_get_stats(bw, &stats) < 0) return;
  const int64_t accepted = bw_position(bw, BW_ACCEPTED);
  const int64_t written = bw_position(bw, BW_WRITTEN);
  const int64_t durable = bw_position(bw, BW_DURABLE);
  const double rate = seconds > 0 ? (double)accepted / seconds / 1e6 : 0;
  printf("%s%6.1f MB  %6.1f MB/s  accepted %lld  written %lld  durable %lld  buffers in use %u/%u%s",
         on_terminal ? "\r" : "", (double)accepted / 1e6, rate, (long long)accepted, (long long)written,
         (long long)durable, (unsigned)stats.buffers_in_use, (unsigned)stats.buffers, on_terminal ? "  " : "\n");
  fflush(stdout);
}

static void watch_producers(bw_t *bw, const struct timespec *start) {
  const bool on_terminal = isatty(STDOUT_FILENO);
  const double interval = on_terminal ? 0.1 : 1.0;
  double next_line = interval;
  while (atomic_load(&producers_left) > 0) {
    sleep_ms(10);
    if (seconds_since(start) < next_line) continue;
    show_progress(bw, seconds_since(start), on_terminal);
    next_line += interval;
  }
  show_progress(bw, seconds_since(start), on_terminal);
  if (on_terminal) putchar('\n');
}

static bool failed(const char *what, int64_t code) {
  if (code >= 0) return false;
  fprintf(stderr, "%s: %s (%s)\n", what, bw_strerror((int)code), bw_err_name((int)code));
  return true;
}

/* How the library writes, which it finds out by itself. */
static void show_engine(bw_t *bw) {
  static const char *const kEngines[] = {"write(2)", "io_uring", "pwrite(2)"}; /* by enum bw_engine */
  bw_stats_t stats = BW_STATS_INIT;
  if (bw_get_stats(bw, &stats) < 0 || stats.engine > BW_ENGINE_PWRITE) return;
  printf("%d threads, %u buffers of %zu bytes, %s, %s\n", kThreads, (unsigned)stats.buffers, bw_capacity(bw),
         kEngines[stats.engine], stats.direct ? "O_DIRECT" : "page cache");
}

/* Everything that the threads write, durable in the file. False if anything went wrong. */
static bool write_all(const char *path, uint64_t *bytes, double *seconds) {
  bw_t *bw;
  if (failed(path, bw_open(&bw, path, O_WRONLY | O_CREAT | O_TRUNC, 0644, NULL))) return false;
  show_engine(bw);

  struct timespec start;
  clock_gettime(CLOCK_MONOTONIC, &start);
  producer producers[kThreads] = {0};
  for (uint16_t thread = 0; thread < kThreads; ++thread) {
    producers[thread].bw = bw;
    producers[thread].thread = thread;
    if (pthread_create(&producers[thread].handle, NULL, produce, &producers[thread]) != 0) abort();
  }
  watch_producers(bw, &start);

  bool ok = true;
  *bytes = 0;
  for (int thread = 0; thread < kThreads; ++thread) {
    pthread_join(producers[thread].handle, NULL);
    ok = !failed("bw_write", producers[thread].code) && ok;
    *bytes += producers[thread].bytes;
  }
  ok = !failed("bw_sync", bw_sync(bw)) && ok; /* what was accepted survives a power cut now */
  show_progress(bw, seconds_since(&start), false);
  ok = !failed("bw_close", bw_close(bw)) && ok; /* reports what could not be written */
  bw_free(bw);
  *seconds = seconds_since(&start);
  return ok;
}

/* ---- Reading back -------------------------------------------------------------------------------- */

/* Reads one record; NULL: a whole and true one. `expected[t]` is the next sequence number of thread t. */
static const char *verify_record(FILE *file, uint32_t expected[kThreads], uint64_t *bytes) {
  record_header header;
  unsigned char payload[kMaxRecordBytes];
  if (fread(&header, sizeof header, 1, file) != 1) return "the file ends in a header";
  if (header.thread >= kThreads) return "no such thread";
  if (header.length < kMinRecordBytes || header.length > kMaxRecordBytes) return "no such length";
  const size_t payload_bytes = header.length - sizeof header;
  if (fread(payload, 1, payload_bytes, file) != payload_bytes) return "the file ends in a record";
  if (checksum_of(&header, payload) != header.checksum) return "the checksum is wrong";
  if (header.sequence != expected[header.thread]) return "a thread's records are out of order";
  ++expected[header.thread];
  *bytes += header.length;
  return NULL;
}

/* True if the file is exactly the records that were written, and nothing else. */
static bool verify_all(const char *path, uint64_t bytes_written, double write_seconds) {
  FILE *file = fopen(path, "r");
  if (!file) {
    perror(path);
    return false;
  }
  uint32_t expected[kThreads] = {0};
  uint64_t bytes = 0;
  const char *wrong = NULL;
  for (int record = 0; record < kRecords && !wrong; ++record) wrong = verify_record(file, expected, &bytes);
  if (!wrong && fgetc(file) != EOF) wrong = "there is more in the file than was written";
  if (!wrong && bytes != bytes_written) wrong = "the totals differ";
  fclose(file);

  if (wrong) {
    fprintf(stderr, "verification failed after %llu bytes: %s\n", (unsigned long long)bytes, wrong);
    return false;
  }
  printf("verified: %d records, %llu bytes, %.0f MB/s, 0 errors\n", kRecords, (unsigned long long)bytes,
         (double)bytes / write_seconds / 1e6);
  return true;
}

int main(int argc, char **argv) {
  const char *path = argc > 1 ? argv[1] : "quickstart.data";
  uint64_t bytes;
  double seconds;
  return write_all(path, &bytes, &seconds) && verify_all(path, bytes, seconds) ? 0 : 1;
}
