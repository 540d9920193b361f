#include "runner/api/store_document.hpp"

#include <nlohmann/json.hpp>

#include "runner/api/json_handle.hpp"

namespace runner::api {
namespace {

using Json = nlohmann::ordered_json;

Json items(const std::vector<GcItem>& list) {
  Json array = Json::array();
  for (const GcItem& item : list) {
    Json object;
    object["kind"] = item.kind;
    if (!item.name.empty()) object["name"] = item.name;
    object["count"] = item.count;
    object["bytes"] = item.bytes;
    object["reason"] = item.reason;
    array.push_back(std::move(object));
  }
  return array;
}

}  // namespace

std::string gc_document(const GcReport& report) {
  Json document;
  document["dryRun"] = report.dry_run;
  document["contents"] = report.contents;
  document["contentBytes"] = report.content_bytes;
  document["chunks"] = report.chunks;
  document["chunkBytes"] = report.chunk_bytes;
  document["caches"] = report.caches;
  document["cacheBytes"] = report.cache_bytes;
  document["spared"] = report.spared;
  document["diskBytes"] = report.disk_bytes;
  document["runs"] = report.runs;
  document["keptSnapshots"] = report.kept_snapshots;
  document["keptFiles"] = report.kept_files;
  if (report.explained) {
    document["freed"] = items(report.freed);
    document["kept"] = items(report.kept);
  }
  document["warnings"] = report.warnings;
  return dump(document);
}

std::string fsck_document(const FsckReport& report) {
  Json document;
  document["contents"] = report.contents;
  document["contentBytes"] = report.content_bytes;
  document["trees"] = report.trees;
  document["runs"] = report.runs;
  document["checkouts"] = report.checkouts;
  document["repair"] = report.repair;
  document["ledger"] = {{"entries", report.ledger_entries},
                        {"head", report.ledger_head.empty() ? Json(nullptr) : Json(report.ledger_head)}};
  Json problems = Json::array();
  for (const FsckProblem& problem : report.problems) {
    Json object;
    object["problem"] = problem.text;
    object["runs"] = problem.runs;
    object["runCount"] = problem.run_count;
    object["repaired"] = problem.repaired;
    problems.push_back(std::move(object));
  }
  document["problems"] = std::move(problems);
  return dump(document);
}

std::string progress_line(const std::string& doing) {
  Json line;
  line["progress"] = doing;
  return dump(line) + "\n";
}

std::string result_line(const std::string& document) { return "{\"result\":" + document + "}\n"; }

}  // namespace runner::api
