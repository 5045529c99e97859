#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void *grown(void *block, size_t size) {
  void *bigger = realloc(block, size ? size : 1);
  if (!bigger) {
    fprintf(stderr, "tests: no memory\n");
    abort();
  }
  return bigger;
}

/* ---- Events ---------------------------------------------------------------------------------- */

void test_events_init(test_events *events) {
  memset(events, 0, sizeof *events);
  pthread_mutex_init(&events->mutex, NULL);
}

void test_events_destroy(test_events *events) {
  pthread_mutex_destroy(&events->mutex);
  free(events->list);
  free(events->lost);
}

void test_events_record(void *arg, const bw_event_t *event) {
  test_events *events = arg;
  pthread_mutex_lock(&events->mutex);
  if (events->count == events->capacity) {
    events->capacity = events->capacity * 2 + 16;
    events->list = grown(events->list, events->capacity * sizeof *events->list);
  }
  events->list[events->count++] = (test_event){event->size,   event->kind,         event->position, event->length,
                                               event->code,   event->data != NULL, pthread_self()};
  if (event->kind == BW_EVENT_LOST && event->data) {
    events->lost = grown(events->lost, events->lost_length + (size_t)event->length);
    memcpy(events->lost + events->lost_length, event->data, (size_t)event->length);
    events->lost_length += (size_t)event->length;
  }
  void (*const hook)(void *, const bw_event_t *) = events->hook;
  void *const hook_arg = events->hook_arg;
  pthread_mutex_unlock(&events->mutex);
  if (hook) hook(hook_arg, event);
}

size_t test_events_count(test_events *events, uint32_t kind) {
  size_t count = 0;
  pthread_mutex_lock(&events->mutex);
  for (size_t i = 0; i < events->count; ++i) count += events->list[i].kind == kind;
  pthread_mutex_unlock(&events->mutex);
  return count;
}

struct wanted {
  test_events *events;
  uint32_t kind;
  size_t count;
};

static bool has_come(void *arg) {
  const struct wanted *want = arg;
  return test_events_count(want->events, want->kind) >= want->count;
}

bool test_events_await(test_events *events, uint32_t kind, size_t count) {
  struct wanted want = {events, kind, count};
  return test_await(has_come, &want);
}

test_event test_events_get(test_events *events, uint32_t kind, size_t index) {
  test_event found;
  memset(&found, 0, sizeof found);
  pthread_mutex_lock(&events->mutex);
  for (size_t i = 0; i < events->count; ++i)
    if (events->list[i].kind == kind && index-- == 0) {
      found = events->list[i];
      break;
    }
  pthread_mutex_unlock(&events->mutex);
  return found;
}

test_event test_events_last(test_events *events, uint32_t kind) {
  return test_events_get(events, kind, test_events_count(events, kind) - 1);
}

bool test_events_cover(test_events *events, uint32_t kind, int64_t from, int64_t to) {
  bool contiguous = true;
  pthread_mutex_lock(&events->mutex);
  for (size_t i = 0; i < events->count; ++i) {
    if (events->list[i].kind != kind) continue;
    contiguous = contiguous && events->list[i].position == from && events->list[i].length > 0;
    from = events->list[i].position + (int64_t)events->list[i].length;
  }
  pthread_mutex_unlock(&events->mutex);
  return contiguous && from == to;
}

bool test_events_lost(test_events *events, const void *data, size_t length) {
  pthread_mutex_lock(&events->mutex);
  const bool same = events->lost_length == length && (length == 0 || memcmp(events->lost, data, length) == 0);
  pthread_mutex_unlock(&events->mutex);
  return same;
}

/* ---- Rigs ------------------------------------------------------------------------------------ */

test_rig *test_rig_empty(void) {
  test_rig *rig = grown(NULL, sizeof *rig);
  memset(rig, 0, sizeof *rig);
  test_sink_init(&rig->sink);
  test_sink_init(&rig->other);
  test_events_init(&rig->events);
  rig->wake = test_waker_of(&rig->waker);
  return rig;
}

void test_rig_open(test_rig *rig, unsigned has, const bw_options_t *options) {
  const bw_sink_t ops = test_sink_ops(has);
  assert_null(rig->bw);
  assert_int_equal(bw_new(&rig->bw, &ops, &rig->sink, options), 0);
  assert_non_null(rig->bw);
  rig->has = has;
  rig->flags = options->flags;
}

test_rig *test_rig_new(unsigned has, const bw_options_t *options) {
  test_rig *rig = test_rig_empty();
  bw_options_t complete = *options;
  if (!complete.on_event) {
    complete.on_event = test_events_record;
    complete.event_arg = &rig->events;
  }
  test_rig_open(rig, has, &complete);
  return rig;
}

void test_rig_free_writer(test_rig *rig) {
  bw_free(rig->bw);
  rig->bw = NULL;
}

void test_rig_free(test_rig *rig) {
  test_rig_free_writer(rig);
  test_sink_destroy(&rig->sink);
  test_sink_destroy(&rig->other);
  test_events_destroy(&rig->events);
  if (rig->sink.hook == test_gate_hook) test_gate_destroy(&rig->gate);
  free(rig);
}

void test_rig_gate(test_rig *rig, unsigned kinds) {
  test_gate_init(&rig->gate, kinds);
  pthread_mutex_lock(&rig->sink.mutex);
  rig->sink.hook_arg = &rig->gate;
  rig->sink.hook = test_gate_hook;
  pthread_mutex_unlock(&rig->sink.mutex);
}

/* ---- What the sink got ----------------------------------------------------------------------- */

char *test_sink_bytes(test_sink *sink, size_t *length) {
  pthread_mutex_lock(&sink->mutex);
  char *copy = grown(NULL, sink->length);
  if (sink->length) memcpy(copy, sink->data, sink->length);
  *length = sink->length;
  pthread_mutex_unlock(&sink->mutex);
  return copy;
}

size_t test_sink_calls(test_sink *sink, enum test_sink_kind kind, test_sink_call *calls, size_t most) {
  size_t count = 0;
  pthread_mutex_lock(&sink->mutex);
  for (size_t i = 0; i < sink->call_count; ++i) {
    if (sink->calls[i].kind != kind) continue;
    if (count < most) calls[count] = sink->calls[i];
    ++count;
  }
  pthread_mutex_unlock(&sink->mutex);
  return count;
}
