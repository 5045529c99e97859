#include "stream_model.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void model_destroy(stream_model *model) {
  free(model->spill.bytes);
  free(model->buffer.bytes);
  free(model->events.bytes);
}

size_t model_unwritten(const stream_model *model) { return model->spill.length + model->buffer.length; }
int64_t model_end(const stream_model *model) { return model->written + (int64_t)model_unwritten(model); }
static size_t room_of(const stream_model *model) { return model->capacity - model->buffer.length; }

int64_t model_oldest_span(const stream_model *model) {
  size_t oldest = model->buffer.length;
  for (int index = 0; index < kSpansMax; ++index) {
    if (model->open[index].is_open && model->open[index].from < oldest) oldest = model->open[index].from;
  }
  return model->written + (int64_t)(model->spill.length + oldest);
}

bool model_has_spans(const stream_model *model) {
  for (int index = 0; index < kSpansMax; ++index) {
    if (model->open[index].is_open) return true;
  }
  return false;
}

static int refusal(const stream_model *model) {
  if (model->span_open) return -EBUSY;
  if (model->is_closed) return -ESHUTDOWN;
  return model->held;
}

static bool has(const stream_model *model, sink_kind kind) {
  return model->parent ? kind == kWritev || kind == kFlush || kind == kSync : model->has >> kind & 1;
}

/* ---- Telling --------------------------------------------------------------------------------- */

static void tell(stream_model *model, uint32_t kind, int64_t position, uint64_t length, int code) {
  const bw_event_t event = {sizeof event, kind, position, length, NULL, code, 0};
  fuzz_append(&model->events, &event, sizeof event);
}

static int64_t level_of(const stream_model *model, int level) {
  return level == BW_DURABLE ? model->durable : level == BW_WRITTEN ? model->written : model_oldest_span(model);
}

/* Those that are reached, or all, are answered. */
static void settle_notes(stream_model *model, int level, int64_t beyond) {
  for (size_t index = 0; index < model->note_count; ++index) {
    model_note *note = &model->notes[index];
    if (note->level == level && (note->position <= level_of(model, level) || note->position > beyond))
      note->is_open = false;
  }
}

static void end_notes(stream_model *model) {
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) settle_notes(model, level, INT64_MIN);
}

static bool has_note_below(const stream_model *model, int64_t position) {
  for (size_t index = 0; index < model->note_count; ++index) {
    const model_note *note = &model->notes[index];
    if (note->is_open && note->level == BW_DURABLE && note->position <= position) return true;
  }
  return false;
}

/* ---- The sink -------------------------------------------------------------------------------- */

static size_t join(unsigned char *to, const struct iovec *parts, int count) {
  size_t length = 0;
  for (int index = 0; index < count; ++index) {
    if (parts[index].iov_len > 0) memcpy(to + length, parts[index].iov_base, parts[index].iov_len);
    length += parts[index].iov_len;
  }
  return length;
}

static size_t total_of(const struct iovec *parts, int count) {
  size_t total = 0;
  for (int index = 0; index < count; ++index) total += parts[index].iov_len;
  return total;
}

/* The next call of the record, which must be this one. */
static const sink_call *expect(stream_model *model, sink_kind kind) {
  const sink_call *call;
  FUZZ_CHECK(*model->next < model->script->call_count);
  call = &model->script->calls[(*model->next)++];
  FUZZ_SAME(call->kind, kind);
  FUZZ_SAME(call->sink, model->sink);
  model->was_ready_wait = call->answer == -EAGAIN;
  model->was_woken = call->woke;
  if (call->has_inner) {
    const unsigned char byte = kInnerByte;
    FUZZ_CHECK(room_of(model) > 0);
    fuzz_append(&model->buffer, &byte, 1);
    ++model->pieces;
  }
  return call;
}

static int64_t call_write(stream_model *model, const struct iovec *parts, int count, bool vectored) {
  const size_t length = total_of(parts, count);
  unsigned char *bytes;
  const sink_call *call;
  ++model->sink_writes;
  if (model->parent) {
    int64_t result = model_put(model->parent, kPutAppend, true, parts, count);
    if (result == -EAGAIN && model->tries_twice) result = model_put(model->parent, kPutAppend, true, parts, count);
    model->was_ready_wait = model->parent->was_ready_wait;
    model->was_woken = model->parent->was_woken;
    return result < 0 ? result : (int64_t)length;
  }
  call = expect(model, vectored && has(model, kWritev) ? kWritev : kWrite);
  FUZZ_SAME(call->length, length);
  bytes = malloc(length);
  join(bytes, parts, count);
  FUZZ_CHECK(memcmp(bytes, model->script->offered.bytes + call->from, length) == 0);
  free(bytes);
  return call->answer;
}

/* flush, sync and close, without the retry after -EINTR. */
static int64_t call_simple(stream_model *model, sink_kind kind) {
  if (model->parent) {
    int code = -EAGAIN;
    for (int tries = model->tries_twice ? 2 : 1; code == -EAGAIN && tries > 0; --tries)
      code = kind == kFlush ? model_flush(model->parent) : kind == kSync ? model_sync(model->parent) : 0;
    model->was_ready_wait = model->parent->was_ready_wait;
    model->was_woken = model->parent->was_woken;
    return code;
  }
  return has(model, kind) ? expect(model, kind)->answer : 0;
}

/* What an answer below zero means. */
static int judge(stream_model *model, int64_t answer, bool is_event) {
  const int code = (int)answer;
  if (code == -EAGAIN) return code;
  if (is_event || code == BW_ESINK) {
    ++model->errors;
    tell(model, BW_EVENT_ERROR, model->written, 0, code);
  }
  if (code == BW_ESINK && !model->parent) {
    model->held = code;
    end_notes(model);
  }
  return code;
}

static int call_until_answered(stream_model *model, sink_kind kind, bool is_event) {
  for (;;) {
    const int64_t answer = call_simple(model, kind);
    if (answer >= 0) return 0;
    if (answer != -EINTR) return judge(model, answer, is_event);
  }
}

static void count_written(stream_model *model, int64_t bytes) {
  tell(model, BW_EVENT_WRITTEN, model->written, (uint64_t)bytes, 0);
  model->written_bytes += (uint64_t)bytes;
}

/* Drops `count` bytes from the front of a list. */
static void consume(struct iovec **parts, int *count, size_t bytes) {
  while (*count > 0 && bytes >= (*parts)->iov_len) {
    bytes -= (*parts)->iov_len;
    ++*parts;
    --*count;
  }
  if (bytes > 0) {
    (*parts)->iov_base = (char *)(*parts)->iov_base + bytes;
    (*parts)->iov_len -= bytes;
  }
}

/* Gives a list to the sink until all is taken; `taken` says how far it came. */
static int push(stream_model *model, const struct iovec *list, int list_count, bool vectored, size_t *taken) {
  struct iovec copy[80], *parts = copy;
  int count = list_count;
  const size_t total = total_of(list, count);
  *taken = 0;
  FUZZ_CHECK(count <= 80);
  memcpy(copy, list, sizeof *list * (size_t)count);
  while (*taken < total) {
    const int64_t answer = call_write(model, parts, count, vectored);
    if (answer > 0) {
      consume(&parts, &count, (size_t)answer);
      *taken += (size_t)answer;
      count_written(model, answer);
      model->written += answer;
    } else if (answer != -EINTR) {
      return judge(model, answer == 0 ? BW_EWRITEZERO : answer, true);
    }
  }
  return 0;
}

static int push_bytes(stream_model *model, fuzz_bytes *from, size_t length) {
  struct iovec part = {malloc(length + 1), length};
  size_t taken = 0;
  int code = 0;
  if (length > 0) memcpy(part.iov_base, from->bytes, length);
  if (length > 0) code = push(model, &part, 1, false, &taken);
  free(part.iov_base);
  fuzz_drop(from, taken);
  return code;
}

static int push_spill(stream_model *model) {
  while (model->spill_count > 0) {
    const size_t before = model->spill.length;
    const int code = push_bytes(model, &model->spill, model->spills[0]);
    model->spills[0] -= before - model->spill.length;
    if (code) return code;
    memmove(model->spills, model->spills + 1, --model->spill_count * sizeof *model->spills);
  }
  return 0;
}

static int push_buffer(stream_model *model) { return push_bytes(model, &model->buffer, model->buffer.length); }

static int pending(stream_model *model) {
  model->was_ready_wait = false;
  return -EAGAIN;
}

/* Everything to the sink; an open span is in the way. */
static int empty(stream_model *model) {
  if (model_has_spans(model)) return pending(model);
  const int code = push_spill(model);
  return code ? code : push_buffer(model);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void copy_in(stream_model *model, const struct iovec *part) {
  FUZZ_CHECK(part->iov_len <= room_of(model));
  fuzz_append(&model->buffer, part->iov_base, part->iov_len);
}

/* Past the buffer, which is empty. */
static int bypass(stream_model *model, const struct iovec *parts, int count, bool vectored, size_t *taken) {
  return push(model, parts, count, vectored, taken);
}

/* A whole list for a plain sink. `taken`: how many bytes are with the sink or in the buffer. */
static int put_slices(stream_model *model, const struct iovec *parts, int count, size_t *taken) {
  *taken = 0;
  for (int index = 0; index < count; ++index) {
    const struct iovec *part = &parts[index];
    size_t done = part->iov_len;
    int code = 0;
    if (part->iov_len == 0) continue;
    if (part->iov_len > room_of(model) && (code = push_buffer(model)) != 0) return code;
    if (part->iov_len < model->capacity) {
      copy_in(model, part);
    } else {
      code = bypass(model, part, 1, false, &done);
    }
    *taken += done;
    if (code) return code;
  }
  return 0;
}

/* What an append could not give to the sink goes behind what is in the buffer, and before what comes. */
static void keep_rest(stream_model *model, const struct iovec *parts, int count, size_t skip) {
  fuzz_bytes all = {0};
  unsigned char *bytes = malloc(total_of(parts, count) + 1);
  const size_t total = join(bytes, parts, count);
  FUZZ_CHECK(model->spill_count < kSpillsMax);
  fuzz_append(&all, model->buffer.bytes, model->buffer.length);
  fuzz_append(&all, bytes + skip, total - skip);
  model->spills[model->spill_count++] = all.length;
  fuzz_append(&model->spill, all.bytes, all.length);
  model->buffer.length = 0;
  free(all.bytes);
  free(bytes);
}

static int64_t poll_around(stream_model *model, const struct iovec *parts, int count, bool vectored) {
  const int64_t answer = call_write(model, parts, count, vectored);
  if (answer == 0 || answer == -EINTR) return answer;
  if (answer < 0) return judge(model, answer, true);
  count_written(model, answer);
  model->written += answer;
  return answer;
}

/* What does not fit makes room first. */
static int make_room(stream_model *model, size_t length) {
  const bool is_long = length >= model->capacity;
  return length > room_of(model) || (is_long && model->spill_count > 0) ? empty(model) : 0;
}

static int64_t poll_slices(stream_model *model, const struct iovec *parts, int count) {
  int64_t taken = 0;
  int code;
  while (count > 0 && parts->iov_len == 0) ++parts, --count;
  if ((code = make_room(model, parts->iov_len)) != 0) return code;
  if (parts->iov_len >= model->capacity) {
    ++model->bypasses_most;
    return poll_around(model, parts, 1, false);
  }
  for (; count > 0 && parts->iov_len <= room_of(model); ++parts, --count) {
    copy_in(model, parts);
    taken += (int64_t)parts->iov_len;
  }
  return taken;
}

static int64_t put_around(stream_model *model, put_kind kind, bool vectored, const struct iovec *parts, int count) {
  const size_t total = total_of(parts, count);
  size_t taken;
  int code;
  ++model->bypasses_most;
  if (kind == kPutPoll) return poll_around(model, parts, count, vectored);
  if (vectored && !has(model, kWritev)) {
    code = put_slices(model, parts, count, &taken);
  } else {
    code = bypass(model, parts, count, vectored, &taken);
  }
  if (code == 0 || taken == 0) return code ? code : (int64_t)total;
  if (kind == kPutWrite) return (int64_t)taken;
  keep_rest(model, parts, count, taken);
  return (int64_t)total;
}

int64_t model_put(stream_model *model, put_kind kind, bool vectored, const struct iovec *parts, int count) {
  const size_t total = total_of(parts, count);
  const int64_t start = model_end(model);
  int64_t result;
  int code = refusal(model);
  if (code) return code;
  if (total > (uint64_t)(INT64_MAX - start)) return -EOVERFLOW;
  if (total == 0) {
    result = 0;
  } else if (kind == kPutPoll && vectored && !has(model, kWritev)) {
    result = poll_slices(model, parts, count);
  } else if ((code = make_room(model, total)) != 0) {
    return code;
  } else if (total >= model->capacity) {
    result = put_around(model, kind, vectored, parts, count);
  } else {
    for (int index = 0; index < count; ++index) copy_in(model, &parts[index]);
    result = (int64_t)total;
  }
  if (result > 0) ++model->pieces;
  if (result >= 0 && total > 0) ++model->pieces_most;
  return result >= 0 && kind == kPutAppend ? start : result;
}

int model_reserve(stream_model *model, size_t length, size_t *room) {
  const int code = length == 0 ? -EINVAL : length > model->capacity ? -EMSGSIZE : refusal(model);
  if (code) return code;
  if (length > (uint64_t)(INT64_MAX - model_end(model))) return -EOVERFLOW;
  if (length > room_of(model)) {
    const int failed = empty(model);
    if (failed) return failed;
  }
  *room = length;
  if (model->is_unshared) {
    const uint64_t most = (uint64_t)(INT64_MAX - model_end(model));
    *room = room_of(model) < most ? room_of(model) : most;
    model->span_open = true;
  }
  return 0;
}

/* ---- Flush, sync, wait ----------------------------------------------------------------------- */

static int flush_below(stream_model *model, int64_t target) {
  const int code = refusal(model);
  if (code || model->written >= target) return code;
  return empty(model);
}

static int sync_below(stream_model *model, int64_t target, bool is_again);

/* BW_UNSHARED: the owner's calls see to what was promised. */
static void serve_notes(stream_model *model) {
  if (model->is_unshared && has_note_below(model, model->written)) sync_below(model, model->written, false);
}

int model_flush(stream_model *model) {
  int code = flush_below(model, model_end(model));
  if (code) return code;
  code = call_until_answered(model, kFlush, true);
  if (code) return code;
  ++model->flushes;
  settle_notes(model, BW_ACCEPTED, INT64_MAX);
  serve_notes(model);
  return 0;
}

/* Where `is_again`, a sync that was before does not do. */
static int sync_below(stream_model *model, int64_t target, bool is_again) {
  int code;
  if (model->span_open) return -EBUSY;
  if (model->is_closed) return -ESHUTDOWN;
  if (model->sync_error) return model->sync_error;
  if (!is_again && model->has_synced && model->durable >= target) return 0;
  if ((code = flush_below(model, target)) != 0) return code;
  if ((code = call_until_answered(model, kFlush, true)) != 0) return code;
  if (!has(model, kSync)) return -EOPNOTSUPP;
  const int64_t reached = model->written;
  code = call_until_answered(model, kSync, false);
  if (code == 0) {
    model->durable = reached;
    model->has_synced = true;
    tell(model, BW_EVENT_DURABLE, reached, 0, 0);
    settle_notes(model, BW_DURABLE, INT64_MAX);
    return 0;
  }
  const bool is_final = !model->parent || model->parent->sync_error == code;
  if (is_final && code != -EAGAIN && code != -EOPNOTSUPP && code != BW_ESINK) {
    model->sync_error = code;
    ++model->errors;
    tell(model, BW_EVENT_ERROR, model->durable, 0, code);
    settle_notes(model, BW_DURABLE, INT64_MIN);
  }
  return code;
}

int model_sync(stream_model *model) { return sync_below(model, model_end(model), true); }

static int wait_once(stream_model *model, int64_t position, int level, bool may_do_io) {
  const int64_t reachable = position < model_end(model) ? position : model_end(model);
  int code = 0;
  if (model->span_open) return -EBUSY;
  if (level == BW_DURABLE && model->sync_error) return model->sync_error;
  if (level_of(model, level) >= position) {
    serve_notes(model);
    return 0;
  }
  if (model->is_closed) return -ESHUTDOWN;
  if (model->held) return model->held;
  if (!may_do_io) return -ETIMEDOUT;
  if (level != BW_ACCEPTED) code = flush_below(model, reachable);
  if (code == 0 && level == BW_DURABLE && model->durable < reachable) code = sync_below(model, reachable, false);
  if (code) return code;
  if (level_of(model, level) < position) return -ETIMEDOUT;
  serve_notes(model);
  return 0;
}

int model_wait(stream_model *model, int64_t position, int level, bool may_do_io) {
  for (;;) {
    const int code = wait_once(model, position, level, may_do_io);
    if (code != -EAGAIN) return code;
    /* What the sink took before it said so may have been enough. */
    if (!model->was_ready_wait || (!model->was_woken && level_of(model, level) < position)) return -ETIMEDOUT;
  }
}

int model_notify(stream_model *model, int64_t position, int level) {
  if (level == BW_DURABLE && !has(model, kSync)) return -EOPNOTSUPP;
  if (model->is_closed && level_of(model, level) < position) return -ESHUTDOWN;
  FUZZ_CHECK(model->note_count < kNotesMax);
  model->notes[model->note_count++] = (model_note){position, level, true};
  settle_notes(model, level, INT64_MAX);
  const int failed = model->is_closed ? -ESHUTDOWN : model->held;
  if (failed || (level == BW_DURABLE && model->sync_error)) settle_notes(model, level, INT64_MIN);
  return 0;
}

/* ---- Seek, read, close ----------------------------------------------------------------------- */

static void cut(stream_model *model, int64_t position) {
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) settle_notes(model, level, INT64_MAX);
  model->written = position;
  if (model->durable > position) model->durable = position;
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) settle_notes(model, level, position);
}

static int64_t seek(stream_model *model, int64_t offset, int whence, bool *is_over) {
  int code = refusal(model);
  *is_over = false;
  if (code == 0) code = empty(model);
  if (code) return code;
  *is_over = true;
  if (model->parent || !has(model, kSeek)) return -ESPIPE;
  for (;;) {
    const sink_call *call = expect(model, kSeek);
    FUZZ_SAME(call->offset, offset);
    FUZZ_SAME(call->whence, whence);
    if (call->answer == -EINTR) continue;
    *is_over = call->answer != -EAGAIN;
    if (call->answer < 0) return judge(model, call->answer, false);
    cut(model, call->answer);
    return call->answer;
  }
}

int64_t model_seek(stream_model *model, int64_t offset, int whence) {
  bool is_over;
  return seek(model, offset, whence, &is_over);
}

int model_start_seek(stream_model *model, int64_t offset, int whence) {
  if (model->span_open) return -EBUSY;
  if (model->is_closed) return -ESHUTDOWN;
  if (model->parent || !has(model, kSeek)) return -ESPIPE;
  model->seek_pending = true;
  model->seek_offset = offset;
  model->seek_whence = whence;
  return 0;
}

int64_t model_poll_seek(stream_model *model) {
  const int code = refusal(model);
  bool is_over;
  if (code) return code;
  if (!model->seek_pending) return model_end(model);
  const int64_t answer = seek(model, model->seek_offset, model->seek_whence, &is_over);
  if (is_over) model->seek_pending = false;
  return answer;
}

int64_t model_read(stream_model *model, size_t length, const void *data) {
  if (model->span_open) return -EBUSY;
  if (model->is_closed) return -ESHUTDOWN;
  if (model->parent || !has(model, kRead)) return -EBADF;
  if (model->held) return model->held;
  for (;;) {
    const sink_call *call = expect(model, kRead);
    FUZZ_SAME(call->length, length);
    if (call->answer == -EINTR) continue;
    if (call->answer < 0) return judge(model, call->answer, false);
    for (int64_t index = 0; index < call->answer; ++index)
      FUZZ_SAME(((const unsigned char *)data)[index], script_sink_byte((uint64_t)call->offset + (uint64_t)index));
    return call->answer;
  }
}

static int close_sink(stream_model *model) {
  int code = 0;
  if (!model->parent) {
    code = call_until_answered(model, kFlush, true);
    if (code) return code;
  }
  code = call_until_answered(model, kClose, false);
  if (code == -EAGAIN) return code;
  model->is_closed = true;
  end_notes(model);
  if (model->parent) --model->parent->lanes;
  return code ? code : model->sync_error;
}

int model_close(stream_model *model) {
  if (model->is_closed) return 0;
  if (model->span_open || model->lanes > 0) return -EBUSY;
  if (has_note_below(model, model_end(model)) && has(model, kSync)) {
    const int code = sync_below(model, model_end(model), false);
    if (code == -EAGAIN) return code;
  }
  int code = refusal(model);
  if (code == 0) code = empty(model);
  return code ? code : close_sink(model);
}

void model_free(stream_model *model, int *code) {
  const bool was_closed = model->is_closed;
  model->span_open = false;
  *code = was_closed ? 0 : model_close(model);
  if (model->is_closed) return;
  /* Once more, whatever it says: it has not come, or said -EAGAIN. */
  if (model->held != BW_ESINK) call_until_answered(model, kClose, false);
  if (model->parent) --model->parent->lanes;
  model->is_closed = true;
}

/* ---- Repair ---------------------------------------------------------------------------------- */

int model_resume(stream_model *model) { return model->sync_error ? -EIO : model->held; }

int64_t model_discard(stream_model *model) {
  const int64_t count = (int64_t)model_unwritten(model);
  if (model->span_open) return -EBUSY;
  if (model->is_closed) return 0;
  if (model_has_spans(model)) return -EBUSY;
  model->spill.length = model->buffer.length = 0;
  model->spill_count = 0;
  model->held = 0;
  model->discarded_bytes += (uint64_t)count;
  cut(model, model->written);
  return count;
}

int model_set_sink(stream_model *model, unsigned with, int sink) {
  if (model->parent) return -EINVAL;
  if (model->span_open) return -EBUSY;
  if (model->is_closed) return -ESHUTDOWN;
  model->has = with;
  model->sink = sink;
  model->held = 0;
  return 0;
}
