//! Futures of positions.

use std::ffi::{c_int, c_void};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::error::check;
use crate::file::{File, Level};
use crate::handle::in_callback;
use crate::panic::Parked;
use crate::wake::{Waiting, lock};

/// What a note of the library points to. It has a share of it until it has answered.
struct Note {
    state: Mutex<State>,
    parked: Arc<Parked>,
}

enum State {
    /// With the task, unless that has gone.
    Waiting(Option<Waker>),
    Answered(c_int),
}

/// Waits until a position is written or durable: [`File::written`], [`File::durable`]. It needs no runtime.
///
/// Dropping it takes the waker back. What it has asked for, the flush or the sync, is done all the same.
///
/// # Example
///
/// ```
/// # let file = bw::File::create(tempfile::tempdir()?.path().join("log"))?;
/// let at = file.append(b"text")?;
/// futures::executor::block_on(file.durable(at + 4))?;
/// # std::io::Result::Ok(())
/// ```
#[must_use = "a future does nothing unless it is awaited"]
pub struct Reached {
    /// For the flush that `Level::Written` needs, until it is done: a note only watches. Before the file, which it waits
    /// for.
    flush: Option<Waiting>,
    file: File,
    position: i64,
    level: Level,
    note: Option<Arc<Note>>,
}

impl Reached {
    pub(crate) fn new(file: File, position: u64, level: Level) -> Self {
        // No stream comes that far; a wait for it is one for the end of all things either way.
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let flush = (level == Level::Written).then(|| Waiting::new(file.raw(), file.parked().clone()));
        Reached { flush, file, position, level, note: None }
    }

    /// Asks the library to tell us.
    fn begin(&mut self, task: &Waker) -> Poll<io::Result<()>> {
        let bw = self.file.bw();
        let state = Mutex::new(State::Waiting(Some(task.clone())));
        let note = Arc::new(Note { state, parked: self.file.parked().clone() });
        let share = Arc::into_raw(note.clone());
        // SAFETY: the library's share lives until done() takes it, which is called once if the answer is 0, else never.
        let code = unsafe {
            let code = bw_sys::bw_notify(bw, self.position, self.level as c_int, Some(done), share.cast_mut().cast());
            if code < 0 {
                drop(Arc::from_raw(share));
            }
            code
        };
        check(code)?;
        self.note = Some(note);
        Poll::Pending
    }

    /// Goes on with the flush, if it needs one: a sink may not have been ready, a span may have been open.
    fn poll_flush(&mut self, context: &Context<'_>) -> io::Result<()> {
        let Some(flush) = &mut self.flush else { return Ok(()) };
        // SAFETY: the writer is there.
        match flush.poll(context, |bw, wake| unsafe { bw_sys::bw_poll_flush(bw, wake) }.into()) {
            Poll::Pending => Ok(()),
            Poll::Ready(answer) => {
                self.flush = None;
                answer.map(drop)
            }
        }
    }

    fn is_there(&self) -> io::Result<bool> {
        // SAFETY: the writer is there.
        let reached = check(unsafe { bw_sys::bw_position(self.file.bw(), self.level as c_int) })?;
        Ok(reached as i64 >= self.position)
    }
}

impl Future for Reached {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(note) = &self.note {
            let task = context.waker().clone();
            let earlier = match &mut *lock(&note.state) {
                State::Answered(code) => return Poll::Ready(check(*code).map(drop)),
                State::Waiting(earlier) => earlier.replace(task),
            };
            drop(earlier); // what that runs finds no lock held
        }
        if self.is_there()? {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(context)?;
        if self.note.is_some() { Poll::Pending } else { self.begin(context.waker()) }
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        let task = self.note.as_ref().and_then(|note| match &mut *lock(&note.state) {
            State::Waiting(task) => task.take(),
            State::Answered(_) => None,
        });
        drop(task); // as in poll()
    }
}

impl fmt::Debug for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reached").field("position", &self.position).field("level", &self.level).finish_non_exhaustive()
    }
}

/// # Safety
///
/// `arg` is a share of a note, which is given up with this call.
unsafe extern "C" fn done(arg: *mut c_void, code: c_int) {
    // SAFETY: as the caller says.
    let note = unsafe { Arc::from_raw(arg.cast::<Note>().cast_const()) };
    let before = std::mem::replace(&mut *lock(&note.state), State::Answered(code));
    if let State::Waiting(Some(task)) = before {
        in_callback(&note.parked, (), || task.wake());
    }
}
