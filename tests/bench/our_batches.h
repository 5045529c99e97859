// Our batchers.
#pragma once

#include <vector>

#include "measure.h"

namespace bwbench {

std::vector<Subject> our_batches();

} // namespace bwbench
