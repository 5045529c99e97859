// RocksDB's write-ahead log, whose writers queue up behind a leader.
#include "commit_peers.h"

#ifdef BWBENCH_HAVE_ROCKSDB
#include <rocksdb/c.h>

#include <cstdio>
#endif

namespace bwbench {

#ifdef BWBENCH_HAVE_ROCKSDB
namespace {

// Room for everything a run commits: what a memtable's flush costs is not asked here.
constexpr std::size_t kMemtableBytes = 512 << 20;

void check(char *error) {
  if (error == nullptr) return;
  std::fprintf(stderr, "%s\n", error);
  fail("rocksdb");
}

class RocksDb {
 public:
  static constexpr bool kKeepsBytes = false;
  explicit RocksDb(const Setting &setting)
      : options_(rocksdb_options_create()), writing_(rocksdb_writeoptions_create()) {
    rocksdb_options_set_create_if_missing(options_, 1);
    rocksdb_options_set_write_buffer_size(options_, kMemtableBytes);
    rocksdb_writeoptions_set_sync(writing_, 1);
    char *error = nullptr;
    db_ = rocksdb_open(options_, setting.target->path.c_str(), &error);
    check(error);
    threads_.resize(static_cast<std::size_t>(setting.threads));
    for (Thread &thread : threads_) thread.batch = rocksdb_writebatch_create();
  }
  RocksDb(const RocksDb &) = delete;
  RocksDb &operator=(const RocksDb &) = delete;
  ~RocksDb() {
    for (const Thread &thread : threads_) rocksdb_writebatch_destroy(thread.batch);
    rocksdb_close(db_);
    rocksdb_writeoptions_destroy(writing_);
    rocksdb_options_destroy(options_);
  }

  void commit(int index, const void *data, std::size_t bytes) {
    Thread &thread = threads_[static_cast<std::size_t>(index)];
    const std::uint32_t key[] = {static_cast<std::uint32_t>(index), thread.commits++};
    rocksdb_writebatch_clear(thread.batch);
    rocksdb_writebatch_put(thread.batch, reinterpret_cast<const char *>(key), sizeof key,
                           static_cast<const char *>(data), bytes);
    char *error = nullptr;
    rocksdb_write(db_, writing_, thread.batch, &error);
    check(error);
  }

 private:
  struct alignas(128) Thread {
    rocksdb_writebatch_t *batch = nullptr;
    std::uint32_t commits = 0;
  };
  rocksdb_options_t *options_;
  rocksdb_writeoptions_t *writing_;
  rocksdb_t *db_ = nullptr;
  std::vector<Thread> threads_;
};

RunFunction rocksdb_run() {
  return in_process_commits<RocksDb>();
}

} // namespace
#else
static RunFunction rocksdb_run() {
  return {};
}
#endif

Subject rocksdb_peer() {
  return {kRocksDb, Kind::kPeer, true, kSyncEach, kGroupCommit, rocksdb_run()};
}

} // namespace bwbench
