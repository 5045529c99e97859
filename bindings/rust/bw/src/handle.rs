//! Writers that more than one thread knows: what their callbacks are called with, and how they are freed.

use std::cell::Cell;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::thread;

use bw_sys::bw_t;

use crate::panic::Parked;

thread_local! {
    /// How many callbacks of shared writers this thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs the body of a callback; a panic is parked and answered with `otherwise`.
pub(crate) fn in_callback<R>(parked: &Parked, otherwise: R, body: impl FnOnce() -> R) -> R {
    DEPTH.set(DEPTH.get() + 1);
    let answer = parked.catch(otherwise, body);
    DEPTH.set(DEPTH.get() - 1);
    answer
}

/// Whether this thread is in one, where nothing waits.
pub(crate) fn is_in_callback() -> bool {
    DEPTH.get() > 0
}

/// Frees where it may not be freed here: by another thread. If there is none to be had, it is leaked: to free it here
/// might never end.
pub(crate) fn free_elsewhere(free: impl FnOnce() + Send + 'static) {
    let _ = thread::Builder::new().name("bw-free".into()).spawn(free);
}

/// A box that the library has the pointer of, too.
pub(crate) struct Lent<T: ?Sized>(NonNull<T>);

// SAFETY: it owns the `T`, as a box does.
unsafe impl<T: ?Sized + Send> Send for Lent<T> {}
// SAFETY: through `&self` nobody comes at the `T`.
unsafe impl<T: ?Sized + Send> Sync for Lent<T> {}

impl<T> Lent<T> {
    pub(crate) fn new(value: T) -> Self {
        Lent(NonNull::from(Box::leak(Box::new(value))))
    }
}

impl<T: Send + 'static> Lent<T> {
    pub(crate) fn into_dyn(self) -> Lent<dyn Send> {
        let lent = ManuallyDrop::new(self);
        Lent(lent.0)
    }
}

impl<T: ?Sized> Lent<T> {
    /// What C is given.
    pub(crate) fn as_ctx(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }
}

impl<T: ?Sized> Drop for Lent<T> {
    fn drop(&mut self) {
        // SAFETY: it is the box from new(), and the library has no use for it any more.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Owns a writer, and `T`: what its callbacks use, which goes after it.
///
/// `bw_free` is not for callbacks, but a callback may well drop the last handle: a task that is woken may end there and
/// then. So it is another thread that frees the writer in that case.
pub(crate) struct Handle<T: Send + 'static> {
    bw: NonNull<bw_t>,
    uses: ManuallyDrop<T>,
}

// SAFETY: any thread may use a shared writer; whoever makes a handle of an unshared one sees to it that one thread at a
// time calls what is not for all.
unsafe impl<T: Send + 'static> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync + 'static> Sync for Handle<T> {}

impl<T: Send + 'static> Handle<T> {
    /// # Safety
    ///
    /// The writer is the caller's, who gives it up.
    pub(crate) unsafe fn new(bw: NonNull<bw_t>, uses: T) -> Self {
        Handle { bw, uses: ManuallyDrop::new(uses) }
    }

    pub(crate) fn bw(&self) -> *mut bw_t {
        self.bw.as_ptr()
    }

    pub(crate) fn uses(&self) -> &T {
        &self.uses
    }

    /// # Safety
    ///
    /// Nothing is left that uses the handle, and it is called once.
    unsafe fn free(&mut self) {
        // SAFETY: as the caller says. What the callbacks use is there until the last of them has returned.
        unsafe {
            bw_sys::bw_free(self.bw.as_ptr());
            ManuallyDrop::drop(&mut self.uses);
        }
    }
}

impl<T: Send + 'static> Drop for Handle<T> {
    fn drop(&mut self) {
        if !is_in_callback() {
            // SAFETY: it is being dropped.
            return unsafe { self.free() };
        }
        // SAFETY: moved out once, as this is dropped and drops no field.
        let uses = ManuallyDrop::new(unsafe { ManuallyDrop::take(&mut self.uses) });
        let mut handle = ManuallyDrop::new(Handle { bw: self.bw, uses });
        // SAFETY: the thread has it alone.
        free_elsewhere(move || unsafe { handle.free() });
    }
}
