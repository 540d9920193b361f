// Rows of runner.db as records and back; private to the history_*.cpp files.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/core/run.hpp"
#include "store/database.hpp"
#include "store/digest.hpp"
#include "store/history.hpp"

namespace runner::store {

class History::Impl {
 public:
  explicit Impl(const std::filesystem::path& path);
  mutable Database database;
  const Sha256 sha256;
};

Error no_such_run(std::string_view id);
// run.seq of an id; Error(kNotFound).
std::int64_t seq_of(Connection& connection, std::string_view id);
// The whole record; Error(kNotFound) with `seq` unknown.
RunRecord load_run(Connection& connection, std::int64_t seq);

// The JSON columns of a new run, made before the writer is asked for: others may be waiting for it.
struct RunDocuments {
  explicit RunDocuments(const RunRecord& run);  // Error(kInvalid) for text that is not UTF-8
  std::string definition;
  std::optional<std::string> git;
  std::string environment;
  std::optional<std::string> outcome;
  std::optional<std::string> error;
};
// The run with all that a run has from the start but its words; its seq. Error(kConflict) for an id that exists.
std::int64_t insert_run(Connection& connection, const RunRecord& run, const RunDocuments& documents,
                        std::span<const Artifact> artifacts);
// Not too many below the next run above `seq`, or that itself, that no script has asked for; Error(kConflict).
void require_place(Connection& connection, std::int64_t seq);
// History::add_run; Error(kConflict).
void require_asker(Connection& connection, const History::Asker& asker, const std::optional<std::string>& parent);
void insert_artifacts(Connection& connection, std::int64_t seq, std::span<const Artifact> artifacts);
void insert_parameters(Connection& connection, std::int64_t seq, const RunDefinition& definition);
// Of long texts the beginning is found: a text index takes seconds for each megabyte, while others wait for the writer.
constexpr std::string_view kFoundWords = "substr(name, 1, 512), substr(tags, 1, 4096)";  // of run_words; code points
constexpr std::size_t kFoundScript = 4096;                                               // bytes
// What the run is found by; later, that it is found by what its name and tags are then. Of many runs one after the
// other: whatever takes a savepoint in between (a statement with a trigger does) has the index of text write what it
// holds.
void insert_words(Connection& connection, std::int64_t seq, const RunDefinition& definition);
void update_words(Connection& connection, std::int64_t seq);

// Ends those children of kind `child` that are still open, and theirs; appends their ids to `ended`.
struct ParentsEnd {
  RunStatus status = RunStatus::kCanceled;
  std::string reason;
  UtcTime time{};
};
void end_children(Connection& connection, const Sha256& sha256, std::int64_t parent, const ParentsEnd& end,
                  std::vector<std::string>& ended);

}  // namespace runner::store
