// IoEngine: who carries writes and syncs of one file to the kernel.
//
// Requests are started, and found again by reap() once they have ended; what they mean is FileEngine's business.
// Thread safety: none; all of it belongs to the owner of the sink. Another thread may own it from call to call.
#pragma once

#include <bw/bw.h>
#include <sys/uio.h>

#include <cstdint>
#include <memory>

#include "file_handles.h"

namespace bwlib {

struct IoRequest {
  enum class Kind : std::uint8_t { kWrite, kSync };
  Kind kind = Kind::kWrite;
  bool is_direct = false;   // through the descriptor with O_DIRECT
  unsigned block = 0;       // where the first part lies
  const iovec *parts = nullptr; // what is written, one after another; they stay until it has ended
  unsigned part_count = 0;
  std::uint64_t length = 0; // of all parts
  std::int64_t offset = 0;
  std::uint64_t begin_ns = 0;
  std::int64_t result = 0; // once it has ended: bytes written, 0 for a sync, or -errno
  IoRequest *next = nullptr; // the engine's
};

// Who carries requests out.
enum class Carrier {
  kEngine,  // the engine: nothing is waited for
  kMixed,   // the engine what it does by itself; the calling thread what the kernel would give to a thread of its own
            // (syncs, writes through the page cache)
  kCaller,  // the calling thread
};

// The memory that requests write from.
struct IoBlocks {
  char *data = nullptr;
  std::uint64_t length = 0;
  unsigned count = 0;
};

class IoEngine {
 public:
  virtual ~IoEngine() = default;
  virtual std::uint32_t kind() const noexcept = 0; // BW_ENGINE_*
  virtual bool has_registered_buffers() const noexcept { return false; }
  // A descriptor that becomes readable as requests end is `eventfd`'s: rung for each. 0 or -errno.
  virtual int ring_bell(int) noexcept { return 0; }
  // At most `depth` (as given at creation) are under way at once.
  virtual void start(IoRequest &request) noexcept = 0;
  // One that has ended; nullptr: none. With `waits` it sleeps until one has; not if none is under way.
  virtual IoRequest *reap(bool waits) noexcept = 0;
};

// Carries a request out before start() returns, in the calling thread.
class CallerIo final : public IoEngine {
 public:
  explicit CallerIo(const FileHandles &handles) noexcept : handles_(handles) {}
  std::uint32_t kind() const noexcept override { return BW_ENGINE_PWRITE; }
  void start(IoRequest &request) noexcept override;
  IoRequest *reap(bool waits) noexcept override;

 private:
  const FileHandles &handles_;
  IoRequest *ended_ = nullptr;
};

// What CallerIo does: the request's result.
std::int64_t perform(const IoRequest &request, const FileHandles &handles) noexcept;

// io_uring, without a thread of its own. 0, or the kernel's refusal.
int make_uring(std::unique_ptr<IoEngine> &out, const FileHandles &handles, unsigned depth,
               const IoBlocks &blocks) noexcept;
// pwrite(2) in a few threads of ours. 0 or -ENOMEM; where no thread can be had, whoever starts a request does it.
int make_pwrite_threads(std::unique_ptr<IoEngine> &out, const FileHandles &handles, unsigned depth) noexcept;

} // namespace bwlib
