package bw

// #include "shim.h"
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/cgo"
	"runtime/debug"
)

// A PanicError is how a panic in a callback is reported when the callback ran on a thread of the library, where no
// caller stands below it.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // where
}

// Error gives the panic and its stack.
func (p *PanicError) Error() string {
	return fmt.Sprintf("bw: panic in a callback: %v\n\n%s", p.Value, p.Stack)
}

// Unwrap gives the value of the panic, if that is an error.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// errGoexit is how runtime.Goexit in such a callback is reported.
var errGoexit = errors.New("bw: runtime.Goexit in a callback")

// An ending is how a callback ended that did not return: by a panic, or (panicked == nil) by [runtime.Goexit].
type ending struct {
	panicked *PanicError
}

// runCallback runs code of the user for C, and gives nil if it returned. It runs on a goroutine of its own: neither a
// panic nor Goexit may unwind frames of C, and Goexit cannot be stopped once it has begun.
func runCallback(callback func()) *ending {
	ended := make(chan *ending)
	go func() {
		var how *ending
		defer func() { ended <- how }()
		defer func() {
			if value := recover(); value != nil {
				how = &ending{&PanicError{value, debug.Stack()}}
			}
		}()
		how = &ending{}
		callback()
		how = nil
	}()
	return <-ended
}

// err is the ending as an error, for a callback that ran on a thread of the library.
func (e *ending) err() error {
	if e.panicked == nil {
		return errGoexit
	}
	return e.panicked
}

// token hands the ending to the call of Go's that C runs under (bwgo_end in shim.h); finish takes it there.
func (e *ending) token() C.uintptr_t { return C.uintptr_t(cgo.NewHandle(e)) }

// finish is what every call does that may have run callbacks on its own thread, once C has returned: a panic or Goexit
// in one of them goes on here.
func finish(answer C.bwgo_answer) int64 {
	if answer.ended != 0 {
		handle := cgo.Handle(answer.ended)
		how := handle.Value().(*ending)
		handle.Delete()
		how.raise()
	}
	return int64(answer.value)
}

func (e *ending) raise() {
	if e.panicked == nil {
		runtime.Goexit()
	}
	panic(e.panicked.Value)
}
