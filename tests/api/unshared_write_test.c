/* The rules of tokio's BufWriter, byte for byte: what reaches the sink, what stays in the buffer, and when. */
#include "../support/fixture.h"

static void test_unshared_write__capacity_2_follows_the_classic_sequence(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);

  assert_int_equal(fixture_write(rig, "01"), 2);
  assert_trace(rig, "write(2)");
  assert_buffer_has(rig, "");
  assert_int_equal(fixture_write(rig, "2"), 1);
  assert_buffer_has(rig, "2");
  assert_int_equal(fixture_write(rig, "3"), 1);
  assert_trace(rig, "");
  assert_buffer_has(rig, "23");
  assert_sink_has(rig, "01");

  assert_int_equal(bw_flush(rig->bw), 0);
  assert_trace(rig, "write(2) flush");
  assert_buffer_has(rig, "");
  assert_sink_has(rig, "0123");

  assert_int_equal(fixture_write(rig, "4"), 1);
  assert_buffer_has(rig, "4");
  assert_int_equal(fixture_write(rig, "5"), 1);
  assert_trace(rig, "");
  assert_buffer_has(rig, "45");
  assert_int_equal(fixture_write(rig, "6"), 1);
  assert_trace(rig, "write(2)");
  assert_buffer_has(rig, "6");
  assert_sink_has(rig, "012345");

  assert_int_equal(fixture_write(rig, "78"), 2);
  assert_trace(rig, "write(1) write(2)");
  assert_buffer_has(rig, "");
  assert_int_equal(fixture_write(rig, "9ab"), 3);
  assert_trace(rig, "write(3)");
  assert_buffer_has(rig, "");
  assert_int_equal(fixture_write(rig, "c"), 1);
  assert_trace(rig, "");
  assert_buffer_has(rig, "c");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_trace(rig, "write(1) flush");
  assert_sink_has(rig, "0123456789abc");
}

static void test_unshared_write__polls_follow_the_same_sequence(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  assert_int_equal(fixture_poll_write(rig, "01"), 2);
  assert_int_equal(fixture_poll_write(rig, "2"), 1);
  assert_int_equal(fixture_poll_write(rig, "3"), 1);
  assert_trace(rig, "write(2)");
  assert_buffer_has(rig, "23");
  assert_int_equal(bw_poll_flush(rig->bw, &rig->wake), 0);
  assert_trace(rig, "write(2) flush");
  assert_int_equal(fixture_poll_write(rig, "4"), 1);
  assert_int_equal(fixture_poll_write(rig, "5"), 1);
  assert_int_equal(fixture_poll_write(rig, "6"), 1);
  assert_trace(rig, "write(2)");
  assert_buffer_has(rig, "6");
  assert_int_equal(fixture_poll_write(rig, "78"), 2);
  assert_trace(rig, "write(1) write(2)");
  assert_int_equal(fixture_poll_write(rig, "9ab"), 3);
  assert_trace(rig, "write(3)");
  assert_buffer_has(rig, "");
}

static void test_unshared_write__capacity_1_sends_every_byte_at_once(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 1);
  assert_int_equal(bw_capacity(rig->bw), 1);
  assert_int_equal(fixture_write(rig, "a"), 1);
  assert_int_equal(fixture_write(rig, "b"), 1);
  assert_int_equal(fixture_write(rig, "cd"), 2);
  assert_trace(rig, "write(1) write(1) write(2)");
  assert_buffer_has(rig, "");
}

static void test_unshared_write__exactly_capacity_goes_past_an_empty_buffer(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 5);
  assert_int_equal(fixture_write(rig, "abcde"), 5);
  assert_trace(rig, "write(5)");
  assert_buffer_has(rig, "");
}

static void test_unshared_write__one_less_than_capacity_is_buffered(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 5);
  assert_int_equal(fixture_write(rig, "abcd"), 4);
  assert_trace(rig, "");
  assert_buffer_has(rig, "abcd");
}

static void test_unshared_write__what_fills_the_buffer_to_the_brim_is_copied(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 5);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  assert_int_equal(fixture_write(rig, "cde"), 3);
  assert_trace(rig, "");
  assert_buffer_has(rig, "abcde");
}

static void test_unshared_write__what_does_not_fit_flushes_first(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 5);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(fixture_write(rig, "def"), 3);
  assert_trace(rig, "write(3)");
  assert_buffer_has(rig, "def");
}

static void test_unshared_write__capacity_or_more_behind_buffered_bytes_flushes_then_goes_straight(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 5);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(fixture_write(rig, "defgh"), 5);
  assert_trace(rig, "write(3) write(5)");
  assert_buffer_has(rig, "");
  assert_sink_has(rig, "abcdefgh");
}

static void test_unshared_write__nothing_written_is_nothing_done(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  assert_int_equal(bw_write(rig->bw, "", 0), 0);
  assert_int_equal(bw_write(rig->bw, NULL, 0), 0);
  assert_int_equal(bw_poll_write(rig->bw, NULL, 0, NULL), 0);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  assert_int_equal(bw_write(rig->bw, "", 0), 0);
  assert_trace(rig, "write(2)");
  assert_int_equal(bw_tell(rig->bw), 2);
}

static void test_unshared_write__a_write_of_nothing_leaves_a_full_buffer_alone(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  assert_int_equal(fixture_write(rig, "a"), 1);
  assert_int_equal(fixture_write(rig, "b"), 1);
  assert_int_equal(bw_write(rig->bw, "", 0), 0);
  assert_trace(rig, "");
  assert_buffer_has(rig, "ab");
}

static void test_unshared_write__flush_of_an_empty_buffer_still_flushes_the_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_trace(rig, "flush");
}

static void test_unshared_write__flush_needs_no_sink_flush(void **state) {
  test_rig *rig = *state;
  rig->has = 0;
  fixture_open(rig, 4);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_trace(rig, "write(2)");
}

static void test_unshared_write__a_failed_sink_flush_is_returned_and_not_remembered(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_FLUSH, -EIO);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  assert_int_equal(bw_flush(rig->bw), -EIO);
  assert_trace(rig, "write(2) flush=EIO");
  assert_buffer_has(rig, "");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_trace(rig, "flush");
}

static void test_unshared_write__a_whole_write_loops_over_short_answers(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3, 1);
  assert_int_equal(fixture_write(rig, "abcdefgh"), 8);
  assert_trace(rig, "write(8)=3 write(5)=1 write(4)");
  assert_buffer_has(rig, "");
  assert_sink_has(rig, "abcdefgh");
}

static void test_unshared_write__the_rest_of_a_short_bypass_goes_past_the_buffer_too(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 7);
  assert_int_equal(fixture_write(rig, "abcdefgh"), 8);
  assert_trace(rig, "write(8)=7 write(1)");
  assert_buffer_has(rig, "");
}

struct watched {
  bw_t *bw;
  int wrong;
};

static void compare_positions(void *arg, enum test_sink_kind kind) {
  struct watched *watched = arg;
  (void)kind;
  watched->wrong += bw_position(watched->bw, BW_WRITTEN) > bw_position(watched->bw, BW_ACCEPTED);
}

static void test_unshared_write__within_a_bypass_nothing_is_written_that_is_not_accepted(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 7);
  struct watched watched = {.bw = rig->bw};
  rig->sink.hook_arg = &watched;
  rig->sink.hook = compare_positions;
  assert_int_equal(fixture_write(rig, "abcdefgh"), 8);
  rig->sink.hook = NULL;
  assert_trace(rig, "write(8)=7 write(1)");
  assert_int_equal(watched.wrong, 0);
}

static void test_unshared_write__a_poll_makes_one_bypassing_call_and_gives_its_count(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3);
  assert_int_equal(fixture_poll_write(rig, "abcdefgh"), 3);
  assert_trace(rig, "write(8)=3");
  assert_buffer_has(rig, "");
  assert_int_equal(bw_tell(rig->bw), 3);
}

static void test_unshared_write__a_bypassing_poll_hands_0_through(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 0);
  assert_int_equal(fixture_poll_write(rig, "abc"), 0);
  assert_trace(rig, "write(3)=0");
  assert_int_equal(bw_tell(rig->bw), 0);
  assert_int_equal(fixture_poll_write(rig, "abc"), 3);
}

static void test_unshared_write__a_bypassing_poll_hands_EINTR_through(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EINTR);
  assert_int_equal(fixture_poll_write(rig, "abc"), -EINTR);
  assert_trace(rig, "write(3)=EINTR");
  assert_int_equal(bw_tell(rig->bw), 0);
}

static void test_unshared_write__a_bypassing_poll_hands_an_error_through(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO);
  assert_int_equal(fixture_poll_write(rig, "abc"), -EIO);
  assert_int_equal(fixture_poll_write(rig, "abc"), 3);
  assert_sink_has(rig, "abc");
}

static void test_unshared_write__a_whole_write_tries_again_after_EINTR(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EINTR, 2, -EINTR, -EINTR);
  assert_int_equal(fixture_write(rig, "abcd"), 4);
  assert_trace(rig, "write(4)=EINTR write(4)=2 write(2)=EINTR write(2)=EINTR write(2)");
}

static void test_unshared_write__a_whole_write_that_moves_nothing_is_EWRITEZERO(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 0);
  assert_int_equal(fixture_write(rig, "abc"), BW_EWRITEZERO);
  assert_int_equal(bw_tell(rig->bw), 0);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_sink_has(rig, "abc");
}

static void test_unshared_write__an_error_part_way_gives_a_short_count_and_an_event(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3, -EIO);
  assert_int_equal(fixture_write(rig, "abcdef"), 3);
  assert_trace(rig, "write(6)=3 write(3)=EIO");
  assert_int_equal(test_events_last(&rig->events, BW_EVENT_ERROR).code, -EIO);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(fixture_write(rig, "def"), 3);
  assert_sink_has(rig, "abcdef");
}

static void test_unshared_write__zero_part_way_gives_a_short_count_and_an_event(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 4, 0);
  assert_int_equal(fixture_write(rig, "abcdef"), 4);
  assert_int_equal(test_events_last(&rig->events, BW_EVENT_ERROR).code, BW_EWRITEZERO);
}

static void test_unshared_write__an_error_of_the_bypass_leaves_what_was_flushed_before_it(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_write(rig, "ab"), 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, TEST_SINK_TAKE_ALL, -EIO);
  assert_int_equal(fixture_write(rig, "cdefgh"), -EIO);
  assert_trace(rig, "write(2) write(6)=EIO");
  assert_buffer_has(rig, "");
  assert_int_equal(bw_tell(rig->bw), 2);
}

static void test_unshared_write__flush_loops_over_short_answers(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1, 2);
  assert_int_equal(fixture_write(rig, "abcdefg"), 7);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_trace(rig, "write(7)=1 write(6)=2 write(4) flush");
  assert_sink_has(rig, "abcdefg");
}

static void test_unshared_write__a_failed_flush_keeps_the_tail_and_goes_on_from_it(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -EIO, 3, -ENOSPC);
  assert_int_equal(fixture_write(rig, "abcdefg"), 7);
  assert_int_equal(bw_flush(rig->bw), -EIO);
  assert_trace(rig, "write(7)=2 write(5)=EIO");
  assert_buffer_has(rig, "cdefg");
  assert_int_equal(bw_flush(rig->bw), -ENOSPC);
  assert_trace(rig, "write(5)=3 write(2)=ENOSPC");
  assert_buffer_has(rig, "fg");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_trace(rig, "write(2) flush");
  assert_sink_has(rig, "abcdefg");
}

static void test_unshared_write__after_a_failed_flush_the_room_in_front_of_the_tail_is_used(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 5, -EIO);
  assert_int_equal(fixture_write(rig, "abcdefg"), 7);
  assert_int_equal(bw_flush(rig->bw), -EIO);
  assert_trace(rig, "write(7)=5 write(2)=EIO");
  assert_int_equal(fixture_write(rig, "hijklm"), 6);
  assert_trace(rig, "");
  assert_buffer_has(rig, "fghijklm");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcdefghijklm");
}

static void test_unshared_write__a_flush_that_moves_nothing_is_EWRITEZERO(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1, 0, 0);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_flush(rig->bw), BW_EWRITEZERO);
  assert_buffer_has(rig, "bc");
  assert_int_equal(bw_poll_flush(rig->bw, NULL), BW_EWRITEZERO);
  assert_buffer_has(rig, "bc");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abc");
}

static void test_unshared_write__a_flush_tries_again_after_EINTR(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EINTR, 1, -EINTR);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_poll_flush(rig->bw, NULL), 0);
  assert_trace(rig, "write(3)=EINTR write(3)=1 write(2)=EINTR write(2) flush");
}

static void test_unshared_write__a_write_whose_flush_fails_is_not_accepted(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1, -EIO);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(fixture_write(rig, "de"), -EIO);
  assert_buffer_has(rig, "bc");
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(fixture_write(rig, "de"), 2);
  assert_buffer_has(rig, "bcde");
}

static void test_unshared_write__errors_are_not_sticky(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 2);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EPIPE);
  assert_int_equal(fixture_write(rig, "a"), 1);
  for (int i = 0; i < 5; ++i) assert_int_equal(bw_flush(rig->bw), -EPIPE);
  assert_int_equal(bw_error(rig->bw), 0);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, INT64_MIN);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "a");
}

static void test_unshared_write__the_default_capacity_is_8_KiB(void **state) {
  test_rig *rig = *state;
  static const char block[8192];
  fixture_open(rig, 0);
  assert_int_equal(bw_capacity(rig->bw), 8192);
  assert_int_equal(bw_write(rig->bw, block, 8191), 8191);
  assert_trace(rig, "");
  assert_int_equal(bw_write(rig->bw, block, 1), 1);
  assert_int_equal(bw_buffered(rig->bw), 8192);
  assert_trace(rig, "");
  assert_int_equal(bw_write(rig->bw, block, 8192), 8192);
  assert_trace(rig, "write(8192) write(8192)");
}

static void test_unshared_write__no_options_are_the_defaults(void **state) {
  test_rig *rig = *state;
  bw_sink_t ops = test_sink_ops(rig->has);
  assert_int_equal(bw_new(&rig->bw, &ops, &rig->sink, NULL), 0);
  rig->flags = 0;
  assert_int_equal(bw_capacity(rig->bw), 8192);
  assert_int_equal(fixture_write(rig, "a"), 1);
  assert_buffer_has(rig, "a");
}

static void test_unshared_write__positions_follow_the_bytes(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(bw_tell(rig->bw), 0);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 3);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 0);
  assert_int_equal(fixture_write(rig, "de"), 2);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 5);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 3);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 0);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 5);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 5);
}

static void test_unshared_write__close_flushes_then_flushes_and_closes_the_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_trace(rig, "write(3) flush close");
  assert_sink_has(rig, "abc");
}

static void test_unshared_write__NONBLOCK_changes_nothing_over_a_ready_sink(void **state) {
  test_rig *rig = *state;
  rig->flags |= BW_NONBLOCK;
  fixture_open(rig, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1);
  assert_int_equal(fixture_write(rig, "abc"), 3);
  assert_int_equal(fixture_write(rig, "d"), 1);
  assert_int_equal(fixture_write(rig, "ef"), 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_trace(rig, "write(3)=1 write(2) write(1) write(2) flush");
}

/* ---- Against a model -------------------------------------------------------------------------- */

#define ROUNDS 2000
#define ANSWERS 131072
#define LENGTH_MAX 48

typedef struct model {
  const int64_t *answers;
  size_t used_answers;
  char buffer[64];
  size_t buffered, capacity;
  char stream[ROUNDS * LENGTH_MAX];
  size_t written;
  size_t offered[512]; /* of the sink calls of one round */
  size_t calls;
} model;

static int64_t model_sink(model *m, const char *data, size_t length) {
  int64_t answer = m->answers[m->used_answers++];
  if (answer > (int64_t)length) answer = (int64_t)length;
  m->offered[m->calls++] = length;
  if (answer > 0) memcpy(m->stream + m->written, data, (size_t)answer);
  if (answer > 0) m->written += (size_t)answer;
  return answer;
}

static int64_t model_flush(model *m) {
  while (m->buffered > 0) {
    int64_t answer = model_sink(m, m->buffer, m->buffered);
    if (answer == -EINTR) continue;
    if (answer <= 0) return answer == 0 ? BW_EWRITEZERO : answer;
    m->buffered -= (size_t)answer;
    memmove(m->buffer, m->buffer + answer, m->buffered);
  }
  return 0;
}

static int64_t model_write(model *m, const char *data, size_t length, bool whole) {
  size_t done = 0;
  if (m->buffered + length > m->capacity) {
    int64_t flushed = model_flush(m);
    if (flushed < 0) return flushed;
  }
  if (length < m->capacity) {
    memcpy(m->buffer + m->buffered, data, length);
    m->buffered += length;
    return (int64_t)length;
  }
  if (!whole) return model_sink(m, data, length);
  while (done < length) {
    int64_t answer = model_sink(m, data + done, length - done);
    if (answer == -EINTR) continue;
    if (answer <= 0) return done > 0 ? (int64_t)done : answer == 0 ? BW_EWRITEZERO : answer;
    done += (size_t)answer;
  }
  return (int64_t)done;
}

static void make_answers(int64_t *answers, uint64_t *seed) {
  static const int64_t odd[] = {0, -EINTR, -EAGAIN, -EIO};
  for (size_t i = 0; i < ANSWERS; ++i) {
    uint64_t dice = test_random(seed) % 16;
    answers[i] = dice < 4 ? odd[dice] : dice < 8 ? (int64_t)(1 + test_random(seed) % 8) : TEST_SINK_TAKE_ALL;
  }
}

static void compare_round(test_rig *rig, const model *m, size_t calls_before) {
  assert_int_equal(rig->sink.script_next[TEST_SINK_WRITE], m->used_answers);
  assert_int_equal(rig->sink.call_count - calls_before, m->calls);
  for (size_t i = 0; i < m->calls; ++i) {
    assert_int_equal(rig->sink.calls[calls_before + i].offered, m->offered[i]);
  }
  assert_int_equal(bw_buffered(rig->bw), m->buffered);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), m->written + m->buffered);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), m->written);
  if (rig->flags & BW_UNSHARED) {
    size_t length;
    const void *bytes = bw_buffer(rig->bw, &length);
    assert_int_equal(length, m->buffered);
    if (length > 0) assert_memory_equal(bytes, m->buffer, length);
  }
}

static void run_rounds(test_rig *rig, model *m, uint64_t *seed) {
  char data[LENGTH_MAX];
  for (int round = 0; round < ROUNDS && m->used_answers < ANSWERS - 512; ++round) {
    size_t length = test_random(seed) % (test_random(seed) % 4 == 0 ? LENGTH_MAX : m->capacity + 2);
    size_t calls_before = rig->sink.call_count;
    uint64_t dice = test_random(seed) % 8;
    for (size_t i = 0; i < length; ++i) data[i] = (char)test_random(seed);
    m->calls = 0;
    if (dice == 0) {
      int64_t expected = model_flush(m);
      assert_int_equal(bw_flush(rig->bw), expected);
    } else if (dice == 1) {
      int64_t expected = model_flush(m);
      assert_int_equal(bw_poll_flush(rig->bw, NULL), expected);
    } else if (dice < 5) {
      int64_t expected = model_write(m, data, length, true);
      assert_int_equal(bw_write(rig->bw, data, length), expected);
    } else {
      int64_t expected = model_write(m, data, length, false);
      assert_int_equal(bw_poll_write(rig->bw, data, length, NULL), expected);
    }
    compare_round(rig, m, calls_before);
  }
}

static void test_unshared_write__random_traffic_equals_the_model(void **state) {
  static const size_t capacities[] = {1, 2, 3, 7, 16, 40};
  static int64_t answers[ANSWERS];
  static model m;
  test_rig *rig = *state;
  rig->has = 0;
  for (size_t i = 0; i < sizeof capacities / sizeof *capacities; ++i) {
    uint64_t seed = 20260 + i;
    make_answers(answers, &seed);
    memset(&m, 0, sizeof m);
    m.answers = answers;
    m.capacity = capacities[i];
    test_sink_destroy(&rig->sink);
    test_sink_init(&rig->sink);
    test_sink_script(&rig->sink, TEST_SINK_WRITE, answers, ANSWERS);
    fixture_open(rig, capacities[i]);
    run_rounds(rig, &m, &seed);
    rig->sink.script_next[TEST_SINK_WRITE] = ANSWERS;
    memcpy(m.stream + m.written, m.buffer, m.buffered);
    assert_int_equal(bw_close(rig->bw), 0);
    assert_true(test_sink_holds(&rig->sink, m.stream, m.written + m.buffered));
    test_rig_free_writer(rig);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      INLINE_TEST(test_unshared_write__capacity_2_follows_the_classic_sequence),
      INLINE_TEST(test_unshared_write__polls_follow_the_same_sequence),
      INLINE_TEST(test_unshared_write__capacity_1_sends_every_byte_at_once),
      INLINE_TEST(test_unshared_write__exactly_capacity_goes_past_an_empty_buffer),
      INLINE_TEST(test_unshared_write__one_less_than_capacity_is_buffered),
      INLINE_TEST(test_unshared_write__what_fills_the_buffer_to_the_brim_is_copied),
      INLINE_TEST(test_unshared_write__what_does_not_fit_flushes_first),
      INLINE_TEST(test_unshared_write__capacity_or_more_behind_buffered_bytes_flushes_then_goes_straight),
      INLINE_TEST(test_unshared_write__nothing_written_is_nothing_done),
      INLINE_TEST(test_unshared_write__a_write_of_nothing_leaves_a_full_buffer_alone),
      INLINE_TEST(test_unshared_write__flush_of_an_empty_buffer_still_flushes_the_sink),
      INLINE_TEST(test_unshared_write__flush_needs_no_sink_flush),
      INLINE_TEST(test_unshared_write__a_failed_sink_flush_is_returned_and_not_remembered),
      INLINE_TEST(test_unshared_write__a_whole_write_loops_over_short_answers),
      INLINE_TEST(test_unshared_write__the_rest_of_a_short_bypass_goes_past_the_buffer_too),
      INLINE_TEST(test_unshared_write__within_a_bypass_nothing_is_written_that_is_not_accepted),
      INLINE_TEST(test_unshared_write__a_poll_makes_one_bypassing_call_and_gives_its_count),
      INLINE_TEST(test_unshared_write__a_bypassing_poll_hands_0_through),
      INLINE_TEST(test_unshared_write__a_bypassing_poll_hands_EINTR_through),
      INLINE_TEST(test_unshared_write__a_bypassing_poll_hands_an_error_through),
      INLINE_TEST(test_unshared_write__a_whole_write_tries_again_after_EINTR),
      INLINE_TEST(test_unshared_write__a_whole_write_that_moves_nothing_is_EWRITEZERO),
      INLINE_TEST(test_unshared_write__an_error_part_way_gives_a_short_count_and_an_event),
      INLINE_TEST(test_unshared_write__zero_part_way_gives_a_short_count_and_an_event),
      INLINE_TEST(test_unshared_write__an_error_of_the_bypass_leaves_what_was_flushed_before_it),
      INLINE_TEST(test_unshared_write__flush_loops_over_short_answers),
      INLINE_TEST(test_unshared_write__a_failed_flush_keeps_the_tail_and_goes_on_from_it),
      INLINE_TEST(test_unshared_write__after_a_failed_flush_the_room_in_front_of_the_tail_is_used),
      INLINE_TEST(test_unshared_write__a_flush_that_moves_nothing_is_EWRITEZERO),
      INLINE_TEST(test_unshared_write__a_flush_tries_again_after_EINTR),
      INLINE_TEST(test_unshared_write__a_write_whose_flush_fails_is_not_accepted),
      INLINE_TEST(test_unshared_write__errors_are_not_sticky),
      INLINE_TEST(test_unshared_write__the_default_capacity_is_8_KiB),
      INLINE_TEST(test_unshared_write__no_options_are_the_defaults),
      INLINE_TEST(test_unshared_write__positions_follow_the_bytes),
      INLINE_TEST(test_unshared_write__close_flushes_then_flushes_and_closes_the_sink),
      INLINE_TEST(test_unshared_write__NONBLOCK_changes_nothing_over_a_ready_sink),
      INLINE_TEST(test_unshared_write__random_traffic_equals_the_model),
  };
  return cmocka_run_group_tests_name("unshared_write", tests, NULL, NULL);
}
