//! How a writer ends: what is written, and that each sink is dropped once.

use std::io::{self, ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bw::Writer;

use super::scripted::{Order, Told};
use super::{write, writer};

fn dropped(told: &Told) -> u32 {
    told.record(|record| record.dropped)
}

#[test]
fn dropping_writes_out_the_buffer_and_does_not_flush_the_sink() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    drop(writer);
    assert_eq!(told.calls(), [write(b"abc")]);
    assert_eq!(dropped(&told), 1);
}

#[test]
fn dropping_says_nothing_of_an_error() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    told.order(Order::Fail(ErrorKind::BrokenPipe.into()));
    drop(writer);
    assert_eq!(told.calls(), [write(b"abc")]);
    assert_eq!(dropped(&told), 1);
}

#[test]
fn dropping_does_not_call_a_sink_that_has_panicked() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    told.order(Order::Panic);
    catch_unwind(AssertUnwindSafe(|| writer.flush())).unwrap_err();
    told.calls();
    drop(writer);
    assert_eq!(told.calls(), []);
    assert_eq!(dropped(&told), 1);
}

#[test]
fn a_panic_while_dropping_goes_on_and_the_sink_is_dropped() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    told.order(Order::Panic);
    catch_unwind(AssertUnwindSafe(|| drop(writer))).unwrap_err();
    assert_eq!(told.calls(), [write(b"abc")]);
    assert_eq!(dropped(&told), 1);
}

#[test]
fn dropping_while_the_caller_panics_writes_out_the_buffer() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    catch_unwind(AssertUnwindSafe(move || {
        let _writer = writer;
        panic!("elsewhere");
    }))
    .unwrap_err();
    assert_eq!(told.taken(), b"abc");
    assert_eq!(dropped(&told), 1);
}

#[test]
fn into_inner_writes_out_the_buffer_and_does_not_flush_the_sink() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    let sink = writer.into_inner().unwrap();
    assert_eq!(told.calls(), [write(b"abc")]);
    assert_eq!(dropped(&told), 0);
    drop(sink);
    assert_eq!(dropped(&told), 1);
}

#[test]
fn into_inner_that_fails_gives_the_writer_back_whole() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    told.order(Order::Fail(ErrorKind::TimedOut.into()));
    let failed = writer.into_inner().unwrap_err();
    assert_eq!(failed.error().kind(), ErrorKind::TimedOut);
    let (error, mut writer) = failed.into_parts();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(writer.buffer(), b"abc");
    writer.write_all(b"def").unwrap();
    drop(writer.into_inner().unwrap());
    assert_eq!(told.taken(), b"abcdef");
    assert_eq!(dropped(&told), 1);
}

#[test]
fn an_into_inner_error_is_an_error() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    told.order(Order::Fail(ErrorKind::TimedOut.into()));
    let failed = writer.into_inner().unwrap_err();
    assert_eq!(failed.to_string(), io::Error::from(ErrorKind::TimedOut).to_string());
    assert!(std::error::Error::source(&failed).is_some());
    assert_eq!(io::Error::from(failed).kind(), ErrorKind::TimedOut);
    assert_eq!(told.taken(), b"abc"); // written when the writer was dropped
}

#[test]
fn into_parts_calls_nobody() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    let (sink, unwritten) = writer.into_parts();
    assert_eq!(unwritten.unwrap(), b"abc");
    drop(sink);
    assert_eq!(told.calls(), []);
    assert_eq!(dropped(&told), 1);
}

#[test]
fn into_parts_has_what_a_failed_write_has_left() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abc").unwrap();
    told.order(Order::Take(1));
    told.order(Order::Fail(ErrorKind::TimedOut.into()));
    writer.flush().unwrap_err();
    assert_eq!(writer.into_parts().1.unwrap(), b"bc");
}

#[test]
fn a_writer_does_not_close_its_sink() {
    struct NotToBeClosed;
    impl bw::Sink for NotToBeClosed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn close(&mut self) -> io::Result<()> {
            panic!("closed");
        }
    }
    let mut writer = Writer::new(NotToBeClosed);
    writer.write_all(b"abc").unwrap();
    drop(writer);
}

#[test]
#[should_panic(expected = "134217729 bytes")]
fn more_than_the_library_allows_is_refused_with_a_panic() {
    drop(Writer::with_capacity((128 << 20) + 1, Vec::new()));
}
