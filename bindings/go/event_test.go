package bw_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"bw"
)

// openFull opens a device that takes nothing: each write fails with ENOSPC.
func openFull(t *testing.T, opts ...bw.Option) *bw.File {
	t.Helper()
	f, err := bw.Open("/dev/full", os.O_WRONLY, 0, opts...)
	check(t, err)
	return f
}

func TestFailedWriteKeepsItsBytes(t *testing.T) {
	f := openFull(t)
	check(t, f.Err())
	_, err := f.WriteString("record")
	check(t, err)
	wantIs(t, f.Flush(), syscall.ENOSPC)
	wantIs(t, f.Err(), syscall.ENOSPC)
	_, err = f.WriteString("more")
	wantIs(t, err, syscall.ENOSPC)
	wantIs(t, f.Close(), syscall.ENOSPC)
	kept, err := f.Unwritten()
	check(t, err)
	want(t, "unwritten", string(kept), "record")
	check(t, f.Resume())
	wantIs(t, f.Flush(), syscall.ENOSPC)
	count, err := f.Discard()
	check(t, err)
	want(t, "discarded", count, 6)
	check(t, f.Resume())
	check(t, f.Err())
	want(t, "resumes", f.Stats().Resumes, 2)
	check(t, f.Close())
}

func TestWaitersHearOfAFailedWrite(t *testing.T) {
	f := openFull(t)
	told, never := f.Notify(6, bw.Written), f.Notify(60, bw.Accepted)
	_, err := f.WriteString("record")
	check(t, err)
	wantIs(t, f.Flush(), syscall.ENOSPC)
	wantIs(t, <-told, syscall.ENOSPC)
	wantIs(t, <-never, syscall.ENOSPC)
	_, err = f.Discard()
	check(t, err)
	check(t, f.Resume())
	check(t, f.Close())
}

func TestDiscardCancelsWhoWaits(t *testing.T) {
	f := open(t)
	_, err := f.WriteString("record")
	check(t, err)
	first, second := f.Notify(6, bw.Written), f.Notify(7, bw.Written)
	_, err = f.Discard()
	check(t, err)
	wantIs(t, <-first, syscall.ECANCELED)
	wantIs(t, <-second, syscall.ECANCELED)
}

func TestEventsTellHowFarItIs(t *testing.T) {
	events := make(chan bw.Event, 100)
	f := open(t, bw.WithEvents(func(e bw.Event) { events <- e }))
	_, err := f.WriteString("record")
	check(t, err)
	check(t, f.Close())
	close(events)
	var written, durable int64
	for e := range events {
		switch e.Kind {
		case bw.EventWritten:
			want(t, "position", e.Position, written)
			written += e.Length
		case bw.EventDurable:
			durable = e.Position
		}
	}
	want(t, "written", written, 6)
	want(t, "durable", durable, 6)
}

func TestEventsTellOfErrors(t *testing.T) {
	failed := make(chan error, 1)
	f := openFull(t, bw.WithEvents(func(e bw.Event) {
		if e.Kind == bw.EventError {
			failed <- e.Err
		}
	}))
	_, err := f.WriteString("record")
	check(t, err)
	wantIs(t, f.Flush(), syscall.ENOSPC)
	wantIs(t, <-failed, syscall.ENOSPC)
	_, err = f.Discard()
	check(t, err)
	check(t, f.Resume())
	check(t, f.Close())
}

// collect runs the garbage collector until something has happened because of it.
func collect(t *testing.T, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing has happened")
		}
		runtime.GC()
	}
}

func TestForgottenFileTellsWhatIsLost(t *testing.T) {
	lost := make(chan string, 1)
	f := openFull(t, bw.WithEvents(func(e bw.Event) {
		if e.Kind == bw.EventLost {
			lost <- string(e.Data)
		}
	}))
	_, err := f.WriteString("record")
	check(t, err)
	collect(t, func() bool { return len(lost) > 0 })
	want(t, "lost", <-lost, "record")
}

func TestForgottenFileIsClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	f, err := bw.Open(path, createFlags, 0o644)
	check(t, err)
	_, err = f.WriteString("record")
	check(t, err)
	written := f.Notify(6, bw.Written) // which only watches
	f = nil
	collect(t, func() bool { return len(written) > 0 })
	check(t, <-written)
	data, err := os.ReadFile(path)
	check(t, err)
	want(t, "content", string(data), "record")
}

func TestPanicOnOurThreadIsAnErrorOfTheNextCall(t *testing.T) {
	for name, end := range map[string]func(){
		"panic":  func() { panic(syscall.EPROTO) },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, bw.WithEvents(func(e bw.Event) {
				if e.Kind == bw.EventWritten {
					end()
				}
			}))
			_, err := f.WriteString("record")
			check(t, err)
			check(t, <-f.Notify(6, bw.Durable)) // no call of ours runs while our thread writes
			for err == nil {                    // until it has told of that
				_, err = f.WriteString("")
			}
			var panicked *bw.PanicError
			want(t, "panicked", errors.As(err, &panicked), name == "panic")
			if panicked != nil {
				want[any](t, "value", panicked.Value, syscall.EPROTO)
				wantIs(t, err, syscall.EPROTO)
			}
		})
	}
}
