// NoteList: callbacks that wait for a position (bw_notify), and those whose answer is known.
//
// Thread safety: every function from any thread; no user code runs here.
// Invariant: a note that add() took is given out by next_due() exactly once, within a level in position order.
#pragma once

#include <bw/bw.h>

#include <atomic>
#include <cstdint>
#include <mutex>

namespace bwlib {

struct Note {
  void (*done)(void *arg, int code);
  void *arg;
  std::int64_t position;
  int code;
  bool is_cancelled; // `code` is its answer, which waits for those before it
  Note *next;
};

class NoteList {
 public:
  static constexpr int kLevels = 3;

  NoteList() = default;
  ~NoteList();
  NoteList(const NoteList &) = delete;
  NoteList &operator=(const NoteList &) = delete;

  // 0 or -ENOMEM.
  int add(std::int64_t position, int level, void (*done)(void *, int), void *arg) noexcept;

  // All at `level` up to `position` are due with `code`.
  void settle(int level, std::int64_t position, int code) noexcept;
  // All at `level` beyond `position` get `code`; they are due once nothing before them waits.
  void cancel(int level, std::int64_t position, int code) noexcept;

  bool has_due() const noexcept { return due_count_.load(std::memory_order_acquire) != 0; }
  // Takes the oldest due note out.
  bool next_due(Note &note) noexcept;
  // The smallest position waited for at a level; INT64_MAX: none.
  std::int64_t lowest(int level) const noexcept { return lowest_[level].load(std::memory_order_acquire); }
  bool has_any_up_to(int level, std::int64_t position) const noexcept {
    const std::int64_t first = lowest(level);
    return first <= position && first != INT64_MAX; // which is "none", also for a stream that ends there
  }

 private:
  void update_lowest(int level) noexcept;
  void push_due(int level, std::int64_t position, int code) noexcept;

  std::mutex mutex_;
  Note *waiting_[kLevels] = {};     // by position, equal ones in the order they came
  Note *last_[kLevels] = {};        // the last of each, where most new ones belong
  std::atomic<std::int64_t> lowest_[kLevels] = {INT64_MAX, INT64_MAX, INT64_MAX};
  Note *due_ = nullptr;
  Note *due_last_ = nullptr;
  std::atomic<std::uint32_t> due_count_{0};
  Note *spare_ = nullptr;
};

} // namespace bwlib
