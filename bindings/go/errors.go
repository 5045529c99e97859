package bw

// #include "shim.h"
import "C"

import (
	"errors"
	"os"
	"syscall"
)

// An Error is a code of the library: -errno, or one of its own. It unwraps to its [syscall.Errno], so that
// errors.Is(err, syscall.ENOSPC) and errors.Is(err, os.ErrPermission) work; a call on what is closed (-ESHUTDOWN) is
// [os.ErrClosed].
type Error int

// The codes that are no errno.
const (
	// ErrWriteZero says that a sink took none of the bytes that it was offered.
	ErrWriteZero = Error(C.BW_EWRITEZERO)
	// ErrSink says that a sink failed in an unknown state: it panicked, or claimed more than it was offered.
	ErrSink = Error(C.BW_ESINK)
)

// Error gives the library's text for the code.
func (e Error) Error() string { return C.GoString(C.bw_strerror(C.int(e))) }

// Unwrap gives the errno behind the code, or nil for the library's own codes.
func (e Error) Unwrap() error {
	if e >= 0 || e <= ErrWriteZero {
		return nil
	}
	return syscall.Errno(-e)
}

// Is makes a call on what is closed os.ErrClosed.
func (e Error) Is(target error) bool {
	return target == os.ErrClosed && e == Error(-C.ESHUTDOWN)
}

// errorOf gives nil for what is no failure.
func errorOf[T ~int32 | ~int64](code T) error {
	if code >= 0 {
		return nil
	}
	return Error(code)
}

// codeOf is the code that stands for a Go error in C: its own, or -EIO.
func codeOf(err error) C.int {
	var code Error
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return C.int(code)
	case errors.As(err, &errno):
		return -C.int(errno)
	}
	return -C.EIO
}
