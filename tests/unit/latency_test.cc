// The histogram: buckets, and quantiles within an eighth of the truth.
#include "latency.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "unit.h"

namespace {

using bwlib::Latency;

constexpr std::uint64_t kEndNs = std::uint64_t{1} << 37; // what lies beyond shares the last bucket

bool is_within_an_eighth(std::uint64_t estimate, std::uint64_t truth) {
  const std::uint64_t error = estimate > truth ? estimate - truth : truth - estimate;
  REQUIRE(error * 8 <= truth);
  return true;
}

// Records all, and compares count, longest and quantiles with those of the sorted list.
bool is_estimated_well(std::vector<std::uint64_t> times_ns) {
  Latency latency;
  for (std::uint64_t ns : times_ns) latency.record(ns);
  const bw_latency_t seen = latency.read();
  std::sort(times_ns.begin(), times_ns.end());
  const auto truth = [&](std::uint64_t per_mille) {
    const std::uint64_t rank = (times_ns.size() * per_mille + 999) / 1000;
    return times_ns[rank - 1];
  };
  REQUIRE(seen.count == times_ns.size());
  REQUIRE(seen.max_ns == times_ns.back());
  return is_within_an_eighth(seen.p50_ns, truth(500)) && is_within_an_eighth(seen.p90_ns, truth(900)) &&
         is_within_an_eighth(seen.p99_ns, truth(990)) && is_within_an_eighth(seen.p999_ns, truth(999));
}

} // namespace

static void test_latency__nothing_recorded_is_all_zero(void **) {
  const Latency latency;
  const bw_latency_t seen = latency.read();
  const bw_latency_t zero = {};
  assert_memory_equal(&seen, &zero, sizeof seen);
}

static void test_latency__a_single_time_is_every_quantile(void **) {
  for (std::uint64_t ns : {std::uint64_t{1}, std::uint64_t{7}, std::uint64_t{1000}, std::uint64_t{123456789}})
    assert_true(is_estimated_well({ns}));
}

static void test_latency__zero_is_a_time_too(void **) {
  Latency latency;
  latency.record(0);
  const bw_latency_t seen = latency.read();
  assert_int_equal(seen.count, 1);
  assert_int_equal(seen.p50_ns, 0);
  assert_int_equal(seen.p999_ns, 0);
  assert_int_equal(seen.max_ns, 0);
}

static void test_latency__short_times_are_exact(void **) {
  for (std::uint64_t ns = 0; ns < 8; ++ns) {
    Latency latency;
    latency.record(ns);
    latency.record(1000);
    latency.record(ns);
    assert_int_equal(latency.read().p50_ns, ns);
  }
}

static void test_latency__the_longest_is_exact(void **) {
  Latency latency;
  for (std::uint64_t ns : {std::uint64_t{5}, std::uint64_t{987654321}, std::uint64_t{44}}) latency.record(ns);
  assert_int_equal(latency.read().max_ns, 987654321);
}

static void test_latency__no_quantile_passes_the_longest(void **) {
  unit::Random random(1);
  for (int round = 0; round < 200; ++round) {
    Latency latency;
    for (int time = 0; time < 20; ++time) latency.record(random.below(std::uint64_t{1} << (1 + random.below(40))));
    const bw_latency_t seen = latency.read();
    assert_true(seen.p50_ns <= seen.p90_ns && seen.p90_ns <= seen.p99_ns && seen.p99_ns <= seen.p999_ns);
    assert_true(seen.p999_ns <= seen.max_ns);
  }
}

static void test_latency__times_beyond_the_last_bucket_count(void **) {
  Latency latency;
  latency.record(UINT64_MAX);
  latency.record(kEndNs);
  const bw_latency_t seen = latency.read();
  assert_int_equal(seen.count, 2);
  assert_true(seen.max_ns == UINT64_MAX);
  assert_true(seen.p50_ns >= kEndNs / 8 * 7);
}

// ---- Buckets ----

static void test_latency__a_bucket_never_goes_back(void **) {
  unsigned last = 0;
  for (unsigned power = 0; power < 64; ++power) {
    for (std::uint64_t step = 0; step < 16; ++step) {
      const std::uint64_t ns = (std::uint64_t{1} << power) + ((std::uint64_t{1} << power) / 16) * step;
      assert_true(Latency::bucket(ns) >= last);
      last = Latency::bucket(ns);
      assert_true(last < Latency::kBuckets);
    }
  }
}

static void test_latency__the_middle_of_a_bucket_lies_in_it(void **) {
  for (unsigned index = 0; index < Latency::kBuckets; ++index)
    assert_int_equal(Latency::bucket(Latency::middle(index)), index);
}

static void test_latency__the_middle_is_within_an_eighth_of_all_a_bucket_holds(void **) {
  for (std::uint64_t ns = 1; ns < 100000; ++ns)
    assert_true(is_within_an_eighth(Latency::middle(Latency::bucket(ns)), ns));
  unit::Random random(2);
  for (int round = 0; round < 100000; ++round) {
    const std::uint64_t ns = 1 + random.below(kEndNs - 1);
    assert_true(is_within_an_eighth(Latency::middle(Latency::bucket(ns)), ns));
  }
}

// ---- Distributions ----

static void test_latency__quantiles_of_even_times_are_within_an_eighth(void **) {
  std::vector<std::uint64_t> times;
  for (std::uint64_t ns = 1; ns <= 100000; ++ns) times.push_back(ns * 37);
  assert_true(is_estimated_well(times));
}

static void test_latency__quantiles_of_exponential_times_are_within_an_eighth(void **) {
  std::vector<std::uint64_t> times;
  for (int step = 1; step < 50000; ++step)
    times.push_back(static_cast<std::uint64_t>(-std::log(step / 50000.0) * 20000) + 1);
  assert_true(is_estimated_well(times));
}

static void test_latency__quantiles_of_heavy_tailed_times_are_within_an_eighth(void **) {
  std::vector<std::uint64_t> times;
  for (int step = 1; step < 50000; ++step)
    times.push_back(static_cast<std::uint64_t>(100 / std::pow(step / 50000.0, 1.5)));
  assert_true(is_estimated_well(times));
}

static void test_latency__quantiles_of_two_peaks_are_within_an_eighth(void **) {
  std::vector<std::uint64_t> times(9800, 90);
  times.insert(times.end(), 180, 5'000'000);
  times.insert(times.end(), 20, 3'000'000'000);
  assert_true(is_estimated_well(times));
}

static void test_latency__quantiles_of_few_times_are_within_an_eighth(void **) {
  unit::Random random(3);
  for (int round = 0; round < 500; ++round) {
    std::vector<std::uint64_t> times(1 + random.below(30));
    for (std::uint64_t &ns : times) ns = 1 + random.below(std::uint64_t{1} << (1 + random.below(35)));
    assert_true(is_estimated_well(times));
  }
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_latency__nothing_recorded_is_all_zero),
      cmocka_unit_test(test_latency__a_single_time_is_every_quantile),
      cmocka_unit_test(test_latency__zero_is_a_time_too),
      cmocka_unit_test(test_latency__short_times_are_exact),
      cmocka_unit_test(test_latency__the_longest_is_exact),
      cmocka_unit_test(test_latency__no_quantile_passes_the_longest),
      cmocka_unit_test(test_latency__times_beyond_the_last_bucket_count),
      cmocka_unit_test(test_latency__a_bucket_never_goes_back),
      cmocka_unit_test(test_latency__the_middle_of_a_bucket_lies_in_it),
      cmocka_unit_test(test_latency__the_middle_is_within_an_eighth_of_all_a_bucket_holds),
      cmocka_unit_test(test_latency__quantiles_of_even_times_are_within_an_eighth),
      cmocka_unit_test(test_latency__quantiles_of_exponential_times_are_within_an_eighth),
      cmocka_unit_test(test_latency__quantiles_of_heavy_tailed_times_are_within_an_eighth),
      cmocka_unit_test(test_latency__quantiles_of_two_peaks_are_within_an_eighth),
      cmocka_unit_test(test_latency__quantiles_of_few_times_are_within_an_eighth),
  };
  return cmocka_run_group_tests_name("latency", tests, nullptr, nullptr);
}
