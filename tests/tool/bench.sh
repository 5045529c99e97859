#!/bin/sh
# bw bench: the file is exactly the records, whole, each thread's in order.
. "$(dirname "$0")/common.sh"

# Records of 64 bytes begin with two numbers: thread and sequence.
check() { # THREADS RECORDS OPTION...
  threads=$1
  records=$2
  shift 2
  expect 0 "$bw" bench -q --threads "$threads" --record 64 --bytes $((records * 64 - 10)) "$@" out
  has_size out $((records * 64)) || fail "$(stat -c %s out) bytes instead of $((records * 64)): $*"
  od -An -v -tu4 -w64 out | awk -v threads="$threads" '
    $1 >= threads || $2 != next_of[$1]++ {print "record", NR, "is", $1, $2; bad = 1; exit}
    END {exit bad || NR != '"$records"'}' || fail "wrong records: $*"
}
check 1 1
check 3 100000
check 3 100000 --engine pwrite --buffered
check 3 100000 --lanes
check 2 100001 -b 4K -n 2 --sync
check 4 400 --commit
check 2 200 --commit --lanes

expect 0 "$bw" bench --seconds 0.2 --threads 2 --record 4K out
grep -Eq ' records of 4096 bytes from 2 threads in [0-9.]+ s: [0-9]+ records/s, [0-9.]+ [kMG]B/s \(.*, durable\)$' err ||
  fail "no result: $(cat err)"
[ $(($(stat -c %s out) % 4096)) -eq 0 ] || fail 'a record is torn'

expect 0 "$bw" bench --seconds .1 --threads 2 --lanes out
grep -Eq ' from 2 threads with lanes in ' err || fail "no word of lanes: $(cat err)"

# A signal ends it, and what is in the file is whole.
if env --default-signal=INT true 2>/dev/null; then
  rm out
  env --default-signal=INT "$bw" bench --record 64 out 2>err &
  until_true test -s out
  kill -s INT $!
  status=0
  wait $! || status=$?
  [ "$status" -eq 130 ] || fail "status $status after SIGINT: $(cat err)"
  grep -Eq '^bw: out: [1-9][0-9]* records of 64 bytes from [0-9]+ threads in ' err || fail "no result: $(cat err)"
  [ $(($(stat -c %s out) % 64)) -eq 0 ] || fail 'a record is torn'
fi

expect 0 "$bw" bench --commit --bytes 10K out
grep -Eq ' commits/s, until durable p50 .*, p99 .*, p99.9 .*, max ' err || fail "no times: $(cat err)"

# Records shorter than their numbers, and standard output.
count=$("$bw" bench -q --record 3 --bytes 3000 - | wc -c)
[ "$count" -eq 3000 ] || fail "$count bytes of standard output"
