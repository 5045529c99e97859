/*
 * When a file takes no more: RLIMIT_FSIZE gives -EFBIG and no signal, the writer holds it, no byte is lost, and the
 * caller may resume, look, discard or go on with another sink. All of it in children, whose limits are their own.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../support/file_rig.h"

enum { kLimit = 10000, kBytes = 20000 };
static char data[kBytes];

/* It holds for stderr too, if that is a file. */
static void set_limit(rlim_t bytes) {
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = bytes;
  setrlimit(RLIMIT_FSIZE, &limit);
}

static void lift_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  set_limit(limit.rlim_max);
}

static int open_limited(file_rig *rig, int oflags) {
  const bw_options_t options = file_rig_options(rig);
  test_pattern(data, sizeof data, 1);
  set_limit(kLimit);
  CHILD_CHECK(file_rig_try(rig, oflags, &options) == 0);
  return 0;
}

/* Writes until nothing more is accepted, and flushes: both must end with -EFBIG. Gives how much was accepted. */
static int64_t write_until_held(file_rig *rig) {
  int64_t accepted = 0;
  while (accepted < kBytes) {
    const int64_t answer = bw_write(rig->bw, data + accepted, kBytes - (size_t)accepted);
    if (answer == -EFBIG) break;
    if (answer <= 0) return answer;
    accepted += answer;
  }
  const int code = bw_flush(rig->bw);
  return code == -EFBIG ? accepted : -1;
}

/* What is held, and where things stand. */
static int check_held(file_rig *rig, int64_t accepted) {
  const int64_t written = bw_position(rig->bw, BW_WRITTEN);
  CHILD_CHECK(bw_error(rig->bw) == -EFBIG);
  CHILD_CHECK(bw_position(rig->bw, BW_ACCEPTED) == accepted);
  CHILD_CHECK(bw_tell(rig->bw) == accepted);
  CHILD_CHECK(written == kLimit); /* to the last byte that the file may have */
  CHILD_CHECK(bw_unwritten(rig->bw, NULL, NULL) == accepted - written);
  CHILD_CHECK(file_has(rig->path, data, kLimit));
  return 0;
}

static int open_and_fail(file_rig *rig, int64_t *accepted) {
  if (open_limited(rig, O_RDWR | O_CREAT | O_TRUNC)) return 1;
  *accepted = write_until_held(rig);
  CHILD_CHECK(*accepted > kLimit);
  return check_held(rig, *accepted);
}

static int finish(file_rig *rig, int64_t length) {
  CHILD_CHECK(bw_close(rig->bw) == 0);
  bw_free(rig->bw);
  CHILD_CHECK(file_has(rig->path, data, (size_t)length));
  return 0;
}

#define IN_CHILD(test, body)                         \
  static void test(void **state) {                   \
    file_rig *rig = *state;                          \
    assert_int_equal(file_in_child((body), rig), 0); \
  }

/* ---- The error is held ----------------------------------------------------------------------- */

static void ignore_note(void *arg, int code) {
  *(int *)arg = code;
}

static int refuses_everything(void *arg) {
  file_rig *rig = arg;
  int64_t accepted;
  bw_span_t span;
  if (open_and_fail(rig, &accepted)) return 1;
  bw_t *bw = rig->bw;
  const struct iovec part = {data, 5};
  char byte;
  for (int round = 0; round < 2; ++round) {
    const int64_t codes[] = {bw_write(bw, data, 1),
                             bw_writev(bw, &part, 1),
                             bw_append(bw, data, 1),
                             bw_appendv(bw, &part, 1),
                             bw_reserve(bw, 1, &span),
                             bw_flush(bw),
                             bw_sync(bw),
                             bw_seek(bw, 0, SEEK_SET),
                             bw_read(bw, &byte, 1),
                             bw_poll_write(bw, data, 1, NULL),
                             bw_poll_append(bw, data, 1, NULL),
                             bw_poll_flush(bw, NULL),
                             bw_poll_sync(bw, NULL),
                             bw_poll_close(bw, NULL),
                             bw_wait(bw, accepted, BW_WRITTEN, -1),
                             bw_wait(bw, accepted, BW_DURABLE, -1),
                             bw_wait(bw, kLimit + 1, BW_WRITTEN, 0),
                             bw_close(bw)};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; ++i)
      if (codes[i] != -EFBIG) {
        fprintf(stderr, "call %zu gives %lld\n", i, (long long)codes[i]);
        return 1;
      }
  }
  CHILD_CHECK(bw_wait(bw, kLimit, BW_WRITTEN, -1) == 0);
  CHILD_CHECK(bw_wait(bw, accepted, BW_ACCEPTED, -1) == 0);
  if (check_held(rig, accepted)) return 1;
  CHILD_CHECK(file_rig_await_events(rig, BW_EVENT_ERROR, 1));
  CHILD_CHECK(test_events_get(&rig->events, BW_EVENT_ERROR, 0).code == -EFBIG);
  CHILD_CHECK(test_events_count(&rig->events, BW_EVENT_ERROR) == 1);
  bw_free(bw);
  return 0;
}
IN_CHILD(test_held__everything_is_refused_with_the_true_cause, refuses_everything)

static int answers_waiters(void *arg) {
  file_rig *rig = arg;
  int64_t accepted;
  int code = 1;
  if (open_limited(rig, O_RDWR | O_CREAT)) return 1;
  CHILD_CHECK(file_rig_notify(rig, 5, BW_WRITTEN) == 0);
  CHILD_CHECK(file_rig_notify(rig, kLimit, BW_WRITTEN) == 0);
  CHILD_CHECK(file_rig_notify(rig, kLimit + 1, BW_WRITTEN) == 0);
  CHILD_CHECK(file_rig_notify(rig, kLimit + 1, BW_DURABLE) == 0);
  accepted = write_until_held(rig);
  if (check_held(rig, accepted)) return 1;
  (void)bw_flush(rig->bw); /* the owner's call, for unshared writers */
  CHILD_CHECK(file_rig_await_told(rig, 4));
  for (size_t i = 0; i < 4; ++i) {
    const file_told told = file_rig_told(rig, i);
    CHILD_CHECK(told.code == (told.position <= kLimit ? 0 : -EFBIG));
  }
  /* One that comes later. */
  CHILD_CHECK(bw_notify(rig->bw, accepted, BW_DURABLE, ignore_note, &code) == 0);
  bw_free(rig->bw);
  CHILD_CHECK(code == -EFBIG);
  return 0;
}
IN_CHILD(test_held__notes_are_answered_with_it, answers_waiters)

static int wakes_waiting_threads(void *arg) {
  file_rig *rig = arg;
  test_thread threads[3];
  test_call calls[3];
  if (open_limited(rig, O_RDWR | O_CREAT)) return 1;
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) {
    calls[level] = (test_call){.bw = rig->bw, .position = 1 << 30, .level = level, .timeout_us = -1};
    test_thread_start(&threads[level], test_call_wait, &calls[level]);
    CHILD_CHECK(!test_thread_settle(&threads[level]));
  }
  const int64_t accepted = write_until_held(rig);
  if (check_held(rig, accepted)) return 1;
  for (int level = BW_ACCEPTED; level <= BW_DURABLE; ++level) CHILD_CHECK(test_thread_join(&threads[level]) == -EFBIG);
  bw_free(rig->bw);
  return 0;
}
IN_CHILD(test_held__threads_that_wait_hear_of_it, wakes_waiting_threads)

/* ---- Signals --------------------------------------------------------------------------------- */

static int keeps_signals(void *arg) {
  file_rig *rig = arg;
  sigset_t before, after, pending;
  int64_t accepted;
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  if (open_and_fail(rig, &accepted)) return 1; /* SIGXFSZ would have killed us */
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  CHILD_CHECK(sigismember(&before, SIGXFSZ) == sigismember(&after, SIGXFSZ));
  sigpending(&pending);
  CHILD_CHECK(!sigismember(&pending, SIGXFSZ));

  /* One of the caller's own stays pending, and none of ours joins it where he blocks them. */
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGXFSZ);
  pthread_sigmask(SIG_BLOCK, &one, NULL);
  CHILD_CHECK(bw_resume(rig->bw) == 0 && bw_flush(rig->bw) == -EFBIG);
  sigpending(&pending);
  CHILD_CHECK(!sigismember(&pending, SIGXFSZ));
  raise(SIGXFSZ);
  CHILD_CHECK(bw_resume(rig->bw) == 0 && bw_flush(rig->bw) == -EFBIG);
  sigpending(&pending);
  CHILD_CHECK(sigismember(&pending, SIGXFSZ));
  bw_free(rig->bw);
  return 0;
}
IN_CHILD(test_signal__sigxfsz_never_reaches_the_program, keeps_signals)

/* ---- Going on -------------------------------------------------------------------------------- */

static int resumes(void *arg) {
  file_rig *rig = arg;
  int64_t accepted;
  bw_stats_t stats = BW_STATS_INIT;
  if (open_and_fail(rig, &accepted)) return 1;
  for (int round = 0; round < 3; ++round) { /* it fails again, and is held again */
    CHILD_CHECK(bw_resume(rig->bw) == 0);
    CHILD_CHECK(bw_flush(rig->bw) == -EFBIG);
    if (check_held(rig, accepted)) return 1;
  }
  set_limit(kLimit + 1); /* a little more */
  CHILD_CHECK(bw_resume(rig->bw) == 0);
  CHILD_CHECK(bw_flush(rig->bw) == -EFBIG);
  CHILD_CHECK(bw_position(rig->bw, BW_WRITTEN) == kLimit + 1);
  CHILD_CHECK(file_has(rig->path, data, kLimit + 1));
  lift_limit();
  CHILD_CHECK(bw_resume(rig->bw) == 0);
  CHILD_CHECK(bw_error(rig->bw) == 0);
  CHILD_CHECK(bw_flush(rig->bw) == 0);
  CHILD_CHECK(file_has(rig->path, data, (size_t)accepted));
  CHILD_CHECK(bw_resume(rig->bw) == 0); /* nothing is held */
  CHILD_CHECK(bw_write(rig->bw, data + accepted, kBytes - (size_t)accepted) == kBytes - accepted);
  CHILD_CHECK(bw_get_stats(rig->bw, &stats) == 0);
  CHILD_CHECK(stats.errors == 5 && stats.resumes == 5);
  return finish(rig, kBytes);
}
IN_CHILD(test_resume__goes_on_from_the_first_byte_not_taken, resumes)

/* Several buffers lengthen the file in one write; the limit is inside the third. */
static int cuts_a_run(void *arg) {
  file_rig *rig = arg;
  enum { kBuffers = 8, kUnit = 4096, kAll = kBuffers * kUnit };
  static char all[kAll];
  bw_options_t options = file_rig_options(rig);
  bw_stats_t stats = BW_STATS_INIT;
  options.buffers = kBuffers;
  options.capacity = kUnit;
  options.flags |= BW_NONBLOCK;
  test_pattern(all, kAll, 2);
  set_limit(kLimit);
  CHILD_CHECK(file_rig_try(rig, O_RDWR | O_CREAT, &options) == 0);
  CHILD_CHECK(bw_get_stats(rig->bw, &stats) == 0);
  const uint32_t direct = stats.direct;
  CHILD_CHECK(bw_write(rig->bw, all, kAll) == kAll);
  CHILD_CHECK(bw_flush(rig->bw) == -EAGAIN);
  while (bw_error(rig->bw) == 0) CHILD_CHECK(bw_poll_events(rig->bw) >= 0);
  CHILD_CHECK(bw_error(rig->bw) == -EFBIG);
  CHILD_CHECK(bw_position(rig->bw, BW_WRITTEN) == kLimit);
  CHILD_CHECK(file_has(rig->path, all, kLimit));
  for (rlim_t limit = kLimit; limit < kAll; limit += 3 * kUnit) { /* and inside others, at ends and between */
    set_limit(limit);
    CHILD_CHECK(bw_resume(rig->bw) == 0);
    while (bw_error(rig->bw) == 0) CHILD_CHECK(bw_poll_events(rig->bw) >= 0);
    CHILD_CHECK(file_has(rig->path, all, limit));
  }
  lift_limit();
  CHILD_CHECK(bw_resume(rig->bw) == 0);
  while (bw_position(rig->bw, BW_WRITTEN) < kAll) CHILD_CHECK(bw_poll_events(rig->bw) >= 0);
  CHILD_CHECK(file_has(rig->path, all, kAll));
  CHILD_CHECK(bw_get_stats(rig->bw, &stats) == 0);
  CHILD_CHECK(stats.direct == direct); /* the limit was no fault of O_DIRECT */
  file_rig_free(rig);
  return 0;
}
IN_CHILD(test_resume__goes_on_inside_a_write_of_several_buffers, cuts_a_run)

static int resumes_appending(void *arg) {
  file_rig *rig = arg;
  test_pattern(data, sizeof data, 1);
  file_put(rig->path, data, 777);
  if (open_limited(rig, O_RDWR | O_APPEND)) return 1;
  CHILD_CHECK(bw_append(rig->bw, data + 777, kBytes - 777) == 777);
  CHILD_CHECK(bw_flush(rig->bw) == -EFBIG);
  CHILD_CHECK(bw_position(rig->bw, BW_WRITTEN) == kLimit);
  lift_limit();
  CHILD_CHECK(bw_resume(rig->bw) == 0);
  return finish(rig, kBytes);
}
IN_CHILD(test_resume__works_with_append_too, resumes_appending)

static int keeps_an_append(void *arg) {
  file_rig *rig = arg;
  if (open_limited(rig, O_RDWR | O_CREAT)) return 1;
  CHILD_CHECK(bw_append(rig->bw, data, 5) == 0);
  CHILD_CHECK(bw_append(rig->bw, data + 5, kBytes - 5) == 5); /* whatever of it fits the buffers */
  CHILD_CHECK(bw_flush(rig->bw) == -EFBIG);
  if (check_held(rig, kBytes)) return 1;
  CHILD_CHECK(bw_append(rig->bw, data, 1) == -EFBIG);
  lift_limit();
  CHILD_CHECK(bw_resume(rig->bw) == 0);
  CHILD_CHECK(bw_sync(rig->bw) == 0);
  CHILD_CHECK(bw_position(rig->bw, BW_DURABLE) == kBytes);
  return finish(rig, kBytes);
}
IN_CHILD(test_resume__finds_the_whole_of_an_append, keeps_an_append)

struct gathered {
  char bytes[kBytes];
  size_t length;
};

static void gather(void *arg, const void *bytes, size_t length) {
  struct gathered *all = arg;
  if (length <= sizeof all->bytes - all->length) memcpy(all->bytes + all->length, bytes, length);
  all->length += length;
}

static int shows_the_rest(void *arg) {
  file_rig *rig = arg;
  int64_t accepted;
  static struct gathered rest;
  if (open_and_fail(rig, &accepted)) return 1;
  for (int round = 0; round < 2; ++round) {
    rest.length = 0;
    CHILD_CHECK(bw_unwritten(rig->bw, gather, &rest) == accepted - kLimit);
    CHILD_CHECK((int64_t)rest.length == accepted - kLimit);
    CHILD_CHECK(memcmp(rest.bytes, data + kLimit, rest.length) == 0);
  }
  bw_free(rig->bw);
  return 0;
}
IN_CHILD(test_unwritten__shows_what_the_file_did_not_take, shows_the_rest)

static int discards(void *arg) {
  file_rig *rig = arg;
  int64_t accepted;
  if (open_and_fail(rig, &accepted)) return 1;
  CHILD_CHECK(bw_discard(rig->bw) == accepted - kLimit);
  CHILD_CHECK(bw_discard(rig->bw) == 0);
  CHILD_CHECK(bw_error(rig->bw) == -EFBIG); /* forgetting is not resuming */
  CHILD_CHECK(bw_tell(rig->bw) == kLimit);
  CHILD_CHECK(bw_position(rig->bw, BW_ACCEPTED) == kLimit);
  CHILD_CHECK(bw_buffered(rig->bw) == 0);
  CHILD_CHECK(bw_unwritten(rig->bw, NULL, NULL) == 0);
  CHILD_CHECK(bw_resume(rig->bw) == 0);
  CHILD_CHECK(bw_sync(rig->bw) == 0);
  CHILD_CHECK(bw_position(rig->bw, BW_DURABLE) == kLimit);
  lift_limit();
  CHILD_CHECK(bw_append(rig->bw, data + kLimit, kBytes - kLimit) == kLimit);
  return finish(rig, kBytes);
}
IN_CHILD(test_discard__forgets_what_the_file_did_not_take, discards)

static int closes_after_discard(void *arg) {
  file_rig *rig = arg;
  int64_t accepted;
  if (open_and_fail(rig, &accepted)) return 1;
  CHILD_CHECK(bw_close(rig->bw) == -EFBIG);
  CHILD_CHECK(bw_discard(rig->bw) == accepted - kLimit);
  CHILD_CHECK(bw_resume(rig->bw) == 0);
  return finish(rig, kLimit);
}
IN_CHILD(test_discard__lets_a_full_file_be_closed, closes_after_discard)

static int loses_with_free(void *arg) {
  file_rig *rig = arg;
  int64_t accepted;
  if (open_and_fail(rig, &accepted)) return 1;
  file_rig_free(rig);
  CHILD_CHECK(test_events_lost(&rig->events, data + kLimit, (size_t)(accepted - kLimit)));
  CHILD_CHECK(test_events_get(&rig->events, BW_EVENT_LOST, 0).position == kLimit);
  CHILD_CHECK(test_events_get(&rig->events, BW_EVENT_LOST, 0).code == -EFBIG);
  CHILD_CHECK(file_has(rig->path, data, kLimit));
  return 0;
}
IN_CHILD(test_free__tells_exactly_what_is_lost, loses_with_free)

/* ---- Another sink ---------------------------------------------------------------------------- */

static int sink_takes_over(void *arg) {
  file_rig *rig = arg;
  int64_t accepted;
  bool before[FILE_DESCRIPTORS_MOST], after[FILE_DESCRIPTORS_MOST];
  bw_stats_t stats = BW_STATS_INIT;
  static test_sink sink;
  test_sink_init(&sink);
  const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
  file_list_descriptors(before);
  if (open_and_fail(rig, &accepted)) return 1;
  CHILD_CHECK(bw_set_sink(rig->bw, &ops, &sink) == 0);
  CHILD_CHECK(bw_context(rig->bw) == &sink);
  CHILD_CHECK(bw_error(rig->bw) == 0);
  CHILD_CHECK(bw_flush(rig->bw) == 0);
  CHILD_CHECK(test_sink_holds(&sink, data + kLimit, (size_t)(accepted - kLimit)));
  CHILD_CHECK(bw_position(rig->bw, BW_WRITTEN) == accepted);
  CHILD_CHECK(bw_append(rig->bw, data + accepted, kBytes - (size_t)accepted) == accepted);
  CHILD_CHECK(bw_sync(rig->bw) == 0);
  CHILD_CHECK(test_sink_count(&sink, TEST_SINK_SYNC) == 1);
  CHILD_CHECK(test_sink_holds(&sink, data + kLimit, kBytes - kLimit));
  CHILD_CHECK(bw_get_stats(rig->bw, &stats) == 0);
  CHILD_CHECK(stats.engine == 0 && stats.direct == 0 && stats.registered_buffers == 0);
  CHILD_CHECK(bw_close(rig->bw) == 0);
  CHILD_CHECK(test_sink_count(&sink, TEST_SINK_SYNC) == 1); /* close does not sync */
  CHILD_CHECK(test_sink_count(&sink, TEST_SINK_CLOSE) == 1);
  bw_free(rig->bw);
  file_list_descriptors(after);
  CHILD_CHECK(memcmp(before, after, sizeof before) == 0); /* the file was closed */
  CHILD_CHECK(file_has(rig->path, data, kLimit));
  return 0;
}
IN_CHILD(test_set_sink__takes_over_where_the_file_stopped, sink_takes_over)

static int sink_keeps_the_ways_of_a_file(void *arg) {
  file_rig *rig = arg;
  static test_sink sink;
  char found[4];
  const bw_options_t options = file_rig_options(rig);
  test_sink_init(&sink);
  const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
  test_pattern(data, sizeof data, 1);
  CHILD_CHECK(file_rig_try(rig, O_RDWR | O_CREAT, &options) == 0);
  CHILD_CHECK(bw_write(rig->bw, data, 5000) == 5000);
  CHILD_CHECK(bw_flush(rig->bw) == 0);
  CHILD_CHECK(bw_write(rig->bw, data + 5000, 100) == 100);
  CHILD_CHECK(bw_set_sink(rig->bw, &ops, &sink) == 0); /* no error was held */
  CHILD_CHECK(bw_tell(rig->bw) == 5100);
  CHILD_CHECK(bw_flush(rig->bw) == 0);
  CHILD_CHECK(test_sink_holds(&sink, data + 5000, 100));
  CHILD_CHECK(bw_seek(rig->bw, 50, SEEK_SET) == 50); /* the sink's seek and read */
  CHILD_CHECK(bw_read(rig->bw, found, 4) == 4);
  CHILD_CHECK(memcmp(found, data + 5050, 4) == 0);
  TEST_SINK_SCRIPT(&sink, TEST_SINK_WRITE, -ENOSPC); /* errors are held */
  CHILD_CHECK(bw_write(rig->bw, data, 10) == 10);
  CHILD_CHECK(bw_flush(rig->bw) == -ENOSPC);
  CHILD_CHECK(bw_error(rig->bw) == -ENOSPC);
  CHILD_CHECK(bw_resume(rig->bw) == 0);
  CHILD_CHECK(bw_close(rig->bw) == 0);
  CHILD_CHECK(test_sink_count(&sink, TEST_SINK_SYNC) == 0);
  if (file_rig_is_driven(rig)) CHILD_CHECK(bw_poll_events(rig->bw) >= 0);
  bw_free(rig->bw);
  CHILD_CHECK(file_has_at(rig->path, 0, data, 5000));
  return 0;
}
IN_CHILD(test_set_sink__leaves_the_ways_of_a_file_writer, sink_keeps_the_ways_of_a_file)

/* ---- Syncs ----------------------------------------------------------------------------------- */

/* From now on this process's syncs fail with EIO, but for those that io_uring does. */
static int break_syncs(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
  };
  const struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -errno;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : -errno;
}

static int failed_sync_is_final(void *arg) {
  file_rig *rig = arg;
  bw_span_t span;
  int told = 1;
  const bw_options_t options = file_rig_options(rig);
  test_pattern(data, sizeof data, 1);
  if (break_syncs() != 0) return 0; /* not allowed here */
  CHILD_CHECK(file_rig_try(rig, O_RDWR | O_CREAT, &options) == 0);
  CHILD_CHECK(bw_write(rig->bw, data, 5000) == 5000);
  CHILD_CHECK(bw_notify(rig->bw, 5000, BW_DURABLE, ignore_note, &told) == 0);
  const int first = bw_sync(rig->bw);
  if (first == 0) return 0; /* io_uring did it */
  bw_t *bw = rig->bw;
  const int64_t codes[] = {first,
                           bw_error(bw),
                           bw_sync(bw),
                           bw_wait(bw, 5000, BW_DURABLE, -1),
                           bw_poll_sync(bw, NULL),
                           bw_write(bw, data, 1),
                           bw_append(bw, data, 1),
                           bw_reserve(bw, 1, &span),
                           bw_flush(bw),
                           bw_resume(bw)}; /* -EIO by contract, too */
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; ++i)
    if (codes[i] != -EIO) {
      fprintf(stderr, "call %zu gives %lld\n", i, (long long)codes[i]);
      return 1;
    }
  CHILD_CHECK(bw_position(bw, BW_WRITTEN) == 5000);
  CHILD_CHECK(bw_position(bw, BW_DURABLE) == 0);
  CHILD_CHECK(bw_close(bw) == -EIO); /* it closes, and says so once */
  CHILD_CHECK(bw_close(bw) == 0);
  bw_free(bw);
  CHILD_CHECK(told == -EIO);
  CHILD_CHECK(test_events_count(&rig->events, BW_EVENT_DURABLE) == 0);
  CHILD_CHECK(test_events_count(&rig->events, BW_EVENT_ERROR) == 1);
  CHILD_CHECK(file_has(rig->path, data, 5000));
  return 0;
}
IN_CHILD(test_sync__that_failed_is_final, failed_sync_is_final)

static int close_hears_of_a_failed_sync(void *arg) {
  file_rig *rig = arg;
  const bw_options_t options = file_rig_options(rig);
  test_pattern(data, sizeof data, 1);
  if (break_syncs() != 0) return 0;
  CHILD_CHECK(file_rig_try(rig, O_RDWR | O_CREAT, &options) == 0);
  CHILD_CHECK(bw_write(rig->bw, data, 9000) == 9000);
  const int code = bw_close(rig->bw); /* the file would not be durable */
  CHILD_CHECK(code == -EIO || code == 0);
  CHILD_CHECK(code == 0 || bw_position(rig->bw, BW_DURABLE) == 0);
  CHILD_CHECK(bw_close(rig->bw) == 0);
  CHILD_CHECK(bw_write(rig->bw, data, 1) == -ESHUTDOWN);
  bw_free(rig->bw);
  CHILD_CHECK(file_has(rig->path, data, 9000));
  return 0;
}
IN_CHILD(test_sync__that_fails_in_close_is_its_code, close_hears_of_a_failed_sync)

int main(int argc, char **argv) {
  enum { kNotUnshared = FILE_ENGINES | FILE_CACHES | FILE_DRIVERS | FILE_SHAPES };
  static const file_test tests[] = {
      FILE_TEST(test_held__everything_is_refused_with_the_true_cause, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_held__notes_are_answered_with_it, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_held__threads_that_wait_hear_of_it, kNotUnshared),
      FILE_TEST(test_signal__sigxfsz_never_reaches_the_program, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_resume__goes_on_from_the_first_byte_not_taken, FILE_WAYS | FILE_SHAPES),
      FILE_TEST_WITH(test_resume__goes_on_inside_a_write_of_several_buffers,
                     FILE_ENGINES | FILE_SHARINGS | FILE_CACHES, BW_CALLER_DRIVEN),
      FILE_TEST(test_resume__works_with_append_too, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_resume__finds_the_whole_of_an_append, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_unwritten__shows_what_the_file_did_not_take, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_discard__forgets_what_the_file_did_not_take, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_discard__lets_a_full_file_be_closed, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_free__tells_exactly_what_is_lost, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_set_sink__takes_over_where_the_file_stopped, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_set_sink__leaves_the_ways_of_a_file_writer, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_sync__that_failed_is_final, FILE_WAYS),
      FILE_TEST(test_sync__that_fails_in_close_is_its_code, FILE_WAYS),
  };
  return FILE_TESTS_RUN("file_fail", tests, argc, argv);
}
