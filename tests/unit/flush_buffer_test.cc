// One block: who gets which range, who gets the pen, and when all copies have ended.
#include "flush_buffer.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "aligned_memory.h"
#include "process.h"
#include "unit.h"

namespace {

using bwlib::BufferPhase;
using Buffer = bwlib::FlushBuffer<>;
using Slots = bwlib::CopySlots<>;
namespace state = bwlib::buffer_state;

constexpr std::uint64_t kCapacity = 100;

// One buffer over a block, and its slots.
struct Bench {
  explicit Bench(std::uint64_t capacity = kCapacity) : block(capacity) {
    if (memory.map(Slots::bytes(1)) != 0) std::abort();
    slots.attach(memory.data(), 1, true);
    buffer.attach(block.data(), capacity, 0);
  }
  void copy(std::uint64_t bytes) {
    const std::uintptr_t me = bwlib::thread_identity();
    slots.commit(slots.find(me), me, 0, bytes);
  }
  // A reservation that fits, and its copy.
  void fill(std::uint64_t bytes) {
    buffer.reserve(bytes);
    copy(bytes);
  }
  BufferPhase phase() { return state::phase(buffer.word()); }

  std::vector<char> block;
  bwlib::Mapping memory;
  Slots slots;
  Buffer buffer;
};

} // namespace

static void test_flush_buffer__a_new_buffer_is_closed(void **) {
  Bench bench;
  assert_false(bench.buffer.is_open());
  assert_true(bench.phase() == BufferPhase::kFree);
  assert_true(bench.buffer.reserve(1) > kCapacity);
}

static void test_flush_buffer__it_knows_its_block(void **) {
  Bench bench;
  assert_ptr_equal(bench.buffer.data(), bench.block.data());
  assert_int_equal(bench.buffer.index(), 0);
}

static void test_flush_buffer__reservations_follow_one_another(void **) {
  Bench bench;
  bench.buffer.open(0);
  assert_int_equal(bench.buffer.reserve(10), 0);
  assert_int_equal(bench.buffer.reserve(20), 10);
  assert_int_equal(bench.buffer.reserve(1), 30);
}

static void test_flush_buffer__an_open_buffer_goes_on_where_it_was_filled_to(void **) {
  Bench bench;
  bench.buffer.open(42);
  assert_int_equal(bench.buffer.reserve(1), 42);
}

static void test_flush_buffer__a_reservation_may_fill_the_block(void **) {
  Bench bench;
  bench.buffer.open(0);
  assert_int_equal(bench.buffer.reserve(kCapacity), 0);
  assert_true(bench.buffer.is_open());
}

static void test_flush_buffer__the_first_to_cross_the_end_sees_an_offset_within(void **) {
  Bench bench;
  bench.buffer.open(0);
  bench.buffer.reserve(90);
  assert_int_equal(bench.buffer.reserve(11), 90);
  assert_false(bench.buffer.is_open());
}

static void test_flush_buffer__who_crosses_a_full_block_is_the_first_too(void **) {
  Bench bench;
  bench.buffer.open(kCapacity);
  assert_int_equal(bench.buffer.reserve(1), kCapacity);
  assert_true(bench.buffer.reserve(1) > kCapacity);
}

static void test_flush_buffer__who_comes_after_the_first_sees_an_offset_beyond(void **) {
  Bench bench;
  bench.buffer.open(0);
  bench.buffer.reserve(90);
  bench.buffer.reserve(11);
  assert_true(bench.buffer.reserve(1) > kCapacity);
  assert_true(bench.buffer.reserve(kCapacity) > kCapacity);
}

static void test_flush_buffer__a_sealed_buffer_keeps_its_length_and_position(void **) {
  Bench bench;
  bench.buffer.set_position(1234);
  bench.buffer.open(0);
  bench.fill(60);
  bench.buffer.reserve(kCapacity + 1);
  bench.buffer.seal(60);
  assert_true(bench.phase() == BufferPhase::kSealed);
  assert_false(bench.buffer.is_open());
  assert_int_equal(bench.buffer.length(), 60);
  assert_int_equal(bench.buffer.position(), 1234);
}

static void test_flush_buffer__in_flight_it_is_closed(void **) {
  Bench bench;
  bench.buffer.open(0);
  bench.buffer.seal(0);
  bench.buffer.begin_flight();
  assert_true(bench.phase() == BufferPhase::kInFlight);
  assert_true(bench.buffer.reserve(1) > kCapacity);
}

static void test_flush_buffer__copies_are_outstanding_until_they_are_counted(void **) {
  Bench bench;
  bench.buffer.open(0);
  bench.buffer.reserve(10);
  bench.buffer.reserve(20);
  assert_false(bench.buffer.all_committed(bench.slots, 30));
  bench.copy(20);
  assert_false(bench.buffer.all_committed(bench.slots, 30));
  bench.copy(10);
  assert_true(bench.buffer.all_committed(bench.slots, 30));
}

static void test_flush_buffer__an_empty_buffer_has_nothing_outstanding(void **) {
  Bench bench;
  bench.buffer.open(0);
  assert_true(bench.buffer.all_committed(bench.slots, 0));
}

static void test_flush_buffer__the_bytes_of_the_pen_holder_need_no_slot(void **) {
  Bench bench;
  bench.buffer.open(0);
  bench.fill(10);
  bench.buffer.reserve(kCapacity + 1);
  bench.buffer.count_own(5);
  assert_true(bench.buffer.all_committed(bench.slots, 15));
}

static void test_flush_buffer__what_the_sink_took_shortens_what_is_waited_for(void **) {
  Bench bench;
  bench.buffer.open(0);
  bench.fill(50);
  bench.buffer.reserve(kCapacity + 1);
  bench.buffer.count_taken(30);
  assert_true(bench.buffer.all_committed(bench.slots, 20));
  bench.buffer.open(20);
  bench.buffer.reserve(1);
  assert_false(bench.buffer.all_committed(bench.slots, 21));
  bench.copy(1);
  assert_true(bench.buffer.all_committed(bench.slots, 21));
}

static void test_flush_buffer__rounds_are_counted_apart(void **) {
  Bench bench;
  for (std::uint64_t round = 1; round <= 50; ++round) {
    bench.buffer.open(0);
    bench.buffer.reserve(round);
    assert_false(bench.buffer.all_committed(bench.slots, round));
    bench.copy(round);
    assert_true(bench.buffer.all_committed(bench.slots, round));
    bench.buffer.reserve(kCapacity + 1);
    bench.buffer.count_own(3);
    bench.buffer.seal(round + 3);
    assert_true(bench.buffer.all_committed(bench.slots, round + 3));
    bench.buffer.begin_flight();
    bench.buffer.end_flight();
    assert_true(bench.phase() == BufferPhase::kFree);
  }
}

static void test_flush_buffer__reservations_that_were_not_given_are_never_counted(void **) {
  Bench bench;
  bench.buffer.open(0);
  bench.fill(kCapacity);
  for (int thread = 0; thread < 1000; ++thread) bench.buffer.reserve(kCapacity + 1);
  bench.buffer.seal(kCapacity);
  for (int thread = 0; thread < 1000; ++thread) bench.buffer.reserve(1);
  assert_true(bench.buffer.all_committed(bench.slots, kCapacity));
  bench.buffer.end_flight();
  bench.buffer.open(0);
  assert_int_equal(bench.buffer.reserve(7), 0);
  assert_false(bench.buffer.all_committed(bench.slots, 7));
}

static void test_flush_buffer__a_capacity_of_one_byte_works(void **) {
  Bench bench(1);
  bench.buffer.open(0);
  assert_int_equal(bench.buffer.reserve(1), 0);
  assert_int_equal(bench.buffer.reserve(1), 1);
  assert_int_equal(bench.buffer.reserve(1), 2);
}

// Many threads, one round: their ranges lie side by side, and one of them has crossed the end.
static void test_flush_buffer__ranges_never_overlap_and_one_thread_gets_the_pen(void **) {
  constexpr unsigned kThreads = 4;
  constexpr std::uint64_t kBytes = 5000;
  for (unsigned round = 0; round < 50; ++round) {
    Bench bench(kBytes);
    bench.buffer.open(0);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges[kThreads];
    std::atomic<unsigned> pens{0};
    std::atomic<std::uint64_t> crossed_at{0};
    std::vector<std::thread> threads;
    for (unsigned number = 0; number < kThreads; ++number) {
      threads.emplace_back([&, number] {
        unit::Random random(round * kThreads + number);
        for (;;) {
          const std::uint64_t bytes = 1 + random.below(30);
          const std::uint64_t offset = bench.buffer.reserve(bytes);
          if (offset + bytes <= kBytes) {
            ranges[number].push_back({offset, bytes});
            bench.copy(bytes);
            continue;
          }
          if (offset <= kBytes) {
            pens.fetch_add(1, std::memory_order_relaxed);
            crossed_at.store(offset, std::memory_order_relaxed);
          }
          return;
        }
      });
    }
    for (std::thread &thread : threads) thread.join();
    assert_int_equal(pens.load(std::memory_order_relaxed), 1);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> all;
    for (const auto &list : ranges) all.insert(all.end(), list.begin(), list.end());
    std::sort(all.begin(), all.end());
    std::uint64_t end = 0;
    for (const auto &[offset, bytes] : all) {
      assert_int_equal(offset, end);
      end += bytes;
    }
    assert_int_equal(end, crossed_at.load(std::memory_order_relaxed));
    assert_true(bench.buffer.all_committed(bench.slots, end));
  }
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_flush_buffer__a_new_buffer_is_closed),
      cmocka_unit_test(test_flush_buffer__it_knows_its_block),
      cmocka_unit_test(test_flush_buffer__reservations_follow_one_another),
      cmocka_unit_test(test_flush_buffer__an_open_buffer_goes_on_where_it_was_filled_to),
      cmocka_unit_test(test_flush_buffer__a_reservation_may_fill_the_block),
      cmocka_unit_test(test_flush_buffer__the_first_to_cross_the_end_sees_an_offset_within),
      cmocka_unit_test(test_flush_buffer__who_crosses_a_full_block_is_the_first_too),
      cmocka_unit_test(test_flush_buffer__who_comes_after_the_first_sees_an_offset_beyond),
      cmocka_unit_test(test_flush_buffer__a_sealed_buffer_keeps_its_length_and_position),
      cmocka_unit_test(test_flush_buffer__in_flight_it_is_closed),
      cmocka_unit_test(test_flush_buffer__copies_are_outstanding_until_they_are_counted),
      cmocka_unit_test(test_flush_buffer__an_empty_buffer_has_nothing_outstanding),
      cmocka_unit_test(test_flush_buffer__the_bytes_of_the_pen_holder_need_no_slot),
      cmocka_unit_test(test_flush_buffer__what_the_sink_took_shortens_what_is_waited_for),
      cmocka_unit_test(test_flush_buffer__rounds_are_counted_apart),
      cmocka_unit_test(test_flush_buffer__reservations_that_were_not_given_are_never_counted),
      cmocka_unit_test(test_flush_buffer__a_capacity_of_one_byte_works),
      cmocka_unit_test(test_flush_buffer__ranges_never_overlap_and_one_thread_gets_the_pen),
  };
  return cmocka_run_group_tests_name("flush_buffer", tests, nullptr, nullptr);
}
