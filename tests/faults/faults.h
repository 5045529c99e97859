/*
 * What tests of file writers under faults share: streams that a checker knows again, private mounts and disks, refused
 * system calls, children, and somebody who tidies up where the test itself cannot any more.
 *
 * Mounts are made in a mount namespace of the test's own: whatever becomes of the process, they go with it, and so do
 * loop devices. Thread safety: the checks (faults_*_is, faults_stream) from any thread; all else before threads begin.
 */
#ifndef BW_TESTS_FAULTS_H
#define BW_TESTS_FAULTS_H

#include <bw/bw.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* In children and programs without cmocka: says what is wrong and ends the process with a failure. */
#define EXPECT(condition)                                                                 \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      fprintf(stderr, "%s:%d: it is not true that %s\n", __FILE__, __LINE__, #condition); \
      _Exit(1);                                                                           \
    }                                                                                     \
  } while (0)

/* ---- What to run ----------------------------------------------------------------------------- */

/* Ends the program as skipped. */
_Noreturn void faults_skip(const char *why);
/* BW_ENGINE_* by its name, "uring" or "pwrite"; skips where the machine refuses it. */
uint32_t faults_engine(const char *name);
bool faults_is_long(void); /* BW_LONG=1 */

/* ---- A place to work ------------------------------------------------------------------------- */

/* The current directory becomes an empty tmpfs that nobody else sees; what is mounted from now on vanishes with this
 * process. Skips unless root may do so. `options`: of the tmpfs, such as "size=64m"; NULL: none. */
void faults_private_place(const char *options);
/* 0 or -errno; `directory` is made. Skips where the kernel does not know the type. */
int faults_mount(const char *device, const char *directory, const char *type, const char *options);
int faults_remount(const char *directory, const char *options);
void faults_unmount(const char *directory);

/* A loop device over the file `image`, gone with its last user: an open descriptor of it, to be closed once it is
 * mounted, and its path; skips where there is none. */
int faults_loop(const char *image, char path[32]);
/* Runs a program; true if it ended with 0. Skips if it is not installed. */
bool faults_run(const char *const *arguments);
/* An ext4 filesystem of so many bytes in the file `image`; skips without mkfs.ext4. `options` may be NULL. */
void faults_make_ext4(const char *image, int64_t bytes, const char *options);

/* `undo(arg)` is called in a process of its own once this one has died, unless faults_guard_dismiss() comes first.
 * After `seconds` this one is killed; `undo` is then called until it has died, for threads that hang in the kernel keep
 * it from that. */
int faults_guard(void (*undo)(void *arg), void *arg, unsigned seconds);
void faults_guard_dismiss(int guard);

/* ---- Streams --------------------------------------------------------------------------------- */

/* Bytes that tell their position. */
void faults_stream(void *out, size_t length, int64_t position);
bool faults_stream_is(const void *data, size_t length, int64_t position);
/* True if the file's size is `length` and it holds the stream from `position` on. Says what is wrong. */
bool faults_file_is(const char *path, int64_t position, int64_t length);
/* The same of its first `length` bytes; it may be longer. */
bool faults_file_begins(const char *path, int64_t position, int64_t length);
int64_t faults_file_size(const char *path); /* -1: there is none */

/* ---- Refused system calls -------------------------------------------------------------------- */

/* One that is refused with `error`; with a mask, only where argument `argument` has a bit of it. */
typedef struct faults_refusal {
  int number;
  int error;
  unsigned argument;
  uint32_t mask;
} faults_refusal;

/* From now on, for this thread and what it starts. 0 or -errno. */
int faults_refuse(const faults_refusal *list, unsigned count);

/* ---- Children -------------------------------------------------------------------------------- */

/* Runs `body(arg)` in a child, which dies with us; what it returned or exited with, or -1 if a signal ended it. */
int faults_in_child(int (*body)(void *arg), void *arg);

#endif
