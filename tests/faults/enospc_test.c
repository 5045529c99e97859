/*
 * A full disk: 700 records of 1000 bytes onto a tmpfs of 512 KiB. Whatever the program then does (make room and resume,
 * take the bytes back, hand them to another sink, give up), the file has exactly the accepted bytes, or the library has
 * said which are missing.
 *
 * Usage: faults_enospc uring|pwrite
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

#include "../support/records.h"
#include "../support/rig.h"
#include "faults.h"
#include "modes.h"

#define RECORDS 700
#define RECORD_BYTES 1000
#define STREAM_BYTES (INT64_C(1) * RECORDS * RECORD_BYTES)
#define SPARSE_BYTES (INT64_C(1) << 20)

static const faults_mode kModes[] = {
    {"defaults", 0, 0, 0, 0, 0},
    {"small buffers", 0, 0, 8192, 3, 0},
    {"page cache", BW_BUFFERED, 0, 16384, 4, UINT64_MAX},
    {"preallocated", 0, 0, 65536, 4, 1 << 18},
    {"one thread", BW_UNSHARED, 0, 65536, 4, 0},
    {"appending", 0, O_APPEND, 16384, 4, 0},
    {"driven by the caller", BW_CALLER_DRIVEN, 0, 32768, 4, 0},
    {"one thread, driven", BW_CALLER_DRIVEN | BW_UNSHARED | BW_BUFFERED, 0, 4096, 2, 0},
};

static uint32_t engine;

/* ---- A writer on a small disk ---------------------------------------------------------------- */

typedef struct fixture {
  const faults_mode *mode;
  char disk[32], path[64];
  bw_t *bw;
  test_events events;
  test_sink sink;
  unsigned refusals; /* how often a call said -ENOSPC */
} fixture;

static int setup(void **state) {
  static unsigned number;
  fixture *f = calloc(1, sizeof *f);
  if (!f) return -1;
  f->mode = *state;
  snprintf(f->disk, sizeof f->disk, "disk%u", number++);
  snprintf(f->path, sizeof f->path, "%s/out", f->disk);
  test_events_init(&f->events);
  test_sink_init(&f->sink);
  *state = f;
  return faults_mount("none", f->disk, "tmpfs", "size=512k");
}

static int teardown(void **state) {
  fixture *f = *state;
  bw_free(f->bw);
  umount2(f->disk, MNT_DETACH);
  test_sink_destroy(&f->sink);
  test_events_destroy(&f->events);
  free(f);
  return 0;
}

static void open_writer(fixture *f) {
  bw_options_t options = BW_OPTIONS_INIT;
  options.engine = engine;
  options.flags = f->mode->flags;
  options.capacity = f->mode->capacity;
  options.buffers = f->mode->buffers;
  options.preallocate = f->mode->preallocate;
  options.on_event = test_events_record;
  options.event_arg = &f->events;
  assert_int_equal(bw_open(&f->bw, f->path, O_RDWR | O_CREAT | f->mode->oflags, 0644, &options), 0);
}

/* The file lies there already and is as long as it will get, but nothing of it has a block yet. */
static void make_sparse(fixture *f) {
  const int fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  assert_true(fd >= 0);
  assert_int_equal(ftruncate(fd, SPARSE_BYTES), 0);
  close(fd);
}

static void make_room(fixture *f) {
  assert_int_equal(faults_remount(f->disk, "size=2m"), 0);
}

/* What a program does that gets the disk enlarged: nothing is let go of before that. */
static void cure(fixture *f, int64_t code) {
  assert_int_equal(code, -ENOSPC);
  assert_int_equal(bw_error(f->bw), -ENOSPC);
  assert_true(f->refusals++ < 1000);
  make_room(f);
  assert_int_equal(bw_resume(f->bw), 0);
}

/* Writes the stream from where the writer stands up to `end`; false: stopped by -ENOSPC. */
static bool write_until(fixture *f, int64_t end) {
  char record[RECORD_BYTES];
  for (int64_t at; (at = bw_tell(f->bw)) < end;) {
    const size_t length = (size_t)(RECORD_BYTES - at % RECORD_BYTES);
    faults_stream(record, length, at);
    const int64_t answer = bw_write(f->bw, record, length);
    if (answer < 0) {
      assert_int_equal(answer, -ENOSPC);
      assert_int_equal(bw_tell(f->bw), at);
      return false;
    }
    assert_int_equal(bw_tell(f->bw), at + answer);
  }
  return true;
}

/* Writes and flushes until the disk is full and the writer has said so; returns what was accepted. */
static int64_t fill_disk(fixture *f) {
  open_writer(f);
  if (write_until(f, STREAM_BYTES)) assert_int_equal(bw_flush(f->bw), -ENOSPC);
  assert_int_equal(bw_error(f->bw), -ENOSPC);
  assert_true(test_events_await(&f->events, BW_EVENT_ERROR, 0));
  return bw_position(f->bw, BW_ACCEPTED);
}

typedef struct visited {
  int64_t position;
  bool right;
} visited;

static void visit(void *arg, const void *data, size_t length) {
  visited *seen = arg;
  seen->right = seen->right && faults_stream_is(data, length, seen->position);
  seen->position += (int64_t)length;
}

/* The unwritten bytes are what follows the written ones, all of it. */
static void check_unwritten(fixture *f) {
  visited seen = {bw_position(f->bw, BW_WRITTEN), true};
  const int64_t missing = bw_unwritten(f->bw, visit, &seen);
  assert_int_equal(missing, bw_position(f->bw, BW_ACCEPTED) - bw_position(f->bw, BW_WRITTEN));
  assert_true(seen.right);
  assert_int_equal(seen.position, bw_position(f->bw, BW_ACCEPTED));
}

/* ---- Room is made ---------------------------------------------------------------------------- */

static void flush_close_check(fixture *f) {
  for (int code; (code = bw_flush(f->bw)) != 0;) cure(f, code);
  assert_true(f->refusals > 0);
  assert_int_equal(bw_flush(f->bw), 0);
  assert_true(faults_file_is(f->path, 0, STREAM_BYTES));
  assert_int_equal(bw_close(f->bw), 0);
  assert_true(faults_file_is(f->path, 0, STREAM_BYTES));
}

static void test_enospc__enlarged_and_resumed_it_has_exactly_the_accepted_bytes(void **state) {
  fixture *f = *state;
  open_writer(f);
  while (!write_until(f, STREAM_BYTES)) cure(f, -ENOSPC);
  flush_close_check(f);
}

static void test_enospc__something_else_deleted_and_resumed_it_has_exactly_the_accepted_bytes(void **state) {
  fixture *f = *state;
  char filler[64];
  assert_int_equal(faults_remount(f->disk, "size=1m"), 0);
  snprintf(filler, sizeof filler, "%s/filler", f->disk);
  const int fd = open(filler, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  assert_int_equal(posix_fallocate(fd, 0, 1 << 19), 0);
  close(fd);
  open_writer(f);
  while (!write_until(f, STREAM_BYTES) || bw_flush(f->bw) != 0) {
    ++f->refusals;
    unlink(filler);
    assert_int_equal(bw_resume(f->bw), 0);
  }
  flush_close_check(f);
}

static void test_enospc__inside_the_present_size_a_resume_leaves_no_hole(void **state) {
  fixture *f = *state;
  if (f->mode->oflags & O_APPEND) return;
  make_sparse(f);
  open_writer(f);
  while (!write_until(f, STREAM_BYTES)) cure(f, -ENOSPC);
  for (int code; (code = bw_flush(f->bw)) != 0;) cure(f, code);
  assert_true(f->refusals > 0);
  assert_int_equal(bw_close(f->bw), 0);
  assert_true(faults_file_begins(f->path, 0, STREAM_BYTES));
  assert_int_equal(faults_file_size(f->path), SPARSE_BYTES);
}

/* ---- No room is made ------------------------------------------------------------------------- */

static void note_code(void *arg, int code) {
  *(atomic_int *)arg = code;
}

static void test_enospc__every_call_says_so_as_long_as_it_is_full(void **state) {
  fixture *f = *state;
  const int64_t accepted = fill_disk(f);
  for (int i = 0; i < 2; ++i) {
    assert_int_equal(bw_write(f->bw, "x", 1), -ENOSPC);
    assert_int_equal(bw_append(f->bw, "x", 1), -ENOSPC);
    assert_int_equal(bw_flush(f->bw), -ENOSPC);
    assert_int_equal(bw_sync(f->bw), -ENOSPC);
    assert_int_equal(bw_wait(f->bw, accepted, BW_WRITTEN, -1), -ENOSPC);
    assert_int_equal(bw_wait(f->bw, accepted, BW_DURABLE, -1), -ENOSPC);
    assert_int_equal(bw_close(f->bw), -ENOSPC);
    assert_int_equal(bw_error(f->bw), -ENOSPC);
    assert_int_equal(bw_resume(f->bw), 0);
    assert_int_equal(bw_flush(f->bw), -ENOSPC); /* tried again, and still full */
  }
  assert_int_equal(bw_position(f->bw, BW_ACCEPTED), accepted);
  check_unwritten(f);
  assert_true(faults_file_is(f->path, 0, bw_position(f->bw, BW_WRITTEN)));
  assert_true(test_events_get(&f->events, BW_EVENT_ERROR, 0).code == -ENOSPC || f->mode->flags & BW_CALLER_DRIVEN);
}

static void test_enospc__a_note_is_told(void **state) {
  fixture *f = *state;
  const int64_t accepted = fill_disk(f);
  atomic_int code = 1;
  assert_int_equal(bw_notify(f->bw, accepted, BW_DURABLE, note_code, &code), 0);
  for (int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000); code == 1 && test_now_us() < end; test_pause()) {
    if (f->mode->flags & BW_CALLER_DRIVEN)
      bw_poll_events(f->bw);
    else if (f->mode->flags & BW_UNSHARED)
      bw_flush(f->bw);
  }
  assert_int_equal(code, -ENOSPC);
}

static void test_enospc__discarded_it_has_exactly_what_was_not(void **state) {
  fixture *f = *state;
  fill_disk(f);
  check_unwritten(f);
  const int64_t written = bw_position(f->bw, BW_WRITTEN), missing = bw_unwritten(f->bw, NULL, NULL);
  assert_true(missing > 0);
  assert_int_equal(bw_discard(f->bw), missing);
  assert_int_equal(bw_position(f->bw, BW_ACCEPTED), written);
  assert_int_equal(bw_tell(f->bw), written);
  assert_int_equal(bw_close(f->bw), -ENOSPC); /* it is still held */
  assert_int_equal(bw_resume(f->bw), 0);
  assert_int_equal(bw_close(f->bw), 0);
  assert_true(faults_file_is(f->path, 0, written));
}

static void test_enospc__after_a_discard_the_stream_goes_on_where_it_was_cut(void **state) {
  fixture *f = *state;
  fill_disk(f);
  assert_true(bw_discard(f->bw) > 0);
  make_room(f);
  assert_int_equal(bw_resume(f->bw), 0);
  assert_true(write_until(f, STREAM_BYTES));
  assert_int_equal(bw_sync(f->bw), 0);
  assert_int_equal(bw_close(f->bw), 0);
  assert_true(faults_file_is(f->path, 0, STREAM_BYTES));
}

static void test_enospc__another_sink_gets_what_the_file_has_not(void **state) {
  fixture *f = *state;
  const int64_t accepted = fill_disk(f), written = bw_position(f->bw, BW_WRITTEN);
  const bw_sink_t ops = test_sink_ops(TEST_SINK_HAS_ALL);
  assert_int_equal(bw_set_sink(f->bw, &ops, &f->sink), 0);
  assert_int_equal(bw_error(f->bw), 0);
  assert_true(faults_file_begins(f->path, 0, written));
  assert_true(faults_file_is(f->path, 0, faults_file_size(f->path)));
  assert_true(faults_file_size(f->path) <= accepted);
  faults_unmount(f->disk); /* it is not in use: our descriptors are closed */
  assert_true(write_until(f, STREAM_BYTES));
  assert_int_equal(bw_sync(f->bw), 0);
  assert_int_equal(bw_position(f->bw, BW_DURABLE), STREAM_BYTES);
  assert_int_equal(bw_close(f->bw), 0);
  size_t length;
  char *data = test_sink_bytes(&f->sink, &length);
  assert_int_equal(length, STREAM_BYTES - written);
  assert_true(faults_stream_is(data, length, written));
  free(data);
}

/* Another file as the sink: what a program does that has a second disk. */
static int64_t write_to_fd(void *ctx, const void *data, size_t length) {
  const ssize_t answer = write(*(int *)ctx, data, length);
  return answer < 0 ? -errno : answer;
}

static void test_enospc__the_rest_goes_to_another_file(void **state) {
  fixture *f = *state;
  fill_disk(f);
  const int64_t written = bw_position(f->bw, BW_WRITTEN);
  int fd = open("rest", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  bw_sink_t ops = BW_SINK_INIT;
  ops.write = write_to_fd;
  assert_int_equal(bw_set_sink(f->bw, &ops, &fd), 0);
  assert_true(write_until(f, STREAM_BYTES));
  assert_int_equal(bw_close(f->bw), 0);
  assert_true(faults_file_begins(f->path, 0, written));
  assert_true(faults_file_is("rest", written, STREAM_BYTES - written));
  close(fd);
}

/* ---- Freed without a close ------------------------------------------------------------------- */

static void free_and_check_lost(fixture *f, int64_t accepted) {
  bw_free(f->bw);
  f->bw = NULL;
  assert_true(test_events_count(&f->events, BW_EVENT_LOST) > 0);
  const test_event lost = test_events_get(&f->events, BW_EVENT_LOST, 0);
  assert_int_equal(lost.code, -ENOSPC);
  assert_true(test_events_cover(&f->events, BW_EVENT_LOST, lost.position, accepted));
  assert_int_equal(f->events.lost_length, accepted - lost.position);
  assert_true(faults_stream_is(f->events.lost, f->events.lost_length, lost.position));
  assert_true(faults_file_begins(f->path, 0, lost.position));
}

static void test_enospc__freed_what_is_missing_is_lost_with_a_word(void **state) {
  fixture *f = *state;
  const int64_t accepted = fill_disk(f);
  free_and_check_lost(f, accepted);
  assert_int_equal(faults_file_size(f->path), test_events_get(&f->events, BW_EVENT_LOST, 0).position);
}

static void test_enospc__freed_before_anybody_has_noticed_what_is_missing_is_lost_with_a_word(void **state) {
  fixture *f = *state;
  open_writer(f);
  write_until(f, STREAM_BYTES);
  const int64_t accepted = bw_position(f->bw, BW_ACCEPTED);
  free_and_check_lost(f, accepted);
  assert_int_equal(faults_file_size(f->path), test_events_get(&f->events, BW_EVENT_LOST, 0).position);
}

static void test_enospc__freed_inside_the_present_size_what_may_be_missing_is_lost_with_a_word(void **state) {
  fixture *f = *state;
  if (f->mode->oflags & O_APPEND) return;
  make_sparse(f);
  const int64_t accepted = fill_disk(f);
  free_and_check_lost(f, accepted);
}

static void test_enospc__freed_after_room_was_made_and_resumed_nothing_is_lost(void **state) {
  fixture *f = *state;
  const int64_t accepted = fill_disk(f);
  make_room(f);
  assert_int_equal(bw_resume(f->bw), 0);
  bw_free(f->bw);
  f->bw = NULL;
  assert_int_equal(test_events_count(&f->events, BW_EVENT_LOST), 0);
  assert_true(faults_file_is(f->path, 0, accepted));
}

/* ---- Many threads ---------------------------------------------------------------------------- */

#define THREADS 4

typedef struct crowd {
  fixture *f;
  test_records records;
  int64_t positions[THREADS * (RECORDS / THREADS)];
  atomic_int refusals;
} crowd;

typedef struct member {
  crowd *crowd;
  unsigned thread;
} member;

/* True: try again. Whoever hears that the disk is full sees to it; the others resume too. */
static bool cured(crowd *c, int64_t code) {
  if (code != -ENOSPC) return false;
  atomic_fetch_add(&c->refusals, 1);
  return faults_remount(c->f->disk, "size=4m") == 0 && bw_resume(c->f->bw) == 0;
}

static int64_t append_and_wait(void *arg) {
  const member *me = arg;
  crowd *c = me->crowd;
  char record[10008];
  for (unsigned number = 0; number < c->records.each; ++number) {
    const size_t length = test_record_make(&c->records, me->thread, number, record);
    int64_t at, code;
    while ((at = bw_append(c->f->bw, record, length)) < 0)
      if (!cured(c, at)) return at;
    c->positions[me->thread * c->records.each + number] = at;
    if (number % 8 != me->thread) continue;
    const int level = number % 16 < 8 ? BW_WRITTEN : BW_DURABLE;
    while ((code = bw_wait(c->f->bw, at + (int64_t)length, level, -1)) != 0)
      if (!cured(c, code)) return code;
  }
  return 0;
}

static void test_enospc__many_threads_resume_and_every_record_is_there_once(void **state) {
  fixture *f = *state;
  if (f->mode->flags & BW_UNSHARED) return;
  open_writer(f);
  crowd *c = calloc(1, sizeof *c);
  assert_non_null(c);
  c->f = f;
  c->records = (test_records){.threads = THREADS, .each = RECORDS / THREADS, .longest = 10000, .seed = 11};
  test_thread threads[THREADS];
  member members[THREADS];
  for (unsigned i = 0; i < THREADS; ++i) {
    members[i] = (member){c, i};
    test_thread_start(&threads[i], append_and_wait, &members[i]);
  }
  for (unsigned i = 0; i < THREADS; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
  for (int code; (code = bw_flush(f->bw)) != 0;) assert_true(cured(c, code));
  assert_true(c->refusals > 0);
  assert_int_equal(bw_close(f->bw), 0);
  const size_t length = test_records_bytes(&c->records);
  assert_int_equal(faults_file_size(f->path), length);
  char *data = malloc(length);
  const int fd = open(f->path, O_RDONLY | O_CLOEXEC);
  assert_non_null(data);
  assert_int_equal(read(fd, data, length), length);
  close(fd);
  assert_true(test_records_check(&c->records, data, length, c->positions));
  free(data);
  free(c);
}

/* ---- All of them in each mode ---------------------------------------------------------------- */

static const faults_test kTests[] = {
    FAULTS_TEST(test_enospc__enlarged_and_resumed_it_has_exactly_the_accepted_bytes),
    FAULTS_TEST(test_enospc__something_else_deleted_and_resumed_it_has_exactly_the_accepted_bytes),
    FAULTS_TEST(test_enospc__inside_the_present_size_a_resume_leaves_no_hole),
    FAULTS_TEST(test_enospc__every_call_says_so_as_long_as_it_is_full),
    FAULTS_TEST(test_enospc__a_note_is_told),
    FAULTS_TEST(test_enospc__discarded_it_has_exactly_what_was_not),
    FAULTS_TEST(test_enospc__after_a_discard_the_stream_goes_on_where_it_was_cut),
    FAULTS_TEST(test_enospc__another_sink_gets_what_the_file_has_not),
    FAULTS_TEST(test_enospc__the_rest_goes_to_another_file),
    FAULTS_TEST(test_enospc__freed_what_is_missing_is_lost_with_a_word),
    FAULTS_TEST(test_enospc__freed_before_anybody_has_noticed_what_is_missing_is_lost_with_a_word),
    FAULTS_TEST(test_enospc__freed_inside_the_present_size_what_may_be_missing_is_lost_with_a_word),
    FAULTS_TEST(test_enospc__freed_after_room_was_made_and_resumed_nothing_is_lost),
    FAULTS_TEST(test_enospc__many_threads_resume_and_every_record_is_there_once),
};

int main(int argc, char **argv) {
  engine = faults_engine(argc > 1 ? argv[1] : "");
  faults_private_place(NULL);
  return FAULTS_TESTS_RUN("enospc", kTests, kModes, setup, teardown);
}
