// What people read: harmless text, tables that fit, pages, exit codes.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "runner/cli/document.hpp"
#include "runner/cli/list.hpp"
#include "runner/cli/show.hpp"
#include "runner/cli/summary.hpp"
#include "runner/cli/table.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"

using namespace runner::cli;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1)
    lines.push_back(text.substr(begin, end - begin));
  return lines;
}

Json example_run() {
  return Json::parse(
      R"({"runId": "diabetes_1795228734_6f7108a8", "experiment": "diabetes", "name": "best one", "status": "Failed",
    "statusReason": "", "createdTimeUtc": "2026-11-21T01:00:00.000000Z", "startTimeUtc": "2026-11-21T01:00:01.500000Z",
    "endTimeUtc": "2026-11-21T01:00:04.500000Z", "durationSeconds": 3.0, "parentRunId": null,
    "snapshotId": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "tags": {"quality": "good", "fast": null}, "properties": {"azureml.git.commit": "abc", "mine": "x"},
    "metrics": {"mse": [3.5, 2.5, 3000.123456789], "alpha": 0.5, "note": "hi", "n": 17, "more": 1, "z": 2, "zz": 3},
    "outputs": [{"name": "outputs/model.pkl", "bytes": 2048, "sha256": "aa"}], "logFiles": ["system_logs/postmortem.txt", "user_logs/std_log.txt"],
    "git": {"commit": "fedcba9876543210", "branch": "main", "dirty": true, "remote": null},
    "environment": {"name": "user-managed", "version": null, "kind": "interpreter", "interpreter": "/usr/bin/python3", "pythonVersion": "3.11.2"},
    "isolation": "sandbox", "outcome": {"kind": "exited", "exitCode": 3, "signal": null, "peakMemoryBytes": 1048576, "meanMemoryBytes": 524288, "cpuSeconds": 1.25, "peakCpus": 1.5, "meanCpus": 0.4167, "readBytes": 4096, "writtenBytes": 0, "message": ""},
    "error": {"code": "UserError", "message": "boom \u001b[31m", "hint": "look at the log"},
    "runDefinition": {"script": "train.py", "arguments": ["--x", "a b", "it's"], "command": null, "sourceDirectory": "/p", "network": "off", "maxRunDurationSeconds": 90},
    "notices": ["no swap limit here"]})");
}

const runner::UtcTime kNow = *runner::utc_from_iso8601("2026-11-21T03:00:00Z");

}  // namespace

TEST_CASE("printable neutralises everything that could steer a terminal or break a line") {
  CHECK(printable("plain text, ünïcode 漢字 😀") == "plain text, ünïcode 漢字 😀");
  CHECK(printable("a\x1b[31mb") == "a\\x1b[31mb");
  CHECK(printable("a\nb\tc\rd") == "a\\nb\\tc\\rd");
  CHECK(printable(std::string("nul\0x", 5)) == "nul\\x00x");
  CHECK(printable("\x7f") == "\\x7f");
  CHECK(printable("\xc2\x9b"
                  "31m") == "\\x9b31m");  // C1: the one-character CSI
  CHECK(printable("\xe2\x80\xae"
                  "abc") == "\\u202eabc");                // right-to-left override
  CHECK(printable("\xe2\x81\xa6") == "\\u2066");          // isolate
  CHECK(printable("\xff\xc3(") == "\\xff\\xc3(");         // not UTF-8
  CHECK(printable("\xc0\xaf") == "\\xc0\\xaf");           // overlong
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // surrogate
  CHECK(printable("cut \xe2\x82") == "cut \\xe2\\x82");
}

TEST_CASE("width counts columns, and shortening respects whole characters") {
  CHECK(display_width("abc") == 3);
  CHECK(display_width("ü") == 1);
  CHECK(display_width("漢字") == 4);
  CHECK(display_width("e\xcc\x81") == 1);  // e and a combining accent
  CHECK(shortened("abcdef", 6) == "abcdef");
  CHECK(shortened("abcdef", 4) == "abc…");
  CHECK(shortened("漢字漢字", 4) == "漢…");
  CHECK(shortened("abc", 0).empty());
}

TEST_CASE("a table aligns its columns and leaves out empty ones") {
  Table table({{.title = "A"}, {.title = "EMPTY"}, {.title = "N", .right = true}});
  table.add({{"x"}, {""}, {"1"}});
  table.add({{"longer"}, {""}, {"100"}});
  CHECK(lines_of(table.text(0)) == std::vector<std::string>{"A         N", "x         1", "longer  100"});
}

TEST_CASE("a table shrinks its widest columns to the terminal, and never those that must stay whole") {
  Table table({{.title = "ID"}, {.title = "NAME", .least = 4}, {.title = "TAGS", .least = 4}});
  table.add({{"6f7108a8"}, {std::string(40, 'n')}, {std::string(20, 't')}});
  for (const std::string& line : lines_of(table.text(40))) CHECK(display_width(line) <= 40);
  CHECK(table.text(40).find("6f7108a8") != std::string::npos);
  CHECK(table.text(0).find(std::string(40, 'n')) != std::string::npos);
  CHECK(table.text(5).find("6f7108a8") != std::string::npos);  // narrower than possible: as narrow as it gets
}

TEST_CASE("a table's cells are printable") {
  Table table({{.title = "A"}});
  table.add({{"x\x1b[2J\ny"}});
  CHECK(lines_of(table.text(0)).at(1) == "x\\x1b[2J\\ny");
}

TEST_CASE("the list of runs shows what tells runs apart") {
  Json items = Json::array();
  items.push_back(example_run());
  const auto lines = lines_of(runs_table(items, 0, kNow));
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].find("RUN       EXPERIMENT") == 0);
  for (const char* part : {"6f7108a8", "diabetes", "best one", "Failed (exit code 3)", "2h", "3.0s",
                           "mse=3000.12 alpha=0.5 note=hi …", "quality=good fast"})
    CHECK(lines[1].find(part) != std::string::npos);
  CHECK(runs_table(Json::array(), 80, kNow).empty());
  for (const std::string& line : lines_of(runs_table(items, 80, kNow))) CHECK(display_width(line) <= 80);
}

TEST_CASE("a name that is only the id is not repeated in the list") {
  Json run = example_run();
  run["name"] = run["runId"];
  Json items = Json::array();
  items.push_back(run);
  CHECK(runs_table(items, 0, kNow).find("diabetes_1795228734") == std::string::npos);
}

TEST_CASE(
    "the page of a run has status, times, snapshot, git, environment, metrics, outputs, logs and the error with its "
    "hint") {
  const std::string page = run_page(example_run(), kNow);
  for (const char* part : {"diabetes_1795228734_6f7108a8",
                           "best one",
                           "Failed (exit code 3)",
                           "2026-11-21T01:00:00Z (2h ago)",
                           "3.0s",
                           "train.py --x 'a b' 'it'\\''s'",
                           "0123456789ab",
                           "main fedcba987654 (with uncommitted changes)",
                           "user-managed · /usr/bin/python3 · Python 3.11.2",
                           "at most 90 s, no network",
                           "1.25 s in all, 0.42 CPUs in the mean, 1.50 at most",
                           "512.0 KiB in the mean, 1.0 MiB at most",
                           "4.0 KiB read, 0 B written",
                           "runner logs --name system_logs/postmortem.txt 6f7108a8",
                           "3000.12  (3 values, 2.5 to 3000.12)",
                           "2.0 KiB",
                           "outputs/model.pkl",
                           "user_logs/std_log.txt",
                           "boom \\x1b[31m",
                           "look at the log",
                           "no swap limit here",
                           "mine=x"})
    CHECK_THAT(page, Catch::Contains(part));
  CHECK(page.find("azureml.git.commit") == std::string::npos);
  CHECK(page.find('\x1b') == std::string::npos);
}

TEST_CASE("the page of a run in an image names it as it was asked for and as it was resolved") {
  Json run = example_run();
  CHECK(run_page(run, kNow).find("image") == std::string::npos);
  run["runDefinition"]["image"] = "python:3.11";
  CHECK_THAT(run_page(run, kNow), Catch::Contains("image         python:3.11\n"));  // not resolved yet
  run["environment"]["image"] = {{"id", "sha256:fedcba9876543210"}, {"digest", nullptr}, {"platform", "linux/amd64"}};
  CHECK_THAT(run_page(run, kNow), Catch::Contains("image         python:3.11 · fedcba987654\n"));
}

TEST_CASE("the summary names the ending, metrics, outputs and the error") {
  const std::string text = summary_of(example_run(), Stream::kError);
  for (const char* part : {"run diabetes_1795228734_6f7108a8 Failed (exit code 3) in 3.0s", "alpha=0.5", "(7 in all)",
                           "1 file, 2.0 KiB", "boom \\x1b[31m", "hint: look at the log"})
    CHECK_THAT(text, Catch::Contains(part));
}

TEST_CASE("a page or a summary of an almost empty document does not fail") {
  CHECK_FALSE(run_page(Json::object(), kNow).empty());
  CHECK_FALSE(summary_of(Json::object(), Stream::kOut).empty());
  CHECK_FALSE(is_final_run(Json::object()));
}

TEST_CASE("the exit code of a run is the one cli.md promises") {
  const auto code = [](const char* outcome, const char* status = "Failed") {
    return exit_code_of_run(Json{{"status", status}, {"outcome", Json::parse(outcome)}});
  };
  CHECK(code(R"({"kind": "exited", "exitCode": 0})", "Completed") == 0);
  CHECK(code(R"({"kind": "exited", "exitCode": 7})") == 7);
  CHECK(code(R"({"kind": "signaled", "signal": 9})") == 137);
  CHECK(code(R"({"kind": "timed_out"})", "Canceled") == 124);
  CHECK(code(R"({"kind": "canceled"})", "Canceled") == 130);
  CHECK(code(R"({"kind": "out_of_memory"})") == 137);
  CHECK(code(R"({"kind": "lost"})") == 125);
  CHECK(code(R"({"kind": "something new"})") == 125);
  CHECK(code("null", "Completed") == 0);
  CHECK(code("null", "Canceled") == 130);
  CHECK(code("null", "Failed") == 125);
}

TEST_CASE("ages and metric values are short") {
  const auto age = [](const char* created) { return age_text(Json{{"createdTimeUtc", created}}, kNow); };
  CHECK(age("2026-11-21T02:59:50.5Z") == "9s");
  CHECK(age("2026-11-21T02:10:00Z") == "50m");
  CHECK(age("2026-11-18T03:00:00Z") == "3d");
  CHECK(age("2026-11-21T03:00:05Z") == "0s");  // a clock that is ahead
  CHECK(age("nonsense").empty());
  CHECK(metric_text(Json::parse("[1, 2, 0.1234567]")) == "0.123457");
  CHECK(metric_text(Json::parse("\"NaN\"")) == "NaN");
  CHECK(metric_text(Json::parse("9007199254740993")) == "9007199254740993");
  CHECK(metric_text(Json::parse("[]")).empty());
}

TEST_CASE("an answer that is not a JSON object is an internal error") {
  for (const char* text : {"", "[1]", "{", "oops"}) CHECK_THROWS_AS(parse_document(text), runner::Error);
}
