// Which socket is meant, and how failures are told.
#include "runner/engine/endpoint.hpp"

#include <grp.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>

#include "runner/core/error.hpp"
#include "runner/engine/failure.hpp"
#include "tests/unit/runner/http/scripted_server.hpp"

namespace runner::engine {
namespace {

using Catch::Matchers::Contains;
using http::test::Answers;
using http::test::ScriptedServer;
using Kind = http::TransferResult::Kind;

Error refusal(const std::map<std::string, std::string>& variables) {
  try {
    find_engine(variables);
  } catch (const Error& error) {
    return error;
  }
  FAIL("no error");
  throw std::logic_error("unreachable");
}

}  // namespace

TEST_CASE("sockets are looked at in one order: Docker's, rootless Docker's, rootless Podman's, Podman's") {
  using Paths = std::vector<std::filesystem::path>;
  CHECK(engine_sockets({{"XDG_RUNTIME_DIR", "/run/user/7"}}) == Paths{"/var/run/docker.sock", "/run/user/7/docker.sock",
                                                                      "/run/user/7/podman/podman.sock",
                                                                      "/run/podman/podman.sock"});
  CHECK(engine_sockets({}) == Paths{"/var/run/docker.sock", "/run/podman/podman.sock"});
  CHECK(engine_sockets({{"XDG_RUNTIME_DIR", "relative"}}) == engine_sockets({}));
}

TEST_CASE("DOCKER_HOST names the one engine that counts") {
  const ScriptedServer server(Answers{});
  CHECK(find_engine({{"DOCKER_HOST", "unix://" + server.socket().string()}}) == server.socket());
}

TEST_CASE("a DOCKER_HOST that is no socket of this machine is refused with a way out") {
  for (const char* address : {"tcp://127.0.0.1:2375", "ssh://me@host", "unix://relative/docker.sock", "unix://",
                              "/var/run/docker.sock", "npipe:////./pipe/docker"}) {
    const Error error = refusal({{"DOCKER_HOST", address}});
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK_THAT(error.message(), Contains("DOCKER_HOST=" + std::string(address)));
    CHECK_THAT(error.hint(), Contains("unix:///"));
  }
}

TEST_CASE("a DOCKER_HOST at which nobody listens is an error, not another engine") {
  const ScriptedServer another(Answers{});
  std::filesystem::create_directories(another.directory() / "podman");
  std::filesystem::create_symlink(another.socket(), another.directory() / "podman/podman.sock");
  const Error error =
      refusal({{"DOCKER_HOST", "unix:///nonexistent/d.sock"}, {"XDG_RUNTIME_DIR", another.directory().string()}});
  CHECK(error.code() == ErrorCode::kUnavailable);
  CHECK_THAT(error.message(), Contains("/nonexistent/d.sock: No such file or directory"));
  CHECK_THAT(refusal({{"DOCKER_HOST", "unix:///" + std::string(200, 'x')}}).message(), Contains("name too long"));
}

TEST_CASE("without DOCKER_HOST the first socket that somebody listens at is taken") {
  if (::access("/var/run/docker.sock", F_OK) == 0) {
    WARN("skipped: this machine has a container engine of its own");
    return;
  }
  const ScriptedServer server(Answers{});
  const std::map<std::string, std::string> variables{{"DOCKER_HOST", ""},
                                                     {"XDG_RUNTIME_DIR", server.directory().string()}};
  std::filesystem::create_directories(server.directory() / "podman");
  std::filesystem::create_symlink(server.socket(), server.directory() / "podman/podman.sock");
  CHECK(find_engine(variables) == server.directory() / "podman/podman.sock");
  std::filesystem::create_symlink(server.socket(), server.directory() / "docker.sock");
  CHECK(find_engine(variables) == server.directory() / "docker.sock");
}

TEST_CASE("when there is none, every place that was looked at is named") {
  if (::access("/var/run/docker.sock", F_OK) == 0 || ::access("/run/podman/podman.sock", F_OK) == 0) {
    WARN("skipped: this machine has a container engine of its own");
    return;
  }
  const Error error = refusal({{"XDG_RUNTIME_DIR", "/nonexistent/u"}});
  CHECK(error.code() == ErrorCode::kUnavailable);
  for (const char* place : {"/var/run/docker.sock", "/nonexistent/u/docker.sock", "/nonexistent/u/podman/podman.sock",
                            "/run/podman/podman.sock"})
    CHECK_THAT(error.message(), Contains(place));
  CHECK_THAT(error.hint(), Contains("apt install docker.io") && Contains("DOCKER_HOST"));
}

TEST_CASE("a socket that is there but not for this user says whom to ask") {
  const Error stranger = unreachable("/nonexistent/docker.sock", EACCES);
  CHECK(stranger.code() == ErrorCode::kPermission);
  CHECK(stranger.message() == "container engine at /nonexistent/docker.sock: Permission denied");
  CHECK_THAT(stranger.hint(), Contains("usermod -aG docker") && Contains("rootless"));
  const ScriptedServer server(Answers{});
  if (::geteuid() == 0) {
    CHECK_THAT(unreachable(server.socket(), EACCES).hint(), Contains("only root may use it"));
    const struct ::group* group = ::getgrgid(1);
    REQUIRE(group != nullptr);
    REQUIRE(::chown(server.socket().c_str(), 0, 1) == 0);
    CHECK_THAT(unreachable(server.socket(), EPERM).hint(), Contains("usermod -aG " + std::string(group->gr_name)));
  }
  const Error dead = unreachable("/x", ECONNREFUSED);
  CHECK(dead.code() == ErrorCode::kUnavailable);
  CHECK(dead.message() == "container engine at /x: Connection refused");
  CHECK_THAT(dead.hint(), Contains("systemctl start docker"));
}

TEST_CASE("every way to fail is one error that says what was attempted") {
  const auto told = [](http::TransferResult result) { return failure("/s", result, "create the container"); };
  const auto of_status = [&](int status) {
    return told({.kind = Kind::kAnswered, .status = status, .body = R"({"message":"why"})"});
  };
  CHECK(of_status(400).code() == ErrorCode::kInvalid);
  CHECK(of_status(401).code() == ErrorCode::kPermission);
  CHECK(of_status(403).code() == ErrorCode::kPermission);
  CHECK(of_status(404).code() == ErrorCode::kNotFound);
  CHECK(of_status(409).code() == ErrorCode::kConflict);
  CHECK(of_status(500).code() == ErrorCode::kUnavailable);
  CHECK(of_status(400).message() == "create the container: why");
  CHECK(told({.kind = Kind::kTimedOut}).message() ==
        "create the container: container engine at /s does not answer in time");
  CHECK(told({.kind = Kind::kBroken, .words = "reset"}).message() ==
        "create the container: the connection to the container engine at /s broke: reset");
  CHECK_THAT(told({.kind = Kind::kUnreachable, .os_error = ECONNREFUSED}).message(),
             Contains("create the container") && Contains("/s: Connection refused"));
  CHECK(told({.kind = Kind::kStopped}).code() == ErrorCode::kUnavailable);
}

TEST_CASE("an engine's words fit on one line, and a page is cut") {
  const auto words = [](const std::string& body) { return engine_words({.status = 500, .body = body}); };
  CHECK(words(R"({"message":"a\n\tb \n"})") == "a  b");
  CHECK(words(R"({"message":7})") == R"({"message":7})");
  CHECK(words("") == "status 500");
  CHECK(words(std::string(5000, 'x')).size() < 2100);
}

}  // namespace runner::engine
