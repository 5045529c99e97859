package bw

// #include "shim_file.h"
import "C"

import (
	"math"
	"time"
)

// An Option says how a File or a Lane is to be; see bw_options_t in bw.h for bounds and defaults.
type Option func(*options)

type options struct {
	c       C.bw_options_t
	onEvent func(Event)
}

// WithCapacity sets the bytes of one buffer: 1 MiB for files unless said otherwise, and a multiple of 4096.
func WithCapacity(bytes int) Option { return func(o *options) { o.c.capacity = C.uint64_t(bytes) } }

// WithBuffers sets how many buffers there are: 8 for files unless said otherwise.
func WithBuffers(count int) Option { return func(o *options) { o.c.buffers = uint32Of(count) } }

// WithEngine chooses how a file is written; see the constants of Engine.
func WithEngine(engine Engine) Option { return func(o *options) { o.c.engine = C.uint32_t(engine) } }

// WithLinger has a part-filled buffer handed on after that time; else it waits until it is full or flushed.
func WithLinger(after time.Duration) Option {
	return func(o *options) { o.c.linger_us = microseconds(after) }
}

// WithPreallocate reserves disk space in steps of that many bytes; below 0: not at all.
func WithPreallocate(step int64) Option {
	return func(o *options) {
		o.c.preallocate = C.uint64_t(step)
		if step < 0 {
			o.c.preallocate = C.UINT64_MAX
		}
	}
}

// WithPressure sets at which shares of the buffers in use, in percent, EventPressureOn and EventPressureOff are told.
func WithPressure(highPercent, lowPercent int) Option {
	return func(o *options) {
		o.c.high_percent = uint32Of(highPercent)
		o.c.low_percent = uint32Of(lowPercent)
	}
}

// WithPageCache writes everything through the page cache, nothing by O_DIRECT.
func WithPageCache() Option { return func(o *options) { o.c.flags |= C.BW_BUFFERED } }

// WithEvents has onEvent told of pressure, errors, buffers written, durability and bytes lost; one call at a time.
//
// The writer waits for it, so it must not wait for a call of the same File: send to a channel instead. A panic in it
// goes on in the call of the File that it ran under; where a thread of the library called it, the next call on the
// File returns it as a [PanicError].
func WithEvents(onEvent func(Event)) Option { return func(o *options) { o.onEvent = onEvent } }

// microseconds are rounded up: a time that is not zero stays so.
func microseconds(d time.Duration) C.uint64_t {
	return C.uint64_t((d + time.Microsecond - 1) / time.Microsecond)
}

// uint32Of is a number for C. One that does not fit becomes the largest, which the library refuses.
func uint32Of(n int) C.uint32_t {
	if n < 0 || uint64(n) > math.MaxUint32 {
		return math.MaxUint32
	}
	return C.uint32_t(n)
}

// newOptions gives the options as C wants them, over those that stand already.
func newOptions(flags C.uint32_t, opts []Option) *options {
	o := &options{c: C.bw_options_t{size: C.sizeof_bw_options_t, flags: flags}}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// An Engine is a way to write files.
type Engine uint32

// The engines. EngineAuto is the best one that the system allows; in Stats it means that there is none.
const (
	EngineAuto   Engine = C.BW_ENGINE_AUTO
	EngineUring  Engine = C.BW_ENGINE_URING
	EnginePwrite Engine = C.BW_ENGINE_PWRITE
)

// A Level is how far a byte has come.
type Level int

// The levels.
const (
	Accepted Level = C.BW_ACCEPTED // in the writer's care
	Written  Level = C.BW_WRITTEN  // given to the system
	Durable  Level = C.BW_DURABLE  // safe from a power cut
)

const levelCount = int(Durable) + 1

func (l Level) exists() bool { return l >= Accepted && l <= Durable }
