//! A poll allocates nothing, neither in Rust nor in the library, and what is allocated is freed: both call malloc and
//! its family, which count here.

#![cfg(feature = "tokio")]

use std::cell::Cell;
use std::ffi::c_void;
use std::io::{self, IoSlice, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bw::tokio::BufWriter;
use tokio::io::{AsyncSeek, AsyncWrite};

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    static FREED: Cell<usize> = const { Cell::new(0) };
}

fn allocated() {
    ALLOCATED.set(ALLOCATED.get() + 1);
}

fn freed(block: *mut c_void) {
    FREED.set(FREED.get() + usize::from(!block.is_null()));
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
    fn __libc_free(block: *mut c_void);
}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    allocated();
    // SAFETY: as the caller says.
    unsafe { __libc_malloc(size) }
}

#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    allocated();
    // SAFETY: as the caller says.
    unsafe { __libc_calloc(count, size) }
}

/// # Safety
///
/// As realloc(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    allocated();
    freed(block);
    // SAFETY: as the caller says.
    unsafe { __libc_realloc(block, size) }
}

/// # Safety
///
/// As free(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    freed(block);
    // SAFETY: as the caller says.
    unsafe { __libc_free(block) }
}

#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    allocated();
    // SAFETY: as the caller says.
    unsafe { __libc_memalign(alignment, size) }
}

/// How often this thread allocates meanwhile.
fn allocations<R>(body: impl FnOnce() -> R) -> usize {
    let before = ALLOCATED.get();
    std::hint::black_box(body());
    ALLOCATED.get() - before
}

/// Takes what it is given, at every second poll.
#[derive(Default)]
struct Hesitant {
    polls: usize,
}

impl Hesitant {
    fn answer<R>(&mut self, answer: R) -> Poll<io::Result<R>> {
        self.polls += 1;
        if self.polls % 2 == 0 { Poll::Ready(Ok(answer)) } else { Poll::Pending }
    }
}

impl AsyncWrite for Hesitant {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.answer(data.len())
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = slices.iter().map(|slice| slice.len()).sum();
        self.answer(total)
    }
    fn is_write_vectored(&self) -> bool {
        self.polls % 4 < 2
    }
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.answer(())
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.answer(())
    }
}

impl AsyncSeek for Hesitant {
    fn start_seek(self: Pin<&mut Self>, _: SeekFrom) -> io::Result<()> {
        Ok(())
    }
    fn poll_complete(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.answer(0)
    }
}

#[test]
fn allocations_of_rust_and_of_the_library_are_counted() {
    assert_eq!(allocations(|| Box::new(1u64)), 1);
    let of_rust_alone = 1;
    assert!(allocations(|| BufWriter::with_capacity(64, Hesitant::default())) > of_rust_alone);
}

#[test]
fn no_poll_allocates() {
    let mut writer = BufWriter::with_capacity(64, Hesitant::default());
    let mut cx = Context::from_waker(Waker::noop());
    let data = [7; 100];
    let mut pending = 0;
    let count = allocations(|| {
        for turn in 0..1000 {
            let mut writer = Pin::new(&mut writer);
            let slices = [IoSlice::new(&data[..turn % 50]), IoSlice::new(&data[..turn % 70])];
            writer.as_mut().start_seek(SeekFrom::Start(0)).unwrap();
            pending += usize::from(writer.as_mut().poll_write(&mut cx, &data[..turn % 100]).is_pending());
            pending += usize::from(writer.as_mut().poll_write_vectored(&mut cx, &slices).is_pending());
            pending += usize::from(writer.as_mut().poll_complete(&mut cx).is_pending());
            pending += usize::from(writer.as_mut().poll_flush(&mut cx).is_pending());
            pending += usize::from(writer.as_mut().poll_shutdown(&mut cx).is_pending());
        }
    });
    assert_eq!(count, 0);
    assert!(pending > 0);
}

#[test]
fn a_drop_allocates_nothing_and_frees_what_was_allocated() {
    let use_one = || {
        let mut writer = BufWriter::with_capacity(64, Hesitant::default());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut writer).poll_write(&mut cx, b"buffered").is_ready());
        assert!(Pin::new(&mut writer).poll_flush(&mut cx).is_pending());
        assert_eq!(allocations(|| drop(writer)), 0);
    };
    use_one(); // what is made once in each thread
    let before = FREED.get();
    let count = allocations(|| (0..100).for_each(|_| use_one()));
    assert!(count > 0);
    assert_eq!(FREED.get() - before, count);
}
