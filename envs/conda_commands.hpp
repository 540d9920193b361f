// How each conda client is told to make a prefix: arguments, variables and files. Private to this folder. Any thread;
// the only I/O is the files it writes.
//
// Credentials are in files of mode 0600, never among the arguments: those can be seen by everybody.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "envs/build_console.hpp"
#include "envs/conda_client.hpp"
#include "envs/lock.hpp"

namespace runner::envs {

struct CondaCommand {
  CondaClient client;
  std::filesystem::path prefix;
  std::filesystem::path cache;        // of packages and channels' indices; ours alone
  std::filesystem::path scratch;      // where its files go
  std::vector<std::string> channels;  // as in the specification
  std::vector<std::string> specs;
  std::vector<LockedPackage> packages{};                  // not empty: exactly these, and `specs` do not count
  std::map<std::string, std::string> credentials{};       // URL → the same with its credentials
  std::map<std::string, std::string> virtual_packages{};  // CondaPrefixOptions
  std::map<std::string, std::string> variables{};         // tool_variables()
  bool link_scripts = true;
  bool offline = false;  // nothing is fetched
};

Tool conda_tool(const CondaCommand& command);

}  // namespace runner::envs
