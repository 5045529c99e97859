// What a batch counts in the offset of its buffer's state word (buffer_state.h):
//
//   60          49 48        28 27        0
//   [ not used    ][ items: 21 ][ bytes: 28 ]
//
// Bytes are payload, without the gaps that alignment makes. A reservation is a compare-exchange, which never
// overshoots: items <= 2^20 and bytes <= 2^27, so no field can overflow into the next, and a closed word
// (capacity + 1) has one byte more than 2^27 at most.
//
// Copies that have not ended are not in the word: CopySlots counts those that have, in items, and a batch is whole
// when the sum has come as far as its items (FlushBuffer::all_committed). Those counters are 64 bits and only grow.
#pragma once

#include <cstdint>

#include "aligned_memory.h"
#include "buffer_state.h"

namespace bwlib {

inline constexpr std::uint64_t kMaxBatchItems = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kMaxBatchBytes = kMaxCapacity;

namespace batch_state {

inline constexpr unsigned kBytesBits = 28;
inline constexpr std::uint64_t kBytesMask = (std::uint64_t{1} << kBytesBits) - 1;

static_assert(kMaxBatchBytes + 1 <= kBytesMask);
static_assert(((kMaxBatchItems + 1) << kBytesBits) < std::uint64_t{1} << buffer_state::kOffsetBits);

constexpr std::uint64_t pack(std::uint64_t items, std::uint64_t bytes) noexcept {
  return items << kBytesBits | bytes;
}

constexpr std::uint64_t items(std::uint64_t offset) noexcept {
  return offset >> kBytesBits;
}

constexpr std::uint64_t bytes(std::uint64_t offset) noexcept {
  return offset & kBytesMask;
}

// True if one item of `length` bytes fits behind `offset`, in a batch that holds `capacity`.
constexpr bool fits(std::uint64_t offset, std::uint64_t length, std::uint64_t capacity) noexcept {
  return items(offset) < items(capacity) && length <= bytes(capacity) - bytes(offset);
}

// True if either count has come to that of `mark`.
constexpr bool has_reached(std::uint64_t offset, std::uint64_t mark) noexcept {
  return items(offset) >= items(mark) || bytes(offset) >= bytes(mark);
}

// Where the next item lies in memory. `slack`: the most that aligning one item can cost. Items so placed never
// overlap, and max_bytes + max_items * slack bytes are enough.
constexpr std::uint64_t place(std::uint64_t offset, std::uint64_t alignment, std::uint64_t slack) noexcept {
  return align_up(bytes(offset) + items(offset) * slack, alignment);
}

} // namespace batch_state
} // namespace bwlib
