#!/bin/sh
# The library exports exactly the functions that its version script names.
# Usage: symbols.sh LIBRARY VERSION_SCRIPT
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The node itself shows as an absolute symbol (A); all else is "address type name@@node".
nm -D --defined-only "$1" | awk '$2 != "A" {print $3}' | sort >"$work/exported"
awk '/^[A-Z0-9_.]+ \{/ {node = $1} /^ +bw_[a-z_]+;/ {sub(";", ""); print $1 "@@" node}' "$2" | sort >"$work/listed"

[ -s "$work/listed" ]
diff -u "$work/listed" "$work/exported"
