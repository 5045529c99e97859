package bw

// #cgo nocallback bwgo_window_next
// #include "shim_writer.h"
import "C"

import (
	"fmt"
	"io"
	"runtime"
	"unicode/utf8"
	"unsafe"
)

const (
	defaultSize   = 4096
	maxEmptyReads = 100
)

// A Writer is a [bufio.Writer] whose buffer belongs to the library. Methods, sizes and errors are bufio's: it fills its
// buffer before it flushes, and after an error it accepts nothing more and gives that error to every later call, until
// Reset. After all data has been written, call Flush.
//
// It calls its io.Writer from Go, never out of C: what panics there, or blocks, does so as with bufio.
//
// The zero value has no buffer yet; Reset gives it one. A Writer is for one goroutine at a time. The memory of the
// buffer lies outside of Go's heap and is given back after the Writer has become unreachable; bytes that were not
// flushed are then lost, as with bufio. Who makes many Writers keeps and resets them.
type Writer struct {
	err    error
	buf    []byte // the whole span
	n      int    // bytes in it
	wr     io.Writer
	window *window
}

// A window frees its half in C once nobody can reach it.
type window struct{ c *C.bwgo_window }

func newWindow(size int) *window {
	w := &window{}
	if code := C.bwgo_window_new(&w.c, C.size_t(size)); code < 0 {
		panic(fmt.Sprintf("bw: a Writer of %d bytes: %v", size, Error(code)))
	}
	runtime.AddCleanup(w, func(c *C.bwgo_window) { C.bwgo_window_free(c) }, w.c)
	return w
}

// bytes is the memory of the span.
func (w *window) bytes() []byte { return unsafe.Slice((*byte)(w.c.span.data), int(w.c.span.length)) }

// next gives the first `used` bytes to the library, as written, and has the buffer empty again.
func (w *window) next(used int) error {
	return errorOf(C.bwgo_window_next(w.c, C.size_t(used)))
}

// NewWriter returns a Writer with a buffer of 4096 bytes.
func NewWriter(w io.Writer) *Writer { return NewWriterSize(w, defaultSize) }

// NewWriterSize returns a Writer with a buffer of at least the given size; 0 or less stands for 4096. If w is already
// a Writer with a large enough buffer, it is returned. The largest size is 128 MiB; it panics beyond that, or if there
// is no memory.
func NewWriterSize(w io.Writer, size int) *Writer {
	if size <= 0 {
		size = defaultSize
	}
	if b, ok := w.(*Writer); ok && b.Size() >= size {
		return b
	}
	b := &Writer{wr: w}
	b.open(size)
	return b
}

func (b *Writer) open(size int) {
	b.window = newWindow(size)
	b.buf = b.window.bytes()
}

// Reset discards what is not flushed, forgets an error, and makes b write to w. The zero value gets its buffer, of 4096
// bytes. To reset a Writer to itself does nothing.
func (b *Writer) Reset(w io.Writer) {
	if w == io.Writer(b) {
		return
	}
	if b.window == nil {
		b.open(defaultSize)
	}
	b.err, b.n, b.wr = nil, 0, w
}

// Size returns the size of the buffer in bytes.
func (b *Writer) Size() int { return len(b.buf) }

// Buffered returns how many bytes are in the buffer.
func (b *Writer) Buffered() int { return b.n }

// Available returns how many bytes of the buffer are unused.
func (b *Writer) Available() int { return len(b.buf) - b.n }

// AvailableBuffer returns an empty slice of capacity Available, to append to and then to Write, without a copy. It is
// valid until the next call on b that writes, and only while b is reachable.
func (b *Writer) AvailableBuffer() []byte { return b.buf[b.n:][:0] }

// Flush gives what is in the buffer to the io.Writer. If that fails, what it did not take stays in the buffer.
func (b *Writer) Flush() error {
	if b.err != nil || b.n == 0 {
		return b.err
	}
	n, err := b.wr.Write(b.buf[:b.n])
	if err == nil && n < b.n {
		err = io.ErrShortWrite
	}
	if err == nil {
		err, n = b.window.next(b.n), b.n
	}
	if n > 0 && n < b.n {
		copy(b.buf, b.buf[n:b.n])
	}
	b.n -= n
	b.err = err
	return err
}

// Write writes p into the buffer, and flushes it as often as it is full; what is longer than an empty buffer goes to
// the io.Writer as it is. It returns how many bytes were accepted; if less than len(p), err says why.
func (b *Writer) Write(p []byte) (n int, err error) {
	if len(p) > len(b.buf)-b.n || b.err != nil {
		return b.writeLong(p)
	}
	b.n += copy(b.buf[b.n:], p)
	return len(p), nil
}

func (b *Writer) writeLong(p []byte) (total int, err error) {
	for b.err == nil && len(p) > b.Available() {
		n := 0
		if b.n == 0 {
			n, b.err = b.wr.Write(p)
		} else {
			n = copy(b.buf[b.n:], p)
			b.n += n
			b.Flush()
		}
		total += n
		p = p[n:]
	}
	if b.err != nil {
		return total, b.err
	}
	n := copy(b.buf[b.n:], p)
	b.n += n
	return total + n, nil
}

// WriteString writes s as Write does. What is longer than an empty buffer goes to the WriteString of the io.Writer, if
// it has one, and else through the buffer.
func (b *Writer) WriteString(s string) (n int, err error) {
	if len(s) > len(b.buf)-b.n || b.err != nil {
		return b.writeLongString(s)
	}
	b.n += copy(b.buf[b.n:], s)
	return len(s), nil
}

func (b *Writer) writeLongString(s string) (total int, err error) {
	direct, isDirect := b.wr.(io.StringWriter)
	for b.err == nil && len(s) > b.Available() {
		n := 0
		if b.n == 0 && isDirect {
			n, b.err = direct.WriteString(s)
		} else {
			b.mustBeOpen()
			n = copy(b.buf[b.n:], s)
			b.n += n
			b.Flush()
		}
		total += n
		s = s[n:]
	}
	if b.err != nil {
		return total, b.err
	}
	n := copy(b.buf[b.n:], s)
	b.n += n
	return total + n, nil
}

// mustBeOpen panics where bufio's zero value would loop for ever.
func (b *Writer) mustBeOpen() {
	if b.window == nil {
		panic("bw: this Writer needs a Reset first")
	}
}

// WriteByte writes one byte.
func (b *Writer) WriteByte(c byte) error {
	if b.n == len(b.buf) || b.err != nil {
		if b.Flush() != nil {
			return b.err
		}
	}
	b.buf[b.n] = c
	b.n++
	return nil
}

// WriteRune writes one character in UTF-8, and returns how many bytes that took.
func (b *Writer) WriteRune(r rune) (size int, err error) {
	if uint32(r) < utf8.RuneSelf {
		if err := b.WriteByte(byte(r)); err != nil {
			return 0, err
		}
		return 1, nil
	}
	if b.err == nil && b.Available() < utf8.UTFMax && b.Flush() == nil && b.Available() < utf8.UTFMax {
		return b.WriteString(string(r)) // the whole buffer is smaller than a character may be
	}
	if b.err != nil {
		return 0, b.err
	}
	size = utf8.EncodeRune(b.buf[b.n:], r)
	b.n += size
	return size, nil
}

// ReadFrom reads r to its end, straight into the buffer. If the buffer is empty and the io.Writer has a ReadFrom, that
// one is called. The buffer is not flushed at the end, unless it is full.
func (b *Writer) ReadFrom(r io.Reader) (total int64, err error) {
	if b.err != nil {
		return 0, b.err
	}
	direct, isDirect := b.wr.(io.ReaderFrom)
	for err == nil {
		if b.Available() == 0 && b.Flush() != nil {
			return total, b.err
		}
		if isDirect && b.n == 0 {
			n, err := direct.ReadFrom(r)
			b.err = err
			return total + n, err
		}
		n := 0
		n, err = readSome(r, b.buf[b.n:])
		b.n += n
		total += int64(n)
	}
	if err != io.EOF {
		return total, err
	}
	if b.Available() == 0 {
		return total, b.Flush()
	}
	return total, nil
}

// readSome is Read, tried again while it gives nothing at all.
func readSome(r io.Reader, p []byte) (n int, err error) {
	for range maxEmptyReads {
		if n, err = r.Read(p); n != 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}
