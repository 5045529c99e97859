// The simplest buffered writer there is: a bounds check, a memcpy, write(2) when full. The memcpy limit is this
// and nothing else; the lock-based peers put their lock around it.
//
// Thread safety: none. Invariant: used_ <= kBufferBytes.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common.h"

namespace bwbench {

class BufferedFd {
 public:
  // `fd` is not owned; several of these may share it.
  explicit BufferedFd(int fd) : data_(make_buffer()), fd_(fd) {}

  // 0 < bytes <= kBufferBytes.
  void append(const void *data, std::size_t bytes) noexcept {
    if (bytes > kBufferBytes - used_) [[unlikely]] flush();
    std::memcpy(data_.get() + used_, data, bytes);
    used_ += bytes;
  }

  [[gnu::noinline]] void flush() noexcept {
    for (std::size_t written = 0; written < used_;) {
      const ssize_t taken = ::write(fd_, data_.get() + written, used_ - written);
      if (taken < 0 && errno != EINTR) __builtin_trap();
      if (taken > 0) written += static_cast<std::size_t>(taken);
    }
    used_ = 0;
  }

 private:
  Buffer data_;
  std::size_t used_ = 0;
  int fd_;
};

} // namespace bwbench
