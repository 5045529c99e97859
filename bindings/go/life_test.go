package bw

import "testing"

// A callback may be the last one out of what is retired. What frees waits for callbacks, so it must not run in them.
func TestTheLastOneOutDoesNotWaitForTheEnd(t *testing.T) {
	isOut, isFreed := make(chan struct{}), make(chan struct{})
	l := life{end: func() {
		<-isOut
		close(isFreed)
	}}
	if !l.enter() {
		t.Fatal("not inside")
	}
	l.retire()
	l.leave()
	close(isOut)
	<-isFreed
	if l.enter() {
		t.Error("inside again")
	}
}
