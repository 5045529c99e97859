// Waiting, telling, and the thread of ours.
#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "service_thread.h"
#include "writer.h"
#include "writer_run.h"

namespace bwlib {

namespace {

constexpr std::uint64_t kFirstRetryNs = 10'000'000;
constexpr std::uint64_t kLastRetryNs = 1'000'000'000;

} // namespace

// ---- Waiting ----

// True if none of what `why` names has changed: there is reason to go on waiting.
bool Writer::is_pending(const Pending &why) noexcept {
  const std::uint32_t mask = why.mask;
  if ((mask & kForPen) && (unshared_ || ring_.open_buffer().is_open())) return false;
  if ((mask & (kForRoom | kForLevel)) && turns_.load(std::memory_order_acquire) != why.turn) return false;
  if ((mask & kForRoom) && ring_.count() - ring_.in_use() >= why.buffers) return false;
  if ((mask & kForLevel) && position(why.level) >= why.position) return false;
  if ((mask & kForSink) && sink_owner_.load(std::memory_order_acquire) == 0 && may_take_sink(why.is_service))
    return false;
  if ((mask & kForReady) && wakes_.load(std::memory_order_acquire) != why.wakes) return false;
  if ((mask & kForCopies) && (unshared_ || why.buffer->has_reached(slots_, why.goal))) return false;
  if ((mask & kForService) && kicks_.load(std::memory_order_acquire) != why.kicks) return false;
  if ((mask & kForRescue) && rescuers_.load(std::memory_order_acquire) == 0) return false;
  if ((mask & kForStuck) && is_stuck()) return false;
  if ((mask & kForTold) && events_->told_number() >= why.events) return false;
  if ((mask & kForCallback) && !waits_.is_called_elsewhere(why.waker)) return false;
  return true;
}

bool Writer::check_pending(void *writer, const Pending &why) noexcept {
  return static_cast<Writer *>(writer)->is_pending(why);
}

Pending Writer::pending_copies(FlushBuffer<> &buffer, std::uint64_t fill) noexcept {
  return {.mask = kForCopies, .buffer = &buffer, .goal = buffer.goal(fill)};
}

// To be taken before what it is compared with is looked at, so that no change in between is missed.
Pending Writer::pending_level(int level, std::int64_t position) noexcept {
  return {.mask = kForLevel, .level = level, .position = position, .turn = turns_.load(std::memory_order_acquire)};
}

Patience Writer::blocking_patience() const noexcept {
  return nonblock_ || is_in_callback() ? Patience::kPoll : Patience::kWait;
}

// True once `why` is not pending any more. False: the op may not wait, or its time is over; op.why says for what.
bool Writer::await(Op &op, const Pending &why) noexcept {
  if (!is_pending(why)) return true;
  const bool is_sync = why.mask & kForLevel && why.level == BW_DURABLE; // takes longer than we would spin and yield
  if (!is_sync && waits_.spin(why)) return true;
  op.why = why;
  if (op.patience == Patience::kPoll) return false;
  if (is_caller_driven_) return await_driving(op, why);
  const int ready_fd = why.mask & kForReady ? ready_fd_.load(std::memory_order_relaxed) : -1;
  Waiter waiter;
  waiter.why = why;
  const bool ends_when_stuck = op.patience == Patience::kWaitForThreads;
  if (ends_when_stuck) waiter.why.mask |= kForStuck;
  const auto has_come = [&] { return !ends_when_stuck || !is_pending(why); };
  if (!is_sync && waits_.yield_a_while(waiter.why)) return has_come();
  for (;;) {
    waits_.add(waiter);
    const bool is_ready = is_pending(waiter.why) && sleep_until_fired(waiter, op.deadline_ns, ready_fd);
    waits_.remove(waiter);
    if (is_ready || !is_pending(waiter.why)) return has_come();
    if (has_passed(op.deadline_ns)) {
      op.timed_out = true;
      return false;
    }
  }
}

// The sink is ready, says somebody who may be inside it.
int Writer::wake() noexcept {
  wakes_.fetch_add(1, std::memory_order_acq_rel);
  waits_.signal(kForReady);
  kick();
  deliver(false);
  return 0;
}

int Writer::unwake(const bw_waker_t &waker) noexcept {
  return is_mine() ? -EDEADLK : waits_.take_back(waker);
}

// ---- Telling ----

void Writer::push_event(std::uint32_t kind, std::int64_t position, std::uint64_t length, int code) noexcept {
  if (events_) events_->push({kind, code, position, length, 0});
}

void Writer::tell_event(const bw_event_t &event) noexcept {
  ++thread_state.callback_depth;
  on_event_(event_arg_, &event);
  --thread_state.callback_depth;
}

// Pressure is by what is handed on and not taken: the part-filled buffer does not count.
void Writer::look_at_pressure() noexcept {
  if (!events_ || inline_) return;
  const std::lock_guard lock(floor_mutex_); // so that edges are queued in the order they came
  const std::uint64_t use = std::uint64_t{ring_.in_use()} * 100;
  if (!pressure_ && use >= std::uint64_t{high_percent_} * ring_.count()) {
    pressure_ = true;
    push_event(BW_EVENT_PRESSURE_ON, written_.load(std::memory_order_relaxed), 0, 0);
  } else if (pressure_ && use <= std::uint64_t{low_percent_} * ring_.count()) {
    pressure_ = false;
    push_event(BW_EVENT_PRESSURE_OFF, written_.load(std::memory_order_relaxed), 0, 0);
  }
}

void Writer::level_moved(int level, std::int64_t position) noexcept {
  notes_.settle(level, position, 0);
  waits_.signal(kForLevel);
  if (notes_.has_due()) kick();
}

void Writer::look_at_accepted() noexcept {
  if (notes_.lowest(BW_ACCEPTED) != INT64_MAX) notes_.settle(BW_ACCEPTED, position(BW_ACCEPTED), 0);
  waits_.signal(kForLevel);
  if (notes_.has_due() || notes_.lowest(BW_DURABLE) != INT64_MAX) kick_from_outside();
}

// Notes that are reached are answered with 0, the others with `code`.
void Writer::settle_notes(int code) noexcept {
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
    notes_.settle(level, position(level), 0);
    notes_.cancel(level, INT64_MIN, code);
  }
  if (notes_.has_due()) kick();
}

// Calls what is due. With the pen or the sink in hand nothing: who took them delivers after he gave them back.
void Writer::deliver(bool notes) noexcept {
  if (is_caller_driven_ && teller_.load(std::memory_order_relaxed) != thread_identity()) {
    if (has_something_to_tell()) ring_bell();
    return;
  }
  if (waits_.has_due() || (events_ && !events_->empty())) deliver_events_and_wakers();
  if (notes && notes_.has_due()) deliver_notes();
}

bool Writer::has_something_to_tell() noexcept {
  return waits_.has_due() || notes_.has_due() || (events_ && !events_->empty());
}

// One thread at a time; what comes up meanwhile it tells too, so that callbacks never nest or overlap.
void Writer::deliver_events_and_wakers() noexcept {
  if (is_mine()) return;
  const auto has_work = [this] { return waits_.has_due() || (events_ && !events_->empty()); };
  while (has_work() && !telling_.exchange(true, std::memory_order_seq_cst)) {
    EventQueue::Event event;
    while (events_ && events_->pop(event)) {
      ++thread_state.callbacks_made;
      tell_event({sizeof(bw_event_t), event.kind, event.position, event.length, nullptr, event.code, 0});
      events_->told(event);
      waits_.signal(kForTold);
    }
    bw_waker_t waker;
    while (waits_.next_due(waker)) {
      ++thread_state.callbacks_made;
      ++thread_state.callback_depth;
      waker.wake(waker.arg);
      --thread_state.callback_depth;
      waits_.call_ended();
    }
    // Read-modify-write: what others add before this they left to us, and has_work() sees it; after it they tell
    // themselves.
    telling_.exchange(false, std::memory_order_acq_rel);
  }
}

// Returns once on_event has heard all that happened so far, from whatever thread. (In a callback it cannot wait.)
void Writer::await_told() noexcept {
  if (!events_ || is_mine() || is_in_callback() || is_caller_driven_) return;
  deliver(false);
  Op op;
  op.patience = Patience::kWait;
  await(op, {.mask = kForTold, .events = events_->last_number()});
}

// By our thread, or where the owner tells them by the owner; never nested.
void Writer::deliver_notes() noexcept {
  if (telling_notes_ || is_mine()) return;
  telling_notes_ = true;
  Note note;
  while (notes_.next_due(note)) {
    ++thread_state.callbacks_made;
    ++thread_state.callback_depth;
    note.done(note.arg, note.code);
    --thread_state.callback_depth;
  }
  telling_notes_ = false;
}

int Writer::notify(std::int64_t position, int level, void (*done)(void *, int), void *arg) noexcept {
  if (is_mine()) return -EDEADLK;
  if (level == BW_DURABLE && !can_sync()) return -EOPNOTSUPP;
  if (closed_.load(std::memory_order_acquire) && this->position(level) < position) return -ESHUTDOWN;
  if (!unshared_ && !is_caller_driven_) {
    if (const int code = ensure_service()) return code;
  }
  if (const int code = notes_.add(position, level, done, arg)) return code;
  notes_.settle(level, this->position(level), 0);
  if (const int code = wait_error(level)) notes_.cancel(level, this->position(level), code);
  kick();
  return 0;
}

// BW_UNSHARED: the owner's calls see to what was promised to be durable.
void Writer::serve_own_notes(Op &op) noexcept {
  const std::int64_t written = written_.load(std::memory_order_relaxed);
  if (!unshared_ || !notes_.has_any_up_to(BW_DURABLE, written)) return;
  if (sync_until(op, written, 0) == -EOPNOTSUPP) notes_.cancel(BW_DURABLE, INT64_MIN, -EOPNOTSUPP);
}

// ---- Our thread ----

int Writer::ensure_service() noexcept {
  if (has_service_.load(std::memory_order_acquire)) return 0;
  const std::lock_guard lock(service_mutex_);
  if (has_service_.load(std::memory_order_relaxed)) return 0;
  if (stop_.load(std::memory_order_relaxed)) return -ESHUTDOWN; // bw_free
  if (const int code = start_thread(service_thread_, "bw-writer", service_main, this)) return code;
  has_service_.store(true, std::memory_order_release);
  return 0;
}

void Writer::stop_service() noexcept {
  if (!has_service_.load(std::memory_order_acquire)) {
    stop_.store(true, std::memory_order_release);
    if (!is_caller_driven_) return;
  }
  if (!inline_) {
    Op op;
    if (take_pen(op, true) == 0) {
      if (ring_.has_bytes()) hand_on();
      release_pen();
    }
    if (is_caller_driven_) {
      consume(op);
      return;
    }
  }
  stop_.store(true, std::memory_order_release);
  kick();
  pthread_join(service_thread_, nullptr);
  has_service_.store(false, std::memory_order_relaxed);
}

void *Writer::service_main(void *writer) noexcept {
  thread_state.is_service = true;
  static_cast<Writer *>(writer)->service();
  return nullptr;
}

// There is, or may be, something for our thread to do.
void Writer::kick() noexcept {
  kicks_.fetch_add(1, std::memory_order_acq_rel);
  waits_.signal(kForService);
  if (is_caller_driven_) ring_bell();
}

// The same for what our thread sees anyhow before it sleeps: if it is the one that calls, it need not look again.
void Writer::kick_from_outside() noexcept {
  if (service_identity_.load(std::memory_order_relaxed) != thread_identity()) kick();
}

void Writer::arm_linger() noexcept {
  if (!linger_armed_.load(std::memory_order_relaxed) && !linger_armed_.exchange(true, std::memory_order_seq_cst))
    kick_from_outside();
}

// Does all that can be done without waiting, then sleeps until something changed that it could not do.
void Writer::service() noexcept {
  service_identity_.store(thread_identity(), std::memory_order_relaxed);
  for (;;) {
    Op op;
    Pending idle{.mask = kForService, .kicks = kicks_.load(std::memory_order_acquire)};
    const bool is_last = stop_.load(std::memory_order_acquire);
    std::uint64_t deadline = kNoDeadline;
    if (linger_ns_) {
      op.why = {};
      deadline = std::min(deadline, serve_linger(op));
      merge(idle, op.why);
    }
    if (!unshared_) {
      deadline = std::min(deadline, serve_notes(op));
      merge(idle, op.why);
    }
    if (!inline_) { // last: what was handed on or asked for above is done here
      op.why = {};
      consume(op);
      merge(idle, op.why);
    }
    if (is_last) return;
    const std::uint32_t callbacks = thread_state.callbacks_made;
    deliver(!unshared_);
    if (thread_state.callbacks_made != callbacks) continue; // what they wrote we did not tell ourselves
    // Only now, and until consume_one() has had a try: while we are in a callback nobody may have to wait for our turn.
    if (!inline_ && (idle.mask & kForSink)) service_asks_.store(true, std::memory_order_seq_cst);
    if (waits_.yield_a_while(idle)) continue;
    Waiter waiter;
    waiter.why = idle;
    const int ready_fd = idle.mask & kForReady ? ready_fd_.load(std::memory_order_relaxed) : -1;
    waits_.add(waiter);
    if (is_pending(idle) && sleep_until_fired(waiter, deadline, ready_fd))
      wakes_.fetch_add(1, std::memory_order_acq_rel);
    waits_.remove(waiter);
  }
}

// Our thread waits for all of several things at once.
void Writer::merge(Pending &idle, const Pending &why) noexcept {
  idle.mask |= why.mask;
  if (why.mask & kForSink) idle.is_service = true;
  if (why.mask & kForReady) {
    idle.wakes = why.wakes;
    idle.for_read = why.for_read;
  }
  if (why.mask & (kForLevel | kForRoom)) idle.turn = why.turn;
  if (why.mask & kForLevel) {
    idle.level = why.level;
    idle.position = why.position;
  }
  if (why.mask & kForCopies) {
    idle.buffer = why.buffer;
    idle.goal = why.goal;
  }
}

void Writer::consume(Op &op) noexcept {
  while (consume_one(op, true)) deliver(!unshared_);
}

// Gives the sink the oldest sealed buffer (and what was spilled before it). False: nothing more can be done now;
// op.why says what would change that.
bool Writer::consume_one(Op &op, bool waits) noexcept {
  op.why = {};
  if (has_file()) {
    if (waits) gather();
    seal_wanted();
  }
  const bool has_sink = has_work_for_sink(op) && try_sink();
  if (!is_caller_driven_ && service_asks_.exchange(false, std::memory_order_acq_rel) && !has_sink)
    waits_.signal(kForSink);
  if (!has_sink) return false;
  op.why = {};
  if (has_file()) {
    const bool moved = drive(op, waits ? Carrier::kMixed : Carrier::kEngine, waits);
    release_sink();
    return moved;
  }
  op.holds_errors = true;
  const int code = held_.load(std::memory_order_acquire) ? -EAGAIN : consume_head(op);
  op.holds_errors = false;
  if (op.why.mask & kForReady) {
    not_ready_wakes_.store(op.why.wakes, std::memory_order_relaxed);
    sink_not_ready_.store(true, std::memory_order_seq_cst);
    if (rescuers_.load(std::memory_order_seq_cst) > 0) { // see stands_aside()
      turns_.fetch_add(1, std::memory_order_acq_rel);
      waits_.signal(kForRoom | kForLevel);
    }
    waits_.signal(kForStuck);
  }
  release_sink();
  return code == 0;
}

// Whether our thread needs the sink. If so, or if it will when something changes, op.why says what it waits for.
bool Writer::has_work_for_sink(Op &op) noexcept {
  if (has_file()) {
    if (!has_file_work()) return false;
    op.why = {.mask = kForSink, .is_service = true};
    return true;
  }
  FlushBuffer<> *head = ring_.head();
  if ((!head && !has_spill_.load(std::memory_order_acquire)) || held_.load(std::memory_order_acquire)) return false;
  if (is_stuck()) {
    op.why = {.mask = kForReady, .wakes = not_ready_wakes_.load(std::memory_order_relaxed)};
    return false;
  }
  sink_not_ready_.store(false, std::memory_order_relaxed);
  if (head) waits_.spin(pending_copies(*head, head->length())); // most copies end in a moment
  op.why = {.mask = kForSink, .is_service = true};
  return true;
}

// How far a sealed buffer may be written: all of it; or, while a span in it is open, what is before the span (rule 6:
// nobody waits for a span behind his range). A copy under way ends in a moment and is waited for: op.why.
std::uint64_t Writer::ready_end(Op &op, FlushBuffer<> &buffer) noexcept {
  const Pending copies = pending_copies(buffer, buffer.length());
  if (!is_pending(copies)) return buffer.length();
  op.why = copies;
  if (open_spans_.load(std::memory_order_acquire) == 0) return 0;
  const std::int64_t accepted = position(BW_ACCEPTED) - buffer.position();
  return accepted > 0 ? std::min(buffer.length(), static_cast<std::uint64_t>(accepted)) : 0;
}

// Sink. The head is looked up anew: somebody may have discarded it before we got the sink.
int Writer::consume_head(Op &op) noexcept {
  if (const int code = push_spill(op, ring_.retired())) return code;
  FlushBuffer<> *head = ring_.head();
  if (!head) return 0;
  head->begin_flight();
  const std::uint64_t before = ring_.head_taken();
  const std::uint64_t limit = ready_end(op, *head);
  const bool is_whole = limit == head->length();
  if (limit <= before && !is_whole) return -EAGAIN;
  std::uint64_t taken;
  const int code = push_bytes(op, head->data() + before, limit - before, taken);
  ring_.take(taken);
  if (code || !is_whole) return code;
  ring_.retire();
  look_at_pressure();
  waits_.signal(kForRoom);
  return 0;
}

// Hands on, or writes, what has waited long enough. Gives when to look again.
std::uint64_t Writer::serve_linger(Op &op) noexcept {
  if (!linger_armed_.load(std::memory_order_acquire)) return kNoDeadline;
  const std::uint64_t now = now_ns();
  const std::uint64_t mark = inline_ ? static_cast<std::uint64_t>(written_.load(std::memory_order_relaxed))
                                     : ring_.sealed();
  if (linger_due_ns_ == kNoDeadline || mark != linger_mark_) {
    // Armed just now, or what it was armed for has gone and younger bytes came.
    linger_mark_ = mark;
    linger_due_ns_ = now + linger_ns_;
  }
  if (now < linger_due_ns_) return linger_due_ns_;
  linger_armed_.exchange(false, std::memory_order_seq_cst); // before the look at what there is
  linger_due_ns_ = kNoDeadline;
  const int code = hand_on_lingering(op);
  if (code == 0 || code == -ESHUTDOWN) {
    retry_ns_ = 0;
    return kNoDeadline;
  }
  linger_armed_.store(true, std::memory_order_release);
  linger_mark_ = inline_ ? static_cast<std::uint64_t>(written_.load(std::memory_order_relaxed)) : ring_.sealed();
  if (code == -EAGAIN) {
    linger_due_ns_ = now; // as soon as what it waits for has changed
    return kNoDeadline;
  }
  retry_ns_ = std::clamp(retry_ns_ * 2, std::max(kFirstRetryNs, linger_ns_), std::max(kLastRetryNs, linger_ns_));
  linger_due_ns_ = now + retry_ns_;
  return linger_due_ns_;
}

int Writer::hand_on_lingering(Op &op) noexcept {
  if (inline_) return flush_bytes(op, tail());
  if (const int code = take_pen(op)) return code;
  if (ring_.has_bytes() && refusal() == 0) hand_on();
  release_pen();
  return 0;
}

// Shared writers: syncs for who was promised to hear of it. Gives when to try again.
std::uint64_t Writer::serve_notes(Op &op) noexcept {
  op.why = {};
  if (!notes_.has_any_up_to(BW_DURABLE, tail()) || error() != 0) return kNoDeadline;
  if ((notes_wait_.mask & kForReady) && is_pending(notes_wait_)) { // it is asked again after bw_wake()
    op.why = notes_wait_;
    return kNoDeadline;
  }
  const std::uint64_t now = now_ns();
  if (now < notes_due_ns_) return notes_due_ns_;
  const int code = sync_until(op, tail(), 0);
  notes_wait_ = {};
  if (code == -EAGAIN && op.why.mask == kForReady && !inline_) notes_wait_ = op.why; // inline remembers nothing
  if (code == -EOPNOTSUPP) notes_.cancel(BW_DURABLE, INT64_MIN, code);
  if (code == 0 || code == -EAGAIN || code == -EOPNOTSUPP) {
    notes_retry_ns_ = notes_due_ns_ = 0;
    return kNoDeadline;
  }
  notes_retry_ns_ = std::clamp(notes_retry_ns_ * 2, kFirstRetryNs, kLastRetryNs);
  notes_due_ns_ = now + notes_retry_ns_;
  return notes_due_ns_;
}

// ---- Statistics ----

void Writer::get_stats(bw_stats_t &stats) noexcept {
  stats = {};
  stats.size = sizeof stats;
  stats.written_bytes = written_bytes_.load(std::memory_order_relaxed);
  stats.accepted_bytes = stats.written_bytes + buffered() + discarded_bytes_.load(std::memory_order_relaxed);
  stats.durable_bytes = durable_bytes_.load(std::memory_order_relaxed);
  stats.writes = unshared_ ? own_writes_.load(std::memory_order_relaxed) : slots_.writes();
  stats.sink_writes = sink_writes_.load(std::memory_order_relaxed);
  stats.bypasses = bypasses_.load(std::memory_order_relaxed);
  stats.flushes = flushes_.load(std::memory_order_relaxed);
  stats.syncs = syncs_begun_.load(std::memory_order_relaxed);
  stats.waits = waits_for_room_.load(std::memory_order_relaxed);
  stats.errors = errors_.load(std::memory_order_relaxed);
  stats.resumes = resumes_.load(std::memory_order_relaxed);
  stats.buffers = ring_.count();
  stats.buffers_in_use = ring_.in_use();
  if (file_) {
    stats.engine = file_->engine();
    stats.direct = file_->is_direct();
    stats.registered_buffers = file_->has_registered_buffers();
  }
  stats.own_slots = !unshared_ && has_process_barrier();
  stats.write_wait = write_wait_.read();
  stats.sink_write = sink_write_.read();
  stats.sync = sync_.read();
}

} // namespace bwlib
