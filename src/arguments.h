// Arguments that make no sense.
#pragma once

#include <bw/bw.h>
#include <sys/types.h>

#include <climits>
#include <cstddef>

namespace bwlib {

inline constexpr std::size_t kMaxLength = SSIZE_MAX;

inline bool is_bad_buffer(const void *data, std::size_t length) noexcept {
  return (!data && length > 0) || length > kMaxLength;
}

inline bool is_bad_list(const iovec *parts, int count) noexcept {
  if (count < 0 || (!parts && count > 0)) return true;
  std::size_t total = 0;
  for (int index = 0; index < count; ++index) {
    if (is_bad_buffer(parts[index].iov_base, parts[index].iov_len)) return true;
    if (parts[index].iov_len > kMaxLength - total) return true;
    total += parts[index].iov_len;
  }
  return false;
}

inline bool is_bad_waker(const bw_waker_t *wake) noexcept {
  return wake && !wake->wake;
}

} // namespace bwlib
