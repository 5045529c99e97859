package bw_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"bw"
)

// Every method from many goroutines, until one of them closes the file: each call ends, and what was accepted is there.
func TestCloseUnderFullLoad(t *testing.T) {
	for round := range 20 {
		f := open(t, bw.WithCapacity(4096), bw.WithBuffers(2), bw.WithEvents(func(bw.Event) {}))
		var accepted atomic.Int64
		var group sync.WaitGroup
		for index := range 16 {
			group.Add(1)
			go func() {
				defer group.Done()
				random := rand.New(rand.NewPCG(uint64(round), uint64(index)))
				for {
					err := anything(f, random, &accepted)
					if errors.Is(err, os.ErrClosed) {
						return
					}
					if err != nil && !errors.Is(err, syscall.EBUSY) { // a lane is open
						t.Error(err)
					}
				}
			}()
		}
		group.Wait()
		check(t, f.Close())
		info, err := os.Stat(f.Name())
		check(t, err)
		want(t, "size", info.Size(), accepted.Load())
		want(t, "durable", f.Position(bw.Durable), accepted.Load())
	}
}

func anything(f *bw.File, random *rand.Rand, accepted *atomic.Int64) error {
	record := make([]byte, random.IntN(10_000))
	count := func(n int, err error) error {
		accepted.Add(int64(n))
		return err
	}
	switch random.IntN(200) {
	case 0:
		return f.Close()
	case 1:
		_, err := f.Seek(0, io.SeekCurrent)
		return err
	case 2:
		return f.Sync()
	case 3, 4:
		return f.Flush()
	case 5:
		lane, err := f.Lane(bw.WithCapacity(100))
		if err != nil {
			return err
		}
		if err = count(lane.Write(record)); err != nil {
			return err
		}
		return lane.Close()
	case 6:
		_, err := f.Unwritten()
		return err
	}
	pos, err := f.Append(record)
	if err != nil {
		return err
	}
	accepted.Add(int64(len(record)))
	end := pos + int64(len(record))
	switch random.IntN(20) {
	case 0:
		return f.Wait(context.Background(), end, bw.Durable)
	case 1:
		return f.Wait(context.Background(), end, bw.Written)
	case 2:
		return <-f.Notify(end, bw.Durable)
	}
	f.Stats()
	return f.Err()
}
