// The public API of batchers: argument checks, and nothing else.
#include <bw/bw.h>

#include <cerrno>

#include "arguments.h"
#include "batcher.h"
#include "log_sink.h"
#include "options.h"
#include "stats_json.h"
#include "writer.h"

using bwlib::Batcher;
using bwlib::BatchBlock;
using bwlib::is_bad_buffer;
using bwlib::is_bad_list;
using bwlib::is_bad_waker;

namespace {

Batcher *batcher_of(bw_batch_t *batch) noexcept {
  return reinterpret_cast<Batcher *>(batch);
}

// A view that may be looked at, or NULL.
const BatchBlock *block_of(const bw_batch_view_t *view) noexcept {
  const BatchBlock *block = reinterpret_cast<const BatchBlock *>(view);
  return block && block->owner->is_of_this_process() ? block : nullptr;
}

// 0: the handle may be used.
int check(bw_batch_t *batch) noexcept {
  if (!batch) return -EINVAL;
  return batcher_of(batch)->is_of_this_process() ? 0 : -ECHILD;
}

int hand_over(bw_batch_t **out, Batcher *batcher, int code) noexcept {
  if (code == 0) *out = reinterpret_cast<bw_batch_t *>(batcher);
  return code;
}

} // namespace

extern "C" {

// ---- What a sink sees of a batch ----

const struct iovec *bw_batch_items(const bw_batch_view_t *view, size_t *count) noexcept {
  const BatchBlock *block = block_of(view);
  if (count) *count = block ? block->part() : 0;
  return block ? block->items + block->settled : nullptr;
}

uint64_t bw_batch_bytes(const bw_batch_view_t *view) noexcept {
  const BatchBlock *block = block_of(view);
  return block ? block->bytes_of(block->settled, block->part()) : 0;
}

uint64_t bw_batch_serial(const bw_batch_view_t *view) noexcept {
  const BatchBlock *block = block_of(view);
  return block ? block->serial : 0;
}

uint64_t bw_batch_first(const bw_batch_view_t *view) noexcept {
  const BatchBlock *block = block_of(view);
  return block ? block->first_of_part() : 0;
}

uint32_t bw_batch_attempt(const bw_batch_view_t *view) noexcept {
  const BatchBlock *block = block_of(view);
  return block ? block->attempt : 0;
}

// ---- Making a batcher ----

int bw_batch_new(bw_batch_t **out, const bw_batch_sink_t *sink, void *ctx, const bw_batch_options_t *options) noexcept {
  if (!out) return -EINVAL;
  *out = nullptr;
  if (!sink) return -EINVAL;
  bw_batch_sink_t ops;
  if (const int code = bwlib::read_struct(sink, ops)) return code;
  if (ops.flags || !ops.write) return -EINVAL;
  bw_batch_options_t checked;
  if (const int code = bwlib::read_batch_options(options, checked)) return code;
  Batcher *batcher = nullptr;
  const int code = Batcher::create(batcher, {ops, ctx, checked, nullptr});
  return hand_over(out, batcher, code);
}

int bw_batch_to_writer(bw_batch_t **out, bw_t *writer, const char *separator,
                       const bw_batch_options_t *options) noexcept {
  if (!out) return -EINVAL;
  *out = nullptr;
  if (!writer) return -EINVAL;
  auto *target = reinterpret_cast<bwlib::Writer *>(writer);
  if (!target->is_of_this_process()) return -ECHILD;
  bw_batch_options_t checked;
  if (const int code = bwlib::read_batch_options(options, checked)) return code;
  Batcher *batcher = nullptr;
  const int code = bwlib::create_log_batcher(batcher, *target, separator, checked);
  return hand_over(out, batcher, code);
}

int bw_batch_close(bw_batch_t *batch) noexcept {
  return bw_batch_close_for(batch, -1);
}

int bw_batch_close_for(bw_batch_t *batch, int64_t timeout_us) noexcept {
  if (const int code = check(batch)) return code;
  return batcher_of(batch)->close(timeout_us);
}

void bw_batch_free(bw_batch_t *batch) noexcept {
  if (batch) Batcher::destroy(batcher_of(batch));
}

// ---- Sending ----

int bw_batch_send(bw_batch_t *batch, const void *item, size_t length) noexcept {
  if (const int code = check(batch)) [[unlikely]]
    return code;
  if (is_bad_buffer(item, length)) [[unlikely]]
    return -EINVAL;
  return batcher_of(batch)->send(item, length, false);
}

int bw_batch_sendv(bw_batch_t *batch, const struct iovec *parts, int count) noexcept {
  if (const int code = check(batch)) return code;
  if (is_bad_list(parts, count)) return -EINVAL;
  return batcher_of(batch)->sendv(parts, count, false);
}

int bw_batch_flush(bw_batch_t *batch) noexcept {
  return bw_batch_flush_for(batch, -1);
}

int bw_batch_flush_for(bw_batch_t *batch, int64_t timeout_us) noexcept {
  if (const int code = check(batch)) return code;
  return batcher_of(batch)->flush(timeout_us);
}

int64_t bw_batch_discard(bw_batch_t *batch) noexcept {
  if (const int code = check(batch)) return code;
  return batcher_of(batch)->discard();
}

// ---- The four phases ----

int bw_batch_poll_ready(bw_batch_t *batch, const bw_waker_t *wake) noexcept {
  if (const int code = check(batch)) return code;
  return is_bad_waker(wake) ? -EINVAL : batcher_of(batch)->poll_ready(wake);
}

int bw_batch_start_send(bw_batch_t *batch, const void *item, size_t length) noexcept {
  if (const int code = check(batch)) return code;
  if (is_bad_buffer(item, length)) return -EINVAL;
  return batcher_of(batch)->send(item, length, true);
}

int bw_batch_start_sendv(bw_batch_t *batch, const struct iovec *parts, int count) noexcept {
  if (const int code = check(batch)) return code;
  if (is_bad_list(parts, count)) return -EINVAL;
  return batcher_of(batch)->sendv(parts, count, true);
}

int bw_batch_poll_flush(bw_batch_t *batch, const bw_waker_t *wake) noexcept {
  if (const int code = check(batch)) return code;
  return is_bad_waker(wake) ? -EINVAL : batcher_of(batch)->poll_flush(wake);
}

int bw_batch_poll_close(bw_batch_t *batch, const bw_waker_t *wake) noexcept {
  if (const int code = check(batch)) return code;
  return is_bad_waker(wake) ? -EINVAL : batcher_of(batch)->poll_close(wake);
}

int bw_batch_unwake(bw_batch_t *batch, const bw_waker_t *wake) noexcept {
  if (const int code = check(batch)) return code;
  return wake && wake->wake ? batcher_of(batch)->unwake(*wake) : -EINVAL;
}

// ---- Answers ----

int bw_batch_done(bw_batch_view_t *taken, int code, const int *codes) noexcept {
  auto *block = reinterpret_cast<BatchBlock *>(taken);
  if (!block) return -EINVAL;
  return block->owner->is_of_this_process() ? Batcher::done(*block, code, codes) : -ECHILD;
}

int bw_batch_wake(bw_batch_t *batch) noexcept {
  if (const int code = check(batch)) return code;
  return batcher_of(batch)->wake();
}

// ---- Looking inside ----

int bw_batch_error(bw_batch_t *batch) noexcept {
  if (const int code = check(batch)) return code;
  return batcher_of(batch)->error();
}

size_t bw_batch_buffered(bw_batch_t *batch) noexcept {
  return check(batch) == 0 ? batcher_of(batch)->buffered() : 0;
}

uint64_t bw_batch_flushed(bw_batch_t *batch) noexcept {
  return check(batch) == 0 ? batcher_of(batch)->flushed() : 0;
}

int bw_batch_get_stats(bw_batch_t *batch, bw_batch_stats_t *stats) noexcept {
  if (const int code = check(batch)) return code;
  if (!stats) return -EINVAL;
  bw_batch_stats_t ours;
  batcher_of(batch)->get_stats(ours);
  return bwlib::write_struct(ours, stats);
}

int64_t bw_batch_stats_json(bw_batch_t *batch, char *text, size_t size) noexcept {
  if (const int code = check(batch)) return code;
  if (!text && size > 0) return -EINVAL;
  bw_batch_stats_t stats;
  batcher_of(batch)->get_stats(stats);
  return bwlib::write_stats_json(stats, text, size);
}

} // extern "C"
