// The packed state word of a flush buffer: how much of it is reserved, and where it is in its life.
//
//   63                                        3 2      0
//   [ offset: 61 bits, bytes reserved so far  ][ phase ]
//
// A buffer of `capacity` bytes is open while offset <= capacity, and closed beyond. Whoever adds to the offset
// learns from what was there before:
//   before + n <= capacity            the range [before, before + n) is his;
//   before <= capacity < before + n   he is the first to cross the end: he, and he alone, holds the pen;
//   before > capacity                 closed: somebody else holds the pen, or the buffer is not the one being filled.
//
// No field can overflow. An offset is reset by every open and close; in between, each thread adds to a closed word
// at most once before it reads it (a closed one is not added to), and adds at most capacity + 1. With 2^16 threads
// and capacities up to 2^27 that is less than 2^44. The phase is never added to.
#pragma once

#include <cstdint>

namespace bwlib {

inline constexpr std::uint64_t kMaxCapacity = std::uint64_t{1} << 27;
inline constexpr std::uint64_t kMaxThreads = std::uint64_t{1} << 16;

enum class BufferPhase : std::uint64_t {
  kFree = 0,     // closed; nobody's
  kOpen = 1,     // being filled, or (closed) in the hands of the pen holder
  kSealed = 2,   // closed; its length and position are final; waits for its last writers and for the sink
  kInFlight = 3, // closed; the sink is taking it
};

namespace buffer_state {

inline constexpr unsigned kPhaseBits = 3;
inline constexpr std::uint64_t kPhaseMask = (std::uint64_t{1} << kPhaseBits) - 1;
inline constexpr unsigned kOffsetBits = 64 - kPhaseBits;

static_assert(kMaxThreads * (kMaxCapacity + 1) + kMaxCapacity < std::uint64_t{1} << 44);
static_assert(kOffsetBits >= 44);

constexpr std::uint64_t pack(std::uint64_t offset, BufferPhase phase) noexcept {
  return offset << kPhaseBits | static_cast<std::uint64_t>(phase);
}

// What a reservation of `bytes` adds to the word.
constexpr std::uint64_t increment(std::uint64_t bytes) noexcept {
  return bytes << kPhaseBits;
}

constexpr std::uint64_t offset(std::uint64_t word) noexcept {
  return word >> kPhaseBits;
}

constexpr BufferPhase phase(std::uint64_t word) noexcept {
  return static_cast<BufferPhase>(word & kPhaseMask);
}

constexpr bool is_open(std::uint64_t word, std::uint64_t capacity) noexcept {
  return offset(word) <= capacity;
}

// A word that no reservation can succeed on.
constexpr std::uint64_t closed(std::uint64_t capacity, BufferPhase phase) noexcept {
  return pack(capacity + 1, phase);
}

} // namespace buffer_state
} // namespace bwlib
