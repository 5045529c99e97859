// What the library knows about its process: who calls, whether we were forked, and the asymmetric barrier.
//
// Thread safety: everything here may be called from any thread.
#pragma once

#include <cstdint>

namespace bwlib {

// Per-thread state. Trivial on purpose: nothing has to run when a thread ends, so dlclose() can unmap us.
struct ThreadState {
  std::uint32_t callback_depth; // > 0 inside wake, done and on_event: nothing waits there
  std::uint32_t callbacks_made; // wakers, notes and events, so far
  bool is_service;              // a thread of ours, with every signal blocked
};
extern constinit thread_local ThreadState thread_state;

// A number that no two living threads share. A later thread may inherit it from one that has ended.
inline std::uintptr_t thread_identity() noexcept {
  return reinterpret_cast<std::uintptr_t>(&thread_state);
}

// The number of this process among a family of forks. The page it lies on reads as 0 after fork
// (MADV_WIPEONFORK), which costs a load per call where getpid() costs a system call.
struct ProcessPage {
  std::uint64_t generation;
  std::uint64_t lock; // held while the generation is given; free in a child, whatever it was here
  char rest[4096 - 2 * sizeof(std::uint64_t)];
};
extern ProcessPage process_page;

inline std::uint64_t process_generation() noexcept {
  return __atomic_load_n(&process_page.generation, __ATOMIC_RELAXED);
}

// Makes process_generation() non-zero, and unlike that of any ancestor; called before a handle is made.
std::uint64_t enter_process() noexcept;

// True if the kernel gives us membarrier(PRIVATE_EXPEDITED); constant once enter_process() was called.
bool has_process_barrier() noexcept;
// After it gave true, every thread of the process has passed a full memory barrier since it was called. False: the
// kernel refuses it now, as in a sandbox that was entered after the first writer was made.
bool process_barrier() noexcept;
// True once process_barrier() has given false: who waits for what it orders looks again from time to time.
bool is_barrier_lost() noexcept;

// Tells the processor, if it is of a kind that listens, that this is a spin loop.
inline void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// Monotonic time in nanoseconds.
std::uint64_t now_ns() noexcept;

inline constexpr std::uint64_t kNoDeadline = UINT64_MAX; // a time that never comes

// Looks at the clock only if there is a deadline.
inline bool has_passed(std::uint64_t deadline_ns) noexcept {
  return deadline_ns != kNoDeadline && now_ns() >= deadline_ns;
}

// As nanoseconds, and no more than can be added to the time.
constexpr std::uint64_t ns_of_us(std::uint64_t us) noexcept {
  return (us < UINT64_MAX / 2000 ? us : UINT64_MAX / 2000) * 1000;
}

// When a timeout that begins now is over; < 0: never.
inline std::uint64_t deadline_in(std::int64_t timeout_us) noexcept {
  return timeout_us < 0 ? kNoDeadline : now_ns() + ns_of_us(static_cast<std::uint64_t>(timeout_us));
}

} // namespace bwlib
