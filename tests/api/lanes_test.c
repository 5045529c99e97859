/*
 * Lanes: private buffers in front of a shared writer. Most tests run twice: over an inline and a background parent.
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

#include "../support/records.h"
#include "../support/rig.h"

enum { kCapacity = 64 };

static const uint32_t kInline = 0, kBackground = BW_BACKGROUND;
#define FLAGS(state) (*(const uint32_t *)*(state))
#define PARENT(state) RIG(RIG_PLAIN, .capacity = kCapacity, .flags = FLAGS(state))

static bw_t *new_lane(bw_t *parent, uint64_t capacity) {
  const bw_options_t options = {.size = sizeof options, .capacity = capacity};
  bw_t *lane = NULL;
  assert_int_equal(bw_lane(&lane, parent, &options), 0);
  assert_non_null(lane);
  return lane;
}

/* ---- Making one ------------------------------------------------------------------------------ */

static void test_lanes__the_default_capacity_is_the_parents(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = NULL;
  assert_int_equal(bw_lane(&lane, rig->bw, NULL), 0);
  assert_int_equal(bw_capacity(lane), kCapacity);
  bw_free(lane);
  lane = new_lane(rig->bw, 10);
  assert_int_equal(bw_capacity(lane), 10);
  bw_free(lane);
  test_rig_free(rig);
}

static int make(bw_t *parent, const bw_options_t *options) {
  bw_t *lane = (bw_t *)&lane;
  const int code = bw_lane(&lane, parent, options);
  assert_null(lane);
  return code;
}

static void test_lanes__what_cannot_be_is_refused(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  const bw_options_t lingering = {.size = sizeof lingering, .linger_us = 1};
  const bw_options_t sizeless = {.size = 0};
  const bw_options_t strange = {.size = sizeof strange, .flags = 1u << 31};
  assert_int_equal(make(NULL, NULL), -EINVAL);
  assert_int_equal(make(lane, NULL), -EINVAL);
  assert_int_equal(make(rig->bw, &lingering), -EINVAL);
  assert_int_equal(make(rig->bw, &sizeless), -EINVAL);
  assert_int_equal(make(rig->bw, &strange), -EINVAL);
  assert_int_equal(bw_lane(NULL, rig->bw, NULL), -EINVAL);
  bw_free(lane);
  test_rig_free(rig);
}

static void test_lanes__an_unshared_writer_has_none(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = kCapacity, .flags = FLAGS(state) | BW_UNSHARED);
  assert_int_equal(make(rig->bw, NULL), -EINVAL);
  test_rig_free(rig);
}

static void test_lanes__a_lane_cannot_seek_or_change_its_sink(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  test_sink other;
  const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
  test_sink_init(&other);
  assert_int_equal(bw_seek(lane, 0, SEEK_SET), -ESPIPE);
  assert_int_equal(bw_seek(lane, 0, SEEK_CUR), -ESPIPE);
  assert_int_equal(bw_set_sink(lane, &ops, &other), -EINVAL);
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  assert_int_equal(bw_flush(lane), 0);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  bw_free(lane);
  test_sink_destroy(&other);
  test_rig_free(rig);
}

static void test_lanes__a_lane_is_an_unshared_writer(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  size_t length = 0;
  bw_span_t span;
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  assert_memory_equal(bw_buffer(lane, &length), "abc", 3);
  assert_int_equal(length, 3);
  assert_int_equal(bw_reserve(lane, 2, &span), 0);
  assert_int_equal(span.length, 5);
  memcpy(span.data, "de", 2);
  assert_int_equal(bw_commit(lane, &span, 2), 0);
  assert_int_equal(bw_flush(lane), 0);
  assert_true(test_sink_holds(&rig->sink, "abcde", 5));
  bw_free(lane);
  test_rig_free(rig);
}

/* ---- What goes through ----------------------------------------------------------------------- */

static void test_lanes__positions_are_the_lanes_own(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
  assert_int_equal(bw_tell(lane), 0);
  assert_int_equal(bw_append(lane, "abcd", 4), 0);
  assert_int_equal(bw_append(lane, "efgh", 4), 4);
  assert_int_equal(bw_append(lane, "i", 1), 8);
  assert_int_equal(bw_tell(lane), 9);
  assert_int_equal(bw_position(lane, BW_ACCEPTED), 9);
  assert_int_equal(bw_position(lane, BW_WRITTEN), 8); /* handed on, though no sink has it yet */
  assert_int_equal(bw_position(lane, BW_DURABLE), 0);
  assert_int_equal(bw_tell(rig->bw), 18);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 0);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), 0);
  bw_free(lane);
  test_rig_free(rig);
}

static void test_lanes__the_parents_flush_knows_nothing_of_bytes_in_lanes(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(rig->sink.length, 0);
  assert_int_equal(bw_buffered(lane), 3);
  assert_int_equal(bw_position(lane, BW_WRITTEN), 0);
  bw_free(lane);
  test_rig_free(rig);
}

static void test_lanes__flush_and_sync_go_through_to_the_sink(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  assert_int_equal(bw_flush(lane), 0);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  assert_true(test_sink_count(&rig->sink, TEST_SINK_FLUSH) >= 1);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 0);
  assert_int_equal(bw_write(lane, "def", 3), 3);
  assert_int_equal(bw_sync(lane), 0);
  assert_true(test_sink_holds(&rig->sink, "abcdef", 6));
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 1);
  assert_int_equal(bw_position(lane, BW_DURABLE), 6);
  bw_free(lane);
  test_rig_free(rig);
}

static void test_lanes__polls_go_through_too(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = kCapacity);
  bw_t *lane = new_lane(rig->bw, 8);
  assert_int_equal(bw_poll_write(lane, "abc", 3, NULL), 3);
  assert_int_equal(bw_poll_flush(lane, NULL), 0);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  assert_int_equal(bw_poll_append(lane, "def", 3, NULL), 3);
  assert_int_equal(bw_poll_sync(lane, NULL), 0);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 1);
  assert_int_equal(bw_position(lane, BW_DURABLE), 6);
  assert_int_equal(bw_poll_close(lane, NULL), 0);
  bw_free(lane);
  test_rig_free(rig);
}

static void test_lanes__durable_moves_only_by_the_lanes_own_doing(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8), *other = new_lane(rig->bw, 8);
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  assert_int_equal(bw_flush(lane), 0);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_write(other, "x", 1), 1);
  assert_int_equal(bw_sync(other), 0);
  assert_int_equal(bw_position(lane, BW_DURABLE), 0);
  assert_int_equal(bw_wait(lane, 3, BW_DURABLE, -1), 0);
  assert_int_equal(bw_position(lane, BW_DURABLE), 3);
  bw_free(other);
  bw_free(lane);
  test_rig_free(rig);
}

struct told {
  int calls, code;
};

static void on_done(void *arg, int code) {
  struct told *told = arg;
  ++told->calls;
  told->code = code;
}

static void test_lanes__a_note_for_durable_is_answered_by_the_owners_flush(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  struct told told = {0, 1};
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  assert_int_equal(bw_notify(lane, 3, BW_DURABLE, on_done, &told), 0);
  assert_int_equal(told.calls, 0);
  assert_int_equal(bw_flush(lane), 0);
  assert_int_equal(told.calls, 1);
  assert_int_equal(told.code, 0);
  assert_int_equal(bw_position(lane, BW_DURABLE), 3);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 1);
  bw_free(lane);
  test_rig_free(rig);
}

static void test_lanes__wait_for_written_hands_on(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  assert_int_equal(bw_wait(lane, 3, BW_WRITTEN, -1), 0);
  assert_int_equal(bw_position(lane, BW_WRITTEN), 3);
  assert_int_equal(bw_tell(rig->bw), 3);
  bw_free(lane);
  test_rig_free(rig);
}

/* ---- Closing --------------------------------------------------------------------------------- */

static void test_lanes__close_only_hands_on(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  assert_int_equal(bw_close(lane), 0);
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 0);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 0);
  assert_int_equal(bw_close(lane), 0);
  assert_int_equal(bw_write(lane, "d", 1), -ESHUTDOWN);
  bw_free(lane);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 0);
  test_rig_free(rig);
}

static void test_lanes__free_hands_on_too(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  bw_free(lane);
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  test_rig_free(rig);
}

static void test_lanes__a_parent_with_open_lanes_is_not_closed(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *first = new_lane(rig->bw, 8), *second = new_lane(rig->bw, 8);
  assert_int_equal(bw_close(rig->bw), -EBUSY);
  assert_int_equal(bw_poll_close(rig->bw, NULL), -EBUSY);
  assert_int_equal(bw_close(first), 0); /* closed is not open, freed or not */
  assert_int_equal(bw_close(rig->bw), -EBUSY);
  assert_int_equal(bw_write(second, "abc", 3), 3);
  bw_free(second);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  bw_free(first);
  test_rig_free_writer(rig);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  test_rig_free(rig);
}

static void test_lanes__a_parent_freed_first_goes_with_its_last_lane(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *first = new_lane(rig->bw, 8), *second = new_lane(rig->bw, 8);
  assert_int_equal(bw_write(rig->bw, "0", 1), 1);
  assert_int_equal(bw_write(first, "abc", 3), 3);
  test_rig_free_writer(rig);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 0);
  assert_int_equal(bw_flush(first), 0);
  assert_true(test_sink_holds(&rig->sink, "0abc", 4));
  assert_int_equal(bw_write(second, "def", 3), 3);
  bw_free(first);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 0);
  bw_free(second);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  assert_true(test_sink_holds(&rig->sink, "0abcdef", 7));
  test_rig_free(rig);
}

static void test_lanes__what_a_freed_parent_could_not_write_is_told_with_the_last_lane(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -ENOSPC);
  assert_int_equal(bw_write(rig->bw, "0123", 4), 4);
  test_rig_free_writer(rig);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_LOST), 0);
  bw_free(lane);
  assert_true(test_events_lost(&rig->events, "0123", 4));
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  test_rig_free(rig);
}

static void test_lanes__what_a_lane_could_not_hand_on_is_told_to_its_own_on_event(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .buffers = 2, .flags = BW_BACKGROUND);
  test_events events;
  const bw_options_t options = {
      .size = sizeof options, .capacity = 8, .on_event = test_events_record, .event_arg = &events};
  bw_t *lane = NULL;
  test_events_init(&events);
  assert_int_equal(bw_lane(&lane, rig->bw, &options), 0);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -ENOSPC);
  assert_int_equal(bw_write(rig->bw, "0", 1), 1);
  assert_int_equal(bw_flush(rig->bw), -ENOSPC);
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  bw_free(lane); /* the parent holds an error and takes nothing */
  assert_true(test_events_lost(&events, "abc", 3));
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, "0", 1));
  test_events_destroy(&events);
  test_rig_free(rig);
}

/* ---- Errors of the parent -------------------------------------------------------------------- */

static void test_lanes__an_error_of_an_inline_parent_comes_through_once(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = kCapacity);
  bw_t *lane = new_lane(rig->bw, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -ENOSPC);
  assert_int_equal(bw_write(lane, "abcdef", 6), 6);
  assert_int_equal(bw_flush(lane), -ENOSPC);
  assert_int_equal(bw_flush(lane), 0);
  assert_true(test_sink_holds(&rig->sink, "abcdef", 6));
  assert_int_equal(bw_tell(lane), 6);
  bw_free(lane);
  test_rig_free(rig);
}

static void test_lanes__an_error_that_a_background_parent_holds_comes_through(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = kCapacity, .flags = BW_BACKGROUND);
  bw_t *lane = new_lane(rig->bw, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -ENOSPC);
  assert_int_equal(bw_write(lane, "abcdef", 6), 6);
  assert_int_equal(bw_flush(lane), -ENOSPC);
  assert_int_equal(bw_write(lane, "ghij", 4), 4); /* fits the lane */
  assert_int_equal(bw_flush(lane), -ENOSPC);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_flush(lane), 0);
  assert_true(test_sink_holds(&rig->sink, "abcdefghij", 10));
  bw_free(lane);
  test_rig_free(rig);
}

/* The parent's sink broke, not the lane's: it is the parent that holds the error and can be repaired. */
static void test_lanes__ESINK_is_the_parents(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = RIG(RIG_PLAIN, .capacity = 64, .flags = mode ? BW_BACKGROUND : 0);
    bw_t *lane;
    assert_int_equal(bw_lane(&lane, rig->bw, NULL), 0);
    assert_int_equal(bw_write(lane, "abc", 3), 3);
    TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, BW_ESINK);
    assert_int_equal(bw_flush(lane), BW_ESINK);
    assert_int_equal(bw_error(rig->bw), BW_ESINK);
    assert_int_equal(bw_error(lane), 0);
    assert_int_equal(bw_discard(rig->bw), 3);
    assert_int_equal(bw_write(lane, "de", 2), 2);
    assert_int_equal(bw_sync(lane), 0);
    assert_true(test_sink_holds(&rig->sink, "de", 2));
    assert_int_equal(bw_close(lane), 0);
    bw_free(lane);
    test_rig_free(rig);
  }
}

static void test_lanes__a_failed_sync_comes_through(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, -EIO);
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  assert_int_equal(bw_sync(lane), -EIO);
  assert_int_equal(bw_sync(lane), -EIO);
  assert_int_equal(bw_position(lane, BW_DURABLE), 0);
  assert_int_equal(bw_error(rig->bw), -EIO);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 1);
  bw_free(lane);
  test_rig_free(rig);
}

static void test_lanes__random_failures_of_the_sink_lose_and_repeat_nothing(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 16, .flags = FLAGS(state));
  bw_t *lane = new_lane(rig->bw, 8);
  char data[3000];
  size_t accepted = 0;
  uint64_t random = 3;
  test_pattern(data, sizeof data, 1);
  for (int i = 0; i < 2000; ++i) {
    const uint64_t shape = test_random(&random) % 4;
    TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, shape == 0 ? -EIO : (int64_t)(test_random(&random) % 20) + 1);
  }
  while (accepted < sizeof data) {
    size_t length = (size_t)(test_random(&random) % 24) + 1;
    if (length > sizeof data - accepted) length = sizeof data - accepted;
    const int64_t taken = bw_write(lane, data + accepted, length);
    assert_true(taken == -EIO || (taken > 0 && taken <= (int64_t)length));
    if (taken > 0) accepted += (size_t)taken;
    if (taken < 0 || bw_error(rig->bw) != 0) (void)bw_resume(rig->bw);
    assert_int_equal(bw_tell(lane), accepted);
  }
  int code;
  while ((code = bw_flush(lane)) == -EIO) (void)bw_resume(rig->bw);
  assert_int_equal(code, 0);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  bw_free(lane);
  test_rig_free(rig);
}

/* ---- Never waiting --------------------------------------------------------------------------- */

/* A background parent of two buffers of 8 bytes, both full, its sink held. */
static test_rig *full_parent(uint32_t flags) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .buffers = 2, .flags = BW_BACKGROUND | flags);
  test_sink_hold(&rig->sink);
  assert_int_equal(bw_write(rig->bw, "0123456789ABCDEF", 16), 16);
  assert_true(test_sink_await_inside(&rig->sink));
  return rig;
}

static void lane_does_not_wait(uint32_t parent_flags, uint32_t lane_flags) {
  test_rig *rig = full_parent(parent_flags);
  const bw_options_t options = {.size = sizeof options, .capacity = 8, .flags = lane_flags};
  bw_t *lane = NULL;
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  assert_int_equal(bw_lane(&lane, rig->bw, &options), 0);
  assert_int_equal(bw_write(lane, "abcdefg", 7), 7);
  assert_int_equal(bw_write(lane, "hi", 2), -EAGAIN);
  assert_int_equal(bw_append(lane, "hi", 2), -EAGAIN);
  assert_int_equal(bw_write(lane, "0123456789", 10), -EAGAIN); /* would go past the lane's buffer */
  assert_int_equal(bw_flush(lane), -EAGAIN);
  assert_int_equal(bw_close(lane), -EAGAIN);
  assert_int_equal(bw_tell(lane), 7);
  assert_int_equal(bw_poll_write(lane, "hi", 2, &wake), -EAGAIN);
  assert_int_equal(atomic_load(&waker.calls), 0);
  test_sink_release(&rig->sink);
  assert_true(test_waker_await(&waker, 1));
  assert_int_equal(bw_wait(rig->bw, 16, BW_WRITTEN, -1), 0);
  assert_int_equal(bw_poll_write(lane, "hi", 2, NULL), 2);
  assert_int_equal(bw_wait(lane, 9, BW_WRITTEN, -1), 0);
  assert_int_equal(bw_wait(rig->bw, 25, BW_WRITTEN, -1), 0);
  assert_true(test_sink_holds(&rig->sink, "0123456789ABCDEFabcdefghi", 25));
  bw_free(lane);
  assert_int_equal(atomic_load(&waker.calls), 1);
  test_rig_free(rig);
}

static void test_lanes__a_lane_of_a_nonblock_parent_does_not_wait(void **state) {
  (void)state;
  lane_does_not_wait(BW_NONBLOCK, 0);
}

static void test_lanes__a_nonblock_lane_does_not_wait(void **state) {
  (void)state;
  lane_does_not_wait(0, BW_NONBLOCK);
}

static void test_lanes__polls_of_a_lane_do_not_wait_for_the_parent(void **state) {
  (void)state;
  test_rig *rig = full_parent(0);
  bw_t *lane = new_lane(rig->bw, 8);
  enum { kWakers = 4 };
  test_waker wakers[kWakers];
  bw_waker_t wake[kWakers];
  for (int i = 0; i < kWakers; ++i) {
    wakers[i] = (test_waker){0};
    wake[i] = test_waker_of(&wakers[i]);
  }
  assert_int_equal(bw_write(lane, "abcdefg", 7), 7);
  assert_int_equal(bw_poll_write(lane, "ijk", 3, &wake[0]), -EAGAIN);
  assert_int_equal(bw_poll_append(lane, "ijk", 3, &wake[1]), -EAGAIN);
  assert_int_equal(bw_poll_flush(lane, &wake[2]), -EAGAIN);
  assert_int_equal(bw_poll_close(lane, &wake[3]), -EAGAIN);
  assert_int_equal(bw_tell(lane), 7);
  test_sink_release(&rig->sink);
  for (int i = 0; i < kWakers; ++i) assert_true(test_waker_await(&wakers[i], 1));
  assert_int_equal(bw_flush(lane), 0);
  assert_int_equal(rig->sink.length, 16 + 7);
  bw_free(lane);
  for (int i = 0; i < kWakers; ++i) assert_int_equal(atomic_load(&wakers[i].calls), 1);
  test_rig_free(rig);
}

/* Where nobody may wait, and the parent could never hold it at once. */
static void test_lanes__a_poll_hands_on_in_pieces_what_the_parent_cannot_hold(void **state) {
  (void)state;
  enum { kBytes = 100 };
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .buffers = 2, .flags = BW_BACKGROUND);
  bw_t *lane = new_lane(rig->bw, 8);
  char data[3 * kBytes];
  test_pattern(data, sizeof data, 9);
  size_t at = 0;
  while (at < kBytes) {
    test_waker waker = {0};
    const bw_waker_t wake = test_waker_of(&waker);
    const int64_t taken = bw_poll_write(lane, data + at, kBytes - at, &wake);
    assert_true(taken > 0 || taken == -EAGAIN);
    if (taken == -EAGAIN)
      assert_true(test_waker_await(&waker, 1));
    else
      at += (size_t)taken;
  }
  assert_int_equal(bw_flush(lane), 0);
  assert_int_equal(bw_poll_append(lane, data + kBytes, kBytes, NULL), kBytes); /* the lane keeps the rest */
  const struct iovec parts[] = {{NULL, 0}, {data + 2 * kBytes, 1}, {data + 2 * kBytes + 1, kBytes - 1}};
  assert_int_equal(bw_writev(lane, parts, 3), kBytes);
  assert_int_equal(bw_flush(lane), 0);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  bw_free(lane);
  test_rig_free(rig);
}

static void test_lanes__a_waker_of_a_lane_is_taken_back(void **state) {
  (void)state;
  test_rig *rig = full_parent(0);
  bw_t *lane = new_lane(rig->bw, 8);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  assert_int_equal(bw_write(lane, "abc", 3), 3);
  assert_int_equal(bw_poll_flush(lane, &wake), -EAGAIN);
  assert_int_equal(bw_unwake(lane, &wake), 1);
  test_sink_release(&rig->sink);
  assert_int_equal(bw_flush(lane), 0);
  bw_free(lane);
  test_rig_free(rig);
  assert_int_equal(atomic_load(&waker.calls), 0);
}

static void test_lanes__a_blocking_lane_waits_for_room_in_the_parent(void **state) {
  (void)state;
  test_rig *rig = full_parent(0);
  bw_t *lane = new_lane(rig->bw, 8);
  test_call call = {.bw = lane, .data = "hi", .length = 2};
  test_thread waiting;
  assert_int_equal(bw_write(lane, "abcdefg", 7), 7);
  test_thread_start(&waiting, test_call_write, &call);
  assert_false(test_thread_settle(&waiting));
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&waiting), 2);
  assert_int_equal(bw_flush(lane), 0);
  assert_true(test_sink_holds(&rig->sink, "0123456789ABCDEFabcdefghi", 25));
  bw_free(lane);
  test_rig_free(rig);
}

static void test_lanes__a_lane_over_an_inline_sink_that_is_not_ready_does_not_wait(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  bw_t *lane = new_lane(rig->bw, 8);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_write(lane, "abcdefg", 7), 7);
  assert_int_equal(bw_flush(lane), -EAGAIN);
  assert_int_equal(bw_poll_flush(lane, &wake), -EAGAIN);
  assert_int_equal(bw_tell(lane), 7);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, INT64_MIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_true(test_waker_await(&waker, 1));
  assert_int_equal(bw_flush(lane), 0);
  assert_true(test_sink_holds(&rig->sink, "abcdefg", 7));
  bw_free(lane);
  test_rig_free(rig);
}

/* ---- Many lanes ------------------------------------------------------------------------------ */

enum { kLanes = 4 };

struct writing {
  bw_t *lane;
  const test_records *records;
  unsigned thread;
};

/* Writes one thread's records by write, writev, append and spans in turn; closes the lane. */
static int64_t write_records(void *arg) {
  const struct writing *writing = arg;
  char *record = malloc(writing->records->longest + 8);
  int64_t wrong = 0, position = 0;
  for (unsigned number = 0; number < writing->records->each && !wrong; ++number) {
    const size_t length = test_record_make(writing->records, writing->thread, number, record), half = length / 2;
    const struct iovec parts[2] = {{record, half}, {record + half, length - half}};
    int64_t taken = (int64_t)length;
    bw_span_t span;
    switch (number % 4) {
      case 0: taken = bw_write(writing->lane, record, length); break;
      case 1: taken = bw_writev(writing->lane, parts, 2); break;
      case 2:
        if (bw_append(writing->lane, record, length) != position) taken = -EPROTO;
        break;
      default:
        taken = bw_reserve(writing->lane, length, &span);
        if (taken == 0) {
          memcpy(span.data, record, length);
          taken = bw_commit(writing->lane, &span, length);
          if (taken == 0) taken = (int64_t)length;
        }
    }
    if (taken != (int64_t)length) wrong = taken < 0 ? taken : -ENODATA;
    position += (int64_t)length;
    if (number % 97 == 0 && bw_flush(writing->lane) != 0) wrong = -EPROTO;
  }
  free(record);
  const int closed = bw_close(writing->lane);
  return wrong ? wrong : closed;
}

static void run_lanes(test_rig *rig, uint64_t lane_capacity, unsigned each) {
  const test_records records = {.threads = kLanes, .each = each, .longest = (size_t)lane_capacity, .seed = lane_capacity};
  test_thread threads[kLanes];
  struct writing writing[kLanes];
  for (unsigned i = 0; i < kLanes; ++i) {
    writing[i] = (struct writing){new_lane(rig->bw, lane_capacity), &records, i};
    test_thread_start(&threads[i], write_records, &writing[i]);
  }
  for (unsigned i = 0; i < kLanes; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
  for (unsigned i = 0; i < kLanes; ++i) bw_free(writing[i].lane);
  assert_int_equal(bw_close(rig->bw), 0);
  size_t length;
  char *bytes = test_sink_bytes(&rig->sink, &length);
  assert_true(test_records_check(&records, bytes, length, NULL));
  free(bytes);
  assert_int_equal(rig->sink.most_inside, 1);
}

static void test_lanes__records_of_four_lanes_are_never_torn(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 100, .flags = FLAGS(state));
  run_lanes(rig, 100, 2000);
  test_rig_free(rig);
}

static void test_lanes__lanes_larger_than_the_parents_buffer_tear_nothing(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 32, .flags = FLAGS(state));
  test_sink_always(&rig->sink, TEST_SINK_WRITE, 13);
  run_lanes(rig, 150, 500);
  test_rig_free(rig);
}

static void test_lanes__lanes_smaller_than_the_parents_buffer_tear_nothing(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 256, .flags = FLAGS(state));
  run_lanes(rig, 20, 2000);
  test_rig_free(rig);
}

static void test_lanes__a_large_vectored_write_lands_whole_if_its_parts_fit_the_lane(void **state) {
  test_rig *rig = PARENT(state);
  bw_t *lane = new_lane(rig->bw, 8);
  const struct iovec parts[3] = {{(void *)"abc", 3}, {NULL, 0}, {(void *)"defgh", 5}};
  assert_int_equal(bw_write(lane, "0123", 4), 4);
  assert_int_equal(bw_writev(lane, parts, 3), 8);
  assert_int_equal(bw_write(rig->bw, "-", 1), 1);
  assert_int_equal(bw_flush(lane), 0);
  size_t length;
  char *bytes = test_sink_bytes(&rig->sink, &length);
  assert_int_equal(length, 13);
  char text[14] = {0};
  memcpy(text, bytes, 13);
  free(bytes);
  assert_non_null(strstr(text, "abcdefgh"));
  assert_non_null(strstr(text, "0123"));
  bw_free(lane);
  test_rig_free(rig);
}

#define BOTH(test) \
  {#test " (inline)", test, NULL, NULL, (void *)&kInline}, {#test " (background)", test, NULL, NULL, (void *)&kBackground}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH(test_lanes__the_default_capacity_is_the_parents),
      BOTH(test_lanes__what_cannot_be_is_refused),
      BOTH(test_lanes__an_unshared_writer_has_none),
      BOTH(test_lanes__a_lane_cannot_seek_or_change_its_sink),
      BOTH(test_lanes__a_lane_is_an_unshared_writer),
      BOTH(test_lanes__positions_are_the_lanes_own),
      BOTH(test_lanes__the_parents_flush_knows_nothing_of_bytes_in_lanes),
      BOTH(test_lanes__flush_and_sync_go_through_to_the_sink),
      cmocka_unit_test(test_lanes__polls_go_through_too),
      BOTH(test_lanes__durable_moves_only_by_the_lanes_own_doing),
      BOTH(test_lanes__a_note_for_durable_is_answered_by_the_owners_flush),
      BOTH(test_lanes__wait_for_written_hands_on),
      BOTH(test_lanes__close_only_hands_on),
      BOTH(test_lanes__free_hands_on_too),
      BOTH(test_lanes__a_parent_with_open_lanes_is_not_closed),
      BOTH(test_lanes__a_parent_freed_first_goes_with_its_last_lane),
      BOTH(test_lanes__what_a_freed_parent_could_not_write_is_told_with_the_last_lane),
      cmocka_unit_test(test_lanes__what_a_lane_could_not_hand_on_is_told_to_its_own_on_event),
      cmocka_unit_test(test_lanes__an_error_of_an_inline_parent_comes_through_once),
      cmocka_unit_test(test_lanes__ESINK_is_the_parents),
      cmocka_unit_test(test_lanes__an_error_that_a_background_parent_holds_comes_through),
      BOTH(test_lanes__a_failed_sync_comes_through),
      BOTH(test_lanes__random_failures_of_the_sink_lose_and_repeat_nothing),
      cmocka_unit_test(test_lanes__a_lane_of_a_nonblock_parent_does_not_wait),
      cmocka_unit_test(test_lanes__a_nonblock_lane_does_not_wait),
      cmocka_unit_test(test_lanes__polls_of_a_lane_do_not_wait_for_the_parent),
      cmocka_unit_test(test_lanes__a_poll_hands_on_in_pieces_what_the_parent_cannot_hold),
      cmocka_unit_test(test_lanes__a_waker_of_a_lane_is_taken_back),
      cmocka_unit_test(test_lanes__a_blocking_lane_waits_for_room_in_the_parent),
      cmocka_unit_test(test_lanes__a_lane_over_an_inline_sink_that_is_not_ready_does_not_wait),
      BOTH(test_lanes__records_of_four_lanes_are_never_torn),
      BOTH(test_lanes__lanes_larger_than_the_parents_buffer_tear_nothing),
      BOTH(test_lanes__lanes_smaller_than_the_parents_buffer_tear_nothing),
      BOTH(test_lanes__a_large_vectored_write_lands_whole_if_its_parts_fit_the_lane),
  };
  return cmocka_run_group_tests_name("lanes", tests, NULL, NULL);
}
