package bw

// #include "shim_batch.h"
import "C"

// BatchStats are what a Batcher has done so far; see bw_batch_stats_t in batch.h.
type BatchStats struct {
	Items         uint64  // delivered
	Batches       uint64  // delivered; one that came apart counts once
	MaxBatchSize  uint64  // the most items delivered of one batch
	DroppedItems  uint64  // dropped or discarded
	FailedItems   uint64  // given up
	Retries       uint64  // offers after a failure
	Bytes         uint64  // of the items delivered
	BufferedItems uint64  // accepted, not settled and not in flight
	InFlightItems uint64  // taken and not answered for
	Flushed       uint64  // batches settled of which at least one item was taken
	InBatch       Latency // of each batch: from its first item until it was sealed
	ToDelivered   Latency // of each batch: from its first item until it was settled
}

func batchStatsOf(batch *C.bw_batch_t) *BatchStats {
	c := C.bw_batch_stats_t{size: C.sizeof_bw_batch_stats_t}
	C.bw_batch_get_stats(batch, &c)
	return &BatchStats{
		Items:         uint64(c.total_items),
		Batches:       uint64(c.total_batches),
		MaxBatchSize:  uint64(c.max_batch_size),
		DroppedItems:  uint64(c.dropped_items),
		FailedItems:   uint64(c.failed_items),
		Retries:       uint64(c.retries),
		Bytes:         uint64(c.bytes),
		BufferedItems: uint64(c.buffered_items),
		InFlightItems: uint64(c.in_flight_items),
		Flushed:       uint64(C.bw_batch_flushed(batch)),
		InBatch:       latencyOf(&c.in_batch),
		ToDelivered:   latencyOf(&c.to_delivered),
	}
}
