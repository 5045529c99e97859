// Who waits is woken when it is time, once, and not before.
#include "wait_list.h"

#include <fcntl.h>

#include <atomic>
#include <cerrno>
#include <memory>

#include "aligned_memory.h"
#include "counted_new.h"
#include "process.h"
#include "unit.h"

namespace {

using bwlib::Pending;
using bwlib::Waiter;
using bwlib::WaitList;
using Slots = bwlib::CopySlots<>;

// What waiters look at: a set of kinds that have changed, and a position.
struct World {
  std::atomic<std::uint32_t> changed{0};
  std::atomic<std::int64_t> position{0};

  static bool is_pending(void *world, const Pending &why) noexcept {
    const World &self = *static_cast<World *>(world);
    if ((why.mask & bwlib::kForLevel) && self.position.load(std::memory_order_acquire) >= why.position) return false;
    return (why.mask & self.changed.load(std::memory_order_acquire)) == 0;
  }
};

struct Bench {
  Bench() {
    if (memory.map(Slots::bytes(1)) != 0) std::abort();
    slots.attach(memory.data(), 1, true);
  }
  // Something of these kinds changes.
  void change(std::uint32_t kinds) {
    world.changed.fetch_or(kinds, std::memory_order_release);
    list.signal(kinds);
  }
  // The next due waker's argument; nullptr: none is due.
  void *next() {
    bw_waker_t waker;
    if (!list.next_due(waker)) return nullptr;
    waker.wake(waker.arg);
    list.call_ended();
    return waker.arg;
  }
  // True if a thread that copies now would tell.
  bool copies_are_watched() { return slots.commit_common(slots.common(1), 0, 1); }

  bwlib::Mapping memory;
  Slots slots;
  World world;
  WaitList list{World::is_pending, &world, slots};
};

void wake(void *) {}
void wake_otherwise(void *) {}

constexpr int kBuiltIn = bwlib::WaitList::kBuiltIn;
int args[64];

bw_waker_t waker(int number) {
  return {wake, &args[number]};
}

} // namespace

// ---- Threads ----

static void test_wait_list__a_thread_is_fired_by_what_it_waits_for(void **) {
  Bench bench;
  Waiter waiter;
  waiter.why = {.mask = bwlib::kForPen};
  bench.list.add(waiter);
  bench.change(bwlib::kForPen);
  assert_int_equal(waiter.fired.load(std::memory_order_relaxed), 1);
  bench.list.remove(waiter);
}

static void test_wait_list__a_thread_is_not_fired_by_something_else(void **) {
  Bench bench;
  Waiter waiter;
  waiter.why = {.mask = bwlib::kForPen};
  bench.list.add(waiter);
  bench.change(bwlib::kForRoom | bwlib::kForSink);
  assert_int_equal(waiter.fired.load(std::memory_order_relaxed), 0);
  bench.list.remove(waiter);
}

static void test_wait_list__a_thread_is_not_fired_while_it_has_to_wait_on(void **) {
  Bench bench;
  Waiter waiter;
  waiter.why = {.mask = bwlib::kForLevel, .position = 100};
  bench.list.add(waiter);
  bench.world.position.store(99, std::memory_order_release);
  bench.list.signal(bwlib::kForLevel);
  assert_int_equal(waiter.fired.load(std::memory_order_relaxed), 0);
  bench.world.position.store(100, std::memory_order_release);
  bench.list.signal(bwlib::kForLevel);
  assert_int_equal(waiter.fired.load(std::memory_order_relaxed), 1);
  bench.list.remove(waiter);
}

static void test_wait_list__any_of_several_kinds_fires_a_thread(void **) {
  for (std::uint32_t kind : {bwlib::kForPen, bwlib::kForService}) {
    Bench bench;
    Waiter waiter;
    waiter.why = {.mask = bwlib::kForPen | bwlib::kForService};
    bench.list.add(waiter);
    bench.change(kind);
    assert_int_equal(waiter.fired.load(std::memory_order_relaxed), 1);
    bench.list.remove(waiter);
  }
}

static void test_wait_list__one_change_fires_all_who_wait_for_it(void **) {
  Bench bench;
  Waiter waiters[3];
  for (Waiter &waiter : waiters) {
    waiter.why = {.mask = bwlib::kForSink};
    bench.list.add(waiter);
  }
  bench.change(bwlib::kForSink);
  for (Waiter &waiter : waiters) {
    assert_int_equal(waiter.fired.load(std::memory_order_relaxed), 1);
    bench.list.remove(waiter);
  }
}

static void test_wait_list__a_removed_thread_is_not_fired(void **) {
  Bench bench;
  Waiter waiters[3];
  for (Waiter &waiter : waiters) {
    waiter.why = {.mask = bwlib::kForSink};
    bench.list.add(waiter);
  }
  bench.list.remove(waiters[1]);
  bench.change(bwlib::kForSink);
  assert_int_equal(waiters[0].fired.load(std::memory_order_relaxed), 1);
  assert_int_equal(waiters[1].fired.load(std::memory_order_relaxed), 0);
  assert_int_equal(waiters[2].fired.load(std::memory_order_relaxed), 1);
}

static void test_wait_list__a_thread_may_wait_again(void **) {
  Bench bench;
  Waiter waiter;
  waiter.why = {.mask = bwlib::kForSink};
  for (int round = 0; round < 3; ++round) {
    bench.world.changed.store(0, std::memory_order_release);
    bench.list.add(waiter);
    assert_int_equal(waiter.fired.load(std::memory_order_relaxed), 0);
    bench.change(bwlib::kForSink);
    assert_int_equal(waiter.fired.load(std::memory_order_relaxed), 1);
    bench.list.remove(waiter);
  }
}

static void test_wait_list__while_someone_waits_for_copies_copiers_tell(void **) {
  Bench bench;
  assert_false(bench.copies_are_watched());
  Waiter first, second;
  first.why = second.why = {.mask = bwlib::kForCopies};
  bench.list.add(first);
  bench.list.add(second);
  assert_true(bench.copies_are_watched());
  bench.list.remove(first);
  assert_true(bench.copies_are_watched());
  bench.list.remove(second);
  assert_false(bench.copies_are_watched());
}

static void test_wait_list__waiting_for_something_else_costs_copiers_nothing(void **) {
  Bench bench;
  Waiter waiter;
  waiter.why = {.mask = ~bwlib::kForCopies};
  bench.list.add(waiter);
  assert_false(bench.copies_are_watched());
  bench.list.remove(waiter);
}

// ---- Sleeping ----

static void test_wait_list__who_is_fired_does_not_sleep(void **) {
  Waiter waiter;
  waiter.fired.store(1, std::memory_order_relaxed);
  assert_false(bwlib::sleep_until_fired(waiter, UINT64_MAX, -1));
}

static void test_wait_list__a_sleep_ends_at_its_deadline(void **) {
  Waiter waiter;
  const std::uint64_t deadline = bwlib::now_ns() + 2'000'000;
  assert_false(bwlib::sleep_until_fired(waiter, deadline, -1));
  assert_true(bwlib::now_ns() >= deadline);
}

static void test_wait_list__a_deadline_in_the_past_is_no_sleep(void **) {
  Waiter waiter;
  assert_false(bwlib::sleep_until_fired(waiter, 0, -1));
  assert_false(bwlib::sleep_until_fired(waiter, 1, -1));
}

static void test_wait_list__a_writable_descriptor_ends_a_sleep(void **) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  Waiter waiter;
  assert_true(bwlib::sleep_until_fired(waiter, UINT64_MAX, ends[1]));
  close(ends[0]);
  close(ends[1]);
}

static void test_wait_list__a_full_descriptor_does_not_end_a_sleep(void **) {
  int ends[2];
  assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
  char block[4096] = {};
  while (write(ends[1], block, sizeof block) > 0) {
  }
  Waiter waiter;
  assert_false(bwlib::sleep_until_fired(waiter, bwlib::now_ns() + 30'000'000, ends[1]));
  close(ends[0]);
  close(ends[1]);
}

static void test_wait_list__a_broken_descriptor_ends_a_sleep(void **) {
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  close(ends[0]);
  Waiter waiter;
  assert_true(bwlib::sleep_until_fired(waiter, UINT64_MAX, ends[1]));
  close(ends[1]);
}

// Two threads hand a number to each other; a wake-up that gets lost stops them for ever.
static void test_wait_list__no_wake_up_is_lost(void **) {
  constexpr std::int64_t kRounds = 20000;
  Bench bench;
  const auto wait_for = [&](std::int64_t position) {
    Waiter waiter;
    waiter.why = {.mask = bwlib::kForLevel, .position = position};
    while (World::is_pending(&bench.world, waiter.why)) {
      bench.list.add(waiter);
      if (World::is_pending(&bench.world, waiter.why)) bwlib::sleep_until_fired(waiter, UINT64_MAX, -1);
      bench.list.remove(waiter);
    }
  };
  const auto player = [&](std::int64_t first) {
    for (std::int64_t turn = first; turn < kRounds; turn += 2) {
      wait_for(turn);
      bench.world.position.store(turn + 1, std::memory_order_release);
      bench.list.signal(bwlib::kForLevel);
    }
  };
  std::thread other(player, 1);
  player(0);
  other.join();
  assert_int_equal(bench.world.position.load(std::memory_order_relaxed), kRounds);
}

// ---- Wakers ----

static void test_wait_list__a_waker_is_due_when_what_it_waits_for_has_changed(void **) {
  Bench bench;
  assert_int_equal(bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom}), 0);
  assert_false(bench.list.has_due());
  bench.change(bwlib::kForRoom);
  assert_true(bench.list.has_due());
  assert_ptr_equal(bench.next(), &args[1]);
  assert_null(bench.next());
  assert_false(bench.list.has_due());
}

static void test_wait_list__a_waker_that_comes_too_late_is_due_at_once(void **) {
  Bench bench;
  bench.world.changed.store(bwlib::kForRoom, std::memory_order_release);
  assert_int_equal(bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom}), 0);
  assert_ptr_equal(bench.next(), &args[1]);
}

static void test_wait_list__a_waker_is_called_once_for_one_wait(void **) {
  Bench bench;
  bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
  bench.change(bwlib::kForRoom);
  bench.change(bwlib::kForRoom);
  bench.list.fire_all();
  assert_non_null(bench.next());
  assert_null(bench.next());
}

static void test_wait_list__a_waker_that_waits_is_not_added_twice(void **) {
  Bench bench;
  for (int time = 0; time < 3; ++time)
    assert_int_equal(bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom}), 0);
  bench.change(bwlib::kForRoom);
  assert_non_null(bench.next());
  assert_null(bench.next());
}

static void test_wait_list__a_waker_with_two_wishes_is_called_by_the_first(void **) {
  for (std::uint32_t kind : {bwlib::kForRoom, bwlib::kForSink}) {
    Bench bench;
    bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
    bench.list.add_waker(waker(1), {.mask = bwlib::kForSink});
    bench.change(kind);
    assert_non_null(bench.next());
    assert_null(bench.next());
    bench.change(bwlib::kForRoom | bwlib::kForSink);
    assert_null(bench.next());
  }
}

// Taken for the same it would be forgotten.
static void test_wait_list__a_wish_that_differs_in_anything_is_another(void **) {
  const Pending wish{.mask = bwlib::kForLevel, .position = 20};
  bwlib::FlushBuffer<> buffer;
  Pending others[8] = {wish, wish, wish, wish, wish, wish, wish, wish};
  others[0].position = 10;
  others[1].mask |= bwlib::kForRoom;
  others[2].level = 1;
  others[3].turn = 1;
  others[4].wakes = 1;
  others[5].buffers = 1;
  others[6].buffer = &buffer;
  others[7].goal = 1;
  for (const Pending &other : others) assert_false(wish == other);
  Bench bench;
  bench.list.add_waker(waker(1), wish);
  bench.list.add_waker(waker(1), others[0]);
  bench.world.position.store(10, std::memory_order_release);
  bench.list.signal(bwlib::kForLevel);
  assert_non_null(bench.next());
}

// It is as good as called: the poll that adds it again has looked after what made it due.
static void test_wait_list__a_waker_that_is_due_is_not_added(void **) {
  Bench bench;
  bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
  bench.change(bwlib::kForRoom);
  assert_int_equal(bench.list.add_waker(waker(1), {.mask = bwlib::kForSink}), 0);
  assert_non_null(bench.next());
  bench.change(bwlib::kForSink);
  assert_null(bench.next());
}

static void test_wait_list__the_same_function_with_another_argument_is_another_waker(void **) {
  Bench bench;
  bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
  bench.list.add_waker(waker(2), {.mask = bwlib::kForRoom});
  bench.change(bwlib::kForRoom);
  assert_ptr_equal(bench.next(), &args[1]);
  assert_ptr_equal(bench.next(), &args[2]);
}

static void test_wait_list__another_function_with_the_same_argument_is_another_waker(void **) {
  Bench bench;
  bench.list.add_waker({wake, &args[1]}, {.mask = bwlib::kForRoom});
  bench.list.add_waker({wake_otherwise, &args[1]}, {.mask = bwlib::kForRoom});
  bench.change(bwlib::kForRoom);
  assert_non_null(bench.next());
  assert_non_null(bench.next());
  assert_null(bench.next());
}

static void test_wait_list__wakers_are_called_oldest_first(void **) {
  Bench bench;
  for (int number = 0; number < 20; ++number) bench.list.add_waker(waker(number), {.mask = bwlib::kForRoom});
  bench.change(bwlib::kForRoom);
  for (int number = 0; number < 20; ++number) assert_ptr_equal(bench.next(), &args[number]);
}

static void test_wait_list__only_those_whose_wait_is_over_are_called(void **) {
  Bench bench;
  for (int number = 0; number < 10; ++number)
    bench.list.add_waker(waker(number), {.mask = bwlib::kForLevel, .position = number % 2 ? 10 : 1000});
  bench.world.position.store(10, std::memory_order_release);
  bench.list.signal(bwlib::kForLevel);
  for (int number = 1; number < 10; number += 2) assert_ptr_equal(bench.next(), &args[number]);
  assert_null(bench.next());
}

static void test_wait_list__fire_all_makes_everybody_due(void **) {
  Bench bench;
  Waiter waiter;
  waiter.why = {.mask = bwlib::kForPen};
  bench.list.add(waiter);
  bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
  bench.list.add_waker(waker(2), {.mask = bwlib::kForLevel, .position = 99});
  bench.list.fire_all();
  assert_int_equal(waiter.fired.load(std::memory_order_relaxed), 1);
  bench.list.remove(waiter);
  assert_ptr_equal(bench.next(), &args[1]);
  assert_ptr_equal(bench.next(), &args[2]);
}

static void test_wait_list__a_waker_that_waits_can_be_taken_back(void **) {
  Bench bench;
  bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
  assert_true(bench.list.take_back(waker(1)));
  bench.change(bwlib::kForRoom);
  assert_null(bench.next());
}

static void test_wait_list__a_waker_that_is_due_can_be_taken_back(void **) {
  Bench bench;
  bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
  bench.list.add_waker(waker(2), {.mask = bwlib::kForRoom});
  bench.change(bwlib::kForRoom);
  assert_true(bench.list.take_back(waker(1)));
  assert_ptr_equal(bench.next(), &args[2]);
  assert_null(bench.next());
  assert_false(bench.list.has_due());
}

static void test_wait_list__all_wishes_of_a_waker_are_taken_back(void **) {
  Bench bench;
  bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
  bench.list.add_waker(waker(1), {.mask = bwlib::kForSink});
  assert_true(bench.list.take_back(waker(1)));
  bench.change(bwlib::kForRoom | bwlib::kForSink);
  assert_null(bench.next());
}

static void test_wait_list__a_waker_that_is_not_there_cannot_be_taken_back(void **) {
  Bench bench;
  bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
  assert_false(bench.list.take_back(waker(2)));
  assert_true(bench.list.take_back(waker(1)));
  assert_false(bench.list.take_back(waker(1)));
}

static void test_wait_list__a_waker_that_was_called_cannot_be_taken_back(void **) {
  Bench bench;
  bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
  bench.change(bwlib::kForRoom);
  assert_non_null(bench.next());
  assert_false(bench.list.take_back(waker(1)));
}

static void test_wait_list__a_waker_runs_elsewhere_until_its_call_ended(void **) {
  Bench bench;
  bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
  bench.change(bwlib::kForRoom);
  bw_waker_t running = {};
  std::thread caller([&] { bench.list.next_due(running); });
  caller.join();
  assert_true(bench.list.is_called_elsewhere(waker(1)));
  assert_false(bench.list.is_called_elsewhere(waker(2)));
  bench.list.call_ended();
  assert_false(bench.list.is_called_elsewhere(waker(1)));
}

static void test_wait_list__a_waker_that_runs_here_does_not_run_elsewhere(void **) {
  Bench bench;
  bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
  bench.change(bwlib::kForRoom);
  bw_waker_t running;
  assert_true(bench.list.next_due(running));
  assert_false(bench.list.is_called_elsewhere(waker(1)));
  bench.list.call_ended();
}

static void test_wait_list__the_end_of_a_call_fires_who_waits_for_it(void **) {
  Bench bench;
  bench.list.add_waker(waker(1), {.mask = bwlib::kForRoom});
  bench.change(bwlib::kForRoom);
  bw_waker_t running;
  assert_true(bench.list.next_due(running));
  Waiter waiter;
  waiter.why = {.mask = bwlib::kForCallback, .waker = running};
  bench.list.add(waiter);
  bench.list.call_ended();
  assert_int_equal(waiter.fired.load(std::memory_order_relaxed), 1);
  bench.list.remove(waiter);
}

// ---- Memory ----

static void test_wait_list__a_few_wakers_need_no_memory(void **) {
  Bench bench;
  const long before = unit::blocks_alive;
  for (int number = 0; number < kBuiltIn; ++number)
    assert_int_equal(bench.list.add_waker(waker(number), {.mask = bwlib::kForRoom}), 0);
  assert_int_equal(unit::blocks_alive, before);
}

static void test_wait_list__nodes_are_used_again(void **) {
  Bench bench;
  const auto go_round = [&] {
    bench.world.changed.store(0, std::memory_order_release);
    for (int number = 0; number < 10; ++number) bench.list.add_waker(waker(number), {.mask = bwlib::kForRoom});
    bench.change(bwlib::kForRoom);
    while (bench.next()) {
    }
  };
  go_round();
  const long before = unit::blocks_alive;
  for (int round = 0; round < 100; ++round) go_round();
  assert_int_equal(unit::blocks_alive, before);
}

static void test_wait_list__without_memory_a_waker_is_refused(void **) {
  if (unit::under_valgrind()) skip();
  Bench bench;
  for (int number = 0; number < kBuiltIn; ++number) bench.list.add_waker(waker(number), {.mask = bwlib::kForRoom});
  unit::refuse_new = true;
  const int code = bench.list.add_waker(waker(kBuiltIn), {.mask = bwlib::kForRoom});
  unit::refuse_new = false;
  assert_int_equal(code, -ENOMEM);
  assert_false(bench.list.take_back(waker(kBuiltIn)));
}

static void test_wait_list__all_memory_is_given_back(void **) {
  const long before = unit::blocks_alive;
  {
    Bench bench;
    for (int number = 0; number < 20; ++number) bench.list.add_waker(waker(number), {.mask = bwlib::kForRoom});
    bench.change(bwlib::kForRoom);
    while (bench.next()) {
    }
  }
  assert_int_equal(unit::blocks_alive, before);
}

// A forked child gives back memory without calling anybody.
static void test_wait_list__memory_of_those_who_still_wait_is_given_back_too(void **) {
  const long before = unit::blocks_alive;
  {
    Bench bench;
    for (int number = 0; number < 10; ++number) bench.list.add_waker(waker(number), {.mask = bwlib::kForRoom});
    bench.change(bwlib::kForRoom); // due, and never called
    for (int number = 10; number < 20; ++number) bench.list.add_waker(waker(number), {.mask = bwlib::kForSink});
  }
  assert_int_equal(unit::blocks_alive, before);
}

int main() {
  bwlib::enter_process();
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_wait_list__a_thread_is_fired_by_what_it_waits_for),
      cmocka_unit_test(test_wait_list__a_thread_is_not_fired_by_something_else),
      cmocka_unit_test(test_wait_list__a_thread_is_not_fired_while_it_has_to_wait_on),
      cmocka_unit_test(test_wait_list__any_of_several_kinds_fires_a_thread),
      cmocka_unit_test(test_wait_list__one_change_fires_all_who_wait_for_it),
      cmocka_unit_test(test_wait_list__a_removed_thread_is_not_fired),
      cmocka_unit_test(test_wait_list__a_thread_may_wait_again),
      cmocka_unit_test(test_wait_list__while_someone_waits_for_copies_copiers_tell),
      cmocka_unit_test(test_wait_list__waiting_for_something_else_costs_copiers_nothing),
      cmocka_unit_test(test_wait_list__who_is_fired_does_not_sleep),
      cmocka_unit_test(test_wait_list__a_sleep_ends_at_its_deadline),
      cmocka_unit_test(test_wait_list__a_deadline_in_the_past_is_no_sleep),
      cmocka_unit_test(test_wait_list__a_writable_descriptor_ends_a_sleep),
      cmocka_unit_test(test_wait_list__a_full_descriptor_does_not_end_a_sleep),
      cmocka_unit_test(test_wait_list__a_broken_descriptor_ends_a_sleep),
      cmocka_unit_test(test_wait_list__no_wake_up_is_lost),
      cmocka_unit_test(test_wait_list__a_waker_is_due_when_what_it_waits_for_has_changed),
      cmocka_unit_test(test_wait_list__a_waker_that_comes_too_late_is_due_at_once),
      cmocka_unit_test(test_wait_list__a_waker_is_called_once_for_one_wait),
      cmocka_unit_test(test_wait_list__a_waker_that_waits_is_not_added_twice),
      cmocka_unit_test(test_wait_list__a_waker_with_two_wishes_is_called_by_the_first),
      cmocka_unit_test(test_wait_list__a_wish_that_differs_in_anything_is_another),
      cmocka_unit_test(test_wait_list__a_waker_that_is_due_is_not_added),
      cmocka_unit_test(test_wait_list__the_same_function_with_another_argument_is_another_waker),
      cmocka_unit_test(test_wait_list__another_function_with_the_same_argument_is_another_waker),
      cmocka_unit_test(test_wait_list__wakers_are_called_oldest_first),
      cmocka_unit_test(test_wait_list__only_those_whose_wait_is_over_are_called),
      cmocka_unit_test(test_wait_list__fire_all_makes_everybody_due),
      cmocka_unit_test(test_wait_list__a_waker_that_waits_can_be_taken_back),
      cmocka_unit_test(test_wait_list__a_waker_that_is_due_can_be_taken_back),
      cmocka_unit_test(test_wait_list__all_wishes_of_a_waker_are_taken_back),
      cmocka_unit_test(test_wait_list__a_waker_that_is_not_there_cannot_be_taken_back),
      cmocka_unit_test(test_wait_list__a_waker_that_was_called_cannot_be_taken_back),
      cmocka_unit_test(test_wait_list__a_waker_runs_elsewhere_until_its_call_ended),
      cmocka_unit_test(test_wait_list__a_waker_that_runs_here_does_not_run_elsewhere),
      cmocka_unit_test(test_wait_list__the_end_of_a_call_fires_who_waits_for_it),
      cmocka_unit_test(test_wait_list__a_few_wakers_need_no_memory),
      cmocka_unit_test(test_wait_list__nodes_are_used_again),
      cmocka_unit_test(test_wait_list__without_memory_a_waker_is_refused),
      cmocka_unit_test(test_wait_list__all_memory_is_given_back),
      cmocka_unit_test(test_wait_list__memory_of_those_who_still_wait_is_given_back_too),
  };
  return cmocka_run_group_tests_name("wait_list", tests, nullptr, nullptr);
}
