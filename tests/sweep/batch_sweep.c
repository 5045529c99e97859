/*
 * The fault sweep for batches: a scripted workload is run once to count its operations (each call of the sink, and each
 * answer for a batch that it took), then operation number k fails, for every k and in every way, and then somebody
 * recovers in one of the ways there are. batch_model.h says what must hold.
 *
 *   sweep_batch [workload mode style number code how when then]     see sweep.h
 */
#include <limits.h>
#include <semaphore.h>
#include <time.h>

#include "batch_model.h"
#include "sweep.h"

/* ---- Workloads ------------------------------------------------------------------------------- */

typedef struct workload {
  /* s v t: an item by send, sendv, start_send; e: an empty one; L: one that is too long; F: flush; A: answer for the
   * oldest batch in flight; D: discard; W: wake; R: poll_ready. */
  const char *steps;
  uint32_t flags;
  uint64_t max_items, max_bytes, linger_us, backoff_us;
  uint32_t buffers, max_in_flight, when_full, retries, when_failed, item_size;
  bool takes; /* the sink takes every batch and answers later */
} workload;

enum { HOLD, RETRY, OLDEST, BISECT, FAIL, TAKEN, LINGER, FIXED, BACKOFF, WORKLOADS };
static const char *const kWorkloads[] = {"hold", "retry", "oldest", "bisect", "fail", "taken", "linger", "fixed",
                                         "backoff"};
static const workload kWorkload[WORKLOADS] = {
    [HOLD] = {"ssevLsFtsRvsssDsW", .max_items = 3, .max_bytes = 40, .buffers = 2, .when_full = BW_FULL_WAIT},
    [RETRY] = {"svssetssFsssW", .max_items = 2, .max_bytes = 64, .buffers = 3, .when_full = BW_FULL_DROP_NEWEST,
               .retries = 2, .when_failed = BW_FAILED_GIVE_UP},
    [OLDEST] = {"ssssetssssFsssss", .max_items = 2, .max_bytes = 64, .buffers = 2, .when_full = BW_FULL_DROP_OLDEST,
                .retries = 1},
    [BISECT] = {"ssssevssssFtss", .flags = BW_BATCH_BISECT, .max_items = 5, .max_bytes = 64, .buffers = 3,
                .when_full = BW_FULL_WAIT, .retries = 1, .when_failed = BW_FAILED_GIVE_UP},
    [FAIL] = {"sssssWssRFsDss", .max_items = 2, .max_bytes = 30, .buffers = 2, .when_full = BW_FULL_FAIL},
    [TAKEN] = {"sssAssvssessAAFsssDs", .flags = BW_BATCH_BISECT, .max_items = 3, .max_bytes = 64, .buffers = 4,
               .max_in_flight = 3, .when_full = BW_FULL_WAIT, .retries = 1, .takes = true},
    [LINGER] = {"sseFssvss", .max_items = 3, .max_bytes = 64, .buffers = 3, .when_full = BW_FULL_WAIT, .linger_us = 30},
    [FIXED] = {"ssLssvssFts", .max_items = 3, .max_bytes = 64, .buffers = 2, .when_full = BW_FULL_WAIT,
               .when_failed = BW_FAILED_GIVE_UP, .item_size = 8},
    [BACKOFF] = {"ssvsFst", .max_items = 2, .max_bytes = 64, .buffers = 2, .when_full = BW_FULL_WAIT, .retries = 1,
                 .backoff_us = 20},
};

/* ---- The axes -------------------------------------------------------------------------------- */

enum { AT_WORKLOAD, AT_MODE, AT_STYLE, AT_NUMBER, AT_CODE, AT_HOW, AT_WHEN, AT_THEN, AT_COUNT };

static const char *const kModes[] = {"inline", "unshared", "background", "background_unshared"};
static const uint32_t kModeFlags[] = {0, BW_UNSHARED, BW_BACKGROUND, BW_BACKGROUND | BW_UNSHARED};

/* How calls that would wait are made: polls, with no time to wait, or blocking, while a thread answers for the sink. */
enum { POLL, FOR, BLOCK };
static const char *const kStyles[] = {"poll", "for", "block"};

static const char *const kCodes[] = {"EIO", "ENOSPC", "EDQUOT", "EFBIG", "EINTR", "EAGAIN", "ECANCELED", "BW_ESINK"};
static const int kCode[] = {-EIO, -ENOSPC, -EDQUOT, -EFBIG, -EINTR, -EAGAIN, -ECANCELED, BW_ESINK};

/* plain: as it is; final: minus BW_FINAL; later: taken, and that is the answer; early: the same before write has
 * returned; mixed: taken, and an answer for each item; woken: bw_batch_wake() comes during the call. */
enum { PLAIN, FINAL, LATER, EARLY, MIXED, WOKEN };
static const char *const kHows[] = {"plain", "final", "later", "early", "mixed", "woken"};

enum { ONCE, EVER };
static const char *const kWhens[] = {"once", "ever"};

/* The sink is repaired first: flush, wake, close. It is not: discard, free, close_free (one close is tried). */
enum { THEN_FLUSH, THEN_WAKE, THEN_CLOSE, THEN_DISCARD, THEN_FREE, THEN_CLOSE_FREE };
static const char *const kThens[] = {"flush", "wake", "close", "discard", "free", "close_free"};

/* ---- The run --------------------------------------------------------------------------------- */

enum { WAKER_READY, WAKER_FLUSH, WAKER_CLOSE };
enum { TRIES = 40, BURST = 5, IN_FLIGHT_MOST = 8, POLLS_MOST = 4096 };

typedef struct outstanding {
  bw_batch_view_t *view;
  bool is_faulty; /* the fault was chosen when it was taken */
} outstanding;

static struct {
  const workload *work;
  const int *point;
  batch_rig *rig;
  batch_model model;
  /* Guarded by rig->mutex. */
  int operations;
  int number, code, how, burst; /* the fault; number 0: none */
  bool is_ever;
  /* Guarded by `mutex`: what the sink owes. */
  pthread_mutex_t mutex;
  outstanding taken[IN_FLIGHT_MOST];
  int taken_count;
  bool owes_wake, is_freeing, is_helped;
  sem_t owed;    /* for the helper */
  sem_t stirred; /* for the main thread: something owed, or a waker called */
  /* Of the sink call under way. */
  bool takes_now, is_faulty_now, is_early_now, wakes_now;
  /* The main thread's. */
  uint64_t pending[3]; /* polls that gave -EAGAIN, by waker */
  int woken_before[3]; /* how often each was called before the last of these; -1: it never was pending */
  int debt;            /* the first code of items given up that nothing has told yet */
  size_t looked;       /* so many events were looked at for that */
} run;

static bool style_is(int style) { return run.point[AT_STYLE] == style; }

/* ---- Faults ---------------------------------------------------------------------------------- */

/* An operation comes: true if it is to fail. With rig->mutex. */
static bool is_hit(void) {
  ++run.operations;
  if (run.number == 0 || run.operations < run.number || run.burst == 0) return false;
  if (!run.is_ever && run.operations != run.number) return false;
  --run.burst;
  return true;
}

static void owe(bool wake) {
  pthread_mutex_lock(&run.mutex);
  if (wake) run.owes_wake = true;
  const bool has_helper = run.is_helped;
  pthread_mutex_unlock(&run.mutex);
  sem_post(has_helper ? &run.owed : &run.stirred);
}

static int judge(batch_rig *rig, const batch_event *call) {
  (void)rig;
  const bool is_faulty = is_hit();
  run.takes_now = run.is_early_now = run.wakes_now = false;
  run.is_faulty_now = is_faulty;
  if (call->kind != BATCH_OFFER) {
    run.wakes_now = is_faulty && run.how == WOKEN && call->kind == BATCH_FLUSH;
    if (is_faulty && run.code == -EAGAIN && call->kind == BATCH_FLUSH && !run.wakes_now) owe(true);
    return is_faulty ? run.code : 0;
  }
  run.takes_now = run.work->takes;
  if (!is_faulty) return run.takes_now ? BW_BATCH_TAKEN : 0;
  if (run.how == LATER || run.how == EARLY || run.how == MIXED) {
    run.is_early_now = run.how == EARLY;
    run.takes_now = true;
    return BW_BATCH_TAKEN;
  }
  run.takes_now = false;
  run.wakes_now = run.how == WOKEN;
  if (run.how == FINAL) return run.code - BW_FINAL;
  if (run.code == -EAGAIN && !run.wakes_now) owe(true);
  return run.code;
}

/* Answers for a batch: an operation of its own, or the one at which it was taken to be failed later. */
static void answer(bw_batch_view_t *view, bool is_faulty) {
  int codes[MODEL_ITEMS];
  size_t count = 0;
  pthread_mutex_lock(&run.rig->mutex);
  if (!is_faulty) is_faulty = is_hit();
  const int code = run.code, how = run.how;
  const int turn = run.operations;
  pthread_mutex_unlock(&run.rig->mutex);
  (void)bw_batch_items(view, &count);
  const bool is_mixed = is_faulty && how == MIXED;
  const int mixture[4] = {0, code, -EPERM - BW_FINAL, -EAGAIN};
  for (size_t i = 0; i < count; ++i) codes[i] = mixture[(i + (size_t)turn) % 4];
  const int whole = !is_faulty ? 0 : how == FINAL ? code - BW_FINAL : code;
  if (batch_rig_done(run.rig, view, whole, is_mixed ? codes : NULL) != 0)
    model_broken(&run.model, "bw_batch_done refused an answer");
  if (is_faulty && (is_mixed || whole == -EAGAIN)) owe(true);
}

static void inside(batch_rig *rig, enum batch_kind kind) {
  if (kind == BATCH_OFFER && run.takes_now) {
    if (run.is_early_now) {
      answer(rig->offered, true);
    } else {
      pthread_mutex_lock(&run.mutex);
      run.taken[run.taken_count++] = (outstanding){rig->offered, run.is_faulty_now};
      pthread_mutex_unlock(&run.mutex);
      owe(false);
    }
  }
  if ((kind == BATCH_OFFER || kind == BATCH_FLUSH) && run.wakes_now) bw_batch_wake(rig->batch);
  if (kind == BATCH_WAKE) sem_post(&run.stirred);
}

/* What the sink owes: the oldest answer, or a wake. False: nothing. */
static bool help(void) {
  outstanding oldest = {NULL, false};
  pthread_mutex_lock(&run.mutex);
  if (run.taken_count > 0) {
    oldest = run.taken[0];
    memmove(run.taken, run.taken + 1, (size_t)--run.taken_count * sizeof *run.taken);
  }
  const bool wakes = !oldest.view && run.owes_wake && !run.is_freeing;
  if (wakes) run.owes_wake = false;
  pthread_mutex_unlock(&run.mutex);
  if (oldest.view) answer(oldest.view, oldest.is_faulty);
  if (wakes) bw_batch_wake(run.rig->batch);
  return oldest.view || wakes;
}

/* ---- The thread that answers ----------------------------------------------------------------- */

static bool is_helped(void) {
  pthread_mutex_lock(&run.mutex);
  const bool is = run.is_helped;
  pthread_mutex_unlock(&run.mutex);
  return is;
}

static void set_helped(bool is) {
  pthread_mutex_lock(&run.mutex);
  run.is_helped = is;
  pthread_mutex_unlock(&run.mutex);
}

static void *helper_main(void *arg) {
  (void)arg;
  for (;;) {
    while (sem_wait(&run.owed) != 0) continue;
    if (!is_helped()) return NULL;
    while (help()) continue;
  }
}

static pthread_t helper;

static void start_helper(void) {
  if (is_helped()) return;
  set_helped(true);
  if (pthread_create(&helper, NULL, helper_main, NULL) != 0) abort();
  sem_post(&run.owed);
}

static void stop_helper(void) {
  if (!is_helped()) return;
  set_helped(false);
  sem_post(&run.owed);
  pthread_join(helper, NULL);
  while (sem_trywait(&run.owed) == 0) continue;
}

/* ---- Calls that may have to wait ------------------------------------------------------------- */

static size_t events_so_far(void) {
  pthread_mutex_lock(&run.rig->mutex);
  const size_t count = run.rig->event_count;
  pthread_mutex_unlock(&run.rig->mutex);
  return count;
}

/* Until the waker is called, or the sink was helped to go on. */
static bool await_waker(int waker, int calls) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  while (batch_rig_woken(run.rig, waker) < calls && !help()) {
    struct timespec slice;
    if (test_now_us() > end) return false;
    clock_gettime(CLOCK_REALTIME, &slice);
    slice.tv_nsec += 1000000;
    if (slice.tv_nsec >= 1000000000) {
      slice.tv_nsec -= 1000000000;
      ++slice.tv_sec;
    }
    sem_timedwait(&run.stirred, &slice);
  }
  return true;
}

/* Polls until there is an answer; -EAGAIN: not in so many tries. */
static int poll_until(int (*poll)(bw_batch_t *, const bw_waker_t *), int waker, int tries) {
  const bw_waker_t wake = batch_rig_waker(run.rig, waker);
  int code = -EAGAIN;
  for (int i = 0; i < tries; ++i) {
    const int before = batch_rig_woken(run.rig, waker);
    code = poll(run.rig->batch, &wake);
    if (code != -EAGAIN) return code;
    ++run.pending[waker];
    run.woken_before[waker] = before;
    if (!await_waker(waker, before + 1)) {
      model_broken(&run.model, "a waker is never called");
      return code;
    }
  }
  return code;
}

/* The same by calls with a time limit. */
static int call_until(int (*call)(bw_batch_t *, int64_t), int tries) {
  int code = -ETIMEDOUT;
  int64_t patience_us = 0;
  for (int i = 0; i < tries && code == -ETIMEDOUT; ++i) {
    code = call(run.rig->batch, patience_us);
    patience_us = help() ? 0 : 300;
  }
  return code;
}

static int flush_or_close(bool closes, int tries) {
  if (style_is(BLOCK)) return closes ? bw_batch_close(run.rig->batch) : bw_batch_flush(run.rig->batch);
  if (style_is(FOR)) return call_until(closes ? bw_batch_close_for : bw_batch_flush_for, tries);
  return poll_until(closes ? bw_batch_poll_close : bw_batch_poll_flush, closes ? WAKER_CLOSE : WAKER_FLUSH, tries);
}

/* ---- What a flush or close may answer -------------------------------------------------------- */

/* Given up, as far as can be told from here: what the sink and bw_batch_discard() both say is left out. */
static bool is_given_up(const batch_event *event) {
  if (event->kind != BATCH_DELIVERED || event->code == 0 || event->code == -ENOBUFS) return false;
  return event->code != -ECANCELED || !run.model.has_discarded;
}

static void look_for_debt(void) {
  pthread_mutex_lock(&run.rig->mutex);
  for (; run.looked < run.rig->event_count; ++run.looked) {
    const batch_event *event = &run.rig->events[run.looked];
    if (run.debt == 0 && is_given_up(event)) run.debt = event->code;
  }
  pthread_mutex_unlock(&run.rig->mutex);
}

/* The code of the last call of a kind since `from`; 1: there was none. */
static int last_since(size_t from, enum batch_kind kind) {
  int code = 1;
  pthread_mutex_lock(&run.rig->mutex);
  for (size_t i = from; i < run.rig->event_count; ++i)
    if (run.rig->events[i].kind == kind) code = run.rig->events[i].code;
  pthread_mutex_unlock(&run.rig->mutex);
  return code;
}

static void check_success(size_t from, bool closes) {
  const size_t settled = batch_rig_settled(run.rig);
  if (run.debt != 0 && run.debt != -EAGAIN && run.debt != -ECANCELED)
    model_broken(&run.model, "0, though items were given up with %s", bw_err_name(run.debt));
  if (settled < (size_t)run.model.accepted)
    model_broken(&run.model, "0, and %zu of %d items are settled", settled, run.model.accepted);
  if (!closes && last_since(from, BATCH_FLUSH) != 0) model_broken(&run.model, "0, and the sink was not flushed");
  if (closes && batch_rig_count(run.rig, BATCH_CLOSE) != 1) model_broken(&run.model, "0, and the sink was not closed");
}

static void check_failure(size_t from, int code, bool closes) {
  const bool is_ours = code == -EAGAIN || code == -ETIMEDOUT;
  if (!is_ours && code != run.code && code != -EPERM)
    model_broken(&run.model, "%s comes from nowhere", bw_err_name(code));
  if (closes && last_since(from, BATCH_CLOSE) != 1) { /* closed: now or never */
    const int expected = run.debt ? run.debt : last_since(from, BATCH_CLOSE);
    if (code != expected && code != -ECANCELED && run.debt != -ECANCELED && run.debt != -EAGAIN)
      model_broken(&run.model, "close gives %s, not %s", bw_err_name(code), bw_err_name(expected));
    run.debt = 0;
    return;
  }
  if (is_ours && code != run.debt) return;
  if (bw_batch_error(run.rig->batch) == code || last_since(from, BATCH_FLUSH) == code) return;
  if (run.debt == code) run.debt = 0;
}

static int flush_step(bool closes, int tries) {
  const size_t from = events_so_far();
  const int code = flush_or_close(closes, tries);
  look_for_debt();
  if (last_since(from, BATCH_FLUSH) == -EINTR) model_broken(&run.model, "an interrupted flush is not called again");
  if (code == 0) {
    check_success(from, closes);
  } else {
    check_failure(from, code, closes);
  }
  return code;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static int send_once(const char *text, size_t length, char step, bool is_start) {
  const struct iovec parts[3] = {{(void *)text, length / 3},
                                 {NULL, 0},
                                 {(void *)(text + length / 3), length - length / 3}};
  bw_batch_t *batch = run.rig->batch;
  if (step == 'v') return is_start ? bw_batch_start_sendv(batch, parts, 3) : bw_batch_sendv(batch, parts, 3);
  return is_start ? bw_batch_start_send(batch, text, length) : bw_batch_send(batch, text, length);
}

/* Only a blocking send may have to wait. */
static int send_item(const char *text, size_t length, char step) {
  if (step != 't' && (style_is(BLOCK) || run.work->when_full != BW_FULL_WAIT))
    return send_once(text, length, step, false);
  int code;
  for (int i = 0; i < 4 && (code = send_once(text, length, step, true)) == -EAGAIN; ++i) {
    const int ready = poll_until(bw_batch_poll_ready, WAKER_READY, style_is(BLOCK) ? 1 : 4);
    if (ready != 0) return ready;
  }
  return code;
}

static void send_step(char step) {
  static const size_t kLengths[] = {5, 12, 4, 20, 7, 9};
  const size_t fixed = run.work->item_size;
  const size_t length = fixed ? fixed : step == 'e' ? 0 : kLengths[run.model.accepted % 6];
  const char *text = model_spell(&run.model, length);
  const int code = send_item(text, length, step);
  const bool is_known = code == 0 || code == BW_BATCH_DROPPED || code == -EAGAIN || code == run.code || code == -EPERM;
  if (!is_known) model_broken(&run.model, "a send gives %s", bw_err_name(code));
  model_sent(&run.model, code, events_so_far());
}

static void send_too_long(void) {
  static const char kLong[256];
  const int expected = run.work->item_size ? -EINVAL : -EMSGSIZE;
  if (bw_batch_send(run.rig->batch, kLong, sizeof kLong) != expected) model_broken(&run.model, "too long, and sent");
}

static int64_t discard_step(void) {
  run.model.has_discarded = true;
  const int64_t count = bw_batch_discard(run.rig->batch);
  if (count >= 0) run.model.discarded += (uint64_t)count;
  if (count < 0) model_broken(&run.model, "discard gives %s", bw_err_name((int)count));
  return count;
}

static void run_step(char step) {
  const bw_waker_t wake = batch_rig_waker(run.rig, WAKER_READY);
  switch (step) {
    case 'F': flush_step(false, TRIES); break;
    case 'L': send_too_long(); break;
    case 'A': help(); break;
    case 'D': discard_step(); break;
    case 'W': bw_batch_wake(run.rig->batch); break;
    case 'R':
      poll_until(bw_batch_poll_ready, WAKER_READY, 1);
      if (bw_batch_unwake(run.rig->batch, &wake) == 1) run.woken_before[WAKER_READY] = -1;
      break;
    default: send_step(step); break;
  }
}

/* ---- Afterwards ------------------------------------------------------------------------------ */

static void repair(void) {
  pthread_mutex_lock(&run.rig->mutex);
  run.burst = 0;
  pthread_mutex_unlock(&run.rig->mutex);
}

static bool is_settled(void) {
  const bw_batch_stats_t stats = batch_rig_stats(run.rig);
  return stats.buffered_items == 0 && stats.in_flight_items == 0 &&
         batch_rig_settled(run.rig) >= (size_t)run.model.accepted;
}

static void discard_all(void) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  for (;;) {
    while (!style_is(BLOCK) && help()) continue;
    discard_step();
    if (is_settled()) return;
    if (test_now_us() > end) {
      model_broken(&run.model, "discarding never ends");
      return;
    }
    if (run.model.has_threads) test_pause();
  }
}

/* With a sink that works: until it says 0. BW_ESINK is for ever, until it is discarded. */
static void flush_until_done(bool closes) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  int code;
  do {
    if (bw_batch_error(run.rig->batch) == BW_ESINK) discard_step();
    code = flush_step(closes, TRIES);
  } while (code != 0 && !run.model.why[0] && test_now_us() < end);
  if (code != 0) model_broken(&run.model, "a sink that works is not enough: %s", bw_err_name(code));
}

static void recover(int then) {
  if (then <= THEN_CLOSE) repair();
  if (then == THEN_WAKE) bw_batch_wake(run.rig->batch);
  if (then == THEN_DISCARD) {
    discard_all();
    repair();
    send_step('s');
  }
  if (then == THEN_CLOSE_FREE) flush_step(true, 4);
  if (then == THEN_FREE || then == THEN_CLOSE_FREE) return;
  flush_until_done(then == THEN_CLOSE);
}

static void check_stats(void) {
  if (!is_settled() || run.model.why[0]) return;
  const bw_batch_stats_t stats = batch_rig_stats(run.rig);
  model_replay(&run.model, run.rig);
  model_check_stats(&run.model, &stats);
  if (bw_batch_flushed(run.rig->batch) != run.model.batches) model_broken(&run.model, "bw_batch_flushed is wrong");
  const bool is_unknown = run.code == -ECANCELED; /* the sink's too */
  if (run.model.gone < run.model.discarded && !is_unknown)
    model_broken(&run.model, "%llu items were discarded, and %llu told of", (unsigned long long)run.model.discarded,
                 (unsigned long long)run.model.gone);
}

static void free_batch(void) {
  pthread_mutex_lock(&run.mutex);
  run.is_freeing = true; /* from now on only answers are allowed */
  pthread_mutex_unlock(&run.mutex);
  stop_helper(); /* it may be in bw_batch_wake() */
  start_helper();
  run.model.freed_at = events_so_far();
  batch_rig_free_batch(run.rig);
  stop_helper();
}

static void check_wakers(void) {
  for (int waker = 0; waker < 3; ++waker) {
    const int woken = batch_rig_woken(run.rig, waker);
    if ((uint64_t)woken > run.pending[waker]) model_broken(&run.model, "waker %d is called too often", waker);
    if (run.woken_before[waker] >= 0 && woken <= run.woken_before[waker])
      model_broken(&run.model, "waker %d is never called", waker);
  }
}

/* ---- One scenario ---------------------------------------------------------------------------- */

static bool has_threads(const int *point) {
  const workload *work = &kWorkload[point[AT_WORKLOAD]];
  return point[AT_STYLE] == BLOCK || kModeFlags[point[AT_MODE]] & BW_BACKGROUND || work->linger_us || work->backoff_us;
}

static void set_up(const int *point) {
  const workload *work = &kWorkload[point[AT_WORKLOAD]];
  memset(&run, 0, sizeof run);
  run.work = work;
  run.point = point;
  pthread_mutex_init(&run.mutex, NULL);
  sem_init(&run.owed, 0, 0);
  sem_init(&run.stirred, 0, 0);
  for (int i = 0; i < 3; ++i) run.woken_before[i] = -1;
  batch_model *model = &run.model;
  model->flags = work->flags | kModeFlags[point[AT_MODE]];
  model->max_items = work->max_items;
  model->max_bytes = work->max_bytes;
  model->max_in_flight = work->max_in_flight ? work->max_in_flight : 1;
  model->retries = work->retries;
  model->when_full = work->when_full;
  model->when_failed = work->when_failed;
  model->has_threads = has_threads(point);
  run.rig = batch_rig_new(model->flags, &(const bw_batch_options_t){.size = sizeof(bw_batch_options_t),
                                                                   .max_items = work->max_items,
                                                                   .max_bytes = work->max_bytes,
                                                                   .linger_us = work->linger_us,
                                                                   .backoff_us = work->backoff_us,
                                                                   .buffers = work->buffers,
                                                                   .max_in_flight = work->max_in_flight,
                                                                   .when_full = work->when_full,
                                                                   .retries = work->retries,
                                                                   .when_failed = work->when_failed,
                                                                   .item_size = work->item_size});
  run.rig->judge = judge;
  run.rig->hook = inside;
}

static void tear_down(void) {
  run.rig->violation = NULL; /* it is in the model's words */
  batch_rig_free(run.rig);
  sem_destroy(&run.owed);
  sem_destroy(&run.stirred);
  pthread_mutex_destroy(&run.mutex);
}

/* What would never let a blocking call end, or a write, comes a few times in a row and not for ever. */
static bool ends_by_itself(const int *point) {
  const int code = kCode[point[AT_CODE]];
  if (point[AT_HOW] == WOKEN || code == -EINTR) return false;
  return code != -EAGAIN || (point[AT_STYLE] != BLOCK && kWorkload[point[AT_WORKLOAD]].backoff_us == 0);
}

static int body(const int *point, bool has_fault) {
  set_up(point);
  if (has_fault) {
    run.number = point[AT_NUMBER];
    run.code = kCode[point[AT_CODE]];
    run.how = point[AT_HOW];
    run.is_ever = point[AT_WHEN] == EVER;
    run.burst = run.is_ever && !ends_by_itself(point) ? BURST : INT_MAX;
  }
  if (style_is(BLOCK)) start_helper();
  for (const char *step = run.work->steps; *step; ++step) run_step(*step);
  recover(has_fault ? point[AT_THEN] : THEN_CLOSE);
  check_stats();
  pthread_mutex_lock(&run.rig->mutex);
  const int operations = run.operations;
  pthread_mutex_unlock(&run.rig->mutex);
  free_batch();
  model_replay(&run.model, run.rig);
  model_check_end(&run.model);
  check_wakers();
  return operations;
}

/* True: nothing was wrong. */
static bool end(char *why) {
  const bool is_right = !run.model.why[0];
  snprintf(why, SWEEP_WHY, "%s", run.model.why);
  if (!is_right && getenv("BW_TRACE")) fprintf(stderr, "%s\n", batch_rig_trace(run.rig, ~0u));
  tear_down();
  return is_right;
}

static bool run_one(const int *point, char *why) {
  body(point, true);
  return end(why);
}

static int count_operations(const int *point, char *why) {
  const int operations = body(point, false);
  return end(why) ? operations : -1;
}

static enum sweep_answer exists(const int *point, int known) {
  const bool is_unshared = known == AT_MODE + 1 && kModeFlags[point[AT_MODE]] & BW_UNSHARED;
  if (is_unshared && kWorkload[point[AT_WORKLOAD]].linger_us) return SWEEP_NO; /* only for shared ones */
  if (known == AT_HOW + 1 && point[AT_HOW] == WOKEN && kCode[point[AT_CODE]] != -EAGAIN) return SWEEP_NO;
  return SWEEP_YES;
}

int main(int argc, char **argv) {
  static const sweep_table kTable = {
      .program = "sweep_batch",
      .axes = {SWEEP_AXIS("workload", kWorkloads),
               SWEEP_AXIS("mode", kModes),
               SWEEP_AXIS("style", kStyles),
               SWEEP_NUMBERS("number"),
               SWEEP_AXIS("code", kCodes),
               SWEEP_AXIS("how", kHows),
               SWEEP_AXIS("when", kWhens),
               SWEEP_AXIS("then", kThens)},
      .axis_count = AT_COUNT,
      .exists = exists,
      .numbers = count_operations,
      .run = run_one,
      .every = 23,
  };
  return sweep_run(&kTable, argc, argv);
}
