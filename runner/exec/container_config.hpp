// The body of POST /containers/create for a run: pure, so that every promise of docs/security.md can be read and tested
// in one place.
#pragma once

#include <string>

#include "runner/exec/engine_containers.hpp"

namespace runner::exec {

// JSON text. Error(kInvalid) for arguments or variables that are not UTF-8.
std::string make_container_config(const EngineRun& run, const BundleHost& host, const engine::EngineFacts& facts);

// Labels ("K=V") by which the runner knows its containers: of one run, of all probes of a data directory.
std::vector<std::string> run_labels(const std::filesystem::path& home, const std::string& run_id);
std::vector<std::string> probe_labels(const std::filesystem::path& home);

}  // namespace runner::exec
