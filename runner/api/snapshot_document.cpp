#include "runner/api/snapshot_document.hpp"

#include <nlohmann/json.hpp>

namespace runner::api {

std::string snapshot_document(const SnapshotFacts& snapshot) {
  nlohmann::ordered_json document;
  document["snapshotId"] = snapshot.id.hex();
  document["files"] = snapshot.files;
  document["bytes"] = snapshot.bytes;
  document["warnings"] = snapshot.warnings;
  return document.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace runner::api
