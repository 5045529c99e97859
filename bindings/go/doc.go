// Package bw writes: many goroutines write small pieces, few large writes go out, in one order, and it is known of each
// byte how far it has come: accepted, written, durable. It binds libbw, a library in C; bw.h is its manual.
//
//   - [Writer] is bufio.Writer over a buffer of the library.
//   - [File] is for many goroutines at once: appends with their positions, shared syncs, errors that lose nothing.
//   - [Lane] is a private buffer in front of a File, for one goroutine.
//   - [Batcher] gathers items into batches for a function of the caller's.
//
// # Waiting
//
// A goroutine that waits for a File or a Batcher is parked by Go and holds no thread; the exceptions are named where
// they are.
//
// # Callbacks
//
// A callback runs on a goroutine of its own, and the call or the thread of the library that it serves waits for it. So
// it must not wait for what it serves: a Sync in the callback of WithEvents, say, never returns. A panic, and
// [runtime.Goexit] (which is what FailNow of a test calls), goes on in the call that the callback ran under, once C has
// returned. Where a thread of the library called it, the next call gives an error instead. Where what was forgotten is
// given back, a panic ends the program.
//
// # Forks
//
// What was opened before a fork is not usable in the child. os/exec is no such fork.
//
// # Building
//
// The installed library is found by pkg-config. With the build tag bw_vendored the library is compiled into the program
// instead, from the repository that this package lies in; that needs a C++20 compiler and liburing.
package bw
