#!/bin/sh
# Tests the Go module against the installed library, which pkg-config and the loader must find (PKG_CONFIG_PATH,
# LD_LIBRARY_PATH), and, with the tag bw_vendored, against the core of the repository.
set -eu
cd "$(dirname "$0")"

unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "gofmt: $unformatted" >&2; exit 1; }
go vet ./...
go test -v -count=1 ./...
go test -v -count=1 -race ./...
GOEXPERIMENT=cgocheck2 go test -v -count=1 ./...
# -a: Go's cache does not know the files of the core.
go test -v -count=1 -a -tags=bw_vendored ./...
go test -run='^$' -bench=. -benchtime=1x ./... >/dev/null

# A program elsewhere, which has nothing but this folder and the library.
module=$PWD
program=$(mktemp -d)
trap 'rm -rf "$program"' EXIT
cd "$program"
go mod init example.org/program 2>/dev/null
go mod edit -require=bw@v0.0.0 -replace=bw="$module"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	"bw"
)

func main() {
	f, err := bw.Open("data", os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(f, "hello, world")
	if err := f.Wait(context.Background(), 13, bw.Durable); err != nil {
		panic(err)
	}
	if err := f.Close(); err != nil {
		panic(err)
	}
	w := bw.NewWriter(os.Stdout)
	fmt.Fprintln(w, "13 bytes are durable")
	w.Flush()
}
GO
[ "$(go run .)" = "13 bytes are durable" ]
[ "$(cat data)" = "hello, world" ]
