/*
 * A disk that fails below the filesystem: a zram device that may use no more memory. By O_DIRECT the write fails, is
 * held, and can be resumed once the disk works again. What lay in the page cache fails at the sync, which is final: the
 * kernel forgets the error after it has told it once, the writer does not.
 *
 * Usage: faults_eio uring|pwrite
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/rig.h"
#include "faults.h"
#include "modes.h"

#define CAPACITY 65536
#define BUFFERS 4
#define STREAM_BYTES (INT64_C(2) << 20) /* whole buffers */
#define GUARD_S 200

static const faults_mode kModes[] = {
    {.name = "direct"},
    {.name = "page cache", .flags = BW_BUFFERED},
    {.name = "one thread", .flags = BW_UNSHARED},
    {.name = "one thread, page cache", .flags = BW_UNSHARED | BW_BUFFERED},
    {.name = "driven by the caller", .flags = BW_CALLER_DRIVEN},
    {.name = "driven by the caller, page cache", .flags = BW_CALLER_DRIVEN | BW_BUFFERED},
};

static uint32_t engine;

/* ---- The disk -------------------------------------------------------------------------------- */

static int zram; /* the number of our device */
static char device[32];

static bool put(const char *path, const char *text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  const bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  if (fd >= 0) close(fd);
  return done;
}

static bool put_zram(const char *what, const char *text) {
  char path[64];
  snprintf(path, sizeof path, "/sys/block/zram%d/%s", zram, what);
  return put(path, text);
}

static bool remove_zram(void) {
  char number[16];
  snprintf(number, sizeof number, "%d", zram);
  return put("/sys/class/zram-control/hot_remove", number);
}

static void remove_at_last(void *arg) {
  (void)arg;
  umount2("disk", MNT_DETACH);
  remove_zram();
}

/* Returns the guard that removes it in any case. */
static int make_zram(void) {
  char text[16] = "";
  const int control = open("/sys/class/zram-control/hot_add", O_RDONLY | O_CLOEXEC);
  if (control < 0 || read(control, text, sizeof text - 1) <= 0) faults_skip("no zram here");
  close(control);
  zram = atoi(text);
  snprintf(device, sizeof device, "/dev/zram%d", zram);
  const int guard = faults_guard(remove_at_last, NULL, GUARD_S);
  EXPECT(put_zram("disksize", "48M"));
  return guard;
}

static void mend_disk(void) {
  EXPECT(put_zram("mem_limit", "0"));
}

/* From now on it takes a little more, and then nothing. */
static void break_disk(void) {
  char path[64], limit[32];
  long long original, compressed, used;
  const int root = open("disk", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  EXPECT(root >= 0 && syncfs(root) == 0);
  close(root);
  snprintf(path, sizeof path, "/sys/block/zram%d/mm_stat", zram);
  FILE *file = fopen(path, "r");
  EXPECT(file != NULL && fscanf(file, "%lld %lld %lld", &original, &compressed, &used) == 3);
  fclose(file);
  snprintf(limit, sizeof limit, "%lld", used + 150000);
  EXPECT(put_zram("mem_limit", limit));
}

/* Without a log that ext4 writes of its own accord: it would meet the broken disk too, and give up for good. */
static int mount_disk(void) {
  return faults_mount(device, "disk", "ext4", "commit=600");
}

/* A fresh filesystem for each test: one that has seen errors may stop in ways of its own. */
static int make_disk(void) {
  const char *const arguments[] = {"mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", device, NULL};
  return faults_run(arguments) ? mount_disk() : -EIO;
}

/* What is on the disk itself, and not only in the page cache. */
static bool is_on_disk(const char *path, int64_t length) {
  faults_unmount("disk");
  EXPECT(mount_disk() == 0);
  return faults_file_is(path, 0, length);
}

/* ---- A writer on it -------------------------------------------------------------------------- */

typedef struct fixture {
  const faults_mode *mode;
  bw_t *bw;
  test_events events;
  test_sink sink;
} fixture;

static const char kPath[] = "disk/out";

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  if (!f) return -1;
  f->mode = *state;
  test_events_init(&f->events);
  test_sink_init(&f->sink);
  *state = f;
  return make_disk();
}

static int teardown(void **state) {
  fixture *f = *state;
  mend_disk();
  bw_free(f->bw);
  faults_unmount("disk");
  test_sink_destroy(&f->sink);
  test_events_destroy(&f->events);
  free(f);
  return 0;
}

static bool is_direct(const fixture *f) {
  return !(f->mode->flags & BW_BUFFERED);
}

static void open_writer(fixture *f) {
  bw_options_t options = BW_OPTIONS_INIT;
  options.engine = engine;
  options.flags = f->mode->flags;
  options.capacity = CAPACITY;
  options.buffers = BUFFERS;
  options.preallocate = UINT64_MAX;
  options.on_event = test_events_record;
  options.event_arg = &f->events;
  assert_int_equal(bw_open(&f->bw, kPath, O_RDWR | O_CREAT, 0644, &options), 0);
}

/* A file that is as long as it will get, with all its blocks, of zeros (which take no memory of zram). */
static void make_long(void) {
  static char zeros[CAPACITY];
  const int fd = open(kPath, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  assert_true(fd >= 0);
  for (int64_t at = 0; at < STREAM_BYTES; at += CAPACITY) assert_int_equal(write(fd, zeros, CAPACITY), CAPACITY);
  assert_int_equal(fsync(fd), 0);
  close(fd);
}

/* Writes the stream up to `end`; false: stopped by the disk's code. */
static bool write_until(fixture *f, int64_t end) {
  char record[1024];
  for (int64_t at; (at = bw_tell(f->bw)) < end;) {
    size_t length = sizeof record - (size_t)(at % (int64_t)sizeof record);
    if (end - at < (int64_t)length) length = (size_t)(end - at);
    faults_stream(record, length, at);
    const int64_t answer = bw_write(f->bw, record, length);
    if (answer < 0) {
      assert_int_equal(answer, -EIO);
      return false;
    }
  }
  return true;
}

/* Writes until the disk has failed; what was accepted. */
static int64_t write_onto_broken(fixture *f) {
  break_disk();
  if (write_until(f, STREAM_BYTES)) assert_int_equal(bw_flush(f->bw), -EIO);
  assert_int_equal(bw_error(f->bw), -EIO);
  return bw_position(f->bw, BW_ACCEPTED);
}

/* ---- Writes that fail ------------------------------------------------------------------------ */

static void resume_and_check(fixture *f) {
  write_onto_broken(f);
  assert_true(bw_position(f->bw, BW_WRITTEN) < STREAM_BYTES);
  assert_int_equal(bw_flush(f->bw), -EIO);
  assert_true(bw_unwritten(f->bw, NULL, NULL) > 0); /* what was still in flight has failed too */
  mend_disk();
  assert_int_equal(bw_resume(f->bw), 0);
  assert_true(write_until(f, STREAM_BYTES));
  assert_int_equal(bw_sync(f->bw), 0);
  assert_int_equal(bw_position(f->bw, BW_DURABLE), STREAM_BYTES);
  assert_int_equal(bw_close(f->bw), 0);
  assert_true(is_on_disk(kPath, STREAM_BYTES));
}

static void test_eio__a_write_that_failed_is_resumed(void **state) {
  fixture *f = *state;
  if (!is_direct(f)) return;
  open_writer(f);
  resume_and_check(f);
}

static void test_eio__inside_the_present_size_writes_that_failed_are_resumed(void **state) {
  fixture *f = *state;
  if (!is_direct(f)) return;
  make_long();
  open_writer(f);
  resume_and_check(f);
}

static void test_eio__what_could_not_be_written_is_lost_with_a_word(void **state) {
  fixture *f = *state;
  if (!is_direct(f)) return;
  open_writer(f);
  const int64_t accepted = write_onto_broken(f);
  bw_free(f->bw);
  f->bw = NULL;
  assert_true(test_events_count(&f->events, BW_EVENT_LOST) > 0);
  const test_event lost = test_events_get(&f->events, BW_EVENT_LOST, 0);
  assert_int_equal(lost.code, -EIO);
  assert_true(test_events_cover(&f->events, BW_EVENT_LOST, lost.position, accepted));
  assert_true(faults_stream_is(f->events.lost, f->events.lost_length, lost.position));
  mend_disk();
  assert_true(faults_file_begins(kPath, 0, lost.position));
  assert_true(faults_file_begins(kPath, 0, faults_file_size(kPath))); /* never padding, never a hole */
}

static void test_eio__what_could_not_be_written_goes_to_another_sink(void **state) {
  fixture *f = *state;
  if (!is_direct(f)) return;
  open_writer(f);
  const int64_t accepted = write_onto_broken(f), written = bw_position(f->bw, BW_WRITTEN);
  const bw_sink_t ops = test_sink_ops(TEST_SINK_HAS_ALL);
  assert_int_equal(bw_set_sink(f->bw, &ops, &f->sink), 0);
  assert_int_equal(bw_close(f->bw), 0);
  size_t length;
  char *data = test_sink_bytes(&f->sink, &length);
  assert_int_equal(length, accepted - written);
  assert_true(faults_stream_is(data, length, written));
  free(data);
  mend_disk();
  assert_true(faults_file_begins(kPath, 0, written));
}

/* ---- Syncs that fail ------------------------------------------------------------------------- */

/* Some bytes are durable, then the disk breaks, then more are written: into the page cache, for they end inside a
 * block, or everything goes there. */
static int64_t write_before_sync(fixture *f, int64_t durable, int64_t end) {
  open_writer(f);
  assert_true(write_until(f, durable));
  assert_int_equal(bw_sync(f->bw), 0);
  assert_int_equal(bw_position(f->bw, BW_DURABLE), durable);
  break_disk();
  if (!is_direct(f)) {
    assert_true(write_until(f, end));
    return bw_tell(f->bw);
  }
  /* Blocks of their own until no more fit: what is used up for the tail below is not there. */
  char fill[] = "disk/fill";
  const int fd = open(fill, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
  char *block = bw_alloc_aligned(4096);
  assert_true(fd >= 0 && block);
  for (int64_t i = 0; i < 1000; ++i) {
    faults_stream(block, 4096, INT64_C(1) << 40 | i << 12);
    if (pwrite(fd, block, 4096, i * 4096) < 0) break;
  }
  bw_free_aligned(block);
  close(fd);
  assert_true(write_until(f, durable + 100));
  return bw_tell(f->bw);
}

#define DURABLE_BYTES (INT64_C(3) * 4096 + 1)

/* Nothing but a close and another sink is possible any more, whatever the disk says now. */
static void check_final(fixture *f, int64_t end) {
  for (int i = 0; i < 2; ++i) {
    assert_int_equal(bw_error(f->bw), -EIO);
    assert_int_equal(bw_sync(f->bw), -EIO);
    assert_int_equal(bw_wait(f->bw, end, BW_DURABLE, -1), -EIO);
    assert_int_equal(bw_write(f->bw, "x", 1), -EIO);
    assert_int_equal(bw_append(f->bw, "x", 1), -EIO);
    assert_int_equal(bw_flush(f->bw), -EIO);
    assert_int_equal(bw_resume(f->bw), -EIO);
    assert_int_equal(bw_position(f->bw, BW_DURABLE), DURABLE_BYTES);
    assert_int_equal(bw_tell(f->bw), end);
  }
}

static void test_eio__a_sync_that_failed_is_final(void **state) {
  fixture *f = *state;
  const int64_t end = write_before_sync(f, DURABLE_BYTES, 10 * CAPACITY + 5);
  assert_int_equal(bw_sync(f->bw), -EIO);
  check_final(f, end);
  mend_disk(); /* and fdatasync(2) would say 0 now */
  check_final(f, end);
  assert_int_equal(bw_close(f->bw), -EIO);
  assert_int_equal(bw_close(f->bw), 0);
  assert_true(faults_file_is(kPath, 0, end)); /* all that was accepted was written */
  for (size_t i = 0; i < test_events_count(&f->events, BW_EVENT_DURABLE); ++i)
    assert_true(test_events_get(&f->events, BW_EVENT_DURABLE, i).position <= DURABLE_BYTES);
}

static void test_eio__a_close_that_syncs_tells_once(void **state) {
  fixture *f = *state;
  const int64_t end = write_before_sync(f, DURABLE_BYTES, 10 * CAPACITY + 5);
  assert_int_equal(bw_close(f->bw), -EIO);
  assert_int_equal(bw_close(f->bw), 0);
  assert_int_equal(bw_position(f->bw, BW_DURABLE), DURABLE_BYTES);
  assert_true(faults_file_is(kPath, 0, end));
}

typedef struct note {
  atomic_int code;
  atomic_int calls;
} note;

static void take_note(void *arg, int code) {
  note *told = arg;
  atomic_store(&told->code, code);
  atomic_fetch_add(&told->calls, 1);
}

static void test_eio__everybody_who_waits_hears_of_a_failed_sync(void **state) {
  fixture *f = *state;
  if (f->mode->flags & BW_UNSHARED) return;
  const int64_t end = write_before_sync(f, DURABLE_BYTES, 10 * CAPACITY + 5);
  note notes[3];
  for (int i = 0; i < 3; ++i) {
    notes[i].code = 1;
    notes[i].calls = 0;
    assert_int_equal(bw_notify(f->bw, DURABLE_BYTES + 1 + i, BW_DURABLE, take_note, &notes[i]), 0);
  }
  test_call calls[6];
  test_thread threads[6];
  for (int i = 0; i < 6; ++i) {
    calls[i] = (test_call){.bw = f->bw, .position = end - i, .level = BW_DURABLE, .timeout_us = -1};
    test_thread_start(&threads[i], i == 5 ? test_call_sync : test_call_wait, &calls[i]);
  }
  for (int i = 0; i < 6; ++i) assert_int_equal(test_thread_join(&threads[i]), -EIO);
  for (int i = 0; i < 3; ++i) {
    while (f->mode->flags & BW_CALLER_DRIVEN && bw_poll_events(f->bw) > 0) {
    }
    assert_true(test_await_at_least(&notes[i].calls, 1));
    assert_int_equal(notes[i].code, -EIO);
    assert_int_equal(notes[i].calls, 1);
  }
  check_final(f, end);
}

static void test_eio__after_a_failed_sync_bytes_flow_to_another_sink_and_none_gets_durable(void **state) {
  fixture *f = *state;
  const int64_t end = write_before_sync(f, DURABLE_BYTES, 10 * CAPACITY + 5);
  assert_int_equal(bw_sync(f->bw), -EIO);
  const bw_sink_t ops = test_sink_ops(TEST_SINK_HAS_ALL);
  assert_int_equal(bw_set_sink(f->bw, &ops, &f->sink), 0);
  assert_true(write_until(f, end + 1000));
  assert_int_equal(bw_flush(f->bw), 0);
  size_t length;
  char *data = test_sink_bytes(&f->sink, &length);
  assert_int_equal(length, 1000);
  assert_true(faults_stream_is(data, length, end));
  free(data);
  assert_int_equal(bw_sync(f->bw), -EIO);
  assert_int_equal(bw_wait(f->bw, end, BW_DURABLE, -1), -EIO);
  assert_int_equal(bw_position(f->bw, BW_DURABLE), DURABLE_BYTES);
}

/* ---------------------------------------------------------------------------------------------- */

static const faults_test kTests[] = {
    FAULTS_TEST(test_eio__a_write_that_failed_is_resumed),
    FAULTS_TEST(test_eio__inside_the_present_size_writes_that_failed_are_resumed),
    FAULTS_TEST(test_eio__what_could_not_be_written_is_lost_with_a_word),
    FAULTS_TEST(test_eio__what_could_not_be_written_goes_to_another_sink),
    FAULTS_TEST(test_eio__a_sync_that_failed_is_final),
    FAULTS_TEST(test_eio__a_close_that_syncs_tells_once),
    FAULTS_TEST(test_eio__everybody_who_waits_hears_of_a_failed_sync),
    FAULTS_TEST(test_eio__after_a_failed_sync_bytes_flow_to_another_sink_and_none_gets_durable),
};

int main(int argc, char **argv) {
  engine = faults_engine(argc > 1 ? argv[1] : "");
  faults_private_place(NULL);
  const int guard = make_zram();
  const int failed = FAULTS_TESTS_RUN("eio", kTests, kModes, setup, teardown);
  EXPECT(remove_zram());
  faults_guard_dismiss(guard);
  return failed;
}
