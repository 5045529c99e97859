#include "file_handles.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace bwlib {

namespace {

// What a second open(2) of the same file must not repeat.
constexpr int kOnceFlags = O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_TMPFILE | O_DIRECTORY | O_NOFOLLOW;

using ProcPath = char[32];

void proc_path(ProcPath &path, int fd) noexcept {
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
}

int retry_open(const char *path, int oflags, unsigned mode) noexcept {
  int fd;
  do {
    fd = ::open(path, oflags, mode);
  } while (fd < 0 && errno == EINTR);
  return fd < 0 ? -errno : fd;
}

} // namespace

int FileHandles::open(const char *path, int oflags, unsigned mode) noexcept {
  oflags_ = (oflags & ~O_DIRECT) | O_CLOEXEC | O_NOCTTY;
  const int fd = retry_open(path, oflags_, mode);
  if (fd < 0) return fd;
  if (const int code = cached_.adopt(fd)) return code;
  struct stat status;
  is_regular_ = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  return 0;
}

int FileHandles::add_direct() noexcept {
  ProcPath path;
  proc_path(path, cached_.number());
  const int fd = retry_open(path, (oflags_ & ~kOnceFlags) | O_DIRECT, 0);
  if (fd < 0) return fd;
  if (const int code = direct_.adopt(fd)) return code;
  if (direct_.is_same_file(cached_)) return 0;
  direct_.close();
  return -EBADF;
}

std::int64_t FileHandles::size() const noexcept {
  struct stat status;
  const int fd = get(false);
  if (fd < 0) return -EBADF;
  return fstat(fd, &status) == 0 ? status.st_size : -errno;
}

// Where the file is now, whatever links led to it; where that cannot be found out, the whole filesystem.
int FileHandles::sync_directory() const noexcept {
  const int file = get(false);
  if (file < 0) return -EBADF;
  ProcPath link;
  char path[PATH_MAX];
  proc_path(link, file);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  int directory = -1;
  if (length > 0 && path[0] == '/') {
    path[length] = '\0';
    strrchr(path, '/')[path[1] && strrchr(path, '/') == path ? 1 : 0] = '\0';
    directory = ::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  struct stat status;
  struct stat of_file;
  const bool is_right = directory >= 0 && fstat(directory, &status) == 0 && fstat(file, &of_file) == 0 &&
                        status.st_dev == of_file.st_dev;
  const int answer = is_right ? fsync(directory) : syncfs(file);
  const int code = answer == 0 ? 0 : -errno;
  if (directory >= 0) ::close(directory);
  return code;
}

int FileHandles::close() noexcept {
  const int direct_code = direct_.close();
  const int code = cached_.close();
  return code ? code : direct_code;
}

} // namespace bwlib
