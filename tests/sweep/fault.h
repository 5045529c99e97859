/*
 * One planned fault among the counted operations of a target: operation number `at`, and all after it if the fault is
 * for ever, are answered as the plan says.
 *
 * There is one plan at a time, for what is interposed has no argument of ours. Thread safety: every function from any
 * thread.
 */
#ifndef BW_TESTS_SWEEP_FAULT_H
#define BW_TESTS_SWEEP_FAULT_H

#include <stdbool.h>
#include <stdint.h>

enum fault_kind {
  FAULT_WRITE,
  FAULT_FLUSH,
  FAULT_SEEK,
  FAULT_SYNC,
  FAULT_CLOSE,
  FAULT_RESERVE, /* fallocate */
  FAULT_CUT,     /* ftruncate */
  FAULT_SUBMIT,  /* a submission to io_uring as a whole */
  FAULT_KINDS
};

/* Answers besides codes: of writes only. */
#define FAULT_ZERO 0
#define FAULT_SHORT 1
/* What fault_next() gives where the operation is to do what it always does. */
#define FAULT_NONE INT32_MAX

typedef struct fault_plan {
  int64_t at;         /* below 0: never */
  int answer;         /* -errno, FAULT_ZERO or FAULT_SHORT */
  bool for_ever;
  int before; /* not 0: number `at` answers this, a code or (if it is a write) FAULT_SHORT, and the next one fails;
                 after a code for ever is every second one, so that each is met, for it is tried again */
  bool is_submission; /* it hits FAULT_SUBMIT and nothing else; `at` counts those alone */
  bool is_file;       /* what is restarted: a file's -ECANCELED too */
  bool is_descriptor; /* -EAGAIN is an answer of writes alone: a descriptor is polled for nothing else */
} fault_plan;

/* Starts counting anew. */
void fault_begin(const fault_plan *plan);
/* No operation fails any more. */
void fault_lift(void);
/* Counts an operation: FAULT_NONE, or what it has to answer. */
int fault_next(enum fault_kind kind);

int64_t fault_count(void);             /* operations so far, without submissions */
int64_t fault_submissions(void);
int64_t fault_fired(void);             /* how many of them were failed */
int64_t fault_fired_on(enum fault_kind kind);
/* How many writes, flushes and syncs failed for good. */
int64_t fault_failures(void);
bool fault_is_lifted(void);
/* 0, or the code of the first sync that failed for good: with -EOPNOTSUPP none does. */
int fault_failed_sync(void);
/* A code that is no failure of a write (or sync): it is tried again. */
bool fault_is_restarted(int code, bool is_file);

#endif
