#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sweep.h"

#include <fnmatch.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "threads.h"

enum { HANG_SECONDS = 3 * TEST_BOUND_S, FAILURES_MOST = 50 };

typedef struct sweep_state {
  const sweep_table *table;
  char **words; /* what the first axes have to match */
  int word_count;
  int point[SWEEP_AXES_MOST];
  uint64_t every, met, ran, failed, left_out;
} sweep_state;

/* ---- Names ------------------------------------------------------------------------------------- */

static char line[512]; /* names the scenario that runs */

/* The first `known` values. */
static void name_point(const sweep_state *sweep, int known) {
  const size_t most = sizeof line;
  size_t length = (size_t)snprintf(line, most, "FAILED: %s", sweep->table->program);
  for (int i = 0; i < known && length < most; ++i) {
    const sweep_axis *axis = &sweep->table->axes[i];
    const int value = sweep->point[i];
    length += (size_t)(axis->values ? snprintf(line + length, most - length, " %s", axis->values[value])
                                    : snprintf(line + length, most - length, " %d", value));
  }
}

static void say(const char *what) {
  if (write(STDERR_FILENO, line, strlen(line)) < 0 || write(STDERR_FILENO, what, strlen(what)) < 0) _exit(1);
}

static void on_alarm(int number) {
  (void)number;
  say(": hangs\n");
  signal(SIGABRT, SIG_DFL);
  abort();
}

static void on_crash(int number) {
  say(number == SIGABRT ? ": is aborted\n" : ": crashes\n");
  signal(number, SIG_DFL);
  raise(number); /* which ends the program when this returns */
}

static void watch_for_the_end(void) {
  static const int crashes[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV};
  signal(SIGALRM, on_alarm);
  for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; ++i) {
    void (*before)(int) = signal(crashes[i], on_crash);
    if (before != SIG_DFL) signal(crashes[i], before); /* a sanitizer's, which tells more */
  }
}

/* ---- Running ----------------------------------------------------------------------------------- */

static void begin(const sweep_state *sweep, int known) {
  name_point(sweep, known);
  alarm(HANG_SECONDS);
}

static void end_failed(sweep_state *sweep, const char *how, const char *why) {
  ++sweep->failed;
  fprintf(stderr, "%s: %s%s\n", line, how, why);
}

/* Chooses every so-maniest without a rhythm that could fall in with an axis. */
static bool is_chosen(sweep_state *sweep) {
  uint64_t random = ++sweep->met;
  return sweep->every <= 1 || test_random(&random) % sweep->every == 0;
}

static void run_point(sweep_state *sweep) {
  char why[SWEEP_WHY] = "";
  if (!is_chosen(sweep)) return;
  begin(sweep, sweep->table->axis_count);
  ++sweep->ran;
  if (!sweep->table->run(sweep->point, why)) end_failed(sweep, "", why);
}

static bool is_wanted(const sweep_state *sweep, int index, const char *value) {
  return index >= sweep->word_count || fnmatch(sweep->words[index], value, 0) == 0;
}

/* A number that is given is run, also where this time fewer operations were counted. */
static bool is_number_given(const sweep_state *sweep, int index, int *number) {
  char *end = "";
  const long value = index < sweep->word_count ? strtol(sweep->words[index], &end, 10) : 0;
  if (value <= 0 || value >= INT32_MAX || *end) return false;
  *number = (int)value;
  return true;
}

static void visit(sweep_state *sweep, int index);

static void visit_numbers(sweep_state *sweep, int index) {
  char why[SWEEP_WHY] = "";
  begin(sweep, index);
  const int count = sweep->table->numbers(sweep->point, why);
  if (count < 0) {
    end_failed(sweep, "without a fault: ", why);
    return;
  }
  if (is_number_given(sweep, index, &sweep->point[index])) {
    visit(sweep, index + 1);
    return;
  }
  for (int number = 1; number <= count; ++number) {
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    sweep->point[index] = number;
    if (is_wanted(sweep, index, text)) visit(sweep, index + 1);
  }
}

/* All that begin with the first `index` values. */
static void visit(sweep_state *sweep, int index) {
  const sweep_table *table = sweep->table;
  if (sweep->failed >= FAILURES_MOST) return;
  const enum sweep_answer answer = table->exists && index > 0 ? table->exists(sweep->point, index) : SWEEP_YES;
  sweep->left_out += answer == SWEEP_CANNOT;
  if (answer != SWEEP_YES) return;
  if (index == table->axis_count) {
    run_point(sweep);
  } else if (!table->axes[index].values) {
    visit_numbers(sweep, index);
  } else {
    for (int value = 0; value < table->axes[index].count; ++value) {
      sweep->point[index] = value;
      if (is_wanted(sweep, index, table->axes[index].values[value])) visit(sweep, index + 1);
    }
  }
}

/* ---- The whole --------------------------------------------------------------------------------- */

static int usage(const sweep_table *table) {
  fprintf(stderr, "usage: %s", table->program);
  for (int i = 0; i < table->axis_count; ++i) fprintf(stderr, " [%s", table->axes[i].name);
  for (int i = 0; i < table->axis_count; ++i) fputs("]", stderr);
  fputs("\nEach is one of these, or a pattern ('*'):\n", stderr);
  for (int i = 0; i < table->axis_count; ++i) {
    fprintf(stderr, "  %s:", table->axes[i].name);
    if (!table->axes[i].values) fputs(" a number from 1 on", stderr);
    for (int value = 0; value < table->axes[i].count; ++value) fprintf(stderr, " %s", table->axes[i].values[value]);
    fputs("\n", stderr);
  }
  return 2;
}

static uint64_t number_of(const char *variable) {
  const char *text = getenv(variable);
  const uint64_t number = text ? strtoull(text, NULL, 10) : 0;
  return number ? number : 1;
}

static uint64_t part_to_run(const sweep_table *table, bool is_all_given) {
  const char *is_long = getenv("BW_LONG");
  if (is_all_given) return 1;
  return (is_long && *is_long && strcmp(is_long, "0") != 0 ? 1 : table->every) * number_of("BW_TEST_EVERY");
}

int sweep_run(const sweep_table *table, int argc, char **argv) {
  sweep_state sweep = {.table = table, .words = argv + 1, .word_count = argc - 1};
  if (sweep.word_count > table->axis_count) return usage(table);
  sweep.every = part_to_run(table, sweep.word_count == table->axis_count);
  setvbuf(stdout, NULL, _IOLBF, 0);
  setenv("CMOCKA_TEST_ABORT", "1", 1); /* an assert of the support that fails is named too */
  watch_for_the_end();
  visit(&sweep, 0);
  alarm(0);
  if (sweep.met == 0 && sweep.left_out == 0 && sweep.failed == 0) return usage(table);
  printf("%s: %llu of %llu scenarios ran, %llu failed", table->program, (unsigned long long)sweep.ran,
         (unsigned long long)sweep.met, (unsigned long long)sweep.failed);
  if (sweep.left_out) printf("; %llu kinds left out, which the system cannot do", (unsigned long long)sweep.left_out);
  puts("");
  return sweep.failed ? 1 : sweep.left_out ? 77 : 0;
}
