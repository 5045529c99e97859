// CopySlots: how many bytes of each buffer have been copied in, counted by the threads that copied them.
//
// A reservation is one fetch_add on the buffer's state word. That the copy has ended must be counted too; counting
// it in the same word costs a second locked instruction and moves the line once more. So each thread has a cache
// line of its own here, with one running total per buffer, which only it writes: no locked instruction at all.
// Whoever must know that all copies below an offset have ended sums the totals (FlushBuffer::all_committed).
// Threads that got no line of their own (too many, or no process_barrier()), and spans, which may be committed
// by another thread, count in a few common lines by fetch_add.
//
// Thread safety: find() and commit() from any thread, raise_flags() and lower_flags() under the writer's wait-list
// lock, sum() from any thread.
// Invariants:
//   (1) A slot with an owner is written by the thread of that identity only.
//   (2) sum(b) never exceeds the number of bytes ever reserved in buffer b, and reaches it when all have ended.
//   (3) After raise_flags() and process_barrier(), a copier either is seen by sum(), or sees the flag when it
//       ends and tells (Dekker's pattern; see RealAtomics for the cheap half).
#pragma once

#include <cstddef>
#include <cstdint>

#include "atomics.h"

namespace bwlib {

template <class Model>
struct CopySlot {
  typename Model::template Atomic<std::uintptr_t> owner; // thread_identity(); 0: nobody's
  typename Model::template Atomic<std::uint32_t> watched; // somebody waits for copies to end
  typename Model::template Atomic<std::uint64_t> writes;  // calls, for the statistics

  // Courtesy (see Courtesy in writer.cc). Written by the owner only; atomic because an owner may be inherited.
  typename Model::template Atomic<std::uint64_t> last_end;   // where my last reservation ended
  typename Model::template Atomic<std::uint64_t> run_writes; // `writes` when my run began
  typename Model::template Atomic<std::uint64_t> run_ns;     // and the time

  // One running total a buffer follows, in the same allocation.
  typename Model::template Atomic<std::uint64_t> *done() noexcept {
    return reinterpret_cast<typename Model::template Atomic<std::uint64_t> *>(this + 1);
  }
};

template <class Model = RealAtomics>
class CopySlots {
 public:
  using Slot = CopySlot<Model>;
  using Counter = typename Model::template Atomic<std::uint64_t>;

  static constexpr unsigned kOwnSlots = Model::kOwnSlots;
  static constexpr unsigned kCommonSlots = Model::kCommonSlots;
  static constexpr unsigned kProbes = Model::kProbes;
  static constexpr std::size_t kLineBytes = 64;
  static constexpr std::uint64_t kNowhere = UINT64_MAX; // last_end that no reservation continues

  static constexpr std::size_t stride(unsigned buffers) noexcept {
    return (sizeof(Slot) + buffers * sizeof(Counter) + kLineBytes - 1) / kLineBytes * kLineBytes;
  }
  static constexpr std::size_t bytes(unsigned buffers) noexcept {
    return stride(buffers) * (kOwnSlots + kCommonSlots);
  }

  // `memory`: bytes(buffers) zeroed bytes, line-aligned. `own_slots` false: everybody shares the common ones.
  void attach(void *memory, unsigned buffers, bool own_slots) noexcept {
    memory_ = static_cast<char *>(memory);
    stride_ = stride(buffers);
    own_slots_ = own_slots;
  }

  // The slot of this thread if it has one; else nullptr.
  Slot *find_own(std::uintptr_t thread) noexcept {
    Slot &slot = at(home(thread));
    // Relaxed: only this thread ever stored its own identity there.
    if (slot.owner.load(std::memory_order_relaxed) == thread) [[likely]]
      return &slot;
    return find_displaced(thread);
  }

  // The slot that this thread counts in: its own, one that it takes now, or a common one.
  Slot &find(std::uintptr_t thread) noexcept {
    const unsigned first = home(thread);
    for (unsigned probe = 0; own_slots_ && probe < kProbes; ++probe) {
      const unsigned index = (first + probe) % kOwnSlots;
      Slot &slot = at(index);
      std::uintptr_t owner = slot.owner.load(std::memory_order_relaxed);
      if (owner == thread) return slot;
      // seq_cst: see sum(), which must look into every slot that a reservation it covers was counted in.
      if (owner == 0 && slot.owner.compare_exchange_strong(owner, thread, std::memory_order_seq_cst)) {
        used_[index / 64].fetch_or(std::uint64_t{1} << index % 64, std::memory_order_seq_cst);
        slot.last_end.store(kNowhere, std::memory_order_relaxed);
        return slot;
      }
    }
    return common(thread);
  }

  Slot &common(std::uintptr_t thread) noexcept {
    return at(kOwnSlots + home(thread) % kCommonSlots);
  }

  // Says that `bytes` reserved in buffer `index` are copied. True: somebody waits for that; signal him.
  bool commit(Slot &slot, std::uintptr_t thread, unsigned index, std::uint64_t bytes) noexcept {
    return slot.owner.load(std::memory_order_relaxed) == thread ? commit_own(slot, index, bytes)
                                                                : commit_common(slot, index, bytes);
  }

  bool commit_own(Slot &slot, unsigned index, std::uint64_t bytes) noexcept {
    Counter &done = slot.done()[index];
    // Release: pairs with the acquire in sum(); publishes the copied bytes.
    done.store(done.load(std::memory_order_relaxed) + bytes, Model::kOwnDoneStore);
    Model::keep_order();
    return slot.watched.load(Model::kOwnWatchedLoad) != 0;
  }

  bool commit_common(Slot &slot, unsigned index, std::uint64_t bytes) noexcept {
    // seq_cst, both: Dekker with raise_flags() and sum(). Also release, as in commit_own().
    slot.done()[index].fetch_add(bytes, std::memory_order_seq_cst);
    return slot.watched.load(std::memory_order_seq_cst) != 0;
  }

  // All bytes ever committed in buffer `index`.
  std::uint64_t sum(unsigned index) noexcept {
    std::uint64_t total = 0;
    for_each([&](Slot &slot) {
      // seq_cst (acquire included): pairs with commit_own() and commit_common().
      total += slot.done()[index].load(std::memory_order_seq_cst);
    });
    return total;
  }

  std::uint64_t writes() noexcept {
    std::uint64_t total = 0;
    for_each([&](Slot &slot) { total += slot.writes.load(std::memory_order_relaxed); });
    return total;
  }

  // The caller goes on with process_barrier(), and only then reads sum().
  void raise_flags() noexcept { set_flags(1); }
  void lower_flags() noexcept { set_flags(0); }

 private:
  static constexpr unsigned kUsedWords = (kOwnSlots + 63) / 64;

  static unsigned home(std::uintptr_t thread) noexcept {
    // Fibonacci hashing: thread identities differ in their middle bits.
    return static_cast<unsigned>(static_cast<std::uint64_t>(thread) * 0x9E3779B97F4A7C15u >> 56) % kOwnSlots;
  }

  [[gnu::noinline]] Slot *find_displaced(std::uintptr_t thread) noexcept {
    const unsigned first = home(thread);
    for (unsigned probe = 1; probe < kProbes; ++probe) {
      Slot &slot = at((first + probe) % kOwnSlots);
      if (slot.owner.load(std::memory_order_relaxed) == thread) return &slot;
    }
    return nullptr;
  }

  Slot &at(unsigned index) noexcept {
    return *reinterpret_cast<Slot *>(memory_ + index * stride_);
  }

  template <class Visit>
  void for_each(Visit visit) noexcept {
    // seq_cst: a slot is taken before its first reservation, and that fetch_add comes before the one that closed
    // the buffer, so whoever closed it finds the bit.
    for (unsigned word = 0; word < kUsedWords; ++word) {
      for (std::uint64_t left = used_[word].load(std::memory_order_seq_cst); left; left &= left - 1)
        visit(at(word * 64 + static_cast<unsigned>(__builtin_ctzll(left))));
    }
    for (unsigned index = 0; index < kCommonSlots; ++index) visit(at(kOwnSlots + index));
  }

  void set_flags(std::uint32_t value) noexcept {
    // All of them, taken or not: a thread may take one now. seq_cst: Dekker with commit_common().
    for (unsigned index = 0; index < kOwnSlots + kCommonSlots; ++index)
      at(index).watched.store(value, std::memory_order_seq_cst);
  }

  char *memory_ = nullptr;
  std::size_t stride_ = 0;
  bool own_slots_ = false;
  Counter used_[kUsedWords] = {}; // bit i of all: slot i has an owner
};

} // namespace bwlib
