/*
 * Threads, wakers, notes and gates for tests: what waits does so for a condition, at most TEST_BOUND_S seconds.
 *
 * Thread safety: every function from any thread unless it says otherwise. Nothing here asserts (a failing cmocka
 * assert jumps, which only the test's own thread may do); a thread that does not end in time aborts the program.
 */
#ifndef BW_TESTS_THREADS_H
#define BW_TESTS_THREADS_H

#include <bw/bw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "test_sink.h"

#define TEST_BOUND_S 30

/* Waits until `condition(arg)` is true; false if it never was. */
bool test_await(bool (*condition)(void *arg), void *arg);
/* Waits until `*value` is at least `least`; false if it never was. */
bool test_await_at_least(atomic_int *value, int least);
int64_t test_now_us(void);
/* A short pause in a loop that waits for something; never decides a result. */
void test_pause(void);
/* Bytes that tell where they came from: each seed gives another, never-ending sequence. */
void test_pattern(void *out, size_t length, unsigned seed);
uint64_t test_random(uint64_t *state);
/* Runs `body` in a child process: what it returned there (a number up to 255), or -1 if the child died. */
int test_in_child(int (*body)(void *arg), void *arg);

/* ---- Threads --------------------------------------------------------------------------------- */

typedef struct test_thread {
  pthread_t handle;
  int64_t (*body)(void *arg);
  void *arg;
  atomic_int tid;
  atomic_bool finished;
  int64_t result; /* what the body returned; read it after test_thread_join() */
} test_thread;

void test_thread_start(test_thread *thread, int64_t (*body)(void *arg), void *arg);
/* Returns once the thread has finished (true) or has been seen asleep (false). For "it waits": the answer false is
 * right whenever the thread does wait, so a test can never fail by bad luck. */
bool test_thread_settle(test_thread *thread);
/* Waits until every other thread of the process has been seen asleep; false if one never was. */
bool test_others_settle(void);
bool test_thread_finished(test_thread *thread);
/* Joins it and returns its result; a thread that hangs aborts the program. */
int64_t test_thread_join(test_thread *thread);

/* One call on a writer, to be made by a test_thread: set the fields the call needs. */
typedef struct test_call {
  bw_t *bw;
  const void *data; /* write, append */
  size_t length;
  int64_t position; /* wait; the offset of a seek */
  int level;        /* wait; the whence of a seek */
  int64_t timeout_us;
  bw_span_t *span; /* reserve, commit */
  const bw_waker_t *wake;
} test_call;

int64_t test_call_write(void *call);
int64_t test_call_append(void *call);
int64_t test_call_reserve(void *call);
int64_t test_call_flush(void *call);
int64_t test_call_sync(void *call);
int64_t test_call_seek(void *call);
int64_t test_call_wait(void *call);
int64_t test_call_wake(void *call);
int64_t test_call_unwake(void *call);
int64_t test_call_close(void *call);
int64_t test_call_discard(void *call);
int64_t test_call_free(void *call);

/* ---- Wakers ---------------------------------------------------------------------------------- */

/* Counts its calls. Must live until the writer is freed. */
typedef struct test_waker {
  atomic_int calls;
  void (*hook)(void *arg); /* called in it, after counting; may be NULL */
  void *hook_arg;
} test_waker;

bw_waker_t test_waker_of(test_waker *waker);
bool test_waker_await(test_waker *waker, int calls);

/* ---- Notes ----------------------------------------------------------------------------------- */

/* What a bw_notify() was answered; its callback is test_note_done. Must live until the writer is freed. */
typedef struct test_note {
  atomic_int calls;
  atomic_int code; /* of the last call */
} test_note;

void test_note_done(void *note, int code);
/* Waits for the answer and gives its code; 1: none came. */
int test_note_code(test_note *note);

/* ---- Gates ----------------------------------------------------------------------------------- */

/* Lets sink calls of some kinds through one by one. Use: sink.hook = test_gate_hook, sink.hook_arg = &gate. */
typedef struct test_gate {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  unsigned kinds; /* TEST_SINK_HAS(...) of the kinds that stop here */
  long permits;   /* how many more may pass */
  bool open;      /* all may pass */
  int waiting;    /* how many stand here now */
  long arrived;   /* how many have come so far */
} test_gate;

void test_gate_init(test_gate *gate, unsigned kinds);
void test_gate_destroy(test_gate *gate);
void test_gate_hook(void *gate, enum test_sink_kind kind);
/* Waits here as a sink call would; for gates in wakers and other callbacks. */
void test_gate_pass(test_gate *gate);
void test_gate_let(test_gate *gate, long permits);
void test_gate_open(test_gate *gate);
/* Waits until the `arrived`th caller has come and stands here. */
bool test_gate_await(test_gate *gate, long arrived);

#endif
