#!/bin/sh
# The functions and types of the shared library are those of the baseline, libbw.abi, which abidw has made of its
# debug information: only what the public headers declare.
# Usage: baseline.sh LIBRARY INCLUDE_DIR           compares
#        baseline.sh --renew LIBRARY INCLUDE_DIR   writes the baseline anew, after an addition that was meant
set -eu

baseline=$(dirname "$0")/libbw.abi
renew=no
if [ "$1" = --renew ]; then
  renew=yes
  shift
fi
library=$1
include=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for program in abidw abidiff; do
  command -v "$program" >/dev/null || { echo "skipped: no $program (abigail-tools)"; exit 77; }
done
LC_ALL=C readelf -SW "$library" | grep -q '[.]debug_info' || { echo 'skipped: no debug information'; exit 77; }
if [ "$renew" = no ] && ! LC_ALL=C readelf -h "$library" | grep -q 'Machine: .*X86-64'; then
  echo 'skipped: the baseline is that of x86-64'
  exit 77
fi

# abidiff does less with a library than abidw has done with the baseline, so both sides are made by abidw. Nothing is
# left of where the library was built.
abidw --headers-dir "$include" --drop-private-types --exported-interfaces-only --no-show-locs --no-corpus-path \
  --no-comp-dir-path --no-elf-needed --out-file "$work/raw" "$library"
sed "s|path='[^']*/src/|path='src/|" "$work/raw" >"$work/libbw.abi"

if [ "$renew" = yes ]; then
  if grep -n "='/" "$work/libbw.abi"; then
    echo 'these lines name a place of the build' >&2
    exit 1
  fi
  cp "$work/libbw.abi" "$baseline"
  exit
fi

status=0
abidiff "$baseline" "$work/libbw.abi" >"$work/said" 2>&1 || status=$?
[ "$status" -ne 0 ] || exit 0
cat "$work/said"
if [ $((status & 3)) -ne 0 ]; then
  echo 'abidiff failed'
elif abidiff --no-added-syms "$baseline" "$work/libbw.abi" >/dev/null 2>&1; then
  echo 'Functions were added. If that was meant: sh tests/abi/baseline.sh --renew LIBRARY include'
else
  echo 'The ABI has changed. Fields at the end of a struct that begins with `size` may be added, and then'
  echo '`sh tests/abi/baseline.sh --renew LIBRARY include` makes a new baseline; nothing else may (docs/abi.md).'
fi
exit 1
