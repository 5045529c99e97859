// Background: writers fill to the brim, one consumer empties.
//
// Two writers, two buffers of two bytes, and more bytes than fit, so blocks come round again. The sink takes some
// buffers in two pieces. Who finds no buffer free waits with the pen in hand (kPatient), or gives it back and the
// gate is published until one is retired. Who ends last hands on what is left. With head-room a flush on the way sees
// to it that blocks begin inside a unit too.
// Invariants:
//   (1) Every byte reaches the sink once, in stream order; a record written in one go is not interrupted.
//   (2) A block is filled again only after it was retired (data races), and retired only when its copies have ended.
//   (3) The position of a sealed buffer is where the sink has arrived; its length is final.
//   (4) With head-room, blocks begin with a unit of the stream, and nobody writes before a round's first byte.
//   (5) With the gate published no write succeeds, and the next writer gets the pen: nobody waits for ever.
#pragma once

#include "rig.h"

namespace model {

template <bool kPatient, unsigned kHeadRoom>
struct RingScenario : rl::test_suite<RingScenario<kPatient, kHeadRoom>, 3> {
  static constexpr unsigned kBytes = 8;
  RigHolder<Rig<ModelAtomics, 2, 2, kHeadRoom>> rig;
  int ghost_writers;

  void before() {
    rig.make();
    rig->sink_failures = 2;
    ghost_writers = 2;
  }

  void thread(unsigned index) {
    if (index == 2) return rig->consume_until(kBytes);
    if (index == 0) {
      rig->write_ring(1, 1, 1, kPatient);
      if (kHeadRoom) rig->flush_ring();
      rig->write_ring(1, 2, 3, kPatient);
      rig->write_ring(1, 3, 1, kPatient);
    } else {
      rig->write_ring(2, 4, 2, kPatient);
      rig->write_ring(2, 5, 1, kPatient);
    }
    if (--ghost_writers == 0) rig->flush_ring();
  }

  void after() {
    rig->check_all(kBytes);
    rig.destroy();
  }
};

} // namespace model
