// Bodies of the requests about runs that are there: what may change of them, their children, their end, their files,
// and interactive runs. Every parser throws Error(kInvalid) naming the member for malformed JSON, a wrong type, an
// unknown or a missing member, and for what is beyond the bounds of core/run_bounds.hpp.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/run.hpp"

namespace runner::api {

inline constexpr std::size_t kMaxChildren = 10'000;  // of one request

// Lower-case, as RFC 9562 writes it: what clients name children and interactive runs by.
bool is_uuid4(std::string_view text);
std::string new_uuid4();

using Tags = std::map<std::string, std::optional<std::string>>;
using Properties = std::map<std::string, std::string>;

// PATCH /v1/runs/{run}
struct RunPatch {
  std::optional<std::string> name{};
  Tags tags{};
  std::vector<std::string> remove_tags{};
  Properties properties{};
};
RunPatch parse_run_patch(std::string_view json);

// POST /v1/runs/{run}/children: one to kMaxChildren of them.
struct ChildRequest {
  std::string id;    // a new one, where none was given
  std::string name;  // empty: none was given
  Tags tags{};
  Properties properties{};
};
std::vector<ChildRequest> parse_children(std::string_view json);

// POST /v1/runs/{run}/end. An error that is too long is cut.
struct EndRequest {
  RunStatus status = RunStatus::kCompleted;  // a final one
  std::optional<RunError> error{};
};
EndRequest parse_end(std::string_view json);

// POST /v1/interactive
struct InteractiveRequest {
  std::optional<std::string> id{};
  std::string experiment;
  std::optional<std::string> name{};
  Tags tags{};
  Properties properties{};
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;  // field 22 of /proc/PID/stat
  std::optional<std::string> source_directory{};
  bool source_directory_explicit = false;
  std::optional<std::string> outputs{};  // absolute
};
InteractiveRequest parse_interactive(std::string_view json);

// POST /v1/runs/{run}/artifacts
struct UploadRequest {
  std::string name;
  std::string path;  // absolute
};
UploadRequest parse_upload(std::string_view json);

}  // namespace runner::api
