/* A batcher of any kind, several producers, a sink that cannot be relied on: each item is settled exactly once. */
#include "soak.h"

enum { MOST_PRODUCERS = 3, MOST_ITEMS = 400, MOST_FLIGHTS = 8, SHORTEST = 8, LONGEST = 120 };

typedef struct batch_job {
  soak_job *job;
  bw_batch_t *batch;
  bw_batch_options_t options;
  soak_sink under; /* where the items go through a writer */
  bw_t *writer;
  unsigned producers, each;
  uint64_t random; /* the sink's */
  soak_mood mood;
  unsigned takes; /* per mille: BW_BATCH_TAKEN */
  atomic_bool calm, waits, stop;
  bool may_wake; /* below: `mutex` */
  pthread_mutex_t mutex;
  bw_batch_view_t *flights[MOST_FLIGHTS];
  unsigned flight_count;
  test_thread helper;
  atomic_int inside_sink, inside_callback;
  int pressure;
  /* By the number of the item. */
  bool accepted[MOST_PRODUCERS * MOST_ITEMS];  /* its producer's */
  unsigned char taken[MOST_PRODUCERS * MOST_ITEMS], settled[MOST_PRODUCERS * MOST_ITEMS];
  unsigned order[MOST_PRODUCERS * MOST_ITEMS]; /* those that were delivered */
  unsigned delivered, given_up;
} batch_job;

/* ---- Items ----------------------------------------------------------------------------------- */

static size_t item_length(const batch_job *all, unsigned number) {
  if (all->options.item_size) return all->options.item_size;
  return SHORTEST + number * 7 % (LONGEST - SHORTEST);
}

static size_t item_make(const batch_job *all, unsigned number, char *out) {
  const size_t length = item_length(all, number);
  memcpy(out, soak_pattern(number), length);
  memcpy(out, &number, sizeof number);
  return length;
}

static unsigned item_number(const batch_job *all, const void *data, size_t length) {
  char expected[LONGEST];
  unsigned number = UINT32_MAX;
  if (length >= sizeof number) memcpy(&number, data, sizeof number);
  SOAK_CODE(all->job, number, number < all->producers * all->each && length == item_length(all, number));
  SOAK_CODE(all->job, number, item_make(all, number, expected) == length && memcmp(data, expected, length) == 0);
  return number;
}

/* ---- The sink -------------------------------------------------------------------------------- */

static void take(batch_job *all, const struct iovec *item) {
  const unsigned number = item_number(all, item->iov_base, item->iov_len);
  SOAK_CODE(all->job, number, all->taken[number]++ == 0);
}

static int not_ready(batch_job *all, uint64_t *random) {
  if (soak_chance(random, 500)) (void)bw_batch_wake(all->batch);
  else atomic_store(&all->waits, true);
  return -EAGAIN;
}

/* What becomes of an item, or of a whole batch: 0, or a code. */
static int answer(batch_job *all, uint64_t *random) {
  if (atomic_load(&all->calm)) return 0;
  if (soak_chance(random, all->mood.fails)) return -EIO;
  if (soak_chance(random, all->mood.fails / 4)) return -EINVAL - BW_FINAL;
  if (soak_chance(random, all->mood.breaks)) return BW_ESINK;
  return 0;
}

static bool fly(batch_job *all, bw_batch_view_t *view) {
  pthread_mutex_lock(&all->mutex);
  const bool has_room = all->flight_count < MOST_FLIGHTS;
  if (has_room) all->flights[all->flight_count++] = view;
  pthread_mutex_unlock(&all->mutex);
  return has_room;
}

static int batch_write(void *ctx, bw_batch_view_t *view) {
  batch_job *all = ctx;
  size_t count;
  const struct iovec *items = bw_batch_items(view, &count);
  int code = 0;
  SOAK_CHECK(all->job, atomic_fetch_add(&all->inside_sink, 1) == 0);
  SOAK_CHECK(all->job, count > 0 && count <= all->options.max_items && bw_batch_attempt(view) > 0);
  if (soak_chance(&all->random, 20)) SOAK_CHECK(all->job, bw_batch_flush(all->batch) == -EDEADLK);
  if (!atomic_load(&all->calm)) {
    if (soak_chance(&all->random, all->mood.interrupted)) code = -EINTR;
    else if (soak_chance(&all->random, all->mood.not_ready)) code = not_ready(all, &all->random);
  }
  if (code == 0) code = answer(all, &all->random);
  for (size_t i = 0; i < count; ++i) (void)item_number(all, items[i].iov_base, items[i].iov_len);
  const bool flies = code == 0 && soak_chance(&all->random, all->takes);
  if (!flies)
    for (size_t i = 0; code == 0 && i < count; ++i) take(all, &items[i]);
  atomic_fetch_sub(&all->inside_sink, 1);
  /* From here on the next one may be offered. */
  if (flies) {
    if (fly(all, view)) return BW_BATCH_TAKEN;
    code = -EIO; /* too many at once */
  }
  return code;
}

static int batch_flush(void *ctx) {
  batch_job *all = ctx;
  SOAK_CHECK(all->job, atomic_fetch_add(&all->inside_sink, 1) == 0);
  int code = 0;
  if (!atomic_load(&all->calm) && soak_chance(&all->random, all->mood.fails)) code = -EIO;
  atomic_fetch_sub(&all->inside_sink, 1);
  return code;
}

static int batch_close(void *ctx) {
  batch_job *all = ctx;
  SOAK_CHECK(all->job, atomic_fetch_add(&all->inside_sink, 1) == 0);
  atomic_fetch_sub(&all->inside_sink, 1);
  return 0;
}

/* One answer for a batch in flight, for all its items or for each. */
static void land(batch_job *all, bw_batch_view_t *view, uint64_t *random) {
  size_t count;
  const struct iovec *items = bw_batch_items(view, &count);
  int *codes = malloc(count * sizeof *codes);
  const bool each = soak_chance(random, 300);
  int code = answer(all, random);
  if (!each && code == 0 && soak_chance(random, all->mood.not_ready)) code = not_ready(all, random);
  for (size_t i = 0; i < count; ++i) {
    codes[i] = each ? answer(all, random) : code;
    if (codes[i] == BW_ESINK && each) codes[i] = -EIO;
    if (codes[i] == 0) take(all, &items[i]);
  }
  const int refused = bw_batch_done(view, code, each ? codes : NULL);
  SOAK_CODE(all->job, refused, refused == 0);
  free(codes);
}

static int64_t help(void *arg) {
  batch_job *all = arg;
  uint64_t random = all->job->seed + 1;
  while (!atomic_load(&all->stop)) {
    bw_batch_view_t *view = NULL;
    pthread_mutex_lock(&all->mutex);
    if (all->may_wake && atomic_exchange(&all->waits, false)) (void)bw_batch_wake(all->batch);
    if (all->flight_count > 0) {
      const unsigned which = (unsigned)soak_below(&random, all->flight_count);
      view = all->flights[which];
      all->flights[which] = all->flights[--all->flight_count];
    }
    pthread_mutex_unlock(&all->mutex);
    if (view) land(all, view, &random);
    else test_pause();
  }
  return 0;
}

/* ---- What the batcher tells ------------------------------------------------------------------ */

static void on_delivered(void *arg, const struct iovec *items, size_t count, int code) {
  batch_job *all = arg;
  SOAK_CHECK(all->job, atomic_fetch_add(&all->inside_callback, 1) == 0);
  for (size_t i = 0; i < count; ++i) {
    const unsigned number = item_number(all, items[i].iov_base, items[i].iov_len);
    SOAK_CODE(all->job, number, all->settled[number]++ == 0);
    if (!all->writer) SOAK_CODE(all->job, code, (code == 0) == (all->taken[number] == 1));
    if (code == 0) all->order[all->delivered++] = number;
    else ++all->given_up;
  }
  atomic_fetch_sub(&all->inside_callback, 1);
}

static void on_pressure(void *arg, int on) {
  batch_job *all = arg;
  SOAK_CHECK(all->job, atomic_fetch_add(&all->inside_callback, 1) == 0);
  SOAK_CODE(all->job, on, on == !all->pressure);
  all->pressure = on;
  atomic_fetch_sub(&all->inside_callback, 1);
}

/* ---- Producers ------------------------------------------------------------------------------- */

typedef struct producer {
  batch_job *all;
  unsigned index;
  uint64_t random;
} producer;

/* A code that a call may give when nobody has closed. */
static void expect(const batch_job *all, int64_t code) {
  const bool right = code >= 0 || code == -EAGAIN || code == -ETIMEDOUT || code == -EIO || code == -EINVAL ||
                     code == -ENOSPC || code == BW_EWRITEZERO || code == BW_ESINK;
  SOAK_CODE(all->job, code, right);
}

static int send(batch_job *all, uint64_t *random, const char *item, size_t length) {
  const struct iovec parts[2] = {{(void *)item, 3}, {(void *)(item + 3), length - 3}};
  switch (soak_below(random, 5)) {
    case 0: return bw_batch_send(all->batch, item, length);
    case 1: return bw_batch_sendv(all->batch, parts, 2);
    case 2: return bw_batch_start_sendv(all->batch, parts, 2);
    default: return bw_batch_start_send(all->batch, item, length);
  }
}

/* Room, or a bounded time without. */
static void await_room(batch_job *all, uint64_t *random) {
  test_waker waker = {0};
  const bw_waker_t wake = test_waker_of(&waker);
  const int code = bw_batch_poll_ready(all->batch, &wake);
  expect(all, code);
  if (code == BW_ESINK) (void)bw_batch_discard(all->batch);
  if (code != -EAGAIN) return;
  if (soak_chance(random, 500)) test_pause();
  const int taken_back = bw_batch_unwake(all->batch, &wake);
  SOAK_CODE(all->job, taken_back, taken_back + atomic_load(&waker.calls) == 1);
}

static void something_else(batch_job *all, uint64_t *random) {
  bw_batch_stats_t stats = BW_BATCH_STATS_INIT;
  char text[2000];
  int64_t code = 0;
  switch (soak_below(random, 60)) {
    case 0: code = bw_batch_flush_for(all->batch, (int64_t)soak_below(random, 2000)); break;
    case 1: code = bw_batch_poll_flush(all->batch, NULL); break;
    case 2: code = bw_batch_flush_for(all->batch, 0); break;
    case 3: code = soak_chance(random, 200) ? bw_batch_discard(all->batch) : 0; break;
    case 4: code = bw_batch_get_stats(all->batch, &stats); break;
    case 5: code = bw_batch_stats_json(all->batch, text, sizeof text); break;
    case 6: code = bw_batch_wake(all->batch); break;
    case 7: code = bw_batch_error(all->batch) == BW_ESINK ? bw_batch_discard(all->batch) : 0; break;
    default: break;
  }
  expect(all, code);
}

static int64_t produce(void *arg) {
  producer *me = arg;
  batch_job *all = me->all;
  char item[LONGEST];
  for (unsigned i = 0; i < all->each; ++i) {
    const unsigned number = me->index * all->each + i;
    const size_t length = item_make(all, number, item);
    int code = -EAGAIN;
    for (unsigned tries = 0; code < 0 && tries < 20; ++tries) {
      code = send(all, &me->random, item, length);
      expect(all, code);
      if (code < 0) await_room(all, &me->random);
    }
    all->accepted[number] = code == 0;
    something_else(all, &me->random);
  }
  return 0;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static void choose(batch_job *all) {
  uint64_t *random = &all->job->random;
  bw_batch_options_t *options = &all->options;
  const bool through_writer = soak_chance(random, 250);
  *options = (bw_batch_options_t)BW_BATCH_OPTIONS_INIT;
  options->flags = (uint32_t)(SOAK_PICK(random, 0, 0, BW_UNSHARED) | SOAK_PICK(random, 0, BW_BACKGROUND) |
                              SOAK_PICK(random, 0, BW_BATCH_BISECT));
  options->max_items = SOAK_PICK(random, 1, 3, 50, 1000);
  options->max_bytes = SOAK_PICK(random, 120, 1000, 65536);
  options->buffers = (uint32_t)SOAK_PICK(random, 1, 2, 3, 8);
  options->max_in_flight = (uint32_t)SOAK_PICK(random, 1, 1, 2, 8);
  options->when_full = (uint32_t)soak_below(random, 4);
  options->when_failed = (uint32_t)soak_below(random, 2);
  options->retries = (uint32_t)SOAK_PICK(random, 0, 1, 3);
  options->backoff_us = SOAK_PICK(random, 0, 0, 20, 200);
  options->item_size = (uint32_t)SOAK_PICK(random, 0, 0, 16, 64);
  options->item_align = (uint32_t)SOAK_PICK(random, 0, 1, 16);
  if (options->item_size) options->item_align = 0;
  if (!(options->flags & BW_UNSHARED)) options->linger_us = SOAK_PICK(random, 0, 50, 1000);
  options->delivered = on_delivered;
  options->pressure = on_pressure;
  options->arg = all;
  all->producers = options->flags & BW_UNSHARED ? 1 : 1 + (unsigned)soak_below(random, MOST_PRODUCERS);
  all->each = 1 + (unsigned)soak_below(random, MOST_ITEMS);
  all->pressure = 0;
  if (through_writer) {
    soak_sink_init(&all->under, all->job, (size_t)all->producers * all->each * (LONGEST + 1));
    soak_sink_mood(&all->under, false);
    all->under.mood.fails = all->under.mood.takes_nothing = 0;
    all->under.wakes_itself = true;
  } else {
    all->mood.interrupted = (unsigned)SOAK_PICK(random, 0, 20);
    all->mood.not_ready = (unsigned)SOAK_PICK(random, 0, 20, 100);
    all->mood.fails = (unsigned)SOAK_PICK(random, 0, 20, 200);
    all->mood.breaks = (unsigned)SOAK_PICK(random, 0, 0, 10);
    all->takes = (unsigned)SOAK_PICK(random, 0, 500, 1000);
  }
  snprintf(all->job->about, sizeof all->job->about,
           "flags %x, %llu items, %llu bytes x %u, in flight %u, full %u, failed %u, retries %u, backoff %llu, linger "
           "%llu, item size %u, %u producers%s",
           options->flags, (unsigned long long)options->max_items, (unsigned long long)options->max_bytes,
           options->buffers, options->max_in_flight, options->when_full, options->when_failed, options->retries,
           (unsigned long long)options->backoff_us, (unsigned long long)options->linger_us, options->item_size,
           all->producers, through_writer ? ", writer" : "");
}

static void make(batch_job *all) {
  const bw_batch_sink_t calls = {
      .size = sizeof calls, .write = batch_write, .flush = batch_flush, .close = batch_close};
  int code = 0;
  choose(all);
  all->random = test_random(&all->job->random);
  all->may_wake = true;
  pthread_mutex_init(&all->mutex, NULL);
  if (all->under.data) {
    bw_options_t options = BW_OPTIONS_INIT;
    options.flags = (uint32_t)SOAK_PICK(&all->job->random, 0, BW_BACKGROUND);
    options.capacity = SOAK_PICK(&all->job->random, 100, 4096);
    code = bw_new(&all->writer, &soak_sink_calls, &all->under, &options);
    SOAK_CODE(all->job, code, code == 0);
    all->under.bw = all->writer;
    code = bw_batch_to_writer(&all->batch, all->writer, "\n", &all->options);
  } else {
    code = bw_batch_new(&all->batch, &calls, all, &all->options);
  }
  SOAK_CODE(all->job, code, code == 0);
  test_thread_start(&all->helper, help, all);
}

static int child(void *arg) {
  bw_batch_t *batch = arg;
  const bool right = bw_batch_send(batch, "x", 1) == -ECHILD && bw_batch_close(batch) == -ECHILD;
  bw_batch_free(batch);
  return right ? 0 : 1;
}

static void close_at_last(batch_job *all) {
  const int64_t begin = test_now_us();
  uint64_t *random = &all->job->random;
  for (int tries = 0;; ++tries) {
    if (tries == 10) atomic_store(&all->calm, true);
    const int code = soak_chance(random, 500) ? bw_batch_close_for(all->batch, (int64_t)soak_below(random, 3000))
                                              : tries > 10 ? bw_batch_close(all->batch)
                                                           : bw_batch_poll_close(all->batch, NULL);
    if (code == 0) return;
    expect(all, code);
    SOAK_CODE(all->job, code, test_now_us() - begin < TEST_BOUND_S * INT64_C(2000000));
    if (bw_batch_error(all->batch) == BW_ESINK) (void)bw_batch_discard(all->batch);
    if (code == -EAGAIN) test_pause();
  }
}

static void check_closed(batch_job *all) {
  bw_batch_stats_t stats = BW_BATCH_STATS_INIT;
  SOAK_CHECK(all->job, bw_batch_send(all->batch, "12345678", 8) < 0 && bw_batch_buffered(all->batch) == 0);
  SOAK_CHECK(all->job, bw_batch_get_stats(all->batch, &stats) == 0);
  SOAK_CODE(all->job, stats.total_items, stats.total_items == all->delivered);
  SOAK_CHECK(all->job, stats.in_flight_items == 0 && stats.buffered_items == 0);
}

static void end(batch_job *all) {
  if (soak_chance(&all->job->random, 20)) {
    const int answered = test_in_child(child, all->batch);
    SOAK_CODE(all->job, answered, answered == 0);
  }
  const bool closes = soak_chance(&all->job->random, 600);
  if (closes) {
    close_at_last(all);
    check_closed(all);
  }
  pthread_mutex_lock(&all->mutex);
  all->may_wake = false;
  pthread_mutex_unlock(&all->mutex);
  bw_batch_free(all->batch);
  atomic_store(&all->stop, true);
  (void)test_thread_join(&all->helper);
  for (unsigned i = 0; i < all->producers * all->each; ++i)
    SOAK_CODE(all->job, i, all->settled[i] == (all->accepted[i] ? 1 : 0));
}

/* The writer's sink has what was delivered, in that order, and nothing else. */
static void check_writer(batch_job *all) {
  soak_sink *under = &all->under;
  soak_close(under, true, &all->job->random, NULL);
  bw_free(all->writer);
  size_t at = 0;
  for (unsigned i = 0; i < all->delivered; ++i) {
    const size_t length = item_length(all, all->order[i]);
    SOAK_CODE(all->job, i, length < under->length - at);
    SOAK_CODE(all->job, i, item_number(all, under->data + at, length) == all->order[i]);
    SOAK_CODE(all->job, i, under->data[at + length] == '\n');
    at += length + 1;
  }
  SOAK_CODE(all->job, at, at == under->length);
  soak_sink_destroy(under);
}

void soak_batch_job(soak_job *job) {
  test_thread threads[MOST_PRODUCERS];
  producer producers[MOST_PRODUCERS];
  batch_job *all = calloc(1, sizeof *all);
  all->job = job;
  make(all);
  for (unsigned i = 0; i < all->producers; ++i) {
    producers[i] = (producer){all, i, test_random(&job->random)};
    test_thread_start(&threads[i], produce, &producers[i]);
  }
  for (unsigned i = 0; i < all->producers; ++i) (void)test_thread_join(&threads[i]);
  end(all);
  if (all->writer) check_writer(all);
  pthread_mutex_destroy(&all->mutex);
  free(all);
}
