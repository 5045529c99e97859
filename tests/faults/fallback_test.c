/*
 * What the system refuses is done without: io_uring, its registered buffers, O_DIRECT, fallocate(2), membarrier(2),
 * threads, descriptors. The bytes are the same, the statistics name what is in use, and an engine that was asked for by
 * name gives the kernel's own code. Each case runs in a child, where system calls are refused for good.
 *
 * Usage: faults_fallback refused|mounted     system calls refused by seccomp |
 * cases that only root can make
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/threads.h"
#include "faults.h"

#define STREAM_BYTES (INT64_C(3) << 20)
#define NOBODY 65534

/* Of something in the statistics: whatever it is, not in use, in use. */
enum wish { ANY, NO, YES };

/* What to ask for, under which conditions, and what must come of it. */
typedef struct scene {
  const char *path; /* NULL: "out" */
  uint32_t engine, flags;
  uint64_t preallocate;
  faults_refusal refused[4];
  unsigned refusals;
  int code;               /* of bw_open() */
  uint32_t engine_in_use; /* 0: any */
  enum wish direct, registered, own_slots;
} scene;

#define SCENE(...) (&(const scene){__VA_ARGS__})

static unsigned open_descriptors(void) {
  unsigned count = 0;
  DIR *list = opendir("/proc/self/fd");
  EXPECT(list != NULL);
  while (readdir(list)) ++count;
  closedir(list);
  return count;
}

static int64_t write_half(void *bw) {
  char record[1000];
  for (int i = 0; i < 1000; ++i) {
    memset(record, i & 0xff, sizeof record);
    if (bw_append(bw, record, sizeof record) < 0) return -1;
  }
  return 0;
}

/* The stream arrives, byte for byte, at each flush and in the end. */
static void check_stream(bw_t *bw, const char *path) {
  char record[1000];
  for (int64_t at = 0; at < STREAM_BYTES;) {
    const size_t length = STREAM_BYTES - at < (int64_t)sizeof record ? (size_t)(STREAM_BYTES - at) : sizeof record;
    faults_stream(record, length, at);
    EXPECT(bw_append(bw, record, length) == at);
    at += (int64_t)length;
    if (at / 1000 % 300 != 7) continue;
    EXPECT(bw_flush(bw) == 0);
    EXPECT(faults_file_is(path, 0, at));
  }
  EXPECT(bw_wait(bw, STREAM_BYTES, BW_DURABLE, -1) == 0);
  EXPECT(bw_position(bw, BW_DURABLE) == STREAM_BYTES);
  EXPECT(faults_file_is(path, 0, STREAM_BYTES));
}

/* Two threads at once: for what only shared writers do. */
static void check_threads(bw_t *bw) {
  test_thread threads[2];
  for (int i = 0; i < 2; ++i) test_thread_start(&threads[i], write_half, bw);
  for (int i = 0; i < 2; ++i) EXPECT(test_thread_join(&threads[i]) == 0);
  EXPECT(bw_flush(bw) == 0);
  EXPECT(bw_position(bw, BW_WRITTEN) == STREAM_BYTES + 2 * 1000 * 1000);
}

static void check_space_is_given_back(const char *path) {
  struct stat status;
  EXPECT(stat(path, &status) == 0);
  EXPECT(status.st_blocks * 512 < status.st_size + (1 << 20));
}

static bool is_as_wished(enum wish wish, uint32_t is) {
  return wish == ANY || is == (wish == YES);
}

static int play(void *arg) {
  const scene *s = arg;
  const char *path = s->path ? s->path : "out";
  unlink(path);
  if (s->refusals > 0 && faults_refuse(s->refused, s->refusals) != 0) return 77;
  const unsigned descriptors = open_descriptors();
  bw_options_t options = BW_OPTIONS_INIT;
  options.engine = s->engine;
  options.flags = s->flags;
  options.capacity = 65536;
  options.preallocate = s->preallocate;
  bw_t *bw = (bw_t *)&options; /* must become NULL */
  const int code = bw_open(&bw, path, O_RDWR | O_CREAT, 0644, &options);
  if (code != s->code) fprintf(stderr, "bw_open: %s\n", bw_strerror(code));
  EXPECT(code == s->code);
  if (code != 0) {
    EXPECT(bw == NULL);
    EXPECT(open_descriptors() == descriptors);
    return 0;
  }
  bw_stats_t stats = BW_STATS_INIT;
  check_stream(bw, path);
  EXPECT(bw_get_stats(bw, &stats) == 0);
  EXPECT(s->engine_in_use == 0 || stats.engine == s->engine_in_use);
  EXPECT(is_as_wished(s->direct, stats.direct));
  EXPECT(is_as_wished(s->registered, stats.registered_buffers));
  EXPECT(is_as_wished(s->own_slots, stats.own_slots));
  if (!(s->flags & (BW_UNSHARED | BW_CALLER_DRIVEN))) check_threads(bw);
  EXPECT(bw_close(bw) == 0);
  EXPECT(faults_file_begins(path, 0, STREAM_BYTES));
  check_space_is_given_back(path);
  bw_free(bw);
  EXPECT(open_descriptors() == descriptors);
  unlink(path);
  return 0;
}

static void check(const scene *s) {
  assert_int_equal(faults_in_child(play, (void *)s), 0);
}

/* ---- io_uring -------------------------------------------------------------------------------- */

static const int kRefusals[] = {ENOSYS, EPERM, ENOMEM, EINVAL};
enum { kRefusalCount = sizeof kRefusals / sizeof kRefusals[0] };

static void test_fallback__without_io_uring_there_is_pwrite(void **state) {
  (void)state;
  for (int i = 0; i < kRefusalCount; ++i) {
    const faults_refusal setup = {SYS_io_uring_setup, kRefusals[i], 0, 0};
    check(SCENE(.refused = {setup}, .refusals = 1, .engine_in_use = BW_ENGINE_PWRITE, .registered = NO));
    check(SCENE(.refused = {setup}, .refusals = 1, .engine_in_use = BW_ENGINE_PWRITE,
                .flags = BW_BUFFERED | BW_UNSHARED, .direct = NO));
    check(SCENE(.refused = {setup}, .refusals = 1, .engine_in_use = BW_ENGINE_PWRITE, .flags = BW_CALLER_DRIVEN));
    check(SCENE(.refused = {setup}, .refusals = 1, .engine = BW_ENGINE_PWRITE, .engine_in_use = BW_ENGINE_PWRITE));
  }
}

static void test_fallback__io_uring_by_name_gives_the_kernels_refusal(void **state) {
  (void)state;
  for (int i = 0; i < kRefusalCount; ++i) {
    const faults_refusal setup = {SYS_io_uring_setup, kRefusals[i], 0, 0};
    const uint32_t flags[] = {0, BW_BUFFERED, BW_UNSHARED, BW_CALLER_DRIVEN};
    for (int j = 0; j < 4; ++j)
      check(SCENE(.refused = {setup}, .refusals = 1, .engine = BW_ENGINE_URING, .flags = flags[j],
                  .code = -kRefusals[i]));
  }
}

static bool has_uring(void) {
  struct io_uring_params params;
  memset(&params, 0, sizeof params);
  const long ring = syscall(SYS_io_uring_setup, 8, &params);
  if (ring >= 0) close((int)ring);
  return ring >= 0;
}

static void test_fallback__registering_refused_leaves_the_ring(void **state) {
  (void)state;
  if (!has_uring()) skip();
  const int refusals[] = {EPERM, ENOMEM, EINVAL};
  for (int i = 0; i < 3; ++i) {
    const faults_refusal reg = {SYS_io_uring_register, refusals[i], 0, 0};
    check(SCENE(.refused = {reg}, .refusals = 1, .engine = BW_ENGINE_URING, .engine_in_use = BW_ENGINE_URING,
                .registered = NO));
    check(SCENE(.refused = {reg}, .refusals = 1, .registered = NO, .flags = BW_BUFFERED));
  }
}

/* Registered buffers are there, but nothing is known of gathering from them: several go by plain writev. */
static void test_fallback__a_ring_that_does_not_tell_what_it_can_gathers_plainly(void **state) {
  (void)state;
  if (!has_uring()) skip();
  const faults_refusal probe = {SYS_io_uring_register, EINVAL, 1, IORING_REGISTER_PROBE};
  check(SCENE(.refused = {probe}, .refusals = 1, .engine_in_use = BW_ENGINE_URING, .registered = YES));
  check(SCENE(.refused = {probe}, .refusals = 1, .engine_in_use = BW_ENGINE_URING, .registered = YES,
              .flags = BW_CALLER_DRIVEN));
}

/* A filter may let the ring be made and not be used. */
static void test_fallback__a_ring_that_takes_nothing_is_done_without(void **state) {
  (void)state;
  const int refusals[] = {EPERM, ENOSYS};
  for (int i = 0; i < 2; ++i) {
    const faults_refusal enter = {SYS_io_uring_enter, refusals[i], 0, 0};
    check(SCENE(.refused = {enter}, .refusals = 1));
    check(SCENE(.refused = {enter}, .refusals = 1, .flags = BW_UNSHARED | BW_BUFFERED));
    check(SCENE(.refused = {enter}, .refusals = 1, .flags = BW_CALLER_DRIVEN));
  }
}

static void test_fallback__with_nothing_refused_the_best_is_in_use(void **state) {
  (void)state;
  const int fd = open("probe", O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
  if (fd >= 0) close(fd);
  unlink("probe");
  check(SCENE(.engine_in_use = has_uring() ? BW_ENGINE_URING : BW_ENGINE_PWRITE, .direct = fd >= 0 ? YES : NO));
}

/* ---- The rest of the system ------------------------------------------------------------------ */

static void test_fallback__direct_io_refused_goes_through_the_page_cache(void **state) {
  (void)state;
  const faults_refusal direct = {SYS_openat, EINVAL, 2, O_DIRECT};
  check(SCENE(.refused = {direct}, .refusals = 1, .direct = NO));
  check(SCENE(.refused = {direct}, .refusals = 1, .direct = NO, .engine = BW_ENGINE_PWRITE));
}

static void test_fallback__a_filesystem_that_does_not_tell_its_alignment_is_tried(void **state) {
  (void)state;
  const int refusals[] = {ENOSYS, EPERM}; /* the C library knows another way for the first */
  for (int i = 0; i < 2; ++i) {
    const faults_refusal tell = {SYS_statx, refusals[i], 0, 0};
    check(SCENE(.refused = {tell}, .refusals = 1));
  }
}

static void test_fallback__without_preallocation_the_bytes_are_the_same(void **state) {
  (void)state;
  const int refusals[] = {EOPNOTSUPP, ENOSYS, ENOSPC, EPERM};
  const uint32_t engines[] = {BW_ENGINE_AUTO, BW_ENGINE_PWRITE};
  for (int i = 0; i < 8; ++i) {
    const faults_refusal reserve = {SYS_fallocate, refusals[i / 2], 0, 0};
    check(SCENE(.refused = {reserve}, .refusals = 1, .preallocate = 1 << 20, .engine = engines[i % 2]));
  }
  check(SCENE(.preallocate = 16 << 20));
  check(SCENE(.preallocate = 16 << 20, .engine = BW_ENGINE_PWRITE));
}

static void test_fallback__without_membarrier_threads_share_their_counters(void **state) {
  (void)state;
  const int refusals[] = {ENOSYS, EPERM};
  for (int i = 0; i < 2; ++i) {
    const faults_refusal barrier = {SYS_membarrier, refusals[i], 0, 0};
    check(SCENE(.refused = {barrier}, .refusals = 1, .own_slots = NO));
    check(SCENE(.refused = {barrier}, .refusals = 1, .own_slots = NO, .engine = BW_ENGINE_PWRITE));
  }
}

static int64_t flush(void *bw) {
  return bw_flush(bw);
}

/* A sandbox that is entered when the process has counted on membarrier(2) already. */
static int play_lost_barrier(void *arg) {
  const scene *s = arg;
  bw_t *before, *bw;
  bw_stats_t stats = BW_STATS_INIT;
  EXPECT(bw_open(&before, "before", O_RDWR | O_CREAT, 0644, NULL) == 0);
  EXPECT(bw_get_stats(before, &stats) == 0);
  if (!stats.own_slots) return 0; /* there was none to lose */
  if (faults_refuse(s->refused, s->refusals) != 0) return 77;
  EXPECT(bw_open(&bw, "out", O_RDWR | O_CREAT, 0644, NULL) == 0); /* its threads are in the sandbox */
  check_stream(bw, "out");
  check_threads(bw);
  const int64_t end = bw_tell(bw);
  for (int i = 1; i <= 20; ++i) { /* who waits for a copy is not forgotten */
    bw_span_t span;
    test_thread flushing;
    EXPECT(bw_reserve(bw, 10, &span) == 0);
    memset(span.data, 'a', 10);
    test_thread_start(&flushing, flush, bw);
    EXPECT(!test_thread_settle(&flushing));
    EXPECT(bw_commit(bw, &span, 10) == 0);
    EXPECT(test_thread_join(&flushing) == 0);
    EXPECT(bw_position(bw, BW_WRITTEN) == end + 10 * i);
  }
  EXPECT(bw_close(before) == 0 && bw_close(bw) == 0);
  EXPECT(faults_file_begins("out", 0, STREAM_BYTES));
  bw_free(before);
  bw_free(bw);
  unlink("before");
  unlink("out");
  return 0;
}

static void test_fallback__membarrier_may_be_taken_away_later(void **state) {
  (void)state;
  const faults_refusal barrier = {SYS_membarrier, EPERM, 0, 0};
  assert_int_equal(faults_in_child(play_lost_barrier, (void *)SCENE(.refused = {barrier}, .refusals = 1)), 0);
}

static void test_fallback__all_at_once(void **state) {
  (void)state;
  const faults_refusal all[] = {{SYS_io_uring_setup, ENOSYS, 0, 0},
                                {SYS_openat, EINVAL, 2, O_DIRECT},
                                {SYS_fallocate, EOPNOTSUPP, 0, 0},
                                {SYS_membarrier, ENOSYS, 0, 0}};
  check(SCENE(.refused = {all[0], all[1], all[2], all[3]}, .refusals = 4, .engine_in_use = BW_ENGINE_PWRITE,
              .direct = NO, .registered = NO, .own_slots = NO, .preallocate = 1 << 20));
}

static void test_fallback__without_threads_a_writer_that_needs_one_is_refused(void **state) {
  (void)state;
  const faults_refusal threads[] = {{SYS_clone3, EAGAIN, 0, 0}, {SYS_clone, EAGAIN, 0, 0}};
  const uint32_t engines[] = {BW_ENGINE_AUTO, BW_ENGINE_PWRITE};
  for (int i = 0; i < 2; ++i) {
    check(SCENE(.refused = {threads[0], threads[1]}, .refusals = 2, .engine = engines[i], .code = -EAGAIN));
    check(SCENE(.refused = {threads[0], threads[1]}, .refusals = 2, .engine = engines[i], .flags = BW_CALLER_DRIVEN));
  }
}

/* With one descriptor more at each try, bw_open() comes one step further; none is left behind where it fails. */
static int play_few_descriptors(void *arg) {
  const scene *s = arg;
  const unsigned descriptors = open_descriptors();
  unsigned refused = 0;
  for (rlim_t most = 0; most < 64; ++most) {
    struct rlimit limit;
    EXPECT(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = most;
    EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    bw_options_t options = BW_OPTIONS_INIT;
    options.engine = s->engine;
    options.flags = s->flags;
    options.linger_us = s->flags & BW_UNSHARED ? 0 : 1000;
    bw_t *bw;
    const int code = bw_open(&bw, "out", O_RDWR | O_CREAT | O_TRUNC, 0644, &options);
    limit.rlim_cur = before;
    EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    EXPECT(code == 0 || code == -EMFILE);
    EXPECT((code == 0) == (bw != NULL));
    refused += code != 0;
    if (code == 0) {
      EXPECT(bw_append(bw, "abc", 3) == 0);
      EXPECT(bw_close(bw) == 0);
      EXPECT(faults_file_size("out") == 3);
    }
    bw_free(bw);
    EXPECT(open_descriptors() == descriptors);
  }
  EXPECT(refused > 0 && refused < 64);
  unlink("out");
  return 0;
}

static void test_fallback__without_descriptors_a_writer_makes_do_or_is_refused_whole(void **state) {
  (void)state;
  const uint32_t engines[] = {BW_ENGINE_AUTO, BW_ENGINE_PWRITE};
  const uint32_t flags[] = {0, BW_CALLER_DRIVEN, BW_UNSHARED | BW_BUFFERED};
  for (int i = 0; i < 6; ++i)
    assert_int_equal(
        faults_in_child(play_few_descriptors, (void *)SCENE(.engine = engines[i % 2], .flags = flags[i / 2])), 0);
}

/* ---- What only root can arrange -------------------------------------------------------------- */

static void test_fallback__a_filesystem_without_direct_io_goes_through_the_page_cache(void **state) {
  (void)state;
  assert_int_equal(faults_mount("none", "ram", "ramfs", NULL), 0);
  const int fd = open("ram/probe", O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
  if (fd >= 0) skip(); /* it has learnt it */
  check(SCENE(.path = "ram/out", .direct = NO));
  check(SCENE(.path = "ram/out", .direct = NO, .engine = BW_ENGINE_PWRITE));
  check(SCENE(.path = "ram/out", .direct = NO, .flags = BW_CALLER_DRIVEN));
}

/* A file that stands in the root directory itself. */
static int play_in_root(void *arg) {
  EXPECT(chroot("root") == 0 && chdir("/") == 0);
  return play(arg);
}

static void test_fallback__a_file_in_the_root_directory_is_made_durable(void **state) {
  (void)state;
  assert_int_equal(faults_mount("none", "root", "tmpfs", NULL), 0);
  if (faults_mount("none", "root/proc", "proc", NULL) != 0) skip();
  const uint32_t engines[] = {BW_ENGINE_AUTO, BW_ENGINE_PWRITE};
  for (int i = 0; i < 2; ++i)
    assert_int_equal(faults_in_child(play_in_root, (void *)SCENE(.path = "/out", .engine = engines[i])), 0);
}

/* Nobody tells where the file is: it cannot be opened a second time, nor its directory. */
static int play_without_proc(void *arg) {
  const scene *s = arg;
  bw_options_t options = BW_OPTIONS_INIT;
  bw_stats_t stats = BW_STATS_INIT;
  bw_t *bw;
  options.engine = s->engine;
  options.flags = s->flags;
  EXPECT(chroot("bare") == 0 && chdir("/") == 0);
  EXPECT(bw_open(&bw, "/out", O_RDWR | O_CREAT | O_TRUNC, 0644, &options) == 0);
  EXPECT(bw_get_stats(bw, &stats) == 0);
  EXPECT(stats.direct == 0);
  check_stream(bw, "/out");
  EXPECT(bw_close(bw) == 0);
  EXPECT(faults_file_is("/out", 0, STREAM_BYTES));
  bw_free(bw);
  return 0;
}

static void test_fallback__without_proc_files_are_durable_all_the_same(void **state) {
  (void)state;
  assert_int_equal(faults_mount("none", "bare", "tmpfs", NULL), 0);
  const uint32_t engines[] = {BW_ENGINE_AUTO, BW_ENGINE_PWRITE};
  const uint32_t flags[] = {0, BW_CALLER_DRIVEN};
  for (int i = 0; i < 4; ++i)
    assert_int_equal(
        faults_in_child(play_without_proc, (void *)SCENE(.engine = engines[i % 2], .flags = flags[i / 2])), 0);
}

typedef struct poor {
  rlim_t locked; /* bytes that may be */
  bool is_ring_refused;
} poor;

/* As a plain user, who may lock so many bytes. What the kernel says of a ring then is asked of the kernel. */
static int play_as_nobody(void *arg) {
  const poor *p = arg;
  const struct rlimit limit = {p->locked, p->locked};
  EXPECT(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
  EXPECT(setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0);
  struct io_uring_params params;
  memset(&params, 0, sizeof params);
  const long ring = syscall(SYS_io_uring_setup, 16, &params);
  const int refusal = ring < 0 ? -errno : 0;
  if (ring >= 0) close((int)ring);
  if (refusal == 0) {
    play((void *)SCENE(.path = "poor/ring", .engine = BW_ENGINE_URING, .engine_in_use = BW_ENGINE_URING,
                       .registered = NO));
    play((void *)SCENE(.path = "poor/auto", .engine_in_use = BW_ENGINE_URING, .registered = NO));
  } else {
    play((void *)SCENE(.path = "poor/ring", .engine = BW_ENGINE_URING, .code = refusal));
    play((void *)SCENE(.path = "poor/auto", .engine_in_use = BW_ENGINE_PWRITE, .registered = NO));
    play((void *)SCENE(.path = "poor/auto", .engine_in_use = BW_ENGINE_PWRITE, .flags = BW_CALLER_DRIVEN));
  }
  printf("%llu bytes may be locked: the kernel says %s of a ring\n", (unsigned long long)p->locked,
         bw_err_name(refusal));
  fflush(stdout);
  return 0;
}

static void test_fallback__memory_that_may_not_be_locked_is_not_registered(void **state) {
  (void)state;
  if (!has_uring()) skip();
  assert_int_equal(faults_mount("none", "poor", "tmpfs", NULL), 0);
  const rlim_t limits[] = {0, 4096, 1 << 16, 1 << 18};
  for (int i = 0; i < 4; ++i) {
    poor p = {.locked = limits[i]};
    assert_int_equal(faults_in_child(play_as_nobody, &p), 0);
  }
}

/* ---------------------------------------------------------------------------------------------- */

static int no_refusal(void *arg) {
  (void)arg;
  return faults_refuse(NULL, 0) == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
  const struct CMUnitTest refused[] = {
      cmocka_unit_test(test_fallback__with_nothing_refused_the_best_is_in_use),
      cmocka_unit_test(test_fallback__without_io_uring_there_is_pwrite),
      cmocka_unit_test(test_fallback__io_uring_by_name_gives_the_kernels_refusal),
      cmocka_unit_test(test_fallback__registering_refused_leaves_the_ring),
      cmocka_unit_test(test_fallback__a_ring_that_does_not_tell_what_it_can_gathers_plainly),
      cmocka_unit_test(test_fallback__a_ring_that_takes_nothing_is_done_without),
      cmocka_unit_test(test_fallback__direct_io_refused_goes_through_the_page_cache),
      cmocka_unit_test(test_fallback__a_filesystem_that_does_not_tell_its_alignment_is_tried),
      cmocka_unit_test(test_fallback__without_preallocation_the_bytes_are_the_same),
      cmocka_unit_test(test_fallback__without_membarrier_threads_share_their_counters),
      cmocka_unit_test(test_fallback__membarrier_may_be_taken_away_later),
      cmocka_unit_test(test_fallback__all_at_once),
      cmocka_unit_test(test_fallback__without_threads_a_writer_that_needs_one_is_refused),
      cmocka_unit_test(test_fallback__without_descriptors_a_writer_makes_do_or_is_refused_whole),
  };
  const struct CMUnitTest mounted[] = {
      cmocka_unit_test(test_fallback__a_filesystem_without_direct_io_goes_through_the_page_cache),
      cmocka_unit_test(test_fallback__a_file_in_the_root_directory_is_made_durable),
      cmocka_unit_test(test_fallback__without_proc_files_are_durable_all_the_same),
      cmocka_unit_test(test_fallback__memory_that_may_not_be_locked_is_not_registered),
  };
  if (argc > 1 && strcmp(argv[1], "mounted") == 0) {
    faults_private_place(NULL);
    return cmocka_run_group_tests(mounted, NULL, NULL);
  }
  if (faults_in_child(no_refusal, NULL) != 0) faults_skip("no seccomp here");
  return cmocka_run_group_tests(refused, NULL, NULL);
}
