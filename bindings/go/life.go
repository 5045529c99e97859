package bw

// #include "shim.h"
import "C"

import (
	"math"
	"sync/atomic"
)

// A life counts the calls that are under way on something of C's, so that the last one out of what is retired frees it,
// and keeps what a callback on a thread of the library has left behind.
type life struct {
	end      func()       // frees; called once
	users    atomic.Int64 // calls under way; with `retired` added nobody may come
	retiring atomic.Bool
	ended    atomic.Bool
	failed   atomic.Pointer[error] // for the next call
}

const retired = math.MinInt64 / 2

// begin comes before the calls of C, and leave after them.
func (l *life) begin() error {
	if err := l.takeFailure(); err != nil {
		return err
	}
	if !l.enter() {
		return errClosed
	}
	return nil
}

func (l *life) enter() bool {
	if l.users.Add(1) > 0 {
		return true
	}
	l.leave()
	return false
}

// The last one out may be a callback, which `end` would wait for: so that runs on a goroutine of its own.
func (l *life) leave() {
	if l.users.Add(-1) == retired && l.ended.CompareAndSwap(false, true) {
		go l.end()
	}
}

// retire lets nobody in any more. The caller is inside.
func (l *life) retire() {
	if l.retiring.CompareAndSwap(false, true) {
		l.users.Add(retired)
	}
}

func (l *life) fail(err error) { l.failed.Store(&err) }

// takeFailure gives what a callback has left behind, once.
func (l *life) takeFailure() error {
	if l.failed.Load() == nil {
		return nil
	}
	if err := l.failed.Swap(nil); err != nil {
		return *err
	}
	return nil
}

// run runs a callback. What it gives is for bwgo_set_ended, if it is not 0.
func (l *life) run(inCall C.bool, callback func()) (ended C.uintptr_t) {
	how := runCallback(callback)
	switch {
	case how == nil:
		return 0
	case bool(inCall):
		return how.token()
	}
	l.fail(how.err())
	return 0
}
