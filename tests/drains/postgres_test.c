/* The drain to PostgreSQL against a server that is well: rows, refusals, names, options. */
#include <arpa/inet.h>
#include <endian.h>

#include "pg_rig.h"

#define TWO_COLUMNS .columns = (const char *const[]){"id", "body"}, .column_count = 2
#define BISECT (.flags = BW_BACKGROUND | BW_BATCH_BISECT, .max_items = 16)

/* ---- Rows ------------------------------------------------------------------------------------ */

enum { ROWS = 4000, LONGEST = 3000 };

typedef struct row {
  char *text; /* NULL: NULL */
  size_t text_length;
  unsigned char *bytes;
  size_t bytes_length;
} row;

/* Text with all that COPY escapes, and beyond ASCII. */
static void make_text(row *out, uint64_t *random) {
  static const char *const pieces[] = {"a",  "\t", "\n",       "\r",           "\\",   "\\.", "\\N", "\b", "\v",
                                       "\f", "é",  "\u4e2d", "\U0001f600", "\\n", " ",   "plain text ", "'\""};
  const size_t kind = test_random(random) % 8;
  if (kind == 0) return;
  out->text = calloc(1, LONGEST + 32);
  const size_t wanted = kind == 1 ? 0 : test_random(random) % (kind == 2 ? LONGEST : 60);
  while (out->text_length < wanted) {
    const char *piece = pieces[test_random(random) % (sizeof pieces / sizeof *pieces)];
    strcpy(out->text + out->text_length, piece);
    out->text_length += strlen(piece);
  }
}

static void make_row(row *out, uint64_t *random) {
  memset(out, 0, sizeof *out);
  make_text(out, random);
  const size_t kind = test_random(random) % 8;
  if (kind == 0) return;
  out->bytes_length = kind == 1 ? 0 : test_random(random) % (kind == 2 ? LONGEST : 100);
  out->bytes = malloc(out->bytes_length + 1);
  for (size_t i = 0; i < out->bytes_length; ++i) out->bytes[i] = (unsigned char)test_random(random);
}

static row *make_rows(void) {
  uint64_t random = 42;
  row *rows = calloc(ROWS, sizeof *rows);
  for (int i = 0; i < ROWS; ++i) make_row(&rows[i], &random);
  return rows;
}

static void free_rows(row *rows) {
  for (int i = 0; i < ROWS; ++i) {
    free(rows[i].text);
    free(rows[i].bytes);
  }
  free(rows);
}

static void assert_cell(const PGresult *result, int at, int column, const void *data, size_t length) {
  assert_int_equal(PQgetisnull(result, at, column), data == NULL);
  if (!data) return;
  assert_int_equal(PQgetlength(result, at, column), length);
  assert_memory_equal(PQgetvalue(result, at, column), data, length);
}

static void assert_table_is(const row *rows) {
  PGconn *connection = pg_connect(&server);
  PGresult *result = pg_rows(connection, "SELECT id, t, b FROM cells ORDER BY seq", true);
  assert_int_equal(PQntuples(result), ROWS);
  for (int i = 0; i < ROWS; ++i) {
    const uint64_t id = htobe64((uint64_t)i);
    assert_cell(result, i, 0, &id, sizeof id);
    assert_cell(result, i, 1, rows[i].text, rows[i].text_length);
    assert_cell(result, i, 2, rows[i].bytes, rows[i].bytes_length);
  }
  PQclear(result);
  PQfinish(connection);
}

static int send_text(bw_batch_t *batch, int id, const row *one) {
  char number[16], hex[2 * LONGEST + 3] = "\\x";
  snprintf(number, sizeof number, "%d", id);
  for (size_t i = 0; i < one->bytes_length; ++i) sprintf(hex + 2 + 2 * i, "%02x", one->bytes[i]);
  const void *const values[] = {number, one->text, one->bytes ? hex : NULL};
  const size_t lengths[] = {strlen(number), one->text_length, 2 + 2 * one->bytes_length};
  return bw_postgres_send(batch, values, lengths, 3, BW_POSTGRES_TEXT);
}

static int send_binary(bw_batch_t *batch, int id, const row *one) {
  const uint64_t number = htobe64((uint64_t)id);
  const void *const values[] = {&number, one->text, one->bytes};
  const size_t lengths[] = {sizeof number, one->text_length, one->bytes_length};
  return bw_postgres_send(batch, values, lengths, 3, BW_POSTGRES_BINARY);
}

static void check_cells(uint32_t format, uint32_t flags, uint32_t item_align, int (*send)(bw_batch_t *, int, const row *)) {
  pg_do(&server, "DROP TABLE IF EXISTS cells; CREATE TABLE cells (id bigint, t text, b bytea, seq bigserial)");
  row *rows = make_rows();
  pg_rig *rig = PG_RIG_BATCHED((.flags = flags, .max_items = 300, .item_align = item_align), .table = "cells",
                               .columns = (const char *const[]){"id", "t", "b"}, .column_count = 3, .format = format);
  for (int i = 0; i < ROWS; ++i) assert_int_equal(send(rig->batch, i, &rows[i]), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(atomic_load(&rig->delivered_items), ROWS);
  assert_table_is(rows);
  assert_int_equal(pg_rig_free(rig), 0);
  free_rows(rows);
}

static void test_rows__text_arrives_equal_and_in_order(void **state) {
  (void)state;
  check_cells(BW_POSTGRES_TEXT, BW_BACKGROUND, 0, send_text);
}

static void test_rows__binary_arrives_equal_and_in_order(void **state) {
  (void)state;
  check_cells(BW_POSTGRES_BINARY, BW_BACKGROUND, 0, send_binary);
}

static void test_rows__items_that_lie_apart_arrive_too(void **state) {
  (void)state;
  check_cells(BW_POSTGRES_TEXT, BW_BACKGROUND, 64, send_text);
  check_cells(BW_POSTGRES_BINARY, BW_BACKGROUND, 64, send_binary);
}

static void test_rows__of_inline_and_unshared_batchers_arrive(void **state) {
  (void)state;
  check_cells(BW_POSTGRES_TEXT, 0, 0, send_text);
  check_cells(BW_POSTGRES_BINARY, BW_UNSHARED, 0, send_binary);
  check_cells(BW_POSTGRES_BINARY, BW_UNSHARED | BW_BACKGROUND, 0, send_binary);
}

static void test_rows__a_row_of_very_many_pieces_arrives(void **state) {
  (void)state;
  enum { WIDE = 400 };
  char sql[WIDE * 12] = "CREATE TABLE wide (";
  for (int i = 0; i < WIDE; ++i) sprintf(sql + strlen(sql), "%sc%d text", i ? "," : "", i);
  PGconn *connection = pg_connect(&server);
  PQclear(PQexec(connection, strcat(sql, ")")));
  const void *values[WIDE];
  size_t lengths[WIDE];
  for (int i = 0; i < WIDE; ++i) {
    values[i] = i % 7 ? "\t\\" : NULL;
    lengths[i] = 2;
  }
  for (uint32_t format = BW_POSTGRES_TEXT; format <= BW_POSTGRES_BINARY; ++format) {
    pg_rig *rig = PG_RIG(.table = "wide", .format = format);
    assert_int_equal(bw_postgres_send(rig->batch, values, lengths, WIDE, format), 0);
    assert_int_equal(bw_postgres_start_send(rig->batch, values, lengths, WIDE, format), 0);
    assert_int_equal(pg_rig_free(rig), 0);
  }
  PGresult *result = pg_rows(connection, "SELECT * FROM wide", false);
  assert_int_equal(PQntuples(result), 4);
  for (int at = 0; at < 4; ++at) {
    for (int i = 0; i < WIDE; ++i) assert_cell(result, at, i, values[i], 2);
  }
  PQclear(result);
  PQfinish(connection);
}

static void test_rows__ready_lines_arrive_with_and_without_newline(void **state) {
  (void)state;
  pg_make_table("lines", "");
  pg_rig *rig = PG_RIG(.table = "lines", TWO_COLUMNS);
  assert_int_equal(bw_batch_send(rig->batch, "1\trow 1", 7), 0);
  assert_int_equal(bw_batch_send(rig->batch, "2\trow 2\n", 8), 0);
  assert_int_equal(bw_batch_send(rig->batch, "3\trow 3\n", 8), 0);
  assert_int_equal(bw_batch_send(rig->batch, "4\trow 4", 7), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows("lines", 1, 4);
}

static int64_t send_some(void *arg) {
  pg_rig *rig = ((void **)arg)[0];
  const int first = (int)(intptr_t)((void **)arg)[1];
  return pg_rig_send(rig, first, first + 9999);
}

static void test_rows__of_many_threads_arrive_once(void **state) {
  (void)state;
  pg_make_table("crowd", "");
  pg_rig *rig = PG_RIG_BATCHED((.linger_us = 1000, .max_items = 500), .table = "crowd", TWO_COLUMNS);
  test_thread threads[4];
  void *args[4][2];
  for (int i = 0; i < 4; ++i) {
    args[i][0] = rig;
    args[i][1] = (void *)(intptr_t)(1 + 10000 * i);
    test_thread_start(&threads[i], send_some, args[i]);
  }
  for (int i = 0; i < 4; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  assert_int_equal(pg_ask(&server, "SELECT count(*) FROM crowd"), 40000);
  assert_int_equal(pg_ask(&server, "SELECT count(DISTINCT id) FROM crowd WHERE body = 'row ' || id"), 40000);
}

/* ---- Refused --------------------------------------------------------------------------------- */

static void assert_refused(const pg_rig *rig, int index, const char *item, const char *sqlstate, const char *message,
                           int code) {
  assert_true(index < atomic_load(&rig->refusals));
  const pg_refused *one = &rig->refused[index];
  assert_string_equal(one->item, item);
  assert_int_equal(one->count, 1);
  assert_string_equal(one->sqlstate, sqlstate);
  assert_non_null(strstr(one->message, message));
  assert_int_equal(one->code, code);
}

static void test_refused__only_the_bad_rows_with_bisect(void **state) {
  (void)state;
  pg_make_table("picky", "UNIQUE (id), CHECK (body <> 'never')");
  pg_rig *rig = PG_RIG_BATCHED(BISECT, .table = "picky", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 20), 0);
  assert_int_equal(pg_rig_send_row(rig, "many", "row"), 0);
  assert_int_equal(pg_rig_send(rig, 21, 40), 0);
  assert_int_equal(pg_rig_send_row(rig, "7", "again"), 0);
  assert_int_equal(pg_rig_send_row(rig, "1000", "never"), 0);
  assert_int_equal(pg_rig_send(rig, 41, 60), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EINVAL);
  assert_int_equal(atomic_load(&rig->refusals), 3);
  assert_refused(rig, 0, "many\trow\n", "22P02", "invalid input syntax for type bigint", -EINVAL);
  assert_string_equal(rig->refused[0].context, "COPY picky, line 1, column id: \"many\"");
  assert_refused(rig, 1, "7\tagain\n", "23505", "duplicate key", -EEXIST);
  assert_string_equal(rig->refused[1].detail, "Key (id)=(7) already exists.");
  assert_refused(rig, 2, "1000\tnever\n", "23514", "violates check constraint", -EINVAL);
  assert_int_equal(rig->codes[1000], -EINVAL);
  assert_int_equal(rig->settled[7], 2);
  assert_int_equal(atomic_load(&rig->failures), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows("picky", 1, 60);
}

static void test_refused__the_whole_batch_without_bisect(void **state) {
  (void)state;
  pg_make_table("strict", "");
  pg_rig *rig = PG_RIG_BATCHED((.flags = BW_BACKGROUND, .max_items = 10), .table = "strict", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 9), 0);
  assert_int_equal(pg_rig_send_row(rig, "ten", "row"), 0);
  assert_int_equal(pg_rig_send(rig, 11, 15), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EINVAL);
  assert_int_equal(atomic_load(&rig->refusals), 1);
  assert_int_equal(rig->refused[0].count, 10);
  assert_string_equal(rig->refused[0].sqlstate, "22P02");
  assert_int_equal(rig->codes[9], -EINVAL);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows("strict", 11, 15);
}

static void test_refused__an_item_that_is_no_line(void **state) {
  (void)state;
  static const char *const bad[] = {"\\.", "\\.\n", "90\ta\\.\n", "91\ta\n92\tb\n",
                                    "93\ta\\", "94\ta\\\n", "95\ta\rb\n", "\n\n"};
  enum { BAD = sizeof bad / sizeof *bad };
  pg_make_table("torn", "");
  pg_rig *rig = PG_RIG_BATCHED(BISECT, .table = "torn", TWO_COLUMNS);
  for (int i = 0; i < BAD; ++i) {
    assert_int_equal(pg_rig_send(rig, i + 1, i + 1), 0);
    assert_int_equal(bw_batch_send(rig->batch, bad[i], strlen(bad[i])), 0);
  }
  /* An even run of backslashes ends nothing. */
  assert_int_equal(bw_batch_send(rig->batch, "100\t\\\\.", 7), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EINVAL);
  assert_int_equal(atomic_load(&rig->refusals), BAD);
  for (int i = 0; i < BAD; ++i) assert_refused(rig, i, bad[i], "", "item 1 is not one line of COPY text", -EINVAL);
  assert_int_equal(pg_rig_free(rig), 0);
  assert_int_equal(pg_ask(&server, "SELECT count(*) FROM torn WHERE id = 100 AND body = '\\.'"), 1);
  pg_do(&server, "DELETE FROM torn WHERE id = 100");
  pg_assert_rows("torn", 1, BAD);
}

static void test_refused__an_item_that_is_no_tuple(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    size_t length;
  } bad[] = {{"\377\377", 2},                                  /* the end of the data */
             {"", 0},                                          /* nothing */
             {"\0\1\0\0\0\3ab", 8},                            /* too short */
             {"\0\1\0\0\0\1ab", 8},                            /* too long */
             {"\0\2\0\0\0\1a", 7},                             /* a column is missing */
             {"\0\1\377\377\377\376", 6},                      /* a length of -2 */
             {"\0\1\0\0\0\1a\0\1\0\0\0\1b", 14},               /* two tuples */
             {"1\trow\n", 6}};                                 /* text */
  enum { BAD = sizeof bad / sizeof *bad };
  pg_do(&server, "DROP TABLE IF EXISTS tuples; CREATE TABLE tuples (body text)");
  pg_rig *rig = PG_RIG_BATCHED(BISECT, .table = "tuples", .format = BW_POSTGRES_BINARY);
  for (int i = 0; i < BAD; ++i) {
    assert_int_equal(bw_batch_send(rig->batch, bad[i].bytes, bad[i].length), 0);
    assert_int_equal(bw_postgres_send(rig->batch, (const void *const[]){"good"}, (const size_t[]){4}, 1,
                                      BW_POSTGRES_BINARY),
                     0);
  }
  assert_int_equal(bw_batch_flush(rig->batch), -EINVAL);
  assert_int_equal(atomic_load(&rig->refusals), BAD);
  for (int i = 0; i < BAD; ++i) assert_string_equal(rig->refused[i].message, "item 1 is not one binary tuple");
  assert_int_equal(pg_rig_free(rig), 0);
  assert_int_equal(pg_ask(&server, "SELECT count(*) FROM tuples WHERE body = 'good'"), BAD);
  assert_int_equal(pg_ask(&server, "SELECT count(*) FROM tuples"), BAD);
}

static void test_refused__by_a_deferred_constraint_at_commit(void **state) {
  (void)state;
  pg_make_table("late", "UNIQUE (id) DEFERRABLE INITIALLY DEFERRED");
  pg_rig *rig = PG_RIG_BATCHED(BISECT, .table = "late", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 9), 0);
  assert_int_equal(pg_rig_send_row(rig, "5", "again"), 0);
  assert_int_equal(pg_rig_send(rig, 10, 14), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EEXIST);
  assert_int_equal(atomic_load(&rig->refusals), 1);
  assert_refused(rig, 0, "5\tagain\n", "23505", "duplicate key", -EEXIST);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows("late", 1, 14);
}

/* ---- Failures that pass ---------------------------------------------------------------------- */

static void test_failed__a_missing_table_is_waited_for(void **state) {
  (void)state;
  pg_rig *rig = PG_RIG(.table = "missing", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 50), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -ENOENT);
  assert_string_equal(pg_rig_failure(rig).sqlstate, "42P01");
  assert_int_equal(bw_batch_error(rig->batch), -ENOENT); /* held */
  pg_make_table("missing", "");
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(atomic_load(&rig->refusals), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows("missing", 1, 50);
}

static void test_failed__a_wrong_password_is_told_and_can_be_put_right(void **state) {
  (void)state;
  pg_make_table("vault", "");
  pg_do(&server, "CREATE ROLE secret LOGIN PASSWORD 'right'; GRANT ALL ON vault, vault_seq_seq TO secret;"
                 "GRANT CREATE ON SCHEMA public TO secret");
  char conninfo[256];
  snprintf(conninfo, sizeof conninfo, "host=%s user=secret password=wrong dbname=postgres sslmode=disable", server.dir);
  pg_rig *rig = PG_RIG(.conninfo = conninfo, .table = "vault", .progress = "vault_progress", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 5), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EACCES);
  assert_string_equal(pg_rig_failure(rig).sqlstate, "28P01");
  assert_non_null(strstr(pg_rig_failure(rig).message, "password authentication failed"));
  assert_int_equal(atomic_load(&rig->ready), 0);
  pg_do(&server, "ALTER ROLE secret PASSWORD 'wrong'");
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows("vault", 1, 5);
}

static void test_failed__a_progress_table_that_may_not_be_made(void **state) {
  (void)state;
  pg_make_table("guarded", "");
  pg_do(&server, "CREATE ROLE guest LOGIN; GRANT ALL ON guarded, guarded_seq_seq TO guest");
  char conninfo[256];
  snprintf(conninfo, sizeof conninfo, "host=%s user=guest dbname=postgres sslmode=disable", server.dir);
  pg_rig *rig = PG_RIG(.conninfo = conninfo, .table = "guarded", .progress = "guarded_progress", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 5), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EACCES);
  assert_string_equal(pg_rig_failure(rig).sqlstate, "42501");
  pg_do(&server, "GRANT CREATE ON SCHEMA public TO guest");
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows("guarded", 1, 5);
}

/* The same SQLSTATE as that of a bad row, but of our own statements: no row is refused for it. */
static void check_refusing(const char *table, const char *condition) {
  pg_make_table(table, "");
  pg_do(&server, "CREATE TABLE %s_progress (LIKE bw_progress INCLUDING ALL);"
                 "ALTER TABLE %s_progress ADD CONSTRAINT no CHECK (%s)", table, table, condition);
  char progress[64];
  snprintf(progress, sizeof progress, "%s_progress", table);
  pg_rig *rig = PG_RIG_BATCHED(BISECT, .table = table, .progress = progress, TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 10), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EINVAL);
  assert_string_equal(pg_rig_failure(rig).sqlstate, "23514");
  assert_int_equal(bw_batch_error(rig->batch), -EINVAL); /* held, not given up */
  pg_do(&server, "ALTER TABLE %s_progress DROP CONSTRAINT no", table);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(atomic_load(&rig->refusals), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows(table, 1, 10);
}

static void test_failed__a_progress_table_that_refuses(void **state) {
  (void)state;
  check_refusing("part_refused", "position < 5");
  check_refusing("name_refused", "run = ''");
}

static bool is_blocked(void *user) {
  return pg_ask(&server, "SELECT count(*) FROM pg_stat_activity WHERE usename = '%s' AND wait_event_type = 'Lock'",
                (const char *)user) > 0;
}

static bool has_error(void *batch) {
  return bw_batch_error(batch) != 0;
}

/* Somebody else makes the progress table in the same moment. The long pause keeps the drain from its next try. */
static void test_failed__a_progress_table_that_is_made_meanwhile(void **state) {
  (void)state;
  pg_make_table("twins", "");
  pg_do(&server, "CREATE ROLE twin LOGIN; GRANT ALL ON twins, twins_seq_seq TO twin");
  char conninfo[256];
  snprintf(conninfo, sizeof conninfo, "host=%s user=twin dbname=postgres sslmode=disable", server.dir);
  pg_rig *rig = PG_RIG_BATCHED((.flags = BW_BACKGROUND, .max_items = 5), .conninfo = conninfo, .table = "twins",
                               .progress = "twins_progress", .backoff_us = 3600000000u,
                               .longest_backoff_us = 3600000000u, TWO_COLUMNS);
  assert_true(test_await_at_least(&rig->failures, 1)); /* it may not make the table */
  PGconn *holder = pg_connect(&server);
  PQclear(PQexec(holder, "BEGIN; CREATE TABLE twins_progress (LIKE bw_progress INCLUDING ALL);"
                         "GRANT ALL ON twins_progress TO twin"));
  pg_do(&server, "GRANT CREATE ON SCHEMA public TO twin");
  assert_int_equal(pg_rig_send(rig, 1, 5), 0);
  assert_true(test_await(is_blocked, "twin"));
  PQclear(PQexec(holder, "COMMIT"));
  assert_true(test_await(has_error, rig->batch));
  assert_int_equal(bw_batch_error(rig->batch), -EBUSY); /* for another try: no code of a row */
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  PQfinish(holder);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows("twins", 1, 5);
}

static void test_failed__a_locked_table_is_told_and_waited_for(void **state) {
  (void)state;
  pg_make_table("locked", "");
  PGconn *holder = pg_connect(&server);
  PQclear(PQexec(holder, "BEGIN; LOCK TABLE locked"));
  pg_rig *rig = PG_RIG(.table = "locked", .timeout_us = 2000000, TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 5), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -EBUSY);
  assert_string_equal(pg_rig_failure(rig).sqlstate, "55P03");
  PQclear(PQexec(holder, "ROLLBACK"));
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  PQfinish(holder);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows("locked", 1, 5);
}

/* ---- Names ----------------------------------------------------------------------------------- */

static void test_names__are_quoted(void **state) {
  (void)state;
  pg_do(&server, "CREATE SCHEMA \"My \"\"Schema\"; "
                 "CREATE TABLE \"My \"\"Schema\".\"a.b;c\" (\"I D\" int, \"x\"\"\" text)");
  pg_rig *rig = PG_RIG(.schema = "My \"Schema", .table = "a.b;c", .columns = (const char *const[]){"x\"", "I D"},
                       .column_count = 2, .writer = "o'clock\\", .progress = "pro gress");
  assert_int_equal(pg_rig_send_row(rig, "text", "5"), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  assert_int_equal(pg_ask(&server, "SELECT \"I D\" FROM \"My \"\"Schema\".\"a.b;c\" WHERE \"x\"\"\" = 'text'"), 5);
  assert_int_equal(
      pg_ask(&server, "SELECT position FROM \"My \"\"Schema\".\"pro gress\" WHERE writer = 'o''clock\\'"), 1);
}

static void test_names__many_at_once_make_one_progress_table(void **state) {
  (void)state;
  enum { MANY = 12 };
  pg_make_table("many", "");
  pg_rig *rigs[MANY];
  for (int i = 0; i < MANY; ++i) rigs[i] = PG_RIG(.table = "many", .progress = "many_progress", TWO_COLUMNS);
  for (int i = 0; i < MANY; ++i) assert_int_equal(pg_rig_send(rigs[i], 1 + 10 * i, 10 + 10 * i), 0);
  for (int i = 0; i < MANY; ++i) {
    assert_int_equal(pg_rig_free(rigs[i]), 0);
  }
  assert_int_equal(pg_ask(&server, "SELECT count(DISTINCT id) FROM many"), 10 * MANY);
  assert_int_equal(pg_ask(&server, "SELECT count(*) FROM many"), 10 * MANY);
}

static void test_names__one_that_was_made_leaves_no_row(void **state) {
  (void)state;
  pg_make_table("nameless", "");
  pg_rig *rig = PG_RIG(.table = "nameless", .progress = "nameless_progress", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 5), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(pg_ask(&server, "SELECT count(*) FROM nameless_progress WHERE position = 5"), 1);
  /* The close waits for the end of it. */
  pg_do(&server, "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql "
                 "AS 'BEGIN PERFORM pg_sleep(0.2); RETURN OLD; END'");
  pg_do(&server, "CREATE TRIGGER linger BEFORE DELETE ON nameless_progress FOR EACH ROW EXECUTE FUNCTION linger()");
  assert_int_equal(pg_rig_free(rig), 0);
  assert_int_equal(pg_ask(&server, "SELECT count(*) FROM nameless_progress"), 0);
}

static void test_names__a_later_batcher_goes_on_where_the_one_before_was(void **state) {
  (void)state;
  pg_make_table("series", "");
  uint64_t position = 0;
  for (int run = 0; run < 3; ++run) {
    pg_rig *rig = PG_RIG_BATCHED((.flags = BW_BACKGROUND, .max_items = 7), .table = "series", .writer = "series",
                                 TWO_COLUMNS);
    assert_true(test_await_at_least(&rig->ready, 1));
    assert_int_equal(rig->position, position);
    assert_int_equal(pg_rig_send(rig, (int)position + 1, (int)position + 100), 0);
    position += 100;
    assert_int_equal(bw_batch_flush(rig->batch), 0);
    assert_int_equal(atomic_load(&rig->ready), 1);
    assert_int_equal(pg_rig_free(rig), 0);
  }
  pg_assert_rows("series", 1, 300);
}

static void test_names__a_batcher_whose_name_was_taken_is_fenced(void **state) {
  (void)state;
  pg_make_table("fenced", "");
  pg_rig *early = PG_RIG(.table = "fenced", .writer = "fenced", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(early, 1, 10), 0);
  assert_int_equal(bw_batch_flush(early->batch), 0);
  pg_rig *later = PG_RIG(.table = "fenced", .writer = "fenced", TWO_COLUMNS);
  assert_true(test_await_at_least(&later->ready, 1));
  assert_int_equal(later->position, 10);
  assert_int_equal(pg_rig_send(early, 11, 20), 0);
  assert_int_equal(bw_batch_flush(early->batch), -ESTALE);
  assert_int_equal(pg_rig_send(later, 11, 20), 0);
  assert_int_equal(bw_batch_flush(later->batch), 0);
  assert_int_equal(bw_batch_flush(early->batch), -ESTALE); /* still, though its part is named as the later one's */
  assert_int_equal(bw_batch_discard(early->batch), 10);
  assert_int_equal(pg_rig_free(early), 0);
  assert_int_equal(pg_rig_free(later), 0);
  pg_assert_rows("fenced", 1, 20);
}

/* ---- Options --------------------------------------------------------------------------------- */

static int try_options(const bw_postgres_options_t *options, const bw_batch_options_t *batching) {
  bw_batch_t *batch = (bw_batch_t *)options; /* anything but NULL */
  const int code = bw_postgres_new(&batch, options, batching);
  if (code) assert_null(batch);
  bw_batch_free(batch);
  return code;
}

#define TRY(...) try_options(&(const bw_postgres_options_t){.size = sizeof(bw_postgres_options_t), __VA_ARGS__}, NULL)

static void test_options__are_checked(void **state) {
  (void)state;
  const bw_postgres_options_t good = {.size = sizeof good, .conninfo = server.conninfo, .table = "t"};
  assert_int_equal(try_options(&good, NULL), 0);
  assert_int_equal(bw_postgres_new(NULL, &good, NULL), -EINVAL);
  assert_int_equal(try_options(NULL, NULL), -EINVAL);
  assert_int_equal(TRY(.table = NULL), -EINVAL);
  assert_int_equal(TRY(.table = ""), -EINVAL);
  assert_int_equal(try_options(&(const bw_postgres_options_t){.size = 3, .table = "t"}, NULL), -EINVAL);
  assert_int_equal(TRY(.table = "t", .flags = 1), -EINVAL);
  assert_int_equal(TRY(.table = "t", .format = 2), -EINVAL);
  assert_int_equal(TRY(.table = "t", .schema = ""), -EINVAL);
  assert_int_equal(TRY(.table = "t", .writer = ""), -EINVAL);
  assert_int_equal(TRY(.table = "t", .progress = ""), -EINVAL);
  assert_int_equal(TRY(.table = "t", .column_count = 1), -EINVAL);
  assert_int_equal(TRY(.table = "t", .columns = (const char *const[]){"a"}), -EINVAL);
  assert_int_equal(TRY(.table = "t", .columns = (const char *const[]){"a", ""}, .column_count = 2), -EINVAL);
  assert_int_equal(TRY(.table = "t", .conninfo = "nonsense"), -EINVAL);
  assert_int_equal(TRY(.table = "t", .backoff_us = 2, .longest_backoff_us = 1), -EINVAL);
  const bw_batch_options_t many = {.size = sizeof many, .max_in_flight = 2};
  assert_int_equal(try_options(&good, &many), -EOPNOTSUPP);
  const bw_batch_options_t wrong = {.size = sizeof wrong, .high_percent = 101};
  assert_int_equal(try_options(&good, &wrong), -EINVAL);
}

static void test_options__structs_may_be_shorter_and_longer(void **state) {
  (void)state;
  const bw_postgres_options_t init = BW_POSTGRES_OPTIONS_INIT, zero = {.size = sizeof zero};
  assert_memory_equal(&init, &zero, sizeof init);
  bw_postgres_options_t shorter = init;
  shorter.size = offsetof(bw_postgres_options_t, schema);
  shorter.conninfo = server.conninfo;
  shorter.table = "t";
  shorter.schema = ""; /* not known to this caller */
  assert_int_equal(try_options(&shorter, NULL), 0);
  struct {
    bw_postgres_options_t known;
    uint64_t unknown;
  } longer = {shorter, 0};
  longer.known.size = sizeof longer;
  longer.known.schema = NULL;
  assert_int_equal(try_options(&longer.known, NULL), 0);
  longer.unknown = 1;
  assert_int_equal(try_options(&longer.known, NULL), -E2BIG);
}

static void test_options__arguments_of_send_are_checked(void **state) {
  (void)state;
  pg_rig *rig = PG_RIG(.table = "t");
  const void *const values[] = {"a"};
  const size_t lengths[] = {1}, huge[] = {(size_t)1 << 31};
  assert_int_equal(bw_postgres_send(NULL, values, lengths, 1, 0), -EINVAL);
  assert_int_equal(bw_postgres_send(rig->batch, NULL, lengths, 1, 0), -EINVAL);
  assert_int_equal(bw_postgres_send(rig->batch, values, lengths, 0, 0), -EINVAL);
  assert_int_equal(bw_postgres_send(rig->batch, values, lengths, 32768, 0), -EINVAL);
  assert_int_equal(bw_postgres_send(rig->batch, values, lengths, 1, 2), -EINVAL);
  assert_int_equal(bw_postgres_send(rig->batch, values, NULL, 1, BW_POSTGRES_BINARY), -EINVAL);
  assert_int_equal(bw_postgres_send(rig->batch, values, huge, 1, BW_POSTGRES_BINARY), -EMSGSIZE);
  assert_int_equal(bw_postgres_start_send(rig->batch, values, lengths, 1, 2), -EINVAL);
  assert_int_equal(bw_batch_buffered(rig->batch), 0);
  assert_int_equal(pg_rig_free(rig), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rows__text_arrives_equal_and_in_order),
      cmocka_unit_test(test_rows__binary_arrives_equal_and_in_order),
      cmocka_unit_test(test_rows__items_that_lie_apart_arrive_too),
      cmocka_unit_test(test_rows__of_inline_and_unshared_batchers_arrive),
      cmocka_unit_test(test_rows__a_row_of_very_many_pieces_arrives),
      cmocka_unit_test(test_rows__ready_lines_arrive_with_and_without_newline),
      cmocka_unit_test(test_rows__of_many_threads_arrive_once),
      cmocka_unit_test(test_refused__only_the_bad_rows_with_bisect),
      cmocka_unit_test(test_refused__the_whole_batch_without_bisect),
      cmocka_unit_test(test_refused__an_item_that_is_no_line),
      cmocka_unit_test(test_refused__an_item_that_is_no_tuple),
      cmocka_unit_test(test_refused__by_a_deferred_constraint_at_commit),
      cmocka_unit_test(test_failed__a_missing_table_is_waited_for),
      cmocka_unit_test(test_failed__a_wrong_password_is_told_and_can_be_put_right),
      cmocka_unit_test(test_failed__a_progress_table_that_may_not_be_made),
      cmocka_unit_test(test_failed__a_progress_table_that_refuses),
      cmocka_unit_test(test_failed__a_progress_table_that_is_made_meanwhile),
      cmocka_unit_test(test_failed__a_locked_table_is_told_and_waited_for),
      cmocka_unit_test(test_names__are_quoted),
      cmocka_unit_test(test_names__many_at_once_make_one_progress_table),
      cmocka_unit_test(test_names__one_that_was_made_leaves_no_row),
      cmocka_unit_test(test_names__a_later_batcher_goes_on_where_the_one_before_was),
      cmocka_unit_test(test_names__a_batcher_whose_name_was_taken_is_fenced),
      cmocka_unit_test(test_options__are_checked),
      cmocka_unit_test(test_options__structs_may_be_shorter_and_longer),
      cmocka_unit_test(test_options__arguments_of_send_are_checked),
  };
  return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
