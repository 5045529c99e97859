/*
 * A rig for batchers: a scripted sink, a record of every call it and the callbacks got, and a batcher over them.
 *
 *   batch_rig *rig = BATCH_RIG(state, .max_items = 3);
 *   assert_int_equal(batch_rig_send(rig, "1,2,3"), 0);
 *   assert_int_equal(bw_batch_flush(rig->batch), 0);
 *   assert_offers(rig, "(1,2,3)");
 *   batch_rig_free(rig);
 *
 * Items are spelled as text, with a comma between two. The rig finds sink calls that overlap, callbacks that overlap
 * or nest, and callbacks inside the sink; batch_rig_free() asserts that there were none.
 *
 * Thread safety: as threads.h. What asserts is a macro, batch_rig_new() or batch_rig_free(): the test's own thread.
 */
#ifndef BW_TESTS_BATCH_RIG_H
#define BW_TESTS_BATCH_RIG_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "threads.h"

enum batch_kind {
  BATCH_OFFER,
  BATCH_FLUSH,
  BATCH_CLOSE,
  BATCH_DELIVERED,
  BATCH_PRESSURE,
  BATCH_WAKE,
  BATCH_KINDS,               /* of callbacks */
  BATCH_ANSWER = BATCH_KINDS /* batch_rig_done() */
};
#define BATCH_KIND(kind) (1u << (kind))

typedef struct batch_event {
  enum batch_kind kind;
  int code; /* the sink's answer; of delivered; 1 or 0 of pressure; the waker's number */
  int *codes; /* an answer for each item; or NULL */
  uint64_t serial, first, bytes;
  uint32_t attempt;
  size_t count;
  char *text;         /* the items */
  bool contiguous;    /* each item begins where the one before it ends */
  uintptr_t low_bits; /* of all items' addresses */
  pthread_t thread;
} batch_event;

typedef struct batch_rig batch_rig;

typedef struct batch_waker {
  batch_rig *rig;
  test_waker waker; /* counts its calls */
} batch_waker;

enum { BATCH_WAKERS = 8 };

struct batch_rig {
  pthread_mutex_t mutex;
  bw_batch_t *batch;
  uint32_t flags;
  batch_event *events;
  size_t event_count, event_capacity;
  /* The sink's answers (BATCH_OFFER, BATCH_FLUSH, BATCH_CLOSE); a used up list: `always`, at first 0. */
  int *script[3];
  size_t script_length[3], script_next[3];
  int always[3];
  /* NULL, or what the sink answers in place of the script; with the mutex held. */
  int (*judge)(batch_rig *rig, const batch_event *call);
  bw_batch_view_t **taken; /* what write answered with BW_BATCH_TAKEN */
  size_t taken_count, answered_count, taken_capacity;
  bw_batch_view_t *offered; /* of the last call of write */
  int sink_inside, callbacks_inside;
  const char *violation; /* the first promise found broken */
  void (*hook)(batch_rig *rig, enum batch_kind kind); /* in every callback, after recording; without the mutex */
  void *hook_arg;
  test_gate gate; /* calls of its kinds stop there, after the hook */
  batch_waker wakers[BATCH_WAKERS];
  char *trace;
};

/* ---- Making one ------------------------------------------------------------------------------ */

/* Adds `flags` to those of the options; `delivered`, `pressure` and `arg` are the rig's. */
batch_rig *batch_rig_new(uint32_t flags, const bw_batch_options_t *options);
#define BATCH_FLAGS(state) (*(const uint32_t *)*(state))
#define BATCH_RIG(state, ...) \
  batch_rig_new(BATCH_FLAGS(state), &(const bw_batch_options_t){.size = sizeof(bw_batch_options_t), __VA_ARGS__})
/* A rig without a batcher, and what to make one of: the rig is ctx and arg. */
batch_rig *batch_rig_empty(void);
bw_batch_sink_t batch_rig_ops(void);
bw_batch_options_t batch_rig_options(batch_rig *rig, uint32_t flags);
void batch_rig_free(batch_rig *rig);
void batch_rig_free_batch(batch_rig *rig);

/* ---- The script ------------------------------------------------------------------------------ */

void batch_rig_script(batch_rig *rig, enum batch_kind kind, const int *answers, size_t count);
#define BATCH_SCRIPT(rig, kind, ...) \
  batch_rig_script((rig), (kind), (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))
/* The answer once the script is used up. */
void batch_rig_always(batch_rig *rig, enum batch_kind kind, int answer);
/* Calls of these kinds stop at rig->gate from now on. */
void batch_rig_gate(batch_rig *rig, unsigned kinds);
/* The `index`th view ever taken, from 0; waits for it. NULL: it never came. */
bw_batch_view_t *batch_rig_taken(batch_rig *rig, size_t index);
/* bw_batch_done(), recorded. */
int batch_rig_done(batch_rig *rig, bw_batch_view_t *view, int code, const int *codes);
/* Answers the oldest taken batch not yet answered by this function (waits for one) and gives bw_batch_done's code. */
int batch_rig_answer(batch_rig *rig, int code);
int batch_rig_answer_each(batch_rig *rig, const int *codes);
/* The sink answers 0 from now on: answers all that is taken with it, flushes, and gives the flush's code. */
int batch_rig_finish(batch_rig *rig);

/* ---- What happened --------------------------------------------------------------------------- */

size_t batch_rig_count(batch_rig *rig, enum batch_kind kind);
bool batch_rig_await(batch_rig *rig, enum batch_kind kind, size_t count);
/* How many items `delivered` told of. */
size_t batch_rig_settled(batch_rig *rig);
bool batch_rig_await_settled(batch_rig *rig, size_t items);
/* The `index`th event of a kind, from 0. Its text is the rig's. */
batch_event batch_rig_get(batch_rig *rig, enum batch_kind kind, size_t index);
/* Events of these kinds as text, which lives until the next call: "(1,2)" an offer, "flush", "close", "1,2:ok 3:EIO"
 * delivered (runs of one code in one), "on" and "off" pressure, "wake0" the waker 0. */
const char *batch_rig_trace(batch_rig *rig, unsigned kinds);
/* Offers as serial/first/count/attempt. */
const char *batch_rig_names(batch_rig *rig);
#define assert_offers(rig, expected) assert_string_equal(batch_rig_trace((rig), BATCH_KIND(BATCH_OFFER)), (expected))
#define assert_delivered(rig, expected) \
  assert_string_equal(batch_rig_trace((rig), BATCH_KIND(BATCH_DELIVERED)), (expected))
#define assert_pressure(rig, expected) \
  assert_string_equal(batch_rig_trace((rig), BATCH_KIND(BATCH_PRESSURE)), (expected))
#define assert_sink_calls(rig, expected)                                                                        \
  assert_string_equal(                                                                                          \
      batch_rig_trace((rig), BATCH_KIND(BATCH_OFFER) | BATCH_KIND(BATCH_FLUSH) | BATCH_KIND(BATCH_CLOSE)),      \
      (expected))
bw_batch_stats_t batch_rig_stats(batch_rig *rig);

/* ---- Calls ----------------------------------------------------------------------------------- */

/* Sends each of "a,b,c"; "" is one empty item. The first answer that is not 0, or 0. */
int batch_rig_send(batch_rig *rig, const char *items);
int batch_rig_start_send(batch_rig *rig, const char *items);
bw_waker_t batch_rig_waker(batch_rig *rig, int number);
int batch_rig_woken(batch_rig *rig, int number); /* how often */
/* Polls with waker 0, again each time it is called, until the answer is not -EAGAIN. -ETIMEDOUT: it was not called. */
int batch_rig_until(batch_rig *rig, int (*poll)(bw_batch_t *batch, const bw_waker_t *wake));
/* bw_batch_discard until it has given `wanted` items in all (one that is inside the sink is not discarded yet). */
int64_t batch_rig_discard(batch_rig *rig, int64_t wanted);
/* Waits until the batcher holds `code`. */
bool batch_rig_await_error(batch_rig *rig, int code);
/* Waits until so many items are with the sink, and write has returned. */
bool batch_rig_await_in_flight(batch_rig *rig, size_t items);

/* For test_thread_start(). */
typedef struct batch_call {
  batch_rig *rig;
  const char *items;  /* send */
  int64_t timeout_us; /* flush_for, close_for */
  int waker;          /* unwake */
  int code;           /* answer */
} batch_call;
int64_t batch_call_send(void *call);
int64_t batch_call_flush(void *call);
int64_t batch_call_flush_for(void *call);
int64_t batch_call_close(void *call);
int64_t batch_call_discard(void *call);
int64_t batch_call_wake(void *call);
int64_t batch_call_unwake(void *call);
int64_t batch_call_answer(void *call);
int64_t batch_call_free(void *call);

/* ---- Tables ---------------------------------------------------------------------------------- */

extern const uint32_t kBatchInline, kBatchUnshared, kBatchBackground, kBatchBackgroundUnshared;
#define BATCH_IS_BACKGROUND(state) ((BATCH_FLAGS(state) & BW_BACKGROUND) != 0)
#define BATCH_IS_UNSHARED(state) ((BATCH_FLAGS(state) & BW_UNSHARED) != 0)
#define IN(mode, test) {#test " (" #mode ")", test, NULL, NULL, (void *)&kBatch##mode}
#define IN_INLINE(test) IN(Inline, test), IN(Unshared, test)
#define IN_BACKGROUND(test) IN(Background, test), IN(BackgroundUnshared, test)
#define IN_SHARED(test) IN(Inline, test), IN(Background, test)
#define IN_ALL(test) IN_INLINE(test), IN_BACKGROUND(test)

#endif
