#include "envs/site_packages.hpp"

#include <sstream>

#include "envs/specification_files.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;

void add_from(const fs::path& site, std::map<std::string, InstalledDistribution>& found) {
  constexpr std::string_view kEnding = ".dist-info";
  std::error_code ignored;
  for (fs::directory_iterator entry(site, ignored), end; entry != end; entry.increment(ignored)) {
    const std::string name = entry->path().filename();
    const auto dash = name.find('-');
    if (!name.ends_with(kEnding) || dash == std::string::npos || dash + 1 + kEnding.size() > name.size()) continue;
    found.emplace(normalised_name(name.substr(0, dash)),
                  InstalledDistribution{.version = name.substr(dash + 1, name.size() - kEnding.size() - dash - 1),
                                        .directory = entry->path()});
  }
}

}  // namespace

std::map<std::string, InstalledDistribution> installed_distributions(const fs::path& prefix) {
  std::map<std::string, InstalledDistribution> found;
  std::error_code ignored;
  for (const char* lib : {"lib", "lib64"})
    for (fs::directory_iterator entry(prefix / lib, ignored), end; entry != end; entry.increment(ignored))
      if (const std::string name = entry->path().filename(); name.starts_with("python") || name.starts_with("pypy"))
        add_from(entry->path() / "site-packages", found);
  return found;
}

std::set<std::string> wheel_tags(const InstalledDistribution& distribution) {
  constexpr std::string_view kTag = "Tag: ";
  std::istringstream lines(os::read_file_if_exists(distribution.directory / "WHEEL", kMaxBytes).value_or(""));
  std::set<std::string> tags;
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.starts_with(kTag)) tags.insert(line.substr(kTag.size()));
  }
  return tags;
}

}  // namespace runner::envs
