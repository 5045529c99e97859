//! An unshared writer of the library over a sink that stays with the caller, who lends it for each call.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io::{self, IoSlice};
use std::mem;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::{NonNull, null, null_mut};
use std::slice;

use bw_sys::{BW_ESINK, BW_OPTIONS_INIT, BW_UNSHARED, bw_sink_t, bw_t};

use crate::error::{check, from_code, to_code};
use crate::panic::Parked;
use crate::sink::{Seat, Sink, callbacks};
use crate::window::Window;

/// The seat of a sink that is lent: the `ctx` of its callbacks.
struct Loan {
    /// The sink, while a call of the library runs.
    sink: Cell<Option<NonNull<dyn Sink>>>,
    /// What the last callback failed with: a code would say less.
    error: Cell<Option<io::Error>>,
    panic: Parked,
}

impl Seat for Loan {
    type Sink = dyn Sink;

    unsafe fn call(ctx: *mut c_void, body: impl FnOnce(&mut Self::Sink) -> io::Result<i64>) -> i64 {
        // SAFETY: the ctx is a loan, which lives as long as the writer and is shared by run().
        let loan = unsafe { &*ctx.cast::<Loan>() };
        loan.panic.catch(BW_ESINK.into(), || {
            loan.error.set(None);
            let mut sink = loan.sink.get().expect("the library calls the sink only inside run()");
            // SAFETY: run() has borrowed it and does not touch it meanwhile.
            body(unsafe { sink.as_mut() }).unwrap_or_else(|error| {
                let code = to_code(&error).into();
                loan.error.set(Some(error));
                code
            })
        })
    }
}

/// The sink's `flush` and `close` are left to the caller, who has it.
fn sink_callbacks(is_vectored: bool) -> bw_sink_t {
    let mut sink = callbacks::<Loan>(is_vectored);
    sink.flush = None;
    sink.close = None;
    sink
}

/// The writer, and what is reserved of its buffer. Dropping it discards what is unwritten and calls nobody.
pub(crate) struct Unshared {
    bw: NonNull<bw_t>,
    window: Window,
    /// A box of ours; the library has the pointer, too.
    loan: NonNull<Loan>,
    /// What the library knows of the sink.
    is_vectored: bool,
}

// SAFETY: one thread may use the writer after the other, and whatever changes it takes `&mut self`. The sink is not
// kept here, and errors and panics may be sent.
unsafe impl Send for Unshared {}
// SAFETY: what takes `&self` only looks, which several threads may while the owner makes no call.
unsafe impl Sync for Unshared {}
// After a panic of the sink the bytes are where they were, and the library refuses to go on.
impl UnwindSafe for Unshared {}
impl RefUnwindSafe for Unshared {}

impl Unshared {
    /// `capacity` 0 is the library's default.
    pub(crate) fn new(capacity: usize) -> io::Result<Unshared> {
        let loan = Loan { sink: Cell::new(None), error: Cell::new(None), panic: Parked::default() };
        let loan = NonNull::from(Box::leak(Box::new(loan)));
        let is_vectored = false;
        let mut options = BW_OPTIONS_INIT;
        options.flags = BW_UNSHARED;
        options.capacity = capacity as u64;
        let mut bw = null_mut();
        // SAFETY: sink and options are copied, and the loan lives until the writer is freed.
        let code = unsafe { bw_sys::bw_new(&mut bw, &sink_callbacks(is_vectored), loan.as_ptr().cast(), &options) };
        match NonNull::new(bw) {
            Some(bw) => Ok(Unshared { bw, window: Window::closed(), loan, is_vectored }),
            None => {
                // SAFETY: it is the box from above, and nobody else has it.
                drop(unsafe { Box::from_raw(loan.as_ptr()) });
                Err(from_code(code))
            }
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        // SAFETY: the writer is there, and its owner makes no call meanwhile.
        unsafe { bw_sys::bw_capacity(self.bw.as_ptr()) }
    }

    /// Whether the sink is in an unknown state, because it panicked or claimed too much.
    pub(crate) fn is_broken(&self) -> bool {
        // SAFETY: the writer is there.
        unsafe { bw_sys::bw_error(self.bw.as_ptr()) == BW_ESINK }
    }

    /// The bytes that the sink has not taken.
    pub(crate) fn buffer(&self) -> &[u8] {
        let mut length = 0;
        // SAFETY: as for capacity().
        let data = unsafe { bw_sys::bw_buffer(self.bw.as_ptr(), &mut length) };
        if data.is_null() {
            return &[]; // in the child of a fork
        }
        // SAFETY: they stay as they are until the next call, which takes `&mut self`, and the window's follow them.
        unsafe { slice::from_raw_parts(data.cast(), length + self.window.used()) }
    }

    /// Takes the bytes if there is more room than that.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        self.window.push(bytes)
    }

    /// Takes bytes, and says how many. As many as the capacity or more are offered to the sink, once.
    #[cold]
    #[inline(never)]
    pub(crate) fn write(&mut self, sink: &mut dyn Sink, bytes: &[u8]) -> io::Result<usize> {
        if self.is_for_buffer(bytes.len()) {
            self.make_room(sink, bytes.len())?;
            self.window.fill(bytes);
            return Ok(bytes.len());
        }
        let (data, length) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: so many bytes lie there. As a poll the call offers them once; no waker is kept.
        let taken = self.run(sink, |bw, _| unsafe { bw_sys::bw_poll_write(bw, data, length, null()) });
        taken.map(|taken| taken as usize)
    }

    /// The same for parts that follow one another.
    pub(crate) fn write_vectored(&mut self, sink: &mut dyn Sink, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let total = parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len()));
        let is_vectored = sink.is_vectored();
        // A sink that is not vectored may get a part by itself if they do not fit.
        if total < self.window.room() || is_vectored && self.is_for_buffer(total) {
            self.make_room(sink, total)?;
            parts.iter().for_each(|part| self.window.fill(part));
            return Ok(total);
        }
        self.set_vectored(is_vectored);
        let (list, count) = (parts.as_ptr().cast(), c_int::try_from(parts.len()).unwrap_or(c_int::MAX));
        // SAFETY: so many parts lie there, and an IoSlice is an iovec; else as in write().
        let taken = self.run(sink, |bw, _| unsafe { bw_sys::bw_poll_writev(bw, list, count, null()) });
        taken.map(|taken| taken as usize)
    }

    /// Writes out the buffer, but does not flush the sink.
    pub(crate) fn write_out(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        // SAFETY: the writer is there, and we are its owner.
        self.run(sink, |bw, _| unsafe { bw_sys::bw_flush(bw) }.into()).map(drop)
    }

    /// Whether so many bytes go through the buffer.
    fn is_for_buffer(&self, length: usize) -> bool {
        length < self.capacity()
    }

    /// Room for `length` bytes, less than the capacity: the sink is written to if there is not enough.
    fn make_room(&mut self, sink: &mut dyn Sink, length: usize) -> io::Result<()> {
        if length <= self.window.room() {
            return Ok(());
        }
        // SAFETY: the writer is unshared, we are its owner, and run() has closed the window.
        self.run(sink, |bw, window| unsafe { window.open(bw, length) }.into()).map(drop)
    }

    /// Tells the library if the sink has changed its mind. One that is broken is not called anyway, and stays.
    fn set_vectored(&mut self, is_vectored: bool) {
        if is_vectored == self.is_vectored || self.is_broken() {
            return;
        }
        let bw = self.bw.as_ptr();
        // SAFETY: the window is this writer's, and we are its owner; the sink is copied, its ctx is what it was.
        let code = unsafe {
            self.window.close(bw);
            bw_sys::bw_set_sink(bw, &sink_callbacks(is_vectored), self.loan.as_ptr().cast())
        };
        if code == 0 {
            self.is_vectored = is_vectored;
        }
    }

    /// One call of the library, during which it has the sink. The sink's error comes back as it was.
    pub(crate) fn run(
        &mut self,
        sink: &mut dyn Sink,
        call: impl FnOnce(*mut bw_t, &mut Window) -> i64,
    ) -> io::Result<u64> {
        let bw = self.bw.as_ptr();
        // SAFETY: the window is this writer's, and we are its owner.
        check(unsafe { self.window.close(bw) })?;
        // SAFETY: it lives as long as we do, and the callbacks share it.
        let loan = unsafe { self.loan.as_ref() };
        // SAFETY: only the lifetime changes, and it is taken back before that ends.
        let sink = unsafe { mem::transmute::<NonNull<dyn Sink + '_>, NonNull<dyn Sink>>(NonNull::from(sink)) };
        loan.sink.set(Some(sink));
        let answer = call(bw, &mut self.window);
        loan.sink.set(None);
        let error = loan.error.take();
        loan.panic.resume();
        u64::try_from(answer).map_err(|_| error.unwrap_or_else(|| from_code(answer as c_int)))
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        let bw = self.bw.as_ptr();
        // SAFETY: the window is this writer's, which nobody uses any more. With nothing to write and no `close`,
        // freeing it calls nobody; then the loan is ours alone.
        unsafe {
            self.window.close(bw);
            bw_sys::bw_discard(bw);
            bw_sys::bw_free(bw);
            drop(Box::from_raw(self.loan.as_ptr()));
        }
    }
}
