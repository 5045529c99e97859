#include "aligned_memory.h"

#include <sys/mman.h>

#include <cassert>
#include <cerrno>

namespace bwlib {

static_assert(align_up(1, kPageBytes) == kPageBytes && align_up(kPageBytes, kPageBytes) == kPageBytes);

Mapping::~Mapping() {
  if (data_) munmap(data_, bytes_);
}

int Mapping::map(std::size_t bytes) noexcept {
  assert(!data_ && bytes > 0);
  void *data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return -ENOMEM;
  data_ = static_cast<char *>(data);
  bytes_ = bytes;
  return 0;
}

} // namespace bwlib
