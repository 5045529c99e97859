#include "watcher.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "text.h"

enum { kIntervalMs = 250 };
/* timeout(1) and some shells send a signal twice: the second one counts only after this long. */
static const double kPatienceSeconds = 0.5;

/* ---- The line ------------------------------------------------------------------------------------ */

/* What the last line said: a rate is over the time since then. */
typedef struct sample {
  double seconds;
  int64_t bytes;
} sample;

static void draw(const output *out, sample *last) {
  bw_stats_t stats = BW_STATS_INIT;
  bw_get_stats(out->bw, &stats);
  const sample now = {output_seconds(out), output_bytes(out, BW_ACCEPTED)};
  const double rate = (double)(now.bytes - last->bytes) / (now.seconds - last->seconds);
  const unsigned full_percent = stats.buffers > 0 ? 100 * stats.buffers_in_use / stats.buffers : 0;
  char bytes[kTextBytes], per_second[kTextBytes], durable[kTextBytes];
  fprintf(stderr, "\r%8s  %8s/s  buffers %3u%% full  durable %8s ", bytes_as_text(bytes, (double)now.bytes),
          bytes_as_text(per_second, rate), full_percent, bytes_as_text(durable, (double)output_bytes(out, BW_DURABLE)));
  *last = now;
}

static void erase(void) {
  fprintf(stderr, "\r%64s\r", "");
}

/* ---- Signals ------------------------------------------------------------------------------------- */

/* Those that are ignored (nohup, jobs of a script in the background) stay so. */
static void listed_signals(sigset_t *set) {
  static const int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  sigemptyset(set);
  for (size_t index = 0; index < sizeof kSignals / sizeof kSignals[0]; ++index) {
    struct sigaction action;
    sigaction(kSignals[index], NULL, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(set, kSignals[index]);
  }
}

static void give_up(const watcher *self, int number) {
  const int64_t written = output_bytes(self->out, BW_WRITTEN);
  if (self->draws) erase();
  fprintf(stderr, "bw: %s: stopped at once by SIG%s: %" PRId64 " bytes were written, %" PRId64 " may be lost\n",
          self->out->name, sigabbrev_np(number), written, output_bytes(self->out, BW_ACCEPTED) - written);
  _exit(kExitSignal + number);
}

static void hear(watcher *self) {
  struct signalfd_siginfo info;
  if (read(self->signals, &info, sizeof info) != (ssize_t)sizeof info) return;
  const int number = (int)info.ssi_signo;
  if (atomic_load(&self->signal) == 0) {
    self->heard_seconds = output_seconds(self->out);
    atomic_store(&self->signal, number);
    eventfd_write(self->stop, 1);
  } else if (number != SIGHUP && output_seconds(self->out) - self->heard_seconds > kPatienceSeconds) {
    give_up(self, number);
  }
}

/* ---- The thread ---------------------------------------------------------------------------------- */

static void *watch(void *arg) {
  watcher *self = arg;
  struct pollfd fds[] = {{self->end, POLLIN, 0}, {self->signals, POLLIN, 0}};
  sample last = {0, 0};
  bool has_drawn = false;
  while (fds[0].revents == 0) {
    const int count = poll(fds, 2, self->draws ? kIntervalMs : -1);
    if (count == 0) {
      draw(self->out, &last);
      has_drawn = true;
    } else if (count > 0 && fds[1].revents != 0) {
      hear(self);
    }
  }
  if (has_drawn) erase();
  return NULL;
}

bool watcher_begin(watcher *self, const output *out, bool draws) {
  sigset_t set;
  listed_signals(&set);
  *self = (watcher){.out = out, .draws = draws};
  self->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  self->end = eventfd(0, EFD_CLOEXEC);
  self->stop = eventfd(0, EFD_CLOEXEC);
  int error = self->signals < 0 || self->end < 0 || self->stop < 0 ? errno : 0;
  if (error == 0) error = pthread_sigmask(SIG_BLOCK, &set, NULL);
  if (error == 0) error = pthread_create(&self->thread, NULL, watch, self);
  if (error == 0) return true;
  fprintf(stderr, "bw: cannot watch for signals: %s\n", strerror(error));
  return false;
}

int watcher_end(watcher *self) {
  eventfd_write(self->end, 1);
  pthread_join(self->thread, NULL);
  return atomic_load(&self->signal);
}
