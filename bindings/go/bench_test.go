package bw_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"bw"
)

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// Each of these has a loop of its own, so that bufio is called as directly as we are.

func BenchmarkWriter(b *testing.B) {
	record := make([]byte, 64)
	for _, size := range []int{4 << 10, 64 << 10} {
		for _, sink := range []string{"memory", os.DevNull} {
			name := fmt.Sprintf("sink=%s/size=%dK", filepath.Base(sink), size>>10)
			b.Run("peer=bufio/"+name, func(b *testing.B) {
				w := bufio.NewWriterSize(openSink(b, sink), size)
				for b.Loop() {
					w.Write(record)
				}
			})
			b.Run("peer=bw/"+name, func(b *testing.B) {
				w := bw.NewWriterSize(openSink(b, sink), size)
				for b.Loop() {
					w.Write(record)
				}
			})
		}
	}
}

func openSink(b *testing.B, name string) io.Writer {
	if name == "memory" {
		return nowhere{}
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	check(b, err)
	b.Cleanup(func() { f.Close() })
	return f
}

func BenchmarkNewWriter(b *testing.B) {
	b.Run("peer=bufio", func(b *testing.B) {
		for b.Loop() {
			bufio.NewWriter(nil)
		}
	})
	b.Run("peer=bw", func(b *testing.B) {
		for b.Loop() {
			bw.NewWriter(nil)
		}
	})
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Records of 64 bytes from all processors, through 1 MiB, to nowhere: what is measured is the way there.
func BenchmarkShared(b *testing.B) {
	const capacity = 1 << 20
	b.Run("peer=bufio+Mutex", func(b *testing.B) {
		l := &lockedWriter{w: bufio.NewWriterSize(openSink(b, os.DevNull), capacity)}
		writeParallel(b, func() io.Writer { return l })
	})
	b.Run("peer=File", func(b *testing.B) {
		f := openNowhere(b, capacity)
		writeParallel(b, func() io.Writer { return f })
	})
	b.Run("peer=Lane", func(b *testing.B) {
		f := openNowhere(b, capacity)
		writeParallel(b, func() io.Writer {
			lane, err := f.Lane(bw.WithCapacity(16 << 10))
			if err != nil {
				b.Error(err)
			}
			return lane
		})
	})
}

func openNowhere(b *testing.B, capacity int) *bw.File {
	f, err := bw.Open(os.DevNull, os.O_WRONLY, 0, bw.WithCapacity(capacity))
	check(b, err)
	return f
}

func writeParallel(b *testing.B, writer func() io.Writer) {
	record := make([]byte, 64)
	b.SetBytes(int64(len(record)))
	b.RunParallel(func(pb *testing.PB) {
		for w := writer(); pb.Next(); {
			if _, err := w.Write(record); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// Records of 128 bytes, each durable before the next one of the same goroutine.
func BenchmarkCommit(b *testing.B) {
	record := make([]byte, 128)
	for _, goroutines := range []int{1, 64} {
		name := fmt.Sprintf("goroutines=%d", goroutines)
		b.Run("peer=os.File/"+name, func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "data"))
			check(b, err)
			commit(b, goroutines, func() error {
				if _, err := f.Write(record); err != nil {
					return err
				}
				return f.Sync()
			})
			check(b, f.Close())
		})
		b.Run("peer=File/"+name, func(b *testing.B) {
			f := open(b)
			commit(b, goroutines, func() error {
				pos, err := f.Append(record)
				if err != nil {
					return err
				}
				return f.Wait(context.Background(), pos+int64(len(record)), bw.Durable)
			})
			b.ReportMetric(float64(b.N)/float64(max(f.Stats().Syncs, 1)), "commits/sync")
		})
	}
}

func commit(b *testing.B, goroutines int, one func() error) {
	b.ResetTimer()
	var group sync.WaitGroup
	for index := range goroutines {
		group.Add(1)
		go func() {
			defer group.Done()
			for range (b.N + index) / goroutines {
				if err := one(); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}
