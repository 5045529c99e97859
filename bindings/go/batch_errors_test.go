package bw

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
)

// What comes out is the error that went in, or EIO once it is forgotten; also where the codes begin anew.
func TestCausesAreRememberedForAWhile(t *testing.T) {
	const forgotten = 100
	c := causes{count: causeCodes - forgotten - 1}
	codes := make([]int64, causesKept+forgotten)
	for index := range codes {
		codes[index] = int64(c.codeOf(fmt.Errorf("error %d", index)))
	}
	for index, code := range codes {
		err := c.errorOf(code)
		if index < forgotten {
			if err != -Error(syscall.EIO) {
				t.Fatalf("forgotten error %d: %v", index, err)
			}
		} else if err.Error() != fmt.Sprint("error ", index) {
			t.Fatalf("error %d: %v", index, err)
		}
	}
	if len(c.errors) != causesKept {
		t.Errorf("%d are kept", len(c.errors))
	}
}

func TestCausesLeaveCodesWithAMeaning(t *testing.T) {
	var c causes
	for _, code := range []Error{-Error(syscall.EAGAIN), -Error(syscall.EINTR), ErrSink} {
		if got := c.codeOf(fmt.Errorf("wrapped: %w", code)); Error(got) != code {
			t.Errorf("%v becomes %d", code, got)
		}
		if err := c.errorOf(int64(code)); err != code {
			t.Errorf("%v becomes %v", code, err)
		}
	}
	if got := c.codeOf(nil); got != 0 || c.errorOf(0) != nil {
		t.Errorf("nil becomes %d", got)
	}
}

// One that is final keeps its text and its errors, and is beyond all other codes however often it is marked.
func TestFinalIsMarkedOnce(t *testing.T) {
	var c causes
	err := Final(fmt.Errorf("wrapped: %w", Final(syscall.EAGAIN)))
	code := int64(c.codeOf(err))
	if code >= -finalMark || c.errorOf(code+finalMark) != err {
		t.Errorf("%d", code)
	}
	if !errors.Is(err, syscall.EAGAIN) || err.Error() != "wrapped: "+syscall.EAGAIN.Error() {
		t.Error(err)
	}
	if Final(nil) != nil {
		t.Error("Final(nil) is not nil")
	}
}
