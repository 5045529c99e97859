//! Batches: who owns an item when, and what becomes of panics, on every path.

mod callbacks;
#[cfg(feature = "futures")]
mod futures;
mod ledger;
mod ownership;
mod panics;
mod sinks;
mod threads;
