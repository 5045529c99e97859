//! Batches of items: any number of threads send small items, a sink takes them in batches, and the fate of every item
//! is told exactly once.
//!
//! There are types that are ready to use, and a builder for all else.
//!
//! | Type | What it does with a batch |
//! |---|---|
//! | [`BatchSink`] | keeps it, as a `Vec` |
//! | [`CallbackSink`] | calls a closure |
//! | [`LogSink`] | writes its items to a [`File`](crate::File) or a [`Writer`](crate::Writer) |
//! | [`Batcher`], made by a [`Builder`] | offers it to a [`Sink`]: limits, times, retries, answers that come later |
//! | `AsyncBatcher`, feature `futures` | the same as a `futures::Sink` |
//!
//! An item is *accepted* when a send gives `Ok`; any other answer gives it back. It moves through the library as it is,
//! without being serialised: items of one batch lie as an array of `T`. An accepted item is *settled* once: delivered,
//! given up, dropped or discarded. Only then it is dropped, or handed to [`Builder::on_delivered`] or
//! [`Builder::on_failed`].
//!
//! The batch that items go to is *filling*. It is *sealed* when it is full, when it has lingered, by a flush or a
//! close; then it is *offered* to the sink. One that has failed is *held*, with all behind it, until it is offered
//! again.
//!
//! A panic in a callback is caught there and goes on in the next call of the batcher, as that call ends. If it came
//! from the sink, its batch is held with [`Error::SINK`](crate::Error::SINK), and is not offered again.
//!
//! The rules are those of `bw/batch.h`, where each call is explained in full.
//!
//! # Example
//!
//! ```
//! use bw::batch::CallbackSink;
//!
//! let mut sums = Vec::new();
//! let mut sink = CallbackSink::new(3, |batch| sums.push(batch.iter().sum::<u32>()));
//! for number in 1..=7 {
//!     sink.send(number)?;
//! }
//! sink.flush()?;
//! drop(sink);
//! assert_eq!(sums, [6, 15, 7]);
//! # Ok::<(), std::io::Error>(())
//! ```

mod answer;
mod batch_sink;
mod batcher;
mod builder;
mod callback_sink;
#[cfg(feature = "futures")]
mod futures;
mod handle;
mod items;
mod listeners;
mod log_sink;
mod send_error;
mod sink;
mod state;
mod stats;
mod stats_sink;
mod view;

pub use answer::Answer;
pub use batch_sink::BatchSink;
pub use batcher::{Batcher, Shared, Unshared};
pub use builder::{Builder, WhenFailed, WhenFull};
pub use callback_sink::CallbackSink;
#[cfg(feature = "futures")]
pub use futures::{AsyncBatcher, Wake};
pub use log_sink::{LogSink, LogWriter};
pub use send_error::SendError;
pub use sink::Sink;
pub use stats::Stats;
pub use stats_sink::StatsSink;
pub use view::{Batch, Taken};
