// Offering batches to the sink, and what its answers mean.
#include <algorithm>
#include <cerrno>

#include "batcher.h"
#include "guarded.h"

namespace bwlib {

namespace {

bool is_final(int code) noexcept {
  return code < -BW_FINAL;
}

} // namespace

// ---- The sink ----

// Waits for the sink as the call allows. Who waits comes before the next batch.
bool Batcher::take_sink(Lock &lock, Call &call) noexcept {
  ++sink_waiters_;
  bool is_free = sink_owner_ == 0;
  while (!is_free && wait(lock, call)) is_free = sink_owner_ == 0;
  --sink_waiters_;
  if (is_free) {
    sink_owner_ = thread_identity();
  } else {
    kick(); // our thread stood back
  }
  return is_free;
}

// Whoever took it looks afterwards at what others sealed meanwhile.
void Batcher::give_sink() noexcept {
  sink_owner_ = 0;
  changed(kForLevel);
  kick();
}

// By the owner of the sink.
int Batcher::call_flush(Lock &lock) noexcept {
  int code;
  while ((code = call_sink(lock, sink_.flush)) == -EINTR) continue;
  return code;
}

// flush or close, by the owner of the sink.
int Batcher::call_sink(Lock &lock, int (*callback)(void *)) noexcept {
  lock.unlock();
  const int code = guarded([&] { return callback(ctx_); });
  lock.lock();
  return code > 0 ? -EPROTO : code;
}

int Batcher::close_sink(Lock &lock) noexcept {
  const int code = sink_.close ? call_sink(lock, sink_.close) : 0;
  closed_ = true;
  return code;
}

// ---- Offering ----

// Offers one batch, if there is one to be offered now. Who finds the sink taken need not wait: its owner looks again.
bool Batcher::drive(Lock &lock, bool is_service) noexcept {
  if (sink_owner_ != 0 || sink_waiters_ != 0 || (background_ && !is_service)) return false;
  BatchBlock *block = next_in_line();
  if (!block || !block->pause.is_over(wakes_)) return false;
  sink_owner_ = thread_identity();
  offer(lock, *block);
  give_sink();
  return true;
}

// The batch that has to be offered before any other, though perhaps not yet.
BatchBlock *Batcher::next_in_line() noexcept {
  if (taken_batches_ >= options_.max_in_flight) return nullptr;
  for (BatchBlock *block = oldest_; block; block = block->next) {
    if (block->life == BatchLife::kSettled) continue;
    if (!block->is_in_flight()) return block->life == BatchLife::kWaiting ? block : nullptr;
    if (block->is_split) return nullptr;
  }
  return nullptr;
}

// By the owner of the sink.
void Batcher::offer(Lock &lock, BatchBlock &block) noexcept {
  block.life = BatchLife::kOffered; // nobody settles it while the mutex is given up
  await_copies(lock, block);
  offering_ = &block;
  ++block.attempt;
  block.pause.wakes = wakes_; // one that comes during write counts
  block.is_retry = block.has_failed;
  retries_ += block.is_retry;
  lock.unlock();
  const int code = guarded([&] { return sink_.write(ctx_, reinterpret_cast<bw_batch_view_t *>(&block)); });
  lock.lock();
  if (offering_ != &block) return; // bw_batch_done() was quicker, and the block may be another batch by now
  offering_ = nullptr;
  if (code == BW_BATCH_TAKEN) {
    block.life = BatchLife::kTaken;
    ++taken_batches_;
    taken_items_ += block.part();
  } else if (code == -EINTR) {
    was_not_asked(block);
    await_offer(block); // again at once
  } else {
    answer(block, code);
  }
}

// Returns once every item of the batch is copied in. Only copies are waited for, never user code.
void Batcher::await_copies(Lock &lock, BatchBlock &block) noexcept {
  if (block.is_copied) return;
  if (!unshared_ && !block.buffer.all_committed(slots_, block.count)) {
    const Pending why{.mask = kForCopies, .buffer = &block.buffer, .goal = block.buffer.goal(block.count)};
    lock.unlock();
    waits_.sleep(why, kNoDeadline);
    lock.lock();
  }
  block.is_copied = true;
}

// ---- Answers ----

int Batcher::done(BatchBlock &block, int code, const int *codes) noexcept {
  Batcher &batcher = *block.owner;
  batcher.inside_.fetch_add(1, std::memory_order_relaxed);
  const int result = batcher.take_answer(block, code, codes);
  batcher.inside_.fetch_sub(1, std::memory_order_release); // partner: finish(), which frees all this
  return result;
}

int Batcher::take_answer(BatchBlock &block, int code, const int *codes) noexcept {
  Lock lock(mutex_);
  const bool is_taken = block.life == BatchLife::kTaken;
  if (!is_taken && offering_ != &block) return -EINVAL;
  if (codes ? std::any_of(codes, codes + block.part(), [](int each) { return each > 0; }) : code > 0) return -EINVAL;
  if (is_taken) {
    --taken_batches_;
    taken_items_ -= block.part();
  } else {
    offering_ = nullptr;
  }
  if (codes) {
    answer_each(block, codes);
  } else {
    answer(block, code);
  }
  kick();
  changed(kForRoom | kForLevel); // who waits may drive again
  tell(lock);
  return 0;
}

// One answer for the part that was offered.
void Batcher::answer(BatchBlock &block, int code) noexcept {
  await_offer(block);
  if (code > 0) code = -EPROTO;
  if (code == 0) {
    settle(block, block.part(), 0, Reason::kDelivered);
  } else if (code == BW_ESINK) {
    block.is_dead = true;
    hold(block, code);
  } else if (code == -EAGAIN) {
    was_not_asked(block);
    not_ready(block);
  } else if (!is_final(code)) {
    failed(block, code);
  } else if (block.part() > 1 && options_.flags & BW_BATCH_BISECT) {
    halve(block);
  } else {
    settle(block, block.part(), code + BW_FINAL, Reason::kGivenUp);
  }
}

// An answer for each item. Those that are settled move to the front; the others stay together as a smaller part.
void Batcher::answer_each(BatchBlock &block, const int *codes) noexcept {
  const std::uint32_t count = block.part();
  int failure = 0; // of the first item that failed
  bool is_dead = false;
  for (const int *code = codes; code != codes + count; ++code) {
    is_dead |= *code == BW_ESINK;
    if (*code < 0 && *code != -EAGAIN && !is_final(*code) && failure == 0) failure = *code;
  }
  const bool is_over = failure != 0 && !is_dead && block.failures >= options_.retries;
  const bool gives_up = is_over && options_.when_failed == BW_FAILED_GIVE_UP;
  const auto settles = [gives_up](int code) {
    return code == 0 || is_final(code) || (gives_up && code != -EAGAIN);
  };
  const bool is_any_settled = std::any_of(codes, codes + count, settles);
  if (is_any_settled) split(block);
  std::uint32_t kept = is_any_settled ? 0 : count;
  std::uint32_t settled = block.settled;
  for (std::uint32_t index = 0; is_any_settled && index < count; ++index) {
    const std::uint32_t from = block.settled + index;
    const int code = codes[index];
    if (settles(code)) {
      block.items[settled] = block.items[from];
      block.fates[settled++].code = is_final(code) ? code + BW_FINAL : code;
    } else {
      scratch_[kept] = block.items[from];
      scratch_indexes_[kept++] = block.fates[from].index;
    }
  }
  for (std::uint32_t index = 0; is_any_settled && index < kept; ++index) {
    block.items[settled + index] = scratch_[index];
    block.fates[settled + index].index = scratch_indexes_[index];
  }
  await_offer(block);
  while (block.settled < settled) {
    const int code = block.fates[block.settled].code;
    std::uint32_t run = 1;
    while (block.settled + run < settled && block.fates[block.settled + run].code == code) ++run;
    settle(block, run, code, code == 0 ? Reason::kDelivered : Reason::kGivenUp);
  }
  if (kept == 0) return;
  if (is_dead) {
    block.is_dead = true;
    hold(block, BW_ESINK);
  } else if (failure != 0 && !gives_up) {
    failed(block, failure);
  } else { // what is left was not ready
    if (is_any_settled) {
      --block.attempt;
      block.failures = 0; // those that failed are gone
      block.has_failed = false;
    } else {
      was_not_asked(block);
    }
    not_ready(block);
  }
}

// Nothing came of the offer yet: the part waits to be offered, at once unless somebody says otherwise.
void Batcher::await_offer(BatchBlock &block) noexcept {
  block.life = BatchLife::kWaiting;
  block.pause.needs_wake = false;
  block.pause.not_before_ns = 0;
}

// -EAGAIN and -EINTR do not count as an offer.
void Batcher::was_not_asked(BatchBlock &block) noexcept {
  --block.attempt;
  retries_ -= block.is_retry;
}

// The sink failed: again after a while, or what `when_failed` says.
void Batcher::failed(BatchBlock &block, int code) noexcept {
  block.has_failed = true;
  if (++block.failures <= options_.retries) {
    block.pause.not_before_ns = backoff_end(block.failures);
    kick();
  } else if (options_.when_failed == BW_FAILED_GIVE_UP) {
    settle(block, block.part(), code, Reason::kGivenUp);
  } else {
    hold(block, code);
  }
}

// The sink is not ready: after bw_batch_wake(), or a while.
void Batcher::not_ready(BatchBlock &block) noexcept {
  block.pause.needs_wake = true;
  block.pause.not_before_ns = backoff_end(1);
  kick();
}

void Batcher::hold(BatchBlock &block, int code) noexcept {
  block.life = BatchLife::kHeld;
  block.code = code;
  held_was_told_ = false;
  changed(kForRoom | kForLevel);
}

// Refused whole: one of its items may be the culprit.
void Batcher::halve(BatchBlock &block) noexcept {
  split(block);
  const std::uint32_t half = block.settled + block.part() / 2;
  block.ends[++block.depth] = half;
  new_part(block);
}

void Batcher::new_part(BatchBlock &block) noexcept {
  block.attempt = block.failures = 0;
  block.has_failed = false;
}

// Its items are not next to each other in number any more, or its parts go one by one.
void Batcher::split(BatchBlock &block) noexcept {
  if (block.is_split) return;
  block.is_split = true;
  for (std::uint32_t index = block.settled; index < block.count; ++index) block.fates[index].index = index;
}

// ---- Settling ----

// The first `count` of what is not settled of a batch.
void Batcher::settle(BatchBlock &block, std::uint32_t count, int code, Reason reason) noexcept {
  const std::uint32_t from = block.settled;
  Fate &fate = block.fates[from];
  fate.run = count;
  fate.code = code;
  fate.when = ++happened_;
  settled_items_ += count;
  if (reason == Reason::kDelivered) {
    delivered_items_ += count;
    block.delivered += count;
    delivered_bytes_ += block.bytes_of(from, count);
  } else if (reason == Reason::kDropped) {
    dropped_items_ += count;
  } else {
    given_up_items_ += count;
    if (given_up_ == 0) given_up_ = code;
  }
  block.settled += count;
  while (block.depth > 0 && block.settled >= block.end()) {
    --block.depth;
    new_part(block);
  }
  if (block.settled < block.count) return;
  block.life = BatchLife::kSettled;
  --open_batches_;
  if (block.delivered) {
    ++delivered_batches_;
    largest_batch_ = std::max<std::uint64_t>(largest_batch_, block.delivered);
  }
  block.settled_ns = now_ns();
  look_at_pressure();
  kick(); // what is behind it is next
}

// All that is not in flight.
std::int64_t Batcher::discard() noexcept {
  Lock lock(mutex_);
  seal_if_any();
  std::int64_t count = 0;
  for (BatchBlock *block = oldest_; block; block = block->next) {
    if (!block->is_waiting()) continue;
    const std::uint32_t left = block->count - block->settled;
    settle(*block, left, -ECANCELED, Reason::kDropped);
    count += left;
  }
  tell(lock);
  return count;
}

// When a back-off that begins now is over; 0: there is none. Twice as long each time, give or take a fifth, so that many
// who failed together do not come back together.
std::uint64_t Batcher::backoff_end(std::uint32_t failures) noexcept {
  if (backoff_ns_ == 0) return 0;
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  const unsigned shift = std::min(failures - 1, 10u);
  constexpr std::uint64_t kMost = UINT64_MAX / 4; // so that it can be added to the time
  const std::uint64_t base = backoff_ns_ > kMost >> shift ? kMost : backoff_ns_ << shift;
  return now_ns() + base / 5 * 4 + random_ % (base / 5 * 2 + 1);
}

} // namespace bwlib
