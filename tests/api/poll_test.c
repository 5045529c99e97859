/* Sinks that are not ready (-EAGAIN), the polls, their wakers, and what blocking calls of inline writers do then. */
#include "../support/fixture.h"

/* More wakers than the rig's: static, because what a poll keeps is called at the latest when the writer is freed. */
enum { OTHERS = 9 };
static test_waker *other_waker(int index) {
  static test_waker others[OTHERS];
  atomic_store(&others[index].calls, 0);
  return &others[index];
}

static void not_ready(test_rig *rig, enum test_sink_kind kind) { test_sink_always(&rig->sink, kind, -EAGAIN); }
static void ready(test_rig *rig, enum test_sink_kind kind) { test_sink_always(&rig->sink, kind, INT64_MIN); }

/* Drops the answers that are left, whichever of write and writev the writer chose to call. */
static void ready_again(test_rig *rig) {
  for (int kind = 0; kind < TEST_SINK_KINDS; ++kind) rig->sink.script_next[kind] = rig->sink.script_length[kind];
}

/* A writer with "ab" buffered and a poll_flush pending with the rig's waker. */
static void open_pending_flush(test_rig *rig) {
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  not_ready(rig, TEST_SINK_WRITE);
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), -EAGAIN);
  assert_int_equal(rig->waker.calls, 0);
}

/* ---- Sinks that are ready every second time (tokio's "maybe pending") --------------------------- */

enum { TURNS = 64 };

static void every_second_time(test_rig *rig, enum test_sink_kind kind) {
  for (int i = 0; i < TURNS; ++i) TEST_SINK_SCRIPT(&rig->sink, kind, -EAGAIN, TEST_SINK_TAKE_ALL);
}

static int64_t until_written(test_rig *rig, const char *text) {
  int64_t answer;
  while ((answer = fixture_poll_write(rig, text)) == -EAGAIN) bw_wake(rig->bw);
  return answer;
}

static int until_flushed(test_rig *rig) {
  int answer;
  while ((answer = bw_poll_flush(rig->bw, &rig->wake)) == -EAGAIN) bw_wake(rig->bw);
  return answer;
}

static void test_poll__a_maybe_pending_sink_sees_the_classic_sequence(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  every_second_time(rig, TEST_SINK_WRITE);
  assert_int_equal(until_written(rig, "01"), 2);
  assert_buffer_has(rig, "");
  assert_sink_has(rig, "01");
  assert_int_equal(until_written(rig, "2"), 1);
  assert_int_equal(until_written(rig, "3"), 1);
  assert_buffer_has(rig, "23");
  assert_sink_has(rig, "01");
  assert_int_equal(until_flushed(rig), 0);
  assert_buffer_has(rig, "");
  assert_sink_has(rig, "0123");
  assert_int_equal(until_written(rig, "4"), 1);
  assert_int_equal(until_written(rig, "5"), 1);
  assert_buffer_has(rig, "45");
  assert_int_equal(until_written(rig, "6"), 1);
  assert_buffer_has(rig, "6");
  assert_sink_has(rig, "012345");
  assert_int_equal(until_written(rig, "78"), 2);
  assert_buffer_has(rig, "");
  assert_sink_has(rig, "012345678");
  assert_int_equal(until_written(rig, "9ab"), 3);
  assert_buffer_has(rig, "");
  assert_int_equal(until_flushed(rig), 0);
  assert_sink_has(rig, "0123456789ab");
}

static void test_poll__a_maybe_pending_sink_flush_is_asked_until_it_is_done(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 3);
  every_second_time(rig, TEST_SINK_WRITE);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_FLUSH, -EAGAIN, -EAGAIN, 0);
  assert_int_equal(until_written(rig, "01"), 2);
  assert_int_equal(until_flushed(rig), 0);
  assert_sink_has(rig, "01");
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_FLUSH), 3);
}

static void test_poll__a_maybe_pending_sink_is_written_and_sought_right(void **state) {
  test_rig *rig = *state;
  int64_t position;
  fixture_open(rig, 3);
  every_second_time(rig, TEST_SINK_WRITE);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SEEK, -EAGAIN);
  assert_int_equal(until_written(rig, "0123"), 4);
  assert_int_equal(until_written(rig, "4"), 1);
  assert_int_equal(until_written(rig, "5"), 1);
  assert_int_equal(bw_start_seek(rig->bw, 8, SEEK_SET), 0);
  while ((position = bw_poll_seek(rig->bw, &rig->wake)) == -EAGAIN) bw_wake(rig->bw);
  assert_int_equal(position, 8);
  assert_sink_has(rig, "012345");
  assert_int_equal(until_written(rig, "xy"), 2);
  assert_int_equal(until_flushed(rig), 0);
  assert_true(test_sink_holds(&rig->sink, "012345\0\0xy", 10));
}

static void test_poll__parts_taken_before_a_pending_answer_are_not_offered_again(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abcdef"), 6);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -EAGAIN, 3, -EAGAIN);
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), -EAGAIN);
  assert_unwritten(rig, "cdef");
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), -EAGAIN);
  assert_unwritten(rig, "f");
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), 0);
  assert_trace(rig, "write(6)=2 write(4)=EAGAIN write(4)=3 write(1)=EAGAIN write(1) flush");
  assert_sink_has(rig, "abcdef");
}

/* ---- Wakers ----------------------------------------------------------------------------------- */

static void test_poll__a_waker_is_called_once_by_the_first_wake(void **state) {
  test_rig *rig = *state;
  open_pending_flush(rig);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 1);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 1);
  ready(rig, TEST_SINK_WRITE);
  test_rig_free_writer(rig);
  assert_int_equal(rig->waker.calls, 1);
}

static void test_poll__the_same_waker_twice_is_called_once(void **state) {
  test_rig *rig = *state;
  open_pending_flush(rig);
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), -EAGAIN);
  assert_int_equal(fixture_poll_write(rig, "0123456789"), -EAGAIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 1);
}

static void test_poll__a_waker_called_may_wait_again(void **state) {
  test_rig *rig = *state;
  open_pending_flush(rig);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), -EAGAIN);
  assert_int_equal(rig->waker.calls, 1);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 2);
}

static void test_poll__wakers_that_differ_in_arg_are_all_called(void **state) {
  test_rig *rig = *state;
  open_pending_flush(rig);
  test_waker *others[OTHERS];
  for (int i = 0; i < OTHERS; ++i) {
    others[i] = other_waker(i);
    bw_waker_t copied = test_waker_of(others[i]);
    assert_int_equal(bw_poll_flush(rig->bw, &copied), -EAGAIN);
    memset(&copied, 0xff, sizeof copied);
  }
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 1);
  for (int i = 0; i < OTHERS; ++i) assert_int_equal(others[i]->calls, 1);
}

static void test_poll__no_waker_is_fine(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  not_ready(rig, TEST_SINK_WRITE);
  assert_int_equal(bw_poll_write(rig->bw, "abc", 3, NULL), -EAGAIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  ready(rig, TEST_SINK_WRITE);
  assert_int_equal(bw_poll_write(rig->bw, "abc", 3, NULL), 3);
}

static void test_poll__a_poll_that_is_done_keeps_no_waker(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  assert_int_equal(fixture_poll_write(rig, "abc"), 3);
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), 0);
  assert_int_equal(bw_unwake(rig->bw, &rig->wake), 0);
  assert_int_equal(bw_wake(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_int_equal(rig->waker.calls, 0);
}

static void test_poll__a_poll_that_failed_keeps_no_waker(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO);
  assert_int_equal(fixture_poll_write(rig, "abc"), -EIO);
  assert_int_equal(bw_wake(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_int_equal(rig->waker.calls, 0);
}

static void test_poll__a_waker_taken_back_is_never_called(void **state) {
  test_rig *rig = *state;
  open_pending_flush(rig);
  assert_int_equal(bw_unwake(rig->bw, &rig->wake), 1);
  assert_int_equal(bw_unwake(rig->bw, &rig->wake), 0);
  assert_int_equal(bw_wake(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_int_equal(rig->waker.calls, 0);
}

static void test_poll__only_the_waker_named_is_taken_back(void **state) {
  test_rig *rig = *state;
  test_waker *other = other_waker(0);
  const bw_waker_t wake = test_waker_of(other);
  open_pending_flush(rig);
  assert_int_equal(bw_unwake(rig->bw, &wake), 0);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  assert_int_equal(bw_unwake(rig->bw, &rig->wake), 1);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 0);
  assert_int_equal(other->calls, 1);
}

static void test_poll__a_waker_already_called_cannot_be_taken_back(void **state) {
  test_rig *rig = *state;
  open_pending_flush(rig);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(bw_unwake(rig->bw, &rig->wake), 0);
}

static void test_poll__unwake_of_nothing_is_EINVAL(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  assert_int_equal(bw_unwake(rig->bw, NULL), -EINVAL);
}

static void test_poll__free_calls_the_wakers_left(void **state) {
  test_rig *rig = *state;
  test_waker *other = other_waker(0);
  const bw_waker_t wake = test_waker_of(other);
  open_pending_flush(rig);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  test_rig_free_writer(rig);
  assert_int_equal(rig->waker.calls, 1);
  assert_int_equal(other->calls, 1);
}

static void wake_inside(void *arg, enum test_sink_kind kind) {
  test_rig *rig = arg;
  if (kind == TEST_SINK_WRITE) bw_wake(rig->bw);
}

static void test_poll__a_wake_during_the_call_that_says_EAGAIN_is_not_lost(void **state) {
  test_rig *rig = *state;
  int64_t answer;
  fixture_open(rig, 2);
  rig->sink.hook = wake_inside;
  rig->sink.hook_arg = rig;
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  answer = fixture_poll_write(rig, "abc");
  assert_true(answer == -EAGAIN || answer == 3);
  assert_int_equal(rig->waker.calls, answer == -EAGAIN);
}

static void test_poll__a_wake_before_the_call_counts_for_nothing(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  not_ready(rig, TEST_SINK_WRITE);
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), -EAGAIN);
  assert_int_equal(rig->waker.calls, 0);
}

typedef struct repoller {
  test_rig *rig;
  int calls;
  int answer;
} repoller;

static void poll_again(void *arg) {
  repoller *again = arg;
  bw_waker_t self = {poll_again, again};
  ++again->calls;
  again->answer = bw_poll_flush(again->rig->bw, &self);
}

static void test_poll__a_waker_may_poll_again(void **state) {
  test_rig *rig = *state;
  repoller again = {rig, 0, 1};
  bw_waker_t waker = {poll_again, &again};
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  not_ready(rig, TEST_SINK_WRITE);
  assert_int_equal(bw_poll_flush(rig->bw, &waker), -EAGAIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(again.calls, 1);
  assert_int_equal(again.answer, -EAGAIN);
  ready(rig, TEST_SINK_WRITE);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(again.calls, 2);
  assert_int_equal(again.answer, 0);
  assert_sink_has(rig, "ab");
}

/* ---- Each poll -------------------------------------------------------------------------------- */

static void test_poll__a_write_that_fits_needs_no_ready_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  not_ready(rig, TEST_SINK_WRITE);
  assert_int_equal(fixture_poll_write(rig, "abc"), 3);
  assert_trace(rig, "");
  assert_int_equal(fixture_poll_write(rig, "de"), -EAGAIN);
  assert_buffer_has(rig, "abc");
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 1);
}

static void test_poll__writev_over_an_unready_sink_takes_nothing(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  not_ready(rig, TEST_SINK_WRITE);
  assert_int_equal(fixture_poll_writev(rig, "abcde|f"), -EAGAIN);
  assert_int_equal(bw_tell(rig->bw), 0);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 1);
}

static void test_poll__sync_waits_for_the_sink_and_is_no_failure(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, -EAGAIN);
  assert_int_equal(bw_poll_sync(rig->bw, &rig->wake), -EAGAIN);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 0);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 1);
  assert_int_equal(bw_poll_sync(rig->bw, &rig->wake), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 3);
}

static void test_poll__read_waits_for_the_sink(void **state) {
  test_rig *rig = *state;
  char data[4];
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), 0);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_READ, -EAGAIN);
  assert_int_equal(bw_poll_read(rig->bw, data, sizeof data, &rig->wake), -EAGAIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 1);
  assert_int_equal(bw_poll_read(rig->bw, data, sizeof data, &rig->wake), 3);
  assert_memory_equal(data, "abc", 3);
}

static void test_poll__seek_over_an_unready_sink_stays_pending(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_start_seek(rig->bw, 1, SEEK_SET), 0);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SEEK, -EAGAIN);
  assert_int_equal(bw_poll_seek(rig->bw, &rig->wake), -EAGAIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 1);
  assert_int_equal(bw_poll_seek(rig->bw, &rig->wake), -EAGAIN);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SEEK), 1);
  assert_int_equal(bw_poll_seek(rig->bw, &rig->wake), 1);
}

static void test_poll__close_over_an_unready_sink_leaves_the_writer_open(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_CLOSE, -EAGAIN);
  assert_int_equal(bw_poll_close(rig->bw, &rig->wake), -EAGAIN);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 0);
  assert_int_equal(bw_poll_close(rig->bw, &rig->wake), -EAGAIN);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  assert_int_equal(fixture_write(rig, "d"), 1);
  assert_int_equal(bw_poll_close(rig->bw, &rig->wake), 0);
  assert_sink_has(rig, "abcd");
  assert_int_equal(bw_poll_close(rig->bw, &rig->wake), 0);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 2);
}

static void test_poll__an_append_that_fits_is_copied(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  not_ready(rig, TEST_SINK_WRITE);
  assert_int_equal(fixture_poll_append(rig, "abc"), 0);
  assert_int_equal(fixture_poll_appendv(rig, "d||ef"), 3);
  assert_trace(rig, "");
  assert_buffer_has(rig, "abcdef");
}

static void test_poll__an_append_of_which_nothing_is_taken_did_not_happen(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1, -EAGAIN, TEST_SINK_TAKE_ALL, -EAGAIN, -EAGAIN);
  assert_int_equal(fixture_poll_append(rig, "defghij"), -EAGAIN);
  assert_buffer_has(rig, "bc");
  assert_int_equal(fixture_poll_append(rig, "defghij"), -EAGAIN);
  assert_buffer_has(rig, "");
  assert_int_equal(fixture_poll_appendv(rig, "defgh|ij"), -EAGAIN);
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 1);
  assert_int_equal(fixture_poll_append(rig, "defghij"), 3);
  assert_int_equal(bw_poll_flush(rig->bw, NULL), 0);
  assert_sink_has(rig, "abcdefghij");
}

static void test_poll__an_append_of_which_a_part_is_taken_has_succeeded(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, TEST_SINK_TAKE_ALL, 3, -EAGAIN);
  assert_int_equal(fixture_poll_append(rig, "0123456789"), 2);
  assert_sink_has(rig, "ab012");
  assert_unwritten(rig, "3456789");
  assert_int_equal(bw_tell(rig->bw), 12);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 12);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 5);
  assert_int_equal(bw_poll_flush(rig->bw, NULL), 0);
  assert_sink_has(rig, "ab0123456789");
}

static void test_poll__what_is_kept_of_an_append_goes_before_all_later_bytes(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3, -EAGAIN);
  assert_int_equal(fixture_poll_append(rig, "0123456789"), 0);
  assert_int_equal(fixture_write(rig, "a"), 1);
  assert_int_equal(fixture_append(rig, "bc"), 11);
  assert_int_equal(fixture_write(rig, "defgh"), 5);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "0123456789abcdefgh");
}

static void test_poll__what_is_kept_of_an_append_survives_more_stops(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3, -EAGAIN, 2, -EIO, 1, -EAGAIN);
  assert_int_equal(fixture_poll_append(rig, "0123456789"), 0);
  assert_int_equal(bw_poll_flush(rig->bw, NULL), -EIO);
  assert_unwritten(rig, "56789");
  assert_int_equal(bw_poll_flush(rig->bw, NULL), -EAGAIN);
  assert_unwritten(rig, "6789");
  assert_int_equal(bw_poll_flush(rig->bw, NULL), 0);
  assert_sink_has(rig, "0123456789");
}

static void test_poll__an_appendv_of_which_a_part_is_taken_has_succeeded(void **state) {
  test_rig *rig = *state;
  rig->has |= TEST_SINK_HAS(TEST_SINK_WRITEV);
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITEV, 4, -EAGAIN);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(fixture_poll_appendv(rig, "012|345||6789"), 0);
  assert_sink_has(rig, "0123");
  assert_unwritten(rig, "456789");
  ready_again(rig);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "0123456789");
}

/* ---- Blocking calls of inline writers ----------------------------------------------------------- */

static void test_poll__a_blocking_write_gives_EAGAIN_if_nothing_is_taken(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  not_ready(rig, TEST_SINK_WRITE);
  assert_int_equal(fixture_write(rig, "abcde"), -EAGAIN);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(fixture_write(rig, "de"), -EAGAIN);
  assert_int_equal(bw_flush(rig->bw), -EAGAIN);
  assert_int_equal(bw_sync(rig->bw), -EAGAIN);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), -EAGAIN);
  assert_int_equal(bw_close(rig->bw), -EAGAIN);
  assert_buffer_has(rig, "abc");
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_ERROR), 0);
}

static void test_poll__a_blocking_write_gives_a_short_count_if_a_part_is_taken(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3, 1, -EAGAIN);
  assert_int_equal(fixture_write(rig, "abcdefgh"), 4);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_ERROR), 0);
  assert_int_equal(bw_tell(rig->bw), 4);
  assert_buffer_has(rig, "");
  assert_int_equal(fixture_write(rig, "efgh"), 4);
  assert_sink_has(rig, "abcdefgh");
}

static void test_poll__inline_writers_ask_anew_without_a_wake(void **state) {
  test_rig *rig = *state;
  open_pending_flush(rig);
  assert_int_equal(bw_flush(rig->bw), -EAGAIN);
  ready(rig, TEST_SINK_WRITE);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "ab");
  test_rig_free_writer(rig);
  assert_int_equal(rig->waker.calls, 1);
}

static void test_poll__a_wake_makes_no_sink_call(void **state) {
  test_rig *rig = *state;
  open_pending_flush(rig);
  (void)fixture_trace(rig);
  ready(rig, TEST_SINK_WRITE);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_trace(rig, "");
  assert_buffer_has(rig, "ab");
}

static void test_poll__a_blocking_append_keeps_the_rest_once_a_part_is_taken(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3, -EAGAIN);
  assert_int_equal(fixture_append(rig, "0123456789"), 0);
  assert_unwritten(rig, "3456789");
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_ERROR), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "0123456789");
}

static void test_poll__flush_of_a_sink_not_ready_to_flush_is_EAGAIN(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_FLUSH, -EAGAIN, -EAGAIN);
  assert_int_equal(bw_flush(rig->bw), -EAGAIN);
  assert_buffer_has(rig, "");
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), -EAGAIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(rig->waker.calls, 1);
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), 0);
}

/* ---- bw_wait, the one call that waits ------------------------------------------------------------ */

static void test_poll__a_wait_goes_on_after_a_wake(void **state) {
  test_rig *rig = *state;
  test_thread thread;
  fixture_open(rig, 8);
  test_call wait = {.bw = rig->bw, .position = 3, .level = BW_WRITTEN, .timeout_us = -1};
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  test_thread_start(&thread, test_call_wait, &wait);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 1));
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(test_thread_join(&thread), 0);
  assert_sink_has(rig, "abc");
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), 2);
}

static void test_poll__a_wait_for_durable_goes_on_after_a_wake(void **state) {
  test_rig *rig = *state;
  test_thread thread;
  fixture_open(rig, 8);
  test_call wait = {.bw = rig->bw, .position = 3, .level = BW_DURABLE, .timeout_us = -1};
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, -EAGAIN);
  test_thread_start(&thread, test_call_wait, &wait);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_SYNC, 1));
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(test_thread_join(&thread), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 3);
}

static void test_poll__a_wait_with_no_time_makes_no_sink_call(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_wait(rig->bw, 3, BW_ACCEPTED, 0), 0);
  assert_int_equal(bw_wait(rig->bw, 3, BW_WRITTEN, 0), -ETIMEDOUT);
  assert_int_equal(bw_wait(rig->bw, 3, BW_DURABLE, 0), -ETIMEDOUT);
  assert_int_equal(bw_wait(rig->bw, 4, BW_ACCEPTED, 0), -ETIMEDOUT);
  assert_trace(rig, "");
}

static void test_poll__a_wait_sees_to_what_it_waits_for(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_wait(rig->bw, 2, BW_WRITTEN, -1), 0);
  assert_sink_has(rig, "abc");
  assert_int_equal(bw_wait(rig->bw, 3, BW_DURABLE, -1), 0);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 1);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 3);
  assert_int_equal(bw_wait(rig->bw, 3, BW_DURABLE, 0), 0);
}

static void test_poll__a_wait_gives_the_error_of_the_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO);
  assert_int_equal(bw_wait(rig->bw, 3, BW_WRITTEN, -1), -EIO);
  assert_int_equal(bw_wait(rig->bw, 3, BW_WRITTEN, -1), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      INLINE_TEST(test_poll__a_maybe_pending_sink_sees_the_classic_sequence),
      INLINE_TEST(test_poll__a_maybe_pending_sink_flush_is_asked_until_it_is_done),
      INLINE_TEST(test_poll__a_maybe_pending_sink_is_written_and_sought_right),
      INLINE_TEST(test_poll__parts_taken_before_a_pending_answer_are_not_offered_again),
      INLINE_TEST(test_poll__a_waker_is_called_once_by_the_first_wake),
      INLINE_TEST(test_poll__the_same_waker_twice_is_called_once),
      INLINE_TEST(test_poll__a_waker_called_may_wait_again),
      INLINE_TEST(test_poll__wakers_that_differ_in_arg_are_all_called),
      INLINE_TEST(test_poll__no_waker_is_fine),
      INLINE_TEST(test_poll__a_poll_that_is_done_keeps_no_waker),
      INLINE_TEST(test_poll__a_poll_that_failed_keeps_no_waker),
      INLINE_TEST(test_poll__a_waker_taken_back_is_never_called),
      INLINE_TEST(test_poll__only_the_waker_named_is_taken_back),
      INLINE_TEST(test_poll__a_waker_already_called_cannot_be_taken_back),
      INLINE_TEST(test_poll__unwake_of_nothing_is_EINVAL),
      INLINE_TEST(test_poll__free_calls_the_wakers_left),
      INLINE_TEST(test_poll__a_wake_during_the_call_that_says_EAGAIN_is_not_lost),
      INLINE_TEST(test_poll__a_wake_before_the_call_counts_for_nothing),
      INLINE_TEST(test_poll__a_waker_may_poll_again),
      INLINE_TEST(test_poll__a_write_that_fits_needs_no_ready_sink),
      INLINE_TEST(test_poll__writev_over_an_unready_sink_takes_nothing),
      INLINE_TEST(test_poll__sync_waits_for_the_sink_and_is_no_failure),
      INLINE_TEST(test_poll__read_waits_for_the_sink),
      INLINE_TEST(test_poll__seek_over_an_unready_sink_stays_pending),
      INLINE_TEST(test_poll__close_over_an_unready_sink_leaves_the_writer_open),
      INLINE_TEST(test_poll__an_append_that_fits_is_copied),
      INLINE_TEST(test_poll__an_append_of_which_nothing_is_taken_did_not_happen),
      INLINE_TEST(test_poll__an_append_of_which_a_part_is_taken_has_succeeded),
      INLINE_TEST(test_poll__what_is_kept_of_an_append_goes_before_all_later_bytes),
      INLINE_TEST(test_poll__what_is_kept_of_an_append_survives_more_stops),
      INLINE_TEST(test_poll__an_appendv_of_which_a_part_is_taken_has_succeeded),
      INLINE_TEST(test_poll__a_blocking_write_gives_EAGAIN_if_nothing_is_taken),
      INLINE_TEST(test_poll__a_blocking_write_gives_a_short_count_if_a_part_is_taken),
      INLINE_TEST(test_poll__inline_writers_ask_anew_without_a_wake),
      INLINE_TEST(test_poll__a_wake_makes_no_sink_call),
      INLINE_TEST(test_poll__a_blocking_append_keeps_the_rest_once_a_part_is_taken),
      INLINE_TEST(test_poll__flush_of_a_sink_not_ready_to_flush_is_EAGAIN),
      INLINE_TEST(test_poll__a_wait_goes_on_after_a_wake),
      INLINE_TEST(test_poll__a_wait_for_durable_goes_on_after_a_wake),
      INLINE_TEST(test_poll__a_wait_with_no_time_makes_no_sink_call),
      INLINE_TEST(test_poll__a_wait_sees_to_what_it_waits_for),
      INLINE_TEST(test_poll__a_wait_gives_the_error_of_the_sink),
  };
  return cmocka_run_group_tests_name("poll", tests, NULL, NULL);
}
