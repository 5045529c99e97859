#include "sink_engine.h"

#include <cerrno>

#include "guarded.h"
#include "options.h"

namespace bwlib {

namespace {

// A claim of more than was offered is no answer.
std::int64_t within(std::int64_t answer, std::uint64_t offered) noexcept {
  if (answer > 0 && static_cast<std::uint64_t>(answer) > offered) return BW_ESINK;
  return answer;
}

} // namespace

int SinkEngine::set(const bw_sink_t *sink, void *ctx) noexcept {
  if (!sink) return -EINVAL;
  bw_sink_t copy;
  if (const int code = read_struct(sink, copy)) return code;
  if (!copy.write || copy.flags != 0) return -EINVAL;
  ops_ = copy;
  ctx_.store(ctx, std::memory_order_relaxed);
  has_.store((copy.writev ? kVectored : 0u) | (copy.seek ? kSeek : 0u) | (copy.read ? kRead : 0u) | (copy.sync ? kSync : 0u),
             std::memory_order_relaxed);
  return 0;
}

void SinkEngine::take_over(const SinkEngine &other) noexcept {
  ops_ = other.ops_;
  ctx_.store(other.context(), std::memory_order_relaxed);
  has_.store(other.has_.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

std::int64_t SinkEngine::write(const void *data, std::size_t length) noexcept {
  return within(guarded([&]() -> std::int64_t { return ops_.write(context(), data, length); }), length);
}

std::int64_t SinkEngine::writev(const iovec *parts, int count, std::uint64_t offered) noexcept {
  return within(guarded([&]() -> std::int64_t { return ops_.writev(context(), parts, count); }), offered);
}

std::int64_t SinkEngine::read(void *data, std::size_t length) noexcept {
  return within(guarded([&]() -> std::int64_t { return ops_.read(context(), data, length); }), length);
}

std::int64_t SinkEngine::seek(std::int64_t offset, int whence) noexcept {
  return guarded([&]() -> std::int64_t { return ops_.seek(context(), offset, whence); });
}

// A positive answer of these three says nothing that the contract knows: done.
int SinkEngine::flush() noexcept {
  return ops_.flush ? guarded([&]() -> int { return ops_.flush(context()); }) : 0;
}

int SinkEngine::sync() noexcept {
  return guarded([&]() -> int { return ops_.sync(context()); });
}

int SinkEngine::close() noexcept {
  return ops_.close ? guarded([&]() -> int { return ops_.close(context()); }) : 0;
}

} // namespace bwlib
