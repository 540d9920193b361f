// What conda wrote about the packages of a prefix: conda-meta/NAME-VERSION-BUILD.json, one a package.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "envs/conda_channel.hpp"
#include "envs/conda_prefix.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::string text(const json& record, const char* key) {
  const auto found = record.find(key);
  return found != record.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Some clients write the channel with the platform behind it.
std::string without_platform(std::string channel) {
  constexpr std::array<std::string_view, 3> kPlatforms{"/noarch", "/linux-64", "/linux-aarch64"};
  for (const auto platform : kPlatforms)
    if (channel.ends_with(platform)) channel.resize(channel.size() - platform.size());
  while (channel.ends_with('/')) channel.pop_back();
  return channel;
}

LockedPackage package_of(const json& record) {
  LockedPackage package{.manager = "conda",
                        .name = record.at("name").get<std::string>(),
                        .version = record.at("version").get<std::string>(),
                        .build = text(record, "build"),
                        .channel = without_channel_credentials(without_platform(text(record, "channel"))).url,
                        .url = without_channel_credentials(text(record, "url")).url};
  for (const char* kind : {"sha256", "md5"})
    if (const std::string hash = text(record, kind); package.hash.empty() && !hash.empty())
      package.hash = std::string(kind) + ":" + hash;
  return package;
}

}  // namespace

std::vector<LockedPackage> conda_packages(const fs::path& prefix) {
  std::vector<LockedPackage> packages;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(prefix / "conda-meta", error)) {
    if (entry.path().extension() != ".json") continue;
    try {
      packages.push_back(package_of(json::parse(os::read_file(entry.path()))));
    } catch (const json::exception&) {
      throw Error(ErrorCode::kInvalid, entry.path().string() + ": no record of a conda package");
    }
  }
  std::sort(packages.begin(), packages.end(),
            [](const LockedPackage& a, const LockedPackage& b) { return a.name < b.name; });
  return packages;
}

}  // namespace runner::envs
