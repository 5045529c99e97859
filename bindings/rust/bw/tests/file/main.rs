//! `bw::File` and what belongs to it.

#[cfg(feature = "tokio")]
mod async_write;
#[macro_use]
#[path = "../support/has.rs"]
mod has;

mod dropping;
mod failing;
mod lanes;
mod spans;
mod support;
mod waiting;
mod writing;

const _: () = assert!(has!(bw::File: Send) && has!(bw::File: Sync) && has!(bw::File: Clone));
const _: () = assert!(has!(bw::Lane: Send) && has!(bw::Span<'static>: Send) && has!(bw::Reached: Send));
