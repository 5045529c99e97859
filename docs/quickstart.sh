#!/bin/sh
# From nothing to a running program: builds the library, installs it into build/quickstart/prefix, compiles
# docs/examples/quickstart.c against what was installed, and runs it; then writes a file with the installed program bw.
# On a fresh Debian 12, as root or with sudo.
set -eu
cd "$(dirname "$0")/.."

missing=
for package in g++ make cmake pkg-config liburing-dev; do
  dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
  root=
  [ "$(id -u)" -eq 0 ] || root=sudo
  echo "== installing$missing"
  $root apt-get update -q
  # shellcheck disable=SC2086
  $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
fi

work=$PWD/build/quickstart
prefix=$work/prefix

echo "== building and installing into $prefix"
mkdir -p "$work"
{
  cmake -S . -B "$work/library" -DBW_BUILD_TESTS=OFF -DBW_BUILD_EXAMPLES=OFF &&
    cmake --build "$work/library" -j "$(nproc)" &&
    cmake --install "$work/library" --prefix "$prefix"
} >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }

echo '== compiling docs/examples/quickstart.c'
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name bw.pc)")
export PKG_CONFIG_PATH
libdir=$(pkg-config --variable=libdir bw)
# shellcheck disable=SC2046
cc -std=c11 -O2 -Wall -Wextra docs/examples/quickstart.c -o "$work/quickstart" $(pkg-config --cflags --libs bw) \
  -pthread "-Wl,-rpath,$libdir"

echo '== running it'
"$work/quickstart" "$work/quickstart.data"

echo '== the same from a shell: seq 1 10000000 | bw FILE'
seq 1 10000000 | "$prefix/bin/bw" "$work/quickstart.seq"
seq 1 10000000 | cmp - "$work/quickstart.seq"
echo 'verified: byte by byte'
