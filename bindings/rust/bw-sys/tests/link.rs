//! The declared functions are those of the library that is linked.

use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};

unsafe extern "C" fn take(ctx: *mut c_void, data: *const c_void, length: usize) -> i64 {
    // SAFETY: ctx is the vector that the test gave, and the library shows length bytes.
    unsafe { (*ctx.cast::<Vec<u8>>()).extend_from_slice(std::slice::from_raw_parts(data.cast(), length)) };
    length as i64
}

#[test]
fn bytes_reach_a_sink() {
    let mut taken = Vec::<u8>::new();
    let sink = bw_sys::bw_sink_t { write: Some(take), ..bw_sys::BW_SINK_INIT };
    let mut bw = null_mut();
    // SAFETY: the sink and the vector outlive the writer, which one thread uses.
    unsafe {
        assert_eq!(bw_sys::bw_new(&mut bw, &sink, (&raw mut taken).cast(), null()), 0);
        assert_eq!(bw_sys::bw_write(bw, b"hello".as_ptr().cast(), 5), 5);
        assert_eq!(bw_sys::bw_position(bw, bw_sys::BW_WRITTEN), 0);
        assert_eq!(bw_sys::bw_close(bw), 0);
        assert_eq!(bw_sys::bw_position(bw, bw_sys::BW_WRITTEN), 5);
        bw_sys::bw_free(bw);
    }
    assert_eq!(taken, b"hello");
}

#[test]
fn the_library_is_as_new_as_the_declarations() {
    // SAFETY: both may be called at any time.
    let (number, text) = unsafe { (bw_sys::bw_version(), CStr::from_ptr(bw_sys::bw_version_string())) };
    assert!(number >= bw_sys::BW_VERSION);
    assert!(text.to_str().unwrap().starts_with(&format!("{}.", bw_sys::BW_VERSION_MAJOR)));
}
