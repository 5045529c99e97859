/*
 * A sink of one's own: what a writer hands on becomes lines of hexadecimal digits in memory.
 *
 *   cc custom_sink.c $(pkg-config --cflags --libs bw) && ./a.out
 *
 * A sink is a struct of callbacks. Only `write` is required. This one has `flush` and `close` too, because it keeps
 * something back itself: a line is passed on when it is full, so somebody has to tell it when to end a short one.
 * The program then decodes the text and compares it with what it wrote.
 */
#include <bw/bw.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  kRecords = 2000,
  kFlushEvery = 500,    /* records */
  kMaxRecordBytes = 40,
  kLineBytes = 32,      /* bytes in a full line of text */
  kMaxTakenBytes = 1000 /* by one call of the sink */
};

/* ---- The sink ------------------------------------------------------------------------------------ */

typedef struct hex_sink {
  char *text; /* the lines that were passed on */
  size_t text_length;
  size_t text_room;
  unsigned char line[kLineBytes]; /* the line that is being filled */
  size_t line_length;
  unsigned writes;
  unsigned flushes;
  unsigned closes;
} hex_sink;

static int make_room(hex_sink *self, size_t bytes) {
  if (self->text_room - self->text_length >= bytes) return 0;
  const size_t room = 2 * self->text_room + bytes;
  char *text = realloc(self->text, room);
  if (!text) return -ENOMEM; /* a callback fails with a negative code, which reaches the caller unchanged */
  self->text = text;
  self->text_room = room;
  return 0;
}

/* Room must be there. */
static void end_line(hex_sink *self) {
  static const char digits[] = "0123456789abcdef";
  for (size_t index = 0; index < self->line_length; ++index) {
    self->text[self->text_length++] = digits[self->line[index] >> 4];
    self->text[self->text_length++] = digits[self->line[index] & 15];
  }
  self->text[self->text_length++] = '\n';
  self->line_length = 0;
}

/*
 * Takes bytes from the start and says how many. It may take fewer than it is offered, as write(2) may: the writer keeps
 * the rest and offers it again. What matters is that the answer is true: a byte that was counted is never offered
 * again, and one that was not counted will be.
 */
static int64_t hex_write(void *ctx, const void *data, size_t length) {
  hex_sink *self = ctx;
  const unsigned char *bytes = data;
  if (length > kMaxTakenBytes) length = kMaxTakenBytes;
  /* All the memory first: then nothing can fail half-way. */
  const int code = make_room(self, 2 * kLineBytes + 3 * length);
  if (code < 0) return code;
  for (size_t index = 0; index < length; ++index) {
    self->line[self->line_length++] = bytes[index];
    if (self->line_length == kLineBytes) end_line(self);
  }
  ++self->writes;
  return (int64_t)length;
}

/* Called by bw_flush(), bw_sync() and bw_close(), once the bytes before it were taken. */
static int hex_flush(void *ctx) {
  hex_sink *self = ctx;
  const int code = make_room(self, 2 * kLineBytes + 1);
  if (code < 0) return code;
  if (self->line_length > 0) end_line(self);
  ++self->flushes;
  return 0;
}

/* Called once. What `ctx` points to is the caller's again afterwards. */
static int hex_close(void *ctx) {
  hex_sink *self = ctx;
  ++self->closes;
  return 0;
}

/* ---- Using it ------------------------------------------------------------------------------------ */

static size_t make_record(unsigned char record[kMaxRecordBytes], unsigned sequence) {
  const size_t length = 1 + sequence * 7 % kMaxRecordBytes;
  for (size_t index = 0; index < length; ++index) record[index] = (unsigned char)(sequence * 31 + index);
  return length;
}

static int write_records(bw_t *bw) {
  unsigned char record[kMaxRecordBytes];
  for (unsigned sequence = 0; sequence < kRecords; ++sequence) {
    const size_t length = make_record(record, sequence);
    const int64_t position = bw_append(bw, record, length); /* the whole record, or a code */
    if (position < 0) return (int)position;
    if ((sequence + 1) % kFlushEvery == 0) {
      const int code = bw_flush(bw);
      if (code < 0) return code;
    }
  }
  return bw_close(bw);
}

/* ---- Checking it --------------------------------------------------------------------------------- */

static int value_of(char digit) {
  return digit >= 'a' ? digit - 'a' + 10 : digit - '0';
}

/* True if the text stands for exactly the records that were written. */
static bool is_right(const hex_sink *sink, size_t *bytes) {
  unsigned char record[kMaxRecordBytes];
  size_t place = 0;
  *bytes = 0;
  for (unsigned sequence = 0; sequence < kRecords; ++sequence) {
    const size_t length = make_record(record, sequence);
    for (size_t index = 0; index < length; ++index) {
      if (place < sink->text_length && sink->text[place] == '\n') ++place;
      if (place + 2 > sink->text_length) return false;
      if (value_of(sink->text[place]) * 16 + value_of(sink->text[place + 1]) != record[index]) return false;
      place += 2;
    }
    *bytes += length;
  }
  return place + 1 == sink->text_length && sink->text[place] == '\n';
}

int main(void) {
  hex_sink state = {0};
  bw_sink_t sink = BW_SINK_INIT; /* sets `size`; every callback that stays NULL means "this sink cannot" */
  sink.write = hex_write;
  sink.flush = hex_flush;
  sink.close = hex_close;

  bw_t *bw;
  int code = bw_new(&bw, &sink, &state, NULL); /* NULL: an inline writer with a buffer of 8 KiB */
  if (code == 0) {
    code = write_records(bw);
    bw_free(bw); /* from here on nobody calls the sink */
  }
  if (code < 0) {
    fprintf(stderr, "custom_sink: %s (%s)\n", bw_strerror(code), bw_err_name(code));
    free(state.text);
    return 1;
  }

  size_t bytes;
  /* One flush for each bw_flush(), and one by bw_close(). */
  const bool ok = is_right(&state, &bytes) && state.flushes == kRecords / kFlushEvery + 1 && state.closes == 1;
  printf("custom_sink: %d records, %zu bytes, %zu characters of text in %u writes: %s\n", kRecords, bytes,
         state.text_length, state.writes, ok ? "ok" : "WRONG");
  free(state.text);
  return ok ? 0 : 1;
}
