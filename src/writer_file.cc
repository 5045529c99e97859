// Files: driving the engine, and what flush, sync, seek and read mean there.
//
// Who wants bytes written or durable says so (ask()); whoever drives sees to it: our thread, bw_poll_events(), or a
// thread that waits, which does the I/O itself while nobody else is at it. To drive is to own the sink.
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "writer.h"
#include "writer_run.h"

namespace bwlib {

namespace {

constexpr std::uint64_t kGatherNs = 40'000; // less than a sync takes

template <class Value>
void raise_to(std::atomic<Value> &level, Value value) noexcept {
  Value before = level.load(std::memory_order_relaxed);
  // seq_cst: who finds the pen taken relies on its holder to see the wish (Writer::release_pen).
  while (before < value && !level.compare_exchange_weak(before, value, std::memory_order_seq_cst)) {
  }
}

// No failure: the kernel was interrupted, put us off, or cancelled what a thread that is gone had asked for.
bool starts_again(std::int64_t code) noexcept {
  return code == -EINTR || code == -EAGAIN || code == -ECANCELED;
}

FileEngine::Block block_of(FlushBuffer<> &buffer) noexcept {
  return {buffer.data(), buffer.start(), buffer.length(), buffer.position()};
}

} // namespace

// ---- Wishes ----

void Writer::ask(int level, std::int64_t target) noexcept {
  raise_to(wanted_written_, target);
  if (level == BW_DURABLE) raise_to(wanted_durable_, target);
}

// Everything below `target` comes to `level`. 0, -ECANCELED, -EAGAIN, or why not.
int Writer::reach(Op &op, int level, std::int64_t target) noexcept {
  if (level != BW_DURABLE || op.patience == Patience::kPoll) return do_reach(op, level, target);
  sync_waiters_.fetch_add(1, std::memory_order_acq_rel);
  sync_asks_.fetch_add(1, std::memory_order_acq_rel);
  const int code = do_reach(op, level, target);
  sync_waiters_.fetch_sub(1, std::memory_order_acq_rel);
  return code;
}

int Writer::do_reach(Op &op, int level, std::int64_t target) noexcept {
  const std::uint64_t refusals = syncs_refused_.load(std::memory_order_acquire);
  const std::uint64_t seeks = seeks_.load(std::memory_order_acquire);
  const std::uint64_t discards = discards_.load(std::memory_order_acquire);
  for (;;) {
    const Pending change = pending_level(level, target);
    if (is_mine()) return -EDEADLK;
    if (!has_file()) return level == BW_WRITTEN ? flush_bytes(op, target) : sync_until(op, target, 0);
    if (discards_.load(std::memory_order_acquire) != discards) return -ECANCELED;
    if (seeks_.load(std::memory_order_acquire) != seeks) return 0; // a seek flushed everything before it moved the end
    if (level == BW_DURABLE) {
      if (const int code = sync_error_.load(std::memory_order_acquire)) return code;
    }
    if (position(level) >= target) return 0;
    if (const int code = refusal()) return code;
    if (level == BW_DURABLE && is_sync_refused(op, refusals, target)) {
      const int code = do_reach(op, BW_WRITTEN, target);
      return code ? code : -EOPNOTSUPP;
    }
    ask(level, target);
    if (unshared_) seal_wanted(); // only the owner may
    if (drive_alone(op, level, target)) continue;
    kick_from_outside();
    if (!await(op, change)) return -EAGAIN;
  }
}

// A sync that was asked for cannot be done. A poll has asked earlier: it takes the answer that is left for it.
bool Writer::is_sync_refused(const Op &op, std::uint64_t refusals, std::int64_t target) noexcept {
  if (syncs_refused_.load(std::memory_order_acquire) != refusals) return true;
  std::int64_t reached = refused_to_.load(std::memory_order_acquire);
  return op.patience == Patience::kPoll && !thread_state.is_service && reached >= target &&
         refused_to_.compare_exchange_strong(reached, INT64_MIN, std::memory_order_acq_rel);
}

// No failure: all who wait for it are told, and who asks again is asked for again.
void Writer::refuse_sync() noexcept {
  wanted_durable_.store(durable_.load(std::memory_order_relaxed), std::memory_order_seq_cst);
  refused_to_.store(sync_reached_, std::memory_order_release);
  syncs_refused_.fetch_add(1, std::memory_order_acq_rel);
  turns_.fetch_add(1, std::memory_order_acq_rel);
  notes_.cancel(BW_DURABLE, durable_.load(std::memory_order_relaxed), -EOPNOTSUPP);
  if (notes_.has_due()) kick();
  waits_.signal(kForLevel);
}

// ---- Driving ----

// Group commit: where many threads wait for syncs again and again, those that the last one served come back in a
// moment. Waiting for them makes one sync of two.
void Writer::gather() noexcept {
  if (wanted_durable_.load(std::memory_order_acquire) <= durable_.load(std::memory_order_acquire)) return;
  const std::uint32_t expected = crowd_.load(std::memory_order_relaxed);
  const auto come = [this] {
    return sync_asks_.load(std::memory_order_acquire) - sync_asks_served_.load(std::memory_order_relaxed);
  };
  if (expected <= 1 || come() >= expected) return;
  const std::uint64_t end = now_ns() + kGatherNs;
  do {
    sched_yield();
  } while (come() < expected && now_ns() < end);
}

// Hands on what somebody wants written and is still in the buffer being filled.
void Writer::seal_wanted() noexcept {
  if (!is_sealing_wanted() || (unshared_ && thread_state.is_service)) return;
  Op op;
  if (take_pen(op) != 0) return; // who has it kicks our thread when he gives it back
  if (refusal() == 0) {
    if (ring_.has_bytes()) seal_current();
    sealed_end_.store(end(), std::memory_order_release);
  }
  release_pen();
}

// A thread that waits does it itself, if nobody else drives: no hand-off to another thread and back. False: it cannot,
// or nothing came of it.
bool Writer::drive_alone(Op &op, int level, std::int64_t target) noexcept {
  if (op.patience == Patience::kPoll || is_caller_driven_ || thread_state.is_service || !has_file()) return false;
  if (level == BW_DURABLE && crowd_.load(std::memory_order_relaxed) > 1) return false; // our thread serves many at once
  if (sink_owner_.load(std::memory_order_relaxed) != 0) return false;
  seal_wanted();
  if (!try_sink()) return false;
  bool moved = false;
  if (has_file() && !file_->has_under_way()) {
    while (position(level) < target && drive(op, Carrier::kCaller, true)) moved = true;
  }
  release_sink();
  if (has_file_work()) kick(); // what came meanwhile is our thread's
  return moved;
}

bool Writer::has_file_work() noexcept {
  if (held_.load(std::memory_order_acquire) != 0) return file_->has_under_way();
  if (ring_.head() || has_spill_.load(std::memory_order_acquire) || file_->has_under_way()) return true;
  return sync_error_.load(std::memory_order_acquire) == 0 &&
         wanted_durable_.load(std::memory_order_acquire) > durable_.load(std::memory_order_acquire);
}

// Sink. Starts what may be started and looks at what has ended; with `waits` sleeps until something has, if anything is
// under way. False: nothing more can be done now; op.why may say what would change that.
bool Writer::drive(Op &op, Carrier carrier, bool waits) noexcept {
  bool moved = end_requests(false);
  moved |= start_writes(op, carrier);
  moved |= start_sync(carrier);
  return end_requests(waits) || moved;
}

bool Writer::start_writes(Op &op, Carrier carrier) noexcept {
  if (held_.load(std::memory_order_acquire) != 0) return false;
  bool started = false;
  const std::uint64_t oldest = ring_.retired();
  if (has_spill_.load(std::memory_order_acquire) && write_spill(oldest)) started = true;
  for (std::uint64_t number = oldest; number != ring_.sealed(); ++number) {
    if (spill_.first() && spill_.first()->before <= number) break; // older than this buffer
    FlushBuffer<> &buffer = ring_.at(number);
    const unsigned index = buffer.index();
    if (!file_->is_begun(index)) file_->begin(index, block_of(buffer));
    const std::uint64_t limit = ready_end(op, buffer);
    if (file_->start_write(carrier, index, block_of(buffer), limit, number == oldest)) {
      started = true;
    } else if (!file_->is_under_way(index) && file_->reached(index) < buffer.length()) {
      break; // what comes after waits for it
    }
  }
  file_->start_run(carrier);
  return started;
}

// The rest of an append that comes before buffer `oldest`, which is the oldest: written here and now, it is rare.
bool Writer::write_spill(std::uint64_t oldest) noexcept {
  bool moved = false;
  while (SpillBlock *block = spill_.first()) {
    if (block->before > oldest || file_->has_under_way()) return moved;
    const std::int64_t answer = file_->write_now(block->data() + block->taken, block->length - block->taken,
                                                 written_.load(std::memory_order_relaxed));
    sink_writes_.fetch_add(1, std::memory_order_relaxed);
    if (starts_again(answer)) continue;
    moved = true;
    if (answer <= 0) {
      hold_file_error(answer == 0 ? static_cast<int>(BW_EWRITEZERO) : static_cast<int>(answer));
      return moved;
    }
    block->taken += static_cast<std::uint64_t>(answer);
    count_written(static_cast<std::uint64_t>(answer));
    if (block->taken == block->length) spill_.pop();
  }
  has_spill_.store(false, std::memory_order_relaxed);
  return moved;
}

void Writer::hold_file_error(int code) noexcept {
  if (held_.load(std::memory_order_relaxed) != 0) return; // the first one counts
  Op op;
  op.holds_errors = true;
  judge(op, code, 0, true);
}

// One sync serves all who asked before it began.
bool Writer::start_sync(Carrier carrier) noexcept {
  const std::int64_t written = written_.load(std::memory_order_relaxed);
  const std::int64_t wanted = wanted_durable_.load(std::memory_order_acquire);
  const bool is_wanted = wanted > durable_.load(std::memory_order_relaxed) && written >= wanted;
  if (!is_wanted || file_->is_syncing() || sync_error_.load(std::memory_order_acquire) != 0) return false;
  syncs_begun_.fetch_add(1, std::memory_order_acq_rel);
  sync_reached_ = written;
  sync_bytes_ = written_bytes_.load(std::memory_order_relaxed);
  sync_asks_served_.store(sync_asks_.load(std::memory_order_acquire), std::memory_order_relaxed);
  file_->start_sync(carrier);
  return true;
}

bool Writer::end_requests(bool waits) noexcept {
  bool any = false;
  for (IoRequest *request = file_->reap(waits); request; request = file_->reap(false)) {
    any = true;
    if (request->kind == IoRequest::Kind::kSync) {
      end_sync(*request);
    } else {
      end_write(*request);
    }
  }
  return any;
}

void Writer::end_write(const IoRequest &request) noexcept {
  sink_write_.record(now_ns() - request.begin_ns);
  sink_writes_.fetch_add(1, std::memory_order_relaxed);
  if (const int code = file_->end_write(request)) hold_file_error(code);
  while (FlushBuffer<> *head = ring_.head()) {
    const unsigned index = head->index();
    if (!file_->is_begun(index)) return;
    const std::uint64_t before = ring_.head_taken();
    const std::uint64_t reached = file_->reached(index);
    if (reached > before) {
      ring_.take(reached - before);
      count_written(reached - before);
    }
    if (reached < head->length() || file_->is_under_way(index)) return;
    file_->retire(index);
    ring_.retire();
    look_at_pressure();
    waits_.signal(kForRoom);
  }
}

void Writer::end_sync(const IoRequest &request) noexcept {
  sync_.record(now_ns() - request.begin_ns);
  const int code = file_->end_sync(request);
  if (starts_again(code)) return; // it is still wanted
  if (code == -EOPNOTSUPP) {
    refuse_sync();
    return;
  }
  if (code) {
    fail_sync(code);
    return;
  }
  crowd_.store(sync_waiters_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  durable_.store(sync_reached_, std::memory_order_release);
  durable_bytes_.store(sync_bytes_, std::memory_order_relaxed);
  push_event(BW_EVENT_DURABLE, sync_reached_, 0, 0);
  level_moved(BW_DURABLE, sync_reached_);
}

// Sink. Returns once nothing is under way.
void Writer::settle_file() noexcept {
  while (file_->has_under_way()) end_requests(true);
}

// The same for a call that may not wait: false, if it would have to.
bool Writer::may_settle_file(Op &op) noexcept {
  end_requests(false);
  if (op.patience == Patience::kPoll && file_->has_under_way()) {
    const int level = file_->is_syncing() ? BW_DURABLE : BW_WRITTEN;
    op.why = pending_level(level, position(level) + 1);
    return false;
  }
  settle_file();
  return true;
}

// ---- Calls that need both rights ----

int Writer::sync_file(Op &op) noexcept {
  if (span_open_) return -EBUSY;
  if (closed_.load(std::memory_order_acquire)) return -ESHUTDOWN;
  if (const int code = reach(op, BW_DURABLE, tail())) return code;
  if (!file_->is_fresh()) return 0;
  if (const int code = acquire_usable_sink(op, false)) return code;
  const int code = has_file() ? sync_file_now() : 0;
  release_sink();
  return code;
}

// Sink; everything is written. A sync of its own, for what a new file needs though no byte was written.
int Writer::sync_file_now() noexcept {
  settle_file();
  if (const int code = sync_error_.load(std::memory_order_acquire)) return code;
  const std::uint64_t refusals = syncs_refused_.load(std::memory_order_acquire);
  raise_to(wanted_durable_, written_.load(std::memory_order_relaxed));
  do {
    if (!file_->is_fresh() && durable_.load(std::memory_order_relaxed) >= written_.load(std::memory_order_relaxed))
      return 0;
    if (!start_sync(Carrier::kCaller)) {
      syncs_begun_.fetch_add(1, std::memory_order_acq_rel);
      sync_reached_ = written_.load(std::memory_order_relaxed);
      sync_bytes_ = written_bytes_.load(std::memory_order_relaxed);
      file_->start_sync(Carrier::kCaller);
    }
    end_requests(true);
    if (syncs_refused_.load(std::memory_order_acquire) != refusals) return -EOPNOTSUPP;
  } while (sync_error_.load(std::memory_order_acquire) == 0);
  return sync_error_.load(std::memory_order_acquire);
}

// Pen and sink; everything is written.
std::int64_t Writer::seek_file(Op &op, std::int64_t offset, int whence) noexcept {
  if (!may_settle_file(op)) return -EAGAIN;
  const std::int64_t current = file_->is_append() ? read_position_ : end();
  const std::int64_t position = file_->seek(offset, whence, current);
  if (position >= 0) move_to(position);
  return position;
}

void Writer::move_to(std::int64_t position) noexcept {
  if (file_->is_append()) {
    read_position_ = position;
    return;
  }
  file_->forget();
  ring_.forget(position);
  cut(position, false);
}

std::int64_t Writer::read_file(Op &op, void *data, std::size_t length) noexcept {
  if (const int code = empty_all(op, false)) return code;
  std::int64_t answer = -EAGAIN;
  if (may_settle_file(op)) {
    const std::int64_t from = file_->is_append() ? read_position_ : end();
    answer = file_->read(data, length, from);
    if (answer > 0) move_to(from + answer);
  }
  release_both();
  return answer;
}

// Pen and sink; everything is written. A file is durable once it is closed, and if it cannot be that is said; a sync
// that fails here is final as any.
int Writer::close_file() noexcept {
  settle_file();
  const int synced = sync_error_.load(std::memory_order_acquire) == 0 ? sync_file_now() : 0;
  const int closed = file_->close();
  return closed == 0 && synced == -EOPNOTSUPP ? synced : closed;
}

// Pen and sink. The sink takes over from the file.
void Writer::leave_file() noexcept {
  settle_file();
  is_file_.store(false, std::memory_order_release);
  file_->leave();
}

// ---- BW_CALLER_DRIVEN ----

int Writer::make_bell() noexcept {
  if (const int code = bell_.adopt(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))) return code;
  if (linger_ns_ == 0) return 0;
  if (const int code = timer_.adopt(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK))) return code;
  if (const int code = both_.adopt(epoll_create1(EPOLL_CLOEXEC))) return code;
  for (const OwnedFd *fd : {&bell_, &timer_}) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (epoll_ctl(both_.number(), EPOLL_CTL_ADD, fd->number(), &event) != 0) return -errno;
  }
  return 0;
}

// In a forked child, where the numbers may be anybody's.
void Writer::abandon_file() noexcept {
  if (file_) file_->abandon();
  for (OwnedFd *fd : {&bell_, &timer_, &both_}) fd->abandon();
}

void Writer::ring_bell() noexcept {
  const std::uint64_t one = 1;
  if (!is_rung_.exchange(true, std::memory_order_acq_rel) && ::write(bell_.get(), &one, sizeof one) < 0) {
    // Full or gone: it is readable, or nobody looks.
  }
}

int Writer::event_fd() const noexcept {
  return is_caller_driven_ ? (linger_ns_ ? both_ : bell_).number() : -EOPNOTSUPP;
}

int Writer::poll_events() noexcept {
  if (!is_caller_driven_) return -EOPNOTSUPP;
  if (is_mine()) return -EDEADLK;
  std::uint64_t count;
  is_rung_.store(false, std::memory_order_seq_cst); // before the look at what there is
  if (::read(bell_.get(), &count, sizeof count) < 0) {
    // Nothing had rung.
  }
  drive_in_turn();
  return tell_here();
}

// One thread at a time is what our thread is elsewhere. Another only tells it to look once more.
void Writer::drive_in_turn() noexcept {
  for (;;) {
    std::uintptr_t nobody = 0;
    if (service_identity_.compare_exchange_strong(nobody, thread_identity(), std::memory_order_acq_rel)) {
      const std::uint64_t due = drive_without_waiting();
      if (linger_ns_) set_timer(due);
      service_identity_.store(0, std::memory_order_seq_cst);
      if (!looks_again_.exchange(false, std::memory_order_seq_cst)) return;
    } else {
      looks_again_.store(true, std::memory_order_seq_cst);
      if (service_identity_.load(std::memory_order_seq_cst) != 0) return;
    }
  }
}

// All that can be done now. Gives when to look again.
std::uint64_t Writer::drive_without_waiting() noexcept {
  std::uint64_t due = kNoDeadline;
  for (;;) {
    Op op;
    Pending idle;
    service_asks_.exchange(false, std::memory_order_acq_rel); // one thread drives at a time
    due = linger_ns_ ? serve_linger(op) : kNoDeadline;
    merge(idle, op.why);
    if (!unshared_) due = std::min(due, serve_notes(op));
    merge(idle, op.why);
    if (consume_one(op, false)) continue;
    merge(idle, op.why);
    if (is_left_to_others(idle)) return due;
  }
}

// What could not be done is left to who has the pen or the sink, or copies: he rings. False: it can be done now.
bool Writer::is_left_to_others(const Pending &idle) noexcept {
  if (idle.mask & kForCopies) {
    const bw_waker_t waker{look_again, this};
    waits_.take_back(waker); // it was for other copies
    if (waits_.add_waker(waker, {.mask = kForCopies, .buffer = idle.buffer, .goal = idle.goal})) ring_bell();
  }
  Pending rights = idle;
  rights.mask &= kForPen | kForSink;
  if (rights.mask == 0) return true;
  service_asks_.exchange(true, std::memory_order_acq_rel); // ring_if_asked() says why
  return is_pending(rights);
}

void Writer::look_again(void *writer) noexcept {
  --thread_state.callbacks_made; // none of the user's
  static_cast<Writer *>(writer)->ring_bell();
}

// By who gave back the pen or the sink. Acquire, release: pairs with is_left_to_others(). Whoever comes second there
// sees what the first one did.
void Writer::ring_if_asked() noexcept {
  if (is_caller_driven_ && service_asks_.exchange(false, std::memory_order_acq_rel)) ring_bell();
}

void Writer::set_timer(std::uint64_t due_ns) noexcept {
  itimerspec when{};
  if (due_ns != kNoDeadline) {
    when.it_value.tv_sec = static_cast<time_t>(due_ns / 1'000'000'000u);
    when.it_value.tv_nsec = static_cast<long>(due_ns % 1'000'000'000u);
  }
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

// Calls the callbacks that are due; how many. One thread at a time: what another finds is left to it.
int Writer::tell_here() noexcept {
  std::uintptr_t nobody = 0;
  if (!teller_.compare_exchange_strong(nobody, thread_identity(), std::memory_order_acq_rel)) return 0;
  const std::uint32_t before = thread_state.callbacks_made;
  deliver(true);
  const auto count = static_cast<int>(thread_state.callbacks_made - before);
  teller_.store(0, std::memory_order_release);
  if (has_something_to_tell()) ring_bell();
  return count;
}

// Waits by doing: what is waited for may be for nobody but us to do.
bool Writer::await_driving(Op &op, const Pending &why) noexcept {
  for (;;) {
    if (!is_pending(why)) return true;
    Op mine;
    if (consume_one(mine, true)) continue;
    Waiter waiter;
    waiter.why = why;
    if (mine.why.mask) merge(waiter.why, mine.why);
    waits_.add(waiter);
    const bool is_ready = is_pending(waiter.why) && sleep_until_fired(waiter, op.deadline_ns, -1);
    waits_.remove(waiter);
    if (!is_ready && has_passed(op.deadline_ns)) {
      op.timed_out = true;
      return !is_pending(why);
    }
  }
}

} // namespace bwlib
