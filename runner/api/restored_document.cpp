#include "runner/api/restored_document.hpp"

#include <nlohmann/json.hpp>

#include "runner/api/json_handle.hpp"

namespace runner::api {

std::string restored_document(const RestoredFacts& restored) {
  nlohmann::ordered_json document;
  document["runId"] = restored.run.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(restored.run);
  document["snapshotId"] = restored.snapshot.hex();
  document["directory"] = restored.directory;
  document["files"] = restored.files;
  document["bytes"] = restored.bytes;
  return dump(document);
}

}  // namespace runner::api
