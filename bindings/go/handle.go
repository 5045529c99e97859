package bw

// #include "shim_file.h"
import "C"

import (
	"os"
	"runtime/cgo"
	"sync/atomic"
)

// A handle is what callbacks of C reach of a File or a Lane. C knows it by its token, so it lives as long as callbacks
// may come; the File or the Lane itself can become unreachable before.
type handle struct {
	life
	bw     *C.bw_t
	name   string // of the file
	token  cgo.Handle
	tokens atomic.Int32 // uses of the token: the handle's own, and one for each lane, which keeps it in C

	room  gate                // appends that found no room
	other gate                // all other polls
	level [levelCount]waiters // who waits for a position

	onEvent func(Event)
	last    atomic.Pointer[last] // set before it is retired
}

// last is what a file had come to when it was closed.
type last struct {
	stats    Stats
	position [levelCount]int64
}

func newHandle(name string, onEvent func(Event)) *handle {
	h := &handle{name: name, onEvent: onEvent}
	h.end = h.free
	h.token = cgo.NewHandle(h)
	h.tokens.Store(1)
	return h
}

// dropToken is for the handle itself and for each of its lanes, when C has forgotten them.
func (h *handle) dropToken() {
	if h.tokens.Add(-1) == 0 {
		h.token.Delete()
	}
}

// errorOf is nil, or the code with what was tried, and on which file.
func (h *handle) errorOf(op string, result int64) error {
	if result >= 0 {
		return nil
	}
	return h.wrap(op, Error(result))
}

func (h *handle) wrap(op string, err error) error {
	return &os.PathError{Op: op, Path: h.name, Err: err}
}

func (h *handle) waker() C.uintptr_t { return C.uintptr_t(h.token) }

func (h *handle) eventToken() C.uintptr_t {
	if h.onEvent == nil {
		return 0
	}
	return C.uintptr_t(h.token)
}

// wake is the waker of all polls.
func (h *handle) wake() {
	h.room.wake()
	h.other.wake()
}

func (h *handle) free() {
	defer h.dropToken()
	finish(C.bwgo_free(h.bw))
}

// abandon is for a file that nobody can reach any more.
func (h *handle) abandon() {
	if h.enter() {
		h.retire()
		h.leave()
	}
}

func (h *handle) positionOf(level Level) int64 { return int64(C.bw_position(h.bw, C.int(level))) }

func (h *handle) remember() {
	l := &last{stats: statsOf(h.bw)}
	for level := Accepted; level <= Durable; level++ {
		l.position[level] = h.positionOf(level)
	}
	h.last.Store(l)
}
