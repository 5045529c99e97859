/*
 * bw_fdopen: any descriptor as a sink, with write(2) at its own offset, on a dup of it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/rig.h"

static const uint32_t kModes[] = {BW_UNSHARED, 0, BW_BACKGROUND, BW_BACKGROUND | BW_UNSHARED};
enum { kModeCount = sizeof kModes / sizeof kModes[0] };

static bw_t *open_with(int fd, uint32_t flags, uint64_t capacity) {
  const bw_options_t options = {.size = sizeof options, .flags = flags, .capacity = capacity};
  bw_t *bw = NULL;
  assert_int_equal(bw_fdopen(&bw, fd, &options), 0);
  assert_non_null(bw);
  return bw;
}

/* A file that has no name any more. */
static int temporary_file(void) {
  char path[] = "/tmp/bw_fdopen_test_XXXXXX";
  const int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(unlink(path), 0);
  return fd;
}

static void assert_file_is(int fd, const void *data, size_t length) {
  struct stat about;
  assert_int_equal(fstat(fd, &about), 0);
  assert_int_equal(about.st_size, length);
  char *bytes = malloc(length + 1);
  assert_int_equal(pread(fd, bytes, length + 1, 0), length);
  assert_memory_equal(bytes, data, length);
  free(bytes);
}

static void assert_reads(int fd, const void *data, size_t length) {
  char *bytes = malloc(length);
  for (size_t at = 0; at < length;) {
    const ssize_t count = read(fd, bytes + at, length - at);
    assert_true(count > 0);
    at += (size_t)count;
  }
  assert_memory_equal(bytes, data, length);
  free(bytes);
}

struct draining {
  int fd;
  char *data;
  size_t length;
};

/* Reads `length` bytes, slowly at first. */
static int64_t drain(void *arg) {
  struct draining *draining = arg;
  size_t at = 0;
  while (at < draining->length) {
    size_t most = draining->length - at;
    if (at < 2000) {
      most = most < 100 ? most : 100;
      test_pause();
    }
    const ssize_t count = read(draining->fd, draining->data + at, most);
    if (count <= 0) return count < 0 ? -errno : -ENODATA;
    at += (size_t)count;
  }
  return 0;
}

/* ---- Kinds of descriptors -------------------------------------------------------------------- */

static void test_fdopen__a_pipe_gets_the_bytes(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    bw_t *bw = open_with(ends[1], kModes[mode], 0);
    assert_int_equal(bw_capacity(bw), 8192);
    assert_int_equal(bw_tell(bw), 0);
    assert_int_equal(bw_write(bw, "hello", 5), 5);
    assert_int_equal(bw_flush(bw), 0);
    assert_reads(ends[0], "hello", 5);
    assert_int_equal(bw_seek(bw, 0, SEEK_SET), -ESPIPE);
    assert_int_equal(bw_write(bw, "world", 5), 5);
    assert_int_equal(bw_close(bw), 0);
    assert_reads(ends[0], "world", 5);
    bw_free(bw);
    close(ends[0]);
    close(ends[1]);
  }
}

static void test_fdopen__a_socket_gets_the_bytes_and_is_read(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    int ends[2];
    char text[8];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    bw_t *bw = open_with(ends[1], kModes[mode], 0);
    assert_int_equal(bw_write(bw, "ping", 4), 4);
    assert_int_equal(bw_flush(bw), 0);
    assert_reads(ends[0], "ping", 4);
    assert_int_equal(write(ends[0], "pong", 4), 4);
    assert_int_equal(bw_read(bw, text, sizeof text), 4);
    assert_memory_equal(text, "pong", 4);
    bw_free(bw);
    close(ends[0]);
    close(ends[1]);
  }
}

static void test_fdopen__a_terminal_gets_the_bytes(void **state) {
  (void)state;
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) skip();
  const int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
  if (terminal < 0) skip();
  struct termios raw;
  assert_int_equal(tcgetattr(terminal, &raw), 0);
  cfmakeraw(&raw);
  assert_int_equal(tcsetattr(terminal, TCSANOW, &raw), 0);
  for (int mode = 0; mode < kModeCount; ++mode) {
    bw_t *bw = open_with(terminal, kModes[mode], 0);
    assert_int_equal(bw_tell(bw), 0);
    assert_int_equal(bw_write(bw, "typed\n", 6), 6);
    assert_int_equal(bw_flush(bw), 0);
    assert_reads(master, "typed\n", 6);
    bw_free(bw);
  }
  close(terminal);
  close(master);
}

static void test_fdopen__dev_null_takes_everything(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    const int fd = open("/dev/null", O_WRONLY);
    bw_t *bw = open_with(fd, kModes[mode], 64);
    char data[1000];
    test_pattern(data, sizeof data, 1);
    for (int i = 0; i < 50; ++i) assert_int_equal(bw_write(bw, data, sizeof data), sizeof data);
    const struct iovec parts[2] = {{data, 300}, {data + 300, 700}};
    for (int i = 0; i < 50; ++i) assert_int_equal(bw_writev(bw, parts, 2), sizeof data);
    assert_int_equal(bw_flush(bw), 0);
    assert_int_equal(bw_position(bw, BW_WRITTEN), 100 * sizeof data);
    assert_null(bw_context(bw)); /* the sink is ours */
    assert_int_equal(bw_close(bw), 0);
    bw_free(bw);
    close(fd);
  }
}

static void test_fdopen__a_file_is_written_at_its_own_offset(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    const int fd = temporary_file();
    assert_int_equal(write(fd, "0123456789", 10), 10);
    assert_int_equal(lseek(fd, 4, SEEK_SET), 4);
    bw_t *bw = open_with(fd, kModes[mode], 0);
    assert_int_equal(bw_tell(bw), 4);
    for (int level = BW_ACCEPTED; level <= BW_WRITTEN; ++level) assert_int_equal(bw_position(bw, level), 4);
    assert_int_equal(bw_append(bw, "abc", 3), 4);
    assert_int_equal(bw_flush(bw), 0);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 7);
    assert_file_is(fd, "0123abc789", 10);
    bw_free(bw);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 7);
    close(fd);
  }
}

static void test_fdopen__a_file_can_be_sought_and_read(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    const int fd = temporary_file();
    char text[8];
    bw_t *bw = open_with(fd, kModes[mode], 0);
    assert_int_equal(bw_write(bw, "hello", 5), 5);
    assert_int_equal(bw_seek(bw, 1, SEEK_SET), 1);
    assert_int_equal(bw_read(bw, text, 3), 3);
    assert_memory_equal(text, "ell", 3);
    assert_int_equal(bw_seek(bw, -1, SEEK_END), 4);
    assert_int_equal(bw_write(bw, "O!", 2), 2);
    assert_int_equal(bw_close(bw), 0);
    assert_file_is(fd, "hellO!", 6);
    bw_free(bw);
    close(fd);
  }
}

static void test_fdopen__descriptors_that_are_none_are_refused(void **state) {
  (void)state;
  const int bad[] = {-1, INT_MAX, 9999};
  for (int i = 0; i < 3; ++i) {
    bw_t *bw = (bw_t *)&bw;
    assert_int_equal(bw_fdopen(&bw, bad[i], NULL), -EBADF);
    assert_null(bw);
  }
  assert_int_equal(bw_fdopen(NULL, 0, NULL), -EINVAL);
}

static void test_fdopen__writing_to_what_was_opened_to_read_gives_its_code(void **state) {
  (void)state;
  const int fd = open("/dev/null", O_RDONLY);
  bw_t *bw = open_with(fd, BW_UNSHARED, 0);
  assert_int_equal(bw_write(bw, "abc", 3), 3);
  assert_int_equal(bw_flush(bw), -EBADF);
  assert_int_equal(bw_discard(bw), 3);
  bw_free(bw);
  close(fd);
}

/* ---- The caller's descriptor is his own ------------------------------------------------------- */

static void test_fdopen__its_flags_stay_as_they_are(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode)
    for (int nonblock = 0; nonblock < 2; ++nonblock) {
      int ends[2];
      assert_int_equal(pipe2(ends, nonblock ? O_NONBLOCK : 0), 0);
      const int status = fcntl(ends[1], F_GETFL), descriptor = fcntl(ends[1], F_GETFD);
      bw_t *bw = open_with(ends[1], kModes[mode], 0);
      assert_int_equal(bw_write(bw, "abc", 3), 3);
      assert_int_equal(fcntl(ends[1], F_GETFL), status);
      assert_int_equal(bw_flush(bw), 0);
      assert_int_equal(fcntl(ends[1], F_GETFL), status);
      bw_free(bw);
      assert_int_equal(fcntl(ends[1], F_GETFL), status);
      assert_int_equal(fcntl(ends[1], F_GETFD), descriptor);
      close(ends[0]);
      close(ends[1]);
    }
}

static void test_fdopen__it_is_never_closed(void **state) {
  (void)state;
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  bw_t *bw = open_with(ends[1], 0, 0);
  assert_int_equal(bw_close(bw), 0);
  bw_free(bw);
  assert_int_equal(write(ends[1], "x", 1), 1);
  assert_reads(ends[0], "x", 1);
  close(ends[0]);
  close(ends[1]);
}

static void test_fdopen__the_caller_may_close_it_and_use_its_number_again(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    bw_t *bw = open_with(ends[1], kModes[mode], 0);
    const int other = temporary_file();
    assert_int_equal(dup2(other, ends[1]), ends[1]); /* the number is now another file */
    assert_int_equal(bw_write(bw, "abc", 3), 3);
    assert_int_equal(bw_flush(bw), 0);
    assert_reads(ends[0], "abc", 3);
    assert_file_is(other, "", 0);
    bw_free(bw);
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 0); /* no dup of the pipe is left */
    close(ends[0]);
    close(ends[1]);
    close(other);
  }
}

enum { kDescriptorsMost = 256 };

static void list_descriptors(bool *open_ones) {
  for (int fd = 0; fd < kDescriptorsMost; ++fd) open_ones[fd] = fcntl(fd, F_GETFD) >= 0;
}

static void test_fdopen__our_descriptors_are_close_on_exec_and_go_with_close(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode)
    for (int nonblock = 0; nonblock < 2; ++nonblock) {
      int ends[2];
      bool before[kDescriptorsMost], during[kDescriptorsMost], after[kDescriptorsMost];
      assert_int_equal(pipe2(ends, nonblock ? O_NONBLOCK : 0), 0);
      list_descriptors(before);
      bw_t *bw = open_with(ends[1], kModes[mode], 0);
      list_descriptors(during);
      int ours = 0;
      for (int fd = 0; fd < kDescriptorsMost; ++fd)
        if (during[fd] && !before[fd]) {
          ++ours;
          assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        }
      assert_true(ours >= 1);
      assert_int_equal(bw_close(bw), 0);
      list_descriptors(after);
      assert_memory_equal(after, before, sizeof before);
      bw_free(bw);
      close(ends[0]);
      close(ends[1]);
    }
}

/* ---- Signals --------------------------------------------------------------------------------- */

static atomic_int signals_caught;

static void count_signal(int number) {
  (void)number;
  atomic_fetch_add(&signals_caught, 1);
}

static bool is_pending(int number) {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, number) == 1;
}

/* Writes into something nobody reads; gives the code that came. Background writers hold it until bw_resume. */
static void write_to_nobody(bool socket, uint32_t flags) {
  int ends[2];
  if (socket) assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  else assert_int_equal(pipe(ends), 0);
  close(ends[0]);
  bw_t *bw = open_with(ends[1], flags, 64);
  char data[200];
  const struct iovec parts[2] = {{data, 100}, {data + 100, 100}};
  test_pattern(data, sizeof data, 2);
  assert_int_equal(bw_write(bw, "abc", 3), 3);
  assert_int_equal(bw_flush(bw), -EPIPE);
  assert_int_equal(bw_resume(bw), 0);
  assert_int_equal(bw_flush(bw), -EPIPE);
  if (!(flags & BW_BACKGROUND)) {
    assert_int_equal(bw_discard(bw), 3);
    assert_int_equal(bw_write(bw, data, sizeof data), -EPIPE); /* past the buffer */
    assert_int_equal(bw_writev(bw, parts, 2), -EPIPE);
  }
  (void)bw_discard(bw);
  bw_free(bw);
  close(ends[1]);
}

static void test_fdopen__sigpipe_does_not_reach_the_program(void **state) {
  (void)state;
  struct sigaction count = {.sa_handler = count_signal}, before;
  atomic_store(&signals_caught, 0);
  assert_int_equal(sigaction(SIGPIPE, &count, &before), 0);
  for (int mode = 0; mode < kModeCount; ++mode)
    for (int socket = 0; socket < 2; ++socket) write_to_nobody(socket, kModes[mode]);
  assert_int_equal(atomic_load(&signals_caught), 0);
  assert_false(is_pending(SIGPIPE));
  sigaction(SIGPIPE, &before, NULL);
}

static void test_fdopen__sigpipe_does_not_kill_where_it_would(void **state) {
  (void)state;
  struct sigaction deadly = {.sa_handler = SIG_DFL}, before;
  assert_int_equal(sigaction(SIGPIPE, &deadly, &before), 0);
  for (int mode = 0; mode < kModeCount; ++mode)
    for (int socket = 0; socket < 2; ++socket) write_to_nobody(socket, kModes[mode]);
  sigaction(SIGPIPE, &before, NULL);
}

static void test_fdopen__the_signal_mask_is_left_as_it_was(void **state) {
  (void)state;
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  for (int mode = 0; mode < kModeCount; ++mode) {
    write_to_nobody(false, kModes[mode]);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGPIPE), sigismember(&before, SIGPIPE));
    assert_int_equal(sigismember(&after, SIGXFSZ), sigismember(&before, SIGXFSZ));
  }
}

static void test_fdopen__a_sigpipe_of_the_callers_own_stays_pending(void **state) {
  (void)state;
  struct sigaction count = {.sa_handler = count_signal}, before;
  sigset_t pipe_only, mask;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  assert_int_equal(sigaction(SIGPIPE, &count, &before), 0);
  for (int mode = 0; mode < kModeCount; ++mode) {
    atomic_store(&signals_caught, 0);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &pipe_only, &mask), 0);
    assert_int_equal(raise(SIGPIPE), 0);
    assert_true(is_pending(SIGPIPE));
    write_to_nobody(false, kModes[mode]);
    assert_true(is_pending(SIGPIPE));
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &mask, NULL), 0);
    assert_int_equal(atomic_load(&signals_caught), 1); /* his own, once */
  }
  sigaction(SIGPIPE, &before, NULL);
}

static void test_fdopen__a_sigpipe_blocked_by_the_caller_does_not_stay_behind(void **state) {
  (void)state;
  sigset_t pipe_only, mask;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  assert_int_equal(pthread_sigmask(SIG_BLOCK, &pipe_only, &mask), 0);
  for (int mode = 0; mode < kModeCount; ++mode) {
    write_to_nobody(false, kModes[mode]);
    assert_false(is_pending(SIGPIPE));
  }
  assert_int_equal(pthread_sigmask(SIG_SETMASK, &mask, NULL), 0);
}

static void test_fdopen__the_limit_of_file_sizes_is_a_code(void **state) {
  (void)state;
  struct sigaction deadly = {.sa_handler = SIG_DFL}, before;
  struct rlimit limit, small;
  char data[2000];
  test_pattern(data, sizeof data, 3);
  assert_int_equal(sigaction(SIGXFSZ, &deadly, &before), 0);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  small = (struct rlimit){1000, limit.rlim_max};
  for (int mode = 0; mode < kModeCount; ++mode) {
    const int fd = temporary_file();
    bw_t *bw = open_with(fd, kModes[mode], 4096);
    assert_int_equal(bw_write(bw, data, sizeof data), sizeof data);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const int code = bw_flush(bw);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(code, -EFBIG);
    assert_false(is_pending(SIGXFSZ));
    assert_file_is(fd, data, 1000);
    assert_int_equal(bw_position(bw, BW_WRITTEN), 1000);
    assert_int_equal(bw_resume(bw), 0);
    assert_int_equal(bw_flush(bw), 0);
    assert_file_is(fd, data, sizeof data);
    bw_free(bw);
    close(fd);
  }
  sigaction(SIGXFSZ, &before, NULL);
}

/* ---- O_NONBLOCK ------------------------------------------------------------------------------ */

enum { kMuch = 300000 };

static void test_fdopen__an_inline_writer_on_a_nonblocking_pipe_never_waits(void **state) {
  (void)state;
  for (int mode = 0; mode < 2; ++mode) {
    int ends[2];
    static char data[kMuch], got[kMuch];
    size_t sent = 0, received = 0;
    bool was_full = false;
    test_pattern(data, sizeof data, 4);
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    bw_t *bw = open_with(ends[1], kModes[mode], 4096);
    while (received < kMuch) {
      int64_t taken = 0;
      while (sent < kMuch && taken >= 0) {
        size_t length = sent % 3 == 0 ? 10000 : 777; /* past the buffer and through it */
        if (length > kMuch - sent) length = kMuch - sent;
        taken = bw_write(bw, data + sent, length);
        assert_true(taken == -EAGAIN || (taken > 0 && taken <= (int64_t)length));
        if (taken == -EAGAIN) was_full = true;
        else sent += (size_t)taken;
        assert_int_equal(bw_tell(bw), sent);
      }
      const int code = bw_flush(bw);
      assert_true(code == 0 || code == -EAGAIN);
      const ssize_t count = read(ends[0], got + received, kMuch - received);
      assert_true(count > 0);
      received += (size_t)count;
    }
    assert_true(was_full);
    assert_int_equal(bw_flush(bw), 0);
    assert_int_equal(bw_error(bw), 0);
    assert_memory_equal(got, data, kMuch);
    bw_free(bw);
    close(ends[0]);
    close(ends[1]);
  }
}

static void test_fdopen__a_background_writer_polls_a_nonblocking_pipe_by_itself(void **state) {
  (void)state;
  for (int mode = 2; mode < kModeCount; ++mode) {
    int ends[2];
    static char data[kMuch], got[kMuch];
    struct draining draining = {.data = got, .length = kMuch};
    test_thread reader;
    test_pattern(data, sizeof data, 5);
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, 0), 0); /* the reader may wait */
    assert_true(fcntl(ends[1], F_GETFL) & O_NONBLOCK);
    bw_t *bw = open_with(ends[1], kModes[mode], 4096);
    draining.fd = ends[0];
    test_thread_start(&reader, drain, &draining);
    for (size_t at = 0; at < kMuch; at += 1000) assert_int_equal(bw_write(bw, data + at, 1000), 1000);
    assert_int_equal(bw_flush(bw), 0);
    assert_int_equal(test_thread_join(&reader), 0);
    assert_memory_equal(got, data, kMuch);
    bw_free(bw);
    close(ends[0]);
    close(ends[1]);
  }
}

static void test_fdopen__free_does_not_wait_for_a_full_nonblocking_pipe(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    int ends[2];
    char byte = 0;
    test_events events;
    test_events_init(&events);
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    while (write(ends[1], &byte, 1) == 1) continue;
    const bw_options_t options = {
        .size = sizeof options, .flags = kModes[mode], .on_event = test_events_record, .event_arg = &events};
    bw_t *bw = NULL;
    assert_int_equal(bw_fdopen(&bw, ends[1], &options), 0);
    assert_int_equal(bw_write(bw, "abc", 3), 3);
    bw_free(bw);
    assert_true(test_events_lost(&events, "abc", 3));
    test_events_destroy(&events);
    close(ends[0]);
    close(ends[1]);
  }
}

static void test_fdopen__a_blocking_pipe_makes_the_writer_wait(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    int ends[2];
    static char data[kMuch], got[kMuch];
    struct draining draining = {.data = got, .length = kMuch};
    test_thread reader;
    test_pattern(data, sizeof data, 6);
    assert_int_equal(pipe(ends), 0);
    bw_t *bw = open_with(ends[1], kModes[mode], 4096);
    draining.fd = ends[0];
    test_thread_start(&reader, drain, &draining);
    assert_int_equal(bw_write(bw, data, 100), 100);
    assert_int_equal(bw_write(bw, data + 100, kMuch - 100), kMuch - 100);
    assert_int_equal(bw_flush(bw), 0);
    assert_int_equal(test_thread_join(&reader), 0);
    assert_memory_equal(got, data, kMuch);
    bw_free(bw);
    close(ends[0]);
    close(ends[1]);
  }
}

/* ---- Vectored -------------------------------------------------------------------------------- */

static void test_fdopen__more_parts_than_the_system_takes_at_once_arrive(void **state) {
  (void)state;
  enum { kParts = 3000, kEach = 7 };
  for (int mode = 0; mode < kModeCount; ++mode) {
    const int fd = temporary_file();
    static char data[kParts * kEach];
    static struct iovec parts[kParts];
    test_pattern(data, sizeof data, 7);
    for (int i = 0; i < kParts; ++i) parts[i] = (struct iovec){data + i * kEach, kEach};
    bw_t *bw = open_with(fd, kModes[mode], 512);
    assert_int_equal(bw_writev(bw, parts, kParts), sizeof data);
    assert_int_equal(bw_flush(bw), 0);
    assert_file_is(fd, data, sizeof data);
    assert_int_equal(bw_seek(bw, 0, SEEK_SET), 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(bw_appendv(bw, parts, kParts), 0);
    assert_int_equal(bw_flush(bw), 0);
    assert_file_is(fd, data, sizeof data);
    bw_free(bw);
    close(fd);
  }
}

/* As many as the system takes at once, before the first byte: to it that would be a write of nothing. */
static void test_fdopen__parts_that_are_empty_are_passed_over(void **state) {
  (void)state;
  enum { kEmpty = 3000, kBytes = 600 };
  for (int mode = 0; mode < kModeCount; ++mode) {
    const int fd = temporary_file();
    static char data[kBytes];
    static struct iovec parts[kEmpty + 2];
    test_pattern(data, sizeof data, 8);
    for (int i = 0; i < kEmpty; ++i) parts[i] = (struct iovec){data, 0};
    parts[kEmpty] = (struct iovec){data, 1};
    parts[kEmpty + 1] = (struct iovec){data + 1, kBytes - 1};
    bw_t *bw = open_with(fd, kModes[mode], 512);
    assert_int_equal(bw_writev(bw, parts, kEmpty + 2), kBytes);
    assert_int_equal(bw_flush(bw), 0);
    assert_file_is(fd, data, kBytes);
    bw_free(bw);
    close(fd);
  }
}

/* ---- Durable --------------------------------------------------------------------------------- */

static void test_fdopen__a_file_is_synced(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    const int fd = temporary_file();
    bw_t *bw = open_with(fd, kModes[mode], 0);
    assert_int_equal(bw_write(bw, "abc", 3), 3);
    assert_int_equal(bw_sync(bw), 0);
    assert_int_equal(bw_position(bw, BW_DURABLE), 3);
    assert_file_is(fd, "abc", 3);
    bw_free(bw);
    close(fd);
  }
}

static void test_fdopen__what_cannot_be_synced_is_no_failure(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    bw_t *bw = open_with(ends[1], kModes[mode], 0);
    for (int round = 0; round < 2; ++round) {
      assert_int_equal(bw_write(bw, "abc", 3), 3);
      assert_int_equal(bw_sync(bw), -EOPNOTSUPP);
      assert_reads(ends[0], "abc", 3);
      assert_int_equal(bw_error(bw), 0);
      assert_int_equal(bw_position(bw, BW_DURABLE), 0);
    }
    assert_int_equal(bw_close(bw), 0);
    bw_free(bw);
    close(ends[0]);
    close(ends[1]);
  }
}

/* ---- Nothing is lost ------------------------------------------------------------------------- */

enum { kRecords = 700, kRecord = 1000 };

struct disk {
  char path[64];
  int file;
};

/* A disk of 512 KiB with an empty file on it; skips the test where none can be mounted. */
static struct disk small_disk(void) {
  struct disk disk = {.path = "/tmp/bw_fdopen_disk_XXXXXX"};
  assert_non_null(mkdtemp(disk.path));
  if (mount("tmpfs", disk.path, "tmpfs", 0, "size=512k") != 0) {
    rmdir(disk.path);
    skip();
  }
  char name[96];
  snprintf(name, sizeof name, "%s/file", disk.path);
  disk.file = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  assert_true(disk.file >= 0);
  return disk;
}

static int make_room(struct disk *disk) {
  return mount("tmpfs", disk->path, "tmpfs", MS_REMOUNT, "size=2m") == 0 ? 0 : -errno;
}

static void remove_disk(struct disk *disk) {
  close(disk->file);
  umount2(disk->path, MNT_DETACH);
  rmdir(disk->path);
}

static void test_fdopen__a_full_disk_costs_no_accepted_byte(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode)
    for (int capacity = 0; capacity <= 65536; capacity += 65536) {
      struct disk disk = small_disk();
      bw_t *bw = open_with(disk.file, kModes[mode], (uint64_t)capacity);
      char *accepted = malloc((size_t)kRecords * kRecord);
      size_t length = 0, failures = 0;
      int64_t wrong = 0;
      for (unsigned i = 0; i < kRecords; ++i) {
        char record[kRecord];
        test_pattern(record, sizeof record, i + 100);
        const int64_t taken = bw_write(bw, record, sizeof record);
        if (taken > 0) {
          memcpy(accepted + length, record, (size_t)taken);
          length += (size_t)taken;
        }
        if (taken == kRecord) continue;
        if (taken < 0 && taken != -ENOSPC) wrong = taken;
        if (failures++ == 0 && make_room(&disk) != 0) wrong = -EPROTO;
        if (bw_resume(bw) != 0) wrong = -EPROTO;
      }
      const int64_t told = bw_tell(bw);
      int first = bw_flush(bw);
      if (first == -ENOSPC && failures++ == 0) { /* it shows only now */
        wrong = make_room(&disk);
        (void)bw_resume(bw);
      }
      const int second = bw_flush(bw), closed = bw_close(bw);
      bw_free(bw);
      struct stat about;
      char *bytes = malloc((size_t)kRecords * kRecord);
      fstat(disk.file, &about);
      const ssize_t count = pread(disk.file, bytes, (size_t)kRecords * kRecord, 0);
      remove_disk(&disk);
      assert_int_equal(wrong, 0);
      assert_true(failures > 0);
      assert_int_equal(told, length);
      assert_true(first == 0 || first == -ENOSPC);
      assert_int_equal(second, 0);
      assert_int_equal(closed, 0);
      assert_int_equal(about.st_size, length);
      assert_int_equal(count, length);
      assert_memory_equal(bytes, accepted, length);
      free(bytes);
      free(accepted);
    }
}

static void test_fdopen__a_disk_that_stays_full_is_told(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    struct disk disk = small_disk();
    test_events events;
    test_events_init(&events);
    const bw_options_t options = {
        .size = sizeof options, .flags = kModes[mode], .on_event = test_events_record, .event_arg = &events};
    bw_t *bw = NULL;
    const int made = bw_fdopen(&bw, disk.file, &options);
    char *accepted = malloc((size_t)kRecords * kRecord);
    size_t length = 0;
    bool refused = false;
    for (unsigned i = 0; i < kRecords && made == 0; ++i) {
      test_pattern(accepted + length, kRecord, i + 1);
      const int64_t taken = bw_write(bw, accepted + length, kRecord);
      if (taken > 0) length += (size_t)taken;
      if (taken != kRecord) refused = true;
    }
    const int flushed = bw_flush(bw), closed = bw_close(bw);
    const int64_t written = bw_position(bw, BW_WRITTEN);
    bw_free(bw);
    struct stat about;
    char *bytes = malloc((size_t)kRecords * kRecord);
    fstat(disk.file, &about);
    const ssize_t count = pread(disk.file, bytes, (size_t)kRecords * kRecord, 0);
    remove_disk(&disk);
    assert_int_equal(made, 0);
    assert_true(refused);
    assert_int_equal(flushed, -ENOSPC);
    assert_int_equal(closed, -ENOSPC);
    assert_int_equal(about.st_size, written);
    assert_int_equal(count, written);
    assert_memory_equal(bytes, accepted, (size_t)written);
    assert_true(test_events_lost(&events, accepted + written, length - (size_t)written));
    free(bytes);
    free(accepted);
    test_events_destroy(&events);
  }
}

/* ---- Two processes --------------------------------------------------------------------------- */

/* Writes ten lines, each after a byte from `turn_in`, and then gives a byte to `turn_out`. */
static int take_turns(int fd, uint32_t flags, char letter, int turn_in, int turn_out) {
  const bw_options_t options = {.size = sizeof options, .flags = flags};
  bw_t *bw = NULL;
  int code = bw_fdopen(&bw, fd, &options);
  for (int i = 0; i < 10 && code == 0; ++i) {
    char line[32], turn;
    if (read(turn_in, &turn, 1) != 1) code = -EPROTO;
    const int length = snprintf(line, sizeof line, "%c writes line %d\n", letter, i);
    if (code == 0 && bw_write(bw, line, (size_t)length) != length) code = -EPROTO;
    if (code == 0) code = bw_flush(bw);
    if (write(turn_out, "x", 1) != 1 && code == 0) code = -EPROTO;
  }
  bw_free(bw);
  return code;
}

static void test_fdopen__two_processes_that_take_turns_lose_nothing(void **state) {
  (void)state;
  for (int mode = 0; mode < kModeCount; ++mode) {
    const int fd = temporary_file();
    int to_child[2], to_parent[2];
    assert_int_equal(pipe(to_child), 0);
    assert_int_equal(pipe(to_parent), 0);
    const pid_t child = fork();
    if (child == 0) {
      close(to_child[1]);
      close(to_parent[0]);
      _exit(take_turns(fd, kModes[mode], 'C', to_child[0], to_parent[1]) == 0 ? 0 : 1);
    }
    assert_true(child > 0);
    close(to_parent[1]); /* the reading end of to_child stays open: no SIGPIPE when the child is done */
    assert_int_equal(write(to_child[1], "x", 1), 1); /* the child begins */
    assert_int_equal(take_turns(fd, kModes[mode], 'P', to_parent[0], to_child[1]), 0);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    char expected[1024];
    size_t length = 0;
    for (int i = 0; i < 10; ++i)
      length += (size_t)snprintf(expected + length, sizeof expected - length, "C writes line %d\nP writes line %d\n",
                                 i, i);
    assert_file_is(fd, expected, length);
    close(to_child[0]);
    close(to_child[1]);
    close(to_parent[0]);
    close(fd);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fdopen__a_pipe_gets_the_bytes),
      cmocka_unit_test(test_fdopen__a_socket_gets_the_bytes_and_is_read),
      cmocka_unit_test(test_fdopen__a_terminal_gets_the_bytes),
      cmocka_unit_test(test_fdopen__dev_null_takes_everything),
      cmocka_unit_test(test_fdopen__a_file_is_written_at_its_own_offset),
      cmocka_unit_test(test_fdopen__a_file_can_be_sought_and_read),
      cmocka_unit_test(test_fdopen__descriptors_that_are_none_are_refused),
      cmocka_unit_test(test_fdopen__writing_to_what_was_opened_to_read_gives_its_code),
      cmocka_unit_test(test_fdopen__its_flags_stay_as_they_are),
      cmocka_unit_test(test_fdopen__it_is_never_closed),
      cmocka_unit_test(test_fdopen__the_caller_may_close_it_and_use_its_number_again),
      cmocka_unit_test(test_fdopen__our_descriptors_are_close_on_exec_and_go_with_close),
      cmocka_unit_test(test_fdopen__sigpipe_does_not_reach_the_program),
      cmocka_unit_test(test_fdopen__sigpipe_does_not_kill_where_it_would),
      cmocka_unit_test(test_fdopen__the_signal_mask_is_left_as_it_was),
      cmocka_unit_test(test_fdopen__a_sigpipe_of_the_callers_own_stays_pending),
      cmocka_unit_test(test_fdopen__a_sigpipe_blocked_by_the_caller_does_not_stay_behind),
      cmocka_unit_test(test_fdopen__the_limit_of_file_sizes_is_a_code),
      cmocka_unit_test(test_fdopen__an_inline_writer_on_a_nonblocking_pipe_never_waits),
      cmocka_unit_test(test_fdopen__a_background_writer_polls_a_nonblocking_pipe_by_itself),
      cmocka_unit_test(test_fdopen__free_does_not_wait_for_a_full_nonblocking_pipe),
      cmocka_unit_test(test_fdopen__a_blocking_pipe_makes_the_writer_wait),
      cmocka_unit_test(test_fdopen__more_parts_than_the_system_takes_at_once_arrive),
      cmocka_unit_test(test_fdopen__parts_that_are_empty_are_passed_over),
      cmocka_unit_test(test_fdopen__a_file_is_synced),
      cmocka_unit_test(test_fdopen__what_cannot_be_synced_is_no_failure),
      cmocka_unit_test(test_fdopen__a_full_disk_costs_no_accepted_byte),
      cmocka_unit_test(test_fdopen__a_disk_that_stays_full_is_told),
      cmocka_unit_test(test_fdopen__two_processes_that_take_turns_lose_nothing),
  };
  signal(SIGPIPE, SIG_DFL);
  return cmocka_run_group_tests_name("fdopen", tests, NULL, NULL);
}
