#include "modes.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAME_ROOM = 160 };

int faults_tests_run(const char *group, const faults_tests *all) {
  const size_t count = all->test_count * all->mode_count;
  struct CMUnitTest *tests = calloc(count, sizeof *tests);
  char(*names)[NAME_ROOM] = calloc(count, sizeof *names);
  if (!tests || !names) abort();
  for (size_t i = 0; i < count; ++i) {
    const faults_test *test = &all->tests[i / all->mode_count];
    const faults_mode *mode = &all->modes[i % all->mode_count];
    snprintf(names[i], sizeof names[i], "%s (%s)", test->name, mode->name);
    tests[i] = (struct CMUnitTest){names[i], test->body, all->setup, all->teardown, (void *)mode};
  }
  const int failed = _cmocka_run_group_tests(group, tests, count, NULL, NULL);
  free(tests);
  free(names);
  return failed;
}
