//! `futures::Sink` for batches.

use std::ffi::c_int;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::ptr::null;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bw_sys::{bw_batch_t, bw_waker_t};
use futures_sink::Sink as FuturesSink;

use super::handle::{Freed, Handle};
use super::sink::AnySink;
use super::{Answer, Batch, BatchSink, Batcher, Builder, CallbackSink, Sink};
use crate::wake::{Polled, Waiting};

/// A [`Batcher`] for tasks: a `futures::Sink`. [`Builder::build_async`] makes it.
///
/// Its clones are further producers of the same batcher. `poll_close` closes it for all of them.
///
/// Dropping the last one seals what is filling and offers what the sink is ready for, and never waits. What is left is
/// seen to by another thread, as a [`Batcher`] does when it is dropped, or by who answers the last batch in flight: to
/// be sure, or to hear of errors, close it first. A clone may have one item for which there was no room, although
/// `poll_ready` had said so: other producers were faster. It goes with the next poll; if there is still no room when
/// the clone is dropped, the item is dropped too.
///
/// # Example
///
/// ```
/// use bw::batch::{Batch, Builder};
/// use futures::{SinkExt, stream};
///
/// # futures::executor::block_on(async {
/// let mut batcher = Builder::new().max_items(10).build_async(|batch: Batch<'_, u32>| println!("{batch:?}"))?;
/// batcher.send_all(&mut stream::iter((0..100).map(Ok))).await?;
/// batcher.send(100).await?;
/// batcher.close().await?;
/// assert_eq!(batcher.get_ref().stats()?.total_items, 101);
/// # Ok::<(), std::io::Error>(()) }).unwrap();
/// ```
pub struct AsyncBatcher<T> {
    kept: Option<T>,
    /// Before the batcher, which it waits for.
    waiting: Waiting<bw_batch_t>,
    owner: Arc<Owner<T>>,
}

/// Shared by the clones; batches in flight and wake handles know the batcher alone.
struct Owner<T>(Arc<Batcher<T>>);

impl<T> Drop for Owner<T> {
    fn drop(&mut self) {
        // Seals and offers. What this says, Handle::drop() finds out.
        // SAFETY: the batcher is there; no waker is given.
        unsafe { bw_sys::bw_batch_poll_close(self.0.handle().raw(), null()) };
    }
}

impl<T: Send + 'static> Builder<T> {
    /// Makes a batcher for tasks, with the feature `futures`.
    ///
    /// # Errors
    ///
    /// As [`build`](Builder::build).
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    /// use futures::SinkExt;
    ///
    /// let mut batcher = Builder::new().build_async(|_: Batch<'_, u8>| ())?;
    /// futures::executor::block_on(batcher.send(1))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn build_async<S: Sink<T> + Send + 'static>(self, sink: S) -> io::Result<AsyncBatcher<T>> {
        let batcher = Arc::new(Batcher::make(self, AnySink(Box::new(sink)), Freed::WithoutWaiting)?);
        let keep: Weak<Batcher<T>> = Arc::downgrade(&batcher);
        batcher.handle().set_keep(keep);
        Ok(AsyncBatcher { kept: None, waiting: waiting(batcher.handle()), owner: Arc::new(Owner(batcher)) })
    }
}

/// A batcher of any items.
trait Wakes: Send + Sync {
    fn wake(&self);
}

impl<T: Send> Wakes for Batcher<T> {
    fn wake(&self) {
        self.handle().wake();
    }
}

impl<T> AsyncBatcher<T> {
    /// The batcher, for all that is no poll. Its calls may block, as they say.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().build_async(|_: Batch<'_, u8>| ())?;
    /// batcher.get_ref().start_send(1)?;
    /// assert_eq!(batcher.get_ref().buffered(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_ref(&self) -> &Batcher<T> {
        &self.owner.0
    }
}

impl<T: Send + 'static> AsyncBatcher<T> {
    /// What a sink that was not ready tells this batcher by that it is so again.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().build_async(|_: Batch<'_, u8>| ())?;
    /// let wake = batcher.wake_handle();
    /// std::thread::spawn(move || wake.wake());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wake_handle(&self) -> Wake {
        let batcher: Weak<Batcher<T>> = Arc::downgrade(&self.owner.0);
        Wake(batcher)
    }

    /// Sees to it that the kept item is first. Each turn but one is one in which another producer took the room.
    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.kept.is_some() {
            let result = ready!(poll(&mut self.waiting, cx, bw_sys::bw_batch_poll_ready));
            if result.as_ref().is_err_and(|error| error.raw_os_error() != Some(libc::ESHUTDOWN)) {
                return Poll::Ready(result);
            }
            // If another clone has closed it, this is told, and the item goes.
            let item = self.kept.take().expect("it was there");
            self.start(item)?;
        }
        Poll::Ready(Ok(()))
    }

    fn start(&mut self, item: T) -> io::Result<()> {
        match self.owner.0.start_send(item) {
            Err(refused) if is_pending(&refused.error) => self.kept = Some(refused.item),
            answer => answer?,
        }
        Ok(())
    }
}

impl<T> Clone for AsyncBatcher<T> {
    fn clone(&self) -> AsyncBatcher<T> {
        AsyncBatcher { kept: None, waiting: waiting(self.owner.0.handle()), owner: self.owner.clone() }
    }
}

impl<T> Drop for AsyncBatcher<T> {
    fn drop(&mut self) {
        if let Some(item) = self.kept.take() {
            drop(self.owner.0.handle().offer(item));
        }
    }
}

/// The item is moved, never pinned.
impl<T> Unpin for AsyncBatcher<T> {}

impl<T: Send + 'static> FuturesSink<T> for AsyncBatcher<T> {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_kept(cx))?;
        poll(&mut self.waiting, cx, bw_sys::bw_batch_poll_ready)
    }

    fn start_send(mut self: Pin<&mut Self>, item: T) -> io::Result<()> {
        if self.kept.is_some() {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN)); // poll_ready has not said that there is room
        }
        self.start(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_kept(cx))?;
        poll(&mut self.waiting, cx, bw_sys::bw_batch_poll_flush)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_kept(cx))?;
        poll(&mut self.waiting, cx, bw_sys::bw_batch_poll_close)
    }
}

impl<T> fmt::Debug for AsyncBatcher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (buffered, is_keeping) = (self.get_ref().buffered(), self.kept.is_some());
        f.debug_struct("AsyncBatcher").field("buffered", &buffered).field("is_keeping", &is_keeping).finish()
    }
}

/// Tells an [`AsyncBatcher`] that its sink is ready again; from any thread, also in the sink. It does not keep the
/// batcher, and does nothing once that is gone.
///
/// # Example
///
/// ```
/// use bw::batch::{Batch, Builder, Wake};
/// use futures::{FutureExt, SinkExt};
/// use std::io::{Error, ErrorKind};
///
/// # futures::executor::block_on(async {
/// let mut times = 0;
/// let mut batcher = Builder::new().build_async(move |_: Batch<'_, u8>| {
///     times += 1;
///     if times == 1 { Err(Error::from(ErrorKind::WouldBlock)) } else { Ok(()) }
/// })?;
/// let wake: Wake = batcher.wake_handle();
/// batcher.feed(1).await?;
/// assert!(batcher.flush().now_or_never().is_none());
/// wake.wake();
/// batcher.flush().await?;
/// # Ok::<(), std::io::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Wake(Weak<dyn Wakes>);

impl Wake {
    /// The sink is ready again, or a held batch may be tried again.
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Batch, Builder};
    ///
    /// let batcher = Builder::new().build_async(|_: Batch<'_, u8>| ())?;
    /// let wake = batcher.wake_handle();
    /// drop(batcher);
    /// wake.wake(); // there is nobody to be woken
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wake(&self) {
        if let Some(batcher) = self.0.upgrade() {
            batcher.wake();
        }
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wake").finish_non_exhaustive()
    }
}

type PollCall = unsafe extern "C" fn(*mut bw_batch_t, *const bw_waker_t) -> c_int;

impl Polled for bw_batch_t {
    unsafe fn unwake(this: *mut bw_batch_t, wake: *const bw_waker_t) -> c_int {
        // SAFETY: the caller's promise.
        unsafe { bw_sys::bw_batch_unwake(this, wake) }
    }
}

pub(super) fn waiting<T, S, L>(handle: &Handle<T, S, L>) -> Waiting<bw_batch_t> {
    Waiting::new(handle.raw(), handle.parked().clone())
}

fn poll(waiting: &mut Waiting<bw_batch_t>, cx: &Context<'_>, call: PollCall) -> Poll<io::Result<()>> {
    // SAFETY: the batcher is there as long as it is waited for.
    waiting.poll(cx, |raw, wake| unsafe { call(raw, wake) }.into()).map_ok(|_| ())
}

fn is_pending(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAGAIN)
}

/// A type whose one producer is its owner: `poll_ready` is right about the room.
macro_rules! futures_sink {
    (impl<$($parameter:ident),*> for $type:ty where $($bound:tt)*) => {
        impl<$($parameter),*> FuturesSink<T> for $type where $($bound)* {
            type Error = io::Error;

            fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                poll(&mut self.waiting, cx, bw_sys::bw_batch_poll_ready)
            }

            fn start_send(self: Pin<&mut Self>, item: T) -> io::Result<()> {
                Ok(self.handle.start_send(item)?)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                poll(&mut self.waiting, cx, bw_sys::bw_batch_poll_flush)
            }

            fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                poll(&mut self.waiting, cx, bw_sys::bw_batch_poll_close)
            }
        }
    };
}

futures_sink! { impl<T> for BatchSink<T> where T: Send }
futures_sink! { impl<T, F, A> for CallbackSink<T, F> where F: FnMut(&Batch<'_, T>) -> A, A: Into<Answer> }
