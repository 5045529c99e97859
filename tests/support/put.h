/*
 * One piece of data, put into a writer by any of the ways there are.
 */
#ifndef BW_TESTS_PUT_H
#define BW_TESTS_PUT_H

#include <bw/bw.h>
#include <stdint.h>

enum test_way {
  TEST_WRITE,
  TEST_WRITEV,
  TEST_POLL_WRITE,
  TEST_POLL_WRITEV,
  /* From here on: all or nothing. */
  TEST_APPEND,
  TEST_APPENDV,
  TEST_POLL_APPEND,
  TEST_POLL_APPENDV,
  TEST_SPAN,
  TEST_WAYS
};

/* One try. How many bytes were accepted, or a code; `position` is where they begin, -1 if the way does not tell. */
int64_t test_put(bw_t *bw, enum test_way way, const void *data, size_t length, const bw_waker_t *wake,
                 int64_t *position);

#endif
