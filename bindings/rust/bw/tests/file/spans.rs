//! Spans: filled in place, committed whole.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use bw::Level;

use super::support::{empty, receive};

#[test]
fn spans_are_committed_in_any_order_from_any_thread() {
    let (file, path) = empty();
    let mut first = file.reserve(3).unwrap();
    let mut second = file.reserve(3).unwrap();
    assert_eq!((first.position(), second.position()), (0, 3));
    second.copy_from_slice(b"two");
    assert_eq!(second.commit().unwrap(), 3);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            first.copy_from_slice(b"one");
            first.commit().unwrap();
        });
    });
    file.flush().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"onetwo");
}

#[test]
fn a_span_that_is_dropped_is_zeros() {
    let (file, path) = empty();
    file.append(b"a").unwrap();
    let mut span = file.reserve(4).unwrap();
    span.fill(7);
    drop(span);
    file.append(b"b").unwrap();
    file.flush().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"a\0\0\0\0b");
}

#[test]
fn a_panic_while_a_span_is_filled_leaves_zeros() {
    let (file, path) = empty();
    catch_unwind(AssertUnwindSafe(|| {
        let mut span = file.reserve(2).unwrap();
        span[0] = 7;
        panic!("half-way");
    }))
    .unwrap_err();
    file.close().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"\0\0");
}

#[test]
fn a_flush_waits_for_a_span_below_it() {
    let (file, path) = empty();
    let mut span = file.reserve(4).unwrap();
    assert_eq!(file.position(Level::Accepted).unwrap(), 0);
    let (done, flushed) = mpsc::channel();
    std::thread::scope(|scope| {
        let file = &file;
        scope.spawn(move || done.send(file.flush().is_ok()).unwrap());
        span.copy_from_slice(b"text");
        assert!(flushed.try_recv().is_err());
        span.commit().unwrap();
        assert_eq!(receive(&flushed), Ok(true));
    });
    assert_eq!(std::fs::read(&path).unwrap(), b"text");
}

#[test]
fn lengths_that_make_no_span_are_refused() {
    let (file, _path) = empty();
    assert_eq!(file.reserve(0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    assert_eq!(file.reserve(file.capacity() + 1).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
    let span = file.reserve(file.capacity()).unwrap();
    assert_eq!(span.len(), file.capacity());
    assert_eq!(file.discard().unwrap_err().raw_os_error(), Some(libc::EBUSY));
}
