/*
 * A sink whose answers come from an input, and which keeps a record of all that it was asked.
 *
 * Where the answers have ended it takes all, and everything succeeds, so no program goes on for ever. Calls that
 * overlap are found at once. Thread safety: the record may be read by another thread while it holds `mutex`.
 */
#ifndef BW_TESTS_SCRIPT_SINK_H
#define BW_TESTS_SCRIPT_SINK_H

#include <pthread.h>

#include "fuzz.h"

typedef enum sink_kind { kWrite, kWritev, kFlush, kSeek, kRead, kSync, kClose, kSinkKinds } sink_kind;

typedef struct sink_call {
  sink_kind kind;
  size_t from, length; /* what was offered: a part of script_sink.offered. read: `length` bytes were asked for */
  int64_t offset;      /* seek */
  int whence;          /* seek */
  int64_t answer;      /* as the writer takes it: a claim of more than was offered is BW_ESINK */
  bool woke;           /* bw_wake() came inside the call */
  bool has_inner;      /* a write of one byte from inside the call was taken */
  int sink;            /* which of `sinks` */
} sink_call;

typedef struct script_sink script_sink;

/* What a writer gets as ctx: there are two, so that one can replace the other. */
typedef struct sink_context {
  script_sink *script;
  int number;
} sink_context;

struct script_sink {
  fuzz_input answers;
  pthread_mutex_t mutex;
  bw_t *bw; /* whose sink it is */
  bool only_wakes; /* -EAGAIN always comes with a bw_wake() */
  bool is_quiet;   /* no calls of the writer from inside */
  sink_context sinks[2];
  fuzz_bytes offered;
  sink_call *calls;
  size_t call_count, call_room;
  int64_t place, size; /* where it stands, and how long it is */
  int inside;
  void (*hook)(void *arg, const sink_call *call); /* after each call, under the mutex */
  void *hook_arg;
};

/* The byte that is written from inside a call. */
enum { kInnerByte = 0xfa };

void script_sink_init(script_sink *script, fuzz_input answers);
void script_sink_destroy(script_sink *script);
/* Its callbacks; bit `kind` of `has`: the optional ones that are there. */
bw_sink_t script_sink_ops(unsigned has);
/* What read gives at `place`. */
unsigned char script_sink_byte(uint64_t place);

#endif
