// What is installed in a prefix, by its .dist-info directories. Private to this folder. Any thread.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>

namespace runner::envs {

struct InstalledDistribution {
  std::string version;
  std::filesystem::path directory;  // …/site-packages/NAME-VERSION.dist-info
};
// By normalised name. A prefix without a Python has none.
std::map<std::string, InstalledDistribution> installed_distributions(const std::filesystem::path& prefix);

// The tags of the wheel it was installed from ("py3-none-any"); none where nobody wrote them down.
std::set<std::string> wheel_tags(const InstalledDistribution& distribution);

// pip and uv note in the prefix, which every run can read, the whole URL of what was asked for by its URL: takes the
// credentials out.
void forget_credentials(const std::filesystem::path& prefix);

}  // namespace runner::envs
