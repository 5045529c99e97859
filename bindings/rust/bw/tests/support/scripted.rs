//! A sink that does as it is told, and remembers what it was asked.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};

/// What it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Write(Vec<u8>),
    WriteVectored(Vec<Vec<u8>>),
    Flush,
    Seek(SeekFrom),
    Read(usize),
}

/// What it is to answer a write; without orders it takes everything.
#[derive(Debug)]
pub enum Order {
    Take(usize),
    Fail(io::Error),
    Panic,
}

/// What is known of a sink after it is gone, too.
#[derive(Debug, Default)]
pub struct Record {
    pub calls: Vec<Call>,
    pub taken: Vec<u8>,
    pub dropped: u32,
    pub orders: VecDeque<Order>,
}

#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Record>>);

impl Told {
    pub fn record<R>(&self, look: impl FnOnce(&mut Record) -> R) -> R {
        look(&mut self.0.lock().unwrap())
    }

    pub fn order(&self, order: Order) {
        self.record(|record| record.orders.push_back(order));
    }

    pub fn calls(&self) -> Vec<Call> {
        self.record(|record| std::mem::take(&mut record.calls))
    }

    pub fn taken(&self) -> Vec<u8> {
        self.record(|record| record.taken.clone())
    }
}

/// The sink.
#[derive(Debug)]
pub struct Scripted(pub Told);

impl Scripted {
    fn obey(&self, call: Call, bytes: &[u8]) -> io::Result<usize> {
        let order = self.0.record(|record| {
            record.calls.push(call);
            record.orders.pop_front().unwrap_or(Order::Take(bytes.len()))
        });
        match order {
            Order::Take(count) => {
                let count = count.min(bytes.len());
                self.0.record(|record| record.taken.extend_from_slice(&bytes[..count]));
                Ok(count)
            }
            Order::Fail(error) => Err(error),
            Order::Panic => panic!("ordered"),
        }
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.obey(Call::Write(bytes.to_vec()), bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        let whole = parts.concat();
        self.obey(Call::WriteVectored(parts), &whole)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.record(|record| record.calls.push(Call::Flush));
        Ok(())
    }
}

impl Seek for Scripted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.record(|record| record.calls.push(Call::Seek(to)));
        Ok(77)
    }
}

impl Read for Scripted {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.record(|record| record.calls.push(Call::Read(bytes.len())));
        Ok(0)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.0.record(|record| record.dropped += 1);
    }
}
