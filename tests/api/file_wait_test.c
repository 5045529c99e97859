/*
 * How far the bytes of a file have come: positions, events, bw_wait, bw_notify, lanes, linger, and polls with wakers.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/file_rig.h"
#include "../support/records.h"

static bool is_unshared(const file_rig *rig) {
  return rig->way.flags & BW_UNSHARED;
}

/* Opens with one of the options changed. */
#define OPEN_WITH(rig, field, value)                                      \
  do {                                                                    \
    bw_options_t changed = file_rig_options(rig);                         \
    changed.field = (value);                                              \
    assert_int_equal(file_rig_try((rig), O_RDWR | O_CREAT, &changed), 0); \
  } while (0)

/* ---- Positions and events -------------------------------------------------------------------- */

static void test_position__follows_write_flush_and_sync(void **state) {
  file_rig *rig = *state;
  char data[10000];
  int64_t end = 0;
  test_pattern(data, sizeof data, 1);
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (size_t length = 1; length < sizeof data; length = length * 3 + 1) {
    assert_int_equal(bw_write(rig->bw, data, length), length);
    end += (int64_t)length;
    assert_int_equal(bw_position(rig->bw, BW_ACCEPTED), end);
    assert_true(bw_position(rig->bw, BW_WRITTEN) <= end);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_int_equal(bw_position(rig->bw, BW_WRITTEN), end);
    assert_true(bw_position(rig->bw, BW_DURABLE) <= end);
    assert_int_equal(bw_sync(rig->bw), 0);
    assert_int_equal(bw_position(rig->bw, BW_DURABLE), end);
  }
  assert_int_equal(bw_position(rig->bw, 3), -EINVAL);
  assert_int_equal(bw_position(rig->bw, -1), -EINVAL);
  assert_int_equal(bw_close(rig->bw), 0);
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) assert_int_equal(bw_position(rig->bw, level), end);
}

static void test_position__of_a_closed_file_is_durable(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_close(rig->bw), 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), 3);
  assert_int_equal(bw_wait(rig->bw, 3, BW_DURABLE, -1), 0);
  assert_int_equal(bw_wait(rig->bw, 4, BW_DURABLE, -1), -ESHUTDOWN);
  assert_int_equal(bw_sync(rig->bw), -ESHUTDOWN);
  assert_int_equal(bw_close(rig->bw), 0);
}

/* Looks at the positions while others write: none moves back, and none passes the one before it. */
struct looker {
  bw_t *bw;
  atomic_bool stops;
};

static int64_t look_at_positions(void *arg) {
  struct looker *looker = arg;
  int64_t last[3] = {0, 0, 0};
  while (!atomic_load(&looker->stops)) {
    int64_t now[3];
    for (int level = BW_DURABLE; level >= BW_ACCEPTED; --level) now[level] = bw_position(looker->bw, level);
    if (now[BW_DURABLE] > now[BW_WRITTEN] || now[BW_WRITTEN] > now[BW_ACCEPTED]) return 1;
    for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
      if (now[level] < last[level]) return 2 + level;
      last[level] = now[level];
    }
  }
  return 0;
}

static void test_position__never_moves_back(void **state) {
  file_rig *rig = *state;
  char data[7000];
  test_pattern(data, sizeof data, 2);
  file_rig_open(rig, O_RDWR | O_CREAT);
  struct looker looker = {.bw = rig->bw};
  test_thread thread;
  test_thread_start(&thread, look_at_positions, &looker);
  bool works = true;
  for (size_t i = 0; i < 200 && works; ++i) {
    works = bw_write(rig->bw, data, i * 35) == (int64_t)i * 35;
    if (i % 5 == 0) works = works && bw_flush(rig->bw) == 0;
    if (i % 20 == 0) works = works && bw_sync(rig->bw) == 0;
    file_rig_drive(rig);
  }
  atomic_store(&looker.stops, true);
  assert_int_equal(test_thread_join(&thread), 0);
  assert_true(works);
  file_rig_close(rig);
}

static void test_event__written_ranges_follow_each_other_and_durable_ones_come_after(void **state) {
  file_rig *rig = *state;
  char data[9000];
  int64_t end = 0;
  test_pattern(data, sizeof data, 3);
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (size_t i = 0; i < 40; ++i) {
    const size_t length = i * 223 + 1;
    assert_int_equal(bw_write(rig->bw, data, length), length);
    end += (int64_t)length;
    if (i % 3 == 0) assert_int_equal(bw_flush(rig->bw), 0);
    if (i % 5 == 0) assert_int_equal(bw_sync(rig->bw), 0);
    file_rig_drive(rig);
  }
  assert_int_equal(bw_close(rig->bw), 0);
  file_rig_free(rig);
  test_events *events = &rig->events;
  assert_true(test_events_cover(events, BW_EVENT_WRITTEN, 0, end));
  int64_t written = 0, durable = 0;
  for (size_t i = 0; i < events->count; ++i) {
    const test_event *event = &events->list[i];
    assert_int_equal(event->size, sizeof(bw_event_t));
    assert_int_equal(event->code, 0);
    assert_false(event->has_data);
    if (event->kind == BW_EVENT_WRITTEN) written = event->position + (int64_t)event->length;
    if (event->kind != BW_EVENT_DURABLE) continue;
    assert_true(event->position > durable && event->position <= written);
    durable = event->position;
  }
  assert_int_equal(durable, end);
  assert_int_equal(test_events_count(events, BW_EVENT_ERROR), 0);
  assert_int_equal(test_events_count(events, BW_EVENT_LOST), 0);
}

static void test_event__ranges_go_on_where_a_seek_leads(void **state) {
  file_rig *rig = *state;
  char data[10000];
  test_pattern(data, sizeof data, 4);
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, data, 5000), 5000);
  assert_int_equal(bw_seek(rig->bw, 100, SEEK_SET), 100);
  assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  assert_int_equal(bw_close(rig->bw), 0);
  file_rig_free(rig);
  int64_t at = 0;
  for (size_t i = 0; i < rig->events.count; ++i) {
    const test_event *event = &rig->events.list[i];
    if (event->kind != BW_EVENT_WRITTEN) continue;
    if (at == 5000) at = 100;
    assert_int_equal(event->position, at);
    at += (int64_t)event->length;
  }
  assert_int_equal(at, 10100);
}

static void test_event__pressure_goes_on_and_off_in_turn(void **state) {
  file_rig *rig = *state;
  char data[4096];
  test_pattern(data, sizeof data, 5);
  bw_options_t options = file_rig_options(rig);
  options.capacity = 4096;
  options.buffers = 4;
  options.high_percent = 75;
  options.low_percent = 25;
  assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, &options), 0);
  for (int i = 0; i < 50; ++i) assert_int_equal(bw_write(rig->bw, data, sizeof data), sizeof data);
  assert_int_equal(bw_close(rig->bw), 0);
  file_rig_free(rig);
  bool on = false;
  for (size_t i = 0; i < rig->events.count; ++i) {
    const uint32_t kind = rig->events.list[i].kind;
    if (kind != BW_EVENT_PRESSURE_ON && kind != BW_EVENT_PRESSURE_OFF) continue;
    assert_int_equal(on, kind == BW_EVENT_PRESSURE_OFF);
    on = !on;
  }
  assert_false(on);
}

/* ---- bw_wait --------------------------------------------------------------------------------- */

static void test_wait__sees_to_what_it_waits_for(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (int64_t end = 5; end <= 500; end += 5) {
    assert_int_equal(bw_append(rig->bw, "01234", 5), end - 5);
    assert_int_equal(bw_wait(rig->bw, end, BW_ACCEPTED, -1), 0);
    if (end % 2) assert_int_equal(bw_wait(rig->bw, end - 2, BW_WRITTEN, -1), 0);
    assert_int_equal(bw_wait(rig->bw, end, BW_DURABLE, -1), 0);
    assert_int_equal(bw_position(rig->bw, BW_DURABLE), end);
    assert_int_equal(bw_wait(rig->bw, 1, BW_DURABLE, 0), 0);
    assert_int_equal(bw_wait(rig->bw, 0, BW_DURABLE, 0), 0);
    assert_int_equal(file_size(rig->path), end);
  }
  file_rig_close(rig);
}

static void test_wait__waits_although_nothing_else_may(void **state) {
  file_rig *rig = *state;
  OPEN_WITH(rig, flags, changed.flags | BW_NONBLOCK);
  for (int64_t end = 3; end <= 60; end += 3) {
    assert_int_equal(bw_append(rig->bw, "abc", 3), end - 3);
    assert_int_equal(bw_wait(rig->bw, end, end % 2 ? BW_WRITTEN : BW_DURABLE, -1), 0);
    assert_int_equal(file_size(rig->path), end);
  }
}

static void test_wait__ends_with_its_time(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
    assert_int_equal(bw_wait(rig->bw, 1000, level, 0), -ETIMEDOUT);
    assert_int_equal(bw_wait(rig->bw, 1000, level, 2000), -ETIMEDOUT);
  }
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_wait(rig->bw, 4, BW_DURABLE, 2000), -ETIMEDOUT);
  assert_int_equal(bw_wait(rig->bw, 1, 3, -1), -EINVAL);
  file_rig_close(rig);
}

static void test_wait__with_an_open_span_is_refused(void **state) {
  file_rig *rig = *state;
  bw_span_t span;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_reserve(rig->bw, 10, &span), 0);
  assert_int_equal(bw_wait(rig->bw, 3, BW_DURABLE, -1), -EBUSY);
  assert_int_equal(bw_poll_sync(rig->bw, NULL), -EBUSY);
  assert_int_equal(bw_commit(rig->bw, &span, 0), 0);
  assert_int_equal(bw_wait(rig->bw, 3, BW_DURABLE, -1), 0);
  file_rig_close(rig);
}

static void test_wait__lasts_until_others_have_come_that_far(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
    const int64_t from = bw_tell(rig->bw);
    test_thread thread;
    test_call call = {.bw = rig->bw, .position = from + 6, .level = level, .timeout_us = -1};
    test_thread_start(&thread, test_call_wait, &call);
    assert_false(test_thread_settle(&thread));
    assert_int_equal(bw_append(rig->bw, "abc", 3), from);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_false(test_thread_settle(&thread));
    assert_int_equal(bw_append(rig->bw, "def", 3), from + 3);
    assert_int_equal(bw_sync(rig->bw), 0);
    assert_int_equal(test_thread_join(&thread), 0);
  }
  file_rig_close(rig);
}

static void test_wait__beyond_the_end_ends_with_close(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  test_thread threads[3];
  test_call calls[3];
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
    calls[level] = (test_call){.bw = rig->bw, .position = 4, .level = level, .timeout_us = -1};
    test_thread_start(&threads[level], test_call_wait, &calls[level]);
    assert_false(test_thread_settle(&threads[level]));
  }
  assert_int_equal(bw_close(rig->bw), 0);
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level)
    assert_int_equal(test_thread_join(&threads[level]), -ESHUTDOWN);
}

enum { kCommitters = 8, kCommits = 40 };

static int64_t commit_records(void *arg) {
  bw_t *bw = arg;
  char record[100];
  memset(record, 'r', sizeof record);
  for (int i = 0; i < kCommits; ++i) {
    const int64_t at = bw_append(bw, record, sizeof record);
    if (at < 0) return at;
    const int code = i % 4 ? bw_wait(bw, at + (int64_t)sizeof record, BW_DURABLE, -1) : bw_sync(bw);
    if (code) return code;
    if (bw_position(bw, BW_DURABLE) < at + (int64_t)sizeof record) return -1000;
  }
  return 0;
}

static void test_wait__threads_share_syncs(void **state) {
  file_rig *rig = *state;
  test_thread threads[kCommitters];
  bw_stats_t stats = BW_STATS_INIT;
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (int i = 0; i < kCommitters; ++i) test_thread_start(&threads[i], commit_records, rig->bw);
  assert_int_equal(file_join(threads, kCommitters), 0);
  assert_int_equal(bw_get_stats(rig->bw, &stats), 0);
  assert_in_range(stats.syncs, 1, kCommitters * kCommits);
  assert_int_equal(stats.durable_bytes, kCommitters * kCommits * 100);
  file_rig_close(rig);
  assert_int_equal(file_size(rig->path), kCommitters * kCommits * 100);
}

/* ---- bw_notify ------------------------------------------------------------------------------- */

/* Every callback once, in the order of positions, with 0, not before its time, one at a time. */
static void check_told(file_rig *rig, size_t count) {
  assert_int_equal(file_rig_told_count(rig), count);
  int64_t last = 0;
  for (size_t i = 0; i < count; ++i) {
    const file_told told = file_rig_told(rig, i);
    assert_int_equal(told.code, 0);
    assert_true(told.position >= last && told.reached >= told.position);
    last = told.position;
  }
  assert_int_equal(rig->notes.most_inside, 1);
}

static void test_notify__tells_of_durability_once_in_order_and_by_itself(void **state) {
  file_rig *rig = *state;
  enum { kNotes = 300 };
  char data[700];
  test_pattern(data, sizeof data, 6);
  file_rig_open(rig, O_RDWR | O_CREAT);
  int64_t end = 0;
  for (size_t i = 0; i < kNotes; ++i) {
    const size_t length = i * 7 % sizeof data + 1;
    assert_int_equal(bw_append(rig->bw, data, length), end);
    end += (int64_t)length;
    assert_int_equal(file_rig_notify(rig, end, BW_DURABLE), 0);
  }
  if (is_unshared(rig)) {
    /* From the owner's calls, which sync for it. */
    if (!file_rig_is_driven(rig)) assert_int_equal(file_rig_told_count(rig), 0);
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_int_equal(file_rig_told_count(rig), file_rig_is_driven(rig) ? 0 : kNotes);
  }
  assert_true(file_rig_await_told(rig, kNotes));
  check_told(rig, kNotes);
  for (size_t i = 0; i < kNotes; ++i) {
    const bool is_ours = pthread_equal(file_rig_told(rig, i).thread, pthread_self());
    assert_int_equal(is_ours, is_unshared(rig) || file_rig_is_driven(rig));
  }
  file_rig_close(rig);
  check_told(rig, kNotes);
  assert_int_equal(file_size(rig->path), end);
}

static void test_notify__of_positions_out_of_order_are_told_in_order(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (int64_t i = 0; i < 20; ++i) assert_int_equal(file_rig_notify(rig, (i * 7 + 3) % 20 + 1, BW_DURABLE), 0);
  for (int64_t i = 0; i < 20; ++i) {
    assert_int_equal(bw_write(rig->bw, "x", 1), 1);
    if (i % 6 == 0) assert_int_equal(bw_sync(rig->bw), 0);
    file_rig_drive(rig);
  }
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_true(file_rig_await_told(rig, 20));
  check_told(rig, 20);
  file_rig_close(rig);
}

static void test_notify__of_what_was_reached_is_told_too(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_sync(rig->bw), 0);
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) assert_int_equal(file_rig_notify(rig, 3, level), 0);
  if (is_unshared(rig)) assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(file_rig_await_told(rig, 3));
  for (size_t i = 0; i < 3; ++i) assert_int_equal(file_rig_told(rig, i).code, 0);
  file_rig_close(rig);
  assert_int_equal(file_rig_told_count(rig), 3);
}

static void test_notify__that_makes_no_sense_is_refused(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(file_rig_notify(rig, 1, 3), -EINVAL);
  assert_int_equal(bw_notify(rig->bw, 1, BW_DURABLE, NULL, NULL), -EINVAL);
  file_rig_close(rig);
  assert_int_equal(file_rig_told_count(rig), 0);
}

static void test_notify__of_written_and_accepted_only_watches(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(file_rig_notify(rig, 3, BW_ACCEPTED), 0);
  assert_int_equal(file_rig_notify(rig, 3, BW_WRITTEN), 0);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  if (file_rig_is_driven(rig)) {
    file_rig_drive(rig);
    assert_int_equal(bw_position(rig->bw, BW_WRITTEN), 0);
  }
  assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(file_rig_await_told(rig, 2));
  for (size_t i = 0; i < 2; ++i) assert_int_equal(file_rig_told(rig, i).code, 0);
  file_rig_close(rig);
  assert_int_equal(file_rig_told_count(rig), 2);
}

static void test_notify__beyond_the_end_is_answered_by_close_and_free(void **state) {
  file_rig *rig = *state;
  for (int closes = 0; closes < 2; ++closes) {
    rig->notes.told_count = 0;
    file_rig_open(rig, O_RDWR | O_CREAT | O_TRUNC);
    assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
    assert_int_equal(file_rig_notify(rig, 4, BW_DURABLE), 0);
    assert_int_equal(file_rig_notify(rig, 3, BW_DURABLE), 0);
    assert_int_equal(file_rig_notify(rig, 4, BW_WRITTEN), 0);
    if (closes) assert_int_equal(bw_close(rig->bw), 0);
    file_rig_free(rig);
    assert_int_equal(file_rig_told_count(rig), 3);
    for (size_t i = 0; i < 3; ++i) {
      const file_told told = file_rig_told(rig, i);
      assert_int_equal(told.code, told.position == 3 ? 0 : -ESHUTDOWN);
    }
  }
}

static void test_notify__of_a_closed_file_is_answered(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  assert_int_equal(bw_close(rig->bw), 0);
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
    assert_int_equal(file_rig_notify(rig, 3, level), 0);
    assert_int_equal(file_rig_notify(rig, 4, level), -ESHUTDOWN);
  }
  file_rig_free(rig);
  assert_int_equal(file_rig_told_count(rig), 3);
  for (size_t i = 0; i < 3; ++i) assert_int_equal(file_rig_told(rig, i).code, 0);
}

static void test_notify__beyond_a_seek_is_cancelled(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
  assert_int_equal(file_rig_notify(rig, 20, BW_WRITTEN), 0);
  assert_int_equal(bw_seek(rig->bw, 5, SEEK_SET), 5);
  if (is_unshared(rig)) assert_int_equal(bw_flush(rig->bw), 0);
  assert_true(file_rig_await_told(rig, 1));
  assert_int_equal(file_rig_told(rig, 0).code, -ECANCELED);
  file_rig_close(rig);
}

/* In a callback: what would wait says so. Then appends the next record and asks for it, up to 100 records. */
struct chain {
  file_rig *rig;
  int64_t codes[4];
};

static void go_on(void *arg, const file_told *told) {
  struct chain *chain = arg;
  bw_t *bw = chain->rig->bw;
  if (told->position >= 1000) return;
  int64_t code = bw_append(bw, "0123456789", 10);
  if (code != told->position) chain->codes[0] = code;
  code = bw_flush(bw);
  if (code != 0 && code != -EAGAIN) chain->codes[1] = code;
  code = bw_wait(bw, told->position + 10, BW_DURABLE, -1);
  if (code != 0 && code != -EAGAIN) chain->codes[2] = code;
  code = file_rig_notify(chain->rig, told->position + 10, BW_DURABLE);
  if (code != 0) chain->codes[3] = code;
}

static void test_notify__callbacks_may_go_on_writing_but_never_wait(void **state) {
  file_rig *rig = *state;
  struct chain chain = {rig, {0, 0, 0, 0}};
  file_rig_open(rig, O_RDWR | O_CREAT);
  rig->notes.hook_arg = &chain;
  rig->notes.hook = go_on;
  assert_int_equal(bw_append(rig->bw, "0123456789", 10), 0);
  assert_int_equal(file_rig_notify(rig, 10, BW_DURABLE), 0);
  for (int i = 0; is_unshared(rig) && i < 100; ++i) assert_int_equal(bw_sync(rig->bw), 0);
  assert_true(file_rig_await_told(rig, 100));
  for (int i = 0; i < 4; ++i) assert_int_equal(chain.codes[i], 0);
  check_told(rig, 100);
  file_rig_close(rig);
  assert_int_equal(file_size(rig->path), 1000);
}

/* ---- Lanes ----------------------------------------------------------------------------------- */

struct lane_user {
  bw_t *lane;
  const test_records *records;
  unsigned number;
};

static int64_t use_lane(void *arg) {
  struct lane_user *user = arg;
  char *record = malloc(user->records->longest + 8);
  int64_t code = 0, end = 0;
  for (unsigned i = 0; i < user->records->each && code == 0; ++i) {
    const size_t length = test_record_make(user->records, user->number, i, record);
    if (bw_append(user->lane, record, length) != end) code = -1000;
    end += (int64_t)length;
    if (i % 50 == 0 && code == 0) code = bw_sync(user->lane);
    if (i % 50 == 0 && code == 0 && bw_position(user->lane, BW_DURABLE) != end) code = -1001;
    if (i % 50 == 9 && code == 0) code = bw_wait(user->lane, end, BW_WRITTEN, -1);
  }
  free(record);
  const int closed = bw_close(user->lane);
  return code ? code : closed;
}

static void test_lane__records_arrive_whole_and_in_their_order(void **state) {
  file_rig *rig = *state;
  enum { kLanes = 3 };
  const test_records records = {kLanes, 200, 4096, 10};
  const size_t bytes = test_records_bytes(&records);
  const bw_options_t options = {.size = sizeof options, .capacity = 4096};
  struct lane_user users[kLanes];
  test_thread threads[kLanes];
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (unsigned i = 0; i < kLanes; ++i) {
    users[i] = (struct lane_user){NULL, &records, i};
    assert_int_equal(bw_lane(&users[i].lane, rig->bw, &options), 0);
  }
  assert_int_equal(bw_close(rig->bw), -EBUSY);
  for (unsigned i = 0; i < kLanes; ++i) test_thread_start(&threads[i], use_lane, &users[i]);
  assert_int_equal(file_join(threads, kLanes), 0);
  for (unsigned i = 0; i < kLanes; ++i) bw_free(users[i].lane);
  file_rig_close(rig);
  char *found = malloc(bytes);
  const int fd = open(rig->path, O_RDONLY | O_CLOEXEC);
  assert_int_equal(file_size(rig->path), bytes);
  assert_int_equal(pread(fd, found, bytes, 0), bytes);
  assert_true(test_records_check(&records, found, bytes, NULL));
  close(fd);
  free(found);
}

static void test_lane__of_an_unshared_file_writer_is_refused(void **state) {
  file_rig *rig = *state;
  bw_t *lane = (bw_t *)&lane;
  file_rig_open(rig, O_RDWR | O_CREAT);
  assert_int_equal(bw_lane(&lane, rig->bw, NULL), -EINVAL);
  assert_null(lane);
  file_rig_close(rig);
}

/* ---- Linger ---------------------------------------------------------------------------------- */

static void test_linger__hands_on_what_nobody_flushes(void **state) {
  file_rig *rig = *state;
  OPEN_WITH(rig, linger_us, 3000);
  for (int64_t end = 10; end <= 100; end += 10) {
    assert_int_equal(bw_write(rig->bw, "0123456789", 10), 10);
    if (file_rig_is_driven(rig)) {
      struct pollfd event = {.fd = bw_event_fd(rig->bw), .events = POLLIN};
      while (bw_position(rig->bw, BW_WRITTEN) < end) { /* nothing is due before the descriptor says so */
        assert_int_equal(poll(&event, 1, TEST_BOUND_S * 1000), 1);
        assert_true(bw_poll_events(rig->bw) >= 0);
      }
    }
    assert_true(file_rig_await_position(rig, BW_WRITTEN, end));
    assert_int_equal(file_size(rig->path), end);
  }
  file_rig_close(rig);
}

/* ---- Polls ----------------------------------------------------------------------------------- */

static void test_poll__writers_get_through_with_wakers_alone(void **state) {
  file_rig *rig = *state;
  enum { kBytes = 200000 };
  unsigned char *data = malloc(kBytes);
  test_pattern(data, kBytes, 11);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  int pending = 0;
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (size_t at = 0, turn = 0; at < kBytes; ++turn) {
    const size_t length = kBytes - at < 3000 ? kBytes - at : 3000;
    const struct iovec parts[2] = {{data + at, length / 2}, {data + at + length / 2, length - length / 2}};
    int64_t answer;
    switch (turn % 4) {
      case 0:
        answer = bw_poll_write(rig->bw, data + at, length, &wake);
        break;
      case 1:
        answer = bw_poll_writev(rig->bw, parts, 2, &wake);
        break;
      case 2:
        answer = bw_poll_append(rig->bw, data + at, length, &wake);
        break;
      default:
        answer = bw_poll_appendv(rig->bw, parts, 2, &wake);
    }
    if (answer == -EAGAIN) {
      assert_true(file_rig_await_waker(rig, &waker, ++pending));
    } else if (turn % 4 < 2) {
      assert_in_range(answer, 1, length);
      at += (size_t)answer;
    } else {
      assert_int_equal(answer, at);
      at += length;
    }
  }
  int answer;
  while ((answer = bw_poll_flush(rig->bw, &wake)) == -EAGAIN) assert_true(file_rig_await_waker(rig, &waker, ++pending));
  assert_int_equal(answer, 0);
  assert_true(file_has(rig->path, data, kBytes));
  while ((answer = bw_poll_sync(rig->bw, &wake)) == -EAGAIN) assert_true(file_rig_await_waker(rig, &waker, ++pending));
  assert_int_equal(answer, 0);
  assert_int_equal(bw_position(rig->bw, BW_DURABLE), kBytes);
  while ((answer = bw_poll_close(rig->bw, &wake)) == -EAGAIN) assert_true(file_rig_await_waker(rig, &waker, ++pending));
  assert_int_equal(answer, 0);
  assert_int_equal(bw_poll_flush(rig->bw, &wake), -ESHUTDOWN);
  file_rig_free(rig);
  assert_int_equal(atomic_load(&waker.calls), pending); /* once for each */
  assert_true(file_has(rig->path, data, kBytes));
  free(data);
}

static void test_poll__reads_when_what_is_buffered_is_written(void **state) {
  file_rig *rig = *state;
  char data[5000], found[5000];
  test_pattern(data, sizeof data, 12);
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  file_put(rig->path, data, sizeof data);
  file_rig_open(rig, O_RDWR);
  assert_int_equal(bw_write(rig->bw, data, 100), 100);
  int64_t answer;
  for (int pending = 1; (answer = bw_poll_read(rig->bw, found, sizeof found, &wake)) == -EAGAIN; ++pending)
    assert_true(file_rig_await_waker(rig, &waker, pending));
  assert_int_equal(answer, sizeof data - 100);
  assert_memory_equal(found, data + 100, sizeof data - 100);
  assert_int_equal(bw_tell(rig->bw), sizeof data);
  file_rig_close(rig);
}

static void test_poll__refuses_what_can_never_fit(void **state) {
  file_rig *rig = *state;
  const size_t most = file_rig_capacity(rig) * file_rig_buffers(rig);
  char *data = malloc(most + 1);
  test_pattern(data, most + 1, 13);
  OPEN_WITH(rig, flags, changed.flags | BW_NONBLOCK);
  assert_int_equal(bw_poll_append(rig->bw, data, most + 1, NULL), -EMSGSIZE);
  assert_int_equal(bw_append(rig->bw, data, most + 1), -EMSGSIZE);
  assert_int_equal(bw_tell(rig->bw), 0);
  assert_int_equal(bw_append(rig->bw, data, most), 0); /* exactly that fits */
  assert_int_equal(bw_wait(rig->bw, (int64_t)most, BW_WRITTEN, -1), 0);
  assert_true(file_has(rig->path, data, most));
  free(data);
}

static void test_poll__nonblock_takes_what_fits_and_no_more(void **state) {
  file_rig *rig = *state;
  enum { kBytes = 100000 };
  unsigned char *data = malloc(kBytes);
  test_pattern(data, kBytes, 14);
  OPEN_WITH(rig, flags, changed.flags | BW_NONBLOCK);
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  for (size_t at = 0; at < kBytes;) {
    assert_true(test_now_us() < end);
    const int64_t answer = bw_write(rig->bw, data + at, kBytes - at);
    if (answer == -EAGAIN) {
      if (file_rig_is_driven(rig))
        file_rig_drive(rig);
      else
        test_pause();
      continue;
    }
    assert_in_range(answer, 1, kBytes - at);
    at += (size_t)answer;
  }
  int code;
  while ((code = bw_close(rig->bw)) == -EAGAIN) {
    assert_true(test_now_us() < end);
    file_rig_drive(rig);
    test_pause();
  }
  assert_int_equal(code, 0);
  assert_true(file_has(rig->path, data, kBytes));
  free(data);
}

int main(int argc, char **argv) {
  enum { kNotUnshared = FILE_ENGINES | FILE_CACHES | FILE_DRIVERS };
  static const file_test tests[] = {
      FILE_TEST(test_position__follows_write_flush_and_sync, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_position__of_a_closed_file_is_durable, FILE_WAYS),
      FILE_TEST(test_position__never_moves_back, FILE_WAYS),
      FILE_TEST(test_event__written_ranges_follow_each_other_and_durable_ones_come_after, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_event__ranges_go_on_where_a_seek_leads, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_event__pressure_goes_on_and_off_in_turn, FILE_WAYS),
      FILE_TEST(test_wait__sees_to_what_it_waits_for, FILE_WAYS),
      FILE_TEST(test_wait__waits_although_nothing_else_may, FILE_WAYS),
      FILE_TEST(test_wait__ends_with_its_time, FILE_WAYS),
      FILE_TEST_WITH(test_wait__with_an_open_span_is_refused, kNotUnshared, BW_UNSHARED),
      FILE_TEST(test_wait__lasts_until_others_have_come_that_far, kNotUnshared),
      FILE_TEST(test_wait__beyond_the_end_ends_with_close, kNotUnshared),
      FILE_TEST(test_wait__threads_share_syncs, kNotUnshared),
      FILE_TEST(test_notify__tells_of_durability_once_in_order_and_by_itself, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_notify__of_positions_out_of_order_are_told_in_order, FILE_WAYS),
      FILE_TEST(test_notify__of_what_was_reached_is_told_too, FILE_WAYS),
      FILE_TEST(test_notify__that_makes_no_sense_is_refused, FILE_WAYS),
      FILE_TEST(test_notify__of_written_and_accepted_only_watches, FILE_WAYS),
      FILE_TEST(test_notify__beyond_the_end_is_answered_by_close_and_free, FILE_WAYS),
      FILE_TEST(test_notify__of_a_closed_file_is_answered, FILE_WAYS),
      FILE_TEST(test_notify__beyond_a_seek_is_cancelled, FILE_WAYS),
      FILE_TEST(test_notify__callbacks_may_go_on_writing_but_never_wait, FILE_WAYS),
      FILE_TEST(test_lane__records_arrive_whole_and_in_their_order, kNotUnshared | FILE_SHAPES),
      FILE_TEST_WITH(test_lane__of_an_unshared_file_writer_is_refused, kNotUnshared, BW_UNSHARED),
      FILE_TEST(test_linger__hands_on_what_nobody_flushes, kNotUnshared),
      FILE_TEST(test_poll__writers_get_through_with_wakers_alone, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_poll__reads_when_what_is_buffered_is_written, FILE_WAYS),
      FILE_TEST(test_poll__refuses_what_can_never_fit, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_poll__nonblock_takes_what_fits_and_no_more, FILE_WAYS | FILE_SHAPES),
  };
  return FILE_TESTS_RUN("file_wait", tests, argc, argv);
}
