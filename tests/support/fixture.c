#include "fixture.h"

#define TEXT_MAX 8192
#define PARTS_MAX 64

static int setup(void **state, uint32_t flags) {
  test_rig *rig = test_rig_empty();
  rig->has = RIG_PLAIN;
  rig->flags = flags;
  *state = rig;
  return 0;
}

int fixture_setup_shared(void **state) { return setup(state, 0); }
int fixture_setup_unshared(void **state) { return setup(state, BW_UNSHARED); }

int fixture_teardown(void **state) {
  test_rig *rig = *state;
  test_sink_release(&rig->sink);
  test_sink_release(&rig->other);
  test_rig_free(rig);
  return 0;
}

bw_options_t fixture_options(test_rig *rig, uint64_t capacity) {
  bw_options_t options = {0};
  options.size = sizeof options;
  options.flags = rig->flags;
  options.capacity = capacity;
  options.on_event = test_events_record;
  options.event_arg = &rig->events;
  return options;
}

void fixture_open(test_rig *rig, uint64_t capacity) {
  bw_options_t options = fixture_options(rig, capacity);
  test_rig_open(rig, rig->has, &options);
}

typedef struct gathered {
  char *bytes;
  size_t length, room;
} gathered;

static void gather(void *arg, const void *data, size_t length) {
  gathered *all = arg;
  if (all->length + length <= all->room) memcpy(all->bytes + all->length, data, length);
  all->length += length;
}

size_t fixture_unwritten(test_rig *rig, char *bytes, size_t room) {
  gathered all = {bytes, 0, room};
  int64_t answer = bw_unwritten(rig->bw, gather, &all);
  assert_true(all.length <= room);
  assert_int_equal(answer, all.length);
  return all.length;
}

static const char *const kKindNames[TEST_SINK_KINDS] = {"write", "writev", "flush", "seek", "read", "sync", "close"};

static size_t add_call(char *text, size_t size, const test_sink_call *call) {
  bool counts = call->kind == TEST_SINK_WRITE || call->kind == TEST_SINK_WRITEV || call->kind == TEST_SINK_READ;
  int used = snprintf(text, size, "%s", kKindNames[call->kind]);
  if (call->kind == TEST_SINK_WRITEV) {
    used += snprintf(text + used, size - (size_t)used, "(%zu/%d)", call->offered, call->parts);
  } else if (counts) {
    used += snprintf(text + used, size - (size_t)used, "(%zu)", call->offered);
  }
  if (call->answer < 0) {
    used += snprintf(text + used, size - (size_t)used, "=%s", bw_err_name((int)call->answer));
  } else if (call->kind == TEST_SINK_SEEK || call->answer != (counts ? (int64_t)call->offered : 0)) {
    used += snprintf(text + used, size - (size_t)used, "=%lld", (long long)call->answer);
  }
  return (size_t)used;
}

const char *fixture_trace(test_rig *rig) {
  static char text[TEXT_MAX];
  size_t used = 0;
  text[0] = '\0';
  pthread_mutex_lock(&rig->sink.mutex);
  for (size_t i = rig->traced; i < rig->sink.call_count && used + 80 < sizeof text; ++i) {
    if (used > 0) text[used++] = ' ';
    used += add_call(text + used, sizeof text - used, &rig->sink.calls[i]);
  }
  rig->traced = rig->sink.call_count;
  pthread_mutex_unlock(&rig->sink.mutex);
  return text;
}

int64_t fixture_write(test_rig *rig, const char *text) { return bw_write(rig->bw, text, strlen(text)); }
int64_t fixture_append(test_rig *rig, const char *text) { return bw_append(rig->bw, text, strlen(text)); }

int64_t fixture_poll_write(test_rig *rig, const char *text) {
  return bw_poll_write(rig->bw, text, strlen(text), &rig->wake);
}

int64_t fixture_poll_append(test_rig *rig, const char *text) {
  return bw_poll_append(rig->bw, text, strlen(text), &rig->wake);
}

static int cut(const char *text, struct iovec *parts, int room) {
  int count = 0;
  for (const char *end = text; count < room; text = end + 1) {
    end = text + strcspn(text, "|");
    parts[count++] = (struct iovec){(void *)(uintptr_t)text, (size_t)(end - text)};
    if (*end == '\0') break;
  }
  return count;
}

int64_t fixture_writev(test_rig *rig, const char *parts) {
  struct iovec iov[PARTS_MAX];
  return bw_writev(rig->bw, iov, cut(parts, iov, PARTS_MAX));
}

int64_t fixture_appendv(test_rig *rig, const char *parts) {
  struct iovec iov[PARTS_MAX];
  return bw_appendv(rig->bw, iov, cut(parts, iov, PARTS_MAX));
}

int64_t fixture_poll_writev(test_rig *rig, const char *parts) {
  struct iovec iov[PARTS_MAX];
  return bw_poll_writev(rig->bw, iov, cut(parts, iov, PARTS_MAX), &rig->wake);
}

int64_t fixture_poll_appendv(test_rig *rig, const char *parts) {
  struct iovec iov[PARTS_MAX];
  return bw_poll_appendv(rig->bw, iov, cut(parts, iov, PARTS_MAX), &rig->wake);
}

static void check_text(const char *what, const char *found, size_t length, const char *text, const char *file,
                       int line) {
  if (length == strlen(text) && memcmp(found, text, length) == 0) return;
  print_error("%s: \"%.*s\" (%zu bytes), not \"%s\"\n", what, (int)length, found, length, text);
  _fail(file, line);
}

void fixture_check_sink(test_sink *sink, const char *text, const char *file, int line) {
  check_text("the sink has", sink->data == NULL ? "" : sink->data, sink->length, text, file, line);
}

void fixture_check_unwritten(test_rig *rig, const char *text, const char *file, int line) {
  char bytes[TEXT_MAX];
  size_t length = fixture_unwritten(rig, bytes, sizeof bytes);
  check_text("unwritten is", bytes, length, text, file, line);
  _assert_int_equal((LargestIntegralType)(bw_position(rig->bw, BW_ACCEPTED) - bw_position(rig->bw, BW_WRITTEN)),
                    (LargestIntegralType)length, file, line);
}

void fixture_check_buffered(test_rig *rig, const char *text, const char *file, int line) {
  size_t length = 1;
  const char *bytes = bw_buffer(rig->bw, &length);
  if (rig->flags & BW_UNSHARED) {
    check_text("the buffer has", bytes == NULL ? "" : bytes, length, text, file, line);
  } else {
    _assert_true(bytes == NULL && length == 0, "a shared writer shows no buffer", file, line);
  }
  _assert_int_equal(bw_buffered(rig->bw), strlen(text), file, line);
  fixture_check_unwritten(rig, text, file, line);
}

void fixture_check_trace(test_rig *rig, const char *trace, const char *file, int line) {
  const char *found = fixture_trace(rig);
  if (strcmp(found, trace) == 0) return;
  print_error("sink calls: \"%s\", not \"%s\"\n", found, trace);
  _fail(file, line);
}
