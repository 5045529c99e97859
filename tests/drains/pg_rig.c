#include "pg_rig.h"

#include <assert.h>

pg_server server;

int pg_group_setup(void **state) {
  (void)state;
  pg_server_make(&server);
  return 0;
}

int pg_group_teardown(void **state) {
  (void)state;
  pg_server_remove(&server);
  return 0;
}

/* ---- What it told ---------------------------------------------------------------------------- */

static void on_delivered(void *arg, const struct iovec *items, size_t count, int code) {
  pg_rig *rig = arg;
  pthread_mutex_lock(&rig->mutex);
  for (size_t i = 0; i < count; ++i) {
    char text[16] = "";
    memcpy(text, items[i].iov_base, items[i].iov_len < sizeof text - 1 ? items[i].iov_len : sizeof text - 1);
    const int id = atoi(text); /* 0: what has none */
    if (id < 0 || id >= PG_MOST_IDS) continue;
    ++rig->settled[id];
    rig->codes[id] = code;
  }
  pthread_mutex_unlock(&rig->mutex);
  if (code == 0) atomic_fetch_add(&rig->delivered_items, (int)count);
  atomic_fetch_add(&rig->settled_items, (int)count);
}

static void record(pg_refused *out, const bw_postgres_error_t *error) {
  out->code = error->code;
  snprintf(out->sqlstate, sizeof out->sqlstate, "%s", error->sqlstate);
  snprintf(out->message, sizeof out->message, "%s", error->message);
  snprintf(out->detail, sizeof out->detail, "%s", error->detail);
  snprintf(out->context, sizeof out->context, "%s", error->context);
}

static void on_ready(void *arg, uint64_t position) {
  pg_rig *rig = arg;
  rig->position = position;
  atomic_fetch_add(&rig->ready, 1);
}

static void on_refused(void *arg, const struct iovec *items, size_t count, const bw_postgres_error_t *error) {
  pg_rig *rig = arg;
  const int index = atomic_load(&rig->refusals);
  if (index < PG_MOST_REFUSED) {
    pg_refused *out = &rig->refused[index];
    snprintf(out->item, sizeof out->item, "%.*s", (int)items[0].iov_len, (const char *)items[0].iov_base);
    out->count = count;
    record(out, error);
  }
  atomic_store(&rig->refusals, index + 1);
}

static void on_failure(void *arg, const bw_postgres_error_t *error) {
  pg_rig *rig = arg;
  pthread_mutex_lock(&rig->mutex);
  record(&rig->last_failure, error);
  pthread_mutex_unlock(&rig->mutex);
  atomic_fetch_add(&rig->failures, 1);
}

pg_refused pg_rig_failure(pg_rig *rig) {
  pthread_mutex_lock(&rig->mutex);
  const pg_refused last = rig->last_failure;
  pthread_mutex_unlock(&rig->mutex);
  return last;
}

/* ---- Making one ------------------------------------------------------------------------------ */

pg_rig *pg_rig_new(const bw_postgres_options_t *options, const bw_batch_options_t *batching) {
  pg_rig *rig = calloc(1, sizeof *rig);
  assert_non_null(rig);
  pthread_mutex_init(&rig->mutex, NULL);
  bw_postgres_options_t own = *options;
  if (!own.conninfo) own.conninfo = server.conninfo;
  if (!own.backoff_us) own.backoff_us = 5000;
  if (!own.longest_backoff_us) own.longest_backoff_us = 100000;
  own.on_ready = on_ready;
  own.on_refused = on_refused;
  own.on_failure = on_failure;
  own.arg = rig;
  bw_batch_options_t how = *batching;
  how.delivered = on_delivered;
  how.arg = rig;
  assert_int_equal(bw_postgres_new(&rig->batch, &own, &how), 0);
  return rig;
}

void pg_rig_drop(pg_rig *rig) {
  bw_batch_free(rig->batch);
  pthread_mutex_destroy(&rig->mutex);
  free(rig);
}

uint64_t pg_rig_retries(pg_rig *rig) {
  bw_batch_stats_t stats = BW_BATCH_STATS_INIT;
  assert_int_equal(bw_batch_get_stats(rig->batch, &stats), 0);
  return stats.retries;
}

int pg_rig_free(pg_rig *rig) {
  const int code = bw_batch_close(rig->batch);
  pg_rig_drop(rig);
  return code;
}

int pg_rig_send_row(pg_rig *rig, const char *id, const char *text) {
  const void *const values[] = {id, text};
  return bw_postgres_send(rig->batch, values, NULL, 2, BW_POSTGRES_TEXT);
}

int pg_rig_send(pg_rig *rig, int first, int last) {
  for (int id = first; id <= last; ++id) {
    char number[16], text[32];
    snprintf(number, sizeof number, "%d", id);
    snprintf(text, sizeof text, "row %d", id);
    const int code = pg_rig_send_row(rig, number, text);
    if (code != 0) return code;
  }
  return 0;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

void pg_make_table(const char *name, const char *constraints) {
  pg_do(&server, "DROP TABLE IF EXISTS %s; CREATE TABLE %s (id bigint, body text, seq bigserial%s%s)", name, name,
        *constraints ? ", " : "", constraints);
}

void pg_assert_rows(const char *name, int first, int last) {
  assert_int_equal(pg_ask(&server, "SELECT count(*) FROM %s", name), last - first + 1);
  assert_int_equal(pg_ask(&server,
                          "SELECT count(*) FROM (SELECT id, body, row_number() OVER (ORDER BY seq) AS n FROM %s) AS t "
                          "WHERE id = n + %d AND body = 'row ' || id",
                          name, first - 1),
                   last - first + 1);
}
