// Who counts where, what the sum says, and who is told that somebody waits.
#include "copy_slots.h"

#include <atomic>
#include <set>

#include "aligned_memory.h"
#include "process.h"
#include "unit.h"

namespace {

using Slots = bwlib::CopySlots<>;

constexpr unsigned kBuffers = 3;

// Slots with memory of their own.
struct Bench {
  explicit Bench(bool own_slots = true, unsigned buffers = kBuffers) {
    if (memory.map(Slots::bytes(buffers)) != 0) std::abort();
    slots.attach(memory.data(), buffers, own_slots);
  }
  bwlib::Mapping memory;
  Slots slots;
};

// Identities as threads have them: addresses some KiB apart.
std::uintptr_t identity(unsigned thread) {
  return 0x7f0000001000 + std::uintptr_t{thread} * 0x801000;
}

} // namespace

static void test_copy_slots__slots_lie_on_lines_of_their_own(void **) {
  for (unsigned buffers : {1u, 2u, 3u, 8u, 100u}) {
    assert_int_equal(Slots::stride(buffers) % Slots::kLineBytes, 0);
    assert_true(Slots::stride(buffers) >= sizeof(Slots::Slot) + buffers * sizeof(Slots::Counter));
    assert_int_equal(Slots::bytes(buffers), Slots::stride(buffers) * (Slots::kOwnSlots + Slots::kCommonSlots));
  }
}

static void test_copy_slots__a_thread_gets_a_slot_of_its_own(void **) {
  Bench bench;
  Slots::Slot &slot = bench.slots.find(identity(1));
  assert_int_equal(slot.owner.load(std::memory_order_relaxed), identity(1));
}

static void test_copy_slots__a_thread_keeps_its_slot(void **) {
  Bench bench;
  Slots::Slot &slot = bench.slots.find(identity(1));
  bench.slots.find(identity(2));
  assert_ptr_equal(&bench.slots.find(identity(1)), &slot);
}

static void test_copy_slots__a_new_slot_continues_no_reservation(void **) {
  Bench bench;
  assert_true(bench.slots.find(identity(1)).last_end.load(std::memory_order_relaxed) == Slots::kNowhere);
}

static void test_copy_slots__no_two_threads_share_an_own_slot(void **) {
  Bench bench;
  std::set<Slots::Slot *> taken;
  for (unsigned thread = 0; thread < 1000; ++thread) {
    Slots::Slot &slot = bench.slots.find(identity(thread));
    const std::uintptr_t owner = slot.owner.load(std::memory_order_relaxed);
    if (owner == 0) continue;
    assert_int_equal(owner, identity(thread));
    assert_true(taken.insert(&slot).second);
  }
  assert_true(taken.size() <= Slots::kOwnSlots);
  assert_true(taken.size() >= Slots::kOwnSlots / 2);
}

static void test_copy_slots__who_gets_none_shares_a_common_one(void **) {
  Bench bench;
  for (unsigned thread = 0; thread < 20000; ++thread) bench.slots.find(identity(thread));
  Slots::Slot &slot = bench.slots.find(identity(20000));
  assert_int_equal(slot.owner.load(std::memory_order_relaxed), 0);
  assert_ptr_equal(&slot, &bench.slots.common(identity(20000)));
}

static void test_copy_slots__without_own_slots_everybody_shares(void **) {
  Bench bench(false);
  for (unsigned thread = 0; thread < 100; ++thread) {
    Slots::Slot &slot = bench.slots.find(identity(thread));
    assert_int_equal(slot.owner.load(std::memory_order_relaxed), 0);
    assert_ptr_equal(&slot, &bench.slots.common(identity(thread)));
    assert_null(bench.slots.find_own(identity(thread)));
  }
}

static void test_copy_slots__before_it_takes_one_a_thread_has_no_own_slot(void **) {
  Bench bench;
  assert_null(bench.slots.find_own(identity(1)));
}

static void test_copy_slots__a_thread_finds_its_own_slot_wherever_it_lies(void **) {
  Bench bench;
  for (unsigned thread = 0; thread < 1000; ++thread) {
    Slots::Slot &slot = bench.slots.find(identity(thread));
    const bool is_own = slot.owner.load(std::memory_order_relaxed) != 0;
    assert_ptr_equal(bench.slots.find_own(identity(thread)), is_own ? &slot : nullptr);
  }
}

static void test_copy_slots__the_sum_counts_own_and_common_copies(void **) {
  Bench bench;
  Slots &slots = bench.slots;
  slots.commit(slots.find(identity(1)), identity(1), 0, 10);
  slots.commit(slots.find(identity(2)), identity(2), 0, 200);
  slots.commit_common(slots.common(identity(3)), 0, 3000);
  assert_int_equal(slots.sum(0), 3210);
}

static void test_copy_slots__each_buffer_has_a_sum_of_its_own(void **) {
  Bench bench;
  Slots &slots = bench.slots;
  for (unsigned index = 0; index < kBuffers; ++index) {
    slots.commit(slots.find(identity(1)), identity(1), index, 5 + index);
    slots.commit_common(slots.common(identity(1)), index, 100);
  }
  for (unsigned index = 0; index < kBuffers; ++index) assert_int_equal(slots.sum(index), 105 + index);
}

static void test_copy_slots__a_commit_for_another_thread_counts_too(void **) {
  Bench bench;
  Slots::Slot &slot = bench.slots.find(identity(1));
  bench.slots.commit(slot, identity(2), 1, 7); // not the owner: by fetch_add
  assert_int_equal(bench.slots.sum(1), 7);
}

static void test_copy_slots__every_thread_of_very_many_is_counted(void **) {
  Bench bench;
  for (unsigned thread = 0; thread < 5000; ++thread)
    bench.slots.commit(bench.slots.find(identity(thread)), identity(thread), 2, thread);
  assert_int_equal(bench.slots.sum(2), 5000u * 4999u / 2);
}

static void test_copy_slots__writes_of_all_slots_are_counted(void **) {
  Bench bench;
  bench.slots.find(identity(1)).writes.store(4, std::memory_order_relaxed);
  bench.slots.find(identity(2)).writes.store(5, std::memory_order_relaxed);
  bench.slots.common(identity(3)).writes.fetch_add(6, std::memory_order_relaxed);
  assert_int_equal(bench.slots.writes(), 15);
}

static void test_copy_slots__nobody_is_told_while_nobody_waits(void **) {
  Bench bench;
  assert_false(bench.slots.commit(bench.slots.find(identity(1)), identity(1), 0, 1));
  assert_false(bench.slots.commit_common(bench.slots.common(identity(1)), 0, 1));
}

static void test_copy_slots__a_raised_flag_is_seen_by_all_copiers(void **) {
  Bench bench;
  Slots::Slot &slot = bench.slots.find(identity(1));
  bench.slots.raise_flags();
  assert_true(bench.slots.commit(slot, identity(1), 0, 1));
  for (unsigned thread = 2; thread < 100; ++thread) {
    assert_true(bench.slots.commit(bench.slots.find(identity(thread)), identity(thread), 0, 1));
    assert_true(bench.slots.commit_common(bench.slots.common(identity(thread)), 0, 1));
  }
}

static void test_copy_slots__a_lowered_flag_is_seen_by_nobody(void **) {
  Bench bench;
  bench.slots.raise_flags();
  bench.slots.lower_flags();
  for (unsigned thread = 1; thread < 100; ++thread)
    assert_false(bench.slots.commit(bench.slots.find(identity(thread)), identity(thread), 0, 1));
}

// The sum is read before the number of bytes that were reserved by then: it may never be more.
static void copies_of_threads_add_up(bool own_slots) {
  constexpr unsigned kThreads = 6;
  constexpr unsigned kCopies = 20000;
  Bench bench(own_slots);
  std::atomic<std::uint64_t> reserved{0};
  std::atomic<unsigned> left{kThreads};
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < kThreads; ++number) {
    threads.emplace_back([&, number] {
      const std::uintptr_t me = bwlib::thread_identity();
      unit::Random random(number);
      for (unsigned copy = 0; copy < kCopies; ++copy) {
        const std::uint64_t bytes = 1 + random.below(100);
        Slots::Slot &slot = bench.slots.find(me);
        reserved.fetch_add(bytes, std::memory_order_seq_cst);
        bench.slots.commit(slot, me, 1, bytes);
      }
      left.fetch_sub(1, std::memory_order_seq_cst);
    });
  }
  bool never_more = true;
  while (left.load(std::memory_order_seq_cst) > 0) {
    const std::uint64_t sum = bench.slots.sum(1);
    if (sum > reserved.load(std::memory_order_seq_cst)) never_more = false;
  }
  for (std::thread &thread : threads) thread.join();
  assert_true(never_more);
  assert_int_equal(bench.slots.sum(1), reserved.load(std::memory_order_relaxed));
  assert_int_equal(bench.slots.sum(0), 0);
}

static void test_copy_slots__the_sum_never_exceeds_what_is_reserved_and_reaches_it(void **) {
  copies_of_threads_add_up(true);
}

static void test_copy_slots__common_slots_add_up_too(void **) {
  copies_of_threads_add_up(false);
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_copy_slots__slots_lie_on_lines_of_their_own),
      cmocka_unit_test(test_copy_slots__a_thread_gets_a_slot_of_its_own),
      cmocka_unit_test(test_copy_slots__a_thread_keeps_its_slot),
      cmocka_unit_test(test_copy_slots__a_new_slot_continues_no_reservation),
      cmocka_unit_test(test_copy_slots__no_two_threads_share_an_own_slot),
      cmocka_unit_test(test_copy_slots__who_gets_none_shares_a_common_one),
      cmocka_unit_test(test_copy_slots__without_own_slots_everybody_shares),
      cmocka_unit_test(test_copy_slots__before_it_takes_one_a_thread_has_no_own_slot),
      cmocka_unit_test(test_copy_slots__a_thread_finds_its_own_slot_wherever_it_lies),
      cmocka_unit_test(test_copy_slots__the_sum_counts_own_and_common_copies),
      cmocka_unit_test(test_copy_slots__each_buffer_has_a_sum_of_its_own),
      cmocka_unit_test(test_copy_slots__a_commit_for_another_thread_counts_too),
      cmocka_unit_test(test_copy_slots__every_thread_of_very_many_is_counted),
      cmocka_unit_test(test_copy_slots__writes_of_all_slots_are_counted),
      cmocka_unit_test(test_copy_slots__nobody_is_told_while_nobody_waits),
      cmocka_unit_test(test_copy_slots__a_raised_flag_is_seen_by_all_copiers),
      cmocka_unit_test(test_copy_slots__a_lowered_flag_is_seen_by_nobody),
      cmocka_unit_test(test_copy_slots__the_sum_never_exceeds_what_is_reserved_and_reaches_it),
      cmocka_unit_test(test_copy_slots__common_slots_add_up_too),
  };
  return cmocka_run_group_tests_name("copy_slots", tests, nullptr, nullptr);
}
