/* Seeks, remembered and at once, reads that pass through, and what a seek does to the watermarks. */
#include "../support/fixture.h"

#include <sched.h>

/* A writer whose sink holds "hello world", written and standing at its beginning. */
static void open_hello(test_rig *rig) {
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "hello world"), 11);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), 0);
}

/* ---- Seeks at once ---------------------------------------------------------------------------- */

static void test_seek_read__seek_writes_what_is_buffered_first(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abcdef"), 6);
  assert_int_equal(bw_seek(rig->bw, 2, SEEK_SET), 2);
  assert_buffer_has(rig, "");
  assert_int_equal(fixture_write(rig, "XY"), 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abXYef");
}

static void test_seek_read__tell_is_the_new_position(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(bw_seek(rig->bw, 100, SEEK_SET), 100);
  assert_int_equal(bw_tell(rig->bw), 100);
  assert_int_equal(fixture_append(rig, "abc"), 100);
  assert_int_equal(bw_tell(rig->bw), 103);
}

static void test_seek_read__CUR_counts_from_behind_the_buffered_bytes(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abcdef"), 6);
  assert_int_equal(bw_seek(rig->bw, -2, SEEK_CUR), 4);
  assert_int_equal(fixture_write(rig, "XYZ"), 3);
  assert_int_equal(bw_seek(rig->bw, 1, SEEK_CUR), 8);
  assert_sink_has(rig, "abcdXYZ");
}

static void test_seek_read__END_counts_from_behind_the_buffered_bytes(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abcdef"), 6);
  assert_int_equal(bw_seek(rig->bw, -1, SEEK_END), 5);
  assert_int_equal(fixture_write(rig, "XY"), 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcdeXY");
}

static void test_seek_read__a_seek_whose_flush_fails_does_not_seek(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1, -EIO);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), -EIO);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SEEK), 0);
  assert_buffer_has(rig, "bc");
  assert_int_equal(bw_tell(rig->bw), 3);
}

static void test_seek_read__a_seek_the_sink_refuses_changes_no_position(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_seek(rig->bw, -1, SEEK_SET), -EINVAL);
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(fixture_write(rig, "d"), 1);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcd");
}

static void test_seek_read__an_unknown_whence_is_EINVAL(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(bw_seek(rig->bw, 0, 77), -EINVAL);
  assert_int_equal(bw_tell(rig->bw), 0);
}

static void test_seek_read__without_sink_seek_it_is_ESPIPE(void **state) {
  test_rig *rig = *state;
  int started;
  rig->has &= ~TEST_SINK_HAS(TEST_SINK_SEEK);
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), -ESPIPE);
  started = bw_start_seek(rig->bw, 0, SEEK_SET);
  assert_true(started == 0 || started == -ESPIPE);
  if (started == 0) assert_int_equal(bw_poll_seek(rig->bw, NULL), -ESPIPE);
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abc");
}

static void test_seek_read__a_seek_tries_again_after_EINTR(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SEEK, -EINTR, -EINTR);
  assert_int_equal(bw_seek(rig->bw, 4, SEEK_SET), 4);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SEEK), 3);
}

/* ---- Remembered seeks ------------------------------------------------------------------------- */

static void test_seek_read__start_seek_only_remembers(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_start_seek(rig->bw, 1, SEEK_SET), 0);
  assert_trace(rig, "");
  assert_buffer_has(rig, "abc");
  assert_int_equal(bw_tell(rig->bw), 3);
}

static void test_seek_read__poll_seek_flushes_then_seeks(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_start_seek(rig->bw, 1, SEEK_SET), 0);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 1);
  assert_sink_has(rig, "abc");
  assert_int_equal(rig->sink.calls[0].kind, TEST_SINK_WRITE);
  assert_int_equal(test_sink_last(&rig->sink, TEST_SINK_SEEK).answer, 1);
  assert_int_equal(bw_tell(rig->bw), 1);
}

static void test_seek_read__tokios_seek_case_lands_where_it_should(void **state) {
  test_rig *rig = *state;
  char expected[44] = "01234567";
  fixture_open(rig, 3);
  assert_int_equal(fixture_write(rig, "01"), 2);
  assert_int_equal(fixture_write(rig, "23"), 2);
  assert_int_equal(fixture_write(rig, "4567"), 4);
  assert_int_equal(bw_start_seek(rig->bw, 42, SEEK_SET), 0);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 42);
  assert_int_equal(fixture_write(rig, "d"), 1);
  assert_int_equal(fixture_write(rig, "e"), 1);
  assert_int_equal(bw_flush(rig->bw), 0);
  expected[42] = 'd';
  expected[43] = 'e';
  assert_true(test_sink_holds(&rig->sink, expected, 44));
}

static void test_seek_read__a_later_start_seek_replaces_the_one_remembered(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(bw_start_seek(rig->bw, 5, SEEK_SET), 0);
  assert_int_equal(bw_start_seek(rig->bw, 7, SEEK_SET), 0);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 7);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SEEK), 1);
}

static void test_seek_read__poll_seek_with_none_remembered_is_the_position(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 0);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 3);
  assert_trace(rig, "");
  assert_int_equal(bw_start_seek(rig->bw, 1, SEEK_SET), 0);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 1);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 1);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SEEK), 1);
}

static void test_seek_read__a_failed_flush_keeps_the_seek_remembered(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_start_seek(rig->bw, 1, SEEK_SET), 0);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1, -EIO, 0);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), -EIO);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), BW_EWRITEZERO);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SEEK), 0);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 1);
  assert_sink_has(rig, "abc");
}

static void test_seek_read__a_failed_seek_is_forgotten(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_start_seek(rig->bw, 1, SEEK_SET), 0);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SEEK, -EIO);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), -EIO);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 3);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SEEK), 1);
}

static void test_seek_read__writes_may_come_between_start_and_poll(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_start_seek(rig->bw, 0, SEEK_SET), 0);
  assert_int_equal(fixture_write(rig, "de"), 2);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 0);
  assert_sink_has(rig, "abcde");
}

static void test_seek_read__seek_at_once_leaves_the_one_remembered(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(bw_start_seek(rig->bw, 10, SEEK_SET), 0);
  assert_int_equal(bw_seek(rig->bw, 3, SEEK_SET), 3);
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 10);
  assert_int_equal(bw_tell(rig->bw), 10);
}

static int64_t poll_seek(void *bw) { return bw_poll_seek(bw, NULL); }

static void test_seek_read__a_seek_remembered_while_another_is_made_comes_next(void **state) {
  test_rig *rig = *state;
  test_thread seeking;
  fixture_open(rig, 16);
  test_rig_gate(rig, TEST_SINK_HAS(TEST_SINK_SEEK));
  assert_int_equal(bw_start_seek(rig->bw, 3, SEEK_SET), 0);
  test_thread_start(&seeking, poll_seek, rig->bw);
  assert_true(test_gate_await(&rig->gate, 1));
  assert_int_equal(bw_start_seek(rig->bw, 7, SEEK_SET), 0);
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&seeking), 3);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 7);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 7);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SEEK), 2);
}

/* ---- Watermarks ------------------------------------------------------------------------------- */

static void test_seek_read__accepted_and_written_are_where_the_seek_went(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abcdef"), 6);
  assert_int_equal(bw_seek(rig->bw, 2, SEEK_SET), 2);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 2);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 2);
  assert_int_equal(bw_seek(rig->bw, 50, SEEK_SET), 50);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 50);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 50);
}

static void test_seek_read__durable_is_never_more_than_it_was(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abcd"), 4);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 4);
  assert_int_equal(bw_seek(rig->bw, 100, SEEK_SET), 100);
  assert_true(bw_position(rig->bw, BW_DURABLE) <= 4);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 100);
}

static void test_seek_read__durable_is_at_most_where_the_seek_went(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abcd"), 4);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_seek(rig->bw, 2, SEEK_SET), 2);
  assert_true(bw_position(rig->bw, BW_DURABLE) <= 2);
  assert_int_equal(fixture_write(rig, "xyz"), 3);
  assert_true(bw_position(rig->bw, BW_DURABLE) <= 2);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 5);
}

static void test_seek_read__notes_beyond_the_new_position_are_cancelled(void **state) {
  test_rig *rig = *state;
  test_note *note = &rig->notes[0];
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "abcd"), 4);
  assert_int_equal(bw_notify(rig->bw, 9, BW_WRITTEN, test_note_done, note), 0);
  assert_int_equal(bw_seek(rig->bw, 2, SEEK_SET), 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(test_note_code(note), -ECANCELED);
  test_rig_free_writer(rig);
  assert_int_equal(note->calls, 1);
}

static void test_seek_read__threads_that_wait_beyond_the_new_position_are_cancelled(void **state) {
  test_rig *rig = *state;
  test_thread thread;
  fixture_open(rig, 16);
  test_call wait = {.bw = rig->bw, .position = 1000, .level = BW_ACCEPTED, .timeout_us = -1};
  assert_int_equal(fixture_write(rig, "abcd"), 4);
  test_thread_start(&thread, test_call_wait, &wait);
  /* Whenever the thread begins to wait, one of these finds it. */
  while (!test_thread_finished(&thread)) {
    assert_int_equal(bw_seek(rig->bw, 2, SEEK_SET), 2);
    sched_yield();
  }
  assert_int_equal(test_thread_join(&thread), -ECANCELED);
}

/* ---- Reads ------------------------------------------------------------------------------------ */

static void test_seek_read__a_read_leaves_buffered_bytes_buffered(void **state) {
  test_rig *rig = *state;
  char data[8];
  open_hello(rig);
  assert_int_equal(fixture_write(rig, "XY"), 2);
  (void)fixture_trace(rig);
  assert_int_equal(bw_read(rig->bw, data, 3), 3);
  assert_memory_equal(data, "hel", 3);
  assert_trace(rig, "read(3)");
  assert_buffer_has(rig, "XY");
}

static void test_seek_read__buffered_bytes_land_where_the_sink_then_stands(void **state) {
  test_rig *rig = *state;
  char data[8];
  open_hello(rig);
  assert_int_equal(fixture_write(rig, "XY"), 2);
  assert_int_equal(bw_read(rig->bw, data, 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "helXY world");
}

static void test_seek_read__reads_pass_counts_through(void **state) {
  test_rig *rig = *state;
  char data[32];
  open_hello(rig);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_READ, 2);
  assert_int_equal(bw_read(rig->bw, data, sizeof data), 2);
  assert_int_equal(bw_read(rig->bw, data, sizeof data), 9);
  assert_memory_equal(data, "llo world", 9);
  assert_int_equal(bw_read(rig->bw, data, sizeof data), 0);
}

static void test_seek_read__polled_reads_pass_through_too(void **state) {
  test_rig *rig = *state;
  char data[32];
  open_hello(rig);
  assert_int_equal(fixture_write(rig, "XY"), 2);
  assert_int_equal(bw_poll_read(rig->bw, data, 5, NULL), 5);
  assert_memory_equal(data, "hello", 5);
  assert_buffer_has(rig, "XY");
}

static void test_seek_read__reads_pass_errors_through_and_forget_them(void **state) {
  test_rig *rig = *state;
  char data[8];
  open_hello(rig);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_READ, -EIO, -EAGAIN);
  assert_int_equal(bw_read(rig->bw, data, 5), -EIO);
  assert_int_equal(bw_read(rig->bw, data, 5), -EAGAIN);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_read(rig->bw, data, 5), 5);
}

static void test_seek_read__a_read_tries_again_after_EINTR(void **state) {
  test_rig *rig = *state;
  char data[8];
  open_hello(rig);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_READ, -EINTR);
  assert_int_equal(bw_read(rig->bw, data, 5), 5);
}

static void test_seek_read__without_sink_read_it_is_EBADF(void **state) {
  test_rig *rig = *state;
  char data[8];
  rig->has &= ~TEST_SINK_HAS(TEST_SINK_READ);
  fixture_open(rig, 16);
  assert_int_equal(bw_read(rig->bw, data, sizeof data), -EBADF);
  assert_int_equal(bw_poll_read(rig->bw, data, sizeof data, NULL), -EBADF);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      INLINE_TEST(test_seek_read__seek_writes_what_is_buffered_first),
      INLINE_TEST(test_seek_read__tell_is_the_new_position),
      INLINE_TEST(test_seek_read__CUR_counts_from_behind_the_buffered_bytes),
      INLINE_TEST(test_seek_read__END_counts_from_behind_the_buffered_bytes),
      INLINE_TEST(test_seek_read__a_seek_whose_flush_fails_does_not_seek),
      INLINE_TEST(test_seek_read__a_seek_the_sink_refuses_changes_no_position),
      INLINE_TEST(test_seek_read__an_unknown_whence_is_EINVAL),
      INLINE_TEST(test_seek_read__without_sink_seek_it_is_ESPIPE),
      INLINE_TEST(test_seek_read__a_seek_tries_again_after_EINTR),
      INLINE_TEST(test_seek_read__start_seek_only_remembers),
      INLINE_TEST(test_seek_read__poll_seek_flushes_then_seeks),
      INLINE_TEST(test_seek_read__tokios_seek_case_lands_where_it_should),
      INLINE_TEST(test_seek_read__a_later_start_seek_replaces_the_one_remembered),
      INLINE_TEST(test_seek_read__poll_seek_with_none_remembered_is_the_position),
      INLINE_TEST(test_seek_read__a_failed_flush_keeps_the_seek_remembered),
      INLINE_TEST(test_seek_read__a_failed_seek_is_forgotten),
      INLINE_TEST(test_seek_read__writes_may_come_between_start_and_poll),
      INLINE_TEST(test_seek_read__seek_at_once_leaves_the_one_remembered),
      SHARED_TEST(test_seek_read__a_seek_remembered_while_another_is_made_comes_next),
      INLINE_TEST(test_seek_read__accepted_and_written_are_where_the_seek_went),
      INLINE_TEST(test_seek_read__durable_is_never_more_than_it_was),
      INLINE_TEST(test_seek_read__durable_is_at_most_where_the_seek_went),
      INLINE_TEST(test_seek_read__notes_beyond_the_new_position_are_cancelled),
      SHARED_TEST(test_seek_read__threads_that_wait_beyond_the_new_position_are_cancelled),
      INLINE_TEST(test_seek_read__a_read_leaves_buffered_bytes_buffered),
      INLINE_TEST(test_seek_read__buffered_bytes_land_where_the_sink_then_stands),
      INLINE_TEST(test_seek_read__reads_pass_counts_through),
      INLINE_TEST(test_seek_read__polled_reads_pass_through_too),
      INLINE_TEST(test_seek_read__reads_pass_errors_through_and_forget_them),
      INLINE_TEST(test_seek_read__a_read_tries_again_after_EINTR),
      INLINE_TEST(test_seek_read__without_sink_read_it_is_EBADF),
  };
  return cmocka_run_group_tests_name("seek_read", tests, NULL, NULL);
}
