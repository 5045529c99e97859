use std::ffi::c_int;
use std::fmt;
use std::io;

use crate::error::from_code;

/// A send that did not accept its item: why, and the item.
///
/// | errno | |
/// |---|---|
/// | `EAGAIN` | the batcher is full ([`WhenFull::Fail`](super::WhenFull::Fail), or inside a callback) |
/// | `ENOBUFS` | it is full, and drops the item ([`WhenFull::DropNewest`](super::WhenFull::DropNewest)) |
/// | `ESHUTDOWN` | a close has begun |
/// | other | what the batch that makes no room has failed with ([`WhenFull::Wait`](super::WhenFull::Wait)) |
///
/// # Example
///
/// ```
/// use bw::batch::{Batch, Builder};
///
/// let batcher = Builder::new().build(|_: Batch<'_, String>| ())?;
/// batcher.close()?;
/// let refused = batcher.send("late".to_string()).unwrap_err();
/// assert_eq!(refused.item, "late");
/// assert_eq!(std::io::Error::from(refused).raw_os_error(), Some(108)); // ESHUTDOWN
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SendError<T> {
    /// The item, as it was.
    pub item: T,
    /// Why it was not accepted.
    pub error: io::Error,
}

impl<T> SendError<T> {
    pub(super) fn new(item: T, answer: c_int) -> SendError<T> {
        let code = if answer == bw_sys::BW_BATCH_DROPPED { -libc::ENOBUFS } else { answer };
        SendError { item, error: from_code(code) }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for SendError<T> {}

impl<T> From<SendError<T>> for io::Error {
    fn from(refused: SendError<T>) -> io::Error {
        refused.error
    }
}
