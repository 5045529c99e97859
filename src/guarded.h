// Calling a sink's callback: what it throws stops here.
#pragma once

#include <bw/bw.h>

namespace bwlib {

// What `callback` gives; BW_ESINK if it throws.
template <class Callback>
auto guarded(Callback callback) noexcept -> decltype(callback()) {
  try {
    return callback();
  } catch (...) {
    return BW_ESINK;
  }
}

} // namespace bwlib
