//! Tasks that wait in the library: polls with a waker.

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bw_sys::{bw_t, bw_waker_t};

use crate::error::check;
use crate::handle::in_callback;
use crate::panic::Parked;

/// What a bw_waker_t points to: the task, until it is woken or taken back.
struct Slot {
    task: Mutex<Option<Waker>>,
    parked: Arc<Parked>,
}

impl Slot {
    fn take(&self) -> Option<Waker> {
        lock(&self.task).take()
    }
}

/// Nothing panics under the locks of this crate, so they are never poisoned.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A writer or a batcher.
pub(crate) trait Polled {
    /// Takes a waker back.
    ///
    /// # Safety
    ///
    /// It is there, and its owner, or anybody if it is shared, calls.
    unsafe fn unwake(this: *mut Self, wake: *const bw_waker_t) -> c_int;
}

impl Polled for bw_t {
    unsafe fn unwake(this: *mut bw_t, wake: *const bw_waker_t) -> c_int {
        // SAFETY: the caller's promise.
        unsafe { bw_sys::bw_unwake(this, wake) }
    }
}

/// One task's place among those who wait for a writer, or a batcher. Dropping it takes the waker back.
///
/// While the library has the pointer of a slot, the slot is here, and its task is there; or the task is gone and wake()
/// holds the slot for itself. Each poll that has to wait makes a slot of its own, so that a call of an earlier waker is
/// never taken for one of a later.
pub(crate) struct Waiting<B: Polled = bw_t> {
    bw: *mut B,
    parked: Arc<Parked>,
    slot: Option<Arc<Slot>>,
}

// SAFETY: it is used through `&mut self` alone, and the pointer is passed on to the library only.
unsafe impl<B: Polled> Send for Waiting<B> {}
// SAFETY: nothing takes `&self`.
unsafe impl<B: Polled> Sync for Waiting<B> {}

impl<B: Polled> Waiting<B> {
    /// What is waited for must live as long as this does.
    pub(crate) fn new(bw: *mut B, parked: Arc<Parked>) -> Self {
        Waiting { bw, parked, slot: None }
    }

    /// Polls the library, at first without a waker, for most polls need none.
    pub(crate) fn poll(
        &mut self,
        context: &Context<'_>,
        ask: impl Fn(*mut B, *const bw_waker_t) -> i64,
    ) -> Poll<io::Result<u64>> {
        const PENDING: i64 = -libc::EAGAIN as i64;
        self.take_back();
        self.parked.resume();
        let mut answer = ask(self.bw, std::ptr::null());
        if answer == PENDING {
            let slot = Arc::new(Slot { task: Mutex::new(Some(context.waker().clone())), parked: self.parked.clone() });
            answer = ask(self.bw, &waker(&slot));
            if answer == PENDING {
                self.slot = Some(slot);
            }
        }
        self.parked.resume();
        if answer == PENDING { Poll::Pending } else { Poll::Ready(check(answer)) }
    }

    /// Without its task a slot's wake() does nothing, so that to wait for one on another thread takes no time: it is
    /// not inside an executor, whose locks we may hold.
    fn take_back(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let Some(task) = slot.take() else { return };
        // SAFETY: it is there, and it is ours or shared.
        let code = unsafe { B::unwake(self.bw, &waker(&slot)) };
        if code < 0 {
            // Inside the sink, or in the child of a fork: the library keeps the pointer.
            std::mem::forget(slot);
        }
        drop(task);
    }
}

impl<B: Polled> Drop for Waiting<B> {
    fn drop(&mut self) {
        self.take_back();
    }
}

fn waker(slot: &Arc<Slot>) -> bw_waker_t {
    bw_waker_t { wake: Some(wake), arg: Arc::as_ptr(slot).cast_mut().cast() }
}

/// # Safety
///
/// `arg` is a slot, which is there when the call begins.
unsafe extern "C" fn wake(arg: *mut c_void) {
    let slot = arg.cast::<Slot>().cast_const();
    // SAFETY: as the caller says. The task may drop the waiting one, and with it the slot: we keep one for ourselves.
    let slot = unsafe {
        Arc::increment_strong_count(slot);
        Arc::from_raw(slot)
    };
    if let Some(task) = slot.take() {
        in_callback(&slot.parked, (), || task.wake());
    }
}
