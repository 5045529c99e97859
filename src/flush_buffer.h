// FlushBuffer: one aligned block that many writers fill and one flusher empties.
//
// Thread safety: reserve(), word(), position() and all_committed() from any thread; copies end in CopySlots; open(),
// seal(), set_position(), count_taken() and count_own() by the pen holder; begin_flight(), end_flight() by whoever owns
// the sink.
// Invariants:
//   (1) Reserved ranges never overlap and never leave the block.
//   (2) Once closed (crossed, sealed, in flight, free), no reservation succeeds until open().
//   (3) Position, length and the committed base are final before the phase kSealed can be seen.
//   (4) A reservation that was not given is never counted: it only raises the offset of a closed word, which the
//       next open() overwrites. So a stale thread's fetch_add, whenever it lands, changes nothing.
#pragma once

#include <cstdint>

#include "atomics.h"
#include "buffer_state.h"
#include "copy_slots.h"

namespace bwlib {

template <class Model = RealAtomics>
class FlushBuffer {
 public:
  using Slots = CopySlots<Model>;

  FlushBuffer() : word_(0) {}

  void attach(char *data, std::uint64_t capacity, unsigned index) noexcept {
    data_ = data;
    capacity_ = capacity;
    index_ = index;
    // Relaxed: before the writer is published to other threads.
    word_.store(buffer_state::closed(capacity, BufferPhase::kFree), std::memory_order_relaxed);
  }

  char *data() const noexcept { return data_; }
  unsigned index() const noexcept { return index_; }

  // Adds `bytes` to the offset and gives the offset before: ours if offset + bytes <= capacity; the pen if only
  // offset <= capacity. acq_rel: acquires what open() published (position, the block emptied); releases our slot's
  // identity to the thread that closes the buffer.
  std::uint64_t reserve(std::uint64_t bytes) noexcept {
    return buffer_state::offset(
        word_.fetch_add(buffer_state::increment(bytes), std::memory_order_acq_rel));
  }

  // Batches, whose offset counts two things (batch_state.h) and must not overshoot: adds `more` if the word is `word`,
  // else gives what it is now. Release and acquire as reserve(). seq_cst: Dekker with Batcher::set_mark().
  bool try_reserve(std::uint64_t &word, std::uint64_t more) noexcept {
    return word_.compare_exchange_weak(word, word + buffer_state::increment(more), std::memory_order_seq_cst,
                                       std::memory_order_acquire);
  }
  // The same where only one thread reserves. Relaxed: others read numbers only, and may see an older one; so a mark that
  // is lowered at this moment may be noticed an item later.
  void reserve_alone(std::uint64_t word, std::uint64_t more) noexcept {
    word_.store(word + buffer_state::increment(more), std::memory_order_relaxed);
  }
  // No more of these; gives what was reserved. One thread at a time. acq_rel: acquires the slots of who reserved.
  std::uint64_t close() noexcept {
    return buffer_state::offset(
        word_.exchange(buffer_state::closed(capacity_, BufferPhase::kSealed), std::memory_order_acq_rel));
  }

  // What polls read before they add. Acquire: as reserve(). seq_cst: Writer::shut() reads it after it stored why, the
  // partner of open().
  std::uint64_t word() noexcept { return word_.load(std::memory_order_seq_cst); }
  bool is_open() noexcept { return buffer_state::is_open(word(), capacity_); }

  // The stream position of the block's first byte. Acquire and release: a reader that sees a new position and then
  // reads the word cannot find the word as it was before the pen was taken (BufferRing::tail).
  std::int64_t position() noexcept { return position_.load(std::memory_order_acquire); }
  void set_position(std::int64_t position) noexcept {
    position_.store(position, std::memory_order_release);
  }

  // Reservations succeed again, from offset `fill` on. seq_cst: its partners are the acquires of reserve(), and it
  // is Dekker's store against the wait list's interest and the held error (Writer::release_pen).
  void open(std::uint64_t fill) noexcept {
    word_.store(buffer_state::pack(fill, BufferPhase::kOpen), std::memory_order_seq_cst);
  }

  // Where the round's first byte lies in the block: behind the head-room (see BufferRing). The pen holder's until the
  // buffer is sealed, then constant.
  void set_start(std::uint64_t start) noexcept { start_ = start; }
  std::uint64_t start() const noexcept { return start_; }

  // No more reservations in this round; `length` bytes belong to it. Release: invariant (3).
  void seal(std::uint64_t length) noexcept {
    length_.store(length, std::memory_order_relaxed);
    word_.store(buffer_state::closed(capacity_, BufferPhase::kSealed), std::memory_order_release);
  }
  // Relaxed: published by seal() and, to the sink owner, by BufferRing::sealed().
  std::uint64_t length() const noexcept { return length_.load(std::memory_order_relaxed); }

  void begin_flight() noexcept {
    word_.store(buffer_state::closed(capacity_, BufferPhase::kInFlight), std::memory_order_relaxed);
  }
  void end_flight() noexcept {
    count_taken(length());
    word_.store(buffer_state::closed(capacity_, BufferPhase::kFree), std::memory_order_release);
  }

  // The counters of CopySlots only grow; base_ is what they had counted where this round's offset 0 lies.
  // The first `bytes` of the block went to the sink: offsets shrink by as much.
  void count_taken(std::uint64_t bytes) noexcept { add_base(bytes); }
  // The pen holder copied `bytes` itself, or gave up as many reserved ones, without a slot.
  void count_own(std::uint64_t bytes) noexcept { add_base(0 - bytes); }

  // True once every copy below offset `fill` has ended. The sum must be read first: it never exceeds what was
  // reserved at that moment, so if it equals what is reserved later, nothing was outstanding in between.
  bool all_committed(Slots &slots, std::uint64_t fill) noexcept {
    return slots.sum(index_) == committed_base() + fill;
  }
  // The same for who may have to wait, and may be overtaken meanwhile: what the counters show once all copies below
  // `fill` have ended. They may show it earlier if others have copied beyond; while the buffer is closed they do not.
  std::uint64_t goal(std::uint64_t fill) noexcept { return committed_base() + fill; }
  bool has_reached(Slots &slots, std::uint64_t goal) noexcept {
    return static_cast<std::int64_t>(slots.sum(index_) - goal) >= 0;
  }
  // Acquire and release, as position(): it changes under the pen only, so who sees a new one cannot find the word open
  // as it was before.
  std::uint64_t committed_base() noexcept { return base_.load(std::memory_order_acquire); }

 private:
  void add_base(std::uint64_t bytes) noexcept {
    base_.store(base_.load(std::memory_order_relaxed) + bytes, std::memory_order_release);
  }

  // On a line of its own: everything else here is read by all and changes once a round.
  alignas(64) typename Model::template Atomic<std::uint64_t> word_;
  alignas(64) char *data_ = nullptr;
  std::uint64_t capacity_ = 0;
  unsigned index_ = 0;
  typename Model::template Plain<std::uint64_t> start_{};
  typename Model::template Atomic<std::uint64_t> length_{0};
  typename Model::template Atomic<std::int64_t> position_{0};
  typename Model::template Atomic<std::uint64_t> base_{0};
};

} // namespace bwlib
