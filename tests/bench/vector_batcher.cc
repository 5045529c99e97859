#include "vector_batcher.h"

namespace bwbench {

template <class Batcher>
void push_item(Batcher &batcher, const void *item, std::size_t length) {
  batcher.push(item, length);
}

template void push_item(VectorBatcher &, const void *, std::size_t);
template void push_item(MutexVectorBatcher &, const void *, std::size_t);
template void push_item(StructVectorBatcher<16> &, const void *, std::size_t);
template void push_item(StructVectorBatcher<64> &, const void *, std::size_t);
template void push_item(StructVectorBatcher<1024> &, const void *, std::size_t);

} // namespace bwbench
