// Which buffer is open, sealed and free; who has the pen; and what the stream's end is meanwhile.
#include "buffer_ring.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "aligned_memory.h"
#include "process.h"
#include "unit.h"

namespace {

using Buffer = bwlib::FlushBuffer<>;
using Ring = bwlib::BufferRing<>;
using Slots = bwlib::CopySlots<>;

constexpr std::uint64_t kCapacity = 16;

// A ring whose first buffer is open at `position`.
struct Bench {
  explicit Bench(unsigned count, std::uint64_t capacity = kCapacity, std::int64_t position = 0)
      : buffers(new Buffer[count]), blocks(count * capacity) {
    if (memory.map(Slots::bytes(count)) != 0) std::abort();
    slots.attach(memory.data(), count, true);
    ring.attach(buffers.get(), count, blocks.data(), capacity, capacity, &slots);
    ring.rotate(position);
    ring.publish(true);
  }
  // A write that fits.
  void put(const std::string &text) {
    Buffer &buffer = ring.open_buffer();
    const std::uint64_t offset = buffer.reserve(text.size());
    std::memcpy(buffer.data() + offset, text.data(), text.size());
    count(text.size());
  }
  void count(std::uint64_t bytes) {
    const std::uintptr_t me = bwlib::thread_identity();
    slots.commit(slots.find(me), me, ring.open_buffer().index(), bytes);
  }
  // Takes the pen, seals what is there, opens the next buffer.
  void hand_on() {
    if (!ring.try_pen()) std::abort();
    ring.seal();
    ring.publish(ring.rotate(ring.current_end()));
  }
  std::int64_t tail() {
    std::int64_t result = -1;
    return ring.tail(result) ? result : -1;
  }
  std::int64_t accepted() {
    std::int64_t result = -1;
    return ring.accepted(result) ? result : -1;
  }

  std::unique_ptr<Buffer[]> buffers;
  std::vector<char> blocks;
  bwlib::Mapping memory;
  Slots slots;
  Ring ring;
};

} // namespace

// ---- The pen ----

static void test_buffer_ring__before_it_is_published_nobody_gets_the_pen(void **) {
  Buffer buffer;
  char block[kCapacity];
  Slots slots;
  Ring ring;
  ring.attach(&buffer, 1, block, kCapacity, kCapacity, &slots);
  assert_false(ring.try_pen());
  assert_false(ring.has_current());
}

static void test_buffer_ring__the_pen_is_given_once(void **) {
  Bench bench(2);
  assert_true(bench.ring.try_pen());
  assert_false(bench.ring.try_pen());
}

static void test_buffer_ring__the_pen_can_be_taken_again_once_it_was_given_back(void **) {
  Bench bench(2);
  for (int round = 0; round < 10; ++round) {
    assert_true(bench.ring.try_pen());
    bench.ring.publish(true);
  }
}

static void test_buffer_ring__with_the_pen_taken_every_reservation_fails(void **) {
  Bench bench(2);
  Buffer &buffer = bench.ring.open_buffer();
  assert_true(bench.ring.try_pen());
  assert_true(buffer.reserve(1) > kCapacity);
  assert_true(buffer.reserve(kCapacity) > kCapacity);
}

static void test_buffer_ring__the_pen_holder_knows_how_full_the_buffer_is(void **) {
  Bench bench(2);
  bench.put("hello");
  assert_true(bench.ring.try_pen());
  assert_int_equal(bench.ring.fill(), 5);
  assert_int_equal(bench.ring.room(), kCapacity - 5);
  assert_ptr_equal(bench.ring.end(), bench.blocks.data() + 5);
}

static void test_buffer_ring__a_writer_who_crosses_the_end_has_the_pen(void **) {
  Bench bench(2);
  bench.put("0123456789");
  Buffer &buffer = bench.ring.open_buffer();
  const std::uint64_t offset = buffer.reserve(7);
  assert_int_equal(offset, 10);
  bench.ring.take_pen(buffer, offset);
  assert_int_equal(bench.ring.fill(), 10);
  assert_false(bench.ring.try_pen());
}

static void test_buffer_ring__given_back_the_buffer_goes_on_where_it_was(void **) {
  Bench bench(2);
  bench.put("hello");
  assert_true(bench.ring.try_pen());
  bench.ring.publish(true);
  assert_int_equal(bench.ring.open_buffer().reserve(1), 5);
}

// ---- The gate ----

static void test_buffer_ring__the_gate_admits_nothing(void **) {
  Bench bench(2);
  assert_true(bench.ring.try_pen());
  bench.ring.publish(false);
  const std::uint64_t offset = bench.ring.open_buffer().reserve(1);
  assert_int_equal(offset, kCapacity); // the pen, not a byte
}

static void test_buffer_ring__who_crosses_the_gate_has_the_pen(void **) {
  Bench bench(2);
  assert_true(bench.ring.try_pen());
  bench.ring.publish(false);
  assert_true(bench.ring.try_pen());
  assert_false(bench.ring.try_pen());
}

static void test_buffer_ring__the_gate_keeps_what_is_in_the_buffer(void **) {
  Bench bench(2);
  bench.put("hello");
  assert_true(bench.ring.try_pen());
  bench.ring.publish(false);
  assert_int_equal(bench.tail(), 5);
  assert_true(bench.ring.try_pen());
  assert_int_equal(bench.ring.fill(), 5);
  bench.ring.publish(true);
  assert_int_equal(bench.ring.open_buffer().reserve(1), 5);
}

// ---- Handing on ----

static void test_buffer_ring__a_sealed_buffer_waits_for_the_sink(void **) {
  Bench bench(2, kCapacity, 1000);
  bench.put("hello");
  bench.hand_on();
  Buffer *head = bench.ring.head();
  assert_non_null(head);
  assert_int_equal(head->length(), 5);
  assert_int_equal(head->position(), 1000);
  assert_memory_equal(head->data(), "hello", 5);
}

static void test_buffer_ring__the_next_buffer_begins_where_the_sealed_one_ended(void **) {
  Bench bench(2, kCapacity, 1000);
  bench.put("hello");
  bench.hand_on();
  assert_int_equal(bench.ring.open_buffer().position(), 1005);
  assert_int_equal(bench.tail(), 1005);
}

static void test_buffer_ring__nothing_sealed_is_no_head(void **) {
  Bench bench(2);
  bench.put("hello");
  assert_null(bench.ring.head());
  assert_int_equal(bench.ring.in_use(), 0);
}

static void test_buffer_ring__buffers_are_retired_in_order(void **) {
  Bench bench(4);
  for (int number = 0; number < 3; ++number) {
    bench.put(std::string(1, static_cast<char>('a' + number)));
    bench.hand_on();
  }
  for (int number = 0; number < 3; ++number) {
    assert_int_equal(bench.ring.head()->data()[0], 'a' + number);
    assert_int_equal(bench.ring.head()->position(), number);
    bench.ring.retire();
  }
  assert_null(bench.ring.head());
}

static void test_buffer_ring__buffers_in_use_and_free_ones_are_counted(void **) {
  Bench bench(3);
  assert_int_equal(bench.ring.free_buffers(), 2);
  bench.put("a");
  bench.hand_on();
  assert_int_equal(bench.ring.in_use(), 1);
  assert_int_equal(bench.ring.free_buffers(), 1);
  bench.put("b");
  bench.hand_on();
  assert_int_equal(bench.ring.in_use(), 2);
  assert_int_equal(bench.ring.free_buffers(), 0);
  bench.ring.retire();
  assert_int_equal(bench.ring.in_use(), 1);
  assert_int_equal(bench.ring.free_buffers(), 1);
}

static void test_buffer_ring__with_all_in_use_there_is_no_next_one(void **) {
  Bench bench(2);
  bench.put("a");
  bench.hand_on();
  bench.put("b");
  assert_true(bench.ring.try_pen());
  bench.ring.seal();
  assert_false(bench.ring.rotate(bench.ring.current_end()));
  assert_int_equal(bench.ring.room(), 0);
  bench.ring.publish(false);
  assert_int_equal(bench.tail(), 2);
}

static void test_buffer_ring__a_retired_buffer_can_be_filled_again(void **) {
  Bench bench(2);
  for (int round = 0; round < 20; ++round) {
    bench.put("ab");
    bench.hand_on();
    assert_true(bench.ring.head()->all_committed(bench.slots, 2));
    bench.ring.retire();
  }
  assert_int_equal(bench.tail(), 40);
}

static void test_buffer_ring__what_the_sink_took_of_the_head_is_remembered(void **) {
  Bench bench(2);
  bench.put("hello");
  bench.hand_on();
  bench.ring.take(2);
  bench.ring.take(1);
  assert_int_equal(bench.ring.head_taken(), 3);
  bench.ring.retire();
  assert_int_equal(bench.ring.head_taken(), 0);
}

// ---- The pen holder's own bytes ----

static void test_buffer_ring__advance_counts_bytes_of_the_pen_holder(void **) {
  Bench bench(1);
  bench.put("abc");
  assert_true(bench.ring.try_pen());
  std::memcpy(bench.ring.end(), "de", 2);
  bench.ring.advance(2);
  bench.ring.publish(true);
  assert_int_equal(bench.tail(), 5);
  assert_int_equal(bench.accepted(), 5);
}

static void test_buffer_ring__a_lent_range_is_outstanding(void **) {
  Bench bench(1);
  assert_true(bench.ring.try_pen());
  bench.ring.lend(4);
  bench.ring.publish(true);
  assert_int_equal(bench.tail(), 4);
  assert_int_equal(bench.accepted(), -1);
  bench.slots.commit_common(bench.slots.common(1), 0, 4);
  assert_int_equal(bench.accepted(), 4);
}

static void test_buffer_ring__shift_moves_the_front_of_the_buffer(void **) {
  Bench bench(1);
  bench.put("hello world");
  assert_true(bench.ring.try_pen());
  bench.ring.shift(6);
  assert_int_equal(bench.ring.fill(), 5);
  assert_int_equal(bench.ring.current().position(), 6);
  bench.ring.publish(true);
  assert_int_equal(bench.tail(), 11);
  assert_int_equal(bench.accepted(), 11);
}

static void test_buffer_ring__an_empty_buffer_can_be_dropped(void **) {
  Bench bench(1, kCapacity, 7);
  assert_true(bench.ring.try_pen());
  bench.ring.drop_empty_current();
  assert_false(bench.ring.has_current());
  assert_int_equal(bench.ring.current_end(), 7);
  bench.ring.set_tail(70);
  assert_true(bench.ring.rotate(bench.ring.current_end()));
  assert_int_equal(bench.ring.current().position(), 70);
}

static void test_buffer_ring__a_buffer_with_bytes_is_not_dropped(void **) {
  Bench bench(1);
  bench.put("x");
  assert_true(bench.ring.try_pen());
  bench.ring.drop_empty_current();
  assert_true(bench.ring.has_current());
  assert_int_equal(bench.ring.fill(), 1);
}

static void test_buffer_ring__forget_drops_all_and_moves_the_end(void **) {
  Bench bench(3);
  bench.put("abc");
  bench.hand_on();
  bench.put("def");
  bench.hand_on();
  bench.put("ghi");
  assert_true(bench.ring.try_pen());
  bench.ring.forget(500);
  assert_null(bench.ring.head());
  assert_int_equal(bench.ring.in_use(), 0);
  bench.ring.publish(true);
  assert_int_equal(bench.tail(), 500);
  assert_int_equal(bench.accepted(), 500);
  bench.put("xy");
  assert_int_equal(bench.accepted(), 502);
}

// ---- Positions ----

static void test_buffer_ring__the_tail_follows_reservations(void **) {
  Bench bench(2, kCapacity, 100);
  assert_int_equal(bench.tail(), 100);
  bench.ring.open_buffer().reserve(5);
  assert_int_equal(bench.tail(), 105);
}

static void test_buffer_ring__the_tail_is_known_while_the_pen_is_held(void **) {
  Bench bench(2, kCapacity, 100);
  bench.put("hello");
  assert_true(bench.ring.try_pen());
  assert_int_equal(bench.tail(), 105);
}

static void test_buffer_ring__the_tail_is_unknown_between_crossing_and_taking(void **) {
  Bench bench(2);
  Buffer &buffer = bench.ring.open_buffer();
  const std::uint64_t offset = buffer.reserve(kCapacity + 1);
  std::int64_t tail;
  assert_false(bench.ring.tail(tail));
  bench.ring.take_pen(buffer, offset);
  assert_true(bench.ring.tail(tail));
}

static void test_buffer_ring__accepted_waits_for_outstanding_copies(void **) {
  Bench bench(2);
  bench.put("abc");
  bench.ring.open_buffer().reserve(2);
  assert_int_equal(bench.accepted(), -1);
  bench.count(2);
  assert_int_equal(bench.accepted(), 5);
}

static void test_buffer_ring__accepted_waits_for_sealed_buffers_too(void **) {
  Bench bench(2);
  bench.ring.open_buffer().reserve(3);
  bench.hand_on();
  assert_false(bench.ring.sealed_committed());
  assert_int_equal(bench.accepted(), -1);
  bench.slots.commit_common(bench.slots.common(1), bench.ring.head()->index(), 3);
  assert_true(bench.ring.sealed_committed());
  assert_int_equal(bench.accepted(), 3);
}

static void test_buffer_ring__accepted_is_not_known_while_the_pen_is_held(void **) {
  Bench bench(2);
  bench.ring.open_buffer().reserve(3);
  assert_int_equal(bench.accepted(), -1);
  bench.slots.commit_common(bench.slots.common(1), bench.ring.open_buffer().index(), 3);
  assert_int_equal(bench.accepted(), 3);
  assert_true(bench.ring.try_pen());
  assert_int_equal(bench.accepted(), -1);
  bench.ring.publish(true);
  assert_int_equal(bench.accepted(), 3);
}

// ---- One thread that comes between two steps of another ----

namespace {

// Calls a hook before the load with a given number.
struct Interruption {
  int loads_left = -1; // negative: never
  void (*hook)() = nullptr;

  void step() {
    if (loads_left < 0 || loads_left-- > 0) return;
    hook();
  }
};
Interruption interruption;

template <class T>
struct SteppedAtomic : std::atomic<T> {
  using std::atomic<T>::atomic;
  T load(std::memory_order order) const noexcept {
    interruption.step();
    return std::atomic<T>::load(order);
  }
};

struct SteppedAtomics : bwlib::RealAtomics {
  template <class T>
  using Atomic = SteppedAtomic<T>;
};

using SteppedSlots = bwlib::CopySlots<SteppedAtomics>;
using SteppedBuffer = bwlib::FlushBuffer<SteppedAtomics>;
using SteppedRing = bwlib::BufferRing<SteppedAtomics>;

struct SteppedBench {
  SteppedBench() {
    if (memory.map(SteppedSlots::bytes(2)) != 0) std::abort();
    slots.attach(memory.data(), 2, true);
    ring.attach(buffers, 2, blocks, kCapacity, kCapacity, &slots);
    ring.rotate(0);
    ring.publish(true);
  }
  bwlib::Mapping memory;
  char blocks[2 * kCapacity] = {};
  SteppedSlots slots;
  SteppedBuffer buffers[2];
  SteppedRing ring;
};
SteppedBench *stepped; // what hooks work on

void do_nothing() {}
void reserve_three() { stepped->ring.open_buffer().reserve(3); }
void commit_three() { stepped->slots.commit_common(stepped->slots.common(1), 0, 3); }
void fill_three() {
  reserve_three();
  commit_three();
}
void take_the_pen() { stepped->ring.try_pen(); }
void take_the_pen_and_give_it_back() {
  take_the_pen();
  stepped->ring.publish(true);
}
void hand_on() {
  take_the_pen();
  stepped->ring.seal();
  stepped->ring.publish(stepped->ring.rotate(stepped->ring.current_end()));
}
void hand_on_and_retire() {
  hand_on();
  stepped->ring.retire();
}
void hand_on_and_reserve() {
  hand_on();
  reserve_three();
}
void reserve_and_hand_on() {
  reserve_three();
  hand_on();
}
void seal() {
  take_the_pen();
  stepped->ring.seal();
}
void lend_four() {
  take_the_pen();
  stepped->ring.lend(4);
  stepped->ring.publish(true);
}
void advance_two() {
  take_the_pen();
  stepped->ring.advance(2);
  stepped->ring.publish(true);
}
void shift_one() {
  take_the_pen();
  stepped->ring.shift(1);
  stepped->ring.publish(true);
}

bool look_at_accepted(std::int64_t &position) { return stepped->ring.accepted(position); }
bool look_at_tail(std::int64_t &position) { return stepped->ring.tail(position); }

using Step = void (*)();
constexpr int kMostLoads = 1000; // more than a look at the ring has

// Looks again and again, each time interrupted before another load. What it sees, if anything, must be among `right`.
bool is_right_wherever_interrupted(Step prepare, Step interrupt, bool (*look)(std::int64_t &),
                                   std::vector<std::int64_t> right) {
  for (int load = 0; load < kMostLoads; ++load) {
    SteppedBench bench;
    stepped = &bench;
    prepare();
    interruption = {load, interrupt};
    std::int64_t seen;
    const bool is_known = look(seen);
    const bool was_interrupted = interruption.loads_left < 0;
    interruption = {};
    if (is_known && std::find(right.begin(), right.end(), seen) == right.end()) {
      std::fprintf(stderr, "interrupted before load %d it saw %lld\n", load, static_cast<long long>(seen));
      return false;
    }
    if (!was_interrupted) return true;
  }
  return false;
}

} // namespace

static void test_buffer_ring__accepted_never_passes_an_outstanding_copy(void **) {
  for (Step interrupt : {hand_on, hand_on_and_reserve, take_the_pen, take_the_pen_and_give_it_back, seal, advance_two})
    assert_true(is_right_wherever_interrupted(reserve_three, interrupt, look_at_accepted, {0}));
}

static void test_buffer_ring__accepted_never_passes_a_copy_that_begins_meanwhile(void **) {
  for (Step interrupt : {reserve_three, reserve_and_hand_on})
    assert_true(is_right_wherever_interrupted(do_nothing, interrupt, look_at_accepted, {0}));
}

static void test_buffer_ring__accepted_may_see_a_copy_that_ends_meanwhile(void **) {
  assert_true(is_right_wherever_interrupted(reserve_three, commit_three, look_at_accepted, {3}));
}

static void test_buffer_ring__accepted_stays_right_while_buffers_change(void **) {
  for (Step interrupt :
       {hand_on, hand_on_and_retire, hand_on_and_reserve, take_the_pen, take_the_pen_and_give_it_back, seal, lend_four,
        shift_one})
    assert_true(is_right_wherever_interrupted(fill_three, interrupt, look_at_accepted, {3}));
  assert_true(is_right_wherever_interrupted(fill_three, advance_two, look_at_accepted, {3, 5}));
}

static void test_buffer_ring__the_tail_stays_right_while_buffers_change(void **) {
  for (Step interrupt :
       {hand_on, hand_on_and_retire, take_the_pen, take_the_pen_and_give_it_back, seal, shift_one})
    assert_true(is_right_wherever_interrupted(fill_three, interrupt, look_at_tail, {3}));
}

static void test_buffer_ring__the_tail_is_the_one_before_or_after_a_reservation(void **) {
  for (Step interrupt : {reserve_three, reserve_and_hand_on, hand_on_and_reserve})
    assert_true(is_right_wherever_interrupted(fill_three, interrupt, look_at_tail, {3, 6}));
}

// ---- Many threads ----

namespace {

constexpr unsigned kThreads = 4;
constexpr unsigned kRecords = 4000;
constexpr std::uint64_t kSmall = 61; // a few records to a buffer

// Writes through the ring as Writer does, with yields instead of sleeps. `with_pen(text)` places what did not fit.
template <class WithPen>
void put_through(Bench &bench, const std::string &text, WithPen with_pen) {
  const std::uintptr_t me = bwlib::thread_identity();
  for (;;) {
    Buffer &buffer = bench.ring.open_buffer();
    if (!buffer.is_open()) {
      std::this_thread::yield();
      continue;
    }
    Slots::Slot &slot = bench.slots.find(me);
    const std::uint64_t offset = buffer.reserve(text.size());
    if (offset + text.size() <= kSmall) {
      std::memcpy(buffer.data() + offset, text.data(), text.size());
      bench.slots.commit(slot, me, buffer.index(), text.size());
      return;
    }
    if (offset > kSmall) continue;
    bench.ring.take_pen(buffer, offset);
    with_pen(text);
    return;
  }
}

// Runs the writers, and watches meanwhile that positions only grow and accepted ones never pass the end.
template <class WithPen>
bool run_writers(Bench &bench, WithPen with_pen) {
  std::atomic<unsigned> left{kThreads};
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (unsigned number = 0; number < kRecords; ++number)
        put_through(bench, unit::record_of(thread, number), with_pen);
      left.fetch_sub(1, std::memory_order_release);
    });
  }
  bool is_right = true;
  std::int64_t last_tail = 0, last_accepted = 0;
  while (left.load(std::memory_order_acquire) > 0) {
    const std::int64_t accepted = bench.accepted();
    const std::int64_t tail = bench.tail();
    if (accepted >= 0) {
      is_right = is_right && accepted >= last_accepted && (tail < 0 || accepted <= tail);
      last_accepted = accepted;
    }
    if (tail >= 0) {
      is_right = is_right && tail >= last_tail;
      last_tail = tail;
    }
    std::this_thread::yield();
  }
  for (std::thread &thread : threads) thread.join();
  return is_right;
}

} // namespace

static void test_buffer_ring__threads_that_empty_the_buffer_themselves_lose_nothing(void **) {
  Bench bench(1, kSmall);
  std::string stream;
  const auto empty = [&] {
    while (!bench.ring.current().all_committed(bench.slots, bench.ring.fill())) std::this_thread::yield();
    stream.append(bench.ring.current().data(), bench.ring.fill());
    bench.ring.shift(bench.ring.fill());
  };
  const bool is_right = run_writers(bench, [&](const std::string &text) {
    empty();
    std::memcpy(bench.ring.end(), text.data(), text.size());
    bench.ring.advance(text.size());
    bench.ring.publish(true);
  });
  assert_true(is_right);
  assert_true(bench.ring.try_pen());
  empty();
  assert_true(unit::is_all_records(stream, kThreads, kRecords));
  assert_int_equal(bench.ring.current_end(), stream.size());
}

static void ring_with_a_thread_that_empties_it_loses_nothing(unsigned buffers) {
  Bench bench(buffers, kSmall);
  std::string stream;
  std::atomic<bool> is_over{false};
  std::thread sink([&] {
    for (;;) {
      const bool is_last = is_over.load(std::memory_order_acquire);
      if (Buffer *head = bench.ring.head()) {
        while (!head->all_committed(bench.slots, head->length())) std::this_thread::yield();
        head->begin_flight();
        stream.append(head->data(), head->length());
        bench.ring.retire();
      } else if (is_last) {
        return;
      } else {
        std::this_thread::yield();
      }
    }
  });
  const bool is_right = run_writers(bench, [&](const std::string &text) {
    for (std::size_t done = 0; done < text.size();) {
      if (!bench.ring.has_current() && !bench.ring.rotate(bench.ring.current_end())) {
        std::this_thread::yield();
        continue;
      }
      const std::uint64_t step = std::min<std::uint64_t>(text.size() - done, bench.ring.room());
      std::memcpy(bench.ring.end(), text.data() + done, step);
      bench.ring.advance(step);
      done += step;
      if (bench.ring.room() == 0) bench.ring.seal();
    }
    if (!bench.ring.has_current()) bench.ring.rotate(bench.ring.current_end());
    bench.ring.publish(bench.ring.has_current());
  });
  const bool got_pen = bench.ring.try_pen();
  if (got_pen && bench.ring.has_current()) bench.ring.seal();
  is_over.store(true, std::memory_order_release);
  sink.join();
  assert_true(is_right);
  assert_true(got_pen);
  assert_true(unit::is_all_records(stream, kThreads, kRecords));
}

static void test_buffer_ring__one_buffer_and_a_thread_that_empties_it_lose_nothing(void **) {
  ring_with_a_thread_that_empties_it_loses_nothing(1);
}

static void test_buffer_ring__three_buffers_and_a_thread_that_empties_them_lose_nothing(void **) {
  ring_with_a_thread_that_empties_it_loses_nothing(3);
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_buffer_ring__before_it_is_published_nobody_gets_the_pen),
      cmocka_unit_test(test_buffer_ring__the_pen_is_given_once),
      cmocka_unit_test(test_buffer_ring__the_pen_can_be_taken_again_once_it_was_given_back),
      cmocka_unit_test(test_buffer_ring__with_the_pen_taken_every_reservation_fails),
      cmocka_unit_test(test_buffer_ring__the_pen_holder_knows_how_full_the_buffer_is),
      cmocka_unit_test(test_buffer_ring__a_writer_who_crosses_the_end_has_the_pen),
      cmocka_unit_test(test_buffer_ring__given_back_the_buffer_goes_on_where_it_was),
      cmocka_unit_test(test_buffer_ring__the_gate_admits_nothing),
      cmocka_unit_test(test_buffer_ring__who_crosses_the_gate_has_the_pen),
      cmocka_unit_test(test_buffer_ring__the_gate_keeps_what_is_in_the_buffer),
      cmocka_unit_test(test_buffer_ring__a_sealed_buffer_waits_for_the_sink),
      cmocka_unit_test(test_buffer_ring__the_next_buffer_begins_where_the_sealed_one_ended),
      cmocka_unit_test(test_buffer_ring__nothing_sealed_is_no_head),
      cmocka_unit_test(test_buffer_ring__buffers_are_retired_in_order),
      cmocka_unit_test(test_buffer_ring__buffers_in_use_and_free_ones_are_counted),
      cmocka_unit_test(test_buffer_ring__with_all_in_use_there_is_no_next_one),
      cmocka_unit_test(test_buffer_ring__a_retired_buffer_can_be_filled_again),
      cmocka_unit_test(test_buffer_ring__what_the_sink_took_of_the_head_is_remembered),
      cmocka_unit_test(test_buffer_ring__advance_counts_bytes_of_the_pen_holder),
      cmocka_unit_test(test_buffer_ring__a_lent_range_is_outstanding),
      cmocka_unit_test(test_buffer_ring__shift_moves_the_front_of_the_buffer),
      cmocka_unit_test(test_buffer_ring__an_empty_buffer_can_be_dropped),
      cmocka_unit_test(test_buffer_ring__a_buffer_with_bytes_is_not_dropped),
      cmocka_unit_test(test_buffer_ring__forget_drops_all_and_moves_the_end),
      cmocka_unit_test(test_buffer_ring__the_tail_follows_reservations),
      cmocka_unit_test(test_buffer_ring__the_tail_is_known_while_the_pen_is_held),
      cmocka_unit_test(test_buffer_ring__the_tail_is_unknown_between_crossing_and_taking),
      cmocka_unit_test(test_buffer_ring__accepted_waits_for_outstanding_copies),
      cmocka_unit_test(test_buffer_ring__accepted_waits_for_sealed_buffers_too),
      cmocka_unit_test(test_buffer_ring__accepted_is_not_known_while_the_pen_is_held),
      cmocka_unit_test(test_buffer_ring__accepted_never_passes_an_outstanding_copy),
      cmocka_unit_test(test_buffer_ring__accepted_never_passes_a_copy_that_begins_meanwhile),
      cmocka_unit_test(test_buffer_ring__accepted_may_see_a_copy_that_ends_meanwhile),
      cmocka_unit_test(test_buffer_ring__accepted_stays_right_while_buffers_change),
      cmocka_unit_test(test_buffer_ring__the_tail_stays_right_while_buffers_change),
      cmocka_unit_test(test_buffer_ring__the_tail_is_the_one_before_or_after_a_reservation),
      cmocka_unit_test(test_buffer_ring__threads_that_empty_the_buffer_themselves_lose_nothing),
      cmocka_unit_test(test_buffer_ring__one_buffer_and_a_thread_that_empties_it_lose_nothing),
      cmocka_unit_test(test_buffer_ring__three_buffers_and_a_thread_that_empties_them_lose_nothing),
  };
  return cmocka_run_group_tests_name("buffer_ring", tests, nullptr, nullptr);
}
