/*
 * The driver of all sweeps. A scenario is a point of a table: each axis has values with names, one may be numbers (of
 * the operation that fails), and a scenario has one of each.
 *
 *   sweep_files                                   a part of all, evenly spread; BW_LONG=1: all
 *   sweep_files 'uring*'                          the same of those whose first axes match these patterns
 *   sweep_files uring EIO 7 once retry            each axis is given: all that match, here one
 *
 * BW_TEST_EVERY=N runs every N-th of what would be run, for slow builds.
 *
 * What fails is named by one line, with what to give the program to run it alone; so is what hangs, after a while, or
 * crashes, which ends the program.
 */
#ifndef BW_TESTS_SWEEP_SWEEP_H
#define BW_TESTS_SWEEP_SWEEP_H

#include <stdbool.h>

enum { SWEEP_AXES_MOST = 10, SWEEP_WHY = 256 };

typedef struct sweep_axis {
  const char *name; /* for the usage */
  const char *const *values; /* NULL: numbers from 1 on, as many as the values before it have */
  int count;
} sweep_axis;

/* An axis with the names of an array. */
#define SWEEP_AXIS(name, values) {(name), (values), (int)(sizeof(values) / sizeof(values)[0])}
#define SWEEP_NUMBERS(name) {(name), NULL, 0}

enum sweep_answer {
  SWEEP_NO,    /* there is no such scenario */
  SWEEP_YES,
  SWEEP_CANNOT /* there is, but this system cannot do it */
};

typedef struct sweep_table {
  const char *program;
  sweep_axis axes[SWEEP_AXES_MOST];
  int axis_count;
  /* Of all points that begin so: the first `known` values are set, at least one. NULL: all are there. */
  enum sweep_answer (*exists)(const int *point, int known);
  /* How many numbers there are: of operations of a run without a fault. The values before are set. Below 0: that run
   * failed, and `why` says so. */
  int (*numbers)(const int *point, char why[SWEEP_WHY]);
  /* Runs one. False: it failed, and `why` says so. */
  bool (*run)(const int *point, char why[SWEEP_WHY]);
  unsigned every; /* without BW_LONG every so-maniest is run */
} sweep_table;

/* What main() returns: 77 if nothing failed, but the system cannot do some. */
int sweep_run(const sweep_table *table, int argc, char **argv);

#endif
