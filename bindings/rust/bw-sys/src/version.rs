//! version.h: the version of the headers.

use core::ffi::{CStr, c_uint};

/// Raised by what the ABI promise forbids.
pub const BW_VERSION_MAJOR: c_uint = 0;
/// Raised by additions.
pub const BW_VERSION_MINOR: c_uint = 1;
/// Raised by repairs.
pub const BW_VERSION_PATCH: c_uint = 0;
/// The three numbers as `bw_version` gives them.
pub const BW_VERSION: c_uint = (BW_VERSION_MAJOR << 16) | (BW_VERSION_MINOR << 8) | BW_VERSION_PATCH;
/// The three numbers as `bw_version_string` gives them.
pub const BW_VERSION_STRING: &CStr = c"0.1.0";
