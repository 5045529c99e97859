#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "file_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

static void give_up(const char *what) {
  fprintf(stderr, "tests: %s: %s\n", what, strerror(errno));
  abort();
}

static void *grown(void *block, size_t size) {
  void *bigger = realloc(block, size ? size : 1);
  if (!bigger) give_up("no memory");
  return bigger;
}

/* ---- Rigs ------------------------------------------------------------------------------------ */

static bool is_on_disk(const char *directory) {
  struct statfs about;
  return statfs(directory, &about) == 0 && about.f_type != TMPFS_MAGIC && about.f_type != RAMFS_MAGIC;
}

const char *file_disk(void) {
  const char *const places[] = {getenv("TMPDIR"), "/var/tmp", "/tmp", "."};
  for (size_t i = 0; i < sizeof places / sizeof places[0]; ++i)
    if (places[i] && is_on_disk(places[i]) && access(places[i], W_OK) == 0) return places[i];
  return ".";
}

static int set_up(void **state) {
  file_rig *rig = grown(NULL, sizeof *rig);
  memset(rig, 0, sizeof *rig);
  rig->way = *(const file_way *)*state;
  snprintf(rig->directory, sizeof rig->directory, "%s/bw_file_test_XXXXXX", file_disk());
  if (!mkdtemp(rig->directory)) give_up(rig->directory);
  snprintf(rig->path, sizeof rig->path, "%.*s/file", (int)sizeof rig->path - 8, rig->directory);
  test_events_init(&rig->events);
  pthread_mutex_init(&rig->notes.mutex, NULL);
  *state = rig;
  return 0;
}

static void remove_directory(const char *path) {
  DIR *directory = opendir(path);
  if (!directory) give_up(path);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      unlinkat(dirfd(directory), entry->d_name, 0);
  closedir(directory);
  rmdir(path);
}

static int tear_down(void **state) {
  file_rig *rig = *state;
  file_rig_free(rig);
  remove_directory(rig->directory);
  test_events_destroy(&rig->events);
  pthread_mutex_destroy(&rig->notes.mutex);
  free(rig);
  return 0;
}

bw_options_t file_rig_options(file_rig *rig) {
  return (bw_options_t){.size = sizeof(bw_options_t),
                        .flags = rig->way.flags,
                        .capacity = rig->way.capacity,
                        .buffers = rig->way.buffers,
                        .engine = rig->way.engine,
                        .on_event = test_events_record,
                        .event_arg = &rig->events};
}

int file_rig_try(file_rig *rig, int oflags, const bw_options_t *options) {
  return bw_open(&rig->bw, rig->path, oflags, 0644, options);
}

void file_rig_open(file_rig *rig, int oflags) {
  const bw_options_t options = file_rig_options(rig);
  assert_null(rig->bw);
  assert_int_equal(file_rig_try(rig, oflags, &options), 0);
  assert_non_null(rig->bw);
}

void file_rig_free(file_rig *rig) {
  bw_free(rig->bw); /* its last callbacks still look at the rig */
  rig->bw = NULL;
}

void file_rig_close(file_rig *rig) {
  assert_int_equal(bw_close(rig->bw), 0);
  file_rig_free(rig);
}

bool file_rig_is_driven(const file_rig *rig) {
  return rig->way.flags & BW_CALLER_DRIVEN;
}

void file_rig_drive(file_rig *rig) {
  if (!file_rig_is_driven(rig)) return;
  while (bw_poll_events(rig->bw) > 0) continue;
}

bool file_rig_await(file_rig *rig, bool (*condition)(void *arg), void *arg) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  for (;;) {
    file_rig_drive(rig);
    if (condition(arg)) return true;
    if (test_now_us() > end) return false;
    test_pause();
  }
}

struct wanted {
  file_rig *rig;
  test_waker *waker;
  uint32_t kind;
  int level;
  int64_t least;
};

static bool has_position(void *arg) {
  const struct wanted *want = arg;
  return bw_position(want->rig->bw, want->level) >= want->least;
}

static bool has_events(void *arg) {
  const struct wanted *want = arg;
  return test_events_count(&want->rig->events, want->kind) >= (size_t)want->least;
}

static bool has_woken(void *arg) {
  const struct wanted *want = arg;
  return atomic_load(&want->waker->calls) >= want->least;
}

bool file_rig_await_position(file_rig *rig, int level, int64_t position) {
  struct wanted want = {.rig = rig, .level = level, .least = position};
  return file_rig_await(rig, has_position, &want);
}

bool file_rig_await_events(file_rig *rig, uint32_t kind, size_t count) {
  struct wanted want = {.rig = rig, .kind = kind, .least = (int64_t)count};
  return file_rig_await(rig, has_events, &want);
}

bool file_rig_await_waker(file_rig *rig, test_waker *waker, int calls) {
  struct wanted want = {.waker = waker, .least = calls};
  return file_rig_await(rig, has_woken, &want);
}

static void note_done(void *arg, int code) {
  const file_note *note = arg;
  file_notes *notes = &note->rig->notes;
  const file_told told = {note->position, note->level, code, bw_position(note->rig->bw, note->level), pthread_self()};
  pthread_mutex_lock(&notes->mutex);
  if (++notes->inside > notes->most_inside) notes->most_inside = notes->inside;
  if (notes->told_count < FILE_NOTES_MOST) notes->told[notes->told_count] = told;
  ++notes->told_count;
  void (*const hook)(void *, const file_told *) = notes->hook;
  pthread_mutex_unlock(&notes->mutex);
  if (hook) hook(notes->hook_arg, &told);
  pthread_mutex_lock(&notes->mutex);
  --notes->inside;
  pthread_mutex_unlock(&notes->mutex);
}

int file_rig_notify(file_rig *rig, int64_t position, int level) {
  pthread_mutex_lock(&rig->notes.mutex);
  const size_t index = rig->notes.asked_count++;
  pthread_mutex_unlock(&rig->notes.mutex);
  if (index >= FILE_NOTES_MOST) abort();
  rig->notes.asked[index] = (file_note){rig, position, level};
  return bw_notify(rig->bw, position, level, note_done, &rig->notes.asked[index]);
}

size_t file_rig_told_count(file_rig *rig) {
  pthread_mutex_lock(&rig->notes.mutex);
  const size_t count = rig->notes.told_count;
  pthread_mutex_unlock(&rig->notes.mutex);
  return count;
}

file_told file_rig_told(file_rig *rig, size_t index) {
  pthread_mutex_lock(&rig->notes.mutex);
  const file_told told = rig->notes.told[index];
  const bool has_come = index < rig->notes.told_count;
  pthread_mutex_unlock(&rig->notes.mutex);
  assert_true(has_come);
  return told;
}

static bool has_told(void *arg) {
  const struct wanted *want = arg;
  return file_rig_told_count(want->rig) >= (size_t)want->least;
}

bool file_rig_await_told(file_rig *rig, size_t count) {
  struct wanted want = {.rig = rig, .least = (int64_t)count};
  return file_rig_await(rig, has_told, &want);
}

size_t file_rig_capacity(file_rig *rig) {
  return rig->way.capacity ? rig->way.capacity : (size_t)1 << 20;
}

size_t file_rig_buffers(file_rig *rig) {
  return rig->way.buffers ? rig->way.buffers : 8;
}

/* ---- Files ----------------------------------------------------------------------------------- */

const char *file_rig_path(file_rig *rig, const char *name) {
  static char path[PATH_MAX];
  snprintf(path, sizeof path, "%.*s/%s", (int)(sizeof path - strlen(name) - 2), rig->directory, name);
  return path;
}

void file_put(const char *path, const void *data, size_t length) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, data, length) != (ssize_t)length) give_up(path);
  close(fd);
}

static int64_t look(const char *path, struct stat *about) {
  return stat(path, about) == 0 ? 0 : -errno;
}

int64_t file_size(const char *path) {
  struct stat about;
  const int64_t code = look(path, &about);
  return code < 0 ? code : about.st_size;
}

int64_t file_blocks(const char *path) {
  struct stat about;
  const int64_t code = look(path, &about);
  return code < 0 ? code : (int64_t)about.st_blocks * 512;
}

bool file_has_at(const char *path, int64_t offset, const void *data, size_t length) {
  unsigned char *found = grown(NULL, length);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  size_t count = 0;
  while (fd >= 0 && count < length) {
    const ssize_t part = pread(fd, found + count, length - count, offset + (int64_t)count);
    if (part <= 0) break;
    count += (size_t)part;
  }
  if (fd >= 0) close(fd);
  size_t same = 0;
  while (same < count && found[same] == ((const unsigned char *)data)[same]) ++same;
  if (same < length)
    fprintf(stderr, "%s: differs at %lld (%zu of %zu bytes are there)\n", path, (long long)offset + (long long)same,
            count, length);
  free(found);
  return same == length;
}

bool file_has(const char *path, const void *data, size_t length) {
  const int64_t size = file_size(path);
  if (size != (int64_t)length) fprintf(stderr, "%s: has %lld bytes, not %zu\n", path, (long long)size, length);
  return size == (int64_t)length && file_has_at(path, 0, data, length);
}

struct expected {
  const char *path;
  const void *data;
  size_t length;
};

static int look_elsewhere(void *arg) {
  const struct expected *expected = arg;
  return !file_has(expected->path, expected->data, expected->length);
}

bool file_has_elsewhere(const char *path, const void *data, size_t length) {
  struct expected expected = {path, data, length};
  return file_in_child(look_elsewhere, &expected) == 0;
}

void file_model_put(file_model *model, size_t at, const void *data, size_t length) {
  if (length == 0) return;
  const size_t end = at + length;
  if (end > model->room) {
    model->room = end * 2;
    model->bytes = grown(model->bytes, model->room);
  }
  if (at > model->size) memset(model->bytes + model->size, 0, at - model->size);
  memcpy(model->bytes + at, data, length);
  if (end > model->size) model->size = end;
}

/* ---- Descriptors, threads and children ------------------------------------------------------- */

void file_list_descriptors(bool *open_ones) {
  for (int fd = 0; fd < FILE_DESCRIPTORS_MOST; ++fd) open_ones[fd] = fcntl(fd, F_GETFD) >= 0;
}

int64_t file_join(test_thread *threads, size_t count) {
  int64_t first = 0;
  for (size_t i = 0; i < count; ++i) {
    const int64_t result = test_thread_join(&threads[i]);
    if (first == 0) first = result;
  }
  return first;
}

int file_in_child(int (*body)(void *arg), void *arg) {
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    alarm(TEST_BOUND_S * 2);
    _exit(body(arg));
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

/* ---- Running --------------------------------------------------------------------------------- */

enum { NAME_MOST = 160, SHAPES = 4 };
static const struct {
  uint64_t capacity;
  uint32_t buffers;
} kShapes[SHAPES] = {{0, 0}, {4096, 1}, {8192, 2}, {4096, 3}};

static int skip_it(void **state) {
  (void)state;
  return 0;
}

static void is_skipped(void **state) {
  (void)state;
  skip();
}

/* 0, or why the kernel refuses io_uring. */
static int uring_refusal(void) {
  char path[PATH_MAX];
  bw_t *bw = NULL;
  const bw_options_t options = {.size = sizeof options, .engine = BW_ENGINE_URING};
  snprintf(path, sizeof path, "%s/bw_file_test_XXXXXX", file_disk());
  const int fd = mkstemp(path);
  if (fd < 0) give_up(path);
  close(fd);
  const int code = bw_open(&bw, path, O_RDWR, 0, &options);
  bw_free(bw);
  unlink(path);
  return code;
}

static void name_test(char *name, const file_test *test, const file_way *way) {
  char shape[48] = "";
  if (test->dimensions & FILE_SHAPES)
    snprintf(shape, sizeof shape, ", %ux%llu", way->buffers, (unsigned long long)way->capacity);
  snprintf(name, NAME_MOST, "%s (%s%s%s%s%s)", test->name, way->engine == BW_ENGINE_URING ? "uring" : "pwrite",
           way->flags & BW_UNSHARED ? ", unshared" : "", way->flags & BW_BUFFERED ? ", buffered" : "",
           way->flags & BW_CALLER_DRIVEN ? ", driven" : "", shape);
}

/* All ways of one test, from `*ways` and `*names` on; gives how many. */
static size_t list_ways(const file_test *test, bool has_uring, struct CMUnitTest *list, file_way *ways,
                        char (*names)[NAME_MOST]) {
  const unsigned in = test->dimensions;
  size_t count = 0;
  for (unsigned bits = 0; bits < 16; ++bits) {
    if (bits & ~in) continue; /* the bit of a dimension: its second kind */
    for (unsigned shape = 0; shape < (in & FILE_SHAPES ? SHAPES : 1); ++shape, ++count) {
      file_way *way = &ways[count];
      way->engine = bits & FILE_ENGINES ? BW_ENGINE_PWRITE : BW_ENGINE_URING;
      way->flags = test->flags | (bits & FILE_SHARINGS ? BW_UNSHARED : 0) | (bits & FILE_CACHES ? BW_BUFFERED : 0) |
                   (bits & FILE_DRIVERS ? BW_CALLER_DRIVEN : 0);
      way->capacity = kShapes[shape].capacity;
      way->buffers = kShapes[shape].buffers;
      name_test(names[count], test, way);
      const bool runs = has_uring || way->engine != BW_ENGINE_URING;
      list[count] = (struct CMUnitTest){names[count], runs ? test->function : is_skipped, runs ? set_up : skip_it,
                                        runs ? tear_down : skip_it, way};
    }
  }
  return count;
}

/* Of `count` ways of test number `test` only every so-maniest, another one for each test: BW_TEST_EVERY, for builds in
 * which all would take too long. Gives how many are left. */
static size_t thin_out(size_t test, struct CMUnitTest *list, size_t count) {
  const char *text = getenv("BW_TEST_EVERY");
  const size_t every = text ? strtoul(text, NULL, 10) : 1;
  size_t left = 0;
  if (every <= 1 || count == 0) return count;
  for (size_t i = test % (every < count ? every : count); i < count; i += every) list[left++] = list[i];
  return left;
}

int file_tests_run(const char *name, const file_test *tests, size_t count, const char *filter) {
  const size_t most = count * 16 * SHAPES;
  struct CMUnitTest *list = grown(NULL, most * sizeof *list);
  file_way *ways = grown(NULL, most * sizeof *ways);
  char(*names)[NAME_MOST] = grown(NULL, most * sizeof *names);
  const bool has_uring = uring_refusal() == 0;
  size_t total = 0, used = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t listed = list_ways(&tests[i], has_uring, list + total, ways + used, names + used);
    total += thin_out(i, list + total, listed);
    used += listed;
  }
  if (filter) cmocka_set_test_filter(filter);
  const int failed = _cmocka_run_group_tests(name, list, total, NULL, NULL);
  free(list);
  free(ways);
  free(names);
  return failed == 0 && !has_uring ? 77 : failed;
}
