/*
 * Every allocation, mapping, thread and descriptor fails in turn, once or from then on: in each way of making a handle,
 * and in later calls that create something. Then either the call says so, and nothing is left behind; or the handle
 * works, and is used until its bytes are where they belong.
 *
 *   sweep_allocation [case number errno when]     see sweep.h
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "failing.h"
#include "file_rig.h"
#include "scratch.h"
#include "sweep.h"

/* ---- The round ------------------------------------------------------------------------------- */

enum { AT_CASE, AT_NUMBER, AT_TURN, AT_WHEN, AT_COUNT };
static const char *const kTurns[] = {"first", "second", "third", "fourth"};
static const char *const kWhens[] = {"once", "ever"};

static const int *the_point; /* NULL: only to be counted */
static int created;
static char why_not[SWEEP_WHY]; /* "", or what was found wrong first */

#define WRONG(...)                                                                \
  do {                                                                            \
    if (!why_not[0]) snprintf(why_not, sizeof why_not, __VA_ARGS__);              \
  } while (0)
#define EXPECT(condition)                                                         \
  do {                                                                            \
    if (!(condition)) WRONG("line %d: not %s", __LINE__, #condition);             \
  } while (0)

/* What is between these two fails. */
static void arm(void) {
  failing_begin(FAILING_ALL, the_point ? the_point[AT_NUMBER] : 0, the_point && the_point[AT_WHEN] == 1,
                the_point ? (unsigned)the_point[AT_TURN] : 0);
}

static void disarm(void) { created = failing_end(); }

/* A call that creates something gave this. True: it worked. */
static bool has_worked(int64_t code) {
  if (code >= 0) return true;
  if (failing_hard() == 0) {
    WRONG("%s, though only %s was refused", bw_err_name((int)code), failing_call() ? failing_call() : "nothing");
  } else if (code != -ENOMEM && code != -EAGAIN && !failing_gave((int)-code)) {
    WRONG("%s, which no call gave, %s neither", bw_err_name((int)code), failing_call());
  }
  return false;
}

static char guard; /* what `out` points to beforehand */
#define HANDLE(type) ((type *)(void *)&guard)

/* ---- Sinks that allocate nothing ------------------------------------------------------------- */

enum { BYTES = 5000, PIECES = 3 };
static unsigned char pattern[BYTES];

typedef struct plain_sink {
  unsigned char data[1 << 16];
  size_t length;
  int64_t script[4]; /* answers to come; 0: take all */
  int next;
  int closes;
} plain_sink;

static plain_sink the_sink, the_other_sink;
static const char *the_path;

static int64_t plain_write(void *ctx, const void *data, size_t length) {
  plain_sink *sink = ctx;
  int64_t answer = sink->next < 4 ? sink->script[sink->next++] : 0;
  if (answer == 0 || answer > (int64_t)length) answer = (int64_t)length;
  if (answer < 0) return answer;
  if (sink->length + (size_t)answer > sizeof sink->data) return -EFBIG;
  memcpy(sink->data + sink->length, data, (size_t)answer);
  sink->length += (size_t)answer;
  return answer;
}

static int plain_nothing(void *ctx) {
  (void)ctx;
  return 0;
}

static int plain_close(void *ctx) {
  ++((plain_sink *)ctx)->closes;
  return 0;
}

static const bw_sink_t kSink = {.size = sizeof(bw_sink_t), .write = plain_write, .flush = plain_nothing,
                                .sync = plain_nothing, .close = plain_close};

static void ignore_event(void *arg, const bw_event_t *event) {
  (void)arg;
  (void)event;
}

static atomic_int wakes, notes;
static void count_wake(void *arg) {
  (void)arg;
  atomic_fetch_add(&wakes, 1);
}
static void count_note(void *arg, int code) {
  (void)arg;
  (void)code;
  atomic_fetch_add(&notes, 1);
}

static bool has_pattern(const unsigned char *data, size_t length, int pieces) {
  if (length != (size_t)pieces * BYTES) return false;
  for (int i = 0; i < pieces; ++i)
    if (memcmp(data + (size_t)i * BYTES, pattern, BYTES) != 0) return false;
  return true;
}

static bool file_has_pattern(size_t before, int pieces) {
  static unsigned char data[PIECES * BYTES + 1];
  const int fd = open(the_path, O_RDONLY | O_CLOEXEC);
  const ssize_t length = fd < 0 ? -1 : pread(fd, data, sizeof data, (off_t)before);
  if (fd >= 0) close(fd);
  return length >= 0 && has_pattern(data, (size_t)length, pieces);
}

/* ---- Using what was made --------------------------------------------------------------------- */

static void write_all(bw_t *bw) {
  for (int i = 0; i < PIECES; ++i) EXPECT(bw_write(bw, pattern, BYTES) == BYTES);
}

static bool is_readable(int fd) {
  struct pollfd poller = {.fd = fd, .events = POLLIN};
  return poll(&poller, 1, TEST_BOUND_S * 1000) == 1;
}

/* The descriptor of a writer that is driven tells: of a buffer that has waited, or of what a note has asked for. */
static void drive(bw_t *bw, bool lingers) {
  const int fd = bw_event_fd(bw);
  if (fd < 0) return;
  if (!lingers) EXPECT(bw_notify(bw, PIECES * BYTES, BW_DURABLE, count_note, NULL) == 0);
  EXPECT(is_readable(fd));
  while (!lingers && atomic_load(&notes) == 0 && is_readable(fd)) (void)bw_poll_events(bw);
  EXPECT(lingers || atomic_load(&notes) == 1);
}

static void use(bw_t *bw, bool lingers) {
  write_all(bw);
  drive(bw, lingers);
  EXPECT(bw_flush(bw) == 0);
  const int synced = bw_sync(bw);
  EXPECT(synced == 0 || synced == -EOPNOTSUPP);
  EXPECT(bw_close(bw) == 0);
}

/* A stream was made, or not. */
static void end_stream(bw_t *bw, int code) {
  disarm();
  if (has_worked(code)) {
    use(bw, false);
    bw_free(bw);
    EXPECT(has_pattern(the_sink.data, the_sink.length, PIECES));
    EXPECT(the_sink.closes == 1);
  } else {
    EXPECT(bw == NULL);
    EXPECT(the_sink.closes == 0); /* no callback is called */
  }
}

static void end_file(bw_t *bw, int code, size_t before, bool lingers) {
  disarm();
  if (has_worked(code)) {
    use(bw, lingers);
    bw_free(bw);
    EXPECT(file_has_pattern(before, PIECES));
  } else {
    EXPECT(bw == NULL);
  }
}

static void deliver_nothing(void *arg, const struct iovec *items, size_t count, int code) {
  (void)items;
  if (code == 0) *(size_t *)arg += count;
}

static int batch_write(void *ctx, bw_batch_view_t *view) {
  size_t count;
  (void)bw_batch_items(view, &count);
  ((plain_sink *)ctx)->length += count;
  return 0;
}

static int batch_busy(void *ctx, bw_batch_view_t *view) {
  return ++((plain_sink *)ctx)->next < 4 ? -EAGAIN : batch_write(ctx, view);
}

/* ---- Cases ----------------------------------------------------------------------------------- */

typedef struct one_case {
  const char *name;
  void (*body)(const struct one_case *one);
  uint32_t flags;
  uint32_t engine;
  uint64_t linger_us;
  uint64_t preallocate;
  int oflags;
  bool in_child; /* as the first handle of a process */
} one_case;

static bw_options_t options_of(const one_case *one) {
  return (bw_options_t){.size = sizeof(bw_options_t), .flags = one->flags, .engine = one->engine,
                        .linger_us = one->linger_us, .preallocate = one->preallocate, .on_event = ignore_event};
}

static void make_stream(const one_case *one) {
  const bw_options_t options = options_of(one);
  bw_t *bw = HANDLE(bw_t);
  arm();
  const int code = bw_new(&bw, &kSink, &the_sink, &options);
  end_stream(bw, code);
}

static void make_file(const one_case *one) {
  const bw_options_t options = options_of(one);
  bw_t *bw = HANDLE(bw_t);
  const size_t before = one->oflags & O_APPEND ? 7 : 0;
  file_put(the_path, "1234567", before);
  failing_needs_ring(one->engine == BW_ENGINE_URING);
  arm();
  const int code = bw_open(&bw, the_path, O_RDWR | O_CREAT | one->oflags, 0644, &options);
  end_file(bw, code, before, one->linger_us != 0);
}

/* open(2) gives the place of stdin, which is not for us. */
static void make_file_low(const one_case *one) {
  const int away = fcntl(0, F_DUPFD_CLOEXEC, 64);
  close(0);
  make_file(one);
  EXPECT(fcntl(0, F_GETFD) == -1);
  dup2(away, 0);
  close(away);
}

static void make_fdopen(const one_case *one) {
  const bw_options_t options = options_of(one);
  bw_t *bw = HANDLE(bw_t);
  const int fd = open(the_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  arm();
  const int code = bw_fdopen(&bw, fd, &options);
  end_file(bw, code, 0, false);
  EXPECT(close(fd) == 0);
}

static void make_device(const one_case *one) {
  const bw_options_t options = options_of(one);
  bw_t *bw = HANDLE(bw_t);
  arm();
  const int code = bw_open(&bw, "/dev/null", O_WRONLY, 0, &options);
  disarm();
  if (has_worked(code)) {
    use(bw, false);
    bw_free(bw);
  } else {
    EXPECT(bw == NULL);
  }
}

static void make_lane(const one_case *one) {
  bw_t *parent = NULL, *lane = HANDLE(bw_t);
  const bw_options_t options = options_of(one);
  EXPECT(bw_new(&parent, &kSink, &the_sink, &options) == 0);
  arm();
  const int code = bw_lane(&lane, parent, NULL);
  disarm();
  if (has_worked(code)) {
    use(lane, false);
    bw_free(lane);
    EXPECT(has_pattern(the_sink.data, the_sink.length, PIECES));
  } else {
    EXPECT(lane == NULL);
  }
  EXPECT(bw_close(parent) == 0);
  bw_free(parent);
}

static void use_batch(bw_batch_t *batch, int code, const size_t *delivered) {
  disarm();
  if (has_worked(code)) {
    for (int i = 0; i < 10; ++i) EXPECT(bw_batch_send(batch, "0123456789", 9) == 0);
    EXPECT(bw_batch_close(batch) == 0);
    bw_batch_free(batch);
    EXPECT(*delivered == 10);
  } else {
    EXPECT(batch == NULL);
  }
}

static bw_batch_options_t batch_options_of(const one_case *one, size_t *delivered) {
  return (bw_batch_options_t){.size = sizeof(bw_batch_options_t), .flags = one->flags, .max_items = 4,
                              .linger_us = one->linger_us, .backoff_us = one->preallocate, .buffers = 3,
                              .delivered = deliver_nothing, .arg = delivered};
}

static int batch_close(void *ctx) { return plain_close(ctx); }

static void make_batch(const one_case *one) {
  const bw_batch_sink_t sink = {.size = sizeof sink, .write = batch_write, .close = batch_close};
  size_t delivered = 0;
  const bw_batch_options_t options = batch_options_of(one, &delivered);
  bw_batch_t *batch = HANDLE(bw_batch_t);
  arm();
  const int code = bw_batch_new(&batch, &sink, &the_sink, &options);
  use_batch(batch, code, &delivered);
  EXPECT(the_sink.closes == (code == 0));
}

static void make_log(const one_case *one) {
  size_t delivered = 0;
  const bw_batch_options_t options = batch_options_of(one, &delivered);
  bw_batch_t *batch = HANDLE(bw_batch_t);
  bw_t *bw = NULL;
  EXPECT(bw_new(&bw, &kSink, &the_sink, NULL) == 0);
  arm();
  const int code = bw_batch_to_writer(&batch, bw, "\n", &options);
  use_batch(batch, code, &delivered);
  EXPECT(bw_close(bw) == 0);
  EXPECT(the_sink.length == (code == 0 ? 100 : 0));
  bw_free(bw);
}

/* ---- Later calls ----------------------------------------------------------------------------- */

static void later_set_sink(const one_case *one) {
  const bw_options_t options = options_of(one);
  bw_t *bw = NULL;
  EXPECT(bw_new(&bw, &kSink, &the_sink, &options) == 0);
  EXPECT(bw_write(bw, pattern, BYTES) == BYTES);
  arm();
  const int code = bw_set_sink(bw, &kSink, &the_other_sink);
  disarm();
  plain_sink *now = has_worked(code) ? &the_other_sink : &the_sink;
  EXPECT(bw_write(bw, pattern, BYTES) == BYTES);
  EXPECT(bw_close(bw) == 0);
  bw_free(bw);
  EXPECT(the_sink.length + the_other_sink.length == 2 * BYTES);
  EXPECT(now->closes == 1 && the_sink.closes + the_other_sink.closes == 1);
}

/* From a file to a sink. */
static void later_leave_file(const one_case *one) {
  const bw_options_t options = options_of(one);
  bw_t *bw = NULL;
  file_put(the_path, "", 0);
  EXPECT(bw_open(&bw, the_path, O_WRONLY | O_CREAT, 0644, &options) == 0);
  EXPECT(bw_write(bw, pattern, BYTES) == BYTES);
  EXPECT(bw_flush(bw) == 0);
  arm();
  const int code = bw_set_sink(bw, &kSink, &the_sink);
  disarm();
  const bool has_left = has_worked(code);
  EXPECT(bw_write(bw, pattern, BYTES) == BYTES);
  EXPECT(bw_close(bw) == 0);
  bw_free(bw);
  EXPECT(file_has_pattern(0, has_left ? 1 : 2));
  EXPECT(the_sink.length == (has_left ? BYTES : 0));
}

/* An append that the sink stops part-way. */
static void later_spill(const one_case *one) {
  bw_options_t options = options_of(one);
  bw_t *bw = NULL;
  options.capacity = 64;
  EXPECT(bw_new(&bw, &kSink, &the_sink, &options) == 0);
  the_sink.script[0] = 100;
  the_sink.script[1] = -EIO;
  arm();
  const int64_t position = bw_append(bw, pattern, BYTES);
  disarm();
  const int64_t told = bw_tell(bw);
  EXPECT(has_worked(position) ? position == 0 && told == BYTES : position == -ENOMEM && told >= 100 && told < BYTES);
  EXPECT(bw_write(bw, pattern + told, (size_t)(BYTES - told)) == BYTES - told);
  EXPECT(bw_close(bw) == 0);
  bw_free(bw);
  EXPECT(has_pattern(the_sink.data, the_sink.length, 1));
}

enum { MANY = 40 };

/* More notes than there are nodes built in. */
static void later_notes(const one_case *one) {
  const bw_options_t options = options_of(one);
  bw_t *bw = NULL;
  int asked = 0;
  EXPECT(bw_new(&bw, &kSink, &the_sink, &options) == 0);
  arm();
  for (int i = 0; i < MANY; ++i) {
    const int code = bw_notify(bw, 1 + i, BW_WRITTEN, count_note, NULL);
    if (code == 0) ++asked;
    else if (code != -EAGAIN && code != -ENOMEM && !failing_gave(-code)) WRONG("bw_notify: %s", bw_err_name(code));
  }
  disarm();
  EXPECT(asked == MANY || failing_hard() > 0);
  use(bw, false);
  bw_free(bw);
  EXPECT(atomic_load(&notes) == asked);
  EXPECT(has_pattern(the_sink.data, the_sink.length, PIECES));
}

/* More wakers than there are nodes built in, while the sink is not ready. */
static void later_wakers(const one_case *one) {
  bw_options_t options = options_of(one);
  bw_t *bw = NULL;
  int kept = 0;
  options.capacity = 64;
  the_sink.next = 0;
  for (int i = 0; i < 4; ++i) the_sink.script[i] = -EAGAIN;
  EXPECT(bw_new(&bw, &kSink, &the_sink, &options) == 0);
  EXPECT(bw_write(bw, pattern, 10) == 10);
  arm();
  for (int i = 0; i < MANY; ++i) {
    const bw_waker_t wake = {count_wake, &pattern[i]};
    the_sink.next = 0;
    const int code = bw_poll_flush(bw, &wake);
    if (code == -EAGAIN) ++kept;
    else if (code != -ENOMEM) WRONG("bw_poll_flush: %s", bw_err_name(code));
  }
  disarm();
  the_sink.next = 4;
  EXPECT(kept == MANY || failing_hard() > 0);
  EXPECT(bw_wake(bw) == 0);
  EXPECT(bw_close(bw) == 0);
  bw_free(bw);
  EXPECT(atomic_load(&wakes) == kept);
  EXPECT(the_sink.length == 10);
}

static void later_batch_wakers(const one_case *one) {
  const bw_batch_sink_t sink = {.size = sizeof sink, .write = batch_busy};
  size_t delivered = 0;
  const bw_batch_options_t options = batch_options_of(one, &delivered);
  bw_batch_t *batch = NULL;
  int kept = 0;
  the_sink.next = -1000;
  EXPECT(bw_batch_new(&batch, &sink, &the_sink, &options) == 0);
  EXPECT(bw_batch_send(batch, "abc", 3) == 0);
  arm();
  for (int i = 0; i < MANY; ++i) {
    const bw_waker_t wake = {count_wake, &pattern[i]};
    const int code = bw_batch_poll_flush(batch, &wake);
    if (code == -EAGAIN) ++kept;
    else if (code != -ENOMEM) WRONG("bw_batch_poll_flush: %s", bw_err_name(code));
  }
  disarm();
  EXPECT(kept == MANY || failing_hard() > 0);
  the_sink.next = 4;
  EXPECT(bw_batch_wake(batch) == 0);
  EXPECT(bw_batch_close(batch) == 0);
  bw_batch_free(batch);
  EXPECT(atomic_load(&wakes) == kept);
  EXPECT(delivered == 1);
}

/* What a file writer's own calls create: threads, the directory to be synced. They may fail, and lose nothing. */
static void later_file_use(const one_case *one) {
  const bw_options_t options = options_of(one);
  bw_t *bw = NULL;
  unlink(the_path);
  EXPECT(bw_open(&bw, the_path, O_RDWR | O_CREAT, 0644, &options) == 0);
  arm();
  for (int i = 0; i < PIECES; ++i) EXPECT(bw_write(bw, pattern, BYTES) == BYTES);
  const int flushed = bw_flush(bw), synced = bw_sync(bw), closed = bw_close(bw);
  const int64_t unwritten = bw_unwritten(bw, NULL, NULL);
  disarm();
  if (failing_hard() == 0) {
    EXPECT(flushed == 0 && synced == 0 && closed == 0 && unwritten == 0);
  }
  if (bw_error(bw) != 0) EXPECT(bw_resume(bw) == 0 || synced != 0);
  const int again = bw_close(bw);
  EXPECT(again == 0 || synced != 0);
  bw_free(bw);
  if (again == 0) EXPECT(file_has_pattern(0, PIECES));
}

#define FILE_CASES(name, engine)                                                                          \
  {name "_direct", make_file, 0, engine, 0, 0, 0, false},                                                 \
      {name "_buffered", make_file, BW_BUFFERED, engine, 0, UINT64_MAX, 0, false},                        \
      {name "_driven", make_file, BW_CALLER_DRIVEN, engine, 0, 0, 0, false},                              \
      {name "_driven_linger", make_file, BW_CALLER_DRIVEN, engine, 1000, 0, 0, false},                    \
      {name "_unshared", make_file, BW_UNSHARED, engine, 0, 65536, 0, false},                             \
      {name "_append", make_file, 0, engine, 0, 0, O_APPEND, false},                                      \
      {name "_set_sink", later_leave_file, 0, engine, 0, 0, 0, false},                                    \
      {name "_use", later_file_use, 0, engine, 0, 0, 0, false},                                           \
      {name "_use_driven", later_file_use, BW_CALLER_DRIVEN, engine, 0, 0, 0, false}

#define STREAM_CASES(name, body)                                                                          \
  {name "_inline", body, 0, 0, 0, 0, 0, false}, {name "_unshared", body, BW_UNSHARED, 0, 0, 0, 0, false}, \
      {name "_background", body, BW_BACKGROUND, 0, 0, 0, 0, false},                                       \
      {name "_background_unshared", body, BW_BACKGROUND | BW_UNSHARED, 0, 0, 0, 0, false}

static const one_case kCases[] = {
    {"first_stream", make_stream, 0, 0, 0, 0, 0, true},
    {"first_batch", make_batch, BW_BACKGROUND, 0, 0, 0, 0, true},
    STREAM_CASES("stream", make_stream),
    {"stream_linger", make_stream, 0, 0, 1000000, 0, 0, false},
    FILE_CASES("auto", BW_ENGINE_AUTO),
    FILE_CASES("uring", BW_ENGINE_URING),
    FILE_CASES("pwrite", BW_ENGINE_PWRITE),
    {"file_low", make_file_low, 0, BW_ENGINE_AUTO, 0, 0, 0, false},
    STREAM_CASES("fdopen", make_fdopen),
    {"device", make_device, 0, 0, 0, 0, 0, false},
    {"lane", make_lane, 0, 0, 0, 0, 0, false},
    {"lane_background", make_lane, BW_BACKGROUND, 0, 0, 0, 0, false},
    STREAM_CASES("batch", make_batch),
    {"batch_linger", make_batch, 0, 0, 1000000, 0, 0, false},
    {"batch_backoff", make_batch, BW_UNSHARED, 0, 0, 1000000, 0, false},
    STREAM_CASES("log", make_log),
    STREAM_CASES("set_sink", later_set_sink),
    {"spill", later_spill, 0, 0, 0, 0, 0, false},
    {"spill_unshared", later_spill, BW_UNSHARED, 0, 0, 0, 0, false},
    STREAM_CASES("notes", later_notes),
    {"wakers", later_wakers, 0, 0, 0, 0, 0, false},
    {"wakers_unshared", later_wakers, BW_UNSHARED, 0, 0, 0, 0, false},
    {"wakers_background", later_wakers, BW_BACKGROUND, 0, 0, 0, 0, false},
    STREAM_CASES("batch_wakers", later_batch_wakers),
};
enum { CASES = sizeof kCases / sizeof kCases[0] };

/* ---- What is left behind --------------------------------------------------------------------- */

typedef struct census {
  int64_t blocks, mappings, unjoined;
  int threads;
  bool descriptors[FILE_DESCRIPTORS_MOST];
} census;

static int count_threads(void) {
  DIR *directory = opendir("/proc/self/task");
  int count = 0;
  while (readdir(directory)) ++count;
  closedir(directory);
  return count - 2; /* . and .. */
}

static census take_census(void) {
  census now;
  now.threads = count_threads();
  file_list_descriptors(now.descriptors);
  now.blocks = failing_live_blocks();
  now.mappings = failing_live_mappings();
  now.unjoined = failing_live_threads();
  return now;
}

/* A thread that was joined may be seen for a moment. */
static bool has_no_more_threads(void *arg) { return count_threads() <= ((const census *)arg)->threads; }

static bool are_blocks_left; /* once, the C library may keep them: for threads with other stacks */

static void compare(census *before) {
  if (!test_await(has_no_more_threads, before)) WRONG("a thread is left behind");
  const census after = take_census();
  are_blocks_left = after.blocks > before->blocks;
  if (after.unjoined != before->unjoined) WRONG("a thread was never joined");
  if (after.mappings != before->mappings)
    WRONG("%lld mappings are left behind", (long long)(after.mappings - before->mappings));
  for (int fd = 0; fd < FILE_DESCRIPTORS_MOST; ++fd)
    if (after.descriptors[fd] != before->descriptors[fd])
      WRONG("descriptor %d is %s", fd, after.descriptors[fd] ? "left behind" : "gone");
}

static void run_round(const one_case *one) {
  memset(&the_sink, 0, sizeof the_sink);
  memset(&the_other_sink, 0, sizeof the_other_sink);
  atomic_store(&wakes, 0);
  atomic_store(&notes, 0);
  census before = take_census();
  one->body(one);
  compare(&before);
}

/* In a child the library begins anew. It tells by a pipe: how many calls it counted, and what was wrong. */
static void run_in_child(const one_case *one) {
  int ends[2];
  if (pipe(ends) != 0) abort();
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    alarm(TEST_BOUND_S * 2);
    one->body(one);
    if (write(ends[1], &created, sizeof created) < 0 || write(ends[1], why_not, sizeof why_not) < 0) _exit(1);
    _exit(0);
  }
  close(ends[1]);
  int status = 0;
  const bool has_told = read(ends[0], &created, sizeof created) == sizeof created &&
                        read(ends[0], why_not, sizeof why_not) == sizeof why_not;
  close(ends[0]);
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || !has_told)
    WRONG("the child ended badly: %d", status);
}

static void run_case(const one_case *one) {
  why_not[0] = '\0';
  failing_needs_ring(false);
  if (one->in_child) run_in_child(one);
  else run_round(one);
}

static bool has_ring = true;

static int turns = 4; /* that the call can fail in which failed last in its first one */

static enum sweep_answer exists(const int *point, int known) {
  if (known == AT_TURN + 1) return point[AT_TURN] < turns ? SWEEP_YES : SWEEP_NO;
  const bool needs_ring = kCases[point[AT_CASE]].engine == BW_ENGINE_URING;
  return known == AT_CASE + 1 && needs_ring && !has_ring ? SWEEP_CANNOT : SWEEP_YES;
}

static int numbers(const int *point, char *why) {
  the_point = NULL;
  for (int i = 0; i < 2; ++i) run_case(&kCases[point[AT_CASE]]); /* the first also fills the C library's caches */
  memcpy(why, why_not, SWEEP_WHY);
  return why_not[0] ? -1 : created;
}

static bool run(const int *point, char *why) {
  the_point = point;
  if (point[AT_TURN] == 0) turns = 4;
  run_case(&kCases[point[AT_CASE]]);
  if (are_blocks_left) run_case(&kCases[point[AT_CASE]]);
  if (are_blocks_left) WRONG("blocks of memory are left behind, each time");
  if (point[AT_TURN] == 0 && failing_turns() > 0) turns = (int)failing_turns();
  memcpy(why, why_not, SWEEP_WHY);
  return !why_not[0];
}

/* ---- Main ------------------------------------------------------------------------------------ */

static bool ring_is_there(void) {
  const bw_options_t options = {.size = sizeof options, .engine = BW_ENGINE_URING};
  bw_t *bw = NULL;
  const int code = bw_open(&bw, the_path, O_RDWR | O_CREAT, 0644, &options);
  bw_free(bw);
  return code == 0;
}

int main(int argc, char **argv) {
  static const char *names[CASES];
  if (failing_is_blind()) return 77;
  for (int i = 0; i < CASES; ++i) names[i] = kCases[i].name;
  the_path = scratch_begin();
  if (!the_path) return 2;
  test_pattern(pattern, sizeof pattern, 1);
  has_ring = ring_is_there();
  const sweep_table table = {
      .program = "sweep_allocation",
      .axes = {SWEEP_AXIS("case", names),
               SWEEP_NUMBERS("number"),
               SWEEP_AXIS("errno", kTurns),
               SWEEP_AXIS("when", kWhens)},
      .axis_count = AT_COUNT,
      .exists = exists,
      .numbers = numbers,
      .run = run,
      .every = 1,
  };
  const int result = sweep_run(&table, argc, argv);
  scratch_end();
  return result;
}
