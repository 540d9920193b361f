#include "envs/site_packages.hpp"

#include <nlohmann/json.hpp>
#include <sstream>

#include "envs/specification_files.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxRecord = std::size_t{64} << 20;

constexpr std::string_view kWheel = ".dist-info";
constexpr std::string_view kLegacy = ".egg-info";  // "NAME-VERSION-py3.8.egg-info", of `setup.py install`

void add_from(const fs::path& site, std::map<std::string, InstalledDistribution>& found) {
  std::error_code ignored;
  for (fs::directory_iterator entry(site, ignored), end; entry != end; entry.increment(ignored)) {
    std::string name = entry->path().filename();
    if (name.ends_with(kWheel))
      name.resize(name.size() - kWheel.size());
    else if (name.ends_with(kLegacy))
      name.resize(name.rfind("-py") < name.size() - kLegacy.size() ? name.rfind("-py") : name.size() - kLegacy.size());
    else
      continue;
    const auto dash = name.find('-');
    if (dash == std::string::npos) continue;
    found.emplace(normalised_name(name.substr(0, dash)),
                  InstalledDistribution{.version = name.substr(dash + 1), .directory = entry->path()});
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

void forget_credentials(const fs::path& prefix) {
  constexpr const char* kNote = "direct_url.json";
  for (const auto& [name, distribution] : installed_distributions(prefix)) {
    const auto text = os::read_file_if_exists(distribution.directory / kNote, kMaxBytes);
    if (!text) continue;
    auto note = nlohmann::json::parse(*text, nullptr, false);
    if (!note.is_object() || !note.contains("url") || !note["url"].is_string()) continue;
    const StrippedUrl stripped = without_credentials(note["url"].get<std::string>());
    if (!stripped.had_credentials) continue;
    note["url"] = stripped.url;
    os::publish_file(distribution.directory / kNote, note.dump(), os::Durability::kAtomic, 0644);
    // It is another file now: RECORD gives neither a hash nor a size for it.
    const std::string entry = distribution.directory.filename().string() + "/" + kNote + ",";
    std::istringstream record(os::read_file_if_exists(distribution.directory / "RECORD", kMaxRecord).value_or(""));
    std::string changed;
    for (std::string line; std::getline(record, line);)
      changed += (line.starts_with(entry) ? entry + "," : line) + "\n";
    if (!changed.empty()) os::publish_file(distribution.directory / "RECORD", changed, os::Durability::kAtomic, 0644);
  }
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
