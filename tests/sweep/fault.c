#include "fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* What is tried again without asking the caller ends by itself after so many failures. */
enum { kPatience = 24, kSpinning = 20000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static fault_plan plan;
static int64_t operations, submissions, fired, failures, fired_on[FAULT_KINDS];
static bool is_lifted;
static int failed_sync;

void fault_begin(const fault_plan *new_plan) {
  pthread_mutex_lock(&mutex);
  plan = *new_plan;
  operations = submissions = fired = failures = 0;
  for (int kind = 0; kind < FAULT_KINDS; ++kind) fired_on[kind] = 0;
  is_lifted = plan.at < 0;
  failed_sync = 0;
  pthread_mutex_unlock(&mutex);
}

void fault_lift(void) {
  pthread_mutex_lock(&mutex);
  is_lifted = true;
  pthread_mutex_unlock(&mutex);
}

bool fault_is_restarted(int code, bool is_file) {
  return code == -EAGAIN || code == -EINTR || (is_file && code == -ECANCELED);
}

/* With the mutex. */
static bool is_due(enum fault_kind kind, int64_t number) {
  const int64_t first = plan.at + (plan.before != 0);
  if (is_lifted || number < first || (!plan.for_ever && number > first)) return false;
  if (plan.before < 0 && (number - first) % 2 != 0) return false;
  if (kind == FAULT_WRITE) return true;
  return plan.answer < 0 && !(plan.is_descriptor && plan.answer == -EAGAIN); /* a count is an answer of writes */
}

static void has_failed(enum fault_kind kind, int answer) {
  ++fired;
  ++fired_on[kind];
  if (answer == FAULT_SHORT || fault_is_restarted(answer, plan.is_file)) return;
  if (kind == FAULT_SYNC && answer == -EOPNOTSUPP) return;
  failures += kind == FAULT_WRITE || kind == FAULT_FLUSH || kind == FAULT_SYNC;
  if (kind == FAULT_SYNC && failed_sync == 0) failed_sync = answer;
}

static void has_fired(enum fault_kind kind) {
  has_failed(kind, plan.answer);
  const bool is_restarted = fault_is_restarted(plan.answer, plan.is_file);
  if (!plan.for_ever || (is_restarted && !plan.is_submission && fired >= kPatience)) is_lifted = true;
}

int fault_next(enum fault_kind kind) {
  pthread_mutex_lock(&mutex);
  const bool is_submission = kind == FAULT_SUBMIT;
  const int64_t number = is_submission ? submissions++ : operations++;
  int answer = FAULT_NONE;
  if (is_submission == plan.is_submission && is_due(kind, number)) {
    answer = plan.answer;
    has_fired(kind);
  } else if (plan.before < 0 && !is_submission && number == plan.at && !is_lifted) {
    answer = plan.before;
    has_failed(kind, answer);
  } else if (plan.before == FAULT_SHORT && kind == FAULT_WRITE && number == plan.at && !is_lifted) {
    answer = FAULT_SHORT;
  }
  const bool spins = fired > kSpinning;
  pthread_mutex_unlock(&mutex);
  if (spins) { /* the call would never return: nothing can be asserted after it */
    fprintf(stderr, "the library asks again without end (code %d)\n", answer);
    abort();
  }
  return answer;
}

static int64_t read_of(const int64_t *number) {
  pthread_mutex_lock(&mutex);
  const int64_t value = *number;
  pthread_mutex_unlock(&mutex);
  return value;
}

int64_t fault_count(void) { return read_of(&operations); }
int64_t fault_submissions(void) { return read_of(&submissions); }
int64_t fault_fired(void) { return read_of(&fired); }
int64_t fault_failures(void) { return read_of(&failures); }
int64_t fault_fired_on(enum fault_kind kind) { return read_of(&fired_on[kind]); }

bool fault_is_lifted(void) {
  pthread_mutex_lock(&mutex);
  const bool value = is_lifted;
  pthread_mutex_unlock(&mutex);
  return value;
}

int fault_failed_sync(void) {
  pthread_mutex_lock(&mutex);
  const int value = failed_sync;
  pthread_mutex_unlock(&mutex);
  return value;
}
