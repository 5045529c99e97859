//! What a Rust program would write: a `BufWriter` behind a `Mutex`, shared by threads.
//!
//! Usage: `peer PATH THREADS RECORD_BYTES RECORDS_PER_THREAD BUFFER_BYTES`
//! Prints the nanoseconds from the start of the threads until every byte is with the target.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::{Barrier, Mutex};
use std::time::Instant;

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

    let file = File::create(path).expect("the target can be opened");
    let writer = Mutex::new(BufWriter::with_capacity(buffer_bytes, file));
    let start = Barrier::new(threads + 1);

    let mut began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (writer, start) = (&writer, &start);
            scope.spawn(move || {
                let record = vec![b'a' + (thread % 26) as u8; record_bytes];
                start.wait();
                for _ in 0..records {
                    let mut writer = writer.lock().expect("no thread has panicked");
                    writer
                        .write_all(&record)
                        .expect("the target takes the bytes");
                }
            });
        }
        began = Instant::now();
        start.wait();
    });
    let mut writer = writer.into_inner().expect("no thread has panicked");
    writer.flush().expect("the target takes the bytes");
    println!("{}", began.elapsed().as_nanos());
}
