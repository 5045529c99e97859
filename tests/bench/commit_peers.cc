#include "commit_peers.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <mutex>
#include <sstream>
#include <thread>

#include "command.h"

namespace bwbench {
namespace {

// ---- The floor ---------------------------------------------------------------------------------

// What it costs to put threads to sleep and wake them, with nothing written: a thread sleeps until all others do, and
// the last one wakes them all.
class FutexBroadcast {
 public:
  static constexpr bool kKeepsBytes = false;
  explicit FutexBroadcast(const Setting &setting) : state_(static_cast<std::uint64_t>(setting.threads)) {}

  void commit(int, const void *, std::size_t) noexcept {
    // Acquire, here and below: pairs with the release in wake_all(). A round cannot end before we have arrived in it.
    const std::uint32_t round = round_.load(std::memory_order_acquire);
    if (all_arrived(state_.fetch_add(kArrived, std::memory_order_acq_rel) + kArrived)) return wake_all();
    while (round_.load(std::memory_order_acquire) == round) futex(FUTEX_WAIT_PRIVATE, round);
  }

  void leave() noexcept {
    const std::uint64_t left = state_.fetch_sub(1, std::memory_order_acq_rel) - 1;
    if (left != 0 && all_arrived(left)) wake_all();
  }

 private:
  static constexpr std::uint64_t kArrived = 1ull << 32; // below it: how many take part
  static bool all_arrived(std::uint64_t state) noexcept { return state / kArrived == state % kArrived; }

  // Everybody else sleeps, so nobody changes the state meanwhile.
  void wake_all() noexcept {
    state_.fetch_and(kArrived - 1, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    futex(FUTEX_WAKE_PRIVATE, INT_MAX);
  }

  void futex(int operation, std::uint32_t value) noexcept {
    syscall(SYS_futex, &round_, operation, value, nullptr, nullptr, 0);
  }

  alignas(128) std::atomic<std::uint64_t> state_;
  alignas(128) std::atomic<std::uint32_t> round_{0};
};

// ---- One log file ------------------------------------------------------------------------------

class AppendFile {
 public:
  explicit AppendFile(const Setting &setting)
      : fd_(open(setting.target->path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
    require(fd_ >= 0, "cannot open the log");
  }
  AppendFile(const AppendFile &) = delete;
  AppendFile &operator=(const AppendFile &) = delete;
  ~AppendFile() { close(fd_); }

  // All of it; several threads may append, each whole.
  void append(const void *data, std::size_t bytes) noexcept {
    require(::write(fd_, data, bytes) == static_cast<ssize_t>(bytes), "cannot append to the log");
  }
  void sync() noexcept { require(fdatasync(fd_) == 0, "fdatasync"); }

 private:
  int fd_;
};

class SyncEach {
 public:
  static constexpr bool kKeepsBytes = true;
  explicit SyncEach(const Setting &setting) : file_(setting) {}
  void commit(int, const void *data, std::size_t bytes) noexcept {
    file_.append(data, bytes);
    file_.sync();
  }

 private:
  AppendFile file_;
};

// What a careful programmer writes by hand. Records gather in a batch; who began it leads it. While one batch is being
// written and synced without the lock, the next one gathers. Each of the two has a condition of its own to wait for, so
// that the end of a batch wakes those who are done, and the leader of the next; nobody wakes up for nothing.
//
// Invariant: synced_ <= gathering_ <= synced_ + 1.
class GroupCommit {
 public:
  static constexpr bool kKeepsBytes = true;
  explicit GroupCommit(const Setting &setting) : file_(setting) {}

  void commit(int, const void *data, std::size_t bytes) {
    std::unique_lock<std::mutex> lock(mutex_);
    const std::uint64_t mine = gathering_;
    Batch &batch = batch_of(mine);
    const bool leads = batch.bytes.empty();
    const auto *begin = static_cast<const char *>(data);
    batch.bytes.insert(batch.bytes.end(), begin, begin + bytes);
    if (leads) {
      lead(mine, lock);
    } else {
      batch.done.wait(lock, [&] { return synced_ > mine; });
    }
  }

 private:
  struct Batch {
    std::vector<char> bytes;
    std::condition_variable done;
  };
  Batch &batch_of(std::uint64_t number) noexcept { return batches_[number % 2]; }

  void lead(std::uint64_t mine, std::unique_lock<std::mutex> &lock) {
    turn_.wait(lock, [&] { return synced_ == mine; });
    Batch &batch = batch_of(mine);
    // Those who were woken a moment ago are about to write again. Letting them join makes one batch of two: among 8
    // threads that gave 1.4 times the commits, and alone it costs a yield.
    for (std::size_t before = 0; before != batch.bytes.size();) {
      before = batch.bytes.size();
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    }
    gathering_ = mine + 1;
    lock.unlock();
    file_.append(batch.bytes.data(), batch.bytes.size());
    file_.sync();
    lock.lock();
    batch.bytes.clear();
    synced_ = mine + 1;
    lock.unlock();
    turn_.notify_one();
    batch.done.notify_all();
  }

  AppendFile file_;
  std::mutex mutex_; // of all that follows
  Batch batches_[2];
  std::condition_variable turn_; // the leader of the gathering batch waits for it
  std::uint64_t gathering_ = 0;  // the batch that takes records
  std::uint64_t synced_ = 0;     // the batches below it are durable
};

// ---- Pebble ------------------------------------------------------------------------------------

#ifdef BWBENCH_PEBBLE_PEER
RunFunction pebble(int goroutines) {
  return [goroutines](const Setting &setting, const Run &run) {
    const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(run.time).count();
    const Ended ended = run_peer({BWBENCH_PEBBLE_PEER, setting.target->path, std::to_string(goroutines),
                                  std::to_string(setting.record_bytes), std::to_string(milliseconds)});
    Outcome outcome;
    outcome.cpu_ns = ended.cpu_ns;
    std::istringstream printed(ended.output);
    Percentiles &latency = outcome.latency;
    printed >> outcome.wall_ns >> outcome.records >> latency.p50_ns >> latency.p99_ns >> latency.p999_ns >>
        latency.max_ns;
    require(!printed.fail() && outcome.records > 0, "pebble has printed no figures");
    return outcome;
  };
}
#else
RunFunction pebble(int) {
  return {};
}
#endif

} // namespace

std::vector<Subject> commit_peers() {
  return {
      {kFutexBroadcast, Kind::kLimit, true, "", "", in_process_commits<FutexBroadcast>()},
      {kSyncEach, Kind::kPeer, true, "", kGroupCommit, in_process_commits<SyncEach>()},
      {kGroupCommit, Kind::kPeer, true, kSyncEach, "", in_process_commits<GroupCommit>()},
      rocksdb_peer(),
  };
}

std::vector<Subject> callback_peers() {
  return {
      {kPebble, Kind::kPeer, true, "", "", pebble(64)},
      {"pebble-1000-goroutines", Kind::kPeer, true, kPebble, kPebble, pebble(1000)},
  };
}

} // namespace bwbench
