// Runs peers that are programs of their own.
#pragma once

#include <string>
#include <vector>

namespace bwbench {

struct Ended {
  int status = 0;     // as waitpid(2) gives it
  std::string output; // what it printed to stdout
  double wall_ns = 0; // from its start to its end
  double cpu_ns = 0;  // of all its threads
};

// Runs a program, found as the shell would find it, to its end. What it says on stderr is shown if `loud`.
Ended run_command(std::vector<std::string> command, bool loud = true);

// The same; ends this program if that one fails.
Ended run_peer(std::vector<std::string> command);

} // namespace bwbench
