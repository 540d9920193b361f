// Values of secrets: found when a run is submitted, handed on, stored nowhere. No value is ever part of a message.
//
// The file, $XDG_CONFIG_HOME/runner/secrets.toml:
//   NAME = "value"        # nothing but such lines
// It counts only as a regular file that belongs to the daemon's user and that nobody else may touch (mode 0600).
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace runner::pipeline {

inline constexpr std::size_t kMostSecretBytes = 64 * 1024;  // of one value

std::filesystem::path default_secrets_file();

// Name → value for each of `names`: the file wins over `offered`, what the caller's variables hold. The file is opened
// only when there are names; it may be missing. Error(kPermission) for a file others may read, Error(kInvalid) for a
// malformed one, for a name found nowhere and for a value that is too long.
std::map<std::string, std::string> find_secrets(const std::vector<std::string>& names,
                                                const std::map<std::string, std::string>& offered,
                                                const std::filesystem::path& file);

}  // namespace runner::pipeline
