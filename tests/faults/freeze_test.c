/*
 * A frozen filesystem (FIFREEZE) takes no write and says nothing. That is back-pressure, and no more: buffers fill, who
 * may wait waits, who may not hears -EAGAIN, and once it is thawed everything goes on and the file is exact.
 *
 * Usage: faults_freeze uring|pwrite
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/rig.h"
#include "faults.h"
#include "modes.h"

#define CAPACITY 8192
#define BUFFERS 4
#define RECORD_BYTES 1000
#define FILLED_BYTES (CAPACITY * BUFFERS)
#define STREAM_BYTES (INT64_C(650) * RECORD_BYTES)
#define GUARD_S 200

static const faults_mode kModes[] = {
    {.name = "direct"},
    {.name = "page cache", .flags = BW_BUFFERED},
    {.name = "one thread", .flags = BW_UNSHARED},
    {.name = "appending", .oflags = O_APPEND},
};

static uint32_t engine;
static int disk = -1;

/* ---- Ice ------------------------------------------------------------------------------------- */

typedef struct fixture {
  const faults_mode *mode;
  char path[64];
  bw_t *bw;
  test_events events;
  bool is_frozen;
} fixture;

static void freeze(fixture *f) {
  assert_int_equal(ioctl(disk, FIFREEZE, 0), 0);
  f->is_frozen = true;
}

/* It still was: nothing above has waited until the guard thawed it. */
static void thaw(fixture *f) {
  f->is_frozen = false;
  assert_int_equal(ioctl(disk, FITHAW, 0), 0);
}

static void thaw_at_last(void *arg) {
  ioctl(*(int *)arg, FITHAW, 0);
}

static int setup(void **state) {
  static unsigned number;
  fixture *f = calloc(1, sizeof *f);
  if (!f) return -1;
  f->mode = *state;
  snprintf(f->path, sizeof f->path, "disk/out%u", number++);
  test_events_init(&f->events);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  if (f->is_frozen) ioctl(disk, FITHAW, 0);
  bw_free(f->bw);
  test_events_destroy(&f->events);
  unlink(f->path);
  free(f);
  return 0;
}

static void open_writer(fixture *f, uint32_t flags) {
  bw_options_t options = BW_OPTIONS_INIT;
  options.engine = engine;
  options.flags = f->mode->flags | flags;
  options.capacity = CAPACITY;
  options.buffers = BUFFERS;
  options.on_event = test_events_record;
  options.event_arg = &f->events;
  assert_int_equal(bw_open(&f->bw, f->path, O_RDWR | O_CREAT | f->mode->oflags, 0644, &options), 0);
}

/* Appends the next record of the stream; what bw_append() or the poll said. */
static int64_t append_next(bw_t *bw, const bw_waker_t *wake) {
  char record[RECORD_BYTES];
  const int64_t at = bw_tell(bw);
  faults_stream(record, sizeof record, at);
  return wake ? bw_poll_append(bw, record, sizeof record, wake) : bw_append(bw, record, sizeof record);
}

static int64_t append_until(void *arg) {
  bw_t *bw = arg;
  while (bw_tell(bw) < STREAM_BYTES) {
    const int64_t at = append_next(bw, NULL);
    if (at < 0) return at;
  }
  return 0;
}

/* What the kernel says of a thread of ours, of those that it has made for io_uring too. */
static void look_at(int tid, const char *what, char text[256]) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, what);
  FILE *file = fopen(path, "r");
  const size_t length = file ? fread(text, 1, 255, file) : 0;
  if (file) fclose(file);
  text[length] = 0;
}

static char state_of(int tid) {
  char text[256];
  look_at(tid, "stat", text);
  const char *name_end = strrchr(text, ')');
  return name_end && name_end[1] ? name_end[2] : 0;
}

/* A kernel that does not tell where it sleeps says 0. */
static bool is_in_the_ice(int tid) {
  char text[256];
  if (state_of(tid) != 'D') return false;
  look_at(tid, "wchan", text);
  return strstr(text, "percpu") || strcmp(text, "0") == 0;
}

static bool has_thread_in_the_ice(void *arg) {
  (void)arg;
  DIR *list = opendir("/proc/self/task");
  bool found = false;
  assert_non_null(list);
  for (struct dirent *entry; !found && (entry = readdir(list)) != NULL;) found = is_in_the_ice(atoi(entry->d_name));
  closedir(list);
  return found;
}

/* From now on a write is under way, and nobody but us moves until the thaw: what was not begun could still be taken
 * back, and who is about to begin holds what others then do not get at once. */
static bool await_ice(void) {
  return test_await(has_thread_in_the_ice, NULL);
}

/* As test_thread_settle(): false once it is seen to sleep. */
static bool settles(test_thread *thread) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  for (int asleep = 0; asleep < 5 && test_now_us() < end; test_pause()) {
    if (test_thread_finished(thread)) return true;
    const char state = state_of(atomic_load(&thread->tid)); /* in the kernel, for the disk: 'D' */
    asleep = state == 'S' || state == 'D' ? asleep + 1 : 0;
  }
  return test_thread_finished(thread);
}

static void finish(fixture *f) {
  assert_int_equal(bw_close(f->bw), 0);
  assert_true(faults_file_is(f->path, 0, STREAM_BYTES));
  assert_int_equal(test_events_count(&f->events, BW_EVENT_ERROR), 0);
}

/* ---- Who may wait ---------------------------------------------------------------------------- */

static void test_freeze__a_writer_waits_for_room_and_goes_on(void **state) {
  fixture *f = *state;
  open_writer(f, 0);
  freeze(f);
  test_thread writer;
  test_thread_start(&writer, append_until, f->bw);
  assert_false(settles(&writer));
  assert_true(bw_position(f->bw, BW_ACCEPTED) <= FILLED_BYTES);
  assert_int_equal(bw_position(f->bw, BW_WRITTEN), 0);
  assert_int_equal(bw_error(f->bw), 0);
  thaw(f);
  assert_int_equal(test_thread_join(&writer), 0);
  assert_int_equal(bw_flush(f->bw), 0);
  assert_true(faults_file_is(f->path, 0, STREAM_BYTES));
  finish(f);
}

static void test_freeze__it_freezes_again_and_again(void **state) {
  fixture *f = *state;
  open_writer(f, 0);
  test_thread writer;
  test_thread_start(&writer, append_until, f->bw);
  for (int i = 0; i < 10; ++i) {
    freeze(f);
    settles(&writer);
    thaw(f);
  }
  assert_int_equal(test_thread_join(&writer), 0);
  finish(f);
}

static void note_code(void *arg, int code) {
  atomic_store((atomic_int *)arg, code);
}
static bool is_told(void *arg) {
  return atomic_load((atomic_int *)arg) != 1;
}

static void test_freeze__flushes_syncs_waits_and_notes_end_when_it_is_thawed(void **state) {
  fixture *f = *state;
  if (f->mode->flags & BW_UNSHARED) return;
  open_writer(f, 0);
  freeze(f);
  const int64_t end = RECORD_BYTES;
  assert_int_equal(append_next(f->bw, NULL), 0);
  atomic_int code = 1;
  assert_int_equal(bw_notify(f->bw, end, BW_DURABLE, note_code, &code), 0);
  test_call calls[4] = {{.bw = f->bw},
                        {.bw = f->bw},
                        {.bw = f->bw, .position = end, .level = BW_WRITTEN, .timeout_us = -1},
                        {.bw = f->bw, .position = end, .level = BW_DURABLE, .timeout_us = -1}};
  int64_t (*const bodies[4])(void *) = {test_call_flush, test_call_sync, test_call_wait, test_call_wait};
  test_thread threads[4];
  for (int i = 0; i < 4; ++i) test_thread_start(&threads[i], bodies[i], &calls[i]);
  for (int i = 0; i < 4; ++i) assert_false(settles(&threads[i]));
  assert_int_equal(bw_wait(f->bw, end, BW_WRITTEN, 0), -ETIMEDOUT);
  assert_int_equal(bw_wait(f->bw, end, BW_DURABLE, 0), -ETIMEDOUT);
  assert_int_equal(code, 1);
  thaw(f);
  for (int i = 0; i < 4; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
  assert_true(test_await(is_told, &code));
  assert_int_equal(code, 0);
  assert_true(bw_position(f->bw, BW_DURABLE) >= end);
  assert_int_equal(append_until(f->bw), 0);
  finish(f);
}

/* ---- Who may not ----------------------------------------------------------------------------- */

/* Whether so many bytes of buffers take no further record. */
static bool is_filled(bw_t *bw, int64_t room) {
  return bw_position(bw, BW_ACCEPTED) > room - RECORD_BYTES;
}

/* Fills all buffers; the last answer. One that only gave way to another thread is not yet the last. */
static int64_t fill_up(void *arg) {
  const int64_t late = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  for (;;) {
    const int64_t answer = append_next(arg, NULL);
    if (answer < 0 && (answer != -EAGAIN || is_filled(arg, FILLED_BYTES) || test_now_us() > late)) return answer;
    if (bw_tell(arg) > STREAM_BYTES) return 0;
    if (answer < 0) test_pause();
  }
}

/* A call that must not wait, on a thread of its own: one that does hangs there. */
static int64_t at_once(int64_t (*body)(void *arg), void *arg) {
  test_thread thread;
  test_thread_start(&thread, body, arg);
  return test_thread_join(&thread);
}

static int64_t poll_append(void *arg) {
  test_waker *waker = ((const test_call *)arg)->span->private_;
  const bw_waker_t wake = test_waker_of(waker);
  return append_next(((const test_call *)arg)->bw, &wake);
}
static int64_t poll_flush(void *arg) {
  return bw_poll_flush(((const test_call *)arg)->bw, ((test_call *)arg)->wake);
}
static int64_t poll_sync(void *arg) {
  return bw_poll_sync(((const test_call *)arg)->bw, ((test_call *)arg)->wake);
}

static void go_on(fixture *f) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  while (bw_tell(f->bw) < STREAM_BYTES && test_now_us() < end) {
    const int64_t answer = append_next(f->bw, NULL);
    assert_true(answer >= 0 || answer == -EAGAIN);
    if (answer < 0) test_pause();
  }
  int code;
  while ((code = bw_close(f->bw)) == -EAGAIN && test_now_us() < end) test_pause();
  assert_int_equal(code, 0);
  finish(f);
}

static void test_freeze__who_does_not_wait_hears_that_there_is_no_room(void **state) {
  fixture *f = *state;
  open_writer(f, BW_NONBLOCK);
  freeze(f);
  assert_int_equal(at_once(fill_up, f->bw), -EAGAIN);
  assert_true(await_ice());
  const int64_t accepted = bw_position(f->bw, BW_ACCEPTED);
  assert_true(accepted <= FILLED_BYTES && is_filled(f->bw, FILLED_BYTES));
  test_waker wakers[3];
  memset(wakers, 0, sizeof wakers);
  const bw_waker_t flushed = test_waker_of(&wakers[0]), synced = test_waker_of(&wakers[1]);
  bw_span_t span = {.private_ = &wakers[2]};
  test_call call = {.bw = f->bw, .data = "x", .length = 1, .span = &span, .timeout_us = 0};
  assert_int_equal(at_once(test_call_flush, &call), -EAGAIN);
  assert_int_equal(at_once(test_call_sync, &call), -EAGAIN);
  assert_int_equal(at_once(test_call_close, &call), -EAGAIN);
  assert_int_equal(at_once(test_call_discard, &call), -EAGAIN);
  call.position = accepted;
  call.level = BW_WRITTEN;
  assert_int_equal(at_once(test_call_wait, &call), -ETIMEDOUT);
  assert_int_equal(at_once(poll_append, &call), -EAGAIN);
  call.wake = &flushed;
  assert_int_equal(at_once(poll_flush, &call), -EAGAIN);
  call.wake = &synced;
  assert_int_equal(at_once(poll_sync, &call), -EAGAIN);
  assert_int_equal(bw_position(f->bw, BW_ACCEPTED), accepted);
  assert_true(test_events_await(&f->events, BW_EVENT_PRESSURE_ON, 1));
  for (int i = 0; i < 3; ++i) assert_int_equal(wakers[i].calls, 0);
  thaw(f);
  for (int i = 0; i < 3; ++i) assert_true(test_waker_await(&wakers[i], 1));
  go_on(f);
  assert_true(test_events_await(&f->events, BW_EVENT_PRESSURE_OFF, 1));
  for (int i = 0; i < 3; ++i) assert_int_equal(wakers[i].calls, 1);
}

/* Whether all buffers but the first, which was handed on early, are full now. A poll also gives way to a thread that is
 * about to do something. */
static bool polls_until_full(void *arg) {
  int64_t answer;
  while ((answer = at_once(poll_append, arg)) >= 0) {
  }
  return answer == -EAGAIN && is_filled(((const test_call *)arg)->bw, FILLED_BYTES - CAPACITY);
}

/* One that waits does not stop those that do not. */
static void test_freeze__who_waits_does_not_hold_up_who_does_not(void **state) {
  fixture *f = *state;
  if (f->mode->flags & BW_UNSHARED) return;
  open_writer(f, 0);
  freeze(f);
  assert_int_equal(append_next(f->bw, NULL), 0);
  test_call call = {.bw = f->bw, .position = RECORD_BYTES, .level = BW_DURABLE, .timeout_us = -1};
  test_thread waiter;
  test_thread_start(&waiter, test_call_wait, &call);
  assert_false(settles(&waiter));
  test_waker wakers[2];
  memset(wakers, 0, sizeof wakers);
  const bw_waker_t flushed = test_waker_of(&wakers[0]);
  bw_span_t span = {.private_ = &wakers[1]};
  test_call poll = {.bw = f->bw, .wake = &flushed, .span = &span};
  assert_int_equal(at_once(poll_flush, &poll), -EAGAIN);
  assert_true(test_await(polls_until_full, &poll));
  assert_int_equal(bw_error(f->bw), 0);
  thaw(f);
  assert_int_equal(test_thread_join(&waiter), 0);
  for (int i = 0; i < 2; ++i) assert_true(test_waker_await(&wakers[i], 1));
  assert_int_equal(append_until(f->bw), 0);
  finish(f);
}

/* ---- Who drives it himself ------------------------------------------------------------------- */

/* Writes what it can, then waits for the end of the frost: a thread that exits takes its requests with it, and the
 * kernel lets it go only once they have ended. */
typedef struct driver {
  bw_t *bw;
  atomic_bool is_full;
  atomic_bool goes_on;
} driver;

static bool is_full(void *arg) {
  return atomic_load(&((driver *)arg)->is_full);
}
static bool goes_on(void *arg) {
  return atomic_load(&((driver *)arg)->goes_on);
}

static int64_t drive_until_full(driver *me) {
  for (int i = 0; i < 100; ++i) {
    const int64_t answer = append_next(me->bw, NULL);
    if (answer < 0 && answer != -EAGAIN) return answer;
    const int count = bw_poll_events(me->bw);
    if (count < 0) return count;
  }
  atomic_store(&me->is_full, true);
  return test_await(goes_on, me) ? 0 : -ETIMEDOUT;
}

static int64_t drive_to_the_end(bw_t *bw) {
  struct pollfd event = {bw_event_fd(bw), POLLIN, 0};
  for (;;) {
    const int64_t answer = bw_tell(bw) < STREAM_BYTES ? append_next(bw, NULL) : bw_flush(bw);
    if (answer == 0 && bw_tell(bw) >= STREAM_BYTES) return 0;
    if (answer < 0 && answer != -EAGAIN) return answer;
    if (answer == -EAGAIN && poll(&event, 1, TEST_BOUND_S * 1000) != 1) return -ETIMEDOUT;
    const int count = bw_poll_events(bw);
    if (count < 0) return count;
  }
}

static int64_t drive(void *arg) {
  driver *me = arg;
  const int64_t code = drive_until_full(me);
  return code ? code : drive_to_the_end(me->bw);
}

/* Without io_uring bw_poll_events() does the I/O itself, and waits. */
static void test_freeze__who_drives_an_io_uring_does_not_wait(void **state) {
  fixture *f = *state;
  if (engine != BW_ENGINE_URING) return;
  open_writer(f, BW_NONBLOCK | BW_CALLER_DRIVEN);
  freeze(f);
  driver d = {.bw = f->bw};
  test_thread thread;
  test_thread_start(&thread, drive, &d);
  const bool filled = test_await(is_full, &d);
  const int64_t written = bw_position(f->bw, BW_WRITTEN), accepted = bw_position(f->bw, BW_ACCEPTED);
  thaw(f);
  atomic_store(&d.goes_on, true);
  assert_int_equal(test_thread_join(&thread), 0);
  assert_true(filled);
  assert_int_equal(written, 0);
  assert_true(accepted <= FILLED_BYTES);
  int code;
  while ((code = bw_close(f->bw)) == -EAGAIN) bw_poll_events(f->bw);
  assert_int_equal(code, 0);
  finish(f);
}

/* ---------------------------------------------------------------------------------------------- */

static const faults_test kTests[] = {
    FAULTS_TEST(test_freeze__a_writer_waits_for_room_and_goes_on),
    FAULTS_TEST(test_freeze__it_freezes_again_and_again),
    FAULTS_TEST(test_freeze__flushes_syncs_waits_and_notes_end_when_it_is_thawed),
    FAULTS_TEST(test_freeze__who_does_not_wait_hears_that_there_is_no_room),
    FAULTS_TEST(test_freeze__who_waits_does_not_hold_up_who_does_not),
    FAULTS_TEST(test_freeze__who_drives_an_io_uring_does_not_wait),
};

int main(int argc, char **argv) {
  engine = faults_engine(argc > 1 ? argv[1] : "");
  faults_private_place("size=200m");
  faults_make_ext4("image", INT64_C(64) << 20, NULL);
  char device[32];
  const int loop = faults_loop("image", device);
  EXPECT(faults_mount(device, "disk", "ext4", NULL) == 0);
  close(loop);
  disk = open("disk", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  EXPECT(disk >= 0);
  const int guard = faults_guard(thaw_at_last, &disk, GUARD_S);
  const int failed = FAULTS_TESTS_RUN("freeze", kTests, kModes, setup, teardown);
  faults_guard_dismiss(guard);
  return failed;
}
