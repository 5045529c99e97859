/**
 * @file batch.h
 * Batches of items: any number of threads send small items, a sink takes them in batches, and the fate of every item
 * is told exactly once.
 *
 * bw.h includes this header, as its section 8. Conventions 1 to 5 and 9 to 11 of bw.h hold here too; the rules below
 * stand in place of its conventions 6, 7 and 8.
 *
 * **Words.**
 *  - An *item* is a run of bytes that stays one piece. It is *accepted* when a send gives 0.
 *  - An accepted item is *settled* once: delivered, given up, dropped or discarded.
 *  - The batch that items go to is *filling*. It is *sealed* when nothing more goes to it; *offered* while the sink's
 *    `write` has it; *in flight* from the moment the sink took it (#BW_BATCH_TAKEN) until it is answered by
 *    bw_batch_done(). What is left of a batch after answers for single items, or one half of it, is a *part*: it is
 *    offered as a batch, and what is said of batches holds for it.
 *  - A *held* batch has failed and stays where it is, all behind it too, until something starts a new *round* of
 *    1 + `retries` offers.
 *  - A batcher is *full* when all its `buffers` are in use.
 *  - Without #BW_BACKGROUND a batcher is *inline*. It is *unshared* (#BW_UNSHARED) or *shared*.
 *
 * **Rules.**
 *  1. Items are copied in. The filling batch is sealed when it holds `max_items` or `max_bytes`; when the next item
 *     does not fit; `linger_us` after its first item; and by flush and close, by their polls too. An empty one is never
 *     offered. Sealed batches are offered oldest first, and calls of one sink never overlap.
 *  2. Inline, the thread that sealed a batch, waits or polls calls `write`, and the one that is in the sink also offers
 *     what others seal meanwhile. `linger_us` and `backoff_us` bring a thread of ours, which calls `write` when the
 *     time is up. With #BW_BACKGROUND nobody but our thread calls `write`. The sink's `flush` and `close` may come from
 *     any thread. bw_batch_done(), bw_batch_wake() and bw_batch_discard() never call the sink.
 *  3. An item is accepted when bw_batch_send() or bw_batch_start_send(), or one of their vectored forms, gives 0, and
 *     after any other answer it was not. `delivered` tells how an accepted item was settled: delivered (0), given up
 *     (the sink's code), dropped (-ENOBUFS) or discarded (-ECANCELED). No send returns the failure of the batch that
 *     holds its own item.
 *  4. `delivered`, `pressure` and the wakers of one batcher are called while the library holds no lock, one at a time,
 *     never one inside another and never inside the sink's own callbacks, in the order in which things happened.
 *     Wakers come after the `delivered` that made their room. A change of pressure that was undone before it could be
 *     told is not told. Any thread may find itself calling them, in any call of the batcher, or a thread of ours.
 *  5. In these, and in `write`, `flush` and `close` of the sink, everything but bw_batch_free() is allowed on the same
 *     batcher, and nothing waits: a send that would have to gives -EAGAIN, flush and close give -EDEADLK. Only
 *     bw_batch_unwake() waits, for a call of its waker that is running. Calls on other batchers and on writers wait
 *     there as they do elsewhere.
 *  6. A `write` that throws or answers #BW_ESINK, through bw_batch_done() too, has failed in an unknown state. Its
 *     batch is held, whatever `when_failed` and `retries` say, and never offered again. bw_batch_discard() settles it
 *     (-ECANCELED), or #BW_FULL_DROP_OLDEST does (-ENOBUFS); else bw_batch_free() settles it and all that waits behind
 *     it with #BW_ESINK, and then of the sink only `close` is called. Polls give the code every time, not once. Where
 *     `flush` or `close` of the sink throw or answer #BW_ESINK, the caller gets that code, and nothing is held.
 *  7. All memory for items is allocated when the batcher is made. A block of items is used again once its `delivered`
 *     has returned.
 *  8. The clock is read a few times for each batch, never for an item.
 *
 * The codes of conventions 2, 4 and 9 hold everywhere and are not repeated at each function. In the child of a fork
 * bw_batch_buffered(), bw_batch_flushed() and what asks a view give 0 or NULL.
 */
#ifndef BW_BATCH_H
#define BW_BATCH_H

#include <bw/bw.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A batcher of items. Opaque. */
typedef struct bw_batch bw_batch_t;

/**
 * @name 8.1 Views: what a sink sees
 *
 * A view is a sealed batch, or a part of one. It is valid until `write` has returned; if that returned #BW_BATCH_TAKEN,
 * until bw_batch_done() is called. A sink never frees it.
 * @{
 */

/** A sealed batch, as the sink sees it. Opaque. */
typedef struct bw_batch_view bw_batch_view_t;

/**
 * The items of a batch, in the order in which they were accepted.
 *
 * @param view        The batch.
 * @param[out] count  How many, at least 1; may be NULL.
 * @return its items; NULL, and 0 for @p count, if @p view is NULL.
 *
 * **Thread**: any, while the view is valid. **Lifetime**: the array and the bytes are the library's, to be read only,
 * as long as the view is valid. **Blocking**: never.
 */
BW_API const struct iovec *bw_batch_items(const bw_batch_view_t *view, size_t *count) BW_NOEXCEPT;

/**
 * How many bytes the items of a batch have together; alignment does not count.
 *
 * @param view  The batch.
 * @return how many.
 *
 * **Thread**: any, while the view is valid. **Lifetime**: nothing changes hands. **Blocking**: never.
 */
BW_API uint64_t bw_batch_bytes(const bw_batch_view_t *view) BW_NOEXCEPT;

/**
 * The number of a batch: 1, 2, 3 and so on, as batches are sealed.
 *
 * @param view  The batch; it keeps its number when it is offered again, and its parts have the same.
 * @return the number.
 *
 * **Thread**: any, while the view is valid. **Lifetime**: nothing changes hands. **Blocking**: never.
 */
BW_API uint64_t bw_batch_serial(const bw_batch_view_t *view) BW_NOEXCEPT;

/**
 * The number of a batch's first item among all items that the batcher has accepted; the first of all is 1.
 *
 * Within one batcher, bw_batch_serial(), this and the count of items together name a part for good: what a sink that
 * must not do its work twice can remember.
 *
 * @param view  The batch.
 * @return the number.
 *
 * **Thread**: any, while the view is valid. **Lifetime**: nothing changes hands. **Blocking**: never.
 */
BW_API uint64_t bw_batch_first(const bw_batch_view_t *view) BW_NOEXCEPT;

/**
 * Which offer of a batch this is.
 *
 * @param view  The batch.
 * @return 1 at the first offer, then one more after each failure; -EAGAIN and -EINTR do not count. Each half of a batch
 *         that #BW_BATCH_BISECT has split begins at 1 again.
 *
 * **Thread**: any, while the view is valid. **Lifetime**: nothing changes hands. **Blocking**: never.
 */
BW_API uint32_t bw_batch_attempt(const bw_batch_view_t *view) BW_NOEXCEPT;

/** @} */

/**
 * @name 8.2 Making and ending a batcher
 * @{
 */

/** What `write` and sends may answer besides 0 and codes; what is taken from a code to make it final. */
enum bw_batch_answer {
  /** By `write`: the sink has taken the batch, and will answer by bw_batch_done(). */
  BW_BATCH_TAKEN = 1,
  /** By a send: `when_full` has dropped this item. It was not accepted, and `delivered` does not tell of it. */
  BW_BATCH_DROPPED = 1,
  /**
   * A sink that answers `code - BW_FINAL` instead of a code refuses for good: the batch, or the item, is not tried
   * again. `delivered` and bw_batch_flush() get the bare code.
   */
  BW_FINAL = 1 << 30
};

/**
 * The callbacks that take batches. The struct is copied; what `ctx` points to must live until the batcher was closed or
 * freed.
 */
typedef struct bw_batch_sink {
  /** sizeof(bw_batch_sink_t), as the caller compiled it. */
  uint32_t size;
  /** None yet: 0. */
  uint32_t flags;
  /**
   * Takes a batch, whole, and answers for it. Required.
   *  - 0: all its items are delivered.
   *  - #BW_BATCH_TAKEN: the batch is in flight; bw_batch_done() will answer for it.
   *  - -EINTR: it is offered again at once.
   *  - -EAGAIN: the sink is not ready, which is no failure. The batch is offered again after bw_batch_wake(), also
   *    after one that came during this call, or after the back-off; not before.
   *  - #BW_ESINK: see rule 6.
   *  - Another negative code: the batch has failed. It is tried again `retries` times, each time after the back-off,
   *    and nothing newer is offered until it has been offered again. Then `when_failed` says what becomes of it.
   *  - A negative code minus #BW_FINAL: the batch is refused for good. It is never held, but given up at once, or
   *    halved (#BW_BATCH_BISECT).
   *  - Another positive value: the batch has failed with -EPROTO.
   *
   * However a batch comes apart, by halves or by answers for single items, its parts are offered one at a time and in
   * order, nothing newer is offered before all of them are settled, and it counts once: in `buffers`, in
   * bw_batch_stats_t::total_batches and in bw_batch_flushed().
   */
  int (*write)(void *ctx, bw_batch_view_t *batch);
  /**
   * Passes on what the sink itself has kept back; 0 or a code. -EAGAIN: not ready, and asked again as `write` is.
   * -EINTR: called again at once. A positive value counts as -EPROTO. NULL: there is nothing to do.
   */
  int (*flush)(void *ctx);
  /**
   * The sink is no longer needed; 0 or a code, which becomes bw_batch_close()'s. Called once, whatever it says. A
   * positive value counts as -EPROTO. NULL: there is nothing to do.
   */
  int (*close)(void *ctx);
} bw_batch_sink_t;

/** A bw_batch_sink_t with its size set and no callbacks; set `write`, at least. */
#define BW_BATCH_SINK_INIT {sizeof(bw_batch_sink_t), 0, NULL, NULL, NULL}

/** bw_batch_options_t::when_full: what a send does while the batcher is full. bw_batch_start_send() gives -EAGAIN. */
enum bw_batch_when_full {
  /** It waits until there is room; -ESHUTDOWN once a close has begun; or the code of a held batch. */
  BW_FULL_WAIT = 0,
  /** It gives -EAGAIN. */
  BW_FULL_FAIL = 1,
  /** It gives #BW_BATCH_DROPPED: this item is not accepted. */
  BW_FULL_DROP_NEWEST = 2,
  /**
   * It drops the oldest whole batch that waits (-ENOBUFS), also a held one, whose error is then over; not one of which
   * some items are settled. Where there is none, and in a callback, it does as #BW_FULL_DROP_NEWEST.
   */
  BW_FULL_DROP_OLDEST = 3
};

/** bw_batch_options_t::when_failed: what becomes of a batch that has failed after all its retries. */
enum bw_batch_when_failed {
  /**
   * It is held, and all behind it waits, in order. A new round of 1 + `retries` offers begins with the next flush,
   * close or bw_batch_wake(), and with the next send or bw_batch_poll_ready() that finds no room; not with
   * bw_batch_start_send(), and not with a send under #BW_FULL_DROP_OLDEST.
   */
  BW_FAILED_HOLD = 0,
  /**
   * Its items are given up: settled with the code. The next batch is offered. What is #BW_FINAL always goes this way.
   */
  BW_FAILED_GIVE_UP = 1
};

/** Flags of bw_batch_options_t, besides #BW_UNSHARED and #BW_BACKGROUND. */
enum bw_batch_flag {
  /**
   * A batch of several items that is refused whole with #BW_FINAL is offered again as two halves, these as halves of
   * their own if need be, until only the items that the sink cannot take are given up.
   */
  BW_BATCH_BISECT = 1u << 8
};

/**
 * How a batcher is to be. Begin with #BW_BATCH_OPTIONS_INIT. The struct is read once, when the batcher is made; what
 * `arg` points to must live until bw_batch_free() has returned.
 */
typedef struct bw_batch_options {
  /** sizeof(bw_batch_options_t), as the caller compiled it. */
  uint32_t size;
  /**
   * #BW_UNSHARED, #BW_BACKGROUND and #BW_BATCH_BISECT, or'ed; any other, also of those for writers: -EINVAL.
   *
   * With #BW_UNSHARED there is one producer: one thread at a time, the owner, sends, flushes, polls, discards and
   * closes. bw_batch_done(), bw_batch_wake(), bw_batch_error() and what looks inside, which may lag, may come from any
   * thread. A thread of ours (#BW_BACKGROUND, `backoff_us`) sees only sealed batches. Callbacks that run on another
   * thread than the owner's may make only the calls that any thread may.
   */
  uint32_t flags;
  /** A batch holds at most this many items. Default 1000; over 2^20: -EINVAL. */
  uint64_t max_items;
  /**
   * A batch holds at most this many bytes of items. Default 1 MiB; over 128 MiB: -EINVAL. A longer item gets -EMSGSIZE.
   */
  uint64_t max_bytes;
  /**
   * A batch is sealed this many microseconds after its first item; 0: never because of time. -EINVAL with #BW_UNSHARED.
   */
  uint64_t linger_us;
  /**
   * How many batches there may be: filling, waiting, offered, in flight, or settled with `delivered` not yet returned.
   * When all are in use the batcher is full. Default 2.
   */
  uint32_t buffers;
  /** How many batches may be taken and not yet answered. Default 1, which keeps the order. */
  uint32_t max_in_flight;
  /** BW_FULL_*: what a send does while the batcher is full. */
  uint32_t when_full;
  /** How often a batch that failed is tried again in one round. Default 0. */
  uint32_t retries;
  /**
   * How long to wait, in microseconds, before a batch is offered again: `backoff_us << (k - 1)` before retry k, at most
   * `backoff_us << 10`, 20 % more or less by chance. 0: what failed is tried again at once, and what got -EAGAIN only
   * after bw_batch_wake().
   */
  uint64_t backoff_us;
  /**
   * `pressure` is told 1 when use rises to this share of `buffers`. Use is the batches that are sealed and unanswered,
   * plus the filled part of the one that is filling: of its items or of its bytes, whichever is fuller. Default 80;
   * over 100: -EINVAL.
   */
  uint32_t high_percent;
  /**
   * `pressure` is told 0 when use falls to this. Default 50, or `high_percent` if that is less; more than it: -EINVAL.
   */
  uint32_t low_percent;
  /**
   * Where items begin in memory: at multiples of this power of two, up to 4096; anything else: -EINVAL. Default 8, or,
   * if that is less, the largest power of two that divides `item_size`.
   */
  uint32_t item_align;
  /** BW_FAILED_*: what becomes of a batch that has failed after all its retries. */
  uint32_t when_failed;
  /**
   * Told of pressure, once for each edge: `on` is 1 or 0. NULL: nobody listens. With #BW_UNSHARED a rise that crosses an
   * answer from another thread may be told with the next item.
   */
  void (*pressure)(void *arg, int on);
  /**
   * Told how items[count], a batch or a part of one, were settled: `code` is 0, -ENOBUFS, -ECANCELED, or the sink's.
   * The items are valid during the call. NULL: nobody listens.
   */
  void (*delivered)(void *arg, const struct iovec *items, size_t count, int code);
  /** The first argument of `pressure` and `delivered`. */
  void *arg;
  /**
   * Not 0: every item has exactly this many bytes, and a send of another length gets -EINVAL. It is at most `max_bytes`
   * and a multiple of `item_align`, else -EINVAL. The items of a batch then lie as one array, until answers for single
   * items have split it.
   */
  uint32_t item_size;
  /** 0; anything else: -EINVAL. */
  uint32_t reserved;
} bw_batch_options_t;

/** A bw_batch_options_t with its size set and all defaults. */
#define BW_BATCH_OPTIONS_INIT \
  {sizeof(bw_batch_options_t), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, 0, 0}

/**
 * Make a batcher over a sink of the caller's.
 *
 * @param[out] out  The batcher; NULL on failure.
 * @param sink      Copied. `write` must be there.
 * @param ctx       The first argument of every callback of @p sink; may be NULL.
 * @param options   Copied; NULL: all defaults.
 * @return 0; or a code:
 *         -EINVAL  @p out or @p sink is NULL, `write` is missing, a size is 0, a flag is unknown, `linger_us` is set
 *                  with #BW_UNSHARED, or a field is out of its bounds;
 *         -E2BIG   a field that this library does not know is set;
 *         -ENOMEM  no memory for the batches;
 *         -EAGAIN  no thread could be had (#BW_BACKGROUND, `linger_us`, `backoff_us`).
 *
 * **Thread**: any. **Lifetime**: the batcher is the caller's, until bw_batch_free(); @p ctx must live as
 * bw_batch_sink_t says. **Blocking**: never; no callback is called.
 */
BW_API int bw_batch_new(bw_batch_t **out, const bw_batch_sink_t *sink, void *ctx,
                        const bw_batch_options_t *options) BW_NOEXCEPT;

/**
 * Make a batcher whose sink is a writer.
 *
 * Each item goes to the writer together with @p separator, as one append that is all or nothing, as bw_poll_append()
 * makes it: it is never torn. An item that, with its separator, is longer than the writer's `buffers` x `capacity` goes
 * as bw_append() goes, and may wait. Other threads may use the writer too.
 *
 * Items are delivered when the writer has accepted them. A batch that the writer stops with -EAGAIN goes on at the
 * first item that was not accepted, as soon as the writer wakes the batcher. A flush of the batcher waits until the
 * writer's sink has taken the batcher's own items, and not for what others write meanwhile.
 *
 * @param[out] out    The batcher; NULL on failure.
 * @param writer      It must outlive the batcher, which never closes it. One that is unshared must be used by its owner
 *                    alone, so the batcher must then have no thread of ours, and no other threads that call it.
 * @param separator   What follows each item, a string; copied. NULL: nothing.
 * @param options     Copied; NULL: all defaults.
 * @return 0; or a code:
 *         -EINVAL  @p out or @p writer is NULL, or as bw_batch_new();
 *         -E2BIG, -ENOMEM, -EAGAIN  as bw_batch_new().
 *
 * **Thread**: any. **Lifetime**: the batcher is the caller's, until bw_batch_free(), which comes before bw_free() of
 * @p writer. **Blocking**: never.
 */
BW_API int bw_batch_to_writer(bw_batch_t **out, bw_t *writer, const char *separator,
                              const bw_batch_options_t *options) BW_NOEXCEPT;

/**
 * Settle everything and close.
 *
 * From the moment this begins, sends give -ESHUTDOWN, those that wait too. Flushes as bw_batch_flush() does, then calls
 * the sink's `close`. While a batch is held, or if the sink's `flush` failed, nothing is closed: call again, or
 * bw_batch_discard() first. A batcher that is closed gives 0 here again; flushes and polls, but for
 * bw_batch_poll_close(), then give -ESHUTDOWN.
 *
 * @param batch  The batcher.
 * @return 0; or a code:
 *         -EDEADLK  inside a callback of this batcher;
 *         the code of a held batch, #BW_ESINK too, or of the sink's `flush`: nothing is closed;
 *         the code of items that were given up since a flush last told of such, or that of the sink's `close`: the
 *         batcher is closed.
 *
 * **Thread**: any; unshared: the owner. Others may be in calls on the same batcher: they end, or get -ESHUTDOWN.
 * **Lifetime**: the sink's `ctx` is not used once the batcher is closed. **Blocking**: as bw_batch_flush().
 */
BW_API int bw_batch_close(bw_batch_t *batch) BW_NOEXCEPT;

/**
 * bw_batch_close(), for so long.
 *
 * @param batch       The batcher.
 * @param timeout_us  Microseconds; below 0: for ever.
 * @return as bw_batch_close(); or -ETIMEDOUT: it is not closed, and sends still give -ESHUTDOWN; call again.
 *
 * **Thread**: any; unshared: the owner. **Lifetime**: as bw_batch_close(). **Blocking**: as bw_batch_flush_for().
 */
BW_API int bw_batch_close_for(bw_batch_t *batch, int64_t timeout_us) BW_NOEXCEPT;

/**
 * Give the batcher back.
 *
 * Closes if need be. What is held then, and what the sink is not ready for (-EAGAIN), is given up through `delivered`:
 * who would rather wait closes first. Answers for batches in flight are waited for, and to give them in bounded time is
 * the sink's duty. All wakers that are left are called. No callback runs after the call has returned. In the child of a
 * fork this releases memory and does nothing else.
 *
 * @param batch  The batcher; NULL: nothing is done.
 *
 * **Thread**: any, but no other call on the batcher may be under way, except bw_batch_done() for what is in flight:
 * this returns after those have left. Not in any callback. **Lifetime**: @p batch is gone. **Blocking**: while the sink
 * works, and for its answers.
 */
BW_API void bw_batch_free(bw_batch_t *batch) BW_NOEXCEPT;

/** @} */

/**
 * @name 8.3 Sending and flushing
 * @{
 */

/**
 * Send an item.
 *
 * It is copied into the filling batch; one that does not fit seals it first. While the batcher is full, `when_full`
 * says what happens. If a batch is held then, a new round of offers begins first, except under #BW_FULL_DROP_OLDEST.
 *
 * @param batch   The batcher.
 * @param item    The item; may be NULL only if @p length is 0.
 * @param length  How many bytes; 0 is an item too.
 * @return 0: accepted; #BW_BATCH_DROPPED: not accepted, `when_full` dropped it; or a code, and it was not accepted:
 *         -EAGAIN     full (#BW_FULL_FAIL), or inside a callback of this batcher and it would have to wait;
 *         -EINVAL     not `item_size` bytes;
 *         -EMSGSIZE   longer than `max_bytes`;
 *         -ESHUTDOWN  a close has begun;
 *         or, under #BW_FULL_WAIT, the code of the held batch that makes no room, #BW_ESINK too.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: @p item may be reused as soon as the call returns.
 * **Blocking**: under #BW_FULL_WAIT while the batcher is full; under #BW_FULL_DROP_OLDEST for a `delivered` that runs
 * on another thread; inline, while it calls the sink for what it sealed.
 */
BW_API int bw_batch_send(bw_batch_t *batch, const void *item, size_t length) BW_NOEXCEPT;

/**
 * Send one item that is gathered from several places.
 *
 * @param batch  The batcher.
 * @param parts  The pieces of the item, in order; may be NULL only if @p count is 0.
 * @param count  How many pieces.
 * @return as bw_batch_send(), of the total.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: @p parts and what they point to may be reused as
 * soon as the call returns. **Blocking**: as bw_batch_send().
 */
BW_API int bw_batch_sendv(bw_batch_t *batch, const struct iovec *parts, int count) BW_NOEXCEPT;

/**
 * Wait until every item that was accepted before is settled, then call the sink's `flush`.
 *
 * Batches in flight are waited for too, and so is the return of each `delivered`. If a batch is held, a new round of
 * offers is begun. Where the sink says -EAGAIN, the call waits for bw_batch_wake() or the back-off.
 *
 * @param batch  The batcher.
 * @return 0: all went well; or a code:
 *         -EDEADLK    inside a callback of this batcher;
 *         -ESHUTDOWN  the batcher is closed;
 *         the code of a held batch (the oldest, if several are), which is still there: call again;
 *         the code of items that were given up since a flush last told of such;
 *         or that of the sink's `flush`.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: nothing changes hands. **Blocking**: until all this
 * is done; for ever, if the sink never answers for what it took.
 */
BW_API int bw_batch_flush(bw_batch_t *batch) BW_NOEXCEPT;

/**
 * bw_batch_flush(), for so long.
 *
 * @param batch       The batcher.
 * @param timeout_us  Microseconds; below 0: for ever. It bounds waiting, not a call of the sink that this one makes.
 * @return as bw_batch_flush(); or -ETIMEDOUT: not all is settled and flushed, and nothing is lost by that.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: nothing changes hands. **Blocking**: up to
 * @p timeout_us, and while it is in the sink.
 */
BW_API int bw_batch_flush_for(bw_batch_t *batch, int64_t timeout_us) BW_NOEXCEPT;

/**
 * Discard everything that is not in flight: it is settled with -ECANCELED. A batch that is held goes with it, and its
 * error is over.
 *
 * Does not wait for any callback: `delivered` may tell of these items after the call has returned. What `write` has at
 * this moment is not discarded.
 *
 * @param batch  The batcher.
 * @return how many items were discarded; or a code of the conventions.
 *
 * **Thread**: any, concurrently, also inside callbacks; unshared: the owner. **Lifetime**: nothing changes hands.
 * **Blocking**: never; the sink is not called.
 */
BW_API int64_t bw_batch_discard(bw_batch_t *batch) BW_NOEXCEPT;

/** @} */

/**
 * @name 8.4 Polling
 *
 * The four phases of a sink, as `futures::Sink` in Rust has them: be ready, start to send, flush, close. None of these
 * calls waits, if the sink does not. Where one would have to, it gives -EAGAIN, keeps `wake`, and calls it exactly
 * once, unless it is taken back, at the latest in bw_batch_free(). A {wake, arg} that still waits is not added a second
 * time. `wake` may be NULL: nobody is called. Each poll may also give -ENOMEM: there is no memory for the waker, which
 * then is not kept and never called.
 *
 * A poll that finds a batch held (bw_batch_poll_ready(): and no room) gives its code, once for each round that failed,
 * and not if a blocking call has told it (#BW_ESINK: every time). The poll after that begins a new round, and gives the
 * outcome of it, or -EAGAIN. Blocking calls always begin a new round. If several batches are held, it is the oldest
 * one's code.
 * @{
 */

/**
 * Ask for room for one item.
 *
 * Nothing is reserved: another producer may take the room, and then bw_batch_start_send() gives -EAGAIN. This is the
 * call to make again then.
 *
 * @param batch  The batcher.
 * @param wake   Copied; may be NULL.
 * @return 0: there is room; or a code:
 *         -EAGAIN     pending: @p wake will be called;
 *         -EINVAL     also: wake->wake is NULL;
 *         -ENOMEM     no memory for the waker;
 *         -ESHUTDOWN  a close has begun;
 *         or the code of a held batch, as said above.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: wake->arg must live until the waker was called or
 * taken back. **Blocking**: never, if the sink does not.
 */
BW_API int bw_batch_poll_ready(bw_batch_t *batch, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * bw_batch_send() that never waits, never drops and begins no new round: whatever `when_full` says, it gives -EAGAIN
 * while the batcher is full.
 *
 * An item that does not fit the filling batch seals it and goes to the next one. Where there is none, also after
 * bw_batch_poll_ready() gave 0, the answer is -EAGAIN, and bw_batch_poll_ready() is the call to make again.
 *
 * @param batch   The batcher.
 * @param item    The item; may be NULL only if @p length is 0.
 * @param length  How many bytes; 0 is an item too.
 * @return 0: accepted; or a code, and it was not accepted:
 *         -EAGAIN  no room: bw_batch_poll_ready() tells when there is some; no waker is kept by this call;
 *         -EINVAL, -EMSGSIZE, -ESHUTDOWN  as bw_batch_send().
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: @p item may be reused as soon as the call returns.
 * **Blocking**: never, if the sink does not.
 */
BW_API int bw_batch_start_send(bw_batch_t *batch, const void *item, size_t length) BW_NOEXCEPT;

/**
 * bw_batch_start_send() of one item that is gathered from several places.
 *
 * @param batch  The batcher.
 * @param parts  The pieces of the item, in order; may be NULL only if @p count is 0.
 * @param count  How many pieces.
 * @return as bw_batch_start_send(), of the total.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: @p parts and what they point to may be reused as
 * soon as the call returns. **Blocking**: never, if the sink does not.
 */
BW_API int bw_batch_start_sendv(bw_batch_t *batch, const struct iovec *parts, int count) BW_NOEXCEPT;

/**
 * bw_batch_flush() as a poll, for what was accepted before this poll.
 *
 * @param batch  The batcher.
 * @param wake   Copied; may be NULL.
 * @return 0: done, and all went well; or a code:
 *         -EAGAIN  pending: @p wake will be called;
 *         -EINVAL  also: wake->wake is NULL;
 *         -ENOMEM  no memory for the waker;
 *         -ESHUTDOWN  the batcher is closed;
 *         or the code of a held batch, as said above, of items given up, or of the sink's `flush`, as bw_batch_flush().
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: as bw_batch_poll_ready(). **Blocking**: never, if
 * the sink does not.
 */
BW_API int bw_batch_poll_flush(bw_batch_t *batch, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * bw_batch_close() as a poll. Sends give -ESHUTDOWN from the first of these polls on.
 *
 * @param batch  The batcher.
 * @param wake   Copied; may be NULL.
 * @return 0: closed, now or before; or a code:
 *         -EAGAIN  pending: @p wake will be called;
 *         -EINVAL  also: wake->wake is NULL;
 *         -ENOMEM  no memory for the waker;
 *         or the code of a held batch, as said above, of items given up, or of the sink, as bw_batch_close().
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: as bw_batch_close(); the waker as
 * bw_batch_poll_ready(). **Blocking**: never, if the sink does not.
 */
BW_API int bw_batch_poll_close(bw_batch_t *batch, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * Take a waker back.
 *
 * @param batch  The batcher that was polled.
 * @param wake   The same {wake, arg}; NULL: -EINVAL.
 * @return 1: it was waiting, is taken back and will not be called; 0: it was not waiting (it was called, or never
 *         kept). Either way, no call of it runs on another thread once this has returned: what `arg` points to may be
 *         freed.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: the waker is the caller's again. **Blocking**:
 * while another thread is in a call of this waker; inside callbacks too.
 */
BW_API int bw_batch_unwake(bw_batch_t *batch, const bw_waker_t *wake) BW_NOEXCEPT;

/** @} */

/**
 * @name 8.5 For the sink: answers and wake-ups
 * @{
 */

/**
 * Answer for a batch that `write` took.
 *
 * Once for each, from any thread, also before that `write` has returned, which must then return #BW_BATCH_TAKEN. The
 * answer is one for all items, or one for each. It is 0, or what `write` may answer below 0: -EAGAIN, #BW_ESINK
 * (rule 6), another code, a code minus #BW_FINAL. -EINTR is a failure here like any other.
 *
 * Where single items are answered for, those with 0 are delivered, those refused with #BW_FINAL are given up, each with
 * its own code, and the others stay together, in order, as a smaller batch. Items with -EAGAIN stay too, and do not
 * count as failed. The code of the smaller batch is that of its first failing item. Where this answer is the last that
 * #BW_FAILED_GIVE_UP allows, each failed item is given up with its own code.
 *
 * @param taken  The batch; no longer valid once the call has begun, unless it is refused.
 * @param code   The answer for all items; unused if @p codes is there.
 * @param codes  NULL; or codes[count], one for each item, as bw_batch_items() has them. Read during the call.
 * @return 0; or a code:
 *         -EINVAL  a code is positive, and the batch is still to be answered; or @p taken is not to be answered.
 *
 * **Thread**: any, at any time, also inside the sink. **Lifetime**: @p codes is the caller's. **Blocking**: never; the
 * sink is not called.
 */
BW_API int bw_batch_done(bw_batch_view_t *taken, int code, const int *codes) BW_NOEXCEPT;

/**
 * Tell the batcher that a sink which said -EAGAIN is ready again, or that a held batch may be tried again.
 *
 * Those who wait go on, and wakers are called. One that comes while the sink call that says -EAGAIN runs counts.
 *
 * @param batch  The batcher.
 * @return 0, or a code of the conventions.
 *
 * **Thread**: any, at any time, also inside the sink. **Lifetime**: @p batch must not be freed meanwhile. **Blocking**:
 * never; the sink is not called.
 */
BW_API int bw_batch_wake(bw_batch_t *batch) BW_NOEXCEPT;

/** @} */

/**
 * @name 8.6 Looking inside
 * @{
 */

/**
 * The code of the batch that is held.
 *
 * @param batch  The batcher.
 * @return 0: none is; or the code, of the oldest if several are.
 *
 * **Thread**: any, at any time, also inside callbacks and the sink. **Lifetime**: nothing changes hands. **Blocking**:
 * never.
 */
BW_API int bw_batch_error(bw_batch_t *batch) BW_NOEXCEPT;

/**
 * How many items are accepted, not settled and not in flight.
 *
 * @param batch  The batcher.
 * @return how many.
 *
 * **Thread**: any, at any time, also inside callbacks and the sink; unshared: it may lag. **Lifetime**: nothing changes
 * hands. **Blocking**: never.
 */
BW_API size_t bw_batch_buffered(bw_batch_t *batch) BW_NOEXCEPT;

/**
 * How many batches are settled of which the sink took at least one item.
 *
 * @param batch  The batcher.
 * @return how many; a batch that came apart counts once.
 *
 * **Thread**: any, at any time, also inside callbacks and the sink; unshared: it may lag. **Lifetime**: nothing changes
 * hands. **Blocking**: never.
 */
BW_API uint64_t bw_batch_flushed(bw_batch_t *batch) BW_NOEXCEPT;

/** What a batcher has done so far. Begin with #BW_BATCH_STATS_INIT, or set `size`. */
typedef struct bw_batch_stats {
  uint32_t size;             /**< sizeof(bw_batch_stats_t), as the caller compiled it; stays as it is. */
  uint32_t reserved;         /**< 0. */
  uint64_t total_items;      /**< Items delivered. */
  uint64_t total_batches;    /**< Batches delivered; one that came apart counts once. */
  uint64_t max_batch_size;   /**< The most items delivered of one batch. */
  uint64_t dropped_items;    /**< Items that `when_full` has dropped or bw_batch_discard() has discarded. */
  uint64_t failed_items;     /**< Items given up. */
  uint64_t retries;          /**< Offers after a failure. */
  uint64_t bytes;            /**< Bytes of the items delivered. */
  uint64_t buffered_items;   /**< bw_batch_buffered(). */
  uint64_t in_flight_items;  /**< Items that the sink took and has not answered for. */
  bw_latency_t in_batch;     /**< For each batch: from its first item until it was sealed. */
  bw_latency_t to_delivered; /**< For each batch: from its first item until it was settled. */
} bw_batch_stats_t;

/** A bw_batch_stats_t with its size set and zero in all else. */
#define BW_BATCH_STATS_INIT \
  {sizeof(bw_batch_stats_t), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0}}

/**
 * Read the statistics; at most stats->size bytes are filled in, as by bw_get_stats().
 *
 * @param batch          The batcher.
 * @param[in,out] stats  `size` must be set.
 * @return 0; or -EINVAL: @p stats is NULL, or its size is 0.
 *
 * **Thread**: any, at any time, also inside callbacks and the sink; unshared: they may lag. **Lifetime**: @p stats is
 * the caller's. **Blocking**: never.
 */
BW_API int bw_batch_get_stats(bw_batch_t *batch, bw_batch_stats_t *stats) BW_NOEXCEPT;

/**
 * The statistics as one JSON object, with the names of bw_batch_stats_t.
 *
 * @param batch      The batcher.
 * @param[out] text  Where to; always ends with a NUL if @p size > 0. May be NULL if @p size is 0.
 * @param size       How many bytes lie there.
 * @return the length of the whole text without its NUL, as snprintf(3): if it is @p size or more, the text is cut.
 *
 * **Thread**: any, at any time, also inside callbacks and the sink; unshared: they may lag. **Lifetime**: @p text is
 * the caller's. **Blocking**: never.
 */
BW_API int64_t bw_batch_stats_json(bw_batch_t *batch, char *text, size_t size) BW_NOEXCEPT;

/** @} */

#ifdef __cplusplus
}
#endif
#endif
