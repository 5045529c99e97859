//! `bw::tokio::BufWriter`, next to tokio's.

#![cfg(feature = "tokio")]
#![allow(clippy::duplicate_mod)] // `cases`, on purpose

#[macro_use]
#[path = "../support/has.rs"]
mod has;

mod differential;
mod ours;
mod planned;
#[path = "../support/random.rs"]
mod random;
mod theirs;
mod traits;
