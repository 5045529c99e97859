/* bw OUT: copies standard input through the library. */
#ifndef BW_TOOL_COPY_H
#define BW_TOOL_COPY_H

#include "arguments.h"

/* Gives the exit status. */
int run_copy(const arguments *args);

#endif
