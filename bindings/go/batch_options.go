package bw

// #include "shim_batch.h"
import "C"

import "time"

// A BatchOption says how a Batcher is to be; see bw_batch_options_t in batch.h for bounds and defaults.
type BatchOption func(*batchOptions)

type batchOptions struct {
	c         C.bw_batch_options_t
	pressure  func(on bool)
	delivered func(items Items, err error)
}

// WithMaxItems sets how many items a batch holds at most: 1000 unless said otherwise.
func WithMaxItems(count int) BatchOption {
	return func(o *batchOptions) { o.c.max_items = C.uint64_t(count) }
}

// WithMaxBytes sets how many bytes of items a batch holds at most: 1 MiB unless said otherwise. A longer item is
// refused with [syscall.EMSGSIZE].
func WithMaxBytes(bytes int) BatchOption {
	return func(o *batchOptions) { o.c.max_bytes = C.uint64_t(bytes) }
}

// WithBatchLinger has a batch offered that long after its first item, full or not; else it waits until it is full or
// flushed.
func WithBatchLinger(after time.Duration) BatchOption {
	return func(o *batchOptions) { o.c.linger_us = microseconds(after) }
}

// WithBatchBuffers sets how many batches there may be, filling, waiting and in flight: 2 unless said otherwise. When
// all are in use the Batcher is full.
func WithBatchBuffers(count int) BatchOption {
	return func(o *batchOptions) { o.c.buffers = uint32Of(count) }
}

// WithMaxInFlight sets how many batches may be taken ([Batch.Take]) and not yet answered: 1 unless said otherwise,
// which keeps the order.
func WithMaxInFlight(batches int) BatchOption {
	return func(o *batchOptions) { o.c.max_in_flight = uint32Of(batches) }
}

// WithWhenFull sets what [Batcher.Send] does while the Batcher is full.
func WithWhenFull(policy WhenFull) BatchOption {
	return func(o *batchOptions) { o.c.when_full = C.uint32_t(policy) }
}

// WithWhenFailed sets what becomes of a batch that has failed after all its retries.
func WithWhenFailed(policy WhenFailed) BatchOption {
	return func(o *batchOptions) { o.c.when_failed = C.uint32_t(policy) }
}

// WithRetries sets how often a batch that failed is offered again in one round: not at all unless said otherwise.
func WithRetries(count int) BatchOption {
	return func(o *batchOptions) { o.c.retries = uint32Of(count) }
}

// WithBackoff sets how long to wait before a batch is offered again: that long before the first retry, twice as long
// before the next, and so on, by chance a fifth more or less. Without it a batch that failed is offered again at once,
// and one that got [syscall.EAGAIN] after [Batcher.Wake].
func WithBackoff(first time.Duration) BatchOption {
	return func(o *batchOptions) { o.c.backoff_us = microseconds(first) }
}

// WithBisect has a batch of several items that is refused with [Final] offered again as two halves, and these as halves
// of their own, until only the items that cannot be taken are given up.
func WithBisect() BatchOption { return func(o *batchOptions) { o.c.flags |= C.BW_BATCH_BISECT } }

// WithBatchBackground has nobody but a thread of the library call the function that takes the batches. Else that may be
// any goroutine that sends, flushes, polls or closes.
func WithBatchBackground() BatchOption { return func(o *batchOptions) { o.c.flags |= C.BW_BACKGROUND } }

// WithBatchUnshared says that one goroutine at a time sends, flushes, discards and closes, and saves the locks of the
// others. It excludes WithBatchLinger.
func WithBatchUnshared() BatchOption { return func(o *batchOptions) { o.c.flags |= C.BW_UNSHARED } }

// WithItemSize says that every item has exactly that many bytes. Another length is refused with [syscall.EINVAL].
func WithItemSize(bytes int) BatchOption {
	return func(o *batchOptions) { o.c.item_size = uint32Of(bytes) }
}

// WithItemAlign sets at multiples of what items begin in memory: a power of two up to 4096, 8 unless said otherwise.
func WithItemAlign(bytes int) BatchOption {
	return func(o *batchOptions) { o.c.item_align = uint32Of(bytes) }
}

// WithBatchPressure has tell called with true when the batches in use rise to highPercent of all, and with false when
// they fall to lowPercent; 0 stands for 80 and 50. The rules for callbacks are at [Batcher].
func WithBatchPressure(highPercent, lowPercent int, tell func(on bool)) BatchOption {
	return func(o *batchOptions) {
		o.c.high_percent = uint32Of(highPercent)
		o.c.low_percent = uint32Of(lowPercent)
		o.pressure = tell
	}
}

// WithDelivered has tell called for every item that was accepted, once: with nil when it is delivered; else with the
// error with which it was given up, with [syscall.ENOBUFS] if it was dropped for newer ones, or with
// [syscall.ECANCELED] if it was discarded. The items are valid until tell returns. The rules for callbacks are at
// [Batcher].
func WithDelivered(tell func(items Items, err error)) BatchOption {
	return func(o *batchOptions) { o.delivered = tell }
}

func newBatchOptions(opts []BatchOption) *batchOptions {
	o := &batchOptions{c: C.bw_batch_options_t{size: C.sizeof_bw_batch_options_t}}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

func (o *batchOptions) listens() C.bwgo_listens {
	return C.bwgo_listens{pressure: o.pressure != nil, delivered: o.delivered != nil}
}

// WhenFull is what [Batcher.Send] does while the Batcher is full.
type WhenFull uint32

// What Send may do.
const (
	FullWait       WhenFull = C.BW_FULL_WAIT        // it waits until there is room
	FullFail       WhenFull = C.BW_FULL_FAIL        // it returns syscall.EAGAIN
	FullDropNewest WhenFull = C.BW_FULL_DROP_NEWEST // it drops its own item, and returns ErrDropped
	FullDropOldest WhenFull = C.BW_FULL_DROP_OLDEST // it drops the oldest batch that waits, or else its own item
)

// WhenFailed is what becomes of a batch that has failed after all its retries.
type WhenFailed uint32

// What may become of it.
const (
	// FailedHold holds it, and all behind it waits, in order, until a new round of offers begins: with the next Flush,
	// Close or Wake, or with the next Send that finds no room.
	FailedHold WhenFailed = C.BW_FAILED_HOLD
	// FailedGiveUp gives its items up, and the next batch is offered.
	FailedGiveUp WhenFailed = C.BW_FAILED_GIVE_UP
)
