//! Many producers, and a sink that does not make it easy: every item is settled exactly once.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use bw::batch::{Answer, Batch, Builder, Taken, WhenFailed, WhenFull};

use crate::ledger::{Counted, Ledger};

const THREADS: usize = 4;
const ITEMS: usize = 2_000;

/// As many numbers as one asks for, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

/// Sends from several threads; how many were accepted, and how many came back.
fn send_all(ledger: &Ledger, send: impl Fn(Counted) -> bool + Sync) -> (usize, usize) {
    let accepted = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (send, accepted) = (&send, &accepted);
            scope.spawn(move || {
                for id in (thread * ITEMS)..((thread + 1) * ITEMS) {
                    accepted.fetch_add(send(ledger.item(id)).into(), Ordering::Relaxed);
                }
            });
        }
    });
    let accepted = accepted.into_inner();
    (accepted, THREADS * ITEMS - accepted)
}

#[test]
fn whatever_the_sink_does_each_item_is_settled_once() {
    for (number, when_full) in
        [WhenFull::Wait, WhenFull::Fail, WhenFull::DropNewest, WhenFull::DropOldest].into_iter().enumerate()
    {
        for is_background in [false, true] {
            let ledger = Ledger::new(THREADS * ITEMS);
            let settled = Arc::new(AtomicUsize::new(0));
            let (on_delivered, on_failed) = (settled.clone(), settled.clone());
            let mut numbers = Numbers(number as u64);
            let batcher = Builder::new()
                .max_items(16)
                .buffers(3)
                .retries(1)
                .backoff(std::time::Duration::from_micros(50))
                .when_full(when_full)
                .when_failed(WhenFailed::GiveUp)
                .bisect(true)
                .background(is_background)
                .on_delivered(move |items| _ = on_delivered.fetch_add(items.len(), Ordering::Relaxed))
                .on_failed(move |items, _| _ = on_failed.fetch_add(items.len(), Ordering::Relaxed))
                .build(move |_: Batch<'_, Counted>| match numbers.below(6) {
                    0 => Answer::from(std::io::Error::from(ErrorKind::WouldBlock)),
                    1 => Answer::from(std::io::Error::from(ErrorKind::TimedOut)),
                    2 => Answer::refused(&ErrorKind::InvalidInput.into()),
                    _ => Answer::DELIVERED,
                })
                .unwrap();
            let (accepted, back) = send_all(&ledger, |item| batcher.send(item).is_ok());
            let _ = batcher.close(); // it tells of items given up, which on_failed has counted
            drop(batcher);
            assert_eq!((settled.load(Ordering::Relaxed), accepted + back), (accepted, THREADS * ITEMS));
            ledger.assert_all_dropped_once();
        }
    }
}

#[test]
fn batches_in_flight_are_answered_by_other_threads() {
    let ledger = Ledger::new(THREADS * ITEMS);
    let (sender, taken): (Sender<Taken<Counted>>, _) = channel();
    let taken = Arc::new(Mutex::new(taken));
    let workers: Vec<_> = (0..2)
        .map(|seed| {
            let taken = taken.clone();
            thread::spawn(move || {
                let mut numbers = Numbers(seed);
                loop {
                    let Ok(batch) = taken.lock().unwrap().recv() else { return };
                    match numbers.below(4) {
                        0 => drop(batch),
                        1 => batch.answer(Answer::refused(&ErrorKind::NotFound.into())),
                        2 => {
                            let retry = Answer::from(std::io::Error::from(ErrorKind::TimedOut));
                            let odd = |item: &Counted| if item.id % 2 == 0 { Answer::DELIVERED } else { retry };
                            let answers: Vec<Answer> = batch.iter().map(odd).collect();
                            batch.answer_each(&answers);
                        }
                        _ => batch.answer(()),
                    }
                }
            })
        })
        .collect();
    let batcher = Builder::new()
        .max_items(8)
        .buffers(6)
        .max_in_flight(3)
        .retries(2)
        .when_failed(WhenFailed::GiveUp)
        .build(move |batch: Batch<'_, Counted>| sender.send(batch.take()).expect("the workers are there"))
        .unwrap();
    let (accepted, back) = send_all(&ledger, |item| batcher.send(item).is_ok());
    assert_eq!((accepted, back), (THREADS * ITEMS, 0));
    let _ = batcher.close(); // some were given up
    let stats = batcher.stats().unwrap();
    assert_eq!(stats.total_items + stats.failed_items, (THREADS * ITEMS) as u64);
    ledger.assert_all_dropped_once();
    drop(batcher);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

#[test]
fn each_producers_items_keep_their_order() {
    let last = Mutex::new([None; THREADS]);
    let sink = move |batch: Batch<'_, (usize, usize)>| {
        let mut last = last.lock().unwrap();
        for &(thread, number) in batch.as_slice().expect("never split") {
            assert!(last[thread] < Some(number));
            last[thread] = Some(number);
        }
    };
    let batcher = Builder::new().max_items(7).build(sink).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let batcher = &batcher;
            scope.spawn(move || (0..ITEMS).try_for_each(|number| batcher.send((thread, number))).unwrap());
        }
    });
    batcher.close().unwrap();
    assert_eq!(batcher.stats().unwrap().total_items, (THREADS * ITEMS) as u64);
}
