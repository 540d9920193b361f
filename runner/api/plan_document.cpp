#include "runner/api/plan_document.hpp"

#include <nlohmann/json.hpp>

#include "runner/api/json_handle.hpp"
#include "runner/api/run_document.hpp"

namespace runner::api {
namespace {

using nlohmann::ordered_json;

}  // namespace

std::string plan_document(const RunRecord& run, const PlanFacts& facts, std::span<const PlanFile> files) {
  ordered_json document = ordered_json::parse(planned_run_document(run));
  document["environment"]["cached"] = facts.environment_present;
  document["interpreterCandidates"] = facts.interpreter_candidates;
  document["command"] = facts.command;
  document["workingDirectory"] = facts.working_directory;
  document["warnings"] = facts.warnings;
  document["fileCount"] = files.size();
  std::int64_t bytes = 0;
  for (const PlanFile& file : files) bytes += file.bytes;
  document["totalBytes"] = bytes;
  // A million files as text, not as a tree of values: a tenth of the memory.
  std::string text = dump(document);
  text.pop_back();
  text += ",\"files\":[";
  for (const PlanFile& file : files) {
    if (&file != files.data()) text += ',';
    text.append("{\"path\":").append(dump(std::string(file.path))).append(",\"bytes\":");
    text.append(std::to_string(file.bytes)).append(",\"type\":\"").append(file.type).append("\"}");
  }
  return text + "]}";
}

}  // namespace runner::api
