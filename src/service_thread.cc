#include "service_thread.h"

#include <signal.h>

#include <cerrno>
#include <cstddef>

namespace bwlib {

namespace {

constexpr std::size_t kStackBytes = 256 * 1024; // callbacks of the user's run there

} // namespace

int start_thread(pthread_t &out, const char *name, void *(*body)(void *), void *arg) noexcept {
  sigset_t all, before;
  sigfillset(&all);
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return -ENOMEM;
  pthread_attr_setstacksize(&attributes, kStackBytes);
  pthread_sigmask(SIG_SETMASK, &all, &before); // the thread inherits it
  int code = pthread_create(&out, &attributes, body, arg);
  if (code == EINVAL) code = pthread_create(&out, nullptr, body, arg); // the host's thread-locals need a larger stack
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (code) return -code;
  pthread_setname_np(out, name);
  return 0;
}

} // namespace bwlib
