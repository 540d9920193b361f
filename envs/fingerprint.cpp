#include "envs/fingerprint.hpp"

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "envs/digest.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

template <class Wanted>
void add_names(std::vector<std::string>& names, const fs::path& directory, const std::string& label,
               const Wanted& wanted) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored))
    if (wanted(entry.path())) names.push_back(label + "/" + entry.path().filename().string());
}

}  // namespace

Hash fingerprint_of(const fs::path& prefix) {
  std::vector<std::string> names;
  add_names(names, prefix / "conda-meta", "conda-meta",
            [](const fs::path& path) { return path.extension() == ".json"; });
  std::error_code ignored;
  for (const auto& library : fs::directory_iterator(prefix / "lib", ignored)) {
    const std::string name = library.path().filename();
    if (name.starts_with("python") || name.starts_with("pypy"))
      add_names(names, library.path() / "site-packages", name, [](const fs::path& path) {
        return path.extension() == ".dist-info" || path.extension() == ".egg-info" || path.extension() == ".pth";
      });
  }
  std::sort(names.begin(), names.end());
  std::string text = "fingerprint 1\n";
  for (const std::string& name : names) text += name + "\n";
  return digest_of(std::string_view(text));
}

Lock lock_of(const Interpreter& interpreter) {
  Lock lock{.python_version = interpreter.version, .image = {}, .packages = {}};
  for (const Distribution& one : interpreter.distributions)
    lock.packages.push_back({.manager = "pip", .name = one.name, .version = one.version});
  std::sort(lock.packages.begin(), lock.packages.end(), [](const LockedPackage& a, const LockedPackage& b) {
    return std::tie(a.manager, a.name) < std::tie(b.manager, b.name);
  });
  return lock;
}

}  // namespace runner::envs
