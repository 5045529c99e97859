/*
 * Shared inline writers: any number of threads, no thread of ours. Who fills the buffer, or asks, calls the sink.
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

static void assert_sink_holds(test_rig *rig, const char *text) {
  assert_true(test_sink_holds(&rig->sink, text, strlen(text)));
}

/* Fills a buffer of 8 bytes (in two writes: 8 at once would go past it). */
static void fill(test_rig *rig) {
  assert_int_equal(bw_write(rig->bw, "abcd", 4), 4);
  assert_int_equal(bw_write(rig->bw, "efgh", 4), 4);
}

/* ---- One thread ------------------------------------------------------------------------------ */

static void test_shared__one_thread_sees_the_rules_of_inline_writers(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  fill(rig);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), 0);
  assert_int_equal(bw_buffered(rig->bw), 8);
  assert_int_equal(bw_write(rig->bw, "i", 1), 1);
  assert_sink_holds(rig, "abcdefgh");
  assert_int_equal(bw_buffered(rig->bw), 1);
  assert_int_equal(bw_write(rig->bw, "jklmnopq", 8), 8);
  assert_sink_holds(rig, "abcdefghijklmnopq");
  assert_int_equal(bw_buffered(rig->bw), 0);
  assert_int_equal(test_sink_last(&rig->sink, TEST_SINK_WRITE).offered, 8);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_FLUSH), 0);
  test_rig_free(rig);
}

static void test_shared__the_sink_is_called_by_the_thread_that_fills_the_buffer(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  assert_int_equal(bw_write(rig->bw, "abcdefgh", 7), 7);
  assert_int_equal(bw_write(rig->bw, "hi", 2), 2);
  assert_true(pthread_equal(test_sink_last(&rig->sink, TEST_SINK_WRITE).thread, pthread_self()));
  test_rig_free(rig);
}

static void test_shared__a_write_that_does_not_fit_is_not_split(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(bw_write(rig->bw, "fghijk", 6), 6);
  assert_int_equal(bw_flush(rig->bw), 0);
  test_sink_call calls[2];
  assert_int_equal(test_sink_calls(&rig->sink, TEST_SINK_WRITE, calls, 2), 2);
  assert_int_equal(calls[0].offered, 5);
  assert_int_equal(calls[1].offered, 6);
  test_rig_free(rig);
}

static void test_shared__bw_buffer_tells_nothing(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  size_t length = 77;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_null(bw_buffer(rig->bw, &length));
  assert_int_equal(length, 0);
  assert_int_equal(bw_capacity(rig->bw), 8);
  test_rig_free(rig);
}

/* ---- Many threads ---------------------------------------------------------------------------- */

struct writing {
  bw_t *bw;
  const test_records *records;
  unsigned thread;
  bool append;
  int64_t *positions; /* of this thread's appends */
};

/* Writes all records of one thread; 0 or the first answer that was not right. */
static int64_t write_records(void *arg) {
  const struct writing *writing = arg;
  char *record = malloc(writing->records->longest + 8);
  int64_t wrong = 0;
  for (unsigned number = 0; number < writing->records->each && !wrong; ++number) {
    const size_t length = test_record_make(writing->records, writing->thread, number, record);
    if (writing->append) {
      const int64_t position = bw_append(writing->bw, record, length);
      if (position < 0) wrong = position;
      writing->positions[number] = position;
    } else {
      const int64_t taken = bw_write(writing->bw, record, length);
      if (taken != (int64_t)length) wrong = taken < 0 ? taken : -ENODATA;
    }
  }
  free(record);
  return wrong;
}

/* Four threads write their records, every other one with bw_append; then all must be there. */
static void run_writers(test_rig *rig, const test_records *records) {
  enum { kThreads = 4 };
  test_thread threads[kThreads];
  struct writing writing[kThreads];
  const size_t count = (size_t)records->threads * records->each;
  int64_t *positions = malloc(count * sizeof *positions);
  for (size_t i = 0; i < count; ++i) positions[i] = -1;
  assert_int_equal(records->threads, kThreads);
  for (unsigned i = 0; i < kThreads; ++i) {
    writing[i] = (struct writing){rig->bw, records, i, i % 2 == 1, positions + (size_t)i * records->each};
    test_thread_start(&threads[i], write_records, &writing[i]);
  }
  for (unsigned i = 0; i < kThreads; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
  assert_int_equal(bw_tell(rig->bw), test_records_bytes(records));
  assert_int_equal(bw_flush(rig->bw), 0);
  size_t length;
  char *bytes = test_sink_bytes(&rig->sink, &length);
  assert_true(test_records_check(records, bytes, length, positions));
  assert_int_equal(rig->sink.most_inside, 1);
  free(bytes);
  free(positions);
}

static void test_shared__every_record_arrives_whole(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 256);
  const test_records records = {.threads = 4, .each = 2000, .longest = 100, .seed = 1};
  run_writers(rig, &records);
  test_rig_free(rig);
}

static void test_shared__large_records_stay_contiguous_though_the_sink_takes_little(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 64);
  test_sink_always(&rig->sink, TEST_SINK_WRITE, 23);
  const test_records records = {.threads = 4, .each = 500, .longest = 3 * 64, .seed = 2};
  run_writers(rig, &records);
  test_rig_free(rig);
}

static void test_shared__large_records_stay_contiguous_in_a_vectored_sink(void **state) {
  (void)state;
  test_rig *rig = RIG(TEST_SINK_HAS_ALL, .capacity = 64);
  test_sink_always(&rig->sink, TEST_SINK_WRITEV, 31);
  const test_records records = {.threads = 4, .each = 500, .longest = 3 * 64, .seed = 3};
  run_writers(rig, &records);
  test_rig_free(rig);
}

static void test_shared__a_buffer_of_one_byte_works(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 1);
  const test_records records = {.threads = 4, .each = 300, .longest = 5, .seed = 4};
  run_writers(rig, &records);
  test_rig_free(rig);
}

/* ---- While another thread is in the sink ----------------------------------------------------- */

static void test_shared__a_large_write_waits_for_the_thread_in_the_sink(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  test_call first = {.bw = rig->bw}, second = {.bw = rig->bw, .data = "ABCDEFGHIJ", .length = 10};
  test_thread inside, waiting;
  fill(rig);
  test_sink_hold(&rig->sink);
  test_thread_start(&inside, test_call_flush, &first);
  assert_true(test_sink_await_inside(&rig->sink));
  test_thread_start(&waiting, test_call_write, &second);
  assert_false(test_thread_settle(&waiting));
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&inside), 0);
  assert_int_equal(test_thread_join(&waiting), 10);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "abcdefghABCDEFGHIJ");
  assert_int_equal(rig->sink.most_inside, 1);
  test_rig_free(rig);
}

static void test_shared__a_flush_waits_for_the_thread_in_the_sink(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  test_call first = {.bw = rig->bw, .data = "ij", .length = 2}, second = {.bw = rig->bw};
  test_thread inside, waiting;
  fill(rig);
  test_sink_hold(&rig->sink);
  test_thread_start(&inside, test_call_write, &first);
  assert_true(test_sink_await_inside(&rig->sink));
  test_thread_start(&waiting, test_call_flush, &second);
  assert_false(test_thread_settle(&waiting));
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&inside), 2);
  assert_int_equal(test_thread_join(&waiting), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "abcdefghij");
  test_rig_free(rig);
}

static void test_shared__nothing_waits_for_the_thread_in_the_sink_with_nonblock(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .flags = BW_NONBLOCK);
  test_call call = {.bw = rig->bw};
  test_thread inside;
  fill(rig);
  test_sink_hold(&rig->sink);
  test_thread_start(&inside, test_call_flush, &call);
  assert_true(test_sink_await_inside(&rig->sink));
  const struct iovec parts[2] = {{(void *)"ABCDE", 5}, {(void *)"FGHIJ", 5}};
  assert_int_equal(bw_write(rig->bw, "ABCDEFGHIJ", 10), -EAGAIN);
  assert_int_equal(bw_writev(rig->bw, parts, 2), -EAGAIN);
  assert_int_equal(bw_append(rig->bw, "ABCDEFGHIJ", 10), -EAGAIN);
  assert_int_equal(bw_appendv(rig->bw, parts, 2), -EAGAIN);
  assert_int_equal(bw_flush(rig->bw), -EAGAIN);
  assert_int_equal(bw_sync(rig->bw), -EAGAIN);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), -EAGAIN);
  assert_int_equal(bw_discard(rig->bw), -EAGAIN);
  assert_int_equal(bw_close(rig->bw), -EAGAIN);
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&inside), 0);
  assert_int_equal(bw_tell(rig->bw), 8);
  assert_int_equal(bw_write(rig->bw, "ABCDEFGHIJ", 10), 10);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "abcdefghABCDEFGHIJ");
  test_rig_free(rig);
}

static void test_shared__polls_never_wait_and_their_wakers_come_when_the_sink_is_free(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  enum { kWakers = 6 };
  test_waker wakers[kWakers];
  bw_waker_t wake[kWakers];
  test_call call = {.bw = rig->bw};
  test_thread inside;
  for (int i = 0; i < kWakers; ++i) {
    wakers[i] = (test_waker){0};
    wake[i] = test_waker_of(&wakers[i]);
  }
  fill(rig);
  test_sink_hold(&rig->sink);
  test_thread_start(&inside, test_call_flush, &call);
  assert_true(test_sink_await_inside(&rig->sink));
  const struct iovec part = {(void *)"ABCDEFGHIJ", 10};
  assert_int_equal(bw_poll_write(rig->bw, "ABCDEFGHIJ", 10, &wake[0]), -EAGAIN);
  assert_int_equal(bw_poll_writev(rig->bw, &part, 1, &wake[1]), -EAGAIN);
  assert_int_equal(bw_poll_append(rig->bw, "ABCDEFGHIJ", 10, &wake[2]), -EAGAIN);
  assert_int_equal(bw_poll_appendv(rig->bw, &part, 1, &wake[3]), -EAGAIN);
  assert_int_equal(bw_poll_flush(rig->bw, &wake[4]), -EAGAIN);
  assert_int_equal(bw_poll_sync(rig->bw, &wake[5]), -EAGAIN);
  for (int i = 0; i < kWakers; ++i) assert_int_equal(atomic_load(&wakers[i].calls), 0);
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&inside), 0);
  for (int i = 0; i < kWakers; ++i) assert_true(test_waker_await(&wakers[i], 1));
  assert_int_equal(bw_poll_append(rig->bw, "ABCDEFGHIJ", 10, NULL), 8);
  assert_int_equal(bw_poll_flush(rig->bw, NULL), 0);
  assert_sink_holds(rig, "abcdefghABCDEFGHIJ");
  test_rig_free_writer(rig);
  for (int i = 0; i < kWakers; ++i) assert_int_equal(atomic_load(&wakers[i].calls), 1);
  test_rig_free(rig);
}

static void test_shared__a_write_that_fits_is_not_lost_while_the_sink_is_busy(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  test_call first = {.bw = rig->bw}, second = {.bw = rig->bw, .data = "AB", .length = 2};
  test_thread inside, fitting;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  test_sink_hold(&rig->sink);
  test_thread_start(&inside, test_call_sync, &first);
  assert_true(test_sink_await_inside(&rig->sink));
  test_thread_start(&fitting, test_call_write, &second);
  (void)test_thread_settle(&fitting);
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&inside), 0);
  assert_int_equal(test_thread_join(&fitting), 2);
  assert_int_equal(bw_tell(rig->bw), 5);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "abcAB");
  test_rig_free(rig);
}

static void test_shared__a_poll_that_fits_is_taken_or_pending_while_the_sink_is_busy(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  test_call call = {.bw = rig->bw};
  test_thread inside;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  test_sink_hold(&rig->sink);
  test_thread_start(&inside, test_call_sync, &call);
  assert_true(test_sink_await_inside(&rig->sink));
  int64_t taken = bw_poll_write(rig->bw, "AB", 2, &wake);
  assert_true(taken == 2 || taken == -EAGAIN);
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&inside), 0);
  if (taken == -EAGAIN) {
    assert_true(test_waker_await(&waker, 1));
    taken = bw_poll_write(rig->bw, "AB", 2, NULL);
  }
  assert_int_equal(taken, 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "abcAB");
  test_rig_free(rig);
}

static void test_shared__wake_error_position_buffered_and_stats_answer_while_the_sink_is_busy(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  test_call call = {.bw = rig->bw};
  test_thread inside;
  bw_stats_t stats = {.size = sizeof stats};
  fill(rig);
  test_sink_hold(&rig->sink);
  test_thread_start(&inside, test_call_flush, &call);
  assert_true(test_sink_await_inside(&rig->sink));
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 8);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 0);
  assert_int_equal(bw_buffered(rig->bw), 8);
  assert_int_equal(bw_get_stats(rig->bw, &stats), 0);
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&inside), 0);
  test_rig_free(rig);
}

/* ---- Errors ---------------------------------------------------------------------------------- */

static void test_shared__a_failed_write_is_tried_again_by_whoever_comes_next(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3, -EIO);
  test_call call = {.bw = rig->bw};
  test_thread other;
  fill(rig);
  assert_int_equal(bw_write(rig->bw, "ijklmn", 6), -EIO);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_tell(rig->bw), 8);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 3);
  assert_int_equal(bw_buffered(rig->bw), 5);
  test_thread_start(&other, test_call_flush, &call);
  assert_int_equal(test_thread_join(&other), 0);
  assert_sink_holds(rig, "abcdefgh");
  test_rig_free(rig);
}

static void test_shared__a_thread_that_waited_makes_its_own_try_after_a_failure(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO);
  test_call first = {.bw = rig->bw}, second = {.bw = rig->bw, .data = "ABCDEFGHIJ", .length = 10};
  test_thread inside, waiting;
  fill(rig);
  test_sink_hold(&rig->sink);
  test_thread_start(&inside, test_call_flush, &first);
  assert_true(test_sink_await_inside(&rig->sink));
  test_thread_start(&waiting, test_call_write, &second);
  assert_false(test_thread_settle(&waiting));
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&inside), -EIO);
  assert_int_equal(test_thread_join(&waiting), 10);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "abcdefghABCDEFGHIJ");
  test_rig_free(rig);
}

static void test_shared__a_bypass_that_fails_part_way_gives_a_short_count(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 5, -EIO);
  assert_int_equal(bw_write(rig->bw, "abcdefghijklmnopqrst", 20), 5);
  assert_int_equal(bw_tell(rig->bw), 5);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_ERROR), 1);
  assert_int_equal(test_events_get(&rig->events, BW_EVENT_ERROR, 0).code, -EIO);
  assert_int_equal(bw_write(rig->bw, "fghijklmnopqrst", 15), 15);
  assert_sink_holds(rig, "abcdefghijklmnopqrst");
  test_rig_free(rig);
}

static void test_shared__an_append_that_fails_part_way_has_succeeded(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 5, -EIO);
  assert_int_equal(bw_append(rig->bw, "abcdefghijklmnopqrst", 20), 0);
  assert_int_equal(bw_tell(rig->bw), 20);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 5);
  assert_int_equal(bw_write(rig->bw, "uv", 2), 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "abcdefghijklmnopqrstuv");
  test_rig_free(rig);
}

static void test_shared__an_inline_writer_never_waits_for_a_sink_that_is_not_ready(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EAGAIN, 3, -EAGAIN);
  fill(rig);
  assert_int_equal(bw_flush(rig->bw), -EAGAIN);
  assert_int_equal(bw_write(rig->bw, "ABCDEFGHIJ", 10), -EAGAIN);
  assert_int_equal(bw_tell(rig->bw), 8);
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_ERROR), 0);
  assert_int_equal(bw_write(rig->bw, "ABCDEFGHIJ", 10), 10);
  assert_sink_holds(rig, "abcdefghABCDEFGHIJ");
  test_rig_free(rig);
}

static void test_shared__random_failures_lose_and_repeat_nothing(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 16);
  char data[4000];
  size_t accepted = 0;
  uint64_t random = 11;
  test_pattern(data, sizeof data, 5);
  for (int i = 0; i < 2000; ++i) {
    const uint64_t shape = test_random(&random) % 4;
    const int64_t answer = shape == 0 ? -EIO : shape == 1 ? -EINTR : (int64_t)(test_random(&random) % 24) + 1;
    TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, answer);
  }
  while (accepted < sizeof data) {
    size_t length = (size_t)(test_random(&random) % 40) + 1;
    if (length > sizeof data - accepted) length = sizeof data - accepted;
    const int64_t taken = bw_write(rig->bw, data + accepted, length);
    assert_true(taken == -EIO || (taken > 0 && taken <= (int64_t)length));
    if (taken > 0) accepted += (size_t)taken;
    assert_int_equal(bw_tell(rig->bw), accepted);
  }
  while (bw_flush(rig->bw) == -EIO) continue;
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  test_rig_free(rig);
}

/* ---- Seeks ----------------------------------------------------------------------------------- */

static void test_shared__a_seek_flushes_and_moves_the_position(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_seek(rig->bw, 5, SEEK_SET), 5);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), 1);
  assert_int_equal(bw_tell(rig->bw), 5);
  assert_int_equal(bw_append(rig->bw, "de", 2), 5);
  assert_int_equal(bw_seek(rig->bw, -1, SEEK_END), 6);
  assert_int_equal(bw_write(rig->bw, "E", 1), 1);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, "abc\0\0dE", 7));
  test_rig_free(rig);
}

static void test_shared__a_failed_flush_keeps_a_seek_from_moving_anything(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), -EIO);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SEEK), 0);
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(bw_seek(rig->bw, 1, SEEK_SET), 1);
  assert_int_equal(bw_write(rig->bw, "B", 1), 1);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "aBc");
  test_rig_free(rig);
}

static void test_shared__a_seek_waits_for_the_thread_in_the_sink(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  test_call first = {.bw = rig->bw}, second = {.bw = rig->bw, .position = 1, .level = SEEK_SET};
  test_thread inside, waiting;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  test_sink_hold(&rig->sink);
  test_thread_start(&inside, test_call_flush, &first);
  assert_true(test_sink_await_inside(&rig->sink));
  test_thread_start(&waiting, test_call_seek, &second);
  assert_false(test_thread_settle(&waiting));
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&inside), 0);
  assert_int_equal(test_thread_join(&waiting), 1);
  assert_int_equal(bw_tell(rig->bw), 1);
  test_rig_free(rig);
}

static int64_t seek_to_where_it_stands(void *arg) {
  bw_t *bw = arg;
  for (int i = 0; i < 300; ++i) {
    const int64_t position = bw_seek(bw, 0, SEEK_CUR);
    if (position < 0) return position;
  }
  return 0;
}

static void test_shared__seeks_between_the_writes_of_other_threads_lose_nothing(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 64);
  const test_records records = {.threads = 4, .each = 1000, .longest = 100, .seed = 6};
  test_thread seeking;
  test_thread_start(&seeking, seek_to_where_it_stands, rig->bw);
  run_writers(rig, &records);
  assert_int_equal(test_thread_join(&seeking), 0);
  test_rig_free(rig);
}

/* ---- Spans ----------------------------------------------------------------------------------- */

static void test_shared__a_span_has_exactly_the_length_asked_for(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 16);
  bw_span_t span;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_reserve(rig->bw, 4, &span), 0);
  assert_int_equal(span.length, 4);
  assert_int_equal(span.position, 3);
  memcpy(span.data, "defg", 4);
  assert_int_equal(bw_commit(rig->bw, &span, 4), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "abcdefg");
  test_rig_free(rig);
}

static void test_shared__spans_are_committed_in_any_order(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 16);
  bw_span_t spans[3];
  for (int i = 0; i < 3; ++i) {
    assert_int_equal(bw_reserve(rig->bw, 2, &spans[i]), 0);
    assert_int_equal(spans[i].position, 2 * i);
  }
  for (int i = 2; i >= 0; --i) {
    memcpy(spans[i].data, &"aabbcc"[2 * i], 2);
    assert_int_equal(bw_commit(rig->bw, &spans[i], 2), 0);
  }
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "aabbcc");
  test_rig_free(rig);
}

static void test_shared__a_span_cannot_be_given_back_or_committed_in_part_or_twice(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 16);
  bw_span_t span;
  assert_int_equal(bw_reserve(rig->bw, 4, &span), 0);
  assert_int_equal(bw_commit(rig->bw, &span, 0), -EINVAL);
  assert_int_equal(bw_commit(rig->bw, &span, 3), -EINVAL);
  assert_int_equal(bw_commit(rig->bw, &span, 5), -EINVAL);
  memcpy(span.data, "abcd", 4);
  assert_int_equal(bw_commit(rig->bw, &span, 4), 0);
  assert_int_equal(bw_commit(rig->bw, &span, 4), -EINVAL);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "abcd");
  test_rig_free(rig);
}

static void test_shared__spans_of_no_length_or_over_the_capacity_are_refused(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 16);
  bw_span_t span;
  assert_int_equal(bw_reserve(rig->bw, 0, &span), -EINVAL);
  assert_int_equal(bw_reserve(rig->bw, 17, &span), -EMSGSIZE);
  assert_int_equal(bw_reserve(rig->bw, 4, NULL), -EINVAL);
  assert_int_equal(bw_commit(rig->bw, NULL, 4), -EINVAL);
  test_rig_free(rig);
}

static void test_shared__a_span_of_the_whole_capacity_flushes_what_is_before_it(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 16);
  bw_span_t span;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_reserve(rig->bw, 16, &span), 0);
  assert_sink_holds(rig, "abc");
  assert_int_equal(span.position, 3);
  assert_int_equal(span.length, 16);
  memcpy(span.data, "0123456789abcdef", 16);
  assert_int_equal(bw_commit(rig->bw, &span, 16), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "abc0123456789abcdef");
  test_rig_free(rig);
}

static void test_shared__a_flush_waits_for_an_open_span(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 16);
  bw_span_t span;
  test_call call = {.bw = rig->bw};
  test_thread flushing;
  assert_int_equal(bw_write(rig->bw, "ab", 2), 2);
  assert_int_equal(bw_reserve(rig->bw, 2, &span), 0);
  test_thread_start(&flushing, test_call_flush, &call);
  assert_false(test_thread_settle(&flushing));
  memcpy(span.data, "cd", 2);
  assert_int_equal(bw_commit(rig->bw, &span, 2), 0);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_sink_holds(rig, "abcd");
  test_rig_free(rig);
}

static void test_shared__accepted_and_unwritten_end_at_an_open_span(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 16);
  bw_span_t span;
  assert_int_equal(bw_write(rig->bw, "ab", 2), 2);
  assert_int_equal(bw_reserve(rig->bw, 2, &span), 0);
  assert_int_equal(bw_write(rig->bw, "ef", 2), 2);
  assert_true(bw_position(rig->bw, BW_ACCEPTED) <= 2);
  assert_true(bw_unwritten(rig->bw, NULL, NULL) <= 2);
  assert_int_equal(bw_tell(rig->bw), 6);
  assert_int_equal(bw_buffered(rig->bw), 6);
  assert_int_equal(bw_discard(rig->bw), -EBUSY);
  memcpy(span.data, "cd", 2);
  assert_int_equal(bw_commit(rig->bw, &span, 2), 0);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 6);
  assert_int_equal(bw_unwritten(rig->bw, NULL, NULL), 6);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "abcdef");
  test_rig_free(rig);
}

static void test_shared__polls_and_nonblock_do_not_wait_for_an_open_span(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 16, .flags = BW_NONBLOCK);
  bw_span_t span;
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  assert_int_equal(bw_reserve(rig->bw, 2, &span), 0);
  assert_int_equal(bw_flush(rig->bw), -EAGAIN);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  assert_int_equal(atomic_load(&waker.calls), 0);
  memcpy(span.data, "ab", 2);
  assert_int_equal(bw_commit(rig->bw, &span, 2), 0);
  assert_true(test_waker_await(&waker, 1));
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_sink_holds(rig, "ab");
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&waker.calls), 1);
  test_rig_free(rig);
}

static void test_shared__a_poll_pending_on_a_span_is_woken_though_others_wrote_on(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 16);
  bw_span_t span;
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  assert_int_equal(bw_reserve(rig->bw, 2, &span), 0);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN); /* for the two bytes of the span */
  assert_int_equal(bw_write(rig->bw, "cde", 3), 3);         /* more than what it waits for, but not that */
  memcpy(span.data, "ab", 2);
  assert_int_equal(bw_commit(rig->bw, &span, 2), 0);
  assert_true(test_waker_await(&waker, 1));
  assert_int_equal(bw_poll_flush(rig->bw, NULL), 0);
  assert_true(test_sink_holds(&rig->sink, "abcde", 5));
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&waker.calls), 1);
  test_rig_free(rig);
}

static void test_shared__free_with_an_open_span_writes_what_is_before_and_tells_what_is_behind(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 16);
  bw_span_t span;
  assert_int_equal(bw_write(rig->bw, "ab", 2), 2);
  assert_int_equal(bw_reserve(rig->bw, 2, &span), 0);
  memcpy(span.data, "--", 2);
  assert_int_equal(bw_write(rig->bw, "cd", 2), 2);
  test_rig_free_writer(rig);
  assert_sink_holds(rig, "ab");
  const size_t count = test_events_count(&rig->events, BW_EVENT_LOST);
  assert_true(count > 0);
  const test_event last = test_events_get(&rig->events, BW_EVENT_LOST, count - 1);
  assert_int_equal(last.position + (int64_t)last.length, 6);
  assert_true(rig->events.lost_length >= 2);
  assert_memory_equal(rig->events.lost + rig->events.lost_length - 2, "cd", 2);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  test_rig_free(rig);
}

struct reserving {
  bw_t *bw;
  const test_records *records;
  unsigned thread;
};

static int64_t reserve_records(void *arg) {
  const struct reserving *reserving = arg;
  char *record = malloc(reserving->records->longest + 8);
  int64_t code = 0;
  for (unsigned number = 0; number < reserving->records->each && code == 0; ++number) {
    bw_span_t span;
    const size_t length = test_record_make(reserving->records, reserving->thread, number, record);
    code = bw_reserve(reserving->bw, length, &span);
    if (code == 0 && span.length != length) code = -ENODATA;
    if (code == 0) {
      memcpy(span.data, record, length);
      code = bw_commit(reserving->bw, &span, length);
    }
  }
  free(record);
  return code;
}

static void test_shared__spans_of_many_threads_arrive_whole(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 100);
  const test_records records = {.threads = 4, .each = 2000, .longest = 100, .seed = 7};
  test_thread threads[4];
  struct reserving reserving[4];
  for (unsigned i = 0; i < 4; ++i) {
    reserving[i] = (struct reserving){rig->bw, &records, i};
    test_thread_start(&threads[i], reserve_records, &reserving[i]);
  }
  for (unsigned i = 0; i < 4; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  size_t length;
  char *bytes = test_sink_bytes(&rig->sink, &length);
  assert_true(test_records_check(&records, bytes, length, NULL));
  free(bytes);
  test_rig_free(rig);
}

/* ---- Linger ---------------------------------------------------------------------------------- */

static void test_shared__linger_hands_on_a_part_filled_buffer_by_itself(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 64, .linger_us = 1000);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 1));
  assert_sink_holds(rig, "abc");
  assert_false(pthread_equal(test_sink_last(&rig->sink, TEST_SINK_WRITE).thread, pthread_self()));
  assert_int_equal(bw_write(rig->bw, "def", 3), 3);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 2));
  assert_sink_holds(rig, "abcdef");
  test_rig_free(rig);
}

static void test_shared__without_linger_time_alone_does_nothing(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 64);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_wait(rig->bw, 4, BW_ACCEPTED, 20000), -ETIMEDOUT);
  assert_int_equal(bw_buffered(rig->bw), 3);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), 0);
  test_rig_free(rig);
}

static void test_shared__what_fails_by_linger_is_told_to_on_event_and_tried_again(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 64, .linger_us = 1000);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -EIO, -ENOSPC);
  assert_int_equal(bw_write(rig->bw, "abcdef", 6), 6);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 4));
  assert_true(test_events_await(&rig->events, BW_EVENT_ERROR, 2));
  assert_int_equal(test_events_get(&rig->events, BW_EVENT_ERROR, 0).code, -EIO);
  assert_int_equal(test_events_get(&rig->events, BW_EVENT_ERROR, 1).code, -ENOSPC);
  assert_sink_holds(rig, "abcdef");
  assert_int_equal(bw_error(rig->bw), 0);
  test_rig_free(rig);
}

static void test_shared__what_linger_found_not_ready_goes_on_after_a_wake(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 64, .linger_us = 1000);
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, "abcdef", 6), 6);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 1));
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 2));
  assert_sink_holds(rig, "abcdef");
  assert_int_equal(test_events_count(&rig->events, BW_EVENT_ERROR), 0);
  test_rig_free(rig);
}

/* ---- Closing --------------------------------------------------------------------------------- */

static void test_shared__close_flushes_and_closes_the_sink_once(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_sink_holds(rig, "abc");
  assert_true(test_sink_count(&rig->sink, TEST_SINK_FLUSH) >= 1);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 0);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, "d", 1), -ESHUTDOWN);
  assert_int_equal(bw_append(rig->bw, "d", 1), -ESHUTDOWN);
  assert_int_equal(bw_flush(rig->bw), -ESHUTDOWN);
  assert_int_equal(bw_sync(rig->bw), -ESHUTDOWN);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), -ESHUTDOWN);
  test_rig_free_writer(rig);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_CLOSE), 1);
  test_rig_free(rig);
}

static int64_t write_until_closed(void *arg) {
  bw_t *bw = arg;
  int64_t total = 0;
  for (;;) {
    const int64_t taken = bw_write(bw, "0123456789", 10);
    if (taken < 0) return taken == -ESHUTDOWN ? total : taken;
    total += taken;
  }
}

static void test_shared__close_while_others_write_keeps_all_that_was_accepted(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 64);
  test_thread threads[3];
  int64_t accepted = 0;
  for (int i = 0; i < 3; ++i) test_thread_start(&threads[i], write_until_closed, rig->bw);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 20));
  assert_int_equal(bw_close(rig->bw), 0);
  for (int i = 0; i < 3; ++i) {
    const int64_t total = test_thread_join(&threads[i]);
    assert_true(total >= 0);
    accepted += total;
  }
  assert_int_equal(rig->sink.length, accepted);
  test_rig_free(rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shared__one_thread_sees_the_rules_of_inline_writers),
      cmocka_unit_test(test_shared__the_sink_is_called_by_the_thread_that_fills_the_buffer),
      cmocka_unit_test(test_shared__a_write_that_does_not_fit_is_not_split),
      cmocka_unit_test(test_shared__bw_buffer_tells_nothing),
      cmocka_unit_test(test_shared__every_record_arrives_whole),
      cmocka_unit_test(test_shared__large_records_stay_contiguous_though_the_sink_takes_little),
      cmocka_unit_test(test_shared__large_records_stay_contiguous_in_a_vectored_sink),
      cmocka_unit_test(test_shared__a_buffer_of_one_byte_works),
      cmocka_unit_test(test_shared__a_large_write_waits_for_the_thread_in_the_sink),
      cmocka_unit_test(test_shared__a_flush_waits_for_the_thread_in_the_sink),
      cmocka_unit_test(test_shared__nothing_waits_for_the_thread_in_the_sink_with_nonblock),
      cmocka_unit_test(test_shared__polls_never_wait_and_their_wakers_come_when_the_sink_is_free),
      cmocka_unit_test(test_shared__a_write_that_fits_is_not_lost_while_the_sink_is_busy),
      cmocka_unit_test(test_shared__a_poll_that_fits_is_taken_or_pending_while_the_sink_is_busy),
      cmocka_unit_test(test_shared__wake_error_position_buffered_and_stats_answer_while_the_sink_is_busy),
      cmocka_unit_test(test_shared__a_failed_write_is_tried_again_by_whoever_comes_next),
      cmocka_unit_test(test_shared__a_thread_that_waited_makes_its_own_try_after_a_failure),
      cmocka_unit_test(test_shared__a_bypass_that_fails_part_way_gives_a_short_count),
      cmocka_unit_test(test_shared__an_append_that_fails_part_way_has_succeeded),
      cmocka_unit_test(test_shared__an_inline_writer_never_waits_for_a_sink_that_is_not_ready),
      cmocka_unit_test(test_shared__random_failures_lose_and_repeat_nothing),
      cmocka_unit_test(test_shared__a_seek_flushes_and_moves_the_position),
      cmocka_unit_test(test_shared__a_failed_flush_keeps_a_seek_from_moving_anything),
      cmocka_unit_test(test_shared__a_seek_waits_for_the_thread_in_the_sink),
      cmocka_unit_test(test_shared__seeks_between_the_writes_of_other_threads_lose_nothing),
      cmocka_unit_test(test_shared__a_span_has_exactly_the_length_asked_for),
      cmocka_unit_test(test_shared__spans_are_committed_in_any_order),
      cmocka_unit_test(test_shared__a_span_cannot_be_given_back_or_committed_in_part_or_twice),
      cmocka_unit_test(test_shared__spans_of_no_length_or_over_the_capacity_are_refused),
      cmocka_unit_test(test_shared__a_span_of_the_whole_capacity_flushes_what_is_before_it),
      cmocka_unit_test(test_shared__a_flush_waits_for_an_open_span),
      cmocka_unit_test(test_shared__accepted_and_unwritten_end_at_an_open_span),
      cmocka_unit_test(test_shared__polls_and_nonblock_do_not_wait_for_an_open_span),
      cmocka_unit_test(test_shared__a_poll_pending_on_a_span_is_woken_though_others_wrote_on),
      cmocka_unit_test(test_shared__free_with_an_open_span_writes_what_is_before_and_tells_what_is_behind),
      cmocka_unit_test(test_shared__spans_of_many_threads_arrive_whole),
      cmocka_unit_test(test_shared__linger_hands_on_a_part_filled_buffer_by_itself),
      cmocka_unit_test(test_shared__without_linger_time_alone_does_nothing),
      cmocka_unit_test(test_shared__what_fails_by_linger_is_told_to_on_event_and_tried_again),
      cmocka_unit_test(test_shared__what_linger_found_not_ready_goes_on_after_a_wake),
      cmocka_unit_test(test_shared__close_flushes_and_closes_the_sink_once),
      cmocka_unit_test(test_shared__close_while_others_write_keeps_all_that_was_accepted),
  };
  return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
