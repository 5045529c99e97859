/* bw bench OUT: records from several threads. */
#ifndef BW_TOOL_BENCH_H
#define BW_TOOL_BENCH_H

#include "arguments.h"

/* Gives the exit status. */
int run_bench(const arguments *args);

#endif
