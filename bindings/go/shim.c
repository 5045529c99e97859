#include "shim.h"

#include "_cgo_export.h"

static _Thread_local bwgo_call *current;

void bwgo_begin(bwgo_call *call) {
  *call = (bwgo_call){current, 0};
  current = call;
}

bwgo_answer bwgo_end(bwgo_call *call, int64_t value) {
  current = call->outer;
  return (bwgo_answer){value, call->ended};
}

bool bwgo_in_call(void) { return current && !current->ended; }

void bwgo_set_ended(uintptr_t ended) { current->ended = ended; }

static void wake(void *token) { bwgoWake((uintptr_t)token); }

bw_waker_t bwgo_waker(uintptr_t token) { return (bw_waker_t){wake, (void *)token}; }
