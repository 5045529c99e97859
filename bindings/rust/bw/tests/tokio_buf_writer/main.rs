//! `bw::tokio::BufWriter`, next to tokio's.

#![cfg(feature = "tokio")]
#![allow(clippy::duplicate_mod)] // `cases`, on purpose

mod differential;
mod ours;
mod planned;
#[path = "../support/random.rs"]
mod random;
mod theirs;
mod traits;
