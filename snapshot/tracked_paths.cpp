#include "snapshot/tracked_paths.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "snapshot/wildmatch.hpp"

namespace runner::snapshot {

namespace {

std::string folded(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(fold(static_cast<std::uint8_t>(c)));
  return result;
}

}  // namespace

TrackedPaths::TrackedPaths(std::vector<char> bytes, std::vector<Path> paths, bool ignore_case)
    : bytes_(std::move(bytes)), paths_(std::move(paths)), ignore_case_(ignore_case) {
  if (ignore_case_) {
    folded_ = bytes_;
    for (char& c : folded_) c = static_cast<char>(fold(static_cast<std::uint8_t>(c)));
  }
  const auto in_order = [this](const Path& a, const Path& b) { return rest(a, {}) < rest(b, {}); };
  if (!std::is_sorted(paths_.begin(), paths_.end(), in_order)) std::sort(paths_.begin(), paths_.end(), in_order);
}

std::string_view TrackedPaths::rest(const Path& path, const Range& directory) const {
  const std::vector<char>& bytes = ignore_case_ ? folded_ : bytes_;
  return std::string_view(bytes.data() + path.at, path.length).substr(directory.offset);
}

std::size_t TrackedPaths::lower_bound(const Range& directory, std::string_view wanted) const {
  const auto first = paths_.begin() + static_cast<std::ptrdiff_t>(directory.first);
  const auto last = paths_.begin() + static_cast<std::ptrdiff_t>(directory.last);
  const auto found = std::lower_bound(
      first, last, wanted, [&](const Path& path, std::string_view text) { return rest(path, directory) < text; });
  return static_cast<std::size_t>(found - paths_.begin());
}

TrackedPaths::Kind TrackedPaths::find(const Range& directory, std::string_view name) const {
  if (directory.empty()) return Kind::kNone;
  if (ignore_case_) {
    const std::string wanted = folded(name);
    return kind_at(lower_bound(directory, wanted), directory, wanted);
  }
  return kind_at(lower_bound(directory, name), directory, name);
}

TrackedPaths::Kind TrackedPaths::kind_at(std::size_t at, const Range& directory, std::string_view wanted) const {
  if (at == directory.last || rest(paths_[at], directory) != wanted) return Kind::kNone;
  // With core.ignorecase several paths may be the same name; as a directory it is the repository.
  for (; at < directory.last && rest(paths_[at], directory) == wanted; ++at)
    if (paths_[at].repository) return Kind::kRepository;
  return Kind::kFile;
}

TrackedPaths::Range TrackedPaths::below(const Range& directory, std::string_view name) const {
  if (directory.empty()) return {};
  std::string wanted = ignore_case_ ? folded(name) : std::string(name);
  wanted += '/';
  Range range{.first = lower_bound(directory, wanted), .last = 0, .offset = directory.offset + wanted.size()};
  wanted.back() = '/' + 1;  // the first path that no longer starts with "name/"
  range.last = lower_bound(directory, wanted);
  return range;
}

std::vector<std::string> TrackedPaths::names(const Range& directory) const {
  std::vector<std::string> names;
  for (std::size_t at = directory.first; at < directory.last; ++at) {
    const std::string_view path =
        std::string_view(bytes_.data() + paths_[at].at, paths_[at].length).substr(directory.offset);
    const std::string_view name = path.substr(0, path.find('/'));
    if (names.empty() || names.back() != name) names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());  // "a", "a.b", "a/c": the two a's need not be neighbours
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace runner::snapshot
