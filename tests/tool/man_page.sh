#!/bin/sh
# The man page is well-formed, and knows the same options as --help. Usage: man_page.sh BW PAGE
page=$2
. "$(dirname "$0")/common.sh"

"$bw" --help | grep -Eo -e '--[a-z]+' | sort -u >told
sed 's/\\-/-/g' "$page" | grep -Eo -e '--[a-z]+' | sort -u >described
diff told described || fail 'the options of --help and of the man page differ'

if command -v mandoc >/dev/null; then
  mandoc -T lint -W warning "$page"
elif command -v groff >/dev/null; then
  groff -man -ww -z "$page" 2>warnings
  [ ! -s warnings ] || fail "$(cat warnings)"
else
  exit 77
fi
