#include "envs/lock.hpp"

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "envs/digest.hpp"
#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

using nlohmann::json;

void set(json& object, const char* key, const std::string& value) {
  if (!value.empty()) object[key] = value;
}

std::string of(const LockedPackage& package) {
  return package.version + (package.build.empty() ? "" : " " + package.build);
}

}  // namespace

std::string to_json(const Lock& lock) {
  json document{{"packages", json::array()}};
  set(document, "pythonVersion", lock.python_version);
  set(document, "image", lock.image);
  for (const LockedPackage& package : lock.packages) {
    json item{{"manager", package.manager}, {"name", package.name}, {"version", package.version}};
    set(item, "build", package.build);
    set(item, "channel", package.channel);
    set(item, "url", package.url);
    set(item, "hash", package.hash);
    document["packages"].push_back(std::move(item));
  }
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

Lock lock_from_json(std::string_view text) {
  try {
    const json document = json::parse(text);
    Lock lock{
        .python_version = document.value("pythonVersion", ""), .image = document.value("image", ""), .packages = {}};
    for (const json& item : document.at("packages"))
      lock.packages.push_back({.manager = item.at("manager"),
                               .name = item.at("name"),
                               .version = item.at("version"),
                               .build = item.value("build", ""),
                               .channel = item.value("channel", ""),
                               .url = item.value("url", ""),
                               .hash = item.value("hash", "")});
    return lock;
  } catch (const json::exception& error) {
    throw Error(ErrorCode::kInternal, std::string("environment lock: ") + error.what());
  }
}

Hash digest_of(const Lock& lock) { return digest_of(std::string_view(to_json(lock))); }

std::vector<std::string> difference(const Lock& before, const Lock& after) {
  std::vector<std::string> lines;
  if (before.python_version != after.python_version)
    lines.push_back("Python: " + (before.python_version.empty() ? "none" : before.python_version) + " → " +
                    (after.python_version.empty() ? "none" : after.python_version));
  if (before.image != after.image) lines.push_back("image: " + before.image + " → " + after.image);
  using Key = std::pair<std::string, std::string>;  // name, manager
  std::map<Key, std::pair<const LockedPackage*, const LockedPackage*>> both;
  for (const LockedPackage& package : before.packages) both[{package.name, package.manager}].first = &package;
  for (const LockedPackage& package : after.packages) both[{package.name, package.manager}].second = &package;
  for (const auto& [key, pair] : both) {
    const auto& [left, right] = pair;
    const std::string manager = " (" + key.second + ")";
    if (left == nullptr)
      lines.push_back(key.first + ": added, " + of(*right) + manager);
    else if (right == nullptr)
      lines.push_back(key.first + ": gone, was " + of(*left) + manager);
    else if (of(*left) != of(*right))
      lines.push_back(key.first + ": " + of(*left) + " → " + of(*right) + manager);
    else if (left->hash != right->hash)
      lines.push_back(key.first + ": " + of(*left) + ", another file of the same version" + manager);
  }
  return lines;
}

}  // namespace runner::envs
