#!/bin/sh
# --json prints one JSON object on standard output, and the numbers in it are right.
. "$(dirname "$0")/common.sh"

value() { # NAME: the first of this name in stats
  sed 's/^[^}]*"'"$1"'":\([0-9.]*\).*/\1/' stats
}

seq 1 100000 >in
bytes=$(wc -c <in)
expect 0 "$bw" --json --buffers 5 out <in >stats
is_json stats || fail "no JSON: $(cat stats)"
for name in accepted_bytes written_bytes durable_bytes; do
  [ "$(value "$name")" = "$bytes" ] || fail "$name is $(value "$name"), not $bytes"
done
[ "$(value buffers)" = 5 ] || fail "$(value buffers) buffers"
expect 0 "$bw" --json --engine pwrite --buffered out <in >stats
[ "$(value engine) $(value direct)" = '2 0' ] || fail "engine $(value engine), direct $(value direct)"

expect 0 "$bw" bench --json --bytes 100K --record 50 --commit out >stats
is_json stats || fail "no JSON: $(cat stats)"
grep -q '"records":2048,.*"commit":{"count":2048,.*"stats":{"engine"' stats || fail "wrong numbers: $(cat stats)"

expect 1 "$bw" --json out <in >/dev/full
grep -q '^bw: standard output: No space left on device$' err || fail "no word of it: $(cat err)"

# This pattern knows what JSON is; where a real reader of it is at hand, it must agree.
if command -v jq >/dev/null; then
  jq -e .stats.buffers stats >/dev/null
fi
