package bw

// #include "shim_file.h"
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// An EventKind says what an Event tells of. There may be kinds that this package does not know.
type EventKind uint32

// The kinds of events.
const (
	EventPressureOn  EventKind = C.BW_EVENT_PRESSURE_ON  // buffers in use have risen to the high share
	EventPressureOff EventKind = C.BW_EVENT_PRESSURE_OFF // and have fallen to the low one again
	EventError       EventKind = C.BW_EVENT_ERROR        // a write or a sync failed: Err
	EventWritten     EventKind = C.BW_EVENT_WRITTEN      // Length bytes from Position on are written
	EventDurable     EventKind = C.BW_EVENT_DURABLE      // everything below Position is durable
	EventLost        EventKind = C.BW_EVENT_LOST         // Data could not be written: the last chance to keep it
)

// An Event is what WithEvents has told.
type Event struct {
	Kind     EventKind
	Position int64
	Length   int64
	Data     []byte // EventLost; valid until the callback returns
	Err      error  // EventError, and why for EventLost
}

//export bwgoEvent
func bwgoEvent(token C.uintptr_t, event *C.bw_event_t, inCall C.bool) C.uintptr_t {
	h := cgo.Handle(token).Value().(*handle)
	told := Event{
		Kind:     EventKind(event.kind),
		Position: int64(event.position),
		Length:   int64(event.length),
		Err:      errorOf(event.code),
	}
	if event.data != nil {
		told.Data = unsafe.Slice((*byte)(event.data), int(event.length))
	}
	return h.run(inCall, func() { h.onEvent(told) })
}
