#include "common.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bwbench {

void fail(const char *what) noexcept {
  const int error = errno;
  std::fprintf(stderr, "bw_bench: %s%s%s\n", what, error != 0 ? ": " : "", error != 0 ? std::strerror(error) : "");
  std::_Exit(1);
}

double cpu_ns(const struct rusage &used) noexcept {
  const auto ns = [](const timeval &time) {
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_usec) * 1e3;
  };
  return ns(used.ru_utime) + ns(used.ru_stime);
}

Buffer make_buffer() {
  auto *memory = static_cast<char *>(std::aligned_alloc(4096, kBufferBytes));
  require(memory != nullptr, "no memory for a buffer");
  std::memset(memory, 0, kBufferBytes);
  return Buffer(memory);
}

OutputFile::OutputFile(const Target &target)
    : fd_(open(target.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
  require(fd_ >= 0, "cannot open the target");
}

OutputFile::~OutputFile() { close(fd_); }

} // namespace bwbench
