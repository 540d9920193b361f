// Where this user's daemon lives: the data directory and the socket. Two homes never see each other.
#pragma once

#include <filesystem>

#include "runner/cli/options.hpp"

namespace runner::cli {

struct Place {
  std::filesystem::path home;    // absolute
  std::filesystem::path socket;  // absolute
  bool is_default = false;       // the user's own home and socket: the ones a systemd user unit serves
};

// --home / RUNNER_HOME / $XDG_DATA_HOME/runner / ~/.local/share/runner; --socket / RUNNER_SOCKET / HOME/control.sock.
// Error(kInvalid) when there is no home at all or the socket's path is over 107 bytes.
Place place_of(const GlobalOptions& options);

}  // namespace runner::cli
