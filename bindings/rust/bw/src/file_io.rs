//! std's traits for files: for a `File`, and for a reference to one.

use std::ffi::c_int;
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};

use crate::file::File;

impl Write for &File {
    /// All of the bytes, contiguous, unless the file fails or must not wait part-way.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: so many bytes lie there.
        self.settle(unsafe { bw_sys::bw_write(self.bw(), bytes.as_ptr().cast(), bytes.len()) })
            .map(|taken| taken as usize)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = parts.len().try_into().unwrap_or(c_int::MAX);
        // SAFETY: so many parts lie there, and an IoSlice is an iovec.
        self.settle(unsafe { bw_sys::bw_writev(self.bw(), parts.as_ptr().cast(), count) }).map(|taken| taken as usize)
    }

    fn flush(&mut self) -> io::Result<()> {
        File::flush(self)
    }
}

impl Read for &File {
    /// Flushes, reads where the next byte would be written, and moves on; with `O_APPEND`, at a position of its own.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        // SAFETY: so many bytes lie there.
        let taken = unsafe { bw_sys::bw_read(self.bw(), bytes.as_mut_ptr().cast(), bytes.len()) };
        self.settle(taken).map(|taken| taken as usize)
    }
}

impl Seek for &File {
    /// Flushes, then moves. Waiters for positions beyond the new one get `ECANCELED`.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (offset, whence) = match to {
            SeekFrom::Start(offset) => (i64::try_from(offset).unwrap_or(-1), libc::SEEK_SET),
            SeekFrom::Current(offset) => (offset, libc::SEEK_CUR),
            SeekFrom::End(offset) => (offset, libc::SEEK_END),
        };
        // SAFETY: the writer is there.
        self.settle(unsafe { bw_sys::bw_seek(self.bw(), offset, whence) })
    }

    /// Where the next byte goes. Nothing is flushed for it.
    fn stream_position(&mut self) -> io::Result<u64> {
        // SAFETY: the writer is there.
        self.settle(unsafe { bw_sys::bw_tell(self.bw()) })
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        File::flush(self)
    }
}

impl Read for File {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&*self).read(bytes)
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        (&*self).stream_position()
    }
}
