/* Writer (writer.go) in C: a window that is the core's buffer, over a sink that has nothing left to do. */
#ifndef BWGO_SHIM_WRITER_H
#define BWGO_SHIM_WRITER_H

#include <bw/bw.h>

typedef struct bwgo_window {
  bw_t *bw;
  bw_span_t span; /* all of the buffer, which is empty */
} bwgo_window;

/* A window of `capacity` bytes. 0 or a code. */
int bwgo_window_new(bwgo_window **out, size_t capacity);

/* The first `used` bytes are where they belong; the buffer is empty again. 0 or a code. */
int bwgo_window_next(bwgo_window *window, size_t used);

/* What was not given to bwgo_window_next() is forgotten. */
void bwgo_window_free(bwgo_window *window);

#endif
