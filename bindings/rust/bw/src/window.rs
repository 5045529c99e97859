//! The room that an unshared writer of the library has reserved: filled here, so that C is entered once per buffer.

use std::ffi::c_int;
use std::ptr::{copy_nonoverlapping, null_mut};

use bw_sys::{bw_commit, bw_reserve, bw_span_t, bw_t};

/// No span is open.
const CLOSED: bw_span_t = bw_span_t { data: null_mut(), length: 0, position: 0, private_: null_mut() };

/// A span of an unshared writer, filled from the front. While it is closed it has no room.
pub(crate) struct Window {
    span: bw_span_t,
    next: *mut u8,
    room: usize,
}

impl Window {
    pub(crate) const fn closed() -> Window {
        Window { span: CLOSED, next: null_mut(), room: 0 }
    }

    /// How many bytes still fit.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// How many bytes lie here that the library does not know of yet. They follow those of `bw_buffer`.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.span.length - self.room
    }

    /// Takes the bytes if some room is left behind them. What fills the buffer to its last byte is the library's
    /// affair, for a write of the whole capacity goes past the buffer.
    #[inline]
    pub(crate) fn push(&mut self, data: &[u8]) -> bool {
        let fits = data.len() < self.room;
        if fits {
            self.fill(data);
        }
        fits
    }

    /// Takes the bytes, for which there is room.
    #[inline]
    pub(crate) fn fill(&mut self, data: &[u8]) {
        assert!(data.len() <= self.room);
        // SAFETY: `room` bytes from `next` on are ours to write to until the span is committed, and nobody else's.
        unsafe {
            copy_nonoverlapping(data.as_ptr(), self.next, data.len());
            self.next = self.next.add(data.len());
        }
        self.room -= data.len();
    }

    /// Reserves what is left of the buffer, at least `length` bytes: the writer flushes first if there are less.
    ///
    /// # Safety
    ///
    /// `bw` is an unshared writer, the caller its owner; it is closed here before it is freed.
    pub(crate) unsafe fn open(&mut self, bw: *mut bw_t, length: usize) -> c_int {
        // SAFETY: as the caller says.
        let code = unsafe { bw_reserve(bw, length, &mut self.span) };
        if code == 0 {
            self.next = self.span.data.cast();
            self.room = self.span.length;
        }
        code
    }

    /// Commits what was filled. Nothing happens where no span is open.
    ///
    /// # Safety
    ///
    /// `bw` is the writer that it was opened with, the caller its owner.
    pub(crate) unsafe fn close(&mut self, bw: *mut bw_t) -> c_int {
        if self.span.data.is_null() {
            return 0;
        }
        let used = self.used();
        let mut span = std::mem::replace(self, Window::closed()).span;
        // SAFETY: the span is open, and `bw` gave it. It fails in the child of a fork alone, where there is no writer.
        unsafe { bw_commit(bw, &mut span, used) }
    }
}
