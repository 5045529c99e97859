#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "axes.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "threads.h"

enum { HANG_SECONDS = 3 * TEST_BOUND_S, FAILURES_MOST = 50 };

typedef struct sweep_state {
  const scenario_axes *axes;
  int point[AXES_MOST];
  uint64_t every, met, ran, failed;
} sweep_state;

/* ---- Names ----------------------------------------------------------------------------------- */

static char line[512]; /* names the scenario that runs */

static void name_point(const sweep_state *sweep) {
  size_t length = (size_t)snprintf(line, sizeof line, "%s", sweep->axes->program);
  for (int i = 0; i < sweep->axes->count && length < sizeof line; ++i) {
    const scenario_axis *axis = &sweep->axes->list[i];
    length += (size_t)(axis->names ? snprintf(line + length, sizeof line - length, " %s", axis->names[sweep->point[i]])
                                   : snprintf(line + length, sizeof line - length, " %d", sweep->point[i]));
  }
}

static void say_hung(int signal) {
  static const char what[] = ": hangs\n";
  (void)signal;
  if (write(STDERR_FILENO, line, strlen(line)) < 0 || write(STDERR_FILENO, what, sizeof what - 1) < 0) _exit(1);
  abort();
}

/* ---- Running --------------------------------------------------------------------------------- */

static void run_point(sweep_state *sweep) {
  char why[AXES_WHY] = "";
  name_point(sweep);
  alarm(HANG_SECONDS);
  ++sweep->ran;
  if (sweep->axes->run(sweep->point, why)) return;
  ++sweep->failed;
  fprintf(stderr, "FAILED: %s: %s\n", line, why);
}

/* Chooses every so-maniest without a rhythm that could fall in with an axis. */
static bool is_chosen(sweep_state *sweep) {
  uint64_t random = ++sweep->met;
  return sweep->every <= 1 || test_random(&random) % sweep->every == 0;
}

static void run_from(sweep_state *sweep, int index) {
  const scenario_axes *axes = sweep->axes;
  if (sweep->failed >= FAILURES_MOST || (axes->exists && !axes->exists(sweep->point, index))) return;
  if (index == axes->count) {
    if (is_chosen(sweep)) run_point(sweep);
    return;
  }
  const bool is_named = axes->list[index].names != NULL;
  const int first = is_named ? 0 : 1;
  const int end = first + (is_named ? axes->list[index].count : axes->numbers(sweep->point));
  for (int value = first; value < end; ++value) {
    sweep->point[index] = value;
    run_from(sweep, index + 1);
  }
}

/* ---- One alone ------------------------------------------------------------------------------- */

static bool read_value(const scenario_axis *axis, const char *text, int *value) {
  if (!axis->names) return (*value = atoi(text)) > 0;
  for (*value = 0; *value < axis->count; ++*value)
    if (strcmp(axis->names[*value], text) == 0) return true;
  return false;
}

static int usage(const scenario_axes *axes) {
  fprintf(stderr, "usage: %s", axes->program);
  for (int i = 0; i < axes->count; ++i) {
    if (!axes->list[i].names) fputs(" number", stderr);
    for (int value = 0; axes->list[i].names && value < axes->list[i].count; ++value)
      fprintf(stderr, "%c%s", value ? '|' : ' ', axes->list[i].names[value]);
  }
  fputs("\n", stderr);
  return 2;
}

static bool read_point(sweep_state *sweep, int argc, char **argv) {
  if (argc != sweep->axes->count + 1) return false;
  for (int i = 0; i < sweep->axes->count; ++i)
    if (!read_value(&sweep->axes->list[i], argv[i + 1], &sweep->point[i])) return false;
  return !sweep->axes->exists || sweep->axes->exists(sweep->point, sweep->axes->count);
}

static uint64_t number_of(const char *variable) {
  const char *text = getenv(variable);
  const uint64_t number = text ? strtoull(text, NULL, 10) : 0;
  return number ? number : 1;
}

int axes_run(const scenario_axes *axes, int argc, char **argv) {
  sweep_state sweep = {.axes = axes};
  const char *is_long = getenv("BW_LONG");
  sweep.every = (is_long && *is_long ? 1 : axes->usual_every) * number_of("BW_TEST_EVERY");
  signal(SIGALRM, say_hung);
  if (argc > 1) {
    if (!read_point(&sweep, argc, argv)) return usage(axes);
    run_point(&sweep);
  } else {
    run_from(&sweep, 0);
  }
  alarm(0);
  printf("%s: %llu scenarios ran of %llu, %llu failed\n", axes->program, (unsigned long long)sweep.ran,
         (unsigned long long)(argc > 1 ? 1 : sweep.met), (unsigned long long)sweep.failed);
  return sweep.failed != 0;
}
