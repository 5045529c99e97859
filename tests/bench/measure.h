// How everything is measured.
//
// A case is a subject (a peer, a limit, one of our modes) in a setting (target, threads, record size). Cases that
// are compared form a group and run interleaved: every round runs each of them once, so that what disturbs the
// machine for a while disturbs all alike. A figure is the median over the rounds; a ratio is the median of the
// ratios of each round.
//
// A run starts all threads at a barrier and ends when the last of them is done and finish() has handed every byte
// to the target; making and closing the subject is not counted. ns per record is that time divided by the records
// of all threads together. Every thread writes the same number of them, at its own pace.
//
// Where bytes go to a disk (kDurable, kCommits; disk.h) every run begins with nothing dirty in memory, nothing of the
// file in the page cache and warm pages for it, and ends when all is durable. CPU time is that of the whole process,
// in user and kernel; the kernel's own writeback threads are in nobody's account.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common.h"
#include "latency.h"

namespace bwbench {

struct Setting {
  const Target *target = nullptr;
  int threads = 1;
  std::size_t record_bytes = 0;
};

enum class Purpose {
  kThroughput,
  kLatency,
  kAllocations,
  kDurable, // throughput of a whole file, until it is durable
  kBatches, // throughput of batchers, whose records are items
  kCommits, // each record is durable before its thread writes the next; a run lasts a time, not a number of records
};

struct Run {
  std::uint64_t records_per_thread = 0; // not kCommits
  Purpose purpose = Purpose::kThroughput;
  std::chrono::nanoseconds time{}; // kCommits only
};

struct Outcome {
  double wall_ns = 0;
  double cpu_ns = 0;
  std::uint64_t records = 0;     // of all threads together
  Percentiles latency;           // Purpose::kLatency and kCommits only
  std::uint64_t allocations = 0; // Purpose::kAllocations only
};

using RunFunction = std::function<Outcome(const Setting &, const Run &)>;

enum class Kind { kLimit, kPeer, kOurs };

struct Subject {
  std::string name;
  Kind kind = Kind::kPeer;
  bool many_threads = true;       // false: for one thread alone
  std::string peer_alone;         // whom the full table compares it with at one thread
  std::string peer_among_threads; // and at several
  RunFunction run;                // empty: not built here
};

struct Case {
  std::string name; // target or purpose / threads / size / subject
  const Subject *subject = nullptr;
  Setting setting;
};

struct Group {
  std::string name;
  Purpose purpose = Purpose::kThroughput;
  std::vector<Case> cases;
};

struct Method {
  int rounds = 7;
  double run_ms = 30; // five times that for more than 8 threads
  std::uint64_t file_bytes_max = 256ull << 20; // in one run
  int durable_rounds = 3;
  std::uint64_t durable_bytes = 512ull << 20; // in one run
  int commit_rounds = 5;
  double commit_ms = 400;

  int rounds_of(Purpose purpose) const noexcept;
};

struct Spread {
  double median = 0, min = 0, max = 0;
};
Spread spread(std::vector<double> values); // not empty
// Of what each value makes of `amount`: how much a nanosecond, where the values are nanoseconds.
Spread rate(double amount, std::vector<double> values);

struct Result {
  Case which;
  std::string group;
  Run run;
  std::vector<double> ns_per_record;     // by round
  std::vector<double> cpu_ns_per_record; // by round
  std::vector<Percentiles> latency;      // by round
  std::uint64_t records = 0;             // over all rounds
  std::uint64_t allocations = 0;         // over all rounds

  Purpose purpose() const noexcept { return run.purpose; }
};

// Everything that was measured, in the order it was.
class Results {
 public:
  void add(Result result) { all_.push_back(std::move(result)); }
  const std::vector<Result> &all() const noexcept { return all_; }
  const Result *find(const std::string &name) const noexcept; // NULL: not measured
  // How long `numerator` takes in relation to `denominator`, or how much CPU time; nothing if one was not measured.
  // Same group.
  std::optional<Spread> ratio(const std::string &numerator, const std::string &denominator,
                              std::vector<double> Result::*figure = &Result::ns_per_record) const;

 private:
  std::vector<Result> all_;
};

// Runs the cases of a group, interleaved. Cases without a run function are left out.
void run_group(const Group &group, const Method &method, Results &results);

using Clock = std::chrono::steady_clock;

// What happens between two records of the measured loop.
struct Untimed {
  void start() noexcept {}
  void record_done() noexcept {}
};

// One clock reading a record: its duration is a call, plus reading the clock once.
struct Timed {
  Histogram &histogram;
  Clock::time_point last{};

  void start() noexcept { last = Clock::now(); }
  void record_done() noexcept {
    const Clock::time_point now = Clock::now();
    histogram.add(static_cast<std::uint64_t>(std::chrono::nanoseconds(now - last).count()));
    last = now;
  }
};

// The measured loop: there is no other.
template <class Writer, class Timing>
void write_records(Writer &writer, int thread, const Setting &setting, std::uint64_t records, const char *record,
                   Timing timing) {
  timing.start();
  for (std::uint64_t index = 0; index < records; ++index) {
    writer.write(thread, record, setting.record_bytes);
    timing.record_done();
  }
}

// What one thread of a run does, given its own record and histogram; and what the last of them does in the end.
using ThreadBody = std::function<void(int thread, const char *record, Histogram &histogram)>;
Outcome run_threads(const Setting &setting, const Run &run, const ThreadBody &body,
                    const std::function<void()> &finish);

// Ends the program unless the target, if it is a file, has every byte.
void check_output(const Setting &setting, std::uint64_t records);

// A subject within this program: Writer(setting, arguments...) with write(thread, data, bytes), called by
// threads 0 to setting.threads - 1, and finish(), called once after them.
template <class Writer, class... Arguments>
RunFunction in_process(Arguments... arguments) {
  return [=](const Setting &setting, const Run &run) {
    Outcome outcome;
    {
      Writer writer(setting, arguments...);
      const auto body = [&](int thread, const char *record, Histogram &histogram) {
        if (run.purpose == Purpose::kLatency) {
          write_records(writer, thread, setting, run.records_per_thread, record, Timed{histogram});
        } else {
          write_records(writer, thread, setting, run.records_per_thread, record, Untimed{});
        }
      };
      outcome = run_threads(setting, run, body, [&] { writer.finish(); });
    }
    if (Writer::kKeepsBytes) check_output(setting, outcome.records);
    return outcome;
  };
}

// The same for kCommits: Log(setting, arguments...) with commit(thread, data, bytes), which returns once the record is
// durable, and perhaps leave(), called by each thread when its time is up.
template <class Log, class... Arguments>
RunFunction in_process_commits(Arguments... arguments) {
  return [=](const Setting &setting, const Run &run) {
    Outcome outcome;
    {
      Log log(setting, arguments...);
      const auto body = [&](int thread, const char *record, Histogram &histogram) {
        Timed timing{histogram};
        timing.start();
        const Clock::time_point end = timing.last + run.time;
        do {
          log.commit(thread, record, setting.record_bytes);
          timing.record_done();
        } while (timing.last < end);
        if constexpr (requires { log.leave(); }) log.leave();
      };
      outcome = run_threads(setting, run, body, [] {});
    }
    if (Log::kKeepsBytes) check_output(setting, outcome.records);
    return outcome;
  };
}

} // namespace bwbench
