//! Where the last handle of a file is dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::{self, ThreadId};

use bw::{Event, File, Reached};

use super::support::{Gate, empty, receive, small};

/// A listener's: tells on which thread it is dropped, which is where the file is freed.
struct Tells(mpsc::Sender<ThreadId>);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().id());
    }
}

/// What a callback is to drop, and whom it tells on which thread it does.
struct Dropped<T>(Mutex<Option<T>>, mpsc::Sender<ThreadId>);

impl<T> Dropped<T> {
    fn new(told: &mpsc::Sender<ThreadId>) -> Arc<Self> {
        Arc::new(Dropped(Mutex::new(None), told.clone()))
    }

    fn set(&self, what: T) {
        *self.0.lock().unwrap() = Some(what);
    }

    fn take(&self) {
        if let Some(what) = self.0.lock().unwrap().take() {
            self.1.send(thread::current().id()).unwrap();
            drop(what);
        }
    }
}

/// A task that ends when it is woken.
impl Wake for Dropped<(File, Reached)> {
    fn wake(self: Arc<Self>) {
        self.take();
    }
}

/// A listener that drops it once something is written.
fn drops<T: Send + 'static>(what: &Arc<Dropped<T>>, tells: Tells) -> impl FnMut(Event<'_>) + Send + 'static {
    let what = what.clone();
    move |event| {
        let _ = &tells;
        if let Event::Written { .. } = event {
            what.take();
        }
    }
}

/// Whether the file was freed, and not inside the callback that dropped it.
fn check(heard: &mpsc::Receiver<ThreadId>) {
    let (dropped, freed) = (receive(heard).unwrap(), receive(heard).unwrap());
    assert_ne!(dropped, freed);
}

#[test]
fn dropping_the_last_clone_writes_everything() {
    let (file, path) = empty();
    let other = file.clone();
    file.append(b"text").unwrap();
    drop(file);
    other.append(b"more").unwrap();
    drop(other);
    assert_eq!(std::fs::read(&path).unwrap(), b"textmore");
}

#[test]
fn the_last_clone_may_be_dropped_by_the_waker_that_the_file_calls() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let (told, heard) = mpsc::channel();
    let (task, tells) = (Dropped::new(&told), Tells(told));
    let listen = move |_: Event<'_>| {
        let _ = &tells;
    };
    let file = File::options().on_event(listen).open(&path).unwrap();
    let sink = Gate::shut();
    file.set_sink(sink.clone()).unwrap();
    let end = file.append(b"text").unwrap() + 4;
    let mut written = file.written(end);
    assert!(Pin::new(&mut written).poll(&mut Context::from_waker(&Waker::from(task.clone()))).is_pending());
    task.set((file, written));
    sink.open();
    check(&heard);
    assert_eq!(sink.taken(), b"text");
}

#[test]
fn the_last_clone_may_be_dropped_by_the_listener() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let (told, heard) = mpsc::channel();
    let (dropped, tells) = (Dropped::new(&told), Tells(told));
    let file = File::options().on_event(drops(&dropped, tells)).open(&path).unwrap();
    let sink = Gate::shut();
    file.set_sink(sink.clone()).unwrap();
    file.append(b"text").unwrap();
    {
        let mut written = file.written(4);
        assert!(Pin::new(&mut written).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    dropped.set(file);
    sink.open();
    check(&heard);
    assert_eq!(sink.taken(), b"text");
}

#[test]
fn a_lane_may_be_dropped_by_the_listener() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let (told, heard) = mpsc::channel();
    let (dropped, tells) = (Dropped::new(&told), Tells(told));
    let file = File::options().on_event(drops(&dropped, tells)).open(&path).unwrap();
    let mut lane = file.lane().unwrap();
    lane.append(b"lane").unwrap();
    dropped.set(lane);
    file.append(b"file, ").unwrap();
    file.flush().unwrap();
    receive(&heard).unwrap();
    drop(file);
    receive(&heard).unwrap(); // by then the lane has gone, and the file with it
    assert_eq!(std::fs::read(&path).unwrap(), b"file, lane");
}

#[test]
fn a_sink_may_hold_another_file() {
    let (outer, inner) = (Gate::default(), Gate::default());
    let (file, other) = (small(&outer), small(&inner));
    struct Passes(Option<File>);
    impl bw::Sink for Passes {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if let Some(file) = self.0.take() {
                file.append(bytes)?;
                file.flush()?;
            }
            Ok(bytes.len())
        }
    }
    file.set_sink(Passes(Some(other))).unwrap();
    file.append(b"text").unwrap();
    file.flush().unwrap();
    drop(file);
    assert_eq!(inner.taken(), b"text");
}

#[test]
fn a_listener_goes_with_its_file_and_once() {
    let kept = Arc::new(());
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let mine = kept.clone();
    let file = File::options()
        .on_event(move |_| {
            let _ = &mine;
        })
        .open(&path)
        .unwrap();
    let clone = file.clone();
    drop(file);
    assert_eq!(Arc::strong_count(&kept), 2);
    drop(clone);
    assert_eq!(Arc::strong_count(&kept), 1);
    // A file that cannot be opened drops it, too.
    let mine = kept.clone();
    let refused = File::options().on_event(move |_| {
        let _ = &mine;
    });
    refused.open("/nowhere/file").unwrap_err();
    assert_eq!(Arc::strong_count(&kept), 1);
}
