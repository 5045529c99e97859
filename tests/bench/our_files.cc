#include "our_files.h"

#include <bw/bw.h>
#include <fcntl.h>
#include <poll.h>

#include <atomic>

#include "commit_peers.h"
#include "file_peers.h"
#include "handle.h"

namespace bwbench {
namespace {

struct Mode {
  std::uint32_t flags = 0;
  std::uint32_t engine = BW_ENGINE_AUTO;
  std::uint64_t preallocate = 0;
};

Handle open_file(const Setting &setting, const Mode &mode) {
  bw_options_t options{};
  options.size = sizeof options;
  options.flags = mode.flags;
  options.engine = mode.engine;
  options.preallocate = mode.preallocate;
  Handle handle;
  check(bw_open(handle.out(), setting.target->path.c_str(), O_WRONLY | O_CREAT, 0644, &options), "bw_open");
  return handle;
}

Handle open_lane(const Handle &parent) {
  Handle handle;
  check(bw_lane(handle.out(), parent.get(), nullptr), "bw_lane");
  return handle;
}

// The position at its end.
std::int64_t append(bw_t *bw, const void *data, std::size_t bytes) noexcept {
  const std::int64_t at = bw_append(bw, data, bytes);
  require(at >= 0, "bw_append");
  return at + static_cast<std::int64_t>(bytes);
}

// ---- A whole file ------------------------------------------------------------------------------

class File {
 public:
  static constexpr bool kKeepsBytes = true;
  File(const Setting &setting, const Mode &mode) : writer_(open_file(setting, mode)) {}
  void write(int, const void *data, std::size_t bytes) noexcept { write_all(writer_.get(), data, bytes); }
  void finish() noexcept { check(bw_sync(writer_.get()), "bw_sync"); }

 private:
  Handle writer_;
};

// Each thread its own lane in front of the file.
class FileLanes {
 public:
  static constexpr bool kKeepsBytes = true;
  FileLanes(const Setting &setting, const Mode &mode) : parent_(open_file(setting, mode)) {
    lanes_.reserve(static_cast<std::size_t>(setting.threads));
    for (int thread = 0; thread < setting.threads; ++thread) lanes_.push_back(open_lane(parent_));
  }
  void write(int thread, const void *data, std::size_t bytes) noexcept {
    write_all(lanes_[static_cast<std::size_t>(thread)].get(), data, bytes);
  }
  void finish() noexcept {
    lanes_.clear(); // closing a lane hands its bytes on
    check(bw_sync(parent_.get()), "bw_sync");
  }

 private:
  Handle parent_;
  std::vector<Handle> lanes_; // closed before their parent
};

// How long the file will be is known here, so it is said, as fio does before its clock starts.
template <class Writer>
RunFunction whole_file(const Mode &mode) {
  return [mode](const Setting &setting, const Run &run) {
    Mode known = mode;
    known.preallocate = run.records_per_thread * static_cast<unsigned>(setting.threads) * setting.record_bytes;
    return in_process<Writer>(known)(setting, run);
  };
}

// ---- Commits -----------------------------------------------------------------------------------

class CommitLog {
 public:
  static constexpr bool kKeepsBytes = true;
  CommitLog(const Setting &setting, const Mode &mode) : writer_(open_file(setting, mode)) {}
  void commit(int, const void *data, std::size_t bytes) noexcept {
    check(bw_wait(writer_.get(), append(writer_.get(), data, bytes), BW_DURABLE, -1), "bw_wait");
  }

 private:
  Handle writer_;
};

// The records that one thread has under way, each with a callback.
//
// Thread safety: answered() runs on whichever thread calls back, one call at a time; all else is the producer's.
// Callbacks come in the order of positions, so the notes serve in turn. It outlives the writer: a callback may still
// be about to return when its answer has been seen.
class Outstanding {
 public:
  static constexpr std::uint32_t kMost = 1000;

  void begin(bw_t *bw, Histogram &histogram) noexcept {
    bw_ = bw;
    histogram_ = &histogram;
  }

  void issue(const void *data, std::size_t bytes) noexcept {
    Note &note = notes_[issued_ % kMost];
    note = {this, Clock::now()};
    check(bw_notify(bw_, append(bw_, data, bytes), BW_DURABLE, answered, &note), "bw_notify");
    ++issued_;
  }

  // Returns once no more than `most` are under way, which another thread brings about.
  void sleep_until(std::uint32_t most) const noexcept {
    for (std::uint32_t seen = answers(); issued_ - seen > most; seen = answers()) {
      answers_.wait(seen, std::memory_order_acquire);
    }
  }

  // The same with #BW_CALLER_DRIVEN: does the I/O and runs the callbacks, and sleeps only if there was nothing to do.
  void drive_until(std::uint32_t most) const noexcept {
    while (issued_ - answers() > most) {
      const int ran = bw_poll_events(bw_);
      check(ran, "bw_poll_events");
      if (ran > 0) continue;
      struct pollfd ready = {bw_event_fd(bw_), POLLIN, 0};
      check(ready.fd, "bw_event_fd");
      poll(&ready, 1, -1);
    }
  }

 private:
  struct Note {
    Outstanding *owner;
    Clock::time_point begun;
  };

  // Acquire: pairs with the release in answered(); takes the notes back.
  std::uint32_t answers() const noexcept { return answers_.load(std::memory_order_acquire); }

  static void answered(void *arg, int code) {
    check(code, "a callback of bw_notify");
    const Note &note = *static_cast<Note *>(arg);
    Outstanding &self = *note.owner;
    self.histogram_->add(static_cast<std::uint64_t>(std::chrono::nanoseconds(Clock::now() - note.begun).count()));
    self.answers_.fetch_add(1, std::memory_order_release);
    self.answers_.notify_one();
  }

  bw_t *bw_ = nullptr;
  Histogram *histogram_ = nullptr;
  std::vector<Note> notes_ = std::vector<Note>(kMost);
  std::uint32_t issued_ = 0;
  std::atomic<std::uint32_t> answers_{0};
};

RunFunction by_callback(const Mode &mode) {
  const auto await = (mode.flags & BW_CALLER_DRIVEN) != 0 ? &Outstanding::drive_until : &Outstanding::sleep_until;
  return [=](const Setting &setting, const Run &run) {
    Outcome outcome;
    {
      Outstanding outstanding;
      const Handle writer = open_file(setting, mode);
      const auto body = [&](int, const char *record, Histogram &histogram) {
        outstanding.begin(writer.get(), histogram);
        const Clock::time_point end = Clock::now() + run.time;
        do {
          (outstanding.*await)(Outstanding::kMost - 1);
          outstanding.issue(record, setting.record_bytes);
        } while (Clock::now() < end);
        (outstanding.*await)(0);
      };
      outcome = run_threads(setting, run, body, [] {});
    }
    check_output(setting, outcome.records);
    return outcome;
  };
}

} // namespace

std::vector<Subject> our_files() {
  const auto writer = [](const char *name, bool many_threads, const Mode &mode) {
    return Subject{name, Kind::kOurs, many_threads, kFio, kFio, whole_file<File>(mode)};
  };
  return {
      writer(kFileUnshared, false, {BW_UNSHARED}),
      writer("bw-file-unshared-caller-driven", false, {BW_UNSHARED | BW_CALLER_DRIVEN}),
      writer(kFileShared, true, {}),
      writer("bw-file-shared-pwrite", true, {0, BW_ENGINE_PWRITE}),
      writer("bw-file-shared-buffered", true, {BW_BUFFERED}),
      {"bw-file-lanes", Kind::kOurs, true, kFio, kFio, whole_file<FileLanes>({})},
  };
}

std::vector<Subject> our_commits() {
  const auto writer = [](const char *name, bool many_threads, const Mode &mode) {
    return Subject{name, Kind::kOurs, many_threads, kSyncEach, kGroupCommit, in_process_commits<CommitLog>(mode)};
  };
  return {
      writer(kCommit, true, {}),
      writer("bw-commit-unshared", false, {BW_UNSHARED}),
      writer("bw-commit-pwrite", true, {0, BW_ENGINE_PWRITE}),
      writer("bw-commit-buffered", true, {BW_BUFFERED}),
      writer("bw-commit-caller-driven", true, {BW_CALLER_DRIVEN}),
  };
}

std::vector<Subject> our_callbacks() {
  const auto writer = [](const char *name, const Mode &mode) {
    return Subject{name, Kind::kOurs, true, kPebble, kPebble, by_callback(mode)};
  };
  return {writer(kNotify, {}), writer(kNotifyDriven, {BW_CALLER_DRIVEN})};
}

} // namespace bwbench
