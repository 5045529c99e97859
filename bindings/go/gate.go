package bw

// #include "shim.h"
import "C"

import (
	"container/list"
	"context"
	"runtime/cgo"
	"sync"
)

// A gate lets goroutines wait for what a poll said -EAGAIN to, without a thread of their own. The first in the queue
// polls, with the one waker of the gate; the others wait for it to leave. A wake-up is for the first one.
//
// No call of C is made with the lock held: a waker may run inside any call.
type gate struct {
	mu    sync.Mutex
	queue list.List // of turn
}

// A turn has room for one message: look (again).
type turn chan struct{}

func (t turn) look() {
	select {
	case t <- struct{}{}:
	default: // told, and has not looked yet
	}
}

// pass calls poll until it gives something else than -EAGAIN, and gives that. Before each further call it waits: to
// be the first in the queue, then for a wake-up. If ctx ends first, pass gives -EAGAIN; the waker stays where it is,
// for the next one.
func (g *gate) pass(ctx context.Context, poll func() int64) int64 {
	mine := make(turn, 1)
	place := g.enter(mine)
	defer g.leave(place)
	for {
		select {
		case <-mine:
		case <-ctx.Done():
			return -C.EAGAIN
		}
		if result := poll(); result != -C.EAGAIN {
			return result
		}
	}
}

func (g *gate) enter(mine turn) *list.Element {
	g.mu.Lock()
	defer g.mu.Unlock()
	place := g.queue.PushBack(mine)
	if g.queue.Front() == place {
		mine.look()
	}
	return place
}

// leave lets the next one look: what let this one pass may do for two.
func (g *gate) leave(place *list.Element) {
	g.mu.Lock()
	defer g.mu.Unlock()
	wasFirst := g.queue.Front() == place
	g.queue.Remove(place)
	if wasFirst {
		g.lookFirst()
	}
}

// wake is the waker.
func (g *gate) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lookFirst()
}

func (g *gate) lookFirst() {
	if first := g.queue.Front(); first != nil {
		first.Value.(turn).look()
	}
}

//export bwgoWake
func bwgoWake(token C.uintptr_t) { cgo.Handle(token).Value().(interface{ wake() }).wake() }
