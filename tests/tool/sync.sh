#!/bin/sh
# -s makes OUT durable, when the input pauses too, and fails where that cannot be.
. "$(dirname "$0")/common.sh"

seq 1 100000 >in
expect 0 "$bw" -s out <in
expect_message ', durable\)$'
cmp in out

# A file by way of standard output is durable only with -s.
"$bw" - <in >out 2>err
expect_message ', not synced\)$'
"$bw" -s - <in >out 2>err
expect_message ', durable\)$'

syncs() { # OPTION...: how many there were, with one pause in the input
  rm -f slow
  "$bw" -q --json "$@" slow <fifo >stats &
  exec 3>fifo
  printf 'hello' >&3
  until_true has_size slow 5
  printf ', world' >&3
  exec 3>&-
  wait $!
  sed 's/.*"syncs":\([0-9]*\).*/\1/' stats
}
mkfifo fifo
[ "$(syncs)" -eq 1 ] || fail 'without -s there is one sync, that of the close'
[ "$(syncs -s)" -eq 2 ] || fail 'with -s there is one sync at the pause and one at the end'

mkfifo pipe
cat pipe >piped &
status=0
"$bw" -s - <in 2>err >pipe || status=$?
wait $!
[ "$status" -eq 1 ] || fail "a pipe cannot be synced, but the status is $status"
expect_message '^bw: standard output: .* bytes were written, 0 are known to be durable$'
cmp in piped
