package bw

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

func TestCallbackThatReturnsHasNoEnding(t *testing.T) {
	ran := false
	if how := runCallback(func() { ran = true }); how != nil || !ran {
		t.Errorf("%v, ran: %v", how, ran)
	}
}

func TestEndingOfAPanicIsAnError(t *testing.T) {
	err := runCallback(func() { panic(io.ErrUnexpectedEOF) }).err()
	var panicked *PanicError
	if !errors.As(err, &panicked) || panicked.Value != io.ErrUnexpectedEOF || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	if !strings.Contains(err.Error(), "TestEndingOfAPanicIsAnError") {
		t.Errorf("no stack: %v", err)
	}
	if err := runCallback(func() { panic("text") }).err(); errors.Unwrap(err) != nil {
		t.Errorf("%v", errors.Unwrap(err))
	}
}

func TestEndingOfGoexitIsAnError(t *testing.T) {
	if err := runCallback(runtime.Goexit).err(); err != errGoexit {
		t.Errorf("%v", err)
	}
}
