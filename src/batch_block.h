// BatchBlock: one batch: a flush buffer whose records are items, and what has become of them.
//
// Items are settled from the front. Where answers differ from item to item those that are settled move to the front,
// in order, and the others close up behind them. What is settled is told from the front too:
//
//   0        told       settled          end             count
//   [  told  ][ to tell ][ part, offered ][ later parts  ]
//
// Thread safety: the buffer and items[i] as FlushBuffer says, i being part of a reservation; begun_ns from any thread;
// everything else belongs to the batcher's mutex.
#pragma once

#include <bw/bw.h>

#include <atomic>
#include <cstdint>

#include "batch_state.h"
#include "flush_buffer.h"
#include "process.h"

namespace bwlib {

class Batcher;

// What became of items[i]. `run`, `code` and `when` are valid for the first of `run` items with the same fate.
struct Fate {
  std::uint32_t index; // items are numbered from block.first + index; valid once the batch was split
  std::uint32_t run;
  std::uint64_t when;  // the number of the event
  int code;
};

// -EAGAIN or a back-off: the sink is not to be asked again before a bw_batch_wake() that comes after `wakes` others, or
// before a time (0: the wake alone counts, or nothing has to be waited for).
struct Pause {
  bool needs_wake = false;
  std::uint64_t wakes = 0;
  std::uint64_t not_before_ns = 0;

  bool is_over(std::uint64_t wakes_now) const noexcept {
    if (needs_wake && wakes != wakes_now) return true;
    return not_before_ns == 0 ? !needs_wake : now_ns() >= not_before_ns;
  }
};

enum class BatchLife {
  kFree,
  kFilling,
  kWaiting, // to be offered
  kHeld,    // to be offered when somebody asks for another round
  kOffered, // the sink's write has been called
  kTaken,   // the sink's answer is to come
  kSettled, // `delivered` is to be called, or running
};

struct BatchBlock {
  FlushBuffer<> buffer;
  Batcher *owner = nullptr;
  iovec *items = nullptr;
  Fate *fates = nullptr;
  // A sender that reaches it has something to see to. At first that is anybody.
  std::atomic<std::uint64_t> mark{batch_state::mark(0, 0)};
  std::atomic<std::uint64_t> begun_ns{0}; // when the first item came

  char *next_place = nullptr; // a lone producer's, whose items need no place that others can tell

  BatchLife life = BatchLife::kFree;
  BatchBlock *next = nullptr; // by serial
  std::uint64_t serial = 0;
  std::uint64_t first = 0; // the number of its first item
  std::uint64_t bytes = 0;
  std::uint32_t count = 0;
  std::uint32_t told = 0;
  std::uint32_t settled = 0;
  std::uint32_t delivered = 0;
  // Ends of the part at hand and of those behind it, which a halving leaves: each at most half of the one before.
  static constexpr int kMostEnds = 22;
  std::uint32_t ends[kMostEnds];
  int depth = 0;
  bool is_split = false; // its parts go one by one, and nothing newer before all are settled
  bool is_copied = false; // all copies have ended
  bool is_dead = false;   // BW_ESINK: never offered again
  Pause pause;
  std::uint32_t attempt = 0;
  std::uint32_t failures = 0; // in this round
  bool has_failed = false;    // in any
  bool is_retry = false;      // it had when it was offered last
  bool is_timed = false;      // a linger or a back-off is over: our thread sees to it, inline too
  int code = 0;               // kHeld: why
  std::uint64_t sealed_ns = 0, settled_ns = 0;

  std::uint32_t end() const noexcept { return ends[depth]; }
  std::uint32_t part() const noexcept { return end() - settled; }
  // Sealed and not settled, and the sink has nothing of it: it may be settled without its word.
  bool is_waiting() const noexcept { return life == BatchLife::kWaiting || life == BatchLife::kHeld; }
  bool is_in_flight() const noexcept { return life == BatchLife::kOffered || life == BatchLife::kTaken; }
  bool has_to_tell() const noexcept { return told < settled; }
  std::uint64_t bytes_of(std::uint32_t from, std::uint32_t items_count) const noexcept {
    if (items_count == count) return bytes;
    std::uint64_t sum = 0;
    for (std::uint32_t index = from; index < from + items_count; ++index) sum += items[index].iov_len;
    return sum;
  }
  std::uint64_t first_of_part() const noexcept { return first + (is_split ? fates[settled].index : settled); }
};

} // namespace bwlib
