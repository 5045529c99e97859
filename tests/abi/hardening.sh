#!/bin/sh
# The shared library's name, what it needs, and what compiling and linking promised: RELRO, immediate binding, no
# executable stack, no segment that is writable and executable, code apart from data, no text relocation, checked calls
# of the C library, and functions that begin with a landing place for indirect calls.
# Usage: hardening.sh LIBRARY [debug]     debug: it was built without optimization, and so without checked calls
set -eu

library=$1
built=${2:-optimized}
dynamic=$(LC_ALL=C readelf -dW "$library")
segments=$(LC_ALL=C readelf -lW "$library")
failed=0

expect() { # TEXT PATTERN WHAT
  printf '%s\n' "$1" | grep -Eq "$2" || { echo "missing: $3" >&2; failed=1; }
}
refuse() {
  ! printf '%s\n' "$1" | grep -Eq "$2" || { echo "must not be: $3" >&2; failed=1; }
}

name=$(basename "$library" | sed 's/[.]so.*//')
# What a drain needs besides.
case $name in
  libbw-postgres) client='libbw\.so\.0|libpq\.so\.5' ;;
  *) client='liburing\.so\.2' ;;
esac

expect "$dynamic" "SONAME.*\[$name\.so\.0\]" "SONAME $name.so.0"
expect "$dynamic" 'FLAGS_1.*NOW' 'immediate binding'
expect "$segments" 'GNU_RELRO' 'RELRO'
refuse "$segments" '\.got\.plt' 'a table that stays writable: RELRO is not full'
expect "$segments" 'LOAD .* R   0x' 'a segment that can only be read: code is not apart from data'
expect "$segments" 'GNU_STACK.* RW +0x' 'a stack that cannot be executed'
refuse "$segments" ' RWE ' 'a segment that is writable and executable'
refuse "$dynamic" 'TEXTREL' 'relocations in the text'
refuse "$dynamic" 'RPATH|RUNPATH' 'a run path'
refuse "$dynamic" 'FLAGS_1.*NODELETE' 'a library that stays after dlclose()'

LC_ALL=C readelf -nW "$library" | grep -q 'Build ID' || { echo 'missing: a build ID' >&2; failed=1; }
exported=$(nm -D --defined-only "$library" | awk '$2 == "T" { print $3 }' | sed 's/@.*//')
foreign=$(printf '%s\n' "$exported" | grep -v '^bw_' || true)
[ -z "$foreign" ] || { echo "must not be exported: $foreign" >&2; failed=1; }
# A drain makes no call whose length only the running program knows, so it has nothing to check.
if [ "$built" != debug ] && [ "$name" = libbw ]; then
  nm -D --undefined-only "$library" | grep -q '_chk@' || { echo 'missing: checked calls (_FORTIFY_SOURCE)' >&2; failed=1; }
fi
# The note that asks for IBT and SHSTK the linker leaves out where the C runtime's own objects lack it, as Debian 12's.
if LC_ALL=C readelf -h "$library" | grep -q 'Machine: .*X86-64'; then
  landing=$(objdump -d --no-show-raw-insn "$library" |
    awk '/^[0-9a-f]+ <bw_.*>:$/ { getline; if ($2 == "endbr64") ++count } END { print count + 0 }')
  [ "$landing" -eq "$(printf '%s\n' "$exported" | wc -l)" ] || { echo 'missing: endbr64 (-fcf-protection)' >&2; failed=1; }
fi

needed=$(printf '%s\n' "$dynamic" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' |
  grep -Ev "^($client|libstdc\+\+\.so\.6|libgcc_s\.so\.1|libc\.so\.6|libm\.so\.6|ld-linux.*)\$" || true)
[ -z "$needed" ] || { echo "needs more than it should: $needed" >&2; failed=1; }

exit "$failed"
