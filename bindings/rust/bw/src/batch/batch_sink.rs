use std::fmt;
use std::io;
use std::mem::take;

use super::handle::{Freed, Handle, options_of_capacity};
use super::listeners::Collect;
use super::{Answer, Batch, SendError, Sink};

/// Gathers items in batches, and keeps these.
///
/// With the feature `futures` it is a `futures::Sink`, too, as [`CallbackSink`](super::CallbackSink) is.
///
/// # Example
///
/// ```
/// use bw::batch::BatchSink;
///
/// let mut sink = BatchSink::new(2);
/// for word in ["one", "two", "three"] {
///     sink.send(word)?;
/// }
/// assert_eq!((sink.flushed_count(), sink.buffered_count()), (1, 1));
/// assert_eq!(sink.into_batches(), [vec!["one", "two"], vec!["three"]]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct BatchSink<T> {
    /// Before the batcher, which it waits for.
    #[cfg(feature = "futures")]
    pub(super) waiting: crate::wake::Waiting<bw_sys::bw_batch_t>,
    pub(super) handle: Handle<T, Accept, Collect<T>>,
}

/// The sink that takes all there is; the listener keeps it.
pub(super) struct Accept;

impl<T> Sink<T> for Accept {
    fn write(&mut self, _batch: Batch<'_, T>) -> Answer {
        Answer::DELIVERED
    }
}

impl<T: Send> BatchSink<T> {
    /// Makes a sink with batches of `capacity` items; 0 counts as 1.
    ///
    /// # Panics
    ///
    /// If `capacity` is over 2^20, if a batch would have more than 128 MiB, or if there is no memory for two.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::BatchSink::new(100);
    /// sink.send("an item")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(capacity: usize) -> BatchSink<T> {
        let made = Handle::new(Accept, Collect(Vec::new()), options_of_capacity::<T>(capacity), Freed::Here);
        let handle = made.expect("batches of this capacity cannot be made");
        BatchSink {
            #[cfg(feature = "futures")]
            waiting: super::futures::waiting(&handle),
            handle,
        }
    }

    /// Sends an item.
    ///
    /// # Errors
    ///
    /// Only after `poll_close` of `futures::Sink`: the item comes back.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::BatchSink::new(1);
    /// sink.send(7)?;
    /// assert_eq!(sink.flushed_count(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        self.handle.send(item)
    }

    /// Ends the batch that is filling, unless it is empty.
    ///
    /// # Errors
    ///
    /// As [`send`](BatchSink::send).
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::BatchSink::new(100);
    /// sink.send(7)?;
    /// sink.flush()?;
    /// sink.send(8)?;
    /// assert_eq!(sink.into_batches(), [[7], [8]]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn flush(&mut self) -> io::Result<()> {
        self.handle.flush_alone()
    }

    /// How many items the batch that is filling has.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::BatchSink::new(100);
    /// sink.send(7)?;
    /// assert_eq!(sink.buffered_count(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn buffered_count(&self) -> usize {
        self.handle.buffered()
    }

    /// How many batches there are, but for the one that is filling.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::BatchSink::new(2);
    /// (0..5).try_for_each(|number| sink.send(number))?;
    /// assert_eq!(sink.flushed_count(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn flushed_count(&self) -> u64 {
        self.handle.flushed()
    }

    /// All batches, the one that is filling too, unless it is empty.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::BatchSink::new(2);
    /// (0..3).try_for_each(|number| sink.send(number))?;
    /// assert_eq!(sink.into_batches(), [vec![0, 1], vec![2]]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_batches(mut self) -> Vec<Vec<T>> {
        // It fails only if it is closed, and then nothing is left to be flushed.
        let _ = self.flush();
        take(&mut self.handle.listener_mut().0)
    }
}

impl<T> fmt::Debug for BatchSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flushed, buffered) = (self.handle.flushed(), self.handle.buffered());
        f.debug_struct("BatchSink").field("flushed", &flushed).field("buffered", &buffered).finish()
    }
}
