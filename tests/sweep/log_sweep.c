/*
 * The fault sweep for batches over a writer (bw_batch_to_writer): every call of the writer's sink, or every write and
 * sync of its file, fails in turn. What the batcher says was delivered must be with the sink in the end: whole, in
 * order, once; and nothing else.
 *
 *   sweep_log [writer mode failed number code how when then]     see sweep.h
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "batch_rig.h"
#include "file_rig.h"
#include "scratch.h"
#include "sweep.h"

/* ---- The axes -------------------------------------------------------------------------------- */

enum { AT_WRITER, AT_MODE, AT_FAILED, AT_NUMBER, AT_CODE, AT_HOW, AT_WHEN, AT_THEN, AT_COUNT };

enum { INLINE, BACKGROUND, FILE_WRITER };
static const char *const kWriters[] = {"inline", "background", "file"};
static const char *const kModes[] = {"inline", "unshared", "background", "background_unshared"};
static const uint32_t kModeFlags[] = {0, BW_UNSHARED, BW_BACKGROUND, BW_BACKGROUND | BW_UNSHARED};
static const char *const kFailed[] = {"hold", "give_up"};
static const char *const kCodes[] = {"EIO", "ENOSPC", "EDQUOT", "EFBIG", "EINTR", "EAGAIN", "ECANCELED"};
static const int kCode[] = {EIO, ENOSPC, EDQUOT, EFBIG, EINTR, EAGAIN, ECANCELED};
/* short: a few bytes are taken first. */
enum { WHOLE, SHORT };
static const char *const kHows[] = {"whole", "short"};
static const char *const kWhens[] = {"once", "ever"};
enum { THEN_FLUSH, THEN_SET_SINK, THEN_DISCARD, THEN_FREE };
static const char *const kThens[] = {"flush", "set_sink", "discard", "free"};

/* ---- The run --------------------------------------------------------------------------------- */

enum { ITEMS = 14, ITEM_MOST = 64, BURST = 5, TRIES = 20 };

static const char *the_path;

static struct {
  const int *point;
  pthread_mutex_t mutex; /* of these: the fault */
  int operations, number, code, burst;
  bool is_ever, is_short;
  test_rig *writer;
  bw_t *bw; /* the rig's, or the file's */
  batch_rig *rig;
  bool accepted[ITEMS];
  int accepted_count, discarded;
  char expected[ITEMS * ITEM_MOST];
  size_t expected_length;
  char why[SWEEP_WHY];
} run = {.mutex = PTHREAD_MUTEX_INITIALIZER};

#define BROKEN(...)                                                             \
  do {                                                                          \
    if (!run.why[0]) snprintf(run.why, sizeof run.why, __VA_ARGS__);            \
  } while (0)

/* 0: the operation may go on; 1: it is to take a few bytes, and the next one fails; or the code. */
static int next_fault(bool is_write) {
  int fault = 0;
  pthread_mutex_lock(&run.mutex);
  ++run.operations;
  const bool is_due = run.number != 0 && run.operations >= run.number && run.burst > 0;
  if (is_due && (run.is_ever || run.operations == run.number)) {
    --run.burst;
    fault = -run.code;
    if (run.is_short && is_write && run.operations == run.number) {
      fault = 1;
      ++run.number;
    }
  }
  pthread_mutex_unlock(&run.mutex);
  return fault;
}

static void repair(void) {
  pthread_mutex_lock(&run.mutex);
  run.burst = 0;
  pthread_mutex_unlock(&run.mutex);
}

static void before_call(void *sink, enum test_sink_kind kind) {
  if (kind != TEST_SINK_WRITE && kind != TEST_SINK_FLUSH) return;
  const int64_t fault = next_fault(kind == TEST_SINK_WRITE);
  if (fault) test_sink_script(sink, kind, &fault, 1);
}

/* ---- The file's calls ------------------------------------------------------------------------ */

static atomic_bool is_file; /* the calls below are the writer's */

/* -1: it fails; else at most how many bytes are to be written. */
static ssize_t bound(size_t length) {
  const int fault = atomic_load(&is_file) ? next_fault(true) : 0;
  if (fault >= 0) return fault == 0 || length < 4 ? (ssize_t)length : 3;
  errno = -fault;
  return -1;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
  const ssize_t most = bound(length);
  return most < 0 ? -1 : syscall(SYS_pwrite64, fd, data, (size_t)most, offset);
}

int fdatasync(int fd) {
  const int fault = atomic_load(&is_file) ? next_fault(false) : 0;
  if (fault == 0) return (int)syscall(SYS_fdatasync, fd);
  errno = -fault;
  return -1;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static const char *spell(int number) {
  static char text[ITEM_MOST];
  /* One is longer than all buffers of a stream together. It would wait for a sink that is not ready. */
  const int longest = run.code == EAGAIN ? 40 : 60;
  const int length = number == 9 ? longest : 3 + number % 7;
  const int digits = snprintf(text, sizeof text, "%02d", number);
  memset(text + digits, 'a' + number, (size_t)(length - digits));
  text[length] = '\0';
  return text;
}

/* The sink may be ready again, and a blocking call would not end before. */
static int flush_for_a_while(int tries) {
  int code = -ETIMEDOUT;
  for (int i = 0; i < tries && code == -ETIMEDOUT; ++i) {
    code = bw_batch_flush_for(run.rig->batch, i == 0 ? 0 : 300);
    if (code == -ETIMEDOUT) bw_wake(run.bw);
  }
  const bool is_known = code == 0 || code == -ETIMEDOUT || code == -run.code;
  if (!is_known) BROKEN("flush gives %s", bw_err_name(code));
  return code;
}

static void send_item(int number) {
  const char *text = spell(number);
  int code = -EAGAIN;
  for (int i = 0; i < 4 && code == -EAGAIN; ++i) {
    code = bw_batch_start_send(run.rig->batch, text, strlen(text));
    if (code == -EAGAIN) {
      bw_wake(run.bw);
      flush_for_a_while(1);
    }
  }
  run.accepted[number] = code == 0;
  run.accepted_count += code == 0;
}

static void run_steps(void) {
  for (int number = 0; number < ITEMS; ++number) {
    send_item(number);
    if (number == 5) flush_for_a_while(4);
  }
}

/* ---- What must be ---------------------------------------------------------------------------- */

/* Each accepted item is told of once; those with 0 are what is expected. */
static void look_at_delivered(void) {
  int last = -1, told[ITEMS] = {0};
  run.expected_length = 0;
  for (size_t i = 0; i < run.rig->event_count; ++i) {
    const batch_event *event = &run.rig->events[i];
    if (event->kind != BATCH_DELIVERED) continue;
    const char *at = event->text;
    for (size_t item = 0; item < event->count; ++item) {
      const size_t length = (size_t)(strchrnul(at, ',') - at);
      const int number = atoi((const char[]){at[0], at[1], 0});
      if (number >= ITEMS || !run.accepted[number] || strncmp(spell(number), at, length) != 0)
        BROKEN("told of \"%.*s\"", (int)length, at);
      else if (++told[number] > 1) BROKEN("item %d is told of twice", number);
      if (event->code == 0) {
        if (number < last) BROKEN("item %d is told of after item %d", number, last);
        last = number;
        memcpy(run.expected + run.expected_length, at, length);
        run.expected[run.expected_length + length] = '\n';
        run.expected_length += length + 1;
      }
      at += length + 1;
    }
  }
  for (int number = 0; number < ITEMS; ++number)
    if (run.accepted[number] && !told[number]) BROKEN("item %d is not told of", number);
}

static void look_at_sinks(void) {
  if (run.point[AT_WRITER] == FILE_WRITER && run.writer->other.length == 0) {
    if (!file_has(the_path, run.expected, run.expected_length)) BROKEN("the file has other bytes");
    return;
  }
  char found[2 * sizeof run.expected];
  size_t length = 0;
  if (run.point[AT_WRITER] == FILE_WRITER) {
    const int fd = open(the_path, O_RDONLY | O_CLOEXEC);
    const ssize_t count = pread(fd, found, sizeof run.expected, 0);
    close(fd);
    length = count > 0 ? (size_t)count : 0;
  }
  const test_sink *sinks[] = {&run.writer->sink, &run.writer->other};
  for (int i = 0; i < 2; ++i) {
    if (length + sinks[i]->length > sizeof found) {
      BROKEN("the sink has %zu bytes", sinks[i]->length);
      return;
    }
    if (sinks[i]->length) memcpy(found + length, sinks[i]->data, sinks[i]->length);
    length += sinks[i]->length;
  }
  if (length != run.expected_length || memcmp(found, run.expected, length) != 0)
    BROKEN("the sink has %zu bytes, %zu were delivered", length, run.expected_length);
}

/* ---- One scenario ---------------------------------------------------------------------------- */

static void set_up(const int *point) {
  run.point = point;
  run.operations = run.number = run.code = run.accepted_count = run.discarded = 0;
  run.is_ever = run.is_short = false;
  run.why[0] = '\0';
  run.writer = test_rig_empty();
  run.writer->sink.hook = before_call;
  run.writer->sink.hook_arg = &run.writer->sink;
  if (point[AT_WRITER] == FILE_WRITER) {
    const bw_options_t options = {.size = sizeof options, .flags = BW_BUFFERED, .capacity = 4096, .buffers = 2,
                                  .engine = BW_ENGINE_PWRITE, .preallocate = UINT64_MAX};
    unlink(the_path);
    assert_int_equal(bw_open(&run.writer->bw, the_path, O_RDWR | O_CREAT, 0644, &options), 0);
  } else {
    const uint32_t flags = point[AT_WRITER] == BACKGROUND ? BW_BACKGROUND : 0;
    test_rig_open(run.writer, RIG_PLAIN, &(const bw_options_t){.size = sizeof(bw_options_t), .flags = flags,
                                                              .capacity = 24, .buffers = 2});
  }
  run.bw = run.writer->bw;
  atomic_store(&is_file, point[AT_WRITER] == FILE_WRITER);
  run.rig = batch_rig_empty();
  bw_batch_options_t options = batch_rig_options(run.rig, kModeFlags[point[AT_MODE]]);
  options.max_items = 3;
  options.buffers = 3;
  options.when_failed = point[AT_FAILED] ? BW_FAILED_GIVE_UP : BW_FAILED_HOLD;
  assert_int_equal(bw_batch_to_writer(&run.rig->batch, run.bw, "\n", &options), 0);
}

static void recover(int then) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  if (then == THEN_DISCARD) (void)bw_batch_discard(run.rig->batch);
  if (then == THEN_FREE) batch_rig_free_batch(run.rig);
  repair();
  if (then == THEN_SET_SINK) {
    const bw_sink_t ops = test_sink_ops(RIG_PLAIN);
    const int code = bw_set_sink(run.bw, &ops, &run.writer->other);
    if (code != 0) BROKEN("bw_set_sink gives %s", bw_err_name(code));
    atomic_store(&is_file, false);
  }
  int code;
  do { /* a call that is under way may still fail */
    const int resumed = bw_resume(run.bw);
    if (resumed != 0) BROKEN("bw_resume gives %s", bw_err_name(resumed));
    bw_wake(run.bw);
    code = then == THEN_FREE ? bw_flush(run.bw) : flush_for_a_while(TRIES);
  } while (code != 0 && test_now_us() < end);
  if (code != 0) BROKEN("a writer that works is not enough: %s", bw_err_name(code));
}

static int body(const int *point, bool has_fault) {
  set_up(point);
  if (has_fault) {
    pthread_mutex_lock(&run.mutex);
    run.number = point[AT_NUMBER];
    run.code = kCode[point[AT_CODE]];
    run.is_short = point[AT_HOW] == SHORT;
    run.is_ever = point[AT_WHEN] == 1;
    /* What is tried again at once must come to an end. */
    const bool is_tried_again = run.code == EINTR || (point[AT_WRITER] == FILE_WRITER && run.code != EIO);
    run.burst = run.is_ever && is_tried_again ? BURST : INT_MAX;
    pthread_mutex_unlock(&run.mutex);
  }
  run_steps();
  recover(has_fault ? point[AT_THEN] : THEN_FLUSH);
  pthread_mutex_lock(&run.mutex);
  const int operations = run.operations;
  pthread_mutex_unlock(&run.mutex);
  batch_rig_free_batch(run.rig);
  if (run.rig->violation) BROKEN("%s", run.rig->violation);
  const int closed = bw_close(run.bw);
  if (closed != 0) BROKEN("bw_close gives %s", bw_err_name(closed));
  test_rig_free_writer(run.writer);
  atomic_store(&is_file, false);
  look_at_delivered();
  look_at_sinks();
  run.rig->violation = NULL;
  if (getenv("BW_TRACE")) fprintf(stderr, "%s\n", batch_rig_trace(run.rig, ~0u));
  batch_rig_free(run.rig);
  test_rig_free(run.writer);
  return operations;
}

static bool run_one(const int *point, char *why) {
  body(point, true);
  memcpy(why, run.why, SWEEP_WHY);
  return !run.why[0];
}

static int count_operations(const int *point, char *why) {
  const int operations = body(point, false);
  memcpy(why, run.why, SWEEP_WHY);
  return run.why[0] ? -1 : operations;
}

int main(int argc, char **argv) {
  static const sweep_table kTable = {
      .program = "sweep_log",
      .axes = {SWEEP_AXIS("writer", kWriters),
               SWEEP_AXIS("mode", kModes),
               SWEEP_AXIS("failed", kFailed),
               SWEEP_NUMBERS("number"),
               SWEEP_AXIS("code", kCodes),
               SWEEP_AXIS("how", kHows),
               SWEEP_AXIS("when", kWhens),
               SWEEP_AXIS("then", kThens)},
      .axis_count = AT_COUNT,
      .numbers = count_operations,
      .run = run_one,
      .every = 2,
  };
  the_path = scratch_begin();
  if (!the_path) return 2;
  const int result = sweep_run(&kTable, argc, argv);
  scratch_end();
  return result;
}
