package bw

// #include "shim_batch.h"
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

//export bwgoBatchWrite
func bwgoBatchWrite(token C.uintptr_t, offer *C.bwgo_offer, inCall C.bool) (code C.int, ended C.uintptr_t) {
	in := cgo.Handle(token).Value().(*batcher)
	batch := newBatch(in, offer)
	var err error = ErrSink // unless fn returns
	ended = in.run(inCall, func() { err = in.fn(batch) })
	return batch.answer(err), ended
}

//export bwgoBatchPressure
func bwgoBatchPressure(token C.uintptr_t, on C.int, inCall C.bool) (ended C.uintptr_t) {
	in := cgo.Handle(token).Value().(*batcher)
	return in.run(inCall, func() { in.pressure(on != 0) })
}

//export bwgoBatchDelivered
func bwgoBatchDelivered(token C.uintptr_t, items *C.struct_iovec, count C.size_t, code C.int, inCall C.bool) (
	ended C.uintptr_t) {
	in := cgo.Handle(token).Value().(*batcher)
	return in.run(inCall, func() {
		in.delivered(Items{unsafe.Slice(items, int(count))}, in.causes.errorOf(int64(code)))
	})
}
