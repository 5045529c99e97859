#include "peers.h"

#include <pthread.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <thread>

#include "floors.h"

namespace bwbench {
namespace {

// ---- Limits -----------------------------------------------------------------------------------

// Each thread its own buffer in front of one descriptor.
class PrivateBuffers {
 public:
  static constexpr bool kKeepsBytes = true;
  explicit PrivateBuffers(const Setting &setting) : file_(*setting.target) {
    own_.reserve(static_cast<std::size_t>(setting.threads));
    for (int thread = 0; thread < setting.threads; ++thread) own_.push_back(Own{BufferedFd(file_.fd())});
  }
  void write(int thread, const void *data, std::size_t bytes) noexcept { bwbench_memcpy(&buffer(thread), data, bytes); }
  void finish() noexcept {
    for (Own &own : own_) own.buffer.flush();
  }

 protected:
  BufferedFd &buffer(int thread) noexcept { return own_[static_cast<std::size_t>(thread)].buffer; }

 private:
  struct alignas(128) Own { // no two on a line, nor on a pair of lines that are fetched together
    BufferedFd buffer;
  };
  OutputFile file_;
  std::vector<Own> own_;
};

class SharedFloor : public PrivateBuffers {
 public:
  using PrivateBuffers::PrivateBuffers;
  void write(int thread, const void *data, std::size_t bytes) noexcept {
    bwbench_add_memcpy(&word_, &buffer(thread), data, bytes);
  }

 private:
  alignas(128) std::atomic<std::uint64_t> word_{0};
};

class FetchAdd {
 public:
  static constexpr bool kKeepsBytes = false;
  explicit FetchAdd(const Setting &) {}
  void write(int, const void *, std::size_t bytes) noexcept { bwbench_add(&word_, bytes); }
  void finish() noexcept {}

 private:
  alignas(128) std::atomic<std::uint64_t> word_{0};
};

class Nothing {
 public:
  static constexpr bool kKeepsBytes = false;
  explicit Nothing(const Setting &) {}
  void write(int, const void *, std::size_t) noexcept {}
  void finish() noexcept {}
};

// ---- Standard libraries ------------------------------------------------------------------------

template <std::size_t (*kWrite)(const void *, std::size_t, std::size_t, std::FILE *)>
class Stdio {
 public:
  static constexpr bool kKeepsBytes = true;
  explicit Stdio(const Setting &setting)
      : buffer_(make_buffer()), file_(std::fopen(setting.target->path.c_str(), "w")) {
    require(file_ != nullptr, "fopen");
    // Without a buffer of ours glibc would take no notice of the size.
    require(std::setvbuf(file_, buffer_.get(), _IOFBF, kBufferBytes) == 0, "setvbuf");
  }
  Stdio(const Stdio &) = delete;
  Stdio &operator=(const Stdio &) = delete;
  ~Stdio() { std::fclose(file_); }
  void write(int, const void *data, std::size_t bytes) noexcept {
    require(kWrite(data, 1, bytes, file_) == bytes, "fwrite");
  }
  void finish() noexcept { require(std::fflush(file_) == 0, "fflush"); }

 private:
  Buffer buffer_; // outlives the stream
  std::FILE *file_;
};

class Ofstream {
 public:
  static constexpr bool kKeepsBytes = true;
  explicit Ofstream(const Setting &setting) : buffer_(make_buffer()) {
    stream_.rdbuf()->pubsetbuf(buffer_.get(), kBufferBytes);
    stream_.open(setting.target->path, std::ios::binary | std::ios::trunc);
  }
  void write(int, const void *data, std::size_t bytes) {
    require(stream_.write(static_cast<const char *>(data), static_cast<std::streamsize>(bytes)).good(), "ofstream");
  }
  void finish() { require(stream_.flush().good(), "ofstream"); }

 private:
  Buffer buffer_; // outlives the stream
  std::ofstream stream_;
};

// ---- One buffer, one lock ----------------------------------------------------------------------

class PthreadMutex {
 public:
  void lock() noexcept { pthread_mutex_lock(&mutex_); }
  void unlock() noexcept { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
};

// A spin latch that stays away longer after each failed try. That gives whoever has it long runs on one core,
// which is what makes it fast; the price is in the tail, and in a holder that is preempted.
class Latch {
 public:
  void lock() noexcept {
    for (unsigned pauses = 1; taken_.exchange(true, std::memory_order_acquire); pauses *= 2) {
      if (pauses > kPausesMax) {
        pauses = 1;
        std::this_thread::yield();
      }
      for (unsigned count = 0; count < pauses; ++count) __builtin_ia32_pause();
    }
  }
  // Release: pairs with the acquire in lock(); publishes the buffer.
  void unlock() noexcept { taken_.store(false, std::memory_order_release); }

 private:
  static constexpr unsigned kPausesMax = 256; // of 64 to 4096 the best for 2 and for 64 threads together
  std::atomic<bool> taken_{false};
};

template <class Lock>
class LockedBuffer {
 public:
  static constexpr bool kKeepsBytes = true;
  explicit LockedBuffer(const Setting &setting) : file_(*setting.target), buffer_(file_.fd()) {}
  // Out of line, as it would be in a library.
  [[gnu::noinline]] void write(int, const void *data, std::size_t bytes) noexcept {
    const std::lock_guard<Lock> guard(lock_);
    buffer_.append(data, bytes);
  }
  void finish() noexcept { buffer_.flush(); }

 private:
  OutputFile file_;
  alignas(128) Lock lock_; // those who wait for it shall not take the holder's line with it
  alignas(128) BufferedFd buffer_;
};

Subject limit(const char *name, RunFunction run) { return {name, Kind::kLimit, true, "", "", std::move(run)}; }

Subject peer(const char *name, bool many_threads, RunFunction run) {
  return {name, Kind::kPeer, many_threads, kMemcpyLimit, kMemcpyLimit, std::move(run)};
}

} // namespace

std::vector<Subject> limits_and_peers() {
  return {
      limit(kMemcpyLimit, in_process<PrivateBuffers>()),
      limit(kSharedFloor, in_process<SharedFloor>()),
      limit(kFetchAdd, in_process<FetchAdd>()),
      limit(kClock, in_process<Nothing>()),
      peer(kFwriteUnlocked, false, in_process<Stdio<fwrite_unlocked>>()),
      peer(kFwrite, true, in_process<Stdio<std::fwrite>>()),
      peer("ofstream", false, in_process<Ofstream>()),
      peer(kMutex, true, in_process<LockedBuffer<PthreadMutex>>()),
      peer(kLatch, true, in_process<LockedBuffer<Latch>>()),
      spdlog_peer(),
      go_peer(),
      rust_peer(),
  };
}

} // namespace bwbench
