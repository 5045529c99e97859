//! Declarations of libbw: buffered, concurrent, durable writing.
//!
//! The C headers are the manual: `bw/bw.h`, and `bw/batch.h` for batches of items. Here is every name of them, with the
//! same signature and layout, which a test verifies; enumerations are integer constants, and the `_INIT` macros are
//! constants too. The crate `bw` is the safe interface.
//!
//! The library is found by pkg-config and linked dynamically; the feature `static` links `libbw.a` and `liburing.a`
//! instead. The feature `vendored` builds the library from the sources that come with this crate. The C++ runtime is
//! linked dynamically in all cases. Build scripts of crates that depend on this one get the directory of the headers as
//! `DEP_BW_INCLUDE`.
//!
//! # Example
//!
//! ```
//! use std::ffi::CStr;
//!
//! // SAFETY: these may be called at any time; the text is static.
//! let (version, name) = unsafe { (bw_sys::bw_version(), CStr::from_ptr(bw_sys::bw_err_name(bw_sys::BW_ESINK))) };
//! assert_eq!(version >> 16, bw_sys::BW_VERSION_MAJOR);
//! assert_eq!(name, c"BW_ESINK");
//! ```

#![no_std]
#![allow(non_camel_case_types)]

mod batch;
mod errors;
mod version;
mod writer;

pub use batch::*;
pub use errors::*;
pub use libc::iovec;
pub use version::*;
pub use writer::*;
