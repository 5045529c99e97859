//! The same random calls through ours and through tokio's.
//!
//! One thing is known to differ and kept out of the comparison: once a sink has taken a part of the buffer and is not
//! ready for the rest, ours has room for as much again, where tokio's goes on emptying the buffer.

use std::io::{ErrorKind, IoSlice, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};
use tokio_test::task::spawn;

use crate::planned::{Planned, Step};
use crate::random::Random;

const SEEDS: u64 = 2000;
const CALLS: usize = 40;

/// What the two have in common beyond tokio's traits.
trait Buffered: AsyncWrite + AsyncSeek + AsyncRead + Unpin {
    fn with_capacity(capacity: usize, sink: Planned) -> Self;
    fn sink(&self) -> &Planned;
}

macro_rules! buffered {
    ($writer:ty) => {
        impl Buffered for $writer {
            fn with_capacity(capacity: usize, sink: Planned) -> Self {
                <$writer>::with_capacity(capacity, sink)
            }
            fn sink(&self) -> &Planned {
                self.get_ref()
            }
        }
    };
}

type Ours = bw::tokio::BufWriter<Planned>;
type Theirs = tokio::io::BufWriter<Planned>;
buffered!(Ours);
buffered!(Theirs);

#[derive(Debug)]
enum Call {
    Write(Vec<u8>),
    WriteVectored(Vec<Vec<u8>>),
    Flush,
    Shutdown,
    Seek(SeekFrom),
    Read(usize),
}

/// What one poll said; errors by their kind.
type Said = Poll<Result<u64, ErrorKind>>;

fn bytes(random: &mut Random, capacity: usize) -> Vec<u8> {
    let length = random.below(2 * capacity + 2);
    (0..length).map(|_| random.below(256) as u8).collect()
}

fn call(random: &mut Random, capacity: usize) -> Call {
    match random.below(12) {
        0..5 => Call::Write(bytes(random, capacity)),
        5..8 => {
            let count = random.below(5);
            Call::WriteVectored((0..count).map(|_| bytes(random, capacity / 2)).collect())
        }
        8 => Call::Flush,
        9 => Call::Shutdown,
        10 => Call::Seek(match random.below(3) {
            0 => SeekFrom::Start(random.below(20) as u64),
            1 => SeekFrom::Current(random.below(20) as i64 - 10),
            _ => SeekFrom::End(random.below(20) as i64 - 15),
        }),
        _ => Call::Read(random.below(6)),
    }
}

fn fail(random: &mut Random) -> Step {
    let kinds = [ErrorKind::Other, ErrorKind::Interrupted, ErrorKind::WouldBlock, ErrorKind::BrokenPipe];
    Step::Fail(kinds[random.below(kinds.len())].into())
}

/// A sink; `may_stall`: it may become not ready after it took a part.
fn sink(random: &mut Random, may_stall: bool) -> Planned {
    let vectored = random.below(2) == 1;
    let mut is_whole = true;
    let mut step = || {
        let step = match random.below(6) {
            0..2 => Step::Take(usize::MAX),
            2..4 => Step::Take(random.below(6)),
            4 => fail(random),
            _ if is_whole || may_stall => Step::Pending,
            _ => Step::Take(usize::MAX),
        };
        is_whole = match &step {
            Step::Take(most) => *most == usize::MAX,
            Step::Fail(error) => is_whole || error.kind() != ErrorKind::Interrupted,
            _ => is_whole,
        };
        step
    };
    let plan: Vec<_> = (0..CALLS).map(|_| step()).collect();
    if vectored { Planned::vectored(plan) } else { Planned::new(plan) }
}

fn poll<W: Buffered>(writer: &mut W, call: &Call, is_first: bool, cx: &mut Context<'_>) -> Said {
    let mut writer = Pin::new(writer);
    let answer = match call {
        Call::Write(data) => ready!(writer.poll_write(cx, data)).map(|count| count as u64),
        Call::WriteVectored(parts) => {
            let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            ready!(writer.poll_write_vectored(cx, &slices)).map(|count| count as u64)
        }
        Call::Flush => ready!(writer.poll_flush(cx)).map(|()| 0),
        Call::Shutdown => ready!(writer.poll_shutdown(cx)).map(|()| 0),
        Call::Seek(to) => match if is_first { writer.as_mut().start_seek(*to) } else { Ok(()) } {
            Ok(()) => ready!(writer.poll_complete(cx)),
            Err(error) => Err(error),
        },
        Call::Read(length) => {
            let mut room = vec![0; *length];
            let mut room = ReadBuf::new(&mut room);
            ready!(writer.poll_read(cx, &mut room)).map(|()| room.filled().iter().map(|&byte| u64::from(byte)).sum())
        }
    };
    Poll::Ready(answer.map_err(|error| error.kind()))
}

/// Polls until it is ready, but at most so many times, and gives what each poll said.
fn make<W: Buffered>(writer: &mut W, call: &Call, most: usize) -> Vec<Said> {
    let mut all: Vec<Said> = Vec::new();
    while all.len() < most && all.last().is_none_or(Poll::is_pending) {
        let is_first = all.is_empty();
        all.push(spawn(()).enter(|cx, _| poll(writer, call, is_first, cx)));
    }
    all
}

/// Calls that are polled until they are ready: each poll says the same, and asks the sink for the same.
#[test]
fn what_is_said_and_what_is_asked_is_the_same() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let capacity = [1, 2, 3, 5, 8, 16][random.below(6)];
        let plan_seed = random.below(usize::MAX) as u64;
        let sink = || sink(&mut Random(plan_seed), false);
        let mut ours = <Ours as Buffered>::with_capacity(capacity, sink());
        let mut theirs = <Theirs as Buffered>::with_capacity(capacity, sink());
        for index in 0..CALLS {
            let call = call(&mut random, capacity);
            let said = make(&mut ours, &call, usize::MAX);
            let context = format!("seed {seed}, capacity {capacity}, call {index}: {call:?}");
            assert_eq!(said, make(&mut theirs, &call, usize::MAX), "{context}");
            assert_eq!(ours.buffer(), theirs.buffer(), "{context}");
            assert_eq!(ours.sink().asked(), theirs.sink().asked(), "{context}");
            assert_eq!(ours.sink().written(), theirs.sink().written(), "{context}");
        }
    }
}

/// How many bytes of the call were accepted, by what its last poll said.
fn accepted(call: &Call, said: &[Said]) -> Vec<u8> {
    let data = match call {
        Call::Write(data) => data.clone(),
        Call::WriteVectored(parts) => parts.concat(),
        _ => return Vec::new(),
    };
    match said.last() {
        Some(Poll::Ready(Ok(count))) => data[..*count as usize].to_vec(),
        _ => Vec::new(),
    }
}

fn nothing_accepted_is_lost_or_repeated<W: Buffered>() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let capacity = [1, 2, 3, 5, 8, 16][random.below(6)];
        let mut writer = W::with_capacity(capacity, sink(&mut random, true));
        let mut expected = Vec::new();
        for _ in 0..CALLS {
            let call = call(&mut random, capacity);
            if matches!(call, Call::Seek(_) | Call::Read(_)) {
                continue;
            }
            let most = 1 + random.below(3);
            let said = make(&mut writer, &call, most);
            expected.extend(accepted(&call, &said));
        }
        while make(&mut writer, &Call::Flush, usize::MAX).last() != Some(&Poll::Ready(Ok(0))) {}
        assert_eq!(writer.sink().written(), expected, "seed {seed}");
    }
}

/// Calls that are given up while they are pending, on sinks that stop anywhere.
#[test]
fn ours_loses_and_repeats_nothing() {
    nothing_accepted_is_lost_or_repeated::<Ours>();
}

/// That the test above asks for no more than tokio's gives.
#[test]
fn theirs_loses_and_repeats_nothing() {
    nothing_accepted_is_lost_or_repeated::<Theirs>();
}
