/*
 * Batchers and many threads: every item exactly once, each producer's in order; and random faults against a model.
 *
 * BW_LONG in the environment: a million items of each producer instead of 100,000.
 */
#include "../support/batch_rig.h"

enum { kProducers = 8 };

static uint64_t items_each(void) { return getenv("BW_LONG") ? 1000000 : 100000; }

/* ---- A sink that counts ---------------------------------------------------------------------- */

/* An item: who sent it, and its number among that producer's. */
struct item {
  uint32_t producer, number;
};

/* What has come so far. Each field belongs to one callback at a time. */
struct counts {
  uint64_t offered[kProducers], delivered[kProducers]; /* the next number of each producer */
  uint64_t wrong;
  uint64_t dropped; /* items told as dropped or discarded */
  bool gaps;        /* items may be missing, but not out of order */
  atomic_uint_fast64_t calls;
};

static void count_items(struct counts *counts, uint64_t *next, const struct iovec *items, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    struct item it;
    memcpy(&it, items[i].iov_base, sizeof it);
    if (items[i].iov_len != sizeof it || it.producer >= kProducers) ++counts->wrong;
    else if (counts->gaps ? it.number < next[it.producer] : it.number != next[it.producer]) ++counts->wrong;
    else next[it.producer] = it.number + 1;
  }
}

static int count_offer(void *ctx, bw_batch_view_t *view) {
  struct counts *counts = ctx;
  size_t count;
  const struct iovec *items = bw_batch_items(view, &count);
  /* Every 16th call: not ready once, or failing once; the same batch comes again. */
  const uint_fast64_t call = atomic_fetch_add(&counts->calls, 1);
  if (call % 16 == 7) return -EINTR;
  if (call % 16 == 15) return -EIO;
  count_items(counts, counts->offered, items, count);
  return 0;
}

static void count_delivered(void *arg, const struct iovec *items, size_t count, int code) {
  struct counts *counts = arg;
  if (code == 0) count_items(counts, counts->delivered, items, count);
  else if (code == -ENOBUFS || code == -ECANCELED) counts->dropped += count;
  else ++counts->wrong;
}

static bw_batch_options_t counting_options(struct counts *counts, uint32_t flags) {
  return (bw_batch_options_t){.size = sizeof(bw_batch_options_t),
                              .flags = flags,
                              .max_items = 100,
                              .buffers = 4,
                              .item_size = sizeof(struct item),
                              .retries = 3,
                              .delivered = count_delivered,
                              .arg = counts};
}

static bw_batch_t *counting_batch(struct counts *counts, const bw_batch_options_t *options) {
  const bw_batch_sink_t sink = {.size = sizeof sink, .write = count_offer};
  bw_batch_t *batch = NULL;
  assert_int_equal(bw_batch_new(&batch, &sink, counts, options), 0);
  return batch;
}

/* ---- Producers ------------------------------------------------------------------------------- */

struct producer {
  bw_batch_t *batch;
  uint32_t index;
  uint64_t each;
  uint64_t refused; /* items dropped by when_full: not accepted */
};

/* Runs `body` for eight producers of a batch; the sum of what they were refused. */
static uint64_t run_producers(bw_batch_t *batch, uint64_t each, int64_t (*body)(void *)) {
  struct producer producers[kProducers];
  test_thread threads[kProducers];
  uint64_t refused = 0;
  for (uint32_t i = 0; i < kProducers; ++i) {
    producers[i] = (struct producer){batch, i, each, 0};
    test_thread_start(&threads[i], body, &producers[i]);
  }
  for (int i = 0; i < kProducers; ++i) {
    assert_int_equal(test_thread_join(&threads[i]), 0);
    refused += producers[i].refused;
  }
  return refused;
}

static int64_t send_all(void *arg) {
  struct producer *producer = arg;
  for (uint32_t i = 0; i < producer->each; ++i) {
    const struct item it = {producer->index, i};
    const int code = bw_batch_send(producer->batch, &it, sizeof it);
    if (code < 0) return code;
    producer->refused += code == BW_BATCH_DROPPED;
  }
  return 0;
}

static int64_t send_and_flush(void *arg) {
  struct producer *producer = arg;
  for (uint32_t i = 0; i < producer->each; ++i) {
    const struct item it = {producer->index, i};
    const struct iovec parts[2] = {{(void *)&it, 4}, {(char *)&it + 4, 4}};
    int code = bw_batch_sendv(producer->batch, parts, 2);
    if (code == 0 && i % 50 == producer->index) code = bw_batch_flush(producer->batch);
    if (code != 0) return code;
  }
  return 0;
}

/* By the four phases, with a waker of its own. */
static int64_t poll_all(void *arg) {
  struct producer *producer = arg;
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  int64_t result = 0;
  for (uint32_t i = 0; i < producer->each && result == 0;) {
    const struct item it = {producer->index, i};
    const int before = atomic_load(&waker.calls);
    int code = bw_batch_poll_ready(producer->batch, &wake);
    if (code == -EAGAIN && !test_waker_await(&waker, before + 1)) result = -ETIMEDOUT;
    if (code == 0) code = bw_batch_start_send(producer->batch, &it, sizeof it);
    if (code == 0) ++i;
    else if (code != -EAGAIN) result = code;
  }
  if (bw_batch_unwake(producer->batch, &wake) != 0 && result == 0) result = -EPROTO;
  return result;
}

static void assert_all_came(const struct counts *counts, uint64_t each) {
  assert_int_equal(counts->wrong, 0);
  for (int i = 0; i < kProducers; ++i) {
    assert_int_equal(counts->offered[i], each);
    assert_int_equal(counts->delivered[i], each);
  }
}

static void check_producers(void **state, uint64_t each, int64_t (*body)(void *)) {
  struct counts *counts = calloc(1, sizeof *counts);
  const bw_batch_options_t options = counting_options(counts, BATCH_FLAGS(state));
  bw_batch_t *batch = counting_batch(counts, &options);
  assert_int_equal(run_producers(batch, each, body), 0);
  assert_int_equal(bw_batch_close(batch), 0);
  assert_all_came(counts, each);
  bw_batch_stats_t stats = {.size = sizeof stats};
  assert_int_equal(bw_batch_get_stats(batch, &stats), 0);
  assert_int_equal(stats.total_items, kProducers * each);
  assert_int_equal(stats.bytes, kProducers * each * sizeof(struct item));
  assert_int_equal(stats.failed_items + stats.dropped_items + stats.buffered_items + stats.in_flight_items, 0);
  bw_batch_free(batch);
  free(counts);
}

static void test_batch_threads__every_item_arrives_once_and_in_order(void **state) {
  check_producers(state, items_each(), send_all);
}

static void test_batch_threads__flushes_in_between_change_nothing(void **state) {
  check_producers(state, items_each() / 50, send_and_flush);
}

static void test_batch_threads__by_polls_too(void **state) { check_producers(state, items_each() / 50, poll_all); }

static void test_batch_threads__with_a_linger_too(void **state) {
  struct counts *counts = calloc(1, sizeof *counts);
  bw_batch_options_t options = counting_options(counts, BATCH_FLAGS(state));
  options.linger_us = 20;
  bw_batch_t *batch = counting_batch(counts, &options);
  assert_int_equal(run_producers(batch, items_each() / 10, send_all), 0);
  assert_int_equal(bw_batch_close(batch), 0);
  assert_all_came(counts, items_each() / 10);
  bw_batch_free(batch);
  free(counts);
}

static void test_batch_threads__items_dropped_are_counted(void **state) {
  static const uint32_t policies[] = {BW_FULL_DROP_NEWEST, BW_FULL_DROP_OLDEST};
  for (size_t i = 0; i < 2; ++i) {
    struct counts *counts = calloc(1, sizeof *counts);
    const uint64_t each = items_each() / 10;
    bw_batch_options_t options = counting_options(counts, BATCH_FLAGS(state));
    options.when_full = policies[i];
    counts->gaps = true;
    bw_batch_t *batch = counting_batch(counts, &options);
    const uint64_t refused = run_producers(batch, each, send_all);
    assert_int_equal(bw_batch_close(batch), 0);
    bw_batch_stats_t stats = {.size = sizeof stats};
    assert_int_equal(bw_batch_get_stats(batch, &stats), 0);
    assert_int_equal(counts->wrong, 0);
    assert_int_equal(stats.dropped_items, refused + counts->dropped);
    assert_int_equal(stats.total_items + stats.dropped_items, kProducers * each);
    bw_batch_free(batch);
    free(counts);
  }
}

/* ---- Answers from other threads -------------------------------------------------------------- */

/* A sink that takes every batch; some threads answer them. */
struct answering {
  struct counts counts;
  pthread_mutex_t mutex;
  bw_batch_view_t *views[8];
  size_t waiting;
  bool over;
};

static int take_offer(void *ctx, bw_batch_view_t *view) {
  struct answering *answering = ctx;
  size_t count;
  const struct iovec *items = bw_batch_items(view, &count);
  count_items(&answering->counts, answering->counts.offered, items, count);
  pthread_mutex_lock(&answering->mutex);
  answering->views[answering->waiting++] = view; /* it may be answered before this returns */
  pthread_mutex_unlock(&answering->mutex);
  return BW_BATCH_TAKEN;
}

static int64_t answer_until_over(void *arg) {
  struct answering *answering = arg;
  int64_t wrong = 0;
  for (bool over = false; !over;) {
    bw_batch_view_t *view = NULL;
    pthread_mutex_lock(&answering->mutex);
    over = answering->over;
    if (answering->waiting) view = answering->views[--answering->waiting]; /* the newest first */
    pthread_mutex_unlock(&answering->mutex);
    if (view) wrong += bw_batch_done(view, 0, NULL) != 0;
    else test_pause();
  }
  return wrong;
}

static void count_any_order(void *arg, const struct iovec *items, size_t count, int code) {
  struct answering *answering = arg;
  (void)items;
  if (code != 0) ++answering->counts.wrong;
  answering->counts.delivered[0] += count;
}

static void test_batch_threads__answers_come_from_many_threads_in_any_order(void **state) {
  enum { kAnswering = 3 };
  struct answering *answering = calloc(1, sizeof *answering);
  const bw_batch_sink_t sink = {.size = sizeof sink, .write = take_offer};
  bw_batch_options_t options = counting_options(&answering->counts, BATCH_FLAGS(state));
  test_thread threads[kAnswering];
  bw_batch_t *batch = NULL;
  const uint64_t each = items_each() / 20;
  pthread_mutex_init(&answering->mutex, NULL);
  options.max_in_flight = 4;
  options.buffers = 6;
  options.delivered = count_any_order;
  options.arg = answering;
  assert_int_equal(bw_batch_new(&batch, &sink, answering, &options), 0);
  for (int i = 0; i < kAnswering; ++i) test_thread_start(&threads[i], answer_until_over, answering);
  assert_int_equal(run_producers(batch, each, send_all), 0);
  bw_batch_free(batch); /* it waits for the answers */
  pthread_mutex_lock(&answering->mutex);
  answering->over = true;
  pthread_mutex_unlock(&answering->mutex);
  for (int i = 0; i < kAnswering; ++i) assert_int_equal(test_thread_join(&threads[i]), 0);
  assert_int_equal(answering->counts.wrong, 0);
  assert_int_equal(answering->counts.delivered[0], kProducers * each);
  for (int i = 0; i < kProducers; ++i) assert_int_equal(answering->counts.offered[i], each);
  pthread_mutex_destroy(&answering->mutex);
  free(answering);
}

/* ---- Random faults against a model ----------------------------------------------------------- */

enum { kSeeds = 150, kSteps = 400, kItemsMost = 2 * kSteps };

enum item_state { ITEM_UNKNOWN, ITEM_ACCEPTED, ITEM_SETTLED };

/* Items are spelled as their number among those accepted, from 1. Fields belong to whoever holds `mutex`. */
struct model {
  pthread_mutex_t mutex;
  uint64_t random;
  bool calm; /* the sink takes everything */
  bool in_order;
  enum item_state states[kItemsMost + 1];
  int last[kItemsMost + 1]; /* the sink's last answer for it, bare; INT_MAX: none */
  int accepted;             /* how many */
  uint64_t first;           /* of the last offer */
  uint64_t ok, failed, dropped;
  const char *wrong;
};

static struct model *current; /* a hook has no argument of ours */

static const int kAnswers[] = {0, 0, 0, 0, -EIO, -ENOSPC, -EAGAIN, -EINTR, -EPERM - BW_FINAL, BW_BATCH_TAKEN,
                               BW_BATCH_TAKEN, 7};

static int bare(int code) { return code <= -BW_FINAL ? code + BW_FINAL : code > 0 ? -EPROTO : code; }

static void found(struct model *model, const char *what) {
  if (!model->wrong) model->wrong = what;
}

/* With the mutex: takes note of the answer for each item of a text. */
static void note_answer(struct model *model, const char *text, int code) {
  for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) model->last[atoi(at)] = bare(code);
}

static int judge_offer(batch_rig *rig, const batch_event *offer) {
  struct model *model = current;
  (void)rig;
  if (offer->kind != BATCH_OFFER) return 0;
  pthread_mutex_lock(&model->mutex);
  if (offer->first != (uint64_t)atoi(offer->text)) found(model, "an offer's first item has another number");
  if (model->in_order && offer->first < model->first) found(model, "an older batch came after a newer one");
  for (const char *at = offer->text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (model->states[atoi(at)] != ITEM_ACCEPTED) found(model, "an item was offered that is not there");
  model->first = offer->first;
  const int answer =
      model->calm ? 0 : kAnswers[test_random(&model->random) % (sizeof kAnswers / sizeof kAnswers[0])];
  if (answer != BW_BATCH_TAKEN) note_answer(model, offer->text, answer);
  pthread_mutex_unlock(&model->mutex);
  return answer;
}

/* With the mutex: `number` was settled with `code`. */
static void settle(struct model *model, int number, int code) {
  if (model->states[number] != ITEM_ACCEPTED) found(model, "an item was settled twice, or never accepted");
  model->states[number] = ITEM_SETTLED;
  if (code == -ENOBUFS || code == -ECANCELED) {
    ++model->dropped;
  } else {
    if (model->last[number] != code) found(model, "an item was settled with a code that the sink did not give");
    ++*(code == 0 ? &model->ok : &model->failed);
  }
}

static void check_delivered(batch_rig *rig, enum batch_kind kind) {
  struct model *model = current;
  if (kind != BATCH_DELIVERED) return;
  const batch_event told = batch_rig_get(rig, kind, batch_rig_count(rig, kind) - 1);
  pthread_mutex_lock(&model->mutex);
  for (const char *at = told.text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    settle(model, atoi(at), told.code);
  pthread_mutex_unlock(&model->mutex);
}

static uint64_t dice(struct model *model, uint64_t sides) {
  pthread_mutex_lock(&model->mutex);
  const uint64_t number = test_random(&model->random) % sides;
  pthread_mutex_unlock(&model->mutex);
  return number;
}

/* Sends the next item, by start_send if a send would wait. */
static void send_next(struct model *model, batch_rig *rig, bool may_wait) {
  char text[16];
  const int number = model->accepted + 1;
  if (number > kItemsMost) return;
  snprintf(text, sizeof text, "%d", number);
  pthread_mutex_lock(&model->mutex);
  model->states[number] = ITEM_ACCEPTED;
  pthread_mutex_unlock(&model->mutex);
  const int code = may_wait ? batch_rig_start_send(rig, text) : batch_rig_send(rig, text);
  pthread_mutex_lock(&model->mutex);
  if (code == 0) model->accepted = number;
  else model->states[number] = ITEM_UNKNOWN;
  if (code == BW_BATCH_DROPPED) ++model->dropped;
  else if (code != 0 && code != -EAGAIN) found(model, "a send gave a code");
  pthread_mutex_unlock(&model->mutex);
}

/* Answers the oldest batch taken, if there is one: as a whole or item by item. */
static void answer_one(struct model *model, batch_rig *rig) {
  pthread_mutex_lock(&rig->mutex);
  bw_batch_view_t *view = rig->answered_count < rig->taken_count ? rig->taken[rig->answered_count++] : NULL;
  pthread_mutex_unlock(&rig->mutex);
  if (!view) return;
  size_t count;
  int codes[64];
  const struct iovec *items = bw_batch_items(view, &count);
  const bool whole = dice(model, 2) == 0;
  for (size_t i = 0; i < count; ++i) {
    char text[16];
    /* As EINTR is a failure here, all that write may give below 0. */
    codes[i] = whole && i > 0 ? codes[0] : kAnswers[dice(model, 9)];
    snprintf(text, sizeof text, "%.*s", (int)items[i].iov_len, (const char *)items[i].iov_base);
    pthread_mutex_lock(&model->mutex);
    note_answer(model, text, codes[i]);
    pthread_mutex_unlock(&model->mutex);
  }
  const int code = whole ? bw_batch_done(view, codes[0], NULL) : bw_batch_done(view, 0, codes);
  if (code != 0) found(model, "an answer was refused");
}

static void step(struct model *model, batch_rig *rig, bool may_wait) {
  switch (dice(model, 16)) {
    case 0: (void)bw_batch_poll_flush(rig->batch, NULL); break;
    case 1: (void)bw_batch_poll_ready(rig->batch, NULL); break;
    case 2: (void)bw_batch_flush_for(rig->batch, 0); break;
    case 3:
    case 4: (void)bw_batch_wake(rig->batch); break;
    case 5:
      if (dice(model, 8) == 0) (void)bw_batch_discard(rig->batch);
      break;
    case 6:
    case 7:
    case 8: answer_one(model, rig); break;
    default: send_next(model, rig, may_wait); break;
  }
}

static void run_seed(void **state, uint64_t seed) {
  struct model *model = calloc(1, sizeof *model);
  pthread_mutex_init(&model->mutex, NULL);
  for (int i = 0; i <= kItemsMost; ++i) model->last[i] = INT32_MAX;
  model->random = seed;
  current = model;
  const uint32_t when_full = (uint32_t)dice(model, 4), in_flight = (uint32_t)dice(model, 3) + 1;
  model->in_order = in_flight == 1;
  batch_rig *rig = BATCH_RIG(state, .flags = dice(model, 2) ? BW_BATCH_BISECT : 0, .max_items = dice(model, 6) + 1,
                             .max_bytes = dice(model, 2) ? 12 : 0, .buffers = (uint32_t)dice(model, 4) + 1,
                             .max_in_flight = in_flight, .when_full = when_full, .retries = (uint32_t)dice(model, 3),
                             .backoff_us = dice(model, 3) ? 0 : 50, .when_failed = (uint32_t)dice(model, 2));
  rig->judge = judge_offer;
  rig->hook = check_delivered;
  for (int i = 0; i < kSteps; ++i) step(model, rig, when_full == BW_FULL_WAIT);
  pthread_mutex_lock(&model->mutex);
  model->calm = true;
  pthread_mutex_unlock(&model->mutex);
  int code = -ETIMEDOUT;
  for (const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000); code != 0 && test_now_us() < end;) {
    pthread_mutex_lock(&rig->mutex);
    const bool taken = rig->answered_count < rig->taken_count;
    pthread_mutex_unlock(&rig->mutex);
    if (taken) answer_one(model, rig);
    (void)bw_batch_wake(rig->batch);
    code = bw_batch_flush_for(rig->batch, 1000); /* or what was given up */
  }
  assert_int_equal(code, 0);
  assert_int_equal(bw_batch_close(rig->batch), 0);
  const bw_batch_stats_t stats = batch_rig_stats(rig);
  const size_t settled = batch_rig_settled(rig);
  batch_rig_free(rig);
  assert_string_equal(model->wrong ? model->wrong : "", "");
  assert_int_equal(settled, model->accepted);
  assert_int_equal(stats.total_items, model->ok);
  assert_int_equal(stats.failed_items, model->failed);
  assert_int_equal(stats.dropped_items, model->dropped);
  assert_int_equal(stats.buffered_items + stats.in_flight_items, 0);
  pthread_mutex_destroy(&model->mutex);
  free(model);
}

static void test_batch_threads__random_faults_lose_and_repeat_nothing(void **state) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    print_message("seed %d\n", (int)seed);
    run_seed(state, seed);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SHARED(test_batch_threads__every_item_arrives_once_and_in_order),
      IN_SHARED(test_batch_threads__flushes_in_between_change_nothing),
      IN_SHARED(test_batch_threads__by_polls_too),
      IN_SHARED(test_batch_threads__with_a_linger_too),
      IN_SHARED(test_batch_threads__items_dropped_are_counted),
      IN_SHARED(test_batch_threads__answers_come_from_many_threads_in_any_order),
      IN_ALL(test_batch_threads__random_faults_lose_and_repeat_nothing),
  };
  return cmocka_run_group_tests_name("batch_threads", tests, NULL, NULL);
}
