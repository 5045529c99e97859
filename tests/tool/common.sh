# What the tests of the program `bw` have in common. Each is called with the path of bw, and works in a directory of its
# own under the current one. SC2034: they use what is set here.
# shellcheck shell=sh disable=SC2034
set -eu

bw=$1
work=$(mktemp -d "$PWD/tool.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
ulimit -f 8388608 # 4 GiB: a test that goes wrong does not fill the disk

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# STATUS COMMAND...: runs it with its messages in the file err.
expect() {
  wanted=$1
  shift
  status=0
  "$@" 2>err || status=$?
  [ "$status" -eq "$wanted" ] || fail "status $status instead of $wanted: $* ($(cat err))"
}

# PATTERN: the one line in err.
expect_message() {
  if [ "$(wc -l <err)" -ne 1 ] || ! grep -Eq -e "$1" err; then
    fail "not one line like '$1': $(cat err)"
  fi
}

# COMMAND...: waits until it succeeds.
until_true() {
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || fail "in vain: $*"
    sleep 0.05
  done
}

has_size() { # FILE BYTES
  [ -e "$1" ] && [ "$(stat -c %s "$1")" -eq "$2" ]
}

# JSON as bw prints it: names and numbers, with objects in objects.
is_json() { # FILE
  number='(0|[1-9][0-9]*)(\.[0-9]+)?'
  leaf="\"[a-z0-9_]+\":$number"
  inner="\\{$leaf(,$leaf)*\\}"
  field="\"[a-z0-9_]+\":($number|$inner)"
  middle="\\{$field(,$field)*\\}"
  outer="\"[a-z0-9_]+\":($number|$inner|$middle)"
  [ "$(wc -l <"$1")" -eq 1 ] && grep -Eqx -e "\\{$outer(,$outer)*\\}" "$1"
}
