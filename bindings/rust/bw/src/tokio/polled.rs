//! An `AsyncWrite` as the sink of the library, for the length of a poll.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::sink::Sink;

/// The writer and the task that polls it.
struct Polled<'a, 'b, W> {
    writer: Pin<&'a mut W>,
    cx: &'a mut Context<'b>,
    /// The writer's last answer.
    is_pending: bool,
}

/// Makes a call of the library that has `writer` as its sink.
pub(super) fn poll<W: AsyncWrite, R>(
    writer: Pin<&mut W>,
    cx: &mut Context<'_>,
    call: impl FnOnce(&mut dyn Sink) -> io::Result<R>,
) -> Poll<io::Result<R>> {
    let mut polled = Polled { writer, cx, is_pending: false };
    match call(&mut polled) {
        Err(_) if polled.is_pending => Poll::Pending,
        answer => Poll::Ready(answer),
    }
}

impl<W> Polled<'_, '_, W> {
    fn answer(&mut self, answer: Poll<io::Result<usize>>) -> io::Result<usize> {
        self.is_pending = answer.is_pending();
        match answer {
            Poll::Ready(answer) => answer,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl<W: AsyncWrite> Sink for Polled<'_, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let answer = self.writer.as_mut().poll_write(self.cx, bytes);
        self.answer(answer)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let answer = self.writer.as_mut().poll_write_vectored(self.cx, parts);
        self.answer(answer)
    }

    fn is_vectored(&self) -> bool {
        self.writer.is_write_vectored()
    }
}
