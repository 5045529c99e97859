#!/bin/sh
# The same test for everybody: a full disk (report.h says what each program does on it). Prints, as Markdown, what
# became of the accepted bytes with each peer, and fails if a writer of ours is not exact, or does not say what is
# missing. Peers whose tools, or crates, are not here are not run.
# Usage: full_disk.sh BUILD_DIR CMAKE
set -eu

build=$1
cmake=$2
here=$(cd "$(dirname "$0")" && pwd)
records=700
bytes=700000

# ---- What runs -----------------------------------------------------------------------------------

# In a mount namespace of its own, so that nothing is left mounted. $3: the directory that the first call has prepared.
if [ -z "${3:-}" ]; then
  as=--map-root-user
  [ "$(id -u)" -ne 0 ] || as=--propagation=private
  unshare "$as" --mount sh -c 'mount -t tmpfs -o size=512k none /mnt' 2>/dev/null ||
    { echo 'skipped: neither root nor user namespaces'; exit 77; }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  # In the same place each time, so that what is built against it stays built.
  prefix=$build/tests/peers/prefix
  "$cmake" --install "$build" --prefix "$prefix" >"$work/log" || { cat "$work/log"; exit 1; }
  libdir=$(dirname "$(find "$prefix" -name libbw.so.0)")
  export PKG_CONFIG_PATH="$libdir/pkgconfig" LD_LIBRARY_PATH="$libdir"
  if command -v cargo >/dev/null; then
    target=$build/tests/peers/rust
    if CARGO_TARGET_DIR=$target cargo build --quiet --locked --offline --manifest-path "$here/rust/Cargo.toml" \
      >"$work/log" 2>&1; then
      cp "$target/debug/peers" "$work/rust"
    else
      tail -n 3 "$work/log" >&2
    fi
  fi
  if command -v go >/dev/null; then
    (cd "$here/go" && GOPROXY=off go build -o "$work/go" .) >"$work/log" 2>&1 || tail -n 3 "$work/log" >&2
  fi
  status=0
  unshare "$as" --mount sh "$0" "$build" "$cmake" "$work" || status=$?
  exit "$status"
fi

work=$3
mkdir "$work/disk"
i=0
while [ $i -lt $records ]; do
  printf '%08d %0990d\n' $i $((i * 7919 % 1000003))
  i=$((i + 1))
done >"$work/records"
[ "$(wc -c <"$work/records")" -eq $bytes ]

# ---- One run -------------------------------------------------------------------------------------

failed=0

value() { # NAME: of the line that the program printed
  sed "s/.*\b$1=\([^ ]*\).*/\1/" "$work/said"
}

# What became of the accepted bytes. $file: what is on the disk.
judge() {
  accepted=$(value accepted)
  missing=$(value missing)
  size=$(stat -c %s "$file")
  told=no
  case $(value flushes),$(value close) in
    *ok,ok) ;; # whatever was wrong, the end says that it no longer is
    *) told=yes ;;
  esac
  head -c "$accepted" "$work/records" >"$work/accepted"
  if cmp -s "$work/accepted" "$file"; then
    verdict=exact
  elif [ $told = yes ]; then
    verdict='told that something is wrong'
    if [ "$missing" -eq $((accepted - size)) ] && head -c "$size" "$work/accepted" | cmp -s - "$file"; then
      verdict='told what is missing'
    fi
  elif [ "$size" -gt "$accepted" ]; then
    verdict="$((size - accepted)) bytes twice"
  elif [ "$size" -lt "$accepted" ]; then
    verdict="silent loss of $((accepted - size)) bytes"
  else
    verdict='other bytes than were accepted'
  fi
}

# NAME WANTED PROGRAM...: a row of the table. WANTED is `any` for a peer; ours has to be `exact`, unless the disk stays
# full; or `told`, where a writer of ours has a contract that ends with the first error.
row() {
  name=$1
  wanted=$2
  shift 2
  [ "$wanted,$room" != exact,no ] || wanted=told
  mount -t tmpfs -o size=1m none "$work/disk"
  # 512 KiB are left for the peer.
  head -c 524288 /dev/zero >"$work/disk/ballast"
  ballast=$work/disk/ballast
  [ "$room" = yes ] || ballast=-
  file=$work/disk/out
  status=0
  if [ -x "$(command -v "$1")" ]; then
    "$@" "$work/records" "$file" "$ballast" >"$work/said" 2>"$work/complaint" || status=$?
  else
    status=77
  fi
  if [ $status -eq 77 ]; then
    echo "| $name | not run | | | | | |"
  elif [ $status -ne 0 ]; then
    echo "| $name | failed | | | | | |"
    cat "$work/complaint" >&2
    failed=1
  else
    judge
    flushes=$(value flushes | sed 's/,/, /')
    echo "| $name | $accepted | $size | $(value first | tr _ ' ') | $flushes | $(value close) | $verdict |"
    case $wanted,$verdict in
      any,* | *,exact | told,'told what is missing') ;;
      *) failed=1; echo "FAILED: $name: $(cat "$work/said")" >&2 ;;
    esac
  fi
  umount "$work/disk" || { echo "FAILED: $name: the disk stays in use" >&2; failed=1; umount -l "$work/disk"; }
}

# A program that has ended may leave a ring behind, which the kernel takes apart a moment later.
umount() {
  tries=0
  until command umount "$@" 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -le 300 ] || return 1
    sleep 0.1
  done
}

table() { # yes|no: is room made at the first error?
  room=$1
  echo '| peer | bytes accepted | file holds | first error told at | flushes said | close said | verdict |'
  echo '|---|---|---|---|---|---|---|'
  programs=$build/tests/peers
  for way in fdopen fdopen,unshared fdopen,background open,uring open,pwrite open,uring,64k open,pwrite,64k \
    open,unshared,uring,64k open,buffered,pwrite,64k; do
    row "bw_$(echo "$way" | sed 's/,/, /g; s/64k/64 KiB/')" exact "$programs/peers_ours" "$way"
  done
  row 'bw for Rust: `Writer<File>`' exact "$work/rust" bw::Writer
  row 'bw for Rust: `File`' exact "$work/rust" bw::File
  row 'bw for Go: `Writer` on `os.File`' told "$work/go" bw.Writer # as bufio's, it takes nothing after an error
  row 'bw for Go: `File`' exact "$work/go" bw.File
  row 'stdio (glibc)' any "$programs/peers_stdio" stdio
  row '`std::ofstream` (libstdc++)' any "$programs/peers_ofstream" ofstream
  row 'Rust: `std::io::BufWriter<File>`' any "$work/rust" std
  row 'Rust: `tokio::io::BufWriter<File>`' any "$work/rust" tokio
  row 'Go: `bufio.Writer` on `os.File`' any "$work/go" bufio
  row 'Python: `open(path, "wb")`' any python3 "$here/full_disk.py" binary
  row 'Python: `open(path, "w")`' any python3 "$here/full_disk.py" text
}

# COMMAND...: the version in its first line
version() {
  "$@" 2>/dev/null | sed -n '1s/[^0-9]*\([0-9][0-9.]*[0-9]\).*/\1/p'
}

echo "glibc $(getconf GNU_LIBC_VERSION | sed 's/.* //'), GCC $(version gcc -dumpfullversion), \
Rust $(version rustc -V), \
tokio $(sed -n '/^name = "tokio"$/{n;s/.*"\(.*\)"/\1/p}' "$here/rust/Cargo.lock"), \
Go $(version go version), Python $(version python3 -V)."
echo
echo 'Room is made at the first error:'
echo
table yes
echo
echo 'The disk stays full:'
echo
table no
exit $failed
