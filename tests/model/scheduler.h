// How the interleavings are chosen.
//
// With a fair coin at every operation, as Relacy's own random scheduler throws it, a thread of few operations is
// practically never late: those runs in which one thread sleeps while the others go round twice do not come up. So
// a third of the runs is of that kind, in a third a thread runs on for a while before another one's turn comes, and
// in a third threads have priorities, and the one that runs loses its at a few moments ("A randomized scheduler with
// probabilistic guarantees of finding bugs", Burckhardt et al., 2010).
#pragma once

#include "model_atomics.h"

namespace model {

template <rl::thread_id_t kThreads>
class MixedScheduler : public rl::scheduler<MixedScheduler<kThreads>, rl::scheduler_thread_info, kThreads> {
 public:
  using Base = rl::scheduler<MixedScheduler<kThreads>, rl::scheduler_thread_info, kThreads>;
  using typename Base::shared_context_t;
  struct task_t {};

  MixedScheduler(rl::test_params &params, shared_context_t &context, rl::thread_id_t dynamic_threads)
      : Base(params, context, dynamic_threads) {}

  rl::thread_id_t iteration_begin_impl() {
    random_ = (this->iter_ + 1) * 0x9E3779B97F4A7C15u;
    step_ = 0;
    kind_ = static_cast<Kind>(this->iter_ % 3);
    run_length_ = 2u << random() % 6;
    for (rl::thread_id_t thread = 0; thread < kThreads; ++thread) priority_[thread] = thread + 1;
    for (rl::thread_id_t thread = kThreads - 1; thread > 0; --thread)
      std::swap(priority_[thread], priority_[random() % static_cast<unsigned>(thread + 1)]);
    lowest_ = 0;
    for (unsigned &change : changes_) change = random() % kUsualSteps;
    return pick();
  }

  bool iteration_end_impl() { return this->iter_ == this->params_.iteration_count; }

  rl::thread_id_t schedule_impl(rl::unpark_reason &reason, unsigned yield) {
    reason = rl::unpark_reason_normal;
    ++step_;
    const rl::thread_id_t now = this->thread_->index_;
    const bool can_run_on = this->thread_->state_ == rl::thread_state_running && !yield;
    if (kind_ == Kind::kSticky && can_run_on && random() % run_length_ != 0) return now;
    if (kind_ == Kind::kPriorities && (yield || is_change())) priority_[now] = --lowest_;
    return pick();
  }

  unsigned rand_impl(unsigned limit, rl::sched_type) { return random() % limit; }
  rl::iteration_t iteration_count_impl() { return this->params_.iteration_count; }
  void get_state_impl(std::ostream &) {}
  void set_state_impl(std::istream &) {}
  void on_thread_block(rl::thread_id_t, bool) {}

 private:
  enum class Kind { kFair, kSticky, kPriorities };
  static constexpr unsigned kUsualSteps = 256; // of a run
  static constexpr unsigned kChanges = 3;

  unsigned random() { // xorshift64*
    random_ ^= random_ >> 12;
    random_ ^= random_ << 25;
    random_ ^= random_ >> 27;
    return static_cast<unsigned>(random_ * 0x2545F4914F6CDD1Du >> 33);
  }

  bool is_change() const {
    for (const unsigned change : changes_) {
      if (change == step_) return true;
    }
    return false;
  }

  rl::thread_id_t pick() {
    const auto count = static_cast<unsigned>(this->running_threads_count);
    rl::thread_id_t best = this->running_threads[random() % count];
    if (kind_ != Kind::kPriorities) return best;
    for (unsigned index = 0; index < count; ++index) {
      const rl::thread_id_t thread = this->running_threads[index];
      if (priority_[thread] > priority_[best]) best = thread;
    }
    return best;
  }

  std::uint64_t random_ = 1;
  Kind kind_ = Kind::kFair;
  unsigned run_length_ = 1;
  unsigned step_ = 0;
  int priority_[kThreads];
  int lowest_ = 0;
  unsigned changes_[kChanges];
};

} // namespace model
