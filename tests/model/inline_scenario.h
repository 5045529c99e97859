// Inline: the pen holder calls the sink, and the same buffer opens again.
//
// Two writers and a flusher share one buffer of three bytes; twice the sink takes less than it was given.
// Invariants:
//   (1) Every byte reaches the sink once, in stream order, with the value its writer gave it.
//   (2) The sink is called when all copies below the fill have ended, and with whole records only.
//   (3) A record that was refused because the sink failed leaves nothing behind; what was accepted stays, moved to
//       the front.
//   (4) One sink call at a time; nobody touches a byte while the pen holder reads or moves it (data races).
#pragma once

#include "rig.h"

namespace model {

struct InlineScenario : rl::test_suite<InlineScenario, 3> {
  static constexpr unsigned kBytes = 7;
  RigHolder<Rig<ModelAtomics, 1, 3>> rig;

  void before() {
    rig.make();
    rig->sink_failures = 2;
  }

  void write(unsigned thread, unsigned record, unsigned length) {
    while (!rig->write_inline(thread + 1, record, length)) {
    }
  }

  void thread(unsigned index) {
    switch (index) {
      case 0:
        write(index, 1, 2);
        write(index, 2, 1);
        break;
      case 1:
        write(index, 3, 2);
        write(index, 4, 2);
        break;
      default:
        while (!rig->flush_inline()) {
        }
    }
  }

  void after() {
    rig->check_all(kBytes);
    rig.destroy();
  }
};

} // namespace model
