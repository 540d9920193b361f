#include "runner/engine/failure.hpp"

#include <grp.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string_view>

namespace runner::engine {
namespace {

constexpr std::size_t kMostWords = 2000;  // bytes; an Engine that answers with a page is no Engine

std::string on_one_line(std::string text) {
  if (text.size() > kMostWords) text = text.substr(0, kMostWords) + "…";
  for (char& c : text)
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::string group_of(const std::filesystem::path& socket) {
  struct ::stat info {};
  if (::stat(socket.c_str(), &info) != 0) return "docker";
  struct ::group entry {};
  struct ::group* found = nullptr;
  std::array<char, 4096> buffer{};
  if (::getgrgid_r(info.st_gid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) return "docker";
  return found->gr_name;
}

ErrorCode code_for(int status) {
  switch (status) {
    case 400:
      return ErrorCode::kInvalid;
    case 401:
    case 403:
      return ErrorCode::kPermission;
    case 404:
      return ErrorCode::kNotFound;
    case 409:
      return ErrorCode::kConflict;
    default:
      return ErrorCode::kUnavailable;
  }
}

bool has_any(const std::string& words, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return words.find(part) != std::string::npos; });
}

// What an Engine says when a registry wants other credentials, or any.
bool is_refusal(const std::string& words) {
  return has_any(words, {"unauthorized", "Unauthorized", "no basic auth credentials", "authentication required",
                         "incorrect username or password"});
}

}  // namespace

Error unreachable(const std::filesystem::path& socket, int os_error) {
  const std::string message = "container engine at " + socket.string() + ": " + std::strerror(os_error);
  if (os_error != EACCES && os_error != EPERM)
    return Error(ErrorCode::kUnavailable, message,
                 "start it (systemctl start docker), or name another one: DOCKER_HOST=unix:///path/to/docker.sock");
  const std::string group = group_of(socket);
  const std::string rootless = "or use a rootless engine (dockerd-rootless-setuptool.sh install)";
  if (group == "root") return Error(ErrorCode::kPermission, message, "only root may use it; run as root, " + rootless);
  return Error(ErrorCode::kPermission, message,
               "join its group: sudo usermod -aG " + group + " $USER, then log in anew; " + rootless);
}

std::string engine_words(const http::TransferResult& result) {
  const auto body = nlohmann::json::parse(result.body, nullptr, false);
  for (const char* key : {"message", "cause"})  // Docker's; Podman's own
    if (body.is_object() && body.contains(key) && body[key].is_string())
      return on_one_line(body[key].get<std::string>());
  return result.body.empty() ? "status " + std::to_string(result.status) : on_one_line(result.body);
}

Error failure(const std::filesystem::path& socket, const http::TransferResult& result, const std::string& attempted) {
  using Kind = http::TransferResult::Kind;
  const std::string engine = "container engine at " + socket.string();
  switch (result.kind) {
    case Kind::kUnreachable:
      return unreachable(socket, result.os_error).within(attempted);
    case Kind::kTimedOut:
      return Error(ErrorCode::kUnavailable, attempted + ": " + engine + " does not answer in time",
                   "see whether it hangs: `docker info`");
    case Kind::kBroken:
      return Error(ErrorCode::kUnavailable, attempted + ": the connection to the " + engine + " broke: " + result.words,
                   "it was stopped or died; start it and submit again");
    case Kind::kStopped:
      return Error(ErrorCode::kUnavailable, attempted + ": stopped");
    case Kind::kAnswered:
      break;
  }
  return Error(code_for(result.status), attempted + ": " + engine_words(result));
}

Error registry_failure(const std::string& attempted, const std::string& words, const std::string& registry,
                       ErrorCode otherwise) {
  const std::string said = on_one_line(words);
  const bool known = !registry.empty() && registry != "docker.io";
  const std::string login = known ? "docker login " + registry : "docker login";
  // Docker Hub's answer for a private image, and for a name that is nobody's.
  if (has_any(words, {"access denied", "access to the resource is denied"}))
    return Error(otherwise, attempted + ": " + said, "check the name; for a private image: " + login);
  if (is_refusal(words)) {
    return Error(ErrorCode::kPermission,
                 attempted + ": the registry " + (registry.empty() ? "" : registry + " ") + "refuses: " + said, login);
  }
  if (has_any(words, {"no space left on device", "disk quota exceeded"}))
    return Error(ErrorCode::kNoSpace, attempted + ": " + said, "docker system df; docker image prune");
  const bool unreachable = has_any(words, {"dial tcp", "net/http:", "no such host", "connection refused", "i/o timeout",
                                           "TLS handshake", "server gave HTTP response"});
  return Error(unreachable ? ErrorCode::kUnavailable : otherwise, attempted + ": " + said);
}

}  // namespace runner::engine
