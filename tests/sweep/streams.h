/*
 * The sweep of streams and files: ways to make a writer x faults x number of the operation x once or for ever x ways to
 * recover, each a run of the one workload.
 */
#ifndef BW_TESTS_SWEEP_STREAMS_H
#define BW_TESTS_SWEEP_STREAMS_H

#include "fault.h"
#include "workload.h"

enum { STREAMS_WAYS_MOST = 32 };

typedef struct streams_side {
  const char *program;
  unsigned every; /* without BW_LONG every so-maniest scenario is run */
  const workload_way *ways;
  int way_count;
  const workload_target *target;
  workload_maker make;
  void (*begin)(const workload_way *way); /* before each scenario, */
  const char *(*end)(void);               /* and after it: what else is wrong, or NULL */
  int (*probe)(const workload_way *way);  /* 0: the system has what it needs; NULL: it always has */
  bool (*can_fail)(const workload_way *way, const fault_plan *plan); /* the system can do that; NULL: always */
} streams_side;

/* What main() returns. */
int streams_run(const streams_side *side, int argc, char **argv);

#endif
