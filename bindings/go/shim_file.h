/* File and Lane (file.go, lane.go) in C. `token` is a cgo.Handle of a *handle (handle.go). */
#ifndef BWGO_SHIM_FILE_H
#define BWGO_SHIM_FILE_H

#include "shim.h"

#include <fcntl.h>

/* bw_open() and bw_lane(). The handle behind `token` hears of events; 0: nobody does. */
int bwgo_open(bw_t **out, const char *path, int oflags, unsigned mode, bw_options_t options, uintptr_t token);
int bwgo_lane(bw_t **out, bw_t *parent, bw_options_t options, uintptr_t token);

/* The call of the same name under bwgo_begin(). The polls have the waker behind `token`; 0: none. */
bwgo_answer bwgo_append(bw_t *bw, const char *data, size_t length);
bwgo_answer bwgo_poll_append(bw_t *bw, const char *data, size_t length, uintptr_t token);
bwgo_answer bwgo_poll_flush(bw_t *bw, uintptr_t token);
bwgo_answer bwgo_poll_sync(bw_t *bw, uintptr_t token);
bwgo_answer bwgo_poll_seek(bw_t *bw, uintptr_t token);
bwgo_answer bwgo_poll_close(bw_t *bw, uintptr_t token);
bwgo_answer bwgo_resume(bw_t *bw);
bwgo_answer bwgo_discard(bw_t *bw);
bwgo_answer bwgo_free(bw_t *bw);

/* bw_unwritten(): each run of bytes goes to the []byte behind `bytes`. */
bwgo_answer bwgo_unwritten(bw_t *bw, uintptr_t bytes);

/* bw_notify(): the answer goes to the question behind `question`. */
int bwgo_notify(bw_t *bw, int64_t position, int level, uintptr_t question);

#endif
