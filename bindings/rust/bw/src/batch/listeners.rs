//! What is told how items were settled: the owner of all that the library has given up.

use std::ffi::c_int;
use std::io;
use std::marker::PhantomData;

use libc::iovec;

use super::items::Settled;
use crate::error::from_code;
use crate::panic::Parked;

pub(super) trait Listen {
    /// Items were settled, with 0 or a code.
    ///
    /// # Safety
    ///
    /// `pieces` are `count` items of the batcher's type, which the library shows for the last time.
    unsafe fn settled(&mut self, pieces: *const iovec, count: usize, code: c_int, parked: &Parked);

    fn hears_pressure(&self) -> bool {
        false
    }

    fn pressure(&mut self, _on: bool) {}
}

/// Drops items of type `T`.
pub(super) struct DropItems<T>(pub(super) PhantomData<fn(T)>);

impl<T> Listen for DropItems<T> {
    unsafe fn settled(&mut self, pieces: *const iovec, count: usize, _code: c_int, parked: &Parked) {
        // SAFETY: the caller's promise.
        unsafe { Settled::<T>::new(pieces, count) }.drop_each(parked);
    }
}

/// Keeps the batches that are delivered.
pub(super) struct Collect<T>(pub(super) Vec<Vec<T>>);

impl<T> Listen for Collect<T> {
    unsafe fn settled(&mut self, pieces: *const iovec, count: usize, _code: c_int, _parked: &Parked) {
        // SAFETY: the caller's promise.
        self.0.push(unsafe { Settled::new(pieces, count) }.into_vec());
    }
}

type OnDelivered<T> = Box<dyn FnMut(Vec<T>) + Send>;
type OnFailed<T> = Box<dyn FnMut(Vec<T>, io::Error) + Send>;
type OnPressure = Box<dyn FnMut(bool) + Send>;

/// The closures that a builder was given.
pub(super) struct Listeners<T> {
    pub(super) on_delivered: Option<OnDelivered<T>>,
    pub(super) on_failed: Option<OnFailed<T>>,
    pub(super) on_pressure: Option<OnPressure>,
}

impl<T> Default for Listeners<T> {
    fn default() -> Listeners<T> {
        Listeners { on_delivered: None, on_failed: None, on_pressure: None }
    }
}

impl<T> Listeners<T> {
    /// Whether there is somebody for items that were settled with this code.
    pub(super) fn want(&self, code: c_int) -> bool {
        if code == 0 { self.on_delivered.is_some() } else { self.on_failed.is_some() }
    }

    pub(super) fn tell(&mut self, items: Vec<T>, code: c_int) {
        match (code, &mut self.on_delivered, &mut self.on_failed) {
            (0, Some(on_delivered), _) => on_delivered(items),
            (..0, _, Some(on_failed)) => on_failed(items, from_code(code)),
            _ => {}
        }
    }
}

impl<T> Listen for Listeners<T> {
    unsafe fn settled(&mut self, pieces: *const iovec, count: usize, code: c_int, parked: &Parked) {
        // SAFETY: the caller's promise.
        let items = unsafe { Settled::new(pieces, count) };
        if self.want(code) { self.tell(items.into_vec(), code) } else { items.drop_each(parked) }
    }

    fn hears_pressure(&self) -> bool {
        self.on_pressure.is_some()
    }

    fn pressure(&mut self, on: bool) {
        if let Some(on_pressure) = &mut self.on_pressure {
            on_pressure(on);
        }
    }
}
