use std::cell::Cell;
use std::ffi::c_char;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::time::Duration;

use super::handle::{Freed, Handle};
use super::listeners::Listeners;
use super::sink::AnySink;
use super::{Builder, SendError, Stats};
use crate::error::{check, from_code};

/// The kind of [`Batcher`] that any number of threads may use.
///
/// # Example
///
/// ```
/// fn assert_sync<T: Sync>() {}
/// assert_sync::<bw::batch::Batcher<u8, bw::batch::Shared>>();
/// ```
#[derive(Debug)]
pub struct Shared(());

/// The kind of [`Batcher`] that one thread at a time may use: it is `Send`, and not `Sync`.
///
/// # Example
///
/// ```
/// fn assert_send<T: Send>() {}
/// assert_send::<bw::batch::Batcher<u8, bw::batch::Unshared>>();
/// ```
///
/// ```compile_fail,E0277
/// fn assert_sync<T: Sync>() {}
/// assert_sync::<bw::batch::Batcher<u8, bw::batch::Unshared>>();
/// ```
#[derive(Debug)]
pub struct Unshared(PhantomData<Cell<()>>);

/// Sends items to a [`Sink`](super::Sink), in batches. A [`Builder`] makes it.
///
/// All calls take `&self`; one that is [`Unshared`] is not `Sync`. In callbacks of its own nothing waits: a send that
/// would have to gives `EAGAIN`, flush and close give `EDEADLK`.
///
/// Dropping it closes it, and waits for the answers of batches in flight. What is held then, or what the sink is not
/// ready for, is given up: to hear of errors, or to wait, [`close`](Batcher::close) it first. Where a callback
/// drops it, another thread does this.
///
/// # Example
///
/// ```
/// use bw::batch::{Batch, Builder};
/// use std::sync::mpsc::channel;
///
/// let (sender, batches) = channel();
/// let batcher = Builder::new().build(move |batch: Batch<'_, u32>| sender.send(batch.len()).unwrap())?;
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| (0..1000).try_for_each(|number| batcher.send(number)));
///     }
/// });
/// drop(batcher);
/// assert_eq!(batches.iter().collect::<Vec<_>>(), [1000; 4]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Batcher<T, M = Shared> {
    handle: Handle<T, AnySink<T>, Listeners<T>>,
    _mode: PhantomData<M>,
}

impl<T: Send + 'static, M> Batcher<T, M> {
    pub(super) fn make(builder: Builder<T>, sink: AnySink<T>, freed: Freed) -> io::Result<Batcher<T, M>> {
        let (options, listeners) = builder.into_parts();
        Ok(Batcher { handle: Handle::new(sink, listeners, options, freed)?, _mode: PhantomData })
    }
}

impl<T, M> Batcher<T, M> {
    #[cfg(feature = "futures")]
    pub(super) fn handle(&self) -> &Handle<T, AnySink<T>, Listeners<T>> {
        &self.handle
    }

    /// Sends an item. While the batcher is full, [`Builder::when_full`] says what happens.
    ///
    /// # Errors
    ///
    /// The item, and why it was not accepted: see [`SendError`].
    ///
    /// # Panics
    ///
    /// With what a callback has thrown, as all calls that may do something about batches.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().build(|batch: Batch<'_, String>| assert_eq!(batch[0], "a row"))?;
    /// batcher.send("a row".to_string())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.handle.send(item)
    }

    /// Sends an item if there is room: it never waits and never drops one, whatever [`Builder::when_full`] says.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: there is no room; else as [`send`](Batcher::send).
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::io::ErrorKind;
    ///
    /// let not_ready = |_: Batch<'_, u8>| Err(ErrorKind::WouldBlock.into());
    /// let batcher = Builder::new().max_items(1).buffers(1).build(not_ready)?;
    /// assert!(batcher.start_send(1).is_ok());
    /// assert_eq!(batcher.start_send(2).unwrap_err().item, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start_send(&self, item: T) -> Result<(), SendError<T>> {
        self.handle.start_send(item)
    }

    /// Waits until every item that was accepted before is settled, then flushes the sink.
    ///
    /// # Errors
    ///
    /// That of a batch that is held, which is offered again by the next flush; that of items given up since a flush
    /// last told of such; that of the sink's flush; `ESHUTDOWN` after a close; `EDEADLK` in a callback of this batcher.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::io::{Error, ErrorKind};
    ///
    /// let second_time = |batch: Batch<'_, u8>| match batch.attempt() {
    ///     1 => Err(Error::from(ErrorKind::ConnectionReset)),
    ///     _ => Ok(()),
    /// };
    /// let batcher = Builder::new().build(second_time)?;
    /// batcher.send(1)?;
    /// assert_eq!(batcher.flush().unwrap_err().kind(), ErrorKind::ConnectionReset);
    /// assert!(batcher.flush().is_ok());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn flush(&self) -> io::Result<()> {
        self.handle.flush(FOR_EVER)
    }

    /// [`flush`](Batcher::flush), for so long. The time bounds waiting, not a call of the sink that this one makes.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`: not all is settled and flushed, and nothing is lost by that; else as `flush`.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::{io::ErrorKind, time::Duration};
    ///
    /// let not_ready = |_: Batch<'_, u8>| Err(ErrorKind::WouldBlock.into());
    /// let batcher = Builder::new().build(not_ready)?;
    /// batcher.send(1)?;
    /// assert_eq!(batcher.flush_for(Duration::ZERO).unwrap_err().kind(), ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn flush_for(&self, time: Duration) -> io::Result<()> {
        self.handle.flush(timeout(time))
    }

    /// Settles everything and closes the sink. From the moment this begins, sends fail with `ESHUTDOWN`.
    ///
    /// # Errors
    ///
    /// As [`flush`](Batcher::flush). While a batch is held, or if the sink's flush failed, nothing is closed: call it
    /// again, or [`discard`](Batcher::discard) first. Else the batcher is closed all the same; then it is that of items
    /// given up, or of the sink's close. A batcher that is closed gives `Ok` here.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().build(|_: Batch<'_, u8>| ())?;
    /// batcher.send(1)?;
    /// batcher.close()?;
    /// assert_eq!(batcher.stats()?.total_items, 1);
    /// assert!(batcher.send(2).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&self) -> io::Result<()> {
        self.close_in(FOR_EVER)
    }

    /// [`close`](Batcher::close), for so long.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT`: it is not closed, and sends still fail; call it again. Else as `close`.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::time::Duration;
    ///
    /// let batcher = Builder::new().build(|_: Batch<'_, u8>| ())?;
    /// batcher.send(1)?;
    /// batcher.close_for(Duration::from_secs(60))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close_for(&self, time: Duration) -> io::Result<()> {
        self.close_in(timeout(time))
    }

    fn close_in(&self, timeout_us: i64) -> io::Result<()> {
        // SAFETY: the batcher is there.
        self.handle.call(|raw| unsafe { bw_sys::bw_batch_close_for(raw, timeout_us) })
    }

    /// Discards everything that is not in flight: it is settled with `ECANCELED`. Returns how many items.
    ///
    /// # Errors
    ///
    /// Only in the child of a fork.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().build(|_: Batch<'_, u8>| ())?;
    /// batcher.send(1)?;
    /// assert_eq!(batcher.discard()?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn discard(&self) -> io::Result<u64> {
        // SAFETY: the batcher is there.
        let answer = unsafe { bw_sys::bw_batch_discard(self.handle.raw()) };
        self.handle.parked().resume();
        check(answer)
    }

    /// What the batch that is held has failed with, if there is one; the oldest, if there are several.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::io::{Error, ErrorKind};
    ///
    /// let batcher = Builder::new().build(|_: Batch<'_, u8>| Err(ErrorKind::BrokenPipe.into()))?;
    /// assert!(batcher.error().is_none());
    /// batcher.send(1)?;
    /// batcher.flush().unwrap_err();
    /// assert_eq!(batcher.error().unwrap().kind(), ErrorKind::BrokenPipe);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn error(&self) -> Option<io::Error> {
        // SAFETY: the batcher is there.
        let code = unsafe { bw_sys::bw_batch_error(self.handle.raw()) };
        (code < 0).then(|| from_code(code))
    }

    /// Tells the batcher that a sink which was not ready is so again, or that a held batch may be tried again. Those
    /// who wait go on; the sink is not called by this.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::sync::{Arc, atomic::{AtomicBool, Ordering::Relaxed}};
    /// use std::io::{Error, ErrorKind};
    ///
    /// let is_ready = Arc::new(AtomicBool::new(false));
    /// let asks = is_ready.clone();
    /// let batcher = Builder::new().build(move |_: Batch<'_, u8>| match asks.load(Relaxed) {
    ///     true => Ok(()),
    ///     false => Err(Error::from(ErrorKind::WouldBlock)),
    /// })?;
    /// batcher.send(1)?;
    /// std::thread::scope(|scope| {
    ///     let flush = scope.spawn(|| batcher.flush());
    ///     is_ready.store(true, Relaxed);
    ///     batcher.wake();
    ///     flush.join().unwrap()
    /// })?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn wake(&self) {
        self.handle.wake();
    }

    /// How many items are accepted, not settled and not in flight.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().build(|_: Batch<'_, u8>| ())?;
    /// batcher.send(1)?;
    /// assert_eq!(batcher.buffered(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn buffered(&self) -> usize {
        self.handle.buffered()
    }

    /// How many batches are settled of which the sink took at least one item.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().max_items(2).build(|_: Batch<'_, u8>| ())?;
    /// (0..5).try_for_each(|number| batcher.send(number))?;
    /// assert_eq!(batcher.flushed(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn flushed(&self) -> u64 {
        self.handle.flushed()
    }

    /// What the batcher has done so far; that of an [`Unshared`] one may lag.
    ///
    /// # Errors
    ///
    /// Only in the child of a fork.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().build(|_: Batch<'_, u64>| ())?;
    /// batcher.send(1)?;
    /// batcher.flush()?;
    /// assert_eq!(batcher.stats()?.bytes, 8);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stats(&self) -> io::Result<Stats> {
        let mut stats = bw_sys::BW_BATCH_STATS_INIT;
        // SAFETY: the batcher is there, and so are the stats.
        check(unsafe { bw_sys::bw_batch_get_stats(self.handle.raw(), &raw mut stats) })?;
        Ok(stats.into())
    }

    /// The statistics as one JSON object, with the names of [`Stats`].
    ///
    /// # Errors
    ///
    /// Only in the child of a fork.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().build(|_: Batch<'_, u64>| ())?;
    /// batcher.send(1)?;
    /// batcher.flush()?;
    /// assert!(batcher.stats_json()?.contains(r#""total_items":1"#));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stats_json(&self) -> io::Result<String> {
        let mut text = Vec::<u8>::new();
        loop {
            let (start, room) = (text.as_mut_ptr(), text.len());
            let start = if room == 0 { null_mut() } else { start.cast::<c_char>() };
            // SAFETY: `room` bytes lie there.
            let length = check(unsafe { bw_sys::bw_batch_stats_json(self.handle.raw(), start, room) })? as usize;
            if length < room {
                text.truncate(length);
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
            text.resize(length + 1, 0);
        }
    }
}

impl<T, M> fmt::Debug for Batcher<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("buffered", &self.buffered()).finish_non_exhaustive()
    }
}

const FOR_EVER: i64 = -1;

/// What is too long for the library's count is for ever.
fn timeout(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(FOR_EVER)
}
