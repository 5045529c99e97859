// Our own modes.
#pragma once

#include <vector>

#include "measure.h"

namespace bwbench {

inline constexpr const char *kUnshared = "bw-unshared";
inline constexpr const char *kShared = "bw-shared";
inline constexpr const char *kLanes = "bw-lanes";
inline constexpr const char *kLanesBackground = "bw-lanes-background";

std::vector<Subject> ours();

} // namespace bwbench
