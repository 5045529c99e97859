//! Errors and panics of the sink.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bw::Writer;

use super::scripted::{Call, Order};
use super::{write, writer};

#[derive(Debug)]
struct Odd(u32);

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "odd {}", self.0)
    }
}

impl Error for Odd {}

#[test]
fn an_error_comes_out_as_it_went_in_and_the_next_flush_goes_on() {
    let (mut writer, told) = writer(8);
    writer.write_all(b"abcdef").unwrap();
    told.order(Order::Take(2));
    told.order(Order::Fail(io::Error::new(ErrorKind::InvalidData, Odd(5))));
    let error = writer.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(error.into_inner().unwrap().downcast::<Odd>().unwrap().0, 5);
    assert_eq!(writer.buffer(), b"cdef");
    told.calls();
    writer.flush().unwrap();
    assert_eq!(told.calls(), [write(b"cdef"), Call::Flush]);
    assert_eq!(told.taken(), b"abcdef");
}

#[test]
fn a_write_that_finds_no_room_fails_and_is_not_accepted() {
    let (mut writer, told) = writer(4);
    writer.write_all(b"abc").unwrap();
    told.order(Order::Fail(io::Error::from_raw_os_error(libc::ENOSPC)));
    assert_eq!(writer.write(b"de").unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(writer.buffer(), b"abc");
    assert_eq!(writer.write(b"de").unwrap(), 2);
    writer.flush().unwrap();
    assert_eq!(told.taken(), b"abcde");
}

#[test]
fn an_error_of_the_past_is_not_taken_for_one_of_now() {
    let (mut writer, told) = writer(4);
    writer.write_all(b"abc").unwrap();
    told.order(Order::Fail(ErrorKind::InvalidData.into()));
    writer.flush().unwrap_err();
    told.order(Order::Fail(ErrorKind::Interrupted.into()));
    told.order(Order::Take(0));
    assert_eq!(writer.flush().unwrap_err().kind(), ErrorKind::WriteZero);
}

#[test]
fn a_sink_that_is_not_ready_is_asked_again_by_the_next_call() {
    let (mut writer, told) = writer(4);
    writer.write_all(b"abc").unwrap();
    told.order(Order::Take(1));
    told.order(Order::Fail(ErrorKind::WouldBlock.into()));
    assert_eq!(writer.flush().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(writer.buffer(), b"bc");
    writer.flush().unwrap();
    assert_eq!(told.taken(), b"abc");
}

#[test]
fn an_interrupted_sink_is_asked_again_at_once() {
    let (mut writer, told) = writer(4);
    writer.write_all(b"abc").unwrap();
    told.order(Order::Fail(ErrorKind::Interrupted.into()));
    writer.flush().unwrap();
    told.order(Order::Fail(ErrorKind::Interrupted.into()));
    writer.write_all(b"past the buffer").unwrap();
    assert_eq!(told.taken(), b"abcpast the buffer");
}

#[test]
fn an_interrupted_write_past_the_buffer_is_the_callers_to_repeat() {
    let (mut writer, told) = writer(4);
    told.order(Order::Fail(ErrorKind::Interrupted.into()));
    assert_eq!(writer.write(b"past the buffer").unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(told.taken(), b"");
}

#[test]
fn a_sink_that_takes_nothing_is_an_error() {
    let (mut writer, told) = writer(4);
    told.order(Order::Take(0));
    assert_eq!(writer.write(b"large enough").unwrap(), 0);
    told.order(Order::Take(0));
    assert_eq!(writer.write_all(b"large enough").unwrap_err().kind(), ErrorKind::WriteZero);
}

#[test]
fn a_panic_of_the_sink_is_the_callers_and_the_sink_is_not_called_again() {
    let (mut writer, told) = writer(4);
    writer.write_all(b"abc").unwrap();
    told.order(Order::Panic);
    let thrown = catch_unwind(AssertUnwindSafe(|| writer.flush())).unwrap_err();
    assert_eq!(*thrown.downcast::<&str>().unwrap(), "ordered");
    assert_eq!(told.calls(), [write(b"abc")]);
    for error in [writer.flush().unwrap_err(), writer.write(b"de").unwrap_err(), writer.write(b"12345").unwrap_err()] {
        assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&bw::Error::SINK));
    }
    let (_, unwritten) = writer.into_parts();
    assert_eq!(unwritten.unwrap_err().into_inner(), b"abc");
    assert_eq!(told.calls(), []);
}

#[test]
fn a_panic_within_a_write_past_the_buffer_is_the_callers() {
    let (mut writer, told) = writer(4);
    told.order(Order::Panic);
    catch_unwind(AssertUnwindSafe(|| writer.write(b"abcdef"))).unwrap_err();
    let (_, unwritten) = writer.into_parts();
    assert_eq!(unwritten.unwrap_err().into_inner(), b"");
}

#[test]
fn a_panic_in_flush_leaves_the_writer_as_it_was() {
    struct PanicsOnce(bool);
    impl Write for PanicsOnce {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            assert!(std::mem::take(&mut self.0));
            Ok(())
        }
    }
    let mut writer = Writer::new(PanicsOnce(false));
    writer.write_all(b"abc").unwrap();
    catch_unwind(AssertUnwindSafe(|| writer.flush())).unwrap_err();
    writer.get_mut().0 = true;
    writer.write_all(b"def").unwrap();
    writer.flush().unwrap();
}
