//! A writer is `Send`, `Sync`, `Unpin` and unwind-safe where std's is.

use std::cell::Cell;
use std::io::{self, BufWriter, Write};
use std::marker::{PhantomData, PhantomPinned};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::MutexGuard;

use bw::Writer;

/// A sink that has the traits of `T`.
struct Like<T>(PhantomData<T>);

impl<T> Write for Like<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! same_traits {
    ($($sink:ty),*) => { $(
        same_trait!($sink: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
    )* };
}

macro_rules! same_trait {
    ($sink:ty: $($trait:ident),*) => { $(
        const _: () = assert!(has!(Writer<$sink>: $trait) == has!(BufWriter<$sink>: $trait));
    )* };
}

same_traits!(
    Vec<u8>,
    std::fs::File,
    Like<Rc<u8>>,
    Like<Cell<u8>>,
    Like<MutexGuard<'static, u8>>,
    Like<PhantomPinned>,
    Like<&'static mut u8>
);

// That the comparison can fail.
const _: () = assert!(has!(Like<Vec<u8>>: Send) && !has!(Like<Rc<u8>>: Send));
const _: () = assert!(has!(Like<Vec<u8>>: Sync) && !has!(Like<Cell<u8>>: Sync));
const _: () = assert!(has!(Like<Vec<u8>>: Unpin) && !has!(Like<PhantomPinned>: Unpin));
const _: () = assert!(has!(Like<Vec<u8>>: UnwindSafe) && !has!(Like<&'static mut u8>: UnwindSafe));
const _: () = assert!(has!(Like<Vec<u8>>: RefUnwindSafe) && !has!(Like<Cell<u8>>: RefUnwindSafe));

#[test]
fn debug_shows_the_sink_and_how_full_the_buffer_is() {
    let mut writer = Writer::with_capacity(16, vec![7u8]);
    writer.write_all(b"abc").unwrap();
    assert_eq!(format!("{writer:?}"), "Writer { sink: [7], buffer: 3/16 }");
}
