/*
 * Records that many threads write and a checker knows again: the first byte names the thread, everything else (length
 * too) follows from the thread and the record's number, so that the checker makes each one again and compares it
 * byte by byte. A record of one byte is possible.
 */
#ifndef BW_TESTS_RECORDS_H
#define BW_TESTS_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct test_records {
  unsigned threads;  /* at most 256 */
  unsigned each;     /* records of one thread */
  size_t longest;    /* bytes of the longest one */
  uint64_t seed;
} test_records;

size_t test_record_length(const test_records *records, unsigned thread, unsigned number);
/* Writes the record to `out` (room for records->longest bytes); returns its length. */
size_t test_record_make(const test_records *records, unsigned thread, unsigned number, char *out);
size_t test_records_bytes(const test_records *records); /* of all records together */
/* True if `data` is nothing but all the records, each whole and each thread's in order. `positions` (may be NULL):
 * positions[thread * each + number] is where the writer said the record stands, or -1; compared too. Says on stderr
 * what is wrong. */
bool test_records_check(const test_records *records, const char *data, size_t length, const int64_t *positions);

#endif
