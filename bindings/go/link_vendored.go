//go:build bw_vendored

package bw

// #cgo CPPFLAGS: -I${SRCDIR}/../../include -I${SRCDIR}/../../src -DNDEBUG
// #cgo CXXFLAGS: -std=c++20 -fvisibility=hidden
// #cgo pkg-config: liburing
import "C"
