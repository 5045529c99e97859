#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

struct run run = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void run_wrong(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  pthread_mutex_lock(&run.mutex);
  if (!run.has_failed) vsnprintf(run.why, 256, format, arguments);
  run.has_failed = run.is_over = true; /* the first counts */
  pthread_mutex_unlock(&run.mutex);
  va_end(arguments);
}

bool run_has_failed(void) {
  pthread_mutex_lock(&run.mutex);
  const bool value = run.has_failed;
  pthread_mutex_unlock(&run.mutex);
  return value;
}

bool run_is_inline(void) { return !run.way->is_file && !(run.way->flags & BW_BACKGROUND); }
bool run_is_shared(void) { return !(run.way->flags & BW_UNSHARED); }
bool run_is_driven(void) { return run.way->flags & BW_CALLER_DRIVEN; }
bool run_is_quiet(void) { return run_is_inline() && run.way->linger_us == 0; }
bool run_is_unsynced(int code) { return run.way->is_file && !run.is_swapped && code == -EOPNOTSUPP; }
