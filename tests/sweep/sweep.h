/*
 * The loop of a sweep: ways x faults x once or for ever x recoveries x number of the operation.
 *
 *   sweep_files                                     a part of all, evenly spread; BW_LONG=1: all
 *   sweep_files WAY                                 of one way, or of those that it matches: 'uring*'
 *   sweep_files WAY K FAULT once|ever RECOVERY      one scenario
 *
 * BW_TEST_EVERY=N thins it out further, for slow builds.
 */
#ifndef BW_TESTS_SWEEP_SWEEP_H
#define BW_TESTS_SWEEP_SWEEP_H

#include "fault.h"
#include "workload.h"

typedef struct sweep_side {
  const char *name;
  long stride; /* without BW_LONG every so-maniest scenario is run */
  const sweep_way *ways;
  size_t way_count;
  const sweep_target *target;
  sweep_maker make;
  void (*begin)(const sweep_way *way); /* before each scenario, */
  const char *(*end)(void);            /* and after it: what else is wrong, or NULL */
  int (*probe)(const sweep_way *way);  /* 0: the system has what it needs; NULL: it always has */
  bool (*can_fail)(const sweep_way *way, const fault_plan *plan); /* the system can do that; NULL: always */
} sweep_side;

/* What main() returns: 77 if nothing failed, but some were left out because the system cannot do them. */
int sweep_run(const sweep_side *side, int argc, char **argv);

#endif
