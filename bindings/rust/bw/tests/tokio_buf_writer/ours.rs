//! Ours: the cases, and what only ours does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use bw::tokio::BufWriter;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_test::task::spawn;

use crate::planned::{Asked, Planned, Step};

#[path = "cases/mod.rs"]
mod cases;

fn is_unknown(error: std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.downcast_ref() == Some(&bw::Error::SINK))
}

#[tokio::test]
async fn while_a_flush_is_pending_the_buffer_is_what_is_left() {
    let mut writer = BufWriter::with_capacity(8, Planned::default());
    writer.write_all(b"abcdef").await.unwrap();
    writer.get_mut().plan.extend([Step::Take(2), Step::Pending]);
    assert!(spawn(()).enter(|cx, _| Pin::new(&mut writer).poll_flush(cx)).is_pending());
    assert_eq!(writer.buffer(), b"cdef");
    writer.write_all(b"ghij").await.unwrap();
    assert_eq!(writer.get_ref().asked().len(), 2);
    writer.flush().await.unwrap();
    assert_eq!(writer.get_ref().written(), b"abcdefghij");
}

#[tokio::test]
async fn a_write_of_nothing_does_not_reach_the_sink() {
    let mut writer = BufWriter::with_capacity(0, Planned::default());
    assert_eq!(writer.write(b"").await.unwrap(), 0);
    assert!(writer.get_ref().asked().is_empty());
}

#[tokio::test]
async fn after_a_panic_nothing_is_offered_twice() {
    for capacity in [8, 2] {
        let mut writer = BufWriter::with_capacity(capacity, Planned::default());
        writer.write_all(b"a").await.unwrap();
        writer.get_mut().plan.push_back(Step::Panic("on purpose"));
        let flush = || spawn(writer.flush()).poll();
        catch_unwind(AssertUnwindSafe(flush)).unwrap_err();
        assert!(is_unknown(writer.flush().await.unwrap_err()));
        assert!(is_unknown(writer.write(b"b").await.unwrap_err()));
        assert!(is_unknown(writer.write(b"long enough").await.unwrap_err()));
        writer.get_mut().vectored = true;
        let slices = [std::io::IoSlice::new(b"long enough")];
        assert!(is_unknown(writer.write_vectored(&slices).await.unwrap_err()));
        assert!(is_unknown(writer.shutdown().await.unwrap_err()));
        assert_eq!(writer.buffer(), b"a");
        assert_eq!(writer.into_inner().asked(), [Asked::Write(1)]);
    }
}

#[tokio::test]
async fn a_sink_that_claims_too_much_is_not_believed() {
    for more in [1, usize::MAX / 2] {
        let mut writer = BufWriter::with_capacity(8, Planned::new([Step::Overclaim(more)]));
        writer.write_all(b"abc").await.unwrap();
        assert!(is_unknown(writer.flush().await.unwrap_err()));
        assert!(is_unknown(writer.write(b"long enough").await.unwrap_err()));
        assert_eq!(writer.buffer(), b"abc");
    }
}

#[test]
fn an_impossible_capacity_is_refused_aloud() {
    for capacity in [(128 << 20) + 1, usize::MAX] {
        let thrown = catch_unwind(|| BufWriter::with_capacity(capacity, tokio::io::sink())).unwrap_err();
        let text = thrown.downcast_ref::<String>().unwrap();
        assert!(text.contains(&capacity.to_string()) && text.contains("Invalid argument"), "{text}");
    }
}

#[tokio::test]
async fn the_child_of_a_fork_can_write_nothing() {
    let mut writer = BufWriter::with_capacity(8, Planned::default());
    writer.write_all(b"abc").await.unwrap();
    // SAFETY: the child calls what it may call, and leaves.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = |answer: Poll<std::io::Result<()>>| match answer {
            Poll::Ready(Err(error)) => error.raw_os_error() == Some(libc::ECHILD),
            _ => false,
        };
        let is_empty = writer.buffer().is_empty();
        let is_refused = refused(spawn(writer.flush()).poll()) && refused(spawn(writer.write_all(b"defg")).poll());
        let is_silent = writer.into_inner().asked().is_empty();
        // SAFETY: as above.
        unsafe { libc::_exit(if is_empty && is_refused && is_silent { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: it is our child.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    writer.flush().await.unwrap();
    assert_eq!(writer.get_ref().written(), b"abc");
}

/// A callback may call other writers: here the inner one is called inside the outer one's.
#[tokio::test]
async fn one_may_be_the_sink_of_another() {
    let mut outer = BufWriter::with_capacity(4, BufWriter::with_capacity(8, Planned::hesitant()));
    for part in [&b"ab"[..], b"cd", b"efghijklmn", b"o"] {
        outer.write_all(part).await.unwrap();
    }
    outer.flush().await.unwrap();
    assert_eq!(outer.into_inner().into_inner().written(), b"abcdefghijklmno");
}

/// A sink that may not move once it was polled.
#[tokio::test]
async fn a_pinned_sink_stays_where_it_is() {
    #[derive(Default)]
    struct Rooted {
        place: Option<usize>,
        written: Vec<u8>,
        _pinned: std::marker::PhantomPinned,
    }
    impl Rooted {
        fn look(self: Pin<&mut Self>) -> &mut Vec<u8> {
            // SAFETY: nothing is moved.
            let me = unsafe { self.get_unchecked_mut() };
            let place = std::ptr::from_ref(me).addr();
            assert_eq!(*me.place.get_or_insert(place), place);
            &mut me.written
        }
    }
    impl AsyncWrite for Rooted {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            data: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            self.look().extend_from_slice(data);
            Poll::Ready(Ok(data.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<std::io::Result<()>> {
            self.look();
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<std::io::Result<()>> {
            self.look();
            Poll::Ready(Ok(()))
        }
    }
    let mut writer = Box::pin(BufWriter::with_capacity(4, Rooted::default()));
    writer.write_all(b"abc").await.unwrap();
    writer.write_all(b"def").await.unwrap();
    writer.shutdown().await.unwrap();
    assert_eq!(writer.as_mut().get_pin_mut().look(), b"abcdef");
}
