/*
 * A sink fails part-way; another one takes over; no byte is lost, and none comes twice.
 *
 *   cc recovery.c $(pkg-config --cflags --libs bw) -pthread && ./a.out
 *
 * The first sink is a disk that gets full in the middle of a write. The writer keeps what the disk did not take:
 * bw_unwritten() shows it, and bw_set_sink() sends it to a second disk. The program does this twice: with an inline
 * writer, which tells the thread that filled the buffer, and with a background writer, which holds the code and
 * refuses everything until somebody has dealt with it.
 */
#include <bw/bw.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
  kTotalBytes = 100000,
  kPieceBytes = 700,
  kSmallDisk = 33333, /* no multiple of a piece or a buffer */
  kMaxDisk = 1 << 17
};

/* ---- A disk, in memory --------------------------------------------------------------------------- */

typedef struct disk {
  size_t size;
  size_t used;
  unsigned char bytes[kMaxDisk];
} disk;

static int64_t disk_write(void *ctx, const void *data, size_t length) {
  disk *self = ctx;
  const size_t room = self->size - self->used;
  if (room == 0) return -ENOSPC;
  if (length > room) length = room; /* takes what fits; the next call says that it is full */
  memcpy(self->bytes + self->used, data, length);
  self->used += length;
  return (int64_t)length;
}

/* ---- The stream ---------------------------------------------------------------------------------- */

static unsigned char byte_at(size_t position) {
  return (unsigned char)(position * 2654435761u >> 11);
}

static size_t min_size(size_t one, size_t other) {
  return one < other ? one : other;
}

/* Writes the stream from *position on, which always says how far it has come. 0 or a code. */
static int write_stream(bw_t *bw, size_t *position) {
  unsigned char piece[kPieceBytes];
  while (*position < kTotalBytes) {
    const size_t length = min_size(kPieceBytes, kTotalBytes - *position);
    for (size_t index = 0; index < length; ++index) piece[index] = byte_at(*position + index);
    const int64_t accepted = bw_write(bw, piece, length);
    if (accepted < 0) return (int)accepted; /* nothing of this piece */
    *position += (size_t)accepted;          /* if it was only a part, the next call says why */
  }
  return bw_flush(bw);
}

/* ---- What is left -------------------------------------------------------------------------------- */

typedef struct leftover {
  size_t position; /* of the next byte that is shown */
  bool is_right;
} leftover;

/* Called for each run of unwritten bytes, in order. A program could save them here. */
static void look_at(void *arg, const void *data, size_t length) {
  leftover *self = arg;
  const unsigned char *bytes = data;
  for (size_t index = 0; index < length; ++index) {
    self->is_right = self->is_right && bytes[index] == byte_at(self->position++);
  }
}

/* True if the unwritten bytes are exactly those between what the disk has and what was accepted. */
static bool is_left(bw_t *bw, const disk *first, size_t accepted, int64_t *unwritten) {
  leftover left = {.position = first->used, .is_right = true};
  *unwritten = bw_unwritten(bw, look_at, &left);
  return left.is_right && *unwritten == (int64_t)(accepted - first->used) && left.position == accepted &&
         bw_position(bw, BW_ACCEPTED) == (int64_t)accepted && bw_position(bw, BW_WRITTEN) == (int64_t)first->used;
}

static bool is_range(const disk *self, size_t from) {
  for (size_t index = 0; index < self->used; ++index) {
    if (self->bytes[index] != byte_at(from + index)) return false;
  }
  return true;
}

/* ---- Recovery ------------------------------------------------------------------------------------ */

/* Sets how many bytes were left when the first disk was full. */
static bool recover(uint32_t flags, int64_t *unwritten) {
  static disk first, second;
  first.size = kSmallDisk;
  first.used = 0;
  second.size = kMaxDisk;
  second.used = 0;

  bw_sink_t sink = BW_SINK_INIT;
  sink.write = disk_write;
  bw_options_t options = BW_OPTIONS_INIT;
  options.flags = flags;
  options.capacity = 4096;
  bw_t *bw;
  int code = bw_new(&bw, &sink, &first, &options);
  if (code < 0) {
    fprintf(stderr, "recovery: %s (%s)\n", bw_strerror(code), bw_err_name(code));
    return false;
  }

  size_t position = 0;
  bool ok = write_stream(bw, &position) == -ENOSPC;
  /* An inline writer tries again at the next call; a background writer holds the code. */
  ok = ok && bw_error(bw) == (flags & BW_BACKGROUND ? -ENOSPC : 0);
  ok = ok && bw_flush(bw) == -ENOSPC;
  ok = ok && is_left(bw, &first, position, unwritten);

  /* Had the first disk been given room again, bw_resume() would do. The first one is not called any more. */
  ok = ok && bw_set_sink(bw, &sink, &second) == 0 && bw_error(bw) == 0;
  ok = ok && write_stream(bw, &position) == 0 && position == kTotalBytes;
  ok = ok && bw_close(bw) == 0;
  bw_free(bw);

  ok = ok && first.used == kSmallDisk && first.used + second.used == kTotalBytes;
  ok = ok && is_range(&first, 0) && is_range(&second, first.used);
  return ok;
}

int main(void) {
  int64_t left_inline = 0;
  int64_t left_background = 0;
  bool ok = recover(0, &left_inline);
  ok = recover(BW_BACKGROUND, &left_background) && ok;
  printf("recovery: %d bytes on two disks; the first left %lld (inline), %lld (background) for the second: %s\n",
         kTotalBytes, (long long)left_inline, (long long)left_background, ok ? "ok" : "WRONG");
  return ok ? 0 : 1;
}
