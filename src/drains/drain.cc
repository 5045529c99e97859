#include "drain.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <new>

#include "../service_thread.h"

namespace bwlib {

namespace {

constexpr std::uint64_t kLongestUs = std::uint64_t{1} << 50; // 35 years: no deadline overflows the clock

} // namespace

Clock::time_point deadline_in_us(std::uint64_t timeout_us) noexcept {
  return Clock::now() + std::chrono::microseconds(std::min(timeout_us, kLongestUs));
}

Backoff::Backoff(std::uint64_t first_us, std::uint64_t longest_us) noexcept
    : first_us_(first_us), longest_us_(longest_us), now_us_(first_us),
      chance_(static_cast<std::minstd_rand::result_type>(Clock::now().time_since_epoch().count())) {}

std::uint64_t Backoff::next_us() noexcept {
  const std::uint64_t pause = std::min(now_us_, kLongestUs);
  now_us_ = pause < longest_us_ / 2 ? pause * 2 : longest_us_;
  return pause / 10 * 8 + pause * (chance_() % 41) / 100; // 80 % to 120 %
}

Drain::~Drain() {
  if (event_fd_ >= 0) ::close(event_fd_);
}

// ---- Making one ----

int Drain::read_batching(const bw_batch_options_t *theirs, bw_batch_options_t &ours) noexcept {
  ours = BW_BATCH_OPTIONS_INIT;
  if (theirs) {
    if (const int code = read_struct(theirs, ours)) return code;
  }
  if (ours.max_in_flight == 0) ours.max_in_flight = 1;
  if (ours.item_align == 0) ours.item_align = 1; // items of a batch then lie as one stream
  return 0;
}

int Drain::prepare(std::uint32_t max_in_flight) noexcept {
  ring_.reset(new (std::nothrow) Taken[max_in_flight]);
  if (!ring_) return -ENOMEM;
  room_ = max_in_flight;
  event_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return event_fd_ < 0 ? -errno : 0;
}

int Drain::start(bw_batch_t **out, std::unique_ptr<Drain> drain, const bw_batch_options_t &options) noexcept {
  if (const int code = drain->prepare(options.max_in_flight)) return code;
  bw_batch_sink_t sink = BW_BATCH_SINK_INIT;
  sink.write = [](void *ctx, bw_batch_view_t *view) { return static_cast<Drain *>(ctx)->take(view); };
  sink.close = [](void *ctx) { return static_cast<Drain *>(ctx)->close(); };
  bw_batch_t *batch = nullptr;
  if (const int code = bw_batch_new(&batch, &sink, drain.get(), &options)) return code;
  Drain *const self = drain.release(); // the batcher's from now on
  const auto body = [](void *arg) -> void * {
    static_cast<Drain *>(arg)->run();
    return nullptr;
  };
  if (const int code = start_thread(self->thread_, self->name_, body, self)) {
    bw_batch_free(batch);
    return code;
  }
  self->started_ = true;
  *out = batch;
  return 0;
}

void Drain::run() noexcept {
  serve();
  mutex_.lock();
  const bool orphaned = orphaned_;
  mutex_.unlock();
  if (orphaned) delete this;
}

// ---- The sink ----

void Drain::signal() noexcept {
  const std::uint64_t one = 1;
  while (::write(event_fd_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

int Drain::take(bw_batch_view_t *view) noexcept {
  const Taken taken{view, deadline_in_us(timeout_us_)};
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    assert(count_ < room_ && "the batcher keeps to max_in_flight");
    ring_[(head_ + count_++) % room_] = taken;
  }
  signal();
  return BW_BATCH_TAKEN;
}

int Drain::close() noexcept {
  if (!started_) {
    delete this;
    return 0;
  }
  const pthread_t thread = thread_;
  // A callback that our own answer has called may close the batcher: the thread cannot wait for itself.
  const bool is_ours = pthread_equal(thread, pthread_self()) != 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    orphaned_ = is_ours;
  }
  if (is_ours) {
    pthread_detach(thread);
    return 0;
  }
  signal();
  pthread_join(thread, nullptr);
  delete this;
  return 0;
}

// ---- For serve() ----

bool Drain::is_stopping() noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  return stopping_;
}

Taken Drain::oldest() noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  return count_ > 0 ? ring_[head_] : Taken{};
}

void Drain::answer(int code) noexcept {
  bw_batch_view_t *view;
  {
    // It leaves the ring before it is answered: the batcher may offer the next one from within.
    const std::lock_guard<std::mutex> lock(mutex_);
    assert(count_ > 0 && "only what was taken is answered");
    view = ring_[head_].view;
    head_ = (head_ + 1) % room_;
    --count_;
  }
  [[maybe_unused]] const int refused = bw_batch_done(view, code, nullptr);
  assert(refused == 0 && "a batch that was taken, and a code below 1");
}

Drain::Woken Drain::wait(int fd, short events, Clock::time_point until, bool for_batch) noexcept {
  pollfd fds[2] = {{event_fd_, POLLIN, 0}, {fd, events, 0}};
  for (;;) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_ && !leaving_) return Woken::kStopped;
      if (for_batch && count_ > 0) return Woken::kTaken;
    }
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(until - Clock::now()).count();
    const timespec timeout{left > 0 ? left / 1000000000 : 0, left > 0 ? left % 1000000000 : 0};
    const int count = ppoll(fds, 2, &timeout, nullptr);
    if (count > 0 && fds[0].revents) {
      // The flags above say what it was; one look at them serves any number of signals.
      std::uint64_t signals;
      [[maybe_unused]] const ssize_t length = ::read(event_fd_, &signals, sizeof signals);
    }
    if (count > 0 && fds[1].revents) return Woken::kReady;
    if (left <= 0) return Woken::kTimeout;
  }
}

} // namespace bwlib
