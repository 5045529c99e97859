// Percentiles of single calls, gathered without allocating.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace bwbench {

struct Percentiles {
  double p50_ns = 0, p99_ns = 0, p999_ns = 0, max_ns = 0;
};

// Counts durations in buckets of equal width within each power of two, so that a percentile is at most 1/64 too
// high. The maximum is exact. Thread safety: none; each thread fills its own, and they are merged afterwards.
class Histogram {
 public:
  void add(std::uint64_t ns) noexcept {
    ++counts_[index_of(ns)];
    ++total_;
    if (ns > max_ns_) max_ns_ = ns;
  }
  void merge(const Histogram &other) noexcept;
  Percentiles percentiles() const noexcept;
  std::uint64_t total() const noexcept { return total_; }

 private:
  static constexpr std::size_t kStepBits = 6;
  static constexpr std::size_t kSteps = 1 << kStepBits; // buckets in one power of two
  static constexpr std::size_t kMostBits = 40;
  static constexpr std::uint64_t kMost = 1ull << kMostBits; // longer calls share the last bucket
  static constexpr std::size_t kBuckets = (kMostBits - kStepBits + 1) * kSteps + 1;
  static constexpr std::size_t shift_of(std::uint64_t ns) noexcept {
    return ns < kSteps ? 0 : static_cast<std::size_t>(std::bit_width(ns)) - kStepBits - 1;
  }
  static constexpr std::size_t index_of(std::uint64_t ns) noexcept {
    const std::uint64_t value = ns < kMost ? ns : kMost;
    return shift_of(value) * kSteps + (value >> shift_of(value));
  }
  double percentile(double share) const noexcept;

  std::array<std::uint64_t, kBuckets> counts_{};
  std::uint64_t total_ = 0;
  std::uint64_t max_ns_ = 0;
};

} // namespace bwbench
