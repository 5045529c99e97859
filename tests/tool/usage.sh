#!/bin/sh
# A wrong command line: one line that says why, status 2, and no file is made.
. "$(dirname "$0")/common.sh"

refuse() { # ARGUMENT...
  expect 2 "$bw" "$@" </dev/null
  [ "$(sed -n 2p err)" = "Try 'bw --help'." ] || fail "no hint for: $* ($(cat err))"
  grep -q '^bw: ' err || fail "not from bw: $* ($(cat err))"
  [ ! -e out ] || fail "a file was made by: $*"
}
refuse
refuse out out
refuse --no-such-option out
refuse -z out
refuse -b out
for size in 0 1 4095 5K 129M 1G -4096 +4096 4096x 4KB K '' 99999999999999999999 17179869185G; do
  refuse -b "$size" out
done
for count in 0 -1 1K x 65537 99999999999999999999; do
  refuse -n "$count" out
done
refuse --engine fast out
refuse --direct --buffered out
refuse --direct -a out
refuse --json -
refuse --threads 2 out
refuse bench
refuse bench --threads 0 out
refuse bench --threads x out
refuse bench --record 0 out
refuse bench --bytes 0 out
for seconds in 0 -1 x 1x nan inf . 1e10; do
  refuse bench --seconds "$seconds" out
done

expect 0 "$bw" --help >text
grep -q '^usage: bw ' text
expect 0 "$bw" bench --help >text
grep -q '^usage: bw ' text
expect 0 "$bw" --version >text
grep -Eqx 'bw [0-9]+\.[0-9]+\.[0-9]+' text
expect 0 "$bw" ./bench </dev/null
has_size bench 0 || fail 'a file named bench can be had'
expect 0 "$bw" -q -- -name </dev/null
has_size ./-name 0 || fail 'a file whose name begins with - can be had'
