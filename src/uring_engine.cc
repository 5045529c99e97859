// io_uring. The only file that knows liburing.
//
// Any thread that owns the sink may submit and reap; the kernel cancels what a thread that exits had submitted and not
// started (-ECANCELED), which FileEngine starts again. Files are registered, so that a number that was closed behind
// our back cannot lead to a stranger. Each refinement is dropped where the kernel refuses it.
#include <liburing.h>
#include <sys/uio.h>
#include <time.h>

#include <cerrno>
#include <memory>
#include <new>

#include "io_engine.h"
#include "owned_fd.h"
#include "signal_shield.h"

namespace bwlib {

namespace {

constexpr int kCachedFile = 0;
constexpr int kDirectFile = 1;
constexpr int kBlocks = 0; // registered buffers: all blocks are one
constexpr std::uint8_t kWritevFixed = 61; // IORING_OP_WRITEV_FIXED, since 6.15
// How often in a row the kernel may put us off before we do without the ring.
constexpr unsigned kMostRefusals = 64;
constexpr long kPauseNs = 1'000'000;

void pause_a_moment() noexcept {
  const timespec pause{0, kPauseNs};
  nanosleep(&pause, nullptr);
}

class UringEngine final : public IoEngine {
 public:
  explicit UringEngine(const FileHandles &handles) noexcept : handles_(handles) {}
  ~UringEngine() override {
    if (has_files_) io_uring_unregister_files(&ring_); // else the file stays open until the ring is gone, some ms later
    if (!is_set_up_) return;
    ring_.ring_fd = number_.get(); // a stranger with its number stays open
    number_.abandon();
    io_uring_queue_exit(&ring_);
  }

  int set_up(unsigned depth, const IoBlocks &blocks) noexcept {
    io_uring_params params{};
    params.flags = IORING_SETUP_CLAMP | IORING_SETUP_COOP_TASKRUN;
    int code = io_uring_queue_init_params(depth, &ring_, &params);
    if (code == -EINVAL) { // before 5.19
      params = {};
      params.flags = IORING_SETUP_CLAMP;
      code = io_uring_queue_init_params(depth, &ring_, &params);
    }
    if (code) return code;
    is_set_up_ = true;
    if (const int refusal = number_.adopt(ring_.ring_fd)) return refusal;
    ring_.ring_fd = ring_.enter_ring_fd = number_.number();
    const int files[] = {handles_.number(false), handles_.number(true)}; // -1: an empty place
    has_files_ = io_uring_register_files(&ring_, files, handles_.has_direct() ? 2 : 1) == 0;
    register_blocks(blocks);
    return 0;
  }

  std::uint32_t kind() const noexcept override { return BW_ENGINE_URING; }
  bool has_registered_buffers() const noexcept override { return has_blocks_; }
  int ring_bell(int bell) noexcept override { return io_uring_register_eventfd(&ring_, bell); }

  void start(IoRequest &request) noexcept override {
    io_uring_sqe *sqe = is_broken_ ? nullptr : io_uring_get_sqe(&ring_);
    if (!sqe) {
      finish(request, perform(request, handles_));
      return;
    }
    const int file = has_files_ ? (request.is_direct ? kDirectFile : kCachedFile) : handles_.get(request.is_direct);
    const auto offset = static_cast<std::uint64_t>(request.offset);
    const auto length = static_cast<unsigned>(request.length);
    if (request.kind == IoRequest::Kind::kSync) {
      io_uring_prep_fsync(sqe, file, IORING_FSYNC_DATASYNC);
    } else if (request.part_count > 1) {
      io_uring_prep_writev(sqe, file, request.parts, request.part_count, offset);
      if (can_gather_blocks_) sqe->opcode = kWritevFixed;
    } else if (has_blocks_) {
      io_uring_prep_write_fixed(sqe, file, request.parts->iov_base, length, offset, kBlocks);
    } else {
      io_uring_prep_write(sqe, file, request.parts->iov_base, length, offset);
    }
    if (has_files_) sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data(sqe, &request);
    request.next = nullptr;
    (queued_ ? last_queued_->next : queued_) = &request;
    last_queued_ = &request;
  }

  IoRequest *reap(bool waits) noexcept override {
    for (;;) {
      if (IoRequest *request = ended_) {
        ended_ = request->next;
        return request;
      }
      const bool has_entry = io_uring_cq_ready(&ring_) > 0;
      const bool may_wait = waits && !has_entry && (under_way_ > 0 || queued_);
      if (queued_ || may_wait) enter(may_wait);
      io_uring_cqe *entry;
      if (io_uring_peek_cqe(&ring_, &entry) == 0) {
        auto *request = static_cast<IoRequest *>(io_uring_cqe_get_data(entry));
        request->result = entry->res;
        io_uring_cqe_seen(&ring_, entry);
        --under_way_;
        return request;
      }
      if (!ended_ && !(waits && (under_way_ > 0 || queued_))) return nullptr;
    }
  }

 private:
  void register_blocks(const IoBlocks &blocks) noexcept {
    const iovec all{blocks.data, blocks.length};
    has_blocks_ = io_uring_register_buffers(&ring_, &all, 1) == 0; // up to 1 GiB
    if (!has_blocks_) return;
    if (io_uring_probe *probe = io_uring_get_probe_ring(&ring_)) {
      can_gather_blocks_ = io_uring_opcode_supported(probe, kWritevFixed);
      io_uring_free_probe(probe);
    }
  }

  void finish(IoRequest &request, std::int64_t result) noexcept {
    request.result = result;
    request.next = ended_;
    ended_ = &request;
  }

  // Submits what is queued; sleeps for an end if told to. A ring that the kernel serves no more (its descriptor was
  // closed behind our back, say) is given up: what it had not taken is done here, and what it had is waited for.
  void enter(bool waits) noexcept {
    if (is_broken_) {
      pause_a_moment(); // what is under way ends without us
      return;
    }
    const SignalShield shield; // the kernel may find the limit of RLIMIT_FSIZE before it returns
    const int answer = waits ? io_uring_submit_and_wait(&ring_, 1) : io_uring_submit(&ring_);
    shield.swallow(EFBIG);
    if (answer >= 0) {
      refusals_ = 0;
      for (int count = answer; count > 0 && queued_; --count) {
        queued_ = queued_->next;
        ++under_way_;
      }
      return;
    }
    const bool is_put_off = answer == -EAGAIN || answer == -EBUSY || answer == -EINTR || answer == -ENOMEM;
    if (is_put_off && ++refusals_ < kMostRefusals) {
      if (answer != -EINTR) pause_a_moment();
      return;
    }
    is_broken_ = true;
    while (IoRequest *request = queued_) {
      queued_ = request->next;
      finish(*request, perform(*request, handles_));
    }
  }

  const FileHandles &handles_;
  io_uring ring_{};
  OwnedFd number_; // of the ring
  bool is_set_up_ = false;
  bool has_files_ = false;
  bool has_blocks_ = false;
  bool can_gather_blocks_ = false; // also by writev
  bool is_broken_ = false;
  unsigned refusals_ = 0;
  unsigned under_way_ = 0;          // taken by the kernel
  IoRequest *queued_ = nullptr;     // in the ring, not taken yet; oldest first
  IoRequest *last_queued_ = nullptr;
  IoRequest *ended_ = nullptr; // done without the ring
};

} // namespace

int make_uring(std::unique_ptr<IoEngine> &out, const FileHandles &handles, unsigned depth,
               const IoBlocks &blocks) noexcept {
  std::unique_ptr<UringEngine> engine(new (std::nothrow) UringEngine(handles));
  if (!engine) return -ENOMEM;
  if (const int code = engine->set_up(depth, blocks)) return code;
  out = std::move(engine);
  return 0;
}

} // namespace bwlib
