//! Private buffers in front of a shared file.

use std::ffi::c_int;
use std::fmt;
use std::io::{self, IoSlice, Write};
use std::ptr::{NonNull, null_mut};
use std::time::Duration;

use bw_sys::{BW_OPTIONS_INIT, bw_t};

use crate::error::{check, from_code};
use crate::file::{File, Level, wait};
use crate::handle::Handle;
#[cfg(feature = "tokio")]
use crate::wake::Waiting;
use crate::window::Window;

/// A private buffer in front of a shared [`File`], for one thread at a time: [`File::lane`].
///
/// What it hands on lands in the file contiguous and whole: no write of at most its capacity is ever torn. Positions
/// are its own: "written" means handed on, and "durable" moves by its own sync and wait. Dropping it hands on what it
/// has, and says nothing if that fails: call [`close`](Lane::close).
///
/// # Example
///
/// ```
/// use std::io::Write;
///
/// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
/// let file = bw::File::open(&path)?;
/// std::thread::scope(|scope| {
///     for name in ["one", "two"] {
///         let mut lane = file.lane()?;
///         scope.spawn(move || writeln!(lane, "{name}"));
///     }
///     std::io::Result::Ok(())
/// })?;
/// file.close()?;
/// assert_eq!(std::fs::read(&path)?.len(), 8);
/// # std::io::Result::Ok(())
/// ```
pub struct Lane {
    window: Window,
    #[cfg(feature = "tokio")]
    waiting: Waiting,
    /// The lane, and its parent, which goes after it.
    handle: Handle<File>,
}

// SAFETY: whatever changes it takes `&mut self`, and one thread may use it after the other.
unsafe impl Send for Lane {}
// SAFETY: what takes `&self` may come from any thread.
unsafe impl Sync for Lane {}

impl Lane {
    /// `capacity` 0: the file's.
    pub(crate) fn new(file: &File, capacity: usize) -> io::Result<Lane> {
        let mut options = BW_OPTIONS_INIT;
        options.capacity = capacity as u64;
        let mut bw = null_mut();
        // SAFETY: the parent is there, and the options are copied.
        let code = unsafe { bw_sys::bw_lane(&mut bw, file.bw(), &options) };
        let bw = NonNull::new(bw).ok_or_else(|| from_code(code))?;
        Ok(Lane {
            window: Window::closed(),
            #[cfg(feature = "tokio")]
            waiting: Waiting::new(bw.as_ptr(), file.parked().clone()),
            // SAFETY: the lane is new and ours.
            handle: unsafe { Handle::new(bw, file.clone()) },
        })
    }

    /// The file behind it.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let lane = bw::File::open(&path)?.lane()?;
    /// assert_eq!(lane.file().capacity(), 1 << 20);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn file(&self) -> &File {
        self.handle.uses()
    }

    /// Accepts all of the bytes or none, and says where in the lane they stand.
    ///
    /// # Errors
    ///
    /// Those of [`File::append`].
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let mut lane = bw::File::open(&path)?.lane()?;
    /// assert_eq!((lane.append(b"one")?, lane.append(b"two")?), (0, 3));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        // SAFETY: so many bytes lie there.
        self.run(|bw| unsafe { bw_sys::bw_append(bw, bytes.as_ptr().cast(), bytes.len()) })
    }

    /// Hands on, then makes durable what is in the file.
    ///
    /// # Errors
    ///
    /// Those of [`File::sync`].
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let mut lane = bw::File::open(&path)?.lane()?;
    /// lane.append(b"text")?;
    /// lane.sync()?;
    /// assert_eq!(std::fs::read(&path)?, b"text");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn sync(&mut self) -> io::Result<()> {
        // SAFETY: the lane is there, and we are its owner.
        self.run(|bw| unsafe { bw_sys::bw_sync(bw) }.into()).map(drop)
    }

    /// Waits until a position of the lane has come so far, as [`File::wait`].
    ///
    /// # Errors
    ///
    /// Those of [`File::wait`].
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let mut lane = bw::File::open(&path)?.lane()?;
    /// let at = lane.append(b"text")?;
    /// lane.wait(at + 4, bw::Level::Durable, None)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn wait(&mut self, position: u64, level: Level, timeout: Option<Duration>) -> io::Result<()> {
        // SAFETY: the lane is there, and we are its owner.
        self.run(|bw| unsafe { wait(bw, position, level, timeout) }.into()).map(drop)
    }

    /// The position of the lane below which every byte has come so far.
    ///
    /// # Errors
    ///
    /// `ECHILD` in the child of a fork.
    ///
    /// # Example
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let mut lane = bw::File::open(&path)?.lane()?;
    /// lane.append(b"text")?;
    /// assert_eq!(lane.position(bw::Level::Accepted)?, 4);
    /// assert_eq!(lane.position(bw::Level::Written)?, 0);
    /// lane.flush()?;
    /// assert_eq!(lane.position(bw::Level::Written)?, 4);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn position(&self, level: Level) -> io::Result<u64> {
        // SAFETY: any thread may ask, at any time.
        let known = check(unsafe { bw_sys::bw_position(self.handle.bw(), level as c_int) })?;
        let ours = if level == Level::Accepted { self.window.used() as u64 } else { 0 };
        Ok(known + ours)
    }

    /// How many bytes its buffer holds.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let lane = bw::File::open(&path)?.lane_with_capacity(4096)?;
    /// assert_eq!(lane.capacity(), 4096);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn capacity(&self) -> usize {
        // SAFETY: the owner makes no call meanwhile.
        unsafe { bw_sys::bw_capacity(self.handle.bw()) }
    }

    /// Hands on what it has, and closes it. The file stays open.
    ///
    /// # Errors
    ///
    /// The code of the file that refuses the bytes. They are lost with the lane: to keep it, [`flush`](Write::flush)
    /// before.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let file = bw::File::open(&path)?;
    /// let mut lane = file.lane()?;
    /// lane.append(b"text")?;
    /// lane.close()?;
    /// assert_eq!(file.position(bw::Level::Accepted)?, 4);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn close(mut self) -> io::Result<()> {
        // SAFETY: the lane is there, and we are its owner.
        self.run(|bw| unsafe { bw_sys::bw_close(bw) }.into()).map(drop)
    }

    /// One call of the library, with what was filled committed before.
    fn run(&mut self, call: impl FnOnce(*mut bw_t) -> i64) -> io::Result<u64> {
        let bw = self.commit()?;
        let answer = call(bw);
        self.file().parked().resume();
        check(answer)
    }

    /// [`flush`](Write::flush) where nothing may panic. What cannot be written stays.
    #[cfg(feature = "tracing")]
    pub(crate) fn flush_in_drop(&mut self) {
        let bw = self.handle.bw();
        // SAFETY: the window is the lane's, and we are its owner.
        let _ = unsafe { (self.window.close(bw), bw_sys::bw_flush(bw)) };
    }

    /// The place where a poll of ours waits, with what was filled committed.
    #[cfg(feature = "tokio")]
    pub(crate) fn waiting(&mut self) -> io::Result<&mut Waiting> {
        self.commit()?;
        Ok(&mut self.waiting)
    }

    /// The writer, with what was filled committed.
    fn commit(&mut self) -> io::Result<*mut bw_t> {
        self.file().parked().resume();
        let bw = self.handle.bw();
        // SAFETY: the window is the lane's, and we are its owner.
        check(unsafe { self.window.close(bw) })?;
        Ok(bw)
    }

    /// What the window does not take: the library puts it where it belongs, and a new window is opened behind it.
    #[cold]
    #[inline(never)]
    fn write_slow(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if bytes.len() < self.capacity() {
            self.make_room(bytes.len())?;
            self.window.fill(bytes);
            return Ok(bytes.len());
        }
        // SAFETY: so many bytes lie there.
        let taken = self.run(|bw| unsafe { bw_sys::bw_write(bw, bytes.as_ptr().cast(), bytes.len()) });
        taken.map(|taken| taken as usize)
    }

    fn make_room(&mut self, length: usize) -> io::Result<()> {
        if length <= self.window.room() {
            return Ok(());
        }
        let bw = self.commit()?;
        // SAFETY: the window is closed, and we are the lane's owner.
        let code = unsafe { self.window.open(bw, length) };
        self.file().parked().resume();
        check(code).map(drop)
    }
}

impl Write for Lane {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.window.push(bytes) { Ok(bytes.len()) } else { self.write_slow(bytes) }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let total = parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len()));
        if total > 0 && total < self.capacity() {
            self.make_room(total)?;
            parts.iter().for_each(|part| self.window.fill(part));
            return Ok(total);
        }
        let count = parts.len().try_into().unwrap_or(c_int::MAX);
        // SAFETY: so many parts lie there, and an IoSlice is an iovec.
        let taken = self.run(|bw| unsafe { bw_sys::bw_writev(bw, parts.as_ptr().cast(), count) });
        taken.map(|taken| taken as usize)
    }

    /// Hands on, then flushes the file.
    fn flush(&mut self) -> io::Result<()> {
        // SAFETY: the lane is there, and we are its owner.
        self.run(|bw| unsafe { bw_sys::bw_flush(bw) }.into()).map(drop)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // What fails here fails in the handle's drop, which hands on.
        // SAFETY: the window is the lane's, and we are its owner.
        let _ = unsafe { self.window.close(self.handle.bw()) };
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("file", self.file()).finish_non_exhaustive()
    }
}
