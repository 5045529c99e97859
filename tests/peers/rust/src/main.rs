//! `std::io::BufWriter` over a file, `tokio::io::BufWriter` over a file of tokio, and bw's own: see ../../report.h.
//! A `write` that gave an error has accepted nothing.

use std::io::{self, Write};
use std::{env, fs};

use tokio::io::AsyncWriteExt;

const RECORD: usize = 1000;
const TRIES: u32 = 3;

struct Report {
    ballast: String,
    records: Vec<u8>,
    accepted: usize,
    refused: u32,
    first: String,
    flushes: [String; 2],
    closed: String,
    missing: i64,
}

impl Report {
    /// What a flush or the close has said; the first error makes room.
    fn said(&mut self, place: &str, result: io::Result<()>) -> String {
        let Err(error) = result else { return "ok".into() };
        if self.first.is_empty() {
            self.first = place.into();
            let _ = fs::remove_file(&self.ballast);
        }
        if error.kind() == io::ErrorKind::StorageFull { "ENOSPC".into() } else { "failed".into() }
    }

    fn refused(&mut self, error: io::Error) {
        self.refused += 1;
        self.said(&format!("record_{}", self.accepted / RECORD + 1), Err(error));
    }

    fn print(&self) {
        println!(
            "accepted={} first={} refused={} flushes={},{} close={} missing={}",
            self.accepted,
            if self.first.is_empty() { "never" } else { &self.first },
            self.refused,
            self.flushes[0],
            self.flushes[1],
            self.closed,
            self.missing
        );
    }
}

/// The protocol, once for calls that block and once for calls that are awaited.
macro_rules! run {
    ($report:ident, $writer:ident, $go_on:expr $(, $await:tt)?) => {{
        let (mut end, mut tries) = (RECORD, 0);
        while tries < TRIES && $report.accepted < $report.records.len() {
            match $writer.write(&$report.records[$report.accepted..end])$(.$await)? {
                Ok(taken) => $report.accepted += taken,
                Err(error) => {
                    $report.refused(error);
                    $go_on;
                    tries += 1;
                }
            }
            if $report.accepted == end {
                end += RECORD;
                tries = 0;
            }
        }
        for i in 0..2 {
            let flushed = $writer.flush()$(.$await)?;
            let failed = flushed.is_err();
            $report.flushes[i] = $report.said(&format!("flush_{}", i + 1), flushed);
            if failed {
                $go_on;
            }
        }
    }};
}

fn std_buf_writer(report: &mut Report, out: &str) -> io::Result<()> {
    let mut writer = io::BufWriter::new(fs::File::create(out)?);
    run!(report, writer, ());
    report.missing = writer.buffer().len() as i64;
    report.closed = report.said("close", writer.into_inner().map(drop).map_err(|error| error.into_error()));
    Ok(())
}

fn bw_writer(report: &mut Report, out: &str) -> io::Result<()> {
    let mut writer = bw::Writer::new(fs::File::create(out)?);
    run!(report, writer, ());
    report.missing = writer.buffer().len() as i64;
    let closed = writer.into_inner().map(drop).map_err(io::Error::from);
    report.closed = report.said("close", closed);
    Ok(())
}

fn bw_file(report: &mut Report, out: &str) -> io::Result<()> {
    let file = bw::File::options().create(true).capacity(65536).open(out)?;
    let mut writer = &file;
    run!(report, writer, file.resume()?);
    report.closed = report.said("close", file.close());
    report.missing = file.unwritten(|_| ())? as i64;
    Ok(())
}

async fn tokio_buf_writer(report: &mut Report, out: &str) -> io::Result<()> {
    let mut writer = tokio::io::BufWriter::new(tokio::fs::File::create(out).await?);
    run!(report, writer, (), await);
    let closed = writer.shutdown().await;
    report.missing = writer.buffer().len() as i64;
    report.closed = report.said("close", closed);
    Ok(())
}

fn main() -> io::Result<()> {
    let words: Vec<String> = env::args().collect();
    let mut report = Report {
        ballast: words[4].clone(),
        records: fs::read(&words[2])?,
        accepted: 0,
        refused: 0,
        first: String::new(),
        flushes: Default::default(),
        closed: String::new(),
        missing: -1,
    };
    let out = &words[3];
    match words[1].as_str() {
        "std" => std_buf_writer(&mut report, out)?,
        "bw::Writer" => bw_writer(&mut report, out)?,
        "bw::File" => bw_file(&mut report, out)?,
        "tokio" => {
            tokio::runtime::Builder::new_current_thread().build()?.block_on(tokio_buf_writer(&mut report, out))?
        }
        other => panic!("no peer {other}"),
    }
    report.print();
    Ok(())
}
