#include "postgres_drain.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "postgres_row.h"

namespace bwlib {

namespace {

// What begins and ends COPY's binary format: a signature, flags and the length of an extension; the count -1.
constexpr char kBinaryHead[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; // and the NUL behind it
constexpr std::size_t kBinaryHeadBytes = sizeof kBinaryHead;
constexpr char kBinaryTail[] = {'\377', '\377'};
static_assert(kBinaryHeadBytes == 19, "eleven bytes of signature, two words of zero");

constexpr std::uint64_t kFarewellUs = 3000000;
constexpr std::uint64_t kLongestKeepaliveS = 60;

// For lock_timeout, in milliseconds: three quarters of what is left, so that the server's answer comes before the
// deadline. What PostgreSQL takes is 1 to 2^31 - 1.
long long lock_timeout_ms(Clock::time_point deadline) noexcept {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return std::clamp<long long>(ms / 4 * 3, 1, INT32_MAX);
}

std::string number(unsigned long long value) {
  return std::to_string(value);
}

struct PartName {
  explicit PartName(const bw_batch_view_t *view) noexcept
      : serial(bw_batch_serial(view)), first(bw_batch_first(view)) {
    bw_batch_items(view, &count);
  }
  std::uint64_t serial, first;
  std::size_t count = 0;
};

} // namespace

PostgresDrain::PostgresDrain(PostgresSettings settings, std::string run)
    : Drain("bw-postgres", settings.timeout_us), settings_(std::move(settings)), run_(std::move(run)),
      session_([this](int fd, short events) {
        switch (wait(fd, events, deadline_, false)) {
        case Woken::kReady: return 0;
        case Woken::kStopped: return -ESHUTDOWN;
        default: return -ETIMEDOUT;
        }
      }),
      backoff_(settings_.backoff_us, settings_.longest_backoff_us) {}

// ---- The thread ----

void PostgresDrain::serve() noexcept {
  while (!is_stopping()) {
    const Taken taken = oldest();
    int code = -ENOMEM;
    try {
      if (taken.view) {
        code = deliver(taken);
      } else {
        attend();
      }
    } catch (const std::bad_alloc &) {
      session_.close(); // in the middle of whatever it was
    }
    if (taken.view) answer(code);
  }
  try {
    leave_table();
  } catch (const std::bad_alloc &) { // the row stays
  }
  session_.close();
}

// There is no batch: connects, so that the name is taken and the next batch need not wait; then sees whether the
// server hangs up.
void PostgresDrain::attend() {
  if (!ready_) {
    if (connect(deadline_in_us(timeout_us())) || is_stopping()) return;
    tell(nullptr);
    pause(Clock::time_point::max(), true);
  } else if (!session_.is_open()) {
    wait(-1, 0, deadline_in_us(timeout_us()), true);
  } else if (wait(session_.socket(), POLLIN, deadline_in_us(timeout_us()), true) == Woken::kReady) {
    if (!session_.take_notice()) tell(nullptr);
  }
}

// Nobody can go on under a name that was made here.
void PostgresDrain::leave_table() {
  if (!settings_.has_made_name || !ready_ || !session_.is_open()) return;
  leave();
  deadline_ = deadline_in_us(kFarewellUs);
  session_.run("DELETE FROM " + progress_ + " WHERE writer = " + session_.literal(settings_.writer) +
                   " AND run = " + session_.literal(run_),
               nullptr, 0);
}

bool PostgresDrain::pause(Clock::time_point deadline, bool for_batch) {
  const Clock::time_point end = deadline_in_us(backoff_.next_us());
  if (end >= deadline) return false;
  return wait(-1, 0, end, for_batch) == Woken::kTimeout;
}

// Tells the caller's callbacks of the failure, and gives the answer for the batch.
int PostgresDrain::tell(bw_batch_view_t *view) {
  const Failure &failure = session_.failure();
  const bw_postgres_options_t &to = settings_.callbacks;
  const bw_postgres_error_t error{sizeof error,
                                  failure.verdict.code,
                                  failure.sqlstate.c_str(),
                                  failure.message.c_str(),
                                  failure.detail.c_str(),
                                  failure.context.c_str()};
  if (!failure.verdict.is_final || !view) {
    if (to.on_failure) to.on_failure(to.arg, &error);
    return failure.verdict.code;
  }
  std::size_t count;
  const iovec *const items = bw_batch_items(view, &count);
  const bool is_halved = settings_.can_bisect && count > 1; // not yet for good
  if (!is_halved && to.on_refused) to.on_refused(to.arg, items, count, &error);
  return failure.verdict.code - BW_FINAL;
}

// ---- One batch ----

// Tries until it is there, refused, or late; what it answers.
int PostgresDrain::deliver(const Taken &taken) {
  std::size_t count;
  const iovec *const items = bw_batch_items(taken.view, &count);
  if (!check_rows(items, count)) return tell(taken.view);
  for (;;) {
    if (connect(taken.deadline) && copy(taken.view, taken.deadline)) {
      backoff_.reset();
      return 0;
    }
    const int code = tell(taken.view);
    if (!session_.failure().verdict.is_lost) return code;
    session_.close();
    if (!pause(taken.deadline, false)) return code;
  }
}

bool PostgresDrain::check_rows(const iovec *items, std::size_t count) {
  const auto is_row = settings_.is_binary ? is_binary_row : is_text_row;
  const iovec *const bad = std::find_if_not(items, items + count, is_row);
  if (bad == items + count) return true;
  const std::string which = "item " + number(static_cast<std::size_t>(bad - items) + 1);
  return session_.fail({-EINVAL, true, false}, "",
                       which + (settings_.is_binary ? " is not one binary tuple" : " is not one line of COPY text"));
}

// The position goes up by this part, if it has not done so already: then the UPDATE finds no row.
std::string PostgresDrain::statements(bw_batch_view_t *view, Clock::time_point deadline) {
  const PartName part(view);
  const unsigned long long before = base_ + part.first - 1;
  return "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;SET LOCAL lock_timeout=" +
         std::to_string(lock_timeout_ms(deadline)) + ";UPDATE " + progress_ + " SET serial=" + number(part.serial) +
         ",first=" + number(part.first) + ",count=" + number(part.count) +
         ",position=" + number(before + part.count) + ",at=now() WHERE writer=" + session_.literal(settings_.writer) +
         " AND run=" + session_.literal(run_) + " AND position<=" + number(before) + ";COPY " + table_ + columns_ +
         " FROM STDIN" + (settings_.is_binary ? " WITH (FORMAT binary)" : "") + ";COMMIT";
}

bool PostgresDrain::copy(bw_batch_view_t *view, Clock::time_point deadline) {
  std::size_t count;
  const iovec *const items = bw_batch_items(view, &count);
  deadline_ = deadline;
  session_.forget_failure();
  if (!session_.begin(statements(view, deadline))) return false;
  bool is_new = true, is_copying = false, right = true, committed = false;
  while (const Result result = session_.next()) {
    const ExecStatusType status = PQresultStatus(result.get());
    const char *const tag = PQcmdStatus(result.get());
    if (status == PGRES_COPY_IN) {
      is_copying = true;
      if (is_new ? !feed(items, count) : !session_.end("bw: this part may be there already")) return false;
    } else if (status != PGRES_COMMAND_OK) {
      right = session_.fail(result.get());
      if (!is_copying) session_.blame_server(); // no row has been sent yet
    } else if (std::strcmp(tag, "UPDATE 0") == 0) {
      is_new = false;
    } else if (std::strcmp(tag, "COMMIT") == 0) {
      committed = true;
    }
  }
  if (right && !session_.is_open()) return false; // the wait failed, or the reading
  if (is_new && committed) return true;
  session_.roll_back();
  if (!is_new) return session_.is_open() ? ask_what_is_there(view) : false;
  return right ? session_.fail({-EPROTO, false, true}, "", "the transaction was not committed") : false;
}

// Items that lie one behind the other go as one run. A line may lack its newline.
bool PostgresDrain::feed(const iovec *items, std::size_t count) {
  if (settings_.is_binary && !session_.put(kBinaryHead, kBinaryHeadBytes)) return false;
  const char *run = static_cast<const char *>(items[0].iov_base);
  for (std::size_t index = 0; index < count; ++index) {
    const char *const end = static_cast<const char *>(items[index].iov_base) + items[index].iov_len;
    const bool is_whole = settings_.is_binary || (items[index].iov_len > 0 && end[-1] == '\n');
    if (is_whole && index + 1 < count && items[index + 1].iov_base == end) continue;
    if (!session_.put(run, static_cast<std::size_t>(end - run))) return false;
    if (!is_whole && !session_.put("\n", 1)) return false;
    if (index + 1 < count) run = static_cast<const char *>(items[index + 1].iov_base);
  }
  if (settings_.is_binary && !session_.put(kBinaryTail, sizeof kBinaryTail)) return false;
  return session_.end(nullptr);
}

// The row did not change: this part is there already, or the name is not ours any more.
bool PostgresDrain::ask_what_is_there(bw_batch_view_t *view) {
  const PartName part(view);
  std::string found[4];
  session_.forget_failure();
  if (!session_.run("SELECT run,serial,first,count FROM " + progress_ +
                        " WHERE writer=" + session_.literal(settings_.writer),
                    found, 4)) {
    return session_.blame_server();
  }
  if (found[0] == run_ && found[1] == number(part.serial) && found[2] == number(part.first) &&
      found[3] == number(part.count)) {
    return true;
  }
  return session_.fail({-ESTALE, false, false}, "",
                       found[0].empty() ? "the writer's row is gone from the progress table"
                                        : "another batcher has taken the writer's name over");
}

// ---- The connection ----

bool PostgresDrain::connect(Clock::time_point deadline) {
  deadline_ = deadline;
  if (session_.is_open() && ready_) return true;
  session_.forget_failure();
  return prepare() || session_.blame_server();
}

bool PostgresDrain::prepare() {
  if (!session_.is_open() && !session_.connect(settings_.conninfo.c_str())) return false;
  const std::string schema = settings_.schema.empty() ? "" : session_.identifier(settings_.schema) + ".";
  table_ = schema + session_.identifier(settings_.table);
  progress_ = schema + session_.identifier(settings_.progress);
  columns_.clear();
  for (const std::string &column : settings_.columns) {
    columns_ += (columns_.empty() ? " (" : ",") + session_.identifier(column);
  }
  if (!columns_.empty()) columns_ += ")";
  // A server that we have lost without a word, in a transaction that holds our row, must find out in time.
  const std::uint64_t idle_s = std::clamp<std::uint64_t>(timeout_us() / 1000000, 1, kLongestKeepaliveS);
  if (!session_.run("SET tcp_keepalives_idle=" + number(idle_s) + ";SET tcp_keepalives_interval=" + number(idle_s) +
                        ";SET tcp_keepalives_count=2",
                    nullptr, 0)) {
    return false;
  }
  if (ready_) return true;
  if (!find_progress_table() || !take_name()) return false;
  ready_ = true;
  backoff_.reset();
  const bw_postgres_options_t &to = settings_.callbacks;
  if (to.on_ready) to.on_ready(to.arg, base_);
  return true;
}

// CREATE … IF NOT EXISTS wants the right to create even where the table exists.
bool PostgresDrain::find_progress_table() {
  std::string found;
  if (!session_.run("SELECT to_regclass(" + session_.literal(progress_) + ")", &found, 1)) return false;
  if (!found.empty()) return true;
  if (session_.run("CREATE TABLE IF NOT EXISTS " + progress_ +
                       "(writer text PRIMARY KEY,run text NOT NULL,serial bigint NOT NULL,first bigint NOT NULL,"
                       "count bigint NOT NULL,position bigint NOT NULL,at timestamptz NOT NULL DEFAULT now())"
                       "WITH (fillfactor=10)", // each batch changes one row: its next version fits the same page
                   nullptr, 0)) {
    return true;
  }
  // Two that create it at once: the later one may be told of a duplicate in the catalogue.
  const std::string &sqlstate = session_.failure().sqlstate;
  if (sqlstate != "23505" && sqlstate != "42P07" && sqlstate != "42710") return false;
  return session_.fail({-EBUSY, false, true}, sqlstate, std::string(session_.failure().message));
}

// From here on the row is this run's. Waits for a transaction of the one before that still holds it.
bool PostgresDrain::take_name() {
  std::string position;
  if (!session_.run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;SET LOCAL lock_timeout=" +
                        std::to_string(lock_timeout_ms(deadline_)) + ";INSERT INTO " + progress_ +
                        " AS p (writer,run,serial,first,count,position) VALUES (" +
                        session_.literal(settings_.writer) + "," + session_.literal(run_) +
                        ",0,0,0,0) ON CONFLICT (writer) DO UPDATE SET run=excluded.run,serial=0,first=0,count=0,"
                        "at=now() RETURNING position;COMMIT",
                    &position, 1)) {
    return false;
  }
  base_ = std::strtoull(position.c_str(), nullptr, 10);
  return true;
}

} // namespace bwlib
