// Flushing, closing, polling; waiting and telling; the thread of ours.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "batcher.h"

namespace bwlib {

// True in the sink's callbacks, and in those of ours: nothing waits there.
bool Batcher::is_inside() const noexcept {
  const std::uintptr_t me = thread_identity();
  return sink_owner_ == me || teller_ == me;
}

// ---- Rounds ----

// The oldest batch that is held, of those with an item up to `target`.
BatchBlock *Batcher::held(std::uint64_t target) const noexcept {
  for (BatchBlock *block = oldest_; block && block->first <= target; block = block->next) {
    if (block->life == BatchLife::kHeld) return block;
  }
  return nullptr;
}

// What is held may be offered again. False: there is nothing that may.
bool Batcher::start_round() noexcept {
  bool any = false;
  for (BatchBlock *block = oldest_; block; block = block->next) {
    if (block->life != BatchLife::kHeld || block->is_dead) continue;
    block->life = BatchLife::kWaiting;
    block->failures = 0;
    any = true;
  }
  if (any) kick();
  return any;
}

// The code of a batch that is held, if this call has to give it. A blocking call has started a round before.
int Batcher::look_at_held(Lock &lock, Call &call, std::uint64_t target) noexcept {
  const BatchBlock *block = held(target);
  if (block && call.is_poll && !block->is_dead && held_was_told_) {
    if (std::exchange(call.asked_again, true)) return 0;
    start_round();
    while (step(lock)) continue;
    block = held(target);
  }
  if (!block) return 0;
  held_was_told_ = true;
  return block->code;
}

// ---- Flush and close ----

// Sees to all that was accepted before; what was given up before does not count here.
int Batcher::do_flush(Lock &lock, Call &call) noexcept {
  if (!call.is_poll && is_inside()) return -EDEADLK;
  if (closed_) return -ESHUTDOWN;
  seal_if_any();
  const std::uint64_t target = sealed_items_;
  if (!call.is_poll) start_round();
  for (;;) {
    const bool has_moved = step(lock);
    if (const int code = look_at_held(lock, call, target)) return code;
    if (!oldest_ || oldest_->first > target) break;
    if (has_moved && !call.is_over()) continue;
    if (!wait(lock, call)) return call.give_up();
  }
  return sink_.flush ? flush_sink(lock, call) : 0;
}

int Batcher::flush_sink(Lock &lock, Call &call) noexcept {
  for (;;) {
    if (flush_pause_.is_over(wakes_)) {
      if (!take_sink(lock, call)) return call.give_up();
      int code = -EAGAIN;
      if (flush_pause_.is_over(wakes_)) { // else others have asked meanwhile
        const std::uint64_t wakes = wakes_; // one that comes during flush counts
        code = closed_ ? -ESHUTDOWN : call_flush(lock);
        flush_pause_ = code == -EAGAIN ? Pause{true, wakes, backoff_end(1)} : Pause{};
      }
      give_sink();
      if (code != -EAGAIN) return code;
    } else if (!step(lock) && !wait(lock, call)) {
      return call.give_up();
    }
  }
}

// Also tells, once, what was given up since this was told last.
int Batcher::do_flush_and_tell(Lock &lock, Call &call) noexcept {
  const int code = do_flush(lock, call);
  return code == 0 ? std::exchange(given_up_, 0) : code;
}

int Batcher::do_close(Lock &lock, Call &call) noexcept {
  if (!call.is_poll && is_inside()) return -EDEADLK;
  if (!closing_) {
    closing_ = true;
    if (filling_) seal_filling();
    changed(kForRoom);
  }
  if (closed_) return 0;
  if (const int code = do_flush(lock, call)) return code == -ESHUTDOWN && closed_ ? 0 : code;
  if (!take_sink(lock, call)) return call.give_up();
  const int given_up = std::exchange(given_up_, 0);
  const int code = closed_ ? 0 : close_sink(lock);
  give_sink();
  return given_up ? given_up : code;
}

int Batcher::flush(std::int64_t timeout_us) noexcept {
  Visit visit(*this);
  Call call{.is_poll = false, .kind = kForLevel, .deadline_ns = deadline_in(timeout_us)};
  return do_flush_and_tell(visit.lock(), call);
}

int Batcher::close(std::int64_t timeout_us) noexcept {
  Visit visit(*this);
  Call call{.is_poll = false, .kind = kForLevel, .deadline_ns = deadline_in(timeout_us)};
  return do_close(visit.lock(), call);
}

// ---- Polls ----

template <class Body>
int Batcher::poll(const bw_waker_t *wake, std::uint32_t kind, Body body) noexcept {
  Visit visit(*this);
  Call call{.is_poll = true, .kind = kind};
  const int code = body(visit.lock(), call);
  if (code != -EAGAIN || !wake) return code;
  // The mutex was not given up since the body's last look.
  if (const int failure = waits_.add_waker(*wake, pending(kind))) return failure;
  if (!call.is_pending) changed(kind); // a result that looks like one that is pending: the next poll will tell
  return code;
}

int Batcher::do_poll_ready(Lock &lock, Call &call) noexcept {
  if (closing_) return -ESHUTDOWN;
  if (make_room(lengths_.least)) return 0;
  while (!filling_ && step(lock)) continue;
  if (!closing_ && !filling_) {
    if (const int code = look_at_held(lock, call, kEverything)) return code;
  }
  if (closing_) return -ESHUTDOWN;
  return filling_ ? 0 : call.give_up();
}

int Batcher::poll_ready(const bw_waker_t *wake) noexcept {
  return poll(wake, kForRoom, [this](Lock &lock, Call &call) { return do_poll_ready(lock, call); });
}

int Batcher::poll_flush(const bw_waker_t *wake) noexcept {
  return poll(wake, kForLevel, [this](Lock &lock, Call &call) { return do_flush_and_tell(lock, call); });
}

int Batcher::poll_close(const bw_waker_t *wake) noexcept {
  return poll(wake, kForLevel, [this](Lock &lock, Call &call) { return do_close(lock, call); });
}

int Batcher::unwake(const bw_waker_t &wake) noexcept {
  return waits_.take_back(wake);
}

// The sink, or who asks it, says that it is worth another try.
int Batcher::wake() noexcept {
  Lock lock(mutex_);
  ++wakes_;
  start_round();
  kick();
  changed(kForRoom | kForLevel);
  tell(lock);
  return 0;
}

// ---- Waiting ----

bool Batcher::is_pending(const Pending &why) noexcept {
  if ((why.mask & kForRoom) && room_turns_.load(std::memory_order_acquire) != why.turn) return false;
  if ((why.mask & kForLevel) && level_turns_.load(std::memory_order_acquire) != why.turn) return false;
  if ((why.mask & kForService) && kicks_.load(std::memory_order_acquire) != why.kicks) return false;
  if ((why.mask & kForCopies) && why.buffer->has_reached(slots_, why.goal)) return false;
  if ((why.mask & kForCallback) && !waits_.is_called_elsewhere(why.waker)) return false;
  return true;
}

bool Batcher::check_pending(void *batcher, const Pending &why) noexcept {
  return static_cast<Batcher *>(batcher)->is_pending(why);
}

// What changes of that kind from now on. Under the mutex, after the last look.
Pending Batcher::pending(std::uint32_t kind) noexcept {
  const auto &turns = kind == kForRoom ? room_turns_ : level_turns_;
  return {.mask = kind, .turn = turns.load(std::memory_order_relaxed)};
}

// Sleeps until something changed that the call waits for. False: it may not, or its time is over.
bool Batcher::wait(Lock &lock, Call &call) noexcept {
  if (call.is_poll || call.is_over()) return false;
  const Pending why = pending(call.kind);
  lock.unlock();
  const bool has_changed = waits_.sleep(why, call.deadline_ns);
  lock.lock();
  return has_changed;
}

void Batcher::changed(std::uint32_t kinds) noexcept {
  if (kinds & kForRoom) room_turns_.fetch_add(1, std::memory_order_release);
  if (kinds & kForLevel) level_turns_.fetch_add(1, std::memory_order_release);
  waits_.set_stamp(++happened_);
  waits_.signal(kinds);
}

// There is, or may be, something for our thread to do. From any thread, with the mutex or without.
void Batcher::kick() noexcept {
  if (!has_service_) return;
  kicks_.fetch_add(1, std::memory_order_release);
  waits_.signal(kForService);
}

// ---- Telling ----

// Offers one batch and tells what is to be told. False: there was nothing.
bool Batcher::step(Lock &lock) noexcept {
  const bool has_driven = drive(lock, false);
  return tell(lock) || has_driven;
}

// What every call that may offer batches does at its end. Where others go on sealing it need not stay for ever: who is
// in such a call too does the same at his end, and looks now if he waits.
void Batcher::see_to_rest(Lock &lock) noexcept {
  for (std::uint32_t batches = 0; step(lock); ++batches) {
    if (batches < options_.buffers || visitors_.load(std::memory_order_relaxed) <= 1) continue;
    changed(kForRoom | kForLevel);
    return;
  }
}

// Calls what is due, one thread at a time. False: there was nothing, or it is not for this thread to do.
bool Batcher::tell(Lock &lock) noexcept {
  if (teller_ != 0 || sink_owner_ == thread_identity()) return false;
  teller_ = thread_identity();
  bool any = false;
  while (tell_one(lock)) any = true;
  teller_ = 0;
  return any;
}

// Items, an edge of pressure or a waker, whatever happened first.
bool Batcher::tell_one(Lock &lock) noexcept {
  BatchBlock *first = nullptr;
  std::uint64_t when = UINT64_MAX;
  for (BatchBlock *block = oldest_; block; block = block->next) {
    if (!block->has_to_tell() || block->fates[block->told].when >= when) continue;
    first = block;
    when = block->fates[block->told].when;
  }
  const bool is_edge = edge_.is_pending && edge_.when < when;
  if (is_edge) when = edge_.when;
  bw_waker_t waker;
  if (waits_.has_due() && waits_.next_due(waker, when)) {
    lock.unlock();
    waker.wake(waker.arg);
    waits_.call_ended();
    lock.lock();
  } else if (is_edge) {
    edge_.is_pending = false;
    const bool on = edge_.on;
    lock.unlock();
    options_.pressure(options_.arg, on);
    lock.lock();
  } else if (first) {
    tell_items(lock, *first);
  } else {
    return false;
  }
  return true;
}

// The next items of a batch that have the same fate.
void Batcher::tell_items(Lock &lock, BatchBlock &block) noexcept {
  await_copies(lock, block); // of what was discarded before it was offered
  const Fate fate = block.fates[block.told];
  if (options_.delivered) {
    lock.unlock();
    options_.delivered(options_.arg, block.items + block.told, fate.run, fate.code);
    lock.lock();
  }
  block.told += fate.run;
  if (block.told == block.count) block_is_told(block);
  changed(kForLevel);
}

void Batcher::block_is_told(BatchBlock &block) noexcept {
  const std::uint64_t begun_ns = block.begun_ns.load(std::memory_order_relaxed);
  in_batch_.record(block.sealed_ns - std::min(block.sealed_ns, begun_ns));
  to_delivered_.record(block.settled_ns - std::min(block.settled_ns, begun_ns));
  BatchBlock *before = nullptr;
  for (BatchBlock *each = oldest_; each != &block; each = each->next) before = each;
  (before ? before->next : oldest_) = block.next;
  if (newest_ == &block) newest_ = before;
  free_block(block);
}

// ---- Our thread ----

void *Batcher::service_main(void *batcher) noexcept {
  thread_state.is_service = true;
  static_cast<Batcher *>(batcher)->service();
  return nullptr;
}

// Seals what has lingered, and tries again what had to wait. In the background it is the one that calls write.
void Batcher::service() noexcept {
  Lock lock(mutex_);
  bool was_in_sink = false; // inline too, what others have sealed meanwhile was left to it
  while (!stop_) {
    const Pending idle{.mask = kForService, .kicks = kicks_.load(std::memory_order_acquire)};
    const std::uint64_t now = now_ns();
    if (linger_end() <= now) {
      filling_->is_timed = true;
      seal_filling();
    }
    if (retry_time() <= now) next_in_line()->is_timed = true;
    if (flush_pause_.not_before_ns != 0 && flush_pause_.not_before_ns <= now) {
      flush_pause_ = {};
      changed(kForLevel);
    }
    was_in_sink = (background_ || was_in_sink || has_timed()) && drive(lock, true);
    if (tell(lock) || was_in_sink) continue;
    const std::uint64_t flush_time = flush_pause_.not_before_ns ? flush_pause_.not_before_ns : kNoDeadline;
    const std::uint64_t end = std::min({linger_end(), retry_time(), flush_time});
    lock.unlock();
    waits_.sleep(idle, end);
    lock.lock();
  }
}

// When the filling batch is to be sealed.
std::uint64_t Batcher::linger_end() noexcept {
  const std::uint64_t begun_ns = filling_ && linger_ns_ ? filling_->begun_ns.load(std::memory_order_relaxed) : 0;
  return begun_ns ? begun_ns + linger_ns_ : kNoDeadline;
}

// When the batch that is next may be offered again. Who has the sink kicks our thread when he gives it back.
std::uint64_t Batcher::retry_time() noexcept {
  const BatchBlock *block = sink_owner_ == 0 && sink_waiters_ == 0 ? next_in_line() : nullptr;
  return block && block->pause.not_before_ns ? block->pause.not_before_ns : kNoDeadline;
}

// True if a batch waits that our thread has to see to, and so to all before it.
bool Batcher::has_timed() const noexcept {
  for (const BatchBlock *block = oldest_; block; block = block->next) {
    if (block->is_timed && block->life == BatchLife::kWaiting) return true;
  }
  return false;
}

} // namespace bwlib
