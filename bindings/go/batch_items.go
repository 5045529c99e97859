package bw

// #include "shim_batch.h"
import "C"

import (
	"iter"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Items are items of a Batcher, in the order in which they were accepted. They lie in memory of the library, are to be
// read only, and are valid as long as whoever gave them says. A Clone is valid for ever.
type Items struct{ parts []C.struct_iovec }

// Len returns how many items there are.
func (i Items) Len() int { return len(i.parts) }

// Item returns one of them.
func (i Items) Item(index int) []byte {
	part := &i.parts[index]
	return unsafe.Slice((*byte)(part.iov_base), int(part.iov_len))
}

// All ranges over the items and their indexes.
func (i Items) All() iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for index := range i.parts {
			if !yield(index, i.Item(index)) {
				return
			}
		}
	}
}

// Bytes returns how many bytes the items have together.
func (i Items) Bytes() int {
	bytes := 0
	for index := range i.parts {
		bytes += int(i.parts[index].iov_len)
	}
	return bytes
}

// Clone returns copies of the items.
func (i Items) Clone() [][]byte {
	memory := make([]byte, 0, i.Bytes())
	items := make([][]byte, i.Len())
	for index, item := range i.All() {
		start := len(memory)
		memory = append(memory, item...)
		items[index] = memory[start:len(memory):len(memory)]
	}
	return items
}

// A Batch is a batch, or a part of one, that is offered to the function of NewBatch. Its items are valid until that
// returns; if it took the batch, until the batch is answered. Afterwards the Batch is empty.
type Batch struct {
	Items
	Serial  uint64 // its number: 1, 2, 3 and so on; it keeps it when it is offered again, and its parts have the same
	First   uint64 // the number of its first item among all that were accepted
	Attempt int    // which offer of it this is: 1, then one more after each failure

	codes []C.int // one for each item, once Fail was called
	taken bool
	*ticket
}

// A ticket is what is needed to answer for a batch, once.
type ticket struct {
	in         *batcher
	view       *C.bw_batch_view_t
	isAnswered atomic.Bool
}

const notFailed = 1 // in Batch.codes

func newBatch(in *batcher, offer *C.bwgo_offer) *Batch {
	return &Batch{
		Items:   Items{unsafe.Slice(offer.items, int(offer.count))},
		Serial:  uint64(offer.serial),
		First:   uint64(offer.first),
		Attempt: int(offer.attempt),
		ticket:  &ticket{in: in, view: offer.view},
	}
}

// Fail says that the item of that index has failed with err, or is delivered if err is nil, whatever the answer for the
// others is. An item that failed is tried again with the others that did; with [Final] it is given up.
func (b *Batch) Fail(index int, err error) {
	if b.codes == nil {
		b.codes = make([]C.int, b.Len())
		for i := range b.codes {
			b.codes[i] = notFailed
		}
	}
	b.codes[index] = b.in.causes.codeOf(err)
}

// Take takes the batch out of the function's hands: it is answered for by done, from any goroutine, before or after the
// function has returned. Only the first answer counts, and an error that the function returns is one. A batch whose
// done nobody can call any more has failed with [syscall.ECANCELED].
func (b *Batch) Take() (done func(err error)) {
	if !b.taken {
		b.taken = true
		runtime.AddCleanup(b, func(t *ticket) { go t.cancel() }, b.ticket)
	}
	return b.done
}

// done is the answer that comes later.
func (b *Batch) done(err error) {
	if b.isAnswered.Swap(true) {
		return
	}
	code, codes := b.settle(err)
	finish(C.bwgo_batch_done(b.view, code, unsafe.SliceData(codes)))
}

// answer is what the sink's `write` gives.
func (b *Batch) answer(err error) C.int {
	if b.taken && err == nil || b.isAnswered.Swap(true) {
		return C.BW_BATCH_TAKEN
	}
	code, codes := b.settle(err)
	if codes == nil {
		return code
	}
	C.bw_batch_done(b.view, 0, &codes[0])
	return C.BW_BATCH_TAKEN
}

// settle gives the code for all items, or one for each, and lets go of them.
func (b *Batch) settle(err error) (C.int, []C.int) {
	code := b.in.causes.codeOf(err)
	for i := range b.codes {
		if b.codes[i] == notFailed {
			b.codes[i] = code
		}
	}
	b.Items = Items{}
	return code, b.codes
}

// cancel answers for a batch that was taken and forgotten.
func (t *ticket) cancel() {
	if !t.isAnswered.Swap(true) {
		finish(C.bwgo_batch_done(t.view, -C.ECANCELED, nil))
	}
}
