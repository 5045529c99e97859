/*
 * How far the bytes have come: bw_position, bw_wait and bw_notify over sinks.
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

#define INLINE_RIG(...) RIG(RIG_PLAIN, .capacity = 64, __VA_ARGS__)

/* ---- Notes: what bw_notify was told ---------------------------------------------------------- */

enum { kNotesMost = 1024 };

struct notebook;
struct note {
  struct notebook *book;
  int64_t position;
  int level;
};
/* The answers in the order in which they came. */
struct answer {
  int64_t position;
  int level, code;
  pthread_t thread;
};
struct notebook {
  pthread_mutex_t mutex;
  struct note notes[kNotesMost];
  struct answer answers[kNotesMost + 16]; /* room for answers too many */
  size_t note_count;
  atomic_int answer_count;
  atomic_int running, most_running;
  void (*hook)(void *arg);
  void *hook_arg;
};

static struct notebook *notebook_new(void) {
  struct notebook *book = calloc(1, sizeof *book);
  pthread_mutex_init(&book->mutex, NULL);
  return book;
}

static void notebook_free(struct notebook *book) {
  pthread_mutex_destroy(&book->mutex);
  free(book);
}

static void on_done(void *arg, int code) {
  const struct note *note = arg;
  struct notebook *book = note->book;
  const int running = atomic_fetch_add(&book->running, 1) + 1;
  pthread_mutex_lock(&book->mutex);
  if (running > atomic_load(&book->most_running)) atomic_store(&book->most_running, running);
  const int index = atomic_load(&book->answer_count);
  if (index < kNotesMost + 16)
    book->answers[index] = (struct answer){note->position, note->level, code, pthread_self()};
  pthread_mutex_unlock(&book->mutex);
  if (book->hook) book->hook(book->hook_arg);
  atomic_fetch_sub(&book->running, 1);
  atomic_fetch_add(&book->answer_count, 1);
}

static int notify(struct notebook *book, bw_t *bw, int64_t position, int level) {
  struct note *note = &book->notes[book->note_count++];
  *note = (struct note){book, position, level};
  return bw_notify(bw, position, level, on_done, note);
}

static int answers(struct notebook *book) { return atomic_load(&book->answer_count); }

static bool await_answers(struct notebook *book, int count) {
  return test_await_at_least(&book->answer_count, count);
}

static void assert_answer(struct notebook *book, int index, int64_t position, int level, int code) {
  assert_true(index < answers(book));
  assert_int_equal(book->answers[index].position, position);
  assert_int_equal(book->answers[index].level, level);
  assert_int_equal(book->answers[index].code, code);
}

/* ---- bw_position ----------------------------------------------------------------------------- */

static const uint32_t kModes[] = {BW_UNSHARED, 0, BW_BACKGROUND, BW_BACKGROUND | BW_UNSHARED};
enum { kModeCount = sizeof kModes / sizeof kModes[0] };

static void test_position__each_level_moves_when_its_step_is_done(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 5);
    assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 0);
    assert_int_equal(bw_position(rig->bw, BW_DURABLE), 0);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 5);
    assert_int_equal(bw_position(rig->bw, BW_DURABLE), 0);
    assert_int_equal(bw_sync(rig->bw), 0);
    assert_int_equal(bw_position(rig->bw, BW_DURABLE), 5);
    assert_int_equal(bw_write(rig->bw, "f", 1), 1);
    assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 6);
    assert_int_equal(bw_position(rig->bw, BW_DURABLE), 5);
    test_rig_free(rig);
  }
}

static void test_position__an_unknown_level_is_refused(void **state) {
  (void)state;
  test_rig *rig = INLINE_RIG(.flags = 0);
  assert_int_equal(bw_position(rig->bw, 3), -EINVAL);
  assert_int_equal(bw_position(rig->bw, -1), -EINVAL);
  assert_int_equal(bw_wait(rig->bw, 0, 3, 0), -EINVAL);
  assert_int_equal(bw_position(NULL, BW_ACCEPTED), -EINVAL);
  assert_int_equal(bw_wait(NULL, 0, BW_WRITTEN, 0), -EINVAL);
  test_rig_free(rig);
}

static void test_position__a_partial_write_counts_only_what_was_taken(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -EIO);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_flush(rig->bw), -EIO);
    assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 2);
    assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 5);
    test_rig_free(rig);
  }
}

static void test_position__after_a_flush_everything_is_accepted_and_written(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = RIG(RIG_PLAIN, .capacity = 16, .flags = kModes[mode]);
    int64_t end = 0;
    for (int i = 0; i < 2000; ++i) {
      assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
      end += 10;
      if (i % 3 != 0) continue;
      assert_int_equal(bw_flush(rig->bw), 0);
      assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), end); /* at once, whatever our thread still tidies */
      assert_int_equal(bw_position(rig->bw, BW_WRITTEN), end);
    }
    test_rig_free(rig);
  }
}

static int64_t write_many(void *arg) {
  bw_t *bw = arg;
  int64_t wrong = 0;
  for (int i = 0; i < 5000; ++i) wrong += bw_write(bw, "0123456789", 10) != 10;
  return wrong;
}

static void test_position__accepted_is_never_below_written_and_neither_moves_back(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = RIG(RIG_PLAIN, .capacity = 64, .flags = mode ? BW_BACKGROUND : 0);
    test_thread threads[2];
    int64_t accepted = 0, written = 0;
    bool right = true;
    for (int i = 0; i < 2; ++i) test_thread_start(&threads[i], write_many, rig->bw);
    while (!test_thread_finished(&threads[0]) || !test_thread_finished(&threads[1])) {
      const int64_t now_written = bw_position(rig->bw, BW_WRITTEN), now_accepted = bw_position(rig->bw, BW_ACCEPTED);
      right = right && now_written >= written && now_accepted >= accepted && now_accepted >= now_written;
      written = now_written;
      accepted = now_accepted;
    }
    for (int i = 0; i < 2; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
    assert_true(right);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 100000);
    test_rig_free(rig);
  }
}

static void test_position__a_seek_takes_all_levels_along(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    assert_int_equal(bw_write(rig->bw, "abcdefgh", 8), 8);
    assert_int_equal(bw_sync(rig->bw), 0);
    assert_int_equal(bw_seek(rig->bw, 4, SEEK_SET), 4);
    assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 4);
    assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 4);
    assert_true(bw_position(rig->bw, BW_DURABLE) <= 4);
    assert_int_equal(bw_seek(rig->bw, 20, SEEK_SET), 20);
    assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 20);
    assert_true(bw_position(rig->bw, BW_DURABLE) <= 4);
    assert_int_equal(bw_sync(rig->bw), 0);
    assert_int_equal(bw_position(rig->bw, BW_DURABLE), 20);
    test_rig_free(rig);
  }
}

/* ---- bw_wait --------------------------------------------------------------------------------- */

static void test_wait__what_is_reached_needs_no_waiting(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_wait(rig->bw, 5, BW_ACCEPTED, 0), 0);
    assert_int_equal(bw_wait(rig->bw, 0, BW_WRITTEN, 0), 0);
    assert_int_equal(bw_wait(rig->bw, 0, BW_DURABLE, 0), 0);
    assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), 0);
    test_rig_free(rig);
  }
}

static void test_wait__written_flushes(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_wait(rig->bw, 5, BW_WRITTEN, -1), 0);
    assert_true(test_sink_holds(&rig->sink, "abcde", 5));
    assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 0);
    test_rig_free(rig);
  }
}

static void test_wait__durable_syncs(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_wait(rig->bw, 5, BW_DURABLE, -1), 0);
    assert_int_equal(bw_position(rig->bw, BW_DURABLE), 5);
    assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 1);
    assert_int_equal(bw_wait(rig->bw, 5, BW_DURABLE, -1), 0);
    assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 1);
    test_rig_free(rig);
  }
}

static void test_wait__with_no_time_it_does_nothing(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_wait(rig->bw, 6, BW_ACCEPTED, 0), -ETIMEDOUT);
    assert_int_equal(bw_wait(rig->bw, 5, BW_WRITTEN, 0), -ETIMEDOUT);
    assert_int_equal(bw_wait(rig->bw, 5, BW_DURABLE, 0), -ETIMEDOUT);
    assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), 0);
    assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 0);
    test_rig_free(rig);
  }
}

static void test_wait__it_waits_in_a_nonblock_writer_too(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode] | BW_NONBLOCK);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_wait(rig->bw, 5, BW_DURABLE, -1), 0);
    assert_int_equal(bw_position(rig->bw, BW_DURABLE), 5);
    test_rig_free(rig);
  }
}

static void test_wait__it_ends_in_time_for_what_never_comes(void **state) {
  (void)state;
  const int levels[] = {BW_ACCEPTED, BW_WRITTEN, BW_DURABLE};
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    for (int i = 0; i < 3; ++i) {
      const int64_t begin = test_now_us();
      assert_int_equal(bw_wait(rig->bw, 6, levels[i], 20000), -ETIMEDOUT);
      assert_true(test_now_us() - begin >= 20000);
    }
    test_rig_free(rig);
  }
}

static void test_wait__a_time_without_end_is_no_time_in_the_past(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    test_call call = {.bw = rig->bw, .position = 5, .level = BW_WRITTEN, .timeout_us = INT64_MAX};
    test_thread waiting;
    test_thread_start(&waiting, test_call_wait, &call);
    assert_false(test_thread_settle(&waiting));
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_int_equal(test_thread_join(&waiting), 0);
    test_rig_free(rig);
  }
}

static void test_wait__it_gives_the_error_of_the_sink(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -ENOSPC);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_wait(rig->bw, 5, BW_WRITTEN, -1), -ENOSPC);
    if (kModes[mode] & BW_BACKGROUND) {
      assert_int_equal(bw_wait(rig->bw, 5, BW_WRITTEN, -1), -ENOSPC);
      assert_int_equal(bw_resume(rig->bw), 0);
    }
    assert_int_equal(bw_wait(rig->bw, 5, BW_WRITTEN, -1), 0);
    assert_true(test_sink_holds(&rig->sink, "abcde", 5));
    test_rig_free(rig);
  }
}

static void test_wait__a_failed_sync_is_its_answer_for_ever(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, -EIO);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_wait(rig->bw, 5, BW_DURABLE, -1), -EIO);
    assert_int_equal(bw_wait(rig->bw, 5, BW_DURABLE, -1), -EIO);
    assert_int_equal(bw_sync(rig->bw), -EIO);
    assert_int_equal(bw_error(rig->bw), -EIO);
    assert_int_equal(bw_position(rig->bw, BW_DURABLE), 0);
    assert_int_equal(bw_wait(rig->bw, 5, BW_WRITTEN, -1), 0);
    assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 1);
    test_rig_free(rig);
  }
}

static void test_wait__durable_tells_that_the_sink_cannot_sync(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = RIG(0, .capacity = 64, .flags = kModes[mode]);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_wait(rig->bw, 5, BW_DURABLE, -1), -EOPNOTSUPP);
    assert_int_equal(bw_error(rig->bw), 0);
    assert_int_equal(bw_wait(rig->bw, 5, BW_WRITTEN, -1), 0);
    test_rig_free(rig);
  }
}

/* A waiting thread on a sink that says -EAGAIN once for `kind`. */
static void wait_for_a_sink_that_is_not_ready(uint32_t flags, enum test_sink_kind kind, int level) {
  test_rig *rig = INLINE_RIG(.flags = flags);
  test_call call = {.bw = rig->bw, .position = 5, .level = level, .timeout_us = -1};
  test_thread waiting;
  TEST_SINK_SCRIPT(&rig->sink, kind, -EAGAIN);
  assert_int_equal(bw_wake(rig->bw), 0); /* too early to count */
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  test_thread_start(&waiting, test_call_wait, &call);
  assert_true(test_sink_await_calls(&rig->sink, kind, 1));
  assert_false(test_thread_settle(&waiting));
  assert_int_equal(test_sink_count(&rig->sink, kind), 1);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(test_thread_join(&waiting), 0);
  assert_int_equal(test_sink_count(&rig->sink, kind), 2);
  assert_true(test_sink_holds(&rig->sink, "abcde", 5));
  test_rig_free(rig);
}

static void test_wait__it_waits_for_the_wake_of_a_sink_that_is_not_ready(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    wait_for_a_sink_that_is_not_ready(kModes[mode], TEST_SINK_WRITE, BW_WRITTEN);
    wait_for_a_sink_that_is_not_ready(kModes[mode], TEST_SINK_WRITE, BW_DURABLE);
    wait_for_a_sink_that_is_not_ready(kModes[mode], TEST_SINK_SYNC, BW_DURABLE);
  }
}

static void test_wait__a_sink_that_stays_not_ready_ends_in_a_timeout(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_wait(rig->bw, 5, BW_WRITTEN, 20000), -ETIMEDOUT);
    assert_int_equal(bw_error(rig->bw), 0);
    test_sink_always(&rig->sink, TEST_SINK_WRITE, INT64_MIN);
    assert_int_equal(bw_wake(rig->bw), 0);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_true(test_sink_holds(&rig->sink, "abcde", 5));
    test_rig_free(rig);
  }
}

/* A thread waits for bytes that are accepted only later; then they are flushed. */
static void wait_for_later_bytes(uint32_t flags, int level) {
  test_rig *rig = INLINE_RIG(.flags = flags);
  test_call call = {.bw = rig->bw, .position = 5, .level = level, .timeout_us = -1};
  test_thread waiting;
  test_thread_start(&waiting, test_call_wait, &call);
  assert_false(test_thread_settle(&waiting));
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(test_thread_join(&waiting), 0);
  assert_true(bw_position(rig->bw, level) >= 5);
  test_rig_free(rig);
}

static void test_wait__bytes_accepted_later_count_once_they_are_flushed(void **state) {
  (void)state;
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
    wait_for_later_bytes(0, level);
    wait_for_later_bytes(BW_BACKGROUND, level);
  }
}

static void test_wait__bytes_accepted_later_count_once_their_buffer_is_handed_on(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .flags = mode ? BW_BACKGROUND : 0);
    test_call call = {.bw = rig->bw, .position = 5, .level = BW_DURABLE, .timeout_us = -1};
    test_thread waiting;
    test_thread_start(&waiting, test_call_wait, &call);
    assert_false(test_thread_settle(&waiting));
    assert_int_equal(bw_write(rig->bw, "abcd", 4), 4);
    assert_int_equal(bw_write(rig->bw, "efgh", 4), 4);
    assert_int_equal(bw_write(rig->bw, "i", 1), 1);
    assert_int_equal(test_thread_join(&waiting), 0);
    assert_true(bw_position(rig->bw, BW_DURABLE) >= 5);
    test_rig_free(rig);
  }
}

static void test_wait__a_seek_cancels_those_beyond_the_new_position(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    test_call call = {.bw = rig->bw, .position = 50, .level = BW_WRITTEN, .timeout_us = -1};
    test_thread waiting;
    test_thread_start(&waiting, test_call_wait, &call);
    assert_false(test_thread_settle(&waiting));
    assert_int_equal(bw_seek(rig->bw, 3, SEEK_SET), 3);
    assert_int_equal(test_thread_join(&waiting), -ECANCELED);
    test_rig_free(rig);
  }
}

static void test_wait__discard_cancels_those_beyond_the_new_position(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    test_call call = {.bw = rig->bw, .position = 50, .level = BW_DURABLE, .timeout_us = -1};
    test_thread waiting;
    test_thread_start(&waiting, test_call_wait, &call);
    assert_false(test_thread_settle(&waiting));
    assert_true(bw_discard(rig->bw) >= 0);
    assert_int_equal(test_thread_join(&waiting), -ECANCELED);
    test_rig_free(rig);
  }
}

static void test_wait__close_ends_those_beyond_the_end(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    test_call call = {.bw = rig->bw, .position = 50, .level = BW_WRITTEN, .timeout_us = -1};
    test_thread waiting;
    test_thread_start(&waiting, test_call_wait, &call);
    assert_false(test_thread_settle(&waiting));
    assert_int_equal(bw_close(rig->bw), 0);
    assert_int_equal(test_thread_join(&waiting), -ESHUTDOWN);
    test_rig_free(rig);
  }
}

enum { kWaiters = 8 };

static void start_waiters(test_rig *rig, test_thread *waiters, test_call *calls, int64_t first) {
  for (int i = 0; i < kWaiters; ++i) {
    calls[i] = (test_call){.bw = rig->bw, .position = first + 4 * (i + 1), .level = BW_DURABLE, .timeout_us = -1};
    test_thread_start(&waiters[i], i % 2 ? test_call_sync : test_call_wait, &calls[i]);
  }
  for (int i = 0; i < kWaiters; ++i) assert_false(test_thread_settle(&waiters[i]));
}

static void test_wait__waiting_threads_share_one_sync(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    test_call first = {.bw = rig->bw}, calls[kWaiters];
    test_thread syncing, waiters[kWaiters];
    char data[4 * kWaiters];
    test_pattern(data, sizeof data, 1);
    assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
    test_rig_gate(rig, TEST_SINK_HAS(TEST_SINK_SYNC));
    test_thread_start(&syncing, test_call_sync, &first);
    assert_true(test_gate_await(&rig->gate, 1));
    start_waiters(rig, waiters, calls, 0);
    test_gate_open(&rig->gate);
    assert_int_equal(test_thread_join(&syncing), 0);
    for (int i = 0; i < kWaiters; ++i) assert_int_equal(test_thread_join(&waiters[i]), 0);
    assert_true(test_sink_count(&rig->sink, TEST_SINK_SYNC) <= 2);
    test_rig_free(rig);
  }
}

static void test_wait__bytes_that_came_during_a_sync_share_the_next_one(void **state) {
  (void)state;
  test_rig *rig = INLINE_RIG(.flags = BW_BACKGROUND);
  test_call first = {.bw = rig->bw}, calls[kWaiters];
  test_thread syncing, waiters[kWaiters];
  char data[4 * kWaiters];
  test_pattern(data, sizeof data, 2);
  test_rig_gate(rig, TEST_SINK_HAS(TEST_SINK_SYNC));
  assert_int_equal(bw_write(rig->bw, data, 4), 4);
  test_thread_start(&syncing, test_call_sync, &first);
  assert_true(test_gate_await(&rig->gate, 1));
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  start_waiters(rig, waiters, calls, 4);
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&syncing), 0);
  for (int i = 0; i < kWaiters; ++i) assert_int_equal(test_thread_join(&waiters[i]), 0);
  const size_t syncs = test_sink_count(&rig->sink, TEST_SINK_SYNC);
  assert_true(syncs >= 2); /* the first one began before those bytes */
  assert_true(syncs <= 4);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 4 + (int64_t)sizeof data);
  test_rig_free(rig);
}

struct committing {
  bw_t *bw;
  unsigned times;
};

static int64_t commit_many(void *arg) {
  const struct committing *committing = arg;
  for (unsigned i = 0; i < committing->times; ++i) {
    const int64_t position = bw_append(committing->bw, "0123456789", 10);
    if (position < 0) return position;
    const int code = bw_wait(committing->bw, position + 10, BW_DURABLE, -1);
    if (code < 0) return code;
    if (bw_position(committing->bw, BW_DURABLE) < position + 10) return -ENODATA;
  }
  return 0;
}

static void test_wait__eight_threads_commit_at_once(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    struct committing committing = {rig->bw, 300};
    test_thread threads[8];
    for (int i = 0; i < 8; ++i) test_thread_start(&threads[i], commit_many, &committing);
    for (int i = 0; i < 8; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
    assert_int_equal(rig->sink.length, 8 * 300 * 10);
    assert_true(test_sink_count(&rig->sink, TEST_SINK_SYNC) <= 8 * 300);
    test_rig_free(rig);
  }
}

/* ---- bw_notify: shared writers --------------------------------------------------------------- */

static void test_notify__written_only_watches(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    struct notebook *book = notebook_new();
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 5, BW_WRITTEN), 0);
    assert_int_equal(bw_wait(rig->bw, 6, BW_ACCEPTED, 20000), -ETIMEDOUT); /* time passes */
    assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_WRITE), 0);
    assert_int_equal(answers(book), 0);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_true(await_answers(book, 1));
    assert_answer(book, 0, 5, BW_WRITTEN, 0);
    test_rig_free_writer(rig);
    assert_int_equal(answers(book), 1);
    notebook_free(book);
    test_rig_free(rig);
  }
}

static void test_notify__durable_sees_to_it(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    struct notebook *book = notebook_new();
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 5, BW_DURABLE), 0);
    assert_true(await_answers(book, 1)); /* nobody flushes or syncs */
    assert_answer(book, 0, 5, BW_DURABLE, 0);
    assert_int_equal(bw_position(rig->bw, BW_DURABLE), 5);
    assert_true(test_sink_holds(&rig->sink, "abcde", 5));
    test_rig_free(rig);
    notebook_free(book);
  }
}

static void test_notify__durable_of_later_bytes_is_seen_to_after_their_flush(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    struct notebook *book = notebook_new();
    assert_int_equal(notify(book, rig->bw, 5, BW_DURABLE), 0);
    assert_int_equal(notify(book, rig->bw, 5, BW_ACCEPTED), 0);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_true(await_answers(book, 2));
    assert_int_equal(book->answers[0].code, 0);
    assert_int_equal(book->answers[1].code, 0);
    assert_int_equal(bw_position(rig->bw, BW_DURABLE), 5);
    test_rig_free(rig);
    notebook_free(book);
  }
}

static void test_notify__it_is_called_from_a_thread_of_ours(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    struct notebook *book = notebook_new();
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(bw_sync(rig->bw), 0);
    for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
      assert_int_equal(notify(book, rig->bw, 3, level), 0); /* reached long ago */
      assert_true(await_answers(book, level + 1));
      assert_answer(book, level, 3, level, 0);
      assert_false(pthread_equal(book->answers[level].thread, pthread_self()));
    }
    test_rig_free(rig);
    notebook_free(book);
  }
}

static void test_notify__answers_come_in_position_order(void **state) {
  (void)state;
  static const int64_t kOrder[] = {30, 10, 50, 20, 40};
  for (int mode = 0; mode < 2; ++mode)
    for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
      test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
      struct notebook *book = notebook_new();
      char data[50];
      test_pattern(data, sizeof data, 3);
      for (int i = 0; i < 5; ++i) assert_int_equal(notify(book, rig->bw, kOrder[i], level), 0);
      assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
      assert_int_equal(bw_flush(rig->bw), 0);
      assert_true(await_answers(book, 5));
      for (int i = 0; i < 5; ++i) assert_answer(book, i, 10 * (i + 1), level, 0);
      assert_int_equal(atomic_load(&book->most_running), 1);
      test_rig_free(rig);
      notebook_free(book);
    }
}

static void test_notify__a_thousand_notes_are_answered_once_each_and_in_order(void **state) {
  (void)state;
  enum { kNotes = 1000 };
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = RIG(RIG_PLAIN, .capacity = 4096, .flags = mode ? BW_BACKGROUND : 0);
    struct notebook *book = notebook_new();
    char data[kNotes];
    test_pattern(data, sizeof data, 4);
    for (int i = 0; i < kNotes; ++i)
      assert_int_equal(notify(book, rig->bw, (i * 387) % kNotes + 1, i % 2 ? BW_DURABLE : BW_WRITTEN), 0);
    assert_int_equal(answers(book), 0);
    assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_true(await_answers(book, kNotes));
    int64_t last[3] = {0, 0, 0};
    for (int i = 0; i < kNotes; ++i) {
      const struct answer *answer = &book->answers[i];
      assert_int_equal(answer->code, 0);
      assert_true(answer->position > last[answer->level]);
      last[answer->level] = answer->position;
    }
    assert_true(test_sink_count(&rig->sink, TEST_SINK_SYNC) <= 3);
    test_rig_free_writer(rig);
    assert_int_equal(answers(book), kNotes);
    notebook_free(book);
    test_rig_free(rig);
  }
}

static void test_notify__many_commits_outstanding_need_few_syncs(void **state) {
  (void)state;
  enum { kNotes = 1000 };
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = RIG(RIG_PLAIN, .capacity = 64, .flags = mode ? BW_BACKGROUND : 0);
    struct notebook *book = notebook_new();
    for (int i = 0; i < kNotes; ++i) {
      const int64_t position = bw_append(rig->bw, "0123456789", 10);
      assert_int_equal(position, 10 * i);
      assert_int_equal(notify(book, rig->bw, position + 10, BW_DURABLE), 0);
    }
    assert_true(await_answers(book, kNotes));
    for (int i = 0; i < kNotes; ++i) assert_answer(book, i, 10 * (i + 1), BW_DURABLE, 0);
    test_rig_free_writer(rig);
    assert_int_equal(answers(book), kNotes);
    notebook_free(book);
    test_rig_free(rig);
  }
}

static void test_notify__a_seek_cancels_those_beyond_the_new_position(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    struct notebook *book = notebook_new();
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 5, BW_WRITTEN), 0);
    assert_int_equal(notify(book, rig->bw, 50, BW_WRITTEN), 0);
    assert_int_equal(bw_seek(rig->bw, 2, SEEK_SET), 2);
    assert_true(await_answers(book, 2));
    assert_answer(book, 0, 5, BW_WRITTEN, 0); /* the seek flushed first */
    assert_answer(book, 1, 50, BW_WRITTEN, -ECANCELED);
    test_rig_free_writer(rig);
    assert_int_equal(answers(book), 2);
    notebook_free(book);
    test_rig_free(rig);
  }
}

static void test_notify__discard_cancels_those_beyond_what_is_written(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    struct notebook *book = notebook_new();
    TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2);
    test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 2, BW_WRITTEN), 0);
    assert_int_equal(notify(book, rig->bw, 5, BW_WRITTEN), 0);
    assert_int_equal(bw_poll_flush(rig->bw, NULL), -EAGAIN);
    assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 2));
    assert_int_equal(bw_discard(rig->bw), 3);
    assert_true(await_answers(book, 2));
    assert_answer(book, 0, 2, BW_WRITTEN, 0);
    assert_answer(book, 1, 5, BW_WRITTEN, -ECANCELED);
    test_rig_free(rig);
    notebook_free(book);
  }
}

static void test_notify__close_answers_those_beyond_the_end(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    struct notebook *book = notebook_new();
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 5, BW_WRITTEN), 0);
    assert_int_equal(notify(book, rig->bw, 6, BW_WRITTEN), 0);
    assert_int_equal(bw_close(rig->bw), 0);
    assert_true(await_answers(book, 2));
    assert_answer(book, 0, 5, BW_WRITTEN, 0);
    assert_answer(book, 1, 6, BW_WRITTEN, -ESHUTDOWN);
    test_rig_free(rig);
    notebook_free(book);
  }
}

static void test_notify__free_answers_all_that_are_left(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    struct notebook *book = notebook_new();
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 5, BW_WRITTEN), 0);
    assert_int_equal(notify(book, rig->bw, 6, BW_WRITTEN), 0);
    test_rig_free_writer(rig);
    assert_int_equal(answers(book), 2);
    assert_answer(book, 0, 5, BW_WRITTEN, 0);
    assert_answer(book, 1, 6, BW_WRITTEN, -ESHUTDOWN);
    notebook_free(book);
    test_rig_free(rig);
  }
}

static void test_notify__free_that_cannot_close_cancels(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    struct notebook *book = notebook_new();
    test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 5, BW_WRITTEN), 0);
    assert_int_equal(notify(book, rig->bw, 6, BW_WRITTEN), 0);
    test_rig_free_writer(rig);
    assert_int_equal(answers(book), 2);
    assert_answer(book, 0, 5, BW_WRITTEN, -ECANCELED);
    assert_answer(book, 1, 6, BW_WRITTEN, -ECANCELED);
    notebook_free(book);
    test_rig_free(rig);
  }
}

static void test_notify__a_held_error_answers_all_not_yet_reached(void **state) {
  (void)state;
  test_rig *rig = INLINE_RIG(.flags = BW_BACKGROUND);
  struct notebook *book = notebook_new();
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -ENOSPC);
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(notify(book, rig->bw, 2, BW_WRITTEN), 0);
  assert_int_equal(notify(book, rig->bw, 5, BW_WRITTEN), 0);
  assert_int_equal(notify(book, rig->bw, 50, BW_WRITTEN), 0);
  assert_int_equal(bw_flush(rig->bw), -ENOSPC);
  assert_true(await_answers(book, 3));
  assert_answer(book, 0, 2, BW_WRITTEN, 0);
  assert_answer(book, 1, 5, BW_WRITTEN, -ENOSPC);
  assert_answer(book, 2, 50, BW_WRITTEN, -ENOSPC);
  test_rig_free_writer(rig);
  assert_int_equal(answers(book), 3);
  notebook_free(book);
  test_rig_free(rig);
}

static void test_notify__a_note_made_while_an_error_is_held_is_answered_with_it(void **state) {
  (void)state;
  test_rig *rig = INLINE_RIG(.flags = BW_BACKGROUND);
  struct notebook *book = notebook_new();
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -ENOSPC);
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(bw_flush(rig->bw), -ENOSPC);
  assert_int_equal(notify(book, rig->bw, 5, BW_WRITTEN), 0);
  assert_true(await_answers(book, 1));
  assert_answer(book, 0, 5, BW_WRITTEN, -ENOSPC);
  assert_int_equal(notify(book, rig->bw, 2, BW_WRITTEN), 0);
  assert_true(await_answers(book, 2));
  assert_answer(book, 1, 2, BW_WRITTEN, 0);
  test_rig_free(rig);
  notebook_free(book);
}

static void test_notify__a_failed_sync_answers_durable_for_ever(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    struct notebook *book = notebook_new();
    TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_SYNC, -EIO);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 5, BW_DURABLE), 0);
    assert_true(await_answers(book, 1));
    assert_answer(book, 0, 5, BW_DURABLE, -EIO);
    assert_int_equal(notify(book, rig->bw, 4, BW_DURABLE), 0);
    assert_true(await_answers(book, 2));
    assert_answer(book, 1, 4, BW_DURABLE, -EIO);
    test_rig_free(rig);
    notebook_free(book);
  }
}

struct calling_back {
  test_rig *rig;
  struct notebook *book;
  atomic_int calls;
  int64_t position, write, flush, wait, notify;
};

static void call_the_writer(void *arg) {
  struct calling_back *calling = arg;
  bw_t *bw = calling->rig->bw;
  if (atomic_fetch_add(&calling->calls, 1) > 0) return;
  calling->position = bw_position(bw, BW_WRITTEN);
  calling->write = bw_write(bw, "xyz", 3);
  calling->notify = notify(calling->book, bw, 8, BW_WRITTEN);
  calling->wait = bw_wait(bw, 1000, BW_WRITTEN, -1);
}

static void test_notify__in_it_the_writer_may_be_called_and_nothing_waits(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    struct notebook *book = notebook_new();
    struct calling_back calling = {.rig = rig, .book = book};
    book->hook_arg = &calling;
    book->hook = call_the_writer;
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 5, BW_WRITTEN), 0);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_true(await_answers(book, 1));
    assert_int_equal(calling.position, 5);
    assert_true(calling.write == 3 || calling.write == -EAGAIN);
    assert_int_equal(calling.notify, 0);
    assert_int_equal(calling.wait, -EAGAIN);
    if (calling.write != 3) assert_int_equal(bw_write(rig->bw, "xyz", 3), 3);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_true(await_answers(book, 2));
    assert_answer(book, 1, 8, BW_WRITTEN, 0);
    assert_true(test_sink_holds(&rig->sink, "abcdexyz", 8));
    test_rig_free(rig);
    notebook_free(book);
  }
}

static void test_notify__bad_arguments_are_refused_and_never_answered(void **state) {
  (void)state;
  test_rig *rig = INLINE_RIG(.flags = 0);
  struct notebook *book = notebook_new();
  assert_int_equal(notify(book, NULL, 1, BW_WRITTEN), -EINVAL);
  assert_int_equal(notify(book, rig->bw, 1, 3), -EINVAL);
  assert_int_equal(bw_notify(rig->bw, 1, BW_WRITTEN, NULL, NULL), -EINVAL);
  test_rig_free_writer(rig);
  assert_int_equal(answers(book), 0);
  notebook_free(book);
  test_rig_free(rig);
}

static void test_notify__durable_without_a_way_to_sync_is_refused(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = RIG(RIG_PLAIN & ~TEST_SINK_HAS(TEST_SINK_SYNC), .capacity = 64, .flags = kModes[mode]);
    struct notebook *book = notebook_new();
    assert_int_equal(notify(book, rig->bw, 0, BW_DURABLE), -EOPNOTSUPP);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 5, BW_DURABLE), -EOPNOTSUPP);
    assert_int_equal(bw_close(rig->bw), 0);
    test_rig_free(rig);
    assert_int_equal(answers(book), 0);
    notebook_free(book);
  }
}

/* It has the callback, but what it stands on cannot be synced: a pipe, say. */
static void test_notify__durable_of_a_sink_whose_sync_cannot_be_done_is_answered_with_that(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = kModes[mode]);
    struct notebook *book = notebook_new();
    test_sink_always(&rig->sink, TEST_SINK_SYNC, -EOPNOTSUPP);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 5, BW_DURABLE), 0);
    assert_int_equal(bw_flush(rig->bw), 0); /* unshared: tries */
    assert_true(await_answers(book, 1));    /* else our thread does */
    assert_int_equal(bw_error(rig->bw), 0); /* no failed sync */
    assert_int_equal(bw_close(rig->bw), 0);
    test_rig_free_writer(rig);
    assert_int_equal(answers(book), 1);
    assert_answer(book, 0, 5, BW_DURABLE, -EOPNOTSUPP);
    assert_true(test_sink_holds(&rig->sink, "abcde", 5));
    test_rig_free(rig);
    notebook_free(book);
  }
}

static void test_notify__durable_over_a_sync_that_is_not_ready_is_seen_to_after_a_wake(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = mode ? BW_BACKGROUND : 0);
    struct notebook *book = notebook_new();
    test_sink_always(&rig->sink, TEST_SINK_SYNC, -EAGAIN);
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 5, BW_DURABLE), 0);
    assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_SYNC, 1));
    assert_true(test_others_settle());
    assert_int_equal(answers(book), 0);
    test_sink_always(&rig->sink, TEST_SINK_SYNC, INT64_MIN);
    assert_int_equal(bw_wake(rig->bw), 0);
    assert_true(await_answers(book, 1));
    assert_answer(book, 0, 5, BW_DURABLE, 0);
    test_rig_free(rig);
    notebook_free(book);
  }
}

/* ---- bw_notify: BW_UNSHARED ------------------------------------------------------------------ */

enum answering { BY_FLUSH, BY_SYNC, BY_WAIT, BY_POLL, BY_CLOSE, ANSWERING_COUNT };

static int answer_by(bw_t *bw, enum answering way) {
  switch (way) {
    case BY_FLUSH: return bw_flush(bw);
    case BY_SYNC: return bw_sync(bw);
    case BY_WAIT: return bw_wait(bw, 5, BW_WRITTEN, -1);
    case BY_POLL: return bw_poll_flush(bw, NULL);
    default: return bw_close(bw);
  }
}

static void test_notify__unshared_answers_come_from_the_owners_own_calls(void **state) {
  (void)state;
  for (int level = BW_WRITTEN; level <= BW_DURABLE; ++level)
    for (int way = 0; way < ANSWERING_COUNT; ++way) {
      test_rig *rig = INLINE_RIG(.flags = BW_UNSHARED);
      struct notebook *book = notebook_new();
      assert_int_equal(notify(book, rig->bw, 5, level), 0);
      assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
      assert_int_equal(notify(book, rig->bw, 4, level), 0);
      assert_int_equal(answers(book), 0);
      assert_int_equal(answer_by(rig->bw, (enum answering)way), 0);
      assert_int_equal(answers(book), 2);
      assert_answer(book, 0, 4, level, 0);
      assert_answer(book, 1, 5, level, 0);
      assert_true(pthread_equal(book->answers[0].thread, pthread_self()));
      assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), level == BW_DURABLE || way == BY_SYNC);
      test_rig_free(rig);
      notebook_free(book);
    }
}

static void test_notify__unshared_answers_never_come_inside_notify_or_a_write(void **state) {
  (void)state;
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .flags = BW_UNSHARED);
  struct notebook *book = notebook_new();
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(notify(book, rig->bw, 5, BW_WRITTEN), 0); /* reached already */
  assert_int_equal(notify(book, rig->bw, 13, BW_WRITTEN), 0);
  assert_int_equal(answers(book), 0);
  assert_int_equal(bw_write(rig->bw, "0123456789abcdef", 16), 16); /* straight to the sink */
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 21);
  assert_int_equal(answers(book), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(answers(book), 2);
  assert_answer(book, 0, 5, BW_WRITTEN, 0);
  assert_answer(book, 1, 13, BW_WRITTEN, 0);
  test_rig_free(rig);
  notebook_free(book);
}

static void test_notify__unshared_background_answers_come_from_the_owner_too(void **state) {
  (void)state;
  test_rig *rig = INLINE_RIG(.flags = BW_UNSHARED | BW_BACKGROUND);
  struct notebook *book = notebook_new();
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(notify(book, rig->bw, 5, BW_WRITTEN), 0);
  assert_int_equal(notify(book, rig->bw, 5, BW_DURABLE), 0);
  assert_int_equal(answers(book), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(answers(book), 2);
  for (int i = 0; i < 2; ++i) {
    assert_int_equal(book->answers[i].code, 0);
    assert_true(pthread_equal(book->answers[i].thread, pthread_self()));
  }
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 5);
  test_rig_free(rig);
  notebook_free(book);
}

static void test_notify__unshared_cancels_by_seek(void **state) {
  (void)state;
  test_rig *rig = INLINE_RIG(.flags = BW_UNSHARED);
  struct notebook *book = notebook_new();
  assert_int_equal(notify(book, rig->bw, 50, BW_WRITTEN), 0);
  assert_int_equal(bw_seek(rig->bw, 3, SEEK_SET), 3);
  (void)bw_flush(rig->bw);
  assert_int_equal(answers(book), 1);
  assert_answer(book, 0, 50, BW_WRITTEN, -ECANCELED);
  test_rig_free(rig);
  notebook_free(book);
}

/* What was promised to be durable cannot be any more: a close does not fail for that, and tells who was promised. */
static void test_notify__unshared_close_over_a_new_sink_that_cannot_sync_answers(void **state) {
  (void)state;
  const bw_sink_t plain = test_sink_ops(RIG_PLAIN & ~TEST_SINK_HAS(TEST_SINK_SYNC));
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = INLINE_RIG(.flags = BW_UNSHARED | (mode ? BW_BACKGROUND : 0));
    struct notebook *book = notebook_new();
    assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
    assert_int_equal(notify(book, rig->bw, 5, BW_DURABLE), 0);
    assert_int_equal(bw_set_sink(rig->bw, &plain, &rig->other), 0);
    assert_int_equal(bw_close(rig->bw), 0);
    assert_int_equal(answers(book), 1);
    assert_answer(book, 0, 5, BW_DURABLE, -ESHUTDOWN);
    assert_true(test_sink_holds(&rig->other, "abcde", 5));
    test_rig_free(rig);
    notebook_free(book);
  }
}

static void test_notify__inline_a_flush_of_the_callers_own_serves_it_too(void **state) {
  (void)state;
  test_rig *rig = INLINE_RIG(.flags = 0);
  test_note *note = &rig->notes[0];
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_notify(rig->bw, 3, BW_DURABLE, test_note_done, note), 0);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, 1));
  assert_int_equal(bw_flush(rig->bw), 0); /* inline: woken or not */
  assert_int_equal(test_note_code(note), 0);
  test_rig_free(rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_position__each_level_moves_when_its_step_is_done),
      cmocka_unit_test(test_position__an_unknown_level_is_refused),
      cmocka_unit_test(test_position__a_partial_write_counts_only_what_was_taken),
      cmocka_unit_test(test_position__after_a_flush_everything_is_accepted_and_written),
      cmocka_unit_test(test_position__accepted_is_never_below_written_and_neither_moves_back),
      cmocka_unit_test(test_position__a_seek_takes_all_levels_along),
      cmocka_unit_test(test_wait__what_is_reached_needs_no_waiting),
      cmocka_unit_test(test_wait__written_flushes),
      cmocka_unit_test(test_wait__durable_syncs),
      cmocka_unit_test(test_wait__with_no_time_it_does_nothing),
      cmocka_unit_test(test_wait__it_waits_in_a_nonblock_writer_too),
      cmocka_unit_test(test_wait__it_ends_in_time_for_what_never_comes),
      cmocka_unit_test(test_wait__a_time_without_end_is_no_time_in_the_past),
      cmocka_unit_test(test_wait__it_gives_the_error_of_the_sink),
      cmocka_unit_test(test_wait__a_failed_sync_is_its_answer_for_ever),
      cmocka_unit_test(test_wait__durable_tells_that_the_sink_cannot_sync),
      cmocka_unit_test(test_wait__it_waits_for_the_wake_of_a_sink_that_is_not_ready),
      cmocka_unit_test(test_wait__a_sink_that_stays_not_ready_ends_in_a_timeout),
      cmocka_unit_test(test_wait__bytes_accepted_later_count_once_they_are_flushed),
      cmocka_unit_test(test_wait__bytes_accepted_later_count_once_their_buffer_is_handed_on),
      cmocka_unit_test(test_wait__a_seek_cancels_those_beyond_the_new_position),
      cmocka_unit_test(test_wait__discard_cancels_those_beyond_the_new_position),
      cmocka_unit_test(test_wait__close_ends_those_beyond_the_end),
      cmocka_unit_test(test_wait__waiting_threads_share_one_sync),
      cmocka_unit_test(test_wait__bytes_that_came_during_a_sync_share_the_next_one),
      cmocka_unit_test(test_wait__eight_threads_commit_at_once),
      cmocka_unit_test(test_notify__written_only_watches),
      cmocka_unit_test(test_notify__durable_sees_to_it),
      cmocka_unit_test(test_notify__durable_of_later_bytes_is_seen_to_after_their_flush),
      cmocka_unit_test(test_notify__it_is_called_from_a_thread_of_ours),
      cmocka_unit_test(test_notify__answers_come_in_position_order),
      cmocka_unit_test(test_notify__a_thousand_notes_are_answered_once_each_and_in_order),
      cmocka_unit_test(test_notify__many_commits_outstanding_need_few_syncs),
      cmocka_unit_test(test_notify__a_seek_cancels_those_beyond_the_new_position),
      cmocka_unit_test(test_notify__discard_cancels_those_beyond_what_is_written),
      cmocka_unit_test(test_notify__close_answers_those_beyond_the_end),
      cmocka_unit_test(test_notify__free_answers_all_that_are_left),
      cmocka_unit_test(test_notify__free_that_cannot_close_cancels),
      cmocka_unit_test(test_notify__a_held_error_answers_all_not_yet_reached),
      cmocka_unit_test(test_notify__a_note_made_while_an_error_is_held_is_answered_with_it),
      cmocka_unit_test(test_notify__a_failed_sync_answers_durable_for_ever),
      cmocka_unit_test(test_notify__in_it_the_writer_may_be_called_and_nothing_waits),
      cmocka_unit_test(test_notify__bad_arguments_are_refused_and_never_answered),
      cmocka_unit_test(test_notify__durable_without_a_way_to_sync_is_refused),
      cmocka_unit_test(test_notify__durable_of_a_sink_whose_sync_cannot_be_done_is_answered_with_that),
      cmocka_unit_test(test_notify__durable_over_a_sync_that_is_not_ready_is_seen_to_after_a_wake),
      cmocka_unit_test(test_notify__unshared_answers_come_from_the_owners_own_calls),
      cmocka_unit_test(test_notify__unshared_answers_never_come_inside_notify_or_a_write),
      cmocka_unit_test(test_notify__unshared_background_answers_come_from_the_owner_too),
      cmocka_unit_test(test_notify__unshared_cancels_by_seek),
      cmocka_unit_test(test_notify__unshared_close_over_a_new_sink_that_cannot_sync_answers),
      cmocka_unit_test(test_notify__inline_a_flush_of_the_callers_own_serves_it_too),
  };
  return cmocka_run_group_tests_name("wait_notify", tests, NULL, NULL);
}
