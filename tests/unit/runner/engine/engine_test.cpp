// The Engine's API against a scripted engine: what is asked, and what is made of its answers.
#include "runner/engine/engine.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"
#include "tests/unit/runner/http/scripted_server.hpp"

namespace runner::engine {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::EndsWith;
using Catch::Matchers::StartsWith;
using http::test::answer;
using http::test::Answer;
using http::test::Answers;
using http::test::ScriptedServer;
using nlohmann::json;
using Lines = std::vector<std::string>;

// An Engine whose version is known: what is asked is what the test asks.
struct Known {
  ScriptedServer server;
  Engine engine;
  explicit Known(Answers answers) : server(std::move(answers)), engine(server.socket()) {
    engine.use({.api = "/v1.41", .version = "20.10", .os = "linux", .architecture = "amd64"});
  }
};

json version(const std::string& newest, const std::string& oldest) {
  return {{"Version", "25.0.3"},     {"ApiVersion", newest},
          {"MinAPIVersion", oldest}, {"Os", "linux"},
          {"Arch", "arm64"},         {"Components", {{{"Name", "Engine"}}, {{"Name", "containerd"}}}}};
}

EngineFacts facts_from(const json& version, const json& info, Lines* asked = nullptr) {
  const ScriptedServer server({answer(200, version.dump()), answer(200, info.dump())});
  Engine engine(server.socket());
  EngineFacts facts = engine.facts();
  engine.facts();  // remembered: a third question would find no answer
  if (asked != nullptr) *asked = server.first_lines();
  return facts;
}

template <class Action>
Error error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  FAIL("no error");
  throw std::logic_error("unreachable");
}

const auto kAny = [](const std::string&) { return true; };

}  // namespace

TEST_CASE("an engine is asked once which version it speaks and what it can do") {
  Lines asked;
  const EngineFacts facts = facts_from(version("1.41", "1.24"),
                                       {{"NCPU", 8},
                                        {"MemoryLimit", true},
                                        {"PidsLimit", false},
                                        {"CpuCfsQuota", true},
                                        {"SecurityOptions", {"name=seccomp"}}},
                                       &asked);
  CHECK(asked == Lines{"GET /version", "GET /v1.41/info"});
  CHECK(facts.api == "/v1.41");
  CHECK(facts.version == "25.0.3");
  CHECK(facts.os == "linux");
  CHECK(facts.architecture == "arm64");
  CHECK(facts.cpus == 8);
  CHECK(facts.limits_memory);
  CHECK_FALSE(facts.limits_pids);
  CHECK(facts.limits_cpus);
  CHECK_FALSE(facts.podman);
  CHECK_FALSE(facts.rootless);
}

TEST_CASE("the newest version both know is spoken, and no newer one than ours") {
  const auto spoken = [](const char* newest, const char* oldest) {
    return facts_from(version(newest, oldest), json::object()).api;
  };
  CHECK(spoken("1.40", "1.12") == "/v1.40");
  CHECK(spoken("1.52", "1.44") == "/v1.52");
  CHECK(spoken("1.60", "1.44") == "/v1.52");
  CHECK(spoken("1.60", "1.52") == "/v1.52");
  CHECK(spoken("2.1", "1.52") == "/v1.52");
  CHECK(spoken("1.41", "") == "/v1.41");  // an engine that says no oldest one
}

TEST_CASE("an engine that speaks none of our versions is refused with both named") {
  const auto refusal = [](const char* newest, const char* oldest) {
    return error_of([&] { facts_from(version(newest, oldest), json::object()); });
  };
  const Error old = refusal("1.39", "1.12");
  CHECK(old.code() == ErrorCode::kUnavailable);
  CHECK_THAT(old.message(), Contains("speaks API 1.12 to 1.39") && Contains("this program 1.40 to 1.52"));
  CHECK_THAT(old.hint(), Contains("newer engine"));
  const Error young = refusal("1.70", "1.53");
  CHECK(young.code() == ErrorCode::kUnavailable);
  CHECK_THAT(young.message(), Contains("1.53 to 1.70") && Contains("1.40 to 1.52"));
  CHECK_THAT(young.hint(), Contains("newer runner"));
}

TEST_CASE("Podman and a rootless engine are recognised") {
  json podman = version("1.41", "1.24");
  podman["Components"] = {{{"Name", "Podman Engine"}, {"Version", "4.3.1"}}, {{"Name", "Conmon"}}};
  CHECK(facts_from(podman, json::object()).podman);
  const json rootless{{"SecurityOptions", {"name=seccomp,profile=default", "name=rootless"}}};
  CHECK(facts_from(version("1.41", "1.24"), rootless).rootless);
  CHECK_FALSE(facts_from(version("1.41", "1.24"), rootless).podman);
}

TEST_CASE("what is no engine is told from one, with its socket") {
  const auto body =
      GENERATE("it works!", "{}", "[]", "\"1.41\"", "null", "{\"ApiVersion\": 1.41}", "{\"ApiVersion\": \"latest\"}");
  const ScriptedServer server(Answers{answer(200, body)});
  const Error error = error_of([&] { Engine(server.socket()).facts(); });
  CHECK(error.code() == ErrorCode::kUnavailable);
  CHECK_THAT(error.message(), Contains(server.socket().string()));
  CHECK_THAT(error.hint(), Contains("container engine"));
}

TEST_CASE("an image is found under its name, which is asked for as it is") {
  Known known({answer(200, R"({"Id":"sha256:abc","RepoDigests":["host:5000/a/b@sha256:1"],"Os":"linux",
    "Architecture":"arm","Variant":"v7","Config":{"Env":["PATH=/bin","A=b=c",7]}})")});
  const auto image = known.engine.inspect_image("host:5000/a/b:1.0");
  REQUIRE(image);
  CHECK(image->id == "sha256:abc");
  CHECK(image->repo_digests == Lines{"host:5000/a/b@sha256:1"});
  CHECK(image->os == "linux");
  CHECK(image->architecture == "arm");
  CHECK(image->variant == "v7");
  CHECK(image->environment == Lines{"PATH=/bin", "A=b=c"});
  CHECK(known.server.first_lines() == Lines{"GET /v1.41/images/host:5000/a/b:1.0/json"});
}

TEST_CASE("Podman's bare image id is one of sha256") {
  Known known({answer(200, R"({"Id":"abc","Config":null,"RepoDigests":null})")});
  CHECK(known.engine.inspect_image("x")->id == "sha256:abc");
}

TEST_CASE("a missing image is nothing, any other refusal is told in the engine's own words") {
  Known known({answer(404, R"({"message":"No such image: x"})"), answer(500, R"({"message":"layer\ndamaged\n"})"),
               answer(500, R"({"cause":"podman's reason","response":500})"), answer(502, "bad gateway\r\n"),
               answer(503, ""), answer(403, R"({"message":"authz"})")});
  CHECK_FALSE(known.engine.inspect_image("x"));
  const auto refusal = [&] { return error_of([&] { known.engine.inspect_image("x"); }); };
  const Error damaged = refusal();
  CHECK(damaged.code() == ErrorCode::kUnavailable);
  CHECK(damaged.message() == "inspect image x: layer damaged");
  CHECK(refusal().message() == "inspect image x: podman's reason");
  CHECK(refusal().message() == "inspect image x: bad gateway");
  CHECK(refusal().message() == "inspect image x: status 503");
  CHECK(refusal().code() == ErrorCode::kPermission);
}

TEST_CASE("an answer that is not what an engine says is an error that names the socket") {
  const std::string body = GENERATE("<html>", "", "[]", "\"text\"", "7", "{\"Config\":[1]}", "{\"Id\":7}", "null");
  Known known({answer(200, body), answer(200, body), answer(200, body)});
  INFO(body);
  const auto names_the_socket = [&](const Error& error) {
    CHECK(error.code() == ErrorCode::kUnavailable);
    CHECK_THAT(error.message(), Contains(known.server.socket().string()));
    CHECK_THAT(error.hint(), Contains("container engine"));
  };
  names_the_socket(error_of([&] { known.engine.inspect_image("x"); }));
  names_the_socket(error_of([&] { known.engine.create_idle_container("sha256:a", {}); }));
  names_the_socket(error_of([&] { known.engine.run_to_end("{}", "sweep"); }));
  CHECK(known.server.requests().size() == 3);  // nothing is done with a container that has no name
}

TEST_CASE("a list that is none is an error or empty, never a crash") {
  for (const std::string body : {"<html>", ""}) {
    Known known({answer(200, body), answer(200, body)});
    CHECK_THROWS_AS(known.engine.containers_with({"a=b"}), Error);
    CHECK_THROWS_AS(known.engine.remove_volumes_with({"a=b"}, "a", kAny), Error);
  }
  for (const std::string body : {"{}", "7", "null", "[[],7,{}]", "{\"Volumes\":7}"}) {
    Known known({answer(200, body), answer(200, body)});
    CHECK(known.engine.containers_with({"a=b"}).empty());
    known.engine.remove_volumes_with({"a=b"}, "a", kAny);
    CHECK(known.server.requests().size() == 2);
  }
}

TEST_CASE("an engine that is gone, or ends in the middle, says where it was") {
  Known known({{.pieces = {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"}, .close = true}});
  const Error broken = error_of([&] { known.engine.inspect_image("x"); });
  CHECK(broken.code() == ErrorCode::kUnavailable);
  CHECK_THAT(broken.message(), StartsWith("inspect image x: the connection to the container engine at ") &&
                                   Contains(known.server.socket().string()) && Contains("broke"));
  Engine nobody("/nonexistent/docker.sock");
  const Error gone = error_of([&] { nobody.facts(); });
  CHECK(gone.code() == ErrorCode::kUnavailable);
  CHECK_THAT(gone.message(), Contains("/nonexistent/docker.sock: No such file or directory"));
}

TEST_CASE("a pull shows its progress and asks for exactly one image") {
  Known known({answer(200,
                      "{\"status\":\"Pulling from a/b\",\"id\":\"1.0\"}\n"
                      "{\"status\":\"Pulling fs layer\",\"progressDetail\":{},\"id\":\"l1\"}\n"
                      "{\"status\":\"Pull complete\",\"id\":\"l1\"}\n")});
  Lines lines;
  known.engine.pull("host:5000/a/b:1.0", [&](const std::string& line) {
    lines.push_back(line);
    return true;
  });
  CHECK(known.server.first_lines() == Lines{"POST /v1.41/images/create?fromImage=host%3A5000%2Fa%2Fb&tag=1.0"});
  REQUIRE_FALSE(lines.empty());
  CHECK(lines.back() == "1 of 1 layers");
}

TEST_CASE("a name without a tag is pulled as latest, never with all its tags") {
  Known known({answer(200, "{\"status\":\"ok\"}\n")});
  known.engine.pull("debian", [](const std::string&) { return true; });
  CHECK(known.server.first_lines() == Lines{"POST /v1.41/images/create?fromImage=debian&tag=latest"});
}

TEST_CASE("a pull that fails says so, before its stream or in it") {
  Known known({answer(404, R"({"message":"pull access denied for x"})"),
               answer(200,
                      "{\"status\":\"Downloading\",\"id\":\"a\"}\r\n"
                      "{\"errorDetail\":{\"message\":\"disk full\"},\"error\":\"disk full\"}\r\n"),
               {.pieces = {http::test::kChunkedHead + http::test::chunk("{\"status\":\"x\"}\n")}, .close = true}});
  const auto pull = [&] { return error_of([&] { known.engine.pull("x", [](const std::string&) { return true; }); }); };
  const Error denied = pull();
  CHECK(denied.code() == ErrorCode::kNotFound);
  CHECK(denied.message() == "pull image x: pull access denied for x");
  const Error full = pull();
  CHECK(full.code() == ErrorCode::kUnavailable);
  CHECK(full.message() == "pull image x: disk full");
  CHECK_THAT(pull().message(), Contains("broke"));
}

TEST_CASE("a pull that nobody wants any more ends, also while the registry is silent") {
  const auto pieces = GENERATE(Lines{}, Lines{http::test::kChunkedHead + http::test::chunk("{\"status\":\"x\"}\n")});
  Known known({{.pieces = pieces, .hang = true}});
  const Error stopped = error_of([&] { known.engine.pull("x", [](const std::string&) { return false; }); });
  CHECK(stopped.code() == ErrorCode::kUnavailable);
  CHECK(stopped.message() == "pull image x: stopped");
}

TEST_CASE("a reference is split as docker does") {
  const auto check = [](const char* reference, const char* name, const char* tag) {
    INFO(reference);
    CHECK(split_reference(reference).name == name);
    CHECK(split_reference(reference).tag == tag);
  };
  check("debian", "debian", "latest");
  check("debian:12", "debian", "12");
  check("a/b/c:x", "a/b/c", "x");
  check("host:5000/name", "host:5000/name", "latest");
  check("host:5000/name:1", "host:5000/name", "1");
  check("x@sha256:00", "x", "sha256:00");
  check("x:tag@sha256:00", "x", "sha256:00");
  check("host:5000/x@sha256:00", "host:5000/x", "sha256:00");
  check("host:5000/x:tag@sha256:00", "host:5000/x", "sha256:00");
}

TEST_CASE("containers are found by all their labels, whatever their state") {
  Known known(
      {answer(200, R"([{"Id":"one","Labels":{"runner.run":"r","n":7}},{"Id":"two","Labels":{}},{"Names":["/x"]}])")});
  const auto found = known.engine.containers_with({"runner.home=/a b", "runner.run=r"});
  REQUIRE(found.size() == 2);
  CHECK((found[0].id == "one" && found[1].id == "two"));
  CHECK(found[0].labels == std::map<std::string, std::string>{{"runner.run", "r"}});
  CHECK(found[1].labels.empty());
  CHECK(known.server.first_lines() ==
        Lines{"GET /v1.41/containers/json?all=1&filters="
              "%7B%22label%22%3A%5B%22runner.home%3D%2Fa%20b%22%2C%22runner.run%3Dr%22%5D%7D"});
}

TEST_CASE("a container is removed with its volumes, running or not, and a missing one is fine") {
  Known known({answer(204, ""), answer(404, R"({"message":"No such container"})")});
  known.engine.remove_container("abc");
  known.engine.remove_container("abc");
  CHECK(known.server.first_lines() ==
        Lines{"DELETE /v1.41/containers/abc?force=1&v=1", "DELETE /v1.41/containers/abc?force=1&v=1"});
}

TEST_CASE("a container that somebody else is removing is waited for") {
  const int then = GENERATE(200, 404);
  Known known({answer(409, R"({"message":"removal of container abc is already in progress"})"),
               answer(then, R"({"StatusCode":0})")});
  known.engine.remove_container("abc");
  CHECK(known.server.first_lines().at(1) == "POST /v1.41/containers/abc/wait?condition=removed");
}

TEST_CASE("a container that cannot be removed is an error with a short id") {
  Known known({answer(500, R"({"message":"device busy"})")});
  const Error error = error_of([&] { known.engine.remove_container(std::string(64, 'a')); });
  CHECK(error.message() == "remove container aaaaaaaaaaaa: device busy");
}

TEST_CASE("unused volumes with all the labels are removed where they are unwanted, one that is gone already is fine") {
  Known known(
      {answer(200, R"({"Volumes":[{"Name":"v1","Labels":{"runner.run":"r1"}},)"
                   R"({"Name":"kept","Labels":{"runner.run":"live"}},{"Name":"v 2","Labels":null}],"Warnings":null})"),
       answer(204, ""), answer(404, R"({"message":"no such volume"})")});
  known.engine.remove_volumes_with({"runner.home=h"}, "runner.run",
                                   [](const std::string& run) { return run != "live"; });
  CHECK(
      known.server.first_lines() ==
      Lines{
          "GET "
          "/v1.41/volumes?filters=%7B%22dangling%22%3A%5B%22true%22%5D%2C%22label%22%3A%5B%22runner.home%3Dh%22%5D%7D",
          "DELETE /v1.41/volumes/v1", "DELETE /v1.41/volumes/v%202"});
  Known none({answer(200, R"({"Volumes":null})")});
  none.engine.remove_volumes_with({"runner.run=r"}, "runner.run", kAny);
  CHECK(none.server.first_lines().size() == 1);
}

TEST_CASE("a volume that the engine will not give up is left to its next life") {
  Known known({answer(200, R"({"Volumes":[{"Name":"v1"}]})"), answer(409, R"({"message":"volume is in use"})")});
  known.engine.remove_volumes_with({"a=b"}, "a", kAny);
  CHECK(known.server.first_lines().size() == 2);
}

TEST_CASE("a container that is only looked into never starts, sees no network and carries its labels") {
  Known known({answer(201, R"({"Id":"probe","Warnings":[]})")});
  CHECK(known.engine.create_idle_container("sha256:abc", {"runner.home=/h=h", "runner.probe=1"}) == "probe");
  const std::string request = known.server.requests().at(0);
  CHECK_THAT(request, StartsWith("POST /v1.41/containers/create HTTP/1.1\r\n"));
  const json body = json::parse(request.substr(request.find("\r\n\r\n") + 4));
  CHECK(body["Image"] == "sha256:abc");
  CHECK(body["NetworkDisabled"] == true);
  CHECK(body["HostConfig"]["NetworkMode"] == "none");
  CHECK(body["Labels"] == json{{"runner.home", "/h=h"}, {"runner.probe", "1"}});
  CHECK(known.server.requests().size() == 1);
}

TEST_CASE("a short container runs to its end and is removed, also when it could not be started") {
  Known known({answer(201, R"({"Id":"c"})"), answer(204, ""), answer(200, R"({"StatusCode":127})"), answer(204, "")});
  known.engine.run_to_end(R"({"Image":"i"})", "sweep");
  CHECK(known.server.first_lines() == Lines{"POST /v1.41/containers/create", "POST /v1.41/containers/c/start",
                                            "POST /v1.41/containers/c/wait?condition=not-running",
                                            "DELETE /v1.41/containers/c?force=1&v=1"});
  CHECK_THAT(known.server.requests().at(0), EndsWith("\r\n\r\n{\"Image\":\"i\"}"));
  Known refused({answer(201, R"({"Id":"c"})"), answer(400, R"({"message":"no such program"})"), answer(204, "")});
  const Error error = error_of([&] { refused.engine.run_to_end("{}", "sweep"); });
  CHECK(error.message() == "sweep: no such program");
  CHECK(refused.server.first_lines().back() == "DELETE /v1.41/containers/c?force=1&v=1");
}

TEST_CASE("a path of a container comes as a tar stream of at most so many bytes, or not at all") {
  Known known({answer(200, "0123456789"),
               answer(404, R"({"message":"Could not find the file"})"),
               {.pieces = {"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n0123", "456789"}, .hang = true},
               answer(500, R"({"message":"unmounted"})")});
  CHECK(known.engine.read_archive("c", "/a b", 100) == "0123456789");
  CHECK_FALSE(known.engine.read_archive("c", "/no", 100));
  CHECK(known.engine.read_archive("c", "/etc/passwd", 6) == "012345");  // and the rest is not waited for
  CHECK(error_of([&] { known.engine.read_archive("c", "/x", 6); }).message() == "look at /x in an image: unmounted");
  CHECK(known.server.first_lines().at(0) == "GET /v1.41/containers/c/archive?path=%2Fa%20b");
}

TEST_CASE("an image is built as it was asked for, and its id is the answer") {
  const std::string id = "sha256:" + std::string(64, 'a');
  Known known({answer(200, "{\"aux\":{\"ID\":\"" + id + "\"}}\n")});
  CHECK(known.engine.build_image({.context = [](std::span<std::byte>) { return std::size_t{0}; },
                                  .dockerfile = "d/file",
                                  .tag = "t:1",
                                  .arguments = {{"A", "b c"}},
                                  .labels = {{"l", "x"}},
                                  .fresh = true,
                                  .registry_config = "e30="},
                                 {}) == id);
  const std::string request = known.server.requests().at(0);
  for (const char* part : {"POST /v1.41/build?version=1&", "&dockerfile=d%2Ffile&", "&t=t%3A1&", "&networkmode=host&",
                           "&buildargs=%7B%22A%22%3A%22b%20c%22%7D&", "&labels=%7B%22l%22%3A%22x%22%7D", "&nocache=1",
                           "forcerm=1", "X-Registry-Config: e30=\r\n", "Content-Type: application/x-tar\r\n"})
    CHECK_THAT(request, Contains(part));
}

TEST_CASE("a build that fails says at which step, and why") {
  const auto told = [](const std::string& stream) {
    Known known({answer(200, stream)});
    try {
      known.engine.build_image({.context = [](std::span<std::byte>) { return std::size_t{0}; }, .tag = "t"}, {});
    } catch (const BuildError& error) {
      return error;
    }
    FAIL("no error");
    throw std::logic_error("unreachable");
  };
  const std::string step = "{\"stream\":\"Step 1/2 : FROM host:1/x\\n\"}\n";
  const BuildError command =
      told("{\"stream\":\"Step 2/2 : RUN x\\n\"}\n{\"error\":\"e\",\"errorDetail\":{\"code\":3,\"message\":\"m\"}}\n");
  CHECK(command.message() == "build the image: step 2 of 2, RUN x: it ended with status 3");
  CHECK(command.code() == ErrorCode::kInvalid);
  CHECK(command.step->number == 2);
  const BuildError refused = told(step + "{\"error\":\"Head x: no basic auth credentials\"}\n");
  CHECK(refused.code() == ErrorCode::kPermission);
  CHECK(refused.hint() == "docker login host:1");
  CHECK(told(step + "{\"error\":\"dial tcp: lookup x: no such host\"}\n").code() == ErrorCode::kUnavailable);
  CHECK(told(step + "{\"error\":\"write /x: no space left on device\"}\n").code() == ErrorCode::kNoSpace);
  CHECK(told("{\"error\":\"COPY failed\"}\n").message() == "build the image: COPY failed");
}

TEST_CASE("an answer that ends without an image is none") {
  Known known({answer(200, "{\"stream\":\"hello\"}\n")});
  CHECK_THAT(error_of([&] {
               known.engine.build_image({.context = [](std::span<std::byte>) { return std::size_t{0}; }, .tag = "t"},
                                        {});
             }).message(),
             Contains("without an image"));
}

TEST_CASE("an image in use is kept, a missing one is fine") {
  Known known({answer(200, "[]"), answer(404, "{}"), answer(409, "{\"message\":\"in use\"}"),
               answer(500, "{\"message\":\"why\"}")});
  CHECK(known.engine.remove_image("a/b:1"));
  CHECK(known.engine.remove_image("a"));
  CHECK_FALSE(known.engine.remove_image("a"));
  CHECK(error_of([&] { known.engine.remove_image("a"); }).message() == "remove image a: why");
  CHECK(known.server.first_lines().at(0) == "DELETE /v1.41/images/a/b:1");
}

TEST_CASE("a container is followed to its end, its two streams apart, and removed whatever happens") {
  const auto frame = [](char stream, const std::string& bytes) {
    return std::string{stream, 0, 0, 0, 0, 0, 0, static_cast<char>(bytes.size())} + bytes;
  };
  const std::string logs = frame(1, "out") + frame(2, "err") + frame(1, "more");
  Known known({answer(201, R"({"Id":"c1"})"), answer(204, ""), answer(200, logs), answer(200, R"({"StatusCode":4})"),
               answer(204, ""), answer(201, R"({"Id":"c2"})"), answer(404, R"({"message":"no such program"})"),
               answer(204, "")});
  std::string out;
  std::string err;
  CHECK(known.engine.run_container(
            "{}", "x", [&](bool is_error, std::string_view bytes) { (is_error ? err : out) += bytes; }) == 4);
  CHECK(out == "outmore");
  CHECK(err == "err");
  CHECK_THAT(error_of([&] { known.engine.run_container("{}", "start x", {}); }).message(),
             Contains("start x: no such program"));
  CHECK_THAT(known.server.first_lines().at(4), StartsWith("DELETE /v1.41/containers/c1"));
  CHECK_THAT(known.server.first_lines().at(7), StartsWith("DELETE /v1.41/containers/c2"));
}

}  // namespace runner::engine
