// The limits and the peers we are compared with.
#pragma once

#include <vector>

#include "measure.h"

namespace bwbench {

// Names of subjects that goals and tables speak of.
inline constexpr const char *kMemcpyLimit = "memcpy-limit";
inline constexpr const char *kSharedFloor = "shared-floor";
inline constexpr const char *kFetchAdd = "fetch-add";
inline constexpr const char *kFwrite = "fwrite";
inline constexpr const char *kFwriteUnlocked = "fwrite-unlocked";
inline constexpr const char *kMutex = "mutex";
inline constexpr const char *kLatch = "latch";
inline constexpr const char *kGo = "go-mutex-bufio";
// Writes nothing: what reading the clock adds to every call that is timed.
inline constexpr const char *kClock = "clock-alone";

std::vector<Subject> limits_and_peers();

// In files of their own, for what they need may be missing; then `run` is empty.
Subject spdlog_peer();   // spdlog's asynchronous logger and its thread
Subject go_peer();       // sync.Mutex around bufio.Writer, a goroutine a thread
Subject rust_peer();     // std::sync::Mutex<BufWriter<File>>

} // namespace bwbench
