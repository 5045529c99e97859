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
	latest   uint64 // the number of the latest waiter then
	isUrgent bool   // the position was accepted already: only then does the library see to it at once
}

// wait gives 0 once the position is reached, or a code; -EAGAIN if ctx ended first. seeTo, if there is one, is called
// meanwhile, and its context ends with the wait. What it gives ends the wait too, unless that is -EAGAIN.
func (h *handle) wait(ctx context.Context, position int64, level Level,
	seeTo func(context.Context, int64) int64) int64 {
	if h.positionOf(level) >= position {
		return 0
	}
	answer := make(chan int64, 1)
	waiting, end := ctx, func() {}
	if seeTo != nil {
		waiting, end = context.WithCancel(ctx)
	}
	defer end()
	w := &waiter{position: position, tell: func(code int64) {
		answer <- code
		end()
	}}
	h.watch(w, level)
	defer h.level[level].remove(w)
	if seeTo != nil {
		if code := seeTo(waiting, position); code != -C.EAGAIN {
			return code
		}
	}
	select {
	case code := <-answer:
		return code
	case <-ctx.Done():
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
	h, l := q.handle, &q.handle.level[q.level]
	a := answer{code: code, latest: l.lastNumber()}
	a.reached = h.positionOf(q.level) // after that: who comes later may wait for the same position of another stream
	a.isOfCut = code == -C.ECANCELED && !h.retiring.Load()
	if l.settle(&q, int64(C.bw_tell(h.bw)), a) {
		q.ask()
	}
}

// An answer is what the library has told, and how far it had come then.
type answer struct {
	code    int64
	isOfCut bool   // and the file goes on
	reached int64  // the position of the level,
	latest  uint64 // which holds for waiters up to this one
}

// isReached says whether a waiter is told 0. What q was told is about the stream in which q was asked.
func (a *answer) isReached(w *waiter, q *question) bool {
	return w.number <= a.latest && w.position <= a.reached ||
		a.code == 0 && w.number <= q.latest && w.position <= q.position
}

// isFailed says whether a waiter that is not reached is told the code.
func (a *answer) isFailed(w *waiter, q *question) bool {
	return a.code < 0 && (!a.isOfCut || w.number <= q.latest)
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

// settle tells all whom the answer to q concerns. q becomes what is to be asked next, if anything.
func (l *waiters) settle(q *question, tail int64, a answer) (mustAsk bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	index := slices.Index(l.asked, *q)
	l.asked = slices.Delete(l.asked, index, index+1)
	var later []*waiter
	for limit := max(a.reached, q.position); len(l.waiting) > 0 && l.waiting[0].position <= limit; {
		w := heap.Pop(&l.waiting).(*waiter)
		if a.isReached(w, q) {
			w.tell(0)
		} else {
			later = append(later, w)
		}
	}
	for _, w := range later {
		heap.Push(&l.waiting, w)
	}
	if a.code < 0 {
		l.fail(a.code, func(w *waiter) bool { return a.isFailed(w, q) })
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
	q.latest = l.count
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
