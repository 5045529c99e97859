#!/bin/sh
# On a terminal a line shows how it goes, until the end; -q shows none.
. "$(dirname "$0")/common.sh"

command -v script >/dev/null || exit 77
mkfifo fifo
: >screen

script -qfec "'$bw' out <fifo" screen >/dev/null 2>&1 </dev/null &
exec 3>fifo
seq 1 10000 | tee in >&3
until_true grep -Eq '[0-9.]+ [kMG]?B +[0-9.]+ [kMG]?B/s +buffers +[0-9]+% full +durable +[0-9.]+ [kMG]?B' screen
exec 3>&-
wait $!
grep -aq 'bw: out: [0-9]* bytes in ' screen || fail "no summary: $(cat screen)"
cmp in out

script -qfec "'$bw' bench --seconds 0.7 out" screen >/dev/null 2>&1 </dev/null
grep -aEq 'buffers +[0-9]+% full' screen || fail "no progress of a benchmark: $(cat screen)"
grep -aq 'bw: out: [0-9]* records of ' screen || fail "no result: $(cat screen)"

script -qfec "'$bw' -q out <fifo" screen >/dev/null 2>&1 </dev/null &
exec 3>fifo
seq 1 10000 >&3
until_true has_size out "$(stat -c %s in)"
exec 3>&-
wait $!
if grep -aE 'buffers|bytes' screen; then
  fail 'not quiet'
fi
