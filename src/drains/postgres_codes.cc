#include "postgres_codes.h"

#include <cerrno>
#include <cstring>

namespace bwlib {

namespace {

struct Rule {
  const char *prefix; // the first that fits holds
  Verdict verdict;
};

constexpr Verdict final_with(int code) {
  return {code, true, false};
}
constexpr Verdict lost_with(int code) {
  return {code, false, true};
}
constexpr Verdict failed_with(int code) {
  return {code, false, false};
}

constexpr Rule kRules[] = {
    {"08", lost_with(-ECONNRESET)},    // connection exception
    {"22", final_with(-EINVAL)},       // data exception
    {"23505", final_with(-EEXIST)},    // unique violation
    {"23P01", final_with(-EEXIST)},    // exclusion violation
    {"23", final_with(-EINVAL)},       // other integrity constraints
    {"25006", lost_with(-EROFS)},      // read-only: a standby; another try may find the primary
    {"25P03", lost_with(-ECONNRESET)}, // idle for too long in a transaction
    {"28", failed_with(-EACCES)},      // authorization, a wrong password
    {"3D000", failed_with(-ENOENT)},   // no such database
    {"3F000", failed_with(-ENOENT)},   // no such schema
    {"40", lost_with(-EBUSY)},         // deadlock, serialization failure
    {"42501", failed_with(-EACCES)},   // privilege
    {"42703", failed_with(-ENOENT)},   // no such column
    {"42P01", failed_with(-ENOENT)},   // no such table
    {"44", final_with(-EINVAL)},       // WITH CHECK OPTION of a view
    {"53100", failed_with(-ENOSPC)},   // disk full
    {"53200", failed_with(-ENOMEM)},   // out of memory
    {"53300", lost_with(-EBUSY)},      // too many connections
    {"53", failed_with(-EBUSY)},       // other resources
    {"54000", final_with(-EMSGSIZE)},  // a limit of the server: a row that no page holds
    {"55P03", failed_with(-EBUSY)},    // lock_timeout
    {"57014", failed_with(-ETIMEDOUT)},// statement_timeout, or an administrator's cancel
    {"57P", lost_with(-ECONNRESET)},   // shut down, crashed, starting up, dropped
    {"58", failed_with(-EIO)},         // the server's system
    {"P0001", final_with(-EINVAL)},    // a trigger's RAISE EXCEPTION
    {"XX", failed_with(-EIO)},         // internal, corrupted
};

} // namespace

Verdict judge_sqlstate(const char *sqlstate) noexcept {
  for (const Rule &rule : kRules) {
    if (std::strncmp(sqlstate, rule.prefix, std::strlen(rule.prefix)) == 0) return rule.verdict;
  }
  return failed_with(-EREMOTEIO);
}

} // namespace bwlib
