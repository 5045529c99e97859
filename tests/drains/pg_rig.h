/*
 * A drain to a server of the test's own, and a record of what it told.
 *
 *   pg_rig *rig = PG_RIG(.table = "t", .timeout_us = 5000000);
 *   pg_rig_send(rig, 1, 1000);
 *   assert_int_equal(bw_batch_flush(rig->batch), 0);
 *   assert_int_equal(pg_rig_free(rig), 0);
 *
 * Rows are {id, text}; the fate of each is kept by its id. Thread safety: the record may be read from any thread; what
 * makes and ends a rig is for the test's own.
 */
#ifndef BW_TESTS_PG_RIG_H
#define BW_TESTS_PG_RIG_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <bw/postgres.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "faults.h"
#include "pg_server.h"
#include "threads.h"

enum { PG_MOST_IDS = 200001, PG_MOST_REFUSED = 64 };

typedef struct pg_refused {
  char item[64];
  size_t count;
  int code;
  char sqlstate[8], message[128], detail[128], context[128];
} pg_refused;

typedef struct pg_rig {
  bw_batch_t *batch;
  pthread_mutex_t mutex; /* guards what is not atomic below */
  unsigned char settled[PG_MOST_IDS]; /* how often the row of that id was */
  int codes[PG_MOST_IDS];
  atomic_int settled_items, delivered_items;
  pg_refused refused[PG_MOST_REFUSED];
  atomic_int refusals, failures;
  pg_refused last_failure; /* see pg_rig_failure() */
  atomic_int ready; /* how often */
  uint64_t position;
} pg_rig;

extern pg_server server;

pg_rig *pg_rig_new(const bw_postgres_options_t *options, const bw_batch_options_t *batching);
/* `batching` first, in parentheses: PG_RIG_BATCHED((.max_items = 10), .table = "t"). */
#define PG_STRIP(...) __VA_ARGS__
#define PG_RIG_BATCHED(batching, ...)                                                          \
  pg_rig_new(&(const bw_postgres_options_t){.size = sizeof(bw_postgres_options_t), __VA_ARGS__}, \
             &(const bw_batch_options_t){.size = sizeof(bw_batch_options_t), PG_STRIP batching})
#define PG_RIG(...) PG_RIG_BATCHED((.flags = BW_BACKGROUND), __VA_ARGS__)
/* How often the batcher offered a batch again: 0 where the drain has got over it by itself. */
uint64_t pg_rig_retries(pg_rig *rig);
/* Frees all; what bw_batch_close() gave. */
int pg_rig_free(pg_rig *rig);
/* Frees it without closing first. */
void pg_rig_drop(pg_rig *rig);

/* The last failure that was told of; the drain may tell of more at any time. */
pg_refused pg_rig_failure(pg_rig *rig);

/* Sends the rows {id, "row <id>"}; the first answer that is not 0, or 0. */
int pg_rig_send(pg_rig *rig, int first, int last);
/* Sends one value for each column, a text: two here. */
int pg_rig_send_row(pg_rig *rig, const char *id, const char *text);

/* For setting up: a table {id bigint, body text, seq bigserial}; seq is the order in which rows came. */
void pg_make_table(const char *name, const char *constraints);
/* Asserts that the table has the rows `first` to `last`, each once, equal, and in this order. */
void pg_assert_rows(const char *name, int first, int last);

int pg_group_setup(void **state);
int pg_group_teardown(void **state);

#endif
