// One connection to a server, used without ever waiting in libpq: each call ends by its deadline.
#pragma once

#include <libpq-fe.h>

#include <functional>
#include <memory>
#include <string>

#include "drain.h"
#include "postgres_codes.h"

namespace bwlib {

struct ResultDeleter {
  void operator()(PGresult *result) const noexcept { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ResultDeleter>;

// Thread safety: one thread. Functions that give bool: false is a failure, and failure() says which. After one that
// verdict.is_lost names, or that left the connection in the middle of something (-ETIMEDOUT), it is closed already.
// Out of memory throws std::bad_alloc.
class PostgresSession {
 public:
  // Waits for the socket: 0, or -ETIMEDOUT, or -ESHUTDOWN (stopping).
  using Wait = std::function<int(int fd, short events)>;

  explicit PostgresSession(Wait wait) : wait_(std::move(wait)) {}

  bool is_open() const noexcept { return connection_ != nullptr; }
  int socket() const noexcept { return PQsocket(connection_.get()); }
  bool connect(const char *conninfo);
  void close() noexcept { connection_.reset(); }
  // Something has come though nothing was asked. False: it was the end of the connection.
  bool take_notice();

  // Runs statements, and gives the first row's values of the last that has one.
  bool run(const std::string &sql, std::string *values, int count);
  // Ends a transaction that an error has left open.
  void roll_back();

  // The parts of a COPY: begin() sends statements of which one is a COPY; next() gives result after result, NULL at the
  // end, or when the connection had to be closed; between, put() and end() feed it. The server's own complaint comes
  // as a result after end().
  bool begin(const std::string &sql);
  Result next();
  bool put(const char *data, std::size_t length);
  // `complaint`: NULL, or the COPY is broken off with that.
  bool end(const char *complaint);

  std::string identifier(const std::string &name);
  std::string literal(const std::string &text);

  bool fail(Verdict verdict, std::string sqlstate, std::string message);
  bool fail(const PGresult *result);
  // What failed was not the caller's data, whatever the SQLSTATE says elsewhere.
  bool blame_server() noexcept;
  const Failure &failure() const noexcept { return failure_; }
  void forget_failure() { failure_ = {}; }

 private:
  struct Closer {
    void operator()(PGconn *connection) const noexcept { PQfinish(connection); }
  };

  bool wait_for(short events);
  bool flush();
  bool lose();
  bool fail_connecting();

  const Wait wait_;
  std::unique_ptr<PGconn, Closer> connection_;
  Failure failure_;
};

} // namespace bwlib
