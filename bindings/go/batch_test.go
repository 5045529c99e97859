package bw_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bw"
)

var (
	background = context.Background()
	errBroken  = errors.New("broken")
)

func newBatch(t testing.TB, fn func(*bw.Batch) error, opts ...bw.BatchOption) *bw.Batcher {
	t.Helper()
	b, err := bw.NewBatch(fn, opts...)
	check(t, err)
	t.Cleanup(func() {
		b.Discard()
		closeBatch(b)
	})
	return b
}

// closeBatch takes what was given up, or left behind, for granted.
func closeBatch(b *bw.Batcher) {
	for b.Close(background) != nil {
		b.Discard()
	}
}

func send(t testing.TB, b *bw.Batcher, items ...string) {
	t.Helper()
	for _, item := range items {
		check(t, b.Send(background, []byte(item)))
	}
}

func text(items bw.Items) []string {
	var all []string
	for _, item := range items.All() {
		all = append(all, string(item))
	}
	return all
}

// A journal records texts, and what it was told of items.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) delivered(items bw.Items, err error) {
	j.add(strings.ToLower(fmt.Sprint(strings.Join(text(items), " "), ": ", err)))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

func wantLines(t testing.TB, got []string, wanted ...string) {
	t.Helper()
	if !slices.Equal(got, wanted) {
		t.Errorf("%q, not %q", got, wanted)
	}
}

func TestBatchComesWholeAndInOrder(t *testing.T) {
	var got journal
	b := newBatch(t, func(batch *bw.Batch) error {
		got.add(fmt.Sprint(batch.Serial, batch.First, batch.Attempt, batch.Len(), batch.Bytes(), text(batch.Items)))
		return nil
	}, bw.WithMaxItems(2))
	send(t, b, "one", "two", "three", "", "five")
	check(t, b.Flush(background))
	wantLines(t, got.all(), "1 1 1 2 6 [one two]", "2 3 1 2 5 [three ]", "3 5 1 1 4 [five]")
	check(t, b.Flush(background))
	want(t, "batches", b.Stats().Batches, 3)
}

func TestBatchIsEmptyAfterwards(t *testing.T) {
	var kept *bw.Batch
	var clone [][]byte
	b := newBatch(t, func(batch *bw.Batch) error {
		kept, clone = batch, batch.Clone()
		return nil
	})
	send(t, b, "one", "two")
	check(t, b.Flush(background))
	want(t, "items", kept.Len(), 0)
	send(t, b, "xxx", "xxx")
	want(t, "clone", string(clone[0])+string(append(clone[0], '!'))+string(clone[1]), "oneone!two")
}

func TestBatchItemIsCopied(t *testing.T) {
	var got journal
	b := newBatch(t, func(batch *bw.Batch) error {
		got.add(string(batch.Item(0)))
		return nil
	})
	item := []byte("one")
	check(t, b.Send(background, item))
	copy(item, "xxx")
	check(t, b.Flush(background))
	wantLines(t, got.all(), "one")
}

func TestBatchLingers(t *testing.T) {
	var got journal
	b := newBatch(t, func(batch *bw.Batch) error {
		got.add(string(batch.Item(0)))
		return nil
	}, bw.WithBatchLinger(time.Millisecond))
	send(t, b, "one")
	bw.Eventually(t, "one is delivered", func() bool { return b.Stats().Items == 1 })
	wantLines(t, got.all(), "one")
}

func TestBatchChecksOptionsAndItems(t *testing.T) {
	take := func(*bw.Batch) error { return nil }
	for name, opts := range map[string][]bw.BatchOption{
		"items":    {bw.WithMaxItems(1<<20 + 1)},
		"bytes":    {bw.WithMaxBytes(128<<20 + 1)},
		"full":     {bw.WithWhenFull(4)},
		"failed":   {bw.WithWhenFailed(2)},
		"align":    {bw.WithItemAlign(3)},
		"size":     {bw.WithItemSize(12), bw.WithItemAlign(8)},
		"pressure": {bw.WithBatchPressure(50, 60, nil)},
		"linger":   {bw.WithBatchLinger(1), bw.WithBatchUnshared()},
	} {
		if _, err := bw.NewBatch(take, opts...); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := bw.NewBatch(nil)
	wantIs(t, err, syscall.EINVAL)
	b := newBatch(t, take, bw.WithMaxBytes(16), bw.WithItemSize(8), bw.WithBatchUnshared())
	wantIs(t, b.Send(background, make([]byte, 7)), syscall.EINVAL)
	b = newBatch(t, take, bw.WithMaxBytes(16))
	wantIs(t, b.Send(background, make([]byte, 17)), syscall.EMSGSIZE)
	wantIs(t, b.TrySend(make([]byte, 17)), syscall.EMSGSIZE)
}

// A taker keeps what it takes, until it is told to answer.
type taker struct{ taken chan func(error) }

func newTaker() taker { return taker{make(chan func(error), 100)} }

func (k taker) take(batch *bw.Batch) error {
	k.taken <- batch.Take()
	return nil
}

// full gives a Batcher of which both batches are in use: "one" in flight, "two" waiting.
func full(t testing.TB, opts ...bw.BatchOption) (*bw.Batcher, taker) {
	t.Helper()
	k := newTaker()
	b := newBatch(t, k.take, append(opts, bw.WithMaxItems(1))...)
	send(t, b, "one", "two")
	wantIs(t, b.TrySend([]byte("three")), syscall.EAGAIN)
	return b, k
}

// empty answers for all of it.
func (k taker) empty(t testing.TB, b *bw.Batcher) {
	t.Helper()
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case done := <-k.taken:
				done(nil)
			case <-stop:
				return
			}
		}
	}()
	check(t, b.Close(background))
	close(stop)
}

func TestBatchWhenFull(t *testing.T) {
	for policy, wanted := range map[bw.WhenFull]error{
		bw.FullFail:       syscall.EAGAIN,
		bw.FullDropNewest: bw.ErrDropped,
	} {
		var told journal
		b, k := full(t, bw.WithWhenFull(policy), bw.WithDelivered(told.delivered))
		wantIs(t, b.Send(background, []byte("three")), wanted)
		k.empty(t, b)
		wantLines(t, told.all(), "one: <nil>", "two: <nil>")
	}
}

func TestBatchDropsOldest(t *testing.T) {
	var told journal
	b, k := full(t, bw.WithWhenFull(bw.FullDropOldest), bw.WithDelivered(told.delivered))
	send(t, b, "three")
	wantLines(t, told.all(), "two: no buffer space available")
	k.empty(t, b)
	wantLines(t, told.all(), "two: no buffer space available", "one: <nil>", "three: <nil>")
	want(t, "dropped", b.Stats().DroppedItems, 1)
}

func TestBatchSendWaits(t *testing.T) {
	var told journal
	b, k := full(t, bw.WithDelivered(told.delivered))
	ctx, cancel := context.WithCancel(background)
	ended := make(chan error)
	go func() { ended <- b.Send(ctx, []byte("three")) }()
	cancel()
	wantIs(t, <-ended, context.Canceled)
	go func() { ended <- b.Send(background, []byte("four")) }()
	(<-k.taken)(nil)
	check(t, <-ended)
	k.empty(t, b)
	wantLines(t, told.all(), "one: <nil>", "two: <nil>", "four: <nil>")
}

// Where the room is too small for this item, what is in the filling batch has to go first.
func TestBatchSendWaitsForEnoughRoom(t *testing.T) {
	k := newTaker()
	b := newBatch(t, k.take, bw.WithMaxBytes(16))
	send(t, b, "12345678", "12345678", "12345678")
	ended := make(chan error)
	go func() { ended <- b.Send(background, make([]byte, 16)) }()
	(<-k.taken)(nil)
	check(t, <-ended)
	k.empty(t, b)
	want(t, "bytes", b.Stats().Bytes, 40)
}

func TestBatchRetries(t *testing.T) {
	var got journal
	b := newBatch(t, func(batch *bw.Batch) error {
		got.add(fmt.Sprint(batch.Serial, batch.Attempt))
		if batch.Attempt < 3 {
			return errBroken
		}
		return nil
	}, bw.WithRetries(2), bw.WithBackoff(time.Microsecond))
	send(t, b, "one")
	check(t, b.Flush(background))
	wantLines(t, got.all(), "1 1", "1 2", "1 3")
	want(t, "retries", b.Stats().Retries, 2)
}

func TestBatchThatFailedIsHeld(t *testing.T) {
	var told journal
	cause := fmt.Errorf("insert: %w", syscall.ENOSPC)
	b := newBatch(t, func(batch *bw.Batch) error { return cause },
		bw.WithMaxItems(1), bw.WithDelivered(told.delivered))
	check(t, b.Err())
	send(t, b, "one", "two")
	for range 2 {
		if err := b.Flush(background); err != cause {
			t.Errorf("flush: %v", err)
		}
	}
	if err := b.Err(); err != cause {
		t.Errorf("held: %v", err)
	}
	if err := b.Send(background, []byte("three")); err != cause {
		t.Errorf("send: %v", err)
	}
	wantLines(t, told.all())
	want(t, "discarded", b.Discard(), 2)
	check(t, b.Err())
	wantLines(t, told.all(), "one: operation canceled", "two: operation canceled")
}

func TestBatchThatFailedIsGivenUp(t *testing.T) {
	var told journal
	b := newBatch(t, func(batch *bw.Batch) error { return errBroken },
		bw.WithWhenFailed(bw.FailedGiveUp), bw.WithDelivered(told.delivered))
	send(t, b, "one")
	if err := b.Flush(background); err != errBroken {
		t.Errorf("flush: %v", err)
	}
	check(t, b.Flush(background))
	wantLines(t, told.all(), "one: broken")
	want(t, "failed", b.Stats().FailedItems, 1)
}

func TestBatchBisects(t *testing.T) {
	var told journal
	refused := bw.Final(errBroken)
	b := newBatch(t, func(batch *bw.Batch) error {
		if slices.Contains(text(batch.Items), "bad") {
			return refused
		}
		return nil
	}, bw.WithMaxItems(4), bw.WithBisect(), bw.WithDelivered(told.delivered))
	send(t, b, "one", "two", "bad", "four")
	wantIs(t, b.Flush(background), errBroken)
	wantLines(t, told.all(), "one two: <nil>", "bad: broken", "four: <nil>")
}

func TestBatchFailsSingleItems(t *testing.T) {
	var told, got journal
	b := newBatch(t, func(batch *bw.Batch) error {
		got.add(strings.Join(text(batch.Items), " "))
		for index, item := range batch.All() {
			switch {
			case string(item) == "bad":
				batch.Fail(index, bw.Final(errBroken))
			case string(item) == "later" && batch.Attempt == 1:
				batch.Fail(index, syscall.EBUSY)
			case string(item) == "good":
				batch.Fail(index, nil)
			}
		}
		if batch.Attempt == 1 {
			return syscall.ECONNRESET
		}
		return nil
	}, bw.WithRetries(1), bw.WithDelivered(told.delivered))
	send(t, b, "good", "bad", "later", "other")
	wantIs(t, b.Flush(background), errBroken)
	wantLines(t, got.all(), "good bad later other", "later other")
	wantLines(t, told.all(), "good: <nil>", "bad: broken", "later other: <nil>")
}

func TestBatchIsTaken(t *testing.T) {
	var told journal
	k := newTaker()
	b := newBatch(t, k.take, bw.WithDelivered(told.delivered), bw.WithWhenFailed(bw.FailedGiveUp))
	send(t, b, "one")
	flushed := make(chan error)
	go func() { flushed <- b.Flush(background) }()
	done := <-k.taken
	bw.Eventually(t, "one is in flight", func() bool { return b.Stats().InFlightItems == 1 })
	done(errBroken)
	done(nil)
	wantIs(t, <-flushed, errBroken)
	wantLines(t, told.all(), "one: broken")
}

func TestBatchIsAnsweredBeforeItIsTaken(t *testing.T) {
	var told journal
	b := newBatch(t, func(batch *bw.Batch) error {
		batch.Fail(1, bw.Final(errBroken))
		done := batch.Take()
		answered := make(chan struct{})
		go func() {
			done(nil)
			close(answered)
		}()
		<-answered
		return syscall.EBUSY // too late
	}, bw.WithDelivered(told.delivered))
	send(t, b, "one", "two")
	wantIs(t, b.Flush(background), errBroken)
	wantLines(t, told.all(), "one: <nil>", "two: broken")
}

func TestBatchTakenInVainIsAnsweredByTheError(t *testing.T) {
	var done func(error)
	b := newBatch(t, func(batch *bw.Batch) error {
		done = batch.Take()
		return errBroken
	})
	send(t, b, "one")
	wantIs(t, b.Flush(background), errBroken)
	done(nil)
	wantIs(t, b.Err(), errBroken)
}

func TestBatchIsOfferedAgainWhenWoken(t *testing.T) {
	var ready sync.Map
	b := newBatch(t, func(batch *bw.Batch) error {
		if _, isReady := ready.Load("ready"); !isReady {
			return fmt.Errorf("not yet: %w", syscall.EAGAIN)
		}
		want(t, "attempt", batch.Attempt, 1)
		return nil
	})
	send(t, b, "one")
	ended := make(chan error)
	go func() { ended <- b.Flush(background) }()
	ready.Store("ready", true)
	b.Wake()
	check(t, <-ended)
	want(t, "retries", b.Stats().Retries, 0)
}

func TestBatchTellsOfPressure(t *testing.T) {
	var told journal
	pressure := bw.WithBatchPressure(100, 50, func(on bool) { told.add(fmt.Sprint(on)) })
	b, k := full(t, pressure)
	wantLines(t, told.all(), "true")
	k.empty(t, b)
	wantLines(t, told.all(), "true", "false")
}

func TestBatchAllowsWhatDoesNotWaitInCallbacks(t *testing.T) {
	var b *bw.Batcher
	var told journal
	b = newBatch(t, func(batch *bw.Batch) error {
		if batch.Serial == 1 {
			check(t, b.TrySend([]byte("two")))
			check(t, b.TrySend([]byte("three")))
			want(t, "discarded", b.Discard(), 2)
			check(t, b.TrySend([]byte("four")))
		}
		b.Wake()
		check(t, b.Err())
		want(t, "delivered", b.Stats().Items, 0)
		return nil
	}, bw.WithBatchBuffers(4), bw.WithDelivered(func(items bw.Items, err error) {
		told.delivered(items, err)
		if string(items.Item(0)) == "one" {
			check(t, b.TrySend([]byte("five")))
			want(t, "discarded", b.Discard(), 2)
		}
	}))
	send(t, b, "one")
	check(t, b.Flush(background))
	slices.Sort(told.lines)
	wantLines(t, told.all(), "four five: operation canceled", "one: <nil>", "two three: operation canceled")
}

func TestBatchAfterClose(t *testing.T) {
	b := newBatch(t, func(*bw.Batch) error { return nil })
	send(t, b, "one", "two")
	check(t, b.Close(background))
	check(t, b.Close(background))
	wantIs(t, b.Send(background, []byte("three")), os.ErrClosed, syscall.ESHUTDOWN)
	wantIs(t, b.TrySend(nil), os.ErrClosed)
	wantIs(t, b.Flush(background), os.ErrClosed)
	want(t, "discarded", b.Discard(), 0)
	b.Wake()
	check(t, b.Err())
	want(t, "items", b.Stats().Items, 2)
	want(t, "flushed", b.Stats().Flushed, 1)
}

func TestBatchCloseIsCalledAgain(t *testing.T) {
	b, k := full(t)
	waiting := make(chan error)
	go func() { waiting <- b.Send(background, []byte("three")) }()
	ctx, cancel := context.WithCancel(background)
	closing := make(chan error)
	go func() { closing <- b.Close(ctx) }()
	wantIs(t, <-waiting, os.ErrClosed)
	cancel()
	wantIs(t, <-closing, context.Canceled)
	wantIs(t, b.Send(background, []byte("four")), os.ErrClosed)
	k.empty(t, b)
	want(t, "items", b.Stats().Items, 2)
}

func TestBatchIsNotClosedWhileItIsHeld(t *testing.T) {
	b := newBatch(t, func(*bw.Batch) error { return errBroken })
	send(t, b, "one")
	wantIs(t, b.Close(background), errBroken)
	wantIs(t, b.Close(background), errBroken)
	want(t, "discarded", b.Discard(), 1)
	check(t, b.Close(background))
}

func TestBatchClosedByMany(t *testing.T) {
	var got sync.WaitGroup
	b := newBatch(t, func(*bw.Batch) error { return nil }, bw.WithBatchBackground(), bw.WithMaxItems(10))
	for range 8 {
		got.Add(2)
		go func() {
			defer got.Done()
			for b.Send(background, []byte("item")) == nil {
			}
		}()
		go func() {
			defer got.Done()
			check(t, b.Close(background))
			if stats := b.Stats(); stats.BufferedItems != 0 {
				t.Errorf("%d items are left", stats.BufferedItems)
			}
		}()
	}
	got.Wait()
}

func TestBatchToFile(t *testing.T) {
	f := open(t)
	var told journal
	b, err := bw.NewBatchTo(f, "\n", bw.WithMaxItems(2), bw.WithDelivered(told.delivered))
	check(t, err)
	send(t, b, "one", "two", "three")
	check(t, b.Flush(background))
	want(t, "content", content(t, f), "one\ntwo\nthree\n")
	wantLines(t, told.all(), "one two: <nil>", "three: <nil>")
	check(t, b.Close(background))
	_, err = f.WriteString("four\n")
	check(t, err)
	check(t, f.Close())
	want(t, "content", content(t, f), "one\ntwo\nthree\nfour\n")
	_, err = bw.NewBatchTo(f, "\n")
	wantIs(t, err, os.ErrClosed)
	_, err = bw.NewBatchTo(f, "\x00")
	wantIs(t, err, syscall.EINVAL)
}

// The File goes first: what is left has nowhere to go, and stays until it is discarded.
func TestBatchOutlivesItsFile(t *testing.T) {
	f := open(t)
	b, err := bw.NewBatchTo(f, "\n")
	check(t, err)
	send(t, b, "one")
	check(t, f.Close())
	wantIs(t, b.Close(background), os.ErrClosed)
	want(t, "discarded", b.Discard(), 1)
	closeBatch(b)
}

func TestBatchStatsTellAll(t *testing.T) {
	b := newBatch(t, func(*bw.Batch) error { return nil })
	send(t, b, "one", "two")
	want(t, "buffered", b.Stats().BufferedItems, 2)
	check(t, b.Flush(background))
	stats := b.Stats()
	want(t, "in batch", stats.InBatch.Count, 1)
	want(t, "to delivered", stats.ToDelivered.Count, 1)
	stats.InBatch, stats.ToDelivered = bw.Latency{}, bw.Latency{}
	wanted := bw.BatchStats{Items: 2, Batches: 1, MaxBatchSize: 2, Bytes: 6, Flushed: 1}
	if !reflect.DeepEqual(stats, wanted) {
		t.Errorf("%+v, not %+v", stats, wanted)
	}
}
