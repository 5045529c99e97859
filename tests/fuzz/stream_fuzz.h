/* The parts of the stream target; see stream_fuzz.c. */
#ifndef BW_TESTS_STREAM_FUZZ_H
#define BW_TESTS_STREAM_FUZZ_H

#include "fuzz.h"

void fuzz_inline(fuzz_input *input, bool is_unshared);
void fuzz_threads(fuzz_input *input, bool is_inline);

#endif
