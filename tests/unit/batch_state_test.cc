// Items and bytes in one number: no field reaches into the other, places never overlap.
#include "batch_state.h"

#include <random>

#include "unit.h"

namespace state = bwlib::batch_state;
using bwlib::buffer_state::closed;
using bwlib::buffer_state::offset;

static void test_batch_state__the_largest_batch_keeps_both_counts(void **) {
  const std::uint64_t most = state::pack(bwlib::kMaxBatchItems, bwlib::kMaxBatchBytes);
  assert_int_equal(state::items(most), bwlib::kMaxBatchItems);
  assert_int_equal(state::bytes(most), bwlib::kMaxBatchBytes);
  assert_int_equal(offset(bwlib::buffer_state::pack(most, bwlib::BufferPhase::kOpen)), most);
}

static void test_batch_state__nothing_fits_a_closed_word(void **) {
  const std::uint64_t bytes[] = {1, 100, bwlib::kMaxBatchBytes};
  for (const std::uint64_t most : bytes) {
    const std::uint64_t capacity = state::pack(3, most);
    const std::uint64_t word = closed(capacity, bwlib::BufferPhase::kSealed);
    assert_false(state::fits(offset(word), 0, capacity));
    assert_false(state::fits(offset(word), most, capacity));
    assert_true(bwlib::buffer_state::is_open(bwlib::buffer_state::pack(capacity, bwlib::BufferPhase::kOpen), capacity));
    assert_false(bwlib::buffer_state::is_open(word, capacity));
  }
}

static void test_batch_state__fits_up_to_either_limit(void **) {
  const std::uint64_t capacity = state::pack(2, 10);
  assert_true(state::fits(0, 10, capacity));
  assert_false(state::fits(0, 11, capacity));
  assert_true(state::fits(state::pack(1, 10), 0, capacity));
  assert_false(state::fits(state::pack(1, 10), 1, capacity));
  assert_false(state::fits(state::pack(2, 0), 0, capacity));
}

static void test_batch_state__a_mark_is_reached_by_items_or_bytes(void **) {
  const std::uint64_t mark = state::mark(3, 100);
  assert_false(state::has_reached(state::pack(2, 99), mark));
  assert_true(state::has_reached(state::pack(3, 0), mark));
  assert_true(state::has_reached(state::pack(1, 100), mark));
  assert_true(state::has_reached(state::pack(4, 101), mark));
  assert_true(state::has_reached(state::pack(0, 0), state::mark(0, 0)));
  assert_true(state::has_reached(state::pack(0, 0), state::mark(0, 1)));
}

static void test_batch_state__a_mark_may_be_at_the_limits(void **) {
  const std::uint64_t items = bwlib::kMaxBatchItems, bytes = bwlib::kMaxBatchBytes, mark = state::mark(items, bytes);
  assert_false(state::has_reached(state::pack(items - 1, bytes - 1), mark));
  assert_true(state::has_reached(state::pack(items, 0), mark));
  assert_true(state::has_reached(state::pack(0, bytes), mark));
  assert_true(state::has_reached(state::pack(items + 1, 2 * bytes), mark)); // one more item, which does not fit
  assert_true(state::has_reached(state::pack(items + 1, 2 * bytes), state::mark(0, 0)));
  assert_true(state::has_reached(offset(closed(state::pack(1, 1), bwlib::BufferPhase::kSealed)), state::mark(1, 1)));
}

static void test_batch_state__places_are_aligned_and_never_overlap(void **) {
  std::mt19937 random(1);
  for (std::uint64_t alignment = 1; alignment <= 4096; alignment *= 2) {
    std::uint64_t items = 0, bytes = 0, end = 0;
    for (; items < 300; ++items) {
      const std::uint64_t length = random() % 200;
      const std::uint64_t at = state::place(state::pack(items, bytes), alignment, alignment - 1);
      assert_int_equal(at % alignment, 0);
      assert_true(at >= end);
      end = at + length;
      bytes += length;
    }
    assert_true(end <= bytes + items * (alignment - 1));
  }
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_batch_state__the_largest_batch_keeps_both_counts),
      cmocka_unit_test(test_batch_state__nothing_fits_a_closed_word),
      cmocka_unit_test(test_batch_state__fits_up_to_either_limit),
      cmocka_unit_test(test_batch_state__a_mark_is_reached_by_items_or_bytes),
      cmocka_unit_test(test_batch_state__a_mark_may_be_at_the_limits),
      cmocka_unit_test(test_batch_state__places_are_aligned_and_never_overlap),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
