/* One writer and several threads with records of their own, straight or through lanes. */
#include "soak.h"

#include <fcntl.h>
#include <unistd.h>

#include "../support/records.h"

enum { MOST_THREADS = 4 };

typedef struct shared {
  soak_job *job;
  bw_t *bw;
  soak_sink sink;
  bool has_sink, lanes, closes;
  bw_options_t options;
  test_records records;
} shared;

typedef struct worker {
  shared *all;
  bw_t *bw; /* the lane, or the writer itself */
  unsigned thread;
  uint64_t random;
  test_waker waker;
  int wakes;
} worker;

/* ---- The threads ----------------------------------------------------------------------------- */

static void expect(const shared *all, int64_t code, bool polled) {
  const bool sinks_own = code == -EIO || code == -ENOSPC || code == BW_EWRITEZERO || code == BW_ESINK;
  const bool is_inline = all->has_sink && !(all->options.flags & BW_BACKGROUND);
  const bool again = code == -EAGAIN && (polled || is_inline || (all->options.flags & BW_NONBLOCK));
  SOAK_CODE(all->job, code, again || (sinks_own && all->has_sink));
}

static void something_else(worker *me) {
  shared *all = me->all;
  bw_stats_t stats = BW_STATS_INIT;
  int64_t code = 0;
  switch (soak_below(&me->random, 60)) {
    case 0: code = bw_flush(me->bw); break;
    case 1: code = bw_sync(me->bw); break;
    case 2: code = bw_poll_flush(me->bw, NULL); break;
    case 3:
      code = bw_wait(me->bw, bw_tell(me->bw), (int)soak_below(&me->random, 3), 500);
      if (code == -ETIMEDOUT) code = 0;
      break;
    case 4: code = all->lanes ? 0 : bw_seek(me->bw, 0, SEEK_CUR); break;
    case 5: code = bw_get_stats(me->bw, &stats); break;
    case 6: code = bw_wake(me->bw); break;
    case 7: code = bw_unwritten(all->bw, NULL, NULL); break;
    default: break;
  }
  if (code < 0) expect(all, code, true);
}

/* Until it is accepted. */
static void write_record(worker *me, const char *record, size_t length) {
  shared *all = me->all;
  const bw_waker_t wake = test_waker_of(&me->waker);
  for (;;) {
    enum test_way way = TEST_APPEND + (enum test_way)soak_below(&me->random, TEST_WAYS - TEST_APPEND);
    if (way == TEST_SPAN && length > bw_capacity(me->bw)) way = TEST_APPEND;
    const bool polled = way == TEST_POLL_APPEND || way == TEST_POLL_APPENDV;
    int64_t position;
    const int64_t taken = test_put(me->bw, way, record, length, &wake, &position);
    if (taken == (int64_t)length) return;
    SOAK_CODE(all->job, taken, taken < 0);
    expect(all, taken, polled);
    if (taken == -EAGAIN && polled) {
      ++me->wakes;
      const bool taken_back = soak_chance(&me->random, 500) && bw_unwake(me->bw, &wake) == 1;
      if (taken_back) --me->wakes;
      SOAK_CHECK(all->job, test_waker_await(&me->waker, me->wakes));
    } else if (taken == -EAGAIN) {
      test_pause();
    }
    soak_heal(&all->sink, all->has_sink, &me->random);
  }
}

static void close_lane(worker *me) {
  int code;
  while ((code = bw_close(me->bw)) != 0) {
    expect(me->all, code, true);
    soak_heal(&me->all->sink, me->all->has_sink, &me->random);
    test_pause();
  }
  bw_free(me->bw);
}

static int64_t work(void *arg) {
  worker *me = arg;
  shared *all = me->all;
  char *record = malloc(all->records.longest + 8);
  me->bw = all->bw;
  if (all->lanes) {
    const int code = bw_lane(&me->bw, all->bw, NULL);
    SOAK_CODE(all->job, code, code == 0);
  }
  for (unsigned number = 0; number < all->records.each; ++number) {
    const size_t length = test_record_make(&all->records, me->thread, number, record);
    write_record(me, record, length);
    something_else(me);
  }
  if (all->lanes) close_lane(me);
  SOAK_CHECK(all->job, atomic_load(&me->waker.calls) == me->wakes);
  free(record);
  return 0;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static void make(shared *all) {
  uint64_t *random = &all->job->random;
  bw_options_t *options = &all->options;
  all->has_sink = soak_chance(random, 700);
  all->lanes = soak_chance(random, 300);
  all->closes = soak_chance(random, 700);
  *options = (bw_options_t)BW_OPTIONS_INIT;
  options->flags = (uint32_t)SOAK_PICK(random, 0, 0, BW_NONBLOCK) | (uint32_t)SOAK_PICK(random, 0, BW_BACKGROUND);
  options->buffers = (uint32_t)SOAK_PICK(random, 2, 3, 8);
  options->linger_us = SOAK_PICK(random, 0, 0, 100);
  options->capacity = all->has_sink ? SOAK_PICK(random, 61, 500, 8192) : SOAK_PICK(random, 4096, 65536);
  options->engine = (uint32_t)SOAK_PICK(random, BW_ENGINE_AUTO, BW_ENGINE_PWRITE);
  options->on_event = soak_on_event;
  options->event_arg = &all->sink;
  all->records.threads = 2 + (unsigned)soak_below(random, MOST_THREADS - 1);
  all->records.each = 1 + (unsigned)soak_below(random, 300);
  all->records.longest = (size_t)options->capacity * (all->lanes ? 1 : 2);
  if (all->records.longest > 5000) all->records.longest = 5000;
  all->records.seed = (unsigned)test_random(random);
  snprintf(all->job->about, sizeof all->job->about,
           "flags %x, capacity %llu x %u, linger %llu, engine %u, %u threads%s%s", options->flags,
           (unsigned long long)options->capacity, options->buffers, (unsigned long long)options->linger_us,
           options->engine, all->records.threads, all->lanes ? ", lanes" : "", all->has_sink ? "" : ", file");

  soak_sink_init(&all->sink, all->job, test_records_bytes(&all->records));
  if (all->has_sink) soak_sink_mood(&all->sink, true);
  all->sink.mood.sync_fails = 0; /* that would be for ever */
  const int oflags = O_WRONLY | O_CREAT | O_TRUNC | (int)SOAK_PICK(random, 0, O_APPEND);
  const int code = all->has_sink ? bw_new(&all->bw, &soak_sink_calls, &all->sink, options)
                                 : bw_open(&all->bw, all->job->path, oflags, 0600, options);
  SOAK_CODE(all->job, code, code == 0);
  all->sink.bw = all->bw;
}

static void run(shared *all) {
  test_thread threads[MOST_THREADS];
  worker workers[MOST_THREADS];
  memset(workers, 0, sizeof workers);
  for (unsigned i = 0; i < all->records.threads; ++i) {
    workers[i].all = all;
    workers[i].thread = i;
    workers[i].random = test_random(&all->job->random);
    test_thread_start(&threads[i], work, &workers[i]);
  }
  for (unsigned i = 0; i < all->records.threads; ++i) (void)test_thread_join(&threads[i]);
}

void soak_shared_job(soak_job *job) {
  shared *all = calloc(1, sizeof *all);
  all->job = job;
  make(all);
  if (all->has_sink) soak_helper_start(&all->sink);
  run(all);
  if (soak_chance(&job->random, 20)) soak_fork(job, all->bw);
  if (all->closes) soak_close(&all->sink, all->has_sink, &job->random, NULL);
  if (all->has_sink) soak_helper_stop(&all->sink);
  bw_free(all->bw);

  soak_sink *sink = &all->sink;
  size_t length = sink->length + sink->lost;
  SOAK_CODE(job, sink->lost, sink->lost == 0 || (all->has_sink && !all->closes));
  char *data = all->has_sink ? sink->data : soak_file_read(job->path, &length);
  SOAK_CHECK(job, data && length == test_records_bytes(&all->records));
  SOAK_CHECK(job, test_records_check(&all->records, data, length, NULL));
  if (!all->has_sink) {
    free(data);
    SOAK_CHECK(job, unlink(job->path) == 0);
  }
  soak_sink_destroy(sink);
  free(all);
}
