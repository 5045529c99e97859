/*
 * Inline writers without a thread of ours, shared and unshared, and lanes in front of a shared one: each call is made
 * of the writer, then of the model, and what both know is compared.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stream_fuzz.h"
#include "stream_model.h"

enum { kWakersMax = 3, kPartsMax = 12, kHandles = 2, kBytesMax = 1 << 20 };

typedef struct handle handle;

typedef struct waker {
  handle *owner;
  int credits;     /* times it may still be called */
  bool must_come;  /* it waits for certain */
  int calls;
} waker;

typedef struct note {
  handle *owner;
  int64_t position;
  int level;
  int calls;
} note;

typedef struct run run;

/* A writer: the first, or a lane in front of it. */
struct handle {
  run *of;
  bw_t *bw;
  stream_model model;
  bool nonblock;
  bw_span_t spans[kSpansMax]; /* unshared: the first */
  waker wakers[kWakersMax];
  note notes[kNotesMax];
  int64_t most[3]; /* the highest position of each level */
  bool was_cut, is_closing, is_freeing;
  /* Events as they came, and what was lost. */
  fuzz_bytes events, lost;
  int lost_code;
  int64_t lost_from;
};

struct run {
  fuzz_input ops;
  script_sink script;
  size_t next_call;
  uint64_t written; /* bytes made so far */
  fuzz_bytes scratch;
  handle handles[kHandles];
};

/* ---- Callbacks ------------------------------------------------------------------------------- */

static void on_event(void *arg, const bw_event_t *event) {
  handle *of = arg;
  bw_event_t copy = *event;
  FUZZ_SAME(event->size, sizeof *event);
  FUZZ_SAME(event->reserved, 0);
  FUZZ_SAME(event->kind == BW_EVENT_LOST, event->data != NULL);
  if (event->kind == BW_EVENT_LOST) {
    FUZZ_CHECK(of->is_freeing && event->length > 0);
    if (of->lost.length == 0) of->lost_from = event->position;
    if (!model_has_spans(&of->model)) FUZZ_SAME(event->position, of->lost_from + (int64_t)of->lost.length);
    of->lost_code = event->code;
    fuzz_append(&of->lost, event->data, event->length);
    return;
  }
  copy.data = NULL;
  fuzz_append(&of->events, &copy, sizeof copy);
}

static void on_wake(void *arg) {
  waker *it = arg;
  FUZZ_CHECK(it->credits > 0);
  --it->credits;
  ++it->calls;
  it->must_come = false;
}

static void on_done(void *arg, int code) {
  note *it = arg;
  const handle *of = it->owner;
  FUZZ_SAME(++it->calls, 1);
  if (code == 0) {
    int64_t reached = bw_position(of->bw, it->level);
    if (reached < of->most[it->level]) reached = of->most[it->level];
    FUZZ_CHECK(of->is_freeing || reached >= it->position || of->was_cut);
  } else if (code == -ECANCELED) {
    FUZZ_CHECK(of->was_cut || of->is_freeing);
  } else if (code == -ESHUTDOWN) {
    FUZZ_CHECK(of->is_freeing || of->is_closing);
  } else {
    FUZZ_CHECK(code < 0);
  }
}

/* ---- Choices --------------------------------------------------------------------------------- */

static size_t choose_length(handle *of) {
  fuzz_input *ops = &of->of->ops;
  const uint64_t capacity = of->model.capacity;
  const unsigned choice = fuzz_byte(ops);
  if (choice < 128) return choice % (capacity < 127 ? capacity + 2 : 127);
  if (choice < 176) return (size_t)(capacity - (capacity > 0) + choice % 3);
  if (choice < 208) return (size_t)(capacity * 2 + choice % 5);
  if (choice < 240) return (size_t)(capacity / 2 + choice % 3);
  return (size_t)(capacity + fuzz_byte(ops));
}

/* `length` new bytes, valid until the next call. */
static const unsigned char *make_bytes(run *of, size_t length) {
  return fuzz_make(&of->scratch, &of->written, length);
}

static int make_parts(handle *of, struct iovec *parts) {
  const int count = (int)fuzz_below(&of->of->ops, kPartsMax + 1);
  size_t lengths[kPartsMax], total = 0;
  const unsigned char *bytes;
  for (int index = 0; index < count; ++index) {
    lengths[index] = fuzz_chance(&of->of->ops, 64) ? choose_length(of) : fuzz_below(&of->of->ops, 5);
    total += lengths[index];
  }
  bytes = make_bytes(of->of, total);
  for (int index = 0; index < count; ++index) {
    parts[index] = (struct iovec){lengths[index] ? (void *)(uintptr_t)bytes : NULL, lengths[index]};
    bytes += lengths[index];
  }
  return count;
}

/* A call that waits would wait for spans that this very thread has open. */
static bool would_hang(const handle *of) {
  const handle *first = &of->of->handles[0];
  return model_has_spans(&first->model) && !first->nonblock && !(of != first && of->nonblock);
}

/* ---- Polls ----------------------------------------------------------------------------------- */

static const bw_waker_t *choose_waker(handle *of, bw_waker_t *room, waker **chosen) {
  const unsigned choice = (unsigned)fuzz_below(&of->of->ops, kWakersMax + 1);
  of->model.tries_twice = false;
  *chosen = NULL;
  if (choice == kWakersMax) return NULL;
  *chosen = &of->wakers[choice];
  (*chosen)->owner = of;
  ++(*chosen)->credits; /* it may come before the poll returns */
  *room = (bw_waker_t){on_wake, *chosen};
  return room;
}

/* After the poll. `calls`: of the waker before it. */
static void settle_waker(waker *it, int64_t result, int calls) {
  if (it == NULL) return;
  if (result != -EAGAIN) {
    --it->credits;
    FUZZ_CHECK(it->credits >= 0); /* else it was called though it was not accepted */
  } else if (it->calls == calls) {
    it->must_come = true;
  }
}

static void check_wakers_came(handle *of) {
  for (int index = 0; index < kWakersMax; ++index) FUZZ_CHECK(!of->wakers[index].must_come);
}

static void do_wake(handle *of) {
  const bool spans = model_has_spans(&of->of->handles[0].model);
  FUZZ_SAME(bw_wake(of->bw), 0);
  if (!spans) check_wakers_came(of);
}

static void do_unwake(handle *of) {
  waker *it = &of->wakers[fuzz_below(&of->of->ops, kWakersMax)];
  const bw_waker_t taken = {on_wake, it};
  const int code = bw_unwake(of->bw, &taken);
  FUZZ_CHECK(code == 0 || code == 1);
  if (code == 1) FUZZ_CHECK(it->credits > 0);
  if (code == 0) FUZZ_CHECK(!it->must_come);
  it->credits = 0;
  it->must_come = false;
}

/* ---- Calls that write ------------------------------------------------------------------------ */

static void do_write(handle *of, bool is_poll) {
  const size_t length = choose_length(of);
  const struct iovec part = {(void *)(uintptr_t)make_bytes(of->of, length), length};
  if (!is_poll && !would_hang(of)) {
    const int64_t result = bw_write(of->bw, length ? part.iov_base : NULL, length);
    FUZZ_SAME(result, model_put(&of->model, kPutWrite, false, &part, 1));
  } else {
    bw_waker_t room;
    waker *it;
    const bw_waker_t *wake = choose_waker(of, &room, &it);
    const int calls = it ? it->calls : 0;
    const int64_t result = bw_poll_write(of->bw, part.iov_base, length, wake);
    settle_waker(it, result, calls);
    FUZZ_SAME(result, model_put(&of->model, kPutPoll, false, &part, 1));
  }
}

static void do_writev(handle *of, bool is_poll) {
  struct iovec parts[kPartsMax];
  const int count = make_parts(of, parts);
  if (!is_poll && !would_hang(of)) {
    const int64_t result = bw_writev(of->bw, parts, count);
    FUZZ_SAME(result, model_put(&of->model, kPutWrite, true, parts, count));
  } else {
    bw_waker_t room;
    waker *it;
    const bw_waker_t *wake = choose_waker(of, &room, &it);
    const int calls = it ? it->calls : 0;
    const int64_t result = bw_poll_writev(of->bw, parts, count, wake);
    settle_waker(it, result, calls);
    FUZZ_SAME(result, model_put(&of->model, kPutPoll, true, parts, count));
  }
}

static void do_append(handle *of, bool is_poll, bool is_list) {
  struct iovec parts[kPartsMax];
  int count = 1;
  int64_t result;
  if (of->model.spill_count + 2 > kSpillsMax) return;
  if (is_list) {
    count = make_parts(of, parts);
  } else {
    const size_t length = choose_length(of);
    parts[0] = (struct iovec){(void *)(uintptr_t)make_bytes(of->of, length), length};
  }
  if (!is_poll && !would_hang(of)) {
    result = is_list ? bw_appendv(of->bw, parts, count) : bw_append(of->bw, parts[0].iov_base, parts[0].iov_len);
  } else {
    bw_waker_t room;
    waker *it;
    const bw_waker_t *wake = choose_waker(of, &room, &it);
    const int calls = it ? it->calls : 0;
    result = is_list ? bw_poll_appendv(of->bw, parts, count, wake)
                     : bw_poll_append(of->bw, parts[0].iov_base, parts[0].iov_len, wake);
    settle_waker(it, result, calls);
  }
  FUZZ_SAME(result, model_put(&of->model, kPutAppend, true, parts, count));
}

static void do_reserve(handle *of) {
  stream_model *model = &of->model;
  const size_t length = choose_length(of);
  int index = 0, code, wanted;
  size_t room = 0;
  bw_span_t span = {NULL, 1, 2, NULL};
  if (!model->is_unshared) {
    while (index < kSpansMax && model->open[index].is_open) ++index;
    if (index == kSpansMax) return;
    if (!model_has_spans(model)) model->floor = model_end(model);
  }
  if (would_hang(of) && (model->parent != NULL || length > model->capacity - model->buffer.length)) return;
  code = bw_reserve(of->bw, length, &span);
  wanted = model_reserve(model, length, &room);
  FUZZ_SAME(code, wanted);
  if (code) {
    FUZZ_CHECK(span.data == NULL && span.length == 1 && span.position == 2);
    return;
  }
  FUZZ_SAME(span.length, room);
  FUZZ_SAME(span.position, model_end(model));
  of->spans[index] = span;
  if (model->is_unshared) return;
  /* Its place in the buffer is taken; what is in it will be known when it is committed. */
  model->open[index] = (model_span){true, model->buffer.length, length};
  fuzz_append(&model->buffer, make_bytes(of->of, length), length);
}

static void commit_shared(handle *of, int index) {
  stream_model *model = &of->model;
  bw_span_t *span = &of->spans[index];
  const size_t used = span->length;
  const unsigned char *bytes;
  if (!model->open[index].is_open) return;
  if (used > 1) FUZZ_SAME(bw_commit(of->bw, span, used - 1), -EINVAL);
  bytes = make_bytes(of->of, used);
  memcpy(span->data, bytes, used);
  memcpy(model->buffer.bytes + model->open[index].from, bytes, used);
  FUZZ_SAME(bw_commit(of->bw, span, used), 0);
  model->open[index].is_open = false;
  ++model->pieces;
  ++model->pieces_most;
}

static void do_commit(handle *of) {
  stream_model *model = &of->model;
  const int index = (int)fuzz_below(&of->of->ops, kSpansMax);
  bw_span_t *span = &of->spans[0];
  size_t used;
  const unsigned char *bytes;
  if (model->is_unshared) {
    if (!model->span_open) {
      FUZZ_SAME(bw_commit(of->bw, span, 0), -EINVAL);
      return;
    }
    FUZZ_SAME(bw_commit(of->bw, span, span->length + 1), -EINVAL);
    used = fuzz_below(&of->of->ops, span->length + 1);
    bytes = make_bytes(of->of, used);
    if (used > 0) memcpy(span->data, bytes, used);
    FUZZ_SAME(bw_commit(of->bw, span, used), 0);
    fuzz_append(&model->buffer, bytes, used);
    model->span_open = false;
    model->pieces += used > 0;
    model->pieces_most += used > 0;
    return;
  }
  commit_shared(of, index);
}

/* ---- The other calls ------------------------------------------------------------------------- */

typedef int (*blocking_call)(bw_t *bw);
typedef int (*polling_call)(bw_t *bw, const bw_waker_t *wake);
typedef int (*model_call)(stream_model *model);

static void do_simple(handle *of, blocking_call block, polling_call poll, model_call wanted) {
  int64_t result;
  if (fuzz_chance(&of->of->ops, 128) || would_hang(of)) {
    bw_waker_t room;
    waker *it;
    const bw_waker_t *wake = choose_waker(of, &room, &it);
    const int calls = it ? it->calls : 0;
    result = poll(of->bw, wake);
    settle_waker(it, result, calls);
  } else {
    result = block(of->bw);
  }
  FUZZ_SAME(result, wanted(&of->model));
}

static void do_close(handle *of) {
  of->is_closing = true;
  do_simple(of, bw_close, bw_poll_close, model_close);
}

static void do_seek(handle *of, unsigned how) {
  const int64_t offset = fuzz_chance(&of->of->ops, 40) ? (int64_t)fuzz_any(&of->of->ops) : fuzz_byte(&of->of->ops);
  const int whence = (int)fuzz_below(&of->of->ops, 3);
  bw_waker_t room;
  waker *it;
  of->was_cut = true;
  if (how == 0) {
    if (would_hang(of)) return;
    const int64_t result = bw_seek(of->bw, offset, whence);
    FUZZ_SAME(result, model_seek(&of->model, offset, whence));
  } else if (how == 1) {
    const int result = bw_start_seek(of->bw, offset, whence);
    FUZZ_SAME(result, model_start_seek(&of->model, offset, whence));
  } else {
    const bw_waker_t *wake = choose_waker(of, &room, &it);
    const int calls = it ? it->calls : 0;
    const int64_t result = bw_poll_seek(of->bw, wake);
    settle_waker(it, result, calls);
    FUZZ_SAME(result, model_poll_seek(&of->model));
  }
}

static void do_read(handle *of) {
  unsigned char data[64];
  const size_t length = fuzz_below(&of->of->ops, sizeof data);
  int64_t result;
  if (fuzz_chance(&of->of->ops, 128)) {
    bw_waker_t room;
    waker *it;
    const bw_waker_t *wake = choose_waker(of, &room, &it);
    const int calls = it ? it->calls : 0;
    result = bw_poll_read(of->bw, data, length, wake);
    settle_waker(it, result, calls);
  } else {
    result = bw_read(of->bw, data, length);
  }
  FUZZ_SAME(result, model_read(&of->model, length, data));
}

static int64_t choose_position(handle *of) {
  const unsigned choice = fuzz_byte(&of->of->ops);
  const int64_t end = bw_tell(of->bw);
  if (choice < 100) return end;
  if (choice < 200) return end - choice % 16;
  return choice < 230 && end < INT64_MAX - 64 ? end + choice % 16 : choice - 240;
}

static void do_wait(handle *of) {
  const int64_t position = choose_position(of);
  const int level = (int)fuzz_below(&of->of->ops, 3);
  const bool has_spans = model_has_spans(&of->of->handles[0].model);
  const bool may_do_io = fuzz_chance(&of->of->ops, 128) && !has_spans;
  int code;
  if (model_has_spans(&of->model) && level == BW_ACCEPTED) return; /* how far is not said exactly */
  of->model.tries_twice = false;
  code = bw_wait(of->bw, position, level, may_do_io ? 1 : 0);
  FUZZ_SAME(code, model_wait(&of->model, position, level, may_do_io));
}

/* Shared writers get a thread of ours by it: that is stream_threads.c's. */
static void do_notify(handle *of) {
  note *it = &of->notes[of->model.note_count];
  const int64_t position = choose_position(of);
  const int level = (int)fuzz_below(&of->of->ops, 3);
  int code;
  if (!of->model.is_unshared || of->model.note_count == kNotesMax) return;
  *it = (note){of, position, level, 0};
  code = bw_notify(of->bw, position, level, on_done, it);
  FUZZ_SAME(it->calls, 0);
  FUZZ_SAME(code, model_notify(&of->model, position, level));
}

static void do_set_sink(handle *of) {
  const unsigned with = fuzz_byte(&of->of->ops) & ~(1u << kWrite);
  const int number = !of->model.sink;
  const bw_sink_t sink = script_sink_ops(with);
  const int code = bw_set_sink(of->bw, &sink, &of->of->script.sinks[number]);
  FUZZ_SAME(code, model_set_sink(&of->model, with, number));
}

static void keep_visited(void *arg, const void *data, size_t length) {
  FUZZ_CHECK(length > 0);
  fuzz_append(arg, data, length);
}

/* The unwritten bytes are those of the model. With shared spans open it is not said how many exactly. */
static void do_unwritten(handle *of) {
  stream_model *model = &of->model;
  fuzz_bytes visited = {0};
  const int64_t count = bw_unwritten(of->bw, keep_visited, &visited);
  if (model_has_spans(model)) {
    FUZZ_CHECK(count >= 0 && model->written + count <= model_oldest_span(model));
  } else {
    FUZZ_SAME(count, model_unwritten(model));
  }
  FUZZ_SAME(visited.length, count);
  for (size_t index = 0; index < visited.length; ++index) {
    const size_t spilled = model->spill.length;
    FUZZ_SAME(visited.bytes[index],
              index < spilled ? model->spill.bytes[index] : model->buffer.bytes[index - spilled]);
  }
  free(visited.bytes);
}

static void do_discard(handle *of) {
  const int64_t result = bw_discard(of->bw);
  of->was_cut = true;
  FUZZ_SAME(result, model_discard(&of->model));
}

static void do_lane(run *of) {
  handle *first = &of->handles[0], *lane = &of->handles[1];
  bw_options_t options = BW_OPTIONS_INIT;
  const unsigned choice = fuzz_byte(&of->ops);
  int code;
  if (lane->bw != NULL || first->model.is_unshared) return;
  memset(lane, 0, sizeof *lane);
  lane->of = of;
  options.capacity = choice % 32;
  options.flags = choice & 64 ? BW_NONBLOCK : 0;
  options.on_event = on_event;
  options.event_arg = lane;
  code = bw_lane(&lane->bw, first->bw, &options);
  FUZZ_SAME(code, first->model.is_closed ? -ESHUTDOWN : 0);
  if (code) return;
  lane->nonblock = choice & 64;
  lane->model.script = &of->script;
  lane->model.next = &of->next_call;
  lane->model.parent = &first->model;
  lane->model.is_unshared = true;
  lane->model.capacity = options.capacity ? options.capacity : first->model.capacity;
  ++first->model.lanes;
  FUZZ_SAME(bw_capacity(lane->bw), lane->model.capacity);
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static void show_events(const char *whose, const fuzz_bytes *events) {
  for (size_t at = 0; at < events->length; at += sizeof(bw_event_t)) {
    bw_event_t event;
    memcpy(&event, events->bytes + at, sizeof event);
    fprintf(stderr, "%s: kind %u position %lld length %llu code %d\n", whose, event.kind, (long long)event.position,
            (unsigned long long)event.length, event.code);
  }
}

/* Ranges that follow one another may be told as one, also past other events, and only the last durable position counts.
 * What is left then has to be the same, kind by kind. */
static fuzz_bytes digest(const fuzz_bytes *events, uint32_t kind) {
  fuzz_bytes result = {0};
  for (size_t at = 0; at < events->length; at += sizeof(bw_event_t)) {
    bw_event_t event, last = {0};
    memcpy(&event, events->bytes + at, sizeof event);
    if (event.kind != kind) continue;
    if (result.length > 0) memcpy(&last, result.bytes + result.length - sizeof last, sizeof last);
    if (kind == BW_EVENT_WRITTEN && last.length > 0 && last.position + (int64_t)last.length == event.position) {
      event.position = last.position;
      event.length += last.length;
      result.length -= sizeof last;
    } else if (kind == BW_EVENT_DURABLE) {
      result.length = 0;
    }
    fuzz_append(&result, &event, sizeof event);
  }
  return result;
}

static void check_events(handle *of) {
  stream_model *model = &of->model;
  for (uint32_t kind = BW_EVENT_PRESSURE_ON; kind <= BW_EVENT_DURABLE && model->events.length + of->events.length > 0;
       ++kind) {
    fuzz_bytes told = digest(&of->events, kind), wanted = digest(&model->events, kind);
    if (told.length != wanted.length || (told.length > 0 && memcmp(told.bytes, wanted.bytes, told.length) != 0)) {
      show_events("told", &of->events);
      show_events("to be told", &model->events);
      fuzz_fail(__FILE__, __LINE__, "the events are those of the model");
    }
    free(told.bytes);
    free(wanted.bytes);
  }
  of->events.length = model->events.length = 0;
}

static void check_stats(handle *of) {
  const stream_model *model = &of->model;
  bw_stats_t stats = BW_STATS_INIT;
  FUZZ_SAME(bw_get_stats(of->bw, &stats), 0);
  FUZZ_SAME(stats.written_bytes, model->written_bytes);
  FUZZ_SAME(stats.sink_writes, model->sink_writes);
  FUZZ_SAME(stats.sink_write.count, model->sink_writes);
  FUZZ_SAME(stats.flushes, model->flushes);
  FUZZ_SAME(stats.errors, model->errors);
  FUZZ_SAME(stats.buffers, 1);
  FUZZ_CHECK(stats.writes >= model->pieces && stats.writes <= model->pieces_most + model->pieces);
  FUZZ_CHECK(stats.bypasses <= model->bypasses_most);
  if (!model_has_spans(model))
    FUZZ_SAME(stats.accepted_bytes, model->written_bytes + model_unwritten(model) + model->discarded_bytes);
}

static void check(handle *of) {
  const stream_model *model = &of->model;
  const int64_t accepted = bw_position(of->bw, BW_ACCEPTED);
  size_t length;
  const void *buffer = bw_buffer(of->bw, &length);
  FUZZ_SAME(bw_tell(of->bw), model_end(model));
  FUZZ_SAME(bw_position(of->bw, BW_WRITTEN), model->written);
  FUZZ_SAME(bw_position(of->bw, BW_DURABLE), model->durable);
  FUZZ_SAME(bw_error(of->bw), model->held ? model->held : model->sync_error);
  FUZZ_SAME(bw_buffered(of->bw), model_unwritten(model));
  if (model_has_spans(model)) {
    FUZZ_CHECK(accepted >= model->floor && accepted <= model_oldest_span(model));
  } else {
    FUZZ_SAME(accepted, model_end(model));
  }
  if (model->is_unshared) {
    FUZZ_SAME(length, model->buffer.length);
    FUZZ_CHECK(length == 0 || memcmp(buffer, model->buffer.bytes, length) == 0);
  } else {
    FUZZ_CHECK(buffer == NULL && length == 0);
  }
  FUZZ_CHECK(accepted >= model->written);
  FUZZ_CHECK(bw_context(of->bw) == (model->parent ? NULL : (void *)&of->of->script.sinks[model->sink]));
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
    const int64_t position = bw_position(of->bw, level);
    if (position > of->most[level]) of->most[level] = position;
  }
  check_events(of);
}

/* ---- The program ----------------------------------------------------------------------------- */

static void end_handle(handle *of) {
  stream_model *model = &of->model;
  const bool has_spans = model_has_spans(model);
  int code;
  if (of->bw == NULL) return;
  check_stats(of);
  of->is_freeing = true;
  model->tries_twice = !of->of->handles[0].nonblock;
  bw_free(of->bw);
  of->bw = NULL;
  if (has_spans) { /* What is before the oldest span may be written, all that is beyond it is lost. */
    for (; of->of->next_call < of->of->script.call_count; ++of->of->next_call) {
      const sink_call *call = &of->of->script.calls[of->of->next_call];
      FUZZ_CHECK(call->kind == kWrite || call->kind == kClose);
      if (call->kind != kWrite || call->answer <= 0) continue;
      for (int64_t index = 0; index < call->answer; ++index) {
        fuzz_bytes *from = model->spill.length > 0 ? &model->spill : &model->buffer;
        FUZZ_SAME(of->of->script.offered.bytes[call->from + (size_t)index], from->bytes[0]);
        fuzz_drop(from, 1);
        ++model->written;
      }
    }
    FUZZ_CHECK(of->lost.length <= model_unwritten(model));
  } else {
    model_free(model, &code);
    check_events(of);
    FUZZ_SAME(of->lost.length, model_unwritten(model));
    if (of->lost.length > 0) {
      fuzz_append(&model->spill, model->buffer.bytes, model->buffer.length);
      FUZZ_SAME(of->lost_from, model->written);
      FUZZ_SAME(of->lost_code, code);
      FUZZ_CHECK(memcmp(of->lost.bytes, model->spill.bytes, of->lost.length) == 0);
    }
  }
  check_wakers_came(of);
  for (size_t index = 0; index < model->note_count; ++index) FUZZ_SAME(of->notes[index].calls, 1);
}

static void destroy_handle(handle *of) {
  model_destroy(&of->model);
  free(of->events.bytes);
  free(of->lost.bytes);
  memset(of, 0, sizeof *of);
}

static void step(handle *of, unsigned op) {
  of->model.tries_twice = !of->nonblock && !of->of->handles[0].nonblock;
  switch (op % 24) {
    case 0: case 1: case 2: do_write(of, false); break;
    case 3: do_write(of, true); break;
    case 4: do_writev(of, false); break;
    case 5: do_writev(of, true); break;
    case 6: do_append(of, op & 128, false); break;
    case 7: do_append(of, op & 128, true); break;
    case 8: do_reserve(of); break;
    case 9: do_commit(of); break;
    case 10: do_simple(of, bw_flush, bw_poll_flush, model_flush); break;
    case 11: do_simple(of, bw_sync, bw_poll_sync, model_sync); break;
    case 12: if (op & 128) do_close(of); break;
    case 13: do_seek(of, op / 24 % 3); break;
    case 14: do_seek(of, 2); break;
    case 15: do_read(of); break;
    case 16: do_wait(of); break;
    case 17: do_notify(of); break;
    case 18: if (op & 128) do_set_sink(of); break;
    case 19: do_unwritten(of); break;
    case 20: do_discard(of); break;
    case 21: FUZZ_SAME(bw_resume(of->bw), model_resume(&of->model)); break;
    case 22: do_wake(of); break;
    default: do_unwake(of); break;
  }
}

void fuzz_inline(fuzz_input *input, bool is_unshared) {
  run of = {0};
  handle *first = &of.handles[0];
  bw_options_t options = BW_OPTIONS_INIT;
  const unsigned with = fuzz_byte(input) & ~(1u << kWrite), shape = fuzz_byte(input);
  bw_sink_t sink = script_sink_ops(with);
  script_sink_init(&of.script, fuzz_split(input, fuzz_byte(input)));
  of.ops = *input;
  options.flags = (is_unshared ? BW_UNSHARED : 0) | (shape & 128 ? BW_NONBLOCK : 0);
  options.capacity = (shape & 127) < 120 ? 1 + (shape & 127) % 40 : (shape & 127) == 120 ? 0 : 1u << (shape % 7 + 5);
  options.on_event = on_event;
  options.event_arg = first;
  first->of = &of;
  first->nonblock = shape & 128;
  first->model.script = &of.script;
  first->model.next = &of.next_call;
  first->model.is_unshared = is_unshared;
  first->model.has = with;
  first->model.capacity = options.capacity ? options.capacity : 8192;
  FUZZ_SAME(bw_new(&first->bw, &sink, &of.script.sinks[0], &options), 0);
  of.script.bw = first->bw;
  while (of.ops.left > 0 && of.written < kBytesMax) {
    const unsigned op = fuzz_byte(&of.ops);
    handle *of_op = &of.handles[of.handles[1].bw != NULL && op >= 96 ? 1 : 0];
    if (op == 255 && of.handles[1].bw == NULL) {
      do_lane(&of);
    } else if (op == 255 && !model_has_spans(&first->model)) {
      end_handle(&of.handles[1]);
      destroy_handle(&of.handles[1]);
    } else {
      step(of_op, op);
    }
    for (int index = 0; index < kHandles; ++index) {
      if (of.handles[index].bw != NULL) check(&of.handles[index]);
    }
    FUZZ_SAME(of.next_call, of.script.call_count);
  }
  if (of.handles[1].bw != NULL) { /* the lane hands on, and would wait for them */
    for (int index = 0; index < kSpansMax; ++index) commit_shared(first, index);
  }
  end_handle(&of.handles[1]);
  end_handle(first);
  FUZZ_SAME(of.next_call, of.script.call_count);
  destroy_handle(&of.handles[1]);
  destroy_handle(first);
  free(of.scratch.bytes);
  script_sink_destroy(&of.script);
}
