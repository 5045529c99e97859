#!/bin/sh
# Builds and tests the tree. On a fresh Debian 12, as root or with sudo, it installs first what is missing.
# The last line is `N passed, N failed, N skipped`; the exit status is 0 only if nothing failed.
set -eu

usage() {
  cat <<'TEXT'
usage: sh tests/run.sh [OPTION...]

Without options: build in build/test, run every test once, those of the bindings too.

  --sanitize   AddressSanitizer + UndefinedBehaviorSanitizer (build/asan), ThreadSanitizer (build/tsan)
  --valgrind   the api and unit tests under valgrind (build/valgrind)
  --clang      build with clang, run every test once (build/clang)
  --model      the model check of the flush buffer (build/test)
  --docs       the API reference; each warning of Doxygen is an error (build/docs)
  --install    the programs built against an installed tree, and the ABI against its baseline (build/test)
  --bindings   Rust (1.85 or later) and Go (1.24 or later), against the library installed into build/bindings
  --faults     full and broken disks, kills, power cuts, with all the tools that this needs (build/test)
  --drains     drains against real servers, which the tests start: PostgreSQL (build/test)
  --soak       everything at random for ten minutes, with memory and descriptors flat (build/test)
  --coverage   lines and branches of src/ that the tests run, faults too; fails below 95 % and 90 % (build/coverage)
  --fuzz       libFuzzer makes up inputs, 30 s for each target, or BW_FUZZ_SECONDS (build/fuzz)
  --long       all of the above: stress tests 10 times in a row, all sweeps, faults many times, 10 minutes of each fuzzer
  --help       this text

Options add up. JOBS=N sets how many compilers run at once (default: one for each core).
TEXT
}

stages=
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize) stages="$stages asan tsan" ;;
    --valgrind | --clang | --model | --docs | --install | --faults | --drains | --soak | --coverage | --fuzz)
      stages="$stages ${1#--}"
      ;;
    --bindings) stages="$stages rust go" ;;
    --long)
      stages="$stages test rust go stress soak faults_long drains_long sweep_long asan tsan model valgrind clang"
      stages="$stages coverage fuzz_long docs"
      ;;
    --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
[ -n "$stages" ] || stages='test rust go'

cd "$(dirname "$0")/.."
mkdir -p build
jobs=${JOBS:-$(nproc)}
passed=0
failed=0
skipped=0
only=

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
    coverage) need clang libclang-rt-14-dev llvm e2fsprogs fuse3 libnbd-bin nbdkit strace util-linux ;;
    docs) need doxygen ;;
    drains*) need libpq-dev postgresql ;;
    fuzz*) need clang libclang-rt-14-dev ;;
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

# A program that could not even be started is no failure in the counts, and no success either.
tally() { # PASSED FAILED SKIPPED STATUS WHAT
  passed=$((passed + $1))
  failed=$((failed + $2))
  skipped=$((skipped + $3))
  if [ "$4" -ne 0 ] && [ "$2" -eq 0 ]; then
    broken "$5"
  fi
}

# All there is, or what `only` names.
build() { # DIRECTORY CMAKE_OPTION...
  directory=$1
  shift
  say "building $directory"
  cmake -S . -B "$directory" -DBW_WERROR=ON "$@" >"$directory.log" 2>&1 || { cat "$directory.log"; return 1; }
  cmake --build "$directory" -j "$jobs" ${only:+--target "$only"}
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
  tally $((total - bad - left)) "$bad" "$left" "$status" "ctest in $directory"
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

# ---- Bindings ------------------------------------------------------------------------------------

# A language whose tools are missing or too old: its tests count as skipped.
skip_binding() { # LANGUAGE WHY TESTS
  say "bindings/$1: $2, $3 tests skipped"
  skipped=$((skipped + $3))
}

is_at_least() { # WANTED FOUND
  [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# Runs bindings/LANGUAGE/test.sh with the library where pkg-config and the loader find it. What was counted is what
# `count_LANGUAGE` finds in its output.
check_binding() { # LANGUAGE
  build build/test || { broken 'build/test'; return; }
  prefix=$PWD/build/bindings
  cmake --install build/test --prefix "$prefix" >"$prefix.log" || { cat "$prefix.log"; broken 'installing'; return; }
  say "testing bindings/$1"
  log=$PWD/build/$1.log
  status=0
  PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name bw.pc)") LD_LIBRARY_PATH=$(dirname "$(find "$prefix" -name libbw.so.0)") \
    sh "bindings/$1/test.sh" >"$log" 2>&1 </dev/null || status=$?
  good=$("count_$1" passed)
  bad=$("count_$1" failed)
  left=$("count_$1" skipped)
  echo "bindings/$1: $good passed, $bad failed, $left skipped"
  [ "$status" -eq 0 ] || tail -n 100 "$log"
  tally "$good" "$bad" "$left" "$status" "bindings/$1/test.sh"
}

count_rust() { # passed|failed|skipped
  word=$(echo "$1" | sed s/skipped/ignored/)
  sed -n "s/^test result: .*[ .]\([0-9]*\) $word;.*/\1/p" "$log" | awk '{ sum += $1 } END { print sum + 0 }'
}

count_go() {
  word=$(echo "$1" | sed 's/passed/PASS/; s/failed/FAIL/; s/skipped/SKIP/')
  grep -c "^--- $word: " "$log" || :
}

# ---- Fuzzing -------------------------------------------------------------------------------------

# Starts from the committed inputs; what it finds beside them stays in build/fuzz. The limits only end a hang.
fuzz_one() ( # TARGET SECONDS
  cd build/fuzz
  mkdir -p "inputs/$1"
  cp ../../tests/fuzz/corpus/"$1"/* "inputs/$1"
  "tests/fuzz/fuzz_$1" -max_total_time="$2" -max_len=500 -len_control=0 -timeout=120 -rss_limit_mb=4096 \
    -artifact_prefix="$1-" "inputs/$1" >"$1.log" 2>&1 </dev/null
)

# Two at a time where there are two cores. Each counts as one test.
check_fuzz() { # SECONDS
  say "fuzzing, $1 s each"
  if [ "$jobs" -gt 1 ]; then
    fuzz_both options stream "$1"
    fuzz_both batch file "$1"
  else
    for target in options stream batch file; do
      status=0
      fuzz_one "$target" "$1" || status=$?
      tell_fuzz "$target" "$status"
    done
  fi
}

fuzz_both() { # TARGET TARGET SECONDS
  fuzz_one "$1" "$3" &
  first=$!
  fuzz_one "$2" "$3" &
  status=0
  wait "$first" || status=$?
  tell_fuzz "$1" "$status"
  status=0
  wait $! || status=$?
  tell_fuzz "$2" "$status"
}

tell_fuzz() { # TARGET STATUS
  if [ "$2" -eq 0 ]; then
    passed=$((passed + 1))
    echo "fuzz_$1: $(sed -n 's/^Done \(.*\)/\1/p' "build/fuzz/$1.log")"
  else
    tail -n 60 "build/fuzz/$1.log"
    broken "fuzz_$1; again: (cd build/fuzz && tests/fuzz/fuzz_$1 FILE), its FILE is named above"
  fi
}

run_stage() { # STAGE
  need_for "$1"
  case $1 in
    test)
      build build/test || { broken 'build/test'; return; }
      check build/test -LE 'faults|drains'
      ;;
    stress)
      build build/test || { broken 'build/test'; return; }
      check build/test -L stress --repeat until-fail:10
      ;;
    soak)
      build build/test || { broken 'build/test'; return; }
      check build/test -C soak -L soak
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
    drains)
      build build/test || { broken 'build/test'; return; }
      check build/test -L drains
      ;;
    drains_long)
      build build/test || { broken 'build/test'; return; }
      export BW_LONG=1
      check build/test -L drains
      build build/asan -DBW_SANITIZE=address,undefined || { broken 'build/asan'; return; }
      check build/asan -L drains
      build build/tsan -DBW_SANITIZE=thread || { broken 'build/tsan'; return; }
      fix_addresses
      check build/tsan -L drains
      personality=
      unset BW_LONG
      ;;
    sweep_long)
      build build/test || { broken 'build/test'; return; }
      export BW_LONG=1
      check build/test -L sweep -j 2
      unset BW_LONG
      ;;
    model)
      build build/test || { broken 'build/test'; return; }
      check build/test -L model
      ;;
    install)
      build build/test || { broken 'build/test'; return; }
      check build/test -L 'install|abi'
      ;;
    asan)
      build build/asan -DBW_SANITIZE=address,undefined || { broken 'build/asan'; return; }
      check build/asan -LE 'model|faults|drains' -E api.file_host
      ;;
    tsan)
      build build/tsan -DBW_SANITIZE=thread || { broken 'build/tsan'; return; }
      fix_addresses
      check build/tsan -LE 'model|faults|drains' -E api.file_host
      personality=
      ;;
    valgrind)
      wrapper='valgrind -q --error-exitcode=9 --leak-check=full --fair-sched=yes'
      build build/valgrind -DBW_TEST_WRAPPER="$wrapper" || { broken 'build/valgrind'; return; }
      check build/valgrind -L 'api|unit|abi' -E api.file_host
      ;;
    clang)
      build build/clang -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ || { broken 'build/clang'; return; }
      check build/clang -LE 'faults|drains'
      ;;
    coverage)
      build build/coverage -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DBW_COVERAGE=ON ||
        { broken 'build/coverage'; return; }
      rm -rf build/coverage/prof
      export LLVM_PROFILE_FILE="$PWD/build/coverage/prof/%m%c.profraw"
      check build/coverage -L 'api|unit|stress|faults|tool'
      unset LLVM_PROFILE_FILE
      say 'coverage of src/'
      if sh tests/coverage.sh build/coverage; then
        passed=$((passed + 1))
      else
        broken 'coverage'
      fi
      ;;
    fuzz | fuzz_long)
      only=fuzzers
      build build/fuzz -DBW_FUZZ=ON -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ ||
        { only=; broken 'build/fuzz'; return; }
      only=
      case $1 in
        fuzz) check_fuzz "${BW_FUZZ_SECONDS:-30}" ;;
        *) check_fuzz "${BW_FUZZ_SECONDS:-600}" ;;
      esac
      ;;
    rust)
      found=$(rustc --version 2>/dev/null | sed 's/^rustc \([0-9.]*\).*/\1/')
      tests=$(grep -rch '#\[\(tokio::\)\?test\]' bindings/rust --include='*.rs' | awk '{ sum += $1 } END { print sum }')
      if ! is_at_least 1.85 "${found:-0}" || ! command -v cargo >/dev/null; then
        skip_binding rust "no Rust 1.85 (${found:-none})" "$tests"
      elif ! (cd bindings/rust && cargo fetch --locked) >build/rust.log 2>&1; then
        tail -n 5 build/rust.log
        skip_binding rust 'the crates that the tests need cannot be had' "$tests"
      else
        check_binding rust
      fi
      ;;
    go)
      found=$(go env GOVERSION 2>/dev/null | sed 's/^go//')
      if is_at_least 1.24 "${found:-0}"; then
        check_binding go
      else
        skip_binding go "no Go 1.24 (${found:-none})" "$(cat bindings/go/*_test.go | grep -c '^func \(Test\|Example\)')"
      fi
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

need g++ make cmake pkg-config liburing-dev libcmocka-dev relacy-dev abigail-tools
for stage in $stages; do
  run_stage "$stage"
done

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
