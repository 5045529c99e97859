/* When the sink fails: what is kept, what is told, and how to go on (inline writers). */
#include "../support/fixture.h"

/* "abcdef" of which the sink took "ab" before it failed with -EIO. */
static void open_stopped(test_rig *rig) {
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abcdef"), 6);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -EIO);
  assert_int_equal(bw_flush(rig->bw), -EIO);
  (void)fixture_trace(rig);
}

/* As above, with most of it kept outside the buffer: an append longer than the buffer that stopped part-way. */
static void open_stopped_append(test_rig *rig) {
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -EIO);
  assert_int_equal(fixture_append(rig, "abcdefghij"), 0);
  (void)fixture_trace(rig);
}

/* ---- Failed writes ---------------------------------------------------------------------------- */

static void test_errors__a_failed_write_keeps_every_byte_not_taken(void **state) {
  test_rig *rig = *state;
  open_stopped(rig);
  assert_unwritten(rig, "cdef");
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 6);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 2);
  assert_int_equal(bw_error(rig->bw), 0);
}

static void test_errors__the_next_call_goes_on_from_the_first_byte_not_taken(void **state) {
  test_rig *rig = *state;
  open_stopped(rig);
  assert_int_equal(fixture_write(rig, "ghijklmn"), 8);
  assert_trace(rig, "write(4) write(8)");
  assert_sink_has(rig, "abcdefghijklmn");
}

static void test_errors__resume_of_an_inline_writer_has_nothing_to_do(void **state) {
  test_rig *rig = *state;
  open_stopped(rig);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_unwritten(rig, "cdef");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcdef");
}

static void test_errors__each_code_is_passed_up_unchanged(void **state) {
  static const int64_t codes[] = {-EPIPE, -ENOSPC, -EFBIG, -ECONNRESET, -9999};
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  test_sink_script(&rig->sink, TEST_SINK_WRITE, codes, sizeof codes / sizeof *codes);
  for (size_t i = 0; i < sizeof codes / sizeof *codes; ++i) assert_int_equal(bw_flush(rig->bw), codes[i]);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abc");
}

/* They are also codes of ours, which end waits for other reasons. */
static void test_errors__a_wait_ends_with_the_sinks_own_ECANCELED_and_ESHUTDOWN(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -ECANCELED, -ESHUTDOWN, -ECANCELED, -ESHUTDOWN);
  assert_int_equal(bw_wait(rig->bw, 3, BW_WRITTEN, -1), -ECANCELED);
  assert_int_equal(bw_wait(rig->bw, 3, BW_WRITTEN, -1), -ESHUTDOWN);
  assert_int_equal(bw_wait(rig->bw, 3, BW_DURABLE, -1), -ECANCELED);
  assert_int_equal(bw_wait(rig->bw, 3, BW_DURABLE, -1), -ESHUTDOWN);
  assert_int_equal(bw_wait(rig->bw, 3, BW_DURABLE, -1), 0);
}

static void test_errors__unwritten_without_a_visitor_only_counts(void **state) {
  test_rig *rig = *state;
  open_stopped(rig);
  assert_int_equal(bw_unwritten(rig->bw, NULL, NULL), 4);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_unwritten(rig->bw, NULL, NULL), 0);
}

static void test_errors__unwritten_visits_what_is_kept_of_an_append_and_what_came_later(void **state) {
  test_rig *rig = *state;
  open_stopped_append(rig);
  assert_unwritten(rig, "cdefghij");
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EIO);
  if (fixture_write(rig, "kl") == 2) {
    assert_unwritten(rig, "cdefghijkl");
  } else {
    assert_unwritten(rig, "cdefghij");
  }
}

/* ---- Another sink ----------------------------------------------------------------------------- */

static void swap_sink(test_rig *rig) {
  bw_sink_t ops = test_sink_ops(rig->has);
  assert_int_equal(bw_set_sink(rig->bw, &ops, &rig->other), 0);
}

static void test_errors__set_sink_takes_the_unwritten_bytes_over(void **state) {
  test_rig *rig = *state;
  open_stopped(rig);
  swap_sink(rig);
  assert_ptr_equal(bw_context(rig->bw), &rig->other);
  assert_unwritten(rig, "cdef");
  assert_int_equal(fixture_write(rig, "g"), 1);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "ab");
  assert_other_has(rig, "cdefg");
  assert_int_equal(bw_tell(rig->bw), 7);
}

static void test_errors__set_sink_takes_the_rest_of_an_append_over(void **state) {
  test_rig *rig = *state;
  open_stopped_append(rig);
  swap_sink(rig);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "ab");
  assert_other_has(rig, "cdefghij");
}

static void test_errors__set_sink_never_calls_the_old_sink_again(void **state) {
  test_rig *rig = *state;
  open_stopped(rig);
  swap_sink(rig);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_close(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_trace(rig, "");
  assert_int_equal(test_sink_count(&rig->other, TEST_SINK_CLOSE), 1);
}

static void test_errors__set_sink_to_something_invalid_changes_nothing(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(rig->has);
  open_stopped(rig);
  assert_int_equal(bw_set_sink(rig->bw, NULL, &rig->other), -EINVAL);
  ops.size = 0;
  assert_int_equal(bw_set_sink(rig->bw, &ops, &rig->other), -EINVAL);
  ops = test_sink_ops(rig->has);
  ops.write = NULL;
  assert_int_equal(bw_set_sink(rig->bw, &ops, &rig->other), -EINVAL);
  assert_ptr_equal(bw_context(rig->bw), &rig->sink);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcdef");
}

/* ---- Discarding ------------------------------------------------------------------------------- */

static void test_errors__discard_forgets_the_unwritten_bytes_and_counts_them(void **state) {
  test_rig *rig = *state;
  open_stopped(rig);
  assert_int_equal(bw_discard(rig->bw), 4);
  assert_buffer_has(rig, "");
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 2);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 2);
  assert_int_equal(bw_tell(rig->bw), 2);
  assert_int_equal(bw_discard(rig->bw), 0);
  assert_int_equal(fixture_append(rig, "xy"), 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abxy");
}

static void test_errors__discard_forgets_the_rest_of_an_append(void **state) {
  test_rig *rig = *state;
  open_stopped_append(rig);
  assert_int_equal(bw_discard(rig->bw), 8);
  assert_int_equal(bw_tell(rig->bw), 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_sink_has(rig, "ab");
}

static void test_errors__discard_calls_no_sink(void **state) {
  test_rig *rig = *state;
  open_stopped(rig);
  assert_int_equal(bw_discard(rig->bw), 4);
  assert_trace(rig, "");
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_LOST), 0);
}

static void test_errors__discard_then_free_is_how_into_inner_ends(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 3);
  assert_int_equal(fixture_write(rig, "01"), 2);
  assert_int_equal(bw_discard(rig->bw), 2);
  test_rig_free_writer(rig);
  assert_sink_has(rig, "");
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_LOST), 0);
}

static void test_errors__notes_beyond_a_discard_are_cancelled(void **state) {
  test_rig *rig = *state;
  test_note *note = &rig->notes[0];
  open_stopped(rig);
  assert_int_equal(bw_notify(rig->bw, 6, BW_WRITTEN, test_note_done, note), 0);
  assert_int_equal(bw_discard(rig->bw), 4);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(test_note_code(note), -ECANCELED);
  test_rig_free_writer(rig);
  assert_int_equal(note->calls, 1);
}

/* ---- Notes that are reached --------------------------------------------------------------------- */

static void test_errors__a_note_is_told_once_its_bytes_are_written(void **state) {
  test_rig *rig = *state;
  test_note *note = &rig->notes[0];
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_notify(rig->bw, 3, BW_WRITTEN, test_note_done, note), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(test_note_code(note), 0);
  test_rig_free_writer(rig);
  assert_int_equal(note->calls, 1);
}

static void test_errors__a_note_is_told_once_its_bytes_are_durable(void **state) {
  test_rig *rig = *state;
  test_note *note = &rig->notes[0];
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_notify(rig->bw, 3, BW_DURABLE, test_note_done, note), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(test_note_code(note), 0);
  assert_true(test_sink_count(&rig->sink, TEST_SINK_SYNC) >= 1);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 3);
  test_rig_free_writer(rig);
  assert_int_equal(note->calls, 1);
}

/* ---- Failed syncs ------------------------------------------------------------------------------- */

static void open_sync_failed(test_rig *rig) {
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, -EIO);
  assert_int_equal(bw_sync(rig->bw), -EIO);
}

static void test_errors__a_failed_sync_is_final(void **state) {
  test_rig *rig = *state;
  open_sync_failed(rig);
  for (int i = 0; i < 3; ++i) {
    assert_int_equal(bw_error(rig->bw), -EIO);
    assert_int_equal(bw_sync(rig->bw), -EIO);
    assert_int_equal(bw_poll_sync(rig->bw, NULL), -EIO);
    assert_int_equal(bw_wait(rig->bw, 3, BW_DURABLE, -1), -EIO);
    assert_int_equal(bw_resume(rig->bw), -EIO);
  }
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 1);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 0);
}

static void test_errors__a_failed_sync_is_told_as_an_event(void **state) {
  test_rig *rig = *state;
  open_sync_failed(rig);
  assert_int_equal(test_events_last(&rig->events, BW_EVENT_ERROR).code, -EIO);
}

static void test_errors__inline_writers_still_write_after_a_failed_sync(void **state) {
  test_rig *rig = *state;
  open_sync_failed(rig);
  assert_int_equal(fixture_write(rig, "de"), 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(fixture_append(rig, "0123456789"), 5);
  assert_int_equal(bw_wait(rig->bw, 15, BW_WRITTEN, -1), 0);
  assert_sink_has(rig, "abcde0123456789");
}

static void test_errors__close_after_a_failed_sync_writes_closes_and_gives_the_code_once(void **state) {
  test_rig *rig = *state;
  open_sync_failed(rig);
  assert_int_equal(fixture_write(rig, "de"), 2);
  assert_int_equal(bw_close(rig->bw), -EIO);
  assert_sink_has(rig, "abcde");
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_int_equal(bw_sync(rig->bw), -ESHUTDOWN);
  test_rig_free_writer(rig);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 1);
}

static void test_errors__notes_for_durable_get_the_code_of_a_failed_sync(void **state) {
  test_rig *rig = *state;
  test_note *note = &rig->notes[0];
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  test_sink_always(&rig->sink, TEST_SINK_SYNC, -EIO);
  assert_int_equal(bw_notify(rig->bw, 3, BW_DURABLE, test_note_done, note), 0);
  assert_int_equal(bw_sync(rig->bw), -EIO);
  assert_int_equal(test_note_code(note), -EIO);
  test_rig_free_writer(rig);
  assert_int_equal(note->calls, 1);
}

static void test_errors__a_sink_that_cannot_sync_is_no_failure(void **state) {
  test_rig *rig = *state;
  rig->has &= ~TEST_SINK_HAS(TEST_SINK_SYNC);
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_sync(rig->bw), -EOPNOTSUPP);
  assert_trace(rig, "write(3) flush");
  assert_sink_has(rig, "abc");
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 0);
  assert_int_equal(bw_close(rig->bw), 0);
}

static void test_errors__EOPNOTSUPP_and_EAGAIN_of_sync_are_no_failure(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, -EOPNOTSUPP, -EAGAIN);
  assert_int_equal(bw_sync(rig->bw), -EOPNOTSUPP);
  assert_int_equal(bw_sync(rig->bw), -EAGAIN);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 3);
}

static void test_errors__a_sync_tries_again_after_EINTR(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, -EINTR, -EINTR);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 3);
}

static void test_errors__a_write_that_fails_on_the_way_to_sync_is_no_failed_sync(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_FLUSH, -ENOSPC);
  assert_int_equal(bw_sync(rig->bw), -EIO);
  assert_int_equal(bw_sync(rig->bw), -ENOSPC);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 0);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_sync(rig->bw), 0);
}

/* ---- BW_ESINK: the sink's state is unknown -------------------------------------------------------- */

static void open_esink(test_rig *rig) {
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, TEST_SINK_OVERCLAIM);
  assert_int_equal(bw_flush(rig->bw), BW_ESINK);
  (void)fixture_trace(rig);
}

static void test_errors__a_claim_of_more_than_offered_is_held(void **state) {
  test_rig *rig = *state;
  char data[4];
  open_esink(rig);
  assert_int_equal(bw_error(rig->bw), BW_ESINK);
  assert_int_equal(bw_resume(rig->bw), BW_ESINK);
  assert_int_equal(fixture_write(rig, "d"), BW_ESINK);
  assert_int_equal(fixture_write(rig, "0123456789"), BW_ESINK);
  assert_int_equal(fixture_writev(rig, "d|e"), BW_ESINK);
  assert_int_equal(fixture_append(rig, "d"), BW_ESINK);
  assert_int_equal(fixture_poll_write(rig, "0123456789"), BW_ESINK);
  assert_int_equal(bw_flush(rig->bw), BW_ESINK);
  assert_int_equal(bw_poll_flush(rig->bw, NULL), BW_ESINK);
  assert_int_equal(bw_sync(rig->bw), BW_ESINK);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), BW_ESINK);
  assert_int_equal(bw_read(rig->bw, data, sizeof data), BW_ESINK);
  assert_int_equal(bw_close(rig->bw), BW_ESINK);
  assert_trace(rig, "");
}

static void test_errors__free_calls_no_sink_that_failed_in_an_unknown_state(void **state) {
  test_rig *rig = *state;
  open_esink(rig);
  test_rig_free_writer(rig);
  assert_trace(rig, "");
  assert_true(test_events_count(&rig->events, BW_EVENT_LOST) >= 1);
}

static void test_errors__set_sink_ends_a_held_ESINK(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(rig->has);
  open_esink(rig);
  assert_int_equal(bw_set_sink(rig->bw, &ops, &rig->other), 0);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(fixture_write(rig, "xyz"), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_trace(rig, "");
  assert_true(rig->other.length >= 3);
  assert_memory_equal(rig->other.data + rig->other.length - 3, "xyz", 3);
}

static void test_errors__discard_ends_a_held_ESINK(void **state) {
  test_rig *rig = *state;
  open_esink(rig);
  assert_true(bw_discard(rig->bw) >= 0);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(fixture_write(rig, "xyz"), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_trace(rig, "write(3) flush");
}

static void test_errors__an_answer_too_low_for_a_code_is_ESINK(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, (int64_t)INT32_MIN - 1);
  assert_int_equal(bw_flush(rig->bw), BW_ESINK);
  assert_int_equal(bw_error(rig->bw), BW_ESINK);
  assert_int_equal(bw_discard(rig->bw), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SEEK, INT64_MIN + 1);
  assert_int_equal(bw_seek(rig->bw, 1, SEEK_SET), BW_ESINK);
  assert_int_equal(bw_error(rig->bw), BW_ESINK);
}

static void test_errors__ESINK_from_a_bypassing_write_is_held(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, BW_ESINK);
  assert_int_equal(fixture_write(rig, "abc"), BW_ESINK);
  assert_int_equal(bw_error(rig->bw), BW_ESINK);
  assert_int_equal(fixture_write(rig, "abc"), BW_ESINK);
  assert_trace(rig, "write(3)=BW_ESINK");
}

static void test_errors__ESINK_from_a_bypassing_poll_is_held(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, TEST_SINK_OVERCLAIM);
  assert_int_equal(fixture_poll_write(rig, "abc"), BW_ESINK);
  assert_int_equal(bw_error(rig->bw), BW_ESINK);
  assert_int_equal(fixture_poll_write(rig, "abc"), BW_ESINK);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), 1);
}

static void test_errors__a_list_claimed_beyond_its_length_is_held(void **state) {
  test_rig *rig = *state;
  rig->has |= TEST_SINK_HAS(TEST_SINK_WRITEV);
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITEV, TEST_SINK_OVERCLAIM);
  assert_int_equal(fixture_writev(rig, "ab|cd"), BW_ESINK);
  assert_int_equal(bw_error(rig->bw), BW_ESINK);
}

static void test_errors__ESINK_from_flush_is_held(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_FLUSH, BW_ESINK);
  assert_int_equal(bw_flush(rig->bw), BW_ESINK);
  assert_int_equal(bw_error(rig->bw), BW_ESINK);
  assert_int_equal(bw_flush(rig->bw), BW_ESINK);
  assert_trace(rig, "flush=BW_ESINK");
}

static void test_errors__ESINK_from_seek_is_held(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SEEK, BW_ESINK);
  assert_int_equal(bw_seek(rig->bw, 1, SEEK_SET), BW_ESINK);
  assert_int_equal(bw_error(rig->bw), BW_ESINK);
  assert_int_equal(fixture_write(rig, "a"), BW_ESINK);
}

static void test_errors__a_read_claimed_beyond_its_length_is_held(void **state) {
  test_rig *rig = *state;
  char data[4];
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_READ, TEST_SINK_OVERCLAIM);
  assert_int_equal(bw_read(rig->bw, data, sizeof data), BW_ESINK);
  assert_int_equal(bw_error(rig->bw), BW_ESINK);
  assert_int_equal(bw_read(rig->bw, data, sizeof data), BW_ESINK);
  assert_trace(rig, "read(4)=5");
}

static void test_errors__ESINK_from_sync_is_held_but_no_failed_sync(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(rig->has);
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, BW_ESINK);
  assert_int_equal(bw_sync(rig->bw), BW_ESINK);
  assert_int_equal(bw_error(rig->bw), BW_ESINK);
  assert_int_equal(bw_set_sink(rig->bw, &ops, &rig->other), 0);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(fixture_write(rig, "def"), 3);
  assert_int_equal(bw_sync(rig->bw), 0);
}

/* ---- Closing ---------------------------------------------------------------------------------- */

static void test_errors__close_comes_once(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_int_equal(bw_poll_close(rig->bw, NULL), 0);
  test_rig_free_writer(rig);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
}

static void test_errors__the_code_of_sink_close_is_told_and_the_writer_is_closed(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_CLOSE, -EIO);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_close(rig->bw), -EIO);
  assert_int_equal(fixture_write(rig, "d"), -ESHUTDOWN);
  assert_int_equal(bw_close(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  assert_sink_has(rig, "abc");
}

static void test_errors__ESINK_from_close_is_told_and_the_writer_is_closed(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_CLOSE, BW_ESINK);
  assert_int_equal(bw_close(rig->bw), BW_ESINK);
  assert_int_equal(fixture_write(rig, "d"), -ESHUTDOWN);
  assert_int_equal(bw_close(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
}

static void test_errors__EAGAIN_from_close_leaves_the_writer_open(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_CLOSE, -EAGAIN);
  assert_int_equal(bw_close(rig->bw), -EAGAIN);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_sink_has(rig, "abc");
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 2);
}

static void test_errors__a_close_tries_again_after_EINTR(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_CLOSE, -EINTR);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 2);
}

static void test_errors__a_close_whose_flush_fails_leaves_the_writer_open(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1, -EIO);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_FLUSH, -ENOSPC);
  assert_int_equal(bw_close(rig->bw), -EIO);
  assert_int_equal(fixture_write(rig, "d"), 1);
  assert_int_equal(bw_close(rig->bw), -ENOSPC);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 0);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_sink_has(rig, "abcd");
}

static void test_errors__after_close_everything_is_ESHUTDOWN(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  char data[4];
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_close(rig->bw), 0);
  (void)fixture_trace(rig);
  assert_int_equal(fixture_write(rig, "d"), -ESHUTDOWN);
  assert_int_equal(fixture_write(rig, "0123456789"), -ESHUTDOWN);
  assert_int_equal(fixture_writev(rig, "d|e"), -ESHUTDOWN);
  assert_int_equal(fixture_append(rig, "d"), -ESHUTDOWN);
  assert_int_equal(fixture_appendv(rig, "d|e"), -ESHUTDOWN);
  assert_int_equal(bw_reserve(rig->bw, 1, &span), -ESHUTDOWN);
  assert_int_equal(bw_flush(rig->bw), -ESHUTDOWN);
  assert_int_equal(bw_sync(rig->bw), -ESHUTDOWN);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), -ESHUTDOWN);
  assert_int_equal(bw_read(rig->bw, data, sizeof data), -ESHUTDOWN);
  assert_int_equal(fixture_poll_write(rig, "d"), -ESHUTDOWN);
  assert_int_equal(fixture_poll_writev(rig, "d|e"), -ESHUTDOWN);
  assert_int_equal(fixture_poll_append(rig, "d"), -ESHUTDOWN);
  assert_int_equal(fixture_poll_appendv(rig, "d|e"), -ESHUTDOWN);
  assert_int_equal(bw_poll_flush(rig->bw, NULL), -ESHUTDOWN);
  assert_int_equal(bw_poll_sync(rig->bw, NULL), -ESHUTDOWN);
  assert_int_equal(bw_poll_read(rig->bw, data, sizeof data, NULL), -ESHUTDOWN);
  assert_int_equal(bw_start_seek(rig->bw, 0, SEEK_SET), -ESHUTDOWN);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), -ESHUTDOWN);
  assert_int_equal(bw_poll_close(rig->bw, NULL), 0);
  assert_trace(rig, "");
}

static void test_errors__after_close_waits_beyond_the_end_are_ESHUTDOWN(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_int_equal(bw_wait(rig->bw, 3, BW_WRITTEN, -1), 0);
  assert_int_equal(bw_wait(rig->bw, 4, BW_ACCEPTED, -1), -ESHUTDOWN);
  assert_int_equal(bw_wait(rig->bw, 4, BW_WRITTEN, -1), -ESHUTDOWN);
}

static void test_errors__close_answers_notes_beyond_the_end(void **state) {
  test_rig *rig = *state;
  test_note *reached = &rig->notes[0], *beyond = &rig->notes[1];
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_notify(rig->bw, 3, BW_WRITTEN, test_note_done, reached), 0);
  assert_int_equal(bw_notify(rig->bw, 4, BW_WRITTEN, test_note_done, beyond), 0);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_int_equal(test_note_code(reached), 0);
  assert_int_equal(test_note_code(beyond), -ESHUTDOWN);
}

/* ---- Freeing ---------------------------------------------------------------------------------- */

static void test_errors__free_of_an_unclosed_writer_closes_it(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  test_rig_free_writer(rig);
  assert_trace(rig, "write(3) flush close");
  assert_sink_has(rig, "abc");
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_LOST), 0);
}

static void test_errors__free_tells_exactly_the_bytes_it_could_not_write(void **state) {
  test_rig *rig = *state;
  test_event lost;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abcdef"), 6);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EIO);
  test_rig_free_writer(rig);
  lost = test_events_last(&rig->events, BW_EVENT_LOST);
  assert_sink_has(rig, "ab");
  assert_true(test_events_lost(&rig->events, "cdef", 4));
  assert_int_equal(lost.position + (int64_t)lost.length, 6);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
}

static void test_errors__free_tells_the_rest_of_an_append_in_order(void **state) {
  test_rig *rig = *state;
  open_stopped_append(rig);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EIO);
  test_rig_free_writer(rig);
  assert_true(test_events_lost(&rig->events, "cdefghij", 8));
}

static void test_errors__free_never_waits_for_a_sink_that_is_not_ready(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  test_sink_always(&rig->sink, TEST_SINK_CLOSE, -EAGAIN);
  test_rig_free_writer(rig);
  assert_true(test_events_lost(&rig->events, "abc", 3));
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
}

struct close_call {
  bw_t *bw;
  int flushed;
  int64_t told;
};

static void call_in_close(void *arg, enum test_sink_kind kind) {
  struct close_call *call = arg;
  if (kind != TEST_SINK_CLOSE) return;
  call->flushed = bw_flush(call->bw);
  call->told = bw_discard(call->bw);
}

static void test_errors__in_the_last_close_too_calls_of_the_writer_are_refused(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  struct close_call call = {.bw = rig->bw};
  assert_int_equal(fixture_write(rig, "abc"), 3);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EIO);
  rig->sink.hook_arg = &call;
  rig->sink.hook = call_in_close;
  test_rig_free_writer(rig);
  rig->sink.hook = NULL;
  assert_int_equal(call.flushed, -EDEADLK);
  assert_int_equal(call.told, -EDEADLK);
}

static void test_errors__free_of_a_writer_without_on_event_is_fine(void **state) {
  test_rig *rig = *state;
  bw_options_t options = fixture_options(rig, 8);
  options.on_event = NULL;
  test_rig_open(rig, rig->has, &options);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EIO);
  test_rig_free_writer(rig);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
}

static void test_errors__free_answers_notes_left_when_it_could_close(void **state) {
  test_rig *rig = *state;
  test_note *reached = &rig->notes[0], *beyond = &rig->notes[1];
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_notify(rig->bw, 3, BW_WRITTEN, test_note_done, reached), 0);
  assert_int_equal(bw_notify(rig->bw, 9, BW_WRITTEN, test_note_done, beyond), 0);
  test_rig_free_writer(rig);
  assert_int_equal(reached->calls, 1);
  assert_int_equal(reached->code, 0);
  assert_int_equal(beyond->calls, 1);
  assert_int_equal(beyond->code, -ESHUTDOWN);
}

static void test_errors__free_cancels_notes_left_when_it_could_not_close(void **state) {
  test_rig *rig = *state;
  test_note *note = &rig->notes[0];
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_notify(rig->bw, 3, BW_WRITTEN, test_note_done, note), 0);
  test_rig_free_writer(rig);
  assert_int_equal(note->calls, 1);
  assert_int_equal(note->code, -ECANCELED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      INLINE_TEST(test_errors__a_failed_write_keeps_every_byte_not_taken),
      INLINE_TEST(test_errors__the_next_call_goes_on_from_the_first_byte_not_taken),
      INLINE_TEST(test_errors__resume_of_an_inline_writer_has_nothing_to_do),
      INLINE_TEST(test_errors__each_code_is_passed_up_unchanged),
      INLINE_TEST(test_errors__a_wait_ends_with_the_sinks_own_ECANCELED_and_ESHUTDOWN),
      INLINE_TEST(test_errors__unwritten_without_a_visitor_only_counts),
      INLINE_TEST(test_errors__unwritten_visits_what_is_kept_of_an_append_and_what_came_later),
      INLINE_TEST(test_errors__set_sink_takes_the_unwritten_bytes_over),
      INLINE_TEST(test_errors__set_sink_takes_the_rest_of_an_append_over),
      INLINE_TEST(test_errors__set_sink_never_calls_the_old_sink_again),
      INLINE_TEST(test_errors__set_sink_to_something_invalid_changes_nothing),
      INLINE_TEST(test_errors__discard_forgets_the_unwritten_bytes_and_counts_them),
      INLINE_TEST(test_errors__discard_forgets_the_rest_of_an_append),
      INLINE_TEST(test_errors__discard_calls_no_sink),
      INLINE_TEST(test_errors__discard_then_free_is_how_into_inner_ends),
      INLINE_TEST(test_errors__notes_beyond_a_discard_are_cancelled),
      INLINE_TEST(test_errors__a_note_is_told_once_its_bytes_are_written),
      INLINE_TEST(test_errors__a_note_is_told_once_its_bytes_are_durable),
      INLINE_TEST(test_errors__a_failed_sync_is_final),
      INLINE_TEST(test_errors__a_failed_sync_is_told_as_an_event),
      INLINE_TEST(test_errors__inline_writers_still_write_after_a_failed_sync),
      INLINE_TEST(test_errors__close_after_a_failed_sync_writes_closes_and_gives_the_code_once),
      INLINE_TEST(test_errors__notes_for_durable_get_the_code_of_a_failed_sync),
      INLINE_TEST(test_errors__a_sink_that_cannot_sync_is_no_failure),
      INLINE_TEST(test_errors__EOPNOTSUPP_and_EAGAIN_of_sync_are_no_failure),
      INLINE_TEST(test_errors__a_sync_tries_again_after_EINTR),
      INLINE_TEST(test_errors__a_write_that_fails_on_the_way_to_sync_is_no_failed_sync),
      INLINE_TEST(test_errors__a_claim_of_more_than_offered_is_held),
      INLINE_TEST(test_errors__free_calls_no_sink_that_failed_in_an_unknown_state),
      INLINE_TEST(test_errors__set_sink_ends_a_held_ESINK),
      INLINE_TEST(test_errors__discard_ends_a_held_ESINK),
      INLINE_TEST(test_errors__an_answer_too_low_for_a_code_is_ESINK),
      INLINE_TEST(test_errors__ESINK_from_a_bypassing_write_is_held),
      INLINE_TEST(test_errors__ESINK_from_a_bypassing_poll_is_held),
      INLINE_TEST(test_errors__a_list_claimed_beyond_its_length_is_held),
      INLINE_TEST(test_errors__ESINK_from_flush_is_held),
      INLINE_TEST(test_errors__ESINK_from_seek_is_held),
      INLINE_TEST(test_errors__a_read_claimed_beyond_its_length_is_held),
      INLINE_TEST(test_errors__ESINK_from_sync_is_held_but_no_failed_sync),
      INLINE_TEST(test_errors__close_comes_once),
      INLINE_TEST(test_errors__the_code_of_sink_close_is_told_and_the_writer_is_closed),
      INLINE_TEST(test_errors__ESINK_from_close_is_told_and_the_writer_is_closed),
      INLINE_TEST(test_errors__EAGAIN_from_close_leaves_the_writer_open),
      INLINE_TEST(test_errors__a_close_tries_again_after_EINTR),
      INLINE_TEST(test_errors__a_close_whose_flush_fails_leaves_the_writer_open),
      INLINE_TEST(test_errors__after_close_everything_is_ESHUTDOWN),
      INLINE_TEST(test_errors__after_close_waits_beyond_the_end_are_ESHUTDOWN),
      INLINE_TEST(test_errors__close_answers_notes_beyond_the_end),
      INLINE_TEST(test_errors__free_of_an_unclosed_writer_closes_it),
      INLINE_TEST(test_errors__free_tells_exactly_the_bytes_it_could_not_write),
      INLINE_TEST(test_errors__free_tells_the_rest_of_an_append_in_order),
      INLINE_TEST(test_errors__free_never_waits_for_a_sink_that_is_not_ready),
      INLINE_TEST(test_errors__in_the_last_close_too_calls_of_the_writer_are_refused),
      INLINE_TEST(test_errors__free_of_a_writer_without_on_event_is_fine),
      INLINE_TEST(test_errors__free_answers_notes_left_when_it_could_close),
      INLINE_TEST(test_errors__free_cancels_notes_left_when_it_could_not_close),
  };
  return cmocka_run_group_tests_name("errors", tests, NULL, NULL);
}
