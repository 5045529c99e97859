use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Answer, Batch, Sink};

/// Counts items and batches, and nothing else.
///
/// It is a [`Sink`] for any `T`; its clones count together.
///
/// # Example
///
/// ```
/// use bw::batch::{Builder, StatsSink};
///
/// let counts = StatsSink::new();
/// let batcher = Builder::new().max_items(4).build(counts.clone())?;
/// (0..10).try_for_each(|number| batcher.send(number))?;
/// drop(batcher);
/// assert_eq!(counts.stats(), (10, 3, 4));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StatsSink(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    items: AtomicU64,
    batches: AtomicU64,
    max: AtomicU64,
}

impl StatsSink {
    /// One that has counted nothing.
    ///
    /// # Example
    ///
    /// ```
    /// assert_eq!(bw::batch::StatsSink::new().stats(), (0, 0, 0));
    /// ```
    pub fn new() -> StatsSink {
        StatsSink::default()
    }

    /// Counts a batch of so many items.
    ///
    /// # Example
    ///
    /// ```
    /// let counts = bw::batch::StatsSink::new();
    /// counts.record_batch(10);
    /// counts.record_batch(20);
    /// assert_eq!(counts.stats(), (30, 2, 20));
    /// ```
    pub fn record_batch(&self, items: usize) {
        let items = items as u64;
        // Relaxed, here and in stats(): each is a count by itself.
        self.0.items.fetch_add(items, Ordering::Relaxed);
        self.0.batches.fetch_add(1, Ordering::Relaxed);
        self.0.max.fetch_max(items, Ordering::Relaxed);
    }

    /// How many items and batches there were, and how many items the largest had.
    ///
    /// # Example
    ///
    /// ```
    /// let counts = bw::batch::StatsSink::new();
    /// counts.record_batch(3);
    /// let (items, batches, max) = counts.stats();
    /// assert_eq!((items, batches, max), (3, 1, 3));
    /// ```
    pub fn stats(&self) -> (u64, u64, u64) {
        let Counts { items, batches, max } = &*self.0;
        (items.load(Ordering::Relaxed), batches.load(Ordering::Relaxed), max.load(Ordering::Relaxed))
    }
}

impl<T> Sink<T> for StatsSink {
    fn write(&mut self, batch: Batch<'_, T>) -> Answer {
        self.record_batch(batch.len());
        Answer::DELIVERED
    }
}
