// Rig: a writer's ring with the moves that src/writer.cc and writer_service.cc make on it, and a record of what
// became of every byte.
//
// The moves follow Writer call by call, without its waiting (a loop that yields), notes and statistics. Bytes are
// Plain, so a thread that touches one out of turn is a data race. What a rig remembers about them ("ghost") is
// outside of the model: it is changed in the order of the run and gives no thread any order.
#pragma once

#include "buffer_ring.h"
#include "model_atomics.h"

namespace model {

// Memory for CopySlots, with atomics that are made anew for every run.
template <class Model, unsigned kBuffers>
class SlotMemory {
 public:
  using Slots = bwlib::CopySlots<Model>;

  SlotMemory() {
    for (unsigned index = 0; index < kCount; ++index) {
      auto *slot = ::new (memory_ + index * Slots::stride(kBuffers)) Slot;
      for (unsigned buffer = 0; buffer < kBuffers; ++buffer) ::new (&slot->done()[buffer]) Counter(0);
    }
  }
  ~SlotMemory() {
    for (unsigned index = 0; index < kCount; ++index) {
      auto *slot = reinterpret_cast<Slot *>(memory_ + index * Slots::stride(kBuffers));
      for (unsigned buffer = 0; buffer < kBuffers; ++buffer) slot->done()[buffer].~Counter();
      slot->~Slot();
    }
  }
  SlotMemory(const SlotMemory &) = delete;
  SlotMemory &operator=(const SlotMemory &) = delete;

  void *get() { return memory_; }

 private:
  using Slot = bwlib::CopySlot<Model>;
  using Counter = typename Slots::Counter;
  static constexpr unsigned kCount = Slots::kOwnSlots + Slots::kCommonSlots;

  alignas(64) char memory_[Slots::bytes(kBuffers)];
};

// The ring, its slots and the bytes of its blocks, in memory that is made anew for every run. kHeadRoom is 0 but for
// files (see BufferRing).
template <class Model, unsigned kBuffers, unsigned kCapacity, unsigned kHeadRoom = 0>
class Rig {
 public:
  using Ring = bwlib::BufferRing<Model>;
  using Buffer = bwlib::FlushBuffer<Model>;
  using Slots = bwlib::CopySlots<Model>;
  using Slot = bwlib::CopySlot<Model>;

  static constexpr unsigned kBlock = kCapacity + kHeadRoom;
  static constexpr unsigned kStreamMax = 32;
  static constexpr unsigned kRecordMax = 8;

  enum class Grant { kDone, kPen, kClosed };

  Rig() {
    slots_.attach(slot_memory_.get(), kBuffers, true);
    ring_.attach(buffers_, kBuffers, blocks_, kBlock, kBlock, &slots_, kHeadRoom);
    ring_.rotate(0);
    release_pen(); // the maker held it until now
  }
  Rig(const Rig &) = delete;
  Rig &operator=(const Rig &) = delete;

  Ring &ring() { return ring_; }
  Slots &slots() { return slots_; }

  // ---- Fast writes: Writer::write_shared() and try_reserve() ----

  // What a fast write leaves for its caller to do.
  struct Reserved {
    Grant grant = Grant::kClosed;
    std::int64_t position = 0;
    bool is_watched = false;
  };

  // One fetch_add on `buffer`, whatever state that is in by now, for bytes [first, length) of a record.
  Reserved reserve(std::uintptr_t thread, Buffer &buffer, unsigned record, unsigned length, unsigned first = 0) {
    Slot &slot = slots_.find(thread);
    const unsigned bytes = length - first;
    const std::uint64_t offset = buffer.reserve(bytes);
    if (offset + bytes > kBlock) {
      if (offset > kBlock) return {};
      ++ghost_pens;
      ring_.take_pen(buffer, offset);
      return {Grant::kPen, 0, false};
    }
    RL_ASSERT(!(ghost_is_held && ghost_pens == 0));
    RL_ASSERT(offset >= buffer.start());
    const std::int64_t position = buffer.position() + static_cast<std::int64_t>(offset);
    claim(position, record, length, first);
    put_bytes(buffer.data() + offset, record, length, first);
    ghost_copied(position, bytes);
    return {Grant::kDone, position, slots_.commit(slot, thread, buffer.index(), bytes)};
  }

  Reserved try_reserve(std::uintptr_t thread, unsigned record, unsigned length, unsigned first = 0) {
    Buffer &buffer = ring_.open_buffer();
    return buffer.is_open() ? reserve(thread, buffer, record, length, first) : Reserved{};
  }

  // Until it is done, or this thread has the pen. `fast`: the first time without looking.
  Reserved reserve_or_pen(std::uintptr_t thread, unsigned record, unsigned length, unsigned first = 0,
                          bool fast = true) {
    Reserved reserved;
    if (fast) reserved = reserve(thread, ring_.open_buffer(), record, length, first);
    while (reserved.grant == Grant::kClosed) {
      reserved = try_reserve(thread, record, length, first);
      if (reserved.grant == Grant::kClosed) yield();
    }
    return reserved;
  }

  // ---- The pen ----

  void take_pen() {
    while (!try_pen()) yield();
  }

  bool try_pen() {
    if (!ring_.try_pen()) return false;
    ++ghost_pens;
    return true;
  }

  bool is_refused() { return held_.load(std::memory_order_seq_cst) != 0; }

  void release_pen() {
    if (!ring_.has_current()) ring_.rotate(ring_.current_end());
    const bool admit = ring_.has_current() && !is_refused();
    ring_.publish(admit);
    if (admit && is_refused()) shut();
    --ghost_pens;
  }

  void shut() {
    if (try_pen()) release_pen();
  }

  void hold() {
    held_.store(1, std::memory_order_seq_cst);
    shut();
    ghost_is_held = true;
  }

  // With the pen.
  void resume() {
    ghost_is_held = false;
    held_.store(0, std::memory_order_seq_cst);
  }

  // The pen holder's own copy of bytes [first, length) of a record; there is room.
  void copy_in(unsigned record, unsigned length, unsigned first = 0) {
    const std::int64_t position = ring_.current_end();
    claim(position, record, length, first);
    put_bytes(ring_.end(), record, length, first);
    ghost_copied(position, length - first);
    ring_.advance(length - first);
  }

  void await_copies(Buffer &buffer, std::uint64_t fill) {
    while (!buffer.all_committed(slots_, fill)) yield();
  }

  // ---- Inline: Writer::put_inline() and empty_inline() ----

  // False if the sink failed and the record was not accepted.
  bool write_inline(std::uintptr_t thread, unsigned record, unsigned length) {
    if (reserve_or_pen(thread, record, length).grant == Grant::kDone) return true;
    const bool accepted = !is_refused() && (length <= ring_.room() || empty_inline());
    if (accepted) copy_in(record, length);
    release_pen();
    return accepted;
  }

  bool flush_inline() {
    take_pen();
    const bool emptied = empty_inline();
    release_pen();
    return emptied;
  }

  // All to the sink. It may take less (sink_failures times): the rest moves to the front, and false is given.
  bool empty_inline() {
    Buffer &buffer = ring_.current();
    const std::uint64_t fill = ring_.fill();
    if (fill == 0) return true;
    await_copies(buffer, fill);
    RL_ASSERT(buffer.position() == static_cast<std::int64_t>(ghost_sunk));
    RL_ASSERT(is_record_end(ghost_sunk + fill));
    std::uint64_t taken = fill;
    if (sink_failures > 0 && one_in(2)) {
      --sink_failures;
      taken = rl::rand(static_cast<unsigned>(fill));
    }
    sink(buffer.data(), taken);
    for (std::uint64_t index = taken; index < fill; ++index)
      byte(buffer.data() + index - taken).store(byte(buffer.data() + index).load());
    ring_.shift(taken);
    return taken == fill;
  }

  // ---- Background: Writer::put_ring(), consume_head() ----

  // To the brim, split over buffers. `patient`: waits for a free buffer with the pen in hand; else the gate is
  // published meanwhile, and the rest is a write of its own, as after a poll that answered -EAGAIN.
  void write_ring(std::uintptr_t thread, unsigned record, unsigned length, bool patient = true) {
    unsigned first = 0;
    while (first < length) {
      if (length - first > kCapacity) {
        take_pen();
      } else if (reserve_or_pen(thread, record, length, first, first == 0).grant == Grant::kDone) {
        return;
      }
      first = put_ring(record, length, first, patient);
      release_pen();
      if (first == length) return;
      ghost_may_part[record] = true;
      while (ring_.in_use() == kBuffers) yield();
    }
  }

  // With the pen. Gives how far it came.
  unsigned put_ring(unsigned record, unsigned length, unsigned first, bool patient) {
    while (first < length) {
      if (!ring_.has_current() && !ring_.rotate(ring_.current_end())) {
        if (!patient) return first;
        yield();
        continue;
      }
      const std::uint64_t room = ring_.room();
      const unsigned step = room < length - first ? static_cast<unsigned>(room) : length - first;
      copy_in(record, first + step, first);
      first += step;
      if (ring_.room() == 0) ring_.seal();
    }
    return first;
  }

  void flush_ring() {
    take_pen();
    if (ring_.has_bytes()) ring_.seal();
    release_pen();
  }

  // Gives the sink the oldest sealed buffer, now and then in two pieces. False if there is none.
  bool consume_one() {
    Buffer *head = ring_.head();
    if (!head) return false;
    await_copies(*head, head->length());
    head->begin_flight();
    if (kHeadRoom) RL_ASSERT(head->position() % static_cast<int>(kHeadRoom) == 0);
    const std::uint64_t length = head->length();
    const std::uint64_t start = ring_.head_taken();
    RL_ASSERT(head->position() + static_cast<std::int64_t>(start) == static_cast<std::int64_t>(ghost_sunk));
    if (sink_failures > 0 && length - start > 1 && one_in(2)) {
      --sink_failures;
      sink(head->data() + start, 1);
      ring_.take(1);
    }
    const std::uint64_t before = ring_.head_taken();
    sink(head->data() + before, length - before);
    ring_.take(length - before);
    RL_ASSERT(ring_.retired() < ring_.sealed());
    ring_.retire();
    return true;
  }

  // Until `bytes` of the stream have reached the sink.
  void consume_until(unsigned bytes) {
    while (ghost_sunk < bytes) {
      if (!consume_one()) yield();
    }
  }

  // ---- Spans: Writer::reserve_in_word(), commit() ----

  struct Span {
    Buffer *buffer = nullptr;
    std::int64_t position = 0;
    char *data = nullptr;
  };

  // The buffer has room for all spans of the scenario: nobody gets the pen by this.
  Span reserve_span(unsigned record, unsigned length) {
    for (;; yield()) {
      Buffer &buffer = ring_.open_buffer();
      if (!buffer.is_open()) continue;
      const std::uint64_t offset = buffer.reserve(length);
      if (offset > kBlock) continue;
      RL_ASSERT(offset + length <= kBlock);
      const std::int64_t position = buffer.position() + static_cast<std::int64_t>(offset);
      claim(position, record, length);
      return {&buffer, position, buffer.data() + offset};
    }
  }

  void fill_span(const Span &span, unsigned record, unsigned length) { put_bytes(span.data, record, length); }

  // True: somebody waits.
  bool commit_span(std::uintptr_t thread, const Span &span, unsigned length) {
    ghost_copied(span.position, length);
    return slots_.commit_common(slots_.common(thread), span.buffer->index(), length);
  }

  // ---- What must hold ----

  // At the end, alone: the stream is made of `bytes` bytes, those not yet sunk are in the ring, in order.
  void check_all(unsigned bytes) {
    std::int64_t tail = 0;
    RL_ASSERT(ring_.tail(tail));
    RL_ASSERT(tail == static_cast<std::int64_t>(bytes));
    drain();
    RL_ASSERT(ghost_sunk == bytes);
    for (unsigned position = 0; position < kStreamMax; ++position)
      RL_ASSERT((ghost_owner[position] != 0) == (position < bytes));
  }

  // True if the gate is what writers find.
  bool is_shut() {
    Buffer *open = &ring_.open_buffer();
    return open < buffers_ || open >= buffers_ + kBuffers;
  }

  // No byte below `position` is still to be copied.
  void check_accepted(std::int64_t position) {
    for (std::int64_t at = 0; at < position; ++at) RL_ASSERT(ghost_is_copied[at]);
  }

  // Ghost, by stream position: whose byte it is, and whether it was copied in.
  int ghost_owner[kStreamMax] = {};
  bool ghost_is_copied[kStreamMax] = {};
  unsigned ghost_sunk = 0;
  int sink_failures = 0;
  int ghost_pens = 1;                      // pens in hand; the maker's
  bool ghost_is_held = false;              // an error is, and hold() has returned
  bool ghost_may_part[kStreamMax] = {};    // by record: was given up half-way
  std::int64_t ghost_end[kStreamMax] = {}; // by record

 private:
  // What byte `index` of a record looks like; records are counted from 1.
  static int code(unsigned record, unsigned index) { return static_cast<int>(record * kRecordMax + index); }

  ModelPlain<int> &byte(const char *address) { return bytes_[address - blocks_]; }

  // Bytes [first, length) of a record. Between two of them other threads have their turn.
  void put_bytes(char *data, unsigned record, unsigned length, unsigned first = 0) {
    for (unsigned index = first; index < length; ++index) {
      turn_.load(std::memory_order_relaxed);
      byte(data++).store(code(record, index));
    }
  }

  // The range is for ever this record's bytes [first, length).
  void claim(std::int64_t position, unsigned record, unsigned length, unsigned first = 0) {
    RL_ASSERT(position >= 0 && position + length - first <= kStreamMax);
    if (first > 0 && !ghost_may_part[record])
      RL_ASSERT(position > 0 && ghost_owner[position - 1] == code(record, first - 1));
    for (unsigned index = first; index < length; ++index, ++position) {
      RL_ASSERT(ghost_owner[position] == 0);
      ghost_owner[position] = code(record, index);
    }
    ghost_length[record] = length;
    ghost_end[record] = position;
  }

  void ghost_copied(std::int64_t position, unsigned length) {
    for (unsigned index = 0; index < length; ++index) ghost_is_copied[position + index] = true;
  }

  // The sink takes bytes: every one the next of the stream, and whole.
  void sink(const char *data, std::uint64_t length) {
    sink_calls_.store(sink_calls_.load() + 1); // one call at a time
    for (std::uint64_t index = 0; index < length; ++index, ++ghost_sunk) {
      RL_ASSERT(ghost_is_copied[ghost_sunk]);
      RL_ASSERT(byte(data + index).load() == ghost_owner[ghost_sunk]);
    }
  }

  bool is_record_end(std::uint64_t position) const {
    const int last = ghost_owner[position - 1];
    return static_cast<unsigned>(last) % kRecordMax + 1 == ghost_length[static_cast<unsigned>(last) / kRecordMax];
  }

  void drain() {
    while (consume_one()) {
    }
    take_pen();
    if (ring_.has_bytes()) {
      Buffer &current = ring_.current();
      const std::uint64_t start = current.start();
      RL_ASSERT(current.all_committed(slots_, ring_.fill()));
      RL_ASSERT(current.position() + static_cast<std::int64_t>(start) == static_cast<std::int64_t>(ghost_sunk));
      sink(current.data() + start, ring_.fill() - start);
    }
    release_pen();
  }

  SlotMemory<Model, kBuffers> slot_memory_;
  char blocks_[kBuffers * kBlock]; // addresses only; what lies there is in bytes_
  ModelPlain<int> bytes_[kBuffers * kBlock];
  ModelPlain<int> sink_calls_;
  ModelAtomic<int> turn_; // looked at where a thread may be interrupted between plain operations
  ModelAtomic<int> held_;
  unsigned ghost_length[kStreamMax] = {}; // by record

  Buffer buffers_[kBuffers];
  Slots slots_;
  Ring ring_;
};

// A scenario's rig, made when a run begins and taken apart when it has ended well. Relacy gives scenarios memory of
// malloc's alignment, so the rig does not live there.
template <class RigType>
class RigHolder {
 public:
  void make() { ::new (memory()) RigType; }
  void destroy() { get().~RigType(); }
  RigType &get() { return *std::launder(reinterpret_cast<RigType *>(memory())); }
  RigType *operator->() { return &get(); }

 private:
  static void *memory() {
    alignas(RigType) static char memory[sizeof(RigType)];
    return memory;
  }
};

} // namespace model
