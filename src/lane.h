// A lane: a BW_UNSHARED writer whose sink is the append of a shared one.
#pragma once

#include <bw/bw.h>

#include "sink_engine.h"

namespace bwlib {

class Writer;

// 0, -EINVAL, -E2BIG, -ENOMEM, -ESHUTDOWN, -EDEADLK.
int create_lane(Writer *&out, Writer &parent, const bw_options_t *options) noexcept;

} // namespace bwlib
