/*
 * bw_batch_to_writer: items and a separator as whole appends, over writers of every kind.
 */
#include <fcntl.h>
#include <unistd.h>

#include "../support/batch_rig.h"
#include "../support/rig.h"

/* A batcher over the writer `bw`; what it delivers goes to `rig`. */
static void open_log(batch_rig *rig, void **state, bw_t *bw, const char *separator, uint64_t max_items) {
  bw_batch_options_t options = batch_rig_options(rig, BATCH_FLAGS(state));
  options.max_items = max_items;
  assert_int_equal(bw_batch_to_writer(&rig->batch, bw, separator, &options), 0);
}

#define WRITER(...) RIG(RIG_PLAIN, __VA_ARGS__)

static bool sink_holds(test_rig *writer, const char *text) {
  return test_sink_holds(&writer->sink, text, strlen(text));
}

static const uint32_t kWriterFlags[] = {0, BW_BACKGROUND};

static void test_batch_writer__each_item_gets_the_separator(void **state) {
  for (size_t i = 0; i < 2; ++i) {
    test_rig *writer = WRITER(.capacity = 64, .flags = kWriterFlags[i]);
    batch_rig *rig = batch_rig_empty();
    char separator[3] = "\r\n";
    open_log(rig, state, writer->bw, separator, 2);
    memset(separator, 'x', 2); /* it is copied */
    assert_int_equal(batch_rig_send(rig, "one,,three"), 0);
    assert_int_equal(bw_batch_flush(rig->batch), 0);
    assert_delivered(rig, "one,,three:ok");
    assert_true(sink_holds(writer, "one\r\n\r\nthree\r\n"));
    batch_rig_free(rig);
    test_rig_free(writer);
  }
}

static void test_batch_writer__without_separator_items_follow_each_other(void **state) {
  static const char *const none[] = {NULL, ""};
  for (size_t i = 0; i < 2; ++i) {
    test_rig *writer = WRITER(.capacity = 64);
    batch_rig *rig = batch_rig_empty();
    open_log(rig, state, writer->bw, none[i], 2);
    assert_int_equal(batch_rig_send(rig, "one,two,three"), 0);
    assert_int_equal(bw_batch_flush(rig->batch), 0);
    assert_true(sink_holds(writer, "onetwothree"));
    batch_rig_free(rig);
    test_rig_free(writer);
  }
}

static void test_batch_writer__delivered_means_accepted_by_the_writer(void **state) {
  test_rig *writer = WRITER(.capacity = 64);
  batch_rig *rig = batch_rig_empty();
  open_log(rig, state, writer->bw, "\n", 2);
  assert_int_equal(batch_rig_send(rig, "a,b"), 0);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_delivered(rig, "a,b:ok");
  assert_int_equal(bw_tell(writer->bw), 4);
  assert_int_equal(writer->sink.length, 0);
  batch_rig_free(rig);
  test_rig_free(writer);
}

static void test_batch_writer__the_writer_is_never_closed(void **state) {
  test_rig *writer = WRITER(.capacity = 64);
  batch_rig *rig = batch_rig_empty();
  open_log(rig, state, writer->bw, "\n", 9);
  assert_int_equal(batch_rig_send(rig, "a"), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  batch_rig_free(rig);
  assert_int_equal(test_sink_count(&writer->sink, TEST_SINK_CLOSE), 0);
  assert_int_equal(bw_write(writer->bw, "b", 1), 1);
  assert_int_equal(bw_flush(writer->bw), 0);
  assert_true(sink_holds(writer, "a\nb"));
  test_rig_free(writer);
}

static void test_batch_writer__a_sink_not_ready_stops_it_at_the_first_item_not_accepted(void **state) {
  test_rig *writer = WRITER(.capacity = 8);
  batch_rig *rig = batch_rig_empty();
  batch_call call = {.rig = rig};
  test_thread flushing;
  test_sink_always(&writer->sink, TEST_SINK_WRITE, -EAGAIN);
  open_log(rig, state, writer->bw, "\n", 4);
  assert_int_equal(batch_rig_send(rig, "abc,def,ghi,jkl"), 0);
  test_thread_start(&flushing, batch_call_flush, &call);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_false(test_thread_settle(&flushing));
  assert_delivered(rig, "abc,def:ok");
  test_sink_always(&writer->sink, TEST_SINK_WRITE, INT64_MIN);
  assert_int_equal(bw_wake(writer->bw), 0);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_delivered(rig, "abc,def,ghi,jkl:ok");
  assert_true(sink_holds(writer, "abc\ndef\nghi\njkl\n"));
  batch_rig_free(rig);
  test_rig_free(writer);
}

static void test_batch_writer__a_sink_ready_now_and_then_gets_everything_once(void **state) {
  enum { kItems = 200 };
  for (size_t i = 0; i < 2; ++i) {
    test_rig *writer = WRITER(.capacity = 16, .flags = kWriterFlags[i]);
    batch_rig *rig = batch_rig_empty();
    char *text = NULL, item[16];
    size_t length = 0;
    FILE *expected = open_memstream(&text, &length);
    for (int turn = 0; turn < 100; ++turn) TEST_SINK_SCRIPT(&writer->sink, TEST_SINK_WRITE, -EAGAIN, 3, -EINTR, 9);
    open_log(rig, state, writer->bw, "\n", 7);
    for (int number = 0; number < kItems; ++number) {
      snprintf(item, sizeof item, "%d", number);
      fprintf(expected, "%s\n", item);
      while (batch_rig_start_send(rig, item) == -EAGAIN) {
        (void)bw_batch_poll_ready(rig->batch, NULL);
        assert_int_equal(bw_wake(writer->bw), 0);
        test_pause();
      }
    }
    fclose(expected);
    int code;
    while ((code = bw_batch_poll_flush(rig->batch, NULL)) == -EAGAIN) {
      assert_int_equal(bw_wake(writer->bw), 0);
      test_pause();
    }
    assert_int_equal(code, 0);
    assert_true(test_sink_holds(&writer->sink, text, length));
    assert_int_equal(batch_rig_stats(rig).total_items, kItems);
    assert_int_equal(batch_rig_stats(rig).retries, 0);
    free(text);
    batch_rig_free(rig);
    test_rig_free(writer);
  }
}

static void test_batch_writer__an_item_longer_than_all_buffers_goes_whole(void **state) {
  for (size_t i = 0; i < 2; ++i) {
    test_rig *writer = WRITER(.capacity = 8, .buffers = 2, .flags = kWriterFlags[i]);
    batch_rig *rig = batch_rig_empty();
    open_log(rig, state, writer->bw, "\n", 3);
    assert_int_equal(batch_rig_send(rig, "a,0123456789012345678901234567890123456789,b"), 0);
    assert_int_equal(bw_batch_flush(rig->batch), 0);
    assert_true(sink_holds(writer, "a\n0123456789012345678901234567890123456789\nb\n"));
    batch_rig_free(rig);
    test_rig_free(writer);
  }
}

static void test_batch_writer__a_writer_that_fails_gets_the_rest_again(void **state) {
  test_rig *writer = WRITER(.capacity = 8);
  batch_rig *rig = batch_rig_empty();
  TEST_SINK_SCRIPT(&writer->sink, TEST_SINK_WRITE, -EIO);
  open_log(rig, state, writer->bw, "\n", 4);
  assert_int_equal(batch_rig_send(rig, "abc,def,ghi,jkl"), 0);
  assert_true(batch_rig_await_error(rig, -EIO));
  assert_delivered(rig, "abc,def:ok");
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "abc,def,ghi,jkl:ok");
  assert_true(sink_holds(writer, "abc\ndef\nghi\njkl\n"));
  batch_rig_free(rig);
  test_rig_free(writer);
}

static void test_batch_writer__a_writer_that_holds_an_error_is_written_after_resume(void **state) {
  test_rig *writer = WRITER(.capacity = 8, .buffers = 2, .flags = BW_BACKGROUND);
  batch_rig *rig = batch_rig_empty();
  TEST_SINK_SCRIPT(&writer->sink, TEST_SINK_WRITE, -ENOSPC);
  open_log(rig, state, writer->bw, "\n", 4);
  assert_int_equal(batch_rig_send(rig, "abc,def,ghi,jkl"), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -ENOSPC);
  assert_int_equal(bw_batch_flush(rig->batch), -ENOSPC);
  assert_int_equal(bw_resume(writer->bw), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "abc,def,ghi,jkl:ok");
  assert_true(sink_holds(writer, "abc\ndef\nghi\njkl\n"));
  batch_rig_free(rig);
  test_rig_free(writer);
}

static void test_batch_writer__over_a_lane_items_arrive_whole(void **state) {
  test_rig *writer = WRITER(.capacity = 64, .flags = BW_BACKGROUND);
  batch_rig *rig = batch_rig_empty();
  bw_t *lane = NULL;
  assert_int_equal(bw_lane(&lane, writer->bw, NULL), 0);
  open_log(rig, state, lane, "\n", 2);
  assert_int_equal(batch_rig_send(rig, "abc,def,ghi"), 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  batch_rig_free(rig);
  assert_int_equal(bw_close(lane), 0);
  bw_free(lane);
  assert_int_equal(bw_flush(writer->bw), 0);
  assert_true(sink_holds(writer, "abc\ndef\nghi\n"));
  test_rig_free(writer);
}

static void test_batch_writer__over_a_file(void **state) {
  enum { kItems = 5000 };
  char path[] = "/tmp/bw-batch-XXXXXX", item[16], line[16];
  const int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  batch_rig *rig = batch_rig_empty();
  bw_t *file = NULL;
  const bw_options_t options = {.size = sizeof options, .capacity = 4096, .buffers = 2};
  assert_int_equal(bw_open(&file, path, O_WRONLY | O_TRUNC, 0600, &options), 0);
  open_log(rig, state, file, "\n", 100);
  for (int i = 0; i < kItems; ++i) {
    snprintf(item, sizeof item, "%d", i);
    assert_int_equal(batch_rig_send(rig, item), 0);
  }
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  FILE *written = fopen(path, "r");
  int count = 0, wrong = 0;
  while (fgets(line, sizeof line, written)) wrong += atoi(line) != count++;
  fclose(written);
  unlink(path);
  assert_int_equal(wrong, 0);
  assert_int_equal(count, kItems);
  batch_rig_free(rig);
  assert_int_equal(bw_close(file), 0);
  bw_free(file);
}

/* ---- A writer that others write to ----------------------------------------------------------- */

enum { kOthers = 3, kEach = 2000 };

struct other {
  test_rig *writer;
  batch_rig *rig;
  char name;
};

/* Lines of their own, by appends or as items. */
static int64_t write_lines(void *arg) {
  const struct other *other = arg;
  char line[32];
  for (int i = 0; i < kEach; ++i) {
    const int length = snprintf(line, sizeof line, "%c%d\n", other->name, i);
    const int64_t code = other->rig ? bw_batch_send(other->rig->batch, line, (size_t)length - 1)
                                    : bw_append(other->writer->bw, line, (size_t)length);
    if (code < 0) return code;
  }
  return 0;
}

/* True if there are nothing but whole lines, each name's in order. */
static bool lines_are_whole(test_rig *writer, int names) {
  int next[26] = {0}, lines = 0;
  bool right = true;
  size_t length;
  char *text = test_sink_bytes(&writer->sink, &length), *at = text, *const end = text + length;
  while (right && at < end) {
    char expected[32];
    const int name = at[0] - 'a';
    right = name >= 0 && name < names;
    if (!right) break;
    const int size = snprintf(expected, sizeof expected, "%c%d\n", at[0], next[name]++);
    right = end - at >= size && memcmp(at, expected, (size_t)size) == 0;
    at += size;
    ++lines;
  }
  free(text);
  return right && lines == names * kEach;
}

static void test_batch_writer__items_are_never_torn_on_a_shared_writer(void **state) {
  for (size_t i = 0; i < 2; ++i) {
    test_rig *writer = WRITER(.capacity = 64, .buffers = 2, .flags = kWriterFlags[i]);
    batch_rig *rig = batch_rig_empty();
    struct other others[2 * kOthers];
    test_thread threads[2 * kOthers];
    const int names = BATCH_IS_UNSHARED(state) ? kOthers + 1 : 2 * kOthers;
    open_log(rig, state, writer->bw, "\n", 10);
    for (int j = 0; j < names; ++j) {
      others[j] = (struct other){writer, j < kOthers ? NULL : rig, (char)('a' + j)};
      test_thread_start(&threads[j], write_lines, &others[j]);
    }
    for (int j = 0; j < names; ++j) assert_int_equal(test_thread_join(&threads[j]), 0);
    assert_int_equal(bw_batch_flush(rig->batch), 0);
    assert_int_equal(bw_flush(writer->bw), 0);
    assert_true(lines_are_whole(writer, names));
    batch_rig_free(rig);
    test_rig_free(writer);
  }
}

/* ---- Misuse ---------------------------------------------------------------------------------- */

static void test_batch_writer__out_and_writer_are_needed(void **state) {
  test_rig *writer = WRITER(.capacity = 64);
  bw_batch_t *batch = (bw_batch_t *)writer;
  bw_batch_options_t options = {.size = sizeof options, .flags = 1u << 20};
  (void)state;
  assert_int_equal(bw_batch_to_writer(NULL, writer->bw, "\n", NULL), -EINVAL);
  assert_int_equal(bw_batch_to_writer(&batch, NULL, "\n", NULL), -EINVAL);
  assert_null(batch);
  batch = (bw_batch_t *)writer;
  assert_int_equal(bw_batch_to_writer(&batch, writer->bw, "\n", &options), -EINVAL);
  assert_null(batch);
  assert_int_equal(bw_batch_to_writer(&batch, writer->bw, "\n", NULL), 0);
  assert_int_equal(bw_batch_send(batch, "a", 1), 0);
  assert_int_equal(bw_batch_close(batch), 0);
  bw_batch_free(batch);
  assert_true(sink_holds(writer, "a\n"));
  test_rig_free(writer);
}

static int make_in_child(void *writer) {
  bw_batch_t *batch = writer;
  const int code = bw_batch_to_writer(&batch, writer, "\n", NULL);
  return code == -ECHILD && batch == NULL ? 0 : 1;
}

static void test_batch_writer__a_child_gets_ECHILD_for_a_writer_of_its_parent(void **state) {
  test_rig *writer = WRITER(.capacity = 64);
  (void)state;
  assert_int_equal(test_in_child(make_in_child, writer->bw), 0);
  test_rig_free(writer);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_ALL(test_batch_writer__each_item_gets_the_separator),
      IN_ALL(test_batch_writer__without_separator_items_follow_each_other),
      IN_ALL(test_batch_writer__delivered_means_accepted_by_the_writer),
      IN_ALL(test_batch_writer__the_writer_is_never_closed),
      IN_ALL(test_batch_writer__a_sink_not_ready_stops_it_at_the_first_item_not_accepted),
      IN_ALL(test_batch_writer__a_sink_ready_now_and_then_gets_everything_once),
      IN_ALL(test_batch_writer__an_item_longer_than_all_buffers_goes_whole),
      IN_ALL(test_batch_writer__a_writer_that_fails_gets_the_rest_again),
      IN_ALL(test_batch_writer__a_writer_that_holds_an_error_is_written_after_resume),
      IN_ALL(test_batch_writer__over_a_lane_items_arrive_whole),
      IN_ALL(test_batch_writer__over_a_file),
      IN_ALL(test_batch_writer__items_are_never_torn_on_a_shared_writer),
      cmocka_unit_test(test_batch_writer__out_and_writer_are_needed),
      cmocka_unit_test(test_batch_writer__a_child_gets_ECHILD_for_a_writer_of_its_parent),
  };
  return cmocka_run_group_tests_name("batch_writer", tests, NULL, NULL);
}
