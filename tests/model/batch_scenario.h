// Batches: senders reserve by compare-exchange, and one thread closes, takes and opens again.
//
// Invariants:
//   (1) Places of a round do not overlap and stay in the block; an item's index is how many came before it, and what
//       close() gives is what was reserved, in items and bytes.
//   (2) Nothing is accepted between close() and open(). A thread with a block or a word of long ago gets nothing, or a
//       proper place in the round that is open.
//   (3) A batch is taken when all its copies have ended (data races), and every item is taken once.
//   (4) A sender whose item brings a round to its mark looks, or who set the mark sees it in the word.
#pragma once

#include "batch_rig.h"

namespace model {

// Two senders, whose items meet both limits, and round after round of the same block, or of two that take turns.
template <unsigned kBlocks>
struct BatchScenario : rl::test_suite<BatchScenario<kBlocks>, 3> {
  static constexpr unsigned kRecords = 6;
  RigHolder<BatchRig<kBlocks>> rig;

  void before() { rig.make(); }

  void thread(unsigned index) {
    switch (index) {
      case 0:
        rig->send(1, 1, 1);
        rig->send(1, 2, BatchRig<kBlocks>::kBytes);
        rig->send(1, 3, 0);
        break;
      case 1:
        for (unsigned record = 4; record <= kRecords; ++record) rig->send(2, record, 1);
        break;
      default:
        rig->take_until(kRecords, [] {});
    }
  }

  void after() {
    rig->check_all(kRecords);
    rig.destroy();
  }
};

// One sender found its block and its word at first, and sends when a round or more are over, of which it has learnt
// nothing (relaxed).
template <unsigned kBlocks>
struct BatchStaleScenario : rl::test_suite<BatchStaleScenario<kBlocks>, 3> {
  static constexpr unsigned kRecords = 4;
  RigHolder<BatchRig<kBlocks>> rig;
  ModelAtomic<unsigned> rounds;

  void before() { rig.make(); }

  void thread(unsigned index) {
    if (index == 0) {
      for (unsigned record = 1; record < kRecords; ++record) rig->send(1, record, 1);
    } else if (index == 1) {
      send_late();
    } else {
      unsigned ghost_rounds = 0;
      rig->take_until(kRecords, [&] { rounds.store(++ghost_rounds, std::memory_order_relaxed); });
    }
  }

  void send_late() {
    auto &block = rig->open_block();
    const std::uint64_t word = block.buffer.word();
    while (rounds.load(std::memory_order_relaxed) < kBlocks) yield();
    if (!rig->try_send(2, block, word, kRecords, 1)) rig->send(2, kRecords, 1);
  }

  void after() {
    rig->check_all(kRecords);
    rig.destroy();
  }
};

// A mark of two items, or of two bytes.
inline std::uint64_t low_mark() {
  using Rig = BatchRig<1>;
  return one_in(2) ? bwlib::batch_state::mark(2, Rig::kBytes) : bwlib::batch_state::mark(Rig::kItems, 2);
}

// The mark is lowered while items come.
struct BatchMarkScenario : rl::test_suite<BatchMarkScenario, 3> {
  RigHolder<BatchRig<1>> rig;
  bool ghost_was_seen;

  void before() { rig.make(); }

  void thread(unsigned index) {
    if (index == 2) {
      ghost_was_seen = rig->look_at_pressure(low_mark());
    } else {
      rig->send(index + 1, index + 1, 1);
    }
  }

  void after() {
    RL_ASSERT(rig->filling().ghost_has_looked || ghost_was_seen);
    rig->go_round();
    rig->check_all(2);
    rig.destroy();
  }
};

// The next round begins with a lower mark, at which nobody looks when it has begun.
struct BatchOpenMarkScenario : rl::test_suite<BatchOpenMarkScenario, 3> {
  static constexpr unsigned kRecords = 3;
  RigHolder<BatchRig<1>> rig;

  void before() { rig.make(); }

  void thread(unsigned index) {
    if (index == 2) return rig->go_round(low_mark());
    rig->send(index + 1, index + 1, 1);
    if (index == 0) rig->send(1, kRecords, 1);
  }

  void after() {
    RL_ASSERT(rig->filling().ghost_has_looked == (rig->filling().ghost_count >= 2));
    rig->go_round();
    rig->check_all(kRecords);
    rig.destroy();
  }
};

} // namespace model
