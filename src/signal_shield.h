// Writes that must not kill the host: SIGPIPE and SIGXFSZ come to the thread that writes.
#pragma once

#include <signal.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace bwlib {

// While it lives, SIGPIPE and SIGXFSZ that this thread's writes raise are held back; swallow() takes one away. One that
// was pending before stays. Threads of ours have every signal blocked and need none of it.
class SignalShield {
 public:
  SignalShield() noexcept;
  SignalShield(const SignalShield &) = delete;
  SignalShield &operator=(const SignalShield &) = delete;
  ~SignalShield();

  // The write failed with `error`: the signal that came with it goes.
  void swallow(int error) const noexcept;

 private:
  const bool active_;
  sigset_t before_;
  sigset_t pending_;
};

// What a system call answered: a count, or -errno.
inline std::int64_t result_of(std::int64_t answer) noexcept {
  return answer < 0 ? -errno : answer;
}

// Runs a write of `offered` bytes that may raise a signal. A pipe raises SIGPIPE also where it took a part first.
template <class Call>
std::int64_t shielded(std::size_t offered, Call call) noexcept {
  const SignalShield shield;
  const std::int64_t result = result_of(call());
  if (result < 0) {
    shield.swallow(static_cast<int>(-result));
  } else if (static_cast<std::size_t>(result) < offered) {
    shield.swallow(EPIPE);
  }
  return result;
}

} // namespace bwlib
