/*
 * Calls that create something, counted and made to fail: the malloc family, mappings, threads, descriptors, and what
 * the kernel may refuse. Linked into a program, these stand in place of the C library's own.
 *
 * Under a sanitizer or valgrind, which bring their own malloc, nothing is counted: failing_is_blind().
 *
 * Thread safety: one thread begins and ends; the calls may come from any.
 */
#ifndef BW_TESTS_FAILING_H
#define BW_TESTS_FAILING_H

#include <stdbool.h>
#include <stdint.h>

enum failing_kind {
  FAILING_MEMORY = 1, /* the malloc family and mmap */
  FAILING_OTHERS = 2,
  FAILING_ALL = 3
};

/* From now on calls of these kinds are counted; number `number` (from 1 on; 0: none) fails, and, if `is_ever`, all
 * after it. `turn` chooses among the errnos that the call can give. */
void failing_begin(enum failing_kind kinds, int number, bool is_ever, unsigned turn);
/* Ends that and gives how many calls were counted. */
int failing_end(void);
bool failing_is_blind(void);

/* Of the calls since failing_begin() that failed: how many were no mere refinement, whether one of these gave `code`,
 * and the name of the last of all (NULL: none failed). */
int failing_hard(void);
bool failing_gave(int code);
const char *failing_call(void);
/* How many errnos the first of them can give: turns beyond that repeat. 0: none failed. */
unsigned failing_turns(void);
/* io_uring is all there is: without it nothing can be made. */
void failing_needs_ring(bool needs);

/* What there is now, created by calls of the program and its libraries; of threads: not joined. */
int64_t failing_live_blocks(void);
int64_t failing_live_mappings(void);
int64_t failing_live_threads(void);

#endif
