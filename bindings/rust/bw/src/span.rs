//! Ranges of a file that are filled in place.

use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::slice;

use bw_sys::bw_span_t;

use crate::error::check;
use crate::file::File;

/// A range of the stream, to be filled in place: [`File::reserve`].
///
/// It begins with whatever the buffer last held. Dropped without [`commit`](Span::commit), it is filled with zeros and
/// committed. A flush of the file waits for it: commit it before the thread makes a call that waits.
///
/// # Example
///
/// ```
/// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
/// let file = bw::File::open(&path)?;
/// let mut span = file.reserve(4)?;
/// span.copy_from_slice(b"text");
/// assert_eq!(span.commit()?, 0);
/// file.close()?;
/// assert_eq!(std::fs::read(&path)?, b"text");
/// # std::io::Result::Ok(())
/// ```
pub struct Span<'a> {
    file: &'a File,
    span: bw_span_t,
}

// SAFETY: any thread may fill and commit it.
unsafe impl Send for Span<'_> {}
// SAFETY: through `&self` its bytes are only read.
unsafe impl Sync for Span<'_> {}

impl<'a> Span<'a> {
    /// # Safety
    ///
    /// The span is open, the file gave it, and nobody else has it.
    pub(crate) unsafe fn new(file: &'a File, span: bw_span_t) -> Self {
        Span { file, span }
    }

    /// The position of its first byte.
    ///
    /// # Example
    ///
    /// ```
    /// # let path = tempfile::NamedTempFile::new()?.into_temp_path();
    /// let file = bw::File::open(&path)?;
    /// file.append(b"text")?;
    /// assert_eq!(file.reserve(10)?.position(), 4);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn position(&self) -> u64 {
        self.span.position as u64
    }

    /// Its bytes are accepted, as they are; the answer is its position.
    ///
    /// # Errors
    ///
    /// `EDEADLK` inside the sink's callbacks, `ECHILD` in the child of a fork: the span stays open for ever.
    ///
    /// # Example
    ///
    /// See [`Span`].
    pub fn commit(self) -> io::Result<u64> {
        let mut span = ManuallyDrop::new(self);
        let position = span.position();
        span.end()?;
        Ok(position)
    }

    fn end(&mut self) -> io::Result<u64> {
        let length = self.span.length;
        // SAFETY: the span is open, and the writer gave it.
        check(unsafe { bw_sys::bw_commit(self.file.raw(), &mut self.span, length) })
    }
}

impl Drop for Span<'_> {
    fn drop(&mut self) {
        self.fill(0);
        let _ = self.end();
    }
}

impl Deref for Span<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes lie there, set at some time, and ours until the span is committed.
        unsafe { slice::from_raw_parts(self.span.data.cast(), self.span.length) }
    }
}

impl DerefMut for Span<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for deref().
        unsafe { slice::from_raw_parts_mut(self.span.data.cast(), self.span.length) }
    }
}

impl fmt::Debug for Span<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Span").field("position", &self.span.position).field("length", &self.span.length).finish()
    }
}
