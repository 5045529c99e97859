//! A batcher of the library, with what its callbacks work on: what all types of batchers are made of.

use std::ffi::{c_int, c_void};
use std::io;
use std::marker::PhantomData;
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;

use bw_sys::{bw_batch_options_t, bw_batch_t};

use super::items::{hand_over, stored_align, stored_size};
use super::listeners::Listen;
use super::state::{State, listen, sink_callbacks};
use super::{SendError, Sink};
use crate::error::{check, from_code};
use crate::handle::{free_elsewhere, is_in_callback};
use crate::panic::Parked;

/// Sends items of type `T` to a sink `S`; a listener `L` hears what becomes of them.
///
/// It does not take items of another lifetime than the sink knows:
///
/// ```compile_fail
/// use bw::batch::CallbackSink;
///
/// fn shorten<'a, F>(sink: CallbackSink<&'static str, F>) -> CallbackSink<&'a str, F> {
///     sink
/// }
/// ```
pub(super) struct Handle<T, S, L> {
    raw: NonNull<bw_batch_t>,
    state: NonNull<State<S, L>>,
    parked: Arc<Parked>,
    freed: Freed,
    /// Invariant: the callbacks were made for exactly these.
    _types: PhantomData<*mut (T, S, L)>,
}

/// Where a batcher is freed when its handle is dropped.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Freed {
    /// There. It has no thread of the library, and nobody who is in a callback of it can drop it.
    Here,
    /// There, or by another thread if this one is in a callback, which is no place to free a batcher or to wait.
    Outside,
    /// There, if it can be closed without waiting; else by another thread, too.
    #[cfg(feature = "futures")]
    WithoutWaiting,
}

// SAFETY: the library's batcher may go to another thread, and with it go items, sink and listener.
unsafe impl<T: Send, S: Send, L: Send> Send for Handle<T, S, L> {}
// SAFETY: a shared batcher may be used by several threads. Types made of an unshared one give no `&self` to what is for
// its owner alone, or are not Sync. Items, sink and listener are with one thread at a time.
unsafe impl<T: Send, S: Send, L: Send> Sync for Handle<T, S, L> {}

/// Options for items of type `T`.
pub(super) fn options_for<T>(options: bw_batch_options_t) -> io::Result<bw_batch_options_t> {
    let size = stored_size::<T>();
    let item_size = u32::try_from(size).map_err(|_| from_code(-libc::EINVAL))?;
    let item_align = if size == 0 { 0 } else { stored_align::<T>() as u32 };
    Ok(bw_batch_options_t { item_size, item_align, ..options })
}

/// An unshared batcher whose batches hold `capacity` items; 0 counts as 1.
pub(super) fn options_of_capacity<T>(capacity: usize) -> bw_batch_options_t {
    let max_items = capacity.max(1) as u64;
    let max_bytes = max_items.saturating_mul(stored_size::<T>() as u64);
    bw_batch_options_t { flags: bw_sys::BW_UNSHARED, max_items, max_bytes, ..bw_sys::BW_BATCH_OPTIONS_INIT }
}

impl<T, S: Sink<T>, L: Listen> Handle<T, S, L> {
    /// The listener takes items of type `T`. If what the three types borrow may end before the batcher is freed,
    /// because the handle was forgotten, there must be no thread of the library: `Freed::Here`.
    pub(super) fn new(sink: S, listener: L, options: bw_batch_options_t, freed: Freed) -> io::Result<Handle<T, S, L>> {
        let options = options_for::<T>(options)?;
        Handle::make(State::new(sink, listener), options, freed, |state, out, options| {
            let callbacks = sink_callbacks::<T, S, L>();
            // SAFETY: the callbacks are those of the state, which is freed after the batcher.
            unsafe { bw_sys::bw_batch_new(out, &raw const callbacks, state.as_ptr().cast(), options) }
        })
    }
}

impl<T, S, L: Listen> Handle<T, S, L> {
    /// `create` makes the batcher with the options it is given, which have the callbacks of the listener.
    pub(super) fn make(
        state: State<S, L>,
        mut options: bw_batch_options_t,
        freed: Freed,
        create: impl FnOnce(NonNull<State<S, L>>, *mut *mut bw_batch_t, *const bw_batch_options_t) -> c_int,
    ) -> io::Result<Handle<T, S, L>> {
        let parked = state.parked.clone();
        let state = NonNull::from(Box::leak(Box::new(state)));
        listen(&mut options, state);
        let mut raw = null_mut();
        let code = create(state, &raw mut raw, &raw const options);
        match NonNull::new(raw) {
            Some(raw) => Ok(Handle { raw, state, parked, freed, _types: PhantomData }),
            None => {
                // SAFETY: nobody else has it.
                drop(unsafe { Box::from_raw(state.as_ptr()) });
                Err(from_code(code))
            }
        }
    }
}

impl<T, S, L> Handle<T, S, L> {
    pub(super) fn raw(&self) -> *mut bw_batch_t {
        self.raw.as_ptr()
    }

    pub(super) fn parked(&self) -> &Arc<Parked> {
        &self.parked
    }

    /// Batches in flight keep it from now on; called before the first item is sent.
    #[cfg(feature = "futures")]
    pub(super) fn set_keep(&self, keep: std::sync::Weak<super::state::Keep>) {
        // SAFETY: the state lives as long as the handle.
        let _is_first = unsafe { self.state.as_ref() }.keep.set(keep);
    }

    /// What the listener has kept.
    pub(super) fn listener_mut(&mut self) -> &mut L {
        // SAFETY: who calls this has the batcher to himself, and there is no thread of the library (callers see to it).
        unsafe { self.state.as_mut() }.listener_mut()
    }

    pub(super) fn send(&self, item: T) -> Result<(), SendError<T>> {
        // SAFETY: the batcher is there, and copies the item; also below.
        self.give(item, |bytes, length| unsafe { bw_sys::bw_batch_send(self.raw(), bytes, length) })
    }

    pub(super) fn start_send(&self, item: T) -> Result<(), SendError<T>> {
        // SAFETY: as in send().
        self.give(item, |bytes, length| unsafe { bw_sys::bw_batch_start_send(self.raw(), bytes, length) })
    }

    /// `start_send` that leaves a panic of a callback to the next call.
    #[cfg(feature = "futures")]
    pub(super) fn offer(&self, item: T) -> Result<(), SendError<T>> {
        // SAFETY: as in send().
        let copy = |bytes, length| unsafe { bw_sys::bw_batch_start_send(self.raw(), bytes, length) };
        hand_over(item, copy).map_err(|(item, answer)| SendError::new(item, answer))
    }

    /// `send` for an owner who is alone.
    pub(super) fn send_alone(&self, item: T) -> Result<(), SendError<T>> {
        // SAFETY: the item is there, and so many bytes long.
        self.give(item, |bytes, length| unsafe { self.send_bytes_alone(bytes, length) })
    }

    /// A send by an owner who is alone: where it would wait, nobody could end that. It asks the sink anew instead.
    ///
    /// # Safety
    ///
    /// So many bytes lie there.
    pub(super) unsafe fn send_bytes_alone(&self, bytes: *const c_void, length: usize) -> c_int {
        // SAFETY: the batcher is there, and copies the item; no waker is given.
        unsafe {
            let answer = bw_sys::bw_batch_start_send(self.raw(), bytes, length);
            if answer != -libc::EAGAIN {
                return answer;
            }
            self.wake();
            match bw_sys::bw_batch_poll_ready(self.raw(), null()) {
                0 => bw_sys::bw_batch_start_send(self.raw(), bytes, length),
                code => code,
            }
        }
    }

    /// Sends an item, then goes on with a panic of a callback, if there was one.
    #[inline]
    fn give(&self, item: T, send: impl FnOnce(*const c_void, usize) -> c_int) -> Result<(), SendError<T>> {
        let sent = hand_over(item, send);
        // Looked at in each case by itself: an item that was accepted is not moved any more.
        match sent {
            Ok(()) => {
                self.parked.resume();
                Ok(())
            }
            Err((item, answer)) => {
                self.parked.resume();
                Err(SendError::new(item, answer))
            }
        }
    }

    /// Makes a call, then goes on with a panic of a callback, if there was one.
    pub(super) fn call(&self, call: impl FnOnce(*mut bw_batch_t) -> c_int) -> io::Result<()> {
        let answer = call(self.raw());
        self.parked.resume();
        check(answer).map(|_| ())
    }

    /// Flushes; waits so many microseconds, or for ever if it is below 0.
    pub(super) fn flush(&self, timeout_us: i64) -> io::Result<()> {
        // SAFETY: the batcher is there.
        self.call(|raw| unsafe { bw_sys::bw_batch_flush_for(raw, timeout_us) })
    }

    /// `flush` for an owner who is alone.
    pub(super) fn flush_alone(&self) -> io::Result<()> {
        self.wake();
        self.flush(0)
    }

    pub(super) fn wake(&self) {
        // It fails in the child of a fork only, where nobody waits.
        // SAFETY: the batcher is there.
        unsafe { bw_sys::bw_batch_wake(self.raw()) };
    }

    pub(super) fn buffered(&self) -> usize {
        // SAFETY: the batcher is there.
        unsafe { bw_sys::bw_batch_buffered(self.raw()) }
    }

    pub(super) fn flushed(&self) -> u64 {
        // SAFETY: the batcher is there.
        unsafe { bw_sys::bw_batch_flushed(self.raw()) }
    }

    /// Whether this thread may free it, now.
    fn may_be_freed_here(&self) -> bool {
        match self.freed {
            Freed::Here => true,
            Freed::Outside => !is_in_callback(),
            #[cfg(feature = "futures")]
            Freed::WithoutWaiting => {
                // SAFETY: the batcher is there; no waker is given.
                let closed = || unsafe { bw_sys::bw_batch_poll_close(self.raw(), null()) } == 0;
                !is_in_callback() && closed()
            }
        }
    }
}

impl<T, S, L> Drop for Handle<T, S, L> {
    fn drop(&mut self) {
        let is_here = self.may_be_freed_here();
        let remains = Remains { raw: self.raw, state: self.state.cast(), drop_state: drop_state::<S, L> };
        if is_here {
            return remains.free();
        }
        free_elsewhere(move || remains.free());
    }
}

/// What is left when a handle is dropped.
struct Remains {
    raw: NonNull<bw_batch_t>,
    state: NonNull<c_void>,
    drop_state: unsafe fn(NonNull<c_void>),
}

// SAFETY: as for Handle. It goes to another thread only if it is not `Freed::Here`, so it borrows nothing.
unsafe impl Send for Remains {}

impl Remains {
    fn free(self) {
        // SAFETY: nothing else has them. No callback runs once the batcher is gone, and nothing uses the state then.
        unsafe {
            bw_sys::bw_batch_free(self.raw.as_ptr());
            (self.drop_state)(self.state);
        }
    }
}

/// # Safety
///
/// `state` is a box of this type, and nothing uses it.
unsafe fn drop_state<S, L>(state: NonNull<c_void>) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(state.cast::<State<S, L>>().as_ptr()) });
}
