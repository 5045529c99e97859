use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, Index};
use std::ptr::null;
use std::sync::{Arc, OnceLock, Weak};

use bw_sys::bw_batch_view_t;

use super::Answer;
use super::items::Items;
use super::state::Keep;

/// A sealed batch, or a part of one, while a sink has it. There is at least one item in it.
///
/// # Example
///
/// ```
/// use bw::batch::{Batch, Builder};
/// use std::sync::mpsc::channel;
///
/// let (sender, seen) = channel();
/// let batcher = Builder::new().max_items(2).build(move |batch: Batch<'_, char>| {
///     sender.send((batch.serial(), batch.first(), batch.iter().collect::<String>())).unwrap();
/// })?;
/// for letter in ['a', 'b', 'c'] {
///     batcher.send(letter)?;
/// }
/// drop(batcher);
/// assert_eq!(seen.iter().collect::<Vec<_>>(), [(1, 1, "ab".to_string()), (2, 3, "c".to_string())]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Batch<'a, T> {
    view: *mut bw_batch_view_t,
    items: Items<'a, T>,
    frame: Option<&'a Frame<'a>>,
}

impl<'a, T> Batch<'a, T> {
    /// # Safety
    ///
    /// `view` is a batch of items of type `T`, and valid during `'a`.
    pub(super) unsafe fn new(view: *mut bw_batch_view_t, frame: Option<&'a Frame<'a>>) -> Batch<'a, T> {
        let mut count = 0;
        // SAFETY: the view is valid; so are its items, as long, and they lie in order.
        let items = unsafe { Items::new(bw_sys::bw_batch_items(view, &raw mut count), count) };
        Batch { view, items, frame }
    }

    /// How many items it has.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::CallbackSink::new(2, |batch| {
    ///     assert_eq!(batch.len(), 2);
    /// });
    /// sink.send(3u32)?;
    /// sink.send(4)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The items as a slice, if they lie as one array: they do until answers for single items have split the batch, or
    /// unless `T` is aligned to more than 4096.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::CallbackSink::new(2, |batch| {
    ///     assert_eq!(batch.as_slice(), Some(&[1, 2][..]));
    /// });
    /// sink.send(1)?;
    /// sink.send(2)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn as_slice(&self) -> Option<&[T]> {
        self.items.as_slice()
    }

    /// An item; `None` if there are not so many.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::CallbackSink::new(2, |batch| {
    ///     assert_eq!((batch.get(1), batch.get(2)), (Some(&4), None));
    /// });
    /// sink.send(3u32)?;
    /// sink.send(4)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get(&self, index: usize) -> Option<&T> {
        self.items.get(index)
    }

    /// The items, in the order in which they were accepted.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::CallbackSink::new(2, |batch| {
    ///     assert_eq!(batch.iter().sum::<u32>(), 7);
    /// });
    /// sink.send(3u32)?;
    /// sink.send(4)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T> + DoubleEndedIterator {
        (0..self.len()).map(|index| &self[index])
    }

    /// How many bytes the items have together.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::CallbackSink::new(2, |batch| {
    ///     assert_eq!(batch.bytes(), 8);
    /// });
    /// sink.send(3u32)?;
    /// sink.send(4)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bytes(&self) -> u64 {
        // SAFETY: the view is valid, here and below.
        unsafe { bw_sys::bw_batch_bytes(self.view) }
    }

    /// The number of the batch: 1, 2, 3 and so on, as batches are sealed. Its parts have the same.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::CallbackSink::new(2, |batch| {
    ///     assert_eq!(batch.serial(), 1);
    /// });
    /// sink.send(3u32)?;
    /// sink.send(4)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn serial(&self) -> u64 {
        // SAFETY: see bytes().
        unsafe { bw_sys::bw_batch_serial(self.view) }
    }

    /// The number of its first item among all that the batcher has accepted; the first of all is 1.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::CallbackSink::new(2, |batch| {
    ///     assert_eq!(batch.first(), 1);
    /// });
    /// sink.send(3u32)?;
    /// sink.send(4)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn first(&self) -> u64 {
        // SAFETY: see bytes().
        unsafe { bw_sys::bw_batch_first(self.view) }
    }

    /// Which offer this is: 1, then one more after each failure.
    ///
    /// # Example
    ///
    /// ```
    /// let mut sink = bw::batch::CallbackSink::new(2, |batch| {
    ///     assert_eq!(batch.attempt(), 1);
    /// });
    /// sink.send(3u32)?;
    /// sink.send(4)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn attempt(&self) -> u32 {
        // SAFETY: see bytes().
        unsafe { bw_sys::bw_batch_attempt(self.view) }
    }
}

impl<T: Send + 'static> Batch<'_, T> {
    /// Takes the batch, to answer for it later, from any thread.
    ///
    /// Up to [`Builder::max_in_flight`](super::Builder::max_in_flight) batches may be taken and unanswered. What
    /// [`Sink::write`](super::Sink::write) returns is not looked at then.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder, Taken};
    /// use std::{sync::mpsc::channel, thread};
    ///
    /// let (queue, work) = channel::<Taken<u32>>();
    /// let worker = thread::spawn(move || work.iter().for_each(|batch| batch.answer(Ok(()))));
    ///
    /// let batcher = Builder::new().max_in_flight(4).build(move |batch: Batch<'_, u32>| {
    ///     queue.send(batch.take()).expect("the worker is there");
    /// })?;
    /// (0..10_000).try_for_each(|number| batcher.send(number))?;
    /// batcher.flush()?;
    /// assert_eq!(batcher.stats()?.total_items, 10_000);
    /// drop(batcher);
    /// worker.join().unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take(self) -> Taken<T> {
        let frame = self.frame.expect("only a batch that is offered can be moved out of its borrow");
        frame.is_taken.set(true);
        // SAFETY: the view is valid until it is answered.
        let batch = unsafe { Batch::new(self.view, None) };
        Taken { batch, is_answered: false, _keep: frame.keep.get().and_then(Weak::upgrade) }
    }
}

impl<T> Index<usize> for Batch<'_, T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        self.get(index).expect("the index is less than the number of items")
    }
}

impl<T: fmt::Debug> fmt::Debug for Batch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// What a call of `write` and the batch that it is shown know of each other.
pub(super) struct Frame<'a> {
    keep: &'a OnceLock<Weak<Keep>>,
    is_taken: Cell<bool>,
}

impl<'a> Frame<'a> {
    pub(super) fn new(keep: &'a OnceLock<Weak<Keep>>) -> Frame<'a> {
        Frame { keep, is_taken: Cell::new(false) }
    }

    pub(super) fn is_taken(&self) -> bool {
        self.is_taken.get()
    }
}

/// A batch in flight: the sink has taken it ([`Batch::take`]), and will answer for it.
///
/// One that is dropped without an answer has failed with `ECANCELED`. One that is forgotten stays in flight: closing
/// and dropping a [`Batcher`](super::Batcher) wait for its answer for ever.
///
/// # Example
///
/// ```
/// use bw::batch::{Batch, Builder, Taken};
/// use std::sync::mpsc::channel;
///
/// let (sender, taken) = channel::<Taken<&str>>();
/// let batcher = Builder::new().max_items(1).build(move |batch: Batch<'_, &'static str>| {
///     sender.send(batch.take()).unwrap();
/// })?;
/// batcher.send("an item")?;
/// let batch = taken.recv().unwrap();
/// assert_eq!((batch[0], batcher.stats()?.in_flight_items), ("an item", 1));
/// batch.answer(());
/// assert_eq!(batcher.stats()?.total_items, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Taken<T: 'static> {
    batch: Batch<'static, T>,
    is_answered: bool,
    /// Keeps an asynchronous batcher; freed after the answer.
    _keep: Option<Arc<Keep>>,
}

// SAFETY: who has it is the only one to see the items, and the view may be asked and answered from any thread.
unsafe impl<T: Send + 'static> Send for Taken<T> {}
// SAFETY: it shows nothing but `&T`, and the view may be asked by several threads.
unsafe impl<T: Sync + 'static> Sync for Taken<T> {}

impl<T: 'static> Taken<T> {
    /// One answer for all items.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use std::io::{Error, ErrorKind};
    ///
    /// let batcher = Builder::new().build(|batch: Batch<'_, u8>| {
    ///     batch.take().answer(Error::from(ErrorKind::ConnectionReset));
    /// })?;
    /// batcher.send(1)?;
    /// assert_eq!(batcher.flush().unwrap_err().kind(), ErrorKind::ConnectionReset);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn answer(mut self, answer: impl Into<Answer>) {
        self.done(answer.into(), None);
    }

    /// One answer for each item. Those that failed stay together, in order, as a smaller batch.
    ///
    /// # Panics
    ///
    /// If there are not as many answers as items; the batch then counts as dropped without an answer.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Answer, Batch, Builder};
    /// use std::io::{Error, ErrorKind};
    ///
    /// let batcher = Builder::new()
    ///     .on_failed(|items: Vec<i32>, error| assert_eq!((items, error.kind()), (vec![-1], ErrorKind::InvalidInput)))
    ///     .build(|batch: Batch<'_, i32>| {
    ///         let negative = Answer::refused(&ErrorKind::InvalidInput.into());
    ///         let judge = |number: &i32| if *number < 0 { negative } else { Answer::DELIVERED };
    ///         let answers: Vec<Answer> = batch.iter().map(judge).collect();
    ///         batch.take().answer_each(&answers);
    ///     })?;
    /// [3, -1, 4].into_iter().try_for_each(|number| batcher.send(number))?;
    /// assert!(batcher.flush().is_err());
    /// assert_eq!(batcher.stats()?.total_items, 2);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn answer_each(mut self, answers: &[Answer]) {
        assert_eq!(answers.len(), self.len(), "one answer for each item");
        self.done(Answer::DELIVERED, Some(answers));
    }

    fn done(&mut self, answer: Answer, each: Option<&[Answer]>) {
        self.is_answered = true;
        // An Answer is a code. The library refuses none of these; in the child of a fork there is nobody to be told.
        let codes = each.map_or(null(), |answers| answers.as_ptr().cast());
        // SAFETY: the batch is in flight, this is the one answer, and there are as many codes as items.
        unsafe { bw_sys::bw_batch_done(self.batch.view, answer.code(), codes) };
    }
}

impl<T: 'static> Drop for Taken<T> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.done(Answer::CANCELED, None);
        }
    }
}

impl<T: 'static> Deref for Taken<T> {
    type Target = Batch<'static, T>;

    fn deref(&self) -> &Batch<'static, T> {
        &self.batch
    }
}

impl<T: fmt::Debug + 'static> fmt::Debug for Taken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.batch.fmt(f)
    }
}
