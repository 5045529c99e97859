/*
 * What a program of this directory tells of its run, as one line. Each of them does the same, in its own language:
 *
 *   PROGRAM PEER RECORDS OUT BALLAST
 *
 * writes the 700 records of 1000 bytes that are in the file RECORDS to the file OUT, through PEER; flushes twice; closes.
 * At the first call that reports an error it removes the file BALLAST, which makes room (`-`: there is none). After each
 * error it does what the peer's documentation says to go on, and writes again what was not accepted, up to three times
 * for one record; then it writes no more.
 */
#ifndef BW_TESTS_PEERS_REPORT_H
#define BW_TESTS_PEERS_REPORT_H

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

enum { RECORDS = 700, RECORD = 1000, TRIES = 3 };

typedef struct report {
  const char *ballast;
  char records[RECORDS * RECORD];
  size_t accepted;  /* bytes, as the peer counted them; they are the beginning of `records` */
  unsigned refused; /* writes that reported an error */
  char first[32];   /* where the first error was told */
  char flushes[2][32], closed[32];
  long missing; /* bytes that the peer says it still has; -1: it does not say */
} report;

static inline int report_begin(report *run, char **words) {
  FILE *file = fopen(words[2], "rb");
  run->ballast = words[4];
  run->missing = -1;
  const int all = file != NULL && fread(run->records, 1, sizeof run->records, file) == sizeof run->records;
  if (file) fclose(file);
  return all;
}

/* A call reported an error. */
static inline void report_error(report *run, const char *where) {
  if (run->first[0]) return;
  snprintf(run->first, sizeof run->first, "%s", where);
  unlink(run->ballast);
}

static inline void report_refused(report *run) {
  char where[32];
  snprintf(where, sizeof where, "record_%zu", run->accepted / RECORD + 1);
  ++run->refused;
  report_error(run, where);
}

/* A flush (0, 1) or the close (2) said so: an error's name, or "ok". */
static inline void report_said(report *run, int which, int failed, const char *name) {
  static const char *const where[] = {"flush_1", "flush_2", "close"};
  snprintf(which < 2 ? run->flushes[which] : run->closed, sizeof run->closed, "%s", failed ? name : "ok");
  if (failed) report_error(run, where[which]);
}

static inline void report_end(const report *run) {
  printf("accepted=%zu first=%s refused=%u flushes=%s,%s close=%s missing=%ld\n", run->accepted,
         run->first[0] ? run->first : "never", run->refused, run->flushes[0], run->flushes[1], run->closed,
         run->missing);
}

#endif
