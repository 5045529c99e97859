// Parts: what is left of a list of pieces, as a cursor over the caller's array, which stays as it is.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace bwlib {

class Parts {
 public:
  Parts(const iovec *parts, int count) noexcept : parts_(parts), count_(count) {
    for (int index = 0; index < count; ++index) left_ += parts[index].iov_len;
  }

  std::uint64_t left() const noexcept { return left_; }

  // Drops pieces that are empty or used up; then the piece in front has bytes, unless nothing is left.
  void skip_empty() noexcept {
    while (count_ > 0 && offset_ == parts_->iov_len) {
      ++parts_;
      --count_;
      offset_ = 0;
    }
  }
  // What is left of the first piece.
  const char *front() const noexcept { return static_cast<const char *>(parts_->iov_base) + offset_; }
  std::uint64_t front_length() const noexcept { return count_ ? parts_->iov_len - offset_ : 0; }
  int count() const noexcept { return count_; }

  void consume(std::uint64_t bytes) noexcept {
    left_ -= bytes;
    while (bytes > 0) {
      const std::uint64_t step = std::min<std::uint64_t>(bytes, parts_->iov_len - offset_);
      offset_ += step;
      bytes -= step;
      if (bytes > 0) skip_empty();
    }
  }

  // Copies the next `bytes` to `to` and consumes them.
  void copy_to(char *to, std::uint64_t bytes) noexcept {
    while (bytes > 0) {
      skip_empty();
      const std::uint64_t step = std::min(bytes, front_length());
      std::memcpy(to, front(), step);
      to += step;
      bytes -= step;
      consume(step);
    }
  }

  // The rest as a list: the caller's own array while nothing of it is consumed, else as much as fits `room`.
  struct List {
    const iovec *parts;
    int count;
    std::uint64_t bytes;
  };
  static constexpr int kListRoom = 64;
  List list(iovec (&room)[kListRoom]) const noexcept {
    if (offset_ == 0) return {parts_, count_, left_};
    const int count = std::min(count_, kListRoom);
    List result{room, count, 0};
    for (int index = 0; index < count; ++index) {
      room[index] = parts_[index];
      if (index == 0) room[0] = {const_cast<char *>(front()), front_length()};
      result.bytes += room[index].iov_len;
    }
    return result;
  }

 private:
  const iovec *parts_;
  int count_;
  std::uint64_t offset_ = 0; // consumed of the first piece
  std::uint64_t left_ = 0;
};

} // namespace bwlib
