#!/bin/sh
# What fails is said in one line, and the exit status is 1.
. "$(dirname "$0")/common.sh"

seq 1 100000 >in
expect 1 "$bw" . <in
expect_message '^bw: \.: Is a directory$'
expect 1 "$bw" nowhere/out <in
expect_message '^bw: nowhere/out: No such file or directory$'
expect 1 "$bw" -q out <.
expect_message '^bw: standard input: Is a directory$'
expect 1 "$bw" in <in
expect_message 'the same file'
expect 1 "$bw" -a in <in
expect_message 'the same file'
seq 1 100000 | cmp - in
expect 1 "$bw" /dev/full <in
expect_message "No space left on device: 0 bytes were written, $(stat -c %s in) were lost$"

expect 1 "$bw" bench --bytes 1K nowhere/out
expect_message '^bw: nowhere/out: No such file or directory$'
for words in --help --version 'bench --help' 'bench -q --json --bytes 1K out'; do
  # shellcheck disable=SC2086
  expect 1 "$bw" $words >/dev/full
  expect_message '^bw: standard output: No space left on device$'
done
rm out

# A reader that goes away: no SIGPIPE, but a message.
mkfifo fifo
head -c 1 <fifo >/dev/null &
status=0
"$bw" - <in >fifo 2>err || status=$?
wait $!
[ "$status" -eq 1 ] || fail "status $status: $(cat err)"
expect_message '^bw: standard output: Broken pipe: '

# Standard descriptors that are closed: no message and no input of ours ends up in OUT.
expect 1 "$bw" -q out <&-
expect_message '^bw: standard input: Bad file descriptor$'
expect 1 "$bw" - >&- <in
expect_message '^bw: standard output: Bad file descriptor: '
status=0
"$bw" out <in 2>&- || status=$?
[ "$status" -eq 0 ] || fail "status $status without standard error"
cmp in out

# Few descriptors: it works, or says in one line what it could not have.
# Sanitizers want some of their own: to look at memory through a pipe, and what they cannot look at they take for wrong.
command -v prlimit >/dev/null || exit 0
! ldd "$bw" | grep -q 'lib[a-z]*san' || exit 0
refused=0
for most in 4 5 6 7 8 9 10 11 12 13 14 15 16; do
  status=0
  prlimit --nofile="$most" "$bw" -q out <in 2>err || status=$?
  if [ "$status" -eq 0 ]; then
    cmp in out
  elif [ "$status" -ne 127 ]; then # not even its libraries could be loaded
    [ "$status" -eq 1 ] || fail "status $status with $most descriptors: $(cat err)"
    expect_message '^bw: .*: Too many open files$'
    refused=$((refused + 1))
  fi
done
[ "$refused" -gt 0 ] && [ "$refused" -lt 13 ] || fail "$refused times out of 13 refused"
