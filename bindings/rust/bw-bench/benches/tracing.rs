//! `bw::tracing` beside tracing-appender, lossless: threads that log one event after the other.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;

const EVENTS: u64 = 1 << 13;

fn dispatch(writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) -> Dispatch {
    Dispatch::new(tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish())
}

/// How long it takes until the events of all threads are logged and `finish` has written them.
fn log(threads: usize, to: &Dispatch, finish: impl FnOnce()) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                tracing::dispatcher::with_default(to, || {
                    (0..EVENTS).for_each(|number| tracing::info!(number, "an event"));
                });
            });
        }
    });
    finish();
    start.elapsed()
}

fn appender(threads: usize) -> Duration {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo made it");
    let file = std::fs::File::create(directory.path().join("log")).expect("the directory is writable");
    let builder = tracing_appender::non_blocking::NonBlockingBuilder::default().lossy(false);
    let (writer, guard) = builder.finish(file);
    log(threads, &dispatch(writer), || drop(guard))
}

fn one_log(threads: usize) -> Duration {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo made it");
    let writer = bw::tracing::Log::open(directory.path().join("log")).expect("the directory is writable");
    let file = writer.file().clone();
    log(threads, &dispatch(writer), || file.flush().expect("room"))
}

fn lanes(threads: usize) -> Duration {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("cargo made it");
    let writer = bw::tracing::Lanes::open(directory.path().join("log")).expect("the directory is writable");
    log(threads, &dispatch(writer.clone()), || writer.flush().expect("room"))
}

fn compare(criterion: &mut Criterion) {
    for threads in [1, 2] {
        let mut group = criterion.benchmark_group(format!("events of {threads} threads"));
        group.sample_size(20).throughput(Throughput::Elements(EVENTS * threads as u64));
        for (name, run) in [
            ("tracing-appender", appender as fn(usize) -> Duration),
            ("bw::tracing::Log", one_log),
            ("bw::tracing::Lanes", lanes),
        ] {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| run(threads)).sum());
            });
        }
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    compare(&mut criterion);
    criterion.final_summary();
}
