#include "disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace bwbench {
namespace {

constexpr std::size_t kBlockBytes = 4096; // O_DIRECT is content with this everywhere
constexpr std::size_t kChunkBytes = 1 << 20;
constexpr std::uint64_t kMarks = 32;
constexpr char kMark[] = "nobody has overwritten this";

class Descriptor {
 public:
  Descriptor(const std::string &path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

Buffer zeroed_chunk() {
  auto *memory = static_cast<char *>(std::aligned_alloc(kBlockBytes, kChunkBytes));
  require(memory != nullptr, "no memory for a chunk");
  std::memset(memory, 0, kChunkBytes);
  return Buffer(memory);
}

// From the table of mounts; a file system that numbers its devices itself is not in it by number.
std::string file_system_of(const std::string &directory) {
  struct stat status;
  require(stat(directory.c_str(), &status) == 0, "cannot look at the directory");
  char wanted[64];
  std::snprintf(wanted, sizeof wanted, "%u:%u", major(status.st_dev), minor(status.st_dev));
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string word, device;
    words >> word >> word >> device;
    while (words >> word && word != "-") continue;
    if (device == wanted && words >> word) return word;
  }
  return "unknown file system";
}

bool takes_direct_writes(const std::string &directory) {
  const std::string path = directory + "/bw_bench.probe";
  const Buffer chunk = zeroed_chunk();
  bool taken = false;
  {
    const Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT);
    taken = file.get() >= 0 && pwrite(file.get(), chunk.get(), kBlockBytes, 0) == kBlockBytes;
  }
  unlink(path.c_str());
  return taken;
}

bool has_size(const std::string &path, std::uint64_t bytes) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && static_cast<std::uint64_t>(status.st_size) == bytes;
}

// Written, not only reserved: turning reserved blocks into written ones is work that overwriting does not have.
void fill(const std::string &path, std::uint64_t bytes) {
  const Buffer chunk = zeroed_chunk();
  const Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT);
  for (std::uint64_t done = 0; done < bytes; done += kChunkBytes) {
    require(pwrite(file.get(), chunk.get(), kChunkBytes, static_cast<off_t>(done)) == kChunkBytes,
            "cannot fill the file that is to be overwritten");
  }
  require(ftruncate(file.get(), static_cast<off_t>(bytes)) == 0, "ftruncate");
}

off_t mark_offset(std::uint64_t mark, std::uint64_t bytes) {
  return static_cast<off_t>(mark * ((bytes - sizeof kMark) / (kMarks - 1)));
}

void leave_page_cache(int fd) {
  require(fdatasync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0, "cannot leave the page cache");
}

void mark(const std::string &path, std::uint64_t bytes) {
  const Descriptor file(path, O_WRONLY);
  for (std::uint64_t index = 0; index < kMarks; ++index) {
    require(pwrite(file.get(), kMark, sizeof kMark, mark_offset(index, bytes)) == sizeof kMark, "cannot mark the file");
  }
  leave_page_cache(file.get());
}

// Through the page cache, `step` bytes at a time; it is not meant to reach the disk.
void fill_page_cache(const std::string &path, std::uint64_t bytes, std::size_t step) {
  const Buffer chunk = zeroed_chunk();
  const Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC);
  for (std::uint64_t done = 0; done < bytes; done += step) {
    require(write(file.get(), chunk.get(), step) == static_cast<ssize_t>(step), "cannot fill the page cache");
  }
}

// A virtual machine's host takes back memory that lies free for a while, and gives it again page by page, at several
// times the price of the write that needs it: 0.10 or 0.85 seconds of CPU time for 512 MiB. Who goes through the page
// cache shall not pay that by chance. So files like his are made and removed, with small and with large writes: the
// kernel gives these blocks of different sizes, and a block goes back to where the next one of its size is taken from.
void warm_page_cache(const std::string &path, std::uint64_t bytes) {
  const std::string large = path + ".large", small = path + ".small";
  fill_page_cache(large, bytes, kChunkBytes);
  fill_page_cache(small, bytes, kBufferBytes);
  unlink(large.c_str());
  unlink(small.c_str());
}

bool is_marked(const std::string &path, std::uint64_t bytes) {
  const Descriptor file(path, O_RDONLY);
  char found[sizeof kMark];
  for (std::uint64_t index = 0; index < kMarks; ++index) {
    require(pread(file.get(), found, sizeof found, mark_offset(index, bytes)) == sizeof found, "cannot read the file");
    if (std::memcmp(found, kMark, sizeof found) == 0) return true;
  }
  return false;
}

} // namespace

Disk look_at_disk(const std::string &directory) {
  Disk disk{file_system_of(directory), ""};
  if (disk.name == "tmpfs" || disk.name == "ramfs") disk.defect = "it keeps files in memory";
  else if (!takes_direct_writes(directory)) disk.defect = "it refuses O_DIRECT";
  return disk;
}

void prepare_on_disk(const Target &target, std::uint64_t bytes) {
  if (target.overwritten) {
    if (!has_size(target.path, bytes)) fill(target.path, bytes);
    mark(target.path, bytes);
  } else {
    remove_from_disk(target);
  }
  const Descriptor directory(std::filesystem::path(target.path).parent_path(), O_RDONLY | O_DIRECTORY);
  require(syncfs(directory.get()) == 0, "syncfs");
  warm_page_cache(target.path, bytes);
}

void check_on_disk(const Target &target, std::uint64_t bytes) {
  errno = 0; // what follows are findings of ours, not the system's
  require(has_size(target.path, bytes), "the file has lost or gained bytes");
  require(!target.overwritten || !is_marked(target.path, bytes), "a part of the file was not overwritten");
}

void remove_from_disk(const Target &target) {
  std::filesystem::remove_all(target.path);
}

} // namespace bwbench
