// A stale thread: it looked for the open buffer long ago, and only now does its fetch_add.
//
// Meanwhile a writer and a consumer send the ring's two blocks round. The stale thread waits until they have begun
// kRounds buffers, without learning anything from that (relaxed), and reserves on the buffer it found at first.
// Invariants:
//   (1) The fetch_add fails, or it is a reservation of the present round: its range is nobody else's, its position
//       is that of the round, and its bytes reach the sink there.
//   (2) If it crosses the end of the present round it holds the pen as anybody would.
#pragma once

#include "rig.h"

namespace model {

template <unsigned kRounds>
struct StaleScenario : rl::test_suite<StaleScenario<kRounds>, 3> {
  static constexpr unsigned kBytes = 7;
  RigHolder<Rig<ModelAtomics, 2, 2>> rig;
  ModelAtomic<unsigned> rounds;
  int ghost_writers;

  void before() {
    rig.make();
    ghost_writers = 2;
  }

  void thread(unsigned index) {
    if (index == 2) return rig->consume_until(kBytes);
    if (index == 0) {
      for (unsigned record = 1; record <= 3; ++record) {
        rig->write_ring(1, record, record == 1 ? 1 : 2);
        rounds.store(static_cast<unsigned>(rig->ring().sealed()), std::memory_order_relaxed);
      }
    } else {
      write_late();
    }
    if (--ghost_writers == 0) rig->flush_ring();
  }

  void write_late() {
    using Grant = typename Rig<ModelAtomics, 2, 2>::Grant;
    auto &buffer = rig->ring().open_buffer();
    while (rounds.load(std::memory_order_relaxed) < kRounds) yield();
    const Grant grant = rig->reserve(2, buffer, 4, 2).grant;
    if (grant == Grant::kClosed) return rig->write_ring(2, 4, 2);
    if (grant == Grant::kDone) return;
    rig->put_ring(4, 2, 0, true);
    rig->release_pen();
  }

  void after() {
    rig->check_all(kBytes);
    rig.destroy();
  }
};

} // namespace model
