//! Writes of 64 bytes through a buffer of 8 KiB, into a sink that is always ready: tokio's `BufWriter` and ours.

use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use tokio::io::{AsyncWrite, AsyncWriteExt};

const RECORD: [u8; 64] = [b'r'; 64];
const CAPACITY: usize = 8 << 10;

/// Takes everything and keeps nothing.
struct Ready;

impl AsyncWrite for Ready {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(black_box(data).len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// One record at a time, as `write_all(..).await` in a task does it.
fn records<W: AsyncWrite + Unpin>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut writer: W) {
    let mut cx = Context::from_waker(Waker::noop());
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let write = std::pin::pin!(writer.write_all(black_box(&RECORD)));
            assert!(matches!(write.poll(&mut cx), Poll::Ready(Ok(()))));
        });
    });
}

/// A record and a flush, as a protocol does it that answers each message.
fn messages<W: AsyncWrite + Unpin>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut writer: W) {
    let mut cx = Context::from_waker(Waker::noop());
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let mut writer = Pin::new(&mut writer);
            assert!(writer.as_mut().poll_write(&mut cx, black_box(&RECORD)).is_ready());
            assert!(writer.poll_flush(&mut cx).is_ready());
        });
    });
}

fn compare(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tokio, 64 B");
    group.throughput(Throughput::Bytes(RECORD.len() as u64));
    records(&mut group, "tokio", tokio::io::BufWriter::with_capacity(CAPACITY, Ready));
    records(&mut group, "bw", bw::tokio::BufWriter::with_capacity(CAPACITY, Ready));
    group.finish();

    let mut group = criterion.benchmark_group("tokio, 64 B and a flush");
    messages(&mut group, "tokio", tokio::io::BufWriter::with_capacity(CAPACITY, Ready));
    messages(&mut group, "bw", bw::tokio::BufWriter::with_capacity(CAPACITY, Ready));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    compare(&mut criterion);
    criterion.final_summary();
}
