package bw_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bw"
)

const (
	stressSenders = 64
	stressItems   = 500 // of each sender
)

// A tally counts, for each item, how often it was stored and how often it was told of.
type tally struct {
	stored, told, dropped [stressSenders * stressItems]atomic.Int32
}

func number(item []byte) uint32 { return binary.LittleEndian.Uint32(item) }

// store is a sink that does whatever a sink may do.
func (c *tally) store(batch *bw.Batch, wake func()) error {
	switch rand.IntN(8) {
	case 0:
		return syscall.EIO
	case 1:
		go wake()
		return syscall.EAGAIN
	case 2:
		done := batch.Take()
		go func() { done(c.storeSome(batch)) }()
		return nil
	case 3:
		return c.storeSome(batch)
	}
	for _, item := range batch.All() {
		c.stored[number(item)].Add(1)
	}
	return nil
}

// storeSome stores some items, refuses one for good, and fails for the others.
func (c *tally) storeSome(batch *bw.Batch) error {
	for index, item := range batch.All() {
		switch {
		case number(item)%100 == 99:
			batch.Fail(index, bw.Final(errBroken))
		case rand.IntN(2) == 0:
			batch.Fail(index, nil)
			c.stored[number(item)].Add(1)
		}
	}
	return syscall.EBUSY
}

func (c *tally) delivered(items bw.Items, err error) {
	for _, item := range items.All() {
		c.told[number(item)].Add(1)
		if err != nil {
			c.dropped[number(item)].Add(1)
		}
	}
}

func (c *tally) send(t testing.TB, b *bw.Batcher, sender uint32) {
	for count := range uint32(stressItems) {
		id := sender*stressItems + count
		item := binary.LittleEndian.AppendUint32(nil, id)
		for err := b.Send(background, item); err != nil; err = b.Send(background, item) {
			if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.EBUSY) {
				t.Error(err)
				return
			}
		}
		if count%200 == 0 {
			b.Flush(background)
		}
	}
}

func TestStressBatchSettlesEveryItemOnce(t *testing.T) {
	for name, opts := range map[string][]bw.BatchOption{
		"inline":     {},
		"background": {bw.WithBatchBackground()},
		"linger":     {bw.WithBatchLinger(100 * time.Microsecond)},
		"backoff":    {bw.WithBackoff(10 * time.Microsecond), bw.WithRetries(3)},
		"bisect":     {bw.WithBisect(), bw.WithBatchBackground()},
		"in flight":  {bw.WithMaxInFlight(4), bw.WithBatchBuffers(6)},
		"give up":    {bw.WithWhenFailed(bw.FailedGiveUp), bw.WithRetries(1)},
		"drop":       {bw.WithWhenFull(bw.FullDropOldest), bw.WithBatchBuffers(4)},
	} {
		t.Run(name, func(t *testing.T) { stress(t, opts) })
	}
}

func stress(t *testing.T, opts []bw.BatchOption) {
	var c tally
	var b *bw.Batcher
	store := func(batch *bw.Batch) error { return c.store(batch, func() { b.Wake() }) }
	b, err := bw.NewBatch(store, append(opts, bw.WithMaxItems(20), bw.WithDelivered(c.delivered))...)
	check(t, err)
	var senders sync.WaitGroup
	for sender := range uint32(stressSenders) {
		senders.Add(1)
		go func() {
			defer senders.Done()
			c.send(t, b, sender)
		}()
	}
	senders.Wait()
	for b.Close(background) != nil { // a batch is held, or items were given up
	}
	for id := range c.told {
		told, stored, dropped := c.told[id].Load(), c.stored[id].Load(), c.dropped[id].Load()
		if told != 1 || stored+dropped != 1 {
			t.Fatalf("item %d: told of %d times, stored %d times, not delivered %d times", id, told, stored, dropped)
		}
	}
	stats := b.Stats()
	want(t, "items", stats.Items+stats.DroppedItems+stats.FailedItems, stressSenders*stressItems)
}
