//! `bw::File` and its lanes beside a `BufWriter` in a `Mutex`: threads that write records of 64 bytes to /dev/null, so
//! that nobody waits for a disk.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};

const CAPACITY: usize = 1 << 20;
const RECORD: [u8; 64] = [7; 64];
const RECORDS: u64 = 1 << 17;

/// How long it takes until `threads` have each called what `begin` gives them so often.
fn race<W: FnMut()>(threads: usize, begin: impl Fn() -> W + Sync) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut write = begin();
                (0..RECORDS).for_each(|_| write());
            });
        }
    });
    start.elapsed()
}

fn compare(criterion: &mut Criterion) {
    let null = OpenOptions::new().write(true).open("/dev/null").expect("every system has it");
    let mutex = Mutex::new(BufWriter::with_capacity(CAPACITY, null));
    let file = bw::File::options().capacity(CAPACITY).background(true).open("/dev/null").expect("every system has it");

    let with_mutex = || || mutex.lock().expect("nobody panics").write_all(&RECORD).expect("room");
    let with_file = || {
        || {
            file.append(&RECORD).expect("room");
        }
    };
    let with_lane = || {
        let mut lane = file.lane_with_capacity(64 << 10).expect("memory");
        move || lane.write_all(&RECORD).expect("room")
    };
    for threads in [1, 2] {
        let mut group = criterion.benchmark_group(format!("64-byte records of {threads} threads"));
        group.sample_size(20).throughput(Throughput::Elements(RECORDS * threads as u64));
        group.bench_function("Mutex<BufWriter>", |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| race(threads, with_mutex)).sum());
        });
        group.bench_function("bw::File", |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| race(threads, with_file)).sum());
        });
        group.bench_function("bw::Lane", |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| race(threads, with_lane)).sum());
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    compare(&mut criterion);
    criterion.final_summary();
}
