// Runconfig files: Azure ML v1's YAML (so JSON, too) with the keys this version honours. Any thread; reads files only.
//
// What a file says is taken, refused or reported, never dropped in silence:
//   - a key this version acts on is read;
//   - a known key that cannot be honoured (a cloud target, several nodes) is an error, unless its value is the
//   documented default, which generated files spell out in full;
//   - a known key without effect here (amlcompute, hdi, spark settings, which count only with targets and frameworks
//     that are refused; everything about Docker while it is switched off) is accepted;
//   - an unknown key is a warning naming file and line.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/api/docker_arguments.hpp"

namespace runner::api {

// Docker is switched on: docker.useDocker, or in the older spelling environment.docker.enabled.
struct RunconfigDocker {
  std::string switch_at;      // "x.runconfig:3: 'docker.useDocker: true'", for messages
  std::string image;          // with the registry's address; empty: none is named, so somebody else must
  std::string dockerfile;     // absolute path, or the text if it has more than one line; empty: none
  std::string interpreter;    // the Python in the image, as written; empty: to be chosen
  std::string arguments_at;   // "x.runconfig:5: 'docker.arguments'", for messages about mounts
  DockerArguments arguments;  // shmSize included
};

// A conda environment that a runconfig asks for: a file, or what stands in the runconfig itself.
struct RunconfigConda {
  std::filesystem::path file;  // absolute; empty: `text`
  std::string text;            // YAML
  std::string at;              // "x.runconfig:7: 'environment.python.condaDependencies'", for messages
};

struct Runconfig {
  std::filesystem::path file;                         // where it was found
  std::optional<std::string> script;                  // relative to the source directory
  std::optional<std::vector<std::string>> arguments;  // of the script
  std::optional<std::vector<std::string>> command;    // exact argument vector; a command line became sh -c LINE
  std::optional<std::chrono::milliseconds> max_run_duration;
  // On this machine, so absent with Docker; absent for Azure's default, "python", too. A relative path is made
  // absolute.
  std::optional<std::string> interpreter_path;
  std::optional<RunconfigDocker> docker;  // absent: switched off
  std::optional<RunconfigConda> conda;    // absent with userManagedDependencies
  std::string environment_name;           // of a registered one, when nothing else says what the environment is
  std::string environment_version;
  // Of the run; they win over those of the environment, merged here.
  std::map<std::string, std::string> environment_variables;
  std::vector<std::string> warnings;  // ".runner/x.runconfig:3: unknown key 'foo'"
};

// Looks for `.runner/NAME.runconfig`, `.runner/NAME`, the same in `.azureml/`, then NAME as a path relative to the
// source directory or absolute. Error(kInvalid) naming file, line and key; if there is no such file, with the names
// there are.
Runconfig load_runconfig(const std::filesystem::path& source_directory, const std::string& name);

// The grammar alone. `label` stands for the file in messages.
Runconfig parse_runconfig(std::string_view text, const std::string& label,
                          const std::filesystem::path& source_directory);

}  // namespace runner::api
