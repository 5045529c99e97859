// LogSink: a batcher's sink that appends items to a writer (bw_batch_to_writer).
#pragma once

#include <bw/bw.h>

namespace bwlib {

class Batcher;
class Writer;

// `separator` may be NULL. 0, or as Batcher::create().
int create_log_batcher(Batcher *&out, Writer &writer, const char *separator,
                       const bw_batch_options_t &options) noexcept;

} // namespace bwlib
