#include "goals.h"

#include <algorithm>

#include "batches.h"
#include "commit_peers.h"
#include "file_peers.h"
#include "our_files.h"
#include "ours.h"
#include "peers.h"
#include "plan.h"
#include "text.h"

namespace bwbench {
namespace {

Bound at_most(std::string what, std::optional<Spread> measured, double limit, const char *unit) {
  return {std::move(what) + " <= " + number(limit) + unit, measured, limit, false};
}

// Goals about one setting: names the cases in it and makes bounds of their ratios.
class InSetting {
 public:
  InSetting(const Results &results, int threads, std::size_t bytes, const char *target = "null")
      : results_(results), target_(target), threads_(threads), bytes_(bytes) {}

  Bound times(const char *ours, const char *other, double limit) const {
    return at_most(other, results_.ratio(name(ours), name(other)), limit, "x");
  }
  std::string ns(const char *ours) const {
    const Result *result = results_.find(name(ours));
    return result == nullptr ? "" : number(spread(result->ns_per_record).median) + " ns";
  }

 private:
  std::string name(const char *subject) const { return case_name(target_, threads_, bytes_, subject); }

  const Results &results_;
  const char *target_;
  int threads_;
  std::size_t bytes_;
};

std::string bytes_text(std::size_t bytes) { return std::to_string(bytes) + " B"; }

Goal unshared_goal(const Results &results) {
  const InSetting alone(results, 1, 64);
  return {"BW_UNSHARED, 64 B",
          alone.ns(kUnshared),
          {alone.times(kUnshared, kFwriteUnlocked, 0.6), alone.times(kUnshared, kMemcpyLimit, 1.3)},
          {alone.times(kUnshared, kMemcpyLimit, 1.25)}};
}

Goal shared_alone_goal(const Results &results) {
  const InSetting alone(results, 1, 64);
  return {"shared, 1 thread, 64 B",
          alone.ns(kShared),
          {alone.times(kShared, kFwrite, 0.7), alone.times(kShared, kSharedFloor, 1.3)},
          {alone.times(kShared, kFwrite, 0.5)}};
}

// By round: the 99.9th percentile of a write among two threads, in microseconds.
std::optional<Spread> p999_us(const Results &results, std::size_t bytes) {
  const Result *timed = results.find(case_name("latency", 2, bytes, kShared));
  if (timed == nullptr) return std::nullopt;
  std::vector<double> rounds;
  for (const Percentiles &percentiles : timed->latency) rounds.push_back(percentiles.p999_ns / 1000);
  return spread(std::move(rounds));
}

Goal shared_pair_goal(const Results &results, std::size_t bytes) {
  const InSetting pair(results, 2, bytes);
  return {"shared, 2 threads, " + bytes_text(bytes),
          pair.ns(kShared),
          {pair.times(kShared, kGo, 1), pair.times(kShared, kSharedFloor, 1.3)},
          {pair.times(kShared, kLatch, 1.3), at_most("p99.9", p999_us(results, bytes), 10, " us")}};
}

// Throughput among 64 threads as a share of that among two.
Goal scaling_goal(const Results &results, std::size_t bytes) {
  const std::string pair = case_name("scaling", 2, bytes, kShared);
  const std::string crowd = case_name("scaling", 64, bytes, kShared);
  const auto throughput = [&](double limit) {
    return Bound{"itself at 2 threads >= " + number(limit) + "x", results.ratio(pair, crowd), limit, true};
  };
  const Result *measured = results.find(crowd);
  return {"shared, 64 threads, " + bytes_text(bytes) + ", throughput",
          measured == nullptr ? "" : number(spread(measured->ns_per_record).median) + " ns",
          {throughput(0.8)},
          {throughput(1)}};
}

Goal lanes_goal(const Results &results, const char *lanes) {
  const InSetting pair(results, 2, 64);
  return {std::string(lanes) + ", 2 threads, 64 B",
          pair.ns(lanes),
          {pair.times(lanes, kMemcpyLimit, 2)},
          {pair.times(lanes, kMemcpyLimit, 1.3)}};
}

Goal batch_alone_goal(const Results &results) {
  const InSetting alone(results, 1, 64, "batches");
  return {"batch, 1 producer, 64 B",
          alone.ns(kBatchUnshared),
          {alone.times(kBatchUnshared, kVector, 1)},
          {alone.times(kBatchUnshared, kVector, 0.6)}};
}

Goal batch_pair_goal(const Results &results) {
  const InSetting pair(results, 2, 64, "batches");
  return {"batch, 2 producers, 64 B",
          pair.ns(kBatch),
          {pair.times(kBatch, kMutexVector, 0.5)},
          {pair.times(kBatch, kMutexVector, 0.2)}};
}

// The larger of what a writer asked for and what it has in RAM once it was used.
Goal memory_goal(const std::optional<WriterMemory> &memory) {
  std::optional<Spread> kib;
  if (memory) {
    const double value = std::max(memory->total(), memory->resident_used) / 1024;
    kib = Spread{value, value, value};
  }
  return {"memory of an idle unshared 8 KiB writer",
          kib ? number(kib->median) + " KiB" : "",
          {at_most("memory", kib, 12, " KiB")},
          {at_most("memory", kib, 9, " KiB")}};
}

Goal allocations_goal(const Results &results) {
  std::optional<Spread> total;
  for (const Result &result : results.all()) {
    if (result.purpose() != Purpose::kAllocations) continue;
    const double sum = static_cast<double>(result.allocations) + (total ? total->median : 0);
    total = Spread{sum, sum, sum};
  }
  return {"allocations on the write path, all modes",
          total ? number(total->median) : "",
          {at_most("allocations", total, 0, "")},
          {at_most("allocations", total, 0, "")}};
}

// ---- On a disk ---------------------------------------------------------------------------------

// How fast ours is in relation to `peer`.
Bound speed(const Results &results, const std::string &ours, const std::string &peer, const char *what, double limit) {
  return {std::string(what) + " >= " + number(limit) + "x", results.ratio(peer, ours), limit, true};
}

std::string gb_per_s_text(const Result *result, std::size_t bytes) {
  if (result == nullptr) return "";
  return number(rate(static_cast<double>(bytes), result->ns_per_record).median) + " GB/s";
}

Goal durable_goal(const Results &results, const std::string &target, int threads, const char *writer) {
  constexpr std::size_t kBytes = 64;
  const std::string ours = case_name(target, threads, kBytes, writer);
  const std::string fio = case_name(target, threads, kBytes, kFio);
  return {ours,
          gb_per_s_text(results.find(ours), kBytes),
          {speed(results, ours, fio, kFio, 0.9)},
          {speed(results, ours, fio, kFio, 0.98)}};
}

Goal cpu_goal(const Results &results, const std::string &target, int threads, std::size_t bytes, const char *writer) {
  const std::string ours = case_name(target, threads, bytes, writer);
  const auto ratio = results.ratio(ours, case_name(target, threads, bytes, kRustDurable), &Result::cpu_ns_per_record);
  const Result *result = results.find(ours);
  return {
      ours + ", CPU time",
      result == nullptr ? "" : number(spread(result->cpu_ns_per_record).median / static_cast<double>(bytes)) + " s/GB",
      {at_most(kRustDurable, ratio, 0.5, "x")},
      {at_most(kRustDurable, ratio, 0.3, "x")}};
}

std::string commits_text(const Result *result) {
  return result == nullptr ? "" : number(rate(1e6, result->ns_per_record).median) + "k/s";
}

Goal lone_commit_goal(const Results &results) {
  const std::string ours = case_name("commits", 1, kCommitBytes, kCommit);
  const std::string peer = case_name("commits", 1, kCommitBytes, kSyncEach);
  const std::string floor = case_name("commits", 1, kCommitBytes, kFutexBroadcast);
  return {"commits, 1 thread",
          commits_text(results.find(ours)),
          {speed(results, ours, peer, kSyncEach, 0.95), at_most(kFutexBroadcast, results.ratio(ours, floor), 1.3, "x")},
          {speed(results, ours, peer, kSyncEach, 1.05)}};
}

// By round, against whichever peer was the faster one in it.
std::optional<Spread> speed_against_best(const Results &results, const std::string &ours,
                                         const std::vector<std::string> &peers) {
  const Result *own = results.find(ours);
  if (own == nullptr) return std::nullopt;
  std::vector<double> best;
  for (const std::string &peer : peers) {
    const Result *measured = results.find(peer);
    if (measured == nullptr) continue;
    if (best.empty()) best = measured->ns_per_record;
    for (std::size_t round = 0; round < best.size(); ++round) {
      best[round] = std::min(best[round], measured->ns_per_record[round]);
    }
  }
  if (best.empty()) return std::nullopt;
  for (std::size_t round = 0; round < best.size(); ++round) best[round] /= own->ns_per_record[round];
  return spread(std::move(best));
}

Goal crowd_commit_goal(const Results &results, int threads) {
  const auto name = [&](const char *subject) { return case_name("commits", threads, kCommitBytes, subject); };
  const std::string ours = name(kCommit);
  const bool rocksdb = results.find(name(kRocksDb)) != nullptr;
  const auto best = speed_against_best(results, ours, {name(kGroupCommit), name(kRocksDb)});
  const auto against_best = [&](double limit) {
    const std::string what = rocksdb ? "best of group-commit and rocksdb" : "group-commit alone, there is no rocksdb";
    return Bound{what + " >= " + number(limit) + "x", best, limit, true};
  };
  return {"commits, " + std::to_string(threads) + " threads",
          commits_text(results.find(ours)),
          {against_best(1), at_most(kFutexBroadcast, results.ratio(ours, name(kFutexBroadcast)), 1.3, "x")},
          {against_best(2)}};
}

Goal callback_goal(const Results &results, const char *subject) {
  const std::string ours = case_name("commits-by-callback", 1, kCommitBytes, subject);
  const std::string pebble = case_name("commits-by-callback", 1, kCommitBytes, kPebble);
  return {std::string("commits by callback, 1000 outstanding, ") + subject,
          commits_text(results.find(ours)),
          {speed(results, ours, pebble, kPebble, 1)},
          {speed(results, ours, pebble, kPebble, 4)}};
}

std::vector<Goal> disk_goals(const Results &results) {
  std::vector<Goal> goals;
  for (const char *target : {"files/fresh", "files/overwritten"}) {
    goals.push_back(durable_goal(results, target, 1, kFileUnshared));
    for (const int threads : kDurableThreads) goals.push_back(durable_goal(results, target, threads, kFileShared));
    goals.push_back(cpu_goal(results, target, 1, 64, kFileUnshared));
    for (const int threads : kDurableThreads) {
      goals.push_back(cpu_goal(results, target, threads, 4096, kFileShared));
    }
  }
  goals.push_back(lone_commit_goal(results));
  for (const int threads : {8, 64}) goals.push_back(crowd_commit_goal(results, threads));
  for (const char *subject : {kNotify, kNotifyDriven}) goals.push_back(callback_goal(results, subject));
  return goals;
}

} // namespace

const char *verdict_text(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::kMet: return "met";
    case Verdict::kShort: return "not met";
    case Verdict::kUnknown: break;
  }
  return "not measured";
}

Verdict Goal::verdict_at_least() const noexcept {
  if (std::any_of(at_least.begin(), at_least.end(), [](const Bound &b) { return b.met(); })) return Verdict::kMet;
  // A bound that was not measured might have been the one that is met.
  const auto known = [](const Bound &b) { return b.measured.has_value(); };
  return std::all_of(at_least.begin(), at_least.end(), known) ? Verdict::kShort : Verdict::kUnknown;
}

Verdict Goal::verdict_aim() const noexcept {
  if (std::all_of(aim.begin(), aim.end(), [](const Bound &b) { return b.met(); })) return Verdict::kMet;
  const auto missed = [](const Bound &b) { return b.measured && !b.met(); };
  return std::any_of(aim.begin(), aim.end(), missed) ? Verdict::kShort : Verdict::kUnknown;
}

bool Goal::measured() const noexcept {
  const auto known = [](const Bound &b) { return b.measured.has_value(); };
  return std::any_of(at_least.begin(), at_least.end(), known) || std::any_of(aim.begin(), aim.end(), known);
}

std::vector<Goal> evaluate_goals(const Results &results, const std::optional<WriterMemory> &memory) {
  std::vector<Goal> goals = {unshared_goal(results), shared_alone_goal(results)};
  for (const std::size_t bytes : kGoalSizes) goals.push_back(shared_pair_goal(results, bytes));
  for (const std::size_t bytes : kGoalSizes) goals.push_back(scaling_goal(results, bytes));
  goals.push_back(lanes_goal(results, kLanes));
  goals.push_back(lanes_goal(results, kLanesBackground));
  goals.push_back(batch_alone_goal(results));
  goals.push_back(batch_pair_goal(results));
  goals.push_back(memory_goal(memory));
  goals.push_back(allocations_goal(results));
  for (Goal &goal : disk_goals(results)) goals.push_back(std::move(goal));
  return goals;
}

} // namespace bwbench
