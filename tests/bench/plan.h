// Which cases there are.
#pragma once

#include <regex>
#include <vector>

#include "measure.h"

namespace bwbench {

// The settings of the full table, and what is measured besides.
struct Extent {
  std::vector<int> null_threads, file_threads, batch_threads;
  std::vector<std::size_t> null_sizes, file_sizes, batch_sizes;
};
// To durable there is one extent: how long it takes is decided by the size of the file.
inline constexpr int kDurableThreads[] = {1, 2};
inline constexpr std::size_t kDurableSizes[] = {64, 4096};
inline constexpr int kCommitThreads[] = {1, 8, 64};
Extent quick_extent();
Extent full_extent();

// The record sizes that DESIGN section 9 asks about.
inline constexpr std::size_t kGoalSizes[] = {64, 100, 256, 1024};

struct Targets {
  Target null, file, batches;
  Target fresh, overwritten, log, callback_log; // on a disk
};
// All of them, in that directory.
Targets targets_in(const std::string &directory);

// Who is measured with what.
struct Cast {
  std::vector<Subject> streams, batches;
  std::vector<Subject> files, commits, callbacks; // empty: there is no disk to measure on
};

// The parts of a case's name, put together.
std::string case_name(const std::string &prefix, int threads, std::size_t bytes, const std::string &subject);

// All groups, with the cases whose name has a match of `only`. The cases point into `cast` and `targets`.
std::vector<Group> plan(const Extent &extent, const Cast &cast, const Targets &targets, const std::regex &only);

} // namespace bwbench
