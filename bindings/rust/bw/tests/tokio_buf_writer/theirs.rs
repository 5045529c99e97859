//! tokio's: that the cases hold.

use tokio::io::BufWriter;

#[path = "cases/mod.rs"]
mod cases;
