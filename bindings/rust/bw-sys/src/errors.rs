//! errors.h: the library's own codes.

use core::ffi::c_int;

/// The sink took none of the bytes offered.
pub const BW_EWRITEZERO: c_int = -10000;
/// The sink threw, or claims more than it was offered.
pub const BW_ESINK: c_int = -10001;
