// Notes become due at their position, in order, and are given out once.
#include "note_list.h"

#include <algorithm>
#include <cerrno>

#include "counted_new.h"
#include "unit.h"

namespace {

using bwlib::Note;
using bwlib::NoteList;

void done(void *, int) {}

// A note's argument is its number.
void *number_of(std::intptr_t number) {
  return reinterpret_cast<void *>(number);
}

int add(NoteList &list, std::int64_t position, int level, std::intptr_t number) {
  return list.add(position, level, done, number_of(number));
}

// The numbers of all due notes, in the order they are given out.
std::vector<std::intptr_t> due(NoteList &list) {
  std::vector<std::intptr_t> numbers;
  Note note;
  while (list.next_due(note)) numbers.push_back(reinterpret_cast<std::intptr_t>(note.arg));
  return numbers;
}

using Numbers = std::vector<std::intptr_t>;

} // namespace

static void test_note_list__nothing_is_due_in_an_empty_list(void **) {
  NoteList list;
  Note note;
  assert_false(list.has_due());
  assert_false(list.next_due(note));
}

static void test_note_list__an_empty_level_has_no_lowest_position(void **) {
  NoteList list;
  for (int level = 0; level < NoteList::kLevels; ++level) assert_true(list.lowest(level) == INT64_MAX);
}

static void test_note_list__a_note_is_due_when_its_position_is_reached(void **) {
  NoteList list;
  assert_int_equal(add(list, 100, BW_WRITTEN, 1), 0);
  list.settle(BW_WRITTEN, 99, 0);
  assert_false(list.has_due());
  list.settle(BW_WRITTEN, 100, 0);
  assert_true(list.has_due());
  assert_true(due(list) == Numbers{1});
}

static void test_note_list__a_due_note_is_as_it_was_added(void **) {
  NoteList list;
  add(list, 100, BW_WRITTEN, 7);
  list.settle(BW_WRITTEN, 200, -EIO);
  Note note;
  assert_true(list.next_due(note));
  assert_true(note.done == done);
  assert_ptr_equal(note.arg, number_of(7));
  assert_int_equal(note.position, 100);
  assert_int_equal(note.code, -EIO);
}

static void test_note_list__a_note_is_given_out_once(void **) {
  NoteList list;
  add(list, 100, BW_WRITTEN, 1);
  list.settle(BW_WRITTEN, 100, 0);
  list.settle(BW_WRITTEN, 100, 0);
  list.cancel(BW_WRITTEN, 0, -EIO);
  assert_true(due(list) == Numbers{1});
  assert_false(list.has_due());
}

static void test_note_list__levels_know_nothing_of_one_another(void **) {
  NoteList list;
  for (int level = 0; level < NoteList::kLevels; ++level) add(list, 10, level, level);
  list.settle(BW_WRITTEN, 10, 0);
  assert_true(due(list) == Numbers{BW_WRITTEN});
  list.cancel(BW_DURABLE, 0, -EIO);
  assert_true(due(list) == Numbers{BW_DURABLE});
  assert_int_equal(list.lowest(BW_ACCEPTED), 10);
}

static void test_note_list__notes_are_due_in_the_order_of_their_positions(void **) {
  NoteList list;
  for (std::intptr_t position : {50, 10, 30, 20, 40}) add(list, position, 0, position);
  list.settle(0, 100, 0);
  assert_true((due(list) == Numbers{10, 20, 30, 40, 50}));
}

static void test_note_list__notes_of_one_position_are_due_in_the_order_they_came(void **) {
  NoteList list;
  for (std::intptr_t number = 1; number <= 3; ++number) add(list, 20, 0, number);
  add(list, 10, 0, 0);
  add(list, 30, 0, 9);
  add(list, 20, 0, 4);
  list.settle(0, 100, 0);
  assert_true((due(list) == Numbers{0, 1, 2, 3, 4, 9}));
}

static void test_note_list__the_lowest_position_is_known(void **) {
  NoteList list;
  add(list, 50, 1, 1);
  assert_int_equal(list.lowest(1), 50);
  add(list, 20, 1, 2);
  assert_int_equal(list.lowest(1), 20);
  add(list, 70, 1, 3);
  assert_int_equal(list.lowest(1), 20);
  list.settle(1, 50, 0);
  assert_int_equal(list.lowest(1), 70);
  list.settle(1, 70, 0);
  assert_true(list.lowest(1) == INT64_MAX);
}

static void test_note_list__a_cancelled_note_waits_for_those_before_it(void **) {
  NoteList list;
  for (std::intptr_t position : {10, 20, 30}) add(list, position, 0, position);
  list.cancel(0, 20, -ECANCELED);
  assert_true(due(list).empty());
  list.settle(0, 10, 0);
  assert_true(due(list) == Numbers{10});
  list.settle(0, 20, 0);
  assert_true((due(list) == Numbers{20, 30}));
}

static void test_note_list__a_cancelled_note_keeps_its_code(void **) {
  NoteList list;
  add(list, 10, 0, 1);
  add(list, 20, 0, 2);
  list.cancel(0, 10, -ECANCELED);
  list.cancel(0, 10, -EIO);
  list.settle(0, 100, 0);
  Note note;
  assert_true(list.next_due(note));
  assert_int_equal(note.code, 0);
  assert_true(list.next_due(note));
  assert_int_equal(note.code, -ECANCELED);
}

static void test_note_list__cancel_gives_its_code(void **) {
  NoteList list;
  add(list, 10, 0, 1);
  list.cancel(0, 0, -ECANCELED);
  Note note;
  assert_true(list.next_due(note));
  assert_int_equal(note.code, -ECANCELED);
}

static void test_note_list__after_a_cancel_notes_are_added_as_before(void **) {
  NoteList list;
  for (std::intptr_t position : {10, 20, 30}) add(list, position, 0, position);
  list.cancel(0, 10, -ECANCELED);
  add(list, 15, 0, 15);
  add(list, 5, 0, 5);
  list.settle(0, 10, 0);
  assert_true((due(list) == Numbers{5, 10, 20, 30})); // they do not wait for what came after they were cancelled
  list.settle(0, 100, 0);
  assert_true(due(list) == Numbers{15});
}

static void test_note_list__everything_can_be_cancelled(void **) {
  NoteList list;
  add(list, 0, 0, 1);
  add(list, INT64_MAX, 0, 2);
  list.cancel(0, INT64_MIN, -EIO);
  assert_true((due(list) == Numbers{1, 2}));
  assert_true(list.lowest(0) == INT64_MAX);
}

static void test_note_list__without_memory_a_note_is_refused(void **) {
  if (unit::under_valgrind()) skip();
  NoteList list;
  unit::refuse_new = true;
  const int code = add(list, 1, 0, 1);
  unit::refuse_new = false;
  assert_int_equal(code, -ENOMEM);
  assert_true(list.lowest(0) == INT64_MAX);
}

static void test_note_list__memory_of_notes_given_out_is_used_again(void **) {
  NoteList list;
  const auto go_round = [&] {
    for (int number = 0; number < 10; ++number) add(list, number, 0, number);
    list.settle(0, 100, 0);
    Note note;
    while (list.next_due(note)) {
    }
  };
  go_round();
  const long before = unit::blocks_alive;
  for (int round = 0; round < 10; ++round) go_round();
  assert_int_equal(unit::blocks_alive, before);
}

static void test_note_list__all_memory_is_given_back(void **) {
  const long before = unit::blocks_alive;
  {
    NoteList list;
    for (int number = 0; number < 30; ++number) add(list, number, number % NoteList::kLevels, number);
    list.settle(0, 10, 0);
    Note note;
    list.next_due(note);
  }
  assert_int_equal(unit::blocks_alive, before);
}

// Random calls, against a plain list that does the same.
static void test_note_list__it_does_what_a_plain_list_does(void **) {
  struct Plain {
    std::int64_t position;
    std::intptr_t number;
    bool is_cancelled;
  };
  unit::Random random(1);
  for (int run = 0; run < 50; ++run) {
    NoteList list;
    std::vector<Plain> waiting[NoteList::kLevels];
    Numbers expected, got;
    for (std::intptr_t step = 0; step < 300; ++step) {
      const int level = static_cast<int>(random.below(NoteList::kLevels));
      const auto position = static_cast<std::int64_t>(random.below(60));
      std::vector<Plain> &plain = waiting[level];
      const auto is_beyond = [&](const Plain &note) { return note.position > position && !note.is_cancelled; };
      const auto beyond = std::find_if(plain.begin(), plain.end(), is_beyond);
      const auto answer = [&](auto end) {
        end = std::find_if(end, plain.end(), [](const Plain &note) { return !note.is_cancelled; });
        for (auto note = plain.begin(); note != end; ++note) expected.push_back(note->number);
        plain.erase(plain.begin(), end);
      };
      switch (random.below(6)) {
        case 0:
          list.settle(level, position, 0);
          if (beyond != plain.begin()) answer(beyond);
          break;
        case 1:
          list.cancel(level, position, -EIO);
          for (Plain &note : plain) note.is_cancelled = note.is_cancelled || note.position > position;
          answer(plain.begin());
          break;
        case 2: {
          const Numbers some = due(list);
          got.insert(got.end(), some.begin(), some.end());
          break;
        }
        default:
          assert_int_equal(add(list, position, level, step), 0);
          plain.insert(beyond, {position, step, false});
      }
      assert_true(list.lowest(level) == (plain.empty() ? INT64_MAX : plain.front().position));
    }
    const Numbers rest = due(list);
    got.insert(got.end(), rest.begin(), rest.end());
    assert_true(got == expected);
  }
}

static void test_note_list__between_threads_every_note_is_given_out_once(void **) {
  constexpr int kThreads = 4;
  constexpr int kNotes = 5000;
  NoteList list;
  std::atomic<int> left{kThreads};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int number = 0; number < kNotes; ++number) add(list, number, 0, thread * kNotes + number);
      left.fetch_sub(1, std::memory_order_release);
    });
  }
  std::vector<int> times(kThreads * kNotes);
  const auto collect = [&](std::int64_t position) {
    list.settle(0, position, 0);
    for (std::intptr_t number : due(list)) ++times[static_cast<std::size_t>(number)];
  };
  for (std::int64_t position = 0; left.load(std::memory_order_acquire) > 0; ++position) collect(position % kNotes);
  for (std::thread &thread : threads) thread.join();
  collect(kNotes);
  assert_true(std::all_of(times.begin(), times.end(), [](int count) { return count == 1; }));
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_note_list__nothing_is_due_in_an_empty_list),
      cmocka_unit_test(test_note_list__an_empty_level_has_no_lowest_position),
      cmocka_unit_test(test_note_list__a_note_is_due_when_its_position_is_reached),
      cmocka_unit_test(test_note_list__a_due_note_is_as_it_was_added),
      cmocka_unit_test(test_note_list__a_note_is_given_out_once),
      cmocka_unit_test(test_note_list__levels_know_nothing_of_one_another),
      cmocka_unit_test(test_note_list__notes_are_due_in_the_order_of_their_positions),
      cmocka_unit_test(test_note_list__notes_of_one_position_are_due_in_the_order_they_came),
      cmocka_unit_test(test_note_list__the_lowest_position_is_known),
      cmocka_unit_test(test_note_list__a_cancelled_note_waits_for_those_before_it),
      cmocka_unit_test(test_note_list__a_cancelled_note_keeps_its_code),
      cmocka_unit_test(test_note_list__cancel_gives_its_code),
      cmocka_unit_test(test_note_list__after_a_cancel_notes_are_added_as_before),
      cmocka_unit_test(test_note_list__everything_can_be_cancelled),
      cmocka_unit_test(test_note_list__without_memory_a_note_is_refused),
      cmocka_unit_test(test_note_list__memory_of_notes_given_out_is_used_again),
      cmocka_unit_test(test_note_list__all_memory_is_given_back),
      cmocka_unit_test(test_note_list__it_does_what_a_plain_list_does),
      cmocka_unit_test(test_note_list__between_threads_every_note_is_given_out_once),
  };
  return cmocka_run_group_tests_name("note_list", tests, nullptr, nullptr);
}
