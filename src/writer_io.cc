// The sink: giving it bytes, flush, sync, seek, read, close; and what its failures mean.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "writer.h"
#include "writer_run.h"

namespace bwlib {

// ---- The right to call the sink ----

// Background: our thread and the others take turns while both ask, so that neither starves however busy the other is.
// Whoever stops asking without having had the sink signals kForSink. With BW_CALLER_DRIVEN there is no thread of ours:
// who asks drives.
bool Writer::may_take_sink(bool is_service) const noexcept {
  if (inline_ || is_caller_driven_) return true;
  const bool was_service = was_service_.load(std::memory_order_acquire);
  if (is_service) return !was_service || sink_askers_.load(std::memory_order_acquire) == 0;
  return was_service || !service_asks_.load(std::memory_order_acquire);
}

bool Writer::try_sink() noexcept {
  const std::uintptr_t me = thread_identity();
  const bool is_service = me == service_identity_.load(std::memory_order_relaxed);
  std::uintptr_t nobody = 0;
  // Acquire: pairs with release_sink(); what the last owner changed is seen.
  if (!may_take_sink(is_service) || !sink_owner_.compare_exchange_strong(nobody, me, std::memory_order_acquire))
    return false;
  was_service_.store(is_service, std::memory_order_release);
  return true;
}

// 0, -EDEADLK, -EAGAIN.
int Writer::acquire_sink(Op &op) noexcept {
  if (sink_owner_.load(std::memory_order_relaxed) == thread_identity()) return -EDEADLK;
  if (try_sink()) return 0;
  if (op.patience == Patience::kPoll) {
    op.why = {.mask = kForSink};
    return -EAGAIN;
  }
  sink_askers_.fetch_add(1, std::memory_order_acq_rel);
  bool came = true;
  while (!try_sink() && (came = await(op, {.mask = kForSink}))) {
  }
  sink_askers_.fetch_sub(1, std::memory_order_acq_rel);
  if (!came) waits_.signal(kForSink);
  return came ? 0 : -EAGAIN;
}

// The sink for a call that must not come after its close, nor (but for reads) while an error is held.
int Writer::acquire_usable_sink(Op &op, bool reads) noexcept {
  if (const int code = acquire_sink(op)) return code;
  int code = held_.load(std::memory_order_acquire);
  if (reads && code != BW_ESINK) code = 0;
  if (sink_closed_) code = -ESHUTDOWN;
  if (code) release_sink();
  return code;
}

void Writer::release_sink() noexcept {
  sink_owner_.store(0, std::memory_order_release);
  waits_.signal(kForSink);
  ring_if_asked();
}

// Both rights. Who has the pen stops all writers, so the sink is waited for without it.
int Writer::take_both(Op &op, bool closing) noexcept {
  for (;;) {
    if (is_mine()) return -EDEADLK;
    if (!await(op, {.mask = kForSink})) return -EAGAIN;
    if (const int code = take_pen(op)) return code;
    const bool has_sink = try_sink();
    const int code = refusal(closing); // with the sink in hand, in which something may just have failed
    if (has_sink && code == 0) return 0;
    if (has_sink) release_sink();
    release_pen();
    if (code) return code;
  }
}

void Writer::release_both() noexcept {
  release_sink();
  release_pen();
}

// ---- Calling it ----

// What an answer below zero (or nothing taken) means for the writer; gives the code for the caller.
int Writer::judge(Op &op, std::int64_t answer, std::uint64_t wakes_before, bool is_event) noexcept {
  const int code = answer < INT32_MIN ? static_cast<int>(BW_ESINK) : static_cast<int>(answer);
  if (code == -EAGAIN) {
    op.why = {.mask = kForReady, .wakes = wakes_before};
    return code;
  }
  const bool is_held = op.holds_errors || (code == BW_ESINK && !parent_); // a lane's BW_ESINK is its parent's
  if (is_held) held_.store(code, std::memory_order_seq_cst); // before on_event can hear of it and call bw_resume()
  if (is_event || code == BW_ESINK) {
    errors_.fetch_add(1, std::memory_order_relaxed);
    push_event(BW_EVENT_ERROR, written_.load(std::memory_order_relaxed), 0, code);
  }
  if (is_held) error_is_held(code);
  return code;
}

// A lane's sink waits in the parent, which knows no deadline: with one it polls, and the lane waits.
void Writer::tell_patience(const Op &op) noexcept {
  if (parent_) owned_->set_patience(op.deadline_ns == kNoDeadline ? op.patience : Patience::kPoll);
}

// Any callback but write: -EINTR is retried at once.
template <class Call>
auto Writer::call_sink(Op &op, bool is_event, Call call) noexcept -> decltype(call()) {
  tell_patience(op);
  for (;;) {
    const std::uint64_t wakes = wakes_.load(std::memory_order_acquire);
    const auto answer = call();
    if (answer >= 0) return answer;
    if (answer != -EINTR) return judge(op, answer, wakes, is_event);
  }
}

// One call of the sink, with all that is left. Gives its answer as it is.
std::int64_t Writer::call_write(Op &op, const Parts &parts, bool vectored) noexcept {
  tell_patience(op);
  const std::uint64_t begin = now_ns();
  std::int64_t answer;
  if (vectored && sink_.is_vectored()) {
    iovec room[Parts::kListRoom];
    const Parts::List list = parts.list(room);
    answer = sink_.writev(list.parts, list.count, list.bytes);
  } else {
    answer = sink_.write(parts.front(), parts.front_length());
  }
  sink_write_.record(now_ns() - begin);
  sink_writes_.fetch_add(1, std::memory_order_relaxed);
  return answer;
}

// Until all is taken. 0, or why not; `parts` says how far it came.
int Writer::push(Op &op, Parts &parts, bool vectored) noexcept {
  while (parts.left() > 0) {
    if (!vectored) parts.skip_empty();
    const std::uint64_t wakes = wakes_.load(std::memory_order_acquire);
    const std::int64_t answer = call_write(op, parts, vectored);
    if (answer > 0) {
      parts.consume(static_cast<std::uint64_t>(answer));
      parts.skip_empty(); // so that what is offered next has bytes
      count_written(static_cast<std::uint64_t>(answer));
    } else if (answer != -EINTR) {
      return judge(op, answer == 0 ? std::int64_t{BW_EWRITEZERO} : answer, wakes, true);
    }
  }
  return 0;
}

int Writer::push_bytes(Op &op, const char *data, std::uint64_t length, std::uint64_t &taken) noexcept {
  const iovec part{const_cast<char *>(data), length};
  Parts parts(&part, 1);
  const int code = push(op, parts, false);
  taken = length - parts.left();
  return code;
}

// Past the buffer, which is empty: the end of the stream moves with what the sink takes. Pen and sink.
int Writer::bypass(Op &op, Parts &parts, bool vectored) noexcept {
  const std::uint64_t before = parts.left();
  const int code = push(op, parts, vectored);
  FlushBuffer<> &current = ring_.current();
  current.set_position(current.position() + static_cast<std::int64_t>(before - parts.left()));
  return code;
}

// A polled write: one call, whose answer is handed through.
std::int64_t Writer::bypass_once(Op &op, Parts &parts, bool vectored) noexcept {
  const std::uint64_t wakes = wakes_.load(std::memory_order_acquire);
  const std::int64_t answer = call_write(op, parts, vectored);
  if (answer == 0 || answer == -EINTR) return answer;
  if (answer < 0) return judge(op, answer, wakes, true);
  count_written(static_cast<std::uint64_t>(answer));
  FlushBuffer<> &current = ring_.current();
  current.set_position(current.position() + answer);
  return answer;
}

// The sink took `bytes` more.
void Writer::count_written(std::uint64_t bytes) noexcept {
  const std::int64_t from = written_.load(std::memory_order_relaxed);
  const std::int64_t to = from + static_cast<std::int64_t>(bytes);
  written_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  written_.store(to, std::memory_order_release);
  push_event(BW_EVENT_WRITTEN, from, bytes, 0);
  level_moved(BW_WRITTEN, to);
}

// The spilled blocks that come before buffer number `before`. Sink (inline: and pen).
int Writer::push_spill(Op &op, std::uint64_t before) noexcept {
  while (SpillBlock *block = spill_.first()) {
    if (block->before > before) return 0;
    std::uint64_t taken;
    const int code = push_bytes(op, block->data() + block->taken, block->length - block->taken, taken);
    block->taken += taken;
    if (code) return code;
    spill_.pop();
  }
  has_spill_.store(false, std::memory_order_relaxed);
  return 0;
}

// Inline: the buffer's bytes; what is not taken moves to the front. Pen and sink; its copies have ended.
int Writer::push_current(Op &op) noexcept {
  const std::uint64_t fill = ring_.fill();
  if (fill == 0) return 0;
  const int code = push_current_below(op, fill);
  char *data = ring_.current().data();
  const std::uint64_t taken = ring_.head_taken();
  std::memmove(data, data + taken, fill - taken);
  ring_.shift(taken);
  return code;
}

// Inline: the buffer's bytes below `limit`, whose copies have ended. Nothing moves: behind them a span may be open.
int Writer::push_current_below(Op &op, std::uint64_t limit) noexcept {
  const std::uint64_t before = ring_.head_taken();
  if (limit <= before) return 0;
  std::uint64_t taken;
  const int code = push_bytes(op, ring_.current().data() + before, limit - before, taken);
  ring_.take(taken);
  return code;
}

// Inline: everything to the sink. Pen. 0, or why not all.
int Writer::empty_inline(Op &op) noexcept {
  if (!await_copies(op, ring_.current(), ring_.fill())) return -EAGAIN;
  raise_floor();
  if (const int code = acquire_sink(op)) return code;
  int code = push_spill(op, UINT64_MAX);
  if (code == 0) code = push_current(op);
  release_sink();
  return code;
}

// ---- Failures ----

// held_ is set, and stays until bw_resume(), bw_set_sink() or bw_discard(): nothing is accepted from now on.
void Writer::error_is_held(int code) noexcept {
  turns_.fetch_add(1, std::memory_order_acq_rel);
  shut();
  settle_notes(code);
  waits_.signal(kForLevel | kForRoom);
}

// A failed sync is final.
void Writer::fail_sync(int code) noexcept {
  sync_error_.store(code, std::memory_order_seq_cst);
  errors_.fetch_add(1, std::memory_order_relaxed);
  push_event(BW_EVENT_ERROR, durable_.load(std::memory_order_relaxed), 0, code);
  if (!inline_) refuse_after_sync_.store(true, std::memory_order_seq_cst);
  turns_.fetch_add(1, std::memory_order_acq_rel);
  if (!inline_) {
    shut();
    settle_notes(code);
  } else {
    notes_.cancel(BW_DURABLE, durable_.load(std::memory_order_relaxed), code);
    kick();
  }
  waits_.signal(kForLevel | kForRoom);
}

int Writer::error() noexcept {
  if (const int code = held_.load(std::memory_order_acquire)) {
    shut_if_held();
    return code;
  }
  return sync_error_.load(std::memory_order_acquire);
}

// ---- Flush ----

// All bytes below `target` to the sink. They may have been forgotten meanwhile: -ECANCELED.
int Writer::flush_bytes(Op &op, std::int64_t target) noexcept {
  if (is_mine()) return -EDEADLK;
  if (const int code = refusal()) return code;
  if (written_.load(std::memory_order_acquire) >= target) return 0;
  if (has_file()) return reach(op, BW_WRITTEN, target);
  if (!inline_) return flush_ring(op, target);
  if (const int code = take_both(op, false)) return code;
  const std::int64_t accepted = accepted_floor(); // with the pen in hand nobody knows more
  int code = -EAGAIN;
  if (!unshared_ && accepted >= target && is_pending(pending_copies(ring_.current(), ring_.fill()))) {
    // Rule 6: only for the writers of its range. Spans that are open behind it stay where they are.
    code = push_spill(op, UINT64_MAX);
    const std::int64_t start = ring_.current().position();
    if (code == 0 && accepted > start) code = push_current_below(op, static_cast<std::uint64_t>(accepted - start));
  } else if (await_copies(op, ring_.current(), ring_.fill())) {
    raise_floor();
    code = push_spill(op, UINT64_MAX);
    if (code == 0) code = push_current(op);
  }
  release_both();
  return code;
}

int Writer::flush_ring(Op &op, std::int64_t target) noexcept {
  const std::uint64_t seeks = seeks_.load(std::memory_order_acquire);
  const std::uint64_t discards = discards_.load(std::memory_order_acquire);
  if (const int code = take_pen(op)) return code;
  if (ring_.has_bytes()) hand_on();
  release_pen();
  for (;;) {
    const Pending level = pending_level(BW_WRITTEN, target);
    if (discards_.load(std::memory_order_acquire) != discards) return -ECANCELED;
    // A seek flushed everything before it moved the end.
    if (seeks_.load(std::memory_order_acquire) != seeks) return 0;
    if (written_.load(std::memory_order_acquire) >= target) return 0;
    if (const int code = refusal()) return code;
    if (!await(op, level)) return -EAGAIN;
  }
}

// Everything to the sink, and both rights kept if that worked.
int Writer::empty_all(Op &op, bool closing) noexcept {
  if (!inline_) return empty_ring(op, closing);
  if (const int code = take_both(op, closing)) return code;
  int code = -EAGAIN;
  if (await_copies(op, ring_.current(), ring_.fill())) {
    raise_floor();
    code = push_spill(op, UINT64_MAX);
  }
  if (code == 0) code = push_current(op);
  if (code) release_both();
  return code;
}

// The same where our thread does the writing: with the pen in hand nothing comes after.
int Writer::empty_ring(Op &op, bool closing) noexcept {
  if (const int code = take_pen(op)) return code;
  int code = refusal(closing);
  if (code == 0 && ring_.has_bytes()) hand_on();
  while (code == 0 && written_.load(std::memory_order_acquire) < end()) {
    const Pending level = pending_level(BW_WRITTEN, end());
    code = refusal(closing);
    if (code != 0 || stands_aside(op)) break;
    if (has_file() && drive_alone(op, BW_WRITTEN, end())) continue;
    if (!await(op, level)) code = -EAGAIN;
  }
  if (code == 0 && !op.stood_aside) {
    code = acquire_sink(op);
    if (code == 0 && (code = refusal(closing)) != 0) release_sink(); // something may just have failed in it
    if (code == 0) return 0;
  }
  release_pen();
  if (code == 0 && std::exchange(op.stood_aside, false))
    return await(op, {.mask = kForRescue}) ? empty_ring(op, closing) : -EAGAIN;
  return code;
}

int Writer::do_flush(Op &op) noexcept {
  if (const int code = flush_bytes(op, tail())) return code;
  if (!has_file()) {
    if (const int code = acquire_usable_sink(op, false)) return code;
    const int code = call_sink(op, true, [&] { return sink_.flush(); });
    release_sink();
    if (code < 0) return code;
  }
  flushes_.fetch_add(1, std::memory_order_relaxed);
  look_at_accepted();
  serve_own_notes(op);
  return 0;
}

// ---- Sync ----

int Writer::do_sync(Op &op) noexcept {
  if (is_mine()) return -EDEADLK;
  if (has_file()) return sync_file(op);
  const std::uint64_t begun = syncs_begun_.load(std::memory_order_acquire);
  return sync_until(op, tail(), begun);
}

// Until all below `target` is durable by a sync that is later than number `begun`. Whoever waits for the sink here
// finds, when he gets it, that the sync of another has served him too.
int Writer::sync_until(Op &op, std::int64_t target, std::uint64_t begun) noexcept {
  if (span_open_) return -EBUSY;
  if (closed_.load(std::memory_order_acquire)) return -ESHUTDOWN;
  if (has_file()) return reach(op, BW_DURABLE, target);
  const auto is_served = [&] {
    return durable_.load(std::memory_order_acquire) >= target &&
           last_good_sync_.load(std::memory_order_acquire) > begun;
  };
  for (;;) {
    if (closed_.load(std::memory_order_acquire)) return -ESHUTDOWN;
    if (const int code = sync_error_.load(std::memory_order_acquire)) return code;
    if (is_served()) return 0;
    const std::uint64_t cuts = seeks_.load(std::memory_order_acquire);
    if (const int code = flush_bytes(op, target)) return code;
    if (const int code = acquire_usable_sink(op, false)) return code;
    const bool is_due = !is_served() && sync_error_.load(std::memory_order_acquire) == 0;
    const int code = is_due ? sync_owned(op) : 0;
    release_sink();
    if (code || is_due) return code;
    if (seeks_.load(std::memory_order_acquire) != cuts) return 0;
  }
}

// Sink.
int Writer::sync_owned(Op &op) noexcept {
  if (const int code = call_sink(op, true, [&] { return sink_.flush(); }); code < 0) return code;
  if (!can_sync()) return -EOPNOTSUPP;
  const std::uint64_t number = syncs_begun_.fetch_add(1, std::memory_order_acq_rel) + 1;
  const std::int64_t reached = written_.load(std::memory_order_relaxed);
  const std::uint64_t bytes = written_bytes_.load(std::memory_order_relaxed);
  const std::uint64_t begin = now_ns();
  const int code = call_sink(op, false, [&] { return sink_.sync(); });
  sync_.record(now_ns() - begin);
  if (code < 0) {
    // A lane's sync is its parent's, and is final only if that is.
    const bool is_final = !parent_ || parent_->sync_error_.load(std::memory_order_acquire) == code;
    if (is_final && code != -EAGAIN && code != -EOPNOTSUPP && code != BW_ESINK) fail_sync(code);
    return code;
  }
  durable_.store(reached, std::memory_order_release);
  durable_bytes_.store(bytes, std::memory_order_relaxed);
  last_good_sync_.store(number, std::memory_order_release);
  push_event(BW_EVENT_DURABLE, reached, 0, 0);
  level_moved(BW_DURABLE, reached);
  return 0;
}

// ---- Seek and read ----

// `ended` says whether the sink was asked and gave an answer for good.
std::int64_t Writer::do_seek(Op &op, std::int64_t offset, int whence, bool &ended) noexcept {
  ended = false;
  if (const int code = empty_all(op, false)) return code;
  const std::int64_t answer =
      has_file() ? seek_file(op, offset, whence)
      : sink_.has_seek() ? call_sink(op, false, [&] { return sink_.seek(offset, whence); }) : -ESPIPE;
  ended = answer != -EAGAIN;
  if (answer >= 0 && !has_file()) {
    ring_.forget(answer);
    cut(answer, false);
  }
  release_both();
  return answer;
}

int Writer::start_seek(std::int64_t offset, int whence) noexcept {
  if (is_mine()) return -EDEADLK;
  if (span_open_) return -EBUSY;
  if (closed_.load(std::memory_order_acquire)) return -ESHUTDOWN;
  if (!can_seek()) return -ESPIPE;
  const std::lock_guard lock(seek_mutex_);
  seek_pending_ = true;
  ++seek_number_;
  seek_offset_ = offset;
  seek_whence_ = whence;
  return 0;
}

// A failed flush keeps the seek pending, a failed seek ends it.
std::int64_t Writer::do_poll_seek(Op &op) noexcept {
  if (is_mine()) return -EDEADLK;
  if (const int code = refusal()) return code;
  std::unique_lock lock(seek_mutex_);
  if (!seek_pending_) return tail();
  const std::int64_t offset = seek_offset_;
  const int whence = seek_whence_;
  const std::uint64_t number = seek_number_;
  lock.unlock();
  bool ended;
  const std::int64_t answer = do_seek(op, offset, whence, ended);
  lock.lock();
  if (ended && seek_number_ == number) seek_pending_ = false; // but not one remembered meanwhile
  return answer;
}

// Straight from the sink; buffered bytes stay buffered.
std::int64_t Writer::do_read(Op &op, void *data, std::size_t length) noexcept {
  if (is_mine()) return -EDEADLK;
  if (span_open_) return -EBUSY;
  if (closed_.load(std::memory_order_acquire)) return -ESHUTDOWN;
  if (has_file()) return read_file(op, data, length);
  if (!sink_.has_read()) return -EBADF;
  if (const int code = acquire_usable_sink(op, true)) return code;
  const std::int64_t answer = call_sink(op, false, [&] { return sink_.read(data, length); });
  if (answer == -EAGAIN) op.why.for_read = true;
  release_sink();
  return answer;
}

// ---- Close ----

int Writer::do_close(Op &op) noexcept {
  if (is_mine()) return -EDEADLK;
  if (closed_.load(std::memory_order_acquire)) return 0;
  if (span_open_) return -EBUSY;
  if (lanes_open_.load(std::memory_order_acquire) > 0) return -EBUSY;
  if (notes_.has_any_up_to(BW_DURABLE, tail()) && can_sync()) {
    // Somebody was promised to hear when it is durable. A failure is told to him, and below.
    const int code = sync_until(op, tail(), 0);
    if (code == -EAGAIN) return code;
  }
  if (const int code = empty_all(op, true)) {
    return closed_.load(std::memory_order_acquire) ? 0 : code; // by another thread meanwhile
  }
  closing_.store(true, std::memory_order_seq_cst); // before the look at the lanes, see add_lane()
  const int code = lanes_open_.load(std::memory_order_seq_cst) > 0 ? -EBUSY : close_sink(op);
  if (!sink_closed_) closing_.store(false, std::memory_order_seq_cst);
  if (sink_closed_) {
    closed_.store(true, std::memory_order_seq_cst);
    turns_.fetch_add(1, std::memory_order_acq_rel);
    look_at_accepted();
    settle_notes(-ESHUTDOWN);
    waits_.signal(kForLevel | kForRoom);
  }
  release_both();
  if (!sink_closed_ || code) return code;
  return sync_error_.load(std::memory_order_acquire);
}

// Sink.flush, then sink.close. Sink. While the sink is not closed the writer stays open.
int Writer::close_sink(Op &op) noexcept {
  if (has_file()) {
    const int code = close_file();
    sink_is_closed();
    return code;
  }
  if (!parent_) { // a lane only hands on
    if (const int code = call_sink(op, true, [&] { return sink_.flush(); }); code < 0) return code;
  }
  const int code = call_sink(op, false, [&] { return sink_.close(); });
  if (code != -EAGAIN) sink_is_closed();
  return code < 0 ? code : 0;
}

void Writer::sink_is_closed() noexcept {
  sink_closed_ = true;
  was_file_.store(has_file(), std::memory_order_relaxed);
  is_file_.store(false, std::memory_order_release); // and was_file_ is known
  ready_fd_.store(-1, std::memory_order_relaxed);
  if (parent_) parent_->lanes_open_.fetch_sub(1, std::memory_order_acq_rel);
}

// ---- Wait ----

// What makes waiting for a level pointless; 0: nothing.
int Writer::wait_error(int level) noexcept {
  if (closed_.load(std::memory_order_acquire)) return -ESHUTDOWN;
  if (const int code = held_.load(std::memory_order_acquire)) return code;
  const int sync_error = sync_error_.load(std::memory_order_acquire);
  return level == BW_DURABLE || refuse_after_sync_.load(std::memory_order_acquire) ? sync_error : 0;
}

int Writer::do_wait(Op &op, std::int64_t target, int level, bool may_do_io, std::uint64_t cuts) noexcept {
  for (;;) {
    if (is_mine()) return -EDEADLK;
    if (span_open_) return -EBUSY;
    const Pending change = pending_level(level, target);
    const std::uint64_t discards = discards_.load(std::memory_order_acquire);
    if (level == BW_DURABLE) {
      if (const int code = sync_error_.load(std::memory_order_acquire)) return code;
    }
    if (position(level) >= target) {
      serve_own_notes(op);
      return 0;
    }
    if (const int code = wait_error(level)) return code;
    if (cuts_.load(std::memory_order_acquire) != cuts &&
        target > cut_position_.load(std::memory_order_acquire))
      return -ECANCELED;
    if (!may_do_io) return -ETIMEDOUT;
    const std::int64_t reachable = std::min(target, tail());
    // A file's sync is asked for together with its writes.
    int code = level == BW_ACCEPTED || (level == BW_DURABLE && has_file()) ? 0 : flush_bytes(op, reachable);
    if (code == 0 && level == BW_DURABLE && durable_.load(std::memory_order_acquire) < reachable)
      code = sync_until(op, reachable, 0);
    if (code == -EAGAIN && op.why.mask == kForReady) {
      // The sink is not ready. Another thread may get on with it, or end the wait, without a bw_wake().
      op.why.mask |= kForLevel;
      op.why.level = level;
      op.why.position = target;
      op.why.turn = change.turn;
    }
    // What a discard or a close means for this wait is looked at above. The sink may say the same for its own reasons.
    if (code == -ECANCELED && discards_.load(std::memory_order_acquire) != discards) continue;
    if (code == -ESHUTDOWN && closed_.load(std::memory_order_acquire)) continue;
    if (code) return code;
    if (position(level) >= target) continue;
    // The rest is not accepted yet; it is looked at when a buffer is handed on, flushed or synced.
    Pending more = change;
    if (level == BW_DURABLE) more.level = BW_WRITTEN;
    if (!await(op, more)) return -EAGAIN;
  }
}

// ---- Rescue ----

// Who waits with the pen in hand for a sink that is not ready gives it back as long as somebody is here.
void Writer::rescue_begins() noexcept {
  rescuers_.fetch_add(1, std::memory_order_seq_cst);
  turns_.fetch_add(1, std::memory_order_seq_cst);
  waits_.signal(kForRoom | kForLevel);
}

void Writer::rescue_ended() noexcept {
  rescuers_.fetch_sub(1, std::memory_order_acq_rel);
  waits_.signal(kForRescue);
}

template <class Call>
auto Writer::as_rescue(Call call) noexcept -> decltype(call()) {
  if (is_mine()) return -EDEADLK; // before anybody is told to try again
  rescue_begins();
  const auto result = call();
  rescue_ended();
  return result;
}

// Both rights whatever is held; for what repairs a writer or looks at it.
int Writer::take_for_rescue(Op &op) noexcept {
  if (const int code = take_pen(op)) return code;
  const int code = acquire_sink(op);
  if (code) release_pen();
  return code;
}

int Writer::do_resume(Op &op) noexcept {
  if (is_mine()) return -EDEADLK;
  for (;;) {
    if (sync_error_.load(std::memory_order_acquire)) return -EIO;
    int held = held_.load(std::memory_order_acquire);
    if (held == 0 || held == BW_ESINK) return held;
    if (const int code = take_pen(op, true)) return code;
    if (held_.compare_exchange_strong(held, 0, std::memory_order_seq_cst)) break;
    release_pen(); // another call has let go of it, and something else may be held by now
  }
  resumes_.fetch_add(1, std::memory_order_relaxed);
  turns_.fetch_add(1, std::memory_order_acq_rel);
  wakes_.fetch_add(1, std::memory_order_acq_rel); // whatever the sink said before, it is asked again
  release_pen();
  waits_.signal(kForLevel | kForRoom | kForReady);
  kick();
  return 0;
}

int Writer::do_set_sink(Op &op, const SinkEngine &sink) noexcept {
  if (const int code = take_for_rescue(op)) return code;
  if (closed_.load(std::memory_order_acquire)) {
    release_both();
    return -ESHUTDOWN;
  }
  if (has_file()) leave_file();
  sink_.take_over(sink);
  ready_fd_.store(-1, std::memory_order_relaxed);
  owned_.reset();
  held_.store(0, std::memory_order_seq_cst);
  refuse_after_sync_.store(false, std::memory_order_seq_cst);
  turns_.fetch_add(1, std::memory_order_acq_rel);
  wakes_.fetch_add(1, std::memory_order_acq_rel);
  release_both();
  waits_.signal(kForLevel | kForRoom | kForReady);
  kick();
  return 0;
}

// The unwritten bytes in stream order, at most `limit`, as visit(data, length, more_of_the_same...). Pen and sink.
template <class Visit>
void Writer::visit_unwritten(std::uint64_t limit, Visit visit) noexcept {
  SpillBlock *block = spill_.first();
  const auto show = [&](const char *data, std::uint64_t length) {
    length = std::min(length, limit);
    limit -= length;
    if (length) visit(data, length);
  };
  const auto show_spill = [&](std::uint64_t before) {
    for (; block && block->before <= before; block = block->next)
      show(block->data() + block->taken, block->length - block->taken);
  };
  std::uint64_t taken = ring_.head_taken();
  for (std::uint64_t number = ring_.retired(); number < ring_.sealed(); ++number) {
    show_spill(number);
    FlushBuffer<> &buffer = ring_.at(number);
    if (number != ring_.retired()) taken = buffer.start();
    show(buffer.data() + taken, buffer.length() - taken);
  }
  show_spill(UINT64_MAX);
  if (!ring_.has_current()) return;
  if (ring_.head()) taken = ring_.current().start();
  show(ring_.current().data() + taken, ring_.fill() - taken);
}

std::int64_t Writer::do_unwritten(Op &op, void (*each)(void *, const void *, std::size_t), void *arg) noexcept {
  if (const int code = take_pen(op, true)) return code;
  const bool may_wait = open_spans_.load(std::memory_order_acquire) == 0;
  int code = 0;
  if (may_wait && ring_.has_current() && !await_copies(op, ring_.current(), ring_.fill())) code = -EAGAIN;
  if (code == 0) code = acquire_sink(op);
  if (code) {
    release_pen();
    return code;
  }
  if (has_file() && !may_settle_file(op)) {
    release_both();
    return -EAGAIN;
  }
  raise_floor();
  const std::int64_t accepted = unshared_ ? end() : accepted_.load(std::memory_order_acquire);
  const std::int64_t count = std::max<std::int64_t>(accepted - written_.load(std::memory_order_relaxed), 0);
  if (each) {
    visit_unwritten(static_cast<std::uint64_t>(count),
                    [&](const char *data, std::uint64_t length) { each(arg, data, length); });
  }
  release_both();
  return count;
}

std::int64_t Writer::do_discard(Op &op) noexcept {
  if (span_open_) return -EBUSY;
  if (closed_.load(std::memory_order_acquire)) return 0; // what bw_free could not write it tells of
  if (const int code = take_for_rescue(op)) return code;
  if (open_spans_.load(std::memory_order_acquire) > 0) {
    release_both();
    return -EBUSY;
  }
  bool came = !has_file() || may_settle_file(op);
  came = came && (!ring_.has_current() || await_copies(op, ring_.current(), ring_.fill()));
  for (std::uint64_t number = ring_.retired(); came && number < ring_.sealed(); ++number)
    came = await_copies(op, ring_.at(number), ring_.at(number).length());
  if (!came) {
    release_both();
    return -EAGAIN;
  }
  const std::int64_t written = written_.load(std::memory_order_relaxed);
  const std::int64_t count = end() - written;
  while (spill_.first()) spill_.pop();
  ring_.forget(written);
  discarded_bytes_.fetch_add(static_cast<std::uint64_t>(count), std::memory_order_relaxed);
  if (has_file()) file_->forget();
  if (held_.load(std::memory_order_relaxed) == BW_ESINK) held_.store(0, std::memory_order_seq_cst);
  wakes_.fetch_add(1, std::memory_order_acq_rel); // what the sink said before was about bytes that are gone
  cut(written, true);
  look_at_pressure();
  release_both();
  waits_.signal(kForRoom | kForLevel | kForReady);
  return count;
}

// ---- The calls ----

int Writer::flush() noexcept {
  return run(blocking_patience(), [&](Op &op) { return do_flush(op); });
}

int Writer::poll_flush(const bw_waker_t *waker) noexcept {
  return run_poll(waker, [&](Op &op) { return do_flush(op); }, unshared_);
}

int Writer::sync() noexcept {
  return run(blocking_patience(), [&](Op &op) { return do_sync(op); });
}

int Writer::poll_sync(const bw_waker_t *waker) noexcept {
  return run_poll(waker, [&](Op &op) { return do_sync(op); }, unshared_);
}

std::int64_t Writer::seek(std::int64_t offset, int whence) noexcept {
  bool ended;
  return run(blocking_patience(), [&](Op &op) { return do_seek(op, offset, whence, ended); });
}

std::int64_t Writer::poll_seek(const bw_waker_t *waker) noexcept {
  return run_poll(waker, [&](Op &op) { return do_poll_seek(op); }, unshared_);
}

std::int64_t Writer::read(void *data, std::size_t length) noexcept {
  return run_write(blocking_patience(), [&](Op &op) { return do_read(op, data, length); });
}

std::int64_t Writer::poll_read(void *data, std::size_t length, const bw_waker_t *waker) noexcept {
  return run_poll(waker, [&](Op &op) { return do_read(op, data, length); });
}

int Writer::close() noexcept {
  const int code = run(blocking_patience(), [&](Op &op) { return do_close(op); });
  if (is_caller_driven_) tell_here();
  return code;
}

int Writer::poll_close(const bw_waker_t *waker) noexcept {
  return run_poll(waker, [&](Op &op) { return do_close(op); }, unshared_);
}

int Writer::wait(std::int64_t position, int level, std::int64_t timeout_us) noexcept {
  const bool may_do_io = timeout_us != 0;
  const std::uint64_t deadline = deadline_in(timeout_us);
  const Patience patience = is_in_callback() ? Patience::kPoll : Patience::kWaitForAll;
  const std::uint64_t cuts = cuts_.load(std::memory_order_acquire);
  return run(
      patience, [&](Op &op) { return do_wait(op, position, level, may_do_io, cuts); }, deadline);
}

int Writer::poll_wait(std::int64_t position, int level, const bw_waker_t &waker) noexcept {
  const std::uint64_t cuts = cuts_.load(std::memory_order_acquire);
  return run_poll(&waker, [&](Op &op) { return do_wait(op, position, level, true, cuts); });
}

int Writer::flush_from_lane(Patience patience, const bw_waker_t &waker) noexcept {
  return run_for_lane(patience, waker, [&](Op &op) { return do_flush(op); });
}

int Writer::sync_from_lane(Patience patience, const bw_waker_t &waker) noexcept {
  return run_for_lane(patience, waker, [&](Op &op) { return do_sync(op); });
}

int Writer::resume() noexcept {
  return run_write(rescue_patience(), [&](Op &op) { return do_resume(op); });
}

int Writer::set_sink(const bw_sink_t *sink, void *ctx) noexcept {
  if (parent_) return -EINVAL;
  SinkEngine engine;
  if (const int code = engine.set(sink, ctx)) return code;
  return run_write(rescue_patience(), [&](Op &op) { return as_rescue([&] { return do_set_sink(op, engine); }); });
}

std::int64_t Writer::unwritten(void (*each)(void *, const void *, std::size_t), void *arg) noexcept {
  return run_write(rescue_patience(), [&](Op &op) { return as_rescue([&] { return do_unwritten(op, each, arg); }); });
}

std::int64_t Writer::discard() noexcept {
  return run_write(blocking_patience(), [&](Op &op) { return as_rescue([&] { return do_discard(op); }); });
}

// ---- The end of a writer ----

// Writes what may still be written, without waiting for anybody, and closes the sink. Only this thread is left.
// Gives 0 if the writer could be closed.
int Writer::finish() noexcept {
  if (closed_.load(std::memory_order_acquire)) return 0;
  span_open_ = false; // its bytes were never accepted
  Op op;
  if (parent_) op.patience = Patience::kWaitForThreads; // that are in its parent
  if (has_file()) op.patience = Patience::kWait;        // for the disk
  std::uint64_t skip = 0;
  std::int64_t from = written_.load(std::memory_order_relaxed);
  int code;
  if (open_spans_.load(std::memory_order_acquire) > 0) {
    code = push_before_span(op, skip);
  } else {
    code = do_close(op);
    if (closed_.load(std::memory_order_acquire)) return 0;
    from = written_.load(std::memory_order_relaxed);
  }
  // What the callbacks that are still to come may call finds a closed writer.
  closed_.store(true, std::memory_order_seq_cst);
  turns_.fetch_add(1, std::memory_order_acq_rel);
  shut();
  tell_lost(from, skip, code);
  if (!sink_closed_) {
    if (has_file()) {
      settle_file();
      file_->close();
    } else if (held_.load(std::memory_order_acquire) != BW_ESINK) {
      sink_owner_.store(thread_identity(), std::memory_order_relaxed); // nobody is left to take it, but it may call us
      call_sink(op, false, [&] { return sink_.close(); });
      release_sink();
    }
    sink_is_closed();
  }
  return code ? code : -ECANCELED;
}

// A span was never committed: what is before it is written, what is beyond is lost. `skip`: how many unwritten bytes
// are not lost, because the sink took them or they are the span's own.
int Writer::push_before_span(Op &op, std::uint64_t &skip) noexcept {
  const std::int64_t written = written_.load(std::memory_order_relaxed);
  const std::int64_t accepted = position(BW_ACCEPTED);
  const std::uint64_t keep = accepted > written ? static_cast<std::uint64_t>(accepted - written) : 0;
  if (!ring_.try_pen()) return -EBUSY; // a call is still under way
  pen_taken();
  std::uint64_t pushed = 0;
  int code = held_.load(std::memory_order_relaxed);
  if (!has_file() && try_sink()) { // a file's engine has written what it could
    visit_unwritten(keep, [&](const char *data, std::uint64_t length) {
      std::uint64_t taken = 0;
      if (code == 0) code = push_bytes(op, data, length, taken);
      pushed += taken;
    });
    release_sink();
  }
  skip = pushed;
  const bool is_only = open_spans_.load(std::memory_order_acquire) == 1;
  if (pushed == keep && is_only && span_start_.load(std::memory_order_relaxed) == accepted)
    skip += static_cast<std::uint64_t>(span_end_.load(std::memory_order_relaxed) - accepted);
  release_pen();
  return code ? code : -ECANCELED;
}

// Tells of the unwritten bytes, which begin at `position`, but for the first `skip` of them.
void Writer::tell_lost(std::int64_t position, std::uint64_t skip, int code) noexcept {
  if (!on_event_) return;
  deliver(false);
  visit_unwritten(UINT64_MAX, [&](const char *data, std::uint64_t length) {
    const std::uint64_t step = std::min(skip, length);
    skip -= step;
    position += static_cast<std::int64_t>(step);
    if (length > step) {
      tell_event({sizeof(bw_event_t), BW_EVENT_LOST, position, length - step, data + step, code, 0});
      position += static_cast<std::int64_t>(length - step);
    }
  });
}

// The handle, or a lane, lets go; the last one ends the writer.
void Writer::drop_reference(Writer *writer, bool in_child) noexcept {
  if (writer->references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  Writer *parent = writer->parent_;
  if (!in_child) {
    writer->teller_.store(thread_identity(), std::memory_order_relaxed);
    writer->stop_service();
    const int code = writer->finish();
    writer->settle_notes(code == 0 ? -ESHUTDOWN : -ECANCELED);
    do {
      writer->waits_.fire_all();
      writer->deliver(true);
    } while (writer->waits_.has_due() || writer->notes_.has_due() || writer->waits_.has_waiting());
  }
  if (writer->owned_ && !in_child) writer->owned_->detach();
  if (in_child) writer->abandon_file();
  delete writer;
  if (parent) drop_reference(parent, in_child);
}

int Writer::add_lane() noexcept {
  if (is_mine()) return -EDEADLK;
  references_.fetch_add(1, std::memory_order_relaxed);
  lanes_open_.fetch_add(1, std::memory_order_seq_cst);
  if (!closed_.load(std::memory_order_seq_cst) && !closing_.load(std::memory_order_seq_cst)) return 0;
  drop_lane();
  return -ESHUTDOWN;
}

void Writer::drop_lane() noexcept {
  lanes_open_.fetch_sub(1, std::memory_order_acq_rel);
  references_.fetch_sub(1, std::memory_order_relaxed);
}

void Writer::destroy(Writer *writer) noexcept {
  drop_reference(writer, !writer->is_of_this_process());
}

} // namespace bwlib
