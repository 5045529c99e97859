/*
 * After fork() the writer belongs to the parent alone: in the child every call says so and changes nothing.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/rig.h"

/* Thread sanitizer cannot follow threads that a child makes. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

static const uint32_t kInline = 0, kInlineUnshared = BW_UNSHARED, kBackground = BW_BACKGROUND,
                      kBackgroundUnshared = BW_BACKGROUND | BW_UNSHARED;
#define FLAGS(state) (*(const uint32_t *)*(state))
#define MODE_RIG(state) RIG(RIG_PLAIN, .capacity = 64, .flags = FLAGS(state))

static void ignore_done(void *arg, int code) {
  (void)arg;
  (void)code;
}
static void ignore_wake(void *arg) { (void)arg; }

/* Every call that returns a code; the number of the first one that does not give -ECHILD. */
static int codes_in_child(void *arg) {
  bw_t *bw = arg;
  char text[4] = "abc";
  const struct iovec part = {text, 3};
  const bw_waker_t wake = {ignore_wake, text};
  const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
  bw_span_t span = {text, 3, 0, NULL};
  bw_stats_t stats = {.size = sizeof stats};
  const int64_t codes[] = {
      bw_write(bw, text, 3), bw_writev(bw, &part, 1), bw_append(bw, text, 3), bw_appendv(bw, &part, 1),
      bw_reserve(bw, 3, &span), bw_commit(bw, &span, 3), bw_flush(bw), bw_sync(bw), bw_seek(bw, 0, SEEK_SET),
      bw_tell(bw), /* 10 */
      bw_read(bw, text, 3), bw_poll_write(bw, text, 3, &wake), bw_poll_writev(bw, &part, 1, &wake),
      bw_poll_append(bw, text, 3, &wake), bw_poll_appendv(bw, &part, 1, &wake), bw_poll_flush(bw, &wake),
      bw_poll_sync(bw, &wake), bw_poll_read(bw, text, 3, &wake), bw_start_seek(bw, 0, SEEK_SET),
      bw_poll_seek(bw, &wake), /* 20 */
      bw_poll_close(bw, &wake), bw_unwake(bw, &wake), bw_wake(bw), bw_position(bw, BW_ACCEPTED),
      bw_wait(bw, 1, BW_WRITTEN, -1), bw_notify(bw, 1, BW_WRITTEN, ignore_done, NULL), bw_error(bw), bw_resume(bw),
      bw_set_sink(bw, &ops, text), bw_unwritten(bw, NULL, NULL), /* 30 */
      bw_discard(bw), bw_get_stats(bw, &stats), bw_stats_json(bw, text, sizeof text), bw_close(bw)};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; ++i)
    if (codes[i] != -ECHILD) return (int)i + 1;
  return 0;
}

static int lane_in_child(void *arg) {
  bw_t *lane = NULL;
  return bw_lane(&lane, arg, NULL) == -ECHILD && lane == NULL ? 0 : 1;
}

static int getters_in_child(void *arg) {
  bw_t *bw = arg;
  size_t length = 5;
  if (bw_buffer(bw, &length) != NULL || length != 0) return 1;
  if (bw_buffered(bw) != 0) return 2;
  if (bw_capacity(bw) != 0) return 3;
  if (bw_context(bw) != NULL) return 4;
  return 0;
}

/* Frees the writer in the child; the sink must not be called, nothing told. */
static int free_in_child(void *arg) {
  test_rig *rig = arg;
  const size_t calls = rig->sink.call_count, events = rig->events.count;
  bw_free(rig->bw);
  if (rig->sink.call_count != calls) return 1;
  if (rig->events.count != events) return 2;
  return 0;
}

/* The parent goes on: what was accepted before and after the fork arrives, once. */
static void go_on(test_rig *rig, const char *before) {
  char expected[64];
  const int length = snprintf(expected, sizeof expected, "%sxyz", before);
  assert_int_equal(bw_write(rig->bw, "xyz", 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, expected, (size_t)length));
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_close(rig->bw), 0);
}

static void test_fork__every_call_that_returns_a_code_says_so(void **state) {
  test_rig *rig = MODE_RIG(state);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(test_in_child(codes_in_child, rig->bw), 0);
  go_on(rig, "abc");
  test_rig_free(rig);
}

static void test_fork__the_others_give_nothing(void **state) {
  test_rig *rig = MODE_RIG(state);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(test_in_child(getters_in_child, rig->bw), 0);
  go_on(rig, "abc");
  test_rig_free(rig);
}

static void test_fork__free_only_releases_memory(void **state) {
  test_rig *rig = MODE_RIG(state);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(test_in_child(free_in_child, rig), 0);
  go_on(rig, "abc");
  test_rig_free(rig);
}

static void test_fork__free_calls_no_waker_and_answers_no_note(void **state) {
  test_rig *rig = MODE_RIG(state);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 1));
  assert_int_equal(test_in_child(free_in_child, rig), 0);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, INT64_MIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_true(test_waker_await(&waker, 1));
  go_on(rig, "abc");
  test_rig_free(rig);
}

static void test_fork__a_child_in_the_middle_of_a_wait_is_not_stuck(void **state) {
  test_rig *rig = MODE_RIG(state);
  test_call call = {.bw = rig->bw};
  test_thread flushing;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3);
  test_rig_gate(rig, TEST_SINK_HAS(TEST_SINK_WRITE));
  test_thread_start(&flushing, test_call_flush, &call);
  assert_true(test_gate_await(&rig->gate, 1));
  assert_false(test_thread_settle(&flushing));
  assert_int_equal(test_in_child(codes_in_child, rig->bw), 0); /* though another thread held the pen at the fork */
  assert_int_equal(test_in_child(free_in_child, rig), 0);
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&flushing), 0);
  go_on(rig, "abc");
  test_rig_free(rig);
}

static int fork_again(void *arg) { return test_in_child(codes_in_child, arg); }

static void test_fork__a_child_of_a_child_is_a_child(void **state) {
  test_rig *rig = MODE_RIG(state);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(test_in_child(fork_again, rig->bw), 0);
  go_on(rig, "abc");
  test_rig_free(rig);
}

static int make_a_new_one(void *arg) {
  test_sink *sink = arg;
  const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
  const bw_options_t options = {.size = sizeof options, .flags = BW_BACKGROUND};
  bw_t *bw = NULL;
  if (bw_new(&bw, &ops, sink, &options) != 0) return 1;
  if (bw_write(bw, "abc", 3) != 3) return 2;
  if (bw_flush(bw) != 0) return 3;
  if (!test_sink_holds(sink, "abc", 3)) return 4;
  if (bw_close(bw) != 0) return 5;
  bw_free(bw);
  return 0;
}

static void test_fork__a_child_may_make_writers_of_its_own(void **state) {
  if (UNDER_TSAN) skip();
  test_rig *rig = MODE_RIG(state);
  test_sink sink;
  test_sink_init(&sink);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(test_in_child(make_a_new_one, &sink), 0);
  go_on(rig, "abc");
  test_sink_destroy(&sink);
  test_rig_free(rig);
}

/* ---- Lanes ----------------------------------------------------------------------------------- */

struct pair {
  bw_t *lane, *parent;
  test_rig *rig;
};

static int free_lane_and_parent(void *arg) {
  struct pair *pair = arg;
  const size_t calls = pair->rig->sink.call_count;
  bw_free(pair->lane);
  bw_free(pair->parent);
  return pair->rig->sink.call_count == calls ? 0 : 1;
}

static int free_parent_and_lane(void *arg) {
  struct pair *pair = arg;
  const size_t calls = pair->rig->sink.call_count;
  bw_free(pair->parent);
  bw_free(pair->lane);
  return pair->rig->sink.call_count == calls ? 0 : 1;
}

static void test_fork__lanes_know_it_too(void **state) {
  test_rig *rig = MODE_RIG(state);
  bw_t *lane = NULL;
  assert_int_equal(bw_lane(&lane, rig->bw, NULL), 0);
  struct pair pair = {lane, rig->bw, rig};
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  assert_int_equal(test_in_child(lane_in_child, rig->bw), 0);
  assert_int_equal(test_in_child(codes_in_child, lane), 0);
  assert_int_equal(test_in_child(getters_in_child, lane), 0);
  assert_int_equal(test_in_child(free_lane_and_parent, &pair), 0);
  assert_int_equal(test_in_child(free_parent_and_lane, &pair), 0);
  assert_int_equal(bw_close(lane), 0);
  bw_free(lane);
  go_on(rig, "abc");
  test_rig_free(rig);
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

static int free_a_descriptor_writer(void *arg) {
  bw_free(arg);
  return 0;
}

static void test_fork__a_child_writes_nothing_to_the_descriptor(void **state) {
  int ends[2];
  char text[16];
  const bw_options_t options = {.size = sizeof options, .flags = FLAGS(state)};
  bw_t *bw = NULL;
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(bw_fdopen(&bw, ends[1], &options), 0);
  assert_int_equal(bw_write(bw, "abc", 3), 3);
  assert_int_equal(test_in_child(codes_in_child, bw), 0);
  assert_int_equal(test_in_child(free_a_descriptor_writer, bw), 0);
  assert_int_equal(bw_write(bw, "def", 3), 3);
  assert_int_equal(bw_flush(bw), 0);
  bw_free(bw);
  close(ends[1]);
  assert_int_equal(read(ends[0], text, sizeof text), 6);
  assert_memory_equal(text, "abcdef", 6);
  close(ends[0]);
}

#define IN(mode, test) {#test " (" #mode ")", test, NULL, NULL, (void *)&k##mode}
#define IN_SHARED(test) IN(Inline, test), IN(Background, test)
#define IN_ALL(test) IN_SHARED(test), IN(InlineUnshared, test), IN(BackgroundUnshared, test)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_ALL(test_fork__every_call_that_returns_a_code_says_so),
      IN_ALL(test_fork__the_others_give_nothing),
      IN_ALL(test_fork__free_only_releases_memory),
      IN_ALL(test_fork__free_calls_no_waker_and_answers_no_note),
      IN_SHARED(test_fork__a_child_in_the_middle_of_a_wait_is_not_stuck),
      IN_ALL(test_fork__a_child_of_a_child_is_a_child),
      IN_ALL(test_fork__a_child_may_make_writers_of_its_own),
      IN_SHARED(test_fork__lanes_know_it_too),
      IN_ALL(test_fork__a_child_writes_nothing_to_the_descriptor),
  };
  return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
