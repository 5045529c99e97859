// Who appends a record and waits until it is durable, from many threads: the floor and the peers.
#pragma once

#include <vector>

#include "measure.h"

namespace bwbench {

inline constexpr std::size_t kCommitBytes = 128;

inline constexpr const char *kFutexBroadcast = "futex-broadcast";
inline constexpr const char *kSyncEach = "write-fdatasync";
inline constexpr const char *kGroupCommit = "group-commit";
inline constexpr const char *kRocksDb = "rocksdb";
inline constexpr const char *kPebble = "pebble-64-goroutines";

// One record a thread at a time.
std::vector<Subject> commit_peers();
// Many records outstanding. Goroutines are what comes closest to callbacks.
std::vector<Subject> callback_peers();

// In a file of its own, for the library may be missing; then `run` is empty.
Subject rocksdb_peer();

} // namespace bwbench
