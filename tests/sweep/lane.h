/* The lanes of the writer: what one has handed on is the writer's. */
#ifndef BW_TESTS_SWEEP_LANE_H
#define BW_TESTS_SWEEP_LANE_H

#include "run.h"

/* The lane of that number, made when it is asked for first. NULL: the writer has none. */
lane *lane_open(int number);
void lane_look(lane *self, const char *what);
void lane_free(lane *self);

#endif
