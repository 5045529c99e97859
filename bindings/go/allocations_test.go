//go:build !race

package bw_test

import (
	"io"
	"os"
	"testing"

	"bw"
)

func TestWritingAllocatesNothing(t *testing.T) {
	f, err := bw.Open(os.DevNull, os.O_WRONLY, 0)
	check(t, err)
	lane := openLane(t, f)
	w := bw.NewWriter(io.Discard)
	b := newBatch(t, func(*bw.Batch) error { return nil })
	record := make([]byte, 100)
	for name, write := range map[string]func(){
		"Writer.Write":       func() { w.Write(record) },
		"Writer.WriteString": func() { w.WriteString("text") },
		"Lane.Write":         func() { lane.Write(record) },
		"File.Write":         func() { f.Write(record) },
		"File.WriteString":   func() { f.WriteString("text") },
		"File.Append":        func() { f.Append(record) },
		"Batcher.Send":       func() { b.Send(background, record) },
	} {
		// The runs are many: a call that waits for room allocates, and the average is rounded down.
		if count := testing.AllocsPerRun(10_000, write); count != 0 {
			t.Errorf("%s: %v allocations", name, count)
		}
	}
	check(t, lane.Close())
	check(t, f.Close())
}
