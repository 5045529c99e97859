/*
 * Measurements for PostgreSQL, each row exactly once, also when this program is killed and started again.
 *
 *   cc drain_postgres.c $(pkg-config --cflags --libs bw-postgres) && ./a.out "host=/run/postgresql dbname=test"
 *
 * The rows have numbers, 1 to 100,000. The drain keeps under the writer's name how far they are in the table, and tells
 * it at the beginning; the program sends from there on. Every thousandth row is bad: it is refused with the server's
 * message, and the others of its batch arrive. Without an argument and without PGHOST the program says so and ends.
 */
#include <bw/postgres.h>
#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kRows = 100000, kBadEvery = 1000 };

typedef struct state {
  sem_t ready;
  uint64_t position;  /* written before `ready` is posted */
  unsigned refused;   /* by the drain's thread; read once the batcher is freed */
  char why[200];      /* the last of them */
} state;

/* ---- What the drain tells, in its own thread ----------------------------------------------------- */

static void on_ready(void *arg, uint64_t position) {
  state *self = arg;
  self->position = position;
  sem_post(&self->ready);
}

static void on_refused(void *arg, const struct iovec *items, size_t count, const bw_postgres_error_t *error) {
  state *self = arg;
  (void)items;
  self->refused += (unsigned)count;
  snprintf(self->why, sizeof self->why, "%s %s", error->sqlstate, error->message);
}

static void on_failure(void *arg, const bw_postgres_error_t *error) {
  (void)arg;
  fprintf(stderr, "drain_postgres: %s (%s); trying on\n", error->message, bw_err_name(error->code));
}

/* ---- Sending ------------------------------------------------------------------------------------- */

static int send_row(bw_batch_t *batch, uint64_t number) {
  char id[24], value[24];
  snprintf(id, sizeof id, "%" PRIu64, number);
  snprintf(value, sizeof value, "%s", number % kBadEvery == 0 ? "broken" : "21.5");
  const void *const row[] = {id, number % 3 ? "cellar\tnorth" : NULL, value}; /* what must be escaped is escaped */
  return bw_postgres_send(batch, row, NULL, 3, BW_POSTGRES_TEXT);
}

static int send_rows(bw_batch_t *batch, uint64_t first) {
  for (uint64_t number = first; number <= kRows; ++number) {
    const int code = send_row(batch, number); /* waits while all batches are in use */
    if (code < 0) return code;
  }
  const int code = bw_batch_close(batch);
  return code == -EINVAL ? 0 : code; /* rows were refused: it is told once, and here it is expected */
}

int main(int argc, char **argv) {
  if (argc < 2 && !getenv("PGHOST")) {
    printf("drain_postgres: no server; give a conninfo, with a table made by\n"
           "  CREATE TABLE measurements (id bigint PRIMARY KEY, place text, value float8)\n");
    return 77;
  }
  static state self;
  if (sem_init(&self.ready, 0, 0) != 0) return 1;
  bw_postgres_options_t options = BW_POSTGRES_OPTIONS_INIT;
  options.conninfo = argc > 1 ? argv[1] : NULL;
  options.table = "measurements";
  options.columns = (const char *const[]){"id", "place", "value"};
  options.column_count = 3;
  options.writer = "drain_postgres example";
  options.on_ready = on_ready;
  options.on_refused = on_refused;
  options.on_failure = on_failure;
  options.arg = &self;
  bw_batch_options_t batching = BW_BATCH_OPTIONS_INIT;
  batching.flags = BW_BACKGROUND | BW_BATCH_BISECT;
  batching.max_items = 5000;
  batching.linger_us = 10000; /* a row waits so long for others to come with it */
  batching.retries = 10;
  batching.backoff_us = 100000;

  bw_batch_t *batch;
  bw_batch_stats_t stats = BW_BATCH_STATS_INIT;
  int code = bw_postgres_new(&batch, &options, &batching);
  if (code == 0) {
    while (sem_wait(&self.ready) != 0) {
    }
    printf("drain_postgres: %" PRIu64 " rows were there already\n", self.position);
    code = send_rows(batch, self.position + 1);
    bw_batch_get_stats(batch, &stats);
  }
  bw_batch_free(batch); /* NULL is fine */
  if (code < 0) {
    fprintf(stderr, "drain_postgres: %s (%s)\n", bw_strerror(code), bw_err_name(code));
    return 1;
  }
  printf("drain_postgres: %" PRIu64 " rows sent in %" PRIu64 " batches, %u refused (%s)\n", stats.total_items,
         stats.total_batches, self.refused, self.why);
  return 0;
}
