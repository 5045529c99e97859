// Events come out in order; what belongs together is joined, and what is too much is forgotten gently.
#include "event_queue.h"

#include <cerrno>

#include "unit.h"

namespace {

using bwlib::EventQueue;
using Event = EventQueue::Event;

constexpr int kRoom = 32;

Event written(std::int64_t position, std::uint64_t length) {
  return {BW_EVENT_WRITTEN, 0, position, length};
}
Event durable(std::int64_t position) {
  return {BW_EVENT_DURABLE, 0, position, 0};
}
Event error(int code) {
  return {BW_EVENT_ERROR, code, 0, 0};
}

bool pops(EventQueue &queue, const Event &expected) {
  Event event;
  REQUIRE(queue.pop(event));
  REQUIRE(event.kind == expected.kind);
  REQUIRE(event.code == expected.code);
  REQUIRE(event.position == expected.position);
  REQUIRE(event.length == expected.length);
  return true;
}

bool is_empty(EventQueue &queue) {
  Event event;
  REQUIRE(queue.empty());
  REQUIRE(!queue.pop(event));
  return true;
}

} // namespace

static void test_event_queue__a_new_queue_is_empty(void **) {
  EventQueue queue;
  assert_true(is_empty(queue));
}

static void test_event_queue__events_come_out_in_order(void **) {
  EventQueue queue;
  queue.push(error(-1));
  queue.push(written(0, 5));
  queue.push(durable(5));
  assert_false(queue.empty());
  assert_true(pops(queue, error(-1)));
  assert_true(pops(queue, written(0, 5)));
  assert_true(pops(queue, durable(5)));
  assert_true(is_empty(queue));
}

static void test_event_queue__written_ranges_that_follow_are_joined(void **) {
  EventQueue queue;
  queue.push(written(10, 5));
  queue.push(written(15, 7));
  queue.push(written(22, 1));
  assert_true(pops(queue, written(10, 13)));
  assert_true(is_empty(queue));
}

static void test_event_queue__written_ranges_with_a_gap_are_not_joined(void **) {
  EventQueue queue;
  queue.push(written(10, 5));
  queue.push(written(16, 1)); // after a seek
  assert_true(pops(queue, written(10, 5)));
  assert_true(pops(queue, written(16, 1)));
}

static void test_event_queue__of_durable_positions_the_last_counts(void **) {
  EventQueue queue;
  queue.push(durable(10));
  queue.push(durable(30));
  assert_true(pops(queue, durable(30)));
  assert_true(is_empty(queue));
}

static void test_event_queue__what_was_written_and_durable_in_turn_needs_two_places(void **) {
  EventQueue queue;
  for (int number = 0; number < 10 * kRoom; ++number) {
    queue.push(written(number, 1));
    queue.push(durable(number + 1));
  }
  assert_true(pops(queue, written(0, 10 * kRoom)));
  assert_true(pops(queue, durable(10 * kRoom)));
  assert_true(is_empty(queue));
}

static void test_event_queue__told_is_told_in_the_order_of_the_numbers(void **) {
  EventQueue queue;
  queue.push(written(0, 5));
  queue.push(error(-EIO));
  const std::uint64_t number = queue.last_number();
  queue.push(written(5, 5)); // joined over the error
  EventQueue::Event event;
  assert_true(queue.pop(event));
  queue.told(event);
  assert_true(queue.told_number() < number);
  assert_true(queue.pop(event));
  queue.told(event);
  assert_true(queue.told_number() >= number);
}

static void test_event_queue__nothing_is_joined_to_what_was_taken_out(void **) {
  EventQueue queue;
  queue.push(written(0, 5));
  assert_true(pops(queue, written(0, 5)));
  queue.push(written(5, 5));
  assert_true(pops(queue, written(5, 5)));
}

static void test_event_queue__errors_and_pressure_are_never_joined(void **) {
  EventQueue queue;
  for (int time = 0; time < 2; ++time) {
    queue.push(error(-EIO));
    queue.push({BW_EVENT_PRESSURE_ON, 0, 0, 0});
  }
  for (int time = 0; time < 2; ++time) {
    assert_true(pops(queue, error(-EIO)));
    assert_true(pops(queue, {BW_EVENT_PRESSURE_ON, 0, 0, 0}));
  }
  assert_true(is_empty(queue));
}

static void test_event_queue__it_goes_round(void **) {
  EventQueue queue;
  for (int round = 0; round < 10 * kRoom; ++round) {
    queue.push(error(-round));
    queue.push(error(-round - 1000));
    assert_true(pops(queue, error(-round)));
    assert_true(pops(queue, error(-round - 1000)));
  }
}

static void test_event_queue__a_full_queue_has_forgotten_nothing(void **) {
  EventQueue queue;
  for (int number = 0; number < kRoom; ++number) queue.push(error(-number));
  for (int number = 0; number < kRoom; ++number) assert_true(pops(queue, error(-number)));
  assert_true(is_empty(queue));
}

static void test_event_queue__when_it_is_full_the_oldest_written_is_forgotten(void **) {
  EventQueue queue;
  for (int number = 0; number < kRoom; ++number)
    queue.push(number == 3 || number == 9 ? written(number * 100, 1) : error(-number));
  queue.push(error(-999));
  for (int number = 0; number < kRoom; ++number) {
    if (number == 3) continue;
    assert_true(pops(queue, number == 9 ? written(900, 1) : error(-number)));
  }
  assert_true(pops(queue, error(-999)));
  assert_true(is_empty(queue));
}

static void test_event_queue__without_a_written_the_oldest_is_forgotten(void **) {
  EventQueue queue;
  for (int number = 0; number <= kRoom; ++number) queue.push(error(-number));
  for (int number = 1; number <= kRoom; ++number) assert_true(pops(queue, error(-number)));
  assert_true(is_empty(queue));
}

static void test_event_queue__a_full_queue_still_joins(void **) {
  EventQueue queue;
  for (int number = 1; number < kRoom; ++number) queue.push(error(-number));
  queue.push(written(0, 1));
  for (int position = 1; position < 1000; ++position) queue.push(written(position, 1));
  for (int number = 1; number < kRoom; ++number) assert_true(pops(queue, error(-number)));
  assert_true(pops(queue, written(0, 1000)));
}

static void test_event_queue__forgetting_works_wherever_the_queue_begins(void **) {
  for (int start = 0; start < kRoom; ++start) {
    EventQueue queue;
    for (int number = 0; number < start; ++number) {
      queue.push(error(-1));
      assert_true(pops(queue, error(-1)));
    }
    for (int number = 0; number < kRoom; ++number) queue.push(number == 20 ? written(0, 1) : error(-number));
    queue.push(error(-999));
    for (int number = 0; number < kRoom; ++number) {
      if (number != 20) assert_true(pops(queue, error(-number)));
    }
    assert_true(pops(queue, error(-999)));
    assert_true(is_empty(queue));
  }
}

static void test_event_queue__between_threads_joined_ranges_have_no_gap(void **) {
  constexpr std::int64_t kEnd = 100000;
  EventQueue queue;
  std::thread writer([&] {
    for (std::int64_t position = 0; position < kEnd; ++position) queue.push(written(position, 1));
  });
  bool is_gapless = true;
  std::int64_t end = 0;
  while (end < kEnd && is_gapless) {
    Event event;
    if (!queue.pop(event)) {
      std::this_thread::yield();
      continue;
    }
    is_gapless = event.position == end;
    end += static_cast<std::int64_t>(event.length);
  }
  writer.join();
  assert_true(is_gapless);
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_event_queue__a_new_queue_is_empty),
      cmocka_unit_test(test_event_queue__events_come_out_in_order),
      cmocka_unit_test(test_event_queue__written_ranges_that_follow_are_joined),
      cmocka_unit_test(test_event_queue__written_ranges_with_a_gap_are_not_joined),
      cmocka_unit_test(test_event_queue__of_durable_positions_the_last_counts),
      cmocka_unit_test(test_event_queue__what_was_written_and_durable_in_turn_needs_two_places),
      cmocka_unit_test(test_event_queue__told_is_told_in_the_order_of_the_numbers),
      cmocka_unit_test(test_event_queue__nothing_is_joined_to_what_was_taken_out),
      cmocka_unit_test(test_event_queue__errors_and_pressure_are_never_joined),
      cmocka_unit_test(test_event_queue__it_goes_round),
      cmocka_unit_test(test_event_queue__a_full_queue_has_forgotten_nothing),
      cmocka_unit_test(test_event_queue__when_it_is_full_the_oldest_written_is_forgotten),
      cmocka_unit_test(test_event_queue__without_a_written_the_oldest_is_forgotten),
      cmocka_unit_test(test_event_queue__a_full_queue_still_joins),
      cmocka_unit_test(test_event_queue__forgetting_works_wherever_the_queue_begins),
      cmocka_unit_test(test_event_queue__between_threads_joined_ranges_have_no_gap),
  };
  return cmocka_run_group_tests_name("event_queue", tests, nullptr, nullptr);
}
