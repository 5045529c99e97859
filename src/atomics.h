// The atomics that the protocol headers (copy_slots.h, flush_buffer.h, buffer_ring.h) are written against.
//
// The library uses std::atomic; the model checker (tests/model) puts its own in their place, so that it checks
// these very headers.
#pragma once

#include <atomic>

namespace bwlib {

struct RealAtomics {
  template <class T>
  using Atomic = std::atomic<T>;
  // A field that the protocol protects; the model checker looks for races on it.
  template <class T>
  using Plain = T;

  // A thread with a slot of its own publishes a finished copy with a plain store and then looks whether somebody
  // waits for it. That store and that load may be exchanged by the processor; who waits makes up for it with
  // process_barrier() between raising the flag and reading the counter. The model checker has no such barrier and
  // uses seq_cst for both, which is what the barrier makes of them when it matters.
  static constexpr std::memory_order kOwnDoneStore = std::memory_order_release;
  static constexpr std::memory_order kOwnWatchedLoad = std::memory_order_relaxed;
  // The compiler must not exchange them: no barrier of the processor makes up for that. No instruction.
  static void keep_order() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

  // How many slots CopySlots has; the model checker has fewer. Powers of two, own ones at least 64 or all in one word.
  static constexpr unsigned kOwnSlots = 128;
  static constexpr unsigned kCommonSlots = 4;
  static constexpr unsigned kProbes = 4;
};

} // namespace bwlib
