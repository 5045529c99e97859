/*
 * Ten minutes of everything at random: threads make writers, lanes and batchers of all kinds over sinks that cannot be
 * relied on, use them, end them in every way, fork now and then, and compare what came out. Every few seconds all stop
 * with nothing left in their hands, and the process is measured: descriptors, threads and mappings must then be what
 * they were, and so must memory.
 *
 *   BW_SOAK_SECONDS=N        how long (default: 600)
 *   BW_SOAK_SEED=N           which chance (default: the clock's; it is printed)
 *   BW_SOAK_THREADS=N        how many jobs at once (default: 8)
 *   BW_SOAK_JOB=KIND:SEED    nothing but this job, over and over: what a failure prints
 *
 * What a sanitizer keeps is its own business: under one, only descriptors and threads are compared.
 */
#include "soak.h"

#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

/* ThreadSanitizer does not see liburing open, map, unmap and close its rings, nor a dup by fcntl(2). So it takes rings
 * that have one address, and descriptors that have one number, one after another, for one that two threads use. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
  return "race:FdSink::close\nrace:OwnedFd\nrace:~UringEngine\nrace:io_uring_\n"
         "race:make_over_fd\nrace:read_pipe\nrace:soak_file_read\n";
}

enum {
  MOST_THREADS = 64,
  MOST_SAMPLES = 4096,
  EVERY_S = 5,
  ROWS = 12,
  /* No job takes longer than this: then it hangs. */
  HANGS_S = 90,
  /* What is measured lags behind what was freed: the kernel's helpers of a ring end by themselves, for one. */
  SETTLES_S = 30,
  /* The bytes in use are exactly flat; pages are not: those that hold both what is alive and what is not, and stacks of
   * the threads of the pool that went deeper than before. Measured: under 100 KiB in all. */
  RSS_SLACK = 256 << 10
};

/* ---- Jobs ------------------------------------------------------------------------------------ */

static const struct kind {
  const char *name;
  void (*run)(soak_job *job);
  unsigned weight;
} kKinds[] = {{"writer", soak_writer_job, 5}, {"shared", soak_shared_job, 2}, {"batch", soak_batch_job, 3}};
enum { KINDS = sizeof kKinds / sizeof kKinds[0] };

typedef struct pool {
  uint64_t seed;
  const struct kind *only; /* BW_SOAK_JOB */
  unsigned threads;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  unsigned resting; /* threads that stand still */
  bool pauses, ends;
  atomic_ullong jobs[KINDS];
  soak_job running[MOST_THREADS];
} pool;

static void run_job(pool *all, unsigned thread, uint64_t number) {
  soak_job *job = &all->running[thread];
  uint64_t random = all->seed ^ (((uint64_t)thread + 1) << 48) ^ number;
  const struct kind *kind = all->only;
  job->seed = all->only ? all->seed : test_random(&random);
  for (uint64_t draw = soak_below(&random, 10); !kind;) {
    unsigned i = 0;
    while (draw >= kKinds[i].weight) draw -= kKinds[i++].weight;
    kind = &kKinds[i];
  }
  job->kind = kind->name;
  job->random = job->seed;
  snprintf(job->path, sizeof job->path, "file%u", thread);
  kind->run(job);
  atomic_fetch_add(&all->jobs[kind - kKinds], 1);
}

static pool everything = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

typedef struct runner {
  pool *all;
  unsigned thread;
} runner;

/* False at the end of all. */
static bool rest_if_asked(pool *all) {
  pthread_mutex_lock(&all->mutex);
  if (all->pauses) {
    ++all->resting;
    pthread_cond_broadcast(&all->changed);
    while (all->pauses) pthread_cond_wait(&all->changed, &all->mutex);
    --all->resting;
  }
  const bool goes_on = !all->ends;
  pthread_mutex_unlock(&all->mutex);
  return goes_on;
}

static void *run_jobs(void *arg) {
  const runner *me = arg;
  for (uint64_t number = 0; rest_if_asked(me->all); ++number) run_job(me->all, me->thread, number);
  return NULL;
}

/* ---- Measuring ------------------------------------------------------------------------------- */

typedef struct sample {
  double seconds;
  unsigned long long jobs;
  long descriptors, threads, mappings;
  size_t heap, rss;
} sample;

static long entries(const char *path) {
  DIR *directory = opendir(path);
  long count = 0;
  while (directory && readdir(directory)) ++count;
  if (directory) closedir(directory);
  return count - 2; /* . and .. */
}

static long lines_of_maps(void) {
  FILE *file = fopen("/proc/self/maps", "re");
  long lines = 0;
  for (int c; file && (c = getc(file)) != EOF;) lines += c == '\n';
  if (file) fclose(file);
  return lines;
}

static size_t resident(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  if (!file || fscanf(file, "%*s %lu", &pages) != 1) pages = 0;
  if (file) fclose(file);
  return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static sample measure(const pool *all, int64_t begin) {
  sample now = {.seconds = (double)(test_now_us() - begin) / 1e6};
  for (unsigned i = 0; i < KINDS; ++i) now.jobs += atomic_load(&all->jobs[i]);
  (void)malloc_trim(0);
  const struct mallinfo2 heap = mallinfo2();
  now.heap = heap.uordblks + heap.hblkhd;
  now.descriptors = entries("/proc/self/fd") - 1; /* the one that lists them */
  now.threads = entries("/proc/self/task");
  now.mappings = lines_of_maps();
  now.rss = resident();
  return now;
}

static bool same_counts(const sample *a, const sample *b) {
  return a->descriptors == b->descriptors && a->threads == b->threads && (SANITIZED || a->mappings == b->mappings);
}

/* `like`: the counts that must come out, or NULL. */
static sample measure_settled(const pool *all, int64_t begin, const sample *like) {
  const int64_t end = test_now_us() + SETTLES_S * INT64_C(1000000);
  sample now = measure(all, begin);
  while (like && !same_counts(&now, like) && test_now_us() < end) {
    test_pause();
    now = measure(all, begin);
  }
  return now;
}

/* ---- The run --------------------------------------------------------------------------------- */

/* Whoever aborts says why; here is what else was going on. */
static void tell_jobs(int signal) {
  fprintf(stderr, "\nthese jobs were running:\n");
  for (unsigned i = 0; i < everything.threads; ++i) {
    const soak_job *job = &everything.running[i];
    fprintf(stderr, "BW_SOAK_JOB=%s:%llu  %s\n", job->kind ? job->kind : "none", (unsigned long long)job->seed,
            job->about);
  }
  (void)signal; /* its handler is the default again, and abort() goes on */
}

static void pause_all(pool *all) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += HANGS_S;
  pthread_mutex_lock(&all->mutex);
  all->pauses = true;
  while (all->resting < all->threads) {
    if (pthread_cond_timedwait(&all->changed, &all->mutex, &end) != ETIMEDOUT) continue;
    fprintf(stderr, "a job hangs\n");
    abort();
  }
  pthread_mutex_unlock(&all->mutex);
}

static void let_go(pool *all, bool ends) {
  pthread_mutex_lock(&all->mutex);
  all->pauses = false;
  all->ends = ends;
  pthread_cond_broadcast(&all->changed);
  pthread_mutex_unlock(&all->mutex);
}

static size_t run(pool *all, int64_t seconds, sample *samples) {
  pthread_t handles[MOST_THREADS];
  runner runners[MOST_THREADS];
  size_t count = 0;
  for (unsigned i = 0; i < all->threads; ++i) {
    runners[i] = (runner){all, i};
    if (pthread_create(&handles[i], NULL, run_jobs, &runners[i]) != 0) abort();
  }
  const int64_t begin = test_now_us();
  for (bool ends = false; !ends;) {
    const struct timespec nap = {seconds < 10 * EVERY_S ? 1 : EVERY_S, 0};
    nanosleep(&nap, NULL);
    pause_all(all);
    ends = test_now_us() - begin >= seconds * 1000000 || count + 1 == MOST_SAMPLES;
    samples[count] = measure_settled(all, begin, count > 0 ? &samples[count - 1] : NULL);
    ++count;
    let_go(all, ends);
  }
  for (unsigned i = 0; i < all->threads; ++i) pthread_join(handles[i], NULL);
  return count;
}

/* ---- The verdict ----------------------------------------------------------------------------- */

static void print(const sample *samples, size_t count) {
  printf("%8s %9s %11s %7s %8s %9s %9s\n", "seconds", "jobs", "descriptors", "threads", "mappings", "heap",
         "RSS KiB");
  for (size_t row = 0, last = count; row < ROWS; ++row) {
    const size_t i = row * (count - 1) / (ROWS - 1);
    if (i == last) continue;
    last = i;
    printf("%8.0f %9llu %11ld %7ld %8ld %9zu %9zu\n", samples[i].seconds, samples[i].jobs, samples[i].descriptors,
           samples[i].threads, samples[i].mappings, samples[i].heap, samples[i].rss / 1024);
  }
}

static size_t most_rss(const sample *samples, size_t count) {
  size_t most = 0;
  for (size_t i = 0; i < count; ++i)
    if (samples[i].rss > most) most = samples[i].rss;
  return most;
}

static int complain(const char *what, size_t before, size_t after) {
  printf("FAILED: %s: %zu before, %zu after\n", what, before, after);
  return 1;
}

/* After a tenth of the time everything has been used once. */
static int judge(const sample *samples, size_t count) {
  const size_t warm = count / 10 + 1, left = count > warm ? count - warm : 0, third = left / 3;
  const sample *first = samples + warm;
  size_t most_heap = 0;
  for (size_t i = 0; i < left; ++i) {
    if (!same_counts(&first[i], first)) {
      return complain("descriptors", (size_t)first->descriptors, (size_t)first[i].descriptors) +
             complain("threads", (size_t)first->threads, (size_t)first[i].threads) +
             complain("mappings", (size_t)first->mappings, (size_t)first[i].mappings);
    }
    if (first[i].heap > most_heap) most_heap = first[i].heap;
  }
  if (left < 3) return complain("there are too few samples", warm + 3, count);
  if (SANITIZED) return 0;
  if (most_heap > first->heap) return complain("bytes in use", first->heap, most_heap);
  const size_t before = most_rss(first, third), after = most_rss(first + left - third, third);
  return after > before + RSS_SLACK ? complain("resident bytes", before, after) : 0;
}

/* ---- The program ----------------------------------------------------------------------------- */

static uint64_t number_from(const char *name, uint64_t otherwise) {
  const char *text = getenv(name);
  return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* One arena and no cache of chunks or stacks: what is free shows as free. These are read when a program starts. */
static void start_anew_with_plain_malloc(char **words) {
  static const char tunables[] =
      "glibc.malloc.arena_max=1:glibc.malloc.tcache_count=0:glibc.pthread.stack_cache_size=0";
  if (SANITIZED || getenv("GLIBC_TUNABLES")) return;
  setenv("GLIBC_TUNABLES", tunables, 1);
  execv("/proc/self/exe", words);
}

static void choose_job(pool *all) {
  const char *wanted = getenv("BW_SOAK_JOB");
  for (unsigned i = 0; wanted && i < KINDS; ++i) {
    const size_t length = strlen(kKinds[i].name);
    if (strncmp(wanted, kKinds[i].name, length) != 0 || wanted[length] != ':') continue;
    all->only = &kKinds[i];
    all->seed = strtoull(wanted + length + 1, NULL, 10);
  }
}

int main(int count, char **words) {
  pool *all = &everything;
  static sample samples[MOST_SAMPLES];
  char directory[] = "soak.XXXXXX";
  (void)count;
  start_anew_with_plain_malloc(words);
  setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
  const int64_t seconds = (int64_t)number_from("BW_SOAK_SECONDS", 600);
  all->seed = number_from("BW_SOAK_SEED", (uint64_t)time(NULL));
  all->threads = (unsigned)number_from("BW_SOAK_THREADS", 8);
  if (all->threads == 0 || all->threads > MOST_THREADS) all->threads = MOST_THREADS;
  choose_job(all);
  printf("%lld seconds, %u threads, BW_SOAK_SEED=%llu\n", (long long)seconds, all->threads,
         (unsigned long long)all->seed);
  if (!mkdtemp(directory) || chdir(directory) != 0) {
    perror(directory);
    return 1;
  }
  soak_pattern_init();
  (void)sigaction(SIGABRT, &(struct sigaction){.sa_handler = tell_jobs, .sa_flags = (int)SA_RESETHAND}, NULL);
  const size_t taken = run(all, seconds, samples);
  print(samples, taken);
  for (unsigned i = 0; i < KINDS; ++i)
    printf("%s jobs: %llu\n", kKinds[i].name, (unsigned long long)atomic_load(&all->jobs[i]));
  if (chdir("..") != 0 || rmdir(directory) != 0) return complain("files left", 0, 1);
  const int failed = judge(samples, taken);
  printf("%s\n", failed ? "FAILED" : "flat");
  return failed;
}
