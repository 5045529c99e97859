// Copying records: most are small, and a call of memcpy costs more than moving their bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bwlib {

inline constexpr std::size_t kSmallBytes = 64;

// Two moves of a Word that overlap where `length` is less than both together.
template <class Word>
inline void copy_ends(char *to, const char *from, std::size_t length) noexcept {
  Word front, back;
  std::memcpy(&front, from, sizeof front);
  std::memcpy(&back, from + length - sizeof back, sizeof back);
  std::memcpy(to, &front, sizeof front);
  std::memcpy(to + length - sizeof back, &back, sizeof back);
}

// 0 < length <= kSmallBytes; the ranges do not overlap.
[[gnu::always_inline]] inline void copy_small(char *to, const char *from, std::size_t length) noexcept {
  using Word16 [[gnu::vector_size(16)]] = char; // the ranges do not overlap, so 32 bytes may go as two
  if (length >= 32) {
    copy_ends<Word16>(to, from, length);
    copy_ends<Word16>(to + 16, from + 16, length - 32);
  } else if (length >= 16) {
    copy_ends<Word16>(to, from, length);
  } else if (length >= 8) {
    copy_ends<std::uint64_t>(to, from, length);
  } else if (length >= 4) {
    copy_ends<std::uint32_t>(to, from, length);
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
