//! batch.h: batches of items.

use core::ffi::{c_char, c_int, c_void};
use core::marker::{PhantomData, PhantomPinned};
use core::ptr::null_mut;

use libc::iovec;

use crate::writer::NO_LATENCY;
use crate::{bw_latency_t, bw_t, bw_waker_t};

/// A batcher of items. Opaque.
#[repr(C)]
pub struct bw_batch_t {
    _opaque: [u8; 0],
    _neither_send_nor_unpin: PhantomData<(*mut u8, PhantomPinned)>,
}

// ---- 8.1 Views ----

/// A sealed batch, as the sink sees it. Opaque.
#[repr(C)]
pub struct bw_batch_view_t {
    _opaque: [u8; 0],
    _neither_send_nor_unpin: PhantomData<(*mut u8, PhantomPinned)>,
}

unsafe extern "C" {
    /// The items of a batch.
    pub fn bw_batch_items(view: *const bw_batch_view_t, count: *mut usize) -> *const iovec;
    /// How many bytes they have together.
    pub fn bw_batch_bytes(view: *const bw_batch_view_t) -> u64;
    /// The number of a batch.
    pub fn bw_batch_serial(view: *const bw_batch_view_t) -> u64;
    /// The number of its first item.
    pub fn bw_batch_first(view: *const bw_batch_view_t) -> u64;
    /// Which offer of it this is.
    pub fn bw_batch_attempt(view: *const bw_batch_view_t) -> u32;
}

// ---- 8.2 Making and ending a batcher ----

/// By `write`: the sink has taken the batch, and answers by `bw_batch_done`.
pub const BW_BATCH_TAKEN: c_int = 1;
/// By a send: this item was dropped.
pub const BW_BATCH_DROPPED: c_int = 1;
/// What is taken from a code to make it final.
pub const BW_FINAL: c_int = 1 << 30;

/// The callbacks that take batches.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct bw_batch_sink_t {
    /// The size of this struct.
    pub size: u32,
    /// None yet: 0.
    pub flags: u32,
    /// Takes a batch and answers for it. Required.
    pub write: Option<unsafe extern "C" fn(ctx: *mut c_void, batch: *mut bw_batch_view_t) -> c_int>,
    /// Passes on what the sink itself has kept back.
    pub flush: Option<unsafe extern "C" fn(ctx: *mut c_void) -> c_int>,
    /// The sink is no longer needed.
    pub close: Option<unsafe extern "C" fn(ctx: *mut c_void) -> c_int>,
}

/// A sink with its size set and no callbacks.
pub const BW_BATCH_SINK_INIT: bw_batch_sink_t =
    bw_batch_sink_t { size: size_of::<bw_batch_sink_t>() as u32, flags: 0, write: None, flush: None, close: None };

/// A send waits until there is room.
pub const BW_FULL_WAIT: u32 = 0;
/// It gives -EAGAIN.
pub const BW_FULL_FAIL: u32 = 1;
/// It drops its item.
pub const BW_FULL_DROP_NEWEST: u32 = 2;
/// It drops the oldest whole batch that waits.
pub const BW_FULL_DROP_OLDEST: u32 = 3;

/// A batch that has failed is held.
pub const BW_FAILED_HOLD: u32 = 0;
/// Its items are given up.
pub const BW_FAILED_GIVE_UP: u32 = 1;

/// A batch that is refused for good is offered again as two halves.
pub const BW_BATCH_BISECT: u32 = 1 << 8;

/// How a batcher is to be.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct bw_batch_options_t {
    /// The size of this struct.
    pub size: u32,
    /// The flags for batchers, or'ed.
    pub flags: u32,
    /// A batch holds at most this many items.
    pub max_items: u64,
    /// A batch holds at most this many bytes of items.
    pub max_bytes: u64,
    /// A batch is sealed this many microseconds after its first item.
    pub linger_us: u64,
    /// How many batches there may be.
    pub buffers: u32,
    /// How many may be taken and not yet answered.
    pub max_in_flight: u32,
    /// `BW_FULL_*`.
    pub when_full: u32,
    /// How often a batch is tried again in one round.
    pub retries: u32,
    /// How long to wait before a batch is offered again, in microseconds.
    pub backoff_us: u64,
    /// Where `pressure` is told 1.
    pub high_percent: u32,
    /// Where `pressure` is told 0.
    pub low_percent: u32,
    /// Where items begin in memory.
    pub item_align: u32,
    /// `BW_FAILED_*`.
    pub when_failed: u32,
    /// Told of pressure.
    pub pressure: Option<unsafe extern "C" fn(arg: *mut c_void, on: c_int)>,
    /// Told how items were settled.
    pub delivered: Option<unsafe extern "C" fn(arg: *mut c_void, items: *const iovec, count: usize, code: c_int)>,
    /// The first argument of both.
    pub arg: *mut c_void,
    /// Not 0: every item has exactly this many bytes.
    pub item_size: u32,
    /// 0.
    pub reserved: u32,
}

/// Options with their size set and all defaults.
pub const BW_BATCH_OPTIONS_INIT: bw_batch_options_t = bw_batch_options_t {
    size: size_of::<bw_batch_options_t>() as u32,
    flags: 0,
    max_items: 0,
    max_bytes: 0,
    linger_us: 0,
    buffers: 0,
    max_in_flight: 0,
    when_full: 0,
    retries: 0,
    backoff_us: 0,
    high_percent: 0,
    low_percent: 0,
    item_align: 0,
    when_failed: 0,
    pressure: None,
    delivered: None,
    arg: null_mut(),
    item_size: 0,
    reserved: 0,
};

unsafe extern "C" {
    /// Make a batcher over a sink.
    pub fn bw_batch_new(
        out: *mut *mut bw_batch_t,
        sink: *const bw_batch_sink_t,
        ctx: *mut c_void,
        options: *const bw_batch_options_t,
    ) -> c_int;
    /// Make a batcher whose sink is a writer.
    pub fn bw_batch_to_writer(
        out: *mut *mut bw_batch_t,
        writer: *mut bw_t,
        separator: *const c_char,
        options: *const bw_batch_options_t,
    ) -> c_int;
    /// Settle everything and close.
    pub fn bw_batch_close(batch: *mut bw_batch_t) -> c_int;
    /// The same, for so long.
    pub fn bw_batch_close_for(batch: *mut bw_batch_t, timeout_us: i64) -> c_int;
    /// Give the batcher back.
    pub fn bw_batch_free(batch: *mut bw_batch_t);
}

// ---- 8.3 Sending and flushing ----

unsafe extern "C" {
    /// Send an item.
    pub fn bw_batch_send(batch: *mut bw_batch_t, item: *const c_void, length: usize) -> c_int;
    /// Send one item that is gathered from several places.
    pub fn bw_batch_sendv(batch: *mut bw_batch_t, parts: *const iovec, count: c_int) -> c_int;
    /// Wait until every item that was accepted before is settled.
    pub fn bw_batch_flush(batch: *mut bw_batch_t) -> c_int;
    /// The same, for so long.
    pub fn bw_batch_flush_for(batch: *mut bw_batch_t, timeout_us: i64) -> c_int;
    /// Discard everything that is not in flight.
    pub fn bw_batch_discard(batch: *mut bw_batch_t) -> i64;
}

// ---- 8.4 Polling ----

unsafe extern "C" {
    /// Ask for room for one item.
    pub fn bw_batch_poll_ready(batch: *mut bw_batch_t, wake: *const bw_waker_t) -> c_int;
    /// `bw_batch_send` that never waits and never drops.
    pub fn bw_batch_start_send(batch: *mut bw_batch_t, item: *const c_void, length: usize) -> c_int;
    /// The same, of one item that is gathered from several places.
    pub fn bw_batch_start_sendv(batch: *mut bw_batch_t, parts: *const iovec, count: c_int) -> c_int;
    /// `bw_batch_flush` as a poll.
    pub fn bw_batch_poll_flush(batch: *mut bw_batch_t, wake: *const bw_waker_t) -> c_int;
    /// `bw_batch_close` as a poll.
    pub fn bw_batch_poll_close(batch: *mut bw_batch_t, wake: *const bw_waker_t) -> c_int;
    /// Take a waker back.
    pub fn bw_batch_unwake(batch: *mut bw_batch_t, wake: *const bw_waker_t) -> c_int;
}

// ---- 8.5 For the sink ----

unsafe extern "C" {
    /// Answer for a batch that `write` took.
    pub fn bw_batch_done(taken: *mut bw_batch_view_t, code: c_int, codes: *const c_int) -> c_int;
    /// Tell the batcher that its sink is ready again.
    pub fn bw_batch_wake(batch: *mut bw_batch_t) -> c_int;
}

// ---- 8.6 Looking inside ----

/// What a batcher has done so far.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct bw_batch_stats_t {
    /// The size of this struct.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Items delivered.
    pub total_items: u64,
    /// Batches delivered.
    pub total_batches: u64,
    /// The most items delivered of one batch.
    pub max_batch_size: u64,
    /// Items dropped or discarded.
    pub dropped_items: u64,
    /// Items given up.
    pub failed_items: u64,
    /// Offers after a failure.
    pub retries: u64,
    /// Bytes of the items delivered.
    pub bytes: u64,
    /// As `bw_batch_buffered` says.
    pub buffered_items: u64,
    /// Items that the sink took and has not answered for.
    pub in_flight_items: u64,
    /// For each batch: from its first item until it was sealed.
    pub in_batch: bw_latency_t,
    /// For each batch: from its first item until it was settled.
    pub to_delivered: bw_latency_t,
}

/// Statistics with their size set and zero in all else.
pub const BW_BATCH_STATS_INIT: bw_batch_stats_t = bw_batch_stats_t {
    size: size_of::<bw_batch_stats_t>() as u32,
    reserved: 0,
    total_items: 0,
    total_batches: 0,
    max_batch_size: 0,
    dropped_items: 0,
    failed_items: 0,
    retries: 0,
    bytes: 0,
    buffered_items: 0,
    in_flight_items: 0,
    in_batch: NO_LATENCY,
    to_delivered: NO_LATENCY,
};

unsafe extern "C" {
    /// The code of the batch that is held.
    pub fn bw_batch_error(batch: *mut bw_batch_t) -> c_int;
    /// How many items are accepted, not settled and not in flight.
    pub fn bw_batch_buffered(batch: *mut bw_batch_t) -> usize;
    /// How many batches are settled of which the sink took at least one item.
    pub fn bw_batch_flushed(batch: *mut bw_batch_t) -> u64;
    /// Read the statistics.
    pub fn bw_batch_get_stats(batch: *mut bw_batch_t, stats: *mut bw_batch_stats_t) -> c_int;
    /// The statistics as one JSON object.
    pub fn bw_batch_stats_json(batch: *mut bw_batch_t, text: *mut c_char, size: usize) -> i64;
}
