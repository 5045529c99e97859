// Blocks come out in the order they went in, and none is leaked.
#include "spill.h"

#include "unit.h"

namespace {

using bwlib::Spill;
using bwlib::SpillBlock;

SpillBlock *block_of(const std::string &text, std::uint64_t before) {
  SpillBlock *block = Spill::allocate(text.size());
  if (!block) std::abort();
  std::memcpy(block->data(), text.data(), text.size());
  block->before = before;
  return block;
}

} // namespace

static void test_spill__a_new_one_is_empty(void **) {
  const Spill spill;
  assert_null(spill.first());
}

static void test_spill__a_block_has_room_for_its_length(void **) {
  SpillBlock *block = Spill::allocate(1000);
  assert_int_equal(block->length, 1000);
  assert_int_equal(block->taken, 0);
  std::memset(block->data(), 'x', 1000);
  assert_int_equal(block->data()[999], 'x');
  Spill spill;
  spill.push(block);
}

static void test_spill__blocks_come_in_the_order_they_were_pushed(void **) {
  Spill spill;
  for (char name : {'a', 'b', 'c'}) spill.push(block_of(std::string(5, name), 7));
  for (char name : {'a', 'b', 'c'}) {
    assert_int_equal(spill.first()->data()[0], name);
    spill.pop();
  }
  assert_null(spill.first());
}

static void test_spill__a_block_keeps_its_place_and_bytes(void **) {
  Spill spill;
  spill.push(block_of("hello", 42));
  assert_int_equal(spill.first()->before, 42);
  assert_int_equal(spill.first()->length, 5);
  assert_memory_equal(spill.first()->data(), "hello", 5);
}

static void test_spill__after_it_was_empty_it_takes_blocks_again(void **) {
  Spill spill;
  for (int round = 0; round < 5; ++round) {
    spill.push(block_of("x", 0));
    spill.pop();
    assert_null(spill.first());
  }
}

static void test_spill__the_next_block_follows_the_first(void **) {
  Spill spill;
  spill.push(block_of("a", 1));
  spill.push(block_of("b", 2));
  assert_int_equal(spill.first()->next->before, 2);
  assert_null(spill.first()->next->next);
}

static void test_spill__what_is_left_goes_with_it(void **) {
  Spill spill; // a sanitizer or valgrind sees what would be leaked
  for (int number = 0; number < 10; ++number) spill.push(block_of("some bytes", 0));
}

static void test_spill__without_memory_there_is_no_block(void **) {
  if (UNIT_SANITIZED || unit::under_valgrind()) skip(); // they end the program instead
  volatile std::uint64_t length = std::uint64_t{1} << 60;
  bwlib::SpillBlock *volatile block = Spill::allocate(length); // volatile: or a compiler takes the call away
  assert_null(block);
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_spill__a_new_one_is_empty),
      cmocka_unit_test(test_spill__a_block_has_room_for_its_length),
      cmocka_unit_test(test_spill__blocks_come_in_the_order_they_were_pushed),
      cmocka_unit_test(test_spill__a_block_keeps_its_place_and_bytes),
      cmocka_unit_test(test_spill__after_it_was_empty_it_takes_blocks_again),
      cmocka_unit_test(test_spill__the_next_block_follows_the_first),
      cmocka_unit_test(test_spill__what_is_left_goes_with_it),
      cmocka_unit_test(test_spill__without_memory_there_is_no_block),
  };
  return cmocka_run_group_tests_name("spill", tests, nullptr, nullptr);
}
