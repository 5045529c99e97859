//! Memory that is aligned as O_DIRECT wants it.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

/// Bytes that begin at a multiple of 4096, as O_DIRECT wants them. They begin as zeros.
///
/// # Example
///
/// ```
/// let mut buffer = bw::Buffer::new_aligned(8192);
/// buffer[..5].copy_from_slice(b"bytes");
/// assert_eq!(buffer.as_ptr() as usize % 4096, 0);
/// assert_eq!(buffer[..6], *b"bytes\0");
/// ```
pub struct Buffer {
    data: NonNull<u8>,
    length: usize,
}

// SAFETY: it owns its bytes, as a boxed slice does.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Makes a buffer of `size` bytes.
    ///
    /// # Panics
    ///
    /// If `size` is not a multiple of 4096, or 0, or there is no memory for it.
    ///
    /// # Example
    ///
    /// ```
    /// assert_eq!(bw::Buffer::new_aligned(4096).len(), 4096);
    /// ```
    pub fn new_aligned(size: usize) -> Buffer {
        match Buffer::try_new_aligned(size) {
            Ok(buffer) => buffer,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                panic!("the size of an aligned buffer is a multiple of 4096 and not 0; {size} is not")
            }
            Err(error) => panic!("an aligned buffer of {size} bytes: {error}"),
        }
    }

    /// Makes a buffer of `size` bytes, if it can.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `size` is not a multiple of 4096, or 0; `ENOMEM` if there is no memory.
    ///
    /// # Example
    ///
    /// ```
    /// assert_eq!(bw::Buffer::try_new_aligned(4096)?.len(), 4096);
    /// let error = bw::Buffer::try_new_aligned(4095).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_new_aligned(size: usize) -> io::Result<Buffer> {
        // SAFETY: any size is allowed.
        let data = unsafe { bw_sys::bw_alloc_aligned(size) };
        match NonNull::new(data.cast()) {
            Some(data) => Ok(Buffer { data, length: size }),
            None => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: bw_alloc_aligned() gave it, and nobody else has it.
        unsafe { bw_sys::bw_free_aligned(self.data.as_ptr().cast()) }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes lie there, set from the beginning, and ours.
        unsafe { slice::from_raw_parts(self.data.as_ptr(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for deref().
        unsafe { slice::from_raw_parts_mut(self.data.as_ptr(), self.length) }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("address", &self.data).field("length", &self.length).finish()
    }
}
