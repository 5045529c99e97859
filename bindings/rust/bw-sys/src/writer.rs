//! bw.h: writers.

use core::ffi::{c_char, c_int, c_uint, c_void};
use core::marker::{PhantomData, PhantomPinned};
use core::ptr::null_mut;

use libc::iovec;

/// A writer: a shared, unshared, background or file one, or a lane. Opaque.
#[repr(C)]
pub struct bw_t {
    _opaque: [u8; 0],
    _neither_send_nor_unpin: PhantomData<(*mut u8, PhantomPinned)>,
}

// ---- 1. Sinks ----

/// The callbacks that take a writer's bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct bw_sink_t {
    /// The size of this struct.
    pub size: u32,
    /// None yet: 0.
    pub flags: u32,
    /// Takes bytes and returns how many. Required.
    pub write: Option<unsafe extern "C" fn(ctx: *mut c_void, data: *const c_void, length: usize) -> i64>,
    /// The same for parts that follow one another.
    pub writev: Option<unsafe extern "C" fn(ctx: *mut c_void, parts: *const iovec, count: c_int) -> i64>,
    /// Passes on what the sink itself has buffered.
    pub flush: Option<unsafe extern "C" fn(ctx: *mut c_void) -> c_int>,
    /// As lseek(2).
    pub seek: Option<unsafe extern "C" fn(ctx: *mut c_void, offset: i64, whence: c_int) -> i64>,
    /// As read(2).
    pub read: Option<unsafe extern "C" fn(ctx: *mut c_void, data: *mut c_void, length: usize) -> i64>,
    /// Makes durable what was taken.
    pub sync: Option<unsafe extern "C" fn(ctx: *mut c_void) -> c_int>,
    /// The sink is no longer needed.
    pub close: Option<unsafe extern "C" fn(ctx: *mut c_void) -> c_int>,
}

/// A sink with its size set and no callbacks.
pub const BW_SINK_INIT: bw_sink_t = bw_sink_t {
    size: size_of::<bw_sink_t>() as u32,
    flags: 0,
    write: None,
    writev: None,
    flush: None,
    seek: None,
    read: None,
    sync: None,
    close: None,
};

// ---- 2. Making and ending a writer ----

/// One thread at a time uses this writer.
pub const BW_UNSHARED: u32 = 1 << 0;
/// -EAGAIN instead of waiting.
pub const BW_NONBLOCK: u32 = 1 << 1;
/// A thread of the library writes to the sink.
pub const BW_BACKGROUND: u32 = 1 << 2;
/// Files: everything through the page cache.
pub const BW_BUFFERED: u32 = 1 << 3;
/// Files: no thread of the library; the caller drives the writer.
pub const BW_CALLER_DRIVEN: u32 = 1 << 4;

/// Files: the best engine that the system allows. In statistics: none, a sink.
pub const BW_ENGINE_AUTO: u32 = 0;
/// Files: io_uring.
pub const BW_ENGINE_URING: u32 = 1;
/// Files: pwrite(2).
pub const BW_ENGINE_PWRITE: u32 = 2;

/// A byte is in the writer's care.
pub const BW_ACCEPTED: c_int = 0;
/// It is taken by the sink.
pub const BW_WRITTEN: c_int = 1;
/// It is safe from a power cut.
pub const BW_DURABLE: c_int = 2;

/// Buffers in use have risen to `high_percent` of all.
pub const BW_EVENT_PRESSURE_ON: u32 = 1;
/// They have fallen to `low_percent` of all.
pub const BW_EVENT_PRESSURE_OFF: u32 = 2;
/// A write or a sync failed.
pub const BW_EVENT_ERROR: u32 = 3;
/// Bytes have reached the sink.
pub const BW_EVENT_WRITTEN: u32 = 4;
/// Everything below a position is durable.
pub const BW_EVENT_DURABLE: u32 = 5;
/// `bw_free` could not write these bytes.
pub const BW_EVENT_LOST: u32 = 6;

/// What `on_event` is told.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct bw_event_t {
    /// The size of this struct as the library was compiled.
    pub size: u32,
    /// `BW_EVENT_*`.
    pub kind: u32,
    /// A stream position, where the kind has one.
    pub position: i64,
    /// A number of bytes, where the kind has one.
    pub length: u64,
    /// The bytes that are lost.
    pub data: *const c_void,
    /// The code of an error or a loss.
    pub code: i32,
    /// 0.
    pub reserved: u32,
}

/// How a writer is to be.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct bw_options_t {
    /// The size of this struct.
    pub size: u32,
    /// The flags for writers, or'ed.
    pub flags: u32,
    /// Bytes in one buffer.
    pub capacity: u64,
    /// How many buffers.
    pub buffers: u32,
    /// Files: `BW_ENGINE_*`.
    pub engine: u32,
    /// When a part-filled buffer is handed on, in microseconds.
    pub linger_us: u64,
    /// Files: the step in which disk space is reserved.
    pub preallocate: u64,
    /// Where "pressure on" is told.
    pub high_percent: u32,
    /// Where "pressure off" is told.
    pub low_percent: u32,
    /// Told of events.
    pub on_event: Option<unsafe extern "C" fn(arg: *mut c_void, event: *const bw_event_t)>,
    /// The first argument of `on_event`.
    pub event_arg: *mut c_void,
}

/// Options with their size set and all defaults.
pub const BW_OPTIONS_INIT: bw_options_t = bw_options_t {
    size: size_of::<bw_options_t>() as u32,
    flags: 0,
    capacity: 0,
    buffers: 0,
    engine: 0,
    linger_us: 0,
    preallocate: 0,
    high_percent: 0,
    low_percent: 0,
    on_event: None,
    event_arg: null_mut(),
};

unsafe extern "C" {
    /// Make a writer over callbacks.
    pub fn bw_new(out: *mut *mut bw_t, sink: *const bw_sink_t, ctx: *mut c_void, options: *const bw_options_t)
    -> c_int;
    /// Make a writer over a descriptor.
    pub fn bw_fdopen(out: *mut *mut bw_t, fd: c_int, options: *const bw_options_t) -> c_int;
    /// Make a file writer.
    pub fn bw_open(
        out: *mut *mut bw_t,
        path: *const c_char,
        oflags: c_int,
        mode: c_uint,
        options: *const bw_options_t,
    ) -> c_int;
    /// Make a lane in front of a shared writer.
    pub fn bw_lane(out: *mut *mut bw_t, parent: *mut bw_t, options: *const bw_options_t) -> c_int;
    /// Write out everything and close.
    pub fn bw_close(bw: *mut bw_t) -> c_int;
    /// Give the writer back.
    pub fn bw_free(bw: *mut bw_t);
}

// ---- 3. Writing ----

/// A range of the buffer, to be filled in place.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct bw_span_t {
    /// Where to write.
    pub data: *mut c_void,
    /// How many bytes lie there.
    pub length: usize,
    /// The stream position of the first of them.
    pub position: i64,
    /// The library's own.
    pub private_: *mut c_void,
}

unsafe extern "C" {
    /// Write bytes.
    pub fn bw_write(bw: *mut bw_t, data: *const c_void, length: usize) -> i64;
    /// Write bytes gathered from several places.
    pub fn bw_writev(bw: *mut bw_t, parts: *const iovec, count: c_int) -> i64;
    /// Append bytes and learn where in the stream they stand.
    pub fn bw_append(bw: *mut bw_t, data: *const c_void, length: usize) -> i64;
    /// Append bytes gathered from several places.
    pub fn bw_appendv(bw: *mut bw_t, parts: *const iovec, count: c_int) -> i64;
    /// Reserve a range of the stream, to be filled in place.
    pub fn bw_reserve(bw: *mut bw_t, length: usize, span: *mut bw_span_t) -> c_int;
    /// Commit a span.
    pub fn bw_commit(bw: *mut bw_t, span: *mut bw_span_t, used: usize) -> c_int;
    /// See to it that all bytes accepted so far reach the sink.
    pub fn bw_flush(bw: *mut bw_t) -> c_int;
    /// Flush, then make durable.
    pub fn bw_sync(bw: *mut bw_t) -> c_int;
    /// Flush, then move the sink to another offset.
    pub fn bw_seek(bw: *mut bw_t, offset: i64, whence: c_int) -> i64;
    /// Where the next byte goes.
    pub fn bw_tell(bw: *mut bw_t) -> i64;
    /// Read, straight from the sink.
    pub fn bw_read(bw: *mut bw_t, data: *mut c_void, length: usize) -> i64;
}

// ---- 4. Polling ----

/// Whom to call when a poll is worth trying again.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct bw_waker_t {
    /// Must be there.
    pub wake: Option<unsafe extern "C" fn(arg: *mut c_void)>,
    /// Its argument.
    pub arg: *mut c_void,
}

unsafe extern "C" {
    /// `bw_write` as a poll.
    pub fn bw_poll_write(bw: *mut bw_t, data: *const c_void, length: usize, wake: *const bw_waker_t) -> i64;
    /// `bw_writev` as a poll.
    pub fn bw_poll_writev(bw: *mut bw_t, parts: *const iovec, count: c_int, wake: *const bw_waker_t) -> i64;
    /// `bw_append` as a poll.
    pub fn bw_poll_append(bw: *mut bw_t, data: *const c_void, length: usize, wake: *const bw_waker_t) -> i64;
    /// `bw_appendv` as a poll.
    pub fn bw_poll_appendv(bw: *mut bw_t, parts: *const iovec, count: c_int, wake: *const bw_waker_t) -> i64;
    /// `bw_flush` as a poll.
    pub fn bw_poll_flush(bw: *mut bw_t, wake: *const bw_waker_t) -> c_int;
    /// `bw_sync` as a poll.
    pub fn bw_poll_sync(bw: *mut bw_t, wake: *const bw_waker_t) -> c_int;
    /// `bw_read` as a poll.
    pub fn bw_poll_read(bw: *mut bw_t, data: *mut c_void, length: usize, wake: *const bw_waker_t) -> i64;
    /// Remember a seek.
    pub fn bw_start_seek(bw: *mut bw_t, offset: i64, whence: c_int) -> c_int;
    /// Do the seek that is remembered.
    pub fn bw_poll_seek(bw: *mut bw_t, wake: *const bw_waker_t) -> i64;
    /// `bw_close` as a poll.
    pub fn bw_poll_close(bw: *mut bw_t, wake: *const bw_waker_t) -> c_int;
    /// Take a waker back.
    pub fn bw_unwake(bw: *mut bw_t, wake: *const bw_waker_t) -> c_int;
    /// Tell the writer that a sink which said -EAGAIN is ready.
    pub fn bw_wake(bw: *mut bw_t) -> c_int;
    /// A descriptor to poll for `bw_poll_events`.
    pub fn bw_event_fd(bw: *mut bw_t) -> c_int;
    /// Drive a writer made with [`BW_CALLER_DRIVEN`].
    pub fn bw_poll_events(bw: *mut bw_t) -> c_int;
}

// ---- 5. How far the bytes have come ----

unsafe extern "C" {
    /// The position below which every byte is accepted, written or durable.
    pub fn bw_position(bw: *mut bw_t, level: c_int) -> i64;
    /// Wait until it is at least this, and see to it.
    pub fn bw_wait(bw: *mut bw_t, position: i64, level: c_int, timeout_us: i64) -> c_int;
    /// Be told when it is.
    pub fn bw_notify(
        bw: *mut bw_t,
        position: i64,
        level: c_int,
        done: Option<unsafe extern "C" fn(arg: *mut c_void, code: c_int)>,
        arg: *mut c_void,
    ) -> c_int;
}

// ---- 6. When the sink fails ----

unsafe extern "C" {
    /// The code that the writer holds.
    pub fn bw_error(bw: *mut bw_t) -> c_int;
    /// Let go of a held error and try again.
    pub fn bw_resume(bw: *mut bw_t) -> c_int;
    /// Go on with another sink.
    pub fn bw_set_sink(bw: *mut bw_t, sink: *const bw_sink_t, ctx: *mut c_void) -> c_int;
    /// Visit the unwritten bytes.
    pub fn bw_unwritten(
        bw: *mut bw_t,
        each: Option<unsafe extern "C" fn(arg: *mut c_void, data: *const c_void, length: usize)>,
        arg: *mut c_void,
    ) -> i64;
    /// Forget the unwritten bytes.
    pub fn bw_discard(bw: *mut bw_t) -> i64;
}

// ---- 7. Looking inside ----

/// How long something took.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct bw_latency_t {
    /// How often it happened.
    pub count: u64,
    /// Half of the times were at most this long.
    pub p50_ns: u64,
    /// 90 % were.
    pub p90_ns: u64,
    /// 99 % were.
    pub p99_ns: u64,
    /// 99.9 % were.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// No times yet: how the structs of statistics begin.
pub(crate) const NO_LATENCY: bw_latency_t =
    bw_latency_t { count: 0, p50_ns: 0, p90_ns: 0, p99_ns: 0, p999_ns: 0, max_ns: 0 };

/// What a writer has done so far.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct bw_stats_t {
    /// The size of this struct.
    pub size: u32,
    /// Files: `BW_ENGINE_*` in use.
    pub engine: u32,
    /// Bytes accepted.
    pub accepted_bytes: u64,
    /// Bytes that the sink took.
    pub written_bytes: u64,
    /// Bytes made durable.
    pub durable_bytes: u64,
    /// Pieces accepted.
    pub writes: u64,
    /// Calls of the sink's `write` and `writev`.
    pub sink_writes: u64,
    /// Writes that went past the buffer.
    pub bypasses: u64,
    /// Flushes done.
    pub flushes: u64,
    /// Syncs done.
    pub syncs: u64,
    /// How often a thread waited for room.
    pub waits: u64,
    /// Failures of the sink.
    pub errors: u64,
    /// How often a held error was let go of.
    pub resumes: u64,
    /// How many buffers there are.
    pub buffers: u32,
    /// Handed on and not yet taken.
    pub buffers_in_use: u32,
    /// Files: 1 if O_DIRECT is in use.
    pub direct: u32,
    /// Files: 1 if buffers are registered with the kernel.
    pub registered_buffers: u32,
    /// Time waited for room.
    pub write_wait: bw_latency_t,
    /// Time of one call of the sink's `write` or `writev`.
    pub sink_write: bw_latency_t,
    /// Time of one sync.
    pub sync: bw_latency_t,
    /// 1: each thread counts its copies on a line of its own.
    pub own_slots: u32,
    /// 0.
    pub reserved: u32,
}

/// Statistics with their size set and zero in all else.
pub const BW_STATS_INIT: bw_stats_t = bw_stats_t {
    size: size_of::<bw_stats_t>() as u32,
    engine: 0,
    accepted_bytes: 0,
    written_bytes: 0,
    durable_bytes: 0,
    writes: 0,
    sink_writes: 0,
    bypasses: 0,
    flushes: 0,
    syncs: 0,
    waits: 0,
    errors: 0,
    resumes: 0,
    buffers: 0,
    buffers_in_use: 0,
    direct: 0,
    registered_buffers: 0,
    write_wait: NO_LATENCY,
    sink_write: NO_LATENCY,
    sync: NO_LATENCY,
    own_slots: 0,
    reserved: 0,
};

unsafe extern "C" {
    /// The bytes in the buffer that is being filled.
    pub fn bw_buffer(bw: *mut bw_t, length: *mut usize) -> *const c_void;
    /// How many bytes are in the buffers.
    pub fn bw_buffered(bw: *mut bw_t) -> usize;
    /// How many bytes one buffer holds.
    pub fn bw_capacity(bw: *mut bw_t) -> usize;
    /// The first argument of the sink's callbacks.
    pub fn bw_context(bw: *mut bw_t) -> *mut c_void;
    /// Read the statistics.
    pub fn bw_get_stats(bw: *mut bw_t, stats: *mut bw_stats_t) -> c_int;
    /// The statistics as one JSON object.
    pub fn bw_stats_json(bw: *mut bw_t, text: *mut c_char, size: usize) -> i64;
    /// What a code means, as text.
    pub fn bw_strerror(code: c_int) -> *const c_char;
    /// The name of a code.
    pub fn bw_err_name(code: c_int) -> *const c_char;
    /// The version of the library at run time.
    pub fn bw_version() -> c_uint;
    /// The same, as text.
    pub fn bw_version_string() -> *const c_char;
    /// Allocate zeroed memory that begins at a multiple of 4096.
    pub fn bw_alloc_aligned(size: usize) -> *mut c_void;
    /// Give it back.
    pub fn bw_free_aligned(block: *mut c_void);
}
