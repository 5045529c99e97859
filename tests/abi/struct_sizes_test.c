/*
 * Programs compiled against other releases: their structs are a prefix of ours, or longer.
 *
 * Each struct lies at the end of a heap block of exactly its size, so that AddressSanitizer and valgrind see every
 * look beyond it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bw/bw.h>

enum { kExtraBytes = 24 };

static int64_t count_bytes(void *ctx, const void *data, size_t length) {
  (void)data;
  *(size_t *)ctx += length;
  return (int64_t)length;
}

static int succeed(void *ctx) {
  (void)ctx;
  return 0;
}

/* A copy of ours[size_of_ours], `size` bytes long, as a program with another header would have it. */
static void *resized(const void *ours, size_t size_of_ours, uint32_t size) {
  char *theirs = calloc(1, size);
  assert_non_null(theirs);
  memcpy(theirs, ours, size < size_of_ours ? size : size_of_ours);
  memcpy(theirs, &size, sizeof size);
  return theirs;
}

static bw_sink_t full_sink(void) {
  bw_sink_t sink = BW_SINK_INIT;
  sink.write = count_bytes;
  sink.flush = succeed;
  sink.sync = succeed;
  sink.close = succeed;
  return sink;
}

/* Makes a writer with these structs, writes through it, and gives the code of bw_sync(). */
static int use_writer(const bw_sink_t *sink, const bw_options_t *options) {
  size_t taken = 0;
  bw_t *bw = NULL;
  assert_int_equal(bw_new(&bw, sink, &taken, options), 0);
  assert_int_equal(bw_write(bw, "hello", 5), 5);
  assert_int_equal(bw_flush(bw), 0);
  const int synced = bw_sync(bw);
  assert_int_equal(bw_close(bw), 0);
  bw_free(bw);
  assert_int_equal(taken, 5);
  return synced;
}

static int make_only(const bw_sink_t *sink, const bw_options_t *options) {
  size_t taken = 0;
  bw_t *bw = (bw_t *)&taken;
  const int code = bw_new(&bw, sink, &taken, options);
  if (code < 0) assert_null(bw);
  if (code == 0) bw_free(bw);
  return code;
}

static void test_abi__older_options_work(void **state) {
  (void)state;
  const uint32_t sizes[] = {4,
                            offsetof(bw_options_t, capacity),
                            offsetof(bw_options_t, buffers),
                            offsetof(bw_options_t, engine),
                            offsetof(bw_options_t, linger_us),
                            offsetof(bw_options_t, preallocate),
                            offsetof(bw_options_t, high_percent),
                            offsetof(bw_options_t, low_percent),
                            offsetof(bw_options_t, on_event),
                            offsetof(bw_options_t, event_arg),
                            sizeof(bw_options_t)};
  const bw_sink_t sink = full_sink();
  bw_options_t ours = BW_OPTIONS_INIT;
  ours.capacity = 64;
  for (size_t index = 0; index < sizeof sizes / sizeof *sizes; ++index) {
    bw_options_t *theirs = resized(&ours, sizeof ours, sizes[index]);
    assert_int_equal(use_writer(&sink, theirs), 0);
    free(theirs);
  }
}

static void test_abi__older_sinks_work_and_lack_what_they_do_not_name(void **state) {
  (void)state;
  const bw_sink_t ours = full_sink();
  for (uint32_t size = offsetof(bw_sink_t, writev); size <= sizeof ours; size += (uint32_t)sizeof(void *)) {
    bw_sink_t *theirs = resized(&ours, sizeof ours, size);
    const int knows_sync = size > offsetof(bw_sink_t, sync);
    assert_int_equal(use_writer(theirs, NULL), knows_sync ? 0 : -EOPNOTSUPP);
    free(theirs);
  }
}

static void test_abi__a_sink_too_old_for_write_is_refused(void **state) {
  (void)state;
  const bw_sink_t ours = full_sink();
  bw_sink_t *theirs = resized(&ours, sizeof ours, offsetof(bw_sink_t, write));
  assert_int_equal(make_only(theirs, NULL), -EINVAL);
  free(theirs);
}

static void test_abi__older_stats_are_filled_to_their_end(void **state) {
  (void)state;
  const bw_sink_t sink = full_sink();
  size_t taken = 0;
  bw_t *bw = NULL;
  assert_int_equal(bw_new(&bw, &sink, &taken, NULL), 0);
  assert_int_equal(bw_write(bw, "hello", 5), 5);

  const bw_stats_t ours = BW_STATS_INIT;
  const uint32_t size = offsetof(bw_stats_t, written_bytes);
  void *theirs = resized(&ours, sizeof ours, size);
  assert_int_equal(bw_get_stats(bw, theirs), 0);
  bw_stats_t known = BW_STATS_INIT;
  memcpy(&known, theirs, size);
  assert_int_equal(known.size, size);
  assert_int_equal(known.accepted_bytes, 5);
  free(theirs);
  bw_free(bw);
}

static void test_abi__newer_structs_work_while_the_extra_is_zero(void **state) {
  (void)state;
  const bw_sink_t sink = full_sink();
  const bw_options_t options = BW_OPTIONS_INIT;
  bw_sink_t *newer_sink = resized(&sink, sizeof sink, sizeof sink + kExtraBytes);
  bw_options_t *newer_options = resized(&options, sizeof options, sizeof options + kExtraBytes);
  assert_int_equal(use_writer(newer_sink, newer_options), 0);
  free(newer_options);
  free(newer_sink);
}

static void test_abi__newer_structs_with_an_unknown_field_set_are_refused(void **state) {
  (void)state;
  const bw_sink_t sink = full_sink();
  const bw_options_t options = BW_OPTIONS_INIT;
  for (size_t extra = 0; extra < kExtraBytes; ++extra) {
    char *newer_sink = resized(&sink, sizeof sink, sizeof sink + kExtraBytes);
    newer_sink[sizeof sink + extra] = 1;
    assert_int_equal(make_only((const bw_sink_t *)(const void *)newer_sink, NULL), -E2BIG);
    free(newer_sink);

    char *newer_options = resized(&options, sizeof options, sizeof options + kExtraBytes);
    newer_options[sizeof options + extra] = 1;
    assert_int_equal(make_only(&sink, (const bw_options_t *)(const void *)newer_options), -E2BIG);
    free(newer_options);
  }
}

static void test_abi__newer_stats_keep_what_the_library_does_not_know(void **state) {
  (void)state;
  const bw_sink_t sink = full_sink();
  size_t taken = 0;
  bw_t *bw = NULL;
  assert_int_equal(bw_new(&bw, &sink, &taken, NULL), 0);

  const bw_stats_t ours = BW_STATS_INIT;
  char *newer = resized(&ours, sizeof ours, sizeof ours + kExtraBytes);
  memset(newer + sizeof ours, 0x5a, kExtraBytes);
  assert_int_equal(bw_get_stats(bw, (bw_stats_t *)(void *)newer), 0);
  for (size_t extra = 0; extra < kExtraBytes; ++extra) assert_int_equal(newer[sizeof ours + extra], 0x5a);
  free(newer);
  bw_free(bw);
}

static void test_abi__structs_without_a_size_are_refused(void **state) {
  (void)state;
  const bw_sink_t sink = full_sink();
  size_t taken = 0;
  bw_t *bw = NULL;
  for (uint32_t size = 0; size < sizeof size; ++size) {
    bw_sink_t no_sink = full_sink();
    no_sink.size = size;
    assert_int_equal(make_only(&no_sink, NULL), -EINVAL);
    bw_options_t options = BW_OPTIONS_INIT;
    options.size = size;
    assert_int_equal(make_only(&sink, &options), -EINVAL);

    assert_int_equal(bw_new(&bw, &sink, &taken, NULL), 0);
    bw_stats_t stats = BW_STATS_INIT;
    stats.size = size;
    assert_int_equal(bw_get_stats(bw, &stats), -EINVAL);
    bw_free(bw);
  }
}

/* ---- Batches --------------------------------------------------------------------------------- */

static int count_items(void *ctx, bw_batch_view_t *view) {
  size_t count;
  bw_batch_items(view, &count);
  *(size_t *)ctx += count;
  return 0;
}

static void test_abi__batch_structs_of_other_releases_work(void **state) {
  (void)state;
  const uint32_t sizes[] = {sizeof(uint32_t), offsetof(bw_batch_options_t, max_items),
                            offsetof(bw_batch_options_t, pressure), offsetof(bw_batch_options_t, item_size),
                            sizeof(bw_batch_options_t), sizeof(bw_batch_options_t) + kExtraBytes};
  const bw_batch_options_t ours = BW_BATCH_OPTIONS_INIT;
  const bw_batch_sink_t ops = {.size = sizeof ops, .write = count_items};
  for (size_t index = 0; index < sizeof sizes / sizeof *sizes; ++index) {
    bw_batch_options_t *options = resized(&ours, sizeof ours, sizes[index]);
    bw_batch_sink_t *sink = resized(&ops, sizeof ops, offsetof(bw_batch_sink_t, flush));
    bw_batch_t *batch = NULL;
    size_t taken = 0;
    assert_int_equal(bw_batch_new(&batch, sink, &taken, options), 0);
    assert_int_equal(bw_batch_send(batch, "item", 4), 0);
    assert_int_equal(bw_batch_flush(batch), 0);
    assert_int_equal(taken, 1);
    const bw_batch_stats_t none = BW_BATCH_STATS_INIT;
    bw_batch_stats_t seen = none, *stats = resized(&none, sizeof none, offsetof(bw_batch_stats_t, total_batches));
    assert_int_equal(bw_batch_get_stats(batch, stats), 0);
    memcpy(&seen, stats, offsetof(bw_batch_stats_t, total_batches));
    assert_int_equal(seen.size, offsetof(bw_batch_stats_t, total_batches));
    assert_int_equal(seen.total_items, 1);
    bw_batch_free(batch);
    free(stats);
    free(sink);
    free(options);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_abi__older_options_work),
      cmocka_unit_test(test_abi__older_sinks_work_and_lack_what_they_do_not_name),
      cmocka_unit_test(test_abi__a_sink_too_old_for_write_is_refused),
      cmocka_unit_test(test_abi__older_stats_are_filled_to_their_end),
      cmocka_unit_test(test_abi__newer_structs_work_while_the_extra_is_zero),
      cmocka_unit_test(test_abi__newer_structs_with_an_unknown_field_set_are_refused),
      cmocka_unit_test(test_abi__newer_stats_keep_what_the_library_does_not_know),
      cmocka_unit_test(test_abi__structs_without_a_size_are_refused),
      cmocka_unit_test(test_abi__batch_structs_of_other_releases_work),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
