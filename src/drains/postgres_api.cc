// The public API of the drain to PostgreSQL: argument checks, and options with every default filled in.
#include <bw/postgres.h>
#include <libpq-fe.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "postgres_drain.h"
#include "postgres_row.h"

namespace {

using bwlib::Drain;
using bwlib::PostgresDrain;
using bwlib::PostgresSettings;
using bwlib::RowPieces;

constexpr std::uint64_t kDefaultTimeoutUs = 30'000'000;
constexpr std::uint64_t kDefaultBackoffUs = 100'000;
constexpr std::uint64_t kDefaultLongestBackoffUs = 5'000'000;
constexpr char kDefaultProgress[] = "bw_progress";

static_assert(sizeof(bw_postgres_options_t) == 120 && offsetof(bw_postgres_options_t, arg) == 112,
              "no padding, append only");
static_assert(sizeof(bw_postgres_error_t) == 40 && offsetof(bw_postgres_error_t, context) == 32,
              "no padding, append only");

bool is_empty(const char *text) noexcept {
  return !text || !*text;
}

bool is_bad(const bw_postgres_options_t &options) noexcept {
  if (options.flags || options.format > BW_POSTGRES_BINARY || is_empty(options.table)) return true;
  if ((options.columns == nullptr) != (options.column_count == 0)) return true;
  if (std::any_of(options.columns, options.columns + options.column_count, is_empty)) return true;
  if ((options.schema && !*options.schema) || (options.writer && !*options.writer)) return true;
  return options.progress && !*options.progress;
}

// 0, or -EINVAL: libpq cannot read it.
int check_conninfo(const std::string &conninfo) noexcept {
  char *complaint = nullptr;
  PQconninfoOption *const parsed = PQconninfoParse(conninfo.c_str(), &complaint);
  PQfreemem(complaint);
  if (!parsed) return -EINVAL;
  PQconninfoFree(parsed);
  return 0;
}

// 32 hexadecimal digits by chance, which nobody else has.
int make_name(std::string &out) {
  unsigned char bytes[16];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return -errno;
  for (const unsigned char byte : bytes) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return 0;
}

int read_times(const bw_postgres_options_t &options, PostgresSettings &settings) noexcept {
  settings.timeout_us = options.timeout_us ? options.timeout_us : kDefaultTimeoutUs;
  settings.backoff_us = options.backoff_us ? options.backoff_us : kDefaultBackoffUs;
  settings.longest_backoff_us = options.longest_backoff_us ? options.longest_backoff_us
                                                           : std::max(settings.backoff_us, kDefaultLongestBackoffUs);
  return settings.longest_backoff_us < settings.backoff_us ? -EINVAL : 0;
}

int read_settings(const bw_postgres_options_t &options, const std::string &run, PostgresSettings &settings) {
  if (is_bad(options)) return -EINVAL;
  if (const int code = read_times(options, settings)) return code;
  settings.conninfo = options.conninfo ? options.conninfo : "";
  settings.table = options.table;
  settings.schema = options.schema ? options.schema : "";
  settings.progress = options.progress ? options.progress : kDefaultProgress;
  settings.writer = options.writer ? options.writer : "bw:" + run;
  settings.has_made_name = !options.writer;
  settings.columns.assign(options.columns, options.columns + options.column_count);
  settings.is_binary = options.format == BW_POSTGRES_BINARY;
  settings.callbacks = options;
  return check_conninfo(settings.conninfo);
}

int create(bw_batch_t **out, const bw_postgres_options_t *options, const bw_batch_options_t *batching) {
  bw_postgres_options_t read;
  if (const int code = bwlib::read_struct(options, read)) return code;
  bw_batch_options_t ours;
  if (const int code = Drain::read_batching(batching, ours)) return code;
  if (ours.max_in_flight > 1) return -EOPNOTSUPP; // one row of progress remembers one part
  PostgresSettings settings;
  std::string run;
  if (const int code = make_name(run)) return code;
  if (const int code = read_settings(read, run, settings)) return code;
  settings.can_bisect = (ours.flags & BW_BATCH_BISECT) != 0;
  return Drain::start(out, std::make_unique<PostgresDrain>(std::move(settings), std::move(run)), ours);
}

// 0 or a code of bw_postgres_send().
int pack(RowPieces &row, const bw_batch_t *batch, const void *const *values, const size_t *lengths, size_t count,
         uint32_t format) noexcept {
  if (!batch || !values || format > BW_POSTGRES_BINARY || (!lengths && format == BW_POSTGRES_BINARY)) return -EINVAL;
  if (count == 0 || count > bwlib::kMostColumns) return -EINVAL;
  return row.pack(values, lengths, count, format);
}

} // namespace

extern "C" {

int bw_postgres_new(bw_batch_t **out, const bw_postgres_options_t *options,
                    const bw_batch_options_t *batching) noexcept {
  if (!out) return -EINVAL;
  *out = nullptr;
  if (!options) return -EINVAL;
  try {
    return create(out, options, batching);
  } catch (const std::bad_alloc &) {
    return -ENOMEM;
  }
}

int bw_postgres_send(bw_batch_t *batch, const void *const *values, const size_t *lengths, size_t count,
                     uint32_t format) noexcept {
  RowPieces row;
  if (const int code = pack(row, batch, values, lengths, count, format)) return code;
  return bw_batch_sendv(batch, row.data(), row.count());
}

int bw_postgres_start_send(bw_batch_t *batch, const void *const *values, const size_t *lengths, size_t count,
                           uint32_t format) noexcept {
  RowPieces row;
  if (const int code = pack(row, batch, values, lengths, count, format)) return code;
  return bw_batch_start_sendv(batch, row.data(), row.count());
}

} // extern "C"
