// submit --dry-run, run rerun and run diff: what is sent and what people read.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "runner/cli/invocation.hpp"
#include "runner/cli/plan.hpp"
#include "runner/cli/run_diff.hpp"
#include "runner/cli/submission.hpp"
#include "runner/core/error.hpp"

using namespace runner::cli;
using runner::Error;
using Words = std::vector<std::string>;

namespace {

template <class Options>
Options parse_as(const Words& words) {
  GlobalOptions global;
  const Command command = parse_invocation(words, global);
  REQUIRE(std::holds_alternative<Options>(command));
  return std::get<Options>(command);
}

}  // namespace

TEST_CASE("of rerun only what is behind the double dash belongs to the script") {
  auto o = parse_as<RerunOptions>({"run", "rerun", "@last", "--name", "x", "-E", "A=1", "--", "--lr", "0.2", "--"});
  CHECK(o.run == "@last");
  CHECK(o.overrides.name == "x");
  CHECK(o.arguments == Words{"--lr", "0.2", "--"});
  CHECK_FALSE(parse_as<RerunOptions>({"run", "rerun", "-r", "abc", "--detach"}).arguments);
  o = parse_as<RerunOptions>({"run", "rerun", "--memory", "1g", "abc", "--"});
  CHECK(o.arguments == Words{});
  CHECK(o.overrides.memory == "1g");
  CHECK_THROWS_WITH((parse_as<RerunOptions>({"run", "rerun", "a", "b"})), Catch::Contains("one argument too many"));
  CHECK_THROWS_WITH((parse_as<RerunOptions>({"run", "rerun", "a", "--source-dir", "b"})),
                    Catch::Contains("'--source-dir': unknown option"));
}

TEST_CASE("a repetition sends only what was given, and the caller") {
  RerunOptions options{.run = "r", .overrides = {}, .arguments = {}};
  const Caller caller{.directory = "/d", .variables = {{"PATH", "/bin"}, {"TOKEN", "t"}}};
  using nlohmann::json;
  CHECK(json::parse(rerun_document(options, caller)) ==
        json::parse(R"({"caller": {"directory": "/d", "variables": {"PATH": "/bin"}}})"));
  options.arguments = Words{};
  options.overrides.secrets = {"TOKEN"};
  options.overrides.priority = 3;
  const json sent = json::parse(rerun_document(options, caller));
  CHECK(sent["arguments"] == json::array());
  CHECK(sent["priority"] == 3);
  CHECK(sent["caller"]["secrets"] == json{{"TOKEN", "t"}});
}

TEST_CASE("diff compares two runs, in one of five ways or in all") {
  CHECK_FALSE(parse_as<DiffOptions>({"run", "diff", "a", "b"}).part);
  CHECK(parse_as<DiffOptions>({"run", "diff", "a", "b", "--all"}).all);
  CHECK(parse_as<DiffOptions>({"run", "diff", "--code", "a", "b"}).part == DiffPart::kCode);
  CHECK(parse_as<DiffOptions>({"run", "diff", "a", "b", "--git"}).part == DiffPart::kGit);
  CHECK_THROWS_AS((parse_as<DiffOptions>({"run", "diff", "a", "b", "--git", "--env"})), Error);
  CHECK_THROWS_AS((parse_as<DiffOptions>({"run", "diff", "a"})), Error);
}

TEST_CASE("a plan's page has every file, the environment, the command as a shell takes it and the limits") {
  const std::string page = plan_page(Json::parse(R"({
    "files": [{"path": "a\nb", "bytes": 5, "type": "file"}, {"path": "run.sh", "bytes": 2048, "type": "executable"},
              {"path": "l", "bytes": 1, "type": "symlink"}],
    "fileCount": 3, "totalBytes": 2054, "isolation": "docker", "workingDirectory": "/p",
    "environment": {"kind": "image", "name": "python:3.11", "cached": false, "image": null},
    "interpreterCandidates": ["python3", "python"], "command": ["train.py", "it's", "a b"],
    "runDefinition": {"memoryBytes": 1073741824, "network": "off", "mounts": [{"source": "/d", "target": "/x", "writable": true}],
                      "environmentVariables": {"A": "1 2"}, "secrets": ["TOKEN"]}})"));
  for (const char* part :
       {"       5 B  a\\nb\n", "   2.0 KiB  run.sh*\n", "  l@\n", "3 files, 2.0 KiB\n",
        "image python:3.11 (not here: it would be pulled)\n", "python3|python train.py 'it'\\''s' 'a b'\n",
        "1.0 GiB memory, no network\n", "/d:/x:rw\n", "A='1 2'\n", "TOKEN\n"}) {
    INFO(page);
    CHECK(page.find(part) != std::string::npos);
  }
}

TEST_CASE("differences of two runs are named by their keys, with null for what is absent") {
  const Json a = Json::parse(R"({"experiment": "e", "isolation": "sandbox", "metrics": {"loss": [3, 2], "same": 1},
    "runDefinition": {"arguments": ["--lr", "0.1"], "cpus": null, "mounts": [], "environmentVariables": {"A": "1"}, "network": "on"},
    "environment": {"kind": "interpreter", "image": null}, "git": null})");
  const Json b = Json::parse(R"({"experiment": "e", "isolation": "sandbox", "metrics": {"loss": [3, 1], "same": 1},
    "runDefinition": {"arguments": ["--lr", "0.2"], "cpus": 2, "mounts": [], "environmentVariables": {}, "network": "on"},
    "environment": {"kind": "image", "image": {"id": "sha256:1"}}, "git": {"commit": "c", "dirty": false}})");
  CHECK(parameter_differences(a, b) ==
        Json::parse(R"([{"name": "arguments", "before": ["--lr", "0.1"], "after": ["--lr", "0.2"]},
                        {"name": "cpus", "before": null, "after": 2},
                        {"name": "environmentVariables.A", "before": "1", "after": null}])"));
  CHECK(environment_differences(a, b) == Json::parse(R"([{"name": "image.id", "before": null, "after": "sha256:1"},
                        {"name": "kind", "before": "interpreter", "after": "image"}])"));
  CHECK(git_differences(a, b) == Json::parse(R"([{"name": "commit", "before": null, "after": "c"},
                                                 {"name": "dirty", "before": null, "after": false}])"));
  CHECK(environment_differences(a, a, true).size() == 1);
  CHECK(parameter_differences(a, a).empty());
}

TEST_CASE("machines differ in what is known of both, and in their GPUs") {
  const Json a = Json::parse(R"({"gpus": [], "machine": {"hostname": "one", "cpus": 8, "gpuDriver": null}})");
  const Json b = Json::parse(R"({"gpus": ["0"], "machine": {"hostname": "one", "cpus": 4, "gpuDriver": null}})");
  CHECK(machine_differences(a, b) == Json::parse(R"([{"name": "cpus", "before": 8, "after": 4},
                                                     {"name": "gpus", "before": null, "after": ["0"]}])"));
  CHECK(machine_differences(a, a).empty());
  CHECK(machine_differences(a, a, true).size() == 2);
  CHECK(machine_differences(Json::parse(R"({"gpus": [], "machine": null})"), a).size() == 2);  // of an earlier version
}

TEST_CASE("metrics differ in their last, least and greatest values, parameters by their names") {
  const Json a = Json::parse(R"({"items": [{"name": "loss", "count": 3, "last": 2, "min": 1, "max": 4},
                                           {"name": "once", "count": 1, "last": "NaN", "min": null, "max": null}]})");
  const Json b = Json::parse(R"({"items": [{"name": "loss", "count": 3, "last": 2, "min": 0.5, "max": 4}]})");
  CHECK(metric_differences(a, b) == Json::parse(R"([{"name": "loss.min", "before": "1", "after": "0.5"},
                                                    {"name": "once", "before": "NaN", "after": null}])"));
  CHECK(metric_differences(a, a).empty());
  CHECK(metric_differences(a, a, true).size() == 5);
  const Json one = Json::parse(R"({"parameters": {"lr": "1"}, "runDefinition": {"arguments": ["--lr", "1"]}})");
  const Json other = Json::parse(R"({"parameters": {"lr": "2"}, "runDefinition": {"arguments": ["--lr", "2"]}})");
  CHECK(parameter_differences(one, other) == Json::parse(R"([{"name": "lr", "before": "1", "after": "2"}])"));
}

TEST_CASE("the summary of changed files is that of git diff --stat") {
  const std::string text = code_stat(Json::parse(R"({"filesChanged": 4, "additions": 3, "deletions": 1, "items": [
    {"path": "a.py", "oldPath": null, "status": "modified", "oldType": "file", "type": "file", "binary": false, "additions": 2, "deletions": 1},
    {"path": "b.bin", "oldPath": null, "status": "modified", "oldType": "file", "type": "file", "oldBytes": 3, "bytes": 4, "binary": true, "additions": null, "deletions": null},
    {"path": "n", "oldPath": null, "status": "added", "oldType": null, "type": "file", "binary": false, "additions": 1, "deletions": 0},
    {"path": "to", "oldPath": "x\u001b", "status": "renamed", "oldType": "file", "type": "executable", "binary": false, "additions": 0, "deletions": 0}]})"),
                                     0);
  CHECK(text ==
        " a.py        | 3 ++-\n"
        " b.bin       | Bin 3 -> 4 bytes\n"
        " n           | 1 +  (new)\n"
        " x\\x1b => to | 0  (mode +x)\n"
        " 4 files changed, 3 insertions(+), 1 deletion(-)\n");
}

TEST_CASE("without colours a painted patch is the patch, whatever pieces it comes in") {
  ::setenv("NO_COLOR", "1", 1);
  const std::string patch =
      "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\tb\x1b[2J\n+b\xff\n\\ No newline at end of file";
  std::string shown;
  for (std::size_t at = 0; at < patch.size();) {
    const std::size_t end = std::min(patch.find('\n', at), patch.size());
    shown += printable_with_tabs(std::string_view(patch).substr(at, end - at)) + (end < patch.size() ? "\n" : "");
    at = end + 1;
  }
  CHECK(shown.find('\x1b') == std::string::npos);
  for (std::size_t size = 1; size < patch.size(); ++size) {
    PatchPainter painter;
    std::string text;
    for (std::size_t at = 0; at < patch.size(); at += size)
      text += painter.paint(std::string_view(patch).substr(at, size));
    text += painter.rest();
    CHECK(text == shown);
  }
  ::unsetenv("NO_COLOR");
}
