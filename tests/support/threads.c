#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "threads.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int64_t test_now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void test_pause(void) {
  const struct timespec pause = {0, 200000};
  nanosleep(&pause, NULL);
}

bool test_await(bool (*condition)(void *arg), void *arg) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  while (!condition(arg)) {
    if (test_now_us() > end) return condition(arg);
    test_pause();
  }
  return true;
}

struct at_least {
  atomic_int *value;
  int least;
};

static bool is_at_least(void *arg) {
  const struct at_least *want = arg;
  return atomic_load(want->value) >= want->least;
}

bool test_await_at_least(atomic_int *value, int least) {
  struct at_least want = {value, least};
  return test_await(is_at_least, &want);
}

uint64_t test_random(uint64_t *state) {
  uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

void test_pattern(void *out, size_t length, unsigned seed) {
  unsigned char *bytes = out;
  uint64_t state = (uint64_t)seed * 7919u + 1u, word = 0;
  for (size_t i = 0; i < length; ++i) {
    if (i % 8 == 0) word = test_random(&state);
    bytes[i] = (unsigned char)(word >> (i % 8 * 8));
  }
}

int test_in_child(int (*body)(void *arg), void *arg) {
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) {
    alarm(TEST_BOUND_S);
    _exit(body(arg));
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

/* ---- Threads --------------------------------------------------------------------------------- */

static void *thread_main(void *arg) {
  test_thread *thread = arg;
  atomic_store(&thread->tid, (int)syscall(SYS_gettid));
  thread->result = thread->body(thread->arg);
  atomic_store(&thread->finished, true);
  return NULL;
}

void test_thread_start(test_thread *thread, int64_t (*body)(void *arg), void *arg) {
  thread->body = body;
  thread->arg = arg;
  thread->result = 0;
  atomic_init(&thread->tid, 0);
  atomic_init(&thread->finished, false);
  const int failed = pthread_create(&thread->handle, NULL, thread_main, thread);
  if (failed) {
    fprintf(stderr, "test_thread_start: %s\n", strerror(failed));
    abort();
  }
}

static bool is_asleep(int tid) {
  char path[64], text[256];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
  FILE *file = fopen(path, "r");
  if (!file) return false;
  const size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = 0;
  const char *state = strrchr(text, ')');
  return state && state[1] && state[2] == 'S';
}

bool test_thread_settle(test_thread *thread) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  for (int asleep = 0; asleep < 5 && test_now_us() < end; test_pause()) {
    if (test_thread_finished(thread)) return true;
    const int tid = atomic_load(&thread->tid);
    asleep = tid && is_asleep(tid) ? asleep + 1 : 0;
  }
  return test_thread_finished(thread);
}

static bool others_are_asleep(void) {
  DIR *tasks = opendir("/proc/self/task");
  bool asleep = tasks != NULL;
  for (const struct dirent *task; asleep && (task = readdir(tasks)) != NULL;) {
    const int tid = atoi(task->d_name); /* "." and "..": 0 */
    if (tid && tid != (int)syscall(SYS_gettid)) asleep = is_asleep(tid);
  }
  if (tasks) closedir(tasks);
  return asleep;
}

bool test_others_settle(void) {
  const int64_t end = test_now_us() + TEST_BOUND_S * INT64_C(1000000);
  int asleep = 0;
  for (; asleep < 5 && test_now_us() < end; test_pause()) asleep = others_are_asleep() ? asleep + 1 : 0;
  return asleep == 5;
}

bool test_thread_finished(test_thread *thread) { return atomic_load(&thread->finished); }

int64_t test_thread_join(test_thread *thread) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += TEST_BOUND_S * 4;
  if (pthread_timedjoin_np(thread->handle, NULL, &end)) {
    fprintf(stderr, "test_thread_join: a thread that should have ended hangs\n");
    abort();
  }
  return thread->result;
}

int64_t test_call_write(void *arg) {
  const test_call *call = arg;
  return bw_write(call->bw, call->data, call->length);
}

int64_t test_call_append(void *arg) {
  const test_call *call = arg;
  return bw_append(call->bw, call->data, call->length);
}

int64_t test_call_reserve(void *arg) {
  const test_call *call = arg;
  return bw_reserve(call->bw, call->length, call->span);
}

int64_t test_call_flush(void *arg) { return bw_flush(((const test_call *)arg)->bw); }

int64_t test_call_sync(void *arg) { return bw_sync(((const test_call *)arg)->bw); }

int64_t test_call_seek(void *arg) {
  const test_call *call = arg;
  return bw_seek(call->bw, call->position, call->level);
}

int64_t test_call_wait(void *arg) {
  const test_call *call = arg;
  return bw_wait(call->bw, call->position, call->level, call->timeout_us);
}

int64_t test_call_wake(void *arg) { return bw_wake(((const test_call *)arg)->bw); }

int64_t test_call_unwake(void *arg) {
  const test_call *call = arg;
  return bw_unwake(call->bw, call->wake);
}

int64_t test_call_close(void *arg) { return bw_close(((const test_call *)arg)->bw); }

int64_t test_call_discard(void *arg) { return bw_discard(((const test_call *)arg)->bw); }

int64_t test_call_free(void *arg) {
  bw_free(((const test_call *)arg)->bw);
  return 0;
}

/* ---- Wakers ---------------------------------------------------------------------------------- */

static void count_wake(void *arg) {
  test_waker *waker = arg;
  void (*const hook)(void *) = waker->hook;
  void *const hook_arg = waker->hook_arg;
  atomic_fetch_add(&waker->calls, 1);
  if (hook) hook(hook_arg);
}

bw_waker_t test_waker_of(test_waker *waker) { return (bw_waker_t){count_wake, waker}; }

bool test_waker_await(test_waker *waker, int calls) { return test_await_at_least(&waker->calls, calls); }

/* ---- Notes ----------------------------------------------------------------------------------- */

void test_note_done(void *arg, int code) {
  test_note *note = arg;
  atomic_store(&note->code, code);
  atomic_fetch_add(&note->calls, 1);
}

int test_note_code(test_note *note) { return test_await_at_least(&note->calls, 1) ? atomic_load(&note->code) : 1; }

/* ---- Gates ----------------------------------------------------------------------------------- */

void test_gate_init(test_gate *gate, unsigned kinds) {
  memset(gate, 0, sizeof *gate);
  pthread_mutex_init(&gate->mutex, NULL);
  pthread_cond_init(&gate->changed, NULL);
  gate->kinds = kinds;
}

void test_gate_destroy(test_gate *gate) {
  pthread_cond_destroy(&gate->changed);
  pthread_mutex_destroy(&gate->mutex);
}

void test_gate_pass(test_gate *gate) {
  pthread_mutex_lock(&gate->mutex);
  ++gate->arrived;
  ++gate->waiting;
  pthread_cond_broadcast(&gate->changed);
  while (!gate->open && gate->permits == 0) pthread_cond_wait(&gate->changed, &gate->mutex);
  if (!gate->open) --gate->permits;
  --gate->waiting;
  pthread_mutex_unlock(&gate->mutex);
}

void test_gate_hook(void *arg, enum test_sink_kind kind) {
  test_gate *gate = arg;
  if (gate->kinds & TEST_SINK_HAS(kind)) test_gate_pass(gate);
}

void test_gate_let(test_gate *gate, long permits) {
  pthread_mutex_lock(&gate->mutex);
  gate->permits += permits;
  pthread_cond_broadcast(&gate->changed);
  pthread_mutex_unlock(&gate->mutex);
}

void test_gate_open(test_gate *gate) {
  pthread_mutex_lock(&gate->mutex);
  gate->open = true;
  pthread_cond_broadcast(&gate->changed);
  pthread_mutex_unlock(&gate->mutex);
}

bool test_gate_await(test_gate *gate, long arrived) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += TEST_BOUND_S;
  pthread_mutex_lock(&gate->mutex);
  while (gate->arrived < arrived || gate->waiting == 0)
    if (pthread_cond_timedwait(&gate->changed, &gate->mutex, &end) == ETIMEDOUT) break;
  const bool came = gate->arrived >= arrived && gate->waiting > 0;
  pthread_mutex_unlock(&gate->mutex);
  return came;
}
