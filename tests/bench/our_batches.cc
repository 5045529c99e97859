#include "our_batches.h"

#include <bw/bw.h>

#include "batches.h"

namespace bwbench {
namespace {

enum class Lengths { kAny, kFixed };

int take(void *tally, bw_batch_view_t *view) noexcept {
  std::size_t count = 0;
  bw_batch_items(view, &count);
  static_cast<Tally *>(tally)->add(count, bw_batch_bytes(view));
  return 0;
}

class Batches {
 public:
  static constexpr bool kKeepsBytes = false;
  Batches(const Setting &setting, Tally *tally, std::uint32_t flags, Lengths lengths) {
    bw_batch_sink_t sink = BW_BATCH_SINK_INIT;
    sink.write = take;
    bw_batch_options_t options = BW_BATCH_OPTIONS_INIT;
    options.flags = flags;
    options.max_items = kBatchItems;
    options.buffers = kRoomItems / kBatchItems;
    if (lengths == Lengths::kFixed) options.item_size = static_cast<std::uint32_t>(setting.record_bytes);
    require(bw_batch_new(&batch_, &sink, tally, &options) == 0, "bw_batch_new");
  }
  Batches(const Batches &) = delete;
  Batches &operator=(const Batches &) = delete;
  ~Batches() {
    require(bw_batch_close(batch_) == 0, "bw_batch_close");
    bw_batch_free(batch_);
  }

  void write(int, const void *data, std::size_t bytes) noexcept {
    require(bw_batch_send(batch_, data, bytes) == 0, "bw_batch_send");
  }
  void finish() noexcept { require(bw_batch_flush(batch_) == 0, "bw_batch_flush"); }

 private:
  bw_batch_t *batch_ = nullptr;
};

Subject batcher(const char *name, std::uint32_t flags, Lengths lengths = Lengths::kAny) {
  const bool many_threads = (flags & BW_UNSHARED) == 0;
  return {name, Kind::kOurs, many_threads, kVector, kMutexVector, batches_in_process<Batches>(flags, lengths)};
}

} // namespace

std::vector<Subject> our_batches() {
  return {
      batcher(kBatchUnshared, BW_UNSHARED),
      batcher("bw-batch-unshared-item-size", BW_UNSHARED, Lengths::kFixed),
      batcher(kBatch, 0),
      batcher("bw-batch-item-size", 0, Lengths::kFixed),
      batcher("bw-batch-background", BW_BACKGROUND),
  };
}

} // namespace bwbench
