/* The drain to PostgreSQL against a server that goes away, hangs, loses answers; and under kill -9 of our process. */
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pg_rig.h"

#define TWO_COLUMNS .columns = (const char *const[]){"id", "body"}, .column_count = 2
#define SMALL (.flags = BW_BACKGROUND, .max_items = 20)

/* ---- Under load ------------------------------------------------------------------------------ */

typedef struct load {
  pg_rig *rig;
  test_thread thread;
  atomic_bool stop;
  int last; /* the last row sent; read it once the thread has ended */
} load;

static int64_t send_until_stopped(void *arg) {
  load *self = arg;
  while (!atomic_load(&self->stop) && self->last < PG_MOST_IDS - 1) {
    const int code = pg_rig_send(self->rig, self->last + 1, self->last + 1);
    if (code != 0) return code;
    ++self->last;
  }
  return 0;
}

static void load_start(load *self, pg_rig *rig) {
  memset(self, 0, sizeof *self);
  self->rig = rig;
  test_thread_start(&self->thread, send_until_stopped, self);
}

/* True once so many more rows were delivered. */
static bool load_goes_on(const load *self, int rows) {
  return test_await_at_least(&self->rig->delivered_items, atomic_load(&self->rig->delivered_items) + rows);
}

/* Ends the load; asserts that each row was delivered, once, and is in the table, once and in order. */
static void load_finish(load *self, const char *table) {
  atomic_store(&self->stop, true);
  assert_int_equal(test_thread_join(&self->thread), 0);
  assert_int_equal(bw_batch_flush(self->rig->batch), 0);
  for (int id = 1; id <= self->last; ++id) {
    assert_int_equal(self->rig->settled[id], 1);
    assert_int_equal(self->rig->codes[id], 0);
  }
  assert_int_equal(pg_rig_retries(self->rig), 0);
  assert_int_equal(pg_rig_free(self->rig), 0);
  pg_assert_rows(table, 1, self->last);
}

static void test_load__survives_restarts(void **state) {
  (void)state;
  pg_make_table("restarts", "");
  static load now;
  load_start(&now, PG_RIG_BATCHED(SMALL, .table = "restarts", TWO_COLUMNS));
  for (int round = 0; round < 4; ++round) {
    assert_true(load_goes_on(&now, 200));
    pg_server_stop(&server, round % 2 ? SIGINT : SIGQUIT);
    pg_server_start(&server);
  }
  assert_true(load_goes_on(&now, 200));
  assert_true(atomic_load(&now.rig->failures) >= 4);
  load_finish(&now, "restarts");
}

static void terminate_others(void) {
  pg_do(&server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND "
                 "pid <> pg_backend_pid()");
}

static void test_load__survives_terminated_backends(void **state) {
  (void)state;
  pg_make_table("terminated", "");
  static load now;
  load_start(&now, PG_RIG_BATCHED(SMALL, .table = "terminated", TWO_COLUMNS));
  for (int round = 0; round < 30; ++round) {
    assert_true(load_goes_on(&now, 50));
    const int failures = atomic_load(&now.rig->failures);
    terminate_others();
    assert_true(test_await_at_least(&now.rig->failures, failures + 1));
  }
  load_finish(&now, "terminated");
}

/* ---- Lost answers ---------------------------------------------------------------------------- */

static void test_lost__an_answer_to_commit_is_found_out(void **state) {
  (void)state;
  pg_make_table("answers", "");
  pg_proxy *proxy = pg_proxy_new(&server, PG_CUT_ANSWER, 5, 30);
  pg_rig *rig = PG_RIG_BATCHED(SMALL, .conninfo = pg_proxy_conninfo(proxy), .table = "answers", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 6000), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  for (int id = 1; id <= 6000; ++id) assert_int_equal(rig->settled[id], 1);
  assert_int_equal(atomic_load(&rig->delivered_items), 6000);
  assert_int_equal(pg_proxy_cuts(proxy), 30);
  assert_true(atomic_load(&rig->failures) >= 30);
  assert_int_equal(pg_rig_retries(rig), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_proxy_free(proxy);
  pg_assert_rows("answers", 1, 6000);
}

/* The old transaction is still under way when the batch is offered again, and commits after that. */
static void test_lost__a_transaction_that_is_still_under_way_is_waited_for(void **state) {
  (void)state;
  pg_make_table("slow", "");
  pg_do(&server, "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql "
                 "AS 'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END'");
  pg_do(&server, "CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
                 "WHEN (NEW.id %% 20 = 0) EXECUTE FUNCTION dawdle()");
  pg_proxy *proxy = pg_proxy_new(&server, PG_CUT_CLIENT, 2, 3);
  pg_rig *rig = PG_RIG_BATCHED(SMALL, .conninfo = pg_proxy_conninfo(proxy), .table = "slow", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 160), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(pg_proxy_cuts(proxy), 3);
  assert_int_equal(pg_rig_retries(rig), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_proxy_free(proxy);
  pg_assert_rows("slow", 1, 160);
}

/* The answer to taking the name is the first COMMIT: taking it again is right. */
static void test_lost__an_answer_to_taking_the_name_does_no_harm(void **state) {
  (void)state;
  pg_make_table("named", "");
  pg_proxy *proxy = pg_proxy_new(&server, PG_CUT_ANSWER, 1, 1);
  pg_rig *rig = PG_RIG(.conninfo = pg_proxy_conninfo(proxy), .table = "named", .writer = "named", TWO_COLUMNS);
  assert_true(test_await_at_least(&rig->ready, 1));
  assert_int_equal(pg_proxy_cuts(proxy), 1);
  assert_int_equal(pg_rig_send(rig, 1, 15), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_proxy_free(proxy);
  pg_assert_rows("named", 1, 15);
}

/* The answer is lost, and the batch is out of time before it could be asked for: the batcher's next round finds it. */
static void test_lost__a_later_round_finds_what_was_committed(void **state) {
  (void)state;
  pg_make_table("rounds", "");
  pg_proxy *proxy = pg_proxy_new(&server, PG_CUT_ANSWER, 2, 1);
  pg_rig *rig = PG_RIG(.conninfo = pg_proxy_conninfo(proxy), .table = "rounds", .timeout_us = 20000000,
                       .backoff_us = 60000000, .longest_backoff_us = 60000000, TWO_COLUMNS);
  assert_true(test_await_at_least(&rig->ready, 1));
  assert_int_equal(pg_rig_send(rig, 1, 15), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -ECONNRESET); /* the pause would be longer than the time there is */
  assert_int_equal(pg_ask(&server, "SELECT count(*) FROM rounds"), 15);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(pg_proxy_cuts(proxy), 1);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_proxy_free(proxy);
  pg_assert_rows("rounds", 1, 15);
}

static void test_lost__a_row_of_progress_that_is_gone_is_told(void **state) {
  (void)state;
  pg_make_table("amnesia", "");
  pg_rig *rig = PG_RIG(.table = "amnesia", .writer = "amnesia", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 5), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  pg_do(&server, "DELETE FROM bw_progress WHERE writer = 'amnesia'");
  assert_int_equal(pg_rig_send(rig, 6, 9), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -ESTALE);
  assert_non_null(strstr(pg_rig_failure(rig).message, "gone"));
  pg_rig_drop(rig);
  pg_assert_rows("amnesia", 1, 5);
}

/* ---- Away ------------------------------------------------------------------------------------ */

static void test_away__at_creation(void **state) {
  (void)state;
  pg_make_table("away", "");
  pg_server_stop(&server, SIGINT);
  pg_rig *rig = PG_RIG(.table = "away", .timeout_us = 300000, TWO_COLUMNS);
  assert_true(test_await_at_least(&rig->failures, 2)); /* it goes on trying without a batch */
  assert_int_equal(pg_rig_send(rig, 1, 10), 0);
  assert_int_equal(bw_batch_flush(rig->batch), -ECONNREFUSED);
  assert_int_equal(atomic_load(&rig->ready), 0);
  pg_server_start(&server);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows("away", 1, 10);
}

static void test_away__a_connection_that_ends_while_idle_is_replaced(void **state) {
  (void)state;
  pg_make_table("idle", "");
  pg_rig *rig = PG_RIG(.table = "idle", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 10), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  terminate_others();
  assert_true(test_await_at_least(&rig->failures, 1)); /* noticed without a batch */
  assert_int_equal(pg_rig_send(rig, 11, 20), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(atomic_load(&rig->failures), 1);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows("idle", 1, 20);
}

/* ---- Hanging --------------------------------------------------------------------------------- */

static void test_hang__close_for_times_out_and_can_be_called_again(void **state) {
  (void)state;
  pg_make_table("hang", "");
  pg_rig *rig = PG_RIG(.table = "hang", TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 10), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  pg_server_signal_all(&server, SIGSTOP);
  const int sent = pg_rig_send(rig, 11, 20);
  const int code = bw_batch_close_for(rig->batch, 200000);
  pg_server_signal_all(&server, SIGCONT);
  assert_int_equal(sent, 0);
  assert_int_equal(code, -ETIMEDOUT);
  assert_int_equal(pg_rig_free(rig), 0);
  pg_assert_rows("hang", 1, 20);
}

static int64_t free_batch(void *batch) {
  bw_batch_free(batch);
  return 0;
}

static void test_hang__free_ends_and_tells(void **state) {
  (void)state;
  pg_make_table("hung", "");
  pg_rig *rig = PG_RIG_BATCHED((.flags = BW_BACKGROUND, .max_items = 10, .buffers = 3), .table = "hung",
                               .timeout_us = 300000, TWO_COLUMNS);
  assert_int_equal(pg_rig_send(rig, 1, 10), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  pg_server_signal_all(&server, SIGSTOP);
  const int sent = pg_rig_send(rig, 11, 35);
  test_thread thread;
  test_thread_start(&thread, free_batch, rig->batch);
  const int64_t result = test_thread_join(&thread); /* ends the program if it hangs */
  pg_server_signal_all(&server, SIGCONT);
  assert_int_equal(sent, 0);
  assert_int_equal(result, 0);
  for (int id = 11; id <= 35; ++id) {
    assert_int_equal(rig->settled[id], 1);
    assert_int_equal(rig->codes[id], -ETIMEDOUT);
  }
  rig->batch = NULL;
  pg_rig_drop(rig);
  pg_assert_rows("hung", 1, 10);
}

static void test_hang__free_ends_while_connecting(void **state) {
  (void)state;
  pg_server_signal_all(&server, SIGSTOP);
  pg_rig *rig = PG_RIG(.table = "hung", .timeout_us = 3600000000u);
  test_thread thread;
  test_thread_start(&thread, free_batch, rig->batch);
  test_thread_join(&thread);
  pg_server_signal_all(&server, SIGCONT);
  rig->batch = NULL;
  pg_rig_drop(rig);
}

/* ---- Closing from within --------------------------------------------------------------------- */

typedef struct closer {
  bw_batch_t *batch;
  atomic_int code; /* of the last poll */
} closer;

static void poll_again(void *arg) {
  closer *self = arg;
  const bw_waker_t wake = {poll_again, self};
  atomic_store(&self->code, bw_batch_poll_close(self->batch, &wake));
}

static bool is_closed(void *arg) {
  return atomic_load(&((closer *)arg)->code) == 0;
}

/* The waker that closes the batcher is called by the drain's own answer, in the drain's own thread. */
static void test_close__may_come_from_the_drains_own_thread(void **state) {
  (void)state;
  pg_make_table("within", "");
  bw_postgres_options_t options = BW_POSTGRES_OPTIONS_INIT;
  options.conninfo = server.conninfo;
  options.table = "within";
  options.columns = (const char *const[]){"id", "body"};
  options.column_count = 2;
  closer self = {NULL, -EAGAIN};
  assert_int_equal(bw_postgres_new(&self.batch, &options, NULL), 0);
  assert_int_equal(bw_batch_send(self.batch, "1\trow 1", 7), 0);
  poll_again(&self);
  assert_true(test_await(is_closed, &self));
  bw_batch_free(self.batch);
  pg_assert_rows("within", 1, 1);
}

/* ---- Kills ----------------------------------------------------------------------------------- */

static sem_t is_ready;
static int64_t begin_at;

static void note_position(void *arg, uint64_t position) {
  (void)arg;
  begin_at = (int64_t)position;
  sem_post(&is_ready);
}

/* A producer that goes on where the one before was; with `rows`, it ends after so many. */
static _Noreturn void live(int64_t rows) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  bw_postgres_options_t options = BW_POSTGRES_OPTIONS_INIT;
  options.conninfo = server.conninfo;
  options.table = "killed";
  options.columns = (const char *const[]){"id", "body"};
  options.column_count = 2;
  options.writer = "killed";
  options.on_ready = note_position;
  bw_batch_options_t batching = BW_BATCH_OPTIONS_INIT;
  batching.flags = BW_BACKGROUND;
  batching.max_items = 30;
  bw_batch_t *batch;
  EXPECT(sem_init(&is_ready, 0, 0) == 0);
  EXPECT(bw_postgres_new(&batch, &options, &batching) == 0);
  EXPECT(sem_wait(&is_ready) == 0);
  for (int64_t id = begin_at + 1; rows == 0 || id <= begin_at + rows; ++id) {
    char line[64];
    const int length = snprintf(line, sizeof line, "%lld\trow %lld\n", (long long)id, (long long)id);
    EXPECT(bw_batch_send(batch, line, (size_t)length) == 0);
  }
  EXPECT(bw_batch_close(batch) == 0);
  bw_batch_free(batch);
  _exit(0);
}

static pid_t start_life(int64_t rows) {
  fflush(NULL);
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) live(rows);
  return child;
}

static void test_killed__a_producer_goes_on_and_each_row_is_there_once(void **state) {
  (void)state;
  pg_make_table("killed", "");
  const int rounds = faults_is_long() ? 300 : 25;
  uint64_t random = (uint64_t)time(NULL);
  print_message("seed %llu\n", (unsigned long long)random);
  for (int round = 0; round < rounds; ++round) {
    const pid_t child = start_life(0);
    usleep((useconds_t)(test_random(&random) % 120000));
    assert_int_equal(kill(child, SIGKILL), 0);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status)); /* it did not end by itself, by a failure */
  }
  const pid_t child = start_life(100);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  const long long position = pg_ask(&server, "SELECT position FROM bw_progress WHERE writer = 'killed'");
  print_message("%d kills, %lld rows\n", rounds, position);
  assert_true(position > 100); /* some came through before the last life */
  pg_assert_rows("killed", 1, (int)position);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_load__survives_restarts),
      cmocka_unit_test(test_load__survives_terminated_backends),
      cmocka_unit_test(test_lost__an_answer_to_commit_is_found_out),
      cmocka_unit_test(test_lost__a_transaction_that_is_still_under_way_is_waited_for),
      cmocka_unit_test(test_lost__an_answer_to_taking_the_name_does_no_harm),
      cmocka_unit_test(test_lost__a_later_round_finds_what_was_committed),
      cmocka_unit_test(test_lost__a_row_of_progress_that_is_gone_is_told),
      cmocka_unit_test(test_away__at_creation),
      cmocka_unit_test(test_away__a_connection_that_ends_while_idle_is_replaced),
      cmocka_unit_test(test_hang__close_for_times_out_and_can_be_called_again),
      cmocka_unit_test(test_hang__free_ends_and_tells),
      cmocka_unit_test(test_hang__free_ends_while_connecting),
      cmocka_unit_test(test_close__may_come_from_the_drains_own_thread),
      cmocka_unit_test(test_killed__a_producer_goes_on_and_each_row_is_there_once),
  };
  return cmocka_run_group_tests(tests, pg_group_setup, pg_group_teardown);
}
