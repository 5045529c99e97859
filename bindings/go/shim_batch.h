/* Batcher (batch.go) in C. `token` is a cgo.Handle of a *batcher; as a waker 0 means that there is none. */
#ifndef BWGO_SHIM_BATCH_H
#define BWGO_SHIM_BATCH_H

#include "shim.h"

/* A batch, as the sink's `write` is offered it. */
typedef struct bwgo_offer {
  bw_batch_view_t *view;
  struct iovec *items;
  size_t count;
  uint64_t serial;
  uint64_t first;
  uint32_t attempt;
} bwgo_offer;

/* Which callbacks of bw_batch_options_t lead to Go. */
typedef struct bwgo_listens {
  bool pressure;
  bool delivered;
} bwgo_listens;

/* Batchers whose callbacks are those of the batcher behind `token`. */
int bwgo_batch_new(bw_batch_t **out, bw_batch_options_t options, bwgo_listens listens, uintptr_t token);
int bwgo_batch_to_writer(bw_batch_t **out, bw_t *writer, const char *separator, bw_batch_options_t options,
                         bwgo_listens listens, uintptr_t token);

bwgo_answer bwgo_batch_send(bw_batch_t *batch, const char *item, size_t length);
bwgo_answer bwgo_batch_start_send(bw_batch_t *batch, const char *item, size_t length);
/* bw_batch_poll_ready(), then bw_batch_start_send(). */
bwgo_answer bwgo_batch_poll_send(bw_batch_t *batch, const char *item, size_t length, uintptr_t token);
bwgo_answer bwgo_batch_poll_flush(bw_batch_t *batch, uintptr_t token);
bwgo_answer bwgo_batch_poll_close(bw_batch_t *batch, uintptr_t token);
bwgo_answer bwgo_batch_discard(bw_batch_t *batch);
bwgo_answer bwgo_batch_wake(bw_batch_t *batch);
bwgo_answer bwgo_batch_done(bw_batch_view_t *taken, int code, const int *codes);
bwgo_answer bwgo_batch_free(bw_batch_t *batch);

#endif
