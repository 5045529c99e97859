// spdlog's asynchronous logger: writers queue messages, one thread of its own writes them to the file.
#include "peers.h"

#ifdef BWBENCH_HAVE_SPDLOG
#include <spdlog/async.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>

#include <cstdio>
#include <memory>
#endif

namespace bwbench {

#ifdef BWBENCH_HAVE_SPDLOG
namespace {

class AsyncLogger {
 public:
  static constexpr bool kKeepsBytes = true;
  explicit AsyncLogger(const Setting &setting)
      : buffer_(make_buffer()),
        pool_(std::make_shared<spdlog::details::thread_pool>(spdlog::details::default_async_q_size, 1)) {
    spdlog::file_event_handlers handlers;
    handlers.after_open = [this](const spdlog::filename_t &, std::FILE *file) {
      std::setvbuf(file, buffer_.get(), _IOFBF, kBufferBytes);
    };
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(setting.target->path, true, handlers);
    logger_ = std::make_shared<spdlog::async_logger>("bench", std::move(sink), pool_,
                                                     spdlog::async_overflow_policy::block);
    // The bytes as they are: no time, no level, no end of line.
    logger_->set_formatter(
        std::make_unique<spdlog::pattern_formatter>("%v", spdlog::pattern_time_type::local, std::string()));
  }
  void write(int, const void *data, std::size_t bytes) {
    logger_->log(spdlog::level::info, spdlog::string_view_t(static_cast<const char *>(data), bytes));
  }
  // The pool ends once its queue is empty, and with it the last message has let go of the file.
  void finish() {
    logger_->flush();
    pool_.reset();
    logger_.reset();
  }

 private:
  Buffer buffer_; // outlives the sink's stream
  std::shared_ptr<spdlog::details::thread_pool> pool_;
  std::shared_ptr<spdlog::async_logger> logger_;
};

RunFunction spdlog_run() { return in_process<AsyncLogger>(); }

} // namespace
#else
static RunFunction spdlog_run() { return {}; }
#endif

Subject spdlog_peer() {
  return {"spdlog-async", Kind::kPeer, true, kMemcpyLimit, kMemcpyLimit, spdlog_run()};
}

} // namespace bwbench
