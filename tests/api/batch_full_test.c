/*
 * A batcher with all its buffers in use: wait, fail, drop the newest, drop the oldest; and what the counters say.
 */
#include "../support/batch_rig.h"

/* Full: [1,2] is with the sink, which answers later; [3,4] waits. */
static batch_rig *full_rig(void **state, uint32_t when_full) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2, .buffers = 2, .when_full = when_full);
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  assert_int_equal(batch_rig_send(rig, "1,2,3,4"), 0);
  assert_true(batch_rig_await_in_flight(rig, 2));
  return rig;
}

/* The first batch is held with -EIO, a second one waits behind it; the sink would take all now. */
static batch_rig *held_rig(void **state, uint32_t when_full) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 2, .when_full = when_full);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EIO);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(batch_rig_await_error(rig, -EIO));
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  return rig;
}

/* ---- Wait ------------------------------------------------------------------------------------ */

static void test_batch_full__a_send_waits_for_room(void **state) {
  batch_rig *rig = full_rig(state, BW_FULL_WAIT);
  batch_call call = {.rig = rig, .items = "5"};
  test_thread sending;
  test_thread_start(&sending, batch_call_send, &call);
  assert_false(test_thread_settle(&sending));
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_int_equal(test_thread_join(&sending), 0);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_delivered(rig, "1,2,3,4,5:ok");
  assert_int_equal(batch_rig_stats(rig).dropped_items, 0);
  batch_rig_free(rig);
}

static void test_batch_full__a_gathered_send_finds_no_room_either(void **state) {
  batch_rig *rig = full_rig(state, BW_FULL_FAIL);
  const struct iovec part = {(void *)"5", 1};
  assert_int_equal(bw_batch_sendv(rig->batch, &part, 1), -EAGAIN);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_int_equal(bw_batch_sendv(rig->batch, &part, 1), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2,3,4,5:ok");
  batch_rig_free(rig);
}

static void test_batch_full__a_waiting_send_is_ended_by_close(void **state) {
  batch_rig *rig = full_rig(state, BW_FULL_WAIT);
  batch_call call = {.rig = rig, .items = "5"};
  test_thread sending;
  test_thread_start(&sending, batch_call_send, &call);
  assert_false(test_thread_settle(&sending));
  assert_int_equal(bw_batch_close_for(rig->batch, 0), -ETIMEDOUT);
  assert_int_equal(test_thread_join(&sending), -ESHUTDOWN);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_delivered(rig, "1,2,3,4:ok");
  batch_rig_free(rig);
}

static void test_batch_full__a_waiting_send_is_ended_by_the_code_of_a_held_batch(void **state) {
  batch_rig *rig = full_rig(state, BW_FULL_WAIT);
  batch_call call = {.rig = rig, .items = "5"};
  test_thread sending;
  batch_rig_always(rig, BATCH_OFFER, -EIO);
  test_thread_start(&sending, batch_call_send, &call);
  assert_false(test_thread_settle(&sending));
  assert_int_equal(batch_rig_answer(rig, -EIO), 0);
  assert_int_equal(test_thread_join(&sending), -EIO);
  assert_int_equal(bw_batch_error(rig->batch), -EIO);
  assert_int_equal(bw_batch_buffered(rig->batch), 4);
  batch_rig_always(rig, BATCH_OFFER, 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2,3,4:ok");
  batch_rig_free(rig);
}

static void test_batch_full__a_send_that_finds_no_room_tries_a_held_batch_again(void **state) {
  batch_rig *rig = held_rig(state, BW_FULL_WAIT);
  BATCH_SCRIPT(rig, BATCH_OFFER, -ENOSPC);
  assert_int_equal(batch_rig_send(rig, "3"), -ENOSPC);
  assert_string_equal(batch_rig_names(rig), "1/1/1/1 1/1/1/2");
  assert_int_equal(batch_rig_send(rig, "3"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_string_equal(batch_rig_names(rig), "1/1/1/1 1/1/1/2 1/1/1/3 2/2/1/1 3/3/1/1");
  assert_delivered(rig, "1,2,3:ok");
  batch_rig_free(rig);
}

static void test_batch_full__a_send_never_tells_the_failure_of_its_own_batch(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 2);
  batch_rig_always(rig, BATCH_OFFER, -EIO);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(batch_rig_await_error(rig, -EIO));
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_int_equal(bw_batch_buffered(rig->batch), 2);
  assert_int_equal(bw_batch_discard(rig->batch), 2);
  batch_rig_free(rig);
}

static void test_batch_full__a_buffer_is_in_use_until_delivered_has_returned(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 1, .when_full = BW_FULL_FAIL);
  batch_call call = {.rig = rig, .items = "1"};
  test_thread sending;
  batch_rig_gate(rig, BATCH_KIND(BATCH_DELIVERED));
  test_thread_start(&sending, batch_call_send, &call);
  assert_true(test_gate_await(&rig->gate, 1));
  assert_int_equal(batch_rig_send(rig, "2"), -EAGAIN);
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&sending), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2:ok");
  batch_rig_free(rig);
}

static void test_batch_full__two_buffers_are_the_default(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .when_full = BW_FULL_FAIL);
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_int_equal(batch_rig_send(rig, "3"), -EAGAIN);
  assert_int_equal(batch_rig_finish(rig), 0);
  batch_rig_free(rig);
}

/* ---- Fail ------------------------------------------------------------------------------------ */

static void test_batch_full__fail_gives_EAGAIN_and_takes_nothing(void **state) {
  batch_rig *rig = full_rig(state, BW_FULL_FAIL);
  assert_int_equal(batch_rig_send(rig, "5"), -EAGAIN);
  assert_int_equal(batch_rig_send(rig, "5"), -EAGAIN);
  assert_int_equal(bw_batch_buffered(rig->batch), 2);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_int_equal(batch_rig_send(rig, "5"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2,3,4,5:ok");
  assert_string_equal(batch_rig_names(rig), "1/1/2/1 2/3/2/1 3/5/1/1");
  assert_int_equal(batch_rig_stats(rig).dropped_items, 0);
  batch_rig_free(rig);
}

static void test_batch_full__fail_tries_a_held_batch_again(void **state) {
  batch_rig *rig = held_rig(state, BW_FULL_FAIL);
  BATCH_SCRIPT(rig, BATCH_OFFER, -ENOSPC);
  assert_int_equal(batch_rig_send(rig, "3"), -EAGAIN);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), -ENOSPC);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 2);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2:ok");
  batch_rig_free(rig);
}

/* ---- Drop the newest ------------------------------------------------------------------------- */

static void test_batch_full__drop_newest_drops_the_item_sent(void **state) {
  batch_rig *rig = full_rig(state, BW_FULL_DROP_NEWEST);
  const struct iovec part = {(void *)"7", 1};
  assert_int_equal(batch_rig_send(rig, "5"), BW_BATCH_DROPPED);
  assert_int_equal(batch_rig_send(rig, "6"), BW_BATCH_DROPPED);
  assert_int_equal(bw_batch_sendv(rig->batch, &part, 1), BW_BATCH_DROPPED);
  assert_int_equal(batch_rig_stats(rig).dropped_items, 3);
  assert_delivered(rig, ""); /* they were not accepted */
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_int_equal(batch_rig_send(rig, "8"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2,3,4,8:ok");
  assert_string_equal(batch_rig_names(rig), "1/1/2/1 2/3/2/1 3/5/1/1");
  assert_int_equal(batch_rig_stats(rig).dropped_items, 3);
  batch_rig_free(rig);
}

static void test_batch_full__drop_newest_tries_a_held_batch_again(void **state) {
  batch_rig *rig = held_rig(state, BW_FULL_DROP_NEWEST);
  BATCH_SCRIPT(rig, BATCH_OFFER, -ENOSPC);
  assert_int_equal(batch_rig_send(rig, "3"), BW_BATCH_DROPPED);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), -ENOSPC);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 2);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  batch_rig_free(rig);
}

/* ---- Drop the oldest ------------------------------------------------------------------------- */

static void test_batch_full__drop_oldest_drops_the_oldest_batch_waiting(void **state) {
  batch_rig *rig = full_rig(state, BW_FULL_DROP_OLDEST);
  assert_int_equal(batch_rig_send(rig, "5"), 0);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_delivered(rig, "3,4:ENOBUFS");
  assert_int_equal(batch_rig_stats(rig).dropped_items, 2);
  assert_int_equal(bw_batch_buffered(rig->batch), 1);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_delivered(rig, "3,4:ENOBUFS 1,2,5:ok");
  assert_string_equal(batch_rig_names(rig), "1/1/2/1 3/5/1/1");
  batch_rig_free(rig);
}

static void test_batch_full__drop_oldest_takes_them_in_order(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 3, .when_full = BW_FULL_DROP_OLDEST);
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_non_null(batch_rig_taken(rig, 0));
  assert_int_equal(batch_rig_send(rig, "2,3,4,5"), 0);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_delivered(rig, "2,3:ENOBUFS");
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_delivered(rig, "2,3:ENOBUFS 1,4,5:ok");
  batch_rig_free(rig);
}

static void test_batch_full__drop_oldest_with_none_waiting_drops_the_newest(void **state) {
  batch_rig *rig =
      BATCH_RIG(state, .max_items = 1, .buffers = 2, .max_in_flight = 2, .when_full = BW_FULL_DROP_OLDEST);
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_non_null(batch_rig_taken(rig, 1));
  assert_int_equal(batch_rig_send(rig, "3"), BW_BATCH_DROPPED);
  assert_int_equal(batch_rig_stats(rig).dropped_items, 1);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_delivered(rig, "1,2:ok");
  batch_rig_free(rig);
}

static void test_batch_full__drop_oldest_drops_a_held_batch_and_its_error(void **state) {
  batch_rig *rig = held_rig(state, BW_FULL_DROP_OLDEST);
  assert_int_equal(batch_rig_send(rig, "3"), 0);
  assert_int_equal(bw_batch_error(rig->batch), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1:ENOBUFS 2,3:ok");
  assert_string_equal(batch_rig_names(rig), "1/1/1/1 2/2/1/1 3/3/1/1"); /* 1 was not offered again */
  assert_int_equal(batch_rig_stats(rig).dropped_items, 1);
  assert_int_equal(batch_rig_stats(rig).failed_items, 0);
  assert_int_equal(bw_batch_flushed(rig->batch), 2);
  batch_rig_free(rig);
}

static void test_batch_full__drop_oldest_drops_one_answered_per_item_of_which_nothing_is_settled(void **state) {
  static const int codes[2] = {-EIO, -EIO};
  batch_rig *rig = BATCH_RIG(state, .max_items = 2, .buffers = 1, .when_full = BW_FULL_DROP_OLDEST);
  BATCH_SCRIPT(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_int_equal(batch_rig_answer_each(rig, codes), 0);
  assert_true(batch_rig_await_error(rig, -EIO));
  assert_int_equal(batch_rig_send(rig, "3"), 0);
  assert_int_equal(bw_batch_error(rig->batch), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2:ENOBUFS 3:ok");
  batch_rig_free(rig);
}

static void test_batch_full__drop_oldest_never_drops_one_partly_settled(void **state) {
  static const int codes[2] = {0, -EIO};
  batch_rig *rig = full_rig(state, BW_FULL_DROP_OLDEST);
  assert_int_equal(batch_rig_answer_each(rig, codes), 0);
  assert_true(batch_rig_await_settled(rig, 1));
  assert_true(batch_rig_await_error(rig, -EIO));
  batch_rig_always(rig, BATCH_OFFER, 0);
  assert_int_equal(batch_rig_send(rig, "5"), 0);
  assert_true(batch_rig_await_settled(rig, 3));
  assert_delivered(rig, "1:ok 3,4:ENOBUFS");
  assert_int_equal(bw_batch_error(rig->batch), -EIO);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1:ok 3,4:ENOBUFS 2,5:ok");
  batch_rig_free(rig);
}

/* ---- start_send ------------------------------------------------------------------------------ */

static void test_batch_full__start_send_always_gives_EAGAIN(void **state) {
  const struct iovec part = {(void *)"5", 1};
  for (uint32_t when_full = BW_FULL_WAIT; when_full <= BW_FULL_DROP_OLDEST; ++when_full) {
    batch_rig *rig = full_rig(state, when_full);
    assert_int_equal(batch_rig_start_send(rig, "5"), -EAGAIN);
    assert_int_equal(bw_batch_start_sendv(rig->batch, &part, 1), -EAGAIN);
    assert_int_equal(batch_rig_stats(rig).dropped_items, 0);
    assert_int_equal(batch_rig_finish(rig), 0);
    assert_delivered(rig, "1,2,3,4:ok");
    batch_rig_free(rig);
  }
}

static void test_batch_full__start_send_does_not_try_a_held_batch_again(void **state) {
  batch_rig *rig = held_rig(state, BW_FULL_WAIT);
  for (int i = 0; i < 10; ++i) assert_int_equal(batch_rig_start_send(rig, "3"), -EAGAIN);
  assert_int_equal(bw_batch_error(rig->batch), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 3);
  batch_rig_free(rig);
}

/* ---- Discard --------------------------------------------------------------------------------- */

static void test_batch_full__discard_settles_all_but_what_is_in_flight(void **state) {
  batch_rig *rig = full_rig(state, BW_FULL_WAIT);
  assert_int_equal(bw_batch_discard(rig->batch), 2);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_delivered(rig, "3,4:ECANCELED");
  assert_int_equal(batch_rig_send(rig, "5"), 0);
  assert_int_equal(bw_batch_discard(rig->batch), 1); /* the filling batch too */
  assert_int_equal(bw_batch_discard(rig->batch), 0);
  assert_int_equal(bw_batch_buffered(rig->batch), 0);
  assert_int_equal(batch_rig_stats(rig).in_flight_items, 2);
  assert_int_equal(batch_rig_stats(rig).dropped_items, 3);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1); /* discard never calls the sink */
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_delivered(rig, "3,4,5:ECANCELED 1,2:ok");
  assert_int_equal(bw_batch_flushed(rig->batch), 1);
  batch_rig_free(rig);
}

static void test_batch_full__discard_of_a_held_batch_ends_its_error(void **state) {
  batch_rig *rig = held_rig(state, BW_FULL_WAIT);
  assert_int_equal(bw_batch_discard(rig->batch), 2);
  assert_int_equal(bw_batch_error(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "3"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2:ECANCELED 3:ok");
  assert_string_equal(batch_rig_names(rig), "1/1/1/1 3/3/1/1");
  batch_rig_free(rig);
}

static void test_batch_full__discard_waits_for_no_callback(void **state) {
  batch_rig *rig = full_rig(state, BW_FULL_WAIT);
  batch_call call = {.rig = rig};
  test_thread answering;
  batch_rig_gate(rig, BATCH_KIND(BATCH_DELIVERED));
  test_thread_start(&answering, batch_call_answer, &call);
  assert_true(test_gate_await(&rig->gate, 1)); /* a `delivered` runs, on whatever thread */
  if (BATCH_IS_BACKGROUND(state)) {
    assert_true(bw_batch_discard(rig->batch) >= 0);
  } else {
    assert_int_equal(bw_batch_discard(rig->batch), 2);
  }
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&answering), 0);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_int_equal(batch_rig_settled(rig), 4);
  batch_rig_free(rig);
}

static void test_batch_full__a_waiting_send_takes_the_room_of_a_discard(void **state) {
  batch_rig *rig = full_rig(state, BW_FULL_WAIT);
  batch_call call = {.rig = rig, .items = "5"};
  test_thread sending;
  test_thread_start(&sending, batch_call_send, &call);
  assert_false(test_thread_settle(&sending));
  assert_int_equal(bw_batch_discard(rig->batch), 2);
  assert_int_equal(test_thread_join(&sending), 0);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_delivered(rig, "3,4:ECANCELED 1,2,5:ok");
  batch_rig_free(rig);
}

static void test_batch_full__a_waiting_flush_ends_when_all_is_discarded(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1);
  batch_call call = {.rig = rig};
  test_thread flushing;
  batch_rig_always(rig, BATCH_OFFER, -EAGAIN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  test_thread_start(&flushing, batch_call_flush, &call);
  assert_false(test_thread_settle(&flushing));
  assert_int_equal(batch_rig_discard(rig, 1), 1);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_delivered(rig, "1:ECANCELED");
  batch_rig_free(rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_ALL(test_batch_full__a_send_waits_for_room),
      IN_ALL(test_batch_full__a_gathered_send_finds_no_room_either),
      IN_SHARED(test_batch_full__a_waiting_send_is_ended_by_close),
      IN_ALL(test_batch_full__a_waiting_send_is_ended_by_the_code_of_a_held_batch),
      IN_ALL(test_batch_full__a_send_that_finds_no_room_tries_a_held_batch_again),
      IN_ALL(test_batch_full__a_send_never_tells_the_failure_of_its_own_batch),
      IN_SHARED(test_batch_full__a_buffer_is_in_use_until_delivered_has_returned),
      IN_ALL(test_batch_full__two_buffers_are_the_default),
      IN_ALL(test_batch_full__fail_gives_EAGAIN_and_takes_nothing),
      IN_ALL(test_batch_full__fail_tries_a_held_batch_again),
      IN_ALL(test_batch_full__drop_newest_drops_the_item_sent),
      IN_ALL(test_batch_full__drop_newest_tries_a_held_batch_again),
      IN_ALL(test_batch_full__drop_oldest_drops_the_oldest_batch_waiting),
      IN_ALL(test_batch_full__drop_oldest_takes_them_in_order),
      IN_ALL(test_batch_full__drop_oldest_with_none_waiting_drops_the_newest),
      IN_ALL(test_batch_full__drop_oldest_drops_a_held_batch_and_its_error),
      IN_ALL(test_batch_full__drop_oldest_drops_one_answered_per_item_of_which_nothing_is_settled),
      IN_ALL(test_batch_full__drop_oldest_never_drops_one_partly_settled),
      IN_ALL(test_batch_full__start_send_always_gives_EAGAIN),
      IN_ALL(test_batch_full__start_send_does_not_try_a_held_batch_again),
      IN_ALL(test_batch_full__discard_settles_all_but_what_is_in_flight),
      IN_ALL(test_batch_full__discard_of_a_held_batch_ends_its_error),
      IN_SHARED(test_batch_full__discard_waits_for_no_callback),
      IN_SHARED(test_batch_full__a_waiting_send_takes_the_room_of_a_discard),
      IN_SHARED(test_batch_full__a_waiting_flush_ends_when_all_is_discarded),
  };
  return cmocka_run_group_tests_name("batch_full", tests, NULL, NULL);
}
