/*
 * Where calls, callbacks and threads meet: what a call means for those that wait in other threads, what callbacks may
 * do at a bad moment, and that nobody is forgotten, starved or kept busy. Most tests run twice: over an inline and a
 * background writer.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/records.h"
#include "../support/rig.h"

enum { kCapacity = 16, kBuffers = 2, kRoom = kCapacity * kBuffers };

static const uint32_t kInline = 0, kBackground = BW_BACKGROUND, kInlineUnshared = BW_UNSHARED;
#define FLAGS(state) (*(const uint32_t *)*(state))
#define PLAIN_RIG(...) RIG(RIG_PLAIN, .capacity = kCapacity, .buffers = kBuffers, __VA_ARGS__)
#define BACKGROUND_RIG() PLAIN_RIG(.flags = BW_BACKGROUND)
#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

static size_t sink_calls(test_sink *sink) {
  pthread_mutex_lock(&sink->mutex);
  const size_t count = sink->call_count;
  pthread_mutex_unlock(&sink->mutex);
  return count;
}

/* The sink's last call was its close, and its only one. */
static void assert_ends_with_close(test_sink *sink) {
  pthread_mutex_lock(&sink->mutex);
  const size_t count = sink->call_count;
  const enum test_sink_kind last = count ? sink->calls[count - 1].kind : TEST_SINK_KINDS;
  pthread_mutex_unlock(&sink->mutex);
  assert_int_equal(last, TEST_SINK_CLOSE);
  assert_int_equal(test_sink_count(sink, TEST_SINK_CLOSE), 1);
}

static void make_ready(test_rig *rig) {
  test_sink_always(&rig->sink, TEST_SINK_WRITE, INT64_MIN);
}

static void make_unready(test_rig *rig) {
  test_sink_always(&rig->sink, TEST_SINK_WRITE, -EAGAIN);
}

/* Starts a call that has to wait, and sees it do so. */
static void start_waiting(test_thread *thread, int64_t (*body)(void *arg), void *arg) {
  test_thread_start(thread, body, arg);
  assert_false(test_thread_settle(thread));
}

static int set_sink(bw_t *bw, test_sink *sink) {
  const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
  return bw_set_sink(bw, &ops, sink);
}

/* What test_call does not have. */
struct call {
  test_call call;
  test_sink *other; /* for bw_set_sink() */
  void (*each)(void *arg, const void *data, size_t length);
  void *arg;
};

static int64_t call_read(void *arg) {
  char byte;
  return bw_read(((const test_call *)arg)->bw, &byte, 1);
}

/* Many times, so that one comes while who stood aside for the one before is about to wait again. */
static int64_t call_unwritten(void *arg) {
  const struct call *call = arg;
  for (int i = 0; i < 100; ++i) (void)bw_unwritten(call->call.bw, NULL, NULL);
  return bw_unwritten(call->call.bw, call->each, call->arg);
}

static int64_t call_set_sink(void *arg) {
  const struct call *call = arg;
  return set_sink(call->call.bw, call->other);
}

/* ---- Inside the sink ------------------------------------------------------------------------- */

static int64_t write_now(bw_t *bw, const char *data, size_t length) {
  return bw_write(bw, data, length);
}

static int64_t writev_now(bw_t *bw, const char *data, size_t length) {
  const struct iovec parts[2] = {{(void *)data, 1}, {(void *)(data + 1), length - 1}};
  return bw_writev(bw, parts, 2);
}

static int64_t append_now(bw_t *bw, const char *data, size_t length) {
  return bw_append(bw, data, length);
}

static int64_t reserve_now(bw_t *bw, const char *data, size_t length) {
  bw_span_t span;
  (void)data;
  return bw_reserve(bw, length, &span);
}

static int64_t poll_write_now(bw_t *bw, const char *data, size_t length) {
  return bw_poll_write(bw, data, length, NULL);
}

static int64_t poll_append_now(bw_t *bw, const char *data, size_t length) {
  return bw_poll_append(bw, data, length, NULL);
}

struct inside {
  test_rig *rig;
  int64_t (*call)(bw_t *bw, const char *data, size_t length);
  atomic_int calls;
  int64_t answer;
};

static void call_in_the_first_write(void *arg, enum test_sink_kind kind) {
  struct inside *inside = arg;
  if (kind != TEST_SINK_WRITE || atomic_fetch_add(&inside->calls, 1) > 0) return;
  test_gate_pass(&inside->rig->gate);
  inside->answer = inside->call(inside->rig->bw, "0123456789ab", 12);
}

/* All buffers are in use, and it is the thread in the sink that would have to make room. */
static void test_interplay__a_sink_that_writes_what_does_not_fit_is_refused(void **state) {
  (void)state;
  int64_t (*const calls[])(bw_t *, const char *, size_t) = {write_now,   writev_now,     append_now,
                                                            reserve_now, poll_write_now, poll_append_now};
  for (size_t i = 0; i < LENGTH(calls); ++i) {
    test_rig *rig = BACKGROUND_RIG();
    struct inside inside = {.rig = rig, .call = calls[i]};
    char data[kRoom];
    test_pattern(data, sizeof data, 1);
    test_gate_init(&rig->gate, 0);
    rig->sink.hook_arg = &inside;
    rig->sink.hook = call_in_the_first_write;
    assert_int_equal(bw_write(rig->bw, data, kCapacity + 1), kCapacity + 1);
    assert_true(test_gate_await(&rig->gate, 1));
    assert_int_equal(bw_write(rig->bw, data + kCapacity + 1, kCapacity - 2), kCapacity - 2);
    test_gate_open(&rig->gate);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_int_equal(inside.answer, -EDEADLK);
    assert_int_equal(bw_write(rig->bw, data + kRoom - 1, 1), 1);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_true(test_sink_holds(&rig->sink, data, kRoom));
    test_gate_destroy(&rig->gate);
    test_rig_free(rig);
  }
}

/* ---- The end of a sink ----------------------------------------------------------------------- */

struct ending {
  int64_t (*body)(void *);
  int64_t code;
};

/* A call that waits for the sink while another thread closes it. Nothing may reach the sink afterwards. */
static void call_while_closing(uint32_t flags, const struct ending *ending) {
  test_rig *rig = PLAIN_RIG(.flags = flags);
  test_sink other;
  test_sink_init(&other);
  test_call close = {.bw = rig->bw};
  struct call call = {
      .call = {.bw = rig->bw, .data = "d", .length = 1, .position = 100, .level = BW_WRITTEN, .timeout_us = -1},
      .other = &other};
  test_thread closing, calling;
  test_rig_gate(rig, TEST_SINK_HAS(TEST_SINK_CLOSE));
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  test_thread_start(&closing, test_call_close, &close);
  assert_true(test_gate_await(&rig->gate, 1));
  test_thread_start(&calling, ending->body, &call);
  (void)test_thread_settle(&calling);
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&closing), 0);
  assert_int_equal(test_thread_join(&calling), ending->code);
  assert_ends_with_close(&rig->sink);
  test_rig_free_writer(rig);
  assert_ends_with_close(&rig->sink);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  assert_int_equal(sink_calls(&other), 0);
  test_sink_destroy(&other);
  test_rig_free(rig);
}

static void test_interplay__who_waits_while_the_sink_closes_does_not_call_it_afterwards(void **state) {
  const struct ending endings[] = {
      {test_call_flush, -ESHUTDOWN}, {test_call_sync, -ESHUTDOWN}, {test_call_seek, -ESHUTDOWN},
      {call_read, -ESHUTDOWN},       {test_call_wait, -ESHUTDOWN}, {test_call_write, -ESHUTDOWN},
      {test_call_close, 0},          {test_call_discard, 0},       {call_unwritten, 0},
  };
  for (size_t i = 0; i < LENGTH(endings); ++i) call_while_closing(FLAGS(state), &endings[i]);
}

static void test_interplay__a_new_sink_for_a_writer_that_closes_is_refused(void **state) {
  const struct ending ending = {call_set_sink, -ESHUTDOWN};
  call_while_closing(FLAGS(state), &ending);
}

static void test_interplay__polls_pending_while_the_sink_closes_are_woken_and_end(void **state) {
  test_rig *rig = PLAIN_RIG(.flags = FLAGS(state));
  test_call close = {.bw = rig->bw};
  test_thread closing;
  test_waker wakers[3] = {{0}, {0}, {0}};
  const bw_waker_t wakes[3] = {test_waker_of(&wakers[0]), test_waker_of(&wakers[1]), test_waker_of(&wakers[2])};
  char byte;
  test_rig_gate(rig, TEST_SINK_HAS(TEST_SINK_CLOSE));
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  test_thread_start(&closing, test_call_close, &close);
  assert_true(test_gate_await(&rig->gate, 1));
  assert_int_equal(bw_poll_flush(rig->bw, &wakes[0]), -EAGAIN);
  assert_int_equal(bw_poll_read(rig->bw, &byte, 1, &wakes[1]), -EAGAIN);
  assert_int_equal(bw_poll_close(rig->bw, &wakes[2]), -EAGAIN);
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&closing), 0);
  for (int i = 0; i < 3; ++i) assert_true(test_waker_await(&wakers[i], 1));
  assert_int_equal(bw_poll_flush(rig->bw, NULL), -ESHUTDOWN);
  assert_int_equal(bw_poll_read(rig->bw, &byte, 1, NULL), -ESHUTDOWN);
  assert_int_equal(bw_poll_close(rig->bw, NULL), 0);
  assert_ends_with_close(&rig->sink);
  test_rig_free(rig);
}

/* The same for a sink whose state is unknown since the call that was waited for. `bytes` are buffered meanwhile. */
static void call_while_breaking(uint32_t flags, int64_t (*body)(void *), size_t bytes) {
  test_rig *rig = PLAIN_RIG(.flags = flags);
  test_call call = {.bw = rig->bw, .position = 3, .level = BW_WRITTEN, .timeout_us = -1};
  test_thread reading, calling;
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_READ, BW_ESINK);
  test_rig_gate(rig, TEST_SINK_HAS(TEST_SINK_READ));
  assert_int_equal(bw_write(rig->bw, "abc", bytes), bytes);
  test_thread_start(&reading, call_read, &call);
  assert_true(test_gate_await(&rig->gate, 1));
  start_waiting(&calling, body, &call);
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&reading), BW_ESINK);
  assert_int_equal(test_thread_join(&calling), BW_ESINK);
  assert_int_equal(bw_error(rig->bw), BW_ESINK);
  test_rig_free_writer(rig);
  assert_int_equal(sink_calls(&rig->sink), 1);
  assert_true(test_events_lost(&rig->events, "abc", bytes));
  test_rig_free(rig);
}

static void test_interplay__who_waits_while_the_sink_breaks_does_not_call_it_afterwards(void **state) {
  int64_t (*const calls[])(void *) = {test_call_flush, test_call_sync, call_read, test_call_wait};
  for (size_t i = 0; i < LENGTH(calls); ++i) {
    call_while_breaking(FLAGS(state), calls[i], 3);
    call_while_breaking(FLAGS(state), calls[i], 0);
  }
}

static void test_interplay__a_seek_or_close_waiting_while_the_sink_breaks_does_not_call_it_afterwards(void **state) {
  int64_t (*const calls[])(void *) = {test_call_seek, test_call_close};
  for (size_t i = 0; i < LENGTH(calls); ++i) {
    call_while_breaking(FLAGS(state), calls[i], 3);
    call_while_breaking(FLAGS(state), calls[i], 0);
  }
}

/* A lane is made or the parent is closed, not both, however far the close has come. */
static void test_interplay__no_lane_is_made_of_a_parent_that_closes(void **state) {
  const enum test_sink_kind kinds[] = {TEST_SINK_WRITE, TEST_SINK_FLUSH, TEST_SINK_CLOSE};
  for (size_t i = 0; i < LENGTH(kinds); ++i) {
    test_rig *rig = PLAIN_RIG(.flags = FLAGS(state));
    bw_t *lane = (bw_t *)&lane;
    test_call close = {.bw = rig->bw};
    test_thread closing;
    test_rig_gate(rig, TEST_SINK_HAS(kinds[i]));
    assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
    test_thread_start(&closing, test_call_close, &close);
    assert_true(test_gate_await(&rig->gate, 1));
    const int made = bw_lane(&lane, rig->bw, NULL);
    test_gate_open(&rig->gate);
    const int64_t closed = test_thread_join(&closing);
    if (made == 0) {
      assert_int_equal(closed, -EBUSY);
      assert_int_equal(bw_write(lane, "def", 3), 3);
      bw_free(lane);
      assert_int_equal(bw_close(rig->bw), 0);
      assert_true(test_sink_holds(&rig->sink, "abcdef", 6));
    } else {
      assert_int_equal(made, -ESHUTDOWN);
      assert_null(lane);
      assert_int_equal(closed, 0);
      assert_true(test_sink_holds(&rig->sink, "abc", 3));
    }
    assert_ends_with_close(&rig->sink);
    test_rig_free(rig);
  }
}

/* ---- Callbacks of bw_free -------------------------------------------------------------------- */

static void count_note(void *arg, int code) {
  (void)code;
  atomic_fetch_add((atomic_int *)arg, 1);
}

/* A callback that comes out of bw_free and calls the writer. */
struct last_calls {
  test_rig *rig;
  bw_t *bw; /* rig->bw is read by the thread that frees it */
  test_waker again;
  atomic_int notes, calls;
  int64_t write, append, flush, note, close;
};

static void call_at_the_end(void *arg) {
  struct last_calls *last = arg;
  const bw_waker_t again = test_waker_of(&last->again);
  if (atomic_fetch_add(&last->calls, 1) > 0) return;
  make_ready(last->rig);
  last->write = bw_write(last->bw, "d", 1);
  last->append = bw_append(last->bw, "0123456789abcdef0123456789abcdef", kRoom);
  last->flush = bw_poll_flush(last->bw, &again);
  last->note = bw_notify(last->bw, 0, BW_ACCEPTED, count_note, &last->notes);
  last->close = bw_close(last->bw);
}

static void assert_last_calls(struct last_calls *last) {
  assert_int_equal(atomic_load(&last->calls), 1);
  assert_true(last->write < 0); /* a byte accepted now could only be lost */
  assert_true(last->append < 0);
  assert_true(last->flush < 0);
  assert_int_equal(atomic_load(&last->again.calls), last->flush == -EAGAIN);
  assert_int_equal(atomic_load(&last->notes), last->note == 0);
  assert_ends_with_close(&last->rig->sink);
}

static void test_interplay__a_waker_called_by_free_finds_a_closed_writer(void **state) {
  test_rig *rig = PLAIN_RIG(.flags = FLAGS(state));
  struct last_calls last = {.rig = rig, .bw = rig->bw};
  test_waker waker = {.hook = call_at_the_end, .hook_arg = &last};
  const bw_waker_t wake = test_waker_of(&waker);
  make_unready(rig);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -EAGAIN);
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&waker.calls), 1);
  assert_last_calls(&last);
  assert_true(test_sink_holds(&rig->sink, "", 0));
  assert_true(test_events_lost(&rig->events, "abc", 3));
  test_rig_free(rig);
}

static void note_at_the_end(void *arg, int code) {
  (void)code;
  call_at_the_end(arg);
}

static void test_interplay__a_note_answered_by_free_finds_a_closed_writer(void **state) {
  for (int ready = 0; ready < 2; ++ready) {
    test_rig *rig = PLAIN_RIG(.flags = FLAGS(state));
    struct last_calls last = {.rig = rig, .bw = rig->bw};
    if (!ready) make_unready(rig);
    assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
    assert_int_equal(bw_notify(rig->bw, 100, BW_WRITTEN, note_at_the_end, &last), 0);
    test_rig_free_writer(rig);
    assert_last_calls(&last);
    assert_true(ready ? test_sink_holds(&rig->sink, "abc", 3) : test_events_lost(&rig->events, "abc", 3));
    test_rig_free(rig);
  }
}

/* on_event calls the writer while it is told of lost bytes. */
struct last_chance {
  test_rig *rig;
  bw_t *bw;
  test_sink *other;
  void (*use)(struct last_chance *chance);
  char data[3 * kRoom]; /* what was accepted */
  int told;
  bool is_intact; /* event->data was the bytes at event->position, before the call and after */
};

static void use_flush(struct last_chance *chance) {
  make_ready(chance->rig);
  (void)bw_poll_flush(chance->bw, NULL);
}

static void use_set_sink(struct last_chance *chance) {
  (void)set_sink(chance->bw, chance->other);
  (void)bw_poll_flush(chance->bw, NULL);
}

static void use_discard(struct last_chance *chance) {
  (void)bw_discard(chance->bw);
}

static void use_the_last_chance(void *arg, const bw_event_t *event) {
  struct last_chance *chance = arg;
  if (event->kind != BW_EVENT_LOST) return;
  const char *expected = chance->data + event->position;
  const bool before = memcmp(event->data, expected, event->length) == 0;
  chance->use(chance);
  const bool after = memcmp(event->data, expected, event->length) == 0;
  chance->is_intact = chance->is_intact && before && after;
  ++chance->told;
}

/* Bytes that cannot be written out: in buffers, and in memory that an append keeps its rest in. */
static void fill_and_get_stuck(struct last_chance *chance, bool is_background) {
  test_rig *rig = chance->rig;
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 3, -EIO);
  make_unready(rig);
  assert_int_equal(bw_append(rig->bw, chance->data, 2 * kRoom), 0);
  if (is_background)
    assert_int_equal(bw_resume(rig->bw), 0);
  else
    assert_int_equal(bw_write(rig->bw, chance->data + 2 * kRoom, 5), 5);
}

/* Whatever the call does with the bytes, those the event gives stay where they are until it has ended. */
static void test_interplay__what_is_told_lost_stays_valid_whatever_on_event_calls(void **state) {
  void (*const uses[])(struct last_chance *) = {use_flush, use_set_sink, use_discard};
  for (size_t i = 0; i < LENGTH(uses); ++i) {
    test_rig *rig = PLAIN_RIG(.flags = FLAGS(state));
    test_sink other;
    struct last_chance chance = {.rig = rig, .bw = rig->bw, .other = &other, .use = uses[i], .is_intact = true};
    test_sink_init(&other);
    test_pattern(chance.data, sizeof chance.data, 2);
    rig->events.hook_arg = &chance;
    rig->events.hook = use_the_last_chance;
    fill_and_get_stuck(&chance, FLAGS(state) & BW_BACKGROUND);
    test_rig_free_writer(rig);
    assert_true(chance.told > 0);
    assert_true(chance.is_intact);
    test_sink_destroy(&other);
    test_rig_free(rig);
  }
}

/* ---- Signals --------------------------------------------------------------------------------- */

static atomic_int signals_caught;

static void count_signal(int number) {
  (void)number;
  atomic_fetch_add(&signals_caught, 1);
}

static bool is_full(void *arg) {
  const int *fd = arg;
  int bytes = 0;
  return ioctl(*fd, FIONREAD, &bytes) == 0 && bytes == fcntl(*fd, F_GETPIPE_SZ);
}

/* The kernel raises SIGPIPE also where a part was taken before the reader went. */
static void test_interplay__a_pipe_that_breaks_after_a_part_raises_no_signal(void **state) {
  enum { kTooMuch = 1 << 20 };
  struct sigaction count = {.sa_handler = count_signal}, before;
  const bw_options_t options = {.size = sizeof options, .flags = FLAGS(state), .capacity = kTooMuch};
  char *data = calloc(1, 2 * kTooMuch);
  int ends[2];
  bw_t *bw = NULL;
  atomic_store(&signals_caught, 0);
  assert_int_equal(sigaction(SIGPIPE, &count, &before), 0);
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(bw_fdopen(&bw, ends[1], &options), 0);
  close(ends[1]);
  test_call call = {.bw = bw, .data = data, .length = 2 * kTooMuch};
  test_thread writing;
  test_thread_start(&writing, test_call_write, &call);
  assert_true(test_await(is_full, &ends[0]));
  const int64_t taken = fcntl(ends[0], F_GETPIPE_SZ);
  close(ends[0]);
  (void)test_thread_join(&writing);
  assert_int_equal(bw_write(bw, data, 2 * kTooMuch), -EPIPE);
  assert_int_equal(bw_position(bw, BW_WRITTEN), taken);
  bw_free(bw);
  assert_int_equal(atomic_load(&signals_caught), 0);
  sigaction(SIGPIPE, &before, NULL);
  free(data);
}

/* ---- bw_wait at a sink that is not ready ----------------------------------------------------- */

/* Waits for 10 bytes to be written that the sink does not take yet. */
static void start_stuck_wait(test_rig *rig, test_thread *waiting, test_call *wait, int level) {
  const size_t asked = test_sink_count(&rig->sink, TEST_SINK_WRITE);
  const int64_t end = bw_append(rig->bw, "0123456789", 10) + 10;
  *wait = (test_call){.bw = rig->bw, .position = end, .level = level, .timeout_us = -1};
  make_unready(rig);
  test_thread_start(waiting, test_call_wait, wait);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_WRITE, asked + 1));
  assert_false(test_thread_settle(waiting));
}

static void test_interplay__a_wait_at_an_unready_sink_is_cancelled_by_discard(void **state) {
  for (int level = BW_WRITTEN; level <= BW_DURABLE; ++level) {
    test_rig *rig = PLAIN_RIG(.flags = FLAGS(state));
    test_call wait;
    test_thread waiting;
    start_stuck_wait(rig, &waiting, &wait, level);
    assert_int_equal(bw_discard(rig->bw), 10);
    assert_int_equal(test_thread_join(&waiting), -ECANCELED);
    test_rig_free(rig);
  }
}

static void test_interplay__a_wait_at_an_unready_sink_ends_with_a_new_sink(void **state) {
  for (int level = BW_WRITTEN; level <= BW_DURABLE; ++level) {
    test_rig *rig = PLAIN_RIG(.flags = FLAGS(state));
    test_sink other;
    test_call wait;
    test_thread waiting;
    test_sink_init(&other);
    start_stuck_wait(rig, &waiting, &wait, level);
    assert_int_equal(set_sink(rig->bw, &other), 0);
    assert_int_equal(bw_sync(rig->bw), 0);
    assert_int_equal(test_thread_join(&waiting), 0);
    assert_true(test_sink_holds(&other, "0123456789", 10));
    test_rig_free_writer(rig);
    test_sink_destroy(&other);
    test_rig_free(rig);
  }
}

/* Inline: another thread's call finds the sink ready, though nobody called bw_wake(). */
static void test_interplay__a_wait_at_an_unready_sink_ends_when_another_thread_gets_on(void **state) {
  (void)state;
  int64_t (*const calls[])(void *) = {test_call_flush, test_call_sync, test_call_seek, test_call_close};
  for (size_t i = 0; i < LENGTH(calls); ++i) {
    test_rig *rig = PLAIN_RIG(.flags = 0);
    test_call wait, call = {.bw = rig->bw, .position = 0, .level = SEEK_CUR};
    test_thread waiting, calling;
    start_stuck_wait(rig, &waiting, &wait, BW_WRITTEN);
    make_ready(rig);
    test_thread_start(&calling, calls[i], &call);
    assert_true(test_thread_join(&calling) >= 0);
    assert_int_equal(test_thread_join(&waiting), 0);
    test_rig_free(rig);
  }
}

static void test_interplay__a_wait_at_an_unready_sink_ends_when_a_seek_goes_back(void **state) {
  (void)state;
  test_rig *rig = PLAIN_RIG(.flags = 0);
  test_call wait;
  test_thread waiting;
  start_stuck_wait(rig, &waiting, &wait, BW_WRITTEN);
  make_ready(rig);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), 0);
  const int64_t code = test_thread_join(&waiting); /* the seek flushed first, then moved the end below */
  assert_true(code == 0 || code == -ECANCELED);
  test_rig_free(rig);
}

/* ---- Lanes ----------------------------------------------------------------------------------- */

struct laned {
  test_rig *rig;
  test_events events; /* of the lane */
  bw_t *lane;
  char data[kRoom + kCapacity]; /* the bytes of the parent, then those of the lane */
};

static struct laned *laned_new(uint32_t flags) {
  struct laned *laned = calloc(1, sizeof *laned);
  test_events_init(&laned->events);
  test_pattern(laned->data, sizeof laned->data, 3);
  laned->rig = PLAIN_RIG(.flags = flags);
  const bw_options_t options = {.size = sizeof options, .on_event = test_events_record, .event_arg = &laned->events};
  assert_int_equal(bw_lane(&laned->lane, laned->rig->bw, &options), 0);
  return laned;
}

static void laned_free(struct laned *laned) {
  bw_free(laned->lane);
  test_rig_free(laned->rig);
  test_events_destroy(&laned->events);
  free(laned);
}

static void free_lane(struct laned *laned) {
  bw_free(laned->lane);
  laned->lane = NULL;
}

/* `length` bytes in the lane, which come after `before` of the parent. */
static void write_lane(struct laned *laned, size_t before, size_t length) {
  assert_int_equal(bw_write(laned->lane, laned->data + before, length), length);
}

/* Every buffer of the parent is full, and its sink not ready. */
static struct laned *laned_behind_an_unready_sink(void) {
  struct laned *laned = laned_new(BW_BACKGROUND);
  make_unready(laned->rig);
  assert_int_equal(bw_write(laned->rig->bw, laned->data, kRoom), kRoom);
  assert_true(test_sink_await_calls(&laned->rig->sink, TEST_SINK_WRITE, 1));
  write_lane(laned, kRoom, 10);
  return laned;
}

static void test_interplay__a_wait_on_a_lane_hears_of_the_wake_of_its_parent(void **state) {
  struct laned *laned = laned_new(FLAGS(state));
  test_call call = {.bw = laned->lane, .position = 10, .level = BW_DURABLE, .timeout_us = -1};
  test_thread waiting;
  make_unready(laned->rig);
  write_lane(laned, 0, 10);
  start_waiting(&waiting, test_call_wait, &call);
  make_ready(laned->rig);
  assert_int_equal(bw_wake(laned->rig->bw), 0);
  assert_int_equal(test_thread_join(&waiting), 0);
  assert_int_equal(bw_position(laned->lane, BW_DURABLE), 10);
  assert_true(test_sink_holds(&laned->rig->sink, laned->data, 10));
  laned_free(laned);
}

static void test_interplay__a_wait_on_a_lane_of_a_full_parent_times_out(void **state) {
  (void)state;
  for (int level = BW_WRITTEN; level <= BW_DURABLE; ++level) {
    struct laned *laned = laned_behind_an_unready_sink();
    test_call call = {.bw = laned->lane, .position = 10, .level = level, .timeout_us = 20000};
    test_thread waiting;
    test_thread_start(&waiting, test_call_wait, &call);
    assert_int_equal(test_thread_join(&waiting), -ETIMEDOUT);
    assert_int_equal(bw_tell(laned->lane), 10);
    make_ready(laned->rig);
    assert_int_equal(bw_wake(laned->rig->bw), 0);
    assert_int_equal(bw_wait(laned->lane, 10, level, -1), 0);
    assert_int_equal(bw_flush(laned->lane), 0);
    assert_true(test_sink_holds(&laned->rig->sink, laned->data, kRoom + 10));
    laned_free(laned);
  }
}

static void test_interplay__a_wait_on_a_lane_for_durable_times_out_at_an_unready_sink(void **state) {
  struct laned *laned = laned_new(FLAGS(state));
  test_call call = {.bw = laned->lane, .position = 10, .level = BW_DURABLE, .timeout_us = 20000};
  test_thread waiting;
  make_unready(laned->rig);
  write_lane(laned, 0, 10);
  test_thread_start(&waiting, test_call_wait, &call);
  assert_int_equal(test_thread_join(&waiting), -ETIMEDOUT);
  make_ready(laned->rig);
  assert_int_equal(bw_wake(laned->rig->bw), 0);
  assert_int_equal(bw_wait(laned->lane, 10, BW_DURABLE, -1), 0);
  assert_true(test_sink_holds(&laned->rig->sink, laned->data, 10));
  laned_free(laned);
}

/* bw_free waits for a sink that works, and loses nothing to it. */
static void test_interplay__a_lane_freed_while_its_inline_parent_is_busy_loses_nothing(void **state) {
  (void)state;
  struct laned *laned = laned_new(0);
  test_call flush = {.bw = laned->rig->bw}, call = {.bw = laned->lane};
  test_thread flushing, freeing;
  assert_int_equal(bw_write(laned->rig->bw, laned->data, 3), 3);
  write_lane(laned, 3, 10);
  test_rig_gate(laned->rig, TEST_SINK_HAS(TEST_SINK_WRITE));
  test_thread_start(&flushing, test_call_flush, &flush);
  assert_true(test_gate_await(&laned->rig->gate, 1));
  test_thread_start(&freeing, test_call_free, &call);
  (void)test_thread_settle(&freeing);
  test_gate_open(&laned->rig->gate);
  assert_int_equal(test_thread_join(&freeing), 0);
  laned->lane = NULL;
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_int_equal(bw_flush(laned->rig->bw), 0);
  assert_int_equal(test_events_count(&laned->events, BW_EVENT_LOST), 0);
  assert_true(test_sink_holds(&laned->rig->sink, laned->data, 13));
  laned_free(laned);
}

/* A full background parent whose sink is at work, and a thread that frees its lane. */
static struct laned *laned_freeing(test_thread *freeing, test_call *call) {
  struct laned *laned = laned_new(BW_BACKGROUND);
  test_rig_gate(laned->rig, TEST_SINK_HAS(TEST_SINK_WRITE));
  assert_int_equal(bw_write(laned->rig->bw, laned->data, kRoom), kRoom);
  assert_true(test_gate_await(&laned->rig->gate, 1));
  write_lane(laned, kRoom, 10);
  *call = (test_call){.bw = laned->lane};
  start_waiting(freeing, test_call_free, call);
  return laned;
}

static void test_interplay__a_lane_freed_while_its_full_parent_is_busy_loses_nothing(void **state) {
  (void)state;
  test_thread freeing;
  test_call call;
  struct laned *laned = laned_freeing(&freeing, &call);
  test_gate_open(&laned->rig->gate);
  assert_int_equal(test_thread_join(&freeing), 0);
  laned->lane = NULL;
  assert_int_equal(bw_flush(laned->rig->bw), 0);
  assert_int_equal(test_events_count(&laned->events, BW_EVENT_LOST), 0);
  assert_true(test_sink_holds(&laned->rig->sink, laned->data, kRoom + 10));
  laned_free(laned);
}

static void test_interplay__a_lane_freed_while_its_parents_sink_gets_unready_is_told_lost(void **state) {
  (void)state;
  test_thread freeing;
  test_call call;
  struct laned *laned = laned_freeing(&freeing, &call);
  make_unready(laned->rig);
  test_gate_open(&laned->rig->gate);
  assert_int_equal(test_thread_join(&freeing), 0); /* though nobody calls bw_wake() */
  laned->lane = NULL;
  assert_true(test_events_lost(&laned->events, laned->data + kRoom, 10));
  make_ready(laned->rig);
  assert_int_equal(bw_wake(laned->rig->bw), 0);
  assert_int_equal(bw_flush(laned->rig->bw), 0);
  assert_true(test_sink_holds(&laned->rig->sink, laned->data, kRoom));
  laned_free(laned);
}

static void test_interplay__a_lane_freed_behind_an_unready_sink_is_told_lost(void **state) {
  (void)state;
  struct laned *laned = laned_behind_an_unready_sink();
  free_lane(laned);
  assert_true(test_events_lost(&laned->events, laned->data + kRoom, 10));
  assert_true(test_events_cover(&laned->events, BW_EVENT_LOST, 0, 10));
  laned_free(laned);
}

/* The sink is ready and the writer knows: what our thread has not got round to yet is no reason to lose bytes. */
static void test_interplay__a_lane_freed_right_after_the_wake_of_its_parent_loses_nothing(void **state) {
  (void)state;
  for (int round = 0; round < 100; ++round) {
    struct laned *laned = laned_behind_an_unready_sink();
    make_ready(laned->rig);
    assert_int_equal(bw_wake(laned->rig->bw), 0);
    free_lane(laned);
    assert_int_equal(test_events_count(&laned->events, BW_EVENT_LOST), 0);
    assert_int_equal(bw_flush(laned->rig->bw), 0);
    assert_true(test_sink_holds(&laned->rig->sink, laned->data, kRoom + 10));
    laned_free(laned);
  }
}

/* A write of the parent that fails under a lane's sync is no failed sync, neither the parent's nor the lane's. */
static void test_interplay__a_failed_write_under_a_lanes_sync_is_not_final(void **state) {
  struct laned *laned = laned_new(FLAGS(state));
  bw_t *const parent = laned->rig->bw;
  test_call sync = {.bw = laned->lane}, write = {.bw = parent, .data = laned->data + 3, .length = 2};
  test_thread syncing, writing;
  TEST_SINK_SCRIPT(&laned->rig->sink, TEST_SINK_WRITE, TEST_SINK_TAKE_ALL, -ENOSPC);
  write_lane(laned, 0, 3);
  test_rig_gate(laned->rig, TEST_SINK_HAS(TEST_SINK_FLUSH));
  test_thread_start(&syncing, test_call_sync, &sync);
  assert_true(test_gate_await(&laned->rig->gate, 1));
  test_thread_start(&writing, test_call_write, &write);
  (void)test_thread_settle(&writing);
  test_gate_open(&laned->rig->gate);
  const int64_t synced = test_thread_join(&syncing);
  assert_true(synced == 0 || synced == -ENOSPC);
  assert_int_equal(test_thread_join(&writing), 2);
  while (bw_flush(parent) == -ENOSPC) assert_int_equal(bw_resume(parent), 0);
  assert_int_equal(bw_sync(parent), 0);
  assert_int_equal(bw_error(parent), 0);
  assert_int_equal(bw_error(laned->lane), 0);
  assert_int_equal(bw_sync(laned->lane), 0);
  assert_int_equal(bw_position(laned->lane, BW_DURABLE), 3);
  assert_true(test_sink_holds(&laned->rig->sink, laned->data, 5));
  laned_free(laned);
}

/* ---- Taking over a writer behind which others wait for room ---------------------------------- */

enum { kAll = kRoom + 8 }; /* as many bytes as there are in all, 8 more than there is room for */

struct collected {
  char data[kAll];
  size_t length;
};

static void collect(void *arg, const void *data, size_t length) {
  struct collected *collected = arg;
  if (length > sizeof collected->data - collected->length) return;
  memcpy(collected->data + collected->length, data, length);
  collected->length += length;
}

/* A call that waits, most of them for room for the last 8 bytes, and another that takes the writer over. All on the
 * heap: where one of them does not return, the test ends without it. */
struct crowded {
  test_rig *rig;
  test_sink other;
  bw_t *lane;
  char data[kAll];
  size_t after;  /* so many bytes are in the buffers before */
  bool is_whole; /* the call is all or nothing */
  test_thread waiting, rescuing;
  struct call rescue;
  struct collected collected;
};

static int64_t crowded_write(void *arg) {
  const struct crowded *crowded = arg;
  return bw_write(crowded->rig->bw, crowded->data + crowded->after, kAll - crowded->after);
}

static int64_t crowded_append(void *arg) {
  const struct crowded *crowded = arg;
  const size_t length = kAll - crowded->after;
  const int64_t position = bw_append(crowded->rig->bw, crowded->data + crowded->after, length);
  return position < 0 ? position : (int64_t)length;
}

static int64_t crowded_reserve(void *arg) {
  const struct crowded *crowded = arg;
  bw_span_t span;
  const int code = bw_reserve(crowded->rig->bw, kAll - crowded->after, &span);
  if (code) return code;
  memcpy(span.data, crowded->data + crowded->after, span.length);
  const int64_t length = (int64_t)span.length;
  const int committed = bw_commit(crowded->rig->bw, &span, span.length);
  return committed ? committed : length;
}

static int64_t crowded_lane(void *arg) {
  const struct crowded *crowded = arg;
  return bw_write(crowded->lane, crowded->data + crowded->after, kAll - crowded->after);
}

struct crowding {
  int64_t (*body)(void *);
  size_t after;
  bool is_whole;
};
static const struct crowding kCrowding[] = {
    {crowded_write, 0, false},     {crowded_write, kRoom, false}, {crowded_append, 0, true},
    {crowded_append, kRoom, true}, {crowded_lane, kRoom, false},
};
static const struct crowding kReserving = {crowded_reserve, kRoom, true};

static struct crowded *crowded_new(void) {
  struct crowded *crowded = calloc(1, sizeof *crowded);
  crowded->rig = BACKGROUND_RIG();
  test_sink_init(&crowded->other);
  test_pattern(crowded->data, kAll, 4);
  make_unready(crowded->rig);
  crowded->rescue = (struct call){
      .call = {.bw = crowded->rig->bw}, .other = &crowded->other, .each = collect, .arg = &crowded->collected};
  return crowded;
}

static void crowded_free(struct crowded *crowded) {
  bw_free(crowded->lane);
  test_rig_free(crowded->rig);
  test_sink_destroy(&crowded->other);
  free(crowded);
}

static void start_stuck_call(struct crowded *crowded, int64_t (*body)(void *arg), void *arg) {
  test_thread_start(&crowded->waiting, body, arg);
  assert_true(test_sink_await_calls(&crowded->rig->sink, TEST_SINK_WRITE, 1));
  assert_false(test_thread_settle(&crowded->waiting));
}

static struct crowded *crowd(const struct crowding *how) {
  const bw_options_t options = {.size = sizeof options, .capacity = 8};
  struct crowded *crowded = crowded_new();
  crowded->after = how->after;
  crowded->is_whole = how->is_whole;
  assert_int_equal(bw_lane(&crowded->lane, crowded->rig->bw, &options), 0);
  assert_int_equal(bw_write(crowded->rig->bw, crowded->data, how->after), how->after);
  start_stuck_call(crowded, how->body, crowded);
  return crowded;
}

static bool has_finished(void *thread) {
  return test_thread_finished(thread);
}

/* What bw_unwritten(), bw_set_sink() or bw_discard() gives, which must not have to wait for ever. */
static int64_t rescue(struct crowded *crowded, int64_t (*body)(void *arg)) {
  test_thread_start(&crowded->rescuing, body, &crowded->rescue);
  if (!test_await(has_finished, &crowded->rescuing)) fail_msg("a call does not return");
  return test_thread_join(&crowded->rescuing);
}

/* The sink is ready: the call ends. A count may be short, for the stream went on without it; then the rest comes now.
 * Returns after a flush. */
static void crowded_end(struct crowded *crowded) {
  make_ready(crowded->rig);
  assert_int_equal(bw_wake(crowded->rig->bw), 0);
  const int64_t taken = test_thread_join(&crowded->waiting), length = (int64_t)(kAll - crowded->after);
  if (crowded->is_whole) assert_int_equal(taken, length);
  assert_true(taken > 0 && taken <= length);
  assert_int_equal(bw_flush(crowded->lane), 0);
  const int64_t rest = length - taken;
  assert_int_equal(bw_write(crowded->rig->bw, crowded->data + kAll - rest, (size_t)rest), rest);
  assert_int_equal(bw_flush(crowded->rig->bw), 0);
}

static void visit_the_unwritten(const struct crowding *how) {
  struct crowded *crowded = crowd(how);
  const struct collected *collected = &crowded->collected;
  const int64_t count = rescue(crowded, call_unwritten);
  assert_true(count >= (int64_t)how->after && count <= kAll);
  assert_int_equal(collected->length, count);
  assert_memory_equal(collected->data, crowded->data, collected->length);
  crowded_end(crowded);
  assert_true(test_sink_holds(&crowded->rig->sink, crowded->data, kAll));
  crowded_free(crowded);
}

static void put_a_new_sink(const struct crowding *how) {
  struct crowded *crowded = crowd(how);
  assert_int_equal(rescue(crowded, call_set_sink), 0);
  crowded_end(crowded);
  assert_true(test_sink_holds(&crowded->other, crowded->data, kAll));
  assert_true(test_sink_holds(&crowded->rig->sink, "", 0));
  crowded_free(crowded);
}

static void discard_all(const struct crowding *how) {
  struct crowded *crowded = crowd(how);
  const int64_t forgotten = rescue(crowded, test_call_discard);
  assert_true(forgotten >= (int64_t)how->after && forgotten <= kAll);
  crowded_end(crowded);
  assert_true(test_sink_holds(&crowded->rig->sink, crowded->data + forgotten, kAll - (size_t)forgotten));
  crowded_free(crowded);
}

static void test_interplay__who_waits_for_room_keeps_nobody_from_the_unwritten_bytes(void **state) {
  (void)state;
  for (size_t i = 0; i < LENGTH(kCrowding); ++i) visit_the_unwritten(&kCrowding[i]);
}

static void test_interplay__who_waits_for_room_keeps_no_new_sink_away(void **state) {
  (void)state;
  for (size_t i = 0; i < LENGTH(kCrowding); ++i) put_a_new_sink(&kCrowding[i]);
}

static void test_interplay__who_waits_for_room_keeps_nobody_from_discarding(void **state) {
  (void)state;
  for (size_t i = 0; i < LENGTH(kCrowding); ++i) discard_all(&kCrowding[i]);
}

/* Who takes over came first; only then the sink, which was asked before, says that it is not ready. */
static void test_interplay__who_waits_for_room_makes_way_when_the_sink_gets_unready(void **state) {
  (void)state;
  int64_t (*const calls[])(void *) = {call_unwritten, call_set_sink, test_call_discard};
  for (size_t i = 0; i < LENGTH(calls); ++i) {
    struct crowded *crowded = crowded_new();
    assert_int_equal(bw_lane(&crowded->lane, crowded->rig->bw, NULL), 0);
    test_rig_gate(crowded->rig, TEST_SINK_HAS(TEST_SINK_WRITE));
    test_thread_start(&crowded->waiting, crowded_write, crowded);
    assert_true(test_gate_await(&crowded->rig->gate, 1));
    assert_false(test_thread_settle(&crowded->waiting));
    start_waiting(&crowded->rescuing, calls[i], &crowded->rescue);
    test_gate_open(&crowded->rig->gate);
    if (!test_await(has_finished, &crowded->rescuing)) fail_msg("a call does not return");
    const int64_t answer = test_thread_join(&crowded->rescuing);
    const size_t forgotten = calls[i] == test_call_discard ? (size_t)answer : 0;
    crowded_end(crowded);
    test_sink *sink = calls[i] == call_set_sink ? &crowded->other : &crowded->rig->sink;
    assert_true(test_sink_holds(sink, crowded->data + forgotten, kAll - forgotten));
    crowded_free(crowded);
  }
}

static void test_interplay__a_reservation_that_waits_goes_on_waiting_after_a_look_at_the_unwritten(void **state) {
  (void)state;
  visit_the_unwritten(&kReserving);
}

static void test_interplay__a_reservation_that_waits_is_given_after_a_new_sink(void **state) {
  (void)state;
  put_a_new_sink(&kReserving);
}

/* It is no open span yet. */
static void test_interplay__a_reservation_that_waits_is_given_after_a_discard(void **state) {
  (void)state;
  discard_all(&kReserving);
}

/* The same for calls that keep everybody from writing until all is written. */
static void test_interplay__who_waits_for_all_to_be_written_keeps_no_new_sink_away(void **state) {
  (void)state;
  int64_t (*const calls[])(void *) = {test_call_flush, test_call_sync, test_call_seek, test_call_close};
  for (size_t i = 0; i < LENGTH(calls); ++i) {
    struct crowded *crowded = crowded_new();
    crowded->rescue.call.level = SEEK_CUR;
    assert_int_equal(bw_write(crowded->rig->bw, crowded->data, 3), 3);
    start_stuck_call(crowded, calls[i], &crowded->rescue);
    assert_int_equal(rescue(crowded, call_unwritten), 3);
    assert_int_equal(rescue(crowded, call_set_sink), 0);
    assert_true(test_thread_join(&crowded->waiting) >= 0);
    assert_true(test_sink_holds(&crowded->other, crowded->data, 3));
    crowded_free(crowded);
  }
}

/* ---- A new sink ------------------------------------------------------------------------------ */

/* What the old sink says at last is nobody's any more. */
static void test_interplay__an_error_of_the_old_sink_is_not_held_after_it_was_replaced(void **state) {
  (void)state;
  for (int round = 0; round < 50; ++round) {
    test_rig *rig = BACKGROUND_RIG();
    test_sink other;
    test_sink_init(&other);
    struct call call = {.call = {.bw = rig->bw}, .other = &other};
    test_thread setting;
    test_sink_always(&rig->sink, TEST_SINK_WRITE, -EIO);
    test_sink_hold(&rig->sink);
    assert_int_equal(bw_write(rig->bw, "0123456789abcdefg", kCapacity + 1), kCapacity + 1);
    assert_true(test_sink_await_inside(&rig->sink));
    test_thread_start(&setting, call_set_sink, &call);
    if (round % 10 == 0) assert_false(test_thread_settle(&setting));
    test_sink_release(&rig->sink);
    assert_int_equal(test_thread_join(&setting), 0);
    assert_int_equal(bw_error(rig->bw), 0);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_int_equal(bw_error(rig->bw), 0);
    assert_true(test_sink_holds(&other, "0123456789abcdefg", kCapacity + 1));
    test_rig_free_writer(rig);
    test_sink_destroy(&other);
    test_rig_free(rig);
  }
}

static void test_interplay__a_sync_asks_the_sink_in_place_for_all_that_was_written(void **state) {
  test_rig *rig = PLAIN_RIG(.flags = FLAGS(state));
  test_sink other;
  test_sink_init(&other);
  assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(set_sink(rig->bw, &other), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 0);
  assert_int_equal(bw_write(rig->bw, "a", 1), 1);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 11);
  assert_int_equal(test_sink_count(&rig->sink, TEST_SINK_SYNC), 0);
  assert_int_equal(test_sink_count(&other, TEST_SINK_SYNC), 1);
  test_rig_free_writer(rig);
  test_sink_destroy(&other);
  test_rig_free(rig);
}

struct busy {
  bw_t *bw;
  atomic_bool stop;
  size_t written;
};

/* Makes all kinds of calls until it is stopped; 0 if all went well. */
static int64_t call_everything(void *arg) {
  struct busy *busy = arg;
  char byte;
  int64_t wrong = 0;
  while (wrong == 0 && !atomic_load(&busy->stop)) {
    const char next = (char)busy->written;
    if (bw_write(busy->bw, &next, 1) == 1)
      ++busy->written;
    else
      wrong = 1;
    if (bw_sync(busy->bw) != 0) wrong = 2;
    if (bw_read(busy->bw, &byte, 1) != 0) wrong = 3; /* the sink stands at its end */
    if (bw_start_seek(busy->bw, 0, SEEK_END) != 0) wrong = 4;
    if (bw_poll_read(busy->bw, &byte, 1, NULL) > 0) wrong = 5;
    if (bw_seek(busy->bw, 0, SEEK_END) < 0) wrong = 6;
  }
  return wrong;
}

static void test_interplay__sinks_are_exchanged_while_another_thread_uses_them(void **state) {
  test_rig *rig = PLAIN_RIG(.flags = FLAGS(state));
  struct busy busy = {.bw = rig->bw};
  test_thread calling;
  test_thread_start(&calling, call_everything, &busy);
  int code = 0;
  for (int i = 0; i < 200 && code == 0; ++i) code = set_sink(rig->bw, &rig->sink);
  atomic_store(&busy.stop, true);
  assert_int_equal(test_thread_join(&calling), 0);
  assert_int_equal(code, 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  size_t length;
  char *bytes = test_sink_bytes(&rig->sink, &length);
  assert_int_equal(length, busy.written);
  for (size_t i = 0; i < length; ++i) assert_int_equal(bytes[i], (char)i);
  free(bytes);
  assert_int_equal(rig->sink.most_inside, 1);
  test_rig_free(rig);
}

/* ---- Errors ---------------------------------------------------------------------------------- */

struct resuming {
  bw_t *bw;
  atomic_int errors, not_held, refused;
};

/* Nobody else resumes: if the error were not held yet, it would be held for ever afterwards. */
static void resume_at_once(void *arg, const bw_event_t *event) {
  struct resuming *resuming = arg;
  bw_t *bw = resuming->bw;
  int code;
  if (event->kind != BW_EVENT_ERROR) return;
  atomic_fetch_add(&resuming->errors, 1);
  if (bw_error(bw) != -ENOSPC) atomic_fetch_add(&resuming->not_held, 1);
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  while ((code = bw_resume(bw)) == -EAGAIN && test_now_us() < end) sched_yield();
  if (code != 0) atomic_fetch_add(&resuming->refused, 1);
}

/* Tells, like every call, what there is to tell: on_event is called here, too, not by our thread alone. */
static int64_t wake_for_ever(void *arg) {
  struct busy *busy = arg;
  int code = 0;
  while (code == 0 && !atomic_load(&busy->stop)) code = bw_wake(busy->bw);
  return code;
}

struct appending {
  bw_t *bw;
  const test_records *records;
  unsigned thread;
  int64_t *positions;
};

static int64_t append_records(void *arg) {
  const struct appending *appending = arg;
  char record[128];
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  int64_t position = 0;
  for (unsigned number = 0; number < appending->records->each && position >= 0; ++number) {
    const size_t length = test_record_make(appending->records, appending->thread, number, record);
    while ((position = bw_append(appending->bw, record, length)) == -ENOSPC && test_now_us() < end) sched_yield();
    appending->positions[appending->thread * appending->records->each + number] = position;
  }
  return position < 0 ? position : 0;
}

static void test_interplay__an_error_is_held_before_on_event_hears_of_it(void **state) {
  (void)state;
  enum { kThreads = 2, kEach = 3000 };
  const test_records records = {.threads = kThreads, .each = kEach, .longest = 100, .seed = 5};
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 128, .buffers = kBuffers, .flags = BW_BACKGROUND);
  struct resuming resuming = {.bw = rig->bw};
  struct appending appending[kThreads];
  struct busy busy = {.bw = rig->bw};
  test_thread threads[kThreads], waking;
  static int64_t positions[kThreads * kEach];
  rig->events.hook_arg = &resuming;
  rig->events.hook = resume_at_once;
  for (int i = 0; i < 1500; ++i)
    TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, TEST_SINK_TAKE_ALL, -ENOSPC, TEST_SINK_TAKE_ALL);
  test_thread_start(&waking, wake_for_ever, &busy);
  for (unsigned i = 0; i < kThreads; ++i) {
    appending[i] = (struct appending){rig->bw, &records, i, positions};
    test_thread_start(&threads[i], append_records, &appending[i]);
  }
  for (unsigned i = 0; i < kThreads; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
  atomic_store(&busy.stop, true);
  assert_int_equal(test_thread_join(&waking), 0);
  int code;
  while ((code = bw_flush(rig->bw)) == -ENOSPC) test_pause();
  assert_int_equal(code, 0);
  assert_true(atomic_load(&resuming.errors) > 0);
  assert_int_equal(atomic_load(&resuming.not_held), 0);
  assert_int_equal(atomic_load(&resuming.refused), 0);
  size_t length;
  char *bytes = test_sink_bytes(&rig->sink, &length);
  assert_true(test_records_check(&records, bytes, length, positions));
  free(bytes);
  test_rig_free(rig);
}

/* ---- Notes ----------------------------------------------------------------------------------- */

enum { kAnswersMost = 8 };

struct answers {
  pthread_mutex_t mutex;
  struct {
    int64_t position;
    int code;
  } list[kAnswersMost];
  atomic_int count;
};

struct note {
  struct answers *answers;
  int64_t position;
};

static void answer(void *arg, int code) {
  const struct note *note = arg;
  struct answers *answers = note->answers;
  pthread_mutex_lock(&answers->mutex);
  const int index = atomic_load(&answers->count);
  if (index < kAnswersMost) {
    answers->list[index].position = note->position;
    answers->list[index].code = code;
  }
  atomic_store(&answers->count, index + 1);
  pthread_mutex_unlock(&answers->mutex);
}

/* A seek that goes back, but not below a note's position, answers it as the flush before it did. */
static void test_interplay__a_seek_answers_what_was_reached_before_what_it_cancels(void **state) {
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
    test_rig *rig = PLAIN_RIG(.flags = FLAGS(state));
    struct answers answers = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct note notes[2] = {{&answers, 5}, {&answers, 20}};
    for (int i = 0; i < 2; ++i) assert_int_equal(bw_notify(rig->bw, notes[i].position, level, answer, &notes[i]), 0);
    assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
    if (level == BW_DURABLE) assert_int_equal(bw_sync(rig->bw), 0);
    assert_int_equal(bw_seek(rig->bw, 8, SEEK_SET), 8);
    assert_true(test_await_at_least(&answers.count, 2));
    for (int i = 0; i < 2; ++i) {
      assert_int_equal(answers.list[i].position, notes[i].position);
      assert_int_equal(answers.list[i].code, i == 0 ? 0 : -ECANCELED);
    }
    test_rig_free_writer(rig);
    assert_int_equal(atomic_load(&answers.count), 2);
    test_rig_free(rig);
  }
}

/* ... also where the first cannot be answered yet. */
static void test_interplay__a_seek_keeps_the_order_of_answers_though_the_sink_cannot_sync_yet(void **state) {
  test_rig *rig = PLAIN_RIG(.flags = FLAGS(state));
  struct answers answers = {.mutex = PTHREAD_MUTEX_INITIALIZER};
  struct note notes[2] = {{&answers, 5}, {&answers, 20}};
  test_sink_always(&rig->sink, TEST_SINK_SYNC, -EAGAIN);
  assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
  for (int i = 0; i < 2; ++i) assert_int_equal(bw_notify(rig->bw, notes[i].position, BW_DURABLE, answer, &notes[i]), 0);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_SYNC, 1));
  assert_int_equal(bw_seek(rig->bw, 8, SEEK_SET), 8);
  test_sink_always(&rig->sink, TEST_SINK_SYNC, INT64_MIN);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_true(test_await_at_least(&answers.count, 2));
  for (int i = 0; i < 2; ++i) {
    assert_int_equal(answers.list[i].position, notes[i].position);
    assert_int_equal(answers.list[i].code, i == 0 ? 0 : -ECANCELED);
  }
  test_rig_free(rig);
}

struct polling {
  bw_t *bw;
  test_waker waker;
  atomic_int done;
  int64_t poll, append;
};

static void poll_too_much(void *arg, int code) {
  struct polling *polling = arg;
  const char data[kRoom + 1] = {0};
  const bw_waker_t wake = test_waker_of(&polling->waker);
  (void)code;
  polling->poll = bw_poll_append(polling->bw, data, sizeof data, &wake);
  polling->append = bw_append(polling->bw, data, sizeof data);
  atomic_store(&polling->done, 1);
}

/* A waker for it would be called for nothing, for ever. */
static void test_interplay__a_poll_in_a_callback_refuses_an_append_that_can_never_fit(void **state) {
  (void)state;
  test_rig *rig = BACKGROUND_RIG();
  struct polling polling = {.bw = rig->bw};
  assert_int_equal(bw_write(rig->bw, "a", 1), 1);
  assert_int_equal(bw_notify(rig->bw, 1, BW_ACCEPTED, poll_too_much, &polling), 0);
  assert_true(test_await_at_least(&polling.done, 1));
  assert_int_equal(polling.poll, -EMSGSIZE);
  assert_int_equal(polling.append, -EAGAIN);
  assert_int_equal(bw_flush(rig->bw), 0);
  test_rig_free_writer(rig);
  assert_int_equal(atomic_load(&polling.waker.calls), 0);
  assert_true(test_sink_holds(&rig->sink, "a", 1));
  test_rig_free(rig);
}

/* ---- Spans ----------------------------------------------------------------------------------- */

/* "abc", an open span of 5 bytes, "xyz"; what is before the span is written, and the sink takes no more for now. */
static test_rig *written_up_to_a_span(void **state, bw_span_t *span) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 32, .flags = FLAGS(state));
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_reserve(rig->bw, 5, span), 0);
  memcpy(span->data, "SPAN5", 5);
  assert_int_equal(bw_write(rig->bw, "xyz", 3), 3);
  assert_int_equal(bw_wait(rig->bw, 3, BW_WRITTEN, TEST_BOUND_S * INT64_C(1000000)), 0);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  make_unready(rig);
  assert_int_equal(bw_unwritten(rig->bw, NULL, NULL), 0);
  return rig;
}

static void test_interplay__what_is_before_an_open_span_is_written_once(void **state) {
  bw_span_t span;
  struct collected collected = {.length = 0};
  test_rig *rig = written_up_to_a_span(state, &span);
  assert_int_equal(bw_commit(rig->bw, &span, 5), 0);
  assert_int_equal(bw_unwritten(rig->bw, collect, &collected), 8);
  assert_int_equal(collected.length, 8);
  assert_memory_equal(collected.data, "SPAN5xyz", 8);
  make_ready(rig);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, "0123456789012345678901234567890123456789", 40), 40);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, "abcSPAN5xyz0123456789012345678901234567890123456789", 51));
  test_rig_free(rig);
}

static void test_interplay__a_discard_after_that_forgets_only_the_rest(void **state) {
  bw_span_t span;
  test_rig *rig = written_up_to_a_span(state, &span);
  assert_int_equal(bw_commit(rig->bw, &span, 5), 0);
  assert_int_equal(bw_discard(rig->bw), 8);
  make_ready(rig);
  assert_int_equal(bw_wake(rig->bw), 0);
  assert_int_equal(bw_append(rig->bw, "NEW", 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(test_sink_holds(&rig->sink, "abcNEW", 6));
  test_rig_free(rig);
}

static void test_interplay__a_free_after_that_tells_only_what_is_beyond_the_span(void **state) {
  bw_span_t span;
  test_rig *rig = written_up_to_a_span(state, &span);
  make_ready(rig);
  test_rig_free_writer(rig);
  assert_true(test_sink_holds(&rig->sink, "abc", 3));
  const size_t count = test_events_count(&rig->events, BW_EVENT_LOST);
  assert_true(count > 0);
  const test_event last = test_events_get(&rig->events, BW_EVENT_LOST, count - 1);
  assert_int_equal(last.position + (int64_t)last.length, 11);
  assert_true(rig->events.lost_length >= 3 && rig->events.lost_length <= 8); /* the span itself may be told too */
  assert_memory_equal(rig->events.lost + rig->events.lost_length - 3, "xyz", 3);
  test_rig_free(rig);
}

/* ---- Nobody starves -------------------------------------------------------------------------- */

struct reading {
  bw_t *bw;
  atomic_bool stop;
};

static int64_t read_for_ever(void *arg) {
  struct reading *reading = arg;
  char byte;
  int64_t answer = 0;
  while (answer == 0 && !atomic_load(&reading->stop)) answer = bw_read(reading->bw, &byte, 1);
  return answer;
}

static void take_some_time(void *arg, enum test_sink_kind kind) {
  (void)arg;
  if (kind == TEST_SINK_READ) test_pause();
}

static void test_interplay__our_thread_gets_the_sink_though_others_never_leave_it_alone(void **state) {
  (void)state;
  enum { kReaders = 4, kBytes = 20 * kCapacity };
  test_rig *rig = BACKGROUND_RIG();
  struct reading reading = {.bw = rig->bw};
  char data[kBytes];
  test_thread readers[kReaders], writing;
  test_pattern(data, sizeof data, 6);
  test_call write = {.bw = rig->bw, .data = data, .length = sizeof data};
  rig->sink.hook = take_some_time;
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_READ, 0);
  test_sink_always(&rig->sink, TEST_SINK_READ, 0);
  for (int i = 0; i < kReaders; ++i) test_thread_start(&readers[i], read_for_ever, &reading);
  assert_true(test_sink_await_calls(&rig->sink, TEST_SINK_READ, kReaders));
  test_thread_start(&writing, test_call_write, &write);
  const int code = bw_wait(rig->bw, sizeof data, BW_WRITTEN, TEST_BOUND_S * INT64_C(1000000));
  atomic_store(&reading.stop, true);
  for (int i = 0; i < kReaders; ++i) assert_int_equal(test_thread_join(&readers[i]), 0);
  assert_int_equal(test_thread_join(&writing), sizeof data);
  assert_int_equal(code, 0);
  assert_true(test_sink_holds(&rig->sink, data, sizeof data));
  test_rig_free(rig);
}

struct reached {
  bw_t *bw;
  int64_t position;
};

static bool is_written(void *arg) {
  const struct reached *reached = arg;
  return bw_position(reached->bw, BW_WRITTEN) >= reached->position;
}

/* However a write and the end of an earlier byte's time meet, its own time is up one day. */
static void test_interplay__every_byte_lingers_out(void **state) {
  enum { kLingerUs = 200 };
  test_rig *rig = PLAIN_RIG(.flags = FLAGS(state), .linger_us = kLingerUs);
  uint64_t random = 7;
  struct reached reached = {.bw = rig->bw, .position = 0};
  for (int round = 0; round < 200; ++round) {
    const int64_t begin = test_now_us();
    assert_int_equal(bw_write(rig->bw, "a", 1), 1);
    assert_int_equal(bw_flush(rig->bw), 0);
    const int64_t length = kLingerUs - 10 + (int64_t)(test_random(&random) % 40);
    while (test_now_us() < begin + length) continue;
    assert_int_equal(bw_write(rig->bw, "b", 1), 1);
    reached.position += 2;
    assert_true(test_await(is_written, &reached));
  }
  test_rig_free(rig);
}

/* ---- Nobody is kept busy --------------------------------------------------------------------- */

/* What the other threads of this process do. */
struct others {
  int threads;
  bool asleep;   /* all of them */
  long switches; /* how often they went to sleep or were preempted, together */
};

static void look_at_thread(struct others *others, const char *tid) {
  char path[300], line[200], state = 0;
  long switches;
  snprintf(path, sizeof path, "/proc/self/task/%s/status", tid);
  FILE *file = fopen(path, "r");
  if (!file) return; /* it has ended */
  ++others->threads;
  while (fgets(line, sizeof line, file)) {
    if (sscanf(line, "State: %c", &state) == 1) others->asleep = others->asleep && state == 'S';
    if (sscanf(line, "voluntary_ctxt_switches: %ld", &switches) == 1) others->switches += switches;
    if (sscanf(line, "nonvoluntary_ctxt_switches: %ld", &switches) == 1) others->switches += switches;
  }
  fclose(file);
}

static struct others look_at_others(void) {
  struct others others = {0, true, 0};
  DIR *directory = opendir("/proc/self/task");
  const long own = syscall(SYS_gettid);
  for (struct dirent *entry; directory && (entry = readdir(directory));)
    if (atol(entry->d_name) > 0 && atol(entry->d_name) != own) look_at_thread(&others, entry->d_name);
  if (directory) closedir(directory);
  return others;
}

/* True once all other threads were seen asleep five times in a row, and woke up no more than once a millisecond
 * between. Who sleeps is seen to sleep sooner or later, however busy the machine is; who spins never is. */
static bool others_sleep(void *arg) {
  (void)arg;
  struct others now, first = look_at_others();
  const int64_t begin = test_now_us();
  for (int look = 0; look < 4; ++look) {
    test_pause();
    now = look_at_others();
    if (!first.asleep || !now.asleep || now.threads != first.threads) return false;
  }
  return now.switches - first.switches <= 1 + (test_now_us() - begin) / 1000;
}

static void ignore_note(void *arg, int code) {
  (void)arg;
  (void)code;
}

/* A writer that has something to do and cannot do it. */
struct idle {
  const char *name;
  uint32_t flags;
  uint64_t linger_us;
  enum test_sink_kind failing; /* KINDS: none */
  int answer;
  unsigned has;
};
enum {
  kSpan = 1,      /* an open span behind the bytes */
  kNote = 2,      /* a note for all of it to be durable */
  kClosed = 4,    /* it was closed */
  kAskedOnce = 8, /* it said -EAGAIN to a background writer: it is not asked again before bw_wake() */
};

static void check_idle(const struct idle *idle) {
  test_rig *rig = PLAIN_RIG(.flags = idle->flags, .linger_us = idle->linger_us);
  bw_span_t span;
  if (idle->failing != TEST_SINK_KINDS) test_sink_always(&rig->sink, idle->failing, idle->answer);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  if (idle->has & kSpan) assert_int_equal(bw_reserve(rig->bw, 5, &span), 0);
  if (idle->has & kNote) assert_int_equal(bw_notify(rig->bw, bw_tell(rig->bw), BW_DURABLE, ignore_note, NULL), 0);
  if (idle->has & kClosed) assert_int_equal(bw_close(rig->bw), 0);
  if (idle->has & kAskedOnce) assert_true(test_sink_await_calls(&rig->sink, idle->failing, 1));
  if (!test_await(others_sleep, NULL)) fail_msg("a thread does not come to rest: %s", idle->name);
  if (idle->has & kAskedOnce) {
    assert_int_equal(test_sink_count(&rig->sink, idle->failing), 1);
    test_sink_always(&rig->sink, idle->failing, INT64_MIN);
    assert_int_equal(bw_wake(rig->bw), 0);
    assert_true(test_sink_await_calls(&rig->sink, idle->failing, 2));
  }
  test_rig_free(rig);
}

static void test_interplay__a_thread_of_ours_that_can_do_nothing_sleeps(void **state) {
  (void)state;
  enum { kBg = BW_BACKGROUND, kLinger = 100 };
  const enum test_sink_kind none = TEST_SINK_KINDS, write = TEST_SINK_WRITE, flush = TEST_SINK_FLUSH,
                            sync = TEST_SINK_SYNC;
  const struct idle idles[] = {
      {"background", kBg, 0, none, 0, 0},
      {"background, unshared", kBg | BW_UNSHARED, 0, none, 0, 0},
      {"background, not ready, linger", kBg, kLinger, write, -EAGAIN, kAskedOnce},
      {"background, not ready, note", kBg, 0, write, -EAGAIN, kNote | kAskedOnce},
      {"background, not ready, linger, note", kBg, kLinger, write, -EAGAIN, kNote | kAskedOnce},
      {"background, error held, linger, note", kBg, kLinger, write, -EIO, kNote},
      {"background, flush fails, note", kBg, 0, flush, -EIO, kNote},
      {"background, sync not ready, note", kBg, 0, sync, -EAGAIN, kNote | kAskedOnce},
      {"background, span, note", kBg, 0, none, 0, kSpan | kNote},
      {"background, span, linger", kBg, kLinger, none, 0, kSpan},
      {"linger, write fails", 0, kLinger, write, -EIO, 0},
      {"linger, not ready", 0, kLinger, write, -EAGAIN, 0},
      {"linger, closed", 0, kLinger, none, 0, kClosed},
      {"linger, span", 0, kLinger, none, 0, kSpan},
      {"note, write fails", 0, 0, write, -EIO, kNote},
      {"note, flush fails", 0, 0, flush, -EIO, kNote},
      {"note, sync fails", 0, 0, sync, -EIO, kNote},
      {"note, sync not ready", 0, 0, sync, -EAGAIN, kNote},
      {"span, note", 0, 0, none, 0, kSpan | kNote},
  };
  for (size_t i = 0; i < LENGTH(idles); ++i) check_idle(&idles[i]);
}

static void test_interplay__a_writer_on_a_full_nonblocking_pipe_sleeps(void **state) {
  enum { kTooMuch = 1 << 20 };
  const bw_options_t options = {.size = sizeof options, .flags = FLAGS(state), .capacity = kTooMuch, .linger_us = 100};
  char *data = calloc(1, kTooMuch);
  int ends[2];
  bw_t *bw = NULL;
  assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
  assert_int_equal(bw_fdopen(&bw, ends[1], &options), 0);
  assert_int_equal(bw_write(bw, data, kTooMuch - 1), kTooMuch - 1);
  assert_true(test_await(is_full, &ends[0]));
  assert_true(test_await(others_sleep, NULL));
  bw_free(bw);
  close(ends[0]);
  close(ends[1]);
  free(data);
}

static void test_interplay__a_read_of_an_empty_nonblocking_socket_sleeps(void **state) {
  (void)state;
  const bw_options_t options = {.size = sizeof options, .flags = BW_BACKGROUND};
  int ends[2];
  bw_t *bw = NULL;
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
  assert_int_equal(bw_fdopen(&bw, ends[0], &options), 0);
  test_call call = {.bw = bw};
  test_thread reading;
  start_waiting(&reading, call_read, &call);
  assert_true(test_await(others_sleep, NULL));
  assert_int_equal(write(ends[1], "a", 1), 1);
  assert_int_equal(test_thread_join(&reading), 1);
  bw_free(bw);
  close(ends[0]);
  close(ends[1]);
}

#define IN(mode, test) \
  { #test " (" #mode ")", test, NULL, NULL, (void *)&k##mode }
#define BOTH(test) IN(Inline, test), IN(Background, test)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_interplay__a_sink_that_writes_what_does_not_fit_is_refused),
      BOTH(test_interplay__who_waits_while_the_sink_closes_does_not_call_it_afterwards),
      BOTH(test_interplay__polls_pending_while_the_sink_closes_are_woken_and_end),
      BOTH(test_interplay__who_waits_while_the_sink_breaks_does_not_call_it_afterwards),
      BOTH(test_interplay__no_lane_is_made_of_a_parent_that_closes),
      BOTH(test_interplay__a_waker_called_by_free_finds_a_closed_writer),
      IN(InlineUnshared, test_interplay__a_waker_called_by_free_finds_a_closed_writer),
      BOTH(test_interplay__a_note_answered_by_free_finds_a_closed_writer),
      IN(InlineUnshared, test_interplay__a_note_answered_by_free_finds_a_closed_writer),
      BOTH(test_interplay__a_pipe_that_breaks_after_a_part_raises_no_signal),
      BOTH(test_interplay__a_wait_at_an_unready_sink_is_cancelled_by_discard),
      BOTH(test_interplay__a_wait_at_an_unready_sink_ends_with_a_new_sink),
      cmocka_unit_test(test_interplay__a_wait_at_an_unready_sink_ends_when_another_thread_gets_on),
      cmocka_unit_test(test_interplay__a_wait_at_an_unready_sink_ends_when_a_seek_goes_back),
      BOTH(test_interplay__a_wait_on_a_lane_hears_of_the_wake_of_its_parent),
      cmocka_unit_test(test_interplay__a_wait_on_a_lane_of_a_full_parent_times_out),
      BOTH(test_interplay__a_wait_on_a_lane_for_durable_times_out_at_an_unready_sink),
      cmocka_unit_test(test_interplay__a_lane_freed_while_its_inline_parent_is_busy_loses_nothing),
      cmocka_unit_test(test_interplay__a_lane_freed_while_its_full_parent_is_busy_loses_nothing),
      cmocka_unit_test(test_interplay__a_lane_freed_while_its_parents_sink_gets_unready_is_told_lost),
      cmocka_unit_test(test_interplay__a_lane_freed_behind_an_unready_sink_is_told_lost),
      cmocka_unit_test(test_interplay__a_lane_freed_right_after_the_wake_of_its_parent_loses_nothing),
      BOTH(test_interplay__a_failed_write_under_a_lanes_sync_is_not_final),
      cmocka_unit_test(test_interplay__who_waits_for_room_keeps_nobody_from_the_unwritten_bytes),
      cmocka_unit_test(test_interplay__who_waits_for_room_keeps_no_new_sink_away),
      cmocka_unit_test(test_interplay__who_waits_for_room_keeps_nobody_from_discarding),
      cmocka_unit_test(test_interplay__who_waits_for_room_makes_way_when_the_sink_gets_unready),
      cmocka_unit_test(test_interplay__who_waits_for_all_to_be_written_keeps_no_new_sink_away),
      cmocka_unit_test(test_interplay__an_error_of_the_old_sink_is_not_held_after_it_was_replaced),
      BOTH(test_interplay__a_sync_asks_the_sink_in_place_for_all_that_was_written),
      BOTH(test_interplay__sinks_are_exchanged_while_another_thread_uses_them),
      cmocka_unit_test(test_interplay__an_error_is_held_before_on_event_hears_of_it),
      BOTH(test_interplay__a_seek_answers_what_was_reached_before_what_it_cancels),
      cmocka_unit_test(test_interplay__a_poll_in_a_callback_refuses_an_append_that_can_never_fit),
      BOTH(test_interplay__what_is_before_an_open_span_is_written_once),
      BOTH(test_interplay__a_discard_after_that_forgets_only_the_rest),
      BOTH(test_interplay__a_free_after_that_tells_only_what_is_beyond_the_span),
      cmocka_unit_test(test_interplay__our_thread_gets_the_sink_though_others_never_leave_it_alone),
      BOTH(test_interplay__every_byte_lingers_out),
      cmocka_unit_test(test_interplay__a_thread_of_ours_that_can_do_nothing_sleeps),
      BOTH(test_interplay__a_writer_on_a_full_nonblocking_pipe_sleeps),
      cmocka_unit_test(test_interplay__a_read_of_an_empty_nonblocking_socket_sleeps),
      BOTH(test_interplay__a_new_sink_for_a_writer_that_closes_is_refused),
      BOTH(test_interplay__a_seek_or_close_waiting_while_the_sink_breaks_does_not_call_it_afterwards),
      cmocka_unit_test(test_interplay__a_reservation_that_waits_goes_on_waiting_after_a_look_at_the_unwritten),
      cmocka_unit_test(test_interplay__a_reservation_that_waits_is_given_after_a_new_sink),
      cmocka_unit_test(test_interplay__a_reservation_that_waits_is_given_after_a_discard),
      BOTH(test_interplay__a_seek_keeps_the_order_of_answers_though_the_sink_cannot_sync_yet),
      BOTH(test_interplay__what_is_told_lost_stays_valid_whatever_on_event_calls),
  };
  return cmocka_run_group_tests_name("interplay", tests, NULL, NULL);
}
