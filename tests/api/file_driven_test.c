/*
 * BW_CALLER_DRIVEN: no thread of ours. An event descriptor says when bw_poll_events() has something to do, callbacks
 * run only there, in bw_close() and in bw_free(), and calls that wait do the I/O themselves.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../support/file_rig.h"
#include "../support/records.h"

enum { kUnit = 4096 };

/* What the library calls in place of the C library's: it stops at the gate, if there is one. */
static test_gate *_Atomic sync_gate;

int fdatasync(int fd) {
  test_gate *gate = atomic_load(&sync_gate);
  if (gate) test_gate_pass(gate);
  return (int)syscall(SYS_fdatasync, fd);
}

static bool is_shared(const file_rig *rig) {
  return !(rig->way.flags & BW_UNSHARED);
}

/* Opens with these numbers of buffers and bytes, and more flags. */
static void open_small(file_rig *rig, uint32_t buffers, uint64_t capacity, uint32_t more_flags) {
  bw_options_t options = file_rig_options(rig);
  options.buffers = buffers;
  options.capacity = capacity;
  options.flags |= more_flags;
  assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, &options), 0);
}

static bool is_readable(file_rig *rig) {
  struct pollfd event = {.fd = bw_event_fd(rig->bw), .events = POLLIN};
  return poll(&event, 1, 0) == 1;
}

/* Sleeps on the descriptor alone: if it were not readable when something is due, the bound would end it. */
static void turn_loop(file_rig *rig) {
  struct pollfd event = {.fd = bw_event_fd(rig->bw), .events = POLLIN};
  assert_int_equal(poll(&event, 1, TEST_BOUND_S * 1000), 1);
  assert_true(bw_poll_events(rig->bw) >= 0);
}

static void loop_until_written(file_rig *rig, int64_t position) {
  while (bw_position(rig->bw, BW_WRITTEN) < position) turn_loop(rig);
}

static void loop_until_told(file_rig *rig, size_t count) {
  while (file_rig_told_count(rig) < count) turn_loop(rig);
}

static void loop_until_woken(file_rig *rig, test_waker *waker, int calls) {
  while (atomic_load(&waker->calls) < calls) turn_loop(rig);
}

/* ---- The descriptor -------------------------------------------------------------------------- */

static void test_event_fd__is_for_caller_driven_writers(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_event_fd(rig->bw), -EOPNOTSUPP);
  assert_int_equal(bw_poll_events(rig->bw), -EOPNOTSUPP);
  assert_int_equal(bw_event_fd(NULL), -EINVAL);
  assert_int_equal(bw_poll_events(NULL), -EINVAL);
  file_rig_close(rig);
}

static void test_event_fd__is_quiet_while_nothing_is_due(void **state) {
  file_rig *rig = *state;
  char data[2 * kUnit];
  test_pattern(data, sizeof data, 1);
  open_small(rig, 3, kUnit, 0);
  const int fd = bw_event_fd(rig->bw);
  assert_true(fd >= 0);
  for (int64_t end = 0, round = 0; round < 5; ++round) {
    file_rig_drive(rig);
    assert_false(is_readable(rig)); /* else an event loop would spin */
    assert_int_equal(bw_write(rig->bw, data, 10), 10);
    file_rig_drive(rig);
    assert_false(is_readable(rig));
    assert_int_equal(bw_write(rig->bw, data, 2 * kUnit), 2 * kUnit);
    assert_true(is_readable(rig)); /* level-triggered */
    assert_true(is_readable(rig));
    end += 10 + 2 * kUnit;
    loop_until_written(rig, end / kUnit * kUnit);
    assert_int_equal(bw_event_fd(rig->bw), fd);
  }
  file_rig_close(rig);
}

struct other {
  file_rig *rig;
  int64_t (*call)(file_rig *rig);
};

static int64_t call_elsewhere(void *arg) {
  const struct other *other = arg;
  return other->call(other->rig);
}

static int64_t write_two_buffers(file_rig *rig) {
  char data[2 * kUnit];
  test_pattern(data, sizeof data, 2);
  return bw_write(rig->bw, data, sizeof data) == sizeof data ? 0 : 1;
}

static int64_t ask_for_durability(file_rig *rig) {
  return file_rig_notify(rig, bw_tell(rig->bw), BW_DURABLE);
}

/* The loop may have done it already when the poll looks. */
static int64_t poll_flush(file_rig *rig) {
  const int code = bw_poll_flush(rig->bw, NULL);
  return code == -EAGAIN ? 0 : code;
}

static int64_t poll_sync(file_rig *rig) {
  const int code = bw_poll_sync(rig->bw, NULL);
  return code == -EAGAIN ? 0 : code;
}

static void test_event_fd__wakes_the_loop_when_another_thread_gives_it_something_to_do(void **state) {
  file_rig *rig = *state;
  int64_t (*const calls[])(file_rig *) = {write_two_buffers, ask_for_durability, poll_flush, poll_sync};
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; ++i) {
    open_small(rig, 3, kUnit, 0);
    assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
    file_rig_drive(rig);
    assert_false(is_readable(rig));
    struct other other = {rig, calls[i]};
    test_thread thread;
    test_thread_start(&thread, call_elsewhere, &other);
    turn_loop(rig); /* sleeps until the other thread has called */
    assert_int_equal(test_thread_join(&thread), 0);
    loop_until_written(rig, 3);
    file_rig_close(rig);
    rig->notes.told_count = 0;
  }
}

static void test_event_fd__stays_until_the_writer_is_freed(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  const int fd = bw_event_fd(rig->bw);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_int_equal(bw_event_fd(rig->bw), fd);
  assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  assert_true(bw_poll_events(rig->bw) >= 0);
  assert_int_equal(bw_poll_events(rig->bw), 0);
  assert_false(is_readable(rig));
  file_rig_free(rig);
  assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* ---- Event loops ----------------------------------------------------------------------------- */

static void test_loop__writes_what_never_waiting_calls_accept(void **state) {
  file_rig *rig = *state;
  enum { kBytes = 150000 };
  unsigned char *data = malloc(kBytes);
  test_pattern(data, kBytes, 3);
  const bw_options_t defaults = file_rig_options(rig);
  open_small(rig, defaults.buffers, defaults.capacity, BW_NONBLOCK);
  for (size_t at = 0; at < kBytes;) {
    const int64_t answer = bw_write(rig->bw, data + at, kBytes - at < 7777 ? kBytes - at : 7777);
    if (answer == -EAGAIN)
      turn_loop(rig);
    else
      at += (size_t)answer;
    assert_true(answer == -EAGAIN || answer > 0);
  }
  int code;
  while ((code = bw_flush(rig->bw)) == -EAGAIN) turn_loop(rig);
  assert_int_equal(code, 0);
  assert_true(file_has(rig->path, data, kBytes));
  while ((code = bw_sync(rig->bw)) == -EAGAIN) turn_loop(rig);
  assert_int_equal(code, 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), kBytes);
  while ((code = bw_close(rig->bw)) == -EAGAIN) turn_loop(rig);
  assert_int_equal(code, 0);
  free(data);
}

static void test_loop__nothing_is_written_without_it(void **state) {
  file_rig *rig = *state;
  char data[3 * kUnit];
  test_pattern(data, sizeof data, 4);
  open_small(rig, 2, kUnit, BW_NONBLOCK);
  test_waker waker = {0}, unwanted = {0};
  const bw_waker_t wake = test_waker_of(&waker), other = test_waker_of(&unwanted);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), 2 * kUnit); /* what fits */
  assert_int_equal(bw_write(rig->bw, data, 1), -EAGAIN);
  assert_int_equal(bw_append(rig->bw, data, 1), -EAGAIN);
  bw_span_t span;
  assert_int_equal(bw_reserve(rig->bw, 1, &span), -EAGAIN);
  for (int i = 0; i < 3; ++i) assert_int_equal(bw_poll_write(rig->bw, data, 1, &wake), -EAGAIN);
  assert_int_equal(bw_poll_append(rig->bw, data, 1, &other), -EAGAIN);
  assert_int_equal(bw_unwake(rig->bw, &other), 1);
  assert_int_equal(bw_unwake(rig->bw, &other), 0);
  assert_int_equal(file_size(rig->path), 0);
  assert_int_equal(atomic_load(&waker.calls), 0);
  loop_until_woken(rig, &waker, 1);
  assert_true(bw_poll_write(rig->bw, data + 2 * kUnit, kUnit, &wake) > 0);
  loop_until_written(rig, 2 * kUnit);
  assert_true(file_has_at(rig->path, 0, data, 2 * kUnit));
  file_rig_free(rig);
  assert_true(file_has(rig->path, data, 3 * kUnit));
  assert_int_equal(atomic_load(&waker.calls), 1);
  assert_int_equal(atomic_load(&unwanted.calls), 0);
}

static void test_loop__lengthens_a_file_by_several_buffers_at_once(void **state) {
  file_rig *rig = *state;
  enum { kBuffers = 8, kAtOnce = kBuffers / 2 };
  char data[kBuffers * kUnit];
  test_pattern(data, sizeof data, 6);
  open_small(rig, kBuffers, kUnit, BW_NONBLOCK);
  bw_stats_t stats = BW_STATS_INIT;
  assert_int_equal(bw_get_stats(rig->bw, &stats), 0);
  const uint64_t writes = stats.direct ? kBuffers / kAtOnce : kBuffers;
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  assert_int_equal(bw_flush(rig->bw), -EAGAIN);
  loop_until_written(rig, sizeof data);
  assert_true(file_has(rig->path, data, sizeof data));
  assert_int_equal(bw_get_stats(rig->bw, &stats), 0);
  assert_int_equal(stats.sink_writes, writes);
  file_rig_free(rig);
}

static void test_loop__an_append_is_whole_or_nothing(void **state) {
  file_rig *rig = *state;
  char data[4 * kUnit];
  test_pattern(data, sizeof data, 5);
  open_small(rig, 3, kUnit, BW_NONBLOCK);
  assert_int_equal(bw_append(rig->bw, data, 2 * kUnit + 1), 0);
  assert_int_equal(bw_append(rig->bw, data + 2 * kUnit + 1, kUnit), -EAGAIN);
  assert_int_equal(bw_tell(rig->bw), 2 * kUnit + 1);
  assert_int_equal(bw_append(rig->bw, data, 3 * kUnit + 1), -EMSGSIZE);
  int64_t answer;
  while ((answer = bw_append(rig->bw, data + 2 * kUnit + 1, kUnit)) == -EAGAIN) turn_loop(rig);
  assert_int_equal(answer, 2 * kUnit + 1);
  file_rig_free(rig);
  assert_true(file_has(rig->path, data, 3 * kUnit + 1));
}

static void test_loop__commits_by_callback(void **state) {
  file_rig *rig = *state;
  enum { kNotes = 1000 };
  char record[128];
  test_pattern(record, sizeof record, 6);
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (int i = 0; i < kNotes; ++i) {
    assert_int_equal(bw_append(rig->bw, record, sizeof record), i * (int)sizeof record);
    assert_int_equal(file_rig_notify(rig, (i + 1) * (int)sizeof record, BW_DURABLE), 0);
    if (i % 100 == 50) turn_loop(rig);
  }
  if (!is_shared(rig)) assert_int_equal(bw_poll_sync(rig->bw, NULL), -EAGAIN); /* the owner's call sees to it */
  loop_until_told(rig, kNotes);
  for (size_t i = 0; i < kNotes; ++i) {
    assert_int_equal(file_rig_told(rig, i).code, 0);
    assert_int_equal(file_rig_told(rig, i).position, (i + 1) * sizeof record);
    assert_true(file_rig_told(rig, i).reached >= file_rig_told(rig, i).position);
  }
  file_rig_close(rig);
  assert_int_equal(file_rig_told_count(rig), kNotes);
}

static void test_loop__closes(void **state) {
  file_rig *rig = *state;
  char data[2 * kUnit + 10];
  test_pattern(data, sizeof data, 7);
  open_small(rig, 3, kUnit, 0);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  int code, pending = 0;
  while ((code = bw_poll_close(rig->bw, &wake)) == -EAGAIN) loop_until_woken(rig, &waker, ++pending);
  assert_int_equal(code, 0);
  assert_true(file_has(rig->path, data, sizeof data));
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), sizeof data);
  assert_true(test_events_cover(&rig->events, BW_EVENT_WRITTEN, 0, sizeof data));
}

struct pollers {
  file_rig *rig;
  atomic_bool stops;
};

static int64_t keep_polling(void *arg) {
  struct pollers *pollers = arg;
  while (!atomic_load(&pollers->stops)) {
    const int answer = bw_poll_events(pollers->rig->bw);
    if (answer < 0) return answer;
  }
  return 0;
}

static int64_t append_records(void *arg) {
  file_rig *rig = arg;
  char record[777];
  memset(record, 'r', sizeof record);
  for (int i = 0; i < 100; ++i) {
    const int64_t at = bw_append(rig->bw, record, sizeof record);
    if (at < 0) return at;
    const int code = i % 5 ? 0 : bw_wait(rig->bw, at + (int64_t)sizeof record, BW_DURABLE, -1);
    if (code) return code;
    if (i % 7 == 0 && file_rig_notify(rig, at + (int64_t)sizeof record, BW_DURABLE)) return -1000;
  }
  return 0;
}

static void test_loop__may_run_in_several_threads(void **state) {
  file_rig *rig = *state;
  test_thread pollers[2], writers[2];
  struct pollers all = {.rig = rig};
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (int i = 0; i < 2; ++i) test_thread_start(&pollers[i], keep_polling, &all);
  for (int i = 0; i < 2; ++i) test_thread_start(&writers[i], append_records, rig);
  const int64_t written = file_join(writers, 2);
  const bool told = file_rig_await_told(rig, 30);
  atomic_store(&all.stops, true);
  assert_int_equal(file_join(pollers, 2), 0);
  assert_int_equal(written, 0);
  assert_true(told);
  file_rig_close(rig);
  assert_int_equal(file_rig_told_count(rig), 30);
  assert_int_equal(rig->notes.most_inside, 1);
  assert_int_equal(file_size(rig->path), 200 * 777);
}

static int64_t drive_once_and_exit(void *arg) {
  file_rig *rig = arg;
  char data[3 * kUnit];
  memset(data, 'd', sizeof data);
  if (bw_append(rig->bw, data, sizeof data) < 0) return 1;
  return bw_poll_events(rig->bw) < 0;
}

static void test_loop__goes_on_where_a_thread_left_off(void **state) {
  file_rig *rig = *state;
  char data[3 * kUnit];
  memset(data, 'd', sizeof data);
  open_small(rig, 8, kUnit, 0);
  for (int64_t round = 1; round <= 50; ++round) {
    test_thread thread;
    test_thread_start(&thread, drive_once_and_exit, rig); /* what it had submitted the kernel may cancel */
    assert_int_equal(test_thread_join(&thread), 0);
    loop_until_written(rig, round * (int64_t)sizeof data);
    assert_true(file_has_at(rig->path, (round - 1) * (int64_t)sizeof data, data, sizeof data));
  }
  file_rig_close(rig);
  assert_int_equal(file_size(rig->path), 50 * sizeof data);
}

/* ---- Callbacks ------------------------------------------------------------------------------- */

/* Counts the callbacks, and those that came outside of bw_poll_events, bw_close and bw_free. */
struct counts {
  atomic_int all, stray;
  atomic_bool may_run;
};

static void count_callback(struct counts *counts) {
  atomic_fetch_add(&counts->all, 1);
  if (!atomic_load(&counts->may_run)) atomic_fetch_add(&counts->stray, 1);
}

static void count_event(void *arg, const bw_event_t *event) {
  (void)event;
  count_callback(arg);
}

static void count_note(void *arg, int code) {
  (void)code;
  count_callback(arg);
}

static void count_wake(void *arg) {
  count_callback(arg);
}

/* Waits and does all sorts of things; no callback may come. Ends with callbacks due. */
static void work(bw_t *bw, struct counts *counts, const char *data, size_t length) {
  const bw_waker_t wake = {count_wake, counts};
  assert_true(bw_write(bw, data, length) == (int64_t)length);
  assert_int_equal(bw_poll_flush(bw, &wake), -EAGAIN);
  assert_int_equal(bw_notify(bw, bw_tell(bw), BW_DURABLE, count_note, counts), 0);
  assert_int_equal(bw_flush(bw), 0);
  assert_int_equal(bw_sync(bw), 0);
  assert_int_equal(bw_wait(bw, bw_tell(bw), BW_DURABLE, -1), 0);
  assert_true(bw_seek(bw, 0, SEEK_CUR) >= 0);
  assert_int_equal(bw_notify(bw, 1, BW_WRITTEN, count_note, counts), 0);
  assert_true(bw_write(bw, data, length) == (int64_t)length);
  assert_int_equal(bw_flush(bw), 0);
}

static void test_callbacks__run_only_in_poll_events_close_and_free(void **state) {
  file_rig *rig = *state;
  char data[5 * kUnit];
  struct counts counts = {0};
  test_pattern(data, sizeof data, 8);
  bw_options_t options = file_rig_options(rig);
  options.capacity = kUnit;
  options.buffers = 2;
  options.on_event = count_event;
  options.event_arg = &counts;
  for (int way = 0; way < 3; ++way) {
    assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, &options), 0);
    atomic_store(&counts.all, 0);
    atomic_store(&counts.may_run, false);
    work(rig->bw, &counts, data, sizeof data);
    assert_int_equal(atomic_load(&counts.all), 0);
    atomic_store(&counts.may_run, true);
    if (way == 0) file_rig_drive(rig);
    if (way < 2) assert_int_equal(bw_close(rig->bw), 0);
    if (way < 2) assert_true(atomic_load(&counts.all) >= 5); /* two notes, a waker, written, durable */
    file_rig_free(rig);
    assert_true(atomic_load(&counts.all) >= 5);
    assert_int_equal(atomic_load(&counts.stray), 0);
  }
}

static void test_callbacks__are_counted_by_poll_events(void **state) {
  file_rig *rig = *state;
  char data[3 * kUnit];
  struct counts counts = {.may_run = true};
  test_pattern(data, sizeof data, 9);
  bw_options_t options = file_rig_options(rig);
  options.on_event = count_event;
  options.event_arg = &counts;
  assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, &options), 0);
  for (int round = 0, ran = 0; round < 10; ++round) {
    work(rig->bw, &counts, data, sizeof data);
    for (int answer; (answer = bw_poll_events(rig->bw)) > 0;) ran += answer;
    assert_int_equal(ran, atomic_load(&counts.all));
    assert_true(ran > round);
  }
  file_rig_close(rig);
}

static void test_callbacks__are_not_forgotten_when_polls_are_rare(void **state) {
  file_rig *rig = *state;
  char data[100];
  int64_t end = 0;
  test_pattern(data, sizeof data, 10);
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (int i = 0; i < 100; ++i) {
    assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
    end += (int64_t)sizeof data;
    assert_int_equal(bw_sync(rig->bw), 0);
  }
  file_rig_drive(rig);
  assert_true(test_events_cover(&rig->events, BW_EVENT_WRITTEN, 0, end));
  assert_true(test_events_count(&rig->events, BW_EVENT_DURABLE) > 0);
  file_rig_close(rig);
}

static void test_callbacks__tell_of_pressure_at_each_edge(void **state) {
  file_rig *rig = *state;
  char data[3 * kUnit];
  test_pattern(data, sizeof data, 11);
  bw_options_t options = file_rig_options(rig);
  options.capacity = kUnit;
  options.buffers = 4;
  options.high_percent = 75;
  options.low_percent = 25;
  assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, &options), 0);
  for (size_t round = 0; round < 3; ++round) {
    assert_int_equal(bw_write(rig->bw, data, 2 * kUnit + 1), 2 * kUnit + 1); /* two full ones: not yet */
    loop_until_written(rig, 2 * kUnit);
    file_rig_drive(rig);
    assert_int_equal(test_events_count(&rig->events, BW_EVENT_PRESSURE_ON), round);
    assert_int_equal(bw_write(rig->bw, data, 3 * kUnit), 3 * kUnit);
    loop_until_written(rig, 5 * kUnit);
    file_rig_drive(rig);
    assert_int_equal(test_events_count(&rig->events, BW_EVENT_PRESSURE_ON), round + 1);
    assert_int_equal(test_events_count(&rig->events, BW_EVENT_PRESSURE_OFF), round + 1);
    assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), 0);
  }
  file_rig_close(rig);
}

/* Calls everything that might wait or nest. */
struct nester {
  bw_t *bw;
  atomic_int calls, wrong;
};

static void nest(void *arg, const bw_event_t *event) {
  struct nester *nester = arg;
  char byte = 'n';
  if (event->kind != BW_EVENT_DURABLE) return;
  atomic_fetch_add(&nester->calls, 1);
  const int64_t codes[] = {bw_poll_events(nester->bw),
                           bw_flush(nester->bw),
                           bw_sync(nester->bw),
                           bw_wait(nester->bw, 1000000, BW_DURABLE, -1),
                           bw_poll_flush(nester->bw, NULL),
                           bw_event_fd(nester->bw) >= 0 ? 0 : -1,
                           bw_write(nester->bw, &byte, 1) == 1 ? 0 : -1};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; ++i)
    if (codes[i] != 0 && codes[i] != -EAGAIN) atomic_store(&nester->wrong, (int)i + 1);
}

static void test_callbacks__may_call_anything_and_nothing_waits_there(void **state) {
  file_rig *rig = *state;
  struct nester nester = {0};
  bw_options_t options = file_rig_options(rig);
  options.on_event = nest;
  options.event_arg = &nester;
  assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, &options), 0);
  nester.bw = rig->bw;
  for (int i = 0; i < 10; ++i) {
    assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
    assert_int_equal(bw_sync(rig->bw), 0);
    assert_true(bw_poll_events(rig->bw) > 0);
    assert_true(atomic_load(&nester.calls) > i);
    assert_int_equal(atomic_load(&nester.wrong), 0);
  }
  const int64_t end = bw_tell(rig->bw);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_true(file_size(rig->path) >= end);
  file_rig_free(rig);
}

static void test_callbacks__left_over_come_with_free(void **state) {
  file_rig *rig = *state;
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(file_rig_notify(rig, 3, BW_DURABLE), 0);
  assert_int_equal(file_rig_notify(rig, 5, BW_DURABLE), 0);
  assert_int_equal(bw_poll_sync(rig->bw, &wake), -EAGAIN);
  file_rig_free(rig);
  assert_int_equal(file_rig_told_count(rig), 2);
  assert_int_equal(file_rig_told(rig, 0).code, 0);
  assert_int_equal(file_rig_told(rig, 1).code, -ESHUTDOWN);
  assert_int_equal(atomic_load(&waker.calls), 1);
  assert_true(test_events_cover(&rig->events, BW_EVENT_WRITTEN, 0, 3));
  assert_true(file_has(rig->path, "abc", 3));
}

/* ---- Beside threads that wait ---------------------------------------------------------------- */

static int64_t poll_events(file_rig *rig) {
  return bw_poll_events(rig->bw);
}

static int64_t seek_to_start(file_rig *rig) {
  return bw_seek(rig->bw, 0, SEEK_SET);
}

static int64_t sync_all(file_rig *rig) {
  return bw_sync(rig->bw);
}

/* A writer that tells of nothing but what it is asked; `first` is inside its sync when it returns. */
static void start_inside(file_rig *rig, test_gate *gate, test_thread *first, struct other *other) {
  bw_options_t options = file_rig_options(rig);
  options.on_event = NULL;
  assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, &options), 0);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  if (other->call == poll_events) assert_int_equal(file_rig_notify(rig, 3, BW_DURABLE), 0);
  test_gate_init(gate, 0);
  atomic_store(&sync_gate, gate);
  test_thread_start(first, call_elsewhere, other);
  assert_true(test_gate_await(gate, 1));
}

static void test_beside__a_seek_that_waits_for_the_loops_turn_goes_on(void **state) {
  file_rig *rig = *state;
  struct other loop = {rig, poll_events}, seek = {rig, seek_to_start};
  test_thread threads[2];
  test_gate gate;
  rig->way.engine = BW_ENGINE_PWRITE; /* whose syncs are done in bw_poll_events() */
  start_inside(rig, &gate, &threads[0], &loop);
  test_thread_start(&threads[1], call_elsewhere, &seek);
  assert_false(test_thread_settle(&threads[1]));
  test_gate_open(&gate);
  assert_true(test_thread_join(&threads[0]) >= 0);
  assert_int_equal(test_thread_join(&threads[1]), 0);
  atomic_store(&sync_gate, NULL);
  test_gate_destroy(&gate);
  file_rig_close(rig);
}

static void test_beside__what_the_loop_could_not_do_rings_again(void **state) {
  file_rig *rig = *state;
  struct other sync = {rig, sync_all};
  test_thread thread;
  test_gate gate;
  start_inside(rig, &gate, &thread, &sync);
  const int64_t written = bw_write(rig->bw, "def", 3);
  const int asked = file_rig_notify(rig, 6, BW_DURABLE), polled = bw_poll_events(rig->bw);
  const bool rings = is_readable(rig);
  test_gate_open(&gate);
  assert_int_equal(test_thread_join(&thread), 0);
  assert_int_equal(written, 3);
  assert_int_equal(asked, 0);
  assert_true(polled >= 0);
  assert_false(rings); /* nothing to be done while the sync lasts */
  loop_until_told(rig, 1);
  atomic_store(&sync_gate, NULL);
  test_gate_destroy(&gate);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "abcdef", 6));
}

/* A right that another thread has while bw_poll_events() looks: it stays inside what it calls, at the gate. */
struct inside {
  file_rig *rig;
  test_gate gate;
  bw_span_t span;
  bw_waker_t wake;
  atomic_bool ends;
};

static void look_at_the_gate(void *arg, const void *data, size_t length) {
  (void)data;
  (void)length;
  test_gate_pass(&((struct inside *)arg)->gate);
}

static int64_t look_at_unwritten(void *arg) {
  struct inside *inside = arg;
  return bw_unwritten(inside->rig->bw, look_at_the_gate, inside);
}

static void test_beside__a_linger_that_was_due_while_another_had_the_pen_rings_again(void **state) {
  struct inside inside = {.rig = *state};
  file_rig *rig = inside.rig;
  bw_options_t options = file_rig_options(rig);
  test_thread thread;
  options.linger_us = 1;
  options.on_event = NULL;
  test_gate_init(&inside.gate, 0);
  assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, &options), 0);
  assert_int_equal(bw_write(rig->bw, "hello", 5), 5);
  test_thread_start(&thread, look_at_unwritten, &inside);
  assert_true(test_gate_await(&inside.gate, 1));
  file_rig_drive(rig);
  const int64_t early = bw_position(rig->bw, BW_WRITTEN);
  test_gate_open(&inside.gate);
  assert_int_equal(test_thread_join(&thread), 5);
  assert_int_equal(early, 0);
  loop_until_written(rig, 5);
  test_gate_destroy(&inside.gate);
  file_rig_close(rig);
}

static int64_t read_a_byte(void *arg) {
  char byte;
  return bw_read(((struct inside *)arg)->rig->bw, &byte, 1);
}

static void test_beside__a_note_looked_at_while_another_had_the_sink_rings_again(void **state) {
  struct inside inside = {.rig = *state};
  file_rig *rig = inside.rig;
  test_sink sink;
  test_thread thread;
  const bw_sink_t ops = test_sink_ops(TEST_SINK_HAS_ALL);
  test_sink_init(&sink);
  test_gate_init(&inside.gate, TEST_SINK_HAS(TEST_SINK_READ));
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_set_sink(rig->bw, &ops, &sink), 0);
  assert_int_equal(bw_write(rig->bw, "hello", 5), 5);
  assert_int_equal(bw_flush(rig->bw), 0);
  file_rig_drive(rig);
  sink.hook_arg = &inside.gate;
  sink.hook = test_gate_hook;
  test_thread_start(&thread, read_a_byte, &inside);
  assert_true(test_gate_await(&inside.gate, 1));
  const int asked = file_rig_notify(rig, 5, BW_DURABLE);
  file_rig_drive(rig);
  test_gate_open(&inside.gate);
  assert_true(test_thread_join(&thread) >= 0);
  assert_int_equal(asked, 0);
  loop_until_told(rig, 1);
  assert_int_equal(file_rig_told(rig, 0).code, 0);
  file_rig_close(rig);
  test_gate_destroy(&inside.gate);
  test_sink_destroy(&sink);
}

static void test_beside__a_span_whose_buffer_was_to_be_written_rings_when_it_is_committed(void **state) {
  file_rig *rig = *state;
  char data[2 * kUnit];
  bw_span_t span;
  test_pattern(data, sizeof data, 3);
  open_small(rig, 4, kUnit, 0);
  assert_int_equal(bw_reserve(rig->bw, 100, &span), 0);
  memcpy(span.data, data, 100);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  file_rig_drive(rig);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 0);
  assert_int_equal(bw_commit(rig->bw, &span, 100), 0);
  loop_until_written(rig, sizeof data);
  file_rig_close(rig);
}

static int64_t poll_until_it_ends(void *arg) {
  struct inside *inside = arg;
  while (!atomic_load(&inside->ends)) {
    bw_poll_events(inside->rig->bw);
    test_pause();
  }
  return 0;
}

static int64_t commit_the_span(void *arg) {
  struct inside *inside = arg;
  return bw_commit(inside->rig->bw, &inside->span, 100);
}

static int64_t take_back(void *arg) {
  struct inside *inside = arg;
  return bw_unwake(inside->rig->bw, &inside->wake);
}

static void pass_inside(void *arg) {
  test_gate_pass(&((struct inside *)arg)->gate);
}

static void test_beside__unwake_that_waits_for_a_call_stops_nobody(void **state) {
  struct inside inside = {.rig = *state};
  file_rig *rig = inside.rig;
  test_waker waker = {.hook = pass_inside, .hook_arg = &inside};
  char data[2 * kUnit];
  bw_span_t other;
  test_thread driving, taking, committing;
  inside.wake = test_waker_of(&waker);
  test_pattern(data, sizeof data, 4);
  test_gate_init(&inside.gate, 0);
  open_small(rig, 4, kUnit, 0);
  assert_int_equal(bw_write(rig->bw, data, 10), 10);
  assert_int_equal(bw_poll_flush(rig->bw, &inside.wake), -EAGAIN);
  test_thread_start(&driving, poll_until_it_ends, &inside);
  assert_true(test_gate_await(&inside.gate, 1));
  assert_int_equal(bw_reserve(rig->bw, 100, &inside.span), 0);
  assert_int_equal(bw_reserve(rig->bw, 100, &other), 0);
  assert_int_equal(bw_write(rig->bw, data, 8000), 8000); /* their buffer is sealed */
  test_thread_start(&taking, take_back, &inside);
  assert_false(test_thread_settle(&taking));
  test_thread_start(&committing, commit_the_span, &inside);
  assert_int_equal(test_thread_join(&committing), 0);
  assert_int_equal(bw_commit(rig->bw, &other, 100), 0);
  test_gate_open(&inside.gate);
  assert_int_equal(test_thread_join(&taking), 0);
  atomic_store(&inside.ends, true);
  test_thread_join(&driving);
  file_rig_close(rig);
  test_gate_destroy(&inside.gate);
}

int main(int argc, char **argv) {
  enum { kAll = FILE_ENGINES | FILE_SHARINGS | FILE_CACHES, kShared = FILE_ENGINES | FILE_CACHES };
#define DRIVEN(test, dimensions) FILE_TEST_WITH(test, dimensions, BW_CALLER_DRIVEN)
  static const file_test tests[] = {
      FILE_TEST(test_event_fd__is_for_caller_driven_writers, kAll),
      DRIVEN(test_event_fd__is_quiet_while_nothing_is_due, kAll),
      DRIVEN(test_event_fd__wakes_the_loop_when_another_thread_gives_it_something_to_do, kShared),
      DRIVEN(test_event_fd__stays_until_the_writer_is_freed, kAll),
      DRIVEN(test_loop__writes_what_never_waiting_calls_accept, kAll | FILE_SHAPES),
      DRIVEN(test_loop__nothing_is_written_without_it, kAll),
      DRIVEN(test_loop__lengthens_a_file_by_several_buffers_at_once, kAll),
      DRIVEN(test_loop__an_append_is_whole_or_nothing, kAll),
      DRIVEN(test_loop__commits_by_callback, kAll | FILE_SHAPES),
      DRIVEN(test_loop__closes, kAll),
      DRIVEN(test_loop__may_run_in_several_threads, kShared | FILE_SHAPES),
      DRIVEN(test_loop__goes_on_where_a_thread_left_off, kAll),
      DRIVEN(test_callbacks__run_only_in_poll_events_close_and_free, kAll),
      DRIVEN(test_callbacks__are_counted_by_poll_events, kAll),
      DRIVEN(test_callbacks__are_not_forgotten_when_polls_are_rare, kAll),
      DRIVEN(test_callbacks__tell_of_pressure_at_each_edge, kAll),
      DRIVEN(test_callbacks__may_call_anything_and_nothing_waits_there, kAll),
      DRIVEN(test_callbacks__left_over_come_with_free, kAll),
      DRIVEN(test_beside__a_seek_that_waits_for_the_loops_turn_goes_on, FILE_CACHES),
      DRIVEN(test_beside__what_the_loop_could_not_do_rings_again, kShared),
      DRIVEN(test_beside__a_linger_that_was_due_while_another_had_the_pen_rings_again, kShared),
      DRIVEN(test_beside__a_note_looked_at_while_another_had_the_sink_rings_again, FILE_ENGINES),
      DRIVEN(test_beside__a_span_whose_buffer_was_to_be_written_rings_when_it_is_committed, kShared),
      DRIVEN(test_beside__unwake_that_waits_for_a_call_stops_nobody, FILE_ENGINES),
  };
  return FILE_TESTS_RUN("file_driven", tests, argc, argv);
}
