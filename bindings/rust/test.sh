#!/bin/sh
# Tests the Rust crates against the installed library, which pkg-config and the loader must find (PKG_CONFIG_PATH,
# LD_LIBRARY_PATH), and, with the feature `vendored`, against the core of the repository.
set -eu
cd "$(dirname "$0")"
features='tokio futures tracing'
export CARGO_TERM_COLOR=never

if cargo fmt --version >/dev/null 2>&1; then cargo fmt --all --check; fi
if cargo clippy --version >/dev/null 2>&1; then
  cargo clippy --locked -p bw-sys -p bw -p bw-bench --all-targets --features "bw/tokio bw/futures bw/tracing" -- -D warnings
fi
RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps -p bw-sys -p bw --features "bw/tokio bw/futures bw/tracing"
cargo test --locked -p bw-sys
cargo test --locked -p bw --features "$features"
cargo test --locked -p bw-sys --features vendored
cargo test --locked -p bw --lib --tests --features "vendored $features"

# The declarations build from their own tarball, which brings the core along.
cargo package --locked -p bw-sys --features vendored --allow-dirty

# A program elsewhere, which has nothing but this folder and the library.
crate=$PWD/bw
program=$(mktemp -d)
trap 'rm -rf "$program"' EXIT
mkdir "$program/src"
cat >"$program/Cargo.toml" <<TOML
[package]
name = "program"
edition = "2024"

[dependencies]
bw = { path = "$crate" }
TOML
cat >"$program/src/main.rs" <<'RUST'
use std::io::Write;

fn main() -> std::io::Result<()> {
    let file = bw::File::create("data")?;
    let at = file.append(b"hello, world\n")?;
    file.wait(at + 13, bw::Level::Durable, None)?;
    file.close()?;
    let mut out = bw::Writer::new(std::io::stdout());
    writeln!(out, "13 bytes are durable")
}
RUST
cp Cargo.lock "$program"
cd "$program"
[ "$(cargo run --quiet)" = '13 bytes are durable' ]
[ "$(cat data)" = 'hello, world' ]
