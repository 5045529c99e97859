// Counts what the program asks the allocator and the kernel for: malloc and its kin and mmap are interposed here,
// so calls from libbw are seen too. Thread safety: all of it from any thread.
#pragma once

#include <cstdint>

namespace bwbench {

void start_counting_allocations() noexcept; // from 0
std::uint64_t stop_counting_allocations() noexcept;
// Ends the program if an allocation is not seen: a count of 0 must mean 0.
void check_allocation_counter() noexcept;

} // namespace bwbench
