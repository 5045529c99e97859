use crate::stats::Latency;

/// What a batcher has done so far.
///
/// # Example
///
/// ```
/// use bw::batch::{Batch, Builder};
///
/// let batcher = Builder::new().max_items(2).build(|_: Batch<'_, u32>| ())?;
/// (0..3).try_for_each(|number| batcher.send(number))?;
/// let stats = batcher.stats()?;
/// assert_eq!((stats.total_items, stats.total_batches, stats.buffered_items), (2, 1, 1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Items delivered.
    pub total_items: u64,
    /// Batches delivered; one that came apart counts once.
    pub total_batches: u64,
    /// The most items delivered of one batch.
    pub max_batch_size: u64,
    /// Items dropped because the batcher was full, or discarded.
    pub dropped_items: u64,
    /// Items given up.
    pub failed_items: u64,
    /// Offers after a failure.
    pub retries: u64,
    /// Bytes of the items delivered.
    pub bytes: u64,
    /// Items accepted, not settled and not in flight.
    pub buffered_items: u64,
    /// Items that the sink took and has not answered for.
    pub in_flight_items: u64,
    /// For each batch: from its first item until it was sealed.
    pub in_batch: Latency,
    /// For each batch: from its first item until it was settled.
    pub to_delivered: Latency,
}

impl From<bw_sys::bw_batch_stats_t> for Stats {
    fn from(stats: bw_sys::bw_batch_stats_t) -> Stats {
        Stats {
            total_items: stats.total_items,
            total_batches: stats.total_batches,
            max_batch_size: stats.max_batch_size,
            dropped_items: stats.dropped_items,
            failed_items: stats.failed_items,
            retries: stats.retries,
            bytes: stats.bytes,
            buffered_items: stats.buffered_items,
            in_flight_items: stats.in_flight_items,
            in_batch: stats.in_batch.into(),
            to_delivered: stats.to_delivered.into(),
        }
    }
}
