/**
 * @file postgres.h
 * A drain to PostgreSQL: a batcher whose batches are copied into a table, each row exactly once.
 *
 * Needs libbw-postgres, which links libpq. bw_postgres_new() makes an ordinary batcher of batch.h: all that is said
 * there of batchers holds. Each batch is one COPY … FROM STDIN in one transaction, and the same transaction says in a
 * small table which part of which batch it was, so that one whose answer was lost is recognised and not repeated.
 * docs/drains.md has the argument, and what happens when something fails.
 *
 * An item is one row as COPY takes it: in text a line, in binary a tuple. bw_postgres_send() makes one of values;
 * bw_batch_send() takes one that is ready. What is not exactly one row is refused for good (-EINVAL).
 *
 * The connection belongs to a thread of the drain's own, which begins with bw_postgres_new() and ends with the sink's
 * close. The callbacks of bw_postgres_options_t run there, one at a time. They must not wait for the batcher that they
 * belong to: its batches are answered by the thread that they stand in. What never waits is allowed there.
 */
#ifndef BW_POSTGRES_H
#define BW_POSTGRES_H

#include <bw/bw.h>

#ifdef __cplusplus
extern "C" {
#endif

/** bw_postgres_options_t::format, and the last argument of bw_postgres_send(). */
enum bw_postgres_format {
  /** Lines of COPY's text format, in the encoding of the connection. */
  BW_POSTGRES_TEXT = 0,
  /** Tuples of COPY's binary format. */
  BW_POSTGRES_BINARY = 1
};

/** Why something failed. The library's, valid during the callback; strings are never NULL, but may be "". */
typedef struct bw_postgres_error {
  /** sizeof(bw_postgres_error_t), as the library was compiled; look only at fields that it covers. */
  uint32_t size;
  /** What the batcher gets, without #BW_FINAL. */
  int32_t code;
  /** Five characters; "" where the server said nothing, as when the connection broke. */
  const char *sqlstate;
  /** The server's message, or libpq's, or the drain's own. */
  const char *message;
  /** The server's detail, such as the key that was there already. */
  const char *detail;
  /** Where the server was: "COPY t, line 3, column b". Lines count from 1 within the items of this offer. */
  const char *context;
} bw_postgres_error_t;

/**
 * Where rows go, and how. Begin with #BW_POSTGRES_OPTIONS_INIT and set `table`. The struct and all strings are copied;
 * what `arg` points to must live until the batcher was closed or freed.
 */
typedef struct bw_postgres_options {
  /** sizeof(bw_postgres_options_t), as the caller compiled it. */
  uint32_t size;
  /** None yet: 0. */
  uint32_t flags;
  /** As PQconnectdb() takes it, a URI too. NULL: all from libpq's environment variables. */
  const char *conninfo;
  /** The table, as it is spelled in the catalogue: it is quoted here. Required. */
  const char *table;
  /** The schema of both tables, as it is spelled. NULL: they are looked up as the connection's search_path says. */
  const char *schema;
  /** columns[column_count], as they are spelled: what a row has values for. NULL: all columns of the table. */
  const char *const *columns;
  /** How many; 0 if `columns` is NULL. */
  uint32_t column_count;
  /** BW_POSTGRES_*: what items are. */
  uint32_t format;
  /**
   * The name under which the progress is kept. Only one batcher at a time may use it: a later one takes it over, and
   * what the earlier one offers from then on fails with -ESTALE. NULL: a name that is unique is made, and its row is
   * deleted when the batcher is closed.
   */
  const char *writer;
  /** The progress table. NULL: "bw_progress". It is made if it is missing and that is allowed. */
  const char *progress;
  /**
   * How long one offer of a batch may take, from when it was taken until it is answered, connecting included; how long
   * one try to connect may take when there is no batch. Microseconds; default 30 s.
   */
  uint64_t timeout_us;
  /** How long to wait after the first connection that failed. Doubles each time, 20 % more or less. Default 100 ms. */
  uint64_t backoff_us;
  /** The longest such pause. Default 5 s, or `backoff_us` if that is more; less than `backoff_us`: -EINVAL. */
  uint64_t longest_backoff_us;
  /**
   * Told once, after the first connection has taken the writer's name: how many items of that name are behind it, from
   * all batchers that had it before. Who goes on after a crash sends from the next one on. It may come before
   * bw_postgres_new() has returned. NULL: nobody listens.
   */
  void (*on_ready)(void *arg, uint64_t position);
  /**
   * Told of items that are refused for good, before `delivered` is: one with #BW_BATCH_BISECT, else a whole batch.
   * NULL: nobody listens.
   */
  void (*on_refused)(void *arg, const struct iovec *items, size_t count, const bw_postgres_error_t *error);
  /** Told of each other failure, also of those that the drain tries again by itself. NULL: nobody listens. */
  void (*on_failure)(void *arg, const bw_postgres_error_t *error);
  /** The first argument of the three. */
  void *arg;
} bw_postgres_options_t;

/** A bw_postgres_options_t with its size set and all defaults; `table` must be set. */
#define BW_POSTGRES_OPTIONS_INIT \
  {sizeof(bw_postgres_options_t), 0, NULL, NULL, NULL, NULL, 0, 0, NULL, NULL, 0, 0, 0, NULL, NULL, NULL, NULL}

/**
 * Make a batcher that copies its items into a table.
 *
 * It does not wait for the server: connecting begins in the drain's thread, and goes on until it succeeds or the
 * batcher is closed. #BW_BACKGROUND is wise: without it, a batch that was sealed while another one was in flight waits
 * for the next call on the batcher. `item_align` is 1 by default here, so that the items of a batch lie as one stream.
 *
 * @param[out] out  The batcher; NULL on failure.
 * @param options   Copied. `table` must be there.
 * @param batching  Copied; NULL: all defaults. `max_in_flight` is 1.
 * @return 0; or a code:
 *         -EINVAL  @p out, @p options or `table` is NULL or empty, a size is 0, a flag or format is unknown, `columns`
 *                  and `column_count` do not fit, `conninfo` cannot be read, or as bw_batch_new();
 *         -EOPNOTSUPP  `max_in_flight` is more than 1;
 *         -E2BIG, -ENOMEM, -EAGAIN  as bw_batch_new();
 *         or what eventfd(2) or getrandom(2) gave.
 *
 * **Thread**: any. **Lifetime**: the batcher is the caller's, until bw_batch_free(). **Blocking**: never.
 */
BW_API int bw_postgres_new(bw_batch_t **out, const bw_postgres_options_t *options,
                           const bw_batch_options_t *batching) BW_NOEXCEPT;

/**
 * Send a row, as one item.
 *
 * The values are copied once, into the batch. In text, what COPY wants escaped is escaped on the way.
 *
 * @param batch    A batcher of bw_postgres_new().
 * @param values   values[count]; a NULL among them is SQL's NULL.
 * @param lengths  lengths[count], in bytes; that of a NULL is not looked at. May be NULL in text: then values are
 *                 strings that end with a NUL.
 * @param count    How many columns: 1 to 32767. The server compares it with the table.
 * @param format   BW_POSTGRES_*: that of the batcher's options; a row of the other one is refused later (-EINVAL).
 *                 In binary each value is what the type's receive function takes: an int4 has 4 bytes, big-endian.
 * @return as bw_batch_send(), of the row's packed form; or a code:
 *         -EINVAL    @p batch or @p values is NULL, @p lengths is and must not be, or @p count or @p format is out of
 *                    its bounds;
 *         -EMSGSIZE  also: a value is longer than 2 GiB - 1;
 *         -ENOMEM    no memory for the list of the row's pieces, where there are very many.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: @p values and what they point to may be reused as
 * soon as the call returns. **Blocking**: as bw_batch_send().
 */
BW_API int bw_postgres_send(bw_batch_t *batch, const void *const *values, const size_t *lengths, size_t count,
                            uint32_t format) BW_NOEXCEPT;

/**
 * bw_postgres_send() that never waits, as bw_batch_start_send() is to bw_batch_send().
 *
 * @param batch    A batcher of bw_postgres_new().
 * @param values   As bw_postgres_send().
 * @param lengths  As bw_postgres_send().
 * @param count    As bw_postgres_send().
 * @param format   As bw_postgres_send().
 * @return as bw_batch_start_send(), of the row's packed form; or a code that bw_postgres_send() names.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: as bw_postgres_send(). **Blocking**: never.
 */
BW_API int bw_postgres_start_send(bw_batch_t *batch, const void *const *values, const size_t *lengths, size_t count,
                                  uint32_t format) BW_NOEXCEPT;

#ifdef __cplusplus
}
#endif
#endif
