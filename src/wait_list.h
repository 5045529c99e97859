// WaitList: who waits for what, threads and wakers alike.
//
// A blocked thread is a node on its own stack; a poll that answered -EAGAIN leaves a copy of its waker in a node of
// the list's. Who changes something that may be waited for calls signal() with the kind of change, and pays one
// atomic operation if nobody waits.
//
// No wake-up is lost: add() raises the interest by a read-modify-write and the caller then looks once more whether
// he still has to wait; signal() comes after the change and reads the interest by a read-modify-write. Whichever of
// the two comes second sees what the other did.
//
// Thread safety: every function from any thread. No user code runs here: fired wakers become due, and Writer calls
// them with no lock held.
#pragma once

#include <bw/bw.h>

#include <atomic>
#include <cstdint>
#include <mutex>

#include "buffer_ring.h"

namespace bwlib {

// The kinds of change that may be waited for.
enum : std::uint32_t {
  kForPen = 1u << 0,      // the stream's end is in another thread's hands
  kForRoom = 1u << 1,     // no buffer is free
  kForSink = 1u << 2,     // another thread is in the sink
  kForReady = 1u << 3,    // the sink said -EAGAIN
  kForCopies = 1u << 4,   // others still copy, or hold spans open
  kForLevel = 1u << 5,    // a position has not been reached
  kForService = 1u << 6,  // our thread has nothing to do
  kForCallback = 1u << 7, // a waker is being called
  kForTold = 1u << 8,     // on_event has not heard of it yet
  kForRescue = 1u << 9,   // bw_set_sink() and its like have the way first
  kForStuck = 1u << 10,   // the sink may go on by itself; goes with another kind
};

// What somebody waits for: he goes on as soon as one of the kinds in `mask` is not pending any more.
struct Pending {
  std::uint32_t mask = 0;
  int level = 0;              // kForLevel
  std::int64_t position = 0;  // kForLevel
  std::uint64_t turn = 0;     // kForLevel, kForRoom: errors, cuts and closing so far
  std::uint64_t wakes = 0;    // kForReady: calls of bw_wake() before the sink was asked
  std::uint64_t kicks = 0;    // kForService
  std::uint64_t events = 0;   // kForTold: the number of the last one
  std::uint64_t buffers = 0;  // kForRoom: free ones needed
  bool is_service = false;    // kForSink: our thread asks
  bool for_read = false;      // kForReady: to be read from
  FlushBuffer<> *buffer = nullptr; // kForCopies
  std::uint64_t goal = 0;          // kForCopies: FlushBuffer::goal()
  bw_waker_t waker{nullptr, nullptr}; // kForCallback

  bool operator==(const Pending &other) const noexcept {
    return mask == other.mask && level == other.level && position == other.position && turn == other.turn &&
           wakes == other.wakes && buffers == other.buffers && buffer == other.buffer && goal == other.goal;
  }
};

struct Waiter {
  Waiter *next = nullptr;
  Waiter *previous = nullptr;
  Pending why;
  bw_waker_t waker{nullptr, nullptr}; // wake == nullptr: a thread
  std::atomic<std::uint32_t> fired{0};             // threads
  std::atomic<std::uint32_t> *futex = &fired;      // threads: what they sleep on; in a list it is the list's
  std::uint32_t bit = UINT32_MAX;                  // and the bit that wakes this one
  std::uint64_t stamp = 0;                         // wakers that are due
};

class WaitList {
 public:
  // Says whether what somebody waits for is still pending. Called under the list's lock; reads atomics only.
  using Check = bool (*)(void *owner, const Pending &why) noexcept;

  WaitList(Check check, void *owner, CopySlots<> &slots) noexcept : check_(check), owner_(owner), slots_(slots) {}
  ~WaitList();
  WaitList(const WaitList &) = delete;
  WaitList &operator=(const WaitList &) = delete;

  // Threads. The caller checks once more after add(), then sleeps until fired or the deadline, then removes.
  void add(Waiter &waiter) noexcept;
  void remove(Waiter &waiter) noexcept;

  // Wakers. 0, or -ENOMEM: not kept. The same waker with the same wish is not added twice.
  int add_waker(const bw_waker_t &waker, const Pending &why) noexcept;
  // Returns once no call of it runs on another thread. True if it was waiting, or due and not called yet.
  bool take_back(const bw_waker_t &waker) noexcept;
  // All that wait become due, whatever they wait for.
  void fire_all() noexcept;

  // Most waits are for another thread's few instructions. True if this was one of these.
  bool spin(const Pending &why) noexcept;
  // Others are for a thread that needs this core, or are over before we would be asleep.
  bool yield_a_while(const Pending &why) noexcept;
  // All of it: true once `why` is not pending any more, false if the deadline came first.
  bool sleep(const Pending &why, std::uint64_t deadline_ns) noexcept;

  // What becomes due from now on has this stamp.
  void set_stamp(std::uint64_t stamp) noexcept { stamp_.store(stamp, std::memory_order_relaxed); }
  // Something of these kinds changed.
  void signal(std::uint32_t kinds) noexcept {
    // acq_rel: see "No wake-up is lost" above; partner is the same operation in raise_interest().
    if (interest_.fetch_or(0, std::memory_order_acq_rel) & kinds) fire(kinds);
  }

  bool has_waiting() noexcept {
    const std::lock_guard lock(mutex_);
    return waiting_.first != nullptr;
  }

  // Due wakers, oldest first, one caller at a time: while next_due() has given one, call_ended() must follow.
  bool has_due() const noexcept { return due_count_.load(std::memory_order_acquire) != 0; }
  // Only those stamped before `end`.
  bool next_due(bw_waker_t &waker, std::uint64_t end = UINT64_MAX) noexcept;
  void call_ended() noexcept;
  // True if that waker is being called now by another thread.
  bool is_called_elsewhere(const bw_waker_t &waker) noexcept;

  static constexpr unsigned kBuiltIn = 2; // so many wakers need no memory of the heap

 private:
  struct Chain {
    Waiter *first = nullptr;
    Waiter *last = nullptr;
    void push(Waiter &waiter) noexcept;
    void unlink(Waiter &waiter) noexcept;
  };

  bool take_waiting(const bw_waker_t &waker, bool &is_called) noexcept;
  bool runs_elsewhere(const bw_waker_t &waker) const noexcept; // with the mutex
  void fire(std::uint32_t kinds) noexcept;
  std::uint32_t fire_one(Waiter &waiter) noexcept;
  void wake(std::unique_lock<std::mutex> lock, std::uint32_t bits) noexcept;
  void raise_interest(std::uint32_t kinds) noexcept;
  void settle_interest() noexcept;
  Waiter *take_node() noexcept;
  void give_node(Waiter &waiter) noexcept;

  const Check check_;
  void *const owner_;
  CopySlots<> &slots_;
  std::mutex mutex_;
  std::atomic<std::uint32_t> interest_{0};
  // Threads sleep on one word, so that one system call wakes many. Those that came between two rounds of waking share a
  // bit: nobody else is woken with them.
  std::atomic<std::uint32_t> futex_{0}; // rounds of waking
  Chain waiting_;
  Chain due_;
  std::atomic<std::uint32_t> due_count_{0};
  std::atomic<std::uint64_t> stamp_{0};
  Waiter *spare_ = nullptr;       // nodes for wakers, singly linked
  Waiter built_in_[kBuiltIn];     // the first of them; later ones come from the heap and stay until the end
  unsigned built_in_used_ = 0;
  bw_waker_t running_{nullptr, nullptr};
  std::uintptr_t running_thread_ = 0;
};

// Sleeps until `waiter` is fired or the deadline (now_ns() time; UINT64_MAX: none) has passed. With `ready_fd` >= 0
// also until that descriptor can be written to; then true is returned. Nobody can interrupt that wait (it would take
// a descriptor more), so it sleeps in short slices: only while a non-blocking peer takes nothing.
bool sleep_until_fired(Waiter &waiter, std::uint64_t deadline_ns, int ready_fd) noexcept;

} // namespace bwlib
