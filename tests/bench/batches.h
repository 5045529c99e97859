// What the peers of batches share: how big a batch is, and what its sink does.
#pragma once

#include <cstddef>
#include <cstdint>

#include "measure.h"

namespace bwbench {

// Names of subjects that goals speak of.
inline constexpr const char *kVector = "vector";
inline constexpr const char *kMutexVector = "mutex-vector";
inline constexpr const char *kBatchUnshared = "bw-batch-unshared";
inline constexpr const char *kBatch = "bw-batch";

// Everybody's batches hold this many items, and everybody who takes turns has room for two of them.
inline constexpr std::size_t kBatchItems = 1000;
inline constexpr std::size_t kRoomItems = 2 * kBatchItems;

// An item of a peer that knows its length when it is compiled.
template <std::size_t kBytes>
struct Item {
  char bytes[kBytes];
};

// Everybody's sink: it counts, and looks at no item. Whoever takes a batch calls add() alone, and the run's end comes
// after all of them.
struct alignas(128) Tally {
  std::uint64_t items = 0, bytes = 0;

  void add(std::size_t more_items, std::size_t more_bytes) noexcept {
    items += more_items;
    bytes += more_bytes;
  }
  // Ends the program unless as much came out as went in.
  void check(const Setting &setting, std::uint64_t sent) const noexcept {
    require(items == sent && bytes == sent * setting.record_bytes, "a batcher has lost or gained items");
  }
};

// in_process(), for a Writer(setting, tally, arguments...) whose sink adds to the tally.
template <class Writer, class... Arguments>
RunFunction batches_in_process(Arguments... arguments) {
  return [=](const Setting &setting, const Run &run) {
    Tally tally;
    const Outcome outcome = in_process<Writer>(&tally, arguments...)(setting, run);
    tally.check(setting, outcome.records);
    return outcome;
  };
}

// The same for a Writer<bytes of an item>.
template <template <std::size_t> class Writer>
RunFunction batches_by_size() {
  return [](const Setting &setting, const Run &run) {
    switch (setting.record_bytes) {
      case 16: return batches_in_process<Writer<16>>()(setting, run);
      case 64: return batches_in_process<Writer<64>>()(setting, run);
      case 1024: return batches_in_process<Writer<1024>>()(setting, run);
      default: fail("no batches of items of that length");
    }
  };
}

} // namespace bwbench
