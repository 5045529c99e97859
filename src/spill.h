// Spill: bytes of an append that was accepted although the sink stopped part-way and no buffer could hold the rest.
//
// Blocks lie in the stream just before the buffer with number `before`; almost always there is none.
// Thread safety: none; all of it belongs to the sink's owner. (Inline writers change it with the pen in hand too, so
// there the pen suffices to look.)
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>

namespace bwlib {

struct SpillBlock {
  SpillBlock *next;
  std::uint64_t before; // number of the buffer that follows it in the stream
  std::uint64_t length;
  std::uint64_t taken; // by the sink

  char *data() noexcept { return reinterpret_cast<char *>(this + 1); }
};

class Spill {
 public:
  Spill() = default;
  Spill(const Spill &) = delete;
  Spill &operator=(const Spill &) = delete;
  ~Spill() {
    while (first()) pop();
  }

  // nullptr: no memory. It becomes part of the stream by push().
  static SpillBlock *allocate(std::uint64_t length) noexcept {
    void *memory = std::malloc(sizeof(SpillBlock) + length);
    return memory ? new (memory) SpillBlock{nullptr, 0, length, 0} : nullptr;
  }

  void push(SpillBlock *block) noexcept {
    SpillBlock **link = &first_;
    while (*link) link = &(*link)->next;
    *link = block;
  }

  SpillBlock *first() const noexcept { return first_; }
  void pop() noexcept {
    SpillBlock *block = first_;
    first_ = block->next;
    std::free(block);
  }

 private:
  SpillBlock *first_ = nullptr;
};

} // namespace bwlib
