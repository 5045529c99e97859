package bw

// #include "shim_file.h"
import "C"

import (
	"container/heap"
	"context"
	"runtime/cgo"
	"slices"
	"sync"
)

// waiters are those who wait for positions of one level. The library is asked for the lowest of them alone; with its
// answer all go on that are then reached, and it is asked for the next. So one callback serves all whom one sync
// serves, and who gives up costs the library nothing.
//
// No call of C is made with the lock held.
type waiters struct {
	mu      sync.Mutex
	waiting waiterHeap
	asked   []question // not answered yet
	count   uint64     // of waiters so far
}

type waiter struct {
	position int64
	number   uint64           // of this one
	tell     func(code int64) // called once, with 0 or a code; does not wait
	index    int              // in the heap; -1: answered
}

// A question is what the library is asked, with bw_notify.
type question struct {
	handle   *handle
	level    Level
	position int64
	isUrgent bool // the position was accepted already: only then does the library see to it at once
}

// wait gives 0 once the position is reached, or a code; -EAGAIN if ctx ended first.
func (h *handle) wait(ctx context.Context, position int64, level Level) int64 {
	if h.positionOf(level) >= position {
		return 0
	}
	answer := make(chan int64, 1)
	w := &waiter{position: position, tell: func(code int64) { answer <- code }}
	h.watch(w, level)
	select {
	case code := <-answer:
		return code
	case <-ctx.Done():
		h.level[level].remove(w)
		return -C.EAGAIN
	}
}

// watch has the waiter answered, once.
func (h *handle) watch(w *waiter, level Level) {
	q := question{handle: h, level: level}
	if h.level[level].add(w, &q, int64(C.bw_tell(h.bw))) {
		q.ask()
	}
}

func (q question) ask() {
	token := cgo.NewHandle(q)
	code := C.bwgo_notify(q.handle.bw, C.int64_t(q.position), C.int(q.level), C.uintptr_t(token))
	if code < 0 {
		token.Delete()
		q.answer(int64(code))
	}
}

//export bwgoAnswer
func bwgoAnswer(token C.uintptr_t, code C.int) {
	handle := cgo.Handle(token)
	q := handle.Value().(question)
	handle.Delete()
	q.answer(int64(code))
}

// answer passes the library's answer on: 0 to all who are reached, a code to the others, and asks on for who is left.
func (q question) answer(code int64) {
	h, asked := q.handle, q.position
	reached := h.positionOf(q.level)
	failed := func(*waiter) bool { return code < 0 }
	if code == 0 {
		reached = max(reached, asked)
	}
	if code == -C.ECANCELED && h.users.Load() > 0 { // the file goes on: cut cancels the others
		failed = func(w *waiter) bool { return w.position == asked }
	}
	if h.level[q.level].settle(&q, int64(C.bw_tell(h.bw)), reached, code, failed) {
		q.ask()
	}
}

// A cut moves the end of the stream: a seek or a discard. Who waited before for what is then beyond the end is told
// -ECANCELED, as the library tells those whom it knows.
type cut [levelCount]uint64

// beginCut comes before the call of C, and end after it.
func (h *handle) beginCut() (c cut) {
	for level := range h.level {
		c[level] = h.level[level].lastNumber()
	}
	return c
}

func (c cut) end(h *handle, position int64) {
	for level, number := range c {
		h.level[level].cancel(position, number)
	}
}

// add tells whether to ask, and what. `tail` is where the stream ends now.
func (l *waiters) add(w *waiter, q *question, tail int64) (mustAsk bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	w.number = l.count
	heap.Push(&l.waiting, w)
	return l.next(q, tail)
}

func (l *waiters) remove(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.index >= 0 {
		heap.Remove(&l.waiting, w.index)
	}
}

func (l *waiters) lastNumber() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// settle tells 0 to those up to `reached`, and code to those of the others that have failed. The answer was to q, which
// becomes what is to be asked next, if anything.
func (l *waiters) settle(q *question, tail, reached, code int64, failed func(*waiter) bool) (mustAsk bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	index := slices.Index(l.asked, *q)
	l.asked = slices.Delete(l.asked, index, index+1)
	for len(l.waiting) > 0 && l.waiting[0].position <= reached {
		heap.Pop(&l.waiting).(*waiter).tell(0)
	}
	if code < 0 {
		l.fail(code, failed)
	}
	return l.next(q, tail)
}

// cancel is for those beyond the position who came no later than number.
func (l *waiters) cancel(position int64, number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail(-C.ECANCELED, func(w *waiter) bool { return w.position > position && w.number <= number })
}

func (l *waiters) fail(code int64, failed func(*waiter) bool) {
	for _, w := range slices.Clone(l.waiting) {
		if failed(w) {
			heap.Remove(&l.waiting, w.index)
			w.tell(code)
		}
	}
}

// next makes q the question for the lowest position, unless an answer will come that is as good: to one that is no
// higher, and urgent if this one is.
func (l *waiters) next(q *question, tail int64) (mustAsk bool) {
	if len(l.waiting) == 0 {
		return false
	}
	q.position = l.waiting[0].position
	q.isUrgent = q.position <= tail
	for _, asked := range l.asked {
		if asked.position <= q.position && (asked.isUrgent || !q.isUrgent) {
			return false
		}
	}
	l.asked = append(l.asked, *q)
	return true
}

// A waiterHeap has the lowest position first.
type waiterHeap []*waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].position < h[j].position }

func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *waiterHeap) Push(x any) {
	w := x.(*waiter)
	w.index = len(*h)
	*h = append(*h, w)
}

// Pop is for container/heap.
func (h *waiterHeap) Pop() any {
	end := len(*h) - 1
	w := (*h)[end]
	(*h)[end] = nil
	*h = (*h)[:end]
	w.index = -1
	return w
}
