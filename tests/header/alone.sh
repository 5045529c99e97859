#!/bin/sh
# Each public header compiles alone, as C99 and as C++11, with every compiler that is here and no warning.
# Usage: alone.sh INCLUDE_DIR
set -eu

include=$1
tried=0

compile() { # COMPILER LANGUAGE STANDARD
  command -v "$1" >/dev/null || return 0
  for header in "$include"/bw/*.h; do
    name=bw/${header##*/}
    # Twice, for the include guard; the init macros must do without a cast in both languages.
    {
      printf '#include <%s>\n#include <%s>\n' "$name" "$name"
      if [ "$name" = bw/bw.h ]; then
        printf 'bw_options_t options = BW_OPTIONS_INIT;\n'
        printf 'bw_sink_t sink = BW_SINK_INIT;\n'
        printf 'bw_stats_t stats = BW_STATS_INIT;\n'
      elif [ "$name" = bw/batch.h ]; then
        printf 'bw_batch_options_t options = BW_BATCH_OPTIONS_INIT;\n'
        printf 'bw_batch_sink_t sink = BW_BATCH_SINK_INIT;\n'
        printf 'bw_batch_stats_t stats = BW_BATCH_STATS_INIT;\n'
      elif [ "$name" = bw/postgres.h ]; then
        printf 'bw_postgres_options_t options = BW_POSTGRES_OPTIONS_INIT;\n'
      else
        printf 'extern int not_empty;\n'
      fi
    } | "$1" -x "$2" -std="$3" -Wall -Wextra -pedantic -Werror -I"$include" -fsyntax-only - || {
      echo "$name fails with $1 -std=$3" >&2
      exit 1
    }
    tried=$((tried + 1))
  done
}

compile gcc c c99
compile g++ c++ c++11
compile clang c c99
compile clang++ c++ c++11

[ "$tried" -gt 0 ] || exit 77
