// The packed state word: what goes in comes out, and nothing overflows.
#include "buffer_state.h"

#include "unit.h"

using bwlib::BufferPhase;
using bwlib::kMaxCapacity;
using bwlib::kMaxThreads;
namespace state = bwlib::buffer_state;

static constexpr BufferPhase kPhases[] = {BufferPhase::kFree, BufferPhase::kOpen, BufferPhase::kSealed,
                                          BufferPhase::kInFlight};

static void test_buffer_state__what_is_packed_can_be_taken_apart(void **) {
  for (BufferPhase phase : kPhases) {
    for (std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, kMaxCapacity, (std::uint64_t{1} << 44) - 1}) {
      const std::uint64_t word = state::pack(offset, phase);
      assert_int_equal(state::offset(word), offset);
      assert_true(state::phase(word) == phase);
    }
  }
}

static void test_buffer_state__every_phase_fits_its_bits(void **) {
  for (BufferPhase phase : kPhases) assert_true(static_cast<std::uint64_t>(phase) <= state::kPhaseMask);
}

static void test_buffer_state__phases_are_different(void **) {
  for (BufferPhase one : kPhases) {
    for (BufferPhase other : kPhases) assert_true((state::pack(7, one) == state::pack(7, other)) == (one == other));
  }
}

static void test_buffer_state__a_reservation_adds_to_the_offset_only(void **) {
  for (BufferPhase phase : kPhases) {
    const std::uint64_t word = state::pack(100, phase) + state::increment(23);
    assert_int_equal(state::offset(word), 123);
    assert_true(state::phase(word) == phase);
  }
}

static void test_buffer_state__a_full_buffer_is_open(void **) {
  assert_true(state::is_open(state::pack(0, BufferPhase::kOpen), 10));
  assert_true(state::is_open(state::pack(10, BufferPhase::kOpen), 10));
}

static void test_buffer_state__beyond_the_capacity_it_is_closed(void **) {
  assert_false(state::is_open(state::pack(11, BufferPhase::kOpen), 10));
}

static void test_buffer_state__a_closed_word_is_closed_in_every_phase(void **) {
  for (BufferPhase phase : kPhases) {
    for (std::uint64_t capacity : {std::uint64_t{1}, std::uint64_t{4096}, kMaxCapacity}) {
      const std::uint64_t word = state::closed(capacity, phase);
      assert_false(state::is_open(word, capacity));
      assert_true(state::phase(word) == phase);
    }
  }
}

static void test_buffer_state__all_threads_adding_the_most_overflow_nothing(void **) {
  for (BufferPhase phase : kPhases) {
    std::uint64_t word = state::pack(kMaxCapacity, phase);
    for (std::uint64_t thread = 0; thread < kMaxThreads; ++thread) {
      const std::uint64_t before = word;
      word += state::increment(kMaxCapacity + 1);
      assert_true(word > before);
      assert_false(state::is_open(word, kMaxCapacity));
    }
    assert_int_equal(state::offset(word), kMaxCapacity + kMaxThreads * (kMaxCapacity + 1));
    assert_true(state::phase(word) == phase);
  }
}

static void test_buffer_state__the_limits_are_those_of_the_contract(void **) {
  assert_int_equal(kMaxCapacity, 128u << 20);
  assert_int_equal(kMaxThreads, 65536);
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_buffer_state__what_is_packed_can_be_taken_apart),
      cmocka_unit_test(test_buffer_state__every_phase_fits_its_bits),
      cmocka_unit_test(test_buffer_state__phases_are_different),
      cmocka_unit_test(test_buffer_state__a_reservation_adds_to_the_offset_only),
      cmocka_unit_test(test_buffer_state__a_full_buffer_is_open),
      cmocka_unit_test(test_buffer_state__beyond_the_capacity_it_is_closed),
      cmocka_unit_test(test_buffer_state__a_closed_word_is_closed_in_every_phase),
      cmocka_unit_test(test_buffer_state__all_threads_adding_the_most_overflow_nothing),
      cmocka_unit_test(test_buffer_state__the_limits_are_those_of_the_contract),
  };
  return cmocka_run_group_tests_name("buffer_state", tests, nullptr, nullptr);
}
