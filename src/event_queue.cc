#include "event_queue.h"

namespace bwlib {

// The place of the last event of that kind; count(): there is none.
unsigned EventQueue::find_last(std::uint32_t kind) noexcept {
  for (unsigned index = count(); index > 0; --index) {
    if (at(index - 1).kind == kind) return index - 1;
  }
  return count();
}

// What was written goes on from what is still to be told: it is told with it, not later than it would be.
bool EventQueue::join(const Event &event) noexcept {
  const unsigned index = event.kind == BW_EVENT_WRITTEN ? find_last(event.kind) : count();
  if (index == count()) return false;
  Event &last = at(index);
  if (last.position + static_cast<std::int64_t>(last.length) != event.position) return false;
  last.length += event.length;
  return true;
}

// The oldest "written"; if there is none, the oldest.
void EventQueue::forget_one() noexcept {
  unsigned index = 0;
  while (index < count() && at(index).kind != BW_EVENT_WRITTEN) ++index;
  forget(index < count() ? index : 0);
}

void EventQueue::forget(unsigned index) noexcept {
  for (; index > 0; --index) at(index) = at(index - 1);
  first_ = (first_ + 1) % kSize;
  count_.store(count() - 1, std::memory_order_relaxed);
}

void EventQueue::push(const Event &event) noexcept {
  const std::lock_guard lock(mutex_);
  if (join(event)) return;
  const std::uint64_t number = pushed_.load(std::memory_order_relaxed) + 1;
  pushed_.store(number, std::memory_order_release); // pairs with last_number()
  // A later durable position says what the one before would.
  const unsigned before = event.kind == BW_EVENT_DURABLE ? find_last(event.kind) : count();
  if (before < count()) forget(before);
  if (count() == kSize) forget_one();
  at(count()) = event;
  at(count()).number = number;
  count_.store(count() + 1, std::memory_order_release); // pairs with empty()
}

bool EventQueue::pop(Event &event) noexcept {
  const std::lock_guard lock(mutex_);
  if (count() == 0) return false;
  event = at(0);
  first_ = (first_ + 1) % kSize;
  count_.store(count() - 1, std::memory_order_relaxed);
  return true;
}

} // namespace bwlib
