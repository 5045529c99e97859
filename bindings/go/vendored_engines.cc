//go:build bw_vendored

// Files of the core with private names that files of vendored_core.cc have too.
#include "../../src/file_handles.cc"
#include "../../src/pwrite_engine.cc"
#include "../../src/sink_engine.cc"
#include "../../src/uring_engine.cc"
