#include "runner/exec/cdi.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::exec {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostBytes = 4 << 20;  // of one file; a machine with eight GPUs has 200 KB

Error wrong(const std::string& why) { return Error(ErrorCode::kInvalid, why); }

YAML::Node list_in(const YAML::Node& map, const char* key) {
  const YAML::Node list = map[key];
  if (list && !list.IsNull() && !list.IsSequence()) throw wrong(std::string(key) + " must be a list");
  return list;
}

std::string text_in(const YAML::Node& map, const char* key, const std::string& fallback) {
  const YAML::Node value = map[key];
  if (!value || value.IsNull()) return fallback;
  if (!value.IsScalar()) throw wrong(std::string(key) + " must be a string");
  return value.Scalar();
}

std::string path_in(const YAML::Node& map, const char* key, const std::string& fallback = {}) {
  const std::string path = text_in(map, key, fallback);
  if (!path.starts_with('/')) throw wrong(std::string(key) + " must be an absolute path");
  return fs::path(path).lexically_normal().string();
}

ContainerEdits edits_of(const YAML::Node& node) {
  ContainerEdits edits;
  if (!node || node.IsNull()) return edits;
  if (!node.IsMap()) throw wrong("containerEdits must be an object");
  for (const YAML::Node& item : list_in(node, "env")) {
    const std::string text = item.IsScalar() ? item.Scalar() : "";
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0) throw wrong("env must be a list of NAME=VALUE");
    edits.variables.insert_or_assign(text.substr(0, equals), text.substr(equals + 1));
  }
  for (const YAML::Node& item : list_in(node, "deviceNodes")) {
    if (!item.IsMap()) throw wrong("deviceNodes must be a list of objects");
    const std::string path = path_in(item, "path");
    if (!path.starts_with("/dev/")) throw wrong("deviceNodes: " + path + " is not below /dev");
    edits.nodes.push_back({.path = path, .host_path = path_in(item, "hostPath", path)});
  }
  for (const YAML::Node& item : list_in(node, "mounts")) {
    if (!item.IsMap()) throw wrong("mounts must be a list of objects");
    const std::string source = path_in(item, "hostPath");
    edits.mounts.push_back({.source = source, .target = path_in(item, "containerPath", source), .writable = false});
  }
  return edits;
}

// The text of a file that only its owner, who is root or the caller, can have written.
std::string read_trusted(const fs::path& file) {
  const os::Fd opened = os::open_file(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  struct ::stat info {};
  if (::fstat(opened.get(), &info) != 0 || !S_ISREG(info.st_mode)) throw wrong("not a regular file");
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) throw wrong("it is another user's");
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) throw wrong("others than its owner may write it");
  return os::read_file("/proc/self/fd/" + std::to_string(opened.get()), kMostBytes);  // the one that was looked at
}

// A device of the same name that is known already goes: files are read in the order of increasing weight.
void replace_known(std::vector<CdiSpec>& known, const CdiSpec& spec) {
  for (CdiSpec& other : known)
    if (other.kind == spec.kind)
      std::erase_if(other.devices, [&](const CdiDevice& device) {
        return std::any_of(spec.devices.begin(), spec.devices.end(),
                           [&](const CdiDevice& newer) { return newer.name == device.name; });
      });
}

}  // namespace

void add(ContainerEdits& to, const ContainerEdits& edits) {
  for (const auto& [name, value] : edits.variables) to.variables.insert_or_assign(name, value);
  for (const DeviceNode& node : edits.nodes)
    if (std::none_of(to.nodes.begin(), to.nodes.end(),
                     [&](const DeviceNode& other) { return other.path == node.path; }))
      to.nodes.push_back(node);
  for (const Mount& mount : edits.mounts)
    if (std::none_of(to.mounts.begin(), to.mounts.end(),
                     [&](const Mount& other) { return other.target == mount.target; }))
      to.mounts.push_back(mount);
}

CdiSpec parse_cdi(const std::string& text) {
  try {
    const YAML::Node root = YAML::Load(text);  // JSON is YAML
    if (!root.IsMap()) throw wrong("not an object");
    CdiSpec spec;
    if (text_in(root, "cdiVersion", "").empty()) throw wrong("cdiVersion is missing");
    spec.kind = text_in(root, "kind", "");
    if (const auto slash = spec.kind.find('/');
        slash == 0 || slash == std::string::npos || slash + 1 == spec.kind.size())
      throw wrong("kind must be vendor/class");
    spec.edits = edits_of(root["containerEdits"]);
    for (const YAML::Node& item : list_in(root, "devices")) {
      if (!item.IsMap()) throw wrong("devices must be a list of objects");
      CdiDevice device{.name = text_in(item, "name", ""), .edits = edits_of(item["containerEdits"])};
      if (device.name.empty()) throw wrong("a device has no name");
      spec.devices.push_back(std::move(device));
    }
    return spec;
  } catch (const YAML::Exception& error) {
    throw wrong("line " + std::to_string(error.mark.line + 1) + ": " + error.msg);
  }
}

std::vector<CdiSpec> read_cdi_directories(const std::vector<fs::path>& directories,
                                          std::vector<std::string>& problems) {
  std::vector<CdiSpec> specs;
  for (const fs::path& directory : directories) {
    std::vector<fs::path> files;
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator(directory, failed)) {
      const std::string suffix = entry.path().extension();
      if (suffix == ".json" || suffix == ".yaml" || suffix == ".yml") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) {
      try {
        CdiSpec spec = parse_cdi(read_trusted(file));
        replace_known(specs, spec);
        specs.push_back(std::move(spec));
      } catch (const Error& error) {
        problems.push_back(file.string() + " is left out: " + error.message());
      }
    }
  }
  return specs;
}

}  // namespace runner::exec
