/*
 * A plug-in host: opens the library, uses it, closes it, and finds it gone from memory. Again and again; also while
 * threads that wrote through it are still alive, for nothing of ours may run when they end.
 */
#define _GNU_SOURCE
#include <bw/bw.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kRounds = 100, kThreads = 4, kRecords = 1000 };

/* The functions of the library, found at run time. */
typedef struct library {
  void *handle;
  int (*make)(bw_t **out, const bw_sink_t *sink, void *ctx, const bw_options_t *options);
  int64_t (*write)(bw_t *bw, const void *data, size_t length);
  int (*close)(bw_t *bw);
  void (*free)(bw_t *bw);
} library;

typedef struct round {
  library lib;
  bw_t *bw;
  pthread_barrier_t wrote;    /* all threads have written */
  pthread_barrier_t unloaded; /* the library is gone */
} round_state;

static void fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

/* POSIX lets a function live in an object pointer; ISO C wants the bytes copied. */
static void find(void *handle, const char *name, void *function) {
  void *symbol = dlsym(handle, name);
  if (!symbol) fail(name);
  memcpy(function, &symbol, sizeof symbol);
}

static library library_open(void) {
  library lib;
  lib.handle = dlopen("libbw.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!lib.handle) fail(dlerror());
  find(lib.handle, "bw_new", &lib.make);
  find(lib.handle, "bw_write", &lib.write);
  find(lib.handle, "bw_close", &lib.close);
  find(lib.handle, "bw_free", &lib.free);
  return lib;
}

static bool is_mapped(void) {
  char line[4096];
  bool found = false;
  FILE *maps = fopen("/proc/self/maps", "r");
  if (!maps) fail("/proc/self/maps");
  while (fgets(line, sizeof line, maps)) found = found || strstr(line, "libbw.so");
  fclose(maps);
  return found;
}

static int64_t count_bytes(void *ctx, const void *data, size_t length) {
  (void)data;
  *(uint64_t *)ctx += length;
  return (int64_t)length;
}

static void *writer_thread(void *arg) {
  round_state *round = arg;
  for (int record = 0; record < kRecords; ++record) {
    if (round->lib.write(round->bw, "0123456789abcdef", 16) != 16) fail("bw_write");
  }
  pthread_barrier_wait(&round->wrote);
  pthread_barrier_wait(&round->unloaded);
  return NULL;
}

/* One life of the library. The threads begin before it is closed, and end after it is gone. */
static void run_round(uint32_t flags) {
  round_state round;
  round.lib = library_open();
  pthread_barrier_init(&round.wrote, NULL, kThreads + 1);
  pthread_barrier_init(&round.unloaded, NULL, kThreads + 1);

  uint64_t taken = 0;
  bw_sink_t sink = BW_SINK_INIT;
  bw_options_t options = BW_OPTIONS_INIT;
  sink.write = count_bytes;
  options.flags = flags;
  if (round.lib.make(&round.bw, &sink, &taken, &options) != 0) fail("bw_new");

  pthread_t threads[kThreads];
  for (int index = 0; index < kThreads; ++index) {
    if (pthread_create(&threads[index], NULL, writer_thread, &round) != 0) fail("pthread_create");
  }
  pthread_barrier_wait(&round.wrote);
  if (round.lib.close(round.bw) != 0) fail("bw_close");
  round.lib.free(round.bw);
  if (taken != (uint64_t)kThreads * kRecords * 16) fail("bytes are missing");

  if (!is_mapped()) fail("the library is not where it is looked for");
  if (dlclose(round.lib.handle) != 0) fail(dlerror());
  if (is_mapped()) fail("the library is still mapped after dlclose()");

  pthread_barrier_wait(&round.unloaded);
  for (int index = 0; index < kThreads; ++index) pthread_join(threads[index], NULL);
  pthread_barrier_destroy(&round.wrote);
  pthread_barrier_destroy(&round.unloaded);
}

int main(void) {
  for (int index = 0; index < kRounds; ++index) run_round(index % 2 == 0 ? 0 : BW_BACKGROUND);
  return 0;
}
