// What all drains share: a thread of the drain's own that gets the batches that the sink took, answers them, is woken,
// waits until a deadline, and stops when the sink is closed.
#pragma once

#include <bw/bw.h>
#include <pthread.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>

#include "../options.h" // read_struct: structs begin with their size, here as in the library itself

namespace bwlib {

using Clock = std::chrono::steady_clock;

// When something that begins now and takes so long is over.
Clock::time_point deadline_in_us(std::uint64_t timeout_us) noexcept;

// Pauses that double from the first to the longest, 20 % more or less by chance, so that many clients of a server that
// was away do not come back all at once. Thread safety: the drain's thread.
class Backoff {
 public:
  Backoff(std::uint64_t first_us, std::uint64_t longest_us) noexcept;
  std::uint64_t next_us() noexcept;
  void reset() noexcept { now_us_ = first_us_; }

 private:
  const std::uint64_t first_us_;
  const std::uint64_t longest_us_;
  std::uint64_t now_us_;
  std::minstd_rand chance_;
};

// A batch that the sink took and has not answered for.
struct Taken {
  bw_batch_view_t *view = nullptr; // NULL: there is none
  Clock::time_point deadline;      // when it must have been answered
};

// The sink of a batcher, and the thread behind it. A drain of a kind inherits it and writes serve().
//
// Thread safety: the sink's callbacks come from any thread; what is protected is for serve(), in the drain's thread.
// Invariants:
//  1. The sink never waits for the server: `write` puts the batch into a ring that has room for all that may be in
//     flight, and `close` is called only when nothing is. `close` waits for serve() to end, which must be soon.
//  2. The batcher frees the drain: by its close, which bw_batch_free() makes if nobody did.
class Drain {
 public:
  Drain(const Drain &) = delete;
  Drain &operator=(const Drain &) = delete;
  virtual ~Drain();

  // Makes a batcher over `drain` and starts its thread. `options`: checked by read_batching(). 0 or a code.
  static int start(bw_batch_t **out, std::unique_ptr<Drain> drain, const bw_batch_options_t &options) noexcept;

  // The caller's options for the batcher, with those defaults that are other ones in a drain. `theirs` may be NULL.
  static int read_batching(const bw_batch_options_t *theirs, bw_batch_options_t &ours) noexcept;

 protected:
  enum class Woken {
    kReady,   // the descriptor is
    kTaken,   // there is a batch, and the caller wanted to know
    kTimeout, // it is late
    kStopped  // the sink is being closed: serve() must return
  };

  // `name`: of the thread, at most 15 characters. `timeout_us`: from taking a batch to its deadline.
  Drain(const char *name, std::uint64_t timeout_us) noexcept : name_(name), timeout_us_(timeout_us) {}

  // The body of the thread. Returns when is_stopping().
  virtual void serve() noexcept = 0;

  bool is_stopping() noexcept;
  // The oldest batch that is not answered. It stays the oldest until answer().
  Taken oldest() noexcept;
  // Answers for the oldest: 0, a code, or a code minus BW_FINAL; all items alike.
  void answer(int code) noexcept;
  // Waits for `events` of `fd` (-1: for nothing but the rest), until `until`; with `for_batch`, also for a batch.
  Woken wait(int fd, short events, Clock::time_point until, bool for_batch) noexcept;
  // From now on, wait() does not end because of stopping: what serve() does last has a deadline of its own.
  void leave() noexcept { leaving_ = true; }
  std::uint64_t timeout_us() const noexcept { return timeout_us_; }

 private:
  int prepare(std::uint32_t max_in_flight) noexcept;
  int take(bw_batch_view_t *view) noexcept;
  int close() noexcept;
  void signal() noexcept;
  void run() noexcept;

  const char *const name_;
  const std::uint64_t timeout_us_;
  int event_fd_ = -1;
  pthread_t thread_{};
  bool started_ = false; // written before the batcher is anybody's
  bool leaving_ = false; // the drain's thread alone

  std::mutex mutex_; // guards all below
  std::unique_ptr<Taken[]> ring_;
  std::uint32_t room_ = 0, head_ = 0, count_ = 0;
  bool stopping_ = false;
  bool orphaned_ = false; // closed by its own thread, which frees it
};

} // namespace bwlib
