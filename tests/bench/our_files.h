// Our file writers: a whole file to durable, and commits.
#pragma once

#include <vector>

#include "measure.h"

namespace bwbench {

inline constexpr const char *kFileUnshared = "bw-file-unshared";
inline constexpr const char *kFileShared = "bw-file-shared";
inline constexpr const char *kCommit = "bw-commit";
inline constexpr const char *kNotify = "bw-notify";
inline constexpr const char *kNotifyDriven = "bw-notify-caller-driven";

std::vector<Subject> our_files();
std::vector<Subject> our_commits();
std::vector<Subject> our_callbacks();

} // namespace bwbench
