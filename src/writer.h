// Writer: a stream's state machine.
//
// Bytes are accepted into the current buffer of the ring, at the end of the stream; the sink takes them from the
// front. Two rights order everything, and nothing else does:
//   - the pen (BufferRing): what happens at the end of the stream. Fast writes need none.
//   - the sink (sink_owner_): calls of its callbacks, and what they have taken: heads, spill, written position.
// Who needs both takes the pen first and never waits for the pen while owning the sink; the pen may be given back
// first. Inline writers empty their one buffer with both in hand; background ones seal it with the pen, and our
// thread, which needs the sink only, empties it.
//
// Every call is one function of an Op. What it must wait for goes through await(), which sleeps if the op's patience
// allows it, and otherwise makes the call end with -EAGAIN and leave the reason in the op, to which poll calls tie
// their waker. So a blocking call and its poll are the same code.
//
// Thread safety: as include/bw/bw.h says for each call. Invariants:
//   (1) durable <= written <= accepted <= tail, as positions, but for seeks.
//   (2) A byte leaves its buffer only when the sink has said that it took it.
//   (3) held_, closed_: while set, the gate is published (or the fast path shut), so no write is accepted.
//   (4) No callback of the user's runs with a lock or the pen held but the sink's own and `each`.
#pragma once

#include <bw/bw.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>

#include "aligned_memory.h"
#include "buffer_ring.h"
#include "copy_bytes.h"
#include "event_queue.h"
#include "file_engine.h"
#include "latency.h"
#include "note_list.h"
#include "options.h"
#include "parts.h"
#include "process.h"
#include "sink_engine.h"
#include "spill.h"
#include "wait_list.h"

namespace bwlib {

// For what only one thread counts: relaxed, and no read-modify-write.
inline void add_one(std::atomic<std::uint64_t> &count) noexcept {
  count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// One call under way.
struct Op {
  Patience patience = Patience::kPoll;
  std::uint64_t deadline_ns = kNoDeadline;
  bool timed_out = false;
  bool is_poll = false;      // a bw_poll_* call
  bool holds_errors = false; // our thread at work: what fails is held
  bool stood_aside = false;  // it gave way to a rescue, and tries again after that
  Pending why; // valid after -EAGAIN: what to wait for
};

class Writer {
  friend std::default_delete<Writer>;

 public:
  struct Setup {
    const bw_sink_t *sink;
    void *ctx;
    bw_options_t options; // as read_options() gives them
    std::unique_ptr<OwnedSink> owned;
    std::int64_t position = 0;
    Writer *parent = nullptr; // of a lane
    std::unique_ptr<FileEngine> file; // instead of a sink
  };
  // 0, -ENOMEM, -EINVAL, -E2BIG, -EAGAIN (no thread).
  static int create(Writer *&out, Setup &&setup) noexcept;
  Writer(const Writer &) = delete;
  Writer &operator=(const Writer &) = delete;

  bool is_of_this_process() const noexcept { return generation_ == process_generation(); }

  // ---- The calls of bw.h; arguments are checked by c_api.cc. ----

  // 0 < length <= SSIZE_MAX.
  std::int64_t write(const void *data, std::size_t length) noexcept {
    if (unshared_) {
      const std::int64_t tail = tail_.load(std::memory_order_relaxed);
      if (static_cast<std::int64_t>(length) <= room_end_.load(std::memory_order_relaxed) - tail) [[likely]]
        return length <= kSmallBytes ? write_unshared<true>(tail, data, length)
                                     : write_unshared<false>(tail, data, length);
    } else if (length <= largest_fast_) [[likely]] {
      return length <= kSmallBytes ? write_shared<true>(data, length) : write_shared<false>(data, length);
    }
    return write_slow(data, length);
  }
  std::int64_t writev(const iovec *parts, int count) noexcept;
  std::int64_t append(const iovec *parts, int count) noexcept;
  int reserve(std::size_t length, bw_span_t &span) noexcept;
  int commit(bw_span_t &span, std::size_t used) noexcept;
  int flush() noexcept;
  int sync() noexcept;
  std::int64_t seek(std::int64_t offset, int whence) noexcept;
  std::int64_t tell() noexcept { return is_mine() ? -EDEADLK : tail(); }
  std::int64_t read(void *data, std::size_t length) noexcept;
  int close() noexcept;

  std::int64_t poll_write(const iovec *parts, int count, bool vectored, const bw_waker_t *waker) noexcept;
  std::int64_t poll_append(const iovec *parts, int count, const bw_waker_t *waker) noexcept;
  int poll_flush(const bw_waker_t *waker) noexcept;
  int poll_sync(const bw_waker_t *waker) noexcept;
  std::int64_t poll_read(void *data, std::size_t length, const bw_waker_t *waker) noexcept;
  int start_seek(std::int64_t offset, int whence) noexcept;
  std::int64_t poll_seek(const bw_waker_t *waker) noexcept;
  int poll_close(const bw_waker_t *waker) noexcept;
  int unwake(const bw_waker_t &waker) noexcept;
  int wake() noexcept;

  std::int64_t position(int level) noexcept;
  int wait(std::int64_t position, int level, std::int64_t timeout_us) noexcept;
  int notify(std::int64_t position, int level, void (*done)(void *, int), void *arg) noexcept;
  // wait() as a poll.
  int poll_wait(std::int64_t position, int level, const bw_waker_t &waker) noexcept;

  int error() noexcept;
  int resume() noexcept;
  int set_sink(const bw_sink_t *sink, void *ctx) noexcept;
  std::int64_t unwritten(void (*each)(void *, const void *, std::size_t), void *arg) noexcept;
  std::int64_t discard() noexcept;

  const void *buffer(std::size_t &length) noexcept;
  std::size_t buffered() noexcept;
  std::size_t capacity() const noexcept { return capacity_; }
  // Background and file writers: the longest append that need not wait in between.
  std::uint64_t most_at_once() const noexcept { return ring_.count() * capacity_; }
  void *context() const noexcept { return owned_ ? nullptr : sink_.context(); }
  void get_stats(bw_stats_t &stats) noexcept;

  int event_fd() const noexcept;
  int poll_events() noexcept;

  // ---- For lanes ----

  // As append() or poll_append(), but says how much was accepted even where it failed (-ENOMEM).
  std::int64_t append_from_lane(const iovec *parts, int count, Patience patience, const bw_waker_t &waker,
                                std::uint64_t &accepted) noexcept;
  int flush_from_lane(Patience patience, const bw_waker_t &waker) noexcept;
  int sync_from_lane(Patience patience, const bw_waker_t &waker) noexcept;
  bool may_have_lanes() const noexcept { return !unshared_; } // lanes are unshared too
  // A lane is about to be made: 0, -EDEADLK, -ESHUTDOWN. drop_lane(): it could not be made.
  int add_lane() noexcept;
  void drop_lane() noexcept;
  // bw_free(): closes if need be, tells what is lost, and deletes (with its last lane, if lanes are left). In a forked
  // child it gives back memory only.
  static void destroy(Writer *writer) noexcept;

 private:
  enum class Kind { kWrite, kAppend, kPollWrite };
  // Where bytes were put, and how many of them.
  struct Placed {
    std::int64_t position = 0;
    std::uint64_t bytes = 0;
  };
  // What became of an attempt to reserve by fetch_add.
  enum class Grant { kDone, kPen, kClosed };

  explicit Writer(Setup &&setup) noexcept;
  ~Writer() = default;
  int build(std::uint32_t buffers) noexcept;

  // writer.cc: the end of the stream
  // Of two kinds, so that a small write calls nothing and saves no register.
  template <bool kIsSmall>
  std::int64_t write_unshared(std::int64_t tail, const void *data, std::size_t length) noexcept {
    const auto to = reinterpret_cast<char *>(origin_ + static_cast<std::uintptr_t>(tail));
    copy<kIsSmall>(to, static_cast<const char *>(data), length);
    // Relaxed: our thread learns of these bytes by seal(), other threads of the number only.
    tail_.store(tail + static_cast<std::int64_t>(length), std::memory_order_relaxed);
    add_one(own_writes_);
    return static_cast<std::int64_t>(length);
  }
  template <bool kIsSmall>
  std::int64_t write_shared(const void *data, std::size_t length) noexcept;
  std::int64_t write_slow(const void *data, std::size_t length) noexcept;
  std::int64_t write_crossing(FlushBuffer<> &buffer, std::uint64_t offset, const void *data,
                              std::size_t length) noexcept;
  std::int64_t after_reservation(CopySlot<RealAtomics> &slot, std::uint64_t offset, bool is_watched,
                                 std::uint64_t bytes) noexcept;
  std::int64_t tell_if_short(std::int64_t result, std::uint64_t total) noexcept;
  std::int64_t put_blocking(const iovec *parts, int count, Kind kind, bool vectored) noexcept;
  std::int64_t put(Op &op, const iovec *list, int count, Kind kind, bool vectored, Placed &placed,
                   Grant grant) noexcept;
  Grant try_reserve(Parts &parts, Placed &placed) noexcept;
  std::int64_t put_with_pen(Op &op, Parts &parts, Kind kind, bool vectored, Placed &placed) noexcept;
  void count_write() noexcept;
  void copy_in(Parts &parts, std::uint64_t bytes) noexcept;
  std::int64_t put_inline(Op &op, Parts &parts, Kind kind, bool vectored) noexcept;
  int make_room(Op &op, std::uint64_t bytes) noexcept;
  std::int64_t put_slices_once(Op &op, Parts &parts) noexcept;
  std::int64_t put_around(Op &op, Parts &parts, Kind kind, bool vectored) noexcept;
  int put_slices(Op &op, Parts &parts) noexcept;
  int keep_rest(Parts &parts) noexcept;
  std::int64_t put_ring(Op &op, Parts &parts, Kind kind) noexcept;
  int await_room(Op &op, std::uint64_t buffers) noexcept;
  int await_append_room(Op &op, std::uint64_t bytes) noexcept;
  int make_span_room(Op &op, std::uint64_t length) noexcept;
  int reserve_shared(Op &op, std::size_t length, bw_span_t &span) noexcept;
  bool count_span() noexcept;
  void span_is_open(const bw_span_t &span, bool is_first) noexcept;
  int reserve_unshared(Op &op, std::size_t length, bw_span_t &span) noexcept;
  int commit_unshared(bw_span_t &span, std::size_t used) noexcept;

  int take_pen(Op &op, bool span_allowed = false) noexcept;
  void pen_taken() noexcept;
  void release_pen() noexcept;
  void release_unshared(bool admit) noexcept;
  void shut() noexcept;
  void shut_if_held() noexcept;
  void seal_current() noexcept;
  void hand_on() noexcept;
  int refusal(bool closing = false) noexcept;
  int would_wait() noexcept;
  bool is_mine() const noexcept;
  bool is_in_sink() const noexcept;
  std::int64_t end() noexcept { return ring_.current_end(); }
  std::int64_t tail() noexcept;
  void cut(std::int64_t position, bool is_discard) noexcept;
  std::int64_t accepted_floor() const noexcept;
  void raise_floor() noexcept;

  // writer_io.cc: the sink
  int acquire_sink(Op &op) noexcept;
  int acquire_usable_sink(Op &op, bool reads) noexcept;
  void tell_patience(const Op &op) noexcept;
  bool may_take_sink(bool is_service) const noexcept;
  bool try_sink() noexcept;
  void release_sink() noexcept;
  std::int64_t call_write(Op &op, const Parts &parts, bool vectored) noexcept;
  int push(Op &op, Parts &parts, bool vectored) noexcept;
  int push_bytes(Op &op, const char *data, std::uint64_t length, std::uint64_t &taken) noexcept;
  std::int64_t bypass_once(Op &op, Parts &parts, bool vectored) noexcept;
  int bypass(Op &op, Parts &parts, bool vectored) noexcept;
  int judge(Op &op, std::int64_t code, std::uint64_t wakes_before, bool is_event) noexcept;
  template <class Call>
  auto call_sink(Op &op, bool is_event, Call call) noexcept -> decltype(call());
  int push_spill(Op &op, std::uint64_t before) noexcept;
  int push_current(Op &op) noexcept;
  int push_current_below(Op &op, std::uint64_t limit) noexcept;
  int empty_inline(Op &op) noexcept;
  void count_written(std::uint64_t bytes) noexcept;
  void error_is_held(int code) noexcept;
  void fail_sync(int code) noexcept;
  int take_both(Op &op, bool closing) noexcept;
  int empty_all(Op &op, bool closing) noexcept;
  int empty_ring(Op &op, bool closing) noexcept;
  void release_both() noexcept;
  int flush_bytes(Op &op, std::int64_t target) noexcept;
  int flush_ring(Op &op, std::int64_t target) noexcept;
  int do_flush(Op &op) noexcept;
  int do_sync(Op &op) noexcept;
  int sync_until(Op &op, std::int64_t target, std::uint64_t begun) noexcept;
  int sync_owned(Op &op) noexcept;
  std::int64_t do_seek(Op &op, std::int64_t offset, int whence, bool &ended) noexcept;
  std::int64_t do_poll_seek(Op &op) noexcept;
  std::int64_t do_read(Op &op, void *data, std::size_t length) noexcept;
  int do_close(Op &op) noexcept;
  int close_sink(Op &op) noexcept;
  void sink_is_closed() noexcept;
  int do_wait(Op &op, std::int64_t target, int level, bool may_do_io, std::uint64_t cuts) noexcept;
  int wait_error(int level) noexcept;
  int take_for_rescue(Op &op) noexcept;
  void rescue_begins() noexcept;
  void rescue_ended() noexcept;
  template <class Call>
  auto as_rescue(Call call) noexcept -> decltype(call());
  // Background: the sink said -EAGAIN and nobody called bw_wake() since.
  bool is_stuck() const noexcept {
    return sink_not_ready_.load(std::memory_order_acquire) &&
           wakes_.load(std::memory_order_acquire) == not_ready_wakes_.load(std::memory_order_relaxed);
  }
  // Who has the pen and waits for a sink that is not ready must not keep rescue away. To be asked after turns_ was
  // read: what comes later changes it.
  bool stands_aside(Op &op) noexcept {
    op.stood_aside = rescuers_.load(std::memory_order_acquire) > 0 && is_stuck();
    return op.stood_aside;
  }
  int do_resume(Op &op) noexcept;
  int do_set_sink(Op &op, const SinkEngine &sink) noexcept;
  std::int64_t do_unwritten(Op &op, void (*each)(void *, const void *, std::size_t), void *arg) noexcept;
  template <class Visit>
  void visit_unwritten(std::uint64_t limit, Visit visit) noexcept;
  std::int64_t do_discard(Op &op) noexcept;

  // writer_file.cc
  bool has_file() const noexcept { return is_file_.load(std::memory_order_acquire); }
  // A closed file too: who asks hears how far it came, or that it is closed.
  bool can_sync() const noexcept {
    return has_file() || was_file_.load(std::memory_order_relaxed) || sink_.has_sync();
  }
  bool can_seek() const noexcept { return has_file() || sink_.has_seek(); }
  void ask(int level, std::int64_t target) noexcept;
  bool is_sync_refused(const Op &op, std::uint64_t refusals, std::int64_t target) noexcept;
  void refuse_sync() noexcept;
  int reach(Op &op, int level, std::int64_t target) noexcept;
  int do_reach(Op &op, int level, std::int64_t target) noexcept;
  void gather() noexcept;
  bool is_sealing_wanted() const noexcept {
    return wanted_written_.load(std::memory_order_seq_cst) > sealed_end_.load(std::memory_order_acquire);
  }
  void seal_wanted() noexcept;
  bool drive_alone(Op &op, int level, std::int64_t target) noexcept;
  bool has_file_work() noexcept;
  bool drive(Op &op, Carrier carrier, bool waits) noexcept;
  bool start_writes(Op &op, Carrier carrier) noexcept;
  bool write_spill(std::uint64_t oldest) noexcept;
  void hold_file_error(int code) noexcept;
  bool start_sync(Carrier carrier) noexcept;
  bool end_requests(bool waits) noexcept;
  void end_write(const IoRequest &request) noexcept;
  void end_sync(const IoRequest &request) noexcept;
  void settle_file() noexcept;
  bool may_settle_file(Op &op) noexcept;
  int sync_file(Op &op) noexcept;
  int sync_file_now() noexcept;
  std::int64_t seek_file(Op &op, std::int64_t offset, int whence) noexcept;
  void move_to(std::int64_t position) noexcept;
  std::int64_t read_file(Op &op, void *data, std::size_t length) noexcept;
  int close_file() noexcept;
  void leave_file() noexcept;
  int make_bell() noexcept;
  void abandon_file() noexcept;
  void ring_bell() noexcept;
  void drive_in_turn() noexcept;
  std::uint64_t drive_without_waiting() noexcept;
  bool is_left_to_others(const Pending &idle) noexcept;
  static void look_again(void *writer) noexcept;
  void ring_if_asked() noexcept;
  void set_timer(std::uint64_t due_ns) noexcept;
  int tell_here() noexcept;
  bool await_driving(Op &op, const Pending &why) noexcept;

  // writer_service.cc: our thread, callbacks, waiting
  bool await(Op &op, const Pending &why) noexcept;
  bool is_pending(const Pending &why) noexcept;
  static bool check_pending(void *writer, const Pending &why) noexcept;
  Pending pending_copies(FlushBuffer<> &buffer, std::uint64_t fill) noexcept;
  // As await(); one thread alone has ended its copies when it calls.
  bool await_copies(Op &op, FlushBuffer<> &buffer, std::uint64_t fill) noexcept {
    return unshared_ || await(op, pending_copies(buffer, fill));
  }
  Pending pending_level(int level, std::int64_t position) noexcept;
  Patience blocking_patience() const noexcept;
  static Patience rescue_patience() noexcept { return is_in_callback() ? Patience::kPoll : Patience::kWait; }
  static bool is_in_callback() noexcept { return thread_state.callback_depth > 0; }
  // Calls `call` with an op, again after each wait that the patience allows, then tells what there is to tell:
  // run_write() events and wakers, run() notes too where the owner tells them (BW_UNSHARED).
  template <class Call>
  auto run_write(Patience patience, Call call, std::uint64_t deadline_ns = kNoDeadline) noexcept
      -> decltype(call(std::declval<Op &>()));
  template <class Call>
  auto run(Patience patience, Call call, std::uint64_t deadline_ns = kNoDeadline) noexcept
      -> decltype(call(std::declval<Op &>()));
  // Once; ties the waker to what the call is pending on.
  template <class Call>
  auto run_poll(const bw_waker_t *waker, Call call, bool notes = false) noexcept -> decltype(call(std::declval<Op &>()));
  template <class Call>
  auto run_for_lane(Patience lane, const bw_waker_t &waker, Call call) noexcept
      -> decltype(call(std::declval<Op &>()));
  int ensure_service() noexcept;
  void stop_service() noexcept;
  static void *service_main(void *writer) noexcept;
  void service() noexcept;
  void consume(Op &op) noexcept;
  bool consume_one(Op &op, bool waits) noexcept;
  std::uint64_t ready_end(Op &op, FlushBuffer<> &buffer) noexcept;
  bool has_work_for_sink(Op &op) noexcept;
  int consume_head(Op &op) noexcept;
  static void merge(Pending &idle, const Pending &why) noexcept;
  std::uint64_t serve_linger(Op &op) noexcept;
  int hand_on_lingering(Op &op) noexcept;
  std::uint64_t serve_notes(Op &op) noexcept;
  void kick() noexcept;
  void kick_from_outside() noexcept;
  void arm_linger() noexcept;
  void level_moved(int level, std::int64_t position) noexcept;
  void look_at_accepted() noexcept;
  void push_event(std::uint32_t kind, std::int64_t position, std::uint64_t length, int code) noexcept;
  void look_at_pressure() noexcept;
  void tell_event(const bw_event_t &event) noexcept;
  void deliver(bool notes) noexcept;
  bool has_something_to_tell() noexcept;
  void deliver_events_and_wakers() noexcept;
  void await_told() noexcept;
  void deliver_notes() noexcept;
  void serve_own_notes(Op &op) noexcept;
  void settle_notes(int code) noexcept;
  int finish() noexcept;
  int push_before_span(Op &op, std::uint64_t &skip) noexcept;
  void tell_lost(std::int64_t position, std::uint64_t skip, int code) noexcept;
  static void drop_reference(Writer *writer, bool in_child) noexcept;

  // ---- Read by every write, changed by few ----
  const std::uint64_t generation_;
  const bool unshared_;
  const bool nonblock_;
  const bool inline_; // else background, or a file
  const bool is_caller_driven_; // a file without a thread of ours
  const std::uint64_t capacity_;
  std::uint64_t block_ = 0; // capacity_, and the head-room of files
  std::uint64_t largest_fast_ = 0; // a longer shared write never fits, or must look before it adds

  // ---- The end of an unshared stream; its owner's, read by others ----
  static constexpr std::int64_t kShut = -1; // below every position, so no length fits
  std::atomic<std::int64_t> tail_{0};
  std::atomic<std::int64_t> room_end_{kShut}; // the fast path's limit
  std::uintptr_t origin_ = 0;                     // address of position 0, were it in the block
  std::atomic<std::uint64_t> own_writes_{0};
  bool span_open_ = false;

  BufferRing<> ring_;
  CopySlots<> slots_;

  // ---- The two rights ----
  std::atomic<std::uintptr_t> pen_owner_{0}; // thread identity, for re-entry
  std::atomic<std::uintptr_t> sink_owner_{0};
  std::atomic<std::uint32_t> rescuers_{0};    // threads in bw_unwritten, bw_set_sink, bw_discard
  std::atomic<std::uint32_t> sink_askers_{0}; // threads that wait for the sink
  std::atomic<bool> service_asks_{false};     // our thread waits for it, or bw_poll_events() went without
  std::atomic<bool> was_service_{false};      // our thread had it last; its owner's

  // ---- State that anybody may look at ----
  std::atomic<std::int64_t> written_{0};
  std::atomic<std::int64_t> durable_{0};
  std::atomic<std::int64_t> accepted_{0}; // shared: every byte below is accepted; rises under floor_mutex_
  std::mutex floor_mutex_;
  std::atomic<int> held_{0};
  std::atomic<int> sync_error_{0};
  std::atomic<bool> refuse_after_sync_{false}; // background: a failed sync refuses writes until bw_set_sink
  std::atomic<bool> closed_{false};
  std::atomic<bool> closing_{false}; // no lane may be made any more
  std::atomic<std::uint64_t> turns_{0};    // errors, resumes, cuts, closing: look again
  std::atomic<std::uint64_t> seeks_{0};
  std::atomic<std::uint64_t> discards_{0};
  std::atomic<std::uint64_t> cuts_{0}; // both; changes under floor_mutex_
  std::atomic<std::int64_t> cut_position_{0}; // where the last seek or discard went
  std::atomic<std::uint64_t> wakes_{0};
  std::atomic<std::uint32_t> open_spans_{0};
  std::atomic<std::int64_t> span_start_{0}, span_end_{0}; // the span that was reserved when no other was open

  // ---- The sink; its owner's ----
  SinkEngine sink_;
  std::unique_ptr<OwnedSink> owned_;
  std::atomic<int> ready_fd_{-1}; // of owned_, while it is the sink and open
  Spill spill_;
  std::atomic<bool> has_spill_{false}; // may be true for an empty one
  std::atomic<std::uint64_t> syncs_begun_{0};
  std::atomic<std::uint64_t> last_good_sync_{0}; // number of the last sync that succeeded
  bool sink_closed_ = false;

  // ---- The file; the sink owner's but for what is atomic ----
  std::unique_ptr<FileEngine> file_; // stays when a sink has taken over
  std::atomic<bool> is_file_{false};
  std::atomic<bool> was_file_{false}; // when it was closed
  std::atomic<std::int64_t> wanted_written_{0}; // somebody waits until all below is written
  std::atomic<std::int64_t> wanted_durable_{0};
  std::atomic<std::uint64_t> syncs_refused_{0};       // how often the file said that it cannot be synced
  std::atomic<std::int64_t> refused_to_{INT64_MIN}; // what it said so of last; INT64_MIN: somebody has been told
  std::atomic<std::uint32_t> sync_waiters_{0}; // threads that wait for a sync
  std::atomic<std::uint32_t> crowd_{0};        // how many there were when the last sync ended
  std::atomic<std::uint32_t> sync_asks_{0};    // how often a thread began to wait for one, modulo 2^32
  std::atomic<std::uint32_t> sync_asks_served_{0}; // and how often before the last sync began
  std::atomic<std::int64_t> sealed_end_{0}; // all below is handed on; the pen holder's
  std::int64_t sync_reached_ = 0;           // by the sync under way
  std::uint64_t sync_bytes_ = 0;
  std::int64_t read_position_ = 0; // O_APPEND: where bw_read reads
  // BW_CALLER_DRIVEN
  OwnedFd bell_;  // rung when there is something to do
  OwnedFd timer_; // for a linger
  OwnedFd both_;  // an epoll of the two
  std::atomic<bool> is_rung_{false};
  std::atomic<bool> looks_again_{false}; // somebody came while another drove
  std::atomic<std::uintptr_t> teller_{0}; // thread identity: the only one that calls callbacks

  // A seek remembered; under seek_mutex_.
  std::mutex seek_mutex_;
  bool seek_pending_ = false;
  std::uint64_t seek_number_ = 0;
  std::int64_t seek_offset_ = 0;
  int seek_whence_ = 0;

  // ---- Waiting and telling ----
  WaitList waits_;
  NoteList notes_;
  std::unique_ptr<EventQueue> events_; // null: nobody listens
  std::atomic<bool> telling_{false};
  bool telling_notes_ = false;
  bool pressure_ = false; // under floor_mutex_
  const std::uint32_t high_percent_;
  const std::uint32_t low_percent_;
  void (*const on_event_)(void *, const bw_event_t *);
  void *const event_arg_;

  // ---- Our thread ----
  std::mutex service_mutex_; // starting it
  pthread_t service_thread_{};
  std::atomic<bool> has_service_{false};
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> kicks_{0};
  std::atomic<bool> linger_armed_{false};
  const std::uint64_t linger_ns_;
  std::uint64_t linger_due_ns_ = kNoDeadline; // our thread's
  std::uint64_t retry_ns_ = 0;                // our thread's: pause before it tries again what failed
  std::uint64_t linger_mark_ = 0;             // our thread's: how far the stream was when it was armed
  std::uint64_t notes_due_ns_ = 0;            // our thread's
  std::uint64_t notes_retry_ns_ = 0;          // our thread's
  Pending notes_wait_;                        // our thread's: a sync for notes found the sink not ready
  std::atomic<bool> sink_not_ready_{false};   // our thread's: the sink said -EAGAIN
  std::atomic<std::uint64_t> not_ready_wakes_{0}; // our thread's: wakes_ before that call
  std::atomic<std::uintptr_t> service_identity_{0};

  // ---- Lanes ----
  Writer *const parent_;
  std::atomic<std::uint32_t> lanes_open_{0};
  std::atomic<std::uint32_t> references_{1}; // the handle and each lane's

  // ---- Statistics ----
  std::atomic<std::uint64_t> written_bytes_{0}, durable_bytes_{0}, discarded_bytes_{0};
  std::atomic<std::uint64_t> sink_writes_{0}, bypasses_{0}, flushes_{0}, waits_for_room_{0}, errors_{0}, resumes_{0};
  Latency write_wait_, sink_write_, sync_;

  Mapping mapping_;
  std::unique_ptr<FlushBuffer<>[]> buffers_;
};

} // namespace bwlib
