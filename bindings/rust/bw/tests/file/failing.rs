//! Errors and panics of sinks and listeners, and what is done about them.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};

use bw::{Event, File, Level};

use super::support::{Gate, empty, receive, small};

/// What a panic said that the next call goes on with.
fn resumed(call: impl FnOnce()) -> &'static str {
    *catch_unwind(AssertUnwindSafe(call)).unwrap_err().downcast().unwrap()
}

fn is_sink_error(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref()) == Some(&bw::Error::SINK)
}

#[test]
fn an_error_is_held_until_it_is_resumed() {
    let sink = Gate::default();
    let file = small(&sink);
    sink.set(|state| state.errno = Some(libc::ENOSPC));
    file.append(b"text").unwrap();
    for error in [file.flush().unwrap_err(), file.append(b"more").unwrap_err(), file.error().unwrap()] {
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    }
    let mut seen = Vec::new();
    assert_eq!(file.unwritten(|bytes| seen.extend_from_slice(bytes)).unwrap(), 4);
    assert_eq!(seen, b"text");
    sink.set(|state| state.errno = None);
    file.resume().unwrap();
    file.flush().unwrap();
    assert!(file.error().is_none());
    assert_eq!(sink.taken(), b"text");
}

#[test]
fn discard_forgets_and_cancels_those_who_wait() {
    let sink = Gate::shut();
    let file = small(&sink);
    file.append(b"text").unwrap();
    sink.set(|state| state.errno = Some(libc::EIO));
    sink.open();
    file.flush().unwrap_err();
    assert_eq!(file.discard().unwrap(), 4);
    assert_eq!(file.position(Level::Accepted).unwrap(), 0);
    sink.set(|state| state.errno = None);
    file.resume().unwrap();
    assert_eq!(file.append(b"other").unwrap(), 0);
    file.flush().unwrap();
    assert_eq!(sink.taken(), b"other");
}

#[test]
fn another_sink_takes_over_and_the_old_one_is_dropped() {
    let (old, new) = (Gate::default(), Gate::default());
    let file = small(&old);
    old.set(|state| state.errno = Some(libc::EPIPE));
    file.append(b"text").unwrap();
    file.flush().unwrap_err();
    let dropped = Arc::new(());
    struct Kept(Gate, #[allow(dead_code)] Arc<()>);
    impl bw::Sink for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }
    }
    file.set_sink(Kept(old.clone(), dropped.clone())).unwrap();
    assert_eq!(Arc::strong_count(&dropped), 2);
    file.flush().unwrap_err();
    file.set_sink(new.clone()).unwrap();
    assert_eq!(Arc::strong_count(&dropped), 1);
    file.sync().unwrap();
    assert_eq!((old.taken(), new.taken()), (vec![], b"text".to_vec()));
    assert_eq!(new.set(|state| (state.syncs, state.closes)), (1, 0));
    file.close().unwrap();
    assert_eq!((old.set(|state| state.closes), new.set(|state| state.closes)), (0, 1));
}

#[test]
fn a_failed_sync_is_final() {
    let sink = Gate::default();
    let file = small(&sink);
    sink.set(|state| state.sync_errno = Some(libc::EIO));
    file.append(b"text").unwrap();
    for _ in 0..2 {
        assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(libc::EIO));
    }
    assert_eq!(sink.set(|state| state.syncs), 1);
    assert_eq!(file.resume().unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(file.close().unwrap_err().raw_os_error(), Some(libc::EIO));
    file.close().unwrap();
}

#[test]
fn a_sink_that_cannot_sync_says_so_and_that_is_no_failure() {
    let (file, _path) = empty();
    file.set_sink(io::sink()).unwrap();
    file.append(b"text").unwrap();
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
    file.close().unwrap();
}

#[test]
fn a_panic_in_the_sink_is_the_next_calls_and_another_sink_goes_on() {
    let sink = Gate::default();
    let file = small(&sink);
    sink.set(|state| state.panics = true);
    file.append(b"text").unwrap();
    assert_eq!(resumed(|| file.flush().unwrap()), "in the sink");
    assert!(is_sink_error(&file.error().unwrap()));
    assert!(is_sink_error(&file.resume().unwrap_err()));
    file.set_sink(sink.clone()).unwrap();
    file.flush().unwrap();
    assert_eq!(sink.taken(), b"text");
}

#[test]
fn a_sink_that_claims_too_much_is_not_called_again() {
    struct Liar;
    impl bw::Sink for Liar {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Ok(usize::MAX)
        }
    }
    let (file, _path) = empty();
    file.set_sink(Liar).unwrap();
    file.append(b"text").unwrap();
    assert!(is_sink_error(&file.flush().unwrap_err()));
    assert!(is_sink_error(&file.flush().unwrap_err()));
}

#[test]
fn a_panic_in_the_listener_is_the_next_calls() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let mut heard = 0;
    let listen = move |event: Event<'_>| {
        if let Event::Durable { .. } = event {
            heard += 1;
            assert!(heard > 1, "in the listener");
        }
    };
    let file = File::options().caller_driven(true).on_event(listen).open(&path).unwrap();
    file.append(b"text").unwrap();
    file.sync().unwrap();
    assert_eq!(resumed(|| assert!(file.poll_events().is_ok())), "in the listener");
    file.append(b"more").unwrap();
    file.close().unwrap();
}

#[test]
fn a_panic_while_looking_at_the_unwritten_comes_out_at_once() {
    let (file, path) = empty();
    file.append(b"text").unwrap();
    assert_eq!(resumed(|| drop(file.unwritten(|_| panic!("in each")))), "in each");
    file.close().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"text");
}

#[test]
fn who_has_panicked_sees_no_more_of_the_unwritten() {
    let sink = Gate::shut();
    let file = small(&sink);
    file.append(&[7; 8192]).unwrap();
    sink.set(|state| (state.is_shut, state.errno) = (false, Some(libc::ENOSPC)));
    assert!(file.flush().is_err());
    let mut runs = 0;
    file.unwritten(|_| runs += 1).unwrap();
    assert!(runs > 1);
    let mut calls = 0;
    let each = |_: &[u8]| {
        calls += 1;
        panic!("in each")
    };
    assert_eq!(resumed(|| drop(file.unwritten(each))), "in each");
    assert_eq!(calls, 1);
}

#[test]
fn calls_of_the_file_inside_its_sink_are_refused() {
    /// Calls the file that it belongs to, and tells what it heard.
    struct Calls(Arc<Mutex<Option<File>>>, mpsc::Sender<Option<i32>>);
    impl bw::Sink for Calls {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let file = self.0.lock().unwrap().clone().unwrap();
            for error in [file.flush().unwrap_err(), file.set_sink(io::sink()).unwrap_err(), file.close().unwrap_err()]
            {
                self.1.send(error.raw_os_error()).unwrap();
            }
            Ok(bytes.len())
        }
    }
    let (file, _path) = empty();
    let own = Arc::new(Mutex::new(Some(file.clone())));
    let (told, heard) = mpsc::channel();
    file.set_sink(Calls(own.clone(), told)).unwrap();
    file.append(b"text").unwrap();
    file.flush().unwrap();
    for _ in 0..3 {
        assert_eq!(receive(&heard), Ok(Some(libc::EDEADLK)));
    }
    own.lock().unwrap().take();
}

#[test]
fn two_threads_do_not_set_the_sink_at_once() {
    /// While the first set_sink() drops it, the second comes.
    struct Old(File, mpsc::Sender<Option<i32>>);
    impl bw::Sink for Old {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn is_vectored(&self) -> bool {
            // Asked while the sink is being set.
            let error = self.0.set_sink(io::sink()).err();
            self.1.send(error.and_then(|error| error.raw_os_error())).unwrap();
            false
        }
    }
    let (file, _path) = empty();
    let (told, heard) = mpsc::channel();
    file.set_sink(Old(file.clone(), told)).unwrap();
    assert_eq!(receive(&heard), Ok(Some(libc::EBUSY)));
    file.set_sink(io::sink()).unwrap();
    file.close().unwrap();
}

#[test]
fn what_could_not_be_written_is_told_when_the_file_goes() {
    let (told, heard) = mpsc::channel();
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let listen = move |event: Event<'_>| {
        if let Event::Lost { position, bytes, error } = event {
            told.send((position, bytes.to_vec(), error.raw_os_error())).unwrap();
        }
    };
    let file = File::options().on_event(listen).open(&path).unwrap();
    let sink = Gate::default();
    sink.set(|state| state.errno = Some(libc::ENOSPC));
    file.set_sink(sink).unwrap();
    file.append(b"text").unwrap();
    drop(file);
    assert_eq!(receive(&heard), Ok((0, b"text".to_vec(), Some(libc::ENOSPC))));
}

#[test]
fn a_nonblocking_file_does_not_wait() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let file = File::options().capacity(4096).buffers(2).nonblock(true).open(&path).unwrap();
    let sink = Gate::shut();
    file.set_sink(sink.clone()).unwrap();
    let mut taken = 0;
    let error = loop {
        match file.append(&[7; 1024]) {
            Ok(at) => taken = at + 1024,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(file.append(&[7; 8193]).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
    sink.open();
    file.wait(taken, Level::Written, None).unwrap();
    assert_eq!(sink.taken().len() as u64, taken);
}
