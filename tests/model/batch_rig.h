// BatchRig: a batcher's blocks with the moves that src/batcher.cc and batcher_sink.cc make on them, and a record of
// what became of every item.
//
// The moves follow Batcher call by call, without its waiting (a loop that yields), answers and statistics. Those that
// Batcher makes under its mutex are made by one thread here. Items and bytes are Plain, and what the rig remembers is
// "ghost", as in rig.h.
#pragma once

#include "batch_state.h"
#include "flush_buffer.h"
#include "rig.h"

namespace model {

template <unsigned kBlocks>
class BatchRig {
 public:
  using Buffer = bwlib::FlushBuffer<ModelAtomics>;
  using Slots = bwlib::CopySlots<ModelAtomics>;

  // Of a batch. So small that alignment makes gaps, and that both limits are met.
  static constexpr unsigned kItems = 3, kBytes = 4;
  static constexpr unsigned kAlignment = 2, kSlack = kAlignment - 1;
  static constexpr unsigned kRoom = kBytes + kItems * kSlack + kAlignment;
  static constexpr unsigned kRecordMax = 8;
  static constexpr std::uint64_t kCapacity = bwlib::batch_state::pack(kItems, kBytes);
  static constexpr std::uint64_t kFull = bwlib::batch_state::mark(kItems, kBytes);

  struct Block {
    Buffer buffer;
    ModelAtomic<std::uint64_t> mark;
    ModelPlain<unsigned> at[kItems], length[kItems]; // items: where in the block, and how long

    unsigned ghost_round = 0; // the rest is of this round
    bool ghost_is_open = false;
    bool ghost_has_looked = false; // a sender of this round did, because of the mark
    unsigned ghost_count = 0, ghost_bytes = 0;
    unsigned ghost_record[kItems] = {}, ghost_length[kItems] = {};
    bool ghost_is_copied[kItems] = {};
    bool ghost_is_used[kRoom] = {}; // by byte
  };

  BatchRig() {
    slots_.attach(slot_memory_.get(), kBlocks, true);
    for (unsigned index = 0; index < kBlocks; ++index)
      blocks_[index].buffer.attach(memory_ + index * kRoom, kCapacity, index);
    gate_.buffer.attach(nullptr, kCapacity, 0);
    open_.store(&gate_, std::memory_order_relaxed);
    open_next(blocks_[0], kFull);
  }

  // ---- Senders: Batcher::try_send() ----

  Block &open_block() { return *open_.load(std::memory_order_acquire); }

  void send(std::uintptr_t thread, unsigned record, unsigned length) {
    for (;; yield()) {
      Block &block = open_block();
      if (try_send(thread, block, block.buffer.word(), record, length)) return;
    }
  }

  // On `block`, whatever has become of it, where `word` was seen once.
  bool try_send(std::uintptr_t thread, Block &block, std::uint64_t word, unsigned record, unsigned length) {
    auto &slot = slots_.find(thread);
    std::uint64_t before;
    if (!try_reserve(block, word, length, before)) return false;
    const std::uint64_t after = before + bwlib::batch_state::pack(1, length);
    const auto index = static_cast<unsigned>(bwlib::batch_state::items(before));
    const auto at = static_cast<unsigned>(bwlib::batch_state::place(before, kAlignment, kSlack));
    claim(block, before, record, length, at);
    const unsigned round = block.ghost_round;
    block.at[index].store(at);
    block.length[index].store(length);
    for (unsigned byte = 0; byte < length; ++byte) {
      turn_.load(std::memory_order_relaxed);
      bytes_[block.buffer.data() + at + byte - memory_].store(code(record, byte));
    }
    block.ghost_is_copied[index] = true;
    slots_.commit(slot, thread, block.buffer.index(), 1);
    if (bwlib::batch_state::has_reached(after, block.mark.load(std::memory_order_seq_cst)))
      block.ghost_has_looked |= round == block.ghost_round; // else it is a look too many
    return true;
  }

  // ---- Under the mutex ----

  Block &filling() { return *filling_; }

  void open_next(Block &block, std::uint64_t mark) {
    set_mark(block, mark);
    block.buffer.open(0);
    ghost_begin(block);
    filling_ = &block;
    open_.store(&block, std::memory_order_release);
  }

  void set_mark(Block &block, std::uint64_t mark) { block.mark.store(mark, std::memory_order_seq_cst); }

  // A new mark for the batch that is filling. True if that has come so far.
  bool look_at_pressure(std::uint64_t mark) {
    set_mark(*filling_, mark);
    return bwlib::batch_state::has_reached(bwlib::buffer_state::offset(filling_->buffer.word()), mark);
  }

  // Seals the batch that is filling, takes its items, and opens the next one: before that if another block is free.
  void go_round(std::uint64_t mark = kFull) {
    Block &block = *filling_;
    const std::uint64_t offset = seal_filling();
    Block &next = blocks_[(block.buffer.index() + 1) % kBlocks];
    if (kBlocks > 1) open_next(next, mark);
    take(block, offset);
    block.buffer.end_flight();
    if (kBlocks == 1) open_next(next, mark);
  }

  // Until `count` items have been taken.
  template <class AfterRound>
  void take_until(unsigned count, AfterRound after_round) {
    while (ghost_taken < count) {
      if (filling_->ghost_count == 0 && !one_in(4)) {
        yield();
        continue;
      }
      go_round();
      after_round();
    }
  }

  // At the end, alone: all have been taken, once.
  void check_all(unsigned count) {
    RL_ASSERT(ghost_taken == count);
    for (unsigned record = 1; record < kRecordMax; ++record) RL_ASSERT(ghost_times_taken[record] == (record <= count));
    RL_ASSERT(filling_->buffer.word() == bwlib::buffer_state::pack(0, bwlib::BufferPhase::kOpen));
    for (Block &block : blocks_) RL_ASSERT(block.buffer.all_committed(slots_, 0));
  }

  unsigned ghost_taken = 0;

 private:
  // Batcher::try_reserve().
  bool try_reserve(Block &block, std::uint64_t word, std::uint64_t length, std::uint64_t &before) {
    const std::uint64_t more = bwlib::batch_state::pack(1, length);
    do {
      before = bwlib::buffer_state::offset(word);
      if (!bwlib::batch_state::fits(before, length, kCapacity)) return false;
    } while (!block.buffer.try_reserve(word, more));
    return true;
  }

  std::uint64_t seal_filling() {
    Block &block = *filling_;
    const std::uint64_t offset = block.buffer.close();
    block.ghost_is_open = false;
    RL_ASSERT(bwlib::batch_state::items(offset) == block.ghost_count);
    RL_ASSERT(bwlib::batch_state::bytes(offset) == block.ghost_bytes);
    open_.store(&gate_, std::memory_order_release);
    block.buffer.seal(bwlib::batch_state::items(offset));
    return offset;
  }

  // Batcher::await_copies().
  void await_copies(Block &block, std::uint64_t count) {
    if (block.buffer.all_committed(slots_, count)) return;
    const std::uint64_t goal = block.buffer.goal(count);
    while (!block.buffer.has_reached(slots_, goal)) yield();
  }

  // What the sink does with a batch.
  void take(Block &block, std::uint64_t offset) {
    const auto count = static_cast<unsigned>(bwlib::batch_state::items(offset));
    await_copies(block, count);
    unsigned sum = 0;
    for (unsigned index = 0; index < count; ++index) {
      RL_ASSERT(block.ghost_is_copied[index]);
      const unsigned record = block.ghost_record[index];
      const unsigned length = block.length[index].load();
      const unsigned at = block.at[index].load();
      RL_ASSERT(length == block.ghost_length[index]);
      for (unsigned byte = 0; byte < length; ++byte)
        RL_ASSERT(bytes_[block.buffer.data() + at + byte - memory_].load() == code(record, byte));
      sum += length;
      ++ghost_taken;
      ++ghost_times_taken[record];
    }
    RL_ASSERT(sum == bwlib::batch_state::bytes(offset));
  }

  // The place is this record's for the round: in order, inside the block, nobody else's.
  void claim(Block &block, std::uint64_t before, unsigned record, unsigned length, unsigned at) {
    RL_ASSERT(block.ghost_is_open);
    RL_ASSERT(bwlib::batch_state::items(before) == block.ghost_count);
    RL_ASSERT(bwlib::batch_state::bytes(before) == block.ghost_bytes);
    RL_ASSERT(block.ghost_count < kItems && block.ghost_bytes + length <= kBytes);
    RL_ASSERT(at % kAlignment == 0 && at + length <= kRoom);
    for (unsigned byte = at; byte < at + length; ++byte) {
      RL_ASSERT(!block.ghost_is_used[byte]);
      block.ghost_is_used[byte] = true;
    }
    block.ghost_record[block.ghost_count] = record;
    block.ghost_length[block.ghost_count] = length;
    ++block.ghost_count;
    block.ghost_bytes += length;
  }

  static void ghost_begin(Block &block) {
    ++block.ghost_round;
    block.ghost_is_open = true;
    block.ghost_has_looked = false;
    block.ghost_count = block.ghost_bytes = 0;
    for (bool &is_copied : block.ghost_is_copied) is_copied = false;
    for (bool &is_used : block.ghost_is_used) is_used = false;
  }

  // What byte `index` of a record looks like; records are counted from 1.
  static int code(unsigned record, unsigned index) { return static_cast<int>(record * kRecordMax + index); }

  SlotMemory<ModelAtomics, kBlocks> slot_memory_;
  char memory_[kBlocks * kRoom]; // addresses only; what lies there is in bytes_
  ModelPlain<int> bytes_[kBlocks * kRoom];
  ModelAtomic<int> turn_; // looked at where a thread may be interrupted between plain operations
  unsigned ghost_times_taken[kRecordMax] = {};

  Slots slots_;
  Block blocks_[kBlocks], gate_;
  ModelAtomic<Block *> open_;
  Block *filling_ = nullptr;
};

} // namespace model
