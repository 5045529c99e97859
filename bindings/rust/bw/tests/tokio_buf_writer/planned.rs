//! A sink that does as it is told, and remembers what it was asked.

use std::collections::VecDeque;
use std::io::{self, Cursor, IoSlice, SeekFrom};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

/// What the sink does when it is polled.
#[derive(Debug)]
pub enum Step {
    /// Takes at most so many bytes; a flush, shutdown or seek is done.
    Take(usize),
    /// Keeps the waker.
    Pending,
    Fail(io::Error),
    Panic(&'static str),
    /// Says it took more than it was offered, by so much.
    Overclaim(usize),
}

/// What the sink was asked: lengths of what it was offered, and the rest as in AsyncWrite and AsyncSeek.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Write(usize),
    WriteVectored(usize),
    Flush,
    Shutdown,
    StartSeek(SeekFrom),
    Complete,
}

/// Shared with the test, which looks at it also when the sink is gone.
pub type Log = Arc<Mutex<Vec<Asked>>>;

/// A file in memory. It follows its plan, and once that is at an end it takes everything.
#[derive(Debug, Default)]
pub struct Planned {
    pub plan: VecDeque<Step>,
    pub vectored: bool,
    /// What the next start_seek fails with.
    pub refused_seek: Option<io::Error>,
    /// Of the task that polled last and was told to wait.
    pub waker: Option<Waker>,
    pub log: Log,
    file: Cursor<Vec<u8>>,
}

impl Planned {
    pub fn new(plan: impl IntoIterator<Item = Step>) -> Planned {
        Planned { plan: plan.into_iter().collect(), ..Planned::default() }
    }

    /// As `new`, and it wants its slices together.
    pub fn vectored(plan: impl IntoIterator<Item = Step>) -> Planned {
        Planned { vectored: true, ..Planned::new(plan) }
    }

    /// Not ready at each first poll.
    pub fn hesitant() -> Planned {
        Planned::new((0..200).map(|turn| if turn % 2 == 0 { Step::Pending } else { Step::Take(usize::MAX) }))
    }

    /// Never takes more than `most` bytes at a time.
    pub fn small(most: usize) -> Planned {
        Planned::new((0..100).map(|_| Step::Take(most)))
    }

    pub fn with_content(content: &[u8]) -> Planned {
        Planned { file: Cursor::new(content.to_vec()), ..Planned::default() }
    }

    pub fn written(&self) -> &[u8] {
        self.file.get_ref()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }

    /// Writes down what was asked, and gives how many bytes may be taken now.
    fn step(&mut self, asked: Asked, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.log.lock().unwrap().push(asked.clone());
        match self.plan.pop_front() {
            None => Poll::Ready(Ok(usize::MAX)),
            Some(Step::Take(most)) => Poll::Ready(Ok(most)),
            Some(Step::Pending) => {
                self.waker = Some(cx.waker().clone());
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Fail(error)) => Poll::Ready(Err(error)),
            Some(Step::Panic(text)) => std::panic::panic_any(text),
            Some(Step::Overclaim(_)) => unreachable!("only of a write"),
        }
    }

    fn write(&mut self, data: &[u8], asked: Asked, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(Step::Overclaim(more)) = self.plan.front() {
            return Poll::Ready(Ok(data.len() + more));
        }
        self.step(asked, cx)
            .map_ok(|most| io::Write::write(&mut self.file, &data[..data.len().min(most)]).expect("it is memory"))
    }
}

impl AsyncWrite for Planned {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.write(data, Asked::Write(data.len()), cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let data = slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>();
        self.write(&data, Asked::WriteVectored(data.len()), cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.step(Asked::Flush, cx).map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.step(Asked::Shutdown, cx).map_ok(drop)
    }
}

impl AsyncSeek for Planned {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        self.log.lock().unwrap().push(Asked::StartSeek(position));
        match self.refused_seek.take() {
            Some(error) => Err(error),
            None => io::Seek::seek(&mut self.file, position).map(drop),
        }
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.step(Asked::Complete, cx).map_ok(|_| self.file.position())
    }
}

impl AsyncRead for Planned {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(cx, room)
    }
}

impl AsyncBufRead for Planned {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().file).poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        Pin::new(&mut self.file).consume(count);
    }
}
