/*
 * What should be at the target, and what the library may say. Each claim of it is compared with the target at the
 * moment at which it is read; what does not hold is told to run_wrong().
 */
#ifndef BW_TESTS_SWEEP_ORACLE_H
#define BW_TESTS_SWEEP_ORACLE_H

#include "run.h"

void oracle_append(pending *to, const void *bytes, size_t count);
void oracle_remove_first(pending *from, size_t count);
int64_t oracle_end(const pending *bytes);

/* Everything below `written` is said to be at the target. */
void oracle_settle(int64_t written, const char *what);
/* What is not written is given up. A file may have some of it, but not beyond its size. */
void oracle_give_up(void);
/* The bytes that LOST events told of must be the last ones of `bytes`. Gives how many come before them. */
size_t oracle_before_lost(test_events *events, const pending *bytes, const char *what);

/* All that the writer tells of itself. */
void oracle_look(const char *what);
void oracle_look_at_durable(int64_t durable, int64_t written);
/* The target holds what is written, and nothing else. */
void oracle_compare_all(const char *what);
/* All accepted bytes are at the target; and durable. */
void oracle_all_is_written(const char *what);
void oracle_all_is_durable(const char *what);

/* 0, or the code of a failed sync, which stays whatever is done about the fault. */
bool oracle_may_come(int code);
/* The same, or the code that the planned fault may lead to. */
bool oracle_is_expected(int code);

#endif
