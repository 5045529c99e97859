use std::fmt;
use std::io;
use std::marker::PhantomData;

use super::handle::{Freed, Handle, options_of_capacity};
use super::listeners::DropItems;
use super::{Answer, Batch, SendError, Sink};

/// Gathers items in batches, and calls a closure with each.
///
/// The closure answers `()`, [`io::Result<()>`](io::Result) or an [`Answer`]. A batch that fails is held, and offered
/// again by the next [`flush`](CallbackSink::flush), or [`send`](CallbackSink::send) that finds no room. The items are
/// dropped once the closure has taken them.
///
/// A closure that answers [`WouldBlock`](io::ErrorKind::WouldBlock) is not ready. Nothing waits for it: each call that
/// would have to asks it anew. (A task that waits, by `futures::Sink`, goes on after [`wake`](CallbackSink::wake).)
///
/// With the feature `futures` it is a `futures::Sink`, too: there `send` and `flush` of `SinkExt` are called as
/// `SinkExt::send(&mut sink, item)`, as it has its own.
///
/// Dropping the sink offers what is left; what fails then is dropped.
///
/// # Example
///
/// ```
/// use bw::batch::CallbackSink;
///
/// let mut lines = String::new();
/// let mut sink = CallbackSink::new(2, |batch| lines += &format!("{batch:?}\n"));
/// (1..=3).try_for_each(|number| sink.send(number))?;
/// drop(sink);
/// assert_eq!(lines, "[1, 2]\n[3]\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct CallbackSink<T, F> {
    /// Before the batcher, which it waits for.
    #[cfg(feature = "futures")]
    pub(super) waiting: crate::wake::Waiting<bw_sys::bw_batch_t>,
    pub(super) handle: Handle<T, Callback<F>, DropItems<T>>,
}

/// A closure as a sink. It gets no batch of its own, so it cannot take one: the sink may borrow.
///
/// ```compile_fail,E0507
/// let sink = bw::batch::CallbackSink::new(1, |batch: &bw::batch::Batch<'_, u8>| drop(batch.take()));
/// ```
pub(super) struct Callback<F>(F);

impl<T, F, A> Sink<T> for Callback<F>
where
    F: FnMut(&Batch<'_, T>) -> A,
    A: Into<Answer>,
{
    fn write(&mut self, batch: Batch<'_, T>) -> Answer {
        (self.0)(&batch).into()
    }
}

impl<T, F> CallbackSink<T, F> {
    /// Makes a sink with batches of `capacity` items; 0 counts as 1.
    ///
    /// # Panics
    ///
    /// If `capacity` is over 2^20, if a batch would have more than 128 MiB, or if there is no memory for two.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::CallbackSink;
    /// use std::io::Write;
    ///
    /// let mut sink = CallbackSink::new(8192, |batch| {
    ///     std::io::sink().write_all(batch.as_slice().expect("bytes lie side by side"))
    /// });
    /// b"text".iter().try_for_each(|byte| sink.send(*byte))?;
    /// sink.flush()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new<A>(capacity: usize, on_flush: F) -> CallbackSink<T, F>
    where
        F: FnMut(&Batch<'_, T>) -> A,
        A: Into<Answer>,
    {
        let made =
            Handle::new(Callback(on_flush), DropItems(PhantomData), options_of_capacity::<T>(capacity), Freed::Here);
        let handle = made.expect("batches of this capacity cannot be made");
        CallbackSink {
            #[cfg(feature = "futures")]
            waiting: super::futures::waiting(&handle),
            handle,
        }
    }

    /// Sends an item.
    ///
    /// # Errors
    ///
    /// The item, and what the batch has failed with that makes no room for it; `EAGAIN`: the closure is not ready.
    ///
    /// # Panics
    ///
    /// With what the closure has thrown. Its batch is held then, and not offered again.
    ///
    /// # Example
    ///
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// let mut sink = bw::batch::CallbackSink::new(1, |_| Err(ErrorKind::BrokenPipe.into()));
    /// assert!(sink.send(1).is_ok() && sink.send(2).is_ok()); // there are two buffers
    /// let refused = sink.send(3).unwrap_err();
    /// assert_eq!((refused.item, refused.error.kind()), (3, ErrorKind::BrokenPipe));
    /// ```
    pub fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        self.handle.send_alone(item)
    }

    /// Offers all there is.
    ///
    /// # Errors
    ///
    /// Those of the closure: what it has not taken is held, and offered again by the next call. `ETIMEDOUT`: the
    /// closure is not ready.
    ///
    /// # Panics
    ///
    /// As [`send`](CallbackSink::send).
    ///
    /// # Example
    ///
    /// ```
    /// let mut count = 0;
    /// let mut sink = bw::batch::CallbackSink::new(10, |batch| count += batch.len());
    /// sink.send("an item")?;
    /// sink.flush()?;
    /// drop(sink);
    /// assert_eq!(count, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn flush(&mut self) -> io::Result<()> {
        self.handle.flush_alone()
    }

    /// The closure is ready again, for a task that waits. It is the next poll that calls it.
    ///
    /// # Example
    ///
    /// ```
    /// let sink = bw::batch::CallbackSink::<u8, _>::new(10, |_| ());
    /// sink.wake();
    /// ```
    pub fn wake(&self) {
        self.handle.wake();
    }

    /// How many items are neither taken by the closure nor given up.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::CallbackSink::new(10, |_| ());
    /// sink.send("an item")?;
    /// assert_eq!(sink.buffered_count(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn buffered_count(&self) -> usize {
        self.handle.buffered()
    }

    /// How many batches the closure has taken.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::CallbackSink::new(2, |_| ());
    /// (0..5).try_for_each(|number| sink.send(number))?;
    /// assert_eq!(sink.flush_count(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn flush_count(&self) -> u64 {
        self.handle.flushed()
    }
}

impl<T, F> fmt::Debug for CallbackSink<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flushed, buffered) = (self.handle.flushed(), self.handle.buffered());
        f.debug_struct("CallbackSink").field("flushed", &flushed).field("buffered", &buffered).finish()
    }
}
