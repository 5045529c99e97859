// The texts of codes. All of them are static, ours here and glibc's for errno values, so nothing can fail or leak.
#include <bw/bw.h>

#include <climits>
#include <cstring>

namespace {

// A code as bw_* functions return it to the errno value inside; 0 for what cannot be one.
constexpr int errno_of(int code) noexcept {
  return code < 0 && code > INT_MIN ? -code : 0;
}

} // namespace

const char *bw_strerror(int code) noexcept {
  switch (code) {
    case 0:
      return "success";
#define BW_MESSAGE_CASE(name, value, message) \
    case value:                               \
      return message;
    BW_ERROR_MAP(BW_MESSAGE_CASE)
#undef BW_MESSAGE_CASE
    default:
      break;
  }
  const char *description = errno_of(code) != 0 ? strerrordesc_np(errno_of(code)) : nullptr;
  return description ? description : "unknown error";
}

const char *bw_err_name(int code) noexcept {
  switch (code) {
    case 0:
      return "OK";
#define BW_NAME_CASE(name, value, message) \
    case value:                            \
      return #name;
    BW_ERROR_MAP(BW_NAME_CASE)
#undef BW_NAME_CASE
    default:
      break;
  }
  const char *name = errno_of(code) != 0 ? strerrorname_np(errno_of(code)) : nullptr;
  return name ? name : "UNKNOWN";
}
