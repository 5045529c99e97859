/*
 * bw_get_stats and bw_stats_json: exact numbers for scripted sequences.
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

static const uint32_t kShared = 0, kUnshared = BW_UNSHARED;
#define FLAGS(state) (*(const uint32_t *)*(state))

static bw_stats_t stats_of(bw_t *bw) {
  bw_stats_t stats;
  memset(&stats, 0xAA, sizeof stats);
  stats.size = sizeof stats;
  assert_int_equal(bw_get_stats(bw, &stats), 0);
  assert_int_equal(stats.size, sizeof stats);
  return stats;
}

static void assert_latency(const bw_latency_t *latency, uint64_t count) {
  assert_int_equal(latency->count, count);
  assert_true(latency->p50_ns <= latency->p90_ns);
  assert_true(latency->p90_ns <= latency->p99_ns);
  assert_true(latency->p99_ns <= latency->p999_ns);
  assert_true(latency->p999_ns <= latency->max_ns || count == 0);
  if (count == 0) assert_int_equal(latency->max_ns, 0);
}

/* ---- bw_get_stats ---------------------------------------------------------------------------- */

static void test_stats__a_new_writer_has_done_nothing(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .flags = FLAGS(state));
  const bw_stats_t stats = stats_of(rig->bw);
  assert_int_equal(stats.engine, 0);
  assert_int_equal(stats.accepted_bytes, 0);
  assert_int_equal(stats.written_bytes, 0);
  assert_int_equal(stats.durable_bytes, 0);
  assert_int_equal(stats.writes, 0);
  assert_int_equal(stats.sink_writes, 0);
  assert_int_equal(stats.bypasses, 0);
  assert_int_equal(stats.flushes, 0);
  assert_int_equal(stats.syncs, 0);
  assert_int_equal(stats.waits, 0);
  assert_int_equal(stats.errors, 0);
  assert_int_equal(stats.resumes, 0);
  assert_int_equal(stats.buffers, 1);
  assert_int_equal(stats.direct, 0);
  assert_int_equal(stats.registered_buffers, 0);
  assert_latency(&stats.write_wait, 0);
  assert_latency(&stats.sink_write, 0);
  assert_latency(&stats.sync, 0);
  test_rig_free(rig);
}

static void test_stats__an_inline_writer_counts_what_it_did(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .flags = FLAGS(state));
  assert_int_equal(bw_write(rig->bw, "abcd", 4), 4);
  assert_int_equal(bw_append(rig->bw, "efgh", 4), 4);
  bw_stats_t stats = stats_of(rig->bw);
  assert_int_equal(stats.accepted_bytes, 8);
  assert_int_equal(stats.written_bytes, 0);
  assert_int_equal(stats.writes, 2);
  assert_int_equal(stats.sink_writes, 0);

  assert_int_equal(bw_write(rig->bw, "i", 1), 1);                     /* sink: 8 */
  assert_int_equal(bw_write(rig->bw, "jklmnopqrstuvwxyz012", 20), 20); /* sink: 1, and 20 past the buffer */
  stats = stats_of(rig->bw);
  assert_int_equal(stats.accepted_bytes, 29);
  assert_int_equal(stats.written_bytes, 29);
  assert_int_equal(stats.durable_bytes, 0);
  assert_int_equal(stats.writes, 4);
  assert_int_equal(stats.sink_writes, 3);
  assert_int_equal(stats.bypasses, 1);
  assert_int_equal(stats.flushes, 0);

  assert_int_equal(bw_write(rig->bw, "ab", 2), 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  stats = stats_of(rig->bw);
  assert_int_equal(stats.flushes, 1);
  assert_int_equal(stats.sink_writes, 4);
  assert_int_equal(stats.syncs, 0);

  assert_int_equal(bw_sync(rig->bw), 0);
  stats = stats_of(rig->bw);
  assert_int_equal(stats.accepted_bytes, 31);
  assert_int_equal(stats.written_bytes, 31);
  assert_int_equal(stats.durable_bytes, 31);
  assert_int_equal(stats.writes, 5);
  assert_int_equal(stats.sink_writes, 4);
  assert_int_equal(stats.syncs, 1);
  assert_int_equal(stats.waits, 0);
  assert_int_equal(stats.errors, 0);
  assert_int_equal(stats.buffers, 1);
  assert_latency(&stats.sink_write, 4);
  assert_latency(&stats.sync, 1);
  assert_latency(&stats.write_wait, 0);
  test_rig_free(rig);
}

static void test_stats__every_way_to_write_counts_as_one_write(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 64, .flags = FLAGS(state));
  const struct iovec parts[2] = {{(void *)"ab", 2}, {(void *)"cd", 2}};
  bw_span_t span;
  assert_int_equal(bw_write(rig->bw, "ab", 2), 2);
  assert_int_equal(bw_writev(rig->bw, parts, 2), 4);
  assert_int_equal(bw_append(rig->bw, "ab", 2), 6);
  assert_int_equal(bw_appendv(rig->bw, parts, 2), 8);
  assert_int_equal(bw_poll_write(rig->bw, "ab", 2, NULL), 2);
  assert_int_equal(bw_poll_append(rig->bw, "ab", 2, NULL), 14);
  assert_int_equal(bw_reserve(rig->bw, 2, &span), 0);
  memcpy(span.data, "ab", 2);
  assert_int_equal(bw_commit(rig->bw, &span, 2), 0);
  const bw_stats_t stats = stats_of(rig->bw);
  assert_int_equal(stats.writes, 7);
  assert_int_equal(stats.accepted_bytes, 18);
  test_rig_free(rig);
}

static void test_stats__errors_are_counted(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .flags = FLAGS(state));
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, 2, -EIO, -ENOSPC);
  assert_int_equal(bw_write(rig->bw, "abcd", 4), 4);
  assert_int_equal(bw_flush(rig->bw), -EIO);
  assert_int_equal(stats_of(rig->bw).errors, 1);
  assert_int_equal(stats_of(rig->bw).written_bytes, 2);
  assert_int_equal(bw_flush(rig->bw), -ENOSPC);
  assert_int_equal(stats_of(rig->bw).errors, 2);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(stats_of(rig->bw).errors, 2);
  assert_int_equal(stats_of(rig->bw).written_bytes, 4);
  test_rig_free(rig);
}

static void test_stats__not_ready_is_no_error(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .flags = FLAGS(state));
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EAGAIN, -EINTR);
  assert_int_equal(bw_write(rig->bw, "abcd", 4), 4);
  assert_int_equal(bw_flush(rig->bw), -EAGAIN);
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_int_equal(stats_of(rig->bw).errors, 0);
  test_rig_free(rig);
}

static void test_stats__a_background_writer_counts_buffers_waits_and_resumes(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .buffers = 4, .flags = FLAGS(state) | BW_BACKGROUND);
  char data[100];
  test_pattern(data, sizeof data, 1);
  test_sink_hold(&rig->sink);
  assert_int_equal(bw_write(rig->bw, data, 3 * 8 + 1), 3 * 8 + 1);
  assert_true(test_sink_await_inside(&rig->sink));
  bw_stats_t stats = stats_of(rig->bw);
  assert_int_equal(stats.buffers, 4);
  assert_true(stats.buffers_in_use >= 3 && stats.buffers_in_use <= 4);
  assert_int_equal(stats.waits, 0);
  assert_int_equal(stats.accepted_bytes, 25);
  assert_int_equal(stats.written_bytes, 0);

  test_call call = {.bw = rig->bw, .data = data + 25, .length = 75};
  test_thread waiting;
  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, TEST_SINK_TAKE_ALL);
  test_thread_start(&waiting, test_call_write, &call);
  assert_false(test_thread_settle(&waiting));
  test_sink_release(&rig->sink);
  assert_int_equal(test_thread_join(&waiting), 75);
  assert_int_equal(bw_flush(rig->bw), 0);
  stats = stats_of(rig->bw);
  assert_true(stats.waits >= 1);
  assert_true(stats.write_wait.count >= 1);
  assert_true(stats.write_wait.max_ns > 0);
  assert_int_equal(stats.writes, 2);
  assert_int_equal(stats.written_bytes, 100);
  assert_int_equal(stats.sink_writes, 13); /* twelve full buffers and one of 4 bytes */
  assert_int_equal(stats.bypasses, 0);
  assert_int_equal(stats.resumes, 0);

  TEST_SINK_SCRIPT(&rig->sink, TEST_SINK_WRITE, -EIO);
  assert_int_equal(bw_write(rig->bw, data, 5), 5);
  assert_int_equal(bw_flush(rig->bw), -EIO);
  assert_int_equal(stats_of(rig->bw).errors, 1);
  assert_int_equal(bw_resume(rig->bw), 0);
  assert_int_equal(bw_flush(rig->bw), 0);
  stats = stats_of(rig->bw);
  assert_int_equal(stats.errors, 1);
  assert_int_equal(stats.resumes, 1);
  test_rig_free(rig);
}

static int64_t write_many(void *arg) {
  bw_t *bw = arg;
  int64_t wrong = 0;
  for (int i = 0; i < 5000; ++i) wrong += bw_write(bw, "0123456789", 10) != 10;
  return wrong;
}

static void test_stats__counts_of_many_threads_are_exact_once_they_are_done(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    test_rig *rig = RIG(RIG_PLAIN, .capacity = 1000, .flags = mode ? BW_BACKGROUND : 0);
    test_thread threads[4];
    for (int i = 0; i < 4; ++i) test_thread_start(&threads[i], write_many, rig->bw);
    for (int i = 0; i < 20; ++i) {
      const bw_stats_t stats = stats_of(rig->bw); /* any time: at most what there is */
      assert_true(stats.accepted_bytes <= 200000);
      assert_true(stats.writes <= 20000);
    }
    for (int i = 0; i < 4; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
    assert_int_equal(bw_flush(rig->bw), 0);
    const bw_stats_t stats = stats_of(rig->bw);
    assert_int_equal(stats.writes, 20000);
    assert_int_equal(stats.accepted_bytes, 200000);
    assert_int_equal(stats.written_bytes, 200000);
    assert_int_equal(stats.sink_writes, test_sink_count(&rig->sink, TEST_SINK_WRITE));
    test_rig_free(rig);
  }
}

static void test_stats__no_more_than_the_callers_size_is_filled_in(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .flags = FLAGS(state));
  union {
    bw_stats_t stats;
    unsigned char bytes[sizeof(bw_stats_t)];
  } old;
  const uint32_t size = offsetof(bw_stats_t, flushes);
  memset(&old, 0xAA, sizeof old);
  old.stats.size = size;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_get_stats(rig->bw, &old.stats), 0);
  assert_int_equal(old.stats.accepted_bytes, 3);
  assert_int_equal(old.stats.writes, 1);
  for (size_t i = size; i < sizeof old; ++i) assert_int_equal(old.bytes[i], 0xAA);
  test_rig_free(rig);
}

static void test_stats__a_newer_callers_struct_is_filled_as_far_as_we_know_it(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .flags = FLAGS(state));
  struct {
    bw_stats_t stats;
    unsigned char more[64];
  } newer;
  memset(&newer, 0, sizeof newer);
  newer.stats.size = sizeof newer;
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_get_stats(rig->bw, &newer.stats), 0);
  assert_int_equal(newer.stats.accepted_bytes, 3);
  for (size_t i = 0; i < sizeof newer.more; ++i) assert_int_equal(newer.more[i], 0);
  test_rig_free(rig);
}

static void test_stats__bad_arguments_are_refused(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .flags = FLAGS(state));
  bw_stats_t stats = {.size = sizeof stats};
  char text[8];
  assert_int_equal(bw_get_stats(NULL, &stats), -EINVAL);
  assert_int_equal(bw_get_stats(rig->bw, NULL), -EINVAL);
  stats.size = 0;
  assert_int_equal(bw_get_stats(rig->bw, &stats), -EINVAL);
  assert_int_equal(bw_stats_json(NULL, text, sizeof text), -EINVAL);
  assert_int_equal(bw_stats_json(rig->bw, NULL, 8), -EINVAL);
  test_rig_free(rig);
}

/* ---- bw_stats_json --------------------------------------------------------------------------- */

/* A reader of the JSON that we expect: one object of numbers, and of objects of numbers. */
struct json {
  const char *at;
  int fields;
};

static bool take(struct json *json, char character) {
  while (*json->at == ' ' || *json->at == '\n' || *json->at == '\t') ++json->at;
  if (*json->at != character) return false;
  ++json->at;
  return true;
}

static bool take_name(struct json *json) {
  if (!take(json, '"')) return false;
  const char *begin = json->at;
  while ((*json->at >= 'a' && *json->at <= 'z') || (*json->at >= '0' && *json->at <= '9') || *json->at == '_') ++json->at;
  return json->at > begin && take(json, '"');
}

static bool take_number(struct json *json) {
  take(json, '-');
  const char *begin = json->at;
  while (*json->at >= '0' && *json->at <= '9') ++json->at;
  if (json->at == begin || (*begin == '0' && json->at > begin + 1)) return false;
  return true;
}

static bool take_object(struct json *json, int depth) {
  if (!take(json, '{')) return false;
  if (take(json, '}')) return true;
  do {
    if (!take_name(json) || !take(json, ':')) return false;
    ++json->fields;
    while (*json->at == ' ') ++json->at;
    if (*json->at == '{' ? depth == 0 || !take_object(json, depth - 1) : !take_number(json)) return false;
  } while (take(json, ','));
  return take(json, '}');
}

static bool is_json(const char *text) {
  struct json json = {text, 0};
  if (!take_object(&json, 1)) return false;
  while (*json.at == ' ' || *json.at == '\n') ++json.at;
  return *json.at == 0;
}

/* The number behind "name": in the text, or -1. */
static int64_t number_of(const char *text, const char *name) {
  char key[64];
  snprintf(key, sizeof key, "\"%s\"", name);
  const char *at = strstr(text, key);
  if (!at) return -1;
  at += strlen(key);
  while (*at == ' ' || *at == ':') ++at;
  return strtoll(at, NULL, 10);
}

static void test_stats__json_names_every_field_of_the_struct(void **state) {
  static const char *const kNames[] = {
      "engine", "accepted_bytes", "written_bytes", "durable_bytes", "writes", "sink_writes", "bypasses", "flushes",
      "syncs", "waits", "errors", "resumes", "buffers", "buffers_in_use", "direct", "registered_buffers",
      "write_wait", "sink_write", "sync", "count", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"};
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .flags = FLAGS(state));
  char text[4096];
  assert_int_equal(bw_write(rig->bw, "abcde", 5), 5);
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_int_equal(bw_write(rig->bw, "fgh", 3), 3);
  const int64_t length = bw_stats_json(rig->bw, text, sizeof text);
  assert_true(length > 0 && length < (int64_t)sizeof text);
  assert_int_equal(strlen(text), length);
  assert_true(is_json(text));
  for (size_t i = 0; i < sizeof kNames / sizeof kNames[0]; ++i) assert_true(number_of(text, kNames[i]) >= 0);
  assert_int_equal(number_of(text, "accepted_bytes"), 8);
  assert_int_equal(number_of(text, "written_bytes"), 5);
  assert_int_equal(number_of(text, "durable_bytes"), 5);
  assert_int_equal(number_of(text, "writes"), 2);
  assert_int_equal(number_of(text, "sink_writes"), 1);
  assert_int_equal(number_of(text, "syncs"), 1);
  assert_int_equal(number_of(text, "buffers"), 1);
  test_rig_free(rig);
}

static void test_stats__json_treats_small_room_as_snprintf_does(void **state) {
  test_rig *rig = RIG(RIG_PLAIN, .capacity = 8, .flags = FLAGS(state));
  char whole[4096], text[4096];
  const int64_t length = bw_stats_json(rig->bw, whole, sizeof whole);
  assert_true(length > 0 && length < (int64_t)sizeof whole);
  assert_int_equal(bw_stats_json(rig->bw, NULL, 0), length);
  memset(text, 'z', sizeof text);
  assert_int_equal(bw_stats_json(rig->bw, text, 0), length);
  assert_int_equal(text[0], 'z');
  const size_t sizes[] = {1, 2, 10, (size_t)length - 1, (size_t)length, (size_t)length + 1};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    memset(text, 'z', sizeof text);
    assert_int_equal(bw_stats_json(rig->bw, text, sizes[i]), length);
    assert_memory_equal(text, whole, sizes[i] - 1);
    assert_int_equal(text[sizes[i] - 1], 0);
    assert_int_equal(text[sizes[i]], 'z');
  }
  test_rig_free(rig);
}

#define BOTH(test) \
  {#test " (shared)", test, NULL, NULL, (void *)&kShared}, {#test " (unshared)", test, NULL, NULL, (void *)&kUnshared}

int main(void) {
  const struct CMUnitTest tests[] = {
      BOTH(test_stats__a_new_writer_has_done_nothing),
      BOTH(test_stats__an_inline_writer_counts_what_it_did),
      BOTH(test_stats__every_way_to_write_counts_as_one_write),
      BOTH(test_stats__errors_are_counted),
      BOTH(test_stats__not_ready_is_no_error),
      BOTH(test_stats__a_background_writer_counts_buffers_waits_and_resumes),
      cmocka_unit_test(test_stats__counts_of_many_threads_are_exact_once_they_are_done),
      BOTH(test_stats__no_more_than_the_callers_size_is_filled_in),
      BOTH(test_stats__a_newer_callers_struct_is_filled_as_far_as_we_know_it),
      BOTH(test_stats__bad_arguments_are_refused),
      BOTH(test_stats__json_names_every_field_of_the_struct),
      BOTH(test_stats__json_treats_small_room_as_snprintf_does),
  };
  return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
