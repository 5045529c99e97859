#include "postgres_session.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace bwlib {

namespace {

constexpr Verdict kLost{-ECONNRESET, false, true};

// libpq's messages end with newlines.
std::string trimmed(const char *message) {
  std::string text = message ? message : "";
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

bool is_of_sqlstate(char byte) noexcept {
  return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z');
}

// A connection that was refused has no result to ask for its SQLSTATE, but a verbose message has it after the severity:
// "FATAL:  28P01: password …". The last one counts, where several hosts were tried.
std::string sqlstate_in(const std::string &message) {
  std::string found;
  for (std::size_t at = 0; at + 8 < message.size(); ++at) {
    if (message.compare(at, 3, ":  ") != 0 || message[at + 8] != ':') continue;
    const char *const begin = message.data() + at + 3;
    if (std::all_of(begin, begin + 5, is_of_sqlstate)) found.assign(begin, 5);
  }
  return found;
}

std::string field(const PGresult *result, int which) {
  const char *const text = PQresultErrorField(result, which);
  return text ? text : "";
}

} // namespace

// ---- Failing ----

bool PostgresSession::fail(Verdict verdict, std::string sqlstate, std::string message) {
  failure_ = {verdict, std::move(sqlstate), std::move(message), {}, {}};
  return false;
}

bool PostgresSession::fail(const PGresult *result) {
  failure_.sqlstate = field(result, PG_DIAG_SQLSTATE);
  failure_.message = field(result, PG_DIAG_MESSAGE_PRIMARY);
  if (failure_.message.empty()) failure_.message = trimmed(PQresultErrorMessage(result)); // libpq's own
  failure_.detail = field(result, PG_DIAG_MESSAGE_DETAIL);
  failure_.context = field(result, PG_DIAG_CONTEXT);
  failure_.verdict = failure_.sqlstate.empty() ? kLost : judge_sqlstate(failure_.sqlstate.c_str());
  return false;
}

bool PostgresSession::blame_server() noexcept {
  failure_.verdict.is_final = false;
  return false;
}

bool PostgresSession::lose() {
  fail(kLost, "", trimmed(PQerrorMessage(connection_.get())));
  close();
  return false;
}

bool PostgresSession::fail_connecting() {
  const std::string message = trimmed(PQerrorMessage(connection_.get()));
  const std::string sqlstate = sqlstate_in(message);
  fail(sqlstate.empty() ? Verdict{-ECONNREFUSED, false, true} : judge_sqlstate(sqlstate.c_str()), sqlstate, message);
  close();
  return false;
}

bool PostgresSession::wait_for(short events) {
  const int code = wait_(socket(), events);
  if (code == 0) return true;
  fail({code, false, false}, "", code == -ETIMEDOUT ? "the server did not answer in time" : "the batcher is closed");
  close();
  return false;
}

// ---- Connecting ----

bool PostgresSession::connect(const char *conninfo) {
  connection_.reset(PQconnectStart(conninfo));
  if (!connection_) throw std::bad_alloc();
  PGconn *const connection = connection_.get();
  PQsetErrorVerbosity(connection, PQERRORS_VERBOSE);
  PQsetNoticeReceiver(connection, [](void *, const PGresult *) {}, nullptr); // libpq would print them
  if (PQstatus(connection) == CONNECTION_BAD) return fail_connecting();
  for (PostgresPollingStatusType polled = PGRES_POLLING_WRITING; polled != PGRES_POLLING_OK;
       polled = PQconnectPoll(connection)) {
    if (polled == PGRES_POLLING_FAILED) return fail_connecting();
    if (!wait_for(polled == PGRES_POLLING_READING ? POLLIN : POLLOUT)) return false;
  }
  return PQsetnonblocking(connection, 1) == 0 || lose();
}

bool PostgresSession::take_notice() {
  if (!PQconsumeInput(connection_.get())) return lose();
  // A server that goes away says so in a message, and libpq takes that for the end only once it has read on.
  while (const Result said{PQgetResult(connection_.get())}) {
  }
  return PQstatus(connection_.get()) == CONNECTION_OK || lose();
}

// ---- Asking ----

// Sends all that libpq holds; what comes meanwhile is read, for a server that waits for us to read does not read.
bool PostgresSession::flush() {
  for (;;) {
    const int left = PQflush(connection_.get());
    if (left < 0) return lose();
    if (left == 0) return true;
    if (!wait_for(POLLIN | POLLOUT)) return false;
    if (!PQconsumeInput(connection_.get())) return lose();
  }
}

bool PostgresSession::begin(const std::string &sql) {
  return (PQsendQuery(connection_.get(), sql.c_str()) == 1 || lose()) && flush();
}

Result PostgresSession::next() {
  while (is_open() && PQisBusy(connection_.get())) {
    if (!wait_for(POLLIN)) return {};
    if (!PQconsumeInput(connection_.get())) {
      lose();
      return {};
    }
  }
  return Result(is_open() ? PQgetResult(connection_.get()) : nullptr);
}

bool PostgresSession::run(const std::string &sql, std::string *values, int count) {
  if (!begin(sql)) return false;
  bool right = true;
  while (const Result result = next()) {
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_TUPLES_OK && PQntuples(result.get()) > 0) {
      for (int index = 0; index < std::min(count, PQnfields(result.get())); ++index) {
        values[index] = PQgetvalue(result.get(), 0, index); // "" of a NULL
      }
    } else if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
      right = fail(result.get());
    }
  }
  if (right && !is_open()) return false;
  if (!right) roll_back();
  return right;
}

void PostgresSession::roll_back() {
  if (!is_open()) return;
  if (failure_.verdict.is_lost || PQstatus(connection_.get()) != CONNECTION_OK) return close();
  if (PQtransactionStatus(connection_.get()) == PQTRANS_IDLE) return;
  const Failure cause = failure_;
  bool right = begin("ROLLBACK");
  while (const Result result = next()) right = right && PQresultStatus(result.get()) == PGRES_COMMAND_OK;
  if (!right) close();
  failure_ = cause;
}

// ---- Copying ----

bool PostgresSession::put(const char *data, std::size_t length) {
  constexpr std::size_t kPiece = 64 * 1024; // libpq holds one of them, however large the batch is
  while (length > 0) {
    const std::size_t piece = std::min(length, kPiece);
    const int taken = PQputCopyData(connection_.get(), data, static_cast<int>(piece));
    if (taken < 0) return lose();
    if (taken == 0) throw std::bad_alloc(); // non-blocking, libpq grows its buffer instead of waiting
    if (!flush()) return false;
    data += piece;
    length -= piece;
  }
  return true;
}

bool PostgresSession::end(const char *complaint) {
  return (PQputCopyEnd(connection_.get(), complaint) == 1 || lose()) && flush();
}

// ---- Spelling ----

std::string PostgresSession::identifier(const std::string &name) {
  const std::unique_ptr<char, void (*)(void *)> quoted(
      PQescapeIdentifier(connection_.get(), name.data(), name.size()), PQfreemem);
  if (!quoted) throw std::bad_alloc();
  return quoted.get();
}

std::string PostgresSession::literal(const std::string &text) {
  const std::unique_ptr<char, void (*)(void *)> quoted(PQescapeLiteral(connection_.get(), text.data(), text.size()),
                                                       PQfreemem);
  if (!quoted) throw std::bad_alloc();
  return quoted.get();
}

} // namespace bwlib
