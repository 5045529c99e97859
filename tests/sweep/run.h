/*
 * The state of the workload's one run, which its parts share: script.c makes the calls, sink.c takes the bytes,
 * oracle.c knows what should be there, recovery.c does what a caller does about a failure, lane.c sees to the lanes.
 */
#ifndef BW_TESTS_SWEEP_RUN_H
#define BW_TESTS_SWEEP_RUN_H

#include "rig.h"
#include "workload.h"

enum { kLanes = 2, kNotes = 4, kGhosts = 3 };

/* Accepted bytes that are not known to be written. */
typedef struct pending {
  unsigned char bytes[WORKLOAD_MOST];
  int64_t base; /* the position of the first */
  size_t count;
} pending;

typedef struct lane {
  bw_t *bw;
  pending bytes;
  test_events events;
} lane;

/* A sink of callbacks over the target. */
typedef struct sink {
  bool is_faulty;
  bool is_gone; /* another took its place */
  bool knows_offset;
  bool never_wakes;
  bool is_unwoken; /* it said -EAGAIN, and nobody called bw_wake() since */
  int64_t offset;
  int inside;
  int closes; /* for good */
} sink;

struct run {
  pthread_mutex_t mutex; /* of the sinks, what is synced, and `why` */
  const workload_way *way;
  const workload_target *target;
  enum workload_recovery recovery;
  bw_t *bw;
  test_events events;
  pending bytes;
  unsigned char image[WORKLOAD_MOST]; /* what is written */
  int64_t size;
  int64_t written_total;
  /* Bytes of a file that were discarded, or lost, and may have been written all the same: inside its size. */
  unsigned char ghosts[kGhosts][WORKLOAD_MOST];
  unsigned char ghost_count[WORKLOAD_MOST];
  unsigned char synced[WORKLOAD_MOST]; /* what the target held when a sync succeeded last */
  int64_t synced_size;
  int64_t durable;
  bool durable_is_final; /* a sync failed, and nobody is in a call */
  sink sinks[2];
  bool is_swapped, is_told; /* told: the code of a failed sync */
  bool is_told_by_close;
  bool is_unsynced; /* the file was closed, and said that it cannot be synced */
  bool is_given_up; /* the recovery ends the workload, or a failed sync does */
  lane lanes[kLanes];
  test_waker waker;
  test_note notes[kNotes];
  int64_t note_positions[kNotes];
  int note_levels[kNotes];
  int note_count;
  unsigned piece_number;
  unsigned char piece[WORKLOAD_MOST];
  unsigned char scratch[WORKLOAD_MOST];
  int recoveries, tries;
  int zeroes; /* that a poll has handed through, so that no event tells of them */
  bool is_seek_started, is_over, is_closed, has_failed;
  char *why;
  int injected_code; /* that the planned fault may lead to; 0: none */
};
extern struct run run;

/* Notes the first thing that is wrong, which ends the run. From any thread. */
void run_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool run_has_failed(void);

#define CHECK(condition, ...)                 \
  do {                                        \
    if (!(condition)) run_wrong(__VA_ARGS__); \
  } while (0)

bool run_is_inline(void);
bool run_is_shared(void);
bool run_is_driven(void);
/* Only our thread calls the library, so nothing changes between two calls. */
bool run_is_quiet(void);
/* A close that gave this code may have closed a file that cannot be synced. */
bool run_is_unsynced(int code);

#endif
