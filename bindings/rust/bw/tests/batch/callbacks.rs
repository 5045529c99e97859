//! Calls of a batcher inside its own callbacks, and the end of a batcher there.

use std::io::ErrorKind;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use bw::batch::{Batch, Batcher, Builder};

use crate::ledger::{Counted, Ledger, wait_until};

/// A batcher whose callbacks know it.
fn knowing(
    builder: Builder<Counted>,
    mut sink: impl FnMut(&Batcher<Counted>, Batch<'_, Counted>) + Send + 'static,
) -> Arc<Batcher<Counted>> {
    let own: Arc<OnceLock<Weak<Batcher<Counted>>>> = Arc::default();
    let asks = own.clone();
    let sink = move |batch: Batch<'_, Counted>| {
        let batcher = asks.get().and_then(Weak::upgrade).expect("it is there as long as it is used");
        sink(&batcher, batch);
    };
    let batcher = Arc::new(builder.build(sink).unwrap());
    own.set(Arc::downgrade(&batcher)).unwrap();
    batcher
}

#[test]
fn nothing_waits_inside_a_callback() {
    let ledger = Ledger::new(3);
    let (sender, answers) = channel();
    let batcher = knowing(Builder::new().max_items(1).buffers(1), move |batcher, batch| {
        if batch[0].id == 0 {
            sender.send(batcher.flush().unwrap_err()).unwrap();
            sender.send(batcher.close().unwrap_err()).unwrap();
            sender.send(batcher.send(batch[0].ledger_item(1)).unwrap_err().error).unwrap();
        }
    });
    batcher.send(ledger.item(0)).unwrap();
    let answers: Vec<_> = answers.try_iter().map(|error| error.raw_os_error().unwrap()).collect();
    assert_eq!(answers, [libc::EDEADLK, libc::EDEADLK, libc::EAGAIN]);
    batcher.send(ledger.item(2)).unwrap();
    drop(batcher);
    ledger.assert_all_dropped_once();
}

#[test]
fn an_item_can_be_sent_inside_a_callback() {
    let ledger = Ledger::new(10);
    let batcher = knowing(Builder::new().max_items(1).buffers(3), |batcher, batch| {
        if batch[0].id < 9 {
            batcher.send(batch[0].ledger_item(batch[0].id + 1)).unwrap();
        }
    });
    batcher.send(ledger.item(0)).unwrap();
    batcher.flush().unwrap();
    assert_eq!(batcher.stats().unwrap().total_items, 10);
    ledger.assert_all_dropped_once();
}

#[test]
fn a_sink_that_is_not_ready_is_asked_again_after_a_wake() {
    let ledger = Ledger::new(1);
    let mut offers = 0;
    let batcher = Builder::new()
        .max_items(1)
        .build(move |_: Batch<'_, Counted>| {
            offers += 1;
            if offers == 1 { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        })
        .unwrap();
    batcher.send(ledger.item(0)).unwrap();
    assert_eq!(batcher.flush_for(Duration::ZERO).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(ledger.drops(), [0]);
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| batcher.flush());
        batcher.wake();
        flush.join().unwrap().unwrap();
    });
    ledger.assert_all_dropped_once();
}

#[test]
fn a_batcher_dropped_in_its_own_callback_is_freed_by_another_thread() {
    for is_background in [true, false] {
        let ledger = Ledger::new(1);
        let owner: Arc<Mutex<Option<Batcher<Counted>>>> = Arc::default();
        let last = owner.clone();
        // The sink goes with the batcher: then this count is 1 again.
        let alive = Arc::new(());
        let in_sink = alive.clone();
        let batcher = Builder::new()
            .background(is_background)
            .linger(Duration::from_millis(1))
            .on_delivered(move |_| drop(last.lock().unwrap().take()))
            .build(move |_: Batch<'_, Counted>| assert_eq!(Arc::strong_count(&in_sink), 2))
            .unwrap();
        let mut place = owner.lock().unwrap();
        batcher.send(ledger.item(0)).unwrap();
        *place = Some(batcher);
        drop(place);
        // The library's thread seals what has lingered, and calls back.
        wait_until(|| Arc::strong_count(&alive) == 1);
        assert!(owner.lock().unwrap().is_none());
        ledger.assert_all_dropped_once();
    }
}

#[test]
fn dropping_waits_for_what_is_in_flight() {
    let ledger = Ledger::new(6);
    let (sender, taken) = channel::<bw::batch::Taken<Counted>>();
    let worker = std::thread::spawn(move || taken.iter().map(|batch| (batch.len(), batch.answer(())).0).sum::<usize>());
    let sink = move |batch: Batch<'_, Counted>| sender.send(batch.take()).expect("the worker is there");
    let batcher = Builder::new().max_items(2).build(sink).unwrap();
    ledger.items().try_for_each(|item| batcher.send(item)).unwrap();
    drop(batcher);
    ledger.assert_all_dropped_once();
    assert_eq!(worker.join().unwrap(), 6);
}
