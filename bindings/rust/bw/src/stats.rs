//! What a writer has done so far.

use std::time::Duration;

use bw_sys::{bw_latency_t, bw_stats_t};

use crate::options::Engine;

/// How long something took, over all times it happened. The shares are estimates from a histogram.
///
/// # Example
///
/// ```
/// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
/// file.append(b"text")?;
/// file.sync()?;
/// let sync = file.stats()?.sync;
/// println!("{} syncs, half of them within {:?}", sync.count, sync.p50);
/// assert!(sync.p50 <= sync.max);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// How often it happened.
    pub count: u64,
    /// Half of the times were at most this long.
    pub p50: Duration,
    /// 90 % were.
    pub p90: Duration,
    /// 99 % were.
    pub p99: Duration,
    /// 99.9 % were.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
}

impl From<bw_latency_t> for Latency {
    fn from(latency: bw_latency_t) -> Latency {
        Latency {
            count: latency.count,
            p50: Duration::from_nanos(latency.p50_ns),
            p90: Duration::from_nanos(latency.p90_ns),
            p99: Duration::from_nanos(latency.p99_ns),
            p999: Duration::from_nanos(latency.p999_ns),
            max: Duration::from_nanos(latency.max_ns),
        }
    }
}

/// What [`File::stats`](crate::File::stats) tells. Counts may lag while writes are under way.
///
/// # Example
///
/// ```
/// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
/// file.append(b"text")?;
/// file.sync()?;
/// let stats = file.stats()?;
/// assert_eq!((stats.accepted_bytes, stats.durable_bytes), (4, 4));
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// What drives the file; `None` for a sink, a pipe or a device.
    pub engine: Option<Engine>,
    /// Bytes accepted.
    pub accepted_bytes: u64,
    /// Bytes that the file or sink took.
    pub written_bytes: u64,
    /// Bytes made durable.
    pub durable_bytes: u64,
    /// Pieces accepted: writes, appends and commits.
    pub writes: u64,
    /// Writes to the file, or calls of the sink.
    pub sink_writes: u64,
    /// Writes that went past the buffer.
    pub bypasses: u64,
    /// Flushes done.
    pub flushes: u64,
    /// Syncs done; one serves all who wait.
    pub syncs: u64,
    /// How often a thread waited for room.
    pub waits: u64,
    /// Failures of the file or sink.
    pub errors: u64,
    /// How often a held error was let go of.
    pub resumes: u64,
    /// How many buffers there are.
    pub buffers: u32,
    /// Handed on and not yet taken: how full.
    pub buffers_in_use: u32,
    /// Whether O_DIRECT is in use.
    pub direct: bool,
    /// Whether the buffers are registered with the kernel.
    pub registered_buffers: bool,
    /// Time waited for room.
    pub write_wait: Latency,
    /// Time of one write to the file, or call of the sink.
    pub sink_write: Latency,
    /// Time of one sync.
    pub sync: Latency,
    /// Whether each thread counts its copies on a line of its own: membarrier(2) is there.
    pub own_slots: bool,
}

impl From<bw_stats_t> for Stats {
    fn from(stats: bw_stats_t) -> Stats {
        Stats {
            engine: Engine::from_c(stats.engine),
            accepted_bytes: stats.accepted_bytes,
            written_bytes: stats.written_bytes,
            durable_bytes: stats.durable_bytes,
            writes: stats.writes,
            sink_writes: stats.sink_writes,
            bypasses: stats.bypasses,
            flushes: stats.flushes,
            syncs: stats.syncs,
            waits: stats.waits,
            errors: stats.errors,
            resumes: stats.resumes,
            buffers: stats.buffers,
            buffers_in_use: stats.buffers_in_use,
            direct: stats.direct != 0,
            registered_buffers: stats.registered_buffers != 0,
            write_wait: stats.write_wait.into(),
            sink_write: stats.sink_write.into(),
            sync: stats.sync.into(),
            own_slots: stats.own_slots != 0,
        }
    }
}
