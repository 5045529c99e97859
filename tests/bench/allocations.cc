#include "allocations.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>

#include "common.h"

namespace {

// Relaxed everywhere: the barrier that starts the writers and the join that ends a run order these.
std::atomic<bool> counting{false};
std::atomic<std::uint64_t> allocations{0};

void count() noexcept {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
}

} // namespace

namespace bwbench {

void start_counting_allocations() noexcept {
  allocations.store(0, std::memory_order_relaxed);
  counting.store(true, std::memory_order_relaxed);
}

std::uint64_t stop_counting_allocations() noexcept {
  counting.store(false, std::memory_order_relaxed);
  return allocations.load(std::memory_order_relaxed);
}

void check_allocation_counter() noexcept {
  // Volatile, else the compiler may drop an allocation that nobody uses.
  void *(*volatile allocate)(std::size_t) = std::malloc;
  start_counting_allocations();
  void *page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::free(allocate(1));
  require(stop_counting_allocations() == 2, "allocations are not counted on this system");
  munmap(page, 4096);
}

} // namespace bwbench

// glibc lets a program replace these; its own are reachable under the names beginning with __libc.
extern "C" {
void *__libc_malloc(std::size_t) noexcept;
void *__libc_calloc(std::size_t, std::size_t) noexcept;
void *__libc_realloc(void *, std::size_t) noexcept;
void *__libc_memalign(std::size_t, std::size_t) noexcept;

void *malloc(std::size_t bytes) noexcept {
  count();
  return __libc_malloc(bytes);
}

void *calloc(std::size_t items, std::size_t bytes) noexcept {
  count();
  return __libc_calloc(items, bytes);
}

void *realloc(void *old, std::size_t bytes) noexcept {
  count();
  return __libc_realloc(old, bytes);
}

void *memalign(std::size_t alignment, std::size_t bytes) noexcept {
  count();
  return __libc_memalign(alignment, bytes);
}

void *aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept { return memalign(alignment, bytes); }

int posix_memalign(void **out, std::size_t alignment, std::size_t bytes) noexcept {
  void *memory = memalign(alignment, bytes);
  if (memory == nullptr) return ENOMEM;
  *out = memory;
  return 0;
}

void *mmap(void *address, std::size_t bytes, int protection, int flags, int fd, off_t offset) noexcept {
  count();
  return reinterpret_cast<void *>(syscall(SYS_mmap, address, bytes, protection, flags, fd, offset));
}

void *mmap64(void *address, std::size_t bytes, int protection, int flags, int fd, off64_t offset) noexcept {
  return mmap(address, bytes, protection, flags, fd, offset);
}
}
