package bw_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bw"
)

func openLane(t testing.TB, f *bw.File, opts ...bw.Option) *bw.Lane {
	t.Helper()
	lane, err := f.Lane(opts...)
	check(t, err)
	return lane
}

func TestLaneHandsOnWhenItIsAsked(t *testing.T) {
	f := open(t)
	lane := openLane(t, f)
	n, err := lane.Write([]byte("one "))
	check(t, err)
	want(t, "written", n, 4)
	n, err = lane.WriteString("two ")
	check(t, err)
	want(t, "written", n, 4)
	pos, err := lane.Append([]byte("three "))
	check(t, err)
	want(t, "position", pos, 8)
	check(t, f.Flush())
	want(t, "content", content(t, f), "")
	check(t, lane.Flush())
	want(t, "content", content(t, f), "one two three ")
	pos, err = lane.Append(nil)
	check(t, err)
	want(t, "position", pos, 14)
	pos, err = lane.Append([]byte("four"))
	check(t, err)
	want(t, "position", pos, 14)
	check(t, lane.Sync())
	want(t, "durable", f.Position(bw.Durable), 18)
	wantIs(t, f.Close(), syscall.EBUSY)
	check(t, lane.Close())
	check(t, lane.Close())
	_, err = lane.WriteString("x")
	wantIs(t, err, os.ErrClosed)
	_, err = lane.Write(nil)
	wantIs(t, err, os.ErrClosed)
	wantIs(t, lane.Flush(), os.ErrClosed)
	wantIs(t, lane.Sync(), os.ErrClosed)
	check(t, f.Close())
	want(t, "content", content(t, f), "one two three four")
}

func TestLanesKeepEachWriteWhole(t *testing.T) {
	f := open(t, bw.WithCapacity(4096), bw.WithBuffers(2))
	const lanes, records = 4, 5000
	var group sync.WaitGroup
	for index := range lanes {
		lane := openLane(t, f, bw.WithCapacity(100))
		group.Add(1)
		go func() {
			defer group.Done()
			for record := range records {
				if _, err := fmt.Fprintf(lane, "lane %d record %d\n", index, record); err != nil {
					t.Error(err)
					return
				}
			}
			if err := lane.Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	group.Wait()
	check(t, f.Close())
	next := [lanes]int{}
	for line := range strings.Lines(content(t, f)) {
		var lane, record int
		_, err := fmt.Sscanf(line, "lane %d record %d\n", &lane, &record)
		check(t, err)
		want(t, "record", record, next[lane])
		next[lane]++
	}
	want(t, "records", next, [lanes]int{records, records, records, records})
}

func TestLaneTakesAnyLength(t *testing.T) {
	f := open(t, bw.WithCapacity(4096), bw.WithBuffers(2))
	lane := openLane(t, f, bw.WithCapacity(10))
	var wanted bytes.Buffer
	for _, length := range []int{0, 9, 1, 10, 1, 9, 11, 5, 5, 10, 100, 3, 8192, 8193, 100_000, 7} {
		record := bytes.Repeat([]byte{byte('a' + length%26)}, length)
		pos, err := lane.Append(record)
		check(t, err)
		want(t, "position", pos, int64(wanted.Len()))
		wanted.Write(record)
	}
	check(t, lane.Close())
	check(t, f.Close())
	if content(t, f) != wanted.String() {
		t.Error("the file holds something else")
	}
}

func TestLaneReportsTheErrorOfItsFile(t *testing.T) {
	f := openFull(t)
	lane := openLane(t, f)
	_, err := lane.WriteString("record")
	check(t, err)
	wantIs(t, lane.Flush(), syscall.ENOSPC)
	_, err = f.Discard()
	check(t, err)
	check(t, f.Resume())
	check(t, lane.Close())
	check(t, f.Close())
}

func TestForgottenLaneHandsOn(t *testing.T) {
	f := open(t)
	lane := openLane(t, f)
	_, err := lane.WriteString("record")
	check(t, err)
	lane = nil
	collect(t, func() bool { return f.Position(bw.Accepted) == 6 })
	check(t, f.Flush())
	want(t, "content", content(t, f), "record")
}

// The events of a Lane come in its own calls.
func laneWithEvents(t *testing.T, onEvent func()) *bw.Lane {
	f := open(t)
	lane := openLane(t, f, bw.WithEvents(func(e bw.Event) {
		if e.Kind == bw.EventWritten {
			onEvent()
		}
	}))
	t.Cleanup(func() { check(t, lane.Close()) }) // before that of the file
	_, err := lane.WriteString("record")
	check(t, err)
	return lane
}

func TestPanicInACallGoesOnInItsCaller(t *testing.T) {
	times := 0
	lane := laneWithEvents(t, func() {
		if times++; times == 1 {
			panic("a panic")
		}
	})
	func() {
		defer func() { want[any](t, "panic", recover(), "a panic") }()
		lane.Flush()
	}()
	want(t, "times", times, 1)
	check(t, lane.Flush())
}

func TestGoexitInACallGoesOnInItsCaller(t *testing.T) {
	times := 0
	lane := laneWithEvents(t, func() {
		if times++; times == 1 {
			runtime.Goexit()
		}
	})
	returned := false
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lane.Flush()
		returned = true
	}()
	<-ended
	want(t, "returned", returned, false)
	want(t, "times", times, 1)
	check(t, lane.Flush())
}
