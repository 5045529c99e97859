/*
 * Batchers under steady traffic, and one whose sink is busy elsewhere.
 */
#include "../support/batch_rig.h"

/* ---- Traffic --------------------------------------------------------------------------------- */

enum { kSenders = 2 };

/* Threads that send all the time, over a sink that always has something to do. */
struct traffic {
  bw_batch_t *batch;
  test_thread senders[kSenders];
  atomic_bool over;
  bool keeps_first; /* it takes the first batch and does not answer */
  bw_batch_view_t *kept;
  atomic_int offers, flushes;
};

static int slow_write(void *ctx, bw_batch_view_t *view) {
  struct traffic *traffic = ctx;
  const bool keeps = traffic->keeps_first && bw_batch_serial(view) == 1;
  if (keeps) traffic->kept = view;
  else test_pause(); /* the others send meanwhile */
  atomic_fetch_add(&traffic->offers, 1);
  return keeps ? BW_BATCH_TAKEN : 0;
}

static int count_flush(void *ctx) {
  atomic_fetch_add(&((struct traffic *)ctx)->flushes, 1);
  return 0;
}

static int64_t send_until_over(void *arg) {
  struct traffic *traffic = arg;
  while (!atomic_load(&traffic->over)) {
    const int code = bw_batch_send(traffic->batch, "x", 1);
    if (code == -EAGAIN) test_pause();
    else if (code != 0) return code;
  }
  return 0;
}

static struct traffic *traffic_start(void **state, bool keeps_first) {
  const bw_batch_sink_t sink = {.size = sizeof sink, .write = slow_write, .flush = count_flush};
  const bw_batch_options_t options = {.size = sizeof options, .flags = BATCH_FLAGS(state), .max_items = 1,
                                      .buffers = 6, .max_in_flight = 2,
                                      .when_full = keeps_first ? BW_FULL_WAIT : BW_FULL_FAIL};
  struct traffic *traffic = calloc(1, sizeof *traffic);
  assert_non_null(traffic);
  traffic->keeps_first = keeps_first;
  assert_int_equal(bw_batch_new(&traffic->batch, &sink, traffic, &options), 0);
  for (int i = 0; i < kSenders; ++i) test_thread_start(&traffic->senders[i], send_until_over, traffic);
  assert_true(test_await_at_least(&traffic->offers, 10));
  return traffic;
}

static void traffic_stop(struct traffic *traffic) {
  atomic_store(&traffic->over, true);
  for (int i = 0; i < kSenders; ++i) assert_int_equal(test_thread_join(&traffic->senders[i]), 0);
}

static void traffic_free(struct traffic *traffic) {
  bw_batch_free(traffic->batch);
  free(traffic);
}

static bool has_finished(void *thread) { return test_thread_finished(thread); }

static int64_t flush(void *batch) { return bw_batch_flush(batch); }
static int64_t flush_for_a_while(void *batch) { return bw_batch_flush_for(batch, 5000); }

/* Inline it may go on with what the others seal, as who is in the sink does. */
static void test_batch_repair__a_flush_gets_the_sink_while_others_keep_it_busy(void **state) {
  struct traffic *traffic = traffic_start(state, false);
  test_thread flushing;
  test_thread_start(&flushing, flush, traffic->batch);
  const bool flushes = test_await_at_least(&traffic->flushes, 1);
  traffic_stop(traffic);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_true(flushes);
  traffic_free(traffic);
}

static void test_batch_repair__a_flush_with_time_ends_while_others_send(void **state) {
  struct traffic *traffic = traffic_start(state, true);
  test_thread flushing;
  test_thread_start(&flushing, flush_for_a_while, traffic->batch);
  const bool finished = test_await(has_finished, &flushing);
  traffic_stop(traffic);
  assert_int_equal(test_thread_join(&flushing), -ETIMEDOUT);
  assert_true(finished);
  assert_int_equal(bw_batch_done(traffic->kept, 0, NULL), 0);
  assert_int_equal(bw_batch_flush(traffic->batch), 0);
  traffic_free(traffic);
}

/* ---- A busy sink ----------------------------------------------------------------------------- */

static void test_batch_repair__our_thread_sleeps_while_the_sink_is_busy_and_a_back_off_is_over(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 4, .max_in_flight = 2, .retries = 1, .backoff_us = 1);
  batch_call call = {.rig = rig};
  test_thread flushing;
  BATCH_SCRIPT(rig, BATCH_OFFER, BW_BATCH_TAKEN, BW_BATCH_TAKEN);
  batch_rig_gate(rig, BATCH_KIND(BATCH_FLUSH));
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_non_null(batch_rig_taken(rig, 0));
  test_thread_start(&flushing, batch_call_flush, &call);
  assert_false(test_thread_settle(&flushing));
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  assert_non_null(batch_rig_taken(rig, 1));
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_true(test_gate_await(&rig->gate, 1)); /* the sink is in its flush */
  assert_int_equal(batch_rig_answer(rig, -EIO), 0);
  const bool sleeps = test_others_settle();
  test_gate_open(&rig->gate);
  assert_int_equal(test_thread_join(&flushing), 0);
  assert_true(sleeps);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_offers(rig, "(1) (2) (2)");
  batch_rig_free(rig);
}

/* Inline, its sealer leaves a batch to who is in the sink; so also to our thread, which is there for a retry only. */
static void test_batch_repair__our_thread_offers_what_was_sealed_while_it_was_in_the_sink(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 4, .retries = 1, .backoff_us = 1);
  BATCH_SCRIPT(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_non_null(batch_rig_taken(rig, 0));
  batch_rig_gate(rig, BATCH_KIND(BATCH_OFFER));
  assert_int_equal(batch_rig_answer(rig, -EIO), 0);
  assert_true(test_gate_await(&rig->gate, 1));
  assert_int_equal(batch_rig_send(rig, "2"), 0);
  test_gate_open(&rig->gate);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_offers(rig, "(1) (1) (2)");
  batch_rig_free(rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SHARED(test_batch_repair__a_flush_gets_the_sink_while_others_keep_it_busy),
      IN_SHARED(test_batch_repair__a_flush_with_time_ends_while_others_send),
      IN_SHARED(test_batch_repair__our_thread_sleeps_while_the_sink_is_busy_and_a_back_off_is_over),
      IN_ALL(test_batch_repair__our_thread_offers_what_was_sealed_while_it_was_in_the_sink),
  };
  return cmocka_run_group_tests_name("batch_repair", tests, NULL, NULL);
}
