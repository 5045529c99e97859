// BufferRing: which buffer is being filled, which are sealed, in flight and free; and the pen.
//
// The pen is the right to decide what happens at the end of the stream: it belongs to the one thread whose
// reservation was the first to cross the end of the open buffer, until that thread publishes an open buffer again.
// While it is held every reservation fails. Taking it is a reservation that cannot fit, so there is no other lock.
//
// When no reservation may succeed (no buffer is free, an error is held, the stream is closed) the pen holder
// publishes the gate instead: an open buffer without room. The next writer crosses it, gets the pen and decides.
//
// Head-room (files): a block begins at a multiple of it in the stream, so that memory and file offset are aligned
// alike, as O_DIRECT wants it. A round that begins inside such a unit leaves room for the bytes before it; one that
// begins with a unit starts behind an unused one. So any `capacity - head_room` bytes fit an empty buffer, and a full
// one ends with a unit.
//
// Buffers are numbered 0, 1, 2, ... as they are sealed; number s lives in block s % count. So
//   retired <= in flight < sealed,  sealed - retired <= count,  the current buffer is number `sealed`.
//
// Thread safety: reserve(), try_pen(), tail(), accepted() and the counts from any thread; what is under "pen holder"
// and "sink owner" by these alone. Nothing here waits: who must wait does so in Writer.
// Invariants:
//   (1) At most one thread holds the pen.
//   (2) The bytes of two buffers never mix: a block is opened again only after its number was retired.
//   (3) Retiring is in order; a buffer is retired once, after all its copies have ended.
//   (4) tail() is never less than the end of a reservation that ended before tail() was called (but for seeks).
#pragma once

#include <cstdint>

#include "flush_buffer.h"

namespace bwlib {

template <class Model = RealAtomics>
class BufferRing {
 public:
  using Buffer = FlushBuffer<Model>;
  using Slots = CopySlots<Model>;

  // `blocks`: count * stride bytes; of each stride the first `capacity` bytes are used, head-room included.
  void attach(Buffer *buffers, unsigned count, char *blocks, std::uint64_t stride, std::uint64_t capacity,
              Slots *slots, std::uint64_t head_room = 0) noexcept {
    buffers_ = buffers;
    count_ = count;
    capacity_ = capacity;
    head_room_ = head_room;
    slots_ = slots;
    for (unsigned index = 0; index < count; ++index) buffers[index].attach(blocks + index * stride, capacity, index);
    gate_.attach(nullptr, capacity, 0);
  }

  std::uint64_t capacity() const noexcept { return capacity_; }
  unsigned count() const noexcept { return count_; }
  Slots &slots() noexcept { return *slots_; }

  // ---- any thread ----

  // Pairs with the store in publish(): the buffer's position is there. seq_cst as FlushBuffer::word(): who shuts must
  // not find the buffer before.
  Buffer &open_buffer() noexcept { return *open_.load(std::memory_order_seq_cst); }

  // Takes the pen if the open buffer is open. Reads first: a closed word is not added to.
  bool try_pen() noexcept {
    Buffer &buffer = open_buffer();
    if (!buffer.is_open()) return false;
    const std::uint64_t offset = buffer.reserve(capacity_ + 1);
    if (offset > capacity_) return false;
    take_pen(buffer, offset);
    return true;
  }

  // What a writer does whose own reservation returned `offset` <= capacity but did not fit.
  void take_pen(Buffer &buffer, std::uint64_t offset) noexcept {
    if (&buffer != &gate_) fill_ = offset;
    tail_.store(current_end(), std::memory_order_relaxed);
    // Release: pairs with the acquire in tail(); the tail of this round is known.
    closed_.store(published_.load(std::memory_order_relaxed), std::memory_order_release);
  }

  // Where the next byte goes; false while the pen is just being taken or given back: try again.
  bool tail(std::int64_t &result) noexcept {
    const std::uint64_t round = published_.load(std::memory_order_acquire);
    Buffer &buffer = open_buffer();
    const std::int64_t position = buffer.position();
    const std::uint64_t word = buffer.word();
    const bool closed_known = closed_.load(std::memory_order_acquire) == round;
    const std::int64_t closed_tail = tail_.load(std::memory_order_acquire);
    if (!is_round(round)) return false;
    const bool open = buffer_state::is_open(word, capacity_);
    if (open && &buffer != &gate_) {
      result = position + static_cast<std::int64_t>(buffer_state::offset(word));
      return true;
    }
    result = closed_tail;
    return open || closed_known;
  }

  // True if nobody has the pen and every byte below the tail was copied in at one moment during the call; then also
  // where the tail was. (Who takes the pen looks for himself.)
  bool accepted(std::int64_t &position) noexcept {
    const std::uint64_t round = published_.load(std::memory_order_acquire); // before anything is sealed in it
    Buffer &open = open_buffer();
    if (!sealed_committed()) return false;
    const bool at_gate = &open == &gate_; // behind it nothing is reserved, but a copy may still end
    Buffer &buffer = at_gate ? at(sealed()) : open;
    const std::int64_t start = open.position();
    const std::uint64_t gate_fill = gate_fill_.load(std::memory_order_acquire);
    const std::uint64_t base = buffer.committed_base();
    const std::uint64_t sum = slots_->sum(buffer.index());
    const std::uint64_t word = open.word(); // after the sum, see all_committed()
    if (!is_round(round) || !buffer_state::is_open(word, capacity_)) return false;
    const std::uint64_t fill = at_gate ? gate_fill : buffer_state::offset(word);
    if (fill > 0 && sum != base + fill) return false;
    position = at_gate ? start : start + static_cast<std::int64_t>(fill);
    return true;
  }
  // True if all copies into buffers that are sealed and not retired have ended.
  bool sealed_committed() noexcept {
    const std::uint64_t end = sealed();
    for (std::uint64_t number = retired(); number < end; ++number) {
      Buffer &buffer = buffers_[number % count_];
      if (!buffer.all_committed(*slots_, buffer.length())) return false;
    }
    return true;
  }

  // Acquire: pairs with seal(); the sealed buffer's length and position are there.
  std::uint64_t sealed() noexcept { return sealed_.load(std::memory_order_acquire); }
  // Acquire: pairs with retire(); the block may be filled again.
  std::uint64_t retired() noexcept { return retired_.load(std::memory_order_acquire); }
  // Buffers handed on and not yet taken by the sink.
  unsigned in_use() noexcept {
    const std::uint64_t retired_count = retired();
    return static_cast<unsigned>(sealed() - retired_count);
  }

  // ---- pen holder ----

  bool has_current() const noexcept { return has_current_; }
  Buffer &current() noexcept { return buffers_[sealed_count() % count_]; }
  std::uint64_t fill() const noexcept { return fill_; }
  bool has_bytes() noexcept { return has_current_ && fill_ > current().start(); }
  std::uint64_t room() const noexcept { return has_current_ ? capacity_ - fill_ : 0; }
  char *end() noexcept { return current().data() + fill_; }
  unsigned free_buffers() noexcept { return count_ - in_use() - (has_current_ ? 1 : 0); }
  // Unshared writers, whose fast path moves the end without a word.
  void set_fill(std::uint64_t fill) noexcept { fill_ = fill; }

  // The pen holder put `bytes` at end() itself.
  void advance(std::uint64_t bytes) noexcept {
    current().count_own(bytes);
    fill_ = fill_ + bytes;
  }

  // The pen holder gives the range of `bytes` at end() to a span, which will be committed by a slot.
  void lend(std::uint64_t bytes) noexcept { fill_ = fill_ + bytes; }

  // The first `bytes` of the current buffer are the sink's; the rest was moved to the front. (Inline writers, whose
  // pen holder owns the sink too.)
  void shift(std::uint64_t bytes) noexcept {
    Buffer &buffer = current();
    head_taken_ = 0;
    buffer.count_taken(bytes);
    buffer.set_position(buffer.position() + static_cast<std::int64_t>(bytes));
    fill_ = fill_ - bytes;
  }

  // The block becomes free again; rotate() will give it, at another position.
  void drop_empty_current() noexcept {
    if (!has_current_ || has_bytes()) return;
    const std::int64_t tail = current_end();
    current().count_taken(fill_); // the head-room
    fill_ = 0;
    has_current_ = false;
    tail_.store(tail, std::memory_order_relaxed);
  }

  // Forgets what the sink has not taken; all copies have ended. The next byte goes to `position`.
  void forget(std::int64_t position) noexcept {
    if (has_current_) {
      current().count_taken(fill_);
      begin_round(position);
    }
    head_taken_ = 0;
    tail_.store(position, std::memory_order_relaxed);
    while (head()) retire();
  }

  // Makes the next block current, empty, at `position`. False if none is free.
  bool rotate(std::int64_t position) noexcept {
    if (free_buffers() == 0) return false;
    has_current_ = true;
    begin_round(position);
    return true;
  }

  // Hands the current buffer on. Rule 2: its length and position are final before it can be seen as sealed.
  void seal() noexcept {
    const std::int64_t tail = current_end();
    current().seal(fill_);
    has_current_ = false;
    tail_.store(tail, std::memory_order_relaxed);
    fill_ = 0;
    // Release: pairs with sealed().
    sealed_.store(sealed_count() + 1, std::memory_order_release);
  }

  // Gives the pen back: the current buffer if `admit` (there must be one), else the gate is published.
  void publish(bool admit) noexcept {
    Buffer &buffer = admit ? current() : gate_;
    tail_.store(current_end(), std::memory_order_relaxed);
    if (!admit) {
      // Release: accepted() that sees these sees that the pen was taken before.
      gate_fill_.store(has_current_ ? static_cast<std::uint64_t>(fill_) : 0, std::memory_order_release);
      gate_.set_position(current_end());
    }
    // Release: tail() and accepted() that see the new round see what it changed.
    published_.store(published_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    open_.store(&buffer, std::memory_order_seq_cst);
    buffer.open(admit ? static_cast<std::uint64_t>(fill_) : capacity_);
  }

  // Where the next byte goes; set_tail() is for when no buffer is current.
  void set_tail(std::int64_t tail) noexcept { tail_.store(tail, std::memory_order_relaxed); }
  std::int64_t current_end() noexcept {
    return has_current_ ? current().position() + static_cast<std::int64_t>(static_cast<std::uint64_t>(fill_))
                        : tail_.load(std::memory_order_relaxed);
  }

  // ---- sink owner ----

  // The oldest sealed buffer, or nullptr.
  Buffer *head() noexcept {
    const std::uint64_t number = retired_.load(std::memory_order_relaxed);
    return number == sealed() ? nullptr : &buffers_[number % count_];
  }
  // The sealed buffer of that number.
  Buffer &at(std::uint64_t number) noexcept { return buffers_[number % count_]; }
  // How far the oldest unwritten block (the head, or inline the current one) is the sink's, head-room included.
  std::uint64_t head_taken() noexcept { return head_taken_ + at(retired_.load(std::memory_order_relaxed)).start(); }
  void take(std::uint64_t bytes) noexcept { head_taken_ = head_taken_ + bytes; }

  // There is a head.
  void retire() noexcept {
    const std::uint64_t number = retired_.load(std::memory_order_relaxed);
    at(number).end_flight();
    head_taken_ = 0;
    // Release: pairs with retired(); the sink is done with the block.
    retired_.store(number + 1, std::memory_order_release);
  }

 private:
  // Of the current buffer. The head-room counts as bytes that the pen holder copied.
  void begin_round(std::int64_t position) noexcept {
    std::uint64_t start = 0;
    if (head_room_) {
      start = static_cast<std::uint64_t>(position) % head_room_;
      if (start == 0) start = head_room_;
      current().count_own(start);
    }
    fill_ = start;
    current().set_start(start);
    current().set_position(position - static_cast<std::int64_t>(start));
  }

  bool is_round(std::uint64_t round) noexcept { return published_.load(std::memory_order_acquire) == round; }
  std::uint64_t sealed_count() noexcept { return sealed_.load(std::memory_order_relaxed); }

  Buffer *buffers_ = nullptr;
  Slots *slots_ = nullptr;
  std::uint64_t capacity_ = 0;
  std::uint64_t head_room_ = 0;
  unsigned count_ = 0;

  // The pen holder's.
  typename Model::template Plain<bool> has_current_{};
  typename Model::template Plain<std::uint64_t> fill_{};
  // The sink owner's.
  typename Model::template Plain<std::uint64_t> head_taken_{};

  typename Model::template Atomic<Buffer *> open_{&gate_};
  typename Model::template Atomic<std::uint64_t> published_{0}; // rounds begun
  typename Model::template Atomic<std::uint64_t> closed_{0};    // the last round whose end is in tail_
  typename Model::template Atomic<std::int64_t> tail_{0};
  typename Model::template Atomic<std::uint64_t> sealed_{0};
  typename Model::template Atomic<std::uint64_t> retired_{0};
  // At the gate, whose position is the stream's end: how far the current buffer was filled; 0: there is none.
  typename Model::template Atomic<std::uint64_t> gate_fill_{0};
  Buffer gate_;
};

} // namespace bwlib
