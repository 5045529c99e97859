#include "soak.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t soak_below(uint64_t *random, uint64_t end) { return test_random(random) % end; }
bool soak_chance(uint64_t *random, unsigned per_mille) { return test_random(random) % 1000 < per_mille; }

_Noreturn void soak_fail(const soak_job *job, const char *what, long long found, const char *file, int line) {
  fprintf(stderr, "\nFAILED: %s:%d: %s (%lld)\n  %s: %s\n  again: BW_SOAK_JOB=%s:%llu\n", file, line, what, found,
          job->kind, job->about, job->kind, (unsigned long long)job->seed);
  abort();
}

/* ---- The sink -------------------------------------------------------------------------------- */

static void enter(soak_sink *sink) {
  SOAK_CHECK(sink->job, atomic_fetch_add(&sink->inside, 1) == 0);
  sink->broken = false;
}

static int64_t leave(soak_sink *sink, int64_t answer) {
  atomic_fetch_sub(&sink->inside, 1);
  return answer;
}

static int64_t not_ready(soak_sink *sink) {
  if (sink->wakes_itself) (void)bw_wake(sink->bw);
  else atomic_store(&sink->waits, true);
  return -EAGAIN;
}

/* 0, or what the call is to answer instead of doing its work. */
static int64_t mood(soak_sink *sink) {
  if (soak_chance(&sink->random, 3)) SOAK_CHECK(sink->job, bw_flush(sink->bw) == -EDEADLK);
  if (atomic_load(&sink->calm)) return 0;
  if (soak_chance(&sink->random, sink->mood.interrupted)) return -EINTR;
  if (soak_chance(&sink->random, sink->mood.not_ready)) return not_ready(sink);
  if (soak_chance(&sink->random, sink->mood.fails)) return (int64_t)-(int)SOAK_PICK(&sink->random, EIO, ENOSPC);
  if (soak_chance(&sink->random, sink->mood.breaks)) {
    sink->broken = true;
    return BW_ESINK;
  }
  return 0;
}

/* How many of `offered` bytes to take, or a code. */
static int64_t appetite(soak_sink *sink, size_t offered) {
  const int64_t answer = mood(sink);
  if (answer < 0) return answer;
  SOAK_CHECK(sink->job, offered > 0 && offered <= sink->room - sink->length);
  if (atomic_load(&sink->calm)) return (int64_t)offered;
  if (soak_chance(&sink->random, sink->mood.takes_nothing)) return 0;
  if (soak_chance(&sink->random, sink->mood.takes_less)) return (int64_t)soak_below(&sink->random, offered) + 1;
  return (int64_t)offered;
}

static int64_t sink_write(void *ctx, const void *data, size_t length) {
  soak_sink *sink = ctx;
  enter(sink);
  const int64_t answer = appetite(sink, length);
  if (answer > 0) {
    memcpy(sink->data + sink->length, data, (size_t)answer);
    sink->length += (size_t)answer;
  }
  return leave(sink, answer);
}

static int64_t sink_writev(void *ctx, const struct iovec *parts, int count) {
  soak_sink *sink = ctx;
  size_t offered = 0;
  enter(sink);
  for (int i = 0; i < count; ++i) offered += parts[i].iov_len;
  const int64_t answer = appetite(sink, offered);
  size_t left = answer > 0 ? (size_t)answer : 0;
  for (int i = 0; i < count && left > 0; ++i) {
    const size_t piece = parts[i].iov_len < left ? parts[i].iov_len : left;
    if (piece > 0) memcpy(sink->data + sink->length, parts[i].iov_base, piece);
    sink->length += piece;
    left -= piece;
  }
  return leave(sink, answer);
}

static int sink_flush(void *ctx) {
  soak_sink *sink = ctx;
  enter(sink);
  return (int)leave(sink, mood(sink));
}

static int64_t sink_seek(void *ctx, int64_t offset, int whence) {
  soak_sink *sink = ctx;
  enter(sink);
  return leave(sink, offset == 0 && whence == SEEK_CUR ? (int64_t)sink->length : -EINVAL);
}

static int sink_sync(void *ctx) {
  soak_sink *sink = ctx;
  enter(sink);
  int64_t answer = atomic_load(&sink->calm) ? 0 : soak_chance(&sink->random, sink->mood.interrupted) ? -EINTR : 0;
  if (answer == 0 && !atomic_load(&sink->calm) && soak_chance(&sink->random, sink->mood.sync_fails)) {
    answer = -EIO;
    sink->sync_code = -EIO;
  }
  return (int)leave(sink, answer);
}

static int sink_close(void *ctx) {
  soak_sink *sink = ctx;
  enter(sink);
  ++sink->close_calls;
  int64_t answer = 0;
  if (!atomic_load(&sink->calm)) {
    if (soak_chance(&sink->random, sink->mood.interrupted)) answer = -EINTR;
    else if (soak_chance(&sink->random, sink->mood.not_ready)) answer = not_ready(sink);
    else if (soak_chance(&sink->random, sink->mood.close_fails)) answer = -EIO;
  }
  if (answer != -EINTR && answer != -EAGAIN) ++sink->ends;
  return (int)leave(sink, answer);
}

const bw_sink_t soak_sink_calls = {.size = sizeof(bw_sink_t),
                                   .write = sink_write,
                                   .writev = sink_writev,
                                   .flush = sink_flush,
                                   .seek = sink_seek,
                                   .sync = sink_sync,
                                   .close = sink_close};

void soak_sink_init(soak_sink *sink, soak_job *job, size_t room) {
  memset(sink, 0, sizeof *sink);
  sink->job = job;
  sink->room = room;
  sink->data = malloc(room + 1);
  sink->random = test_random(&job->random);
  sink->wakes_itself = soak_chance(&job->random, 500);
}

void soak_sink_destroy(soak_sink *sink) { free(sink->data); }

void soak_sink_mood(soak_sink *sink, bool may_break) {
  uint64_t *random = &sink->job->random;
  soak_mood *mood = &sink->mood;
  const unsigned badness = (unsigned)soak_below(random, 4);
  if (badness == 0) return;
  mood->takes_less = 100 * badness;
  mood->interrupted = (unsigned)soak_below(random, 50);
  mood->not_ready = (unsigned)SOAK_PICK(random, 0, 20, 200);
  mood->fails = (unsigned)SOAK_PICK(random, 0, 10, 150);
  mood->takes_nothing = (unsigned)SOAK_PICK(random, 0, 0, 10);
  if (!may_break) return;
  mood->breaks = (unsigned)SOAK_PICK(random, 0, 0, 20);
  mood->sync_fails = (unsigned)SOAK_PICK(random, 0, 0, 100);
  mood->close_fails = (unsigned)SOAK_PICK(random, 0, 300);
}

static int64_t help(void *arg) {
  soak_sink *sink = arg;
  while (!atomic_load(&sink->stop)) {
    if (atomic_exchange(&sink->waits, false)) (void)bw_wake(sink->bw);
    else test_pause();
  }
  return 0;
}

void soak_helper_start(soak_sink *sink) {
  if (!sink->wakes_itself) test_thread_start(&sink->helper, help, sink);
}

void soak_helper_stop(soak_sink *sink) {
  if (sink->wakes_itself) return;
  atomic_store(&sink->stop, true);
  (void)test_thread_join(&sink->helper);
}

void soak_on_event(void *arg, const bw_event_t *event) {
  soak_sink *sink = arg;
  SOAK_CHECK(sink->job, atomic_fetch_add(&sink->events_inside, 1) == 0);
  if (event->kind == BW_EVENT_LOST) {
    SOAK_CHECK(sink->job, event->length <= sink->room - sink->length - sink->lost && event->data && event->code < 0);
    memcpy(sink->data + sink->length + sink->lost, event->data, event->length);
    sink->lost += event->length;
  }
  atomic_fetch_sub(&sink->events_inside, 1);
}

static void heal(soak_sink *sink, bool has_sink, uint64_t *random, bool closing) {
  const int held = bw_error(sink->bw);
  if (held == 0) return;
  if (has_sink && (held == BW_ESINK || soak_chance(random, 300))) {
    const int code = bw_set_sink(sink->bw, &soak_sink_calls, sink);
    SOAK_CODE(sink->job, code, code == 0 || (closing && code == -ESHUTDOWN)); /* closed, with a code of its own */
  } else {
    const int code = bw_resume(sink->bw);
    SOAK_CODE(sink->job, code, code == 0 || (has_sink && (code == -EIO || code == BW_ESINK)));
  }
}

void soak_heal(soak_sink *sink, bool has_sink, uint64_t *random) { heal(sink, has_sink, random, false); }

void soak_close(soak_sink *sink, bool has_sink, uint64_t *random, int64_t *accepted) {
  const int64_t begin = test_now_us();
  int code;
  for (int tries = 0;; ++tries) {
    if (tries == 10) atomic_store(&sink->calm, true);
    code = soak_chance(random, 700) ? bw_close(sink->bw) : bw_poll_close(sink->bw, NULL);
    if (code == 0) return;
    SOAK_CODE(sink->job, code, test_now_us() - begin < TEST_BOUND_S * INT64_C(2000000));
    if (code == -EAGAIN) {
      (void)bw_poll_events(sink->bw);
      test_pause();
    }
    heal(sink, has_sink, random, true);
    if (accepted && tries > 3) {
      const int64_t gone = bw_discard(sink->bw);
      SOAK_CODE(sink->job, gone, gone >= 0 || gone == -EAGAIN);
      if (gone > 0) *accepted -= gone;
    }
  }
}

static int child(void *arg) {
  bw_t *bw = arg;
  const bool right = bw_write(bw, "x", 1) == -ECHILD && bw_flush(bw) == -ECHILD && bw_close(bw) == -ECHILD;
  bw_free(bw);
  return right ? 0 : 1;
}

void soak_fork(soak_job *job, bw_t *bw) {
  const int answer = test_in_child(child, bw);
  SOAK_CODE(job, answer, answer == 0);
}

/* ---- The pattern ----------------------------------------------------------------------------- */

enum { PERIOD = 8191 };
static char pattern[PERIOD + SOAK_PATTERN_LONGEST];

void soak_pattern_init(void) {
  test_pattern(pattern, PERIOD, 1);
  for (size_t i = PERIOD; i < sizeof pattern; ++i) pattern[i] = pattern[i - PERIOD];
}

const char *soak_pattern(int64_t position) { return pattern + position % PERIOD; }

bool soak_is_pattern(int64_t position, const char *data, size_t length) {
  for (size_t done = 0; done < length; done += PERIOD) {
    const size_t piece = length - done < PERIOD ? length - done : PERIOD;
    if (memcmp(data + done, soak_pattern(position + (int64_t)done), piece) != 0) return false;
  }
  return true;
}

char *soak_file_read(const char *path, size_t *length) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) return NULL;
  char *data = malloc((size_t)status.st_size + 1);
  const ssize_t got = read(fd, data, (size_t)status.st_size + 1);
  close(fd);
  *length = got < 0 ? 0 : (size_t)got;
  return data;
}

int64_t soak_file_is_pattern(const char *path) {
  size_t length;
  char *data = soak_file_read(path, &length);
  const bool right = data && soak_is_pattern(0, data, length);
  free(data);
  return right ? (int64_t)length : -1;
}
