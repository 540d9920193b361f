#include "runner/engine/registry_credentials.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runner/os/file.hpp"
#include "runner/os/process.hpp"

namespace runner::engine {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;

struct Account {
  std::filesystem::path path;
  Account() {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-login-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Account() { os::remove_tree(path); }
  void write(const std::string& name, const std::string& text, int mode = 0600) const {
    os::make_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
    std::filesystem::permissions(path / name, std::filesystem::perms(mode));
  }
  RegistryCredentials credentials(const char* variable = "DOCKER_CONFIG") const {
    return RegistryCredentials({{variable, path.string()}, {"PATH", path.string() + ":/usr/bin:/bin"}});
  }
};

// base64's own program is the oracle of the header.
json decoded(const std::string& header) {
  std::string standard = header;
  for (char& c : standard) c = c == '-' ? '+' : c == '_' ? '/' : c;
  Account scratch;
  scratch.write("header", standard);
  const auto result =
      os::capture({.arguments = {"/usr/bin/base64", "-d", (scratch.path / "header").string()}, .environment = {}},
                  std::chrono::seconds(20));
  REQUIRE(result.exit_code == 0);
  return json::parse(result.out);
}

}  // namespace

TEST_CASE("a reference's registry is its first part if that looks like a host") {
  CHECK(registry_of("debian") == "docker.io");
  CHECK(registry_of("user/name:1") == "docker.io");
  CHECK(registry_of("docker.io/library/debian") == "docker.io");
  CHECK(registry_of("127.0.0.1:5000/a/b:1") == "127.0.0.1:5000");
  CHECK(registry_of("localhost/a") == "localhost");
  CHECK(registry_of("ghcr.io/a@sha256:00") == "ghcr.io");
}

TEST_CASE("logins of the file become headers, whatever their length and however their key was written") {
  // "u:p", "u:pw", "u:pass" in base64: all three paddings; a password with a colon and bytes that need '-' and '_'.
  const Account account;
  account.write("config.json", R"({"auths": {
      "one.example": {"auth": "dTpw"}, "two.example": {"auth": "dTpwdw=="}, "https://three.example/v1/": {"auth": "dTpwYXNz"},
      "four.example": {"username": "me", "password": "a:b\u00ff\u00fe?>~~"},
      "five.example": {"auth": "", "identitytoken": "token"},
      "https://index.docker.io/v1/": {"auth": "aHViOnB3"}}})");
  auto credentials = account.credentials();
  const auto login = [&](const std::string& reference) { return decoded(credentials.auth_for(reference)); };
  CHECK(login("one.example/x") == json{{"username", "u"}, {"password", "p"}, {"serveraddress", "one.example"}});
  CHECK(login("two.example/x")["password"] == "pw");
  CHECK(login("three.example/x")["password"] == "pass");
  CHECK(login("four.example/x")["password"] == "a:b\u00ff\u00fe?>~~");
  CHECK(login("five.example/x") == json{{"identitytoken", "token"}, {"serveraddress", "five.example"}});
  CHECK(login("debian") ==
        json{{"username", "hub"}, {"password", "pw"}, {"serveraddress", "https://index.docker.io/v1/"}});
  CHECK(credentials.auth_for("none.example/x").empty());
  CHECK(credentials.warnings().empty());
  const json config = decoded(credentials.config_for({"one.example/a", "one.example/b", "none.example/c", "debian"}));
  CHECK(config.size() == 2);
  CHECK(config["one.example"]["password"] == "p");
  CHECK(config["https://index.docker.io/v1/"]["username"] == "hub");
  CHECK(credentials.config_for({"none.example/c"}).empty());
}

TEST_CASE("the file is HOME's unless another one is named, and need not be there") {
  const Account account;
  account.write(".docker/config.json", R"({"auths": {"one.example": {"auth": "dTpw"}}})");
  CHECK_FALSE(account.credentials("HOME").auth_for("one.example/x").empty());
  CHECK(account.credentials().auth_for("one.example/x").empty());
  CHECK(RegistryCredentials({}).auth_for("debian").empty());
}

TEST_CASE("a configuration that cannot be read is a warning without its content") {
  const Account account;
  const std::string text = GENERATE("{\"auths\": secret", "[]", R"({"auths": {"one.example": {"auth": "secret!"}}})",
                                    R"({"auths": {"one.example": {"auth": "c2VjcmV0"}}})");
  account.write("config.json", text);
  auto credentials = account.credentials();
  CHECK(credentials.auth_for("one.example/x").empty());
  REQUIRE(credentials.warnings().size() == 1);
  CHECK_THAT(credentials.warnings()[0], Contains("config.json") && !Contains("secret"));
  account.write("config.json", R"({"auths": 7, "credHelpers": [1], "credsStore": {}})");
  CHECK(account.credentials().warnings().empty());
}

TEST_CASE("a helper is asked for the host it keeps, before the file") {
  const Account account;
  account.write("config.json", R"({"auths": {"one.example": {"auth": "dTpw"}, "two.example": {}},
                                   "credHelpers": {"one.example": "own"}, "credsStore": "store"})");
  account.write("docker-credential-own", R"SH(#!/bin/sh
[ "$1 $(cat)" = "get one.example" ] && echo '{"ServerURL": "x", "Username": "helped", "Secret": "s"}')SH",
                0700);
  account.write("docker-credential-store", R"SH(#!/bin/sh
case $(cat) in
  https://index.docker.io/v1/) echo '{"Username": "<token>", "Secret": "t"}' ;;
  two.example) echo 'credentials not found in native keychain'; exit 1 ;;
  *) echo 'a secret thing went wrong'; exit 3 ;;
esac)SH",
                0700);
  auto credentials = account.credentials();
  CHECK(decoded(credentials.auth_for("one.example/x"))["username"] == "helped");
  CHECK(decoded(credentials.auth_for("debian")) ==
        json{{"identitytoken", "t"}, {"serveraddress", "https://index.docker.io/v1/"}});
  CHECK(credentials.auth_for("two.example/x").empty());
  CHECK(credentials.warnings().empty());
  CHECK(credentials.auth_for("three.example/x").empty());
  CHECK(credentials.warnings() == std::vector<std::string>{"docker-credential-store: it ended with status 3"});
  CHECK(credentials.secrets() == std::vector<std::string>{"s", "t"});
}

TEST_CASE("a helper that is not there, or has the name of a path, is a warning") {
  const Account account;
  const std::string name = GENERATE("missing", "../x", "");
  account.write("config.json", json{{"credHelpers", {{"one.example", name}}}}.dump());
  auto credentials = account.credentials();
  CHECK(credentials.auth_for("one.example/x").empty());
  if (!name.empty()) CHECK_THAT(credentials.warnings().at(0), Contains("not found on PATH"));
}

}  // namespace runner::engine
