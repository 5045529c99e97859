/* The drain to PostgreSQL, and the server's disk is full: batches are held, and go through once there is room. */
#include <pwd.h>
#include <unistd.h>

#include "pg_rig.h"

#define TWO_COLUMNS .columns = (const char *const[]){"id", "body"}, .column_count = 2

enum { ROWS = 9000, ROW_BYTES = 1000 };

/* A tablespace of 16 MiB, half of it taken. */
static void make_small_place(const char *dir) {
  const struct passwd *const user = getpwnam("nobody");
  assert_int_equal(faults_mount("none", "small", "tmpfs", "size=16m"), 0);
  assert_int_equal(chown("small", user->pw_uid, user->pw_gid), 0);
  pg_do(&server, "CREATE TABLESPACE small LOCATION '%s/small'", dir);
  pg_do(&server, "CREATE TABLE ballast TABLESPACE small AS SELECT repeat('x', 1900) FROM generate_series(1, 4096)");
  pg_do(&server, "CREATE TABLE packed (id bigint, body text, seq bigserial) TABLESPACE small");
}

static int send_large(pg_rig *rig, int id) {
  char number[16], text[ROW_BYTES + 1];
  snprintf(number, sizeof number, "%d", id);
  memset(text, 'a' + id % 26, ROW_BYTES);
  text[ROW_BYTES] = 0;
  return pg_rig_send_row(rig, number, text);
}

static void test_full__the_disk_is_full_and_then_it_is_not(void **state) {
  char dir[256];
  (void)state;
  assert_non_null(getcwd(dir, sizeof dir));
  make_small_place(dir);
  pg_rig *rig = PG_RIG_BATCHED((.flags = BW_BACKGROUND, .max_items = 500), .table = "packed", TWO_COLUMNS);
  int id = 0, code = 0;
  while (id < ROWS && code == 0) {
    code = send_large(rig, id + 1);
    if (code == 0) ++id;
  }
  assert_int_equal(code, -ENOSPC); /* of the batch that is held, and makes no room */
  assert_string_equal(pg_rig_failure(rig).sqlstate, "53100");
  assert_int_equal(bw_batch_flush(rig->batch), -ENOSPC);
  pg_do(&server, "DROP TABLE ballast");
  for (; id < ROWS; ++id) assert_int_equal(send_large(rig, id + 1), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(atomic_load(&rig->refusals), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  assert_int_equal(pg_ask(&server, "SELECT count(*) FROM packed WHERE length(body) = %d", ROW_BYTES), ROWS);
  assert_int_equal(pg_ask(&server, "SELECT count(*) FROM (SELECT id, row_number() OVER (ORDER BY seq) AS n FROM packed)"
                                   "AS t WHERE id = n"),
                   ROWS);
}

int main(void) {
  if (chdir("/tmp") != 0) return 1; /* the server's user gets there, too */
  faults_private_place(NULL);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_full__the_disk_is_full_and_then_it_is_not)};
  return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
