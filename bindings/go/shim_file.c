#include "shim_file.h"

#include "_cgo_export.h"

static void on_event(void *token, const bw_event_t *event) {
  const uintptr_t ended = bwgoEvent((uintptr_t)token, (bw_event_t *)event, bwgo_in_call());
  if (ended) bwgo_set_ended(ended);
}

static void set_events(bw_options_t *options, uintptr_t token) {
  options->on_event = token ? on_event : NULL;
  options->event_arg = (void *)token;
}

int bwgo_open(bw_t **out, const char *path, int oflags, unsigned mode, bw_options_t options, uintptr_t token) {
  set_events(&options, token);
  return bw_open(out, path, oflags, mode, &options);
}

int bwgo_lane(bw_t **out, bw_t *parent, bw_options_t options, uintptr_t token) {
  set_events(&options, token);
  return bw_lane(out, parent, &options);
}

bwgo_answer bwgo_append(bw_t *bw, const char *data, size_t length) { UNDER_CALL(bw_append(bw, data, length)); }

bwgo_answer bwgo_poll_append(bw_t *bw, const char *data, size_t length, uintptr_t token) {
  UNDER_CALL(bw_poll_append(bw, data, length, WAKER(token)));
}

bwgo_answer bwgo_poll_flush(bw_t *bw, uintptr_t token) { UNDER_CALL(bw_poll_flush(bw, WAKER(token))); }

bwgo_answer bwgo_poll_sync(bw_t *bw, uintptr_t token) { UNDER_CALL(bw_poll_sync(bw, WAKER(token))); }

bwgo_answer bwgo_poll_seek(bw_t *bw, uintptr_t token) { UNDER_CALL(bw_poll_seek(bw, WAKER(token))); }

bwgo_answer bwgo_poll_close(bw_t *bw, uintptr_t token) { UNDER_CALL(bw_poll_close(bw, WAKER(token))); }

bwgo_answer bwgo_resume(bw_t *bw) { UNDER_CALL(bw_resume(bw)); }

bwgo_answer bwgo_discard(bw_t *bw) { UNDER_CALL(bw_discard(bw)); }

bwgo_answer bwgo_free(bw_t *bw) { UNDER_CALL((bw_free(bw), 0)); }

static void collect(void *bytes, const void *data, size_t length) {
  bwgoCollect((uintptr_t)bytes, (char *)data, length);
}

bwgo_answer bwgo_unwritten(bw_t *bw, uintptr_t bytes) { UNDER_CALL(bw_unwritten(bw, collect, (void *)bytes)); }

static void answer(void *question, int code) { bwgoAnswer((uintptr_t)question, code); }

int bwgo_notify(bw_t *bw, int64_t position, int level, uintptr_t question) {
  return bw_notify(bw, position, level, answer, (void *)question);
}
