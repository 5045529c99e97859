// Relacy's atomics under the names of the standard ones: what the protocol headers are checked with.
//
// A load may give any value that C++11 allows, not only the newest, and a Plain that two threads touch without
// order between them ends the run: "data race". What relacy does not model: loads of values that are stored later
// (load buffering), more than the last three values of an atomic, and sequentially consistent operations in any
// other order than that of the run.
#pragma once

// Relacy's macros would reach into these.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <source_location>

#include <relacy/relacy.hpp>

#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef errno

#include "atomics.h"

namespace model {

// Where an operation is written, for the history of a failure.
using Here = std::source_location;

inline rl::debug_info to_info(const Here &here) {
  return rl::debug_info(here.function_name(), here.file_name(), here.line());
}

constexpr rl::memory_order to_relacy(std::memory_order order) {
  switch (order) {
    case std::memory_order_relaxed: return rl::mo_relaxed;
    case std::memory_order_consume: return rl::mo_consume;
    case std::memory_order_acquire: return rl::mo_acquire;
    case std::memory_order_release: return rl::mo_release;
    case std::memory_order_acq_rel: return rl::mo_acq_rel;
    default: return rl::mo_seq_cst;
  }
}

template <class T>
class ModelAtomic {
 public:
  ModelAtomic() : atomic_(T()) {}
  ModelAtomic(T value) : atomic_(value) {}

  T load(std::memory_order order, Here here = Here::current()) const {
    return atomic_.load(to_relacy(order), to_info(here));
  }
  void store(T value, std::memory_order order, Here here = Here::current()) {
    atomic_.store(value, to_relacy(order), to_info(here));
  }
  T exchange(T value, std::memory_order order, Here here = Here::current()) {
    return atomic_.exchange(value, to_relacy(order), to_info(here));
  }
  T fetch_add(T value, std::memory_order order, Here here = Here::current()) {
    return atomic_.fetch_add(value, to_relacy(order), to_info(here));
  }
  T fetch_or(T value, std::memory_order order, Here here = Here::current()) {
    return atomic_.fetch_or(value, to_relacy(order), to_info(here));
  }
  bool compare_exchange_strong(T &expected, T value, std::memory_order order, Here here = Here::current()) {
    return atomic_.compare_exchange_strong(expected, value, to_relacy(order), to_info(here));
  }
  bool compare_exchange_weak(T &expected, T value, std::memory_order order, std::memory_order failure,
                             Here here = Here::current()) {
    const rl::debug_info info = to_info(here);
    return atomic_.compare_exchange_weak(expected, value, to_relacy(order), info, to_relacy(failure), info);
  }

 private:
  rl::atomic<T> atomic_;
};

template <class T>
class ModelPlain {
 public:
  ModelPlain() : var_(T()) {}
  ModelPlain(T value) : var_(value) {}

  T load(Here here = Here::current()) const { return var_(to_info(here)).load(); }
  void store(T value, Here here = Here::current()) { var_(to_info(here)).store(value); }

  operator T() const { return load(); }
  ModelPlain &operator=(T value) {
    store(value);
    return *this;
  }
  ModelPlain(const ModelPlain &) = delete;
  ModelPlain &operator=(const ModelPlain &) = delete;

 private:
  rl::var<T> var_;
};

// The library's own orders, and a process_barrier() that does what membarrier does: every thread has seen, and
// shown, all that was done before it.
struct ModelAtomics {
  template <class T>
  using Atomic = ModelAtomic<T>;
  template <class T>
  using Plain = ModelPlain<T>;

  static constexpr std::memory_order kOwnDoneStore = bwlib::RealAtomics::kOwnDoneStore;
  static constexpr std::memory_order kOwnWatchedLoad = bwlib::RealAtomics::kOwnWatchedLoad;
  static void keep_order() noexcept {} // Relacy runs the operations as they are written

  // Few, so that two threads of a scenario get slots of their own and the third shares the common one.
  static constexpr unsigned kOwnSlots = 2;
  static constexpr unsigned kCommonSlots = 1;
  static constexpr unsigned kProbes = 2;

  static void process_barrier(Here here = Here::current()) { rl::systemwide_fence(to_info(here)); }
};

// No barrier, but the strong orders that it stands for.
struct StrongAtomics : ModelAtomics {
  static constexpr std::memory_order kOwnDoneStore = std::memory_order_seq_cst;
  static constexpr std::memory_order kOwnWatchedLoad = std::memory_order_seq_cst;

  static void process_barrier() {}
};

inline void yield(Here here = Here::current()) { rl::yield(1, to_info(here)); }

// True once in `count` times; the scheduler's choice.
inline bool one_in(unsigned count) { return rl::rand(count) == 0; }

} // namespace model
