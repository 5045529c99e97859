#!/bin/sh
# Builds the benchmark (Release, in build/bench) and runs it. The options are bw_bench's: --help prints them.
# As root on Debian it installs first what is missing; what cannot be had leaves its rows out.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build/bench

# PACKAGE...: installs those that are not there, if it may.
want() {
  missing=
  for package in "$@"; do
    dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed:$missing" >&2
    return 0
  fi
  # shellcheck disable=SC2086
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing; } >&2 ||
    echo "cannot install:$missing" >&2
}

want g++ make cmake libspdlog-dev fio librocksdb-dev libconcurrentqueue-dev

cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DBW_BUILD_BENCH=ON \
  -DBW_BUILD_TESTS=OFF -DBW_BUILD_EXAMPLES=OFF >&2
cmake --build "$build" --target bw_bench --parallel "$(nproc)" >&2

exec "$build/tests/bench/bw_bench" --dir "$build" --json "$build/bench.json" "$@"
