#include "shim_writer.h"

#include <errno.h>
#include <stdlib.h>

/* Go has given the bytes to its io.Writer before it commits them: here they only count as taken. */
static int64_t take(void *ctx, const void *data, size_t length) {
  (void)ctx;
  (void)data;
  return (int64_t)length;
}

static int open_window(bwgo_window *window, size_t capacity) {
  bw_sink_t sink = BW_SINK_INIT;
  sink.write = take;
  bw_options_t options = BW_OPTIONS_INIT;
  options.flags = BW_UNSHARED;
  options.capacity = capacity;
  const int code = bw_new(&window->bw, &sink, NULL, &options);
  return code < 0 ? code : bw_reserve(window->bw, capacity, &window->span);
}

int bwgo_window_new(bwgo_window **out, size_t capacity) {
  *out = calloc(1, sizeof **out);
  if (!*out) return -ENOMEM;
  const int code = open_window(*out, capacity);
  if (code < 0) bwgo_window_free(*out);
  return code;
}

int bwgo_window_next(bwgo_window *window, size_t used) {
  const size_t capacity = window->span.length;
  const int code = bw_commit(window->bw, &window->span, used);
  /* So much fits an empty buffer only: the reservation flushes first. */
  return code < 0 ? code : bw_reserve(window->bw, capacity, &window->span);
}

void bwgo_window_free(bwgo_window *window) {
  bw_free(window->bw);
  free(window);
}
