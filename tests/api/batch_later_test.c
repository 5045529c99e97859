/*
 * Batches that the sink takes and answers later: bw_batch_done from any thread, in any order, item by item.
 */
#include "../support/batch_rig.h"

/* Over a sink that takes every batch. */
#define TAKING_RIG(state, ...) taking(BATCH_RIG(state, __VA_ARGS__))
static batch_rig *taking(batch_rig *rig) {
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  return rig;
}

/* One batch of these items is with the sink, and is all there is. */
static batch_rig *taken_rig(void **state, const char *items, uint64_t count, uint32_t retries, uint32_t when_failed) {
  batch_rig *rig = TAKING_RIG(state, .max_items = count, .buffers = 3, .retries = retries, .when_failed = when_failed);
  assert_int_equal(batch_rig_send(rig, items), 0);
  assert_non_null(batch_rig_taken(rig, 0));
  return rig;
}

/* Whatever waits to be offered again may be: inline it is the poll that does. */
static void offer_again(batch_rig *rig) {
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(bw_batch_poll_flush(rig->batch, NULL), -EAGAIN);
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void test_batch_later__a_taken_batch_is_settled_by_its_answer(void **state) {
  batch_rig *rig = taken_rig(state, "1,2", 2, 0, BW_FAILED_HOLD);
  assert_delivered(rig, "");
  assert_int_equal(bw_batch_flush_for(rig->batch, 1000), -ETIMEDOUT);
  assert_int_equal(bw_batch_flushed(rig->batch), 0);
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(1,2)");
  assert_delivered(rig, "1,2:ok");
  assert_int_equal(bw_batch_flushed(rig->batch), 1);
  batch_rig_free(rig);
}

static void test_batch_later__a_flush_waits_for_an_answer_from_another_thread(void **state) {
  batch_rig *rig = taken_rig(state, "1,2", 2, 0, BW_FAILED_HOLD);
  batch_call call = {.rig = rig};
  test_thread flushing, answering;
  test_thread_start(&flushing, batch_call_flush, &call);
  assert_false(test_thread_settle(&flushing));
  assert_int_equal(batch_rig_count(rig, BATCH_FLUSH), 0);
  test_thread_start(&answering, batch_call_answer, &call);
  assert_int_equal(test_thread_join(&answering), 0);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_sink_calls(rig, "(1,2) flush");
  batch_rig_free(rig);
}

static void test_batch_later__a_flush_does_not_wait_for_items_accepted_later(void **state) {
  batch_rig *rig = TAKING_RIG(state, .max_items = 1, .buffers = 3, .max_in_flight = 2);
  batch_call call = {.rig = rig};
  test_thread flushing;
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_non_null(batch_rig_taken(rig, 0));
  test_thread_start(&flushing, batch_call_flush, &call);
  assert_false(test_thread_settle(&flushing));
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_non_null(batch_rig_taken(rig, 1));
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_delivered(rig, "1:ok");
  assert_int_equal(batch_rig_finish(rig), 0);
  batch_rig_free(rig);
}

static void test_batch_later__a_close_waits_for_answers(void **state) {
  batch_rig *rig = taken_rig(state, "1,2", 2, 0, BW_FAILED_HOLD);
  batch_call call = {.rig = rig};
  test_thread closing;
  test_thread_start(&closing, batch_call_close, &call);
  assert_false(test_thread_settle(&closing));
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 0);
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_int_equal(test_thread_join(&closing), 0);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

static void test_batch_later__free_waits_for_answers(void **state) {
  batch_rig *rig = taken_rig(state, "1,2", 2, 0, BW_FAILED_HOLD);
  batch_call call = {.rig = rig};
  test_thread freeing;
  test_thread_start(&freeing, batch_call_free, &call);
  assert_false(test_thread_settle(&freeing));
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_int_equal(test_thread_join(&freeing), 0);
  assert_delivered(rig, "1,2:ok");
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

static void test_batch_later__free_returns_after_the_answering_call_has_left(void **state) {
  batch_rig *rig = taken_rig(state, "1,2", 2, 0, BW_FAILED_HOLD);
  batch_call call = {.rig = rig};
  test_thread freeing, answering;
  batch_rig_gate(rig, BATCH_KIND(BATCH_DELIVERED));
  test_thread_start(&answering, batch_call_answer, &call);
  assert_true(test_gate_await(&rig->gate, 1));
  test_thread_start(&freeing, batch_call_free, &call);
  assert_false(test_thread_settle(&freeing));
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&freeing), 0);
  assert_int_equal(test_thread_join(&answering), 0);
  batch_rig_free(rig);
}

static void test_batch_later__free_returns_after_the_waker_of_an_answer(void **state) {
  batch_rig *rig = taken_rig(state, "1,2", 2, 0, BW_FAILED_HOLD);
  const bw_waker_t wake = batch_rig_waker(rig, 0);
  batch_call call = {.rig = rig};
  test_thread freeing, answering;
  assert_int_equal(bw_batch_poll_flush(rig->batch, &wake), -EAGAIN);
  batch_rig_gate(rig, BATCH_KIND(BATCH_WAKE));
  test_thread_start(&answering, batch_call_answer, &call);
  assert_true(test_gate_await(&rig->gate, 1));
  test_thread_start(&freeing, batch_call_free, &call);
  assert_true(batch_rig_await(rig, BATCH_CLOSE, 1));
  const bool waits = !test_thread_settle(&freeing);
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&freeing), 0);
  assert_int_equal(test_thread_join(&answering), 0);
  assert_true(waits);
  assert_int_equal(batch_rig_woken(rig, 0), 1);
  batch_rig_free(rig);
}

static void answer_in_write(batch_rig *rig, enum batch_kind kind) {
  if (kind != BATCH_OFFER) return;
  const int code = bw_batch_done(rig->offered, rig->hook_arg ? -EIO - BW_FINAL : 0, NULL);
  pthread_mutex_lock(&rig->mutex);
  ++rig->answered_count;
  if (code != 0) rig->violation = "done in write failed";
  pthread_mutex_unlock(&rig->mutex);
}

static void test_batch_later__an_answer_may_come_before_write_has_returned(void **state) {
  batch_rig *rig = TAKING_RIG(state, .max_items = 2, .buffers = 2);
  rig->hook = answer_in_write;
  assert_int_equal(batch_rig_send(rig, "1,2,3,4,5"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(1,2) (3,4) (5)");
  assert_delivered(rig, "1,2,3,4,5:ok");
  rig->hook_arg = rig;
  assert_int_equal(batch_rig_send(rig, "6"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_delivered(rig, "1,2,3,4,5:ok 6:EIO");
  batch_rig_free(rig);
}

static int64_t send_one(void *arg) { return batch_rig_send(arg, "1"); }

static void test_batch_later__another_thread_may_answer_while_write_runs(void **state) {
  batch_rig *rig = TAKING_RIG(state, .max_items = 1, .buffers = 2);
  test_thread sending;
  batch_rig_gate(rig, BATCH_KIND(BATCH_OFFER));
  test_thread_start(&sending, send_one, rig);
  assert_true(test_gate_await(&rig->gate, 1));
  assert_int_equal(bw_batch_done(rig->offered, 0, NULL), 0);
  rig->answered_count = 1;
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&sending), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1:ok");
  batch_rig_free(rig);
}

static void test_batch_later__done_never_calls_the_sink(void **state) {
  batch_rig *rig = TAKING_RIG(state, .max_items = 1, .buffers = 3);
  assert_int_equal(batch_rig_send(rig, "1,2,3"), 0);
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_offers(rig, "(1)");
  assert_delivered(rig, "1:ok");
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_offers(rig, "(1) (2) (3)");
  batch_rig_free(rig);
}

static void test_batch_later__a_taken_view_stays_valid_until_its_answer(void **state) {
  batch_rig *rig = taken_rig(state, "abc,defg", 2, 0, BW_FAILED_HOLD);
  bw_batch_view_t *view = batch_rig_taken(rig, 0);
  size_t count = 0;
  assert_int_equal(batch_rig_send(rig, "wxyz,uv,t"), 0);
  const struct iovec *items = bw_batch_items(view, &count);
  assert_int_equal(count, 2);
  assert_int_equal(items[0].iov_len, 3);
  assert_memory_equal(items[0].iov_base, "abc", 3);
  assert_int_equal(items[1].iov_len, 4);
  assert_memory_equal(items[1].iov_base, "defg", 4);
  assert_int_equal(bw_batch_bytes(view), 7);
  assert_int_equal(bw_batch_serial(view), 1);
  assert_int_equal(bw_batch_first(view), 1);
  assert_int_equal(bw_batch_attempt(view), 1);
  assert_int_equal(batch_rig_finish(rig), 0);
  batch_rig_free(rig);
}

/* ---- In flight ------------------------------------------------------------------------------- */

static void test_batch_later__one_in_flight_is_the_default(void **state) {
  batch_rig *rig = TAKING_RIG(state, .max_items = 1, .buffers = 3);
  assert_int_equal(batch_rig_send(rig, "1,2,3"), 0);
  for (int i = 1; i <= 3; ++i) {
    assert_non_null(batch_rig_taken(rig, (size_t)i - 1));
    assert_int_equal(bw_batch_poll_flush(rig->batch, NULL), -EAGAIN);
    assert_int_equal(batch_rig_count(rig, BATCH_OFFER), i);
    assert_int_equal(batch_rig_answer(rig, 0), 0);
    assert_true(batch_rig_await_settled(rig, (size_t)i));
    (void)bw_batch_poll_flush(rig->batch, NULL);
  }
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2,3:ok");
  batch_rig_free(rig);
}

static void test_batch_later__max_in_flight_are_taken_and_answered_in_any_order(void **state) {
  batch_rig *rig = TAKING_RIG(state, .max_items = 1, .buffers = 4, .max_in_flight = 3);
  assert_int_equal(batch_rig_send(rig, "1,2,3,4"), 0);
  assert_non_null(batch_rig_taken(rig, 2));
  assert_int_equal(bw_batch_poll_flush(rig->batch, NULL), -EAGAIN);
  assert_offers(rig, "(1) (2) (3)");
  for (size_t i = 3; i-- > 0;) {
    assert_int_equal(bw_batch_done(batch_rig_taken(rig, i), 0, NULL), 0);
    assert_true(batch_rig_await_settled(rig, 3 - i));
  }
  rig->answered_count = 3;
  assert_delivered(rig, "3,2,1:ok");
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_offers(rig, "(1) (2) (3) (4)");
  batch_rig_free(rig);
}

static void test_batch_later__what_is_in_flight_is_not_buffered(void **state) {
  batch_rig *rig = taken_rig(state, "1,2,3", 3, 0, BW_FAILED_HOLD);
  assert_int_equal(batch_rig_send(rig, "4"), 0);
  assert_true(batch_rig_await_in_flight(rig, 3));
  assert_int_equal(batch_rig_stats(rig).buffered_items, 1);
  assert_int_equal(bw_batch_buffered(rig->batch), 1);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_int_equal(batch_rig_stats(rig).in_flight_items, 0);
  batch_rig_free(rig);
}

/* ---- Failures by answer ---------------------------------------------------------------------- */

static void test_batch_later__a_failure_answered_is_tried_again(void **state) {
  batch_rig *rig = taken_rig(state, "1,2", 2, 1, BW_FAILED_HOLD);
  assert_int_equal(batch_rig_answer(rig, -EIO), 0);
  assert_int_equal(batch_rig_send(rig, "3,4"), 0);
  assert_non_null(batch_rig_taken(rig, 1));
  assert_string_equal(batch_rig_names(rig), "1/1/2/1 1/1/2/2"); /* before anything newer */
  assert_int_equal(batch_rig_answer(rig, -ENOSPC), 0);
  assert_true(batch_rig_await_error(rig, -ENOSPC));
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_delivered(rig, "1,2,3,4:ok");
  batch_rig_free(rig);
}

static void test_batch_later__EINTR_answered_is_a_failure(void **state) {
  batch_rig *rig = taken_rig(state, "1", 1, 0, BW_FAILED_HOLD);
  assert_int_equal(batch_rig_answer(rig, -EINTR), 0);
  assert_true(batch_rig_await_error(rig, -EINTR));
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  assert_int_equal(batch_rig_finish(rig), 0);
  batch_rig_free(rig);
}

static void test_batch_later__EAGAIN_answered_waits_for_a_wake(void **state) {
  batch_rig *rig = taken_rig(state, "1", 1, 0, BW_FAILED_GIVE_UP);
  batch_rig_always(rig, BATCH_OFFER, 0);
  assert_int_equal(batch_rig_answer(rig, -EAGAIN), 0);
  assert_int_equal(bw_batch_flush_for(rig->batch, 1000), -ETIMEDOUT);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_string_equal(batch_rig_names(rig), "1/1/1/1 1/1/1/1");
  assert_delivered(rig, "1:ok");
  batch_rig_free(rig);
}

static void test_batch_later__a_retry_answered_EAGAIN_is_no_retry(void **state) {
  batch_rig *rig = taken_rig(state, "1", 1, 5, BW_FAILED_HOLD);
  assert_int_equal(batch_rig_answer(rig, -EIO), 0);
  offer_again(rig);
  for (size_t offers = 2; offers <= 4; ++offers) {
    assert_non_null(batch_rig_taken(rig, offers - 1));
    assert_int_equal(batch_rig_answer(rig, -EAGAIN), 0);
    assert_int_equal(batch_rig_stats(rig).retries, 0);
    offer_again(rig);
  }
  assert_non_null(batch_rig_taken(rig, 4));
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_int_equal(batch_rig_stats(rig).retries, 1);
  assert_string_equal(batch_rig_names(rig), "1/1/1/1 1/1/1/2 1/1/1/2 1/1/1/2 1/1/1/2");
  batch_rig_free(rig);
}

static void test_batch_later__a_final_answer_gives_up(void **state) {
  batch_rig *rig = taken_rig(state, "1,2", 2, 9, BW_FAILED_HOLD);
  assert_int_equal(batch_rig_answer(rig, -EPERM - BW_FINAL), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EPERM);
  assert_delivered(rig, "1,2:EPERM");
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  batch_rig_free(rig);
}

static void test_batch_later__ESINK_answered_is_held_for_good(void **state) {
  batch_rig *rig = taken_rig(state, "1,2", 2, 9, BW_FAILED_GIVE_UP);
  assert_int_equal(batch_rig_answer(rig, BW_ESINK), 0);
  assert_true(batch_rig_await_error(rig, BW_ESINK));
  assert_int_equal(bw_batch_flush(rig->batch), BW_ESINK);
  assert_int_equal(bw_batch_poll_flush(rig->batch, NULL), BW_ESINK);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  batch_rig_free_batch(rig);
  assert_sink_calls(rig, "(1,2) close");
  assert_delivered(rig, "1,2:BW_ESINK");
  batch_rig_free(rig);
}

static void test_batch_later__of_several_held_the_oldest_tells(void **state) {
  batch_rig *rig = TAKING_RIG(state, .max_items = 1, .buffers = 3, .max_in_flight = 2);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_non_null(batch_rig_taken(rig, 1));
  assert_int_equal(bw_batch_done(batch_rig_taken(rig, 1), -ENOSPC, NULL), 0);
  assert_true(batch_rig_await_error(rig, -ENOSPC));
  assert_int_equal(bw_batch_done(batch_rig_taken(rig, 0), -EIO, NULL), 0);
  assert_true(batch_rig_await_error(rig, -EIO));
  rig->answered_count = 2;
  assert_int_equal(bw_batch_poll_flush(rig->batch, NULL), -EIO);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_offers(rig, "(1) (2) (1) (2)");
  assert_delivered(rig, "1,2:ok");
  batch_rig_free(rig);
}

static void test_batch_later__a_newer_success_does_not_wait_for_an_older_answer(void **state) {
  batch_rig *rig = TAKING_RIG(state, .max_items = 1, .buffers = 2, .max_in_flight = 2);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_int_equal(bw_batch_done(batch_rig_taken(rig, 1), 0, NULL), 0);
  assert_true(batch_rig_await_settled(rig, 1));
  assert_delivered(rig, "2:ok");
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_ready), 0);
  assert_int_equal(bw_batch_done(batch_rig_taken(rig, 0), 0, NULL), 0);
  rig->answered_count = 2;
  assert_int_equal(batch_rig_finish(rig), 0);
  batch_rig_free(rig);
}

/* ---- Item by item ---------------------------------------------------------------------------- */

static void test_batch_later__codes_settle_each_item(void **state) {
  static const int codes[4] = {0, -EIO, 0, -EIO};
  batch_rig *rig = taken_rig(state, "1,2,3,4", 4, 1, BW_FAILED_HOLD);
  assert_int_equal(batch_rig_answer_each(rig, codes), 0);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_delivered(rig, "1,3:ok");
  assert_int_equal(batch_rig_send(rig, "5,6,7,8"), 0);
  assert_non_null(batch_rig_taken(rig, 1));
  const batch_event part = batch_rig_get(rig, BATCH_OFFER, 1);
  assert_string_equal(part.text, "2,4"); /* the failed ones, together, in order, before anything newer */
  assert_int_equal(part.serial, 1);
  assert_int_equal(part.first, 2);
  assert_int_equal(part.count, 2);
  assert_int_equal(part.bytes, 2);
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_true(batch_rig_await_settled(rig, 4));
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_delivered(rig, "1,3,2,4,5,6,7,8:ok");
  assert_int_equal(bw_batch_flushed(rig->batch), 2);
  const bw_batch_stats_t stats = batch_rig_stats(rig);
  assert_int_equal(stats.total_batches, 2);
  assert_int_equal(stats.total_items, 8);
  assert_int_equal(stats.bytes, 8);
  batch_rig_free(rig);
}

static void test_batch_later__codes_of_all_zero_deliver_all(void **state) {
  static const int codes[2] = {0, 0};
  batch_rig *rig = taken_rig(state, "1,2", 2, 0, BW_FAILED_HOLD);
  assert_int_equal(bw_batch_done(batch_rig_taken(rig, 0), -EIO, codes), 0); /* the code is unused */
  rig->answered_count = 1;
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2:ok");
  batch_rig_free(rig);
}

static void test_batch_later__codes_are_read_during_the_call(void **state) {
  int codes[2] = {-EPERM - BW_FINAL, 0};
  batch_rig *rig = taken_rig(state, "1,2", 2, 0, BW_FAILED_HOLD);
  assert_int_equal(batch_rig_answer_each(rig, codes), 0);
  memset(codes, 0x55, sizeof codes);
  assert_int_equal(bw_batch_flush(rig->batch), -EPERM);
  assert_true(strcmp(batch_rig_trace(rig, BATCH_KIND(BATCH_DELIVERED)), "1:EPERM 2:ok") == 0 ||
              strcmp(batch_rig_trace(rig, BATCH_KIND(BATCH_DELIVERED)), "2:ok 1:EPERM") == 0);
  batch_rig_free(rig);
}

static void test_batch_later__each_item_is_given_up_with_its_own_code(void **state) {
  static const int codes[3] = {-EPERM - BW_FINAL, 0, -EINVAL - BW_FINAL};
  batch_rig *rig = taken_rig(state, "1,2,3", 3, 0, BW_FAILED_HOLD);
  assert_int_equal(batch_rig_answer_each(rig, codes), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EPERM);
  assert_int_equal(batch_rig_settled(rig), 3);
  for (size_t i = 0; i < batch_rig_count(rig, BATCH_DELIVERED); ++i) {
    const batch_event told = batch_rig_get(rig, BATCH_DELIVERED, i);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.code, told.text[0] == '1' ? -EPERM : told.text[0] == '2' ? 0 : -EINVAL);
  }
  assert_int_equal(batch_rig_stats(rig).failed_items, 2);
  assert_int_equal(bw_batch_flushed(rig->batch), 1);
  batch_rig_free(rig);
}

static void test_batch_later__final_items_go_and_failed_ones_stay(void **state) {
  static const int codes[4] = {-EIO, -EPERM - BW_FINAL, 0, -EIO};
  batch_rig *rig = taken_rig(state, "1,2,3,4", 4, 0, BW_FAILED_HOLD);
  assert_int_equal(batch_rig_answer_each(rig, codes), 0);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_true(batch_rig_await_error(rig, -EIO));
  batch_rig_always(rig, BATCH_OFFER, 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EPERM);
  assert_offers(rig, "(1,2,3,4) (1,4)");
  assert_int_equal(batch_rig_settled(rig), 4);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  batch_rig_free(rig);
}

static void test_batch_later__failed_items_are_offered_again_as_often_as_told(void **state) {
  static const int some[3] = {0, -EIO, -EPERM}, all[2] = {-EIO, -EIO};
  batch_rig *rig = taken_rig(state, "1,2,3", 3, 2, BW_FAILED_GIVE_UP);
  assert_int_equal(batch_rig_answer_each(rig, some), 0);
  (void)bw_batch_poll_flush(rig->batch, NULL); /* inline it is this that offers again */
  assert_non_null(batch_rig_taken(rig, 1));
  assert_int_equal(batch_rig_answer_each(rig, all), 0);
  (void)bw_batch_poll_flush(rig->batch, NULL);
  assert_non_null(batch_rig_taken(rig, 2));
  assert_int_equal(batch_rig_answer_each(rig, some), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_offers(rig, "(1,2,3) (2,3) (2,3)");
  assert_delivered(rig, "1,2:ok 3:EIO");
  assert_int_equal(batch_rig_stats(rig).retries, 2);
  batch_rig_free(rig);
}

static void test_batch_later__ESINK_for_one_item_holds_all_that_are_left(void **state) {
  static const int codes[3] = {-EIO, 0, BW_ESINK};
  batch_rig *rig = taken_rig(state, "1,2,3", 3, 0, BW_FAILED_GIVE_UP);
  assert_int_equal(batch_rig_answer_each(rig, codes), 0);
  assert_true(batch_rig_await_error(rig, BW_ESINK));
  assert_int_equal(bw_batch_flush(rig->batch), BW_ESINK);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(bw_batch_flush(rig->batch), BW_ESINK);
  assert_offers(rig, "(1,2,3)");
  assert_delivered(rig, "2:ok");
  assert_int_equal(batch_rig_discard(rig, 2), 2);
  assert_int_equal(bw_batch_error(rig->batch), 0);
  assert_delivered(rig, "2:ok 1,3:ECANCELED");
  batch_rig_free(rig);
}

static void test_batch_later__items_not_ready_wait_for_a_wake(void **state) {
  static const int codes[3] = {-EAGAIN, 0, -EAGAIN};
  batch_rig *rig = taken_rig(state, "1,2,3", 3, 0, BW_FAILED_GIVE_UP);
  batch_rig_always(rig, BATCH_OFFER, 0);
  assert_int_equal(batch_rig_answer_each(rig, codes), 0);
  assert_int_equal(bw_batch_flush_for(rig->batch, 1000), -ETIMEDOUT);
  assert_offers(rig, "(1,2,3)");
  assert_delivered(rig, "2:ok");
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(1,2,3) (1,3)");
  batch_rig_free(rig);
}

static void test_batch_later__items_not_ready_beside_taken_ones_were_not_offered(void **state) {
  static const int codes[2] = {0, -EAGAIN};
  batch_rig *rig = taken_rig(state, "1,2", 2, 0, BW_FAILED_HOLD);
  assert_int_equal(batch_rig_answer_each(rig, codes), 0);
  assert_true(batch_rig_await_settled(rig, 1));
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_string_equal(batch_rig_names(rig), "1/1/2/1 1/2/1/1");
  batch_rig_free(rig);
}

static void test_batch_later__items_not_ready_are_not_given_up_with_failed_ones(void **state) {
  static const int codes[3] = {-EAGAIN, -EIO, 0};
  batch_rig *rig = taken_rig(state, "1,2,3", 3, 0, BW_FAILED_GIVE_UP);
  batch_rig_always(rig, BATCH_OFFER, 0);
  assert_int_equal(batch_rig_answer_each(rig, codes), 0);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_int_equal(bw_batch_flush_for(rig->batch, 1000), -ETIMEDOUT);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_offers(rig, "(1,2,3) (1)");
  assert_int_equal(batch_rig_stats(rig).total_items, 2);
  assert_int_equal(batch_rig_stats(rig).failed_items, 1);
  batch_rig_free(rig);
}

static void test_batch_later__an_item_that_was_not_ready_has_not_failed_with_its_neighbours(void **state) {
  static const int codes[2] = {-EIO, -EAGAIN};
  batch_rig *rig = taken_rig(state, "1,2", 2, 1, BW_FAILED_GIVE_UP);
  for (size_t offers = 1; offers <= 2; ++offers) {
    assert_non_null(batch_rig_taken(rig, offers - 1));
    assert_int_equal(batch_rig_answer_each(rig, codes), 0);
    offer_again(rig);
  }
  assert_non_null(batch_rig_taken(rig, 2));
  assert_int_equal(batch_rig_answer(rig, -ENOSPC), 0); /* its first failure */
  offer_again(rig);
  assert_non_null(batch_rig_taken(rig, 3));
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_offers(rig, "(1,2) (1,2) (2) (2)");
  assert_delivered(rig, "1:EIO 2:ok");
  batch_rig_free(rig);
}

static void test_batch_later__give_up_after_codes(void **state) {
  static const int codes[3] = {0, -EIO, -EIO};
  batch_rig *rig = taken_rig(state, "1,2,3", 3, 0, BW_FAILED_GIVE_UP);
  assert_int_equal(batch_rig_answer_each(rig, codes), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_delivered(rig, "1:ok 2,3:EIO");
  assert_int_equal(batch_rig_stats(rig).failed_items, 2);
  batch_rig_free(rig);
}

static void test_batch_later__parts_are_offered_one_at_a_time(void **state) {
  batch_rig *rig = TAKING_RIG(state, .flags = BW_BATCH_BISECT, .max_items = 4, .buffers = 3, .max_in_flight = 3);
  assert_int_equal(batch_rig_send(rig, "1,2,3,4"), 0);
  assert_int_equal(batch_rig_answer(rig, -EPERM - BW_FINAL), 0);
  assert_int_equal(batch_rig_send(rig, "5,6,7,8"), 0);
  for (size_t half = 1; half <= 2; ++half) {
    assert_non_null(batch_rig_taken(rig, half));
    assert_int_equal(bw_batch_poll_flush(rig->batch, NULL), -EAGAIN);
    assert_int_equal(batch_rig_count(rig, BATCH_OFFER), half + 1);
    assert_int_equal(batch_rig_answer(rig, 0), 0);
    assert_true(batch_rig_await_settled(rig, 2 * half));
    (void)bw_batch_poll_flush(rig->batch, NULL);
  }
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_offers(rig, "(1,2,3,4) (1,2) (3,4) (5,6,7,8)");
  assert_delivered(rig, "1,2,3,4,5,6,7,8:ok");
  batch_rig_free(rig);
}

/* ---- Wrong answers --------------------------------------------------------------------------- */

static void test_batch_later__a_positive_code_is_EINVAL_and_answers_nothing(void **state) {
  static const int last_wrong[2] = {0, 1}, first_wrong[2] = {BW_BATCH_TAKEN, -EIO};
  batch_rig *rig = taken_rig(state, "1,2", 2, 0, BW_FAILED_HOLD);
  bw_batch_view_t *view = batch_rig_taken(rig, 0);
  assert_int_equal(bw_batch_done(view, 1, NULL), -EINVAL);
  assert_int_equal(bw_batch_done(view, INT32_MAX, NULL), -EINVAL);
  assert_int_equal(bw_batch_done(view, 0, last_wrong), -EINVAL);
  assert_int_equal(bw_batch_done(view, 0, first_wrong), -EINVAL);
  assert_int_equal(bw_batch_flush_for(rig->batch, 1000), -ETIMEDOUT);
  assert_delivered(rig, "");
  assert_int_equal(bw_batch_error(rig->batch), 0);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_delivered(rig, "1,2:ok");
  batch_rig_free(rig);
}

static void test_batch_later__an_answer_to_nothing_is_EINVAL(void **state) {
  (void)state;
  assert_int_equal(bw_batch_done(NULL, 0, NULL), -EINVAL);
}

static void test_batch_later__after_a_close_nothing_is_to_be_answered(void **state) {
  batch_rig *rig = taken_rig(state, "1,2", 2, 0, BW_FAILED_HOLD);
  static const int codes[2] = {0, -EIO};
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_int_equal(bw_batch_done(batch_rig_taken(rig, 0), 0, NULL), -EINVAL);
  assert_int_equal(bw_batch_done(batch_rig_taken(rig, 0), 0, codes), -EINVAL);
  assert_delivered(rig, "1,2:ok");
  batch_rig_free(rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_ALL(test_batch_later__a_taken_batch_is_settled_by_its_answer),
      IN_ALL(test_batch_later__a_flush_waits_for_an_answer_from_another_thread),
      IN_SHARED(test_batch_later__a_flush_does_not_wait_for_items_accepted_later),
      IN_ALL(test_batch_later__a_close_waits_for_answers),
      IN_ALL(test_batch_later__free_waits_for_answers),
      IN_ALL(test_batch_later__free_returns_after_the_answering_call_has_left),
      IN_ALL(test_batch_later__free_returns_after_the_waker_of_an_answer),
      IN_ALL(test_batch_later__an_answer_may_come_before_write_has_returned),
      IN_ALL(test_batch_later__another_thread_may_answer_while_write_runs),
      IN_INLINE(test_batch_later__done_never_calls_the_sink),
      IN_ALL(test_batch_later__a_taken_view_stays_valid_until_its_answer),
      IN_ALL(test_batch_later__one_in_flight_is_the_default),
      IN_ALL(test_batch_later__max_in_flight_are_taken_and_answered_in_any_order),
      IN_ALL(test_batch_later__what_is_in_flight_is_not_buffered),
      IN_ALL(test_batch_later__a_failure_answered_is_tried_again),
      IN_ALL(test_batch_later__EINTR_answered_is_a_failure),
      IN_ALL(test_batch_later__EAGAIN_answered_waits_for_a_wake),
      IN_ALL(test_batch_later__a_retry_answered_EAGAIN_is_no_retry),
      IN_ALL(test_batch_later__a_final_answer_gives_up),
      IN_ALL(test_batch_later__ESINK_answered_is_held_for_good),
      IN_ALL(test_batch_later__of_several_held_the_oldest_tells),
      IN_ALL(test_batch_later__a_newer_success_does_not_wait_for_an_older_answer),
      IN_ALL(test_batch_later__codes_settle_each_item),
      IN_ALL(test_batch_later__codes_of_all_zero_deliver_all),
      IN_ALL(test_batch_later__codes_are_read_during_the_call),
      IN_ALL(test_batch_later__each_item_is_given_up_with_its_own_code),
      IN_ALL(test_batch_later__final_items_go_and_failed_ones_stay),
      IN_ALL(test_batch_later__failed_items_are_offered_again_as_often_as_told),
      IN_ALL(test_batch_later__ESINK_for_one_item_holds_all_that_are_left),
      IN_ALL(test_batch_later__items_not_ready_wait_for_a_wake),
      IN_ALL(test_batch_later__items_not_ready_beside_taken_ones_were_not_offered),
      IN_ALL(test_batch_later__items_not_ready_are_not_given_up_with_failed_ones),
      IN_ALL(test_batch_later__an_item_that_was_not_ready_has_not_failed_with_its_neighbours),
      IN_ALL(test_batch_later__give_up_after_codes),
      IN_ALL(test_batch_later__parts_are_offered_one_at_a_time),
      IN_ALL(test_batch_later__a_positive_code_is_EINVAL_and_answers_nothing),
      cmocka_unit_test(test_batch_later__an_answer_to_nothing_is_EINVAL),
      IN_ALL(test_batch_later__after_a_close_nothing_is_to_be_answered),
  };
  return cmocka_run_group_tests_name("batch_later", tests, NULL, NULL);
}
