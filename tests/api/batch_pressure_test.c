/*
 * Pressure: one call for each edge, at the use the options name.
 */
#include "../support/batch_rig.h"

static void send_many(batch_rig *rig, const char *item, int count) {
  for (int i = 0; i < count; ++i) assert_int_equal(batch_rig_send(rig, item), 0);
}

static bool await_edges(batch_rig *rig, size_t edges) { return batch_rig_await(rig, BATCH_PRESSURE, edges); }

/* Two buffers of ten items, over a sink that takes every batch and answers later. */
static batch_rig *slow_rig(void **state, uint32_t high, uint32_t low) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 10, .buffers = 2, .high_percent = high, .low_percent = low);
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  return rig;
}

static void test_batch_pressure__on_at_80_percent_and_off_at_50_by_default(void **state) {
  batch_rig *rig = slow_rig(state, 0, 0);
  send_many(rig, "x", 15); /* 1.5 of 2 */
  assert_pressure(rig, "");
  send_many(rig, "x", 1); /* 1.6 */
  assert_true(await_edges(rig, 1));
  assert_pressure(rig, "on");
  send_many(rig, "x", 4);
  assert_int_equal(batch_rig_answer(rig, 0), 0); /* 1.0 */
  assert_true(await_edges(rig, 2));
  assert_pressure(rig, "on off");
  assert_int_equal(batch_rig_finish(rig), 0);
  batch_rig_free_batch(rig);
  assert_pressure(rig, "on off");
  batch_rig_free(rig);
}

static void test_batch_pressure__the_percentages_may_be_chosen(void **state) {
  static const struct {
    uint32_t high, low;
    int before; /* items that leave it off */
  } cases[] = {{100, 10, 19}, {55, 55, 10}, {60, 40, 11}, {5, 1, 0}, {51, 0, 10}, {100, 0, 19}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
    batch_rig *rig = slow_rig(state, cases[i].high, cases[i].low);
    send_many(rig, "x", cases[i].before);
    assert_pressure(rig, "");
    send_many(rig, "x", 1);
    assert_true(await_edges(rig, 1));
    assert_pressure(rig, "on");
    assert_int_equal(batch_rig_finish(rig), 0);
    assert_true(await_edges(rig, 2));
    assert_pressure(rig, "on off");
    batch_rig_free(rig);
  }
}

static void test_batch_pressure__low_is_high_if_that_is_less_than_50(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 10, .buffers = 10, .max_in_flight = 10, .high_percent = 30);
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  send_many(rig, "x", 29);
  assert_pressure(rig, "");
  send_many(rig, "x", 11); /* 4 of 10 */
  assert_true(await_edges(rig, 1));
  assert_non_null(batch_rig_taken(rig, 3));
  assert_pressure(rig, "on");
  assert_int_equal(batch_rig_answer(rig, 0), 0); /* 3 of 10 */
  assert_true(await_edges(rig, 2));
  assert_pressure(rig, "on off");
  assert_int_equal(batch_rig_finish(rig), 0);
  batch_rig_free(rig);
}

static void test_batch_pressure__between_the_edges_nothing_is_told(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 10, .buffers = 10, .max_in_flight = 10, .high_percent = 80,
                             .low_percent = 20);
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  send_many(rig, "x", 90);
  assert_true(await_edges(rig, 1));
  for (size_t answered = 1; answered <= 6; ++answered) {
    assert_int_equal(batch_rig_answer(rig, 0), 0);
    assert_true(batch_rig_await_settled(rig, answered * 10));
  }
  assert_pressure(rig, "on"); /* 3 of 10 */
  send_many(rig, "x", 40);
  assert_pressure(rig, "on"); /* 7 of 10 */
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_true(await_edges(rig, 2));
  assert_pressure(rig, "on off");
  batch_rig_free(rig);
}

static void test_batch_pressure__bytes_count_where_they_are_the_fuller_part(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 100, .max_bytes = 10, .buffers = 1);
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  send_many(rig, "1234567", 1);
  assert_pressure(rig, "");
  send_many(rig, "8", 1);
  assert_true(await_edges(rig, 1));
  assert_pressure(rig, "on");
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_true(await_edges(rig, 2));
  assert_pressure(rig, "on off");
  batch_rig_free(rig);
}

static void test_batch_pressure__it_goes_on_and_off_again(void **state) {
  batch_rig *rig = slow_rig(state, 0, 0);
  for (size_t round = 1; round <= 3; ++round) {
    batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
    send_many(rig, "x", 16);
    assert_true(await_edges(rig, 2 * round - 1));
    assert_int_equal(batch_rig_finish(rig), 0);
    assert_true(await_edges(rig, 2 * round));
  }
  assert_pressure(rig, "on off on off on off");
  batch_rig_free(rig);
}

static void test_batch_pressure__inline_each_batch_of_one_buffer_has_its_edges(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 10, .buffers = 1);
  for (int round = 0; round < 2; ++round) {
    send_many(rig, "x", 9);
    assert_string_equal(batch_rig_trace(rig, BATCH_KIND(BATCH_PRESSURE)), round ? "on off on" : "on");
    send_many(rig, "x", 1);
  }
  assert_pressure(rig, "on off on off");
  batch_rig_free(rig);
}

static void test_batch_pressure__a_discard_takes_it_off(void **state) {
  batch_rig *rig = slow_rig(state, 0, 0);
  send_many(rig, "x", 20);
  assert_non_null(batch_rig_taken(rig, 0));
  assert_true(await_edges(rig, 1));
  assert_int_equal(bw_batch_discard(rig->batch), 10);
  assert_true(await_edges(rig, 2));
  assert_pressure(rig, "on off");
  assert_int_equal(batch_rig_finish(rig), 0);
  batch_rig_free(rig);
}

static void test_batch_pressure__a_held_batch_is_use(void **state) {
  batch_rig *rig = slow_rig(state, 0, 0);
  batch_rig_always(rig, BATCH_OFFER, -EIO);
  send_many(rig, "x", 10);
  assert_true(batch_rig_await_error(rig, -EIO));
  assert_pressure(rig, "");
  send_many(rig, "x", 6);
  assert_true(await_edges(rig, 1));
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_true(await_edges(rig, 2));
  assert_pressure(rig, "on off");
  batch_rig_free(rig);
}

/* ---- Many producers -------------------------------------------------------------------------- */

enum { kProducers = 8, kEach = 2000 };

static int64_t produce(void *arg) {
  int64_t code = 0;
  for (int i = 0; i < kEach && code == 0; ++i) code = batch_rig_send(arg, "x");
  return code;
}

static void test_batch_pressure__edges_of_many_producers_alternate(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 16, .buffers = 4);
  test_thread threads[kProducers];
  for (int i = 0; i < kProducers; ++i) test_thread_start(&threads[i], produce, rig);
  for (int i = 0; i < kProducers; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  batch_rig_free_batch(rig);
  const size_t edges = batch_rig_count(rig, BATCH_PRESSURE);
  for (size_t i = 0; i < edges; ++i) assert_int_equal(batch_rig_get(rig, BATCH_PRESSURE, i).code, i % 2 == 0);
  assert_int_equal(edges % 2, 0);
  assert_int_equal(batch_rig_settled(rig), kProducers * kEach);
  batch_rig_free(rig);
}

static void test_batch_pressure__one_edge_for_many_producers(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1000, .buffers = 20, .max_in_flight = 20);
  test_thread threads[kProducers];
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  for (int i = 0; i < kProducers; ++i) test_thread_start(&threads[i], produce, rig); /* 16 of 20 */
  for (int i = 0; i < kProducers; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
  assert_true(await_edges(rig, 1));
  assert_pressure(rig, "on");
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_true(await_edges(rig, 2));
  assert_pressure(rig, "on off");
  batch_rig_free(rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_ALL(test_batch_pressure__on_at_80_percent_and_off_at_50_by_default),
      IN_ALL(test_batch_pressure__the_percentages_may_be_chosen),
      IN_ALL(test_batch_pressure__low_is_high_if_that_is_less_than_50),
      IN_ALL(test_batch_pressure__between_the_edges_nothing_is_told),
      IN_ALL(test_batch_pressure__bytes_count_where_they_are_the_fuller_part),
      IN_ALL(test_batch_pressure__it_goes_on_and_off_again),
      IN_INLINE(test_batch_pressure__inline_each_batch_of_one_buffer_has_its_edges),
      IN_ALL(test_batch_pressure__a_discard_takes_it_off),
      IN_ALL(test_batch_pressure__a_held_batch_is_use),
      IN_SHARED(test_batch_pressure__edges_of_many_producers_alternate),
      IN_SHARED(test_batch_pressure__one_edge_for_many_producers),
  };
  return cmocka_run_group_tests_name("batch_pressure", tests, NULL, NULL);
}
