#include <array>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "runner/api/code_diff_document.hpp"
#include "runner/api/plan_document.hpp"

using nlohmann::json;
namespace api = runner::api;

TEST_CASE("a plan has what is known of the run, the command and every file") {
  runner::RunRecord run;
  run.experiment = "exp";
  run.definition.script = "train.py";
  run.environment.kind = "image";
  const std::array<api::PlanFile, 2> files{api::PlanFile{.path = "a \"b\"\n", .type = "file", .bytes = 3},
                                           api::PlanFile{.path = "\xff", .type = "symlink", .bytes = 4}};
  const json plan = json::parse(api::plan_document(run,
                                                   {.environment_present = false,
                                                    .interpreter_candidates = {"python3", "python"},
                                                    .command = {"train.py"},
                                                    .working_directory = "/p",
                                                    .warnings = {"w"}},
                                                   files));
  CHECK(plan["files"] == json::parse(R"([{"path": "a \"b\"\n", "bytes": 3, "type": "file"},
                                         {"path": "\ufffd", "bytes": 4, "type": "symlink"}])"));
  CHECK(plan["fileCount"] == 2);
  CHECK(plan["totalBytes"] == 7);
  CHECK(plan["environment"]["cached"] == false);
  CHECK(plan["interpreterCandidates"] == json{"python3", "python"});
  CHECK(plan["command"] == json{"train.py"});
  CHECK(plan["warnings"] == json{"w"});
  CHECK(plan["runDefinition"]["script"] == "train.py");
  for (const char* later : {"runId", "status", "createdTimeUtc", "snapshotId", "outcome"})
    CHECK_FALSE(plan.contains(later));
  CHECK(json::parse(api::plan_document(run, {}, {}))["files"] == json::array());
}

TEST_CASE("of a binary file no lines are counted, and a side that is not there is null") {
  const std::array<api::ChangedFile, 2> files{
      api::ChangedFile{
          .path = "new", .old_path = "", .status = "added", .old_type = "", .type = "file", .bytes = 9, .binary = true},
      api::ChangedFile{.path = "to",
                       .old_path = "from",
                       .status = "renamed",
                       .old_type = "file",
                       .type = "executable",
                       .similarity = 90,
                       .old_bytes = 1,
                       .bytes = 2,
                       .additions = 5,
                       .deletions = 2}};
  const json diff = json::parse(
      api::code_diff_document({.before = "a", .after = "b", .before_snapshot = {}, .after_snapshot = {}}, files));
  CHECK(diff["filesChanged"] == 2);
  CHECK(diff["additions"] == 5);
  CHECK(diff["deletions"] == 2);
  CHECK(diff["items"][0] == json::parse(R"({"path": "new", "oldPath": null, "status": "added", "similarity": null,
    "oldType": null, "type": "file", "oldBytes": null, "bytes": 9, "binary": true, "additions": null, "deletions": null})"));
  CHECK(diff["items"][1]["oldPath"] == "from");
  CHECK(diff["items"][1]["similarity"] == 90);
}
