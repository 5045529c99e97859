/* Tests that are run in several modes: a list of tests, a list of modes, and one cmocka test for each pair. */
#ifndef BW_TESTS_FAULTS_MODES_H
#define BW_TESTS_FAULTS_MODES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* How a writer is made; 0: as it is by default. */
typedef struct faults_mode {
  const char *name;
  uint32_t flags;
  int oflags;
  uint64_t capacity;
  uint32_t buffers;
  uint64_t preallocate;
} faults_mode;

typedef struct faults_test {
  const char *name;
  CMUnitTestFunction body;
} faults_test;
#define FAULTS_TEST(test) \
  { #test, test }

typedef struct faults_tests {
  const faults_test *tests;
  size_t test_count;
  const faults_mode *modes;
  size_t mode_count;
  CMFixtureFunction setup, teardown; /* `*state` is the mode when setup is called */
} faults_tests;

/* How many failed. */
int faults_tests_run(const char *group, const faults_tests *all);
#define FAULTS_TESTS_RUN(group, tests, modes, setup, teardown)                                   \
  faults_tests_run((group), &(const faults_tests){(tests), sizeof(tests) / sizeof((tests)[0]),   \
                                                  (modes), sizeof(modes) / sizeof((modes)[0]),   \
                                                  (setup), (teardown)})

#endif
