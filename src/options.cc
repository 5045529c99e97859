#include "options.h"

#include "aligned_memory.h"
#include "buffer_state.h"

namespace bwlib {

namespace {

constexpr std::uint32_t kKnownFlags =
    BW_UNSHARED | BW_NONBLOCK | BW_BACKGROUND | BW_BUFFERED | BW_CALLER_DRIVEN;
constexpr std::uint32_t kDefaultBuffers = 2;
constexpr std::uint32_t kDefaultFileBuffers = 8;
constexpr std::uint64_t kDefaultFileCapacity = std::uint64_t{1} << 20;
constexpr std::uint32_t kDefaultHighPercent = 80;
constexpr std::uint32_t kDefaultLowPercent = 50;

static_assert(sizeof(bw_options_t) == 64 && offsetof(bw_options_t, event_arg) == 56, "no padding, append only");
static_assert(sizeof(bw_sink_t) == 64 && offsetof(bw_sink_t, close) == 56, "no padding, append only");
static_assert(sizeof(bw_event_t) == 40 && offsetof(bw_event_t, reserved) == 36, "no padding, append only");

// What all kinds of writers have in common.
int read_common(const bw_options_t *theirs, std::uint64_t default_capacity, bw_options_t &ours) noexcept {
  ours = {};
  ours.size = sizeof ours;
  if (theirs) {
    if (const int code = read_struct(theirs, ours)) return code;
  }
  if (ours.flags & ~kKnownFlags || ours.engine > BW_ENGINE_PWRITE) return -EINVAL;
  if (ours.linger_us && ours.flags & BW_UNSHARED) return -EINVAL;
  if (ours.capacity == 0) ours.capacity = default_capacity;
  if (ours.capacity > kMaxCapacity) return -EINVAL;
  if (ours.high_percent == 0) ours.high_percent = kDefaultHighPercent;
  if (ours.low_percent == 0) ours.low_percent = std::min(kDefaultLowPercent, ours.high_percent);
  return ours.high_percent > 100 || ours.low_percent > ours.high_percent ? -EINVAL : 0;
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
  if (ours.capacity % kPageBytes != 0) return -EINVAL;
  if (ours.buffers == 0) ours.buffers = kDefaultFileBuffers;
  return 0;
}

} // namespace bwlib
