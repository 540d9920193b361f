#include "snapshot/tracked_paths.hpp"

#include <algorithm>
#include <utility>

namespace runner::snapshot {

TrackedPaths::TrackedPaths(std::vector<Path> paths) : paths_(std::move(paths)) {
  const auto by_path = [](const Path& a, const Path& b) { return a.path < b.path; };
  if (!std::is_sorted(paths_.begin(), paths_.end(), by_path)) std::sort(paths_.begin(), paths_.end(), by_path);
}

std::size_t TrackedPaths::lower_bound(const Range& directory, std::string_view rest) const {
  const auto first = paths_.begin() + static_cast<std::ptrdiff_t>(directory.first);
  const auto last = paths_.begin() + static_cast<std::ptrdiff_t>(directory.last);
  const auto found = std::lower_bound(first, last, rest, [&](const Path& path, std::string_view wanted) {
    return std::string_view(path.path).substr(directory.offset) < wanted;
  });
  return static_cast<std::size_t>(found - paths_.begin());
}

TrackedPaths::Kind TrackedPaths::find(const Range& directory, std::string_view name) const {
  if (directory.empty()) return Kind::kNone;
  const std::size_t at = lower_bound(directory, name);
  if (at == directory.last || std::string_view(paths_[at].path).substr(directory.offset) != name) return Kind::kNone;
  return paths_[at].repository ? Kind::kRepository : Kind::kFile;
}

TrackedPaths::Range TrackedPaths::below(const Range& directory, std::string_view name) const {
  if (directory.empty()) return {};
  std::string rest(name);
  rest += '/';
  Range range{.first = lower_bound(directory, rest), .last = 0, .offset = directory.offset + rest.size()};
  rest.back() = '/' + 1;  // the first path that no longer starts with "name/"
  range.last = lower_bound(directory, rest);
  return range;
}

std::vector<std::string> TrackedPaths::names(const Range& directory) const {
  std::vector<std::string> names;
  for (std::size_t at = directory.first; at < directory.last; ++at) {
    const std::string_view rest = std::string_view(paths_[at].path).substr(directory.offset);
    const std::string_view name = rest.substr(0, rest.find('/'));
    if (names.empty() || names.back() != name) names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());  // "a", "a.b", "a/c": the two a's need not be neighbours
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace runner::snapshot
