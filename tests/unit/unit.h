// What unit tests share: cmocka, children, random numbers, waiting for a condition, and a sink in memory.
//
// Only the test's own thread may assert (a failing assert ends the program). Other threads and children record, or
// give REQUIRE() a bool function to leave.
#pragma once

#include <bw/bw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

// Last: cmocka's macros have names that the standard library uses too.
extern "C" {
#include <cmocka.h>
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNIT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNIT_SANITIZED 1
#endif
#endif
#ifndef UNIT_SANITIZED
#define UNIT_SANITIZED 0
#endif

// For functions that may not assert: says what is wrong on stderr and gives false.
#define REQUIRE(condition)                                                            \
  do {                                                                                \
    if (!(condition)) {                                                               \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      return false;                                                                   \
    }                                                                                 \
  } while (0)

namespace unit {

inline constexpr int kBoundSeconds = 60;

inline bool under_valgrind() {
  const char *preloaded = std::getenv("LD_PRELOAD");
  return preloaded && std::strstr(preloaded, "vgpreload");
}

// True if `body` gave true in a child of its own.
template <class Body>
bool in_child(Body body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(kBoundSeconds);
    const bool is_right = body();
    std::fflush(nullptr);
    _exit(is_right ? 0 : 1);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return false;
  if (WIFSIGNALED(status)) std::fprintf(stderr, "the child died of signal %d\n", WTERMSIG(status));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Waits until `condition()` is true; false if it never was.
template <class Condition>
bool eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(kBoundSeconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return condition();
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return true;
}

// Splitmix: the same numbers everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // From 0 to bound - 1.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }

 private:
  std::uint64_t state_;
};

// A place where threads stop until it is opened.
class Gate {
 public:
  void close() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  // Waits until that many have come; false if they never did.
  bool await(int arrived) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(kBoundSeconds), [&] { return arrived_ >= arrived; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int arrived_ = 0;
};

// Records that many threads write and a reader knows again: thread, number, length, then bytes that follow from them.
inline std::string record_of(unsigned thread, unsigned number) {
  const unsigned length = 4 + (thread * 7 + number * 13) % 20;
  std::string record(length, static_cast<char>('a' + (thread + number) % 26));
  record[0] = static_cast<char>(thread);
  record[1] = static_cast<char>(number & 0xff);
  record[2] = static_cast<char>(number >> 8);
  record[3] = static_cast<char>(length);
  return record;
}

// True if the stream is nothing but the first `each` records of all threads, each thread's in order.
inline bool is_all_records(const std::string &stream, unsigned threads, unsigned each) {
  std::vector<unsigned> next(threads);
  for (std::size_t at = 0; at < stream.size();) {
    const unsigned thread = static_cast<unsigned char>(stream[at]);
    REQUIRE(thread < threads);
    const std::string expected = record_of(thread, next[thread]);
    REQUIRE(stream.compare(at, expected.size(), expected) == 0);
    at += expected.size();
    ++next[thread];
  }
  for (unsigned count : next) REQUIRE(count == each);
  return true;
}

// Takes everything and remembers it.
class MemorySink {
 public:
  Gate write_gate;
  Gate sync_gate;

  static const bw_sink_t &ops() {
    static constexpr bw_sink_t kOps = {sizeof(bw_sink_t), 0, write, nullptr, nullptr, nullptr, nullptr, sync, nullptr};
    return kOps;
  }

  std::string bytes() {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }
  // The lengths of all calls.
  std::vector<std::size_t> calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  static std::int64_t write(void *ctx, const void *data, std::size_t length) {
    auto &self = *static_cast<MemorySink *>(ctx);
    self.write_gate.pass();
    const std::lock_guard lock(self.mutex_);
    self.bytes_.append(static_cast<const char *>(data), length);
    self.calls_.push_back(length);
    return static_cast<std::int64_t>(length);
  }
  static int sync(void *ctx) {
    static_cast<MemorySink *>(ctx)->sync_gate.pass();
    return 0;
  }

  std::mutex mutex_;
  std::string bytes_;
  std::vector<std::size_t> calls_;
};

// A writer over a sink in memory, freed when it goes.
class Rig {
 public:
  explicit Rig(std::uint32_t flags, std::uint64_t capacity = 0, std::uint32_t buffers = 0) {
    bw_options_t options = BW_OPTIONS_INIT;
    options.flags = flags;
    options.capacity = capacity;
    options.buffers = buffers;
    if (bw_new(&bw, &MemorySink::ops(), &sink, &options) != 0) std::abort();
  }
  Rig(const Rig &) = delete;
  Rig &operator=(const Rig &) = delete;
  ~Rig() { bw_free(bw); }

  bool write(const std::string &text) {
    return bw_write(bw, text.data(), text.size()) == static_cast<std::int64_t>(text.size());
  }

  MemorySink sink;
  bw_t *bw = nullptr;
};

} // namespace unit
