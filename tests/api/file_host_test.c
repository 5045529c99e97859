/*
 * The program around a file writer survives: descriptors that are closed behind our back, fork, exit, threads that end,
 * a killed process, dlclose. What belongs to us is close-on-exec, and our threads take no signal.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/file_rig.h"

enum { kBytes = 50000 };
static char data[kBytes];

/* Makes the rig's writer in a child. */
static int open_in_child(file_rig *rig, int oflags) {
  const bw_options_t options = file_rig_options(rig);
  test_pattern(data, sizeof data, 1);
  CHILD_CHECK(file_rig_try(rig, oflags, &options) == 0);
  return 0;
}

/* ---- Descriptors and threads of ours --------------------------------------------------------- */

static bool is_close_on_exec(int fd) {
  char path[64], line[128];
  unsigned flags = 0;
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  FILE *file = fopen(path, "re");
  if (!file) return false;
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "flags: %o", &flags) == 1) break;
  fclose(file);
  return flags & O_CLOEXEC;
}

static void test_descriptors__are_close_on_exec_and_go_with_close(void **state) {
  file_rig *rig = *state;
  for (int lingers = 0; lingers < 2; ++lingers) {
    bool before[FILE_DESCRIPTORS_MOST], during[FILE_DESCRIPTORS_MOST], after[FILE_DESCRIPTORS_MOST];
    bw_options_t options = file_rig_options(rig);
    if (lingers && !(options.flags & BW_UNSHARED)) options.linger_us = 100000;
    file_list_descriptors(before);
    assert_int_equal(file_rig_try(rig, O_RDWR | O_CREAT, &options), 0);
    assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
    assert_int_equal(bw_sync(rig->bw), 0);
    file_list_descriptors(during);
    const int event_fd = bw_event_fd(rig->bw);
    int ours = 0;
    for (int fd = 0; fd < FILE_DESCRIPTORS_MOST; ++fd) {
      if (before[fd] || !during[fd]) continue;
      ++ours;
      assert_true(is_close_on_exec(fd));
      assert_true(fd > 2);
    }
    assert_true(ours >= 1);
    assert_int_equal(bw_close(rig->bw), 0);
    file_list_descriptors(after);
    if (event_fd < 0) assert_memory_equal(after, before, sizeof before); /* bw_event_fd() stays until bw_free() */
    file_rig_free(rig);
    file_list_descriptors(after);
    assert_memory_equal(after, before, sizeof before);
  }
}

/* A program without standard streams: what it prints must not get into our descriptors. */
static int opens_without_streams(void *arg) {
  file_rig *rig = arg;
  close(STDIN_FILENO);
  close(STDOUT_FILENO);
  if (open_in_child(rig, O_RDWR | O_CREAT)) return 1;
  for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; ++fd) CHILD_CHECK(fcntl(fd, F_GETFD) < 0);
  CHILD_CHECK(bw_write(rig->bw, data, kBytes) == kBytes);
  CHILD_CHECK(bw_close(rig->bw) == 0);
  bw_free(rig->bw);
  CHILD_CHECK(file_has(rig->path, data, kBytes));
  return 0;
}

static void test_descriptors__never_take_the_place_of_a_standard_stream(void **state) {
  assert_int_equal(file_in_child(opens_without_streams, *state), 0);
}

/* How many threads of ours there are. *all_masked: each blocks all signals that can be blocked. */
static int count_threads(bool *all_masked) {
  DIR *tasks = opendir("/proc/self/task");
  int count = 0;
  *all_masked = true;
  for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
    char path[300], line[128], name[32] = "";
    if (task->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
    FILE *file = fopen(path, "re");
    if (!file) continue;
    unsigned long long blocked = 0;
    while (fgets(line, sizeof line, file)) {
      (void)sscanf(line, "Name: %31s", name);
      (void)sscanf(line, "SigBlk: %llx", &blocked);
    }
    fclose(file);
    if (strncmp(name, "bw-", 3) != 0) continue;
    ++count;
    for (int number = 1; number < 32; ++number)
      if (number != SIGKILL && number != SIGSTOP && !(blocked >> (number - 1) & 1)) *all_masked = false;
  }
  closedir(tasks);
  return count;
}

static bool has_no_threads(void *arg) {
  return count_threads(arg) == 0;
}

static void test_threads__of_ours_have_names_and_take_no_signal(void **state) {
  file_rig *rig = *state;
  bool all_masked;
  assert_true(test_await(has_no_threads, &all_masked));
  file_rig_open(rig, O_RDWR | O_CREAT);
  const int count = count_threads(&all_masked);
  if (file_rig_is_driven(rig))
    assert_int_equal(count, 0);
  else
    assert_true(count >= 1);
  assert_true(all_masked);
  assert_int_equal(bw_write(rig->bw, "abc", 3), 3);
  file_rig_close(rig);
  assert_true(test_await(has_no_threads, &all_masked));
}

/* ---- Closed behind our back ------------------------------------------------------------------ */

/* Which of our descriptors: those of the file, and all others (the ring, what bw_event_fd() is made of). */
enum whose { kOfTheFile, kOther };

static bool is_ours(int fd, const bool *before, enum whose whose) {
  struct stat about;
  return !before[fd] && fstat(fd, &about) == 0 && (whose == kOfTheFile) == S_ISREG(about.st_mode);
}

/* Closes our descriptors and puts `victim` in their place. Gives how many; -1: that did not work. */
static int replace_descriptors(const bool *before, enum whose whose, const char *victim, bool *replaced) {
  int count = 0;
  for (int fd = 3; fd < FILE_DESCRIPTORS_MOST; ++fd) replaced[fd] = is_ours(fd, before, whose);
  for (int fd = 3; fd < FILE_DESCRIPTORS_MOST; ++fd) {
    if (!replaced[fd]) continue;
    const int other = open(victim, O_RDWR | O_CLOEXEC);
    if (other < 0 || dup3(other, fd, O_CLOEXEC) != fd) return -1;
    close(other);
    ++count;
  }
  return count;
}

/* What a program does with a writer; whatever it answers, it ends. */
static void use_writer(file_rig *rig) {
  const size_t half = kBytes / 2;
  (void)bw_write(rig->bw, data + half, half);
  (void)bw_flush(rig->bw);
  (void)bw_sync(rig->bw);
  file_rig_drive(rig);
  (void)bw_resume(rig->bw);
  (void)bw_flush(rig->bw);
  (void)bw_seek(rig->bw, 10, SEEK_SET);
  (void)bw_write(rig->bw, data + 10, 10);
  file_rig_drive(rig);
  (void)bw_close(rig->bw);
  bw_free(rig->bw);
}

/* Strangers sit on our numbers: their file and their descriptors must be as they were. */
static int meet_strangers(file_rig *rig, enum whose whose) {
  const size_t half = kBytes / 2;
  bool before[FILE_DESCRIPTORS_MOST], replaced[FILE_DESCRIPTORS_MOST];
  char victim[PATH_MAX], text[5000];
  struct stat about;
  snprintf(victim, sizeof victim, "%s", file_rig_path(rig, "victim"));
  test_pattern(text, sizeof text, 2);
  file_put(victim, text, sizeof text);
  CHILD_CHECK(stat(victim, &about) == 0);
  file_list_descriptors(before);
  if (open_in_child(rig, O_RDWR | O_CREAT)) return 1;
  CHILD_CHECK(bw_write(rig->bw, data, half) == (int64_t)half);
  CHILD_CHECK(bw_sync(rig->bw) == 0);
  CHILD_CHECK(replace_descriptors(before, whose, victim, replaced) >= (whose == kOfTheFile));
  use_writer(rig);
  CHILD_CHECK(file_has(victim, text, sizeof text));
  for (int fd = 3; fd < FILE_DESCRIPTORS_MOST; ++fd) {
    struct stat now;
    if (!replaced[fd]) continue;
    CHILD_CHECK(fstat(fd, &now) == 0 && now.st_ino == about.st_ino); /* nor is it closed */
    CHILD_CHECK(lseek(fd, 0, SEEK_CUR) == 0);
  }
  CHILD_CHECK(file_has_at(rig->path, 0, data, half));
  if (whose == kOther) CHILD_CHECK(file_has(rig->path, data, kBytes)); /* the file itself was there all the time */
  return 0;
}

static int meets_strangers_in_the_file(void *arg) {
  return meet_strangers(arg, kOfTheFile);
}
static int meets_strangers_elsewhere(void *arg) {
  return meet_strangers(arg, kOther);
}

static void test_strangers__with_the_numbers_of_our_file_are_left_alone(void **state) {
  assert_int_equal(file_in_child(meets_strangers_in_the_file, *state), 0);
}

static void test_strangers__with_our_other_numbers_are_left_alone(void **state) {
  assert_int_equal(file_in_child(meets_strangers_elsewhere, *state), 0);
}

/* Nothing takes their place. */
static int lose_descriptors(file_rig *rig, enum whose whose) {
  const size_t half = kBytes / 2;
  bool before[FILE_DESCRIPTORS_MOST];
  file_list_descriptors(before);
  if (open_in_child(rig, O_RDWR | O_CREAT)) return 1;
  CHILD_CHECK(bw_write(rig->bw, data, half) == (int64_t)half);
  CHILD_CHECK(bw_sync(rig->bw) == 0);
  for (int fd = 3; fd < FILE_DESCRIPTORS_MOST; ++fd)
    if (is_ours(fd, before, whose)) close(fd);
  if (whose == kOfTheFile) {
    CHILD_CHECK(bw_seek(rig->bw, 0, SEEK_DATA) == -EBADF);
    CHILD_CHECK(bw_seek(rig->bw, 0, SEEK_END) == -EBADF);
    CHILD_CHECK(bw_read(rig->bw, data + half, 1) == -EBADF);
    CHILD_CHECK(bw_tell(rig->bw) == (int64_t)half);
  }
  use_writer(rig);
  CHILD_CHECK(file_has_at(rig->path, 0, data, half));
  return 0;
}

static int loses_the_file(void *arg) {
  return lose_descriptors(arg, kOfTheFile);
}
static int loses_the_rest(void *arg) {
  return lose_descriptors(arg, kOther);
}

static void test_strangers__numbers_that_are_gone_do_no_harm(void **state) {
  file_rig *rig = *state;
  assert_int_equal(file_in_child(loses_the_file, rig), 0);
  assert_int_equal(unlink(rig->path), 0);
  assert_int_equal(file_in_child(loses_the_rest, rig), 0);
}

/* ---- fork ------------------------------------------------------------------------------------ */

static void ignore_done(void *arg, int code) {
  (void)arg;
  (void)code;
}
static void ignore_wake(void *arg) {
  (void)arg;
}

/* Thread sanitizer does not know that the parent's threads are not there, and would report what they did last. */
static void free_in_child(bw_t *bw) {
  if (!FILE_UNDER_TSAN) bw_free(bw);
}

static int everything_says_echild(void *arg) {
  file_rig *rig = arg;
  bw_t *bw = rig->bw, *lane = NULL;
  char text[4] = "abc";
  const struct iovec part = {text, 3};
  const bw_waker_t wake = {ignore_wake, text};
  const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
  bw_span_t span = {text, 3, 0, NULL};
  bw_stats_t stats = BW_STATS_INIT;
  const int64_t codes[] = {bw_write(bw, text, 3),
                           bw_writev(bw, &part, 1),
                           bw_append(bw, text, 3),
                           bw_appendv(bw, &part, 1),
                           bw_reserve(bw, 3, &span),
                           bw_commit(bw, &span, 3),
                           bw_flush(bw),
                           bw_sync(bw),
                           bw_seek(bw, 0, SEEK_SET),
                           bw_tell(bw),
                           bw_read(bw, text, 3),
                           bw_poll_write(bw, text, 3, &wake),
                           bw_poll_append(bw, text, 3, &wake),
                           bw_poll_flush(bw, &wake),
                           bw_poll_sync(bw, &wake),
                           bw_poll_read(bw, text, 3, &wake),
                           bw_start_seek(bw, 0, SEEK_SET),
                           bw_poll_seek(bw, &wake),
                           bw_poll_close(bw, &wake),
                           bw_unwake(bw, &wake),
                           bw_wake(bw),
                           bw_event_fd(bw),
                           bw_poll_events(bw),
                           bw_position(bw, BW_DURABLE),
                           bw_wait(bw, 1, BW_WRITTEN, -1),
                           bw_notify(bw, 1, BW_WRITTEN, ignore_done, NULL),
                           bw_error(bw),
                           bw_resume(bw),
                           bw_set_sink(bw, &ops, text),
                           bw_unwritten(bw, NULL, NULL),
                           bw_discard(bw),
                           bw_get_stats(bw, &stats),
                           bw_stats_json(bw, text, sizeof text),
                           bw_lane(&lane, bw, NULL),
                           bw_close(bw)};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; ++i)
    if (codes[i] != -ECHILD) {
      fprintf(stderr, "call %zu gives %lld\n", i, (long long)codes[i]);
      return 1;
    }
  CHILD_CHECK(bw_buffer(bw, NULL) == NULL && bw_buffered(bw) == 0 && bw_capacity(bw) == 0);
  free_in_child(bw);
  return 0;
}

static int leaves_by_exit(void *arg) {
  file_rig *rig = arg;
  (void)bw_write(rig->bw, "child", 5);
  free_in_child(rig->bw);
  if (!FILE_UNDER_TSAN) exit(0); /* it would complain of the parent's threads */
  return 0;
}

/* Begins a writer of its own on another file. */
static int writes_its_own(void *arg) {
  file_rig *rig = arg;
  file_rig own = *rig;
  own.bw = NULL;
  test_events_init(&own.events); /* a thread of the parent's may have been inside its mutex */
  snprintf(own.path, sizeof own.path, "%s", file_rig_path(rig, "own"));
  if (open_in_child(&own, O_RDWR | O_CREAT)) return 1;
  CHILD_CHECK(bw_write(own.bw, data, 9000) == 9000);
  CHILD_CHECK(bw_close(own.bw) == 0);
  bw_free(own.bw);
  CHILD_CHECK(file_has(own.path, data, 9000));
  return 0;
}

static void test_fork__the_child_hears_echild_and_corrupts_nothing(void **state) {
  file_rig *rig = *state;
  int (*const children[])(void *) = {everything_says_echild, leaves_by_exit, writes_its_own};
  size_t at = 0;
  test_pattern(data, sizeof data, 1);
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (size_t i = 0; i < sizeof children / sizeof children[0]; ++i) {
    if (FILE_UNDER_TSAN && children[i] == writes_its_own) continue;
    assert_int_equal(bw_write(rig->bw, data + at, 5003), 5003);
    at += 5003;
    assert_int_equal(file_in_child(children[i], rig), 0);
    assert_int_equal(bw_write(rig->bw, data + at, 100), 100);
    at += 100;
    assert_int_equal(bw_flush(rig->bw), 0);
    assert_true(file_has(rig->path, data, at));
  }
  file_rig_close(rig);
  assert_true(file_has(rig->path, data, at));
}

struct stream {
  bw_t *bw;
  atomic_bool stops;
};

/* Bytes that depend on their place alone. */
static unsigned char byte_at(size_t at) {
  return (unsigned char)(at * 7 + at / 251);
}

static int64_t write_stream(void *arg) {
  struct stream *stream = arg;
  unsigned char piece[1500];
  size_t at = 0;
  while (!atomic_load(&stream->stops) && at < 4 << 20) {
    for (size_t i = 0; i < sizeof piece; ++i) piece[i] = byte_at(at + i);
    const int64_t answer = bw_write(stream->bw, piece, sizeof piece);
    if (answer != sizeof piece) return -1;
    at += sizeof piece;
  }
  return (int64_t)at;
}

/* True if the file is a prefix of the stream, at least this long. */
static bool is_prefix(const char *path, int64_t least, int64_t most) {
  const int64_t size = file_size(path);
  unsigned char *expected = malloc((size_t)size + 1);
  for (int64_t i = 0; i < size; ++i) expected[i] = byte_at((size_t)i);
  const bool right = size >= least && size <= most && file_has(path, expected, (size_t)size);
  if (!right) fprintf(stderr, "%s: %lld bytes, at least %lld\n", path, (long long)size, (long long)least);
  free(expected);
  return right;
}

static void test_fork__in_the_midst_of_writing_harms_nobody(void **state) {
  file_rig *rig = *state;
  int (*const children[])(void *) = {everything_says_echild, leaves_by_exit};
  test_thread thread;
  file_rig_open(rig, O_RDWR | O_CREAT);
  struct stream stream = {.bw = rig->bw};
  test_thread_start(&thread, write_stream, &stream);
  int failed = 0;
  for (int i = 0; i < 10; ++i) failed += file_in_child(children[i % 2], rig) != 0;
  atomic_store(&stream.stops, true);
  const int64_t length = test_thread_join(&thread);
  assert_int_equal(failed, 0);
  assert_true(length >= 0);
  file_rig_close(rig);
  assert_true(is_prefix(rig->path, length, length));
}

/* ---- exit, kill ------------------------------------------------------------------------------ */

static file_rig *left_open; /* so that a leak checker finds the writer */

static int exits_with_an_open_writer(void *arg) {
  file_rig *rig = left_open = arg;
  if (open_in_child(rig, O_RDWR | O_CREAT)) return 1;
  CHILD_CHECK(bw_write(rig->bw, data, kBytes) == kBytes);
  CHILD_CHECK(bw_flush(rig->bw) == 0);
  CHILD_CHECK(bw_write(rig->bw, data, 5) == 5);
  exit(0);
}

static void test_exit__with_an_open_writer_ends(void **state) {
  file_rig *rig = *state;
  test_pattern(data, sizeof data, 1);
  assert_int_equal(file_in_child(exits_with_an_open_writer, rig), 0);
  assert_true(file_has(rig->path, data, kBytes) || file_size(rig->path) == kBytes + 5); /* it flushes nothing */
}

static int exits_while_a_thread_writes(void *arg) {
  file_rig *rig = left_open = arg;
  static struct stream stream;
  static test_thread thread;
  if (open_in_child(rig, O_RDWR | O_CREAT)) return 1;
  stream.bw = rig->bw;
  test_thread_start(&thread, write_stream, &stream);
  CHILD_CHECK(file_rig_await_position(rig, BW_ACCEPTED, 30000));
  exit(0);
}

static void test_exit__while_a_thread_writes_ends(void **state) {
  file_rig *rig = *state;
  assert_int_equal(file_in_child(exits_while_a_thread_writes, rig), 0);
  assert_true(is_prefix(rig->path, 0, 4 << 20));
}

/* Writes the stream, and tells through the pipe how far it is written, until it is killed. */
static int write_until_killed(file_rig *rig, int out) {
  unsigned char piece[3333];
  int64_t at = 0;
  if (open_in_child(rig, O_RDWR | O_CREAT)) return 1;
  for (unsigned round = 0; at < 64 << 20; ++round) {
    const size_t length = round * 37 % sizeof piece + 1;
    for (size_t i = 0; i < length; ++i) piece[i] = byte_at((size_t)at + i);
    CHILD_CHECK(bw_append(rig->bw, piece, length) == at);
    at += (int64_t)length;
    if (round % 8 != 0) continue;
    CHILD_CHECK(bw_flush(rig->bw) == 0);
    CHILD_CHECK(write(out, &at, sizeof at) == sizeof at);
  }
  return 0;
}

static void test_kill__leaves_a_prefix_with_all_that_was_flushed(void **state) {
  file_rig *rig = *state;
  for (int round = 1; round <= 5; ++round) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)unlink(rig->path);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
      alarm(2 * TEST_BOUND_S);
      _exit(write_until_killed(rig, ends[1]));
    }
    close(ends[1]);
    int64_t told = 0, last = 0;
    for (int i = 0; i < round * 5 && read(ends[0], &told, sizeof told) == sizeof told; ++i) last = told;
    kill(child, SIGKILL);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    while (read(ends[0], &told, sizeof told) == sizeof told) last = told; /* what it had said by then */
    close(ends[0]);
    assert_true(last > 0);
    assert_true(is_prefix(rig->path, last, INT64_MAX));
  }
}

/* ---- Threads that end ------------------------------------------------------------------------ */

static int64_t write_and_exit(void *arg) {
  file_rig *rig = arg;
  unsigned char piece[9000];
  const int64_t at = bw_tell(rig->bw);
  for (size_t i = 0; i < sizeof piece; ++i) piece[i] = byte_at((size_t)at + i);
  if (bw_write(rig->bw, piece, sizeof piece) != sizeof piece) return 1;
  if (at % 4 == 0 && file_rig_is_driven(rig) && bw_poll_events(rig->bw) < 0) return 2;
  return at % 3 == 0 ? bw_poll_flush(rig->bw, NULL) == -EINVAL : 0;
}

static void test_thread__that_wrote_may_exit_at_once(void **state) {
  file_rig *rig = *state;
  file_rig_open(rig, O_RDWR | O_CREAT);
  for (int i = 0; i < 60; ++i) {
    test_thread thread;
    test_thread_start(&thread, write_and_exit, rig);
    assert_int_equal(test_thread_join(&thread), 0);
  }
  assert_int_equal(bw_sync(rig->bw), 0);
  assert_true(is_prefix(rig->path, 60 * 9000, 60 * 9000));
  file_rig_close(rig);
}

/* ---- dlclose --------------------------------------------------------------------------------- */

struct library {
  void *handle;
  int (*open)(bw_t **out, const char *path, int oflags, unsigned mode, const bw_options_t *options);
  int64_t (*write)(bw_t *bw, const void *bytes, size_t length);
  int (*sync)(bw_t *bw);
  void (*free)(bw_t *bw);
};

static bool is_mapped(const char *path) {
  char line[PATH_MAX + 100];
  bool found = false;
  FILE *maps = fopen("/proc/self/maps", "re");
  while (maps && fgets(line, sizeof line, maps)) found = found || strstr(line, path);
  if (maps) fclose(maps);
  return found;
}

/* POSIX lets a function live in an object pointer; ISO C wants the bytes copied. */
static bool find(void *handle, const char *name, void *function) {
  void *symbol = dlsym(handle, name);
  memcpy(function, &symbol, sizeof symbol);
  return symbol != NULL;
}

static bool load(struct library *library, const char *path) {
  library->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library->handle) fprintf(stderr, "%s\n", dlerror());
  return library->handle && find(library->handle, "bw_open", &library->open) &&
         find(library->handle, "bw_write", &library->write) && find(library->handle, "bw_sync", &library->sync) &&
         find(library->handle, "bw_free", &library->free);
}

/* The library that this program is linked with, as a file. */
static const char *library_path(void) {
  int (*const function)(bw_t *) = bw_flush;
  void *address;
  static Dl_info info;
  memcpy(&address, &function, sizeof address);
  return dladdr(address, &info) ? info.dli_fname : NULL;
}

static void copy_file(const char *from, const char *to) {
  struct stat about;
  const int in = open(from, O_RDONLY | O_CLOEXEC);
  assert_int_equal(fstat(in, &about), 0);
  char *bytes = malloc((size_t)about.st_size);
  assert_int_equal(read(in, bytes, (size_t)about.st_size), about.st_size);
  close(in);
  file_put(to, bytes, (size_t)about.st_size);
  free(bytes);
}

static void test_dlclose__unloads_the_library_once_its_writers_are_freed(void **state) {
  file_rig *rig = *state;
  char copy[PATH_MAX];
  struct library library = {0};
  snprintf(copy, sizeof copy, "%s", file_rig_path(rig, "copy.so"));
  copy_file(library_path(), copy); /* ours is linked, so it never goes */
  const bw_options_t options = file_rig_options(rig);
  test_pattern(data, sizeof data, 1);
  for (int round = 0; round < 3; ++round) {
    bw_t *bw = NULL;
    assert_true(load(&library, copy));
    assert_true(is_mapped(copy));
    assert_int_equal(library.open(&bw, rig->path, O_RDWR | O_CREAT | O_TRUNC, 0644, &options), 0);
    assert_int_equal(library.write(bw, data, kBytes), kBytes);
    assert_int_equal(library.sync(bw), 0);
    assert_int_equal(library.write(bw, data, 7), 7);
    library.free(bw);
    assert_int_equal(dlclose(library.handle), 0);
    assert_false(is_mapped(copy));
    assert_true(file_has_at(rig->path, 0, data, kBytes));
    assert_true(file_has_at(rig->path, kBytes, data, 7));
  }
}

int main(int argc, char **argv) {
  enum { kNotUnshared = FILE_ENGINES | FILE_CACHES | FILE_DRIVERS };
  static const file_test tests[] = {
      FILE_TEST(test_descriptors__are_close_on_exec_and_go_with_close, FILE_WAYS),
      FILE_TEST(test_descriptors__never_take_the_place_of_a_standard_stream, FILE_WAYS),
      FILE_TEST(test_threads__of_ours_have_names_and_take_no_signal, FILE_WAYS),
      FILE_TEST(test_strangers__with_the_numbers_of_our_file_are_left_alone, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_strangers__with_our_other_numbers_are_left_alone, FILE_WAYS),
      FILE_TEST(test_strangers__numbers_that_are_gone_do_no_harm, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_fork__the_child_hears_echild_and_corrupts_nothing, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_fork__in_the_midst_of_writing_harms_nobody, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_exit__with_an_open_writer_ends, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_exit__while_a_thread_writes_ends, FILE_WAYS | FILE_SHAPES),
      FILE_TEST(test_kill__leaves_a_prefix_with_all_that_was_flushed, FILE_WAYS),
      FILE_TEST(test_thread__that_wrote_may_exit_at_once, kNotUnshared | FILE_SHAPES),
      FILE_TEST(test_dlclose__unloads_the_library_once_its_writers_are_freed, FILE_WAYS),
  };
  return FILE_TESTS_RUN("file_host", tests, argc, argv);
}
