#!/bin/sh
# SIGINT, SIGTERM and SIGHUP: what was read is in the file, and the exit status tells the signal.
. "$(dirname "$0")/common.sh"

# A script starts its background jobs with SIGINT ignored.
env --default-signal=INT true 2>/dev/null || exit 77
run() {
  exec env --default-signal=INT,TERM,HUP "$bw" "$@"
}
mkfifo fifo

stop_with() { # SIGNAL STATUS
  rm -f out
  run out <fifo 2>err &
  pid=$!
  exec 3>fifo
  seq 1 30000 | tee in >&3
  until_true has_size out "$(stat -c %s in)"
  kill -s "$1" "$pid"
  expect_end "$2"
  exec 3>&-
  expect_message "^bw: out: stopped by SIG$1, all that was read is written: $(stat -c %s in) bytes"
  cmp in out
}

expect_end() { # STATUS
  status=0
  wait "$pid" || status=$?
  [ "$status" -eq "$1" ] || fail "status $status instead of $1: $(cat err)"
}

stop_with INT 130
stop_with TERM 143
stop_with HUP 129

# Input that never ends and is always there.
run /dev/null </dev/zero 2>err &
pid=$!
until_true grep -Eq '^wchar: [0-9]{7}' "/proc/$pid/io" # more than a whole buffer was written
kill -s INT "$pid"
expect_end 130
expect_message '^bw: /dev/null: stopped by SIGINT, all that was read is written: [1-9][0-9]* bytes'

# An ignored signal stays ignored.
rm -f out
(trap '' HUP && exec "$bw" out <fifo 2>err) &
pid=$!
exec 3>fifo
seq 1 30000 | tee in >&3
until_true has_size out "$(stat -c %s in)"
kill -s HUP "$pid"
printf 'more' | tee -a in >&3
exec 3>&-
expect_end 0
cmp in out

# Nobody reads: only another signal ends it, but for SIGHUP, and it says what is lost.
run - </dev/zero >fifo 2>err &
pid=$!
exec 3<fifo
head -c 1 <&3 >/dev/null # by now a whole buffer is being written, more than the pipe holds
for _ in 1 2; do
  kill -s HUP "$pid"
  sleep 0.6
done
kill -s 0 "$pid" || fail 'a second SIGHUP has ended it'
until_dead() {
  kill -s INT "$pid" 2>/dev/null || return 0
  sleep 0.6
  ! kill -s 0 "$pid" 2>/dev/null
}
until_true until_dead
expect_end 130
expect_message 'stopped at once by SIGINT: [0-9]+ bytes were written, [1-9][0-9]* may be lost$'
