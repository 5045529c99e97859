// FileEngine: a regular file as the target of sealed blocks.
//
// A block lies in memory as in the file: data[0] belongs at a multiple of 4096. What is written of it goes in pieces,
// one at a time for each block: whole units of 4096 bytes by O_DIRECT, parts of a unit through the page cache,
// unpadded, so that the file never holds a byte that was not accepted. A unit that was begun through the page cache is
// also finished there: were it written again by O_DIRECT, a reader could find the new size and the old page, which has
// zeros behind the old end.
//
// Never a hole: a write that lengthens the file is started only for the oldest block, when all below has ended; what
// is ready of the blocks after it goes with it, as one write (the run). Inside the present size many blocks are under
// way at once. Two writes of one unit never are: a block that does not begin with a unit waits until it is the oldest.
//
// Thread safety: none; all of it belongs to the owner of the sink, but for what says otherwise.
#pragma once

#include <bw/bw.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "file_handles.h"
#include "io_engine.h"

namespace bwlib {

class FileEngine {
 public:
  static constexpr std::uint64_t kUnit = 4096;
  static constexpr std::uint64_t kSmallBytes = 16 * 1024;

  // The bytes of a block that are to be written: data[start, end), where data[0] belongs at `base` of the file.
  struct Block {
    char *data;
    std::uint64_t start;
    std::uint64_t end;
    std::int64_t base;
  };

  // 0 or -errno. What is not a regular file is opened too, for its descriptor.
  static int open(std::unique_ptr<FileEngine> &out, const char *path, int oflags, unsigned mode,
                  const bw_options_t &options) noexcept;
  // Chooses the engine. 0, -ENOMEM, or the kernel's refusal of the engine that was asked for.
  int attach(const IoBlocks &blocks) noexcept;

  // Any thread; constant.
  bool is_regular() const noexcept { return handles_.is_regular(); }
  bool is_append() const noexcept { return is_append_; }
  std::int64_t first_position() const noexcept { return first_position_; }
  int descriptor() const noexcept { return handles_.number(false); }
  // Any thread.
  std::uint32_t engine() const noexcept { return kind_.load(std::memory_order_relaxed); }
  bool is_direct() const noexcept { return is_direct_.load(std::memory_order_relaxed); }
  bool has_registered_buffers() const noexcept { return has_registered_buffers_.load(std::memory_order_relaxed); }

  int ring_bell(int bell) noexcept { return engine_->ring_bell(bell); }
  bool has_under_way() const noexcept { return under_way_.load(std::memory_order_relaxed) > 0; }

  // A request that has ended, or nullptr; see IoEngine.
  IoRequest *reap(bool waits) noexcept;

  // ---- Writes ----

  // Starts the next write of the block with this index, or finds that it cannot be started now: false. `limit`: only
  // what is below it in the block. From the oldest block to the newest, and then start_run().
  bool start_write(Carrier carrier, unsigned index, const Block &block, std::uint64_t limit, bool is_oldest) noexcept;
  void start_run(Carrier carrier) noexcept;
  // The request ended. 0: it goes on, or begins anew; else why the file takes no more.
  int end_write(const IoRequest &request) noexcept;
  // How far the block has come: an offset in it.
  std::uint64_t reached(unsigned index) const noexcept { return flights_[index].next; }
  bool is_begun(unsigned index) const noexcept { return flights_[index].is_begun; }
  bool is_under_way(unsigned index) const noexcept { return flights_[index].is_under_way; }
  // A new round of the block: nothing of it is written.
  void begin(unsigned index, const Block &block) noexcept;
  // The block is written.
  void retire(unsigned index) noexcept { flights_[index].is_begun = false; }
  // The stream goes on somewhere else.
  void forget() noexcept;

  // ---- Syncs ----

  // Any thread. The file was made or emptied, and no sync has succeeded since.
  bool is_fresh() const noexcept { return is_fresh_.load(std::memory_order_acquire); }
  bool is_syncing() const noexcept { return is_syncing_; }
  void start_sync(Carrier carrier) noexcept;
  // 0 or -errno.
  int end_sync(const IoRequest &request) noexcept;

  // ---- The rest; nothing is under way ----

  // Where SEEK_CUR counts from: `current`. The new position, or -errno.
  std::int64_t seek(std::int64_t offset, int whence, std::int64_t current) noexcept;
  std::int64_t write_now(const char *data, std::uint64_t length, std::int64_t position) noexcept;
  std::int64_t read(void *data, std::size_t length, std::int64_t position) noexcept;
  // Gives back what was preallocated, and the descriptors. 0 or -errno.
  int close() noexcept;
  // The same, and another target takes its place.
  void leave() noexcept;
  // In a forked child: memory is given back, and nothing else.
  void abandon() noexcept;

 private:
  struct Flight {
    IoRequest request;
    iovec part{};           // of that request, if it is the only one
    std::uint64_t next = 0; // offset of the first byte that is not written
    bool is_begun = false;
    bool is_under_way = false;
    bool is_doubted = false; // O_DIRECT was refused: the page cache will say why
  };

  FileEngine() noexcept : caller_io_(handles_) {}
  int open_file(const char *path, int oflags, unsigned mode, const bw_options_t &options) noexcept;
  void start(Carrier carrier, IoRequest &request) noexcept;
  bool continues_run(std::int64_t offset) const noexcept;
  int choose_engine(const IoBlocks &blocks) noexcept;
  bool direct_fits() const noexcept;
  void preallocate(std::int64_t start, std::int64_t end) noexcept;
  void give_back() noexcept;

  FileHandles handles_;
  CallerIo caller_io_;
  std::unique_ptr<IoEngine> engine_;
  std::unique_ptr<Flight[]> flights_;
  unsigned count_ = 0;
  IoRequest *run_ = nullptr;               // being put together
  std::unique_ptr<iovec[]> run_parts_;     // of the run, also while it is under way
  bool run_is_doubted_ = false;            // refused: its first part alone will show whether it was too long
  std::atomic<unsigned> under_way_{0};

  std::atomic<bool> is_direct_{false};
  bool is_append_ = false;
  bool is_caller_driven_ = false;
  std::uint32_t wanted_engine_ = BW_ENGINE_AUTO;
  std::atomic<std::uint32_t> kind_{0}; // of engine_; 0: a sink has taken over
  std::atomic<bool> has_registered_buffers_{false};
  std::int64_t first_position_ = 0;
  std::int64_t size_ = 0; // as far as we know

  std::uint64_t step_ = 0;      // of preallocation; 0: none
  bool is_step_ours_ = false;   // it grows with the file
  std::int64_t allocated_ = 0;  // reserved up to here
  std::int64_t grown_from_ = 0; // where the bytes began that lengthen the file now

  IoRequest sync_;
  bool is_syncing_ = false;
  std::atomic<bool> is_fresh_{false};
  bool needs_directory_ = false;
};

} // namespace bwlib
