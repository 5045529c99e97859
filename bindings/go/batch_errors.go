package bw

// #include "shim_batch.h"
import "C"

import (
	"errors"
	"sync"
)

// ErrDropped says that an item was not accepted because the Batcher is full (FullDropNewest, FullDropOldest).
var ErrDropped = errors.New("bw: the item is dropped: the batcher is full")

// Final marks an error with which items are refused for good: they are given up, not tried again and never held. It
// gives nil for nil.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &finalError{err}
}

type finalError struct{ cause error }

func (f *finalError) Error() string { return f.cause.Error() }
func (f *finalError) Unwrap() error { return f.cause }

// causes lets errors of Go pass through C: a code goes in, and leads back to the very error wherever it comes out.
type causes struct {
	mu     sync.Mutex
	count  C.int
	errors map[C.int]error
}

const (
	finalMark  = C.BW_FINAL
	firstCause = -1 << 29 // the codes from here down to twice that; with finalMark taken from them they fit an int
	causeCodes = 1 << 29
	causesKept = 1 << 12 // older ones come out as EIO
)

// codeOf gives the codes to which C gives a meaning as they are, and one of its own to any other error.
func (c *causes) codeOf(err error) C.int {
	if err == nil {
		return 0
	}
	var final *finalError
	if errors.As(err, &final) {
		return c.keep(err) - finalMark
	}
	switch code := codeOf(err); code {
	case -C.EAGAIN, -C.EINTR, C.BW_ESINK:
		return code
	}
	return c.keep(err)
}

func (c *causes) keep(err error) C.int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.errors == nil {
		c.errors = make(map[C.int]error)
	}
	code := firstCause - c.count
	c.errors[code] = err
	delete(c.errors, firstCause-(c.count+causeCodes-causesKept)%causeCodes)
	c.count = (c.count + 1) % causeCodes
	return code
}

func (c *causes) errorOf(code int64) error {
	if code > firstCause {
		return errorOf(code)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.errors[C.int(code)]; err != nil {
		return err
	}
	return Error(-C.EIO)
}
