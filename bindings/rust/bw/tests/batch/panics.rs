//! Panics of callbacks: caught, told by a later call, and no item is lost or dropped twice by them.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::mpsc::channel;

use bw::batch::{Batch, Batcher, Builder, CallbackSink, Sink};

use crate::ledger::{Counted, Ledger, ids, wait_until};

/// What a call panicked with.
fn panic_of<R>(call: impl FnOnce() -> R) -> Option<&'static str> {
    catch_unwind(AssertUnwindSafe(call)).err().map(|thrown| *thrown.downcast::<&'static str>().unwrap())
}

/// A panic that a closure's type does not show.
fn throw(text: &'static str) {
    panic_any(text);
}

fn panicking(batch: Batch<'_, Counted>) {
    assert!(batch.len() > 0);
    throw("write");
}

/// Whether the code is that of a sink that panicked.
fn is_sink_error(error: &std::io::Error) -> bool {
    error.get_ref().and_then(|error| error.downcast_ref()) == Some(&bw::Error::SINK)
}

#[test]
fn a_panic_of_the_sink_comes_out_of_the_call_and_holds_its_batch() {
    let ledger = Ledger::new(2);
    let batcher = Builder::new().max_items(2).build(panicking).unwrap();
    batcher.send(ledger.item(0)).unwrap();
    assert_eq!(panic_of(|| batcher.send(ledger.item(1))), Some("write"));
    assert_eq!(ledger.drops(), [0, 0]);
    assert!(is_sink_error(&batcher.error().unwrap()));
    assert!(is_sink_error(&batcher.flush().unwrap_err()));
    assert_eq!(batcher.discard().unwrap(), 2);
    ledger.assert_all_dropped_once();
    assert!(batcher.error().is_none());
    batcher.close().unwrap();
}

#[test]
fn what_a_panic_holds_is_given_up_by_drop_and_not_offered_again() {
    let ledger = Ledger::new(5);
    let (sender, failed) = channel();
    let (offers, offered) = channel();
    let sink = move |batch: Batch<'_, Counted>| {
        offers.send(batch.serial()).unwrap();
        throw("write");
    };
    let on_failed = move |items: Vec<Counted>, error| sender.send((ids(&items), is_sink_error(&error))).unwrap();
    let batcher = Builder::new().max_items(2).buffers(4).retries(3).on_failed(on_failed).build(sink).unwrap();
    batcher.send(ledger.item(0)).unwrap();
    assert_eq!(panic_of(|| batcher.send(ledger.item(1))), Some("write"));
    (2..5).try_for_each(|id| batcher.send(ledger.item(id))).unwrap();
    drop(batcher);
    assert_eq!(offered.iter().collect::<Vec<_>>(), [1]);
    assert_eq!(failed.iter().collect::<Vec<_>>(), [(vec![0, 1], true), (vec![2, 3], true), (vec![4], true)]);
    ledger.assert_all_dropped_once();
}

#[test]
fn a_panic_of_a_callback_sink_reaches_its_user_once() {
    let ledger = Ledger::new(2);
    let mut sink = CallbackSink::new(2, |_: &Batch<'_, Counted>| throw("callback"));
    sink.send(ledger.item(0)).unwrap();
    assert_eq!(panic_of(|| sink.send(ledger.item(1))), Some("callback"));
    assert!(is_sink_error(&sink.flush().unwrap_err()));
    drop(sink);
    ledger.assert_all_dropped_once();
}

#[test]
fn a_panic_in_the_background_waits_for_the_next_call() {
    let ledger = Ledger::new(1);
    let batcher = Builder::new().max_items(1).background(true).build(panicking).unwrap();
    let heard = panic_of(|| batcher.send(ledger.item(0)).unwrap()).or_else(|| {
        wait_until(|| batcher.error().is_some());
        panic_of(|| batcher.flush())
    });
    assert_eq!(heard, Some("write"));
    wait_until(|| batcher.error().is_some());
    assert!(is_sink_error(&batcher.flush().unwrap_err()));
    drop(batcher);
    ledger.assert_all_dropped_once();
}

#[test]
fn a_panic_that_nobody_hears_goes_with_the_batcher() {
    let ledger = Ledger::new(1);
    let batcher = Builder::new().build(panicking).unwrap();
    batcher.send(ledger.item(0)).unwrap();
    drop(batcher); // offers it
    ledger.assert_all_dropped_once();
}

#[test]
fn a_panic_after_take_leaves_the_answer_to_who_has_it() {
    let ledger = Ledger::new(2);
    let (sender, taken) = channel();
    let sink = move |batch: Batch<'_, Counted>| {
        sender.send(batch.take()).unwrap();
        throw("after take");
    };
    let batcher = Builder::new().max_items(1).max_in_flight(2).build(sink).unwrap();
    assert_eq!(panic_of(|| batcher.send(ledger.item(0))), Some("after take"));
    assert!(batcher.error().is_none());
    taken.recv().unwrap().answer(());
    assert_eq!(panic_of(|| batcher.send(ledger.item(1))), Some("after take"));
    taken.recv().unwrap().answer(());
    ledger.assert_all_dropped_once();
    assert_eq!(batcher.stats().unwrap().total_items, 2);
}

#[test]
fn too_few_answers_are_a_panic_and_cancel() {
    let ledger = Ledger::new(2);
    let sink = |batch: Batch<'_, Counted>| batch.take().answer_each(&[]);
    let batcher = Builder::new().max_items(2).build(sink).unwrap();
    batcher.send(ledger.item(0)).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| batcher.send(ledger.item(1)))).is_err());
    assert_eq!(batcher.error().unwrap().raw_os_error(), Some(libc::ECANCELED));
    drop(batcher);
    ledger.assert_all_dropped_once();
}

struct Unwell(&'static str);

impl Sink<Counted> for Unwell {
    fn write(&mut self, _: Batch<'_, Counted>) -> bw::batch::Answer {
        ().into()
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.0 == "flush" { panic_any(self.0) } else { Ok(()) }
    }

    fn close(&mut self) -> std::io::Result<()> {
        if self.0 == "close" { panic_any(self.0) } else { Ok(()) }
    }
}

#[test]
fn a_panic_of_flush_or_close_comes_out_of_close() {
    for place in ["flush", "close"] {
        let ledger = Ledger::new(1);
        let batcher: Batcher<_> = Builder::new().build(Unwell(place)).unwrap();
        batcher.send(ledger.item(0)).unwrap();
        assert_eq!(panic_of(|| batcher.close()), Some(place));
        ledger.assert_all_dropped_once();
    }
}

#[test]
fn a_panic_of_a_listener_drops_what_it_was_given() {
    let ledger = Ledger::new(2);
    let on_delivered = |items: Vec<Counted>| {
        assert_eq!(items.len(), 1);
        panic_any("on_delivered");
    };
    let on_failed = |_: Vec<Counted>, _| panic_any("on_failed");
    let batcher = Builder::new()
        .max_items(1)
        .on_delivered(on_delivered)
        .on_failed(on_failed)
        .build(|batch: Batch<'_, Counted>| match batch[0].id {
            0 => bw::batch::Answer::DELIVERED,
            _ => bw::batch::Answer::refused(&std::io::ErrorKind::NotFound.into()),
        })
        .unwrap();
    assert_eq!(panic_of(|| batcher.send(ledger.item(0))), Some("on_delivered"));
    assert_eq!(panic_of(|| batcher.send(ledger.item(1))), Some("on_failed"));
    ledger.assert_all_dropped_once();
}

#[test]
fn a_panic_of_on_pressure_comes_out_of_the_send() {
    let batcher = Builder::new()
        .max_items(4)
        .buffers(1)
        .on_pressure(50, 25, |_| panic_any("pressure"))
        .build(|_: Batch<'_, u8>| ())
        .unwrap();
    let outcomes: Vec<_> = (0..2).map(|item| panic_of(|| batcher.send(item).unwrap())).collect();
    assert_eq!(outcomes, [None, Some("pressure")]);
    assert_eq!(batcher.buffered(), 2);
}

#[test]
fn items_that_panic_when_dropped_do_not_keep_the_others() {
    struct Bomb(#[expect(dead_code, reason = "it is dropped")] Counted, bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.1 {
                panic_any("bomb");
            }
        }
    }
    let ledger = Ledger::new(6);
    let mut sink = CallbackSink::new(6, |_| ());
    for item in ledger.items().take(5) {
        let is_live = item.id % 2 == 0;
        sink.send(Bomb(item, is_live)).unwrap();
    }
    assert_eq!(panic_of(|| sink.send(Bomb(ledger.item(5), false))), Some("bomb"));
    ledger.assert_all_dropped_once();
    assert_eq!(sink.flush_count(), 1);
    sink.flush().unwrap();
}
