#include "runner/cli/place.hpp"

#include <pwd.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>

#include "runner/core/error.hpp"
#include "runner/os/data_directory.hpp"

namespace runner::cli {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::filesystem::path default_home() {
  const std::filesystem::path base = variable("XDG_DATA_HOME");
  if (base.is_absolute()) return base / "runner";  // the XDG specification: relative ones are ignored
  std::filesystem::path home = variable("HOME");
  if (!home.is_absolute()) {
    const passwd* entry = ::getpwuid(::getuid());
    if (entry == nullptr || entry->pw_dir == nullptr || entry->pw_dir[0] != '/')
      throw Error(ErrorCode::kInvalid, "home: neither HOME nor the user database names one", "use --home DIR");
    home = entry->pw_dir;
  }
  return home / ".local" / "share" / "runner";
}

}  // namespace

Place place_of(const GlobalOptions& options) {
  Place place;
  const std::string home = options.home.empty() ? variable("RUNNER_HOME") : options.home;
  place.home = home.empty() ? default_home() : std::filesystem::absolute(home).lexically_normal();
  if (!place.home.has_filename()) place.home = place.home.parent_path();  // "dir/" is "dir"
  const std::string socket = options.socket.empty() ? variable("RUNNER_SOCKET") : options.socket;
  place.socket = socket.empty() ? os::DataDirectory(place.home).control_socket() : std::filesystem::absolute(socket);
  place.is_default = socket.empty() && (home.empty() || place.home == default_home());
  constexpr std::size_t kLimit = sizeof(sockaddr_un::sun_path) - 1;
  if (place.socket.native().size() > kLimit)
    throw Error(ErrorCode::kInvalid, "socket " + place.socket.string() + ": the path is longer than 107 bytes",
                "choose a shorter data directory (--home) or socket (--socket)");
  return place;
}

}  // namespace runner::cli
