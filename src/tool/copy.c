#include "copy.h"

#include <bw/bw.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"
#include "text.h"
#include "watcher.h"

/* What was read is written (with -s: made durable) when nothing more has come for this long. */
enum { kPauseMs = 200 };

/* As much as anybody may ask for without privileges: fewer, larger reads. */
enum { kPipeBytes = 1 << 20 };

typedef struct copy {
  output out;
  watcher watcher;
  int code;       /* why writing ended */
  int read_error; /* an errno */
} copy;

/* Emptying what we are about to read would lose it; appending to it would never end. */
static bool is_our_input(const char *path) {
  struct stat in, out;
  return strcmp(path, "-") != 0 && fstat(STDIN_FILENO, &in) == 0 && S_ISREG(in.st_mode) && stat(path, &out) == 0 &&
         in.st_dev == out.st_dev && in.st_ino == out.st_ino;
}

/* False: a signal says that we are to stop, or something failed. */
static bool wait_for_input(copy *self, bool syncs) {
  struct pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {self->watcher.stop, POLLIN, 0}};
  const int level = syncs ? BW_DURABLE : BW_WRITTEN;
  while (self->code == 0 && self->read_error == 0) {
    const bool is_behind = output_bytes(&self->out, level) < output_bytes(&self->out, BW_ACCEPTED);
    const int count = poll(fds, 2, is_behind ? kPauseMs : -1);
    if (count > 0) return fds[1].revents == 0;
    if (count == 0) self->code = syncs ? bw_sync(self->out.bw) : bw_flush(self->out.bw);
    if (count < 0 && errno != EINTR) self->read_error = errno;
  }
  return false;
}

/* One read(2), straight into a buffer of the writer. False: that was all, or something failed. */
static bool copy_some(copy *self) {
  bw_span_t span;
  self->code = bw_reserve(self->out.bw, 1, &span); /* gives all that is left of the buffer */
  if (self->code < 0) return false;
  const ssize_t count = read(STDIN_FILENO, span.data, span.length);
  const int error = count < 0 ? errno : 0;
  self->code = bw_commit(self->out.bw, &span, count > 0 ? (size_t)count : 0);
  if (error == 0) return count > 0 && self->code == 0;
  if (error == EINTR || error == EAGAIN) return true;
  self->read_error = error;
  return false;
}

static void say_summary(const copy *self, int signal_number, double seconds) {
  const int64_t bytes = output_bytes(&self->out, BW_WRITTEN);
  char rate[kTextBytes];
  fprintf(stderr, "bw: %s: ", self->out.name);
  if (signal_number != 0)
    fprintf(stderr, "stopped by SIG%s, all that was read is written: ", sigabbrev_np(signal_number));
  fprintf(stderr, "%lld bytes in %.3f s, %s/s (", (long long)bytes, seconds,
          bytes_as_text(rate, (double)bytes / seconds));
  say_way(&self->out);
  fputs(")\n", stderr);
}

/* Gives the exit status. */
static int report(copy *self, const arguments *args, int signal_number, double seconds) {
  int status = signal_number == 0 ? kExitOk : kExitSignal + signal_number;
  if (self->read_error != 0) {
    fprintf(stderr, "bw: standard input: %s\n", strerror(self->read_error));
    status = kExitFailed;
  }
  if (self->code < 0) {
    say_lost(&self->out, self->code);
    status = kExitFailed;
  } else if (!args->is_quiet) {
    say_summary(self, signal_number, seconds);
  }
  if (args->wants_json && !(print_stats(&self->out) && putchar('\n') != EOF && flush_stdout())) status = kExitFailed;
  return status;
}

int run_copy(const arguments *args) {
  if (is_our_input(args->path)) {
    fprintf(stderr, "bw: %s: input and output are the same file\n", args->path);
    return kExitFailed;
  }
  copy self = {.code = 0};
  if (!open_output(&self.out, args, BW_UNSHARED)) return kExitFailed;
  int status = kExitFailed;
  if (watcher_begin(&self.watcher, &self.out, !args->is_quiet && isatty(STDERR_FILENO))) {
    fcntl(STDIN_FILENO, F_SETPIPE_SZ, kPipeBytes); /* fails if it is no pipe, and does no harm */
    while (wait_for_input(&self, args->syncs) && copy_some(&self)) {
    }
    const int code = close_output(&self.out, args->syncs && self.code == 0);
    if (self.code == 0) self.code = code;
    const double seconds = output_seconds(&self.out);
    const int signal_number = watcher_end(&self.watcher);
    status = report(&self, args, signal_number, seconds);
  }
  bw_free(self.out.bw);
  return status;
}
