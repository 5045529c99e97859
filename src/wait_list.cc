#include "wait_list.h"

#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>
#include <utility>

#include "process.h"

namespace bwlib {

namespace {

constexpr int kSpins = 64;
constexpr std::uint64_t kYieldNs = 20'000;     // about what going to sleep and being woken costs
constexpr std::uint64_t kSliceNs = 10'000'000; // of a wait on a descriptor
constexpr std::uint64_t kLookNs = 1'000'000;   // of a wait that nobody may end

bool same(const bw_waker_t &left, const bw_waker_t &right) noexcept {
  return left.wake == right.wake && left.arg == right.arg;
}

timespec to_timespec(std::uint64_t ns) noexcept {
  return {static_cast<time_t>(ns / 1'000'000'000u), static_cast<long>(ns % 1'000'000'000u)};
}

void futex_wait(std::atomic<std::uint32_t> &word, std::uint32_t value, std::uint32_t bit,
                std::uint64_t deadline_ns) noexcept {
  const timespec deadline = to_timespec(deadline_ns);
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, value, deadline_ns == kNoDeadline ? nullptr : &deadline, nullptr,
          bit);
}

void futex_wake_all(std::atomic<std::uint32_t> &word, std::uint32_t bits) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, nullptr, nullptr, bits);
}

// True if the descriptor is ready, or using it will say why not.
bool poll_slice(int ready_fd, short events, std::uint64_t deadline_ns) noexcept {
  const std::uint64_t now = now_ns();
  const timespec limit = to_timespec(deadline_ns <= now ? 0 : std::min(deadline_ns - now, kSliceNs));
  pollfd descriptor{ready_fd, events, 0};
  return ppoll(&descriptor, 1, &limit, nullptr) > 0;
}

} // namespace

bool WaitList::spin(const Pending &why) noexcept {
  for (int turn = 0; turn < kSpins; ++turn) {
    if (!check_(owner_, why)) return true;
    relax();
  }
  return false;
}

bool WaitList::yield_a_while(const Pending &why) noexcept {
  const std::uint64_t end = now_ns() + kYieldNs;
  do {
    sched_yield();
    if (!check_(owner_, why)) return true;
  } while (now_ns() < end);
  return false;
}

bool WaitList::sleep(const Pending &why, std::uint64_t deadline_ns) noexcept {
  if (spin(why) || yield_a_while(why)) return true;
  Waiter waiter;
  waiter.why = why;
  for (;;) {
    add(waiter);
    if (check_(owner_, why)) sleep_until_fired(waiter, deadline_ns, -1);
    remove(waiter);
    if (!check_(owner_, why)) return true;
    if (has_passed(deadline_ns)) return false;
  }
}

bool sleep_until_fired(Waiter &waiter, std::uint64_t deadline_ns, int ready_fd) noexcept {
  if (waiter.why.mask & kForCopies && is_barrier_lost()) deadline_ns = std::min(deadline_ns, now_ns() + kLookNs);
  for (;;) {
    // Before `fired`: a round of waking that comes after that look changes the word under our sleep.
    const std::uint32_t round = waiter.futex->load(std::memory_order_acquire);
    // Acquire: pairs with the release in fire_one(); what was changed before is seen.
    if (waiter.fired.load(std::memory_order_acquire) != 0) return false;
    if (has_passed(deadline_ns)) return false;
    if (ready_fd < 0) {
      futex_wait(*waiter.futex, round, waiter.bit, deadline_ns);
    } else if (poll_slice(ready_fd, waiter.why.for_read ? POLLIN : POLLOUT, deadline_ns)) {
      return true;
    }
  }
  return false;
}

void WaitList::Chain::push(Waiter &waiter) noexcept {
  waiter.next = nullptr;
  waiter.previous = last;
  (last ? last->next : first) = &waiter;
  last = &waiter;
}

void WaitList::Chain::unlink(Waiter &waiter) noexcept {
  (waiter.previous ? waiter.previous->next : first) = waiter.next;
  (waiter.next ? waiter.next->previous : last) = waiter.previous;
}

WaitList::~WaitList() {
  // In a forked child some may still wait; nobody is called there, and the nodes of threads are not ours.
  for (Chain *chain : {&waiting_, &due_}) {
    while (Waiter *node = chain->first) {
      chain->unlink(*node);
      if (node->waker.wake) give_node(*node);
    }
  }
  while (spare_) {
    Waiter *node = spare_;
    spare_ = node->next;
    if (node < built_in_ || node >= built_in_ + kBuiltIn) delete node;
  }
}

void WaitList::raise_interest(std::uint32_t kinds) noexcept {
  if (kinds & kForCopies) slots_.raise_flags();
  interest_.fetch_or(kinds, std::memory_order_acq_rel); // partner: signal()
}

// Interest is lowered by whoever finds that nobody waits for a kind any more; under the lock.
void WaitList::settle_interest() noexcept {
  std::uint32_t kinds = 0;
  for (const Waiter *waiter = waiting_.first; waiter; waiter = waiter->next) kinds |= waiter->why.mask;
  const std::uint32_t before = interest_.exchange(kinds, std::memory_order_acq_rel);
  if (before & ~kinds & kForCopies) slots_.lower_flags();
}

void WaitList::add(Waiter &waiter) noexcept {
  {
    const std::lock_guard lock(mutex_);
    waiter.fired.store(0, std::memory_order_relaxed);
    waiter.futex = &futex_;
    waiter.bit = 1u << futex_.load(std::memory_order_relaxed) % 32;
    waiting_.push(waiter);
    raise_interest(waiter.why.mask);
  }
  if (waiter.why.mask & kForCopies) process_barrier(); // copiers now see the flag, or we see their totals
}

void WaitList::remove(Waiter &waiter) noexcept {
  if (waiter.fired.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(mutex_);
  if (waiter.fired.load(std::memory_order_relaxed)) return; // unlinked by who fired it
  waiting_.unlink(waiter);
  settle_interest();
}

Waiter *WaitList::take_node() noexcept {
  if (Waiter *node = spare_) {
    spare_ = node->next;
    return node;
  }
  if (built_in_used_ < kBuiltIn) return &built_in_[built_in_used_++];
  return new (std::nothrow) Waiter;
}

void WaitList::give_node(Waiter &waiter) noexcept {
  waiter.next = spare_;
  spare_ = &waiter;
}

int WaitList::add_waker(const bw_waker_t &waker, const Pending &why) noexcept {
  {
    const std::lock_guard lock(mutex_);
    for (const Waiter *waiter = waiting_.first; waiter; waiter = waiter->next) {
      if (same(waiter->waker, waker) && waiter->why == why) return 0;
    }
    for (const Waiter *waiter = due_.first; waiter; waiter = waiter->next) {
      if (same(waiter->waker, waker)) return 0; // it will be called in a moment
    }
    Waiter *node = take_node();
    if (!node) return -ENOMEM;
    node->why = why;
    node->waker = waker;
    waiting_.push(*node);
    raise_interest(why.mask);
  }
  if (why.mask & kForCopies) process_barrier();
  // Between the poll's last look and now it may have become worth polling again.
  if (!check_(owner_, why)) fire(why.mask);
  return 0;
}

// It waits for nothing beside: fire() has the lock that check_() would want for kForCallback, and never asks.
bool WaitList::take_back(const bw_waker_t &waker) noexcept {
  bool was_waiting = false;
  for (bool is_called = true;;) { // a call that runs may poll with it anew
    was_waiting |= take_waiting(waker, is_called);
    if (!is_called) return was_waiting;
    sleep({.mask = kForCallback, .waker = waker}, kNoDeadline);
  }
}

// `is_called`: a call of it runs on another thread.
bool WaitList::take_waiting(const bw_waker_t &waker, bool &is_called) noexcept {
  const std::lock_guard lock(mutex_);
  bool found = false;
  for (Chain *chain : {&waiting_, &due_}) {
    for (Waiter *waiter = chain->first; waiter;) {
      Waiter *next = waiter->next;
      if (same(waiter->waker, waker)) {
        chain->unlink(*waiter);
        give_node(*waiter);
        if (chain == &due_) due_count_.fetch_sub(1, std::memory_order_release);
        found = true;
      }
      waiter = next;
    }
  }
  if (found) settle_interest();
  is_called = runs_elsewhere(waker);
  return found;
}

// Under the lock. Gives the bit of the thread that is to be woken, or 0. A thread's node may be gone as soon as it sees
// `fired`.
std::uint32_t WaitList::fire_one(Waiter &waiter) noexcept {
  waiting_.unlink(waiter);
  if (!waiter.waker.wake) {
    const std::uint32_t bit = waiter.bit;
    waiter.fired.store(1, std::memory_order_release); // pairs with sleep_until_fired()
    return bit;
  }
  // One call, however many wishes: the others of the same waker go.
  for (Waiter *other = waiting_.first; other;) {
    Waiter *next = other->next;
    if (same(other->waker, waiter.waker)) {
      waiting_.unlink(*other);
      give_node(*other);
    }
    other = next;
  }
  waiter.stamp = stamp_.load(std::memory_order_relaxed);
  due_.push(waiter);
  due_count_.fetch_add(1, std::memory_order_release);
  return 0;
}

// After the last fire_one(). Gives up the lock before the system call, for those woken want it next. They may be gone
// by then, and this list with them: the kernel looks at the address only, not at what is there.
void WaitList::wake(std::unique_lock<std::mutex> lock, std::uint32_t bits) noexcept {
  if (bits == 0) return;
  futex_.fetch_add(1, std::memory_order_release);
  std::atomic<std::uint32_t> &futex = futex_;
  lock.unlock();
  futex_wake_all(futex, bits);
}

void WaitList::fire(std::uint32_t kinds) noexcept {
  std::unique_lock lock(mutex_);
  std::uint32_t bits = 0;
  for (Waiter *waiter = waiting_.first; waiter;) {
    // fire_one() may unlink more than this one: start again behind what surely stays.
    Waiter *next = waiter->next;
    const bool is_call_end = (waiter->why.mask & kinds & kForCallback) != 0;
    if (is_call_end || ((waiter->why.mask & kinds) && !check_(owner_, waiter->why))) {
      const bool is_waker = waiter->waker.wake != nullptr;
      bits |= fire_one(*waiter);
      if (is_waker) next = waiting_.first;
    }
    waiter = next;
  }
  settle_interest();
  wake(std::move(lock), bits);
}

void WaitList::fire_all() noexcept {
  std::unique_lock lock(mutex_);
  std::uint32_t bits = 0;
  while (waiting_.first) bits |= fire_one(*waiting_.first);
  settle_interest();
  wake(std::move(lock), bits);
}

bool WaitList::next_due(bw_waker_t &waker, std::uint64_t end) noexcept {
  const std::lock_guard lock(mutex_);
  Waiter *node = due_.first;
  if (!node || node->stamp >= end) return false;
  due_.unlink(*node);
  due_count_.fetch_sub(1, std::memory_order_release);
  waker = running_ = node->waker;
  running_thread_ = thread_identity();
  give_node(*node);
  return true;
}

void WaitList::call_ended() noexcept {
  {
    const std::lock_guard lock(mutex_);
    running_ = {nullptr, nullptr};
    running_thread_ = 0;
  }
  signal(kForCallback);
}

bool WaitList::is_called_elsewhere(const bw_waker_t &waker) noexcept {
  const std::lock_guard lock(mutex_);
  return runs_elsewhere(waker);
}

bool WaitList::runs_elsewhere(const bw_waker_t &waker) const noexcept {
  return same(running_, waker) && running_thread_ != thread_identity();
}

} // namespace bwlib
