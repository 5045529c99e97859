#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int64_t output_bytes(const output *self, int level) {
  return bw_position(self->bw, level) - self->start;
}

double output_seconds(const output *self) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)(now.tv_sec - self->begin.tv_sec) + (double)(now.tv_nsec - self->begin.tv_nsec) / 1e9;
}

bool open_output(output *out, const arguments *args, uint32_t flags) {
  const bool is_stdout = strcmp(args->path, "-") == 0;
  bw_options_t options = BW_OPTIONS_INIT;
  /* Pipes and devices are written in the background, as files are. */
  options.flags = flags | BW_BACKGROUND | (args->is_buffered ? BW_BUFFERED : 0u);
  options.capacity = args->capacity;
  options.buffers = args->buffers;
  options.engine = args->engine;
  const int oflags = O_WRONLY | O_CREAT | (args->appends ? O_APPEND : O_TRUNC);
  *out = (output){.name = is_stdout ? "standard output" : args->path};
  const int code =
      is_stdout ? bw_fdopen(&out->bw, STDOUT_FILENO, &options) : bw_open(&out->bw, args->path, oflags, 0666, &options);
  if (code < 0) {
    fprintf(stderr, "bw: %s: %s\n", out->name, bw_strerror(code));
    return false;
  }
  out->start = bw_tell(out->bw);
  clock_gettime(CLOCK_MONOTONIC, &out->begin);
  return true;
}

int close_output(output *self, bool syncs) {
  const int code = syncs ? bw_sync(self->bw) : 0;
  const int close_code = bw_close(self->bw); /* after a failed sync it writes what is left */
  return code < 0 ? code : close_code;
}

void say_lost(output *self, int code) {
  /* Discarded here, so that bw_free() does not try again and make this message wrong. */
  const int64_t lost = bw_discard(self->bw);
  const int64_t written = output_bytes(self, BW_WRITTEN);
  fprintf(stderr, "bw: %s: %s: %" PRId64 " bytes were written", self->name, bw_strerror(code), written);
  if (lost > 0) {
    fprintf(stderr, ", %" PRId64 " were lost\n", lost);
  } else {
    fprintf(stderr, ", %" PRId64 " are known to be durable\n", output_bytes(self, BW_DURABLE));
  }
}

void say_way(const output *self) {
  static const char *const kEngines[] = {"write", "io_uring", "pwrite"}; /* in the order of enum bw_engine */
  bw_stats_t stats = BW_STATS_INIT;
  bw_get_stats(self->bw, &stats);
  const char *engine = stats.engine < sizeof kEngines / sizeof kEngines[0] ? kEngines[stats.engine] : "?";
  const char *cache = stats.engine == BW_ENGINE_AUTO ? "" : stats.direct ? ", O_DIRECT" : ", page cache";
  const bool is_durable = stats.syncs > 0 && output_bytes(self, BW_DURABLE) >= output_bytes(self, BW_ACCEPTED);
  fprintf(stderr, "%s%s, %s", engine, cache, is_durable ? "durable" : "not synced");
}

bool print_stats(const output *self) {
  const int64_t length = bw_stats_json(self->bw, NULL, 0);
  char *text = length < 0 ? NULL : malloc((size_t)length + 1);
  if (!text) return false;
  bw_stats_json(self->bw, text, (size_t)length + 1);
  fputs(text, stdout);
  free(text);
  return true;
}

bool flush_stdout(void) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return true;
  fprintf(stderr, "bw: standard output: %s\n", strerror(errno));
  return false;
}
