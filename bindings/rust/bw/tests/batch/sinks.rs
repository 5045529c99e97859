//! The types that are ready to use.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use bw::batch::{Batch, BatchSink, Builder, CallbackSink, LogSink, StatsSink};

use crate::ledger::{Counted, Ledger, ids};

#[test]
fn batch_sink_hands_its_batches_out() {
    let ledger = Ledger::new(5);
    let mut sink = BatchSink::new(2);
    ledger.items().try_for_each(|item| sink.send(item)).unwrap();
    assert_eq!((sink.flushed_count(), sink.buffered_count()), (2, 1));
    sink.flush().unwrap();
    assert_eq!((sink.flushed_count(), sink.buffered_count()), (3, 0));
    let batches = sink.into_batches();
    assert_eq!(ledger.drops(), [0; 5]);
    assert_eq!(batches.iter().map(|batch| ids(batch)).collect::<Vec<_>>(), [vec![0, 1], vec![2, 3], vec![4]]);
    drop(batches);
    ledger.assert_all_dropped_once();
}

#[test]
fn batch_sink_drops_what_nobody_asks_for() {
    let ledger = Ledger::new(5);
    let mut sink = BatchSink::new(2);
    ledger.items().try_for_each(|item| sink.send(item)).unwrap();
    assert_eq!(ledger.drops(), [0; 5]);
    drop(sink);
    ledger.assert_all_dropped_once();
}

#[test]
fn batch_sink_without_items_has_no_batches() {
    let mut sink = BatchSink::<String>::new(3);
    sink.flush().unwrap();
    assert_eq!((sink.flushed_count(), sink.buffered_count()), (0, 0));
    assert!(sink.into_batches().is_empty());
}

#[test]
fn capacity_0_is_1() {
    let mut sink = BatchSink::new(0);
    (0..3).try_for_each(|number| sink.send(number)).unwrap();
    assert_eq!(sink.into_batches(), [[0], [1], [2]]);
}

#[test]
fn a_capacity_that_cannot_be_is_a_panic() {
    for capacity in [1 << 21, usize::MAX] {
        assert!(catch_unwind(|| BatchSink::<u8>::new(capacity)).is_err());
    }
    assert!(catch_unwind(|| BatchSink::<[u8; 1 << 20]>::new(129)).is_err());
}

#[test]
fn a_batch_sink_moves_between_threads() {
    let mut sink = BatchSink::new(2);
    sink.send("one".to_string()).unwrap();
    let other = std::thread::spawn(move || sink.send("two".to_string()).map(|()| sink).unwrap());
    assert_eq!(other.join().unwrap().into_batches(), [["one", "two"]]);
}

#[test]
fn a_forgotten_sink_is_a_leak_and_nothing_else() {
    let words = ["one".to_string(), "two".to_string()];
    let ledger = Ledger::new(1);
    {
        let mut sink = CallbackSink::new(3, |batch| assert_eq!(batch.len(), words.len()));
        words.iter().try_for_each(|word| sink.send((word, ledger.item(0)))).unwrap();
        std::mem::forget(sink);
    }
    drop(words);
    assert_eq!(ledger.drops(), [0]);
}

#[test]
fn callback_sink_is_called_with_borrowed_items() {
    let ledger = Ledger::new(5);
    let mut shown = Vec::new();
    let mut sink = CallbackSink::new(2, |batch| shown.push(ids(batch.as_slice().unwrap())));
    ledger.items().try_for_each(|item| sink.send(item)).unwrap();
    assert_eq!((sink.flush_count(), sink.buffered_count()), (2, 1));
    assert_eq!(ledger.drops(), [1, 1, 1, 1, 0]);
    drop(sink);
    assert_eq!(shown, [vec![0, 1], vec![2, 3], vec![4]]);
    ledger.assert_all_dropped_once();
}

#[test]
fn callback_sink_keeps_what_failed_until_it_is_taken() {
    let ledger = Ledger::new(2);
    let (sender, shown) = channel();
    let mut sink = CallbackSink::new(2, move |batch| {
        sender.send((ids(batch.as_slice().unwrap()), batch.attempt())).unwrap();
        if batch.attempt() < 3 { Err(ErrorKind::TimedOut.into()) } else { Ok(()) }
    });
    ledger.items().try_for_each(|item| sink.send(item)).unwrap();
    assert_eq!((sink.flush_count(), sink.buffered_count()), (0, 2));
    assert_eq!(sink.flush().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(ledger.drops(), [0, 0]);
    sink.flush().unwrap();
    ledger.assert_all_dropped_once();
    drop(sink);
    let offers: Vec<_> = shown.iter().collect();
    assert_eq!(offers, [(vec![0, 1], 1), (vec![0, 1], 2), (vec![0, 1], 3)]);
}

#[test]
fn callback_sink_drops_what_still_fails_when_it_is_dropped() {
    let ledger = Ledger::new(5);
    let mut sink = CallbackSink::new(3, |_: &Batch<'_, Counted>| Err(ErrorKind::BrokenPipe.into()));
    ledger.items().try_for_each(|item| sink.send(item)).unwrap();
    drop(sink);
    ledger.assert_all_dropped_once();
}

#[test]
fn stats_sink_counts_what_the_library_counts() {
    let counts = StatsSink::new();
    assert_eq!(counts.stats(), (0, 0, 0));
    let batcher = Builder::new().max_items(3).build(counts.clone()).unwrap();
    (0..10).try_for_each(|number| batcher.send(number)).unwrap();
    batcher.close().unwrap();
    let stats = batcher.stats().unwrap();
    assert_eq!(counts.stats(), (10, 4, 3));
    assert_eq!((stats.total_items, stats.total_batches, stats.max_batch_size), (10, 4, 3));
}

#[test]
fn a_callback_that_is_not_ready_is_not_waited_for() {
    let ledger = Ledger::new(3);
    let is_ready = std::cell::Cell::new(false);
    let mut sink = CallbackSink::new(1, |_: &Batch<'_, Counted>| match is_ready.get() {
        true => Ok(()),
        false => Err(ErrorKind::WouldBlock.into()),
    });
    sink.send(ledger.item(0)).unwrap();
    sink.send(ledger.item(1)).unwrap();
    let refused = sink.send(ledger.item(2)).unwrap_err();
    assert_eq!((refused.item.id, refused.error.kind()), (2, ErrorKind::WouldBlock));
    assert_eq!(sink.flush().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(ledger.drops(), [0; 3]);
    is_ready.set(true);
    sink.send(refused.item).unwrap();
    sink.flush().unwrap();
    ledger.assert_all_dropped_once();
}

/// A sink of bytes that fails as it is told.
#[derive(Debug, Default)]
struct Scripted {
    bytes: Vec<u8>,
    error: Arc<Mutex<Option<ErrorKind>>>,
    flushes: usize,
}

impl std::io::Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(kind) = *self.error.lock().unwrap() {
            return Err(kind.into());
        }
        self.bytes.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.flushes += 1;
        Ok(())
    }
}

fn scripted(capacity: usize) -> LogSink<bw::Writer<Scripted>> {
    LogSink::new(bw::Writer::with_capacity(64, Scripted::default()), c"|", capacity).unwrap()
}

#[test]
fn log_sink_writes_items_and_separators() {
    let mut log = scripted(2);
    for item in ["one", "", "three"] {
        log.send(item).unwrap();
    }
    assert_eq!((log.flush_count(), log.buffered_count()), (1, 1));
    assert_eq!(log.get_ref().buffer(), b"one||");
    log.flush().unwrap();
    assert_eq!((&*log.get_ref().get_ref().bytes, log.get_ref().get_ref().flushes), (&b"one||three|"[..], 1));
    let long = "x".repeat(1000);
    log.send(&long).unwrap();
    let writer = log.into_inner().unwrap();
    assert_eq!(writer.get_ref().bytes, format!("one||three|{long}|").into_bytes());
}

#[test]
fn log_sink_writes_what_is_left_when_it_is_dropped() {
    let mut bytes = Vec::new();
    let mut log = LogSink::new(bw::Writer::new(&mut bytes), c"\n", 100).unwrap();
    log.send("one").unwrap();
    drop(log);
    assert_eq!(bytes, b"one\n");
}

#[test]
fn log_sink_keeps_what_the_writer_could_not_write() {
    for kind in [ErrorKind::StorageFull, ErrorKind::WouldBlock] {
        let mut log = scripted(1);
        let failed = |log: LogSink<bw::Writer<Scripted>>| {
            let (error, log) = log.into_inner().unwrap_err().into_parts();
            assert_eq!(error.kind(), kind);
            log
        };
        let error = log.get_ref().get_ref().error.clone();
        *error.lock().unwrap() = Some(kind);
        let lines: Vec<String> = (0..40).map(|number| format!("line {number}")).collect();
        let sent = lines.iter().take_while(|line| log.send(line).is_ok()).count();
        assert!((7..40).contains(&sent), "the writer has room for 64 bytes, the sink for two batches: {sent}");
        log = failed(log);
        *error.lock().unwrap() = None;
        lines[sent..].iter().try_for_each(|line| log.send(line)).unwrap();
        let writer = log.into_inner().unwrap();
        assert_eq!(writer.get_ref().bytes, (lines.join("|") + "|").into_bytes());
    }
}

#[test]
fn log_sinks_share_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let file = bw::File::create(&path).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let file = file.clone();
            scope.spawn(move || {
                let mut log = LogSink::new(file, c"\n", 10).unwrap();
                (0..100).try_for_each(|number| log.send(format!("{thread} {number}"))).unwrap();
                log.flush().unwrap();
            });
        }
    });
    file.close().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for thread in 0..4 {
        let prefix = format!("{thread} ");
        let numbers: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
        assert_eq!(numbers, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    }
    assert_eq!(text.lines().count(), 400);
}

#[test]
fn a_log_tells_of_its_items() {
    let directory = tempfile::tempdir().unwrap();
    let file = bw::File::create(directory.path().join("log")).unwrap();
    let (sender, told) = channel();
    let on_delivered = sender.clone();
    let mut log = Builder::new()
        .max_items(2)
        .on_delivered(move |items| on_delivered.send((items, None)).unwrap())
        .on_failed(move |items: Vec<Vec<u8>>, error| sender.send((items, error.raw_os_error())).unwrap())
        .build_log(file.clone(), c"\n")
        .unwrap();
    ["one", "", "three"].iter().try_for_each(|item| log.send(item)).unwrap();
    assert_eq!(told.try_recv().unwrap(), (vec![b"one".to_vec(), Vec::new()], None));
    file.close().unwrap();
    assert_eq!(log.flush().unwrap_err().raw_os_error(), Some(libc::ESHUTDOWN));
    drop(log);
    assert_eq!(told.try_recv().unwrap(), (vec![b"three".to_vec()], Some(libc::ESHUTDOWN)));
}

/// A sink of bytes that panics.
struct Panics(#[expect(dead_code, reason = "it is dropped")] Counted);

impl std::io::Write for Panics {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        panic!("write")
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_of_the_writers_sink_comes_out_of_the_log() {
    let ledger = Ledger::new(1);
    let mut log = LogSink::new(bw::Writer::new(Panics(ledger.item(0))), c"\n", 10).unwrap();
    log.send("one").unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| log.flush())).is_err());
    let error = log.flush().unwrap_err();
    assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&bw::Error::SINK));
    drop(log);
    ledger.assert_all_dropped_once();
}

#[test]
fn a_panic_of_the_writers_sink_comes_out_of_drop() {
    let ledger = Ledger::new(1);
    let mut log = LogSink::new(bw::Writer::new(Panics(ledger.item(0))), c"\n", 10).unwrap();
    log.send("one").unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(log))).is_err());
    ledger.assert_all_dropped_once();
}
