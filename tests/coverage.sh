#!/bin/sh
# What of src/ the tests have run: a table of lines and branches for each file, and what is missing.
#
# usage: sh tests/coverage.sh DIRECTORY
#
# DIRECTORY: a build with clang and -DBW_COVERAGE=ON, whose tests ran with LLVM_PROFILE_FILE=DIRECTORY/prof/%m%c.profraw
# (%c: the counters lie in that file, so children that _exit() or are killed leave theirs too).
#
# Counted is the source as clang reads it, conditions one by one: there are no branches that only an exception takes.
# A branch has two ends, each counts. Code of a template counts as run if one of its instances ran it, and conditions
# that are constant in each instance do not count. The programs in src/tool count as the library does.
#
# tests/coverage_gaps.txt names what no test can run, and why. The figures do not leave it out; it only tells gaps that
# are known from those that are not, which DIRECTORY/missed.txt lists. Fails below 95 % of lines or 90 % of branches,
# and if a gap is named that is none.
set -eu

directory=$1
root=$(cd "$(dirname "$0")/.." && pwd)
least_lines=95
least_branches=90

# llvm-cov warns of inline functions that one of the programs has no copy of; another has.
llvm-profdata merge -sparse "$directory"/prof/*.profraw -o "$directory/all.profdata"
objects=
for program in "$directory"/src/tool/bw "$directory"/tests/unit_*_test; do objects="$objects -object $program"; done
# shellcheck disable=SC2086
llvm-cov show -instr-profile "$directory/all.profdata" "$directory/libbw.so" $objects -show-branches=count \
  -show-instantiations=false -use-color=false "$root/src" >"$directory/show.txt" 2>"$directory/show.log" ||
  { cat "$directory/show.log"; exit 1; }

awk -v source="$root/src/" -v missed="$directory/missed.txt" -v least_lines=$least_lines \
  -v least_branches=$least_branches '
  function trim(text) {
    gsub(/^[ \t]+|[ \t]+$/, "", text)
    return text
  }
  # The gaps: "FILE: TEXT OF THE LINE" below a comment that says why. "?" before it: a race decides, so it may be none.
  FNR == NR {
    if (/^#/ || /^$/) next
    key = trim($0)
    is_race = sub(/^\? /, "", key)
    ++named[key]
    if (is_race) may_be_none[key] = 1
    next
  }
  # Of a line all is known once the next one begins.
  function end_line(    spot, misses, place, ends) {
    if (line == 0) return
    misses = 0
    if (count != "" && text !~ /^#/) {
      ++lines[file]
      if (count == "0") { ++missed_lines[file]; ++misses }
    }
    what = misses ? "not run" : ""
    for (spot = 1; spot <= spots; ++spot) {
      place = spot_at[spot]
      branches[file] += 2
      ends = !taken[place, "True"] + !taken[place, "False"]
      missed_branches[file] += ends
      misses += ends
      if (ends && count != "0")
        what = what (what ? ", " : "") "column " substr(place, index(place, ":") + 1) " never " \
          (ends == 2 ? "looked at" : taken[place, "True"] ? "false" : "true")
    }
    split("", taken)
    split("", is_known)
    spots = 0
    if (!misses) return
    all_missed += misses
    if (named[file ": " text] > used[file ": " text]) {
      ++used[file ": " text]
      all_named += misses
    } else {
      printf "%s:%d: %s (%s)\n", file, line, text, what >missed
    }
  }
  substr($0, 1, length(source)) == source && /:$/ {
    end_line()
    line = 0
    file = substr($0, length(source) + 1, length($0) - length(source) - 1)
    files[++file_count] = file
    next
  }
  /^ *[0-9]+\|/ {
    end_line()
    line = $0 + 0
    rest = substr($0, index($0, "|") + 1)
    count = trim(substr(rest, 1, index(rest, "|") - 1))
    text = trim(substr(rest, index(rest, "|") + 1))
    next
  }
  /^ *\|  Branch \(.*True: / {
    place = $3
    gsub(/[():]+$|^\(/, "", place)
    if (!is_known[place]++) spot_at[++spots] = place
    split($0, ends, /True: |, False: |\]/)
    if (ends[2] != "0") taken[place, "True"] = 1
    if (ends[3] != "0") taken[place, "False"] = 1
  }
  function percent(missed_count, all) { return all ? 100 * (all - missed_count) / all : 100 }
  function row(name, l, ml, b, mb) {
    printf "%-24s %7d %7d %8.2f %% %9d %7d %8.2f %%\n", name, l, ml, percent(ml, l), b, mb, percent(mb, b)
  }
  END {
    end_line()
    if (!file_count) { print "no coverage was recorded"; exit 1 }
    for (i = 2; i <= file_count; ++i)
      for (j = i; j > 1 && files[j - 1] > files[j]; --j) { t = files[j]; files[j] = files[j - 1]; files[j - 1] = t }
    printf "%-24s %7s %7s %10s %9s %7s %10s\n", "src/", "lines", "missed", "", "branches", "missed", ""
    for (i = 1; i <= file_count; ++i) {
      f = files[i]
      row(f, lines[f], missed_lines[f], branches[f], missed_branches[f])
      l += lines[f]; ml += missed_lines[f]; b += branches[f]; mb += missed_branches[f]
    }
    row("all", l, ml, b, mb)
    printf "of %d lines and branches missed %d are named gaps; the others are in %s\n", all_missed, all_named, missed
    for (key in named) {
      if (used[key] == named[key] || may_be_none[key]) continue
      printf "FAILED: this is no gap, or not so often as it is named: %s\n", key
      failed = 1
    }
    if (percent(ml, l) < least_lines) { printf "FAILED: less than %d %% of lines\n", least_lines; failed = 1 }
    if (percent(mb, b) < least_branches) { printf "FAILED: less than %d %% of branches\n", least_branches; failed = 1 }
    exit failed
  }' "$root/tests/coverage_gaps.txt" "$directory/show.txt"
