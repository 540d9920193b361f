#include "runner/api/run_requests.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "runner/core/error.hpp"
#include "runner/core/run_bounds.hpp"

using namespace runner;
using namespace runner::api;

namespace {

const std::string kId = "0f8fad5b-d9cb-469f-a165-70867728950e";

template <class Parse>
void check_refused(Parse parse, const std::string& text, const std::string& member) {
  INFO(text);
  try {
    parse(text);
    FAIL("was taken");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalid);
    CHECK_THAT(error.message(), Catch::Contains(member));
  }
}

}  // namespace

TEST_CASE("A uuid4 is told from what is none, and new ones are some") {
  CHECK(is_uuid4(kId));
  for (const char* other : {"", "0f8fad5b-d9cb-469f-a165-70867728950", "0f8fad5b-d9cb-469f-a165-70867728950e0",
                            "0F8FAD5B-D9CB-469F-A165-70867728950E", "0f8fad5b-d9cb-169f-a165-70867728950e",
                            "0f8fad5b-d9cb-469f-c165-70867728950e", "0f8fad5bd9cb-469f-a165-70867728950e-",
                            "../../../../../../../../etc/passwd-x"})
    CHECK_FALSE(is_uuid4(other));
  std::set<std::string> made;
  for (int i = 0; i < 100; ++i) made.insert(new_uuid4());
  CHECK(made.size() == 100);
  for (const std::string& id : made) CHECK(is_uuid4(id));
}

TEST_CASE("A change of a run has its members, and no others") {
  const RunPatch patch =
      parse_run_patch(R"({"name": "n", "tags": {"a": "1", "b": null}, "removeTags": ["c"], "properties": {"p": "v"}})");
  CHECK(patch.name == "n");
  CHECK(patch.tags == Tags{{"a", "1"}, {"b", std::nullopt}});
  CHECK(patch.remove_tags == std::vector<std::string>{"c"});
  CHECK(patch.properties == Properties{{"p", "v"}});
  CHECK_FALSE(parse_run_patch("{}").name);
  CHECK_FALSE(parse_run_patch(R"({"name": null})").name);
  check_refused(parse_run_patch, "[]", "not a JSON object");
  check_refused(parse_run_patch, R"({"name": ""})", "'name'");
  check_refused(parse_run_patch, R"({"tags": {"a": 1}})", "'tags'");
  check_refused(parse_run_patch, R"({"tags": {"": "x"}})", "'tags'");
  check_refused(parse_run_patch, R"({"removeTags": [1]})", "'removeTags'");
  check_refused(parse_run_patch, R"({"properties": {"p": null}})", "'properties'");
  check_refused(parse_run_patch, R"({"status": "Failed"})", "'status'");
}

TEST_CASE("Children are a list of one to ten thousand; who has no id gets one") {
  const auto children =
      parse_children(R"({"children": [{"id": ")" + kId + R"(", "name": "n", "tags": {"t": "1"}}, {}]})");
  REQUIRE(children.size() == 2);
  CHECK(children[0].id == kId);
  CHECK(children[0].name == "n");
  CHECK(children[0].tags == Tags{{"t", "1"}});
  CHECK(is_uuid4(children[1].id));
  check_refused(parse_children, "{}", "'children'");
  check_refused(parse_children, R"({"children": []})", "'children'");
  check_refused(parse_children, R"({"children": [1]})", "object");
  check_refused(parse_children, R"({"children": [{"id": "mine"}]})", "'id'");
  check_refused(parse_children, R"({"children": [{"kind": "script"}]})", "'kind'");
  nlohmann::json many{{"children", nlohmann::json::array()}};
  for (std::size_t i = 0; i <= kMaxChildren; ++i) many["children"].push_back(nlohmann::json::object());
  check_refused(parse_children, many.dump(), "10000");
  many["children"].erase(0);
  CHECK(parse_children(many.dump()).size() == kMaxChildren);
}

TEST_CASE("An end is a final status, with an error where it is no success") {
  const EndRequest failed = parse_end(R"({"status": "Failed", "error": {"code": "E", "message": "m"}})");
  CHECK(failed.status == RunStatus::kFailed);
  CHECK(failed.error->code == "E");
  CHECK(failed.error->message == "m");
  CHECK(parse_end(R"({"status": "Canceled", "error": {"message": "m"}})").error->code == "UserError");
  CHECK_FALSE(parse_end(R"({"status": "Completed"})").error);
  check_refused(parse_end, "{}", "'status'");
  check_refused(parse_end, R"({"status": "Running"})", "'status'");
  check_refused(parse_end, R"({"status": "Completed", "error": {}})", "'error'");
  check_refused(parse_end, R"({"status": "Failed", "error": {"hint": "h"}})", "'hint'");
}

TEST_CASE("An interactive run names its process") {
  const std::string process = R"("process": {"pid": 7, "startTicks": 18446744073709551615})";
  const InteractiveRequest wanted = parse_interactive(
      R"({"id": ")" + kId + R"(", "experiment": "e", "name": "n", "outputs": "/o", "sourceDirectory": "/s",
          "sourceDirectoryExplicit": true, )" +
      process + "}");
  CHECK(wanted.id == kId);
  CHECK(wanted.experiment == "e");
  CHECK(wanted.pid == 7);
  CHECK(wanted.start_ticks == 18446744073709551615U);
  CHECK(wanted.outputs == "/o");
  CHECK(wanted.source_directory == "/s");
  CHECK(wanted.source_directory_explicit);
  const auto refused = [&](const std::string& members, const std::string& member) {
    check_refused(parse_interactive, "{" + members + "}", member);
  };
  refused(process, "'experiment'");
  refused(R"("experiment": "e")", "'process'");
  refused(R"("experiment": "e", "process": {"pid": 0, "startTicks": 1})", "'pid'");
  refused(R"("experiment": "e", "process": {"pid": 4294967297, "startTicks": 1})", "'pid'");
  refused(R"("experiment": "e", "process": {"pid": -1, "startTicks": 1})", "'pid'");
  refused(R"("experiment": "e", "process": {"pid": 1})", "'startTicks'");
  refused(R"("experiment": "e", "id": "x", )" + process, "'id'");
  refused(R"("experiment": "e", "outputs": "o", )" + process, "'outputs'");
  refused(R"("experiment": "e", "sourceDirectory": "o", )" + process, "'sourceDirectory'");
}

TEST_CASE("A file is added by its name and an absolute path") {
  const UploadRequest upload = parse_upload(R"({"name": "outputs/a", "path": "/tmp/a"})");
  CHECK(upload.name == "outputs/a");
  CHECK(upload.path == "/tmp/a");
  check_refused(parse_upload, R"({"name": "a", "path": "relative"})", "'path'");
  check_refused(parse_upload, R"({"name": "a", "path": "/a\u0000b"})", "'path'");
  check_refused(parse_upload, R"({"path": "/tmp/a"})", "'name'");
}

TEST_CASE("What a run may be told is bounded, and the refusal names the member and the limit") {
  const auto text = [](std::size_t bytes) { return std::string(bytes, 'x'); };
  const auto entries = [](std::size_t count) {
    nlohmann::json many = nlohmann::json::object();
    for (std::size_t i = 0; i < count; ++i) many["k" + std::to_string(i)] = "v";
    return many;
  };
  const auto patch = [](const std::string& member, const nlohmann::json& value) {
    return nlohmann::json{{member, value}}.dump();
  };
  CHECK(parse_run_patch(patch("name", text(kMaxRunName))).name->size() == kMaxRunName);
  check_refused(parse_run_patch, patch("name", text(kMaxRunName + 1)), "'name' is longer than 1024 bytes");
  for (const std::string member : {"tags", "properties"}) {
    CHECK_NOTHROW(parse_run_patch(patch(member, {{text(kMaxKey), text(kMaxValue)}})));
    check_refused(parse_run_patch, patch(member, {{text(kMaxKey + 1), "v"}}), "'" + member + "': the key 'xxx");
    check_refused(parse_run_patch, patch(member, {{text(kMaxKey + 1), "v"}}), "256 bytes");
    check_refused(parse_run_patch, patch(member, {{"k", text(kMaxValue + 1)}}),
                  "'" + member + "': the value of 'k' is longer than 8192 bytes");
    CHECK_NOTHROW(parse_run_patch(patch(member, entries(kMaxTags))));
    check_refused(parse_run_patch, patch(member, entries(kMaxTags + 1)), "'" + member + "' has more than 1000");
    check_refused(parse_children, nlohmann::json{{"children", {{{member, {{"k", text(kMaxValue + 1)}}}}}}}.dump(),
                  "8192");
    check_refused(parse_interactive, nlohmann::json{{"experiment", "e"}, {member, {{"k", text(kMaxValue + 1)}}}}.dump(),
                  "8192");
  }
  check_refused(parse_children, nlohmann::json{{"children", {{{"name", text(kMaxRunName + 1)}}}}}.dump(), "'name'");
  nlohmann::json many{{"children", nlohmann::json::array()}};
  for (std::size_t i = 0; i < kMaxChildrenText / kMaxValue; ++i)
    many["children"].push_back({{"tags", {{"k", text(kMaxValue)}}}});
  check_refused(parse_children, many.dump(), "names and tags are longer than 1048576 bytes together");
  many["children"].erase(0);
  CHECK_NOTHROW(parse_children(many.dump()));
}

TEST_CASE("An end with an error that is too long is taken, and the error cut between code points") {
  std::string message = "x";
  while (message.size() <= kMaxReason) message += "ä";
  const auto end = parse_end(
      nlohmann::json{{"status", "Failed"}, {"error", {{"code", std::string(1000, 'c')}, {"message", message}}}}.dump());
  CHECK(end.error->code.size() == kMaxKey);
  CHECK(end.error->message.size() <= kMaxReason);
  CHECK(end.error->message.size() > kMaxReason - 3);
  CHECK_THAT(end.error->message, Catch::EndsWith("ä…"));
  CHECK(shortened("abc", 3) == "abc");
  CHECK(shortened("abcd", 3) == "…");
  CHECK(shortened("abcd", 2).empty());
}
