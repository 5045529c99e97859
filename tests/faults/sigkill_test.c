/*
 * A writer is killed at any moment, again and again. What lies in the file beyond what was there before is then a
 * prefix of what was accepted: no padding, no hole, no byte that was not committed; and all that it was told to be
 * written is there, what it went back for and wrote anew too. In some rounds another process (this one) reads the file
 * all the time and finds the same at each look.
 *
 * The child says through a pipe what it was told, and only what came through counts.
 *
 * Usage: faults_sigkill uring|pwrite [rounds [seed]]
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"
#include "workload.h"

#define ROUNDS 60
#define LONG_ROUNDS 1000
#define LONGEST_LIFE_US 60000

enum { FAILED = WORKLOAD_LEVELS, CLOSED }; /* levels of messages that are none */

typedef struct message {
  int64_t level;
  int64_t position;
} message;

/* ---- The child ------------------------------------------------------------------------------- */

static void tell(void *arg, int level, int64_t position) {
  const message said = {level, position};
  if (write(*(const int *)arg, &said, sizeof said) != (ssize_t)sizeof said) _exit(1); /* short enough to go whole */
}

static void live(const workload_plan *plan, const char *path, int pipe_end) {
  static workload load;
  bw_t *bw;
  int code = workload_open(plan, path, &bw);
  if (code == 0) {
    load.told = tell;
    load.arg = &pipe_end;
    workload_start(&load, plan, bw);
    workload_join(&load);
    code = atomic_load(&load.failure);
    if (code == 0) code = bw_close(bw);
  }
  tell(&pipe_end, code ? FAILED : CLOSED, code);
  bw_free(bw);
}

static int64_t checked_bytes;
static uint64_t checked_messages;

/* ---- The parent ------------------------------------------------------------------------------ */

typedef struct watch {
  int pipe_end;
  int64_t reached[WORKLOAD_LEVELS]; /* by level */
  int64_t failure;
  bool has_closed;
  uint64_t messages;
} watch;

/* Takes what has come; false at the end. */
static bool listen_now(watch *w) {
  message said[256];
  const ssize_t count = read(w->pipe_end, said, sizeof said);
  if (count < 0 && errno == EAGAIN) return true;
  EXPECT(count >= 0 && count % (ssize_t)sizeof *said == 0);
  for (ssize_t i = 0; i < count / (ssize_t)sizeof *said; ++i) {
    ++w->messages;
    if (said[i].level == FAILED)
      w->failure = said[i].position;
    else if (said[i].level == CLOSED)
      w->has_closed = true;
    else if (said[i].position > w->reached[said[i].level])
      w->reached[said[i].level] = said[i].position;
  }
  return count > 0;
}

/* Listens until the time is up, or the child has ended. With `path`, reads the file meanwhile. False: it was wrong. */
static bool listen_until(watch *w, int64_t end_us, const workload_plan *plan, const char *path) {
  workload_reader reader;
  workload_reader_init(&reader, plan);
  reader.newest_mark = -1; /* who knows, while it is being written */
  bool right = true;
  int fd = -1;
  for (int64_t left; right && (left = end_us - test_now_us()) > 0;) {
    if (path && fd < 0) fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) right = workload_read(&reader, fd);
    struct pollfd end = {w->pipe_end, POLLIN, 0};
    const struct timespec pause = {0, fd >= 0 || path ? 20000 : left * 1000};
    if (ppoll(&end, 1, &pause, NULL) > 0 && !listen_now(w)) break;
  }
  if (fd >= 0) close(fd);
  workload_reader_destroy(&reader);
  return right;
}

/* Whether all that was told is there. */
static bool has_kept_its_word(const watch *w, int64_t size) {
  if (w->failure) fprintf(stderr, "a call gave %s\n", bw_err_name((int)w->failure));
  for (int level = BW_WRITTEN; level <= BW_DURABLE; ++level) {
    if (size >= w->reached[level]) continue;
    fprintf(stderr, "%lld bytes had reached level %d, and the file has %lld\n", (long long)w->reached[level], level,
            (long long)size);
    return false;
  }
  return w->failure == 0;
}

static bool is_complete(const workload_reader *reader) {
  bool all = reader->matched == reader->length;
  for (unsigned i = 0; i < reader->plan->threads; ++i) all = all && reader->next[i] == reader->plan->records.each;
  if (!all) fprintf(stderr, "it was closed, and not all is there\n");
  return all;
}

/* What the dead have left. */
static bool check(const watch *w, const workload_plan *plan, const char *path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return plan->base == 0 && has_kept_its_word(w, 0); /* it was not made yet */
  workload_reader reader;
  workload_reader_init(&reader, plan);
  reader.oldest_mark = w->reached[WORKLOAD_MARK_WRITTEN];
  reader.newest_mark = w->reached[WORKLOAD_MARK_BEGUN];
  const bool right =
      workload_read(&reader, fd) && has_kept_its_word(w, reader.at) && (!w->has_closed || is_complete(&reader));
  checked_bytes += reader.at;
  checked_messages += w->messages;
  close(fd);
  workload_reader_destroy(&reader);
  return right;
}

static bool play(const workload_plan *plan, uint64_t *random) {
  const char *path = "killed";
  const int64_t life_us = (int64_t)(test_random(random) % LONGEST_LIFE_US);
  const bool reads = test_random(random) % 2;
  unlink(path);
  workload_prepare(plan, path, false);
  int ends[2];
  EXPECT(pipe2(ends, O_CLOEXEC) == 0);
  fflush(NULL);
  const pid_t child = fork();
  EXPECT(child >= 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    live(plan, path, ends[1]);
    _exit(0);
  }
  close(ends[1]);
  EXPECT(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
  watch w = {.pipe_end = ends[0]};
  bool right = listen_until(&w, test_now_us() + life_us, plan, reads ? path : NULL);
  kill(child, SIGKILL);
  int status;
  EXPECT(waitpid(child, &status, 0) == child);
  while (listen_now(&w) && poll(&(struct pollfd){ends[0], POLLIN, 0}, 1, 0) > 0) {
  }
  close(ends[0]);
  right = check(&w, plan, path) && right;
  if (!WIFSIGNALED(status) && !w.has_closed) right = false;
  if (!right)
    fprintf(stderr, "killed after %lld us, %s, told %llu times\n", (long long)life_us,
            reads ? "read meanwhile" : "not looked at", (unsigned long long)w.messages);
  return right;
}

int main(int argc, char **argv) {
  const uint32_t engine = faults_engine(argc > 1 ? argv[1] : "");
  const unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : faults_is_long() ? LONG_ROUNDS : ROUNDS;
  const uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 0) : (uint64_t)time(NULL) * 1000;
  unsigned wrong = 0;
  char place[] = "killed.XXXXXX";
  EXPECT(mkdtemp(place) && chdir(place) == 0);
  for (unsigned i = 0; i < rounds; ++i) {
    workload_plan plan = workload_plan_make(engine, first + i);
    uint64_t random = ~plan.seed;
    if (test_random(&random) % 8 == 0) plan.records.each = (unsigned)(test_random(&random) % 50); /* it may end first */
    if (play(&plan, &random)) continue;
    workload_plan_print(&plan);
    ++wrong;
  }
  unlink("killed");
  EXPECT(chdir("..") == 0 && rmdir(place) == 0);
  printf(
      "%u rounds, %u wrong; %llu promises, %lld bytes; the first seed was "
      "%llu\n",
      rounds, wrong, (unsigned long long)checked_messages, (long long)checked_bytes, (unsigned long long)first);
  return wrong ? 1 : 0;
}
