#include "runner/engine/registry_credentials.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "runner/core/error.hpp"
#include "runner/engine/answers.hpp"
#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

namespace runner::engine {
namespace {

using nlohmann::json;

constexpr const char* kHub = "docker.io";
constexpr const char* kHubKey = "https://index.docker.io/v1/";
constexpr std::size_t kMostConfiguration = 4 << 20;  // bytes
constexpr std::size_t kMostHelped = 1 << 20;         // bytes of a helper's answer

// Base64 with '-' and '_', padded: RFC 4648, section 5, as Go's base64.URLEncoding.
std::string base64url(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j) text += i + j > bytes.size() ? '=' : kDigits[group >> (18 - 6 * j) & 63U];
  }
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  std::string bytes;
  unsigned group = 0;
  int bits = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    unsigned digit = 0;
    if (c >= 'A' && c <= 'Z')
      digit = static_cast<unsigned>(c - 'A');
    else if (c >= 'a' && c <= 'z')
      digit = static_cast<unsigned>(c - 'a') + 26;
    else if (c >= '0' && c <= '9')
      digit = static_cast<unsigned>(c - '0') + 52;
    else if (c == '+' || c == '-')
      digit = 62;
    else if (c == '/' || c == '_')
      digit = 63;
    else
      return std::nullopt;
    group = (group << 6 | digit) & 0xffffU;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(group >> bits & 0xffU);
  }
  return bytes;
}

std::string value_of(const std::map<std::string, std::string>& variables, const char* name) {
  const auto at = variables.find(name);
  return at == variables.end() ? std::string() : at->second;
}

// "https://host/v1/" → "host": how registries were written down in early days.
std::string host_of_key(std::string_view key) {
  for (const std::string_view scheme : {"https://", "http://"})
    if (key.starts_with(scheme)) key.remove_prefix(scheme.size());
  return std::string(key.substr(0, key.find('/')));
}

std::string key_of(const std::string& host) { return host == kHub ? kHubKey : host; }

bool is_helper_name(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
}

os::Fd as_file(const std::string& text) {
  os::Fd fd(::memfd_create("registry", MFD_CLOEXEC));
  if (!fd) throw errno_error(errno, "memfd_create");
  os::write_all(fd.get(), text, "a credential helper's question");
  ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

}  // namespace

std::string registry_of(const std::string& reference) {
  const auto slash = reference.find('/');
  if (slash == std::string::npos) return kHub;
  const std::string first = reference.substr(0, slash);
  if (first == "index.docker.io" || first == kHub) return kHub;
  const bool host = first == "localhost" || first.find_first_of(".:") != std::string::npos;
  return host ? first : kHub;
}

RegistryCredentials::RegistryCredentials(std::map<std::string, std::string> caller_variables)
    : variables_(std::move(caller_variables)) {
  read_configuration();
}

void RegistryCredentials::read_configuration() {
  std::string directory = value_of(variables_, "DOCKER_CONFIG");
  if (directory.empty() && value_of(variables_, "HOME").empty()) return;
  if (directory.empty()) directory = value_of(variables_, "HOME") + "/.docker";
  const std::filesystem::path file = std::filesystem::path(directory) / "config.json";
  json body;
  try {
    const auto text = os::read_file_if_exists(file, kMostConfiguration);
    if (!text) return;
    body = json::parse(*text, nullptr, false);
  } catch (const Error& error) {
    warnings_.push_back(error.message());
    return;
  }
  if (!body.is_object()) {
    warnings_.push_back(file.string() + ": it is no JSON; registries are asked without a login");
    return;
  }
  store_ = text_at(body, "credsStore");
  if (const auto helpers = body.find("credHelpers"); helpers != body.end() && helpers->is_object())
    for (const auto& [key, name] : helpers->items())
      if (name.is_string()) helpers_[key] = name.get<std::string>();
  const auto auths = body.find("auths");
  if (auths == body.end() || !auths->is_object()) return;
  for (const auto& [key, entry] : auths->items()) {
    Login login{.user = text_at(entry, "username"),
                .password = text_at(entry, "password"),
                .identity_token = text_at(entry, "identitytoken"),
                .registry_token = text_at(entry, "registrytoken")};
    if (const std::string encoded = text_at(entry, "auth"); !encoded.empty()) {
      const auto decoded = from_base64(encoded);
      const auto colon = decoded ? decoded->find(':') : std::string::npos;
      if (colon == std::string::npos) {
        warnings_.push_back(file.string() + ": the login for " + key + " cannot be read");
        continue;
      }
      login.user = decoded->substr(0, colon);
      login.password = decoded->substr(colon + 1);
      while (login.password.ends_with('\0')) login.password.pop_back();
    }
    logins_[key] = std::move(login);
  }
}

std::string RegistryCredentials::helper_for(const std::string& key) const {
  for (const std::string& candidate : {key, key == kHubKey ? std::string(kHub) : key})
    if (const auto at = helpers_.find(candidate); at != helpers_.end()) return at->second;
  return store_;
}

RegistryCredentials::Login RegistryCredentials::from_file(const std::string& host) const {
  if (const auto at = logins_.find(key_of(host)); at != logins_.end()) return at->second;
  for (const auto& [key, login] : logins_) {
    const std::string written = host_of_key(key);
    if (written == host || (host == kHub && written == "index.docker.io")) return login;
  }
  return {};
}

RegistryCredentials::Login RegistryCredentials::from_helper(const std::string& name, const std::string& key) {
  const std::string program = "docker-credential-" + name;
  const auto path = is_helper_name(name) ? os::find_program(program, value_of(variables_, "PATH")) : std::nullopt;
  if (!path) {
    warnings_.push_back(program + ": not found on PATH");
    return {};
  }
  const os::Fd question = as_file(key);
  os::SpawnRequest request{.arguments = {path->string(), "get"}, .descriptors = {{question.get(), 0}}};
  for (const auto& [variable, value] : variables_) request.environment.push_back(variable + "=" + value);
  try {
    const os::Captured helped = os::capture(request, kHelperLimit, kMostHelped);
    if (helped.exit_code != 0) {
      // That nobody is logged in there is no trouble; the helper says so on standard output.
      if (helped.out.find("credentials not found") == std::string::npos)
        warnings_.push_back(program + ": it ended with status " + std::to_string(helped.exit_code));
      return {};
    }
    const json body = json::parse(helped.out, nullptr, false);
    Login login{.user = text_at(body, "Username"),
                .password = text_at(body, "Secret"),
                .identity_token = {},
                .registry_token = {}};
    if (login.user == "<token>")
      login = {.user = {}, .password = {}, .identity_token = login.password, .registry_token = {}};
    return login;
  } catch (const Error&) {
    warnings_.push_back(program + ": it did not answer within " + std::to_string(kHelperLimit.count()) + " s");
    return {};
  }
}

RegistryCredentials::Login RegistryCredentials::login_for(const std::string& host) {
  const std::string key = key_of(host);
  Login login;
  if (const std::string helper = helper_for(key); !helper.empty()) login = from_helper(helper, key);
  if (login.empty()) login = from_file(host);
  for (const std::string& secret : {login.password, login.identity_token, login.registry_token})
    if (!secret.empty()) secrets_.push_back(secret);
  return login;
}

namespace {

json as_json(const std::string& host, const std::string& user, const std::string& password,
             const std::string& identity_token, const std::string& registry_token) {
  json body{{"serveraddress", key_of(host)}};
  if (!user.empty()) body["username"] = user;
  if (!password.empty()) body["password"] = password;
  if (!identity_token.empty()) body["identitytoken"] = identity_token;
  if (!registry_token.empty()) body["registrytoken"] = registry_token;
  return body;
}

std::string header_of(const json& body) { return base64url(body.dump(-1, ' ', false, json::error_handler_t::replace)); }

}  // namespace

std::string RegistryCredentials::auth_for(const std::string& reference) {
  const std::string host = registry_of(reference);
  const Login login = login_for(host);
  if (login.empty()) return "";
  return header_of(as_json(host, login.user, login.password, login.identity_token, login.registry_token));
}

std::string RegistryCredentials::config_for(const std::vector<std::string>& references) {
  json body = json::object();
  for (const std::string& reference : references) {
    const std::string host = registry_of(reference);
    if (body.contains(key_of(host))) continue;
    const Login login = login_for(host);
    if (!login.empty())
      body[key_of(host)] = as_json(host, login.user, login.password, login.identity_token, login.registry_token);
  }
  return body.empty() ? "" : header_of(body);
}

}  // namespace runner::engine
