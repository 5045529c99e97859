#include "signal_shield.h"

#include <pthread.h>
#include <time.h>

#include "process.h"

namespace bwlib {

namespace {

constexpr int kSignals[] = {SIGPIPE, SIGXFSZ};

} // namespace

SignalShield::SignalShield() noexcept : active_(!thread_state.is_service) {
  if (!active_) return;
  sigset_t ours;
  sigemptyset(&ours);
  for (const int number : kSignals) sigaddset(&ours, number);
  pthread_sigmask(SIG_BLOCK, &ours, &before_);
  sigemptyset(&pending_);
  // Only a signal that was blocked already can have been pending.
  if (sigismember(&before_, SIGPIPE) || sigismember(&before_, SIGXFSZ)) sigpending(&pending_);
}

SignalShield::~SignalShield() {
  if (active_) pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void SignalShield::swallow(int error) const noexcept {
  if (!active_ || (error != EPIPE && error != EFBIG)) return;
  const int number = error == EPIPE ? SIGPIPE : SIGXFSZ;
  if (sigismember(&pending_, number)) return;
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  const timespec now{};
  while (sigtimedwait(&one, nullptr, &now) < 0 && errno == EINTR) {
  }
}

} // namespace bwlib
