// Who writes a whole file until it is durable: the limit and the peers.
#pragma once

#include <string>
#include <vector>

#include "measure.h"

namespace bwbench {

inline constexpr const char *kFio = "fio";
inline constexpr const char *kFioGrowing = "fio-growing"; // fresh files only
inline constexpr const char *kRustDurable = "rust-bufwriter";

std::vector<Subject> file_peers();

// How fio writes here; empty: it was not asked to.
std::string fio_engine();

} // namespace bwbench
