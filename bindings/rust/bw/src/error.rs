//! Codes of the library and `io::Error`: each is made of the other.

use std::ffi::{CStr, c_int};
use std::fmt;
use std::io::{self, ErrorKind};

/// A code of the library's own, where no errno fits.
///
/// It comes inside an [`io::Error`], and a sink may answer it in the same way.
///
/// # Example
///
/// ```
/// use std::io::{Error, ErrorKind};
///
/// let error = Error::from(bw::Error::WRITE_ZERO);
/// assert_eq!(error.kind(), ErrorKind::WriteZero);
/// assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&bw::Error::WRITE_ZERO));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Error(c_int);

impl Error {
    /// `BW_EWRITEZERO`: the sink took none of the bytes offered. Nothing is lost; they are offered again.
    pub const WRITE_ZERO: Error = Error(bw_sys::BW_EWRITEZERO);
    /// `BW_ESINK`: a callback of the sink panicked, or claims more than it was offered. What it did is unknown.
    pub const SINK: Error = Error(bw_sys::BW_ESINK);

    /// The code as the C library has it, below 0.
    ///
    /// # Example
    ///
    /// ```
    /// assert_eq!(bw::Error::SINK.code(), -10001);
    /// ```
    pub fn code(self) -> i32 {
        self.0
    }

    fn kind(self) -> ErrorKind {
        if self == Error::WRITE_ZERO { ErrorKind::WriteZero } else { ErrorKind::Other }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: any code is allowed, and the answer is static text.
        f.write_str(&unsafe { CStr::from_ptr(bw_sys::bw_strerror(self.0)) }.to_string_lossy())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: as for Display.
        let name = unsafe { CStr::from_ptr(bw_sys::bw_err_name(self.0)) }.to_string_lossy();
        write!(f, "Error({} {name})", self.0)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

/// The library's own codes are below this, all errnos above it.
const FIRST_OWN_CODE: c_int = -10000;

/// What a negative code means to callers in Rust.
pub(crate) fn from_code(code: c_int) -> io::Error {
    debug_assert!(code < 0);
    if code <= FIRST_OWN_CODE { Error(code).into() } else { io::Error::from_raw_os_error(-code) }
}

/// What a call answers that gives 0 or a count, or else a code.
pub(crate) fn check(answer: impl Into<i64>) -> io::Result<u64> {
    let answer = answer.into();
    u64::try_from(answer).map_err(|_| from_code(answer as c_int))
}

/// What a callback in C answers for an error of Rust: its errno, our own code, or an errno of the same kind.
pub(crate) fn to_code(error: &io::Error) -> c_int {
    if let Some(Error(code)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return *code;
    }
    match error.raw_os_error() {
        Some(errno) if errno > 0 && -errno > FIRST_OWN_CODE => -errno,
        _ => code_of_kind(error.kind()),
    }
}

/// Kinds that the library treats in a way of their own, and those that have one plain errno; all else is -EIO.
fn code_of_kind(kind: ErrorKind) -> c_int {
    match kind {
        ErrorKind::WouldBlock => -libc::EAGAIN,
        ErrorKind::Interrupted => -libc::EINTR,
        ErrorKind::WriteZero => bw_sys::BW_EWRITEZERO,
        ErrorKind::NotFound => -libc::ENOENT,
        ErrorKind::PermissionDenied => -libc::EACCES,
        ErrorKind::AlreadyExists => -libc::EEXIST,
        ErrorKind::BrokenPipe => -libc::EPIPE,
        ErrorKind::ConnectionRefused => -libc::ECONNREFUSED,
        ErrorKind::ConnectionReset => -libc::ECONNRESET,
        ErrorKind::ConnectionAborted => -libc::ECONNABORTED,
        ErrorKind::NotConnected => -libc::ENOTCONN,
        ErrorKind::TimedOut => -libc::ETIMEDOUT,
        ErrorKind::InvalidInput => -libc::EINVAL,
        ErrorKind::InvalidData => -libc::EILSEQ,
        ErrorKind::NotSeekable => -libc::ESPIPE,
        ErrorKind::StorageFull => -libc::ENOSPC,
        ErrorKind::QuotaExceeded => -libc::EDQUOT,
        ErrorKind::FileTooLarge => -libc::EFBIG,
        ErrorKind::ResourceBusy => -libc::EBUSY,
        ErrorKind::Unsupported => -libc::EOPNOTSUPP,
        ErrorKind::OutOfMemory => -libc::ENOMEM,
        _ => -libc::EIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_stays_what_it_is() {
        for errno in [libc::EAGAIN, libc::EIO, libc::ENOSPC, libc::ESHUTDOWN, libc::ECANCELED] {
            let error = from_code(-errno);
            assert_eq!(error.raw_os_error(), Some(errno));
            assert_eq!(to_code(&error), -errno);
        }
    }

    #[test]
    fn own_codes_come_back_as_they_were() {
        for code in [bw_sys::BW_EWRITEZERO, bw_sys::BW_ESINK, -10099] {
            let error = from_code(code);
            assert_eq!(error.raw_os_error(), None);
            assert_eq!(to_code(&error), code);
        }
        assert_eq!(from_code(bw_sys::BW_ESINK).to_string(), "the sink threw, or claims more than it was offered");
        assert_eq!(format!("{:?}", Error::SINK), "Error(-10001 BW_ESINK)");
    }

    #[test]
    fn a_kind_survives_the_way_through_c() {
        for kind in [
            ErrorKind::WouldBlock,
            ErrorKind::Interrupted,
            ErrorKind::WriteZero,
            ErrorKind::NotFound,
            ErrorKind::PermissionDenied,
            ErrorKind::AlreadyExists,
            ErrorKind::BrokenPipe,
            ErrorKind::ConnectionRefused,
            ErrorKind::ConnectionReset,
            ErrorKind::ConnectionAborted,
            ErrorKind::NotConnected,
            ErrorKind::TimedOut,
            ErrorKind::InvalidInput,
            ErrorKind::NotSeekable,
            ErrorKind::StorageFull,
            ErrorKind::QuotaExceeded,
            ErrorKind::FileTooLarge,
            ErrorKind::ResourceBusy,
            ErrorKind::OutOfMemory,
        ] {
            assert_eq!(from_code(to_code(&io::Error::from(kind))).kind(), kind);
        }
        // Not every std makes the kind of this errno.
        assert_eq!(to_code(&io::Error::from(ErrorKind::Unsupported)), -libc::EOPNOTSUPP);
    }

    #[test]
    fn an_error_without_an_errno_is_an_input_output_error() {
        assert_eq!(to_code(&io::Error::other("odd")), -libc::EIO);
        assert_eq!(to_code(&io::Error::from_raw_os_error(0)), -libc::EIO);
        assert_eq!(to_code(&io::Error::from_raw_os_error(i32::MIN)), -libc::EIO);
    }

    #[test]
    fn an_answer_is_a_count_or_an_error() {
        assert_eq!(check(7i64).unwrap(), 7);
        assert_eq!(check(0i32).unwrap(), 0);
        assert_eq!(check(-libc::EPIPE).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
