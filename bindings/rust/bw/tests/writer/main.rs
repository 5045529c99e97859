//! `bw::Writer` over sinks that fail, panic and take little.

#[macro_use]
#[path = "../support/has.rs"]
mod has;
#[path = "../support/scripted.rs"]
mod scripted;

mod ending;
mod failing;
mod traits;
mod writing;

use bw::Writer;
use scripted::{Call, Scripted, Told};

fn writer(capacity: usize) -> (Writer<Scripted>, Told) {
    let told = Told::default();
    (Writer::with_capacity(capacity, Scripted(told.clone())), told)
}

fn write(bytes: &[u8]) -> Call {
    Call::Write(bytes.to_vec())
}
