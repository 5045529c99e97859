package bw_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"bw"
)

// Rows that come one by one go to a table in batches. One bad row does not stop the others.
func ExampleNewBatch() {
	insert := func(batch *bw.Batch) error {
		fmt.Printf("insert %d rows\n", batch.Len())
		for index, row := range batch.All() {
			if len(row) == 0 {
				batch.Fail(index, bw.Final(errors.New("an empty row")))
			}
		}
		return nil
	}
	b, err := bw.NewBatch(insert,
		bw.WithMaxItems(100),
		bw.WithBatchLinger(time.Minute),
		bw.WithRetries(3), bw.WithBackoff(10*time.Millisecond),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	for _, row := range []string{"one", "", "three"} {
		if err := b.Send(ctx, []byte(row)); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(b.Close(ctx))
	fmt.Println(b.Stats().Items, "are inserted")
	// Output:
	// insert 3 rows
	// an empty row
	// 2 are inserted
}

// Lines of a log, gathered before they are appended.
func ExampleNewBatchTo() {
	path := filepath.Join(os.TempDir(), "bw-example.log")
	defer os.Remove(path)
	f, err := bw.Open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bw.NewBatchTo(f, "\n")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	b.Send(ctx, []byte("one"))
	b.Send(ctx, []byte("two"))
	fmt.Println(b.Close(ctx), f.Close())
	content, _ := os.ReadFile(path)
	fmt.Printf("%q\n", content)
	// Output:
	// <nil> <nil>
	// "one\ntwo\n"
}

// show is the function of the Batchers below.
func show(batch *bw.Batch) error {
	for _, item := range batch.All() {
		fmt.Printf("batch %d: %s\n", batch.Serial, item)
	}
	return nil
}

func ExampleBatcher() {
	b, err := bw.NewBatch(show, bw.WithMaxItems(2))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, item := range []string{"one", "two", "three"} {
		b.Send(context.Background(), []byte(item))
	}
	b.Close(context.Background())
	// Output:
	// batch 1: one
	// batch 1: two
	// batch 2: three
}

// Who has no time to wait gives up after a while.
func ExampleBatcher_Send() {
	var done func(error)
	slow := func(batch *bw.Batch) error {
		done = batch.Take()
		return nil
	}
	b, _ := bw.NewBatch(slow, bw.WithMaxItems(1), bw.WithBatchBuffers(1))
	fmt.Println(b.Send(context.Background(), []byte("one")))
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	fmt.Println(b.Send(ctx, []byte("two")))
	done(nil)
	fmt.Println(b.Send(context.Background(), []byte("two")))
	// Output:
	// <nil>
	// context deadline exceeded
	// <nil>
}

func ExampleBatcher_TrySend() {
	var b *bw.Batcher
	b, _ = bw.NewBatch(func(batch *bw.Batch) error {
		if string(batch.Item(0)) == "one" {
			return b.TrySend([]byte("two")) // Send might wait for this very function
		}
		return show(batch)
	})
	b.TrySend([]byte("one"))
	b.Flush(context.Background())
	b.Flush(context.Background())
	b.Close(context.Background())
	fmt.Println(errors.Is(b.TrySend([]byte("three")), os.ErrClosed))
	// Output:
	// batch 2: two
	// true
}

func ExampleBatcher_Flush() {
	b, _ := bw.NewBatch(show)
	b.Send(context.Background(), []byte("one"))
	fmt.Println(b.Flush(context.Background()))
	// Output:
	// batch 1: one
	// <nil>
}

// Shutting down within a time: what could not be delivered by then is discarded.
func ExampleBatcher_Close() {
	b, _ := bw.NewBatch(func(*bw.Batch) error { return errors.New("no connection") })
	b.Send(context.Background(), []byte("one"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		fmt.Println(err)
		fmt.Println(b.Discard(), "discarded")
		fmt.Println(b.Close(ctx))
	}
	// Output:
	// no connection
	// 1 discarded
	// <nil>
}

func ExampleBatcher_Discard() {
	b, _ := bw.NewBatch(show, bw.WithDelivered(func(items bw.Items, err error) {
		fmt.Printf("%s: %v\n", items.Item(0), err)
	}))
	b.Send(context.Background(), []byte("one"))
	fmt.Println(b.Discard())
	// Output:
	// one: Operation canceled
	// 1
}

func ExampleBatcher_Wake() {
	ready := false
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		if !ready {
			return syscall.EAGAIN
		}
		return show(batch)
	}, bw.WithMaxItems(1))
	b.Send(context.Background(), []byte("one"))
	ready = true
	b.Wake()
	b.Flush(context.Background())
	// Output: batch 1: one
}

func ExampleBatcher_Err() {
	b, _ := bw.NewBatch(func(*bw.Batch) error { return errors.New("no connection") }, bw.WithMaxItems(1))
	b.Send(context.Background(), []byte("one"))
	fmt.Println(b.Err())
	b.Discard()
	fmt.Println(b.Err())
	// Output:
	// no connection
	// <nil>
}

func ExampleBatcher_Stats() {
	b, _ := bw.NewBatch(func(*bw.Batch) error { return nil })
	b.Send(context.Background(), []byte("one"))
	b.Send(context.Background(), []byte("two"))
	b.Close(context.Background())
	stats := b.Stats()
	fmt.Println(stats.Items, stats.Batches, stats.Bytes)
	// Output: 2 1 6
}

func ExampleBatch() {
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		fmt.Println(batch.Serial, batch.First, batch.Attempt, batch.Len())
		if batch.Attempt == 1 {
			return errors.New("once more")
		}
		return nil
	}, bw.WithMaxItems(2), bw.WithRetries(1))
	for _, item := range []string{"one", "two", "three", "four"} {
		b.Send(context.Background(), []byte(item))
	}
	// Output:
	// 1 1 1 2
	// 1 1 2 2
	// 2 3 1 2
	// 2 3 2 2
}

func ExampleBatch_Fail() {
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		for index, item := range batch.All() {
			fmt.Printf("attempt %d: %s\n", batch.Attempt, item)
			if string(item) == "locked" && batch.Attempt == 1 {
				batch.Fail(index, syscall.EBUSY) // again, with the others that failed
			}
		}
		return nil
	}, bw.WithRetries(1))
	b.Send(context.Background(), []byte("free"))
	b.Send(context.Background(), []byte("locked"))
	fmt.Println(b.Flush(context.Background()))
	// Output:
	// attempt 1: free
	// attempt 1: locked
	// attempt 2: locked
	// <nil>
}

// Several batches under way at once.
func ExampleBatch_Take() {
	post := func(items bw.Items) error { return nil }
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		done := batch.Take()
		go func() { done(post(batch.Items)) }()
		return nil
	}, bw.WithMaxItems(1), bw.WithMaxInFlight(4), bw.WithBatchBuffers(5))
	for range 100 {
		b.Send(context.Background(), []byte("item"))
	}
	fmt.Println(b.Close(context.Background()), b.Stats().Items)
	// Output: <nil> 100
}

func ExampleItems() {
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		fmt.Println(batch.Len(), "items,", batch.Bytes(), "bytes")
		return nil
	})
	b.Send(context.Background(), []byte("one"))
	b.Send(context.Background(), []byte("two"))
	b.Flush(context.Background())
	// Output: 2 items, 6 bytes
}

func ExampleItems_All() {
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		for index, item := range batch.All() {
			fmt.Printf("%d: %s\n", index, item)
		}
		return nil
	})
	b.Send(context.Background(), []byte("one"))
	b.Send(context.Background(), []byte("two"))
	b.Flush(context.Background())
	// Output:
	// 0: one
	// 1: two
}

// Items are kept by a Clone.
func ExampleItems_Clone() {
	var kept [][]byte
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		kept = append(kept, batch.Clone()...)
		return nil
	})
	b.Send(context.Background(), []byte("one"))
	b.Flush(context.Background())
	fmt.Printf("%s\n", kept)
	// Output: [one]
}

func ExampleFinal() {
	b, _ := bw.NewBatch(func(batch *bw.Batch) error {
		fmt.Println("attempt", batch.Attempt)
		return bw.Final(errors.New("no such table"))
	}, bw.WithRetries(10))
	b.Send(context.Background(), []byte("one"))
	fmt.Println(b.Flush(context.Background()))
	// Output:
	// attempt 1
	// no such table
}
