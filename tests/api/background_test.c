/*
 * BW_BACKGROUND over a sink: a thread of ours writes, buffers are filled to the brim, errors are held. Most tests run
 * twice: shared, and with BW_UNSHARED.
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

enum { kCapacity = 16, kBuffers = 2, kRoom = kCapacity * kBuffers };

/* BW_BACKGROUND with the flags of the run (*state). */
static uint32_t background(void **state) { return BW_BACKGROUND | *(const uint32_t *)*state; }

#define BACKGROUND(...) RIG(RIG_PLAIN, .capacity = kCapacity, .buffers = kBuffers, __VA_ARGS__)

static bool is_flushed(void *arg) { return bw_flush(arg) == 0; }

/* With BW_NONBLOCK: flushes until that is done. */
static void flush_at_last(test_rig *rig) { assert_true(test_await(is_flushed, rig->bw)); }

static bool has_error(void *arg) { return bw_error(arg) != 0; }

static void await_error(test_rig *rig, int code) {
  assert_true(test_await(has_error, rig->bw));
  assert_int_equal(bw_error(rig->bw), code);
}

static bool is_all_written(void *arg) {
  test_rig *rig = arg;
  return bw_position(rig->bw, BW_WRITTEN) == bw_tell(rig->bw);
}

/* Holds the sink, with the first buffer in it and `kRoom` - `left` bytes accepted in all. The bytes are data[0...]. */
static void fill_up_to(test_rig *rig, const char *data, size_t left) {
  test_sink_hold(&rig->sink);
  assert_int_equal(bw_write(rig->bw, data, kCapacity + 1), kCapacity + 1);
  assert_true(test_sink_await_inside(&rig->sink));
  const size_t more = kRoom - left - (kCapacity + 1);
  assert_int_equal(bw_write(rig->bw, data + kCapacity + 1, more), more);
  assert_int_equal(bw_tell(rig->bw), kRoom - left);
}

/* Writes `kRoom` - 1 bytes and makes the writer hold `code` (answer 0: BW_EWRITEZERO) after `taken` of them. */
static void fail_after(test_rig *rig, const char *data, int64_t taken, int code) {
  if (taken > 0) TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, taken);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, code);
  test_sink_hold(&rig->sink); /* so that it fails after the write, not under it */
  assert_int_equal(bw_write(rig->bw, data, kRoom - 1), kRoom - 1);
  test_sink_release(&rig->sink);
  await_error(rig, code ? code : BW_EWRITEZERO);
}

/* ---- Who writes what ------------------------------------------------------------------------- */

static void test_background__only_one_thread_of_ours_writes(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[500];
  test_pattern(data, sizeof data, 1);
  for (size_t at = 0; at < sizeof data; at += 10) assert_int_equal(bw_write(rig->bw, data + at, 10), 10);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  test_sink_call calls[64];
  const size_t count = test_sink_calls(&rig->sink, TEST_SINK_WRITE, calls, 64);
  assert_true(count > 0);
  for (size_t i = 0; i < count; ++i) {
    assert_false(pthread_equal(calls[i].thread, pthread_self()));
    assert_true(pthread_equal(calls[i].thread, calls[0].thread));
  }
  test_rig_free(rig);
}

static void test_background__flush_sync_seek_read_and_close_are_called_by_whoever_asks(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char byte;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_seek(rig->bw, 1, SEEK_SET), 1);
  assert_int_equal(bw_read(rig->bw, &byte, 1), 1);
  assert_int_equal(byte, 'b');
  assert_int_equal(bw_close(rig->bw), 0);
  const enum test_sink_kind kinds[] = {TEST_SINK_FLUSH, TEST_SINK_SYNC, TEST_SINK_SEEK, TEST_SINK_READ,
                                       TEST_SINK_CLOSE};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; ++i) {
    assert_true(test_sink_count(&rig->sink, kinds[i]) >= 1);
    assert_true(pthread_equal(test_sink_last(&rig->sink, kinds[i]).thread, pthread_self()));
  }
  assert_int_equal(rig->sink.most_inside, 1);
  test_rig_free(rig);
}

static void test_background__buffers_are_filled_to_the_brim(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[700];
  test_pattern(data, sizeof data, 2);
  for (size_t at = 0; at < sizeof data; at += 7) assert_int_equal(bw_write(rig->bw, data + at, 7), 7);
  assert_int_equal(bw_flush(rig->bw), 0);
  test_sink_call calls[64];
  assert_int_equal(test_sink_calls(&rig->sink, TEST_SINK_WRITE, calls, 64), 44);
  for (size_t i = 0; i < 43; ++i) assert_int_equal(calls[i].offered, kCapacity);
  assert_int_equal(calls[43].offered, 700 % kCapacity);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  test_rig_free(rig);
}

static void test_background__nothing_goes_past_the_buffers(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[10 * kCapacity];
  test_pattern(data, sizeof data, 3);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  assert_int_equal(bw_flush(rig->bw), 0);
  test_sink_call calls[16];
  assert_int_equal(test_sink_calls(&rig->sink, TEST_SINK_WRITE, calls, 16), 10);
  for (size_t i = 0; i < 10; ++i) {
    assert_int_equal(calls[i].offered, kCapacity);
    assert_false(pthread_equal(calls[i].thread, pthread_self()));
  }
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  test_rig_free(rig);
}

static void test_background__the_rest_of_a_short_write_is_offered_again(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[100];
  test_pattern(data, sizeof data, 4);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3, -EINTR, 1, 5, -EINTR, -EINTR, 2);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  assert_int_equal(bw_error(rig->bw), 0);
  test_rig_free(rig);
}

static void test_background__a_vectored_write_fills_buffers_too(void **state) {
  test_rig *rig = RIG(TEST_SINK_HAS_ALL, .capacity = kCapacity, .buffers = kBuffers, .flags = background(state));
  char data[90];
  test_pattern(data, sizeof data, 5);
  const struct iovec parts[3] = {{data, 50}, {NULL, 0}, {data + 50, 40}};
  assert_int_equal(bw_writev(rig->bw, parts, 3), 90);
  assert_int_equal(bw_appendv(rig->bw, parts, 3), 90);
  assert_int_equal(bw_flush(rig->bw), 0);
  size_t length;
  char *bytes = test_sink_bytes(&rig->sink, &length);
  assert_int_equal(length, 180);
  assert_memory_equal(bytes, data, 90);
  assert_memory_equal(bytes + 90, data, 90);
  free(bytes);
  test_rig_free(rig);
}

/* ---- Back-pressure --------------------------------------------------------------------------- */

static void test_background__writers_wait_only_when_all_buffers_are_full(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[100];
  test_pattern(data, sizeof data, 6);
  fill_up_to(rig, data, 0); /* does not wait though the sink is held */
  test_call call = {.bw = rig->bw, .data = data + kRoom, .length = sizeof data - kRoom};
  test_thread waiting;
  test_thread_start(&waiting, test_call_write, &call);
  assert_false(test_thread_settle(&waiting));
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&waiting), sizeof data - kRoom);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  test_rig_free(rig);
}

static void test_background__nonblock_gives_a_short_count_and_then_eagain_when_full(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state) | BW_NONBLOCK);
  char data[100];
  test_pattern(data, sizeof data, 7);
  fill_up_to(rig, data, 5);
  assert_int_equal(bw_write(rig->bw, data + kRoom - 5, 50), 5);
  assert_int_equal(bw_tell(rig->bw), kRoom);
  assert_int_equal(bw_write(rig->bw, data + kRoom, 1), -EAGAIN);
  assert_int_equal(bw_append(rig->bw, data + kRoom, 1), -EAGAIN);
  bw_span_t span;
  assert_int_equal(bw_reserve(rig->bw, 1, &span), -EAGAIN);
  assert_int_equal(bw_tell(rig->bw), kRoom);
  test_sink_release(&rig->sink);
  flush_at_last(rig);
  assert_int_equal(bw_write(rig->bw, data + kRoom, 20), 20);
  flush_at_last(rig);
  assert_true(test_sink_holds(&rig->sink, data, kRoom + 20));
  test_rig_free(rig);
}

static void test_background__a_pending_poll_is_woken_when_there_is_room(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[100];
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  test_pattern(data, sizeof data, 8);
  fill_up_to(rig, data, 0);
  assert_int_equal(bw_poll_write(rig->bw, data + kRoom, 10, &wake), -EAGAIN);
  assert_int_equal(atomic_load(&waker.calls), 0);
  test_sink_release(&rig->sink);
  assert_true(test_waker_await(&waker, 1));
  const int64_t taken = bw_poll_write(rig->bw, data + kRoom, 10, NULL);
  assert_true(taken > 0 && taken <= 10);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, kRoom + (size_t)taken));
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&waker.calls), 1);
  test_rig_free(rig);
}

static void test_background__nonblock_flush_gives_eagain_while_our_thread_writes(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state) | BW_NONBLOCK);
  test_sink_hold(&rig->sink);
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(bw_flush(rig->bw), -EAGAIN);
  assert_int_equal(bw_sync(rig->bw), -EAGAIN);
  assert_int_equal(bw_close(rig->bw), -EAGAIN);
  assert_true(test_sink_await_inside(&rig->sink)); /* the flush handed it on all the same */
  test_sink_release(&rig->sink);
  flush_at_last(rig);
  assert_true(test_sink_holds(&rig->sink, "abcde", 5));
  test_rig_free(rig);
}

/* ---- Appends --------------------------------------------------------------------------------- */

static void test_background__nonblock_refuses_an_append_that_can_never_fit(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state) | BW_NONBLOCK);
  char data[kRoom + 1];
  test_pattern(data, sizeof data, 9);
  assert_int_equal(bw_append(rig->bw, data, kRoom + 1), -EMSGSIZE);
  const struct iovec parts[2] = {{data, kRoom}, {data + kRoom, 1}};
  assert_int_equal(bw_appendv(rig->bw, parts, 2), -EMSGSIZE);
  assert_int_equal(bw_tell(rig->bw), 0);
  assert_int_equal(bw_append(rig->bw, data, kRoom), 0);
  flush_at_last(rig);
  assert_true(test_sink_holds(&rig->sink, data, kRoom));
  test_rig_free(rig);
}

static void test_background__a_poll_refuses_an_append_that_can_never_fit(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[kRoom + 1];
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  test_pattern(data, sizeof data, 10);
  assert_int_equal(bw_poll_append(rig->bw, data, kRoom + 1, &wake), -EMSGSIZE);
  assert_int_equal(bw_poll_append(rig->bw, data, kRoom, &wake), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, kRoom));
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&waker.calls), 0);
  test_rig_free(rig);
}

static void test_background__a_blocking_append_may_be_longer_than_all_buffers(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[7 * kRoom];
  test_pattern(data, sizeof data, 11);
  assert_int_equal(bw_write(rig->bw, data, 3), 3);
  assert_int_equal(bw_append(rig->bw, data + 3, sizeof data - 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  test_rig_free(rig);
}

static void test_background__an_append_is_taken_whole_or_not_at_all(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state) | BW_NONBLOCK);
  char data[100];
  test_pattern(data, sizeof data, 12);
  fill_up_to(rig, data, 6);
  assert_int_equal(bw_append(rig->bw, data + 50, 7), -EAGAIN);
  assert_int_equal(bw_tell(rig->bw), kRoom - 6);
  test_sink_release(&rig->sink);
  flush_at_last(rig);
  assert_int_equal(bw_append(rig->bw, data + kRoom - 6, 7), kRoom - 6);
  flush_at_last(rig);
  assert_true(test_sink_holds(&rig->sink, data, kRoom + 1));
  test_rig_free(rig);
}

static void test_background__an_append_that_finds_too_little_room_hands_on_the_buffer_being_filled(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state) | BW_NONBLOCK);
  char data[100];
  test_pattern(data, sizeof data, 13);
  test_sink_hold(&rig->sink);
  assert_int_equal(bw_write(rig->bw, data, 10), 10);
  assert_int_equal(bw_append(rig->bw, data + 10, kRoom), -EAGAIN);
  assert_true(test_sink_await_inside(&rig->sink)); /* though nobody flushed */
  test_sink_release(&rig->sink);
  flush_at_last(rig);
  assert_int_equal(test_sink_last(&rig->sink, TEST_SINK_WRITE).offered, 10);
  assert_int_equal(bw_append(rig->bw, data + 10, kRoom), 10);
  flush_at_last(rig);
  assert_true(test_sink_holds(&rig->sink, data, 10 + kRoom));
  test_rig_free(rig);
}

static void test_background__without_a_buffer_to_fill_there_is_none_to_look_at(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state) | BW_NONBLOCK);
  const bool is_unshared = background(state) & BW_UNSHARED;
  char data[kRoom + 1];
  size_t length = 77;
  test_pattern(data, sizeof data, 6);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), kRoom);
  assert_null(bw_buffer(rig->bw, &length));
  assert_int_equal(length, 0);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, INT64_MIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  flush_at_last(rig);
  assert_int_equal(bw_write(rig->bw, data + kRoom, 1), 1);
  const char *found = bw_buffer(rig->bw, &length);
  assert_int_equal(found != NULL, is_unshared); /* shared ones show none */
  assert_int_equal(length, is_unshared ? 1 : 0);
  if (is_unshared) assert_int_equal(*found, data[kRoom]);
  test_rig_free(rig);
}

static void test_background__after_a_flush_there_is_room_in_all_buffers(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state) | BW_NONBLOCK);
  char data[kRoom];
  test_pattern(data, sizeof data, 34);
  for (int i = 0; i < 300; ++i) {
    flush_at_last(rig);
    assert_int_equal(bw_append(rig->bw, data, kRoom), (int64_t)i * kRoom);
  }
  flush_at_last(rig);
  test_rig_free(rig);
}

/* ---- Spans ----------------------------------------------------------------------------------- */

static void test_background__a_span_that_does_not_fit_begins_the_next_buffer(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  bw_span_t span;
  assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
  assert_int_equal(bw_reserve(rig->bw, 8, &span), 0);
  assert_int_equal(span.position, 10);
  assert_true(span.length >= 8);
  memcpy(span.data, "abcdefgh", 8);
  assert_int_equal(bw_commit(rig->bw, &span, 8), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  test_sink_call calls[2];
  assert_int_equal(test_sink_calls(&rig->sink, TEST_SINK_WRITE, calls, 2), 2);
  assert_int_equal(calls[0].offered, 10);
  assert_int_equal(calls[1].offered, 8);
  assert_true(test_sink_holds(&rig->sink, "0123456789abcdefgh", 18));
  test_rig_free(rig);
}

static void test_background__a_span_of_the_whole_capacity_always_fits_an_empty_buffer(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[10 * (kCapacity + 3)];
  test_pattern(data, sizeof data, 14);
  for (size_t at = 0; at < sizeof data; at += kCapacity + 3) {
    bw_span_t span;
    assert_int_equal(bw_write(rig->bw, data + at, 3), 3);
    assert_int_equal(bw_reserve(rig->bw, kCapacity, &span), 0);
    assert_int_equal(span.position, at + 3);
    assert_int_equal(span.length, kCapacity);
    memcpy(span.data, data + at + 3, kCapacity);
    assert_int_equal(bw_commit(rig->bw, &span, kCapacity), 0);
  }
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  test_rig_free(rig);
}

static void test_background__a_flush_waits_for_an_open_span(void **state) {
  (void)state;
  test_rig *rig = BACKGROUND(.flags = BW_BACKGROUND);
  bw_span_t span;
  test_call call = {.bw = rig->bw};
  test_thread flushing;
  assert_int_equal(bw_write(rig->bw, "ab", 2), 2);
  assert_int_equal(bw_reserve(rig->bw, 2, &span), 0);
  assert_int_equal(bw_write(rig->bw, "ef", 2), 2);
  test_thread_start(&flushing, test_call_flush, &call);
  assert_false(test_thread_settle(&flushing));
  memcpy(span.data, "cd", 2);
  assert_int_equal(bw_commit(rig->bw, &span, 2), 0);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_true(test_sink_holds(&rig->sink, "abcdef", 6));
  test_rig_free(rig);
}

static void test_background__a_buffer_with_an_open_span_is_not_written(void **state) {
  (void)state;
  test_rig *rig = BACKGROUND(.flags = BW_BACKGROUND | BW_NONBLOCK);
  bw_span_t span;
  char data[kCapacity];
  test_pattern(data, sizeof data, 15);
  assert_int_equal(bw_reserve(rig->bw, 4, &span), 0);
  assert_int_equal(bw_write(rig->bw, data + 4, 12), 12);
  assert_int_equal(bw_write(rig->bw, data, kCapacity), kCapacity); /* both buffers are full */
  assert_int_equal(bw_write(rig->bw, data, 1), -EAGAIN);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), 0);
  memcpy(span.data, data, 4);
  assert_int_equal(bw_commit(rig->bw, &span, 4), 0);
  flush_at_last(rig);
  size_t length;
  char *bytes = test_sink_bytes(&rig->sink, &length);
  assert_int_equal(length, 2 * kCapacity);
  assert_memory_equal(bytes, data, kCapacity);
  assert_memory_equal(bytes + kCapacity, data, kCapacity);
  free(bytes);
  test_rig_free(rig);
}

/* ---- Errors are held ------------------------------------------------------------------------- */

static void test_background__a_held_error_refuses_every_write_flush_sync_and_close(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[kRoom];
  test_pattern(data, sizeof data, 16);
  fail_after(rig, data, 5, -ENOSPC);
  const struct iovec part = {data, 1};
  bw_span_t span;
  const size_t asked = test_sink_count(&rig->sink, TEST_SINK_WRITE);
  assert_int_equal(bw_write(rig->bw, data, 1), -ENOSPC);
  assert_int_equal(bw_writev(rig->bw, &part, 1), -ENOSPC);
  assert_int_equal(bw_append(rig->bw, data, 1), -ENOSPC);
  assert_int_equal(bw_appendv(rig->bw, &part, 1), -ENOSPC);
  assert_int_equal(bw_reserve(rig->bw, 1, &span), -ENOSPC);
  assert_int_equal(bw_flush(rig->bw), -ENOSPC);
  assert_int_equal(bw_sync(rig->bw), -ENOSPC);
  assert_int_equal(bw_close(rig->bw), -ENOSPC);
  assert_int_equal(bw_poll_write(rig->bw, data, 1, NULL), -ENOSPC);
  assert_int_equal(bw_poll_append(rig->bw, data, 1, NULL), -ENOSPC);
  assert_int_equal(bw_poll_flush(rig->bw, NULL), -ENOSPC);
  assert_int_equal(bw_poll_sync(rig->bw, NULL), -ENOSPC);
  assert_int_equal(bw_poll_close(rig->bw, NULL), -ENOSPC);
  assert_int_equal(bw_tell(rig->bw), kRoom - 1);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), asked);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 0);
  assert_true(test_events_await(&rig->events, BW_EVENT_ERROR, 1));
  assert_int_equal(test_events_get(&rig->events, BW_EVENT_ERROR, 0).code, -ENOSPC);
  test_rig_free(rig);
}

static void test_background__nothing_is_lost_or_repeated_after_resume(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[kRoom];
  test_pattern(data, sizeof data, 17);
  fail_after(rig, data, 5, -ENOSPC);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 5);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), kRoom - 1);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, data + kRoom - 1, 1), 1);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, kRoom));
  test_rig_free(rig);
}

static void test_background__a_resume_that_fails_again_is_held_again(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[kRoom];
  test_pattern(data, sizeof data, 18);
  fail_after(rig, data, 5, -ENOSPC);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3, -EIO);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), -EIO);
  assert_int_equal(bw_error(rig->bw), -EIO);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, kRoom - 1));
  test_rig_free(rig);
}

static void test_background__taking_nothing_is_an_error_of_its_own(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[kRoom];
  test_pattern(data, sizeof data, 19);
  fail_after(rig, data, 3, 0);
  assert_int_equal(bw_flush(rig->bw), BW_EWRITEZERO);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, kRoom - 1));
  test_rig_free(rig);
}

static void test_background__a_waiting_writer_tells_how_much_was_taken_before_the_error(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[200];
  test_pattern(data, sizeof data, 20);
  test_sink_hold(&rig->sink);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, TEST_SINK_TAKE_ALL, -EIO);
  test_call call = {.bw = rig->bw, .data = data, .length = sizeof data};
  test_thread waiting;
  test_thread_start(&waiting, test_call_write, &call);
  assert_true(test_sink_await_inside(&rig->sink));
  assert_false(test_thread_settle(&waiting));
  test_sink_release(&rig->sink);
  const int64_t taken = test_thread_join(&waiting);
  assert_true(taken >= kRoom && taken < (int64_t)sizeof data);
  assert_int_equal(bw_tell(rig->bw), taken);
  assert_true(test_events_await(&rig->events, BW_EVENT_ERROR, 1));
  assert_int_equal(bw_write(rig->bw, data, 1), -EIO);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, data + taken, sizeof data - (size_t)taken), (int64_t)sizeof data - taken);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  test_rig_free(rig);
}

static void test_background__a_waiting_append_has_succeeded_when_the_sink_fails_under_it(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[200];
  test_pattern(data, sizeof data, 21);
  test_sink_hold(&rig->sink);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3, -EIO);
  test_call call = {.bw = rig->bw, .data = data, .length = sizeof data};
  test_thread waiting;
  test_thread_start(&waiting, test_call_append, &call);
  assert_true(test_sink_await_inside(&rig->sink));
  assert_false(test_thread_settle(&waiting));
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&waiting), 0);
  assert_int_equal(bw_tell(rig->bw), sizeof data);
  assert_int_equal(bw_unwritten(rig->bw, NULL, NULL), sizeof data - 3);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  test_rig_free(rig);
}

struct collected {
  char data[256];
  size_t length;
};

static void collect(void *arg, const void *data, size_t length) {
  struct collected *collected = arg;
  if (length > sizeof collected->data - collected->length) return;
  memcpy(collected->data + collected->length, data, length);
  collected->length += length;
}

static void test_background__unwritten_visits_the_bytes_that_the_sink_did_not_take(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[kRoom];
  struct collected collected = {.length = 0};
  test_pattern(data, sizeof data, 22);
  fail_after(rig, data, 5, -ENOSPC);
  assert_int_equal(bw_unwritten(rig->bw, collect, &collected), kRoom - 1 - 5);
  assert_int_equal(collected.length, kRoom - 1 - 5);
  assert_memory_equal(collected.data, data + 5, collected.length);
  test_rig_free(rig);
}

static void test_background__a_new_sink_takes_over_the_unwritten_bytes(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  test_sink other;
  const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
  char data[kRoom + 20];
  test_pattern(data, sizeof data, 23);
  test_sink_init(&other);
  fail_after(rig, data, 5, -ENOSPC);
  assert_int_equal(bw_set_sink(rig->bw, &ops, &other), 0);
  assert_ptr_equal(bw_context(rig->bw), &other);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, data + kRoom - 1, 20), 20);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, 5));
  assert_true(test_sink_holds(&other, data + 5, kRoom - 1 - 5 + 20));
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 0);
  test_rig_free_writer(rig);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 0);
  assert_int_equal(test_sink_count(&other, TEST_SINK_CLOSE), 1);
  test_sink_destroy(&other);
  test_rig_free(rig);
}

static void test_background__discard_forgets_what_is_unwritten(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[kRoom];
  test_pattern(data, sizeof data, 24);
  fail_after(rig, data, 5, -ENOSPC);
  assert_int_equal(bw_discard(rig->bw), kRoom - 1 - 5);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 5);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 5);
  assert_int_equal(bw_unwritten(rig->bw, NULL, NULL), 0);
  (void)bw_resume(rig->bw);
  assert_int_equal(bw_append(rig->bw, data + 5, 3), 5);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, 8));
  test_rig_free_writer(rig);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_LOST), 0);
  test_rig_free(rig);
}

static void test_background__a_sink_in_an_unknown_state_is_not_called_again(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[kRoom];
  test_pattern(data, sizeof data, 25);
  fail_after(rig, data, 5, BW_ESINK);
  const size_t asked = test_sink_count(&rig->sink, TEST_SINK_WRITE);
  assert_int_equal(bw_resume(rig->bw), BW_ESINK);
  assert_int_equal(bw_flush(rig->bw), BW_ESINK);
  test_rig_free_writer(rig);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), asked);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 0);
  test_rig_free(rig);
}

static void test_background__discard_lets_a_sink_in_an_unknown_state_be_called_again(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[kRoom];
  test_pattern(data, sizeof data, 26);
  fail_after(rig, data, 5, BW_ESINK);
  assert_true(bw_discard(rig->bw) > 0);
  (void)bw_resume(rig->bw);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, "xyz", 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  size_t length;
  char *bytes = test_sink_bytes(&rig->sink, &length);
  assert_true(length >= 3);
  assert_memory_equal(bytes + length - 3, "xyz", 3);
  free(bytes);
  test_rig_free(rig);
}

/* ---- A failed sync --------------------------------------------------------------------------- */

static void test_background__a_failed_sync_is_final(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, -EIO);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_sync(rig->bw), -EIO);
  assert_int_equal(bw_error(rig->bw), -EIO);
  assert_int_equal(bw_write(rig->bw, "d", 1), -EIO);
  assert_int_equal(bw_append(rig->bw, "d", 1), -EIO);
  assert_int_equal(bw_flush(rig->bw), -EIO);
  assert_int_equal(bw_sync(rig->bw), -EIO);
  assert_int_equal(bw_resume(rig->bw), -EIO);
  assert_int_equal(bw_wait(rig->bw, 3, BW_DURABLE, -1), -EIO);
  assert_int_equal(bw_error(rig->bw), -EIO);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 3);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 0);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 1);
  assert_int_equal(bw_close(rig->bw), -EIO);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, "d", 1), -ESHUTDOWN);
  assert_int_equal(bw_sync(rig->bw), -ESHUTDOWN);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  test_rig_free(rig);
}

static void test_background__close_after_a_failed_sync_writes_what_is_accepted(void **state) {
  (void)state;
  test_rig *rig = BACKGROUND(.flags = BW_BACKGROUND);
  test_call call = {.bw = rig->bw};
  test_thread syncing;
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, -EIO);
  test_rig_gate(rig, TEST_SINK_HAS(TEST_SINK_SYNC));
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  test_thread_start(&syncing, test_call_sync, &call);
  assert_true(test_gate_await(&rig->gate, 1));
  assert_int_equal(bw_write(rig->bw, "def", 3), 3); /* accepted while the sync runs */
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&syncing), -EIO);
  assert_int_equal(bw_close(rig->bw), -EIO);
  assert_true(test_sink_holds(&rig->sink, "abcdef", 6));
  assert_int_equal(bw_close(rig->bw), 0);
  test_rig_free(rig);
}

static void test_background__a_sink_that_cannot_sync_is_no_failure(void **state) {
  test_rig *rig = RIG(0, .capacity = kCapacity, .buffers = kBuffers, .flags = background(state));
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_sync(rig->bw), -EOPNOTSUPP);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, "def", 3), 3);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, "abcdef", 6));
  test_rig_free(rig);
}

/* ---- Sinks that are not ready ---------------------------------------------------------------- */

static void test_background__a_sink_that_is_not_ready_is_asked_again_only_after_a_wake(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[kRoom];
  test_pattern(data, sizeof data, 27);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 5, -EAGAIN);
  assert_int_equal(bw_wake(rig->bw), 0); /* too early: counts for nothing */
  assert_int_equal(bw_write(rig->bw, data, kRoom - 1), kRoom - 1);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 2));
  test_call call = {.bw = rig->bw};
  test_thread flushing;
  test_thread_start(&flushing, test_call_flush, &call);
  assert_false(test_thread_settle(&flushing));
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), 2);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_true(test_sink_holds(&rig->sink, data, kRoom - 1));
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_ERROR), 0);
  test_rig_free(rig);
}

struct waking {
  test_rig *rig;
  atomic_int calls;
};

static void wake_in_the_first_write(void *arg, enum test_sink_kind kind) {
  struct waking *waking = arg;
  if (kind == TEST_SINK_WRITE && atomic_fetch_add(&waking->calls, 1) == 0) (void)bw_wake(waking->rig->bw);
}

static void test_background__a_wake_during_the_call_that_said_not_ready_counts(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  struct waking waking = {.rig = rig};
  rig->sink.hook_arg = &waking;
  rig->sink.hook = wake_in_the_first_write;
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0); /* nobody else wakes it */
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), 2);
  test_rig_free(rig);
}

static void test_background__a_flush_or_sync_of_the_sink_may_be_not_ready_too(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  const enum test_sink_kind kinds[2] = {TEST_SINK_FLUSH, TEST_SINK_SYNC};
  int64_t (*const calls[2])(void *) = {test_call_flush, test_call_sync};
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  for (int i = 0; i < 2; ++i) {
    const size_t asked = test_sink_count(&rig->sink, kinds[i]);
    test_call call = {.bw = rig->bw};
    test_thread asking;
    TEST_SINK_SCRIPT(&rig->sink, kinds[i], -EAGAIN);
    test_thread_start(&asking, calls[i], &call);
    assert_true(test_sink_await_calls(&rig->sink, kinds[i], asked + 1));
    assert_false(test_thread_settle(&asking));
    assert_int_equal(test_sink_count(&rig->sink, kinds[i]), asked + 1);
    assert_int_equal(bw_wake(rig->bw), 0);
    assert_int_equal(test_thread_join(&asking), 0);
    assert_int_equal(test_sink_count(&rig->sink, kinds[i]), asked + 2);
  }
  test_rig_free(rig);
}

/* ---- Pressure -------------------------------------------------------------------------------- */

static void test_background__pressure_is_told_once_per_edge(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = kCapacity, .buffers = 10, .high_percent = 80, .low_percent = 50,
                      .flags = background(state));
  char data[10 * kCapacity];
  test_pattern(data, sizeof data, 28);
  test_rig_gate(rig, TEST_SINK_HAS(TEST_SINK_WRITE));
  long passed = 0;
  for (size_t round = 1; round <= 3; ++round) {
    /* Seven buffers are handed on, and one byte is in the eighth: no pressure yet. */
    assert_int_equal(bw_write(rig->bw, data, 7 * kCapacity + 1), 7 * kCapacity + 1);
    assert_true(test_gate_await(&rig->gate, passed + 1));
    assert_int_equal(test_events_count(&rig->events, BW_EVENT_PRESSURE_ON), round - 1);
    assert_int_equal(bw_write(rig->bw, data, kCapacity), kCapacity);
    assert_true(test_events_await(&rig->events, BW_EVENT_PRESSURE_ON, round));
    assert_int_equal(bw_write(rig->bw, data, kCapacity), kCapacity); /* nine: no further event */
    /* Three are written: six are left, which is not yet low. */
    test_gate_let(&rig->gate, 3);
    passed += 3;
    assert_true(test_gate_await(&rig->gate, passed + 1));
    assert_int_equal(test_events_count(&rig->events, BW_EVENT_PRESSURE_OFF), round - 1);
    test_gate_let(&rig->gate, 1);
    passed += 1;
    assert_true(test_events_await(&rig->events, BW_EVENT_PRESSURE_OFF, round));
    /* The other five, and the part-filled one by a flush. */
    test_gate_let(&rig->gate, 6);
    passed += 6;
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_int_equal(test_events_count(&rig->events, BW_EVENT_PRESSURE_ON), round);
    assert_int_equal(test_events_count(&rig->events, BW_EVENT_PRESSURE_OFF), round);
  }
  test_rig_free(rig);
}

static void test_background__pressure_goes_when_the_unwritten_bytes_are_discarded(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = kCapacity, .buffers = 10, .flags = background(state));
  char data[10 * kCapacity];
  test_pattern(data, sizeof data, 29);
  test_rig_gate(rig, TEST_SINK_HAS(TEST_SINK_WRITE));
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO);
  assert_int_equal(bw_write(rig->bw, data, 9 * kCapacity), 9 * kCapacity);
  assert_true(test_events_await(&rig->events, BW_EVENT_PRESSURE_ON, 1));
  test_gate_open(&rig->gate);
  await_error(rig, -EIO);
  assert_int_equal(bw_discard(rig->bw), 9 * kCapacity);
  assert_true(test_events_await(&rig->events, BW_EVENT_PRESSURE_OFF, 1));
  test_rig_free(rig);
}

/* ---- Linger ---------------------------------------------------------------------------------- */

static void test_background__linger_hands_on_a_part_filled_buffer(void **state) {
  (void)state;
  test_rig *rig = BACKGROUND(.flags = BW_BACKGROUND, .linger_us = 1000);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 1));
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  assert_int_equal(bw_write(rig->bw, "de", 2), 2);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 2));
  assert_true(test_sink_holds(&rig->sink, "abcde", 5));
  test_rig_free(rig);
}

static void test_background__linger_hands_on_a_span(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) { /* inline too */
    test_rig *rig = BACKGROUND(.flags = mode ? BW_BACKGROUND : 0, .linger_us = 1000);
    for (int i = 0; i < 2; ++i) {
      bw_span_t span;
      assert_int_equal(bw_reserve(rig->bw, 3, &span), 0);
      memcpy(span.data, i ? "def" : "abc", 3);
      assert_int_equal(bw_commit(rig->bw, &span, 3), 0);
      assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, (size_t)i + 1));
    }
    assert_true(test_sink_holds(&rig->sink, "abcdef", 6));
    test_rig_free(rig);
  }
}

/* While the time of what is in the buffer is up its end is in the hands of a writer that waits. */
static void test_background__linger_goes_on_after_a_writer_that_waited_for_room(void **state) {
  (void)state;
  char data[2 * kRoom + 5];
  test_rig *rig = BACKGROUND(.flags = BW_BACKGROUND, .linger_us = 1);
  test_call call = {.bw = rig->bw, .data = data, .length = sizeof data};
  test_thread writing;
  test_pattern(data, sizeof data, 5);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  test_thread_start(&writing, test_call_write, &call);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 1));
  assert_true(test_others_settle());
  assert_false(test_thread_finished(&writing));
  test_sink_always(&rig->sink, TEST_SINK_WRITE, INT64_MIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(test_thread_join(&writing), sizeof data);
  assert_true(test_await(is_all_written, rig));
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  test_rig_free(rig);
}

static void test_background__linger_goes_on_after_a_held_error(void **state) {
  (void)state;
  test_rig *rig = BACKGROUND(.flags = BW_BACKGROUND, .linger_us = 1000);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO);
  test_sink_hold(&rig->sink);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_true(test_sink_await_inside(&rig->sink));
  assert_int_equal(bw_write(rig->bw, "def", 3), 3);
  test_sink_release(&rig->sink);
  await_error(rig, -EIO);
  assert_true(test_others_settle()); /* and its time may be up */
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_true(test_await(is_all_written, rig));
  assert_true(test_sink_holds(&rig->sink, "abcdef", 6));
  test_rig_free(rig);
}

static void test_background__linger_needs_a_shared_writer(void **state) {
  (void)state;
  test_sink sink;
  const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
  const bw_options_t options = {.size = sizeof options, .flags = BW_BACKGROUND | BW_UNSHARED, .linger_us = 1};
  bw_t *bw = (bw_t *)&sink;
  test_sink_init(&sink);
  assert_int_equal(bw_new(&bw, &ops, &sink, &options), -EINVAL);
  assert_null(bw);
  test_sink_destroy(&sink);
}

/* ---- Many threads ---------------------------------------------------------------------------- */

struct writing {
  bw_t *bw;
  const test_records *records;
  unsigned thread;
};

static int64_t write_records(void *arg) {
  const struct writing *writing = arg;
  char *record = malloc(writing->records->longest + 8);
  int64_t code = 0;
  for (unsigned number = 0; number < writing->records->each && code == 0; ++number) {
    const size_t length = test_record_make(writing->records, writing->thread, number, record);
    const int64_t taken = bw_write(writing->bw, record, length);
    if (taken != (int64_t)length) code = taken < 0 ? taken : -ENODATA;
  }
  free(record);
  return code;
}

static void test_background__records_of_ten_buffers_stay_contiguous_among_threads(void **state) {
  (void)state;
  test_rig *rig = BACKGROUND(.flags = BW_BACKGROUND);
  const test_records records = {.threads = 4, .each = 300, .longest = 10 * kCapacity, .seed = 8};
  test_thread threads[4];
  struct writing writing[4];
  for (unsigned i = 0; i < 4; ++i) {
    writing[i] = (struct writing){rig->bw, &records, i};
    test_thread_start(&threads[i], write_records, &writing[i]);
  }
  for (unsigned i = 0; i < 4; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  size_t length;
  char *bytes = test_sink_bytes(&rig->sink, &length);
  assert_true(test_records_check(&records, bytes, length, NULL));
  free(bytes);
  test_sink_call calls[1];
  const size_t writes = test_sink_calls(&rig->sink, TEST_SINK_WRITE, calls, 1);
  assert_int_equal(writes, (length + kCapacity - 1) / kCapacity); /* to the brim, whoever wrote */
  assert_int_equal(rig->sink.most_inside, 1);
  test_rig_free(rig);
}

struct question {
  test_rig *rig;
  atomic_int asked;
  int64_t flush, write, wake, error, position, buffered, stats;
};

static void ask_inside_the_sink(void *arg, enum test_sink_kind kind) {
  struct question *question = arg;
  bw_t *bw = question->rig->bw;
  bw_stats_t stats = {.size = sizeof stats};
  if (kind != TEST_SINK_WRITE || atomic_fetch_add(&question->asked, 1) > 0) return;
  question->flush = bw_flush(bw);
  question->write = bw_write(bw, "0123456789abcdef0123456789abcdef!", kRoom + 1);
  question->wake = bw_wake(bw);
  question->error = bw_error(bw);
  question->position = bw_position(bw, BW_WRITTEN);
  question->buffered = (int64_t)bw_buffered(bw);
  question->stats = bw_get_stats(bw, &stats);
}

static void test_background__the_sink_may_not_call_its_writer_but_may_ask_it(void **state) {
  (void)state;
  test_rig *rig = BACKGROUND(.flags = BW_BACKGROUND);
  struct question question = {.rig = rig};
  rig->sink.hook_arg = &question;
  rig->sink.hook = ask_inside_the_sink;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(question.flush, -EDEADLK);
  assert_int_equal(question.write, -EDEADLK);
  assert_int_equal(question.wake, 0);
  assert_int_equal(question.error, 0);
  assert_int_equal(question.position, 0);
  assert_int_equal(question.buffered, 3);
  assert_int_equal(question.stats, 0);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  test_rig_free(rig);
}

/* ---- Closing and freeing --------------------------------------------------------------------- */

static void test_background__close_writes_everything_and_closes_the_sink_once(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[100];
  test_pattern(data, sizeof data, 30);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  assert_int_equal(bw_close(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, data, 1), -ESHUTDOWN);
  assert_int_equal(bw_flush(rig->bw), -ESHUTDOWN);
  test_rig_free_writer(rig);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  test_rig_free(rig);
}

static void test_background__free_writes_what_is_left(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[100];
  test_pattern(data, sizeof data, 31);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  test_rig_free_writer(rig);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_LOST), 0);
  test_rig_free(rig);
}

static void test_background__free_with_a_held_error_tells_exactly_the_bytes_lost(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[kRoom];
  test_pattern(data, sizeof data, 32);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -ENOSPC);
  fail_after(rig, data, 5, -ENOSPC);
  test_rig_free_writer(rig);
  assert_true(test_sink_holds(&rig->sink, data, 5));
  assert_true(test_events_lost(&rig->events, data + 5, kRoom - 1 - 5));
  assert_true(test_events_cover(&rig->events, BW_EVENT_LOST, 5, kRoom - 1));
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  test_rig_free(rig);
}

static void test_background__free_does_not_wait_for_a_sink_that_is_not_ready(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  char data[kRoom];
  test_pattern(data, sizeof data, 33);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 7);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, data, kRoom), kRoom);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 2));
  test_rig_free_writer(rig);
  assert_true(test_sink_holds(&rig->sink, data, 7));
  assert_true(test_events_lost(&rig->events, data + 7, kRoom - 7));
  assert_true(test_events_cover(&rig->events, BW_EVENT_LOST, 7, kRoom));
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  test_rig_free(rig);
}

static void test_background__free_with_bytes_not_yet_handed_on_does_not_wait_either(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  test_rig_free_writer(rig);
  assert_true(test_events_lost(&rig->events, "abc", 3));
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  test_rig_free(rig);
}

static void test_background__a_seek_flushes_and_then_moves(void **state) {
  test_rig *rig = BACKGROUND(.flags = background(state));
  assert_int_equal(bw_write(rig->bw, "abcdef", 6), 6);
  assert_int_equal(bw_seek(rig->bw, 2, SEEK_SET), 2);
  assert_int_equal(bw_append(rig->bw, "CD", 2), 2);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_END), 6);
  assert_int_equal(bw_append(rig->bw, "g", 1), 6);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, "abCDefg", 7));
  test_rig_free(rig);
}

static const uint32_t kShared = 0, kUnshared = BW_UNSHARED;
#define BOTH(test) \
  {#test " (shared)", test, NULL, NULL, (void *)&kShared}, {#test " (unshared)", test, NULL, NULL, (void *)&kUnshared}

/* ---- Beside an error ------------------------------------------------------------------------- */

/* The writer holds -EIO, and a span of 4 bytes is open behind the buffer that was to be written. */
static test_rig *fail_beside_a_span(uint32_t flags, bw_span_t *span) {
  test_rig *rig = BACKGROUND(.flags = flags);
  char data[kCapacity];
  test_pattern(data, sizeof data, 1);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO);
  test_sink_hold(&rig->sink);
  assert_int_equal(bw_write(rig->bw, data, kCapacity), kCapacity);
  assert_int_equal(bw_reserve(rig->bw, 4, span), 0);
  test_sink_release(&rig->sink);
  await_error(rig, -EIO);
  memcpy(span->data, "abcd", 4);
  return rig;
}

static void test_background__a_span_that_is_committed_beside_a_held_error_is_accepted(void **state) {
  (void)state;
  bw_span_t span;
  test_rig *rig = fail_beside_a_span(BW_BACKGROUND, &span);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), kCapacity);
  assert_int_equal(bw_commit(rig->bw, &span, 4), 0);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), kCapacity + 4);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  test_rig_free(rig);
}

static void test_background__a_resume_beside_an_open_span(void **state) {
  bw_span_t span;
  test_rig *rig = fail_beside_a_span(background(state), &span);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_commit(rig->bw, &span, 4), 0);
  flush_at_last(rig);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), kCapacity + 4);
  test_rig_free(rig);
}

static void test_background__a_sync_for_notes_that_was_not_ready_waits_for_a_wake(void **state) {
  (void)state;
  test_rig *rig = BACKGROUND(.flags = BW_BACKGROUND);
  test_note *note = &rig->notes[0];
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_notify(rig->bw, 3, BW_DURABLE, test_note_done, note), 0);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_SYNC, 1));
  for (int i = 0; i < 20; ++i) {
    assert_int_equal(bw_write(rig->bw, "d", 1), 1);
    assert_int_equal(bw_flush(rig->bw), 0);
    (void)test_others_settle();
  }
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 1);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(test_note_code(note), 0);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 2);
  test_rig_free(rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH(test_background__only_one_thread_of_ours_writes),
      BOTH(test_background__flush_sync_seek_read_and_close_are_called_by_whoever_asks),
      BOTH(test_background__buffers_are_filled_to_the_brim),
      BOTH(test_background__nothing_goes_past_the_buffers),
      BOTH(test_background__the_rest_of_a_short_write_is_offered_again),
      BOTH(test_background__a_vectored_write_fills_buffers_too),
      BOTH(test_background__writers_wait_only_when_all_buffers_are_full),
      BOTH(test_background__nonblock_gives_a_short_count_and_then_eagain_when_full),
      BOTH(test_background__a_pending_poll_is_woken_when_there_is_room),
      BOTH(test_background__nonblock_flush_gives_eagain_while_our_thread_writes),
      BOTH(test_background__nonblock_refuses_an_append_that_can_never_fit),
      BOTH(test_background__a_poll_refuses_an_append_that_can_never_fit),
      BOTH(test_background__a_blocking_append_may_be_longer_than_all_buffers),
      BOTH(test_background__an_append_is_taken_whole_or_not_at_all),
      BOTH(test_background__an_append_that_finds_too_little_room_hands_on_the_buffer_being_filled),
      BOTH(test_background__without_a_buffer_to_fill_there_is_none_to_look_at),
      BOTH(test_background__after_a_flush_there_is_room_in_all_buffers),
      BOTH(test_background__a_span_that_does_not_fit_begins_the_next_buffer),
      BOTH(test_background__a_span_of_the_whole_capacity_always_fits_an_empty_buffer),
      cmocka_unit_test(test_background__a_flush_waits_for_an_open_span),
      cmocka_unit_test(test_background__a_buffer_with_an_open_span_is_not_written),
      BOTH(test_background__a_held_error_refuses_every_write_flush_sync_and_close),
      BOTH(test_background__nothing_is_lost_or_repeated_after_resume),
      BOTH(test_background__a_resume_that_fails_again_is_held_again),
      BOTH(test_background__taking_nothing_is_an_error_of_its_own),
      BOTH(test_background__a_waiting_writer_tells_how_much_was_taken_before_the_error),
      BOTH(test_background__a_waiting_append_has_succeeded_when_the_sink_fails_under_it),
      BOTH(test_background__unwritten_visits_the_bytes_that_the_sink_did_not_take),
      BOTH(test_background__a_new_sink_takes_over_the_unwritten_bytes),
      BOTH(test_background__discard_forgets_what_is_unwritten),
      BOTH(test_background__a_sink_in_an_unknown_state_is_not_called_again),
      BOTH(test_background__discard_lets_a_sink_in_an_unknown_state_be_called_again),
      BOTH(test_background__a_failed_sync_is_final),
      cmocka_unit_test(test_background__close_after_a_failed_sync_writes_what_is_accepted),
      BOTH(test_background__a_sink_that_cannot_sync_is_no_failure),
      BOTH(test_background__a_sink_that_is_not_ready_is_asked_again_only_after_a_wake),
      BOTH(test_background__a_wake_during_the_call_that_said_not_ready_counts),
      BOTH(test_background__a_flush_or_sync_of_the_sink_may_be_not_ready_too),
      BOTH(test_background__pressure_is_told_once_per_edge),
      BOTH(test_background__pressure_goes_when_the_unwritten_bytes_are_discarded),
      cmocka_unit_test(test_background__linger_hands_on_a_part_filled_buffer),
      cmocka_unit_test(test_background__linger_hands_on_a_span),
      cmocka_unit_test(test_background__linger_goes_on_after_a_writer_that_waited_for_room),
      cmocka_unit_test(test_background__linger_goes_on_after_a_held_error),
      cmocka_unit_test(test_background__linger_needs_a_shared_writer),
      cmocka_unit_test(test_background__records_of_ten_buffers_stay_contiguous_among_threads),
      cmocka_unit_test(test_background__the_sink_may_not_call_its_writer_but_may_ask_it),
      BOTH(test_background__close_writes_everything_and_closes_the_sink_once),
      BOTH(test_background__free_writes_what_is_left),
      BOTH(test_background__free_with_a_held_error_tells_exactly_the_bytes_lost),
      BOTH(test_background__free_does_not_wait_for_a_sink_that_is_not_ready),
      BOTH(test_background__free_with_bytes_not_yet_handed_on_does_not_wait_either),
      BOTH(test_background__a_seek_flushes_and_then_moves),
      cmocka_unit_test(test_background__a_span_that_is_committed_beside_a_held_error_is_accepted),
      BOTH(test_background__a_resume_beside_an_open_span),
      cmocka_unit_test(test_background__a_sync_for_notes_that_was_not_ready_waits_for_a_wake),
  };
  return cmocka_run_group_tests_name("background", tests, NULL, NULL);
}
