package bw_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"bw"
)

const benchBatch = 1000 // items

// What a Batcher is compared with: the two ways in which batches are made by hand. All of them copy the item, and look
// at each item of a batch once.

func lookAt(total *int, item []byte) { *total += len(item) }

// A channel, and a goroutine that makes batches of what comes out of it.
func newChannelBatch() (send func([]byte), end func()) {
	items := make(chan []byte, 2*benchBatch)
	ended := make(chan int)
	go func() {
		total := 0
		batch := make([][]byte, 0, benchBatch)
		take := func() {
			for _, item := range batch {
				lookAt(&total, item)
			}
			clear(batch)
			batch = batch[:0]
		}
		for item := range items {
			batch = append(batch, item)
			if len(batch) == benchBatch {
				take()
			}
		}
		take()
		ended <- total
	}()
	return func(item []byte) { items <- bytes.Clone(item) }, func() {
		close(items)
		<-ended
	}
}

// A mutex, and a slice of items that whoever fills it empties; those who come meanwhile wait.
func newSliceBatch() (send func([]byte), end func()) {
	var mu sync.Mutex
	var memory []byte
	var ends []int
	total := 0
	take := func() {
		begin := 0
		for _, end := range ends {
			lookAt(&total, memory[begin:end])
			begin = end
		}
		memory, ends = memory[:0], ends[:0]
	}
	return func(item []byte) {
		mu.Lock()
		defer mu.Unlock()
		memory = append(memory, item...)
		ends = append(ends, len(memory))
		if len(ends) == benchBatch {
			take()
		}
	}, take
}

func newBwBatch(b *testing.B, opts ...bw.BatchOption) (send func([]byte), end func()) {
	total := 0
	batcher, err := bw.NewBatch(func(batch *bw.Batch) error {
		for _, item := range batch.All() {
			lookAt(&total, item)
		}
		return nil
	}, append(opts, bw.WithMaxItems(benchBatch))...)
	check(b, err)
	return func(item []byte) {
			if err := batcher.Send(background, item); err != nil {
				b.Error(err)
			}
		}, func() {
			check(b, batcher.Close(background))
		}
}

func BenchmarkBatch(b *testing.B) {
	for _, peer := range []struct {
		name string
		make func(*testing.B) (send func([]byte), end func())
	}{
		{"channel", func(*testing.B) (func([]byte), func()) { return newChannelBatch() }},
		{"mutex+slice", func(*testing.B) (func([]byte), func()) { return newSliceBatch() }},
		{"bw", func(b *testing.B) (func([]byte), func()) { return newBwBatch(b) }},
		{"bw-background", func(b *testing.B) (func([]byte), func()) {
			return newBwBatch(b, bw.WithBatchBackground(), bw.WithBatchBuffers(8))
		}},
	} {
		for _, goroutines := range []int{1, 2, 64} {
			b.Run(fmt.Sprintf("peer=%s/goroutines=%d", peer.name, goroutines), func(b *testing.B) {
				b.ReportAllocs()
				send, end := peer.make(b)
				benchSend(b, goroutines, send)
				end()
			})
		}
	}
}

// benchSend has b.N items sent by that many goroutines.
func benchSend(b *testing.B, goroutines int, send func([]byte)) {
	var senders sync.WaitGroup
	for index := range goroutines {
		count := b.N / goroutines
		if index < b.N%goroutines {
			count++
		}
		senders.Add(1)
		go func() {
			defer senders.Done()
			item := make([]byte, 64)
			for range count {
				send(item)
			}
		}()
	}
	senders.Wait()
}
