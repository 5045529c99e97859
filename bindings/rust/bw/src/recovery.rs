//! What is done when a file fails: bytes are looked at, given to another sink, or given up.

use std::ffi::c_void;
use std::io;
use std::slice;
use std::sync::{Arc, TryLockError};

use bw_sys::{BW_ESINK, bw_t};

use crate::error::{check, from_code, to_code};
use crate::file::File;
use crate::handle::{Lent, in_callback};
use crate::panic::Parked;
use crate::sink::{Seat, Sink, callbacks};

impl File {
    /// The code that the file holds, if a write or a sync has failed.
    ///
    /// # Example
    ///
    /// ```
    /// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
    /// if let Some(error) = file.error() {
    ///     println!("nothing is written until this is seen to: {error}");
    /// }
    /// # assert!(file.error().is_none());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn error(&self) -> Option<io::Error> {
        // SAFETY: any thread may ask, at any time.
        check(unsafe { bw_sys::bw_error(self.bw()) }).err()
    }

    /// Lets go of a held error and tries again, from the first byte that was not taken.
    ///
    /// # Errors
    ///
    /// `EIO` if a sync has failed; [`Error::SINK`](crate::Error::SINK) if the sink's state is unknown; `EAGAIN` where
    /// it would have to wait and must not.
    ///
    /// # Example
    ///
    /// ```
    /// let file = bw::File::open("/dev/full")?;
    /// file.append(b"text")?;
    /// assert_eq!(file.flush().unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    /// // ... make room, then:
    /// file.resume()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn resume(&self) -> io::Result<()> {
        // SAFETY: the writer is there.
        self.settle(unsafe { bw_sys::bw_resume(self.bw()) }).map(drop)
    }

    /// Shows the unwritten bytes, run by run, in order, once the writes in flight have ended. They stay. The answer is
    /// how many they are.
    ///
    /// # Errors
    ///
    /// `EAGAIN` where it would have to wait and must not; `EDEADLK` inside the sink.
    ///
    /// # Example
    ///
    /// ```
    /// let file = bw::File::open("/dev/full")?;
    /// file.append(b"text")?;
    /// assert!(file.flush().is_err());
    /// let mut saved = Vec::new();
    /// file.unwritten(|bytes| saved.extend_from_slice(bytes))?;
    /// assert_eq!(saved, b"text");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn unwritten(&self, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
        let mut visit = Visit { each: Some(&mut each), parked: Parked::default() };
        // SAFETY: the visit is there for the call, and is used by nobody else meanwhile.
        let answer = unsafe { bw_sys::bw_unwritten(self.bw(), Some(visit_each), (&raw mut visit).cast()) };
        visit.parked.resume();
        self.settle(answer)
    }

    /// Goes on with a sink in place of the file, or of the sink before: it gets the unwritten bytes, then what follows.
    /// Positions go on as they were.
    ///
    /// The old sink is dropped. A sync asks the one that is in place, so sync before where that matters.
    ///
    /// # Errors
    ///
    /// `EBUSY` while another thread does the same; `ESHUTDOWN` after [`close`](File::close); `EDEADLK` inside the sink;
    /// `EAGAIN` where it would have to wait and must not. The old sink stays.
    ///
    /// # Example
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("other");
    /// let file = bw::File::open("/dev/full")?;
    /// file.append(b"text")?;
    /// assert!(file.flush().is_err());
    /// file.set_sink(std::fs::File::create(&path)?)?;
    /// file.flush()?;
    /// assert_eq!(std::fs::read(&path)?, b"text");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_sink(&self, sink: impl Sink + Send + 'static) -> io::Result<()> {
        let bw = self.bw();
        // Who waits for the lock in the old sink would wait for ever.
        let mut place = match self.sink().try_lock() {
            Ok(place) => place,
            Err(TryLockError::Poisoned(place)) => place.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(from_code(-libc::EBUSY)),
        };
        let old = place_sink(bw, &mut place, OwnSeat { sink, parked: self.parked().clone() })?;
        drop(place);
        drop(old); // what that runs finds no lock held
        self.parked().resume();
        Ok(())
    }

    /// Forgets the unwritten bytes, and says how many they were.
    ///
    /// # Errors
    ///
    /// `EBUSY` while a [`Span`](crate::Span) is open; `EAGAIN` where it would have to wait and must not; `EDEADLK`
    /// inside the sink.
    ///
    /// # Example
    ///
    /// ```
    /// let file = bw::File::open("/dev/full")?;
    /// file.append(b"text")?;
    /// assert!(file.flush().is_err());
    /// assert_eq!(file.discard()?, 4);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn discard(&self) -> io::Result<u64> {
        // SAFETY: the writer is there.
        self.settle(unsafe { bw_sys::bw_discard(self.bw()) })
    }

    /// Says that a [`Sink`] which was not ready ([`WouldBlock`](io::ErrorKind::WouldBlock)) now is.
    ///
    /// # Errors
    ///
    /// `ECHILD` in the child of a fork.
    ///
    /// # Example
    ///
    /// ```
    /// use std::io;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// static READY: AtomicBool = AtomicBool::new(false);
    ///
    /// struct Later;
    /// impl bw::Sink for Later {
    ///     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
    ///         if READY.load(Ordering::Acquire) { Ok(bytes.len()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    ///     }
    /// }
    ///
    /// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
    /// file.set_sink(Later)?;
    /// file.append(b"text")?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         READY.store(true, Ordering::Release);
    ///         file.wake()
    ///     });
    ///     file.flush()
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn wake(&self) -> io::Result<()> {
        // SAFETY: any thread may say so, at any time.
        check(unsafe { bw_sys::bw_wake(self.bw()) }).map(drop)
    }
}

/// The seat of a sink that is the file's own.
struct OwnSeat<S> {
    sink: S,
    parked: Arc<Parked>,
}

impl<S: Sink> Seat for OwnSeat<S> {
    type Sink = S;

    unsafe fn call(ctx: *mut c_void, body: impl FnOnce(&mut S) -> io::Result<i64>) -> i64 {
        // SAFETY: the ctx is such a seat, which nobody else touches while it is the writer's.
        let OwnSeat { sink, parked } = unsafe { &mut *ctx.cast::<OwnSeat<S>>() };
        in_callback(parked, BW_ESINK.into(), || body(sink).unwrap_or_else(|error| to_code(&error).into()))
    }
}

/// Gives the writer its sink, and the old one back. A sink that is refused is dropped.
fn place_sink<S: Sink + Send + 'static>(
    bw: *mut bw_t,
    place: &mut Option<Lent<dyn Send>>,
    seat: OwnSeat<S>,
) -> io::Result<Option<Lent<dyn Send>>> {
    let sink = callbacks::<OwnSeat<S>>(seat.sink.is_vectored());
    let seat = Lent::new(seat);
    // SAFETY: the sink is copied, and the seat lives until it is replaced or the writer is freed.
    check(unsafe { bw_sys::bw_set_sink(bw, &sink, seat.as_ctx()) })?;
    Ok(place.replace(seat.into_dyn()))
}

type Each<'a> = dyn FnMut(&[u8]) + 'a;

/// What bw_unwritten() is given.
struct Visit<'a> {
    /// Gone once it has panicked.
    each: Option<&'a mut Each<'a>>,
    parked: Parked,
}

/// # Safety
///
/// `arg` is a visit, and so many bytes lie there.
unsafe extern "C" fn visit_each(arg: *mut c_void, data: *const c_void, length: usize) {
    // SAFETY: as the caller says.
    let (visit, bytes) = unsafe { (&mut *arg.cast::<Visit<'_>>(), slice::from_raw_parts(data.cast(), length)) };
    let Some(each) = visit.each.take() else { return };
    in_callback(&visit.parked, (), || {
        each(bytes);
        visit.each = Some(each);
    });
}
