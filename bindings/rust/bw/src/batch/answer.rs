use std::ffi::c_int;
use std::fmt;
use std::io;

use crate::error::{from_code, to_code};

/// What a sink says of a batch, or of one of its items.
///
/// `()`, `Ok(())` and an [`io::Error`] become an answer by `into()`, so most sinks never name this type. Some errors
/// have a meaning: [`WouldBlock`](io::ErrorKind::WouldBlock) says that the sink is not ready, which is no failure;
/// [`Interrupted`](io::ErrorKind::Interrupted), that the batch is to be offered again at once.
///
/// # Example
///
/// ```
/// use bw::batch::Answer;
/// use std::io::{Error, ErrorKind};
///
/// assert_eq!(Answer::from(Ok(())), Answer::DELIVERED);
/// let error = || Error::from(ErrorKind::InvalidInput);
/// assert_ne!(Answer::from(error()), Answer::refused(&error()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Answer(c_int);

impl Answer {
    /// The sink has it.
    pub const DELIVERED: Answer = Answer(0);

    /// The sink refuses it for good: it is not tried again, and never held (`BW_FINAL`).
    ///
    /// # Example
    ///
    /// ```
    /// use bw::batch::{Answer, Batch, Builder, WhenFailed};
    /// use std::io::{Error, ErrorKind};
    ///
    /// let batcher = Builder::new().retries(5).build(|_: Batch<'_, u8>| Answer::refused(&ErrorKind::NotFound.into()))?;
    /// batcher.send(1)?;
    /// assert_eq!(batcher.flush().unwrap_err().kind(), ErrorKind::NotFound);
    /// assert_eq!(batcher.stats()?.failed_items, 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn refused(error: &io::Error) -> Answer {
        Answer(to_code(error) - bw_sys::BW_FINAL)
    }

    pub(super) fn code(self) -> c_int {
        self.0
    }
}

/// What an unanswered batch gets, and one whose sink panicked.
impl Answer {
    pub(super) const CANCELED: Answer = Answer(-libc::ECANCELED);
    pub(super) const PANICKED: Answer = Answer(bw_sys::BW_ESINK);
}

impl From<()> for Answer {
    fn from((): ()) -> Answer {
        Answer::DELIVERED
    }
}

impl From<io::Error> for Answer {
    fn from(error: io::Error) -> Answer {
        Answer(to_code(&error))
    }
}

impl From<io::Result<()>> for Answer {
    fn from(result: io::Result<()>) -> Answer {
        result.map_or_else(Answer::from, Answer::from)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// No code of its own is as low as a refused one.
        const LOWEST: c_int = -bw_sys::BW_FINAL / 2;
        match self.0 {
            0 => f.write_str("Delivered"),
            code if code < LOWEST => f.debug_tuple("Refused").field(&from_code(code + bw_sys::BW_FINAL)).finish(),
            code => f.debug_tuple("Failed").field(&from_code(code)).finish(),
        }
    }
}
