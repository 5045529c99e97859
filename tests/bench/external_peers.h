// Peers that are programs of their own, built with the bench where their compilers are found.
#pragma once

#include <string>

#include "measure.h"

namespace bwbench {

// A peer that takes PATH THREADS RECORD_BYTES RECORDS_PER_THREAD BUFFER_BYTES and prints the nanoseconds from the start
// of its threads until every byte is where it shall be.
RunFunction external(std::string program);

} // namespace bwbench
