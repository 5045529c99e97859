// What went wrong with a server, and what that means for the batch.
#pragma once

#include <string>

namespace bwlib {

// What a SQLSTATE means.
struct Verdict {
  int code;      // for the batcher, never one that means something else there (-EAGAIN, -EINTR, -ECANCELED, -ENOBUFS)
  bool is_final; // the data's fault: refused for good
  bool is_lost;  // the connection's or the moment's: worth another try on a new connection
};

Verdict judge_sqlstate(const char *sqlstate) noexcept;

// A failure, with what the server said.
struct Failure {
  Verdict verdict{};
  std::string sqlstate, message, detail, context;
};

} // namespace bwlib
