// Callbacks that throw: what comes out is BW_ESINK, held, and the sink is not called again.
#include <stdexcept>

#include "unit.h"

namespace {

// Counts its calls; throws from one of them.
struct Thrower {
  explicit Thrower(const char *name) : throws(name) {}

  std::string throws; // the callback's name
  int calls = 0;      // of any callback
  std::string taken;
};

void enter(void *ctx, const char *name) {
  auto &thrower = *static_cast<Thrower *>(ctx);
  ++thrower.calls;
  if (thrower.throws == name) throw std::runtime_error(name);
}

std::int64_t write(void *ctx, const void *data, std::size_t length) {
  enter(ctx, "write");
  static_cast<Thrower *>(ctx)->taken.append(static_cast<const char *>(data), length);
  return static_cast<std::int64_t>(length);
}

int flush(void *ctx) {
  enter(ctx, "flush");
  return 0;
}

int sync(void *ctx) {
  enter(ctx, "sync");
  return 0;
}

int close(void *ctx) {
  enter(ctx, "close");
  return 0;
}

std::int64_t seek(void *ctx, std::int64_t offset, int) {
  enter(ctx, "seek");
  return offset;
}

bw_t *writer_over(Thrower &thrower, std::uint32_t flags) {
  bw_sink_t sink = BW_SINK_INIT;
  sink.write = write;
  sink.flush = flush;
  sink.sync = sync;
  sink.seek = seek;
  sink.close = close;
  bw_options_t options = BW_OPTIONS_INIT;
  options.flags = flags;
  bw_t *bw = nullptr;
  assert_int_equal(bw_new(&bw, &sink, &thrower, &options), 0);
  return bw;
}

int write_batch(void *ctx, bw_batch_view_t *view) {
  enter(ctx, "write");
  std::size_t count;
  const iovec *items = bw_batch_items(view, &count);
  for (std::size_t index = 0; index < count; ++index)
    static_cast<Thrower *>(ctx)->taken.append(static_cast<const char *>(items[index].iov_base), items[index].iov_len);
  return 0;
}

bw_batch_t *batcher_over(Thrower &thrower, std::uint32_t flags) {
  const bw_batch_sink_t sink = {sizeof(bw_batch_sink_t), 0, write_batch, flush, close};
  bw_batch_options_t options = BW_BATCH_OPTIONS_INIT;
  options.flags = flags;
  options.max_items = 2;
  options.retries = 3;
  options.when_failed = BW_FAILED_GIVE_UP;
  bw_batch_t *batch = nullptr;
  assert_int_equal(bw_batch_new(&batch, &sink, &thrower, &options), 0);
  return batch;
}

constexpr std::uint32_t kWays[] = {0, BW_UNSHARED, BW_BACKGROUND, BW_UNSHARED | BW_BACKGROUND};

} // namespace

static void test_throwing__a_write_is_held_and_the_sink_left_alone(void **) {
  for (const std::uint32_t flags : kWays) {
    Thrower thrower("write");
    bw_t *bw = writer_over(thrower, flags);
    assert_int_equal(bw_write(bw, "abc", 3), 3);
    assert_int_equal(bw_flush(bw), BW_ESINK);
    assert_int_equal(bw_error(bw), BW_ESINK);
    thrower.throws = "";
    assert_int_equal(bw_resume(bw), BW_ESINK);
    assert_int_equal(bw_flush(bw), BW_ESINK);
    assert_int_equal(thrower.calls, 1);
    assert_int_equal(bw_discard(bw), 3);
    assert_int_equal(bw_write(bw, "def", 3), 3);
    assert_int_equal(bw_close(bw), 0);
    assert_string_equal(thrower.taken.c_str(), "def");
    bw_free(bw);
  }
}

static void test_throwing__other_callbacks_are_held_too(void **) {
  for (const std::uint32_t flags : kWays) {
    for (const char *name : {"flush", "sync", "seek"}) {
      Thrower thrower(name);
      bw_t *bw = writer_over(thrower, flags);
      assert_int_equal(bw_write(bw, "abc", 3), 3);
      const bool is_sync = thrower.throws == "sync", is_seek = thrower.throws == "seek";
      assert_int_equal(is_seek ? bw_seek(bw, 0, 0) : is_sync ? bw_sync(bw) : bw_flush(bw), BW_ESINK);
      assert_int_equal(bw_error(bw), BW_ESINK);
      bw_free(bw);
      assert_string_equal(thrower.taken.c_str(), "abc");
    }
  }
}

static void test_throwing__a_batch_is_held_for_good(void **) {
  for (const std::uint32_t flags : kWays) {
    Thrower thrower("write");
    bw_batch_t *batch = batcher_over(thrower, flags);
    assert_int_equal(bw_batch_send(batch, "a", 1), 0);
    assert_int_equal(bw_batch_flush(batch), BW_ESINK);
    thrower.throws = "";
    assert_int_equal(bw_batch_flush(batch), BW_ESINK);
    assert_int_equal(bw_batch_error(batch), BW_ESINK);
    assert_int_equal(thrower.calls, 1);
    assert_int_equal(bw_batch_discard(batch), 1);
    assert_int_equal(bw_batch_send(batch, "b", 1), 0);
    assert_int_equal(bw_batch_close(batch), 0);
    assert_string_equal(thrower.taken.c_str(), "b");
    bw_batch_free(batch);
  }
}

static void test_throwing__flush_and_close_of_a_batchers_sink_hand_it_through(void **) {
  for (const std::uint32_t flags : kWays) {
    Thrower thrower("flush");
    bw_batch_t *batch = batcher_over(thrower, flags);
    assert_int_equal(bw_batch_send(batch, "a", 1), 0);
    assert_int_equal(bw_batch_flush(batch), BW_ESINK);
    assert_int_equal(bw_batch_error(batch), 0);
    thrower.throws = "close";
    assert_int_equal(bw_batch_close(batch), BW_ESINK);
    assert_int_equal(bw_batch_close(batch), 0);
    assert_string_equal(thrower.taken.c_str(), "a");
    bw_batch_free(batch);
  }
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_throwing__a_write_is_held_and_the_sink_left_alone),
      cmocka_unit_test(test_throwing__other_callbacks_are_held_too),
      cmocka_unit_test(test_throwing__a_batch_is_held_for_good),
      cmocka_unit_test(test_throwing__flush_and_close_of_a_batchers_sink_hand_it_through),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
