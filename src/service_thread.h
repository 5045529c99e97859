// Threads of ours: named, with a small stack, and no signal is ever handled there.
#pragma once

#include <pthread.h>

namespace bwlib {

// 0 or -errno. `name`: at most 15 characters.
int start_thread(pthread_t &out, const char *name, void *(*body)(void *), void *arg) noexcept;

} // namespace bwlib
