/*
 * The power goes: an ext4 filesystem on a loop device is shut down as it stands, without its log, while threads write
 * and wait, and mounted again. All that was reported durable before the moment is there; what is reported while it
 * happens proves nothing. What else is there are accepted bytes too, up to where zeros may lie: ext4 can log a new size
 * before the bytes below it are written (plain pwrite(2) beside fdatasync(2) shows it as well).
 *
 * Usage: faults_power_cut uring|pwrite [rounds [seed]]
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"
#include "workload.h"

#define ROUNDS 20
#define LONG_ROUNDS 300
#define LONGEST_LIFE_US 40000
#define DISK_BYTES (INT64_C(192) << 20)
/* Of records, if all were of the longest: they are a seventh of it on average. The disk never gets full, not where the
 * cut comes late either. */
#define MOST_BYTES (DISK_BYTES * 2)

/* linux/ext4.h is not among the kernel's public headers. */
#define EXT4_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define EXT4_GOING_FLAGS_NOLOGFLUSH 2u

/* The highest of each level so far. */
typedef struct promises {
  atomic_llong reached[WORKLOAD_LEVELS];
} promises;

static void hear(void *arg, int level, int64_t position) {
  promises *heard = arg;
  long long before = atomic_load(&heard->reached[level]);
  while (before < position && !atomic_compare_exchange_weak(&heard->reached[level], &before, position)) {
  }
}

/* What a file must have. */
typedef struct debt {
  int64_t durable;
  int64_t oldest_mark, newest_mark;
} debt;

static void wait_us(int64_t us) {
  const struct timespec pause = {us / 1000000, us % 1000000 * 1000};
  nanosleep(&pause, NULL);
}

/* From the ioctl on, calls may fail. Returns what had been promised before it. */
static debt cut(workload *load, promises *heard, int64_t life_us) {
  const int disk = open("disk", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  EXPECT(disk >= 0);
  wait_us(life_us);
  EXPECT(!atomic_load(&load->stop)); /* a failure before */
  const uint32_t flags = EXT4_GOING_FLAGS_NOLOGFLUSH;
  const debt promised = {.durable = atomic_load(&heard->reached[BW_DURABLE]),
                         .oldest_mark = atomic_load(&heard->reached[WORKLOAD_MARK_DURABLE])};
  EXPECT(ioctl(disk, EXT4_IOC_SHUTDOWN, &flags) == 0);
  atomic_store(&load->stop, true);
  close(disk);
  return promised;
}

/* A disk that is gone, or whose log is: ext4 then takes the filesystem for read-only. */
static bool is_of_the_cut(int code) {
  return code == 0 || code == -EIO || code == -EROFS;
}

static int64_t all_promised, all_found;
static unsigned cut_short; /* how many files end in zeros */

static bool check(const workload_plan *plan, const debt *promised, int64_t *size) {
  const int fd = open("disk/cut", O_RDONLY | O_CLOEXEC);
  *size = 0;
  if (fd < 0) {
    if (promised->durable > 0 || plan->base > 0) fprintf(stderr, "the file is gone\n");
    return promised->durable == 0 && plan->base == 0;
  }
  workload_reader reader;
  workload_reader_init(&reader, plan);
  reader.oldest_mark = promised->oldest_mark;
  reader.newest_mark = promised->newest_mark;
  bool right = workload_read_until(&reader, fd, promised->durable > plan->base ? promised->durable : plan->base);
  reader.may_end_in_zeros = true;
  right = right && workload_read(&reader, fd);
  *size = reader.at;
  cut_short += reader.has_ended;
  close(fd);
  workload_reader_destroy(&reader);
  return right;
}

static bool play(const workload_plan *plan, const char *loop, uint64_t *random) {
  static workload load;
  promises heard;
  for (int level = 0; level < WORKLOAD_LEVELS; ++level) atomic_init(&heard.reached[level], 0);
  EXPECT(faults_mount(loop, "disk", "ext4", NULL) == 0);
  workload_prepare(plan, "disk/cut", true);
  bw_t *bw;
  EXPECT(workload_open(plan, "disk/cut", &bw) == 0);
  load.told = hear;
  load.arg = &heard;
  workload_start(&load, plan, bw);
  debt promised = cut(&load, &heard, (int64_t)(test_random(random) % LONGEST_LIFE_US));
  workload_join(&load);
  promised.newest_mark = atomic_load(&heard.reached[WORKLOAD_MARK_BEGUN]);
  const int failure = atomic_load(&load.failure);
  const int code = bw_close(bw);
  bw_free(bw);
  faults_unmount("disk");
  EXPECT(faults_mount(loop, "disk", "ext4", NULL) == 0); /* the journal is played */
  int64_t size;
  bool right = check(plan, &promised, &size);
  if (!is_of_the_cut(failure) || !is_of_the_cut(code)) {
    fprintf(stderr, "a call gave %s, bw_close %s\n", bw_err_name(failure), bw_err_name(code));
    right = false;
  }
  unlink("disk/cut");
  faults_unmount("disk"); /* and that is durable */
  all_promised += promised.durable;
  all_found += size;
  return right;
}

int main(int argc, char **argv) {
  const uint32_t engine = faults_engine(argc > 1 ? argv[1] : "");
  const unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : faults_is_long() ? LONG_ROUNDS : ROUNDS;
  const uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 0) : (uint64_t)time(NULL) * 1000;
  faults_private_place("size=400m");
  faults_make_ext4("image", DISK_BYTES, NULL);
  char device[32];
  const int loop = faults_loop("image", device);
  unsigned wrong = 0;
  for (unsigned i = 0; i < rounds; ++i) {
    workload_plan plan = workload_plan_make(engine, first + i);
    plan.records.each = (unsigned)(MOST_BYTES / (int64_t)(plan.threads * plan.records.longest));
    uint64_t random = ~plan.seed;
    if (play(&plan, device, &random)) continue;
    workload_plan_print(&plan);
    ++wrong;
  }
  close(loop);
  printf("%u rounds, %u wrong; %lld bytes were promised, %lld are there, %u files end in zeros\n", rounds, wrong,
         (long long)all_promised, (long long)all_found, cut_short);
  printf("the first seed was %llu\n", (unsigned long long)first);
  return wrong ? 1 : 0;
}
