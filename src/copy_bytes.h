// Copying records: most are small, and a call of memcpy costs more than moving their bytes.
#pragma once

#include <cstddef>
#include <cstring>

namespace bwlib {

inline constexpr std::size_t kSmallBytes = 64;

// Two moves of Width bytes that overlap where `length` is less than both together.
template <std::size_t Width>
inline void copy_ends(char *to, const char *from, std::size_t length) noexcept {
  struct Block {
    char bytes[Width];
  } front, back;
  std::memcpy(&front, from, Width);
  std::memcpy(&back, from + length - Width, Width);
  std::memcpy(to, &front, Width);
  std::memcpy(to + length - Width, &back, Width);
}

// 0 < length <= kSmallBytes; the ranges do not overlap.
[[gnu::always_inline]] inline void copy_small(char *to, const char *from, std::size_t length) noexcept {
  if (length >= 32) {
    copy_ends<32>(to, from, length);
  } else if (length >= 16) {
    copy_ends<16>(to, from, length);
  } else if (length >= 8) {
    copy_ends<8>(to, from, length);
  } else if (length >= 4) {
    copy_ends<4>(to, from, length);
  } else {
    to[0] = from[0];
    to[length - 1] = from[length - 1];
    to[length / 2] = from[length / 2];
  }
}

template <bool kIsSmall>
[[gnu::always_inline]] inline void copy(char *to, const char *from, std::size_t length) noexcept {
  if constexpr (kIsSmall) {
    copy_small(to, from, length);
  } else {
    std::memcpy(to, from, length);
  }
}

} // namespace bwlib
