/* One writer of any kind, and one thread that makes any call. Each byte follows from its position. */
#include "soak.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum target { TO_SINK, TO_FD, TO_PIPE, TO_FULL, TO_FILE };
enum { NOTES = 32, ROOM = 1 << 19 };

typedef struct writer {
  soak_job *job;
  bw_t *bw;
  soak_sink sink; /* of other targets than TO_SINK only what it records of events is used */
  enum target target;
  bw_options_t options;
  int oflags;
  bool is_inline, waits; /* waits: calls that may do not give -EAGAIN */
  size_t longest;        /* what every way of writing takes */
  int64_t accepted;
  test_waker waker;
  int wakes; /* so many calls of it are due, or were made */
  test_note notes[NOTES];
  bool noted[NOTES];
  unsigned note_count;
  int read_end;
  int64_t leaves_at; /* the reader of the pipe goes away there */
  int64_t read_bytes;
  test_thread reader;
} writer;

/* ---- Making ---------------------------------------------------------------------------------- */

static int64_t read_pipe(void *arg) {
  writer *w = arg;
  char data[3000];
  while (w->read_bytes < w->leaves_at) {
    const ssize_t got = read(w->read_end, data, sizeof data);
    if (got <= 0) break;
    SOAK_CHECK(w->job, soak_is_pattern(w->read_bytes, data, (size_t)got));
    w->read_bytes += got;
  }
  close(w->read_end);
  return 0;
}

static int make_over_fd(writer *w) {
  int fds[2] = {-1, -1};
  if (w->target == TO_PIPE) {
    SOAK_CHECK(w->job, pipe2(fds, O_CLOEXEC) == 0);
    w->waits = !w->is_inline || soak_chance(&w->job->random, 500);
    if (!w->waits || soak_chance(&w->job->random, 500)) {
      SOAK_CHECK(w->job, fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
      w->waits = !w->is_inline;
    }
    w->read_end = fds[0];
    w->leaves_at = soak_chance(&w->job->random, 300) ? (int64_t)soak_below(&w->job->random, 50000) : INT64_MAX;
  } else {
    const char *path = w->target == TO_FULL ? "/dev/full" : w->job->path;
    fds[1] = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  }
  const int code = bw_fdopen(&w->bw, fds[1], &w->options);
  close(fds[1]);
  if (w->target == TO_PIPE) test_thread_start(&w->reader, read_pipe, w);
  return code;
}

static int make_file(writer *w) {
  bw_options_t *options = &w->options;
  uint64_t *random = &w->job->random;
  options->flags |= (uint32_t)SOAK_PICK(random, 0, 0, BW_CALLER_DRIVEN) | (uint32_t)SOAK_PICK(random, 0, BW_BUFFERED);
  options->engine = (uint32_t)SOAK_PICK(random, BW_ENGINE_AUTO, BW_ENGINE_URING, BW_ENGINE_PWRITE);
  options->preallocate = SOAK_PICK(random, 0, UINT64_MAX, 65536);
  w->oflags = O_CREAT | O_TRUNC | (int)SOAK_PICK(random, O_RDWR, O_WRONLY) | (int)SOAK_PICK(random, 0, 0, O_APPEND);
  const int code = bw_open(&w->bw, w->job->path, w->oflags, 0600, options);
  if (code == 0 || options->engine != BW_ENGINE_URING) return code;
  options->engine = BW_ENGINE_AUTO; /* refused here */
  return bw_open(&w->bw, w->job->path, w->oflags, 0600, options);
}

static void choose(writer *w) {
  uint64_t *random = &w->job->random;
  bw_options_t *options = &w->options;
  w->target = (enum target)SOAK_PICK(random, TO_SINK, TO_SINK, TO_SINK, TO_FD, TO_PIPE, TO_FULL, TO_FILE, TO_FILE);
  const bool file = w->target == TO_FILE;
  *options = (bw_options_t)BW_OPTIONS_INIT;
  options->flags = (uint32_t)(SOAK_PICK(random, 0, BW_UNSHARED) | SOAK_PICK(random, 0, 0, BW_NONBLOCK) |
                              SOAK_PICK(random, 0, BW_BACKGROUND));
  options->capacity = file ? SOAK_PICK(random, 0, 4096, 4096, 8192, 65536) : SOAK_PICK(random, 0, 1, 7, 64, 100, 4096);
  options->buffers = (uint32_t)SOAK_PICK(random, 0, 2, 3, 8);
  if (!(options->flags & BW_UNSHARED)) options->linger_us = SOAK_PICK(random, 0, 0, 50, 1000);
  options->on_event = soak_on_event;
  options->event_arg = &w->sink;
  w->is_inline = !file && !(options->flags & BW_BACKGROUND);
  w->waits = !(options->flags & BW_NONBLOCK) && (!w->is_inline || w->target != TO_SINK);
}

static void make(writer *w) {
  int code;
  choose(w);
  soak_sink_init(&w->sink, w->job, ROOM);
  if (w->target == TO_SINK) {
    soak_sink_mood(&w->sink, true);
    code = bw_new(&w->bw, &soak_sink_calls, &w->sink, &w->options);
  } else {
    code = w->target == TO_FILE ? make_file(w) : make_over_fd(w);
  }
  if (w->options.flags & BW_NONBLOCK) w->waits = false;
  snprintf(w->job->about, sizeof w->job->about, "target %d, flags %x, capacity %llu x %u, linger %llu, engine %u, %x",
           (int)w->target, w->options.flags, (unsigned long long)w->options.capacity, w->options.buffers,
           (unsigned long long)w->options.linger_us, w->options.engine, (unsigned)w->oflags);
  SOAK_CODE(w->job, code, code == 0);
  w->sink.bw = w->bw;
  const size_t capacity = bw_capacity(w->bw);
  w->longest = capacity * (w->is_inline ? 3 : w->options.buffers ? w->options.buffers : 2);
  if (w->longest > 20000) w->longest = 20000;
  if (w->target == TO_SINK) soak_helper_start(&w->sink);
}

/* ---- Using ----------------------------------------------------------------------------------- */

/* A call that gives `code` < 0 may do so here. */
static void expect(writer *w, int64_t code, bool polled) {
  bool right = false;
  if (code == -EAGAIN) right = polled || !w->waits;
  else if (w->target == TO_SINK) right = code == -EIO || code == -ENOSPC || code == BW_EWRITEZERO || code == BW_ESINK;
  else if (w->target == TO_PIPE) right = code == -EPIPE && w->leaves_at != INT64_MAX;
  else if (w->target == TO_FULL) right = code == -ENOSPC;
  SOAK_CODE(w->job, code, right);
}

/* The waker does not wait, and was called as often as it had to be. */
static const bw_waker_t *fresh_waker(writer *w, bw_waker_t *wake) {
  *wake = test_waker_of(&w->waker);
  const int taken_back = bw_unwake(w->bw, wake);
  SOAK_CODE(w->job, taken_back, taken_back == 0 || taken_back == 1);
  w->wakes -= taken_back;
  SOAK_CHECK(w->job, atomic_load(&w->waker.calls) == w->wakes);
  return wake;
}

static void put(writer *w) {
  uint64_t *random = &w->job->random;
  bw_waker_t wake;
  enum test_way way = (enum test_way)soak_below(random, TEST_WAYS);
  size_t length = (size_t)soak_below(random, soak_chance(random, 800) ? w->longest / 8 + 2 : w->longest) + 1;
  if (way == TEST_SPAN && length > bw_capacity(w->bw)) length = bw_capacity(w->bw);
  if (length > w->longest) length = w->longest;
  if (w->accepted + (int64_t)length > ROOM) return;
  const bool polled = way == TEST_POLL_WRITE || way == TEST_POLL_WRITEV || way == TEST_POLL_APPEND ||
                      way == TEST_POLL_APPENDV;
  int64_t position;
  const int64_t taken =
      test_put(w->bw, way, soak_pattern(w->accepted), length, polled ? fresh_waker(w, &wake) : NULL, &position);
  if (taken < 0) {
    if (polled && taken == -EAGAIN) ++w->wakes;
    if (taken != -EINTR || !polled) expect(w, taken, polled);
    return;
  }
  SOAK_CODE(w->job, taken, taken <= (int64_t)length);
  if (position >= 0) SOAK_CODE(w->job, position, position == w->accepted);
  w->accepted += taken;
  SOAK_CHECK(w->job, bw_tell(w->bw) == w->accepted);
}

/* After a flush. */
static void check_written(writer *w) {
  struct stat status;
  SOAK_CHECK(w->job, bw_position(w->bw, BW_WRITTEN) == w->accepted);
  if (w->target == TO_SINK) SOAK_CODE(w->job, w->sink.length, (int64_t)w->sink.length == w->accepted);
  if (w->target != TO_FILE && w->target != TO_FD) return;
  SOAK_CHECK(w->job, stat(w->job->path, &status) == 0);
  SOAK_CODE(w->job, status.st_size, status.st_size == w->accepted);
}

static void flush_or_sync(writer *w, bool sync) {
  bw_waker_t wake;
  const bool polled = soak_chance(&w->job->random, 400);
  const bw_waker_t *waker = polled ? fresh_waker(w, &wake) : NULL;
  const int code = sync ? (polled ? bw_poll_sync(w->bw, waker) : bw_sync(w->bw))
                        : (polled ? bw_poll_flush(w->bw, waker) : bw_flush(w->bw));
  if (polled && code == -EAGAIN) ++w->wakes;
  const bool cannot_sync = sync && code == -EOPNOTSUPP && (w->target == TO_PIPE || w->target == TO_FULL);
  if (code < 0 && !cannot_sync) expect(w, code, polled);
  else if (w->target != TO_PIPE) check_written(w);
  if (sync && code == 0) SOAK_CHECK(w->job, bw_position(w->bw, BW_DURABLE) == w->accepted);
}

static void wait_for_some(writer *w) {
  const int64_t position = (int64_t)soak_below(&w->job->random, (uint64_t)w->accepted + 1);
  const int level = (int)soak_below(&w->job->random, 3);
  const int64_t timeout_us = (int64_t)soak_below(&w->job->random, 2000);
  const int code = bw_wait(w->bw, position, level, timeout_us);
  if (code == 0) SOAK_CHECK(w->job, bw_position(w->bw, level) >= position);
  else if (code != -ETIMEDOUT && (code != -EOPNOTSUPP || level != BW_DURABLE)) expect(w, code, false);
}

static void note(writer *w) {
  if (w->note_count == NOTES) return;
  const unsigned i = w->note_count++;
  const int64_t position = (int64_t)soak_below(&w->job->random, (uint64_t)w->accepted + 100);
  const int code = bw_notify(w->bw, position, (int)soak_below(&w->job->random, 3), test_note_done, &w->notes[i]);
  SOAK_CODE(w->job, code, code == 0);
  w->noted[i] = code == 0;
}

typedef struct visit {
  char *data;
  size_t length;
} visit;

static void see(void *arg, const void *data, size_t length) {
  visit *seen = arg;
  if (length > ROOM - seen->length) return;
  memcpy(seen->data + seen->length, data, length);
  seen->length += length;
}

static void look_at_unwritten(writer *w) {
  visit seen = {malloc(ROOM), 0};
  const int64_t unwritten = bw_unwritten(w->bw, see, &seen);
  SOAK_CODE(w->job, unwritten, unwritten == (int64_t)seen.length);
  SOAK_CHECK(w->job, soak_is_pattern(w->accepted - unwritten, seen.data, seen.length));
  free(seen.data);
}

static void discard(writer *w) {
  const int64_t gone = bw_discard(w->bw);
  if (gone < 0) SOAK_CODE(w->job, gone, gone == -EAGAIN && !w->waits);
  else w->accepted -= gone;
  SOAK_CHECK(w->job, bw_tell(w->bw) == w->accepted);
  if (gone >= 0) SOAK_CHECK(w->job, bw_position(w->bw, BW_WRITTEN) == w->accepted);
}

static void seek(writer *w) {
  if (w->target == TO_FULL || (w->oflags & O_APPEND)) return;
  const bool polled = soak_chance(&w->job->random, 500);
  int64_t code;
  if (polled) {
    code = bw_start_seek(w->bw, 0, SEEK_CUR);
    SOAK_CODE(w->job, code, code == 0);
    code = bw_poll_seek(w->bw, NULL);
  } else {
    code = bw_seek(w->bw, 0, SEEK_CUR);
  }
  if (code >= 0) SOAK_CODE(w->job, code, code == w->accepted);
  else if (code != -ESPIPE || w->target != TO_PIPE) expect(w, code, polled);
}

static void look(writer *w) {
  char text[2000];
  bw_stats_t stats = BW_STATS_INIT;
  SOAK_CHECK(w->job, bw_get_stats(w->bw, &stats) == 0);
  const int64_t length = bw_stats_json(w->bw, text, sizeof text);
  SOAK_CODE(w->job, length, length > 0 && length < (int64_t)sizeof text);
  SOAK_CHECK(w->job, (int64_t)bw_buffered(w->bw) <= w->accepted);
  if (w->options.flags & BW_CALLER_DRIVEN && w->target == TO_FILE) SOAK_CHECK(w->job, bw_event_fd(w->bw) >= 0);
}

static void read_at_end(writer *w) {
  char byte;
  if (w->target != TO_FILE || !(w->oflags & O_RDWR) || (w->oflags & O_APPEND)) return;
  const int64_t got = bw_read(w->bw, &byte, 1);
  if (got < 0) expect(w, got, false);
  else SOAK_CODE(w->job, got, got == 0);
}

static void use(writer *w) {
  uint64_t *random = &w->job->random;
  const unsigned calls = (unsigned)soak_below(random, 200);
  for (unsigned i = 0; i < calls; ++i) {
    const unsigned what = (unsigned)soak_below(random, 1000);
    if (what < 600) put(w);
    else if (what < 660) flush_or_sync(w, false);
    else if (what < 690) flush_or_sync(w, true);
    else if (what < 730) wait_for_some(w);
    else if (what < 780) note(w);
    else if (what < 800) look_at_unwritten(w);
    else if (what < 815) discard(w);
    else if (what < 840) seek(w);
    else if (what < 870) look(w);
    else if (what < 880) read_at_end(w);
    else if (what < 900) (void)bw_wake(w->bw);
    else if (what < 980) soak_heal(&w->sink, w->target == TO_SINK, random);
    else if (what < 999) (void)bw_poll_events(w->bw);
    else if (soak_chance(random, 200)) soak_fork(w->job, w->bw);
  }
}

/* ---- Ending ---------------------------------------------------------------------------------- */

static void end(writer *w) {
  bw_waker_t wake;
  const bool closes = soak_chance(&w->job->random, 600), is_sink = w->target == TO_SINK;
  const bool may_fail = w->target == TO_FULL || w->leaves_at != INT64_MAX;
  if (closes) {
    soak_close(&w->sink, is_sink, &w->job->random, may_fail && w->target != TO_SINK ? &w->accepted : NULL);
    SOAK_CHECK(w->job, bw_write(w->bw, "x", 1) == -ESHUTDOWN && bw_tell(w->bw) == w->accepted);
    SOAK_CHECK(w->job, bw_position(w->bw, BW_WRITTEN) == w->accepted);
  }
  (void)fresh_waker(w, &wake);
  if (is_sink) soak_helper_stop(&w->sink);
  bw_free(w->bw);
  SOAK_CHECK(w->job, atomic_load(&w->waker.calls) == w->wakes);
  for (unsigned i = 0; i < w->note_count; ++i)
    SOAK_CODE(w->job, i, atomic_load(&w->notes[i].calls) == (w->noted[i] ? 1 : 0));
  if (closes) SOAK_CODE(w->job, w->sink.lost, w->sink.lost == 0);
}

static void check(writer *w) {
  const soak_sink *sink = &w->sink;
  const int64_t written = w->accepted - (int64_t)sink->lost;
  SOAK_CHECK(w->job, soak_is_pattern(written, sink->data + sink->length, sink->lost));
  switch (w->target) {
    case TO_SINK:
      SOAK_CODE(w->job, written, written == (int64_t)sink->length && soak_is_pattern(0, sink->data, sink->length));
      SOAK_CODE(w->job, sink->ends, sink->ends <= 1 && (sink->broken || sink->close_calls > 0));
      break;
    case TO_FULL: SOAK_CODE(w->job, written, written == 0); break;
    case TO_PIPE:
      (void)test_thread_join(&w->reader);
      if (w->leaves_at == INT64_MAX) SOAK_CODE(w->job, written, written == w->read_bytes);
      else SOAK_CODE(w->job, written, written >= w->read_bytes);
      break;
    default: {
      const int64_t size = soak_file_is_pattern(w->job->path);
      SOAK_CODE(w->job, size, size == written);
      SOAK_CHECK(w->job, unlink(w->job->path) == 0);
    }
  }
}

void soak_writer_job(soak_job *job) {
  writer *w = calloc(1, sizeof *w);
  w->job = job;
  w->leaves_at = INT64_MAX;
  make(w);
  use(w);
  end(w);
  check(w);
  soak_sink_destroy(&w->sink);
  free(w);
}
