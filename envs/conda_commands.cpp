#include "envs/conda_commands.hpp"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string_view>

#include "embedded/rattler_client.hpp"
#include "envs/conda_channel.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

fs::path write(const CondaCommand& command, const std::string& name, std::string_view content) {
  const fs::path file = command.scratch / name;
  os::publish_file(file, content, os::Durability::kAtomic);
  return file;
}

std::vector<std::string> all_with_credentials(std::vector<std::string> urls, const CondaCommand& command) {
  for (std::string& url : urls) url = with_credentials(url, command.credentials);
  return urls;
}

// An environment file; JSON is YAML. `nodefaults` keeps the channels of the user's .condarc out.
fs::path environment_file(const CondaCommand& command) {
  auto channels = all_with_credentials(effective_channels(command.channels), command);
  channels.push_back("nodefaults");
  auto specs = command.specs;
  for (std::string& spec : specs)
    spec = with_changed_urls(spec, [&](const std::string& url) { return with_credentials(url, command.credentials); });
  const json file{{"channels", channels}, {"dependencies", specs}};
  return write(command, "environment.yml", file.dump(1) + "\n");
}

fs::path explicit_file(const CondaCommand& command) {
  std::string text = "@EXPLICIT\n";
  for (const LockedPackage& package : command.packages) {
    text += with_credentials(package.url, command.credentials);
    // "URL#MD5", and "URL#sha256:SHA256" of those who know it.
    if (package.hash.starts_with("md5:")) text += "#" + package.hash.substr(4);
    if (package.hash.starts_with("sha256:")) text += "#" + package.hash;
    text += "\n";
  }
  return write(command, "explicit.txt", text);
}

std::map<std::string, std::string> variables_of(const CondaCommand& command) {
  auto variables = command.variables;
  variables["CONDA_PKGS_DIRS"] = command.cache / "pkgs";
  variables["RATTLER_CACHE_DIR"] = command.cache;
  variables["CONDA_ALWAYS_YES"] = "true";
  variables["CONDA_REGISTER_ENVS"] = "false";  // ~/.conda/environments.txt is the user's
  variables["MAMBA_NO_BANNER"] = "1";
  if (command.offline) variables["CONDA_OFFLINE"] = variables["MAMBA_OFFLINE"] = "true";
  for (const auto& [name, version] : command.virtual_packages) {
    std::string key = "CONDA_OVERRIDE_" + name;
    std::transform(key.begin(), key.end(), key.begin(),
                   [](char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); });
    variables[key] = version;
  }
  return variables;
}

Tool tool_of(const CondaCommand& command, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), command.client.program);
  return {.name = command.client.name.substr(0, command.client.name.find(' ')),
          .arguments = std::move(arguments),
          .variables = variables_of(command),
          .directory = command.scratch};
}

// micromamba, and mamba since 2.0, take both kinds of files; their root prefix is not touched.
Tool micromamba(const CondaCommand& command) {
  const fs::path file = command.packages.empty() ? environment_file(command) : explicit_file(command);
  Tool tool = tool_of(command, {"create", "--yes", "--prefix", command.prefix, "--file", file, "--override-channels"});
  if (command.client.flavour == CondaFlavour::kMicromamba) tool.variables["MAMBA_ROOT_PREFIX"] = command.cache / "root";
  if (command.offline) tool.arguments.push_back("--offline");
  return tool;
}

// An environment file is a thing of `conda env`, an explicit one of `conda create`.
Tool conda(const CondaCommand& command) {
  if (command.packages.empty())
    return tool_of(command, {"env", "create", "--prefix", command.prefix, "--file", environment_file(command)});
  std::vector<std::string> arguments{"create", "--yes", "--prefix", command.prefix, "--file", explicit_file(command)};
  if (command.offline) arguments.push_back("--offline");
  return tool_of(command, std::move(arguments));
}

// "https://user:password@host/…" and "https://host/t/TOKEN/…" as rattler's store of credentials has them.
json rattler_credentials(const CondaCommand& command) {
  json file = json::object();
  for (const auto& [url, secret] : command.credentials) {
    const auto host_begin = url.find("://");
    if (host_begin == std::string::npos) continue;
    const std::string host = url.substr(host_begin + 3, url.find('/', host_begin + 3) - host_begin - 3);
    const auto at = secret.rfind('@', secret.find('/', secret.find("://") + 3));
    if (const auto token = secret.find("/t/"); at == std::string::npos && token != std::string::npos) {
      file[host] = {{"CondaToken", secret.substr(token + 3, secret.find('/', token + 3) - token - 3)}};
    } else if (at != std::string::npos) {
      const std::string user_info = secret.substr(host_begin + 3, at - host_begin - 3);
      const auto colon = user_info.find(':');
      file[host] = {{"BasicHTTP",
                     {{"username", user_info.substr(0, colon)},
                      {"password", colon == std::string::npos ? "" : user_info.substr(colon + 1)}}}};
    }
  }
  return file;
}

Tool rattler(const CondaCommand& command) {
  std::vector<std::string> arguments{"create", "--target-prefix", command.prefix};
  for (const std::string& channel : effective_channels(command.channels)) {
    arguments.push_back("--channel");
    arguments.push_back(channel);
  }
  for (const auto& [name, version] : command.virtual_packages)
    if (!version.empty()) arguments.insert(arguments.end(), {"--virtual-package", "__" + name + "=" + version});
  if (!command.packages.empty()) arguments.push_back("--no-deps");
  if (command.offline) arguments.push_back("--offline");
  if (command.packages.empty())
    arguments.insert(arguments.end(), command.specs.begin(), command.specs.end());
  else
    for (const LockedPackage& package : command.packages) arguments.push_back(package.url);
  Tool tool = tool_of(command, std::move(arguments));
  if (!command.credentials.empty())
    tool.variables["RATTLER_AUTH_FILE"] = write(command, "credentials.json", rattler_credentials(command).dump());
  return tool;
}

Tool py_rattler(const CondaCommand& command) {
  json request{{"prefix", command.prefix},
               {"cache", command.cache},
               {"channels", effective_channels(command.channels)},
               {"credentials", command.credentials},
               {"virtual", command.virtual_packages},
               {"offline", command.offline},
               {"link_scripts", command.link_scripts}};
  if (command.packages.empty()) {
    request["specs"] = command.specs;
  } else {
    request["packages"] = json::array();
    for (const LockedPackage& package : command.packages) {
      json item{{"name", package.name}, {"version", package.version}, {"build", package.build}, {"url", package.url}};
      if (!package.channel.empty()) item["channel"] = package.channel;
      if (const auto colon = package.hash.find(':'); colon != std::string::npos)
        item[package.hash.substr(0, colon)] = package.hash.substr(colon + 1);
      request["packages"].push_back(std::move(item));
    }
  }
  const fs::path script = write(command, "rattler_client.py", embedded::rattler_client);
  return tool_of(command, {"-I", script, write(command, "request.json", request.dump(1))});
}

}  // namespace

Tool conda_tool(const CondaCommand& command) {
  switch (command.client.flavour) {
    case CondaFlavour::kMicromamba:
      return micromamba(command);
    case CondaFlavour::kMamba:
      return command.client.major >= 2 ? micromamba(command) : conda(command);
    case CondaFlavour::kConda:
      return conda(command);
    case CondaFlavour::kRattler:
      return rattler(command);
    case CondaFlavour::kPyRattler:
      return py_rattler(command);
  }
  throw Error(ErrorCode::kInternal, "a conda client of no known kind");
}

}  // namespace runner::envs
