// What an idle writer costs.
#pragma once

namespace bwbench {

// Bytes a writer: BW_UNSHARED, 8 KiB buffer, a callback sink, as the mean over a thousand of them.
struct WriterMemory {
  double allocated = 0;     // from malloc
  double mapped = 0;        // mappings that are not malloc's
  double resident_new = 0;  // in RAM, just made
  double resident_used = 0; // in RAM, once every byte of the buffer has been written
  double total() const noexcept { return allocated + mapped; }
};

// To be called first in the program: memory that was freed before would serve the writers, and not be seen.
WriterMemory measure_writer_memory();

} // namespace bwbench
