/*
 * A thread that draws a line of progress and hears SIGINT, SIGTERM and SIGHUP.
 *
 * The first signal asks the program to stop reading and to write what it has; a second SIGINT or SIGTERM ends
 * the program at once, for what is to be written may be waiting for a disk or a reader that never comes.
 */
#ifndef BW_TOOL_WATCHER_H
#define BW_TOOL_WATCHER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "output.h"

typedef struct watcher {
  const output *out;
  bool draws;
  int signals;          /* signalfd(2) */
  int end;              /* eventfd(2): the thread is to end */
  int stop;             /* eventfd(2): readable once a signal has come */
  atomic_int signal;    /* the first that came; 0: none */
  double heard_seconds; /* the thread's: when that was */
  pthread_t thread;
} watcher;

/* From here on the signals above are blocked in this thread and those that it makes. False: why has been said. */
bool watcher_begin(watcher *self, const output *out, bool draws);
/* The line of progress is gone when this returns. Gives the signal that came, or 0. */
int watcher_end(watcher *self);

#endif
