/* What a caller does about a code: he waits, or has the fault removed in one of the ways there are. */
#ifndef BW_TESTS_SWEEP_RECOVERY_H
#define BW_TESTS_SWEEP_RECOVERY_H

#include "run.h"

/* A call said -EAGAIN, and its sink is ready: it is worth trying again in a moment. */
void recovery_let_others_work(int64_t begun_us);
/* A sink that is not ready, and whom nobody has told to be asked again: the fault is to be recovered from. */
bool recovery_is_stuck(void);
/* A poll said -EAGAIN: waits for its waker, which comes if the sink is ready. */
void recovery_await_waker(void);
/* A sync has failed: what that means for ever. */
void recovery_check_failed_sync(void);
/* A call gave `code`; it may be tried again if this is true. `self`: the lane that was called, or NULL. */
bool recovery_try(int code, lane *self, const char *what);

#endif
