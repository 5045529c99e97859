/*
 * File writers and positions: seeks, overwriting, holes, reopening, reading, O_APPEND, large offsets, and the disk
 * space that is reserved ahead.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/file_rig.h"

static const int64_t kGiB = INT64_C(1) << 30;

/* ---- Where a writer begins ------------------------------------------------------------------- */

static void test_begin__positions_are_offsets_from_the_start(void **state) {
  file_rig *rig = *state;
  char old[10000], data[5000];
  test_pattern(old, sizeof old, 1);
  test_pattern(data, sizeof data, 2);
  file_put(rig->path, old, sizeof old);
  file_rig_open(rig, O_RDWR);
  assert_int_equal(bw_tell(rig->bw), 0);
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) assert_int_equal(bw_position(rig->bw, level), 0);
  assert_int_equal(bw_append(rig->bw, data, sizeof data), 0);
  file_rig_close(rig);
  memcpy(old, data, sizeof data);
  assert_true(file_has(rig->path, old, sizeof old)); /* what lies behind stays */
}

static void test_begin__a_file_of_any_size_can_be_gone_on_with(void **state) {
  file_rig *rig = *state;
  const size_t sizes[] = {0, 1, 4095, 4096, 4097, 8192, 12345, 20481};
  char old[20481], data[9000];
  test_pattern(old, sizeof old, 3);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    file_model model = {NULL, 0, 0};
    file_put(rig->path, old, sizes[i]);
    file_model_put(&model, 0, old, sizes[i]);
    for (unsigned round = 0; round < 3; ++round) {
      test_pattern(data, sizeof data, round);
      file_rig_open(rig, round % 2 ? O_WRONLY : O_RDWR);
      assert_int_equal(bw_seek(rig->bw, 0, SEEK_END), model.size);
      assert_int_equal(bw_tell(rig->bw), model.size);
      const size_t length = 1 + round * 4499;
      assert_int_equal(bw_append(rig->bw, data, length), model.size);
      file_model_put(&model, model.size, data, length);
      file_rig_close(rig);
      assert_true(file_has(rig->path, model.bytes, model.size));
    }
    free(model.bytes);
  }
}

static void test_begin__an_empty_file_stays_empty(void **state) {
  file_rig *rig = *state;
  char byte;
  for (int round = 0; round < 2; ++round) {
    file_rig_open(rig, O_RDWR | O_CREAT);
    assert_int_equal(bw_write(rig->bw, "", 0), 0);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_int_equal(bw_sync(rig->bw), 0);
    assert_int_equal(bw_read(rig->bw, &byte, 1), 0);
    assert_int_equal(bw_seek(rig->bw, 0, SEEK_END), 0);
    assert_int_equal(bw_wait(rig->bw, 0, BW_DURABLE, -1), 0);
    file_rig_close(rig);
    assert_int_equal(file_size(rig->path), 0);
    assert_int_equal(file_blocks(rig->path), 0);
  }
}

/* ---- Seeks ----------------------------------------------------------------------------------- */

static void test_seek__overwrites_in_the_middle_and_nothing_else(void **state) {
  file_rig *rig = *state;
  const size_t starts[] = {0, 1, 4095, 4096, 4097, 6000, 8191, 8192, 12287};
  const size_t sizes[] = {1, 2, 4095, 4096, 4097, 9000};
  char data[9000], old[24576];
  file_model model = {NULL, 0, 0};
  test_pattern(old, sizeof old, 4);
  file_put(rig->path, old, sizeof old);
  file_model_put(&model, 0, old, sizeof old);
  file_rig_open(rig, O_WRONLY);
  for (size_t s = 0; s < sizeof starts / sizeof starts[0]; ++s)
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
      test_pattern(data, sizes[i], (unsigned)(s * 10 + i));
      assert_int_equal(bw_seek(rig->bw, (int64_t)starts[s], SEEK_SET), starts[s]);
      assert_int_equal(bw_append(rig->bw, data, sizes[i]), starts[s]);
      file_model_put(&model, starts[s], data, sizes[i]);
      if (i % 2) {
        assert_int_equal(bw_flush(rig->bw), 0);
        assert_true(file_has(rig->path, model.bytes, model.size));
      }
    }
  file_rig_close(rig);
  assert_true(file_has(rig->path, model.bytes, model.size));
  free(model.bytes);
}

static void test_seek__flushes_first_and_counts_from_anywhere(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
  assert_int_equal(bw_seek(rig->bw, -4, SEEK_CUR), 6);
  assert_true(file_has(rig->path, "0123456789", 10));
  assert_int_equal(bw_append(rig->bw, "six", 3), 6);
  assert_int_equal(bw_seek(rig->bw, -1, SEEK_END), 9);
  assert_int_equal(bw_append(rig->bw, "end", 3), 9);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_CUR), 12);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_END), 12);
  assert_true(file_has(rig->path, "012345sixend", 12));
  file_rig_close(rig);
}

static void test_seek__that_makes_no_sense_moves_nothing(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
  assert_int_equal(bw_seek(rig->bw, -1, SEEK_SET), -EINVAL);
  assert_int_equal(bw_seek(rig->bw, -11, SEEK_CUR), -EINVAL);
  assert_int_equal(bw_seek(rig->bw, -11, SEEK_END), -EINVAL);
  assert_int_equal(bw_seek(rig->bw, 0, 77), -EINVAL);
  assert_int_equal(bw_seek(rig->bw, INT64_MAX, SEEK_CUR), -EOVERFLOW);
  assert_int_equal(bw_tell(rig->bw), 10);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "0123456789abc", 13));
}

static void test_seek__past_the_end_leaves_a_hole(void **state) {
  file_rig *rig = *state;
  const size_t starts[] = {5000, 12288, 30000, 65536 + 4095};
  file_model model = {NULL, 0, 0};
  char data[5000];
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (size_t i = 0; i < sizeof starts / sizeof starts[0]; ++i) {
    const size_t before = model.size;
    test_pattern(data, sizeof data, (unsigned)i);
    assert_int_equal(bw_seek(rig->bw, (int64_t)starts[i], SEEK_SET), starts[i]);
    assert_int_equal(file_size(rig->path), before); /* only writing makes it longer */
    assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
    file_model_put(&model, starts[i], data, sizeof data);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_true(file_has(rig->path, model.bytes, model.size));
  }
  file_rig_close(rig);
  assert_true(file_has(rig->path, model.bytes, model.size));
  free(model.bytes);
}

static void test_seek__to_data_and_holes_is_the_kernels(void **state) {
  file_rig *rig = *state;
  char data[4096];
  test_pattern(data, sizeof data, 5);
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_seek(rig->bw, 1 << 20, SEEK_SET), 1 << 20);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  assert_int_equal(bw_sync(rig->bw), 0);
  const int fd = open(rig->path, O_RDONLY | O_CLOEXEC);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_DATA), lseek(fd, 0, SEEK_DATA));
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_HOLE), lseek(fd, 0, SEEK_HOLE));
  assert_int_equal(bw_seek(rig->bw, 1 << 20, SEEK_HOLE), lseek(fd, 1 << 20, SEEK_HOLE));
  assert_int_equal(bw_seek(rig->bw, 2 << 20, SEEK_DATA), -ENXIO);
  close(fd);
  file_rig_close(rig);
}

static void test_seek__beyond_5_gib_writes_there_and_takes_no_space_before(void **state) {
  file_rig *rig = *state;
  const int64_t starts[] = {(INT64_C(1) << 31) - 1, (INT64_C(1) << 32) - 3, 5 * kGiB - 4097, 5 * kGiB + 123};
  char data[20000];
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (size_t i = 0; i < sizeof starts / sizeof starts[0]; ++i) {
    test_pattern(data, sizeof data, (unsigned)i);
    assert_int_equal(bw_seek(rig->bw, starts[i], SEEK_SET), starts[i]);
    assert_int_equal(bw_append(rig->bw, data, 1), starts[i]);
    assert_int_equal(bw_append(rig->bw, data + 1, sizeof data - 1), starts[i] + 1);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_int_equal(bw_tell(rig->bw), starts[i] + (int64_t)sizeof data);
    assert_true(bw_position(rig->bw, BW_WRITTEN) == starts[i] + (int64_t)sizeof data);
  }
  assert_true(file_blocks(rig->path) < 2 * kGiB); /* holes are not filled; some space may be reserved ahead */
  file_rig_close(rig);
  assert_true(file_size(rig->path) == 5 * kGiB + 123 + (int64_t)sizeof data);
  assert_true(file_blocks(rig->path) < 1 << 20); /* what was reserved ahead is given back, inside the file too */
  for (size_t i = 0; i < sizeof starts / sizeof starts[0]; ++i) {
    test_pattern(data, sizeof data, (unsigned)i);
    const size_t length = i == 2 ? 4097 + 123 : sizeof data; /* the last one begins where that one goes on */
    assert_true(file_has_at(rig->path, starts[i], data, length));
  }
}

static void test_seek__no_position_passes_the_largest(void **state) {
  file_rig *rig = *state;
  bw_span_t span;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_true(bw_seek(rig->bw, INT64_MAX, SEEK_SET) == INT64_MAX);
  assert_true(bw_tell(rig->bw) == INT64_MAX);
  assert_int_equal(bw_write(rig->bw, "a", 1), -EOVERFLOW);
  assert_int_equal(bw_append(rig->bw, "a", 1), -EOVERFLOW);
  assert_int_equal(bw_reserve(rig->bw, 1, &span), -EOVERFLOW);
  assert_int_equal(bw_write(rig->bw, "", 0), 0);
  assert_true(bw_seek(rig->bw, INT64_MAX - 10, SEEK_SET) == INT64_MAX - 10);
  assert_int_equal(bw_write(rig->bw, "0123456789a", 11), -EOVERFLOW);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_SET), 0);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "abc", 3));
}

static void test_seek__moves_what_is_durable(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 10);
  assert_int_equal(bw_seek(rig->bw, 4, SEEK_SET), 4);
  assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), 4);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 4);
  assert_true(bw_position(rig->bw, BW_DURABLE) <= 4);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 4);
  assert_int_equal(bw_seek(rig->bw, 100, SEEK_SET), 100);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 100);
  assert_true(bw_position(rig->bw, BW_DURABLE) <= 4);
  assert_int_equal(bw_write(rig->bw, "x", 1), 1);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 101);
  file_rig_close(rig);
}

static void test_seek__answers_those_who_wait_beyond_it(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
    test_thread thread;
    test_call call = {.bw = rig->bw, .position = 100, .level = level, .timeout_us = -1};
    test_thread_start(&thread, test_call_wait, &call);
    assert_false(test_thread_settle(&thread));
    assert_int_equal(bw_seek(rig->bw, level, SEEK_SET), level);
    assert_int_equal(test_thread_join(&thread), -ECANCELED);
  }
  file_rig_close(rig);
}

static void test_seek__a_remembered_one_is_done_by_the_poll(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 10); /* none is remembered */
  assert_int_equal(bw_start_seek(rig->bw, 3, SEEK_SET), 0);
  assert_int_equal(bw_start_seek(rig->bw, 5, SEEK_SET), 0);
  assert_int_equal(bw_tell(rig->bw), 10);
  int64_t answer;
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  for (int polls = 1; (answer = bw_poll_seek(rig->bw, &wake)) == -EAGAIN; ++polls)
    assert_true(file_rig_await_waker(rig, &waker, polls));
  assert_int_equal(answer, 5);
  assert_true(file_has(rig->path, "0123456789", 10));
  assert_int_equal(bw_append(rig->bw, "five", 4), 5);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "01234five9", 10));
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void test_read__flushes_reads_where_the_writer_stands_and_moves_on(void **state) {
  file_rig *rig = *state;
  char data[10000], found[10000];
  test_pattern(data, sizeof data, 6);
  file_put(rig->path, data, sizeof data);
  file_rig_open(rig, O_RDWR);
  assert_int_equal(bw_read(rig->bw, found, 5000), 5000);
  assert_memory_equal(found, data, 5000);
  assert_int_equal(bw_tell(rig->bw), 5000);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 5000);
  assert_int_equal(bw_write(rig->bw, "here", 4), 4);
  memcpy(data + 5000, "here", 4);
  assert_int_equal(bw_read(rig->bw, found, 100), 100);
  assert_true(file_has(rig->path, data, sizeof data));
  assert_memory_equal(found, data + 5004, 100);
  assert_int_equal(bw_append(rig->bw, "there", 5), 5104);
  memcpy(data + 5104, "there", 5);
  assert_int_equal(bw_seek(rig->bw, -3, SEEK_END), 9997);
  assert_int_equal(bw_read(rig->bw, found, sizeof found), 3);
  assert_int_equal(bw_read(rig->bw, found, sizeof found), 0);
  assert_int_equal(bw_read(rig->bw, NULL, 0), 0);
  assert_int_equal(bw_tell(rig->bw), 10000);
  file_rig_close(rig);
  assert_true(file_has(rig->path, data, sizeof data));
}

static void test_read__needs_the_right_to_read(void **state) {
  file_rig *rig = *state;
  char byte;
  file_rig_open(rig, O_WRONLY | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_read(rig->bw, &byte, 1), -EBADF);
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(bw_error(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, "def", 3), 3);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "abcdef", 6));
}

/* As a plain user who may write the file and nothing else. */
static int write_without_reading(void *arg) {
  file_rig *rig = arg;
  char data[9000];
  test_pattern(data, sizeof data, 7);
  const bw_options_t options = file_rig_options(rig);
  if (geteuid() == 0) CHILD_CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
  CHILD_CHECK(open(rig->path, O_RDONLY) < 0);
  CHILD_CHECK(file_rig_try(rig, O_WRONLY, &options) == 0);
  CHILD_CHECK(bw_seek(rig->bw, 100, SEEK_SET) == 100); /* the rest of the unit is never read */
  CHILD_CHECK(bw_write(rig->bw, data, sizeof data) == (int64_t)sizeof data);
  CHILD_CHECK(bw_flush(rig->bw) == 0);
  CHILD_CHECK(bw_write(rig->bw, "end", 3) == 3);
  CHILD_CHECK(bw_close(rig->bw) == 0);
  bw_free(rig->bw);
  return 0;
}

static void test_read__no_right_to_read_is_needed_to_write_anywhere(void **state) {
  file_rig *rig = *state;
  char data[10000];
  test_pattern(data, sizeof data, 8);
  file_put(rig->path, data, sizeof data);
  assert_int_equal(chmod(rig->path, 0222), 0);
  assert_int_equal(chmod(rig->directory, 0777), 0);
  assert_int_equal(file_in_child(write_without_reading, rig), 0);
  assert_int_equal(chmod(rig->path, 0666), 0);
  test_pattern(data + 100, 9000, 7);
  memcpy(data + 9100, "end", 3);
  assert_true(file_has(rig->path, data, sizeof data));
}

/* ---- O_APPEND -------------------------------------------------------------------------------- */

static void test_append__positions_count_from_the_size_at_opening(void **state) {
  file_rig *rig = *state;
  bw_stats_t stats = BW_STATS_INIT;
  file_put(rig->path, "old", 3);
  file_rig_open(rig, O_RDWR | O_APPEND);
  assert_int_equal(bw_get_stats(rig->bw, &stats), 0);
  assert_int_equal(stats.direct, 0);
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) assert_int_equal(bw_position(rig->bw, level), 3);
  assert_int_equal(bw_tell(rig->bw), 3);
  assert_int_equal(bw_append(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(file_has(rig->path, "oldabc", 6));

  /* Somebody else's bytes do not count. */
  const int other = open(rig->path, O_WRONLY | O_APPEND | O_CLOEXEC);
  assert_int_equal(write(other, "other", 5), 5);
  assert_int_equal(bw_tell(rig->bw), 6);
  assert_int_equal(bw_append(rig->bw, "def", 3), 6);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 9);
  assert_true(file_has(rig->path, "oldabcotherdef", 14));
  close(other);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "oldabcotherdef", 14));
}

static void test_append__seeks_move_only_where_it_reads(void **state) {
  file_rig *rig = *state;
  char found[16];
  file_put(rig->path, "0123456789", 10);
  file_rig_open(rig, O_RDWR | O_APPEND);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_seek(rig->bw, 4, SEEK_SET), 4);
  assert_true(file_has(rig->path, "0123456789abc", 13)); /* it flushes */
  assert_int_equal(bw_tell(rig->bw), 13);
  assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 13);
  assert_int_equal(bw_read(rig->bw, found, 3), 3);
  assert_memory_equal(found, "456", 3);
  assert_int_equal(bw_tell(rig->bw), 13);
  assert_int_equal(bw_append(rig->bw, "def", 3), 13);
  assert_int_equal(bw_read(rig->bw, found, 3), 3);
  assert_memory_equal(found, "789", 3);
  assert_int_equal(bw_seek(rig->bw, 0, SEEK_CUR), 10);
  assert_int_equal(bw_seek(rig->bw, -2, SEEK_END), 14);
  assert_int_equal(bw_read(rig->bw, found, sizeof found), 2);
  assert_memory_equal(found, "ef", 2);
  assert_int_equal(bw_start_seek(rig->bw, 1, SEEK_SET), 0);
  assert_int_equal(bw_poll_seek(rig->bw, NULL), 1);
  assert_int_equal(bw_tell(rig->bw), 16);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "0123456789abcdef", 16));
}

enum { kAppends = 200, kAppendMost = 3000 };

/* Appends pieces whose bytes all have the top bit as `top` says; flushes after each. */
static int append_pieces(bw_t *bw, unsigned char top, unsigned seed) {
  unsigned char piece[kAppendMost];
  uint64_t random = seed;
  for (unsigned i = 0; i < kAppends; ++i) {
    const size_t length = (size_t)(test_random(&random) % kAppendMost) + 1;
    test_pattern(piece, length, seed + i);
    for (size_t at = 0; at < length; ++at) piece[at] = (unsigned char)((piece[at] & 0x7f) | top);
    CHILD_CHECK(bw_write(bw, piece, length) == (int64_t)length);
    if (i % 3 == 0) CHILD_CHECK(bw_flush(bw) == 0);
  }
  return 0;
}

/* What append_pieces() writes. */
static void expect_pieces(file_model *model, unsigned char top, unsigned seed) {
  unsigned char piece[kAppendMost];
  uint64_t random = seed;
  for (unsigned i = 0; i < kAppends; ++i) {
    const size_t length = (size_t)(test_random(&random) % kAppendMost) + 1;
    test_pattern(piece, length, seed + i);
    for (size_t at = 0; at < length; ++at) piece[at] = (unsigned char)((piece[at] & 0x7f) | top);
    file_model_put(model, model->size, piece, length);
  }
}

/* The bytes with this top bit, in their order, must be the model. */
static void check_pieces(const char *path, const file_model *model, unsigned char top) {
  const int64_t size = file_size(path);
  unsigned char *found = malloc((size_t)size);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_int_equal(pread(fd, found, (size_t)size, 0), size);
  size_t count = 0;
  for (int64_t i = 0; i < size; ++i)
    if ((found[i] & 0x80) == top) found[count++] = found[i];
  assert_int_equal(count, model->size);
  assert_memory_equal(found, model->bytes, count);
  close(fd);
  free(found);
}

static int append_in_child(void *arg) {
  file_rig *rig = arg;
  const bw_options_t options = file_rig_options(rig);
  CHILD_CHECK(file_rig_try(rig, O_WRONLY | O_APPEND, &options) == 0);
  if (append_pieces(rig->bw, 0x80, 2)) return 1;
  CHILD_CHECK(bw_close(rig->bw) == 0);
  bw_free(rig->bw);
  return 0;
}

static void test_append__two_processes_lose_nothing(void **state) {
  file_rig *rig = *state;
  file_model ours = {NULL, 0, 0}, theirs = {NULL, 0, 0};
  expect_pieces(&ours, 0, 1);
  expect_pieces(&theirs, 0x80, 2);
  file_put(rig->path, "", 0);
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    alarm(2 * TEST_BOUND_S);
    _exit(append_in_child(rig));
  }
  file_rig_open(rig, O_WRONLY | O_APPEND);
  assert_int_equal(append_pieces(rig->bw, 0, 1), 0);
  file_rig_close(rig);
  int status = -1;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  assert_int_equal(file_size(rig->path), ours.size + theirs.size);
  check_pieces(rig->path, &ours, 0);
  check_pieces(rig->path, &theirs, 0x80);
  free(ours.bytes);
  free(theirs.bytes);
}

static void test_append__two_writers_of_one_process_lose_nothing(void **state) {
  file_rig *rig = *state;
  bw_t *second = NULL;
  const bw_options_t options = file_rig_options(rig);
  file_model expected = {NULL, 0, 0};
  file_rig_open(rig, O_WRONLY | O_CREAT | O_APPEND);
  assert_int_equal(bw_open(&second, rig->path, O_WRONLY | O_APPEND, 0, &options), 0);
  for (unsigned i = 0; i < 60; ++i) {
    unsigned char piece[2000];
    const size_t length = 1 + i * 33;
    test_pattern(piece, length, i);
    bw_t *bw = i % 2 ? second : rig->bw;
    assert_int_equal(bw_write(bw, piece, length), length);
    assert_int_equal(bw_flush(bw), 0);
    file_model_put(&expected, expected.size, piece, length);
  }
  assert_true(file_has(rig->path, expected.bytes, expected.size));
  assert_int_equal(bw_close(second), 0);
  bw_free(second);
  file_rig_close(rig);
  assert_true(file_has(rig->path, expected.bytes, expected.size));
  free(expected.bytes);
}

/* ---- Disk space ------------------------------------------------------------------------------ */

static void test_space__reserved_ahead_is_given_back(void **state) {
  file_rig *rig = *state;
  const uint64_t steps[] = {0, 1, 1 << 20, 3 << 20, UINT64_MAX};
  char data[5000];
  test_pattern(data, sizeof data, 9);
  const int fd = open(rig->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  const bool can = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
  close(fd);
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; ++i)
    for (int closes = 0; closes < 2; ++closes) {
      bw_options_t options = file_rig_options(rig);
      options.preallocate = steps[i];
      assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT | O_TRUNC, &options), 0);
      assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
      assert_int_equal(bw_sync(rig->bw), 0);
      assert_true(file_has(rig->path, data, sizeof data));
      if (can && (steps[i] == 1 << 20 || steps[i] == 3 << 20)) assert_true(file_blocks(rig->path) >= (int64_t)steps[i]);
      if (steps[i] == UINT64_MAX) assert_true(file_blocks(rig->path) <= 2 * 8192);
      if (closes)
        file_rig_close(rig);
      else
        file_rig_free(rig);
      assert_true(file_blocks(rig->path) <= 2 * 8192);
      assert_true(file_has(rig->path, data, sizeof data));
    }
}

static void test_space__more_than_there_are_positions_is_not_reserved(void **state) {
  file_rig *rig = *state;
  static char data[100000];
  bw_options_t options = file_rig_options(rig);
  options.preallocate = INT64_MAX;
  test_pattern(data, sizeof data, 3);
  assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, &options), 0);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(file_has(rig->path, data, sizeof data));
  assert_true(file_blocks(rig->path) < 1 << 20);
  file_rig_close(rig);
  assert_true(file_has(rig->path, data, sizeof data));
}

static void test_space__a_file_that_others_made_longer_keeps_their_bytes(void **state) {
  file_rig *rig = *state;
  bw_options_t options = file_rig_options(rig);
  options.preallocate = 1 << 20;
  assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, &options), 0);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_flush(rig->bw), 0);
  const int fd = open(rig->path, O_WRONLY | O_CLOEXEC);
  assert_int_equal(pwrite(fd, "others", 6, 3), 6);
  close(fd);
  file_rig_close(rig);
  assert_true(file_has(rig->path, "abcothers", 9));
}

/* ---- Everything at once, against a model ----------------------------------------------------- */

struct mix {
  file_rig *rig;
  file_model model;
  size_t at; /* where the writer stands */
  uint64_t random;
  unsigned pieces;
};

static size_t draw(struct mix *mix, size_t most) {
  return (size_t)(test_random(&mix->random) % (most + 1));
}

/* A length: tiny, about a unit, about a buffer, or anything up to a few buffers. */
static size_t draw_length(struct mix *mix) {
  const size_t capacity = file_rig_capacity(mix->rig) > 65536 ? 65536 : file_rig_capacity(mix->rig);
  switch (draw(mix, 3)) {
    case 0:
      return draw(mix, 20);
    case 1:
      return 4096 - 3 + draw(mix, 6);
    case 2:
      return capacity - 3 + draw(mix, 6);
    default:
      return draw(mix, 3 * capacity);
  }
}

static void mix_put(struct mix *mix, char *data, size_t length) {
  bw_t *bw = mix->rig->bw;
  const size_t cut = draw(mix, length);
  const struct iovec parts[2] = {{data, cut}, {data + cut, length - cut}};
  test_pattern(data, length, ++mix->pieces);
  switch (draw(mix, 3)) {
    case 0:
      assert_int_equal(bw_write(bw, data, length), length);
      break;
    case 1:
      assert_int_equal(bw_writev(bw, parts, 2), length);
      break;
    case 2:
      assert_int_equal(bw_append(bw, data, length), mix->at);
      break;
    default:
      assert_int_equal(bw_appendv(bw, parts, 2), mix->at);
  }
  file_model_put(&mix->model, mix->at, data, length);
  mix->at += length;
}

static void mix_span(struct mix *mix) {
  bw_span_t span;
  const size_t length = draw(mix, file_rig_capacity(mix->rig) - 1) + 1;
  assert_int_equal(bw_reserve(mix->rig->bw, length, &span), 0);
  assert_int_equal(span.position, mix->at);
  const size_t used = mix->rig->way.flags & BW_UNSHARED ? draw(mix, length) : length;
  test_pattern(span.data, used, ++mix->pieces);
  file_model_put(&mix->model, mix->at, span.data, used);
  assert_int_equal(bw_commit(mix->rig->bw, &span, used), 0);
  mix->at += used;
}

static void mix_seek(struct mix *mix) {
  const size_t to = draw(mix, mix->model.size + 6000);
  const int64_t from[] = {0, (int64_t)mix->at, (int64_t)mix->model.size};
  const int whences[] = {SEEK_SET, SEEK_CUR, SEEK_END};
  const size_t way = draw(mix, 2);
  assert_int_equal(bw_seek(mix->rig->bw, (int64_t)to - from[way], whences[way]), to);
  mix->at = to;
}

static void mix_read(struct mix *mix, char *data, size_t length) {
  const size_t left = mix->model.size > mix->at ? mix->model.size - mix->at : 0;
  const size_t expected = length < left ? length : left;
  assert_int_equal(bw_read(mix->rig->bw, data, length), expected);
  assert_memory_equal(data, mix->model.bytes + mix->at, expected);
  mix->at += expected;
}

static void mix_reopen(struct mix *mix) {
  file_rig_close(mix->rig);
  file_rig_open(mix->rig, O_RDWR);
  mix->at = 0;
}

static void test_mix__any_sequence_leaves_what_the_model_says(void **state) {
  file_rig *rig = *state;
  struct mix mix = {.rig = rig, .random = 4711};
  char *data = malloc(4 << 16);
  file_model_put(&mix.model, 0, "first", 5);
  file_put(rig->path, "first", 5);
  file_rig_open(rig, O_RDWR);
  for (int step = 0; step < 250; ++step) {
    const size_t choice = draw(&mix, 19);
    if (choice < 9)
      mix_put(&mix, data, draw_length(&mix));
    else if (choice < 11)
      mix_span(&mix);
    else if (choice < 14)
      mix_seek(&mix);
    else if (choice < 15)
      mix_read(&mix, data, draw(&mix, 10000));
    else if (choice < 16 && step % 5 == 0)
      mix_reopen(&mix);
    else if (choice < 17)
      assert_int_equal(bw_sync(rig->bw), 0);
    else
      assert_int_equal(bw_flush(rig->bw), 0);
    assert_int_equal(bw_tell(rig->bw), mix.at);
    if (choice >= 16) assert_true(file_has(rig->path, mix.model.bytes, mix.model.size));
    if (mix.model.size > 1 << 20) mix.at = (size_t)bw_seek(rig->bw, 0, SEEK_SET);
  }
  file_rig_close(rig);
  assert_true(file_has(rig->path, mix.model.bytes, mix.model.size));
  free(mix.model.bytes);
  free(data);
}

int main(int argc, char **argv) {
  static const file_test tests[] = {
      FILE_TEST(test_begin__positions_are_offsets_from_the_start, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_begin__a_file_of_any_size_can_be_gone_on_with, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_begin__an_empty_file_stays_empty, FILE_WAYS),
      FILE_TEST(test_seek__overwrites_in_the_middle_and_nothing_else, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_seek__flushes_first_and_counts_from_anywhere, FILE_WAYS),
      FILE_TEST(test_seek__that_makes_no_sense_moves_nothing, FILE_WAYS),
      FILE_TEST(test_seek__past_the_end_leaves_a_hole, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_seek__to_data_and_holes_is_the_kernels, FILE_WAYS),
      FILE_TEST(test_seek__beyond_5_gib_writes_there_and_takes_no_space_before, FILE_WAYS),
      FILE_TEST(test_seek__no_position_passes_the_largest, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_seek__moves_what_is_durable, FILE_WAYS),
      FILE_TEST(test_seek__answers_those_who_wait_beyond_it, FILE_ENGINES | FILE_CACHES | FILE_DRIVERS),
      FILE_TEST(test_seek__a_remembered_one_is_done_by_the_poll, FILE_WAYS),
      FILE_TEST(test_read__flushes_reads_where_the_writer_stands_and_moves_on, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_read__needs_the_right_to_read, FILE_WAYS),
      FILE_TEST(test_read__no_right_to_read_is_needed_to_write_anywhere, FILE_WAYS),
      FILE_TEST(test_append__positions_count_from_the_size_at_opening, FILE_WAYS),
      FILE_TEST(test_append__seeks_move_only_where_it_reads, FILE_WAYS),
      FILE_TEST(test_append__two_processes_lose_nothing, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_append__two_writers_of_one_process_lose_nothing, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_space__reserved_ahead_is_given_back, FILE_WAYS),
      FILE_TEST(test_space__a_file_that_others_made_longer_keeps_their_bytes, FILE_WAYS),
      FILE_TEST(test_space__more_than_there_are_positions_is_not_reserved, FILE_ENGINES | FILE_CACHES),
      FILE_TEST(test_mix__any_sequence_leaves_what_the_model_says, FILE_WAYS | FILE_SHAPES),
  };
  return FILE_TESTS_RUN("file_position", tests, argc, argv);
}
