/*
 * Sinks that fail: retries, rounds of a held batch, giving up, refusals for good, halving, and BW_ESINK.
 *
 * How often a batch is offered is counted; when, never.
 */
#include "../support/batch_rig.h"

static const int kForEver = -1;

static int poll_flush(batch_rig *rig) { return batch_rig_until(rig, bw_batch_poll_flush); }

/* One batch of one item, held with -EIO after 1 + `retries` offers; the sink goes on failing. */
static batch_rig *held_rig(void **state, uint32_t retries) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 2, .retries = retries);
  batch_rig_always(rig, BATCH_OFFER, -EIO);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(batch_rig_await_error(rig, -EIO));
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1 + retries);
  return rig;
}

/* ---- Retries --------------------------------------------------------------------------------- */

static void test_batch_fail__a_failure_is_tried_again_as_often_as_told(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2, .retries = 3);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EIO, -ENOSPC, -EIO);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_string_equal(batch_rig_names(rig), "1/1/2/1 1/1/2/2 1/1/2/3 1/1/2/4");
  assert_delivered(rig, "1,2:ok");
  assert_int_equal(batch_rig_stats(rig).retries, 3);
  assert_int_equal(batch_rig_stats(rig).failed_items, 0);
  assert_int_equal(batch_rig_stats(rig).total_batches, 1);
  batch_rig_free(rig);
}

static void test_batch_fail__without_retries_it_is_not_tried_again_by_itself(void **state) {
  batch_rig *rig = held_rig(state, 0);
  assert_int_equal(bw_batch_error(rig->batch), -EIO);
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  assert_int_equal(batch_rig_stats(rig).retries, 0);
  batch_rig_always(rig, BATCH_OFFER, 0);
  batch_rig_free(rig);
}

static void test_batch_fail__a_back_off_tries_again_by_itself(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .retries = 3, .backoff_us = 100);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EIO, -EIO, -EIO);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(batch_rig_await_settled(rig, 1));
  assert_string_equal(batch_rig_names(rig), "1/1/1/1 1/1/1/2 1/1/1/3 1/1/1/4");
  assert_delivered(rig, "1:ok");
  batch_rig_free(rig);
}

static void test_batch_fail__a_round_with_back_off_ends_after_its_retries(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .retries = 2, .backoff_us = 100);
  batch_rig_always(rig, BATCH_OFFER, -EIO);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(batch_rig_await_error(rig, -EIO));
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 3);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 6);
  batch_rig_always(rig, BATCH_OFFER, 0);
  batch_rig_free(rig);
}

static void test_batch_fail__nothing_newer_overtakes_a_failed_batch(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 4, .retries = 2, .backoff_us = 2000);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EIO, -EIO);
  assert_int_equal(batch_rig_send(rig, "1,2,3"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(1) (1) (1) (2) (3)");
  batch_rig_free(rig);
}

static void test_batch_fail__EINTR_is_offered_again_at_once(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .when_failed = BW_FAILED_GIVE_UP);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EINTR, -EINTR, 0);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(batch_rig_await_settled(rig, 1));
  assert_offers(rig, "(1) (1) (1)");
  assert_delivered(rig, "1:ok");
  assert_int_equal(batch_rig_stats(rig).retries, 0);
  batch_rig_free(rig);
}

static void test_batch_fail__a_positive_answer_is_EPROTO(void **state) {
  static const int answers[] = {2, 1000, BW_FINAL, INT32_MAX};
  for (size_t i = 0; i < sizeof answers / sizeof *answers; ++i) {
    batch_rig *rig = BATCH_RIG(state, .max_items = 1, .retries = 1);
    batch_rig_always(rig, BATCH_OFFER, answers[i]);
    assert_int_equal(batch_rig_send(rig, "1"), 0);
    assert_true(batch_rig_await_error(rig, -EPROTO));
    assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 2);
    batch_rig_always(rig, BATCH_OFFER, 0);
    assert_int_equal(bw_batch_flush(rig->batch), 0);
    assert_delivered(rig, "1:ok");
    batch_rig_free(rig);
  }
}

static void test_batch_fail__a_positive_answer_of_flush_or_close_is_EPROTO(void **state) {
  static const int answers[] = {1, BW_BATCH_TAKEN, INT32_MAX};
  for (size_t i = 0; i < sizeof answers / sizeof *answers; ++i) {
    batch_rig *rig = BATCH_RIG(state, .max_items = 1);
    BATCH_SCRIPT(rig, BATCH_FLUSH, answers[i]);
    BATCH_SCRIPT(rig, BATCH_CLOSE, answers[i]);
    assert_int_equal(batch_rig_send(rig, "1"), 0);
    assert_int_equal(bw_batch_flush(rig->batch), -EPROTO);
    assert_int_equal(bw_batch_flush(rig->batch), 0);
    assert_int_equal(bw_batch_close(rig->batch), -EPROTO);
    assert_int_equal(bw_batch_close(rig->batch), 0); /* it is closed all the same */
    assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
    batch_rig_free(rig);
  }
}

/* ---- A held batch ---------------------------------------------------------------------------- */

static void test_batch_fail__a_held_batch_and_all_behind_it_stay_in_order(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 4);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EIO);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(batch_rig_await_error(rig, -EIO));
  assert_int_equal(batch_rig_send(rig, "2,3"), 0);
  assert_int_equal(bw_batch_buffered(rig->batch), 3);
  assert_offers(rig, "(1)");
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(bw_batch_error(rig->batch), 0);
  assert_sink_calls(rig, "(1) (1) (2) (3) flush");
  batch_rig_free(rig);
}

static void test_batch_fail__a_flush_starts_a_round(void **state) {
  batch_rig *rig = held_rig(state, 2);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 6);
  assert_int_equal(bw_batch_flush_for(rig->batch, kForEver), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 9);
  assert_int_equal(batch_rig_get(rig, BATCH_OFFER, 8).attempt, 9);
  assert_int_equal(batch_rig_stats(rig).retries, 8);
  assert_int_equal(batch_rig_count(rig, BATCH_FLUSH), 0);
  assert_int_equal(bw_batch_buffered(rig->batch), 1);
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_delivered(rig, "1:ok");
  batch_rig_free(rig);
}

static void test_batch_fail__a_close_starts_a_round_and_does_not_close(void **state) {
  batch_rig *rig = held_rig(state, 1);
  assert_int_equal(bw_batch_close(rig->batch), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 4);
  assert_int_equal(batch_rig_send(rig, "2"), -ESHUTDOWN);
  assert_int_equal(bw_batch_close_for(rig->batch, kForEver), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 6);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 0);
  batch_rig_always(rig, BATCH_OFFER, 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_delivered(rig, "1:ok");
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

static void test_batch_fail__after_a_discard_it_can_be_closed(void **state) {
  batch_rig *rig = held_rig(state, 0);
  assert_int_equal(bw_batch_close(rig->batch), -EIO);
  assert_int_equal(bw_batch_discard(rig->batch), 1);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_delivered(rig, "1:ECANCELED");
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

static void test_batch_fail__a_wake_starts_a_round(void **state) {
  batch_rig *rig = held_rig(state, 1);
  BATCH_SCRIPT(rig, BATCH_OFFER, -ENOSPC, -ENOSPC);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  if (BATCH_IS_BACKGROUND(state)) assert_true(batch_rig_await(rig, BATCH_OFFER, 4));
  else assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 2); /* a wake never calls the sink */
  assert_int_equal(poll_flush(rig), -ENOSPC);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 4);
  batch_rig_always(rig, BATCH_OFFER, 0);
  batch_rig_free(rig);
}

static void test_batch_fail__a_poll_ready_without_room_starts_a_round(void **state) {
  batch_rig *rig = held_rig(state, 1);
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_ready), -EIO); /* tells */
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 2);
  BATCH_SCRIPT(rig, BATCH_OFFER, -ENOSPC, -ENOSPC);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_ready), -ENOSPC); /* tries */
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 4);
  batch_rig_always(rig, BATCH_OFFER, 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_ready), 0);
  batch_rig_free(rig);
}

static void test_batch_fail__a_poll_ready_with_room_says_and_tries_nothing(void **state) {
  batch_rig *rig = held_rig(state, 0);
  for (int i = 0; i < 3; ++i) assert_int_equal(bw_batch_poll_ready(rig->batch, NULL), 0);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  assert_int_equal(bw_batch_poll_flush(rig->batch, NULL), -EIO); /* not told yet */
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  batch_rig_always(rig, BATCH_OFFER, 0);
  batch_rig_free(rig);
}

static void test_batch_fail__polls_tell_each_failed_round_once(void **state) {
  batch_rig *rig = held_rig(state, 0);
  assert_int_equal(bw_batch_poll_flush(rig->batch, NULL), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  for (size_t round = 2; round <= 4; ++round) {
    assert_int_equal(poll_flush(rig), -EIO);
    assert_int_equal(batch_rig_count(rig, BATCH_OFFER), round);
  }
  batch_rig_always(rig, BATCH_OFFER, 0);
  assert_int_equal(poll_flush(rig), 0);
  assert_delivered(rig, "1:ok");
  batch_rig_free(rig);
}

static void test_batch_fail__what_a_blocking_call_told_polls_do_not_tell_again(void **state) {
  batch_rig *rig = held_rig(state, 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 2);
  BATCH_SCRIPT(rig, BATCH_OFFER, -ENOSPC);
  assert_int_equal(poll_flush(rig), -ENOSPC);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 3);
  batch_rig_always(rig, BATCH_OFFER, 0);
  batch_rig_free(rig);
}

static void test_batch_fail__what_a_send_told_polls_do_not_tell_again(void **state) {
  batch_rig *rig = held_rig(state, 0);
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_int_equal(batch_rig_send(rig, "3"), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 2);
  BATCH_SCRIPT(rig, BATCH_OFFER, -ENOSPC);
  assert_int_equal(poll_flush(rig), -ENOSPC);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 3);
  batch_rig_always(rig, BATCH_OFFER, 0);
  batch_rig_free(rig);
}

static void test_batch_fail__polls_of_all_kinds_tell_it_once_together(void **state) {
  batch_rig *rig = held_rig(state, 0);
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_int_equal(bw_batch_poll_ready(rig->batch, NULL), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  assert_int_equal(poll_flush(rig), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 2);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_close), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 3);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 0);
  batch_rig_always(rig, BATCH_OFFER, 0);
  batch_rig_free(rig);
}

static void test_batch_fail__bw_batch_error_asks_without_telling(void **state) {
  batch_rig *rig = held_rig(state, 0);
  for (int i = 0; i < 3; ++i) assert_int_equal(bw_batch_error(rig->batch), -EIO);
  assert_int_equal(bw_batch_poll_flush(rig->batch, NULL), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  batch_rig_always(rig, BATCH_OFFER, 0);
  batch_rig_free(rig);
}

static void test_batch_fail__a_round_that_is_not_ready_is_no_failure(void **state) {
  batch_rig *rig = held_rig(state, 0);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EAGAIN, 0);
  assert_int_equal(bw_batch_flush_for(rig->batch, 1000), -ETIMEDOUT);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 2));
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_string_equal(batch_rig_names(rig), "1/1/1/1 1/1/1/2 1/1/1/2");
  batch_rig_free(rig);
}

static void test_batch_fail__free_tries_once_more(void **state) {
  batch_rig *rig = held_rig(state, 0);
  batch_rig_always(rig, BATCH_OFFER, 0);
  batch_rig_free_batch(rig);
  assert_delivered(rig, "1:ok");
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

static void test_batch_fail__free_gives_up_what_is_held(void **state) {
  batch_rig *rig = held_rig(state, 0);
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  batch_rig_free_batch(rig);
  assert_delivered(rig, "1,2:EIO");
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

/* ---- Giving up ------------------------------------------------------------------------------- */

static void test_batch_fail__give_up_settles_with_the_code_and_goes_on(void **state) {
  batch_rig *rig =
      BATCH_RIG(state, .max_items = 2, .buffers = 3, .retries = 1, .when_failed = BW_FAILED_GIVE_UP);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EIO, -EIO, 0);
  assert_int_equal(batch_rig_send(rig, "1,2,3,4"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_offers(rig, "(1,2) (1,2) (3,4)");
  assert_delivered(rig, "1,2:EIO 3,4:ok");
  assert_int_equal(bw_batch_error(rig->batch), 0);
  assert_int_equal(batch_rig_stats(rig).failed_items, 2);
  assert_int_equal(batch_rig_stats(rig).total_items, 2);
  assert_int_equal(bw_batch_flushed(rig->batch), 1);
  batch_rig_free(rig);
}

static void test_batch_fail__flush_tells_once_what_was_given_up(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .when_failed = BW_FAILED_GIVE_UP);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EIO, 0, -ENOSPC);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "3"), 0);
  assert_int_equal(poll_flush(rig), -ENOSPC);
  assert_int_equal(poll_flush(rig), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  batch_rig_free(rig);
}

static void test_batch_fail__close_tells_what_was_given_up_and_closes(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .when_failed = BW_FAILED_GIVE_UP);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EIO);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(bw_batch_close(rig->batch), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  batch_rig_free(rig);
}

static void test_batch_fail__poll_close_tells_it_too(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .when_failed = BW_FAILED_GIVE_UP);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EIO);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_close), -EIO);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_close), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  batch_rig_free(rig);
}

/* ---- Refused for good ------------------------------------------------------------------------ */

static void test_batch_fail__final_is_given_up_at_once_with_the_bare_code(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2, .retries = 5, .backoff_us = 100);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EINVAL - BW_FINAL);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_delivered(rig, "1,2:EINVAL");
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  assert_int_equal(bw_batch_error(rig->batch), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EINVAL);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_stats(rig).failed_items, 2);
  assert_int_equal(bw_batch_flushed(rig->batch), 0);
  batch_rig_free(rig);
}

static void test_batch_fail__final_keeps_codes_of_our_own(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1);
  BATCH_SCRIPT(rig, BATCH_OFFER, BW_EWRITEZERO - BW_FINAL);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), BW_EWRITEZERO);
  assert_delivered(rig, "1:BW_EWRITEZERO");
  batch_rig_free(rig);
}

static void test_batch_fail__final_after_a_failure_ends_the_round(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .retries = 5);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EIO, -EPERM - BW_FINAL, 0);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EPERM);
  assert_offers(rig, "(1) (1)");
  assert_delivered(rig, "1:EPERM");
  batch_rig_free(rig);
}

static void test_batch_fail__bisect_finds_the_poison_item(void **state) {
  batch_rig *rig = BATCH_RIG(state, .flags = BW_BATCH_BISECT, .max_items = 4);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EINVAL - BW_FINAL, 0, -EINVAL - BW_FINAL, -EINVAL - BW_FINAL, 0);
  assert_int_equal(batch_rig_send(rig, "1,2,3,4"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EINVAL);
  assert_offers(rig, "(1,2,3,4) (1,2) (3,4) (3) (4)");
  assert_delivered(rig, "1,2:ok 3:EINVAL 4:ok");
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(bw_batch_flushed(rig->batch), 1);
  const bw_batch_stats_t stats = batch_rig_stats(rig);
  assert_int_equal(stats.total_batches, 1);
  assert_int_equal(stats.total_items, 3);
  assert_int_equal(stats.failed_items, 1);
  for (size_t i = 0; i < 5; ++i) {
    static const uint64_t first[5] = {1, 1, 3, 3, 4};
    assert_int_equal(batch_rig_get(rig, BATCH_OFFER, i).serial, 1);
    assert_int_equal(batch_rig_get(rig, BATCH_OFFER, i).first, first[i]);
  }
  batch_rig_free(rig);
}

static int refuse_poison(batch_rig *rig, const batch_event *call) {
  (void)rig;
  return call->kind == BATCH_OFFER && strchr(call->text, '!') ? -EINVAL - BW_FINAL : 0;
}

static void test_batch_fail__bisect_keeps_the_order_of_parts_of_any_batch(void **state) {
  static const char *const batches[] = {"!a,b,c,d,e,f,g", "a,b,!c,d,e,!f,!g", "!a,!b,!c,!d,!e,!f,!g", "a,b,c,!d,e,f,g",
                                        "!a,b,!c,d,!e,f,!g"};
  batch_rig *rig = BATCH_RIG(state, .flags = BW_BATCH_BISECT, .max_items = 7, .buffers = 3);
  rig->judge = refuse_poison;
  for (size_t i = 0; i < 5; ++i) assert_int_equal(batch_rig_send(rig, batches[i]), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EINVAL);
  assert_int_equal(bw_batch_flushed(rig->batch), 4); /* of one the sink took nothing */
  for (size_t i = 1, offers = batch_rig_count(rig, BATCH_OFFER); i < offers; ++i) {
    const batch_event before = batch_rig_get(rig, BATCH_OFFER, i - 1), offer = batch_rig_get(rig, BATCH_OFFER, i);
    assert_true(offer.serial >= before.serial);
    assert_true(offer.first == before.first || offer.first == before.first + before.count);
  }
  for (size_t i = 0; i < batch_rig_count(rig, BATCH_DELIVERED); ++i) {
    const batch_event told = batch_rig_get(rig, BATCH_DELIVERED, i);
    assert_int_equal(told.code, strchr(told.text, '!') ? -EINVAL : 0);
  }
  assert_int_equal(batch_rig_settled(rig), 35);
  assert_int_equal(batch_rig_stats(rig).failed_items, 16);
  assert_int_equal(batch_rig_stats(rig).total_batches, 4);
  batch_rig_free(rig);
}

static void test_batch_fail__a_part_that_fails_is_tried_again_before_anything_newer(void **state) {
  batch_rig *rig = BATCH_RIG(state, .flags = BW_BATCH_BISECT, .max_items = 2, .buffers = 3);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EINVAL - BW_FINAL, -EIO);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_true(batch_rig_await_error(rig, -EIO));
  assert_int_equal(batch_rig_send(rig, "3,4"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(1,2) (1) (1) (2) (3,4)");
  assert_delivered(rig, "1,2,3,4:ok");
  assert_int_equal(batch_rig_stats(rig).total_batches, 2);
  assert_int_equal(bw_batch_flushed(rig->batch), 2);
  batch_rig_free(rig);
}

static void test_batch_fail__parts_are_one_buffer(void **state) {
  batch_rig *rig = BATCH_RIG(state, .flags = BW_BATCH_BISECT, .max_items = 4, .buffers = 2);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EINVAL - BW_FINAL, -EINVAL - BW_FINAL, -EIO);
  assert_int_equal(batch_rig_send(rig, "1,2,3,4"), 0);
  assert_true(batch_rig_await_error(rig, -EIO));
  assert_int_equal(batch_rig_start_send(rig, "5,6,7,8"), 0);
  assert_int_equal(batch_rig_start_send(rig, "9"), -EAGAIN);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2,3,4,5,6,7,8:ok");
  batch_rig_free(rig);
}

static void test_batch_fail__only_refusals_for_good_are_halved(void **state) {
  batch_rig *rig = BATCH_RIG(state, .flags = BW_BATCH_BISECT, .max_items = 2, .retries = 1);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EIO, -EIO);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_true(batch_rig_await_error(rig, -EIO));
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(1,2) (1,2) (1,2)");
  batch_rig_free(rig);
}

/* ---- BW_ESINK -------------------------------------------------------------------------------- */

/* Held with BW_ESINK, whatever the options say; the sink would take all now. */
static batch_rig *esink_rig(void **state, uint32_t when_full) {
  batch_rig *rig = BATCH_RIG(state, .flags = BW_BATCH_BISECT, .max_items = 2, .buffers = 2, .retries = 3,
                             .when_failed = BW_FAILED_GIVE_UP, .when_full = when_full);
  BATCH_SCRIPT(rig, BATCH_OFFER, BW_ESINK);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_true(batch_rig_await_error(rig, BW_ESINK));
  return rig;
}

static void test_batch_fail__ESINK_is_held_and_never_offered_again(void **state) {
  batch_rig *rig = esink_rig(state, BW_FULL_WAIT);
  assert_int_equal(bw_batch_flush(rig->batch), BW_ESINK);
  assert_int_equal(bw_batch_flush_for(rig->batch, kForEver), BW_ESINK);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "3,4"), 0);
  assert_int_equal(batch_rig_send(rig, "5"), BW_ESINK);
  for (int i = 0; i < 3; ++i) {
    assert_int_equal(bw_batch_poll_flush(rig->batch, NULL), BW_ESINK);
    assert_int_equal(bw_batch_poll_ready(rig->batch, NULL), BW_ESINK);
  }
  assert_int_equal(bw_batch_close(rig->batch), BW_ESINK);
  assert_int_equal(bw_batch_poll_close(rig->batch, NULL), BW_ESINK);
  assert_offers(rig, "(1,2)");
  assert_delivered(rig, "");
  assert_int_equal(bw_batch_discard(rig->batch), 4);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_delivered(rig, "1,2,3,4:ECANCELED");
  batch_rig_free(rig);
}

static void test_batch_fail__after_a_discard_ESINK_is_over(void **state) {
  batch_rig *rig = esink_rig(state, BW_FULL_WAIT);
  assert_int_equal(bw_batch_discard(rig->batch), 2);
  assert_int_equal(bw_batch_error(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "3,4"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2:ECANCELED 3,4:ok");
  batch_rig_free(rig);
}

static void test_batch_fail__drop_oldest_settles_ESINK(void **state) {
  batch_rig *rig = esink_rig(state, BW_FULL_DROP_OLDEST);
  assert_int_equal(batch_rig_send(rig, "3,4,5"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(1,2) (3,4) (5)");
  assert_delivered(rig, "1,2:ENOBUFS 3,4,5:ok");
  batch_rig_free(rig);
}

static void test_batch_fail__free_settles_ESINK_and_only_closes_the_sink(void **state) {
  batch_rig *rig = esink_rig(state, BW_FULL_WAIT);
  assert_int_equal(batch_rig_send(rig, "3"), 0);
  batch_rig_free_batch(rig);
  assert_sink_calls(rig, "(1,2) close");
  assert_int_equal(batch_rig_settled(rig), 3);
  assert_string_equal(batch_rig_get(rig, BATCH_DELIVERED, 0).text, "1,2");
  assert_int_equal(batch_rig_get(rig, BATCH_DELIVERED, 0).code, BW_ESINK);
  assert_int_not_equal(batch_rig_get(rig, BATCH_DELIVERED, 1).code, 0);
  batch_rig_free(rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_ALL(test_batch_fail__a_failure_is_tried_again_as_often_as_told),
      IN_ALL(test_batch_fail__without_retries_it_is_not_tried_again_by_itself),
      IN_ALL(test_batch_fail__a_back_off_tries_again_by_itself),
      IN_ALL(test_batch_fail__a_round_with_back_off_ends_after_its_retries),
      IN_ALL(test_batch_fail__nothing_newer_overtakes_a_failed_batch),
      IN_ALL(test_batch_fail__EINTR_is_offered_again_at_once),
      IN_ALL(test_batch_fail__a_positive_answer_is_EPROTO),
      IN_ALL(test_batch_fail__a_positive_answer_of_flush_or_close_is_EPROTO),
      IN_ALL(test_batch_fail__a_held_batch_and_all_behind_it_stay_in_order),
      IN_ALL(test_batch_fail__a_flush_starts_a_round),
      IN_ALL(test_batch_fail__a_close_starts_a_round_and_does_not_close),
      IN_ALL(test_batch_fail__after_a_discard_it_can_be_closed),
      IN_ALL(test_batch_fail__a_wake_starts_a_round),
      IN_ALL(test_batch_fail__a_poll_ready_without_room_starts_a_round),
      IN_ALL(test_batch_fail__a_poll_ready_with_room_says_and_tries_nothing),
      IN_ALL(test_batch_fail__polls_tell_each_failed_round_once),
      IN_ALL(test_batch_fail__what_a_blocking_call_told_polls_do_not_tell_again),
      IN_ALL(test_batch_fail__what_a_send_told_polls_do_not_tell_again),
      IN_ALL(test_batch_fail__polls_of_all_kinds_tell_it_once_together),
      IN_ALL(test_batch_fail__bw_batch_error_asks_without_telling),
      IN_ALL(test_batch_fail__a_round_that_is_not_ready_is_no_failure),
      IN_ALL(test_batch_fail__free_tries_once_more),
      IN_ALL(test_batch_fail__free_gives_up_what_is_held),
      IN_ALL(test_batch_fail__give_up_settles_with_the_code_and_goes_on),
      IN_ALL(test_batch_fail__flush_tells_once_what_was_given_up),
      IN_ALL(test_batch_fail__close_tells_what_was_given_up_and_closes),
      IN_ALL(test_batch_fail__poll_close_tells_it_too),
      IN_ALL(test_batch_fail__final_is_given_up_at_once_with_the_bare_code),
      IN_ALL(test_batch_fail__final_keeps_codes_of_our_own),
      IN_ALL(test_batch_fail__final_after_a_failure_ends_the_round),
      IN_ALL(test_batch_fail__bisect_finds_the_poison_item),
      IN_ALL(test_batch_fail__bisect_keeps_the_order_of_parts_of_any_batch),
      IN_ALL(test_batch_fail__a_part_that_fails_is_tried_again_before_anything_newer),
      IN_ALL(test_batch_fail__parts_are_one_buffer),
      IN_ALL(test_batch_fail__only_refusals_for_good_are_halved),
      IN_ALL(test_batch_fail__ESINK_is_held_and_never_offered_again),
      IN_ALL(test_batch_fail__after_a_discard_ESINK_is_over),
      IN_ALL(test_batch_fail__drop_oldest_settles_ESINK),
      IN_ALL(test_batch_fail__free_settles_ESINK_and_only_closes_the_sink),
  };
  return cmocka_run_group_tests_name("batch_fail", tests, NULL, NULL);
}
