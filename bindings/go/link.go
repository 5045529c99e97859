//go:build !bw_vendored

package bw

// #cgo pkg-config: bw
import "C"
