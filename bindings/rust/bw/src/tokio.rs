//! For tokio: its `BufWriter`, over the library's buffer.

mod buf_writer;
mod polled;

pub use buf_writer::BufWriter;
