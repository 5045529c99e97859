// Rows in COPY's two formats: packing one as the pieces of an item, and telling whether an item is one row.
//
// Thread safety: functions on what they are given.
#pragma once

#include <bw/postgres.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace bwlib {

// A list that lies on the stack while it is short.
template <class Value, std::size_t kFew>
class ShortList {
 public:
  // False: no memory.
  bool add(const Value &value) noexcept {
    if (count_ == capacity_ && !grow(capacity_ * 2)) return false;
    data()[count_++] = value;
    return true;
  }
  // Room for so many in all, so that what lies in it stays where it is.
  bool reserve(std::size_t count) noexcept { return count <= capacity_ || grow(count); }
  Value *data() noexcept { return many_ ? many_.get() : few_; }
  std::size_t count() const noexcept { return count_; }

 private:
  bool grow(std::size_t capacity) noexcept {
    std::unique_ptr<Value[]> more(new (std::nothrow) Value[capacity]);
    if (!more) return false;
    for (std::size_t index = 0; index < count_; ++index) more[index] = data()[index];
    many_ = std::move(more);
    capacity_ = capacity;
    return true;
  }

  Value few_[kFew];
  std::unique_ptr<Value[]> many_;
  std::size_t count_ = 0;
  std::size_t capacity_ = kFew;
};

// A row as pieces that lie in the caller's memory, in `lengths_` and in constants: nothing is copied but the lengths.
class RowPieces {
 public:
  // 0 or a code of bw_postgres_send(). What is packed must outlive this.
  int pack(const void *const *values, const std::size_t *lengths, std::size_t count, std::uint32_t format) noexcept;
  const iovec *data() noexcept { return pieces_.data(); }
  int count() const noexcept { return static_cast<int>(pieces_.count()); }

 private:
  bool add(const void *data, std::size_t length) noexcept;
  bool add_escaped(const char *text, std::size_t length) noexcept;
  int pack_text(const void *const *values, const std::size_t *lengths, std::size_t count) noexcept;
  int pack_binary(const void *const *values, const std::size_t *lengths, std::size_t count) noexcept;

  ShortList<iovec, 128> pieces_;
  ShortList<std::uint32_t, 64> lengths_; // big-endian
  std::uint16_t columns_ = 0;            // big-endian
};

inline constexpr std::size_t kLongestValue = INT32_MAX; // what a length of the binary format can say
inline constexpr std::size_t kMostColumns = INT16_MAX;

// Whether an item is exactly one row. Anything else could end the COPY early, or make two rows of one item.
bool is_text_row(const iovec &item) noexcept;
bool is_binary_row(const iovec &item) noexcept;

} // namespace bwlib
