// Structs of the caller, whatever header he was compiled with, and options with every default filled in.
#pragma once

#include <bw/bw.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bwlib {

// Copies a struct that begins with its size, as the caller compiled it, into ours: what he does not know is zero.
// -EINVAL if there is not even a size; -E2BIG if he set a field that we do not know.
template <class Struct>
int read_struct(const Struct *theirs, Struct &ours) noexcept {
  std::uint32_t size;
  std::memcpy(&size, theirs, sizeof size);
  if (size < sizeof size) return -EINVAL;
  const char *bytes = reinterpret_cast<const char *>(theirs);
  for (std::size_t index = sizeof ours; index < size; ++index) {
    if (bytes[index] != 0) return -E2BIG;
  }
  std::memset(&ours, 0, sizeof ours);
  std::memcpy(&ours, bytes, std::min<std::size_t>(size, sizeof ours));
  ours.size = sizeof ours;
  return 0;
}

// Gives the caller as much of `ours` as his struct holds; its `size` stays his. -EINVAL if he has no size.
template <class Struct>
int write_struct(const Struct &ours, Struct *theirs) noexcept {
  std::uint32_t size;
  std::memcpy(&size, theirs, sizeof size);
  if (size < sizeof size) return -EINVAL;
  std::memcpy(reinterpret_cast<char *>(theirs) + sizeof size, reinterpret_cast<const char *>(&ours) + sizeof size,
              std::min<std::size_t>(size, sizeof ours) - sizeof size);
  return 0;
}

// Options of a writer over a sink, checked, with no field left to default. `theirs` may be NULL.
// `default_capacity`: 8 KiB, or a lane's parent's.
int read_options(const bw_options_t *theirs, std::uint64_t default_capacity, bw_options_t &ours) noexcept;

// The same for a file writer.
int read_file_options(const bw_options_t *theirs, bw_options_t &ours) noexcept;

// The same for a batcher.
int read_batch_options(const bw_batch_options_t *theirs, bw_batch_options_t &ours) noexcept;

inline constexpr std::uint64_t kDefaultCapacity = 8192;

} // namespace bwlib
