//! What a Rust program would write to get a file onto the disk: a `BufWriter`, and `sync_data` in the end. Several
//! threads share it behind a `Mutex`; one needs none.
//!
//! Usage: `durable PATH THREADS RECORD_BYTES RECORDS_PER_THREAD BUFFER_BYTES`
//! Prints the nanoseconds from the start of the threads until every byte is durable. A file that is there is
//! overwritten, not emptied.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::sync::Mutex;
use std::time::Instant;

fn write_alone(
    mut writer: BufWriter<File>,
    record_bytes: usize,
    records: usize,
) -> BufWriter<File> {
    let record = vec![b'a'; record_bytes];
    for _ in 0..records {
        writer.write_all(&record).expect("the file takes the bytes");
    }
    writer
}

fn write_together(
    writer: BufWriter<File>,
    threads: usize,
    record_bytes: usize,
    records: usize,
) -> BufWriter<File> {
    let writer = Mutex::new(writer);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let writer = &writer;
            scope.spawn(move || {
                let record = vec![b'a' + (thread % 26) as u8; record_bytes];
                for _ in 0..records {
                    let mut writer = writer.lock().expect("no thread has panicked");
                    writer.write_all(&record).expect("the file takes the bytes");
                }
            });
        }
    });
    writer.into_inner().expect("no thread has panicked")
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, numbers @ ..] = arguments.as_slice() else {
        panic!("a path and four numbers are needed");
    };
    let numbers: Vec<usize> = numbers
        .iter()
        .map(|text| text.parse().expect("a number"))
        .collect();
    let &[threads, record_bytes, records, buffer_bytes] = numbers.as_slice() else {
        panic!("a path and four numbers are needed");
    };

    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .expect("the file can be opened");
    let writer = BufWriter::with_capacity(buffer_bytes, file);

    let began = Instant::now();
    let mut writer = if threads == 1 {
        write_alone(writer, record_bytes, records)
    } else {
        write_together(writer, threads, record_bytes, records)
    };
    writer.flush().expect("the file takes the bytes");
    writer
        .get_ref()
        .sync_data()
        .expect("the disk takes the bytes");
    println!("{}", began.elapsed().as_nanos());
}
