//! What holds for tokio's `BufWriter` and for ours. The module that includes this one says which it is.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio_test::task::spawn;

use super::BufWriter;
use crate::planned::{Asked, Planned, Step};

mod buffering;
mod failing;
mod pending;
mod reading;
mod seeking;
mod vectored;

/// Polls once, as a task that is not the one before.
fn poll_once<R>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> Poll<R> {
    spawn(poll_fn(|cx| poll(cx))).poll()
}

fn poll_write<W: AsyncWrite + Unpin>(writer: &mut W, data: &[u8]) -> Poll<io::Result<usize>> {
    poll_once(|cx| Pin::new(&mut *writer).poll_write(cx, data))
}

fn poll_flush<W: AsyncWrite + Unpin>(writer: &mut W) -> Poll<io::Result<()>> {
    poll_once(|cx| Pin::new(&mut *writer).poll_flush(cx))
}

async fn write_vectored<W: AsyncWrite + Unpin>(writer: &mut W, slices: &[&[u8]]) -> io::Result<usize> {
    let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
    poll_fn(|cx| Pin::new(&mut *writer).poll_write_vectored(cx, &slices)).await
}

/// A writer with `content` in its buffer, over a sink with that plan.
fn filled(capacity: usize, content: &[u8], plan: impl IntoIterator<Item = Step>) -> BufWriter<Planned> {
    let mut writer = BufWriter::with_capacity(capacity, Planned::new([]));
    assert!(matches!(poll_write(&mut writer, content), Poll::Ready(Ok(count)) if count == content.len()));
    assert_eq!(writer.buffer(), content);
    writer.get_mut().plan = plan.into_iter().collect();
    writer
}
