/*
 * Runs a fuzz target once for each file of the directories (or for each file) named. Without libFuzzer, so a corpus
 * replays with every compiler, as an ordinary test.
 */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

enum { kInputMax = 1 << 20, kPathMax = 4096 };

static int replay_file(const char *path) {
  FILE *file = fopen(path, "rb");
  uint8_t *bytes, *input;
  size_t length;
  if (file == NULL) {
    perror(path);
    return -1;
  }
  bytes = malloc(kInputMax);
  FUZZ_CHECK(bytes != NULL);
  length = fread(bytes, 1, kInputMax, file);
  fclose(file);
  input = malloc(length + 1); /* a block of its own, so that a look behind it is seen */
  FUZZ_CHECK(input != NULL);
  for (size_t index = 0; index < length; ++index) input[index] = bytes[index];
  free(bytes);
  LLVMFuzzerTestOneInput(input, length);
  free(input);
  return 1;
}

static int is_visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* How many inputs ran; -1: one could not be read. The name is told first, so that who reads of an abort knows it. */
static int replay(const char *path) {
  struct dirent **entries;
  const int count = scandir(path, &entries, is_visible, alphasort);
  int ran = 0;
  if (count < 0) return replay_file(path);
  for (int index = 0; index < count; ++index) {
    char inner[kPathMax];
    if (snprintf(inner, sizeof inner, "%s/%s", path, entries[index]->d_name) < (int)sizeof inner && ran >= 0) {
      printf("%s\n", inner);
      fflush(stdout);
      ran = replay_file(inner) < 0 ? -1 : ran + 1;
    }
    free(entries[index]);
  }
  free(entries);
  return ran;
}

int main(int argc, char **argv) {
  int total = 0;
  for (int index = 1; index < argc; ++index) {
    const int ran = replay(argv[index]);
    if (ran < 0) return 1;
    total += ran;
  }
  printf("%d inputs\n", total);
  return total > 0 ? 0 : 1;
}
