package bw

// #include "shim_lane.h"
import "C"

import (
	"context"
	"runtime"
	"unsafe"
)

// A Lane is a private buffer in front of a File, for one goroutine at a time. A Write copies into it and enters C only
// when it is full; then all of it goes to the File in one piece, so that no Write up to the capacity of the Lane is
// torn. Each lane's bytes keep their order.
//
// The File knows nothing of what is in a Lane until the Lane is full, flushed or closed. A Lane that becomes
// unreachable before Close hands on what it has, at some time.
type Lane struct{ s *laneState }

// A laneState is what a Lane that nobody can reach any more leaves behind.
type laneState struct {
	handle *handle
	file   *File
	c      *C.bwgo_lane_t // nil: closed
	buf    []byte         // the open window; nil: none is open
	n      int            // bytes in it
	start  int64          // the position of the first one
}

// Lane makes a lane of the File. Of the options WithCapacity and WithEvents apply; the capacity is the File's unless
// said otherwise.
func (f *File) Lane(opts ...Option) (*Lane, error) {
	o := newOptions(0, opts)
	s := &laneState{handle: newHandle(f.Name(), o.onEvent), file: f}
	_, err := f.call("lane", func(parent *handle) int64 {
		code := C.bwgo_lane_new(&s.c, parent.bw, o.c, s.handle.eventToken())
		if code == 0 {
			parent.tokens.Add(1)
			s.handle.bw = s.c.bw
		}
		return int64(code)
	})
	if err != nil {
		s.handle.dropToken()
		return nil, err
	}
	l := &Lane{s}
	runtime.AddCleanup(l, func(s *laneState) { go s.free() }, s)
	return l, nil
}

// Write writes p. All of it is accepted, or nothing.
func (l *Lane) Write(p []byte) (n int, err error) {
	_, err = l.append("write", p)
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString writes s as Write does.
func (l *Lane) WriteString(s string) (n int, err error) {
	return l.Write(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// Append writes p and returns where in the Lane's own stream it begins; all of it is accepted, or nothing.
func (l *Lane) Append(p []byte) (pos int64, err error) { return l.append("append", p) }

func (l *Lane) append(op string, p []byte) (pos int64, err error) {
	s := l.s
	if len(p) > 0 && len(p) <= len(s.buf)-s.n {
		pos = s.start + int64(s.n)
		s.n += copy(s.buf[s.n:], p)
	} else {
		pos, err = s.appendInC(op, p)
	}
	runtime.KeepAlive(l)
	return pos, err
}

// appendInC is for what does not fit the window, and opens it again.
func (s *laneState) appendInC(op string, p []byte) (int64, error) {
	return s.call(op, func(h *handle) int64 {
		data, length := (*C.char)(unsafe.Pointer(unsafe.SliceData(p))), C.size_t(len(p))
		pos := finish(C.bwgo_lane_poll_append(s.c, data, length, 0))
		if pos < 0 {
			poll := func() int64 { return finish(C.bwgo_lane_poll_append(s.c, data, length, h.waker())) }
			pos = h.appendAgain(pos, poll, data, length)
		}
		s.buf = unsafe.Slice((*byte)(s.c.span.data), int(s.c.span.length))
		s.start = int64(s.c.span.position)
		return pos
	})
}

// call does something in C, with no window open.
func (s *laneState) call(op string, body func(h *handle) int64) (int64, error) {
	if s.c == nil {
		return 0, s.handle.wrap(op, errClosed)
	}
	if err := s.handle.takeFailure(); err != nil {
		return 0, s.handle.wrap(op, err)
	}
	s.settle()
	result := body(s.handle)
	return max(result, 0), s.handle.errorOf(op, result)
}

// settle gives C what is in the window, and closes it.
func (s *laneState) settle() {
	C.bwgo_lane_settle(s.c, C.size_t(s.n))
	s.buf, s.n = nil, 0
}

// poll asks until it is told something else than -EAGAIN.
func (l *Lane) poll(op string, ask func(h *handle) int64) error {
	defer runtime.KeepAlive(l)
	_, err := l.s.call(op, func(h *handle) int64 {
		return h.other.pass(context.Background(), func() int64 { return ask(h) })
	})
	return err
}

// handOn has the File accept what the Lane has. The rest of a flush or a sync is the File's, which waits for what was
// accepted by then; a poll of the Lane would wait for what others write meanwhile, too.
func (l *Lane) handOn(op string) error {
	return l.poll(op, func(h *handle) int64 {
		code := finish(C.bwgo_poll_flush(h.bw, h.waker()))
		if code == -C.EAGAIN && h.positionOf(Written) == h.positionOf(Accepted) {
			return 0
		}
		return code
	})
}

// Flush hands on what the Lane has, and flushes the File.
func (l *Lane) Flush() error {
	if err := l.handOn("flush"); err != nil {
		return err
	}
	return l.s.file.Flush()
}

// Sync hands on what the Lane has, and syncs the File.
func (l *Lane) Sync() error {
	if err := l.handOn("sync"); err != nil {
		return err
	}
	return l.s.file.Sync()
}

// Close hands on what the Lane has; it does not flush the File. Where it fails the Lane is still open, with all its
// bytes. A Lane that is closed gives nil here.
func (l *Lane) Close() error {
	defer runtime.KeepAlive(l) // or its cleanup would free it too
	if l.s.c == nil {
		return nil
	}
	err := l.poll("close", func(h *handle) int64 { return finish(C.bwgo_poll_close(h.bw, h.waker())) })
	if err == nil {
		l.s.free()
	}
	return err
}

func (s *laneState) free() {
	if s.c == nil {
		return
	}
	s.settle()
	c := s.c
	s.c = nil
	defer s.handle.dropToken()
	defer s.file.handle.dropToken()
	finish(C.bwgo_lane_free(c))
}
