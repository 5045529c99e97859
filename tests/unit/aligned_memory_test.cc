// Whole pages: the arithmetic, and the mapping that owns them.
#include "aligned_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <memory>

#include "unit.h"

using bwlib::align_down;
using bwlib::align_up;
using bwlib::kPageBytes;
using bwlib::Mapping;

static void test_aligned_memory__align_up_gives_the_next_multiple(void **) {
  assert_int_equal(align_up(1, 4096), 4096);
  assert_int_equal(align_up(4095, 4096), 4096);
  assert_int_equal(align_up(4097, 4096), 8192);
  assert_int_equal(align_up(9, 8), 16);
}

static void test_aligned_memory__align_down_gives_the_multiple_before(void **) {
  assert_int_equal(align_down(1, 4096), 0);
  assert_int_equal(align_down(4095, 4096), 0);
  assert_int_equal(align_down(8191, 4096), 4096);
  assert_int_equal(align_down(9, 8), 8);
}

static void test_aligned_memory__multiples_stay_what_they_are(void **) {
  for (std::uint64_t alignment = 1; alignment <= 65536; alignment *= 2) {
    for (std::uint64_t factor : {0u, 1u, 2u, 1000003u}) {
      assert_int_equal(align_up(factor * alignment, alignment), factor * alignment);
      assert_int_equal(align_down(factor * alignment, alignment), factor * alignment);
    }
  }
}

static void test_aligned_memory__positions_near_the_end_of_a_stream_can_be_aligned(void **) {
  const std::uint64_t last = INT64_MAX;
  assert_int_equal(align_down(last, 4096), last - 4095);
  assert_int_equal(align_up(last, 4096), last + 1);
}

static void test_aligned_memory__a_mapping_begins_at_a_page(void **) {
  for (std::size_t bytes : {std::size_t{1}, std::size_t{4096}, std::size_t{4097}, std::size_t{1} << 20}) {
    Mapping mapping;
    assert_int_equal(mapping.map(bytes), 0);
    assert_int_equal(reinterpret_cast<std::uintptr_t>(mapping.data()) % kPageBytes, 0);
  }
}

static void test_aligned_memory__a_mapping_is_zeroed(void **) {
  Mapping mapping;
  assert_int_equal(mapping.map(3 * kPageBytes), 0);
  for (std::size_t index = 0; index < 3 * kPageBytes; ++index) assert_int_equal(mapping.data()[index], 0);
}

static void test_aligned_memory__a_mapping_can_be_written_to_its_end(void **) {
  const std::size_t bytes = 2 * kPageBytes + 100;
  Mapping mapping;
  assert_int_equal(mapping.map(bytes), 0);
  std::memset(mapping.data(), 'x', bytes);
  assert_int_equal(mapping.data()[bytes - 1], 'x');
}

static void test_aligned_memory__a_mapping_goes_with_its_owner(void **) {
  auto mapping = std::make_unique<Mapping>();
  assert_int_equal(mapping->map(kPageBytes), 0);
  void *page = mapping->data();
  unsigned char resident;
  assert_int_equal(mincore(page, kPageBytes, &resident), 0);
  mapping.reset();
  assert_int_equal(mincore(page, kPageBytes, &resident), -1);
  assert_int_equal(errno, ENOMEM);
}

static void test_aligned_memory__too_much_is_no_memory(void **) {
  Mapping mapping;
  assert_int_equal(mapping.map(std::size_t{1} << 60), -ENOMEM);
  assert_null(mapping.data());
}

static void test_aligned_memory__a_refused_mapping_may_be_asked_for_less(void **) {
  Mapping mapping;
  assert_int_equal(mapping.map(std::size_t{1} << 60), -ENOMEM);
  assert_int_equal(mapping.map(1), 0);
  assert_non_null(mapping.data());
}

static void test_aligned_memory__nothing_mapped_is_nothing_to_give_back(void **) {
  const Mapping mapping;
  assert_null(mapping.data());
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_aligned_memory__align_up_gives_the_next_multiple),
      cmocka_unit_test(test_aligned_memory__align_down_gives_the_multiple_before),
      cmocka_unit_test(test_aligned_memory__multiples_stay_what_they_are),
      cmocka_unit_test(test_aligned_memory__positions_near_the_end_of_a_stream_can_be_aligned),
      cmocka_unit_test(test_aligned_memory__a_mapping_begins_at_a_page),
      cmocka_unit_test(test_aligned_memory__a_mapping_is_zeroed),
      cmocka_unit_test(test_aligned_memory__a_mapping_can_be_written_to_its_end),
      cmocka_unit_test(test_aligned_memory__a_mapping_goes_with_its_owner),
      cmocka_unit_test(test_aligned_memory__too_much_is_no_memory),
      cmocka_unit_test(test_aligned_memory__a_refused_mapping_may_be_asked_for_less),
      cmocka_unit_test(test_aligned_memory__nothing_mapped_is_nothing_to_give_back),
  };
  return cmocka_run_group_tests_name("aligned_memory", tests, nullptr, nullptr);
}
