//! For tracing-subscriber: where its events are written.
//!
//! [`Log`] makes one append of each event, so they stand in the file in the order in which they were accepted.
//! [`Lanes`] gives each thread a buffer of its own: faster where many threads log, and only each thread's events are in
//! order.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::error::from_code;
use crate::file::File;
use crate::handle::is_in_callback;
use crate::lane::Lane;
use crate::wake::lock;

/// How long an event waits in a part-filled buffer, where we open the file.
const LINGER: Duration = Duration::from_millis(100);

/// One event is one append: whole, in one order, and never dropped. Threads wait while all buffers are full.
///
/// # Example
///
/// ```
/// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
/// let log = bw::tracing::Log::open(&path)?;
/// let file = log.file().clone();
/// let subscriber = tracing_subscriber::fmt().with_writer(log).finish();
/// tracing::subscriber::with_default(subscriber, || tracing::info!("up and running"));
/// file.close()?;
/// assert!(std::fs::read_to_string(&path)?.contains("up and running"));
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Log(File);

impl Log {
    /// Opens a log, or makes one, and goes on at its end. An event reaches the system within a tenth of a second.
    ///
    /// # Errors
    ///
    /// Those of [`Options::open`](crate::Options::open).
    ///
    /// # Example
    ///
    /// See [`Log`].
    pub fn open(path: impl AsRef<Path>) -> io::Result<Log> {
        open(path.as_ref()).map(Log)
    }

    /// A log in a file that is open. Without [`linger`](crate::Options::linger) events stay in its buffer until that is
    /// full or flushed.
    ///
    /// # Example
    ///
    /// ```
    /// let file = bw::File::options().background(true).open("/dev/null")?;
    /// let subscriber = tracing_subscriber::fmt().with_writer(bw::tracing::Log::new(file)).finish();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new(file: File) -> Log {
        Log(file)
    }

    /// The file, to flush or close it.
    ///
    /// # Example
    ///
    /// See [`Log`].
    pub fn file(&self) -> &File {
        &self.0
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Append<'a>;

    fn make_writer(&'a self) -> Append<'a> {
        Append(&self.0)
    }
}

/// What a [`Log`] writes one event with: each write is an append.
///
/// # Example
///
/// ```
/// use std::io::Write;
/// use tracing_subscriber::fmt::MakeWriter;
///
/// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
/// let log = bw::tracing::Log::open(&path)?;
/// log.make_writer().write_all(b"an event\n")?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Append<'a>(&'a File);

impl Write for Append<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes).map(|_| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A [`Lane`] for each thread: an event is whole, each thread's are in order, and none is dropped.
///
/// An event stays in its lane until that is full, its thread ends, or [`flush`](Lanes::flush) or
/// [`close`](Lanes::close) is called; no time hands it on. An event that comes up while its thread writes another one
/// goes to the file directly.
///
/// # Example
///
/// ```
/// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
/// let lanes = bw::tracing::Lanes::open(&path)?;
/// let subscriber = tracing_subscriber::fmt().with_writer(lanes.clone()).finish();
/// tracing::subscriber::with_default(subscriber, || tracing::info!("up and running"));
/// lanes.close()?;
/// assert!(std::fs::read_to_string(&path)?.contains("up and running"));
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Lanes(Arc<Shared>);

/// One thread's lane; `None` once it is closed.
type Place = Arc<Mutex<Option<Lane>>>;

struct Shared {
    file: File,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    all: Vec<Place>,
    /// Those whose threads have ended, for the next ones.
    free: Vec<Place>,
}

thread_local! {
    /// This thread's places.
    static MINE: RefCell<Vec<Mine>> = const { RefCell::new(Vec::new()) };
}

/// What a thread has of a `Shared`.
struct Mine {
    shared: Weak<Shared>,
    place: Place,
}

impl Lanes {
    /// Opens a log, or makes one, and goes on at its end.
    ///
    /// # Errors
    ///
    /// Those of [`Options::open`](crate::Options::open).
    ///
    /// # Example
    ///
    /// See [`Lanes`].
    pub fn open(path: impl AsRef<Path>) -> io::Result<Lanes> {
        open(path.as_ref()).map(Lanes::new)
    }

    /// A log in a file that is open.
    ///
    /// # Example
    ///
    /// ```
    /// let file = bw::File::options().background(true).open("/dev/null")?;
    /// let subscriber = tracing_subscriber::fmt().with_writer(bw::tracing::Lanes::new(file)).finish();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new(file: File) -> Lanes {
        Lanes(Arc::new(Shared { file, places: Mutex::default() }))
    }

    /// The file behind the lanes.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let lanes = bw::tracing::Lanes::open(&path)?;
    /// assert!(lanes.file().error().is_none());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn file(&self) -> &File {
        &self.0.file
    }

    /// Hands on what is in the lanes of all threads, and flushes the file.
    ///
    /// # Errors
    ///
    /// The first that comes up; the lanes behind it are not flushed. Where it would have to wait and must not:
    /// `EAGAIN`.
    ///
    /// # Example
    ///
    /// ```
    /// use std::io::Write;
    /// use tracing_subscriber::fmt::MakeWriter;
    ///
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let lanes = bw::tracing::Lanes::open(&path)?;
    /// lanes.make_writer().write_all(b"an event\n")?;
    /// assert_eq!(std::fs::read(&path)?, b"");
    /// lanes.flush()?;
    /// assert_eq!(std::fs::read(&path)?, b"an event\n");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn flush(&self) -> io::Result<()> {
        for place in self.0.all() {
            if let Some(lane) = &mut *enter(&place)? {
                lane.flush()?;
            }
        }
        self.file().flush()
    }

    /// Hands on what is in the lanes, and closes them and the file. What is logged afterwards is refused.
    ///
    /// # Errors
    ///
    /// As [`flush`](Lanes::flush), and those of [`File::close`]. What is not closed stays open, and keeps its bytes.
    ///
    /// # Example
    ///
    /// See [`Lanes`].
    pub fn close(&self) -> io::Result<()> {
        for place in self.0.all() {
            let mut lane = enter(&place)?;
            if let Some(lane) = &mut *lane {
                lane.flush()?;
            }
            *lane = None;
        }
        self.file().close()
    }
}

impl Shared {
    fn all(&self) -> Vec<Place> {
        lock(&self.places).all.clone()
    }

    /// A place for a thread.
    fn place(&self) -> io::Result<Place> {
        if let Some(place) = lock(&self.places).free.pop() {
            return Ok(place);
        }
        let place = Arc::new(Mutex::new(Some(self.file.lane()?)));
        lock(&self.places).all.push(place.clone());
        Ok(place)
    }

    /// The place of this thread.
    fn find(self: &Arc<Self>, mine: &mut Vec<Mine>) -> io::Result<Place> {
        let is_ours = |mine: &&Mine| mine.shared.as_ptr() == Arc::as_ptr(self);
        if let Some(mine) = mine.iter().find(is_ours) {
            return Ok(mine.place.clone());
        }
        // A chance to forget those that are gone.
        mine.retain(|mine| mine.shared.strong_count() > 0);
        let place = self.place()?;
        mine.push(Mine { shared: Arc::downgrade(self), place: place.clone() });
        Ok(place)
    }

    /// Writes into this thread's lane. `None`: this must not wait, or the thread is in here already, or at its end.
    fn write(self: &Arc<Self>, bytes: &[u8]) -> Option<io::Result<usize>> {
        MINE.try_with(|mine| {
            let mut mine = mine.try_borrow_mut().ok()?;
            let place = match self.find(&mut mine) {
                Ok(place) => place,
                Err(error) => return Some(Err(error)),
            };
            let mut lane = enter(&place).ok()?;
            Some(lane.as_mut().map_or_else(|| Err(from_code(-libc::ESHUTDOWN)), |lane| lane.write(bytes)))
        })
        .ok()?
    }
}

/// Locks a place. Its owner may hold the lock while it waits for the callbacks' thread: in these, nobody waits for it.
fn enter(place: &Place) -> io::Result<MutexGuard<'_, Option<Lane>>> {
    if !is_in_callback() {
        return Ok(lock(place));
    }
    match place.try_lock() {
        Ok(lane) => Ok(lane),
        Err(TryLockError::Poisoned(lane)) => Ok(lane.into_inner()),
        Err(TryLockError::WouldBlock) => Err(from_code(-libc::EAGAIN)),
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Threads that live on still have their places: the lanes go now, and hand on what they have.
        for place in self.all() {
            let lane = lock(&place).take();
            drop(lane);
        }
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        // What cannot be written now is tried again by flush(), close(), or the next thread.
        if let Ok(mut lane) = enter(&self.place) {
            lane.as_mut().map(Lane::flush_in_drop);
        }
        lock(&shared.places).free.push(self.place.clone());
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("file", self.file()).finish_non_exhaustive()
    }
}

impl<'a> MakeWriter<'a> for Lanes {
    type Writer = LaneWriter<'a>;

    fn make_writer(&'a self) -> LaneWriter<'a> {
        LaneWriter(self)
    }
}

/// What [`Lanes`] write one event with: each write goes to the lane of the thread that makes it.
///
/// # Example
///
/// See [`Lanes::flush`].
#[derive(Debug)]
pub struct LaneWriter<'a>(&'a Lanes);

impl Write for LaneWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.write(bytes).unwrap_or_else(|| Append(self.0.file()).write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut file = File::options().create(true).linger(LINGER).open(path)?;
    match file.seek(SeekFrom::End(0)) {
        Err(error) if error.raw_os_error() != Some(libc::ESPIPE) => Err(error),
        _ => Ok(file), // a pipe, or a terminal, has no end
    }
}
