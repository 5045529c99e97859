/* bw: copies standard input to a file through the library. It uses only what bw.h promises. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "arguments.h"
#include "bench.h"
#include "copy.h"

/*
 * Where one of the three is closed, OUT would get its number, and messages would end up in the file. What cannot be
 * used in its place: /dev/null opened for the other direction.
 */
static void fill_standard_descriptors(void) {
  static const int kFlags[] = {O_WRONLY, O_RDONLY, O_RDONLY};
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", kFlags[fd]) != fd) _exit(kExitFailed);
  }
}

int main(int argc, char **argv) {
  fill_standard_descriptors();
  signal(SIGPIPE, SIG_IGN); /* a reader that is gone is an error with a message */
  arguments args;
  int status;
  if (!parse_arguments(&args, argc, argv, &status)) return status;
  return args.is_bench ? run_bench(&args) : run_copy(&args);
}
