#include "file_peers.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "command.h"
#include "disk.h"
#include "external_peers.h"

namespace bwbench {
namespace {

constexpr std::uint64_t kBlockBytes = 1 << 20; // of fio and dd, as our buffers have

// ---- fio: what the disk can do -----------------------------------------------------------------

// By default fio reserves the space of a fresh file, and makes it as long as it will be, before its clock starts; then
// the filesystem takes many writes at once.
const std::vector<std::string> kDeep = {"--iodepth=8"};
// Who must never show a hole lengthens the file by one write after the other.
const std::vector<std::string> kGrowing = {"--iodepth=1", "--create_on_open=1"};

#ifdef BWBENCH_FIO
struct FioEngine {
  const char *name;
  std::vector<std::string> options;
};

// The best first. Registered buffers need locked memory, and containers may refuse io_uring.
const FioEngine kFioEngines[] = {
    {"io_uring with registered buffers", {"--ioengine=io_uring", "--fixedbufs=1"}},
    {"io_uring", {"--ioengine=io_uring"}},
    {"libaio", {"--ioengine=libaio"}},
};
const FioEngine *fio_engine_used = nullptr; // found out when fio is first asked for

std::vector<std::string> fio_command(const FioEngine &engine, const std::vector<std::string> &way,
                                     const std::string &path, std::uint64_t bytes) {
  std::vector<std::string> command = {BWBENCH_FIO,
                                      "--name=limit",
                                      "--filename=" + path,
                                      "--size=" + std::to_string(bytes),
                                      "--bs=" + std::to_string(kBlockBytes),
                                      "--rw=write",
                                      "--direct=1",
                                      "--end_fsync=1",
                                      "--output-format=json"};
  command.insert(command.end(), engine.options.begin(), engine.options.end());
  command.insert(command.end(), way.begin(), way.end());
  return command;
}

const FioEngine &fio_engine_for(const Target &target) {
  const Target probe{"", target.path + ".probe"};
  for (const FioEngine &engine : kFioEngines) {
    if (fio_engine_used != nullptr) break;
    const std::vector<std::string> command = fio_command(engine, kDeep, probe.path, 8 * kBlockBytes);
    if (run_command(command, false).status == 0) fio_engine_used = &engine;
  }
  remove_from_disk(probe);
  require(fio_engine_used != nullptr, "fio cannot write here");
  return *fio_engine_used;
}

// The number after the first `key` that stands behind `section`.
double number_in_json(const std::string &json, const char *section, const char *key) {
  const std::size_t within = json.find(section);
  const std::size_t found = within == std::string::npos ? within : json.find(key, within);
  require(found != std::string::npos, "fio has not printed what we look for");
  return std::strtod(json.c_str() + json.find(':', found) + 1, nullptr);
}

constexpr const char *kWriteSection = "\"write\" : {";

// Starting takes fio longer than writing some files, so its own figures count: they include the sync at the end, and
// leave out what the kernel's workers did for it.
Outcome run_fio(const std::vector<std::string> &way, const Setting &setting, const Run &run) {
  Outcome outcome;
  outcome.records = run.records_per_thread * static_cast<unsigned>(setting.threads);
  const FioEngine &engine = fio_engine_for(*setting.target);
  const std::string json =
      run_peer(fio_command(engine, way, setting.target->path, outcome.records * setting.record_bytes)).output;
  outcome.wall_ns = number_in_json(json, kWriteSection, "\"runtime\"") * 1e6;
  const double percent =
      number_in_json(json, kWriteSection, "\"usr_cpu\"") + number_in_json(json, kWriteSection, "\"sys_cpu\"");
  outcome.cpu_ns = number_in_json(json, kWriteSection, "\"job_runtime\"") * 1e6 * percent / 100;
  require(outcome.wall_ns > 0, "fio has printed no time: the file is too small");
  return outcome;
}

RunFunction fio_run(const std::vector<std::string> &way) {
  return [&way](const Setting &setting, const Run &run) { return run_fio(way, setting, run); };
}
#else
RunFunction fio_run(const std::vector<std::string> &) {
  return {};
}
#endif

// ---- dd, stdio ---------------------------------------------------------------------------------

Outcome run_dd(const Setting &setting, const Run &run) {
  Outcome outcome;
  outcome.records = run.records_per_thread * static_cast<unsigned>(setting.threads);
  const std::uint64_t blocks = outcome.records * setting.record_bytes / kBlockBytes;
  const Ended ended =
      run_peer({"dd", "if=/dev/zero", "of=" + setting.target->path, "bs=" + std::to_string(kBlockBytes),
                "count=" + std::to_string(blocks), "oflag=direct", "conv=fdatasync,notrunc", "status=none"});
  outcome.wall_ns = ended.wall_ns;
  outcome.cpu_ns = ended.cpu_ns;
  return outcome;
}

// Written from the beginning; what the file has is kept, and overwritten.
class DurableStdio {
 public:
  static constexpr bool kKeepsBytes = true;
  explicit DurableStdio(const Setting &setting)
      : buffer_(make_buffer()),
        file_(fdopen(open(setting.target->path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644), "w")) {
    require(file_ != nullptr, "fdopen");
    require(std::setvbuf(file_, buffer_.get(), _IOFBF, kBufferBytes) == 0, "setvbuf");
  }
  DurableStdio(const DurableStdio &) = delete;
  DurableStdio &operator=(const DurableStdio &) = delete;
  ~DurableStdio() { std::fclose(file_); }
  void write(int, const void *data, std::size_t bytes) noexcept {
    require(std::fwrite(data, 1, bytes, file_) == bytes, "fwrite");
  }
  void finish() noexcept { require(std::fflush(file_) == 0 && fdatasync(fileno(file_)) == 0, "fdatasync"); }

 private:
  Buffer buffer_; // outlives the stream
  std::FILE *file_;
};

RunFunction go_run() {
#ifdef BWBENCH_GO_DURABLE
  return external(BWBENCH_GO_DURABLE);
#else
  return {};
#endif
}

RunFunction rust_run() {
#ifdef BWBENCH_RUST_DURABLE
  return external(BWBENCH_RUST_DURABLE);
#else
  return {};
#endif
}

} // namespace

std::vector<Subject> file_peers() {
  const auto peer = [](const char *name, RunFunction run) {
    return Subject{name, Kind::kPeer, true, kFio, kFio, std::move(run)};
  };
  return {
      {kFio, Kind::kLimit, true, "", "", fio_run(kDeep)},
      {kFioGrowing, Kind::kLimit, true, kFio, kFio, fio_run(kGrowing)},
      peer("dd", run_dd),
      peer("stdio", in_process<DurableStdio>()),
      peer(kRustDurable, rust_run()),
      peer("go-bufio", go_run()),
  };
}

std::string fio_engine() {
#ifdef BWBENCH_FIO
  if (fio_engine_used != nullptr) return fio_engine_used->name;
#endif
  return "";
}

} // namespace bwbench
