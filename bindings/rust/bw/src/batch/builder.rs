use std::fmt;
use std::io;
use std::time::Duration;

use bw_sys::bw_batch_options_t;

use super::handle::Freed;
use super::listeners::Listeners;
use super::sink::AnySink;
use super::{Batcher, Shared, Sink, Unshared};
use crate::options::micros;

/// What a send does while the batcher is full.
///
/// # Example
///
/// ```
/// use bw::batch::{Batch, Builder, WhenFull};
/// use std::io::ErrorKind;
///
/// let not_ready = |_: Batch<'_, u8>| Err(ErrorKind::WouldBlock.into());
/// let batcher = Builder::new().max_items(1).when_full(WhenFull::Fail).build(not_ready)?;
/// assert!(batcher.send(1).is_ok() && batcher.send(2).is_ok()); // there are two buffers
/// let refused = batcher.send(3).unwrap_err();
/// assert_eq!((refused.item, refused.error.kind()), (3, ErrorKind::WouldBlock));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenFull {
    /// It waits until there is room, and fails if a batch is held that makes none.
    #[default]
    Wait,
    /// It fails with `EAGAIN`.
    Fail,
    /// It fails with `ENOBUFS`: this item is dropped.
    DropNewest,
    /// It drops the oldest whole batch that waits, with `ENOBUFS`; where there is none, it is as `DropNewest`.
    DropOldest,
}

/// What becomes of a batch that has failed after all its retries.
///
/// # Example
///
/// ```
/// use bw::batch::{Batch, Builder, WhenFailed};
/// use std::io::ErrorKind;
///
/// let broken = |_: Batch<'_, u8>| Err(ErrorKind::BrokenPipe.into());
/// let batcher = Builder::new().when_failed(WhenFailed::GiveUp).build(broken)?;
/// batcher.send(1)?;
/// assert_eq!(batcher.flush().unwrap_err().kind(), ErrorKind::BrokenPipe); // told once
/// assert!(batcher.flush().is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenFailed {
    /// It is held, and all behind it waits, until a flush, a close, a wake, or a send that finds no room offers it
    /// again.
    #[default]
    Hold,
    /// Its items are given up with the code, and the next batch is offered.
    GiveUp,
}

/// How a [`Batcher`] is to be. Whatever is not set has the library's default.
///
/// # Example
///
/// ```
/// use bw::batch::{Answer, Batch, Builder, WhenFailed};
/// use std::time::Duration;
///
/// let batcher = Builder::new()
///     .max_items(500)
///     .linger(Duration::from_millis(50))
///     .retries(3)
///     .backoff(Duration::from_millis(10))
///     .when_failed(WhenFailed::GiveUp)
///     .on_failed(|rows: Vec<String>, error| eprintln!("{} rows are lost: {error}", rows.len()))
///     .build(|batch: Batch<'_, String>| println!("insert {batch:?}"))?;
/// batcher.send("a row".to_string())?;
/// batcher.close()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub struct Builder<T> {
    options: bw_batch_options_t,
    listeners: Listeners<T>,
}

// SAFETY: the pointers of the options are NULL until a batcher is made.
unsafe impl<T> Send for Builder<T> {}

impl<T> Default for Builder<T> {
    fn default() -> Builder<T> {
        Builder { options: bw_sys::BW_BATCH_OPTIONS_INIT, listeners: Listeners::default() }
    }
}

/// What sets something takes the builder and gives it back. 0 stands for the default.
impl<T> Builder<T> {
    /// All defaults.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().build(|_: Batch<'_, u8>| ())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> Builder<T> {
        Builder::default()
    }

    /// A batch holds at most this many items. Default 1000, at most 2^20.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().max_items(2).build(|batch: Batch<'_, u8>| assert!(batch.len() <= 2))?;
    /// (0..5).try_for_each(|number| batcher.send(number))?;
    /// assert_eq!(batcher.flushed(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn max_items(mut self, items: usize) -> Builder<T> {
        self.options.max_items = items as u64;
        self
    }

    /// A batch holds at most this many bytes of items. Default 1 MiB, at most 128 MiB; at least one item must fit.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().max_bytes(16).build(|batch: Batch<'_, u64>| assert!(batch.len() <= 2))?;
    /// (0..5).try_for_each(|number| batcher.send(number))?;
    /// assert_eq!(batcher.flushed(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn max_bytes(mut self, bytes: usize) -> Builder<T> {
        self.options.max_bytes = bytes as u64;
        self
    }

    /// A batch is sealed this long after its first item, by a thread of the library. Default: never because of time.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::{sync::mpsc::channel, time::Duration};
    ///
    /// let (sender, shown) = channel();
    /// let batcher = Builder::new()
    ///     .linger(Duration::from_millis(1))
    ///     .build(move |batch: Batch<'_, u8>| sender.send(batch.len()).unwrap())?;
    /// batcher.send(1)?;
    /// assert_eq!(shown.recv().unwrap(), 1); // nobody has flushed
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn linger(mut self, time: Duration) -> Builder<T> {
        self.options.linger_us = micros(time);
        self
    }

    /// How many batches there may be at a time: filling, waiting, in flight, or being told of. Default 2.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::io::ErrorKind;
    ///
    /// let not_ready = |_: Batch<'_, u8>| Err(ErrorKind::WouldBlock.into());
    /// let batcher = Builder::new().max_items(1).buffers(3).build(not_ready)?;
    /// let accepted = (0..10).take_while(|number| batcher.start_send(*number).is_ok()).count();
    /// assert_eq!(accepted, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn buffers(mut self, batches: u32) -> Builder<T> {
        self.options.buffers = batches;
        self
    }

    /// How many batches may be taken ([`Batch::take`](super::Batch::take)) and unanswered. Default 1, which keeps the
    /// order.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::sync::mpsc::channel;
    ///
    /// let (sender, taken) = channel();
    /// let take = move |batch: Batch<'_, u8>| sender.send(batch.take()).unwrap();
    /// let batcher = Builder::new().max_items(1).buffers(3).max_in_flight(2).build(take)?;
    /// (0..3).try_for_each(|number| batcher.send(number))?;
    /// assert_eq!(taken.try_iter().map(|batch| batch.answer(())).count(), 2);
    /// assert_eq!(batcher.buffered(), 1);
    /// # std::thread::spawn(move || taken.iter().for_each(|batch| batch.answer(())));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn max_in_flight(mut self, batches: u32) -> Builder<T> {
        self.options.max_in_flight = batches;
        self
    }

    /// What a send does while the batcher is full.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder, WhenFull};
    /// use std::io::ErrorKind;
    ///
    /// let not_ready = |_: Batch<'_, u8>| Err(ErrorKind::WouldBlock.into());
    /// let batcher = Builder::new().max_items(1).when_full(WhenFull::DropOldest).build(not_ready)?;
    /// (0..5).try_for_each(|number| batcher.send(number))?;
    /// assert_eq!(batcher.stats()?.dropped_items, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn when_full(mut self, policy: WhenFull) -> Builder<T> {
        self.options.when_full = match policy {
            WhenFull::Wait => bw_sys::BW_FULL_WAIT,
            WhenFull::Fail => bw_sys::BW_FULL_FAIL,
            WhenFull::DropNewest => bw_sys::BW_FULL_DROP_NEWEST,
            WhenFull::DropOldest => bw_sys::BW_FULL_DROP_OLDEST,
        };
        self
    }

    /// How often a batch that failed is tried again in one round. Default 0.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::io::{Error, ErrorKind};
    ///
    /// let third_time = |batch: Batch<'_, u8>| match batch.attempt() {
    ///     3 => Ok(()),
    ///     _ => Err(Error::from(ErrorKind::ConnectionReset)),
    /// };
    /// let batcher = Builder::new().retries(2).build(third_time)?;
    /// batcher.send(1)?;
    /// batcher.flush()?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn retries(mut self, times: u32) -> Builder<T> {
        self.options.retries = times;
        self
    }

    /// How long to wait before the first retry, twice as long before the next, and so on. Default: no time, and a sink
    /// that was not ready is asked again after a wake alone.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::io::{Error, ErrorKind};
    /// use std::time::Duration;
    ///
    /// let second_time = |batch: Batch<'_, u8>| match batch.attempt() {
    ///     2 => Ok(()),
    ///     _ => Err(Error::from(ErrorKind::ConnectionReset)),
    /// };
    /// let batcher = Builder::new().retries(1).backoff(Duration::from_millis(1)).build(second_time)?;
    /// batcher.send(1)?;
    /// batcher.flush()?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn backoff(mut self, time: Duration) -> Builder<T> {
        self.options.backoff_us = micros(time);
        self
    }

    /// What becomes of a batch that has failed after all its retries.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder, WhenFailed};
    /// use std::io::ErrorKind;
    ///
    /// let broken = |_: Batch<'_, u8>| Err(ErrorKind::BrokenPipe.into());
    /// let batcher = Builder::new().when_failed(WhenFailed::GiveUp).build(broken)?;
    /// batcher.send(1)?;
    /// assert!(batcher.flush().is_err());
    /// assert_eq!(batcher.stats()?.failed_items, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn when_failed(mut self, policy: WhenFailed) -> Builder<T> {
        self.options.when_failed = match policy {
            WhenFailed::Hold => bw_sys::BW_FAILED_HOLD,
            WhenFailed::GiveUp => bw_sys::BW_FAILED_GIVE_UP,
        };
        self
    }

    /// A batch of several items that is refused for good ([`Answer::refused`](super::Answer::refused)) is offered again
    /// as two halves, until only the items that the sink cannot take are given up.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Answer, Batch, Builder};
    /// use std::io::ErrorKind;
    ///
    /// let judge = |batch: Batch<'_, i32>| match batch.iter().all(|number| *number >= 0) {
    ///     true => Answer::DELIVERED,
    ///     false => Answer::refused(&ErrorKind::InvalidInput.into()),
    /// };
    /// let batcher = Builder::new().bisect(true).build(judge)?;
    /// [3, 1, -4, 1, 5].into_iter().try_for_each(|number| batcher.send(number))?;
    /// assert!(batcher.flush().is_err());
    /// assert_eq!((batcher.stats()?.total_items, batcher.stats()?.failed_items), (4, 1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bisect(self, on: bool) -> Builder<T> {
        self.flag(bw_sys::BW_BATCH_BISECT, on)
    }

    /// A thread of the library calls the sink, and nobody else.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let user = std::thread::current().id();
    /// let elsewhere = move |_: Batch<'_, u8>| assert_ne!(std::thread::current().id(), user);
    /// let batcher = Builder::new().background(true).build(elsewhere)?;
    /// batcher.send(1)?;
    /// batcher.flush()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn background(self, on: bool) -> Builder<T> {
        self.flag(bw_sys::BW_BACKGROUND, on)
    }

    /// Told `true` when use rises to `high_percent` of the buffers, and `false` when it falls to `low_percent`.
    /// Defaults 80 and 50.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::sync::mpsc::channel;
    ///
    /// let (sender, edges) = channel();
    /// let batcher = Builder::new()
    ///     .max_items(10)
    ///     .buffers(1)
    ///     .on_pressure(50, 20, move |on| sender.send(on).unwrap())
    ///     .build(|_: Batch<'_, u32>| ())?;
    /// (0..7).try_for_each(|number| batcher.send(number))?;
    /// batcher.flush()?;
    /// drop(batcher);
    /// assert_eq!(edges.iter().collect::<Vec<_>>(), [true, false]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_pressure(
        mut self,
        high_percent: u32,
        low_percent: u32,
        on_pressure: impl FnMut(bool) + Send + 'static,
    ) -> Builder<T> {
        self.options.high_percent = high_percent;
        self.options.low_percent = low_percent;
        self.listeners.on_pressure = Some(Box::new(on_pressure));
        self
    }

    /// Is given the items that were delivered, a batch or a part of one at a time. Without it they are dropped.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::sync::mpsc::channel;
    ///
    /// let (sender, delivered) = channel();
    /// let batcher = Builder::new()
    ///     .on_delivered(move |items| sender.send(items).unwrap())
    ///     .build(|_: Batch<'_, String>| ())?;
    /// batcher.send("a".to_string())?;
    /// drop(batcher);
    /// assert_eq!(delivered.iter().collect::<Vec<_>>(), [["a"]]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_delivered(mut self, on_delivered: impl FnMut(Vec<T>) + Send + 'static) -> Builder<T> {
        self.listeners.on_delivered = Some(Box::new(on_delivered));
        self
    }

    /// Is given the items that were not delivered, and why: the sink's error, `ENOBUFS` if they were dropped to make
    /// room, `ECANCELED` if they were discarded. Without it they are dropped.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::sync::mpsc::channel;
    ///
    /// let (sender, failed) = channel();
    /// let batcher = Builder::new()
    ///     .on_failed(move |items, error| sender.send((items, error.raw_os_error())).unwrap())
    ///     .build(|_: Batch<'_, String>| ())?;
    /// batcher.send("a".to_string())?;
    /// batcher.discard()?;
    /// drop(batcher);
    /// assert_eq!(failed.iter().collect::<Vec<_>>(), [(vec!["a".to_string()], Some(125))]); // ECANCELED
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_failed(mut self, on_failed: impl FnMut(Vec<T>, io::Error) + Send + 'static) -> Builder<T> {
        self.listeners.on_failed = Some(Box::new(on_failed));
        self
    }

    pub(super) fn flag(mut self, flag: u32, on: bool) -> Builder<T> {
        if on {
            self.options.flags |= flag;
        } else {
            self.options.flags &= !flag;
        }
        self
    }

    pub(super) fn into_parts(self) -> (bw_batch_options_t, Listeners<T>) {
        (self.options, self.listeners)
    }
}

impl<T: Send + 'static> Builder<T> {
    /// Makes a batcher for any number of threads.
    ///
    /// # Errors
    ///
    /// `EINVAL`: something is out of its bounds. `ENOMEM`: there is no memory for the batches. `EAGAIN`: no thread
    /// could be had.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let too_many = Builder::new().max_items(usize::MAX).build(|_: Batch<'_, u8>| ());
    /// assert_eq!(too_many.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    /// ```
    pub fn build<S: Sink<T> + Send + 'static>(self, sink: S) -> io::Result<Batcher<T, Shared>> {
        Batcher::make(self, AnySink(Box::new(sink)), Freed::Outside)
    }

    /// Makes a batcher for one thread at a time, which pays for no atomic instruction.
    ///
    /// # Errors
    ///
    /// As [`build`](Builder::build); also `EINVAL` with [`linger`](Builder::linger).
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder, Unshared};
    ///
    /// let batcher = Builder::new().build_unshared(|_: Batch<'_, u8>| ())?;
    /// batcher.send(1)?;
    /// batcher.flush()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn build_unshared<S: Sink<T> + Send + 'static>(self, sink: S) -> io::Result<Batcher<T, Unshared>> {
        Batcher::make(self.flag(bw_sys::BW_UNSHARED, true), AnySink(Box::new(sink)), Freed::Outside)
    }
}

impl<T> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("options", &self.options).finish_non_exhaustive()
    }
}
