#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sweep.h"

#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"

enum { kHangSeconds = 100, kMostFailures = 20, kExtra = 3 };

typedef struct fault_name {
  const char *name;
  int answer;
  bool is_submission, begins_short;
} fault_name;

static const fault_name faults[] = {
    {"EIO", -EIO, false, false},
    {"ENOSPC", -ENOSPC, false, false},
    {"EDQUOT", -EDQUOT, false, false},
    {"EFBIG", -EFBIG, false, false},
    {"EINTR", -EINTR, false, false},
    {"EAGAIN", -EAGAIN, false, false},
    {"ECANCELED", -ECANCELED, false, false},
    {"0", FAULT_ZERO, false, false},
    {"short", FAULT_SHORT, false, false},
    {"short,EIO", -EIO, false, true},
    {"short,EAGAIN", -EAGAIN, false, true},
    {"submit:EAGAIN", -EAGAIN, true, false},
    {"submit:EBUSY", -EBUSY, true, false},
    {"submit:EINTR", -EINTR, true, false},
    {"submit:ENOMEM", -ENOMEM, true, false},
    {"submit:EBADF", -EBADF, true, false},
};
static const char *const recoveries[SWEEP_RECOVERIES] = {"retry", "set_sink", "discard", "close", "free"};
static const char *const spans[] = {"once", "ever"};
enum { kFaults = sizeof faults / sizeof faults[0] };

static const sweep_side *side;
static char scenario[160]; /* the one that runs */
static long runs, hits, failures, left_out;

static void on_alarm(int number) {
  (void)number;
  static const char text[] = ": hangs\n";
  if (write(2, scenario, strlen(scenario)) < 0 || write(2, text, sizeof text - 1) < 0) _exit(3);
  _exit(2);
}

static void on_abort(int number) {
  (void)number;
  static const char text[] = ": was aborted\n";
  if (write(2, scenario, strlen(scenario)) < 0 || write(2, text, sizeof text - 1) < 0) _exit(3);
  _exit(2);
}

/* The code that callers may be told of. */
static int code_of(const sweep_way *way, const fault_name *fault) {
  if (fault->is_submission || fault->answer == FAULT_SHORT) return 0;
  if (fault->answer == FAULT_ZERO) return BW_EWRITEZERO;
  return way->is_file && fault_is_restarted(fault->answer, true) ? 0 : fault->answer;
}

static void run_one(const sweep_way *way, long at, const fault_name *fault, bool for_ever,
                    enum sweep_recovery recovery) {
  const fault_plan plan = {.at = at,
                           .answer = fault->answer,
                           .for_ever = for_ever,
                           .begins_short = fault->begins_short,
                           .is_submission = fault->is_submission,
                           .is_file = way->is_file,
                           .is_descriptor = way->is_descriptor};
  char why[256] = "";
  if (at >= 0 && side->can_fail && !side->can_fail(way, &plan)) {
    ++left_out;
    return;
  }
  snprintf(scenario, sizeof scenario, "sweep_%s %s %ld %s %s %s", side->name, way->name, at, fault->name,
           spans[for_ever], recoveries[recovery]);
  alarm(kHangSeconds);
  if (side->begin) side->begin(way);
  fault_begin(&plan);
  bool is_right = sweep_workload(way, side->target, side->make, recovery, code_of(way, fault), why);
  const char *also = side->end ? side->end() : NULL;
  if (is_right && also) snprintf(why, sizeof why, "%s", also);
  is_right = is_right && !also;
  alarm(0);
  ++runs;
  hits += fault_fired() > 0;
  if (is_right) return;
  ++failures;
  fprintf(stderr, "%s: %s\n", scenario, why);
}

static long number_from(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text && atol(text) > 0 ? atol(text) : otherwise;
}

static long gcd(long a, long b) { return b == 0 ? a : gcd(b, a % b); }

/* Which part of the scenarios is run, where a row of so many is about one operation. It has no factor in common with
 * the row, so each operation and each fault is met. */
static long stride_for(long row) {
  long stride = number_from("BW_LONG", 0) > 0 ? 1 : side->stride;
  stride *= number_from("BW_TEST_EVERY", 1);
  while (gcd(stride, row) != 1) ++stride;
  return stride;
}

static void run_way(const sweep_way *way) {
  run_one(way, -1, &faults[0], false, SWEEP_RETRY);
  const long operations = (long)fault_count(), submissions = (long)fault_submissions();
  const long before = runs, hits_before = hits;
  const long row = kFaults * 2 * SWEEP_RECOVERIES;
  const long stride = stride_for(row);
  /* With threads of ours a run may have a few operations more than another. */
  const long most = (operations > submissions ? operations : submissions) + kExtra;
  for (long number = 0; number < most * row && failures < kMostFailures; number += stride) {
    const long at = number / row, rest = number % row;
    const fault_name *fault = &faults[rest / (2 * SWEEP_RECOVERIES)];
    if (at >= (fault->is_submission ? submissions ? submissions + kExtra : 0 : operations + kExtra)) continue;
    run_one(way, at, fault, rest / SWEEP_RECOVERIES % 2 == 1, (enum sweep_recovery)(rest % SWEEP_RECOVERIES));
  }
  printf("%s %s: %ld operations, %ld submissions, %ld scenarios, %ld with the fault\n", side->name, way->name,
         operations, submissions, runs - before, hits - hits_before);
}

/* The index of `name`, or `count`. */
static size_t index_of(const char *name, const char *const *names, size_t count) {
  size_t i = 0;
  while (i < count && strcmp(names[i], name) != 0) ++i;
  return i;
}

/* One scenario, as its name says. False: there is none of that name. */
static bool run_named(const sweep_way *way, char **words) {
  size_t fault = 0;
  while (fault < kFaults && strcmp(faults[fault].name, words[1]) != 0) ++fault;
  const size_t span = index_of(words[2], spans, 2), recovery = index_of(words[3], recoveries, SWEEP_RECOVERIES);
  if (fault == kFaults || span == 2 || recovery == SWEEP_RECOVERIES) return false;
  run_one(way, atol(words[0]), &faults[fault], span == 1, (enum sweep_recovery)recovery);
  return true;
}

int sweep_run(const sweep_side *the_side, int argc, char **argv) {
  bool is_found = argc < 2;
  side = the_side;
  setvbuf(stdout, NULL, _IOLBF, 0);
  signal(SIGALRM, on_alarm);
  signal(SIGABRT, on_abort);
  for (size_t i = 0; i < side->way_count; ++i) {
    const sweep_way *way = &side->ways[i];
    if (argc > 1 && fnmatch(argv[1], way->name, 0) != 0) continue;
    const int code = side->probe ? side->probe(way) : 0;
    if (code) {
      printf("%s %s: skipped, %s\n", side->name, way->name, bw_err_name(code));
      is_found = true;
      ++left_out;
    } else if (argc == 6) {
      is_found = run_named(way, argv + 2);
    } else {
      is_found = true;
      run_way(way);
    }
  }
  if (!is_found) {
    fprintf(stderr, "usage: sweep_%s [WAY [K FAULT once|ever RECOVERY]]\n", side->name);
    return 2;
  }
  printf("%s: %ld scenarios, %ld of them with the fault, %ld failed, %ld left out\n", side->name, runs, hits, failures,
         left_out);
  return failures ? 1 : left_out ? 77 : 0;
}
