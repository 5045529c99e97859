//! Items of 64 bytes in batches of 1000: a callback sink beside a plain `Vec`, and a shared batcher beside a `Vec` in a
//! `Mutex` and channels. The time is that until all items have reached the callback.

use std::hint::black_box;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bw::batch::{Batch, Batcher, Builder, CallbackSink};
use criterion::{Criterion, Throughput};

type Item = [u64; 8];

const BATCH: usize = 1000;

/// What is done with a batch.
fn consume(items: &[Item]) {
    black_box(items);
}

/// Sends `items` items from `producers` threads, each its share.
fn race<S: FnMut(Item)>(producers: u64, items: u64, sender: impl Fn() -> S + Sync) {
    thread::scope(|scope| {
        for _ in 0..producers {
            scope.spawn(|| {
                let mut send = sender();
                (0..items / producers).for_each(|number| send(black_box([number; 8])));
            });
        }
    });
}

// ---- One owner ----

fn vec(items: u64) -> Duration {
    let start = Instant::now();
    let mut batch = Vec::with_capacity(BATCH);
    for number in 0..items {
        batch.push(black_box([number; 8]));
        if batch.len() == BATCH {
            consume(&batch);
            batch.clear();
        }
    }
    consume(&batch);
    start.elapsed()
}

fn callback_sink(items: u64) -> Duration {
    let mut sink = CallbackSink::new(BATCH, |batch| consume(batch.as_slice().expect("whole")));
    let start = Instant::now();
    (0..items).for_each(|number| sink.send(black_box([number; 8])).expect("the callback does not fail"));
    sink.flush().expect("the callback does not fail");
    start.elapsed()
}

// ---- Any number of producers ----

fn mutex(producers: u64, items: u64) -> Duration {
    let batch = Mutex::new(Vec::with_capacity(BATCH));
    let send = |item| {
        let mut batch = batch.lock().expect("nobody panics");
        batch.push(item);
        if batch.len() == BATCH {
            consume(&batch);
            batch.clear();
        }
    };
    let start = Instant::now();
    race(producers, items, || send);
    consume(&batch.lock().expect("nobody panics"));
    start.elapsed()
}

fn std_mpsc(producers: u64, items: u64) -> Duration {
    let (sender, receiver) = mpsc::sync_channel(2 * BATCH);
    let consumer = thread::spawn(move || {
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(first) = receiver.recv() {
            batch.push(first);
            batch.extend(receiver.try_iter().take(BATCH - 1));
            consume(&batch);
            batch.clear();
        }
    });
    let start = Instant::now();
    race(producers, items, || |item| sender.send(item).expect("the consumer is there"));
    drop(sender);
    consumer.join().expect("it does not panic");
    start.elapsed()
}

fn tokio_mpsc(producers: u64, items: u64) -> Duration {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(2 * BATCH);
    let consumer = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut batch = Vec::with_capacity(BATCH);
            while receiver.recv_many(&mut batch, BATCH).await > 0 {
                consume(&batch);
                batch.clear();
            }
        });
    });
    let start = Instant::now();
    race(producers, items, || |item| sender.blocking_send(item).expect("the consumer is there"));
    drop(sender);
    consumer.join().expect("it does not panic");
    start.elapsed()
}

fn batcher(producers: u64, items: u64, is_background: bool) -> Duration {
    let sink = |batch: Batch<'_, Item>| consume(batch.as_slice().expect("whole"));
    let batcher: Batcher<Item> =
        Builder::new().max_items(BATCH).background(is_background).build(sink).expect("there is memory");
    let start = Instant::now();
    race(producers, items, || |item| batcher.send(item).expect("the sink does not fail"));
    batcher.close().expect("the sink does not fail");
    start.elapsed()
}

fn inline(producers: u64, items: u64) -> Duration {
    batcher(producers, items, false)
}

fn background(producers: u64, items: u64) -> Duration {
    batcher(producers, items, true)
}

fn compare(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batches of one owner");
    group.throughput(Throughput::Elements(1));
    for (name, run) in [("Vec", vec as fn(u64) -> Duration), ("bw::batch::CallbackSink", callback_sink)] {
        group.bench_function(name, |bencher| bencher.iter_custom(run));
    }
    group.finish();
    for producers in [1, 2] {
        let mut group = criterion.benchmark_group(format!("batches of {producers} producers"));
        group.throughput(Throughput::Elements(1));
        let runs = [
            ("Mutex<Vec>", mutex as fn(u64, u64) -> Duration),
            ("std::sync::mpsc", std_mpsc),
            ("tokio::sync::mpsc", tokio_mpsc),
            ("bw::batch::Batcher", inline),
            ("bw::batch::Batcher, background", background),
        ];
        for (name, run) in runs {
            group.bench_function(name, |bencher| bencher.iter_custom(|items| run(producers, items)));
        }
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    compare(&mut criterion);
    criterion.final_summary();
}
