/*
 * All memory is allocated at creation. This program has a malloc family and mmap that count and, if told so, fail
 * (failing.h). Where nothing can be counted the tests are skipped.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/failing.h"
#include "../support/threads.h"

static void count_from_now(int may_succeed) {
  failing_begin(FAILING_MEMORY, may_succeed == INT32_MAX ? 0 : may_succeed + 1, true, 0);
}

static int stop_counting(void) { return failing_end(); }

static void skip_if_blind(void) {
  if (failing_is_blind()) skip();
}

/* ---- A sink that allocates nothing ----------------------------------------------------------- */

typedef struct fixed_sink {
  char data[1 << 16];
  size_t length;
  int64_t script[8]; /* answers to come; after the last: take all */
  size_t script_length, script_next;
} fixed_sink;

static int64_t fixed_write(void *ctx, const void *data, size_t length) {
  fixed_sink *sink = ctx;
  int64_t answer = (int64_t)length;
  if (sink->script_next < sink->script_length) answer = sink->script[sink->script_next++];
  if (answer > (int64_t)length) answer = (int64_t)length;
  if (answer > 0) {
    if (sink->length + (size_t)answer > sizeof sink->data) sink->length = 0;
    memcpy(sink->data + sink->length, data, (size_t)answer);
    sink->length += (size_t)answer;
  }
  return answer;
}

static int fixed_nothing(void *ctx) {
  (void)ctx;
  return 0;
}

static int64_t fixed_seek(void *ctx, int64_t offset, int whence) {
  (void)ctx;
  (void)whence;
  return offset;
}

static const bw_sink_t kOps = {.size = sizeof(bw_sink_t),
                               .write = fixed_write,
                               .flush = fixed_nothing,
                               .seek = fixed_seek,
                               .sync = fixed_nothing,
                               .close = fixed_nothing};

static void ignore_event(void *arg, const bw_event_t *event) {
  (void)arg;
  (void)event;
}

static bw_t *new_writer(fixed_sink *sink, uint32_t flags, uint64_t capacity, uint64_t linger_us) {
  const bw_options_t options = {.size = sizeof options, .flags = flags, .capacity = capacity, .linger_us = linger_us,
                                .on_event = ignore_event};
  bw_t *bw = NULL;
  memset(sink, 0, sizeof *sink);
  assert_int_equal(bw_new(&bw, &kOps, sink, &options), 0);
  return bw;
}

static fixed_sink the_sink, the_other_sink;

/* ---- Zero allocations on the write path ------------------------------------------------------ */

static void ignore_wake(void *arg) { (void)arg; }

/* Every way to write, and all that goes with it; the number of calls that did not give what they should. */
static int write_in_every_way(bw_t *bw, bool shared) {
  char data[200];
  const struct iovec parts[2] = {{data, 50}, {data + 50, 7}};
  const bw_waker_t wake = {ignore_wake, data};
  int wrong = 0;
  test_pattern(data, sizeof data, 1);
  for (int i = 0; i < 200; ++i) {
    bw_span_t span;
    wrong += bw_write(bw, data, 10) != 10;
    wrong += bw_write(bw, data, sizeof data) != sizeof data;
    wrong += bw_writev(bw, parts, 2) != 57;
    wrong += bw_append(bw, data, 20) < 0;
    wrong += bw_append(bw, data, sizeof data) < 0;
    wrong += bw_appendv(bw, parts, 2) < 0;
    wrong += bw_reserve(bw, 16, &span) != 0;
    memcpy(span.data, data, 16);
    wrong += bw_commit(bw, &span, 16) != 0;
    const int64_t polled = bw_poll_write(bw, data, 10, &wake);
    wrong += polled != -EAGAIN && polled <= 0;
    const int64_t appended = bw_poll_append(bw, data, 10, &wake);
    wrong += appended < 0 && appended != -EAGAIN;
    const int flushed = bw_poll_flush(bw, &wake);
    wrong += flushed != 0 && flushed != -EAGAIN;
    (void)bw_unwake(bw, &wake);
    wrong += bw_flush(bw) != 0;
    if (i % 10 == 0) wrong += bw_sync(bw) != 0;
    if (i % 10 == 1) wrong += bw_wait(bw, bw_tell(bw), shared ? BW_DURABLE : BW_WRITTEN, -1) != 0;
    wrong += bw_position(bw, BW_ACCEPTED) != bw_position(bw, BW_WRITTEN);
  }
  return wrong;
}

static void test_alloc__writing_allocates_nothing(void **state) {
  (void)state;
  static const uint32_t kModes[] = {BW_UNSHARED, 0, BW_BACKGROUND, BW_BACKGROUND | BW_UNSHARED};
  skip_if_blind();
  for (int mode = 0; mode < 4; ++mode) {
    bw_t *bw = new_writer(&the_sink, kModes[mode], 64, 0);
    count_from_now(INT32_MAX);
    const int wrong = write_in_every_way(bw, !(kModes[mode] & BW_UNSHARED));
    assert_int_equal(stop_counting(), 0);
    assert_int_equal(wrong, 0);
    bw_free(bw);
  }
}

static void test_alloc__writing_with_linger_allocates_nothing(void **state) {
  (void)state;
  skip_if_blind();
  for (int mode = 0; mode < 2; ++mode) {
    bw_t *bw = new_writer(&the_sink, mode ? BW_BACKGROUND : 0, 64, 100);
    count_from_now(INT32_MAX);
    const int wrong = write_in_every_way(bw, true);
    assert_int_equal(stop_counting(), 0);
    assert_int_equal(wrong, 0);
    bw_free(bw);
  }
}

static void test_alloc__writing_to_a_lane_allocates_nothing(void **state) {
  (void)state;
  skip_if_blind();
  for (int mode = 0; mode < 2; ++mode) {
    bw_t *parent = new_writer(&the_sink, mode ? BW_BACKGROUND : 0, 256, 0), *lane = NULL;
    const bw_options_t options = {.size = sizeof options, .capacity = 64};
    assert_int_equal(bw_lane(&lane, parent, &options), 0);
    count_from_now(INT32_MAX);
    const int wrong = write_in_every_way(lane, false);
    assert_int_equal(stop_counting(), 0);
    assert_int_equal(wrong, 0);
    bw_free(lane);
    bw_free(parent);
  }
}

static void test_alloc__failing_and_trying_again_allocates_nothing(void **state) {
  (void)state;
  static const uint32_t kModes[] = {BW_UNSHARED, 0, BW_BACKGROUND, BW_BACKGROUND | BW_UNSHARED};
  skip_if_blind();
  for (int mode = 0; mode < 4; ++mode) {
    bw_t *bw = new_writer(&the_sink, kModes[mode], 64, 0);
    memcpy(the_sink.script, ((int64_t[]){3, -EIO, 2, -ENOSPC}), 4 * sizeof(int64_t));
    the_sink.script_length = 4;
    count_from_now(INT32_MAX);
    const int64_t taken = bw_write(bw, "abcdefghij", 10);
    const int first = bw_flush(bw), resumed = bw_resume(bw), second = bw_flush(bw);
    const int64_t unwritten = bw_unwritten(bw, NULL, NULL);
    const int again = bw_resume(bw), third = bw_flush(bw);
    assert_int_equal(stop_counting(), 0);
    assert_int_equal(taken, 10);
    assert_int_equal(first, -EIO);
    assert_int_equal(resumed, 0);
    assert_int_equal(second, -ENOSPC);
    assert_int_equal(unwritten, 5);
    assert_int_equal(again, 0);
    assert_int_equal(third, 0);
    assert_int_equal(the_sink.length, 10);
    bw_free(bw);
  }
}

struct hammering {
  bw_t *bw;
  test_gate *begin, *end;
};

static int64_t hammer(void *arg) {
  const struct hammering *hammering = arg;
  int64_t wrong = 0;
  test_gate_pass(hammering->begin); /* nothing that a thread allocates at its start is counted */
  for (int i = 0; i < 3000; ++i) wrong += bw_write(hammering->bw, "0123456789abcdef0123456789abcdef", 32) != 32;
  wrong += bw_flush(hammering->bw) != 0;
  test_gate_pass(hammering->end);
  return wrong;
}

static void test_alloc__four_threads_at_once_allocate_nothing(void **state) {
  (void)state;
  skip_if_blind();
  for (int mode = 0; mode < 2; ++mode) {
    bw_t *bw = new_writer(&the_sink, mode ? BW_BACKGROUND : 0, 256, 0);
    test_gate begin, end;
    struct hammering hammering = {bw, &begin, &end};
    test_thread threads[4];
    test_gate_init(&begin, 0);
    test_gate_init(&end, 0);
    for (int i = 0; i < 4; ++i) test_thread_start(&threads[i], hammer, &hammering);
    assert_true(test_gate_await(&begin, 4));
    count_from_now(INT32_MAX);
    test_gate_open(&begin);
    assert_true(test_gate_await(&end, 4));
    const int counted = stop_counting();
    test_gate_open(&end);
    for (int i = 0; i < 4; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
    assert_int_equal(counted, 0);
    bw_free(bw);
    test_gate_destroy(&begin);
    test_gate_destroy(&end);
  }
}

/* ---- The one exception ----------------------------------------------------------------------- */

static void test_alloc__an_append_that_stops_part_way_keeps_the_rest_in_new_memory(void **state) {
  (void)state;
  skip_if_blind();
  for (int mode = 0; mode < 2; ++mode) {
    bw_t *bw = new_writer(&the_sink, mode ? BW_UNSHARED : 0, 8, 0);
    char data[500];
    test_pattern(data, sizeof data, 2);
    memcpy(the_sink.script, ((int64_t[]){5, -EIO}), 2 * sizeof(int64_t));
    the_sink.script_length = 2;
    count_from_now(INT32_MAX);
    const int64_t position = bw_append(bw, data, sizeof data);
    assert_true(stop_counting() >= 1);
    assert_int_equal(position, 0);
    assert_int_equal(bw_tell(bw), sizeof data);
    assert_int_equal(bw_flush(bw), 0);
    assert_int_equal(the_sink.length, sizeof data);
    assert_memory_equal(the_sink.data, data, sizeof data);
    bw_free(bw);
  }
}

static void test_alloc__without_memory_what_an_append_gave_the_sink_stays_accepted(void **state) {
  (void)state;
  skip_if_blind();
  for (int mode = 0; mode < 2; ++mode) {
    bw_t *bw = new_writer(&the_sink, mode ? BW_UNSHARED : 0, 8, 0);
    char data[500];
    test_pattern(data, sizeof data, 3);
    memcpy(the_sink.script, ((int64_t[]){5, -EIO}), 2 * sizeof(int64_t));
    the_sink.script_length = 2;
    count_from_now(0);
    const int64_t position = bw_append(bw, data, sizeof data);
    (void)stop_counting();
    assert_int_equal(position, -ENOMEM);
    const int64_t told = bw_tell(bw);
    assert_true(told >= 5 && told < (int64_t)sizeof data);
    assert_int_equal(bw_position(bw, BW_ACCEPTED), told);
    assert_int_equal(bw_flush(bw), 0);
    assert_int_equal(the_sink.length, told);
    assert_memory_equal(the_sink.data, data, (size_t)told);
    assert_int_equal(bw_append(bw, data + told, sizeof data - (size_t)told), told);
    assert_int_equal(bw_flush(bw), 0);
    assert_int_equal(the_sink.length, sizeof data);
    assert_memory_equal(the_sink.data, data, sizeof data);
    bw_free(bw);
  }
}

static void test_alloc__without_memory_an_append_that_did_not_begin_is_refused_whole(void **state) {
  (void)state;
  skip_if_blind();
  for (int mode = 0; mode < 2; ++mode) {
    bw_t *bw = new_writer(&the_sink, mode ? BW_UNSHARED : 0, 8, 0);
    char data[500];
    test_pattern(data, sizeof data, 4);
    the_sink.script[0] = -EIO;
    the_sink.script_length = 1;
    count_from_now(0);
    const int64_t position = bw_append(bw, data, sizeof data);
    (void)stop_counting();
    assert_int_equal(position, -EIO); /* nothing was taken: no memory is needed */
    assert_int_equal(bw_tell(bw), 0);
    bw_free(bw);
  }
}

/* ---- Creation without memory ----------------------------------------------------------------- */

static void test_alloc__a_writer_that_gets_too_little_memory_is_not_made(void **state) {
  (void)state;
  static const uint32_t kModes[] = {BW_UNSHARED, 0, BW_BACKGROUND, BW_BACKGROUND | BW_UNSHARED};
  skip_if_blind();
  for (int mode = 0; mode < 4; ++mode) {
    const bw_options_t options = {.size = sizeof options, .flags = kModes[mode], .capacity = 4096};
    int code = -ENOMEM, tries = 0;
    for (int allowance = 0; code < 0 && allowance < 1000; ++allowance, ++tries) {
      bw_t *bw = (bw_t *)&the_sink;
      count_from_now(allowance);
      code = bw_new(&bw, &kOps, &the_sink, &options);
      (void)stop_counting();
      if (code < 0) {
        assert_null(bw);
        assert_true(code == -ENOMEM || code == -EAGAIN); /* -EAGAIN: pthread_create's word for it */
      } else {
        assert_int_equal(code, 0);
        assert_int_equal(bw_write(bw, "abc", 3), 3);
        bw_free(bw);
      }
    }
    assert_int_equal(code, 0);
    assert_true(tries > 1);
  }
}

static void test_alloc__a_lane_that_gets_too_little_memory_is_not_made(void **state) {
  (void)state;
  skip_if_blind();
  bw_t *parent = new_writer(&the_sink, 0, 64, 0);
  int code = -ENOMEM;
  for (int allowance = 0; code < 0 && allowance < 1000; ++allowance) {
    bw_t *lane = (bw_t *)&the_sink;
    count_from_now(allowance);
    code = bw_lane(&lane, parent, NULL);
    (void)stop_counting();
    if (code < 0) {
      assert_null(lane);
      assert_int_equal(code, -ENOMEM);
    } else {
      bw_free(lane);
    }
  }
  assert_int_equal(code, 0);
  assert_int_equal(bw_close(parent), 0); /* no lane that was never made keeps it open */
  bw_free(parent);
}

static void test_alloc__a_new_sink_without_memory_changes_nothing(void **state) {
  (void)state;
  skip_if_blind();
  bw_t *bw = new_writer(&the_sink, BW_UNSHARED, 64, 0);
  memset(&the_other_sink, 0, sizeof the_other_sink);
  assert_int_equal(bw_write(bw, "abc", 3), 3);
  count_from_now(0);
  const int code = bw_set_sink(bw, &kOps, &the_other_sink);
  (void)stop_counting();
  assert_true(code == 0 || code == -ENOMEM);
  assert_int_equal(bw_flush(bw), 0);
  assert_int_equal(the_sink.length, code == 0 ? 0 : 3);
  assert_int_equal(the_other_sink.length, code == 0 ? 3 : 0);
  bw_free(bw);
}

static void test_alloc__a_note_or_waker_without_memory_is_refused_and_never_called(void **state) {
  (void)state;
  skip_if_blind();
  bw_t *bw = new_writer(&the_sink, 0, 64, 0);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  the_sink.script[0] = -EAGAIN;
  the_sink.script_length = 1;
  assert_int_equal(bw_write(bw, "abc", 3), 3);
  count_from_now(0);
  const int code = bw_poll_flush(bw, &wake);
  (void)stop_counting();
  assert_true(code == -EAGAIN || code == -ENOMEM);
  assert_int_equal(bw_flush(bw), 0);
  bw_free(bw);
  assert_int_equal(atomic_load(&waker.calls), code == -EAGAIN ? 1 : 0);
}

/* ---- Batchers -------------------------------------------------------------------------------- */

typedef struct moody_sink {
  bw_batch_t *batch;
  int calls;
} moody_sink;

/* Takes batches of at most four items, and does all else a sink may do now and then. */
static int moody_write(void *ctx, bw_batch_view_t *view) {
  static const int codes[4] = {-EIO, 0, -EPERM - BW_FINAL, -EIO};
  moody_sink *sink = ctx;
  switch (sink->calls++ % 8) {
    case 1: return -EIO;
    case 3: return -EPERM - BW_FINAL;
    case 5: return bw_batch_wake(sink->batch) == 0 ? -EAGAIN : -EIO;
    case 7: return bw_batch_done(view, 0, codes) == 0 ? BW_BATCH_TAKEN : -EIO;
    default: return 0;
  }
}

static void ignore_delivered(void *arg, const struct iovec *items, size_t count, int code) {
  (void)arg;
  (void)items;
  (void)count;
  (void)code;
}

static void ignore_pressure(void *arg, int on) {
  (void)arg;
  (void)on;
}

static int new_batch(moody_sink *sink, uint32_t flags, uint64_t linger_us) {
  const bw_batch_sink_t ops = {.size = sizeof ops, .write = moody_write};
  const bw_batch_options_t options = {.size = sizeof options, .flags = flags | BW_BATCH_BISECT, .max_items = 4,
                                      .buffers = 3, .retries = 5, .linger_us = linger_us,
                                      .delivered = ignore_delivered, .pressure = ignore_pressure};
  sink->calls = 0;
  return bw_batch_new(&sink->batch, &ops, sink, &options);
}

/* Every call of a batcher; the number of those that did not give what they should. */
static int batch_in_every_way(bw_batch_t *batch) {
  const struct iovec parts[2] = {{(void *)"abc", 3}, {(void *)"defg", 4}};
  const bw_waker_t wake = {ignore_wake, batch};
  bw_batch_stats_t stats = {.size = sizeof stats};
  int wrong = 0;
  for (int i = 0; i < 300; ++i) {
    for (int j = 0; j < 5; ++j) wrong += bw_batch_send(batch, "abc", 3) != 0;
    wrong += bw_batch_sendv(batch, parts, 2) != 0;
    const int ready = bw_batch_poll_ready(batch, &wake), flushed = bw_batch_poll_flush(batch, &wake);
    wrong += ready != 0 && ready != -EAGAIN;
    wrong += flushed != 0 && flushed != -EAGAIN && flushed != -EPERM;
    (void)bw_batch_unwake(batch, &wake);
    const int code = i % 3 == 0 ? bw_batch_flush(batch) : bw_batch_flush_for(batch, -1);
    wrong += code != 0 && code != -EPERM;
    wrong += bw_batch_send(batch, "abc", 3) != 0;
    wrong += bw_batch_discard(batch) < 0;
    wrong += bw_batch_get_stats(batch, &stats) != 0;
  }
  return wrong;
}

/* Each item's code, by its first character. */
static void record_delivered(void *arg, const struct iovec *items, size_t count, int code) {
  int *codes = arg;
  for (size_t i = 0; i < count; ++i) codes[*(const unsigned char *)items[i].iov_base] = code;
}

static void test_alloc__an_item_that_a_writer_without_memory_tore_is_given_up_alone(void **state) {
  static const uint32_t kModes[] = {0, BW_BATCH_BISECT};
  static const char kRest[] = "B\nC\nD\n";
  (void)state;
  skip_if_blind();
  for (int mode = 0; mode < 2; ++mode) {
    int codes[256] = {['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1};
    char item[500];
    bw_t *bw = new_writer(&the_sink, 0, 8, 0);
    bw_batch_t *batch = NULL;
    const bw_batch_options_t options = {.size = sizeof options, .flags = kModes[mode], .max_items = 4,
                                        .delivered = record_delivered, .arg = codes};
    memset(item, 'A', sizeof item);
    memcpy(the_sink.script, ((int64_t[]){5, -EIO}), 2 * sizeof(int64_t));
    the_sink.script_length = 2;
    assert_int_equal(bw_batch_to_writer(&batch, bw, "\n", &options), 0);
    assert_int_equal(bw_batch_send(batch, item, sizeof item), 0);
    assert_int_equal(bw_batch_send(batch, "B", 1), 0);
    assert_int_equal(bw_batch_send(batch, "C", 1), 0);
    count_from_now(0);
    const int code = bw_batch_send(batch, "D", 1);
    (void)stop_counting();
    assert_int_equal(code, 0);
    assert_int_equal(bw_batch_flush(batch), -ENOMEM);
    assert_int_equal(bw_flush(bw), 0);
    assert_int_equal(codes['A'], -ENOMEM);
    for (int name = 'B'; name <= 'D'; ++name) assert_int_equal(codes[name], 0);
    const size_t rest = sizeof kRest - 1;
    assert_true(the_sink.length > rest && the_sink.length < sizeof item);
    assert_memory_equal(the_sink.data + the_sink.length - rest, kRest, rest);
    for (size_t i = 0; i < the_sink.length - rest; ++i) assert_int_equal(the_sink.data[i], 'A');
    bw_batch_free(batch);
    bw_free(bw);
  }
}

static void test_alloc__batches_allocate_nothing(void **state) {
  (void)state;
  static const uint32_t kModes[] = {BW_UNSHARED, 0, BW_BACKGROUND, BW_BACKGROUND | BW_UNSHARED};
  skip_if_blind();
  for (int mode = 0; mode < 6; ++mode) {
    moody_sink sink;
    assert_int_equal(new_batch(&sink, kModes[mode < 4 ? mode : mode - 3], mode < 4 ? 0 : 50), 0);
    count_from_now(INT32_MAX);
    const int wrong = batch_in_every_way(sink.batch);
    assert_int_equal(stop_counting(), 0);
    assert_int_equal(wrong, 0);
    assert_true(sink.calls > 300);
    bw_batch_free(sink.batch);
  }
}

static void test_alloc__a_batcher_that_gets_too_little_memory_is_not_made(void **state) {
  (void)state;
  static const uint32_t kModes[] = {BW_UNSHARED, 0, BW_BACKGROUND, BW_BACKGROUND | BW_UNSHARED};
  skip_if_blind();
  for (int mode = 0; mode < 4; ++mode) {
    int code = -ENOMEM, tries = 0;
    for (int allowance = 0; code < 0 && allowance < 1000; ++allowance, ++tries) {
      moody_sink sink = {(bw_batch_t *)&the_sink, 0};
      count_from_now(allowance);
      code = new_batch(&sink, kModes[mode], 0);
      (void)stop_counting();
      if (code < 0) {
        assert_null(sink.batch);
        assert_true(code == -ENOMEM || code == -EAGAIN);
      } else {
        assert_int_equal(bw_batch_send(sink.batch, "abc", 3), 0);
        assert_int_equal(bw_batch_close(sink.batch), 0);
        bw_batch_free(sink.batch);
      }
    }
    assert_int_equal(code, 0);
    assert_true(tries > 1);
  }
}

static void test_alloc__a_log_that_gets_too_little_memory_is_not_made(void **state) {
  (void)state;
  skip_if_blind();
  bw_t *bw = new_writer(&the_sink, 0, 64, 0);
  int code = -ENOMEM;
  for (int allowance = 0; code < 0 && allowance < 1000; ++allowance) {
    bw_batch_t *batch = (bw_batch_t *)&the_sink;
    count_from_now(allowance);
    code = bw_batch_to_writer(&batch, bw, "\n", NULL);
    (void)stop_counting();
    if (code < 0) {
      assert_null(batch);
      assert_true(code == -ENOMEM || code == -EAGAIN);
    } else {
      assert_int_equal(bw_batch_send(batch, "abc", 3), 0);
      bw_batch_free(batch);
    }
  }
  assert_int_equal(code, 0);
  assert_int_equal(bw_close(bw), 0);
  assert_int_equal(the_sink.length, 4);
  bw_free(bw);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_alloc__writing_allocates_nothing),
      cmocka_unit_test(test_alloc__writing_with_linger_allocates_nothing),
      cmocka_unit_test(test_alloc__writing_to_a_lane_allocates_nothing),
      cmocka_unit_test(test_alloc__failing_and_trying_again_allocates_nothing),
      cmocka_unit_test(test_alloc__four_threads_at_once_allocate_nothing),
      cmocka_unit_test(test_alloc__an_append_that_stops_part_way_keeps_the_rest_in_new_memory),
      cmocka_unit_test(test_alloc__without_memory_what_an_append_gave_the_sink_stays_accepted),
      cmocka_unit_test(test_alloc__without_memory_an_append_that_did_not_begin_is_refused_whole),
      cmocka_unit_test(test_alloc__a_writer_that_gets_too_little_memory_is_not_made),
      cmocka_unit_test(test_alloc__a_lane_that_gets_too_little_memory_is_not_made),
      cmocka_unit_test(test_alloc__a_new_sink_without_memory_changes_nothing),
      cmocka_unit_test(test_alloc__a_note_or_waker_without_memory_is_refused_and_never_called),
      cmocka_unit_test(test_alloc__an_item_that_a_writer_without_memory_tore_is_given_up_alone),
      cmocka_unit_test(test_alloc__batches_allocate_nothing),
      cmocka_unit_test(test_alloc__a_batcher_that_gets_too_little_memory_is_not_made),
      cmocka_unit_test(test_alloc__a_log_that_gets_too_little_memory_is_not_made),
  };
  return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
