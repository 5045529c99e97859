/* stdio. fwrite() says how many bytes of a record it accepted; clearerr() makes the stream usable again. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "report.h"

static void write_records(FILE *file, report *run) {
  size_t end = RECORD;
  for (int tries = 0; tries < TRIES && run->accepted < sizeof run->records;) {
    run->accepted += fwrite(run->records + run->accepted, 1, end - run->accepted, file);
    if (run->accepted < end || ferror(file)) {
      report_refused(run);
      clearerr(file);
      ++tries;
    }
    if (run->accepted < end) continue;
    end += RECORD;
    tries = 0;
  }
}

int main(int count, char **words) {
  static report run;
  if (count != 5 || !report_begin(&run, words)) return 2;
  FILE *file = fopen(words[3], "wb");
  if (!file) return 2;
  write_records(file, &run);
  for (int i = 0; i < 2; ++i) {
    const int failed = fflush(file);
    report_said(&run, i, failed, strerrorname_np(errno));
    clearerr(file);
  }
  const int failed = fclose(file);
  report_said(&run, 2, failed, strerrorname_np(errno));
  report_end(&run);
  return 0;
}
