/*
 * A rig: a scripted sink, a record of all events, and a writer over them.
 *
 *   test_rig *rig = RIG(TEST_SINK_HAS_ALL, .capacity = 8, .flags = BW_BACKGROUND);
 *   ...
 *   test_rig_free(rig);
 *
 * fixture.h is for tests that spell bytes and sink calls as text.
 *
 * It lives on the heap: where a test ends early by a failing assert, a thread of the writer may still use it.
 */
#ifndef BW_TESTS_RIG_H
#define BW_TESTS_RIG_H

#include "test_sink.h"
#include "threads.h"

typedef struct test_event {
  uint32_t size, kind;
  int64_t position;
  uint64_t length;
  int32_t code;
  bool has_data;
  pthread_t thread;
} test_event;

typedef struct test_events {
  pthread_mutex_t mutex;
  test_event *list;
  size_t count, capacity;
  char *lost; /* the data of all BW_EVENT_LOST, one after another */
  size_t lost_length;
  void (*hook)(void *arg, const bw_event_t *event); /* called after recording, without the mutex */
  void *hook_arg;
} test_events;

void test_events_init(test_events *events);
void test_events_destroy(test_events *events);
void test_events_record(void *events, const bw_event_t *event); /* for bw_options_t.on_event */
size_t test_events_count(test_events *events, uint32_t kind);
bool test_events_await(test_events *events, uint32_t kind, size_t count);
/* The `index`th event of a kind; kind 0: there is none. */
test_event test_events_get(test_events *events, uint32_t kind, size_t index);
test_event test_events_last(test_events *events, uint32_t kind); /* the same of the last one */
/* True if the ranges of all events of `kind` follow each other without gap from `from` to `to`. */
bool test_events_cover(test_events *events, uint32_t kind, int64_t from, int64_t to);
/* True if what was lost is exactly these bytes. */
bool test_events_lost(test_events *events, const void *data, size_t length);

typedef struct test_rig {
  test_sink sink;
  test_events events;
  test_gate gate; /* not in use before test_rig_gate() */
  bw_t *bw;
  /* What bw was made with, or will be: the callbacks of its sink, and its flags. */
  unsigned has;
  uint32_t flags;
  /* For the test to use: they live as long as the writer, also where the test ends early. */
  test_sink other; /* a second sink, for bw_set_sink() */
  test_waker waker;
  bw_waker_t wake; /* calls `waker` */
  test_note notes[2];
  size_t traced; /* fixture.h: how many calls of `sink` were checked already */
} test_rig;

/* A rig without a writer. */
test_rig *test_rig_empty(void);
/* Makes its writer, over a sink with the callbacks in `has`. Asserts: call it on the test's own thread. */
void test_rig_open(test_rig *rig, unsigned has, const bw_options_t *options);
/* Both in one; events are recorded unless the options name an on_event. */
test_rig *test_rig_new(unsigned has, const bw_options_t *options);
#define RIG(has, ...) test_rig_new((has), &(const bw_options_t){.size = sizeof(bw_options_t), __VA_ARGS__})
/* Frees the writer (if test_rig_free_writer() did not), then the rest. */
void test_rig_free(test_rig *rig);
void test_rig_free_writer(test_rig *rig);
/* From now on sink calls of these kinds stop at rig->gate. */
void test_rig_gate(test_rig *rig, unsigned kinds);

/* The callbacks of a plain sink: all but writev. */
#define RIG_PLAIN (TEST_SINK_HAS_ALL & ~TEST_SINK_HAS(TEST_SINK_WRITEV))

/* All bytes that the sink got, wherever it stood: a copy to be freed. */
char *test_sink_bytes(test_sink *sink, size_t *length);
/* Copies up to `most` calls of a kind, oldest first; returns how many there are. */
size_t test_sink_calls(test_sink *sink, enum test_sink_kind kind, test_sink_call *calls, size_t most);

#endif
