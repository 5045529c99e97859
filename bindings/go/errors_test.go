package bw

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
)

func TestErrorKeepsItsErrno(t *testing.T) {
	for _, test := range []struct {
		code   Error
		target error
		is     bool
	}{
		{-Error(syscall.ENOSPC), syscall.ENOSPC, true},
		{-Error(syscall.ENOSPC), syscall.EIO, false},
		{-Error(syscall.ENOSPC), os.ErrClosed, false},
		{-Error(syscall.EACCES), os.ErrPermission, true},
		{-Error(syscall.EOPNOTSUPP), errors.ErrUnsupported, true},
		{-Error(syscall.ESHUTDOWN), os.ErrClosed, true},
		{-Error(syscall.ESHUTDOWN), syscall.ESHUTDOWN, true},
		{ErrSink, ErrSink, true},
		{ErrSink, ErrWriteZero, false},
		{ErrWriteZero, syscall.EIO, false},
	} {
		wrapped := fmt.Errorf("wrapped: %w", test.code)
		if errors.Is(wrapped, test.target) != test.is {
			t.Errorf("%v is %v: not %v", test.code, test.target, test.is)
		}
	}
	var errno syscall.Errno
	if errors.As(ErrSink, &errno) {
		t.Errorf("%v has the errno %d", ErrSink, errno)
	}
}

func TestErrorHasAText(t *testing.T) {
	if text := (-Error(syscall.ENOSPC)).Error(); text != "No space left on device" {
		t.Error(text)
	}
	if text := ErrWriteZero.Error(); text != "the sink took none of the bytes offered" {
		t.Error(text)
	}
}

func TestErrorsBecomeCodes(t *testing.T) {
	for _, test := range []struct {
		err  error
		code int
	}{
		{nil, 0},
		{ErrSink, int(ErrSink)},
		{fmt.Errorf("wrapped: %w", ErrWriteZero), int(ErrWriteZero)},
		{&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, -int(syscall.ENOSPC)},
		{io.ErrShortWrite, -int(syscall.EIO)},
	} {
		if code := int(codeOf(test.err)); code != test.code {
			t.Errorf("%v is %d, not %d", test.err, code, test.code)
		}
	}
}
