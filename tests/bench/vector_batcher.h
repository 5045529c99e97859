// The batcher that a program writes for itself: a vector with room for a batch, and a function that is called when it
// is full. Pushing is in the floors' shared object, so that it is a call as bw_batch_send() is.
#pragma once

#include <mutex>
#include <vector>

#include "batches.h"

namespace bwbench {

// Takes items[count], which are `bytes` together.
using TakeItems = void (*)(void *arg, const void *items, std::size_t count, std::size_t bytes);

// Items of any length. Thread safety: none. Invariant: there are fewer than kBatchItems items between calls.
class VectorBatcher {
 public:
  VectorBatcher(TakeItems take, void *arg) : take_(take), arg_(arg) { ends_.reserve(kBatchItems); }

  void push(const void *item, std::size_t length) {
    const auto *bytes = static_cast<const char *>(item);
    bytes_.insert(bytes_.end(), bytes, bytes + length);
    ends_.push_back(bytes_.size());
    if (ends_.size() == kBatchItems) flush();
  }
  void flush() {
    take_(arg_, bytes_.data(), ends_.size(), bytes_.size());
    bytes_.clear();
    ends_.clear();
  }

 private:
  std::vector<char> bytes_;
  std::vector<std::size_t> ends_;
  TakeItems take_;
  void *arg_;
};

// The same behind a lock, which is held while a batch is taken. Thread safety: push() from any thread.
class MutexVectorBatcher {
 public:
  MutexVectorBatcher(TakeItems take, void *arg) : batcher_(take, arg) {}

  void push(const void *item, std::size_t length) {
    const std::lock_guard<std::mutex> guard(mutex_);
    batcher_.push(item, length);
  }
  void flush() { batcher_.flush(); }

 private:
  alignas(128) std::mutex mutex_; // those who wait for it shall not take the holder's line with it
  alignas(128) VectorBatcher batcher_;
};

// Items of one length, which the compiler knows: the least there can be to do. Thread safety: none.
template <std::size_t kBytes>
class StructVectorBatcher {
 public:
  StructVectorBatcher(TakeItems take, void *arg) : take_(take), arg_(arg) { items_.reserve(kBatchItems); }

  void push(const void *item, std::size_t) {
    items_.push_back(*static_cast<const Item<kBytes> *>(item));
    if (items_.size() == kBatchItems) flush();
  }
  void flush() {
    take_(arg_, items_.data(), items_.size(), items_.size() * kBytes);
    items_.clear();
  }

 private:
  std::vector<Item<kBytes>> items_;
  TakeItems take_;
  void *arg_;
};

template <class Batcher>
void push_item(Batcher &batcher, const void *item, std::size_t length);

extern template void push_item(VectorBatcher &, const void *, std::size_t);
extern template void push_item(MutexVectorBatcher &, const void *, std::size_t);
extern template void push_item(StructVectorBatcher<16> &, const void *, std::size_t);
extern template void push_item(StructVectorBatcher<64> &, const void *, std::size_t);
extern template void push_item(StructVectorBatcher<1024> &, const void *, std::size_t);

} // namespace bwbench
