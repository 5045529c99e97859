/*
 * A file rig: a directory of the test's own on a disk, a file writer made in one of several ways, and a record of its
 * events. Tests are listed with the dimensions in which they are run; each combination is a test of its own:
 *
 *   static void test_flush__does_it(void **state) {
 *     file_rig *rig = *state;
 *     file_rig_open(rig, O_RDWR | O_CREAT);
 *     ...
 *   }
 *   FILE_TEST(test_flush__does_it, FILE_WAYS | FILE_SHAPES)
 *
 * Whatever a test leaves open is freed, and its directory removed, also where it fails.
 */
#ifndef BW_TESTS_FILE_RIG_H
#define BW_TESTS_FILE_RIG_H

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "rig.h"

/* Thread sanitizer cannot follow threads that the child of a program with several threads makes. */
#if defined(__SANITIZE_THREAD__)
#define FILE_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FILE_UNDER_TSAN 1
#endif
#endif
#ifndef FILE_UNDER_TSAN
#define FILE_UNDER_TSAN 0
#endif

/* ---- Ways ------------------------------------------------------------------------------------ */

/* How a writer is made. */
typedef struct file_way {
  uint32_t engine;
  uint32_t flags;
  uint64_t capacity; /* 0: the default */
  uint32_t buffers;  /* 0: the default */
} file_way;

/* Dimensions: in which ways a test is run. In a dimension that is not named: io_uring, shared, O_DIRECT, a thread of
 * ours, default buffers; or what the test's own flags say. */
enum {
  FILE_ENGINES = 1,  /* io_uring, pwrite */
  FILE_SHARINGS = 2, /* shared, BW_UNSHARED */
  FILE_CACHES = 4,   /* O_DIRECT, BW_BUFFERED */
  FILE_DRIVERS = 8,  /* a thread of ours, BW_CALLER_DRIVEN */
  FILE_WAYS = 15,
  FILE_SHAPES = 16 /* the default buffers, and one to three of 4096 or 8192 bytes */
};

typedef struct file_test {
  const char *name;
  void (*function)(void **state);
  unsigned dimensions;
  uint32_t flags; /* of every writer in it */
} file_test;
#define FILE_TEST(test, dimensions) \
  { #test, test, (dimensions), 0 }
#define FILE_TEST_WITH(test, dimensions, flags) \
  { #test, test, (dimensions), (flags) }

/* Runs the tests; `filter` (may be NULL) chooses by name, with '*' and '?'. What main() returns: 77 if all went well
 * but the system has no io_uring, so that those tests were skipped. */
int file_tests_run(const char *name, const file_test *tests, size_t count, const char *filter);
#define FILE_TESTS_RUN(name, tests, argc, argv) \
  file_tests_run((name), (tests), sizeof(tests) / sizeof((tests)[0]), (argc) > 1 ? (argv)[1] : NULL)

/* ---- Rigs ------------------------------------------------------------------------------------ */

/* What the callbacks of bw_notify() were told, in the order in which they were called. */
enum { FILE_NOTES_MOST = 1024 };
typedef struct file_note {
  struct file_rig *rig;
  int64_t position;
  int level;
} file_note;
typedef struct file_told {
  int64_t position;
  int level;
  int code;
  int64_t reached; /* bw_position() of the level just then */
  pthread_t thread;
} file_told;
typedef struct file_notes {
  pthread_mutex_t mutex;
  file_note asked[FILE_NOTES_MOST];
  size_t asked_count;
  file_told told[FILE_NOTES_MOST];
  size_t told_count;
  int inside, most_inside;                        /* callbacks that run at the same time */
  void (*hook)(void *arg, const file_told *told); /* called at the end of each, without the mutex */
  void *hook_arg;
} file_notes;

typedef struct file_rig {
  file_way way;
  char directory[PATH_MAX];
  char path[PATH_MAX]; /* in the directory; not made yet */
  test_events events;
  file_notes notes;
  bw_t *bw;
} file_rig;

/* The options of the rig's way; events are recorded. */
bw_options_t file_rig_options(file_rig *rig);
/* Makes rig->bw on rig->path. O_CREAT means mode 0644. Asserts that it works. */
void file_rig_open(file_rig *rig, int oflags);
/* The same with other options; gives bw_open()'s code, and asserts nothing: for children. */
int file_rig_try(file_rig *rig, int oflags, const bw_options_t *options);
/* Closes and frees rig->bw; asserts that closing works. */
void file_rig_close(file_rig *rig);
void file_rig_free(file_rig *rig);
bool file_rig_is_driven(const file_rig *rig);
/* BW_CALLER_DRIVEN: drives until nothing is left to do for now. Others: nothing. */
void file_rig_drive(file_rig *rig);
/* Waits until `condition(arg)`, at most TEST_BOUND_S seconds, driving a BW_CALLER_DRIVEN writer meanwhile. */
bool file_rig_await(file_rig *rig, bool (*condition)(void *arg), void *arg);
bool file_rig_await_position(file_rig *rig, int level, int64_t position);
bool file_rig_await_events(file_rig *rig, uint32_t kind, size_t count);
bool file_rig_await_waker(file_rig *rig, test_waker *waker, int calls);
/* bw_notify() with a callback that records; its answer. */
int file_rig_notify(file_rig *rig, int64_t position, int level);
size_t file_rig_told_count(file_rig *rig);
/* The `index`th callback, which must have come. */
file_told file_rig_told(file_rig *rig, size_t index);
bool file_rig_await_told(file_rig *rig, size_t count);
/* The whole capacity of one buffer, and how many there are. */
size_t file_rig_capacity(file_rig *rig);
size_t file_rig_buffers(file_rig *rig);

/* ---- Files ----------------------------------------------------------------------------------- */

/* A directory on a disk, if there is one: elsewhere O_DIRECT, preallocation and holes show little. */
const char *file_disk(void);
/* `name` in the rig's directory; valid until the next call. */
const char *file_rig_path(file_rig *rig, const char *name);
/* A directory on a disk, if there is one: elsewhere O_DIRECT, preallocation and holes show little. */
const char *file_disk(void);
/* Makes or replaces the file. */
void file_put(const char *path, const void *data, size_t length);
/* True if the file has exactly these bytes, seen through a descriptor of its own. Says on stderr what is wrong. */
bool file_has(const char *path, const void *data, size_t length);
/* The same for a part of it. */
bool file_has_at(const char *path, int64_t offset, const void *data, size_t length);
/* The same as file_has(), seen by another process. */
bool file_has_elsewhere(const char *path, const void *data, size_t length);
int64_t file_size(const char *path);   /* or -errno */
int64_t file_blocks(const char *path); /* bytes of disk space that it takes */

/* What a file should hold. Zero it; free(model.bytes) in the end. */
typedef struct file_model {
  unsigned char *bytes;
  size_t size, room;
} file_model;
/* Writes at `at`; what lies between the end and `at` is zero. */
void file_model_put(file_model *model, size_t at, const void *data, size_t length);

/* ---- Descriptors, threads and children ------------------------------------------------------- */

enum { FILE_DESCRIPTORS_MOST = 128 };
/* open_ones[fd] is true for the descriptors below FILE_DESCRIPTORS_MOST that are open. */
void file_list_descriptors(bool *open_ones);

/* Joins them all; the first result that is not 0. */
int64_t file_join(test_thread *threads, size_t count);
/* Runs `body` in a child of its own, bounded by an alarm: what it returned (0...255), or -1 if it was killed. Nothing
 * in the child may assert. */
int file_in_child(int (*body)(void *arg), void *arg);
/* In a child: says what is wrong and ends the function with 1. */
#define CHILD_CHECK(condition)                                            \
  do {                                                                    \
    if (!(condition)) {                                                   \
      fprintf(stderr, "%s:%d: not %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                           \
    }                                                                     \
  } while (0)

#endif
