#include "streams.h"

#include <errno.h>
#include <stdio.h>

#include "sweep.h"

enum { kExtra = 3 }; /* with threads of ours a run may have a few operations more than another */

typedef struct fault_way {
  int answer, before;
  bool is_submission;
} fault_way;

/* ---- The axes ---------------------------------------------------------------------------------- */

enum { AT_WAY, AT_FAULT, AT_NUMBER, AT_SPAN, AT_RECOVERY, AT_COUNT };

#define FAULTS(X)                                                                                                \
  X("EIO", -EIO, 0, false)                                                                                       \
  X("ENOSPC", -ENOSPC, 0, false)                                                                                 \
  X("EDQUOT", -EDQUOT, 0, false)                                                                                 \
  X("EFBIG", -EFBIG, 0, false)                                                                                   \
  X("EINTR", -EINTR, 0, false)                                                                                   \
  X("EAGAIN", -EAGAIN, 0, false)                                                                                 \
  X("ECANCELED", -ECANCELED, 0, false)                                                                           \
  X("EOPNOTSUPP", -EOPNOTSUPP, 0, false)                                                                         \
  X("0", FAULT_ZERO, 0, false)                                                                                   \
  X("short", FAULT_SHORT, 0, false)                                                                              \
  X("short,EIO", -EIO, FAULT_SHORT, false)                                                                       \
  X("short,EAGAIN", -EAGAIN, FAULT_SHORT, false)                                                                 \
  X("EIO,ECANCELED", -ECANCELED, -EIO, false)                                                                    \
  X("submit:EAGAIN", -EAGAIN, 0, true)                                                                           \
  X("submit:EBUSY", -EBUSY, 0, true)                                                                             \
  X("submit:EINTR", -EINTR, 0, true)                                                                             \
  X("submit:ENOMEM", -ENOMEM, 0, true)                                                                           \
  X("submit:EBADF", -EBADF, 0, true)                                                                             
#define NAME_OF(name, answer, before, is_submission) name,
#define FAULT_OF(name, answer, before, is_submission) {(answer), (before), (is_submission)},
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
                      .before = fault->before,
                      .is_submission = fault->is_submission,
                      .is_file = way_of(point)->is_file,
                      .is_descriptor = way_of(point)->is_descriptor};
}

static enum sweep_answer exists(const int *point, int known) {
  const workload_way *way = way_of(point);
  if (known == AT_WAY + 1 && side->probe && side->probe(way) != 0) return SWEEP_CANNOT;
  if (known != AT_FAULT + 1) return SWEEP_YES;
  const fault_plan plan = plan_of(point);
  if (plan.before < 0 && !way->is_file) return SWEEP_NO; /* two codes, of which a file tells one */
  return !side->can_fail || side->can_fail(way, &plan) ? SWEEP_YES : SWEEP_CANNOT;
}

/* ---- Running ----------------------------------------------------------------------------------- */

static long runs, hits;

/* The code that callers may be told of. */
static int code_of(const fault_plan *plan) {
  if (plan->is_submission || plan->answer == FAULT_SHORT) return 0;
  if (plan->answer == FAULT_ZERO) return BW_EWRITEZERO;
  if (plan->before < 0) return plan->before;
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
