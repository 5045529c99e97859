// What a batch counts in the offset of its buffer's state word (buffer_state.h):
//
//   60          52 51        30 29        0
//   [ not used    ][ items: 22 ][ bytes: 30 ]
//
// Bytes are payload, without the gaps that alignment makes. A reservation is a compare-exchange, which never
// overshoots: items <= 2^20 and bytes <= 2^27, and a closed word (capacity + 1) has one byte more. No field can
// overflow into the next, also where an item is added that does not fit, and a mark after that: each count comes up to
// twice its limit and one, a mark is at most kItemsEdge or kBytesEdge.
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

inline constexpr unsigned kItemsBits = 22, kBytesBits = 30;
inline constexpr std::uint64_t kBytesMask = (std::uint64_t{1} << kBytesBits) - 1;
// What a mark completes a count to.
inline constexpr std::uint64_t kItemsEdge = kMaxBatchItems * 2, kBytesEdge = kMaxBatchBytes * 2;

static_assert(kBytesEdge + 2 * kMaxBatchBytes + 1 <= kBytesMask);
static_assert(kItemsEdge + kMaxBatchItems + 2 < std::uint64_t{1} << kItemsBits);
static_assert(kItemsBits + kBytesBits <= buffer_state::kOffsetBits);

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

// What has_reached() compares with: the given counts, each up to its limit.
constexpr std::uint64_t mark(std::uint64_t items, std::uint64_t bytes) noexcept {
  return pack(kItemsEdge - items, kBytesEdge - bytes);
}

// True if either count has come to that of the mark: one addition brings both to their edges.
constexpr bool has_reached(std::uint64_t offset, std::uint64_t mark) noexcept {
  constexpr std::uint64_t kBeyond = pack(0 - kItemsEdge, kBytesMask & (0 - kBytesEdge));
  return ((offset + mark) & kBeyond) != 0;
}

// Where the next item lies in memory. `slack`: the most that aligning one item can cost. Items so placed never
// overlap, and max_bytes + max_items * slack bytes are enough.
constexpr std::uint64_t place(std::uint64_t offset, std::uint64_t alignment, std::uint64_t slack) noexcept {
  return align_up(bytes(offset) + items(offset) * slack, alignment);
}

} // namespace batch_state
} // namespace bwlib
