/* bw. PEER: `fdopen` or `open`, then what the writer is to be: unshared, background, buffered, pwrite, uring, 64k. */
#define _GNU_SOURCE
#include <bw/bw.h>
#include <fcntl.h>
#include <string.h>

#include "report.h"

static int make(bw_t **bw, const char *peer, const char *path) {
  bw_options_t options = BW_OPTIONS_INIT;
  if (strstr(peer, "unshared")) options.flags |= BW_UNSHARED;
  if (strstr(peer, "background")) options.flags |= BW_BACKGROUND;
  if (strstr(peer, "buffered")) options.flags |= BW_BUFFERED;
  if (strstr(peer, "pwrite")) options.engine = BW_ENGINE_PWRITE;
  if (strstr(peer, "uring")) options.engine = BW_ENGINE_URING;
  if (strstr(peer, "64k")) options.capacity = 65536;
  if (strncmp(peer, "open", 4) == 0) return bw_open(bw, path, O_WRONLY | O_CREAT, 0600, &options);
  const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const int code = bw_fdopen(bw, fd, &options);
  close(fd);
  return code;
}

static void write_records(bw_t *bw, report *run) {
  size_t end = RECORD;
  for (int tries = 0; tries < TRIES && run->accepted < sizeof run->records;) {
    const int64_t taken = bw_write(bw, run->records + run->accepted, end - run->accepted);
    if (taken > 0) run->accepted += (size_t)taken;
    if (taken < 0) {
      report_refused(run);
      (void)bw_resume(bw);
      ++tries;
    }
    if (run->accepted < end) continue;
    end += RECORD;
    tries = 0;
  }
}

int main(int count, char **words) {
  static report run;
  bw_t *bw;
  if (count != 5 || !report_begin(&run, words)) return 2;
  if (make(&bw, words[1], words[3]) != 0) return 77;
  write_records(bw, &run);
  for (int i = 0; i < 2; ++i) {
    const int code = bw_flush(bw);
    report_said(&run, i, code < 0, bw_err_name(code));
    if (code < 0) (void)bw_resume(bw);
  }
  const int code = bw_close(bw);
  report_said(&run, 2, code < 0, bw_err_name(code));
  run.missing = (long)bw_unwritten(bw, NULL, NULL);
  bw_free(bw);
  report_end(&run);
  return 0;
}
