// Readers: tail() and accepted() while writers reserve, copy, and hold the pen.
//
// Each writer asks for the tail after its writes and tells a reader (release, acquire) where it ended; the reader
// asks for the tail and for what is accepted, again and again. Inline, the one buffer opens again and again;
// background, a consumer retires buffers meanwhile, or the gate is what there is.
// Invariants:
//   (1) tail() is never less than the end of a reservation that ended before it was asked: by the same thread, or by
//       one that told this thread of it.
//   (2) accepted() never passes a byte that is still to be copied, and never the end of the stream.
//   (3) Both give an answer once nobody is between two instructions (livelocks), at the gate too; accepted() then gives
//       the tail.
#pragma once

#include "rig.h"

namespace model {

template <class RigType>
class Reader {
 public:
  Reader() = default;

  std::int64_t tail(RigType &rig) {
    std::int64_t result = 0;
    while (!rig.ring().tail(result)) yield();
    return result;
  }

  // What a writer does after a write that ended at `end`.
  void tell(RigType &rig, std::int64_t end) {
    RL_ASSERT(tail(rig) >= end);
    told_.store(end, std::memory_order_release);
  }

  void look(RigType &rig, std::int64_t bytes) {
    std::int64_t position;
    if (rig.ring().accepted(position)) {
      rig.check_accepted(position);
      RL_ASSERT(position <= bytes);
    }
    const std::int64_t told = told_.load(std::memory_order_acquire);
    const std::int64_t now = tail(rig);
    RL_ASSERT(now >= told && now <= bytes);
  }

 private:
  ModelAtomic<std::int64_t> told_;
};

struct InlineReaderScenario : rl::test_suite<InlineReaderScenario, 3> {
  static constexpr unsigned kBytes = 5;
  using RigType = Rig<ModelAtomics, 1, 2>;
  RigHolder<RigType> rig;
  Reader<RigType> reader;

  void before() { rig.make(); }

  void thread(unsigned index) {
    switch (index) {
      case 0:
        write(1, 1);
        rig->flush_inline();
        write(1, 2);
        write(1, 3);
        break;
      case 1:
        for (unsigned record = 4; record <= 5; ++record) write(2, record);
        break;
      default:
        for (int turn = 0; turn < 3; ++turn) reader.look(rig.get(), kBytes);
    }
  }

  void write(std::uintptr_t thread, unsigned record) {
    rig->write_inline(thread, record, 1);
    reader.tell(rig.get(), rig->ghost_end[record]);
  }

  void after() {
    rig->check_all(kBytes);
    rig.destroy();
  }
};

// A pen holder fills a buffer to the brim, seals it and goes on in the next one, over the head of a slow writer.
struct BrimReaderScenario : rl::test_suite<BrimReaderScenario, 3> {
  using RigType = Rig<ModelAtomics, 2, 2>;
  RigHolder<RigType> rig;
  Reader<RigType> reader;
  unsigned ghost_bytes;

  void before() {
    rig.make();
    ghost_bytes = 3 + rl::rand(2);
  }

  void thread(unsigned index) {
    if (index == 0) rig->write_ring(1, 1, 1);
    if (index == 1) rig->write_ring(2, 2, ghost_bytes - 1);
    if (index == 2) reader.look(rig.get(), ghost_bytes);
  }

  void after() {
    rig->check_all(ghost_bytes);
    rig.destroy();
  }
};

struct RingReaderScenario : rl::test_suite<RingReaderScenario, 4> {
  static constexpr unsigned kBytes = 7;
  using RigType = Rig<ModelAtomics, 2, 2>;
  RigHolder<RigType> rig;
  Reader<RigType> reader;
  int ghost_writers;

  void before() {
    rig.make();
    ghost_writers = 2;
  }

  void thread(unsigned index) {
    switch (index) {
      case 0:
        write(1, 1, 1);
        write(1, 2, 3);
        break;
      case 1:
        write(2, 3, 1);
        write(2, 4, 2);
        break;
      case 2:
        rig->consume_until(kBytes);
        return;
      default:
        for (int turn = 0; turn < 4; ++turn) reader.look(rig.get(), kBytes);
        return;
    }
    if (--ghost_writers == 0) rig->flush_ring();
  }

  void write(std::uintptr_t thread, unsigned record, unsigned length) {
    rig->write_ring(thread, record, length);
    reader.tell(rig.get(), rig->ghost_end[record]);
  }

  void after() {
    rig->check_all(kBytes);
    rig.destroy();
  }
};

// Who finds no buffer free publishes the gate; so there is one for as long as the consumer has not come.
struct GateReaderScenario : rl::test_suite<GateReaderScenario, 3> {
  static constexpr unsigned kBytes = 6;
  using RigType = Rig<ModelAtomics, 2, 2>;
  RigHolder<RigType> rig;
  Reader<RigType> reader;

  void before() { rig.make(); }

  void thread(unsigned index) {
    if (index == 0) {
      rig->write_ring(1, 1, 1, false);
      rig->write_ring(1, 2, 5, false);
      rig->flush_ring();
    } else if (index == 1) {
      rig->consume_until(kBytes);
    } else {
      for (int turn = 0; turn < 4; ++turn) reader.look(rig.get(), kBytes);
    }
  }

  void after() {
    rig->check_all(kBytes);
    rig.destroy();
  }
};

// An error is held while a span is open, so its copy ends behind the gate; then the buffer is handed on there.
struct GateSpanReaderScenario : rl::test_suite<GateSpanReaderScenario, 3> {
  static constexpr unsigned kBytes = 2;
  using RigType = Rig<ModelAtomics, 2, 2>;
  RigHolder<RigType> rig;
  Reader<RigType> reader;

  void before() { rig.make(); }

  void thread(unsigned index) {
    if (index == 0) {
      const auto first = rig->reserve_span(1, 1), second = rig->reserve_span(2, 1);
      rig->fill_span(first, 1, 1);
      rig->commit_span(1, first, 1);
      rig->fill_span(second, 2, 1);
      rig->commit_span(1, second, 1);
    } else if (index == 1) {
      std::int64_t tail = 0;
      for (; tail < kBytes; yield()) tail = reader.tail(rig.get());
      rig->hold();
      rig->flush_ring();
    } else {
      for (int turn = 0; turn < 4; ++turn) reader.look(rig.get(), kBytes);
    }
  }

  void after() {
    std::int64_t position = 0;
    RL_ASSERT(rig->is_shut());
    RL_ASSERT(rig->ring().accepted(position) && position == kBytes);
    rig->check_all(kBytes);
    rig.destroy();
  }
};

} // namespace model
