/*
 * Rows for a slow service that takes many at once, fails now and then, and answers for each row by itself.
 *
 *   cc batch_rows.c $(pkg-config --cflags --libs bw) && ./a.out
 *
 * The program sends single rows; a batcher gathers them, and a thread of the library makes the calls. A call that fails
 * is made again after a back-off. Of one that succeeds, some rows may be stored, some locked (they are tried again, as
 * a smaller batch) and some bad (they are given up, with their code). `delivered` is told what became of each row. The
 * service is a fake in this program; in the end its table is compared with what it should hold.
 */
#define _POSIX_C_SOURCE 200809L
#include <bw/bw.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { kRows = 5000, kMaxRowsInCall = 100, kBadEvery = 1000, kLockedEvery = 70, kBrokenCallEvery = 5 };

typedef struct row {
  uint32_t id; /* 0 to kRows - 1 */
  uint32_t value;
} row;

static uint32_t value_of(uint32_t id) {
  return id * 2654435761u;
}

static bool is_bad(uint32_t id) {
  return id % kBadEvery == 0;
}

/* ---- The service, and the sink that calls it ----------------------------------------------------- */

typedef struct service {
  uint32_t table[kRows];
  unsigned stored[kRows]; /* how often each row was */
  bool was_locked[kRows];
  unsigned calls;
} service;

static int store(service *self, const row *one) {
  if (one->id >= kRows || is_bad(one->id)) return -EINVAL - BW_FINAL; /* it would never succeed: do not try again */
  if (one->id % kLockedEvery == 1 && !self->was_locked[one->id]) {
    self->was_locked[one->id] = true;
    return -EBUSY; /* tried again */
  }
  self->table[one->id] = one->value;
  ++self->stored[one->id];
  return 0;
}

/* Called by the library's thread alone. What it returns is the answer for the whole batch. */
static int call_service(void *ctx, bw_batch_view_t *batch) {
  service *self = ctx;
  const struct timespec latency = {.tv_nsec = 200000};
  nanosleep(&latency, NULL);
  if (++self->calls % kBrokenCallEvery == 0) return -ECONNRESET; /* nothing was stored: all of it again */

  int codes[kMaxRowsInCall];
  size_t count;
  const struct iovec *items = bw_batch_items(batch, &count);
  for (size_t index = 0; index < count; ++index) codes[index] = store(self, items[index].iov_base);
  /* Answers for each row. It could be done later, by another thread; the return value says that it is done. */
  const int code = bw_batch_done(batch, 0, codes);
  return code < 0 ? code : BW_BATCH_TAKEN;
}

/* ---- What became of each row --------------------------------------------------------------------- */

typedef struct fates {
  unsigned settled[kRows]; /* how often each row was */
  int codes[kRows];
} fates;

static void on_delivered(void *arg, const struct iovec *items, size_t count, int code) {
  fates *self = arg;
  for (size_t index = 0; index < count; ++index) {
    const row *one = items[index].iov_base;
    ++self->settled[one->id];
    self->codes[one->id] = code; /* the bare one, without BW_FINAL */
  }
}

static int send_rows(bw_batch_t *batch) {
  for (uint32_t id = 0; id < kRows; ++id) {
    const row one = {id, value_of(id)};
    const int code = bw_batch_send(batch, &one, sizeof one); /* waits while all batches are in use */
    if (code < 0) return code;
  }
  /* All settled. The code of rows that were given up is told once, and here it is expected. */
  const int code = bw_batch_flush(batch);
  if (code != -EINVAL) return code < 0 ? code : -EPROTO;
  return bw_batch_close(batch);
}

static bool is_right(const service *api, const fates *told, const bw_batch_stats_t *stats) {
  unsigned bad = 0;
  for (uint32_t id = 0; id < kRows; ++id) {
    const bool is_good = !is_bad(id);
    if (told->settled[id] != 1 || told->codes[id] != (is_good ? 0 : -EINVAL)) return false;
    if (api->stored[id] != (is_good ? 1u : 0u) || api->table[id] != (is_good ? value_of(id) : 0u)) return false;
    if (!is_good) ++bad;
  }
  return stats->total_items == kRows - bad && stats->failed_items == bad && stats->retries > 0;
}

int main(void) {
  static service api;
  static fates told;
  bw_batch_sink_t sink = BW_BATCH_SINK_INIT;
  sink.write = call_service;
  bw_batch_options_t options = BW_BATCH_OPTIONS_INIT;
  options.flags = BW_BACKGROUND;
  options.max_items = kMaxRowsInCall;
  options.item_size = sizeof(row); /* all of one size: they lie as an array */
  options.linger_us = 1000;        /* a row waits so long for others to come with it */
  options.retries = 5;
  options.backoff_us = 500; /* then 1000, 2000, ... */
  options.delivered = on_delivered;
  options.arg = &told;

  bw_batch_stats_t stats = BW_BATCH_STATS_INIT;
  bw_batch_t *batch;
  int code = bw_batch_new(&batch, &sink, &api, &options);
  if (code == 0) code = send_rows(batch);
  if (code == 0) code = bw_batch_get_stats(batch, &stats);
  bw_batch_free(batch); /* NULL is fine */
  if (code < 0) {
    fprintf(stderr, "batch_rows: %s (%s)\n", bw_strerror(code), bw_err_name(code));
    return 1;
  }
  const bool ok = is_right(&api, &told, &stats);
  printf("batch_rows: %" PRIu64 " rows stored in %u calls, %" PRIu64 " given up, %" PRIu64 " retries: %s\n",
         stats.total_items, api.calls, stats.failed_items, stats.retries, ok ? "ok" : "WRONG");
  return ok ? 0 : 1;
}
