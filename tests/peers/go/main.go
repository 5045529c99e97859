// Go's bufio.Writer over an os.File, and bw's Writer and File: see ../report.h.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"syscall"

	"bw"
)

const (
	recordBytes = 1000
	maxTries    = 3
)

type report struct {
	ballast           string
	accepted, refused int
	first             string
	flushes           [2]string
	closed            string
	missing           int
}

// A call may have reported an error.
func (r *report) said(where string, err error) string {
	if err == nil {
		return "ok"
	}
	if r.first == "" {
		r.first = where
		os.Remove(r.ballast)
	}
	var errno syscall.Errno
	if errors.As(err, &errno) && errno == syscall.ENOSPC {
		return "ENOSPC"
	}
	return "failed"
}

type peer interface {
	Write(p []byte) (int, error)
	Flush() error
}

func (r *report) run(w peer, closeAll func() error, goOn func() error, missing func() int, records []byte) {
	end, tries := recordBytes, 0
	for tries < maxTries && r.accepted < len(records) {
		n, err := w.Write(records[r.accepted:end])
		r.accepted += n
		if err != nil {
			r.refused++
			r.said(fmt.Sprintf("record_%d", r.accepted/recordBytes+1), err)
			goOn()
			tries++
		}
		if r.accepted == end {
			end += recordBytes
			tries = 0
		}
	}
	for i := range r.flushes {
		err := w.Flush()
		r.flushes[i] = r.said(fmt.Sprintf("flush_%d", i+1), err)
		if err != nil {
			goOn()
		}
	}
	r.missing = missing()
	r.closed = r.said("close", closeAll())
	fmt.Printf("accepted=%d first=%s refused=%d flushes=%s,%s close=%s missing=%d\n", r.accepted, r.where(), r.refused,
		r.flushes[0], r.flushes[1], r.closed, r.missing)
}

func (r *report) where() string {
	if r.first == "" {
		return "never"
	}
	return r.first
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// A writer in front of a file: flushing the one, then closing the other, is its close.
func overFile(w peer, file *os.File) func() error {
	return func() error { return errors.Join(w.Flush(), file.Close()) }
}

func main() {
	records, err := os.ReadFile(os.Args[2])
	must(err)
	r := &report{ballast: os.Args[4]}
	nothing := func() error { return nil } // the error of a bufio.Writer stays: Reset would drop its bytes
	if os.Args[1] == "bw.File" {
		file, err := bw.Open(os.Args[3], os.O_WRONLY|os.O_CREATE, 0o600, bw.WithCapacity(65536))
		must(err)
		missing := func() int {
			bytes, err := file.Unwritten()
			must(err)
			return len(bytes)
		}
		r.run(file, file.Close, file.Resume, missing, records)
		return
	}
	file, err := os.Create(os.Args[3])
	must(err)
	if os.Args[1] == "bw.Writer" {
		w := bw.NewWriter(file)
		r.run(w, overFile(w, file), nothing, w.Buffered, records)
	} else {
		w := bufio.NewWriter(file)
		r.run(w, overFile(w, file), nothing, w.Buffered, records)
	}
}
