#include "ours.h"

#include <bw/bw.h>

#include <cstring>

#include "handle.h"
#include "peers.h"

namespace bwbench {
namespace {

bw_options_t options_with(std::uint32_t flags) {
  bw_options_t options{};
  options.size = sizeof options;
  options.flags = flags;
  options.capacity = kBufferBytes;
  return options;
}

Handle open_descriptor(int fd, std::uint32_t flags) {
  const bw_options_t options = options_with(flags);
  Handle handle;
  check(bw_fdopen(handle.out(), fd, &options), "bw_fdopen");
  return handle;
}

Handle open_lane(const Handle &parent) {
  const bw_options_t options = options_with(0);
  Handle handle;
  check(bw_lane(handle.out(), parent.get(), &options), "bw_lane");
  return handle;
}

// One writer for all threads.
class OneWriter {
 public:
  static constexpr bool kKeepsBytes = true;
  OneWriter(const Setting &setting, std::uint32_t flags) : file_(*setting.target), writer_(open_descriptor(file_.fd(), flags)) {}
  void write(int, const void *data, std::size_t bytes) noexcept { write_all(bw(), data, bytes); }
  void finish() noexcept { require(bw_flush(bw()) == 0, "bw_flush"); }

 protected:
  bw_t *bw() const noexcept { return writer_.get(); }

 private:
  OutputFile file_;
  Handle writer_;
};

class Appender : public OneWriter {
 public:
  using OneWriter::OneWriter;
  void write(int, const void *data, std::size_t bytes) noexcept {
    require(bw_append(bw(), data, bytes) >= 0, "bw_append");
  }
};

// Records are copied into the buffer itself: one bw_reserve() and one bw_commit() for as many as it holds.
class Window : public OneWriter {
 public:
  using OneWriter::OneWriter;
  void write(int, const void *data, std::size_t bytes) noexcept {
    if (bytes > span_.length - used_) [[unlikely]] {
      commit();
      require(bw_reserve(bw(), bytes, &span_) == 0, "bw_reserve");
    }
    std::memcpy(static_cast<char *>(span_.data) + used_, data, bytes);
    used_ += bytes;
  }
  void finish() noexcept {
    commit();
    OneWriter::finish();
  }

 private:
  void commit() noexcept {
    if (span_.length != 0) require(bw_commit(bw(), &span_, used_) == 0, "bw_commit");
    span_.length = used_ = 0;
  }

  bw_span_t span_{};
  std::size_t used_ = 0;
};

// Each thread its own lane in front of one shared writer.
class Lanes {
 public:
  static constexpr bool kKeepsBytes = true;
  Lanes(const Setting &setting, std::uint32_t flags) : file_(*setting.target), parent_(open_descriptor(file_.fd(), flags)) {
    lanes_.reserve(static_cast<std::size_t>(setting.threads));
    for (int thread = 0; thread < setting.threads; ++thread) lanes_.push_back(open_lane(parent_));
  }
  void write(int thread, const void *data, std::size_t bytes) noexcept {
    write_all(lanes_[static_cast<std::size_t>(thread)].get(), data, bytes);
  }
  void finish() noexcept {
    for (const Handle &lane : lanes_) require(bw_flush(lane.get()) == 0, "bw_flush of a lane");
  }

 private:
  OutputFile file_;
  Handle parent_;
  std::vector<Handle> lanes_; // closed before their parent
};

Subject for_one_thread(const char *name, RunFunction run) {
  return {name, Kind::kOurs, false, kFwriteUnlocked, "", std::move(run)};
}

Subject for_threads(const char *name, RunFunction run) {
  return {name, Kind::kOurs, true, kFwrite, kLatch, std::move(run)};
}

Subject for_lanes(const char *name, RunFunction run) {
  return {name, Kind::kOurs, true, kMemcpyLimit, kMemcpyLimit, std::move(run)};
}

} // namespace

std::vector<Subject> ours() {
  constexpr std::uint32_t kBackground = BW_BACKGROUND;
  constexpr std::uint32_t kOwned = BW_UNSHARED;
  return {
      for_one_thread(kUnshared, in_process<OneWriter>(kOwned)),
      for_one_thread("bw-unshared-background", in_process<OneWriter>(kOwned | kBackground)),
      for_one_thread("bw-unshared-window", in_process<Window>(kOwned)),
      for_threads(kShared, in_process<OneWriter>(0u)),
      for_threads("bw-shared-background", in_process<OneWriter>(kBackground)),
      for_threads("bw-shared-append", in_process<Appender>(0u)),
      for_lanes(kLanes, in_process<Lanes>(0u)),
      for_lanes(kLanesBackground, in_process<Lanes>(kBackground)),
  };
}

} // namespace bwbench
