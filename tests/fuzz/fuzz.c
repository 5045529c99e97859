#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint8_t fuzz_byte(fuzz_input *input) {
  if (input->left == 0) return 0;
  --input->left;
  return *input->data++;
}

uint64_t fuzz_number(fuzz_input *input, size_t bytes) {
  uint64_t number = 0;
  for (size_t index = 0; index < bytes; ++index) number |= (uint64_t)fuzz_byte(input) << (8 * index);
  return number;
}

uint64_t fuzz_below(fuzz_input *input, uint64_t limit) {
  size_t bytes = 1;
  while (bytes < 8 && limit > (uint64_t)1 << (8 * bytes)) ++bytes;
  return fuzz_number(input, bytes) % limit;
}

bool fuzz_chance(fuzz_input *input, unsigned of_256) { return fuzz_byte(input) >= 256 - of_256; }

uint64_t fuzz_any(fuzz_input *input) {
  static const uint64_t kEdges[] = {
      0, 1, 2, 3, 4, 7, 8, 9, 49, 50, 51, 79, 80, 81, 99, 100, 101, 255, 256, 1000, 4095, 4096, 4097, 8192, 65536,
      1u << 20, (1u << 20) + 1, 128u << 20, (128u << 20) + 1, UINT32_MAX, (uint64_t)UINT32_MAX + 1, INT64_MAX - 1,
      INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX - 1, UINT64_MAX};
  enum { kEdgeCount = sizeof kEdges / sizeof *kEdges };
  const unsigned choice = fuzz_byte(input);
  if (choice < 128) return kEdges[choice % kEdgeCount];
  return fuzz_number(input, choice < 192 ? 1 : choice < 224 ? 2 : choice < 240 ? 4 : 8);
}

fuzz_input fuzz_split(fuzz_input *input, size_t bytes) {
  fuzz_input first = {input->data, bytes < input->left ? bytes : input->left};
  input->data += first.left;
  input->left -= first.left;
  return first;
}

void fuzz_pattern(void *data, size_t length, uint64_t at) {
  unsigned char *bytes = data;
  for (size_t index = 0; index < length; ++index) {
    const uint64_t place = at + index;
    bytes[index] = (unsigned char)(place ^ (place >> 8) * 37 ^ (place >> 16) * 101);
  }
}

void fuzz_append(fuzz_bytes *string, const void *bytes, size_t length) {
  if (length == 0) return;
  if (string->length + length > string->room) {
    string->room = (string->length + length) * 2;
    string->bytes = realloc(string->bytes, string->room);
    FUZZ_CHECK(string->bytes != NULL);
  }
  memcpy(string->bytes + string->length, bytes, length);
  string->length += length;
}

const unsigned char *fuzz_make(fuzz_bytes *scratch, uint64_t *made, size_t length) {
  if (length >= scratch->room) {
    scratch->room = length * 2 + 64;
    scratch->bytes = realloc(scratch->bytes, scratch->room);
    FUZZ_CHECK(scratch->bytes != NULL);
  }
  scratch->length = length;
  fuzz_pattern(scratch->bytes, length, *made);
  *made += length;
  return scratch->bytes;
}

void fuzz_drop(fuzz_bytes *string, size_t count) {
  FUZZ_CHECK(count <= string->length);
  string->length -= count;
  if (count > 0) memmove(string->bytes, string->bytes + count, string->length);
}

void fuzz_fail(const char *file, int line, const char *what) {
  fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
  abort();
}

void fuzz_differ(const char *file, int line, const char *what, int64_t found, int64_t wanted) {
  fprintf(stderr, "%s:%d: %s is %" PRId64 ", not %" PRId64 "\n", file, line, what, found, wanted);
  abort();
}

void fuzz_same(const char *file, int line, const char *what, int64_t found, int64_t wanted) {
  if (found != wanted) fuzz_differ(file, line, what, found, wanted);
}
