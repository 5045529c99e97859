#include "command.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "common.h"

namespace bwbench {

Ended run_command(std::vector<std::string> command, bool loud) {
  int ends[2];
  require(pipe(ends) == 0, "pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  if (!loud) posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::vector<char *> arguments;
  for (std::string &word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  const auto began = std::chrono::steady_clock::now();
  pid_t child = 0;
  require(posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ) == 0, "cannot start a peer");
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);

  Ended ended;
  char part[4096];
  for (ssize_t got; (got = read(ends[0], part, sizeof part)) > 0;) {
    ended.output.append(part, static_cast<std::size_t>(got));
  }
  close(ends[0]);
  struct rusage used;
  require(wait4(child, &ended.status, 0, &used) == child, "wait4");
  ended.wall_ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - began).count();
  ended.cpu_ns = cpu_ns(used);
  errno = 0; // what the caller finds wrong with the output is no error of the system
  return ended;
}

Ended run_peer(std::vector<std::string> command) {
  Ended ended = run_command(std::move(command));
  require(ended.status == 0, "a peer has failed");
  return ended;
}

} // namespace bwbench
