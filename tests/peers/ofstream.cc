// std::ofstream. write() does not say how much of a record it accepted, so a record that failed is written again, whole;
// clear() makes the stream usable again.
#include <cstddef>
#include <fstream>

#include "report.h"

static void write_records(std::ofstream &file, report &run) {
  for (int tries = 0; tries < TRIES && run.accepted < sizeof run.records;) {
    if (file.write(run.records + run.accepted, RECORD)) {
      run.accepted += RECORD;
      tries = 0;
      continue;
    }
    report_refused(&run);
    file.clear();
    ++tries;
  }
}

int main(int count, char **words) {
  static report run;
  if (count != 5 || !report_begin(&run, words)) return 2;
  std::ofstream file(words[3], std::ios::binary);
  write_records(file, run);
  for (int i = 0; i < 2; ++i) {
    file.flush();
    report_said(&run, i, !file, "failed");
    file.clear();
  }
  file.close();
  report_said(&run, 2, !file, "failed");
  report_end(&run);
  return 0;
}
