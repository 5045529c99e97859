//! Benchmarks of bw, by criterion: `cargo bench -p bw-bench`.
