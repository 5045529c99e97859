//! The unshared writer over any sink.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Seek, SeekFrom, Write};
use std::mem::ManuallyDrop;
use std::ptr;

use crate::into_inner::{IntoInnerError, WriterPanicked};
use crate::sink::Sink;
use crate::unshared::Unshared;

/// A buffer in front of a sink, for one thread at a time: [`std::io::BufWriter`] over the library's own buffer.
///
/// Less than a buffer that does not fit what is left of it makes it be written out first; a piece of the whole capacity
/// or more goes past it. A failed write keeps what the sink has not taken, and the next call goes on with it. Errors of
/// the sink come out as they went in.
///
/// Dropping a writer writes out what is in the buffer, and says nothing if that fails: call [`flush`](Write::flush), or
/// [`into_inner`](Writer::into_inner).
///
/// # Differences from `std::io::BufWriter`
///
/// - After the sink panicked in a write, or claimed more than it was offered, it is not known what became of the bytes:
///   every later write and flush gives [`Error::SINK`](crate::Error::SINK). [`into_parts`](Writer::into_parts) has what
///   is left.
/// - Capacity 0 is 1.
/// - A sink that is [`std::io::Write`] is taken to be vectored. Where it has no `write_vectored` of its own, parts that
///   are longer than the buffer together reach it one by one.
///
/// # Example
///
/// ```
/// use std::io::Write;
///
/// let mut writer = bw::Writer::new(Vec::new());
/// for number in 1..=3 {
///     writeln!(writer, "{number}")?;
/// }
/// assert_eq!(writer.into_inner()?, b"1\n2\n3\n");
/// # std::io::Result::Ok(())
/// ```
pub struct Writer<S: Sink> {
    core: Unshared,
    sink: S,
}

impl<S: Sink> Writer<S> {
    /// Makes a writer with a buffer of 8 KiB.
    ///
    /// # Panics
    ///
    /// If there is no memory for it.
    ///
    /// # Example
    ///
    /// ```
    /// let writer = bw::Writer::new(std::io::stdout());
    /// assert_eq!(writer.capacity(), 8192);
    /// ```
    pub fn new(sink: S) -> Writer<S> {
        Writer::make(0, sink) // the library's default
    }

    /// Makes a writer with a buffer of `capacity` bytes; 0 is 1.
    ///
    /// # Panics
    ///
    /// If `capacity` is over 128 MiB, or there is no memory for it.
    ///
    /// # Example
    ///
    /// ```
    /// let writer = bw::Writer::with_capacity(64 << 10, std::io::sink());
    /// assert_eq!(writer.capacity(), 65536);
    /// ```
    pub fn with_capacity(capacity: usize, sink: S) -> Writer<S> {
        Writer::make(capacity.max(1), sink)
    }

    fn make(capacity: usize, sink: S) -> Writer<S> {
        match Unshared::new(capacity) {
            Ok(core) => Writer { core, sink },
            Err(error) => panic!("a writer with a buffer of {capacity} bytes: {error}"),
        }
    }

    /// The sink.
    ///
    /// # Example
    ///
    /// ```
    /// let writer = bw::Writer::new(vec![1]);
    /// assert_eq!(*writer.get_ref(), [1]);
    /// ```
    pub fn get_ref(&self) -> &S {
        &self.sink
    }

    /// The sink. What is written to it directly does not wait for what is in the buffer.
    ///
    /// # Example
    ///
    /// ```
    /// let mut writer = bw::Writer::new(vec![1]);
    /// writer.get_mut().clear();
    /// assert!(writer.get_ref().is_empty());
    /// ```
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    /// The bytes in the buffer: those that the sink has not taken.
    ///
    /// # Example
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let mut writer = bw::Writer::new(Vec::new());
    /// writer.write_all(b"text")?;
    /// assert_eq!(writer.buffer(), b"text");
    /// writer.flush()?;
    /// assert_eq!(writer.buffer(), b"");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn buffer(&self) -> &[u8] {
        self.core.buffer()
    }

    /// How many bytes the buffer holds.
    ///
    /// # Example
    ///
    /// ```
    /// assert_eq!(bw::Writer::with_capacity(100, Vec::new()).capacity(), 100);
    /// ```
    pub fn capacity(&self) -> usize {
        self.core.capacity()
    }

    /// Writes out the buffer and gives the sink back.
    ///
    /// # Errors
    ///
    /// What the sink fails with, and the writer along with it.
    ///
    /// # Example
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let mut writer = bw::Writer::new(Vec::new());
    /// writer.write_all(b"text")?;
    /// assert_eq!(writer.into_inner()?, b"text");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_inner(mut self) -> Result<S, IntoInnerError<Writer<S>>> {
        match self.write_out() {
            Ok(()) => Ok(self.take_apart().0),
            Err(error) => Err(IntoInnerError::new(self, error)),
        }
    }

    /// Gives back the sink, which is not called, and the bytes that it has not taken.
    ///
    /// # Errors
    ///
    /// The bytes come as an error if the sink has panicked or claimed too much: it may have taken some of them.
    ///
    /// # Example
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let mut writer = bw::Writer::new(Vec::new());
    /// writer.write_all(b"text")?;
    /// let (sink, unwritten) = writer.into_parts();
    /// assert!(sink.is_empty());
    /// assert_eq!(unwritten?, b"text");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_parts(self) -> (S, Result<Vec<u8>, WriterPanicked>) {
        let bytes = self.buffer().to_vec();
        let (sink, is_broken) = self.take_apart();
        (sink, if is_broken { Err(WriterPanicked::new(bytes)) } else { Ok(bytes) })
    }

    /// The sink, and whether it is broken. What is unwritten is gone.
    fn take_apart(self) -> (S, bool) {
        let writer = ManuallyDrop::new(self);
        // SAFETY: each field is moved out once, and the writer is not dropped.
        let (core, sink) = unsafe { (ptr::read(&writer.core), ptr::read(&writer.sink)) };
        (sink, core.is_broken())
    }

    /// Writes out the buffer, but does not flush the sink.
    fn write_out(&mut self) -> io::Result<()> {
        self.core.write_out(&mut self.sink)
    }

    /// Makes a call that uses the library's writer, and so, perhaps, the sink.
    pub(crate) fn lend(&mut self, call: impl FnOnce(*mut bw_sys::bw_t) -> i64) -> io::Result<u64> {
        self.core.run(&mut self.sink, |bw, _| call(bw))
    }

    #[cold]
    #[inline(never)]
    fn write_all_slow(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.core.write(&mut self.sink, bytes) {
                Ok(0) => return Err(crate::Error::WRITE_ZERO.into()),
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<S: Sink> Write for Writer<S> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.core.push(bytes) { Ok(bytes.len()) } else { self.core.write(&mut self.sink, bytes) }
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.core.push(bytes) { Ok(()) } else { self.write_all_slow(bytes) }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.core.write_vectored(&mut self.sink, parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.sink.flush()
    }
}

impl<S: Sink + Seek> Seek for Writer<S> {
    /// Writes out the buffer, then moves the sink.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.write_out()?;
        self.sink.seek(to)
    }
}

impl<S: Sink + Read> Read for Writer<S> {
    /// Reads straight from the sink. Nothing is written out for it.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.sink.read(bytes)
    }
}

impl<S: Sink + fmt::Debug> fmt::Debug for Writer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("sink", &self.sink)
            .field("buffer", &format_args!("{}/{}", self.buffer().len(), self.capacity()))
            .finish()
    }
}

impl<S: Sink> Drop for Writer<S> {
    fn drop(&mut self) {
        if !self.core.is_broken() {
            let _ = self.write_out();
        }
    }
}
