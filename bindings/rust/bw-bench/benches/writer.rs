//! `bw::Writer` beside `std::io::BufWriter`: pieces of 64 bytes, a buffer of 64 KiB.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::{BufWriter, Write};

use criterion::{Criterion, Throughput};

const CAPACITY: usize = 64 << 10;
const PIECE: [u8; 64] = [7; 64];
const PIECES: u64 = 1 << 14;

/// Writes the pieces one by one.
fn fill(writer: &mut impl Write) {
    for _ in 0..PIECES {
        writer.write_all(black_box(&PIECE)).expect("the sink takes everything");
    }
}

/// A sink in memory, which begins again when it is full.
struct Memory {
    bytes: Vec<u8>,
    at: usize,
}

impl Memory {
    fn new() -> Memory {
        Memory { bytes: vec![0; CAPACITY], at: 0 }
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.at + bytes.len() > self.bytes.len() {
            self.at = 0;
        }
        let end = (self.at + bytes.len()).min(self.bytes.len());
        let taken = end - self.at;
        self.bytes[self.at..end].copy_from_slice(&bytes[..taken]);
        self.at = end;
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn null() -> std::fs::File {
    OpenOptions::new().write(true).open("/dev/null").expect("every system has it")
}

fn compare(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("64 bytes into memory");
    group.throughput(Throughput::Elements(PIECES));
    let mut writer = BufWriter::with_capacity(CAPACITY, Memory::new());
    group.bench_function("std::io::BufWriter", |bencher| bencher.iter(|| fill(&mut writer)));
    let mut writer = bw::Writer::with_capacity(CAPACITY, Memory::new());
    group.bench_function("bw::Writer", |bencher| bencher.iter(|| fill(&mut writer)));
    group.finish();

    let mut group = criterion.benchmark_group("64 bytes to dev-null");
    group.throughput(Throughput::Elements(PIECES));
    let mut writer = BufWriter::with_capacity(CAPACITY, null());
    group.bench_function("std::io::BufWriter", |bencher| bencher.iter(|| fill(&mut writer)));
    let mut writer = bw::Writer::with_capacity(CAPACITY, null());
    group.bench_function("bw::Writer", |bencher| bencher.iter(|| fill(&mut writer)));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    compare(&mut criterion);
    criterion.final_summary();
}
