#include "log_sink.h"

#include <cerrno>
#include <cstring>
#include <memory>
#include <new>

#include "batcher.h"
#include "writer.h"

namespace bwlib {

namespace {

// Each item is one append, polled, with the batcher's own wake as the waker. Where the writer stops in the middle of a
// batch each item has an answer of its own: those before are delivered, and what is offered again begins with the first
// that was not accepted.
class LogSink final : public OwnedBatchSink {
 public:
  explicit LogSink(Writer &writer) noexcept : writer_(writer) {}

  int prepare(const char *separator, std::uint64_t max_items) noexcept {
    separator_length_ = separator ? std::strlen(separator) : 0;
    separator_.reset(new (std::nothrow) char[separator_length_ + 1]);
    codes_.reset(new (std::nothrow) int[max_items]);
    if (!separator_ || !codes_) return -ENOMEM;
    std::memcpy(separator_.get(), separator_length_ ? separator : "", separator_length_);
    return 0;
  }
  void attach(Batcher &batcher) noexcept override { waker_ = {wake_batcher, &batcher}; }
  void detach() noexcept override { writer_.unwake(waker_); }

  static bw_batch_sink_t ops() noexcept { return {sizeof(bw_batch_sink_t), 0, write, flush, nullptr}; }

 private:
  static LogSink &of(void *ctx) noexcept { return *static_cast<LogSink *>(ctx); }
  static int write(void *ctx, bw_batch_view_t *view) { return of(ctx).append_all(view); }
  static int flush(void *ctx) { return of(ctx).flush_written(); }
  static void wake_batcher(void *batcher) { static_cast<Batcher *>(batcher)->wake(); }

  int append_all(bw_batch_view_t *view) noexcept {
    std::size_t count;
    const iovec *items = bw_batch_items(view, &count);
    int stop = 0; // why the rest was not tried
    bool differ = false;
    for (std::size_t index = 0; index < count; ++index) {
      const int code = stop ? stop : append(items[index]);
      if (code >= -BW_FINAL) stop = code;
      codes_[index] = code;
      differ |= code != codes_[0] || code < -BW_FINAL;
    }
    if (!differ) return stop;
    bw_batch_done(view, 0, codes_.get());
    return BW_BATCH_TAKEN;
  }

  int append(const iovec &item) noexcept {
    const iovec parts[2] = {item, {separator_.get(), separator_length_}};
    std::uint64_t accepted = 0;
    std::int64_t result = writer_.append_from_lane(parts, 2, Patience::kPoll, waker_, accepted);
    if (result == -EMSGSIZE) // longer than all buffers together
      result = writer_.append_from_lane(parts, 2, Patience::kWait, waker_, accepted);
    if (result >= 0) {
      end_ = result + static_cast<std::int64_t>(item.iov_len + separator_length_);
      return 0;
    }
    // A part of it is the writer's already: it must not come twice.
    return static_cast<int>(result) - (accepted > 0 ? BW_FINAL : 0);
  }

  int flush_written() noexcept { return writer_.poll_wait(end_, BW_WRITTEN, waker_); }

  Writer &writer_;
  bw_waker_t waker_{nullptr, nullptr};
  std::unique_ptr<char[]> separator_;
  std::size_t separator_length_ = 0;
  std::unique_ptr<int[]> codes_;
  std::int64_t end_ = INT64_MIN; // of the last item, in the writer's stream
};

} // namespace

int create_log_batcher(Batcher *&out, Writer &writer, const char *separator,
                       const bw_batch_options_t &options) noexcept {
  std::unique_ptr<LogSink> sink(new (std::nothrow) LogSink(writer));
  if (!sink) return -ENOMEM;
  if (const int code = sink->prepare(separator, options.max_items)) return code;
  void *ctx = sink.get();
  return Batcher::create(out, {LogSink::ops(), ctx, options, std::move(sink)});
}

} // namespace bwlib
