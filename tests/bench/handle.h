// A writer of ours, and what its calls must give.
#pragma once

#include <bw/bw.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>

#include "common.h"

namespace bwbench {

// Ends the program with the code's own text.
inline void check(int code, const char *what) noexcept {
  if (code >= 0) return;
  std::fprintf(stderr, "%s: ", bw_strerror(code));
  errno = 0;
  fail(what);
}

// Owns a writer; closing it is checked too.
class Handle {
 public:
  Handle() = default;
  Handle(Handle &&other) noexcept : bw_(other.bw_) { other.bw_ = nullptr; }
  Handle &operator=(Handle &&) = delete;
  ~Handle() {
    if (bw_ == nullptr) return;
    check(bw_close(bw_), "bw_close");
    bw_free(bw_);
  }
  // For the call that makes it.
  bw_t **out() noexcept { return &bw_; }
  bw_t *get() const noexcept { return bw_; }

 private:
  bw_t *bw_ = nullptr;
};

inline void write_all(bw_t *bw, const void *data, std::size_t bytes) noexcept {
  require(bw_write(bw, data, bytes) == static_cast<std::int64_t>(bytes), "bw_write");
}

} // namespace bwbench
