// Files that are measured to durable: what the disk must be, and how each run begins and ends.
#pragma once

#include <cstdint>
#include <string>

#include "common.h"

namespace bwbench {

struct Disk {
  std::string name;   // the kind of file system
  std::string defect; // why nothing can be measured to durable here; empty: it can
};
Disk look_at_disk(const std::string &directory);

// Before a run: a target that is overwritten has `bytes` bytes and is marked all over; another one is not there.
// Nothing waits in memory to be written, nothing of the file is in the page cache, and there are pages for it.
void prepare_on_disk(const Target &target, std::uint64_t bytes);

// After a run: ends the program unless the file has `bytes` bytes and no mark is left.
void check_on_disk(const Target &target, std::uint64_t bytes);

// Takes away what the runs have left, a directory too.
void remove_from_disk(const Target &target);

} // namespace bwbench
