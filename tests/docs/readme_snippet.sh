#!/bin/sh
# The first C example in README.md is docs/examples/readme.c, line by line: what readers copy has been compiled and run.
# Usage: readme_snippet.sh ROOT
set -eu

root=$1
snippet=$(mktemp)
trap 'rm -f "$snippet"' EXIT

awk '/^```/ && inside {exit} inside {print} /^```c$/ {inside = 1}' "$root/README.md" >"$snippet"
[ -s "$snippet" ] || { echo 'README.md has no C example' >&2; exit 1; }
diff -u "$root/docs/examples/readme.c" "$snippet"
