// The gate and the held error: hold() against everybody who gives the pen back.
//
// Two writers cross the end of a buffer while a third thread holds an error and shuts (Writer::hold); with kResume
// it then takes the error back. Inline with one buffer, which opens again and again; and with a ring, where the open
// buffer is another one each time.
// Invariants:
//   (1) Once hold() has returned and nobody has the pen, no write is accepted, until the error is taken back.
//   (2) When all is quiet the gate is what writers find, or after a resume a buffer.
//   (3) Bytes accepted before stay where they are: they are in the buffer, whole and in order.
#pragma once

#include "rig.h"

namespace model {

template <bool kResume>
struct ShutScenario : rl::test_suite<ShutScenario<kResume>, 3> {
  RigHolder<Rig<ModelAtomics, 1, 2>> rig;
  using Grant = typename Rig<ModelAtomics, 1, 2>::Grant;
  unsigned ghost_bytes;

  void before() {
    rig.make();
    ghost_bytes = 0;
  }

  void thread(unsigned index) {
    if (index == 2) {
      rig->hold();
      if (kResume) {
        rig->take_pen();
        rig->resume();
        rig->release_pen();
      }
      return;
    }
    for (unsigned record = index * 2 + 1; record <= index * 2 + 2; ++record) {
      if (rig->write_inline(index + 1, record, 1)) ++ghost_bytes;
    }
  }

  void after() {
    RL_ASSERT(rig->is_shut() == !kResume);
    if (!kResume) RL_ASSERT(rig->reserve(1, rig->ring().open_buffer(), 5, 1).grant == Grant::kPen);
    if (!kResume) rig->release_pen();
    rig->check_all(ghost_bytes);
    rig.destroy();
  }
};

struct RingShutScenario : rl::test_suite<RingShutScenario, 2> {
  using RigType = Rig<ModelAtomics, 4, 1>;
  RigHolder<RigType> rig;
  unsigned ghost_bytes;

  void before() {
    rig.make();
    ghost_bytes = 0;
  }

  void thread(unsigned index) {
    if (index == 1) return rig->hold();
    for (unsigned record = 1; record <= 3; ++record) {
      const bool has_pen = rig->reserve_or_pen(1, record, 1).grant == RigType::Grant::kPen;
      if (has_pen && rig->is_refused()) {
        rig->release_pen();
        return;
      }
      ++ghost_bytes;
      if (!has_pen) continue;
      rig->put_ring(record, 1, 0, true);
      rig->release_pen();
    }
  }

  void after() {
    RL_ASSERT(rig->is_shut());
    rig->check_all(ghost_bytes);
    rig.destroy();
  }
};

} // namespace model
