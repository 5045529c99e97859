// Structs of callers with other headers, and the defaults of options.
#include "options.h"

#include "buffer_state.h"
#include "unit.h"

using bwlib::kDefaultCapacity;
using bwlib::kMaxCapacity;
using bwlib::read_options;
using bwlib::read_struct;
using bwlib::write_struct;

namespace {

// A struct as this library knows it, as an older header had it, and as a newer one might.
struct Ours {
  std::uint32_t size;
  std::uint32_t flags;
  std::uint64_t first;
  std::uint64_t second;
};
struct Newer {
  Ours known;
  std::uint64_t third;
};
constexpr std::uint32_t kOlderBytes = offsetof(Ours, second);

bw_options_t options_with(std::uint32_t flags) {
  bw_options_t options = BW_OPTIONS_INIT;
  options.flags = flags;
  return options;
}

int read(const bw_options_t &theirs, bw_options_t &ours) {
  return read_options(&theirs, kDefaultCapacity, ours);
}

} // namespace

// ---- read_struct ----

static void test_options__a_struct_of_our_size_is_copied(void **) {
  const Ours theirs = {sizeof(Ours), 1, 2, 3};
  Ours ours{};
  assert_int_equal(read_struct(&theirs, ours), 0);
  assert_memory_equal(&ours, &theirs, sizeof ours);
}

static void test_options__what_a_shorter_struct_does_not_know_is_zero(void **) {
  const Ours theirs = {kOlderBytes, 1, 2, 0xdead};
  Ours ours = {9, 9, 9, 9};
  assert_int_equal(read_struct(&theirs, ours), 0);
  assert_int_equal(ours.flags, 1);
  assert_int_equal(ours.first, 2);
  assert_int_equal(ours.second, 0);
}

static void test_options__our_copy_has_our_size(void **) {
  const Newer longer = {{sizeof(Newer), 1, 2, 3}, 0};
  const Ours shorter = {sizeof(std::uint32_t), 1, 2, 3};
  Ours ours{};
  assert_int_equal(read_struct(&longer.known, ours), 0);
  assert_int_equal(ours.size, sizeof(Ours));
  assert_int_equal(read_struct(&shorter, ours), 0);
  assert_int_equal(ours.size, sizeof(Ours));
}

static void test_options__a_struct_that_is_its_size_alone_is_all_zero(void **) {
  const Ours theirs = {sizeof(std::uint32_t), 1, 2, 3};
  Ours ours{};
  assert_int_equal(read_struct(&theirs, ours), 0);
  assert_int_equal(ours.flags, 0);
  assert_int_equal(ours.first, 0);
  assert_int_equal(ours.second, 0);
}

static void test_options__a_longer_struct_is_read_if_the_rest_is_zero(void **) {
  const Newer theirs = {{sizeof(Newer), 1, 2, 3}, 0};
  Ours ours{};
  assert_int_equal(read_struct(&theirs.known, ours), 0);
  assert_int_equal(ours.second, 3);
}

static void test_options__any_byte_set_beyond_ours_is_too_big(void **) {
  for (std::size_t index = sizeof(Ours); index < sizeof(Newer); ++index) {
    Newer theirs = {{sizeof(Newer), 1, 2, 3}, 0};
    reinterpret_cast<char *>(&theirs)[index] = 1;
    Ours ours{};
    assert_int_equal(read_struct(&theirs.known, ours), -E2BIG);
  }
}

static void test_options__a_size_below_the_field_itself_is_invalid(void **) {
  for (std::uint32_t size = 0; size < sizeof(std::uint32_t); ++size) {
    const Ours theirs = {size, 1, 2, 3};
    Ours ours{};
    assert_int_equal(read_struct(&theirs, ours), -EINVAL);
  }
}

static void test_options__a_struct_at_an_odd_address_can_be_read(void **) {
  alignas(8) char memory[sizeof(Ours) + 1];
  const Ours theirs = {sizeof(Ours), 1, 2, 3};
  std::memcpy(memory + 1, &theirs, sizeof theirs);
  Ours ours{};
  assert_int_equal(read_struct(reinterpret_cast<const Ours *>(memory + 1), ours), 0);
  assert_memory_equal(&ours, &theirs, sizeof ours);
}

// ---- write_struct ----

static void test_options__a_caller_with_our_struct_gets_it_all(void **) {
  const Ours ours = {sizeof(Ours), 1, 2, 3};
  Ours theirs = {sizeof(Ours), 0, 0, 0};
  assert_int_equal(write_struct(ours, &theirs), 0);
  assert_memory_equal(&theirs, &ours, sizeof ours);
}

static void test_options__a_caller_with_a_shorter_struct_gets_what_it_holds(void **) {
  const Ours ours = {sizeof(Ours), 1, 2, 3};
  Ours theirs = {kOlderBytes, 0, 0, 77};
  assert_int_equal(write_struct(ours, &theirs), 0);
  assert_int_equal(theirs.size, kOlderBytes);
  assert_int_equal(theirs.first, 2);
  assert_int_equal(theirs.second, 77);
}

static void test_options__the_rest_of_a_longer_struct_stays_as_it_is(void **) {
  const Ours ours = {sizeof(Ours), 1, 2, 3};
  Newer theirs = {{sizeof(Newer), 0, 0, 0}, 77};
  assert_int_equal(write_struct(ours, &theirs.known), 0);
  assert_int_equal(theirs.known.size, sizeof(Newer));
  assert_int_equal(theirs.known.second, 3);
  assert_int_equal(theirs.third, 77);
}

static void test_options__a_caller_with_a_size_alone_gets_nothing(void **) {
  const Ours ours = {sizeof(Ours), 1, 2, 3};
  Ours theirs = {sizeof(std::uint32_t), 5, 6, 7};
  assert_int_equal(write_struct(ours, &theirs), 0);
  assert_int_equal(theirs.size, sizeof(std::uint32_t));
  assert_int_equal(theirs.flags, 5);
}

static void test_options__a_caller_without_a_size_gets_an_error(void **) {
  const Ours ours = {sizeof(Ours), 1, 2, 3};
  for (std::uint32_t size = 0; size < sizeof(std::uint32_t); ++size) {
    Ours theirs = {size, 5, 6, 7};
    assert_int_equal(write_struct(ours, &theirs), -EINVAL);
    assert_int_equal(theirs.flags, 5);
  }
}

// ---- read_options ----

static void test_options__none_are_all_defaults(void **) {
  bw_options_t ours;
  assert_int_equal(read_options(nullptr, kDefaultCapacity, ours), 0);
  assert_int_equal(ours.size, sizeof ours);
  assert_int_equal(ours.flags, 0);
  assert_int_equal(ours.capacity, 8192);
  assert_int_equal(ours.buffers, 1);
  assert_int_equal(ours.linger_us, 0);
  assert_int_equal(ours.high_percent, 80);
  assert_int_equal(ours.low_percent, 50);
  assert_true(ours.on_event == nullptr);
}

static void test_options__zeroed_ones_are_all_defaults(void **) {
  const bw_options_t theirs = BW_OPTIONS_INIT;
  bw_options_t ours, none;
  assert_int_equal(read(theirs, ours), 0);
  assert_int_equal(read_options(nullptr, kDefaultCapacity, none), 0);
  assert_memory_equal(&ours, &none, sizeof ours);
}

static void test_options__a_size_alone_is_all_defaults(void **) {
  bw_options_t theirs = BW_OPTIONS_INIT;
  theirs.size = sizeof theirs.size;
  theirs.capacity = 7;
  bw_options_t ours;
  assert_int_equal(read(theirs, ours), 0);
  assert_int_equal(ours.capacity, 8192);
}

static void test_options__the_default_capacity_is_the_makers(void **) {
  bw_options_t ours;
  assert_int_equal(read_options(nullptr, 777, ours), 0);
  assert_int_equal(ours.capacity, 777);
}

static void test_options__what_is_set_stays(void **) {
  bw_options_t theirs = options_with(BW_BACKGROUND);
  theirs.capacity = 5;
  theirs.buffers = 9;
  theirs.linger_us = 3;
  theirs.high_percent = 70;
  theirs.low_percent = 60;
  theirs.event_arg = &theirs;
  bw_options_t ours;
  assert_int_equal(read(theirs, ours), 0);
  assert_memory_equal(&ours, &theirs, sizeof ours);
}

static void test_options__every_known_flag_is_accepted(void **) {
  for (std::uint32_t flag : {BW_UNSHARED, BW_NONBLOCK, BW_BACKGROUND, BW_BUFFERED, BW_CALLER_DRIVEN}) {
    bw_options_t ours;
    assert_int_equal(read(options_with(flag), ours), 0);
    assert_int_equal(ours.flags, flag);
  }
}

static void test_options__every_other_flag_is_invalid(void **) {
  for (unsigned bit = 5; bit < 32; ++bit) {
    bw_options_t ours;
    assert_int_equal(read(options_with(1u << bit), ours), -EINVAL);
  }
}

static void test_options__a_capacity_may_be_anything_up_to_the_limit(void **) {
  for (std::uint64_t capacity : {std::uint64_t{1}, std::uint64_t{4097}, kMaxCapacity}) {
    bw_options_t theirs = BW_OPTIONS_INIT;
    theirs.capacity = capacity;
    bw_options_t ours;
    assert_int_equal(read(theirs, ours), 0);
    assert_int_equal(ours.capacity, capacity);
  }
}

static void test_options__a_capacity_over_the_limit_is_invalid(void **) {
  for (std::uint64_t capacity : {kMaxCapacity + 1, UINT64_MAX}) {
    bw_options_t theirs = BW_OPTIONS_INIT;
    theirs.capacity = capacity;
    bw_options_t ours;
    assert_int_equal(read(theirs, ours), -EINVAL);
  }
}

static void test_options__an_inline_writer_has_one_buffer(void **) {
  bw_options_t theirs = BW_OPTIONS_INIT;
  theirs.buffers = 8;
  bw_options_t ours;
  assert_int_equal(read(theirs, ours), 0);
  assert_int_equal(ours.buffers, 1);
}

static void test_options__a_background_writer_has_two_buffers_by_default(void **) {
  bw_options_t ours;
  assert_int_equal(read(options_with(BW_BACKGROUND), ours), 0);
  assert_int_equal(ours.buffers, 2);
}

static void test_options__an_unknown_engine_is_invalid_where_there_is_one(void **) {
  bw_options_t theirs = BW_OPTIONS_INIT;
  bw_options_t ours;
  theirs.engine = BW_ENGINE_PWRITE + 1;
  assert_int_equal(read(theirs, ours), 0);
  assert_int_equal(bwlib::read_file_options(&theirs, ours), -EINVAL);
  theirs.engine = BW_ENGINE_PWRITE;
  assert_int_equal(bwlib::read_file_options(&theirs, ours), 0);
}

static void test_options__an_unshared_writer_does_not_linger(void **) {
  bw_options_t theirs = options_with(BW_UNSHARED);
  theirs.linger_us = 1;
  bw_options_t ours;
  assert_int_equal(read(theirs, ours), -EINVAL);
}

static void test_options__the_default_of_low_is_high_if_that_is_less(void **) {
  bw_options_t theirs = BW_OPTIONS_INIT;
  theirs.high_percent = 20;
  bw_options_t ours;
  assert_int_equal(read(theirs, ours), 0);
  assert_int_equal(ours.low_percent, 20);
}

static void test_options__low_may_be_as_much_as_high(void **) {
  bw_options_t theirs = BW_OPTIONS_INIT;
  theirs.high_percent = theirs.low_percent = 100;
  bw_options_t ours;
  assert_int_equal(read(theirs, ours), 0);
}

static void test_options__low_over_high_is_invalid(void **) {
  bw_options_t theirs = BW_OPTIONS_INIT;
  theirs.low_percent = 81;
  bw_options_t ours;
  assert_int_equal(read(theirs, ours), -EINVAL);
}

static void test_options__high_over_100_is_invalid(void **) {
  bw_options_t theirs = BW_OPTIONS_INIT;
  theirs.high_percent = 101;
  bw_options_t ours;
  assert_int_equal(read(theirs, ours), -EINVAL);
}

static void test_options__a_newer_field_that_is_set_is_too_big(void **) {
  struct {
    bw_options_t known;
    std::uint64_t newer;
  } theirs = {BW_OPTIONS_INIT, 0};
  theirs.known.size = sizeof theirs;
  bw_options_t ours;
  assert_int_equal(read(theirs.known, ours), 0);
  theirs.newer = 1;
  assert_int_equal(read(theirs.known, ours), -E2BIG);
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_options__a_struct_of_our_size_is_copied),
      cmocka_unit_test(test_options__what_a_shorter_struct_does_not_know_is_zero),
      cmocka_unit_test(test_options__our_copy_has_our_size),
      cmocka_unit_test(test_options__a_struct_that_is_its_size_alone_is_all_zero),
      cmocka_unit_test(test_options__a_longer_struct_is_read_if_the_rest_is_zero),
      cmocka_unit_test(test_options__any_byte_set_beyond_ours_is_too_big),
      cmocka_unit_test(test_options__a_size_below_the_field_itself_is_invalid),
      cmocka_unit_test(test_options__a_struct_at_an_odd_address_can_be_read),
      cmocka_unit_test(test_options__a_caller_with_our_struct_gets_it_all),
      cmocka_unit_test(test_options__a_caller_with_a_shorter_struct_gets_what_it_holds),
      cmocka_unit_test(test_options__the_rest_of_a_longer_struct_stays_as_it_is),
      cmocka_unit_test(test_options__a_caller_with_a_size_alone_gets_nothing),
      cmocka_unit_test(test_options__a_caller_without_a_size_gets_an_error),
      cmocka_unit_test(test_options__none_are_all_defaults),
      cmocka_unit_test(test_options__zeroed_ones_are_all_defaults),
      cmocka_unit_test(test_options__a_size_alone_is_all_defaults),
      cmocka_unit_test(test_options__the_default_capacity_is_the_makers),
      cmocka_unit_test(test_options__what_is_set_stays),
      cmocka_unit_test(test_options__every_known_flag_is_accepted),
      cmocka_unit_test(test_options__every_other_flag_is_invalid),
      cmocka_unit_test(test_options__a_capacity_may_be_anything_up_to_the_limit),
      cmocka_unit_test(test_options__a_capacity_over_the_limit_is_invalid),
      cmocka_unit_test(test_options__an_inline_writer_has_one_buffer),
      cmocka_unit_test(test_options__a_background_writer_has_two_buffers_by_default),
      cmocka_unit_test(test_options__an_unknown_engine_is_invalid_where_there_is_one),
      cmocka_unit_test(test_options__an_unshared_writer_does_not_linger),
      cmocka_unit_test(test_options__the_default_of_low_is_high_if_that_is_less),
      cmocka_unit_test(test_options__low_may_be_as_much_as_high),
      cmocka_unit_test(test_options__low_over_high_is_invalid),
      cmocka_unit_test(test_options__high_over_100_is_invalid),
      cmocka_unit_test(test_options__a_newer_field_that_is_set_is_too_big),
  };
  return cmocka_run_group_tests_name("options", tests, nullptr, nullptr);
}
