#include "put.h"

#include <string.h>
#include <sys/uio.h>

static int64_t put_span(bw_t *bw, const void *data, size_t length) {
  bw_span_t span;
  int code = bw_reserve(bw, length, &span);
  if (code < 0) return code;
  const int64_t position = span.position;
  memcpy(span.data, data, length);
  code = bw_commit(bw, &span, length);
  return code < 0 ? code : position;
}

int64_t test_put(bw_t *bw, enum test_way way, const void *data, size_t length, const bw_waker_t *wake,
                 int64_t *position) {
  char *bytes = (char *)data;
  const size_t third = length / 3;
  const struct iovec parts[3] = {{bytes, third}, {NULL, 0}, {bytes + third, length - third}};
  *position = -1;
  switch (way) {
    case TEST_WRITE: return bw_write(bw, data, length);
    case TEST_WRITEV: return bw_writev(bw, parts, 3);
    case TEST_POLL_WRITE: return bw_poll_write(bw, data, length, wake);
    case TEST_POLL_WRITEV: return bw_poll_writev(bw, parts, 3, wake);
    case TEST_APPEND: *position = bw_append(bw, data, length); break;
    case TEST_APPENDV: *position = bw_appendv(bw, parts, 3); break;
    case TEST_POLL_APPEND: *position = bw_poll_append(bw, data, length, wake); break;
    case TEST_POLL_APPENDV: *position = bw_poll_appendv(bw, parts, 3, wake); break;
    default: *position = put_span(bw, data, length); break;
  }
  return *position < 0 ? *position : (int64_t)length;
}
