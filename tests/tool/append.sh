#!/bin/sh
# -a adds to the end as >> does, and loses nothing of what others append meanwhile.
. "$(dirname "$0")/common.sh"

seq 1 100000 >part
for engine in auto pwrite; do
  rm -f out
  expect 0 "$bw" -a --engine "$engine" out <part
  expect 0 "$bw" -a --engine "$engine" out <part
  cat part part | cmp - out
done

rm -f out
for letter in a b c; do
  head -c 3000000 /dev/zero | tr '\0' "$letter" | "$bw" -q -a -b 64K out &
done
wait
for letter in a b c; do
  count=$(tr -cd "$letter" <out | wc -c)
  [ "$count" -eq 3000000 ] || fail "$count bytes of $letter"
done
has_size out 9000000 || fail "$(stat -c %s out) bytes"
