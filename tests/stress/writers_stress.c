/*
 * 8 and 64 threads on one writer, in every mode: self-describing records of 1 byte to 3 buffers by every way to write,
 * flushes, syncs, waits and seeks in between, a sink that is short, interrupted and not ready at random. Every record
 * must arrive whole and contiguous, each thread's in order, nothing lost or repeated, and every append where the
 * writer said it would stand.
 *
 * Usage: stress_writers [scale]   (default 1: about 10 s; the number of records grows with it)
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

#include "../support/put.h"
#include "../support/records.h"
#include "../support/threads.h"

static unsigned scale = 1;

/* ---- The sink -------------------------------------------------------------------------------- */

/* Bytes in memory. Its calls must never overlap: that is checked, not locked. */
typedef struct rough_sink {
  char *data;
  size_t length, room;
  uint64_t random;
  unsigned short_percent, interrupted_percent, not_ready_percent;
  atomic_bool waits; /* it said -EAGAIN; the helper wakes the writer */
  atomic_int inside;
  atomic_int overlaps;
} rough_sink;

static void enter(rough_sink *sink) {
  if (atomic_fetch_add(&sink->inside, 1) != 0) atomic_fetch_add(&sink->overlaps, 1);
}

static int64_t leave(rough_sink *sink, int64_t answer) {
  atomic_fetch_sub(&sink->inside, 1);
  return answer;
}

static bool by_chance(rough_sink *sink, unsigned percent) { return test_random(&sink->random) % 100 < percent; }

/* How many of `length` bytes to take now, or a code. */
static int64_t mood(rough_sink *sink, size_t length) {
  if (by_chance(sink, sink->interrupted_percent)) return -EINTR;
  if (by_chance(sink, sink->not_ready_percent)) {
    atomic_store(&sink->waits, true);
    return -EAGAIN;
  }
  if (by_chance(sink, sink->short_percent)) length = (size_t)(test_random(&sink->random) % length) + 1;
  return (int64_t)length;
}

static int64_t take(rough_sink *sink, const void *data, size_t length) {
  if (length > sink->room - sink->length) return -ENOSPC;
  if (length > 0) memcpy(sink->data + sink->length, data, length);
  sink->length += length;
  return (int64_t)length;
}

static int64_t rough_write(void *ctx, const void *data, size_t length) {
  rough_sink *sink = ctx;
  enter(sink);
  int64_t answer = mood(sink, length);
  if (answer > 0) answer = take(sink, data, (size_t)answer);
  return leave(sink, answer);
}

static int64_t rough_writev(void *ctx, const struct iovec *parts, int count) {
  rough_sink *sink = ctx;
  size_t offered = 0;
  enter(sink);
  for (int i = 0; i < count; ++i) offered += parts[i].iov_len;
  const int64_t answer = mood(sink, offered);
  size_t left = answer > 0 ? (size_t)answer : 0;
  for (int i = 0; i < count && left > 0; ++i) {
    const size_t piece = parts[i].iov_len < left ? parts[i].iov_len : left;
    if (take(sink, parts[i].iov_base, piece) < 0) return leave(sink, -ENOSPC);
    left -= piece;
  }
  return leave(sink, answer);
}

static int rough_flush(void *ctx) {
  rough_sink *sink = ctx;
  enter(sink);
  return (int)leave(sink, by_chance(sink, sink->interrupted_percent) ? -EINTR : 0);
}

static int64_t rough_seek(void *ctx, int64_t offset, int whence) {
  rough_sink *sink = ctx;
  enter(sink);
  return leave(sink, offset == 0 && whence == SEEK_CUR ? (int64_t)sink->length : -EINVAL);
}

static int rough_nothing(void *ctx) {
  rough_sink *sink = ctx;
  enter(sink);
  return (int)leave(sink, 0);
}

/* ---- The threads ----------------------------------------------------------------------------- */

enum mode { INLINE_SMALL, INLINE_LARGE, BACKGROUND_TWO, BACKGROUND_EIGHT, LANES_INLINE, LANES_BACKGROUND };

struct run {
  const char *name;
  enum mode mode;
  uint32_t flags;
  uint64_t capacity;
  uint32_t buffers;
  unsigned threads, each;
  bool lanes;
};

struct stress {
  bw_t *bw;
  const struct run *run;
  const test_records *records;
  int64_t *positions;
  rough_sink *sink;
  atomic_int running;
};

struct worker {
  struct stress *stress;
  unsigned thread;
};

static bool is_poll(enum test_way way) { return way == TEST_POLL_APPEND || way == TEST_POLL_APPENDV; }

/* Inline writers over a sink that may say -EAGAIN: what goes past the buffer could come out short, so it must be
 * all or nothing. Spans fit a buffer. Polled appends of background writers fit all buffers. */
static enum test_way choose(const struct stress *stress, uint64_t *random, size_t length) {
  static const enum test_way ways[] = {TEST_WRITE,   TEST_WRITEV,      TEST_APPEND,      TEST_APPENDV,
                                       TEST_SPAN,    TEST_POLL_APPEND, TEST_POLL_APPENDV};
  const struct run *run = stress->run;
  const enum test_way way = ways[test_random(random) % (sizeof ways / sizeof ways[0])];
  const bool may_be_short = !(run->flags & BW_BACKGROUND) || run->lanes;
  if (way < TEST_APPEND && may_be_short && length >= run->capacity) return TEST_APPEND;
  if (way == TEST_SPAN && length > run->capacity) return TEST_APPENDV;
  if (is_poll(way) && (run->flags & BW_BACKGROUND) && length > run->capacity * run->buffers) return TEST_APPEND;
  return way;
}

/* What other users of a log do in between. 0 or a code. */
static int64_t something_else(bw_t *bw, const struct run *run, uint64_t *random) {
  int64_t code = 0;
  switch (test_random(random) % 40) {
    case 0: code = bw_flush(bw); break;
    case 1: code = bw_sync(bw); break;
    case 2: code = bw_wait(bw, bw_tell(bw), BW_WRITTEN, -1); break;
    case 3: code = run->lanes ? 0 : bw_seek(bw, 0, SEEK_CUR); break;
    default: break;
  }
  return code == -EAGAIN || code > 0 ? 0 : code;
}

static int64_t work_on(bw_t *bw, const struct worker *worker) {
  struct stress *stress = worker->stress;
  const test_records *records = stress->records;
  char *record = malloc(records->longest + 8);
  int64_t *positions = stress->positions + (size_t)worker->thread * records->each;
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  uint64_t random = worker->thread * 977u + 5;
  int64_t wrong = 0;
  int expected = 0;
  for (unsigned number = 0; number < records->each && !wrong;) {
    const size_t length = test_record_make(records, worker->thread, number, record);
    const enum test_way way = choose(stress, &random, length);
    int64_t position;
    const int64_t taken = test_put(bw, way, record, length, &wake, &position);
    if (taken == (int64_t)length) {
      positions[number++] = stress->run->lanes ? -1 : position;
      wrong = something_else(bw, stress->run, &random);
    } else if (taken != -EAGAIN) {
      wrong = taken < 0 ? taken : -ENODATA;
    } else if (is_poll(way)) {
      if (!test_waker_await(&waker, ++expected)) wrong = -ETIME; /* it was never called */
    } else {
      test_pause();
    }
  }
  if (bw_unwake(bw, &wake) == 1 || atomic_load(&waker.calls) != expected) wrong = wrong ? wrong : -EPROTO;
  free(record);
  return wrong;
}

static int close_at_last(bw_t *bw) {
  int code;
  while ((code = bw_close(bw)) == -EAGAIN) test_pause();
  return code;
}

static int64_t work(void *arg) {
  const struct worker *worker = arg;
  struct stress *stress = worker->stress;
  bw_t *bw = stress->bw;
  int64_t wrong = 0;
  if (stress->run->lanes) wrong = bw_lane(&bw, stress->bw, NULL);
  if (!wrong) wrong = work_on(bw, worker);
  if (stress->run->lanes) {
    const int closed = close_at_last(bw);
    if (!wrong) wrong = closed;
    bw_free(bw);
  }
  atomic_fetch_sub(&stress->running, 1);
  return wrong;
}

/* Wakes the writer soon after its sink said that it was not ready. */
static int64_t help(void *arg) {
  struct stress *stress = arg;
  while (atomic_load(&stress->running) > 0) {
    if (atomic_exchange(&stress->sink->waits, false)) (void)bw_wake(stress->bw);
    else test_pause();
  }
  return 0;
}

/* ---- The runs -------------------------------------------------------------------------------- */

static void run_stress(const struct run *run) {
  const test_records records = {.threads = run->threads,
                                .each = run->each * scale,
                                .longest = (size_t)run->capacity * (run->lanes ? 1 : 3),
                                .seed = run->threads * 100u + (unsigned)run->mode};
  const size_t count = (size_t)records.threads * records.each, bytes = test_records_bytes(&records);
  rough_sink sink = {.data = malloc(bytes + 1),
                     .room = bytes,
                     .random = records.seed,
                     .short_percent = 10,
                     .interrupted_percent = 3,
                     .not_ready_percent = 2};
  const bw_sink_t ops = {.size = sizeof ops, .write = rough_write, .writev = rough_writev, .flush = rough_flush,
                         .seek = rough_seek, .sync = rough_nothing, .close = rough_nothing};
  const bw_options_t options = {
      .size = sizeof options, .flags = run->flags, .capacity = run->capacity, .buffers = run->buffers};
  struct stress stress = {.run = run, .records = &records, .sink = &sink};
  test_thread *threads = calloc(run->threads, sizeof *threads), helper;
  struct worker *workers = calloc(run->threads, sizeof *workers);
  stress.positions = malloc(count * sizeof *stress.positions);
  for (size_t i = 0; i < count; ++i) stress.positions[i] = -1;
  assert_int_equal(bw_new(&stress.bw, &ops, &sink, &options), 0);

  const int64_t begin = test_now_us();
  atomic_store(&stress.running, (int)run->threads + 1);
  test_thread_start(&helper, help, &stress);
  for (unsigned i = 0; i < run->threads; ++i) {
    workers[i] = (struct worker){&stress, i};
    test_thread_start(&threads[i], work, &workers[i]);
  }
  int64_t wrong = 0;
  for (unsigned i = 0; i < run->threads; ++i) {
    const int64_t code = test_thread_join(&threads[i]);
    if (code != 0) wrong = code;
  }
  const int64_t told = bw_tell(stress.bw);
  const int closed = close_at_last(stress.bw);
  atomic_fetch_sub(&stress.running, 1);
  (void)test_thread_join(&helper);
  const int64_t written = bw_position(stress.bw, BW_WRITTEN);
  bw_free(stress.bw);
  print_message("  %s, %u threads: %zu records, %zu bytes, %lld ms\n", run->name, run->threads, count, bytes,
                (long long)((test_now_us() - begin) / 1000));

  assert_int_equal(wrong, 0);
  assert_int_equal(closed, 0);
  assert_int_equal(told, bytes);
  assert_int_equal(written, bytes);
  assert_int_equal(atomic_load(&sink.overlaps), 0);
  assert_true(test_records_check(&records, sink.data, sink.length, stress.positions));
  free(stress.positions);
  free(sink.data);
  free(threads);
  free(workers);
}

static void test_stress__every_record_arrives_whole_and_in_order(void **state) { run_stress(*state); }

#define RUN(name, mode, flags, capacity, buffers, threads, each, lanes) \
  {name, mode, flags, capacity, buffers, threads, each, lanes}
static const struct run kRuns[] = {
    RUN("inline, 61 bytes", INLINE_SMALL, 0, 61, 0, 8, 8000, false),
    RUN("inline, 61 bytes", INLINE_SMALL, 0, 61, 0, 64, 700, false),
    RUN("inline, 64 KiB", INLINE_LARGE, 0, 65536, 0, 8, 400, false),
    RUN("inline, 64 KiB", INLINE_LARGE, 0, 65536, 0, 64, 50, false),
    RUN("background, 2 x 100 bytes", BACKGROUND_TWO, BW_BACKGROUND, 100, 2, 8, 5000, false),
    RUN("background, 2 x 100 bytes", BACKGROUND_TWO, BW_BACKGROUND, 100, 2, 64, 600, false),
    RUN("background, 8 x 4 KiB", BACKGROUND_EIGHT, BW_BACKGROUND, 4096, 8, 8, 2000, false),
    RUN("background, 8 x 4 KiB", BACKGROUND_EIGHT, BW_BACKGROUND, 4096, 8, 64, 250, false),
    RUN("lanes, inline, 256 bytes", LANES_INLINE, 0, 256, 0, 8, 10000, true),
    RUN("lanes, inline, 256 bytes", LANES_INLINE, 0, 256, 0, 64, 1000, true),
    RUN("lanes, background, 3 x 256 bytes", LANES_BACKGROUND, BW_BACKGROUND, 256, 3, 8, 10000, true),
    RUN("lanes, background, 3 x 256 bytes", LANES_BACKGROUND, BW_BACKGROUND, 256, 3, 64, 1000, true),
};
enum { kRunCount = sizeof kRuns / sizeof kRuns[0] };

int main(int count, char **words) {
  struct CMUnitTest tests[kRunCount];
  static char names[kRunCount][100];
  if (count > 1) scale = (unsigned)strtoul(words[1], NULL, 10);
  if (scale == 0) scale = 1;
  for (size_t i = 0; i < kRunCount; ++i) {
    snprintf(names[i], sizeof names[i], "test_stress__every_record_arrives_whole_and_in_order (%s, %u threads)",
             kRuns[i].name, kRuns[i].threads);
    tests[i] = (struct CMUnitTest){names[i], test_stress__every_record_arrives_whole_and_in_order, NULL, NULL,
                                   (void *)&kRuns[i]};
  }
  return cmocka_run_group_tests_name("stress_writers", tests, NULL, NULL);
}
