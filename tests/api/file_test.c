/*
 * bw_open: what may be opened and how, and that a file holds exactly the accepted bytes after each flush.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/file_rig.h"
#include "../support/records.h"

/* ---- Options --------------------------------------------------------------------------------- */

/* An options struct of a newer library that sets a field which is not known here. */
struct newer_options {
  bw_options_t options;
  uint64_t unknown;
};

static void test_open__options_are_checked_before_the_file_is_made(void **state) {
  file_rig *rig = *state;
  const struct {
    int code;
    bw_options_t options;
  } bad[] = {
      {-EINVAL, {.size = 0}},
      {-EINVAL, {.size = 3}},
      {-EINVAL, {.size = sizeof(bw_options_t), .flags = 1u << 5}},
      {-EINVAL, {.size = sizeof(bw_options_t), .flags = 1u << 31}},
      {-EINVAL, {.size = sizeof(bw_options_t), .capacity = 1}},
      {-EINVAL, {.size = sizeof(bw_options_t), .capacity = 4095}},
      {-EINVAL, {.size = sizeof(bw_options_t), .capacity = 4097}},
      {-EINVAL, {.size = sizeof(bw_options_t), .capacity = 6144}},
      {-EINVAL, {.size = sizeof(bw_options_t), .capacity = (128u << 20) + 4096}},
      {-EINVAL, {.size = sizeof(bw_options_t), .capacity = UINT64_MAX}},
      {-EINVAL, {.size = sizeof(bw_options_t), .engine = 3}},
      {-EINVAL, {.size = sizeof(bw_options_t), .high_percent = 101}},
      {-EINVAL, {.size = sizeof(bw_options_t), .high_percent = 40, .low_percent = 41}},
      {-EINVAL, {.size = sizeof(bw_options_t), .low_percent = 81}},
      {-EINVAL, {.size = sizeof(bw_options_t), .flags = BW_UNSHARED, .linger_us = 1}},
  };
  const char *old = file_rig_path(rig, "old");
  file_put(old, "old", 3);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    bw_t *bw = (bw_t *)&bw;
    assert_int_equal(bw_open(&bw, rig->path, O_WRONLY | O_CREAT, 0644, &bad[i].options), bad[i].code);
    assert_null(bw);
    assert_int_equal(file_size(rig->path), -ENOENT);
    assert_int_equal(bw_open(&bw, old, O_WRONLY | O_TRUNC, 0644, &bad[i].options), bad[i].code);
    assert_int_equal(file_size(old), 3);
  }
  struct newer_options newer = {{.size = sizeof newer}, 1};
  bw_t *bw = (bw_t *)&bw;
  assert_int_equal(bw_open(&bw, rig->path, O_WRONLY | O_CREAT, 0644, &newer.options), -E2BIG);
  assert_null(bw);
  assert_int_equal(file_size(rig->path), -ENOENT);
  newer.unknown = 0;
  newer.options.engine = rig->way.engine;
  assert_int_equal(bw_open(&bw, rig->path, O_WRONLY | O_CREAT, 0644, &newer.options), 0);
  bw_free(bw);
}

static void test_open__what_is_missing_is_refused(void **state) {
  file_rig *rig = *state;
  bw_t *bw = (bw_t *)&bw;
  assert_int_equal(bw_open(NULL, rig->path, O_WRONLY | O_CREAT, 0644, NULL), -EINVAL);
  assert_int_equal(file_size(rig->path), -ENOENT);
  assert_int_equal(bw_open(&bw, NULL, O_WRONLY | O_CREAT, 0644, NULL), -EINVAL);
  assert_null(bw);
}

static void test_open__memory_that_cannot_be_had_is_a_code(void **state) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  (void)state;
  skip(); /* their allocators end the program */
#else
  file_rig *rig = *state;
  const bw_options_t options = {
      .size = sizeof options, .capacity = 128u << 20, .buffers = UINT32_MAX, .engine = rig->way.engine};
  bw_t *bw = (bw_t *)&bw;
  assert_true(bw_open(&bw, rig->path, O_WRONLY | O_CREAT, 0644, &options) < 0);
  assert_null(bw);
#endif
}

static void test_open__defaults_are_those_of_files(void **state) {
  file_rig *rig = *state;
  bw_stats_t stats = BW_STATS_INIT;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_capacity(rig->bw), 1 << 20);
  assert_null(bw_context(rig->bw));
  assert_int_equal(bw_get_stats(rig->bw, &stats), 0);
  assert_int_equal(stats.buffers, 8);
  assert_int_equal(stats.engine, rig->way.engine);
  /* O_DIRECT is in use exactly where it was wanted and the filesystem allows it. */
  const int fd = open(rig->path, O_RDWR | O_DIRECT);
  if (fd >= 0) close(fd);
  assert_int_equal(stats.direct, fd >= 0 && !(rig->way.flags & BW_BUFFERED));
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) assert_int_equal(bw_position(rig->bw, level), 0);
  assert_int_equal(bw_tell(rig->bw), 0);
  file_rig_close(rig);
}

static void test_open__without_options_the_best_engine_is_chosen(void **state) {
  file_rig *rig = *state;
  bw_stats_t stats = BW_STATS_INIT;
  assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, NULL), 0);
  assert_int_equal(bw_get_stats(rig->bw, &stats), 0);
  assert_int_equal(stats.engine, BW_ENGINE_URING); /* the rig is one of io_uring: it works here */
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "abc", 3));
}

static void test_open__a_file_writer_is_in_the_background_whatever_the_flags_say(void **state) {
  file_rig *rig = *state;
  bw_options_t options = file_rig_options(rig);
  options.flags |= BW_BACKGROUND;
  assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, &options), 0);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(file_has(rig->path, "abc", 3));
  file_rig_close(rig);
}

/* ---- Flags of open(2) ------------------------------------------------------------------------ */

static void test_oflags__must_allow_writing(void **state) {
  file_rig *rig = *state;
  const bw_options_t options = file_rig_options(rig);
  assert_int_equal(file_rig_try(rig, O_RDONLY | O_CREAT, &options), -EINVAL);
  assert_null(rig->bw);
  assert_int_equal(file_size(rig->path), -ENOENT);
  file_put(rig->path, "old", 3);
  assert_int_equal(file_rig_try(rig, O_RDONLY | O_TRUNC, &options), -EINVAL);
  assert_int_equal(file_rig_try(rig, O_PATH, &options), -EINVAL);
  assert_int_equal(file_rig_try(rig, O_PATH | O_RDWR, &options), -EINVAL);
  assert_int_equal(file_rig_try(rig, O_WRONLY | O_RDWR, &options), -EINVAL); /* the kernel's "neither" */
  assert_null(rig->bw);
  assert_true(file_has(rig->path, "old", 3));
}

static void test_oflags__mean_what_open_says(void **state) {
  file_rig *rig = *state;
  const bw_options_t options = file_rig_options(rig);
  assert_int_equal(file_rig_try(rig, O_WRONLY, &options), -ENOENT);
  assert_int_equal(bw_open(&rig->bw, rig->directory, O_WRONLY, 0, &options), -EISDIR);
  assert_int_equal(bw_open(&rig->bw, "", O_WRONLY | O_CREAT, 0, &options), -ENOENT);
  const mode_t mask = umask(022);
  assert_int_equal(bw_open(&rig->bw, rig->path, O_WRONLY | O_CREAT | O_EXCL, 0666, &options), 0);
  umask(mask);
  struct stat about;
  assert_int_equal(stat(rig->path, &about), 0);
  assert_int_equal(about.st_mode & 07777, 0644);
  assert_int_equal(bw_write(rig->bw, "hello", 5), 5);
  file_rig_close(rig);

  assert_int_equal(file_rig_try(rig, O_WRONLY | O_CREAT | O_EXCL, &options), -EEXIST);
  char link[PATH_MAX];
  snprintf(link, sizeof link, "%s", file_rig_path(rig, "link"));
  assert_int_equal(symlink("file", link), 0);
  assert_int_equal(bw_open(&rig->bw, link, O_WRONLY | O_NOFOLLOW, 0, &options), -ELOOP);
  assert_null(rig->bw);
  assert_int_equal(bw_open(&rig->bw, link, O_WRONLY, 0, &options), 0);
  assert_int_equal(bw_write(rig->bw, "J", 1), 1);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "Jello", 5));

  file_rig_open(rig, O_RDWR | O_TRUNC);
  assert_int_equal(file_size(rig->path), 0);
  assert_int_equal(bw_write(rig->bw, "x", 1), 1);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "x", 1));
}

static void test_oflags__other_flags_do_no_harm(void **state) {
  file_rig *rig = *state;
  const int flags[] = {O_DIRECT, O_DSYNC, O_SYNC, O_NONBLOCK, O_CLOEXEC, O_NOCTTY, O_NOATIME, O_NOFOLLOW, O_LARGEFILE};
  char data[10000];
  test_pattern(data, sizeof data, 1);
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; ++i) {
    file_rig_open(rig, O_RDWR | O_CREAT | O_TRUNC | flags[i]);
    assert_int_equal(bw_write(rig->bw, data, 100), 100);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_true(file_has(rig->path, data, 100));
    assert_int_equal(bw_write(rig->bw, data + 100, sizeof data - 100), sizeof data - 100);
    file_rig_close(rig);
    assert_true(file_has(rig->path, data, sizeof data));
  }
}

/* ---- Kinds of files -------------------------------------------------------------------------- */

/* Opens the descriptor by its number; its own offset must stay where it is. */
static void write_through(file_rig *rig, int fd) {
  char path[64], data[20000], found[20000];
  bw_stats_t stats = BW_STATS_INIT;
  test_pattern(data, sizeof data, 2);
  assert_int_equal(write(fd, "1234567", 7), 7);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const bw_options_t options = file_rig_options(rig);
  assert_int_equal(bw_open(&rig->bw, path, O_RDWR, 0, &options), 0);
  assert_int_equal(bw_get_stats(rig->bw, &stats), 0);
  assert_int_equal(stats.engine, rig->way.engine);
  assert_int_equal(bw_tell(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  assert_int_equal(bw_sync(rig->bw), 0);
  file_rig_close(rig);
  assert_int_equal(lseek(fd, 0, SEEK_CUR), 7);
  assert_int_equal(lseek(fd, 0, SEEK_END), sizeof data);
  assert_int_equal(pread(fd, found, sizeof found, 0), sizeof data);
  assert_memory_equal(found, data, sizeof data);
}

static void test_kind__a_file_without_a_name_is_a_file(void **state) {
  file_rig *rig = *state;
  int fd = open(rig->directory, O_TMPFILE | O_RDWR, 0600);
  if (fd >= 0) {
    write_through(rig, fd);
    close(fd);
  }
  fd = open(rig->path, O_RDWR | O_CREAT, 0600);
  assert_int_equal(unlink(rig->path), 0);
  write_through(rig, fd);
  close(fd);
}

static void test_kind__a_memfd_is_a_file(void **state) {
  file_rig *rig = *state;
  const int fd = memfd_create("bw", MFD_CLOEXEC);
  assert_true(fd >= 0);
  write_through(rig, fd);
  close(fd);
}

static void test_kind__a_temporary_file_can_be_made_by_us(void **state) {
  file_rig *rig = *state;
  const int probe = open(rig->directory, O_TMPFILE | O_RDWR | O_EXCL, 0600);
  if (probe < 0) skip();
  close(probe);
  char data[9000], found[9000];
  test_pattern(data, sizeof data, 3);
  const bw_options_t options = file_rig_options(rig);
  assert_int_equal(bw_open(&rig->bw, rig->directory, O_TMPFILE | O_RDWR, 0600, &options), 0);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), 0);
  assert_int_equal(bw_read(rig->bw, found, sizeof found), sizeof found);
  assert_memory_equal(found, data, sizeof data);
  file_rig_close(rig);
}

static void test_kind__a_temporary_file_is_never_created_by_name(void **state) {
  file_rig *rig = *state;
  const bw_options_t options = file_rig_options(rig);
  assert_int_equal(bw_open(&rig->bw, rig->directory, O_TMPFILE | O_CREAT | O_RDWR, 0600, &options), -EINVAL);
  assert_null(rig->bw);
}

static void test_kind__a_file_whose_directory_is_gone_can_be_synced(void **state) {
  file_rig *rig = *state;
  char directory[PATH_MAX], path[PATH_MAX + 8];
  const bw_options_t options = file_rig_options(rig);
  snprintf(directory, sizeof directory, "%s", file_rig_path(rig, "gone"));
  snprintf(path, sizeof path, "%s/file", directory);
  assert_int_equal(mkdir(directory, 0700), 0);
  assert_int_equal(bw_open(&rig->bw, path, O_RDWR | O_CREAT, 0600, &options), 0);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(rmdir(directory), 0);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 3);
  file_rig_close(rig);
}

/* A writer on what is no regular file: it must be what bw_fdopen() makes, an inline one. */
static void check_inline(file_rig *rig, const char *path) {
  bw_options_t options = file_rig_options(rig);
  bw_stats_t stats = BW_STATS_INIT;
  options.capacity = 100;
  assert_int_equal(bw_open(&rig->bw, path, O_WRONLY, 0, &options), -EINVAL); /* checked as for a file */
  options.capacity = 0;
  assert_int_equal(bw_open(&rig->bw, path, O_WRONLY, 0, &options), 0);
  assert_int_equal(bw_capacity(rig->bw), 8192);
  assert_int_equal(bw_event_fd(rig->bw), -EOPNOTSUPP);
  assert_int_equal(bw_poll_events(rig->bw), -EOPNOTSUPP);
  assert_int_equal(bw_get_stats(rig->bw, &stats), 0);
  assert_int_equal(stats.engine, 0);
  assert_int_equal(stats.buffers, 1);
  assert_int_equal(bw_write(rig->bw, "hello", 5), 5);
  assert_int_equal(bw_buffered(rig->bw), 5);
  assert_int_equal(bw_flush(rig->bw), 0);
}

static void assert_reads(int fd, const char *text) {
  char found[64];
  assert_int_equal(read(fd, found, sizeof found), strlen(text));
  assert_memory_equal(found, text, strlen(text));
}

static void test_kind__a_pipe_is_what_fdopen_makes(void **state) {
  file_rig *rig = *state;
  char path[64];
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  snprintf(path, sizeof path, "/proc/self/fd/%d", ends[1]);
  check_inline(rig, path);
  assert_reads(ends[0], "hello");
  close(ends[1]);
  file_rig_close(rig);
  assert_int_equal(read(ends[0], path, 1), 0); /* no descriptor of the pipe is left */
  close(ends[0]);
}

static void test_kind__a_fifo_is_what_fdopen_makes(void **state) {
  file_rig *rig = *state;
  assert_int_equal(mkfifo(rig->path, 0600), 0);
  const int fd = open(rig->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  check_inline(rig, rig->path);
  assert_reads(fd, "hello");
  file_rig_close(rig);
  close(fd);
}

static void test_kind__a_device_is_what_fdopen_makes(void **state) {
  file_rig *rig = *state;
  check_inline(rig, "/dev/null");
  file_rig_close(rig);
  const bw_options_t options = file_rig_options(rig);
  assert_int_equal(bw_open(&rig->bw, "/dev/full", O_WRONLY, 0, &options), 0);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_flush(rig->bw), -ENOSPC);
  assert_int_equal(bw_discard(rig->bw), 3);
  file_rig_close(rig);
}

static void test_kind__what_fdopen_makes_may_be_in_the_background(void **state) {
  file_rig *rig = *state;
  bw_options_t options = file_rig_options(rig);
  bw_stats_t stats = BW_STATS_INIT;
  options.flags |= BW_BACKGROUND;
  options.capacity = 4096;
  options.buffers = 5;
  assert_int_equal(bw_open(&rig->bw, "/dev/null", O_WRONLY, 0, &options), 0);
  assert_int_equal(bw_capacity(rig->bw), 4096);
  assert_int_equal(bw_get_stats(rig->bw, &stats), 0);
  assert_int_equal(stats.buffers, 5);
  assert_int_equal(stats.engine, 0);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  file_rig_close(rig);
}

/* ---- Flushes --------------------------------------------------------------------------------- */

static void test_flush__leaves_exactly_the_accepted_bytes(void **state) {
  file_rig *rig = *state;
  const size_t capacity = file_rig_capacity(rig);
  const size_t sizes[] = {1,
                          2,
                          4093,
                          1,
                          4095,
                          4096,
                          4097,
                          511,
                          8191,
                          8192,
                          8193,
                          capacity - 1,
                          capacity,
                          capacity + 1,
                          3 * capacity - 1,
                          1,
                          5 * capacity + 3,
                          4096};
  file_model model = {NULL, 0, 0};
  char *data = malloc(5 * capacity + 3);
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    test_pattern(data, sizes[i], (unsigned)i);
    assert_int_equal(bw_write(rig->bw, data, sizes[i]), sizes[i]);
    file_model_put(&model, model.size, data, sizes[i]);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_true(file_has(rig->path, model.bytes, model.size));
    assert_int_equal(bw_position(rig->bw, BW_WRITTEN), model.size);
    assert_int_equal(bw_buffered(rig->bw), 0);
    assert_int_equal(bw_flush(rig->bw), 0);
  }
  file_rig_close(rig);
  assert_true(file_has(rig->path, model.bytes, model.size));
  free(model.bytes);
  free(data);
}

static void test_flush__is_exact_at_every_alignment(void **state) {
  file_rig *rig = *state;
  const size_t starts[] = {0, 1, 2, 511, 512, 2048, 4094, 4095, 4096, 4097, 8191, 8192, 8193};
  const size_t sizes[] = {1, 2, 4095, 4096, 4097, 8192};
  char old[30000], data[8192];
  test_pattern(old, sizeof old, 100);
  for (size_t s = 0; s < sizeof starts / sizeof starts[0]; ++s)
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
      file_model model = {NULL, 0, 0};
      file_put(rig->path, old, starts[s]);
      file_model_put(&model, 0, old, starts[s]);
      file_rig_open(rig, O_WRONLY);
      assert_int_equal(bw_seek(rig->bw, 0, SEEK_END), starts[s]);
      for (unsigned part = 0; part < 2; ++part) {
        test_pattern(data, sizes[i], part);
        assert_int_equal(bw_append(rig->bw, data, sizes[i]), model.size);
        file_model_put(&model, model.size, data, sizes[i]);
        assert_int_equal(bw_flush(rig->bw), 0);
        assert_true(file_has(rig->path, model.bytes, model.size));
      }
      file_rig_close(rig);
      assert_true(file_has(rig->path, model.bytes, model.size));
      free(model.bytes);
    }
}

static void test_flush__is_seen_by_another_process(void **state) {
  file_rig *rig = *state;
  char data[25000];
  test_pattern(data, sizeof data, 4);
  file_rig_open(rig, O_RDWR | O_CREAT);
  const size_t ends[] = {1, 100, 4096, 4097, 12289, 25000};
  for (size_t i = 0, at = 0; i < sizeof ends / sizeof ends[0]; at = ends[i++]) {
    assert_int_equal(bw_write(rig->bw, data + at, ends[i] - at), ends[i] - at);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_true(file_has_elsewhere(rig->path, data, ends[i]));
  }
  file_rig_close(rig);
}

static void test_flush__is_seen_by_a_reader_who_looked_before(void **state) {
  file_rig *rig = *state;
  const size_t capacity = file_rig_capacity(rig);
  unsigned char *data = malloc(3 * capacity), *map;
  test_pattern(data, 3 * capacity, 5);
  file_rig_open(rig, O_RDWR | O_CREAT);
  const int fd = open(rig->path, O_RDONLY | O_CLOEXEC);
  map = mmap(NULL, 3 * capacity, PROT_READ, MAP_SHARED, fd, 0);
  assert_true(map != MAP_FAILED);
  /* Units that were looked at half-full must not stay in the page cache as they were. */
  for (size_t at = 0, step = 1; at < 3 * capacity; step = step * 3 + 1) {
    const size_t length = step < 3 * capacity - at ? step : 3 * capacity - at;
    assert_int_equal(bw_write(rig->bw, data + at, length), length);
    at += length;
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_memory_equal(map, data, at);
    assert_true(file_has(rig->path, data, at));
  }
  munmap(map, 3 * capacity);
  close(fd);
  file_rig_close(rig);
  free(data);
}

/* Looks at a growing file all the time: it must always be a prefix of `data`, of what was offered at most. */
struct watcher {
  const char *path;
  const unsigned char *data;
  size_t length;
  atomic_llong offered;
  atomic_int looks;
  atomic_bool stops;
};

static int64_t watch(void *arg) {
  struct watcher *watcher = arg;
  unsigned char *found = malloc(watcher->length + 1);
  const int fd = open(watcher->path, O_RDONLY | O_CLOEXEC);
  int64_t wrong = -1;
  while (wrong < 0 && !atomic_load(&watcher->stops)) {
    struct stat about;
    fstat(fd, &about);
    const ssize_t count = pread(fd, found, watcher->length + 1, 0);
    const long long offered = atomic_load(&watcher->offered);
    if (count < about.st_size || count > offered) wrong = count;
    for (ssize_t i = 0; i < count && wrong < 0; ++i)
      if (found[i] != watcher->data[i]) wrong = i;
    if (wrong >= 0)
      fprintf(stderr, "%s: %zd bytes were there (offered: %lld), wrong at %lld\n", watcher->path, count, offered,
              (long long)wrong);
    atomic_fetch_add(&watcher->looks, 1);
  }
  close(fd);
  free(found);
  return wrong;
}

static void test_flush__before_it_the_file_is_a_prefix(void **state) {
  file_rig *rig = *state;
  enum { kBytes = 300000 };
  unsigned char *data = malloc(kBytes);
  test_pattern(data, kBytes, 6);
  struct watcher watcher = {.path = rig->path, .data = data, .length = kBytes};
  test_thread thread;
  file_rig_open(rig, O_RDWR | O_CREAT);
  test_thread_start(&thread, watch, &watcher);
  uint64_t random = 7;
  bool works = true;
  for (size_t at = 0; at < kBytes && works && !test_thread_finished(&thread);) {
    size_t length = (size_t)(test_random(&random) % 6000) + 1;
    if (length > kBytes - at) length = kBytes - at;
    atomic_store(&watcher.offered, (long long)(at + length));
    works = bw_write(rig->bw, data + at, length) == (int64_t)length;
    at += length;
    if (test_random(&random) % 3 == 0) works = works && bw_flush(rig->bw) == 0;
    file_rig_drive(rig);
  }
  test_await_at_least(&watcher.looks, 1);
  atomic_store(&watcher.stops, true);
  assert_int_equal(test_thread_join(&thread), -1);
  assert_true(works);
  file_rig_close(rig);
  assert_true(file_has(rig->path, data, kBytes));
  free(data);
}

/* ---- Ways to write --------------------------------------------------------------------------- */

static void test_write__pieces_of_all_kinds_arrive_in_order(void **state) {
  file_rig *rig = *state;
  const size_t capacity = file_rig_capacity(rig);
  char *data = malloc(4 * capacity);
  file_model model = {NULL, 0, 0};
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (unsigned round = 0; round < 12; ++round) {
    test_pattern(data, 4 * capacity, round);
    const size_t cut = round * 700 % capacity;
    struct iovec parts[4] = {{data, cut}, {NULL, 0}, {data + cut, capacity}, {data + cut + capacity, round}};
    const size_t total = cut + capacity + round;
    if (round % 2)
      assert_int_equal(bw_writev(rig->bw, parts, 4), total);
    else
      assert_int_equal(bw_appendv(rig->bw, parts, 4), model.size);
    file_model_put(&model, model.size, data, total);
    assert_int_equal(bw_append(rig->bw, data, round), model.size);
    file_model_put(&model, model.size, data, round);
    assert_int_equal(bw_write(rig->bw, data, 0), 0);
    assert_int_equal(bw_append(rig->bw, NULL, 0), model.size);
    assert_int_equal(bw_tell(rig->bw), model.size);
  }
  /* More than all buffers together. */
  const size_t long_one = capacity * file_rig_buffers(rig) * 2 + 77;
  char *more = malloc(long_one);
  test_pattern(more, long_one, 99);
  assert_int_equal(bw_append(rig->bw, more, long_one), model.size);
  file_model_put(&model, model.size, more, long_one);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(file_has(rig->path, model.bytes, model.size));
  file_rig_close(rig);
  free(model.bytes);
  free(more);
  free(data);
}

struct producer {
  bw_t *bw;
  const test_records *records;
  int64_t *positions;
  unsigned number;
};

static int64_t produce(void *arg) {
  struct producer *producer = arg;
  char *record = malloc(producer->records->longest + 8);
  int64_t code = 0;
  for (unsigned i = 0; i < producer->records->each && code == 0; ++i) {
    const size_t length = test_record_make(producer->records, producer->number, i, record);
    const int64_t at = bw_append(producer->bw, record, length);
    producer->positions[producer->number * producer->records->each + i] = at;
    if (at < 0) code = at;
    if (i % 16 == producer->number && code == 0) code = bw_flush(producer->bw);
    if (i % 64 == producer->number && code == 0) code = bw_wait(producer->bw, at + (int64_t)length, BW_DURABLE, -1);
  }
  free(record);
  return code;
}

static void test_write__records_of_many_threads_stay_whole(void **state) {
  file_rig *rig = *state;
  enum { kThreads = 4, kEach = 150 };
  const test_records records = {kThreads, kEach, 9000, 8};
  const size_t bytes = test_records_bytes(&records);
  int64_t positions[kThreads * kEach];
  struct producer producers[kThreads];
  test_thread threads[kThreads];
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (unsigned i = 0; i < kThreads; ++i) {
    producers[i] = (struct producer){rig->bw, &records, positions, i};
    test_thread_start(&threads[i], produce, &producers[i]);
  }
  assert_int_equal(file_join(threads, kThreads), 0);
  file_rig_close(rig);
  char *found = malloc(bytes);
  const int fd = open(rig->path, O_RDONLY | O_CLOEXEC);
  assert_int_equal(file_size(rig->path), bytes);
  assert_int_equal(pread(fd, found, bytes, 0), bytes);
  assert_true(test_records_check(&records, found, bytes, positions));
  close(fd);
  free(found);
}

/* ---- Spans ----------------------------------------------------------------------------------- */

/* A span of `length` bytes of `data`, which must stand at the end of the model. */
static void put_span(file_rig *rig, file_model *model, const char *data, size_t length) {
  bw_span_t span;
  assert_int_equal(bw_reserve(rig->bw, length, &span), 0);
  assert_int_equal(span.position, model->size);
  assert_true(rig->way.flags & BW_UNSHARED ? span.length >= length : span.length == length);
  memcpy(span.data, data, length);
  assert_int_equal(bw_commit(rig->bw, &span, length), 0);
  file_model_put(model, model->size, data, length);
}

static void test_span__any_length_fits_at_any_position(void **state) {
  file_rig *rig = *state;
  const size_t capacity = file_rig_capacity(rig);
  const size_t sizes[] = {1,
                          capacity,
                          capacity,
                          17,
                          capacity,
                          4096,
                          capacity - 1,
                          1,
                          4095,
                          capacity / 2 + 1,
                          capacity / 2 + 1,
                          capacity / 2 + 1,
                          capacity};
  char *data = malloc(capacity);
  file_model model = {NULL, 0, 0};
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (unsigned flushes = 0; flushes < 3; ++flushes)
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
      test_pattern(data, sizes[i], flushes * 100 + (unsigned)i);
      put_span(rig, &model, data, sizes[i]);
      if (flushes == 1 && i % 2) assert_int_equal(bw_flush(rig->bw), 0);
      if (flushes == 2) assert_int_equal(bw_flush(rig->bw), 0);
      if (flushes > 0 && i % 2) assert_true(file_has(rig->path, model.bytes, model.size));
    }
  file_rig_close(rig);
  assert_true(file_has(rig->path, model.bytes, model.size));
  free(model.bytes);
  free(data);
}

static void test_span__bad_lengths_are_refused(void **state) {
  file_rig *rig = *state;
  bw_span_t span = {NULL, 7, 7, NULL};
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_reserve(rig->bw, 0, &span), -EINVAL);
  assert_int_equal(bw_reserve(rig->bw, file_rig_capacity(rig) + 1, &span), -EMSGSIZE);
  assert_int_equal(span.length, 7);
  assert_int_equal(bw_reserve(rig->bw, 10, &span), 0);
  assert_int_equal(bw_commit(rig->bw, &span, span.length + 1), -EINVAL);
  memset(span.data, 'x', 10);
  assert_int_equal(bw_commit(rig->bw, &span, 10), 0);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "xxxxxxxxxx", 10));
}

static void test_span__nothing_of_an_open_one_is_written(void **state) {
  file_rig *rig = *state;
  bw_span_t span;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "before", 6), 6);
  assert_int_equal(bw_reserve(rig->bw, 5, &span), 0);
  assert_int_equal(bw_write(rig->bw, "behind", 6), 6);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 6);
  test_thread thread;
  test_call call = {.bw = rig->bw};
  test_thread_start(&thread, test_call_flush, &call);
  assert_false(test_thread_settle(&thread)); /* the flush waits for the span */
  const int64_t size = file_size(rig->path);
  assert_true(size == 0 || size == 6);
  memcpy(span.data, "(span)", 5);
  assert_int_equal(bw_commit(rig->bw, &span, 5), 0);
  assert_int_equal(test_thread_join(&thread), 0);
  assert_true(file_has(rig->path, "before(spanbehind", 17));
  file_rig_close(rig);
}

static void test_span__who_waits_for_one_goes_on_over_a_new_sink(void **state) {
  file_rig *rig = *state;
  int64_t (*const calls[])(void *) = {test_call_flush, test_call_sync};
  static const char all[] = "before(spanbehind";
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; ++i) {
    static test_sink sink;
    bw_span_t span;
    test_thread thread;
    test_sink_init(&sink);
    const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
    file_rig_open(rig, O_RDWR | O_CREAT | O_TRUNC);
    assert_int_equal(bw_write(rig->bw, all, 6), 6);
    assert_int_equal(bw_reserve(rig->bw, 5, &span), 0);
    assert_int_equal(bw_write(rig->bw, all + 11, 6), 6);
    test_call call = {.bw = rig->bw};
    test_thread_start(&thread, calls[i], &call);
    assert_false(test_thread_settle(&thread));
    assert_int_equal(bw_set_sink(rig->bw, &ops, &sink), 0);
    memcpy(span.data, all + 6, 5);
    assert_int_equal(bw_commit(rig->bw, &span, 5), 0);
    assert_int_equal(test_thread_join(&thread), 0);
    const int64_t size = file_size(rig->path);
    assert_true(size == 0 || size == 6); /* what was before the span may have gone to the file */
    assert_true(file_has(rig->path, all, (size_t)size));
    assert_true(test_sink_holds(&sink, all + size, 17 - (size_t)size));
    assert_int_equal(test_sink_count(&sink, TEST_SINK_SYNC), calls[i] == test_call_sync);
    file_rig_close(rig);
    test_sink_destroy(&sink);
  }
}

static void test_span__an_unshared_one_may_be_used_in_part(void **state) {
  file_rig *rig = *state;
  file_model model = {NULL, 0, 0};
  char data[64];
  bw_span_t span;
  test_pattern(data, sizeof data, 9);
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (unsigned i = 0; i < 300; ++i) {
    assert_int_equal(bw_reserve(rig->bw, 64, &span), 0);
    assert_int_equal(bw_write(rig->bw, data, 1), -EBUSY);
    assert_int_equal(bw_flush(rig->bw), -EBUSY);
    assert_int_equal(bw_close(rig->bw), -EBUSY);
    const size_t used = i % 64;
    memset(span.data, '#', 64);
    memcpy(span.data, data, used);
    assert_int_equal(bw_commit(rig->bw, &span, used), 0);
    file_model_put(&model, model.size, data, used);
    if (i % 7 == 0) assert_int_equal(bw_flush(rig->bw), 0);
  }
  file_rig_close(rig);
  assert_true(file_has(rig->path, model.bytes, model.size));
  free(model.bytes);
}

/* ---- Inside a visit -------------------------------------------------------------------------- */

struct visit {
  bw_t *bw;
  int64_t codes[12];
  int count;
  int events;
};

static void call_inside(void *arg, const void *bytes, size_t length) {
  struct visit *visit = arg;
  bw_t *bw = visit->bw;
  char text[4];
  int n = 0;
  (void)bytes;
  (void)length;
  visit->codes[n++] = bw_flush(bw);
  visit->codes[n++] = bw_sync(bw);
  visit->codes[n++] = bw_poll_sync(bw, NULL);
  visit->codes[n++] = bw_seek(bw, 0, SEEK_SET);
  visit->codes[n++] = bw_read(bw, text, sizeof text);
  visit->codes[n++] = bw_wait(bw, 3, BW_DURABLE, -1);
  visit->codes[n++] = bw_discard(bw);
  visit->codes[n++] = bw_resume(bw);
  visit->codes[n++] = bw_unwritten(bw, NULL, NULL);
  visit->codes[n++] = bw_close(bw);
  visit->count = n;
  visit->events = bw_poll_events(bw);
}

static void test_visit__the_writer_is_off_limits_inside(void **state) {
  file_rig *rig = *state;
  struct visit visit = {.bw = NULL};
  file_rig_open(rig, O_RDWR | O_CREAT);
  visit.bw = rig->bw;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_unwritten(rig->bw, call_inside, &visit), 3);
  assert_int_equal(visit.count, 10);
  for (int i = 0; i < visit.count; ++i) assert_int_equal(visit.codes[i], -EDEADLK);
  assert_int_equal(visit.events, file_rig_is_driven(rig) ? -EDEADLK : -EOPNOTSUPP);
  assert_int_equal(bw_sync(rig->bw), 0);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "abc", 3));
}

int main(int argc, char **argv) {
  static const file_test tests[] = {
      FILE_TEST(test_open__options_are_checked_before_the_file_is_made, FILE_ENGINES),
      FILE_TEST(test_open__what_is_missing_is_refused, 0),
      FILE_TEST(test_open__memory_that_cannot_be_had_is_a_code, FILE_ENGINES),
      FILE_TEST(test_open__defaults_are_those_of_files, FILE_WAYS),
      FILE_TEST(test_open__without_options_the_best_engine_is_chosen, 0),
      FILE_TEST(test_open__a_file_writer_is_in_the_background_whatever_the_flags_say, FILE_WAYS),
      FILE_TEST(test_oflags__must_allow_writing, FILE_WAYS),
      FILE_TEST(test_oflags__mean_what_open_says, FILE_WAYS),
      FILE_TEST(test_oflags__other_flags_do_no_harm, FILE_WAYS),
      FILE_TEST(test_kind__a_file_without_a_name_is_a_file, FILE_WAYS),
      FILE_TEST(test_kind__a_memfd_is_a_file, FILE_WAYS),
      FILE_TEST(test_kind__a_temporary_file_can_be_made_by_us, FILE_WAYS),
      FILE_TEST(test_kind__a_temporary_file_is_never_created_by_name, FILE_ENGINES),
      FILE_TEST(test_kind__a_file_whose_directory_is_gone_can_be_synced, FILE_WAYS),
      FILE_TEST(test_kind__a_pipe_is_what_fdopen_makes, FILE_WAYS),
      FILE_TEST(test_kind__a_fifo_is_what_fdopen_makes, FILE_WAYS),
      FILE_TEST(test_kind__a_device_is_what_fdopen_makes, FILE_WAYS),
      FILE_TEST(test_kind__what_fdopen_makes_may_be_in_the_background, FILE_WAYS),
      FILE_TEST(test_flush__leaves_exactly_the_accepted_bytes, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_flush__is_exact_at_every_alignment, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_flush__is_seen_by_another_process, FILE_WAYS),
      FILE_TEST(test_flush__is_seen_by_a_reader_who_looked_before, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_flush__before_it_the_file_is_a_prefix, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_write__pieces_of_all_kinds_arrive_in_order, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_write__records_of_many_threads_stay_whole,
                FILE_ENGINES | FILE_CACHES | FILE_DRIVERS | FILE_SHAPES),
      FILE_TEST(test_span__any_length_fits_at_any_position, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_span__bad_lengths_are_refused, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_span__nothing_of_an_open_one_is_written, FILE_ENGINES | FILE_CACHES | FILE_DRIVERS),
      FILE_TEST(test_span__who_waits_for_one_goes_on_over_a_new_sink, FILE_ENGINES | FILE_CACHES),
      FILE_TEST_WITH(test_span__an_unshared_one_may_be_used_in_part, FILE_ENGINES | FILE_CACHES | FILE_DRIVERS,
                     BW_UNSHARED),
      FILE_TEST(test_visit__the_writer_is_off_limits_inside, FILE_WAYS),
  };
  return FILE_TESTS_RUN("file", tests, argc, argv);
}
