#!/bin/sh
# On a full disk bw says how much is in the file and how much was lost, and both are true.
. "$(dirname "$0")/common.sh"

mkdir disk
mount -t tmpfs -o size=512K none disk 2>/dev/null || exit 77
trap 'umount -l "$work/disk"; rm -rf "$work"' EXIT

seq 1 200000 >in
number() { # BEFORE WHAT
  sed "s/.* \([0-9]*\) $1.*/\1/" err
}
fill() { # OPTION...
  rm -f disk/out
  expect 1 "$bw" "$@" disk/out <in
  expect_message '^bw: disk/out: No space left on device: [0-9]+ bytes were written, [0-9]+ were lost$'
  written=$(number 'bytes were written')
  lost=$(number 'were lost')
  has_size disk/out "$written" || fail "$(stat -c %s disk/out) bytes are in the file: $(cat err)"
  head -c "$written" in | cmp - disk/out
  [ "$written" -ge 500000 ] || fail "there was room for more: $(cat err)"
  [ $((written + lost)) -le "$(stat -c %s in)" ] || fail "more than was read: $(cat err)"
}
for engine in auto pwrite; do
  fill --engine "$engine"
  fill --engine "$engine" --buffered
  fill --engine "$engine" --append
  fill --engine "$engine" --sync --buffer 64K
done

rm -f disk/out
expect 1 "$bw" bench --bytes 2M disk/out
expect_message '^bw: disk/out: No space left on device: '

for option in --commit --lanes '--sync --threads 3' '--commit --lanes'; do
  rm -f disk/out
  # shellcheck disable=SC2086
  expect 1 "$bw" bench --record 1000 --bytes 2M $option disk/out
  expect_message '^bw: disk/out: No space left on device: '
  has_size disk/out "$(number 'bytes were written')" || fail "$(stat -c %s disk/out) bytes are in the file: $(cat err)"
done

# Once bw has ended, nothing of it holds the filesystem.
umount disk || fail 'the disk is busy'
trap 'rm -rf "$work"' EXIT
