/*
 * Batchers and misuse: no handle, bad options, structs of other versions, the child of a fork.
 */
#include "../support/batch_rig.h"

/* A sanitizer ends the program where memory is asked for that cannot be. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ALLOCATION_MAY_FAIL 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ALLOCATION_MAY_FAIL 0
#endif
#endif
#ifndef ALLOCATION_MAY_FAIL
#define ALLOCATION_MAY_FAIL 1
#endif

/* ---- No handle ------------------------------------------------------------------------------- */

static void test_batch_misuse__calls_on_NULL_are_EINVAL(void **state) {
  const struct iovec part = {(void *)"a", 1};
  const bw_waker_t wake = {NULL, NULL};
  bw_batch_stats_t stats = {.size = sizeof stats};
  char text[8];
  (void)state;
  assert_int_equal(bw_batch_send(NULL, "a", 1), -EINVAL);
  assert_int_equal(bw_batch_sendv(NULL, &part, 1), -EINVAL);
  assert_int_equal(bw_batch_flush(NULL), -EINVAL);
  assert_int_equal(bw_batch_flush_for(NULL, -1), -EINVAL);
  assert_int_equal(bw_batch_discard(NULL), -EINVAL);
  assert_int_equal(bw_batch_error(NULL), -EINVAL);
  assert_int_equal(bw_batch_close(NULL), -EINVAL);
  assert_int_equal(bw_batch_close_for(NULL, -1), -EINVAL);
  assert_int_equal(bw_batch_poll_ready(NULL, &wake), -EINVAL);
  assert_int_equal(bw_batch_start_send(NULL, "a", 1), -EINVAL);
  assert_int_equal(bw_batch_start_sendv(NULL, &part, 1), -EINVAL);
  assert_int_equal(bw_batch_poll_flush(NULL, &wake), -EINVAL);
  assert_int_equal(bw_batch_poll_close(NULL, &wake), -EINVAL);
  assert_int_equal(bw_batch_unwake(NULL, &wake), -EINVAL);
  assert_int_equal(bw_batch_done(NULL, 0, NULL), -EINVAL);
  assert_int_equal(bw_batch_wake(NULL), -EINVAL);
  assert_int_equal(bw_batch_get_stats(NULL, &stats), -EINVAL);
  assert_int_equal(bw_batch_stats_json(NULL, text, sizeof text), -EINVAL);
}

static void test_batch_misuse__getters_of_NULL_give_nothing(void **state) {
  size_t count = 7;
  (void)state;
  assert_int_equal(bw_batch_buffered(NULL), 0);
  assert_int_equal(bw_batch_flushed(NULL), 0);
  assert_null(bw_batch_items(NULL, &count));
  assert_int_equal(count, 0);
  assert_null(bw_batch_items(NULL, NULL));
  assert_int_equal(bw_batch_bytes(NULL), 0);
  assert_int_equal(bw_batch_serial(NULL), 0);
  assert_int_equal(bw_batch_first(NULL), 0);
  assert_int_equal(bw_batch_attempt(NULL), 0);
  bw_batch_free(NULL);
}

/* ---- Items ----------------------------------------------------------------------------------- */

static void test_batch_misuse__missing_items_are_EINVAL(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  const struct iovec missing[2] = {{(void *)"a", 1}, {NULL, 1}};
  assert_int_equal(bw_batch_send(rig->batch, NULL, 1), -EINVAL);
  assert_int_equal(bw_batch_start_send(rig->batch, NULL, 1), -EINVAL);
  assert_int_equal(bw_batch_sendv(rig->batch, missing, 2), -EINVAL);
  assert_int_equal(bw_batch_start_sendv(rig->batch, missing, 2), -EINVAL);
  assert_int_equal(bw_batch_sendv(rig->batch, NULL, 1), -EINVAL);
  assert_int_equal(bw_batch_sendv(rig->batch, missing, -1), -EINVAL);
  assert_int_equal(bw_batch_start_sendv(rig->batch, missing, -1), -EINVAL);
  assert_int_equal(bw_batch_buffered(rig->batch), 0);
  batch_rig_free(rig);
}

static void test_batch_misuse__parts_whose_lengths_overflow_are_refused(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  const struct iovec parts[2] = {{(void *)"a", SIZE_MAX}, {(void *)"b", 2}};
  assert_true(bw_batch_sendv(rig->batch, parts, 2) < 0);
  assert_true(bw_batch_start_sendv(rig->batch, parts, 2) < 0);
  assert_int_equal(bw_batch_buffered(rig->batch), 0);
  batch_rig_free(rig);
}

static void test_batch_misuse__a_waker_without_a_callback_is_EINVAL(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  const bw_waker_t wake = {NULL, rig};
  assert_int_equal(bw_batch_poll_ready(rig->batch, &wake), -EINVAL);
  assert_int_equal(bw_batch_poll_flush(rig->batch, &wake), -EINVAL);
  assert_int_equal(bw_batch_poll_close(rig->batch, &wake), -EINVAL);
  assert_int_equal(bw_batch_unwake(rig->batch, &wake), -EINVAL);
  assert_int_equal(bw_batch_unwake(rig->batch, NULL), -EINVAL);
  assert_int_equal(batch_rig_send(rig, "1"), 0); /* it was not closed */
  batch_rig_free(rig);
}

/* ---- Options --------------------------------------------------------------------------------- */

static void refuse(void **state, bw_batch_options_t options, int code) {
  batch_rig *rig = batch_rig_empty();
  const bw_batch_sink_t ops = batch_rig_ops();
  bw_batch_t *batch = (bw_batch_t *)rig;
  options.flags |= BATCH_FLAGS(state);
  const int answer = bw_batch_new(&batch, &ops, rig, &options);
  batch_rig_free(rig);
  assert_int_equal(answer, code);
  assert_null(batch);
}

static void allow(void **state, bw_batch_options_t options) {
  batch_rig *rig = batch_rig_new(BATCH_FLAGS(state), &options);
  batch_rig_free(rig);
}

#define OPTIONS(...) ((bw_batch_options_t){.size = sizeof(bw_batch_options_t), __VA_ARGS__})

static void test_batch_misuse__new_wants_out_sink_and_write(void **state) {
  bw_batch_sink_t ops = batch_rig_ops();
  bw_batch_t *batch = (bw_batch_t *)&ops;
  (void)state;
  assert_int_equal(bw_batch_new(NULL, &ops, NULL, NULL), -EINVAL);
  assert_int_equal(bw_batch_new(&batch, NULL, NULL, NULL), -EINVAL);
  assert_null(batch);
  ops.write = NULL;
  batch = (bw_batch_t *)&ops;
  assert_int_equal(bw_batch_new(&batch, &ops, NULL, NULL), -EINVAL);
  assert_null(batch);
}

static void test_batch_misuse__sink_flags_and_size_0_are_EINVAL(void **state) {
  (void)state;
  for (int bit = 0; bit < 32; ++bit) {
    bw_batch_sink_t ops = batch_rig_ops();
    bw_batch_t *batch = (bw_batch_t *)&ops;
    ops.flags = 1u << bit;
    assert_int_equal(bw_batch_new(&batch, &ops, NULL, NULL), -EINVAL);
    assert_null(batch);
  }
  bw_batch_sink_t ops = batch_rig_ops();
  bw_batch_t *batch = (bw_batch_t *)&ops;
  ops.size = 0;
  assert_int_equal(bw_batch_new(&batch, &ops, NULL, NULL), -EINVAL);
  assert_null(batch);
}

static void test_batch_misuse__options_of_size_0_are_EINVAL(void **state) {
  bw_batch_options_t options = OPTIONS(.max_items = 1);
  options.size = 0;
  refuse(state, options, -EINVAL);
}

static void test_batch_misuse__unknown_flags_are_EINVAL(void **state) {
  for (int bit = 5; bit < 32; ++bit)
    if (1u << bit != BW_BATCH_BISECT) refuse(state, OPTIONS(.flags = 1u << bit), -EINVAL);
}

static void test_batch_misuse__reserved_options_that_are_set_are_EINVAL(void **state) {
  refuse(state, OPTIONS(.reserved = 1), -EINVAL);
}

static void test_batch_misuse__limits_that_are_too_large_are_EINVAL(void **state) {
  refuse(state, OPTIONS(.max_items = (1 << 20) + 1), -EINVAL);
  refuse(state, OPTIONS(.max_items = UINT64_MAX), -EINVAL);
  refuse(state, OPTIONS(.max_bytes = (UINT64_C(128) << 20) + 1), -EINVAL);
  refuse(state, OPTIONS(.max_bytes = UINT64_MAX), -EINVAL);
  allow(state, OPTIONS(.max_items = 1 << 20, .max_bytes = 4096, .buffers = 1, .item_align = 1));
  allow(state, OPTIONS(.max_items = 1, .max_bytes = UINT64_C(128) << 20, .buffers = 1));
}

static void test_batch_misuse__choices_that_do_not_exist_are_EINVAL(void **state) {
  refuse(state, OPTIONS(.when_full = BW_FULL_DROP_OLDEST + 1), -EINVAL);
  refuse(state, OPTIONS(.when_full = UINT32_MAX), -EINVAL);
  refuse(state, OPTIONS(.when_failed = BW_FAILED_GIVE_UP + 1), -EINVAL);
  refuse(state, OPTIONS(.when_failed = UINT32_MAX), -EINVAL);
}

static void test_batch_misuse__percentages_out_of_order_are_EINVAL(void **state) {
  static const uint32_t wrong[][2] = {{30, 40}, {101, 0}, {101, 101}, {0, 101}, {0, 81}, {UINT32_MAX, 1}};
  static const uint32_t right[][2] = {{40, 40}, {100, 100}, {30, 0}, {0, 80}, {1, 1}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i)
    refuse(state, OPTIONS(.high_percent = wrong[i][0], .low_percent = wrong[i][1]), -EINVAL);
  for (size_t i = 0; i < sizeof right / sizeof *right; ++i)
    allow(state, OPTIONS(.high_percent = right[i][0], .low_percent = right[i][1]));
}

static void test_batch_misuse__alignments_that_are_no_power_of_two_or_too_large_are_EINVAL(void **state) {
  static const uint32_t wrong[] = {3, 6, 12, 4097, 8192, UINT32_C(1) << 31, UINT32_MAX};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i)
    refuse(state, OPTIONS(.item_align = wrong[i]), -EINVAL);
  for (uint32_t align = 1; align <= 4096; align *= 2) allow(state, OPTIONS(.item_align = align, .max_items = 2));
}

static void test_batch_misuse__item_sizes_that_cannot_be_are_EINVAL(void **state) {
  refuse(state, OPTIONS(.item_size = 12, .item_align = 8), -EINVAL);
  refuse(state, OPTIONS(.item_size = 4, .item_align = 8), -EINVAL);
  refuse(state, OPTIONS(.item_size = 65, .max_bytes = 64), -EINVAL);
  refuse(state, OPTIONS(.item_size = (1 << 20) + 1), -EINVAL);
  allow(state, OPTIONS(.item_size = 12));
  allow(state, OPTIONS(.item_size = 64, .item_align = 64, .max_bytes = 64));
}

static void test_batch_misuse__a_linger_of_an_unshared_one_is_EINVAL(void **state) {
  refuse(state, OPTIONS(.linger_us = 1), -EINVAL);
}

static void test_batch_misuse__too_much_memory_is_a_code(void **state) {
  if (!ALLOCATION_MAY_FAIL) skip();
  batch_rig *rig = batch_rig_empty();
  const bw_batch_sink_t ops = batch_rig_ops();
  bw_batch_options_t options =
      OPTIONS(.flags = BATCH_FLAGS(state), .max_items = 1 << 20, .max_bytes = UINT64_C(128) << 20,
              .item_align = 4096, .buffers = UINT32_MAX);
  bw_batch_t *batch = (bw_batch_t *)rig;
  const int code = bw_batch_new(&batch, &ops, rig, &options);
  batch_rig_free(rig);
  assert_true(code == -ENOMEM || code == -EINVAL);
  assert_null(batch);
}

/* ---- Structs of other versions --------------------------------------------------------------- */

static void test_batch_misuse__older_options_are_fine(void **state) {
  bw_batch_options_t options = OPTIONS(.max_items = 2);
  batch_rig *rig = batch_rig_empty();
  const bw_batch_sink_t ops = batch_rig_ops();
  options.flags = BATCH_FLAGS(state);
  options.item_size = 3; /* beyond the end of this caller's struct */
  options.size = offsetof(bw_batch_options_t, item_size);
  assert_int_equal(bw_batch_new(&rig->batch, &ops, rig, &options), 0);
  assert_int_equal(batch_rig_send(rig, "ab,c"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_offers(rig, "(ab,c)");
  batch_rig_free(rig);
}

static void test_batch_misuse__newer_structs_are_fine_if_the_rest_is_zero(void **state) {
  struct {
    bw_batch_options_t known;
    uint64_t unknown;
  } options = {.known = OPTIONS(.max_items = 2)};
  struct {
    bw_batch_sink_t known;
    uint64_t unknown;
  } ops = {.known = batch_rig_ops()};
  batch_rig *rig = batch_rig_empty();
  options.known.size = sizeof options;
  options.known.flags = BATCH_FLAGS(state);
  ops.known.size = sizeof ops;
  assert_int_equal(bw_batch_new(&rig->batch, &ops.known, rig, &options.known), 0);
  batch_rig_free_batch(rig);
  options.unknown = 1;
  assert_int_equal(bw_batch_new(&rig->batch, &ops.known, rig, &options.known), -E2BIG);
  assert_null(rig->batch);
  options.unknown = 0;
  ops.unknown = 1;
  assert_int_equal(bw_batch_new(&rig->batch, &ops.known, rig, &options.known), -E2BIG);
  assert_null(rig->batch);
  batch_rig_free(rig);
}

static void test_batch_misuse__stats_want_a_size_and_json_a_place(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 2);
  assert_int_equal(bw_batch_stats_json(rig->batch, NULL, 1), -EINVAL);
  bw_batch_stats_t stats = {.size = 0};
  assert_int_equal(bw_batch_get_stats(rig->batch, &stats), -EINVAL);
  assert_int_equal(bw_batch_get_stats(rig->batch, NULL), -EINVAL);
  batch_rig_free(rig);
}

/* ---- The child of a fork --------------------------------------------------------------------- */

static int codes_in_child(void *arg) {
  batch_rig *rig = arg;
  bw_batch_t *batch = rig->batch;
  const struct iovec part = {(void *)"a", 1};
  const bw_waker_t wake = batch_rig_waker(rig, 0);
  bw_batch_stats_t stats = {.size = sizeof stats};
  char text[8];
  const int64_t codes[] = {bw_batch_send(batch, "a", 1), bw_batch_sendv(batch, &part, 1), bw_batch_flush(batch),
                           bw_batch_flush_for(batch, -1), bw_batch_discard(batch), bw_batch_error(batch),
                           bw_batch_close(batch), bw_batch_close_for(batch, -1), bw_batch_poll_ready(batch, &wake),
                           bw_batch_start_send(batch, "a", 1), /* 10 */
                           bw_batch_start_sendv(batch, &part, 1), bw_batch_poll_flush(batch, &wake),
                           bw_batch_poll_close(batch, &wake), bw_batch_unwake(batch, &wake), bw_batch_wake(batch),
                           bw_batch_get_stats(batch, &stats), bw_batch_stats_json(batch, text, sizeof text),
                           bw_batch_done(rig->taken[0], 0, NULL)};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; ++i)
    if (codes[i] != -ECHILD) return (int)i + 1;
  size_t count = 7;
  if (bw_batch_items(rig->taken[0], &count) != NULL || count != 0) return 103;
  if (bw_batch_bytes(rig->taken[0]) != 0 || bw_batch_serial(rig->taken[0]) != 0) return 104;
  if (bw_batch_first(rig->taken[0]) != 0 || bw_batch_attempt(rig->taken[0]) != 0) return 105;
  if (bw_batch_buffered(batch) != 0) return 101;
  if (bw_batch_flushed(batch) != 0) return 102;
  return 0;
}

static int free_in_child(void *arg) {
  batch_rig *rig = arg;
  const size_t events = rig->event_count;
  bw_batch_free(rig->batch);
  return rig->event_count == events ? 0 : 1;
}

static void check_fork(void **state, int (*body)(void *arg)) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 4);
  BATCH_SCRIPT(rig, BATCH_OFFER, 0, BW_BATCH_TAKEN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_send(rig, "2,3"), 0);
  assert_non_null(batch_rig_taken(rig, 0));
  assert_int_equal(test_in_child(body, rig), 0);
  assert_int_equal(batch_rig_send(rig, "4"), 0); /* the parent goes on */
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_delivered(rig, "1,2,3,4:ok");
  batch_rig_free(rig);
}

static void test_batch_misuse__in_a_child_every_call_is_ECHILD_and_getters_give_0(void **state) {
  check_fork(state, codes_in_child);
}

static void test_batch_misuse__free_in_a_child_calls_nobody(void **state) { check_fork(state, free_in_child); }

static int own_in_child(void *arg) {
  (void)arg;
  batch_rig *rig = batch_rig_empty();
  const bw_batch_sink_t ops = batch_rig_ops();
  const bw_batch_options_t options = batch_rig_options(rig, 0);
  if (bw_batch_new(&rig->batch, &ops, rig, &options) != 0) return 1;
  if (batch_rig_send(rig, "1,2") != 0 || bw_batch_close(rig->batch) != 0) return 2;
  if (strcmp(batch_rig_trace(rig, BATCH_KIND(BATCH_OFFER)), "(1,2)") != 0) return 3;
  batch_rig_free(rig);
  return 0;
}

static void test_batch_misuse__a_child_may_make_its_own(void **state) { check_fork(state, own_in_child); }

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_batch_misuse__calls_on_NULL_are_EINVAL),
      cmocka_unit_test(test_batch_misuse__getters_of_NULL_give_nothing),
      IN_ALL(test_batch_misuse__missing_items_are_EINVAL),
      IN_ALL(test_batch_misuse__parts_whose_lengths_overflow_are_refused),
      cmocka_unit_test(test_batch_misuse__new_wants_out_sink_and_write),
      cmocka_unit_test(test_batch_misuse__sink_flags_and_size_0_are_EINVAL),
      IN_ALL(test_batch_misuse__options_of_size_0_are_EINVAL),
      IN_ALL(test_batch_misuse__unknown_flags_are_EINVAL),
      IN_ALL(test_batch_misuse__reserved_options_that_are_set_are_EINVAL),
      IN_ALL(test_batch_misuse__limits_that_are_too_large_are_EINVAL),
      IN_ALL(test_batch_misuse__choices_that_do_not_exist_are_EINVAL),
      IN_ALL(test_batch_misuse__percentages_out_of_order_are_EINVAL),
      IN_ALL(test_batch_misuse__alignments_that_are_no_power_of_two_or_too_large_are_EINVAL),
      IN_ALL(test_batch_misuse__item_sizes_that_cannot_be_are_EINVAL),
      IN(Unshared, test_batch_misuse__a_linger_of_an_unshared_one_is_EINVAL),
      IN(BackgroundUnshared, test_batch_misuse__a_linger_of_an_unshared_one_is_EINVAL),
      IN_ALL(test_batch_misuse__too_much_memory_is_a_code),
      IN_ALL(test_batch_misuse__older_options_are_fine),
      IN_ALL(test_batch_misuse__newer_structs_are_fine_if_the_rest_is_zero),
      IN_ALL(test_batch_misuse__stats_want_a_size_and_json_a_place),
      IN_ALL(test_batch_misuse__a_waker_without_a_callback_is_EINVAL),
      IN_ALL(test_batch_misuse__in_a_child_every_call_is_ECHILD_and_getters_give_0),
      IN_ALL(test_batch_misuse__free_in_a_child_calls_nobody),
      IN_ALL(test_batch_misuse__a_child_may_make_its_own),
  };
  return cmocka_run_group_tests_name("batch_misuse", tests, NULL, NULL);
}
