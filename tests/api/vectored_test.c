/* Lists of parts over plain sinks and over vectored ones (sink.writev), as tokio's BufWriter treats them. */
#include "../support/fixture.h"

static void open_vectored(test_rig *rig, uint64_t capacity) {
  rig->has |= TEST_SINK_HAS(TEST_SINK_WRITEV);
  fixture_open(rig, capacity);
}

/* Polls until all of "…|…" is taken; every step must move at least one byte. */
static void poll_all(test_rig *rig, const char *parts) {
  char rest[256];
  snprintf(rest, sizeof rest, "%s", parts);
  while (strspn(rest, "|") < strlen(rest)) {
    int64_t taken = fixture_poll_writev(rig, rest);
    char *from = rest;
    assert_true(taken > 0);
    assert_true(bw_buffered(rig->bw) <= bw_capacity(rig->bw));
    while (taken > 0 || *from == '|') taken -= *from++ != '|';
    memmove(rest, from, strlen(from) + 1);
  }
}

/* ---- A plain sink ----------------------------------------------------------------------------- */

static void test_vectored__no_parts_are_0_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  struct iovec none;
  fixture_open(rig, 8);
  assert_int_equal(bw_poll_writev(rig->bw, &none, 0, NULL), 0);
  assert_int_equal(bw_writev(rig->bw, &none, 0), 0);
  assert_int_equal(bw_poll_flush(rig->bw, NULL), 0);
  assert_trace(rig, "flush");
  assert_sink_has(rig, "");
}

static void test_vectored__empty_parts_are_0_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_poll_writev(rig, "||"), 0);
  assert_int_equal(fixture_writev(rig, "||"), 0);
  assert_trace(rig, "");
  assert_buffer_has(rig, "");
}

static void test_vectored__parts_that_fit_together_are_gathered_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 0);
  assert_int_equal(fixture_poll_writev(rig, "foo |bar |baz"), 11);
  assert_trace(rig, "");
  assert_buffer_has(rig, "foo bar baz");
  assert_int_equal(bw_poll_flush(rig->bw, NULL), 0);
  assert_sink_has(rig, "foo bar baz");
}

static void test_vectored__whole_parts_are_taken_while_they_fit_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_poll_writev(rig, "foo |bar |baz"), 8);
  assert_trace(rig, "");
  assert_buffer_has(rig, "foo bar ");
  assert_int_equal(fixture_poll_writev(rig, "baz"), 3);
  assert_trace(rig, "write(8)");
  assert_buffer_has(rig, "baz");
}

static void test_vectored__a_part_is_never_cut_to_fill_the_buffer_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_poll_writev(rig, "abc|defghi|j"), 3);
  assert_buffer_has(rig, "abc");
  assert_trace(rig, "");
}

static void test_vectored__later_large_parts_wait_their_turn_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 3);
  assert_int_equal(fixture_poll_writev(rig, "ab|cdefgh"), 2);
  assert_trace(rig, "");
  assert_buffer_has(rig, "ab");
  assert_int_equal(fixture_poll_writev(rig, "cdefgh|i"), 6);
  assert_trace(rig, "write(2) write(6)");
  assert_buffer_has(rig, "");
}

static void test_vectored__leading_empty_parts_are_skipped_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_poll_writev(rig, "||foo bar b|az"), 9);
  assert_trace(rig, "write(9)");
  assert_buffer_has(rig, "");
  assert_int_equal(fixture_poll_writev(rig, "|az"), 2);
  assert_buffer_has(rig, "az");
}

static void test_vectored__empty_parts_between_change_nothing_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_poll_writev(rig, "foo ||bar||"), 7);
  assert_buffer_has(rig, "foo bar");
}

static void test_vectored__one_large_part_goes_straight_and_may_be_short_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3);
  assert_int_equal(fixture_poll_writev(rig, "abcdef|gh"), 3);
  assert_trace(rig, "write(6)=3");
  assert_buffer_has(rig, "");
}

static void test_vectored__a_first_part_that_does_not_fit_flushes_first_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_poll_writev(rig, "ab|c"), 3);
  assert_int_equal(fixture_poll_writev(rig, "de|fg|h"), 4);
  assert_trace(rig, "write(3)");
  assert_buffer_has(rig, "defg");
}

static void test_vectored__a_failed_flush_takes_no_part_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 4);
  assert_int_equal(fixture_poll_writev(rig, "ab|c"), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1, -EIO);
  assert_int_equal(fixture_poll_writev(rig, "de|f"), -EIO);
  assert_buffer_has(rig, "bc");
  assert_int_equal(bw_tell(rig->bw), 3);
}

static void test_vectored__odd_parts_arrive_whole_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  poll_all(rig, "foo ||bar b|az");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "foo bar baz");
}

static void test_vectored__a_large_part_among_small_ones_arrives_whole_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  poll_all(rig, "|foo bar b|az");
  poll_all(rig, "x|0123456789|y");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "foo bar bazx0123456789y");
}

/* ---- A vectored sink -------------------------------------------------------------------------- */

static void test_vectored__no_parts_are_0_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  struct iovec none;
  open_vectored(rig, 8);
  assert_int_equal(bw_poll_writev(rig->bw, &none, 0, NULL), 0);
  assert_int_equal(bw_writev(rig->bw, &none, 0), 0);
  assert_int_equal(fixture_poll_writev(rig, "||"), 0);
  assert_int_equal(fixture_writev(rig, "||"), 0);
  assert_trace(rig, "");
}

static void test_vectored__less_than_capacity_in_total_is_gathered_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 12);
  assert_int_equal(fixture_poll_writev(rig, "foo |bar |baz"), 11);
  assert_trace(rig, "");
  assert_buffer_has(rig, "foo bar baz");
  assert_int_equal(bw_poll_flush(rig->bw, NULL), 0);
  assert_sink_has(rig, "foo bar baz");
}

static void test_vectored__capacity_in_total_goes_straight_as_one_list_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 11);
  assert_int_equal(fixture_poll_writev(rig, "foo |bar |baz"), 11);
  assert_trace(rig, "writev(11/3)");
  assert_buffer_has(rig, "");
  assert_sink_has(rig, "foo bar baz");
}

static void test_vectored__more_than_capacity_goes_straight_as_one_list_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 8);
  assert_int_equal(fixture_poll_writev(rig, "foo |bar |baz"), 11);
  assert_trace(rig, "writev(11/3)");
  assert_buffer_has(rig, "");
}

static void test_vectored__a_poll_hands_the_answer_of_the_list_through_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITEV, 5, 0, -EINTR, -EIO);
  assert_int_equal(fixture_poll_writev(rig, "abc|def"), 5);
  assert_int_equal(fixture_poll_writev(rig, "f|ghij"), 0);
  assert_int_equal(fixture_poll_writev(rig, "f|ghij"), -EINTR);
  assert_int_equal(fixture_poll_writev(rig, "f|ghij"), -EIO);
  assert_int_equal(fixture_poll_writev(rig, "f|ghij"), 5);
  assert_trace(rig, "writev(6/2)=5 writev(5/2)=0 writev(5/2)=EINTR writev(5/2)=EIO writev(5/2)");
  assert_buffer_has(rig, "");
  assert_sink_has(rig, "abcdefghij");
}

static void test_vectored__what_does_not_fit_the_rest_flushes_first_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 8);
  assert_int_equal(fixture_poll_writev(rig, "abc|de"), 5);
  assert_int_equal(fixture_poll_writev(rig, "fg|hi"), 4);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE) + test_sink_count(&rig->sink, TEST_SINK_WRITEV), 1);
  assert_sink_has(rig, "abcde");
  assert_buffer_has(rig, "fghi");
}

static void test_vectored__buffered_bytes_go_before_a_straight_list_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 8);
  assert_int_equal(fixture_poll_writev(rig, "abc"), 3);
  assert_int_equal(fixture_poll_writev(rig, "0123|45|67"), 8);
  assert_buffer_has(rig, "");
  assert_sink_has(rig, "abc01234567");
}

static void test_vectored__an_exact_fit_behind_buffered_bytes_is_copied_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 8);
  assert_int_equal(fixture_poll_writev(rig, "abc|d"), 4);
  assert_int_equal(fixture_poll_writev(rig, "ef|gh"), 4);
  assert_trace(rig, "");
  assert_buffer_has(rig, "abcdefgh");
}

static void test_vectored__odd_parts_arrive_whole_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 8);
  poll_all(rig, "foo ||bar b|az");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "foo bar baz");
}

static void test_vectored__a_large_part_arrives_whole_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITEV, 4, 1, 2);
  poll_all(rig, "|foo bar b|az");
  poll_all(rig, "x|0123456789|y");
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "foo bar bazx0123456789y");
}

/* ---- Whole lists (bw_writev) ------------------------------------------------------------------ */

static void test_vectored__writev_takes_all_parts_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 3);
  assert_int_equal(fixture_writev(rig, "a|bcdefgh||i|jk|lmn"), 14);
  assert_int_equal(bw_tell(rig->bw), 14);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcdefghijklmn");
}

static void test_vectored__writev_takes_all_parts_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 3);
  assert_int_equal(fixture_writev(rig, "a|bcdefgh|i|jk|lmn"), 14);
  assert_trace(rig, "writev(14/5)");
  assert_buffer_has(rig, "");
  assert_sink_has(rig, "abcdefghijklmn");
}

static void test_vectored__writev_goes_on_after_short_answers_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITEV, 1, 3, -EINTR, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1, 1);
  assert_int_equal(fixture_writev(rig, "a|bcdefgh|i|jk|lmn"), 14);
  assert_buffer_has(rig, "");
  assert_sink_has(rig, "abcdefghijklmn");
}

static void test_vectored__writev_goes_on_after_short_answers_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 1, 2, -EINTR, 1);
  assert_int_equal(fixture_writev(rig, "ab|cdefgh|i|jklmn"), 14);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_has(rig, "abcdefghijklmn");
}

static void test_vectored__writev_that_does_not_fit_the_rest_is_not_torn_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 8);
  assert_int_equal(fixture_write(rig, "abcde"), 5);
  assert_int_equal(fixture_writev(rig, "0|1|2|3"), 4);
  assert_trace(rig, "write(5)");
  assert_buffer_has(rig, "0123");
}

static void test_vectored__writev_that_does_not_fit_the_rest_is_not_torn_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 8);
  assert_int_equal(fixture_write(rig, "abcde"), 5);
  assert_int_equal(fixture_writev(rig, "01|2|34"), 5);
  assert_sink_has(rig, "abcde");
  assert_buffer_has(rig, "01234");
}

static void test_vectored__writev_that_fits_calls_no_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 8);
  assert_int_equal(fixture_writev(rig, "ab|c"), 3);
  assert_int_equal(fixture_writev(rig, "d||efg|h"), 5);
  assert_trace(rig, "");
  assert_buffer_has(rig, "abcdefgh");
}

static void test_vectored__writev_stopped_part_way_gives_a_short_count(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITEV, 4, -EIO);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO);
  assert_int_equal(fixture_writev(rig, "ab|cdef|gh"), 4);
  assert_int_equal(test_events_last(&rig->events, BW_EVENT_ERROR).code, -EIO);
  assert_sink_has(rig, "abcd");
  assert_int_equal(bw_tell(rig->bw), 4);
}

static void test_vectored__writev_that_moves_nothing_is_EWRITEZERO(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITEV, 0);
  assert_int_equal(fixture_writev(rig, "ab|cd"), BW_EWRITEZERO);
  assert_int_equal(bw_tell(rig->bw), 0);
}

enum { MANY_PARTS = 3000 };

static void many_parts(test_rig *rig) {
  static char expected[MANY_PARTS];
  struct iovec parts[MANY_PARTS];
  for (int i = 0; i < MANY_PARTS; ++i) {
    expected[i] = (char)('a' + i % 26);
    parts[i] = (struct iovec){&expected[i], 1};
  }
  assert_int_equal(bw_writev(rig->bw, parts, MANY_PARTS), MANY_PARTS);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, expected, MANY_PARTS));
}

static void test_vectored__more_parts_than_the_kernel_takes_at_once_are_fine_on_a_plain_sink(void **state) {
  test_rig *rig = *state;
  fixture_open(rig, 64);
  many_parts(rig);
}

static void test_vectored__more_parts_than_the_kernel_takes_at_once_are_fine_on_a_vectored_sink(void **state) {
  test_rig *rig = *state;
  open_vectored(rig, 64);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITEV, 1, 70, 1025);
  many_parts(rig);
}

/* ---- Against a model of the polls, sinks that take what they are offered or less ---------------- */

enum { ROUNDS = 2000, PARTS_MAX = 6, PART_MAX = 12, STREAM_MAX = ROUNDS * PARTS_MAX * PART_MAX };

typedef struct model {
  char buffer[64], stream[STREAM_MAX];
  size_t buffered, capacity, written;
  uint64_t seed; /* decides the answers, as the script handed to the sink was */
} model;

static size_t next_answer(uint64_t *seed) { return 1 + test_random(seed) % 20; }

static int64_t model_offer(model *m, const char *data, size_t length) {
  size_t answer = next_answer(&m->seed);
  if (answer > length) answer = length;
  memcpy(m->stream + m->written, data, answer);
  m->written += answer;
  return (int64_t)answer;
}

static void model_flush(model *m) {
  while (m->buffered > 0) {
    int64_t answer = model_offer(m, m->buffer, m->buffered);
    m->buffered -= (size_t)answer;
    memmove(m->buffer, m->buffer + answer, m->buffered);
  }
}

static void model_copy(model *m, const struct iovec *part) {
  memcpy(m->buffer + m->buffered, part->iov_base, part->iov_len);
  m->buffered += part->iov_len;
}

static int64_t model_writev_plain(model *m, const struct iovec *parts, int count) {
  int64_t taken = 0;
  int at = 0;
  while (at < count && parts[at].iov_len == 0) ++at;
  if (at == count) return 0;
  if (m->buffered + parts[at].iov_len > m->capacity) model_flush(m);
  if (parts[at].iov_len >= m->capacity) return model_offer(m, parts[at].iov_base, parts[at].iov_len);
  for (; at < count && m->buffered + parts[at].iov_len <= m->capacity; ++at) {
    model_copy(m, &parts[at]);
    taken += (int64_t)parts[at].iov_len;
  }
  return taken;
}

static void test_vectored__random_lists_equal_the_model_on_a_plain_sink(void **state) {
  static const size_t capacities[] = {1, 2, 5, 10, 33};
  static model m;
  test_rig *rig = *state;
  rig->has = 0;
  for (size_t i = 0; i < sizeof capacities / sizeof *capacities; ++i) {
    uint64_t answers_seed = 77 + i, seed = 4711 + i;
    memset(&m, 0, sizeof m);
    m.capacity = capacities[i];
    m.seed = answers_seed;
    test_sink_destroy(&rig->sink);
    test_sink_init(&rig->sink);
    for (int k = 0; k < 20000; ++k) {
      int64_t answer = (int64_t)next_answer(&answers_seed);
      test_sink_script(&rig->sink, TEST_SINK_WRITE, &answer, 1);
    }
    fixture_open(rig, capacities[i]);
    for (int round = 0; round < ROUNDS && rig->sink.script_next[TEST_SINK_WRITE] < 19000; ++round) {
      char data[PARTS_MAX][PART_MAX];
      struct iovec parts[PARTS_MAX];
      int count = (int)(test_random(&seed) % (PARTS_MAX + 1));
      for (int p = 0; p < count; ++p) {
        for (int b = 0; b < PART_MAX; ++b) data[p][b] = (char)test_random(&seed);
        parts[p] = (struct iovec){data[p], test_random(&seed) % PART_MAX};
      }
      int64_t expected = model_writev_plain(&m, parts, count);
      assert_int_equal(bw_poll_writev(rig->bw, parts, count, NULL), expected);
      assert_int_equal(bw_buffered(rig->bw), m.buffered);
      assert_int_equal(bw_position(rig->bw, BW_WRITTEN), m.written);
      assert_int_equal(bw_tell(rig->bw), m.written + m.buffered);
    }
    memcpy(m.stream + m.written, m.buffer, m.buffered);
    assert_int_equal(bw_close(rig->bw), 0);
    assert_true(test_sink_holds(&rig->sink, m.stream, m.written + m.buffered));
    test_rig_free_writer(rig);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      INLINE_TEST(test_vectored__no_parts_are_0_on_a_plain_sink),
      INLINE_TEST(test_vectored__empty_parts_are_0_on_a_plain_sink),
      INLINE_TEST(test_vectored__parts_that_fit_together_are_gathered_on_a_plain_sink),
      INLINE_TEST(test_vectored__whole_parts_are_taken_while_they_fit_on_a_plain_sink),
      INLINE_TEST(test_vectored__a_part_is_never_cut_to_fill_the_buffer_on_a_plain_sink),
      INLINE_TEST(test_vectored__later_large_parts_wait_their_turn_on_a_plain_sink),
      INLINE_TEST(test_vectored__leading_empty_parts_are_skipped_on_a_plain_sink),
      INLINE_TEST(test_vectored__empty_parts_between_change_nothing_on_a_plain_sink),
      INLINE_TEST(test_vectored__one_large_part_goes_straight_and_may_be_short_on_a_plain_sink),
      INLINE_TEST(test_vectored__a_first_part_that_does_not_fit_flushes_first_on_a_plain_sink),
      INLINE_TEST(test_vectored__a_failed_flush_takes_no_part_on_a_plain_sink),
      INLINE_TEST(test_vectored__odd_parts_arrive_whole_on_a_plain_sink),
      INLINE_TEST(test_vectored__a_large_part_among_small_ones_arrives_whole_on_a_plain_sink),
      INLINE_TEST(test_vectored__no_parts_are_0_on_a_vectored_sink),
      INLINE_TEST(test_vectored__less_than_capacity_in_total_is_gathered_on_a_vectored_sink),
      INLINE_TEST(test_vectored__capacity_in_total_goes_straight_as_one_list_on_a_vectored_sink),
      INLINE_TEST(test_vectored__more_than_capacity_goes_straight_as_one_list_on_a_vectored_sink),
      INLINE_TEST(test_vectored__a_poll_hands_the_answer_of_the_list_through_on_a_vectored_sink),
      INLINE_TEST(test_vectored__what_does_not_fit_the_rest_flushes_first_on_a_vectored_sink),
      INLINE_TEST(test_vectored__buffered_bytes_go_before_a_straight_list_on_a_vectored_sink),
      INLINE_TEST(test_vectored__an_exact_fit_behind_buffered_bytes_is_copied_on_a_vectored_sink),
      INLINE_TEST(test_vectored__odd_parts_arrive_whole_on_a_vectored_sink),
      INLINE_TEST(test_vectored__a_large_part_arrives_whole_on_a_vectored_sink),
      INLINE_TEST(test_vectored__writev_takes_all_parts_on_a_plain_sink),
      INLINE_TEST(test_vectored__writev_takes_all_parts_on_a_vectored_sink),
      INLINE_TEST(test_vectored__writev_goes_on_after_short_answers_on_a_vectored_sink),
      INLINE_TEST(test_vectored__writev_goes_on_after_short_answers_on_a_plain_sink),
      INLINE_TEST(test_vectored__writev_that_does_not_fit_the_rest_is_not_torn_on_a_plain_sink),
      INLINE_TEST(test_vectored__writev_that_does_not_fit_the_rest_is_not_torn_on_a_vectored_sink),
      INLINE_TEST(test_vectored__writev_that_fits_calls_no_sink),
      INLINE_TEST(test_vectored__writev_stopped_part_way_gives_a_short_count),
      INLINE_TEST(test_vectored__writev_that_moves_nothing_is_EWRITEZERO),
      INLINE_TEST(test_vectored__more_parts_than_the_kernel_takes_at_once_are_fine_on_a_plain_sink),
      INLINE_TEST(test_vectored__more_parts_than_the_kernel_takes_at_once_are_fine_on_a_vectored_sink),
      INLINE_TEST(test_vectored__random_lists_equal_the_model_on_a_plain_sink),
  };
  return cmocka_run_group_tests_name("vectored", tests, NULL, NULL);
}
