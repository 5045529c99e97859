//! What remains when a writer cannot be taken apart as one would like.

use std::fmt;
use std::io;

/// The error of [`Writer::into_inner`](crate::Writer::into_inner), which has the writer too:
/// [`std::io::IntoInnerError`], which only std can make.
///
/// # Example
///
/// ```
/// use std::io::{self, Write};
///
/// let mut two = [0; 2]; // no room for more
/// let mut writer = bw::Writer::new(two.as_mut_slice());
/// writer.write_all(b"text")?;
/// let error = writer.into_inner().unwrap_err();
/// assert_eq!(error.error().kind(), io::ErrorKind::WriteZero);
/// assert_eq!(error.into_inner().buffer(), b"xt");
/// # io::Result::Ok(())
/// ```
pub struct IntoInnerError<W> {
    writer: W,
    error: io::Error,
}

impl<W> IntoInnerError<W> {
    pub(crate) fn new(writer: W, error: io::Error) -> Self {
        IntoInnerError { writer, error }
    }

    /// Why it failed.
    ///
    /// # Example
    ///
    /// ```
    /// # use std::io::Write;
    /// # let mut two = [0; 2];
    /// # let mut writer = bw::Writer::new(two.as_mut_slice());
    /// # writer.write_all(b"text")?;
    /// if let Err(error) = writer.into_inner() {
    ///     println!("not all was written: {}", error.error());
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// The writer, which still has its bytes.
    ///
    /// # Example
    ///
    /// ```
    /// # use std::io::Write;
    /// # let mut two = [0; 2];
    /// # let mut writer = bw::Writer::new(two.as_mut_slice());
    /// # writer.write_all(b"text")?;
    /// if let Err(error) = writer.into_inner() {
    ///     let (_sink, unwritten) = error.into_inner().into_parts();
    ///     assert_eq!(unwritten.unwrap(), b"xt");
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_inner(self) -> W {
        self.writer
    }

    /// Why it failed. The writer is dropped.
    ///
    /// # Example
    ///
    /// ```
    /// # use std::io::Write;
    /// # let mut two = [0; 2];
    /// # let mut writer = bw::Writer::new(two.as_mut_slice());
    /// # writer.write_all(b"text")?;
    /// let error = writer.into_inner().unwrap_err().into_error();
    /// assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_error(self) -> io::Error {
        self.error
    }

    /// Both.
    ///
    /// # Example
    ///
    /// ```
    /// # use std::io::Write;
    /// # let mut two = [0; 2];
    /// # let mut writer = bw::Writer::new(two.as_mut_slice());
    /// # writer.write_all(b"text")?;
    /// let (error, writer) = writer.into_inner().unwrap_err().into_parts();
    /// assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
    /// assert_eq!(writer.buffer(), b"xt");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_parts(self) -> (io::Error, W) {
        (self.error, self.writer)
    }
}

impl<W> From<IntoInnerError<W>> for io::Error {
    fn from(failed: IntoInnerError<W>) -> io::Error {
        failed.error
    }
}

impl<W> fmt::Debug for IntoInnerError<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoInnerError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<W> fmt::Display for IntoInnerError<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<W> std::error::Error for IntoInnerError<W> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// The bytes that were left when a sink panicked or claimed too much: some of them may have been taken.
/// [`std::io::WriterPanicked`], which only std can make.
///
/// # Example
///
/// ```
/// use std::io::{self, Write};
/// use std::panic::{AssertUnwindSafe, catch_unwind};
///
/// struct Liar;
///
/// impl Write for Liar {
///     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
///         Ok(bytes.len() + 1)
///     }
///     fn flush(&mut self) -> io::Result<()> {
///         Ok(())
///     }
/// }
///
/// let mut writer = bw::Writer::new(Liar);
/// writer.write_all(b"text")?;
/// assert!(writer.flush().is_err());
/// let (_, unwritten) = writer.into_parts();
/// assert_eq!(unwritten.unwrap_err().into_inner(), b"text");
/// # io::Result::Ok(())
/// ```
pub struct WriterPanicked(Vec<u8>);

impl WriterPanicked {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        WriterPanicked(bytes)
    }

    /// The bytes.
    ///
    /// # Example
    ///
    /// See [`WriterPanicked`].
    pub fn into_inner(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for WriterPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterPanicked").field("length", &self.0.len()).finish()
    }
}

impl fmt::Display for WriterPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sink has panicked or claimed too much: what became of these bytes is not known")
    }
}

impl std::error::Error for WriterPanicked {}
