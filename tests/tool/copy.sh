#!/bin/sh
# What comes in goes out, byte by byte: all sizes around the edges of blocks and buffers, each engine, files and pipes.
. "$(dirname "$0")/common.sh"

head -c 3000001 /dev/urandom >random
cat random random random >longest

copy() { # BYTES OPTION...
  head -c "$1" longest >in
  shift
  cat longest >out # is emptied
  expect 0 "$bw" "$@" out <in
  cmp in out
  rm out
  cat in | expect 0 "$bw" "$@" out
  cmp in out
}

for bytes in 0 1 4095 4096 4097 1048575 1048576 1048577 9000003; do
  copy "$bytes"
  copy "$bytes" --engine pwrite
  copy "$bytes" --buffered
  copy "$bytes" --direct
done
copy 1000001 -b 4K -n 2
copy 1000001 -b 4K -n 1
copy 9000003 --buffer=2M --buffers=3 --sync

# Input that comes in small pieces.
(for piece in 1 2 3 4 5 6 7 8 9; do head -c "${piece}013" longest; done) >pieces
(for piece in 1 2 3 4 5 6 7 8 9; do head -c "${piece}013" longest; done) | expect 0 "$bw" out
cmp pieces out

# Standard output: a pipe, and a file at its own offset.
"$bw" -q - <longest | cmp - longest
{
  printf 'head\n'
  "$bw" -q - <pieces
} >out
{
  printf 'head\n'
  cat pieces
} | cmp - out

# What was read is written when the input pauses.
mkfifo fifo
"$bw" -q slow <fifo &
exec 3>fifo
printf 'hello' >&3
until_true has_size slow 5
exec 3>&-
wait $!

# The summary tells how much; with -q there is none.
expect 0 "$bw" out <pieces
expect_message "^bw: out: $(wc -c <pieces) bytes in [0-9.]+ s, .*, durable\)$"
expect 0 "$bw" -q out <pieces
[ ! -s err ] || fail "not quiet: $(cat err)"
