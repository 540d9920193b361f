#include "runner/engine/endpoint.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "runner/core/error.hpp"
#include "runner/engine/failure.hpp"
#include "runner/os/fd.hpp"

namespace runner::engine {
namespace {

constexpr std::string_view kScheme = "unix://";

// 0 if somebody listens there, else the errno.
int try_connect(const std::filesystem::path& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.native().size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::memcpy(address.sun_path, socket.c_str(), socket.native().size());
  const os::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
}

}  // namespace

std::vector<std::filesystem::path> engine_sockets(const std::map<std::string, std::string>& caller_variables) {
  std::vector<std::filesystem::path> sockets{"/var/run/docker.sock"};
  const auto runtime = caller_variables.find("XDG_RUNTIME_DIR");
  if (runtime != caller_variables.end() && runtime->second.starts_with('/')) {
    sockets.push_back(std::filesystem::path(runtime->second) / "docker.sock");
    sockets.push_back(std::filesystem::path(runtime->second) / "podman" / "podman.sock");
  }
  sockets.emplace_back("/run/podman/podman.sock");
  return sockets;
}

std::filesystem::path find_engine(const std::map<std::string, std::string>& caller_variables) {
  if (const auto host = caller_variables.find("DOCKER_HOST"); host != caller_variables.end() && !host->second.empty()) {
    const std::string& address = host->second;
    if (!address.starts_with(kScheme) || address.size() == kScheme.size() || address[kScheme.size()] != '/')
      throw Error(ErrorCode::kInvalid, "DOCKER_HOST=" + address + ": only an engine of this machine can be used",
                  "set it to unix:///path/to/its.sock, or unset it");
    std::filesystem::path socket = address.substr(kScheme.size());
    if (const int error = try_connect(socket)) throw unreachable(socket, error);
    return socket;
  }
  std::optional<Error> forbidden;
  std::string tried;
  for (const std::filesystem::path& socket : engine_sockets(caller_variables)) {
    const int error = try_connect(socket);
    if (error == 0) return socket;
    if (error == EACCES && !forbidden) forbidden = unreachable(socket, error);
    tried += (tried.empty() ? "" : ", ") + socket.string();
  }
  if (forbidden) throw *forbidden;
  throw Error(ErrorCode::kUnavailable, "no container engine answers: nothing listens at " + tried,
              "install and start one (apt install docker.io; systemctl start docker), or name its socket: "
              "DOCKER_HOST=unix:///path/to/docker.sock");
}

}  // namespace runner::engine
