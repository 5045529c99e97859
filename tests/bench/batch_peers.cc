#include "batch_peers.h"

#include <sstream>

#include "command.h"
#include "vector_batcher.h"

namespace bwbench {
namespace {

void take_items(void *tally, const void *, std::size_t count, std::size_t bytes) noexcept {
  static_cast<Tally *>(tally)->add(count, bytes);
}

template <class Batcher>
class Pushes {
 public:
  static constexpr bool kKeepsBytes = false;
  Pushes(const Setting &, Tally *tally) : batcher_(take_items, tally) {}
  void write(int, const void *data, std::size_t length) { push_item(batcher_, data, length); }
  void finish() { batcher_.flush(); }

 private:
  Batcher batcher_;
};

template <std::size_t kBytes>
using StructPushes = Pushes<StructVectorBatcher<kBytes>>;

// A program that takes CHANNEL THREADS ITEM_BYTES ITEMS_PER_THREAD BATCH_ITEMS ROOM_ITEMS and prints the nanoseconds
// from the start of its threads until its sink has every item, and how many items and bytes those were.
[[maybe_unused]] RunFunction channel(std::string program, std::string name) {
  return [=](const Setting &setting, const Run &run) {
    const Ended ended = run_peer({program, name, std::to_string(setting.threads), std::to_string(setting.record_bytes),
                                  std::to_string(run.records_per_thread), std::to_string(kBatchItems),
                                  std::to_string(kRoomItems)});
    Outcome outcome;
    Tally tally;
    std::istringstream printed(ended.output);
    printed >> outcome.wall_ns >> tally.items >> tally.bytes;
    require(!printed.fail() && outcome.wall_ns > 0, "a channel has printed no figures");
    outcome.cpu_ns = ended.cpu_ns;
    outcome.records = run.records_per_thread * static_cast<unsigned>(setting.threads);
    tally.check(setting, outcome.records);
    return outcome;
  };
}

RunFunction sync_channel() {
#ifdef BWBENCH_RUST_BATCHES
  return channel(BWBENCH_RUST_BATCHES, "sync-channel");
#else
  return {};
#endif
}

RunFunction tokio_mpsc() {
#ifdef BWBENCH_TOKIO_BATCHES
  return channel(BWBENCH_TOKIO_BATCHES, "tokio-mpsc");
#else
  return {};
#endif
}

Subject peer(const char *name, bool many_threads, RunFunction run) {
  return {name, Kind::kPeer, many_threads, kVector, kMutexVector, std::move(run)};
}

} // namespace

std::vector<Subject> batch_peers() {
  return {
      {"vector-of-structs", Kind::kLimit, false, "", "", batches_by_size<StructPushes>()},
      {kVector, Kind::kPeer, false, "", "", batches_in_process<Pushes<VectorBatcher>>()},
      {kMutexVector, Kind::kPeer, true, kVector, "", batches_in_process<Pushes<MutexVectorBatcher>>()},
      peer("concurrentqueue", true, concurrentqueue_run()),
      peer("rust-sync-channel", true, sync_channel()),
      peer("tokio-mpsc", true, tokio_mpsc()),
  };
}

} // namespace bwbench
