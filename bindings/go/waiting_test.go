package bw

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	manyGoroutines = 10_000
	fewThreads     = 50
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition that others bring about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (g *gate) length() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.queue.Len()
}

func (l *waiters) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

func threads(t testing.TB) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	must(t, err)
	return len(tasks)
}

// run starts many goroutines, and gives a function that waits for their end.
func run(t testing.TB, body func(index int) error) (end func()) {
	var group sync.WaitGroup
	for index := range manyGoroutines {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := body(index); err != nil {
				t.Error(err)
			}
		}()
	}
	return group.Wait
}

// A pipe that nobody reads, behind a File.
func fullPipe(t testing.TB) (f *File, reader *os.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(path, 0o600))
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	f, err = Open(path, os.O_WRONLY|syscall.O_NONBLOCK, 0, WithCapacity(4096), WithBuffers(2))
	must(t, err)
	return f, reader
}

func wantFewThreads(t testing.TB) {
	t.Helper()
	if count := threads(t); count >= fewThreads {
		t.Errorf("%d threads", count)
	}
}

func TestManyWaitForRoom(t *testing.T) {
	f, reader := fullPipe(t)
	record := make([]byte, 100)
	end := run(t, func(int) error { _, err := f.Write(record); return err })
	eventually(t, "nobody finds room", func() bool { return f.handle.room.length() > manyGoroutines/2 })
	wantFewThreads(t)
	const total = manyGoroutines * 100
	read := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, reader, total)
		read <- err
	}()
	end()
	must(t, f.Close())
	must(t, <-read)
	must(t, reader.Close())
	if accepted := f.Stats().AcceptedBytes; accepted != total {
		t.Errorf("%d bytes, not %d", accepted, total)
	}
}

func TestManyWaitForFlush(t *testing.T) {
	f, reader := fullPipe(t)
	record := make([]byte, 70_000) // more than the pipe takes
	_, err := f.Write(record)
	must(t, err)
	end := run(t, func(index int) error {
		if index%2 == 0 {
			return f.Flush()
		}
		return f.Wait(context.Background(), int64(len(record)), Written)
	})
	eventually(t, "all wait", func() bool { return f.handle.other.length() == manyGoroutines })
	wantFewThreads(t)
	_, err = io.CopyN(io.Discard, reader, int64(len(record)))
	must(t, err)
	end()
	must(t, f.Close())
	must(t, reader.Close())
}

func TestManyWaitForDurability(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "data"), os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	end := run(t, func(index int) error { return f.Wait(context.Background(), int64(index+1), Durable) })
	eventually(t, "all wait", func() bool { return f.handle.level[Durable].length() == manyGoroutines })
	wantFewThreads(t)
	_, err = f.Write(make([]byte, manyGoroutines))
	must(t, err)
	must(t, f.Sync())
	end()
	must(t, f.Close())
}

// The library is asked as seldom as will do; but a question that came too early does not make it sync when it could.
func TestWhatTheLibraryIsAsked(t *testing.T) {
	var l waiters
	for _, test := range []struct {
		position, tail int64
		asked          question // with position 0: nothing
	}{
		{position: 100, tail: 50, asked: question{position: 100}},
		{position: 200, tail: 60},
		{position: 90, tail: 70, asked: question{position: 90}},
		{position: 110, tail: 110, asked: question{position: 90, isUrgent: true}},
		{position: 120, tail: 120},
		{position: 95, tail: 120},
		{position: 80, tail: 120, asked: question{position: 80, isUrgent: true}},
		{position: 300, tail: 120},
	} {
		var q question
		mustAsk := l.add(&waiter{position: test.position}, &q, test.tail)
		test.asked.latest = q.latest
		if mustAsk != (test.asked.position != 0) || mustAsk && q != test.asked {
			t.Errorf("%+v: asked: %v, %+v", test, mustAsk, q)
		}
	}
}

func TestWaitIsNotHeldUpByWhoCameTooEarly(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "data"), os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	early, far := f.Notify(5, Durable), f.Notify(1000, Durable)
	_, err = f.Write(make([]byte, 10))
	must(t, err)
	must(t, f.Wait(context.Background(), 10, Durable))
	must(t, <-early)
	must(t, f.Close())
	if err := <-far; !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
}

const pipeSize = 1 << 16 // bytes that a pipe takes

// Those before it at the gate wait for more than it does.
func TestWaitIsNotHeldUpByWhoWaitsForMore(t *testing.T) {
	f, reader := fullPipe(t)
	_, err := f.Write(make([]byte, pipeSize+7000))
	must(t, err)
	flushed, reached := make(chan error, 1), make(chan error, 1)
	go func() { flushed <- f.Flush() }()
	eventually(t, "the flush waits", func() bool { return f.handle.other.length() == 1 })
	go func() { reached <- f.Wait(context.Background(), pipeSize+100, Written) }()
	eventually(t, "both wait", func() bool { return f.handle.other.length() == 2 })
	wantFirstOf(t, reader, reached, flushed)
	must(t, f.Close())
	must(t, reader.Close())
}

// wantFirstOf has room for 4096 bytes in the pipe, which one waits for; then for the others, which the other one does.
func wantFirstOf(t testing.TB, reader io.Reader, one, other <-chan error) {
	t.Helper()
	_, err := io.CopyN(io.Discard, reader, 4096)
	must(t, err)
	eventually(t, "one goes on", func() bool { return len(one) > 0 })
	must(t, <-one)
	if len(other) > 0 {
		t.Errorf("the other one too: %v", <-other)
	}
	_, err = io.CopyN(io.Discard, reader, pipeSize-4096)
	must(t, err)
	must(t, <-other)
}

func TestLaneDoesNotWaitForWhatOthersWriteMeanwhile(t *testing.T) {
	f, reader := fullPipe(t)
	_, err := f.Write(make([]byte, pipeSize+100))
	must(t, err)
	lane, err := f.Lane()
	must(t, err)
	_, err = lane.Write(make([]byte, 100))
	must(t, err)
	flushed, others := make(chan error, 1), make(chan error, 1)
	go func() { flushed <- lane.Flush() }()
	eventually(t, "the flush waits", func() bool { return f.handle.other.length() == 1 })
	pos, err := f.Append(make([]byte, 4096))
	must(t, err)
	go func() { others <- f.Wait(context.Background(), pos+4096, Written) }()
	wantFirstOf(t, reader, flushed, others)
	must(t, lane.Close())
	must(t, f.Close())
	must(t, reader.Close())
}

func TestDiscardCancelsWhoWaitsAtTheGate(t *testing.T) {
	f, reader := fullPipe(t)
	_, err := f.Write(make([]byte, pipeSize+7000))
	must(t, err)
	flushed, reached := make(chan error, 1), make(chan error, 1)
	go func() { flushed <- f.Flush() }()
	go func() { reached <- f.Wait(context.Background(), pipeSize+7000, Written) }()
	eventually(t, "both wait", func() bool { return f.handle.other.length() == 2 })
	_, err = f.Discard()
	must(t, err)
	must(t, <-flushed)
	if err := <-reached; !errors.Is(err, syscall.ECANCELED) {
		t.Errorf("%v", err)
	}
	must(t, f.Close())
	must(t, reader.Close())
}

// An answer about bytes that a seek has cut off is not for who waits for the bytes that came after them.
func TestSeekCancelsNobodyWhoCameLater(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "data"), os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	for range 200 {
		earlier := f.Notify(100, Durable)
		_, err := f.Seek(0, io.SeekStart)
		must(t, err)
		later := f.Notify(100, Durable)
		if err := <-earlier; !errors.Is(err, syscall.ECANCELED) {
			t.Fatalf("%v", err)
		}
		_, err = f.Write(make([]byte, 100))
		must(t, err)
		must(t, f.Sync())
		must(t, <-later)
		_, err = f.Seek(0, io.SeekStart)
		must(t, err)
	}
	must(t, f.Close())
}

func TestWhoGivesUpIsForgotten(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "data"), os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for index := range 100 {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := f.Wait(ctx, int64(index%3+1), Level(index%levelCount)); err != context.Canceled {
				t.Errorf("%v, not cancelled", err)
			}
		}()
	}
	waiting := func() (count int) {
		for level := range f.handle.level {
			count += f.handle.level[level].length()
		}
		return count
	}
	eventually(t, "all wait", func() bool { return waiting() == 100 })
	cancel()
	group.Wait()
	if count := waiting(); count != 0 {
		t.Errorf("%d still wait", count)
	}
	must(t, f.Close())
}

func TestCloseAnswersWhoWaits(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "data"), os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	_, err = f.Write(make([]byte, 10))
	must(t, err)
	durable, never := f.Notify(10, Durable), f.Notify(11, Durable)
	must(t, f.Close())
	must(t, <-durable)
	if err := <-never; !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestSeekCancelsWhoWaitsBeyondIt(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "data"), os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	below, beyond, furthest := f.Notify(50, Durable), f.Notify(51, Durable), f.Notify(100, Durable)
	_, err = f.Seek(50, io.SeekStart)
	must(t, err)
	for _, told := range []<-chan error{beyond, furthest} {
		if err := <-told; !errors.Is(err, syscall.ECANCELED) {
			t.Errorf("%v", err)
		}
	}
	later := f.Notify(60, Durable)
	_, err = f.Write(make([]byte, 10))
	must(t, err)
	must(t, f.Sync())
	must(t, <-below)
	must(t, <-later)
	must(t, f.Close())
}
