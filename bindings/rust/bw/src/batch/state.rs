//! What the callbacks of one batcher work on, and the callbacks themselves, as the library calls them.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock, Weak};

use libc::iovec;

use super::listeners::Listen;
use super::view::Frame;
use super::{Answer, Batch, Sink};
use crate::handle::in_callback;
use crate::panic::Parked;

/// What must live until batches in flight are answered.
pub(super) type Keep = dyn Any + Send + Sync;

/// The first argument of all callbacks of one batcher.
pub(super) struct State<S, L> {
    pub(super) parked: Arc<Parked>,
    /// Set for those that are freed by their last holder, which may be a batch in flight.
    pub(super) keep: OnceLock<Weak<Keep>>,
    sink: UnsafeCell<S>,
    listener: UnsafeCell<L>,
}

impl<S, L> State<S, L> {
    pub(super) fn new(sink: S, listener: L) -> State<S, L> {
        State {
            parked: Arc::default(),
            keep: OnceLock::new(),
            sink: UnsafeCell::new(sink),
            listener: UnsafeCell::new(listener),
        }
    }

    /// # Safety
    ///
    /// Only for the callbacks of the sink: the library never calls two of them at a time.
    unsafe fn call_sink(&self, body: impl FnOnce(&mut S) -> Answer) -> c_int {
        // SAFETY: the caller's promise.
        in_callback(&self.parked, Answer::PANICKED, || body(unsafe { &mut *self.sink.get() })).code()
    }

    /// # Safety
    ///
    /// Only for what is told: the library never calls two of these at a time.
    unsafe fn tell(&self, body: impl FnOnce(&mut L, &Parked)) {
        // SAFETY: the caller's promise.
        in_callback(&self.parked, (), || body(unsafe { &mut *self.listener.get() }, &self.parked));
    }

    /// What the listener has kept; for who has the batcher to himself.
    pub(super) fn listener_mut(&mut self) -> &mut L {
        self.listener.get_mut()
    }
}

/// The callbacks of a sink.
pub(super) fn sink_callbacks<T, S: Sink<T>, L>() -> bw_sys::bw_batch_sink_t {
    bw_sys::bw_batch_sink_t {
        write: Some(write::<T, S, L>),
        flush: Some(flush::<T, S, L>),
        close: Some(close::<T, S, L>),
        ..bw_sys::BW_BATCH_SINK_INIT
    }
}

/// Adds the callbacks of a listener.
pub(super) fn listen<S, L: Listen>(options: &mut bw_sys::bw_batch_options_t, state: NonNull<State<S, L>>) {
    // SAFETY: it is there, and nobody else has it yet.
    let hears_pressure = unsafe { (*state.as_ref().listener.get()).hears_pressure() };
    options.delivered = Some(delivered::<S, L>);
    options.pressure = hears_pressure.then_some(pressure::<S, L>);
    options.arg = state.as_ptr().cast();
}

unsafe extern "C" fn write<T, S: Sink<T>, L>(ctx: *mut c_void, view: *mut bw_sys::bw_batch_view_t) -> c_int {
    // SAFETY: `ctx` is the batcher's state, which outlives it.
    let state = unsafe { &*ctx.cast::<State<S, L>>() };
    let frame = Frame::new(&state.keep);
    // SAFETY: a callback of the sink. The view is valid during the call, and longer if it is taken.
    let code = unsafe { state.call_sink(|sink| sink.write(Batch::new(view, Some(&frame)))) };
    // Who has taken it answers for it, whatever became of `write` afterwards.
    if frame.is_taken() { bw_sys::BW_BATCH_TAKEN } else { code }
}

unsafe extern "C" fn flush<T, S: Sink<T>, L>(ctx: *mut c_void) -> c_int {
    // SAFETY: as in write(); a callback of the sink.
    unsafe { (*ctx.cast::<State<S, L>>()).call_sink(|sink| sink.flush().into()) }
}

unsafe extern "C" fn close<T, S: Sink<T>, L>(ctx: *mut c_void) -> c_int {
    // SAFETY: as in write(); a callback of the sink.
    unsafe { (*ctx.cast::<State<S, L>>()).call_sink(|sink| sink.close().into()) }
}

unsafe extern "C" fn delivered<S, L: Listen>(arg: *mut c_void, pieces: *const iovec, count: usize, code: c_int) {
    // SAFETY: `arg` is the batcher's state. The items are settled: this is the one place where they end.
    unsafe { (*arg.cast::<State<S, L>>()).tell(|listener, parked| listener.settled(pieces, count, code, parked)) }
}

unsafe extern "C" fn pressure<S, L: Listen>(arg: *mut c_void, on: c_int) {
    // SAFETY: `arg` is the batcher's state.
    unsafe { (*arg.cast::<State<S, L>>()).tell(|listener, _| listener.pressure(on != 0)) }
}
