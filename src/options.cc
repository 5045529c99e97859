#include "options.h"

#include "aligned_memory.h"
#include "batch_state.h"
#include "buffer_state.h"

namespace bwlib {

namespace {

constexpr std::uint32_t kKnownFlags =
    BW_UNSHARED | BW_NONBLOCK | BW_BACKGROUND | BW_BUFFERED | BW_CALLER_DRIVEN;
constexpr std::uint32_t kDefaultBuffers = 2;
constexpr std::uint32_t kDefaultFileBuffers = 8;
constexpr std::uint64_t kDefaultFileCapacity = std::uint64_t{1} << 20;
constexpr std::uint32_t kKnownBatchFlags = BW_UNSHARED | BW_BACKGROUND | BW_BATCH_BISECT;
constexpr std::uint64_t kDefaultBatchItems = 1000;
constexpr std::uint64_t kDefaultBatchBytes = std::uint64_t{1} << 20;
constexpr std::uint32_t kDefaultItemAlign = 8;
constexpr std::uint32_t kMaxItemAlign = 4096;
constexpr std::uint32_t kDefaultHighPercent = 80;
constexpr std::uint32_t kDefaultLowPercent = 50;

static_assert(sizeof(bw_options_t) == 64 && offsetof(bw_options_t, event_arg) == 56, "no padding, append only");
static_assert(sizeof(bw_sink_t) == 64 && offsetof(bw_sink_t, close) == 56, "no padding, append only");
static_assert(sizeof(bw_event_t) == 40 && offsetof(bw_event_t, reserved) == 36, "no padding, append only");

template <class Options>
int read_percents(Options &ours) noexcept {
  if (ours.high_percent == 0) ours.high_percent = kDefaultHighPercent;
  if (ours.low_percent == 0) ours.low_percent = std::min(kDefaultLowPercent, ours.high_percent);
  return ours.high_percent > 100 || ours.low_percent > ours.high_percent ? -EINVAL : 0;
}

// What all kinds of writers have in common.
int read_common(const bw_options_t *theirs, std::uint64_t default_capacity, bw_options_t &ours) noexcept {
  ours = {};
  ours.size = sizeof ours;
  if (theirs) {
    if (const int code = read_struct(theirs, ours)) return code;
  }
  if (ours.flags & ~kKnownFlags) return -EINVAL;
  if (ours.linger_us && ours.flags & BW_UNSHARED) return -EINVAL;
  if (ours.capacity == 0) ours.capacity = default_capacity;
  if (ours.capacity > kMaxCapacity) return -EINVAL;
  return read_percents(ours);
}

} // namespace

int read_options(const bw_options_t *theirs, std::uint64_t default_capacity, bw_options_t &ours) noexcept {
  if (const int code = read_common(theirs, default_capacity, ours)) return code;
  const bool inline_writer = !(ours.flags & BW_BACKGROUND);
  if (inline_writer) ours.buffers = 1;
  if (ours.buffers == 0) ours.buffers = kDefaultBuffers;
  return 0;
}

int read_file_options(const bw_options_t *theirs, bw_options_t &ours) noexcept {
  if (const int code = read_common(theirs, kDefaultFileCapacity, ours)) return code;
  if (ours.engine > BW_ENGINE_PWRITE || ours.capacity % kPageBytes != 0) return -EINVAL;
  if (ours.buffers == 0) ours.buffers = kDefaultFileBuffers;
  return 0;
}

int read_batch_options(const bw_batch_options_t *theirs, bw_batch_options_t &ours) noexcept {
  ours = {};
  ours.size = sizeof ours;
  if (theirs) {
    if (const int code = read_struct(theirs, ours)) return code;
  }
  if (ours.flags & ~kKnownBatchFlags || ours.reserved) return -EINVAL;
  if (ours.when_full > BW_FULL_DROP_OLDEST || ours.when_failed > BW_FAILED_GIVE_UP) return -EINVAL;
  if (ours.linger_us && ours.flags & BW_UNSHARED) return -EINVAL;
  if (ours.max_items == 0) ours.max_items = kDefaultBatchItems;
  if (ours.max_bytes == 0) ours.max_bytes = kDefaultBatchBytes;
  if (ours.max_items > kMaxBatchItems || ours.max_bytes > kMaxBatchBytes) return -EINVAL;
  if (ours.buffers == 0) ours.buffers = kDefaultBuffers;
  if (ours.max_in_flight == 0) ours.max_in_flight = 1;
  if (ours.item_align == 0) {
    const std::uint32_t largest = ours.item_size & (0 - ours.item_size); // power of two that divides it; 0 of 0
    ours.item_align = largest ? std::min(largest, kDefaultItemAlign) : kDefaultItemAlign;
  }
  if (ours.item_align > kMaxItemAlign || (ours.item_align & (ours.item_align - 1)) != 0) return -EINVAL;
  if (ours.item_size % ours.item_align != 0 || ours.item_size > ours.max_bytes) return -EINVAL;
  return read_percents(ours);
}

} // namespace bwlib
