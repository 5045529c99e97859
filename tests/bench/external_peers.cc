// Peers in other languages. Each is a program of its own, which times itself as run_threads() does:
//     peer PATH THREADS RECORD_BYTES RECORDS_PER_THREAD BUFFER_BYTES
// prints the nanoseconds from the start of its threads until every byte is with the target.
#include "external_peers.h"

#include <cstdlib>

#include "command.h"
#include "peers.h"

namespace bwbench {
namespace {

Subject external_subject(const char *name, RunFunction run) {
  return {name, Kind::kPeer, true, kMemcpyLimit, kMemcpyLimit, std::move(run)};
}

} // namespace

RunFunction external(std::string program) {
  return [program = std::move(program)](const Setting &setting, const Run &run) {
    const Ended ended =
        run_peer({program, setting.target->path, std::to_string(setting.threads), std::to_string(setting.record_bytes),
                  std::to_string(run.records_per_thread), std::to_string(kBufferBytes)});
    Outcome outcome;
    outcome.wall_ns = std::strtod(ended.output.c_str(), nullptr);
    outcome.cpu_ns = ended.cpu_ns;
    outcome.records = run.records_per_thread * static_cast<unsigned>(setting.threads);
    require(outcome.wall_ns > 0, "a peer has printed no time");
    check_output(setting, outcome.records);
    return outcome;
  };
}

Subject go_peer() {
#ifdef BWBENCH_GO_STREAM
  return external_subject(kGo, external(BWBENCH_GO_STREAM));
#else
  return external_subject(kGo, {});
#endif
}

Subject rust_peer() {
#ifdef BWBENCH_RUST_PEER
  return external_subject("rust-mutex-bufwriter", external(BWBENCH_RUST_PEER));
#else
  return external_subject("rust-mutex-bufwriter", {});
#endif
}

} // namespace bwbench
