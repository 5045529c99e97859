#include "stats_json.h"

#include <cinttypes>
#include <cstdio>

namespace bwlib {

namespace {

// Appends to a text that may be too small for it, and counts on.
class JsonText {
 public:
  JsonText(char *text, std::size_t size) noexcept : text_(text), size_(size) {}

  void add(const char *name, std::uint64_t value) noexcept {
    print("%s\"%s\":%" PRIu64, length_ > 1 && !after_brace_ ? "," : "", name, value);
    after_brace_ = false;
  }
  void open(const char *name) noexcept {
    if (name) {
      print(",\"%s\":{", name);
    } else {
      print("%s", "{");
    }
    after_brace_ = true;
  }
  void close() noexcept { print("%s", "}"); }
  void add(const char *name, const bw_latency_t &latency) noexcept {
    open(name);
    add("count", latency.count);
    add("p50_ns", latency.p50_ns);
    add("p90_ns", latency.p90_ns);
    add("p99_ns", latency.p99_ns);
    add("p999_ns", latency.p999_ns);
    add("max_ns", latency.max_ns);
    close();
  }
  std::int64_t length() const noexcept { return static_cast<std::int64_t>(length_); }

 private:
  template <class... Values>
  void print(const char *format, Values... values) noexcept {
    const std::size_t room = length_ < size_ ? size_ - length_ : 0;
    const int count = std::snprintf(room ? text_ + length_ : nullptr, room, format, values...);
    length_ += static_cast<std::size_t>(count);
  }

  char *const text_;
  const std::size_t size_;
  std::size_t length_ = 0;
  bool after_brace_ = false;
};

} // namespace

std::int64_t write_stats_json(const bw_stats_t &stats, char *text, std::size_t size) noexcept {
  JsonText json(text, size);
  json.open(nullptr);
  json.add("engine", stats.engine);
  json.add("accepted_bytes", stats.accepted_bytes);
  json.add("written_bytes", stats.written_bytes);
  json.add("durable_bytes", stats.durable_bytes);
  json.add("writes", stats.writes);
  json.add("sink_writes", stats.sink_writes);
  json.add("bypasses", stats.bypasses);
  json.add("flushes", stats.flushes);
  json.add("syncs", stats.syncs);
  json.add("waits", stats.waits);
  json.add("errors", stats.errors);
  json.add("resumes", stats.resumes);
  json.add("buffers", stats.buffers);
  json.add("buffers_in_use", stats.buffers_in_use);
  json.add("direct", stats.direct);
  json.add("registered_buffers", stats.registered_buffers);
  json.add("write_wait", stats.write_wait);
  json.add("sink_write", stats.sink_write);
  json.add("sync", stats.sync);
  json.add("own_slots", stats.own_slots);
  json.close();
  return json.length();
}

std::int64_t write_stats_json(const bw_batch_stats_t &stats, char *text, std::size_t size) noexcept {
  JsonText json(text, size);
  json.open(nullptr);
  json.add("total_items", stats.total_items);
  json.add("total_batches", stats.total_batches);
  json.add("max_batch_size", stats.max_batch_size);
  json.add("dropped_items", stats.dropped_items);
  json.add("failed_items", stats.failed_items);
  json.add("retries", stats.retries);
  json.add("bytes", stats.bytes);
  json.add("buffered_items", stats.buffered_items);
  json.add("in_flight_items", stats.in_flight_items);
  json.add("in_batch", stats.in_batch);
  json.add("to_delivered", stats.to_delivered);
  json.close();
  return json.length();
}

} // namespace bwlib
