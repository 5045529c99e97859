// EventQueue: events that happened while the pen or the sink was held, until somebody may tell them.
//
// Fixed in size: "written" goes on from one that is still to be told, of "durable" only the last counts, and if that
// does not help (a callback that does not return while others work) the oldest "written" is forgotten.
//
// Thread safety: every function from any thread.
#pragma once

#include <bw/bw.h>

#include <atomic>
#include <cstdint>
#include <mutex>

namespace bwlib {

class EventQueue {
 public:
  struct Event {
    std::uint32_t kind;
    std::int32_t code;
    std::int64_t position;
    std::uint64_t length;
    std::uint64_t number = 0; // given by push()
  };

  void push(const Event &event) noexcept;
  bool pop(Event &event) noexcept;
  // The callback for an event that pop() gave has returned.
  void told(const Event &event) noexcept { told_.store(event.number, std::memory_order_release); }
  // What happened up to now has the numbers up to last_number(); told_number() of them have been told.
  std::uint64_t last_number() const noexcept { return pushed_.load(std::memory_order_acquire); }
  std::uint64_t told_number() const noexcept { return told_.load(std::memory_order_acquire); }
  bool empty() const noexcept { return count_.load(std::memory_order_acquire) == 0; }

 private:
  static constexpr unsigned kSize = 32;

  unsigned find_last(std::uint32_t kind) noexcept;
  bool join(const Event &event) noexcept;
  void forget_one() noexcept;
  void forget(unsigned index) noexcept;
  Event &at(unsigned index) noexcept { return events_[(first_ + index) % kSize]; }
  unsigned count() const noexcept { return count_.load(std::memory_order_relaxed); }

  std::mutex mutex_;
  unsigned first_ = 0;
  std::atomic<unsigned> count_{0};       // changes under the mutex
  std::atomic<std::uint64_t> pushed_{0}; // changes under the mutex
  std::atomic<std::uint64_t> told_{0};   // changes in the one thread that tells
  Event events_[kSize];
};

} // namespace bwlib
