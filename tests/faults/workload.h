/*
 * Threads that write records in every way, and flush, sync, wait, are told, and go back to write a mark near the file's
 * start anew in between; and a checker that knows records and mark again in a file that may end anywhere.
 *
 * A plan follows from its seed, so a failure can be played again.
 */
#ifndef BW_TESTS_WORKLOAD_H
#define BW_TESTS_WORKLOAD_H

#include <bw/bw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../support/records.h"
#include "../support/threads.h"

#define WORKLOAD_THREADS 8

typedef struct workload_plan {
  uint64_t seed;
  uint32_t engine, flags; /* BW_CALLER_DRIVEN: the threads' waits drive */
  int oflags;             /* O_APPEND or 0 */
  unsigned threads;
  uint64_t capacity, preallocate, linger_us;
  uint32_t buffers;
  unsigned calm; /* records between two waits of a thread, on average */
  int64_t base;  /* bytes that the file has before */
  int64_t mark_at;
  size_t mark; /* bytes of those, from mark_at on, are written again and again; 0: none */
  test_records records;
} workload_plan;

/* A plan for this engine; what it leaves to chance follows from the seed. */
workload_plan workload_plan_make(uint32_t engine, uint64_t seed);
void workload_plan_print(const workload_plan *plan);
/* Opens the writer at the end of a file that has the stream's first `base` bytes (faults_stream), or of none. A code.
 */
int workload_open(const workload_plan *plan, const char *path, bw_t **out);
/* The same at the start of a file, be there one or not. */
int workload_open_anyhow(const workload_plan *plan, const char *path, bw_t **out);
/* Makes that file; for base 0 there is none. `durable`: it survives a power cut. */
void workload_prepare(const workload_plan *plan, const char *path, bool durable);

/* Levels of versions of the mark, beside those of positions. */
enum { WORKLOAD_MARK_BEGUN = BW_DURABLE + 1, WORKLOAD_MARK_WRITTEN, WORKLOAD_MARK_DURABLE, WORKLOAD_LEVELS };

typedef struct workload {
  const workload_plan *plan;
  bw_t *bw;
  /* Called from any of the threads and callbacks once everything below `position` was said to be at `level`; and with
   * a version of the mark, before it is written, and once it was said to be written or durable. */
  void (*told)(void *arg, int level, int64_t position);
  void *arg;
  atomic_bool stop;
  atomic_int failure; /* the first code that a call gave */
  pthread_rwlock_t place; /* held for writing while the stream's end is not where records go */
  int64_t mark_version;
  test_thread threads[WORKLOAD_THREADS];
  struct workload_member {
    struct workload *load;
    unsigned thread;
  } members[WORKLOAD_THREADS];
} workload;

/* Starts the threads. They end with all records written, when told to stop, or at the first failure. */
void workload_start(workload *load, const workload_plan *plan, bw_t *bw);
/* Joins them. */
void workload_join(workload *load);

/* Reads a file from its start as it grows. */
typedef struct workload_reader {
  const workload_plan *plan;
  int64_t at; /* all below is right */
  unsigned next[WORKLOAD_THREADS];
  char *record; /* the one that it is in */
  size_t length, matched;
  int64_t oldest_mark, newest_mark; /* what may be there, at first no version but 0; the newest below 0: anything */
  bool may_end_in_zeros; /* zeros in place of a byte are no mistake: they are where it ends */
  bool has_ended;
} workload_reader;

void workload_reader_init(workload_reader *reader, const workload_plan *plan);
void workload_reader_destroy(workload_reader *reader);
/* Goes on up to the file's present size: nothing but what was there before, then records, each whole but the last and
 * each thread's in order. Says what is wrong. */
bool workload_read(workload_reader *reader, int fd);
/* The same up to `end`; what comes after it is not looked at. */
bool workload_read_until(workload_reader *reader, int fd, int64_t end);

#endif
