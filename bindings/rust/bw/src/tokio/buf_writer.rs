//! tokio's `BufWriter`.

use std::fmt;
use std::io::{self, IoSlice, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use super::polled::poll;
use crate::unshared::Unshared;

/// tokio's [`BufWriter`](https://docs.rs/tokio/1/tokio/io/struct.BufWriter.html): the same constructors, methods and
/// traits, so that a program changes its `use` line and nothing else.
///
/// A write that fits the buffer is copied into it. One that does not fit writes out the buffer first; one of the
/// buffer's whole capacity or more goes straight to the inner writer. A flush, a shutdown and a seek write out the
/// buffer and then are the inner writer's; a read is at once. The inner writer is polled with the task's own
/// [`Context`], its errors come out as they are, and no poll allocates.
///
/// Dropping it discards what is buffered and does not call the inner writer, as with tokio's: flush first.
///
/// # Differences from tokio's
///
/// - Once the inner writer has taken a part of the buffer and is not ready for the rest, [`buffer`](Self::buffer) is
///   that rest, and a write that now fits is taken. tokio's keeps the whole until all of it is taken.
/// - After the inner writer panicked in a write, or claimed more than it was offered, it is not known what became of
///   the bytes: every later write, flush, shutdown and seek gives [`Error::SINK`](crate::Error::SINK) and offers it
///   none again. `buffer` still has them, and [`into_inner`](Self::into_inner) gives the inner writer.
/// - Capacity 0 is 1, so that a write of no bytes does not reach the inner writer. A capacity over 128 MiB panics.
///
/// # Example
///
/// ```
/// use bw::tokio::BufWriter;
/// use tokio::io::AsyncWriteExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let mut writer = BufWriter::new(Vec::new());
/// writer.write_all(b"hello, ").await?;
/// writer.write_all(b"world").await?;
/// assert!(writer.get_ref().is_empty());
/// writer.flush().await?;
/// assert_eq!(writer.into_inner(), b"hello, world");
/// # Ok(())
/// # }
/// ```
pub struct BufWriter<W> {
    core: Unshared,
    seek: Seek,
    /// Pinned when we are.
    inner: W,
}

/// Where a seek has come to.
#[derive(Clone, Copy)]
enum Seek {
    /// There is none of ours.
    None,
    /// It is remembered; the inner writer has not heard of it.
    Remembered(SeekFrom),
    /// The inner writer is at it.
    Started,
}

impl<W: AsyncWrite> BufWriter<W> {
    /// Makes one with a buffer of 8 KiB.
    ///
    /// # Panics
    ///
    /// If there is no memory for it.
    ///
    /// # Example
    ///
    /// ```
    /// let writer = bw::tokio::BufWriter::new(tokio::io::sink());
    /// assert!(writer.buffer().is_empty());
    /// ```
    pub fn new(inner: W) -> Self {
        BufWriter::make(0, inner) // the library's default
    }

    /// Makes one with a buffer of `capacity` bytes; 0 is 1.
    ///
    /// # Panics
    ///
    /// If `capacity` is over 128 MiB, or there is no memory for it.
    ///
    /// # Example
    ///
    /// ```
    /// let writer = bw::tokio::BufWriter::with_capacity(64 << 10, tokio::io::sink());
    /// assert!(writer.buffer().is_empty());
    /// ```
    pub fn with_capacity(capacity: usize, inner: W) -> Self {
        BufWriter::make(capacity.max(1), inner)
    }

    fn make(capacity: usize, inner: W) -> Self {
        match Unshared::new(capacity) {
            Ok(core) => BufWriter { core, seek: Seek::None, inner },
            Err(error) => panic!("a writer with a buffer of {capacity} bytes: {error}"),
        }
    }

    /// The inner writer.
    ///
    /// # Example
    ///
    /// ```
    /// let writer = bw::tokio::BufWriter::new(vec![1u8]);
    /// assert_eq!(*writer.get_ref(), [1]);
    /// ```
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// The inner writer. What is written to it directly does not wait for what is buffered.
    ///
    /// # Example
    ///
    /// ```
    /// let mut writer = bw::tokio::BufWriter::new(vec![1u8]);
    /// writer.get_mut().clear();
    /// assert!(writer.get_ref().is_empty());
    /// ```
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// The inner writer, pinned.
    ///
    /// # Example
    ///
    /// ```
    /// let mut writer = Box::pin(bw::tokio::BufWriter::new(vec![1u8]));
    /// writer.as_mut().get_pin_mut().clear();
    /// assert!(writer.get_ref().is_empty());
    /// ```
    pub fn get_pin_mut(self: Pin<&mut Self>) -> Pin<&mut W> {
        self.project().0
    }

    /// Gives the inner writer back. What is buffered is lost: flush first.
    ///
    /// # Example
    ///
    /// ```
    /// let writer = bw::tokio::BufWriter::new(vec![1u8]);
    /// assert_eq!(writer.into_inner(), [1]);
    /// ```
    pub fn into_inner(self) -> W {
        self.inner
    }

    /// The bytes that the inner writer has not taken.
    ///
    /// # Example
    ///
    /// ```
    /// use tokio::io::AsyncWriteExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let mut writer = bw::tokio::BufWriter::new(Vec::new());
    /// writer.write_all(b"hello").await?;
    /// assert_eq!(writer.buffer(), b"hello");
    /// # Ok(())
    /// # }
    /// ```
    pub fn buffer(&self) -> &[u8] {
        self.core.buffer()
    }

    /// Gives everything buffered to the inner writer.
    fn poll_write_out(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (inner, me) = self.project();
        poll(inner, cx, |sink| me.core.write_out(sink))
    }
}

/// What of it is never pinned.
struct Unpinned<'a> {
    core: &'a mut Unshared,
    seek: &'a mut Seek,
}

impl<W> BufWriter<W> {
    fn project(self: Pin<&mut Self>) -> (Pin<&mut W>, Unpinned<'_>) {
        // SAFETY: nothing is moved out of it here.
        let me = unsafe { self.get_unchecked_mut() };
        // SAFETY: the inner writer is pinned when we are: it is only moved out of us by value, we are Unpin only if it
        // is, and have no Drop.
        let inner = unsafe { Pin::new_unchecked(&mut me.inner) };
        (inner, Unpinned { core: &mut me.core, seek: &mut me.seek })
    }
}

impl<W: AsyncWrite> AsyncWrite for BufWriter<W> {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (inner, me) = self.project();
        if me.core.push(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        poll(inner, cx, |sink| me.core.write(sink, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (inner, me) = self.project();
        poll(inner, cx, |sink| me.core.write_vectored(sink, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_write_out(cx))?;
        self.get_pin_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_write_out(cx))?;
        self.get_pin_mut().poll_shutdown(cx)
    }
}

impl<W: AsyncWrite + AsyncSeek> AsyncSeek for BufWriter<W> {
    fn start_seek(self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        *self.project().1.seek = Seek::Remembered(position);
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let seek = self.seek;
        if !matches!(seek, Seek::None) {
            ready!(self.as_mut().poll_write_out(cx))?;
        }
        let (mut inner, me) = self.project();
        if let Seek::Remembered(position) = seek {
            // An earlier seek of the inner writer's own ends first.
            ready!(inner.as_mut().poll_complete(cx))?;
            *me.seek = Seek::None;
            inner.as_mut().start_seek(position)?;
            *me.seek = Seek::Started;
        }
        let result = ready!(inner.poll_complete(cx));
        *me.seek = Seek::None;
        Poll::Ready(result)
    }
}

impl<W: AsyncWrite + AsyncRead> AsyncRead for BufWriter<W> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_pin_mut().poll_read(cx, room)
    }
}

impl<W: AsyncWrite + AsyncBufRead> AsyncBufRead for BufWriter<W> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_pin_mut().poll_fill_buf(cx)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_pin_mut().consume(count);
    }
}

impl<W: fmt::Debug> fmt::Debug for BufWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (buffered, capacity) = (self.core.buffer().len(), self.core.capacity());
        f.debug_struct("BufWriter")
            .field("writer", &self.inner)
            .field("buffer", &format_args!("{buffered}/{capacity}"))
            .finish()
    }
}
