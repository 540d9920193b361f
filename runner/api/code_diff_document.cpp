#include "runner/api/code_diff_document.hpp"

#include <nlohmann/json.hpp>

#include "runner/api/json_handle.hpp"

namespace runner::api {
namespace {

using nlohmann::ordered_json;

}  // namespace

std::string code_diff_document(const ComparedRuns& runs, std::span<const ChangedFile> files) {
  ordered_json document;
  document["before"] = {{"runId", runs.before}, {"snapshotId", runs.before_snapshot.hex()}};
  document["after"] = {{"runId", runs.after}, {"snapshotId", runs.after_snapshot.hex()}};
  std::int64_t additions = 0;
  std::int64_t deletions = 0;
  ordered_json items = ordered_json::array();
  for (const ChangedFile& file : files) {
    additions += file.additions;
    deletions += file.deletions;
    ordered_json item;
    item["path"] = file.path;
    item["oldPath"] = text_or_null(file.old_path);
    item["status"] = file.status;
    item["similarity"] = file.status == "renamed" ? ordered_json(file.similarity) : ordered_json(nullptr);
    item["oldType"] = text_or_null(file.old_type);
    item["type"] = text_or_null(file.type);
    item["oldBytes"] = file.old_type.empty() ? ordered_json(nullptr) : ordered_json(file.old_bytes);
    item["bytes"] = file.type.empty() ? ordered_json(nullptr) : ordered_json(file.bytes);
    item["binary"] = file.binary;
    item["additions"] = file.binary ? ordered_json(nullptr) : ordered_json(file.additions);
    item["deletions"] = file.binary ? ordered_json(nullptr) : ordered_json(file.deletions);
    items.push_back(std::move(item));
  }
  document["filesChanged"] = files.size();
  document["additions"] = additions;
  document["deletions"] = deletions;
  document["items"] = std::move(items);
  document["nextToken"] = nullptr;
  return dump(document);
}

}  // namespace runner::api
