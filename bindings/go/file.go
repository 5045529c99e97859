package bw

// #include "shim_file.h"
import "C"

import (
	"context"
	"io"
	"os"
	"runtime"
	"runtime/cgo"
	"syscall"
	"unsafe"
)

// A File is written to by many goroutines at once: what one call writes is contiguous, and goes out in large pieces.
// Any method may be called by any goroutine at any time.
//
// A goroutine that has to wait holds no thread, unless it writes more than all buffers hold, or calls Unwritten,
// Discard or Resume while writes are under way.
//
// After a failed write the File keeps all bytes that were not written, and gives the error to every call until Resume;
// a failed sync is final. See Err.
//
// A File is closed by Close. One that becomes unreachable before is closed too, at some time, and only EventLost says
// if that did not work; one that its own callback can reach never is.
type File struct{ handle *handle }

var errClosed = Error(-C.ESHUTDOWN)

// Open opens a file for writing. path, flag and perm are as for [os.OpenFile]; flag must have [os.O_WRONLY] or
// [os.O_RDWR].
//
// Positions are offsets in the file and begin at 0: to go on at its end, Seek there. With [os.O_APPEND] other processes
// may append too, and positions count from the size at opening. What is no regular file (a pipe, a terminal) is
// written by a thread of the library.
func Open(path string, flag int, perm os.FileMode, opts ...Option) (*File, error) {
	name, err := syscall.BytePtrFromString(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	o := newOptions(C.BW_BACKGROUND, opts)
	h := newHandle(path, o.onEvent)
	code := C.bwgo_open(&h.bw, (*C.char)(unsafe.Pointer(name)), C.int(flag), modeOf(perm), o.c, h.eventToken())
	if code < 0 {
		h.dropToken()
		return nil, h.errorOf("open", int64(code))
	}
	f := &File{h}
	runtime.AddCleanup(f, func(h *handle) { go h.abandon() }, h)
	return f, nil
}

// modeOf is perm as open(2) wants it.
func modeOf(perm os.FileMode) C.uint {
	mode := C.uint(perm.Perm())
	if perm&os.ModeSetuid != 0 {
		mode |= syscall.S_ISUID
	}
	if perm&os.ModeSetgid != 0 {
		mode |= syscall.S_ISGID
	}
	if perm&os.ModeSticky != 0 {
		mode |= syscall.S_ISVTX
	}
	return mode
}

// Name returns the path that Open was given.
func (f *File) Name() string { return f.handle.name }

// call does something in C, between begin and leave.
func (f *File) call(op string, body func(h *handle) int64) (int64, error) {
	defer runtime.KeepAlive(f)
	h := f.handle
	if err := h.begin(); err != nil {
		return 0, h.wrap(op, err)
	}
	defer h.leave()
	result := body(h)
	return max(result, 0), h.errorOf(op, result)
}

// Append writes p and returns where in the stream it begins; all of it is accepted, or nothing. It is durable once
// Wait has returned for the end, pos + len(p).
func (f *File) Append(p []byte) (pos int64, err error) {
	return f.append("append", (*C.char)(unsafe.Pointer(unsafe.SliceData(p))), len(p))
}

// Write writes p. All of it is accepted, or nothing.
func (f *File) Write(p []byte) (n int, err error) {
	return f.write((*C.char)(unsafe.Pointer(unsafe.SliceData(p))), len(p))
}

// WriteString writes s as Write does.
func (f *File) WriteString(s string) (n int, err error) {
	return f.write((*C.char)(unsafe.Pointer(unsafe.StringData(s))), len(s))
}

func (f *File) write(data *C.char, length int) (n int, err error) {
	if _, err := f.append("write", data, length); err != nil {
		return 0, err
	}
	return length, nil
}

func (f *File) append(op string, data *C.char, length int) (pos int64, err error) {
	defer runtime.KeepAlive(f)
	h := f.handle
	if err := h.begin(); err != nil {
		return 0, h.wrap(op, err)
	}
	defer h.leave()
	pos = finish(C.bwgo_poll_append(h.bw, data, C.size_t(length), 0))
	if pos < 0 {
		poll := func() int64 { return finish(C.bwgo_poll_append(h.bw, data, C.size_t(length), h.waker())) }
		pos = h.appendAgain(pos, poll, data, C.size_t(length))
	}
	if pos < 0 {
		return 0, h.errorOf(op, pos)
	}
	return pos, nil
}

// appendAgain goes on where a first poll gave `pos`: it polls again until there is room.
func (h *handle) appendAgain(pos int64, poll func() int64, data *C.char, length C.size_t) int64 {
	if pos == -C.EAGAIN {
		pos = h.room.pass(context.Background(), poll)
	}
	if pos == -C.EMSGSIZE { // longer than all buffers: only a thread that waits can do that
		pos = finish(C.bwgo_append(h.bw, data, length))
	}
	return pos
}

// ReadFrom writes all that r has. See [io.Copy].
func (f *File) ReadFrom(r io.Reader) (n int64, err error) {
	return io.Copy(struct{ io.Writer }{f}, r)
}

// Flush returns once all that was accepted before is written to the file.
func (f *File) Flush() error {
	_, err := f.call("flush", func(h *handle) int64 {
		target := int64(C.bw_tell(h.bw))
		code := finish(C.bwgo_poll_flush(h.bw, 0))
		if code == -C.EAGAIN {
			code = h.wait(context.Background(), target, Written, h.flush)
		}
		if code == -C.ECANCELED { // a seek, which has flushed; or a discard, which leaves nothing to flush
			return 0
		}
		return code
	})
	return err
}

// flush gives 0 once all up to `target` is written: others may keep writing meanwhile.
func (h *handle) flush(ctx context.Context, target int64) int64 {
	return h.other.pass(ctx, func() int64 {
		if h.positionOf(Written) >= target {
			return 0
		}
		return finish(C.bwgo_poll_flush(h.bw, h.waker()))
	})
}

// Sync returns once all that was accepted before is durable. Who waits at the same time shares one sync of the file.
func (f *File) Sync() error {
	_, err := f.call("sync", func(h *handle) int64 {
		target := int64(C.bw_tell(h.bw))
		code := finish(C.bwgo_poll_sync(h.bw, 0))
		if code != -C.EAGAIN {
			return code
		}
		return h.wait(context.Background(), target, Durable, nil)
	})
	return err
}

// Wait returns once everything below pos has come to that level, and sees to it: of what is accepted, Written flushes
// and Durable syncs. Where nothing has come as far as pos yet, it waits for others to write. If ctx ends first, its
// error is returned.
func (f *File) Wait(ctx context.Context, pos int64, level Level) error {
	defer runtime.KeepAlive(f)
	h := f.handle
	if !level.exists() {
		return h.errorOf("wait", -C.EINVAL)
	}
	if err := h.takeFailure(); err != nil {
		return h.wrap("wait", err)
	}
	if !h.enter() {
		return h.errorOf("wait", h.codeAfterClose(pos, level))
	}
	defer h.leave()
	code := h.seeTo(ctx, pos, level)
	if code == -C.EAGAIN && ctx.Err() != nil {
		return ctx.Err()
	}
	return h.errorOf("wait", code)
}

func (h *handle) seeTo(ctx context.Context, pos int64, level Level) int64 {
	if level != Written || pos > int64(C.bw_tell(h.bw)) {
		return h.wait(ctx, pos, level, nil)
	}
	if code := finish(C.bwgo_poll_flush(h.bw, 0)); code < 0 && code != -C.EAGAIN {
		return code
	}
	return h.wait(ctx, pos, level, func(ctx context.Context, target int64) int64 {
		if code := h.flush(ctx, target); code < 0 {
			return code
		}
		return -C.EAGAIN // what is flushed may be less than `target`, after a discard
	})
}

func (h *handle) codeAfterClose(pos int64, level Level) int64 {
	if h.last.Load().position[level] >= pos {
		return 0
	}
	return -C.ESHUTDOWN
}

// Notify returns a channel that gets one value once everything below pos has come to that level: nil, or why it has
// not. Durable sees to it; Written and Accepted only watch.
func (f *File) Notify(pos int64, level Level) <-chan error {
	defer runtime.KeepAlive(f)
	h := f.handle
	told := make(chan error, 1)
	tell := func(code int64) { told <- h.errorOf("notify", code) }
	switch {
	case !level.exists():
		tell(-C.EINVAL)
	case !h.enter():
		tell(h.codeAfterClose(pos, level))
	default:
		defer h.leave()
		h.watch(&waiter{position: pos, tell: tell}, level)
	}
	return told
}

// Seek flushes and moves to another offset, as [io.Seeker] says. Who waits for positions beyond it gets an error that
// is [syscall.ECANCELED].
func (f *File) Seek(offset int64, whence int) (int64, error) {
	return f.call("seek", func(h *handle) int64 {
		var before cut
		started := false
		position := h.other.pass(context.Background(), func() int64 {
			if !started {
				if code := C.bw_start_seek(h.bw, C.int64_t(offset), C.int(whence)); code < 0 {
					return int64(code)
				}
				started = true
			}
			before = h.beginCut()
			return finish(C.bwgo_poll_seek(h.bw, h.waker()))
		})
		if position >= 0 {
			before.end(h, position)
		}
		return position
	})
}

// Position returns below which position every byte has come to that level; a level that does not exist gives -1.
func (f *File) Position(level Level) int64 {
	defer runtime.KeepAlive(f)
	h := f.handle
	if !level.exists() {
		return -1
	}
	if !h.enter() {
		return h.last.Load().position[level]
	}
	defer h.leave()
	return h.positionOf(level)
}

// Err returns the error that the File holds, or nil: a failed write, until Resume; or a failed sync, for ever.
func (f *File) Err() error {
	defer runtime.KeepAlive(f)
	h := f.handle
	if !h.enter() {
		return nil
	}
	defer h.leave()
	return h.errorOf("write", int64(C.bw_error(h.bw)))
}

// Resume lets go of a held error and tries again, from the first byte that was not written.
func (f *File) Resume() error {
	_, err := f.call("resume", func(h *handle) int64 { return finish(C.bwgo_resume(h.bw)) })
	return err
}

// Unwritten returns a copy of the bytes that are not written, in order, once the writes in flight have ended.
func (f *File) Unwritten() ([]byte, error) {
	var bytes []byte
	_, err := f.call("unwritten", func(h *handle) int64 {
		token := cgo.NewHandle(&bytes)
		defer token.Delete()
		return finish(C.bwgo_unwritten(h.bw, C.uintptr_t(token)))
	})
	return bytes, err
}

//export bwgoCollect
func bwgoCollect(token C.uintptr_t, data *C.char, length C.size_t) {
	bytes := cgo.Handle(token).Value().(*[]byte)
	*bytes = append(*bytes, unsafe.Slice((*byte)(unsafe.Pointer(data)), int(length))...)
}

// Discard forgets the bytes that are not written, and returns how many they were. Held errors stay. Who waits for
// positions beyond what is left gets an error that is [syscall.ECANCELED].
func (f *File) Discard() (int64, error) {
	return f.call("discard", func(h *handle) int64 {
		before := h.beginCut()
		count := finish(C.bwgo_discard(h.bw))
		if count >= 0 {
			before.end(h, h.positionOf(Accepted))
		}
		return count
	})
}

// Stats returns what the File has done so far; of a closed one, what it had done by then.
func (f *File) Stats() Stats {
	defer runtime.KeepAlive(f)
	h := f.handle
	if !h.enter() {
		return h.last.Load().stats
	}
	defer h.leave()
	return statsOf(h.bw)
}

// Close writes out everything, makes it durable and closes the file. Where it fails, the File may still be open: with
// all its bytes, and for another Close. A File that is closed gives nil here, and [os.ErrClosed] elsewhere. All lanes
// must be closed first.
func (f *File) Close() error {
	defer runtime.KeepAlive(f)
	h := f.handle
	if !h.enter() {
		return nil
	}
	defer h.leave()
	err := h.errorOf("close", h.close())
	if failure := h.takeFailure(); err == nil && failure != nil {
		err = h.wrap("close", failure)
	}
	return err
}

// close retires the handle if C has closed it. With some codes it has, and then it says 0 when asked again.
func (h *handle) close() int64 {
	code := h.other.pass(context.Background(), func() int64 { return finish(C.bwgo_poll_close(h.bw, h.waker())) })
	if code == 0 || finish(C.bwgo_poll_close(h.bw, 0)) == 0 {
		h.remember()
		h.retire()
	}
	return code
}
