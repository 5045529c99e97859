// The end of the stream: accepting bytes. (writer_io.cc: the sink; writer_service.cc: our thread, waiting, telling.)
#include "writer.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <new>
#include <thread>
#include <utility>

#include "writer_run.h"

namespace bwlib {

namespace {

// Courtesy. Two threads that take turns on one buffer pay for moving its lines between cores at every record: 21 to
// 38 ns where one thread alone pays 8 to 17. So a thread that has had a run of writes, finds others' bytes between
// two of its own, and is busy enough for it to matter, stays away for a moment; then each has the lines for itself
// for long runs. Nothing is held meanwhile, so a thread that is preempted stops nobody. Measured in
// docs/performance.md.
constexpr std::uint64_t kRunWrites = 32;
constexpr std::uint64_t kBusyNsPerWrite = 300;
constexpr std::uint64_t kStayAwayNs = 2000;

// How often bw_position(BW_ACCEPTED) looks before it gives what it knew before.
constexpr int kAcceptedTries = 16;

void spin_until(std::uint64_t deadline_ns) noexcept {
  do {
    for (int turn = 0; turn < 8; ++turn) relax();
  } while (now_ns() < deadline_ns);
}

void show_courtesy(CopySlot<RealAtomics> &slot) noexcept {
  const std::uint64_t writes = slot.writes.load(std::memory_order_relaxed);
  const std::uint64_t run = writes - slot.run_writes.load(std::memory_order_relaxed);
  if (run < kRunWrites) return;
  std::uint64_t now = now_ns();
  if (now - slot.run_ns.load(std::memory_order_relaxed) < run * kBusyNsPerWrite) {
    now += kStayAwayNs;
    spin_until(now);
  }
  slot.run_writes.store(writes, std::memory_order_relaxed);
  slot.run_ns.store(now, std::memory_order_relaxed);
}

} // namespace

// ---- Making one ----

Writer::Writer(Setup &&setup) noexcept
    : generation_(enter_process()),
      unshared_(setup.options.flags & BW_UNSHARED),
      nonblock_(setup.options.flags & BW_NONBLOCK),
      inline_(!setup.file && !(setup.options.flags & BW_BACKGROUND)),
      is_caller_driven_(setup.file && setup.options.flags & BW_CALLER_DRIVEN),
      capacity_(setup.options.capacity),
      owned_(std::move(setup.owned)),
      file_(std::move(setup.file)),
      waits_(check_pending, this, slots_),
      high_percent_(setup.options.high_percent),
      low_percent_(setup.options.low_percent),
      on_event_(setup.options.on_event),
      event_arg_(setup.options.event_arg),
      linger_ns_(ns_of_us(setup.options.linger_us)),
      parent_(setup.parent) {
  is_file_.store(file_ != nullptr, std::memory_order_relaxed);
  sealed_end_.store(setup.position, std::memory_order_relaxed);
  if (owned_) ready_fd_.store(owned_->ready_fd(), std::memory_order_relaxed);
  largest_fast_ = nonblock_ || (file_ && linger_ns_) ? 0 : inline_ ? capacity_ - 1 : capacity_;
  tail_.store(setup.position, std::memory_order_relaxed);
  written_.store(setup.position, std::memory_order_relaxed);
  durable_.store(setup.position, std::memory_order_relaxed);
  accepted_.store(setup.position, std::memory_order_relaxed);
}

int Writer::create(Writer *&out, Setup &&setup) noexcept {
  const bw_options_t options = setup.options;
  const bw_sink_t *sink = setup.sink;
  void *ctx = setup.ctx;
  std::unique_ptr<Writer> writer(new (std::nothrow) Writer(std::move(setup)));
  if (!writer) return -ENOMEM;
  if (!writer->file_) {
    if (const int code = writer->sink_.set(sink, ctx)) return code;
  }
  if (const int code = writer->build(options.buffers)) return code;
  out = writer.release();
  return 0;
}

int Writer::build(std::uint32_t buffers) noexcept {
  const std::uint64_t head_room = file_ ? FileEngine::kUnit : 0;
  block_ = capacity_ + head_room;
  const std::uint64_t stride = align_up(block_, kPageBytes);
  const std::uint64_t slots_bytes = unshared_ ? 0 : align_up(CopySlots<>::bytes(buffers), kPageBytes);
  buffers_.reset(new (std::nothrow) FlushBuffer<>[buffers]);
  if (!buffers_) return -ENOMEM;
  if (const int code = mapping_.map(slots_bytes + stride * buffers)) return code;
  if (!unshared_) slots_.attach(mapping_.data(), buffers, has_process_barrier());
  char *blocks = mapping_.data() + slots_bytes;
  ring_.attach(buffers_.get(), buffers, blocks, stride, block_, &slots_, head_room);
  if (file_) {
    if (const int code = file_->attach({blocks, stride * buffers, buffers})) return code;
  }
  if (on_event_) {
    events_.reset(new (std::nothrow) EventQueue);
    if (!events_) return -ENOMEM;
  }
  ring_.rotate(tail_.load(std::memory_order_relaxed));
  if (is_caller_driven_) {
    if (const int code = make_bell()) return code;
    if (const int code = file_->ring_bell(bell_.number())) return code;
  }
  release_pen(); // the maker held it until now
  return is_caller_driven_ || (inline_ && linger_ns_ == 0) ? 0 : ensure_service();
}

// ---- The pen ----

bool Writer::is_mine() const noexcept {
  const std::uintptr_t me = thread_identity();
  // Relaxed: only this thread stores its own identity.
  return pen_owner_.load(std::memory_order_relaxed) == me || sink_owner_.load(std::memory_order_relaxed) == me;
}

bool Writer::is_in_sink() const noexcept {
  return sink_owner_.load(std::memory_order_relaxed) == thread_identity();
}

// Waits for the pen as the op allows. 0, -EDEADLK, -EBUSY, -EAGAIN.
int Writer::take_pen(Op &op, bool span_allowed) noexcept {
  if (is_mine()) return -EDEADLK;
  if (unshared_) {
    if (span_open_ && !span_allowed) return -EBUSY;
    if (ring_.has_current())
      ring_.set_fill(static_cast<std::uint64_t>(tail_.load(std::memory_order_relaxed) - ring_.current().position()));
    pen_taken();
    return 0;
  }
  while (!ring_.try_pen()) {
    if (!await(op, {.mask = kForPen})) return -EAGAIN;
  }
  pen_taken();
  return 0;
}

void Writer::pen_taken() noexcept {
  pen_owner_.store(thread_identity(), std::memory_order_relaxed);
  if (unshared_) {
    room_end_.store(kShut, std::memory_order_relaxed);
  } else {
    raise_floor(); // while the pen is held nobody else can tell
  }
}

// Why nothing may be accepted or flushed now; 0: nothing speaks against it.
int Writer::refusal(bool closing) noexcept {
  if (span_open_) return -EBUSY;
  if (closed_.load(std::memory_order_acquire)) return -ESHUTDOWN;
  if (const int code = held_.load(std::memory_order_seq_cst)) return code;
  if (!closing && refuse_after_sync_.load(std::memory_order_seq_cst)) return sync_error_.load(std::memory_order_acquire);
  return 0;
}

// What a write gives that may not wait for the pen: while an error is held it is refused, whoever has the pen.
int Writer::would_wait() noexcept {
  const int held = held_.load(std::memory_order_acquire);
  return held ? held : -EAGAIN;
}

void Writer::release_pen() noexcept {
  if (!ring_.has_current()) ring_.rotate(end());
  // A buffer whose end would pass the last position there is gives no room to the fast path, which does not look.
  const bool admit = ring_.has_current() && refusal() == 0 &&
                     ring_.current().position() <= INT64_MAX - static_cast<std::int64_t>(block_);
  if (unshared_) {
    release_unshared(admit);
    return;
  }
  raise_floor();
  const bool has_bytes = ring_.has_bytes();
  pen_owner_.store(0, std::memory_order_relaxed);
  ring_.publish(admit);
  waits_.signal(kForPen);
  ring_if_asked();
  if (linger_ns_ && has_bytes) arm_linger();
  if (admit && refusal() != 0) shut(); // it came while we published
  look_at_accepted();
  if (has_file() && is_sealing_wanted()) kick_from_outside(); // it was wanted while we had the pen
}

void Writer::release_unshared(bool admit) noexcept {
  tail_.store(end(), std::memory_order_relaxed);
  pen_owner_.store(0, std::memory_order_relaxed);
  if (!admit) return; // the fast path stays shut
  const std::int64_t start = ring_.current().position();
  origin_ = reinterpret_cast<std::uintptr_t>(ring_.current().data()) - static_cast<std::uintptr_t>(start);
  // Inline, a write of `capacity` goes past an empty buffer: the fast path may fill all but one byte of it.
  const bool keep_one = inline_ && ring_.fill() == 0;
  const std::int64_t room_end = start + static_cast<std::int64_t>(block_) - (keep_one ? 1 : 0);
  if (inline_) {
    room_end_.store(room_end, std::memory_order_relaxed);
    return;
  }
  // seq_cst, both: Dekker with hold(), which runs in our thread and shuts the fast path after it held the error.
  room_end_.store(room_end, std::memory_order_seq_cst);
  if (refusal() != 0) shut();
}

// Makes sure that the fast path takes nothing any more; what refuses was stored before.
void Writer::shut() noexcept {
  if (unshared_) {
    room_end_.store(kShut, std::memory_order_seq_cst);
  } else if (ring_.try_pen()) { // else who has the pen finds out when he gives it back
    pen_taken();
    release_pen();
  }
}

// Who has heard of an error finds the fast path shut, though who holds it may not have come to that yet.
void Writer::shut_if_held() noexcept {
  if (held_.load(std::memory_order_seq_cst) != 0) shut();
}

// Seals the current buffer. Pen.
void Writer::seal_current() noexcept {
  sealed_end_.store(end(), std::memory_order_release);
  ring_.seal();
  look_at_pressure();
}

// The same; the buffer is our thread's from now on.
void Writer::hand_on() noexcept {
  seal_current();
  kick_from_outside();
}

std::int64_t Writer::tail() noexcept {
  if (unshared_) return tail_.load(std::memory_order_relaxed);
  std::int64_t result;
  for (int turn = 1; !ring_.tail(result); ++turn) {
    // Somebody is between two instructions; if he was preempted there, let him go on.
    if (turn % 64 == 0) std::this_thread::yield();
  }
  return result;
}

// ---- Writing ----

template <bool kIsSmall>
std::int64_t Writer::write_shared(const void *data, std::size_t length) noexcept {
  CopySlot<RealAtomics> *slot = slots_.find_own(thread_identity());
  if (!slot) [[unlikely]]
    return write_slow(data, length);
  FlushBuffer<> &buffer = ring_.open_buffer();
  const std::uint64_t offset = buffer.reserve(length);
  if (offset + length > block_) [[unlikely]]
    return write_crossing(buffer, offset, data, length);
  copy<kIsSmall>(buffer.data() + offset, static_cast<const char *>(data), length);
  const bool is_watched = slots_.commit_own(*slot, buffer.index(), length);
  const std::uint64_t last_end = slot->last_end.load(std::memory_order_relaxed);
  slot->last_end.store(offset + length, std::memory_order_relaxed);
  add_one(slot->writes);
  if (last_end != offset || is_watched) [[unlikely]]
    return after_reservation(*slot, offset, is_watched, length);
  return static_cast<std::int64_t>(length);
}

template std::int64_t Writer::write_shared<true>(const void *, std::size_t) noexcept;
template std::int64_t Writer::write_shared<false>(const void *, std::size_t) noexcept;

// What few reservations bring with them. Gives `bytes`.
std::int64_t Writer::after_reservation(CopySlot<RealAtomics> &slot, std::uint64_t offset, bool is_watched,
                                       std::uint64_t bytes) noexcept {
  if (is_watched) {
    waits_.signal(kForCopies);
    deliver(false);
  }
  if (offset > 0) {
    show_courtesy(slot);
  } else if (linger_ns_) {
    arm_linger(); // the first bytes of a buffer
  }
  return static_cast<std::int64_t>(bytes);
}

// A write of the fast path reserved beyond the end: it holds the pen, or comes after who does.
std::int64_t Writer::write_crossing(FlushBuffer<> &buffer, std::uint64_t offset, const void *data,
                                    std::size_t length) noexcept {
  Grant grant = Grant::kClosed;
  if (offset <= block_) {
    ring_.take_pen(buffer, offset);
    pen_taken();
    grant = Grant::kPen;
  }
  const iovec part{const_cast<void *>(data), length};
  Placed placed;
  const std::int64_t result = run_write(blocking_patience(), [&](Op &op) {
    const Grant now = std::exchange(grant, Grant::kClosed);
    return put(op, &part, 1, Kind::kWrite, false, placed, now);
  });
  return tell_if_short(result, length);
}

// A short count hides the code that cut it short, so on_event has heard that before the caller sees the count.
std::int64_t Writer::tell_if_short(std::int64_t result, std::uint64_t total) noexcept {
  if (result > 0 && static_cast<std::uint64_t>(result) < total) await_told();
  return result;
}

std::int64_t Writer::write_slow(const void *data, std::size_t length) noexcept {
  const iovec part{const_cast<void *>(data), length};
  return put_blocking(&part, 1, Kind::kWrite, false);
}

std::int64_t Writer::put_blocking(const iovec *parts, int count, Kind kind, bool vectored) noexcept {
  Placed placed;
  const std::int64_t result =
      run_write(blocking_patience(),
                [&](Op &op) { return put(op, parts, count, kind, vectored, placed, Grant::kClosed); });
  return kind == Kind::kWrite ? tell_if_short(result, Parts(parts, count).left()) : result;
}

std::int64_t Writer::writev(const iovec *parts, int count) noexcept {
  return put_blocking(parts, count, Kind::kWrite, true);
}

std::int64_t Writer::append(const iovec *parts, int count) noexcept {
  return put_blocking(parts, count, Kind::kAppend, true);
}

std::int64_t Writer::poll_write(const iovec *parts, int count, bool vectored, const bw_waker_t *waker) noexcept {
  Placed placed;
  return run_poll(waker, [&](Op &op) {
    return put(op, parts, count, Kind::kPollWrite, vectored, placed, Grant::kClosed);
  });
}

std::int64_t Writer::poll_append(const iovec *parts, int count, const bw_waker_t *waker) noexcept {
  Placed placed;
  return run_poll(
      waker, [&](Op &op) { return put(op, parts, count, Kind::kAppend, true, placed, Grant::kClosed); });
}

std::int64_t Writer::append_from_lane(const iovec *parts, int count, Patience patience, const bw_waker_t &waker,
                                      std::uint64_t &accepted) noexcept {
  Placed placed;
  const std::int64_t result = run_for_lane(
      patience, waker, [&](Op &op) { return put(op, parts, count, Kind::kAppend, true, placed, Grant::kClosed); });
  accepted = placed.bytes;
  return result;
}

// The one way in for bytes. Gives what the call gives: how many were accepted, an append's position, or a code.
std::int64_t Writer::put(Op &op, const iovec *list, int count, Kind kind, bool vectored, Placed &placed,
                         Grant grant) noexcept {
  Parts parts(list, count);
  const std::uint64_t total = parts.left();
  const bool is_small = total <= (inline_ ? capacity_ - 1 : capacity_);
  while (grant != Grant::kPen) {
    if (!unshared_ && total > 0 && is_small) {
      grant = try_reserve(parts, placed);
      if (grant == Grant::kDone) return kind == Kind::kAppend ? placed.position : static_cast<std::int64_t>(total);
      if (grant == Grant::kPen) break;
      if (is_mine()) return -EDEADLK;
      if (!await(op, {.mask = kForPen})) return would_wait();
    } else {
      if (const int code = take_pen(op)) return code == -EAGAIN ? would_wait() : code;
      grant = Grant::kPen;
    }
  }
  if (is_in_sink()) { // the reservation took the pen, but in a callback of the sink nothing can be emptied
    release_pen();
    return -EDEADLK;
  }
  const std::int64_t result = put_with_pen(op, parts, kind, vectored, placed);
  release_pen();
  if (result == -EAGAIN && std::exchange(op.stood_aside, false) && await(op, {.mask = kForRescue}))
    return put(op, list, count, kind, vectored, placed, Grant::kClosed);
  return result;
}

// One fetch_add. It reads first, so it may be tried again and again.
Writer::Grant Writer::try_reserve(Parts &parts, Placed &placed) noexcept {
  FlushBuffer<> &buffer = ring_.open_buffer();
  if (!buffer.is_open()) return Grant::kClosed;
  const std::uintptr_t me = thread_identity();
  CopySlot<RealAtomics> &slot = slots_.find(me);
  const std::uint64_t bytes = parts.left();
  const std::uint64_t offset = buffer.reserve(bytes);
  if (offset + bytes > block_) {
    if (offset > block_) return Grant::kClosed;
    ring_.take_pen(buffer, offset);
    pen_taken();
    return Grant::kPen;
  }
  placed = {buffer.position() + static_cast<std::int64_t>(offset), bytes};
  const bool is_first = offset == buffer.start(); // once our copy has ended, the buffer may begin a new round
  parts.copy_to(buffer.data() + offset, bytes);
  const bool is_own = slot.owner.load(std::memory_order_relaxed) == me;
  const bool is_watched = slots_.commit(slot, me, buffer.index(), bytes);
  if (is_own) {
    add_one(slot.writes);
    const std::uint64_t last_end = slot.last_end.load(std::memory_order_relaxed);
    slot.last_end.store(offset + bytes, std::memory_order_relaxed);
    if (last_end != offset || is_watched) after_reservation(slot, offset, is_watched, bytes);
  } else {
    slot.writes.fetch_add(1, std::memory_order_relaxed);
    if (is_watched) waits_.signal(kForCopies);
  }
  if (linger_ns_ && is_first) arm_linger();
  return Grant::kDone;
}

std::int64_t Writer::put_with_pen(Op &op, Parts &parts, Kind kind, bool vectored, Placed &placed) noexcept {
  if (const int code = refusal()) return code;
  placed = {end(), 0};
  const std::uint64_t total = parts.left();
  if (total > static_cast<std::uint64_t>(INT64_MAX - placed.position)) return -EOVERFLOW;
  std::int64_t result = 0;
  if (total > 0) result = inline_ ? put_inline(op, parts, kind, vectored) : put_ring(op, parts, kind);
  placed.bytes = static_cast<std::uint64_t>(end() - placed.position);
  if (result >= 0 && total > 0) count_write();
  return result >= 0 && kind == Kind::kAppend ? placed.position : result;
}

void Writer::count_write() noexcept {
  if (unshared_) {
    add_one(own_writes_);
    return;
  }
  const std::uintptr_t me = thread_identity();
  CopySlot<RealAtomics> &slot = slots_.find(me);
  slot.writes.fetch_add(1, std::memory_order_relaxed);
  // What this thread writes next, if nobody comes between, follows on from here: no reason for courtesy.
  if (slot.owner.load(std::memory_order_relaxed) == me && ring_.has_current())
    slot.last_end.store(ring_.has_bytes() ? ring_.fill() : CopySlots<>::kNowhere, std::memory_order_relaxed);
}

// At end(); there is room.
void Writer::copy_in(Parts &parts, std::uint64_t bytes) noexcept {
  parts.copy_to(ring_.end(), bytes);
  ring_.advance(bytes);
}

// ---- Inline: the rules of tokio's BufWriter ----

std::int64_t Writer::put_inline(Op &op, Parts &parts, Kind kind, bool vectored) noexcept {
  if (kind == Kind::kPollWrite && vectored && !sink_.is_vectored()) return put_slices_once(op, parts);
  const std::uint64_t total = parts.left();
  if (const int code = make_room(op, total)) return code;
  if (total >= capacity_) return put_around(op, parts, kind, vectored);
  copy_in(parts, total);
  return static_cast<std::int64_t>(total);
}

// So that `bytes` fit the buffer, or may go past it: empties it if they do not fit.
int Writer::make_room(Op &op, std::uint64_t bytes) noexcept {
  const bool goes_around = bytes >= capacity_;
  return bytes > ring_.room() || (goes_around && spill_.first()) ? empty_inline(op) : 0;
}

// A polled list for a plain sink: one large slice goes past the buffer, else whole slices while they fit.
std::int64_t Writer::put_slices_once(Op &op, Parts &parts) noexcept {
  parts.skip_empty();
  const std::uint64_t first = parts.front_length();
  if (const int code = make_room(op, first)) return code;
  if (first >= capacity_) {
    const iovec slice{const_cast<char *>(parts.front()), first};
    Parts one(&slice, 1);
    return put_around(op, one, Kind::kPollWrite, false);
  }
  std::uint64_t taken = 0;
  while (parts.left() > 0 && parts.front_length() <= ring_.room()) {
    taken += parts.front_length();
    copy_in(parts, parts.front_length());
    parts.skip_empty();
  }
  return static_cast<std::int64_t>(taken);
}

// Past the buffer, which is empty.
std::int64_t Writer::put_around(Op &op, Parts &parts, Kind kind, bool vectored) noexcept {
  if (const int code = acquire_sink(op)) return code;
  const std::int64_t start = end();
  const std::uint64_t total = parts.left();
  std::int64_t result;
  bypasses_.fetch_add(1, std::memory_order_relaxed);
  if (kind == Kind::kPollWrite) {
    result = bypass_once(op, parts, vectored);
  } else {
    const int code = vectored && !sink_.is_vectored() ? put_slices(op, parts) : bypass(op, parts, vectored);
    const auto accepted = static_cast<std::uint64_t>(end() - start);
    if (code == 0) {
      result = static_cast<std::int64_t>(total);
    } else if (accepted == 0) {
      result = code;
    } else if (kind == Kind::kWrite) {
      result = static_cast<std::int64_t>(accepted);
    } else {
      const int kept = keep_rest(parts);
      result = kept < 0 ? kept : static_cast<std::int64_t>(total);
    }
  }
  release_sink();
  return result;
}

// A list for a plain sink, all of it: large slices go past the buffer, small ones gather in it. Pen and sink.
int Writer::put_slices(Op &op, Parts &parts) noexcept {
  while (parts.left() > 0) {
    parts.skip_empty();
    const std::uint64_t length = parts.front_length();
    if (length > ring_.room()) {
      if (const int code = push_current(op)) return code;
    }
    if (length < capacity_) {
      copy_in(parts, length);
      continue;
    }
    const iovec slice{const_cast<char *>(parts.front()), length};
    Parts one(&slice, 1);
    const int code = bypass(op, one, false);
    parts.consume(length - one.left());
    if (code) return code;
  }
  return 0;
}

// Keeps what is left of an append in memory of its own, so that it is accepted whole. Pen and sink.
int Writer::keep_rest(Parts &parts) noexcept {
  const std::uint64_t rest = parts.left();
  // Inline, the block comes before the buffer: what is in that goes along, to keep the order.
  const std::uint64_t taken = inline_ ? ring_.head_taken() : 0;
  const std::uint64_t moved = inline_ ? ring_.fill() - taken : 0;
  SpillBlock *block = Spill::allocate(moved + rest);
  if (!block) return -ENOMEM;
  if (moved) std::memcpy(block->data(), ring_.current().data() + taken, moved);
  parts.copy_to(block->data() + moved, rest);
  if (inline_) {
    ring_.shift(taken + moved);
    ring_.current().set_position(ring_.current().position() + static_cast<std::int64_t>(rest));
  } else {
    if (ring_.has_bytes()) hand_on();
    ring_.drop_empty_current();
    ring_.set_tail(end() + static_cast<std::int64_t>(rest));
  }
  block->before = ring_.sealed();
  spill_.push(block);
  has_spill_.store(true, std::memory_order_release);
  kick();
  return 0;
}

// ---- Background: to the brim ----

std::int64_t Writer::put_ring(Op &op, Parts &parts, Kind kind) noexcept {
  const std::int64_t start = end();
  const std::uint64_t total = parts.left();
  int code = kind == Kind::kAppend ? await_append_room(op, total) : 0;
  while (code == 0 && parts.left() > 0) {
    if (!ring_.has_current() && !ring_.rotate(end())) {
      code = await_room(op, 1);
      continue;
    }
    copy_in(parts, std::min(parts.left(), ring_.room()));
    if (ring_.room() == 0) hand_on();
  }
  const std::int64_t accepted = end() - start;
  if (code == 0) return accepted;
  if (accepted == 0) return code;
  if (kind != Kind::kAppend) return accepted;
  if (const int failed = acquire_sink(op)) return failed;
  const int kept = keep_rest(parts);
  release_sink();
  return kept < 0 ? kept : static_cast<std::int64_t>(total);
}

// Waits until `buffers` blocks are free. Pen, kept meanwhile. 0, -EAGAIN, or why nothing is accepted any more.
int Writer::await_room(Op &op, std::uint64_t buffers) noexcept {
  const std::uint64_t turn = turns_.load(std::memory_order_acquire);
  if (const int code = refusal()) return code;
  if (stands_aside(op)) return -EAGAIN;
  const std::uint64_t begin = now_ns();
  const bool came = await(op, {.mask = kForRoom, .turn = turn, .buffers = buffers});
  if (op.patience != Patience::kPoll) {
    waits_for_room_.fetch_add(1, std::memory_order_relaxed);
    write_wait_.record(now_ns() - begin);
  }
  if (!came) return -EAGAIN;
  return stands_aside(op) ? -EAGAIN : refusal();
}

// An append that all buffers together can hold waits for room for all of it, so that it never stops part-way.
int Writer::await_append_room(Op &op, std::uint64_t bytes) noexcept {
  if (bytes > most_at_once()) {
    if (op.patience != Patience::kPoll) return 0; // piece by piece, as a long write
    op.why = {.mask = kForRoom, .turn = turns_.load(std::memory_order_acquire), .buffers = ring_.count()};
    return op.is_poll || nonblock_ ? -EMSGSIZE : -EAGAIN;
  }
  while (bytes > ring_.room() + ring_.free_buffers() * capacity_) {
    if (ring_.has_bytes()) hand_on();
    ring_.drop_empty_current();
    const std::uint64_t needed = (bytes + capacity_ - 1) / capacity_;
    if (const int code = await_room(op, needed)) return code;
  }
  return 0;
}

// ---- Spans ----

int Writer::reserve(std::size_t length, bw_span_t &span) noexcept {
  if (length == 0) return -EINVAL;
  if (length > capacity_) return -EMSGSIZE;
  return run_write(blocking_patience(), [&](Op &op) {
    for (;;) {
      const int code = unshared_ ? reserve_unshared(op, length, span) : reserve_shared(op, length, span);
      if (code != -EAGAIN || !std::exchange(op.stood_aside, false) || !await(op, {.mask = kForRescue})) return code;
    }
  });
}

// Room for `length` bytes in the current buffer: empties it, or begins the next one. Pen.
int Writer::make_span_room(Op &op, std::uint64_t length) noexcept {
  if (const int code = refusal()) return code;
  if (length > static_cast<std::uint64_t>(INT64_MAX - end())) return -EOVERFLOW;
  if (inline_) return length > ring_.room() ? empty_inline(op) : 0;
  if (ring_.has_current() && length > ring_.room()) hand_on();
  while (!ring_.has_current() && !ring_.rotate(end())) {
    if (const int code = await_room(op, 1)) return code;
  }
  return 0;
}

int Writer::reserve_unshared(Op &op, std::size_t length, bw_span_t &span) noexcept {
  if (const int code = take_pen(op)) return code;
  const int code = make_span_room(op, length);
  if (code == 0) {
    const std::uint64_t room = std::min(ring_.room(), static_cast<std::uint64_t>(INT64_MAX - end()));
    span = {ring_.end(), room, end(), &ring_.current()};
    span_open_ = true;
  }
  release_pen();
  return code;
}

// Counts a span that is about to be reserved; true: no other is open. Then what is accepted now stays accepted whatever
// becomes of it: the floor is below every open span.
bool Writer::count_span() noexcept {
  const bool is_first = open_spans_.fetch_add(1, std::memory_order_acq_rel) == 0;
  if (is_first) position(BW_ACCEPTED);
  return is_first;
}

void Writer::span_is_open(const bw_span_t &span, bool is_first) noexcept {
  if (!is_first) return;
  span_start_.store(span.position, std::memory_order_relaxed);
  span_end_.store(span.position + static_cast<std::int64_t>(span.length), std::memory_order_relaxed);
}

int Writer::reserve_shared(Op &op, std::size_t length, bw_span_t &span) noexcept {
  for (;;) {
    FlushBuffer<> &buffer = ring_.open_buffer();
    if (buffer.is_open()) {
      const bool is_first = count_span();
      const std::uint64_t offset = buffer.reserve(length);
      if (offset + length <= block_) {
        span = {buffer.data() + offset, length, buffer.position() + static_cast<std::int64_t>(offset), &buffer};
        span_is_open(span, is_first);
        if (linger_ns_ && offset == buffer.start()) arm_linger();
        return 0;
      }
      open_spans_.fetch_sub(1, std::memory_order_acq_rel);
      if (offset <= block_) {
        ring_.take_pen(buffer, offset);
        pen_taken();
        break;
      }
    }
    if (is_mine()) return -EDEADLK;
    if (!await(op, {.mask = kForPen})) return -EAGAIN;
  }
  const int code = is_in_sink() ? -EDEADLK : make_span_room(op, length);
  if (code == 0) {
    const bool is_first = count_span();
    span = {ring_.end(), length, end(), &ring_.current()};
    span_is_open(span, is_first);
    ring_.lend(length);
  }
  release_pen();
  return code;
}

int Writer::commit(bw_span_t &span, std::size_t used) noexcept {
  if (is_mine()) return -EDEADLK;
  auto *buffer = static_cast<FlushBuffer<> *>(span.private_);
  if (buffer < buffers_.get() || buffer >= buffers_.get() + ring_.count()) return -EINVAL;
  if (unshared_) return commit_unshared(span, used);
  if (used != span.length) return -EINVAL;
  span.private_ = nullptr;
  const std::uintptr_t me = thread_identity();
  CopySlot<RealAtomics> &slot = slots_.common(me);
  slot.writes.fetch_add(1, std::memory_order_relaxed);
  const bool is_watched = slots_.commit_common(slot, buffer->index(), used);
  open_spans_.fetch_sub(1, std::memory_order_acq_rel);
  if (is_watched) {
    waits_.signal(kForCopies);
    deliver(false);
  }
  return 0;
}

int Writer::commit_unshared(bw_span_t &span, std::size_t used) noexcept {
  if (!span_open_ || used > span.length) return -EINVAL;
  Op op;
  if (const int code = take_pen(op, true)) return code;
  span_open_ = false;
  span.private_ = nullptr;
  if (used) {
    ring_.advance(used);
    add_one(own_writes_);
  }
  if (!inline_ && ring_.room() == 0) hand_on();
  release_pen();
  return 0;
}

// ---- Positions ----

std::int64_t Writer::position(int level) noexcept {
  if (level == BW_WRITTEN) return written_.load(std::memory_order_acquire);
  if (level == BW_DURABLE) return durable_.load(std::memory_order_acquire);
  // A bypass moves the end only when it is over.
  if (unshared_) return std::max(tail_.load(std::memory_order_relaxed), written_.load(std::memory_order_acquire));
  const std::uint64_t cuts = cuts_.load(std::memory_order_acquire);
  std::int64_t reached;
  bool is_exact = ring_.accepted(reached);
  for (int turn = 0; !is_exact && turn < kAcceptedTries; ++turn) {
    relax(); // somebody is between two instructions, or copies a record
    is_exact = ring_.accepted(reached);
  }
  if (is_exact && reached > accepted_.load(std::memory_order_acquire)) {
    const std::lock_guard lock(floor_mutex_);
    // Only a cut takes back what was accepted, under the lock.
    if (cuts_.load(std::memory_order_relaxed) == cuts && reached > accepted_.load(std::memory_order_relaxed))
      accepted_.store(reached, std::memory_order_release);
  }
  return accepted_floor();
}

// What is known to be accepted without looking.
std::int64_t Writer::accepted_floor() const noexcept {
  return std::max(accepted_.load(std::memory_order_acquire), written_.load(std::memory_order_acquire));
}

// With the pen in hand: if no copy is outstanding, everything up to the end is accepted.
void Writer::raise_floor() noexcept {
  if (unshared_ || !ring_.sealed_committed()) return;
  if (ring_.has_current() && !ring_.current().all_committed(slots_, ring_.fill())) return;
  const std::lock_guard lock(floor_mutex_);
  accepted_.store(end(), std::memory_order_release);
}

// The end of the stream is at `position` now, and all levels with it. Pen and sink; nothing is unwritten.
void Writer::cut(std::int64_t position, bool is_discard) noexcept {
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level)
    notes_.settle(level, std::min(this->position(level), position), 0); // in position order, before those beyond
  {
    const std::lock_guard lock(floor_mutex_);
    accepted_.store(position, std::memory_order_release);
    cuts_.fetch_add(1, std::memory_order_acq_rel);
  }
  if (unshared_) tail_.store(position, std::memory_order_relaxed);
  for (auto *wanted : {&wanted_written_, &wanted_durable_, &sealed_end_})
    wanted->store(std::min(wanted->load(std::memory_order_relaxed), position), std::memory_order_release);
  written_.store(position, std::memory_order_release);
  durable_.store(std::min(durable_.load(std::memory_order_relaxed), position), std::memory_order_release);
  cut_position_.store(position, std::memory_order_relaxed);
  (is_discard ? discards_ : seeks_).fetch_add(1, std::memory_order_acq_rel);
  turns_.fetch_add(1, std::memory_order_acq_rel);
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
    notes_.cancel(level, position, -ECANCELED);
    level_moved(level, this->position(level));
  }
}

const void *Writer::buffer(std::size_t &length) noexcept {
  length = 0;
  if (!unshared_ || !ring_.has_current()) return nullptr;
  FlushBuffer<> &current = ring_.current();
  const std::uint64_t start = current.start();
  length = static_cast<std::size_t>(tail_.load(std::memory_order_relaxed) - current.position()) - start;
  return current.data() + start;
}

std::size_t Writer::buffered() noexcept {
  const std::int64_t unwritten = tail() - written_.load(std::memory_order_acquire);
  return unwritten > 0 ? static_cast<std::size_t>(unwritten) : 0;
}

} // namespace bwlib
