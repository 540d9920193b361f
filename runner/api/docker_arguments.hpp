// docker.arguments of a runconfig: words of `docker run`, as Azure ML takes them. Pure; any thread.
//
// Every option of `docker run` is known by name and is one of three:
//   - taken: it becomes a setting of the run (limits, variables, mounts) or of its container (EngineOptions);
//   - accepted: true of every run anyway (--rm, --init);
//   - refused: it would undo the isolation, belongs to the runner, or would promise what does not happen. Among them
//   -i,
//     -t and -d: a run's standard input is empty, it has no terminal, and following it is the command line's business,
//     so accepting them would be a lie.
// Options of `docker build` are refused as such, unknown ones with what was probably meant. Nothing is dropped in
// silence.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runner/core/run.hpp"

namespace runner::api {

struct DockerArguments {
  EngineOptions engine;         // network is empty for --network none
  std::optional<bool> network;  // false: --network none; true: any other --network
  std::optional<std::int64_t> memory_bytes;
  std::optional<double> cpus;
  std::string gpus;  // "all", "2", "device=0,1"; empty: not given
  std::optional<std::int64_t> pids;
  std::optional<std::int64_t> shm_bytes;
  std::map<std::string, std::string> environment_variables;
  std::vector<std::string>
      mounts;  // "SRC:DST:ro" or "SRC:DST:rw", always with the mode: without one, docker's -v writes
};

// `label` stands before every message: ".runner/x.runconfig:12: docker.arguments". Error(kInvalid) naming the option
// and the way out. The last of a repeated single-valued option counts, as in docker.
DockerArguments parse_docker_arguments(std::span<const std::string> words, const std::string& label);

}  // namespace runner::api
