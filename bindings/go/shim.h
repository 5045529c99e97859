/* What Go needs in C: callbacks that lead to exported functions, and the calls under which they may run. */
#ifndef BWGO_SHIM_H
#define BWGO_SHIM_H

#include <bw/bw.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* What a call gave, and how a callback ended that ran in it on this thread and did not return (ending.token in Go). */
typedef struct bwgo_answer {
  int64_t value;
  uintptr_t ended;
} bwgo_answer;

/* A call under which callbacks may run begins with bwgo_begin() and ends with bwgo_end(), on one thread. */
typedef struct bwgo_call {
  struct bwgo_call *outer;
  uintptr_t ended;
} bwgo_call;

void bwgo_begin(bwgo_call *call);
bwgo_answer bwgo_end(bwgo_call *call, int64_t value);

/* The body of a function that makes one such call. */
#define UNDER_CALL(expression)          \
  do {                                  \
    bwgo_call call;                     \
    bwgo_begin(&call);                  \
    return bwgo_end(&call, expression); \
  } while (0)

/* In a callback: whether a call of Go's stands below it and has no ending yet. If not, it is as on a thread of ours. */
bool bwgo_in_call(void);
/* In a callback that is bwgo_in_call(): the call will answer with this ending. */
void bwgo_set_ended(uintptr_t ended);

/* A waker that calls wake() of the value behind `token`. */
bw_waker_t bwgo_waker(uintptr_t token);

/* The same as the argument of a poll; NULL if the token is 0. */
#define WAKER(token) ((token) ? (const bw_waker_t[]){bwgo_waker(token)} : NULL)

#endif
