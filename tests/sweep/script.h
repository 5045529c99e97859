/* The calls of the workload, one after another: each is tried until it is done, or until the run is over. */
#ifndef BW_TESTS_SWEEP_SCRIPT_H
#define BW_TESTS_SWEEP_SCRIPT_H

#include "run.h"

void script_play(void);

#endif
