// The model check: scenarios of a few threads and operations on the protocol headers, run under Relacy.
//
//   model_check [--short | --long] [--history] [--stop] [scenario...]
//
// Each scenario is run in many random interleavings (and choices of what a load may see); the same every time.
// --short: a twentieth of them. --long: twenty times as many, and of those scenarios that are small enough also all
// interleavings with a few preemptions; a quarter of an hour. --history prints the operations of the run that failed,
// --stop ends at the first failure. Exits with 1 if a scenario failed.
#include <chrono>
#include <cstdio>
#include <cstring>

#include "batch_scenario.h"
#include "inline_scenario.h"
#include "reader_scenario.h"
#include "ring_scenario.h"
#include "scheduler.h"
#include "shut_scenario.h"
#include "span_scenario.h"
#include "stale_scenario.h"

namespace model {
namespace {

struct Options {
  bool is_short = false;
  bool is_long = false;
  bool history = false;
  bool stop = false;
};

// A scheduler, and how many runs it gets.
struct Search {
  rl::scheduler_type_e type;
  rl::iteration_t runs; // random: that many; bounded: all there are
  unsigned switches;    // bounded: preemptions
};

struct Result {
  rl::test_result_e code;
  rl::iteration_t runs;
};

template <class Scenario, class Scheduler>
Result run_with(rl::test_params &params, rl::ostringstream &state, bool again) {
  const rl::test_result_e code = rl::run_test<Scenario, Scheduler>(params, state, again);
  return {code, params.stop_iteration};
}

template <class Scenario>
Result run_once(rl::test_params &params, rl::ostringstream &state, bool again) {
  constexpr rl::thread_id_t kThreads = Scenario::params::thread_count;
  if (params.search_type == rl::sched_random)
    return run_with<Scenario, MixedScheduler<kThreads>>(params, state, again);
  return run_with<Scenario, rl::context_bound_scheduler<kThreads>>(params, state, again);
}

template <class Scenario>
Result search(const Search &how, bool history) {
  rl::ostringstream silence;
  rl::test_params params;
  params.search_type = how.type;
  params.iteration_count = how.runs;
  params.context_bound = how.switches;
  params.execution_depth_limit = 10000; // operations; more is a livelock
  params.output_stream = &silence;
  params.progress_stream = &silence;
  rl::ostringstream state;
  const Result result = run_once<Scenario>(params, state, false);
  if (result.code != rl::test_result_success && history) {
    params.output_stream = &std::cout;
    params.collect_history = true;
    params.initial_state = state.str();
    run_once<Scenario>(params, state, true);
  }
  return result;
}

using Searcher = Result (*)(const Search &, bool);

struct Entry {
  const char *name;
  unsigned threads;
  Searcher run;
  rl::iteration_t runs;
  unsigned switches; // --long: all interleavings with so many preemptions; 0: too many
};

template <class Scenario>
constexpr Entry entry(const char *name, rl::iteration_t runs, unsigned switches) {
  return {name, Scenario::params::thread_count, search<Scenario>, runs, switches};
}

const Entry kEntries[] = {
    entry<InlineScenario>("inline", 200'000, 1),
    entry<RingScenario<true, 0>>("ring", 200'000, 0),
    entry<RingScenario<false, 0>>("ring-gate", 200'000, 0),
    entry<RingScenario<true, 2>>("ring-files", 200'000, 0),
    entry<StaleScenario<1>>("stale-1", 200'000, 1),
    entry<StaleScenario<2>>("stale-2", 200'000, 0),
    entry<SpanScenario<ModelAtomics>>("span-barrier", 200'000, 1),
    entry<SpanScenario<StrongAtomics>>("span-strong", 200'000, 1),
    entry<ShutScenario<false>>("shut", 200'000, 2),
    entry<ShutScenario<true>>("shut-resume", 200'000, 2),
    entry<RingShutScenario>("shut-ring", 200'000, 4),
    entry<InlineReaderScenario>("readers-inline", 200'000, 0),
    entry<BrimReaderScenario>("readers-brim", 200'000, 1),
    entry<RingReaderScenario>("readers-ring", 200'000, 0),
    entry<GateReaderScenario>("readers-gate", 200'000, 0),
    entry<GateSpanReaderScenario>("readers-shut", 200'000, 0),
    entry<BatchScenario<1>>("batch", 200'000, 0),
    entry<BatchScenario<2>>("batch-ring", 200'000, 0),
    entry<BatchStaleScenario<1>>("batch-stale", 200'000, 0),
    entry<BatchStaleScenario<2>>("batch-stale-ring", 200'000, 0),
    entry<BatchMarkScenario>("batch-mark", 200'000, 0),
    entry<BatchOpenMarkScenario>("batch-mark-open", 200'000, 0),
};

bool run(const Entry &scenario, const Search &how, const Options &options) {
  const auto begin = std::chrono::steady_clock::now();
  const Result result = scenario.run(how, options.history);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
  std::printf("%-16s %7u  %-8s %10llu %8.1f  %s\n", scenario.name, scenario.threads,
              how.type == rl::sched_random ? "random" : "bounded", static_cast<unsigned long long>(result.runs),
              elapsed.count(), rl::test_result_str(result.code));
  std::fflush(stdout);
  return result.code == rl::test_result_success;
}

bool is_chosen(const Entry &scenario, char **names, int count) {
  if (count == 0) return true;
  for (int index = 0; index < count; ++index) {
    if (std::strcmp(names[index], scenario.name) == 0) return true;
  }
  return false;
}

int run_all(const Options &options, char **names, int count) {
  int failures = 0;
  std::printf("%-16s %7s  %-8s %10s %8s\n", "scenario", "threads", "search", "runs", "seconds");
  for (const Entry &scenario : kEntries) {
    if (!is_chosen(scenario, names, count)) continue;
    const rl::iteration_t runs =
        options.is_long ? scenario.runs * 20 : options.is_short ? scenario.runs / 20 : scenario.runs;
    bool passed = run(scenario, {rl::sched_random, runs, 0}, options);
    if (passed && options.is_long && scenario.switches)
      passed = run(scenario, {rl::sched_bound, 0, scenario.switches}, options);
    if (!passed) ++failures;
    if (failures && options.stop) break;
  }
  return failures ? 1 : 0;
}

} // namespace
} // namespace model

int main(int argc, char **argv) {
  model::Options options;
  int first = 1;
  for (; first < argc && argv[first][0] == '-'; ++first) {
    if (std::strcmp(argv[first], "--short") == 0) {
      options.is_short = true;
    } else if (std::strcmp(argv[first], "--long") == 0) {
      options.is_long = true;
    } else if (std::strcmp(argv[first], "--history") == 0) {
      options.history = true;
    } else if (std::strcmp(argv[first], "--stop") == 0) {
      options.stop = true;
    } else {
      std::fprintf(stderr, "unknown option %s\n", argv[first]);
      return 2;
    }
  }
  return model::run_all(options, argv + first, argc - first);
}
