// pwrite(2): in the calling thread, or in a few threads of ours.
#include <fcntl.h>
#include <pthread.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <new>

#include "io_engine.h"
#include "process.h"
#include "service_thread.h"
#include "signal_shield.h"

namespace bwlib {

std::int64_t perform(const IoRequest &request, const FileHandles &handles) noexcept {
  const int fd = handles.get(request.is_direct);
  if (fd < 0) return -EBADF;
  if (request.kind == IoRequest::Kind::kSync) return result_of(fdatasync(fd));
  return shielded(request.length, [&] {
    return request.part_count == 1
               ? pwrite(fd, request.parts->iov_base, request.length, request.offset)
               : pwritev(fd, request.parts, static_cast<int>(request.part_count), request.offset);
  });
}

void CallerIo::start(IoRequest &request) noexcept {
  request.result = perform(request, handles_);
  request.next = ended_;
  ended_ = &request;
}

IoRequest *CallerIo::reap(bool) noexcept {
  IoRequest *request = ended_;
  if (request) ended_ = request->next;
  return request;
}

namespace {

class PwriteThreads final : public IoEngine {
 public:
  PwriteThreads(const FileHandles &handles, unsigned depth) noexcept : handles_(handles) {
    const unsigned wanted = depth < kMost ? depth : kMost;
    while (threads_ < wanted && start_thread(handles_of_[threads_], "bw-pwrite", work, this) == 0) ++threads_;
  }

  ~PwriteThreads() override {
    {
      const std::lock_guard lock(mutex_);
      stops_ = true;
    }
    to_do_.notify_all();
    for (unsigned index = 0; index < threads_; ++index) pthread_join(handles_of_[index], nullptr);
  }

  std::uint32_t kind() const noexcept override { return BW_ENGINE_PWRITE; }

  void start(IoRequest &request) noexcept override {
    if (threads_ == 0) {
      request.result = perform(request, handles_);
      const std::lock_guard lock(mutex_);
      ended_.push(request);
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      ++under_way_;
      waiting_.push(request);
    }
    to_do_.notify_one();
  }

  IoRequest *reap(bool waits) noexcept override {
    std::unique_lock lock(mutex_);
    if (waits) has_ended_.wait(lock, [this] { return ended_.first || under_way_ == 0; });
    return ended_.pop();
  }

 private:
  static constexpr unsigned kMost = 4;
  struct Queue {
    IoRequest *first = nullptr;
    IoRequest *last = nullptr;
    void push(IoRequest &request) noexcept {
      request.next = nullptr;
      (first ? last->next : first) = &request;
      last = &request;
    }
    IoRequest *pop() noexcept {
      IoRequest *request = first;
      if (request) first = request->next;
      return request;
    }
  };

  static void *work(void *self) noexcept {
    thread_state.is_service = true;
    static_cast<PwriteThreads *>(self)->run();
    return nullptr;
  }

  void run() noexcept {
    std::unique_lock lock(mutex_);
    for (;;) {
      to_do_.wait(lock, [this] { return waiting_.first || stops_; });
      IoRequest *request = waiting_.pop();
      if (!request) return;
      lock.unlock();
      request->result = perform(*request, handles_);
      lock.lock();
      --under_way_;
      ended_.push(*request);
      has_ended_.notify_all();
    }
  }

  const FileHandles &handles_;
  std::mutex mutex_; // of all below
  std::condition_variable to_do_, has_ended_;
  Queue waiting_, ended_;
  unsigned under_way_ = 0;
  bool stops_ = false;
  unsigned threads_ = 0;
  pthread_t handles_of_[kMost]{};
};

} // namespace

int make_pwrite_threads(std::unique_ptr<IoEngine> &out, const FileHandles &handles, unsigned depth) noexcept {
  out.reset(new (std::nothrow) PwriteThreads(handles, depth));
  return out ? 0 : -ENOMEM;
}

} // namespace bwlib
