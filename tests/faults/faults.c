#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/loop.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/threads.h"

#define SKIPPED 77
#define NOT_FOUND 127

/* ---- What to run ----------------------------------------------------------------------------- */

void faults_skip(const char *why) {
  printf("skipped: %s\n", why);
  exit(SKIPPED);
}

/* Asked of the kernel, not of the library. */
static bool has_uring(void) {
  struct io_uring_params params;
  memset(&params, 0, sizeof params);
  const long ring = syscall(SYS_io_uring_setup, 1, &params);
  if (ring >= 0) close((int)ring);
  return ring >= 0;
}

uint32_t faults_engine(const char *name) {
  EXPECT(name != NULL);
  if (strcmp(name, "pwrite") == 0) return BW_ENGINE_PWRITE;
  EXPECT(strcmp(name, "uring") == 0);
  if (!has_uring()) faults_skip("no io_uring on this kernel");
  return BW_ENGINE_URING;
}

bool faults_is_long(void) {
  const char *wish = getenv("BW_LONG");
  return wish && *wish && strcmp(wish, "0") != 0;
}

/* ---- A place to work ------------------------------------------------------------------------- */

static char place[512];
static pid_t place_owner;

static void leave_place(void) {
  if (getpid() != place_owner || chdir("/") != 0) return;
  umount2(place, MNT_DETACH);
  rmdir(place);
}

void faults_private_place(const char *options) {
  if (geteuid() != 0) faults_skip("only root may mount");
  EXPECT(getcwd(place, sizeof place - 16));
  strcat(place, "/place.XXXXXX");
  EXPECT(mkdtemp(place));
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
      mount("none", place, "tmpfs", 0, options) != 0) {
    rmdir(place);
    faults_skip("no mount namespace here");
  }
  place_owner = getpid();
  atexit(leave_place);
  EXPECT(chdir(place) == 0);
}

int faults_mount(const char *device, const char *directory, const char *type, const char *options) {
  mkdir(directory, 0777);
  if (mount(device, directory, type, 0, options) != 0) {
    if (errno == ENODEV) faults_skip("the kernel does not know this kind of filesystem");
    return -errno;
  }
  return chmod(directory, 0777) == 0 ? 0 : -errno; /* children that are not root work there too */
}

int faults_remount(const char *directory, const char *options) {
  return mount("none", directory, NULL, MS_REMOUNT, options) == 0 ? 0 : -errno;
}

/* Not lazily: the device must be free when this returns. Work that the kernel finishes after a close takes a moment. */
void faults_unmount(const char *directory) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  int failed;
  while ((failed = umount2(directory, 0)) != 0 && errno == EBUSY && test_now_us() < end) test_pause();
  EXPECT(failed == 0);
}

int faults_loop(const char *image, char path[32]) {
  const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) faults_skip("no loop devices here");
  const int backing = open(image, O_RDWR | O_CLOEXEC);
  EXPECT(backing >= 0);
  struct loop_config config;
  memset(&config, 0, sizeof config);
  config.fd = (unsigned)backing;
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  int loop = -1;
  for (int tries = 0; tries < 100 && loop < 0; ++tries) { /* others look for a free one too */
    const int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) break;
    snprintf(path, 32, "/dev/loop%d", number);
    loop = open(path, O_RDWR | O_CLOEXEC);
    if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) != 0) {
      close(loop);
      loop = -1;
    }
  }
  close(backing);
  close(control);
  if (loop < 0) faults_skip("no loop device can be had");
  return loop;
}

bool faults_run(const char *const *arguments) {
  fflush(NULL);
  const pid_t child = fork();
  EXPECT(child >= 0);
  if (child == 0) {
    execvp(arguments[0], (char *const *)arguments);
    _exit(NOT_FOUND);
  }
  int status;
  EXPECT(waitpid(child, &status, 0) == child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND) {
    char why[64];
    snprintf(why, sizeof why, "no %s", arguments[0]);
    faults_skip(why);
  }
  return status == 0;
}

void faults_make_ext4(const char *image, int64_t bytes, const char *options) {
  const int fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  EXPECT(fd >= 0 && ftruncate(fd, bytes) == 0);
  close(fd);
  const char *arguments[] = {"mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", image, NULL, NULL, NULL};
  if (options) {
    arguments[7] = "-E";
    arguments[8] = options;
    arguments[9] = image;
  }
  EXPECT(faults_run(arguments));
}

/* ---- The guard ------------------------------------------------------------------------------- */

/* Returns once it is time to undo: the process has died, or is late. */
static void keep_guard(int end, pid_t whom, unsigned seconds) {
  struct pollfd gone = {end, POLLIN, 0};
  char byte;
  if (poll(&gone, 1, (int)seconds * 1000) > 0 && read(end, &byte, 1) == 1) _exit(0);
  kill(whom, SIGKILL);
}

/* Whoever kills a test and its children by looking for them must not find the guard: it is nobody's child. */
int faults_guard(void (*undo)(void *arg), void *arg, unsigned seconds) {
  int ends[2];
  EXPECT(pipe2(ends, O_CLOEXEC) == 0);
  fflush(NULL);
  const pid_t whom = getpid(), middle = fork();
  EXPECT(middle >= 0);
  if (middle == 0) {
    if (fork() != 0) _exit(0);
    setsid();
    close(ends[1]);
    close(STDOUT_FILENO); /* who reads our output waits until all have closed it
                           */
    close(STDERR_FILENO);
    keep_guard(ends[0], whom, seconds);
    struct pollfd gone = {ends[0], POLLIN, 0};
    for (int tries = 0; tries < 100; ++tries) { /* it dies only once nothing holds it any more */
      undo(arg);
      if (poll(&gone, 1, 100) > 0) break;
    }
    undo(arg);
    _exit(0);
  }
  EXPECT(waitpid(middle, NULL, 0) == middle);
  close(ends[0]);
  return ends[1];
}

void faults_guard_dismiss(int guard) {
  EXPECT(write(guard, "", 1) == 1);
  close(guard);
}

/* ---- Streams --------------------------------------------------------------------------------- */

static unsigned char stream_byte(int64_t position) {
  uint64_t state = (uint64_t)position / 8;
  return (unsigned char)(test_random(&state) >> (position % 8 * 8));
}

void faults_stream(void *out, size_t length, int64_t position) {
  unsigned char *bytes = out;
  size_t i = 0;
  while (i < length) {
    if ((position + (int64_t)i) % 8 == 0 && length - i >= 8) {
      uint64_t state = (uint64_t)(position + (int64_t)i) / 8;
      const uint64_t word = test_random(&state);
      memcpy(bytes + i, &word, 8);
      i += 8;
    } else {
      bytes[i] = stream_byte(position + (int64_t)i);
      ++i;
    }
  }
}

bool faults_stream_is(const void *data, size_t length, int64_t position) {
  const unsigned char *bytes = data;
  unsigned char expected[4096];
  for (size_t at = 0; at < length; at += sizeof expected) {
    const size_t piece = length - at < sizeof expected ? length - at : sizeof expected;
    faults_stream(expected, piece, position + (int64_t)at);
    if (memcmp(bytes + at, expected, piece) == 0) continue;
    size_t i = 0;
    while (bytes[at + i] == expected[i]) ++i;
    fprintf(stderr, "stream: byte %lld is %u and not %u\n", (long long)position + (long long)(at + i), bytes[at + i],
            expected[i]);
    return false;
  }
  return true;
}

int64_t faults_file_size(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 ? status.st_size : -1;
}

bool faults_file_begins(const char *path, int64_t position, int64_t length) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return false;
  }
  static _Thread_local unsigned char data[65536];
  int64_t at = 0;
  bool right = true;
  while (right && at < length) {
    const size_t piece = length - at < (int64_t)sizeof data ? (size_t)(length - at) : sizeof data;
    const ssize_t count = pread(fd, data, piece, at);
    if (count <= 0) {
      fprintf(stderr, "%s: ends at %lld, not %lld\n", path, (long long)at, (long long)length);
      right = false;
    } else {
      right = faults_stream_is(data, (size_t)count, position + at);
      at += count;
    }
  }
  close(fd);
  return right;
}

bool faults_file_is(const char *path, int64_t position, int64_t length) {
  const int64_t size = faults_file_size(path);
  if (size != length) fprintf(stderr, "%s: has %lld bytes, not %lld\n", path, (long long)size, (long long)length);
  return size == length && faults_file_begins(path, position, length);
}

/* ---- Refused system calls -------------------------------------------------------------------- */

#define MOST_REFUSALS 8

int faults_refuse(const faults_refusal *list, unsigned count) {
  struct sock_filter program[1 + MOST_REFUSALS * 5 + 1];
  unsigned short length = 0;
  EXPECT(count <= MOST_REFUSALS);
  for (unsigned i = 0; i < count; ++i) {
    const unsigned argument = offsetof(struct seccomp_data, args) + list[i].argument * 8; /* its low half */
    const bool looks = list[i].mask != 0;
    const unsigned char past = looks ? 3 : 1;
    program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)list[i].number, 0, past);
    if (looks) {
      program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument);
      program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, list[i].mask, 0, 1);
    }
    program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)list[i].error);
  }
  program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const struct sock_fprog filter = {length, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -errno;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0 ? 0 : -errno;
}

/* ---- Children -------------------------------------------------------------------------------- */

int faults_in_child(int (*body)(void *arg), void *arg) {
  fflush(NULL);
  const pid_t child = fork();
  EXPECT(child >= 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(TEST_BOUND_S * 4);
    _exit(body(arg));
  }
  int status;
  EXPECT(waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) fprintf(stderr, "the child was ended by signal %d\n", WTERMSIG(status));
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
