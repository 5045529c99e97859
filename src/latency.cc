#include "latency.h"

#include <algorithm>

namespace bwlib {

void Latency::record(std::uint64_t ns) noexcept {
  // Relaxed, and no read-modify-write: one thread records at a time, readers may lag.
  std::atomic<std::uint32_t> &count = counts_[bucket(ns)];
  if (count.load(std::memory_order_relaxed) == UINT32_MAX) {
    for (auto &each : counts_) each.store(each.load(std::memory_order_relaxed) / 2, std::memory_order_relaxed);
  }
  count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (ns > max_ns_.load(std::memory_order_relaxed)) max_ns_.store(ns, std::memory_order_relaxed);
}

bw_latency_t Latency::read() const noexcept {
  std::uint32_t counts[kBuckets];
  bw_latency_t result{};
  std::uint64_t total = 0;
  for (unsigned index = 0; index < kBuckets; ++index) {
    counts[index] = counts_[index].load(std::memory_order_relaxed);
    total += counts[index];
  }
  result.count = count_.load(std::memory_order_relaxed);
  result.max_ns = max_ns_.load(std::memory_order_relaxed);
  const auto quantile = [&](std::uint64_t per_mille) {
    const std::uint64_t rank = (total * per_mille + 999) / 1000; // 1 to total
    unsigned index = 0;
    for (std::uint64_t seen = counts[0]; seen < rank; seen += counts[index]) ++index;
    return std::min(middle(index), result.max_ns);
  };
  if (total == 0) return result;
  result.p50_ns = quantile(500);
  result.p90_ns = quantile(900);
  result.p99_ns = quantile(990);
  result.p999_ns = quantile(999);
  return result;
}

} // namespace bwlib
