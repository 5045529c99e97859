/*
 * Option negotiation: structs of any size and content, from callers with older and newer headers, given to everything
 * that reads or fills one. What must come of it is said here a second time, from bw.h, batch.h and docs/abi.md.
 *
 * Where several reasons speak against a call, any of their codes will do: nothing promises an order. Each struct lies
 * in a heap block of exactly its size, so that AddressSanitizer sees every look beyond it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

enum { kExtraMax = 40, kBuffersMax = 40 };
/* More memory than this may be refused with -ENOMEM; much less may not. */
static const uint64_t kSmallMemory = (uint64_t)256 << 20;

/* ---- Structs as another header has them ------------------------------------------------------ */

/* A struct of `size` bytes, as its caller compiled it: NULL, or a block of max(size, 4) bytes. */
typedef struct foreign {
  void *block;
  uint32_t size;
  bool has_unknown; /* a byte behind ours is not zero */
} foreign;

/* `ours`, cut or lengthened. The size is most often ours; never one that cuts a field where `step` is 8. */
static foreign make_foreign(fuzz_input *input, const void *ours, size_t size_of_ours, uint32_t step) {
  foreign made = {NULL, (uint32_t)size_of_ours, false};
  const unsigned choice = fuzz_byte(input);
  if (choice < 4) return made;
  if (choice < 64) {
    made.size = (uint32_t)fuzz_below(input, size_of_ours + 1);
    if (made.size > 8) made.size -= made.size % step;
  } else if (choice < 112) {
    made.size += (uint32_t)fuzz_below(input, kExtraMax);
  }
  made.block = calloc(1, made.size < 4 ? 4 : made.size);
  FUZZ_CHECK(made.block != NULL);
  memcpy(made.block, ours, made.size < size_of_ours ? made.size : size_of_ours);
  memcpy(made.block, &made.size, made.size < 4 ? 4 : sizeof made.size);
  if (made.size > size_of_ours && fuzz_chance(input, 100)) {
    const size_t at = size_of_ours + fuzz_below(input, made.size - size_of_ours);
    ((char *)made.block)[at] = (char)fuzz_byte(input);
    made.has_unknown = ((char *)made.block)[at] != 0;
  }
  return made;
}

/* What of the struct the library knows: what the caller does not have is zero. */
static void read_foreign(const foreign *theirs, void *ours, size_t size_of_ours) {
  memset(ours, 0, size_of_ours);
  if (theirs->block) memcpy(ours, theirs->block, theirs->size < size_of_ours ? theirs->size : size_of_ours);
}

/* One less, as much, or one more than the other percentage, which may be left to its default. */
static uint32_t near_percent(fuzz_input *input, uint32_t other) {
  return (other ? other : 80) + fuzz_byte(input) % 3 - 1;
}

/* ---- Reasons to refuse ----------------------------------------------------------------------- */

typedef struct reasons {
  bool invalid, too_big, no_memory, bad_descriptor;
} reasons;

static void check_code(int code, const reasons *why) {
  const bool is_refused = why->invalid || why->too_big || why->bad_descriptor;
  if (code == 0) {
    FUZZ_CHECK(!is_refused);
  } else {
    FUZZ_CHECK((code == -EINVAL && why->invalid) || (code == -E2BIG && why->too_big) ||
               (code == -ENOMEM && why->no_memory) || (code == -EBADF && why->bad_descriptor));
  }
}

static void look_at_struct(const foreign *theirs, reasons *why) {
  if (theirs->block == NULL) return;
  if (theirs->size < sizeof(uint32_t)) why->invalid = true;
  if (theirs->has_unknown) why->too_big = true;
}

/* ---- Sinks ----------------------------------------------------------------------------------- */

typedef struct counts {
  uint64_t bytes;
  int events, closes, offers, delivered;
  size_t most_items, item_align, most_bytes, item_size;
  bool may_drop;
} counts;

static int64_t take(void *ctx, const void *data, size_t length) {
  counts *all = ctx;
  (void)data;
  all->bytes += length;
  return (int64_t)length;
}
static int64_t takev(void *ctx, const struct iovec *parts, int count) {
  int64_t total = 0;
  for (int index = 0; index < count; ++index) total += take(ctx, parts[index].iov_base, parts[index].iov_len);
  return total;
}
static int succeed(void *ctx) {
  (void)ctx;
  return 0;
}
static int64_t seek_to(void *ctx, int64_t offset, int whence) {
  (void)ctx;
  (void)whence;
  return offset;
}
static int64_t read_nothing(void *ctx, void *data, size_t length) {
  (void)ctx;
  (void)data;
  (void)length;
  return 0;
}
static int count_close(void *ctx) {
  ++((counts *)ctx)->closes;
  return 0;
}
static void count_event(void *arg, const bw_event_t *event) {
  FUZZ_SAME(event->size, sizeof *event);
  FUZZ_SAME(event->reserved, 0);
  __atomic_fetch_add(&((counts *)arg)->events, 1, __ATOMIC_RELAXED);
}

static foreign make_sink(fuzz_input *input, bw_sink_t *known, reasons *why) {
  bw_sink_t sink = {sizeof sink, 0, take, takev, succeed, seek_to, read_nothing, succeed, count_close};
  const unsigned without = fuzz_byte(input);
  foreign theirs;
  if (without & 1) sink.writev = NULL;
  if (without & 2) sink.flush = NULL;
  if (without & 4) sink.seek = NULL;
  if (without & 8) sink.read = NULL;
  if (without & 16) sink.sync = NULL;
  if (without & 32) sink.close = NULL;
  if ((without & 192) == 192) sink.write = NULL;
  if (fuzz_chance(input, 20)) sink.flags = (uint32_t)fuzz_any(input);
  theirs = make_foreign(input, &sink, sizeof sink, 8);
  look_at_struct(&theirs, why);
  read_foreign(&theirs, known, sizeof *known);
  if (known->flags != 0 || known->write == NULL) why->invalid = true;
  return theirs;
}

/* ---- Writers --------------------------------------------------------------------------------- */

typedef enum maker { kNew, kFdopen, kOpen, kLane, kMakers } maker;

/* What the options ask for, with all defaults filled in. */
static foreign make_options(fuzz_input *input, maker kind, counts *all, bw_options_t *known, reasons *why) {
  const bool is_file = kind == kOpen;
  bw_options_t options = BW_OPTIONS_INIT;
  foreign theirs;
  if (fuzz_chance(input, 160)) options.flags = fuzz_byte(input) & 31;
  if (fuzz_chance(input, 16)) options.flags = (uint32_t)fuzz_any(input);
  if (fuzz_chance(input, 128)) options.capacity = fuzz_any(input);
  if (fuzz_chance(input, 128)) options.buffers = (uint32_t)fuzz_below(input, kBuffersMax);
  if (fuzz_chance(input, 64)) options.engine = (uint32_t)fuzz_below(input, 4);
  if (fuzz_chance(input, 32)) options.linger_us = fuzz_any(input);
  if (fuzz_chance(input, 64)) options.preallocate = fuzz_any(input);
  if (fuzz_chance(input, 64)) options.high_percent = (uint32_t)fuzz_any(input);
  if (fuzz_chance(input, 64)) options.low_percent = (uint32_t)fuzz_any(input);
  if (fuzz_chance(input, 64)) options.low_percent = near_percent(input, options.high_percent);
  if (fuzz_chance(input, 128)) options.on_event = count_event;
  options.event_arg = all;
  theirs = make_foreign(input, &options, sizeof options, 1);
  look_at_struct(&theirs, why);
  read_foreign(&theirs, known, sizeof *known);
  /* A caller whose struct ends inside the callback has no pointer to call. */
  if (theirs.block && theirs.size > offsetof(bw_options_t, on_event) && theirs.size < sizeof(bw_options_t)) {
    const size_t from = offsetof(bw_options_t, on_event);
    memset((char *)theirs.block + from, 0, theirs.size - from);
    known->on_event = NULL;
  }
  if (known->flags & ~31u) why->invalid = true;
  if (is_file && known->engine > BW_ENGINE_PWRITE) why->invalid = true; /* the others ignore it */
  if (known->linger_us && (known->flags & BW_UNSHARED || kind == kLane)) why->invalid = true;
  if (known->capacity == 0) known->capacity = is_file ? 1u << 20 : 8192;
  if (known->capacity > 128u << 20 || (is_file && known->capacity % 4096)) why->invalid = true;
  if (known->high_percent == 0) known->high_percent = 80;
  if (known->low_percent == 0) known->low_percent = known->high_percent < 50 ? known->high_percent : 50;
  if (known->high_percent > 100 || known->low_percent > known->high_percent) why->invalid = true;
  if (known->buffers == 0) known->buffers = is_file ? 8 : 2;
  if ((!is_file && !(known->flags & BW_BACKGROUND)) || kind == kLane) known->buffers = 1;
  why->no_memory = known->capacity * known->buffers > kSmallMemory;
  return theirs;
}

/* The writer is what was asked for, and works. */
static void use_writer(bw_t *bw, maker kind, const bw_options_t *known, const bw_sink_t *sink, counts *all) {
  const bool is_unshared = kind == kLane || known->flags & BW_UNSHARED;
  bw_stats_t stats = BW_STATS_INIT;
  size_t length = 1;
  FUZZ_SAME(bw_capacity(bw), known->capacity);
  FUZZ_SAME(bw_get_stats(bw, &stats), 0);
  FUZZ_SAME(stats.buffers, known->buffers);
  FUZZ_CHECK((bw_buffer(bw, &length) != NULL) == is_unshared);
  FUZZ_SAME(length, 0);
  if (kind == kNew) {
    FUZZ_CHECK(bw_context(bw) == all);
    FUZZ_SAME(bw_seek(bw, 7, SEEK_SET), sink->seek ? 7 : -ESPIPE);
    FUZZ_SAME(bw_read(bw, &length, sizeof length), sink->read ? 0 : -EBADF);
  } else {
    FUZZ_CHECK(bw_context(bw) == NULL);
  }
  for (int turn = 0; turn < 3; ++turn) {
    int64_t count;
    do {
      count = bw_write(bw, "bytes", 5); /* the thread of ours may have the sink: with BW_NONBLOCK that is -EAGAIN */
    } while (count == -EAGAIN && known->flags & BW_NONBLOCK);
    FUZZ_CHECK(count == 5 || (known->flags & BW_NONBLOCK && count > 0));
  }
  if (kind == kNew) {
    int code;
    do {
      code = bw_sync(bw);
      if (code == -EAGAIN) usleep(100);
    } while (code == -EAGAIN && known->flags & BW_NONBLOCK);
    FUZZ_SAME(code, sink->sync ? 0 : -EOPNOTSUPP);
    FUZZ_SAME(bw_position(bw, BW_WRITTEN), bw_position(bw, BW_ACCEPTED));
  }
}

/* Frees it; events came if somebody listened and bytes went. */
static void end_writer(bw_t *bw, maker kind, const bw_options_t *known, const bw_sink_t *sink, counts *all) {
  bw_free(bw);
  if (kind == kNew) {
    FUZZ_CHECK(all->bytes >= 3);
    FUZZ_SAME(all->closes, sink->close != NULL);
  }
  FUZZ_SAME(__atomic_load_n(&all->events, __ATOMIC_RELAXED) > 0, known->on_event != NULL);
}

static void fuzz_writer(fuzz_input *input, maker kind) {
  counts all = {0};
  bw_options_t known;
  bw_sink_t sink = BW_SINK_INIT, parent_sink = BW_SINK_INIT;
  reasons why = {0};
  foreign their_sink = {0};
  bw_t *bw = (bw_t *)&all, *parent = NULL;
  foreign options = make_options(input, kind, &all, &known, &why);
  int code;
  if (kind == kNew) {
    their_sink = make_sink(input, &sink, &why);
    code = bw_new(&bw, their_sink.block, &all, options.block);
  } else if (kind == kLane) {
    parent_sink.write = take;
    FUZZ_SAME(bw_new(&parent, &parent_sink, &all, NULL), 0);
    code = bw_lane(&bw, parent, options.block);
  } else {
    const int fd = kind == kFdopen ? open("/dev/null", O_WRONLY | O_CLOEXEC) : memfd_create("fuzz", MFD_CLOEXEC);
    char path[64];
    FUZZ_CHECK(fd >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    /* Reserving that much would fill the machine's memory, which is where this file is. */
    if (known.preallocate > 1u << 20 && known.preallocate != UINT64_MAX && options.block &&
        options.size >= offsetof(bw_options_t, high_percent))
      memset((char *)options.block + offsetof(bw_options_t, preallocate), 0xff, sizeof known.preallocate);
    if (kind == kFdopen && fuzz_chance(input, 16)) {
      why.bad_descriptor = true;
      code = bw_fdopen(&bw, -1, options.block);
    } else {
      code = kind == kFdopen ? bw_fdopen(&bw, fd, options.block) : bw_open(&bw, path, O_RDWR, 0, options.block);
    }
    close(fd);
    if (code == -ENOSYS || code == -EPERM) FUZZ_CHECK(kind == kOpen && known.engine == BW_ENGINE_URING), code = 0;
  }
  check_code(code, &why);
  if (bw == NULL) {
    free(options.block);
    free(their_sink.block);
    bw_free(parent);
    return;
  }
  FUZZ_SAME(code, 0);
  /* The structs were read once. */
  if (options.block) memset(options.block, 0xee, options.size);
  free(options.block);
  free(their_sink.block);
  use_writer(bw, kind, &known, &sink, &all);
  if (kind == kNew) { /* and again, by bw_set_sink() */
    reasons other = {0};
    bw_sink_t second;
    foreign again = make_sink(input, &second, &other);
    counts more = {0};
    other.invalid |= again.block == NULL;
    code = bw_set_sink(bw, again.block, &more);
    check_code(code, &other);
    free(again.block);
    if (code == 0) {
      FUZZ_CHECK(bw_context(bw) == &more);
      bw_free(bw);
      FUZZ_SAME(all.closes, 0);
      FUZZ_SAME(more.closes, second.close != NULL);
      return;
    }
    FUZZ_CHECK(bw_context(bw) == &all);
  }
  end_writer(bw, kind, &known, &sink, &all);
  bw_free(parent);
}

/* ---- Batchers -------------------------------------------------------------------------------- */

static int take_batch(void *ctx, bw_batch_view_t *batch) {
  counts *all = ctx;
  size_t count, total = 0;
  const struct iovec *items = bw_batch_items(batch, &count);
  FUZZ_CHECK(count >= 1 && count <= all->most_items);
  for (size_t index = 0; index < count; ++index) {
    FUZZ_SAME((uintptr_t)items[index].iov_base % all->item_align, 0);
    FUZZ_CHECK(all->item_size == 0 || items[index].iov_len == all->item_size);
    total += items[index].iov_len;
  }
  FUZZ_CHECK(total <= all->most_bytes && total == bw_batch_bytes(batch));
  ++all->offers;
  return 0;
}
static void count_pressure(void *arg, int on) {
  (void)arg;
  FUZZ_CHECK(on == 0 || on == 1);
}
static void count_delivered(void *arg, const struct iovec *items, size_t count, int code) {
  (void)items;
  FUZZ_CHECK(code == 0 || (code == -ENOBUFS && ((counts *)arg)->may_drop));
  ((counts *)arg)->delivered += (int)count;
}

static foreign make_batch_options(fuzz_input *input, counts *all, bw_batch_options_t *known, reasons *why) {
  bw_batch_options_t options = BW_BATCH_OPTIONS_INIT;
  foreign theirs;
  if (fuzz_chance(input, 128)) options.flags = (fuzz_byte(input) & 1 ? 1 : 0) | (fuzz_byte(input) & 5) |
                                               (fuzz_byte(input) & 1 ? BW_BATCH_BISECT : 0);
  if (fuzz_chance(input, 16)) options.flags = (uint32_t)fuzz_any(input);
  if (fuzz_chance(input, 128)) options.max_items = fuzz_any(input);
  if (fuzz_chance(input, 128)) options.max_bytes = fuzz_any(input);
  if (fuzz_chance(input, 32)) options.linger_us = fuzz_any(input);
  if (fuzz_chance(input, 100)) options.buffers = (uint32_t)fuzz_below(input, 8);
  if (fuzz_chance(input, 60)) options.max_in_flight = (uint32_t)fuzz_any(input);
  if (fuzz_chance(input, 100)) options.when_full = (uint32_t)fuzz_below(input, 6);
  if (fuzz_chance(input, 60)) options.retries = (uint32_t)fuzz_any(input);
  if (fuzz_chance(input, 24)) options.backoff_us = fuzz_any(input);
  if (fuzz_chance(input, 60)) options.high_percent = (uint32_t)fuzz_any(input);
  if (fuzz_chance(input, 60)) options.low_percent = (uint32_t)fuzz_any(input);
  if (fuzz_chance(input, 60)) options.low_percent = near_percent(input, options.high_percent);
  if (fuzz_chance(input, 100)) options.item_align = (uint32_t)fuzz_any(input);
  if (fuzz_chance(input, 60)) options.when_failed = (uint32_t)fuzz_below(input, 3);
  if (fuzz_chance(input, 128)) options.pressure = count_pressure;
  if (fuzz_chance(input, 128)) options.delivered = count_delivered;
  if (fuzz_chance(input, 100)) options.item_size = (uint32_t)fuzz_any(input);
  if (fuzz_chance(input, 12)) options.reserved = (uint32_t)fuzz_any(input);
  options.arg = all;
  theirs = make_foreign(input, &options, sizeof options, 8);
  look_at_struct(&theirs, why);
  read_foreign(&theirs, known, sizeof *known);
  if (theirs.block && theirs.size <= offsetof(bw_batch_options_t, arg)) { /* callbacks without their argument */
    for (size_t at = offsetof(bw_batch_options_t, pressure); at < theirs.size; ++at) ((char *)theirs.block)[at] = 0;
    known->pressure = NULL;
    known->delivered = NULL;
  }
  if (known->flags & ~(uint32_t)(BW_UNSHARED | BW_BACKGROUND | BW_BATCH_BISECT)) why->invalid = true;
  if (known->reserved || known->when_full > 3 || known->when_failed > 1) why->invalid = true;
  if (known->linger_us && known->flags & BW_UNSHARED) why->invalid = true;
  if (known->max_items == 0) known->max_items = 1000;
  if (known->max_bytes == 0) known->max_bytes = 1u << 20;
  if (known->max_items > 1u << 20 || known->max_bytes > 128u << 20) why->invalid = true;
  if (known->buffers == 0) known->buffers = 2;
  if (known->high_percent == 0) known->high_percent = 80;
  if (known->low_percent == 0) known->low_percent = known->high_percent < 50 ? known->high_percent : 50;
  if (known->high_percent > 100 || known->low_percent > known->high_percent) why->invalid = true;
  if (known->item_align == 0) {
    known->item_align = 8;
    while (known->item_size % known->item_align) known->item_align /= 2;
  }
  if (known->item_align > 4096 || known->item_align & (known->item_align - 1)) why->invalid = true;
  if (!why->invalid) {
    if (known->item_size > known->max_bytes || known->item_size % known->item_align) why->invalid = true;
    const uint64_t slack = known->item_size ? 0 : known->item_align - 1;
    const uint64_t memory = (known->max_bytes + known->max_items * (slack + 24)) * (known->buffers + 1);
    why->no_memory = memory > kSmallMemory;
  }
  return theirs;
}

static void use_batcher(bw_batch_t *batch, const bw_batch_options_t *known, counts *all, bool has_sink) {
  enum { kSent = 5, kLengthMax = 64 };
  static const char kBytes[kLengthMax] = "bytes of an item";
  const size_t length = known->item_size                   ? known->item_size
                        : known->max_bytes < kLengthMax    ? known->max_bytes
                                                           : kLengthMax;
  void *item = length <= kLengthMax ? NULL : calloc(1, length);
  int accepted = 0;
  for (int turn = 0; turn < kSent; ++turn) {
    const int code = bw_batch_send(batch, item ? item : kBytes, length);
    FUZZ_CHECK(code == 0 || (code == -EAGAIN && known->when_full == BW_FULL_FAIL) ||
               (code == BW_BATCH_DROPPED && known->when_full >= BW_FULL_DROP_NEWEST));
    accepted += code == 0;
  }
  if (known->max_bytes < kLengthMax || known->item_size) {
    char *longer = calloc(1, length + 1);
    FUZZ_SAME(bw_batch_send(batch, longer, length + 1), known->item_size ? -EINVAL : -EMSGSIZE);
    if (known->item_size) FUZZ_SAME(bw_batch_start_send(batch, longer, length - 1), -EINVAL);
    free(longer);
  }
  free(item);
  FUZZ_SAME(bw_batch_close(batch), 0);
  if (known->delivered) FUZZ_SAME(all->delivered, accepted);
  if (has_sink && !all->may_drop) FUZZ_CHECK(all->offers > 0 || accepted == 0);
}

static void fuzz_batcher(fuzz_input *input, bool has_sink) {
  counts all = {0};
  bw_batch_options_t known;
  bw_batch_sink_t sink = {sizeof sink, 0, take_batch, succeed, count_close}, known_sink = {0};
  reasons why = {0};
  foreign options = make_batch_options(input, &all, &known, &why), their_sink = {0};
  bw_batch_t *batch = (bw_batch_t *)&all;
  bw_t *bw = NULL;
  int code;
  all.may_drop = known.when_full == BW_FULL_DROP_OLDEST;
  all.most_items = known.max_items;
  all.most_bytes = known.max_bytes;
  all.item_align = known.item_align;
  all.item_size = known.item_size;
  if (has_sink) {
    const unsigned without = fuzz_byte(input);
    if (without & 1) sink.flush = NULL;
    if (without & 2) sink.close = NULL;
    if ((without & 28) == 28) sink.write = NULL;
    if ((without & 224) == 224) sink.flags = (uint32_t)fuzz_any(input);
    their_sink = make_foreign(input, &sink, sizeof sink, 8);
    look_at_struct(&their_sink, &why);
    read_foreign(&their_sink, &known_sink, sizeof known_sink);
    if (known_sink.flags != 0 || known_sink.write == NULL) why.invalid = true;
    code = bw_batch_new(&batch, their_sink.block, &all, options.block);
  } else {
    bw_sink_t under = BW_SINK_INIT;
    under.write = take;
    FUZZ_SAME(bw_new(&bw, &under, &all, NULL), 0);
    code = bw_batch_to_writer(&batch, bw, fuzz_byte(input) & 1 ? "\n" : NULL, options.block);
  }
  check_code(code, &why);
  FUZZ_SAME(batch == NULL, code != 0);
  if (options.block) memset(options.block, 0xee, options.size);
  free(options.block);
  free(their_sink.block);
  if (batch) use_batcher(batch, &known, &all, has_sink);
  bw_batch_free(batch);
  FUZZ_SAME(all.closes, batch && has_sink && known_sink.close ? 1 : 0);
  bw_free(bw);
}

/* ---- Statistics ------------------------------------------------------------------------------ */

typedef struct subject {
  bw_t *bw;
  bw_batch_t *batch; /* one of the two is NULL */
} subject;

static int get_stats(const subject *of, void *stats) {
  return of->bw ? bw_get_stats(of->bw, stats) : bw_batch_get_stats(of->batch, stats);
}
static int64_t get_json(const subject *of, char *text, size_t size) {
  return of->bw ? bw_stats_json(of->bw, text, size) : bw_batch_stats_json(of->batch, text, size);
}

static void fuzz_stats(fuzz_input *input, const subject *of) {
  const size_t full_size = of->bw ? sizeof(bw_stats_t) : sizeof(bw_batch_stats_t);
  unsigned char full[sizeof(bw_stats_t) + sizeof(bw_batch_stats_t)];
  const uint32_t size = (uint32_t)fuzz_below(input, full_size + kExtraMax), ours = (uint32_t)full_size;
  unsigned char *block = malloc(size < 4 ? 4 : size);
  const size_t filled = size < full_size ? size : full_size;
  FUZZ_CHECK(block != NULL);
  memset(full, 0, sizeof full);
  memcpy(full, &ours, sizeof ours);
  FUZZ_SAME(get_stats(of, full), 0);
  memset(block, 0xa5, size < 4 ? 4 : size);
  memcpy(block, &size, sizeof size);
  FUZZ_SAME(get_stats(of, block), size < 4 ? -EINVAL : 0);
  FUZZ_CHECK(memcmp(block, &size, sizeof size) == 0);
  if (size >= 4) {
    FUZZ_CHECK(memcmp(block + 4, full + 4, filled - 4) == 0);
    for (size_t index = full_size; index < size; ++index) FUZZ_SAME(block[index], 0xa5);
  }
  free(block);
  FUZZ_SAME(get_stats(of, NULL), -EINVAL);
}

static void fuzz_json(fuzz_input *input, const subject *of) {
  enum { kRoom = 4096 };
  char full[kRoom];
  const int64_t length = get_json(of, full, sizeof full);
  const size_t size = (size_t)fuzz_below(input, (uint64_t)length + 3);
  char *text = malloc(size ? size : 1), last = '\0';
  int depth = 0, quotes = 0;
  FUZZ_CHECK(text != NULL && length > 2 && length < kRoom);
  FUZZ_SAME(strlen(full), length);
  FUZZ_CHECK(full[0] == '{' && full[length - 1] == '}');
  for (const char *each = full; *each; last = *each++) {
    depth += (*each == '{') - (*each == '}');
    quotes += *each == '"';
    FUZZ_CHECK(depth > 0 || each[1] == '\0');
    if (*each == '"' && quotes % 2) FUZZ_CHECK(last == '{' || last == ',');
    if (*each == ',') FUZZ_CHECK(last == '}' || (last >= '0' && last <= '9'));
  }
  FUZZ_CHECK(depth == 0 && quotes % 2 == 0);
  FUZZ_SAME(get_json(of, size ? text : NULL, size), length);
  if (size > 0) {
    const size_t kept = size - 1 < (size_t)length ? size - 1 : (size_t)length;
    FUZZ_CHECK(memcmp(text, full, kept) == 0 && text[kept] == '\0');
  }
  FUZZ_SAME(get_json(of, NULL, 1), -EINVAL);
  free(text);
}

static void fuzz_inside(fuzz_input *input) {
  counts all = {.most_items = 1000, .item_align = 8, .most_bytes = 1 << 20};
  bw_sink_t sink = BW_SINK_INIT;
  bw_batch_sink_t batch_sink = BW_BATCH_SINK_INIT;
  subject of = {NULL, NULL};
  sink.write = take;
  batch_sink.write = take_batch;
  if (fuzz_byte(input) & 1) {
    FUZZ_SAME(bw_new(&of.bw, &sink, &all, NULL), 0);
    FUZZ_SAME(bw_write(of.bw, "abc", 3), 3);
    if (fuzz_byte(input) & 1) FUZZ_SAME(bw_flush(of.bw), 0);
  } else {
    FUZZ_SAME(bw_batch_new(&of.batch, &batch_sink, &all, NULL), 0);
    FUZZ_SAME(bw_batch_send(of.batch, "abc", 3), 0);
    if (fuzz_byte(input) & 1) FUZZ_SAME(bw_batch_flush(of.batch), 0);
  }
  do {
    fuzz_stats(input, &of);
    fuzz_json(input, &of);
  } while (input->left > 0);
  bw_free(of.bw);
  bw_batch_free(of.batch);
}

/* ---- What takes no struct -------------------------------------------------------------------- */

static void fuzz_numbers(fuzz_input *input) {
  const int code = (int)fuzz_any(input);
  const size_t size = (size_t)(fuzz_byte(input) & 1 ? fuzz_any(input) % (1u << 20) : fuzz_below(input, 8) * 4096);
  const char *name = bw_err_name(code);
  unsigned char *block;
  FUZZ_CHECK(bw_strerror(code) != NULL && name != NULL);
  FUZZ_SAME(strcmp(bw_strerror(code), "unknown error") == 0, strcmp(name, "UNKNOWN") == 0);
  FUZZ_SAME(strcmp(name, "OK") == 0, code == 0);
  if (code > 0) FUZZ_CHECK(strcmp(name, "UNKNOWN") == 0);
  errno = 0;
  block = bw_alloc_aligned(size);
  if (size == 0 || size % 4096) {
    FUZZ_CHECK(block == NULL && errno == EINVAL);
  } else {
    FUZZ_CHECK(block != NULL && (uintptr_t)block % 4096 == 0);
    for (size_t index = 0; index < size; ++index) FUZZ_SAME(block[index], 0);
  }
  bw_free_aligned(block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = {data, size};
  const unsigned choice = fuzz_byte(&input) % 8;
  if (choice < kMakers) {
    fuzz_writer(&input, (maker)choice);
  } else if (choice < 6) {
    fuzz_batcher(&input, choice == 4);
  } else if (choice == 6) {
    fuzz_inside(&input);
  } else {
    fuzz_numbers(&input);
  }
  return 0;
}
