//! The traits that follow from what a type is made of: ours has each of them for the same `W` as tokio's.

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard};

macro_rules! same_traits {
    ($($w:ty),*) => { $(
        same_trait!($w: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
    )* };
}

macro_rules! same_trait {
    ($w:ty: $($trait:ident),*) => { $(
        const _: () = assert!(has!(bw::tokio::BufWriter<$w>: $trait) == has!(tokio::io::BufWriter<$w>: $trait));
    )* };
}

same_traits!(
    (),
    Vec<u8>,
    Box<dyn tokio::io::AsyncWrite>,
    tokio::io::DuplexStream,
    tokio::net::TcpStream,
    Rc<u8>,
    Cell<u8>,
    Mutex<u8>,
    MutexGuard<'static, u8>,
    *mut u8,
    &'static mut u8,
    &'static Cell<u8>,
    PhantomPinned,
    fn()
);

// That the comparison can fail, for each trait.
const _: () = assert!(has!(Vec<u8>: Send) && !has!(Rc<u8>: Send));
const _: () = assert!(has!(Vec<u8>: Sync) && !has!(Cell<u8>: Sync));
const _: () = assert!(has!(Vec<u8>: Unpin) && !has!(PhantomPinned: Unpin));
const _: () = assert!(has!(Vec<u8>: UnwindSafe) && !has!(&'static mut u8: UnwindSafe));
const _: () = assert!(has!(Vec<u8>: RefUnwindSafe) && !has!(Cell<u8>: RefUnwindSafe));

/// A longer life may be forgotten, as with tokio's.
#[allow(dead_code)] // that it compiles is the test
fn shorten<'a>(writer: bw::tokio::BufWriter<&'static u8>) -> bw::tokio::BufWriter<&'a u8> {
    writer
}

/// What an inner writer refers to may be gone before the writer is, as with tokio's.
#[allow(dead_code, clippy::needless_late_init)] // that it compiles is the test
fn outlive() {
    let _writer;
    let mut file = Vec::new();
    _writer = bw::tokio::BufWriter::new(&mut file);
}
