//! Buffered, concurrent, durable writing.
//!
//! Many threads write small pieces; few large writes go out, in one order; and the caller knows how far each byte has
//! come: accepted, written, durable. This crate is a thin, safe layer over the C library `libbw`.
//!
//! # Example
//!
//! ```
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("readme.log");
//! let file = bw::File::create(&path)?;
//! let at = file.append(b"hello, world\n")?; // from any thread; where in the stream it stands
//! file.wait(at + 13, bw::Level::Durable, None)?; // now it survives a power cut
//! file.close()?;
//! # std::io::Result::Ok(())
//! ```

#[cfg(feature = "tokio")]
mod async_write;
pub mod batch;
mod buffer;
mod error;
mod event;
mod file;
mod file_io;
mod handle;
mod into_inner;
mod lane;
mod options;
mod panic;
mod reached;
mod recovery;
mod sink;
mod span;
mod stats;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(feature = "tracing")]
pub mod tracing;
mod unshared;
mod wake;
mod window;
mod writer;

pub use buffer::Buffer;
pub use error::Error;
pub use event::Event;
pub use file::{File, Level};
pub use into_inner::{IntoInnerError, WriterPanicked};
pub use lane::Lane;
pub use options::{Engine, Options};
pub use reached::Reached;
pub use sink::Sink;
pub use span::Span;
pub use stats::{Latency, Stats};
pub use writer::Writer;
