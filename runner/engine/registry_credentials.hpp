// How the user is logged in to registries: what `docker login` has left, as the headers that an Engine wants. Read anew
// for every object, kept in memory only, and in no message. One thread; blocks while a credential helper runs, at most
// kHelperLimit.
//
// File: $DOCKER_CONFIG/config.json, else ~/.docker/config.json
//   {"auths": {HOST: {"auth": base64("user:password") | "username", "password", "identitytoken", "registrytoken"}},
//    "credHelpers": {HOST: NAME}, "credsStore": NAME}
// docker-credential-NAME get: HOST on standard input, {"ServerURL", "Username", "Secret"} on standard output.
// Docker Hub's HOST is "https://index.docker.io/v1/", for historical reasons.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace runner::engine {

class RegistryCredentials {
 public:
  static constexpr std::chrono::seconds kHelperLimit{20};

  // `caller_variables`: DOCKER_CONFIG, HOME, and for helpers all the rest. A configuration that cannot be read is a
  // warning, as with docker: a public registry does without.
  explicit RegistryCredentials(std::map<std::string, std::string> caller_variables);

  // X-Registry-Auth for the registry of an image's reference; empty: nobody is logged in there.
  std::string auth_for(const std::string& reference);
  // X-Registry-Config for the registries of all these; empty: nobody is logged in to any.
  std::string config_for(const std::vector<std::string>& references);

  // Never with a secret: "docker-credential-pass: ended with status 1".
  const std::vector<std::string>& warnings() const { return warnings_; }
  // What must not be seen in a log: passwords and tokens that were handed out.
  const std::vector<std::string>& secrets() const { return secrets_; }

 private:
  struct Login {
    std::string user;
    std::string password;
    std::string identity_token;
    std::string registry_token;
    bool empty() const { return user.empty() && identity_token.empty() && registry_token.empty(); }
  };
  Login login_for(const std::string& host);
  Login from_helper(const std::string& name, const std::string& key);
  Login from_file(const std::string& host) const;
  std::string helper_for(const std::string& key) const;
  void read_configuration();

  std::map<std::string, std::string> variables_;
  std::map<std::string, Login> logins_;         // of the file, by key
  std::map<std::string, std::string> helpers_;  // by key
  std::string store_;                           // the helper of all other keys
  std::vector<std::string> warnings_;
  std::vector<std::string> secrets_;
};

// "127.0.0.1:5000/a/b:1" → "127.0.0.1:5000"; "debian" and "user/name" → "docker.io".
std::string registry_of(const std::string& reference);

}  // namespace runner::engine
