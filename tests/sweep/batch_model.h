/*
 * What the contract lets become of each item, as a model that a recorded run of a batcher is played to.
 *
 * One thread sends. It says what it sends by model_spell() and model_sent(); afterwards model_replay() reads the rig's
 * events and finds the first promise that was broken.
 *
 * Items are numbered as they are accepted, from 1 on, and spell their number. An empty item is known by its place.
 *
 * Thread safety: none; the sender alone, and model_replay() when nothing runs any more.
 */
#ifndef BW_TESTS_BATCH_MODEL_H
#define BW_TESTS_BATCH_MODEL_H

#include "batch_rig.h"

enum { MODEL_ITEMS = 96, MODEL_TEXT = 64, MODEL_WHY = 200 };

enum model_fate { FATE_OPEN, FATE_IN_FLIGHT, FATE_DECIDED, FATE_SETTLED };

typedef struct model_item {
  char text[MODEL_TEXT];
  size_t sent_at; /* so many events had happened when its send had returned */
  enum model_fate fate;
  int code;         /* that it is, or is to be, settled with */
  int last;         /* the part's last answer; 0: none yet */
  uint32_t offers;  /* of its part, that count */
  uint32_t failures;
  bool has_failed;
  bool is_dead;        /* BW_ESINK */
  bool is_passed_over; /* something newer was offered: it was dropped or discarded, which is to be told yet */
  uint64_t serial;
} model_item;

typedef struct batch_model {
  /* What the batcher was made with. */
  uint32_t flags;
  uint64_t max_items, max_bytes;
  uint32_t max_in_flight, retries, when_full, when_failed;
  bool has_threads; /* answers and offers may be recorded in another order than that in which they took effect */
  /* What was done to it. */
  model_item items[MODEL_ITEMS + 1];
  int accepted;
  uint64_t refused;   /* sends that were dropped */
  uint64_t discarded; /* what all bw_batch_discard() gave */
  bool has_discarded;
  size_t freed_at; /* so many events had happened when bw_batch_free() was called */
  /* What came of it: the replay's results. */
  uint64_t ok, given_up, gone, ok_bytes, batches, largest, retried;
  int first_given_up;
  char why[MODEL_WHY]; /* "", or the first promise found broken */
  /* The replay's own. */
  int decided[MODEL_ITEMS]; /* items that were answered for and not told of, in that order */
  int decided_count;
  bool is_split[MODEL_ITEMS + 1];  /* by serial */
  uint64_t ok_of[MODEL_ITEMS + 1]; /* by serial */
  uint64_t last_serial;
  int dead; /* items with BW_ESINK that were not settled before the batcher was freed */
  bool is_closed, is_on, is_freeing;
} batch_model;

/* The text of the next item, of `length` bytes (0, or at least 4). */
const char *model_spell(batch_model *model, size_t length);
/* Its send has returned `code`; so many events had happened. */
void model_sent(batch_model *model, int code, size_t events);
/* Plays all events. When nothing is left to be settled, or after bw_batch_free(). */
void model_replay(batch_model *model, const batch_rig *rig);
/* After model_replay(): all is settled and closed. */
void model_check_end(batch_model *model);
/* After model_replay(), all being settled. */
void model_check_stats(batch_model *model, const bw_batch_stats_t *stats);
/* Notes the first of them. */
void model_broken(batch_model *model, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Without what BW_FINAL adds. */
int model_bare(int code);

#endif
