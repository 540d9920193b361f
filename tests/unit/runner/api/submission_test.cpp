#include <catch2/catch.hpp>

#include "runner/api/submission.hpp"
#include "runner/core/error.hpp"

using runner::Error;
using runner::api::parse_submission;

TEST_CASE("a submission is read as it was typed") {
  const auto submission = parse_submission(R"({"script": "a.py", "arguments": ["x", 3], "sourceDirectory": "/s",
    "tags": {"a": "1", "b": null}, "maxRunDuration": 90, "cpus": "0.5", "mounts": ["/a:/b"], "name": null,
    "caller": {"directory": "/c", "variables": {"PATH": "/bin"}}})");
  CHECK(submission.script == "a.py");
  CHECK(submission.arguments == std::vector<std::string>{"x", "3"});
  CHECK(submission.source_directory == "/s");
  CHECK(submission.tags.at("a") == "1");
  CHECK_FALSE(submission.tags.at("b").has_value());
  CHECK(submission.max_run_duration == "90");
  CHECK_FALSE(submission.name.has_value());
  CHECK(submission.caller_variables.at("PATH") == "/bin");
}

TEST_CASE("what the caller's shell looks like does not change what was submitted") {
  const auto one = parse_submission(R"({"script": "a", "sourceDirectory": "/s", "caller": {"directory": "/x"}})");
  const auto two = parse_submission(R"({"sourceDirectory": "/s", "caller": {"directory": "/y"}, "script": "a"})");
  const auto other = parse_submission(R"({"sourceDirectory": "/s", "script": "b"})");
  CHECK(one.canonical == two.canonical);
  CHECK(one.canonical != other.canonical);
}

TEST_CASE("malformed submissions are refused with the field's name") {
  const auto message = [](const char* json) {
    try {
      parse_submission(json);
    } catch (const Error& error) {
      CHECK(error.code() == runner::ErrorCode::kInvalid);
      return error.message();
    }
    return std::string("accepted");
  };
  CHECK(message("{").find("not JSON") != std::string::npos);
  CHECK(message("[]").find("must be a JSON object") != std::string::npos);
  CHECK(message("{}").find("sourceDirectory") != std::string::npos);
  CHECK(message(R"({"sourceDirectory": "/", "scrpt": "a"})").find("scrpt") != std::string::npos);
  CHECK(message(R"({"sourceDirectory": 1, "tags": []})").find("tags") != std::string::npos);
  CHECK(message(R"({"sourceDirectory": "/", "arguments": "x"})").find("arguments") != std::string::npos);
  CHECK(message(R"({"sourceDirectory": "/", "priority": 1e9})").find("priority") != std::string::npos);
  CHECK(message(R"({"sourceDirectory": "/", "caller": {"x": 1}})").find("caller.x") != std::string::npos);
}

TEST_CASE("an image and the names of secrets are part of a submission, their values are not") {
  const auto submission = parse_submission(R"({"script": "a", "sourceDirectory": "/s", "image": "python:3.11",
    "secrets": ["TOKEN", "_k2", "TOKEN"], "caller": {"secrets": {"TOKEN": "hunter2"}}})");
  CHECK(submission.image == "python:3.11");
  CHECK(submission.secrets == std::vector<std::string>{"TOKEN", "_k2"});
  CHECK(submission.caller_secrets.at("TOKEN") == "hunter2");
  CHECK(submission.canonical.find("TOKEN") != std::string::npos);
  CHECK(submission.canonical.find("hunter2") == std::string::npos);
}

TEST_CASE("a secret's name is a legal variable's") {
  for (const char* name : {"", "1A", "A=b", "a-b", "../x", "A B"}) {
    INFO(name);
    CHECK_THROWS_WITH(parse_submission(R"({"sourceDirectory": "/s", "secrets": [")" + std::string(name) + "\"]}"),
                      Catch::Contains("--secret " + std::string(name)));
  }
  CHECK_THROWS_WITH(parse_submission(R"({"sourceDirectory": "/s", "secrets": {"A": "hunter2"}})"),
                    Catch::Contains("'secrets' must be a list") && !Catch::Contains("hunter2"));
}

TEST_CASE("malformed JSON is named by its position, since a quotation could hold a secret") {
  const std::string text = R"({"caller": {"secrets": {"TOKEN": "hunter2)" + std::string("\xff\"}}}");
  CHECK_THROWS_WITH(parse_submission(text),
                    Catch::Contains("not JSON") && Catch::Contains("byte 42") && !Catch::Contains("hunter2"));
}

TEST_CASE("overrides are the fields of a submission that leave the code and the kind of run alone") {
  using runner::api::parse_overrides;
  const auto overrides = parse_overrides(R"({"arguments": [], "name": "x", "environmentVariables": {"A": "1"},
    "secrets": ["TOKEN"], "maxRunDuration": 90, "caller": {"secrets": {"TOKEN": "hunter2"}}})");
  CHECK(overrides.arguments == std::vector<std::string>{});
  CHECK(overrides.name == "x");
  CHECK(overrides.max_run_duration == "90");
  CHECK(overrides.canonical.find("hunter2") == std::string::npos);
  CHECK(overrides.caller_secrets.at("TOKEN") == "hunter2");
  CHECK_FALSE(parse_overrides("").arguments);
  CHECK_FALSE(parse_overrides("{}").arguments);
  for (const char* fixed : {"script", "command", "sourceDirectory", "sourceDirectoryExplicit", "config", "isolation"}) {
    INFO(fixed);
    CHECK_THROWS_WITH(parse_overrides("{\"" + std::string(fixed) + "\": null}"),
                      Catch::Contains("rerun: '" + std::string(fixed) + "' is the original's"));
  }
  CHECK_THROWS_WITH(parse_overrides(R"({"nme": "x"})"), Catch::Contains("rerun: unknown field 'nme'"));
  CHECK_THROWS_WITH(parse_overrides("[]"), Catch::Contains("rerun: must be a JSON object"));
}

TEST_CASE("what a script submits names its source tree, which is no part of what was submitted") {
  using runner::api::parse_child_submission;
  const auto one = parse_child_submission(R"({"sourceTree": "1-a", "script": "a.py", "cpus": 0.5, "mounts": ["/a:/b"],
    "environment": "registered", "priority": -1, "python": null})");
  CHECK(one.source_tree == "1-a");
  CHECK(one.script == "a.py");
  CHECK(one.cpus == "0.5");
  CHECK(one.environment == "registered");
  CHECK(one.priority == -1);
  CHECK(one.source_directory.empty());
  const auto again = parse_child_submission(R"({"script": "a.py", "sourceTree": "2-b", "cpus": 0.5,
    "mounts": ["/a:/b"], "environment": "registered", "priority": -1, "python": null})");
  CHECK(one.canonical == again.canonical);
  CHECK_FALSE(parse_child_submission(R"({"sourceTree": "t"})").priority);
}

TEST_CASE("what is not a script's to choose is refused by name") {
  const auto refused = [](const std::string& text) {
    try {
      runner::api::parse_child_submission(text);
    } catch (const Error& error) {
      return error;
    }
    return Error(runner::ErrorCode::kInternal, "accepted");
  };
  for (const char* member : {"config", "python", "image", "requirements", "conda", "dockerfile", "buildArguments",
                             "pull", "rebuild", "caller", "secrets"}) {
    INFO(member);
    const Error error = refused(R"({"sourceTree": "t", "script": "a.py", ")" + std::string(member) + R"(": {}})");
    CHECK(error.code() == runner::ErrorCode::kPermission);
    CHECK(error.message().find(member) != std::string::npos);
  }
  for (const char* member : {"sourceDirectory", "sourceDirectoryExplicit", "parentRunId", "sourceTrees"}) {
    INFO(member);
    const Error error = refused(R"({"sourceTree": "t", ")" + std::string(member) + R"(": "x"})");
    CHECK(error.code() == runner::ErrorCode::kInvalid);
    CHECK(error.message().find(member) != std::string::npos);
  }
}

TEST_CASE("a source tree is a single name") {
  using runner::api::parse_child_submission;
  for (const char* name : {R"("")", R"(".")", R"("..")", R"("a/b")", R"("/")", R"("a\u0000b")", "null", "[]"}) {
    INFO(name);
    CHECK_THROWS_WITH(parse_child_submission(R"({"script": "a.py", "sourceTree": )" + std::string(name) + "}"),
                      Catch::Contains("sourceTree"));
  }
  CHECK_THROWS_WITH(parse_child_submission(R"({"script": "a.py"})"), Catch::Contains("sourceTree"));
  CHECK_THROWS_WITH(parse_child_submission(R"({"sourceTree": "t", "name": ")" + std::string(300 << 10, 'x') + "\"}"),
                    Catch::Contains("256 KiB"));
}
