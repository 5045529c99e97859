#include "batch_model.h"

/* The items of one event. */
typedef struct item_run {
  int numbers[MODEL_ITEMS];
  int count;
} item_run;

void model_broken(batch_model *model, const char *format, ...) {
  if (model->why[0]) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(model->why, sizeof model->why, format, arguments);
  va_end(arguments);
}

int model_bare(int code) { return code < -BW_FINAL ? code + BW_FINAL : code > 0 ? -EPROTO : code; }

/* ---- Sending --------------------------------------------------------------------------------- */

const char *model_spell(batch_model *model, size_t length) {
  static unsigned salt; /* so that an item that was refused is not taken for the one that gets its number */
  model_item *item = &model->items[model->accepted + 1];
  memset(item, 0, sizeof *item);
  if (length == 0) return item->text;
  memset(item->text, 'a' + (int)(salt++ % 26), length);
  char number[8];
  const int digits = snprintf(number, sizeof number, "%d.", model->accepted + 1);
  memcpy(item->text, number, (size_t)digits);
  return item->text;
}

void model_sent(batch_model *model, int code, size_t events) {
  if (code == BW_BATCH_DROPPED) {
    if (model->when_full < BW_FULL_DROP_NEWEST) model_broken(model, "a send dropped its item without being told to");
    ++model->refused;
  }
  if (code == 0) model->items[++model->accepted].sent_at = events;
}

/* ---- Which items an event is about ----------------------------------------------------------- */

static bool has_text(const model_item *item, const char *text, size_t length) {
  return strlen(item->text) == length && memcmp(item->text, text, length) == 0;
}

/* An empty item of a fate that fits, behind `before`. */
static int next_empty(const batch_model *model, int before, bool is_delivery, int code) {
  for (int number = before + 1; number <= model->accepted; ++number) {
    const model_item *item = &model->items[number];
    if (item->text[0] || item->fate == FATE_SETTLED) continue;
    if (is_delivery ? item->fate != FATE_DECIDED || item->code == code : item->fate != FATE_DECIDED) return number;
  }
  return 0;
}

static bool resolve(batch_model *model, const batch_event *event, item_run *run) {
  const char *at = event->text;
  run->count = 0;
  for (size_t i = 0; i < event->count && run->count < MODEL_ITEMS; ++i) {
    const char *end = strchrnul(at, ',');
    const size_t length = (size_t)(end - at);
    const int before = run->count ? run->numbers[run->count - 1] : 0;
    int number = length ? atoi(at) : next_empty(model, before, event->kind == BATCH_DELIVERED, event->code);
    if (length == 0 && i == 0 && event->kind != BATCH_DELIVERED) number = (int)event->first;
    if (number < 1 || number > model->accepted || !has_text(&model->items[number], at, length)) {
      model_broken(model, "\"%.*s\" is no item that was accepted", (int)length, at);
      return false;
    }
    if (number <= before) {
      model_broken(model, "item %d comes after %d", number, before);
      return false;
    }
    run->numbers[run->count++] = number;
    at = end + 1;
  }
  return true;
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void decide(batch_model *model, int number, int code) {
  model_item *item = &model->items[number];
  item->fate = FATE_DECIDED;
  item->code = code;
  model->decided[model->decided_count++] = number;
}

static void begin_part(model_item *item) {
  item->fate = FATE_OPEN;
  item->offers = item->failures = 0;
  item->has_failed = false;
}

static void has_counted(batch_model *model, const item_run *run, int code) {
  model->retried += model->items[run->numbers[0]].has_failed;
  for (int i = 0; i < run->count; ++i) {
    model_item *item = &model->items[run->numbers[i]];
    item->fate = FATE_OPEN;
    item->last = code;
    ++item->offers;
  }
}

static void has_failed(batch_model *model, const item_run *run, int code) {
  for (int i = 0; i < run->count; ++i) {
    model_item *item = &model->items[run->numbers[i]];
    item->has_failed = true;
    item->is_dead = code == BW_ESINK;
    model->dead += item->is_dead;
    ++item->failures;
    if (!item->is_dead && model->when_failed == BW_FAILED_GIVE_UP && item->failures > model->retries)
      decide(model, run->numbers[i], code);
  }
}

static void answer_whole(batch_model *model, const item_run *run, int code, bool is_write) {
  if (code == -EAGAIN || (code == -EINTR && is_write)) { /* it was not asked */
    for (int i = 0; i < run->count; ++i) {
      model->items[run->numbers[i]].fate = FATE_OPEN;
      model->items[run->numbers[i]].last = code;
    }
    return;
  }
  has_counted(model, run, model_bare(code));
  if (code >= -BW_FINAL && code != 0) {
    has_failed(model, run, model_bare(code));
  } else if (code != 0 && run->count > 1 && model->flags & BW_BATCH_BISECT) {
    model->is_split[model->items[run->numbers[0]].serial] = true;
    for (int i = 0; i < run->count; ++i) begin_part(&model->items[run->numbers[i]]);
  } else {
    for (int i = 0; i < run->count; ++i) decide(model, run->numbers[i], model_bare(code));
  }
}

/* The first failure that is not final; BW_ESINK before all others. */
static int failure_among(const int *codes, int count) {
  int failure = 0;
  for (int i = 0; i < count; ++i) {
    if (codes[i] == BW_ESINK) return BW_ESINK;
    if (failure == 0 && codes[i] < 0 && codes[i] != -EAGAIN && codes[i] >= -BW_FINAL) failure = codes[i];
  }
  return failure;
}

static void answer_each(batch_model *model, const item_run *all, const int *codes) {
  const model_item *one = &model->items[all->numbers[0]];
  const int failure = failure_among(codes, all->count);
  const bool gives_up = failure != 0 && failure != BW_ESINK && model->when_failed == BW_FAILED_GIVE_UP &&
                        one->failures >= model->retries;
  item_run kept = {.count = 0}, settled = {.count = 0};
  for (int i = 0; i < all->count; ++i) {
    const bool settles = codes[i] == 0 || codes[i] < -BW_FINAL || (gives_up && codes[i] != -EAGAIN);
    item_run *to = settles ? &settled : &kept;
    to->numbers[to->count++] = all->numbers[i];
  }
  if (settled.count == 0 && failure == 0) {
    answer_whole(model, all, -EAGAIN, false);
    return;
  }
  if (settled.count) model->is_split[one->serial] = true;
  has_counted(model, all, failure ? failure : -EAGAIN);
  for (int i = 0; i < all->count; ++i) {
    const bool settles = codes[i] == 0 || codes[i] < -BW_FINAL || (gives_up && codes[i] != -EAGAIN);
    if (settles) decide(model, all->numbers[i], model_bare(codes[i]));
  }
  if (failure != 0 && !gives_up) {
    has_failed(model, &kept, failure);
    return;
  }
  for (int i = 0; i < kept.count; ++i) { /* not ready, all of them */
    model_item *item = &model->items[kept.numbers[i]];
    const uint32_t offers = item->offers - 1; /* this one does not count */
    begin_part(item);
    item->offers = offers;
    item->last = -EAGAIN;
  }
}

/* ---- Offers ---------------------------------------------------------------------------------- */

static int in_flight_batches(const batch_model *model) {
  int count = 0;
  uint64_t serial = 0;
  for (int number = 1; number <= model->accepted; ++number) {
    const model_item *item = &model->items[number];
    if (item->fate != FATE_IN_FLIGHT || item->serial == serial) continue;
    serial = item->serial;
    ++count;
  }
  return count;
}

static bool is_order_known(const batch_model *model) {
  return model->max_in_flight == 1 || !(model->has_threads || model->is_freeing);
}

/* Nothing newer may be offered before what is older is settled, or in flight whole. */
static void check_older(batch_model *model, int first, uint64_t serial) {
  for (int number = 1; number < first; ++number) {
    model_item *item = &model->items[number];
    const bool is_part = model->is_split[item->serial] || item->serial == serial;
    if (item->fate == FATE_IN_FLIGHT && is_part && is_order_known(model))
      model_broken(model, "item %d was offered while a part with item %d is in flight", first, number);
    if (item->fate == FATE_OPEN && is_order_known(model)) item->is_passed_over = true;
  }
}

static void check_offered(batch_model *model, const batch_event *event, const item_run *run) {
  size_t bytes = 0;
  for (int i = 0; i < run->count; ++i) {
    const int number = run->numbers[i];
    model_item *item = &model->items[number];
    bytes += strlen(item->text);
    if (item->fate != FATE_OPEN)
      model_broken(model, "item %d was offered though %s", number,
                   item->fate == FATE_IN_FLIGHT ? "it is in flight" : "it was answered for");
    if (item->is_dead) model_broken(model, "item %d was offered after BW_ESINK", number);
    if (item->is_passed_over) model_broken(model, "item %d was offered after something newer", number);
    const uint32_t attempt = item->offers + 1;
    if (event->attempt != attempt)
      model_broken(model, "item %d: attempt %u, not %u", number, event->attempt, attempt);
    if (item->serial != 0 && item->serial != event->serial) model_broken(model, "item %d changed its batch", number);
    item->serial = event->serial;
  }
  if (bytes != event->bytes || bytes > model->max_bytes)
    model_broken(model, "%zu bytes, not %zu", (size_t)event->bytes, bytes);
  if (event->count > model->max_items) model_broken(model, "%zu items in one batch", event->count);
  if (event->first != (uint64_t)run->numbers[0])
    model_broken(model, "a batch begins with item %d, and says %d", run->numbers[0], (int)event->first);
  if (event->serial < model->last_serial && model->max_in_flight == 1)
    model_broken(model, "an older batch comes later");
  if (event->serial > MODEL_ITEMS) model_broken(model, "more batches than items");
  model->last_serial = event->serial;
}

static void replay_offer(batch_model *model, const batch_event *event) {
  item_run run;
  if (model->is_closed) model_broken(model, "the sink is called after its close");
  if (!resolve(model, event, &run) || run.count == 0) return;
  check_offered(model, event, &run);
  check_older(model, run.numbers[0], event->serial);
  if (in_flight_batches(model) >= (int)model->max_in_flight) model_broken(model, "too many batches are in flight");
  if (model->why[0]) return;
  if (event->code != BW_BATCH_TAKEN) {
    answer_whole(model, &run, event->code, true);
    return;
  }
  for (int i = 0; i < run.count; ++i) model->items[run.numbers[i]].fate = FATE_IN_FLIGHT;
}

static void replay_answer(batch_model *model, const batch_event *event) {
  item_run run;
  if (!resolve(model, event, &run) || run.count == 0) return;
  if (event->codes) {
    answer_each(model, &run, event->codes);
  } else {
    answer_whole(model, &run, event->code, false);
  }
}

/* ---- Deliveries ------------------------------------------------------------------------------ */

/* Takes `number` from the list of those that wait to be told, in order. */
static void take_decided(batch_model *model, int number) {
  int at = 0;
  while (at < model->decided_count && model->decided[at] != number) ++at;
  if (at > 0 && is_order_known(model)) model_broken(model, "item %d is told before item %d", number, model->decided[0]);
  memmove(&model->decided[at], &model->decided[at + 1], (size_t)(--model->decided_count - at) * sizeof(int));
}

/* Why nobody but the batcher itself settled it; true: it may. */
static bool may_settle(batch_model *model, const model_item *item, int code) {
  if (item->fate == FATE_IN_FLIGHT) return false;
  if (code == -ENOBUFS) return model->when_full == BW_FULL_DROP_OLDEST && !model->is_split[item->serial];
  if (code == -ECANCELED && model->has_discarded) return true;
  if (!model->is_freeing) return false;
  return code == BW_ESINK ? model->dead > 0 : code != 0 && item->last == code;
}

static void settle(batch_model *model, int number, int code) {
  model_item *item = &model->items[number];
  const bool is_decided = item->fate == FATE_DECIDED;
  if (item->fate == FATE_SETTLED) {
    model_broken(model, "item %d is settled twice", number);
  } else if (is_decided ? item->code != code : !may_settle(model, item, code)) {
    model_broken(model, "item %d is settled with %s, its fate is %d, the sink said %s", number, bw_err_name(code),
                 item->fate, bw_err_name(is_decided ? item->code : item->last));
  }
  if (model->why[0]) return;
  if (is_decided) take_decided(model, number);
  if (item->is_dead && !model->is_freeing) --model->dead;
  item->fate = FATE_SETTLED;
  item->code = code;
  if (code == 0) {
    ++model->ok;
    model->ok_bytes += strlen(item->text);
    if (++model->ok_of[item->serial] == 1) ++model->batches;
    if (model->ok_of[item->serial] > model->largest) model->largest = model->ok_of[item->serial];
  } else if (!is_decided && (code == -ENOBUFS || code == -ECANCELED)) {
    ++model->gone;
  } else {
    ++model->given_up;
    if (model->first_given_up == 0) model->first_given_up = code;
  }
}

static void replay_delivered(batch_model *model, const batch_event *event) {
  item_run run;
  if (!resolve(model, event, &run)) return;
  for (int i = 0; i < run.count && !model->why[0]; ++i) settle(model, run.numbers[i], event->code);
}

/* ---- The others ------------------------------------------------------------------------------ */

/* All that was sent before must have been told of. */
static void replay_flush(batch_model *model, size_t index) {
  if (model->is_closed) model_broken(model, "the sink is called after its close");
  if (model->is_freeing && model->dead > 0) model_broken(model, "a sink that said BW_ESINK is flushed");
  for (int number = 1; number <= model->accepted; ++number)
    if (model->items[number].sent_at <= index && model->items[number].fate != FATE_SETTLED)
      model_broken(model, "the sink is flushed before item %d is settled", number);
}

static void replay_close(batch_model *model) {
  if (model->is_closed) model_broken(model, "the sink is closed twice");
  model->is_closed = true;
  for (int number = 1; number <= model->accepted; ++number)
    if (model->items[number].fate != FATE_SETTLED) model_broken(model, "closed before item %d is settled", number);
}

static void replay_pressure(batch_model *model, bool on) {
  if (model->is_on == on) model_broken(model, "pressure is told %s twice", on ? "on" : "off");
  model->is_on = on;
}

static void forget_replay(batch_model *model) {
  for (int number = 1; number <= model->accepted; ++number) {
    model_item *item = &model->items[number];
    begin_part(item);
    item->is_dead = item->is_passed_over = false;
    item->serial = 0;
    item->last = item->code = 0;
  }
  model->ok = model->given_up = model->gone = model->ok_bytes = model->batches = model->largest = model->retried = 0;
  model->first_given_up = model->decided_count = 0;
  memset(model->is_split, 0, sizeof model->is_split);
  memset(model->ok_of, 0, sizeof model->ok_of);
  model->last_serial = 0;
  model->dead = 0;
  model->is_closed = model->is_on = model->is_freeing = false;
}

static void say_where(batch_model *model, size_t index) {
  const size_t length = strlen(model->why);
  snprintf(model->why + length, sizeof model->why - length, " (event %zu)", index);
}

void model_replay(batch_model *model, const batch_rig *rig) {
  forget_replay(model);
  for (size_t i = 0; i < rig->event_count && !model->why[0]; ++i) {
    const batch_event *event = &rig->events[i];
    model->is_freeing = model->freed_at != 0 && i >= model->freed_at;
    switch (event->kind) {
      case BATCH_OFFER: replay_offer(model, event); break;
      case BATCH_FLUSH: replay_flush(model, i); break;
      case BATCH_CLOSE: replay_close(model); break;
      case BATCH_ANSWER: replay_answer(model, event); break;
      case BATCH_DELIVERED: replay_delivered(model, event); break;
      case BATCH_PRESSURE: replay_pressure(model, event->code != 0); break;
      default: break;
    }
    if (model->why[0]) say_where(model, i);
  }
  if (rig->violation) model_broken(model, "%s", rig->violation);
}

/* ---- The end --------------------------------------------------------------------------------- */

void model_check_end(batch_model *model) {
  for (int number = 1; number <= model->accepted; ++number)
    if (model->items[number].fate != FATE_SETTLED) model_broken(model, "item %d was never settled", number);
  if (!model->is_closed) model_broken(model, "the sink was never closed");
  if (model->is_on) model_broken(model, "pressure was never told off");
}

void model_check_stats(batch_model *model, const bw_batch_stats_t *stats) {
  const struct {
    const char *name;
    uint64_t is, expected;
  } all[] = {
      {"total_items", stats->total_items, model->ok},
      {"total_batches", stats->total_batches, model->batches},
      {"max_batch_size", stats->max_batch_size, model->largest},
      {"dropped_items", stats->dropped_items, model->gone + model->refused},
      {"failed_items", stats->failed_items, model->given_up},
      {"retries", stats->retries, model->retried},
      {"bytes", stats->bytes, model->ok_bytes},
      {"buffered_items", stats->buffered_items, 0},
      {"in_flight_items", stats->in_flight_items, 0},
  };
  for (size_t i = 0; i < sizeof all / sizeof all[0]; ++i)
    if (all[i].is != all[i].expected)
      model_broken(model, "%s is %llu, not %llu", all[i].name, (unsigned long long)all[i].is,
                   (unsigned long long)all[i].expected);
}
