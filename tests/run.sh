#!/bin/sh
# Builds and tests the tree. On a fresh Debian 12, as root or with sudo, it installs first what is missing.
# The last line is `N passed, N failed, N skipped`; the exit status is 0 only if nothing failed.
set -eu

usage() {
  cat <<'TEXT'
usage: sh tests/run.sh [OPTION...]

Without options: build in build/test, run every test once.

  --sanitize   AddressSanitizer + UndefinedBehaviorSanitizer (build/asan), ThreadSanitizer (build/tsan)
  --valgrind   the api and unit tests under valgrind (build/valgrind)
  --clang      build with clang, run every test once (build/clang)
  --model      the model check of the flush buffer (build/test)
  --docs       the API reference; each warning of Doxygen is an error (build/docs)
  --install    the programs built against an installed tree (build/test)
  --faults     full and broken disks, kills, power cuts, with all the tools that this needs (build/test)
  --long       all of the above, the stress tests 10 times in a row, and the faults many times
  --help       this text

Options add up. JOBS=N sets how many compilers run at once (default: one for each core).
TEXT
}

stages=
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize) stages="$stages asan tsan" ;;
    --valgrind | --clang | --model | --docs | --install | --faults) stages="$stages ${1#--}" ;;
    --long) stages="$stages test stress faults_long asan tsan model valgrind clang docs" ;;
    --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
[ -n "$stages" ] || stages=test

cd "$(dirname "$0")/.."
mkdir -p build
jobs=${JOBS:-$(nproc)}
passed=0
failed=0
skipped=0

# Left out below: api.file_host, whose forked children a sanitizer takes for leaks of threads and memory.
# The first finding of a sanitizer ends the program with a failure.
export ASAN_OPTIONS=halt_on_error=1:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:die_after_fork=0

say() { printf '\n== %s\n' "$*"; }

# ---- What is needed ------------------------------------------------------------------------------

# PACKAGE...: installs those that are not there.
need() {
  missing=
  for package in "$@"; do
    dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  say "installing$missing"
  root=
  [ "$(id -u)" -eq 0 ] || root=sudo
  $root apt-get update -q
  # shellcheck disable=SC2086
  $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}

need_for() { # STAGE
  case $1 in
    clang) need clang ;;
    docs) need doxygen ;;
    faults*) need e2fsprogs fuse3 libnbd-bin nbdkit strace util-linux ;;
    valgrind) need valgrind ;;
  esac
}

# ---- Building and running ------------------------------------------------------------------------

# A step that broke before there were tests to count counts as one that failed.
broken() {
  printf 'FAILED: %s\n' "$*"
  failed=$((failed + 1))
}

build() { # DIRECTORY CMAKE_OPTION...
  directory=$1
  shift
  say "building $directory"
  cmake -S . -B "$directory" -DBW_WERROR=ON "$@" >"$directory.log" 2>&1 || { cat "$directory.log"; return 1; }
  cmake --build "$directory" -j "$jobs"
}

# The counts come from ctest's own report. Tests run one by one: some of them look at the clock.
check() { # DIRECTORY CTEST_OPTION...
  directory=$1
  shift
  say "testing $directory"
  report=$PWD/$directory/report.xml
  # Of the file tests, which run in many ways, a slow build runs every so-maniest.
  case $directory in
    */asan) export BW_TEST_EVERY=3 ;;
    */tsan) export BW_TEST_EVERY=6 ;;
    */valgrind) export BW_TEST_EVERY=12 ;;
    *) unset BW_TEST_EVERY ;;
  esac
  status=0
  rm -f "$report"
  $personality ctest --test-dir "$directory" --output-on-failure --no-tests=error --output-junit "$report" "$@" \
    </dev/null || status=$?
  if [ ! -s "$report" ]; then
    broken "ctest in $directory"
    return
  fi
  total=$(count_of tests)
  bad=$(count_of failures)
  left=$(($(count_of skipped) + $(count_of disabled)))
  passed=$((passed + total - bad - left))
  failed=$((failed + bad))
  skipped=$((skipped + left))
  # A program that could not even be started is no failure in the report, and no success either.
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
    broken "ctest in $directory"
  fi
}

count_of() { # ATTRIBUTE
  sed -n '/<testsuite /,/>/s/.*[[:space:]]'"$1"'="\([0-9]*\)".*/\1/p' "$report" | head -n 1
}

# ThreadSanitizer lays its shadow where a kernel with much address randomization may have put something else.
personality=
fix_addresses() {
  if setarch "$(uname -m)" -R true 2>/dev/null; then
    personality="setarch $(uname -m) -R"
  fi
}

run_stage() { # STAGE
  need_for "$1"
  case $1 in
    test)
      build build/test || { broken 'build/test'; return; }
      check build/test -LE faults
      ;;
    stress)
      build build/test || { broken 'build/test'; return; }
      check build/test -L stress --repeat until-fail:10
      ;;
    faults)
      build build/test || { broken 'build/test'; return; }
      check build/test -L faults
      ;;
    faults_long)
      build build/test || { broken 'build/test'; return; }
      export BW_LONG=1
      check build/test -L faults
      unset BW_LONG
      ;;
    model)
      build build/test || { broken 'build/test'; return; }
      check build/test -L model
      ;;
    install)
      build build/test || { broken 'build/test'; return; }
      check build/test -L install
      ;;
    asan)
      build build/asan -DBW_SANITIZE=address,undefined || { broken 'build/asan'; return; }
      check build/asan -LE 'model|faults' -E api.file_host
      ;;
    tsan)
      build build/tsan -DBW_SANITIZE=thread || { broken 'build/tsan'; return; }
      fix_addresses
      check build/tsan -LE 'model|faults' -E api.file_host
      personality=
      ;;
    valgrind)
      wrapper='valgrind -q --error-exitcode=9 --leak-check=full --fair-sched=yes'
      build build/valgrind -DBW_TEST_WRAPPER="$wrapper" || { broken 'build/valgrind'; return; }
      check build/valgrind -L 'api|unit|abi' -E api.file_host
      ;;
    clang)
      build build/clang -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ || { broken 'build/clang'; return; }
      check build/clang -LE faults
      ;;
    docs)
      say 'the API reference'
      if cmake -S . -B build/docs -DBW_BUILD_DOCS=ON -DBW_BUILD_TESTS=OFF -DBW_BUILD_EXAMPLES=OFF >build/docs.log 2>&1 &&
        cmake --build build/docs --target docs; then
        passed=$((passed + 1))
      else
        broken 'docs'
      fi
      ;;
  esac
}

need g++ make cmake pkg-config liburing-dev libcmocka-dev relacy-dev
for stage in $stages; do
  run_stage "$stage"
done

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
