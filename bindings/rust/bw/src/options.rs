//! How a file is to be opened.

use std::ffi::{CString, c_int, c_uint};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::time::Duration;

use bw_sys::{BW_OPTIONS_INIT, bw_options_t};

use crate::error::from_code;
use crate::event::{Listener, OnEvent, on_event};
use crate::file::File;
use crate::handle::Lent;
use crate::panic::Parked;

/// What drives a file.
///
/// # Example
///
/// ```
/// let file = bw::File::options()
///     .create(true)
///     .engine(bw::Engine::Pwrite)
///     .open(tempfile::tempdir()?.path().join("log"))?;
/// assert_eq!(file.stats()?.engine, Some(bw::Engine::Pwrite));
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// io_uring.
    Uring,
    /// pwrite(2), in a few threads of the library.
    Pwrite,
}

impl Engine {
    pub(crate) fn from_c(engine: u32) -> Option<Engine> {
        match engine {
            bw_sys::BW_ENGINE_URING => Some(Engine::Uring),
            bw_sys::BW_ENGINE_PWRITE => Some(Engine::Pwrite),
            _ => None,
        }
    }

    fn to_c(self) -> u32 {
        match self {
            Engine::Uring => bw_sys::BW_ENGINE_URING,
            Engine::Pwrite => bw_sys::BW_ENGINE_PWRITE,
        }
    }
}

/// How a file is to be opened, and how its writer is to work. Whatever is not set has the library's default.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// let file = bw::File::options()
///     .create(true)
///     .truncate(true)
///     .linger(Duration::from_millis(10))
///     .open(tempfile::tempdir()?.path().join("log"))?;
/// file.append(b"text")?;
/// file.close()?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Default)]
#[must_use]
pub struct Options {
    read: bool,
    oflags: c_int,
    mode: Option<c_uint>,
    flags: u32,
    capacity: u64,
    buffers: u32,
    engine: Option<Engine>,
    linger: Duration,
    preallocate: u64,
    high_percent: u32,
    low_percent: u32,
    listener: Option<Box<OnEvent>>,
}

/// Each of these takes the options and gives them back, set. The example of [`Options`] shows how.
impl Options {
    /// All defaults: what is there is opened for writing.
    ///
    /// # Example
    ///
    /// ```
    /// let error = bw::Options::new().open("/nowhere/log").unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// ```
    pub fn new() -> Options {
        Options::default()
    }

    /// Also for reading (`O_RDWR`).
    ///
    /// # Example
    ///
    /// ```
    /// use std::io::{Read, Seek};
    ///
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let mut file = bw::File::options().create(true).read(true).open(&path)?;
    /// file.append(b"text")?;
    /// file.rewind()?;
    /// assert_eq!(std::io::read_to_string(&file)?, "text");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn read(mut self, on: bool) -> Options {
        self.read = on;
        self
    }

    /// Everything goes to the end of the file, wherever others have moved it (`O_APPEND`), through the page cache. For
    /// a file that nobody else appends to, [`seek`](std::io::Seek) to its end instead.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// std::fs::write(&path, "one, ")?;
    /// bw::File::options().append(true).open(&path)?.append(b"two")?;
    /// assert_eq!(std::fs::read(&path)?, b"one, two");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn append(self, on: bool) -> Options {
        self.oflag(libc::O_APPEND, on)
    }

    /// What the file has is cut off (`O_TRUNC`).
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// std::fs::write(&path, "one, two")?;
    /// bw::File::options().truncate(true).open(&path)?.append(b"1")?;
    /// assert_eq!(std::fs::read(&path)?, b"1");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn truncate(self, on: bool) -> Options {
        self.oflag(libc::O_TRUNC, on)
    }

    /// The file is made if it is not there (`O_CREAT`).
    ///
    /// # Example
    ///
    /// ```
    /// let file = bw::File::options().create(true).open(tempfile::tempdir()?.path().join("log"))?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn create(self, on: bool) -> Options {
        self.oflag(libc::O_CREAT, on)
    }

    /// The file is made, and must not have been there (`O_CREAT | O_EXCL`).
    ///
    /// # Example
    ///
    /// ```
    /// let file = tempfile::NamedTempFile::new()?;
    /// let error = bw::File::options().create_new(true).open(file.path()).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn create_new(self, on: bool) -> Options {
        self.oflag(libc::O_EXCL, on) // open() makes it both
    }

    /// The permissions of a file that is made, before the umask. By itself they are `0o666`, as with std.
    ///
    /// # Example
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// let file = bw::File::options().create(true).mode(0o600).open(directory.path().join("log"))?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn mode(mut self, mode: u32) -> Options {
        self.mode = Some(mode);
        self
    }

    /// Bytes in one buffer: a multiple of 4096, up to 128 MiB. By itself it is 1 MiB.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let file = bw::File::options().create(true).capacity(64 << 10).open(&path)?;
    /// assert_eq!(file.capacity(), 65536);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn capacity(mut self, bytes: usize) -> Options {
        self.capacity = bytes as u64;
        self
    }

    /// How many buffers. By itself it is 8.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let file = bw::File::options().create(true).buffers(2).open(&path)?;
    /// assert_eq!(file.stats()?.buffers, 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn buffers(mut self, buffers: u32) -> Options {
        self.buffers = buffers;
        self
    }

    /// What is to drive the file. By itself the best one that the system allows.
    ///
    /// # Example
    ///
    /// See [`Engine`].
    pub fn engine(mut self, engine: Engine) -> Options {
        self.engine = Some(engine);
        self
    }

    /// A part-filled buffer is handed on after this time, at the latest; zero: never because of time. By itself zero.
    ///
    /// # Example
    ///
    /// See [`Options`].
    pub fn linger(mut self, time: Duration) -> Options {
        self.linger = time;
        self
    }

    /// Disk space is reserved in steps of this many bytes; `u64::MAX`: none. By itself it is the library's choice.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let file = bw::File::options().create(true).preallocate(64 << 20).open(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn preallocate(mut self, step: u64) -> Options {
        self.preallocate = step;
        self
    }

    /// At which shares of the buffers [`Event::PressureOn`](crate::Event) and `PressureOff` are told, in percent. By
    /// itself 80 and 50.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let file = bw::File::options().create(true).pressure(50, 25).open(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn pressure(mut self, high_percent: u32, low_percent: u32) -> Options {
        self.high_percent = high_percent;
        self.low_percent = low_percent;
        self
    }

    /// No O_DIRECT: everything goes through the page cache.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let file = bw::File::options().create(true).buffered(true).open(&path)?;
    /// assert!(!file.stats()?.direct);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn buffered(self, on: bool) -> Options {
        self.flag(bw_sys::BW_BUFFERED, on)
    }

    /// Writes, flushes and the like give [`WouldBlock`](io::ErrorKind::WouldBlock), or a short count, where they would
    /// wait.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let file = bw::File::options().create(true).nonblock(true).open(&path)?;
    /// file.append(b"text")?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn nonblock(self, on: bool) -> Options {
        self.flag(bw_sys::BW_NONBLOCK, on)
    }

    /// A thread of the library writes. Files have one by themselves; this is for pipes, terminals and devices.
    ///
    /// # Example
    ///
    /// ```
    /// let file = bw::File::options().background(true).open("/dev/null")?;
    /// file.append(b"text")?;
    /// file.close()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn background(self, on: bool) -> Options {
        self.flag(bw_sys::BW_BACKGROUND, on)
    }

    /// Files have no thread of the library: the program drives them by [`File::event_fd`] and [`File::poll_events`].
    ///
    /// # Example
    ///
    /// See [`File::poll_events`].
    pub fn caller_driven(self, on: bool) -> Options {
        self.flag(bw_sys::BW_CALLER_DRIVEN, on)
    }

    /// Who listens to [`Event`](crate::Event)s. One at a time is told, mostly on a thread of the library; nothing waits
    /// there, and a call that would have to gives [`WouldBlock`](io::ErrorKind::WouldBlock). If it panics, the next
    /// call of the file goes on with that.
    ///
    /// # Example
    ///
    /// See [`Event`](crate::Event).
    pub fn on_event(mut self, listener: impl FnMut(crate::Event<'_>) + Send + 'static) -> Options {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Opens the file.
    ///
    /// # Errors
    ///
    /// Those of open(2); `EINVAL` for options that are out of their bounds; and why there is no thread, no memory or no
    /// such engine.
    ///
    /// # Example
    ///
    /// See [`Options`].
    pub fn open(self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = CString::new(path.as_ref().as_os_str().as_bytes())?;
        let access = if self.read { libc::O_RDWR } else { libc::O_WRONLY };
        let creation = if self.oflags & libc::O_EXCL != 0 { libc::O_CREAT } else { 0 };
        let parked = Arc::<Parked>::default();
        let mut options = self.to_c();
        let listener = self.listener.map(|closure| Lent::new(Listener { closure, parked: parked.clone() }));
        if let Some(listener) = &listener {
            options.on_event = Some(on_event);
            options.event_arg = listener.as_ctx();
        }
        let mut bw = null_mut();
        let mode = self.mode.unwrap_or(0o666);
        // SAFETY: path and options are copied, and the listener lives until the writer is freed.
        let code = unsafe { bw_sys::bw_open(&mut bw, path.as_ptr(), self.oflags | access | creation, mode, &options) };
        // SAFETY: the writer is new and ours, and shared.
        NonNull::new(bw).map(|bw| unsafe { File::new(bw, listener, parked) }).ok_or_else(|| from_code(code))
    }

    fn to_c(&self) -> bw_options_t {
        let mut options = BW_OPTIONS_INIT;
        options.flags = self.flags;
        options.capacity = self.capacity;
        options.buffers = self.buffers;
        options.engine = self.engine.map_or(bw_sys::BW_ENGINE_AUTO, Engine::to_c);
        options.linger_us = micros(self.linger);
        options.preallocate = self.preallocate;
        options.high_percent = self.high_percent;
        options.low_percent = self.low_percent;
        options
    }

    fn oflag(mut self, flag: c_int, on: bool) -> Options {
        self.oflags = if on { self.oflags | flag } else { self.oflags & !flag };
        self
    }

    fn flag(mut self, flag: u32, on: bool) -> Options {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
        self
    }
}

/// Rounded up, so that a short time does not become none.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_c().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rounded_up_to_microseconds() {
        assert_eq!(micros(Duration::ZERO), 0);
        assert_eq!(micros(Duration::from_nanos(1)), 1);
        assert_eq!(micros(Duration::from_millis(2)), 2000);
        assert_eq!(micros(Duration::MAX), u64::MAX);
    }

    #[test]
    fn what_is_set_can_be_unset() {
        let options = Options::new().create_new(true).create_new(false).buffered(true).buffered(false);
        assert_eq!((options.oflags, options.flags), (0, 0));
    }

    #[test]
    fn create_and_create_new_are_set_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        Options::new().create(true).create_new(false).open(path("one")).unwrap();
        Options::new().create_new(true).create(false).open(path("two")).unwrap();
    }
}
