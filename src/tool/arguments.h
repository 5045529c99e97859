/* The command line. */
#ifndef BW_TOOL_ARGUMENTS_H
#define BW_TOOL_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

/* Exit statuses. One that a signal brought about is 128 and its number. */
enum { kExitOk = 0, kExitFailed = 1, kExitUsage = 2, kExitSignal = 128 };

typedef struct arguments {
  bool is_bench;
  const char *path; /* "-": standard output */
  bool appends;
  bool syncs;
  bool is_direct; /* asked for by name; it is the default too */
  bool is_buffered;
  bool is_quiet;
  bool wants_json;
  uint64_t capacity;
  uint32_t buffers;
  uint32_t engine;
  /* bw bench */
  uint32_t threads;
  uint64_t record_bytes;
  uint64_t total_bytes; /* 0: as many as there is time for */
  double seconds;       /* 0: as long as it takes */
  bool uses_lanes;
  bool commits;
} arguments;

/* True: go on. False: all is done, or what is wrong has been said; `status` is the exit status. */
bool parse_arguments(arguments *out, int argc, char **argv, int *status);

#endif
