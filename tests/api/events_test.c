/*
 * on_event: what is told, in what order, and that the writer may be called in it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/rig.h"

enum { kCapacity = 16 };

static const uint32_t kInline = 0, kInlineUnshared = BW_UNSHARED, kBackground = BW_BACKGROUND,
                      kBackgroundUnshared = BW_BACKGROUND | BW_UNSHARED;
#define FLAGS(state) (*(const uint32_t *)*(state))
#define MODE_RIG(state) RIG(RIG_PLAIN, .capacity = kCapacity, .flags = FLAGS(state))

static bool is_background(void **state) { return FLAGS(state) & BW_BACKGROUND; }

/* Where the writer calls us from threads of its own, an event may come a little after what it tells of. */
static void await_written(test_rig *rig, int64_t from, int64_t to) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  while (!test_events_cover(&rig->events, BW_EVENT_WRITTEN, from, to) && test_now_us() < end) test_pause();
  assert_true(test_events_cover(&rig->events, BW_EVENT_WRITTEN, from, to));
}

static void test_events__each_has_its_size_and_kind(void **state) {
  test_rig *rig = MODE_RIG(state);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_sync(rig->bw), 0);
  await_written(rig, 0, 3);
  assert_true(test_events_await(&rig->events, BW_EVENT_DURABLE, 1));
  test_rig_free_writer(rig);
  for (size_t i = 0; i < rig->events.count; ++i) {
    assert_int_equal(rig->events.list[i].size, sizeof(bw_event_t));
    assert_true(rig->events.list[i].kind >= BW_EVENT_PRESSURE_ON && rig->events.list[i].kind <= BW_EVENT_LOST);
    assert_int_equal(rig->events.list[i].has_data, rig->events.list[i].kind == BW_EVENT_LOST);
  }
  test_rig_free(rig);
}

static void test_events__written_tells_every_byte_once_and_in_order(void **state) {
  test_rig *rig = MODE_RIG(state);
  char data[1000];
  test_pattern(data, sizeof data, 1);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3, 1, -EINTR, 20, 2);
  for (size_t at = 0; at < sizeof data; at += 10) {
    size_t done = 0;
    while (done < 10) {
      const int64_t taken = bw_write(rig->bw, data + at + done, 10 - done);
      assert_true(taken > 0);
      done += (size_t)taken;
    }
  }
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, data, 100), 100);
  assert_int_equal(bw_flush(rig->bw), 0);
  await_written(rig, 0, 1100);
  test_rig_free(rig);
}

static void test_events__written_never_tells_of_bytes_the_sink_does_not_have(void **state) {
  test_rig *rig = MODE_RIG(state);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -EIO);
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(bw_flush(rig->bw), -EIO);
  assert_int_equal(bw_resume(rig->bw), 0);
  await_written(rig, 0, bw_position(rig->bw, BW_WRITTEN));
  assert_int_equal(bw_flush(rig->bw), 0);
  await_written(rig, 0, 5);
  test_rig_free(rig);
}

static void test_events__written_goes_on_where_a_seek_went(void **state) {
  test_rig *rig = MODE_RIG(state);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_seek(rig->bw, 100, SEEK_SET), 100);
  assert_int_equal(bw_write(rig->bw, "de", 2), 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_events_await(&rig->events, BW_EVENT_WRITTEN, 2));
  const test_event first = test_events_get(&rig->events, BW_EVENT_WRITTEN, 0),
                   second = test_events_get(&rig->events, BW_EVENT_WRITTEN, 1);
  assert_int_equal(first.position, 0);
  assert_int_equal(first.length, 3);
  assert_int_equal(second.position, 100);
  assert_int_equal(second.length, 2);
  test_rig_free(rig);
}

static void test_events__durable_tells_how_far(void **state) {
  test_rig *rig = MODE_RIG(state);
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_DURABLE), 0);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, "fgh", 3), 3);
  assert_int_equal(bw_wait(rig->bw, 8, BW_DURABLE, -1), 0);
  assert_true(test_events_await(&rig->events, BW_EVENT_DURABLE, 2));
  assert_int_equal(test_events_get(&rig->events, BW_EVENT_DURABLE, 0).position, 5);
  assert_int_equal(test_events_get(&rig->events, BW_EVENT_DURABLE, 1).position, 8);
  test_rig_free(rig);
}

static void test_events__a_failed_write_is_told_with_its_code(void **state) {
  test_rig *rig = MODE_RIG(state);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -ENOSPC);
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(bw_flush(rig->bw), -ENOSPC);
  assert_true(test_events_await(&rig->events, BW_EVENT_ERROR, 1));
  assert_int_equal(test_events_get(&rig->events, BW_EVENT_ERROR, 0).code, -ENOSPC);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_ERROR), 1);
  test_rig_free(rig);
}

static void test_events__a_failed_sync_is_told_with_its_code(void **state) {
  test_rig *rig = MODE_RIG(state);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, -EIO);
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(bw_sync(rig->bw), -EIO);
  assert_true(test_events_await(&rig->events, BW_EVENT_ERROR, 1));
  assert_int_equal(test_events_get(&rig->events, BW_EVENT_ERROR, 0).code, -EIO);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_DURABLE), 0);
  test_rig_free(rig);
}

static void test_events__not_ready_is_no_error(void **state) {
  test_rig *rig = MODE_RIG(state);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(bw_poll_flush(rig->bw, NULL), -EAGAIN);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 1));
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_ERROR), 0);
  test_rig_free(rig);
}

static void test_events__an_error_behind_a_short_count_is_told_before_it_is_returned(void **state) {
  test_rig *rig = MODE_RIG(state);
  char data[200];
  test_pattern(data, sizeof data, 2);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 5, -EIO);
  const int64_t taken = bw_write(rig->bw, data, sizeof data);
  assert_true(taken > 0 && taken < (int64_t)sizeof data);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_ERROR), 1);
  assert_int_equal(test_events_get(&rig->events, BW_EVENT_ERROR, 0).code, -EIO);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, data + taken, sizeof data - (size_t)taken), (int64_t)sizeof data - taken);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  test_rig_free(rig);
}

static void test_events__lost_gives_the_bytes_that_free_could_not_write(void **state) {
  test_rig *rig = MODE_RIG(state);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -ENOSPC);
  assert_int_equal(bw_write(rig->bw, "abcdefg", 7), 7);
  assert_int_equal(bw_flush(rig->bw), -ENOSPC);
  test_rig_free_writer(rig);
  assert_true(test_events_lost(&rig->events, "cdefg", 5));
  assert_true(test_events_cover(&rig->events, BW_EVENT_LOST, 2, 7));
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  test_rig_free(rig);
}

static void test_events__lost_gives_what_an_append_kept_in_memory(void **state) {
  test_rig *rig = MODE_RIG(state);
  char data[100];
  test_pattern(data, sizeof data, 3);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 5);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -ENOSPC);
  assert_int_equal(bw_append(rig->bw, data, sizeof data), 0);
  assert_int_equal(bw_tell(rig->bw), sizeof data);
  test_rig_free_writer(rig);
  assert_true(test_events_lost(&rig->events, data + 5, sizeof data - 5));
  assert_true(test_events_cover(&rig->events, BW_EVENT_LOST, 5, sizeof data));
  test_rig_free(rig);
}

static void test_events__nothing_is_lost_after_discard_or_success(void **state) {
  test_rig *rig = MODE_RIG(state);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_discard(rig->bw), 3);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, INT64_MIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, "def", 3), 3);
  test_rig_free_writer(rig);
  assert_true(test_sink_holds(&rig->sink, "def", 3));
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_LOST), 0);
  test_rig_free(rig);
}

static void test_events__inline_writers_know_no_pressure(void **state) {
  test_rig *rig = MODE_RIG(state);
  char data[1000];
  test_pattern(data, sizeof data, 4);
  for (size_t at = 0; at < sizeof data; at += 10) assert_int_equal(bw_write(rig->bw, data + at, 10), 10);
  assert_int_equal(bw_flush(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_PRESSURE_ON), 0);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_PRESSURE_OFF), 0);
  test_rig_free(rig);
}

static void test_events__a_writer_needs_no_on_event(void **state) {
  test_sink sink;
  const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
  const bw_options_t options = {.size = sizeof options, .flags = FLAGS(state), .capacity = kCapacity};
  bw_t *bw = NULL;
  test_sink_init(&sink);
  test_sink_always(&sink, TEST_SINK_WRITE, -EIO);
  assert_int_equal(bw_new(&bw, &ops, &sink, &options), 0);
  assert_int_equal(bw_write(bw, "abc", 3), 3);
  assert_int_equal(bw_flush(bw), -EIO);
  bw_free(bw);
  test_sink_destroy(&sink);
}

/* ---- Calls inside on_event ------------------------------------------------------------------- */

struct calling {
  test_rig *rig;
  uint32_t kind;
  atomic_int begun, done;
  int64_t position, small, large, flush, sync, wait;
};

static const char kText[200] = "more than all buffers can hold";

/* On the first event of the kind: calls that would wait anywhere else. */
static void call_the_writer(void *arg, const bw_event_t *event) {
  struct calling *calling = arg;
  bw_t *bw = calling->rig->bw;
  if (event->kind != calling->kind || atomic_fetch_add(&calling->begun, 1) > 0) return;
  calling->position = bw_position(bw, BW_WRITTEN);
  calling->small = bw_write(bw, "x", 1);
  calling->flush = bw_flush(bw);
  calling->sync = bw_sync(bw);
  calling->wait = bw_wait(bw, 100000, BW_WRITTEN, -1);
  calling->large = bw_write(bw, kText, sizeof kText);
  atomic_store(&calling->done, 1);
}

static bool is_done_or_would_wait(int64_t code) { return code >= 0 || code == -EAGAIN; }

static void call_in(void **state, uint32_t kind) {
  test_rig *rig = MODE_RIG(state);
  struct calling calling = {.rig = rig, .kind = kind};
  rig->events.hook_arg = &calling;
  rig->events.hook = call_the_writer;
  if (kind == BW_EVENT_ERROR) TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  const int flushed = bw_flush(rig->bw);
  if (kind == BW_EVENT_ERROR) assert_true(flushed == -EIO || flushed == 0);
  else assert_int_equal(flushed, 0);
  if (kind == BW_EVENT_DURABLE) assert_int_equal(bw_sync(rig->bw), 0);
  assert_true(test_await_at_least(&calling.done, 1));
  int64_t accepted = 3;
  if (kind == BW_EVENT_ERROR && is_background(state)) {
    assert_int_equal(calling.wait, -EIO);
    assert_int_equal(calling.small, -EIO);
    assert_int_equal(calling.flush, -EIO);
    assert_int_equal(calling.large, -EIO);
    assert_int_equal(bw_resume(rig->bw), 0);
  } else {
    assert_int_equal(calling.wait, -EAGAIN);
    assert_true(is_done_or_would_wait(calling.small));
    assert_true(is_done_or_would_wait(calling.flush));
    assert_true(is_done_or_would_wait(calling.sync));
    assert_true(is_done_or_would_wait(calling.large));
    if (calling.small > 0) accepted += calling.small;
    if (calling.large > 0) accepted += calling.large;
  }
  assert_int_equal(bw_tell(rig->bw), accepted);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(rig->sink.length, accepted);
  test_rig_free(rig);
}

static void test_events__in_written_the_writer_may_be_called(void **state) { call_in(state, BW_EVENT_WRITTEN); }

static void test_events__in_durable_the_writer_may_be_called(void **state) { call_in(state, BW_EVENT_DURABLE); }

static void test_events__in_error_the_writer_may_be_called(void **state) { call_in(state, BW_EVENT_ERROR); }

static void ask_only(void *arg, const bw_event_t *event) {
  struct calling *calling = arg;
  bw_t *bw = calling->rig->bw;
  bw_stats_t stats = {.size = sizeof stats};
  if (event->kind != BW_EVENT_WRITTEN || atomic_fetch_add(&calling->begun, 1) > 0) return;
  calling->position = bw_position(bw, BW_WRITTEN);
  calling->small = bw_error(bw);
  calling->large = (int64_t)bw_buffered(bw);
  calling->flush = bw_wake(bw);
  calling->sync = bw_get_stats(bw, &stats);
  atomic_store(&calling->done, 1);
}

static void test_events__in_them_any_writer_may_be_asked(void **state) {
  test_rig *rig = MODE_RIG(state);
  struct calling calling = {.rig = rig};
  rig->events.hook_arg = &calling;
  rig->events.hook = ask_only;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_await_at_least(&calling.done, 1));
  assert_int_equal(calling.position, 3);
  assert_int_equal(calling.small, 0);
  assert_int_equal(calling.large, 0);
  assert_int_equal(calling.flush, 0);
  assert_int_equal(calling.sync, 0);
  test_rig_free(rig);
}

/* An event that stays where it is must not keep other threads from writing. */
static void pass_the_gate(void *arg, const bw_event_t *event) {
  struct calling *calling = arg;
  if (event->kind == BW_EVENT_WRITTEN && atomic_fetch_add(&calling->begun, 1) == 0) test_gate_pass(&calling->rig->gate);
}

static void test_events__no_lock_is_held_while_one_runs(void **state) {
  test_rig *rig = MODE_RIG(state);
  struct calling calling = {.rig = rig};
  test_call flush = {.bw = rig->bw}, write = {.bw = rig->bw, .data = "def", .length = 3};
  test_thread flushing, writing, asking;
  test_gate_init(&rig->gate, 0);
  rig->events.hook_arg = &calling;
  rig->events.hook = pass_the_gate;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  test_thread_start(&flushing, test_call_flush, &flush);
  assert_true(test_gate_await(&rig->gate, 1));
  test_thread_start(&writing, test_call_write, &write);
  assert_int_equal(test_thread_join(&writing), 3); /* while the event runs */
  test_thread_start(&asking, test_call_flush, &flush);
  (void)test_thread_settle(&asking);
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_int_equal(test_thread_join(&asking), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, "abcdef", 6));
  test_gate_destroy(&rig->gate);
  test_rig_free(rig);
}

#define IN(mode, test) {#test " (" #mode ")", test, NULL, NULL, (void *)&k##mode}
#define IN_SHARED(test) IN(Inline, test), IN(Background, test)
#define IN_ALL(test) IN_SHARED(test), IN(InlineUnshared, test), IN(BackgroundUnshared, test)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_ALL(test_events__each_has_its_size_and_kind),
      IN_ALL(test_events__written_tells_every_byte_once_and_in_order),
      IN_ALL(test_events__written_never_tells_of_bytes_the_sink_does_not_have),
      IN_ALL(test_events__written_goes_on_where_a_seek_went),
      IN_ALL(test_events__durable_tells_how_far),
      IN_ALL(test_events__a_failed_write_is_told_with_its_code),
      IN_ALL(test_events__a_failed_sync_is_told_with_its_code),
      IN_ALL(test_events__not_ready_is_no_error),
      IN_ALL(test_events__an_error_behind_a_short_count_is_told_before_it_is_returned),
      IN_ALL(test_events__lost_gives_the_bytes_that_free_could_not_write),
      IN_ALL(test_events__lost_gives_what_an_append_kept_in_memory),
      IN_ALL(test_events__nothing_is_lost_after_discard_or_success),
      IN(Inline, test_events__inline_writers_know_no_pressure),
      IN(InlineUnshared, test_events__inline_writers_know_no_pressure),
      IN_ALL(test_events__a_writer_needs_no_on_event),
      IN_SHARED(test_events__in_written_the_writer_may_be_called),
      IN(InlineUnshared, test_events__in_written_the_writer_may_be_called),
      IN_SHARED(test_events__in_durable_the_writer_may_be_called),
      IN(InlineUnshared, test_events__in_durable_the_writer_may_be_called),
      IN_SHARED(test_events__in_error_the_writer_may_be_called),
      IN(InlineUnshared, test_events__in_error_the_writer_may_be_called),
      IN_ALL(test_events__in_them_any_writer_may_be_asked),
      IN_SHARED(test_events__no_lock_is_held_while_one_runs),
  };
  return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
