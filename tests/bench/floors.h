// The floors of DESIGN section 9: what a call into a shared library cannot be faster than. They live in a shared
// object of their own, so that calling them costs what calling bw_write() costs, and nothing is inlined.
#pragma once

#include <atomic>

#include "buffered_fd.h"

extern "C" {
// One bounds check and one memcpy: the floor of a writer owned by one thread.
void bwbench_memcpy(bwbench::BufferedFd *buffer, const void *data, std::size_t bytes) noexcept;
// The same and one fetch_add: the floor of a writer that threads share.
void bwbench_add_memcpy(std::atomic<std::uint64_t> *word, bwbench::BufferedFd *buffer, const void *data,
                        std::size_t bytes) noexcept;
// The fetch_add alone.
void bwbench_add(std::atomic<std::uint64_t> *word, std::size_t bytes) noexcept;
}
