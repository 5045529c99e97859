/*
 * The scripted workload of the fault sweep, and its oracle.
 *
 * The oracle knows which byte each call accepted, and where it belongs. A watermark that is claimed is compared with
 * the target at the moment at which it is read: what is written is there, what is durable was there when a sync
 * succeeded. In the end the target holds exactly the accepted bytes, at their places, none twice; or the library said
 * what is missing: by the event of bw_free() or the count of bw_discard().
 *
 * One run at a time: what is interposed asks for it without an argument.
 */
#ifndef BW_TESTS_SWEEP_WORKLOAD_H
#define BW_TESTS_SWEEP_WORKLOAD_H

#include <bw/bw.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WORKLOAD_MOST = 1 << 18 }; /* bytes of a target */

/* Where the bytes go, as the oracle sees it. Every function from any thread. */
typedef struct workload_target {
  int64_t (*size)(void);
  size_t (*read)(int64_t from, void *out, size_t length); /* how many bytes there are */
  void (*put)(int64_t at, const void *data, size_t length); /* past the library: for the sink that takes over */
} workload_target;

/* How a writer is made. */
typedef struct workload_way {
  const char *name;
  uint32_t flags;
  uint32_t engine;
  size_t capacity;
  uint64_t linger_us;
  uint64_t preallocate;
  bool is_file;
  bool is_descriptor; /* what is counted are its system calls, and no sink of ours is there */
  bool is_plain;     /* the sink has no writev */
  bool never_wakes;  /* a sink that says -EAGAIN does not call bw_wake() */
} workload_way;

enum workload_recovery {
  WORKLOAD_RETRY,
  WORKLOAD_SET_SINK,
  WORKLOAD_DISCARD,
  WORKLOAD_CLOSE,
  WORKLOAD_FREE,
  WORKLOAD_RECOVERIES
};

/* Makes the writer of `way`, without faults: 0 or its code. Targets of callbacks give workload_sink() to bw_new(). */
typedef int (*workload_maker)(bw_t **out, const workload_way *way, const bw_options_t *options);

/* The sink of callbacks, over the target, with faults; and its `ctx`. */
bw_sink_t workload_sink(const workload_way *way);
void *workload_sink_context(void);
/* A sync of the target succeeds now: what it holds is durable. */
void workload_synced(void);

/* Runs the workload under the fault that was begun (fault.h), which callers may be told of by `code`; 0: by none. True
 * if all was as it has to be; else `why` says what was not. */
bool workload_do(const workload_way *way, const workload_target *target, workload_maker make,
                 enum workload_recovery recovery, int code, char why[256]);

#endif
