// Accepting items; making and freeing a batcher.
#include "batcher.h"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <new>
#include <utility>

#include "service_thread.h"

namespace bwlib {

// ---- Making one ----

Batcher::Batcher(Setup &&setup) noexcept
    : generation_(enter_process()),
      sink_(setup.sink),
      ctx_(setup.ctx),
      options_(setup.options),
      owned_(std::move(setup.owned)),
      unshared_(options_.flags & BW_UNSHARED),
      background_(options_.flags & BW_BACKGROUND),
      capacity_(batch_state::pack(options_.max_items, options_.max_bytes)),
      full_(batch_state::mark(options_.max_items, options_.max_bytes)),
      alignment_(options_.item_align),
      slack_(options_.item_size ? 0 : alignment_ - 1),
      lengths_(options_.item_size, options_.item_size ? options_.item_size : options_.max_bytes),
      small_lengths_(std::max<std::uint64_t>(lengths_.least, 1), std::min<std::uint64_t>(lengths_.most(), kSmallBytes)),
      linger_ns_(ns_of_us(options_.linger_us)),
      backoff_ns_(ns_of_us(options_.backoff_us)),
      random_(now_ns() | 1),
      waits_(check_pending, this, slots_) {}

int Batcher::create(Batcher *&out, Setup &&setup) noexcept {
  std::unique_ptr<Batcher> batcher(new (std::nothrow) Batcher(std::move(setup)));
  if (!batcher) return -ENOMEM;
  if (const int code = batcher->build()) return code;
  out = batcher.release();
  return 0;
}

int Batcher::build() noexcept {
  const std::uint64_t count = options_.buffers, items = options_.max_items;
  blocks_.reset(new (std::nothrow) BatchBlock[count]);
  if (!blocks_) return -ENOMEM;
  // One mapping: slots; the blocks; and for each block, and for what is moved about, lists of items and fates.
  const std::uint64_t slots_bytes = unshared_ ? 0 : align_up(CopySlots<>::bytes(options_.buffers), kPageBytes);
  const std::uint64_t block_bytes = align_up(options_.max_bytes + items * slack_ + alignment_, kPageBytes);
  const std::uint64_t list_bytes = align_up(items * sizeof(iovec), kPageBytes);
  const std::uint64_t fates_bytes = align_up(items * sizeof(Fate), kPageBytes);
  std::uint64_t total;
  if (__builtin_mul_overflow(count + 1, block_bytes + list_bytes + fates_bytes, &total) ||
      __builtin_add_overflow(total, slots_bytes, &total))
    return -ENOMEM;
  if (const int code = mapping_.map(total - block_bytes)) return code;
  char *memory = mapping_.data();
  const auto take = [&memory](std::uint64_t bytes) { return std::exchange(memory, memory + bytes); };
  char *slots = take(slots_bytes);
  if (!unshared_) slots_.attach(slots, options_.buffers, has_process_barrier());
  scratch_ = reinterpret_cast<iovec *>(take(list_bytes));
  scratch_indexes_ = reinterpret_cast<std::uint32_t *>(take(fates_bytes));
  for (std::uint32_t index = options_.buffers; index-- > 0;) {
    BatchBlock &block = blocks_[index];
    block.owner = this;
    block.buffer.attach(take(block_bytes), capacity_, index);
    block.items = reinterpret_cast<iovec *>(take(list_bytes));
    block.fates = reinterpret_cast<Fate *>(take(fates_bytes));
    block.next = std::exchange(free_, &block);
  }
  gate_.buffer.attach(nullptr, capacity_, 0);
  const Lock lock(mutex_);
  if (background_ || linger_ns_ || backoff_ns_) {
    if (const int code = start_thread(service_thread_, "bw-batcher", service_main, this)) return code;
    has_service_ = true;
  }
  if (owned_) owned_->attach(*this);
  open_next();
  return 0;
}

// ---- Accepting an item ----

// Before the copy has ended for others, so that who finds all copies ended finds this. Gives 0.
int Batcher::batch_has_begun(BatchBlock &block) noexcept {
  block.begun_ns.store(now_ns(), std::memory_order_relaxed);
  if (linger_ns_) kick();
  return 0;
}

// The batch is full, or its use has risen to what `pressure` is to hear of.
void Batcher::mark_was_reached(BatchBlock &block) noexcept {
  const Visit visit(*this);
  if (filling_ != &block) return;
  if (batch_state::has_reached(buffer_state::offset(block.buffer.word()), full_)) {
    seal_filling();
  } else {
    look_at_pressure();
  }
}

template <class Item>
int Batcher::send_slowly(const Item &item, bool is_start) noexcept {
  if (!lengths_.has(item.length)) return options_.item_size ? -EINVAL : -EMSGSIZE;
  Visit visit(*this);
  Lock &lock = visit.lock();
  Call call{.is_poll = is_start, .kind = kForRoom};
  int code = 0;
  for (bool is_sent = false; !is_sent && code == 0;) {
    if (closing_) {
      code = -ESHUTDOWN;
    } else if (make_room(item.length)) {
      lock.unlock();
      is_sent = unshared_ ? try_send<false, true>(item) : try_send<true, true>(item);
      lock.lock();
    } else {
      code = await_room(lock, call);
    }
  }
  return code;
}

template <class Item>
int Batcher::send_item(const Item &item, bool is_start) noexcept {
  const bool is_sent =
      lengths_.has(item.length) && (unshared_ ? try_send<false, true>(item) : try_send<true, true>(item));
  return is_sent ? 0 : send_slowly(item, is_start);
}

template int Batcher::send_item(const Pieces &, bool) noexcept;

int Batcher::send_piece(const void *item, std::size_t length, bool is_start) noexcept {
  return send_item(Piece{item, length}, is_start);
}

int Batcher::send_small(const void *item, std::size_t length, bool is_start) noexcept {
  return try_send<true, false>(SmallPiece{item, length}) ? 0 : send_piece(item, length, is_start);
}

// As try_send(), whose looks at copies and at a mark that comes down are for others.
int Batcher::send_small_alone(const void *item, std::size_t length, bool is_start) noexcept {
  BatchBlock &block = *open_.load(std::memory_order_acquire);
  Place place;
  if (!try_reserve<false, false>(block, length, place)) [[unlikely]]
    return send_piece(item, length, is_start);
  fill<false>(block, place, SmallPiece{item, length});
  if (batch_state::items(place.before) == 0) [[unlikely]]
    return batch_has_begun(block);
  return 0;
}

// ---- Room ----

// True if an item of that length fits the filling batch. One that it does not fit is sealed.
bool Batcher::make_room(std::uint64_t length) noexcept {
  if (!filling_) return false;
  if (batch_state::fits(buffer_state::offset(filling_->buffer.word()), length, capacity_)) return true;
  seal_filling();
  return filling_ != nullptr;
}

// 0: look again. Otherwise what the send that finds no room gives.
int Batcher::await_room(Lock &lock, Call &call) noexcept {
  while (!filling_ && step(lock)) continue;
  if (filling_ || closing_) return 0;
  if (call.is_poll) return -EAGAIN;
  const bool may_wait = !is_inside();
  if (options_.when_full == BW_FULL_DROP_OLDEST) {
    // What is settled makes room as soon as it is told: by another thread, for this one has told all it could.
    if (may_wait && (has_settled() || drop_oldest())) {
      while (!filling_ && step(lock)) continue;
      if (!filling_ && has_settled()) wait(lock, call);
      return 0;
    }
  } else if (const BatchBlock *block = held(kEverything)) {
    if (!std::exchange(call.asked_again, true) && start_round()) return 0;
    if (options_.when_full == BW_FULL_WAIT && may_wait) {
      held_was_told_ = true;
      return block->code;
    }
  }
  if (options_.when_full == BW_FULL_WAIT && may_wait) {
    wait(lock, call);
    return 0;
  }
  if (options_.when_full == BW_FULL_WAIT || options_.when_full == BW_FULL_FAIL) return -EAGAIN;
  ++dropped_items_;
  return BW_BATCH_DROPPED;
}

bool Batcher::has_settled() const noexcept {
  for (const BatchBlock *block = oldest_; block; block = block->next) {
    if (block->life == BatchLife::kSettled) return true;
  }
  return false;
}

bool Batcher::drop_oldest() noexcept {
  for (BatchBlock *block = oldest_; block; block = block->next) {
    if (!block->is_waiting() || block->is_split) continue;
    settle(*block, block->count, -ENOBUFS, Reason::kDropped);
    return true;
  }
  return false;
}

// A free block, if there is one, is filled next.
void Batcher::open_next() noexcept {
  if (filling_ || closing_ || !free_) return;
  BatchBlock &block = *free_;
  free_ = std::exchange(block.next, nullptr);
  block.begun_ns.store(0, std::memory_order_relaxed);
  block.is_timed = false;
  block.life = BatchLife::kFilling;
  set_mark(block);
  block.next_place = block.buffer.data();
  block.buffer.open(0);
  filling_ = &block;
  open_.store(&block, std::memory_order_release); // partner: try_send()
  changed(kForRoom);
}

// No item goes into the filling batch any more; if it has any, it waits to be offered.
void Batcher::seal_filling() noexcept {
  BatchBlock &block = *filling_;
  const std::uint64_t offset = block.buffer.close();
  filling_ = nullptr;
  open_.store(&gate_, std::memory_order_release);
  block.count = static_cast<std::uint32_t>(batch_state::items(offset));
  block.bytes = batch_state::bytes(offset);
  block.buffer.seal(block.count);
  if (block.count == 0) {
    free_block(block);
    return;
  }
  block.sealed_ns = now_ns();
  block.serial = ++serial_;
  block.first = sealed_items_ + 1;
  sealed_items_ += block.count;
  block.told = block.settled = block.delivered = 0;
  block.ends[0] = block.count;
  block.depth = 0;
  block.is_split = block.is_copied = block.is_dead = false;
  block.pause = {};
  new_part(block);
  block.life = BatchLife::kWaiting;
  block.next = nullptr;
  (oldest_ ? newest_->next : oldest_) = &block;
  newest_ = &block;
  ++open_batches_;
  open_next();
  look_at_pressure();
  kick();
}

// The same if it has items.
void Batcher::seal_if_any() noexcept {
  if (filling_ && accepted() > sealed_items_) seal_filling();
}

void Batcher::free_block(BatchBlock &block) noexcept {
  block.buffer.end_flight();
  block.life = BatchLife::kFree;
  block.next = std::exchange(free_, &block);
  open_next();
}

// ---- Pressure ----

// Where a sender is to look: where the batch is full, or where its filling makes for pressure.
void Batcher::set_mark(BatchBlock &block) noexcept {
  std::uint64_t mark = full_;
  if (options_.pressure && !pressure_) {
    // In hundredths of a batch; what is sealed counts whole.
    const std::int64_t missing = high_use() - 100 * std::int64_t{open_batches_};
    if (missing > 0 && missing < 100) {
      const auto part = [missing](std::uint64_t whole) {
        return (whole * static_cast<std::uint64_t>(missing) + 99) / 100;
      };
      mark = batch_state::mark(part(options_.max_items), part(options_.max_bytes));
    }
  }
  block.mark.store(mark, std::memory_order_seq_cst); // partner: try_send()
}

// Tells an edge of pressure if use has just come to it.
void Batcher::look_at_pressure() noexcept {
  if (!options_.pressure) return;
  if (filling_) set_mark(*filling_);
  const std::uint64_t offset = filling_ ? buffer_state::offset(filling_->buffer.word()) : 0;
  const std::uint64_t items = batch_state::items(offset), bytes = batch_state::bytes(offset);
  constexpr unsigned kShift = 32; // for comparing uses; limits are compared exactly
  const std::uint64_t part = std::max((items << kShift) / options_.max_items, (bytes << kShift) / options_.max_bytes);
  const std::uint64_t before = std::exchange(use_, (std::uint64_t{open_batches_} << kShift) + part);
  // True if the filled part comes to `hundredths` of a batch.
  const auto reaches = [&](std::int64_t hundredths, auto compare) {
    const auto scaled = [&](std::uint64_t value) { return static_cast<std::int64_t>(value * 100); };
    return compare(scaled(items), hundredths * static_cast<std::int64_t>(options_.max_items)) ||
           compare(scaled(bytes), hundredths * static_cast<std::int64_t>(options_.max_bytes));
  };
  const std::int64_t sealed = 100 * std::int64_t{open_batches_};
  const bool is_high = reaches(high_use() - sealed, std::greater_equal<>());
  const bool is_low = !reaches(low_use() - sealed, std::greater<>());
  if (!pressure_ && is_high && use_ > before) {
    pressure_ = true;
  } else if (pressure_ && is_low && use_ < before) {
    pressure_ = false;
  } else {
    return;
  }
  // An edge that was not told yet is undone by the next.
  edge_ = {!edge_.is_pending, pressure_, ++happened_};
  if (!pressure_) look_at_pressure(); // with the new mark
}

// ---- From any thread ----

std::uint64_t Batcher::accepted() noexcept {
  return sealed_items_ + (filling_ ? batch_state::items(buffer_state::offset(filling_->buffer.word())) : 0);
}

int Batcher::error() noexcept {
  const Lock lock(mutex_);
  const BatchBlock *block = held(kEverything);
  return block ? block->code : 0;
}

std::size_t Batcher::buffered() noexcept {
  const Lock lock(mutex_);
  return accepted() - settled_items_ - taken_items_;
}

std::uint64_t Batcher::flushed() noexcept {
  const Lock lock(mutex_);
  return delivered_batches_;
}

void Batcher::get_stats(bw_batch_stats_t &stats) noexcept {
  const Lock lock(mutex_);
  stats = {};
  stats.size = sizeof stats;
  stats.total_items = delivered_items_;
  stats.total_batches = delivered_batches_;
  stats.max_batch_size = largest_batch_;
  stats.dropped_items = dropped_items_;
  stats.failed_items = given_up_items_;
  stats.retries = retries_;
  stats.bytes = delivered_bytes_;
  stats.buffered_items = accepted() - settled_items_ - taken_items_;
  stats.in_flight_items = taken_items_;
  stats.in_batch = in_batch_.read();
  stats.to_delivered = to_delivered_.read();
}

// ---- Freeing ----

void Batcher::destroy(Batcher *batcher) noexcept {
  if (batcher->is_of_this_process()) batcher->finish();
  delete batcher;
}

// Settles all there is, closes the sink, and sees every other thread leave.
void Batcher::finish() noexcept {
  Lock lock(mutex_);
  closing_ = true;
  if (filling_) seal_filling();
  Call call{.is_poll = false, .kind = kForLevel};
  if (!closed_) start_round();
  for (;;) {
    while (step(lock)) continue;
    if (!oldest_) break;
    if (!give_up_hopeless()) wait(lock, call);
  }
  if (!closed_ && take_sink(lock, call)) {
    if (!is_dead_ && sink_.flush) call_flush(lock);
    close_sink(lock);
    give_sink();
  }
  stop_ = true;
  kick();
  lock.unlock();
  if (owned_) owned_->detach();
  while (inside_.load(std::memory_order_acquire) != 0) { // in their last callbacks or instructions
    constexpr timespec kPause{0, 50'000};
    nanosleep(&kPause, nullptr);
  }
  if (has_service_) pthread_join(service_thread_, nullptr);
  waits_.fire_all();
  lock.lock();
  tell(lock);
}

// Gives up what no more waiting helps: the batch that is next, or all if the sink is not to be called any more. False:
// there is none.
bool Batcher::give_up_hopeless() noexcept {
  bool any = false;
  for (BatchBlock *block = oldest_; block; block = block->next) is_dead_ |= block->is_dead;
  for (BatchBlock *block = oldest_; block; block = block->next) {
    if (!block->is_waiting()) continue;
    int code = 0;
    if (is_dead_) {
      code = BW_ESINK;
    } else if (block->life == BatchLife::kHeld) {
      code = block->code;
    } else if (block->pause.needs_wake && !block->pause.is_over(wakes_)) {
      code = -EAGAIN;
    }
    if (code == 0) continue;
    settle(*block, block->count - block->settled, code, Reason::kGivenUp);
    any = true;
    if (!is_dead_) break;
  }
  return any;
}

} // namespace bwlib
