package bw

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/cgo"
	"syscall"
	"testing"
)

// A batcher that is full, until the batch in flight is answered.
func fullBatch(t *testing.T) (b *Batcher, done func(error)) {
	t.Helper()
	taken := make(chan func(error), 1)
	isFirst := true
	b, err := NewBatch(func(batch *Batch) error {
		if isFirst {
			isFirst = false
			taken <- batch.Take()
		}
		return nil
	}, WithMaxItems(1))
	must(t, err)
	must(t, b.TrySend(nil))
	must(t, b.TrySend(nil))
	return b, <-taken
}

func TestManySendsWaitWithoutThreads(t *testing.T) {
	b, done := fullBatch(t)
	end := run(t, func(int) error { return b.Send(context.Background(), nil) })
	eventually(t, "all wait", func() bool { return b.in.room.length() == manyGoroutines })
	if count := threads(t); count >= fewThreads {
		t.Errorf("%d threads", count)
	}
	done(nil)
	end()
	must(t, b.Close(context.Background()))
	if items := b.Stats().Items; items != manyGoroutines+2 {
		t.Errorf("%d items", items)
	}
}

func TestManyFlushesWaitWithoutThreads(t *testing.T) {
	b, done := fullBatch(t)
	end := run(t, func(index int) error {
		if index%2 == 0 {
			return b.Close(context.Background())
		}
		if err := b.Flush(context.Background()); !errors.Is(err, os.ErrClosed) {
			return err
		}
		return nil
	})
	eventually(t, "all wait", func() bool { return b.in.level.length() == manyGoroutines })
	if count := threads(t); count >= fewThreads {
		t.Errorf("%d threads", count)
	}
	done(nil)
	end()
}

func TestManySendsEndWithClose(t *testing.T) {
	b, done := fullBatch(t)
	end := run(t, func(int) error {
		if err := b.Send(context.Background(), nil); !errors.Is(err, os.ErrClosed) {
			return errors.New("not closed")
		}
		return nil
	})
	eventually(t, "all wait", func() bool { return b.in.room.length() == manyGoroutines })
	ctx, cancel := context.WithCancel(context.Background())
	closed := make(chan error)
	go func() { closed <- b.Close(ctx) }()
	end()
	cancel()
	if err := <-closed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	done(nil)
	must(t, b.Close(context.Background()))
}

// A Close refuses items at once, though a Flush that came first still waits.
func TestCloseBeginsWhileAFlushWaits(t *testing.T) {
	b, done := fullBatch(t)
	ended := make(chan error)
	go func() { ended <- b.Flush(context.Background()) }()
	eventually(t, "the flush waits", func() bool { return b.in.level.length() == 1 })
	go func() { ended <- b.Close(context.Background()) }()
	eventually(t, "items are refused", func() bool { return errors.Is(b.TrySend(nil), os.ErrClosed) })
	done(nil)
	for range 2 {
		if err := <-ended; err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	}
}

// What is closed is freed, and with it the File that was kept for it.
func TestClosedBatcherIsFreed(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "data"), os.O_WRONLY|os.O_CREATE, 0o600)
	must(t, err)
	b, err := NewBatchTo(f, "")
	must(t, err)
	must(t, f.Close())
	if f.handle.ended.Load() {
		t.Error("the file is freed before the batcher")
	}
	must(t, b.Close(context.Background()))
	eventually(t, "both are freed", f.handle.ended.Load)
	if isKnown(b.in.token) {
		t.Error("the token is still valid")
	}
}

func isKnown(token cgo.Handle) (is bool) {
	defer func() { is = recover() == nil }()
	token.Value()
	return
}

// A Batcher that is forgotten is discarded, and C forgets it too.
func TestForgottenBatcherIsDiscarded(t *testing.T) {
	told := make(chan error, 1)
	forget := func() *batcher {
		b, err := NewBatch(func(*Batch) error {
			t.Error("a batch is offered")
			return nil
		}, WithDelivered(func(_ Items, err error) { told <- err }))
		must(t, err)
		must(t, b.TrySend([]byte("one")))
		return b.in
	}
	in := forget()
	eventually(t, "it is freed", func() bool {
		runtime.GC()
		return in.ended.Load()
	})
	if err := <-told; !errors.Is(err, syscall.ECANCELED) {
		t.Error(err)
	}
}

// A batch that was taken and forgotten has failed.
func TestForgottenBatchIsAnswered(t *testing.T) {
	b, err := NewBatch(func(batch *Batch) error {
		batch.Take()
		return nil
	}, WithWhenFailed(FailedGiveUp))
	must(t, err)
	must(t, b.TrySend([]byte("one")))
	flushed := make(chan error)
	go func() { flushed <- b.Flush(context.Background()) }()
	eventually(t, "it is answered", func() bool {
		runtime.GC()
		return b.Stats().FailedItems == 1
	})
	if err := <-flushed; !errors.Is(err, syscall.ECANCELED) {
		t.Error(err)
	}
	must(t, b.Close(context.Background()))
}
