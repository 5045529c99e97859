//! Sinks that fail.

use std::fmt;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::io::AsyncWriteExt;

use super::*;

/// An error that no code can stand for.
#[derive(Debug)]
struct Odd(u32);

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "odd {}", self.0)
    }
}

impl std::error::Error for Odd {}

fn odd(number: u32) -> Step {
    Step::Fail(io::Error::new(ErrorKind::UnexpectedEof, Odd(number)))
}

fn number(error: &io::Error) -> u32 {
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    error.get_ref().unwrap().downcast_ref::<Odd>().unwrap().0
}

fn fail(kind: ErrorKind) -> Step {
    Step::Fail(kind.into())
}

#[tokio::test]
async fn the_caller_gets_the_sinks_own_error() {
    let mut writer = filled(4, b"abc", [odd(1), odd(2), odd(3), Step::Take(4), odd(4), odd(5)]);
    assert_eq!(number(&writer.flush().await.unwrap_err()), 1);
    assert_eq!(number(&writer.write(b"de").await.unwrap_err()), 2);
    assert_eq!(number(&write_vectored(&mut writer, &[b"de"]).await.unwrap_err()), 3);
    assert_eq!(number(&writer.write(b"long enough").await.unwrap_err()), 4);
    assert_eq!(number(&write_vectored(&mut writer, &[b"long enough"]).await.unwrap_err()), 5);
    assert_eq!(writer.get_ref().written(), b"abc");
}

#[tokio::test]
async fn errnos_and_kinds_come_through() {
    let errno = Step::Fail(io::Error::from_raw_os_error(28));
    let mut writer = filled(4, b"abc", [errno, fail(ErrorKind::WouldBlock), fail(ErrorKind::TimedOut)]);
    assert_eq!(writer.flush().await.unwrap_err().raw_os_error(), Some(28));
    assert_eq!(writer.flush().await.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(writer.flush().await.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn an_error_loses_nothing_and_repeats_nothing() {
    let mut writer = filled(8, b"abcdef", [Step::Take(2), fail(ErrorKind::Other), Step::Take(1), Step::Take(0)]);
    assert_eq!(writer.flush().await.unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(writer.buffer(), b"cdef");
    assert_eq!(writer.flush().await.unwrap_err().kind(), ErrorKind::WriteZero);
    assert_eq!(writer.buffer(), b"def");
    writer.write_all(b"ghi").await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(writer.get_ref().written(), b"abcdefghi");
}

#[tokio::test]
async fn a_write_that_failed_to_make_room_took_nothing() {
    let mut writer = filled(4, b"abc", [fail(ErrorKind::Other)]);
    assert!(writer.write(b"de").await.is_err());
    assert_eq!(writer.buffer(), b"abc");
    assert_eq!(writer.write(b"d").await.unwrap(), 1);
    assert_eq!(writer.buffer(), b"abcd");
}

#[tokio::test]
async fn an_interrupted_flush_goes_on_at_once() {
    let mut writer = filled(8, b"abc", [fail(ErrorKind::Interrupted), Step::Take(1), fail(ErrorKind::Interrupted)]);
    writer.flush().await.unwrap();
    assert_eq!(writer.get_ref().written(), b"abc");
    assert_eq!(writer.get_ref().asked().len(), 5);
}

#[tokio::test]
async fn a_mock_that_is_interrupted_sees_the_bytes_once() {
    let mock = tokio_test::io::Builder::new().write_error(ErrorKind::Interrupted.into()).write(b"hello").build();
    let mut writer = BufWriter::with_capacity(6, mock);
    assert_eq!(writer.write(b"hello").await.unwrap(), 5);
    writer.flush().await.unwrap();
}

#[tokio::test]
async fn an_interrupted_long_write_is_the_callers_to_repeat() {
    let mut writer = BufWriter::with_capacity(4, Planned::new([fail(ErrorKind::Interrupted)]));
    assert_eq!(writer.write(b"abcde").await.unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(writer.write(b"abcde").await.unwrap(), 5);
    assert_eq!(writer.get_ref().asked(), [Asked::Write(5), Asked::Write(5)]);
}

#[tokio::test]
async fn a_long_write_that_takes_nothing_is_no_error_of_the_writers() {
    let mut writer = BufWriter::with_capacity(4, Planned::new([Step::Take(0)]));
    assert_eq!(writer.write(b"abcde").await.unwrap(), 0);
}

#[tokio::test]
async fn flushes_and_shutdowns_that_fail_may_be_repeated() {
    let mut writer = filled(8, b"abc", [Step::Take(8), odd(1), odd(2)]);
    assert_eq!(number(&writer.flush().await.unwrap_err()), 1);
    assert_eq!(number(&writer.shutdown().await.unwrap_err()), 2);
    writer.flush().await.unwrap();
    writer.shutdown().await.unwrap();
    use Asked::*;
    assert_eq!(writer.get_ref().asked(), [Write(3), Flush, Shutdown, Flush, Shutdown]);
}

#[test]
fn a_panic_of_the_sink_reaches_the_caller() {
    let mut writer = filled(4, b"abc", [Step::Panic("in a flush")]);
    let thrown = catch_unwind(AssertUnwindSafe(|| poll_flush(&mut writer))).unwrap_err();
    assert_eq!(thrown.downcast_ref(), Some(&"in a flush"));
    assert_eq!(writer.buffer(), b"abc");

    let mut writer = BufWriter::with_capacity(4, Planned::new([Step::Panic("in a long write")]));
    let thrown = catch_unwind(AssertUnwindSafe(|| poll_write(&mut writer, b"abcd"))).unwrap_err();
    assert_eq!(thrown.downcast_ref(), Some(&"in a long write"));

    let mut writer = filled(4, b"abc", [Step::Take(4), Step::Panic("in the flush of the sink")]);
    let thrown = catch_unwind(AssertUnwindSafe(|| poll_flush(&mut writer))).unwrap_err();
    assert_eq!(thrown.downcast_ref(), Some(&"in the flush of the sink"));
    assert!(matches!(poll_flush(&mut writer), Poll::Ready(Ok(()))));
}

#[test]
fn after_a_panic_it_may_be_dropped_or_taken_apart() {
    for is_dropped in [true, false] {
        let mut writer = filled(4, b"abc", [Step::Take(1), Step::Panic("on purpose")]);
        let log = writer.get_ref().log.clone();
        catch_unwind(AssertUnwindSafe(|| poll_flush(&mut writer))).unwrap_err();
        if is_dropped {
            drop(writer);
        } else {
            assert_eq!(writer.into_inner().written(), b"a");
        }
        assert_eq!(log.lock().unwrap().len(), 2);
    }
}
