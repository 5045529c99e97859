/*
 * The parts of the soak: a job makes writers or a batcher, uses them at random, frees them, and knows what must have
 * come out. A job that finds something wrong prints how to repeat it and aborts.
 */
#ifndef BW_TESTS_SOAK_H
#define BW_TESTS_SOAK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/put.h"
#include "../support/threads.h"

typedef struct soak_job {
  const char *kind;
  uint64_t seed; /* all chance in the job follows from it */
  uint64_t random;
  char path[64];   /* a file of its own, in the current directory */
  char about[200]; /* what was made, for whoever reads of a failure */
} soak_job;

void soak_writer_job(soak_job *job); /* one writer, one thread */
void soak_shared_job(soak_job *job); /* one writer, several threads, lanes */
void soak_batch_job(soak_job *job);  /* a batcher */

uint64_t soak_below(uint64_t *random, uint64_t end); /* 0 to end - 1 */
bool soak_chance(uint64_t *random, unsigned per_mille);
/* One of the values, by chance. */
#define SOAK_PICK(random, ...) \
  (((const uint64_t[]){__VA_ARGS__})[soak_below((random), sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))])

_Noreturn void soak_fail(const soak_job *job, const char *what, long long found, const char *file, int line);
#define SOAK_CHECK(job, condition) \
  ((condition) ? (void)0 : soak_fail((job), #condition, 0, __FILE__, __LINE__))
/* The same of a code or number, which is printed. */
#define SOAK_CODE(job, number, condition) \
  ((condition) ? (void)0 : soak_fail((job), #condition, (long long)(number), __FILE__, __LINE__))

/* ---- Sinks that cannot be relied on ---------------------------------------------------------- */

/* How often a call goes wrong, per mille. */
typedef struct soak_mood {
  unsigned takes_less, interrupted, not_ready, fails, takes_nothing, breaks, sync_fails, close_fails;
} soak_mood;

/* Takes bytes into memory. Its calls must never overlap: that is checked, not locked. */
typedef struct soak_sink {
  soak_job *job;
  bw_t *bw; /* set before anything is written */
  char *data;
  size_t length, room;
  size_t lost; /* bytes that came by BW_EVENT_LOST; they follow those that were taken */
  uint64_t random;
  soak_mood mood;
  bool wakes_itself; /* else soak_helper_start() */
  bool broken;       /* the last call answered BW_ESINK */
  atomic_bool calm;  /* from now on it takes everything */
  atomic_bool waits;
  atomic_int inside;
  atomic_int events_inside;
  int close_calls, ends; /* calls of `close`; those that ended it */
  int sync_code;         /* of the sync that failed */
  atomic_bool stop;
  test_thread helper;
} soak_sink;

extern const bw_sink_t soak_sink_calls;
void soak_sink_init(soak_sink *sink, soak_job *job, size_t room);
void soak_sink_destroy(soak_sink *sink);
/* Moods from none to bad, by chance. `may_break`: also with BW_ESINK, failed syncs and failed closes. */
void soak_sink_mood(soak_sink *sink, bool may_break);
/* A thread that wakes the writer some time after the sink said -EAGAIN. Stop it before bw_free(). */
void soak_helper_start(soak_sink *sink);
void soak_helper_stop(soak_sink *sink);
/* bw_options_t.on_event, with the sink as its argument. */
void soak_on_event(void *sink, const bw_event_t *event);
/* Lets go of a held error: by bw_resume(), or with the sink once more where that is not enough or by chance. */
void soak_heal(soak_sink *sink, bool has_sink, uint64_t *random);
/* Closes, however often that takes. Bytes that can go nowhere are discarded where `accepted` is there to count them. */
void soak_close(soak_sink *sink, bool has_sink, uint64_t *random, int64_t *accepted);
/* A child of fork() may only give the writer back. */
void soak_fork(soak_job *job, bw_t *bw);

/* ---- Bytes that follow from their position --------------------------------------------------- */

enum { SOAK_PATTERN_LONGEST = 1 << 18 };
void soak_pattern_init(void);
const char *soak_pattern(int64_t position); /* SOAK_PATTERN_LONGEST bytes */
bool soak_is_pattern(int64_t position, const char *data, size_t length);
/* The whole file is pattern from 0 on: its size, or -1. */
int64_t soak_file_is_pattern(const char *path);
/* The whole file, to be freed. */
char *soak_file_read(const char *path, size_t *length);

#endif
