package bw_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"bw"
)

// recovered gives what a call panics with.
func recovered(call func()) (value any) {
	defer func() { value = recover() }()
	call()
	return nil
}

// exits says whether a call ends its goroutine.
func exits(call func()) bool {
	ended := make(chan bool)
	go func() {
		hasReturned := false
		defer func() { ended <- !hasReturned }()
		call()
		hasReturned = true
	}()
	return <-ended
}

func TestBatchPanicGoesOnInTheCall(t *testing.T) {
	b := newBatch(t, func(batch *bw.Batch) error { panic(errBroken) }, bw.WithMaxItems(2))
	send(t, b, "one")
	want(t, "panic", recovered(func() { b.Send(background, []byte("two")) }), any(errBroken))
	wantIs(t, b.Err(), bw.ErrSink)
	wantIs(t, b.Flush(background), bw.ErrSink)
	want(t, "discarded", b.Discard(), 2)
	send(t, b, "three")
	want(t, "panic", recovered(func() { b.Flush(background) }), any(errBroken))
	want(t, "discarded", b.Discard(), 1)
	want(t, "panic", recovered(func() {
		send(t, b, "four")
		b.Close(background)
	}), any(errBroken))
}

func TestBatchGoexitGoesOnInTheCall(t *testing.T) {
	b := newBatch(t, func(batch *bw.Batch) error {
		runtime.Goexit()
		return nil
	})
	send(t, b, "one")
	want(t, "exits", exits(func() { b.Flush(background) }), true)
	wantIs(t, b.Flush(background), bw.ErrSink)
}

func TestBatchPanicOnOurThreadIsAnError(t *testing.T) {
	b := newBatch(t, func(batch *bw.Batch) error { panic(errBroken) }, bw.WithBatchBackground())
	send(t, b, "one")
	err := b.Flush(background)
	wantIs(t, err, errBroken)
	var panicked *bw.PanicError
	want(t, "PanicError", errors.As(err, &panicked), true)
	wantIs(t, b.Flush(background), bw.ErrSink)
}

func TestBatchGoexitOnOurThreadIsAnError(t *testing.T) {
	b := newBatch(t, func(batch *bw.Batch) error {
		runtime.Goexit()
		return nil
	}, bw.WithBatchBackground())
	send(t, b, "one")
	if err := b.Flush(background); err == nil || errors.Is(err, bw.ErrSink) {
		t.Errorf("flush: %v", err)
	}
	wantIs(t, b.Flush(background), bw.ErrSink)
}

func TestBatchPanicInDelivered(t *testing.T) {
	take := func(*bw.Batch) error { return nil }
	tell := bw.WithDelivered(func(bw.Items, error) { panic(errBroken) })
	b := newBatch(t, take, tell)
	send(t, b, "one")
	want(t, "panic", recovered(func() { b.Flush(background) }), any(errBroken))
	check(t, b.Flush(background))
	want(t, "items", b.Stats().Items, 1)

	b = newBatch(t, take, tell, bw.WithBatchBackground())
	send(t, b, "one")
	bw.Eventually(t, "the panic is told", func() bool { return errors.Is(b.Flush(background), errBroken) })
	check(t, b.Flush(background))
	send(t, b, "two")
	wantIs(t, b.Close(background), errBroken)
	check(t, b.Close(background))
	wantIs(t, b.TrySend(nil), os.ErrClosed)
}

// The panics of two callbacks under one call: the first goes on in it, the next call tells of the second.
func TestBatchTwoPanicsInOneCall(t *testing.T) {
	b := newBatch(t, func(batch *bw.Batch) error {
		batch.Fail(1, bw.Final(syscall.EBADMSG))
		return nil
	}, bw.WithDelivered(func(_ bw.Items, err error) { panic(fmt.Errorf("told: %w", err)) }))
	send(t, b, "one", "two")
	want(t, "first", fmt.Sprint(recovered(func() { b.Flush(background) })), "told: %!w(<nil>)")
	wantIs(t, b.Flush(background), syscall.EBADMSG)
	check(t, b.Flush(background))
}

func TestBatchPanicInTheAnswer(t *testing.T) {
	k := newTaker()
	b := newBatch(t, k.take, bw.WithMaxItems(1), bw.WithDelivered(func(bw.Items, error) { panic(errBroken) }))
	send(t, b, "one")
	want(t, "panic", recovered(func() { (<-k.taken)(nil) }), any(errBroken))
	check(t, b.Flush(background))
}

// A batch that was taken before the panic has its answer in the panic.
func TestBatchPanicAfterTake(t *testing.T) {
	var done func(error)
	b := newBatch(t, func(batch *bw.Batch) error {
		done = batch.Take()
		panic(errBroken)
	})
	send(t, b, "one")
	want(t, "panic", recovered(func() { b.Flush(background) }), any(errBroken))
	done(nil)
	wantIs(t, b.Flush(background), bw.ErrSink)
}

// A forgotten Batcher is given back, with its File, although the callback that is told does not return.
func TestForgottenBatcherSurvivesGoexit(t *testing.T) {
	written := forget(t)
	collect(t, func() bool { return len(written) > 0 })
	check(t, <-written)
}

// forget leaves a Batcher with an item, and its File with bytes that somebody waits for.
func forget(t *testing.T) (written <-chan error) {
	f, err := bw.Open(filepath.Join(t.TempDir(), "data"), createFlags, 0o644)
	check(t, err)
	_, err = f.WriteString("record")
	check(t, err)
	b, err := bw.NewBatchTo(f, "\n", bw.WithDelivered(func(bw.Items, error) { runtime.Goexit() }))
	check(t, err)
	check(t, b.TrySend([]byte("item")))
	return f.Notify(6, bw.Written)
}
