#!/bin/sh
# System calls of a writer fail, or do less than asked, as strace says: what is passing is tried again, a failed write
# is held and can be resumed, a failed sync is final. faults_worker compares the file, byte by byte, with what was
# accepted.
# Usage: strace.sh FAULTS_WORKER ENGINE
set -eu

worker=$1
engine=$2
work=$(mktemp -d -p .)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

command -v strace >/dev/null || { echo 'skipped: no strace'; exit 77; }
strace -o /dev/null true 2>/dev/null || { echo 'skipped: nothing may be traced here'; exit 77; }
# A leak checker cannot look at a process that is traced already.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
export LSAN_OPTIONS="${LSAN_OPTIONS:-}:detect_leaks=0"

failed=0
count=0

# EXPECTED FLAGS FAULT: runs the worker with the fault, which must have come up. FAULT is what strace's inject= takes.
try() {
  expected=$1
  flags=$2
  fault=$3
  count=$((count + 1))
  rm -f "$work/out"
  status=0
  strace -f -o "$work/trace" -e "trace=${fault%%:*}" -e "inject=$fault" \
    "$worker" "$work/out" "$engine" "$flags" "$expected" >"$work/said" 2>&1 || status=$?
  if [ "$status" -eq 77 ]; then
    cat "$work/said"
    exit 77
  fi
  if [ "$status" -ne 0 ]; then
    echo "FAILED ($status): $engine, $flags, $fault: $expected"
    cat "$work/said"
    failed=$((failed + 1))
  elif ! grep -q INJECTED "$work/trace"; then
    echo "FAILED: $engine, $flags: the call that was to fail never came: $fault"
    failed=$((failed + 1))
  fi
}

# ---- What is passing -----------------------------------------------------------------------------

# What goes through the page cache may be carried without the ring; a caller who drives always uses it.
if [ "$engine" = uring ]; then
  for flags in none preallocate driven driven,buffered; do
    try exact "$flags" io_uring_enter:error=EAGAIN:when=2+3
    try exact "$flags" io_uring_enter:error=EINTR:when=1+2
    try exact "$flags" io_uring_enter:error=EBUSY:when=2+2
    try exact "$flags" io_uring_enter:error=ENOMEM:when=3+4
    try exact "$flags" io_uring_enter:retval=0:when=1+2 # it took none
  done
  # A ring that takes nothing any more is done without.
  for flags in none driven driven,buffered; do
    try exact "$flags" io_uring_enter:error=EBADF:when=4+
    try exact "$flags" io_uring_enter:error=ENOSYS:when=1+
    try exact "$flags" io_uring_enter:error=EIO:when=3
    try exact "$flags" io_uring_enter:error=ENOSPC:when=2
    try exact "$flags,short" io_uring_enter:error=EBADF:when=1+
  done
  try exact none io_uring_register:error=EINTR:when=1+
fi

# The uring engine comes by here too, where a thread that waits carries its own bytes.
for flags in unshared unshared,buffered none driven; do
  [ "$engine $flags" = 'uring driven' ] && continue
  try exact "$flags" pwrite64:error=EINTR:when=1+2
  try exact "$flags" pwrite64:error=EAGAIN:when=2+3
  try exact "$flags,short" pwrite64:error=EINTR:when=3+4
done
for flags in unshared unshared,buffered; do
  try exact "$flags" fdatasync:error=EINTR:when=1+2
  try exact "$flags" fdatasync:error=EAGAIN:when=1+2
done
if [ "$engine" = pwrite ]; then
  for flags in none buffered append driven; do
    try exact "$flags,short" pwrite64:error=EINTR:when=2+3
    try exact "$flags" fdatasync:error=EINTR:when=1+2
    try exact "$flags" fdatasync:error=EAGAIN:when=1+2
  done
fi
for error in ENOSPC EOPNOTSUPP EINTR EIO; do
  try exact preallocate "fallocate:error=$error:when=1+"
done

# ---- Writes that fail ----------------------------------------------------------------------------

for flags in unshared unshared,buffered; do
  try held=EIO "$flags" pwrite64:error=EIO:when=5
  try held=ENOSPC "$flags" pwrite64:error=ENOSPC:when=3+7
  try held=EDQUOT "$flags" pwrite64:error=EDQUOT:when=1+2
  try held=BW_EWRITEZERO "$flags" pwrite64:retval=0:when=2
done
if [ "$engine" = pwrite ]; then
  for flags in none buffered driven append; do
    try held=EIO "$flags" pwrite64:error=EIO:when=2+9
    try held=ENOSPC "$flags" pwrite64:error=ENOSPC:when=4
    try held=EIO "$flags,short" pwrite64:error=EIO:when=3
    try held=BW_EWRITEZERO "$flags" pwrite64:retval=0:when=3
  done
  # By O_DIRECT this may be about alignment, so the page cache is asked; its own EINVAL is one.
  try may=EINVAL none pwrite64:error=EINVAL:when=3
  try held=EINVAL buffered pwrite64:error=EINVAL:when=3
fi

# ---- Syncs that fail -----------------------------------------------------------------------------

for flags in unshared unshared,buffered; do
  try final=EIO "$flags" fdatasync:error=EIO:when=2
  try final=ENOSPC "$flags" fdatasync:error=ENOSPC:when=1+
  try final=EIO "$flags" fsync:error=EIO:when=1 # of the directory, for the file is new
done
if [ "$engine" = pwrite ]; then
  for flags in none buffered append driven; do
    try final=EIO "$flags" fdatasync:error=EIO:when=1
    try final=EDQUOT "$flags" fdatasync:error=EDQUOT:when=4
  done
fi

echo "$count faults, $failed failed"
[ "$failed" -eq 0 ]
