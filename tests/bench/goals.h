// The rows of DESIGN section 9, and how far we are.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "measure.h"
#include "memory.h"

namespace bwbench {

// One thing that was promised: a measured value on the right side of a limit.
struct Bound {
  std::string text;               // what is measured, and the limit
  std::optional<Spread> measured; // nothing: a case of it did not run
  double limit = 0;
  bool at_least = false;          // the value must reach the limit; else it must not pass it

  bool met() const noexcept {
    return measured && (at_least ? measured->median >= limit : measured->median <= limit);
  }
};

enum class Verdict { kMet, kShort, kUnknown };
const char *verdict_text(Verdict verdict) noexcept;

struct Goal {
  std::string row;
  std::string ours;            // our figure, with its unit; empty: not measured
  std::vector<Bound> at_least; // one of these is enough
  std::vector<Bound> aim;      // all of these

  Verdict verdict_at_least() const noexcept;
  Verdict verdict_aim() const noexcept;
  bool measured() const noexcept; // anything of it
};

std::vector<Goal> evaluate_goals(const Results &results, const std::optional<WriterMemory> &memory);

} // namespace bwbench
