//! Sinks: where the bytes go.

use std::ffi::{c_int, c_void};
use std::io::{self, IoSlice, Write};
use std::slice;

use bw_sys::{BW_SINK_INIT, bw_sink_t, iovec};

/// What takes the bytes of a [`Writer`](crate::Writer) or, in place of its file, of a [`File`](crate::File).
///
/// Everything that is [`std::io::Write`] is one. A type of your own can be one without being that, and can then say how
/// it makes its bytes durable.
///
/// # Example
///
/// ```
/// use std::io::{self, Write};
///
/// /// Counts what it is given.
/// #[derive(Default)]
/// struct Count(u64);
///
/// impl bw::Sink for Count {
///     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
///         self.0 += bytes.len() as u64;
///         Ok(bytes.len())
///     }
/// }
///
/// let mut writer = bw::Writer::new(Count::default());
/// writer.write_all(b"one, two")?;
/// assert_eq!(writer.into_inner()?.0, 8);
/// # io::Result::Ok(())
/// ```
pub trait Sink {
    /// Takes bytes from the front and says how many: at least one, perhaps fewer than all; the rest is offered again.
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) means not now, [`Interrupted`](io::ErrorKind::Interrupted) once more.
    /// Whatever it fails with, no byte is lost. If it panics, or says more than it was offered, nobody knows what it
    /// has done: it is not called again, and its writer answers [`Error::SINK`](crate::Error::SINK).
    ///
    /// # Errors
    ///
    /// The sink's own. The writer's caller gets them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// The same for parts that follow one another. By itself it takes of the first one that is not empty.
    ///
    /// # Errors
    ///
    /// As [`write`](Sink::write).
    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(parts.iter().find(|part| !part.is_empty()).map_or(&[], |part| &**part))
    }

    /// Whether it is to be given parts at all; asked when there are some. By itself it is not, and parts are gathered
    /// in the buffer.
    ///
    /// For everything that is [`std::io::Write`] the answer is yes.
    fn is_vectored(&self) -> bool {
        false
    }

    /// Passes on what the sink itself has buffered. By itself there is nothing to do.
    ///
    /// # Errors
    ///
    /// The sink's own.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Makes durable what was taken, for [`File`](crate::File)s: one that fails has failed for ever.
    ///
    /// # Errors
    ///
    /// The sink's own. By itself it is `EOPNOTSUPP`: it cannot be done, which is no failure.
    fn sync(&mut self) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
    }

    /// The sink is no longer needed, says a [`File`](crate::File) that is closed. A [`Writer`](crate::Writer) never
    /// does: it gives the sink back, or drops it.
    ///
    /// # Errors
    ///
    /// The sink's own; [`File::close`](crate::File::close) gives them.
    fn close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Sink for W {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        Write::write_vectored(self, parts)
    }

    fn is_vectored(&self) -> bool {
        true
    }

    fn flush(&mut self) -> io::Result<()> {
        Write::flush(self)
    }
}

/// What the `ctx` of a sink's callbacks points to.
pub(crate) trait Seat {
    /// The sink that it leads to.
    type Sink: Sink + ?Sized;

    /// Calls the sink and makes a code of what it fails with. A panic is parked and becomes `BW_ESINK`.
    ///
    /// # Safety
    ///
    /// `ctx` is such a seat, and the library calls: never twice at a time.
    unsafe fn call(ctx: *mut c_void, body: impl FnOnce(&mut Self::Sink) -> io::Result<i64>) -> i64;
}

/// The callbacks for a sink in such a seat.
pub(crate) fn callbacks<T: Seat>(is_vectored: bool) -> bw_sink_t {
    let mut sink = BW_SINK_INIT;
    sink.write = Some(write::<T>);
    sink.writev = is_vectored.then_some(writev::<T> as _);
    sink.flush = Some(flush::<T>);
    sink.sync = Some(sync::<T>);
    sink.close = Some(close::<T>);
    sink
}

/// A count that no slice has is more than was offered.
fn count(taken: usize) -> i64 {
    i64::try_from(taken).unwrap_or(i64::MAX)
}

unsafe extern "C" fn write<T: Seat>(ctx: *mut c_void, data: *const c_void, length: usize) -> i64 {
    // SAFETY: the library says that so many bytes lie there.
    let bytes = unsafe { slice::from_raw_parts(data.cast::<u8>(), length) };
    // SAFETY: the library calls, with the ctx that it was given.
    unsafe { T::call(ctx, |sink| sink.write(bytes).map(count)) }
}

unsafe extern "C" fn writev<T: Seat>(ctx: *mut c_void, parts: *const iovec, length: c_int) -> i64 {
    // SAFETY: so many parts lie there, and an IoSlice is an iovec.
    let parts = unsafe { slice::from_raw_parts(parts.cast::<IoSlice<'_>>(), length as usize) };
    // SAFETY: as in write().
    unsafe { T::call(ctx, |sink| sink.write_vectored(parts).map(count)) }
}

unsafe extern "C" fn flush<T: Seat>(ctx: *mut c_void) -> c_int {
    // SAFETY: as in write().
    unsafe { T::call(ctx, |sink| sink.flush().map(|()| 0)) as c_int }
}

unsafe extern "C" fn sync<T: Seat>(ctx: *mut c_void) -> c_int {
    // SAFETY: as in write().
    unsafe { T::call(ctx, |sink| sink.sync().map(|()| 0)) as c_int }
}

unsafe extern "C" fn close<T: Seat>(ctx: *mut c_void) -> c_int {
    // SAFETY: as in write().
    unsafe { T::call(ctx, |sink| sink.close().map(|()| 0)) as c_int }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain(Vec<u8>);

    impl Sink for Plain {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
    }

    #[test]
    fn parts_go_to_write_by_themselves_the_first_that_is_not_empty() {
        let mut sink = Plain(Vec::new());
        assert_eq!(sink.write_vectored(&[]).unwrap(), 0);
        let parts = [IoSlice::new(b""), IoSlice::new(b"one"), IoSlice::new(b"two")];
        assert_eq!(sink.write_vectored(&parts).unwrap(), 3);
        assert_eq!(sink.0, b"one");
        assert!(!sink.is_vectored());
        assert!(Sink::is_vectored(&Vec::new()));
    }

    #[test]
    fn what_a_sink_need_not_say_is_that_all_is_well_and_that_it_cannot_sync() {
        let mut sink = Plain(Vec::new());
        sink.flush().unwrap();
        sink.close().unwrap();
        assert_eq!(sink.sync().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(Sink::sync(&mut Vec::new()).unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
    }
}
