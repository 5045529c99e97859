#include "lane.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>

#include "options.h"
#include "parts.h"
#include "writer.h"

namespace bwlib {

namespace {

// What the lane hands on is one append, so it lands whole; the parent keeps what its own sink does not take. Only what
// is longer than the lane's buffer, and than all of the parent's where nobody may wait, goes in pieces.
class LaneSink final : public OwnedSink {
 public:
  explicit LaneSink(Writer &parent) noexcept : parent_(parent) {}

  void set_lane(Writer &lane) noexcept {
    capacity_ = lane.capacity();
    waker_ = {wake_lane, &lane};
  }
  void set_patience(Patience patience) noexcept override { patience_ = patience; }
  void detach() noexcept override { parent_.unwake(waker_); }

  static const bw_sink_t &ops() noexcept {
    static constexpr bw_sink_t kOps = {sizeof(bw_sink_t), 0, write, writev, flush, nullptr, nullptr, sync, nullptr};
    return kOps;
  }

 private:
  static LaneSink &of(void *ctx) noexcept { return *static_cast<LaneSink *>(ctx); }

  static int64_t write(void *ctx, const void *data, size_t length) {
    const iovec part{const_cast<void *>(data), length};
    return of(ctx).append(&part, 1);
  }
  static int64_t writev(void *ctx, const iovec *parts, int count) { return of(ctx).append(parts, count); }
  static int flush(void *ctx) { return of(ctx).parent_.flush_from_lane(of(ctx).patience_, of(ctx).waker_); }
  static int sync(void *ctx) { return of(ctx).parent_.sync_from_lane(of(ctx).patience_, of(ctx).waker_); }
  static void wake_lane(void *lane) { static_cast<Writer *>(lane)->wake(); }

  int64_t append(const iovec *list, int count) noexcept {
    const std::int64_t result = hand_on(list, count);
    if (result != -EMSGSIZE) return result;
    Parts parts(list, count);
    if (parts.left() <= capacity_) return result;
    parts.skip_empty();
    const iovec piece{const_cast<char *>(parts.front()), std::min(parts.front_length(), parent_.most_at_once())};
    return hand_on(&piece, 1);
  }

  std::int64_t hand_on(const iovec *parts, int count) noexcept {
    std::uint64_t accepted = 0;
    const std::int64_t result = parent_.append_from_lane(parts, count, patience_, waker_, accepted);
    // The parent may have accepted a part and found no memory for the rest: then that part is its, the rest ours.
    return accepted > 0 ? static_cast<int64_t>(accepted) : result;
  }

  Writer &parent_;
  std::uint64_t capacity_ = 0; // the lane's
  bw_waker_t waker_{nullptr, nullptr};
  Patience patience_ = Patience::kPoll;
};

} // namespace

int create_lane(Writer *&out, Writer &parent, const bw_options_t *options) noexcept {
  if (!parent.may_have_lanes()) return -EINVAL;
  bw_options_t checked;
  if (const int code = read_options(options, parent.capacity(), checked)) return code;
  if (checked.linger_us) return -EINVAL;
  checked.flags = (checked.flags & BW_NONBLOCK) | BW_UNSHARED;
  checked.buffers = 1;
  std::unique_ptr<LaneSink> sink(new (std::nothrow) LaneSink(parent));
  if (!sink) return -ENOMEM;
  LaneSink &lane_sink = *sink;
  if (const int code = parent.add_lane()) return code;
  if (const int code =
          Writer::create(out, {&LaneSink::ops(), &lane_sink, checked, std::move(sink), 0, &parent, nullptr})) {
    parent.drop_lane();
    return code;
  }
  lane_sink.set_lane(*out);
  return 0;
}

} // namespace bwlib
