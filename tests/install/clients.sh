#!/bin/sh
# Installs into a fresh prefix, moves the tree, and builds programs against it as its users do: with pkg-config (shared
# and static), with CMake (both), and one that opens the library at run time. The installed library itself is looked at
# as the built one is.
# Usage: clients.sh CMAKE BUILD_DIR C_COMPILER [debug]
set -eu

cmake=$1
build=$2
cc=$3
built=${4:-optimized}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf -- '-- %s\n' "$*"; }

# What was installed must not know where: nothing may be left of the first place when the programs are built.
"$cmake" --install "$build" --prefix "$work/first" >"$work/install.log" || { cat "$work/install.log"; exit 1; }
prefix=$work/moved
mv "$work/first" "$prefix"
libdir=$(dirname "$(find "$prefix" -name 'libbw.so.0')")
pcdir=$(dirname "$(find "$prefix" -name bw.pc)")
if grep -rlF -e "$work/first" -e "$build" "$pcdir" "$libdir/cmake"; then
  echo 'these installed files name a directory of the build' >&2
  exit 1
fi

say 'the library, as it lies there'
sh "$here/../abi/symbols.sh" "$libdir/libbw.so.0" "$here/../../src/bw.map"
sh "$here/../abi/hardening.sh" "$libdir/libbw.so.0" "$built"

pkg() { PKG_CONFIG_PATH=$pcdir pkg-config "$@" bw; }
warnings='-std=c11 -Wall -Wextra -pedantic -Werror'

say 'pkg-config, shared'
# shellcheck disable=SC2046,SC2086
"$cc" $warnings $(pkg --cflags) "$here/client.c" -o "$work/shared" $(pkg --libs)
LD_LIBRARY_PATH=$libdir ldd "$work/shared" | grep -q "libbw.so.0 => $libdir"
LD_LIBRARY_PATH=$libdir "$work/shared"

# A drain is there if its client library was. Its program, without a server, says that it is skipped.
run_drain() { # PROGRAM
  status=0
  LD_LIBRARY_PATH=$libdir env -u PGHOST "$1" >"$work/drain.out" || status=$?
  [ "$status" -eq 77 ] || { cat "$work/drain.out"; exit 1; }
}
if [ -e "$libdir/libbw-postgres.so.0" ]; then
  say 'pkg-config, the drain to PostgreSQL'
  sh "$here/../abi/symbols.sh" "$libdir/libbw-postgres.so.0" "$here/../../src/drains/bw-postgres.map"
  sh "$here/../abi/hardening.sh" "$libdir/libbw-postgres.so.0" "$built"
  flags=$(PKG_CONFIG_PATH=$pcdir pkg-config --cflags --libs bw-postgres)
  # shellcheck disable=SC2086
  "$cc" $warnings "$here/../../docs/examples/drain_postgres.c" -o "$work/drain" $flags
  run_drain "$work/drain"
fi

say 'pkg-config --static, against libbw.a'
mkdir "$work/only-static"
cp "$libdir/libbw.a" "$work/only-static"
static_libs=$(pkg --static --libs | sed "s|-L[^ ]*|-L$work/only-static|")
# shellcheck disable=SC2046,SC2086
"$cc" $warnings $(pkg --static --cflags) "$here/client.c" -o "$work/static" $static_libs
if ldd "$work/static" | grep libbw; then exit 1; fi
"$work/static"

say 'pkg-config --static, a fully static program'
# shellcheck disable=SC2046,SC2086
"$cc" -static $warnings $(pkg --static --cflags) "$here/client.c" -o "$work/fully-static" $(pkg --static --libs)
"$work/fully-static"

say 'find_package(bw), shared and static'
"$cmake" -S "$here/cmake" -B "$work/cmake" -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$prefix" >"$work/cmake.log" &&
  "$cmake" --build "$work/cmake" >>"$work/cmake.log" || { cat "$work/cmake.log"; exit 1; }
"$work/cmake/client_shared"
"$work/cmake/client_static"
if ldd "$work/cmake/client_static" | grep libbw; then exit 1; fi
if [ -e "$libdir/libbw-postgres.so.0" ]; then run_drain "$work/cmake/client_postgres"; fi

say 'find_package(bw) where only the static library is installed'
find "$prefix" \( -name 'libbw.so*' -o -name 'bw-shared*.cmake' \) -exec mv {} "$work/only-static" \;
"$cmake" -S "$here/cmake" -B "$work/cmake-static" -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCOMPONENTS=static >"$work/cmake.log" &&
  "$cmake" --build "$work/cmake-static" >>"$work/cmake.log" || { cat "$work/cmake.log"; exit 1; }
"$work/cmake-static/client_shared"

say 'dlopen, dlclose'
# shellcheck disable=SC2046,SC2086
"$cc" $warnings $(pkg --cflags) "$here/dlopen_client.c" -o "$work/dlopen" -ldl -pthread
LD_LIBRARY_PATH=$work/only-static "$work/dlopen"
