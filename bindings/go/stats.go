package bw

// #include "shim_file.h"
import "C"

import "time"

// Stats are what a File has done so far; see bw_stats_t in bw.h.
type Stats struct {
	Engine            Engine
	AcceptedBytes     uint64
	WrittenBytes      uint64
	DurableBytes      uint64
	Writes            uint64 // pieces accepted
	SinkWrites        uint64 // writes to the system
	Bypasses          uint64 // writes that went past the buffers
	Flushes           uint64
	Syncs             uint64 // one serves all who wait
	Waits             uint64 // how often a thread waited for room
	Errors            uint64 // failures of the sink
	Resumes           uint64
	Buffers           int
	BuffersInUse      int
	Direct            bool // O_DIRECT is in use
	RegisteredBuffers bool // the kernel knows the buffers
	OwnSlots          bool // each thread counts its copies on a cache line of its own
	WriteWait         Latency
	SinkWrite         Latency
	Sync              Latency
}

// Latency is how long something took, over all times it happened. Percentiles are estimates.
type Latency struct {
	Count                    uint64
	P50, P90, P99, P999, Max time.Duration
}

func latencyOf(c *C.bw_latency_t) Latency {
	return Latency{
		Count: uint64(c.count),
		P50:   time.Duration(c.p50_ns),
		P90:   time.Duration(c.p90_ns),
		P99:   time.Duration(c.p99_ns),
		P999:  time.Duration(c.p999_ns),
		Max:   time.Duration(c.max_ns),
	}
}

func statsOf(bw *C.bw_t) Stats {
	c := C.bw_stats_t{size: C.sizeof_bw_stats_t}
	C.bw_get_stats(bw, &c)
	return Stats{
		Engine:            Engine(c.engine),
		AcceptedBytes:     uint64(c.accepted_bytes),
		WrittenBytes:      uint64(c.written_bytes),
		DurableBytes:      uint64(c.durable_bytes),
		Writes:            uint64(c.writes),
		SinkWrites:        uint64(c.sink_writes),
		Bypasses:          uint64(c.bypasses),
		Flushes:           uint64(c.flushes),
		Syncs:             uint64(c.syncs),
		Waits:             uint64(c.waits),
		Errors:            uint64(c.errors),
		Resumes:           uint64(c.resumes),
		Buffers:           int(c.buffers),
		BuffersInUse:      int(c.buffers_in_use),
		Direct:            c.direct != 0,
		RegisteredBuffers: c.registered_buffers != 0,
		OwnSlots:          c.own_slots != 0,
		WriteWait:         latencyOf(&c.write_wait),
		SinkWrite:         latencyOf(&c.sink_write),
		Sync:              latencyOf(&c.sync),
	}
}
