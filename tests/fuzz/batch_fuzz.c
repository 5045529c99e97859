/*
 * Batches: a program of calls of one producer, over a sink whose answers are the input's too, against a model of items,
 * batches and their fates.
 *
 * What the sink is offered is checked where it is offered: the right items, in order, sealed by rule 1 and for no other
 * reason, the right part after answers for single items and halves, the right number of attempt, nothing newer before
 * it. From its answer follows what `delivered` must tell. Where nobody but the caller can call the sink, what is left
 * after a call is known too.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { kItemsMax = 1500, kBatchesMax = kItemsMax + 2, kSegmentsMax = 24, kTakenMax = 8, kWakersMax = 3, kPartsMax = 5,
       kLengthMax = 48, kNoCode = INT_MAX };

typedef struct item {
  uint32_t length;
  bool may_end; /* a batch may be sealed behind it though there is room */
  bool is_offered, is_told;
  int fate; /* kNoCode: nothing is decided */
} item;

typedef struct batch {
  size_t first, count;            /* of items; from 1 */
  size_t segments[kSegmentsMax];  /* what is undecided, in parts; the first is the next to be offered */
  int segment_count;
  int failures, round_failures;   /* of that part */
  bool is_split, is_in_flight, is_held, is_dead, is_over;
  bool may_wait; /* held, unless a round has begun in which an older one came first */
  int held_code;
} batch;

typedef struct run run;

typedef struct waker {
  run *of;
  int credits, calls;
  bool must_come;
} waker;

struct run {
  fuzz_input ops, answers;
  bw_batch_t *batch;
  bw_batch_options_t options;
  bool has_thread, is_stuck_allowed, is_ending, is_closing, was_discarded;
  pthread_mutex_t mutex; /* all below */
  item items[kItemsMax + 2]; /* from 1; one more than was accepted while a send is under way */
  size_t accepted, told, refused; /* refused: dropped at once */
  batch batches[kBatchesMax];     /* by serial */
  size_t serial_most, taken_count;
  bw_batch_view_t *taken[kTakenMax];
  int inside, telling; /* callbacks that are running */
  bool may_begin_round;
  int pressure;
  uint64_t good_items, good_bytes, lost_items, failed_items, offers, closes, told_closed;
  int given_up; /* the code that the next flush has to give */
  waker wakers[kWakersMax];
};

/* ---- Items ----------------------------------------------------------------------------------- */

/* Bytes by which an item of at least two can be told from all others. */
static void fill_item(unsigned char *bytes, size_t number, size_t length) {
  for (size_t index = 0; index < length; ++index)
    bytes[index] = (unsigned char)(index == 0 ? number & 255 : index == 1 ? number >> 8 : number * 7 + index);
}

static bool is_item(const struct iovec *found, size_t number, size_t length) {
  unsigned char bytes[kLengthMax];
  if (found->iov_len != length) return false;
  fill_item(bytes, number, length);
  return length == 0 || memcmp(found->iov_base, bytes, length) == 0;
}

static void decide(run *of, size_t number, int fate) {
  FUZZ_SAME(of->items[number].fate, kNoCode);
  of->items[number].fate = fate;
  if (fate != 0 && of->given_up == 0) of->given_up = fate;
}

static bool is_undecided(const run *of, size_t number) {
  return of->items[number].fate == kNoCode && !of->items[number].is_told;
}

/* ---- Answers --------------------------------------------------------------------------------- */

/* `count` of the next part are decided. */
static void shrink(batch *it, size_t count) {
  FUZZ_CHECK(it->segment_count > 0 && it->segments[0] >= count);
  it->segments[0] -= count;
  if (it->segments[0] > 0) return;
  memmove(it->segments, it->segments + 1, (size_t)--it->segment_count * sizeof *it->segments);
  it->failures = it->round_failures = 0;
  it->is_over = it->segment_count == 0;
}

static void decide_part(run *of, batch *it, int fate) {
  size_t left = it->segments[0];
  for (size_t number = it->first; left > 0; ++number) {
    if (!is_undecided(of, number)) continue;
    decide(of, number, fate);
    --left;
  }
  shrink(it, it->segments[0]);
}

static void hold(batch *it, int code) {
  it->is_held = true;
  it->may_wait = false;
  it->held_code = code;
}

static void fail(run *of, batch *it, int code) {
  ++it->failures;
  if (++it->round_failures <= (int)of->options.retries) return;
  if (of->options.when_failed == BW_FAILED_GIVE_UP) {
    decide_part(of, it, code);
  } else {
    hold(it, code);
  }
}

/* One answer for the part that was offered. */
static void answer_all(run *of, batch *it, int code) {
  it->is_in_flight = false;
  if (code > 0) code = -EPROTO;
  if (code == 0) {
    decide_part(of, it, 0);
  } else if (code == BW_ESINK) {
    it->is_dead = true;
    hold(it, code);
  } else if (code == -EAGAIN) {
    return; /* no failure: it is offered again */
  } else if (code >= -BW_FINAL) {
    fail(of, it, code);
  } else if (it->segments[0] > 1 && of->options.flags & BW_BATCH_BISECT) {
    const size_t half = it->segments[0] / 2;
    FUZZ_CHECK(it->segment_count < kSegmentsMax);
    memmove(it->segments + 1, it->segments, (size_t)it->segment_count++ * sizeof *it->segments);
    it->segments[0] = half;
    it->segments[1] -= half;
    it->failures = it->round_failures = 0;
    it->is_split = true;
  } else {
    decide_part(of, it, code + BW_FINAL);
  }
}

static void answer_each(run *of, batch *it, const int *codes) {
  const size_t count = it->segments[0];
  bool is_dead = false, any_failed = false, any_settled = false;
  int failure = 0;
  size_t settled = 0, number = it->first;
  it->is_in_flight = false;
  for (size_t index = 0; index < count; ++index) {
    is_dead = is_dead || codes[index] == BW_ESINK;
    if (codes[index] < 0 && codes[index] != -EAGAIN && codes[index] >= -BW_FINAL && !any_failed) {
      any_failed = true;
      failure = codes[index];
    }
  }
  const bool gives_up = any_failed && !is_dead && it->round_failures >= (int)of->options.retries &&
                        of->options.when_failed == BW_FAILED_GIVE_UP;
  for (size_t index = 0; index < count; ++index, ++number) {
    const int code = codes[index];
    while (!is_undecided(of, number)) ++number;
    if (code == 0 || code < -BW_FINAL || (gives_up && code != -EAGAIN)) {
      decide(of, number, code < -BW_FINAL ? code + BW_FINAL : code);
      ++settled;
      any_settled = true;
    }
  }
  it->is_split = it->is_split || any_settled;
  if (settled > 0) shrink(it, settled);
  if (settled == count) return;
  if (is_dead) {
    it->is_dead = true;
    hold(it, BW_ESINK);
  } else if (failure != 0 && !gives_up) {
    fail(of, it, failure);
  } else if (any_settled) {
    it->round_failures = 0;
  }
}

static int code_of(unsigned choice) {
  /* Codes for good are others, so that the code of a flush says of which kind it is. */
  static const int kCodes[] = {-EIO, -ENOSPC, -EPIPE, -EDOM - BW_FINAL, -EINVAL - BW_FINAL, -ENOENT - BW_FINAL,
                               -EAGAIN, -EAGAIN};
  return choice < 24 ? 0 : choice == 24 ? BW_ESINK : kCodes[choice % 8];
}

/* Answers a taken batch: as the input says, or, without one, with 0. */
static void answer_taken(run *of, bw_batch_view_t *view, fuzz_input *from) {
  int codes[kItemsMax];
  batch *it = &of->batches[bw_batch_serial(view)];
  const size_t count = it->segments[0];
  const bool is_each = from && fuzz_chance(from, 128);
  const int code = from ? code_of(fuzz_byte(from) % 64) : 0;
  if (from && fuzz_chance(from, 16)) {
    FUZZ_SAME(bw_batch_done(view, 1, NULL), -EINVAL);
    FUZZ_CHECK(it->is_in_flight);
  }
  pthread_mutex_lock(&of->mutex);
  size_t index = 0;
  while (index < of->taken_count && of->taken[index] != view) ++index;
  if (index < of->taken_count) of->taken[index] = of->taken[--of->taken_count];
  if (is_each) {
    for (size_t each = 0; each < count; ++each) codes[each] = code_of(fuzz_byte(from) % 64);
    answer_each(of, it, codes);
  } else {
    answer_all(of, it, code);
  }
  pthread_mutex_unlock(&of->mutex);
  FUZZ_SAME(bw_batch_done(view, code, is_each ? codes : NULL), 0);
}

/* ---- The sink -------------------------------------------------------------------------------- */

/* Everything older is settled, or in flight and whole. */
static void check_order(const run *of, size_t serial) {
  for (size_t older = 1; older < serial; ++older) {
    const batch *it = &of->batches[older];
    if (it->count == 0 || it->is_over) continue;
    if (it->is_in_flight) {
      FUZZ_CHECK(!it->is_split);
    } else { /* it must have been discarded, dropped, or given up by bw_batch_free() */
      for (size_t number = it->first; number < it->first + it->count; ++number)
        FUZZ_CHECK(!is_undecided(of, number) || of->was_discarded || of->is_ending ||
                   of->options.when_full == BW_FULL_DROP_OLDEST);
    }
  }
}

static void check_sealing(run *of, const batch *it) {
  uint64_t bytes = 0;
  const size_t end = it->first + it->count;
  FUZZ_CHECK(it->count >= 1 && it->count <= of->options.max_items);
  FUZZ_CHECK(end <= of->accepted + 2);
  for (size_t number = it->first; number < end; ++number) bytes += of->items[number].length;
  FUZZ_CHECK(bytes <= of->options.max_bytes);
  if (it->count == of->options.max_items || bytes == of->options.max_bytes || of->options.linger_us > 0) return;
  if (of->items[end - 1].may_end) return;
  FUZZ_CHECK(bytes + of->items[end].length > of->options.max_bytes); /* the next did not fit */
}

/* All that is held may be offered again, but for what #BW_ESINK holds. */
static void begin_round(run *of) {
  for (size_t serial = 1; serial <= of->serial_most; ++serial) {
    batch *it = &of->batches[serial];
    if (!it->is_held || it->is_dead) continue;
    it->is_held = false;
    it->round_failures = 0;
  }
}

static int held_code(const run *of) {
  for (size_t serial = 1; serial <= of->serial_most; ++serial) {
    const batch *it = &of->batches[serial];
    if (it->is_held && !it->is_over) return it->held_code;
  }
  return 0;
}

static void check_offer(run *of, bw_batch_view_t *view) {
  const size_t serial = bw_batch_serial(view), first = bw_batch_first(view);
  size_t count, number;
  uint64_t bytes = 0;
  const struct iovec *items = bw_batch_items(view, &count);
  batch *it = &of->batches[serial];
  FUZZ_CHECK(serial >= 1 && serial < kBatchesMax && first >= 1 && first <= of->accepted + 1);
  if (it->count == 0) {
    FUZZ_CHECK(serial > of->serial_most);
    *it = (batch){.first = first, .count = count, .segments = {count}, .segment_count = 1};
    of->serial_most = serial;
    check_sealing(of, it);
    for (number = first; number < first + count; ++number) of->items[number].is_offered = true;
  }
  FUZZ_CHECK(!it->is_over && !it->is_in_flight && !it->is_dead);
  if (it->is_held) {
    FUZZ_CHECK(of->may_begin_round || of->has_thread || it->may_wait);
    begin_round(of);
  }
  check_order(of, serial);
  FUZZ_SAME(count, it->segments[0]);
  FUZZ_SAME(bw_batch_attempt(view), it->failures + 1);
  number = it->first;
  for (size_t index = 0; index < count; ++index, ++number) {
    while (!is_undecided(of, number)) ++number;
    if (index == 0) FUZZ_SAME(first, number);
    FUZZ_CHECK(number < it->first + it->count);
    FUZZ_CHECK(is_item(&items[index], number, of->items[number].length));
    FUZZ_SAME((uintptr_t)items[index].iov_base % of->options.item_align, 0);
    bytes += items[index].iov_len;
  }
  FUZZ_SAME(bw_batch_bytes(view), bytes);
  FUZZ_CHECK(of->taken_count < of->options.max_in_flight);
}

static int on_write(void *ctx, bw_batch_view_t *view) {
  run *of = ctx;
  batch *it = &of->batches[bw_batch_serial(view)];
  int code = 0;
  bool is_now = false, wakes = false;
  pthread_mutex_lock(&of->mutex);
  FUZZ_SAME(of->inside++, 0);
  ++of->offers;
  check_offer(of, view);
  const unsigned choice = fuzz_byte(&of->answers) % 64;
  if (choice >= 52 && choice < 62) {
    code = BW_BATCH_TAKEN;
    is_now = choice >= 58 || of->is_ending || !of->is_stuck_allowed || of->taken_count == kTakenMax;
  } else if (choice >= 48 && choice < 52) {
    code = -EINTR;
  } else if (choice == 62) {
    code = 2;
  } else {
    code = code_of(choice);
  }
  if (code == BW_ESINK && !of->is_stuck_allowed) code = -EIO;
  if (code == -EAGAIN) wakes = !of->is_stuck_allowed || choice % 16 == 7;
  if (code == BW_BATCH_TAKEN) {
    it->is_in_flight = true;
    if (!is_now) of->taken[of->taken_count++] = view; /* else nobody but this call may answer */
  } else if (code != -EINTR) {
    answer_all(of, it, code);
  }
  pthread_mutex_unlock(&of->mutex);
  if (code == BW_BATCH_TAKEN && is_now) answer_taken(of, view, NULL);
  if (wakes) FUZZ_SAME(bw_batch_wake(of->batch), 0);
  if (choice == 63) {
    FUZZ_SAME(bw_batch_flush(of->batch), -EDEADLK);
    FUZZ_SAME(bw_batch_close(of->batch), -EDEADLK);
  }
  pthread_mutex_lock(&of->mutex);
  --of->inside;
  pthread_mutex_unlock(&of->mutex);
  return code;
}

static int on_flush(void *ctx) {
  run *of = ctx;
  int code;
  pthread_mutex_lock(&of->mutex);
  FUZZ_SAME(of->inside++, 0);
  const unsigned choice = fuzz_byte(&of->answers) % 16;
  code = choice < 11 ? 0 : choice == 11 ? -EINTR : choice == 13 ? -EAGAIN : -EBADMSG;
  if (code == -EAGAIN && !of->is_stuck_allowed) code = 0;
  --of->inside;
  pthread_mutex_unlock(&of->mutex);
  return code;
}

static int on_close(void *ctx) {
  run *of = ctx;
  pthread_mutex_lock(&of->mutex);
  FUZZ_SAME(of->inside, 0);
  FUZZ_SAME(of->closes++, 0);
  const int code = fuzz_byte(&of->answers) % 8 == 7 ? -EBADMSG : 0;
  pthread_mutex_unlock(&of->mutex);
  return code;
}

/* ---- What is told ---------------------------------------------------------------------------- */

static void begin_telling(run *of) {
  pthread_mutex_lock(&of->mutex);
  FUZZ_SAME(of->telling++, 0);
}

static void end_telling(run *of) {
  --of->telling;
  pthread_mutex_unlock(&of->mutex);
}

/* What may become of an item that the sink did not decide about. */
static bool may_be_lost(const run *of, int code) {
  if (code == -ECANCELED) return of->was_discarded;
  if (code == -ENOBUFS) return of->options.when_full == BW_FULL_DROP_OLDEST;
  return of->is_ending && code < 0;
}

/* The batch that an item was offered in. */
static batch *batch_of(run *of, size_t number) {
  for (size_t serial = 1; serial <= of->serial_most; ++serial) {
    batch *it = &of->batches[serial];
    if (number >= it->first && number < it->first + it->count) return it;
  }
  return NULL;
}

/* The number of an item that is told of. An empty one is any that fits. */
static size_t find_item(run *of, const struct iovec *found, int code) {
  for (size_t number = 1; number <= of->accepted + 1; ++number) {
    const item *it = &of->items[number];
    if (it->is_told || !is_item(found, number, it->length)) continue;
    const batch *in = it->is_offered ? batch_of(of, number) : NULL;
    if (it->fate == kNoCode ? may_be_lost(of, code) && !(in && in->is_in_flight) : it->fate == code) return number;
  }
  fuzz_fail(__FILE__, __LINE__, "what is told of is an item, and its fate is as decided");
}

static void on_delivered(void *arg, const struct iovec *items, size_t count, int code) {
  run *of = arg;
  begin_telling(of);
  FUZZ_CHECK(count >= 1 && code <= 0);
  for (size_t index = 0; index < count; ++index) {
    const size_t number = find_item(of, &items[index], code);
    item *it = &of->items[number];
    it->is_told = true;
    ++of->told;
    if (code == 0) {
      ++of->good_items;
      of->good_bytes += it->length;
    } else if (it->fate == kNoCode && code != -ECANCELED && code != -ENOBUFS) {
      ++of->failed_items;
    } else if (it->fate == kNoCode) {
      ++of->lost_items;
    } else {
      ++of->failed_items;
    }
    if (it->fate != kNoCode || !it->is_offered) continue;
    batch_of(of, number)->is_over = true; /* what is left of its batch goes with it */
    batch_of(of, number)->is_held = false;
  }
  end_telling(of);
}

static void on_pressure(void *arg, int on) {
  run *of = arg;
  begin_telling(of);
  FUZZ_SAME(on, !of->pressure);
  of->pressure = on;
  end_telling(of);
}

static void on_wake(void *arg) {
  waker *it = arg;
  begin_telling(it->of);
  FUZZ_CHECK(it->credits > 0);
  --it->credits;
  ++it->calls;
  it->must_come = false;
  end_telling(it->of);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static void allow_round(run *of) {
  pthread_mutex_lock(&of->mutex);
  of->may_begin_round = true;
  pthread_mutex_unlock(&of->mutex);
}

/* A batch may be sealed behind what is accepted by now. */
static void may_seal(run *of) {
  pthread_mutex_lock(&of->mutex);
  of->items[of->accepted].may_end = true;
  of->may_begin_round = true;
  pthread_mutex_unlock(&of->mutex);
}

static void do_send(run *of, bool is_start, bool is_list) {
  unsigned char bytes[kLengthMax + 1];
  struct iovec parts[kPartsMax];
  const size_t number = of->accepted + 1;
  const unsigned choice = fuzz_byte(&of->ops);
  size_t length = of->options.item_size;
  int code, count = 0;
  if (number > kItemsMax) return;
  /* Which empty item is told of cannot be seen, so there are none where it might matter. */
  const bool may_be_empty = !of->has_thread && of->options.when_full != BW_FULL_DROP_OLDEST;
  const unsigned most = of->options.max_bytes < 40 ? (unsigned)of->options.max_bytes : 40;
  if (length == 0) length = choice < 20 && may_be_empty ? 0 : 2 + choice % most;
  if (choice == 255) ++length;
  if (length == 1 && choice != 255) length = 2;
  if (length > kLengthMax) return;
  fill_item(bytes, number, length);
  if (of->options.when_full == BW_FULL_WAIT && of->is_stuck_allowed) is_start = true;
  pthread_mutex_lock(&of->mutex);
  of->items[number] = (item){(uint32_t)length, false, false, false, kNoCode};
  of->may_begin_round = !is_start && of->options.when_full != BW_FULL_DROP_OLDEST;
  pthread_mutex_unlock(&of->mutex);
  if (is_list) {
    for (size_t from = 0; count < kPartsMax; ++count) {
      const size_t step = count == kPartsMax - 1 ? length - from : fuzz_below(&of->ops, length - from + 1);
      parts[count] = (struct iovec){bytes + from, step};
      from += step;
    }
    code = is_start ? bw_batch_start_sendv(of->batch, parts, count) : bw_batch_sendv(of->batch, parts, count);
  } else {
    const void *item_bytes = length ? bytes : NULL;
    code = is_start ? bw_batch_start_send(of->batch, item_bytes, length) : bw_batch_send(of->batch, item_bytes, length);
  }
  pthread_mutex_lock(&of->mutex);
  if (code == 0) {
    of->accepted = number;
  } else {
    FUZZ_CHECK(!of->items[number].is_offered && !of->items[number].is_told);
    of->refused += code == BW_BATCH_DROPPED;
    /* It did not fit, and found no room. */
    if (code != -EINVAL && code != -EMSGSIZE) of->items[of->accepted].may_end = true;
  }
  pthread_mutex_unlock(&of->mutex);
  if (of->options.item_size && length != of->options.item_size) {
    FUZZ_SAME(code, -EINVAL);
  } else if (length > of->options.max_bytes) {
    FUZZ_SAME(code, -EMSGSIZE);
  } else if (of->is_closing) {
    FUZZ_SAME(code, -ESHUTDOWN);
  } else if (code == BW_BATCH_DROPPED) {
    FUZZ_CHECK(!is_start && of->options.when_full >= BW_FULL_DROP_NEWEST);
  } else if (code == -EAGAIN) {
    FUZZ_CHECK(is_start || of->options.when_full == BW_FULL_FAIL);
  } else if (code != 0) {
    FUZZ_CHECK(!is_start && of->options.when_full == BW_FULL_WAIT && code < 0 && code > -BW_FINAL);
  }
}

typedef int (*poll_call)(bw_batch_t *of, const bw_waker_t *wake);

static int do_poll(run *of, poll_call poll) {
  bw_waker_t room = {on_wake, NULL};
  waker *it = NULL;
  int calls = 0, code;
  const unsigned choice = (unsigned)fuzz_below(&of->ops, kWakersMax + 1);
  if (choice < kWakersMax) {
    it = &of->wakers[choice];
    room.arg = it;
    pthread_mutex_lock(&of->mutex);
    ++it->credits;
    calls = it->calls;
    pthread_mutex_unlock(&of->mutex);
  }
  code = poll(of->batch, it ? &room : NULL);
  if (it == NULL) return code;
  pthread_mutex_lock(&of->mutex);
  if (code != -EAGAIN) {
    --it->credits;
    FUZZ_CHECK(it->credits >= 0);
  } else if (it->calls == calls) {
    it->must_come = true;
  }
  pthread_mutex_unlock(&of->mutex);
  return code;
}

/* A flush that went well: all is told, and nothing was given up since one told of it. */
static void check_flushed(run *of, int code, size_t before) {
  FUZZ_CHECK(code <= 0);
  pthread_mutex_lock(&of->mutex);
  if (code == 0) {
    for (size_t number = 1; number <= before; ++number) FUZZ_CHECK(of->items[number].is_told);
    FUZZ_SAME(of->given_up, 0);
  }
  if (code == of->given_up) of->given_up = 0;
  if (code < 0 && code != -EAGAIN && code != -ETIMEDOUT && code != -ESHUTDOWN) FUZZ_CHECK(code > -BW_FINAL);
  pthread_mutex_unlock(&of->mutex);
}

static void do_flush(run *of, unsigned how) {
  const size_t before = of->accepted;
  may_seal(of);
  if (how == 0) {
    check_flushed(of, do_poll(of, bw_batch_poll_flush), before);
  } else if (how == 1 || of->is_stuck_allowed) {
    check_flushed(of, bw_batch_flush_for(of->batch, fuzz_byte(&of->ops) % 8), before);
  } else {
    check_flushed(of, bw_batch_flush(of->batch), before);
  }
}

static void do_close(run *of, bool is_poll) {
  const size_t before = of->accepted;
  int code;
  may_seal(of);
  of->is_closing = true;
  code = is_poll                ? do_poll(of, bw_batch_poll_close)
         : of->is_stuck_allowed ? bw_batch_close_for(of->batch, 2)
                                : bw_batch_close(of->batch);
  if (code == 0) FUZZ_SAME(of->closes, 1);
  if (of->closes > of->told_closed) {
    pthread_mutex_lock(&of->mutex);
    FUZZ_CHECK(of->given_up == 0 || code == of->given_up);
    of->given_up = 0;
    for (size_t number = 1; number <= before; ++number) FUZZ_CHECK(of->items[number].is_told);
    pthread_mutex_unlock(&of->mutex);
    of->told_closed = of->closes;
  }
}

static void do_ready(run *of) {
  int code;
  if (of->options.item_size) may_seal(of);
  allow_round(of);
  code = do_poll(of, bw_batch_poll_ready);
  if (of->is_closing) FUZZ_SAME(code, -ESHUTDOWN);
}

static void do_discard(run *of) {
  may_seal(of);
  pthread_mutex_lock(&of->mutex);
  of->was_discarded = true;
  of->may_begin_round = false;
  const size_t told = of->told;
  pthread_mutex_unlock(&of->mutex);
  const int64_t count = bw_batch_discard(of->batch);
  FUZZ_CHECK(count >= 0);
  pthread_mutex_lock(&of->mutex);
  if (!of->has_thread) FUZZ_SAME(of->told - told, count);
  pthread_mutex_unlock(&of->mutex);
}

static void do_unwake(run *of) {
  waker *it = &of->wakers[fuzz_below(&of->ops, kWakersMax)];
  const bw_waker_t taken = {on_wake, it};
  const int code = bw_batch_unwake(of->batch, &taken);
  pthread_mutex_lock(&of->mutex);
  FUZZ_CHECK(code == 0 || (code == 1 && it->credits > 0));
  FUZZ_CHECK(code == 1 || !it->must_come);
  it->credits = 0;
  it->must_come = false;
  pthread_mutex_unlock(&of->mutex);
}

/* ---- Comparing ------------------------------------------------------------------------------- */

static void check(run *of) {
  bw_batch_stats_t stats = BW_BATCH_STATS_INIT;
  size_t in_flight = 0, flushed = 0;
  const int code = bw_batch_error(of->batch);
  FUZZ_SAME(bw_batch_get_stats(of->batch, &stats), 0);
  if (of->has_thread) return;
  for (size_t serial = of->serial_most; serial > 0; --serial) {
    const batch *it = &of->batches[serial];
    size_t number = it->first;
    while (it->is_over && number < it->first + it->count && of->items[number].fate != 0) ++number;
    flushed += it->is_over && number < it->first + it->count;
    if (it->count == 0 || it->is_over) continue;
    if (it->is_in_flight) in_flight += it->segments[0];
  }
  FUZZ_SAME(stats.in_flight_items, in_flight);
  /* A round may have begun in which nothing could be offered yet. */
  if (code != held_code(of) && of->may_begin_round) begin_round(of);
  for (size_t serial = 1; of->may_begin_round && serial <= of->serial_most; ++serial)
    of->batches[serial].may_wait |= of->batches[serial].is_held;
  FUZZ_SAME(code, held_code(of));
  FUZZ_SAME(bw_batch_buffered(of->batch), of->accepted - of->told - in_flight);
  FUZZ_SAME(stats.buffered_items, of->accepted - of->told - in_flight);
  FUZZ_SAME(bw_batch_flushed(of->batch), flushed);
  FUZZ_SAME(stats.total_batches, flushed);
  FUZZ_SAME(stats.total_items, of->good_items);
  FUZZ_SAME(stats.bytes, of->good_bytes);
  FUZZ_SAME(stats.dropped_items, of->lost_items + of->refused);
  FUZZ_SAME(stats.failed_items, of->failed_items);
}

/* Only this thread answers late, so what is taken stays taken meanwhile. */
static void answer_one(run *of) {
  pthread_mutex_lock(&of->mutex);
  bw_batch_view_t *view = of->taken_count > 0 ? of->taken[fuzz_below(&of->ops, of->taken_count)] : NULL;
  pthread_mutex_unlock(&of->mutex);
  if (view) answer_taken(of, view, &of->ops);
}

static void step(run *of, unsigned op) {
  pthread_mutex_lock(&of->mutex);
  of->may_begin_round = false;
  pthread_mutex_unlock(&of->mutex);
  switch (op % 24) {
    case 0: case 1: case 2: case 3: case 4: case 5: do_send(of, false, false); break;
    case 6: case 7: do_send(of, true, false); break;
    case 8: do_send(of, false, true); break;
    case 9: do_send(of, true, true); break;
    case 10: case 11: do_flush(of, 0); break;
    case 12: do_flush(of, 1); break;
    case 13: do_flush(of, 2); break;
    case 14: do_ready(of); break;
    case 15: case 16: case 17: case 18:
      answer_one(of);
      break;
    case 19:
      allow_round(of);
      FUZZ_SAME(bw_batch_wake(of->batch), 0);
      break;
    case 20: do_discard(of); break;
    case 21: do_unwake(of); break;
    case 22: if (op >= 190) do_close(of, fuzz_chance(&of->ops, 128)); break;
    default: do_send(of, true, false); break;
  }
}

static void end(run *of) {
  for (;;) {
    pthread_mutex_lock(&of->mutex);
    bw_batch_view_t *view = of->taken[0];
    if (of->taken_count == 0) break;
    pthread_mutex_unlock(&of->mutex);
    answer_taken(of, view, NULL);
  }
  of->is_ending = true;
  of->may_begin_round = true;
  of->items[of->accepted].may_end = true;
  pthread_mutex_unlock(&of->mutex);
  bw_batch_free(of->batch);
  FUZZ_SAME(of->closes, 1); /* once, by the close or by this */
  FUZZ_SAME(of->told, of->accepted);
  for (int index = 0; index < kWakersMax; ++index) FUZZ_CHECK(!of->wakers[index].must_come);
}

/* The struct is large: one is used again and again, for nothing of it stays. */
static run *new_run(void) {
  static run *kept;
  if (kept == NULL) kept = calloc(1, sizeof *kept);
  FUZZ_CHECK(kept != NULL);
  memset(kept->items, 0, (kept->accepted + 2) * sizeof *kept->items);
  memset(kept->batches, 0, (kept->serial_most + 1) * sizeof *kept->batches);
  kept->accepted = kept->told = kept->refused = kept->serial_most = kept->taken_count = 0;
  kept->inside = kept->telling = kept->pressure = kept->given_up = 0;
  kept->is_ending = kept->is_closing = kept->was_discarded = false;
  kept->may_begin_round = false;
  kept->good_items = kept->good_bytes = kept->lost_items = kept->failed_items = kept->offers = kept->closes = 0;
  kept->told_closed = 0;
  memset(kept->wakers, 0, sizeof kept->wakers);
  return kept;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const uint32_t kAligns[] = {1, 2, 4, 8, 8, 64, 8, 16};
  static const bw_batch_sink_t kSink = {sizeof kSink, 0, on_write, on_flush, on_close};
  run *of = new_run();
  fuzz_input input = {data, size};
  bw_batch_options_t options = BW_BATCH_OPTIONS_INIT;
  const unsigned mode = fuzz_byte(&input), shape = fuzz_byte(&input), more = fuzz_byte(&input);
  options.flags = (mode & 1 ? BW_UNSHARED : 0) | (mode & 2 ? BW_BATCH_BISECT : 0);
  if (mode >= 208) options.flags |= BW_BACKGROUND;
  if (mode >= 240 && !(mode & 1)) options.linger_us = 1 + shape % 30;
  if (mode >= 192 && mode < 208) options.backoff_us = 1 + shape % 30;
  options.max_items = 1 + shape % 12;
  options.max_bytes = shape & 128 ? 4 + shape % 60 : 4096;
  options.buffers = 1 + fuzz_byte(&input) % 4;
  options.max_in_flight = 1 + more % 3;
  options.when_full = more / 4 % 4;
  options.when_failed = more / 16 % 2;
  options.retries = more / 32 % 4;
  options.item_align = kAligns[fuzz_byte(&input) % 8];
  if (mode & 4) options.item_size = options.item_align * (1 + shape % 2);
  if (options.item_size > options.max_bytes || options.item_size > kLengthMax || options.item_size == 1)
    options.item_size = 0;
  options.high_percent = 1 + fuzz_byte(&input) % 100;
  options.low_percent = 1 + fuzz_byte(&input) % options.high_percent;
  options.delivered = on_delivered;
  options.pressure = on_pressure;
  options.arg = of;
  of->options = options;
  of->has_thread = options.flags & BW_BACKGROUND || options.linger_us || options.backoff_us;
  of->is_stuck_allowed = !(mode & 8);
  of->answers = fuzz_split(&input, fuzz_byte(&input));
  of->ops = input;
  for (int index = 0; index < kWakersMax; ++index) of->wakers[index].of = of;
  pthread_mutex_init(&of->mutex, NULL);
  FUZZ_SAME(bw_batch_new(&of->batch, &kSink, of, &options), 0);
  while (of->ops.left > 0) {
    step(of, fuzz_byte(&of->ops));
    check(of);
  }
  end(of);
  pthread_mutex_destroy(&of->mutex);
  return 0;
}
