// FileHandles: our descriptors of one open file.
//
// Thread safety: const functions from any thread; the others belong to the owner of the sink.
#pragma once

#include <cstdint>

#include "owned_fd.h"

namespace bwlib {

class FileHandles {
 public:
  FileHandles() = default;
  FileHandles(const FileHandles &) = delete;
  FileHandles &operator=(const FileHandles &) = delete;

  // As open(2), close-on-exec. 0 or -errno.
  int open(const char *path, int oflags, unsigned mode) noexcept;
  // A second descriptor of the same file, with O_DIRECT. 0 or -errno.
  int add_direct() noexcept;

  bool has_direct() const noexcept { return direct_.number() >= 0; }
  int number(bool direct) const noexcept { return (direct ? direct_ : cached_).number(); }
  // The number if it still is our file, else -1.
  int get(bool direct) const noexcept { return (direct ? direct_ : cached_).get(); }

  // False: a pipe, fifo, tty, device, ... .
  bool is_regular() const noexcept { return is_regular_; }
  // The size now, or -errno.
  std::int64_t size() const noexcept;
  // The directory that the file stands in is durable: 0 or -errno.
  int sync_directory() const noexcept;

  // 0 or -errno.
  int close() noexcept;
  // In a forked child: the numbers are not looked at any more.
  void abandon() noexcept {
    cached_.abandon();
    direct_.abandon();
  }

 private:
  OwnedFd cached_;
  OwnedFd direct_;
  int oflags_ = 0;
  bool is_regular_ = false;
};

} // namespace bwlib
