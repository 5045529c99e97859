/*
 * What the fuzz targets share: an input that is read as a program, and checks that end the process.
 *
 * A target is a function LLVMFuzzerTestOneInput(). libFuzzer calls it with inputs that it makes up, replay.c with those
 * of a directory. A broken promise is told on stderr and ends the process: that is what libFuzzer takes for a finding.
 */
#ifndef BW_TESTS_FUZZ_H
#define BW_TESTS_FUZZ_H

#include <bw/bw.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input. Where it has ended everything reads as 0. */
typedef struct fuzz_input {
  const uint8_t *data;
  size_t left;
} fuzz_input;

uint8_t fuzz_byte(fuzz_input *input);
/* A little-endian number of so many bytes. */
uint64_t fuzz_number(fuzz_input *input, size_t bytes);
/* A number below `limit`, from as few bytes as hold it. */
uint64_t fuzz_below(fuzz_input *input, uint64_t limit);
bool fuzz_chance(fuzz_input *input, unsigned of_256);
/* Any 64-bit number, most often one of those at which something changes. */
uint64_t fuzz_any(fuzz_input *input);
/* Splits off the first `bytes` (or what there is). */
fuzz_input fuzz_split(fuzz_input *input, size_t bytes);

/* Fills data[length] with bytes by which every place of a stream of less than 64 KiB can be told: `at` is the first. */
void fuzz_pattern(void *data, size_t length, uint64_t at);

/* A string of bytes that grows. Zero it; free(string.bytes) in the end. */
typedef struct fuzz_bytes {
  unsigned char *bytes;
  size_t length, room;
} fuzz_bytes;

void fuzz_append(fuzz_bytes *string, const void *bytes, size_t length);
/* The next `length` bytes of the pattern, of which there were `made`; never NULL, and valid until the next call. */
const unsigned char *fuzz_make(fuzz_bytes *scratch, uint64_t *made, size_t length);
/* Forgets the first `count` bytes. */
void fuzz_drop(fuzz_bytes *string, size_t count);

/* Says what is wrong and aborts. */
_Noreturn void fuzz_fail(const char *file, int line, const char *what);
_Noreturn void fuzz_differ(const char *file, int line, const char *what, int64_t found, int64_t wanted);

#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
#define FUZZ_SAME(found, wanted) fuzz_same(__FILE__, __LINE__, #found, (int64_t)(found), (int64_t)(wanted))
void fuzz_same(const char *file, int line, const char *what, int64_t found, int64_t wanted);

#endif
