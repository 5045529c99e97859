//! What a file tells of while it works.

use std::ffi::c_void;
use std::io;
use std::slice;
use std::sync::Arc;

use bw_sys::bw_event_t;

use crate::error::from_code;
use crate::handle::in_callback;
use crate::panic::Parked;

/// What the closure of [`Options::on_event`](crate::Options::on_event) is told.
///
/// # Example
///
/// ```
/// use std::sync::mpsc;
///
/// let (told, durable) = mpsc::channel();
/// let file = bw::File::options()
///     .create(true)
///     .on_event(move |event| {
///         if let bw::Event::Durable { position } = event {
///             let _ = told.send(position);
///         }
///     })
///     .open(tempfile::tempdir()?.path().join("log"))?;
/// file.append(b"text")?;
/// file.sync()?;
/// assert_eq!(durable.recv()?, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Buffers in use have risen to the high mark. Once for each time they do.
    PressureOn,
    /// After that, they have fallen to the low mark. Once for each time they do.
    PressureOff,
    /// A write or a sync failed.
    Error(io::Error),
    /// These bytes have reached the file.
    Written {
        /// The position of the first one.
        position: u64,
        /// How many.
        length: u64,
    },
    /// Everything below this position is durable.
    Durable {
        /// The position.
        position: u64,
    },
    /// The file is being freed and these bytes could not be written: the last chance to keep them.
    Lost {
        /// The position of the first one.
        position: u64,
        /// All of them.
        bytes: &'a [u8],
        /// Why.
        error: io::Error,
    },
}

impl<'a> Event<'a> {
    /// `None`: this version does not know the kind.
    ///
    /// # Safety
    ///
    /// The library made the event, and its bytes stay for `'a`.
    unsafe fn from_c(event: &bw_event_t) -> Option<Event<'a>> {
        let position = event.position as u64;
        Some(match event.kind {
            bw_sys::BW_EVENT_PRESSURE_ON => Event::PressureOn,
            bw_sys::BW_EVENT_PRESSURE_OFF => Event::PressureOff,
            bw_sys::BW_EVENT_ERROR => Event::Error(from_code(event.code)),
            bw_sys::BW_EVENT_WRITTEN => Event::Written { position, length: event.length },
            bw_sys::BW_EVENT_DURABLE => Event::Durable { position },
            bw_sys::BW_EVENT_LOST => {
                // SAFETY: so many bytes lie there, as the caller says.
                let bytes = unsafe { slice::from_raw_parts(event.data.cast(), event.length as usize) };
                Event::Lost { position, bytes, error: from_code(event.code) }
            }
            _ => return None,
        })
    }
}

/// The closure that listens.
pub(crate) type OnEvent = dyn FnMut(Event<'_>) + Send;

/// It, and where its panics go: `event_arg`.
pub(crate) struct Listener {
    pub(crate) closure: Box<OnEvent>,
    pub(crate) parked: Arc<Parked>,
}

/// # Safety
///
/// `arg` is a `Listener`, and the library calls: one event of a writer at a time.
pub(crate) unsafe extern "C" fn on_event(arg: *mut c_void, event: *const bw_event_t) {
    // SAFETY: as the caller says; it lives until the writer is freed.
    let Listener { closure, parked } = unsafe { &mut *arg.cast::<Listener>() };
    // SAFETY: event and bytes stay for this call.
    if let Some(event) = unsafe { Event::from_c(&*event) } {
        in_callback(parked, (), || closure(event));
    }
}
