/*
 * Batches: when one is sealed, what the sink and `delivered` see of it, flush, close, free, the getters and the stats.
 */
#include "../support/batch_rig.h"

/* ---- Five basic cases ------------------------------------------------------------------------ */

static void test_batch__nine_items_make_three_batches_of_three(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 3, .buffers = 4);
  assert_int_equal(batch_rig_send(rig, "1,2,3,4,5,6,7,8,9"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 3));
  assert_offers(rig, "(1,2,3) (4,5,6) (7,8,9)");
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 3);
  assert_delivered(rig, "1,2,3,4,5,6,7,8,9:ok");
  batch_rig_free(rig);
}

static void test_batch__a_flush_offers_what_is_there(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 5);
  assert_int_equal(batch_rig_send(rig, "1,2,3"), 0);
  assert_offers(rig, "");
  assert_int_equal(bw_batch_buffered(rig->batch), 3);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(1,2,3)");
  assert_delivered(rig, "1,2,3:ok");
  assert_int_equal(bw_batch_buffered(rig->batch), 0);
  batch_rig_free(rig);
}

static void test_batch__a_partial_batch_follows_a_full_one(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 3);
  assert_int_equal(batch_rig_send(rig, "1,2,3,4"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  assert_offers(rig, "(1,2,3)");
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_offers(rig, "(1,2,3) (4)");
  batch_rig_free(rig);
}

static void test_batch__two_flushes_at_capacity_two(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(1,2)");
  assert_int_equal(batch_rig_send(rig, "3,4"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_sink_calls(rig, "(1,2) flush (3,4) flush");
  batch_rig_free(rig);
}

static void test_batch__stats_after_batches_of_three_five_and_two(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 5);
  assert_int_equal(batch_rig_send(rig, "1,2,3"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "1,2,3,4,5"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  const bw_batch_stats_t stats = batch_rig_stats(rig);
  assert_int_equal(stats.total_items, 10);
  assert_int_equal(stats.total_batches, 3);
  assert_int_equal(stats.max_batch_size, 5);
  batch_rig_free(rig);
}

/* ---- When a batch is sealed ------------------------------------------------------------------ */

static void test_batch__it_is_sealed_when_it_holds_max_bytes(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_bytes = 6);
  assert_int_equal(batch_rig_send(rig, "ab,cd"), 0);
  assert_offers(rig, "");
  assert_int_equal(batch_rig_send(rig, "ef"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  assert_offers(rig, "(ab,cd,ef)");
  assert_int_equal(batch_rig_get(rig, BATCH_OFFER, 0).bytes, 6);
  batch_rig_free(rig);
}

static void test_batch__it_is_sealed_when_the_next_item_does_not_fit(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_bytes = 6);
  assert_int_equal(batch_rig_send(rig, "ab,cd"), 0);
  assert_int_equal(batch_rig_send(rig, "xyz"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  assert_offers(rig, "(ab,cd)");
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(ab,cd) (xyz)");
  batch_rig_free(rig);
}

static void test_batch__padding_is_not_counted_as_bytes(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_bytes = 8, .item_align = 4096);
  assert_int_equal(batch_rig_send(rig, "a,b,c,d,e,f,g"), 0);
  assert_offers(rig, "");
  assert_int_equal(batch_rig_send(rig, "h"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  assert_offers(rig, "(a,b,c,d,e,f,g,h)");
  assert_int_equal(batch_rig_get(rig, BATCH_OFFER, 0).bytes, 8);
  batch_rig_free(rig);
}

static void test_batch__it_is_sealed_by_its_linger(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 100, .linger_us = 500);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(batch_rig_await_settled(rig, 1));
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_offers(rig, "(1) (2)");
  assert_false(pthread_equal(batch_rig_get(rig, BATCH_OFFER, 0).thread, pthread_self()));
  batch_rig_free(rig);
}

static void test_batch__a_linger_never_offers_an_empty_batch(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2, .linger_us = 1);
  for (int i = 0; i < 50; ++i) assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  const size_t offers = batch_rig_count(rig, BATCH_OFFER);
  for (size_t i = 0; i < offers; ++i) assert_true(batch_rig_get(rig, BATCH_OFFER, i).count > 0);
  assert_int_equal(batch_rig_settled(rig), 100);
  batch_rig_free(rig);
}

static void test_batch__what_a_linger_sealed_is_offered_after_the_answer_it_waits_for(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 100, .buffers = 2, .linger_us = 100);
  BATCH_SCRIPT(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_non_null(batch_rig_taken(rig, 0));
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_true(batch_rig_await(rig, BATCH_PRESSURE, 1)); /* both buffers are sealed */
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_offers(rig, "(1) (2)");
  batch_rig_free(rig);
}

static void test_batch__what_a_linger_sealed_is_offered_again_after_a_wake(void **state) {
  enum { kRounds = 20 };
  batch_rig *rig = BATCH_RIG(state, .max_items = 100, .linger_us = 100);
  for (int i = 0; i < kRounds; ++i) BATCH_SCRIPT(rig, BATCH_OFFER, -EAGAIN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  for (size_t offers = 1; offers <= kRounds; ++offers) {
    assert_true(batch_rig_await(rig, BATCH_OFFER, offers));
    assert_int_equal(bw_batch_wake(rig->batch), 0);
  }
  assert_true(batch_rig_await_settled(rig, 1));
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), kRounds + 1);
  batch_rig_free(rig);
}

static void test_batch__poll_flush_and_close_seal_it(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 5);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
  assert_offers(rig, "(1)");
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_close), 0);
  assert_sink_calls(rig, "(1) flush (2) flush close");
  batch_rig_free(rig);
}

static void test_batch__an_empty_one_is_never_offered(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_offers(rig, "(1,2)");
  batch_rig_free(rig);
}

static void test_batch__the_defaults_are_1000_items_and_1_MiB(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 0);
  static const char mebibyte[(1 << 20) + 1];
  for (int i = 0; i < 999; ++i) assert_int_equal(batch_rig_send(rig, "x"), 0);
  assert_offers(rig, "");
  assert_int_equal(batch_rig_send(rig, "x"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  assert_int_equal(batch_rig_get(rig, BATCH_OFFER, 0).count, 1000);
  assert_int_equal(bw_batch_send(rig->batch, mebibyte, sizeof mebibyte), -EMSGSIZE);
  assert_int_equal(bw_batch_send(rig->batch, mebibyte, sizeof mebibyte - 1), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 2));
  assert_int_equal(batch_rig_get(rig, BATCH_OFFER, 1).bytes, 1 << 20);
  batch_rig_free(rig);
}

static void test_batch__options_may_be_NULL(void **state) {
  batch_rig *rig = batch_rig_empty();
  const bw_batch_sink_t ops = batch_rig_ops();
  (void)state;
  assert_int_equal(bw_batch_new(&rig->batch, &ops, rig, NULL), 0);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_sink_calls(rig, "(1,2) flush close");
  batch_rig_free(rig);
}

/* ---- Items ----------------------------------------------------------------------------------- */

static void test_batch__items_are_copied_in(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 3);
  char text[4] = "abc";
  assert_int_equal(bw_batch_send(rig->batch, text, 3), 0);
  memset(text, 'x', 3);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(abc)");
  batch_rig_free(rig);
}

static void test_batch__an_item_longer_than_max_bytes_is_EMSGSIZE(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_bytes = 4);
  const struct iovec parts[2] = {{(void *)"abc", 3}, {(void *)"de", 2}};
  assert_int_equal(batch_rig_send(rig, "abcde"), -EMSGSIZE);
  assert_int_equal(bw_batch_sendv(rig->batch, parts, 2), -EMSGSIZE);
  assert_int_equal(batch_rig_start_send(rig, "abcde"), -EMSGSIZE);
  assert_int_equal(bw_batch_start_sendv(rig->batch, parts, 2), -EMSGSIZE);
  assert_int_equal(bw_batch_buffered(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "abcd"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(abcd)");
  batch_rig_free(rig);
}

static void test_batch__items_may_be_empty(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 4, .max_bytes = 1);
  const struct iovec nothing = {NULL, 0};
  assert_int_equal(bw_batch_send(rig->batch, NULL, 0), 0);
  assert_int_equal(bw_batch_send(rig->batch, "", 0), 0);
  assert_int_equal(bw_batch_sendv(rig->batch, &nothing, 1), 0);
  assert_offers(rig, "");
  assert_int_equal(bw_batch_start_send(rig->batch, NULL, 0), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  const batch_event offer = batch_rig_get(rig, BATCH_OFFER, 0);
  assert_int_equal(offer.count, 4);
  assert_int_equal(offer.bytes, 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_settled(rig), 4);
  assert_int_equal(batch_rig_stats(rig).total_items, 4);
  batch_rig_free(rig);
}

static void test_batch__an_item_is_gathered_from_parts(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 3);
  const struct iovec parts[4] = {{(void *)"ab", 2}, {NULL, 0}, {(void *)"c", 1}, {(void *)"def", 3}};
  assert_int_equal(bw_batch_sendv(rig->batch, parts, 4), 0);
  assert_int_equal(bw_batch_start_sendv(rig->batch, parts, 3), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(abcdef,abc)");
  assert_int_equal(batch_rig_get(rig, BATCH_OFFER, 0).bytes, 9);
  batch_rig_free(rig);
}

static void test_batch__items_are_aligned_to_8_if_not_told_otherwise(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 5);
  assert_int_equal(batch_rig_send(rig, "a,bcd,efghijklm,,n"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(a,bcd,efghijklm,,n)");
  assert_int_equal(batch_rig_get(rig, BATCH_OFFER, 0).low_bits & 7, 0);
  batch_rig_free(rig);
}

static void test_batch__item_align_aligns_each_item(void **state) {
  static const uint32_t aligns[] = {1, 2, 16, 64, 4096};
  for (size_t i = 0; i < sizeof aligns / sizeof *aligns; ++i) {
    batch_rig *rig = BATCH_RIG(state, .max_items = 4, .max_bytes = 16, .item_align = aligns[i]);
    for (int round = 0; round < 2; ++round) {
      assert_int_equal(batch_rig_send(rig, "a,bcd,efghijk,l"), 0);
      assert_int_equal(bw_batch_flush(rig->batch), 0);
      const batch_event offer = batch_rig_get(rig, BATCH_OFFER, (size_t)round);
      assert_string_equal(offer.text, "a,bcd,efghijk,l");
      assert_int_equal(offer.low_bits & (aligns[i] - 1), 0);
    }
    batch_rig_free(rig);
  }
}

static void test_batch__items_of_one_size_lie_as_an_array(void **state) {
  static const struct {
    uint32_t size, align, given;
    const char *items;
  } cases[] = {{1, 1, 0, "a,b,c"},
               {6, 2, 0, "abcdef,ghijkl,mnopqr"},
               {12, 4, 0, "abcdefghijkl,mnopqrstuvwx,yz0123456789"},
               {16, 8, 0, "0123456789abcdef,0123456789ABCDEF,ghijklmnopqrstuv"},
               {16, 16, 16, "0123456789abcdef,0123456789ABCDEF,ghijklmnopqrstuv"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
    batch_rig *rig = BATCH_RIG(state, .max_items = 3, .item_size = cases[i].size, .item_align = cases[i].given);
    assert_int_equal(batch_rig_send(rig, cases[i].items), 0);
    assert_int_equal(bw_batch_flush(rig->batch), 0);
    const batch_event offer = batch_rig_get(rig, BATCH_OFFER, 0);
    assert_string_equal(offer.text, cases[i].items);
    assert_true(offer.contiguous);
    assert_int_equal(offer.low_bits & (cases[i].align - 1), 0);
    assert_int_equal(offer.bytes, 3 * cases[i].size);
    batch_rig_free(rig);
  }
}

static void test_batch__an_item_of_another_size_is_EINVAL(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 3, .item_size = 4);
  const struct iovec parts[2] = {{(void *)"ab", 2}, {(void *)"cd", 2}};
  assert_int_equal(batch_rig_send(rig, "abc"), -EINVAL);
  assert_int_equal(batch_rig_send(rig, "abcde"), -EINVAL);
  assert_int_equal(bw_batch_send(rig->batch, NULL, 0), -EINVAL);
  assert_int_equal(bw_batch_sendv(rig->batch, parts, 1), -EINVAL);
  assert_int_equal(batch_rig_start_send(rig, "abc"), -EINVAL);
  assert_int_equal(bw_batch_start_sendv(rig->batch, parts, 1), -EINVAL);
  assert_int_equal(bw_batch_buffered(rig->batch), 0);
  assert_int_equal(bw_batch_sendv(rig->batch, parts, 2), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(abcd)");
  batch_rig_free(rig);
}

/* ---- What the sink sees ---------------------------------------------------------------------- */

static void test_batch__views_have_serial_first_and_attempt(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 3);
  assert_int_equal(batch_rig_send(rig, "1,2,3,4"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "5,6"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_string_equal(batch_rig_names(rig), "1/1/3/1 2/4/1/1 3/5/2/1");
  batch_rig_free(rig);
}

static void test_batch__items_not_accepted_have_no_number(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2, .max_bytes = 4);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(batch_rig_send(rig, "too long"), -EMSGSIZE);
  assert_int_equal(bw_batch_send(rig->batch, NULL, 1), -EINVAL);
  assert_int_equal(batch_rig_send(rig, "2,3"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_string_equal(batch_rig_names(rig), "1/1/2/1 2/3/1/1");
  batch_rig_free(rig);
}

static void test_batch__inline_the_thread_that_sealed_calls_the_sink(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_offers(rig, "(1,2)");
  assert_delivered(rig, "1,2:ok");
  assert_true(pthread_equal(batch_rig_get(rig, BATCH_OFFER, 0).thread, pthread_self()));
  batch_rig_free(rig);
}

static void test_batch__in_the_background_only_our_thread_calls_write(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  for (int i = 0; i < 20; ++i) assert_int_equal(batch_rig_send(rig, "1,2,3"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "4"), 0);
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
  assert_int_equal(batch_rig_send(rig, "5"), 0);
  batch_rig_free_batch(rig);
  const pthread_t ours = batch_rig_get(rig, BATCH_OFFER, 0).thread;
  assert_false(pthread_equal(ours, pthread_self()));
  for (size_t i = 0; i < batch_rig_count(rig, BATCH_OFFER); ++i)
    assert_true(pthread_equal(batch_rig_get(rig, BATCH_OFFER, i).thread, ours));
  assert_int_equal(batch_rig_settled(rig), 62);
  batch_rig_free(rig);
}

static void test_batch__inline_the_thread_in_the_sink_offers_what_others_seal(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 3);
  batch_call call = {.rig = rig, .items = "1"};
  test_thread first;
  batch_rig_gate(rig, BATCH_KIND(BATCH_OFFER));
  test_thread_start(&first, batch_call_send, &call);
  assert_true(test_gate_await(&rig->gate, 1));
  assert_int_equal(batch_rig_send(rig, "2"), 0); /* must not wait for the sink */
  assert_offers(rig, "(1)");
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&first), 0);
  assert_offers(rig, "(1) (2)");
  const batch_event offers[2] = {batch_rig_get(rig, BATCH_OFFER, 0), batch_rig_get(rig, BATCH_OFFER, 1)};
  assert_true(pthread_equal(offers[0].thread, offers[1].thread));
  batch_rig_free(rig);
}

/* ---- Flush, close, free ---------------------------------------------------------------------- */

static void test_batch__flush_calls_the_sinks_flush_after_delivered(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  assert_int_equal(batch_rig_send(rig, "1,2,3"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_sink_calls(rig, "(1,2) (3) flush");
  assert_string_equal(batch_rig_trace(rig, BATCH_KIND(BATCH_DELIVERED) | BATCH_KIND(BATCH_FLUSH)), "1,2,3:ok flush");
  batch_rig_free(rig);
}

static void test_batch__flush_gives_the_code_of_the_sinks_flush(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  BATCH_SCRIPT(rig, BATCH_FLUSH, -EIO, BW_ESINK, 0);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_delivered(rig, "1:ok");
  assert_int_equal(bw_batch_error(rig->batch), 0);
  assert_int_equal(bw_batch_flush(rig->batch), BW_ESINK);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_count(rig, BATCH_OFFER), 1);
  batch_rig_free(rig);
}

static void test_batch__a_sinks_flush_that_is_not_ready_is_called_again_after_a_wake(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  batch_call call = {.rig = rig};
  test_thread flushing;
  BATCH_SCRIPT(rig, BATCH_FLUSH, -EAGAIN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  test_thread_start(&flushing, batch_call_flush, &call);
  assert_true(batch_rig_await(rig, BATCH_FLUSH, 1));
  assert_false(test_thread_settle(&flushing));
  assert_int_equal(batch_rig_count(rig, BATCH_FLUSH), 1);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_sink_calls(rig, "(1) flush flush");
  batch_rig_free(rig);
}

static void test_batch__a_sink_may_have_neither_flush_nor_close(void **state) {
  batch_rig *rig = batch_rig_empty();
  bw_batch_sink_t ops = batch_rig_ops();
  const bw_batch_options_t options = batch_rig_options(rig, BATCH_FLAGS(state));
  ops.flush = NULL;
  ops.close = NULL;
  assert_int_equal(bw_batch_new(&rig->batch, &ops, rig, &options), 0);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_sink_calls(rig, "(1) (2)");
  batch_rig_free(rig);
}

static void test_batch__a_flush_with_time_is_a_flush(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 9);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(bw_batch_flush_for(rig->batch, -1), 0);
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_int_equal(bw_batch_flush_for(rig->batch, TEST_BOUND_S * INT64_C(1000000)), 0);
  assert_sink_calls(rig, "(1) flush (2) flush");
  assert_int_equal(bw_batch_close_for(rig->batch, TEST_BOUND_S * INT64_C(1000000)), 0);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

static void test_batch__close_flushes_and_closes_the_sink_once(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  assert_int_equal(batch_rig_send(rig, "1,2,3"), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_sink_calls(rig, "(1,2) (3) flush close");
  assert_delivered(rig, "1,2,3:ok");
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_int_equal(bw_batch_close_for(rig->batch, 0), 0);
  assert_int_equal(bw_batch_poll_close(rig->batch, NULL), 0);
  batch_rig_free_batch(rig);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

static void test_batch__close_gives_the_code_of_the_sinks_close_once(void **state) {
  static const int codes[] = {-EIO, BW_ESINK};
  for (size_t i = 0; i < 2; ++i) {
    batch_rig *rig = BATCH_RIG(state, .max_items = 2);
    batch_rig_always(rig, BATCH_CLOSE, codes[i]);
    assert_int_equal(batch_rig_send(rig, "1"), 0);
    assert_int_equal(bw_batch_close(rig->batch), codes[i]);
    assert_int_equal(bw_batch_close(rig->batch), 0);
    batch_rig_free_batch(rig);
    assert_sink_calls(rig, "(1) flush close");
    batch_rig_free(rig);
  }
}

static void test_batch__after_close_items_are_refused(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  const struct iovec part = {(void *)"a", 1};
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "2"), -ESHUTDOWN);
  assert_int_equal(bw_batch_sendv(rig->batch, &part, 1), -ESHUTDOWN);
  assert_int_equal(batch_rig_start_send(rig, "2"), -ESHUTDOWN);
  assert_int_equal(bw_batch_start_sendv(rig->batch, &part, 1), -ESHUTDOWN);
  assert_int_equal(bw_batch_poll_ready(rig->batch, NULL), -ESHUTDOWN);
  assert_int_equal(bw_batch_discard(rig->batch), 0);
  assert_int_equal(bw_batch_error(rig->batch), 0);
  assert_int_equal(bw_batch_buffered(rig->batch), 0);
  assert_int_equal(bw_batch_flushed(rig->batch), 1);
  batch_rig_free(rig);
}

static void test_batch__after_close_the_sink_is_left_alone(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  (void)bw_batch_flush(rig->batch);
  (void)bw_batch_poll_flush(rig->batch, NULL);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  batch_rig_free_batch(rig);
  assert_sink_calls(rig, "(1) flush close");
  batch_rig_free(rig);
}

static void test_batch__free_flushes_and_closes(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  assert_int_equal(batch_rig_send(rig, "1,2,3"), 0);
  batch_rig_free_batch(rig);
  assert_sink_calls(rig, "(1,2) (3) flush close");
  assert_delivered(rig, "1,2,3:ok");
  batch_rig_free(rig);
}

static void test_batch__free_calls_an_interrupted_flush_of_the_sink_again(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  BATCH_SCRIPT(rig, BATCH_FLUSH, -EINTR, -EINTR);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  batch_rig_free_batch(rig);
  assert_sink_calls(rig, "(1) flush flush flush close");
  batch_rig_free(rig);
}

static void test_batch__free_of_an_unused_one_closes_the_sink(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  batch_rig_free_batch(rig);
  assert_offers(rig, "");
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

static void test_batch__delivered_and_pressure_may_be_missing(void **state) {
  batch_rig *rig = batch_rig_empty();
  const bw_batch_sink_t ops = batch_rig_ops();
  bw_batch_options_t options = batch_rig_options(rig, BATCH_FLAGS(state));
  options.delivered = NULL;
  options.pressure = NULL;
  options.max_items = 1;
  assert_int_equal(bw_batch_new(&rig->batch, &ops, rig, &options), 0);
  assert_int_equal(batch_rig_send(rig, "1,2,3"), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  assert_offers(rig, "(1) (2) (3)");
  batch_rig_free(rig);
}

/* ---- Getters and stats ----------------------------------------------------------------------- */

static void test_batch__flushed_counts_batches_the_sink_took(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2, .when_failed = BW_FAILED_GIVE_UP);
  BATCH_SCRIPT(rig, BATCH_OFFER, 0, -EIO, 0);
  assert_int_equal(bw_batch_flushed(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "1,2,3,4,5"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_int_equal(bw_batch_flushed(rig->batch), 2);
  batch_rig_free(rig);
}

static void assert_latency(const bw_latency_t *latency, uint64_t count) {
  assert_int_equal(latency->count, count);
  assert_true(latency->p50_ns <= latency->p90_ns && latency->p90_ns <= latency->p99_ns);
  assert_true(latency->p99_ns <= latency->p999_ns);
  assert_true(latency->p999_ns <= latency->max_ns);
}

static void test_batch__stats_of_a_new_one_are_zero(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  const bw_batch_stats_t stats = batch_rig_stats(rig), zero = {.size = sizeof zero};
  assert_memory_equal(&stats, &zero, sizeof stats);
  batch_rig_free(rig);
}

static void test_batch__stats_count_everything(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2, .buffers = 3, .retries = 1, .when_failed = BW_FAILED_GIVE_UP);
  BATCH_SCRIPT(rig, BATCH_OFFER, 0, -EIO, -EIO, -EAGAIN);
  assert_int_equal(batch_rig_send(rig, "ab,c,d,e"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EIO);
  assert_int_equal(batch_rig_send(rig, "f,g,h"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 4));
  bw_batch_stats_t stats = batch_rig_stats(rig);
  assert_int_equal(stats.total_items, 2);
  assert_int_equal(stats.total_batches, 1);
  assert_int_equal(stats.max_batch_size, 2);
  assert_int_equal(stats.bytes, 3);
  assert_int_equal(stats.failed_items, 2);
  assert_int_equal(stats.dropped_items, 0);
  assert_int_equal(stats.retries, 1);
  assert_int_equal(stats.buffered_items, 3);
  assert_int_equal(stats.in_flight_items, 0);
  assert_int_equal(bw_batch_buffered(rig->batch), 3);
  assert_int_equal(batch_rig_discard(rig, 3), 3);
  stats = batch_rig_stats(rig);
  assert_int_equal(stats.dropped_items, 3);
  assert_int_equal(stats.buffered_items, 0);
  assert_true(stats.in_batch.count >= 3);
  assert_latency(&stats.in_batch, stats.in_batch.count);
  assert_latency(&stats.to_delivered, stats.to_delivered.count);
  batch_rig_free(rig);
}

static void test_batch__latencies_are_counted_per_batch(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  assert_int_equal(batch_rig_send(rig, "1,2,3,4,5"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  const bw_batch_stats_t stats = batch_rig_stats(rig);
  assert_latency(&stats.in_batch, 3);
  assert_latency(&stats.to_delivered, 3);
  assert_true(stats.to_delivered.max_ns >= stats.in_batch.p50_ns);
  batch_rig_free(rig);
}

static void test_batch__stats_of_an_older_caller_are_cut(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  bw_batch_stats_t stats;
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  memset(&stats, 0xAA, sizeof stats);
  stats.size = offsetof(bw_batch_stats_t, total_batches);
  assert_int_equal(bw_batch_get_stats(rig->batch, &stats), 0);
  assert_int_equal(stats.total_items, 2);
  assert_true(stats.total_batches == UINT64_C(0xAAAAAAAAAAAAAAAA));
  batch_rig_free(rig);
}

static void test_batch__json_names_every_field(void **state) {
  static const char *const names[] = {"total_items", "total_batches", "max_batch_size", "dropped_items",
                                      "failed_items", "retries", "bytes", "buffered_items", "in_flight_items",
                                      "in_batch", "to_delivered", "count", "p50_ns", "p90_ns", "p99_ns", "p999_ns",
                                      "max_ns"};
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  char text[4096], quoted[32];
  assert_int_equal(batch_rig_send(rig, "abc,de"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  const int64_t length = bw_batch_stats_json(rig->batch, text, sizeof text);
  assert_true(length > 0 && length < (int64_t)sizeof text);
  assert_int_equal(strlen(text), length);
  for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
    snprintf(quoted, sizeof quoted, "\"%s\":", names[i]);
    assert_non_null(strstr(text, quoted));
  }
  assert_non_null(strstr(text, "\"total_items\":2,"));
  assert_non_null(strstr(text, "\"bytes\":5,"));
  assert_int_equal(text[0], '{');
  assert_int_equal(text[length - 1], '}');
  batch_rig_free(rig);
}

static void test_batch__json_is_cut_as_by_snprintf(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  char whole[4096], part[16];
  const int64_t length = bw_batch_stats_json(rig->batch, whole, sizeof whole);
  assert_int_equal(bw_batch_stats_json(rig->batch, NULL, 0), length);
  assert_int_equal(bw_batch_stats_json(rig->batch, part, sizeof part), length);
  assert_int_equal(part[15], 0);
  assert_memory_equal(part, whole, 15);
  batch_rig_free(rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_ALL(test_batch__nine_items_make_three_batches_of_three),
      IN_ALL(test_batch__a_flush_offers_what_is_there),
      IN_ALL(test_batch__a_partial_batch_follows_a_full_one),
      IN_ALL(test_batch__two_flushes_at_capacity_two),
      IN_ALL(test_batch__stats_after_batches_of_three_five_and_two),
      IN_ALL(test_batch__it_is_sealed_when_it_holds_max_bytes),
      IN_ALL(test_batch__it_is_sealed_when_the_next_item_does_not_fit),
      IN_ALL(test_batch__padding_is_not_counted_as_bytes),
      IN_SHARED(test_batch__it_is_sealed_by_its_linger),
      IN_SHARED(test_batch__a_linger_never_offers_an_empty_batch),
      IN_SHARED(test_batch__what_a_linger_sealed_is_offered_after_the_answer_it_waits_for),
      IN_SHARED(test_batch__what_a_linger_sealed_is_offered_again_after_a_wake),
      IN_ALL(test_batch__poll_flush_and_close_seal_it),
      IN_ALL(test_batch__an_empty_one_is_never_offered),
      IN_ALL(test_batch__the_defaults_are_1000_items_and_1_MiB),
      cmocka_unit_test(test_batch__options_may_be_NULL),
      IN_ALL(test_batch__items_are_copied_in),
      IN_ALL(test_batch__an_item_longer_than_max_bytes_is_EMSGSIZE),
      IN_ALL(test_batch__items_may_be_empty),
      IN_ALL(test_batch__an_item_is_gathered_from_parts),
      IN_ALL(test_batch__items_are_aligned_to_8_if_not_told_otherwise),
      IN_ALL(test_batch__item_align_aligns_each_item),
      IN_ALL(test_batch__items_of_one_size_lie_as_an_array),
      IN_ALL(test_batch__an_item_of_another_size_is_EINVAL),
      IN_ALL(test_batch__views_have_serial_first_and_attempt),
      IN_ALL(test_batch__items_not_accepted_have_no_number),
      IN_INLINE(test_batch__inline_the_thread_that_sealed_calls_the_sink),
      IN_BACKGROUND(test_batch__in_the_background_only_our_thread_calls_write),
      IN(Inline, test_batch__inline_the_thread_in_the_sink_offers_what_others_seal),
      IN_ALL(test_batch__flush_calls_the_sinks_flush_after_delivered),
      IN_ALL(test_batch__flush_gives_the_code_of_the_sinks_flush),
      IN_ALL(test_batch__a_sinks_flush_that_is_not_ready_is_called_again_after_a_wake),
      IN_ALL(test_batch__a_sink_may_have_neither_flush_nor_close),
      IN_ALL(test_batch__a_flush_with_time_is_a_flush),
      IN_ALL(test_batch__close_flushes_and_closes_the_sink_once),
      IN_ALL(test_batch__close_gives_the_code_of_the_sinks_close_once),
      IN_ALL(test_batch__after_close_items_are_refused),
      IN_ALL(test_batch__after_close_the_sink_is_left_alone),
      IN_ALL(test_batch__free_flushes_and_closes),
      IN_ALL(test_batch__free_calls_an_interrupted_flush_of_the_sink_again),
      IN_ALL(test_batch__free_of_an_unused_one_closes_the_sink),
      IN_ALL(test_batch__delivered_and_pressure_may_be_missing),
      IN_ALL(test_batch__flushed_counts_batches_the_sink_took),
      IN_ALL(test_batch__stats_of_a_new_one_are_zero),
      IN_ALL(test_batch__stats_count_everything),
      IN_ALL(test_batch__latencies_are_counted_per_batch),
      IN_ALL(test_batch__stats_of_an_older_caller_are_cut),
      IN_ALL(test_batch__json_names_every_field),
      IN_ALL(test_batch__json_is_cut_as_by_snprintf),
  };
  return cmocka_run_group_tests_name("batch_basic", tests, NULL, NULL);
}
