// A cursor over a list of pieces, against the same bytes in one string.
#include "parts.h"

#include "unit.h"

namespace {

using bwlib::Parts;

// A list of pieces, and the bytes they make together.
struct Pieces {
  explicit Pieces(const std::vector<std::string> &texts) : owned(texts) {
    for (std::string &text : owned) {
      list.push_back({text.data(), text.size()});
      all += text;
    }
  }
  Parts parts() const { return Parts(list.data(), static_cast<int>(list.size())); }

  std::vector<std::string> owned;
  std::vector<iovec> list;
  std::string all;
};

// Up to `most` pieces of up to 9 bytes, many of them empty.
Pieces random_pieces(unit::Random &random, std::uint64_t most) {
  std::vector<std::string> texts(random.below(most + 1));
  char next = 'a';
  for (std::string &text : texts) {
    text.resize(random.below(3) == 0 ? 0 : random.below(10));
    for (char &byte : text) byte = next = next == 'z' ? 'a' : static_cast<char>(next + 1);
  }
  return Pieces(texts);
}

std::string bytes_of(const Parts::List &list) {
  std::string bytes;
  for (int index = 0; index < list.count; ++index)
    bytes.append(static_cast<const char *>(list.parts[index].iov_base), list.parts[index].iov_len);
  return bytes;
}

// A list offers what comes next; all of it, unless there are more pieces than it has room for.
bool offers(const Parts &parts, const std::string &rest) {
  iovec room[Parts::kListRoom];
  const Parts::List list = parts.list(room);
  const std::string bytes = bytes_of(list);
  REQUIRE(list.bytes == bytes.size());
  REQUIRE(rest.compare(0, bytes.size(), bytes) == 0);
  REQUIRE(bytes.size() == rest.size() || list.count == Parts::kListRoom);
  return true;
}

} // namespace

static void test_parts__no_pieces_are_nothing(void **) {
  Parts parts(nullptr, 0);
  parts.skip_empty();
  assert_int_equal(parts.left(), 0);
  assert_int_equal(parts.front_length(), 0);
}

static void test_parts__empty_pieces_are_nothing(void **) {
  const Pieces pieces({"", "", ""});
  Parts parts = pieces.parts();
  assert_int_equal(parts.left(), 0);
  parts.skip_empty();
  assert_int_equal(parts.count(), 0);
}

static void test_parts__what_is_left_is_the_total(void **) {
  const Pieces pieces({"abc", "", "defgh"});
  assert_int_equal(pieces.parts().left(), 8);
}

static void test_parts__leading_empties_are_skipped(void **) {
  const Pieces pieces({"", "", "abc", "", "d"});
  Parts parts = pieces.parts();
  parts.skip_empty();
  assert_int_equal(parts.count(), 3);
  assert_int_equal(parts.front_length(), 3);
  assert_ptr_equal(parts.front(), pieces.list[2].iov_base);
}

static void test_parts__consuming_moves_within_a_piece(void **) {
  const Pieces pieces({"abcdef"});
  Parts parts = pieces.parts();
  parts.consume(2);
  assert_int_equal(parts.left(), 4);
  assert_int_equal(parts.front_length(), 4);
  assert_memory_equal(parts.front(), "cdef", 4);
}

static void test_parts__consuming_crosses_pieces(void **) {
  const Pieces pieces({"ab", "", "cd", "ef"});
  Parts parts = pieces.parts();
  parts.consume(5);
  assert_int_equal(parts.left(), 1);
  assert_memory_equal(parts.front(), "f", 1);
}

static void test_parts__copying_consumes(void **) {
  const Pieces pieces({"ab", "", "cd", "ef"});
  Parts parts = pieces.parts();
  char copy[5];
  parts.copy_to(copy, 5);
  assert_memory_equal(copy, "abcde", 5);
  assert_int_equal(parts.left(), 1);
}

static void test_parts__copying_nothing_consumes_nothing(void **) {
  const Pieces pieces({"ab"});
  Parts parts = pieces.parts();
  parts.copy_to(nullptr, 0);
  assert_int_equal(parts.left(), 2);
}

static void test_parts__an_untouched_list_is_the_callers_own(void **) {
  const Pieces pieces({"ab", "cd"});
  iovec room[Parts::kListRoom];
  const Parts::List list = pieces.parts().list(room);
  assert_ptr_equal(list.parts, pieces.list.data());
  assert_int_equal(list.count, 2);
  assert_int_equal(list.bytes, 4);
}

static void test_parts__the_callers_list_stays_as_it_is(void **) {
  const Pieces pieces({"abc", "", "def"});
  const std::vector<iovec> before = pieces.list;
  Parts parts = pieces.parts();
  char copy[4];
  parts.copy_to(copy, 4);
  iovec room[Parts::kListRoom];
  parts.list(room);
  assert_memory_equal(pieces.list.data(), before.data(), before.size() * sizeof(iovec));
}

static void test_parts__a_list_begun_offers_the_rest(void **) {
  const Pieces pieces({"abc", "", "def"});
  Parts parts = pieces.parts();
  parts.consume(1);
  iovec room[Parts::kListRoom];
  assert_true(bytes_of(parts.list(room)) == "bcdef");
}

static void test_parts__a_long_list_begun_offers_as_much_as_fits(void **) {
  const Pieces pieces(std::vector<std::string>(Parts::kListRoom + 10, "xy"));
  Parts parts = pieces.parts();
  parts.consume(1);
  iovec room[Parts::kListRoom];
  const Parts::List list = parts.list(room);
  assert_int_equal(list.count, Parts::kListRoom);
  assert_int_equal(list.bytes, 2 * Parts::kListRoom - 1);
}

static void test_parts__random_lists_are_copied_as_one_string_is(void **) {
  unit::Random random(1);
  for (int run = 0; run < 3000; ++run) {
    const Pieces pieces = random_pieces(random, 12);
    Parts parts = pieces.parts();
    std::string copy;
    while (parts.left() > 0) {
      std::string step(1 + random.below(parts.left()), '\0');
      parts.copy_to(step.data(), step.size());
      copy += step;
      assert_int_equal(parts.left(), pieces.all.size() - copy.size());
    }
    assert_true(copy == pieces.all);
  }
}

static void test_parts__random_lists_are_walked_as_one_string_is(void **) {
  unit::Random random(2);
  for (int run = 0; run < 3000; ++run) {
    const Pieces pieces = random_pieces(random, 100);
    Parts parts = pieces.parts();
    std::string rest = pieces.all;
    for (;;) {
      assert_int_equal(parts.left(), rest.size());
      assert_true(offers(parts, rest));
      if (rest.empty()) break;
      if (random.below(2)) {
        parts.skip_empty();
        assert_true(parts.front_length() > 0);
        assert_true(offers(parts, rest));
      }
      assert_true(rest.compare(0, parts.front_length(), parts.front(), parts.front_length()) == 0);
      const std::uint64_t step = random.below(rest.size() + 1);
      if (random.below(2)) {
        parts.consume(step);
      } else {
        std::string copy(step, '\0');
        parts.copy_to(copy.data(), step);
        assert_true(rest.compare(0, step, copy) == 0);
      }
      rest.erase(0, step);
    }
  }
}

// ---- How a writer uses them ----

namespace {

// Takes at most `most` bytes a call, and notes when it is offered none.
struct MeasuringSink {
  std::size_t most;
  std::string bytes;
  bool was_offered_nothing = false;

  static std::int64_t write(void *ctx, const void *data, std::size_t length) {
    const iovec part{const_cast<void *>(data), length};
    return writev(ctx, &part, 1);
  }
  static std::int64_t writev(void *ctx, const iovec *parts, int count) {
    auto &self = *static_cast<MeasuringSink *>(ctx);
    std::string offered;
    for (int index = 0; index < count; ++index)
      offered.append(static_cast<const char *>(parts[index].iov_base), parts[index].iov_len);
    self.was_offered_nothing = self.was_offered_nothing || offered.empty();
    offered.resize(std::min(offered.size(), self.most));
    self.bytes += offered;
    return static_cast<std::int64_t>(offered.size());
  }
};

} // namespace

static void test_parts__a_sink_is_never_offered_empty_pieces_alone(void **) {
  std::vector<std::string> texts(102);
  texts.front() = "12345678";
  texts.back() = "abcdefgh";
  const Pieces pieces(texts);
  MeasuringSink sink{8, {}, false};
  bw_sink_t ops = BW_SINK_INIT;
  ops.write = MeasuringSink::write;
  ops.writev = MeasuringSink::writev;
  bw_options_t options = BW_OPTIONS_INIT;
  options.capacity = 8;
  bw_t *bw;
  assert_int_equal(bw_new(&bw, &ops, &sink, &options), 0);
  assert_int_equal(bw_writev(bw, pieces.list.data(), static_cast<int>(pieces.list.size())), 16);
  assert_false(sink.was_offered_nothing);
  assert_true(sink.bytes == pieces.all);
  bw_free(bw);
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_parts__no_pieces_are_nothing),
      cmocka_unit_test(test_parts__empty_pieces_are_nothing),
      cmocka_unit_test(test_parts__what_is_left_is_the_total),
      cmocka_unit_test(test_parts__leading_empties_are_skipped),
      cmocka_unit_test(test_parts__consuming_moves_within_a_piece),
      cmocka_unit_test(test_parts__consuming_crosses_pieces),
      cmocka_unit_test(test_parts__copying_consumes),
      cmocka_unit_test(test_parts__copying_nothing_consumes_nothing),
      cmocka_unit_test(test_parts__an_untouched_list_is_the_callers_own),
      cmocka_unit_test(test_parts__the_callers_list_stays_as_it_is),
      cmocka_unit_test(test_parts__a_list_begun_offers_the_rest),
      cmocka_unit_test(test_parts__a_long_list_begun_offers_as_much_as_fits),
      cmocka_unit_test(test_parts__random_lists_are_copied_as_one_string_is),
      cmocka_unit_test(test_parts__random_lists_are_walked_as_one_string_is),
      cmocka_unit_test(test_parts__a_sink_is_never_offered_empty_pieces_alone),
  };
  return cmocka_run_group_tests_name("parts", tests, nullptr, nullptr);
}
