//! What is written, read and told where all goes well.

use std::io::{IoSlice, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use bw::{Event, File, Level};

use super::support::{NEVER, empty, receive};

#[test]
fn records_of_many_threads_are_whole_and_where_append_says() {
    const THREADS: usize = 4;
    const RECORDS: usize = 5000;
    let (file, path) = empty();
    let places = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (file, places) = (file.clone(), &places);
            scope.spawn(move || {
                let mut mine = Vec::new();
                for number in 0..RECORDS {
                    let record = format!("{thread}:{number};");
                    mine.push((file.append(record.as_bytes()).unwrap() as usize, record));
                }
                places.lock().unwrap().extend(mine);
            });
        }
    });
    file.close().unwrap();
    let written = std::fs::read(&path).unwrap();
    let mut places = places.into_inner().unwrap();
    places.sort();
    let mut end = 0;
    for (at, record) in &places {
        assert_eq!(*at, end);
        assert_eq!(&written[*at..at + record.len()], record.as_bytes());
        end += record.len();
    }
    assert_eq!((places.len(), end), (THREADS * RECORDS, written.len()));
}

#[test]
fn write_is_for_a_file_and_for_a_reference_to_one() {
    let (mut file, path) = empty();
    (&file).write_all(b"one, ").unwrap();
    file.write_all(b"two, ").unwrap();
    assert_eq!((&file).write_vectored(&[IoSlice::new(b"three"), IoSlice::new(b", ")]).unwrap(), 7);
    write!(file, "{}", 4).unwrap();
    Write::flush(&mut file).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"one, two, three, 4");
}

#[test]
fn parts_are_appended_as_one_piece() {
    let (file, path) = empty();
    assert_eq!(file.append(b"0123").unwrap(), 0);
    assert_eq!(file.append_vectored(&[IoSlice::new(b"45"), IoSlice::new(b""), IoSlice::new(b"6")]).unwrap(), 4);
    assert_eq!(file.append_vectored(&[]).unwrap(), 7);
    assert_eq!(file.append(b"").unwrap(), 7);
    file.flush().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"0123456");
}

#[test]
fn a_file_can_be_read_and_sought() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let mut file = File::options().read(true).open(&path).unwrap();
    file.write_all(b"0123456789").unwrap();
    assert_eq!(file.stream_position().unwrap(), 10);
    assert_eq!(file.seek(SeekFrom::Start(2)).unwrap(), 2);
    let mut three = [0; 3];
    file.read_exact(&mut three).unwrap();
    assert_eq!(three, *b"234");
    assert_eq!(file.seek(SeekFrom::Current(-1)).unwrap(), 4);
    file.write_all(b"X").unwrap();
    assert_eq!(file.seek(SeekFrom::End(-1)).unwrap(), 9);
    assert_eq!((&file).read(&mut three).unwrap(), 1);
    assert_eq!(file.seek(SeekFrom::Start(u64::MAX)).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    assert_eq!(file.seek(SeekFrom::Current(-100)).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    file.close().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"0123X56789");
}

#[test]
fn a_position_comes_as_far_as_is_waited_for() {
    let (file, path) = empty();
    let end = file.append(b"text").unwrap() + 4;
    assert_eq!(file.buffered(), 4);
    file.wait(end, Level::Accepted, None).unwrap();
    file.wait(end, Level::Written, Some(NEVER)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"text");
    file.wait(end, Level::Durable, None).unwrap();
    for level in [Level::Accepted, Level::Written, Level::Durable] {
        assert_eq!(file.position(level).unwrap(), end);
    }
    for position in [end + 1, u64::MAX] {
        let error = file.wait(position, Level::Durable, Some(Duration::from_nanos(1))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT));
    }
}

#[test]
fn events_are_told_with_their_positions() {
    let (told, heard) = mpsc::channel();
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let tell = move |event: Event<'_>| match event {
        Event::Written { position, length } => told.send((Level::Written, position + length)).unwrap(),
        Event::Durable { position } => told.send((Level::Durable, position)).unwrap(),
        other => panic!("{other:?}"),
    };
    let file = File::options().on_event(tell).open(&path).unwrap();
    file.append(b"text").unwrap();
    file.sync().unwrap();
    assert_eq!(receive(&heard), Ok((Level::Written, 4)));
    assert_eq!(receive(&heard), Ok((Level::Durable, 4)));
    file.close().unwrap();
    drop(file);
    assert!(heard.iter().next().is_none(), "the listener is dropped with the file");
}

#[test]
fn statistics_say_what_was_done() {
    let (file, _path) = empty();
    file.append(b"text").unwrap();
    file.append(b"more").unwrap();
    file.sync().unwrap();
    let stats = file.stats().unwrap();
    assert_eq!((stats.accepted_bytes, stats.written_bytes, stats.durable_bytes), (8, 8, 8));
    assert_eq!((stats.writes, stats.syncs, stats.errors, stats.buffers), (2, 1, 0, 8));
    assert_eq!(stats.sync.count, 1);
    assert!(stats.engine.is_some());
}

#[test]
fn close_once_more_does_nothing_and_other_calls_are_refused() {
    let (file, _path) = empty();
    let end = file.append(b"text").unwrap() + 4;
    let other = file.clone();
    file.close().unwrap();
    other.close().unwrap();
    for error in [
        other.append(b"more").unwrap_err(),
        other.reserve(4).unwrap_err(),
        other.flush().unwrap_err(),
        other.sync().unwrap_err(),
        other.lane().unwrap_err(),
        other.set_sink(Vec::new()).unwrap_err(),
        other.wait(end + 1, Level::Accepted, None).unwrap_err(),
    ] {
        assert_eq!(error.raw_os_error(), Some(libc::ESHUTDOWN));
    }
    other.wait(end, Level::Durable, None).unwrap();
    assert_eq!(other.position(Level::Durable).unwrap(), end);
    assert_eq!(other.unwritten(|_| unreachable!()).unwrap(), 0);
}

#[test]
fn a_caller_driven_file_works_when_it_is_driven() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let (told, heard) = mpsc::channel();
    let tell = move |event: Event<'_>| {
        if let Event::Durable { position } = event {
            told.send(position).unwrap();
        }
    };
    let file = File::options().caller_driven(true).on_event(tell).open(&path).unwrap();
    assert!(file.event_fd().unwrap().as_raw_fd() >= 0);
    file.append(b"text").unwrap();
    file.sync().unwrap();
    assert!(heard.try_recv().is_err(), "callbacks run in poll_events() only");
    assert!(file.poll_events().unwrap() > 0);
    assert_eq!(heard.try_recv(), Ok(4));
}

#[test]
fn other_files_are_not_driven() {
    let (file, _path) = empty();
    assert_eq!(file.event_fd().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
    assert_eq!(file.poll_events().unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
}

#[test]
fn wrong_options_are_refused_before_the_file_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    for options in [
        File::options().capacity(100),
        File::options().capacity(1 << 30),
        File::options().pressure(101, 0),
        File::options().pressure(50, 60),
    ] {
        let error = options.create(true).open(&path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert!(!path.exists());
    }
    assert_eq!(File::create("with\0nul").unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn debug_shows_how_far_it_has_come() {
    let (file, _path) = empty();
    file.append(b"text").unwrap();
    assert_eq!(format!("{file:?}"), "File { accepted: 4, written: 0, durable: 0 }");
    assert!(format!("{:?}", File::options().capacity(4096)).contains("capacity: 4096"));
}
