/* A program of a user: writes through a descriptor in the background, and looks at what came out. */
#define _POSIX_C_SOURCE 200809L
#include <bw/bw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int64_t code, const char *what) {
  if (code >= 0) return;
  fprintf(stderr, "%s: %s (%s)\n", what, bw_strerror((int)code), bw_err_name((int)code));
  exit(1);
}

int main(void) {
  static const char text[] = "hello, installed world\n";
  const size_t length = sizeof text - 1;
  FILE *file = tmpfile();
  if (!file || bw_version() != BW_VERSION || strcmp(bw_version_string(), BW_VERSION_STRING) != 0) return 1;

  bw_options_t options = BW_OPTIONS_INIT;
  options.flags = BW_BACKGROUND;
  bw_t *bw;
  check(bw_fdopen(&bw, fileno(file), &options), "bw_fdopen");
  check(bw_write(bw, text, length), "bw_write");
  check(bw_sync(bw), "bw_sync");
  check(bw_close(bw), "bw_close");
  bw_free(bw);

  char read_back[sizeof text] = "";
  rewind(file);
  if (fread(read_back, 1, sizeof read_back, file) != length || memcmp(read_back, text, length) != 0) {
    fprintf(stderr, "the file holds something else\n");
    return 1;
  }
  return fclose(file) != 0;
}
