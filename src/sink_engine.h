// SinkEngine: the callbacks of a sink, called safely.
//
// What a callback may do wrong stops here: an exception, or a claim of more than was offered, becomes BW_ESINK.
//
// Thread safety: none; Writer's ownership of the sink sees to it that calls never overlap.
#pragma once

#include <bw/bw.h>

#include <atomic>
#include <cstdint>

namespace bwlib {

class SinkEngine {
 public:
  // 0 or -EINVAL / -E2BIG. `sink` is copied.
  int set(const bw_sink_t *sink, void *ctx) noexcept;
  // Takes the place of the sink that is here. The owner of the sink.
  void take_over(const SinkEngine &other) noexcept;

  // From any thread.
  void *context() const noexcept { return ctx_.load(std::memory_order_relaxed); }
  bool is_vectored() const noexcept { return has(kVectored); }
  bool has_seek() const noexcept { return has(kSeek); }
  bool has_read() const noexcept { return has(kRead); }
  bool has_sync() const noexcept { return has(kSync); }

  // As the callbacks of bw_sink_t; those that may be NULL there only if the sink has them, but for flush and close.
  std::int64_t write(const void *data, std::size_t length) noexcept;
  std::int64_t writev(const iovec *parts, int count, std::uint64_t offered) noexcept;
  std::int64_t read(void *data, std::size_t length) noexcept;
  std::int64_t seek(std::int64_t offset, int whence) noexcept;
  int flush() noexcept;
  int sync() noexcept;
  int close() noexcept;

 private:
  static constexpr unsigned kVectored = 1, kSeek = 2, kRead = 4, kSync = 8;
  bool has(unsigned what) const noexcept { return (has_.load(std::memory_order_relaxed) & what) != 0; }

  bw_sink_t ops_{};
  std::atomic<void *> ctx_{nullptr};
  std::atomic<unsigned> has_{0}; // which of the optional callbacks ops_ has
};

// Whether a call may wait, and for what; each waits for more than the one before.
enum class Patience {
  kPoll,           // for nothing
  kWaitForThreads, // for other threads, while the sink may go on by itself (a lane that is freed)
  kWait,           // for other threads, and for a sink that said -EAGAIN unless the writer is inline
  kWaitForAll,     // for that too (bw_wait)
};

// A sink that the library made and the writer owns.
class OwnedSink {
 public:
  virtual ~OwnedSink() = default;
  // A descriptor that poll(2) finds writable when the sink is ready again; -1: bw_wake() tells.
  virtual int ready_fd() const noexcept { return -1; }
  // The patience of the call that is about to use the sink.
  virtual void set_patience(Patience) noexcept {}
  // No waker of the writer's may run any more: it is about to go.
  virtual void detach() noexcept {}
};

} // namespace bwlib
