#include "postgres_row.h"

#include <arpa/inet.h>

#include <cerrno>
#include <climits>
#include <cstring>

namespace bwlib {

namespace {

constexpr char kEscapes[] = "\\b\\t\\n\\v\\f\\r"; // for '\b' (8) to '\r' (13), two characters each

const char *escape_of(char byte) noexcept {
  if (byte >= '\b' && byte <= '\r') return kEscapes + 2 * (byte - '\b');
  return byte == '\\' ? "\\\\" : nullptr;
}

} // namespace

// ---- Packing ----

int RowPieces::pack(const void *const *values, const std::size_t *lengths, std::size_t count,
                    std::uint32_t format) noexcept {
  const int code = format == BW_POSTGRES_TEXT ? pack_text(values, lengths, count) : pack_binary(values, lengths, count);
  if (code) return code;
  return pieces_.count() > INT_MAX ? -EMSGSIZE : 0;
}

bool RowPieces::add(const void *data, std::size_t length) noexcept {
  return length == 0 || pieces_.add({const_cast<void *>(data), length});
}

// The runs between what is escaped, and the escapes.
bool RowPieces::add_escaped(const char *text, std::size_t length) noexcept {
  const char *run = text;
  const char *const end = text + length;
  for (const char *at = text; at < end; ++at) {
    const char *const escape = escape_of(*at);
    if (!escape) continue;
    if (!add(run, static_cast<std::size_t>(at - run)) || !add(escape, 2)) return false;
    run = at + 1;
  }
  return add(run, static_cast<std::size_t>(end - run));
}

int RowPieces::pack_text(const void *const *values, const std::size_t *lengths, std::size_t count) noexcept {
  for (std::size_t index = 0; index < count; ++index) {
    const char *const text = static_cast<const char *>(values[index]);
    const std::size_t length = !text ? 0 : lengths ? lengths[index] : std::strlen(text);
    if (length > kLongestValue) return -EMSGSIZE;
    if (index > 0 && !add("\t", 1)) return -ENOMEM;
    if (!(text ? add_escaped(text, length) : add("\\N", 2))) return -ENOMEM;
  }
  return add("\n", 1) ? 0 : -ENOMEM;
}

int RowPieces::pack_binary(const void *const *values, const std::size_t *lengths, std::size_t count) noexcept {
  columns_ = htons(static_cast<std::uint16_t>(count));
  if (!lengths_.reserve(count) || !add(&columns_, sizeof columns_)) return -ENOMEM;
  for (std::size_t index = 0; index < count; ++index) {
    const std::size_t length = values[index] ? lengths[index] : 0;
    if (length > kLongestValue) return -EMSGSIZE;
    lengths_.add(values[index] ? htonl(static_cast<std::uint32_t>(length)) : UINT32_MAX); // -1 is NULL
    if (!add(lengths_.data() + index, sizeof(std::uint32_t)) || !add(values[index], length)) return -ENOMEM;
  }
  return 0;
}

// ---- Looking at an item ----

// A line without its newline, or with it: no raw newline or return within, no end-of-data mark, and no backslash that
// would take the newline behind it into the data.
bool is_text_row(const iovec &item) noexcept {
  const char *at = static_cast<const char *>(item.iov_base);
  std::size_t length = item.iov_len;
  if (length > 0 && at[length - 1] == '\n') --length;
  if (length == 0) return true;
  if (std::memchr(at, '\n', length) || std::memchr(at, '\r', length)) return false;
  const char *const end = at + length;
  while ((at = static_cast<const char *>(std::memchr(at, '\\', static_cast<std::size_t>(end - at))))) {
    if (at + 1 == end || at[1] == '.') return false;
    at += 2;
  }
  return true;
}

// A count of columns, then that many lengths, each with its bytes, and nothing behind them.
bool is_binary_row(const iovec &item) noexcept {
  const char *at = static_cast<const char *>(item.iov_base);
  std::size_t left = item.iov_len;
  std::uint16_t columns;
  if (left < sizeof columns) return false;
  std::memcpy(&columns, at, sizeof columns);
  columns = ntohs(columns);
  if (columns > kMostColumns) return false; // -1 would be the end of the data
  at += sizeof columns;
  left -= sizeof columns;
  for (; columns > 0; --columns) {
    std::uint32_t length;
    if (left < sizeof length) return false;
    std::memcpy(&length, at, sizeof length);
    length = ntohl(length);
    at += sizeof length;
    left -= sizeof length;
    if (length == UINT32_MAX) continue; // NULL
    if (length > kLongestValue || length > left) return false;
    at += length;
    left -= length;
  }
  return left == 0;
}

} // namespace bwlib
