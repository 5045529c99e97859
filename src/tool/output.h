/* OUT: a writer, and what is to be said about it in the end. */
#ifndef BW_TOOL_OUTPUT_H
#define BW_TOOL_OUTPUT_H

#include <bw/bw.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "arguments.h"

typedef struct output {
  bw_t *bw;
  const char *name; /* as messages call it */
  int64_t start;    /* position of our first byte */
  struct timespec begin;
} output;

/* How many bytes of ours have come to `level`. */
int64_t output_bytes(const output *self, int level);
double output_seconds(const output *self);

/* False: it could not be opened, and why has been said. `flags` are added to those that the arguments bring. */
bool open_output(output *out, const arguments *args, uint32_t flags);
/* All is written (with `syncs`, durable) and OUT is closed; or a code. */
int close_output(output *self, bool syncs);
/* Says why, and how much was lost: what could not be written is given up. */
void say_lost(output *self, int code);
/* "io_uring, O_DIRECT, durable": by which way the bytes went, and how far. */
void say_way(const output *self);
/* The statistics as a JSON object, without a newline, to standard output. */
bool print_stats(const output *self);

/* False: what was printed to standard output did not get there, and why has been said. */
bool flush_stdout(void);

#endif
