// What every part of the bench shares: the buffer size, the checked output file, the fatal check.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

struct rusage;

namespace bwbench {

// Everybody that is measured, we and the peers, buffers this much.
inline constexpr std::size_t kBufferBytes = 64 * 1024;

// Ends the program with a message (and errno's text if it is set): a bench that lost bytes has no result.
[[noreturn]] void fail(const char *what) noexcept;

inline void require(bool holds, const char *what) noexcept {
  if (!holds) [[unlikely]] fail(what);
}

// User and kernel time together.
double cpu_ns(const struct rusage &used) noexcept;

// kBufferBytes of zeroed memory on pages of its own, as ours are: how a peer's buffer happens to lie across cache
// lines shall not decide.
struct FreeBuffer {
  void operator()(char *memory) const noexcept { std::free(memory); }
};
using Buffer = std::unique_ptr<char[], FreeBuffer>;
Buffer make_buffer();

// Where the bytes go: /dev/null, a file that stays in the page cache, or one that is measured to durable (disk.h).
struct Target {
  std::string name; // "null", "file", "files/fresh"...; the first part of a case's name
  std::string path;
  bool is_file = false;
  bool overwritten = false; // the file is there and as long as it will be; else a run begins without it
};

// The target opened for one run, emptied if it is a file.
class OutputFile {
 public:
  explicit OutputFile(const Target &target);
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;
  ~OutputFile();
  int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

} // namespace bwbench
