/**
 * @file bw.h
 * libbw: buffered writing for programs with many threads.
 *
 * Any number of threads write small pieces; few large writes go out, in one order; no byte is lost without a word;
 * and the caller knows how far each byte has come: accepted, written, durable.
 *
 * This header is the manual. It opens with the conventions that hold for every function, then goes from making a
 * writer over writing and polling to errors and statistics. Batches of items are in batch.h, which it includes.
 *
 * **Words.**
 *  - A *sink* takes the bytes: callbacks of the caller (bw_new()), or any descriptor (bw_fdopen()).
 *  - *Accepted* bytes are in the writer's care; *written* ones the sink has taken; *durable* ones survive a power cut.
 *  - An *inline* writer has no thread: whoever fills the buffer, or asks, calls the sink and gets its code.
 *  - A *background* writer (#BW_BACKGROUND) has a thread of ours that writes to the sink. What is said of background
 *    writers holds for file writers too, unless files are named.
 *  - A *file* writer (bw_open()) drives a file through an engine of its own. Flags and fields that are marked "files"
 *    belong to them and are ignored by the others.
 *  - A *lane* (bw_lane()) is a private buffer in front of a shared writer, for one thread.
 *  - A writer is *unshared* (#BW_UNSHARED; lanes are) or *shared* (all others).
 *  - A call *waits* if it sleeps until another thread, or the sink, lets it go on. An inline writer that calls its
 *    sink does not wait, whatever the sink does meanwhile.
 *
 * **Conventions.**
 *  1. Every call that can fail returns a value >= 0 on success and a negative code on failure: `-errno`, or one of
 *     our own codes (errors.h), which start at -10000. The library prints nothing, aborts nothing and lets no
 *     exception out.
 *  2. Parameters come in this order: what is made, the handle, inputs, a callback, the callback's argument. A pointer
 *     is followed by its length. A NULL handle gives -EINVAL, or 0 or NULL where the type has no room for a code;
 *     bw_free() and bw_batch_free() of NULL do nothing. Where something is made, `*out` is NULL on failure.
 *  3. The option, sink and stats structs begin with `uint32_t size`: the struct's size as the caller compiled it. 0, or
 *     less than the field itself, gives -EINVAL. Zero in any other field means "default". A caller compiled
 *     against an older header keeps working; one compiled against a newer header gets -E2BIG if it set a field that
 *     this library does not know; an unknown flag gives -EINVAL. bw_waker_t and bw_span_t have no size and do not grow.
 *  4. Offsets, positions and counts that may fail are `int64_t`; lengths in memory are `size_t`. Where an input makes
 *     no sense, -EINVAL says so and nothing was done: a length over SSIZE_MAX; a count of parts below 0; NULL for
 *     bytes or parts with a length or count above 0, also in a part of a vector; parts that are longer than SSIZE_MAX
 *     together. A call whose bytes would take a position past INT64_MAX gives -EOVERFLOW and accepts nothing.
 *  5. A call that returned an error never calls its callback later, except that the -EAGAIN of a poll is the answer
 *     that accepts its waker. An accepted callback is called exactly once, unless bw_unwake() took it back.
 *  6. A sink's callback that throws, returns #BW_ESINK or claims more than it was offered has failed in an unknown
 *     state. #BW_ESINK is then held, on inline writers too, as background writers hold an error (bw_error()), and the
 *     sink is not called again, not by bw_free() either, until bw_set_sink() or bw_discard(); bw_resume() gives
 *     #BW_ESINK. One that comes out of `sync` is held this way too, and is no failed sync.
 *  7. Inside a sink's callbacks, and inside `each` of bw_unwritten(), calls on the same writer give -EDEADLK; a write
 *     that fits the buffer may be taken instead. Only bw_wake(), bw_error(), bw_position(), bw_buffered(),
 *     bw_get_stats() and bw_stats_json() work there as everywhere.
 *  8. The callbacks `wake`, `done` and `on_event` run while the library holds no lock. Everything but bw_free() is
 *     allowed in them, and nothing waits there, on whatever writer: a call that would have to gives -EAGAIN. Only
 *     bw_unwake() waits, for a call of its waker that is running. Where a callback runs on a thread of ours and the
 *     writer is unshared, it may make only the calls that any thread may (see #BW_UNSHARED).
 *  9. A writer belongs to the process that made it. After fork(), in the child, every call that returns a code
 *     gives -ECHILD, the others 0 or NULL; bw_free() there releases memory and does nothing else.
 *  10. SIGPIPE and SIGXFSZ, where writes of ours cause them, never reach the program: it gets -EPIPE and -EFBIG.
 *      All our descriptors are close-on-exec. exit() flushes nothing.
 *  11. The header is clean in C99 and C++11 under -Wall -Wextra -pedantic -Werror. There are only real functions,
 *      nothing inline.
 *
 * Conventions 6, 7 and 8 are about writers; batchers have rules of their own (batch.h).
 *
 * The codes of conventions 2, 4, 7 and 9 hold everywhere and are not repeated at each function; neither are the codes
 * that a sink's own callback returned, which reach the caller unchanged.
 */
#ifndef BW_BW_H
#define BW_BW_H

#include <bw/errors.h>
#include <bw/export.h>
#include <bw/version.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A writer: a shared, unshared, background or file one, or a lane. Opaque. */
typedef struct bw bw_t;

/**
 * @name 1. Sinks: where the bytes go
 * @{
 */

/**
 * The callbacks that take a writer's bytes. The struct is copied; what `ctx` points to must live until the sink was
 * closed, replaced (bw_set_sink()) or its writer freed.
 *
 * Calls to one sink never overlap, and arrive in stream order, but not always on the same thread. Each callback
 * returns a negative code on failure. Some codes have a meaning:
 *  - -EAGAIN: not ready. A background writer asks again after bw_wake(). An inline writer remembers nothing: every
 *    later call asks the sink anew, woken or not, and bw_wake() only calls the wakers and lets bw_wait() go on.
 *  - -EINTR: the callback is called again at once (bw_poll_write() hands the -EINTR of its bypassing call through).
 *  - #BW_ESINK: see convention 6.
 */
typedef struct bw_sink {
  /** sizeof(bw_sink_t), as the caller compiled it. */
  uint32_t size;
  /** None yet: 0. */
  uint32_t flags;
  /**
   * Takes bytes from the start of data[length], length > 0, and returns how many; it may take fewer than offered: the
   * rest is offered again. To take 0 is the error #BW_EWRITEZERO. Required.
   */
  int64_t (*write)(void *ctx, const void *data, size_t length);
  /** The same for `count` parts that follow one another. NULL: the sink is not vectored, everything goes to write. */
  int64_t (*writev)(void *ctx, const struct iovec *parts, int count);
  /** Passes on what the sink itself has buffered; 0 or a code. NULL: there is nothing to do. */
  int (*flush)(void *ctx);
  /** As lseek(2): moves to where the next byte is written and read, returns the new offset. NULL: -ESPIPE. */
  int64_t (*seek)(void *ctx, int64_t offset, int whence);
  /** As read(2): fills data[length] from the start, returns how many bytes, 0 at the end. NULL: -EBADF. */
  int64_t (*read)(void *ctx, void *data, size_t length);
  /** Makes durable what was taken; 0 or a code. A failed sync is final (see bw_error()). NULL: -EOPNOTSUPP. */
  int (*sync)(void *ctx);
  /**
   * The sink is no longer needed. Called once; again only after -EAGAIN, which leaves the writer open, or -EINTR. Any
   * other code becomes bw_close()'s, and the writer is closed all the same. NULL: there is nothing to do.
   */
  int (*close)(void *ctx);
} bw_sink_t;

/** A bw_sink_t with its size set and no callbacks; set `write`, at least. */
#define BW_SINK_INIT {sizeof(bw_sink_t), 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL}

/** @} */

/**
 * @name 2. Making and ending a writer
 * @{
 */

/** Flags of bw_options_t. A flag that means nothing to the kind of writer being made is ignored. */
enum bw_flag {
  /**
   * One thread at a time uses this writer, and pays for no atomic instruction. Only bw_wake(), bw_error(),
   * bw_position(), bw_buffered(), bw_get_stats() and bw_stats_json() may come from any thread at any time;
   * bw_buffer() and bw_capacity() from several threads while the owner makes no call; callbacks that run on a thread
   * of ours may make only the calls that any thread may. `linger_us` gives -EINVAL with it.
   */
  BW_UNSHARED = 1u << 0,
  /**
   * Every call of section 3, bw_discard() and bw_close() give -EAGAIN (or a short count) instead of waiting. bw_wait()
   * waits all the same.
   */
  BW_NONBLOCK = 1u << 1,
  /**
   * A thread of ours writes to the sink. `write` and `writev` are called by it alone; `flush`, `sync`, `seek`, `read`
   * and `close` by whoever asks, never overlapping. Nothing goes past the buffers: they are filled to the brim, a
   * long write fills several, contiguously, and writers wait only while all buffers are full or the sink said
   * -EAGAIN.
   */
  BW_BACKGROUND = 1u << 2,
  /** Files: everything through the page cache, nothing by O_DIRECT. */
  BW_BUFFERED = 1u << 3,
  /**
   * Files: no thread of ours. bw_event_fd() tells when bw_poll_events() has something to do; calls that wait do the I/O
   * themselves, and leave the callbacks to bw_poll_events().
   */
  BW_CALLER_DRIVEN = 1u << 4
};

/** Engines of file writers: bw_options_t::engine, bw_stats_t::engine. */
enum bw_engine {
  /** Files: the best one that the system allows. In statistics: none, a sink. */
  BW_ENGINE_AUTO = 0,
  /** Files: io_uring. */
  BW_ENGINE_URING = 1,
  /** Files: pwrite(2). */
  BW_ENGINE_PWRITE = 2
};

/** How far a byte has come: the levels of bw_position(), bw_wait() and bw_notify(). */
enum bw_level {
  /** In the writer's care. */
  BW_ACCEPTED = 0,
  /** Taken by the sink. */
  BW_WRITTEN = 1,
  /** Safe from a power cut. */
  BW_DURABLE = 2
};

/** What bw_event_t tells of. */
enum bw_event_kind {
  /** Buffers in use have risen to `high_percent` of all. Once for each time they do. */
  BW_EVENT_PRESSURE_ON = 1,
  /** After that, buffers in use have fallen to `low_percent` of all. Once for each time they do. */
  BW_EVENT_PRESSURE_OFF,
  /** A write or a sync failed: `code`. */
  BW_EVENT_ERROR,
  /** The bytes [`position`, `position` + `length`) have reached the sink. */
  BW_EVENT_WRITTEN,
  /** Everything below `position` is durable. */
  BW_EVENT_DURABLE,
  /** bw_free() could not write `data`[`length`], which begins at `position`: the last chance to keep it. */
  BW_EVENT_LOST
};

/** What `on_event` is told. Made by the library; valid during the call, as is what `data` points to. */
typedef struct bw_event {
  uint32_t size;     /**< sizeof(bw_event_t) as the library was compiled: fields beyond it are not there. */
  uint32_t kind;     /**< BW_EVENT_*; a newer library may tell of kinds that the caller does not know. */
  int64_t position;  /**< A stream position, where the kind has one; else 0. */
  uint64_t length;   /**< A number of bytes, where the kind has one; else 0. */
  const void *data;  /**< #BW_EVENT_LOST only: the bytes; else NULL. */
  int32_t code;      /**< #BW_EVENT_ERROR: the code; #BW_EVENT_LOST: why; else 0. */
  uint32_t reserved; /**< 0. */
} bw_event_t;

/**
 * How a writer is to be. Begin with #BW_OPTIONS_INIT. The struct is read once, when the writer is made; what
 * `event_arg` points to must live until bw_free() has returned (for a parent with lanes: bw_free() of all of them too).
 */
typedef struct bw_options {
  /** sizeof(bw_options_t), as the caller compiled it. */
  uint32_t size;
  /** #BW_UNSHARED, #BW_NONBLOCK, #BW_BACKGROUND, #BW_BUFFERED and #BW_CALLER_DRIVEN, or'ed. */
  uint32_t flags;
  /**
   * Bytes in one buffer. Default: 8 KiB for sinks, the parent's for lanes, 1 MiB for files. Any number up to 128 MiB,
   * for files a multiple of 4096; else -EINVAL.
   */
  uint64_t capacity;
  /** How many buffers. Default: 2 for background writers, 8 for files. Inline writers have one, whatever this says. */
  uint32_t buffers;
  /** Files: BW_ENGINE_*. */
  uint32_t engine;
  /**
   * A part-filled buffer is handed on after this many microseconds; 0: never because of time. A shared inline writer
   * gets a thread of ours by it, which may call the sink then; what fails there goes to `on_event` and is tried
   * again. -EINVAL with #BW_UNSHARED and for lanes.
   */
  uint64_t linger_us;
  /** Files: disk space is reserved in steps of this many bytes; 0: our choice; UINT64_MAX: none. */
  uint64_t preallocate;
  /**
   * "Pressure on" is told when this share of the buffers is in use. Default 80; over 100: -EINVAL. Inline writers
   * tell of no pressure.
   */
  uint32_t high_percent;
  /** "Pressure off" is told at this share. Default 50, or `high_percent` if that is less; more than it: -EINVAL. */
  uint32_t low_percent;
  /**
   * Told of pressure, errors, buffers written, durability and bytes lost (enum #bw_event_kind), under convention 8.
   * One call at a time for one writer. NULL: nobody listens.
   */
  void (*on_event)(void *arg, const bw_event_t *event);
  /** The first argument of `on_event`. */
  void *event_arg;
} bw_options_t;

/** A bw_options_t with its size set and all defaults. */
#define BW_OPTIONS_INIT {sizeof(bw_options_t), 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL}

/**
 * Make a writer over callbacks.
 *
 * Without #BW_BACKGROUND it is an inline writer: the thread that fills the buffer, or asks, calls the sink and gets its
 * code. It never waits for a sink that said -EAGAIN, except in bw_wait(): the call gives -EAGAIN, as write(2) on an
 * O_NONBLOCK descriptor does. A shared inline writer gets a thread of ours by `linger_us`, and by its first
 * bw_notify(); that thread may call the sink too, and what fails there goes to `on_event` and is tried again.
 *
 * With #BW_BACKGROUND, writers wait for room, and for a sink that said -EAGAIN, unless #BW_NONBLOCK.
 *
 * Positions start at 0. All memory is allocated here; see bw_append() for the one exception.
 *
 * @param[out] out  The writer; NULL on failure.
 * @param sink      Copied. `write` must be there.
 * @param ctx       The first argument of every callback of @p sink; may be NULL.
 * @param options   Copied; NULL: all defaults.
 * @return 0; or a code:
 *         -EINVAL  @p out or @p sink is NULL, `write` is missing, a size is 0, a flag is unknown, or a field is out
 *                  of its bounds;
 *         -E2BIG   a field that this library does not know is set;
 *         -ENOMEM  no memory for the buffers;
 *         -EAGAIN  no thread could be had (#BW_BACKGROUND, `linger_us`).
 *
 * **Thread**: any. **Lifetime**: the writer is the caller's, until bw_free(); @p ctx must live as bw_sink_t says.
 * **Blocking**: never; no callback is called.
 */
BW_API int bw_new(bw_t **out, const bw_sink_t *sink, void *ctx, const bw_options_t *options) BW_NOEXCEPT;

/**
 * Make a writer over a descriptor: a pipe, socket, terminal, device or file.
 *
 * The writer works on a dup of @p fd with write(2), writev(2), lseek(2), read(2) and fdatasync(2), at the descriptor's
 * own offset, so that processes which take turns on it lose nothing. The flags of the descriptor stay as they are, and
 * @p fd itself is never closed. Positions start at the descriptor's offset, or at 0 if it has none.
 *
 * If the descriptor is O_NONBLOCK, an inline writer gives -EAGAIN where it is not ready; a background writer polls
 * it by itself, and no bw_wake() is needed. Descriptors that cannot be synced (pipes, sockets, terminals) give
 * -EOPNOTSUPP from bw_sync().
 *
 * @param[out] out  The writer; NULL on failure.
 * @param fd        The descriptor; may be closed by its owner as soon as the call has returned.
 * @param options   Copied; NULL: all defaults, an inline writer.
 * @return 0; or a code:
 *         -EINVAL, -E2BIG, -ENOMEM, -EAGAIN  as bw_new();
 *         -EBADF   @p fd is not open;
 *         -EMFILE  no descriptor is left for the dup.
 *
 * **Thread**: any. **Lifetime**: the writer is the caller's, until bw_free(); the dup is closed by bw_close() or
 * bw_free().
 * **Blocking**: never.
 */
BW_API int bw_fdopen(bw_t **out, int fd, const bw_options_t *options) BW_NOEXCEPT;

/**
 * Make a file writer.
 *
 * The file is opened as open(2) does and driven by an engine: io_uring, or pwrite(2) in a few threads of ours where the
 * kernel refuses io_uring (bw_stats_t::engine tells). Whole blocks of 4096 bytes go out by O_DIRECT where the
 * filesystem allows it (bw_stats_t::direct), what is left of a block through the page cache. A thread of ours drives
 * the engine, unless #BW_CALLER_DRIVEN.
 *
 * Positions are file offsets and begin at 0: to go on at the end of a file, bw_seek() there. O_WRONLY suffices at any
 * offset; bw_read() then gives -EBADF.
 *
 * What lies beyond the size at opening is at any moment, also after the process was killed, a prefix of what was
 * accepted (as long as nobody seeks): never padding, never a hole. After a power cut it is at least what was durable.
 * After bw_flush() the file holds exactly the accepted bytes.
 *
 * With O_APPEND the bytes are appended through the page cache, so that other appenders lose nothing. Positions then
 * count from the size at opening; bw_seek() moves, and returns, only where bw_read() reads.
 *
 * The writer behaves as a background one: writers wait only while all buffers are full, buffers are filled to the
 * brim, errors are held. Disk space is reserved ahead (`preallocate`) and given back by bw_close().
 *
 * On anything but a regular file (a pipe, fifo, terminal, device) this makes what bw_fdopen() would.
 *
 * @param[out] out  The writer; NULL on failure.
 * @param path      As for open(2). For a descriptor that is open already: "/proc/self/fd/N".
 * @param oflags    As for open(2), with O_WRONLY or O_RDWR. O_CLOEXEC is always set; O_DIRECT is our choice.
 * @param mode      As for open(2): used where the file is made.
 * @param options   Copied; NULL: all defaults. They are checked before the file is made.
 * @return 0; or a code:
 *         -EINVAL  @p out or @p path is NULL, @p oflags do not allow writing, `capacity` is no multiple of 4096, or as
 *                  bw_new();
 *         -E2BIG, -ENOMEM, -EAGAIN  as bw_new();
 *         another  as open(2); or, for #BW_ENGINE_URING, why the kernel refuses io_uring.
 *
 * **Thread**: any. **Lifetime**: the writer is the caller's, until bw_free(). **Blocking**: as open(2).
 */
BW_API int bw_open(bw_t **out, const char *path, int oflags, unsigned mode, const bw_options_t *options) BW_NOEXCEPT;

/**
 * Make a lane: a private buffer in front of a shared writer, for one thread.
 *
 * What a lane hands on lands in the parent contiguous and whole: no write, writev or append of at most the lane's
 * `capacity` bytes in total is ever torn. Each lane's bytes keep their own order.
 *
 * A lane is a #BW_UNSHARED writer, with these differences:
 *  - Positions, bw_tell() and the watermarks are the lane's own. "Written" means handed on to the parent;
 *    "durable" moves only by the lane's own bw_sync(), bw_wait() or bw_notify().
 *  - bw_flush() and bw_sync() go through to the parent. The parent's own know nothing of bytes that are still in lanes.
 *  - bw_close() only hands on; the parent stays open.
 *  - bw_seek() gives -ESPIPE, bw_set_sink() -EINVAL.
 *
 * bw_close() of a parent with open lanes gives -EBUSY; a parent that is freed before its lanes goes with the last of
 * them.
 *
 * @param[out] out  The lane; NULL on failure.
 * @param parent    A shared writer.
 * @param options   Copied; NULL: all defaults. The default capacity is the parent's.
 * @return 0; or a code:
 *         -EINVAL     @p parent is itself a lane or #BW_UNSHARED, `linger_us` is set, or as bw_new();
 *         -E2BIG, -ENOMEM  as bw_new();
 *         -ESHUTDOWN  @p parent is closed.
 *
 * **Thread**: any; then the lane is used by one thread at a time. **Lifetime**: the lane is the caller's, until
 * bw_free(); it keeps its parent alive. **Blocking**: never.
 */
BW_API int bw_lane(bw_t **out, bw_t *parent, const bw_options_t *options) BW_NOEXCEPT;

/**
 * Write out everything and close.
 *
 * Flushes (the sink's `flush` too), then calls the sink's `close`. A callback sink and a descriptor are not synced; a
 * file is durable afterwards. Our own descriptors, the dup of bw_fdopen() too, are closed here. A lane only hands on.
 *
 * A failed flush leaves the writer open: call again, or take the bytes back (bw_unwritten(), bw_set_sink(),
 * bw_discard()). A `close` of the sink that says -EAGAIN leaves it open too; any other code of it is returned, and
 * the writer is closed all the same. After a failed sync the call writes what is accepted, closes, and returns the
 * sync's code, once.
 *
 * A closed writer gives 0 here again. Writes, reservations, appends, flush, sync (after a failed sync too), seek and
 * read, and their polls, then give -ESHUTDOWN; so do the waiters and notes for positions beyond the end. What looks
 * inside still works, until bw_free().
 *
 * @param bw  The writer.
 * @return 0; or a code, and the writer is still open unless the code is the sink's `close`'s or a sync's:
 *         -EBUSY   lanes of this writer are open, or (#BW_UNSHARED) a span is;
 *         -EAGAIN  an inline sink is not ready; or #BW_NONBLOCK, or inside a callback, and it would have to wait;
 *         -EOPNOTSUPP  the file is written and closed, but cannot be synced; once;
 *         or the code of the failed write or flush, or the one that the writer holds (bw_error()).
 *
 * **Thread**: any; an unshared writer: its owner. Others may be in calls on the same writer: they end, or get
 * -ESHUTDOWN.
 * **Lifetime**: the sink's `ctx` is not used after a success. **Blocking**: for open spans, for other threads in the
 * sink and, on background writers, until all is written.
 */
BW_API int bw_close(bw_t *bw) BW_NOEXCEPT;

/**
 * Give the writer back.
 *
 * Closes if need be, never waiting for a sink that said -EAGAIN. What could not be written goes to `on_event` as
 * #BW_EVENT_LOST; with a span still open, so does what lies beyond it. The sink's `close` comes in any case, unless it
 * came before or #BW_ESINK is held. Notes that are left (bw_notify()) get -ESHUTDOWN if the writer could be closed,
 * -ECANCELED if not; wakers that are left are called. Then all memory is freed. No callback of the writer runs after
 * the call has returned. A parent with lanes goes when the last of them is freed.
 *
 * @param bw  The writer; NULL: nothing is done.
 *
 * **Thread**: any, but no other call on the writer may be under way, and not in any callback. **Lifetime**: @p bw is
 * gone, and with it what it pointed to. **Blocking**: while the sink works; never for one that said -EAGAIN.
 */
BW_API void bw_free(bw_t *bw) BW_NOEXCEPT;

/** @} */

/**
 * @name 3. Writing
 *
 * Any number of threads at once, unless the writer is #BW_UNSHARED. Where the text says that a call waits, it gives
 * -EAGAIN instead with #BW_NONBLOCK and inside callbacks (convention 8). With #BW_UNSHARED, all of these but
 * bw_commit() and bw_tell() give -EBUSY while a span is open.
 *
 * What an inline writer does with a piece: less than a buffer that does not fit the rest of the current one makes it
 * flush first; `capacity` bytes or more go past the buffer, straight from the caller's memory, and so does the rest
 * of such a piece that the sink took in part. Background and file writers fill buffers to the brim; only before a
 * span that does not fit, the next buffer is begun.
 * @{
 */

/**
 * Write bytes.
 *
 * All of them, contiguous in the stream, whatever the length. The count is short only where the sink stopped part-way:
 * -EAGAIN of an inline sink, #BW_NONBLOCK, an error. Then `on_event` has heard the code (unless it is
 * -EAGAIN), and the next call tries again, or gives the code where it is held (bw_error()).
 *
 * @param bw      The writer.
 * @param data    The bytes; may be NULL only if @p length is 0.
 * @param length  How many; up to SSIZE_MAX.
 * @return how many bytes were accepted: @p length, or less as said above; or a code, and nothing was accepted:
 *         -EAGAIN     an inline sink is not ready; or #BW_NONBLOCK, or inside a callback, and it would have to wait;
 *         -EBUSY      (#BW_UNSHARED) a span is open;
 *         -EOVERFLOW  the position would pass INT64_MAX;
 *         -ESHUTDOWN  the writer is closed;
 *         #BW_EWRITEZERO  an inline sink took nothing;
 *         or the code of an inline sink, or the one that the writer holds (bw_error()).
 *
 * **Thread**: any, concurrently. **Lifetime**: @p data may be reused as soon as the call returns. **Blocking**: for
 * other threads in an inline sink; background and file writers while every buffer is in use.
 */
BW_API int64_t bw_write(bw_t *bw, const void *data, size_t length) BW_NOEXCEPT;

/**
 * Write bytes gathered from several places: as one bw_write() of all of them.
 *
 * Inline, a sink with `writev` gets the whole list at once if the total reaches `capacity`, else everything is copied.
 *
 * @param bw     The writer.
 * @param parts  The pieces, in order; may be NULL only if @p count is 0. Empty ones are skipped.
 * @param count  How many pieces; not limited by IOV_MAX.
 * @return as bw_write(), of the total.
 *
 * **Thread**: any, concurrently. **Lifetime**: @p parts and what they point to may be reused as soon as the call
 * returns. **Blocking**: as bw_write().
 */
BW_API int64_t bw_writev(bw_t *bw, const struct iovec *parts, int count) BW_NOEXCEPT;

/**
 * Append bytes and learn where in the stream they stand.
 *
 * Like bw_write(), but all or nothing: the whole of @p data is accepted, contiguous, or none of it. Where the sink
 * fails or is not ready once a part of @p data is with the sink or in buffers, the rest is kept in memory that is
 * allocated then, and the append has succeeded; if there is no memory, -ENOMEM says so, and that part stays accepted.
 * An append that finds too little room hands on the buffer being filled. Accepted is not yet durable: give the end
 * (the result plus @p length) to bw_wait() or bw_notify().
 *
 * @param bw      The writer; lanes too, whose positions are their own.
 * @param data    The bytes; may be NULL only if @p length is 0.
 * @param length  How many; up to SSIZE_MAX.
 * @return the stream position of the first byte; or a code, and (but for -ENOMEM) nothing was accepted:
 *         -EAGAIN    an inline sink is not ready; or #BW_NONBLOCK, or inside a callback, and it would have to wait;
 *         -ENOMEM    no memory to keep the rest when the sink stopped part-way: bw_tell() says how far it came;
 *         -EMSGSIZE  background or file writer with #BW_NONBLOCK: longer than `buffers` x `capacity`;
 *         -EBUSY, -EOVERFLOW, -ESHUTDOWN, #BW_EWRITEZERO  as bw_write();
 *         or the code of an inline sink, or the one that the writer holds (bw_error()).
 *
 * **Thread**: any, concurrently. **Lifetime**: @p data may be reused as soon as the call returns. **Blocking**: as
 * bw_write().
 */
BW_API int64_t bw_append(bw_t *bw, const void *data, size_t length) BW_NOEXCEPT;

/**
 * Append bytes gathered from several places: as one bw_append() of all of them.
 *
 * @param bw     The writer.
 * @param parts  The pieces, in order; may be NULL only if @p count is 0.
 * @param count  How many pieces; not limited by IOV_MAX.
 * @return as bw_append(), of the total.
 *
 * **Thread**: any, concurrently. **Lifetime**: @p parts and what they point to may be reused as soon as the call
 * returns. **Blocking**: as bw_append().
 */
BW_API int64_t bw_appendv(bw_t *bw, const struct iovec *parts, int count) BW_NOEXCEPT;

/** A range of the buffer, to be filled in place: from bw_reserve() to bw_commit(). Does not grow. */
typedef struct bw_span {
  void *data;       /**< Where to write. */
  size_t length;    /**< How many bytes lie there. */
  int64_t position; /**< The stream position of the first of them. */
  void *private_;   /**< The library's own. */
} bw_span_t;

/**
 * Reserve a range of the stream, to be filled in place.
 *
 * *Shared writers* give exactly @p length bytes. Any number of threads may have spans open, and commit them in any
 * order. Each is committed once, whole; it cannot be given back. A thread commits its span before it makes a call
 * that waits.
 *
 * *Unshared writers* give all that is left of the buffer, at least @p length bytes, to be filled piece by piece;
 * bw_commit() says how much was. Until it is committed every other call of this section except bw_tell() gives -EBUSY,
 * and so do the polls, bw_wait(), bw_set_sink(), bw_close() and bw_discard(); bw_buffer() and bw_buffered() do not
 * count it (a shared writer's bw_buffered() counts open spans).
 *
 * Meanwhile, on both: a flush waits for open spans below its position; bw_position() of #BW_ACCEPTED never passes an
 * open one; bw_unwritten() ends there; bw_discard() gives -EBUSY; bw_free() gives what lies beyond it to
 * #BW_EVENT_LOST.
 *
 * @param bw         The writer.
 * @param length     1 to `capacity`. Any of these fits an empty buffer, whatever the position.
 * @param[out] span  The range; unchanged on failure.
 * @return 0; or a code, and nothing is reserved:
 *         -EINVAL    @p length is 0, or @p span is NULL;
 *         -EMSGSIZE  @p length is over `capacity`;
 *         -EBUSY     (#BW_UNSHARED) a span is open;
 *         -EAGAIN, -EOVERFLOW, -ESHUTDOWN, #BW_EWRITEZERO  as bw_write();
 *         or the code of an inline sink, or the one that the writer holds (bw_error()).
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: the range may be written to until bw_commit(), by
 * any thread. **Blocking**: as bw_write().
 */
BW_API int bw_reserve(bw_t *bw, size_t length, bw_span_t *span) BW_NOEXCEPT;

/**
 * Commit a span: its bytes are accepted.
 *
 * @param bw    The writer that gave the span.
 * @param span  As bw_reserve() gave it; on success it is emptied and may be reused.
 * @param used  Shared writers: exactly span->length. Unshared ones: up to that; 0 cancels the span.
 * @return 0; or a code, and the span is still open:
 *         -EINVAL  @p used is more than was reserved, or less on a shared writer; or @p span is not an open span.
 *
 * **Thread**: any thread, also another than the one that reserved; unshared: the owner. **Lifetime**: the range is the
 * library's again. **Blocking**: never; on an inline writer it never calls the sink.
 */
BW_API int bw_commit(bw_t *bw, bw_span_t *span, size_t used) BW_NOEXCEPT;

/**
 * See to it that all bytes accepted so far have reached the sink; then call the sink's `flush`.
 *
 * Waits for the spans that are open below the position at the call, and for no others.
 *
 * @param bw  The writer. A lane hands on, then flushes its parent.
 * @return 0; or a code, and every byte that the sink did not take is kept:
 *         -EAGAIN     an inline sink is not ready; or #BW_NONBLOCK, or inside a callback, and it would have to wait;
 *         -EBUSY      (#BW_UNSHARED) a span is open;
 *         -ESHUTDOWN  the writer is closed;
 *         #BW_EWRITEZERO  the sink took nothing;
 *         or the sink's code, or the one that the writer holds (bw_error()).
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: nothing changes hands. **Blocking**: for other
 * threads in the sink, for open spans and, on background writers, until the bytes are written.
 */
BW_API int bw_flush(bw_t *bw) BW_NOEXCEPT;

/**
 * bw_flush(), then make durable what was flushed.
 *
 * Threads that want durability at the same time share one sync. A failed sync is final, see bw_error().
 *
 * @param bw  The writer. A lane hands on, then syncs its parent.
 * @return 0; or a code:
 *         -EOPNOTSUPP  the sink has no `sync`, or the descriptor cannot be synced; the flush has been done;
 *         -EAGAIN, -EBUSY, -ESHUTDOWN, #BW_EWRITEZERO  as bw_flush();
 *         or the sink's code, or the one that the writer holds (bw_error()), for ever the code of a failed sync.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: nothing changes hands. **Blocking**: as
 * bw_flush(), and until the sync is done.
 */
BW_API int bw_sync(bw_t *bw) BW_NOEXCEPT;

/**
 * Flush, then move the sink to another offset.
 *
 * The new position P is where the next byte goes. The durable position is then at most P and no more than it was, and
 * P again after the next sync. Positions that other threads had before mean nothing then; waiters for positions
 * beyond P get -ECANCELED. A seek that bw_start_seek() remembered stays remembered.
 *
 * @param bw      The writer.
 * @param offset  As lseek(2).
 * @param whence  SEEK_SET, SEEK_CUR or SEEK_END, or what else the sink knows.
 * @return the new position; or a code:
 *         -ESPIPE     the sink has no `seek`, the descriptor has no offset, or @p bw is a lane;
 *         -EAGAIN, -EBUSY, -ESHUTDOWN, #BW_EWRITEZERO  as bw_flush(), and nothing has moved;
 *         or the sink's code, or the one that the writer holds (bw_error()).
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: nothing changes hands. **Blocking**: as bw_flush().
 */
BW_API int64_t bw_seek(bw_t *bw, int64_t offset, int whence) BW_NOEXCEPT;

/**
 * Where the next byte goes.
 *
 * On a shared writer that others write to, the answer may be old when it arrives: use bw_append() to learn where bytes
 * have landed.
 *
 * @param bw  The writer; also while a span is open, and after bw_close().
 * @return the position; or a code of the conventions.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: nothing changes hands. **Blocking**: never.
 */
BW_API int64_t bw_tell(bw_t *bw) BW_NOEXCEPT;

/**
 * Read, straight from the sink.
 *
 * Nothing is flushed: buffered bytes stay buffered, and land where the sink then stands. A file writer flushes, reads
 * at bw_tell(), and moves on by what was read as bw_seek() does; with O_APPEND it reads at a position of its own.
 *
 * @param bw         The writer.
 * @param[out] data  Where to; may be NULL only if @p length is 0.
 * @param length     At most how many bytes; up to SSIZE_MAX.
 * @return how many bytes were read, 0 at the end; or a code:
 *         -EBADF      the sink has no `read`, or the descriptor is write-only;
 *         -EAGAIN     the sink is not ready; or #BW_NONBLOCK, or inside a callback, and it would have to wait;
 *         -EBUSY      (#BW_UNSHARED) a span is open;
 *         -ESHUTDOWN  the writer is closed;
 *         or the sink's code.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: @p data is the caller's; it is not kept.
 * **Blocking**: for other threads in the sink, and while the sink reads.
 */
BW_API int64_t bw_read(bw_t *bw, void *data, size_t length) BW_NOEXCEPT;

/** @} */

/**
 * @name 4. Polling
 *
 * The calls of section 3 for event loops and async runtimes. A poll does what it can and never waits. Where it would
 * have to, for room, for a sink that is not ready, for another thread in the sink or for an open span, it gives
 * -EAGAIN, keeps `wake`, and calls it once, from any thread, when it is worth polling again, at the latest in
 * bw_free(). A {wake, arg} that still waits is not added a second time. `wake` may be NULL: nobody is called.
 *
 * Each poll may also give -ENOMEM: there is no memory for the waker, which then is not kept and never called.
 * With #BW_UNSHARED, all of them give -EBUSY while a span is open.
 * @{
 */

/** Whom to call when a poll is worth trying again. Copied by the poll. Does not grow. */
typedef struct bw_waker {
  void (*wake)(void *arg); /**< Called under convention 8; must not be NULL. */
  void *arg;               /**< Its argument. {wake, arg} together tell wakers apart. */
} bw_waker_t;

/**
 * bw_write() as a poll.
 *
 * Makes at most one bypassing call of an inline sink, and may return a short count, as that call does; what the
 * call says is handed through, 0 and -EINTR too.
 *
 * @param bw      The writer.
 * @param data    The bytes; may be NULL only if @p length is 0.
 * @param length  How many; up to SSIZE_MAX.
 * @param wake    Copied; may be NULL.
 * @return how many bytes were accepted; 0 for more than 0 bytes only where the bypassed sink said so; or a code, and
 *         nothing was accepted:
 *         -EAGAIN  pending: @p wake will be called;
 *         -EINTR   the bypassed sink said so;
 *         -EINVAL  also: wake->wake is NULL;
 *         -ENOMEM  no memory for the waker;
 *         else as bw_write().
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: @p data may be reused as soon as the call returns;
 * wake->arg must live until the waker was called or taken back. **Blocking**: never, if the sink does not.
 */
BW_API int64_t bw_poll_write(bw_t *bw, const void *data, size_t length, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * bw_writev() as a poll; see bw_poll_write().
 *
 * @param bw     The writer.
 * @param parts  The pieces, in order; may be NULL only if @p count is 0.
 * @param count  How many pieces.
 * @param wake   Copied; may be NULL.
 * @return as bw_poll_write(), of the total.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: as bw_poll_write(). **Blocking**: never, if the
 * sink does not.
 */
BW_API int64_t bw_poll_writev(bw_t *bw, const struct iovec *parts, int count, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * bw_append() as a poll: all or nothing.
 *
 * @param bw      The writer.
 * @param data    The bytes; may be NULL only if @p length is 0.
 * @param length  How many: on inline writers up to SSIZE_MAX, on others up to `buffers` x `capacity`.
 * @param wake    Copied; may be NULL.
 * @return the stream position of the first byte; or a code, and (but for -ENOMEM) nothing was accepted:
 *         -EAGAIN    pending: @p wake will be called;
 *         -EMSGSIZE  background or file writer: longer than all its buffers together;
 *         -ENOMEM    no memory for the waker, and nothing was accepted; or as bw_append(): bw_tell() says which;
 *         else as bw_append().
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: as bw_poll_write(). **Blocking**: never, if the
 * sink does not.
 */
BW_API int64_t bw_poll_append(bw_t *bw, const void *data, size_t length, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * bw_appendv() as a poll; see bw_poll_append().
 *
 * @param bw     The writer.
 * @param parts  The pieces, in order; may be NULL only if @p count is 0.
 * @param count  How many pieces.
 * @param wake   Copied; may be NULL.
 * @return as bw_poll_append(), of the total.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: as bw_poll_write(). **Blocking**: never, if the
 * sink does not.
 */
BW_API int64_t bw_poll_appendv(bw_t *bw, const struct iovec *parts, int count, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * bw_flush() as a poll, for what was accepted before this poll.
 *
 * Each poll aims anew at all that is accepted, so where others keep writing it may stay pending: use bw_append() and
 * bw_notify() there.
 *
 * @param bw    The writer.
 * @param wake  Copied; may be NULL.
 * @return 0: done; or a code:
 *         -EAGAIN  pending: @p wake will be called;
 *         -ENOMEM  no memory for the waker;
 *         else as bw_flush().
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: as bw_poll_write(). **Blocking**: never, if the
 * sink does not.
 */
BW_API int bw_poll_flush(bw_t *bw, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * bw_sync() as a poll, for what was accepted before this poll; see bw_poll_flush().
 *
 * @param bw    The writer.
 * @param wake  Copied; may be NULL.
 * @return 0: done; or a code:
 *         -EAGAIN  pending: @p wake will be called;
 *         -ENOMEM  no memory for the waker;
 *         else as bw_sync().
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: as bw_poll_write(). **Blocking**: never, if the
 * sink does not.
 */
BW_API int bw_poll_sync(bw_t *bw, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * bw_read() as a poll.
 *
 * @param bw         The writer.
 * @param[out] data  Where to; may be NULL only if @p length is 0.
 * @param length     At most how many bytes; up to SSIZE_MAX.
 * @param wake       Copied; may be NULL.
 * @return how many bytes were read, 0 at the end; or a code:
 *         -EAGAIN  pending: @p wake will be called;
 *         -ENOMEM  no memory for the waker;
 *         else as bw_read().
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: @p data is not kept, also not by -EAGAIN; the
 * waker as bw_poll_write(). **Blocking**: never, if the sink does not.
 */
BW_API int64_t bw_poll_read(bw_t *bw, void *data, size_t length, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * Remember a seek, in place of one remembered before. bw_poll_seek() does it.
 *
 * @param bw      The writer.
 * @param offset  As bw_seek().
 * @param whence  As bw_seek().
 * @return 0; or a code: -ESPIPE (a lane), -EBUSY, -ESHUTDOWN as bw_seek(). What the sink has to say comes with
 *         bw_poll_seek().
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: nothing changes hands. **Blocking**: never; the
 * sink is not called.
 */
BW_API int bw_start_seek(bw_t *bw, int64_t offset, int whence) BW_NOEXCEPT;

/**
 * Do the seek that is remembered: flush, then move as bw_seek() does.
 *
 * If none is remembered the position is the answer. A failed flush keeps the seek remembered, a failed seek ends it.
 *
 * @param bw    The writer.
 * @param wake  Copied; may be NULL.
 * @return the new position; or a code:
 *         -EAGAIN  pending: @p wake will be called;
 *         -ENOMEM  no memory for the waker;
 *         else as bw_seek().
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: as bw_poll_write(). **Blocking**: never, if the
 * sink does not.
 */
BW_API int64_t bw_poll_seek(bw_t *bw, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * bw_close() as a poll.
 *
 * @param bw    The writer.
 * @param wake  Copied; may be NULL.
 * @return 0: closed; or a code:
 *         -EAGAIN  pending: @p wake will be called;
 *         -ENOMEM  no memory for the waker;
 *         else as bw_close().
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: as bw_close(); the waker as bw_poll_write().
 * **Blocking**: never, if the sink does not.
 */
BW_API int bw_poll_close(bw_t *bw, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * Take a waker back.
 *
 * @param bw    The writer that was polled.
 * @param wake  The same {wake, arg}; NULL: -EINVAL.
 * @return 1: it was waiting, is taken back and will not be called; 0: it was not waiting (it was called, or never
 *         kept). Either way, no call of it runs on another thread once this has returned: what `arg` points to may be
 *         freed.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: the waker is the caller's again. **Blocking**:
 * while another thread is in a call of this waker; inside callbacks too.
 */
BW_API int bw_unwake(bw_t *bw, const bw_waker_t *wake) BW_NOEXCEPT;

/**
 * Tell the writer that a sink which said -EAGAIN is ready.
 *
 * Background writers ask the sink again, wakers are called, bw_wait() goes on. A wake-up that comes after the sink call
 * that said -EAGAIN began is not lost, so it may come from inside that very call; earlier ones count for nothing.
 *
 * @param bw  The writer.
 * @return 0, or a code of the conventions.
 *
 * **Thread**: any, at any time, also inside the sink. **Lifetime**: @p bw must not be freed meanwhile. **Blocking**:
 * never.
 */
BW_API int bw_wake(bw_t *bw) BW_NOEXCEPT;

/**
 * A descriptor to poll for bw_poll_events().
 *
 * It is readable (level-triggered) while there is something to write, something has ended, a callback is due, or a
 * buffer has waited for `linger_us`. It is a hint: bw_poll_events() may find nothing to do, and may always be called.
 *
 * @param bw  The writer.
 * @return the descriptor, which stays the writer's; or a code:
 *         -EINVAL      @p bw is NULL;
 *         -EOPNOTSUPP  the writer is not #BW_CALLER_DRIVEN;
 *         -ECHILD      in a forked child.
 *
 * **Thread**: any. **Lifetime**: until bw_free(). **Blocking**: never.
 */
BW_API int bw_event_fd(bw_t *bw) BW_NOEXCEPT;

/**
 * Drive a #BW_CALLER_DRIVEN writer.
 *
 * Starts the writes and syncs that are due, looks at those that have ended, and calls the callbacks that are due.
 * Callbacks run only here, in bw_close() and in bw_free(). With io_uring nothing is waited for; without it the call
 * writes and syncs itself.
 *
 * @param bw  The writer.
 * @return how many callbacks ran; or a code:
 *         -EINVAL      @p bw is NULL;
 *         -EOPNOTSUPP  the writer is not #BW_CALLER_DRIVEN;
 *         -EDEADLK     in a callback of a sink of this writer;
 *         -ECHILD      in a forked child.
 *
 * **Thread**: any, one at a time calls the callbacks. **Lifetime**: nothing is kept. **Blocking**: for the file, where
 * there is no io_uring.
 */
BW_API int bw_poll_events(bw_t *bw) BW_NOEXCEPT;

/** @} */

/**
 * @name 5. How far the bytes have come
 * @{
 */

/**
 * The position below which every byte is accepted, written or durable.
 *
 * Never moves back, except by a seek and by bw_discard(), which answer waiters beyond the new position with -ECANCELED.
 * Never too high; while other threads are inside a call it may be a little behind what they, or the caller, have had
 * accepted.
 *
 * @param bw     The writer; a lane has positions of its own.
 * @param level  #BW_ACCEPTED (up to the oldest open span), #BW_WRITTEN or #BW_DURABLE.
 * @return the position; or -EINVAL: no such level.
 *
 * **Thread**: any, at any time, also inside callbacks and the sink. **Lifetime**: nothing changes hands. **Blocking**:
 * never.
 */
BW_API int64_t bw_position(bw_t *bw, int level) BW_NOEXCEPT;

/**
 * Wait until bw_position() of @p level is at least @p position, and see to it.
 *
 * For what is accepted by then, #BW_WRITTEN flushes and #BW_DURABLE syncs; threads that wait, in bw_sync() too, share
 * one sync. What is accepted later is looked at when a buffer is handed on, flushed or synced. So a wait for a position
 * that nothing has reached yet, on #BW_ACCEPTED too, lasts until others have written that far. Where the sink
 * says -EAGAIN, the call waits for bw_wake() and tries again, on inline writers and with #BW_NONBLOCK too.
 *
 * @param bw          The writer.
 * @param position    The end of what is to be waited for: of bytes at p with length n, p + n.
 * @param level       #BW_ACCEPTED, #BW_WRITTEN or #BW_DURABLE.
 * @param timeout_us  Microseconds; below 0: for ever. It bounds waiting, not an I/O that the waiter does itself; with
 *                    0 it does none.
 * @return 0; or a code:
 *         -ETIMEDOUT   not within @p timeout_us;
 *         -EINVAL      no such level;
 *         -ECANCELED   a seek or bw_discard() moved the end below @p position;
 *         -ESHUTDOWN   the writer was closed below @p position;
 *         -EOPNOTSUPP  #BW_DURABLE, and the sink cannot sync;
 *         -EBUSY       (#BW_UNSHARED) a span is open;
 *         -EAGAIN      inside a callback, and it would have to wait;
 *         or the sink's code, or the one that the writer holds (bw_error()).
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: nothing changes hands. **Blocking**: as said.
 */
BW_API int bw_wait(bw_t *bw, int64_t position, int level, int64_t timeout_us) BW_NOEXCEPT;

/**
 * Be told when bw_position() of @p level is at least @p position.
 *
 * @p done is called exactly once, with 0 or a code, in position order for each level, never inside bw_notify() or a
 * write. #BW_DURABLE sees to it that the position gets durable; #BW_WRITTEN only watches. On an unshared writer the
 * call comes from the owner's flush, sync, wait, poll or close, which sync for #BW_DURABLE. A shared inline writer
 * gets a thread of ours by its first bw_notify(). While an error is held, positions that are not yet reached are
 * answered with its code; other codes are those of bw_wait(), and of bw_free().
 *
 * @param bw        The writer.
 * @param position  As bw_wait().
 * @param level     #BW_ACCEPTED, #BW_WRITTEN or #BW_DURABLE.
 * @param done      Called under convention 8.
 * @param arg       Its first argument.
 * @return 0: @p done will be called; or a code, and it never will:
 *         -EINVAL      no such level, or @p done is NULL;
 *         -EOPNOTSUPP  #BW_DURABLE, and the sink cannot sync;
 *         -ESHUTDOWN   the writer was closed below @p position;
 *         -ENOMEM      no memory for the note;
 *         -EAGAIN      no thread could be had.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: what @p arg points to must live until @p done was
 * called. **Blocking**: never.
 */
BW_API int bw_notify(bw_t *bw, int64_t position, int level, void (*done)(void *arg, int code), void *arg) BW_NOEXCEPT;

/** @} */

/**
 * @name 6. When the sink fails
 *
 * A failed write keeps every byte that the sink did not take. What happens next depends on the writer:
 *  - *Inline* writers report the code to the caller and try again at the next call, from the first byte not taken:
 *    never twice, never skipped.
 *  - *Background* writers, unshared or not, hold the code: bw_error() gives it, and every write, flush, sync and
 *    close is refused with it, until bw_resume() or bw_set_sink().
 *
 * A failed sync is final, for the system may have dropped the bytes and a second sync would lie. bw_error(), bw_sync()
 * and waits for #BW_DURABLE give its code for ever, on inline writers too; background and file writers also refuse
 * writes and flushes; bw_resume() gives -EIO; bw_close() is not refused. bw_set_sink() lets bytes flow again, but never
 * makes durable what was there. -EOPNOTSUPP, -EAGAIN and -EINTR from a sync are no failure.
 *
 * Codes name the true cause: -EFBIG at the limit of RLIMIT_FSIZE, also where O_DIRECT would say -EINVAL.
 * @{
 */

/**
 * The code that the writer holds.
 *
 * @param bw  The writer.
 * @return 0: none; or the code: of a background writer's failed write, of a failed sync, or #BW_ESINK.
 *
 * **Thread**: any, at any time, also inside callbacks and the sink. **Lifetime**: nothing changes hands. **Blocking**:
 * never.
 */
BW_API int bw_error(bw_t *bw) BW_NOEXCEPT;

/**
 * Let go of a held error and try again, from the first byte that was not taken.
 *
 * @param bw  The writer.
 * @return 0, also if none was held; or a code:
 *         -EIO       a sync has failed, which is final;
 *         #BW_ESINK  the sink's state is unknown: bw_set_sink() or bw_discard();
 *         -EAGAIN    inside a callback, and it would have to wait.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: nothing changes hands. **Blocking**: while
 * another thread is at the end of the stream.
 */
BW_API int bw_resume(bw_t *bw) BW_NOEXCEPT;

/**
 * Go on with another sink: it gets the unwritten bytes, then what follows.
 *
 * A held error is let go of (a failed sync stays what it is, for bw_sync() and #BW_DURABLE). Positions go on as they
 * were. The old sink is not closed: its `ctx` is the caller's again. Only our own dup of bw_fdopen(), or file of
 * bw_open(), is. The writer stays what it is in all else: thread, buffers, options; the new sink's callbacks are called
 * from then on, and bw_close() does not sync. What a file has beyond #BW_WRITTEN is given again.
 *
 * A sync asks the sink that is in place: what the old one took and never synced counts as durable with the next sync
 * that succeeds. Where that matters, sync before, or keep the old sink and sync it.
 *
 * @param bw    The writer; not a lane.
 * @param sink  Copied, as by bw_new().
 * @param ctx   The first argument of its callbacks.
 * @return 0; or a code, and the old sink is still in place:
 *         -EINVAL     @p bw is a lane, @p sink is NULL, its `write` is missing, its size is 0, or a flag is unknown;
 *         -E2BIG      a field that this library does not know is set;
 *         -EBUSY      (#BW_UNSHARED) a span is open;
 *         -EAGAIN     inside a callback, and it would have to wait;
 *         -ESHUTDOWN  the writer is closed.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: @p ctx as bw_new(); the old one is no longer
 * used. **Blocking**: while a call of the old sink is under way.
 */
BW_API int bw_set_sink(bw_t *bw, const bw_sink_t *sink, void *ctx) BW_NOEXCEPT;

/**
 * Visit the unwritten bytes, in order, once the writes in flight have ended.
 *
 * They end at the oldest open span. The bytes stay where they are.
 *
 * @param bw    The writer.
 * @param each  Called for each run of bytes, under convention 7; may be NULL.
 * @param arg   Its first argument.
 * @return how many they are: bw_position() of #BW_ACCEPTED minus that of #BW_WRITTEN; or a code:
 *         -EAGAIN  inside a callback, and it would have to wait.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: what @p each is given is valid during its call.
 * **Blocking**: for writes in flight.
 */
BW_API int64_t bw_unwritten(bw_t *bw, void (*each)(void *arg, const void *data, size_t length), void *arg) BW_NOEXCEPT;

/**
 * Forget the unwritten bytes.
 *
 * The accepted position goes back to the written one, and waiters beyond it get -ECANCELED. A held #BW_ESINK is let
 * go of; other held errors stay. bw_unwritten(), then this, is how to take everything back.
 *
 * @param bw  The writer.
 * @return how many bytes were forgotten; or a code, and none were:
 *         -EBUSY   a span is open;
 *         -EAGAIN  #BW_NONBLOCK, or inside a callback, and it would have to wait.
 *
 * **Thread**: any, concurrently; unshared: the owner. **Lifetime**: nothing changes hands. **Blocking**: for writes in
 * flight.
 */
BW_API int64_t bw_discard(bw_t *bw) BW_NOEXCEPT;

/** @} */

/**
 * @name 7. Looking inside
 * @{
 */

/**
 * The bytes in the buffer that is being filled.
 *
 * @param bw           The writer.
 * @param[out] length  How many; may be NULL.
 * @return the bytes of an unshared writer, without those of an open span; NULL, and 0 for @p length, for a shared one.
 *
 * **Thread**: the owner; several threads, while the owner makes no call. **Lifetime**: valid until the next call on the
 * writer. **Blocking**: never.
 */
BW_API const void *bw_buffer(bw_t *bw, size_t *length) BW_NOEXCEPT;

/**
 * How many bytes are in the buffers: in the writer's care, and not taken by the sink.
 *
 * @param bw  The writer.
 * @return how many; those of open spans count on a shared writer, not on an unshared one.
 *
 * **Thread**: any, at any time, also inside callbacks and the sink. **Lifetime**: nothing changes hands. **Blocking**:
 * never.
 */
BW_API size_t bw_buffered(bw_t *bw) BW_NOEXCEPT;

/**
 * How many bytes one buffer holds.
 *
 * @param bw  The writer.
 * @return bw_options_t::capacity, or the default that stood for it.
 *
 * **Thread**: the owner; several threads, while the owner makes no call. Shared writers: any, at any time.
 * **Lifetime**: nothing changes hands. **Blocking**: never.
 */
BW_API size_t bw_capacity(bw_t *bw) BW_NOEXCEPT;

/**
 * The first argument of the sink's callbacks.
 *
 * @param bw  The writer.
 * @return what bw_new() or bw_set_sink() was given last; NULL for descriptors and lanes.
 *
 * **Thread**: any, but not during bw_set_sink(); unshared: the owner. **Lifetime**: the pointer is the caller's own.
 * **Blocking**: never.
 */
BW_API void *bw_context(bw_t *bw) BW_NOEXCEPT;

/** How long something took, over all times it happened. Percentiles are estimates from a histogram. */
typedef struct bw_latency {
  uint64_t count;   /**< How often it happened. */
  uint64_t p50_ns;  /**< Half of the times were at most this long. */
  uint64_t p90_ns;  /**< 90 % were. */
  uint64_t p99_ns;  /**< 99 % were. */
  uint64_t p999_ns; /**< 99.9 % were. */
  uint64_t max_ns;  /**< The longest. */
} bw_latency_t;

/** What a writer has done so far. Begin with #BW_STATS_INIT, or set `size`. */
typedef struct bw_stats {
  uint32_t size;               /**< sizeof(bw_stats_t), as the caller compiled it; stays as it is. */
  uint32_t engine;             /**< Files: BW_ENGINE_* in use; 0 for sinks. */
  uint64_t accepted_bytes;     /**< Bytes accepted. */
  uint64_t written_bytes;      /**< Bytes that the sink took. */
  uint64_t durable_bytes;      /**< Bytes made durable. */
  uint64_t writes;             /**< Pieces accepted: writes, appends and commits. */
  uint64_t sink_writes;        /**< Calls of the sink's `write` and `writev`. */
  uint64_t bypasses;           /**< Writes that went past the buffer. */
  uint64_t flushes;            /**< Flushes done. */
  uint64_t syncs;              /**< Syncs done; one serves all who wait. */
  uint64_t waits;              /**< How often a thread waited for room. */
  uint64_t errors;             /**< Failures of the sink. */
  uint64_t resumes;            /**< How often a held error was let go of. */
  uint32_t buffers;            /**< How many buffers there are. */
  uint32_t buffers_in_use;     /**< Handed on and not yet taken: how full. */
  uint32_t direct;             /**< Files: 1 if O_DIRECT is in use. */
  uint32_t registered_buffers; /**< Files: 1 if buffers are registered with the kernel. */
  bw_latency_t write_wait;     /**< Time waited for room. */
  bw_latency_t sink_write;     /**< Time of one call of the sink's `write` or `writev`. */
  bw_latency_t sync;           /**< Time of one sync. */
  uint32_t own_slots;          /**< 1: each thread counts its copies on a line of its own (membarrier(2) is there). */
  uint32_t reserved;           /**< 0. */
} bw_stats_t;

/** A bw_stats_t with its size set and zero in all else. */
#define BW_STATS_INIT                                                                                             \
  {sizeof(bw_stats_t), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0}, \
   {0, 0, 0, 0, 0, 0}, 0, 0}

/**
 * Read the statistics.
 *
 * At most stats->size bytes are filled in. A caller with a shorter struct gets the fields that it knows; in a longer
 * one, what this library does not know stays as it is. Counts may lag while writes are under way.
 *
 * @param bw             The writer.
 * @param[in,out] stats  `size` must be set.
 * @return 0; or -EINVAL: @p stats is NULL, or its size is 0.
 *
 * **Thread**: any, at any time, also inside callbacks and the sink. **Lifetime**: @p stats is the caller's.
 * **Blocking**: never; it is cheap.
 */
BW_API int bw_get_stats(bw_t *bw, bw_stats_t *stats) BW_NOEXCEPT;

/**
 * The statistics as one JSON object, with the names of bw_stats_t.
 *
 * @param bw         The writer.
 * @param[out] text  Where to; always ends with a NUL if @p size > 0. May be NULL if @p size is 0.
 * @param size       How many bytes lie there.
 * @return the length of the whole text without its NUL, as snprintf(3): if it is @p size or more, the text is cut.
 *
 * **Thread**: any, at any time, also inside callbacks and the sink. **Lifetime**: @p text is the caller's.
 * **Blocking**: never.
 */
BW_API int64_t bw_stats_json(bw_t *bw, char *text, size_t size) BW_NOEXCEPT;

/**
 * What a code means, as text.
 *
 * @param code  A code that a function returned: 0, `-errno`, or one of our own.
 * @return static text in English, never NULL; "success" for 0, "unknown error" for what is no code.
 *
 * **Thread**: any. **Lifetime**: the text is static. **Blocking**: never.
 */
BW_API const char *bw_strerror(int code) BW_NOEXCEPT;

/**
 * The name of a code.
 *
 * @param code  A code that a function returned: 0, `-errno`, or one of our own.
 * @return static text, never NULL: "EAGAIN", "BW_EWRITEZERO"; "OK" for 0, "UNKNOWN" for what is no code.
 *
 * **Thread**: any. **Lifetime**: the text is static. **Blocking**: never.
 */
BW_API const char *bw_err_name(int code) BW_NOEXCEPT;

/**
 * The version of the library at run time; compare with #BW_VERSION.
 *
 * @return major << 16 | minor << 8 | patch.
 *
 * **Thread**: any. **Lifetime**: nothing changes hands. **Blocking**: never.
 */
BW_API unsigned bw_version(void) BW_NOEXCEPT;

/**
 * The version of the library at run time, as text.
 *
 * @return "major.minor.patch", static.
 *
 * **Thread**: any. **Lifetime**: the text is static. **Blocking**: never.
 */
BW_API const char *bw_version_string(void) BW_NOEXCEPT;

/**
 * Allocate zeroed memory that begins at a multiple of 4096, as O_DIRECT wants it.
 *
 * @param size  A multiple of 4096, not 0.
 * @return the memory; or NULL, and errno is EINVAL (@p size is not as said) or ENOMEM.
 *
 * **Thread**: any. **Lifetime**: the caller's, until bw_free_aligned(). **Blocking**: never.
 */
BW_API void *bw_alloc_aligned(size_t size) BW_NOEXCEPT;

/**
 * Give back what bw_alloc_aligned() gave.
 *
 * @param block  The memory; NULL: nothing is done.
 *
 * **Thread**: any. **Lifetime**: @p block is gone. **Blocking**: never.
 */
BW_API void bw_free_aligned(void *block) BW_NOEXCEPT;

/** @} */

#ifdef __cplusplus
}
#endif

/* Section 8. It needs what stands above. */
#include <bw/batch.h>

#endif
