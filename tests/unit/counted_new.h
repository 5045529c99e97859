// Counts what is allocated by `new` in this program, and refuses when told to (but under valgrind, which puts its own
// operators in the place of these). Include it in one file of a program.
#pragma once

#include <atomic>
#include <cstdlib>
#include <new>

namespace unit {

inline std::atomic<long> blocks_alive{0};
inline std::atomic<bool> refuse_new{false}; // new (std::nothrow) only

inline void *counted(std::size_t bytes) noexcept {
  void *block = std::malloc(bytes ? bytes : 1);
  if (block) blocks_alive.fetch_add(1, std::memory_order_relaxed);
  return block;
}
inline void *counted_or_throw(std::size_t bytes) {
  if (void *block = counted(bytes)) return block;
  throw std::bad_alloc();
}
inline void give_back(void *block) noexcept {
  if (block) blocks_alive.fetch_sub(1, std::memory_order_relaxed);
  std::free(block);
}

} // namespace unit

void *operator new(std::size_t bytes) {
  return unit::counted_or_throw(bytes);
}
void *operator new[](std::size_t bytes) {
  return unit::counted_or_throw(bytes);
}
void *operator new(std::size_t bytes, const std::nothrow_t &) noexcept {
  return unit::refuse_new ? nullptr : unit::counted(bytes);
}
void *operator new[](std::size_t bytes, const std::nothrow_t &) noexcept {
  return unit::refuse_new ? nullptr : unit::counted(bytes);
}
void operator delete(void *block) noexcept {
  unit::give_back(block);
}
void operator delete[](void *block) noexcept {
  unit::give_back(block);
}
void operator delete(void *block, std::size_t) noexcept {
  unit::give_back(block);
}
void operator delete[](void *block, std::size_t) noexcept {
  unit::give_back(block);
}
void operator delete(void *block, const std::nothrow_t &) noexcept {
  unit::give_back(block);
}
void operator delete[](void *block, const std::nothrow_t &) noexcept {
  unit::give_back(block);
}
