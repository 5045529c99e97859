#include "report.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>

#include "batches.h"
#include "text.h"

namespace bwbench {
namespace {

std::string spread_text(const Spread &spread, const char *unit) {
  const std::string median = number(spread.median) + unit;
  if (spread.min == spread.max) return median;
  return median + " [" + number(spread.min) + ".." + number(spread.max) + "]";
}

// ---- The header --------------------------------------------------------------------------------

std::string cpu_model() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string load_average() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? number(load) : "unknown";
}

std::string now_utc() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", std::gmtime(&now));
  return text;
}

// ---- Tables ------------------------------------------------------------------------------------

std::string bounds_text(const std::vector<Bound> &bounds, const char *joint) {
  std::string text;
  for (const Bound &bound : bounds) {
    if (!text.empty()) text += joint;
    text += (bound.measured ? spread_text(*bound.measured, "") : std::string("not measured")) + " (" + bound.text + ")";
  }
  return text;
}

Table goals_table(const std::vector<Goal> &goals) {
  Table table{"Goals", {"row", "ours", "at least", "verdict", "aim", "aim's verdict"}, {}};
  for (const Goal &goal : goals) {
    table.rows.push_back({goal.row, goal.ours, bounds_text(goal.at_least, " or "),
                          verdict_text(goal.verdict_at_least()), bounds_text(goal.aim, " and "),
                          verdict_text(goal.verdict_aim())});
  }
  return table;
}

Spread over_rounds(const Result &result, double Percentiles::*field) {
  std::vector<double> rounds;
  for (const Percentiles &percentiles : result.latency) rounds.push_back(percentiles.*field);
  return spread(std::move(rounds));
}

Table latency_table(const Results &results) {
  Table table{"Duration of one write in ns, reading the clock included (clock-alone is that reading)",
              {"case", "p50", "p99", "p99.9", "max"},
              {}};
  for (const Result &result : results.all()) {
    if (result.purpose() != Purpose::kLatency) continue;
    table.rows.push_back({result.which.name, spread_text(over_rounds(result, &Percentiles::p50_ns), ""),
                          spread_text(over_rounds(result, &Percentiles::p99_ns), ""),
                          spread_text(over_rounds(result, &Percentiles::p999_ns), ""),
                          spread_text(over_rounds(result, &Percentiles::max_ns), "")});
  }
  return table;
}

Table memory_table(const WriterMemory &memory) {
  const auto row = [](const char *what, double bytes) {
    return std::vector<std::string>{what, number(bytes / 1024) + " KiB"};
  };
  return {"Memory of an idle unshared 8 KiB writer (mean of 1000)",
          {"what", "a writer"},
          {row("allocated with malloc", memory.allocated), row("mapped beside malloc", memory.mapped),
           row("allocated and mapped", memory.total()), row("resident when just made", memory.resident_new),
           row("resident once its buffer was full", memory.resident_used)}};
}

Table allocations_table(const Results &results) {
  Table table{"Allocations from the first write to the end of the last flush", {"case", "records", "allocations"}, {}};
  for (const Result &result : results.all()) {
    if (result.purpose() != Purpose::kAllocations) continue;
    table.rows.push_back({result.which.name, number(static_cast<double>(result.records)),
                          number(static_cast<double>(result.allocations))});
  }
  return table;
}

Table scaling_table(const Results &results) {
  Table table{"The shared writer among two and many threads", {"case", "ns per record"}, {}};
  for (const Result &result : results.all()) {
    if (!result.group.starts_with("scaling/")) continue;
    table.rows.push_back({result.which.name, spread_text(spread(result.ns_per_record), "")});
  }
  return table;
}

const std::string &peer_of(const Result &result) {
  return result.which.setting.threads == 1 ? result.which.subject->peer_alone
                                           : result.which.subject->peer_among_threads;
}

std::optional<Spread> ratio_to_peer(const Results &results, const Result &result) {
  const std::string &name = result.which.name;
  return results.ratio(name, name.substr(0, name.rfind('/') + 1) + peer_of(result));
}

std::optional<Spread> peer_ratio_to(const Results &results, const Result &result) {
  const std::string &name = result.which.name;
  return results.ratio(name.substr(0, name.rfind('/') + 1) + peer_of(result), name);
}

std::string times_text(const std::optional<Spread> &ratio) {
  return ratio ? number(ratio->median) + "x" : "";
}

std::string ns_cell(const Results &results, const Result &result) {
  const std::string ratio = times_text(ratio_to_peer(results, result));
  return spread_text(spread(result.ns_per_record), "") + (ratio.empty() ? "" : " ") + ratio;
}

std::string durable_cell(const Results &results, const Result &result) {
  const auto bytes = static_cast<double>(result.which.setting.record_bytes);
  const std::string ratio = times_text(peer_ratio_to(results, result));
  return spread_text(rate(bytes, result.ns_per_record), "") + (ratio.empty() ? "" : " ") + ratio + ", " +
         number(spread(result.cpu_ns_per_record).median / bytes) + " s";
}

std::string threads_text(int threads) {
  return std::to_string(threads) + (threads == 1 ? " thread" : " threads");
}

// One table for each target and number of threads: subjects down, sizes across.
class MatrixTable {
 public:
  MatrixTable(const Report &report, const Target &target, int threads, Purpose purpose)
      : report_(report), cell_(purpose == Purpose::kDurable ? durable_cell : ns_cell) {
    table_.title = title(target, threads, purpose);
    table_.head = {"subject", "ratio to"};
    for (const Result &result : report.results.all()) {
      const Setting &setting = result.which.setting;
      if (!in_matrix(result) || setting.target != &target || setting.threads != threads) continue;
      cells_.push_back(&result);
      if (std::find(sizes_.begin(), sizes_.end(), setting.record_bytes) == sizes_.end()) {
        sizes_.push_back(setting.record_bytes);
        table_.head.push_back(std::to_string(setting.record_bytes) + " B");
      }
    }
    for (const Subject &subject : subjects(report.cast, purpose)) add_row(subject);
  }

  static bool in_matrix(const Result &result) {
    if (result.purpose() == Purpose::kDurable || result.purpose() == Purpose::kBatches) return true;
    return result.purpose() == Purpose::kThroughput && !result.group.starts_with("scaling/");
  }
  const Table &table() const noexcept { return table_; }

 private:
  static const std::vector<Subject> &subjects(const Cast &cast, Purpose purpose) {
    switch (purpose) {
      case Purpose::kDurable: return cast.files;
      case Purpose::kBatches: return cast.batches;
      default: return cast.streams;
    }
  }

  static std::string title(const Target &target, int threads, Purpose purpose) {
    if (purpose == Purpose::kDurable) {
      return (target.overwritten ? "Overwritten file, " : "Fresh file, ") + threads_text(threads) +
             ", until durable: GB/s [min..max], ratio (more is faster) and CPU seconds a GB";
    }
    if (purpose == Purpose::kBatches) {
      return "Batches of " + std::to_string(kBatchItems) + " items, " +
             (threads == 1 ? "1 producer" : std::to_string(threads) + " producers") +
             ": ns per item [min..max] and ratio";
    }
    return (target.is_file ? "Page-cache file, " : "/dev/null, ") + threads_text(threads) +
           ": ns per record [min..max] and ratio";
  }

  void add_row(const Subject &subject) {
    std::vector<std::string> row = {subject.name, ""};
    for (const std::size_t bytes : sizes_) {
      const auto found = std::find_if(cells_.begin(), cells_.end(), [&](const Result *r) {
        return r->which.subject == &subject && r->which.setting.record_bytes == bytes;
      });
      row.push_back(found == cells_.end() ? "" : cell_(report_.results, **found));
      if (found != cells_.end()) row[1] = peer_of(**found);
    }
    const bool empty = std::all_of(row.begin() + 1, row.end(), [](const std::string &cell) { return cell.empty(); });
    if (empty && subject.run) return;
    if (!subject.run) row[1] = "not built";
    table_.rows.push_back(std::move(row));
  }

  const Report &report_;
  std::string (*cell_)(const Results &results, const Result &result);
  Table table_;
  std::vector<const Result *> cells_;
  std::vector<std::size_t> sizes_;
};

void print_matrix(const Report &report, bool markdown) {
  std::vector<std::pair<const Target *, int>> printed;
  for (const Result &result : report.results.all()) {
    const std::pair which{result.which.setting.target, result.which.setting.threads};
    if (!MatrixTable::in_matrix(result)) continue;
    if (std::find(printed.begin(), printed.end(), which) != printed.end()) continue;
    printed.push_back(which);
    print_table(MatrixTable(report, *which.first, which.second, result.purpose()).table(), markdown);
  }
}

std::vector<std::string> commits_row(const Results &results, const Result &result) {
  const auto us = [&](double Percentiles::*field) { return number(over_rounds(result, field).median / 1000); };
  return {result.which.subject->name,
          spread_text(rate(1e6, result.ns_per_record), ""),
          peer_of(result),
          times_text(peer_ratio_to(results, result)),
          us(&Percentiles::p50_ns),
          us(&Percentiles::p99_ns),
          us(&Percentiles::p999_ns),
          us(&Percentiles::max_ns)};
}

// The subjects of one group.
Table commits_table(const Report &report, const Setting &setting, const std::string &group) {
  const bool by_callback = setting.target->name == "commits-by-callback";
  Table table{by_callback ? "Commits of 128 B by callback, one thread, 1000 outstanding (Pebble: by goroutines)"
                          : "Commits of 128 B, " + threads_text(setting.threads),
              {"subject", "1000/s", "ratio to", "ratio", "p50 us", "p99 us", "p99.9 us", "max us"},
              {}};
  for (const Subject &subject : by_callback ? report.cast.callbacks : report.cast.commits) {
    if (!subject.run) table.rows.push_back({subject.name, "not built", "", "", "", "", "", ""});
    for (const Result &result : report.results.all()) {
      if (result.group != group || result.which.subject != &subject) continue;
      table.rows.push_back(commits_row(report.results, result));
    }
  }
  return table;
}

void print_commits(const Report &report, bool markdown) {
  std::string printed;
  for (const Result &result : report.results.all()) {
    if (result.purpose() != Purpose::kCommits || result.group == printed) continue;
    printed = result.group;
    print_table(commits_table(report, result.which.setting, result.group), markdown);
  }
}

void print_unless_empty(const Table &table, bool markdown) {
  if (!table.rows.empty()) print_table(table, markdown);
}

// ---- JSON --------------------------------------------------------------------------------------

void add_spread(Json &json, const char *key, const Spread &spread) {
  json.open(key, '{');
  json.add("median", spread.median);
  json.add("min", spread.min);
  json.add("max", spread.max);
  json.close();
}

void add_bounds(Json &json, const char *key, const std::vector<Bound> &bounds) {
  json.open(key, '[');
  for (const Bound &bound : bounds) {
    json.open("", '{');
    json.add("bound", bound.text);
    json.add("limit", bound.limit);
    if (bound.measured) add_spread(json, "measured", *bound.measured);
    json.close();
  }
  json.close();
}

void add_goal(Json &json, const Goal &goal) {
  json.open("", '{');
  json.add("row", goal.row);
  json.add("ours", goal.ours);
  add_bounds(json, "at_least", goal.at_least);
  json.add("verdict", verdict_text(goal.verdict_at_least()));
  add_bounds(json, "aim", goal.aim);
  json.add("aim_verdict", verdict_text(goal.verdict_aim()));
  json.close();
}

// Against every limit and peer of the group, by name.
void add_ratios(Json &json, const Results &results, const Result &result) {
  json.open("ratios", '{');
  for (const Result &other : results.all()) {
    if (other.group != result.group || other.which.subject->kind == Kind::kOurs || &other == &result) continue;
    if (other.which.setting.threads != result.which.setting.threads) continue;
    if (const auto ratio = results.ratio(result.which.name, other.which.name)) {
      add_spread(json, other.which.subject->name.c_str(), *ratio);
    }
  }
  json.close();
}

void add_case(Json &json, const Results &results, const Result &result) {
  const Setting &setting = result.which.setting;
  const Spread ns = spread(result.ns_per_record);
  const auto bytes = static_cast<double>(setting.record_bytes);
  json.open("", '{');
  json.add("name", result.which.name);
  json.add("subject", result.which.subject->name);
  json.add("target", setting.target->name);
  json.add("threads", setting.threads);
  json.add("record_bytes", static_cast<double>(setting.record_bytes));
  if (result.purpose() != Purpose::kCommits) {
    json.add("records_per_thread", static_cast<double>(result.run.records_per_thread));
  }
  add_spread(json, "ns_per_record", ns);
  json.add("gb_per_s", bytes / ns.median);
  if (result.purpose() == Purpose::kAllocations) json.add("allocations", static_cast<double>(result.allocations));
  if (result.purpose() == Purpose::kDurable) {
    json.add("cpu_s_per_gb", spread(result.cpu_ns_per_record).median / bytes);
  }
  if (result.purpose() == Purpose::kCommits) add_spread(json, "commits_per_s", rate(1e9, result.ns_per_record));
  if (!result.latency.empty()) {
    add_spread(json, "p50_ns", over_rounds(result, &Percentiles::p50_ns));
    add_spread(json, "p99_ns", over_rounds(result, &Percentiles::p99_ns));
    add_spread(json, "p999_ns", over_rounds(result, &Percentiles::p999_ns));
    add_spread(json, "max_ns", over_rounds(result, &Percentiles::max_ns));
  }
  if (result.purpose() != Purpose::kLatency && result.purpose() != Purpose::kAllocations) {
    add_ratios(json, results, result);
  }
  json.close();
}

void add_memory(Json &json, const WriterMemory &memory) {
  json.open("memory_of_a_writer_bytes", '{');
  json.add("allocated", memory.allocated);
  json.add("mapped", memory.mapped);
  json.add("resident_new", memory.resident_new);
  json.add("resident_used", memory.resident_used);
  json.close();
}

} // namespace

Header make_header(const Method &method, const Disk &disk) {
  struct utsname system;
  uname(&system);
  Header header = {
      {"date", now_utc()},
      {"kernel", std::string(system.sysname) + " " + system.release + " " + system.machine},
      {"cpu", cpu_model() + ", " + std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " online"},
      {"load before", load_average()},
      {"compiler", BWBENCH_COMPILER},
      {"peers", BWBENCH_PEER_VERSIONS},
      {"buffers", number(kBufferBytes / 1024) + " KiB, everybody; files: ours as they are by default"},
      {"method", "median of " + std::to_string(method.rounds) + " interleaved rounds of about " +
                     number(method.run_ms) + " ms (more than 8 threads: five times that); " +
                     "ratios are medians of each round's ratio"},
  };
  header.emplace_back(
      "disk", disk.name + (disk.defect.empty() ? ", O_DIRECT" : ": files and commits are left out, " + disk.defect));
  header.emplace_back("files", number(static_cast<double>(method.durable_bytes >> 20)) + " MiB until durable, " +
                                   std::to_string(method.durable_rounds) + " rounds");
  header.emplace_back("commits",
                      std::to_string(method.commit_rounds) + " rounds of " + number(method.commit_ms) + " ms");
  return header;
}

void print_report(const Report &report, bool markdown) {
  for (const auto &[name, value] : report.header) {
    std::printf(markdown ? "- %s: %s\n" : "%-12s %s\n", name.c_str(), value.c_str());
  }
  print_unless_empty(goals_table(report.goals), markdown);
  print_unless_empty(latency_table(report.results), markdown);
  print_unless_empty(scaling_table(report.results), markdown);
  if (report.memory) print_table(memory_table(*report.memory), markdown);
  print_unless_empty(allocations_table(report.results), markdown);
  print_matrix(report, markdown);
  print_commits(report, markdown);
}

void write_json(const Report &report, const std::string &path) {
  std::FILE *file = std::fopen(path.c_str(), "w");
  require(file != nullptr, "cannot write the JSON file");
  Json json(file);
  json.open("", '{');
  json.open("header", '{');
  for (const auto &[name, value] : report.header) json.add(name, value);
  json.close();
  json.open("goals", '[');
  for (const Goal &goal : report.goals) add_goal(json, goal);
  json.close();
  if (report.memory) add_memory(json, *report.memory);
  json.open("cases", '[');
  for (const Result &result : report.results.all()) add_case(json, report.results, result);
  json.close();
  json.close();
  require(std::fclose(file) == 0, "cannot write the JSON file");
}

} // namespace bwbench
