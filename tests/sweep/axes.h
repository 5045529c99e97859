/*
 * Scenarios as points of a table: each axis has named values, a scenario has one of each.
 *
 * A program runs all of them, or every so-maniest (see axes_run()), or the one that its arguments name:
 *
 *   batch_sweep hold inline poll 7 EIO plain once flush
 *
 * A scenario that fails is named that way, in one line. One that hangs ends the program after a while, named too.
 */
#ifndef BW_TESTS_AXES_H
#define BW_TESTS_AXES_H

#include <stdbool.h>
#include <stddef.h>

enum { AXES_MOST = 10, AXES_WHY = 256 };

typedef struct scenario_axis {
  const char *const *names; /* NULL: numbers from 1 on, as many as the points in front of it have */
  int count;
} scenario_axis;

typedef struct scenario_axes {
  const char *program;
  scenario_axis list[AXES_MOST];
  int count;
  /* False: there is no such scenario. Only the axes before the `known`th are set. May be NULL. */
  bool (*exists)(const int *point, int known);
  /* How many numbers the axis without names has; the axes before it are set. */
  int (*numbers)(const int *point);
  /* Runs one; false: it failed, and `why` says so. */
  bool (*run)(const int *point, char *why);
  unsigned usual_every; /* without BW_LONG every so-maniest is run */
} scenario_axes;

/* What main() returns. BW_LONG=1 runs all; BW_TEST_EVERY=N every N-th of what would be run. */
int axes_run(const scenario_axes *axes, int argc, char **argv);

#endif
