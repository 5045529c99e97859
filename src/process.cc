#include "process.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

namespace bwlib {

constinit thread_local ThreadState thread_state{};
alignas(4096) ProcessPage process_page;

namespace {

std::uint64_t last_generation; // survives a fork, unlike the page
std::atomic<bool> has_handler{false};
bool barrier_ready;
std::atomic<bool> barrier_lost{false};

void forget_process() noexcept {
  __atomic_store_n(&process_page.generation, std::uint64_t{0}, __ATOMIC_RELAXED);
  __atomic_store_n(&process_page.lock, std::uint64_t{0}, __ATOMIC_RELAXED);
}

long membarrier(int command) noexcept {
  return syscall(SYS_membarrier, command, 0, 0);
}

// Makes sure that a child sees 0. A kernel without MADV_WIPEONFORK (before 4.14) leaves fork() itself to tell us.
void arrange_wipe() noexcept {
  if (madvise(&process_page, sizeof process_page, MADV_WIPEONFORK) == 0) return;
  if (!has_handler.exchange(true, std::memory_order_acq_rel)) pthread_atfork(nullptr, nullptr, forget_process);
}

} // namespace

std::uint64_t enter_process() noexcept {
  // Acquire: pairs with the release below; who sees the number sees barrier_ready.
  if (const std::uint64_t generation = __atomic_load_n(&process_page.generation, __ATOMIC_ACQUIRE)) return generation;
  arrange_wipe(); // before the lock, which a child must not inherit
  while (__atomic_exchange_n(&process_page.lock, std::uint64_t{1}, __ATOMIC_ACQUIRE) != 0) sched_yield();
  std::uint64_t generation = process_generation();
  if (generation == 0) {
    barrier_ready = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
    generation = ++last_generation;
    __atomic_store_n(&process_page.generation, generation, __ATOMIC_RELEASE);
  }
  __atomic_store_n(&process_page.lock, std::uint64_t{0}, __ATOMIC_RELEASE);
  return generation;
}

bool has_process_barrier() noexcept {
  return barrier_ready;
}

bool process_barrier() noexcept {
  if (!barrier_ready || membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0) return true;
  barrier_lost.store(true, std::memory_order_relaxed);
  return false;
}

bool is_barrier_lost() noexcept {
  return barrier_lost.load(std::memory_order_relaxed);
}

std::uint64_t now_ns() noexcept {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

} // namespace bwlib
