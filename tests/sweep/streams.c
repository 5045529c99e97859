#include "streams.h"

#include <errno.h>
#include <stdio.h>

#include "sweep.h"

enum { kExtra = 3 }; /* with threads of ours a run may have a few operations more than another */

typedef struct fault_way {
  int answer;
  bool is_submission, begins_short;
} fault_way;

/* ---- The axes ---------------------------------------------------------------------------------- */

enum { AT_WAY, AT_FAULT, AT_NUMBER, AT_SPAN, AT_RECOVERY, AT_COUNT };

#define FAULTS(X)                                                                                                \
  X("EIO", -EIO, false, false)                                                                                   \
  X("ENOSPC", -ENOSPC, false, false)                                                                             \
  X("EDQUOT", -EDQUOT, false, false)                                                                             \
  X("EFBIG", -EFBIG, false, false)                                                                               \
  X("EINTR", -EINTR, false, false)                                                                               \
  X("EAGAIN", -EAGAIN, false, false)                                                                             \
  X("ECANCELED", -ECANCELED, false, false)                                                                       \
  X("0", FAULT_ZERO, false, false)                                                                               \
  X("short", FAULT_SHORT, false, false)                                                                          \
  X("short,EIO", -EIO, false, true)                                                                              \
  X("short,EAGAIN", -EAGAIN, false, true)                                                                        \
  X("submit:EAGAIN", -EAGAIN, true, false)                                                                       \
  X("submit:EBUSY", -EBUSY, true, false)                                                                         \
  X("submit:EINTR", -EINTR, true, false)                                                                         \
  X("submit:ENOMEM", -ENOMEM, true, false)                                                                       \
  X("submit:EBADF", -EBADF, true, false)
#define NAME_OF(name, answer, is_submission, begins_short) name,
#define FAULT_OF(name, answer, is_submission, begins_short) {(answer), (is_submission), (begins_short)},
static const char *const fault_names[] = {FAULTS(NAME_OF)};
static const fault_way faults[] = {FAULTS(FAULT_OF)};
static const char *const recoveries[WORKLOAD_RECOVERIES] = {"retry", "set_sink", "discard", "close", "free"};
static const char *const spans[] = {"once", "ever"};

static const streams_side *side;

static const workload_way *way_of(const int *point) { return &side->ways[point[AT_WAY]]; }

/* The fault of a point whose axes are set up to that of faults. */
static fault_plan plan_of(const int *point) {
  const fault_way *fault = &faults[point[AT_FAULT]];
  return (fault_plan){.answer = fault->answer,
                      .begins_short = fault->begins_short,
                      .is_submission = fault->is_submission,
                      .is_file = way_of(point)->is_file,
                      .is_descriptor = way_of(point)->is_descriptor};
}

static enum sweep_answer exists(const int *point, int known) {
  const workload_way *way = way_of(point);
  if (known == AT_WAY + 1 && side->probe && side->probe(way) != 0) return SWEEP_CANNOT;
  if (known != AT_FAULT + 1 || !side->can_fail) return SWEEP_YES;
  const fault_plan plan = plan_of(point);
  return side->can_fail(way, &plan) ? SWEEP_YES : SWEEP_CANNOT;
}

/* ---- Running ----------------------------------------------------------------------------------- */

static long runs, hits;

/* The code that callers may be told of. */
static int code_of(const fault_plan *plan) {
  if (plan->is_submission || plan->answer == FAULT_SHORT) return 0;
  if (plan->answer == FAULT_ZERO) return BW_EWRITEZERO;
  return plan->is_file && fault_is_restarted(plan->answer, true) ? 0 : plan->answer;
}

static bool run_plan(const workload_way *way, const fault_plan *plan, enum workload_recovery recovery, char *why) {
  if (side->begin) side->begin(way);
  fault_begin(plan);
  const bool is_right = workload_do(way, side->target, side->make, recovery, code_of(plan), why);
  const char *also = side->end ? side->end() : NULL;
  if (is_right && also) snprintf(why, SWEEP_WHY, "%s", also);
  return is_right && !also;
}

static bool run(const int *point, char *why) {
  fault_plan plan = plan_of(point);
  plan.at = point[AT_NUMBER] - 1;
  plan.for_ever = point[AT_SPAN] == 1;
  const bool is_right = run_plan(way_of(point), &plan, (enum workload_recovery)point[AT_RECOVERY], why);
  ++runs;
  hits += fault_fired() > 0;
  return is_right;
}

/* Each way is counted once, for all its faults. */
static int numbers(const int *point, char *why) {
  static int counted_way = -1, operations, submissions;
  if (counted_way != point[AT_WAY]) {
    const fault_plan plan = {.at = -1, .answer = -EIO, .is_file = way_of(point)->is_file};
    counted_way = point[AT_WAY];
    operations = submissions = 0;
    if (!run_plan(way_of(point), &plan, WORKLOAD_RETRY, why)) return -1;
    operations = (int)fault_count() + kExtra;
    submissions = fault_submissions() > 0 ? (int)fault_submissions() + kExtra : 0;
  }
  return faults[point[AT_FAULT]].is_submission ? submissions : operations;
}

int streams_run(const streams_side *the_side, int argc, char **argv) {
  const char *ways[STREAMS_WAYS_MOST];
  side = the_side;
  for (int i = 0; i < side->way_count; ++i) ways[i] = side->ways[i].name;
  const sweep_table table = {
      .program = side->program,
      .axes = {{"way", ways, side->way_count},
               SWEEP_AXIS("fault", fault_names),
               SWEEP_NUMBERS("number"),
               SWEEP_AXIS("span", spans),
               SWEEP_AXIS("recovery", recoveries)},
      .axis_count = AT_COUNT,
      .exists = exists,
      .numbers = numbers,
      .run = run,
      .every = side->every,
  };
  const int status = sweep_run(&table, argc, argv);
  if (runs) printf("%s: %ld of %ld met their fault\n", side->program, hits, runs);
  return status;
}
