#include "batch_rig.h"

const uint32_t kBatchInline = 0, kBatchUnshared = BW_UNSHARED, kBatchBackground = BW_BACKGROUND,
               kBatchBackgroundUnshared = BW_BACKGROUND | BW_UNSHARED;

/* The rig in whose sink this thread is. */
static _Thread_local batch_rig *sink_of_thread;

static void *grown(void *block, size_t size) {
  void *bigger = realloc(block, size ? size : 1);
  if (!bigger) {
    fprintf(stderr, "tests: no memory\n");
    abort();
  }
  return bigger;
}

static void violated(batch_rig *rig, const char *what) {
  if (!rig->violation) rig->violation = what;
}

/* ---- Recording ------------------------------------------------------------------------------- */

static char *join(const struct iovec *items, size_t count) {
  size_t length = 0;
  for (size_t i = 0; i < count; ++i) length += items[i].iov_len + 1;
  char *text = grown(NULL, length + 1), *end = text;
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) *end++ = ',';
    if (items[i].iov_len) memcpy(end, items[i].iov_base, items[i].iov_len);
    end += items[i].iov_len;
  }
  *end = 0;
  return text;
}

static void look_at(batch_event *event, const struct iovec *items, size_t count) {
  event->count = count;
  event->text = join(items, count);
  event->contiguous = true;
  for (size_t i = 0; i < count; ++i) {
    const char *base = items[i].iov_base;
    event->low_bits |= (uintptr_t)base;
    if (i > 0 && base != (const char *)items[i - 1].iov_base + items[i - 1].iov_len) event->contiguous = false;
  }
}

/* With the mutex held; the event's index. */
static size_t add(batch_rig *rig, batch_event event) {
  if (rig->event_count == rig->event_capacity) {
    rig->event_capacity = rig->event_capacity * 2 + 64;
    rig->events = grown(rig->events, rig->event_capacity * sizeof *rig->events);
  }
  event.thread = pthread_self();
  rig->events[rig->event_count] = event;
  return rig->event_count++;
}

static void inside(batch_rig *rig, enum batch_kind kind) {
  pthread_mutex_lock(&rig->mutex);
  void (*const hook)(batch_rig *, enum batch_kind) = rig->hook;
  const bool stops = (rig->gate.kinds & BATCH_KIND(kind)) != 0;
  pthread_mutex_unlock(&rig->mutex);
  if (hook) hook(rig, kind);
  if (stops) test_gate_pass(&rig->gate);
}

/* ---- The sink -------------------------------------------------------------------------------- */

static int next_answer(batch_rig *rig, enum batch_kind kind) {
  if (rig->script_next[kind] < rig->script_length[kind]) return rig->script[kind][rig->script_next[kind]++];
  return rig->always[kind];
}

static void take(batch_rig *rig, bw_batch_view_t *view) {
  if (rig->taken_count == rig->taken_capacity) {
    rig->taken_capacity = rig->taken_capacity * 2 + 16;
    rig->taken = grown(rig->taken, rig->taken_capacity * sizeof *rig->taken);
  }
  rig->taken[rig->taken_count++] = view;
}

static int sink_call(batch_rig *rig, batch_event event, bw_batch_view_t *view) {
  batch_rig *const outer = sink_of_thread;
  pthread_mutex_lock(&rig->mutex);
  if (rig->sink_inside++ > 0) violated(rig, "two calls of the sink at once");
  const size_t index = add(rig, event);
  if (view) rig->offered = view;
  /* Now, so that a test that has seen the call can change the answers of those to come. */
  const int answer = rig->judge ? rig->judge(rig, &event) : next_answer(rig, event.kind);
  rig->events[index].code = answer;
  pthread_mutex_unlock(&rig->mutex);
  sink_of_thread = rig;
  inside(rig, event.kind);
  sink_of_thread = outer;
  pthread_mutex_lock(&rig->mutex);
  --rig->sink_inside;
  if (view && answer == BW_BATCH_TAKEN) take(rig, view);
  pthread_mutex_unlock(&rig->mutex);
  return answer;
}

static batch_event event_of_view(enum batch_kind kind, const bw_batch_view_t *view) {
  batch_event event = {.kind = kind};
  size_t count = 0;
  const struct iovec *items = bw_batch_items(view, &count);
  look_at(&event, items, count);
  event.serial = bw_batch_serial(view);
  event.first = bw_batch_first(view);
  event.bytes = bw_batch_bytes(view);
  event.attempt = bw_batch_attempt(view);
  return event;
}

static int on_write(void *ctx, bw_batch_view_t *view) {
  return sink_call(ctx, event_of_view(BATCH_OFFER, view), view);
}

static int on_flush(void *ctx) { return sink_call(ctx, (batch_event){.kind = BATCH_FLUSH}, NULL); }
static int on_close(void *ctx) { return sink_call(ctx, (batch_event){.kind = BATCH_CLOSE}, NULL); }

bw_batch_sink_t batch_rig_ops(void) {
  return (bw_batch_sink_t){.size = sizeof(bw_batch_sink_t), .write = on_write, .flush = on_flush, .close = on_close};
}

/* ---- Callbacks ------------------------------------------------------------------------------- */

static void callback(batch_rig *rig, batch_event event) {
  pthread_mutex_lock(&rig->mutex);
  if (rig->callbacks_inside++ > 0) violated(rig, "two callbacks at once");
  if (sink_of_thread == rig) violated(rig, "a callback inside the sink");
  add(rig, event);
  pthread_mutex_unlock(&rig->mutex);
  inside(rig, event.kind);
  pthread_mutex_lock(&rig->mutex);
  --rig->callbacks_inside;
  pthread_mutex_unlock(&rig->mutex);
}

static void on_delivered(void *arg, const struct iovec *items, size_t count, int code) {
  batch_event event = {.kind = BATCH_DELIVERED, .code = code};
  look_at(&event, items, count);
  callback(arg, event);
}

static void on_pressure(void *arg, int on) { callback(arg, (batch_event){.kind = BATCH_PRESSURE, .code = on}); }

static void on_wake(void *arg) {
  batch_waker *waker = arg;
  callback(waker->rig, (batch_event){.kind = BATCH_WAKE, .code = (int)(waker - waker->rig->wakers)});
  atomic_fetch_add(&waker->waker.calls, 1);
}

/* ---- Making one ------------------------------------------------------------------------------ */

batch_rig *batch_rig_empty(void) {
  batch_rig *rig = grown(NULL, sizeof *rig);
  memset(rig, 0, sizeof *rig);
  pthread_mutex_init(&rig->mutex, NULL);
  test_gate_init(&rig->gate, 0);
  for (int i = 0; i < BATCH_WAKERS; ++i) rig->wakers[i].rig = rig;
  return rig;
}

bw_batch_options_t batch_rig_options(batch_rig *rig, uint32_t flags) {
  return (bw_batch_options_t){.size = sizeof(bw_batch_options_t),
                              .flags = flags,
                              .pressure = on_pressure,
                              .delivered = on_delivered,
                              .arg = rig};
}

batch_rig *batch_rig_new(uint32_t flags, const bw_batch_options_t *options) {
  batch_rig *rig = batch_rig_empty();
  const bw_batch_sink_t ops = batch_rig_ops();
  bw_batch_options_t complete = *options;
  complete.flags |= flags;
  complete.delivered = on_delivered;
  complete.pressure = on_pressure;
  complete.arg = rig;
  assert_int_equal(bw_batch_new(&rig->batch, &ops, rig, &complete), 0);
  assert_non_null(rig->batch);
  rig->flags = complete.flags;
  return rig;
}

void batch_rig_free_batch(batch_rig *rig) {
  bw_batch_free(rig->batch);
  rig->batch = NULL;
}

void batch_rig_free(batch_rig *rig) {
  batch_rig_free_batch(rig);
  const char *violation = rig->violation;
  for (size_t i = 0; i < rig->event_count; ++i) {
    free(rig->events[i].text);
    free(rig->events[i].codes);
  }
  for (int i = 0; i < 3; ++i) free(rig->script[i]);
  free(rig->events);
  free(rig->taken);
  free(rig->trace);
  test_gate_destroy(&rig->gate);
  pthread_mutex_destroy(&rig->mutex);
  free(rig);
  assert_string_equal(violation ? violation : "", "");
}

/* ---- The script ------------------------------------------------------------------------------ */

void batch_rig_script(batch_rig *rig, enum batch_kind kind, const int *answers, size_t count) {
  pthread_mutex_lock(&rig->mutex);
  const size_t length = rig->script_length[kind];
  rig->script[kind] = grown(rig->script[kind], (length + count) * sizeof *answers);
  memcpy(rig->script[kind] + length, answers, count * sizeof *answers);
  rig->script_length[kind] = length + count;
  pthread_mutex_unlock(&rig->mutex);
}

void batch_rig_always(batch_rig *rig, enum batch_kind kind, int answer) {
  pthread_mutex_lock(&rig->mutex);
  rig->always[kind] = answer;
  pthread_mutex_unlock(&rig->mutex);
}

void batch_rig_gate(batch_rig *rig, unsigned kinds) {
  pthread_mutex_lock(&rig->mutex);
  rig->gate.kinds = kinds;
  pthread_mutex_unlock(&rig->mutex);
}

struct wanted {
  batch_rig *rig;
  enum batch_kind kind;
  size_t count;
};

static bool is_taken(void *arg) {
  const struct wanted *want = arg;
  pthread_mutex_lock(&want->rig->mutex);
  const bool taken = want->rig->taken_count >= want->count;
  pthread_mutex_unlock(&want->rig->mutex);
  return taken;
}

bw_batch_view_t *batch_rig_taken(batch_rig *rig, size_t index) {
  struct wanted want = {rig, BATCH_OFFER, index + 1};
  if (!test_await(is_taken, &want)) return NULL;
  pthread_mutex_lock(&rig->mutex);
  bw_batch_view_t *view = rig->taken[index];
  pthread_mutex_unlock(&rig->mutex);
  return view;
}

int batch_rig_done(batch_rig *rig, bw_batch_view_t *view, int code, const int *codes) {
  batch_event event = event_of_view(BATCH_ANSWER, view);
  event.code = code;
  if (codes) {
    event.codes = grown(NULL, event.count * sizeof *codes);
    memcpy(event.codes, codes, event.count * sizeof *codes);
  }
  pthread_mutex_lock(&rig->mutex);
  add(rig, event);
  pthread_mutex_unlock(&rig->mutex);
  return bw_batch_done(view, code, codes);
}

static int answer_next(batch_rig *rig, int code, const int *codes) {
  pthread_mutex_lock(&rig->mutex);
  const size_t index = rig->answered_count++;
  pthread_mutex_unlock(&rig->mutex);
  bw_batch_view_t *view = batch_rig_taken(rig, index);
  return view ? bw_batch_done(view, code, codes) : -ETIMEDOUT;
}

int batch_rig_answer(batch_rig *rig, int code) { return answer_next(rig, code, NULL); }
int batch_rig_answer_each(batch_rig *rig, const int *codes) { return answer_next(rig, 0, codes); }
static bool has_unanswered(batch_rig *rig) {
  pthread_mutex_lock(&rig->mutex);
  const bool some = rig->answered_count < rig->taken_count;
  pthread_mutex_unlock(&rig->mutex);
  return some;
}

/* An offer under way may still be taken, so it looks again and again. */
int batch_rig_finish(batch_rig *rig) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  int code;
  for (int kind = 0; kind < 3; ++kind) batch_rig_always(rig, (enum batch_kind)kind, 0);
  do {
    while (has_unanswered(rig))
      if ((code = batch_rig_answer(rig, 0)) != 0) return code;
    code = bw_batch_flush_for(rig->batch, 1000);
  } while (code == -ETIMEDOUT && test_now_us() < end);
  return code;
}

/* ---- What happened --------------------------------------------------------------------------- */

size_t batch_rig_count(batch_rig *rig, enum batch_kind kind) {
  size_t count = 0;
  pthread_mutex_lock(&rig->mutex);
  for (size_t i = 0; i < rig->event_count; ++i) count += rig->events[i].kind == kind;
  pthread_mutex_unlock(&rig->mutex);
  return count;
}

static bool has_come(void *arg) {
  const struct wanted *want = arg;
  return batch_rig_count(want->rig, want->kind) >= want->count;
}

bool batch_rig_await(batch_rig *rig, enum batch_kind kind, size_t count) {
  struct wanted want = {rig, kind, count};
  return test_await(has_come, &want);
}

size_t batch_rig_settled(batch_rig *rig) {
  size_t count = 0;
  pthread_mutex_lock(&rig->mutex);
  for (size_t i = 0; i < rig->event_count; ++i)
    if (rig->events[i].kind == BATCH_DELIVERED) count += rig->events[i].count;
  pthread_mutex_unlock(&rig->mutex);
  return count;
}

static bool is_settled(void *arg) {
  const struct wanted *want = arg;
  return batch_rig_settled(want->rig) >= want->count;
}

bool batch_rig_await_settled(batch_rig *rig, size_t items) {
  struct wanted want = {rig, BATCH_DELIVERED, items};
  return test_await(is_settled, &want);
}

batch_event batch_rig_get(batch_rig *rig, enum batch_kind kind, size_t index) {
  batch_event found;
  memset(&found, 0, sizeof found);
  pthread_mutex_lock(&rig->mutex);
  for (size_t i = 0; i < rig->event_count; ++i)
    if (rig->events[i].kind == kind && index-- == 0) {
      found = rig->events[i];
      break;
    }
  pthread_mutex_unlock(&rig->mutex);
  return found;
}

/* True if `next` goes on with the run of delivered items that `event` belongs to. */
static bool same_run(const batch_event *event, const batch_event *next) {
  return next && event->kind == BATCH_DELIVERED && next->kind == BATCH_DELIVERED && event->code == next->code;
}

static void spell(FILE *out, const batch_event *event, const batch_event *next) {
  switch (event->kind) {
    case BATCH_OFFER: fprintf(out, "(%s)", event->text); break;
    case BATCH_FLUSH: fputs("flush", out); break;
    case BATCH_CLOSE: fputs("close", out); break;
    case BATCH_DELIVERED:
      fputs(event->text, out);
      if (!same_run(event, next)) fprintf(out, ":%s", event->code ? bw_err_name(event->code) : "ok");
      break;
    case BATCH_ANSWER: fprintf(out, "answer(%s)", event->text); break;
    case BATCH_PRESSURE: fputs(event->code ? "on" : "off", out); break;
    default: fprintf(out, "wake%d", event->code); break;
  }
}

static const batch_event *next_of(batch_rig *rig, unsigned kinds, size_t from) {
  for (size_t i = from; i < rig->event_count; ++i)
    if (kinds & BATCH_KIND(rig->events[i].kind)) return &rig->events[i];
  return NULL;
}

static const char *write_trace(batch_rig *rig, unsigned kinds, bool names) {
  size_t length = 0;
  free(rig->trace);
  rig->trace = NULL;
  FILE *out = open_memstream(&rig->trace, &length);
  if (!out) abort();
  pthread_mutex_lock(&rig->mutex);
  const batch_event *event = next_of(rig, kinds, 0);
  while (event) {
    const batch_event *next = next_of(rig, kinds, (size_t)(event - rig->events) + 1);
    if (names)
      fprintf(out, "%d/%d/%zu/%d", (int)event->serial, (int)event->first, event->count, (int)event->attempt);
    else spell(out, event, next);
    if (next) fputs(same_run(event, next) ? "," : " ", out);
    event = next;
  }
  pthread_mutex_unlock(&rig->mutex);
  fclose(out);
  return rig->trace;
}

const char *batch_rig_trace(batch_rig *rig, unsigned kinds) { return write_trace(rig, kinds, false); }
const char *batch_rig_names(batch_rig *rig) { return write_trace(rig, BATCH_KIND(BATCH_OFFER), true); }

bw_batch_stats_t batch_rig_stats(batch_rig *rig) {
  bw_batch_stats_t stats;
  memset(&stats, 0xAA, sizeof stats);
  stats.size = sizeof stats;
  assert_int_equal(bw_batch_get_stats(rig->batch, &stats), 0);
  return stats;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static int each_item(batch_rig *rig, const char *items, int (*call)(bw_batch_t *, const void *, size_t)) {
  for (;;) {
    const char *end = strchrnul(items, ',');
    const int code = call(rig->batch, items, (size_t)(end - items));
    if (code != 0 || *end == 0) return code;
    items = end + 1;
  }
}

int batch_rig_send(batch_rig *rig, const char *items) { return each_item(rig, items, bw_batch_send); }
int batch_rig_start_send(batch_rig *rig, const char *items) { return each_item(rig, items, bw_batch_start_send); }

bw_waker_t batch_rig_waker(batch_rig *rig, int number) { return (bw_waker_t){on_wake, &rig->wakers[number]}; }
int batch_rig_woken(batch_rig *rig, int number) { return atomic_load(&rig->wakers[number].waker.calls); }

int batch_rig_until(batch_rig *rig, int (*poll)(bw_batch_t *batch, const bw_waker_t *wake)) {
  const bw_waker_t wake = batch_rig_waker(rig, 0);
  for (;;) {
    const int before = batch_rig_woken(rig, 0), code = poll(rig->batch, &wake);
    if (code != -EAGAIN) return code;
    if (!test_waker_await(&rig->wakers[0].waker, before + 1)) return -ETIMEDOUT;
  }
}

int64_t batch_rig_discard(batch_rig *rig, int64_t wanted) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  int64_t items = 0;
  for (;;) {
    const int64_t code = bw_batch_discard(rig->batch);
    if (code < 0) return code;
    items += code;
    if (items >= wanted || test_now_us() > end) return items;
    test_pause();
  }
}

static bool holds_error(void *arg) {
  const batch_call *want = arg;
  return bw_batch_error(want->rig->batch) == want->code;
}

bool batch_rig_await_error(batch_rig *rig, int code) {
  batch_call want = {.rig = rig, .code = code};
  return test_await(holds_error, &want);
}

typedef struct in_flight {
  batch_rig *rig;
  size_t items;
} in_flight;

static bool has_in_flight(void *arg) {
  const in_flight *want = arg;
  return batch_rig_stats(want->rig).in_flight_items == want->items;
}

bool batch_rig_await_in_flight(batch_rig *rig, size_t items) {
  in_flight want = {rig, items};
  return test_await(has_in_flight, &want);
}

int64_t batch_call_send(void *arg) {
  const batch_call *call = arg;
  return batch_rig_send(call->rig, call->items);
}

int64_t batch_call_flush_for(void *arg) {
  const batch_call *call = arg;
  return bw_batch_flush_for(call->rig->batch, call->timeout_us);
}

int64_t batch_call_unwake(void *arg) {
  const batch_call *call = arg;
  const bw_waker_t wake = batch_rig_waker(call->rig, call->waker);
  return bw_batch_unwake(call->rig->batch, &wake);
}

int64_t batch_call_answer(void *arg) {
  const batch_call *call = arg;
  return batch_rig_answer(call->rig, call->code);
}

int64_t batch_call_flush(void *arg) { return bw_batch_flush(((const batch_call *)arg)->rig->batch); }
int64_t batch_call_close(void *arg) { return bw_batch_close(((const batch_call *)arg)->rig->batch); }
int64_t batch_call_discard(void *arg) { return bw_batch_discard(((const batch_call *)arg)->rig->batch); }
int64_t batch_call_wake(void *arg) { return bw_batch_wake(((const batch_call *)arg)->rig->batch); }

int64_t batch_call_free(void *arg) {
  batch_rig_free_batch(((const batch_call *)arg)->rig);
  return 0;
}
