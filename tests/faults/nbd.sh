#!/bin/sh
# A file that nbdkit serves, with its error filter, through FUSE: writes fail with EIO while a certain file exists, are
# held, and go on after a resume. The file's size is fixed, so many writes are in flight inside it.
# Usage: nbd.sh FAULTS_WORKER ENGINE
set -eu

worker=$1
engine=$2
[ "$(id -u)" -eq 0 ] || { echo 'skipped: only root may mount'; exit 77; }
for program in nbdkit nbdfuse fusermount3 unshare; do
  command -v $program >/dev/null || { echo "skipped: no $program"; exit 77; }
done
[ -c /dev/fuse ] || { echo 'skipped: no FUSE here'; exit 77; }

# In namespaces of its own: processes and mounts end with this script, however it ends.
if [ "${3:-}" != inside ]; then
  unshare --mount --propagation private --pid --fork --kill-child true 2>/dev/null ||
    { echo 'skipped: no namespaces here'; exit 77; }
  exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc sh "$0" "$worker" "$engine" inside
fi

work=$(mktemp -d -p .)
server=
finish() {
  [ -z "$server" ] || fusermount3 -u -z "$work/disk" 2>/dev/null || :
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/disk"
export FAULT_FILE="$work/fault"

# FILTER_OPTION...: a file of zeros at $work/disk/nbd.
serve() {
  nbdfuse "$work/disk" [ nbdkit --exit-with-parent --filter=error memory 4M "$@" ] 2>"$work/server" &
  server=$!
  tries=0
  until [ -e "$work/disk/nbd" ]; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ] || ! kill -0 $server 2>/dev/null; then
      cat "$work/server"
      echo 'skipped: nothing is served'
      exit 77
    fi
    sleep 0.1
  done
}

# What a ring of the worker holds the kernel lets go of a moment after it has died.
stop() {
  tries=0
  until fusermount3 -u "$work/disk"; do
    tries=$((tries + 1))
    [ $tries -le 300 ] || { echo 'FAILED: the disk stays in use'; exit 1; }
    sleep 0.1
  done
  wait $server || :
  server=
}

failed=0
count=0
try() { # EXPECTED FLAGS FILTER_OPTION...
  expected=$1
  flags=$2
  shift 2
  count=$((count + 1))
  : >"$FAULT_FILE"
  serve "$@"
  status=0
  "$worker" "$work/disk/nbd" "$engine" "$flags" "$expected" >"$work/said" 2>&1 || status=$?
  stop
  [ $status -ne 77 ] || { cat "$work/said"; exit 77; }
  if [ $status -ne 0 ]; then
    echo "FAILED ($status): $engine, $flags: $expected, $*"
    cat "$work/said"
    failed=$((failed + 1))
  fi
}

for flags in none buffered unshared driven unshared,driven,buffered; do
  try exact "$flags" error-pwrite-rate=0
  # All writes fail until the file is removed; then none does.
  try held=EIO "$flags" error-pwrite=EIO error-pwrite-rate=100% error-pwrite-file="$FAULT_FILE"
  try held=ENOSPC "$flags" error-pwrite=ENOSPC error-pwrite-rate=100% error-pwrite-file="$FAULT_FILE"
  # Some fail, all the time: each is resumed.
  try may=EIO "$flags" error-pwrite=EIO error-pwrite-rate=20%
done

echo "$count runs, $failed failed"
[ $failed -eq 0 ]
