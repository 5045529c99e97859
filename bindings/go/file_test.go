package bw_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bw"
)

const createFlags = os.O_RDWR | os.O_CREATE | os.O_TRUNC

var (
	_ io.WriteSeeker  = (*bw.File)(nil)
	_ io.WriteCloser  = (*bw.File)(nil)
	_ io.ReaderFrom   = (*bw.File)(nil)
	_ io.StringWriter = (*bw.File)(nil)
	_ io.WriteCloser  = (*bw.Lane)(nil)
	_ io.StringWriter = (*bw.Lane)(nil)
)

// What zap writes to.
var _ interface {
	io.Writer
	Sync() error
} = (*bw.File)(nil)

func open(t testing.TB, opts ...bw.Option) *bw.File {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "data"), opts...)
}

func openAt(t testing.TB, path string, opts ...bw.Option) *bw.File {
	t.Helper()
	f, err := bw.Open(path, createFlags, 0o644, opts...)
	check(t, err)
	t.Cleanup(func() {
		f.Discard()
		f.Close()
	})
	return f
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, f *bw.File) string {
	t.Helper()
	data, err := os.ReadFile(f.Name())
	check(t, err)
	return string(data)
}

func want[T comparable](t testing.TB, what string, got, wanted T) {
	t.Helper()
	if got != wanted {
		t.Errorf("%s: %v, not %v", what, got, wanted)
	}
}

func wantIs(t testing.TB, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%v is not %v", err, target)
		}
	}
}

func TestFileHoldsWhatWasWritten(t *testing.T) {
	f := open(t)
	n, err := f.Write([]byte("one "))
	check(t, err)
	want(t, "written", n, 4)
	n, err = f.WriteString("two ")
	check(t, err)
	want(t, "written", n, 4)
	pos, err := f.Append([]byte("three "))
	check(t, err)
	want(t, "position", pos, 8)
	read, err := io.Copy(f, strings.NewReader("four"))
	check(t, err)
	want(t, "read", read, 4)
	check(t, f.Flush())
	want(t, "content", content(t, f), "one two three four")
	check(t, f.Close())
	want(t, "content", content(t, f), "one two three four")
}

func TestFileTakesEmptyWrites(t *testing.T) {
	f := open(t)
	n, err := f.Write(nil)
	check(t, err)
	want(t, "written", n, 0)
	pos, err := f.Append([]byte{})
	check(t, err)
	want(t, "position", pos, 0)
}

func TestFileKeepsEachWriteWhole(t *testing.T) {
	f := open(t, bw.WithCapacity(4096), bw.WithBuffers(2))
	const writers, records = 8, 2000
	var group sync.WaitGroup
	for writer := range writers {
		group.Add(1)
		go func() {
			defer group.Done()
			for record := range records {
				if _, err := fmt.Fprintf(f, "writer %d record %d\n", writer, record); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	group.Wait()
	check(t, f.Close())
	next := [writers]int{}
	for line := range strings.Lines(content(t, f)) {
		var writer, record int
		_, err := fmt.Sscanf(line, "writer %d record %d\n", &writer, &record)
		check(t, err)
		want(t, "record", record, next[writer])
		next[writer]++
	}
	want(t, "records", next, [writers]int{2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000})
}

func TestFileTakesWritesLongerThanAllBuffers(t *testing.T) {
	f := open(t, bw.WithCapacity(4096), bw.WithBuffers(2))
	long := bytes.Repeat([]byte("0123456789abcdef"), 10000)
	n, err := f.Write(long)
	check(t, err)
	want(t, "written", n, len(long))
	pos, err := f.Append(long)
	check(t, err)
	want(t, "position", pos, int64(len(long)))
	check(t, f.Close())
	if content(t, f) != string(long)+string(long) {
		t.Error("the file holds something else")
	}
}

func TestFileSeeks(t *testing.T) {
	f := open(t)
	_, err := f.WriteString("0123456789")
	check(t, err)
	pos, err := f.Seek(-6, io.SeekCurrent)
	check(t, err)
	want(t, "position", pos, 4)
	_, err = f.WriteString("xx")
	check(t, err)
	pos, err = f.Seek(0, io.SeekEnd)
	check(t, err)
	want(t, "end", pos, 10)
	_, err = f.Seek(-1, io.SeekStart)
	wantIs(t, err, syscall.EINVAL)
	check(t, f.Close())
	want(t, "content", content(t, f), "0123xx6789")
}

func TestSyncMakesDurable(t *testing.T) {
	f := open(t)
	_, err := f.WriteString("record")
	check(t, err)
	check(t, f.Sync())
	want(t, "durable", f.Position(bw.Durable), 6)
	want(t, "content", content(t, f), "record")
	check(t, f.Sync())
}

func TestLevelsThatDoNotExist(t *testing.T) {
	f := open(t)
	for _, level := range []bw.Level{-1, 3} {
		want(t, "position", f.Position(level), -1)
		wantIs(t, f.Wait(context.Background(), 0, level), syscall.EINVAL)
		wantIs(t, <-f.Notify(0, level), syscall.EINVAL)
	}
}

func TestClosedFile(t *testing.T) {
	f := open(t)
	_, err := f.WriteString("record")
	check(t, err)
	check(t, f.Close())
	check(t, f.Close())
	_, err = f.Write([]byte("x"))
	wantIs(t, err, os.ErrClosed, syscall.ESHUTDOWN)
	_, err = f.WriteString("x")
	wantIs(t, err, os.ErrClosed)
	_, err = f.Append(nil)
	wantIs(t, err, os.ErrClosed)
	_, err = f.ReadFrom(strings.NewReader("x"))
	wantIs(t, err, os.ErrClosed)
	_, err = f.Seek(0, io.SeekStart)
	wantIs(t, err, os.ErrClosed)
	_, err = f.Unwritten()
	wantIs(t, err, os.ErrClosed)
	_, err = f.Discard()
	wantIs(t, err, os.ErrClosed)
	_, err = f.Lane()
	wantIs(t, err, os.ErrClosed)
	wantIs(t, f.Flush(), os.ErrClosed)
	wantIs(t, f.Sync(), os.ErrClosed)
	wantIs(t, f.Resume(), os.ErrClosed)
	check(t, f.Err())
	check(t, f.Wait(context.Background(), 6, bw.Durable))
	wantIs(t, f.Wait(context.Background(), 7, bw.Durable), os.ErrClosed)
	check(t, <-f.Notify(6, bw.Written))
	wantIs(t, <-f.Notify(7, bw.Accepted), os.ErrClosed)
	want(t, "durable", f.Position(bw.Durable), 6)
	want(t, "durable", f.Stats().DurableBytes, 6)
}

func TestOpenMakesTheFileAsOsDoes(t *testing.T) {
	dir := t.TempDir()
	for _, perm := range []os.FileMode{0o640, 0o700 | os.ModeSetuid, 0o700 | os.ModeSetgid, 0o700 | os.ModeSticky} {
		ours, theirs := filepath.Join(dir, fmt.Sprintf("ours %o", perm)), filepath.Join(dir, fmt.Sprintf("os %o", perm))
		f, err := bw.Open(ours, createFlags, perm)
		check(t, err)
		check(t, f.Close())
		g, err := os.OpenFile(theirs, createFlags, perm)
		check(t, err)
		check(t, g.Close())
		got, err := os.Stat(ours)
		check(t, err)
		wanted, err := os.Stat(theirs)
		check(t, err)
		want(t, "mode", got.Mode(), wanted.Mode())
		_, err = bw.Open(ours, createFlags|os.O_EXCL, perm)
		wantIs(t, err, os.ErrExist)
	}
}

func TestOpenFails(t *testing.T) {
	_, err := bw.Open(filepath.Join(t.TempDir(), "no", "such"), os.O_WRONLY|os.O_CREATE, 0o644)
	wantIs(t, err, os.ErrNotExist, syscall.ENOENT)
	path := filepath.Join(t.TempDir(), "data")
	_, err = bw.Open(path, os.O_WRONLY|os.O_CREATE, 0o644, bw.WithCapacity(1000))
	wantIs(t, err, syscall.EINVAL)
	for _, count := range []int{-1, 1<<32 + 1} {
		if _, err = bw.Open(path+"2", os.O_WRONLY|os.O_CREATE, 0o644, bw.WithBuffers(count)); err == nil {
			t.Errorf("%d buffers are too many", count)
		}
	}
	_, err = bw.Open(path+"\x00", os.O_WRONLY|os.O_CREATE, 0o644)
	wantIs(t, err, syscall.EINVAL)
	_, err = os.Stat(path)
	wantIs(t, err, os.ErrNotExist)
	var failed *os.PathError
	if _, err = bw.Open(path, os.O_RDONLY, 0); !errors.As(err, &failed) || failed.Path != path || failed.Op != "open" {
		t.Errorf("%#v does not name the path", err)
	}
}

func TestOptionsReachTheLibrary(t *testing.T) {
	for _, engine := range []bw.Engine{bw.EnginePwrite, bw.EngineUring} {
		path := filepath.Join(t.TempDir(), "data")
		f, err := bw.Open(path, createFlags, 0o600, bw.WithEngine(engine), bw.WithBuffers(3), bw.WithPageCache(),
			bw.WithPreallocate(-1))
		if engine == bw.EngineUring && err != nil {
			t.Logf("no io_uring here: %v", err)
			continue
		}
		check(t, err)
		stats := f.Stats()
		want(t, "engine", stats.Engine, engine)
		want(t, "buffers", stats.Buffers, 3)
		want(t, "direct", stats.Direct, false)
		check(t, f.Close())
		info, err := os.Stat(path)
		check(t, err)
		want(t, "mode", info.Mode().Perm(), 0o600)
	}
}

func TestLingerHandsOn(t *testing.T) {
	f := open(t, bw.WithLinger(1))
	_, err := f.WriteString("record")
	check(t, err)
	check(t, <-f.Notify(6, bw.Written)) // which only watches
	want(t, "content", content(t, f), "record")
}

// An io.Writer for a pipe that nobody reads yet: it is full after 64 KiB, and then the writer's buffers are.
func openPipe(t *testing.T, opts ...bw.Option) (f *bw.File, reader *os.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	check(t, syscall.Mkfifo(path, 0o600))
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	t.Cleanup(func() { reader.Close() })
	f, err = bw.Open(path, os.O_WRONLY|syscall.O_NONBLOCK, 0, opts...)
	check(t, err)
	return f, reader
}

func TestPipeIsFlushed(t *testing.T) {
	f, reader := openPipe(t)
	_, err := f.WriteString("record")
	check(t, err)
	check(t, f.Flush())
	record := make([]byte, 6)
	_, err = io.ReadFull(reader, record)
	check(t, err)
	want(t, "read", string(record), "record")
	wantIs(t, f.Sync(), errors.ErrUnsupported)
	_, err = f.Seek(0, io.SeekStart)
	wantIs(t, err, syscall.ESPIPE)
	check(t, f.Close())
}
