/*
 * What an inline writer is to do, said a second time: which calls of the sink a call makes, with which bytes, and what
 * it gives. After the writer has made a call, the model makes it too: it finds its sink calls in the record of the
 * script sink, and takes from there what the sink answered.
 *
 * A model with a parent is a lane: its sink is the parent's model.
 */
#ifndef BW_TESTS_STREAM_MODEL_H
#define BW_TESTS_STREAM_MODEL_H

#include "script_sink.h"

enum { kNotesMax = 12, kSpansMax = 6, kSpillsMax = 64 };

typedef struct model_note {
  int64_t position;
  int level;
  bool is_open; /* not answered yet, as far as the model knows */
} model_note;

typedef struct model_span {
  bool is_open;
  size_t from, length; /* in the buffer */
} model_span;

typedef struct stream_model stream_model;
struct stream_model {
  const script_sink *script;
  size_t *next; /* of script->calls */
  stream_model *parent;
  bool tries_twice; /* a lane in a call that waits: it asks a parent that is not ready again, to be woken by it */
  uint64_t capacity;
  bool is_unshared;
  unsigned has; /* optional callbacks, bit kind */
  int sink;     /* which of the two */
  /* The stream. */
  fuzz_bytes spill, buffer; /* spill: what appends could not give to the sink, in front of the buffer */
  size_t spills[kSpillsMax], spill_count;
  int64_t written, durable;
  bool has_synced; /* once, at least */
  int64_t floor;   /* shared, while spans are open: accepted at least to here */
  int held, sync_error;
  bool is_closed;
  int lanes;
  bool span_open; /* unshared */
  model_span open[kSpansMax];
  bool seek_pending;
  int64_t seek_offset;
  int seek_whence;
  model_note notes[kNotesMax];
  size_t note_count;
  /* What has been told and counted. */
  fuzz_bytes events; /* bw_event_t without data */
  uint64_t sink_writes, written_bytes, discarded_bytes, flushes, errors, resumes, pieces, pieces_most, bypasses_most;
  bool was_ready_wait; /* the last code was an -EAGAIN of the sink */
  bool was_woken;      /* and a bw_wake() came inside it */
};

typedef enum put_kind { kPutWrite, kPutAppend, kPutPoll } put_kind;

void model_destroy(stream_model *model);
int64_t model_end(const stream_model *model);
size_t model_unwritten(const stream_model *model);
bool model_has_spans(const stream_model *model); /* shared ones */
int64_t model_oldest_span(const stream_model *model); /* its position, or the end */

int64_t model_put(stream_model *model, put_kind kind, bool vectored, const struct iovec *parts, int count);
int model_reserve(stream_model *model, size_t length, size_t *room);
int model_flush(stream_model *model);
int model_sync(stream_model *model);
int64_t model_seek(stream_model *model, int64_t offset, int whence);
int64_t model_poll_seek(stream_model *model);
int model_start_seek(stream_model *model, int64_t offset, int whence);
int64_t model_read(stream_model *model, size_t length, const void *data);
int model_wait(stream_model *model, int64_t position, int level, bool may_do_io);
int model_notify(stream_model *model, int64_t position, int level);
int model_close(stream_model *model);
int model_resume(stream_model *model);
int64_t model_discard(stream_model *model);
int model_set_sink(stream_model *model, unsigned has, int sink);
/* bw_free(): what is left in `spill` and `buffer` afterwards is lost, with `code`. */
void model_free(stream_model *model, int *code);

#endif
