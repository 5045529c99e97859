#include "shim_batch.h"

#include "_cgo_export.h"

static void set_ended(uintptr_t ended) {
  if (ended) bwgo_set_ended(ended);
}

static int on_write(void *token, bw_batch_view_t *view) {
  bwgo_offer offer = {
      .view = view,
      .serial = bw_batch_serial(view),
      .first = bw_batch_first(view),
      .attempt = bw_batch_attempt(view),
  };
  offer.items = (struct iovec *)bw_batch_items(view, &offer.count);
  const struct bwgoBatchWrite_return result = bwgoBatchWrite((uintptr_t)token, &offer, bwgo_in_call());
  set_ended(result.r1);
  return result.r0;
}

static void on_pressure(void *token, int on) { set_ended(bwgoBatchPressure((uintptr_t)token, on, bwgo_in_call())); }

static void on_delivered(void *token, const struct iovec *items, size_t count, int code) {
  set_ended(bwgoBatchDelivered((uintptr_t)token, (struct iovec *)items, count, code, bwgo_in_call()));
}

static void set_callbacks(bw_batch_options_t *options, bwgo_listens listens, uintptr_t token) {
  options->pressure = listens.pressure ? on_pressure : NULL;
  options->delivered = listens.delivered ? on_delivered : NULL;
  options->arg = (void *)token;
}

int bwgo_batch_new(bw_batch_t **out, bw_batch_options_t options, bwgo_listens listens, uintptr_t token) {
  bw_batch_sink_t sink = BW_BATCH_SINK_INIT;
  sink.write = on_write;
  set_callbacks(&options, listens, token);
  return bw_batch_new(out, &sink, (void *)token, &options);
}

int bwgo_batch_to_writer(bw_batch_t **out, bw_t *writer, const char *separator, bw_batch_options_t options,
                         bwgo_listens listens, uintptr_t token) {
  set_callbacks(&options, listens, token);
  return bw_batch_to_writer(out, writer, separator, &options);
}

bwgo_answer bwgo_batch_send(bw_batch_t *batch, const char *item, size_t length) {
  UNDER_CALL(bw_batch_send(batch, item, length));
}

bwgo_answer bwgo_batch_start_send(bw_batch_t *batch, const char *item, size_t length) {
  UNDER_CALL(bw_batch_start_send(batch, item, length));
}

/* Where the room is gone again, or too small for this item, the next poll waits for more. */
static int poll_send(bw_batch_t *batch, const char *item, size_t length, const bw_waker_t *wake) {
  for (;;) {
    const int ready = bw_batch_poll_ready(batch, wake);
    if (ready < 0) return ready;
    const int sent = bw_batch_start_send(batch, item, length);
    if (sent != -EAGAIN) return sent;
  }
}

bwgo_answer bwgo_batch_poll_send(bw_batch_t *batch, const char *item, size_t length, uintptr_t token) {
  UNDER_CALL(poll_send(batch, item, length, WAKER(token)));
}

bwgo_answer bwgo_batch_poll_flush(bw_batch_t *batch, uintptr_t token) {
  UNDER_CALL(bw_batch_poll_flush(batch, WAKER(token)));
}

bwgo_answer bwgo_batch_poll_close(bw_batch_t *batch, uintptr_t token) {
  UNDER_CALL(bw_batch_poll_close(batch, WAKER(token)));
}

bwgo_answer bwgo_batch_discard(bw_batch_t *batch) { UNDER_CALL(bw_batch_discard(batch)); }

bwgo_answer bwgo_batch_wake(bw_batch_t *batch) { UNDER_CALL(bw_batch_wake(batch)); }

bwgo_answer bwgo_batch_done(bw_batch_view_t *taken, int code, const int *codes) {
  UNDER_CALL(bw_batch_done(taken, code, codes));
}

bwgo_answer bwgo_batch_free(bw_batch_t *batch) { UNDER_CALL((bw_batch_free(batch), 0)); }
