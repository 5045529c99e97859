/*
 * Streams: a program of calls over a sink whose answers are the input's too. stream_inline.c knows exactly what must
 * happen; stream_threads.c, where a thread of ours takes part, knows what may.
 */
#include "stream_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = {data, size};
  const unsigned choice = fuzz_byte(&input) % 16;
  if (choice < 12) {
    fuzz_inline(&input, choice % 2);
  } else {
    fuzz_threads(&input, choice == 15);
  }
  return 0;
}
