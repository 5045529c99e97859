// The peers that batches are compared with.
#pragma once

#include <vector>

#include "measure.h"

namespace bwbench {

std::vector<Subject> batch_peers();

// In a file of its own, for what it needs may be missing; then it is empty.
RunFunction concurrentqueue_run(); // moodycamel's queue, and a thread that takes what there is, up to a batch

} // namespace bwbench
