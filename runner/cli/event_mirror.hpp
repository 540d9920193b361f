// What TensorBoard reads of a run: the event files under its logs/, and those of its logged metrics. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "runner/cli/document.hpp"
#include "runner/cli/session.hpp"

namespace runner::cli {

// A file "logs/…/events.out.tfevents.…", by its name.
bool is_event_file(std::string_view name);

// Brings DIRECTORY/RUN up to date with the event files of the run: what has been added to one is added to its copy. How
// many there are.
std::size_t mirror_event_files(Session& session, const std::string& run, const std::filesystem::path& directory);

struct WrittenMetrics {
  std::filesystem::path file;
  std::int64_t metrics = 0, points = 0;  // of numbers: others are left out
};
// Writes DIRECTORY/RUN/events.out.tfevents.…: every number that was logged under its name, of rows under NAME/COLUMN;
// by its step, else by its place in the log. An older file of the kind is replaced. `run`: its document.
WrittenMetrics write_metric_events(Session& session, const Json& run, const std::filesystem::path& directory);

}  // namespace runner::cli
