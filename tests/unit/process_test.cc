// Generations, forks, and what the library does where the kernel refuses its help.
//
// What is arranged for a process is arranged once, so every test runs in a child of its own and this program never
// touches the library itself.
#include "process.h"

#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <set>

#include "unit.h"

using bwlib::enter_process;
using bwlib::process_generation;

namespace {

// ---- Refusals ----

bool install(sock_filter *filter, std::size_t length) {
  const sock_fprog program = {static_cast<unsigned short>(length), filter};
  REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
  return true;
}

// From now on membarrier(2) does not exist.
bool refuse_membarrier() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  return install(filter, std::size(filter));
}

// From now on no page can be wiped on fork, as before Linux 4.14. (The low half of the third argument, little-endian.)
bool refuse_wipe() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_WIPEONFORK, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  return install(filter, std::size(filter));
}

// ---- What is looked at, with and without them ----

bool generations_tell_processes_apart() {
  const std::uint64_t mine = enter_process();
  REQUIRE(mine != 0);
  REQUIRE(process_generation() == mine);
  REQUIRE(unit::in_child([mine] {
    REQUIRE(process_generation() == 0);
    const std::uint64_t childs = enter_process();
    REQUIRE(childs != 0 && childs != mine);
    return unit::in_child([mine, childs] {
      REQUIRE(process_generation() == 0);
      const std::uint64_t grandchilds = enter_process();
      REQUIRE(grandchilds != 0 && grandchilds != childs && grandchilds != mine);
      return true;
    });
  }));
  REQUIRE(process_generation() == mine);
  return true;
}

bool a_writer_belongs_to_its_process() {
  for (std::uint32_t flags : {0u, unsigned{BW_UNSHARED}, unsigned{BW_BACKGROUND}}) {
    unit::Rig rig(flags);
    REQUIRE(rig.write("abc"));
    REQUIRE(unit::in_child([&rig] {
      REQUIRE(bw_write(rig.bw, "x", 1) == -ECHILD);
      REQUIRE(bw_flush(rig.bw) == -ECHILD);
      unit::Rig own(0);
      REQUIRE(own.write("own"));
      REQUIRE(bw_flush(own.bw) == 0);
      REQUIRE(own.sink.bytes() == "own");
      // A writer of its own changes nothing for the inherited one.
      REQUIRE(bw_write(rig.bw, "x", 1) == -ECHILD);
      return unit::in_child([&] {
        REQUIRE(bw_write(rig.bw, "x", 1) == -ECHILD);
        REQUIRE(bw_write(own.bw, "x", 1) == -ECHILD);
        return true;
      });
    }));
    REQUIRE(rig.write("def"));
    REQUIRE(bw_flush(rig.bw) == 0);
    REQUIRE(rig.sink.bytes() == "abcdef");
  }
  return true;
}

std::uint32_t own_slots_of(bw_t *bw) {
  bw_stats_t stats = BW_STATS_INIT;
  bw_get_stats(bw, &stats);
  return stats.own_slots;
}

// Writes one record in one of the ways there are.
bool put(bw_t *bw, const std::string &record, unsigned way) {
  const auto length = static_cast<std::int64_t>(record.size());
  if (way % 8 == 5) REQUIRE(bw_append(bw, record.data(), record.size()) >= 0);
  if (way % 8 == 6) {
    bw_span_t span;
    REQUIRE(bw_reserve(bw, record.size(), &span) == 0);
    std::memcpy(span.data, record.data(), record.size());
    REQUIRE(bw_commit(bw, &span, record.size()) == 0);
  }
  if (way % 8 != 5 && way % 8 != 6) REQUIRE(bw_write(bw, record.data(), record.size()) == length);
  if (way % 50 == 49) REQUIRE(bw_flush(bw) == 0);
  return true;
}

bool many_threads_lose_nothing(std::uint32_t flags) {
  constexpr unsigned kThreads = 6;
  constexpr unsigned kEach = 3000;
  unit::Rig rig(flags, 97);
  std::atomic<unsigned> failed{0};
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (unsigned number = 0; number < kEach; ++number) {
        if (!put(rig.bw, unit::record_of(thread, number), number)) failed.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  for (std::thread &thread : threads) thread.join();
  REQUIRE(failed.load(std::memory_order_relaxed) == 0);
  REQUIRE(bw_flush(rig.bw) == 0);
  REQUIRE(unit::is_all_records(rig.sink.bytes(), kThreads, kEach));
  REQUIRE(bw_position(rig.bw, BW_ACCEPTED) == bw_tell(rig.bw));
  return true;
}

} // namespace

// ---- Generations ----

static void test_process__before_it_is_entered_there_is_no_generation(void **) {
  assert_true(unit::in_child([] { return process_generation() == 0; }));
}

static void test_process__entering_again_changes_nothing(void **) {
  assert_true(unit::in_child([] { return enter_process() == enter_process(); }));
}

static void test_process__threads_that_enter_at_once_agree(void **) {
  assert_true(unit::in_child([] {
    std::uint64_t seen[8];
    std::vector<std::thread> threads;
    for (std::uint64_t &generation : seen) threads.emplace_back([&generation] { generation = enter_process(); });
    for (std::thread &thread : threads) thread.join();
    for (std::uint64_t generation : seen) REQUIRE(generation == enter_process());
    return true;
  }));
}

static void test_process__children_have_generations_of_their_own(void **) {
  assert_true(unit::in_child(generations_tell_processes_apart));
}

static void test_process__a_writer_belongs_to_the_process_that_made_it(void **) {
  assert_true(unit::in_child(a_writer_belongs_to_its_process));
}

// fork() by the bare system call, as some runtimes do it: no handler of the C library runs.
static void test_process__a_bare_fork_is_seen_too(void **) {
  assert_true(unit::in_child([] {
    enter_process();
    const long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) syscall(SYS_exit_group, process_generation() == 0 ? 0 : 1);
    int status = 1;
    REQUIRE(child > 0 && waitpid(static_cast<pid_t>(child), &status, 0) == child);
    return status == 0;
  }));
}

// ---- Threads ----

static void test_process__a_thread_keeps_its_identity(void **) {
  assert_true(unit::in_child([] { return bwlib::thread_identity() == bwlib::thread_identity(); }));
}

static void test_process__living_threads_have_different_identities(void **) {
  assert_true(unit::in_child([] {
    constexpr int kThreads = 16;
    std::uintptr_t seen[kThreads];
    unit::Gate gate;
    gate.close();
    std::vector<std::thread> threads;
    for (std::uintptr_t &identity : seen) {
      threads.emplace_back([&] {
        identity = bwlib::thread_identity();
        gate.pass();
      });
    }
    const bool came = gate.await(kThreads);
    gate.open();
    for (std::thread &thread : threads) thread.join();
    REQUIRE(came);
    std::set<std::uintptr_t> different(seen, seen + kThreads);
    different.insert(bwlib::thread_identity());
    different.insert(0);
    return different.size() == kThreads + 2;
  }));
}

static void test_process__a_new_thread_is_in_no_callback(void **) {
  assert_true(unit::in_child([] {
    bool is_clean = false;
    std::thread([&] { is_clean = bwlib::thread_state.callback_depth == 0 && !bwlib::thread_state.is_service; }).join();
    return is_clean;
  }));
}

// ---- Time ----

static void test_process__time_never_goes_back(void **) {
  assert_true(unit::in_child([] {
    std::uint64_t last = bwlib::now_ns();
    for (int look = 0; look < 100000; ++look) {
      const std::uint64_t now = bwlib::now_ns();
      REQUIRE(now >= last);
      last = now;
    }
    return true;
  }));
}

// ---- The barrier ----

static void test_process__there_is_a_barrier_if_the_kernel_has_one(void **) {
  assert_true(unit::in_child([] {
    const long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    enter_process();
    return bwlib::has_process_barrier() == (commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED));
  }));
}

static void test_process__with_a_barrier_threads_have_slots_of_their_own(void **) {
  assert_true(unit::in_child([] {
    unit::Rig rig(0);
    return own_slots_of(rig.bw) == (bwlib::has_process_barrier() ? 1u : 0u);
  }));
}

// Spins for a moment, then lets others run.
static void await(const std::atomic<unsigned> &value, unsigned least) {
  for (int turn = 1; value.load(std::memory_order_acquire) < least; ++turn) {
    if (turn % 1000 == 0) std::this_thread::yield();
  }
}

// Two threads store and then look at the other's word. One has no fence in between; the other's barrier makes up for
// it, so at least one of them sees the other.
static void test_process__a_barrier_orders_plain_stores_of_other_threads(void **) {
  assert_true(unit::in_child([] {
    const unsigned rounds = unit::under_valgrind() ? 100 : 30000;
    enter_process();
    if (!bwlib::has_process_barrier()) return true;
    struct alignas(64) Word {
      std::atomic<unsigned> value{0};
    };
    Word mine, theirs, started, ended;
    unsigned seen_by_other = 0;
    std::thread other([&] {
      for (unsigned round = 1; round <= rounds; ++round) {
        await(started.value, round);
        theirs.value.store(round, std::memory_order_release);
        seen_by_other = mine.value.load(std::memory_order_relaxed);
        ended.value.store(round, std::memory_order_release);
      }
    });
    bool is_right = true;
    for (unsigned round = 1; round <= rounds; ++round) {
      started.value.store(round, std::memory_order_release);
      mine.value.store(round, std::memory_order_relaxed);
      bwlib::process_barrier();
      const unsigned seen = theirs.value.load(std::memory_order_relaxed);
      await(ended.value, round);
      is_right = is_right && (seen == round || seen_by_other == round);
    }
    other.join();
    return is_right;
  }));
}

// ---- Without membarrier ----

static void test_process__without_membarrier_there_is_no_barrier(void **) {
  assert_true(unit::in_child([] {
    REQUIRE(refuse_membarrier());
    enter_process();
    REQUIRE(!bwlib::has_process_barrier());
    bwlib::process_barrier(); // does nothing, and no harm
    return true;
  }));
}

static void test_process__without_membarrier_threads_share_slots(void **) {
  assert_true(unit::in_child([] {
    REQUIRE(refuse_membarrier());
    unit::Rig rig(0);
    REQUIRE(own_slots_of(rig.bw) == 0);
    REQUIRE(rig.write("hello"));
    REQUIRE(bw_position(rig.bw, BW_ACCEPTED) == 5);
    REQUIRE(bw_flush(rig.bw) == 0);
    return rig.sink.bytes() == "hello";
  }));
}

static void test_process__without_membarrier_inline_writers_lose_nothing(void **) {
  assert_true(unit::in_child([] {
    REQUIRE(refuse_membarrier());
    return many_threads_lose_nothing(0);
  }));
}

static void test_process__without_membarrier_background_writers_lose_nothing(void **) {
  assert_true(unit::in_child([] {
    REQUIRE(refuse_membarrier());
    return many_threads_lose_nothing(BW_BACKGROUND);
  }));
}

static void test_process__with_membarrier_writers_lose_nothing_either(void **) {
  for (std::uint32_t flags : {0u, unsigned{BW_BACKGROUND}})
    assert_true(unit::in_child([flags] { return many_threads_lose_nothing(flags); }));
}

// A child may find other conditions than its parent did: it was put into a sandbox meanwhile.
static void test_process__a_child_without_membarrier_does_without_it(void **) {
  assert_true(unit::in_child([] {
    unit::Rig rig(0);
    REQUIRE(own_slots_of(rig.bw) == (bwlib::has_process_barrier() ? 1u : 0u));
    return unit::in_child([] {
      REQUIRE(refuse_membarrier());
      unit::Rig own(0);
      REQUIRE(own_slots_of(own.bw) == 0);
      return many_threads_lose_nothing(0);
    });
  }));
}

// ---- Without MADV_WIPEONFORK ----

static void test_process__without_wiping_children_have_generations_of_their_own(void **) {
  assert_true(unit::in_child([] {
    REQUIRE(refuse_wipe());
    return generations_tell_processes_apart();
  }));
}

static void test_process__without_wiping_a_writer_belongs_to_its_process(void **) {
  assert_true(unit::in_child([] {
    REQUIRE(refuse_wipe());
    return a_writer_belongs_to_its_process();
  }));
}

static void test_process__without_either_everything_works(void **) {
  assert_true(unit::in_child([] {
    REQUIRE(refuse_wipe());
    REQUIRE(refuse_membarrier());
    REQUIRE(a_writer_belongs_to_its_process());
    return many_threads_lose_nothing(0) && many_threads_lose_nothing(BW_BACKGROUND);
  }));
}

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_process__before_it_is_entered_there_is_no_generation),
      cmocka_unit_test(test_process__entering_again_changes_nothing),
      cmocka_unit_test(test_process__threads_that_enter_at_once_agree),
      cmocka_unit_test(test_process__children_have_generations_of_their_own),
      cmocka_unit_test(test_process__a_writer_belongs_to_the_process_that_made_it),
      cmocka_unit_test(test_process__a_bare_fork_is_seen_too),
      cmocka_unit_test(test_process__a_thread_keeps_its_identity),
      cmocka_unit_test(test_process__living_threads_have_different_identities),
      cmocka_unit_test(test_process__a_new_thread_is_in_no_callback),
      cmocka_unit_test(test_process__time_never_goes_back),
      cmocka_unit_test(test_process__there_is_a_barrier_if_the_kernel_has_one),
      cmocka_unit_test(test_process__with_a_barrier_threads_have_slots_of_their_own),
      cmocka_unit_test(test_process__a_barrier_orders_plain_stores_of_other_threads),
      cmocka_unit_test(test_process__without_membarrier_there_is_no_barrier),
      cmocka_unit_test(test_process__without_membarrier_threads_share_slots),
      cmocka_unit_test(test_process__without_membarrier_inline_writers_lose_nothing),
      cmocka_unit_test(test_process__without_membarrier_background_writers_lose_nothing),
      cmocka_unit_test(test_process__with_membarrier_writers_lose_nothing_either),
      cmocka_unit_test(test_process__a_child_without_membarrier_does_without_it),
      cmocka_unit_test(test_process__without_wiping_children_have_generations_of_their_own),
      cmocka_unit_test(test_process__without_wiping_a_writer_belongs_to_its_process),
      cmocka_unit_test(test_process__without_either_everything_works),
  };
  return cmocka_run_group_tests_name("process", tests, nullptr, nullptr);
}
