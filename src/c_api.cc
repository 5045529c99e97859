// The public API of writers: argument checks, and nothing else.
#include <bw/bw.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "aligned_memory.h"
#include "arguments.h"
#include "fd_sink.h"
#include "file_engine.h"
#include "lane.h"
#include "options.h"
#include "process.h"
#include "stats_json.h"
#include "writer.h"

using bwlib::is_bad_buffer;
using bwlib::is_bad_list;
using bwlib::is_bad_waker;
using bwlib::kMaxLength;
using bwlib::Writer;

namespace {

Writer *writer_of(bw_t *bw) noexcept {
  return reinterpret_cast<Writer *>(bw);
}

// 0: the handle may be used.
int check(bw_t *bw) noexcept {
  if (!bw) return -EINVAL;
  return writer_of(bw)->is_of_this_process() ? 0 : -ECHILD;
}

bool is_bad_level(int level) noexcept {
  return level < BW_ACCEPTED || level > BW_DURABLE;
}

iovec part_of(const void *data, std::size_t length) noexcept {
  return {const_cast<void *>(data), length};
}

int hand_over(bw_t **out, Writer *writer, int code) noexcept {
  if (code == 0) *out = reinterpret_cast<bw_t *>(writer);
  return code;
}

int open_descriptor(bw_t **out, int fd, const bw_options_t *options) noexcept {
  bw_options_t checked;
  if (const int code = bwlib::read_options(options, bwlib::kDefaultCapacity, checked)) return code;
  std::unique_ptr<bwlib::FdSink> sink;
  if (const int code = bwlib::FdSink::open(sink, fd)) return code;
  bwlib::FdSink *ctx = sink.get();
  const std::int64_t position = sink->position();
  Writer *writer = nullptr;
  const int code =
      Writer::create(writer, {&bwlib::FdSink::ops(), ctx, checked, std::move(sink), position, nullptr, nullptr});
  return hand_over(out, writer, code);
}

} // namespace

extern "C" {

// ---- Making a writer ----

int bw_new(bw_t **out, const bw_sink_t *sink, void *ctx, const bw_options_t *options) noexcept {
  if (!out) return -EINVAL;
  *out = nullptr;
  bw_options_t checked;
  if (const int code = bwlib::read_options(options, bwlib::kDefaultCapacity, checked)) return code;
  Writer *writer = nullptr;
  const int code = Writer::create(writer, {sink, ctx, checked, nullptr, 0, nullptr, nullptr});
  return hand_over(out, writer, code);
}

int bw_open(bw_t **out, const char *path, int oflags, unsigned mode, const bw_options_t *options) noexcept {
  if (!out) return -EINVAL;
  *out = nullptr;
  if (!path) return -EINVAL;
  bw_options_t checked;
  if (const int code = bwlib::read_file_options(options, checked)) return code;
  std::unique_ptr<bwlib::FileEngine> file;
  if (const int code = bwlib::FileEngine::open(file, path, oflags, mode, checked)) return code;
  if (!file->is_regular()) return open_descriptor(out, file->descriptor(), options);
  Writer *writer = nullptr;
  const std::int64_t position = file->first_position();
  const int code = Writer::create(writer, {nullptr, nullptr, checked, nullptr, position, nullptr, std::move(file)});
  return hand_over(out, writer, code);
}

int bw_fdopen(bw_t **out, int fd, const bw_options_t *options) noexcept {
  if (!out) return -EINVAL;
  *out = nullptr;
  return open_descriptor(out, fd, options);
}

int bw_lane(bw_t **out, bw_t *parent, const bw_options_t *options) noexcept {
  if (!out) return -EINVAL;
  *out = nullptr;
  if (const int code = check(parent)) return code;
  Writer *writer = nullptr;
  const int code = bwlib::create_lane(writer, *writer_of(parent), options);
  return hand_over(out, writer, code);
}

int bw_close(bw_t *bw) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->close();
}

void bw_free(bw_t *bw) noexcept {
  if (bw) Writer::destroy(writer_of(bw));
}

// ---- Writing ----

int64_t bw_write(bw_t *bw, const void *data, size_t length) noexcept {
  if (bw && writer_of(bw)->is_of_this_process() && data && length - 1 < kMaxLength) [[likely]]
    return writer_of(bw)->write(data, length);
  if (const int code = check(bw)) return code;
  return length == 0 ? writer_of(bw)->writev(nullptr, 0) : -EINVAL;
}

int64_t bw_writev(bw_t *bw, const struct iovec *parts, int count) noexcept {
  if (const int code = check(bw)) return code;
  if (is_bad_list(parts, count)) return -EINVAL;
  return writer_of(bw)->writev(parts, count);
}

int64_t bw_append(bw_t *bw, const void *data, size_t length) noexcept {
  if (const int code = check(bw)) return code;
  if (is_bad_buffer(data, length)) return -EINVAL;
  const iovec part = part_of(data, length);
  return writer_of(bw)->append(&part, 1);
}

int64_t bw_appendv(bw_t *bw, const struct iovec *parts, int count) noexcept {
  if (const int code = check(bw)) return code;
  if (is_bad_list(parts, count)) return -EINVAL;
  return writer_of(bw)->append(parts, count);
}

int bw_reserve(bw_t *bw, size_t length, bw_span_t *span) noexcept {
  if (const int code = check(bw)) return code;
  return span ? writer_of(bw)->reserve(length, *span) : -EINVAL;
}

int bw_commit(bw_t *bw, bw_span_t *span, size_t used) noexcept {
  if (const int code = check(bw)) return code;
  return span ? writer_of(bw)->commit(*span, used) : -EINVAL;
}

int bw_flush(bw_t *bw) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->flush();
}

int bw_sync(bw_t *bw) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->sync();
}

int64_t bw_seek(bw_t *bw, int64_t offset, int whence) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->seek(offset, whence);
}

int64_t bw_tell(bw_t *bw) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->tell();
}

int64_t bw_read(bw_t *bw, void *data, size_t length) noexcept {
  if (const int code = check(bw)) return code;
  if (is_bad_buffer(data, length)) return -EINVAL;
  return writer_of(bw)->read(data, length);
}

// ---- Polling ----

int64_t bw_poll_write(bw_t *bw, const void *data, size_t length, const bw_waker_t *wake) noexcept {
  if (const int code = check(bw)) return code;
  if (is_bad_buffer(data, length) || is_bad_waker(wake)) return -EINVAL;
  const iovec part = part_of(data, length);
  return writer_of(bw)->poll_write(&part, 1, false, wake);
}

int64_t bw_poll_writev(bw_t *bw, const struct iovec *parts, int count, const bw_waker_t *wake) noexcept {
  if (const int code = check(bw)) return code;
  if (is_bad_list(parts, count) || is_bad_waker(wake)) return -EINVAL;
  return writer_of(bw)->poll_write(parts, count, true, wake);
}

int64_t bw_poll_append(bw_t *bw, const void *data, size_t length, const bw_waker_t *wake) noexcept {
  if (const int code = check(bw)) return code;
  if (is_bad_buffer(data, length) || is_bad_waker(wake)) return -EINVAL;
  const iovec part = part_of(data, length);
  return writer_of(bw)->poll_append(&part, 1, wake);
}

int64_t bw_poll_appendv(bw_t *bw, const struct iovec *parts, int count, const bw_waker_t *wake) noexcept {
  if (const int code = check(bw)) return code;
  if (is_bad_list(parts, count) || is_bad_waker(wake)) return -EINVAL;
  return writer_of(bw)->poll_append(parts, count, wake);
}

int bw_poll_flush(bw_t *bw, const bw_waker_t *wake) noexcept {
  if (const int code = check(bw)) return code;
  return is_bad_waker(wake) ? -EINVAL : writer_of(bw)->poll_flush(wake);
}

int bw_poll_sync(bw_t *bw, const bw_waker_t *wake) noexcept {
  if (const int code = check(bw)) return code;
  return is_bad_waker(wake) ? -EINVAL : writer_of(bw)->poll_sync(wake);
}

int64_t bw_poll_read(bw_t *bw, void *data, size_t length, const bw_waker_t *wake) noexcept {
  if (const int code = check(bw)) return code;
  if (is_bad_buffer(data, length) || is_bad_waker(wake)) return -EINVAL;
  return writer_of(bw)->poll_read(data, length, wake);
}

int bw_start_seek(bw_t *bw, int64_t offset, int whence) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->start_seek(offset, whence);
}

int64_t bw_poll_seek(bw_t *bw, const bw_waker_t *wake) noexcept {
  if (const int code = check(bw)) return code;
  return is_bad_waker(wake) ? -EINVAL : writer_of(bw)->poll_seek(wake);
}

int bw_poll_close(bw_t *bw, const bw_waker_t *wake) noexcept {
  if (const int code = check(bw)) return code;
  return is_bad_waker(wake) ? -EINVAL : writer_of(bw)->poll_close(wake);
}

int bw_unwake(bw_t *bw, const bw_waker_t *wake) noexcept {
  if (const int code = check(bw)) return code;
  return wake && wake->wake ? writer_of(bw)->unwake(*wake) : -EINVAL;
}

int bw_event_fd(bw_t *bw) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->event_fd();
}

int bw_poll_events(bw_t *bw) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->poll_events();
}

int bw_wake(bw_t *bw) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->wake();
}

// ---- How far the bytes have come ----

int64_t bw_position(bw_t *bw, int level) noexcept {
  if (const int code = check(bw)) return code;
  return is_bad_level(level) ? -EINVAL : writer_of(bw)->position(level);
}

int bw_wait(bw_t *bw, int64_t position, int level, int64_t timeout_us) noexcept {
  if (const int code = check(bw)) return code;
  return is_bad_level(level) ? -EINVAL : writer_of(bw)->wait(position, level, timeout_us);
}

int bw_notify(bw_t *bw, int64_t position, int level, void (*done)(void *arg, int code), void *arg) noexcept {
  if (const int code = check(bw)) return code;
  return is_bad_level(level) || !done ? -EINVAL : writer_of(bw)->notify(position, level, done, arg);
}

// ---- When the sink fails ----

int bw_error(bw_t *bw) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->error();
}

int bw_resume(bw_t *bw) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->resume();
}

int bw_set_sink(bw_t *bw, const bw_sink_t *sink, void *ctx) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->set_sink(sink, ctx);
}

int64_t bw_unwritten(bw_t *bw, void (*each)(void *arg, const void *data, size_t length), void *arg) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->unwritten(each, arg);
}

int64_t bw_discard(bw_t *bw) noexcept {
  if (const int code = check(bw)) return code;
  return writer_of(bw)->discard();
}

// ---- Looking inside ----

const void *bw_buffer(bw_t *bw, size_t *length) noexcept {
  std::size_t ignored;
  std::size_t &result = length ? *length : ignored;
  result = 0;
  return check(bw) == 0 ? writer_of(bw)->buffer(result) : nullptr;
}

size_t bw_buffered(bw_t *bw) noexcept {
  return check(bw) == 0 ? writer_of(bw)->buffered() : 0;
}

size_t bw_capacity(bw_t *bw) noexcept {
  return check(bw) == 0 ? writer_of(bw)->capacity() : 0;
}

void *bw_context(bw_t *bw) noexcept {
  return check(bw) == 0 ? writer_of(bw)->context() : nullptr;
}

int bw_get_stats(bw_t *bw, bw_stats_t *stats) noexcept {
  if (const int code = check(bw)) return code;
  if (!stats) return -EINVAL;
  bw_stats_t ours;
  writer_of(bw)->get_stats(ours);
  return bwlib::write_struct(ours, stats);
}

int64_t bw_stats_json(bw_t *bw, char *text, size_t size) noexcept {
  if (const int code = check(bw)) return code;
  if (!text && size > 0) return -EINVAL;
  bw_stats_t stats;
  writer_of(bw)->get_stats(stats);
  return bwlib::write_stats_json(stats, text, size);
}

// ---- Memory for O_DIRECT ----

void *bw_alloc_aligned(size_t size) noexcept {
  if (size == 0 || size % bwlib::kPageBytes != 0) {
    errno = EINVAL;
    return nullptr;
  }
  void *block = std::aligned_alloc(bwlib::kPageBytes, size);
  if (block) std::memset(block, 0, size);
  return block;
}

void bw_free_aligned(void *block) noexcept {
  std::free(block);
}

} // extern "C"
