/* Misuse and bad input: a clear negative code, and nothing is lost. */
#define _POSIX_C_SOURCE 200809L
#include "../support/fixture.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPACITY_MAX (UINT64_C(128) << 20)

static int make(test_rig *rig, const bw_options_t *options) {
  bw_sink_t ops = test_sink_ops(rig->has);
  return bw_new(&rig->bw, &ops, &rig->sink, options);
}

/* ---- No handle -------------------------------------------------------------------------------- */

static void test_misuse__writing_to_NULL_is_EINVAL(void **state) {
  char data[4] = "abc";
  struct iovec part = {data, 3};
  bw_span_t span = {0};
  (void)state;
  assert_int_equal(bw_write(NULL, data, 3), -EINVAL);
  assert_int_equal(bw_writev(NULL, &part, 1), -EINVAL);
  assert_int_equal(bw_append(NULL, data, 3), -EINVAL);
  assert_int_equal(bw_appendv(NULL, &part, 1), -EINVAL);
  assert_int_equal(bw_reserve(NULL, 3, &span), -EINVAL);
  assert_int_equal(bw_commit(NULL, &span, 3), -EINVAL);
  assert_int_equal(bw_flush(NULL), -EINVAL);
  assert_int_equal(bw_sync(NULL), -EINVAL);
  assert_int_equal(bw_seek(NULL, 0, SEEK_SET), -EINVAL);
  assert_int_equal(bw_tell(NULL), -EINVAL);
  assert_int_equal(bw_read(NULL, data, 3), -EINVAL);
  assert_int_equal(bw_close(NULL), -EINVAL);
}

static void test_misuse__polling_NULL_is_EINVAL(void **state) {
  test_rig *rig = *state;
  char data[4] = "abc";
  struct iovec part = {data, 3};
  const bw_waker_t *wake = &rig->wake;
  assert_int_equal(bw_poll_write(NULL, data, 3, wake), -EINVAL);
  assert_int_equal(bw_poll_writev(NULL, &part, 1, wake), -EINVAL);
  assert_int_equal(bw_poll_append(NULL, data, 3, wake), -EINVAL);
  assert_int_equal(bw_poll_appendv(NULL, &part, 1, wake), -EINVAL);
  assert_int_equal(bw_poll_flush(NULL, wake), -EINVAL);
  assert_int_equal(bw_poll_sync(NULL, wake), -EINVAL);
  assert_int_equal(bw_poll_read(NULL, data, 3, wake), -EINVAL);
  assert_int_equal(bw_start_seek(NULL, 0, SEEK_SET), -EINVAL);
  assert_int_equal(bw_poll_seek(NULL, wake), -EINVAL);
  assert_int_equal(bw_poll_close(NULL, wake), -EINVAL);
  assert_int_equal(bw_unwake(NULL, wake), -EINVAL);
  assert_int_equal(bw_wake(NULL), -EINVAL);
  assert_int_equal(rig->waker.calls, 0);
}

static void test_misuse__asking_NULL_is_EINVAL_or_nothing(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(rig->has);
  bw_stats_t stats = {.size = sizeof stats};
  char text[64];
  size_t length = 77;
  assert_int_equal(bw_position(NULL, BW_ACCEPTED), -EINVAL);
  assert_int_equal(bw_wait(NULL, 0, BW_ACCEPTED, 0), -EINVAL);
  assert_int_equal(bw_notify(NULL, 0, BW_ACCEPTED, test_note_done, &rig->notes[0]), -EINVAL);
  assert_int_equal(rig->notes[0].calls, 0);
  assert_int_equal(bw_error(NULL), -EINVAL);
  assert_int_equal(bw_resume(NULL), -EINVAL);
  assert_int_equal(bw_set_sink(NULL, &ops, &rig->sink), -EINVAL);
  assert_int_equal(bw_unwritten(NULL, NULL, NULL), -EINVAL);
  assert_int_equal(bw_discard(NULL), -EINVAL);
  assert_null(bw_buffer(NULL, &length));
  assert_int_equal(bw_buffered(NULL), 0);
  assert_int_equal(bw_capacity(NULL), 0);
  assert_null(bw_context(NULL));
  assert_int_equal(bw_get_stats(NULL, &stats), -EINVAL);
  assert_int_equal(bw_stats_json(NULL, text, sizeof text), -EINVAL);
}

static void test_misuse__freeing_NULL_does_nothing(void **state) {
  (void)state;
  bw_free(NULL);
}

/* ---- Making a writer ---------------------------------------------------------------------------- */

static void test_misuse__new_without_out_or_sink_is_EINVAL(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(rig->has);
  bw_t *bw = (bw_t *)&ops;
  assert_int_equal(bw_new(NULL, &ops, &rig->sink, NULL), -EINVAL);
  assert_int_equal(bw_new(&bw, NULL, &rig->sink, NULL), -EINVAL);
  assert_null(bw);
}

/* Expects `code` of bw_new() with these options, and NULL in *out. */
static void refuse(test_rig *rig, bw_options_t options, int code) {
  rig->bw = (bw_t *)rig;
  int answer = make(rig, &options);
  bw_t *out = rig->bw;
  rig->bw = NULL;
  assert_int_equal(answer, code);
  assert_null(out);
}

static void test_misuse__options_of_size_0_are_EINVAL(void **state) {
  bw_options_t options = {0};
  refuse(*state, options, -EINVAL);
}

static void test_misuse__unknown_flags_are_EINVAL(void **state) {
  for (unsigned bit = 5; bit < 32; ++bit) {
    bw_options_t options = fixture_options(*state, 0);
    options.flags |= 1u << bit;
    refuse(*state, options, -EINVAL);
  }
}

static void test_misuse__capacity_beyond_128_MiB_is_EINVAL(void **state) {
  refuse(*state, fixture_options(*state, CAPACITY_MAX + 1), -EINVAL);
  refuse(*state, fixture_options(*state, UINT64_MAX), -EINVAL);
}

static void test_misuse__capacity_of_128_MiB_is_fine(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, CAPACITY_MAX);
  assert_int_equal(bw_capacity(rig->bw), CAPACITY_MAX);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_buffer_has(rig, "abc");
}

static void test_misuse__percentages_out_of_order_are_EINVAL(void **state) {
  static const uint32_t wrong[][2] = {{30, 40}, {101, 0}, {101, 101}, {0, 101}, {0, 81}, {UINT32_MAX, 1}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
    bw_options_t options = fixture_options(*state, 0);
    options.high_percent = wrong[i][0];
    options.low_percent = wrong[i][1];
    refuse(*state, options, -EINVAL);
  }
}

static void test_misuse__percentages_in_order_are_fine(void **state) {
  static const uint32_t right[][2] = {{40, 40}, {100, 100}, {30, 0}, {0, 80}, {1, 1}};
  test_rig *rig = *state;
  for (size_t i = 0; i < sizeof right / sizeof *right; ++i) {
    bw_options_t options = fixture_options(rig, 0);
    options.high_percent = right[i][0];
    options.low_percent = right[i][1];
    assert_int_equal(make(rig, &options), 0);
    test_rig_free_writer(rig);
  }
}

static void test_misuse__linger_of_an_unshared_writer_is_EINVAL(void **state) {
  bw_options_t options = fixture_options(*state, 0);
  options.flags = BW_UNSHARED;
  options.linger_us = 1;
  refuse(*state, options, -EINVAL);
}

static void test_misuse__what_means_nothing_to_a_sink_is_ignored(void **state) {
  test_rig *rig = *state;
  bw_options_t options = fixture_options(rig, 3);
  options.flags |= BW_BUFFERED | BW_CALLER_DRIVEN;
  options.engine = BW_ENGINE_PWRITE;
  options.preallocate = 4096;
  options.buffers = 5;
  assert_int_equal(make(rig, &options), 0);
  assert_int_equal(bw_capacity(rig->bw), 3);
}

static void test_misuse__a_sink_without_write_is_EINVAL(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(rig->has);
  bw_t *bw = (bw_t *)&ops;
  ops.write = NULL;
  assert_int_equal(bw_new(&bw, &ops, &rig->sink, NULL), -EINVAL);
  assert_null(bw);
}

static void test_misuse__a_sink_of_size_0_is_EINVAL(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(rig->has);
  bw_t *bw = (bw_t *)&ops;
  ops.size = 0;
  assert_int_equal(bw_new(&bw, &ops, &rig->sink, NULL), -EINVAL);
  assert_null(bw);
}

static void test_misuse__unknown_sink_flags_are_EINVAL(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(rig->has);
  bw_t *bw = (bw_t *)&ops;
  ops.flags = 1;
  assert_int_equal(bw_new(&bw, &ops, &rig->sink, NULL), -EINVAL);
  assert_null(bw);
}

/* ---- Structs of other versions ------------------------------------------------------------------ */

typedef struct newer_options {
  bw_options_t known;
  uint64_t unknown;
} newer_options;

typedef struct newer_sink {
  bw_sink_t known;
  void *unknown;
} newer_sink;

static void test_misuse__newer_options_with_an_unknown_field_set_are_E2BIG(void **state) {
  test_rig *rig = *state;
  newer_options options = {fixture_options(rig, 3), 1};
  options.known.size = sizeof options;
  rig->bw = (bw_t *)rig;
  int answer = make(rig, &options.known);
  bw_t *out = rig->bw;
  rig->bw = NULL;
  assert_int_equal(answer, -E2BIG);
  assert_null(out);
}

static void test_misuse__newer_options_with_unknown_fields_unset_are_fine(void **state) {
  test_rig *rig = *state;
  newer_options options = {fixture_options(rig, 3), 0};
  options.known.size = sizeof options;
  assert_int_equal(make(rig, &options.known), 0);
  assert_int_equal(bw_capacity(rig->bw), 3);
}

static void test_misuse__older_options_end_where_they_say(void **state) {
  test_rig *rig = *state;
  bw_options_t options;
  memset(&options, 0xff, sizeof options);
  options.size = offsetof(bw_options_t, buffers);
  options.flags = rig->flags;
  options.capacity = 3;
  assert_int_equal(make(rig, &options), 0);
  assert_int_equal(bw_capacity(rig->bw), 3);
}

static void test_misuse__a_newer_sink_with_an_unknown_callback_is_E2BIG(void **state) {
  test_rig *rig = *state;
  newer_sink ops = {test_sink_ops(rig->has), rig};
  bw_t *bw = (bw_t *)&ops;
  ops.known.size = sizeof ops;
  assert_int_equal(bw_new(&bw, &ops.known, &rig->sink, NULL), -E2BIG);
  assert_null(bw);
}

static void test_misuse__an_older_sink_ends_where_it_says(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(TEST_SINK_HAS_ALL);
  bw_options_t options = fixture_options(rig, 8);
  char data[4];
  ops.size = offsetof(bw_sink_t, seek);
  assert_int_equal(bw_new(&rig->bw, &ops, &rig->sink, &options), 0);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), -ESPIPE);
  assert_int_equal(bw_read(rig->bw, data, sizeof data), -EBADF);
  assert_int_equal(bw_sync(rig->bw), -EOPNOTSUPP);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_sink_has(rig, "abc");
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 0);
}

static void test_misuse__a_sink_too_old_for_write_is_EINVAL(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(rig->has);
  bw_t *bw = (bw_t *)&ops;
  ops.size = offsetof(bw_sink_t, write);
  assert_int_equal(bw_new(&bw, &ops, &rig->sink, NULL), -EINVAL);
  assert_null(bw);
}

static void test_misuse__stats_fill_no_more_than_their_size(void **state) {
  test_rig *rig = *state;
  bw_stats_t stats;
  const unsigned char *bytes = (const unsigned char *)&stats;
  fixture_open(rig, 8);
  memset(&stats, 0xee, sizeof stats);
  stats.size = offsetof(bw_stats_t, durable_bytes);
  assert_int_equal(bw_get_stats(rig->bw, &stats), 0);
  for (size_t i = offsetof(bw_stats_t, durable_bytes); i < sizeof stats; ++i) assert_int_equal(bytes[i], 0xee);
  assert_int_equal(stats.accepted_bytes, 0);
}

static void test_misuse__stats_of_size_0_or_NULL_are_EINVAL(void **state) {
  test_rig *rig = *state;
  bw_stats_t stats = {0};
  fixture_open(rig, 8);
  assert_int_equal(bw_get_stats(rig->bw, &stats), -EINVAL);
  assert_int_equal(bw_get_stats(rig->bw, NULL), -EINVAL);
}

/* ---- Arguments -------------------------------------------------------------------------------- */

static void test_misuse__NULL_bytes_are_EINVAL(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(bw_write(rig->bw, NULL, 1), -EINVAL);
  assert_int_equal(bw_write(rig->bw, NULL, 100), -EINVAL);
  assert_int_equal(bw_append(rig->bw, NULL, 1), -EINVAL);
  assert_int_equal(bw_read(rig->bw, NULL, 1), -EINVAL);
  assert_int_equal(bw_poll_write(rig->bw, NULL, 1, &rig->wake), -EINVAL);
  assert_int_equal(bw_poll_append(rig->bw, NULL, 1, &rig->wake), -EINVAL);
  assert_int_equal(bw_poll_read(rig->bw, NULL, 1, &rig->wake), -EINVAL);
  assert_int_equal(bw_reserve(rig->bw, 1, NULL), -EINVAL);
  assert_int_equal(bw_commit(rig->bw, NULL, 0), -EINVAL);
  assert_int_equal(bw_tell(rig->bw), 0);
  assert_trace(rig, "");
}

static void test_misuse__lengths_over_SSIZE_MAX_are_EINVAL(void **state) {
  test_rig *rig = *state;
  volatile size_t length = (size_t)SSIZE_MAX + 1;
  char data[1] = "";
  fixture_open(rig, 8);
  for (int i = 0; i < 2; ++i, length = SIZE_MAX) {
    assert_int_equal(bw_write(rig->bw, data, length), -EINVAL);
    assert_int_equal(bw_append(rig->bw, data, length), -EINVAL);
    assert_int_equal(bw_read(rig->bw, data, length), -EINVAL);
    assert_int_equal(bw_poll_write(rig->bw, data, length, NULL), -EINVAL);
    assert_int_equal(bw_poll_append(rig->bw, data, length, NULL), -EINVAL);
    assert_int_equal(bw_poll_read(rig->bw, data, length, NULL), -EINVAL);
  }
  assert_int_equal(bw_tell(rig->bw), 0);
  assert_trace(rig, "");
}

/* The four calls that take a list, all with the same list, which must be refused. */
static void refuse_list(test_rig *rig, const struct iovec *parts, int count) {
  assert_int_equal(bw_writev(rig->bw, parts, count), -EINVAL);
  assert_int_equal(bw_appendv(rig->bw, parts, count), -EINVAL);
  assert_int_equal(bw_poll_writev(rig->bw, parts, count, NULL), -EINVAL);
  assert_int_equal(bw_poll_appendv(rig->bw, parts, count, NULL), -EINVAL);
  assert_int_equal(bw_tell(rig->bw), 0);
  assert_trace(rig, "");
}

static void test_misuse__a_negative_count_of_parts_is_EINVAL(void **state) {
  test_rig *rig = *state;
  struct iovec part = {(char[]){'a'}, 1};
  fixture_open(rig, 8);
  refuse_list(rig, &part, -1);
  refuse_list(rig, &part, INT_MIN);
}

static void test_misuse__NULL_parts_are_EINVAL(void **state) {
  test_rig *rig = *state;
  struct iovec parts[2] = {{(char[]){'a'}, 1}, {NULL, 1}};
  fixture_open(rig, 8);
  refuse_list(rig, NULL, 1);
  refuse_list(rig, parts, 2);
}

static void test_misuse__a_NULL_part_of_length_0_is_fine(void **state) {
  test_rig *rig = *state;
  struct iovec parts[3] = {{NULL, 0}, {(char[]){'a'}, 1}, {NULL, 0}};
  fixture_open(rig, 8);
  assert_int_equal(bw_writev(rig->bw, parts, 3), 1);
  assert_int_equal(bw_appendv(rig->bw, parts, 3), 1);
  assert_int_equal(bw_poll_writev(rig->bw, parts, 3, NULL), 1);
  assert_buffer_has(rig, "aaa");
}

static void test_misuse__totals_over_SSIZE_MAX_are_EINVAL(void **state) {
  test_rig *rig = *state;
  char data[1] = "";
  struct iovec two[2] = {{data, SSIZE_MAX}, {data, 1}};
  struct iovec wraps[3] = {{data, SSIZE_MAX}, {data, SSIZE_MAX}, {data, 2}};
  struct iovec large = {data, SIZE_MAX};
  fixture_open(rig, 8);
  refuse_list(rig, two, 2);
  refuse_list(rig, wraps, 3);
  refuse_list(rig, &large, 1);
}

static void test_misuse__unknown_levels_are_EINVAL(void **state) {
  test_rig *rig = *state;
  static const int levels[] = {-1, 3, INT_MAX, INT_MIN};
  fixture_open(rig, 8);
  for (size_t i = 0; i < sizeof levels / sizeof *levels; ++i) {
    assert_int_equal(bw_position(rig->bw, levels[i]), -EINVAL);
    assert_int_equal(bw_wait(rig->bw, 0, levels[i], 0), -EINVAL);
    assert_int_equal(bw_notify(rig->bw, 0, levels[i], test_note_done, &rig->notes[0]), -EINVAL);
  }
  test_rig_free_writer(rig);
  assert_int_equal(rig->notes[0].calls, 0);
}

static void test_misuse__a_note_without_a_callback_is_EINVAL(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(bw_notify(rig->bw, 0, BW_WRITTEN, NULL, NULL), -EINVAL);
}

static void test_misuse__a_waker_without_a_callback_is_EINVAL(void **state) {
  test_rig *rig = *state;
  char data[4] = "abc";
  struct iovec part = {data, 3};
  const bw_waker_t wake = {NULL, &rig->waker};
  fixture_open(rig, 8);
  assert_int_equal(bw_poll_write(rig->bw, data, 3, &wake), -EINVAL);
  assert_int_equal(bw_poll_writev(rig->bw, &part, 1, &wake), -EINVAL);
  assert_int_equal(bw_poll_append(rig->bw, data, 3, &wake), -EINVAL);
  assert_int_equal(bw_poll_appendv(rig->bw, &part, 1, &wake), -EINVAL);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EINVAL);
  assert_int_equal(bw_poll_sync(rig->bw, &wake), -EINVAL);
  assert_int_equal(bw_poll_read(rig->bw, data, 3, &wake), -EINVAL);
  assert_int_equal(bw_poll_seek(rig->bw, &wake), -EINVAL);
  assert_int_equal(bw_poll_close(rig->bw, &wake), -EINVAL);
  assert_int_equal(bw_unwake(rig->bw, &wake), -EINVAL);
  assert_int_equal(bw_unwake(rig->bw, NULL), -EINVAL);
  assert_int_equal(bw_tell(rig->bw), 0);
  assert_trace(rig, "");
  assert_int_equal(fixture_write(rig, "abc"), 3); /* it was not closed */
}

static void test_misuse__a_list_of_no_parts_may_be_NULL(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_writev(rig->bw, NULL, 0), 0);
  assert_int_equal(bw_appendv(rig->bw, NULL, 0), 3);
  assert_int_equal(bw_poll_writev(rig->bw, NULL, 0, NULL), 0);
  assert_int_equal(bw_poll_appendv(rig->bw, NULL, 0, NULL), 3);
  assert_trace(rig, "");
  assert_buffer_has(rig, "abc");
}

static void test_misuse__positions_that_would_overflow_are_EOVERFLOW(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SEEK, INT64_MAX - 1);
  assert_int_equal(bw_seek(rig->bw, INT64_MAX - 1, SEEK_SET), INT64_MAX - 1);
  (void)fixture_trace(rig);
  assert_int_equal(fixture_write(rig, "ab"), -EOVERFLOW);
  assert_int_equal(fixture_write(rig, "0123456789"), -EOVERFLOW);
  assert_int_equal(fixture_writev(rig, "a|b"), -EOVERFLOW);
  assert_int_equal(fixture_append(rig, "ab"), -EOVERFLOW);
  assert_int_equal(fixture_appendv(rig, "0123456789|ab"), -EOVERFLOW);
  assert_int_equal(fixture_poll_write(rig, "ab"), -EOVERFLOW);
  assert_int_equal(fixture_poll_append(rig, "0123456789"), -EOVERFLOW);
  assert_int_equal(bw_reserve(rig->bw, 2, &span), -EOVERFLOW);
  assert_int_equal(bw_tell(rig->bw), INT64_MAX - 1);
  assert_trace(rig, "");
  assert_int_equal(fixture_write(rig, "a"), 1);
  assert_int_equal(bw_tell(rig->bw), INT64_MAX);
  assert_int_equal(fixture_write(rig, "b"), -EOVERFLOW);
  assert_int_equal(bw_flush(rig->bw), 0);
}

/* ---- Calls on the writer from inside its own sink ------------------------------------------------- */

typedef struct reentry {
  test_rig *rig;
  enum test_sink_kind in;
  bool done;
  int64_t refused[32];
  int refused_count;
  int64_t small_write;
  int wake, error, stats;
  int64_t accepted, json;
  size_t buffered;
} reentry;

static void call_inside(reentry *r) {
  bw_t *bw = r->rig->bw;
  bw_sink_t ops = test_sink_ops(r->rig->has);
  bw_stats_t stats = {.size = sizeof stats};
  bw_span_t span = {0};
  char data[64] = "", text[4096];
  int n = 0;
  r->refused[n++] = bw_write(bw, data, sizeof data);
  r->refused[n++] = bw_flush(bw);
  r->refused[n++] = bw_sync(bw);
  r->refused[n++] = bw_seek(bw, 0, SEEK_SET);
  r->refused[n++] = bw_read(bw, data, sizeof data);
  r->refused[n++] = bw_close(bw);
  r->refused[n++] = bw_wait(bw, 1000, BW_WRITTEN, -1);
  r->refused[n++] = bw_append(bw, data, sizeof data);
  r->refused[n++] = bw_poll_flush(bw, NULL);
  r->refused[n++] = bw_discard(bw);
  r->refused[n++] = bw_set_sink(bw, &ops, &r->rig->other);
  r->refused[n++] = bw_tell(bw);
  r->refused[n++] = bw_resume(bw);
  r->refused[n++] = bw_unwritten(bw, NULL, NULL);
  r->refused[n++] = bw_commit(bw, &span, 0);
  r->refused[n++] = bw_notify(bw, 1000, BW_WRITTEN, test_note_done, &r->rig->notes[0]);
  r->refused[n++] = bw_poll_write(bw, data, sizeof data, &r->rig->wake);
  r->refused[n++] = bw_poll_append(bw, data, sizeof data, &r->rig->wake);
  r->refused[n++] = bw_poll_sync(bw, &r->rig->wake);
  r->refused[n++] = bw_poll_read(bw, data, sizeof data, &r->rig->wake);
  r->refused[n++] = bw_start_seek(bw, 0, SEEK_SET);
  r->refused[n++] = bw_poll_seek(bw, &r->rig->wake);
  r->refused[n++] = bw_poll_close(bw, &r->rig->wake);
  r->refused[n++] = bw_unwake(bw, &r->rig->wake);
  r->refused_count = n;
  r->wake = bw_wake(bw);
  r->error = bw_error(bw);
  r->accepted = bw_position(bw, BW_ACCEPTED);
  r->buffered = bw_buffered(bw);
  r->stats = bw_get_stats(bw, &stats);
  r->json = bw_stats_json(bw, text, sizeof text);
}

static void call_inside_once(void *arg, enum test_sink_kind kind) {
  reentry *r = arg;
  if (r->done || kind != r->in) return;
  r->done = true;
  call_inside(r);
}

static void check_reentry(const reentry *r) {
  assert_true(r->done);
  for (int i = 0; i < r->refused_count; ++i) assert_int_equal(r->refused[i], -EDEADLK);
  assert_int_equal(r->rig->notes[0].calls, 0);
  assert_int_equal(r->rig->waker.calls, 0);
  assert_int_equal(r->wake, 0);
  assert_int_equal(r->error, 0);
  assert_int_equal(r->stats, 0);
  assert_true(r->json > 0);
  assert_true(r->accepted >= 0);
  assert_true(r->buffered <= 8);
}

/* Drives a writer through every kind of sink call; the hook acts in the kind asked for. */
static void reenter(test_rig *rig, enum test_sink_kind kind) {
  static reentry r;
  char data[4];
  r = (reentry){.rig = rig, .in = kind};
  if (kind == TEST_SINK_WRITEV) rig->has |= TEST_SINK_HAS(TEST_SINK_WRITEV);
  fixture_open(rig, 8);
  rig->sink.hook = call_inside_once;
  rig->sink.hook_arg = &r;
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(fixture_writev(rig, "01234|56789"), 10);
  assert_int_equal(bw_seek(rig->bw, 13, SEEK_SET), 13);
  assert_int_equal(bw_read(rig->bw, data, sizeof data), 0);
  assert_int_equal(bw_close(rig->bw), 0);
  check_reentry(&r);
  assert_sink_has(rig, "abc0123456789");
}

static void test_misuse__the_writer_is_off_limits_inside_sink_write(void **state) { reenter(*state, TEST_SINK_WRITE); }
static void test_misuse__the_writer_is_off_limits_inside_sink_writev(void **state) {
  reenter(*state, TEST_SINK_WRITEV);
}
static void test_misuse__the_writer_is_off_limits_inside_sink_flush(void **state) { reenter(*state, TEST_SINK_FLUSH); }
static void test_misuse__the_writer_is_off_limits_inside_sink_seek(void **state) { reenter(*state, TEST_SINK_SEEK); }
static void test_misuse__the_writer_is_off_limits_inside_sink_read(void **state) { reenter(*state, TEST_SINK_READ); }
static void test_misuse__the_writer_is_off_limits_inside_sink_sync(void **state) { reenter(*state, TEST_SINK_SYNC); }
static void test_misuse__the_writer_is_off_limits_inside_sink_close(void **state) { reenter(*state, TEST_SINK_CLOSE); }

static void each_calls_inside(void *arg, const void *data, size_t length) {
  reentry *r = arg;
  (void)data;
  (void)length;
  r->done = true;
  call_inside(r);
}

static void test_misuse__the_writer_is_off_limits_inside_a_visit_of_the_unwritten(void **state) {
  test_rig *rig = *state;
  static reentry r;
  r = (reentry){.rig = rig};
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_unwritten(rig->bw, each_calls_inside, &r), 3);
  check_reentry(&r);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abc");
}

static void reserve_inside_once(void *arg, enum test_sink_kind kind) {
  reentry *r = arg;
  bw_span_t span;
  if (r->done || kind != TEST_SINK_WRITE) return;
  r->done = true;
  r->refused[0] = bw_reserve(r->rig->bw, 8, &span);
}

static void test_misuse__a_span_of_the_whole_buffer_inside_the_sink_is_refused(void **state) {
  test_rig *rig = *state;
  static reentry r;
  r = (reentry){.rig = rig};
  fixture_open(rig, 8);
  rig->sink.hook = reserve_inside_once;
  rig->sink.hook_arg = &r;
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(r.done);
  assert_int_equal(r.refused[0], -EDEADLK);
  assert_int_equal(bw_close(rig->bw), 0); /* no span is open */
  assert_sink_has(rig, "abc");
}

static void write_inside_once(void *arg, enum test_sink_kind kind) {
  reentry *r = arg;
  if (r->done || kind != TEST_SINK_WRITE) return;
  r->done = true;
  r->small_write = bw_write(r->rig->bw, "z", 1);
}

static void test_misuse__a_small_write_inside_the_sink_is_taken_whole_or_refused(void **state) {
  test_rig *rig = *state;
  static reentry r;
  r = (reentry){.rig = rig};
  fixture_open(rig, 8);
  rig->sink.hook = write_inside_once;
  rig->sink.hook_arg = &r;
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_true(r.small_write == 1 || r.small_write == -EDEADLK);
  assert_sink_has(rig, r.small_write == 1 ? "abcz" : "abc");
}

static void test_misuse__another_writer_may_be_used_inside_a_sink(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(rig->has);
  bw_options_t options = fixture_options(rig, 8);
  static reentry r;
  bw_t *outer;
  fixture_open(rig, 8);
  r = (reentry){.rig = rig};
  assert_int_equal(bw_new(&outer, &ops, &rig->other, &options), 0);
  rig->other.hook = write_inside_once; /* The outer writer's sink writes to rig->bw. */
  rig->other.hook_arg = &r;
  assert_int_equal(bw_write(outer, "abc", 3), 3);
  assert_int_equal(bw_flush(outer), 0);
  bw_free(outer);
  assert_int_equal(r.small_write, 1);
  assert_buffer_has(rig, "z");
}

/* ---- Lanes, aligned memory, names --------------------------------------------------------------- */

static void test_misuse__a_lane_of_nothing_is_EINVAL(void **state) {
  bw_t *lane = (bw_t *)*state;
  assert_int_equal(bw_lane(&lane, NULL, NULL), -EINVAL);
  assert_null(lane);
}

static void test_misuse__a_lane_of_an_unshared_writer_is_EINVAL(void **state) {
  test_rig *rig = *state;
  bw_t *lane = (bw_t *)rig;
  fixture_open(rig, 8);
  assert_int_equal(bw_lane(&lane, rig->bw, NULL), -EINVAL);
  assert_null(lane);
}

static void test_misuse__aligned_memory_is_zeroed_and_aligned(void **state) {
  static const size_t sizes[] = {4096, 8192, 1 << 20};
  (void)state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
    unsigned char *block = bw_alloc_aligned(sizes[i]);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 4096, 0);
    for (size_t k = 0; k < sizes[i]; ++k) assert_int_equal(block[k], 0);
    memset(block, 0xff, sizes[i]);
    bw_free_aligned(block);
  }
}

static void test_misuse__aligned_memory_of_odd_sizes_is_EINVAL(void **state) {
  static const size_t sizes[] = {0, 1, 4095, 4097, 6144, SIZE_MAX};
  (void)state;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
    errno = 0;
    assert_null(bw_alloc_aligned(sizes[i]));
    assert_int_equal(errno, EINVAL);
  }
}

static void test_misuse__every_code_has_a_text_and_a_name(void **state) {
  (void)state;
  for (int code = -20000; code <= 20000; ++code) {
    assert_non_null(bw_strerror(code));
    assert_non_null(bw_err_name(code));
  }
  assert_non_null(bw_strerror(INT_MIN));
  assert_non_null(bw_strerror(INT_MAX));
  assert_non_null(bw_err_name(INT_MIN));
  assert_non_null(bw_err_name(INT_MAX));
}

static void test_misuse__codes_have_the_names_of_their_macros(void **state) {
  (void)state;
  assert_string_equal(bw_err_name(-EAGAIN), "EAGAIN");
  assert_string_equal(bw_err_name(-EINVAL), "EINVAL");
  assert_string_equal(bw_err_name(-EIO), "EIO");
  assert_string_equal(bw_err_name(-ESHUTDOWN), "ESHUTDOWN");
  assert_string_equal(bw_err_name(BW_EWRITEZERO), "BW_EWRITEZERO");
  assert_string_equal(bw_err_name(BW_ESINK), "BW_ESINK");
}

static void test_misuse__the_version_is_its_string(void **state) {
  unsigned version = bw_version();
  char text[48];
  (void)state;
  snprintf(text, sizeof text, "%u.%u.%u", version >> 16, version >> 8 & 0xff, version & 0xff);
  assert_string_equal(bw_version_string(), text);
}

/* ---- After a fork ------------------------------------------------------------------------------- */

/* Runs in the child: the number of the first answer that is wrong, or 0. */
static int use_after_fork(test_rig *rig) {
  bw_span_t span;
  size_t length = 1;
  char data[4];
  if (fixture_write(rig, "d") != -ECHILD) return 1;
  if (fixture_write(rig, "0123456789") != -ECHILD) return 2;
  if (fixture_append(rig, "d") != -ECHILD) return 3;
  if (bw_reserve(rig->bw, 1, &span) != -ECHILD) return 4;
  if (bw_flush(rig->bw) != -ECHILD) return 5;
  if (bw_poll_flush(rig->bw, NULL) != -ECHILD) return 6;
  if (bw_sync(rig->bw) != -ECHILD) return 7;
  if (bw_seek(rig->bw, 0, SEEK_SET) != -ECHILD) return 8;
  if (bw_read(rig->bw, data, sizeof data) != -ECHILD) return 9;
  if (bw_tell(rig->bw) != -ECHILD) return 10;
  if (bw_position(rig->bw, BW_ACCEPTED) != -ECHILD) return 11;
  if (bw_error(rig->bw) != -ECHILD) return 12;
  if (bw_discard(rig->bw) != -ECHILD) return 13;
  if (bw_close(rig->bw) != -ECHILD) return 14;
  if (bw_buffered(rig->bw) != 0) return 15;
  if (bw_capacity(rig->bw) != 0) return 16;
  if (bw_buffer(rig->bw, &length) != NULL) return 17;
  if (bw_context(rig->bw) != NULL) return 18;
  bw_free(rig->bw);
  if (rig->sink.call_count != 0 || rig->events.count != 0) return 19;
  return 0;
}

static void test_misuse__after_a_fork_the_child_gets_ECHILD(void **state) {
  test_rig *rig = *state;
  int status = -1;
  pid_t child;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  child = fork();
  if (child == 0) _exit(use_after_fork(rig));
  assert_true(child > 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  assert_buffer_has(rig, "abc");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abc");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      SHARED_TEST(test_misuse__writing_to_NULL_is_EINVAL),
      SHARED_TEST(test_misuse__polling_NULL_is_EINVAL),
      SHARED_TEST(test_misuse__asking_NULL_is_EINVAL_or_nothing),
      SHARED_TEST(test_misuse__freeing_NULL_does_nothing),
      SHARED_TEST(test_misuse__new_without_out_or_sink_is_EINVAL),
      INLINE_TEST(test_misuse__options_of_size_0_are_EINVAL),
      INLINE_TEST(test_misuse__unknown_flags_are_EINVAL),
      INLINE_TEST(test_misuse__capacity_beyond_128_MiB_is_EINVAL),
      INLINE_TEST(test_misuse__capacity_of_128_MiB_is_fine),
      INLINE_TEST(test_misuse__percentages_out_of_order_are_EINVAL),
      INLINE_TEST(test_misuse__percentages_in_order_are_fine),
      SHARED_TEST(test_misuse__linger_of_an_unshared_writer_is_EINVAL),
      INLINE_TEST(test_misuse__what_means_nothing_to_a_sink_is_ignored),
      SHARED_TEST(test_misuse__a_sink_without_write_is_EINVAL),
      SHARED_TEST(test_misuse__a_sink_of_size_0_is_EINVAL),
      SHARED_TEST(test_misuse__unknown_sink_flags_are_EINVAL),
      INLINE_TEST(test_misuse__newer_options_with_an_unknown_field_set_are_E2BIG),
      INLINE_TEST(test_misuse__newer_options_with_unknown_fields_unset_are_fine),
      INLINE_TEST(test_misuse__older_options_end_where_they_say),
      SHARED_TEST(test_misuse__a_newer_sink_with_an_unknown_callback_is_E2BIG),
      INLINE_TEST(test_misuse__an_older_sink_ends_where_it_says),
      SHARED_TEST(test_misuse__a_sink_too_old_for_write_is_EINVAL),
      INLINE_TEST(test_misuse__stats_fill_no_more_than_their_size),
      INLINE_TEST(test_misuse__stats_of_size_0_or_NULL_are_EINVAL),
      INLINE_TEST(test_misuse__NULL_bytes_are_EINVAL),
      INLINE_TEST(test_misuse__lengths_over_SSIZE_MAX_are_EINVAL),
      INLINE_TEST(test_misuse__a_negative_count_of_parts_is_EINVAL),
      INLINE_TEST(test_misuse__NULL_parts_are_EINVAL),
      INLINE_TEST(test_misuse__a_NULL_part_of_length_0_is_fine),
      INLINE_TEST(test_misuse__totals_over_SSIZE_MAX_are_EINVAL),
      INLINE_TEST(test_misuse__unknown_levels_are_EINVAL),
      INLINE_TEST(test_misuse__a_note_without_a_callback_is_EINVAL),
      INLINE_TEST(test_misuse__a_waker_without_a_callback_is_EINVAL),
      INLINE_TEST(test_misuse__a_list_of_no_parts_may_be_NULL),
      INLINE_TEST(test_misuse__positions_that_would_overflow_are_EOVERFLOW),
      INLINE_TEST(test_misuse__the_writer_is_off_limits_inside_sink_write),
      INLINE_TEST(test_misuse__the_writer_is_off_limits_inside_sink_writev),
      INLINE_TEST(test_misuse__the_writer_is_off_limits_inside_sink_flush),
      INLINE_TEST(test_misuse__the_writer_is_off_limits_inside_sink_seek),
      INLINE_TEST(test_misuse__the_writer_is_off_limits_inside_sink_read),
      INLINE_TEST(test_misuse__the_writer_is_off_limits_inside_sink_sync),
      INLINE_TEST(test_misuse__the_writer_is_off_limits_inside_sink_close),
      INLINE_TEST(test_misuse__the_writer_is_off_limits_inside_a_visit_of_the_unwritten),
      INLINE_TEST(test_misuse__a_span_of_the_whole_buffer_inside_the_sink_is_refused),
      INLINE_TEST(test_misuse__a_small_write_inside_the_sink_is_taken_whole_or_refused),
      INLINE_TEST(test_misuse__another_writer_may_be_used_inside_a_sink),
      SHARED_TEST(test_misuse__a_lane_of_nothing_is_EINVAL),
      UNSHARED_TEST(test_misuse__a_lane_of_an_unshared_writer_is_EINVAL),
      SHARED_TEST(test_misuse__aligned_memory_is_zeroed_and_aligned),
      SHARED_TEST(test_misuse__aligned_memory_of_odd_sizes_is_EINVAL),
      SHARED_TEST(test_misuse__every_code_has_a_text_and_a_name),
      SHARED_TEST(test_misuse__codes_have_the_names_of_their_macros),
      SHARED_TEST(test_misuse__the_version_is_its_string),
      INLINE_TEST(test_misuse__after_a_fork_the_child_gets_ECHILD),
  };
  return cmocka_run_group_tests_name("misuse", tests, NULL, NULL);
}
