// The eight rules that other implementations get wrong (docs/design.md, "The flush buffer").
#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <memory>
#include <sstream>

#include "aligned_memory.h"
#include "buffer_ring.h"
#include "process.h"
#include "unit.h"

namespace {

using Buffer = bwlib::FlushBuffer<>;
using Ring = bwlib::BufferRing<>;
using Slots = bwlib::CopySlots<>;
namespace state = bwlib::buffer_state;

constexpr std::uint64_t kCapacity = 16;

// A ring whose first buffer is open at position 0.
struct RingBench {
  explicit RingBench(unsigned count) : buffers(new Buffer[count]), blocks(count * kCapacity) {
    if (memory.map(Slots::bytes(count)) != 0) std::abort();
    slots.attach(memory.data(), count, true);
    ring.attach(buffers.get(), count, blocks.data(), kCapacity, kCapacity, &slots);
    ring.rotate(0);
    ring.publish(true);
  }

  std::unique_ptr<Buffer[]> buffers;
  std::vector<char> blocks;
  bwlib::Mapping memory;
  Slots slots;
  Ring ring;
};

std::int64_t write(bw_t *bw, const std::string &text) {
  return bw_write(bw, text.data(), text.size());
}

} // namespace

// ---- 1. A recycled buffer is closed, never open: a stale thread's fetch_add on it must fail. ----

static void test_rules__1_a_recycled_buffer_is_closed(void **) {
  RingBench bench(2);
  Buffer &stale = bench.ring.open_buffer(); // as a thread sees it that is stopped before its fetch_add
  assert_true(bench.ring.try_pen());
  bench.ring.seal();
  assert_true(stale.reserve(1) > kCapacity); // sealed
  bench.ring.publish(bench.ring.rotate(0));
  stale.begin_flight();
  assert_true(stale.reserve(1) > kCapacity); // in flight
  bench.ring.retire();
  assert_true(stale.reserve(1) > kCapacity); // free
  assert_false(stale.is_open());
}

static void test_rules__1_stale_additions_to_a_recycled_buffer_change_nothing(void **) {
  RingBench bench(1);
  Buffer &stale = bench.ring.open_buffer();
  for (int round = 0; round < 5; ++round) {
    assert_true(bench.ring.try_pen());
    bench.ring.seal();
    bench.ring.retire();
    assert_true(stale.reserve(7) > kCapacity);
    assert_true(bench.ring.rotate(0));
    assert_true(stale.reserve(3) > kCapacity); // current already, and not yet published
    bench.ring.publish(true);
    assert_int_equal(state::offset(stale.word()), 0);
    assert_true(stale.all_committed(bench.slots, 0));
  }
}

// ---- 2. Length and stream position are set before "sealed" can be seen. ----

static void test_rules__2_whoever_sees_sealed_sees_length_and_position(void **) {
  constexpr std::uint64_t kRounds = 20000;
  constexpr std::uint64_t kBytes = 1 << 20;
  Buffer buffer;
  buffer.attach(nullptr, kBytes, 0);
  std::atomic<std::uint64_t> looked{0};
  std::thread pen_holder([&] {
    for (std::uint64_t round = 1; round <= kRounds; ++round) {
      buffer.set_position(static_cast<std::int64_t>(round * 1000));
      buffer.open(0);
      buffer.reserve(kBytes + 1);
      buffer.seal(round);
      while (looked.load(std::memory_order_acquire) < round) std::this_thread::yield();
      buffer.end_flight();
    }
  });
  bool is_right = true;
  for (std::uint64_t round = 1; round <= kRounds; ++round) {
    while (state::phase(buffer.word()) != bwlib::BufferPhase::kSealed) std::this_thread::yield();
    is_right = is_right && buffer.length() == round && buffer.position() == static_cast<std::int64_t>(round * 1000);
    // The next round begins with end_flight(), so what is seen sealed next is another round's.
    looked.store(round, std::memory_order_release);
    while (round < kRounds && state::phase(buffer.word()) == bwlib::BufferPhase::kSealed &&
           buffer.length() == round)
      std::this_thread::yield();
  }
  pen_holder.join();
  assert_true(is_right);
}

// ---- 3. The pen holder's own bytes are never dropped, and bounds use this buffer's size. ----

static void test_rules__3_the_bytes_that_cross_the_end_are_kept(void **) {
  for (std::uint32_t flags : {0u, unsigned{BW_UNSHARED}, unsigned{BW_BACKGROUND}}) {
    for (std::size_t first = 0; first <= 10; ++first) {
      for (std::size_t second = 1; second <= 25; ++second) {
        unit::Rig rig(flags, 10);
        const std::string expected = std::string(first, 'a') + std::string(second, 'b') + "c";
        if (first) assert_true(rig.write(std::string(first, 'a')));
        assert_true(rig.write(std::string(second, 'b')));
        assert_true(rig.write("c"));
        assert_int_equal(bw_flush(rig.bw), 0);
        assert_true(rig.sink.bytes() == expected);
      }
    }
  }
}

static void test_rules__3_each_buffer_is_bounded_by_its_own_size(void **) {
  constexpr std::uint32_t kFlags[] = {BW_BACKGROUND, BW_BACKGROUND | BW_UNSHARED};
  for (std::uint32_t flags : kFlags) {
    unit::Rig small(flags, 5), large(flags, 50);
    std::string expected;
    for (char byte = 'a'; byte <= 'z'; ++byte) {
      expected += std::string(4, byte);
      assert_true(small.write(std::string(4, byte)));
      assert_true(large.write(std::string(4, byte)));
    }
    assert_int_equal(bw_flush(small.bw), 0);
    assert_int_equal(bw_flush(large.bw), 0);
    assert_true(small.sink.bytes() == expected);
    assert_true(large.sink.bytes() == expected);
    assert_true(small.sink.calls() == std::vector<std::size_t>({5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5,
                                                                5, 5, 4}));
    assert_true(large.sink.calls() == std::vector<std::size_t>({50, 50, 4}));
  }
}

// ---- 4. No field can overflow with 2^16 threads. ----

static_assert(bwlib::kMaxThreads * (bwlib::kMaxCapacity + 1) + bwlib::kMaxCapacity < std::uint64_t{1} << 44);
static_assert(state::kOffsetBits + state::kPhaseBits == 64 && state::kOffsetBits >= 44);

static void test_rules__4_all_threads_at_once_overflow_no_field(void **) {
  Buffer buffer;
  buffer.attach(nullptr, bwlib::kMaxCapacity, 0);
  buffer.open(bwlib::kMaxCapacity);
  assert_int_equal(buffer.reserve(bwlib::kMaxCapacity + 1), bwlib::kMaxCapacity); // the pen
  for (std::uint64_t thread = 1; thread < bwlib::kMaxThreads; ++thread)
    assert_true(buffer.reserve(bwlib::kMaxCapacity + 1) > bwlib::kMaxCapacity);
  assert_true(state::phase(buffer.word()) == bwlib::BufferPhase::kOpen);
  assert_true(state::offset(buffer.word()) < std::uint64_t{1} << 44);
}

static void test_rules__4_whoever_wants_the_pen_adds_capacity_and_one(void **) {
  RingBench bench(1);
  Buffer &buffer = bench.ring.open_buffer();
  buffer.reserve(3);
  assert_true(bench.ring.try_pen());
  assert_int_equal(state::offset(buffer.word()), 3 + kCapacity + 1);
}

static void test_rules__4_a_closed_word_is_not_added_to(void **) {
  RingBench bench(1);
  assert_true(bench.ring.try_pen());
  const std::uint64_t word = bench.buffers[0].word();
  for (int turn = 0; turn < 1000; ++turn) assert_false(bench.ring.try_pen());
  assert_true(bench.buffers[0].word() == word);
}

// ---- 5. No standalone fences; every atomic operation names its order. ----

namespace {

std::string source_folder() {
  const std::string here = __FILE__;
  return here.substr(0, here.rfind('/')) + "/../../src/";
}

// The text without comments and strings, with its lines kept.
std::string code_of(const std::string &text) {
  std::string code;
  for (std::size_t at = 0; at < text.size();) {
    if (text.compare(at, 2, "//") == 0) {
      at = std::min(text.find('\n', at), text.size());
    } else if (text.compare(at, 2, "/*") == 0) {
      for (const std::size_t end = std::min(text.find("*/", at + 2), text.size() - 2) + 2; at < end; ++at)
        if (text[at] == '\n') code += '\n';
    } else if (text[at] == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at)
        if (text[at] == '\\') ++at;
      ++at;
    } else {
      code += text[at++];
    }
  }
  return code;
}

// What stands between the parenthesis at `open` and its partner.
std::string arguments_at(const std::string &code, std::size_t open) {
  int depth = 0;
  for (std::size_t at = open; at < code.size(); ++at) {
    if (code[at] == '(') ++depth;
    if (code[at] == ')' && --depth == 0) return code.substr(open, at - open + 1);
  }
  return {};
}

bool names_an_order(const std::string &arguments) {
  for (const char *order : {"memory_order_", "__ATOMIC_", "Model::kOwn"}) {
    if (arguments.find(order) != std::string::npos) return true;
  }
  return false;
}

long line_of(const std::string &code, std::size_t at) {
  return 1 + std::count(code.begin(), code.begin() + static_cast<std::ptrdiff_t>(at), '\n');
}

// How many places of a file break rule 5; says which.
int breaches_in(const std::string &name) {
  std::ifstream file(source_folder() + name);
  std::stringstream text;
  text << file.rdbuf();
  const std::string code = code_of(text.str());
  int breaches = 0;
  const auto tell = [&](std::size_t at, const char *what) {
    std::fprintf(stderr, "src/%s:%ld: %s\n", name.c_str(), line_of(code, at), what);
    ++breaches;
  };
  // (atomic_signal_fence binds the compiler only; thread sanitizers need not follow it.)
  for (const char *fence : {"atomic_thread_fence", "__sync_", "_mm_mfence", "asm"}) {
    for (std::size_t at = 0; (at = code.find(fence, at)) != std::string::npos; ++at) tell(at, fence);
  }
  for (const char *operation : {".load(", ">load(", ".store(", ">store(", ".exchange(", ">exchange(", "fetch_add(",
                                "fetch_sub(", "fetch_or(", "fetch_and(", "fetch_xor(", "compare_exchange_weak(",
                                "compare_exchange_strong(", "__atomic_load_n(", "__atomic_store_n("}) {
    for (std::size_t at = 0; (at = code.find(operation, at)) != std::string::npos; ++at) {
      if (!names_an_order(arguments_at(code, code.find('(', at)))) tell(at, "an atomic operation names no order");
    }
  }
  return breaches;
}

std::vector<std::string> source_names() {
  std::vector<std::string> names;
  DIR *folder = opendir(source_folder().c_str());
  while (const dirent *entry = folder ? readdir(folder) : nullptr) {
    const std::string name = entry->d_name;
    if (name.ends_with(".h") || name.ends_with(".cc")) names.push_back(name);
  }
  if (folder) closedir(folder);
  return names;
}

} // namespace

static void test_rules__5_there_are_no_fences_and_every_atomic_names_its_order(void **) {
  const std::vector<std::string> names = source_names();
  assert_true(names.size() > 10);
  int breaches = 0;
  for (const std::string &name : names) breaches += breaches_in(name);
  assert_int_equal(breaches, 0);
}

// ---- 6. Flush waits for the writers of its range and nobody else's. ----

namespace {

// True if that thread of ours sleeps.
bool is_asleep(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string line;
  std::getline(file, line);
  const std::size_t end_of_name = line.rfind(')');
  return end_of_name != std::string::npos && line.compare(end_of_name, 3, ") S") == 0;
}

// A flush in a thread of its own.
struct Flusher {
  explicit Flusher(bw_t *bw)
      : thread([this, bw] {
          id = gettid();
          code = bw_flush(bw);
          is_done = true;
        }) {}
  std::atomic<pid_t> id{0};
  std::atomic<int> code{1};
  std::atomic<bool> is_done{false};
  std::thread thread;
};

} // namespace

static void test_rules__6_flush_waits_for_spans_of_its_range(void **) {
  for (std::uint32_t flags : {0u, unsigned{BW_BACKGROUND}}) {
    unit::Rig rig(flags, 64);
    bw_span_t span;
    assert_int_equal(bw_reserve(rig.bw, 3, &span), 0);
    assert_int_equal(bw_poll_flush(rig.bw, nullptr), -EAGAIN);
    assert_true(rig.sink.bytes().empty());
    std::memcpy(span.data, "abc", 3);
    assert_int_equal(bw_commit(rig.bw, &span, 3), 0);
    assert_int_equal(bw_flush(rig.bw), 0);
    assert_true(rig.sink.bytes() == "abc");
  }
}

static void test_rules__6_a_background_flush_waits_for_no_span_behind_its_range(void **) {
  unit::Rig rig(BW_BACKGROUND, 16, 3);
  rig.sink.write_gate.close();
  assert_true(rig.write("0123456789"));
  Flusher flusher(rig.bw);
  assert_true(rig.sink.write_gate.await(1)); // its bytes are with the sink: the range is fixed
  bw_span_t span;
  assert_int_equal(bw_reserve(rig.bw, 4, &span), 0);
  assert_int_equal(span.position, 10);
  rig.sink.write_gate.open();
  const bool was_done = unit::eventually([&] { return flusher.is_done.load(); });
  std::memcpy(span.data, "abcd", 4);
  assert_int_equal(bw_commit(rig.bw, &span, 4), 0);
  flusher.thread.join();
  assert_true(was_done);
  assert_int_equal(flusher.code, 0);
}

// The flush waits for the sink, which another thread's sync is using, and meanwhile a span is reserved.
static void test_rules__6_an_inline_flush_waits_for_no_span_behind_its_range(void **) {
  if (unit::under_valgrind()) skip(); // there every thread looks asleep
  unit::Rig rig(0, 64);
  rig.sink.sync_gate.close();
  assert_true(rig.write("ab"));
  std::thread syncer([&] { bw_sync(rig.bw); });
  assert_true(rig.sink.sync_gate.await(1));
  assert_true(rig.write("0123456789"));
  Flusher flusher(rig.bw);
  assert_true(unit::eventually([&] { return flusher.id != 0 && is_asleep(flusher.id); }));
  bw_span_t span;
  assert_int_equal(bw_reserve(rig.bw, 4, &span), 0);
  assert_int_equal(span.position, 12);
  rig.sink.sync_gate.open();
  syncer.join();
  const bool was_done = unit::eventually([&] { return flusher.is_done.load(); });
  std::memcpy(span.data, "abcd", 4);
  assert_int_equal(bw_commit(rig.bw, &span, 4), 0);
  flusher.thread.join();
  assert_true(was_done);
  assert_int_equal(flusher.code, 0);
}

// ---- 7. Padding never carries old bytes to the file. ----

static void test_rules__7_a_reused_buffer_brings_no_old_bytes_to_the_sink(void **) {
  for (std::uint32_t flags : {0u, unsigned{BW_UNSHARED}, unsigned{BW_BACKGROUND},
                              unsigned{BW_BACKGROUND} | unsigned{BW_UNSHARED}}) {
    unit::Rig rig(flags, 4096, 2);
    std::string expected;
    for (int round = 0; round < 6; ++round) {
      expected += std::string(4095, 'o') + "12345";
      assert_true(rig.write(std::string(4095, 'o')));
      assert_int_equal(bw_flush(rig.bw), 0);
      assert_true(rig.write("12345"));
      assert_int_equal(bw_flush(rig.bw), 0);
    }
    assert_true(rig.sink.bytes() == expected);
  }
}

static void test_rules__7_what_a_span_did_not_use_never_reaches_the_sink(void **) {
  for (std::uint32_t flags : {unsigned{BW_UNSHARED}, unsigned{BW_BACKGROUND} | unsigned{BW_UNSHARED}}) {
    unit::Rig rig(flags, 64);
    bw_span_t span;
    assert_int_equal(bw_reserve(rig.bw, 40, &span), 0);
    std::memset(span.data, 'o', span.length);
    assert_int_equal(bw_commit(rig.bw, &span, 3), 0);
    assert_true(rig.write("abc"));
    assert_int_equal(bw_reserve(rig.bw, 40, &span), 0);
    assert_int_equal(bw_commit(rig.bw, &span, 0), 0);
    assert_int_equal(bw_flush(rig.bw), 0);
    assert_true(rig.sink.bytes() == "oooabc");
  }
}

// ---- 8. Nothing rides on every write that only some need. ----

namespace {

constexpr int kWrites = 10000;

// From now on every system call of this thread but exit_group(2) ends the process.
bool forbid_system_calls() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  const sock_fprog program = {std::size(filter), filter};
  REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
  return true;
}

// In a child: makes a writer, then may do nothing but exit, and works.
template <class Work>
bool works_without_system_calls(std::uint32_t flags, Work work) {
  return unit::in_child([&] {
    unit::Rig rig(flags, 1 << 20);
    work(rig.bw); // the first time, the thread takes its slot
    REQUIRE(forbid_system_calls());
    bool is_right = true;
    for (int time = 0; time < kWrites && is_right; ++time) is_right = work(rig.bw);
    _exit(is_right ? 0 : 1);
  });
}

bool write_one(bw_t *bw) {
  char record[64] = "record";
  return bw_write(bw, record, sizeof record) == sizeof record;
}

bool fill_span(bw_t *bw) {
  bw_span_t span;
  return bw_reserve(bw, 64, &span) == 0 && bw_commit(bw, &span, span.length > 64 ? 64 : span.length) == 0;
}

// What watches system calls makes some of its own.
bool can_watch_system_calls() {
  return !UNIT_SANITIZED && !unit::under_valgrind();
}

} // namespace

static void test_rules__8_a_system_call_would_be_noticed(void **) {
  if (!can_watch_system_calls()) skip();
  assert_false(works_without_system_calls(0, [](bw_t *) { return getpid() > 0; }));
}

static void test_rules__8_an_unshared_write_makes_no_system_call(void **) {
  if (!can_watch_system_calls()) skip();
  assert_true(works_without_system_calls(BW_UNSHARED, write_one));
  assert_true(works_without_system_calls(BW_UNSHARED | BW_BACKGROUND, write_one));
}

// No getpid() either.
static void test_rules__8_a_shared_write_makes_no_system_call(void **) {
  if (!can_watch_system_calls()) skip();
  assert_true(works_without_system_calls(0, write_one));
  assert_true(works_without_system_calls(BW_BACKGROUND, write_one));
}

static void test_rules__8_a_span_makes_no_system_call(void **) {
  if (!can_watch_system_calls()) skip();
  assert_true(works_without_system_calls(0, fill_span));
  assert_true(works_without_system_calls(BW_UNSHARED, fill_span));
}

static void test_rules__8_open_spans_need_no_memory(void **) {
  constexpr int kSpans = 10000;
  unit::Rig rig(0, kSpans);
  std::vector<bw_span_t> spans(kSpans);
  const std::size_t before = mallinfo2().uordblks;
  for (bw_span_t &span : spans) assert_int_equal(bw_reserve(rig.bw, 1, &span), 0);
  assert_int_equal(mallinfo2().uordblks, before);
  for (bw_span_t &span : spans) {
    *static_cast<char *>(span.data) = 'x';
    assert_int_equal(bw_commit(rig.bw, &span, 1), 0);
  }
  assert_int_equal(bw_flush(rig.bw), 0);
  assert_true(rig.sink.bytes() == std::string(kSpans, 'x'));
}

static void test_rules__8_accepted_never_passes_an_open_span(void **) {
  unit::Rig rig(0, 64);
  assert_true(rig.write("12345"));
  bw_span_t span;
  assert_int_equal(bw_reserve(rig.bw, 4, &span), 0);
  assert_int_equal(write(rig.bw, "abc"), 3);
  assert_true(bw_position(rig.bw, BW_ACCEPTED) <= 5);
  assert_int_equal(bw_tell(rig.bw), 12);
  std::memset(span.data, 'x', 4);
  assert_int_equal(bw_commit(rig.bw, &span, 4), 0);
  assert_int_equal(bw_position(rig.bw, BW_ACCEPTED), 12);
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_rules__1_a_recycled_buffer_is_closed),
      cmocka_unit_test(test_rules__1_stale_additions_to_a_recycled_buffer_change_nothing),
      cmocka_unit_test(test_rules__2_whoever_sees_sealed_sees_length_and_position),
      cmocka_unit_test(test_rules__3_the_bytes_that_cross_the_end_are_kept),
      cmocka_unit_test(test_rules__3_each_buffer_is_bounded_by_its_own_size),
      cmocka_unit_test(test_rules__4_all_threads_at_once_overflow_no_field),
      cmocka_unit_test(test_rules__4_whoever_wants_the_pen_adds_capacity_and_one),
      cmocka_unit_test(test_rules__4_a_closed_word_is_not_added_to),
      cmocka_unit_test(test_rules__5_there_are_no_fences_and_every_atomic_names_its_order),
      cmocka_unit_test(test_rules__6_flush_waits_for_spans_of_its_range),
      cmocka_unit_test(test_rules__6_a_background_flush_waits_for_no_span_behind_its_range),
      cmocka_unit_test(test_rules__6_an_inline_flush_waits_for_no_span_behind_its_range),
      cmocka_unit_test(test_rules__7_a_reused_buffer_brings_no_old_bytes_to_the_sink),
      cmocka_unit_test(test_rules__7_what_a_span_did_not_use_never_reaches_the_sink),
      cmocka_unit_test(test_rules__8_a_system_call_would_be_noticed),
      cmocka_unit_test(test_rules__8_an_unshared_write_makes_no_system_call),
      cmocka_unit_test(test_rules__8_a_shared_write_makes_no_system_call),
      cmocka_unit_test(test_rules__8_a_span_makes_no_system_call),
      cmocka_unit_test(test_rules__8_open_spans_need_no_memory),
      cmocka_unit_test(test_rules__8_accepted_never_passes_an_open_span),
  };
  return cmocka_run_group_tests_name("rules", tests, nullptr, nullptr);
}
