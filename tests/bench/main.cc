// bw_bench: how fast we are, beside the limits of the machine and beside the peers.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "allocations.h"
#include "batch_peers.h"
#include "commit_peers.h"
#include "disk.h"
#include "file_peers.h"
#include "our_batches.h"
#include "our_files.h"
#include "ours.h"
#include "peers.h"
#include "plan.h"
#include "report.h"

namespace bwbench {
namespace {

constexpr const char *kUsage =
    "usage: bw_bench [--quick] [--json FILE] [--only REGEX[,REGEX...]] [--markdown] [--dir DIRECTORY]\n"
    "                [--rounds N] [--run-ms N] [--file-mib N] [--commit-ms N] [--list] [--help]\n"
    "  --quick      fewer sizes, fewer threads, smaller files, shorter runs: about three minutes\n"
    "  --json       where the figures go (default bench.json)\n"
    "  --only       only the cases whose name (see --list) has a match, as in --only files,commits; ratios need both\n"
    "               sides\n"
    "  --markdown   print Markdown\n"
    "  --dir        where files are made (default: here), and removed afterwards; those of \"files\" and \"commits\"\n"
    "               want a disk with O_DIRECT\n"
    "  --rounds     how often each case runs\n"
    "  --run-ms     about how long a run is; not those of \"files\" and \"commits\"\n"
    "  --file-mib   how much a run of \"files\" writes (default 512; quick: 256)\n"
    "  --commit-ms  how long a run of \"commits\" is (default 400; quick: 200)\n"
    "  --list       print the names of the cases and end\n"
    "  --help       print this and end\n";

constexpr const char *kMemoryCase = "memory/1t/8192B/bw-unshared";

struct Options {
  bool quick = false, markdown = false, list = false;
  std::string json = "bench.json", only, dir = ".";
  // 0: as the extent asks
  int rounds = 0, file_mib = 0;
  double run_ms = 0, commit_ms = 0;
};

Options parse(int count, char **words) {
  Options options;
  const auto usage = [](std::FILE *stream = stderr, int code = 2) {
    std::fputs(kUsage, stream);
    std::exit(code);
  };
  for (int index = 1; index < count; ++index) {
    const std::string word = words[index];
    const auto value = [&]() -> const char * {
      if (index + 1 >= count) usage();
      return words[++index];
    };
    if (word == "--quick") options.quick = true;
    else if (word == "--markdown") options.markdown = true;
    else if (word == "--list") options.list = true;
    else if (word == "--json") options.json = value();
    else if (word == "--only") options.only = value();
    else if (word == "--dir") options.dir = value();
    else if (word == "--rounds") options.rounds = std::atoi(value());
    else if (word == "--run-ms") options.run_ms = std::atof(value());
    else if (word == "--file-mib") options.file_mib = std::atoi(value());
    else if (word == "--commit-ms") options.commit_ms = std::atof(value());
    else if (word == "--help") usage(stdout, 0);
    else usage();
  }
  return options;
}

Method method_for(const Options &options) {
  Method method;
  if (options.quick) method = {5, 12, 64ull << 20, 3, 256ull << 20, 3, 200};
  if (options.rounds > 0) method.rounds = method.durable_rounds = method.commit_rounds = options.rounds;
  if (options.run_ms > 0) method.run_ms = options.run_ms;
  if (options.file_mib > 0) method.durable_bytes = static_cast<std::uint64_t>(options.file_mib) << 20;
  if (options.commit_ms > 0) method.commit_ms = options.commit_ms;
  return method;
}

// "a,b" is what either of them matches.
std::regex regex_of(std::string list) {
  std::replace(list.begin(), list.end(), ',', '|');
  return std::regex(list);
}

void append(std::vector<Subject> &all, std::vector<Subject> more) {
  for (Subject &subject : more) all.push_back(std::move(subject));
}

Cast cast_for(const Disk &disk) {
  Cast cast;
  cast.streams = limits_and_peers();
  append(cast.streams, ours());
  cast.batches = batch_peers();
  append(cast.batches, our_batches());
  if (!disk.defect.empty()) {
    std::fprintf(stderr, "bw_bench: files and commits are left out: %s, %s\n", disk.name.c_str(), disk.defect.c_str());
    return cast;
  }
  cast.files = file_peers();
  cast.commits = commit_peers();
  cast.callbacks = callback_peers();
  append(cast.files, our_files());
  append(cast.commits, our_commits());
  append(cast.callbacks, our_callbacks());
  return cast;
}

void list(const std::vector<Group> &groups) {
  std::puts(kMemoryCase);
  for (const Group &group : groups) {
    for (const Case &which : group.cases) std::puts(which.name.c_str());
  }
}

Results run(const std::vector<Group> &groups, const Method &method) {
  Results results;
  std::size_t done = 0;
  for (const Group &group : groups) {
    std::fprintf(stderr, "[%zu/%zu] %s\n", ++done, groups.size(), group.name.c_str());
    run_group(group, method, results);
  }
  return results;
}

int main_with(const Options &options) {
  const std::regex only = regex_of(options.only);
  std::optional<WriterMemory> memory;
  if (!options.list && std::regex_search(kMemoryCase, only)) memory = measure_writer_memory();
  check_allocation_counter();

  const Method method = method_for(options);
  const Disk disk = look_at_disk(options.dir);
  const Cast cast = cast_for(disk);
  const Targets targets = targets_in(options.dir);
  const std::vector<Group> groups = plan(options.quick ? quick_extent() : full_extent(), cast, targets, only);
  if (options.list) {
    list(groups);
    return 0;
  }

  Header header = make_header(method, disk);
  const Results results = run(groups, method);
  for (const Target *target : {&targets.file, &targets.fresh, &targets.overwritten, &targets.log}) {
    remove_from_disk(*target);
  }
  if (!fio_engine().empty()) {
    header.emplace_back("fio", "depth 8 (growing: 1), 1 MiB blocks, O_DIRECT, " + fio_engine());
  }
  std::vector<Goal> goals = evaluate_goals(results, memory);
  if (!options.only.empty()) std::erase_if(goals, [](const Goal &goal) { return !goal.measured(); });
  const Report report{header, cast, results, memory, std::move(goals)};
  print_report(report, options.markdown);
  write_json(report, options.json);
  return 0;
}

} // namespace
} // namespace bwbench

int main(int count, char **words) {
  try {
    return bwbench::main_with(bwbench::parse(count, words));
  } catch (const std::exception &error) { // a bad regular expression, or no memory
    std::fprintf(stderr, "bw_bench: %s\n", error.what());
    return 2;
  }
}
