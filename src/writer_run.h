// How a call of the API runs: once, or again after each wait; then telling what happened.
#pragma once

#include <algorithm>
#include <cerrno>

#include "writer.h"

namespace bwlib {

template <class Call>
auto Writer::run_write(Patience patience, Call call, std::uint64_t deadline_ns) noexcept
    -> decltype(call(std::declval<Op &>())) {
  const bool waits_for_sink =
      patience == Patience::kWaitForAll || (patience == Patience::kWait && !inline_);
  for (;;) {
    Op op;
    op.patience = patience;
    op.deadline_ns = deadline_ns;
    auto result = call(op);
    if (result == -EAGAIN && waits_for_sink && !op.timed_out && (op.why.mask & kForReady)) {
      deliver(false);
      if (await(op, op.why)) continue;
    }
    if (result == -EAGAIN && op.timed_out) result = -ETIMEDOUT;
    if (result < 0) shut_if_held();
    deliver(false);
    return result;
  }
}

template <class Call>
auto Writer::run(Patience patience, Call call, std::uint64_t deadline_ns) noexcept
    -> decltype(call(std::declval<Op &>())) {
  const auto result = run_write(patience, call, deadline_ns);
  deliver(unshared_);
  return result;
}

template <class Call>
auto Writer::run_poll(const bw_waker_t *waker, Call call, bool notes) noexcept -> decltype(call(std::declval<Op &>())) {
  Op op;
  op.is_poll = true;
  auto result = call(op);
  if (result == -EAGAIN && waker) {
    if (const int code = waits_.add_waker(*waker, op.why)) result = code;
  }
  if (result < 0) shut_if_held();
  deliver(notes);
  return result;
}

// With the patience of the lane and of this writer. After -EAGAIN the lane hears when it is worth trying again.
template <class Call>
auto Writer::run_for_lane(Patience lane, const bw_waker_t &waker, Call call) noexcept
    -> decltype(call(std::declval<Op &>())) {
  const Patience patience = std::min(lane, blocking_patience());
  decltype(call(std::declval<Op &>())) result = -EAGAIN;
  if (patience != Patience::kPoll) result = run_write(patience, call);
  return result == -EAGAIN ? run_poll(&waker, call) : result;
}

} // namespace bwlib
