//! Files that any thread may write to.

use std::ffi::c_int;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bw_sys::{BW_STATS_INIT, bw_span_t, bw_t};

use crate::error::{check, from_code};
use crate::event::Listener;
use crate::handle::{Handle, Lent};
use crate::lane::Lane;
use crate::options::{Options, micros};
use crate::panic::Parked;
use crate::reached::Reached;
use crate::span::Span;
use crate::stats::Stats;
use crate::wake::Waiting;

/// How far a byte has come.
///
/// # Example
///
/// ```
/// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
/// let end = file.append(b"text")? + 4;
/// file.wait(end, bw::Level::Durable, None)?;
/// assert_eq!(file.position(bw::Level::Written)?, end);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum Level {
    /// In the file's care.
    Accepted = bw_sys::BW_ACCEPTED,
    /// Taken by the system, or the sink.
    Written = bw_sys::BW_WRITTEN,
    /// Safe from a power cut.
    Durable = bw_sys::BW_DURABLE,
}

/// A file that any number of threads write to. Its clones are the same file.
///
/// Bytes go into large buffers, and these to the file, in one order, by io_uring or threads of the library, past the
/// page cache where the system allows it. Writers wait only while all buffers are full. A failed write keeps its bytes:
/// everything is refused with its code until [`resume`](File::resume) or [`set_sink`](File::set_sink). A failed sync is
/// final.
///
/// Dropping the last clone closes the file, and says nothing if that fails (but see [`Event::Lost`]): call
/// [`close`](File::close). Where a callback of a file drops the last clone of one, another thread closes that.
///
/// In the child of a fork all calls give `ECHILD`.
///
/// [`Event::Lost`]: crate::Event::Lost
///
/// # Example
///
/// ```
/// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
/// let file = bw::File::create(&path)?;
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| {
///             let record = b"a record\n";
///             let at = file.append(record)?;
///             file.wait(at + record.len() as u64, bw::Level::Durable, None) // one sync for all who wait
///         });
///     }
/// });
/// file.close()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "a record\n".repeat(4));
/// # std::io::Result::Ok(())
/// ```
pub struct File {
    /// Where this clone waits, as an `AsyncWrite`.
    #[cfg(feature = "tokio")]
    waiting: Waiting,
    handle: Arc<Handle<Uses>>,
}

/// What the callbacks of a file use.
struct Uses {
    _listener: Option<Lent<Listener>>,
    /// The one that set_sink() was given last.
    sink: Mutex<Option<Lent<dyn Send>>>,
    parked: Arc<Parked>,
}

impl File {
    /// # Safety
    ///
    /// The writer is shared, and the caller's, who gives it up; its events go to the listener.
    pub(crate) unsafe fn new(bw: NonNull<bw_t>, listener: Option<Lent<Listener>>, parked: Arc<Parked>) -> File {
        let uses = Uses { _listener: listener, sink: Mutex::new(None), parked };
        // SAFETY: as the caller says.
        File::from(Arc::new(unsafe { Handle::new(bw, uses) }))
    }

    fn from(handle: Arc<Handle<Uses>>) -> File {
        File {
            #[cfg(feature = "tokio")]
            waiting: Waiting::new(handle.bw(), handle.uses().parked.clone()),
            handle,
        }
    }

    /// Opens a file that is there, for writing. Positions are offsets and begin at 0; to go on at the end,
    /// [`seek`](io::Seek) there.
    ///
    /// # Errors
    ///
    /// Those of [`Options::open`].
    ///
    /// # Example
    ///
    /// ```
    /// use std::io::{Seek, SeekFrom};
    ///
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// std::fs::write(&path, "one, ")?;
    /// let mut file = bw::File::open(&path)?;
    /// file.seek(SeekFrom::End(0))?;
    /// assert_eq!(file.append(b"two")?, 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
        Options::new().open(path)
    }

    /// Makes a file, or empties the one that is there.
    ///
    /// # Errors
    ///
    /// Those of [`Options::open`].
    ///
    /// # Example
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// let file = bw::File::create(directory.path().join("log"))?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn create(path: impl AsRef<Path>) -> io::Result<File> {
        Options::new().create(true).truncate(true).open(path)
    }

    /// How else a file can be opened.
    ///
    /// # Example
    ///
    /// See [`Options`].
    pub fn options() -> Options {
        Options::new()
    }

    /// Accepts all of the bytes, contiguous, or none, and says where in the file they stand.
    ///
    /// Accepted is not yet durable: give the end, the answer plus the length, to [`wait`](File::wait) or
    /// [`durable`](File::durable).
    ///
    /// # Errors
    ///
    /// The code that the file holds, since a write or sync failed; `EAGAIN` where it would have to wait and must not;
    /// `ESHUTDOWN` after [`close`](File::close); `EDEADLK` inside the sink; `EMSGSIZE` with
    /// [`nonblock`](Options::nonblock) for more than all the buffers.
    ///
    /// # Example
    ///
    /// ```
    /// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
    /// assert_eq!(file.append(b"one")?, 0);
    /// assert_eq!(file.append(b"two")?, 3);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        // SAFETY: so many bytes lie there.
        check(unsafe { bw_sys::bw_append(self.bw(), bytes.as_ptr().cast(), bytes.len()) })
    }

    /// [`append`](File::append) of bytes that are gathered from several places.
    ///
    /// # Errors
    ///
    /// Those of `append`; `EINVAL` for more parts than a C `int` counts.
    ///
    /// # Example
    ///
    /// ```
    /// use std::io::IoSlice;
    ///
    /// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
    /// file.append_vectored(&[IoSlice::new(b"one, "), IoSlice::new(b"two")])?;
    /// assert_eq!(file.position(bw::Level::Accepted)?, 8);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn append_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<u64> {
        let count = c_int::try_from(parts.len()).map_err(|_| from_code(-libc::EINVAL))?;
        // SAFETY: so many parts lie there, and an IoSlice is an iovec.
        check(unsafe { bw_sys::bw_appendv(self.bw(), parts.as_ptr().cast(), count) })
    }

    /// [`append`](File::append) that waits for room as a future does. It needs no runtime, and dropping it takes its
    /// waker back; nothing was accepted then.
    ///
    /// # Errors
    ///
    /// Those of `append`; `EMSGSIZE` for more than all the buffers.
    ///
    /// # Example
    ///
    /// ```
    /// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
    /// # futures::executor::block_on(async {
    /// let at = file.append_async(b"text").await?;
    /// file.durable(at + 4).await?;
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn append_async(&self, bytes: &[u8]) -> io::Result<u64> {
        let mut waiting = Waiting::new(self.raw(), self.parked().clone());
        poll_fn(|context| {
            let (data, length) = (bytes.as_ptr().cast(), bytes.len());
            // SAFETY: so many bytes lie there.
            waiting.poll(context, |bw, wake| unsafe { bw_sys::bw_poll_append(bw, data, length, wake) })
        })
        .await
    }

    /// Reserves a range of exactly so many bytes, 1 to [`capacity`](File::capacity), to be filled in place.
    ///
    /// # Errors
    ///
    /// Those of [`append`](File::append); `EINVAL` for 0 bytes, `EMSGSIZE` for more than the capacity.
    ///
    /// # Example
    ///
    /// See [`Span`].
    pub fn reserve(&self, length: usize) -> io::Result<Span<'_>> {
        let mut span = bw_span_t { data: std::ptr::null_mut(), length: 0, position: 0, private_: std::ptr::null_mut() };
        // SAFETY: the writer is there.
        check(unsafe { bw_sys::bw_reserve(self.bw(), length, &mut span) })?;
        // SAFETY: it was given just now.
        Ok(unsafe { Span::new(self, span) })
    }

    /// Makes a lane: a private buffer in front of the file, as large as one of its own, for one thread.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ESHUTDOWN` after [`close`](File::close); `EDEADLK` inside the sink.
    ///
    /// # Example
    ///
    /// See [`Lane`].
    pub fn lane(&self) -> io::Result<Lane> {
        Lane::new(self, 0)
    }

    /// Makes a lane with a buffer of `capacity` bytes; 0 is 1.
    ///
    /// # Errors
    ///
    /// Those of [`lane`](File::lane); `EINVAL` for more than 128 MiB.
    ///
    /// # Example
    ///
    /// See [`Lane::capacity`].
    pub fn lane_with_capacity(&self, capacity: usize) -> io::Result<Lane> {
        Lane::new(self, capacity.max(1))
    }

    /// Waits until everything that is accepted has reached the system, or the sink.
    ///
    /// # Errors
    ///
    /// The code that the file holds; `EAGAIN` where it would have to wait and must not; `ESHUTDOWN` after
    /// [`close`](File::close); `EDEADLK` inside the sink.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let file = bw::File::open(&path)?;
    /// file.append(b"text")?;
    /// file.flush()?;
    /// assert_eq!(std::fs::read(&path)?, b"text");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn flush(&self) -> io::Result<()> {
        // SAFETY: the writer is there.
        self.settle(unsafe { bw_sys::bw_flush(self.bw()) }).map(drop)
    }

    /// Flushes, then makes durable what was flushed. Threads that do so at the same time share one sync.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](File::flush); `EOPNOTSUPP` for what cannot be synced. A failed sync is final: its code comes
    /// every time.
    ///
    /// # Example
    ///
    /// ```
    /// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
    /// file.append(b"text")?;
    /// file.sync()?;
    /// assert_eq!(file.position(bw::Level::Durable)?, 4);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn sync(&self) -> io::Result<()> {
        // SAFETY: the writer is there.
        self.settle(unsafe { bw_sys::bw_sync(self.bw()) }).map(drop)
    }

    /// Waits until everything below a position has come so far, and sees to it. `None`: for ever.
    ///
    /// A wait for a position that nothing has reached lasts until others have written that far.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`; `ECANCELED` if a seek or [`discard`](File::discard) moved the end below it; `ESHUTDOWN` if the file
    /// was closed below it; and those of [`sync`](File::sync).
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
    /// let end = file.append(b"text")? + 4;
    /// file.wait(end, bw::Level::Durable, None)?;
    /// let error = file.wait(end + 1, bw::Level::Written, Some(Duration::ZERO)).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn wait(&self, position: u64, level: Level, timeout: Option<Duration>) -> io::Result<()> {
        // SAFETY: the writer is there.
        self.settle(unsafe { wait(self.bw(), position, level, timeout) }).map(drop)
    }

    /// A future that ends when everything below a position is durable, and sees to it.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](File::wait).
    ///
    /// # Example
    ///
    /// See [`Reached`].
    pub fn durable(&self, position: u64) -> Reached {
        Reached::new(self.clone(), position, Level::Durable)
    }

    /// A future that ends when everything below a position is written. It asks for a flush.
    ///
    /// # Errors
    ///
    /// Those of [`wait`](File::wait).
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let file = bw::File::open(&path)?;
    /// let at = file.append(b"text")?;
    /// futures::executor::block_on(file.written(at + 4))?;
    /// assert_eq!(std::fs::read(&path)?, b"text");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn written(&self, position: u64) -> Reached {
        Reached::new(self.clone(), position, Level::Written)
    }

    /// The position below which every byte has come so far.
    ///
    /// # Errors
    ///
    /// `ECHILD` in the child of a fork.
    ///
    /// # Example
    ///
    /// See [`Level`].
    pub fn position(&self, level: Level) -> io::Result<u64> {
        // SAFETY: any thread may ask, at any time.
        check(unsafe { bw_sys::bw_position(self.bw(), level as c_int) })
    }

    /// Writes out everything, makes it durable, and closes the file for all its clones. Once more: nothing happens.
    ///
    /// A failed write leaves it open: call again, or see to the bytes ([`unwritten`](File::unwritten),
    /// [`set_sink`](File::set_sink), [`discard`](File::discard)). After a failed sync it is closed, and the answer is
    /// that sync's code.
    ///
    /// # Errors
    ///
    /// Those of [`sync`](File::sync); `EBUSY` while it has [`Lane`]s.
    ///
    /// # Example
    ///
    /// ```
    /// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
    /// file.append(b"text")?;
    /// file.close()?;
    /// assert_eq!(file.append(b"more").unwrap_err().raw_os_error(), Some(libc::ESHUTDOWN));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn close(&self) -> io::Result<()> {
        // SAFETY: the writer is there.
        self.settle(unsafe { bw_sys::bw_close(self.bw()) }).map(drop)
    }

    /// What has been done so far.
    ///
    /// # Errors
    ///
    /// `ECHILD` in the child of a fork.
    ///
    /// # Example
    ///
    /// See [`Stats`].
    pub fn stats(&self) -> io::Result<Stats> {
        let mut stats = BW_STATS_INIT;
        // SAFETY: any thread may ask, at any time.
        check(unsafe { bw_sys::bw_get_stats(self.bw(), &mut stats) })?;
        Ok(stats.into())
    }

    /// How many bytes one buffer holds.
    ///
    /// # Example
    ///
    /// ```
    /// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
    /// assert_eq!(file.capacity(), 1 << 20);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn capacity(&self) -> usize {
        // SAFETY: any thread may ask, at any time.
        unsafe { bw_sys::bw_capacity(self.bw()) }
    }

    /// How many bytes are in the buffers.
    ///
    /// # Example
    ///
    /// ```
    /// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
    /// file.append(b"text")?;
    /// assert_eq!(file.buffered(), 4);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn buffered(&self) -> usize {
        // SAFETY: any thread may ask, at any time.
        unsafe { bw_sys::bw_buffered(self.bw()) }
    }

    /// A descriptor that is readable while [`poll_events`](File::poll_events) has something to do.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` unless the file is [`caller_driven`](Options::caller_driven).
    ///
    /// # Example
    ///
    /// See [`poll_events`](File::poll_events).
    pub fn event_fd(&self) -> io::Result<BorrowedFd<'_>> {
        // SAFETY: the writer is there.
        let fd = check(unsafe { bw_sys::bw_event_fd(self.bw()) })?;
        // SAFETY: it stays open until the writer is freed.
        Ok(unsafe { BorrowedFd::borrow_raw(fd as c_int) })
    }

    /// Drives a [`caller_driven`](Options::caller_driven) file: starts what is due, looks at what has ended, and calls
    /// the callbacks. The answer is how many of these ran.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` unless the file is caller-driven; `EDEADLK` inside the sink.
    ///
    /// # Example
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// let file = bw::File::options().create(true).caller_driven(true).open(directory.path().join("log"))?;
    /// let end = file.append(b"text")? + 4;
    /// let mut durable = std::pin::pin!(file.durable(end));
    /// let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// while durable.as_mut().poll(&mut context)?.is_pending() {
    ///     let mut fd = libc::pollfd { fd: file.event_fd()?.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    ///     unsafe { libc::poll(&mut fd, 1, -1) };
    ///     file.poll_events()?;
    /// }
    /// # use std::future::Future;
    /// # use std::os::fd::AsRawFd;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn poll_events(&self) -> io::Result<u64> {
        // SAFETY: the writer is there.
        self.settle(unsafe { bw_sys::bw_poll_events(self.bw()) })
    }

    /// The writer, for a call. A panic of a callback is resumed here.
    pub(crate) fn bw(&self) -> *mut bw_t {
        self.parked().resume();
        self.raw()
    }

    /// The writer, where nothing may panic.
    pub(crate) fn raw(&self) -> *mut bw_t {
        self.handle.bw()
    }

    /// Where its callbacks' panics go.
    pub(crate) fn parked(&self) -> &Arc<Parked> {
        &self.handle.uses().parked
    }

    /// The place of the sink that set_sink() was given last.
    pub(crate) fn sink(&self) -> &Mutex<Option<Lent<dyn Send>>> {
        &self.handle.uses().sink
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn waiting(&mut self) -> &mut Waiting {
        &mut self.waiting
    }

    /// What a call has answered that may have run callbacks.
    pub(crate) fn settle(&self, answer: impl Into<i64>) -> io::Result<u64> {
        self.parked().resume();
        check(answer)
    }
}

impl Clone for File {
    fn clone(&self) -> File {
        File::from(self.handle.clone())
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: any thread may ask, at any time.
        let [accepted, written, durable] = [Level::Accepted, Level::Written, Level::Durable]
            .map(|level| unsafe { bw_sys::bw_position(self.raw(), level as c_int) });
        f.debug_struct("File")
            .field("accepted", &accepted)
            .field("written", &written)
            .field("durable", &durable)
            .finish()
    }
}

/// bw_wait(), of a file or a lane.
///
/// # Safety
///
/// The writer is there; the caller is the owner of a lane.
pub(crate) unsafe fn wait(bw: *mut bw_t, position: u64, level: Level, timeout: Option<Duration>) -> c_int {
    // No stream comes further than i64, so this waits for the end of all things either way.
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    let timeout = timeout.map_or(-1, |time| i64::try_from(micros(time)).unwrap_or(i64::MAX));
    // SAFETY: as the caller says.
    unsafe { bw_sys::bw_wait(bw, position, level as c_int, timeout) }
}
