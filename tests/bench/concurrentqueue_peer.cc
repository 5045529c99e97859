#include "batch_peers.h"

#ifdef BWBENCH_HAVE_CONCURRENTQUEUE
#include <concurrentqueue/blockingconcurrentqueue.h>

#include <atomic>
#include <thread>

#include "batches.h"
#endif

namespace bwbench {

#ifdef BWBENCH_HAVE_CONCURRENTQUEUE
namespace {

// Each thread has a token, which is the queue's fast way. A semaphore bounds the queue. (try_enqueue() cannot: a
// producer keeps the blocks it once had, so of several threads one may never get any.)
template <std::size_t kBytes>
class Queue {
 public:
  static constexpr bool kKeepsBytes = false;
  Queue(const Setting &setting, Tally *tally)
      : queue_(kRoomItems, static_cast<std::size_t>(setting.threads), 0), room_(kRoomItems), tally_(tally) {
    for (int thread = 0; thread < setting.threads; ++thread) tokens_.emplace_back(queue_);
    consumer_ = std::thread([this] { consume(); });
  }

  void write(int thread, const void *data, std::size_t) {
    const auto &item = *static_cast<const Item<kBytes> *>(data);
    room_.wait();
    require(queue_.enqueue(tokens_[static_cast<std::size_t>(thread)], item), "no memory for an item");
  }

  // All items are in the queue; one more wakes the consumer, and what it leaves is taken here.
  void finish() {
    is_ending_.store(true, std::memory_order_release); // partner: consume()
    require(queue_.enqueue(Item<kBytes>{}), "no memory for the last item");
    consumer_.join();
    while (const std::size_t count = queue_.try_dequeue_bulk(batch_.data(), kBatchItems)) take(count);
    --tally_->items;
    tally_->bytes -= kBytes;
  }

 private:
  void consume() {
    moodycamel::ConsumerToken token(queue_);
    while (!is_ending_.load(std::memory_order_acquire)) {
      const std::size_t count = queue_.wait_dequeue_bulk(token, batch_.data(), kBatchItems);
      take(count);
      room_.signal(static_cast<moodycamel::LightweightSemaphore::ssize_t>(count));
    }
  }
  void take(std::size_t count) noexcept { tally_->add(count, count * kBytes); }

  moodycamel::BlockingConcurrentQueue<Item<kBytes>> queue_;
  std::vector<moodycamel::ProducerToken> tokens_;
  moodycamel::LightweightSemaphore room_;
  std::vector<Item<kBytes>> batch_ = std::vector<Item<kBytes>>(kBatchItems);
  Tally *tally_;
  std::atomic<bool> is_ending_{false};
  std::thread consumer_;
};

} // namespace

RunFunction concurrentqueue_run() { return batches_by_size<Queue>(); }
#else
RunFunction concurrentqueue_run() { return {}; }
#endif

} // namespace bwbench
