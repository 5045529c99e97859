#include "latency.h"

#include <algorithm>
#include <cmath>

namespace bwbench {

void Histogram::merge(const Histogram &other) noexcept {
  for (std::size_t index = 0; index < counts_.size(); ++index) counts_[index] += other.counts_[index];
  total_ += other.total_;
  max_ns_ = std::max(max_ns_, other.max_ns_);
}

Percentiles Histogram::percentiles() const noexcept {
  return {percentile(0.5), percentile(0.99), percentile(0.999), static_cast<double>(max_ns_)};
}

// The upper edge of the bucket in which the share is reached.
double Histogram::percentile(double share) const noexcept {
  const auto wanted = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(total_)));
  std::uint64_t seen = 0;
  for (std::size_t index = 0; index < counts_.size(); ++index) {
    seen += counts_[index];
    if (seen < wanted) continue;
    const std::size_t shift = index < 2 * kSteps ? 0 : index / kSteps - 1;
    const std::uint64_t edge = ((index - shift * kSteps + 1) << shift) - 1;
    return static_cast<double>(std::min(edge, max_ns_));
  }
  return static_cast<double>(max_ns_);
}

} // namespace bwbench
