//! The same random calls through `bw::Writer` and through std's `BufWriter`.
//!
//! Two things are known to differ and kept out where the sink is one of our own. std asks whether it is vectored in a
//! way that is not open to others, and takes it not to be; and where the sink takes a part of a `write_all` that is
//! longer than the buffer, std does not buffer the rest.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Cursor, ErrorKind, IoSlice, Seek, SeekFrom, Write};

use bw::Writer;

use random::Random;

#[path = "support/random.rs"]
mod random;

const SEEDS: u64 = 3000;
const CALLS: usize = 40;

/// A file in memory that takes so many bytes at each call, or fails; once the plan is at an end it takes everything.
#[derive(Default)]
struct Sink {
    plan: VecDeque<Result<usize, ErrorKind>>,
    /// The lengths offered, and 0 for a flush.
    asked: Vec<usize>,
    file: Cursor<Vec<u8>>,
}

impl Sink {
    fn step(&mut self, asked: usize) -> io::Result<usize> {
        self.asked.push(asked);
        Ok(self.plan.pop_front().unwrap_or(Ok(usize::MAX))?)
    }
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let most = self.step(data.len())?.min(data.len());
        self.file.write(&data[..most])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.step(0).map(drop)
    }
}

impl Seek for Sink {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[derive(Debug)]
enum Call {
    Write(Vec<u8>),
    WriteAll(Vec<u8>),
    WriteVectored(Vec<Vec<u8>>),
    Flush,
    Seek(SeekFrom),
}

fn bytes(random: &mut Random, limit: usize) -> Vec<u8> {
    (0..random.below(limit)).map(|_| random.below(256) as u8).collect()
}

/// `any`: also those that differ on sinks of our own.
fn call(random: &mut Random, capacity: usize, any: bool) -> Call {
    let long = 2 * capacity + 2;
    match random.below(12) {
        0..5 => Call::Write(bytes(random, long)),
        5..8 => Call::WriteAll(bytes(random, if any { long } else { capacity })),
        8..10 if any => {
            let count = random.below(5);
            Call::WriteVectored((0..count).map(|_| bytes(random, capacity)).collect())
        }
        8..11 => Call::Flush,
        _ => Call::Seek(match random.below(3) {
            0 => SeekFrom::Start(random.below(20) as u64),
            1 => SeekFrom::Current(random.below(20) as i64 - 10),
            _ => SeekFrom::End(random.below(20) as i64 - 15),
        }),
    }
}

fn plan(random: &mut Random) -> VecDeque<Result<usize, ErrorKind>> {
    let kinds = [ErrorKind::Other, ErrorKind::Interrupted, ErrorKind::WouldBlock, ErrorKind::StorageFull];
    let mut step = || match random.below(6) {
        0..2 => Ok(usize::MAX),
        2..5 => Ok(random.below(6)),
        _ => Err(kinds[random.below(kinds.len())]),
    };
    (0..CALLS).map(|_| step()).collect()
}

/// What the call said; errors by their kind.
fn make(writer: &mut (impl Write + Seek), call: &Call) -> Result<u64, ErrorKind> {
    let said = match call {
        Call::Write(data) => writer.write(data).map(|count| count as u64),
        Call::WriteAll(data) => writer.write_all(data).map(|()| 0),
        Call::WriteVectored(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            writer.write_vectored(&parts).map(|count| count as u64)
        }
        Call::Flush => writer.flush().map(|()| 0),
        Call::Seek(to) => writer.seek(*to),
    };
    said.map_err(|error| error.kind())
}

/// A file in memory, one of std's or of ours.
trait File: Write + Seek {
    fn content(&self) -> &Cursor<Vec<u8>>;
    /// What it was asked, if it remembers.
    fn asked(&self) -> &[usize];
}

impl File for Sink {
    fn content(&self) -> &Cursor<Vec<u8>> {
        &self.file
    }
    fn asked(&self) -> &[usize] {
        &self.asked
    }
}

impl File for Cursor<Vec<u8>> {
    fn content(&self) -> &Cursor<Vec<u8>> {
        self
    }
    fn asked(&self) -> &[usize] {
        &[]
    }
}

/// Makes the calls of a seed, and gives both writers as they are then.
fn compare<F: File>(seed: u64, any: bool, file: impl Fn() -> F) -> (Writer<F>, BufWriter<F>) {
    let mut random = Random(seed);
    let capacity = [1, 2, 3, 5, 8, 16][random.below(6)];
    let mut ours = Writer::with_capacity(capacity, file());
    let mut theirs = BufWriter::with_capacity(capacity, file());
    for index in 0..CALLS {
        let call = call(&mut random, capacity, any);
        let context = format!("seed {seed}, capacity {capacity}, call {index}: {call:?}");
        assert_eq!(make(&mut ours, &call), make(&mut theirs, &call), "{context}");
        assert_eq!(ours.buffer(), theirs.buffer(), "{context}");
        assert_eq!(ours.get_ref().asked(), theirs.get_ref().asked(), "{context}");
        assert_eq!(ours.get_ref().content(), theirs.get_ref().content(), "{context}");
    }
    (ours, theirs)
}

#[test]
fn what_is_said_and_what_is_asked_is_the_same() {
    for seed in 0..SEEDS {
        let plan = plan(&mut Random(!seed));
        compare(seed, false, || Sink { plan: plan.clone(), ..Sink::default() });
    }
}

#[test]
fn a_file_of_stds_gets_the_same_bytes() {
    for seed in 0..SEEDS {
        let (ours, theirs) = compare(seed, true, || Cursor::new(Vec::new()));
        let (ours, theirs) = (ours.into_inner(), theirs.into_inner());
        assert_eq!(ours.ok().unwrap(), theirs.ok().unwrap(), "seed {seed}");
    }
}

/// What the drop of each writes out.
#[test]
fn what_is_left_at_the_end_is_the_same() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let (mut ours, mut theirs) = (Cursor::new(Vec::new()), Cursor::new(Vec::new()));
        let data = bytes(&mut random, 20);
        Writer::with_capacity(8, &mut ours).write_all(&data).unwrap();
        BufWriter::with_capacity(8, &mut theirs).write_all(&data).unwrap();
        assert_eq!(ours, theirs, "seed {seed}");
    }
}
