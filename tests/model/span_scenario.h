// Spans and waiting for copies: no wake-up is lost.
//
// A span is reserved by one thread and committed by another, through the common slot; a writer with a slot of its
// own copies at the same time. A flusher takes the pen and waits for both as Writer::await() and WaitList do: it
// raises the flags, passes the process barrier, looks once more and sleeps. Who commits and sees the flag looks for
// him and wakes him. A sleeper whom nobody wakes is a deadlock.
// Run with the library's own orders and a process barrier, and without one, with the orders it stands for.
// Invariants:
//   (1) The flush waits for the span and the copy, whoever ends first, and reads both whole (data races).
//   (2) It is woken when the last one ends.
//   (3) Only its range: a span reserved in the next round is none of its business.
#pragma once

#include "rig.h"

namespace model {

// WaitList, for one waiter that waits for copies.
template <class Model, class RigType>
class CopyWait {
 public:
  using Buffer = typename RigType::Buffer;

  void make() { sleep_.init(false, 0, 1, $); }
  void destroy() { sleep_.deinit($); }

  void await(RigType &rig, Buffer &buffer, std::uint64_t fill) {
    while (!buffer.all_committed(rig.slots(), fill)) {
      mutex_.lock($);
      is_waiting_ = true;
      buffer_ = &buffer;
      fill_ = fill;
      rig.slots().raise_flags();
      interest_.fetch_or(1, std::memory_order_acq_rel);
      mutex_.unlock($);
      Model::process_barrier();
      if (!buffer.all_committed(rig.slots(), fill)) sleep_.wait(false, false, $);
      mutex_.lock($);
      if (is_waiting_) {
        settle(rig);
      } else {
        sleep_.wait(true, false, $); // fired meanwhile
      }
      mutex_.unlock($);
    }
  }

  void signal(RigType &rig) {
    if (interest_.fetch_or(0, std::memory_order_acq_rel) == 0) return;
    mutex_.lock($);
    if (is_waiting_ && buffer_->all_committed(rig.slots(), fill_)) {
      settle(rig);
      unsigned before;
      sleep_.post(1, before, $);
    }
    mutex_.unlock($);
  }

 private:
  // Under the lock.
  void settle(RigType &rig) {
    is_waiting_ = false;
    if (interest_.exchange(0, std::memory_order_acq_rel)) rig.slots().lower_flags();
  }

  rl::mutex mutex_;
  rl::semaphore<CopyWait> sleep_;
  ModelAtomic<std::uint32_t> interest_;
  bool is_waiting_ = false; // the rest under mutex_
  Buffer *buffer_ = nullptr;
  std::uint64_t fill_ = 0;
};

template <class Model>
struct SpanScenario : rl::test_suite<SpanScenario<Model>, 4> {
  using RigType = Rig<Model, 1, 4>;
  using Grant = typename RigType::Grant;
  RigHolder<RigType> rig;
  CopyWait<Model, RigType> waits;
  typename RigType::Span span;    // handed over by `is_reserved`
  ModelAtomic<unsigned> is_reserved;

  void before() {
    rig.make();
    waits.make();
  }

  void thread(unsigned index) {
    switch (index) {
      case 0:
        span = rig->reserve_span(1, 1);
        is_reserved.store(1, std::memory_order_release);
        break;
      case 1:
        while (is_reserved.load(std::memory_order_acquire) == 0) yield();
        rig->fill_span(span, 1, 1);
        if (rig->commit_span(2, span, 1)) waits.signal(rig.get());
        break;
      case 2:
        if (rig->reserve_or_pen(3, 2, 1).is_watched) waits.signal(rig.get());
        break;
      default:
        flush();
        flush();
    }
  }

  void flush() {
    rig->take_pen();
    waits.await(rig.get(), rig->ring().current(), rig->ring().fill());
    rig->empty_inline();
    rig->release_pen();
  }

  void after() {
    rig->check_all(2);
    waits.destroy();
    rig.destroy();
  }
};

} // namespace model
