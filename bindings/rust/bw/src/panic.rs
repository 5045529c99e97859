//! Panics in callbacks. They must not unwind through C, and a callback may run on a thread of the library: so what is
//! thrown is parked in the handle's state, and the next call of the handle in Rust goes on with it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

type Payload = Box<dyn Any + Send>;

/// The first panic that nobody has heard of yet. Any thread may park, any thread may resume.
#[derive(Default)]
pub(crate) struct Parked {
    /// Whether `payload` may be there: what a call looks at before it takes the lock.
    there: AtomicBool,
    payload: Mutex<Option<Payload>>,
}

impl Parked {
    /// Runs the body of a callback. If it panics, the answer is `otherwise`.
    pub(crate) fn catch<R>(&self, otherwise: R, body: impl FnOnce() -> R) -> R {
        // What the body leaves half-done is seen by nobody before resume() has told of the panic.
        catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
            self.park(payload);
            otherwise
        })
    }

    /// Goes on with the panic that is parked, if there is one. Not for `drop`.
    #[inline]
    pub(crate) fn resume(&self) {
        // Relaxed: the lock orders the payload, and a panic of another thread that comes late is resumed later.
        if self.there.load(Ordering::Relaxed) {
            self.resume_parked();
        }
    }

    #[cold]
    fn resume_parked(&self) {
        if let Some(payload) = self.take() {
            resume_unwind(payload);
        }
    }

    fn take(&self) -> Option<Payload> {
        let mut parked = self.lock();
        // Relaxed: it changes under the lock, and is a hint outside of it.
        self.there.store(false, Ordering::Relaxed);
        parked.take()
    }

    /// The first one stays, as it is the cause; a later one is dropped.
    fn park(&self, payload: Payload) {
        let mut parked = self.lock();
        if parked.is_none() {
            *parked = Some(payload);
            // Relaxed: as in take().
            self.there.store(true, Ordering::Relaxed);
        } else {
            drop(parked);
            discard(payload);
        }
    }

    /// Nothing panics under the lock, so it is never poisoned.
    fn lock(&self) -> MutexGuard<'_, Option<Payload>> {
        self.payload.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops what was thrown; if that throws in turn, there is nothing to be done but to leave it.
fn discard(payload: Payload) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resumed(parked: &Parked) -> Option<&'static str> {
        let thrown = catch_unwind(AssertUnwindSafe(|| parked.resume())).err()?;
        Some(thrown.downcast_ref::<&'static str>().expect("the tests throw text"))
    }

    #[test]
    fn a_panic_is_answered_and_resumed_once() {
        let parked = Parked::default();
        assert_eq!(parked.catch(-1, || 5), 5);
        assert_eq!(resumed(&parked), None);
        assert_eq!(parked.catch(-1, || panic!("first")), -1);
        assert_eq!(resumed(&parked), Some("first"));
        assert_eq!(resumed(&parked), None);
    }

    #[test]
    fn the_first_of_several_is_kept() {
        let parked = Parked::default();
        parked.catch((), || panic!("first"));
        parked.catch((), || panic!("second"));
        assert_eq!(resumed(&parked), Some("first"));
        assert_eq!(resumed(&parked), None);
    }

    #[test]
    fn a_panic_of_another_thread_is_resumed_here() {
        let parked = Parked::default();
        std::thread::scope(|scope| {
            scope.spawn(|| parked.catch((), || panic!("over there")));
        });
        assert_eq!(resumed(&parked), Some("over there"));
    }

    #[test]
    fn a_payload_that_panics_when_dropped_does_no_harm() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let parked = Parked::default();
        parked.catch((), || panic!("first"));
        parked.catch((), || std::panic::panic_any(Bomb));
        assert_eq!(resumed(&parked), Some("first"));
        assert_eq!(resumed(&parked), None);
    }
}
