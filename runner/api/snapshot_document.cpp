#include "runner/api/snapshot_document.hpp"

#include <nlohmann/json.hpp>

#include "runner/api/json_handle.hpp"

namespace runner::api {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

std::string snapshot_document(const SnapshotFacts& snapshot) {
  Json document;
  document["snapshotId"] = snapshot.id.hex();
  document["files"] = snapshot.files;
  document["bytes"] = snapshot.bytes;
  document["warnings"] = snapshot.warnings;
  return dump(document);
}

std::string snapshot_summary_document(const SnapshotSummary& summary) {
  Json document;
  document["snapshotId"] = summary.id.hex();
  document["files"] = summary.files;
  document["directories"] = summary.directories;
  document["bytes"] = summary.bytes;
  return dump(document);
}

std::string explanation_list_document(const std::vector<ExplainedPath>& paths) {
  Json items = Json::array();
  for (const ExplainedPath& path : paths) {
    Json item;
    item["path"] = path.path;
    item["included"] = path.included;
    item["reason"] = path.reason;
    item["file"] = path.file.empty() ? Json(nullptr) : Json(path.file);
    item["line"] = path.file.empty() ? Json(nullptr) : Json(path.line);
    item["pattern"] = path.file.empty() ? Json(nullptr) : Json(path.pattern);
    items.push_back(std::move(item));
  }
  Json document;
  document["items"] = std::move(items);
  return dump(document);
}

}  // namespace runner::api
