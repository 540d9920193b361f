// What the Engine's archive API tells of one path: the beginning of a tar stream. Hostile input: an image's content.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace runner::engine {

struct ArchivedPath {
  bool directory = false;
  bool holds_something = false;  // a directory with at least one entry
  std::string content;           // of a regular file
};
// Nothing if it is no tar archive. A stream that was cut short counts as far as it goes.
std::optional<ArchivedPath> read_archived_path(std::string_view tar);

}  // namespace runner::engine
