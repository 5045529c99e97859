use std::ffi::{CStr, c_int};
use std::fmt;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::ptr;

use bw_sys::{bw_batch_options_t, bw_t};
use libc::iovec;

use super::Builder;
use super::handle::{Freed, Handle};
use super::listeners::{Listen, Listeners};
use super::state::State;
use crate::error::{check, from_code};
use crate::panic::Parked;
use crate::{File, IntoInnerError, Sink, Writer};

/// Writes items of bytes to a [`Writer`] or a [`File`], each with a separator behind it, and never torn.
///
/// An item is one append, all or nothing. It is delivered when the writer has accepted it.
///
/// Dropping the sink writes what is left, and says nothing if that fails: call [`flush`](LogSink::flush), or
/// [`into_inner`](LogSink::into_inner).
///
/// # Example
///
/// ```
/// use bw::Writer;
/// use bw::batch::LogSink;
///
/// let mut log = LogSink::new(Writer::new(Vec::new()), c"\n", 100)?;
/// for line in ["one", "two"] {
///     log.send(line)?;
/// }
/// assert_eq!(log.into_inner()?.into_inner()?, b"one\ntwo\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct LogSink<W: LogWriter> {
    handle: ManuallyDrop<LogHandle>,
    writer: W,
}

/// Its state keeps the file.
type LogHandle = Handle<Vec<u8>, Option<File>, LogListeners>;

/// What a [`LogSink`] can write to: a [`File`] or a [`Writer`].
///
/// # Example
///
/// ```
/// use bw::batch::{LogSink, LogWriter};
///
/// fn greet<W: LogWriter>(log: &mut LogSink<W>) -> std::io::Result<()> {
///     log.send("hello")
/// }
///
/// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
/// let mut log = LogSink::new(bw::File::open(&path)?, c"\n", 100)?;
/// greet(&mut log)?;
/// drop(log);
/// assert_eq!(std::fs::read_to_string(&path)?, "hello\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait LogWriter: sealed::LogWriter {}

impl<S: Sink> LogWriter for Writer<S> {}
impl LogWriter for File {}

mod sealed {
    use std::ffi::c_int;
    use std::io;

    use bw_sys::bw_t;

    use crate::File;

    pub trait LogWriter {
        /// Makes a call that uses the writer.
        fn lend(&mut self, call: impl FnOnce(*mut bw_t) -> c_int) -> io::Result<()>;

        /// What has to live until the batcher was freed, which may be later, by another thread.
        fn keep(&self) -> Option<File>;

        /// Whether others may use the writer, so that it is worth waiting for.
        fn is_shared(&self) -> bool;

        /// Flushes what is behind the writer, if it is the sink's alone.
        fn flush_sink(&mut self) -> io::Result<()>;
    }
}

impl<S: Sink> sealed::LogWriter for Writer<S> {
    fn lend(&mut self, call: impl FnOnce(*mut bw_t) -> c_int) -> io::Result<()> {
        Writer::lend(self, |writer| call(writer).into()).map(|_| ())
    }

    fn keep(&self) -> Option<File> {
        None
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn flush_sink(&mut self) -> io::Result<()> {
        Write::flush(self)
    }
}

impl sealed::LogWriter for File {
    fn lend(&mut self, call: impl FnOnce(*mut bw_t) -> c_int) -> io::Result<()> {
        let answer = call(self.raw());
        self.parked().resume();
        check(answer).map(|_| ())
    }

    fn keep(&self) -> Option<File> {
        Some(self.clone())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn flush_sink(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: LogWriter> LogSink<W> {
    /// Makes a sink with batches of `capacity` items; 0 counts as 1. The separator may be empty.
    ///
    /// # Errors
    ///
    /// `EINVAL`: `capacity` is over 2^20. `ENOMEM`: there is no memory for two batches.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::{Writer, batch::LogSink};
    ///
    /// let log = LogSink::new(Writer::new(std::io::stdout()), c"\n", 100)?;
    /// assert_eq!(log.buffered_count(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(writer: W, separator: &CStr, capacity: usize) -> io::Result<LogSink<W>> {
        let options = bw_batch_options_t {
            flags: bw_sys::BW_UNSHARED,
            max_items: capacity.max(1) as u64,
            ..bw_sys::BW_BATCH_OPTIONS_INIT
        };
        LogSink::make(writer, separator, options, Listeners::default())
    }

    fn make(
        mut writer: W,
        separator: &CStr,
        options: bw_batch_options_t,
        listeners: Listeners<Vec<u8>>,
    ) -> io::Result<LogSink<W>> {
        let keep = writer.keep();
        let freed = if keep.is_some() { Freed::Outside } else { Freed::Here };
        let mut made = Err(from_code(-libc::ENOMEM));
        let state = State::new(keep, LogListeners(listeners));
        let lent = writer.lend(|raw| {
            made = Handle::make(state, options, freed, |_, out, options| {
                // SAFETY: the writer is there until the batcher was freed: Drop lends it for that, or it is kept.
                unsafe { bw_sys::bw_batch_to_writer(out, raw, separator.as_ptr(), options) }
            });
            0
        });
        lent.and(made).map(|handle| LogSink { handle: ManuallyDrop::new(handle), writer })
    }

    /// Sends an item, which is copied.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE`: it is longer than a batch (1 MiB, or [`Builder::max_bytes`]); or that of the writer, whose batch
    /// makes no room for it. It was not accepted.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::{Writer, batch::LogSink};
    ///
    /// let mut log = LogSink::new(Writer::new(std::io::sink()), c"\n", 100)?;
    /// log.send("a line")?;
    /// log.send(b"another")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send(&mut self, item: impl AsRef<[u8]>) -> io::Result<()> {
        let item = item.as_ref();
        let (bytes, length) = (item.as_ptr().cast(), item.len());
        let is_shared = self.writer.is_shared();
        // SAFETY: the batcher is there, and copies the item.
        self.call(|handle| unsafe {
            match is_shared {
                true => bw_sys::bw_batch_send(handle.raw(), bytes, length),
                false => handle.send_bytes_alone(bytes, length),
            }
        })
    }

    /// Writes all there is. On a [`File`] it waits for what the sink has sent, and not for what others write.
    ///
    /// # Errors
    ///
    /// Those of the writer. What was not written stays, and the next call goes on with it. A [`Writer`] whose sink is
    /// not ready is not waited for.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::{Writer, batch::LogSink};
    ///
    /// let mut log = LogSink::new(Writer::new(Vec::new()), c"; ", 100)?;
    /// log.send("a line")?;
    /// log.flush()?;
    /// assert_eq!(log.get_ref().get_ref(), b"a line; ");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn flush(&mut self) -> io::Result<()> {
        let is_shared = self.writer.is_shared();
        // SAFETY: the batcher is there.
        self.call(|handle| unsafe {
            match is_shared {
                true => bw_sys::bw_batch_flush(handle.raw()),
                false => {
                    handle.wake();
                    bw_sys::bw_batch_flush_for(handle.raw(), 0)
                }
            }
        })?;
        self.writer.flush_sink()
    }

    /// How many items the writer has neither accepted nor refused for good.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::{Writer, batch::LogSink};
    ///
    /// let mut log = LogSink::new(Writer::new(Vec::new()), c"\n", 2)?;
    /// for line in ["one", "two", "three"] {
    ///     log.send(line)?;
    /// }
    /// assert_eq!((log.flush_count(), log.buffered_count()), (1, 1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn buffered_count(&self) -> usize {
        self.handle.buffered()
    }

    /// How many batches the writer has accepted something of.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::{Writer, batch::LogSink};
    ///
    /// let mut log = LogSink::new(Writer::new(Vec::new()), c"\n", 100)?;
    /// log.send("a line")?;
    /// log.flush()?;
    /// assert_eq!(log.flush_count(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn flush_count(&self) -> u64 {
        self.handle.flushed()
    }

    /// The writer.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::{Writer, batch::LogSink};
    ///
    /// let log = LogSink::new(Writer::with_capacity(100, std::io::sink()), c"\n", 2)?;
    /// assert_eq!(log.get_ref().capacity(), 100);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_ref(&self) -> &W {
        &self.writer
    }

    /// Flushes, and gives the writer back.
    ///
    /// # Errors
    ///
    /// As [`flush`](LogSink::flush); the sink comes back with it.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::{Writer, batch::LogSink};
    ///
    /// let mut log = LogSink::new(Writer::new(Vec::new()), c"\n", 2)?;
    /// log.send("a line")?;
    /// let writer: Writer<Vec<u8>> = log.into_inner()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_inner(mut self) -> Result<W, IntoInnerError<LogSink<W>>> {
        if let Err(error) = self.flush() {
            return Err(IntoInnerError::new(self, error));
        }
        let mut log = ManuallyDrop::new(self);
        log.free();
        // SAFETY: moved out once, and `log` is not dropped.
        Ok(unsafe { ptr::read(&raw const log.writer) })
    }

    /// Makes a call of the batcher, which may call the writer.
    fn call(&mut self, call: impl FnOnce(&LogHandle) -> c_int) -> io::Result<()> {
        let result = self.writer.lend(|_| call(&self.handle));
        self.handle.parked().resume();
        result
    }

    /// Frees the batcher; it is not used afterwards.
    fn free(&mut self) {
        let handle = &mut self.handle;
        let _ = self.writer.lend(|_| {
            // SAFETY: dropped once, as callers see to.
            unsafe { ManuallyDrop::drop(handle) };
            0
        });
    }
}

impl Builder<Vec<u8>> {
    /// Makes a sink that writes to a file; those who are told of items are given copies of their bytes.
    ///
    /// # Errors
    ///
    /// As [`build`](Builder::build).
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::Builder;
    /// use std::time::Duration;
    ///
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let file = bw::File::open(&path)?;
    /// let mut log = Builder::new().linger(Duration::from_millis(5)).build_log(file.clone(), c"\n")?;
    /// log.send("a line")?;
    /// log.flush()?;
    /// file.sync()?;
    /// assert_eq!(std::fs::read_to_string(&path)?, "a line\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn build_log(self, file: File, separator: &CStr) -> io::Result<LogSink<File>> {
        let (options, listeners) = self.into_parts();
        LogSink::make(file, separator, options, listeners)
    }
}

impl<W: LogWriter> Drop for LogSink<W> {
    fn drop(&mut self) {
        self.free();
    }
}

impl<W: LogWriter> fmt::Debug for LogSink<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flushed, buffered) = (self.handle.flushed(), self.handle.buffered());
        f.debug_struct("LogSink").field("flushed", &flushed).field("buffered", &buffered).finish()
    }
}

/// The items of a log are any bytes: the library's stay its own, and who is told gets copies.
struct LogListeners(Listeners<Vec<u8>>);

impl Listen for LogListeners {
    unsafe fn settled(&mut self, pieces: *const iovec, count: usize, code: c_int, _parked: &Parked) {
        if !self.0.want(code) {
            return;
        }
        // SAFETY: so many pieces lie there, and what they point to.
        let pieces = unsafe { std::slice::from_raw_parts(pieces, count) };
        let bytes = |piece: &iovec| match piece.iov_len {
            0 => Vec::new(), // it may have no address
            // SAFETY: as above.
            length => unsafe { std::slice::from_raw_parts(piece.iov_base.cast(), length) }.to_vec(),
        };
        self.0.tell(pieces.iter().map(bytes).collect(), code);
    }

    fn hears_pressure(&self) -> bool {
        self.0.hears_pressure()
    }

    fn pressure(&mut self, on: bool) {
        self.0.pressure(on);
    }
}
