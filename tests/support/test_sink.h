/*
 * A sink with a script: what it answers is written down beforehand, what it was asked is recorded.
 *
 * Thread safety: every function may be called from any thread; one mutex inside. Callbacks of the sink never
 * assert: they record, and the test asserts afterwards (a failing cmocka assert jumps).
 */
#ifndef BW_TESTS_TEST_SINK_H
#define BW_TESTS_TEST_SINK_H

#include <bw/bw.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum test_sink_kind {
  TEST_SINK_WRITE,
  TEST_SINK_WRITEV,
  TEST_SINK_FLUSH,
  TEST_SINK_SEEK,
  TEST_SINK_READ,
  TEST_SINK_SYNC,
  TEST_SINK_CLOSE,
  TEST_SINK_KINDS
};

/* Which optional callbacks the sink has. */
#define TEST_SINK_HAS(kind) (1u << (kind))
#define TEST_SINK_HAS_ALL ((1u << TEST_SINK_KINDS) - 1u)
/* As a scripted answer of a write: take everything. */
#define TEST_SINK_TAKE_ALL INT64_MAX
/* As a scripted answer of a write or read: take (give) everything and claim one byte more than was offered. */
#define TEST_SINK_OVERCLAIM (INT64_MAX - 1)

typedef struct test_sink_call {
  enum test_sink_kind kind;
  size_t offered; /* bytes offered (write, writev, read); 0 else */
  int parts;      /* of a writev */
  int64_t answer;
  pthread_t thread;
} test_sink_call;

typedef struct test_sink {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  /* What was taken, as a file in memory: writes land at `offset`, seek moves it, read reads there. */
  char *data;
  size_t length, data_capacity;
  int64_t offset;
  /* The record of all calls, oldest first. */
  test_sink_call *calls;
  size_t call_count, calls_capacity;
  /* Answers to come, one list a kind. An empty list: take all, 0, or as lseek and read say. */
  int64_t *script[TEST_SINK_KINDS];
  size_t script_length[TEST_SINK_KINDS], script_next[TEST_SINK_KINDS];
  int64_t forever[TEST_SINK_KINDS]; /* once the script is used up: this answer, if not INT64_MIN */
  bool held;                        /* calls wait inside the sink until test_sink_release() */
  int inside;                       /* calls that are in the sink now */
  int most_inside;                  /* must never pass 1 */
  void (*hook)(void *arg, enum test_sink_kind kind); /* called inside each call, without the mutex */
  void *hook_arg;
} test_sink;

void test_sink_init(test_sink *sink);
void test_sink_destroy(test_sink *sink);
/* The callbacks to hand to bw_new(), ctx being the test_sink. `has`: TEST_SINK_HAS(...) of the optional ones. */
bw_sink_t test_sink_ops(unsigned has);
/* Adds `count` answers to the list of `kind`. Writes: a number > 0 takes at most that many, 0 and codes as they are. */
void test_sink_script(test_sink *sink, enum test_sink_kind kind, const int64_t *answers, size_t count);
#define TEST_SINK_SCRIPT(sink, kind, ...)                                           \
  test_sink_script((sink), (kind), (const int64_t[]){__VA_ARGS__},                  \
                   sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))
/* What to answer for ever once the list is used up; INT64_MIN: the default again. */
void test_sink_always(test_sink *sink, enum test_sink_kind kind, int64_t answer);
/* From now on calls stay inside the sink; release lets them go. */
void test_sink_hold(test_sink *sink);
void test_sink_release(test_sink *sink);
/* Waits (at most 30 s, then gives false) until a call is inside the sink / until `count` calls of `kind` ended. */
bool test_sink_await_inside(test_sink *sink);
bool test_sink_await_calls(test_sink *sink, enum test_sink_kind kind, size_t count);
size_t test_sink_count(test_sink *sink, enum test_sink_kind kind); /* calls of a kind so far */
test_sink_call test_sink_last(test_sink *sink, enum test_sink_kind kind); /* the last one; kind KINDS: none */
/* True if exactly these bytes were taken, from offset 0 on. */
bool test_sink_holds(test_sink *sink, const void *bytes, size_t length);

#endif
