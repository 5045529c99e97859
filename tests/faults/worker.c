/*
 * A program for others to inject faults into (strace.sh, nbd.sh): threads write records into a file and wait for them
 * in every way; then the file is compared, byte by byte, with what was accepted. What the program does about a failure
 * is what a user would: it looks at the writer, and resumes.
 *
 * Usage: faults_worker FILE ENGINE FLAGS EXPECTED
 *   ENGINE    uring, pwrite
 *   FLAGS     any of buffered, unshared, driven, append, preallocate, short, none; commas between.
 *             short: pwrite(2) and pwritev(2) write part of what they are given, each second time
 *   EXPECTED  exact        no call fails
 *             held=CODE    writes fail with this code, at least once; after a resume all goes on
 *             may=CODE     the same, or none fails
 *             final=CODE   a sync fails with it, and that is final
 * FAULT_FILE in the environment names a file that is removed before a resume: how the fault is repaired.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "faults.h"
#include "workload.h"

#define EACH 250
#define MOST_HOLDS 2000

typedef struct job {
  bw_t *bw;
  workload_plan plan;
  int code;       /* that may be met */
  bool is_final;  /* it is a sync's */
  bool is_needed; /* it must be met */
  atomic_int met;
  atomic_int notes; /* under way */
  atomic_llong durable;
  int64_t positions[WORKLOAD_THREADS * EACH];
} job;

static job now;

/* ---- Short writes ---------------------------------------------------------------------------- */

#define BLOCK ((size_t)4096)

static bool is_short;
static atomic_uint writes, cuts;

/* The library finds this one instead of the C library's. Whole blocks, where there is more than one: O_DIRECT. */
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
  size_t most = length;
  if (is_short && length > 1 && atomic_fetch_add(&writes, 1) % 2 == 0) {
    most = length > BLOCK ? length / 2 / BLOCK * BLOCK : length % BLOCK / 2;
    if (most == 0) most = length > BLOCK ? BLOCK : length;
    if (most < length) atomic_fetch_add(&cuts, 1);
  }
  return syscall(SYS_pwrite64, fd, data, most, offset);
}

/* Of several buffers, the first half. */
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  int most = count;
  if (is_short && count > 1 && atomic_fetch_add(&writes, 1) % 2 == 0) {
    most = count / 2;
    atomic_fetch_add(&cuts, 1);
  }
  return syscall(SYS_pwritev, fd, parts, most, (long)offset, 0L);
}

/* ---- What is asked for ----------------------------------------------------------------------- */

static int code_of(const char *name) {
  if (strcmp(bw_err_name(BW_EWRITEZERO), name) == 0) return BW_EWRITEZERO;
  for (int code = -1; code > -200; --code)
    if (strcmp(bw_err_name(code), name) == 0) return code;
  fprintf(stderr, "no such code: %s\n", name);
  exit(2);
}

static void read_flags(char *text) {
  workload_plan *plan = &now.plan;
  plan->preallocate = UINT64_MAX;
  for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
    if (strcmp(word, "buffered") == 0)
      plan->flags |= BW_BUFFERED;
    else if (strcmp(word, "unshared") == 0)
      plan->flags |= BW_UNSHARED;
    else if (strcmp(word, "driven") == 0)
      plan->flags |= BW_CALLER_DRIVEN;
    else if (strcmp(word, "append") == 0)
      plan->oflags = O_APPEND;
    else if (strcmp(word, "preallocate") == 0)
      plan->preallocate = 1 << 18;
    else if (strcmp(word, "short") == 0)
      is_short = true;
    else
      EXPECT(strcmp(word, "none") == 0);
  }
}

static void read_expected(const char *text) {
  if (strcmp(text, "exact") == 0) return;
  const char *name = strchr(text, '=');
  EXPECT(name != NULL);
  now.code = code_of(name + 1);
  now.is_final = strncmp(text, "final", 5) == 0;
  now.is_needed = strncmp(text, "may", 3) != 0;
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* A call gave a code: what now? True: again. */
static bool is_mended(int64_t code) {
  if (code != now.code) fprintf(stderr, "a call gave %s\n", bw_err_name((int)code));
  EXPECT(code == now.code);
  EXPECT(atomic_fetch_add(&now.met, 1) < MOST_HOLDS);
  if (now.is_final) {
    EXPECT(bw_error(now.bw) == now.code);
    EXPECT(bw_resume(now.bw) == -EIO);
    return false;
  }
  const char *fault = getenv("FAULT_FILE");
  if (fault) unlink(fault);
  EXPECT(bw_resume(now.bw) == 0);
  return true;
}

static void is_durable(int64_t position) {
  long long before = atomic_load(&now.durable);
  while (before < position && !atomic_compare_exchange_weak(&now.durable, &before, position)) {
  }
}

static void note_told(void *arg, int code) {
  (void)arg;
  EXPECT(code == 0 || code == now.code);
  atomic_fetch_sub(&now.notes, 1);
}

static int64_t see_to(int64_t end, unsigned number) {
  int64_t code = 0;
  switch (number / 8 % 5) {
    case 0:
      return bw_flush(now.bw);
    case 1:
      return bw_wait(now.bw, end, BW_WRITTEN, -1);
    case 2:
      code = bw_wait(now.bw, end, BW_DURABLE, -1);
      break;
    case 3:
      code = bw_sync(now.bw);
      break;
    default:
      atomic_fetch_add(&now.notes, 1);
      code = bw_notify(now.bw, end, BW_DURABLE, note_told, NULL);
      EXPECT(code == 0);
      return 0;
  }
  if (code == 0) is_durable(end);
  return code;
}

/* Returns how many records were accepted. */
static int64_t work(void *arg) {
  const unsigned thread = (unsigned)(intptr_t)arg;
  char *record = malloc(now.plan.records.longest + 8);
  EXPECT(record != NULL);
  unsigned number = 0;
  for (; number < EACH; ++number) {
    const size_t length = test_record_make(&now.plan.records, thread, number, record);
    int64_t at, code;
    while ((at = bw_append(now.bw, record, length)) < 0)
      if (!is_mended(at)) goto out;
    now.positions[thread * EACH + number] = at;
    if (number % 8 != 7) continue;
    while ((code = see_to(at + (int64_t)length, number)) < 0)
      if (!is_mended(code)) {
        ++number;
        goto out;
      }
    if (now.plan.flags & BW_CALLER_DRIVEN) EXPECT(bw_poll_events(now.bw) >= 0);
  }
out:
  free(record);
  return number;
}

/* ---- The end --------------------------------------------------------------------------------- */

static void close_writer(void) {
  int code;
  if (now.is_final) {
    if (now.is_needed) EXPECT(atomic_load(&now.met) > 0);
    EXPECT(bw_sync(now.bw) == now.code);
    EXPECT(bw_wait(now.bw, INT64_MAX, BW_DURABLE, -1) == now.code);
    EXPECT(bw_append(now.bw, "x", 1) == now.code);
    EXPECT(bw_close(now.bw) == now.code);
    EXPECT(bw_close(now.bw) == 0);
    return;
  }
  while ((code = bw_flush(now.bw)) != 0) EXPECT(is_mended(code));
  while ((code = bw_sync(now.bw)) != 0) EXPECT(is_mended(code));
  EXPECT(bw_position(now.bw, BW_DURABLE) == bw_tell(now.bw));
  while ((code = bw_close(now.bw)) != 0) EXPECT(is_mended(code));
  if (now.is_needed) EXPECT(atomic_load(&now.met) > 0);
}

/* The file is what was accepted, or begins with it if it was longer from the start. */
static void check_file(const char *path, int64_t before, const int64_t *counts, int64_t end) {
  workload_reader reader;
  workload_reader_init(&reader, &now.plan);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  EXPECT(fd >= 0);
  EXPECT(before > end || faults_file_size(path) == end);
  EXPECT(workload_read_until(&reader, fd, end));
  EXPECT(reader.matched == reader.length);
  for (unsigned i = 0; i < now.plan.threads; ++i) EXPECT(reader.next[i] == counts[i]);
  close(fd);
  workload_reader_destroy(&reader);
  EXPECT(atomic_load(&now.durable) <= end);
}

int main(int argc, char **argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(TEST_BOUND_S * 2);
  if (argc != 5) return 2;
  const char *path = argv[1];
  now.plan = (workload_plan){.seed = 7, .engine = faults_engine(argv[2]), .capacity = 16384, .buffers = 4};
  read_flags(argv[3]);
  read_expected(argv[4]);
  now.plan.threads = now.plan.flags & BW_UNSHARED ? 1 : 3;
  now.plan.records = (test_records){.threads = now.plan.threads, .each = EACH, .longest = 6000, .seed = 7};
  const int64_t before = faults_file_size(path);
  EXPECT(workload_open_anyhow(&now.plan, path, &now.bw) == 0);
  test_thread threads[WORKLOAD_THREADS];
  int64_t counts[WORKLOAD_THREADS];
  for (unsigned i = 0; i < now.plan.threads; ++i) test_thread_start(&threads[i], work, (void *)(intptr_t)i);
  for (unsigned i = 0; i < now.plan.threads; ++i) counts[i] = test_thread_join(&threads[i]);
  const int64_t end = bw_tell(now.bw);
  close_writer();
  check_file(path, before, counts, end);
  bw_free(now.bw);
  EXPECT(atomic_load(&now.notes) == 0);
  EXPECT(!is_short || atomic_load(&cuts) > 0);
  printf("%lld bytes, met %d times\n", (long long)end, atomic_load(&now.met));
  return 0;
}
