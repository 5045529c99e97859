//! Sinks that can be held up and made to fail, wakers that count, and files for one test.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex};
use std::task::Wake;
use std::time::Duration;

use bw::File;

/// No test takes so long: what is waited for does not come.
pub const NEVER: Duration = Duration::from_secs(60);

/// What comes through a channel, if it comes.
pub fn receive<T>(from: &Receiver<T>) -> Result<T, RecvTimeoutError> {
    from.recv_timeout(NEVER)
}

/// An empty file, with its path.
pub fn empty() -> (File, tempfile::TempPath) {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    (File::open(&path).unwrap(), path)
}

/// A file of two buffers of 4096 bytes whose sink is this one.
pub fn small(sink: &Gate) -> File {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let file = File::options().capacity(4096).buffers(2).open(&path).unwrap();
    file.set_sink(sink.clone()).unwrap();
    file
}

/// A sink that holds up its writes while it is shut, and fails as it is told.
#[derive(Clone, Default)]
pub struct Gate(Arc<Inside>);

#[derive(Default)]
struct Inside {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub struct State {
    pub is_shut: bool,
    pub errno: Option<i32>,
    pub sync_errno: Option<i32>,
    pub panics: bool,
    pub taken: Vec<u8>,
    pub syncs: u32,
    pub closes: u32,
}

impl Gate {
    pub fn shut() -> Gate {
        let gate = Gate::default();
        gate.set(|state| state.is_shut = true);
        gate
    }

    pub fn open(&self) {
        self.set(|state| state.is_shut = false);
    }

    pub fn set<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let answer = change(&mut self.0.state.lock().unwrap());
        self.0.changed.notify_all();
        answer
    }

    pub fn taken(&self) -> Vec<u8> {
        self.set(|state| state.taken.clone())
    }
}

impl bw::Sink for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let state = self.0.state.lock().unwrap();
        let mut state = self.0.changed.wait_while(state, |state| state.is_shut).unwrap();
        if std::mem::take(&mut state.panics) {
            drop(state);
            panic!("in the sink");
        }
        if let Some(errno) = state.errno {
            return Err(io::Error::from_raw_os_error(errno));
        }
        state.taken.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.set(|state| {
            state.syncs += 1;
            state.sync_errno.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
        })
    }

    fn close(&mut self) -> io::Result<()> {
        self.set(|state| state.closes += 1);
        Ok(())
    }
}

/// A task that counts how often it was woken.
#[derive(Default)]
pub struct Task {
    woken: AtomicUsize,
}

impl Task {
    pub fn woken(&self) -> usize {
        self.woken.load(Ordering::Acquire)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::Release);
    }
}
