/* Appends that know their place, and buffers filled in place (bw_reserve, bw_commit). */
#include "../support/fixture.h"

/* Reserves `length` bytes, which must work. */
static bw_span_t reserve(test_rig *rig, size_t length) {
  bw_span_t span = {0};
  assert_int_equal(bw_reserve(rig->bw, length, &span), 0);
  assert_non_null(span.data);
  return span;
}

/* Fills the front of a span with a text and commits just that. */
static void fill(test_rig *rig, bw_span_t *span, const char *text) {
  size_t length = strlen(text);
  assert_true(span->length >= length);
  memcpy(span->data, text, length);
  assert_int_equal(bw_commit(rig->bw, span, length), 0);
}

/* ---- Appends ---------------------------------------------------------------------------------- */

static void test_append_reserve__append_gives_the_position_of_its_first_byte(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_append(rig, "ab"), 0);
  assert_int_equal(fixture_append(rig, "cd"), 2);
  assert_int_equal(fixture_append(rig, "e"), 4);
  assert_int_equal(fixture_append(rig, "0123456789"), 5);
  assert_int_equal(fixture_append(rig, "f"), 15);
  assert_int_equal(bw_tell(rig->bw), 16);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcde0123456789f");
}

static void test_append_reserve__appendv_gives_the_position_of_its_first_byte(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_appendv(rig, "a||b"), 0);
  assert_int_equal(fixture_appendv(rig, "c|d|e"), 2);
  assert_int_equal(fixture_appendv(rig, "012|3456|789"), 5);
  assert_int_equal(fixture_appendv(rig, "||"), 15);
  assert_int_equal(bw_tell(rig->bw), 15);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcde0123456789");
}

static void test_append_reserve__append_of_nothing_gives_the_position(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_append(rig, "ab"), 0);
  assert_int_equal(bw_append(rig->bw, NULL, 0), 2);
  assert_int_equal(bw_poll_append(rig->bw, NULL, 0, NULL), 2);
  assert_trace(rig, "");
}

static void test_append_reserve__an_append_that_does_not_fit_flushes_and_is_not_torn(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_append(rig, "abc"), 0);
  assert_int_equal(fixture_append(rig, "def"), 3);
  assert_trace(rig, "write(3)");
  assert_buffer_has(rig, "def");
}

static void test_append_reserve__an_append_whose_flush_fails_did_not_happen(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_append(rig, "abc"), 0);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -EIO, -ENOSPC);
  assert_int_equal(fixture_append(rig, "def"), -EIO);
  assert_buffer_has(rig, "c");
  assert_int_equal(fixture_append(rig, "0123456789"), -ENOSPC);
  assert_buffer_has(rig, "c");
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(fixture_append(rig, "def"), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcdef");
}

static void test_append_reserve__an_append_refused_before_any_part_did_not_happen(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO, 0);
  assert_int_equal(fixture_append(rig, "0123456789"), -EIO);
  assert_int_equal(fixture_append(rig, "0123456789"), BW_EWRITEZERO);
  assert_int_equal(bw_tell(rig->bw), 0);
  assert_buffer_has(rig, "");
  assert_int_equal(fixture_append(rig, "0123456789"), 0);
  assert_sink_has(rig, "0123456789");
}

static void test_append_reserve__an_append_stopped_part_way_has_succeeded(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 4, -EIO);
  assert_int_equal(fixture_append(rig, "0123456789"), 0);
  assert_int_equal(test_events_last(&rig->events, BW_EVENT_ERROR).code, -EIO);
  assert_unwritten(rig, "456789");
  assert_int_equal(bw_tell(rig->bw), 10);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 4);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "0123456789");
}

static void test_append_reserve__the_kept_rest_is_the_callers_no_more(void **state) {
  test_rig *rig = *state;
  char data[] = "0123456789";
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 4, -EIO);
  assert_int_equal(bw_append(rig->bw, data, 10), 0);
  memset(data, '!', sizeof data);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "0123456789");
}

static void test_append_reserve__short_answers_do_not_tear_an_append(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1, 2, -EINTR, 3);
  assert_int_equal(fixture_append(rig, "0123456789"), 0);
  assert_trace(rig, "write(10)=1 write(9)=2 write(7)=EINTR write(7)=3 write(4)");
  assert_buffer_has(rig, "");
}

/* ---- Spans, common ---------------------------------------------------------------------------- */

static void test_append_reserve__a_committed_span_is_written_like_a_write(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  span = reserve(rig, 3);
  assert_int_equal(span.position, 2);
  fill(rig, &span, "cde");
  assert_buffer_has(rig, "abcde");
  assert_int_equal(fixture_append(rig, "f"), 5);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcdef");
}

static void test_append_reserve__length_0_is_EINVAL(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  assert_int_equal(bw_reserve(rig->bw, 0, &span), -EINVAL);
  assert_int_equal(fixture_write(rig, "a"), 1);
}

static void test_append_reserve__more_than_capacity_is_EMSGSIZE(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  assert_int_equal(bw_reserve(rig->bw, 9, &span), -EMSGSIZE);
  assert_int_equal(bw_reserve(rig->bw, SIZE_MAX, &span), -EMSGSIZE);
  assert_int_equal(fixture_write(rig, "a"), 1);
}

static void test_append_reserve__the_whole_capacity_fits_an_empty_buffer(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  for (int64_t position = 0; position < 24; position += 8) {
    span = reserve(rig, 8);
    assert_int_equal(span.position, position);
    assert_int_equal(span.length, 8);
    fill(rig, &span, "01234567");
    assert_int_equal(bw_flush(rig->bw), 0);
  }
  assert_sink_has(rig, "012345670123456701234567");
}

static void test_append_reserve__a_span_that_does_not_fit_flushes_first(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abcde"), 5);
  span = reserve(rig, 4);
  assert_trace(rig, "write(5)");
  assert_int_equal(span.position, 5);
  fill(rig, &span, "fghi");
  assert_buffer_has(rig, "fghi");
}

static void test_append_reserve__a_reserve_whose_flush_fails_opens_nothing(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abcde"), 5);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1, -EIO, -EAGAIN);
  assert_int_equal(bw_reserve(rig->bw, 7, &span), -EIO);
  assert_buffer_has(rig, "bcde");
  assert_int_equal(bw_reserve(rig->bw, 7, &span), -EAGAIN);
  assert_int_equal(fixture_write(rig, "f"), 1);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcdef");
}

static void test_append_reserve__commit_never_calls_an_inline_sink(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  span = reserve(rig, 8);
  fill(rig, &span, "01234567");
  assert_trace(rig, "");
  assert_buffer_has(rig, "01234567");
  assert_int_equal(fixture_write(rig, "8"), 1);
  assert_trace(rig, "write(8)");
}

/* ---- Spans of BW_UNSHARED writers --------------------------------------------------------------- */

static void test_append_reserve__an_unshared_span_is_all_that_is_left(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  span = reserve(rig, 1);
  assert_int_equal(span.length, 8);
  fill(rig, &span, "abc");
  span = reserve(rig, 2);
  assert_int_equal(span.length, 5);
  assert_int_equal(span.position, 3);
  fill(rig, &span, "de");
  span = reserve(rig, 3);
  assert_int_equal(span.length, 3);
  fill(rig, &span, "f");
  assert_buffer_has(rig, "abcdef");
}

static void test_append_reserve__an_unshared_span_may_be_cancelled(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  span = reserve(rig, 3);
  memset(span.data, '!', span.length);
  assert_int_equal(bw_commit(rig->bw, &span, 0), 0);
  assert_buffer_has(rig, "ab");
  assert_int_equal(fixture_write(rig, "cd"), 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcd");
}

static void test_append_reserve__an_unshared_span_may_be_used_beyond_what_was_asked(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  span = reserve(rig, 1);
  fill(rig, &span, "abcdefgh");
  assert_buffer_has(rig, "abcdefgh");
}

static void test_append_reserve__using_more_than_an_unshared_span_is_EINVAL(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  span = reserve(rig, 2);
  assert_int_equal(bw_commit(rig->bw, &span, span.length + 1), -EINVAL);
  assert_int_equal(fixture_write(rig, "x"), -EBUSY);
  fill(rig, &span, "ab");
  assert_buffer_has(rig, "ab");
}

static void test_append_reserve__a_span_is_committed_once_and_to_its_own_writer(void **state) {
  test_rig *rig = *state;
  const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
  const bw_options_t options = fixture_options(rig, 8);
  bw_span_t span, copy, none = {0};
  bw_t *before = NULL, *after = NULL; /* their buffers may lie on either side */
  assert_int_equal(bw_new(&before, &ops, &rig->other, &options), 0);
  fixture_open(rig, 8);
  assert_int_equal(bw_new(&after, &ops, &rig->other, &options), 0);
  assert_int_equal(bw_reserve(rig->bw, 2, &span), 0);
  copy = span;
  assert_int_equal(bw_commit(before, &copy, span.length), -EINVAL);
  assert_int_equal(bw_commit(after, &copy, span.length), -EINVAL);
  assert_int_equal(bw_commit(rig->bw, &none, 0), -EINVAL);
  memcpy(span.data, "ab", 2);
  const bool is_unshared = rig->flags & BW_UNSHARED;
  assert_int_equal(bw_commit(rig->bw, &span, is_unshared ? 2 : span.length), 0);
  assert_int_equal(bw_commit(rig->bw, &span, is_unshared ? 2 : span.length), -EINVAL);
  if (is_unshared) assert_int_equal(bw_commit(rig->bw, &copy, 2), -EINVAL); /* no span is open */
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "ab");
  bw_free(before);
  bw_free(after);
  assert_true(test_sink_holds(&rig->other, "", 0));
}

static void test_append_reserve__an_open_unshared_span_is_not_counted(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  span = reserve(rig, 3);
  assert_buffer_has(rig, "ab");
  assert_int_equal(bw_tell(rig->bw), 2);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 2);
  fill(rig, &span, "cde");
}

static void test_append_reserve__an_open_unshared_span_makes_every_write_EBUSY(void **state) {
  test_rig *rig = *state;
  bw_span_t span, second;
  char data[4];
  fixture_open(rig, 8);
  span = reserve(rig, 2);
  assert_int_equal(fixture_write(rig, "x"), -EBUSY);
  assert_int_equal(fixture_write(rig, "0123456789"), -EBUSY);
  assert_int_equal(fixture_writev(rig, "x|y"), -EBUSY);
  assert_int_equal(fixture_append(rig, "x"), -EBUSY);
  assert_int_equal(fixture_appendv(rig, "x|y"), -EBUSY);
  assert_int_equal(bw_reserve(rig->bw, 1, &second), -EBUSY);
  assert_int_equal(bw_flush(rig->bw), -EBUSY);
  assert_int_equal(bw_sync(rig->bw), -EBUSY);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), -EBUSY);
  assert_int_equal(bw_read(rig->bw, data, sizeof data), -EBUSY);
  assert_trace(rig, "");
  fill(rig, &span, "ab");
  assert_buffer_has(rig, "ab");
}

static void test_append_reserve__an_open_unshared_span_makes_every_poll_EBUSY(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  char data[4];
  fixture_open(rig, 8);
  span = reserve(rig, 2);
  assert_int_equal(fixture_poll_write(rig, "x"), -EBUSY);
  assert_int_equal(fixture_poll_writev(rig, "x|y"), -EBUSY);
  assert_int_equal(fixture_poll_append(rig, "x"), -EBUSY);
  assert_int_equal(fixture_poll_appendv(rig, "x|y"), -EBUSY);
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), -EBUSY);
  assert_int_equal(bw_poll_sync(rig->bw, &rig->wake), -EBUSY);
  assert_int_equal(bw_poll_read(rig->bw, data, sizeof data, &rig->wake), -EBUSY);
  assert_int_equal(bw_poll_seek(rig->bw, &rig->wake), -EBUSY);
  assert_int_equal(bw_poll_close(rig->bw, &rig->wake), -EBUSY);
  assert_trace(rig, "");
  fill(rig, &span, "ab");
  assert_buffer_has(rig, "ab");
  test_rig_free_writer(rig);
  assert_int_equal(rig->waker.calls, 0);
}

static void test_append_reserve__an_open_unshared_span_makes_the_rest_EBUSY(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(rig->has);
  bw_span_t span;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  span = reserve(rig, 2);
  assert_int_equal(bw_wait(rig->bw, 2, BW_WRITTEN, -1), -EBUSY);
  assert_int_equal(bw_start_seek(rig->bw, 0, SEEK_SET), -EBUSY);
  assert_int_equal(bw_set_sink(rig->bw, &ops, &rig->other), -EBUSY);
  assert_int_equal(bw_close(rig->bw), -EBUSY);
  assert_int_equal(bw_discard(rig->bw), -EBUSY);
  assert_ptr_equal(bw_context(rig->bw), &rig->sink);
  fill(rig, &span, "cd");
  assert_int_equal(bw_close(rig->bw), 0);
  assert_sink_has(rig, "abcd");
}

static void test_append_reserve__free_writes_what_lies_before_an_open_unshared_span(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  (void)reserve(rig, 2);
  test_rig_free_writer(rig);
  assert_sink_has(rig, "ab");
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
}

/* ---- Spans of shared writers ------------------------------------------------------------------- */

static void test_append_reserve__a_shared_span_is_exactly_what_was_asked(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  span = reserve(rig, 3);
  assert_int_equal(span.length, 3);
  assert_int_equal(span.position, 0);
  fill(rig, &span, "abc");
}

static void test_append_reserve__shared_spans_are_committed_in_any_order(void **state) {
  test_rig *rig = *state;
  bw_span_t first, second, third;
  fixture_open(rig, 16);
  first = reserve(rig, 3);
  second = reserve(rig, 2);
  third = reserve(rig, 4);
  assert_int_equal(second.position, 3);
  assert_int_equal(third.position, 5);
  fill(rig, &third, "fghi");
  fill(rig, &first, "abc");
  fill(rig, &second, "de");
  assert_buffer_has(rig, "abcdefghi");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcdefghi");
}

static void test_append_reserve__a_shared_span_used_in_part_is_EINVAL_and_stays_open(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  span = reserve(rig, 3);
  assert_int_equal(bw_commit(rig->bw, &span, 2), -EINVAL);
  assert_int_equal(bw_commit(rig->bw, &span, 0), -EINVAL);
  assert_int_equal(bw_commit(rig->bw, &span, 4), -EINVAL);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 0);
  fill(rig, &span, "abc");
  assert_buffer_has(rig, "abc");
}

static void test_append_reserve__accepted_never_passes_an_open_span(void **state) {
  test_rig *rig = *state;
  bw_span_t first, second;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  first = reserve(rig, 3);
  second = reserve(rig, 2);
  assert_int_equal(fixture_append(rig, "hi"), 7);
  assert_true(bw_position(rig->bw, BW_ACCEPTED) <= 2);
  fill(rig, &second, "fg");
  assert_true(bw_position(rig->bw, BW_ACCEPTED) <= 2);
  fill(rig, &first, "cde");
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 9);
}

static void test_append_reserve__buffered_counts_open_shared_spans(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  span = reserve(rig, 3);
  assert_int_equal(bw_buffered(rig->bw), 5);
  fill(rig, &span, "cde");
  assert_int_equal(bw_buffered(rig->bw), 5);
}

static void test_append_reserve__unwritten_ends_at_an_open_span(void **state) {
  test_rig *rig = *state;
  char bytes[16];
  bw_span_t span;
  size_t length;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  span = reserve(rig, 3);
  assert_int_equal(fixture_write(rig, "fg"), 2);
  length = fixture_unwritten(rig, bytes, sizeof bytes);
  assert_true(length <= 2);
  assert_memory_equal(bytes, "ab", length);
  fill(rig, &span, "cde");
  assert_unwritten(rig, "abcdefg");
}

static void test_append_reserve__discard_with_an_open_span_is_EBUSY(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  span = reserve(rig, 3);
  assert_int_equal(bw_discard(rig->bw), -EBUSY);
  fill(rig, &span, "cde");
  assert_int_equal(bw_discard(rig->bw), 5);
}

static void test_append_reserve__a_poll_never_waits_for_an_open_span(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  fixture_open(rig, 8);
  span = reserve(rig, 3);
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), -EAGAIN);
  assert_int_equal(fixture_poll_write(rig, "0123456789"), -EAGAIN);
  assert_int_equal(fixture_poll_append(rig, "012345"), -EAGAIN);
  assert_int_equal(bw_poll_close(rig->bw, &rig->wake), -EAGAIN);
  assert_int_equal(rig->waker.calls, 0);
  fill(rig, &span, "abc");
  assert_int_equal(rig->waker.calls, 1);
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), 0);
  assert_sink_has(rig, "abc");
}

static void test_append_reserve__a_NONBLOCK_call_never_waits_for_an_open_span(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  rig->flags |= BW_NONBLOCK;
  fixture_open(rig, 8);
  span = reserve(rig, 3);
  assert_int_equal(bw_flush(rig->bw), -EAGAIN);
  assert_int_equal(bw_sync(rig->bw), -EAGAIN);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), -EAGAIN);
  assert_int_equal(fixture_write(rig, "0123456789"), -EAGAIN);
  assert_int_equal(fixture_append(rig, "012345"), -EAGAIN);
  assert_int_equal(bw_close(rig->bw), -EAGAIN);
  assert_int_equal(fixture_write(rig, "de"), 2);
  fill(rig, &span, "abc");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcde");
}

static void test_append_reserve__a_flush_by_another_thread_waits_for_an_open_span(void **state) {
  test_rig *rig = *state;
  bw_span_t span;
  test_thread thread;
  fixture_open(rig, 8);
  test_call flush = {.bw = rig->bw};
  span = reserve(rig, 3);
  test_thread_start(&thread, test_call_flush, &flush);
  assert_false(test_thread_settle(&thread));
  fill(rig, &span, "abc");
  assert_int_equal(test_thread_join(&thread), 0);
  assert_sink_has(rig, "abc");
}

static void test_append_reserve__free_with_an_open_shared_span_loses_what_lies_beyond(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 16);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  (void)reserve(rig, 3);
  assert_int_equal(fixture_write(rig, "fg"), 2);
  test_rig_free_writer(rig);
  assert_sink_has(rig, "ab");
  assert_true(test_events_count(&rig->events, BW_EVENT_LOST) >= 1);
  assert_true(rig->events.lost_length >= 2);
  assert_memory_equal(rig->events.lost + rig->events.lost_length - 2, "fg", 2);
  assert_int_equal(test_events_last(&rig->events, BW_EVENT_LOST).position +
                       (int64_t)test_events_last(&rig->events, BW_EVENT_LOST).length,
                   7);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      INLINE_TEST(test_append_reserve__append_gives_the_position_of_its_first_byte),
      INLINE_TEST(test_append_reserve__appendv_gives_the_position_of_its_first_byte),
      INLINE_TEST(test_append_reserve__append_of_nothing_gives_the_position),
      INLINE_TEST(test_append_reserve__an_append_that_does_not_fit_flushes_and_is_not_torn),
      INLINE_TEST(test_append_reserve__an_append_whose_flush_fails_did_not_happen),
      INLINE_TEST(test_append_reserve__an_append_refused_before_any_part_did_not_happen),
      INLINE_TEST(test_append_reserve__an_append_stopped_part_way_has_succeeded),
      INLINE_TEST(test_append_reserve__the_kept_rest_is_the_callers_no_more),
      INLINE_TEST(test_append_reserve__short_answers_do_not_tear_an_append),
      INLINE_TEST(test_append_reserve__a_committed_span_is_written_like_a_write),
      INLINE_TEST(test_append_reserve__length_0_is_EINVAL),
      INLINE_TEST(test_append_reserve__more_than_capacity_is_EMSGSIZE),
      INLINE_TEST(test_append_reserve__the_whole_capacity_fits_an_empty_buffer),
      INLINE_TEST(test_append_reserve__a_span_that_does_not_fit_flushes_first),
      INLINE_TEST(test_append_reserve__a_reserve_whose_flush_fails_opens_nothing),
      INLINE_TEST(test_append_reserve__commit_never_calls_an_inline_sink),
      UNSHARED_TEST(test_append_reserve__an_unshared_span_is_all_that_is_left),
      UNSHARED_TEST(test_append_reserve__an_unshared_span_may_be_cancelled),
      UNSHARED_TEST(test_append_reserve__an_unshared_span_may_be_used_beyond_what_was_asked),
      UNSHARED_TEST(test_append_reserve__using_more_than_an_unshared_span_is_EINVAL),
      INLINE_TEST(test_append_reserve__a_span_is_committed_once_and_to_its_own_writer),
      UNSHARED_TEST(test_append_reserve__an_open_unshared_span_is_not_counted),
      UNSHARED_TEST(test_append_reserve__an_open_unshared_span_makes_every_write_EBUSY),
      UNSHARED_TEST(test_append_reserve__an_open_unshared_span_makes_every_poll_EBUSY),
      UNSHARED_TEST(test_append_reserve__an_open_unshared_span_makes_the_rest_EBUSY),
      UNSHARED_TEST(test_append_reserve__free_writes_what_lies_before_an_open_unshared_span),
      SHARED_TEST(test_append_reserve__a_shared_span_is_exactly_what_was_asked),
      SHARED_TEST(test_append_reserve__shared_spans_are_committed_in_any_order),
      SHARED_TEST(test_append_reserve__a_shared_span_used_in_part_is_EINVAL_and_stays_open),
      SHARED_TEST(test_append_reserve__accepted_never_passes_an_open_span),
      SHARED_TEST(test_append_reserve__buffered_counts_open_shared_spans),
      SHARED_TEST(test_append_reserve__unwritten_ends_at_an_open_span),
      SHARED_TEST(test_append_reserve__discard_with_an_open_span_is_EBUSY),
      SHARED_TEST(test_append_reserve__a_poll_never_waits_for_an_open_span),
      SHARED_TEST(test_append_reserve__a_NONBLOCK_call_never_waits_for_an_open_span),
      SHARED_TEST(test_append_reserve__a_flush_by_another_thread_waits_for_an_open_span),
      SHARED_TEST(test_append_reserve__free_with_an_open_shared_span_loses_what_lies_beyond),
  };
  return cmocka_run_group_tests_name("append_reserve", tests, NULL, NULL);
}
