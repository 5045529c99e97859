#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "failing.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTING 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define COUNTING 0
#endif
#endif
#ifndef COUNTING
#define COUNTING 1
#endif

enum { ERRNO_MOST = 134 };

static atomic_uint counted_kinds;
static atomic_int calls, hard, failing_number;
static atomic_bool gave[ERRNO_MOST]; /* by errno */
static atomic_bool fails_on, needs_ring;
static atomic_uint errno_turn, turns;
static _Atomic(const char *) last_call;
static atomic_llong live_blocks, live_mappings, live_threads;

void failing_begin(enum failing_kind kinds, int number, bool is_ever, unsigned turn) {
  atomic_store(&calls, 0);
  atomic_store(&hard, 0);
  for (int code = 0; code < ERRNO_MOST; ++code) atomic_store(&gave[code], false);
  atomic_store(&last_call, NULL);
  atomic_store(&turns, 0);
  atomic_store(&failing_number, number);
  atomic_store(&fails_on, is_ever);
  atomic_store(&errno_turn, turn);
  atomic_store(&counted_kinds, kinds);
}

int failing_end(void) {
  atomic_store(&counted_kinds, 0);
  return atomic_load(&calls);
}

bool failing_is_blind(void) {
  const char *preloaded = getenv("LD_PRELOAD");
  return !COUNTING || (preloaded && strstr(preloaded, "vgpreload"));
}

int failing_hard(void) { return atomic_load(&hard); }
bool failing_gave(int code) { return code >= 0 && code < ERRNO_MOST && atomic_load(&gave[code]); }
unsigned failing_turns(void) { return atomic_load(&turns); }
const char *failing_call(void) { return atomic_load(&last_call); }
void failing_needs_ring(bool needs) { atomic_store(&needs_ring, needs); }
int64_t failing_live_blocks(void) { return atomic_load(&live_blocks); }
int64_t failing_live_mappings(void) { return atomic_load(&live_mappings); }
int64_t failing_live_threads(void) { return atomic_load(&live_threads); }

#if COUNTING

/* 0: the call may go on; or the errno with which it fails. `errnos` ends with 0. */
static int refusal(enum failing_kind kind, const char *name, bool is_hard, const int *errnos) {
  if (!(atomic_load(&counted_kinds) & kind)) return 0;
  const int number = atomic_fetch_add(&calls, 1) + 1, wanted = atomic_load(&failing_number);
  if (wanted == 0 || number < wanted || (number > wanted && !atomic_load(&fails_on))) return 0;
  unsigned count = 0;
  while (errnos[count]) ++count;
  const int code = errnos[atomic_load(&errno_turn) % count];
  unsigned none = 0;
  atomic_compare_exchange_strong(&turns, &none, count);
  atomic_store(&last_call, name);
  if (is_hard) {
    atomic_fetch_add(&hard, 1);
    atomic_store(&gave[code], true);
  }
  return code;
}

#define ERRNOS(...) ((const int[]){__VA_ARGS__, 0})

/* Sets errno; true: the call fails. */
static bool refused(enum failing_kind kind, const char *name, bool is_hard, const int *errnos) {
  const int code = refusal(kind, name, is_hard, errnos);
  if (code) errno = code;
  return code != 0;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

static bool no_memory(const char *name) { return refused(FAILING_MEMORY, name, true, ERRNOS(ENOMEM)); }

static void *counted(void *block) {
  if (block) atomic_fetch_add(&live_blocks, 1);
  return block;
}

void *malloc(size_t size) { return no_memory("malloc") ? NULL : counted(__libc_malloc(size)); }
void *calloc(size_t count, size_t size) { return no_memory("calloc") ? NULL : counted(__libc_calloc(count, size)); }
void *realloc(void *block, size_t size) {
  if (no_memory("realloc")) return NULL;
  void *bigger = __libc_realloc(block, size);
  return block ? bigger : counted(bigger);
}
void *memalign(size_t alignment, size_t size); /* <malloc.h> has it, with a lot more */
void *memalign(size_t alignment, size_t size) {
  return no_memory("memalign") ? NULL : counted(__libc_memalign(alignment, size));
}
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void **out, size_t alignment, size_t size) {
  void *block = memalign(alignment, size);
  if (!block) return ENOMEM;
  *out = block;
  return 0;
}
void free(void *block) {
  if (block) atomic_fetch_sub(&live_blocks, 1);
  __libc_free(block);
}

/* The real functions, found before anything can fail. */
#define REAL(name) static __typeof__(&name) real_##name
REAL(syscall);
REAL(pthread_create);
REAL(pthread_join);
REAL(open);
REAL(fcntl);
REAL(fstat);
REAL(statx);

__attribute__((constructor)) static void find_real(void) {
#define FIND(name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)
  FIND(syscall);
  FIND(pthread_create);
  FIND(pthread_join);
  FIND(open);
  FIND(fcntl);
  FIND(fstat);
  FIND(statx);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  if (refused(FAILING_MEMORY, "mmap", true, ERRNOS(ENOMEM, EAGAIN))) return MAP_FAILED;
  void *data = (void *)real_syscall(SYS_mmap, address, length, protection, flags, fd, offset);
  if (data != MAP_FAILED) atomic_fetch_add(&live_mappings, 1);
  return data;
}

int munmap(void *address, size_t length) {
  const int code = (int)real_syscall(SYS_munmap, address, length);
  if (code == 0) atomic_fetch_sub(&live_mappings, 1);
  return code;
}

/* ---- The others ------------------------------------------------------------------------------ */

int madvise(void *address, size_t length, int advice) {
  if (refused(FAILING_OTHERS, "madvise", false, ERRNOS(EINVAL, ENOMEM, EPERM))) return -1;
  return (int)real_syscall(SYS_madvise, address, length, advice);
}

long syscall(long number, ...) {
  va_list list;
  long arguments[6];
  va_start(list, number);
  for (int i = 0; i < 6; ++i) arguments[i] = va_arg(list, long);
  va_end(list);
  const bool is_barrier = number == SYS_membarrier;
  if (is_barrier && refused(FAILING_OTHERS, "membarrier", false, ERRNOS(ENOSYS, EPERM, EINVAL))) return -1;
  return real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

int pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*body)(void *), void *arg) {
  const int code = refusal(FAILING_OTHERS, "pthread_create", true, ERRNOS(EAGAIN, EINVAL, EPERM));
  if (code) return code;
  const int answer = real_pthread_create(out, attributes, body, arg);
  if (answer == 0) atomic_fetch_add(&live_threads, 1);
  return answer;
}

int pthread_join(pthread_t thread, void **result) {
  const int answer = real_pthread_join(thread, result);
  if (answer == 0) atomic_fetch_sub(&live_threads, 1);
  return answer;
}

int open(const char *path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, unsigned) : 0;
  va_end(list);
  const bool is_hard = !(flags & (O_DIRECT | O_DIRECTORY));
  if (refused(FAILING_OTHERS, "open", is_hard, ERRNOS(EMFILE, ENFILE, ENOMEM, EINVAL))) return -1;
  return real_open(path, flags, mode);
}

int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void *argument = va_arg(list, void *);
  va_end(list);
  const bool is_dup = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
  if (is_dup && refused(FAILING_OTHERS, "dup", true, ERRNOS(EMFILE, EINVAL))) return -1;
  return real_fcntl(fd, command, argument);
}

int eventfd(unsigned value, int flags) {
  if (refused(FAILING_OTHERS, "eventfd", true, ERRNOS(EMFILE, ENFILE, ENOMEM, ENODEV))) return -1;
  return (int)real_syscall(SYS_eventfd2, value, flags);
}

int timerfd_create(clockid_t clock, int flags) {
  if (refused(FAILING_OTHERS, "timerfd_create", true, ERRNOS(EMFILE, ENFILE, ENOMEM, ENODEV))) return -1;
  return (int)real_syscall(SYS_timerfd_create, clock, flags);
}

int epoll_create1(int flags) {
  if (refused(FAILING_OTHERS, "epoll_create1", true, ERRNOS(EMFILE, ENFILE, ENOMEM))) return -1;
  return (int)real_syscall(SYS_epoll_create1, flags);
}

int epoll_ctl(int epoll, int command, int fd, struct epoll_event *event) {
  if (command == EPOLL_CTL_ADD && refused(FAILING_OTHERS, "epoll_ctl", true, ERRNOS(ENOMEM, ENOSPC))) return -1;
  return (int)real_syscall(SYS_epoll_ctl, epoll, command, fd, event);
}

int fstat(int fd, struct stat *status) {
  if (refused(FAILING_OTHERS, "fstat", true, ERRNOS(ENOMEM, EIO))) return -1;
  return real_fstat(fd, status);
}

int statx(int directory, const char *path, int flags, unsigned mask, struct statx *status) {
  if (refused(FAILING_OTHERS, "statx", false, ERRNOS(ENOSYS, EPERM, ENOMEM))) return -1;
  return real_statx(directory, path, flags, mask, status);
}

/* ---- io_uring: these give -errno ------------------------------------------------------------- */

struct io_uring;
struct io_uring_params;
#define RING_CALL(name, parameters, arguments, is_hard, ...)                          \
  int name parameters;                                                                \
  int name parameters {                                                               \
    static int(*real) parameters;                                                     \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);                             \
    const int code = refusal(FAILING_OTHERS, #name, is_hard, ERRNOS(__VA_ARGS__));    \
    return code ? -code : real ? real arguments : -ENOSYS;                            \
  }
RING_CALL(io_uring_queue_init_params, (unsigned depth, struct io_uring *ring, struct io_uring_params *params),
          (depth, ring, params), atomic_load(&needs_ring), ENOSYS, EPERM, ENOMEM, EMFILE, EINVAL)
RING_CALL(io_uring_register_files, (struct io_uring *ring, const int *files, unsigned count),
          (ring, files, count), false, EINVAL, ENOMEM, EMFILE)
RING_CALL(io_uring_register_buffers, (struct io_uring *ring, const struct iovec *parts, unsigned count),
          (ring, parts, count), false, ENOMEM, EOPNOTSUPP, EINVAL)
RING_CALL(io_uring_register_eventfd, (struct io_uring *ring, int fd), (ring, fd), true, ENOMEM, EINVAL)

#endif
