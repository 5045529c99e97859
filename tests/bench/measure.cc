#include "measure.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <memory>
#include <thread>

#include "allocations.h"
#include "disk.h"

namespace bwbench {
namespace {

constexpr int kThreadsForOneRun = 8;
constexpr double kCrowdFactor = 5;

cpu_set_t allowed_cpus() {
  cpu_set_t allowed;
  require(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "sched_getaffinity");
  return allowed;
}

// Threads that have a CPU each begin spread over them, whatever the kernel makes of waking them all at once. Where
// they go from there is its business again.
class SpreadOverCpus {
 public:
  explicit SpreadOverCpus(int thread) : allowed_(allowed_cpus()) {
    int skip = thread % CPU_COUNT(&allowed_);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &allowed_) || skip-- > 0) ++cpu;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    require(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
  }
  void let_go() const { require(sched_setaffinity(0, sizeof allowed_, &allowed_) == 0, "sched_setaffinity"); }

 private:
  cpu_set_t allowed_;
};

double cpu_ns_of_process() {
  struct rusage used;
  require(getrusage(RUSAGE_SELF, &used) == 0, "getrusage");
  return cpu_ns(used);
}

bool is_on_disk(Purpose purpose) {
  return purpose == Purpose::kDurable || purpose == Purpose::kCommits;
}

std::uint64_t records_max(const Setting &setting, const Method &method) {
  if (!setting.target->is_file) return UINT64_MAX;
  return method.file_bytes_max / (setting.record_bytes * static_cast<unsigned>(setting.threads));
}

// Many threads need longer: one that is done before its time slice is over has met nobody.
double run_ns(const Setting &setting, const Method &method) {
  return method.run_ms * 1e6 * (setting.threads > kThreadsForOneRun ? kCrowdFactor : 1);
}

// How many records a thread writes so that a run takes about run_ns(): grows a short run, then scales it.
std::uint64_t records_for(const Case &which, Purpose purpose, const Method &method) {
  const std::uint64_t most = std::max<std::uint64_t>(1, records_max(which.setting, method));
  const double wanted_ns = run_ns(which.setting, method);
  std::uint64_t records = std::min<std::uint64_t>(most, 512);
  for (;;) {
    const double wall_ns = which.subject->run(which.setting, {records, purpose}).wall_ns;
    const double scale = wanted_ns / wall_ns;
    const auto next = static_cast<double>(records) * std::min(scale, 64.0);
    const std::uint64_t capped = next < static_cast<double>(most) ? static_cast<std::uint64_t>(next) : most;
    if (scale < 4 || capped <= records) return std::max<std::uint64_t>(1, capped);
    records = capped;
  }
}

Run run_for(const Case &which, Purpose purpose, const Method &method) {
  const Setting &setting = which.setting;
  switch (purpose) {
    case Purpose::kDurable:
      return {method.durable_bytes / setting.record_bytes / static_cast<unsigned>(setting.threads), purpose, {}};
    case Purpose::kCommits: return {0, purpose, std::chrono::microseconds(std::llround(method.commit_ms * 1000))};
    default: return {records_for(which, purpose, method), purpose, {}};
  }
}

void run_once(Result &result) {
  const Setting &setting = result.which.setting;
  const Purpose purpose = result.purpose();
  const std::uint64_t bytes =
      result.run.records_per_thread * static_cast<unsigned>(setting.threads) * setting.record_bytes;
  if (is_on_disk(purpose)) prepare_on_disk(*setting.target, bytes);
  const Outcome outcome = result.which.subject->run(setting, result.run);
  if (purpose == Purpose::kDurable) check_on_disk(*setting.target, bytes);

  const auto records = static_cast<double>(outcome.records);
  result.ns_per_record.push_back(outcome.wall_ns / records);
  result.cpu_ns_per_record.push_back(outcome.cpu_ns / records);
  result.records += outcome.records;
  result.allocations += outcome.allocations;
  if (purpose == Purpose::kLatency || purpose == Purpose::kCommits) result.latency.push_back(outcome.latency);
}

} // namespace

int Method::rounds_of(Purpose purpose) const noexcept {
  switch (purpose) {
    case Purpose::kDurable: return durable_rounds;
    case Purpose::kCommits: return commit_rounds;
    default: return rounds;
  }
}

Spread spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  const double median = values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

Spread rate(double amount, std::vector<double> values) {
  for (double &value : values) value = amount / value;
  return spread(std::move(values));
}

const Result *Results::find(const std::string &name) const noexcept {
  const auto found = std::find_if(all_.begin(), all_.end(), [&](const Result &r) { return r.which.name == name; });
  return found == all_.end() ? nullptr : &*found;
}

std::optional<Spread> Results::ratio(const std::string &numerator, const std::string &denominator,
                                     std::vector<double> Result::*figure) const {
  const Result *above = find(numerator);
  const Result *below = find(denominator);
  if (above == nullptr || below == nullptr || above->group != below->group) return std::nullopt;
  std::vector<double> ratios;
  for (std::size_t round = 0; round < (above->*figure).size(); ++round) {
    ratios.push_back((above->*figure)[round] / (below->*figure)[round]);
  }
  return spread(std::move(ratios));
}

void run_group(const Group &group, const Method &method, Results &results) {
  std::vector<Result> running;
  for (const Case &which : group.cases) {
    if (!which.subject->run) continue;
    running.push_back({which, group.name, run_for(which, group.purpose, method), {}, {}, {}, 0, 0});
  }
  // Each round begins with another case, so that nobody always runs after the same neighbour has left its heat.
  for (int round = 0; round < method.rounds_of(group.purpose); ++round) {
    for (std::size_t step = 0; step < running.size(); ++step) {
      run_once(running[(step + static_cast<std::size_t>(round)) % running.size()]);
    }
  }
  for (Result &result : running) results.add(std::move(result));
}

Outcome run_threads(const Setting &setting, const Run &run, const ThreadBody &body,
                    const std::function<void()> &finish) {
  const int threads = setting.threads;
  const cpu_set_t cpus = allowed_cpus();
  const bool one_cpu_each = threads <= CPU_COUNT(&cpus);
  const bool timed = run.purpose == Purpose::kLatency || run.purpose == Purpose::kCommits;
  double cpu_ns_before = 0;
  const auto all_ready = [&run, &cpu_ns_before]() noexcept {
    cpu_ns_before = cpu_ns_of_process();
    if (run.purpose == Purpose::kAllocations) start_counting_allocations();
  };
  std::barrier barrier(threads, all_ready);
  std::atomic<int> writing{threads};
  std::vector<Clock::time_point> starts(static_cast<std::size_t>(threads));
  std::vector<Histogram> histograms(timed ? starts.size() : 1);
  Clock::time_point end;
  Outcome outcome;

  const auto thread_main = [&](int thread) {
    const auto index = static_cast<std::size_t>(thread);
    const std::string record(setting.record_bytes, static_cast<char>('a' + thread % 26));
    std::optional<SpreadOverCpus> placement;
    if (one_cpu_each) placement.emplace(thread);
    barrier.arrive_and_wait();
    if (placement) placement->let_go();
    starts[index] = Clock::now();
    body(thread, record.data(), histograms[index % histograms.size()]);
    // acq_rel: the last one out sees what the others did, before it ends the run for all.
    if (writing.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    finish();
    end = Clock::now();
    if (run.purpose == Purpose::kAllocations) outcome.allocations = stop_counting_allocations();
    outcome.cpu_ns = cpu_ns_of_process() - cpu_ns_before;
  };

  std::vector<std::thread> running;
  running.reserve(starts.size());
  for (int thread = 0; thread < threads; ++thread) running.emplace_back(thread_main, thread);
  for (std::thread &thread : running) thread.join();

  for (std::size_t index = 1; index < histograms.size(); ++index) histograms[0].merge(histograms[index]);
  if (timed) outcome.latency = histograms[0].percentiles();
  outcome.records = run.purpose == Purpose::kCommits ? histograms[0].total()
                                                     : run.records_per_thread * static_cast<unsigned>(threads);
  const Clock::time_point begin = *std::min_element(starts.begin(), starts.end());
  outcome.wall_ns = std::chrono::duration<double, std::nano>(end - begin).count();
  return outcome;
}

void check_output(const Setting &setting, std::uint64_t records) {
  if (!setting.target->is_file) return;
  struct stat file;
  require(stat(setting.target->path.c_str(), &file) == 0, "cannot look at the file that was written");
  require(static_cast<std::uint64_t>(file.st_size) == records * setting.record_bytes,
          "the file has lost or gained bytes");
}

} // namespace bwbench
