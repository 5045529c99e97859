/*
 * Wakers of polls: called exactly once, from any thread, unless taken back by bw_unwake.
 */
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

#include "../support/records.h"
#include "../support/rig.h"

enum { kCapacity = 16, kBuffers = 2, kRoom = kCapacity * kBuffers };

static const uint32_t kInline = 0, kInlineUnshared = BW_UNSHARED, kBackground = BW_BACKGROUND,
                      kBackgroundUnshared = BW_BACKGROUND | BW_UNSHARED;

#define MODE_RIG(state, ...) \
  RIG(RIG_PLAIN, .capacity = kCapacity, .buffers = kBuffers, .flags = *(const uint32_t *)*(state), __VA_ARGS__)

/* A writer with three bytes in it and a sink that is not ready for them; it has been asked once. */
static test_rig *pending_rig(void **state) {
  test_rig *rig = MODE_RIG(state, .linger_us = 0);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_poll_flush(rig->bw, NULL), -EAGAIN);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 1));
  return rig;
}

static void make_ready(test_rig *rig) { test_sink_always(&rig->sink, TEST_SINK_WRITE, INT64_MIN); }

/* ---- Called once ----------------------------------------------------------------------------- */

static void test_wakers__bw_wake_calls_a_waker_once(void **state) {
  test_rig *rig = pending_rig(state);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  assert_int_equal(atomic_load(&waker.calls), 0);
  make_ready(rig);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_true(test_waker_await(&waker, 1));
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&waker.calls), 1);
  test_rig_free(rig);
}

static void test_wakers__a_wake_from_another_thread_reaches_them_all(void **state) {
  enum { kWakers = 20 };
  test_rig *rig = pending_rig(state);
  test_waker wakers[kWakers];
  test_call call = {.bw = rig->bw};
  test_thread waking;
  for (int i = 0; i < kWakers; ++i) {
    wakers[i] = (test_waker){0};
    const bw_waker_t wake = test_waker_of(&wakers[i]);
    assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  }
  make_ready(rig);
  test_thread_start(&waking, test_call_wake, &call);
  for (int i = 0; i < kWakers; ++i) assert_true(test_waker_await(&wakers[i], 1));
  assert_int_equal(test_thread_join(&waking), 0);
  test_rig_free_writer(rig);
  for (int i = 0; i < kWakers; ++i) assert_int_equal(atomic_load(&wakers[i].calls), 1);
  test_rig_free(rig);
}

static void test_wakers__the_same_waker_is_not_added_twice(void **state) {
  test_rig *rig = pending_rig(state);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker), same = test_waker_of(&waker);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  assert_int_equal(bw_poll_flush(rig->bw, &same), -EAGAIN);
  assert_int_equal(bw_poll_sync(rig->bw, &wake), -EAGAIN);
  make_ready(rig);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_true(test_waker_await(&waker, 1));
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&waker.calls), 1);
  test_rig_free(rig);
}

static void test_wakers__a_waker_that_was_called_may_wait_again(void **state) {
  test_rig *rig = pending_rig(state);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  for (int round = 1; round <= 3; ++round) {
    assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
    assert_int_equal(bw_wake(rig->bw), 0); /* inline: calls them, whatever the sink will say */
    assert_true(test_waker_await(&waker, round));
  }
  make_ready(rig);
  assert_int_equal(bw_flush(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&waker.calls), 3);
  test_rig_free(rig);
}

static void test_wakers__they_may_be_null(void **state) {
  test_rig *rig = pending_rig(state);
  assert_int_equal(bw_poll_flush(rig->bw, NULL), -EAGAIN);
  assert_int_equal(bw_poll_sync(rig->bw, NULL), -EAGAIN);
  make_ready(rig);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  test_rig_free(rig);
}

static void test_wakers__a_poll_that_is_not_pending_never_calls_its_waker(void **state) {
  test_rig *rig = MODE_RIG(state, .linger_us = 0);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  assert_int_equal(bw_poll_write(rig->bw, "abc", 3, &wake), 3);
  assert_int_equal(bw_poll_append(rig->bw, "def", 3, &wake), 3);
  assert_int_equal(bw_unwake(rig->bw, &wake), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_wake(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&waker.calls), 0);
  test_rig_free(rig);
}

struct waking {
  test_rig *rig;
  atomic_int calls;
};

static void wake_in_the_first_write(void *arg, enum test_sink_kind kind) {
  struct waking *waking = arg;
  if (kind == TEST_SINK_WRITE && atomic_fetch_add(&waking->calls, 1) == 0) (void)bw_wake(waking->rig->bw);
}

static void test_wakers__a_wake_inside_the_sink_call_that_was_not_ready_is_not_lost(void **state) {
  test_rig *rig = MODE_RIG(state, .linger_us = 0);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  struct waking waking = {.rig = rig};
  rig->sink.hook_arg = &waking;
  rig->sink.hook = wake_in_the_first_write;
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  /* A background writer may have done it all before the poll looks. */
  if (bw_poll_flush(rig->bw, &wake) == -EAGAIN) {
    assert_true(test_waker_await(&waker, 1));
    assert_int_equal(bw_flush(rig->bw), 0);
  }
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  test_rig_free(rig);
}

static void test_wakers__free_calls_those_left_and_does_not_wait(void **state) {
  test_rig *rig = pending_rig(state);
  test_waker first = {0}, second = {0};
  const bw_waker_t wakes[2] = {test_waker_of(&first), test_waker_of(&second)};
  assert_int_equal(bw_poll_flush(rig->bw, &wakes[0]), -EAGAIN);
  assert_int_equal(bw_poll_close(rig->bw, &wakes[1]), -EAGAIN);
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&first.calls), 1);
  assert_int_equal(atomic_load(&second.calls), 1);
  test_rig_free(rig);
}

static void test_wakers__discard_and_set_sink_make_it_worth_polling_again(void **state) {
  for (int way = 0; way < 2; ++way) {
    test_rig *rig = pending_rig(state);
    test_sink other;
    const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
    test_waker waker = {0};
    const bw_waker_t wake = test_waker_of(&waker);
    test_sink_init(&other);
    assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
    if (way == 0) assert_int_equal(bw_discard(rig->bw), 3);
    else assert_int_equal(bw_set_sink(rig->bw, &ops, &other), 0);
    assert_true(test_waker_await(&waker, 1));
    make_ready(rig);
    assert_int_equal(bw_flush(rig->bw), 0);
    test_rig_free_writer(rig);
    assert_int_equal(atomic_load(&waker.calls), 1);
    assert_int_equal(other.length, way == 0 ? 0 : 3);
    test_sink_destroy(&other);
    test_rig_free(rig);
  }
}

/* ---- Taken back ------------------------------------------------------------------------------ */

static void test_wakers__one_taken_back_is_never_called(void **state) {
  test_rig *rig = pending_rig(state);
  test_waker kept = {0}, taken = {0};
  const bw_waker_t keep = test_waker_of(&kept), take = test_waker_of(&taken);
  assert_int_equal(bw_poll_flush(rig->bw, &keep), -EAGAIN);
  assert_int_equal(bw_poll_flush(rig->bw, &take), -EAGAIN);
  assert_int_equal(bw_unwake(rig->bw, &take), 1);
  assert_int_equal(bw_unwake(rig->bw, &take), 0);
  make_ready(rig);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_true(test_waker_await(&kept, 1));
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&taken.calls), 0);
  test_rig_free(rig);
}

static void test_wakers__a_stranger_is_not_taken_back(void **state) {
  test_rig *rig = pending_rig(state);
  test_waker waker = {0}, stranger = {0};
  const bw_waker_t wake = test_waker_of(&waker), strange = test_waker_of(&stranger);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  assert_int_equal(bw_unwake(rig->bw, &strange), 0);
  assert_int_equal(bw_unwake(rig->bw, NULL), -EINVAL);
  assert_int_equal(bw_unwake(NULL, &wake), -EINVAL);
  assert_int_equal(bw_unwake(rig->bw, &wake), 1);
  test_rig_free(rig);
}

static void test_wakers__the_waker_is_copied(void **state) {
  test_rig *rig = pending_rig(state);
  test_waker waker = {0};
  bw_waker_t wake = test_waker_of(&waker);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  memset(&wake, 0, sizeof wake);
  const bw_waker_t same = test_waker_of(&waker);
  assert_int_equal(bw_unwake(rig->bw, &same), 1);
  test_rig_free(rig);
  assert_int_equal(atomic_load(&waker.calls), 0);
}

static void pass_the_gate(void *gate) { test_gate_pass(gate); }

static void test_wakers__unwake_waits_for_a_running_call_of_it(void **state) {
  test_rig *rig = pending_rig(state);
  test_gate gate;
  test_waker waker = {.hook = pass_the_gate, .hook_arg = &gate};
  const bw_waker_t wake = test_waker_of(&waker);
  test_call call = {.bw = rig->bw, .wake = &wake};
  test_thread waking, taking;
  test_gate_init(&gate, 0);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  make_ready(rig);
  test_thread_start(&waking, test_call_wake, &call);
  assert_true(test_gate_await(&gate, 1)); /* it runs, on whatever thread */
  test_thread_start(&taking, test_call_unwake, &call);
  assert_false(test_thread_settle(&taking));
  test_gate_open(&gate);
  assert_int_equal(test_thread_join(&taking), 0);
  assert_int_equal(test_thread_join(&waking), 0);
  assert_int_equal(gate.waiting, 0);
  test_rig_free(rig);
  test_gate_destroy(&gate);
}

/* It is called, and waits again already, while it is taken back. */
static void test_wakers__unwake_of_one_that_waits_again_waits_for_its_running_call(void **state) {
  test_rig *rig = pending_rig(state);
  test_gate gate;
  test_waker waker = {.hook = pass_the_gate, .hook_arg = &gate};
  const bw_waker_t wake = test_waker_of(&waker);
  test_call call = {.bw = rig->bw, .wake = &wake};
  test_thread waking, taking;
  test_gate_init(&gate, 0);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  test_thread_start(&waking, test_call_wake, &call);
  assert_true(test_gate_await(&gate, 1)); /* it runs, on whatever thread */
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  test_thread_start(&taking, test_call_unwake, &call);
  assert_false(test_thread_settle(&taking));
  test_gate_open(&gate);
  assert_int_equal(test_thread_join(&taking), 1);
  assert_int_equal(test_thread_join(&waking), 0);
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&waker.calls), 1);
  test_rig_free(rig);
  test_gate_destroy(&gate);
}

struct polling_waker {
  test_gate gate;
  bw_t *bw;
  bw_waker_t wake;
  int polled;
};

static void poll_again(void *arg) {
  struct polling_waker *polling = arg;
  test_gate_pass(&polling->gate);
  polling->polled = bw_poll_flush(polling->bw, &polling->wake);
}

/* As an event loop does: the call itself polls again. */
static void test_wakers__unwake_takes_back_what_the_running_call_adds(void **state) {
  test_rig *rig = pending_rig(state);
  struct polling_waker polling = {.bw = rig->bw};
  test_waker waker = {.hook = poll_again, .hook_arg = &polling};
  polling.wake = test_waker_of(&waker);
  test_call call = {.bw = rig->bw, .wake = &polling.wake};
  test_thread waking, taking;
  test_gate_init(&polling.gate, 0);
  assert_int_equal(bw_poll_flush(rig->bw, &polling.wake), -EAGAIN);
  test_thread_start(&waking, test_call_wake, &call);
  assert_true(test_gate_await(&polling.gate, 1));
  test_thread_start(&taking, test_call_unwake, &call);
  assert_false(test_thread_settle(&taking));
  test_gate_open(&polling.gate);
  assert_int_equal(test_thread_join(&taking), 1);
  assert_int_equal(test_thread_join(&waking), 0);
  assert_int_equal(polling.polled, -EAGAIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&waker.calls), 1);
  test_rig_free(rig);
  test_gate_destroy(&polling.gate);
}

struct own_waker {
  bw_t *bw;
  bw_waker_t wake;
  atomic_int answer; /* of bw_unwake, inside the waker */
};

static void unwake_myself(void *arg) {
  struct own_waker *own = arg;
  atomic_store(&own->answer, bw_unwake(own->bw, &own->wake));
}

static void test_wakers__a_waker_may_take_itself_back_and_does_not_wait_for_itself(void **state) {
  test_rig *rig = pending_rig(state);
  struct own_waker own = {.bw = rig->bw};
  test_waker waker = {.hook = unwake_myself, .hook_arg = &own};
  own.wake = test_waker_of(&waker);
  atomic_init(&own.answer, -1);
  assert_int_equal(bw_poll_flush(rig->bw, &own.wake), -EAGAIN);
  make_ready(rig);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_true(test_waker_await(&waker, 1));
  assert_true(test_await_at_least(&own.answer, 0));
  assert_int_equal(atomic_load(&own.answer), 0);
  test_rig_free(rig);
}

/* ---- Inside a waker -------------------------------------------------------------------------- */

struct calling {
  test_rig *rig;
  atomic_int done;
  int64_t flush, wait, write, position, poll, unwake;
  test_waker next;
};

static void call_the_writer(void *arg) {
  struct calling *calling = arg;
  bw_t *bw = calling->rig->bw;
  const bw_waker_t next = test_waker_of(&calling->next);
  static const char text[100] = "too much to fit";
  calling->write = bw_write(bw, text, sizeof text);
  calling->flush = bw_flush(bw);
  calling->wait = bw_wait(bw, 1000, BW_WRITTEN, -1);
  calling->position = bw_position(bw, BW_ACCEPTED);
  calling->poll = bw_poll_flush(bw, &next);
  calling->unwake = bw_unwake(bw, &next);
  atomic_store(&calling->done, 1);
}

static void test_wakers__in_them_the_writer_may_be_called_and_nothing_waits(void **state) {
  test_rig *rig = MODE_RIG(state, .linger_us = 0);
  struct calling calling = {.rig = rig};
  test_waker waker = {.hook = call_the_writer, .hook_arg = &calling};
  const bw_waker_t wake = test_waker_of(&waker);
  char data[kRoom];
  test_pattern(data, sizeof data, 1);
  /* Full, with the first buffer in the sink; once that is through, the sink is not ready any more. */
  test_sink_hold(&rig->sink);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, kCapacity);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, data, kRoom), kRoom);
  assert_true(test_sink_await_inside(&rig->sink));
  assert_int_equal(bw_poll_write(rig->bw, "x", 1, &wake), -EAGAIN);
  test_sink_release(&rig->sink);
  assert_true(test_await_at_least(&calling.done, 1));
  assert_true(calling.write == -EAGAIN || (calling.write > 0 && calling.write <= kCapacity));
  assert_int_equal(calling.flush, -EAGAIN);
  assert_int_equal(calling.wait, -EAGAIN);
  assert_int_equal(calling.position, kRoom + (calling.write > 0 ? calling.write : 0));
  assert_int_equal(calling.poll, -EAGAIN);
  make_ready(rig);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(rig->sink.length, calling.position);
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&calling.next.calls), calling.unwake == 1 ? 0 : 1);
  test_rig_free(rig);
}

struct repairing {
  test_rig *rig;
  atomic_int done;
  int64_t unwritten, discard, set_sink;
};

static void repair_inside(void *arg) {
  struct repairing *repairing = arg;
  const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
  repairing->unwritten = bw_unwritten(repairing->rig->bw, NULL, NULL);
  repairing->discard = bw_discard(repairing->rig->bw);
  repairing->set_sink = bw_set_sink(repairing->rig->bw, &ops, &repairing->rig->other);
  atomic_store(&repairing->done, 1);
}

/* Elsewhere these wait for a call of the sink that is running. */
static void test_wakers__in_them_repairs_do_not_wait_for_the_sink(void **state) {
  test_rig *rig = MODE_RIG(state, .linger_us = 0);
  struct repairing repairing = {.rig = rig};
  test_waker waker = {.hook = repair_inside, .hook_arg = &repairing};
  const bw_waker_t wake = test_waker_of(&waker);
  test_call call = {.bw = rig->bw};
  test_thread flushing;
  char byte;
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_READ, -EAGAIN);
  assert_int_equal(bw_poll_read(rig->bw, &byte, 1, &wake), -EAGAIN);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  test_sink_hold(&rig->sink);
  test_thread_start(&flushing, test_call_flush, &call);
  assert_true(test_sink_await_inside(&rig->sink));
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_true(test_await_at_least(&repairing.done, 1));
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_int_equal(repairing.unwritten, -EAGAIN);
  assert_int_equal(repairing.discard, -EAGAIN);
  assert_int_equal(repairing.set_sink, -EAGAIN);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  test_rig_free(rig);
}

struct flushing {
  bw_t *bw;
  atomic_int done;
  int code;
};

static void flush_inside(void *arg) {
  struct flushing *flushing = arg;
  flushing->code = bw_poll_flush(flushing->bw, NULL);
  atomic_store(&flushing->done, 1);
}

static void test_wakers__an_inline_waker_may_do_the_work_itself(void **state) {
  test_rig *rig = pending_rig(state);
  struct flushing flushing = {.bw = rig->bw};
  test_waker waker = {.hook = flush_inside, .hook_arg = &flushing};
  const bw_waker_t wake = test_waker_of(&waker);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  make_ready(rig);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_true(test_await_at_least(&flushing.done, 1));
  assert_int_equal(flushing.code, 0);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  test_rig_free(rig);
}

/* ---- Many threads ---------------------------------------------------------------------------- */

enum { kThreads = 8 };

struct polling {
  bw_t *bw;
  const test_records *records;
  unsigned thread;
  int64_t *positions; /* of this thread's records */
};

/* After a poll that gave -EAGAIN, the `expected`th of this waker: takes it back or waits for it. False: it was not
 * called, or too often. */
static bool wait_or_take_back(bw_t *bw, test_waker *waker, const bw_waker_t *wake, bool take_back, int *expected) {
  if (take_back) {
    const int taken = bw_unwake(bw, wake);
    if (taken == 1) --*expected;
    else if (taken != 0) return false;
    /* 0: it was called, and that call has returned. */
  } else if (!test_waker_await(waker, *expected)) {
    return false;
  }
  return atomic_load(&waker->calls) == *expected;
}

/* Writes one thread's records by polls only. 0 or a code; -EPROTO: a waker was not called exactly once. */
static int64_t poll_records(void *arg) {
  const struct polling *polling = arg;
  char *record = malloc(polling->records->longest + 8);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  uint64_t random = polling->thread + 1;
  int expected = 0;
  int64_t wrong = 0;
  for (unsigned number = 0; number < polling->records->each && !wrong;) {
    const size_t length = test_record_make(polling->records, polling->thread, number, record);
    const bool flush = test_random(&random) % 8 == 0;
    const int64_t code =
        flush ? bw_poll_flush(polling->bw, &wake) : bw_poll_append(polling->bw, record, length, &wake);
    if (code == -EAGAIN) {
      ++expected;
      if (!wait_or_take_back(polling->bw, &waker, &wake, test_random(&random) % 4 == 0, &expected)) wrong = -EPROTO;
    } else if (code < 0) {
      wrong = code;
    } else if (!flush) {
      polling->positions[number++] = code;
    }
  }
  if (bw_unwake(polling->bw, &wake) != 0 && !wrong) wrong = -EPROTO;
  free(record);
  return wrong;
}

struct helping {
  bw_t *bw;
  atomic_bool over;
};

static int64_t wake_until_over(void *arg) {
  struct helping *helping = arg;
  while (!atomic_load(&helping->over)) {
    (void)bw_wake(helping->bw);
    test_pause();
  }
  return 0;
}

static void test_wakers__eight_polling_threads_are_each_woken_exactly_once(void **state) {
  test_rig *rig = MODE_RIG(state, .linger_us = 0);
  const test_records records = {.threads = kThreads, .each = 250, .longest = kRoom, .seed = 9};
  int64_t *positions = malloc(sizeof *positions * kThreads * records.each);
  struct polling polling[kThreads];
  test_thread threads[kThreads], helper;
  struct helping helping = {.bw = rig->bw};
  uint64_t random = 5;
  for (int i = 0; i < 4000; ++i) {
    const uint64_t shape = test_random(&random) % 10;
    TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE,
                     shape == 0 ? -EAGAIN : shape == 1 ? -EINTR : (int64_t)(test_random(&random) % 40) + 1);
  }
  test_thread_start(&helper, wake_until_over, &helping);
  for (unsigned i = 0; i < kThreads; ++i) {
    polling[i] = (struct polling){rig->bw, &records, i, positions + (size_t)i * records.each};
    test_thread_start(&threads[i], poll_records, &polling[i]);
  }
  for (unsigned i = 0; i < kThreads; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
  assert_int_equal(bw_wait(rig->bw, bw_tell(rig->bw), BW_WRITTEN, -1), 0);
  atomic_store(&helping.over, true);
  assert_int_equal(test_thread_join(&helper), 0);
  size_t length;
  char *bytes = test_sink_bytes(&rig->sink, &length);
  assert_true(test_records_check(&records, bytes, length, positions));
  free(bytes);
  free(positions);
  test_rig_free(rig);
}

/* Polls of eight threads, all pending at once; then one bw_free. */
static void test_wakers__free_calls_those_of_many_threads_once_each(void **state) {
  enum { kWakers = 64 };
  test_rig *rig = pending_rig(state);
  static test_waker wakers[kWakers];
  for (int i = 0; i < kWakers; ++i) {
    wakers[i] = (test_waker){0};
    const bw_waker_t wake = test_waker_of(&wakers[i]);
    assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  }
  test_rig_free_writer(rig);
  for (int i = 0; i < kWakers; ++i) assert_int_equal(atomic_load(&wakers[i].calls), 1);
  test_rig_free(rig);
}

#define IN(mode, test) {#test " (" #mode ")", test, NULL, NULL, (void *)&k##mode}
#define IN_SHARED(test) IN(Inline, test), IN(Background, test)
#define IN_ALL(test) IN_SHARED(test), IN(InlineUnshared, test), IN(BackgroundUnshared, test)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_ALL(test_wakers__bw_wake_calls_a_waker_once),
      IN_ALL(test_wakers__a_wake_from_another_thread_reaches_them_all),
      IN_ALL(test_wakers__the_same_waker_is_not_added_twice),
      IN(Inline, test_wakers__a_waker_that_was_called_may_wait_again),
      IN(InlineUnshared, test_wakers__a_waker_that_was_called_may_wait_again),
      IN_ALL(test_wakers__they_may_be_null),
      IN_ALL(test_wakers__a_poll_that_is_not_pending_never_calls_its_waker),
      IN_ALL(test_wakers__a_wake_inside_the_sink_call_that_was_not_ready_is_not_lost),
      IN_ALL(test_wakers__free_calls_those_left_and_does_not_wait),
      IN_ALL(test_wakers__discard_and_set_sink_make_it_worth_polling_again),
      IN_ALL(test_wakers__one_taken_back_is_never_called),
      IN_ALL(test_wakers__a_stranger_is_not_taken_back),
      IN_ALL(test_wakers__the_waker_is_copied),
      IN_SHARED(test_wakers__unwake_waits_for_a_running_call_of_it),
      IN(Inline, test_wakers__unwake_of_one_that_waits_again_waits_for_its_running_call),
      IN(Inline, test_wakers__unwake_takes_back_what_the_running_call_adds),
      IN_SHARED(test_wakers__a_waker_may_take_itself_back_and_does_not_wait_for_itself),
      IN(Background, test_wakers__in_them_the_writer_may_be_called_and_nothing_waits),
      IN_SHARED(test_wakers__in_them_repairs_do_not_wait_for_the_sink),
      IN(Inline, test_wakers__an_inline_waker_may_do_the_work_itself),
      IN(InlineUnshared, test_wakers__an_inline_waker_may_do_the_work_itself),
      IN_SHARED(test_wakers__eight_polling_threads_are_each_woken_exactly_once),
      IN_ALL(test_wakers__free_calls_those_of_many_threads_once_each),
  };
  return cmocka_run_group_tests_name("wakers", tests, NULL, NULL);
}
