// bw_stats_t as JSON.
#pragma once

#include <bw/bw.h>

#include <cstddef>
#include <cstdint>

namespace bwlib {

// As snprintf: writes at most `size` bytes with a terminating zero, gives the length of the whole.
std::int64_t write_stats_json(const bw_stats_t &stats, char *text, std::size_t size) noexcept;
std::int64_t write_stats_json(const bw_batch_stats_t &stats, char *text, std::size_t size) noexcept;

} // namespace bwlib
