#include "fd_sink.h"

#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "owned_fd.h"
#include "signal_shield.h"

namespace bwlib {

namespace {

FdSink &sink_of(void *ctx) noexcept {
  return *static_cast<FdSink *>(ctx);
}

} // namespace

int FdSink::open(std::unique_ptr<FdSink> &out, int fd) noexcept {
  const int copy = duplicate(fd);
  if (copy < 0) return -errno;
  out.reset(new (std::nothrow) FdSink(copy));
  if (!out) {
    ::close(copy);
    return -ENOMEM;
  }
  struct stat status;
  if (fstat(copy, &status) != 0) return -errno;
  if (S_ISSOCK(status.st_mode)) out->target_ = Target::kSocket;
  if (S_ISCHR(status.st_mode)) out->target_ = Target::kQuiet; // terminals and /dev/null raise neither signal
  return 0;
}

FdSink::~FdSink() {
  if (fd_ >= 0) ::close(fd_);
}

const bw_sink_t &FdSink::ops() noexcept {
  static constexpr bw_sink_t kOps = {sizeof(bw_sink_t), 0, write, writev, nullptr, seek, read, sync, close};
  return kOps;
}

std::int64_t FdSink::position() const noexcept {
  const off_t offset = lseek(fd_, 0, SEEK_CUR);
  return offset < 0 ? 0 : offset;
}

int64_t FdSink::write(void *ctx, const void *data, size_t length) {
  const FdSink &self = sink_of(ctx);
  switch (self.target_) {
    case Target::kSocket: return result_of(send(self.fd_, data, length, MSG_NOSIGNAL));
    case Target::kQuiet: return result_of(::write(self.fd_, data, length));
    case Target::kSignalling: break;
  }
  return shielded(length, [&] { return ::write(self.fd_, data, length); });
}

int64_t FdSink::writev(void *ctx, const iovec *parts, int count) {
  const FdSink &self = sink_of(ctx);
  // The kernel takes IOV_MAX pieces at a time; the writer offers the rest again.
  for (; count > 0 && parts->iov_len == 0; --count) ++parts;
  count = std::min(count, IOV_MAX);
  if (self.target_ == Target::kSocket) {
    msghdr message{};
    message.msg_iov = const_cast<iovec *>(parts);
    message.msg_iovlen = static_cast<std::size_t>(count);
    return result_of(sendmsg(self.fd_, &message, MSG_NOSIGNAL));
  }
  if (self.target_ == Target::kQuiet) return result_of(::writev(self.fd_, parts, count));
  std::size_t offered = 0;
  for (int index = 0; index < count; ++index) offered += parts[index].iov_len;
  return shielded(offered, [&] { return ::writev(self.fd_, parts, count); });
}

int64_t FdSink::seek(void *ctx, int64_t offset, int whence) {
  const off_t position = lseek(sink_of(ctx).fd_, offset, whence);
  return position < 0 ? -errno : position;
}

int64_t FdSink::read(void *ctx, void *data, size_t length) {
  return result_of(::read(sink_of(ctx).fd_, data, length));
}

int FdSink::sync(void *ctx) {
  if (fdatasync(sink_of(ctx).fd_) == 0) return 0;
  // fsync(2): "fd is bound to a special file which does not support synchronization".
  return errno == EINVAL || errno == EROFS ? -EOPNOTSUPP : -errno;
}

int FdSink::close(void *ctx) {
  FdSink &self = sink_of(ctx);
  const int fd = self.fd_;
  self.fd_ = -1;
  // Linux gives the descriptor back whatever close(2) says, EINTR too.
  return ::close(fd) == 0 || errno == EINTR ? 0 : -errno;
}

} // namespace bwlib
