package bw

// #include "shim_batch.h"
import "C"

import (
	"context"
	"runtime"
	"runtime/cgo"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// A Batcher gathers single items, which any number of goroutines send, into batches, and gives these to a function. The
// fate of every item that was accepted is told exactly once. Any method may be called by any goroutine at any time,
// unless WithBatchUnshared.
//
// A goroutine that waits in Send, Flush or Close holds no thread. The one whose call happens to run a callback does,
// until that returns.
//
// Callbacks are the function that takes the batches and what WithDelivered and WithBatchPressure are given. They may
// run under any method of the Batcher, or on a thread of the library. A panic or [runtime.Goexit] in a callback goes on
// in the call that it ran under; where a thread of the library called it, the next call on the Batcher returns it as a
// [PanicError]. A batch whose function did not return is held for good with [ErrSink]; Discard gets rid of it.
//
// In a callback nothing of the same Batcher may be waited for: Flush and Close there would wait for themselves, and so
// might Send. TrySend, Discard, Wake, Err and Stats do not wait.
//
// A Batcher is closed by Close. One that becomes unreachable before is discarded at some time; one that its own
// callbacks can reach never is.
type Batcher struct{ in *batcher }

// A batcher is what callbacks of C reach of a Batcher. C knows it by its token.
type batcher struct {
	life
	c     *C.bw_batch_t
	token cgo.Handle
	file  *handle // under NewBatchTo; it lives as long as the batcher

	room  gate // Send
	level gate // Flush, Close

	fn        func(*Batch) error
	pressure  func(on bool)
	delivered func(items Items, err error)
	whenFull  WhenFull
	causes    causes
	last      atomic.Pointer[BatchStats] // set before it is retired
}

// NewBatch makes a Batcher that gives its batches to fn: one at a time, in order, and each whole.
//
// A batch is given to fn when it is full, when it has lingered, and by Flush and Close. If fn returns nil, all items
// are delivered, except those that [Batch.Fail] names. If it returns an error, the batch has failed: it is tried again
// and held or given up as the options say, with [Final] never again. An error that wraps [syscall.EAGAIN] says that fn
// is not ready, which is no failure: the batch is offered again after Wake, or after the back-off. One that wraps
// [syscall.EINTR] has it offered again at once. After [Batch.Take] the answer comes later.
//
// Errors of fn come back from Flush, Close, Send and Err, and to WithDelivered, as they are.
func NewBatch(fn func(*Batch) error, opts ...BatchOption) (*Batcher, error) {
	if fn == nil {
		return nil, Error(-C.EINVAL)
	}
	o := newBatchOptions(opts)
	in := newBatcher(o)
	in.fn = fn
	return in.start(C.bwgo_batch_new(&in.c, o.c, o.listens(), C.uintptr_t(in.token)))
}

// NewBatchTo makes a Batcher that appends its items to f, each together with separator and never torn. They are
// delivered when f has accepted them. Flush returns when they are written. f may be used by others too; it is not
// closed by the Batcher, and has to be closed after it.
func NewBatchTo(f *File, separator string, opts ...BatchOption) (*Batcher, error) {
	text, err := syscall.BytePtrFromString(separator)
	if err != nil {
		return nil, err
	}
	defer runtime.KeepAlive(f)
	if err := f.handle.begin(); err != nil {
		return nil, err
	}
	o := newBatchOptions(opts)
	in := newBatcher(o)
	in.file = f.handle
	return in.start(C.bwgo_batch_to_writer(&in.c, f.handle.bw, (*C.char)(unsafe.Pointer(text)), o.c, o.listens(),
		C.uintptr_t(in.token)))
}

func newBatcher(o *batchOptions) *batcher {
	in := &batcher{pressure: o.pressure, delivered: o.delivered, whenFull: WhenFull(o.c.when_full)}
	in.end = in.free
	in.token = cgo.NewHandle(in)
	return in
}

// start is what is left to do once C has made the batcher, or has not.
func (in *batcher) start(code C.int) (*Batcher, error) {
	if code < 0 {
		in.forget()
		return nil, Error(code)
	}
	b := &Batcher{in}
	runtime.AddCleanup(b, func(in *batcher) { go in.abandon() }, in)
	return b, nil
}

// free is the end of its life.
func (in *batcher) free() {
	defer in.forget()
	finish(C.bwgo_batch_free(in.c))
}

// forget is for when C knows the batcher no more.
func (in *batcher) forget() {
	in.token.Delete()
	if in.file != nil {
		in.file.leave()
	}
}

// abandon is for a batcher that nobody can reach any more.
func (in *batcher) abandon() {
	if in.enter() {
		defer in.leave()
		defer in.retire()
		finish(C.bwgo_batch_discard(in.c))
	}
}

func (in *batcher) waker() C.uintptr_t { return C.uintptr_t(in.token) }

// wake is the waker of all polls.
func (in *batcher) wake() {
	in.room.wake()
	in.level.wake()
}

// wait passes a gate.
func (in *batcher) wait(ctx context.Context, g *gate, poll func() int64) error {
	code := g.pass(ctx, poll)
	if code == -C.EAGAIN {
		return ctx.Err()
	}
	return in.errorOf(code)
}

// pollToEnd has a flush or a close begin at once, whoever waits already.
func (in *batcher) pollToEnd(ctx context.Context, poll func() int64) error {
	if code := poll(); code != -C.EAGAIN {
		return in.errorOf(code)
	}
	return in.wait(ctx, &in.level, poll)
}

// errorOf is what a call returns that C gave this code.
func (in *batcher) errorOf(code int64) error {
	switch {
	case code == C.BW_BATCH_DROPPED:
		return ErrDropped
	case code >= 0:
		return nil
	case code == int64(ErrSink):
		if err := in.takeFailure(); err != nil {
			return err
		}
	}
	return in.causes.errorOf(code)
}

// Send sends one item. It returns nil if the item is accepted, and else it is not: [ErrDropped], [syscall.EAGAIN] and
// waiting are what WithWhenFull says; [syscall.EMSGSIZE] and [syscall.EINVAL] are about its length; after Close it is
// [os.ErrClosed]. Where it waits, it may return the error of a held batch that makes no room, or that of ctx. No Send
// returns the failure of the batch that holds its own item.
//
// The item is copied.
func (b *Batcher) Send(ctx context.Context, item []byte) error {
	return b.send(item, func(in *batcher, data *C.char, length C.size_t) error {
		send := func() int64 { return finish(C.bwgo_batch_send(in.c, data, length)) }
		switch in.whenFull {
		case FullWait:
			return in.wait(ctx, &in.room, func() int64 {
				return finish(C.bwgo_batch_poll_send(in.c, data, length, in.waker()))
			})
		case FullDropOldest: // where `delivered` runs it waits for that in C: one at a time, so no more than one thread
			return in.wait(ctx, &in.room, send)
		}
		return in.errorOf(send())
	})
}

// TrySend is a Send that never waits and never drops: whatever WithWhenFull says, it returns [syscall.EAGAIN] while the
// Batcher is full.
func (b *Batcher) TrySend(item []byte) error {
	return b.send(item, func(*batcher, *C.char, C.size_t) error { return Error(-C.EAGAIN) })
}

// send tries to send, and leaves it to whenFull what to do if there is no room.
func (b *Batcher) send(item []byte, whenFull func(in *batcher, data *C.char, length C.size_t) error) error {
	defer runtime.KeepAlive(b)
	in := b.in
	if err := in.begin(); err != nil {
		return err
	}
	defer in.leave()
	data, length := (*C.char)(unsafe.Pointer(unsafe.SliceData(item))), C.size_t(len(item))
	code := finish(C.bwgo_batch_start_send(in.c, data, length))
	if code == -C.EAGAIN {
		return whenFull(in, data, length)
	}
	return in.errorOf(code)
}

// Flush returns once every item that was accepted before is settled: also those in flight, and those that are held,
// for which a new round of offers begins. It returns the error of a held batch, which stays; or, once, that of items
// which were given up since a Flush last told of such.
//
// What others send meanwhile is flushed with it, so while they send faster than their batches are taken it does not
// return before ctx ends.
func (b *Batcher) Flush(ctx context.Context) error {
	defer runtime.KeepAlive(b)
	in := b.in
	if err := in.begin(); err != nil {
		return err
	}
	defer in.leave()
	return in.pollToEnd(ctx, func() int64 { return finish(C.bwgo_batch_poll_flush(in.c, in.waker())) })
}

// Close flushes and closes. From the moment it begins, every Send returns [os.ErrClosed]. If it returns an error, of
// ctx too, call it again until it returns nil: while a batch is held nothing is closed, and Discard helps. What is
// closed gives nil again, and its memory is given back.
func (b *Batcher) Close(ctx context.Context) error {
	defer runtime.KeepAlive(b)
	in := b.in
	if !in.enter() {
		return nil
	}
	defer in.leave()
	err := in.pollToEnd(ctx, func() int64 {
		code := finish(C.bwgo_batch_poll_close(in.c, in.waker()))
		if code == 0 {
			in.last.Store(batchStatsOf(in.c))
			in.retire()
		}
		return code
	})
	if err == nil {
		err = in.takeFailure()
	}
	return err
}

// Discard settles everything that is not in flight, what is held too, with [syscall.ECANCELED], and returns how many
// items that were.
func (b *Batcher) Discard() int {
	defer runtime.KeepAlive(b)
	in := b.in
	if !in.enter() {
		return 0
	}
	defer in.leave()
	return int(finish(C.bwgo_batch_discard(in.c)))
}

// Wake says that a function which returned [syscall.EAGAIN] is ready again, or that a held batch may be tried again.
func (b *Batcher) Wake() {
	defer runtime.KeepAlive(b)
	in := b.in
	if in.enter() {
		defer in.leave()
		finish(C.bwgo_batch_wake(in.c))
	}
}

// Err returns the error of the batch that is held, of the oldest if several are; nil if none is.
func (b *Batcher) Err() error {
	defer runtime.KeepAlive(b)
	in := b.in
	if !in.enter() {
		return nil
	}
	defer in.leave()
	return in.causes.errorOf(int64(C.bw_batch_error(in.c)))
}

// Stats returns what the Batcher has done so far. They may be read after Close too.
func (b *Batcher) Stats() BatchStats {
	defer runtime.KeepAlive(b)
	in := b.in
	if !in.enter() {
		return *in.last.Load()
	}
	defer in.leave()
	return *batchStatsOf(in.c)
}
