#include "runner/pipeline/script_reach.hpp"

#include <algorithm>
#include <system_error>

namespace runner::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLinks = 40;  // as the kernel

fs::path real(const fs::path& path) {
  std::error_code error;
  fs::path found = fs::weakly_canonical(path, error);
  return error ? path.lexically_normal() : found;
}

bool lies_in(const fs::path& path, const fs::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first == directory.end();
}

}  // namespace

bool leads_through(const fs::path& path, const std::vector<fs::path>& writable) {
  std::vector<fs::path> roots;
  for (const fs::path& one : writable) roots.push_back(real(one));
  const auto in_one = [&](const fs::path& place, bool or_is_it) {
    return std::any_of(roots.begin(), roots.end(),
                       [&](const fs::path& root) { return lies_in(place, root) && (or_is_it || place != root); });
  };
  // Component by component, links replaced by what they name, as the kernel goes.
  fs::path at = "/";
  std::vector<fs::path> left(path.begin(), path.end());
  std::reverse(left.begin(), left.end());
  for (int links = 0; !left.empty();) {
    const fs::path name = left.back();
    left.pop_back();
    if (name.empty() || name == "." || name == "/") continue;
    if (name == "..") {
      at = at.parent_path();
      continue;
    }
    if (in_one(at, true)) return true;  // `name` is looked up in a directory that can be written to
    const fs::path next = at / name;
    std::error_code error;
    if (!fs::is_symlink(fs::symlink_status(next, error))) {
      at = next;
      continue;
    }
    const fs::path target = fs::read_symlink(next, error);
    if (error || ++links > kMaxLinks) return true;
    const std::vector<fs::path> parts(target.begin(), target.end());
    left.insert(left.end(), parts.rbegin(), parts.rend());
    if (target.is_absolute()) at = "/";
  }
  return in_one(at, false);
}

}  // namespace runner::pipeline
