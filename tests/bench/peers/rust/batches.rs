//! What a Rust program would write to gather items in batches: a bounded channel, and one who takes what there is, up
//! to a batch. With the feature `tokio` also that of tokio, between tasks.
//!
//! Usage: `batches CHANNEL THREADS ITEM_BYTES ITEMS_PER_THREAD BATCH_ITEMS ROOM_ITEMS`
//! Prints the nanoseconds from the start of the threads until the sink has every item, and how many items and bytes
//! it has counted.

use std::sync::mpsc::sync_channel;
use std::sync::Barrier;
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
struct Plan {
    threads: usize,
    items: usize, // of each thread
    batch_items: usize,
    room_items: usize,
}

#[derive(Default)]
struct Tally {
    items: usize,
    bytes: usize,
}

impl Tally {
    fn take<const N: usize>(&mut self, batch: &[[u8; N]]) {
        self.items += batch.len();
        self.bytes += batch.len() * N;
    }
}

fn item_of<const N: usize>(thread: usize) -> [u8; N] {
    [b'a' + (thread % 26) as u8; N]
}

fn over_sync_channel<const N: usize>(plan: Plan) -> (Duration, Tally) {
    let (sender, receiver) = sync_channel::<[u8; N]>(plan.room_items);
    let start = Barrier::new(plan.threads + 1);
    let mut tally = Tally::default();
    let mut began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..plan.threads {
            let (sender, start) = (sender.clone(), &start);
            scope.spawn(move || {
                let item = item_of::<N>(thread);
                start.wait();
                for _ in 0..plan.items {
                    sender.send(item).expect("the receiver is there");
                }
            });
        }
        drop(sender);
        let mut batch = Vec::with_capacity(plan.batch_items);
        began = Instant::now();
        start.wait();
        while let Ok(first) = receiver.recv() {
            batch.push(first);
            batch.extend(receiver.try_iter().take(plan.batch_items - 1));
            tally.take(&batch);
            batch.clear();
        }
    });
    (began.elapsed(), tally)
}

#[cfg(feature = "tokio")]
fn over_tokio_mpsc<const N: usize>(plan: Plan) -> (Duration, Tally) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .build()
        .expect("a runtime can be had");
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<[u8; N]>(plan.room_items);
    let began = Instant::now();
    for thread in 0..plan.threads {
        let sender = sender.clone();
        runtime.spawn(async move {
            let item = item_of::<N>(thread);
            for _ in 0..plan.items {
                sender.send(item).await.expect("the receiver is there");
            }
        });
    }
    drop(sender);
    let consumer = runtime.spawn(async move {
        let mut tally = Tally::default();
        let mut batch = Vec::with_capacity(plan.batch_items);
        while receiver.recv_many(&mut batch, plan.batch_items).await > 0 {
            tally.take(&batch);
            batch.clear();
        }
        tally
    });
    let tally = runtime.block_on(consumer).expect("no task has panicked");
    (began.elapsed(), tally)
}

fn run<const N: usize>(channel: &str, plan: Plan) -> (Duration, Tally) {
    match channel {
        "sync-channel" => over_sync_channel::<N>(plan),
        #[cfg(feature = "tokio")]
        "tokio-mpsc" => over_tokio_mpsc::<N>(plan),
        _ => panic!("there is no such channel here"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, channel, numbers @ ..] = arguments.as_slice() else {
        panic!("a channel and five numbers are needed");
    };
    let numbers: Vec<usize> = numbers
        .iter()
        .map(|text| text.parse().expect("a number"))
        .collect();
    let &[threads, item_bytes, items, batch_items, room_items] = numbers.as_slice() else {
        panic!("a channel and five numbers are needed");
    };
    let plan = Plan {
        threads,
        items,
        batch_items,
        room_items,
    };
    let (took, tally) = match item_bytes {
        16 => run::<16>(channel, plan),
        64 => run::<64>(channel, plan),
        1024 => run::<1024>(channel, plan),
        _ => panic!("no batches of items of that length"),
    };
    println!("{} {} {}", took.as_nanos(), tally.items, tally.bytes);
}
