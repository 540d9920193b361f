#include "runner/cli/submission.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"

using namespace runner::cli;
using nlohmann::json;
using runner::Error;
using runner::ErrorCode;

namespace {

const Caller kCaller{.directory = "/home/ada/project",
                     .variables = {{"PATH", "/usr/bin"},
                                   {"HOME", "/home/ada"},
                                   {"LC_ALL", "C.UTF-8"},
                                   {"PYENV_VERSION", "3"},
                                   {"AWS_SECRET", "s"},
                                   {"LANG", "bad\xff"}}};

json document(const SubmitOptions& options) { return json::parse(submission_document(options, kCaller)); }

SubmitOptions script(std::vector<std::string> words) {
  SubmitOptions options;
  options.words = std::move(words);
  return options;
}

}  // namespace

TEST_CASE("the least submission says script, source directory and where the caller stands") {
  CHECK(document(script({"train.py"})) ==
        json::parse(R"({"script": "train.py", "sourceDirectory": "/home/ada/project", "sourceDirectoryExplicit": false,
                        "caller": {"directory": "/home/ada/project", "variables": {"PATH": "/usr/bin", "HOME": "/home/ada",
                                   "LC_ALL": "C.UTF-8", "PYENV_VERSION": "3"}}})"));
}

TEST_CASE(
    "of the caller's variables only those that find interpreters and locale are sent, and only what JSON can say") {
  const json variables = document(script({"a"}))["caller"]["variables"];
  CHECK_FALSE(variables.contains("AWS_SECRET"));
  CHECK_FALSE(variables.contains("LANG"));  // its value is not UTF-8
}

TEST_CASE("where the caller's Docker listens and where its logins are is sent, too") {
  Caller caller = kCaller;
  caller.variables = {{"DOCKER_HOST", "unix:///d.sock"}, {"XDG_RUNTIME_DIR", "/run/user/7"}, {"DOCKER_CONFIG", "/c"}};
  CHECK(json::parse(submission_document(script({"a"}), caller))["caller"]["variables"] ==
        json{{"DOCKER_CONFIG", "/c"}, {"DOCKER_HOST", "unix:///d.sock"}, {"XDG_RUNTIME_DIR", "/run/user/7"}});
}

TEST_CASE("a secret's name is sent, and its value beside the caller's variables, when it is set") {
  SubmitOptions options = script({"a"});
  options.secrets = {"AWS_SECRET", "ELSEWHERE"};
  const json sent = document(options);
  CHECK(sent["secrets"] == json{"AWS_SECRET", "ELSEWHERE"});
  CHECK(sent["caller"]["secrets"] == json{{"AWS_SECRET", "s"}});
  CHECK_FALSE(sent["caller"]["variables"].contains("AWS_SECRET"));
  options.secrets = {"LANG"};  // its value is not UTF-8
  CHECK_THROWS_WITH(document(options), Catch::Contains("--secret LANG: its value here is not UTF-8"));
}

TEST_CASE("arguments are absent without any, so that the runconfig's count") {
  CHECK_FALSE(document(script({"a.py"})).contains("arguments"));
  CHECK(document(script({"a.py", "--x", "", "y z"}))["arguments"] == json{"--x", "", "y z"});
}

TEST_CASE("one command word goes to the shell, several are exact") {
  SubmitOptions options = script({"echo hi; exit 3"});
  options.command = true;
  CHECK(document(options)["command"] == json{"sh", "-c", "echo hi; exit 3"});
  CHECK_FALSE(document(options).contains("script"));
  options.words = {"echo", "a b"};
  CHECK(document(options)["command"] == json{"echo", "a b"});
}

TEST_CASE("the source directory is made absolute") {
  SubmitOptions options = script({"a.py"});
  for (const auto& [given, expected] :
       std::vector<std::pair<std::string, std::string>>{{".", "/home/ada/project"},
                                                        {"sub/", "/home/ada/project/sub"},
                                                        {"../other", "/home/ada/other"},
                                                        {"/abs/x", "/abs/x"},
                                                        {"/", "/"}}) {
    options.source_directory = given;
    CHECK(document(options)["sourceDirectory"] == expected);
    CHECK(document(options)["sourceDirectoryExplicit"] == true);
  }
}

TEST_CASE("every option has its field, as typed") {
  SubmitOptions o = script({"a.py"});
  o.config = "c";
  o.experiment = "e";
  o.name = "n";
  o.tags = {{"t", "1"}, {"flag", std::nullopt}};
  o.properties = {{"p", "q"}};
  o.parent = "@last";
  o.python = "python3";
  o.image = "python:3.11";
  o.secrets = {"NOT_SET"};
  o.isolation = "none";
  o.max_run_duration = "1.5h";
  o.grace = "1s";
  o.cpus = "2";
  o.memory = "2g";
  o.pids = "7";
  o.shm_size = "1g";
  o.network = "off";
  o.mounts = {"/a:/b:rw"};
  o.environment_variables = {{"A", "1"}, {"HOME", std::nullopt}};
  o.priority = -2;
  o.idempotency_key = "k";
  json expected =
      json::parse(R"({"script": "a.py", "sourceDirectory": "/home/ada/project", "sourceDirectoryExplicit": false,
    "config": "c", "experiment": "e", "name": "n", "tags": {"t": "1", "flag": null}, "properties": {"p": "q"},
    "parentRunId": "@last", "python": "python3", "image": "python:3.11", "secrets": ["NOT_SET"], "isolation": "none", "maxRunDuration": "1.5h", "grace": "1s", "cpus": "2",
    "memory": "2g", "pids": "7", "shmSize": "1g", "network": "off", "mounts": ["/a:/b:rw"],
    "environmentVariables": {"A": "1", "HOME": "/home/ada"}, "priority": -2, "idempotencyKey": "k"})");
  json actual = document(o);
  actual.erase("caller");
  CHECK(actual == expected);
}

TEST_CASE("a variable to be passed on must be set, and every word must be UTF-8") {
  SubmitOptions options = script({"a.py"});
  options.environment_variables = {{"NOT_SET", std::nullopt}};
  CHECK_THROWS_AS(document(options), Error);
  CHECK_THROWS_AS(document(script({"a\xff.py"})), Error);
  try {
    document(script({"a.py", "\xff"}));
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
  }
}
