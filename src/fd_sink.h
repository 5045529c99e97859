// A descriptor as a sink: write(2) and its kin on a duplicate, at its own offset.
#pragma once

#include <bw/bw.h>

#include <cstdint>
#include <memory>

#include "sink_engine.h"

namespace bwlib {

class FdSink final : public OwnedSink {
 public:
  // 0 or -errno. Works on a duplicate of `fd`, whose flags are not touched.
  static int open(std::unique_ptr<FdSink> &out, int fd) noexcept;
  ~FdSink() override;

  // What Writer::create() wants; ctx is this object.
  static const bw_sink_t &ops() noexcept;
  // Where the descriptor stands; 0 if it has no offset.
  std::int64_t position() const noexcept;

  int ready_fd() const noexcept override { return fd_; }

 private:
  enum class Target { kSocket, kQuiet, kSignalling };
  explicit FdSink(int fd) noexcept : fd_(fd) {}

  static int64_t write(void *ctx, const void *data, size_t length);
  static int64_t writev(void *ctx, const iovec *parts, int count);
  static int64_t seek(void *ctx, int64_t offset, int whence);
  static int64_t read(void *ctx, void *data, size_t length);
  static int sync(void *ctx);
  static int close(void *ctx);

  int fd_;
  Target target_ = Target::kSignalling;
};

} // namespace bwlib
