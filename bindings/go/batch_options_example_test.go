package bw_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"bw"
)

// sendAll sends some items, closes, and prints an error.
func sendAll(b *bw.Batcher, items ...string) {
	for _, item := range items {
		if err := b.Send(context.Background(), []byte(item)); err != nil {
			fmt.Println(item, "is not sent:", err)
		}
	}
	if err := b.Close(context.Background()); err != nil {
		fmt.Println("close:", err)
	}
}

func ExampleWithMaxItems() {
	b, _ := bw.NewBatch(show, bw.WithMaxItems(2))
	sendAll(b, "one", "two", "three")
	// Output:
	// batch 1: one
	// batch 1: two
	// batch 2: three
}

func ExampleWithMaxBytes() {
	b, _ := bw.NewBatch(show, bw.WithMaxBytes(6))
	sendAll(b, "one", "two", "three", "too long")
	// Output:
	// batch 1: one
	// batch 1: two
	// too long is not sent: Message too long
	// batch 2: three
}

func ExampleWithBatchLinger() {
	offered := make(chan string)
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		offered <- string(batch.Item(0))
		return nil
	}, bw.WithBatchLinger(time.Millisecond))
	b.Send(context.Background(), []byte("one"))
	fmt.Println(<-offered)
	sendAll(b)
	// Output: one
}

// While one batch is with a slow service, four more fill.
func ExampleWithBatchBuffers() {
	b, _ := bw.NewBatch(show, bw.WithBatchBuffers(5), bw.WithBatchBackground())
	sendAll(b, "one")
	// Output: batch 1: one
}

func ExampleWithBatchBackground() {
	b, _ := bw.NewBatch(show, bw.WithBatchBackground(), bw.WithMaxItems(1))
	sendAll(b, "one", "two")
	// Output:
	// batch 1: one
	// batch 2: two
}

func ExampleWithBatchUnshared() {
	b, _ := bw.NewBatch(show, bw.WithBatchUnshared())
	sendAll(b, "one")
	// Output: batch 1: one
}

func ExampleWithMaxInFlight() {
	taken := make(chan func(error), 2)
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		taken <- batch.Take()
		return nil
	}, bw.WithMaxItems(1), bw.WithMaxInFlight(2), bw.WithBatchBuffers(3))
	b.Send(context.Background(), []byte("one"))
	b.Send(context.Background(), []byte("two"))
	first, second := <-taken, <-taken
	second(nil)
	first(nil)
	sendAll(b)
	fmt.Println(b.Stats().Items)
	// Output: 2
}

func ExampleWithWhenFull() {
	var done func(error)
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		done = batch.Take()
		return nil
	}, bw.WithWhenFull(bw.FullDropNewest), bw.WithMaxItems(1), bw.WithBatchBuffers(1))
	b.Send(context.Background(), []byte("one"))
	fmt.Println(errors.Is(b.Send(context.Background(), []byte("two")), bw.ErrDropped))
	done(nil)
	sendAll(b)
	// Output: true
}

func ExampleWithWhenFailed() {
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		return fmt.Errorf("no %s here", batch.Item(0))
	}, bw.WithWhenFailed(bw.FailedGiveUp), bw.WithMaxItems(1))
	sendAll(b, "one", "two")
	fmt.Println(b.Stats().FailedItems, "are given up")
	// Output:
	// close: no one here
	// 2 are given up
}

func ExampleWithRetries() {
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		fmt.Println("attempt", batch.Attempt)
		if batch.Attempt < 3 {
			return syscall.ECONNRESET
		}
		return nil
	}, bw.WithRetries(2))
	sendAll(b, "one")
	// Output:
	// attempt 1
	// attempt 2
	// attempt 3
}

func ExampleWithBackoff() {
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		if batch.Attempt == 1 {
			return syscall.ECONNRESET
		}
		return show(batch)
	}, bw.WithRetries(1), bw.WithBackoff(time.Millisecond))
	sendAll(b, "one")
	// Output: batch 1: one
}

// A service that refuses a batch whole, and does not say for which item.
func ExampleWithBisect() {
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		for _, item := range batch.All() {
			if string(item) == "bad" {
				return bw.Final(errors.New("refused"))
			}
		}
		return show(batch)
	}, bw.WithBisect())
	sendAll(b, "one", "two", "bad", "four")
	// Output:
	// batch 1: one
	// batch 1: two
	// batch 1: four
	// close: refused
}

func ExampleWithItemSize() {
	b, _ := bw.NewBatch(show, bw.WithItemSize(3))
	sendAll(b, "one", "three")
	// Output:
	// three is not sent: Invalid argument
	// batch 1: one
}

func ExampleWithItemAlign() {
	b, _ := bw.NewBatch(show, bw.WithItemAlign(4096)) // each item on a page of its own
	sendAll(b, "one")
	// Output: batch 1: one
}

// A source that can be stopped.
func ExampleWithBatchPressure() {
	var done func(error)
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		done = batch.Take()
		return nil
	}, bw.WithMaxItems(1), bw.WithBatchPressure(50, 0, func(on bool) { fmt.Println("stop:", on) }))
	b.Send(context.Background(), []byte("one"))
	done(nil)
	sendAll(b)
	// Output:
	// stop: true
	// stop: false
}

func ExampleWithDelivered() {
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		batch.Fail(1, bw.Final(errors.New("a bad row")))
		return nil
	}, bw.WithDelivered(func(items bw.Items, err error) {
		for _, item := range items.All() {
			fmt.Printf("%s: %v\n", item, err)
		}
	}))
	sendAll(b, "one", "two")
	// Output:
	// one: <nil>
	// two: a bad row
	// close: a bad row
}
