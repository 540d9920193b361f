// The paths of a git index, sorted, looked up a directory at a time. Immutable after construction: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace runner::snapshot {

class TrackedPaths {
 public:
  // A path of the index, relative to the work tree: a stretch of the bytes given with it.
  struct Path {
    std::uint32_t at = 0;
    std::uint32_t length = 0;
    bool repository = false;  // a submodule ("gitlink")
  };
  // Everything below one directory is one stretch of the sorted list.
  struct Range {
    std::size_t first = 0;
    std::size_t last = 0;    // behind the last
    std::size_t offset = 0;  // length of the directory's path with its '/'
    bool empty() const { return first == last; }
  };
  enum class Kind { kNone, kFile, kRepository };

  TrackedPaths() = default;
  // In any order. With `ignore_case` a file whose name differs from a tracked one in letter case only is that tracked
  // file.
  TrackedPaths(std::vector<char> bytes, std::vector<Path> paths, bool ignore_case);

  Range all() const { return {.first = 0, .last = paths_.size(), .offset = 0}; }
  Kind find(const Range& directory, std::string_view name) const;
  Range below(const Range& directory, std::string_view name) const;
  std::vector<std::string> names(const Range& directory) const;  // of the directory's entries, each once, sorted

 private:
  std::size_t lower_bound(const Range& directory, std::string_view wanted) const;
  Kind kind_at(std::size_t at, const Range& directory, std::string_view wanted) const;
  std::string_view rest(const Path& path, const Range& directory) const;  // of what is compared, below the directory

  std::vector<char> bytes_;
  std::vector<char> folded_;  // with core.ignorecase: what is compared, at the same places
  std::vector<Path> paths_;
  bool ignore_case_ = false;
};

}  // namespace runner::snapshot
