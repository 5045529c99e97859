/*
 * The four phases of a batcher: ready, start_send, flush, close; and their wakers.
 */
#include "../support/batch_rig.h"

/* Two batches of one item, all buffers there are, over a sink that is not ready. */
static batch_rig *stuck_rig(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 2);
  batch_rig_always(rig, BATCH_OFFER, -EAGAIN);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  return rig;
}

/* The same over a sink that takes batches and answers later. */
static batch_rig *taken_rig(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 2);
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_non_null(batch_rig_taken(rig, 0));
  return rig;
}

static int poll_ready(batch_rig *rig, int waker) {
  const bw_waker_t wake = batch_rig_waker(rig, waker);
  return bw_batch_poll_ready(rig->batch, &wake);
}

static int poll_flush(batch_rig *rig, int waker) {
  const bw_waker_t wake = batch_rig_waker(rig, waker);
  return bw_batch_poll_flush(rig->batch, &wake);
}

static int poll_close(batch_rig *rig, int waker) {
  const bw_waker_t wake = batch_rig_waker(rig, waker);
  return bw_batch_poll_close(rig->batch, &wake);
}

static int unwake(batch_rig *rig, int waker) {
  const bw_waker_t wake = batch_rig_waker(rig, waker);
  return bw_batch_unwake(rig->batch, &wake);
}

static bool await_woken(batch_rig *rig, int waker, int calls) {
  return test_waker_await(&rig->wakers[waker].waker, calls);
}

/* The sink takes all from now on, and the batcher knows. */
static void make_ready(batch_rig *rig) {
  batch_rig_always(rig, BATCH_OFFER, 0);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
}

/* Answers all that is and will be taken, batches of one item, until `items` are settled. */
static void answer_all(batch_rig *rig, size_t items) {
  for (size_t settled = batch_rig_settled(rig); settled < items; ++settled) {
    (void)bw_batch_poll_flush(rig->batch, NULL); /* inline it is this that offers the next */
    assert_int_equal(batch_rig_answer(rig, 0), 0);
    assert_true(batch_rig_await_settled(rig, settled + 1));
  }
}

/* ---- The phases ------------------------------------------------------------------------------ */

static void test_batch_poll__ready_start_flush_close(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2, .buffers = 2);
  for (int i = 0; i < 5; ++i) {
    assert_int_equal(batch_rig_until(rig, bw_batch_poll_ready), 0);
    assert_int_equal(batch_rig_start_send(rig, "x"), 0);
  }
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
  assert_sink_calls(rig, "(x,x) (x,x) (x) flush");
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_close), 0);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  assert_delivered(rig, "x,x,x,x,x:ok");
  batch_rig_free(rig);
}

static void test_batch_poll__a_sink_ready_every_second_time_gets_everything_once(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2, .buffers = 2);
  const bw_waker_t wake = batch_rig_waker(rig, 0);
  for (int i = 0; i < 32; ++i) BATCH_SCRIPT(rig, BATCH_OFFER, -EAGAIN, 0);
  BATCH_SCRIPT(rig, BATCH_FLUSH, -EAGAIN, 0);
  for (int i = 0; i < 9; ++i) {
    char text[2] = {(char)('1' + i), 0};
    while (bw_batch_poll_ready(rig->batch, &wake) == -EAGAIN) assert_int_equal(bw_batch_wake(rig->batch), 0);
    assert_int_equal(batch_rig_start_send(rig, text), 0);
  }
  while (bw_batch_poll_flush(rig->batch, &wake) == -EAGAIN) assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_delivered(rig, "1,2,3,4,5,6,7,8,9:ok");
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 10);
  assert_int_equal(batch_rig_count(rig, BATCH_FLUSH), 2);
  const bw_batch_stats_t stats = batch_rig_stats(rig);
  assert_int_equal(stats.retries, 0);
  assert_int_equal(stats.total_batches, 5);
  batch_rig_free(rig);
}

static void test_batch_poll__ready_is_0_while_there_is_room(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2, .buffers = 1);
  assert_int_equal(poll_ready(rig, 0), 0);
  assert_int_equal(poll_ready(rig, 0), 0);
  assert_int_equal(batch_rig_start_send(rig, "1"), 0);
  assert_int_equal(poll_ready(rig, 0), 0);
  assert_int_equal(unwake(rig, 0), 0);
  batch_rig_free_batch(rig);
  assert_int_equal(batch_rig_woken(rig, 0), 0);
  batch_rig_free(rig);
}

static void test_batch_poll__a_full_one_is_not_ready_and_takes_nothing(void **state) {
  batch_rig *rig = stuck_rig(state);
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  assert_int_equal(batch_rig_start_send(rig, "3"), -EAGAIN);
  assert_int_equal(bw_batch_buffered(rig->batch), 2);
  make_ready(rig);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_ready), 0);
  assert_int_equal(batch_rig_start_send(rig, "3"), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
  assert_delivered(rig, "1,2,3:ok");
  batch_rig_free(rig);
}

static void test_batch_poll__ready_reserves_nothing(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 1);
  batch_rig_always(rig, BATCH_OFFER, -EAGAIN);
  assert_int_equal(poll_ready(rig, 0), 0);
  assert_int_equal(poll_ready(rig, 1), 0);
  assert_int_equal(batch_rig_start_send(rig, "1"), 0);
  assert_int_equal(batch_rig_start_send(rig, "2"), -EAGAIN);
  make_ready(rig);
  batch_rig_free(rig);
}

static void test_batch_poll__a_start_send_that_does_not_fit_seals(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_bytes = 4, .buffers = 2);
  assert_int_equal(batch_rig_start_send(rig, "abc"), 0);
  assert_int_equal(batch_rig_start_send(rig, "de"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  assert_offers(rig, "(abc)");
  batch_rig_free(rig);
}

static void test_batch_poll__a_start_send_that_finds_no_room_seals_too(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_bytes = 4, .buffers = 1);
  batch_rig_always(rig, BATCH_OFFER, -EAGAIN);
  assert_int_equal(batch_rig_start_send(rig, "abc"), 0);
  assert_int_equal(batch_rig_start_send(rig, "de"), -EAGAIN);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  assert_offers(rig, "(abc)");
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  make_ready(rig);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_ready), 0);
  assert_int_equal(batch_rig_start_send(rig, "de"), 0);
  batch_rig_free(rig);
}

static void test_batch_poll__inline_a_poll_calls_the_sink_itself(void **state) {
  batch_rig *rig = stuck_rig(state);
  assert_int_equal(poll_flush(rig, 0), -EAGAIN);
  make_ready(rig);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1); /* bw_batch_wake never calls the sink */
  assert_int_equal(batch_rig_woken(rig, 0), 1);
  assert_int_equal(poll_flush(rig, 0), 0);
  assert_offers(rig, "(1) (1) (2)");
  assert_true(pthread_equal(batch_rig_get(rig, BATCH_OFFER, 2).thread, pthread_self()));
  batch_rig_free(rig);
}

static void test_batch_poll__inline_a_poll_ready_that_finds_no_room_offers(void **state) {
  batch_rig *rig = stuck_rig(state);
  make_ready(rig);
  assert_int_equal(poll_ready(rig, 0), 0);
  assert_delivered(rig, "1,2:ok");
  batch_rig_free(rig);
}

static void test_batch_poll__a_sink_that_is_not_ready_is_not_asked_by_polls(void **state) {
  batch_rig *rig = stuck_rig(state);
  for (int i = 0; i < 10; ++i) {
    assert_int_equal(poll_ready(rig, 0), -EAGAIN);
    assert_int_equal(poll_flush(rig, 0), -EAGAIN);
  }
  assert_int_equal(bw_batch_flush_for(rig->batch, 1000), -ETIMEDOUT);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  make_ready(rig);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(1) (1) (2)");
  batch_rig_free(rig);
}

static void test_batch_poll__flush_is_pending_until_answers_have_come(void **state) {
  batch_rig *rig = taken_rig(state);
  assert_int_equal(poll_flush(rig, 0), -EAGAIN);
  assert_int_equal(batch_rig_count(rig, BATCH_FLUSH), 0);
  answer_all(rig, 2);
  assert_true(await_woken(rig, 0, 1));
  batch_rig_always(rig, BATCH_OFFER, 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
  assert_delivered(rig, "1,2:ok");
  batch_rig_free(rig);
}

static void test_batch_poll__flush_asks_a_sinks_flush_that_is_not_ready_after_a_wake(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  BATCH_SCRIPT(rig, BATCH_FLUSH, -EAGAIN, -EAGAIN, 0);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  for (size_t asked = 1; asked <= 2; ++asked) {
    int code;
    while ((code = poll_flush(rig, 0)) == -EAGAIN && batch_rig_count(rig, BATCH_FLUSH) < asked) test_pause();
    assert_int_equal(code, -EAGAIN);
    assert_int_equal(poll_flush(rig, 0), -EAGAIN);
    assert_int_equal(batch_rig_count(rig, BATCH_FLUSH), asked);
    assert_int_equal(bw_batch_wake(rig->batch), 0);
  }
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
  assert_sink_calls(rig, "(1) flush flush flush");
  batch_rig_free(rig);
}

static void test_batch_poll__flush_gives_the_code_of_the_sinks_flush(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  BATCH_SCRIPT(rig, BATCH_FLUSH, -EIO);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), -EIO);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
  batch_rig_free(rig);
}

static void test_batch_poll__polls_do_not_wait_for_a_flush_of_the_sink_that_runs(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  batch_call call = {.rig = rig};
  test_thread flushing;
  batch_rig_gate(rig, BATCH_KIND(BATCH_FLUSH));
  test_thread_start(&flushing, batch_call_flush, &call);
  assert_true(test_gate_await(&rig->gate, 1));
  assert_int_equal(poll_flush(rig, 0), -EAGAIN);
  assert_int_equal(poll_close(rig, 1), -EAGAIN);
  assert_int_equal(batch_rig_count(rig, BATCH_FLUSH), 1);
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_true(await_woken(rig, 0, 1));
  assert_true(await_woken(rig, 1, 1));
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_close), 0);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

/* Whoever of them closes it, all hear that it is closed. */
static void test_batch_poll__several_closes_at_once_close_once(void **state) {
  enum { kClosing = 4 };
  for (int round = 0; round < 20; ++round) {
    batch_rig *rig = BATCH_RIG(state, .max_items = 2);
    batch_call call = {.rig = rig};
    test_thread closing[kClosing];
    batch_rig_gate(rig, BATCH_KIND(BATCH_FLUSH));
    assert_int_equal(batch_rig_send(rig, "1"), 0);
    for (int i = 0; i < kClosing; ++i) test_thread_start(&closing[i], batch_call_close, &call);
    assert_true(test_gate_await(&rig->gate, 1));
    test_gate_open(&rig->gate);
    for (int i = 0; i < kClosing; ++i) assert_int_equal(test_thread_join(&closing[i]), 0);
    assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
    assert_delivered(rig, "1:ok");
    batch_rig_free(rig);
  }
}

static void close_in_write(batch_rig *rig, enum batch_kind kind) {
  if (kind == BATCH_OFFER) (void)bw_batch_poll_close(rig->batch, NULL);
}

static void test_batch_poll__ready_finds_a_close_that_came_while_it_offered(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 1);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EAGAIN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  rig->hook = close_in_write;
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(poll_ready(rig, 0), -ESHUTDOWN);
  assert_offers(rig, "(1) (1)");
  assert_int_equal(batch_rig_woken(rig, 0), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_close), 0);
  assert_delivered(rig, "1:ok");
  batch_rig_free(rig);
}

static void test_batch_poll__close_refuses_items_from_its_start(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 2);
  BATCH_SCRIPT(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_non_null(batch_rig_taken(rig, 0));
  assert_int_equal(poll_close(rig, 0), -EAGAIN);
  assert_int_equal(batch_rig_send(rig, "2"), -ESHUTDOWN);
  assert_int_equal(batch_rig_start_send(rig, "2"), -ESHUTDOWN);
  assert_int_equal(poll_ready(rig, 1), -ESHUTDOWN);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 0);
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_true(await_woken(rig, 0, 1));
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_close), 0);
  assert_int_equal(poll_close(rig, 0), 0);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

static void test_batch_poll__close_gives_the_code_of_the_sinks_close(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  BATCH_SCRIPT(rig, BATCH_CLOSE, -ENOSPC);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_close), -ENOSPC);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_close), 0);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

static void test_batch_poll__EAGAIN_as_a_result_of_close_calls_the_waker(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  BATCH_SCRIPT(rig, BATCH_CLOSE, -EAGAIN);
  assert_int_equal(poll_close(rig, 0), -EAGAIN);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  assert_true(await_woken(rig, 0, 1));
  assert_int_equal(poll_close(rig, 0), 0);
  batch_rig_free(rig);
}

static void test_batch_poll__EAGAIN_as_a_result_of_flush_calls_the_waker(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EAGAIN - BW_FINAL);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_delivered(rig, "1:EAGAIN");
  assert_int_equal(poll_flush(rig, 0), -EAGAIN);
  assert_true(await_woken(rig, 0, 1));
  assert_int_equal(poll_flush(rig, 0), 0);
  batch_rig_free(rig);
}

/* ---- Wakers ---------------------------------------------------------------------------------- */

static void test_batch_poll__a_waker_is_called_exactly_once(void **state) {
  batch_rig *rig = stuck_rig(state);
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  assert_int_equal(batch_rig_woken(rig, 0), 0);
  make_ready(rig);
  assert_true(await_woken(rig, 0, 1));
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  batch_rig_free_batch(rig);
  assert_int_equal(batch_rig_woken(rig, 0), 1);
  batch_rig_free(rig);
}

static void test_batch_poll__the_same_waker_is_not_added_twice(void **state) {
  batch_rig *rig = stuck_rig(state);
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  make_ready(rig);
  assert_true(await_woken(rig, 0, 1));
  batch_rig_free_batch(rig);
  assert_int_equal(batch_rig_woken(rig, 0), 1);
  batch_rig_free(rig);
}

static void test_batch_poll__wakers_that_differ_are_all_called(void **state) {
  batch_rig *rig = stuck_rig(state);
  for (int i = 0; i < BATCH_WAKERS; ++i)
    assert_int_equal(i % 2 ? poll_ready(rig, i) : poll_flush(rig, i), -EAGAIN);
  make_ready(rig);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  for (int i = 0; i < BATCH_WAKERS; ++i) assert_true(await_woken(rig, i, 1));
  batch_rig_free_batch(rig);
  for (int i = 0; i < BATCH_WAKERS; ++i) assert_int_equal(batch_rig_woken(rig, i), 1);
  batch_rig_free(rig);
}

static void test_batch_poll__a_waker_called_may_wait_again(void **state) {
  batch_rig *rig = taken_rig(state);
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_true(await_woken(rig, 0, 1));
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_ready), 0);
  assert_int_equal(batch_rig_start_send(rig, "3"), 0);
  const int calls = batch_rig_woken(rig, 0);
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_true(await_woken(rig, 0, calls + 1));
  answer_all(rig, 3);
  batch_rig_free(rig);
}

static void test_batch_poll__no_waker_is_fine(void **state) {
  batch_rig *rig = stuck_rig(state);
  assert_int_equal(bw_batch_poll_ready(rig->batch, NULL), -EAGAIN);
  assert_int_equal(bw_batch_poll_flush(rig->batch, NULL), -EAGAIN);
  assert_int_equal(bw_batch_poll_close(rig->batch, NULL), -EAGAIN);
  make_ready(rig);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  batch_rig_free(rig);
}

static void test_batch_poll__a_poll_that_is_not_pending_keeps_no_waker(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 5);
  assert_int_equal(poll_ready(rig, 0), 0);
  assert_int_equal(batch_rig_start_send(rig, "1"), 0);
  assert_int_equal(poll_ready(rig, 0), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
  const int calls = batch_rig_woken(rig, 0);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(unwake(rig, 0), 0);
  batch_rig_free_batch(rig);
  assert_int_equal(batch_rig_woken(rig, 0), calls);
  batch_rig_free(rig);
}

static void test_batch_poll__a_waker_taken_back_is_never_called(void **state) {
  batch_rig *rig = stuck_rig(state);
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  assert_int_equal(poll_flush(rig, 1), -EAGAIN);
  assert_int_equal(unwake(rig, 0), 1);
  assert_int_equal(unwake(rig, 0), 0);
  assert_int_equal(unwake(rig, 2), 0);
  assert_int_equal(bw_batch_unwake(rig->batch, NULL), -EINVAL);
  make_ready(rig);
  assert_true(await_woken(rig, 1, 1));
  batch_rig_free_batch(rig);
  assert_int_equal(batch_rig_woken(rig, 0), 0);
  assert_int_equal(batch_rig_woken(rig, 1), 1);
  batch_rig_free(rig);
}

static void test_batch_poll__a_waker_already_called_cannot_be_taken_back(void **state) {
  batch_rig *rig = stuck_rig(state);
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  make_ready(rig);
  assert_true(await_woken(rig, 0, 1));
  assert_int_equal(unwake(rig, 0), 0);
  batch_rig_free(rig);
}

static void test_batch_poll__unwake_waits_for_a_running_call_of_it(void **state) {
  batch_rig *rig = taken_rig(state);
  batch_call call = {.rig = rig};
  test_thread answering, taking;
  batch_rig_gate(rig, BATCH_KIND(BATCH_WAKE));
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  test_thread_start(&answering, batch_call_answer, &call);
  assert_true(test_gate_await(&rig->gate, 1)); /* it runs, on whatever thread */
  test_thread_start(&taking, batch_call_unwake, &call);
  assert_false(test_thread_settle(&taking));
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&taking), 0);
  assert_int_equal(test_thread_join(&answering), 0);
  answer_all(rig, 2);
  batch_rig_free(rig);
}

/* It is called, and waits again already, while it is taken back. */
static void test_batch_poll__unwake_of_one_that_waits_again_waits_for_its_running_call(void **state) {
  batch_rig *rig = taken_rig(state);
  batch_call call = {.rig = rig};
  test_thread answering, taking;
  batch_rig_gate(rig, BATCH_KIND(BATCH_WAKE));
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  test_thread_start(&answering, batch_call_answer, &call);
  assert_true(test_gate_await(&rig->gate, 1));
  assert_int_equal(poll_flush(rig, 0), -EAGAIN);
  test_thread_start(&taking, batch_call_unwake, &call);
  assert_false(test_thread_settle(&taking));
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&taking), 1);
  assert_int_equal(test_thread_join(&answering), 0);
  answer_all(rig, 2);
  batch_rig_free(rig);
}

static void test_batch_poll__wakers_come_after_the_delivered_that_made_their_room(void **state) {
  batch_rig *rig = taken_rig(state);
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_true(await_woken(rig, 0, 1));
  assert_string_equal(batch_rig_trace(rig, BATCH_KIND(BATCH_DELIVERED) | BATCH_KIND(BATCH_WAKE)), "1:ok wake0");
  answer_all(rig, 2);
  batch_rig_free(rig);
}

static void test_batch_poll__room_is_told_of_while_the_next_write_runs(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 2);
  batch_call call = {.rig = rig, .items = "1"};
  test_thread sending;
  batch_rig_gate(rig, BATCH_KIND(BATCH_OFFER));
  test_thread_start(&sending, batch_call_send, &call);
  assert_true(test_gate_await(&rig->gate, 1));
  assert_int_equal(batch_rig_start_send(rig, "2"), 0);
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  test_gate_let(&rig->gate, 1);
  assert_true(test_gate_await(&rig->gate, 2));
  const bool told = batch_rig_await_settled(rig, 1), woken = await_woken(rig, 0, 1);
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&sending), 0);
  assert_true(told);
  assert_true(woken);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2:ok");
  batch_rig_free(rig);
}

static void test_batch_poll__a_discard_makes_room_and_wakes(void **state) {
  batch_rig *rig = taken_rig(state);
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  assert_int_equal(bw_batch_discard(rig->batch), 1);
  assert_true(await_woken(rig, 0, 1));
  assert_string_equal(batch_rig_trace(rig, BATCH_KIND(BATCH_DELIVERED) | BATCH_KIND(BATCH_WAKE)), "2:ECANCELED wake0");
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_ready), 0);
  answer_all(rig, 2);
  batch_rig_free(rig);
}

static void test_batch_poll__free_calls_the_wakers_left(void **state) {
  batch_rig *rig = stuck_rig(state);
  assert_int_equal(poll_ready(rig, 0), -EAGAIN);
  assert_int_equal(poll_flush(rig, 1), -EAGAIN);
  assert_int_equal(poll_close(rig, 2), -EAGAIN);
  batch_rig_free_batch(rig);
  for (int i = 0; i < 3; ++i) assert_int_equal(batch_rig_woken(rig, i), 1);
  assert_delivered(rig, "1,2:EAGAIN");
  batch_rig_free(rig);
}

static void wake_in_write(batch_rig *rig, enum batch_kind kind) {
  if (kind == BATCH_OFFER) (void)bw_batch_wake(rig->batch);
}

static void test_batch_poll__a_wake_during_write_is_not_lost(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1);
  rig->hook = wake_in_write;
  BATCH_SCRIPT(rig, BATCH_OFFER, -EAGAIN, -EAGAIN, 0);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(1) (1) (1)");
  assert_string_equal(batch_rig_names(rig), "1/1/1/1 1/1/1/1 1/1/1/1");
  batch_rig_free(rig);
}

static void wake_in_flush(batch_rig *rig, enum batch_kind kind) {
  if (kind == BATCH_FLUSH) (void)bw_batch_wake(rig->batch);
}

static void test_batch_poll__interrupted_after_a_wake_it_is_offered_again_at_once(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EAGAIN, -EINTR);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
  assert_offers(rig, "(1) (1) (1)");
  batch_rig_free(rig);
}

static void test_batch_poll__a_wake_during_the_sinks_flush_is_not_lost(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1);
  rig->hook = wake_in_flush;
  BATCH_SCRIPT(rig, BATCH_FLUSH, -EAGAIN, -EAGAIN, 0);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_sink_calls(rig, "(1) flush flush flush");
  batch_rig_free(rig);
}

static void test_batch_poll__a_wake_before_write_counts_for_nothing(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EAGAIN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  assert_int_equal(poll_flush(rig, 0), -EAGAIN);
  assert_int_equal(batch_rig_woken(rig, 0), 0);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
  assert_offers(rig, "(1) (1)");
  batch_rig_free(rig);
}

/* ---- Blocking calls over a sink that is not ready -------------------------------------------- */

static void test_batch_poll__a_blocking_flush_waits_for_the_wake(void **state) {
  batch_rig *rig = stuck_rig(state);
  batch_call call = {.rig = rig};
  test_thread flushing;
  test_thread_start(&flushing, batch_call_flush, &call);
  assert_false(test_thread_settle(&flushing));
  make_ready(rig);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_offers(rig, "(1) (1) (2)");
  batch_rig_free(rig);
}

static void test_batch_poll__a_second_flush_waits_for_the_wake_that_the_first_one_needs(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1);
  batch_call call = {.rig = rig};
  test_thread flushing[2];
  BATCH_SCRIPT(rig, BATCH_FLUSH, -EAGAIN);
  batch_rig_gate(rig, BATCH_KIND(BATCH_FLUSH));
  test_thread_start(&flushing[0], batch_call_flush, &call);
  assert_true(test_gate_await(&rig->gate, 1));
  test_thread_start(&flushing[1], batch_call_flush, &call);
  assert_false(test_thread_settle(&flushing[1]));
  test_gate_open(&rig->gate);
  const bool both_wait = !test_thread_settle(&flushing[0]) && !test_thread_settle(&flushing[1]);
  const size_t calls = batch_rig_count(rig, BATCH_FLUSH);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  for (int i = 0; i < 2; ++i) assert_int_equal(test_thread_join(&flushing[i]), 0);
  assert_true(both_wait);
  assert_int_equal(calls, 1);
  batch_rig_free(rig);
}

static void test_batch_poll__a_waiting_send_goes_on_after_the_wake(void **state) {
  batch_rig *rig = stuck_rig(state);
  batch_call call = {.rig = rig, .items = "3"};
  test_thread sending;
  test_thread_start(&sending, batch_call_send, &call);
  assert_false(test_thread_settle(&sending));
  make_ready(rig);
  assert_int_equal(test_thread_join(&sending), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2,3:ok");
  batch_rig_free(rig);
}

static void test_batch_poll__calls_with_time_give_ETIMEDOUT_and_may_be_made_again(void **state) {
  batch_rig *rig = stuck_rig(state);
  assert_int_equal(bw_batch_flush_for(rig->batch, 0), -ETIMEDOUT);
  assert_int_equal(bw_batch_flush_for(rig->batch, 100), -ETIMEDOUT);
  assert_int_equal(bw_batch_close_for(rig->batch, 0), -ETIMEDOUT);
  assert_int_equal(bw_batch_close_for(rig->batch, 100), -ETIMEDOUT);
  assert_int_equal(batch_rig_send(rig, "3"), -ESHUTDOWN);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 0);
  assert_delivered(rig, "");
  make_ready(rig);
  assert_int_equal(bw_batch_close_for(rig->batch, -1), 0);
  assert_delivered(rig, "1,2:ok");
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

static void test_batch_poll__a_back_off_asks_again_without_a_wake(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .backoff_us = 200);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EAGAIN, -EAGAIN, -EAGAIN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(batch_rig_await_settled(rig, 1));
  assert_string_equal(batch_rig_names(rig), "1/1/1/1 1/1/1/1 1/1/1/1 1/1/1/1");
  assert_int_equal(batch_rig_stats(rig).retries, 0);
  batch_rig_free(rig);
}

static void test_batch_poll__a_back_off_asks_the_sinks_flush_again_without_a_wake(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .backoff_us = 200);
  BATCH_SCRIPT(rig, BATCH_FLUSH, -EAGAIN, -EAGAIN, 0, -EAGAIN, -EAGAIN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_sink_calls(rig, "(1) flush flush flush");
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
  assert_sink_calls(rig, "(1) flush flush flush flush flush flush");
  batch_rig_free(rig);
}

/* As good as none, but nothing overflows. */
static void test_batch_poll__after_a_back_off_without_end_only_a_wake_asks_again(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .retries = 3, .backoff_us = UINT64_MAX);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EAGAIN, -EAGAIN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  for (size_t offers = 1; offers <= 2; ++offers) {
    assert_int_equal(bw_batch_flush_for(rig->batch, 1000), -ETIMEDOUT);
    assert_true(batch_rig_await(rig, BATCH_OFFER, offers)); /* a wake before it would count for nothing */
    assert_int_equal(batch_rig_count(rig, BATCH_OFFER), offers);
    assert_int_equal(bw_batch_wake(rig->batch), 0);
  }
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(1) (1) (1)");
  batch_rig_free(rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_ALL(test_batch_poll__ready_start_flush_close),
      IN_ALL(test_batch_poll__a_sink_ready_every_second_time_gets_everything_once),
      IN_ALL(test_batch_poll__ready_is_0_while_there_is_room),
      IN_ALL(test_batch_poll__a_full_one_is_not_ready_and_takes_nothing),
      IN_ALL(test_batch_poll__ready_reserves_nothing),
      IN_ALL(test_batch_poll__a_start_send_that_does_not_fit_seals),
      IN_ALL(test_batch_poll__a_start_send_that_finds_no_room_seals_too),
      IN_INLINE(test_batch_poll__inline_a_poll_calls_the_sink_itself),
      IN_INLINE(test_batch_poll__inline_a_poll_ready_that_finds_no_room_offers),
      IN_ALL(test_batch_poll__a_sink_that_is_not_ready_is_not_asked_by_polls),
      IN_ALL(test_batch_poll__flush_is_pending_until_answers_have_come),
      IN_ALL(test_batch_poll__flush_asks_a_sinks_flush_that_is_not_ready_after_a_wake),
      IN_ALL(test_batch_poll__flush_gives_the_code_of_the_sinks_flush),
      IN_SHARED(test_batch_poll__polls_do_not_wait_for_a_flush_of_the_sink_that_runs),
      IN_SHARED(test_batch_poll__several_closes_at_once_close_once),
      IN_INLINE(test_batch_poll__ready_finds_a_close_that_came_while_it_offered),
      IN_ALL(test_batch_poll__close_refuses_items_from_its_start),
      IN_ALL(test_batch_poll__close_gives_the_code_of_the_sinks_close),
      IN_ALL(test_batch_poll__EAGAIN_as_a_result_of_close_calls_the_waker),
      IN_INLINE(test_batch_poll__EAGAIN_as_a_result_of_flush_calls_the_waker),
      IN_ALL(test_batch_poll__a_waker_is_called_exactly_once),
      IN_ALL(test_batch_poll__the_same_waker_is_not_added_twice),
      IN_ALL(test_batch_poll__wakers_that_differ_are_all_called),
      IN_ALL(test_batch_poll__a_waker_called_may_wait_again),
      IN_ALL(test_batch_poll__no_waker_is_fine),
      IN_ALL(test_batch_poll__a_poll_that_is_not_pending_keeps_no_waker),
      IN_ALL(test_batch_poll__a_waker_taken_back_is_never_called),
      IN_ALL(test_batch_poll__a_waker_already_called_cannot_be_taken_back),
      IN_ALL(test_batch_poll__unwake_waits_for_a_running_call_of_it),
      IN_ALL(test_batch_poll__unwake_of_one_that_waits_again_waits_for_its_running_call),
      IN_ALL(test_batch_poll__wakers_come_after_the_delivered_that_made_their_room),
      IN_SHARED(test_batch_poll__room_is_told_of_while_the_next_write_runs),
      IN_ALL(test_batch_poll__a_discard_makes_room_and_wakes),
      IN_ALL(test_batch_poll__free_calls_the_wakers_left),
      IN_ALL(test_batch_poll__a_wake_during_write_is_not_lost),
      IN_ALL(test_batch_poll__interrupted_after_a_wake_it_is_offered_again_at_once),
      IN_ALL(test_batch_poll__a_wake_during_the_sinks_flush_is_not_lost),
      IN_ALL(test_batch_poll__a_wake_before_write_counts_for_nothing),
      IN_ALL(test_batch_poll__a_blocking_flush_waits_for_the_wake),
      IN_SHARED(test_batch_poll__a_second_flush_waits_for_the_wake_that_the_first_one_needs),
      IN_ALL(test_batch_poll__a_waiting_send_goes_on_after_the_wake),
      IN_ALL(test_batch_poll__calls_with_time_give_ETIMEDOUT_and_may_be_made_again),
      IN_ALL(test_batch_poll__a_back_off_asks_again_without_a_wake),
      IN_ALL(test_batch_poll__a_back_off_asks_the_sinks_flush_again_without_a_wake),
      IN_ALL(test_batch_poll__after_a_back_off_without_end_only_a_wake_asks_again),
  };
  return cmocka_run_group_tests_name("batch_poll", tests, NULL, NULL);
}
