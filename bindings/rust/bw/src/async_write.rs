//! tokio's `AsyncWrite` for files and lanes.

use std::ffi::c_int;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bw_sys::{bw_poll_close, bw_poll_flush, bw_poll_write, bw_poll_writev};
use tokio::io::AsyncWrite;

use crate::file::File;
use crate::lane::Lane;
use crate::wake::Waiting;

/// Shutting down closes the file, for all its clones. Where others keep writing, a flush may stay pending:
/// [`File::written`] does not.
impl AsyncWrite for File {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        write(self.waiting(), context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        write_vectored(self.waiting(), context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        flush(self.waiting(), context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        close(self.waiting(), context)
    }
}

/// Shutting down hands on what the lane has and closes it; the file stays open.
impl AsyncWrite for Lane {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        write(self.waiting()?, context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        write_vectored(self.waiting()?, context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        flush(self.waiting()?, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        close(self.waiting()?, context)
    }
}

fn write(waiting: &mut Waiting, context: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    let (data, length) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: so many bytes lie there.
    let taken = waiting.poll(context, |bw, wake| unsafe { bw_poll_write(bw, data, length, wake) });
    taken.map_ok(|taken| taken as usize)
}

fn write_vectored(waiting: &mut Waiting, context: &Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    let (list, count) = (parts.as_ptr().cast(), parts.len().try_into().unwrap_or(c_int::MAX));
    // SAFETY: so many parts lie there, and an IoSlice is an iovec.
    let taken = waiting.poll(context, |bw, wake| unsafe { bw_poll_writev(bw, list, count, wake) });
    taken.map_ok(|taken| taken as usize)
}

fn flush(waiting: &mut Waiting, context: &Context<'_>) -> Poll<io::Result<()>> {
    // SAFETY: the writer is there, and a lane has this thread as its owner.
    waiting.poll(context, |bw, wake| unsafe { bw_poll_flush(bw, wake) }.into()).map_ok(drop)
}

fn close(waiting: &mut Waiting, context: &Context<'_>) -> Poll<io::Result<()>> {
    // SAFETY: as in flush().
    waiting.poll(context, |bw, wake| unsafe { bw_poll_close(bw, wake) }.into()).map_ok(drop)
}
