#!/bin/sh
# The shared library's name, what it needs, and what the link promised: RELRO, immediate binding, no executable
# stack, no segment that is writable and executable, no text relocation.
# Usage: hardening.sh LIBRARY
set -eu

library=$1
dynamic=$(LC_ALL=C readelf -dW "$library")
segments=$(LC_ALL=C readelf -lW "$library")
failed=0

expect() { # TEXT PATTERN WHAT
  printf '%s\n' "$1" | grep -Eq "$2" || { echo "missing: $3" >&2; failed=1; }
}
refuse() {
  ! printf '%s\n' "$1" | grep -Eq "$2" || { echo "must not be: $3" >&2; failed=1; }
}

expect "$dynamic" 'SONAME.*\[libbw\.so\.0\]' 'SONAME libbw.so.0'
expect "$dynamic" 'FLAGS_1.*NOW' 'immediate binding'
expect "$segments" 'GNU_RELRO' 'RELRO'
expect "$segments" 'GNU_STACK.* RW +0x' 'a stack that cannot be executed'
refuse "$segments" ' RWE ' 'a segment that is writable and executable'
refuse "$dynamic" 'TEXTREL' 'relocations in the text'
refuse "$dynamic" 'RPATH|RUNPATH' 'a run path'
refuse "$dynamic" 'FLAGS_1.*NODELETE' 'a library that stays after dlclose()'

needed=$(printf '%s\n' "$dynamic" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' |
  grep -Ev '^(liburing\.so\.2|libstdc\+\+\.so\.6|libgcc_s\.so\.1|libc\.so\.6|libm\.so\.6|ld-linux.*)$' || true)
[ -z "$needed" ] || { echo "needs more than it should: $needed" >&2; failed=1; }

exit "$failed"
