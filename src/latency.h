// Latency: a histogram of durations with quantiles good to an eighth, in half a kilobyte.
//
// Thread safety: record() by one thread at a time (who owns what is measured); read() from any thread, and may lag.
#pragma once

#include <bw/bw.h>

#include <atomic>
#include <cstdint>

namespace bwlib {

class Latency {
 public:
  void record(std::uint64_t ns) noexcept;
  bw_latency_t read() const noexcept;

  // Buckets: four to each power of two, so a bucket's middle is within 1/8 of all it holds.
  static constexpr unsigned kSubBits = 2;
  static constexpr unsigned kBuckets = 36u << kSubBits; // up to 2^37 ns, two minutes; longer ones share the last

  static constexpr unsigned bucket(std::uint64_t ns) noexcept {
    if (ns < (1u << kSubBits)) return static_cast<unsigned>(ns);
    const unsigned top = 63u - static_cast<unsigned>(__builtin_clzll(ns));
    const auto sub = static_cast<unsigned>(ns >> (top - kSubBits)) & ((1u << kSubBits) - 1);
    const unsigned index = ((top - kSubBits + 1) << kSubBits) + sub;
    return index < kBuckets ? index : kBuckets - 1;
  }
  // The middle of a bucket.
  static constexpr std::uint64_t middle(unsigned index) noexcept {
    if (index < (2u << kSubBits)) return index;
    const unsigned shift = (index >> kSubBits) - 1;
    const std::uint64_t low = (std::uint64_t{1} << kSubBits | (index & ((1u << kSubBits) - 1))) << shift;
    return low + (std::uint64_t{1} << shift) / 2;
  }

 private:
  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::uint64_t> max_ns_{0};
  std::atomic<std::uint32_t> counts_[kBuckets] = {}; // all are halved before one overflows
};

} // namespace bwlib
