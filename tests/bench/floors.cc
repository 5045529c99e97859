#include "floors.h"

void bwbench_memcpy(bwbench::BufferedFd *buffer, const void *data, std::size_t bytes) noexcept {
  buffer->append(data, bytes);
}

// Relaxed in both: only the cost of the locked instruction counts here, nobody reads the sum.
void bwbench_add_memcpy(std::atomic<std::uint64_t> *word, bwbench::BufferedFd *buffer, const void *data,
                        std::size_t bytes) noexcept {
  word->fetch_add(bytes, std::memory_order_relaxed);
  buffer->append(data, bytes);
}

void bwbench_add(std::atomic<std::uint64_t> *word, std::size_t bytes) noexcept {
  word->fetch_add(bytes, std::memory_order_relaxed);
}
