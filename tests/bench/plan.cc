#include "plan.h"

#include <algorithm>

#include "commit_peers.h"
#include "file_peers.h"
#include "ours.h"
#include "peers.h"

namespace bwbench {
namespace {

// The size at which subjects are measured that do not look at their records.
constexpr std::size_t kSizelessBytes = 64;

class Planner {
 public:
  Planner(const Cast &cast, const Targets &targets, const std::regex &only)
      : cast_(cast), subjects_(cast.streams), targets_(targets), only_(only) {}

  // Everybody in one setting.
  void add_everybody(const Target &target, int threads, std::size_t bytes) {
    Group group{target.name + "/" + std::to_string(threads) + "t/" + std::to_string(bytes) + "B",
                Purpose::kThroughput, {}};
    for (const Subject &subject : subjects_) {
      const bool sizeless = subject.name == kFetchAdd;
      if (subject.name == kClock || (threads > 1 && !subject.many_threads)) continue;
      if (sizeless && (target.is_file || bytes != kSizelessBytes)) continue;
      add_case(group, target.name, subject, {&target, threads, bytes});
    }
    keep(std::move(group));
  }

  // The shared writer among many threads against itself among two.
  void add_scaling(std::size_t bytes) {
    Group group{"scaling/" + std::to_string(bytes) + "B", Purpose::kThroughput, {}};
    for (const int threads : {2, 64}) add_case(group, "scaling", subject(kShared), {&targets_.null, threads, bytes});
    keep(std::move(group));
  }

  void add_latency(std::size_t bytes) {
    Group group{"latency/" + std::to_string(bytes) + "B", Purpose::kLatency, {}};
    for (const int threads : {1, 2}) {
      for (const char *name : {kClock, kMutex, kLatch, kShared}) {
        add_case(group, "latency", subject(name), {&targets_.null, threads, bytes});
      }
    }
    keep(std::move(group));
  }

  void add_allocations(std::size_t bytes) {
    Group group{"allocations/" + std::to_string(bytes) + "B", Purpose::kAllocations, {}};
    for (const auto *subjects : {&cast_.streams, &cast_.batches}) {
      for (const Subject &subject : *subjects) {
        if (subject.kind != Kind::kOurs) continue;
        add_case(group, "allocations", subject, {&targets_.null, subject.many_threads ? 2 : 1, bytes});
      }
    }
    keep(std::move(group));
  }

  void add_durable(const Target &target, int threads, std::size_t bytes) {
    add_all(cast_.files, Purpose::kDurable, target, threads, bytes);
  }

  void add_batches(int threads, std::size_t bytes) {
    add_all(cast_.batches, Purpose::kBatches, targets_.batches, threads, bytes);
  }

  void add_commits(int threads) { add_all(cast_.commits, Purpose::kCommits, targets_.log, threads, kCommitBytes); }

  void add_callbacks() { add_all(cast_.callbacks, Purpose::kCommits, targets_.callback_log, 1, kCommitBytes); }

  std::vector<Group> take() { return std::move(groups_); }

 private:
  const Subject &subject(const std::string &name) const {
    return *std::find_if(subjects_.begin(), subjects_.end(), [&](const Subject &s) { return s.name == name; });
  }

  void add_all(const std::vector<Subject> &subjects, Purpose purpose, const Target &target, int threads,
               std::size_t bytes) {
    Group group{target.name + "/" + std::to_string(threads) + "t/" + std::to_string(bytes) + "B", purpose, {}};
    for (const Subject &subject : subjects) {
      if (threads > 1 && !subject.many_threads) continue;
      if (target.overwritten && subject.name == kFioGrowing) continue; // there it cannot grow
      add_case(group, target.name, subject, {&target, threads, bytes});
    }
    keep(std::move(group));
  }

  void add_case(Group &group, const std::string &prefix, const Subject &subject, const Setting &setting) {
    std::string name = case_name(prefix, setting.threads, setting.record_bytes, subject.name);
    if (std::regex_search(name, only_)) group.cases.push_back({std::move(name), &subject, setting});
  }

  void keep(Group group) {
    if (!group.cases.empty()) groups_.push_back(std::move(group));
  }

  const Cast &cast_;
  const std::vector<Subject> &subjects_; // of streams
  const Targets &targets_;
  const std::regex &only_;
  std::vector<Group> groups_;
};

} // namespace

Extent quick_extent() { return {{1, 2, 64}, {1, 2}, {1, 2}, {64, 100, 256, 1024}, {64, 1024}, {64}}; }

Extent full_extent() {
  const std::vector<std::size_t> sizes = {16, 64, 100, 256, 1024, 4096};
  return {{1, 2, 8, 64}, {1, 2, 8, 64}, {1, 2, 8}, sizes, sizes, {16, 64, 1024}};
}

Targets targets_in(const std::string &directory) {
  const std::string prefix = directory + "/bw_bench.";
  return {
      .null = {"null", "/dev/null"},
      .file = {"file", prefix + "data", true},
      .batches = {"batches", ""},
      .fresh = {"files/fresh", prefix + "fresh", true},
      .overwritten = {"files/overwritten", prefix + "overwritten", true, true},
      .log = {"commits", prefix + "log", true},
      .callback_log = {"commits-by-callback", prefix + "log", true},
  };
}

std::string case_name(const std::string &prefix, int threads, std::size_t bytes, const std::string &subject) {
  return prefix + "/" + std::to_string(threads) + "t/" + std::to_string(bytes) + "B/" + subject;
}

std::vector<Group> plan(const Extent &extent, const Cast &cast, const Targets &targets, const std::regex &only) {
  Planner planner(cast, targets, only);
  for (const std::size_t bytes : kGoalSizes) {
    planner.add_scaling(bytes);
    planner.add_latency(bytes);
  }
  for (const std::size_t bytes : {std::size_t{64}, std::size_t{1024}}) planner.add_allocations(bytes);
  for (const int threads : extent.null_threads) {
    for (const std::size_t bytes : extent.null_sizes) planner.add_everybody(targets.null, threads, bytes);
  }
  for (const int threads : extent.file_threads) {
    for (const std::size_t bytes : extent.file_sizes) planner.add_everybody(targets.file, threads, bytes);
  }
  for (const int threads : extent.batch_threads) {
    for (const std::size_t bytes : extent.batch_sizes) planner.add_batches(threads, bytes);
  }
  for (const Target *target : {&targets.fresh, &targets.overwritten}) {
    for (const int threads : kDurableThreads) {
      for (const std::size_t bytes : kDurableSizes) planner.add_durable(*target, threads, bytes);
    }
  }
  for (const int threads : kCommitThreads) planner.add_commits(threads);
  planner.add_callbacks();
  return planner.take();
}

} // namespace bwbench
