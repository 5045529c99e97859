/*
 * Calls made inside callbacks and inside the sink: every one but free is allowed, and none waits.
 */
#include "../support/batch_rig.h"

/* The calls to make in the first callback of one kind, and what they gave. */
struct inside {
  enum batch_kind kind;
  void (*body)(batch_rig *rig, struct inside *inside);
  atomic_int done;
  int codes[10];
  int64_t count;
  bw_batch_t *other;
};

static void make_calls(batch_rig *rig, enum batch_kind kind) {
  struct inside *inside = rig->hook_arg;
  if (kind != inside->kind || atomic_load(&inside->done)) return;
  inside->body(rig, inside);
  atomic_store(&inside->done, 1);
}

static void call_inside(batch_rig *rig, struct inside *inside) {
  pthread_mutex_lock(&rig->mutex);
  rig->hook_arg = inside;
  rig->hook = make_calls;
  pthread_mutex_unlock(&rig->mutex);
}

/* Makes each kind of callback come: of a batch of two items and the waker of a poll. */
static void run_all_callbacks(batch_rig *rig) {
  const bw_waker_t wake = batch_rig_waker(rig, 1);
  BATCH_SCRIPT(rig, BATCH_OFFER, -EAGAIN);
  assert_int_equal(batch_rig_start_send(rig, "1,2"), 0);
  assert_true(batch_rig_await(rig, BATCH_OFFER, 1));
  /* 0: it was woken inside a callback already. */
  if (bw_batch_poll_flush(rig->batch, &wake) == -EAGAIN) {
    assert_int_equal(bw_batch_wake(rig->batch), 0);
    assert_true(test_waker_await(&rig->wakers[1].waker, 1));
  }
  assert_int_equal(batch_rig_until(rig, bw_batch_poll_flush), 0);
}

static batch_rig *rig_for(void **state, uint32_t when_full) {
  return BATCH_RIG(state, .max_items = 2, .buffers = 3, .when_full = when_full, .high_percent = 10, .low_percent = 5);
}

/* ---- What would wait ------------------------------------------------------------------------- */

static void flush_and_close(batch_rig *rig, struct inside *inside) {
  inside->codes[0] = bw_batch_flush(rig->batch);
  inside->codes[1] = bw_batch_flush_for(rig->batch, -1);
  inside->codes[2] = bw_batch_flush_for(rig->batch, 0);
  inside->codes[3] = bw_batch_close(rig->batch);
  inside->codes[4] = bw_batch_close_for(rig->batch, -1);
}

static void test_batch_inside__flush_and_close_are_EDEADLK(void **state) {
  for (int kind = 0; kind < BATCH_KINDS; ++kind) {
    if (kind == BATCH_CLOSE) continue; /* below */
    struct inside inside = {.kind = (enum batch_kind)kind, .body = flush_and_close};
    batch_rig *rig = rig_for(state, BW_FULL_WAIT);
    call_inside(rig, &inside);
    run_all_callbacks(rig);
    assert_true(test_await_at_least(&inside.done, 1));
    for (int i = 0; i < 5; ++i) assert_int_equal(inside.codes[i], -EDEADLK);
    assert_int_equal(batch_rig_send(rig, "3"), 0); /* it is still open */
    batch_rig_free(rig);
  }
}

static void test_batch_inside__flush_and_close_in_the_sinks_close_are_EDEADLK(void **state) {
  struct inside inside = {.kind = BATCH_CLOSE, .body = flush_and_close};
  batch_rig *rig = rig_for(state, BW_FULL_WAIT);
  call_inside(rig, &inside);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  for (int i = 0; i < 5; ++i) assert_int_equal(inside.codes[i], -EDEADLK);
  assert_int_equal(batch_rig_count(rig, BATCH_CLOSE), 1);
  batch_rig_free(rig);
}

static void send_three(batch_rig *rig, struct inside *inside) {
  for (int i = 0; i < 3; ++i) inside->codes[i] = batch_rig_send(rig, "x");
}

/* Two buffers of one item: [1] and its callback use one, so there is room for one more item. */
static void check_sends(void **state, enum batch_kind kind, uint32_t when_full, int without_room) {
  struct inside inside = {.kind = kind, .body = send_three};
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 2, .when_full = when_full);
  call_inside(rig, &inside);
  assert_int_equal(batch_rig_send(rig, "1"), 0);
  assert_true(test_await_at_least(&inside.done, 1));
  assert_int_equal(inside.codes[0], 0);
  assert_int_equal(inside.codes[1], without_room);
  assert_int_equal(inside.codes[2], without_room);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,x:ok");
  batch_rig_free(rig);
}

static void test_batch_inside__a_send_without_room_does_not_wait(void **state) {
  check_sends(state, BATCH_OFFER, BW_FULL_WAIT, -EAGAIN);
  check_sends(state, BATCH_DELIVERED, BW_FULL_WAIT, -EAGAIN);
  check_sends(state, BATCH_OFFER, BW_FULL_FAIL, -EAGAIN);
  check_sends(state, BATCH_DELIVERED, BW_FULL_FAIL, -EAGAIN);
}

static void send_one(batch_rig *rig, struct inside *inside) { inside->codes[0] = batch_rig_send(rig, "x"); }

/* A send elsewhere would give the code of the held batch: here nobody has heard of it yet. */
static void test_batch_inside__a_send_that_finds_a_held_batch_in_its_way_does_not_wait(void **state) {
  struct inside inside = {.kind = BATCH_WAKE, .body = send_one};
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 2);
  const bw_waker_t wake = batch_rig_waker(rig, 0);
  BATCH_SCRIPT(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  batch_rig_always(rig, BATCH_OFFER, -EIO);
  call_inside(rig, &inside);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_non_null(batch_rig_taken(rig, 0));
  assert_int_equal(bw_batch_poll_ready(rig->batch, &wake), -EAGAIN);
  assert_int_equal(batch_rig_answer(rig, -EIO), 0);
  assert_true(test_await_at_least(&inside.done, 1));
  assert_int_equal(inside.codes[0], -EAGAIN);
  assert_true(batch_rig_await_error(rig, -EIO)); /* the round that the send has begun is over */
  batch_rig_always(rig, BATCH_OFFER, 0);
  assert_int_equal(bw_batch_wake(rig->batch), 0);
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2:ok");
  batch_rig_free(rig);
}

static void test_batch_inside__drop_oldest_drops_the_newest(void **state) {
  check_sends(state, BATCH_OFFER, BW_FULL_DROP_OLDEST, BW_BATCH_DROPPED);
  check_sends(state, BATCH_DELIVERED, BW_FULL_DROP_OLDEST, BW_BATCH_DROPPED);
  check_sends(state, BATCH_DELIVERED, BW_FULL_DROP_NEWEST, BW_BATCH_DROPPED);
}

/* ---- What is allowed ------------------------------------------------------------------------- */

static void poll_all(batch_rig *rig, struct inside *inside) {
  const bw_waker_t wake = batch_rig_waker(rig, 2);
  inside->codes[0] = bw_batch_poll_ready(rig->batch, &wake);
  inside->codes[1] = batch_rig_start_send(rig, "3");
  inside->codes[2] = bw_batch_poll_flush(rig->batch, &wake);
  inside->codes[3] = bw_batch_unwake(rig->batch, &wake);
}

static void test_batch_inside__polls_are_allowed(void **state) {
  for (int kind = 0; kind < BATCH_KINDS; ++kind) {
    if (kind == BATCH_CLOSE) continue;
    struct inside inside = {.kind = (enum batch_kind)kind, .body = poll_all};
    batch_rig *rig = rig_for(state, BW_FULL_WAIT);
    call_inside(rig, &inside);
    run_all_callbacks(rig);
    assert_true(test_await_at_least(&inside.done, 1));
    assert_int_equal(inside.codes[0], 0);
    assert_int_equal(inside.codes[1], 0);
    assert_true(inside.codes[2] == -EAGAIN || inside.codes[2] == 0);
    assert_true(inside.codes[3] == 0 || inside.codes[3] == 1);
    assert_int_equal(bw_batch_flush(rig->batch), 0);
    assert_int_equal(batch_rig_settled(rig), 3);
    assert_int_equal(batch_rig_stats(rig).total_items, 3);
    batch_rig_free_batch(rig);
    assert_int_equal(batch_rig_woken(rig, 2), inside.codes[2] == -EAGAIN && inside.codes[3] == 0);
    batch_rig_free(rig);
  }
}

static void ask_all(batch_rig *rig, struct inside *inside) {
  bw_batch_stats_t stats = {.size = sizeof stats};
  char text[16];
  inside->codes[0] = bw_batch_wake(rig->batch);
  inside->codes[1] = bw_batch_error(rig->batch);
  inside->codes[2] = bw_batch_get_stats(rig->batch, &stats);
  inside->codes[3] = bw_batch_stats_json(rig->batch, text, sizeof text) > 0 ? 0 : 1;
  inside->codes[4] = bw_batch_buffered(rig->batch) <= 2 ? 0 : 1;
  inside->codes[5] = bw_batch_flushed(rig->batch) <= 1 ? 0 : 1;
}

static void test_batch_inside__what_any_thread_may_call_is_allowed_for_unshared_ones_too(void **state) {
  for (int kind = 0; kind < BATCH_KINDS; ++kind) {
    struct inside inside = {.kind = (enum batch_kind)kind, .body = ask_all};
    batch_rig *rig = rig_for(state, BW_FULL_WAIT);
    call_inside(rig, &inside);
    run_all_callbacks(rig);
    assert_int_equal(bw_batch_close(rig->batch), 0);
    assert_int_equal(atomic_load(&inside.done), 1);
    for (int i = 0; i < 6; ++i) assert_int_equal(inside.codes[i], 0);
    batch_rig_free(rig);
  }
}

static void discard(batch_rig *rig, struct inside *inside) { inside->count = bw_batch_discard(rig->batch); }

static void test_batch_inside__discard_in_delivered_settles_what_is_behind(void **state) {
  struct inside inside = {.kind = BATCH_DELIVERED, .body = discard};
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 3);
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  assert_int_equal(batch_rig_send(rig, "1,2,3"), 0);
  assert_non_null(batch_rig_taken(rig, 0));
  call_inside(rig, &inside);
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_true(test_await_at_least(&inside.done, 1));
  assert_int_equal(batch_rig_finish(rig), 0);
  assert_int_equal(batch_rig_settled(rig), 3);
  /* In the background 2 may be with the sink by then. */
  if (!BATCH_IS_BACKGROUND(state)) assert_delivered(rig, "1:ok 2,3:ECANCELED");
  assert_int_equal(batch_rig_stats(rig).dropped_items, inside.count);
  batch_rig_free(rig);
}

static void answer_second(batch_rig *rig, struct inside *inside) {
  inside->codes[0] = bw_batch_done(rig->taken[1], 0, NULL);
}

static void test_batch_inside__done_in_delivered_does_not_nest(void **state) {
  struct inside inside = {.kind = BATCH_DELIVERED, .body = answer_second};
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 2, .max_in_flight = 2);
  batch_rig_always(rig, BATCH_OFFER, BW_BATCH_TAKEN);
  assert_int_equal(batch_rig_send(rig, "1,2"), 0);
  assert_non_null(batch_rig_taken(rig, 1));
  call_inside(rig, &inside);
  assert_int_equal(batch_rig_answer(rig, 0), 0);
  assert_true(batch_rig_await_settled(rig, 2));
  assert_int_equal(inside.codes[0], 0);
  rig->answered_count = 2;
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_delivered(rig, "1,2:ok");
  batch_rig_free(rig);
}

static void send_until_ten(batch_rig *rig, enum batch_kind kind) {
  if (kind == BATCH_DELIVERED && batch_rig_settled(rig) < 10) (void)batch_rig_send(rig, "x");
}

static void test_batch_inside__each_delivered_may_send_the_next(void **state) {
  batch_rig *rig = BATCH_RIG(state, .max_items = 1, .buffers = 2);
  rig->hook = send_until_ten;
  assert_int_equal(batch_rig_send(rig, "x"), 0);
  assert_true(batch_rig_await_settled(rig, 10));
  assert_int_equal(bw_batch_flush(rig->batch), 0);
  assert_int_equal(batch_rig_settled(rig), 10);
  batch_rig_free(rig);
}

static void take_itself_back(batch_rig *rig, struct inside *inside) {
  const bw_waker_t wake = batch_rig_waker(rig, 1);
  inside->codes[0] = bw_batch_unwake(rig->batch, &wake);
}

static void test_batch_inside__a_waker_may_take_itself_back_without_waiting(void **state) {
  struct inside inside = {.kind = BATCH_WAKE, .body = take_itself_back};
  batch_rig *rig = rig_for(state, BW_FULL_WAIT);
  call_inside(rig, &inside);
  inside.codes[0] = -1;
  run_all_callbacks(rig);
  assert_int_equal(inside.codes[0], 0);
  batch_rig_free(rig);
}

/* ---- Other batchers -------------------------------------------------------------------------- */

static void use_another(batch_rig *rig, struct inside *inside) {
  (void)rig;
  inside->codes[0] = bw_batch_send(inside->other, "a", 1);
  inside->codes[1] = bw_batch_flush(inside->other);
}

static void test_batch_inside__calls_on_another_batcher_wait_as_usual(void **state) {
  static const enum batch_kind kinds[] = {BATCH_OFFER, BATCH_FLUSH, BATCH_DELIVERED};
  for (size_t i = 0; i < 3; ++i) {
    batch_rig *other = BATCH_RIG(state, .max_items = 1), *rig = rig_for(state, BW_FULL_WAIT);
    struct inside inside = {.kind = kinds[i], .body = use_another, .other = other->batch};
    call_inside(rig, &inside);
    run_all_callbacks(rig);
    assert_int_equal(atomic_load(&inside.done), 1);
    assert_int_equal(inside.codes[0], 0);
    assert_int_equal(inside.codes[1], 0);
    assert_delivered(other, "a:ok");
    batch_rig_free(rig);
    batch_rig_free(other);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      /* Callbacks of background unshared ones may make few of these calls: they are on a thread of ours. */
      IN_INLINE(test_batch_inside__flush_and_close_are_EDEADLK),
      IN(Background, test_batch_inside__flush_and_close_are_EDEADLK),
      IN_SHARED(test_batch_inside__flush_and_close_in_the_sinks_close_are_EDEADLK),
      IN(Unshared, test_batch_inside__flush_and_close_in_the_sinks_close_are_EDEADLK),
      IN_INLINE(test_batch_inside__a_send_without_room_does_not_wait),
      IN_ALL(test_batch_inside__a_send_that_finds_a_held_batch_in_its_way_does_not_wait),
      IN(Background, test_batch_inside__a_send_without_room_does_not_wait),
      IN_INLINE(test_batch_inside__drop_oldest_drops_the_newest),
      IN(Background, test_batch_inside__drop_oldest_drops_the_newest),
      IN_INLINE(test_batch_inside__polls_are_allowed),
      IN(Background, test_batch_inside__polls_are_allowed),
      IN_ALL(test_batch_inside__what_any_thread_may_call_is_allowed_for_unshared_ones_too),
      IN_INLINE(test_batch_inside__discard_in_delivered_settles_what_is_behind),
      IN(Background, test_batch_inside__discard_in_delivered_settles_what_is_behind),
      IN_ALL(test_batch_inside__done_in_delivered_does_not_nest),
      IN_INLINE(test_batch_inside__each_delivered_may_send_the_next),
      IN(Background, test_batch_inside__each_delivered_may_send_the_next),
      IN_INLINE(test_batch_inside__a_waker_may_take_itself_back_without_waiting),
      IN(Background, test_batch_inside__a_waker_may_take_itself_back_without_waiting),
      IN_ALL(test_batch_inside__calls_on_another_batcher_wait_as_usual),
  };
  return cmocka_run_group_tests_name("batch_inside", tests, NULL, NULL);
}
