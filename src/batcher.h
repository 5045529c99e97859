// Batcher: items with back-pressure.
//
// Items are copied into the filling batch, whose state word a sender changes by one compare-exchange. Everything that
// happens once a batch is done under one mutex, which is never held while user code runs: sealing, offering, answers,
// and what is told. Two rights order the callbacks:
//   - the sink (sink_owner_): calls of write, flush and close;
//   - telling (teller_): calls of delivered, pressure and wakers.
// Who finds one of them taken leaves what he brought to its owner, who looks again before he gives it back.
//
// Each call is made once (a poll) or again after each wait (a blocking call): there is no second implementation.
//
// Thread safety: as include/bw/batch.h says for each call. Invariants:
//   (1) An accepted item is settled exactly once, and then told exactly once, in the order of `when`.
//   (2) A batch is not offered while a batch with a lower serial waits or is held, nor while one that is split is
//       unsettled.
//   (3) A block is free again after all its items were told, and not before.
//   (4) closing_: no batch is filling, and none is opened.
#pragma once

#include <bw/bw.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>

#include "aligned_memory.h"
#include "batch_block.h"
#include "batch_state.h"
#include "copy_bytes.h"
#include "latency.h"
#include "parts.h"
#include "process.h"
#include "wait_list.h"

namespace bwlib {

// A sink that the library made and the batcher owns.
class OwnedBatchSink {
 public:
  virtual ~OwnedBatchSink() = default;
  // The batcher that it serves is there.
  virtual void attach(Batcher &batcher) noexcept = 0;
  // No waker of the batcher's may run any more: it is about to go.
  virtual void detach() noexcept = 0;
};

class Batcher {
  friend std::default_delete<Batcher>;

 public:
  struct Setup {
    bw_batch_sink_t sink; // checked
    void *ctx;
    bw_batch_options_t options; // as read_batch_options() gives them
    std::unique_ptr<OwnedBatchSink> owned;
  };
  // 0, -ENOMEM, -EAGAIN (no thread).
  static int create(Batcher *&out, Setup &&setup) noexcept;
  // bw_batch_free().
  static void destroy(Batcher *batcher) noexcept;
  Batcher(const Batcher &) = delete;
  Batcher &operator=(const Batcher &) = delete;

  bool is_of_this_process() const noexcept { return generation_ == process_generation(); }

  // ---- The calls of batch.h; arguments are checked by batch_api.cc. ----

  // `is_start`: bw_batch_start_send(), which waits for nothing.
  int send(const void *item, std::size_t length, bool is_start) noexcept;
  int sendv(const iovec *parts, int count, bool is_start) noexcept {
    return send_item(Pieces{parts, count, Parts(parts, count).left()}, is_start);
  }

  // `wake` may be NULL.
  int poll_ready(const bw_waker_t *wake) noexcept;
  int poll_flush(const bw_waker_t *wake) noexcept;
  int poll_close(const bw_waker_t *wake) noexcept;
  int unwake(const bw_waker_t &wake) noexcept;
  // timeout_us < 0: for ever.
  int flush(std::int64_t timeout_us) noexcept;
  int close(std::int64_t timeout_us) noexcept;

  std::int64_t discard() noexcept;
  int wake() noexcept;
  static int done(BatchBlock &block, int code, const int *codes) noexcept;

  int error() noexcept;
  std::size_t buffered() noexcept;
  std::uint64_t flushed() noexcept;
  void get_stats(bw_batch_stats_t &stats) noexcept;

 private:
  using Lock = std::unique_lock<std::mutex>;
  static constexpr std::uint64_t kEverything = UINT64_MAX; // as the number of an item

  // An item: of 1 to kSmallBytes bytes, in one piece, or in several.
  struct SmallPiece {
    const void *data;
    std::size_t length;
    [[gnu::always_inline]] void copy_to(char *to) const noexcept {
      copy_small(to, static_cast<const char *>(data), length);
    }
  };
  struct Piece {
    const void *data;
    std::size_t length;
    void copy_to(char *to) const noexcept {
      if (length) std::memcpy(to, data, length);
    }
  };
  struct Pieces {
    const iovec *parts;
    int count;
    std::size_t length;
    void copy_to(char *to) const noexcept { Parts(parts, count).copy_to(to, length); }
  };
  // From one to another; if that is less, none that an item can have.
  struct Lengths {
    Lengths(std::uint64_t from, std::uint64_t to) noexcept
        : least(from <= to ? from : UINT64_MAX), span(from <= to ? to - from : 0) {}
    bool has(std::uint64_t length) const noexcept { return length - least <= span; }
    std::uint64_t most() const noexcept { return least + span; }
    std::uint64_t least, span;
  };
  // Room that was reserved for an item: offsets, as batch_state.h packs them.
  struct Place {
    std::uint64_t before, after;
  };
  // One call under way.
  struct Call {
    bool is_poll;       // it waits for nothing
    std::uint32_t kind; // what it waits for: kForRoom or kForLevel
    std::uint64_t deadline_ns = kNoDeadline;
    bool asked_again = false; // it has tried to start a round
    bool is_pending = false;  // a poll's -EAGAIN is no result
    bool is_over() const noexcept { return has_passed(deadline_ns); }
    int give_up() noexcept {
      is_pending = is_poll;
      return is_poll ? -EAGAIN : -ETIMEDOUT;
    }
  };
  // An edge of pressure that is to be told.
  struct Edge {
    bool is_pending = false;
    bool on = false;
    std::uint64_t when = 0;
  };
  // Holds the mutex for a call that may offer batches. While it lives, others may leave batches to it.
  class Visit {
   public:
    explicit Visit(Batcher &batcher) noexcept : batcher_(batcher), lock_(batcher.mutex_, std::defer_lock) {
      batcher.visitors_.fetch_add(1, std::memory_order_relaxed);
      lock_.lock();
    }
    // Sees to what is left. The count goes down before the mutex is given up, so that of two who are about to leave only
    // one can rely on the other.
    ~Visit() {
      batcher_.see_to_rest(lock_);
      batcher_.visitors_.fetch_sub(1, std::memory_order_relaxed);
    }
    Visit(const Visit &) = delete;
    Visit &operator=(const Visit &) = delete;
    Lock &lock() noexcept { return lock_; }

   private:
    Batcher &batcher_;
    Lock lock_;
  };
  enum class Reason { kDelivered, kGivenUp, kDropped };

  explicit Batcher(Setup &&setup) noexcept;
  ~Batcher() = default;
  int build() noexcept;

  // batcher.cc: accepting items
  [[gnu::noinline]] int send_small_alone(const void *item, std::size_t length, bool is_start) noexcept;
  [[gnu::noinline]] int send_small(const void *item, std::size_t length, bool is_start) noexcept;
  [[gnu::noinline]] int send_piece(const void *item, std::size_t length, bool is_start) noexcept;
  template <bool kIsShared, class Item>
  void fill(BatchBlock &block, const Place &place, const Item &item) noexcept;
  template <class Item>
  [[gnu::noinline]] int send_item(const Item &item, bool is_start) noexcept;
  template <class Item>
  int send_slowly(const Item &item, bool is_start) noexcept;
  template <bool kIsShared, bool kToMark, class Item>
  bool try_send(const Item &item) noexcept;
  template <bool kIsShared, bool kToMark>
  bool try_reserve(BatchBlock &block, std::uint64_t length, Place &place) noexcept;
  [[gnu::noinline]] int batch_has_begun(BatchBlock &block) noexcept;
  [[gnu::noinline]] void mark_was_reached(BatchBlock &block) noexcept;
  bool make_room(std::uint64_t length) noexcept;
  int await_room(Lock &lock, Call &call) noexcept;
  bool has_settled() const noexcept;
  bool drop_oldest() noexcept;
  void open_next() noexcept;
  void seal_filling() noexcept;
  void seal_if_any() noexcept;
  void free_block(BatchBlock &block) noexcept;
  void set_mark(BatchBlock &block) noexcept;
  void look_at_pressure() noexcept;
  std::int64_t high_use() const noexcept { return std::int64_t{options_.high_percent} * options_.buffers; }
  std::int64_t low_use() const noexcept { return std::int64_t{options_.low_percent} * options_.buffers; }
  std::uint64_t accepted() noexcept;
  void finish() noexcept;
  bool give_up_hopeless() noexcept;

  // batcher_sink.cc: offering, answers
  bool take_sink(Lock &lock, Call &call) noexcept;
  void give_sink() noexcept;
  int call_flush(Lock &lock) noexcept;
  int call_sink(Lock &lock, int (*callback)(void *)) noexcept;
  int close_sink(Lock &lock) noexcept;
  bool drive(Lock &lock, bool is_service) noexcept;
  BatchBlock *next_in_line() noexcept;
  void offer(Lock &lock, BatchBlock &block) noexcept;
  void await_copies(Lock &lock, BatchBlock &block) noexcept;
  int take_answer(BatchBlock &block, int code, const int *codes) noexcept;
  void answer(BatchBlock &block, int code) noexcept;
  void answer_each(BatchBlock &block, const int *codes) noexcept;
  static void await_offer(BatchBlock &block) noexcept;
  void was_not_asked(BatchBlock &block) noexcept;
  void failed(BatchBlock &block, int code) noexcept;
  void not_ready(BatchBlock &block) noexcept;
  void hold(BatchBlock &block, int code) noexcept;
  static void halve(BatchBlock &block) noexcept;
  static void new_part(BatchBlock &block) noexcept;
  static void split(BatchBlock &block) noexcept;
  void settle(BatchBlock &block, std::uint32_t count, int code, Reason reason) noexcept;
  std::uint64_t backoff_end(std::uint32_t failures) noexcept;

  // batcher_calls.cc: flush, close, polls; waiting, telling; the thread of ours
  bool is_inside() const noexcept;
  BatchBlock *held(std::uint64_t target) const noexcept;
  bool start_round() noexcept;
  int look_at_held(Lock &lock, Call &call, std::uint64_t target) noexcept;
  int do_flush(Lock &lock, Call &call) noexcept;
  int do_flush_and_tell(Lock &lock, Call &call) noexcept;
  int flush_sink(Lock &lock, Call &call) noexcept;
  int do_close(Lock &lock, Call &call) noexcept;
  int do_poll_ready(Lock &lock, Call &call) noexcept;
  template <class Body>
  int poll(const bw_waker_t *wake, std::uint32_t kind, Body body) noexcept;
  bool is_pending(const Pending &why) noexcept;
  static bool check_pending(void *batcher, const Pending &why) noexcept;
  Pending pending(std::uint32_t kind) noexcept;
  bool wait(Lock &lock, Call &call) noexcept;
  void changed(std::uint32_t kinds) noexcept;
  void kick() noexcept;
  bool step(Lock &lock) noexcept;
  void see_to_rest(Lock &lock) noexcept;
  bool tell(Lock &lock) noexcept;
  bool tell_one(Lock &lock) noexcept;
  void tell_items(Lock &lock, BatchBlock &block) noexcept;
  void block_is_told(BatchBlock &block) noexcept;
  static void *service_main(void *batcher) noexcept;
  void service() noexcept;
  std::uint64_t linger_end() noexcept;
  bool has_timed() const noexcept;
  std::uint64_t retry_time() noexcept;

  // ---- What does not change ----

  const std::uint64_t generation_;
  const bw_batch_sink_t sink_;
  void *const ctx_;
  const bw_batch_options_t options_;
  const std::unique_ptr<OwnedBatchSink> owned_;
  const bool unshared_, background_;
  const std::uint64_t capacity_; // of a batch, as batch_state.h packs it
  const std::uint64_t full_;     // the mark of a full one
  const std::uint64_t alignment_, slack_;
  const Lengths lengths_, small_lengths_; // of items; of those that send_small() and send_small_alone() take
  const std::uint64_t linger_ns_, backoff_ns_;
  bool has_service_ = false;
  Mapping mapping_;
  CopySlots<> slots_;
  std::unique_ptr<BatchBlock[]> blocks_;
  BatchBlock gate_; // what senders find where no batch is filling: one without room

  // ---- Read by senders ----

  std::atomic<BatchBlock *> open_{&gate_};

  // ---- Under the mutex ----

  alignas(64) std::mutex mutex_;
  BatchBlock *filling_ = nullptr;
  BatchBlock *oldest_ = nullptr; // sealed and not told, by serial
  BatchBlock *newest_ = nullptr;
  BatchBlock *free_ = nullptr;
  iovec *scratch_ = nullptr; // room for the items of one batch
  std::uint32_t *scratch_indexes_ = nullptr;
  std::uint64_t sealed_items_ = 0, serial_ = 0;
  std::uint64_t happened_ = 0; // events
  std::uint32_t open_batches_ = 0, taken_batches_ = 0; // sealed and not settled; of these, taken by the sink
  std::uint32_t sink_waiters_ = 0;
  BatchBlock *offering_ = nullptr; // write is running, and it was not answered yet
  std::uintptr_t sink_owner_ = 0, teller_ = 0;
  bool closing_ = false, closed_ = false, is_dead_ = false, stop_ = false;
  bool held_was_told_ = false; // in this round
  int given_up_ = 0;           // what the next flush gives
  Pause flush_pause_;
  bool pressure_ = false;
  std::uint64_t use_ = 0; // at the last look
  Edge edge_;
  std::uint64_t random_;
  pthread_t service_thread_{};
  std::uint64_t wakes_ = 0; // calls of bw_batch_wake()

  // For the statistics.
  std::uint64_t delivered_items_ = 0, delivered_batches_ = 0, largest_batch_ = 0, delivered_bytes_ = 0;
  std::uint64_t dropped_items_ = 0, given_up_items_ = 0, settled_items_ = 0, taken_items_ = 0, retries_ = 0;
  Latency in_batch_, to_delivered_;

  // ---- Waiting ----

  std::atomic<std::uint64_t> room_turns_{0}, level_turns_{0}; // changes so far that a waiting call looks at
  std::atomic<std::uint64_t> kicks_{0};                       // the same for our thread
  std::atomic<std::uint32_t> visitors_{0};                    // calls that may offer batches, under way
  std::atomic<std::uint32_t> inside_{0};                      // calls of bw_batch_done() under way
  WaitList waits_;
};

// ---- The fast path ----

// True if the item has its place. What may reach the mark, or has no room, is left to who calls with kToMark.
template <bool kIsShared, bool kToMark>
[[gnu::always_inline]] inline bool Batcher::try_reserve(BatchBlock &block, std::uint64_t length,
                                                        Place &place) noexcept {
  const std::uint64_t more = batch_state::pack(1, length);
  std::uint64_t word = block.buffer.word();
  do {
    place.before = buffer_state::offset(word);
    place.after = place.before + more;
    // A closed word has all its items, so it fits nothing and is beyond any mark.
    if (kToMark ? !batch_state::fits(place.before, length, capacity_)
                : batch_state::has_reached(place.after, block.mark.load(std::memory_order_relaxed))) [[unlikely]]
      return false;
    if constexpr (!kIsShared) {
      block.buffer.reserve_alone(word, more);
      return true;
    }
  } while (!block.buffer.try_reserve(word, more));
  return true;
}

template <bool kIsShared, class Item>
[[gnu::always_inline]] inline void Batcher::fill(BatchBlock &block, const Place &place, const Item &item) noexcept {
  char *to;
  if constexpr (kIsShared) {
    to = block.buffer.data() + batch_state::place(place.before, alignment_, slack_);
  } else {
    to = block.next_place;
    block.next_place = to + align_up(item.length, alignment_);
  }
  block.items[batch_state::items(place.before)] = {to, item.length};
  item.copy_to(to);
}

// True if the item, whose length is allowed, was accepted.
template <bool kIsShared, bool kToMark, class Item>
[[gnu::always_inline]] inline bool Batcher::try_send(const Item &item) noexcept {
  BatchBlock &block = *open_.load(std::memory_order_acquire); // partner: open_next()
  const std::uintptr_t me = thread_identity();
  CopySlot<RealAtomics> *slot = nullptr;
  if constexpr (kIsShared) {
    slot = slots_.find_own(me);
    if (!slot) [[unlikely]]
      slot = &slots_.find(me);
  }
  Place place;
  if (!try_reserve<kIsShared, kToMark>(block, item.length, place)) [[unlikely]]
    return false;
  fill<kIsShared>(block, place, item);
  if (batch_state::items(place.before) == 0) [[unlikely]]
    batch_has_begun(block);
  if constexpr (kIsShared) {
    if (slots_.commit(*slot, me, block.buffer.index(), 1)) [[unlikely]]
      waits_.signal(kForCopies);
  }
  // Also where the mark was looked at before: it may have come down since. seq_cst: Dekker with set_mark(). The block may
  // be another batch by now: then this is a look too many.
  if (batch_state::has_reached(place.after, block.mark.load(std::memory_order_seq_cst))) [[unlikely]]
    mark_was_reached(block);
  return true;
}

// Small items, which are most, have a function for each kind of batcher, which calls another only as its last act: so
// that of a lone producer saves no register.
inline int Batcher::send(const void *item, std::size_t length, bool is_start) noexcept {
  if (!small_lengths_.has(length)) return send_piece(item, length, is_start);
  return unshared_ ? send_small_alone(item, length, is_start) : send_small(item, length, is_start);
}

} // namespace bwlib
