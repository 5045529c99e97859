/* Writers over callbacks: each call of the sink is an operation. */
#include <pthread.h>
#include <string.h>

#include "streams.h"

/* A file in memory. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned char memory[WORKLOAD_MOST];
static int64_t memory_size;

static int64_t size_now(void) {
  pthread_mutex_lock(&mutex);
  const int64_t size = memory_size;
  pthread_mutex_unlock(&mutex);
  return size;
}

static size_t read_at(int64_t from, void *out, size_t length) {
  pthread_mutex_lock(&mutex);
  const size_t there = from < memory_size ? (size_t)(memory_size - from) : 0;
  const size_t count = length < there ? length : there;
  memcpy(out, memory + from, count);
  pthread_mutex_unlock(&mutex);
  return count;
}

static void put_at(int64_t at, const void *data, size_t length) {
  pthread_mutex_lock(&mutex);
  if (at + (int64_t)length <= WORKLOAD_MOST) {
    memcpy(memory + at, data, length);
    if (at + (int64_t)length > memory_size) memory_size = at + (int64_t)length;
  }
  pthread_mutex_unlock(&mutex);
}

static void begin(const workload_way *way) {
  (void)way;
  memset(memory, 0, (size_t)memory_size);
  memory_size = 0;
}

static int make(bw_t **out, const workload_way *way, const bw_options_t *options) {
  const bw_sink_t ops = workload_sink(way);
  return bw_new(out, &ops, workload_sink_context(), options);
}

enum { kCapacity = 64 };
#define WAY(...) {.capacity = kCapacity, __VA_ARGS__}
static const workload_way ways[] = {
    WAY(.name = "inline"),
    WAY(.name = "inline_plain", .is_plain = true),
    WAY(.name = "inline_unshared", .flags = BW_UNSHARED),
    WAY(.name = "inline_unshared_plain", .flags = BW_UNSHARED, .is_plain = true),
    WAY(.name = "inline_linger", .linger_us = 50),
    WAY(.name = "inline_unready", .never_wakes = true),
    WAY(.name = "inline_unshared_unready", .flags = BW_UNSHARED, .never_wakes = true),
    WAY(.name = "background", .flags = BW_BACKGROUND),
    WAY(.name = "background_plain", .flags = BW_BACKGROUND, .is_plain = true),
    WAY(.name = "background_unshared", .flags = BW_BACKGROUND | BW_UNSHARED),
    WAY(.name = "background_linger", .flags = BW_BACKGROUND, .linger_us = 50),
    WAY(.name = "background_nonblock", .flags = BW_BACKGROUND | BW_NONBLOCK),
    WAY(.name = "background_unready", .flags = BW_BACKGROUND | BW_NONBLOCK, .never_wakes = true),
};

int main(int argc, char **argv) {
  static const workload_target target = {size_now, read_at, put_at};
  static const streams_side side = {.program = "sweep_callbacks",
                                  .every = 13,
                                  .ways = ways,
                                  .way_count = sizeof ways / sizeof ways[0],
                                  .target = &target,
                                  .make = make,
                                  .begin = begin};
  return streams_run(&side, argc, argv);
}
