// Memory in whole pages.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bwlib {

inline constexpr std::size_t kPageBytes = 4096;

// `alignment` is a power of two; the sum must not overflow.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) & ~(alignment - 1);
}

constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t alignment) noexcept {
  return value & ~(alignment - 1);
}

// One private anonymous mapping: zeroed, 4096-aligned, given back when it goes.
class Mapping {
 public:
  Mapping() = default;
  Mapping(const Mapping &) = delete;
  Mapping &operator=(const Mapping &) = delete;
  ~Mapping();

  // 0 or -ENOMEM. At most once.
  int map(std::size_t bytes) noexcept;
  char *data() const noexcept { return data_; }

 private:
  char *data_ = nullptr;
  std::size_t bytes_ = 0;
};

} // namespace bwlib
