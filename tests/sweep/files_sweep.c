/*
 * Writers of files, and of descriptors (bw_fdopen): what reaches the kernel is an operation. The library calls
 * pwrite(2) and its relatives, and liburing, through the dynamic linker, which finds ours first.
 *
 * An entry of io_uring that is to fail becomes an IORING_OP_NOP with the code as its result (6.10 and later), so that a
 * real completion carries it; one that is to be short is shrunk. The disk itself is not waited for: a sync that
 * succeeds is one of which we took note.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault.h"
#include "scratch.h"
#include "streams.h"

enum { kCapacity = 8192, kSmallCapacity = 64, kUnit = 4096, kSector = 512, kParts = 16, kPreallocated = 1 << 16 };

static const char *path;
static int own_fd = -1; /* on the file, past the library */
static atomic_bool is_armed;
static atomic_bool has_descriptor; /* of bw_fdopen(): write(2), writev(2) and lseek(2) count too */
static atomic_llong reserved_to;   /* fallocate()d up to here */
static atomic_llong failed_cut;    /* which operation the last ftruncate() was, if it failed; else -1 */

/* ---- The file ---------------------------------------------------------------------------------- */

static int64_t size_now(void) {
  struct stat status;
  return fstat(own_fd, &status) == 0 ? status.st_size : -1;
}

static size_t read_at(int64_t from, void *out, size_t length) {
  const ssize_t count = pread(own_fd, out, length, from);
  return count > 0 ? (size_t)count : 0;
}

static void put_at(int64_t at, const void *data, size_t length) {
  if (syscall(SYS_pwrite64, own_fd, data, length, at) != (long)length) abort();
}

/* ---- System calls ------------------------------------------------------------------------------ */

static int fails_with(int answer) {
  errno = -answer;
  return -1;
}

/* What is left of `length` bytes where a write is to be short: by whole units, if there are several, and else by
 * sectors where O_DIRECT wants them; else by half. */
static size_t shortened(int fd, size_t length) {
  const size_t step = length > kUnit ? kUnit : kSector;
  const size_t half = (length + 1) / 2;
  const bool is_direct = fcntl(fd, F_GETFL) & O_DIRECT;
  return is_direct && length % kSector == 0 && length > kSector ? (half + step - 1) / step * step : half;
}

static size_t length_of_parts(const struct iovec *parts, int count) {
  size_t length = 0;
  for (int i = 0; i < count; ++i) length += parts[i].iov_len;
  return length;
}

/* The first `length` bytes of the parts, in a list of ours. Gives how many parts they are. */
static int first_parts(struct iovec *out, const struct iovec *parts, size_t length) {
  int count = 0;
  for (; length > 0 && count < kParts; ++count) {
    out[count] = parts[count];
    if (out[count].iov_len > length) out[count].iov_len = length;
    length -= out[count].iov_len;
  }
  return count;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
  const int answer = is_armed ? fault_next(FAULT_WRITE) : FAULT_NONE;
  if (answer < 0) return fails_with(answer);
  if (answer == FAULT_ZERO) return 0;
  return syscall(SYS_pwrite64, fd, data, answer == FAULT_SHORT ? shortened(fd, length) : length, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  const int answer = is_armed ? fault_next(FAULT_WRITE) : FAULT_NONE;
  if (answer < 0) return fails_with(answer);
  if (answer == FAULT_ZERO) return 0;
  struct iovec some[kParts];
  if (answer == FAULT_SHORT) {
    count = first_parts(some, parts, shortened(fd, length_of_parts(parts, count)));
    parts = some;
  }
  return syscall(SYS_pwritev, fd, parts, count, offset, 0);
}

/* Others write to their own: the library to eventfds. */
static bool is_counted(int fd) {
  struct stat status, own;
  return is_armed && has_descriptor && fd != own_fd && fstat(fd, &status) == 0 && fstat(own_fd, &own) == 0 &&
         status.st_ino == own.st_ino && status.st_dev == own.st_dev;
}

ssize_t write(int fd, const void *data, size_t length) {
  const int answer = is_counted(fd) ? fault_next(FAULT_WRITE) : FAULT_NONE;
  if (answer < 0) return fails_with(answer);
  if (answer == FAULT_ZERO) return 0;
  return syscall(SYS_write, fd, data, answer == FAULT_SHORT ? shortened(fd, length) : length);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  const int answer = is_counted(fd) ? fault_next(FAULT_WRITE) : FAULT_NONE;
  if (answer < 0) return fails_with(answer);
  if (answer == FAULT_ZERO) return 0;
  struct iovec some[kParts];
  if (answer == FAULT_SHORT) {
    count = first_parts(some, parts, shortened(fd, length_of_parts(parts, count)));
    parts = some;
  }
  return syscall(SYS_writev, fd, parts, count);
}

off_t lseek(int fd, off_t offset, int whence) {
  const int answer = is_counted(fd) ? fault_next(FAULT_SEEK) : FAULT_NONE;
  return answer < 0 ? fails_with(answer) : syscall(SYS_lseek, fd, offset, whence);
}

static int sync_file(bool is_data) {
  const int answer = is_armed ? fault_next(FAULT_SYNC) : FAULT_NONE;
  if (answer < 0) return fails_with(answer);
  if (is_data) workload_synced();
  return 0;
}

/* Of the file; the other two are for its directory. */
int fdatasync(int fd) {
  (void)fd;
  return sync_file(true);
}

int fsync(int fd) {
  (void)fd;
  return sync_file(false);
}

int syncfs(int fd) {
  (void)fd;
  return sync_file(false);
}

int ftruncate(int fd, off_t length) {
  const int answer = is_armed ? fault_next(FAULT_CUT) : FAULT_NONE;
  failed_cut = answer < 0 ? fault_count() : -1;
  if (answer < 0) return fails_with(answer);
  if (is_armed) reserved_to = length;
  return (int)syscall(SYS_ftruncate, fd, length);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
  const int answer = is_armed ? fault_next(FAULT_RESERVE) : FAULT_NONE;
  if (answer < 0) return fails_with(answer);
  const int code = (int)syscall(SYS_fallocate, fd, mode, offset, length);
  if (is_armed && code == 0 && offset + length > reserved_to) reserved_to = offset + length;
  return code;
}

/* ---- io_uring ---------------------------------------------------------------------------------- */

/* linux/io_uring.h, since 6.10; the headers may be older. */
enum { kNopInjectResult = 1, kOpWritevFixed = 61 };

static atomic_long entries; /* that we have met */
static struct io_uring *the_ring;
static unsigned next_entry; /* the first that we have not looked at */
static struct iovec shortened_parts[64][kParts];
static unsigned shortened_count;

static void make_fail(struct io_uring_sqe *entry, int result) {
  const __u64 user_data = entry->user_data;
  memset(entry, 0, sizeof *entry);
  entry->opcode = IORING_OP_NOP;
  entry->rw_flags = kNopInjectResult;
  entry->len = (__u32)result;
  entry->user_data = user_data;
}

/* Files are registered: number 1 is the one with O_DIRECT. */
static int descriptor_of(const struct io_uring_sqe *entry);

static void make_short(struct io_uring_sqe *entry) {
  const int fd = descriptor_of(entry);
  if (entry->opcode != IORING_OP_WRITEV && entry->opcode != kOpWritevFixed) {
    entry->len = (__u32)shortened(fd, entry->len);
    return;
  }
  const struct iovec *parts = (const struct iovec *)(uintptr_t)entry->addr;
  struct iovec *some = shortened_parts[shortened_count++ % 64];
  entry->len = (__u32)first_parts(some, parts, shortened(fd, length_of_parts(parts, (int)entry->len)));
  entry->addr = (uintptr_t)some;
}

static int registered[2];

static int descriptor_of(const struct io_uring_sqe *entry) {
  return entry->flags & IOSQE_FIXED_FILE ? registered[entry->fd] : entry->fd;
}

static void meet(struct io_uring_sqe *entry) {
  const bool is_sync = entry->opcode == IORING_OP_FSYNC;
  const int answer = fault_next(is_sync ? FAULT_SYNC : FAULT_WRITE);
  ++entries;
  if (answer < 0 || answer == FAULT_ZERO) {
    make_fail(entry, answer);
  } else if (answer == FAULT_SHORT) {
    make_short(entry);
  } else if (is_sync) {
    workload_synced();
    make_fail(entry, 0);
  }
}

/* 0, or what the submission has to answer. The entries that it brings are met once. */
static int look_at_submission(struct io_uring *ring) {
  if (!is_armed) return 0;
  if (ring != the_ring) {
    the_ring = ring;
    next_entry = 0;
  }
  const bool is_new = next_entry != ring->sq.sqe_tail;
  for (; next_entry != ring->sq.sqe_tail; ++next_entry) meet(&ring->sq.sqes[next_entry & *ring->sq.kring_mask]);
  const bool is_pending = is_new || ring->sq.sqe_tail != __atomic_load_n(ring->sq.khead, __ATOMIC_ACQUIRE);
  const int answer = is_pending ? fault_next(FAULT_SUBMIT) : FAULT_NONE;
  return answer == FAULT_NONE ? 0 : answer;
}

int io_uring_submit(struct io_uring *ring) {
  static int (*real)(struct io_uring *);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "io_uring_submit");
  const int answer = look_at_submission(ring);
  return answer ? answer : real(ring);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned count) {
  static int (*real)(struct io_uring *, unsigned);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "io_uring_submit_and_wait");
  const int answer = look_at_submission(ring);
  return answer ? answer : real(ring, count);
}

int io_uring_register_files(struct io_uring *ring, const int *files, unsigned count) {
  static int (*real)(struct io_uring *, const int *, unsigned);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "io_uring_register_files");
  the_ring = NULL; /* a new one, perhaps where the last one was */
  for (unsigned i = 0; i < count && i < 2; ++i) registered[i] = files[i];
  return real(ring, files, count);
}

static int uring_code; /* why io_uring is not there */
static bool can_inject; /* a completion can carry a code of ours */

static void probe_uring(void) {
  struct io_uring ring;
  struct io_uring_cqe *end;
  uring_code = io_uring_queue_init(2, &ring, 0);
  if (uring_code) return;
  struct io_uring_sqe *entry = io_uring_get_sqe(&ring);
  memset(entry, 0, sizeof *entry);
  make_fail(entry, -EDQUOT);
  can_inject = io_uring_submit(&ring) == 1 && io_uring_wait_cqe(&ring, &end) == 0 && end->res == -EDQUOT;
  io_uring_queue_exit(&ring);
}

/* ---- The side ---------------------------------------------------------------------------------- */

static int probe(const workload_way *way) { return way->engine == BW_ENGINE_URING ? uring_code : 0; }

static bool can_fail(const workload_way *way, const fault_plan *plan) {
  return way->engine != BW_ENGINE_URING || can_inject || plan->is_submission || plan->answer == FAULT_SHORT;
}

static bool has_rings; /* they are used, so entries must come by; by our thread only for O_DIRECT */

static void begin(const workload_way *way) {
  has_rings = has_rings || (way->engine == BW_ENGINE_URING && way->flags & BW_CALLER_DRIVEN);
  has_descriptor = way->is_descriptor;
  own_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (own_fd < 0) abort();
  posix_fadvise(own_fd, 0, 0, POSIX_FADV_RANDOM); /* what is not asked for may be under way */
  reserved_to = 0;
  failed_cut = -1;
  the_ring = NULL;
}

static const char *end(void) {
  is_armed = false;
  /* What could not be given back at a seek, say, has to be tried again when the file is closed. */
  const bool is_kept = reserved_to > size_now() && failed_cut != fault_count();
  close(own_fd);
  unlink(path);
  return is_kept ? "reserved space was not given back" : NULL;
}

static int make(bw_t **out, const workload_way *way, const bw_options_t *options) {
  int code;
  if (way->is_descriptor) {
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    code = bw_fdopen(out, fd, options);
    close(fd);
  } else {
    code = bw_open(out, path, O_RDWR | O_CREAT, 0644, options);
  }
  is_armed = true;
  return code;
}

#define WAY(...) {.capacity = kCapacity, .is_file = true, __VA_ARGS__}
#define WAYS(engine_name, number)                                                                             \
  WAY(.name = engine_name, .engine = number, .preallocate = kPreallocated),                                   \
      WAY(.name = engine_name "_unshared", .engine = number, .flags = BW_UNSHARED),                           \
      WAY(.name = engine_name "_cached", .engine = number, .flags = BW_BUFFERED),                             \
      WAY(.name = engine_name "_cached_unshared", .engine = number, .flags = BW_BUFFERED | BW_UNSHARED,       \
          .preallocate = kPreallocated),                                                                      \
      WAY(.name = engine_name "_driven", .engine = number, .flags = BW_CALLER_DRIVEN),                        \
      WAY(.name = engine_name "_driven_unshared", .engine = number, .flags = BW_CALLER_DRIVEN | BW_UNSHARED,  \
          .preallocate = kPreallocated),                                                                      \
      WAY(.name = engine_name "_driven_cached", .engine = number, .flags = BW_CALLER_DRIVEN | BW_BUFFERED,    \
          .preallocate = kPreallocated),                                                                      \
      WAY(.name = engine_name "_driven_cached_unshared", .engine = number,                                    \
          .flags = BW_CALLER_DRIVEN | BW_BUFFERED | BW_UNSHARED),                                             \
      WAY(.name = engine_name "_nonblock", .engine = number, .flags = BW_NONBLOCK)
#define FD_WAY(...) {.capacity = kSmallCapacity, .is_descriptor = true, __VA_ARGS__}
static const workload_way ways[] = {
    WAYS("uring", BW_ENGINE_URING),
    WAYS("pwrite", BW_ENGINE_PWRITE),
    FD_WAY(.name = "fd"),
    FD_WAY(.name = "fd_unshared", .flags = BW_UNSHARED),
    FD_WAY(.name = "fd_background", .flags = BW_BACKGROUND),
    FD_WAY(.name = "fd_background_unshared", .flags = BW_BACKGROUND | BW_UNSHARED),
};

int main(int argc, char **argv) {
  static const workload_target target = {size_now, read_at, put_at};
  static const streams_side side = {.program = "sweep_files",
                                  .every = 43,
                                  .ways = ways,
                                  .way_count = sizeof ways / sizeof ways[0],
                                  .target = &target,
                                  .make = make,
                                  .begin = begin,
                                  .end = end,
                                  .probe = probe,
                                  .can_fail = can_fail};
  probe_uring();
  path = scratch_begin();
  if (!path) return 2;
  int status = streams_run(&side, argc, argv);
  if (has_rings) printf("%ld entries of io_uring\n", atomic_load(&entries));
  if (has_rings && entries == 0) {
    fprintf(stderr, "what the library submits does not come by here\n");
    status = 1;
  }
  scratch_end();
  return status;
}
