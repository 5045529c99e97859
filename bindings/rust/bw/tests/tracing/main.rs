//! `bw::tracing`: events of threads, in a log and in lanes.
#![cfg(feature = "tracing")]

use std::cell::RefCell;
use std::io::{self, Write};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bw::tracing::{Lanes, Log};
use bw::{File, Level};
use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;

const THREADS: usize = 4;
const EVENTS: usize = 2000;

fn path() -> tempfile::TempPath {
    tempfile::NamedTempFile::new().unwrap().into_temp_path()
}

fn dispatch(writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) -> Dispatch {
    Dispatch::new(tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish())
}

/// Logs from several threads, and waits until these have ended.
fn log(dispatch: &Dispatch) {
    let threads = [(); THREADS].map(|()| dispatch.clone()).into_iter().enumerate().map(|(thread, dispatch)| {
        std::thread::spawn(move || {
            tracing::dispatcher::with_default(&dispatch, || {
                (0..EVENTS).for_each(|number| tracing::info!(thread, number, "event"));
            });
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap(); // a scope would not wait for its thread-locals
    }
}

/// Whether every thread's events are there, whole and in order.
fn check(path: &Path) {
    let mut next = [0; THREADS];
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let (rest, number) = line.rsplit_once(" number=").unwrap();
        let (_, thread) = rest.rsplit_once("event thread=").unwrap();
        let next = &mut next[thread.parse::<usize>().unwrap()];
        assert_eq!(number.parse(), Ok(*next));
        *next += 1;
    }
    assert_eq!(next, [EVENTS; THREADS]);
}

#[test]
fn a_log_has_every_event_whole() {
    let path = path();
    let writer = Log::open(&path).unwrap();
    let file = writer.file().clone();
    log(&dispatch(writer));
    assert_eq!(file.stats().unwrap().writes, (THREADS * EVENTS) as u64);
    file.close().unwrap();
    check(&path);
}

#[test]
fn an_event_reaches_the_system_by_itself() {
    let path = path();
    let writer = Log::open(&path).unwrap();
    writer.make_writer().write_all(b"event\n").unwrap();
    while std::fs::read(&path).unwrap() != b"event\n" {
        std::thread::yield_now();
    }
    writer.make_writer().write_all(b"other\n").unwrap();
    writer.make_writer().flush().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"event\nother\n");
}

#[test]
fn a_log_goes_on_at_its_end() {
    let path = path();
    std::fs::write(&path, "earlier\n").unwrap();
    Log::open(&path).unwrap().make_writer().write_all(b"one\n").unwrap();
    Lanes::open(&path).unwrap().make_writer().write_all(b"two\n").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"earlier\none\ntwo\n");
}

#[test]
fn a_log_may_be_no_regular_file() {
    Log::open("/dev/null").unwrap().make_writer().write_all(b"event\n").unwrap();
    assert_eq!(Log::open("/nowhere/log").unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn lanes_have_every_event_whole_when_their_threads_have_ended() {
    let path = path();
    let lanes = Lanes::open(&path).unwrap();
    log(&dispatch(lanes.clone()));
    check(&path);
    lanes.close().unwrap();
}

#[test]
fn flush_hands_on_what_other_threads_have_logged() {
    let path = path();
    let lanes = Lanes::open(&path).unwrap();
    lanes.make_writer().write_all(b"event\n").unwrap();
    assert_eq!(lanes.file().position(Level::Accepted).unwrap(), 0);
    std::thread::scope(|scope| scope.spawn(|| lanes.flush().unwrap()).join().unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), b"event\n");
}

#[test]
fn lanes_that_are_closed_refuse_and_can_be_closed_again() {
    let path = path();
    let lanes = Lanes::open(&path).unwrap();
    lanes.make_writer().write_all(b"event\n").unwrap();
    lanes.close().unwrap();
    lanes.close().unwrap();
    for _ in 0..2 {
        let write = || lanes.make_writer().write_all(b"late\n").unwrap_err().raw_os_error();
        assert_eq!(write(), Some(libc::ESHUTDOWN));
        assert_eq!(std::thread::scope(|scope| scope.spawn(write).join().unwrap()), Some(libc::ESHUTDOWN));
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"event\n");
}

#[test]
fn lanes_that_are_dropped_hand_on_and_let_go_of_the_file() {
    let path = path();
    let lanes = Lanes::open(&path).unwrap();
    let file = lanes.file().clone();
    lanes.clone().make_writer().write_all(b"event\n").unwrap();
    drop(lanes); // this thread lives on, and its place with it
    file.close().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"event\n");
    // The same thread, in the lanes of another log.
    let other = Lanes::open(&path).unwrap();
    other.make_writer().write_all(b"other\n").unwrap();
    other.close().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"event\nother\n");
}

#[test]
fn what_the_file_refuses_when_a_thread_ends_is_written_later() {
    #[derive(Clone)]
    struct Full(Arc<Mutex<(bool, Vec<u8>)>>);
    impl bw::Sink for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (is_full, taken) = &mut *self.0.lock().unwrap();
            if *is_full {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }
    }
    let path = path();
    let file = File::open(&path).unwrap();
    let sink = Full(Arc::new(Mutex::new((true, Vec::new()))));
    file.set_sink(sink.clone()).unwrap();
    file.append(b"file\n").unwrap();
    file.flush().unwrap_err();
    let lanes = Lanes::new(file);
    std::thread::scope(|scope| {
        scope.spawn(|| lanes.make_writer().write_all(b"lane\n").unwrap());
    });
    assert_eq!(lanes.flush().unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    sink.0.lock().unwrap().0 = false;
    lanes.file().resume().unwrap();
    lanes.flush().unwrap();
    assert_eq!(sink.0.lock().unwrap().1, b"file\nlane\n");
}

#[test]
fn a_panic_of_the_listener_is_not_resumed_where_a_thread_ends() {
    let path = path();
    let (told, heard) = mpsc::channel();
    let listen = move |_: bw::Event<'_>| {
        let _ = told.send(());
        panic!("in the listener");
    };
    let lanes = Lanes::new(File::options().on_event(listen).open(&path).unwrap());
    let log = |until: mpsc::Receiver<()>| {
        let (lanes, (written, ready)) = (lanes.clone(), mpsc::channel());
        let thread = std::thread::spawn(move || {
            lanes.make_writer().write_all(b"event\n").unwrap();
            written.send(()).unwrap();
            let _ = until.recv();
        });
        ready.recv().unwrap();
        thread
    };
    let (first_may_end, until) = mpsc::channel();
    let first = log(until);
    let (second_may_end, until) = mpsc::channel();
    let second = log(until);
    drop(first_may_end);
    first.join().unwrap();
    heard.recv_timeout(Duration::from_secs(60)).unwrap();
    drop(second_may_end);
    second.join().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"event\nevent\n");
    let until_panic = || {
        loop {
            lanes.file().append(b"").unwrap();
        }
    };
    std::panic::catch_unwind(AssertUnwindSafe(until_panic)).unwrap_err();
}

#[test]
fn an_event_at_the_very_end_of_a_thread_is_not_lost() {
    struct LogsLate(Lanes, &'static [u8]);
    impl Drop for LogsLate {
        fn drop(&mut self) {
            self.0.make_writer().write_all(self.1).unwrap();
        }
    }
    thread_local! {
        static EARLIER: RefCell<Option<LogsLate>> = const { RefCell::new(None) };
        static LATER: RefCell<Option<LogsLate>> = const { RefCell::new(None) };
    }
    let path = path();
    let lanes = Lanes::open(&path).unwrap();
    let theirs = lanes.clone();
    // One of the two goes before the thread's lane, the other one after it.
    std::thread::spawn(move || {
        EARLIER.set(Some(LogsLate(theirs.clone(), b"one\n")));
        theirs.make_writer().write_all(b"two\n").unwrap();
        LATER.set(Some(LogsLate(theirs, b"six\n")));
    })
    .join()
    .unwrap();
    lanes.close().unwrap();
    let mut lines: Vec<String> = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["one", "six", "two"]);
}
