// What the bench says in the end: tables for people (also as Markdown), JSON for programs.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "disk.h"
#include "goals.h"
#include "measure.h"
#include "memory.h"
#include "plan.h"

namespace bwbench {

// Where, when and with what: name and value.
using Header = std::vector<std::pair<std::string, std::string>>;
Header make_header(const Method &method, const Disk &disk);

struct Report {
  Header header;
  const Cast &cast;
  const Results &results;
  std::optional<WriterMemory> memory;
  std::vector<Goal> goals;
};

void print_report(const Report &report, bool markdown);
void write_json(const Report &report, const std::string &path);

} // namespace bwbench
