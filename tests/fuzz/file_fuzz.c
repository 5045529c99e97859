/*
 * File writers: a program of calls, and the file that it must leave, byte for byte, at every flush.
 *
 * The files are on tmpfs (/dev/shm), or in the directory that BW_FUZZ_DIR names (else the present one), which is where
 * O_DIRECT is to be met; the input says which. No call may fail: there are no faults here. Spans of shared writers stay
 * open meanwhile, which is what makes the engine write a buffer in pieces that end anywhere.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

enum { kFileMax = 192 << 10, kWrittenMax = 384 << 10, kPartsMax = 6, kNotesMax = 32, kSpansMax = 6,
       kPathMax = 512 };

/* Only ends a hang. */
static const int64_t kLongUs = (int64_t)60 * 1000 * 1000;

typedef struct run run;

typedef struct open_span {
  bool is_open;
  size_t from; /* in `fresh` */
  bw_span_t span;
} open_span;

typedef struct note {
  run *of;
  int64_t position;
  int level, calls;
} note;

struct run {
  fuzz_input ops;
  char path[kPathMax];
  bw_t *bw, *lane;
  bw_options_t options;
  bool is_append, may_read;
  /* The file as it was when it was last looked at, and what was accepted since: `fresh`, from `start` on. Appending,
   * it goes to the end, whatever the position. */
  fuzz_bytes base, fresh, pending, scratch;
  int64_t start, size_at_open, read_place;
  open_span spans[kSpansMax]; /* of a shared writer: bytes that are in `fresh`, and not accepted */
  int64_t floor;              /* while some are open: accepted at least to here */
  bool has_seeked, was_cut;
  bool may_cancel; /* notes */
  uint64_t written;
  pthread_mutex_t told;
  note notes[kNotesMax];
  int note_count, inside;
};

/* ---- The model ------------------------------------------------------------------------------- */

static int64_t end_of(const run *of) { return of->start + (int64_t)of->fresh.length; }

/* Where the oldest open span begins, or the end: what is accepted ends here. */
static int64_t accepted_end(const run *of) {
  int64_t end = end_of(of);
  for (int index = 0; index < kSpansMax; ++index) {
    const open_span *it = &of->spans[index];
    if (it->is_open && it->span.position < end) end = it->span.position;
  }
  return end;
}

static bool has_spans(const run *of) { return accepted_end(of) < end_of(of); }

/* What was accepted becomes part of the file. No span is open. */
static void settle(run *of) {
  const size_t at = of->is_append ? of->base.length : (size_t)of->start, end = at + of->fresh.length;
  static const unsigned char kZeros[4096];
  of->start = end_of(of);
  if (of->fresh.length == 0) return;
  while (of->base.length < end) {
    const size_t step = end - of->base.length < sizeof kZeros ? end - of->base.length : sizeof kZeros;
    fuzz_append(&of->base, kZeros, step);
  }
  memcpy(of->base.bytes + at, of->fresh.bytes, of->fresh.length);
  of->fresh.length = 0;
}

/* How long the file will be once it is flushed. */
static int64_t size_of(const run *of) {
  const int64_t size = (int64_t)of->base.length;
  if (of->is_append) return size + (int64_t)of->fresh.length;
  return of->fresh.length > 0 && end_of(of) > size ? end_of(of) : size;
}

static size_t read_file(const char *path, unsigned char **bytes) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat status;
  size_t length = 0;
  FUZZ_CHECK(fd >= 0 && fstat(fd, &status) == 0);
  *bytes = malloc((size_t)status.st_size + 1);
  FUZZ_CHECK(*bytes != NULL);
  while (length < (size_t)status.st_size) {
    const ssize_t count = pread(fd, *bytes + length, (size_t)status.st_size - length, (off_t)length);
    if (count <= 0) break; /* it may be cut meanwhile: bw_close() gives space back */
    length += (size_t)count;
  }
  close(fd);
  return length;
}

/* Exactly what was accepted. */
static void check_file(run *of) {
  unsigned char *bytes;
  const size_t length = read_file(of->path, &bytes);
  settle(of);
  FUZZ_SAME(length, of->base.length);
  for (size_t at = 0; length > 0 && memcmp(bytes, of->base.bytes, length) != 0; ++at) {
    if (bytes[at] != of->base.bytes[at]) fuzz_differ(__FILE__, __LINE__, "a byte is wrong: its place", (int64_t)at, -1);
  }
  free(bytes);
}

/* At any moment: what is beyond the size at opening is a prefix of what was accepted, no padding and no hole. */
static void check_prefix(run *of) {
  unsigned char *bytes;
  if (of->has_seeked || of->was_cut || of->is_append) return;
  const size_t length = read_file(of->path, &bytes);
  const size_t accepted = (size_t)accepted_end(of), most = accepted > of->base.length ? accepted : of->base.length;
  FUZZ_CHECK(length <= most);
  for (size_t at = (size_t)of->size_at_open; at < length; ++at) {
    const bool is_fresh = (int64_t)at >= of->start && at < accepted;
    if (bytes[at] != (is_fresh ? of->fresh.bytes[at - (size_t)of->start] : of->base.bytes[at]))
      fuzz_differ(__FILE__, __LINE__, "a byte is not what was accepted: its place", (int64_t)at, -1);
  }
  free(bytes);
}

/* ---- Callbacks ------------------------------------------------------------------------------- */

static void on_event(void *arg, const bw_event_t *event) {
  run *of = arg;
  FUZZ_SAME(__atomic_fetch_add(&of->inside, 1, __ATOMIC_RELAXED), 0);
  FUZZ_CHECK(event->kind != BW_EVENT_ERROR && event->kind != BW_EVENT_LOST);
  __atomic_fetch_sub(&of->inside, 1, __ATOMIC_RELAXED);
}

static void on_done(void *arg, int code) {
  note *it = arg;
  pthread_mutex_lock(&it->of->told);
  FUZZ_SAME(++it->calls, 1);
  FUZZ_CHECK(code == 0 || code == -ECANCELED || code == -ESHUTDOWN);
  if (code == -ECANCELED) FUZZ_CHECK(it->of->may_cancel);
  pthread_mutex_unlock(&it->of->told);
}

/* ---- Opening --------------------------------------------------------------------------------- */

static void open_file(run *of, unsigned how) {
  int oflags = O_CREAT | (how & 1 ? O_WRONLY : O_RDWR);
  int code;
  if (how & 2) oflags |= O_TRUNC;
  of->is_append = how & 4;
  if (of->is_append) oflags |= O_APPEND;
  if (how & 2) of->base.length = 0;
  code = bw_open(&of->bw, of->path, oflags, 0600, &of->options);
  if (code == -ENOSYS || code == -EPERM) { /* no io_uring here */
    of->options.engine = BW_ENGINE_PWRITE;
    code = bw_open(&of->bw, of->path, oflags, 0600, &of->options);
  }
  FUZZ_SAME(code, 0);
  of->may_read = !(how & 1);
  of->start = of->is_append ? (int64_t)of->base.length : 0;
  of->size_at_open = (int64_t)of->base.length;
  of->read_place = -1; /* not known until a seek */
  of->has_seeked = of->was_cut = of->may_cancel = false;
  FUZZ_SAME(bw_tell(of->bw), of->start);
}

static void end_notes(run *of) {
  for (int index = 0; index < of->note_count; ++index) FUZZ_SAME(of->notes[index].calls, 1);
  of->note_count = 0;
}

static void drop_lane(run *of);

static void close_file(run *of, bool is_freed_at_once) {
  drop_lane(of);
  if (!is_freed_at_once) {
    FUZZ_SAME(bw_close(of->bw), 0);
    check_file(of);
    FUZZ_SAME(bw_position(of->bw, BW_DURABLE), end_of(of));
    FUZZ_SAME(bw_flush(of->bw), -ESHUTDOWN);
  }
  bw_free(of->bw);
  of->bw = NULL;
  check_file(of);
  end_notes(of);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static size_t choose_length(run *of) {
  const unsigned choice = fuzz_byte(&of->ops);
  const size_t capacity = of->options.capacity;
  size_t length;
  if (choice < 100) {
    length = choice;
  } else if (choice < 180) {
    length = 4096 * (1 + choice % 3) - 2 + choice % 5;
  } else if (choice < 220) {
    length = capacity * (1 + choice % 2) - 2 + choice % 5;
  } else {
    length = fuzz_number(&of->ops, 2) % 20000;
  }
  return end_of(of) + (int64_t)length + (int64_t)of->pending.length > kFileMax ? 0 : length;
}

/* A short count is right, and so is -EAGAIN. */
static void keep_polled(run *of, int64_t result, const unsigned char *bytes, size_t length) {
  FUZZ_CHECK(result == -EAGAIN || (result >= 0 && result <= (int64_t)length));
  if (result > 0) fuzz_append(&of->fresh, bytes, (size_t)result);
}

static void do_write(run *of, unsigned op) {
  struct iovec parts[kPartsMax];
  const int count = op & 64 ? (int)fuzz_below(&of->ops, kPartsMax) : 1;
  size_t lengths[kPartsMax], total = 0;
  int64_t result;
  for (int index = 0; index < count; ++index) total += lengths[index] = choose_length(of) / (size_t)count;
  const unsigned char *bytes = fuzz_make(&of->scratch, &of->written, total), *from = bytes;
  for (int index = 0; index < count; from += lengths[index++])
    parts[index] = (struct iovec){(void *)(uintptr_t)from, lengths[index]};
  if (has_spans(of)) { /* it might wait for one of them */
    if (op & 128) {
      result = op & 64 ? bw_poll_appendv(of->bw, parts, count, NULL) : bw_poll_append(of->bw, bytes, total, NULL);
      FUZZ_CHECK(result == -EAGAIN || result == end_of(of) ||
                 (result == -EMSGSIZE && total > of->options.buffers * of->options.capacity));
      if (result >= 0) fuzz_append(&of->fresh, bytes, total);
    } else {
      result = op & 64 ? bw_poll_writev(of->bw, parts, count, NULL) : bw_poll_write(of->bw, bytes, total, NULL);
      keep_polled(of, result, bytes, total);
    }
    return;
  }
  if (op & 128) {
    result = op & 64 ? bw_appendv(of->bw, parts, count) : bw_append(of->bw, bytes, total);
    FUZZ_SAME(result, end_of(of));
  } else {
    result = op & 64 ? bw_writev(of->bw, parts, count) : bw_write(of->bw, bytes, total);
    FUZZ_SAME(result, total);
  }
  fuzz_append(&of->fresh, bytes, total);
}

static void do_poll_write(run *of) {
  const size_t length = choose_length(of);
  const unsigned char *bytes = fuzz_make(&of->scratch, &of->written, length);
  keep_polled(of, bw_poll_write(of->bw, bytes, length, NULL), bytes, length);
}

static void do_own_span(run *of) {
  const size_t length = 1 + choose_length(of) % of->options.capacity;
  bw_span_t span;
  FUZZ_SAME(bw_reserve(of->bw, length, &span), 0);
  FUZZ_SAME(span.position, end_of(of));
  FUZZ_CHECK(span.length >= length);
  const size_t used = fuzz_below(&of->ops, length + 1);
  const unsigned char *bytes = fuzz_make(&of->scratch, &of->written, used);
  if (used > 0) memcpy(span.data, bytes, used);
  FUZZ_SAME(bw_commit(of->bw, &span, used), 0);
  fuzz_append(&of->fresh, bytes, used);
}

static void commit(run *of, open_span *it) {
  if (!it->is_open) return;
  const size_t used = it->span.length;
  const unsigned char *bytes = fuzz_make(&of->scratch, &of->written, used);
  memcpy(it->span.data, bytes, used);
  memcpy(of->fresh.bytes + it->from, bytes, used);
  it->is_open = false;
  FUZZ_SAME(bw_commit(of->bw, &it->span, used), 0);
}

static void commit_all(run *of) {
  for (int index = 0; index < kSpansMax; ++index) commit(of, &of->spans[index]);
}

/* Spans stay open while others write and wait for what is before them: buffers then go out in pieces. */
static void do_shared_span(run *of, unsigned op) {
  const size_t length = 1 + choose_length(of) % of->options.capacity;
  bw_stats_t stats = BW_STATS_INIT;
  open_span *it = &of->spans[op / 20 % kSpansMax];
  if (it->is_open) {
    commit(of, it);
    return;
  }
  FUZZ_SAME(bw_get_stats(of->bw, &stats), 0);
  if (has_spans(of) && stats.buffers_in_use + 1 >= stats.buffers) return; /* it might wait for one of them */
  FUZZ_SAME(bw_reserve(of->bw, length, &it->span), 0);
  FUZZ_SAME(it->span.position, end_of(of));
  FUZZ_SAME(it->span.length, length);
  if (!has_spans(of)) of->floor = end_of(of);
  it->is_open = true;
  it->from = of->fresh.length;
  /* Its place; what is in it comes with the commit. */
  fuzz_append(&of->fresh, fuzz_make(&of->scratch, &of->written, length), length);
}

static void do_flush(run *of, bool is_sync) {
  FUZZ_SAME(is_sync ? bw_sync(of->bw) : bw_flush(of->bw), 0);
  check_file(of);
  FUZZ_SAME(bw_position(of->bw, is_sync ? BW_DURABLE : BW_WRITTEN), end_of(of));
}

static void do_poll(run *of, unsigned op) {
  const int code = op & 64 ? bw_poll_sync(of->bw, NULL) : bw_poll_flush(of->bw, NULL);
  if (of->options.flags & BW_CALLER_DRIVEN) FUZZ_CHECK(bw_poll_events(of->bw) >= 0);
  if (code == 0) {
    FUZZ_CHECK(!has_spans(of));
    check_file(of);
  } else {
    FUZZ_SAME(code, -EAGAIN);
  }
}

static void let_cancel(run *of) {
  pthread_mutex_lock(&of->told);
  of->may_cancel = true;
  pthread_mutex_unlock(&of->told);
}

static void do_seek(run *of, unsigned op) {
  int64_t offset = (int64_t)(fuzz_number(&of->ops, 3) % kFileMax), wanted = offset, result;
  const int whence = (int)fuzz_below(&of->ops, 3);
  const int64_t here = of->is_append ? of->read_place : end_of(of), size = size_of(of);
  if (whence == SEEK_CUR && here < 0) return;
  if (whence != SEEK_SET) offset = wanted - (whence == SEEK_CUR ? here : size);
  let_cancel(of);
  if (op & 64) {
    FUZZ_SAME(bw_start_seek(of->bw, offset, whence), 0);
    do {
      result = bw_poll_seek(of->bw, NULL);
      if (result == -EAGAIN && of->options.flags & BW_CALLER_DRIVEN) FUZZ_CHECK(bw_poll_events(of->bw) >= 0);
      if (result == -EAGAIN) FUZZ_SAME(bw_flush(of->bw), 0);
    } while (result == -EAGAIN);
  } else {
    result = bw_seek(of->bw, offset, whence);
  }
  FUZZ_SAME(result, wanted);
  settle(of);
  of->has_seeked = true;
  if (of->is_append) {
    of->read_place = wanted;
  } else {
    of->start = wanted;
  }
  if (op & 128) FUZZ_SAME(bw_seek(of->bw, -1, SEEK_SET), -EINVAL);
  check_file(of);
}

static void do_read(run *of) {
  unsigned char data[8192];
  const size_t length = fuzz_number(&of->ops, 2) % sizeof data;
  int64_t *place = of->is_append ? &of->read_place : &of->start, wanted, result;
  if (*place < 0) return;
  let_cancel(of);
  result = bw_read(of->bw, data, length);
  if (!of->may_read) {
    FUZZ_SAME(result, -EBADF);
    return;
  }
  settle(of);
  wanted = (int64_t)of->base.length - *place;
  wanted = wanted < 0 ? 0 : wanted > (int64_t)length ? (int64_t)length : wanted;
  FUZZ_SAME(result, wanted);
  FUZZ_CHECK(result == 0 || memcmp(data, of->base.bytes + *place, (size_t)result) == 0);
  *place += result;
  of->has_seeked = true;
  FUZZ_SAME(bw_tell(of->bw), of->start);
}

/* Another process appends; both files are open with O_APPEND. */
static void do_intrude(run *of) {
  if (!of->is_append) return;
  do_flush(of, false);
  const int fd = open(of->path, O_WRONLY | O_APPEND | O_CLOEXEC);
  const unsigned char *bytes = fuzz_make(&of->scratch, &of->written, 777);
  FUZZ_CHECK(fd >= 0 && write(fd, bytes, 777) == 777);
  close(fd);
  fuzz_append(&of->base, bytes, 777);
}

static void do_wait(run *of, unsigned op) {
  const int level = (int)(op / 64 % 3);
  const int64_t position = (has_spans(of) ? of->floor : end_of(of)) - fuzz_byte(&of->ops);
  FUZZ_SAME(bw_wait(of->bw, position, level, kLongUs), 0);
  FUZZ_CHECK(bw_position(of->bw, level) >= position);
}

static void do_notify(run *of, unsigned op) {
  if (of->note_count == kNotesMax) return;
  note *it = &of->notes[of->note_count++];
  *it = (note){of, end_of(of) - fuzz_byte(&of->ops) + 20, (int)(op / 64 % 3), 0};
  FUZZ_SAME(bw_notify(of->bw, it->position, it->level, on_done, it), 0);
}

static void add_up(void *arg, const void *data, size_t length) {
  run *of = arg;
  const size_t from = of->scratch.length;
  (void)data;
  of->scratch.length = from + length;
}

static void do_discard(run *of) {
  int64_t count;
  if (has_spans(of)) FUZZ_SAME(bw_discard(of->bw), -EBUSY);
  commit_all(of);
  of->scratch.length = 0;
  count = bw_unwritten(of->bw, add_up, of);
  FUZZ_CHECK(count >= 0 && count <= (int64_t)of->fresh.length);
  FUZZ_SAME(of->scratch.length, count);
  of->was_cut = true;
  let_cancel(of);
  count = bw_discard(of->bw);
  FUZZ_CHECK(count >= 0 && count <= (int64_t)of->fresh.length);
  of->fresh.length -= (size_t)count;
  check_file(of);
}

static void hand_on(run *of) {
  const int64_t more = bw_tell(of->bw) - end_of(of);
  FUZZ_CHECK(more >= 0 && more <= (int64_t)of->pending.length);
  fuzz_append(&of->fresh, of->pending.bytes, (size_t)more);
  fuzz_drop(&of->pending, (size_t)more);
}

static void drop_lane(run *of) {
  if (of->lane == NULL) return;
  FUZZ_SAME(bw_close(of->bw), -EBUSY);
  bw_free(of->lane);
  of->lane = NULL;
  hand_on(of);
  FUZZ_SAME(of->pending.length, 0);
}

static void do_lane(run *of, unsigned op) {
  bw_options_t options = BW_OPTIONS_INIT;
  if (of->options.flags & BW_UNSHARED) return;
  if (of->lane == NULL) {
    options.capacity = fuzz_byte(&of->ops);
    FUZZ_SAME(bw_lane(&of->lane, of->bw, &options), 0);
  } else if (op & 128) {
    drop_lane(of);
  } else if (op & 64) {
    FUZZ_SAME(fuzz_byte(&of->ops) & 1 ? bw_sync(of->lane) : bw_flush(of->lane), 0);
    hand_on(of);
    FUZZ_SAME(of->pending.length, 0);
    check_file(of);
  } else {
    const size_t length = choose_length(of);
    const unsigned char *bytes = fuzz_make(&of->scratch, &of->written, length);
    FUZZ_SAME(bw_write(of->lane, bytes, length), length);
    fuzz_append(&of->pending, bytes, length);
    hand_on(of);
    FUZZ_SAME(bw_buffered(of->lane), of->pending.length);
  }
}

/* ---- The program ----------------------------------------------------------------------------- */

/* Whether the call would wait for open spans. */
static bool needs_commits(unsigned op) {
  static const uint32_t kDoesNot = 0x1f | 1 << 5 | 1 << 6 | 1 << 10 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18;
  return !(kDoesNot >> op % 20 & 1);
}

static void step(run *of, unsigned op) {
  if (needs_commits(op)) commit_all(of);
  switch (op % 20) {
    case 0: case 1: case 2: case 3: case 4: do_write(of, op); break;
    case 5: do_poll_write(of); break;
    case 6: if (of->options.flags & BW_UNSHARED) do_own_span(of); else do_shared_span(of, op); break;
    case 7: case 8: do_flush(of, false); break;
    case 9: do_flush(of, true); break;
    case 10: do_poll(of, op); break;
    case 11: do_seek(of, op); break;
    case 12: do_read(of); break;
    case 13: do_intrude(of); break;
    case 14: do_wait(of, op); break;
    case 15: do_notify(of, op); break;
    case 16: do_discard(of); break;
    case 17: do_lane(of, op); break;
    case 18:
      check_prefix(of);
      if (of->options.flags & BW_CALLER_DRIVEN) {
        FUZZ_CHECK(bw_event_fd(of->bw) >= 0 && bw_poll_events(of->bw) >= 0);
      } else {
        FUZZ_SAME(bw_poll_events(of->bw), -EOPNOTSUPP);
      }
      break;
    default:
      close_file(of, op & 128);
      open_file(of, fuzz_byte(&of->ops));
  }
  FUZZ_SAME(bw_tell(of->bw), end_of(of));
  FUZZ_SAME(bw_error(of->bw), 0);
  FUZZ_CHECK(bw_position(of->bw, BW_DURABLE) <= bw_position(of->bw, BW_WRITTEN));
  FUZZ_CHECK(bw_position(of->bw, BW_WRITTEN) <= bw_position(of->bw, BW_ACCEPTED));
  FUZZ_CHECK(bw_position(of->bw, BW_ACCEPTED) <= accepted_end(of));
  if (has_spans(of)) FUZZ_CHECK(bw_position(of->bw, BW_ACCEPTED) >= of->floor);
}

static void choose_path(run *of, bool on_disk) {
  const char *directory = getenv("BW_FUZZ_DIR");
  if (!on_disk) directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  snprintf(of->path, sizeof of->path, "%s/bw-fuzz-%ld", directory ? directory : ".", (long)getpid());
  unlink(of->path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  /* Buffers of less than 16 KiB that are not whole units go out in one piece, larger ones in several. */
  static const uint64_t kPages[] = {1, 2, 5, 8};
  run of = {0};
  bw_options_t options = BW_OPTIONS_INIT;
  of.ops = (fuzz_input){data, size};
  const unsigned mode = fuzz_byte(&of.ops), shape = fuzz_byte(&of.ops);
  options.engine = mode & 1 ? BW_ENGINE_PWRITE : BW_ENGINE_URING;
  options.flags = (mode & 2 ? BW_UNSHARED : 0) | (mode & 4 ? BW_BUFFERED : 0) | (mode & 8 ? BW_CALLER_DRIVEN : 0);
  options.capacity = 4096 * kPages[shape % 4];
  options.buffers = 1 + shape / 4 % 4;
  options.preallocate = shape & 16 ? UINT64_MAX : shape & 32 ? 1 + shape * 100 : 0;
  if (mode & 32 && !(mode & 2)) options.linger_us = shape;
  options.on_event = on_event;
  options.event_arg = &of;
  of.options = options;
  pthread_mutex_init(&of.told, NULL);
  choose_path(&of, (mode & 192) == 192);
  open_file(&of, fuzz_byte(&of.ops) | 2);
  while (of.ops.left > 0 && of.written < kWrittenMax) step(&of, fuzz_byte(&of.ops));
  commit_all(&of);
  close_file(&of, mode & 16);
  unlink(of.path);
  free(of.base.bytes);
  free(of.fresh.bytes);
  free(of.pending.bytes);
  free(of.scratch.bytes);
  pthread_mutex_destroy(&of.told);
  return 0;
}
