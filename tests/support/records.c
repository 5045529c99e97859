#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "records.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "threads.h"

static uint64_t seed_of(const test_records *records, unsigned thread, unsigned number) {
  return records->seed * UINT64_C(1000003) + ((uint64_t)thread << 32) + number;
}

size_t test_record_length(const test_records *records, unsigned thread, unsigned number) {
  uint64_t state = seed_of(records, thread, number);
  const uint64_t shape = test_random(&state) % 8;
  size_t most = records->longest;
  if (shape < 4) most = most / 16 + 1;
  else if (shape < 7) most = most / 3 + 1;
  if (most > records->longest) most = records->longest;
  return (size_t)(test_random(&state) % most) + 1;
}

size_t test_record_make(const test_records *records, unsigned thread, unsigned number, char *out) {
  const size_t length = test_record_length(records, thread, number);
  uint64_t state = ~seed_of(records, thread, number);
  for (size_t i = 0; i < length; i += 8) {
    const uint64_t word = test_random(&state);
    memcpy(out + i, &word, length - i < 8 ? length - i : 8);
  }
  out[0] = (char)(unsigned char)thread;
  return length;
}

size_t test_records_bytes(const test_records *records) {
  size_t bytes = 0;
  for (unsigned thread = 0; thread < records->threads; ++thread)
    for (unsigned number = 0; number < records->each; ++number) bytes += test_record_length(records, thread, number);
  return bytes;
}

static bool check(const test_records *records, const char *data, size_t length, const int64_t *positions,
                  unsigned *next, char *expected) {
  size_t at = 0;
  while (at < length) {
    const unsigned thread = (unsigned char)data[at];
    if (thread >= records->threads || next[thread] >= records->each) {
      fprintf(stderr, "records: at %zu there begins no record (byte %u)\n", at, thread);
      return false;
    }
    const unsigned number = next[thread]++;
    const size_t bytes = test_record_make(records, thread, number, expected);
    if (bytes > length - at || memcmp(data + at, expected, bytes) != 0) {
      fprintf(stderr, "records: at %zu, record %u of thread %u (%zu bytes) is torn or out of order\n", at, number,
              thread, bytes);
      return false;
    }
    const int64_t told = positions ? positions[(size_t)thread * records->each + number] : -1;
    if (told >= 0 && told != (int64_t)at) {
      fprintf(stderr, "records: record %u of thread %u stands at %zu, was told to stand at %" PRId64 "\n", number,
              thread, at, told);
      return false;
    }
    at += bytes;
  }
  for (unsigned thread = 0; thread < records->threads; ++thread)
    if (next[thread] != records->each) {
      fprintf(stderr, "records: thread %u wrote %u records, %u arrived\n", thread, records->each, next[thread]);
      return false;
    }
  return true;
}

bool test_records_check(const test_records *records, const char *data, size_t length, const int64_t *positions) {
  unsigned *next = calloc(records->threads, sizeof *next);
  char *expected = malloc(records->longest + 8);
  const bool right = next && expected && check(records, data, length, positions, next, expected);
  free(next);
  free(expected);
  return right;
}
