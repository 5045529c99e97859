#include "file_engine.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "aligned_memory.h"
#include "process.h"

namespace bwlib {

namespace {

// Preallocation of our own choice doubles the file, within these bounds: a small file is not worth the call.
constexpr std::uint64_t kFirstStep = std::uint64_t{8} << 20;
constexpr std::uint64_t kLastStep = std::uint64_t{256} << 20;
constexpr long kPauseNs = 100'000;

} // namespace

// ---- Opening ----

int FileEngine::open(std::unique_ptr<FileEngine> &out, const char *path, int oflags, unsigned mode,
                     const bw_options_t &options) noexcept {
  const int access = oflags & O_ACCMODE;
  if ((access != O_WRONLY && access != O_RDWR) || oflags & O_PATH) return -EINVAL;
  std::unique_ptr<FileEngine> file(new (std::nothrow) FileEngine);
  if (!file) return -ENOMEM;
  if (const int code = file->open_file(path, oflags, mode, options)) return code;
  out = std::move(file);
  return 0;
}

int FileEngine::open_file(const char *path, int oflags, unsigned mode, const bw_options_t &options) noexcept {
  if (const int code = handles_.open(path, oflags, mode)) return code;
  if (!is_regular()) return 0;
  const std::int64_t size = handles_.size();
  if (size < 0) return static_cast<int>(size);
  size_ = allocated_ = grown_from_ = size;
  is_append_ = oflags & O_APPEND;
  is_caller_driven_ = options.flags & BW_CALLER_DRIVEN;
  wanted_engine_ = options.engine;
  first_position_ = is_append_ ? size : 0;
  is_fresh_ = oflags & (O_CREAT | O_TRUNC);
  needs_directory_ = oflags & O_CREAT;
  is_step_ours_ = options.preallocate == 0;
  step_ = is_append_ || options.preallocate == UINT64_MAX ? 0 : is_step_ours_ ? kFirstStep : options.preallocate;
  if (!is_append_ && !(options.flags & BW_BUFFERED) && direct_fits()) is_direct_ = handles_.add_direct() == 0;
  return 0;
}

// Whether the filesystem can write whole units at multiples of a unit; where it does not tell, a write will.
bool FileEngine::direct_fits() const noexcept {
#ifdef STATX_DIOALIGN
  struct statx status;
  if (statx(descriptor(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 && status.stx_mask & STATX_DIOALIGN)
    return status.stx_dio_offset_align != 0 && kUnit % status.stx_dio_offset_align == 0 &&
           kUnit % status.stx_dio_mem_align == 0;
#endif
  return true;
}

int FileEngine::attach(const IoBlocks &blocks) noexcept {
  count_ = blocks.count;
  flights_.reset(new (std::nothrow) Flight[count_]);
  run_parts_.reset(new (std::nothrow) iovec[count_]);
  if (!flights_ || !run_parts_) return -ENOMEM;
  if (const int code = choose_engine(blocks)) return code;
  kind_.store(engine_->kind(), std::memory_order_relaxed);
  has_registered_buffers_.store(engine_->has_registered_buffers(), std::memory_order_relaxed);
  return 0;
}

int FileEngine::choose_engine(const IoBlocks &blocks) noexcept {
  const unsigned depth = count_ + 1; // and a sync
  if (wanted_engine_ != BW_ENGINE_PWRITE) {
    const int code = make_uring(engine_, handles_, depth, blocks);
    if (code == 0 || wanted_engine_ == BW_ENGINE_URING) return code;
  }
  if (!is_caller_driven_) return make_pwrite_threads(engine_, handles_, depth);
  engine_.reset(new (std::nothrow) CallerIo(handles_));
  return engine_ ? 0 : -ENOMEM;
}

void FileEngine::start(Carrier carrier, IoRequest &request) noexcept {
  const bool is_callers = carrier == Carrier::kCaller || (carrier == Carrier::kMixed && !request.is_direct);
  request.begin_ns = now_ns();
  if (is_callers) {
    caller_io_.start(request);
  } else {
    engine_->start(request);
  }
}

IoRequest *FileEngine::reap(bool waits) noexcept {
  IoRequest *request = caller_io_.reap(false);
  return request ? request : engine_->reap(waits);
}

// ---- Writes ----

void FileEngine::begin(unsigned index, const Block &block) noexcept {
  Flight &flight = flights_[index];
  flight.next = block.start;
  flight.is_begun = true;
  flight.is_doubted = false;
}

bool FileEngine::start_write(Carrier carrier, unsigned index, const Block &block, std::uint64_t limit,
                             bool is_oldest) noexcept {
  Flight &flight = flights_[index];
  const std::uint64_t end = std::min(block.end, limit);
  if (flight.is_under_way || flight.next >= end) return false;
  const std::uint64_t from = flight.next;
  const std::int64_t offset = block.base + static_cast<std::int64_t>(from);
  const bool begins_inside = block.start % kUnit != 0;
  const bool joins = continues_run(offset);
  const bool is_inside = block.base + static_cast<std::int64_t>(end) <= size_;
  if (!is_oldest && !joins && (begins_inside || is_append_ || !is_inside)) return false;
  const std::uint64_t inside = from % kUnit;
  // A small block with ends inside units would take three writes: then one through the page cache is cheaper.
  const bool is_small = block.end - block.start < kSmallBytes && (begins_inside || block.end % kUnit != 0);
  const bool wants_direct = is_direct() && !is_small;
  const bool direct = wants_direct && !flight.is_doubted && inside == 0 && end - from >= kUnit;
  std::uint64_t to = end;
  if (direct) {
    to = align_down(end, kUnit);
  } else if (wants_direct && inside > 0) {
    to = std::min(end, from - inside + kUnit);
  }
  if (joins && !direct) return false;
  flight.is_under_way = true;
  flight.part = {block.data + from, to - from};
  if (joins) {
    run_parts_[run_->part_count++] = flight.part;
    run_->length += flight.part.iov_len;
    return true;
  }
  under_way_.fetch_add(1, std::memory_order_relaxed);
  IoRequest &request = flight.request;
  request.kind = IoRequest::Kind::kWrite;
  request.is_direct = direct;
  request.block = index;
  request.parts = &flight.part;
  request.part_count = 1;
  request.length = flight.part.iov_len;
  request.offset = offset;
  const std::int64_t reaches = offset + static_cast<std::int64_t>(request.length);
  if (reaches <= size_) {
    start(carrier, request);
  } else {
    run_ = &request;
    run_parts_[0] = flight.part;
    request.parts = run_parts_.get();
  }
  return true;
}

// Half of the blocks at most go at once: the others are filled meanwhile.
bool FileEngine::continues_run(std::int64_t offset) const noexcept {
  return run_ && run_->is_direct && !run_is_doubted_ && run_->part_count < count_ / 2 &&
         run_->offset + static_cast<std::int64_t>(run_->length) == offset;
}

void FileEngine::start_run(Carrier carrier) noexcept {
  if (!run_) return;
  IoRequest &request = *std::exchange(run_, nullptr);
  preallocate(request.offset, request.offset + static_cast<std::int64_t>(request.length));
  start(carrier, request);
}

int FileEngine::end_write(const IoRequest &request) noexcept {
  under_way_.fetch_sub(1, std::memory_order_relaxed);
  const std::int64_t result = request.result;
  auto left = static_cast<std::uint64_t>(std::max<std::int64_t>(result, 0));
  for (unsigned part = 0; part < request.part_count; ++part) {
    Flight &flight = flights_[(request.block + part) % count_];
    const std::uint64_t written = std::min<std::uint64_t>(left, flight.part.iov_len);
    flight.is_under_way = false;
    flight.next += written;
    left -= written;
  }
  Flight &flight = flights_[request.block];
  if (result == -EINTR || result == -ECANCELED) return 0;
  if (result == -EAGAIN) {
    const timespec pause{0, kPauseNs};
    nanosleep(&pause, nullptr);
    return 0;
  }
  run_is_doubted_ = result == -EINVAL && request.part_count > 1;
  if (run_is_doubted_) return 0;
  if (result == -EINVAL && request.is_direct) {
    flight.is_doubted = true; // alignment, or a limit that the page cache names better
    return 0;
  }
  if (result < 0) return static_cast<int>(result);
  if (result == 0) return BW_EWRITEZERO;
  if (flight.is_doubted && static_cast<std::uint64_t>(result) == request.length)
    is_direct_.store(false, std::memory_order_relaxed); // it is O_DIRECT that the filesystem does not want
  flight.is_doubted = false;
  size_ = std::max(size_, request.offset + result);
  return 0;
}

void FileEngine::forget() noexcept {
  for (unsigned index = 0; index < count_; ++index) flights_[index].is_begun = false;
  give_back();
  grown_from_ = size_;
}

// Cutting at the present size frees what is reserved beyond. Where somebody else lengthened the file, it stays.
void FileEngine::give_back() noexcept {
  const int fd = allocated_ > size_ ? handles_.get(false) : -1;
  if (fd >= 0 && handles_.size() == size_ && ftruncate(fd, size_) == 0) allocated_ = size_;
}

// Space for what is to come after [start, end), so that the filesystem need not look for it at each write. The size
// stays.
void FileEngine::preallocate(std::int64_t start, std::int64_t end) noexcept {
  if (step_ == 0 || end <= allocated_) return;
  const auto grown = static_cast<std::uint64_t>(end - std::min(start, grown_from_));
  if (is_step_ours_) {
    if (grown < kFirstStep) return;
    step_ = std::clamp(align_down(grown, kFirstStep), kFirstStep, kLastStep);
  }
  const std::int64_t from = std::max(allocated_, start);
  if (step_ > static_cast<std::uint64_t>(INT64_MAX - end)) return;
  const std::int64_t to = static_cast<std::int64_t>(align_up(static_cast<std::uint64_t>(end), kUnit) + step_);
  const int fd = handles_.get(false);
  if (fd >= 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, from, to - from) == 0) {
    allocated_ = to;
  } else {
    step_ = 0; // it cannot, or has no room left: the writes will tell
  }
}

// ---- Syncs ----

void FileEngine::start_sync(Carrier carrier) noexcept {
  is_syncing_ = true;
  under_way_.fetch_add(1, std::memory_order_relaxed);
  sync_.kind = IoRequest::Kind::kSync;
  sync_.is_direct = false;
  sync_.length = 0;
  start(carrier, sync_);
}

int FileEngine::end_sync(const IoRequest &request) noexcept {
  is_syncing_ = false;
  under_way_.fetch_sub(1, std::memory_order_relaxed);
  if (request.result < 0) return static_cast<int>(request.result);
  if (needs_directory_) {
    if (const int code = handles_.sync_directory()) return code;
  }
  needs_directory_ = false;
  is_fresh_.store(false, std::memory_order_release);
  return 0;
}

// ---- The rest ----

std::int64_t FileEngine::seek(std::int64_t offset, int whence, std::int64_t current) noexcept {
  std::int64_t from = 0;
  switch (whence) {
    case SEEK_SET: break;
    case SEEK_CUR: from = current; break;
    case SEEK_END: from = handles_.size(); break;
    case SEEK_DATA:
    case SEEK_HOLE: {
      const int fd = handles_.get(false);
      if (fd < 0) return -EBADF;
      const off_t position = lseek(fd, offset, whence);
      return position < 0 ? -errno : position;
    }
    default: return -EINVAL;
  }
  if (from < 0) return from; // size() failed
  std::int64_t position;
  if (__builtin_add_overflow(from, offset, &position)) return -EOVERFLOW;
  return position < 0 ? -EINVAL : position;
}

// Through the page cache.
std::int64_t FileEngine::write_now(const char *data, std::uint64_t length, std::int64_t position) noexcept {
  const iovec part{const_cast<char *>(data), std::min(length, kLastStep)};
  IoRequest request;
  request.parts = &part;
  request.part_count = 1;
  request.length = part.iov_len;
  request.offset = position;
  const std::int64_t answer = perform(request, handles_);
  if (answer > 0) size_ = std::max(size_, position + answer);
  return answer;
}

std::int64_t FileEngine::read(void *data, std::size_t length, std::int64_t position) noexcept {
  const int fd = handles_.get(false);
  if (fd < 0) return -EBADF;
  ssize_t answer;
  do {
    answer = pread(fd, data, length, position);
  } while (answer < 0 && errno == EINTR);
  return answer < 0 ? -errno : answer;
}

int FileEngine::close() noexcept {
  give_back();
  engine_.reset();
  return handles_.close();
}

void FileEngine::leave() noexcept {
  close();
  kind_.store(0, std::memory_order_relaxed);
  has_registered_buffers_.store(false, std::memory_order_relaxed);
  is_direct_.store(false, std::memory_order_relaxed);
}

void FileEngine::abandon() noexcept {
  // Its threads and rings are the parent's. It cannot be taken down here; only its memory is given back.
  ::operator delete(dynamic_cast<void *>(engine_.release()));
  handles_.abandon();
}

} // namespace bwlib
