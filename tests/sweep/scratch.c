#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file_rig.h"

static char directory[PATH_MAX - 8], path[PATH_MAX];
static int alive = -1; /* the end of a pipe that is closed when we end */
static pid_t keeper;

static void keep(int ends[2]) {
  char byte;
  setsid(); /* what is sent to our group is not for it */
  close(ends[1]);
  while (read(ends[0], &byte, 1) < 0 && errno == EINTR) continue;
  unlink(path);
  rmdir(directory);
  _exit(0);
}

const char *scratch_begin(void) {
  int ends[2];
  snprintf(directory, sizeof directory, "%s/bw_sweep_XXXXXX", file_disk());
  if (!mkdtemp(directory)) {
    perror(directory);
    return NULL;
  }
  snprintf(path, sizeof path, "%s/file", directory);
  if (pipe2(ends, O_CLOEXEC) != 0 || (keeper = fork()) < 0) {
    perror("scratch_begin");
    rmdir(directory);
    return NULL;
  }
  if (keeper == 0) keep(ends);
  close(ends[0]);
  alive = ends[1];
  return path;
}

void scratch_end(void) {
  close(alive);
  while (waitpid(keeper, NULL, 0) < 0 && errno == EINTR) continue;
}
