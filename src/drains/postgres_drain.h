// The drain to PostgreSQL. docs/drains.md has the idea: one COPY in one transaction for each part of a batch, and in
// the same transaction its name in the progress table.
#pragma once

#include <bw/postgres.h>

#include <string>
#include <vector>

#include "drain.h"
#include "postgres_session.h"

namespace bwlib {

// What bw_postgres_options_t says, in memory of ours and with every default filled in.
struct PostgresSettings {
  std::string conninfo, schema, table, progress, writer;
  std::vector<std::string> columns; // none: all
  bool is_binary = false;
  bool has_made_name = false; // the writer's, which nobody can go on under
  bool can_bisect = false;
  std::uint64_t timeout_us = 0, backoff_us = 0, longest_backoff_us = 0;
  bw_postgres_options_t callbacks{}; // of it only these, and `arg`
};

// Thread safety: the drain's thread, but for making it.
// Invariants:
//  1. The progress row of the writer has our run from take_name() on, or somebody has taken the name over.
//  2. Its position is base_ + (the number of the last item of the last part that was committed). It only grows.
class PostgresDrain final : public Drain {
 public:
  // `run`: unique to this batcher.
  PostgresDrain(PostgresSettings settings, std::string run);

 private:
  void serve() noexcept override;
  void attend();
  void leave_table();

  int deliver(const Taken &taken);
  bool copy(bw_batch_view_t *view, Clock::time_point deadline);
  bool feed(const iovec *items, std::size_t count);
  bool ask_what_is_there(bw_batch_view_t *view);
  std::string statements(bw_batch_view_t *view, Clock::time_point deadline);

  bool connect(Clock::time_point deadline);
  bool prepare();
  bool find_progress_table();
  bool take_name();

  bool check_rows(const iovec *items, std::size_t count);
  int tell(bw_batch_view_t *view);
  // Pauses before the next try: false if the deadline comes first, or what else ends the pause.
  bool pause(Clock::time_point deadline, bool for_batch);

  const PostgresSettings settings_;
  const std::string run_;
  Clock::time_point deadline_; // of what the session does now
  PostgresSession session_;
  Backoff backoff_;
  bool ready_ = false;             // the name is ours
  unsigned long long base_ = 0;    // the position that was found then
  std::string progress_, columns_; // SQL, as this connection spells it
  std::string table_;
};

} // namespace bwlib
