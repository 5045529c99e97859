#include "memory.h"

#include <bw/bw.h>
#include <malloc.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "common.h"

namespace bwbench {
namespace {

constexpr std::size_t kWriters = 1000;
constexpr std::size_t kCapacity = 8192;

struct Usage {
  double allocated, mapped, resident;

  Usage operator-(const Usage &earlier) const {
    return {allocated - earlier.allocated, mapped - earlier.mapped, resident - earlier.resident};
  }
};

Usage usage_now() {
  std::FILE *statm = std::fopen("/proc/self/statm", "r");
  require(statm != nullptr, "cannot open /proc/self/statm");
  unsigned long pages = 0, resident_pages = 0;
  require(std::fscanf(statm, "%lu %lu", &pages, &resident_pages) == 2, "cannot read /proc/self/statm");
  std::fclose(statm);
  const auto page_bytes = static_cast<double>(sysconf(_SC_PAGESIZE));
  const struct mallinfo2 heap = mallinfo2();
  const auto allocated = static_cast<double>(heap.uordblks + heap.hblkhd);
  const auto heap_bytes = static_cast<double>(heap.arena + heap.hblkhd);
  return {allocated, static_cast<double>(pages) * page_bytes - heap_bytes,
          static_cast<double>(resident_pages) * page_bytes};
}

int64_t take_all(void *, const void *, size_t length) { return static_cast<int64_t>(length); }

bw_t *make_writer() {
  bw_sink_t sink{};
  sink.size = sizeof sink;
  sink.write = take_all;
  bw_options_t options{};
  options.size = sizeof options;
  options.flags = BW_UNSHARED;
  options.capacity = kCapacity;
  bw_t *writer = nullptr;
  require(bw_new(&writer, &sink, nullptr, &options) == 0, "bw_new");
  return writer;
}

} // namespace

WriterMemory measure_writer_memory() {
  std::vector<bw_t *> writers(kWriters);
  const std::vector<char> bytes(kCapacity - 1, 'x'); // one more would go past the buffer
  // What the first writer of a process brings about for all, and what stdio needs, is not counted.
  bw_free(make_writer());
  usage_now();

  const Usage before = usage_now();
  for (bw_t *&writer : writers) writer = make_writer();
  const Usage made = usage_now() - before;
  for (bw_t *writer : writers) {
    require(bw_write(writer, bytes.data(), bytes.size()) == static_cast<int64_t>(bytes.size()), "bw_write");
  }
  const Usage used = usage_now() - before;
  for (bw_t *writer : writers) bw_free(writer);
  return {made.allocated / kWriters, made.mapped / kWriters, made.resident / kWriters, used.resident / kWriters};
}

} // namespace bwbench
